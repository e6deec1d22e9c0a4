// The view of inferkit.widgets.LivePredictor: controls, and the answer to what they show.

const TILE = 56; // pixels of an example's picture on the screen
const PATIENCE_MS = 2500; // without an answer for this long, the widget says so

const percent = (p) => `${(100 * p).toFixed(1)} %`;

// ---- Controls: each is { element, set(value) } and tells `changed` its new value ----

const unitOf = ({ unit }) => (unit ? [node("span", { class: "ik-unit", title: unit }, unit)] : []);

function described(control, id, ...more) {
  const name = node("span", { class: "ik-what-name", title: control.label }, control.label);
  return node("label", { for: id, class: "ik-what" }, name, ...more);
}

function makeSlider(control, changed) {
  const { grid, unit } = control;
  const id = freshId();
  const input = node("input", { type: "range", id, min: 0, max: grid.length - 1, step: 1 });
  const shown = node("output", { for: id, class: "ik-shown", "aria-hidden": "true" });
  const ends = node("div", { class: "ik-ends", "aria-hidden": "true" }, node("span", {}, grid[0]), ...unitOf(control), node("span", {}, grid.at(-1)));
  const show = (value) => {
    shown.textContent = value;
    input.setAttribute("aria-valuetext", unit ? `${value} ${unit}` : value);
  };
  input.addEventListener("input", () => {
    show(grid[input.value]);
    changed(grid[input.value]);
  });
  return {
    element: node("div", { class: "ik-control" }, node("div", { class: "ik-line" }, described(control, id), shown), input, ends),
    set(value) {
      const nearest = grid.reduce((best, stop, i) => (Math.abs(stop - value) < Math.abs(grid[best] - value) ? i : best), 0);
      if (grid[input.value] !== grid[nearest]) input.value = nearest;
      show(value);
    },
  };
}

function limits({ low, high }) {
  if (low !== null && high !== null) return `from ${low} to ${high}`;
  return low !== null ? `at least ${low}` : high !== null ? `at most ${high}` : "any number";
}

function makeNumber(control, changed) {
  const [id, hintId] = [freshId(), freshId()];
  const input = node("input", { type: "number", id, step: control.whole ? 1 : "any", "aria-describedby": hintId });
  for (const [name, limit] of [["min", control.low], ["max", control.high]]) if (limit !== null) input.setAttribute(name, limit);
  const number = () => (Number.isFinite(input.valueAsNumber) ? input.valueAsNumber : null);
  input.addEventListener("input", () => changed(number())); // an empty box is for the contract to judge
  const hint = node("div", { class: "ik-hint", id: hintId }, limits(control));
  return {
    element: node("div", { class: "ik-control" }, described(control, id, ...unitOf(control)), input, hint),
    set: (value) => number() !== value && (input.value = value ?? ""),
  };
}

function makeChoice(control, changed) {
  const id = freshId();
  const select = node("select", { id }, ...control.options.map((option, i) => node("option", { value: i }, option)));
  select.addEventListener("change", () => changed(control.options[select.value]));
  return {
    element: node("div", { class: "ik-control" }, described(control, id, ...unitOf(control)), select),
    set: (value) => (select.value = control.options.indexOf(value)),
  };
}

function makeText(control, changed) {
  const [id, hintId] = [freshId(), freshId()];
  const area = node("textarea", { id, rows: 4, "aria-describedby": hintId });
  const hint = node("div", { class: "ik-hint", id: hintId });
  const count = () => {
    const length = [...area.value].length; // in characters, as the kernel counts
    hint.textContent = `${length.toLocaleString("en")} of at most ${control.max_chars.toLocaleString("en")} characters`;
    hint.classList.toggle("ik-over", length > control.max_chars);
  };
  area.addEventListener("input", () => {
    count();
    changed(area.value);
  });
  return {
    element: node("div", { class: "ik-control ik-wide" }, described(control, id), area, hint),
    set(value) {
      if (area.value !== value) area.value = value;
      count();
    },
  };
}

