"""Services whose times are known: what is stated must hold them, and a closed loop must be seen to hide stalls.

All in virtual time: exact, and the same on every machine.
"""

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from inferkit.benchmark import SCENARIOS, measure_latency, percentile_interval, run_scenario, samples_needed
from tests.services import VirtualTime, with_stalls

ROWS = np.arange(100.0)[:, None]
MS = 1_000_000


@pytest.fixture
def time():
    return VirtualTime()


def scenario(time, name, service, **given):
    return run_scenario(service, ROWS, name, warmup=0, clock=time.clock, sleep=time.sleep, **given)


def answers(rng, n, mean_ms=2.0):
    """Return times with a long tail (log-normal) in nanoseconds, and their true percentiles in milliseconds."""
    sigma = 0.5
    times = np.rint(mean_ms * MS * rng.lognormal(0.0, sigma, size=n)).astype(int)
    return times, lambda q: mean_ms * np.exp(sigma * NormalDist().inv_cdf(q / 100))


def lindley(due, services):
    """Return the times in a line with one server, from the instants of arrival and the service times.

    D. V. Lindley, "The theory of queues with a single server", 1952: a query waits for what the one
    before it still had to wait and be served for when it came.
    """
    waits = np.zeros(len(due))
    for i in range(1, len(due)):
        waits[i] = max(0.0, waits[i - 1] + services[i - 1] - (due[i] - due[i - 1]))
    return waits + services


# -- the known percentiles lie within the stated intervals ---------------------------------------


def covered(repetitions, n, q, *, width=1.0, seed=0):
    """Return the share of repetitions whose interval holds the true percentile; `width` narrows it on purpose."""
    time, rng = VirtualTime(), np.random.default_rng(seed)
    times, truth = answers(rng, 1 + n * repetitions)
    whole = measure_latency(
        time.service(times), ROWS, n=n * repetitions, warmup=0, max_seconds=1e9, progress=False, clock=time.clock
    )
    hits = 0
    for part in np.split(whole.samples_ns, repetitions):
        found = replace(whole, samples_ns=part).percentile(q)
        low, high = (found.value + width * (end - found.value) for end in (found.low, found.high))
        hits += low <= truth(q) <= high
    return hits / repetitions


@pytest.mark.rotated
@pytest.mark.parametrize(("q", "n"), [(50, 50), (90, 150), (99, 1000)])
def test_stated_intervals_hold_the_truth_as_often_as_they_say(q, n):
    """95 % at least. A correct interval fails here once in 10,000 seeds: the limit is that of the binomial."""
    repetitions = 1000
    least = stats.binom.ppf(1e-4, repetitions, 0.95) / repetitions
    assert covered(repetitions, n, q) >= least


@pytest.mark.rotated
def test_intervals_that_are_too_narrow_are_caught():
    """The positive control: two thirds of the width hold the truth in some 80 % of the repetitions."""
    repetitions = 1000
    least = stats.binom.ppf(1e-4, repetitions, 0.95) / repetitions
    assert covered(repetitions, 150, 90, width=0.66) < least


@pytest.mark.rotated
def test_coverage_of_the_intervals_is_exact():
    """By the order statistics of uniform samples, whose distribution is known: between 95 % and what ranks allow."""
    rng, repetitions = np.random.default_rng(1), 20_000
    for q, n in ((50, 30), (90, 100), (99, 700)):
        ranks = percentile_interval(np.arange(1, n + 1), q)
        low, high = (int(rank) for rank in ranks)
        ordered = np.sort(rng.random((repetitions, n)), axis=1)
        share = np.mean((ordered[:, low - 1] <= q / 100) & (q / 100 <= ordered[:, high - 1]))
        exact = stats.beta.cdf(q / 100, low, n - low + 1) - stats.beta.cdf(q / 100, high, n - high + 1)
        assert exact >= 0.95
        assert abs(share - exact) < 4 * np.sqrt(exact * (1 - exact) / repetitions)  # 1 in 16,000 by chance


@given(st.integers(1, 2000), st.sampled_from([10, 50, 90, 95, 99, 99.9]), st.sampled_from([0.8, 0.95, 0.99]))
def test_each_end_fails_as_rarely_as_it_must_and_no_rank_closer_would_do(n, q, confidence):
    """Against the binomial distribution of scipy.stats, rank by rank."""
    low, high = percentile_interval(np.arange(1, n + 1), q, confidence=confidence)
    below, fails = stats.binom(n, q / 100), (1 - confidence) / 2
    if low is not None:
        assert below.cdf(low - 1) <= fails * (1 + 1e-9)
    assert below.cdf(low or 0) > fails * (1 - 1e-9)  # the next rank would fail too often
    if high is not None:
        assert below.sf(high - 1) <= fails * (1 + 1e-9)
    assert below.sf((n + 1 if high is None else high) - 2) > fails * (1 - 1e-9)


# -- how many samples ----------------------------------------------------------------------------


@pytest.mark.parametrize(("q", "n"), [(50, 11), (90, 64), (95, 130), (99, 662), (99.9, 6636)])
def test_the_rule_is_loadgens(q, n):
    assert samples_needed(q) == n


@settings(deadline=None)
@given(st.floats(1, 99.9), st.sampled_from([0.5, 0.9, 0.99, 0.999]))
def test_the_rule_is_the_smallest_sample_with_two_values_beyond(q, confidence):
    """Against scipy.stats: with at least that confidence, two values lie beyond the percentile; with one less, not."""
    n, beyond = samples_needed(q, confidence=confidence), min(q, 100 - q) / 100
    assert stats.binom.sf(1, n, beyond) >= confidence * (1 - 1e-12)
    assert stats.binom.sf(1, n - 1, beyond) < confidence * (1 + 1e-12)


