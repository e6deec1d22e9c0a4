"""The live predictor and the race of runtimes in a real browser, before a real kernel."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from lessons import shoot
from pages import (
    Live,
    Race,
    axe_report,
    cell_state,
    count_cells,
    forget_widgets,
    hide_side_panel,
    next_frames,
    open_notebook,
    run_all,
    run_cell,
    run_code,
    save_notebook,
    use_theme,
    wait_until_run,
    write_notebook,
)
from playwright.sync_api import Page, expect

OpenPage = Callable[..., AbstractContextManager[Page]]

MODELS = """
from time import sleep
import numpy as np
from inferkit.datasets import load_digits
from inferkit.predictor import ArraySpec, Column, OutputSpec, Predictor, Signature, TableSpec, TextSpec, digit_reader
from inferkit.widgets import LivePredictor

patient = TableSpec([
    Column("age", "years", 0, 100),
    Column("dose", "mg", 0, 50),
    Column("ward", categories=("surgery", "medicine", "children")),
    Column("weight", "kg", low=1),
])

def care(rows):
    age = rows[:, 0].astype(float) / 100
    return {"risk": np.column_stack([1 - age, age]), "stay": 3 + 10 * age}

outputs = [OutputSpec("risk", "probabilities", ("low", "high")), OutputSpec("stay", unit="days")]
table = LivePredictor(
    Predictor(care, signature=Signature(patient, outputs), name="care"),
    examples={"a child": {"age": 6, "dose": 5, "ward": "children", "weight": 21},
              "a pensioner": {"age": 80, "dose": 20, "ward": "medicine", "weight": 70}},
)
"""
SLOW = """
asked = []
def sums(rows):
    asked.append(rows[0].tolist())
    sleep(0.1)
    return 1000 * rows[:, 0] + rows[:, 1]

slow = LivePredictor(Predictor(sums, signature=ArraySpec((2,), low=0, high=100), name="slow"))
slow
"""
TEXT = """
def mood(texts):
    if any("boom" in text for text in texts):
        raise RuntimeError("<b>no</b> such word")
    glad = np.array([min(1.0, 0.1 + 0.4 * text.count("good")) for text in texts])
    return np.column_stack([1 - glad, glad])

text = LivePredictor(Predictor(mood, signature=TextSpec(40), labels=["sad", "glad"], name="mood"), start="a day")
text
"""
DIGITS = """
images, truth = load_digits().images, load_digits().target
digits = LivePredictor(digit_reader(), examples={f"a {truth[i]}": images[i] for i in range(24)})
digits
"""
RACE = """
from inferkit.widgets import RuntimeRace

def naps(rows):
    sleep(0.02)
    return rows

def fails(rows):
    raise RuntimeError("<b>no</b> model")

