"""A lesson in the browser: presented by a lecturer, worked through by a student, and what every lesson owes.

A lesson is run once for all its tests: under the memory cap and on the one core of a session on Binder, in the
environment in which it was built, its memory and the processor's time sampled. It starts as `make lecture` shows it;
`as_notebook` leaves the slides, with the same kernel and the same widgets.
"""

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import nbformat
import psutil
from nbformat import NotebookNode
from pages import (
    FRAMES,
    axe_report,
    hide_side_panel,
    next_frames,
    run_code,
    settled,
    use_theme,
    wait_until_run,
)
from playwright.sync_api import Locator, Page, TimeoutError, expect
from server import Lab, running_lab

from notebooks import lab as launcher
from notebooks.cap import Cap, entrance, session_cap
from notebooks.kernel import CELL_SECONDS, NotebookError, kernel_env
from notebooks.run import BUDGET_SECONDS, CAP_MB, HEADING, Outcome
from notebooks.source import ROOT, first_line
from notebooks.watch import Watch
from tests.machine import not_checked
from tests.nbcompare import compare_notebooks

OpenPage = Callable[..., AbstractContextManager[Page]]

SHOTS = os.environ.get("INFERKIT_SHOTS")
POLL_MS = 500


def shoot(page: Page, name: str) -> None:
    """Keep a screenshot, where somebody wants to look at one."""
    if SHOTS:
        page.screenshot(path=Path(SHOTS, f"{name}.png"))


# ---- The one run ----


@dataclass(frozen=True)
class Taught:
    """A lesson that has been run: its page, what came of the run, and why there was no cap (empty if there was one)."""

    page: Page
    outcome: Outcome
    uncapped: str


@contextmanager
def presented(name: str, open_page: OpenPage, folder: Path, *, budget_mb: int) -> Iterator[Taught]:
    """Present a copy of a lesson as `make lecture` does, and run all its cells."""
    with (
        session_cap(CAP_MB) as (cap, uncapped),
        lecture_lab(name, folder, cap) as lab,
        open_page(viewport={"width": 1280, "height": 720}) as page,
    ):
        outcome = run_lesson(page, lab, name, cap=cap, budget_mb=budget_mb)
        assert is_presenting(page), "the lecture did not start as slides"
        yield Taught(page, outcome, uncapped)


def lecture_lab(name: str, folder: Path, cap: Cap | None, built: Path = ROOT) -> AbstractContextManager[Lab]:
    """Start JupyterLab as `make lecture` does, whole under the cap and on one core, as in Binder's container."""
    work = folder / "work"
    launcher.sync(work, built)
    environment = launcher.environment(work) | kernel_env(folder)
    environment["JUPYTER_CONFIG_PATH"] = launcher.environment(work)["JUPYTER_CONFIG_PATH"]
    # Nothing of what somebody else's Lab remembers, and nothing left for it.
    environment |= {f"JUPYTERLAB_{kind}_DIR": str(folder / kind.lower()) for kind in ("SETTINGS", "WORKSPACES")}
    command = launcher.command(name, [], work, lecture=True)
    return running_lab(command, environment, work, folder / "lab.log", entrance(cap))


def run_lesson(
    page: Page, lab: Lab, name: str, *, published: Path = ROOT, cap: Cap | None, budget_mb: int,
    cell_seconds: float = CELL_SECONDS, budget_seconds: float = BUDGET_SECONDS,
) -> Outcome:  # fmt: skip
    """Run all cells of a notebook once; compare what they give with the published notebook, and sample what they use.

    A cell that raises or takes too long, and a kernel that dies, are errors that name the cell.
    """
    page.goto(f"{lab.url}/lab/tree/{name}?token={lab.token}&reset")
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
    )
    kernel = psutil.Process(int(run_code(page, "print(__import__('os').getpid())")))
    watch = Watch(lambda: kernel)
    watch.start()
    began = time.monotonic()
    try:
        _run_all_cells(page, kernel, name, cap, cell_seconds)
        watch.sample()
    finally:
        watch.stop()
    seconds = time.monotonic() - began
    faults = compare_notebooks(nbformat.read(published / name, as_version=4), _notebook(page))
    return Outcome(name, not faults, seconds, watch.cpu_seconds, watch.peak_mb, budget_mb, "\n".join(faults),
                   cap.kills() if cap else 0, budget_seconds)  # fmt: skip


