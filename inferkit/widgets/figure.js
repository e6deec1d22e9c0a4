// The view of inferkit.widgets.LiveFigure: controls, numbers to read, and a drawing whose layout comes from the kernel.

const SVG = "http://www.w3.org/2000/svg";

function makeSwitch(control, changed) {
  const id = freshId();
  const input = node("input", { type: "checkbox", id });
  input.addEventListener("change", () => changed(input.checked));
  return {
    element: node("div", { class: "ik-control ik-switch" }, input, described(control, id)),
    set: (value) => (input.checked = value),
  };
}

// Attributes and texts of the elements that stand there are changed; only what is missing is made.
function update(parent, wanted) {
  while (parent.childNodes.length > wanted.length) parent.lastChild.remove();
  wanted.forEach(([tag, attributes, text], i) => {
    let element = parent.childNodes[i];
    if (element?.tagName !== tag) {
      const made = document.createElementNS(SVG, tag);
      if (element) element.replaceWith(made);
      else parent.append(made);
      element = made;
    }
    for (const [name, value] of Object.entries(attributes)) if (element.getAttribute(name) !== value) element.setAttribute(name, value);
    if (element.textContent !== text) element.textContent = text;
  });
}

function makeDrawing() {
  const [drawing, back, inside, front] = ["svg", "g", "svg", "g"].map((tag) => document.createElementNS(SVG, tag));
  drawing.setAttribute("role", "img");
  drawing.setAttribute("class", "ik-drawing");
  inside.setAttribute("class", "ik-inside");
  inside.setAttribute("role", "presentation"); // one picture, not two
  drawing.append(back, inside, front);
  return {
    element: node("div", { class: "ik-frame" }, drawing),
    show(reply) {
      const [width, height] = reply.size;
      const [left, top, right, bottom] = reply.box;
      drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
      drawing.setAttribute("aria-label", reply.alt);
      const place = { x: left, y: top, width: right - left, height: bottom - top, viewBox: [left, top, right - left, bottom - top].join(" ") };
      for (const [name, value] of Object.entries(place)) inside.setAttribute(name, value);
      [[back, reply.back], [inside, reply.inside], [front, reply.front]].forEach((each) => update(...each));
    },
  };
}

function makeTexts() {
  const list = node("dl", { class: "ik-texts" });
  let [made, shape] = [[], null];
  return {
    element: list,
    show(texts) {
      const wanted = JSON.stringify(texts.map(([label]) => label));
      if (shape !== wanted) {
        shape = wanted;
        made = texts.map(() => node("dd"));
        list.replaceChildren(...texts.map(([label], i) => node("div", {}, node("dt", {}, label), made[i])));
        list.hidden = !texts.length;
      }
      texts.forEach(([, words], i) => made[i].textContent !== words && (made[i].textContent = words));
    },
  };
}

// ---- Ticks and buttons ----

const LOST_MS = 30000; // a beat without an answer for this long went astray

// The page sends the next beat once the last tick is drawn, and only while the figure is in sight.
function makePulse(model, tell) {
  const page = freshId();
  const every = 1000 * model.get("_every");
  let [on, inSight, waits] = [false, false, false];
  let [timer, tickedAt, seen] = [0, -Infinity, model.get("_reply").ticks];

  const isShown = () => on && inSight && document.visibilityState === "visible";

  function beat() {
    [waits, tickedAt] = [true, performance.now()];
    tell({ beat: page });
    timer = setTimeout(beat, Math.max(LOST_MS, 2 * every));
  }

  function plan() {
    if (waits) return;
    clearTimeout(timer);
    if (isShown()) timer = setTimeout(beat, Math.max(0, tickedAt + every - performance.now()));
  }

  const watch = new IntersectionObserver((entries) => {
    inSight = entries.at(-1).isIntersecting;
    plan();
  });
  document.addEventListener("visibilitychange", plan);
  return {
    watch: (element) => every && watch.observe(element),
    // Whether a reply is to a tick, this page's or another's.
    answered(ticks) {
      if (ticks === seen) return false;
      if (!waits) tickedAt = performance.now();
      [seen, waits] = [ticks, false];
      plan();
      return true;
    },
    turn(to) {
      [on, waits, tickedAt] = [to, false, -Infinity];
      plan();
    },
    isOn: () => on,
    close() {
      clearTimeout(timer);
      watch.disconnect();
      document.removeEventListener("visibilitychange", plan);
    },
  };
}

function makeActions(names, { turn, press }) {
  const run = turn ? [node("button", { type: "button", class: "ik-run" }, "Start")] : [];
  const buttons = names.map((name) => node("button", { type: "button" }, name));
  for (const button of run) button.addEventListener("click", turn);
  buttons.forEach((button, i) => button.addEventListener("click", () => button.getAttribute("aria-disabled") === "true" || press(names[i])));
  return {
    elements: [...run, ...buttons],
    showRunning: (on) => run.forEach((button) => (button.textContent = on ? "Stop" : "Start")),
    showBusy(busy) {
      buttons.forEach((button, i) => {
        button.setAttribute("aria-disabled", String(Boolean(busy)));
        button.classList.toggle("ik-working", names[i] === busy);
      });
    },
  };
}

function spoken({ error, texts, alt }, pressed) {
  if (pressed) return `Failed. ${pressed}.`;
  if (error) return `Failed. ${error}. The figure is old.`;
  return texts.length ? texts.map(([label, words]) => `${label}: ${words}.`).join(" ") : alt;
}

