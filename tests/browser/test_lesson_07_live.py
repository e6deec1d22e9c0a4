"""Lesson 07 as a lecturer presents it and a student tries it: real JupyterLab, real kernel, real browser.

It is run once: it starts processes of its own, and takes its time.
"""

from typing import ClassVar

import pytest
from lessons import Lesson, figure_texts, number, press, shoot, show_slide, slide_with
from playwright.sync_api import Locator, Page

LESSON = "07_batch_inference.ipynb"


class TestLesson(Lesson):
    widgets: ClassVar = {"LiveFigure(price": ".inferkit-figure"}
    again = ("times.beside(", "fig = knee_figure(")
    alt = "bend at a diamond"


@pytest.fixture
def figure(lecture: Page) -> Locator:
    """Return the figure that follows the batch, on its slide."""
    show_slide(lecture, slide_with(lecture, "LiveFigure(price"))
    return lecture.locator(".inferkit-figure:visible")


def read(figure: Locator, what: str) -> float:
    """Return a number that the widget shows, once it is to what the controls show."""
    return number(figure_texts(figure)[what])


def test_a_larger_batch_costs_less_for_a_row_and_makes_it_wait(figure: Locator) -> None:
    start = read(figure, "a row"), read(figure, "the first row waits")
    press(figure, "Home")
    assert read(figure, "a row") > 2 * start[0]
    assert read(figure, "of it for the call") > 80
    press(figure, "End")
    assert read(figure, "a row") <= start[0]
    assert read(figure, "of it for the call") < 5
    assert read(figure, "the first row waits") > 10 * start[1]
    figure.get_by_role("combobox").select_option("digit network")
    assert read(figure, "a row") > start[0]
    shoot(figure.page, "figure_digits")
    figure.get_by_role("button", name="Reset").click()
    assert read(figure, "a row") == start[0]