_STATE = """() => {
  const panel = window.jupyterapp.shell.currentWidget;
  const cells = [...panel.content.model.cells].filter((c) => c.type === "code" && c.sharedModel.source.trim());
  const may = (cell) => (cell.getMetadata("tags") ?? []).includes("raises-exception");
  const outputs = (cell) => Array.from({ length: cell.outputs.length }, (_, index) => cell.outputs.get(index));
  const error = (cell) => outputs(cell).find((output) => output.type === "error")?.toJSON();
  const failed = cells.findIndex((cell) => !may(cell) && error(cell));
  const open = cells.findIndex((c) => c.executionCount === null || c.executionState === "running");
  const place = failed >= 0 ? failed : open;
  return {
    place,
    source: cells[place]?.sharedModel.source,
    failed: failed >= 0 ? `${error(cells[failed]).ename}: ${error(cells[failed]).evalue}` : null,
    idle: panel.sessionContext.session.kernel.status === "idle",
  };
}"""


def _run_all_cells(page: Page, kernel: psutil.Process, name: str, cap: Cap | None, cell_seconds: float) -> None:
    page.evaluate(
        """async () => {
          const { commands, shell } = window.jupyterapp;
          shell.currentWidget.sessionContext.statusChanged.connect((_, status) => {
            window.kernelDied ||= ["autorestarting", "dead"].includes(status);
          });
          await commands.execute("notebook:clear-all-cell-outputs");  // what is there at the end comes from this run
          commands.execute("notebook:run-all-cells");
        }"""
    )
    place, since = -1, time.monotonic()
    while True:
        lives = _lives(kernel)
        if not lives:  # what it said before lies on the way to the page, and comes before the news of its death
            with suppress(TimeoutError):
                page.wait_for_function("() => window.kernelDied", timeout=30_000)
        state = page.evaluate(_STATE)
        if state["place"] < 0 and state["idle"]:
            return
        where = f"{name}, cell [{state['place'] + 1}] ({first_line(NotebookNode(source=state['source'] or ''))})"
        if state["failed"] is not None:
            raise NotebookError(f"{where}: {state['failed']}")
        if not lives:
            killed = f" ({cap.kills()} killed by the cap)" if cap else ""
            raise NotebookError(f"{where}: the kernel died: out of memory, or a crash in compiled code{killed}")
        if state["place"] != place:
            place, since = state["place"], time.monotonic()
        elif time.monotonic() > since + cell_seconds:
            raise NotebookError(f"{where}: still running after {cell_seconds:g} s; make it shorter")
        page.wait_for_timeout(POLL_MS)


def _notebook(page: Page) -> NotebookNode:
    """Return the notebook as the page has it: to save it could meet the page's own save, and be asked a question."""
    cells = page.evaluate(
        """() => [...window.jupyterapp.shell.currentWidget.content.model.cells].map((cell) => {
          const { attachments, ...rest } = cell.sharedModel.toJSON();
          return rest;
        })"""
    )
    whole = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return nbformat.reads(json.dumps(whole), as_version=4)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def is_presenting(page: Page) -> bool:
    """Return whether the lesson is on show as slides."""
    return bool(page.evaluate("() => document.body.dataset.jpDeckMode === 'presenting'"))


def as_notebook(page: Page) -> Page:
    """Leave the slides, and show the lesson as who works with it sees it: a notebook to scroll through."""
    if is_presenting(page):
        page.evaluate("() => window.jupyterapp.commands.execute('deck:stop')")
        page.wait_for_function("() => document.body.dataset.jpDeckMode !== 'presenting'")
        page.set_viewport_size({"width": 1280, "height": 900})
        hide_side_panel(page)
        next_frames(page)
    return page


