"""What the measuring calls do with bad input, bad services and bad luck: a clear error, or what they say they do."""

import gc

import numpy as np
import pytest

from inferkit import InputError
from inferkit.benchmark import (
    CallError,
    ClockError,
    SampleTooSmallError,
    compare,
    measure_latency,
    measure_throughput,
    percentile,
    percentile_interval,
    run_scenario,
)
from tests.services import VirtualTime

ROWS = np.arange(100.0)[:, None]
MS = 1_000_000
SCENARIOS = ("single_stream", "multi_stream", "server", "offline")


class Bench:
    """Every measuring call with the same shape: a service, rows, a clock."""

    def __init__(self, time):
        self.time = time

    def __call__(self, name, service, rows=ROWS, *, clock=None, **given):
        common = {"clock": clock or self.time.clock, "progress": False} | given
        if name == "latency":
            return measure_latency(service, rows, **{"n": 200, "warmup": 0} | common)
        if name == "throughput":
            return measure_throughput(service, rows, **{"batch_sizes": (1, 8), "max_seconds": 1.0} | common)
        if name == "compare":
            return compare({"a": service, "b": service}, rows, **{"n": 200, "warmup": 0} | common)
        qps = {"target_qps": 100.0} if name == "server" else {}
        settings = {"n": 200, "warmup": 0, "sleep": self.time.sleep, "batch_size": 1}
        return run_scenario(service, rows, name, **settings | qps | common)


CALLS = ("latency", "throughput", "compare", *SCENARIOS)


@pytest.fixture
def time():
    return VirtualTime()


@pytest.fixture
def bench(time):
    return Bench(time)


def steady(time, ns=MS):
    def call(batch):
        time.now += ns
        return batch

    return call


def at_call(time, number, what):
    """Return a service that does something bad at one of its calls: raise an error, or call a function."""
    calls = 0

    def call(batch):
        nonlocal calls
        calls += 1
        time.now += MS
        if calls == number:
            raise what
        return batch

    return call


# -- the rows ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("rows", [[], np.empty((0, 8, 8))], ids=["list", "array"])
def test_no_rows(bench, time, name, rows):
    with pytest.raises(InputError, match="X: expected at least one row, got none"):
        bench(name, steady(time), rows)


@pytest.mark.parametrize("name", ["latency", "throughput", "compare"])
def test_what_has_no_rows_at_all(bench, time, name):
    with pytest.raises(InputError, match="X: expected rows"):
        bench(name, steady(time), 3)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("latency", {"batch_size": 101}),
        ("compare", {"batch_size": 101}),
        ("throughput", {"batch_sizes": (1, 101)}),
        ("multi_stream", {"samples_per_query": 101}),
    ],
)
def test_a_batch_size_above_the_rows(bench, time, name, given):
    with pytest.raises(InputError, match=r"at most the 100 rows of X, got 101"):
        bench(name, steady(time), **given)


def test_offline_takes_the_rows_that_there_are_as_one_batch(bench, time):
    sizes = []
    bench("offline", lambda rows: sizes.append(len(rows)) or rows, n=None, batch_size=512)
    assert sizes[1:] == [100]


# -- how many ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["latency", *SCENARIOS])
def test_a_single_sample_states_no_percentile(bench, time, name):
    result = bench(name, steady(time), n=1)
    latency = result if name == "latency" else result.latency
    assert latency.samples_ns.tolist() == [MS]
    assert (latency.p50_ms, latency.p90_ms, latency.p99_ms) == (None, None, None)
    with pytest.raises(SampleTooSmallError, match=r"p50 needs 11 samples\b.*\b1\b"):
        latency.percentile(50)
    assert "needs 662 samples" in repr(result)
    assert "–" in result._repr_html_()
    if name not in ("latency", "offline"):
        assert not result.is_valid
        assert "1 were answered" in result.reasons[0]


def test_a_comparison_of_single_samples_states_no_percentile(bench, time):
    entry = bench("compare", steady(time), n=1)["a"]
    assert (entry.n, entry.p50_ms, entry.p50_low, entry.p99_ms) == (1, None, None, None)


