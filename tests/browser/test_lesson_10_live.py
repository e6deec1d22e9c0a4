"""Lesson 10 as a lecturer presents it and a student tries it: real JupyterLab, real kernel, real browser.

It is run once: it trains four small networks, and takes its time.
"""

from typing import ClassVar

import pytest
from lessons import Lesson, figure_texts, number, press, shoot, show_slide, slide_with
from playwright.sync_api import Locator, Page

LESSON = "10_pruning.ipynb"


class TestLesson(Lesson):
    widgets: ClassVar = {"LiveFigure(": ".inferkit-figure"}
    again = ("times.beside(", "fig = poster(")
    alt = "file, gzip and time all fall"


@pytest.fixture
def figure(lecture: Page) -> Locator:
    """Return the figure that follows the zeros, on its slide."""
    show_slide(lecture, slide_with(lecture, "LiveFigure("))
    return lecture.locator(".inferkit-figure:visible")


def read(figure: Locator, what: str) -> float:
    """Return a number that the widget shows, once it is to what the controls show."""
    return number(figure_texts(figure)[what])


def test_more_zeros_shrink_the_zipped_file_and_lose_answers(figure: Locator) -> None:
    start = read(figure, "right"), read(figure, "gzip")
    press(figure, "Home")
    assert read(figure, "right") > start[0]
    assert read(figure, "gzip") > 1.4 * start[1]
    press(figure, "End")
    assert read(figure, "right") < start[0] / 2
    assert read(figure, "gzip") < start[1] / 2
    shoot(figure.page, "figure_95")
    figure.get_by_role("button", name="Reset").click()
    assert read(figure, "gzip") == start[1]
