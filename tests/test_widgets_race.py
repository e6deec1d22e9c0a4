"""The race of runtimes without a browser: turns, stops, faults, and what may be said about the sample."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from importlib.resources import files
from itertools import pairwise
from threading import Event, Thread, enumerate
from time import monotonic, sleep, thread_time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferkit import InputError, benchmark, widgets
from inferkit.datasets import load_digits
from inferkit.predictor import digit_reader
from inferkit.widgets import RuntimeRace, _racing
from inferkit.widgets._race import still
from inferkit.widgets._racing import CellWatch, Race, Runtime, line_up, run

X = np.ones((8, 3))


class Bench:
    """A clock that only calls move on, and the calls that move it."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.called: list[str] = []

    def clock(self) -> int:
        return self.now_ns

    def model(self, name: str, cost_ns: Callable[[], float]) -> Callable[[Any], Any]:
        def call(rows: Any) -> Any:
            self.called.append(name)
            self.now_ns += round(cost_ns())
            return rows

        return call

    def race(
        self, costs: dict[str, Any], *, seconds: float = 1.0, is_stopped: Callable[[], bool] = lambda: False
    ) -> Race:
        models = {name: self.model(name, cost if callable(cost) else lambda c=cost: c) for name, cost in costs.items()}
        rng = np.random.default_rng()
        start = Race(line_up(models, X, 1))
        return run(start, seconds=seconds, rng=rng, clock=self.clock, is_stopped=is_stopped, tell=lambda race: None)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Collect what races send to the browser."""
    messages: list[dict[str, Any]] = []
    monkeypatch.setattr(RuntimeRace, "_send", lambda self, msg, buffers=None: messages.append(msg))
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
    return [thread.name for thread in enumerate() if thread.name == "inferkit-race"]


def from_browser(race: RuntimeRace, serial: int, measure: bool) -> None:
    race.set_state({"_order": {"serial": serial, "measure": measure}})


def states(sent: list[dict[str, Any]]) -> list[str]:
    return [message["state"]["_reply"]["state"] for message in sent if "_reply" in message.get("state", {})]


# ---- Turns ----


def test_every_round_gives_each_runtime_one_turn_and_the_order_changes() -> None:
    bench = Bench()
    bench.race({"a": 1e6, "b": 2e6, "c": 3e6})
    turns = [name for before, name in pairwise(["", *bench.called]) if name != before]
    # Where one runtime ends a round and begins the next, its two turns look like one.
    counts = {name: bench.called.count(name) for name in "abc"}
    warm_up, rounds = 20, (counts["a"] - 20) / 13
    assert rounds == int(rounds) > 10
    assert counts["b"] == warm_up + rounds * (3 + 5)
    assert counts["c"] == warm_up + rounds * (3 + 3)
    followed = set(pairwise(turns[3:]))
    assert followed == {(x, y) for x in "abc" for y in "abc" if x != y}


def test_a_slow_spell_hits_all_alike() -> None:
    """The machine is three times as slow for a third of the time: the ratio of the medians stays."""
    bench = Bench()
    slow = lambda: 3 if 0.3e9 < bench.now_ns % 1e9 < 0.6e9 else 1  # noqa: E731
    race = bench.race({"a": lambda: 1e5 * slow(), "b": lambda: 4e5 * slow()}, seconds=5)
    results = race.results
    assert max(results["a"].samples_ns) == 3e5  # the spell was met
    ratios = [results["b"].percentile(q).value / results["a"].percentile(q).value for q in (50, 90)]
    assert ratios == pytest.approx([4, 4])


def test_settling_calls_do_not_count() -> None:
    bench = Bench()
    turn = SimpleNamespace(calls=0, last="")

    def cost(name: str) -> Callable[[], float]:
        def of() -> float:
            turn.calls = turn.calls + 1 if bench.called[-2:-1] == [name] else 1
            return 9e6 if turn.calls == 1 else 1e6  # cold when its turn comes

        return of

    race = bench.race({"a": cost("a"), "b": cost("b")})
    assert {int(t) for result in race.results.values() for t in result.samples_ns} == {1_000_000}


def test_a_slow_runtime_is_called_once_in_a_turn_after_one_to_settle() -> None:
    bench = Bench()
    race = bench.race({"slow": 4e8, "fast": 1e4}, seconds=4)
    rounds = len(race.runtimes[0].times)
    assert 4 <= rounds <= 6
    assert len(race.runtimes[1].times) == 100 * rounds
    assert bench.called.count("slow") == 2 + 2 * rounds  # the warm-up ends after half a second


def test_it_ends_when_the_time_is_up_or_when_it_is_stopped() -> None:
    bench = Bench()
    race = bench.race({"a": 1e6}, seconds=0.5)
    assert race.share == 1
    stopping = Bench()
    asked = iter([False] * 10)
    stopped = stopping.race({"a": 1e6, "b": 1e6}, is_stopped=lambda: next(asked, True))
    assert 0 < stopped.share < 1
    assert len(stopped.results) == 2
    at_once = Bench().race({"a": 1e6}, is_stopped=lambda: True)
    assert at_once.results == {}


# ---- What may be said ----


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 900))
def test_a_percentile_is_stated_exactly_where_the_sample_supports_it(n: int) -> None:
    times = np.random.default_rng().integers(1_000, 1_000_000, n).tolist()
    race = RuntimeRace({"a": np.sum}, X)
    race._race = Race((Runtime("a", np.sum, [X], warm=[5], times=times),))
    race._tell("done")
    (row,) = race._reply["rows"]
    assert set(row["stated"]) == {str(q) for q in (50, 90, 99) if n >= benchmark.samples_needed(q)}
    for q, told in row["stated"].items():
        found = benchmark.percentile(np.array(times) / 1e6, float(q))
        assert (told["value"], told["low"], told["high"]) == pytest.approx((found.value, found.low, found.high))
        assert told["text"] == benchmark.time_words(found.value / 1e3)
    assert race._reply["needs"] == {"50": 11, "90": 64, "99": 662}
    assert row["n"] == n


def test_a_busy_machine_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    others = SimpleNamespace(words="other processes used 1.3 of 2 cores meanwhile")
    monkeypatch.setattr(_racing, "busy_watch", lambda: nullcontext(others))
    cells = SimpleNamespace(words=lambda: None)
    monkeypatch.setattr(_racing, "CellWatch", lambda: cells)
    race = Bench().race({"a": 1e6})
    assert race.busy == race.results["a"].busy == others.words
    cells.words = lambda: "a cell was at work"
    assert Bench().race({"a": 1e6}).busy == f"{others.words}; a cell was at work"
    others.words, cells.words = None, lambda: None
    assert Bench().race({"a": 1e6}).busy is None


def spin(cpu_s: float) -> None:
    """Use so much of a processor on this thread, however long that takes on a busy machine."""
    end = thread_time() + cpu_s
    while thread_time() < end:
        sum(range(1000))


def test_the_time_of_the_thread_that_runs_the_cells_is_read_and_no_others() -> None:
    start = CellWatch._read()
    spin(0.3)
    after_own = CellWatch._read()
    other = Thread(target=spin, args=(0.3,))
    other.start()
    other.join()
    after_other = CellWatch._read()
    assert start is not None
    assert after_own is not None
    assert after_other is not None
    assert after_own[1] - start[1] >= 0.3
    assert after_other[1] - after_own[1] < 0.1


@pytest.mark.parametrize("used", [0.0, 0.19, 0.21, 1.0])
def test_a_cell_counts_from_a_fifth_of_a_core(monkeypatch: pytest.MonkeyPatch, used: float) -> None:
    readings = iter([(0.0, 5.0), (10.0, 5.0 + 10 * used)])
    monkeypatch.setattr(CellWatch, "_read", staticmethod(lambda: next(readings)))
    words = CellWatch().words()
    assert words == (f"a cell of this notebook used {used:.1f} of a core meanwhile" if used >= 0.2 else None)


def test_where_no_clock_of_a_thread_is_to_be_had_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("time.pthread_getcpuclockid")
    assert CellWatch().words() is None


# ---- Faults ----


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit(3)])
@pytest.mark.parametrize("at", [0, 5, 200])
def test_one_that_raises_is_out_and_the_others_go_on(error: BaseException, at: int) -> None:
    calls = iter(range(10**6))

    def faulty(rows: Any) -> Any:
        if next(calls) == at:
            raise error
        bench.now_ns += 100_000
        return rows

    bench = Bench()
    start = Race(line_up({"faulty": faulty, "sound": bench.model("sound", lambda: 1e5)}, X, 1))
    race = run(
        start, seconds=1, rng=np.random.default_rng(), clock=bench.clock, is_stopped=lambda: False, tell=lambda _: None
    )
    faulty_one, sound = race.runtimes
    assert str(error) in str(faulty_one.error)
    assert sound.error is None
    assert len(sound.times) > 1000
    assert (len(faulty_one.times) > 0) == (at == 200)  # what was measured before is kept


def test_a_model_that_returns_nothing_is_out() -> None:
    race = Bench().race({"a": 1e6})
    nothing = run(
        Race(line_up({"nothing": lambda rows: None}, X, 1)), seconds=1, rng=np.random.default_rng(),
        clock=Bench().clock, is_stopped=lambda: False, tell=lambda _: None,
    )  # fmt: skip
    assert "nothing returned nothing (None)" in str(nothing.runtimes[0].error)
    assert race.runtimes[0].error is None


def test_a_clock_that_goes_backwards_is_an_error_and_no_result() -> None:
    ticks = iter(range(10**9, 0, -1))
    race = run(
        Race(line_up({"a": np.sum}, X, 1)), seconds=1, rng=np.random.default_rng(),
        clock=lambda: next(ticks), is_stopped=lambda: False, tell=lambda _: None,
    )  # fmt: skip
    assert "ClockError: the clock went backwards" in str(race.runtimes[0].error)
    assert race.results == {}


@pytest.mark.parametrize(
    ("models", "rows", "options", "match"),
    [
        ({}, X, {}, "expected a dict of one or more models by name"),
        (np.sum, X, {}, "expected a dict of one or more models by name"),
        ({1: np.sum}, X, {}, "expected a name .* got 1"),
        ({"a": 3}, X, {}, "expected a Predictor or a function of a batch, got int"),
        ({"a": np.sum}, [], {}, "expected at least one row, got none"),
        ({"a": np.sum}, X, {"batch_size": 9}, "expected at most the 8 rows of X, got 9"),
        ({"a": np.sum}, X, {"seconds": 0}, "seconds: expected a number of seconds above 0, got 0"),
        ({"a": np.sum}, X, {"random_state": -1}, "random_state: expected a seed"),
    ],
)
def test_what_cannot_race_is_refused_at_the_door(models: Any, rows: Any, options: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        RuntimeRace(models, rows, **options)


# ---- The widget ----


def test_a_real_race_ends_by_itself_and_the_results_are_those_of_the_benchmark(sent: list[dict[str, Any]]) -> None:
    images = load_digits().images
    race = RuntimeRace({name: digit_reader(name) for name in ("digits-cnn", "digits-mlp")}, images, seconds=0.5)
    assert repr(race) == "RuntimeRace('digits-cnn', 'digits-mlp': not measured yet)"
    sent.clear()
    race.measure()
    assert race.wait(60)
    assert not race.is_measuring
    assert repr(race).endswith("measured)")
    told = states(sent)
    assert told[0] == told[-2] == "measuring"
    assert told[-1] == "done"
    last = sent[-1]["state"]["_reply"]
    for row in last["rows"]:
        result = race.results[row["name"]]
        assert row["n"] == result.n > 100
        assert row["stated"]["50"]["value"] == result.p50_ms
        assert result.stamp["machine_id"]


def test_the_browser_starts_and_stops_it_and_what_was_measured_stays(sent: list[dict[str, Any]]) -> None:
    started, go = Event(), Event()

    def model(rows: Any) -> Any:
        started.set()
        go.wait(30)
        return rows

    race = RuntimeRace({"a": model, "b": np.sum}, X, seconds=600)
    from_browser(race, 1, measure=True)
    assert started.wait(30)
    assert race.is_measuring
    race.measure()  # one is under way: nothing new begins
    go.set()
    while not race.results.get("a"):
        sleep(0.001)
    from_browser(race, 2, measure=False)
    assert race.wait(60)
    assert states(sent)[-1] == "stopped"
    assert set(race.results) == {"a", "b"}
    assert states(sent).count("stopped") == 1


def test_a_second_measurement_starts_afresh() -> None:
    bench = Bench()
    race = RuntimeRace({"a": bench.model("a", lambda: 1e6)}, X, seconds=0.2, clock=bench.clock)
    sizes = []
    for _ in range(2):
        race.measure()
        assert race.wait(60)
        sizes.append(race.results["a"].n)
    assert sizes[0] == sizes[1]


def test_closing_ends_the_thread(sent: list[dict[str, Any]]) -> None:
    race = RuntimeRace({"a": np.sum}, X, seconds=600)
    race.measure()
    while not race.results:
        sleep(0.001)
    race.close()
    deadline = monotonic() + 30
    while threads() and monotonic() < deadline:
        sleep(0.01)
    assert threads() == []


def test_garbage_collection_is_as_it_was_afterwards() -> None:
    import gc

    assert gc.isenabled()
    during = []

    def model(rows: Any) -> Any:
        during.append(gc.isenabled())
        return rows

    race = RuntimeRace({"a": model}, X, seconds=0.02)
    race.measure()
    assert race.wait(60)
    assert not any(during)
    assert gc.isenabled()


def test_at_rest_it_is_a_table_with_names_escaped() -> None:
    evil = '"><script>alert(1)</script>'
    race = RuntimeRace({evil: np.sum}, X)
    bundle = race._repr_mimebundle_()
    assert bundle is not None
    html = bundle[0]["text/html"]
    assert "not measured yet" in html
    assert "&lt;script&gt;" in html
    assert "<script" not in html
    failed = Race((Runtime("a", np.sum, [X], error=evil), Runtime("b", np.sum, [X], times=[1000] * 20)), busy=evil)
    shown = still(failed)
    assert "<script" not in shown
    assert "median 1.00 µs (1.00 µs to 1.00 µs)" in shown
    few = Race((Runtime("b", np.sum, [X], times=[1000] * 10),))
    assert "10 calls" in still(few)


def test_the_view_puts_no_text_into_html() -> None:
    script = str(RuntimeRace._esm)
    assert files(widgets).joinpath("race.js").read_text("utf-8") in script
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "http"):
        assert way not in script


def test_importing_the_widgets_does_not_import_the_race() -> None:
    code = "import sys, inferkit.widgets as w; print('inferkit.benchmark' in sys.modules, 'RuntimeRace' in dir(w))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
