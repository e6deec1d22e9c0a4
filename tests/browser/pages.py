"""What a person does in JupyterLab and on a pad, as functions for the tests."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import nbformat
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ConsoleMessage, Locator, Page, expect

Point = tuple[float, float]
Stroke = Sequence[Point]

# Digits as one writes them, in units of the pad's side, y downwards.
DIGITS: dict[int, list[Stroke]] = {
    0: [[(0.50, 0.15), (0.36, 0.20), (0.28, 0.36), (0.28, 0.62), (0.36, 0.80), (0.50, 0.86), (0.64, 0.80),
         (0.72, 0.62), (0.72, 0.36), (0.64, 0.20), (0.50, 0.15)]],
    1: [[(0.38, 0.30), (0.52, 0.14), (0.52, 0.86)]],
    2: [[(0.30, 0.30), (0.38, 0.17), (0.54, 0.14), (0.67, 0.22), (0.67, 0.38), (0.52, 0.58), (0.30, 0.85),
         (0.72, 0.85)]],
    3: [[(0.30, 0.20), (0.48, 0.13), (0.66, 0.21), (0.65, 0.38), (0.48, 0.47), (0.67, 0.57), (0.70, 0.74),
         (0.54, 0.87), (0.30, 0.81)]],
    4: [[(0.54, 0.13), (0.26, 0.62), (0.76, 0.62)], [(0.60, 0.36), (0.60, 0.88)]],
    7: [[(0.26, 0.17), (0.72, 0.17), (0.58, 0.46), (0.44, 0.87)]],
}  # fmt: skip

# What a page may ask for, and what its console may show as an error. Nothing so far.
LOCAL_SCHEMES = {"data", "blob"}
LONG_S = 600  # no more than a guard against waiting for ever: a machine may have other work


class Watch:
    """Keep a page's requests and console errors, and hold the page to having none that it should not."""

    def __init__(self, page: Page) -> None:
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda socket: self.requests.append(socket.url))
        page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))
        page.on("console", self._on_console)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def outside(self) -> list[str]:
        """Return the requests that went past this machine."""
        split = [(url, urlsplit(url)) for url in self.requests]
        return [url for url, at in split if at.scheme not in LOCAL_SCHEMES and at.hostname != "127.0.0.1"]

    def check(self) -> None:
        """Fail if a request has left the machine, or the console has shown an error, since the last check."""
        outside, errors, asked = self.outside(), list(self.errors), bool(self.requests)
        self.requests.clear()
        self.errors.clear()
        assert asked, "the page asked for nothing: the watch did not see it"
        assert outside == [], "requests left the machine"
        assert errors == [], "errors in the browser's console"


# ---- Notebooks ----


def write_notebook(path: Path, cells: Iterable[str]) -> None:
    """Write a notebook of code cells. A cell's first line ``# tags: a b`` gives it tags."""
    notebook = nbformat.v4.new_notebook(cells=[_code_cell(source) for source in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)


def _code_cell(source: str) -> Any:
    first, _, rest = source.strip().partition("\n")
    if first.startswith("# tags: "):
        return nbformat.v4.new_code_cell(rest, metadata={"tags": first.removeprefix("# tags: ").split()})
    return nbformat.v4.new_code_cell(source.strip())


def open_notebook(page: Page, lab: Any, name: str) -> None:
    """Open a notebook of the lab's folder, alone, in a page that has none or another one, and wait for its kernel."""
    if page.url.startswith(lab.url):
        close_all(page)
        page.evaluate("(path) => window.jupyterapp.commands.execute('docmanager:open', { path })", name)
    else:
        page.goto(f"{lab.url}/lab/tree/{quote(name)}?token={lab.token}&reset")  # in a fresh workspace
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    _in_notebook(page, "panel.sessionContext.ready", wait=True)
    page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'"
    )


def replace_cells(page: Page, cells: Sequence[str]) -> None:
    """Put other code cells in the place of those of the open notebook; its kernel goes on."""
    page.evaluate(
        """(sources) => {
          const { sharedModel } = window.jupyterapp.shell.currentWidget.content.model;
          const cells = sources.map((source) => ({ cell_type: "code", source }));
          sharedModel.transact(() => {
            sharedModel.deleteCellRange(0, sharedModel.cells.length);
            sharedModel.insertCells(0, cells);
          });
        }""",
        [source.strip() for source in cells],
    )


