"""The live predictor without a browser: the newest value wins, the contract makes the controls, errors are answers."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.resources import files
from itertools import pairwise
from threading import Event, Lock, Semaphore, Thread, enumerate
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest
import traitlets
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from inferkit import InputError, MissingExtraError, Predictor, widgets
from inferkit.predictor import ArraySpec, Column, OutputSpec, Signature, TableSpec, TextSpec, digit_reader
from inferkit.widgets import LiveAnswer, LivePredictor
from inferkit.widgets._controls import form_of, grid
from inferkit.widgets._latest import Latest
from inferkit.widgets._live_static import still
from inferkit.widgets._reading import number_in_words, plain, read_row
from inferkit.widgets._thumbnails import thumbnail

PATIENT = TableSpec(
    [
        Column("age", "years", 0, 100),
        Column("ward", categories=("surgery", "medicine")),
        Column("weight", "kg", low=1),
    ]
)
PAIR = ArraySpec((2,), low=0, high=100)


def care(rows: Any) -> dict[str, Any]:
    age = rows[:, 0].astype(float) / 100
    return {"risk": np.column_stack([1 - age, age]), "stay": 3 + 10 * age}


def care_predictor(model: Callable[[Any], Any] = care) -> Predictor:
    outputs = [OutputSpec("risk", "probabilities", ("low", "high")), OutputSpec("stay", unit="days")]
    return Predictor(model, signature=Signature(PATIENT, outputs), name="care")


def sum_predictor(model: Callable[[Any], Any] = lambda rows: rows.sum(axis=1)) -> Predictor:
    return Predictor(model, signature=PAIR, name="sum")


class Gate:
    """A model that waits at each call until it is let through, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[float]] = []
        self.entered, self.go = Semaphore(0), Semaphore(0)

    def __call__(self, rows: Any) -> Any:
        self.asked.append(rows[0].tolist())
        self.entered.release()
        assert self.go.acquire(timeout=30)
        return rows.sum(axis=1)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Collect what widgets send to the browser."""
    messages: list[dict[str, Any]] = []
    monkeypatch.setattr(LivePredictor, "_send", lambda self, msg, buffers=None: messages.append(msg))
    return messages


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Hold every test to leaving no thread behind."""
    yield
    deadline = monotonic() + 20
    while threads() and monotonic() < deadline:
        sleep(0.01)
    assert threads() == []


def threads() -> list[str]:
    return [thread.name for thread in enumerate() if thread.name.startswith(("inferkit-live", "latest"))]


def from_browser(live: LivePredictor, asked: int, **values: Any) -> None:
    """Send values as the browser does."""
    live.set_state({"_values": {**live._values, **values}, "_asked": asked})


def replies(sent: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message["state"]["_reply"] for message in sent if "_reply" in message.get("state", {})]


# ---- The newest wins ----


def test_what_is_overtaken_is_never_worked_on() -> None:
    entered, go, seen = Semaphore(0), Semaphore(0), []

    def work(item: int) -> None:
        seen.append(item)
        entered.release()
        assert go.acquire(timeout=30)

    latest = Latest(work, name="latest")
    latest.put(0)
    assert entered.acquire(timeout=30)
    tickets = [latest.put(i) for i in range(1, 501)]
    waiter = Thread(target=latest.wait, args=(tickets[0],), daemon=True)
    waiter.start()
    go.release(2)
    assert latest.wait(tickets[-1], 30)
    assert seen == [0, 500]
    waiter.join(timeout=30)
    assert not waiter.is_alive()  # overtaken counts as done: something newer is


def test_however_fast_they_come_there_is_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Thread] = []
    start = Thread.start
    monkeypatch.setattr(Thread, "start", lambda self: (started.append(self), start(self)))
    seen: list[int] = []
    latest = Latest(seen.append, name="latest")
    with latest._changed:  # the thread cannot take anything yet
        last = [latest.put(i) for i in range(100)][-1]
    assert latest.wait(last, 30)
    assert len(started) == 1
    assert seen == [99]


