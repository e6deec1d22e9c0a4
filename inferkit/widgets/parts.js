// What the views of inferkit's widgets share; it stands before the view's own code.
// Names, labels and messages come from the user, so they enter the page as text only, never as HTML.

const SPEAK_AFTER_MS = 700; // a screen reader hears the news once nothing has changed for this long

function node(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

let lastId = 0;
const freshId = () => `inferkit-${(lastId += 1)}-${Math.random().toString(36).slice(2)}`;

// Three digits, and the unit in which they read best.
function duration(us) {
  const [value, unit] = us < 1000 ? [us, "µs"] : us < 1e6 ? [us / 1000, "ms"] : [us / 1e6, "s"];
  return [value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString("en"), unit];
}

// Keys typed on a widget must not reach JupyterLab ("d d" deletes the cell). Only Tab may pass.
function keepKeys(root) {
  root.dataset.lmSuppressShortcuts = "true";
  root.addEventListener("keydown", (event) => event.key === "Tab" || event.stopPropagation());
}

function makeSpeaker() {
  const element = node("div", { class: "ik-status", role: "status", "aria-live": "polite" });
  let timer = 0;
  return {
    element,
    say(text) {
      clearTimeout(timer);
      timer = setTimeout(() => element.textContent !== text && (element.textContent = text), SPEAK_AFTER_MS);
    },
    close: () => clearTimeout(timer),
  };
}

