"""Lesson 06 as a lecturer presents it and a student tries it: real JupyterLab, real kernel, real browser.

It is run once: with two frameworks in one kernel that takes its time.
"""

from typing import ClassVar

import pytest
from lessons import Lesson, figure_texts, number, press, shoot, show_slide, slide_with
from playwright.sync_api import Locator, Page

LESSON = "06_uncertainty_at_serving_speed.ipynb"


class TestLesson(Lesson):
    widgets: ClassVar = {"LiveFigure(ask": ".inferkit-figure"}
    again = ("guessed.beside(", "fig = reliability_diagram(")
    told = "You guessed .* This machine measured 71.7"
    alt = "keeps 84 in 100"


@pytest.fixture
def figure(lecture: Page) -> Locator:
    """Return the figure that follows the asked coverage, on its slide."""
    show_slide(lecture, slide_with(lecture, "LiveFigure(ask"))
    return lecture.locator(".inferkit-figure:visible")


def kept(figure: Locator) -> float:
    """Return the share that the widget says was kept, in percent, once it is to what the controls show."""
    return number(figure_texts(figure)["kept"])


def test_asking_for_more_keeps_more_and_believing_keeps_less(figure: Locator) -> None:
    start = kept(figure)
    assert abs(start - 90.9) < 0.2
    press(figure, "Home")
    assert kept(figure) < 60
    press(figure, "End")
    most = kept(figure)
    assert most > 98
    figure.get_by_role("combobox").select_option("believed")
    assert kept(figure) < most - 2
    shoot(figure.page, "figure_believed")
    figure.get_by_role("button", name="Reset").click()
    assert kept(figure) == start