def test_one_call_at_a_time_whoever_puts() -> None:
    inside, met = Lock(), []

    def work(_: int) -> None:
        met.append(not inside.acquire(blocking=False))
        sleep(0.0005)
        if inside.locked():
            inside.release()

    latest = Latest(work, name="latest")
    last: list[int] = []

    def put_many() -> None:
        for i in range(300):
            last.append(latest.put(i))
            sleep(0.0001)

    putters = [Thread(target=put_many) for _ in range(3)]
    for putter in putters:
        putter.start()
    for putter in putters:
        putter.join()
    assert max(last) == 900
    assert latest.wait(900, 30)
    assert len(met) > 5
    assert not any(met)


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), KeyboardInterrupt()])
def test_work_that_raises_is_logged_and_the_next_has_its_turn(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    seen = []

    def work(item: int) -> None:
        seen.append(item)
        if item == 1:
            raise error

    latest = Latest(work, name="latest")
    assert latest.wait(latest.put(1), 30)
    assert latest.wait(latest.put(2), 30)
    assert seen == [1, 2]
    assert "latest failed" in caplog.text


def test_stopping_drops_what_waits_and_frees_who_waits() -> None:
    entered, go, seen = Semaphore(0), Semaphore(0), []

    def work(item: int) -> None:
        seen.append(item)
        entered.release()
        assert go.acquire(timeout=30)

    latest = Latest(work, name="latest")
    latest.put(1)
    assert entered.acquire(timeout=30)
    ticket = latest.put(2)
    latest.stop()
    assert not latest.wait(ticket, 30)
    assert not latest.wait(latest.put(3), 30)
    go.release()
    while threads():
        sleep(0.001)
    assert seen == [1]


def test_waiting_has_an_end() -> None:
    go = Event()
    latest = Latest(lambda _: go.wait(30), name="latest")
    assert not latest.wait(latest.put(1), 0.01)
    go.set()


def test_a_thread_that_cannot_start_leaves_the_next_try_free(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Thread) -> None:
        raise RuntimeError("can't start new thread")

    seen: list[int] = []
    latest = Latest(seen.append, name="latest")
    with monkeypatch.context() as patch:
        patch.setattr(Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            latest.put(1)
    assert latest.wait(latest.put(2), 30)
    assert seen[-1] == 2


class Simulation:
    """Events and a model on a clock of their own: time passes only where the test says so."""

    def __init__(self, call_ms: float) -> None:
        self.call_ms, self.now, self.ends = call_ms, 0.0, float("inf")
        self.model = Gate()
        self.live = LivePredictor(sum_predictor(self.model), clock=lambda: self.now)
        self.shown: list[tuple[float, Any]] = []
        self._begin()

    def _begin(self) -> None:
        assert self.model.entered.acquire(timeout=30)
        self.ends = self.now + self.call_ms

    def until(self, time: float) -> None:
        """Let the calls end that end by then."""
        while self.ends <= time:
            self.now = self.ends
            serial, waits = self.live._serial, self.live._worker._waiting is not None
            self.model.go.release()
            while self.live._serial == serial:
                sleep(0.0002)
            self.shown.append((self.now, self.live._latest_answer))
            self.ends = float("inf")
            if waits:
                self._begin()
        self.now = time

    def event(self, asked: int, **values: Any) -> None:
        idle = self.ends == float("inf")
        from_browser(self.live, asked, **values)
        if idle:
            self._begin()


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 100), st.sampled_from([3.0, 4.0, 100.0, 130.0]))
def test_500_events_in_2_s_on_a_model_of_100_ms(last: int, first_call: float) -> None:
    """On a clock of the test's own: the last value is answered within two calls, and calls follow each other."""
    run = Simulation(call_ms=100)
    for i in range(1, 501):
        run.until(first_call + 4 * i)
        run.event(i, x0=last if i == 500 else i % 100)
    end = run.now
    run.until(end + 1000)
    shown_at, answer = run.shown[-1]
    assert answer.row.tolist() == [last, 50]
    assert shown_at - end <= 200
    assert len(run.model.asked) <= (2000 + first_call) / 100 + 2
    assert len(run.shown) == len(run.model.asked) >= 20  # it never rests while something waits
    assert run.live._reply["asked"] == 500
    run.live.close()


# ---- From the contract to controls ----

limits = st.floats(-1e12, 1e12)


