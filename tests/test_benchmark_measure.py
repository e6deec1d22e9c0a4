"""The measuring calls: what is timed, what is kept, and what is left as it was."""

import gc
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inferkit import benchmark
from inferkit._base import InputError, ProgressLine
from inferkit.benchmark import (
    CallError,
    LatencyResult,
    compare,
    measure_latency,
    measure_memory,
    measure_throughput,
    time_words,
    wilson_interval,
)
from inferkit.datasets import load_digits, split_digits
from inferkit.predictor import ArraySpec, Predictor, digit_reader

X = np.arange(60.0).reshape(30, 2)


class VirtualTime:
    """A clock that moves only when a service says so."""

    def __init__(self) -> None:
        self.now = 0
        self.calls: list[Any] = []

    def clock(self) -> int:
        return self.now

    def service(self, name: str, ns: Any) -> Any:
        """Return a function of a batch that takes so many nanoseconds (or the next of several)."""
        times = iter(ns) if hasattr(ns, "__iter__") else None

        def call(batch: Any) -> Any:
            self.calls.append((name, batch))
            self.now += next(times) if times else ns
            return batch

        return call


@pytest.fixture
def time() -> VirtualTime:
    return VirtualTime()


def result(samples: Any, **given: Any) -> LatencyResult:
    return LatencyResult("x", np.asarray(samples, np.int64), np.array([], np.int64), **given)


# -- latency --


def test_every_time_is_kept_in_order_and_the_warm_up_apart(time: VirtualTime) -> None:
    service = time.service("s", [900, 800, *range(100, 150)])
    found = measure_latency(service, X, n=50, warmup=2, clock=time.clock)
    assert found.samples_ns.tolist() == list(range(100, 150))
    assert found.warmup_ns.tolist() == [900, 800]


def test_the_first_call_is_the_cold_one_and_is_made_even_without_a_warm_up(time: VirtualTime) -> None:
    found = measure_latency(time.service("s", [700, 5, 6]), X, n=2, warmup=0, clock=time.clock)
    assert (found.samples_ns.tolist(), found.first_call_ms) == ([5, 6], None)
    time.now = 0
    found = measure_latency(time.service("s", [700_000, 5, 6]), X, n=2, warmup=1, clock=time.clock)
    assert (found.samples_ns.tolist(), found.first_call_ms) == ([5, 6], 0.7)


def test_a_predictor_is_asked_one_by_one_and_its_batches_by_predict() -> None:
    seen = []

    def model(batch: Any) -> Any:
        seen.append(batch.shape)
        return batch.sum(axis=1)

    predictor = Predictor(model, signature=ArraySpec((2,)))
    measure_latency(predictor, X, n=3, warmup=0)
    measure_latency(predictor, X, n=3, warmup=0, batch_size=8)
    assert set(seen[:4]) == {(1, 2)}
    assert set(seen[4:]) == {(8, 2)}
    one = [predictor.predict_one(X[0])]
    assert one == [1.0]


def test_a_function_gets_batches_and_rows_take_turns(time: VirtualTime) -> None:
    measure_latency(time.service("s", 5), X, n=30, warmup=0, batch_size=10, clock=time.clock)
    batches = [batch for _, batch in time.calls[1:]]
    assert {batch.shape for batch in batches} == {(10, 2)}
    assert [batch[0, 0] for batch in batches[:4]] == [0, 20, 40, 0]


def test_the_time_limit_ends_it_and_is_said(time: VirtualTime) -> None:
    found = measure_latency(time.service("s", 10**8), X, n=1000, warmup=0, max_seconds=2, clock=time.clock)
    assert (found.n, found.stopped) == (20, "time")
    assert found.notes[0] == "20 of 1,000 samples: the time was up"


def test_what_the_sample_does_not_support_is_none(time: VirtualTime) -> None:
    found = measure_latency(time.service("s", 10**6), X, n=100, clock=time.clock)
    assert (found.p50_ms, found.p90_ms, found.p99_ms) == (1.0, 1.0, None)
    with pytest.raises(benchmark.SampleTooSmallError, match="p99 needs 662 samples, got 100"):
        found.percentile(99)
    assert "needs 662 samples" in repr(found)
    assert "needs 662 samples" in found._repr_html_()


