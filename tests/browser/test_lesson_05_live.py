"""Lesson 05 as a student meets it, and as slides: real JupyterLab, real kernel, real browser."""

import re
from typing import ClassVar

import pytest
from lessons import Lesson, cell_with, scroll_to, shoot, show_slide, slide_with
from pages import run_code
from playwright.sync_api import Locator, Page, expect

LESSON = "05_bayesian_inference_in_practice.ipynb"
PLAY = "play = LiveFigure("
FEW = re.compile(r"At 13 patients: weight [1-4]?\d%")  # less than half
MANY = re.compile(r"At 125 patients: weight [89]\d%")


class TestLesson(Lesson):
    widgets: ClassVar = {PLAY: ".inferkit-figure"}
    choice = "its own patients"
    again = ("nearest.beside(",)
    told = "You guessed its own patients. This machine measured something between"
    alt = "NUTS lies on the exact curve"


# ---- The lecture ----


def test_the_figure_works_on_its_slide(lecture: Page) -> None:
    show_slide(lecture, slide_with(lecture, PLAY))
    widget = lecture.locator(".inferkit-figure:visible")
    widget.get_by_role("slider", name="patients").focus()
    lecture.keyboard.press("End")
    expect(drawn(widget)).to_have_attribute("aria-label", MANY)
    widget.get_by_role("button", name="Reset").click()


# ---- The notebook ----


@pytest.fixture
def play(lesson: Page) -> Locator:
    """Return the live figure, as it starts."""
    scroll_to(lesson, cell_with(lesson, PLAY))
    widget = lesson.locator(".inferkit-figure").first
    widget.wait_for()
    widget.get_by_role("button", name="Reset").click()
    expect(said(widget)).to_contain_text("weight of its patients")
    return widget


def said(widget: Locator) -> Locator:
    return widget.get_by_role("status").first


def drawn(widget: Locator) -> Locator:
    return widget.get_by_role("img").first


def test_patients_outvote_the_other_clinics(lesson: Page, play: Locator) -> None:
    """What the lesson suggests to try comes out as its notes say."""
    expect(drawn(play)).to_have_attribute("aria-label", FEW)
    play.get_by_role("slider", name="patients").focus()
    lesson.keyboard.press("End")
    expect(drawn(play)).to_have_attribute("aria-label", MANY)
    shoot(lesson, "play_125")


def test_nobody_needed_tensorflow(lesson: Page) -> None:
    assert run_code(lesson, "import sys; print({'tensorflow', 'keras'} & set(sys.modules))").strip() == "set()"
