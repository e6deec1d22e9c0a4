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

function spoken({ error, texts, alt }) {
  if (error) return `Failed. ${error}. The figure is old.`;
  return texts.length ? texts.map(([label, words]) => `${label}: ${words}.`).join(" ") : alt;
}

function render({ model, el }) {
  const note = node("div", { class: "ik-note" });
  const failure = node("p", { class: "ik-failure", hidden: "" });
  const speaker = makeSpeaker();
  const drawing = makeDrawing();
  const texts = makeTexts();
  const post = makePost(model, () => {
    note.textContent = "No figure yet. The function is at work, or the kernel has stopped: then run the cell again.";
  });
  let values = { ...model.get("_values") };

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
  const title = model.get("_title") ? [node("div", { class: "ik-title" }, model.get("_title"))] : [];
  const root = node(
    "div", { class: "inferkit-widget inferkit-live inferkit-figure" },
    ...title, node("div", { class: "ik-top" }, controls, reset), texts.element, failure, drawing.element, note, speaker.element,
  );
  keepKeys(root);

  function showValues() {
    for (const [name, control] of made) control.set(values[name]);
  }

  function valuesFromElsewhere() {
    if (post.isSending()) return; // what this view sends comes by here too
    values = { ...model.get("_values") };
    showValues();
  }

  function showReply() {
    const reply = model.get("_reply");
    drawing.show(reply);
    texts.show(reply.texts);
    failure.hidden = !reply.error;
    failure.textContent = reply.error ?? "";
    root.classList.toggle("ik-old", Boolean(reply.error));
    const waited = post.answered(reply.asked);
    root.dataset.serial = reply.serial;
    root.dataset.settled = String(waited !== null); // what stands here answers what the controls show
    if (waited !== null) note.textContent = reply.error ? `Old figure: ${reply.old}.` : "";
    speaker.say(spoken(reply));
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
  el.append(root);
  showValues();
  showReply();
  watch.observe(drawing.element);
  return () => {
    watch.disconnect();
    model.off("change:_reply", showReply);
    model.off("change:_values", valuesFromElsewhere);
    post.close();
    speaker.close();
  };
}

export default { render };
