"""Lesson 04 as a student meets it, and as slides: real JupyterLab, real kernel, real browser."""

from typing import ClassVar

import pytest
from lessons import Lesson, cell_with, scroll_to, shoot, show_slide, slide_with
from pages import count_cells, press_d_d, settled
from playwright.sync_api import Locator, Page, expect

LESSON = "04_one_answer_or_a_distribution.ipynb"
PLAY = "play = LiveFigure("  # it is shown by the next cell
ON_SLIDE = "Your own `climb`, live."
START = "40 patients: the doubt about A is 70%, 45% to 87%, about B 70%, 18% to 96%, about C 95%, 75% to 99%."


class TestLesson(Lesson):
    widgets: ClassVar = {ON_SLIDE: ".inferkit-figure"}
    again = ("fig = dots_figure(", "low_of_B.beside(")
    told = "You guessed .* This machine measured 19 %"
    alt = "A's twenty dots stand together"


# ---- The lecture ----


def test_the_figure_works_on_its_slide(lecture: Page) -> None:
    show_slide(lecture, slide_with(lecture, ON_SLIDE))
    widget = lecture.locator(".inferkit-figure:visible")
    widget.get_by_label("patients", exact=True).focus()
    lecture.keyboard.press("End")
    assert drawn(widget).startswith("400 patients")
    lecture.keyboard.press("Home")
    assert drawn(widget).startswith("10 patients")
    shoot(lecture, "play_slide")


# ---- The notebook ----


@pytest.fixture
def play(lesson: Page) -> Locator:
    """Return the figure of the three doubts, as it begins."""
    scroll_to(lesson, cell_with(lesson, PLAY) + 1)
    widget = lesson.locator(".inferkit-figure").first
    widget.wait_for()
    widget.get_by_role("button", name="Reset").click()
    expect(widget.get_by_role("img")).to_have_attribute("aria-label", START)
    return widget


def drawn(widget: Locator) -> str:
    """Return what a screen reader says of the drawing, once it is to what the controls show."""
    settled(widget)
    return widget.get_by_role("img").get_attribute("aria-label") or ""


def dots(widget: Locator) -> list[str]:
    """Return where the dots stand."""
    return [str(place) for place in widget.locator(".ik-dot").evaluate_all("(a) => a.map((c) => c.outerHTML)")]


def test_more_patients_narrow_the_doubt_and_the_axes_rest(lesson: Page, play: Locator) -> None:
    before, ticks = dots(play), play.locator(".ik-tick").all_text_contents()
    play.get_by_label("patients", exact=True).focus()
    lesson.keyboard.press("End")
    assert drawn(play).startswith("400 patients: the doubt about A is 71%, 6")
    assert dots(play) != before
    assert play.locator(".ik-tick").all_text_contents() == ticks
    shoot(lesson, "play_400")


def test_a_narrow_prior_says_a_half_to_everybody(lesson: Page, play: Locator) -> None:
    cells = count_cells(lesson)
    play.get_by_label("prior width", exact=True).focus()
    lesson.keyboard.press("Home")
    said = drawn(play)
    assert said.count("50%, 49% to 5") == 3, said
    shoot(lesson, "play_narrow")
    press_d_d(lesson)
    assert count_cells(lesson) == cells
