// Native boxes to tick, one for each fault; the kernel answers with pictures and texts that are ready to be shown.
// Labels come from the user's model, so they enter the page as text, never as HTML.

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function card() {
  const image = element("img", { width: 96, height: 96 });
  const answer = element("strong");
  const sure = element("span");
  const figure = element("figure", {}, image, element("figcaption", {}, answer, sure));
  return {
    figure,
    fill(entry) {
      image.src = entry.src;
      image.alt = "What the model sees";
      answer.textContent = `${entry.right ? "✓" : "✗"} ${entry.answer}`;
      sure.textContent = `${entry.sure} sure`;
      figure.dataset.verdict = entry.right ? "right" : "wrong";
    },
  };
}

function number(title) {
  const value = element("strong");
  return { value, root: element("div", { className: "inferkit-picker-number" }, value, element("span", {}, title)) };
}

function render({ model, el }) {
  const boxes = model.get("faults").map((name) => element("input", { type: "checkbox", value: name }));
  const rows = boxes.map((box) => element("label", {}, box, box.value));
  const form = element("fieldset", {}, element("legend", {}, "Silent faults"), ...rows);
  const [right, sure] = [number("right"), number("sure, in the mean")];
  const status = element("p", { className: "inferkit-picker-status", role: "status" });
  const pictures = element("div", { className: "inferkit-picker-pictures" });
  const side = element("div", {}, element("div", { className: "inferkit-picker-numbers" }, right.root, sure.root), pictures, status);
  let cards = [];

  const tick = () => boxes.forEach((box) => { box.checked = model.get("chosen").includes(box.value); });
  const show = () => {
    const shown = model.get("shown");
    if (cards.length !== shown.pictures.length) {
      cards = shown.pictures.map(card);
      pictures.replaceChildren(...cards.map((one) => one.figure));
    }
    shown.pictures.forEach((entry, i) => cards[i].fill(entry));
    right.value.textContent = shown.accuracy;
    sure.value.textContent = shown.confidence;
    status.textContent = shown.spoken;
  };
  form.addEventListener("change", () => {
    model.set("chosen", boxes.filter((box) => box.checked).map((box) => box.value));
    model.save_changes();
  });
  model.on("change:chosen", tick);
  model.on("change:shown", show);
  tick();
  show();

  el.classList.add("inferkit-picker");
  // JupyterLab must not take what is typed here for its shortcuts ("d d" deletes a cell). Only Tab may pass.
  el.dataset.lmSuppressShortcuts = "true";
  el.addEventListener("keydown", (event) => event.key === "Tab" || event.stopPropagation());
  el.append(form, side);
  return () => {
    model.off("change:chosen", tick);
    model.off("change:shown", show);
  };
}

export default { render };