def close_all(page: Page, *, kernels: bool = False) -> None:
    """Close what is open in the page, unsaved; its kernels too, or they go on."""
    page.evaluate(
        """async (kernels) => {
          for (const widget of [...window.jupyterapp.shell.widgets("main")]) {
            if (widget.context) widget.context.model.dirty = false;  // or it asks whether to save
            if (kernels) await widget.sessionContext?.shutdown();
            widget.close();
          }
        }""",
        kernels,
    )


def run_all(page: Page, *, timeout_s: float = LONG_S) -> None:
    """Run all cells from the menu, wait until the last one is done, and fail with the traceback of one that failed."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    wait_until_run(page, timeout_s=timeout_s)


def wait_until_run(page: Page, *, timeout_s: float = LONG_S) -> None:
    """Wait until every cell that is not empty has run. A cell that failed ends the wait with its traceback."""
    handle = page.wait_for_function(
        """() => {
          const panel = window.jupyterapp.shell.currentWidget;
          const cells = [...panel.content.model.cells].filter((c) => c.type === "code" && c.sharedModel.source.trim());
          for (const cell of cells)
            for (const output of cell.outputs.toJSON())
              if (output.output_type === "error") return { failed: output.traceback.join("\\n") };
          const ran = cells.every((c) => c.executionCount !== null && c.executionState !== "running");
          return ran && panel.sessionContext.session.kernel.status === "idle" ? { failed: null } : false;
        }""",
        timeout=timeout_s * 1000,
    )
    failed = handle.json_value()["failed"]
    assert failed is None, f"a cell failed:\n{failed}"


def count_cells(page: Page) -> int:
    """Return how many cells the open notebook has."""
    return int(_in_notebook(page, "panel.content.model.cells.length"))


def run_cell(page: Page, index: int) -> None:
    """Start one cell; don't wait for its end."""
    _in_notebook(page, f"panel.content.activeCellIndex = {index}")
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-cell'); }")


def cell_state(page: Page, index: int) -> str:
    """Return ``running`` or ``idle``. The kernel's own state is no guide: its threads that serve widgets set it too."""
    return str(_in_notebook(page, f"panel.content.model.cells.get({index}).executionState"))


def run_code(page: Page, code: str) -> str:
    """Run code in the open notebook's kernel, outside of its cells, and return what it prints.

    It waits its turn behind a cell that runs.
    """
    return str(
        page.evaluate(
            """async (code) => {
              const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
              const future = kernel.requestExecute({ code, store_history: false });
              let text = "";
              future.onIOPub = ({ content }) => { text += content.text ?? (content.traceback ?? []).join("\\n"); };
              await future.done;
              return text;
            }""",
            code,
        )
    )


def save_notebook(page: Page) -> None:
    """Save the open notebook."""
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")


def use_theme(page: Page, name: str) -> None:
    """Switch the theme: ``JupyterLab Light``, ``JupyterLab Dark``."""
    page.evaluate("(theme) => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", name)
    page.wait_for_selector(f"body[data-jp-theme-name={json.dumps(name)}]", state="attached")
    page.locator("#jupyterlab-splash").wait_for(state="detached")  # it lies over the page while the theme loads
    page.wait_for_function(  # and no colour is still on its way
        """() => document.getAnimations().every(
          (one) => one.playState !== "running" || one.effect.getTiming().iterations === Infinity,
        )"""
    )


FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def next_frames(page: Page) -> None:
    """Wait until the page has drawn what has happened so far."""
    page.evaluate(f"() => {FRAMES}")


def press_d_d(page: Page) -> None:
    """Press twice the key that, on a notebook that has the focus, deletes a cell."""
    page.keyboard.press("d")
    page.keyboard.press("d")
    next_frames(page)


def settled(widget: Locator) -> None:
    """Wait until what a widget says answers what its controls, or its pad, show."""
    next_frames(widget.page)  # a pad notes a change in the next frame
    expect(widget).to_have_attribute("data-settled", "true")


