"""Lesson 12 as a lecturer presents it and a student tries it: real JupyterLab, real kernel, real browser."""

import re
from collections.abc import Iterator

import pytest
from lessons import (
    OpenPage,
    axe_in_both_themes,
    cell_with,
    presented,
    run_cells_with,
    shoot,
    show_slide,
    slide_with,
    slides_that_overflow,
)
from playwright.sync_api import Locator, Page, expect

LESSON = "12_accuracy_against_speed.ipynb"
POSTER = "fig = with_words(poster("


@pytest.fixture(scope="module")
def lecture(open_page: OpenPage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Give the lesson as `make lecture` presents it, with all its cells run."""
    with presented(LESSON, open_page, tmp_path_factory.mktemp("lecture")) as page:
        yield page


@pytest.fixture
def figure(lecture: Page) -> Locator:
    """Return the figure that follows the two dials, on its slide, as it starts."""
    show_slide(lecture, slide_with(lecture, "LiveFigure(look"))
    found = lecture.locator(".inferkit-figure:visible")
    found.get_by_role("button", name="Reset").click()
    return found


def told(figure: Locator) -> dict[str, float]:
    """Return the numbers that the widget says, once it is to what the controls show."""
    figure.page.wait_for_timeout(50)
    expect(figure).to_have_attribute("data-settled", "true")
    texts = dict(
        figure.locator(".ik-texts > div").evaluate_all(
            "(all) => all.map((e) => [...e.children].map((c) => c.textContent))"
        )
    )
    return {name: float(re.sub(r"[^\d.]", "", words)) for name, words in texts.items()}


def press(figure: Locator, slider: int, key: str) -> None:
    figure.get_by_role("slider").nth(slider).focus()
    figure.page.keyboard.press(key)


def test_no_slide_overflows_and_every_picture_has_alternative_text(lecture: Page) -> None:
    """With all its fragments on show, a slide fits 1280 × 720, and nothing in it has to be scrolled."""
    assert slides_that_overflow(lecture) == []
    alts = lecture.locator(".jp-OutputArea-output img").evaluate_all("(all) => all.map((img) => img.alt || 'NONE')")
    assert "NONE" not in alts
    assert any("the plain network lies on it" in alt for alt in alts)
    assert len(set(alts)) >= 4


def test_a_higher_threshold_sends_more_up_and_takes_longer(figure: Locator) -> None:
    start = told(figure)
    shoot(figure.page, "figure_start")
    press(figure, 0, "Home")
    low = told(figure)
    press(figure, 0, "End")
    high = told(figure)
    shoot(figure.page, "figure_all_up")
    assert low["go up"] <= start["go up"] < high["go up"]
    assert low["computed"] <= start["computed"] < high["computed"]
    assert high["computed"] > 2 * low["computed"]
    assert low["right"] <= start["right"]
    assert high["measured now"] > low["measured now"], "it asks both networks each time"


def test_dusk_sends_more_up_and_costs_answers(figure: Locator) -> None:
    day = told(figure)
    press(figure, 1, "End")
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


def test_axe_finds_nothing_in_the_figure(lecture: Page, figure: Locator) -> None:
    assert axe_in_both_themes(lecture, ".jp-Cell.jp-mod-active .inferkit-figure", "figure") == ""


def test_kept_guesses_are_beside_the_measurement_and_on_the_poster(lecture: Page) -> None:
    for question in ("What share of the pictures", "How many times as fast as the large one"):
        show_slide(lecture, slide_with(lecture, question))
        widget = lecture.locator(".inferkit-course:visible").last
        widget.get_by_role("button", name="Keep my guess").click()
        expect(widget.get_by_role("status")).to_contain_text("Kept")
    run_cells_with(lecture, "share_guess.beside(", "times_guess.beside(", POSTER)
    expect(lecture.get_by_text(re.compile("You guessed .* This machine measured")).first).to_be_attached()
    drawn = lecture.evaluate(
        """(index) => JSON.stringify(window.jupyterapp.shell.currentWidget.content.model.cells.get(index)
          .sharedModel.outputs)""",
        cell_with(lecture, POSTER),
    )
    assert "your guess" in drawn