@given(limits, limits, st.booleans())
def test_a_sliders_stops_rise_from_one_limit_to_the_other(a: float, b: float, whole: bool) -> None:
    low, high = sorted([a, b])
    if whole:
        low, high = float(round(low)), float(round(high))
    stops = grid(low, high, whole=whole)
    assert stops[0] == low
    assert stops[-1] == high
    assert all(x < y for x, y in pairwise(stops))
    assert len(stops) <= 253
    if not whole and high - low > 1e-3 * max(abs(low), abs(high), 1e-9):
        assert len(stops) >= 100
    if whole:
        assert all(isinstance(stop, int) for stop in stops)
        if high - low <= 100:
            assert stops == list(range(int(low), int(high) + 1))


@given(st.floats(0, 1e-300), st.floats(1e-320, 1e-300))
def test_a_tiny_range_has_a_slider_too(low: float, span: float) -> None:
    stops = grid(low, low + span)
    assert stops[0] == low
    assert stops[-1] == low + span


def test_a_table_has_a_control_for_each_column() -> None:
    age, ward, weight = form_of(PATIENT).controls
    assert (age["kind"], age["label"], age["unit"], age["grid"][0], age["grid"][-1]) == (
        "slider",
        "age",
        "years",
        0,
        100,
    )
    assert (ward["kind"], ward["options"]) == ("choice", ["surgery", "medicine"])
    assert (weight["kind"], weight["unit"], weight["low"], weight["high"]) == ("number", "kg", 1, None)


@pytest.mark.parametrize(
    ("spec", "kinds"),
    [
        (TextSpec(280), ["text"]),
        (ArraySpec((3,), low=0, high=1), ["slider"] * 3),
        (ArraySpec((2,), low=0), ["number"] * 2),
        (ArraySpec((2,), low=-1e308, high=1e308), ["number"] * 2),
        (ArraySpec((12,), "int32", low=0, high=9), ["slider"] * 12),
    ],
)
def test_each_contract_has_its_controls_and_a_start_that_meets_it(spec: Any, kinds: list[str]) -> None:
    form = form_of(spec)
    assert [control["kind"] for control in form.controls] == kinds
    assert [control["name"] for control in form.controls] == list(form.start)
    spec.check_one(form.row(form.start))


@given(st.floats(0, 100), st.sampled_from(["surgery", "medicine"]), st.floats(1, 1e6))
def test_a_row_of_a_table_comes_back_from_its_values(age: float, ward: str, weight: float) -> None:
    form, row = form_of(PATIENT), {"age": age, "ward": ward, "weight": weight}
    assert form.row(form.values(row)) == row
    assert form.row(form.values([age, ward, weight])) == row


@given(st.lists(st.integers(-128, 127), min_size=4, max_size=4))
def test_a_vector_comes_back_from_its_values_in_its_type(numbers: list[int]) -> None:
    spec = ArraySpec((4,), "int8", low=-128, high=127)
    form, row = form_of(spec), np.array(numbers, np.int8)
    again = form.row(form.values(row))
    np.testing.assert_array_equal(again, row)
    assert again.dtype == np.int8


@pytest.mark.parametrize(
    ("spec", "examples"),
    [
        (PATIENT, [{"age": 6, "ward": "medicine", "weight": 20}, {"age": 70, "ward": "surgery", "weight": 60}]),
        (TextSpec(), ["good", "bad"]),
        (PAIR, [[1, 2], [3, 4]]),
        (ArraySpec((8, 8)), np.arange(128.0).reshape(2, 8, 8)),
        (ArraySpec((100,)), np.arange(200.0).reshape(2, 100)),
        (ArraySpec((None,)), [np.arange(5.0)]),
    ],
)
def test_the_first_example_is_the_start(spec: Any, examples: Any) -> None:
    form = form_of(spec, examples)
    np.testing.assert_array_equal(spec.check_one(form.row(form.start)), spec.check_one(examples[0]))
    named = form_of(spec, {"b": examples[-1]})
    np.testing.assert_array_equal(spec.check_one(named.row(named.start)), spec.check_one(examples[-1]))


def test_examples_of_a_table_are_offered_as_values() -> None:
    live = LivePredictor(care_predictor(), examples={"young": {"age": 6, "ward": "medicine", "weight": 20}})
    assert live._examples == [{"name": "young", "values": {"age": 6, "ward": "medicine", "weight": 20}}]


