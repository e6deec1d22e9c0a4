"""The pad in a real browser, before a real kernel."""

import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import pairwise
from time import monotonic
from typing import Any

import pytest
from lessons import shoot
from pages import (
    DIGITS,
    Pad,
    axe_report,
    cell_state,
    count_cells,
    forget_widgets,
    hide_side_panel,
    open_notebook,
    run_all,
    run_cell,
    run_code,
    save_notebook,
    use_theme,
    wait_until_run,
    write_notebook,
)
from playwright.sync_api import Dialog, Page

OpenPage = Callable[..., AbstractContextManager[Page]]

NAMES = ("float32", "int8", "logistic regression")
READERS = """
from inferkit.predictor import digit_reader
from inferkit.widgets import DigitPad

models = {"float32": digit_reader("digits-cnn"), "int8": digit_reader("digits-cnn-int8")}
"""
MODELS = f"""
{READERS}
from sklearn.linear_model import LogisticRegression
from inferkit.datasets import load_digits

X, y = load_digits(return_X_y=True)
models["logistic regression"] = LogisticRegression(C=0.01, max_iter=1000).fit(X[:500], y[:500])
"""
# A file tells the cell when to end, so no test waits for a fixed time; where it stands already, nothing is trained.
TRAIN = """
from pathlib import Path

stop = Path("stop")
if not stop.exists():
    import keras, numpy as np
    images, labels = np.random.default_rng(0).random((2000, 28, 28, 1), np.float32), np.arange(2000) % 10
    layers = [keras.layers.Conv2D(32, 3, activation="relu"), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")]
    model = keras.Sequential(layers)
    model.compile("adam", "sparse_categorical_crossentropy")
for _ in range(0 if stop.exists() else 500):
    model.fit(images, labels, verbose=0)
    Path("training").touch()
    if stop.exists():
        break
"""
SLOW = """
from time import sleep

class Slow:
    asked = 0
    def predict_proba(self, X):
        self.asked += 1
        sleep(0.5)
        return [[1.0]]

slow = Slow()
slow_pad = DigitPad(slow)
slow.asked = 0
slow_pad
"""
BUDGET = "budget: median ≤ 50, p90 ≤ 100"


@pytest.fixture(scope="module")
def notebook_page(open_page: OpenPage, lab: Any) -> Iterator[Page]:
    """Open one notebook with a pad of three predictors, and run it once for the tests below."""
    write_notebook(lab.root / "pad.ipynb", [MODELS, "pad = DigitPad(models)\npad", TRAIN, SLOW])
    (lab.root / "stop").touch()  # the first run of the last cell does nothing
    with open_page() as page:
        open_notebook(page, lab, "pad.ipynb")
        hide_side_panel(page)
        run_all(page)
        yield page
    lab.stop_kernels()


@pytest.fixture
def pad(notebook_page: Page) -> Pad:
    """Return the pad of that notebook, blank."""
    pad = Pad(notebook_page)
    pad.canvas.scroll_into_view_if_needed()
    pad.clear()
    return pad


def test_a_blank_pad_does_not_guess(pad: Pad) -> None:
    assert pad.root.locator(".ik-invitation").is_visible()
    assert [pad.answer(name) for name in NAMES] == ["–"] * 3


@pytest.mark.parametrize("digit", DIGITS)
def test_a_digit_drawn_by_mouse_is_read(pad: Pad, digit: int) -> None:
    pad.draw(DIGITS[digit])
    assert [pad.answer(name) for name in NAMES[:2]] == [str(digit)] * 2  # the third was never taught to read a pad
    for name in NAMES:
        probabilities = pad.probabilities(name)
        assert list(probabilities) == list("0123456789")
        assert max(probabilities, key=probabilities.__getitem__) == pad.answer(name)
        assert sum(probabilities.values()) == pytest.approx(1, abs=0.01)
        assert 1 < pad.time_us(name) < 1e6


@pytest.mark.parametrize("digit", [1, 7])
def test_a_digit_drawn_by_keyboard_is_read(pad: Pad, digit: int) -> None:
    pad.type_path(DIGITS[digit][0])
    assert [pad.answer(name) for name in NAMES[:2]] == [str(digit)] * 2


def test_the_answer_changes_while_one_draws(pad: Pad) -> None:
    mouse, before = pad.page.mouse, pad.serial
    mouse.move(*pad.point(0.3, 0.2))
    mouse.down()
    mouse.move(*pad.point(0.7, 0.2), steps=5)
    pad.settle()
    under_way = pad.serial
    assert under_way > before
    assert pad.answer(NAMES[0]) in "0123456789"
    mouse.move(*pad.point(0.45, 0.85), steps=8)
    mouse.up()
    pad.settle()
    assert pad.serial > under_way