race = RuntimeRace(
    {"LiteRT": digit_reader(), "LiteRT int8": digit_reader("digits-cnn-int8"), "one that naps": naps, "faulty": fails},
    images, seconds=60,
)
race
"""
CELLS = [MODELS, "table", SLOW, TEXT, DIGITS, RACE]


@pytest.fixture(scope="module")
def notebook_page(open_page: OpenPage, lab: Any) -> Iterator[Page]:
    write_notebook(lab.root / "live.ipynb", CELLS)
    with open_page(viewport={"width": 1280, "height": 1000}) as page:
        open_notebook(page, lab, "live.ipynb")
        hide_side_panel(page)
        run_all(page)
        yield page
    lab.stop_kernels()


@pytest.fixture
def table(notebook_page: Page) -> Live:
    return ready(notebook_page, 0, "table.set(age=50, dose=20, ward='surgery', weight=70)")


@pytest.fixture
def slow(notebook_page: Page) -> Live:
    return ready(notebook_page, 1, "slow.set(x0=50, x1=50)")


@pytest.fixture
def text(notebook_page: Page) -> Live:
    return ready(notebook_page, 2, "text.set(text='a day')")


@pytest.fixture
def digits(notebook_page: Page) -> Live:
    return ready(notebook_page, 3, "digits.set(example=0)")


def ready(page: Page, index: int, code: str) -> Live:
    """Give the widget its start by code, and wait until it shows the answer."""
    serial = int(run_code(page, f"{code}\n_ = {code.split('.')[0]}.answer\nprint({code.split('.')[0]}._serial)"))
    live = Live(page, index)
    page.wait_for_function("([e, n]) => Number(e.dataset.serial) >= n", arg=[live.root.element_handle(), serial])
    live.settle()
    return live


def kernel(live: Live | Race, expression: str) -> str:
    return run_code(live.page, f"print({expression})").strip()


def test_the_first_answer_stands_there_without_a_touch(table: Live) -> None:
    assert table.answer("risk") in ("low", "high")
    assert table.answer("stay") == "8 days"
    assert table.probabilities("risk") == {"low": "50.0 %", "high": "50.0 %"}


def test_arrow_keys_move_a_slider_and_the_answer_follows(table: Live) -> None:
    age = table.control("age")
    age.focus()
    for _ in range(10):
        table.page.keyboard.press("ArrowRight")
    table.settle()
    assert age.get_attribute("aria-valuetext") == "60 years"
    assert table.answer("stay") == "9 days"
    assert table.probabilities("risk") == {"low": "40.0 %", "high": "60.0 %"}
    assert kernel(table, "table.value['age'], table.answer.value") == "60 {'risk': 'high', 'stay': 9.0}"


def test_a_picker_and_a_box_reach_the_kernel(table: Live) -> None:
    table.control("ward").select_option("children")
    table.control("weight").fill("12.5")
    table.settle()
    assert kernel(table, "table.value['ward'], table.value['weight']") == "children 12.5"


def test_a_broken_contract_is_told_and_the_next_value_is_answered(table: Live) -> None:
    table.control("weight").fill("-3")
    table.settle()
    assert table.failure() == "InputError: column 'weight': expected finite values ≥ 1 kg, got -3 in row 0"
    table.control("weight").fill("")
    table.settle()
    assert "column 'weight': expected numbers in kg, got [None]" in table.failure()
    table.control("weight").fill("30")
    table.settle()
    assert table.failure() == ""
    assert table.answer("stay") == "8 days"


def test_an_example_fills_the_controls(table: Live) -> None:
    table.control("Take an example").select_option("a pensioner")
    table.settle()
    assert table.control("age").get_attribute("aria-valuetext") == "80 years"
    assert table.control("ward").evaluate("(e) => e.selectedOptions[0].text") == "medicine"
    assert table.answer("stay") == "11 days"
    chosen = "(e) => e.selectedOptions[0].text"
    assert table.control("Take an example").evaluate(chosen) == "a pensioner"
    table.control("age").press("ArrowLeft")
    assert table.control("Take an example").evaluate(chosen) == "…"


def test_a_text_is_read_while_it_is_written_and_an_error_is_shown_as_text(text: Live) -> None:
    box = text.control("Text")
    box.press_sequentially(" good good")
    text.settle()
    assert kernel(text, "repr(text.value)") == "'a day good good'"
    assert text.answer() == "glad"
    box.fill("boom")
    text.settle()
    assert text.failure() == "RuntimeError: <b>no</b> such word"
    assert text.root.locator("b").count() == 0
    assert not text.card().is_visible()
    box.fill("x" * 41)
    text.settle()
    assert "expected at most 40 characters, got 41" in text.failure()
    assert text.root.get_by_text("41 of at most 40 characters").is_visible()
    box.fill("good, good \U0001f600")
    text.settle()
    assert text.root.get_by_text("12 of at most 40 characters").is_visible()
    assert text.answer() == "glad"


def test_pictures_are_picked_by_mouse_and_by_arrow_keys(digits: Live) -> None:
    assert digits.answer() == "0"
    digits.root.get_by_title("a 7").first.click()
    digits.settle()
    assert digits.answer() == "7"
    digits.page.keyboard.press("ArrowRight")
    digits.settle()
    assert digits.answer() == "8"
    assert kernel(digits, "digits.value.shape, digits.answer.value") == "(8, 8) 8"


def test_d_d_typed_on_a_control_keeps_the_cell(table: Live) -> None:
    before = count_cells(table.page)
    for name in ("age", "ward", "weight"):
        table.control(name).focus()
        for key in ("d", "d"):
            table.page.keyboard.press(key)
    assert count_cells(table.page) == before


def test_tab_goes_from_control_to_control(table: Live) -> None:
    table.control("age").focus()
    for name in ("dose", "ward", "weight"):
        table.page.keyboard.press("Tab")
        expect(table.control(name)).to_be_focused()


def test_a_screen_reader_hears_the_last_answer_once(table: Live) -> None:
    table.page.wait_for_timeout(1000)  # what belongs to an earlier value has been said by then
    table.root.get_by_role("status").evaluate(
        """(status) => {
          window.said = [];
          new MutationObserver(() => window.said.push(status.textContent)).observe(status, { childList: true });
        }"""
    )
    table.control("age").focus()
    for _ in range(20):
        table.page.keyboard.press("ArrowRight")
    table.settle()
    table.page.wait_for_timeout(1000)
    assert table.page.evaluate("window.said") == ["risk: high, 70 percent. stay: 10 days."]


def test_what_python_sets_is_shown(table: Live) -> None:
    run_code(table.page, "table.set(age=25, ward='children')")
    expect(table.control("age")).to_have_attribute("aria-valuetext", "25 years")
    table.settle()
    assert table.answer("stay") == "5.5 days"
    assert "after the last change" not in table.root.inner_text()
    assert table.control("ward").evaluate("(e) => e.selectedOptions[0].text") == "children"


# ---- A burst on a slow model ----

BURST = """
async ([root, last]) => {
  const input = root.querySelector("input[type=range]");
  const events = 500, forMs = 2000, begin = performance.now();
  await new Promise((done) => {
    for (let i = 1; i <= events; i++)
      setTimeout(() => {
        input.value = i === events ? last : i % 100;
        input.dispatchEvent(new Event("input", { bubbles: true }));
        if (i === events) done();
      }, (i * forMs) / events);
  });
  const end = performance.now();
  const wanted = input.getAttribute("aria-valuetext");
  const shown = () => root.querySelector(".ik-answer").textContent;
  const serial = () => Number(root.dataset.serial);
  await new Promise((done) => {
    if (root.dataset.settled === "true") return done();
    const watch = new MutationObserver(() => root.dataset.settled === "true" && (watch.disconnect(), done()));
    watch.observe(root, { attributes: true, attributeFilter: ["data-settled"] });
  });
  return { spent: end - begin, lag: performance.now() - end, shown: shown(), wanted, serial: serial() };
}
"""


def burst(live: Live, last: int) -> dict[str, Any]:
    """Move a slider 500 times in 2 s; return how long after the last event its answer stood in the page."""
    before = int(kernel(live, "len(asked)"))
    result = dict(live.page.evaluate(BURST, [live.root.element_handle(), last]))
    result["calls"] = int(kernel(live, "len(asked)")) - before
    return result


def check_burst(live: Live, result: dict[str, Any], last: int) -> None:
    assert result["shown"] == f"{1000 * last + 50:,}"
    assert kernel(live, "asked[-1]") == f"[{float(last)}, 50.0]"
    assert 2 <= result["calls"] <= (result["spent"] + result["lag"]) / 100 + 2


def test_500_events_in_2_s_on_a_slow_model_end_in_the_last_value(
    slow: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    lags = []
    for last in (37, 93, 8):
        result = burst(slow, last)
        check_burst(slow, result, last)
        lags.append(result["lag"])
    with capsys.disabled():
        print(
            f"\n500 events in 2 s, 100 ms a call: the last is shown after {', '.join(f'{lag:.0f}' for lag in lags)} ms "
            f"({result['calls']} calls in the last burst; budget 300 ms)"
        )


def test_the_same_while_a_cell_runs(slow: Live, lab: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The cell counts in pure Python, so it wants the interpreter's lock all the time."""
    (lab.root / "hold").touch()
    page = slow.page
    page.evaluate(
        """() => {
          const { content } = window.jupyterapp.shell.currentWidget;
          content.model.cells.get(0).sharedModel.setSource(
            "from pathlib import Path\\nwhile Path('hold').exists(): sum(range(10_000))");
        }"""
    )
    run_cell(page, 0)
    try:
        page.wait_for_function(
            "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'busy'"
        )
        slow.root.scroll_into_view_if_needed()
        result = dict(page.evaluate(BURST, [slow.root.element_handle(), 61]))
        state = cell_state(page, 0)
    finally:
        (lab.root / "hold").unlink()
    wait_until_run(page)
    assert state == "running"
    assert result["shown"] == f"{1000 * 61 + 50:,}"
    with capsys.disabled():
        print(f"\nthe same while a cell counts: the last is shown after {result['lag']:.0f} ms")


