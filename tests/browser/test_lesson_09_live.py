"""Lesson 09 as a lecturer presents it and a student tries it: real JupyterLab, real kernel, real browser.

It is run once: it converts and trains for the better part of a minute.
"""

from typing import ClassVar

import pytest
from lessons import Lesson, figure_texts, number, press, shoot, show_slide, slide_with
from playwright.sync_api import Locator, Page, expect

LESSON = "09_quantization.ipynb"


class TestLesson(Lesson):
    widgets: ClassVar = {"LiveFigure(rounding": ".inferkit-figure"}
    guesses = ("How many times smaller", "And how many times as fast")
    again = ("smaller.beside(", "faster.beside(", "fig = poster(entries")
    alt = "int16x8 alone is far"


@pytest.fixture
def figure(lecture: Page) -> Locator:
    """Return the figure that follows the bits, on its slide, as it starts."""
    show_slide(lecture, slide_with(lecture, "LiveFigure(rounding"))
    found = lecture.locator(".inferkit-figure:visible")
    found.get_by_role("button", name="Reset").click()
    return found


def test_fewer_bits_are_smaller_and_fall_over_and_a_ruler_for_each_filter_helps(figure: Locator) -> None:
    start = figure_texts(figure)
    shoot(figure.page, "figure_start")
    press(figure, "End")
    eight = figure_texts(figure)
    assert number(eight["right"]) > 95
    assert number(eight["weights"]) == pytest.approx(2 * number(start["weights"]), abs=0.11)
    press(figure, "Home")
    two = figure_texts(figure)
    assert number(two["right"]) < 50
    assert number(two["SQNR"]) < number(start["SQNR"]) < number(eight["SQNR"])
    press(figure, "ArrowRight")
    shared = figure_texts(figure)
    figure.get_by_role("combobox").select_option("one for each filter")
    assert number(figure_texts(figure)["right"]) > number(shared["right"])
    shoot(figure.page, "figure_each")
    figure.get_by_role("button", name="Reset").click()
    assert figure_texts(figure) == start


def test_the_picture_beside_the_figure_loses_its_bits_with_it(figure: Locator) -> None:
    picture = figure.page.locator(".jp-Cell.jp-mod-active img:visible")
    expect(picture).to_have_attribute("alt", "the sign in 4 bits")
    before = picture.get_attribute("src")
    press(figure, "Home")
    expect(picture).to_have_attribute("alt", "the sign in 2 bits")
    assert picture.get_attribute("src") != before
    shoot(figure.page, "figure_two_bits")
