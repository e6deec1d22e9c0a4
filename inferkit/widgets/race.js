// The view of inferkit.widgets.RuntimeRace: a button, and a bar for each runtime on a logarithmic axis.

const UNITS = [[1e-6, "ns"], [1e-3, "µs"], [1, "ms"], [1e3, "s"]]; // in milliseconds

function decade(power) {
  const ms = 10 ** power;
  const [size, unit] = UNITS.filter(([size]) => size <= ms * 1.001).at(-1) ?? UNITS[0];
  return `${Number((ms / size).toPrecision(1)).toLocaleString("en")} ${unit}`;
}

const factor = (ratio) => `${ratio < 10 ? ratio.toFixed(1) : Number(ratio.toPrecision(2)).toLocaleString("en")} ×`;

// Whole decades that hold every percentile of every runtime, so that the axis rests when another one is chosen.
function axisOf(rows) {
  const all = rows.flatMap(({ stated }) => Object.values(stated)).flatMap(({ value, low, high }) => [value, low, high]).filter((ms) => ms > 0);
  if (!all.length) return null;
  const first = Math.floor(Math.log10(Math.min(...all) / 2)); // half a decade for the shortest bar
  const last = Math.max(first + 1, Math.ceil(Math.log10(Math.max(...all))));
  return { first, last, at: (ms) => Math.min(1, Math.max(0, (Math.log10(ms) - first) / (last - first))) };
}

function makeRow({ name }) {
  const parts = Object.fromEntries(["bar", "span", "value", "sure", "times", "note"].map((part) => [part, node("div", { class: `ik-${part}` })]));
  const track = node("div", { class: "ik-track", "aria-hidden": "true" }, parts.bar, parts.span);
  const title = node("div", { class: "ik-name", title: name }, name);
  const head = node("div", { class: "ik-figures" }, parts.value, parts.sure, parts.times);
  return { ...parts, element: node("div", { class: "ik-runner", role: "group", "aria-label": name }, title, head, track, parts.note) };
}

function place(element, from, to) {
  Object.assign(element.style, { left: `${100 * from}%`, width: `${100 * (to - from)}%` });
}

function fillRow(row, data, q, { needs, state }, axis, fastest) {
  const found = data.stated[q];
  const calls = `${data.n.toLocaleString("en")} calls`;
  row.element.dataset.state = data.error ? "failed" : found ? "shown" : "waiting";
  row.value.textContent = found ? found.text : "–";
  row.sure.textContent = found ? `${found.interval}, ${calls}` : "";
  row.times.textContent = found && fastest > 0 ? (found.value === fastest ? "fastest" : factor(found.value / fastest)) : "";
  const unsupported = data.n ? `${name(q)} needs ${needs[q].toLocaleString("en")} calls, this has ${data.n.toLocaleString("en")}.` : "";
  const notes = state === "measuring" ? [] : (data.notes ?? []);
  row.note.textContent = data.error ?? [found ? "" : unsupported, ...notes.map((note) => `${note}.`)].filter(Boolean).join(" ");
  row.bar.hidden = row.span.hidden = !found || !axis;
  if (!found || !axis) return;
  place(row.bar, 0, axis.at(found.value));
  place(row.span, found.low === null ? 0 : axis.at(found.low), found.high === null ? 1 : axis.at(found.high));
}

const name = (q) => (q === "50" ? "The median" : `A p${q}`);

function drawAxis(element, axis) {
  const ticks = axis ? Array.from({ length: axis.last - axis.first + 1 }, (_, i) => axis.first + i) : [];
  const every = Math.ceil(ticks.length / 6);
  element.replaceChildren(
    ...ticks.map((power, i) => {
      const tick = node("span", { class: "ik-tick" }, i % every ? "" : decade(power));
      tick.style.left = `${(100 * i) / (ticks.length - 1)}%`;
      return tick;
    }),
  );
}

function spoken({ state, rows, busy }, q) {
  if (state === "measuring") return "Measuring.";
  if (state === "idle") return "";
  const said = rows.map(({ name, error, stated, n }) => `${name}: ${error ?? (stated[q] ? stated[q].text : `${n} calls, too few`)}.`);
  return [state === "stopped" ? "Stopped." : "Done.", ...said, busy ? `${busy}.` : ""].join(" ");
}

function noteOn({ state, share, busy }, unit) {
  if (state === "idle") return `Press Measure. One call answers one ${unit}.`;
  const many = `One call answers one ${unit}. The mark at the end of a bar is its 95 % interval.`;
  if (state === "measuring") return `Measuring, ${Math.round(100 * share)} %. ${many}`;
  return `${state === "stopped" ? "Stopped; this is what was measured." : "Done."} ${many}`;
}

function render({ model, el }) {
  const speaker = makeSpeaker();
  const button = node("button", { type: "button", class: "ik-go" }, "Measure");
  const id = freshId();
  const options = [["50", "median"], ["90", "p90"], ["99", "p99"]].map(([q, text]) => node("option", { value: q }, text));
  const choice = node("select", { id }, ...options);
  const tools = node("div", { class: "ik-tools" }, button, node("label", { for: id }, "Show"), choice);
  const list = node("div", { class: "ik-runners" });
  const axisLine = node("div", { class: "ik-axis", "aria-hidden": "true" });
  const note = node("div", { class: "ik-note" });
  const busy = node("div", { class: "ik-busy" });
  const foot = node("div", { class: "ik-foot" }, note, busy);
  const root = node("div", { class: "inferkit-widget inferkit-race" }, tools, list, axisLine, foot, speaker.element);
  keepKeys(root);
  let made = [];

  function show() {
    const reply = model.get("_reply");
    const q = choice.value;
    if (!made.length) {
      made = reply.rows.map(makeRow);
      list.replaceChildren(...made.map((row) => row.element));
    }
    const axis = axisOf(reply.rows);
    const fastest = Math.min(...reply.rows.map(({ stated }) => stated[q]?.value ?? Infinity));
    reply.rows.forEach((data, i) => fillRow(made[i], data, q, reply, axis, fastest));
    drawAxis(axisLine, axis);
    button.textContent = reply.state === "measuring" ? "Stop" : reply.state === "idle" ? "Measure" : "Measure again";
    note.textContent = noteOn(reply, model.get("_unit"));
    busy.textContent = reply.busy ? `The machine was busy: ${reply.busy}.` : "";
    Object.assign(root.dataset, { state: reply.state, serial: reply.serial });
    speaker.say(spoken(reply, q));
  }

  button.addEventListener("click", () => {
    const serial = (model.get("_order").serial ?? 0) + 1;
    model.set("_order", { serial, measure: model.get("_reply").state !== "measuring" });
    model.save_changes();
  });
  choice.addEventListener("change", show);
  model.on("change:_reply", show);
  el.append(root);
  show();
  return () => {
    model.off("change:_reply", show);
    speaker.close();
  };
}

export default { render };