def test_percentiles_of_one_value_and_of_none():
    assert percentile_interval([3.0], 50) == (None, None)
    with pytest.raises(SampleTooSmallError, match="11"):
        percentile([3.0], 50)
    for bad in ([], [np.nan], [[1.0]]):
        with pytest.raises(InputError, match="samples: expected"):
            percentile_interval(bad, 50)
    for q in (0, 100, -1, np.nan, "p99", True):
        with pytest.raises(InputError, match="q: expected"):
            percentile_interval([1.0], q)


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "many"])
@pytest.mark.parametrize("name", ["latency", "compare", *SCENARIOS])
def test_how_many_is_a_whole_number_above_0(bench, time, name, bad):
    with pytest.raises(InputError, match="n: expected a whole number ≥ 1"):
        bench(name, steady(time), n=bad)


@pytest.mark.parametrize("bad", [0, -1.0, np.inf, np.nan, "long", None])
@pytest.mark.parametrize("name", CALLS)
def test_a_length_of_time_is_above_0(bench, time, name, bad):
    with pytest.raises(InputError, match="max_seconds: expected a number of seconds above 0"):
        bench(name, steady(time), max_seconds=bad)


# -- the service ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CALLS)
def test_a_model_that_returns_nothing(bench, name):
    with pytest.raises(InputError, match=r"returned nothing \(None\).*return"):
        bench(name, lambda batch: None)


@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_model(bench, name):
    with pytest.raises(InputError, match="expected a Predictor or a function"):
        bench(name, "model.tflite")


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_raises_at_the_hundredth(bench, time, name):
    with pytest.raises(CallError, match="ValueError: no such digit") as caught:
        bench(name, at_call(time, 100, ValueError("no such digit")))
    assert isinstance(caught.value.__cause__, ValueError)


def test_what_was_measured_before_a_call_raised_is_kept(bench, time):
    with pytest.raises(CallError, match="call 99 raised") as caught:  # the first was the check that an answer comes
        bench("latency", at_call(time, 100, ValueError("no such digit")))
    assert caught.value.partial.samples_ns.tolist() == [MS] * 98
    for name in SCENARIOS:
        with pytest.raises(CallError, match="query 99 raised") as caught:
            bench(name, at_call(time, 100, ValueError("no such digit")))
        assert len(caught.value.partial) == 98


@pytest.mark.parametrize("name", CALLS)
def test_a_first_call_that_raises(bench, time, name):
    with pytest.raises((CallError, ValueError), match="no such digit"):
        bench(name, at_call(time, 1, ValueError("no such digit")))


def test_a_call_that_raises_in_one_of_several_workers(bench, time):
    with pytest.raises(CallError, match="no such digit"):
        bench("server", at_call(time, 100, ValueError("no such digit")), workers=3)


# -- the clock -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["latency", "compare", *SCENARIOS])
def test_a_clock_that_goes_backwards(bench, time, name):
    def service(batch):
        time.now += MS if time.now < 50 * MS else -3 * MS
        return batch

    with pytest.raises(ClockError, match=r"went backwards.*monotonic"):
        bench(name, service)


@pytest.mark.parametrize("name", ["latency", "compare"])
def test_a_clock_that_goes_backwards_between_the_calls(bench, time, name):
    readings = 0

    def clock():
        nonlocal readings
        readings += 1
        if readings == 1500:  # after those that measure the clock itself
            time.now -= 10 * MS
        return time.now

    with pytest.raises(ClockError, match="went backwards"):
        bench(name, steady(time), n=600, clock=clock)


@pytest.mark.parametrize("name", ["latency", "compare", "single_stream", "multi_stream", "offline"])
def test_calls_that_take_no_time(bench, time, name):
    result = bench(name, steady(time, 0))
    assert "nan" not in repr(result)
    assert "inf" not in repr(result).replace("inferkit", "")
    if name == "latency":
        assert result.rows_per_s is None
        assert "200 calls took no time that the clock could see" in result.notes
    elif name == "compare":
        assert result["a"].throughput is None
        with pytest.raises(InputError, match="no time that the clock could see"):
            result.ratio("a", "b")
    else:
        assert not result.is_valid
        assert "the clock saw no time pass" in result.reasons