def scroll_to(page: Page, index: int) -> None:
    """Make a cell the active one, at the top of the page, and wait until it rests there."""
    page.evaluate(
        f"""async (index) => {{
          const notebook = window.jupyterapp.shell.currentWidget.content;
          notebook.activeCellIndex = index;
          await notebook.scrollToItem(index, "start");
          const top = () => notebook.widgets[index].node.getBoundingClientRect().top;
          for (let before = null; before !== top(); await {FRAMES}) before = top();
        }}""",
        index,
    )


def cell_with(page: Page, text: str) -> int:
    """Return the place of the first cell whose source holds a text."""
    return int(
        page.evaluate(
            """(text) => [...window.jupyterapp.shell.currentWidget.content.model.cells]
              .findIndex((cell) => cell.sharedModel.source.includes(text))""",
            text,
        )
    )


def run_cells_with(page: Page, *texts: str) -> None:
    """Run again, one by one, the cells whose source holds each text."""
    for text in texts:
        scroll_to(page, cell_with(page, text))
        page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-cell')")
        wait_until_run(page)
        next_frames(page)
        shoot(page, f"lesson_{text[:5]}")


# ---- The lecture ----


def slides(page: Page) -> list[list[int]]:
    """Return the cells of each slide, in the order of the talk."""
    kinds = page.evaluate(
        """() => [...window.jupyterapp.shell.currentWidget.content.model.cells]
          .map((cell) => cell.getMetadata("slideshow")?.slide_type ?? "")"""
    )
    found: list[list[int]] = []
    for index, kind in enumerate(kinds):
        if kind in ("slide", "subslide"):
            found.append([index])
        elif kind not in ("skip", "notes"):
            found[-1].append(index)
    return found


def show_slide(page: Page, cells: list[int]) -> Any:
    """Go to a slide, bring on all its fragments, and return what it takes up once it rests."""
    for index in (cells[0], cells[-1]):
        page.evaluate("(index) => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = index; }", index)
        next_frames(page)
    return _settled(page, cells)


def _settled(page: Page, cells: list[int]) -> Any:
    """Return what the slide takes up, once it has its cells and has stopped moving; after 20 s, whatever is there."""
    seen = None
    for _ in range(200):
        before, seen = seen, page.evaluate(_EXTENT)
        if seen == before and seen["cells"] == cells:
            break
        page.wait_for_timeout(100)
    return seen


def slide_with(page: Page, text: str) -> list[int]:
    """Return the cells of the slide on which a text stands in the source."""
    place = cell_with(page, text)
    return next(cells for cells in slides(page) if place in cells)


_EXTENT = """() => {
  const shown = (e) => e.offsetParent !== null && e.getBoundingClientRect().height > 0;
  const all = (selector) => [...document.querySelectorAll(selector)].filter(shown);
  const boxes = all(".jp-Notebook .jp-Cell").map((cell) => cell.getBoundingClientRect());
  const inner = all(".jp-Cell .cm-scroller, .jp-Cell .jp-OutputArea-output");
  return {
    cells: window.jupyterapp.shell.currentWidget.content.widgets
      .map((cell, index) => (shown(cell.node) ? index : -1)).filter((index) => index >= 0),
    top: Math.min(...boxes.map((box) => box.top)),
    bottom: Math.max(...boxes.map((box) => box.bottom)),
    right: Math.max(...boxes.map((box) => box.right)),
    hidden: inner.filter(
      (e) => e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1,
    ).length,
  };
}"""


def slides_that_overflow(page: Page) -> list[tuple[int, list[int], Any]]:
    """Return the slides that, with all fragments on show, do not fit 1280 × 720, or in which something scrolls."""
    too_large = []
    for number, cells in enumerate(slides(page), start=1):
        seen = show_slide(page, cells)
        shoot(page, f"slide_{number:02d}")
        print(f"slide {number:2}: {seen['bottom'] - seen['top']:4.0f} px high, cells {cells}")
        assert seen["cells"] == cells, f"slide {number} shows other cells than its own"
        if seen["bottom"] > 720 or seen["right"] > 1280 or seen["top"] < 0 or seen["hidden"]:
            too_large.append((number, cells, seen))
    return too_large


# ---- The figure that follows its controls ----


