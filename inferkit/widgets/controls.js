// Controls that views share, and the post that brings their newest values to the kernel.

const TILE = 56; // pixels of an example's picture on the screen
const PATIENCE_MS = 2500; // without an answer for this long, the widget says so

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
