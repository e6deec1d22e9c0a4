"""Lesson 03 as a student meets it, and as slides: real JupyterLab, real kernel, real browser."""

from typing import ClassVar

import pytest
from lessons import Lesson, cell_with, run_cells_with, scroll_to, shoot, show_slide, slide_with
from pages import count_cells, press_d_d, run_code
from playwright.sync_api import Locator, Page, expect

LESSON = "03_measuring_honestly.ipynb"
PLAY = "course.sampler(everything"


class TestLesson(Lesson):
    widgets: ClassVar = {PLAY: ".inferkit-sampler"}
    again = ("times.beside(ratio.value)",)
    told = "You guessed 1,000 times. This machine measured"
    alt = "Keras predict is by far the slowest"


# ---- The lecture ----


def test_the_sampler_lives_on_its_slide(lecture: Page) -> None:
    show_slide(lecture, slide_with(lecture, PLAY))
    widget = lecture.locator(".inferkit-sampler").first
    widget.get_by_role("slider").focus()
    lecture.keyboard.press("End")
    expect(widget).to_have_attribute("data-size", "10000")


# ---- The notebook ----


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
        press_d_d(lesson)
    assert count_cells(lesson) == before


def test_the_kept_guess_stands_on_the_ladder(lesson: Page) -> None:
    run_cells_with(lesson, "guess_us = times.value", "fig = ladder_figure(")
    assert run_code(lesson, "print(round(guess_us / 1000 / found['LiteRT'].p50_ms, 6))").strip() == "1000.0"