def test_a_picture_is_picked_by_number_or_name_and_handed_out_as_a_copy() -> None:
    pictures = np.arange(128, dtype=np.float32).reshape(2, 8, 8)
    form = form_of(ArraySpec((8, 8)), {"a": pictures[0], "b": pictures[1]})
    for given_as in ("b", 1, np.int64(1), {"example": "b"}):
        np.testing.assert_array_equal(form.row(form.values(given_as)), pictures[1])
    form.row({"example": 1})[:] = 0
    assert form.row({"example": 1}).any()
    for wrong in ("c", 2, -1, True, None, 0.0):
        with pytest.raises(InputError, match="expected a number from 0 to 1 or one of"):
            form.row({"example": wrong})


@pytest.mark.parametrize(
    ("spec", "examples", "match"),
    [
        (ArraySpec((8, 8)), None, r"expected examples to pick from, for rows of shape \(8, 8\) have no sliders"),
        (ArraySpec((13,)), None, "expected examples to pick from"),
        (ArraySpec((None,)), None, "expected examples to pick from"),
        (ArraySpec((8, 8)), np.zeros((3, 7, 8)), r"expected rows of shape \(n, 8, 8\), got \(3, 7, 8\)"),
        (PAIR, np.full((1, 2), 101.0), "expected values from 0 to 100, got 101"),
        (PAIR, np.zeros((101, 2)), "expected 1 to 100 rows, got 101; choose some"),
        (PAIR, {}, "expected 1 to 100 rows, got 0"),
        (TextSpec(3), ["four"], "expected at most 3 characters, got 4"),
        ("text", None, "expected an ArraySpec, TableSpec or TextSpec as input, got 'text'"),
    ],
)
def test_examples_are_held_to_the_contract(spec: Any, examples: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        form_of(spec, examples)


def test_a_thumbnail_shows_ink_dark_and_light_light() -> None:
    picture = np.zeros((4, 4))
    picture[0, 0] = 16
    for unit, corner in (("ink", 0), ("", 255)):
        image = opened(thumbnail(picture, ArraySpec((4, 4), low=0, high=16, unit=unit)))
        assert image.getpixel((0, 0)) == corner
        assert image.getpixel((3, 3)) == 255 - corner


@pytest.mark.parametrize(
    ("shape", "size"), [((8, 8), (8, 8)), ((300, 200, 3), (64, 96)), ((5, 7, 1), (7, 5)), ((500,), (96, 64))]
)
def test_a_thumbnail_is_small(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    values = np.random.default_rng().random(shape)
    values.flat[0] = np.nan
    assert opened(thumbnail(values, ArraySpec(shape))).size == size


def opened(url: str | None) -> Image.Image:
    import base64
    from io import BytesIO

    assert url is not None
    return Image.open(BytesIO(base64.b64decode(url.partition(",")[2])))


# ---- What is said ----


def test_several_outputs_come_from_one_call() -> None:
    calls = []

    def model(rows: Any) -> Any:
        calls.append(len(rows))
        return care(rows)

    ticks = iter([0.0, 0.5])
    row = {"age": 75, "ward": "surgery", "weight": 70}
    answer = read_row(care_predictor(model), lambda: dict(row), clock=lambda: next(ticks))
    assert calls == [1]
    assert answer.value == {"risk": "high", "stay": 10.5}
    assert answer.probabilities == {"risk": {"low": 0.25, "high": 0.75}}
    assert repr(answer) == "LiveAnswer(high, 10.5 days, 500000.0 µs)"


@pytest.mark.parametrize(
    ("predictor", "row"),
    [
        (care_predictor(), {"age": 75, "ward": "surgery", "weight": 70}),
        (sum_predictor(), np.array([1, 2], np.float32)),
        (Predictor(lambda X: np.array([[t.upper(), "b"] for t in X]), signature=TextSpec()), "a"),
        (
            Predictor(
                lambda X: np.array(["cat"] * len(X)), signature=Signature(PAIR, [OutputSpec("animal", "labels")])
            ),
            np.array([1, 2], np.float32),
        ),
        (digit_reader("digits-cnn-int8"), np.full((8, 8), 3, np.float32)),
    ],
)
def test_the_answer_is_that_of_predict_one(predictor: Predictor, row: Any) -> None:
    answer = read_row(predictor, lambda: row.copy() if isinstance(row, np.ndarray) else row, clock=lambda: 0.0)
    assert answer.error is None
    np.testing.assert_equal(answer.value, predictor.predict_one(row))
    assert (answer.calls, answer.time_us) == (5, 0)


def test_each_call_is_given_a_row_of_its_own() -> None:
    seen = []

    def spoils(rows: Any) -> Any:
        seen.append(rows.copy())
        rows *= 0
        return rows.sum(axis=1)

    live = LivePredictor(sum_predictor(spoils), start=[3, 4], clock=lambda: 0.0)
    assert live.answer.row.tolist() == [3, 4]
    assert len(seen) == 5
    assert all(rows.tolist() == [[3, 4]] for rows in seen)
    assert live.value.tolist() == [3, 4]


def test_of_many_labels_the_ten_likeliest_are_shown() -> None:
    labels = [f"l{i}" for i in range(1000)]
    p = np.arange(1000) / np.arange(1000).sum()
    wide = Predictor(lambda X: np.tile(p, (len(X), 1)), signature=TextSpec(), labels=labels)
    (output,) = plain(read_row(wide, lambda: "x"))["outputs"]
    assert [bar["label"] for bar in output["bars"]] == [f"l{i}" for i in range(999, 989, -1)]
    assert [bar["best"] for bar in output["bars"]] == [True] + [False] * 9
    assert (output["text"], output["more"]) == ("l999", 990)


def test_values_that_json_cannot_hold_are_words() -> None:
    row = np.zeros(2, np.float32)
    for value, text in ((np.nan, "nan"), (np.inf, "inf")):
        answer = read_row(sum_predictor(lambda X, v=value: np.full(len(X), v)), lambda: row)
        assert plain(answer)["outputs"][0]["text"] == text
    many = read_row(sum_predictor(lambda X: np.tile(np.arange(20), (len(X), 1))), lambda: row)
    assert plain(many)["outputs"][0]["text"] == "0, 1, 2, 3, 4, 5, 6, 7, … (20 values)"


@given(st.floats(-1e9, 1e9))
def test_a_number_in_words_is_the_number_to_four_digits(value: float) -> None:
    assert float(number_in_words(value).replace(",", "")) == pytest.approx(value, rel=6e-4)


# ---- The widget ----


def test_the_browsers_values_are_answered_and_nothing_is_echoed(sent: list[dict[str, Any]]) -> None:
    live = LivePredictor(care_predictor())
    _ = live.answer
    sent.clear()
    from_browser(live, asked=7, age=75)
    assert live.answer.value == {"risk": "high", "stay": 10.5}
    assert live.value == {"age": 75, "ward": "surgery", "weight": 1}
    (message,) = sent
    assert set(message["state"]) == {"_reply"}
    reply = message["state"]["_reply"]
    assert reply["asked"] == 7
    risk, stay = reply["outputs"]
    assert [(bar["label"], bar["p"], bar["best"]) for bar in risk["bars"]] == [
        ("low", 0.25, False),
        ("high", 0.75, True),
    ]
    assert (stay["name"], stay["text"], stay["bars"]) == ("stay", "10.5 days", [])
    assert reply["time_us"] > 0


def test_what_python_sets_reaches_the_browser(sent: list[dict[str, Any]]) -> None:
    live = LivePredictor(care_predictor(), start={"age": 20})
    assert live.value == {"age": 20, "ward": "surgery", "weight": 1}
    _ = live.answer
    sent.clear()
    live.set(age=90, ward="medicine")
    assert live.answer.value == {"risk": "high", "stay": 12.0}
    values, reply = sent
    assert values["state"]["_values"] == {"age": 90, "ward": "medicine", "weight": 1}
    assert list(reply["state"]) == ["_reply"]
    assert repr(live) == "LivePredictor('care': age=90.0, ward='medicine', weight=1.0)"


def test_what_is_set_bit_by_bit_adds_up() -> None:
    live = LivePredictor(care_predictor())
    live.set(age=90)
    live.set(ward="medicine")
    assert live.value == {"age": 90, "ward": "medicine", "weight": 1}


def test_values_that_arrive_during_a_call_do_not_mix_into_its_answer(sent: list[dict[str, Any]]) -> None:
    seen: list[list[float]] = []

    def model(rows: Any) -> Any:
        seen.append(rows[0].tolist())
        if len(seen) == 1:
            from_browser(live, 1, x0=99)
        return rows.sum(axis=1)

    ready = Event()
    live = LivePredictor(sum_predictor(lambda rows: (ready.wait(30), model(rows))[1]), clock=lambda: 0.0)
    ready.set()
    _ = live.answer  # once the first is there, the second has arrived
    assert live.answer.value == 149
    assert seen == [[50, 50]] * 5 + [[99, 50]] * 5
    assert [(reply["asked"], reply["outputs"][0]["text"]) for reply in replies(sent)] == [(0, "100"), (1, "149")]


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"age": 101}, "column 'age': expected values from 0 to 100 years, got 101"),
        ({"height": 1}, r"unknown: \['height'\]"),
        ({"ward": "garden"}, "column 'ward': expected one of 'surgery', 'medicine', got 'garden'"),
    ],
)
def test_what_python_sets_wrongly_is_refused_and_changes_nothing(values: dict[str, Any], match: str) -> None:
    live = LivePredictor(care_predictor(), start={"age": 20})
    with pytest.raises(InputError, match=match):
        live.set(**values)
    assert live.value["age"] == 20
    assert live.answer.error is None