function makePicture(control, changed) {
  const group = freshId();
  const inputs = control.options.map((_, i) => node("input", { type: "radio", name: group, value: i }));
  const tiles = control.options.map(({ name, picture }, i) => {
    const image = picture ? [node("img", { alt: "" })] : []; // its name stands beside it
    for (const each of image) {
      each.addEventListener("load", () => each.classList.toggle("ik-coarse", each.naturalWidth < TILE)); // its pixels are to be seen
      each.src = picture;
    }
    inputs[i].addEventListener("change", () => changed(i));
    return node("label", { class: "ik-tile", title: name }, inputs[i], ...image, node("span", {}, name));
  });
  return {
    element: node("fieldset", { class: "ik-control ik-wide" }, node("legend", { class: "ik-what" }, control.label), node("div", { class: "ik-tiles" }, ...tiles)),
    set: (value) => inputs[value] && (inputs[value].checked = true),
  };
}

const MAKERS = { slider: makeSlider, number: makeNumber, choice: makeChoice, text: makeText, picture: makePicture };

function makeExamples(examples, chosen) {
  const id = freshId();
  const names = ["…", ...examples.map(({ name }) => name)];
  const select = node("select", { id }, ...names.map((name, i) => node("option", { value: i - 1 }, name)));
  select.addEventListener("change", () => examples[select.value] && chosen(examples[select.value].values));
  return {
    element: node("div", { class: "ik-control ik-wide" }, node("label", { for: id, class: "ik-what" }, "Take an example"), select),
    show(values) {
      select.value = examples.findIndex((each) => Object.entries(values).every(([name, value]) => each.values[name] === value));
    },
  };
}

// ---- Post: the newest values go out with the next frame; ipywidgets keeps one message under way ----

function makePost(model, onSilence) {
  let next = null;
  let frame = 0;
  let silence = 0;
  let changedAt = 0;
  let asked = model.get("_asked");
  let sending = false;

  function send() {
    frame = 0;
    asked = model.get("_asked") + 1;
    sending = true;
    model.set({ _values: next, _asked: asked });
    sending = false;
    model.save_changes();
  }

  return {
    put(values) {
      next = values;
      changedAt = performance.now();
      frame ||= requestAnimationFrame(send);
      clearTimeout(silence);
      silence = setTimeout(onSilence, PATIENCE_MS);
    },
    // Milliseconds from the last change to now, if this answers it; null if it is an older question's.
    answered(to) {
      if (frame || to < asked) return null;
      clearTimeout(silence);
      const waited = changedAt ? performance.now() - changedAt : 0;
      changedAt = 0; // a later answer to this question is to what Python has set
      return waited;
    },
    isSending: () => sending,
    close: () => [clearTimeout(silence), cancelAnimationFrame(frame)],
  };
}

// ---- Answers ----

function makeBar() {
  const label = node("span", { class: "ik-label" });
  const fill = node("i");
  const value = node("span", { class: "ik-value" });
  return { element: node("div", { class: "ik-row" }, label, node("span", { class: "ik-track" }, fill), value), label, fill, value };
}

function makeCard({ name, bars }, alone) {
  const answer = node("div", { class: "ik-answer" });
  const rows = bars.map(makeBar);
  const list = node("div", { class: "ik-bars", ...(bars.length ? { role: "img" } : {}) }, ...rows.map((row) => row.element));
  const more = node("div", { class: "ik-hint" });
  const title = alone ? "" : node("div", { class: "ik-name", title: name }, name); // the only output needs no name
  return { element: node("div", { class: "ik-card", role: "group", "aria-label": name }, title, answer, list, more), answer, rows, list, more };
}

function fillCard(card, output) {
  card.answer.textContent = output.text;
  card.answer.title = output.text;
  card.answer.classList.toggle("ik-long", output.text.length > 12);
  if (output.bars.length) card.list.setAttribute("aria-label", output.bars.map(({ label, p }) => `${label}: ${percent(p)}`).join(", "));
  output.bars.forEach(({ label, p, best }, i) => {
    const row = card.rows[i];
    row.element.classList.toggle("ik-best", best);
    Object.assign(row.label, { textContent: label, title: label });
    row.fill.style.transform = `scaleX(${p})`;
    row.value.textContent = percent(p);
  });
  card.more.textContent = output.more ? `and ${output.more.toLocaleString("en")} labels less likely than these` : "";
}

