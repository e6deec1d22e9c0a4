"""Lesson 02 as a student meets it, and as slides: real JupyterLab, real kernel, real browser."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from pages import axe_report, count_cells, hide_side_panel, open_notebook, run_all, run_code, use_theme, wait_until_run
from playwright.sync_api import Locator, Page, expect
from server import running_lab

from notebooks import lab as launcher

OpenPage = Callable[..., AbstractContextManager[Page]]

LESSON = "02_the_pipeline_is_the_model.ipynb"
BUILT = Path(__file__).parents[2] / "notebooks"
SHOTS = os.environ.get("INFERKIT_SHOTS")
FAULTS = ("scale forgotten", "inverted", "transposed", "grey levels lost", "channels swapped", "labels sorted")


def shoot(page: Page, name: str) -> None:
    """Keep a screenshot, where somebody wants to look at one."""
    if SHOTS:
        page.screenshot(path=Path(SHOTS, f"{name}.png"))


@pytest.fixture(scope="module")
def lesson(open_page: OpenPage, lab: Any) -> Iterator[Page]:
    """Open a copy of the lesson and run all its cells."""
    shutil.copy(BUILT / LESSON, lab.root)
    with open_page(viewport={"width": 1280, "height": 900}) as page:
        open_notebook(page, lab, LESSON)
        hide_side_panel(page)
        use_theme(page, "JupyterLab Light")  # another test may have left the other
        run_all(page)
        yield page
    lab.stop_kernels()


def scroll_to(page: Page, index: int) -> None:
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


@pytest.fixture
def picker(lesson: Page) -> Iterator[Locator]:
    """Return the picker with every fault off, and leave it so."""
    scroll_to(lesson, cell_with(lesson, "course.fault_picker("))
    widget = lesson.locator(".inferkit-picker").first
    clear(widget)
    yield widget
    clear(widget)


def clear(widget: Locator) -> None:
    for fault in FAULTS:
        widget.get_by_role("checkbox", name=fault).uncheck()
    expect(said(widget)).to_have_text("no fault: 99 % right, 99 % sure.")


def said(widget: Locator) -> Locator:
    return widget.get_by_role("status")


def seen(widget: Locator) -> list[str]:
    """Return the pictures as they stand in the page."""
    return [str(src) for src in widget.locator("img").evaluate_all("(all) => all.map((img) => img.src)")]


def test_a_fault_that_is_ticked_changes_pictures_answers_and_figures(lesson: Page, picker: Locator) -> None:
    before = seen(picker)
    picker.get_by_role("checkbox", name="channels swapped").check()
    expect(said(picker)).to_have_text("channels swapped: 15 % right, 87 % sure.")
    assert len(before) == len(seen(picker)) == 6
    assert not set(before) & set(seen(picker))
    expect(picker.locator("figure[data-verdict=wrong]").first).to_contain_text("✗")
    shoot(lesson, "picker_channels")


def test_a_second_fault_mends_the_first(picker: Locator) -> None:
    """What the lesson suggests to try comes out as its notes say."""
    picker.get_by_role("checkbox", name="grey levels lost").check()
    expect(said(picker)).to_have_text("grey levels lost: 9 % right, 45 % sure.")
    picker.get_by_role("checkbox", name="scale forgotten").check()
    expect(said(picker)).to_have_text("scale forgotten and grey levels lost: 91 % right, 100 % sure.")


def test_a_fault_that_leaves_the_input_alone_changes_no_picture(picker: Locator) -> None:
    before = seen(picker)
    picker.get_by_role("checkbox", name="labels sorted").check()
    expect(said(picker)).to_have_text("labels sorted: 41 % right, 99 % sure.")
    assert seen(picker) == before


def test_the_picker_obeys_the_keyboard_and_keeps_its_keys(lesson: Page, picker: Locator) -> None:
    before = count_cells(lesson)
    picker.get_by_role("checkbox", name="inverted").focus()
    lesson.keyboard.press("Space")
    expect(said(picker)).to_have_text("inverted: 4 % right, 74 % sure.")
    lesson.keyboard.press("d")
    lesson.keyboard.press("d")
    lesson.wait_for_timeout(300)
    assert count_cells(lesson) == before
    lesson.keyboard.press("Tab")
    expect(picker.get_by_role("checkbox", name="transposed")).to_be_focused()


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_axe_finds_nothing_in_the_picker(lesson: Page, picker: Locator, theme: str) -> None:
    use_theme(lesson, theme)
    try:
        picker.get_by_role("checkbox", name="transposed").check()
        expect(said(picker)).to_contain_text("transposed")
        shoot(lesson, f"picker_{theme[-5:].strip()}")
        assert axe_report(lesson, ".jp-Cell.jp-mod-active .inferkit-picker") == ""
    finally:
        use_theme(lesson, "JupyterLab Light")


def test_a_kept_guess_is_marked_on_the_figure(lesson: Page) -> None:
    scroll_to(lesson, cell_with(lesson, "course.guess("))
    widget = lesson.locator(".inferkit-course").first
    widget.get_by_role("radio", name="transposed").check()
    widget.get_by_role("button", name="Keep my guess").click()
    expect(widget.get_by_role("status")).to_have_text("Kept: transposed")
    shoot(lesson, "lesson_guess")
    for text in ("worst.beside(", "fig = wrong_and_sure("):
        scroll_to(lesson, cell_with(lesson, text))
        lesson.evaluate("() => window.jupyterapp.commands.execute('notebook:run-cell')")
        wait_until_run(lesson)
        lesson.wait_for_timeout(500)
        shoot(lesson, f"lesson_{text[:3]}")
    expect(lesson.get_by_text("You guessed transposed. This machine measured inverted").first).to_be_attached()


def test_every_picture_in_the_page_has_alternative_text(lesson: Page) -> None:
    """The page builds its cells as they come into view, so all are looked at in turn."""
    alts = set()
    for index in range(count_cells(lesson)):
        scroll_to(lesson, index)
        alts |= set(
            lesson.locator(".jp-OutputArea-output img").evaluate_all("(all) => all.map((img) => img.alt || 'NONE')")
        )
    assert "NONE" not in alts
    assert any("surer than it is right" in alt for alt in alts)
    assert len(alts) >= 3


def test_nobody_needed_tensorflow(lesson: Page) -> None:
    assert run_code(lesson, "import sys; print({'tensorflow', 'keras'} & set(sys.modules))").strip() == "set()"


# ---- The lecture ----


@pytest.fixture(scope="module")
def lecture(open_page: OpenPage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Present a copy of the lesson as `make lecture N=02` does, and run all its cells."""
    work = tmp_path_factory.mktemp("work")
    launcher.sync(work)
    command = launcher.command(LESSON, [], work, lecture=True)
    environment = {k: v for k, v in launcher.environment(work).items() if k != "MPLBACKEND"}
    with (
        running_lab(command, environment, work, tmp_path_factory.mktemp("log") / "lab.log") as lab,
        open_page(viewport={"width": 1280, "height": 720}) as page,
    ):
        page.goto(f"{lab.url}/lab/tree/{LESSON}?token={lab.token}")
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        page.wait_for_function(
            "() => window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
        )
        page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
        wait_until_run(page)
        yield page


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