def test_percentiles_are_of_the_samples_and_their_interval_holds_them() -> None:
    times = np.random.default_rng(0).permutation(np.arange(1, 1001)) * 1000
    found = result(times)
    assert (found.p50_ms, found.p90_ms, found.p99_ms) == (0.5, 0.9, 0.99)
    p = found.percentile(90)
    assert p.low is not None
    assert p.high is not None
    assert p.low < p.value < p.high


def test_to_dict_is_json_and_has_all_samples_if_asked(time: VirtualTime) -> None:
    found = measure_latency(time.service("s", 1000), X, n=70, clock=time.clock)
    plain = json.loads(json.dumps(found.to_dict(samples=True), allow_nan=False))
    assert plain["samples_ns"] == found.samples_ns.tolist()
    assert (plain["p90_ms"], plain["p99_ms"], plain["n"]) == (0.001, None, 70)
    assert plain["stamp"]["machine_id"]
    assert "samples_ns" not in found.to_dict()


def test_garbage_is_left_lying_only_while_it_measures(time: VirtualTime) -> None:
    states = []

    def service(batch: Any) -> Any:
        states.append(gc.isenabled())
        return batch

    measure_latency(service, X, n=3, warmup=0)
    assert states == [False] * 4
    assert gc.isenabled()
    states.clear()
    measure_latency(service, X, n=3, warmup=0, collect_garbage=True)
    assert states == [True] * 4
    gc.disable()
    try:
        measure_latency(service, X, n=3, warmup=0)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_change_half_way_is_noticed_and_chance_is_not() -> None:
    rng = np.random.default_rng(0)
    steady = 100 + rng.exponential(1000, 400)
    assert not [note for note in result(steady).notes if "settled" in note]
    changing = np.concatenate([steady[:200], 2 * steady[200:]])
    (note,) = (note for note in result(changing).notes if "settled" in note)
    assert "slower" in note
    assert not result(changing, is_closed_loop=False).notes
    assert not [note for note in result(np.concatenate([[1000] * 50, [1050] * 50])).notes if "settled" in note]


def test_a_timer_that_weighs_is_said() -> None:
    assert result([1000] * 20, timer_ns=100).notes == ("the timer itself is 10 % of the median",)
    assert result([1000] * 20, timer_ns=20).notes == ()


def test_rates_are_stated_where_calls_follow_each_other() -> None:
    assert result([2000] * 10, batch_size=4).rows_per_s == pytest.approx(2e6)
    assert result([2000] * 10, is_closed_loop=False).rows_per_s is None
    assert result([0] * 10).rows_per_s is None


def test_the_real_clock_measures_a_real_model() -> None:
    found = measure_latency(digit_reader(), load_digits().images, n=662)
    assert found.p50_ms is not None
    assert found.p99_ms is not None
    assert 0 < found.timer_ns < found.p50_ms * 1e6
    assert found.stamp["versions"]


# -- throughput --


def test_rates_of_a_known_service(time: VirtualTime) -> None:
    def service(batch: Any) -> Any:
        time.now += 1000 + 100 * len(batch)
        return batch

    found = measure_throughput(service, X, batch_sizes=(1, 10), rounds=6, clock=time.clock)
    assert found.rows_per_s(1) == pytest.approx(1e9 / 1100)
    assert found.rows_per_s(10) == pytest.approx(1e10 / 2000)
    assert (found.best, len(found.rates[1])) == (10, 6)
    assert json.loads(json.dumps(found.to_dict()))["rows_per_s"]["10"][0] == pytest.approx(5e6)
    assert found.to_frame()["batch_size"].tolist() == [1, 10]
    with pytest.raises(InputError, match="one that was measured"):
        found.rows_per_s(3)


def test_batch_sizes_take_turns_in_random_order(time: VirtualTime) -> None:
    sizes = (1, 2, 3, 5)
    measure_throughput(time.service("s", 10**9), X, batch_sizes=sizes, rounds=12, max_seconds=1, clock=time.clock)
    turns = [len(batch) for _, batch in time.calls[len(sizes) :]]
    rounds = [tuple(turns[i : i + 4]) for i in range(0, len(turns), 4)]
    assert {tuple(sorted(r)) for r in rounds} == {sizes}
    assert len(set(rounds)) > 3


