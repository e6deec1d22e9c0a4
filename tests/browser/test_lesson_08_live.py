"""Lesson 08 as a lecturer presents it and a student tries it: real JupyterLab, real kernel, real browser.

It is run once: it loads servers for the better part of a minute.
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

LESSON = "08_real_time_inference.ipynb"
LONG_MS = 20_000  # ticks come twice a second on a machine that has time


@pytest.fixture(scope="module")
def lecture(open_page: OpenPage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Give the lesson as `make lecture` presents it, with all its cells run."""
    with presented(LESSON, open_page, tmp_path_factory.mktemp("lecture")) as page:
        yield page


@pytest.fixture
def figure(lecture: Page) -> Locator:
    """Return the dashboard, on its slide."""
    show_slide(lecture, slide_with(lecture, "LiveFigure(dashboard"))
    return lecture.locator(".inferkit-figure:visible")


def told(figure: Locator, what: str) -> Locator:
    """Return the element that holds a number of the dashboard."""
    return figure.locator(".ik-texts > div", has_text=re.compile(f"^{what}"))


def test_no_slide_overflows_and_every_picture_has_alternative_text(lecture: Page) -> None:
    """With all its fragments on show, a slide fits 1280 × 720, and nothing in it has to be scrolled."""
    assert slides_that_overflow(lecture) == []
    alts = lecture.locator(".jp-OutputArea-output img").evaluate_all("(all) => all.map((img) => img.alt || 'NONE')")
    assert "NONE" not in alts
    assert any("beyond 100 % jump" in alt for alt in alts)
    assert len(set(alts)) >= 4


def press(figure: Locator, name: str) -> None:
    """Press a button as who uses the keyboard does."""
    figure.get_by_role("button", name=name).focus()
    figure.page.keyboard.press("Enter")


def test_the_dashboard_rests_until_it_is_started_then_answers_and_stops(figure: Locator) -> None:
    expect(told(figure, "answered")).to_contain_text("0/s")
    figure.get_by_role("button", name="Start").click()  # by mouse: nothing unseen lies over it
    expect(told(figure, "answered")).to_contain_text(re.compile(r"[1-9]\d*/s"), timeout=LONG_MS)
    expect(told(figure, "p50")).to_contain_text(" ms", timeout=LONG_MS)
    shoot(figure.page, "dashboard_running")
    press(figure, "Stop")
    expect(figure.get_by_role("button", name="Start")).to_be_visible()


def test_an_overload_is_refused_and_passes(figure: Locator) -> None:
    """32 may wait, and 20 times the load comes: the line is full, and empties when the rush is over."""
    press(figure, "Start")
    expect(told(figure, "answered")).to_contain_text(re.compile(r"[1-9]\d*/s"), timeout=LONG_MS)
    press(figure, "Overload")
    expect(told(figure, "waiting")).to_contain_text(re.compile(r"waiting[23]\d$"), timeout=LONG_MS)
    shoot(figure.page, "dashboard_overloaded")
    expect(told(figure, "waiting")).to_contain_text(re.compile(r"waiting\d$"), timeout=LONG_MS)
    press(figure, "Stop")


def test_axe_finds_nothing_in_the_dashboard(lecture: Page, figure: Locator) -> None:
    assert axe_in_both_themes(lecture, ".jp-Cell.jp-mod-active .inferkit-figure", "figure") == ""


def test_a_kept_guess_is_beside_the_measurement_and_on_the_figure(lecture: Page) -> None:
    show_slide(lecture, slide_with(lecture, "course.guess("))
    for widget in lecture.locator(".inferkit-course:visible").all():
        widget.get_by_role("button", name="Keep my guess").click()
        expect(widget.get_by_role("status")).to_contain_text("Kept")
    run_cells_with(lecture, "times.beside(", "fig = stick_figure(", "bend.beside(")
    expect(lecture.get_by_text(re.compile("You guessed .* This machine measured")).first).to_be_attached()