def test_a_text_and_a_vector_are_set_by_name() -> None:
    text = LivePredictor(Predictor(lambda X: np.array([len(t) for t in X]), signature=TextSpec(), name="length"))
    text.set(text="a fine day")
    assert (text.value, text.answer.value) == ("a fine day", 10)
    pair = LivePredictor(sum_predictor())
    pair.set(x1=7)
    assert (pair.value.tolist(), pair.answer.value) == ([50, 7], 57)
    for widget in (text, pair):
        with pytest.raises(InputError, match=r"expected values for .* got \['size'\]"):
            widget.set(size=1)


def test_an_error_of_the_model_is_an_answer_and_the_next_value_works(sent: list[dict[str, Any]]) -> None:
    def model(rows: Any) -> Any:
        if rows[0, 0] > 50:
            raise RuntimeError("<b>too much</b>")
        if rows[0, 0] > 40:
            raise SystemExit("bye")
        return rows.sum(axis=1)

    live = LivePredictor(sum_predictor(model), start=[1, 2])
    for x0, told in ((60, "RuntimeError: <b>too much</b>"), (45, "SystemExit: bye")):
        from_browser(live, x0, x0=x0)
        assert live.answer.error == told
        assert live.answer.value is None
        assert replies(sent)[-1] == {"serial": live._serial, "asked": x0, "error": told, "outputs": []}
    from_browser(live, 61, x0=5)
    assert live.answer.value == 7
    assert replies(sent)[-1]["error"] is None


