"""Lesson 01 as a student meets it, and as slides: real JupyterLab, real kernel, real browser."""

from collections.abc import Iterator

import pytest
from lessons import (
    OpenPage,
    alternative_texts,
    as_notebook,
    cell_with,
    is_presenting,
    presented,
    run_cells_with,
    scroll_to,
    shoot,
    show_slide,
    slides,
    slides_that_overflow,
)
from pages import DIGITS, Pad, axe_report, count_cells, run_code
from playwright.sync_api import Page, expect

LESSON = "01_train_once_predict_forever.ipynb"


@pytest.fixture(scope="module")
def taught(open_page: OpenPage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Give the lesson as `make lecture` presents it, with all its cells run."""
    with presented(LESSON, open_page, tmp_path_factory.mktemp("lecture")) as page:
        yield page


# ---- The lecture ----


@pytest.fixture
def lecture(taught: Page) -> Page:
    """Give the lesson as slides; a notebook that has left them does not come back to the same."""
    assert is_presenting(taught)
    return taught


def test_the_lecture_starts_as_slides_with_a_live_pad(lecture: Page) -> None:
    first = slides(lecture)[0]
    show_slide(lecture, first)
    assert lecture.locator(".jp-Notebook .jp-Cell:visible").count() == len(first)
    pad = Pad(lecture)
    pad.draw(DIGITS[7])
    assert pad.answer("digits-cnn") == "7"
    shoot(lecture, "lecture_pad")


def test_no_slide_overflows(lecture: Page) -> None:
    """With all its fragments on show, a slide fits 1280 × 720, and nothing in it has to be scrolled."""
    assert slides_that_overflow(lecture) == []


# ---- The notebook ----


@pytest.fixture
def lesson(taught: Page) -> Page:
    """Give the lesson as a student meets it."""
    return as_notebook(taught)


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
    run_cells_with(lesson, "times.beside(ratio)", "fig = cost_figure(")
    expect(lesson.get_by_text("You guessed 20,000 times. This machine measured").first).to_be_attached()


def test_every_picture_in_the_page_has_alternative_text(lesson: Page) -> None:
    alts = alternative_texts(lesson)
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