function render({ model, el }) {
  const note = node("div", { class: "ik-note" });
  const failure = node("p", { class: "ik-failure", hidden: "" });
  const speaker = makeSpeaker();
  const drawing = makeDrawing();
  const texts = makeTexts();
  const onSilence = () => {
    note.textContent = "No figure yet. The function is at work, or the kernel has stopped: then run the cell again.";
  };
  const post = makePost(model, onSilence);
  let values = { ...model.get("_values") };
  let failed = false;
  let silence = 0;

  function tell(content) {
    clearTimeout(silence);
    silence = setTimeout(onSilence, PATIENCE_MS);
    try {
      model.send(content);
    } catch {
      // The kernel is gone; the silence says so.
    }
  }

  const pulse = makePulse(model, tell);
  const actions = makeActions(model.get("_buttons"), {
    turn: model.get("_every") && (() => {
      tell({ run: !pulse.isOn() });
      showRunning(!pulse.isOn());
    }),
    press(name) {
      actions.showBusy(name);
      tell({ press: name });
    },
  });

  function change(news) {
    values = { ...values, ...news };
    root.dataset.settled = "false";
    post.put(values);
  }

  const made = model.get("_controls").map((control) => [
    control.name,
    (control.kind === "switch" ? makeSwitch : MAKERS[control.kind])(control, (value) => change({ [control.name]: value })),
  ]);
  const reset = node("button", { type: "button", class: "ik-reset" }, "Reset");
  reset.addEventListener("click", () => {
    model.set("_resets", model.get("_resets") + 1); // goes out with the values
    change(model.get("_start"));
    showValues();
  });
  const controls = node("div", { class: "ik-controls", role: "group", "aria-label": "Controls" }, ...made.map(([, control]) => control.element));
  const top = actions.elements.length
    ? [controls, node("div", { class: "ik-actions" }, ...actions.elements, reset)]
    : [node("div", { class: "ik-top" }, controls, reset)];
  const title = model.get("_title") ? [node("div", { class: "ik-title" }, model.get("_title"))] : [];
  const root = node(
    "div", { class: "inferkit-widget inferkit-live inferkit-figure" },
    ...title, ...top, texts.element, failure, drawing.element, note, speaker.element,
  );
  keepKeys(root);
  if (model.get("_every")) root.dataset.running = "false";

  function showValues() {
    for (const [name, control] of made) control.set(values[name]);
  }

  function valuesFromElsewhere() {
    if (post.isSending()) return; // what this view sends comes by here too
    values = { ...model.get("_values") };
    showValues();
  }

  function showRunning(on) {
    if (on === pulse.isOn()) return;
    pulse.turn(on);
    actions.showRunning(on);
    root.dataset.running = String(on);
    speaker.say(on ? "Running." : `Stopped. ${spoken(model.get("_reply"))}`);
  }

  function runningFromElsewhere() {
    clearTimeout(silence);
    const on = model.get("_running");
    if (pulse.isOn() && !on) note.textContent = "It has stopped by itself. Press Start to go on.";
    showRunning(on);
  }

  function showFailure() {
    const { error } = model.get("_reply");
    const said = [model.get("_pressed").error, error].filter(Boolean);
    failure.hidden = !said.length;
    failure.textContent = said.join("\n");
    root.classList.toggle("ik-old", Boolean(error));
  }

  function showPressed() {
    clearTimeout(silence);
    const { busy, error } = model.get("_pressed");
    actions.showBusy(busy);
    showFailure();
    if (error) speaker.say(spoken(model.get("_reply"), error));
  }

  function showReply() {
    const reply = model.get("_reply");
    drawing.show(reply);
    texts.show(reply.texts);
    showFailure();
    const waited = post.answered(reply.asked);
    root.dataset.serial = reply.serial;
    root.dataset.settled = String(waited !== null); // what stands here answers what the controls show
    if (waited !== null) note.textContent = reply.error ? `Old figure: ${reply.old}.` : "";
    const isTick = pulse.answered(reply.ticks);
    if (isTick) clearTimeout(silence);
    // A reader hears what they have asked for, and that it failed: not every tick; but the last one, which comes after Stop.
    const asked = !isTick || waited || failed !== Boolean(reply.error);
    if (isTick && !pulse.isOn()) speaker.say(`Stopped. ${spoken(reply)}`);
    else if (asked) speaker.say(spoken(reply, model.get("_pressed").error));
    failed = Boolean(reply.error);
  }

  const measure = () => {
    const width = 10 * Math.floor(drawing.element.clientWidth / 10);
    if (!width || width === model.get("_width")) return; // out of sight, or laid out for it
    model.set("_width", width);
    model.save_changes();
  };
  const watch = new ResizeObserver(measure);

  model.on("change:_reply", showReply);
  model.on("change:_values", valuesFromElsewhere);
  model.on("change:_running", runningFromElsewhere);
  model.on("change:_pressed", showPressed);
  el.append(root);
  showValues();
  showReply();
  showPressed();
  showRunning(model.get("_running"));
  watch.observe(drawing.element);
  pulse.watch(root);
  return () => {
    watch.disconnect();
    model.off("change:_reply", showReply);
    model.off("change:_values", valuesFromElsewhere);
    model.off("change:_running", runningFromElsewhere);
    model.off("change:_pressed", showPressed);
    clearTimeout(silence);
    pulse.close();
    post.close();
    speaker.close();
  };
}

export default { render };
