"""Lesson 03 as a student meets it, and as slides: real JupyterLab, real kernel, real browser."""

from collections.abc import Iterator

import pytest
from lessons import (
    OpenPage,
    alternative_texts,
    as_notebook,
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
from pages import axe_report, count_cells, run_code, use_theme
from playwright.sync_api import Locator, Page, expect

LESSON = "03_measuring_honestly.ipynb"
PLAY = "course.sampler(everything"


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


def test_the_sampler_lives_on_its_slide(lecture: Page) -> None:
    show_slide(lecture, slide_with(lecture, PLAY))
    widget = lecture.locator(".inferkit-sampler").first
    widget.get_by_role("slider").focus()
    lecture.keyboard.press("End")
    expect(widget).to_have_attribute("data-size", "10000")


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
    """Return the sampler, at 100 calls."""
    scroll_to(lesson, cell_with(lesson, PLAY))
    widget = lesson.locator(".inferkit-sampler").first
    widget.wait_for()
    slider = widget.get_by_role("slider", name="Size of the sample")
    slider.focus()
    lesson.keyboard.press("Home")
    expect(widget).to_have_attribute("data-size", "10")  # it may have begun at 100, and must be seen to leave
    for _ in range(6):
        lesson.keyboard.press("ArrowRight")
    expect(widget).to_have_attribute("data-size", "100")
    return widget


def drawn(widget: Locator) -> str:
    """Return what a screen reader says of the drawing."""
    return widget.get_by_role("img").get_attribute("aria-label") or ""


def test_the_slider_by_keyboard_and_the_p99_appears(lesson: Page, play: Locator) -> None:
    assert "p99: needs 662 calls" in drawn(play)
    expect(play.locator(".ik-band")).to_have_count(2)
    shoot(lesson, "sampler_100")
    for _ in range(6):
        lesson.keyboard.press("ArrowRight")
    slider = play.get_by_role("slider")
    expect(slider).to_have_attribute("aria-valuetext", "1,000 calls")
    expect(play).to_have_attribute("data-size", "1000")
    expect(play.locator(".ik-band")).to_have_count(3)
    assert "needs" not in drawn(play)
    expect(play.get_by_role("status")).to_contain_text("1,000 calls. p50:")
    shoot(lesson, "sampler_1000")
    lesson.keyboard.press("End")
    expect(play).to_have_attribute("data-size", "10000")
    shoot(lesson, "sampler_10000")


def test_a_band_shrinks_as_the_sample_grows(lesson: Page, play: Locator) -> None:
    """From 1,000 calls to 10,000 the interval of the p99 shrinks by about the root of ten."""

    def width() -> float:
        return float(play.locator(".ik-band").nth(2).get_attribute("width") or 0)

    play.get_by_role("slider").focus()
    for _ in range(6):
        lesson.keyboard.press("ArrowRight")
    expect(play).to_have_attribute("data-size", "1000")
    few = width()
    lesson.keyboard.press("End")
    expect(play).to_have_attribute("data-size", "10000")
    assert width() < few / 2


def test_the_button_draws_another_sample(lesson: Page, play: Locator) -> None:
    before, draws = drawn(play), int(play.get_attribute("data-draws") or -1)
    lesson.keyboard.press("Tab")
    expect(play.get_by_role("button", name="Draw again")).to_be_focused()
    lesson.keyboard.press("Enter")
    expect(play).to_have_attribute("data-draws", str(draws + 1))
    assert drawn(play) != before
    play.get_by_role("button", name="Draw again").click()
    expect(play).to_have_attribute("data-draws", str(draws + 2))


def test_d_d_on_the_sampler_keeps_the_lessons_cell(lesson: Page, play: Locator) -> None:
    before = count_cells(lesson)
    for part in (play.get_by_role("slider"), play.get_by_role("button")):
        part.focus()
        lesson.keyboard.press("d")
        lesson.keyboard.press("d")
    lesson.wait_for_timeout(300)
    assert count_cells(lesson) == before


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_axe_finds_nothing_in_the_sampler(lesson: Page, play: Locator, theme: str) -> None:
    use_theme(lesson, theme)
    lesson.wait_for_timeout(300)
    shoot(lesson, f"sampler_{theme.split()[1].lower()}")
    report = axe_report(lesson, ".jp-Cell.jp-mod-active .inferkit-sampler")
    use_theme(lesson, "JupyterLab Light")
    assert report == ""


def test_a_kept_guess_is_shown_beside_the_measurement_and_on_the_ladder(lesson: Page) -> None:
    scroll_to(lesson, cell_with(lesson, "course.guess("))
    widget = lesson.locator(".inferkit-course").first
    widget.get_by_role("button", name="Keep my guess").click()
    expect(widget.get_by_role("status")).to_contain_text("Kept: 1,000 times")
    run_cells_with(lesson, "times.beside(ratio.value)", "guess_us = times.value", "fig = ladder_figure(")
    scroll_to(lesson, cell_with(lesson, "times.beside(ratio.value)"))
    expect(lesson.get_by_text("You guessed 1,000 times. This machine measured").first).to_be_attached()
    assert run_code(lesson, "print(round(guess_us / 1000 / found['LiteRT'].p50_ms, 6))").strip() == "1000.0"


def test_every_picture_in_the_page_has_alternative_text(lesson: Page) -> None:
    alts = alternative_texts(lesson)
    assert "NONE" not in alts
    assert len(alts) == 5
    assert any("Keras predict is by far the slowest" in alt for alt in alts)
