"""A lesson in the browser: presented by a lecturer, worked through by a student, and what every lesson owes.

A lesson is run once for all its tests. It starts as `make lecture` shows it; `as_notebook` leaves the slides, with the
same kernel and the same widgets.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from pages import (
    axe_report,
    hide_side_panel,
    use_theme,
    wait_until_run,
)
from playwright.sync_api import Page, expect
from server import running_lab

from notebooks import lab as launcher

OpenPage = Callable[..., AbstractContextManager[Page]]

SHOTS = os.environ.get("INFERKIT_SHOTS")


def shoot(page: Page, name: str) -> None:
    """Keep a screenshot, where somebody wants to look at one."""
    if SHOTS:
        page.screenshot(path=Path(SHOTS, f"{name}.png"))


@contextmanager
def presented(name: str, open_page: OpenPage, folder: Path) -> Iterator[Page]:
    """Present a copy of a lesson as `make lecture` does, and run all its cells."""
    work = folder / "work"
    launcher.sync(work)
    command = launcher.command(name, [], work, lecture=True)
    environment = {k: v for k, v in launcher.environment(work).items() if k != "MPLBACKEND"}
    environment["INFERKIT_LEDGER"] = ":memory:"
    # Nothing of what somebody else's Lab remembers, and nothing left for it.
    environment |= {f"JUPYTERLAB_{name.upper()}_DIR": str(folder / name) for name in ("settings", "workspaces")}
    with (
        running_lab(command, environment, work, folder / "lab.log") as lab,
        open_page(viewport={"width": 1280, "height": 720}) as page,
    ):
        page.goto(f"{lab.url}/lab/tree/{name}?token={lab.token}")
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        page.wait_for_function(
            "() => window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
        )
        page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
        wait_until_run(page)
        assert is_presenting(page), "the lecture did not start as slides"
        yield page


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
        page.wait_for_timeout(500)
    return page


def scroll_to(page: Page, index: int) -> None:
    """Make a cell the active one, at the top of the page."""
    page.evaluate(
        """async (index) => {
          const notebook = window.jupyterapp.shell.currentWidget.content;
          notebook.activeCellIndex = index;
          await notebook.scrollToItem(index, "start");
        }""",
        index,
    )
    page.wait_for_timeout(500)


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
        page.wait_for_timeout(500)
        shoot(page, f"lesson_{text[:5]}")


def alternative_texts(page: Page) -> set[str]:
    """Return what every picture in the outputs says instead; "NONE" stands for one that says nothing.

    The page builds its cells as they come into view, so each cell with a picture is looked at in turn.
    """
    pictures = page.evaluate(
        """() => [...window.jupyterapp.shell.currentWidget.content.model.cells].map((cell, index) => [index,
             (cell.sharedModel.outputs ?? []).map((output) => Object.keys(output.data ?? {})).filter(
               (kinds) => kinds.includes("image/png") && !kinds.some((kind) => kind.includes("widget-view")),
             ).length,
           ]).filter(([, pictures]) => pictures > 0)"""
    )
    found: set[str] = set()
    for index, wanted in pictures:
        scroll_to(page, index)
        shown = page.locator(".jp-Notebook .jp-Cell.jp-mod-active .jp-OutputArea-output img")
        expect(shown).to_have_count(wanted)
        found |= set(shown.evaluate_all("(all) => all.map((img) => img.alt || 'NONE')"))
    return found


def axe_in_both_themes(page: Page, part: str, shot: str) -> str:
    """Return what axe finds in a part of the page in the light and in the dark theme; keep a picture of each."""
    reports = []
    try:
        for theme in ("Light", "Dark"):
            use_theme(page, f"JupyterLab {theme}")
            page.wait_for_timeout(300)
            shoot(page, f"{shot}_{theme}")
            reports.append(axe_report(page, part))
    finally:
        use_theme(page, "JupyterLab Light")
    return "".join(reports)


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


def show_slide(page: Page, cells: list[int]) -> None:
    """Go to a slide and bring on all its fragments."""
    for index in (cells[0], cells[-1]):
        page.evaluate("(index) => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = index; }", index)
        page.wait_for_timeout(50)
    _settled(page, cells)


def _settled(page: Page, cells: list[int]) -> Any:
    """Return what the slide takes up, once it has its cells and has stopped moving; after 5 s, whatever is there."""
    seen = None
    for _ in range(50):
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
        show_slide(page, cells)
        seen = _settled(page, cells)
        shoot(page, f"slide_{number:02d}")
        print(f"slide {number:2}: {seen['bottom'] - seen['top']:4.0f} px high, cells {cells}")
        assert seen["cells"] == cells, f"slide {number} shows other cells than its own"
        if seen["bottom"] > 720 or seen["right"] > 1280 or seen["top"] < 0 or seen["hidden"]:
            too_large.append((number, cells, seen))
    return too_large