def hide_side_panel(page: Page) -> None:
    """Close the file browser, so that the notebook has the width."""
    page.evaluate("() => window.jupyterapp.shell.collapseLeft()")


def _in_notebook(page: Page, expression: str, *, wait: bool = False) -> Any:
    if wait:
        expression = f"({expression}).then(() => true)"
    return page.evaluate(f"() => {{ const panel = window.jupyterapp.shell.currentWidget; return {expression}; }}")


# ---- Accessibility ----


def axe_report(page: Page, selector: str) -> str:
    """Let axe-core look at a part of the page, and return what it finds against it: empty if nothing.

    JupyterLab's body has no height, and axe takes all that lies in a body without height for
    hidden: it would not look at colours. So the body gets a height while axe looks, and a look that
    judged no colours is an error.
    """
    page.evaluate("() => { document.body.style.height = '100vh'; }")
    results = Axe().run(page, context=selector)
    page.evaluate("() => { document.body.style.height = ''; }")
    judged = {rule["id"] for kind in ("passes", "violations") for rule in results.response[kind]}
    undecided = [(rule["id"], rule["nodes"][0]["any"]) for rule in results.response["incomplete"]]
    assert "color-contrast" in judged, f"axe judged no colours; it could not decide: {undecided}"
    return str(results.generate_report()) if results.violations_count else ""


# ---- The pad ----


class Pad:
    """A `DigitPad` in a page, as a person meets it."""

    def __init__(self, page: Page, index: int = 0) -> None:
        self.page = page
        self.root: Locator = page.locator(".inferkit-pad").nth(index)
        self.canvas = self.root.get_by_role("application", name="Drawing pad")
        self.canvas.wait_for()

    def point(self, x: float, y: float) -> Point:
        """Return the page's coordinates of a place on the pad, given in units of its side."""
        box = self.canvas.bounding_box()
        assert box is not None, "the pad is out of sight"
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def draw(self, strokes: Iterable[Stroke], *, steps: int = 4) -> None:
        """Draw by mouse, and wait for the answer."""
        self.canvas.scroll_into_view_if_needed()
        for first, *rest in strokes:
            self.page.mouse.move(*self.point(*first))
            self.page.mouse.down()
            for place in rest:
                self.page.mouse.move(*self.point(*place), steps=steps)
            self.page.mouse.up()
        self.settle()

    def type_path(self, path: Stroke) -> None:
        """Draw one stroke by keyboard: arrows to its start, hold Space, arrows along it. Wait for the answer.

        The pen is taken to stand where `pen` says.
        """
        self.canvas.focus()
        self._walk(path[0])
        self.page.keyboard.down(" ")
        for place in path[1:]:
            self._walk(place)
        self.page.keyboard.up(" ")
        self.settle()

    def pen(self) -> Point:
        """Return where the keyboard's pen stands, in steps of 1/32 of the side."""
        left, top = self.root.locator(".ik-cursor").evaluate(
            "(c) => [parseFloat(c.style.left), parseFloat(c.style.top)]"
        )
        return left * 32 / 100, top * 32 / 100

    def _walk(self, place: Point) -> None:
        x, y = self.pen()
        dx, dy = round(place[0] * 32 - x), round(place[1] * 32 - y)
        horizontal, vertical = ("ArrowLeft", "ArrowRight")[dx > 0], ("ArrowUp", "ArrowDown")[dy > 0]
        for i in range(max(abs(dx), abs(dy))):  # both at once as far as both are left, so that a slope is a slope
            if i * abs(dx) // max(abs(dx), abs(dy)) != (i + 1) * abs(dx) // max(abs(dx), abs(dy)):
                self.page.keyboard.press(horizontal)
            if i * abs(dy) // max(abs(dx), abs(dy)) != (i + 1) * abs(dy) // max(abs(dx), abs(dy)):
                self.page.keyboard.press(vertical)

    def clear(self) -> None:
        """Press Clear, and wait until the pad says that it is blank."""
        self.root.get_by_role("button", name="Clear").click()
        self.settle()

    def settle(self) -> None:
        """Wait until what the pad says answers what is drawn on it."""
        settled(self.root)

    @property
    def serial(self) -> int:
        """How many answers the pad has shown."""
        return int(self.root.get_attribute("data-serial") or 0)

    def card(self, name: str) -> Locator:
        """Return one predictor's part of the pad."""
        return self.root.get_by_role("group", name=name, exact=True)

    def answer(self, name: str) -> str:
        """Return a predictor's answer as it stands in the page; a dash if it has none."""
        return self.card(name).locator(".ik-answer").inner_text()

    def time_us(self, name: str) -> float:
        """Return a predictor's time as it stands in the page."""
        return float(self.card(name).locator(".ik-time").inner_text().replace(",", ""))

    def probabilities(self, name: str) -> dict[str, float]:
        """Return a predictor's probabilities by label, as a screen reader would find them."""
        text = self.card(name).locator(".ik-bars").get_attribute("aria-label") or ""
        return {
            label: float(value.rstrip(" %")) / 100 for label, value in (part.split(": ") for part in text.split(", "))
        }

    def status(self) -> str:
        """Return what the pad last said to a screen reader."""
        return self.root.get_by_role("status").inner_text()


