"""Lesson 02 as a student meets it, and as slides: real JupyterLab, real kernel, real browser."""

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

LESSON = "02_the_pipeline_is_the_model.ipynb"
FAULTS = ("scale forgotten", "inverted", "transposed", "grey levels lost", "channels swapped", "labels sorted")


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


def test_the_picker_works_on_its_slide(lecture: Page) -> None:
    show_slide(lecture, slide_with(lecture, "course.fault_picker("))
    widget = lecture.locator(".inferkit-picker:visible")
    widget.get_by_role("checkbox", name="inverted").check()
    expect(said(widget)).to_have_text("inverted: 4 % right, 74 % sure.")
    widget.get_by_role("checkbox", name="inverted").uncheck()


def test_no_slide_overflows(lecture: Page) -> None:
    """With all its fragments on show, a slide fits 1280 × 720, and nothing in it has to be scrolled."""
    assert slides_that_overflow(lecture) == []


# ---- The notebook ----


@pytest.fixture
def lesson(taught: Page) -> Page:
    """Give the lesson as a student meets it."""
    return as_notebook(taught)


@pytest.fixture
def picker(lesson: Page) -> Iterator[Locator]:
    """Return the picker with every fault off, and leave it so."""
    scroll_to(lesson, cell_with(lesson, "course.fault_picker("))
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
    lesson.keyboard.press("d")
    lesson.keyboard.press("d")
    lesson.wait_for_timeout(300)
    assert count_cells(lesson) == before
    lesson.keyboard.press("Tab")
    expect(picker.get_by_role("checkbox", name="transposed")).to_be_focused()


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_axe_finds_nothing_in_the_picker(lesson: Page, picker: Locator, theme: str) -> None:
    use_theme(lesson, theme)
    try:
        picker.get_by_role("checkbox", name="transposed").check()
        expect(said(picker)).to_contain_text("transposed")
        shoot(lesson, f"picker_{theme[-5:].strip()}")
        assert axe_report(lesson, ".jp-Cell.jp-mod-active .inferkit-picker") == ""
    finally:
        use_theme(lesson, "JupyterLab Light")


def test_a_kept_guess_is_marked_on_the_figure(lesson: Page) -> None:
    scroll_to(lesson, cell_with(lesson, "course.guess("))
    widget = lesson.locator(".inferkit-course").first
    widget.get_by_role("radio", name="transposed").check()
    widget.get_by_role("button", name="Keep my guess").click()
    expect(widget.get_by_role("status")).to_have_text("Kept: transposed")
    shoot(lesson, "lesson_guess")
    run_cells_with(lesson, "worst.beside(", "fig = wrong_and_sure(")
    expect(lesson.get_by_text("You guessed transposed. This machine measured inverted").first).to_be_attached()


def test_every_picture_in_the_page_has_alternative_text(lesson: Page) -> None:
    alts = alternative_texts(lesson)
    assert "NONE" not in alts
    assert any("surer than it is right" in alt for alt in alts)
    assert len(alts) >= 3


def test_nobody_needed_tensorflow(lesson: Page) -> None:
    assert run_code(lesson, "import sys; print({'tensorflow', 'keras'} & set(sys.modules))").strip() == "set()"