def test_turns_that_are_shorter_than_a_call_make_one_call(bench, time):
    sizes = []
    result = bench("throughput", lambda rows: sizes.append(len(rows)) or steady(time)(rows), max_seconds=1e-6, rounds=7)
    assert len(sizes) == 2 + 7 * 2  # the check that an answer comes, then the turns
    assert result.rows_per_s(8) == pytest.approx(8000)


# -- the rate ------------------------------------------------------------------------------------


def test_a_rate_that_cannot_be_reached_is_said(bench, time):
    """The service can do 1,000 a second; asked for twice that, half of the queries are still waiting at the end."""
    result = bench("server", steady(time), n=1000, target_qps=2000.0)
    assert not result.is_valid
    assert "the rate can't be reached" in result.reasons[0]
    assert result.samples_per_s == pytest.approx(1000, rel=0.05)
    assert result.latency.samples_ns[-1] == pytest.approx(500 * MS, rel=0.2)
    ok = bench("server", steady(time), n=1000, target_qps=500.0)
    assert ok.is_valid, ok.reasons


def test_a_rate_far_above_everything_ends_with_its_time(bench, time):
    result = bench("server", steady(time), n=1000, target_qps=1e6, max_seconds=0.3)
    assert result.latency.stopped == "time"
    assert 295 <= result.latency.n <= 300
    assert not result.is_valid


@pytest.mark.parametrize("bad", [0, -5.0, np.inf, np.nan, "fast"])
def test_a_rate_is_above_0(bench, time, bad):
    with pytest.raises(InputError, match="target_qps: expected queries a second above 0"):
        bench("server", steady(time), target_qps=bad)


def test_a_rate_belongs_to_the_server_scenario_alone(bench, time):
    with pytest.raises(InputError, match="target_qps"):
        bench("server", steady(time), target_qps=None)
    with pytest.raises(InputError, match="target_qps"):
        bench("offline", steady(time), target_qps=3.0)
    with pytest.raises(InputError, match=r"scenario: expected one of 'single_stream'.*got 'open'"):
        run_scenario(steady(time), ROWS, "open")


# -- an interrupt --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["latency", *SCENARIOS])
def test_an_interrupt_keeps_what_was_measured(bench, time, name):
    result = bench(name, at_call(time, 100, KeyboardInterrupt()))
    latency = result if name == "latency" else result.latency
    assert latency.stopped == "interrupt"
    assert latency.n == 98  # the first of the 99 answers was the check
    assert latency.wanted == 200
    assert any("98 of 200 samples: it was interrupted" in note for note in latency.notes)
    assert latency.p50_ms >= 1.0
    assert latency.p99_ms is None


def test_an_interrupt_keeps_whole_rounds(bench, time):
    compared = bench("compare", at_call(time, 300, KeyboardInterrupt()), rounds=20)
    assert 0 < compared["a"].n == compared["b"].n < 200
    assert compared["a"].n % 10 == 0
    rates = bench("throughput", at_call(time, 700, KeyboardInterrupt()), rounds=7)
    assert rates.stopped == "interrupt"
    assert len({len(values) for values in rates.rates.values()}) == 1
    assert 0 < len(rates.rates[1]) < 7


@pytest.mark.parametrize("name", CALLS)
def test_an_interrupt_before_anything_was_measured_goes_on(bench, time, name):
    for number in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            bench(name, at_call(time, number, KeyboardInterrupt()))


def test_an_interrupt_of_several_workers_keeps_what_was_measured(bench, time):
    naps = 0

    def sleep(seconds):
        nonlocal naps
        naps += 1
        if naps == 60:
            raise KeyboardInterrupt
        time.sleep(seconds)

    result = bench("server", steady(time), sleep=sleep)
    assert result.latency.stopped == "interrupt"
    assert 0 < result.latency.n < 200


# -- garbage collection --------------------------------------------------------------------------


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("number", [1, 2, 100, 10**9])
@pytest.mark.parametrize(
    "error", [ValueError("bad"), KeyboardInterrupt(), SystemExit()], ids=lambda e: type(e).__name__
)
def test_garbage_collection_is_afterwards_as_it_was(bench, time, name, number, error, enabled):
    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        try:
            bench(name, at_call(time, number, error))
        except (CallError, ValueError, KeyboardInterrupt, SystemExit):
            assert number < 10**9
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()
