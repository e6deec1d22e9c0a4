"""A live figure that ticks, with buttons, in a real browser before a real kernel."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from pages import (
    axe_report,
    count_cells,
    hide_side_panel,
    next_frames,
    open_notebook,
    run_all,
    run_code,
    save_notebook,
    use_theme,
    write_notebook,
)
from playwright.sync_api import Locator, Page, expect

OpenPage = Callable[..., AbstractContextManager[Page]]

WALK = """
from time import sleep
import numpy as np
from inferkit.widgets import LiveFigure, curve, text

calls, works, walk = [], [], [0.0]
rng = np.random.default_rng(3)
slow = [0.0]

def step(width):
    if slow[0] < 0:
        raise ConnectionError("<b>no</b> server")
    sleep(slow[0])
    calls.append(width)
    walk.append(walk[-1] + width * rng.choice([-1.0, 1.0]))
    last = walk[-60:]
    return [curve(range(1 - len(last), 1), last, label="here", at="end"), text("steps", len(walk) - 1)]

def jump():
    sleep(0.4)
    works.append(len(calls))

def fail():
    raise ValueError("<b>no</b> way back")

walker = LiveFigure(
    step, {"width": range(1, 10)}, start={"width": 3}, every=0.1, buttons={"Jump for 0.4 s": jump, "Turn back": fail},
    alt="A walk of {steps} steps.", xlabel="steps ago", ylabel="place, m", title="A walk", xlim=(-59, 0),
)
walker
"""
# A page that takes itself for hidden until it is let go.
HOLD = """
Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true });
window.letGo = () => { delete document.visibilityState; document.dispatchEvent(new Event("visibilitychange")); };
"""
CELLS = [WALK, *(f"# {i}" + "\n" * 30 for i in range(3))]


class Ticking:
    """A figure that ticks, as a person meets it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.root: Locator = page.locator(".inferkit-figure")
        self.root.wait_for()
        self.start = self.root.get_by_role("button", name="Start", exact=True)
        self.stop = self.root.get_by_role("button", name="Stop", exact=True)
        self.status = self.root.get_by_role("status")

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name, exact=True)

    def steps(self) -> int:
        return int(self.root.locator("dd").first.inner_text())

    def wait_steps(self, more: int) -> None:
        """Wait until the page shows so many more steps."""
        self.page.wait_for_function(
            "([dd, least]) => Number(dd.textContent) >= least",
            arg=[self.root.locator("dd").first.element_handle(), self.steps() + more],
        )

    def rests(self, ms: int = 600) -> bool:
        """Tell whether the function is not called for some ticks; what is under way may end first."""
        next_frames(self.page)
        before = self.kernel("(walker.alt, len(calls))[1]")  # waits for it
        self.page.wait_for_timeout(ms)
        return self.kernel("len(calls)") == before

    def kernel(self, expression: str) -> str:
        return run_code(self.page, f"print({expression})").strip()


@pytest.fixture(scope="module")
def notebook_page(open_page: OpenPage, lab: Any) -> Iterator[Page]:
    write_notebook(lab.root / "walk.ipynb", CELLS)
    with open_page(viewport={"width": 1280, "height": 800}) as page:
        open_notebook(page, lab, "walk.ipynb")
        hide_side_panel(page)
        use_theme(page, "JupyterLab Light")
        run_all(page)
        yield page
    lab.stop_kernels()


@pytest.fixture
def walker(notebook_page: Page) -> Ticking:
    run_code(notebook_page, "walker.stop(); slow[0] = 0.0; walker.reset(); walker.error")
    figure = Ticking(notebook_page)
    figure.root.scroll_into_view_if_needed()
    expect(figure.start).to_be_visible()
    return figure


