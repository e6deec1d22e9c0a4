// The view of inferkit.widgets.DigitPad: paper and pen, and what the predictors say.
// Names, labels and messages come from the user, so they enter the page as text only, never as HTML.

const FIELD = 32; // the kernel gets FIELD × FIELD bytes of ink
const PEN = 3.2; // width of the pen in those units
const SPEAK_AFTER_MS = 700; // a screen reader hears the answer once the pen has rested this long
const PATIENCE_MS = 2500; // without an answer for this long, the pad says so

function node(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const percent = (p) => `${(100 * p).toFixed(1)} %`;
const microseconds = (t) => (t < 10 ? t.toFixed(1) : Math.round(t).toLocaleString("en"));

// ---- Paper: strokes as smooth lines on the screen, and the same strokes as 32 × 32 bytes ----

function trace(context, points) {
  const [first, ...rest] = points;
  context.beginPath();
  if (rest.length === 0) rest.push([first[0] + 0.01, first[1]]); // a dot: a line of no length is not drawn
  context.moveTo(...first);
  rest.slice(0, -1).forEach(([x, y], i) => context.quadraticCurveTo(x, y, (x + rest[i + 1][0]) / 2, (y + rest[i + 1][1]) / 2));
  context.lineTo(...rest.at(-1));
  context.stroke();
}

function stamp(bytes, colour) {
  const canvas = node("canvas", { width: FIELD, height: FIELD });
  const context = canvas.getContext("2d");
  const image = context.createImageData(FIELD, FIELD);
  bytes.forEach((ink, i) => (image.data[4 * i + 3] = ink));
  context.putImageData(image, 0, 0);
  context.globalCompositeOperation = "source-in";
  context.fillStyle = colour;
  context.fillRect(0, 0, FIELD, FIELD);
  return canvas;
}

function paint(context, size, marks, colour) {
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, size, size);
  context.scale(size / FIELD, size / FIELD);
  Object.assign(context, { strokeStyle: colour, fillStyle: colour, lineWidth: PEN, lineCap: "round", lineJoin: "round" });
  for (const mark of marks) {
    if (mark.points) trace(context, mark.points);
    else if (mark.bytes) context.drawImage(stamp(mark.bytes, colour), 0, 0, FIELD, FIELD);
  }
}

function makePaper(canvas) {
  const screen = canvas.getContext("2d");
  const small = node("canvas", { width: FIELD, height: FIELD }).getContext("2d", { willReadFrequently: true });
  const marks = []; // strokes {points}, whole drawings {bytes}, and wipes {}: undo takes the last one back
  let stroke = null; // the one under the pen; what else happens to the paper ends it

  // A whole drawing or a wipe covers all that came before it.
  const visible = () => marks.slice(Math.max(0, marks.findLastIndex((mark) => !mark.points)));

  function add(mark) {
    marks.push(mark);
    stroke = mark.points ?? null;
  }

  return {
    begin: (point) => add({ points: [point] }),
    extend: (point) => (stroke ? stroke.push(point) : add({ points: [point] })),
    wipe: () => add({}),
    replace: (bytes) => add({ bytes }),
    undo() {
      marks.pop();
      stroke = null;
    },
    canUndo: () => marks.length > 0,
    show() {
      const size = Math.round(canvas.clientWidth * devicePixelRatio) || FIELD;
      if (canvas.width !== size) canvas.width = canvas.height = size;
      paint(screen, size, visible(), getComputedStyle(canvas).color);
    },
    ink() {
      paint(small, FIELD, visible(), "#000");
      const rgba = small.getImageData(0, 0, FIELD, FIELD).data;
      return Uint8Array.from({ length: FIELD * FIELD }, (_, i) => rgba[4 * i + 3]);
    },
  };
}

// ---- Post: one message under way at most; while it is, only the newest drawing is kept ----

