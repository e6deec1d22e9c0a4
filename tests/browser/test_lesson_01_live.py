"""Lesson 01 as a student meets it, and as slides: real JupyterLab, real kernel, real browser."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from pages import (
    DIGITS,
    Pad,
    axe_report,
    count_cells,
    hide_side_panel,
    open_notebook,
    run_all,
    run_code,
    use_theme,
    wait_until_run,
)
from playwright.sync_api import Page, expect
from server import running_lab

from notebooks import lab as launcher

OpenPage = Callable[..., AbstractContextManager[Page]]

LESSON = "01_train_once_predict_forever.ipynb"
BUILT = Path(__file__).parents[2] / "notebooks"
SHOTS = os.environ.get("INFERKIT_SHOTS")


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


@pytest.mark.parametrize("digit", [7, 0, 3])
def test_the_first_pad_reads_what_is_drawn(lesson: Page, digit: int) -> None:
    scroll_to(lesson, 0)
    pad = Pad(lesson)
    pad.clear()
    pad.draw(DIGITS[digit])
    assert pad.answer("digits-cnn") == str(digit)
    text = pad.card("digits-cnn").inner_text()
    assert "%" in text
    assert "µs" in text
    shoot(lesson, f"lesson_pad_{digit}")


def test_the_first_pad_reads_what_is_typed(lesson: Page) -> None:
    scroll_to(lesson, 0)
    pad = Pad(lesson)
    pad.clear()
    (path,) = DIGITS[7]
    pad.type_path(path)
    assert pad.answer("digits-cnn") == "7"


def test_d_d_on_the_pad_keeps_the_lessons_cell(lesson: Page) -> None:
    scroll_to(lesson, 0)
    before = count_cells(lesson)
    Pad(lesson).canvas.focus()
    lesson.keyboard.press("d")
    lesson.keyboard.press("d")
    lesson.wait_for_timeout(300)
    assert count_cells(lesson) == before
    assert Pad(lesson).canvas.is_visible()


def test_a_kept_guess_is_shown_beside_the_measurement_and_on_the_figure(lesson: Page) -> None:
    scroll_to(lesson, cell_with(lesson, "course.guess("))
    widget = lesson.locator(".inferkit-course").first
    widget.get_by_role("button", name="Keep my guess").click()
    expect(widget.get_by_role("status")).to_contain_text("Kept: 20,000 times")
    shoot(lesson, "lesson_guess")
    for text in ("times.beside(ratio)", "fig = cost_figure("):
        index = cell_with(lesson, text)
        scroll_to(lesson, index)
        lesson.evaluate("() => window.jupyterapp.commands.execute('notebook:run-cell')")
        wait_until_run(lesson)
        lesson.wait_for_timeout(500)
        shoot(lesson, f"lesson_{text[:3]}")
    expect(lesson.get_by_text("You guessed 20,000 times. This machine measured").first).to_be_attached()


def test_every_picture_in_the_page_has_alternative_text(lesson: Page) -> None:
    """The page builds its cells as they come into view, so all are looked at in turn."""
    alts = set()
    for index in range(count_cells(lesson)):
        scroll_to(lesson, index)
        alts |= set(
            lesson.locator(".jp-OutputArea-output img").evaluate_all("(all) => all.map((img) => img.alt || 'NONE')")
        )
    assert "NONE" not in alts
    assert len(alts) >= 4
    assert any("School is a flat line" in alt for alt in alts)


@pytest.mark.parametrize(
    ("cell", "selector"),
    [
        ("DigitPad(reader)", ".inferkit-pad"),
        ("course.guess(", ".inferkit-course"),
        ('"linear": linear', ".inferkit-pad"),
        ("What changes in the weights", ".inferkit-course"),
    ],
)
def test_axe_finds_nothing_in_the_lessons_widgets(lesson: Page, cell: str, selector: str) -> None:
    scroll_to(lesson, cell_with(lesson, cell))
    assert axe_report(lesson, f".jp-Cell.jp-mod-active {selector}") == ""


def test_the_shown_values_are_those_of_the_kernel(lesson: Page) -> None:
    assert run_code(lesson, "print(times.value is None or times.value > 1)").strip() == "True"
    assert "tensorflow" in run_code(lesson, "import sys; print('tensorflow' in sys.modules and 'tensorflow')")


# ---- The lecture ----


@pytest.fixture(scope="module")
def lecture(open_page: OpenPage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Present a copy of the lesson as `make lecture` does, and run all its cells."""
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


def test_the_lecture_starts_as_slides_with_a_live_pad(lecture: Page) -> None:
    first = slides(lecture)[0]
    go_to(lecture, first[0])
    go_to(lecture, first[-1])
    assert lecture.locator(".jp-Notebook .jp-Cell:visible").count() == len(first)
    pad = Pad(lecture)
    pad.draw(DIGITS[7])
    assert pad.answer("digits-cnn") == "7"
    shoot(lecture, "lecture_pad")


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