def test_it_rests_until_start_is_pressed_and_again_after_stop(walker: Ticking) -> None:
    assert walker.rests()
    cells = count_cells(walker.page)
    walker.start.focus()
    walker.page.keyboard.press("Enter")
    expect(walker.stop).to_be_focused()
    walker.wait_steps(5)
    assert walker.kernel("walker.running") == "True"
    walker.page.keyboard.press(" ")
    expect(walker.start).to_be_focused()
    assert walker.rests()
    expect(walker.root.get_by_role("img")).to_have_attribute("aria-label", f"A walk of {walker.steps()} steps.")
    assert walker.kernel("walker.running") == "False"
    assert count_cells(walker.page) == cells


def test_ticks_wait_for_a_slow_function(walker: Ticking) -> None:
    run_code(walker.page, "slow[0] = 0.3; ticks, before = walker._ticks, len(calls)")
    walker.start.click()
    walker.wait_steps(3)
    walker.stop.click()
    assert walker.rests(400)
    asked, called = int(walker.kernel("walker._ticks - ticks")), int(walker.kernel("len(calls) - before"))
    assert 3 <= asked <= called


def test_a_control_that_moves_meanwhile_is_answered_at_once(walker: Ticking) -> None:
    walker.start.click()
    walker.wait_steps(2)
    walker.root.get_by_label("width").press("End")
    expect(walker.root).to_have_attribute("data-settled", "true")
    assert walker.kernel("calls[-1]") == "9"
    walker.wait_steps(2)  # and it goes on with that
    assert walker.kernel("(calls[-1], walker.value)") == "(9, {'width': 9})"
    walker.root.get_by_role("button", name="Reset").click()
    walker.wait_steps(2)
    assert walker.kernel("walker.value") == "{'width': 3}"


def test_out_of_sight_it_pauses_and_goes_on_when_it_comes_back(walker: Ticking) -> None:
    page = walker.page
    walker.start.click()
    walker.wait_steps(2)
    page.evaluate(f"() => {{ {HOLD} document.dispatchEvent(new Event('visibilitychange')); }}")
    assert walker.rests()
    run_code(page, "walker._pulse._beaten -= 300")  # after long
    assert walker.kernel("walker.running") == "False"
    page.evaluate("window.letGo()")
    walker.wait_steps(3)
    assert walker.kernel("walker.running") == "True"
    page.locator(".jp-WindowedPanel-outer").evaluate("(e) => e.scrollTo(0, e.scrollHeight)")
    expect(walker.root).not_to_be_in_viewport()
    assert walker.rests()
    walker.root.scroll_into_view_if_needed()
    walker.wait_steps(3)


@pytest.mark.rotated
def test_another_notebook_in_front_pauses_it_and_a_page_opened_anew_finds_it_stopped(
    walker: Ticking, open_page: OpenPage, lab: Any
) -> None:
    page = walker.page
    walker.start.click()
    walker.wait_steps(2)
    page.evaluate("() => window.jupyterapp.commands.execute('launcher:create')")
    expect(walker.root).not_to_be_visible()
    page.wait_for_timeout(300)
    shown = walker.root.get_attribute("data-serial")
    page.wait_for_timeout(500)
    assert walker.root.get_attribute("data-serial") == shown
    page.evaluate("() => window.jupyterapp.shell.currentWidget.close()")
    walker.wait_steps(2)
    save_notebook(page)
    page.evaluate("() => window.jupyterapp.commands.execute('launcher:create')")
    expect(walker.root).not_to_be_visible()
    with open_page(viewport={"width": 1280, "height": 800}) as second:
        second.add_init_script(HOLD)
        open_notebook(second, lab, "walk.ipynb")
        run_code(second, "walker._pulse._beaten -= 300")  # nobody has shown it for long
        second.evaluate("window.letGo()")
        late = Ticking(second)
        expect(late.start).to_be_visible()
        assert late.rests()
    page.evaluate("() => window.jupyterapp.shell.currentWidget.close()")
    expect(walker.start).to_be_visible()
    expect(walker.root.locator(".ik-note")).to_have_text("It has stopped by itself. Press Start to go on.")


