// A slider for the size of a sample, a button that draws again, and a drawing of what the sample says.
// What is computed comes ready from the kernel; all texts enter the page as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";
const SPEAK_AFTER_MS = 700; // a screen reader hears the news once nothing has changed for this long
const LEFT = 56, RIGHT = 500, WIDTH = 760, TOP = 12, FLOOR = 132, LANE = 46, AXIS = 292, HEIGHT = 324;

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function shape(tag, attributes = {}, text = "") {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

function scale([low, high]) {
  const [a, b] = [Math.log(low), Math.log(high)];
  return (value) => LEFT + 8 + ((Math.log(value) - a) / (b - a)) * (RIGHT - LEFT - 16);
}

function ticks([low, high]) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1)
    for (const step of [1, 2, 5]) found.push(Number((step * 10 ** power).toPrecision(3)));
  const inside = found.filter((value) => value >= low && value <= high);
  return inside.length > 8 ? inside.filter((value) => String(value).replace(/[0.]/g, "") === "1") : inside;
}

function axis(ends, unit, x) {
  const parts = [shape("line", { class: "ik-axis", x1: LEFT, x2: RIGHT, y1: AXIS, y2: AXIS })];
  for (const value of ticks(ends)) {
    parts.push(shape("line", { class: "ik-axis", x1: x(value), x2: x(value), y1: AXIS, y2: AXIS + 5 }));
    parts.push(shape("text", { x: x(value), y: AXIS + 20, "text-anchor": "middle" }, value.toLocaleString("en")));
  }
  parts.push(shape("text", { x: RIGHT + 8, y: AXIS + 20 }, `${unit}, log scale`));
  return parts;
}

function cloud({ dots, size }, x) {
  const y = (share) => FLOOR - share * (FLOOR - TOP);
  const parts = dots.map(([value, share]) => shape("circle", { class: "ik-dot", cx: x(value), cy: y(share), r: 3 }));
  for (const share of [0, 1]) parts.push(shape("text", { class: "ik-none", x: 4, y: y(share) + 5 }, `${100 * share} %`));
  parts.push(shape("text", { x: RIGHT + 8, y: TOP + 12 }, `${size.toLocaleString("en")} calls, sorted`));
  return parts;
}

function lane(row, place, x) {
  const y = FLOOR + 34 + place * LANE;
  const parts = [shape("text", { class: "ik-name", x: 4, y: y + 5 }, row.name)];
  if (row.value === undefined) {
    parts.push(shape("line", { class: "ik-unknown", x1: LEFT, x2: RIGHT, y1: y, y2: y }));
  } else {
    const [from, to] = [row.low === null ? LEFT : x(row.low), row.high === null ? RIGHT : x(row.high)];
    parts.push(shape("rect", { class: "ik-band", x: from, y: y - 15, width: Math.max(to - from, 3), height: 30 }));
    parts.push(shape("circle", { class: "ik-value", cx: x(row.value), cy: y, r: 5 }));
  }
  parts.push(shape("line", { class: "ik-truth", x1: x(row.truth), x2: x(row.truth), y1: y - 19, y2: y + 19 }));
  parts.push(shape("text", { class: row.value === undefined ? "ik-none" : "", x: RIGHT + 8, y: y + 5 }, row.words));
  return parts;
}

function render({ model, el }) {
  const sizes = model.get("sizes");
  const words = (index) => `${sizes[index].toLocaleString("en")} calls`;
  const slider = element("input", { type: "range", min: 0, max: sizes.length - 1, step: 1, ariaLabel: "Size of the sample" });
  const shown = element("strong", { ariaHidden: "true" });
  const again = element("button", { type: "button" }, "Draw again");
  const status = element("p", { className: "ik-spoken", role: "status" });
  const drawing = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  const key = element("p", { className: "ik-key" }, "Band: 95 % interval of this sample. Dot: its percentile. Line: the truth.");
  let timer;

  const label = () => {
    shown.textContent = words(slider.value);
    slider.ariaValueText = words(slider.value);
  };
  const draw = () => {
    const reply = model.get("reply");
    const x = scale(model.get("ends"));
    const lanes = reply.rows.flatMap((row, place) => lane(row, place, x));
    drawing.replaceChildren(...axis(model.get("ends"), model.get("unit"), x), ...cloud(reply, x), ...lanes);
    const said = `${reply.size.toLocaleString("en")} calls. ${reply.rows.map((row) => `${row.name}: ${row.words}`).join(". ")}.`;
    drawing.setAttribute("aria-label", said);
    el.dataset.size = reply.size;
    el.dataset.draws = reply.draws;
    clearTimeout(timer);
    timer = setTimeout(() => { status.textContent = said; }, SPEAK_AFTER_MS);
  };
  const moved = () => {
    slider.value = model.get("chosen");
    label();
  };
  slider.addEventListener("input", () => {
    label();
    model.set("chosen", Number(slider.value));
    model.save_changes();
  });
  again.addEventListener("click", () => {
    model.set("draws", model.get("draws") + 1);
    model.save_changes();
  });
  model.on("change:reply", draw);
  model.on("change:chosen", moved);
  moved();
  draw();

  el.classList.add("inferkit-sampler");
  // JupyterLab must not take what is typed here for its shortcuts ("d d" deletes a cell).
  el.dataset.lmSuppressShortcuts = "true";
  el.addEventListener("keydown", (event) => event.key === "Tab" || event.stopPropagation());
  el.append(element("div", { className: "ik-controls" }, slider, shown, again), drawing, key, status);
  return () => {
    clearTimeout(timer);
    model.off("change:reply", draw);
    model.off("change:chosen", moved);
  };
}

export default { render };
