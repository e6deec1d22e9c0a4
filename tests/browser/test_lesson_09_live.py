"""Lesson 09 as a lecturer presents it and a student tries it: real JupyterLab, real kernel, real browser.

It is run once: it converts and trains for the better part of a minute.
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

LESSON = "09_quantization.ipynb"


@pytest.fixture(scope="module")
def lecture(open_page: OpenPage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Give the lesson as `make lecture` presents it, with all its cells run."""
    with presented(LESSON, open_page, tmp_path_factory.mktemp("lecture")) as page:
        yield page


@pytest.fixture
def figure(lecture: Page) -> Locator:
    """Return the figure that follows the bits, on its slide, as it starts."""
    show_slide(lecture, slide_with(lecture, "LiveFigure(rounding"))
    found = lecture.locator(".inferkit-figure:visible")
    found.get_by_role("button", name="Reset").click()
    return found


def told(figure: Locator) -> dict[str, str]:
    """Return what the widget says, once it is to what the controls show."""
    figure.page.wait_for_timeout(50)
    expect(figure).to_have_attribute("data-settled", "true")
    return dict(
        figure.locator(".ik-texts > div").evaluate_all(
            "(all) => all.map((e) => [...e.children].map((c) => c.textContent))"
        )
    )


def number(words: str) -> float:
    return float(re.sub(r"[^\d.]", "", words))


def press(figure: Locator, key: str) -> None:
    figure.get_by_role("slider").focus()
    figure.page.keyboard.press(key)


def test_no_slide_overflows_and_every_picture_has_alternative_text(lecture: Page) -> None:
    """With all its fragments on show, a slide fits 1280 × 720, and nothing in it has to be scrolled."""
    assert slides_that_overflow(lecture) == []
    alts = lecture.locator(".jp-OutputArea-output img").evaluate_all("(all) => all.map((img) => img.alt || 'NONE')")
    assert "NONE" not in alts
    assert any("int16x8 alone is far" in alt for alt in alts)
    assert len(set(alts)) >= 4


def test_fewer_bits_are_smaller_and_fall_over_and_a_ruler_for_each_filter_helps(figure: Locator) -> None:
    start = told(figure)
    shoot(figure.page, "figure_start")
    press(figure, "End")
    eight = told(figure)
    assert number(eight["right"]) > 95
    assert number(eight["weights"]) == pytest.approx(2 * number(start["weights"]), abs=0.11)
    press(figure, "Home")
    two = told(figure)
    assert number(two["right"]) < 50
    assert number(two["SQNR"]) < number(start["SQNR"]) < number(eight["SQNR"])
    press(figure, "ArrowRight")
    shared = told(figure)
    figure.get_by_role("combobox").select_option("one for each filter")
    assert number(told(figure)["right"]) > number(shared["right"])
    shoot(figure.page, "figure_each")
    figure.get_by_role("button", name="Reset").click()
    assert told(figure) == start


def test_the_picture_beside_the_figure_loses_its_bits_with_it(figure: Locator) -> None:
    picture = figure.page.locator(".jp-Cell.jp-mod-active img:visible")
    expect(picture).to_have_attribute("alt", "the sign in 4 bits")
    before = picture.get_attribute("src")
    press(figure, "Home")
    expect(picture).to_have_attribute("alt", "the sign in 2 bits")
    assert picture.get_attribute("src") != before
    shoot(figure.page, "figure_two_bits")


def test_axe_finds_nothing_in_the_figure(lecture: Page, figure: Locator) -> None:
    assert axe_in_both_themes(lecture, ".jp-Cell.jp-mod-active .inferkit-figure", "figure") == ""


def test_kept_guesses_are_beside_the_measurement_and_on_the_figure(lecture: Page) -> None:
    for question in ("How many times smaller", "And how many times as fast"):
        show_slide(lecture, slide_with(lecture, question))
        widget = lecture.locator(".inferkit-course:visible").last
        widget.get_by_role("button", name="Keep my guess").click()
        expect(widget.get_by_role("status")).to_contain_text("Kept")
    run_cells_with(lecture, "smaller.beside(", "faster.beside(", "fig = poster(entries")
    expect(lecture.get_by_text(re.compile("You guessed .* This machine measured")).first).to_be_attached()
