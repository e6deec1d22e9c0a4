"""Lesson 07 as a lecturer presents it and a student tries it: real JupyterLab, real kernel, real browser.

It is run once: it starts processes of its own, and takes its time.
"""

import re
from collections.abc import Iterator

import pytest
from lessons import (
    OpenPage,
    axe_in_both_themes,
    presented,
    run_cells_with,
    shoot,
    show_slide,
    slide_with,
    slides_that_overflow,
)
from playwright.sync_api import Locator, Page, expect

LESSON = "07_batch_inference.ipynb"


@pytest.fixture(scope="module")
def lecture(open_page: OpenPage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Give the lesson as `make lecture` presents it, with all its cells run."""
    with presented(LESSON, open_page, tmp_path_factory.mktemp("lecture")) as page:
        yield page


@pytest.fixture
def figure(lecture: Page) -> Locator:
    """Return the figure that follows the batch, on its slide."""
    show_slide(lecture, slide_with(lecture, "LiveFigure(price"))
    return lecture.locator(".inferkit-figure:visible")


def read(figure: Locator, what: str) -> float:
    """Return a number that the widget shows, once it is to what the controls show."""
    figure.page.wait_for_timeout(50)
    expect(figure).to_have_attribute("data-settled", "true")
    texts = dict(
        figure.locator(".ik-texts > div").evaluate_all(
            "(all) => all.map((e) => [...e.children].map((c) => c.textContent))"
        )
    )
    return float(re.sub(r"[^\d.]", "", texts[what]))


def press(figure: Locator, key: str) -> None:
    figure.get_by_role("slider").focus()
    figure.page.keyboard.press(key)


def test_no_slide_overflows_and_every_picture_has_alternative_text(lecture: Page) -> None:
    """With all its fragments on show, a slide fits 1280 × 720, and nothing in it has to be scrolled."""
    assert slides_that_overflow(lecture) == []
    alts = lecture.locator(".jp-OutputArea-output img").evaluate_all("(all) => all.map((img) => img.alt || 'NONE')")
    assert "NONE" not in alts
    assert any("bend at a diamond" in alt for alt in alts)
    assert len(set(alts)) >= 4


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


def test_axe_finds_nothing_in_the_figure(lecture: Page, figure: Locator) -> None:
    assert axe_in_both_themes(lecture, ".jp-Cell.jp-mod-active .inferkit-figure", "figure") == ""


def test_a_kept_guess_is_beside_the_measurement_and_on_the_figure(lecture: Page) -> None:
    show_slide(lecture, slide_with(lecture, "course.guess("))
    widget = lecture.locator(".inferkit-course:visible")
    widget.get_by_role("button", name="Keep my guess").click()
    expect(widget.get_by_role("status")).to_contain_text("Kept")
    run_cells_with(lecture, "times.beside(", "fig = knee_figure(")
    expect(lecture.get_by_text(re.compile("You guessed .* This machine measured")).first).to_be_attached()
