"""Lesson 12 as a lecturer presents it and a student tries it: real JupyterLab, real kernel, real browser."""

from typing import ClassVar

import pytest
from lessons import Lesson, cell_with, figure_texts, number, press, shoot, show_slide, slide_with
from playwright.sync_api import Locator, Page

LESSON = "12_accuracy_against_speed.ipynb"
POSTER = "fig = with_words(poster("


class TestLesson(Lesson):
    widgets: ClassVar = {"LiveFigure(look": ".inferkit-figure"}
    guesses = ("What share of the pictures", "How many times as fast as the large one")
    again = ("share_guess.beside(", "times_guess.beside(", POSTER)
    alt = "the plain network lies on it"


@pytest.fixture
def figure(lecture: Page) -> Locator:
    """Return the figure that follows the two dials, on its slide, as it starts."""
    show_slide(lecture, slide_with(lecture, "LiveFigure(look"))
    found = lecture.locator(".inferkit-figure:visible")
    found.get_by_role("button", name="Reset").click()
    return found


def told(figure: Locator) -> dict[str, float]:
    """Return the numbers that the widget says, once it is to what the controls show."""
    return {name: number(words) for name, words in figure_texts(figure).items()}


def test_a_higher_threshold_sends_more_up_and_takes_longer(figure: Locator) -> None:
    start = told(figure)
    shoot(figure.page, "figure_start")
    press(figure, "Home")
    low = told(figure)
    press(figure, "End")
    high = told(figure)
    shoot(figure.page, "figure_all_up")
    assert low["go up"] <= start["go up"] < high["go up"]
    assert low["computed"] <= start["computed"] < high["computed"]
    assert low["right"] <= start["right"]
    assert high["measured now"] > 0, "it asks both networks each time"


def test_dusk_sends_more_up_and_costs_answers(figure: Locator) -> None:
    day = told(figure)
    press(figure, "End", slider=1)
    dusk = told(figure)
    shoot(figure.page, "figure_dusk")
    assert dusk["go up"] > 2 * day["go up"]
    assert dusk["computed"] > day["computed"]
    assert dusk["right"] < day["right"]
    figure.get_by_role("button", name="Reset").click()
    again = told(figure)
    assert {name: again[name] for name in ("right", "go up", "computed")} == {
        name: day[name] for name in ("right", "go up", "computed")
    }


def test_the_kept_guess_stands_on_the_poster(lecture: Page) -> None:
    drawn = lecture.evaluate(
        """(index) => JSON.stringify(window.jupyterapp.shell.currentWidget.content.model.cells.get(index)
          .sharedModel.outputs)""",
        cell_with(lecture, POSTER),
    )
    assert "your guess" in drawn
