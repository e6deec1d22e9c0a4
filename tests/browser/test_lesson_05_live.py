"""Lesson 05 as a student meets it, and as slides: real JupyterLab, real kernel, real browser."""

import re
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
from pages import run_code
from playwright.sync_api import Locator, Page, expect

LESSON = "05_bayesian_inference_in_practice.ipynb"
PLAY = "play = LiveFigure("
FEW = re.compile(r"At 13 patients: weight [1-4]?\d%")  # less than half
MANY = re.compile(r"At 125 patients: weight [89]\d%")


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
    show_slide(lecture, slide_with(lecture, PLAY))
    widget = lecture.locator(".inferkit-figure:visible")
    widget.get_by_role("slider", name="patients").focus()
    lecture.keyboard.press("End")
    expect(drawn(widget)).to_have_attribute("aria-label", MANY)
    widget.get_by_role("button", name="Reset").click()


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
    """Return the live figure, as it starts."""
    scroll_to(lesson, cell_with(lesson, PLAY))
    widget = lesson.locator(".inferkit-figure").first
    widget.wait_for()
    widget.get_by_role("button", name="Reset").click()
    expect(said(widget)).to_contain_text("weight of its patients")
    return widget


def said(widget: Locator) -> Locator:
    return widget.get_by_role("status").first


def drawn(widget: Locator) -> Locator:
    return widget.get_by_role("img").first


def test_patients_outvote_the_other_clinics(lesson: Page, play: Locator) -> None:
    """What the lesson suggests to try comes out as its notes say."""
    expect(drawn(play)).to_have_attribute("aria-label", FEW)
    play.get_by_role("slider", name="patients").focus()
    lesson.keyboard.press("End")
    expect(drawn(play)).to_have_attribute("aria-label", MANY)
    shoot(lesson, "play_125")


def test_axe_finds_nothing_in_the_figure(lesson: Page, play: Locator) -> None:
    assert axe_in_both_themes(lesson, ".jp-Cell.jp-mod-active .inferkit-figure", "play") == ""


def test_a_kept_guess_is_put_beside_the_measurement(lesson: Page) -> None:
    scroll_to(lesson, cell_with(lesson, "course.guess("))
    widget = lesson.locator(".inferkit-course").first
    widget.get_by_role("radio", name="its own patients").check()
    widget.get_by_role("button", name="Keep my guess").click()
    expect(widget.get_by_role("status")).to_have_text("Kept: its own patients")
    run_cells_with(lesson, "nearest.beside(")
    told = "You guessed its own patients. This machine measured something between"
    expect(lesson.get_by_text(told).first).to_be_attached()


def test_nobody_needed_tensorflow(lesson: Page) -> None:
    assert run_code(lesson, "import sys; print({'tensorflow', 'keras'} & set(sys.modules))").strip() == "set()"