def test_a_tap_of_space_holds_the_pen_down_until_the_next(pad: Pad) -> None:
    keys = pad.page.keyboard
    pad.canvas.focus()
    keys.press(" ")
    for _ in range(6):
        keys.press("ArrowDown")
    pad.settle()
    drawn = ink(pad)
    keys.press(" ")
    for _ in range(6):
        keys.press("ArrowLeft")
    pad.settle()
    assert drawn > 6 * 255
    assert ink(pad) == drawn


def test_clearing_in_the_middle_of_a_stroke_starts_a_new_one(pad: Pad) -> None:
    keys = pad.page.keyboard
    pad.draw(DIGITS[1])
    pad.canvas.focus()
    keys.press(" ")
    for key in ("ArrowDown", "ArrowDown", "Backspace"):
        keys.press(key)
    pad.settle()
    assert ink(pad) == 0
    for _ in range(3):
        keys.press("ArrowUp")
    keys.press(" ")
    pad.settle()
    assert 3 * 255 < ink(pad) < 40 * 255


def test_undo_takes_back_one_stroke_and_then_a_clear(pad: Pad) -> None:
    pad.draw(DIGITS[4][:1])
    first = ink(pad)
    pad.draw(DIGITS[4][1:])
    undo = pad.root.get_by_role("button", name="Undo")
    undo.click()
    pad.settle()
    assert ink(pad) == first > 0
    pad.clear()
    assert ink(pad) == 0
    undo.click()
    pad.settle()
    assert ink(pad) == first


def test_d_d_typed_on_the_pad_keeps_the_cell(pad: Pad) -> None:
    before = count_cells(pad.page)
    pad.canvas.focus()
    for key in ("d", "d", "x", "Escape", "d", "d"):
        pad.page.keyboard.press(key)
    pad.root.get_by_role("button", name="Clear").focus()
    for key in ("d", "d"):
        pad.page.keyboard.press(key)
    assert count_cells(pad.page) == before


def test_tab_leaves_the_pad(pad: Pad) -> None:
    pad.canvas.focus()
    pad.page.keyboard.press("Tab")
    assert pad.page.evaluate("document.activeElement.textContent") == "Undo"


def test_a_screen_reader_hears_the_answer_once_the_pen_rests(pad: Pad) -> None:
    watch_status(pad)
    pad.draw(DIGITS[7], steps=20)
    pad.page.wait_for_function("() => window.said.length > 0")
    pad.page.wait_for_timeout(1000)
    heard = pad.page.evaluate("window.said")
    assert len(heard) == 1
    assert all(f"{name} reads {pad.answer(name)}" in heard[0] for name in NAMES)


def watch_status(pad: Pad) -> None:
    pad.page.wait_for_timeout(1000)  # what belongs to an earlier drawing has been said by then
    pad.root.get_by_role("status").evaluate(
        """(status) => {
          window.said = [];
          new MutationObserver(() => window.said.push(status.textContent)).observe(status, { childList: true });
        }"""
    )


def test_a_burst_ends_in_an_answer_to_the_last_drawing(pad: Pad) -> None:
    mouse, before = pad.page.mouse, pad.serial
    mouse.move(*pad.point(0.1, 0.1))
    mouse.down()
    for i in range(60):
        mouse.move(*pad.point(0.1 + (i % 20) * 0.04, 0.1 + i * 0.012))
    mouse.up()
    pad.settle()
    assert 0 < pad.serial - before <= 61  # an answer for each change at most; a slow kernel gives fewer
    assert painted(pad) == pytest.approx(ink(pad), rel=0.02)


def test_while_one_drawing_is_read_the_others_wait_and_only_the_last_is_sent(notebook_page: Page) -> None:
    slow = Pad(notebook_page, 1)
    slow.canvas.scroll_into_view_if_needed()
    before = int(run_code(slow.page, "print(slow.asked)"))
    start = monotonic()
    slow.page.mouse.move(*slow.point(0.2, 0.2))
    slow.page.mouse.down()
    for i in range(40):
        slow.page.mouse.move(*slow.point(0.2 + 0.015 * i, 0.2 + 0.6 * (i % 2)))
    slow.page.mouse.up()
    elapsed_s = monotonic() - start
    slow.settle()
    asked = int(run_code(slow.page, "print(slow.asked)")) - before
    assert 1 <= asked <= elapsed_s / 0.5 + 2
    assert painted(slow) == pytest.approx(ink(slow, "slow_pad"), rel=0.02)


