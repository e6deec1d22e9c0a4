"""Lesson 11 as a lecturer presents it and a student tries it: real JupyterLab, real kernel, real browser.

It is run once: it measures the machine, and takes its time.
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

LESSON = "11_hardware_acceleration.ipynb"


@pytest.fixture(scope="module")
def lecture(open_page: OpenPage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Give the lesson as `make lecture` presents it, with all its cells run."""
    with presented(LESSON, open_page, tmp_path_factory.mktemp("lecture")) as page:
        yield page


@pytest.fixture
def figure(lecture: Page) -> Locator:
    """Return the figure that puts a product under its roof, on its slide."""
    show_slide(lecture, slide_with(lecture, "LiveFigure("))
    return lecture.locator(".inferkit-figure:visible")


def words(figure: Locator) -> dict[str, str]:
    """Return what the widget says, once it is to what the controls show."""
    figure.page.wait_for_timeout(50)
    expect(figure).to_have_attribute("data-settled", "true")
    pairs = figure.locator(".ik-texts > div").evaluate_all(
        "(all) => all.map((e) => [...e.children].map((c) => c.textContent))"
    )
    return dict(pairs)


def rate(figure: Locator) -> float:
    """Return the rate that the widget shows, in billion operations a second."""
    return float(words(figure)["GFLOP/s"].replace(",", ""))


def press(figure: Locator, key: str) -> None:
    figure.get_by_role("slider").first.focus()
    figure.page.keyboard.press(key)


def test_no_slide_overflows_and_every_picture_has_alternative_text(lecture: Page) -> None:
    """With all its fragments on show, a slide fits 1280 × 720, and nothing in it has to be scrolled."""
    assert slides_that_overflow(lecture) == []
    alts = lecture.locator(".jp-OutputArea-output img").evaluate_all("(all) => all.map((img) => img.alt || 'NONE')")
    assert "NONE" not in alts
    assert any("dense layers far below" in alt for alt in alts)
    assert len(set(alts)) >= 6


def test_a_larger_product_does_more_a_second(figure: Locator) -> None:
    assert words(figure)["this is"] == "measured"
    press(figure, "Home")
    small = rate(figure)
    press(figure, "End")
    assert rate(figure) > 2 * small
    shoot(figure.page, "figure_1024")
    figure.get_by_role("button", name="Reset").click()
    assert words(figure)["this is"] == "measured"


def test_a_card_is_computed_and_slow_for_a_small_product(figure: Locator) -> None:
    figure.get_by_role("combobox").select_option("NVIDIA T4, computed")
    press(figure, "Home")
    assert words(figure)["this is"] == "computed"
    small = rate(figure)
    press(figure, "End")
    assert rate(figure) > 100 * small
    shoot(figure.page, "figure_card")
    figure.get_by_role("button", name="Reset").click()


def test_axe_finds_nothing_in_the_figure(lecture: Page, figure: Locator) -> None:
    assert axe_in_both_themes(lecture, ".jp-Cell.jp-mod-active .inferkit-figure", "figure") == ""


def test_a_kept_guess_is_beside_the_measurement_and_on_the_poster(lecture: Page) -> None:
    show_slide(lecture, slide_with(lecture, "course.guess("))
    widget = lecture.locator(".inferkit-course:visible")
    widget.get_by_role("button", name="Keep my guess").click()
    expect(widget.get_by_role("status")).to_contain_text("Kept")
    run_cells_with(lecture, "share.beside(", "fig = poster(")
    expect(lecture.get_by_text(re.compile("You guessed .* This machine measured")).first).to_be_attached()
    show_slide(lecture, slide_with(lecture, "fig = poster("))
    shoot(lecture, "poster_with_guess")