def test_a_cell_that_runs_again_leaves_no_thread_behind(slow: Live) -> None:
    threads = "sum(t.name == 'inferkit-live' for t in __import__('threading').enumerate())"
    for _ in range(3):
        run_cell(slow.page, 2)
        wait_until_run(slow.page)
    again = Live(slow.page, 1)
    again.settle()
    assert kernel(again, f"(sleep(0.3), {threads})[1]") == "0"


# ---- The race ----

RUNNERS = ("LiteRT", "LiteRT int8", "one that naps")


@pytest.fixture
def race(notebook_page: Page) -> Iterator[Race]:
    race = Race(notebook_page)
    yield race
    run_code(notebook_page, "race.stop(); race.wait()")
    race.root.get_by_label("Show").select_option("median")


def measured(race: Race) -> None:
    """Press Measure, wait until the slowest has enough calls for a median, press Stop."""
    race.button.click()
    race.wait_for("measuring")
    expect(race.runner("one that naps").locator(".ik-value")).to_contain_text("ms", timeout=60_000)
    expect(race.button).to_have_text("Stop")
    race.button.click()
    race.wait_for("stopped")


def test_bars_grow_while_it_measures_and_stop_keeps_them(race: Race, capsys: pytest.CaptureFixture[str]) -> None:
    measured(race)
    lengths = [race.bar(name) for name in RUNNERS]
    assert None not in lengths
    assert lengths[2] > max(lengths[0], lengths[1]) > 0  # type: ignore[type-var]
    assert kernel(race, "race.is_measuring, sorted(race.results)") == f"False {sorted(RUNNERS)}"
    assert race.text("one that naps", "times").endswith("×")
    assert [race.text(name, "times") for name in RUNNERS[:2]].count("fastest") == 1
    expect(race.button).to_have_text("Measure again")
    with capsys.disabled():
        told = "; ".join(f"{n} {race.text(n, 'value')} ({race.text(n, 'sure')})" for n in RUNNERS)
        print(f"\n{told}; {race.root.locator('.ik-busy').inner_text()}")