function spoken({ error, outputs }) {
  if (error) return `Failed. ${error}.`;
  const named = outputs.length > 1;
  return outputs.map(({ name, text, probability: p }) => `${named ? `${name}: ` : ""}${text}${p === undefined ? "" : `, ${Math.round(100 * p)} percent`}.`).join(" ");
}

function makeAnswers() {
  const cards = node("div", { class: "ik-cards" });
  const failure = node("p", { class: "ik-failure", hidden: "" });
  const [time, unit] = [node("span", { class: "ik-time" }), node("span", {})];
  const cost = node("div", { class: "ik-cost" }, time, " ", unit);
  let [made, shape] = [[], ""];
  return {
    element: node("div", { class: "ik-answers" }, cards, failure, cost),
    show({ error, outputs, time_us: us }) {
      failure.hidden = !error;
      cards.hidden = cost.hidden = Boolean(error);
      failure.textContent = error ?? "";
      if (error) return;
      const wanted = outputs.map(({ name, bars }) => `${name} ${bars.length}`).join("\n");
      if (shape !== wanted) {
        [made, shape] = [outputs.map((output) => makeCard(output, outputs.length === 1)), wanted];
        cards.replaceChildren(...made.map((card) => card.element));
      }
      outputs.forEach((output, i) => fillCard(made[i], output));
      [time.textContent, unit.textContent] = duration(us);
    },
  };
}

// ---- The whole ----

function render({ model, el }) {
  const note = node("div", { class: "ik-note" });
  const speaker = makeSpeaker();
  const answers = makeAnswers();
  const post = makePost(model, () => {
    note.textContent = "No answer yet. The model is at work, or the kernel has stopped: then run the cell again.";
  });
  let values = { ...model.get("_values") };

  function change(news) {
    values = { ...values, ...news };
    examples?.show(values);
    root.dataset.settled = "false";
    post.put(values);
  }

  const made = model.get("_controls").map((control) => [
    control.name,
    MAKERS[control.kind](control, (value) => change({ [control.name]: value })),
  ]);
  const offered = model.get("_examples");
  const examples = offered.length
    ? makeExamples(offered, (taken) => {
        change(taken);
        showValues();
      })
    : null;
  const controls = node("div", { class: "ik-controls" }, ...(examples ? [examples.element] : []), ...made.map(([, control]) => control.element));
  const head = node("div", { class: "ik-title" }, model.get("_name"));
  const main = node("div", { class: "ik-main" }, controls, answers.element);
  const root = node("div", { class: "inferkit-widget inferkit-live" }, head, main, node("div", { class: "ik-foot" }, note), speaker.element);
  root.dataset.size = made.length > 12 ? "large" : made.length > 5 ? "medium" : "small";
  keepKeys(root);

  function showValues() {
    for (const [name, control] of made) control.set(values[name]);
    examples?.show(values);
  }

  function valuesFromElsewhere() {
    if (post.isSending()) return; // what this view sends comes by here too
    values = { ...model.get("_values") };
    showValues();
  }

  function showReply() {
    const reply = model.get("_reply");
    if (!reply.outputs) return; // the first answer is on its way
    answers.show(reply);
    const waited = post.answered(reply.asked);
    root.dataset.serial = reply.serial;
    root.dataset.settled = String(waited !== null); // what stands here answers what the controls show
    if (waited !== null) note.textContent = noteOn(reply, waited);
    speaker.say(spoken(reply));
  }

  model.on("change:_reply", showReply);
  model.on("change:_values", valuesFromElsewhere);
  el.append(root);
  showValues();
  showReply();
  return () => {
    model.off("change:_reply", showReply);
    model.off("change:_values", valuesFromElsewhere);
    post.close();
    speaker.close();
  };
}

function noteOn({ error, calls }, waited) {
  const shown = waited ? `Shown ${Math.round(waited)} ms after the last change.` : "";
  return error ? shown : `Time of the predictor alone, ${calls > 1 ? `median of ${calls} calls` : "one call"}. ${shown}`;
}

export default { render };