def test_what_python_draws_is_shown_and_read(pad: Pad) -> None:
    run_code(pad.page, "from inferkit.widgets._static import example; pad.draw(example())")
    pad.page.wait_for_function("() => !document.querySelector('.ik-invitation').checkVisibility()")
    assert pad.answer(NAMES[0]) == "7"
    assert painted(pad) == pytest.approx(ink(pad), rel=0.02)
    run_code(pad.page, "pad.clear()")
    pad.page.wait_for_function("() => document.querySelector('.ik-invitation').checkVisibility()")
    assert painted(pad) == 0


def ink(pad: Pad, name: str = "pad") -> int:
    """Return how much ink the kernel has."""
    return int(run_code(pad.page, f"print(int({name}.drawing.astype(int).sum()))"))


def painted(pad: Pad) -> float:
    """Return how much ink stands on the screen, in the kernel's units."""
    share = pad.canvas.evaluate(
        """(canvas) => {
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return data.reduce((sum, value, i) => sum + (i % 4 === 3 ? value : 0), 0) / (canvas.width * canvas.height);
        }"""
    )
    return float(share) * 32 * 32


# ---- How long it takes ----


def latencies_ms(pad: Pad, count: int = 30) -> list[float]:
    """Return the times from a pointer event to the change that it makes in the page."""
    pad.canvas.evaluate(
        """(canvas) => {
          window.lags = [];
          let since = null;
          window.watching?.disconnect();
          canvas.addEventListener("pointermove", (e) => { if (e.buttons) since ??= e.timeStamp; }, true);
          window.watching = new MutationObserver(() => {
            if (since !== null) window.lags.push(performance.now() - since);
            since = null;
          });
          const pad = canvas.closest(".inferkit-pad");
          window.watching.observe(pad, { attributes: true, attributeFilter: ["data-serial"] });
        }"""
    )
    mouse = pad.page.mouse
    mouse.move(*pad.point(0.1, 0.1))
    mouse.down()
    pad.settle()
    pad.page.evaluate("window.lags = []")
    for i in range(count):
        before = pad.page.evaluate("window.lags.length")
        mouse.move(*pad.point(0.12 + 0.025 * i, 0.15 + 0.7 * (i % 2)))
        pad.page.wait_for_function("(before) => window.lags.length > before", arg=before)
        pad.settle()
    mouse.up()
    return [float(lag) for lag in pad.page.evaluate("window.lags")]


def report(lags: list[float], when: str, capsys: pytest.CaptureFixture[str]) -> None:
    p90 = statistics.quantiles(lags, n=10)[8]
    with capsys.disabled():
        print(
            f"\npointer event to changed DOM, {when}: median {statistics.median(lags):.1f} ms, p90 {p90:.1f} ms, "
            f"n = {len(lags)} ({BUDGET})"
        )


def test_latency_while_idle(pad: Pad, capsys: pytest.CaptureFixture[str]) -> None:
    lags = latencies_ms(pad)
    report(lags, "idle", capsys)
    assert len(lags) == 30