def test_a_screen_reader_hears_the_end_and_not_each_tick(walker: Ticking) -> None:
    walker.page.wait_for_timeout(900)  # what belongs to an earlier value has been said by then
    walker.status.evaluate(
        """(status) => {
          window.said = [];
          new MutationObserver(() => window.said.push(status.textContent)).observe(status, { childList: true });
        }"""
    )
    walker.start.click()
    walker.wait_steps(12)
    assert walker.page.evaluate("window.said") == ["Running."]
    walker.stop.click()
    walker.page.wait_for_timeout(900)
    assert walker.page.evaluate("window.said") == ["Running.", f"Stopped. steps: {walker.steps()}."]


def test_a_failure_is_told_and_the_run_goes_on(walker: Ticking) -> None:
    walker.start.click()
    walker.wait_steps(2)
    run_code(walker.page, "slow[0] = -1")
    failure = walker.root.locator(".ik-failure")
    expect(failure).to_have_text("ConnectionError: <b>no</b> server")
    expect(walker.status).to_have_text("Failed. ConnectionError: <b>no</b> server. The figure is old.")
    expect(walker.stop).to_be_visible()
    run_code(walker.page, "slow[0] = 0.0")
    expect(failure).to_be_hidden()
    walker.wait_steps(2)


def test_a_button_rests_while_it_works_and_the_figure_goes_on(walker: Ticking) -> None:
    walker.start.click()
    walker.wait_steps(1)
    jump, back = walker.button("Jump for 0.4 s"), walker.button("Turn back")
    worked = int(walker.kernel("len(works)"))
    jump.focus()
    for _ in range(3):
        walker.page.keyboard.press("Enter")
    expect(jump).to_have_attribute("aria-disabled", "true")
    expect(back).to_have_attribute("aria-disabled", "true")
    expect(jump).to_be_focused()
    walker.wait_steps(1)
    expect(jump).to_have_attribute("aria-disabled", "false")
    assert int(walker.kernel("len(works)")) == worked + 1
    back.click()
    expect(walker.root.locator(".ik-failure")).to_have_text("Turn back: ValueError: <b>no</b> way back")
    assert walker.root.locator("b").count() == 0
    assert "ik-old" not in (walker.root.get_attribute("class") or "")
    jump.click()
    expect(walker.root.locator(".ik-failure")).to_be_hidden()
    expect(jump).to_have_attribute("aria-disabled", "false")


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_axe_finds_nothing_while_it_runs_and_after_a_failure(walker: Ticking, theme: str) -> None:
    page = walker.page
    use_theme(page, theme)
    walker.start.click()
    walker.button("Turn back").click()
    walker.button("Jump for 0.4 s").click()
    shoot(walker, f"ticks_works_{theme[-5:].strip().lower()}")
    walker.button("Turn back").click()
    expect(walker.root.locator(".ik-failure")).to_be_visible()
    report = axe_report(page, ".inferkit-figure")
    for width in (1280, 400):
        page.set_viewport_size({"width": width, "height": 800})
        next_frames(page)
        shoot(walker, f"ticks_{theme[-5:].strip().lower()}_{width}")
        assert walker.root.evaluate("(e) => e.scrollWidth <= e.clientWidth")
    page.set_viewport_size({"width": 1280, "height": 800})
    use_theme(page, "JupyterLab Light")
    assert report == ""


def test_without_its_kernel_it_says_so_and_nothing_fails_in_the_page(walker: Ticking, lab: Any) -> None:
    walker.start.click()
    walker.wait_steps(2)
    lab.stop_kernels()
    expect(walker.root.locator(".ik-note")).to_have_text(
        "No figure yet. The function is at work, or the kernel has stopped: then run the cell again."
    )
    walker.stop.click()
    expect(walker.start).to_be_visible()


def shoot(figure: Ticking, name: str) -> None:
    """Keep a picture, where somebody wants to look at one."""
    if folder := os.environ.get("INFERKIT_SHOTS"):
        next_frames(figure.page)
        figure.root.screenshot(path=Path(folder, f"{name}.png"))
