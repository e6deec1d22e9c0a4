"""Lesson 02 as a student meets it, and as slides: real JupyterLab, real kernel, real browser."""

from collections.abc import Iterator
from typing import ClassVar

import pytest
from lessons import Lesson, cell_with, scroll_to, shoot, show_slide, slide_with
from pages import count_cells, press_d_d, run_code
from playwright.sync_api import Locator, Page, expect

LESSON = "02_the_pipeline_is_the_model.ipynb"
PICKER = "course.fault_picker("
FAULTS = ("scale forgotten", "inverted", "transposed", "grey levels lost", "channels swapped", "labels sorted")


class TestLesson(Lesson):
    widgets: ClassVar = {PICKER: ".inferkit-picker"}
    choice = "transposed"
    again = ("worst.beside(", "fig = wrong_and_sure(")
    told = "You guessed transposed. This machine measured inverted"
    alt = "surer than it is right"

    def test_axe_finds_nothing_in_its_widgets(self, lecture: Page) -> None:
        show_slide(lecture, slide_with(lecture, PICKER))
        fault = lecture.locator(".inferkit-picker:visible").get_by_role("checkbox", name="transposed")
        fault.check()
        super().test_axe_finds_nothing_in_its_widgets(lecture)
        fault.uncheck()


# ---- The lecture ----


def test_the_picker_works_on_its_slide(lecture: Page) -> None:
    show_slide(lecture, slide_with(lecture, PICKER))
    widget = lecture.locator(".inferkit-picker:visible")
    widget.get_by_role("checkbox", name="inverted").check()
    expect(said(widget)).to_have_text("inverted: 4 % right, 74 % sure.")
    widget.get_by_role("checkbox", name="inverted").uncheck()


# ---- The notebook ----


@pytest.fixture
def picker(lesson: Page) -> Iterator[Locator]:
    """Return the picker with every fault off, and leave it so."""
    scroll_to(lesson, cell_with(lesson, PICKER))
    widget = lesson.locator(".inferkit-picker").first
    clear(widget)
    yield widget
    clear(widget)


def clear(widget: Locator) -> None:
    for fault in FAULTS:
        widget.get_by_role("checkbox", name=fault).uncheck()
    expect(said(widget)).to_have_text("no fault: 99 % right, 99 % sure.")


def said(widget: Locator) -> Locator:
    return widget.get_by_role("status")


def seen(widget: Locator) -> list[str]:
    """Return the pictures as they stand in the page."""
    return [str(src) for src in widget.locator("img").evaluate_all("(all) => all.map((img) => img.src)")]


def test_a_fault_that_is_ticked_changes_pictures_answers_and_figures(lesson: Page, picker: Locator) -> None:
    before = seen(picker)
    picker.get_by_role("checkbox", name="channels swapped").check()
    expect(said(picker)).to_have_text("channels swapped: 15 % right, 87 % sure.")
    assert len(before) == len(seen(picker)) == 6
    assert not set(before) & set(seen(picker))
    expect(picker.locator("figure[data-verdict=wrong]").first).to_contain_text("✗")
    shoot(lesson, "picker_channels")


def test_a_second_fault_mends_the_first(picker: Locator) -> None:
    """What the lesson suggests to try comes out as its notes say."""
    picker.get_by_role("checkbox", name="grey levels lost").check()
    expect(said(picker)).to_have_text("grey levels lost: 9 % right, 45 % sure.")
    picker.get_by_role("checkbox", name="scale forgotten").check()
    expect(said(picker)).to_have_text("scale forgotten and grey levels lost: 91 % right, 100 % sure.")


def test_a_fault_that_leaves_the_input_alone_changes_no_picture(picker: Locator) -> None:
    before = seen(picker)
    picker.get_by_role("checkbox", name="labels sorted").check()
    expect(said(picker)).to_have_text("labels sorted: 41 % right, 99 % sure.")
    assert seen(picker) == before


def test_the_picker_obeys_the_keyboard_and_keeps_its_keys(lesson: Page, picker: Locator) -> None:
    before = count_cells(lesson)
    picker.get_by_role("checkbox", name="inverted").focus()
    lesson.keyboard.press("Space")
    expect(said(picker)).to_have_text("inverted: 4 % right, 74 % sure.")
    press_d_d(lesson)
    assert count_cells(lesson) == before
    lesson.keyboard.press("Tab")
    expect(picker.get_by_role("checkbox", name="transposed")).to_be_focused()


def test_nobody_needed_tensorflow(lesson: Page) -> None:
    assert run_code(lesson, "import sys; print({'tensorflow', 'keras'} & set(sys.modules))").strip() == "set()"
