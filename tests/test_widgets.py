"""The pad without a browser: what it takes, what it says, and what it does when something fails."""

import base64
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from io import BytesIO
from threading import Barrier, Lock, Thread
from time import sleep
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import traitlets
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier

from inferkit import InputError, MissingExtraError, widgets
from inferkit.datasets import load_digits, picture_from_drawing
from inferkit.widgets import Answer, DigitPad
from inferkit.widgets._answers import ask
from inferkit.widgets._static import example, still

BLANK = np.zeros((32, 32), np.uint8)


class Counts:
    """A predictor that says how many eighths of the picture's points hold ink, and keeps what it saw."""

    labels = tuple(range(9))

    def __init__(self) -> None:
        self.seen: list[NDArray[np.float32]] = []

    def predict_proba(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        self.seen.append(X.copy())
        return np.eye(9)[[int((x > 0).sum()) // 8 for x in X]]


class Says:
    """A predictor that always gives the same output, or raises it."""

    def __init__(self, output: Any, labels: Any = None) -> None:
        self.output = output
        if labels is not None:
            self.labels = labels

    def predict_proba(self, X: NDArray[np.float32]) -> Any:
        if isinstance(self.output, BaseException):
            raise self.output
        return self.output


@pytest.fixture(scope="module")
def reader() -> KNeighborsClassifier:
    X, y = load_digits(return_X_y=True)
    return KNeighborsClassifier(5).fit(X, y)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Collect what pads send to the browser."""
    messages: list[dict[str, Any]] = []
    monkeypatch.setattr(DigitPad, "_send", lambda self, msg, buffers=None: messages.append(msg))
    return messages


def from_browser(pad: DigitPad, drawing: NDArray[np.uint8], asked: int) -> None:
    """Send a drawing as the browser does."""
    pad.set_state({"_ink": memoryview(drawing.tobytes()), "_asked": asked})


def blot(size: int) -> NDArray[np.uint8]:
    """Return a drawing that differs for each size."""
    drawing = BLANK.copy()
    drawing[2:30, 2 : 3 + size % 28] = 55 + size % 200
    drawing[0, size % 32] = 255
    return drawing


# ---- Round trips ----


@settings(max_examples=50, deadline=None)
@given(arrays(np.uint8, (32, 32)))
def test_what_is_drawn_comes_back_and_is_seen_by_the_predictor(drawing: NDArray[np.uint8]) -> None:
    counts = Counts()
    pad = DigitPad(counts)
    pad.draw(drawing)
    expected = picture_from_drawing(drawing)
    np.testing.assert_array_equal(pad.drawing, drawing)
    np.testing.assert_array_equal(pad.picture, expected)
    assert len(pad.answers) == bool(drawing.any())
    for seen in counts.seen:
        np.testing.assert_array_equal(seen, expected[None])


@given(arrays(np.bool_, (32, 32)))
@settings(max_examples=20, deadline=None)
def test_bool_and_float_drawings_are_the_same_ink(drawing: NDArray[np.bool_]) -> None:
    pad = DigitPad(Counts())
    for same in (drawing, drawing.astype(float), drawing.astype(np.float32), drawing.astype(np.uint8) * np.uint8(255)):
        pad.draw(same)
        np.testing.assert_array_equal(pad.drawing, drawing * np.uint8(255))


def test_the_browser_gets_the_answer_to_its_drawing_and_no_echo(
    sent: list[dict[str, Any]], reader: KNeighborsClassifier
) -> None:
    pad = DigitPad({"reader": reader})
    sent.clear()
    from_browser(pad, example(), asked=7)
    (message,) = sent
    assert set(message["state"]) == {"_reply"}
    reply = message["state"]["_reply"]
    assert reply["asked"] == 7
    np.testing.assert_allclose(reply["picture"], pad.picture.ravel(), atol=0.005)
    (entry,) = reply["answers"]
    np.testing.assert_allclose(entry["probabilities"], reader.predict_proba(pad.picture.reshape(1, -1))[0], atol=1e-4)
    assert entry["labels"][entry["best"]] == str(reader.predict(pad.picture.reshape(1, -1))[0]) == "7"
    assert entry["time_us"] > 0


def test_what_python_draws_reaches_the_browser(sent: list[dict[str, Any]]) -> None:
    pad = DigitPad(Counts())
    sent.clear()
    pad.draw(example())
    ink, reply = sent
    assert (ink["buffer_paths"], list(reply["state"])) == ([["_ink"]], ["_reply"])


def test_a_blank_pad_says_nothing_and_asks_nobody(sent: list[dict[str, Any]]) -> None:
    counts = Counts()
    pad = DigitPad({"counts": counts})
    pad.draw(example())
    asked = len(counts.seen)
    pad.clear()
    assert pad.answers == {}
    assert len(counts.seen) == asked
    (entry,) = sent[-1]["state"]["_reply"]["answers"]
    assert entry == {"name": "counts", "labels": [str(i) for i in range(9)]}
    assert repr(pad) == "DigitPad('counts', blank)"


def test_several_predictors_answer_side_by_side(reader: KNeighborsClassifier) -> None:
    pad = DigitPad({"a": reader, "b": Says([[0.25, 0.75]], ["cat", "dog"]), "c": Says([[0.5, 0.5]])})
    pad.draw(example())
    assert {name: answer.label for name, answer in pad.answers.items()} == {"a": 7, "b": "dog", "c": 0}
    assert pad.answers["b"].probability == 0.75


def test_labels_come_from_the_predictor_and_reach_the_browser_as_text(sent: list[dict[str, Any]]) -> None:
    fitted = KNeighborsClassifier(1).fit(np.eye(2, 64), ["cat", "dog"])
    pad = DigitPad({"fitted": fitted, "numbered": Says([[0.2, 0.8]], np.array([3, 4]))})
    pad.draw(example())
    assert pad.answers["fitted"].label in {"cat", "dog"}
    assert pad.answers["numbered"].label == 4
    labels = [entry["labels"] for entry in sent[-1]["state"]["_reply"]["answers"]]
    assert labels == [["cat", "dog"], ["3", "4"]]


def test_the_copies_that_are_handed_out_are_copies(reader: KNeighborsClassifier) -> None:
    pad = DigitPad(reader)
    pad.draw(example())
    pad.drawing[:], pad.picture[:] = 0, 0
    pad.answers.clear()
    assert pad.drawing.any()
    assert pad.picture.any()
    assert pad.answers["KNeighborsClassifier"].label == 7


def test_a_predictor_that_spoils_its_input_spoils_it_for_no_other() -> None:
    class Spoils(Counts):
        def predict_proba(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
            result = super().predict_proba(X)
            X *= 0
            return result

    spoils, counts = Spoils(), Counts()
    pad = DigitPad({"spoils": spoils, "counts": counts})
    pad.draw(example())
    for seen in spoils.seen + counts.seen:
        np.testing.assert_array_equal(seen[0], picture_from_drawing(example()))
    assert pad.picture.any()


# ---- Many at once ----


def test_a_burst_ends_in_an_answer_to_the_last_drawing(sent: list[dict[str, Any]]) -> None:
    counts = Counts()
    pad = DigitPad({"counts": counts})
    sent.clear()
    for i in range(1, 501):
        from_browser(pad, blot(i), asked=i)
    np.testing.assert_array_equal(pad.drawing, blot(500))
    np.testing.assert_array_equal(counts.seen[-1][0], picture_from_drawing(blot(500)))
    asked = [message["state"]["_reply"]["asked"] for message in sent]
    assert asked == list(range(1, 501))


def test_two_threads_never_meet_in_a_predictor_and_leave_one_consistent_state(sent: list[dict[str, Any]]) -> None:
    inside, met = Lock(), []

    class Alone(Counts):
        def predict_proba(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
            met.append(not inside.acquire(blocking=False))
            sleep(0.0002)
            result = super().predict_proba(X)
            if inside.locked():
                inside.release()
            return result

    alone, start = Alone(), Barrier(2)
    pad = DigitPad({"alone": alone})

    def run(send: Callable[[int], None]) -> None:
        start.wait()
        for i in range(100):
            send(i)

    threads = [
        Thread(target=run, args=(lambda i: from_browser(pad, blot(i), asked=i + 1),)),
        Thread(target=run, args=(lambda i: pad.draw(blot(i + 100)),)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(met) >= 200
    assert not any(met)
    np.testing.assert_array_equal(alone.seen[-1][0], picture_from_drawing(pad.drawing))
    np.testing.assert_array_equal(pad.picture, picture_from_drawing(pad.drawing))
    serials = [m["state"]["_reply"]["serial"] for m in sent if "_reply" in m["state"]]
    assert serials == list(range(1, len(serials) + 1))
    assert len(serials) > 200


# ---- Faults ----


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (RuntimeError("<script>x</script>"), "RuntimeError: <script>x</script>"),
        ([0.5, 0.5], r"InputError: predict_proba: expected shape (1, 2) for one picture, got (2,)"),
        ([[0.5, 0.5], [0.5, 0.5]], "expected shape (1, 2) for one picture, got (2, 2)"),
        ([[0.2, 0.3, 0.5]], "expected shape (1, 2) for one picture, got (1, 3)"),
        ([[np.nan, 1]], "expected finite probabilities, got NaN or infinity"),
        ([[-3.5, 8]], "expected probabilities in 0..1, got -3.5..8; if these are logits, end the model with a softmax"),
        ([[0.0, 2.0]], "expected probabilities in 0..1, got 0..2"),
        ("seven", "ValueError: could not convert string to float: 'seven'"),
        (None, "expected shape (1, 2) for one picture, got ()"),
    ],
)
def test_a_failure_is_an_answer_and_the_next_drawing_works(
    sent: list[dict[str, Any]], output: Any, message: str, reader: KNeighborsClassifier
) -> None:
    faulty = Says(output, ["a", "b"])
    pad = DigitPad({"faulty": faulty, "reader": reader})
    from_browser(pad, example(), asked=1)
    assert message in str(pad.answers["faulty"].error)
    assert pad.answers["faulty"].label is None
    assert pad.answers["reader"].label == 7
    entry = sent[-1]["state"]["_reply"]["answers"][0]
    assert message in entry["error"]
    assert "probabilities" not in entry
    faulty.output = [[0.0, 1.0]]
    from_browser(pad, blot(3), asked=2)
    assert pad.answers["faulty"].label == "b"
    assert pad.answers["faulty"].error is None


def test_an_empty_output_is_a_failure_without_labels_too() -> None:
    assert "expected shape (1, k) for one picture, got (1, 0)" in str(
        ask("x", Says([[]]), np.ones((8, 8), np.float32)).error
    )


def test_a_long_message_is_cut() -> None:
    answer = ask("x", Says(RuntimeError("y" * 10_000)), np.ones((8, 8), np.float32))
    assert len(str(answer.error)) == 300


def test_an_interrupt_passes_through_and_the_next_call_works() -> None:
    slow = Says(KeyboardInterrupt(), ["a", "b"])
    pad = DigitPad({"slow": slow})
    with pytest.raises(KeyboardInterrupt):
        pad.draw(example())
    slow.output = [[1.0, 0.0]]
    other = Thread(target=pad.draw, args=(blot(5),), daemon=True)  # it would wait for ever for a lock left behind
    other.start()
    other.join(timeout=10)
    assert not other.is_alive()
    assert pad.answers["slow"].label == "a"


@pytest.mark.parametrize(
    ("predictors", "match"),
    [
        ({}, "expected at least one predictor, got an empty dict"),
        ({"a": len}, r"'a' has no predict_proba, got builtin_function_or_method; wrap the model first"),
        (object(), r"'object' has no predict_proba"),
        ({"a": KNeighborsClassifier}, r"'a' has no predict_proba, got \w+"),
        ({1: Counts()}, "expected a name .* got 1"),
        ({" ": Counts()}, "expected a name .* got ' '"),
    ],
)
def test_what_cannot_answer_is_refused_at_the_door(predictors: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        DigitPad(predictors)


@pytest.mark.parametrize(
    ("drawing", "match"),
    [
        (np.zeros((8, 8), np.uint8), r"expected a drawing of shape \(32, 32\), got \(8, 8\)"),
        (np.zeros(1024, np.uint8), r"got \(1024,\)"),
        (np.zeros((32, 32), np.int64), "expected uint8 in 0..255, bool, or float in 0..1, got int64"),
        (np.full((32, 32), 16.0), r"expected float ink in 0..1, got 16..16"),
        (np.full((32, 32), -0.1), r"expected float ink in 0..1, got -0.1..-0.1"),
        (np.full((32, 32), np.nan), r"expected float ink in 0..1, got nan..nan"),
    ],
)
def test_a_drawing_of_another_kind_is_refused_and_changes_nothing(drawing: Any, match: str) -> None:
    pad = DigitPad(Counts())
    pad.draw(example())
    with pytest.raises(InputError, match=match):
        pad.draw(drawing)
    np.testing.assert_array_equal(pad.drawing, example())


def test_too_few_bytes_from_a_browser_are_refused() -> None:
    pad = DigitPad(Counts())
    with pytest.raises(traitlets.TraitError, match="expected 1024 bytes of ink, got 3"):
        pad.set_state({"_ink": memoryview(b"abc"), "_asked": 1})
    from_browser(pad, example(), asked=2)
    np.testing.assert_array_equal(pad.drawing, example())


# ---- Time ----


def clock_of(*durations_s: float) -> Callable[[], float]:
    """Return a clock on which the calls take the given times, one after the other."""
    ticks = iter([tick for duration in durations_s for tick in (0.0, duration)])
    return lambda: next(ticks)


def test_a_fast_call_is_made_five_times_and_the_median_counts() -> None:
    clock = clock_of(9e-4, 5e-6, 7e-6, 6e-6, 8e-6)
    answer = ask("x", Says([[1.0]]), np.ones((8, 8), np.float32), clock=clock)
    assert (answer.time_us, answer.calls) == (pytest.approx(7.0), 5)


def test_a_slow_call_is_made_once() -> None:
    answer = ask("x", Says([[1.0]]), np.ones((8, 8), np.float32), clock=clock_of(0.05))
    assert (answer.time_us, answer.calls) == (pytest.approx(50_000), 1)


def test_the_pad_reads_the_clock_it_was_given(sent: list[dict[str, Any]]) -> None:
    pad = DigitPad(Says([[0.0, 1.0]]), clock=clock_of(0.05))
    pad.draw(example())
    assert repr(pad.answers["Says"]) == "Answer('Says': 1, 100.0 %, 50000.0 µs)"
    entry = sent[-1]["state"]["_reply"]["answers"][0]
    assert (entry["time_us"], entry["calls"]) == (50_000, 1)


def test_a_failed_answer_says_so_in_its_repr() -> None:
    assert repr(Answer("x", (), error="RuntimeError: no")) == "Answer('x': failed, RuntimeError: no)"


# ---- The still picture ----


def png(bundle: dict[str, str]) -> bytes:
    return base64.b64decode(bundle["image/png"])


def test_the_output_holds_the_widget_a_picture_and_its_alt_text(reader: KNeighborsClassifier) -> None:
    bundle = DigitPad({"reader": reader})._repr_mimebundle_()
    assert bundle is not None
    data, _ = bundle
    assert set(data) == {"text/plain", "application/vnd.jupyter.widget-view+json", "image/png", "text/html"}
    assert data["text/plain"] == "DigitPad('reader', blank)"
    assert re.search(r'<img alt="[^"]*reader reads 7\."', data["text/html"])
    assert data["image/png"] in data["text/html"]


def test_the_still_picture_is_small_and_the_same_each_time(reader: KNeighborsClassifier) -> None:
    three = {"a": reader, "b": reader, "c": Says(RuntimeError("a long message " * 20))}
    first = still(three, BLANK)
    assert len(png(first)) < 40_000
    image = Image.open(BytesIO(png(first)))
    assert image.width > 900
    assert not image.text  # no version and no date
    with mpl.rc_context({"figure.facecolor": "black", "font.size": 30, "text.hinting": "force_autohint"}):
        assert still(three, BLANK) == first


def test_the_still_picture_shows_the_drawing_and_the_answer() -> None:
    shown = [
        still({"a": Says([[0.9, 0.1]])}, BLANK),
        still({"a": Says([[0.1, 0.9]])}, BLANK),
        still({"a": Says([[0.9, 0.1]])}, blot(9)),
        still({"b": Says([[0.9, 0.1]])}, BLANK),
    ]
    assert len({png(bundle) for bundle in shown}) == 4
    assert "a reads 1." in shown[1]["text/html"]


def test_names_in_the_still_picture_are_escaped_and_are_no_mathematics() -> None:
    evil = '"><script>alert(1)</script> $x_{$'
    html = still({evil: Says([[1.0]], [evil]), "b": Says(RuntimeError(evil))}, BLANK)["text/html"]
    assert "<script" not in html
    assert html.count("<") == 1
    assert "&quot;&gt;&lt;script&gt;" in html


# ---- The package ----


def test_the_view_travels_with_the_package_and_puts_no_text_into_html() -> None:
    folder = files(widgets)
    script, style = (folder.joinpath(name).read_text("utf-8") for name in ("pad.js", "pad.css"))
    colours = folder.joinpath("colours.css").read_text("utf-8")
    pad = DigitPad(Counts())
    assert (pad._esm, pad._css) == (script, f"{colours}\n{style}")
    assert "export default" in script
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert way not in script
    for text in (script, style):
        assert "http" not in text.replace("http://www.w3.org", "")


def test_importing_the_module_brings_in_no_widget_framework() -> None:
    code = "import sys, inferkit.widgets as w; print('anywidget' in sys.modules, 'DigitPad' in dir(w))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_without_anywidget_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(MissingExtraError, match='pip install "anywidget>='):
        _ = widgets.__getattr__("DigitPad")
    with pytest.raises(AttributeError, match="no attribute 'DigitalPad'"):
        _ = widgets.__getattr__("DigitalPad")


def test_the_server_sends_an_answer_without_waiting_to_fill_a_packet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nagle's algorithm is off before the kernel can say anything."""
    from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection

    from inferkit.widgets.server import PromptConnection

    happened: list[Any] = []

    class Handler:
        def set_nodelay(self, value: bool) -> None:
            happened.append(value)

    monkeypatch.setattr(ZMQChannelsWebsocketConnection, "connect", lambda self: happened.append("connected"))
    connection = PromptConnection.__new__(PromptConnection)
    object.__setattr__(connection, "_trait_values", {"websocket_handler": Handler()})
    connection.connect()
    assert happened == [True, "connected"]
