// Questions with native radio buttons. A checked answer gets its reason in a live region.
// All texts enter the page as text, never as HTML.

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function ask({ question, options }, onRight) {
  const name = "quiz-" + Math.random().toString(36).slice(2); // each view groups its own
  const inputs = options.map((_, i) => element("input", { type: "radio", name, value: i }));
  const rows = options.map((o, i) => element("label", { className: "inferkit-course-option" }, inputs[i], o.text));
  const button = element("button", { type: "submit" }, "Check");
  const feedback = element("p", { className: "inferkit-course-status", role: "status" });
  const say = (text, verdict) => {
    feedback.textContent = text;
    feedback.dataset.verdict = verdict;
  };
  const form = element("form", {},
    element("fieldset", {}, element("legend", {}, question), ...rows), button, feedback);
  form.addEventListener("change", () => say("", "")); // the reason belonged to another option
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const option = options[inputs.findIndex((i) => i.checked)];
    if (!option) return say("Choose an answer first.", "");
    say(`${option.right ? "✓ Right." : "✗ Not this one."} ${option.reason}`, option.right ? "right" : "wrong");
    if (option.right) onRight();
  });
  return form;
}

function render({ model, el }) {
  const questions = model.get("questions");
  const solved = new Set();
  const score = element("p", { className: "inferkit-course-score" });
  const count = (i) => {
    if (i !== undefined) solved.add(i);
    score.textContent = `${solved.size} of ${questions.length} solved`;
  };
  count();
  el.classList.add("inferkit-course");
  // JupyterLab must not take what is typed here for its shortcuts ("d d" deletes a cell). It offers
  // the attribute for that; 4.6 acts on the keys of a button in spite of it, so they stay in here.
  el.dataset.lmSuppressShortcuts = "true";
  el.addEventListener("keydown", (event) => event.stopPropagation());
  el.append(...questions.map((q, i) => ask(q, () => count(i))));
  if (questions.length > 1) el.append(score);
}

export default { render };