def test_a_broken_contract_is_an_answer(sent: list[dict[str, Any]]) -> None:
    live = LivePredictor(care_predictor())
    from_browser(live, 1, weight=None)
    assert "column 'weight': expected numbers in kg, got [None]" in str(live.answer.error)
    assert live.value["weight"] is None
    pair = LivePredictor(sum_predictor())
    from_browser(pair, 1, x0=None)
    assert pair.answer.error == "InputError: x0: expected a number, got nothing"
    assert pair.answer.row is None
    counts = LivePredictor(Predictor(lambda X: X.sum(axis=1), signature=ArraySpec((2,), "uint8"), name="counts"))
    for value in (2.5, 300, -1):
        from_browser(counts, 1, x0=value)
        from_browser(counts, 2, x0=value)
        assert "expected whole numbers that fit into uint8" in str(counts.answer.error)


def test_other_names_from_a_browser_are_refused() -> None:
    live = LivePredictor(care_predictor())
    with pytest.raises(traitlets.TraitError, match="expected values for"):
        live.set_state({"_values": {"height": 3}, "_asked": 1})
    assert set(live.value) == {"age", "ward", "weight"}


def test_the_handler_returns_while_the_model_is_at_work() -> None:
    gate = Gate()
    live = LivePredictor(sum_predictor(gate), clock=iter(range(1000)).__next__)
    assert gate.entered.acquire(timeout=30)
    for i in range(1, 501):
        from_browser(live, i, x0=i % 100)  # were it to wait for the model, it would wait here for ever
    assert len(threads()) == 1
    gate.go.release(2)
    assert live.answer.row.tolist() == [0, 50]
    assert gate.asked == [[50, 50], [0, 50]]