function makePost(model, onSilence) {
  let waitingFor = 0;
  let next = null;
  let frame = 0;
  let silence = 0;
  let sentAt = 0;
  let known = null; // the ink that model and view last agreed on

  function send() {
    frame = 0;
    if (next === null || waitingFor) return;
    [known, next] = [next, null];
    waitingFor = model.get("_asked") + 1;
    sentAt = performance.now();
    silence = setTimeout(onSilence, PATIENCE_MS);
    model.set({ _ink: new DataView(known.slice().buffer), _asked: waitingFor });
    model.save_changes();
  }

  return {
    // Called once a frame at most. What waits for an answer goes out in the frame after it.
    put(ink) {
      next = ink;
      if (!frame) send();
    },
    answered(asked) {
      if (!waitingFor || asked < waitingFor) return null;
      waitingFor = 0;
      clearTimeout(silence);
      if (next) frame ||= requestAnimationFrame(send);
      return performance.now() - sentAt;
    },
    isBusy: () => waitingFor > 0 || next !== null,
    isNews: (ink) => known === null || ink.some((value, i) => value !== known[i]),
    learn: (ink) => (known = ink),
    close: () => [clearTimeout(silence), cancelAnimationFrame(frame)],
  };
}

// ---- Answers: a card for each predictor ----

function makeCard(entry) {
  const rows = entry.labels.map((label) => {
    const name = node("span", { class: "ik-label", title: label }, label);
    const fill = node("i");
    const value = node("span", { class: "ik-value" });
    return { element: node("div", { class: "ik-row" }, name, node("span", { class: "ik-track" }, fill), value), fill, value };
  });
  const answer = node("span", { class: "ik-answer" });
  const sure = node("div", { class: "ik-sure" });
  const bars = node("div", { class: "ik-bars", role: "img" }, ...rows.map((row) => row.element));
  const time = node("span", { class: "ik-time" });
  const failure = node("p", { class: "ik-failure" });
  const element = node(
    "section",
    { class: "ik-card", role: "group", "aria-label": entry.name },
    node("div", { class: "ik-name", title: entry.name }, entry.name),
    node("div", { class: "ik-head" }, answer, node("div", {}, sure, node("div", { class: "ik-cost" }, time, " µs"))),
    bars,
    failure,
  );
  return { element, rows, answer, sure, bars, time, failure };
}

function fillCard(card, entry) {
  const { probabilities: p, best, labels, error } = entry;
  card.element.dataset.state = error ? "failed" : p ? "answered" : "blank";
  card.answer.textContent = p ? labels[best] : "–";
  card.answer.classList.toggle("ik-word", Boolean(p) && labels[best].length > 2);
  card.sure.textContent = p ? percent(p[best]) : "";
  card.time.textContent = p ? microseconds(entry.time_us) : "–";
  card.failure.textContent = error ?? "";
  card.bars.setAttribute("aria-label", p ? labels.map((label, i) => `${label}: ${percent(p[i])}`).join(", ") : "no answer yet");
  card.rows.forEach((row, i) => {
    row.element.classList.toggle("ik-best", i === best);
    row.fill.style.transform = `scaleX(${p ? p[i] : 0})`;
    row.value.textContent = p && p[i] >= 0.005 ? Math.round(100 * p[i]) : "";
  });
}

function spoken(entries) {
  const said = entries.filter(({ probabilities: p, error }) => p || error).map(({ name, labels, best, probabilities: p, error }) =>
    error ? `${name} failed. ${error}.` : `${name} reads ${labels[best]}, ${Math.round(100 * p[best])} percent.`,
  );
  return said.join(" ") || "The pad is blank. Draw a digit.";
}

function showPicture(canvas, picture) {
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, 8, 8);
  context.fillStyle = getComputedStyle(canvas).color;
  picture.forEach((ink, i) => {
    context.globalAlpha = ink / 16;
    context.fillRect(i % 8, Math.floor(i / 8), 1, 1);
  });
}

// ---- Keyboard: arrows move the pen, Space draws, Backspace clears, Tab leaves ----

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const sum = (points) => points.reduce(([a, b], [c, d]) => [a + c, b + d], [0, 0]);