def test_the_interval_on_show_is_the_kernels(race: Race) -> None:
    measured(race)
    low, high = (
        race.runner("LiteRT")
        .locator(".ik-span")
        .evaluate("(e) => [parseFloat(e.style.left), parseFloat(e.style.left) + parseFloat(e.style.width)]")
    )
    assert low <= 100 * (race.bar("LiteRT") or 0) + 1e-9
    assert high >= 100 * (race.bar("LiteRT") or 0) - 1e-9
    wanted = "[race.results[n].percentile(50).value for n in ('LiteRT', 'one that naps')]"
    a, b = json.loads(kernel(race, wanted))
    ticks = race.root.locator(".ik-tick").count() - 1
    apart = (race.bar("one that naps") or 0) - (race.bar("LiteRT") or 0)
    assert apart * ticks == pytest.approx(math.log10(b / a), abs=1e-3)


def test_a_percentile_that_the_sample_does_not_support_is_not_drawn(race: Race) -> None:
    measured(race)
    race.root.get_by_label("Show").select_option("p99")
    assert race.bar("one that naps") is None
    assert "A p99 needs 662 calls, this has" in race.text("one that naps", "note")
    assert race.text("one that naps", "value") == "–"
    assert race.bar("LiteRT") is not None
    race.root.get_by_label("Show").select_option("median")
    assert race.bar("one that naps") is not None


