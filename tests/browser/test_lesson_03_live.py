"""Lesson 03 as a student meets it, and as slides: real JupyterLab, real kernel, real browser."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from pages import axe_report, count_cells, hide_side_panel, open_notebook, run_all, run_code, use_theme, wait_until_run
from playwright.sync_api import Locator, Page, expect
from server import running_lab
from test_lesson_01_live import BUILT, cell_with, go_to, scroll_to, shoot, slides

from notebooks import lab as launcher

OpenPage = Callable[..., AbstractContextManager[Page]]

LESSON = "03_measuring_honestly.ipynb"
PLAY = "course.sampler(everything"


@pytest.fixture(scope="module")
def lesson(open_page: OpenPage, lab: Any) -> Iterator[Page]:
    """Open a copy of the lesson and run all its cells, with a ledger that nobody keeps."""
    shutil.copy(BUILT / LESSON, lab.root)
    with open_page(viewport={"width": 1280, "height": 900}) as page:
        open_notebook(page, lab, LESSON)
        hide_side_panel(page)
        use_theme(page, "JupyterLab Light")  # another test may have left the other
        run_code(page, "import os; os.environ['INFERKIT_LEDGER'] = ':memory:'")
        run_all(page)
        yield page
    lab.stop_kernels()


@pytest.fixture
def play(lesson: Page) -> Locator:
    """Return the sampler, at 100 calls."""
    scroll_to(lesson, cell_with(lesson, PLAY))
    widget = lesson.locator(".inferkit-sampler").first
    widget.wait_for()
    slider = widget.get_by_role("slider", name="Size of the sample")
    slider.focus()
    lesson.keyboard.press("Home")
    for _ in range(6):
        lesson.keyboard.press("ArrowRight")
    expect(widget).to_have_attribute("data-size", "100")
    return widget


def drawn(widget: Locator) -> str:
    """Return what a screen reader says of the drawing."""
    return widget.get_by_role("img").get_attribute("aria-label") or ""


def test_the_slider_by_keyboard_and_the_p99_appears(lesson: Page, play: Locator) -> None:
    assert "p99: needs 662 calls" in drawn(play)
    assert play.locator(".ik-band").count() == 2
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
    for text in ("times.beside(ratio.value)", "guess_us = times.value", "fig = ladder_figure("):
        scroll_to(lesson, cell_with(lesson, text))
        lesson.evaluate("() => window.jupyterapp.commands.execute('notebook:run-cell')")
        wait_until_run(lesson)
        lesson.wait_for_timeout(500)
        shoot(lesson, f"lesson_03_{text[:5]}")
    scroll_to(lesson, cell_with(lesson, "times.beside(ratio.value)"))
    expect(lesson.get_by_text("You guessed 1,000 times. This machine measured").first).to_be_attached()
    assert run_code(lesson, "print(round(guess_us / 1000 / found['LiteRT'].p50_ms, 6))").strip() == "1000.0"


def test_every_picture_in_the_page_has_alternative_text(lesson: Page) -> None:
    """The page builds its cells as they come into view, so all are looked at in turn."""
    alts = set()
    for index in range(count_cells(lesson)):
        scroll_to(lesson, index)
        alts |= set(
            lesson.locator(".jp-OutputArea-output img").evaluate_all("(all) => all.map((img) => img.alt || 'NONE')")
        )
    assert "NONE" not in alts
    assert len(alts) == 5
    assert any("Keras predict is by far the slowest" in alt for alt in alts)


# ---- The lecture ----


@pytest.fixture(scope="module")
def lecture(open_page: OpenPage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Present a copy of the lesson as `make lecture` does, and run all its cells."""
    work = tmp_path_factory.mktemp("work")
    launcher.sync(work)
    command = launcher.command(LESSON, [], work, lecture=True)
    environment = {k: v for k, v in launcher.environment(work).items() if k != "MPLBACKEND"}
    environment["INFERKIT_LEDGER"] = ":memory:"
    with (
        running_lab(command, environment, work, tmp_path_factory.mktemp("log") / "lab.log") as lab,
        open_page(viewport={"width": 1280, "height": 720}) as page,
    ):
        page.goto(f"{lab.url}/lab/tree/{LESSON}?token={lab.token}")
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        page.wait_for_function(
            "() => window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
        )
        page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
        wait_until_run(page)
        yield page


def test_the_sampler_lives_on_its_slide(lecture: Page) -> None:
    (cells,) = [cells for cells in slides(lecture) if cell_with(lecture, PLAY) in cells]
    go_to(lecture, cells[0])
    go_to(lecture, cells[-1])
    widget = lecture.locator(".inferkit-sampler").first
    widget.get_by_role("slider").focus()
    lecture.keyboard.press("End")
    expect(widget).to_have_attribute("data-size", "10000")


def test_no_slide_overflows(lecture: Page) -> None:
    """With all its fragments on show, a slide fits 1280 × 720, and nothing in it has to be scrolled."""
    too_large = []
    for number, cells in enumerate(slides(lecture), start=1):
        go_to(lecture, cells[0])
        go_to(lecture, cells[-1])
        seen = lecture.evaluate(
            """() => {
              const shown = (e) => e.offsetParent !== null && e.getBoundingClientRect().height > 0;
              const all = (selector) => [...document.querySelectorAll(selector)].filter(shown);
              const boxes = all(".jp-Notebook .jp-Cell").map((cell) => cell.getBoundingClientRect());
              const inner = all(".jp-Cell .cm-scroller, .jp-Cell .jp-OutputArea-output");
              return {
                cells: boxes.length,
                top: Math.min(...boxes.map((box) => box.top)),
                bottom: Math.max(...boxes.map((box) => box.bottom)),
                right: Math.max(...boxes.map((box) => box.right)),
                hidden: inner.filter(
                  (e) => e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1,
                ).length,
              };
            }"""
        )
        shoot(lecture, f"slide_{number:02d}")
        height = seen["bottom"] - seen["top"]
        print(f"slide {number:2}: {height:4.0f} px high, cells {cells}")
        assert seen["cells"] == len(cells), f"slide {number} shows other cells than its own"
        if seen["bottom"] > 720 or seen["right"] > 1280 or seen["top"] < 0 or seen["hidden"]:
            too_large.append((number, cells, seen))
    assert too_large == []
