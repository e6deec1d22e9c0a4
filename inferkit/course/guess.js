// A question, a native slider or native radio buttons, and a button that keeps the choice.
// All texts come ready from the kernel and enter the page as text, never as HTML.

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function slider(labels, chosen) {
  const input = element("input", { type: "range", min: 0, max: labels.length - 1, step: 1 });
  input.value = chosen >= 0 ? chosen : Math.floor((labels.length - 1) / 2);
  // The slider speaks its value itself, so the number on show is hidden from screen readers.
  const shown = element("strong", { className: "inferkit-course-value", ariaHidden: "true" });
  const show = () => {
    shown.textContent = labels[input.value];
    input.ariaValueText = labels[input.value];
  };
  input.addEventListener("input", show);
  show();
  const ends = element("div", { className: "inferkit-course-ends", ariaHidden: "true" });
  ends.append(element("span", {}, labels[0]), element("span", {}, labels[labels.length - 1]));
  return { parts: [input, ends, shown], labelled: input, value: () => Number(input.value), set: (i) => { input.value = i; show(); } };
}

function radios(labels, chosen) {
  const name = "guess-" + Math.random().toString(36).slice(2); // each view groups its own
  const inputs = labels.map((_, i) => element("input", { type: "radio", name, value: i, checked: i === chosen }));
  const rows = labels.map((label, i) => element("label", { className: "inferkit-course-option" }, inputs[i], label));
  return { parts: rows, value: () => inputs.findIndex((i) => i.checked), set: (i) => { inputs[i].checked = true; } };
}

function render({ model, el }) {
  const labels = model.get("labels");
  const control = (model.get("slider") ? slider : radios)(labels, model.get("chosen"));
  const title = element("legend", {}, model.get("question"));
  if (control.labelled) control.labelled.ariaLabel = model.get("question");
  const status = element("p", { className: "inferkit-course-status", role: "status" });
  const form = element("form", {},
    element("fieldset", {}, title, ...control.parts),
    element("button", { type: "submit" }, "Keep my guess"), status);

  let waiting;
  const showKept = () => {
    clearTimeout(waiting);
    const kept = model.get("kept");
    status.textContent = kept ? `Kept: ${kept}` : "No guess kept yet.";
  };
  const moved = () => model.get("chosen") >= 0 && control.set(model.get("chosen"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (control.value() < 0) {
      status.textContent = "Choose one first.";
      return;
    }
    if (control.value() === model.get("chosen")) return showKept();
    model.set("chosen", control.value());
    model.save_changes();
    // The kernel confirms what it keeps: within milliseconds, unless a cell runs.
    waiting = setTimeout(() => { status.textContent = "It will be kept when the running cell is done."; }, 500);
  });
  model.on("change:kept", showKept);
  model.on("change:chosen", moved);
  showKept();

  el.classList.add("inferkit-course");
  // JupyterLab must not take what is typed here for its shortcuts ("d d" deletes a cell). It offers
  // the attribute for that; 4.6 acts on the keys of a button in spite of it, so they stay in here.
  el.dataset.lmSuppressShortcuts = "true";
  el.addEventListener("keydown", (event) => event.stopPropagation());
  el.append(form);
  return () => {
    clearTimeout(waiting);
    model.off("change:kept", showKept);
    model.off("change:chosen", moved);
  };
}

export default { render };
