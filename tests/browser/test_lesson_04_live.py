"""Lesson 04 as a student meets it, and as slides: real JupyterLab, real kernel, real browser."""

from collections.abc import Iterator

import pytest
from lessons import (
    OpenPage,
    as_notebook,
    axe_in_both_themes,
    cell_with,
    is_presenting,
    presented,
    run_cells_with,
    scroll_to,
    shoot,
    show_slide,
    slide_with,
    slides_that_overflow,
)
from pages import count_cells
from playwright.sync_api import Locator, Page, expect

LESSON = "04_one_answer_or_a_distribution.ipynb"
PLAY = "play = LiveFigure("  # it is shown by the next cell
ON_SLIDE = "Your own `climb`, live."
START = "40 patients: the doubt about A is 70%, 45% to 87%, about B 70%, 18% to 96%, about C 95%, 75% to 99%."


@pytest.fixture(scope="module")
def taught(open_page: OpenPage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Give the lesson as `make lecture` presents it, with all its cells run."""
    with presented(LESSON, open_page, tmp_path_factory.mktemp("lecture")) as page:
        yield page


# ---- The lecture ----


@pytest.fixture
def lecture(taught: Page) -> Page:
    """Give the lesson as slides; a notebook that has left them does not come back to the same."""
    assert is_presenting(taught)
    return taught


def test_the_figure_works_on_its_slide(lecture: Page) -> None:
    show_slide(lecture, slide_with(lecture, ON_SLIDE))
    widget = lecture.locator(".inferkit-figure:visible")
    widget.get_by_label("patients", exact=True).focus()
    lecture.keyboard.press("End")
    assert drawn(widget).startswith("400 patients")
    lecture.keyboard.press("Home")
    assert drawn(widget).startswith("10 patients")
    shoot(lecture, "play_slide")


def test_no_slide_overflows(lecture: Page) -> None:
    """With all its fragments on show, a slide fits 1280 × 720, and nothing in it has to be scrolled."""
    assert slides_that_overflow(lecture) == []


# ---- The notebook ----


@pytest.fixture
def lesson(taught: Page) -> Page:
    """Give the lesson as a student meets it."""
    return as_notebook(taught)


@pytest.fixture
def play(lesson: Page) -> Locator:
    """Return the figure of the three doubts, as it begins."""
    scroll_to(lesson, cell_with(lesson, PLAY) + 1)
    widget = lesson.locator(".inferkit-figure").first
    widget.wait_for()
    widget.get_by_role("button", name="Reset").click()
    expect(widget.get_by_role("img")).to_have_attribute("aria-label", START)
    return widget


def drawn(widget: Locator) -> str:
    """Return what a screen reader says of the drawing, once it is to what the controls show."""
    widget.page.wait_for_timeout(50)
    expect(widget).to_have_attribute("data-settled", "true", timeout=20_000)
    return widget.get_by_role("img").get_attribute("aria-label") or ""


def dots(widget: Locator) -> list[str]:
    """Return where the dots stand."""
    return [str(place) for place in widget.locator(".ik-dot").evaluate_all("(a) => a.map((c) => c.outerHTML)")]


def test_more_patients_narrow_the_doubt_and_the_axes_rest(lesson: Page, play: Locator) -> None:
    before, ticks = dots(play), play.locator(".ik-tick").all_text_contents()
    play.get_by_label("patients", exact=True).focus()
    lesson.keyboard.press("End")
    assert drawn(play).startswith("400 patients: the doubt about A is 71%, 6")
    assert dots(play) != before
    assert play.locator(".ik-tick").all_text_contents() == ticks
    shoot(lesson, "play_400")


def test_a_narrow_prior_says_a_half_to_everybody(lesson: Page, play: Locator) -> None:
    cells = count_cells(lesson)
    play.get_by_label("prior width", exact=True).focus()
    lesson.keyboard.press("Home")
    said = drawn(play)
    assert said.count("50%, 49% to 5") == 3, said
    shoot(lesson, "play_narrow")
    lesson.keyboard.press("d")
    lesson.keyboard.press("d")
    lesson.wait_for_timeout(300)
    assert count_cells(lesson) == cells


def test_axe_finds_nothing_in_the_figure(lesson: Page, play: Locator) -> None:
    assert axe_in_both_themes(lesson, ".jp-Cell.jp-mod-active .inferkit-figure", "play") == ""


def test_a_kept_guess_is_marked_on_the_figure(lesson: Page) -> None:
    scroll_to(lesson, cell_with(lesson, "course.guess("))
    widget = lesson.locator(".inferkit-course").first
    widget.get_by_role("slider").focus()
    lesson.keyboard.press("End")
    widget.get_by_role("button", name="Keep my guess").click()
    expect(widget.get_by_role("status")).to_have_text("Kept: 70 %")
    run_cells_with(lesson, "fig = dots_figure(", "low_of_B.beside(")
    expect(lesson.get_by_text("You guessed 70 %. This machine measured 19 %").first).to_be_attached()
    expect(lesson.get_by_alt_text("A's twenty dots stand together").first).to_be_attached()