@pytest.mark.rotated
def test_the_pad_answers_while_a_cell_trains(pad: Pad, lab: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("stop", "training"):
        (lab.root / name).unlink(missing_ok=True)
    run_cell(pad.page, 2)
    try:
        for _ in range(900):
            if (lab.root / "training").exists():
                break
            pad.page.wait_for_timeout(100)
        pad.canvas.scroll_into_view_if_needed()
        lags = latencies_ms(pad)
        state = cell_state(pad.page, 2)
    finally:
        (lab.root / "stop").touch()
    report(lags, "while a cell trains", capsys)
    assert state == "running"
    assert len(lags) == 30
    assert run_code(pad.page, "print('done')") == "done\n"


# ---- How it stands in the page ----


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
@pytest.mark.parametrize("state", ["blank", "drawn"])
def test_axe_finds_nothing(pad: Pad, theme: str, state: str) -> None:
    use_theme(pad.page, theme)
    if state == "drawn":
        pad.draw(DIGITS[3])
    shoot(pad.page, f"pad_{state}_{theme[-5:].strip()}")
    report = axe_report(pad.page, ".inferkit-pad")
    use_theme(pad.page, "JupyterLab Light")
    assert report == ""


def test_names_and_errors_are_text_and_a_faulty_predictor_hurts_no_other(page: Page, lab: Any) -> None:
    evil = "<img src=x onerror=alert(1)><b>bold</b>"
    write_notebook(
        lab.root / "faulty.ipynb",
        [
            f"""
from types import SimpleNamespace
import numpy as np
from inferkit.widgets import DigitPad
EVIL = {evil!r}
def fails(X):
    raise RuntimeError(EVIL)
def works(X):
    return np.eye(10)[[3]]
""",
            """
DigitPad({
    EVIL: SimpleNamespace(predict_proba=works, labels=[EVIL, *range(1, 10)]),
    "faulty": SimpleNamespace(predict_proba=fails),
})
""",
        ],
    )
    dialogs: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    open_notebook(page, lab, "faulty.ipynb")
    run_all(page)
    pad = Pad(page)
    for digit in (1, 7):
        pad.draw(DIGITS[digit])
        assert pad.answer(evil) == "3"
        assert pad.card("faulty").locator(".ik-failure").inner_text() == f"RuntimeError: {evil}"
    assert pad.root.locator("img, b").count() == 0
    page.remove_listener("dialog", dismiss)  # the page is lent to others too
    assert dialogs == []
    assert axe_report(page, ".inferkit-pad") == ""
    shoot(page, "pad_faulty")


@pytest.mark.rotated
def test_a_new_pad_answers_while_the_cells_below_it_run(page: Page, lab: Any) -> None:
    """Run All: the first thing that the kernel hears from the pad comes while a cell runs."""
    busy = "import pathlib, time\nwhile pathlib.Path('hold').exists(): time.sleep(0.05)"
    write_notebook(lab.root / "busy.ipynb", [READERS, "DigitPad(models)", busy])
    (lab.root / "hold").touch()
    open_notebook(page, lab, "busy.ipynb")
    hide_side_panel(page)
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    pad = Pad(page)
    pad.draw(DIGITS[7])
    assert [pad.answer(name) for name in NAMES[:2]] == ["7", "7"]
    assert cell_state(page, 2) == "running"
    (lab.root / "hold").unlink()
    wait_until_run(page)


@pytest.mark.rotated
def test_two_pads_are_independent_and_a_second_view_shows_the_same(page: Page, lab: Any) -> None:
    write_notebook(lab.root / "two.ipynb", [READERS, "a = DigitPad(models)\na", "b = DigitPad(models)\nb", "a"])
    page.set_viewport_size({"width": 1280, "height": 1500})
    open_notebook(page, lab, "two.ipynb")
    run_all(page)
    first, second, again = (Pad(page, i) for i in range(3))
    first.draw(DIGITS[7])
    second.draw(DIGITS[0])
    again.settle()
    assert [first.answer(NAMES[0]), second.answer(NAMES[0]), again.answer(NAMES[0])] == ["7", "0", "7"]
    again.clear()
    first.settle()
    assert [first.answer(NAMES[0]), second.answer(NAMES[0])] == ["–", "0"]


@pytest.mark.rotated
def test_a_finger_draws_and_does_not_scroll(open_page: OpenPage, lab: Any) -> None:
    write_notebook(lab.root / "touch.ipynb", [READERS, "DigitPad(models['float32'])"])
    with open_page(has_touch=True) as page:
        open_notebook(page, lab, "touch.ipynb")
        run_all(page)
        pad = Pad(page)
        pad.canvas.scroll_into_view_if_needed()
        before = pad.canvas.bounding_box()
        touch(pad, DIGITS[7][0])
        assert pad.answer("digits-cnn") == "7"
        assert pad.canvas.bounding_box() == before


def touch(pad: Pad, stroke: Any) -> None:
    """Draw one stroke with a finger, through the browser's own input events."""
    finger = pad.page.context.new_cdp_session(pad.page)

    def send(kind: str, places: list[Any]) -> None:
        points = [{"x": x, "y": y} for x, y in places]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    places = [pad.point(*place) for place in stroke]
    send("touchStart", places[:1])
    for (x0, y0), (x1, y1) in pairwise(places):
        for i in range(1, 6):
            send("touchMove", [(x0 + (x1 - x0) * i / 5, y0 + (y1 - y0) * i / 5)])
    send("touchEnd", [])
    pad.settle()


@pytest.mark.rotated
def test_a_saved_notebook_without_widget_state_shows_the_still_picture(page: Page, lab: Any) -> None:
    write_notebook(lab.root / "still.ipynb", [READERS, "DigitPad(models)"])
    open_notebook(page, lab, "still.ipynb")
    run_all(page)
    Pad(page)
    save_notebook(page)
    forget_widgets(lab.root / "still.ipynb")
    open_notebook(page, lab, "still.ipynb")
    picture = page.get_by_role("img", name="float32 reads 7")
    picture.scroll_into_view_if_needed()
    assert picture.evaluate("(img) => img.complete && img.naturalWidth > 500")
    assert page.locator(".inferkit-pad").count() == 0