function makeKeys(hand) {
  const held = new Set();
  let at = [FIELD / 2, FIELD / 2];
  let trail = [at];
  let isDown = false;
  let [movedWhileHeld, wasDown] = [false, false];

  function press(down) {
    if (down && !isDown) {
      trail = [at];
      hand.begin(at);
    }
    if (isDown && !down) hand.extend(at);
    isDown = down;
    hand.pen(at, isDown);
  }

  function move(key) {
    held.add(key);
    const steps = [...held].map((k) => ARROWS[k] ?? [0, 0]);
    at = sum([at, ...steps]).map((v) => Math.min(FIELD - 1, Math.max(1, v)));
    movedWhileHeld ||= held.has(" ");
    trail = [at, ...trail.slice(0, 3)];
    if (isDown) hand.extend(sum(trail).map((v) => v / trail.length)); // stairs of single steps become a slope
    hand.pen(at, isDown);
  }

  function space() {
    if (held.has(" ")) return; // the keyboard repeats a key that is held
    held.add(" ");
    [movedWhileHeld, wasDown] = [false, isDown];
    press(true);
  }

  return {
    down(event) {
      if (event.key in ARROWS) move(event.key);
      else if (event.key === " ") space();
      else if (event.key === "Delete" || event.key === "Backspace") hand.wipe();
      else if (event.key === "Escape") press(false);
      else if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey)) hand.undo();
      else return;
      event.preventDefault();
    },
    // Space held while the pen moves draws as long as it is held; a tap of Space puts the pen down or lifts it.
    up(event) {
      held.delete(event.key);
      if (event.key === " ") press(!movedWhileHeld && !wasDown);
    },
    lift: () => [held.clear(), press(false)],
  };
}

// ---- The whole ----

function makeParts() {
  const hint = "Keys: arrows move the pen, Space draws, Backspace clears.";
  const id = `ik-hint-${Math.random().toString(36).slice(2)}`;
  const canvas = node("canvas", { tabindex: "0", role: "application", "aria-label": "Drawing pad", "aria-describedby": id });
  const cursor = node("div", { class: "ik-cursor", "aria-hidden": "true" });
  const invitation = node("div", { class: "ik-invitation", "aria-hidden": "true" }, "draw a digit");
  const picture = node("canvas", { class: "ik-picture", width: 8, height: 8, role: "img", "aria-label": "What the model sees: 8 by 8 pixels" });
  const undo = node("button", { type: "button", class: "ik-button ik-undo" }, "Undo");
  const clear = node("button", { type: "button", class: "ik-button ik-clear" }, "Clear");
  const cards = node("div", { class: "ik-cards" });
  const note = node("div", { class: "ik-note" });
  const status = node("div", { class: "ik-status", role: "status", "aria-live": "polite" });
  const tools = node("div", { class: "ik-tools" }, picture, node("span", { class: "ik-caption" }, "what the model sees"), undo, clear);
  const left = node("div", { class: "ik-left" }, node("div", { class: "ik-paper" }, canvas, invitation, cursor), tools);
  const foot = node("div", { class: "ik-foot" }, node("div", { id }, hint), note);
  return { canvas, cursor, invitation, picture, undo, clear, cards, note, status, all: [node("div", { class: "ik-main" }, left, cards), foot, status] };
}

