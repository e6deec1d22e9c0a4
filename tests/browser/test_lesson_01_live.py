"""Lesson 01 as a student meets it, and as slides: real JupyterLab, real kernel, real browser."""

from typing import ClassVar

import pytest
from lessons import Lesson, scroll_to, shoot, show_slide, slides
from pages import DIGITS, Pad, count_cells, press_d_d, run_code
from playwright.sync_api import Page

LESSON = "01_train_once_predict_forever.ipynb"


class TestLesson(Lesson):
    widgets: ClassVar = {
        "DigitPad(reader)": ".inferkit-pad",
        "course.guess(": ".inferkit-course",
        '"linear": linear': ".inferkit-pad",
        "What changes in the weights": ".inferkit-course",
    }
    again = ("times.beside(ratio)", "fig = cost_figure(")
    told = "You guessed 20,000 times. This machine measured"
    alt = "School is a flat line"


# ---- The lecture ----


def test_the_lecture_starts_as_slides_with_a_live_pad(lecture: Page) -> None:
    first = slides(lecture)[0]
    show_slide(lecture, first)
    assert lecture.locator(".jp-Notebook .jp-Cell:visible").count() == len(first)
    pad = Pad(lecture)
    pad.draw(DIGITS[7])
    assert pad.answer("digits-cnn") == "7"
    shoot(lecture, "lecture_pad")


# ---- The notebook ----


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
    press_d_d(lesson)
    assert count_cells(lesson) == before
    assert Pad(lesson).canvas.is_visible()


def test_the_shown_values_are_those_of_the_kernel(lesson: Page) -> None:
    assert run_code(lesson, "print(times.value is None or times.value > 1)").strip() == "True"
    assert "tensorflow" in run_code(lesson, "import sys; print('tensorflow' in sys.modules and 'tensorflow')")
