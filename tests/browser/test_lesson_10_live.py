"""Lesson 10 as a lecturer presents it and a student tries it: real JupyterLab, real kernel, real browser.

It is run once: it trains ten small networks, and takes its time.
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

LESSON = "10_pruning.ipynb"


@pytest.fixture(scope="module")
def lecture(open_page: OpenPage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Give the lesson as `make lecture` presents it, with all its cells run."""
    with presented(LESSON, open_page, tmp_path_factory.mktemp("lecture")) as page:
        yield page


@pytest.fixture
def figure(lecture: Page) -> Locator:
    """Return the figure that follows the zeros, on its slide."""
    show_slide(lecture, slide_with(lecture, "LiveFigure("))
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
    assert any("file, gzip and time all fall" in alt for alt in alts)
    assert len(set(alts)) >= 4


def test_more_zeros_shrink_the_zipped_file_and_lose_answers(figure: Locator) -> None:
    start = read(figure, "right"), read(figure, "gzip"), read(figure, "one answer")
    press(figure, "Home")
    assert read(figure, "right") > start[0]
    assert read(figure, "gzip") > 1.4 * start[1]
    press(figure, "End")
    assert read(figure, "right") < start[0] / 2
    assert read(figure, "gzip") < start[1] / 2
    assert read(figure, "one answer") > start[2] / 2, "the time does not follow"
    shoot(figure.page, "figure_95")
    figure.get_by_role("button", name="Reset").click()
    assert read(figure, "gzip") == start[1]


def test_axe_finds_nothing_in_the_figure(lecture: Page, figure: Locator) -> None:
    assert axe_in_both_themes(lecture, ".jp-Cell.jp-mod-active .inferkit-figure", "figure") == ""


def test_a_kept_guess_is_beside_the_measurement_and_on_the_poster(lecture: Page) -> None:
    show_slide(lecture, slide_with(lecture, "course.guess("))
    widget = lecture.locator(".inferkit-course:visible")
    widget.get_by_role("button", name="Keep my guess").click()
    expect(widget.get_by_role("status")).to_contain_text("Kept")
    run_cells_with(lecture, "times.beside(", "fig = poster(")
    expect(lecture.get_by_text(re.compile("You guessed .* This machine measured")).first).to_be_attached()