def test_a_clock_that_stands_still_ends_it() -> None:
    with pytest.raises(benchmark.ClockError, match="no time pass"):
        measure_throughput(lambda b: b, X, batch_sizes=(1,), clock=lambda: 7)


# -- compare --


def test_ratios_come_from_the_rounds_so_a_slow_machine_cancels(time: VirtualTime) -> None:
    """The machine becomes ten times slower half-way; the ratio stays what it is."""
    count = 0

    def service(ns: int) -> Any:
        def call(batch: Any) -> Any:
            nonlocal count
            count += 1
            time.now += ns * (10 if count > 500 else 1)
            return batch

        return call

    found = compare({"a": service(1000), "b": service(3000)}, X, n=400, rounds=20, warmup=1, clock=time.clock)
    ratio = found.ratio("b", "a")
    assert ratio.value == pytest.approx(3)
    assert (ratio.low, ratio.high) == (pytest.approx(3), pytest.approx(3))
    assert ratio.rounds == 20
    assert found.latencies["a"].samples_ns.max() == 10_000
    with pytest.raises(InputError, match="expected one of 'a', 'b'"):
        found.ratio("c", "a")


def test_models_take_turns_in_random_order_and_settle_first(time: VirtualTime) -> None:
    variants = {name: time.service(name, 100) for name in "abc"}
    found = compare(variants, X, n=40, rounds=10, warmup=0, clock=time.clock)
    names = [name for name, _ in time.calls[3:]]
    turns = [names[i : i + 7] for i in range(0, len(names), 7)]
    assert all(len(set(turn)) == 1 for turn in turns)
    orders = {tuple(turn[0] for turn in turns[i : i + 3]) for i in range(0, 30, 3)}
    assert {tuple(sorted(order)) for order in orders} == {("a", "b", "c")}
    assert len(orders) > 1
    assert [found.latencies[name].n for name in "abc"] == [40] * 3


def test_the_calls_that_bring_a_model_back_are_not_counted(time: VirtualTime) -> None:
    last = None

    def service(name: str) -> Any:
        def call(batch: Any) -> Any:
            nonlocal last
            time.now += 5000 if name != last else 100
            last = name
            return batch

        return call

    found = compare({"a": service("a"), "b": service("b")}, X, n=100, warmup=2, clock=time.clock)
    assert found.latencies["a"].samples_ns.max() == 100


def test_rows_of_the_ledger_say_what_was_measured() -> None:
    _, images, _, y = split_digits()
    reader = digit_reader()
    kept = benchmark.Ledger()
    found = compare({"cnn": reader}, images, y, n=700, rounds=7, ledger=kept)
    entry = found["cnn"]
    assert entry.accuracy == (reader.predict(images) == y).mean()
    assert (entry.n, entry.n_test, entry.threads) == (700, len(y), 1)
    assert (entry.model_sha256, entry.size_bytes) == (reader.backend.model.sha256, reader.backend.model.size_bytes)
    assert entry.p50_ms == found.latencies["cnn"].p50_ms
    assert list(kept) == list(found)
    assert entry.machine_id == entry.stamp["machine_id"]


def test_an_own_metric_takes_the_place_of_the_share_of_right_answers() -> None:
    found = compare({"a": lambda b: b[:, 0]}, X, X[:, 0] + 1, n=10, metric=lambda t, p: float(np.mean(t - p)))
    assert (found["a"].accuracy, found["a"].accuracy_low) == (1.0, None)


def test_of_several_outputs_the_metric_gets_all_and_without_one_it_is_said() -> None:
    both = {"interval": lambda b: {"low": b[:, 0] - 1, "high": b[:, 0] + 1}}
    truth = X[:, 0] + np.where(np.arange(len(X)) % 2, 0.5, 2)
    found = compare(both, X, truth, n=10, metric=lambda t, p: np.mean((p["low"] <= t) & (t <= p["high"])))
    assert found["interval"].accuracy == np.mean(np.arange(len(X)) % 2)
    with pytest.raises(InputError, match="interval has several outputs, low, high; say what counts as right: metric="):
        compare(both, X, truth, n=10)