def test_closing_drops_what_waits_and_shows_nothing_more(sent: list[dict[str, Any]]) -> None:
    gate = Gate()
    live = LivePredictor(sum_predictor(gate), clock=iter(range(1000)).__next__)
    assert gate.entered.acquire(timeout=30)
    from_browser(live, 1, x0=1)
    live.close()
    sent.clear()
    gate.go.release(5)
    while threads():
        sleep(0.001)
    assert gate.asked == [[50, 50]]
    assert sent == []
    assert live.comm is None


def test_a_widget_at_rest_holds_no_thread() -> None:
    lives = [LivePredictor(sum_predictor()) for _ in range(20)]
    for live in lives:
        assert live.answer.value == 100
    while threads():
        sleep(0.001)
    live.set(x0=1)
    assert live.answer.value == 51


@pytest.mark.parametrize("wrong", [len, None, Predictor, object(), "model"])
def test_what_has_no_contract_is_refused_at_the_door(wrong: Any) -> None:
    with pytest.raises(InputError, match=r"expected a Predictor, .* wrap the model first"):
        LivePredictor(wrong)


# ---- At rest ----


def test_the_output_holds_the_widget_and_a_table_without_times() -> None:
    live = LivePredictor(care_predictor(), start={"age": 75})
    bundle = live._repr_mimebundle_()
    assert bundle is not None
    data, _ = bundle
    assert set(data) == {"text/plain", "application/vnd.jupyter.widget-view+json", "text/html"}
    cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", data["text/html"])
    assert cells == [
        *("age", "75 years", "ward", "surgery", "weight", "1 kg"),
        *("risk", "low 25.0 %<br><strong>high 75.0 %</strong>", "stay", "<strong>10.5 days</strong>"),
    ]
    assert "µs" not in data["text/html"]
    assert LivePredictor(care_predictor(), start={"age": 75})._repr_mimebundle_()[0]["text/html"] == data["text/html"]


def test_a_slow_model_does_not_hold_the_output_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inferkit.widgets._live.PATIENCE_S", 0.01)
    gate = Gate()
    live = LivePredictor(sum_predictor(gate), clock=iter(range(1000)).__next__)
    data, _ = live._repr_mimebundle_()
    assert "x0" in data["text/html"]
    gate.go.release()


def test_names_and_messages_at_rest_are_escaped() -> None:
    evil = '"><script>alert(1)</script>'
    spec = TableSpec([Column(evil, evil, categories=(evil,))])
    outputs = [OutputSpec(evil, "probabilities", (evil, "b"))]
    predictor = Predictor(lambda X: np.tile([0.9, 0.1], (len(X), 1)), signature=Signature(spec, outputs), name=evil)
    live = LivePredictor(predictor)
    pictures = LivePredictor(
        Predictor(lambda X: X.sum(axis=(1, 2)), signature=ArraySpec((2, 2)), name=evil), examples={evil: np.eye(2)}
    )
    failed = still(evil, [], {}, LiveAnswer(None, error=evil))
    for html in (live._repr_mimebundle_()[0]["text/html"], pictures._repr_mimebundle_()[0]["text/html"], failed):
        assert "<script" not in html
        assert "&lt;script&gt;" in html
        assert 'alt=""' not in html


# ---- The package ----


def test_the_view_travels_with_the_package_and_puts_no_text_into_html() -> None:
    folder = files(widgets)
    script = LivePredictor._esm if isinstance(LivePredictor._esm, str) else str(LivePredictor._esm)
    for name in ("parts.js", "controls.js", "live.js"):
        assert folder.joinpath(name).read_text("utf-8") in script
    assert script.count("export default") == 1
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "http"):
        assert way not in script


def test_importing_the_module_brings_in_no_widget_framework() -> None:
    code = "import sys, inferkit.widgets as w; print('anywidget' in sys.modules, 'LivePredictor' in dir(w))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_without_anywidget_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(MissingExtraError, match='pip install "anywidget>='):
        _ = widgets.__getattr__("LivePredictor")