function render({ model, el }) {
  const parts = makeParts();
  const root = node("div", { class: "inferkit-pad", "data-lm-suppress-shortcuts": "true" }, ...parts.all);
  const paper = makePaper(parts.canvas);
  const post = makePost(model, () => {
    parts.note.textContent = "No answer yet. The kernel is busy, or it has stopped: then run the cell again.";
  });
  let cards = [];
  let speaking = 0;
  let frame = 0;

  function show(ink) {
    paper.show();
    parts.invitation.hidden = ink.some(Boolean);
    parts.undo.setAttribute("aria-disabled", String(!paper.canUndo()));
    return ink;
  }

  const does = (action) => (...values) => {
    action(...values);
    root.dataset.settled = "false";
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      post.put(show(paper.ink()));
    });
  };
  const hand = {
    begin: does(paper.begin),
    extend: does(paper.extend),
    wipe: does(paper.wipe),
    undo: does(paper.undo),
    pen([x, y], isDown) {
      Object.assign(parts.cursor.style, { left: `${(100 * x) / FIELD}%`, top: `${(100 * y) / FIELD}%` });
      parts.cursor.classList.toggle("ik-down", isDown);
    },
  };
  const keys = makeKeys(hand);
  hand.pen([FIELD / 2, FIELD / 2], false);

  function showReply() {
    const reply = model.get("_reply");
    if (cards.length !== reply.answers.length || cards.some((card, i) => card.rows.length !== reply.answers[i].labels.length)) {
      cards = reply.answers.map(makeCard);
      parts.cards.replaceChildren(...cards.map((card) => card.element));
    }
    reply.answers.forEach((entry, i) => fillCard(cards[i], entry));
    showPicture(parts.picture, reply.picture);
    const trip = post.answered(reply.asked);
    if (trip !== null) parts.note.textContent = noteOn(reply.answers, trip);
    root.dataset.settled = String(!frame && !post.isBusy()); // what stands here answers what is drawn
    root.dataset.serial = reply.serial;
    clearTimeout(speaking);
    speaking = setTimeout(() => (parts.status.textContent = spoken(reply.answers)), SPEAK_AFTER_MS);
  }

  function inkFromElsewhere() {
    const view = model.get("_ink");
    const ink = new Uint8Array(view.buffer, view.byteOffset, view.byteLength).slice();
    if (!post.isNews(ink)) return;
    post.learn(ink);
    if (ink.some(Boolean) || paper.canUndo()) paper.replace(ink);
    show(ink);
    if (post.isBusy()) post.put(ink); // what is under way is older
  }

  listenToPointer(parts.canvas, hand);
  // The keyboard's pen is in the way of one who draws by hand.
  parts.canvas.addEventListener("pointerdown", () => (root.dataset.by = "hand"), true);
  for (const type of ["blur", "keydown"]) parts.canvas.addEventListener(type, () => (root.dataset.by = "keys"));
  parts.canvas.addEventListener("keydown", keys.down);
  parts.canvas.addEventListener("keyup", keys.up);
  parts.canvas.addEventListener("blur", keys.lift);
  parts.clear.addEventListener("click", hand.wipe);
  parts.undo.addEventListener("click", hand.undo);
  // Typed on the pad, "d d" would delete the notebook's cell. Only Tab may pass.
  root.addEventListener("keydown", (event) => event.key === "Tab" || event.stopPropagation());

  model.on("change:_reply", showReply);
  model.on("change:_ink", inkFromElsewhere);
  const repaint = () => {
    paper.show();
    showPicture(parts.picture, model.get("_reply").picture);
  };
  const resized = new ResizeObserver(repaint);
  const themed = new MutationObserver(repaint);
  resized.observe(parts.canvas);
  themed.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name"] });
  el.append(root);
  inkFromElsewhere();
  showReply();

  return () => {
    model.off("change:_reply", showReply);
    model.off("change:_ink", inkFromElsewhere);
    resized.disconnect();
    themed.disconnect();
    post.close();
    cancelAnimationFrame(frame);
    clearTimeout(speaking);
  };
}

function noteOn(answers, trip) {
  const calls = Math.max(0, ...answers.map((entry) => entry.calls ?? 0));
  if (!calls) return "";
  return `Time of the predictor alone, ${calls > 1 ? `median of ${calls} calls` : "one call"}; browser and back ${trip.toFixed(0)} ms.`;
}

function listenToPointer(canvas, hand) {
  let pointer = null; // the one that draws; a second finger is ignored
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * FIELD, ((event.clientY - box.top) / box.height) * FIELD];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (pointer !== null || event.button !== 0) return;
    pointer = event.pointerId;
    canvas.setPointerCapture(pointer);
    canvas.focus({ preventScroll: true });
    hand.begin(place(event));
    event.preventDefault();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== pointer) return;
    const passed = event.getCoalescedEvents?.() ?? []; // a pen reports more often than a page is drawn
    for (const each of passed.length ? passed : [event]) hand.extend(place(each));
  });
  canvas.addEventListener("lostpointercapture", () => (pointer = null)); // lifted, or taken away
}

export default { render };