def test_a_faulty_runtime_says_why_and_hurts_no_other(race: Race) -> None:
    measured(race)
    assert race.text("faulty", "note") == "RuntimeError: <b>no</b> model"
    assert race.bar("faulty") is None
    assert race.root.locator("b").count() == 0


def test_a_cell_that_runs_meanwhile_is_said(race: Race) -> None:
    race.button.click()
    race.wait_for("measuring")
    run_code(
        race.page, "from time import monotonic\nend = monotonic() + 1.5\nwhile monotonic() < end: sum(range(1000))"
    )
    race.button.click()
    race.wait_for("stopped")
    assert "a cell of this notebook used" in race.root.locator(".ik-busy").inner_text()


def test_keys_start_and_stop_it_and_a_screen_reader_hears_the_end(race: Race) -> None:
    race.button.focus()
    race.page.keyboard.press("Enter")
    race.wait_for("measuring")
    race.page.wait_for_timeout(800)
    race.page.keyboard.press(" ")
    race.wait_for("stopped")
    expect(race.root.get_by_role("status")).to_contain_text("Stopped. LiteRT: ")
    assert count_cells(race.page) == len(CELLS)


# ---- How it stands in the page ----


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
@pytest.mark.parametrize("state", ["a day", "boom"])
def test_axe_finds_nothing(notebook_page: Page, theme: str, state: str) -> None:
    use_theme(notebook_page, theme)
    text = ready(notebook_page, 2, f"text.set(text={state!r})")
    assert bool(text.failure()) == (state == "boom")
    shoot(notebook_page, f"live_{state}_{theme[-5:].strip()}")
    reports = [axe_report(notebook_page, each) for each in (".inferkit-live", ".inferkit-race")]  # all that match
    use_theme(notebook_page, "JupyterLab Light")
    assert reports == ["", ""]


def test_nothing_has_to_be_scrolled_in_a_narrow_window(notebook_page: Page) -> None:
    notebook_page.set_viewport_size({"width": 520, "height": 1000})
    next_frames(notebook_page)
    for root in (Live(notebook_page, 0).root, Live(notebook_page, 3).root, Race(notebook_page).root):
        root.scroll_into_view_if_needed()
        shoot(notebook_page, "narrow")
        assert root.evaluate("(e) => e.scrollWidth <= e.clientWidth")
    notebook_page.set_viewport_size({"width": 1280, "height": 1000})


# ---- In notebooks of their own ----


@pytest.mark.rotated
def test_a_new_widget_answers_while_the_cells_below_it_run(page: Page, lab: Any) -> None:
    busy = "import pathlib, time\nwhile pathlib.Path('hold').exists(): time.sleep(0.05)"
    write_notebook(lab.root / "busy_live.ipynb", [MODELS, "table", busy])
    (lab.root / "hold").touch()
    open_notebook(page, lab, "busy_live.ipynb")
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    live = Live(page)
    live.control("age").focus()
    page.keyboard.press("End")
    live.settle()
    assert live.answer("stay") == "13 days"
    assert cell_state(page, 2) == "running"
    (lab.root / "hold").unlink()
    wait_until_run(page)


@pytest.mark.rotated
def test_a_saved_notebook_without_widget_state_shows_the_table(page: Page, lab: Any) -> None:
    write_notebook(lab.root / "still_live.ipynb", [MODELS, "table"])
    open_notebook(page, lab, "still_live.ipynb")
    run_all(page)
    Live(page)
    save_notebook(page)
    forget_widgets(lab.root / "still_live.ipynb")
    open_notebook(page, lab, "still_live.ipynb")
    table = page.get_by_role("table", name="care, at rest")
    assert table.get_by_role("row", name="age").inner_text().split() == ["age", "6", "years"]
    assert page.locator(".inferkit-live").count() == 0
