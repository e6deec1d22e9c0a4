// The view of inferkit.widgets.LivePredictor: controls, and the answer to what they show.

const percent = (p) => `${(100 * p).toFixed(1)} %`;

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
