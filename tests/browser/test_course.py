"""Guesses and quizzes in a real JupyterLab: by mouse, by keyboard, for a screen reader, in both themes."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pages import (
    Watch,
    axe_report,
    cell_state,
    close_all,
    count_cells,
    open_notebook,
    replace_cells,
    run_all,
    run_cell,
    run_code,
    use_theme,
    write_notebook,
)
from playwright.sync_api import Locator, Page, expect

NUMBER = """
from inferkit.course import guess
times = guess("Training takes how many times one answer?", low=1, high=1e9, unit="times")
times
"""
CHOICE = """
from inferkit.course import guess
first = guess("Which answers <i>first</i>?", options=["Keras", "<img src=x> LiteRT", "scikit-learn"])
first
"""
QUIZ = """
from inferkit.course import quiz
quiz([
    {"question": "What changes in the weights?", "answer": "Nothing",
     "options": {"All of them": "That is <b>training</b>.", "Nothing": "They are only read."}},
    {"question": "What is kept at the end?", "answer": "A file",
     "options": {"A file": "It holds the weights.", "<b>The data</b>": "They can go."}},
])
"""

AS_NEW = "import sys; [sys.modules.pop(name) for name in list(sys.modules) if name.startswith('inferkit.course')]"

Show = Callable[..., Locator]


@pytest.fixture(scope="module")
def notebook(shared_page: tuple[Page, Watch], lab: Any) -> Iterator[Page]:
    """Open one notebook for all tests: to start a kernel takes longer than any of them."""
    page = shared_page[0]
    write_notebook(lab.root / "course.ipynb", ["1"])
    open_notebook(page, lab, "course.ipynb")
    yield page
    close_all(page, kernels=True)


@pytest.fixture
def page(notebook: Page, shared_page: tuple[Page, Watch]) -> Iterator[Page]:
    yield notebook
    shared_page[1].check()


@pytest.fixture
def show(page: Page) -> Show:
    """Return a function that runs cells in the notebook, with no guess kept, and gives the first widget."""

    def show_it(*cells: str) -> Locator:
        run_code(page, AS_NEW)
        replace_cells(page, cells)
        run_all(page)
        widget = page.locator(".inferkit-course").first
        widget.scroll_into_view_if_needed()
        return widget

    return show_it


def said(widget: Locator, index: int = 0) -> Locator:
    return widget.get_by_role("status").nth(index)


def test_a_guess_by_keyboard(show: Show, page: Page) -> None:
    widget = show(NUMBER)
    slider = widget.get_by_role("slider", name="Training takes how many times one answer?")
    expect(said(widget)).to_have_text("No guess kept yet.")
    slider.focus()
    page.keyboard.press("Home")
    for _ in range(9):
        page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "1,000 times")
    expect(widget.locator("strong")).to_have_text("1,000 times")
    assert run_code(page, "print(times.value)").strip() == "None"
    page.keyboard.type("dd")  # JupyterLab's shortcut that deletes a cell
    page.keyboard.press("Tab")
    expect(widget.get_by_role("button", name="Keep my guess")).to_be_focused()
    page.keyboard.type("dd")
    page.keyboard.press("Enter")
    expect(said(widget)).to_have_text("Kept: 1,000 times")
    assert run_code(page, "print(times.value)").strip() == "1000.0"
    assert count_cells(page) == 1


def test_a_guess_by_mouse_is_shown_again_beside_the_measurement(show: Show, page: Page) -> None:
    widget = show(NUMBER, "times.beside(2_000_000)")
    expect(page.get_by_text("No guess kept. This machine measured 2,000,000 times.")).to_be_visible()
    slider = widget.get_by_role("slider")
    box = slider.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 2 / 3, box["y"] + box["height"] / 2)
    label = slider.get_attribute("aria-valuetext")
    assert label in ("500,000 times", "1,000,000 times", "2,000,000 times")
    widget.get_by_role("button").click()
    expect(said(widget)).to_have_text(f"Kept: {label}")
    run_cell(page, 0)  # again: the guess is still there
    again = page.locator(".inferkit-course").first
    expect(said(again)).to_have_text(f"Kept: {label}")
    expect(again.get_by_role("slider")).to_have_attribute("aria-valuetext", str(label))
    run_cell(page, 1)
    expect(page.get_by_text(f"You guessed {label}. This machine measured 2,000,000 times: ")).to_be_visible()


def test_a_guess_made_while_a_cell_runs_is_kept_at_once(show: Show, page: Page, lab: Any) -> None:
    busy = "import pathlib, time\nwhile pathlib.Path('hold').exists(): time.sleep(0.05)"
    widget = show(NUMBER, busy)
    (lab.root / "hold").touch()
    run_cell(page, 1)  # it ends when the file is gone
    widget.get_by_role("button").click()
    expect(said(widget)).to_have_text("Kept: 20,000 times")
    assert cell_state(page, 1) == "running"
    (lab.root / "hold").unlink()
    assert run_code(page, "print(times.value)").strip() == "20000.0"
    page.wait_for_timeout(700)  # longer than the page waits before it says that it waits
    expect(said(widget)).to_have_text("Kept: 20,000 times")


def test_a_choice(show: Show, page: Page) -> None:
    widget = show(CHOICE)
    group = widget.get_by_role("group", name="Which answers <i>first</i>?")
    widget.get_by_role("button").click()
    expect(said(widget)).to_have_text("Choose one first.")
    group.get_by_role("radio", name="Keras").focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(said(widget)).to_have_text("Kept: <img src=x> LiteRT")
    assert widget.locator("img, i").count() == 0  # texts entered the page as text
    assert run_code(page, "print(first.value)").strip() == "<img src=x> LiteRT"
    run_code(page, "first.keep('Keras')")  # from the kernel to the page
    expect(said(widget)).to_have_text("Kept: Keras")
    expect(group.get_by_role("radio", name="Keras")).to_be_checked()


def test_a_quiz_by_mouse_and_keyboard(show: Show, page: Page) -> None:
    widget = show(QUIZ)
    expect(widget).to_contain_text("0 of 2 solved")
    first = widget.get_by_role("group", name="1. What changes in the weights?")
    widget.get_by_role("button", name="Check").first.click()
    expect(said(widget)).to_have_text("Choose an answer first.")
    first.get_by_role("radio", name="All of them").check()
    widget.get_by_role("button", name="Check").first.click()
    expect(said(widget)).to_have_text("✗ Not this one. That is <b>training</b>.")
    first.get_by_role("radio", name="All of them").focus()
    page.keyboard.press("ArrowDown")
    expect(said(widget)).to_have_text("")  # the reason belonged to another option
    page.keyboard.type("dd")
    page.keyboard.press("Enter")
    expect(said(widget)).to_have_text("✓ Right. They are only read.")
    expect(widget).to_contain_text("1 of 2 solved")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")  # past the button, to the next question
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect(said(widget, 1)).to_have_text("✓ Right. It holds the weights.")
    expect(widget).to_contain_text("2 of 2 solved")
    assert widget.locator("b").count() == 0
    assert count_cells(page) == 1


def test_axe_finds_nothing(show: Show, page: Page) -> None:
    show(NUMBER, CHOICE, QUIZ)
    widgets = page.locator(".inferkit-course")
    expect(widgets).to_have_count(3)
    for radio in ("Nothing", "<b>The data</b>"):
        widgets.nth(2).get_by_role("radio", name=radio).check()
        page.keyboard.press("Enter")
    expect(said(widgets.nth(2), 1)).to_contain_text("Not this one")
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        use_theme(page, theme)
        assert axe_report(page, ".inferkit-course") == ""


def test_a_slide_that_inflates_its_text_leaves_the_widget_as_it_is(show: Show, page: Page) -> None:
    widget = show(QUIZ)
    parts = widget.locator("legend, label, button, p, input")
    read = "(all) => all.map((e) => [getComputedStyle(e).fontSize, e.offsetHeight])"
    before = parts.evaluate_all(read)
    for outside in (".jp-Notebook", "html"):
        page.locator(outside).evaluate("(e) => { e.style.fontSize = '40px'; e.style.lineHeight = '2'; }")
    after = parts.evaluate_all(read)
    page.locator("html").evaluate("(e) => e.removeAttribute('style')")
    assert after == before