# ---- The live predictor and the race ----


class Live:
    """A `LivePredictor` in a page, as a person meets it."""

    def __init__(self, page: Page, index: int = 0) -> None:
        self.page = page
        self.root: Locator = page.locator(".inferkit-live").nth(index)
        self.root.wait_for()
        self.root.scroll_into_view_if_needed()

    def control(self, name: str) -> Locator:
        """Return the control that a label names, as a screen reader finds it."""
        return self.root.get_by_label(name)

    def settle(self) -> None:
        """Wait until the answer is to what the controls show."""
        settled(self.root)

    def card(self, output: str | None = None) -> Locator:
        """Return an output's part of the widget; the first one's without a name."""
        return (
            self.root.get_by_role("group", name=output, exact=True) if output else self.root.locator(".ik-card").first
        )

    def answer(self, output: str | None = None) -> str:
        """Return what stands in an output's card."""
        return self.card(output).locator(".ik-answer").inner_text()

    def probabilities(self, output: str | None = None) -> dict[str, str]:
        """Return an output's probabilities by label, as a screen reader finds them."""
        text = self.card(output).locator(".ik-bars").get_attribute("aria-label") or ""
        return dict(part.rsplit(": ", 1) for part in text.split(", "))

    def failure(self) -> str:
        """Return the error on show; empty if there is none."""
        return self.root.locator(".ik-failure").inner_text() if self.root.locator(".ik-failure").is_visible() else ""

    def status(self) -> str:
        """Return what the widget last said to a screen reader."""
        return self.root.get_by_role("status").inner_text()


class Race:
    """A `RuntimeRace` in a page, as a person meets it."""

    def __init__(self, page: Page, index: int = 0) -> None:
        self.page = page
        self.root: Locator = page.locator(".inferkit-race").nth(index)
        self.root.wait_for()
        self.root.scroll_into_view_if_needed()
        self.button = self.root.get_by_role("button")

    def wait_for(self, state: str) -> None:
        """Wait until it is ``measuring``, ``stopped`` or ``done``."""
        expect(self.root).to_have_attribute("data-state", state)

    def runner(self, name: str) -> Locator:
        """Return one runtime's part of the race."""
        return self.root.get_by_role("group", name=name, exact=True)

    def text(self, name: str, part: str) -> str:
        """Return what stands in a part of a runtime: ``value``, ``sure``, ``times``, ``note``."""
        return self.runner(name).locator(f".ik-{part}").inner_text()

    def bar(self, name: str) -> float | None:
        """Return a bar's length as a share of the axis; None if it is not drawn."""
        bar = self.runner(name).locator(".ik-bar")
        return float(bar.evaluate("(e) => parseFloat(e.style.width)")) / 100 if bar.is_visible() else None


def forget_widgets(notebook: Path) -> None:
    """Take out of a saved notebook what only a running kernel can show, as GitHub or a mail would."""
    saved = nbformat.read(notebook, as_version=4)
    for cell in saved.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    saved.metadata.pop("widgets", None)
    nbformat.write(saved, notebook)