def figure_texts(figure: Locator) -> dict[str, str]:
    """Return what a `LiveFigure` says beside its drawing, once it is to what the controls show."""
    settled(figure)
    rows = figure.locator(".ik-texts > div")
    return dict(rows.evaluate_all("(all) => all.map((e) => [...e.children].map((c) => c.textContent))"))


def number(words: str) -> float:
    """Return the number in a text."""
    return float(re.sub(r"[^\d.]", "", words))


def press(figure: Locator, key: str, slider: int = 0) -> None:
    """Press a key on a slider of a figure."""
    figure.get_by_role("slider").nth(slider).focus()
    figure.page.keyboard.press(key)


# ---- What every lesson owes ----


class Lesson:
    """What every lesson owes, on its slides. The test file of a lesson names it, and has a subclass with what differs.

    Attributes
    ----------
    widgets : dict of str to str
        Where to find its widgets: a text on the slide, and the widget's selector.
    guesses : tuple of str
        For each guess, a text on its slide.
    choice : str
        The option to choose, if the guess is one of several.
    again : tuple of str
        For each cell that shows the guess once it is kept, a text in it.
    told : str
        What the page then says, as a regular expression.
    alt : str
        Words of a picture's alternative text.
    """

    widgets: ClassVar[dict[str, str]]
    guesses: tuple[str, ...] = ("course.guess(",)
    choice = ""
    again: tuple[str, ...]
    told = "You guessed .* This machine measured"
    alt: str

    def test_it_gives_what_is_published_and_keeps_its_budgets(self, taught: Taught) -> None:
        print(f"\n{HEADING}\n{taught.outcome.row()}")
        assert not taught.outcome.faults, f"{taught.outcome.report}\n{taught.outcome.row()}"
        if taught.uncapped:
            not_checked(f"{taught.outcome.name} under a cap of {CAP_MB} MB: {taught.uncapped}")

    def test_no_slide_overflows(self, lecture: Page) -> None:
        """With all its fragments on show, a slide fits 1280 × 720, and nothing in it has to be scrolled."""
        too_large = slides_that_overflow(lecture)
        assert not too_large, too_large

    def test_every_picture_has_alternative_text(self, lecture: Page) -> None:
        shown = lecture.locator(".jp-OutputArea-output img")
        alts = shown.evaluate_all("(all) => all.map((img) => img.alt || 'NONE')")
        assert len(alts) >= lecture.evaluate(_COUNT_PICTURES) > 0
        assert "NONE" not in alts
        assert any(self.alt in alt for alt in alts), alts

    def test_axe_finds_nothing_in_its_widgets(self, lecture: Page) -> None:
        reports = []
        try:
            for theme in ("Light", "Dark"):
                use_theme(lecture, f"JupyterLab {theme}")
                for text, selector in self.widgets.items():
                    show_slide(lecture, slide_with(lecture, text))
                    shoot(lecture, f"axe_{selector.strip('.')}_{theme}")
                    reports.append(axe_report(lecture, f".jp-deck-mod-onscreen {selector}"))
        finally:
            use_theme(lecture, "JupyterLab Light")
        assert not any(reports), "\n".join(reports)

    def test_a_kept_guess_stands_beside_the_measurement(self, lecture: Page) -> None:
        for question in self.guesses:
            show_slide(lecture, slide_with(lecture, question))
            for widget in lecture.locator(".inferkit-course:visible").all():
                if self.choice:
                    widget.get_by_role("radio", name=self.choice).check()
                widget.get_by_role("button", name="Keep my guess").click()
                expect(widget.get_by_role("status")).to_contain_text("Kept")
        run_cells_with(lecture, *self.again)
        expect(lecture.get_by_text(re.compile(self.told)).first).to_be_attached()


_COUNT_PICTURES = """() => [...window.jupyterapp.shell.currentWidget.content.model.cells]
  .flatMap((cell) => cell.sharedModel.outputs ?? []).map((output) => Object.keys(output.data ?? {}))
  .filter((kinds) => kinds.includes("image/png") && !kinds.some((kind) => kind.includes("widget-view"))).length"""