def go_to(page: Page, index: int) -> None:
    page.evaluate("(index) => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = index; }", index)
    page.wait_for_timeout(400)


def test_the_picker_works_on_its_slide(lecture: Page) -> None:
    place = cell_with(lecture, "course.fault_picker(")
    slide = next(cells for cells in slides(lecture) if place in cells)
    go_to(lecture, slide[0])
    go_to(lecture, slide[-1])
    widget = lecture.locator(".inferkit-picker:visible")
    widget.get_by_role("checkbox", name="inverted").check()
    expect(said(widget)).to_have_text("inverted: 4 % right, 74 % sure.")
    widget.get_by_role("checkbox", name="inverted").uncheck()


def test_no_slide_overflows(lecture: Page) -> None:
    """With all its fragments on show, a slide fits 1280 × 720, and nothing in it has to be scrolled."""
    too_large = []
    for number, cells in enumerate(slides(lecture), start=1):
        go_to(lecture, cells[0])
        go_to(lecture, cells[-1])
        seen = lecture.evaluate(
            """() => {
              const shown = (e) => e.offsetParent !== null && e.getBoundingClientRect().height > 0;
              const all = (selector) => [...document.querySelectorAll(selector)].filter(shown);
              const boxes = all(".jp-Notebook .jp-Cell").map((cell) => cell.getBoundingClientRect());
              const inner = all(".jp-Cell .cm-scroller, .jp-Cell .jp-OutputArea-output");
              return {
                cells: boxes.length,
                top: Math.min(...boxes.map((box) => box.top)),
                bottom: Math.max(...boxes.map((box) => box.bottom)),
                right: Math.max(...boxes.map((box) => box.right)),
                hidden: inner.filter(
                  (e) => e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1,
                ).length,
              };
            }"""
        )
        shoot(lecture, f"slide_{number:02d}")
        height = seen["bottom"] - seen["top"]
        print(f"slide {number:2}: {height:4.0f} px high, cells {cells}")
        assert seen["cells"] == len(cells), f"slide {number} shows other cells than its own"
        if seen["bottom"] > 720 or seen["right"] > 1280 or seen["top"] < 0 or seen["hidden"]:
            too_large.append((number, cells, seen))
    assert too_large == []
