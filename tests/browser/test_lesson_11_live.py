"""Lesson 11 as a lecturer presents it and a student tries it: real JupyterLab, real kernel, real browser.

It is run once: it measures the machine, and takes its time.
"""

from typing import ClassVar

import pytest
from lessons import Lesson, figure_texts, number, press, shoot, show_slide, slide_with
from playwright.sync_api import Locator, Page

LESSON = "11_hardware_acceleration.ipynb"


class TestLesson(Lesson):
    widgets: ClassVar = {"LiveFigure(": ".inferkit-figure"}
    again = ("share.beside(", "fig = poster(")
    alt = "dense layers far below"


@pytest.fixture
def figure(lecture: Page) -> Locator:
    """Return the figure that puts a product under its roof, on its slide."""
    show_slide(lecture, slide_with(lecture, "LiveFigure("))
    return lecture.locator(".inferkit-figure:visible")


def rate(figure: Locator) -> float:
    """Return the rate that the widget shows, in billion operations a second."""
    return number(figure_texts(figure)["GFLOP/s"])


def test_the_rate_is_the_operations_of_a_product_over_its_time(figure: Locator) -> None:
    for key, n in (("Home", 32), ("End", 1024)):
        press(figure, key)
        said = figure_texts(figure)
        assert said["this is"] == "measured"
        assert rate(figure) * number(said["a product"]) == pytest.approx(2 * n**3 / 1000, rel=0.06), "as rounded"
    shoot(figure.page, "figure_1024")
    figure.get_by_role("button", name="Reset").click()
    assert figure_texts(figure)["this is"] == "measured"


def test_a_card_is_computed_and_slow_for_a_small_product(figure: Locator) -> None:
    figure.get_by_role("combobox").select_option("NVIDIA T4, computed")
    press(figure, "Home")
    assert figure_texts(figure)["this is"] == "computed"
    small = rate(figure)
    press(figure, "End")
    assert rate(figure) > 100 * small
    shoot(figure.page, "figure_card")
    figure.get_by_role("button", name="Reset").click()