@pytest.mark.parametrize(("right", "n"), [(0, 10), (10, 10), (374, 382), (1, 3), (500, 1000)])
def test_wilsons_interval_is_that_of_scipy(right: int, n: int) -> None:
    from scipy.stats import binomtest

    theirs = binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(right, n) == pytest.approx((theirs.low, theirs.high))


@pytest.mark.parametrize(
    ("variants", "y", "says"),
    [
        ({}, None, "one or more models by name"),
        ([len], None, "one or more models by name"),
        ({3: len}, None, "a name"),
        ({"a": lambda b: b}, [1, 2], "each of the 30 rows"),
        ({"a": lambda b: b}, np.zeros(30), "one answer a row"),
        ({"a": object()}, None, "Predictor or a function"),
    ],
)
def test_what_cannot_be_compared_is_refused(variants: Any, y: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        compare(variants, X, y, n=5)


def test_a_variant_that_fails_is_named() -> None:
    calls = iter([1, 2, 3])
    with pytest.raises(CallError, match=r"shaky: call .* raised StopIteration"):
        compare({"steady": lambda b: b, "shaky": lambda b: next(calls)}, X, n=10, warmup=1)


# -- memory --


def test_a_models_memory_is_told_from_its_runtime(tmp_path: Path) -> None:
    small = digit_reader("digits-mlp")
    path = tmp_path / "small.predictor"
    small.save(path)
    images = load_digits().images[:1]
    for target in (small, path):
        found = measure_memory(target, images)
        assert found.python_mb < found.runtime_mb
        assert found.model_mb < 30
        assert json.dumps(found.to_dict())
    assert "MB at the peak" in repr(found)


@pytest.mark.rotated
def test_memory_that_an_answer_needs_is_seen() -> None:
    from sklearn.kernel_approximation import RBFSampler
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    rows = np.random.default_rng(0).normal(size=(60_000, 4))
    model = make_pipeline(RBFSampler(n_components=200), LogisticRegression()).fit(rows[:50], np.arange(50) % 2)
    few, many = (measure_memory(Predictor(model), rows[:n]) for n in (1, 60_000))
    hidden_mb = 60_000 * 200 * 8 / 1e6
    assert many.model_mb - few.model_mb > 0.9 * hidden_mb


@pytest.mark.rotated
def test_litert_answers_many_rows_in_little_memory() -> None:
    images = np.resize(load_digits().images, (60_000, 8, 8))
    few, many = (measure_memory(digit_reader(), images[:n]) for n in (1, 60_000))
    layer_mb = 60_000 * 8 * 8 * 16 * 4 / 1e6  # the first layer's output alone, if all rows went at once
    assert many.model_mb - few.model_mb < layer_mb / 2


@pytest.mark.parametrize(
    ("model", "rows", "says"),
    [
        (lambda b: b, [[1]], "Predictor or the path"),
        ("nowhere.tflite", [[1]], "no|none at"),
        (Predictor(lambda b: b, signature=ArraySpec((1,))), [[1.0]], "is a function"),
        (digit_reader("digits-mlp"), [], "at least one row"),
    ],
)
def test_what_has_no_memory_of_its_own_is_refused(model: Any, rows: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        measure_memory(model, rows)


# -- words, progress --


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 ns"),
        (9.996e-7, "1.00 µs"),
        (5.04e-8, "50.4 ns"),
        (0.99949, "999 ms"),
        (1.0, "1.00 s"),
        (1234.5, "1,230 s"),
    ],
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert time_words(seconds) == words


class _Watched(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_shows_after_its_time_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = _Watched()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.delenv("INFERKIT_PROGRESS", raising=False)
    with ProgressLine(True, after_s=60) as line:
        line.show("too soon")
    assert stream.getvalue() == ""
    with ProgressLine(True) as line:
        line.show("1 of 2")
        line.show("2")
    assert stream.getvalue() == "\r1 of 2\r2     \r \r"
    monkeypatch.setenv("INFERKIT_PROGRESS", "0")
    with ProgressLine(True) as line:
        line.show("hidden")
    assert "hidden" not in stream.getvalue()