# -- closed loop and open loop -------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.1, 1.5), st.integers(2, 200))
def test_the_open_loop_is_lindleys_queue(seed, load, n):
    """Every single query's time, at any load, below and above what the service can do."""
    time, rng = VirtualTime(), np.random.default_rng(seed)
    services, _ = answers(rng, n + 1)
    asked = scenario(
        time, "server", time.service(services), n=n, target_qps=load * 1e9 / services.mean(), random_state=seed
    )
    draws = np.random.default_rng(seed)
    draws.integers(len(ROWS), size=n)
    due = np.cumsum(draws.exponential(1e9 / (load * 1e9 / services.mean()), size=n))
    expected = lindley(due, services[1:])  # the first answered the check before the run
    np.testing.assert_allclose(asked.latency.samples_ns, expected, atol=n)  # each instant is rounded to a nanosecond


def test_a_closed_loop_hides_the_stalls_that_an_open_loop_shows(time):
    """One stall of a second in 5 s: it meets every query that comes meanwhile, and one of those sent in turn."""
    n, service_ms, stall_ms = 4000, 1, 1000
    stalled = list(with_stalls([service_ms * MS] * (n + 1), every=2001, stall_ns=stall_ms * MS))
    closed = scenario(time, "single_stream", time.service(stalled), n=n)
    open_ = scenario(time, "server", time.service(stalled), n=n, target_qps=500.0, random_state=3)
    assert closed.latency.samples_ns.max() == open_.latency.samples_ns.min() + stall_ms * MS
    assert closed.latency.p99_ms == service_ms  # nothing to see
    # 500 came during the second and, as the line shortens by one every other millisecond, 500 more while it lasted:
    # a quarter of all, waiting 500 ms in the mean.
    waited = open_.latency.samples_ns > 10 * service_ms * MS
    assert 0.2 < waited.mean() < 0.3
    assert open_.latency.p99_ms > 800
    due = np.cumsum(np.diff(arrivals(3, n, 500.0), prepend=0))
    np.testing.assert_allclose(open_.latency.samples_ns, lindley(due, np.array(stalled[1:])), atol=n)


def arrivals(seed, n, qps):
    """Return the instants that the scenario draws: rows first, then exponential gaps."""
    rng = np.random.default_rng(seed)
    rng.integers(len(ROWS), size=n)
    return np.cumsum(rng.exponential(1e9 / qps, size=n))


@pytest.mark.rotated
def test_the_mean_wait_is_pollaczeks_and_khinchines(time):
    """Poisson arrivals and constant service at half load: the mean wait is half a service time.

    Ten standard errors of the simulated mean (about 0.01 service times at this length) are allowed.
    """
    n, service_ms = 40_000, 2
    asked = scenario(
        time, "server", time.service([service_ms * MS] * (n + 1)), n=n, target_qps=250.0, max_seconds=1e4
    )  # fmt: skip
    waits = asked.latency.samples_ns / MS / service_ms - 1
    assert waits.mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.rotated
def test_queries_come_as_a_poisson_process(time):
    """Gaps are exponential with the rate asked for (Kolmogorov and Smirnov, false alarm 1 in 10,000)."""
    starts = []

    def service(batch):
        starts.append(time.now)
        return batch

    scenario(time, "server", service, n=20_000, target_qps=1000.0, max_seconds=1e4, random_state=5)
    gaps = np.diff(starts[1:]) / 1e9
    assert stats.kstest(gaps, stats.expon(scale=1e-3).cdf).pvalue > 1e-4
    assert stats.kstest(gaps, stats.expon(scale=1.1e-3).cdf).pvalue < 1e-4  # the control: a tenth slower is seen


def test_the_closed_loops_and_offline_are_exact(time):
    times = [3 * MS, 5 * MS, 4 * MS, 8 * MS]
    single = scenario(time, "single_stream", time.service([MS, *times]), n=4)
    assert single.latency.samples_ns.tolist() == times
    assert single.samples_per_s == pytest.approx(4 / 0.020)
    several = scenario(time, "multi_stream", time.service([MS, *times]), n=4, samples_per_query=8)
    assert several.latency.samples_ns.tolist() == times
    assert several.samples_per_s == pytest.approx(32 / 0.020)
    sizes = []
    service = time.service([MS, *times])
    offline = scenario(time, "offline", lambda rows: sizes.append(len(rows)) or service(rows), n=10, batch_size=3)
    assert sizes[1:] == [3, 3, 3, 1]
    ends = np.repeat(np.cumsum(times), sizes[1:])
    assert offline.latency.samples_ns.tolist() == ends.tolist()
    assert offline.samples_per_s == pytest.approx(10 / 0.020)


def test_the_metric_is_the_one_of_mlperf(time):
    for name, metric in (
        ("single_stream", "p90_ms"), ("multi_stream", "p99_ms"), ("server", "p99_ms"), ("offline", "samples_per_s"),
    ):  # fmt: skip
        assert name in SCENARIOS
        qps = {"target_qps": 100.0} if name == "server" else {}
        result = scenario(time, name, time.service([MS] * 2000), n=700, **qps)
        assert result.metric == metric
        assert result.is_valid


def test_a_bound_is_kept_or_not(time):
    for bound, kept in ((5.0, True), (0.5, False)):
        result = scenario(
            time, "server", time.service([MS] * 1001), n=1000, target_qps=100.0, latency_bound_ms=bound
        )  # fmt: skip
        assert result.is_valid is kept
        assert any("bound" in reason for reason in result.reasons) is not kept
