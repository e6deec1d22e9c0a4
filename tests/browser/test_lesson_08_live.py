"""Lesson 08 as a lecturer presents it and a student tries it: real JupyterLab, real kernel, real browser.

It is run once: it loads servers for the better part of a minute.
"""

import re
from typing import ClassVar

import pytest
from lessons import Lesson, shoot, show_slide, slide_with
from playwright.sync_api import Locator, Page, expect

LESSON = "08_real_time_inference.ipynb"
LONG_MS = 20_000  # ticks come twice a second on a machine that has time


class TestLesson(Lesson):
    widgets: ClassVar = {"LiveFigure(dashboard": ".inferkit-figure"}
    again = ("times.beside(", "fig = stick_figure(", "bend.beside(")
    alt = "beyond 100 % jump"


@pytest.fixture
def figure(lecture: Page) -> Locator:
    """Return the dashboard, on its slide."""
    show_slide(lecture, slide_with(lecture, "LiveFigure(dashboard"))
    return lecture.locator(".inferkit-figure:visible")


def told(figure: Locator, what: str) -> Locator:
    """Return the element that holds a number of the dashboard."""
    return figure.locator(".ik-texts > div", has_text=re.compile(f"^{what}"))


def press_button(figure: Locator, name: str) -> None:
    """Press a button as who uses the keyboard does."""
    figure.get_by_role("button", name=name).focus()
    figure.page.keyboard.press("Enter")


def test_the_dashboard_rests_until_it_is_started_then_answers_and_stops(figure: Locator) -> None:
    expect(told(figure, "answered")).to_contain_text("0/s")
    figure.get_by_role("button", name="Start").click()  # by mouse: nothing unseen lies over it
    expect(told(figure, "answered")).to_contain_text(re.compile(r"[1-9]\d*/s"), timeout=LONG_MS)
    expect(told(figure, "p50")).to_contain_text(" ms", timeout=LONG_MS)
    shoot(figure.page, "dashboard_running")
    press_button(figure, "Stop")
    expect(figure.get_by_role("button", name="Start")).to_be_visible()


def test_an_overload_is_refused_and_passes(figure: Locator) -> None:
    """32 may wait, and 20 times the load comes: the line is full, and empties when the rush is over."""
    press_button(figure, "Start")
    expect(told(figure, "answered")).to_contain_text(re.compile(r"[1-9]\d*/s"), timeout=LONG_MS)
    press_button(figure, "Overload")
    expect(told(figure, "waiting")).to_contain_text(re.compile(r"waiting[23]\d$"), timeout=LONG_MS)
    shoot(figure.page, "dashboard_overloaded")
    expect(told(figure, "waiting")).to_contain_text(re.compile(r"waiting\d$"), timeout=LONG_MS)
    press_button(figure, "Stop")
