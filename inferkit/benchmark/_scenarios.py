"""MLPerf's four scenarios: how a model's answers are asked for decides what its latency is.

Source of the scenarios and their rules: V. J. Reddi et al., "MLPerf Inference Benchmark", ISCA 2020, and
MLCommons, *MLPerf Inference Rules*. Runs here are minutes shorter than a submission's, and say so by their intervals.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError, ProgressLine, generator
from ..devices import busy_watch, stamp
from ._latency import LatencyResult, name_of, warm_up
from ._percentiles import percentile_interval, samples_needed
from ._queries import Queries
from ._schedule import Run, ask_at, ask_in_turn, ask_offline
from ._timing import (
    Call,
    Clock,
    as_call,
    as_inputs,
    count_rows,
    garbage_collection,
    seconds,
    timer_overhead_ns,
    whole_number,
)
from ._words import time_words

SCENARIOS = {"single_stream": 90, "multi_stream": 99, "server": 99, "offline": None}
"""MLPerf's percentile for each scenario; offline counts samples a second."""
_METRICS = SCENARIOS | {"closed_loop": 99}  # a load test by clients that wait; not one of MLPerf's


@dataclass(frozen=True, eq=False, repr=False)
class ScenarioResult:
    """What a scenario measured.

    Attributes
    ----------
    scenario : {"single_stream", "multi_stream", "server", "offline", "closed_loop"}
        The last is a load test's own: several clients, each of which waits for its answer.
    latency : LatencyResult
        One sample for each query; for `offline` one for each row, from the start of the run. In
        `server` a query's time begins at the instant at which it was scheduled.
    samples_per_s : float
        Rows answered, by the time from the start to the last answer.
    seconds : float
        That time.
    target_qps, latency_bound_ms : float or None
        What was asked for.
    is_valid : bool or None
        For `server` with a bound: whether its p99 keeps the bound with 99 % confidence, and the service keeps up with
        the rate. For the rest: whether the sample supports the scenario's percentile.
    reasons : tuple of str
        Why it is not valid.
    queries : Queries or None
        Of a load test: what became of every query, those without an answer too. `latency` holds
        those that were answered, in time or late.
    """

    scenario: str
    latency: LatencyResult
    samples_per_s: float
    seconds: float
    target_qps: float | None = None
    latency_bound_ms: float | None = None
    is_valid: bool = True
    reasons: tuple[str, ...] = ()
    queries: Queries | None = None

    @property
    def metric(self) -> str:
        """Name of the scenario's own metric: "p90_ms", "p99_ms" or "samples_per_s"."""
        q = _METRICS[self.scenario]
        return "samples_per_s" if q is None else f"p{q}_ms"

    @property
    def value(self) -> float | None:
        """The metric; None where the sample does not support it."""
        found: float | None = (
            self.samples_per_s if self.metric == "samples_per_s" else getattr(self.latency, self.metric)
        )
        return found

    def to_dict(self, *, samples: bool = False) -> dict[str, Any]:
        """Return the result as plain values that JSON can hold."""
        own = ("scenario", "metric", "value", "samples_per_s", "seconds", "target_qps", "latency_bound_ms", "is_valid")
        plain = {name: getattr(self, name) for name in own} | {"reasons": list(self.reasons)}
        plain |= {} if self.queries is None else {"outcomes": self.queries.counts()}
        return plain | {"latency": self.latency.to_dict(samples=samples)}

    def _head(self) -> str:
        rate = f"{self.samples_per_s:,.0f} rows a second for {time_words(self.seconds)}"
        asked = "" if self.target_qps is None else f", {self.target_qps:,.0f} queries a second asked for"
        return f"{self.scenario}: {rate}{asked}; {'valid' if self.is_valid else 'not valid'}"

    def _said(self) -> list[str]:
        """Return what stands between the head and the times: what became of the queries, and the reasons."""
        return [*([] if self.queries is None else [self.queries.words()]), *self.reasons]

    def __repr__(self) -> str:
        return "\n".join([self._head(), *(f"  {line}" for line in self._said()), repr(self.latency)])

    def _repr_html_(self) -> str:
        reasons = "".join(f"<p>{escape(line)}</p>" for line in self._said())
        return f"<p><strong>{escape(self._head())}</strong></p>{reasons}{self.latency._repr_html_()}"


def run_scenario(
    predictor: Any,
    X: Any,
    scenario: str = "single_stream",
    *,
    n: int | None = None,
    max_seconds: float = 60.0,
    samples_per_query: int = 8,
    batch_size: int = 64,
    target_qps: float | None = None,
    latency_bound_ms: float | None = None,
    workers: int = 1,
    warmup: int = 20,
    name: str | None = None,
    random_state: int | np.random.Generator | None = 0,
    progress: bool = True,
    clock: Clock = perf_counter_ns,
    sleep: Callable[[float], None] | None = None,
) -> ScenarioResult:
    """Ask a model for answers as MLPerf's scenarios do, and measure.

    ``single_stream``: the next query comes when the last is answered; metric p90. ``multi_stream``:
    the same with `samples_per_query` rows at once; metric p99. ``server``: queries come at random
    instants (a Poisson process of `target_qps`), whether or not the last is answered, and their
    time runs from the instant at which they came; metric p99. ``offline``: all rows are there from
    the start; metric rows a second.

    Parameters
    ----------
    predictor : Predictor or callable
        As in `measure_latency`.
    X : array, list or data frame
        Rows; queries draw from them at random, with replacement.
    scenario : str
        One of the four.
    n : int, optional
        Queries (for ``offline``: rows). By default as many as a p99 needs and some more: 1,000; for
        ``offline`` all rows of X.
    max_seconds : float, default=60
        No query is begun after so many seconds.
    samples_per_query : int, default=8
        For ``multi_stream``.
    batch_size : int, default=64
        For ``offline``: rows in a call.
    target_qps : float, optional
        For ``server``: queries a second, on average.
    latency_bound_ms : float, optional
        For ``server``: what the p99 must keep for the run to be valid.
    workers : int, default=1
        For ``server``: how many threads answer. Queries wait in one line.
    warmup : int, default=20
        Calls before the run.
    name : str, optional
        For tables and figures.
    random_state : int, numpy.random.Generator or None, default=0
        For the rows and the instants.
    progress : bool, default=True
        Show a line from the third second on.
    clock, sleep : callable, optional
        Clock in nanoseconds; sleep in seconds. A sleep that is given is relied on; without one the
        last half millisecond before a query is spent looking at the clock.

    Returns
    -------
    ScenarioResult
        Interrupting ends the run and keeps what there is.

    Raises
    ------
    InputError
        If the scenario is unknown, ``server`` has no `target_qps`, or X does not suffice.
    CallError
        If a call raises; its ``partial`` is the times before, in nanoseconds.

    Notes
    -----
    A rate that the service can't reach is not an error: the queue grows, the times with it, and the
    result is not valid and says so.

    Examples
    --------
    >>> from inferkit.datasets import load_digits
    >>> from inferkit.predictor import digit_reader
    >>> result = run_scenario(digit_reader(), load_digits().images, "server", target_qps=2000, n=700)
    >>> result.metric, result.latency.n
    ('p99_ms', 700)
    """
    for label, number in (("samples_per_query", samples_per_query), ("batch_size", batch_size), ("workers", workers)):
        whole_number(label, number)
    whole_number("n", 1 if n is None else n)
    whole_number("warmup", warmup, 0)
    plan = _plan(scenario, n, count_rows(X), samples_per_query, batch_size, target_qps)
    limit_ns, rng = seconds("max_seconds", max_seconds) * 1e9, generator(random_state)
    call, inputs = as_call(predictor, plan.rows), as_inputs(predictor, X, plan.rows)
    if scenario == "offline" and plan.n % plan.rows:  # the last call takes what is left
        inputs = [*inputs, X[: plan.n % plan.rows]]
    label = name or name_of(predictor)
    warm: list[int] = []
    run = Run(clock, limit_ns)
    with busy_watch() as watch, garbage_collection(collect=False), ProgressLine(progress, after_s=2) as line:
        warm_up(call, inputs, warmup, label, clock=clock, samples=warm, limit_ns=limit_ns)
        overhead = timer_overhead_ns(clock)
        _ask(plan, call, inputs, run, rng, workers=workers, sleep=sleep, line=line)
    samples = np.array(run.samples(), np.int64)
    rows = 1 if scenario in ("offline", "server") else plan.rows
    latency = LatencyResult(
        label,
        samples,
        np.array(warm, np.int64),
        rows,
        overhead,
        plan.n,
        run.stopped,
        watch.words,
        stamp(),
        is_closed_loop=scenario in ("single_stream", "multi_stream"),
    )
    return _judge(plan, latency, run, latency_bound_ms)


@dataclass(frozen=True)
class _Plan:
    """What a scenario asks for: so many queries of so many rows each."""

    scenario: str
    n: int
    rows: int
    target_qps: float | None


def _plan(
    scenario: str, n: int | None, available: int, samples_per_query: int, batch_size: int, target_qps: float | None
) -> _Plan:
    """Check what was asked for, and fill in what was not said."""
    if scenario not in SCENARIOS:
        raise InputError(f"scenario: expected one of {', '.join(map(repr, SCENARIOS))}, got {scenario!r}")
    if (scenario == "server") != (target_qps is not None):
        raise InputError("target_qps: the scenario 'server' needs queries a second, and no other takes them")
    if target_qps is not None and not (isinstance(target_qps, int | float) and 0 < target_qps < float("inf")):
        raise InputError(f"target_qps: expected queries a second above 0, got {target_qps!r}")
    if scenario == "offline":
        n = available if n is None else n
        return _Plan(scenario, n, min(batch_size, n, available), None)
    rows = samples_per_query if scenario == "multi_stream" else 1
    return _Plan(scenario, 1000 if n is None else n, rows, target_qps)


def _ask(
    plan: _Plan, call: Call, inputs: Sequence[Any], run: Run, rng: np.random.Generator, *, workers: int,
    sleep: Callable[[float], None] | None, line: ProgressLine,
) -> None:  # fmt: skip
    """Send the queries of a plan."""

    def show(done: int) -> None:
        line.show(f"{plan.scenario}: {done:,} of {plan.n:,}")

    if plan.scenario == "offline":
        ask_offline(call, inputs, plan.n, plan.rows, run, show)
        return
    chosen = [inputs[i] for i in rng.integers(len(inputs), size=plan.n)]
    if plan.target_qps is None:
        ask_in_turn(call, chosen, run, show)
    else:
        ask_at(call, chosen, arrivals_ns(plan.n, plan.target_qps, rng), run, show, workers=workers, sleep=sleep)


def arrivals_ns(n: int, qps: float, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return the instants of a Poisson process in nanoseconds after its start: gaps are exponential."""
    gaps = rng.exponential(1e9 / qps, size=n)
    return np.cumsum(gaps).astype(np.int64)


def _judge(plan: _Plan, latency: LatencyResult, run: Run, bound_ms: float | None) -> ScenarioResult:
    """Say what came out, and whether the scenario's rules are kept."""
    took = run.seconds()
    answered = latency.n * (plan.rows if plan.scenario == "multi_stream" else 1)
    reasons = list(_too_few(plan, latency))
    if plan.target_qps is not None:
        reasons += _behind(latency, run)
        reasons += _over_the_bound(latency, bound_ms)
    rate = answered / took if took else 0.0
    if not took:
        reasons.append("the clock saw no time pass")
    return ScenarioResult(
        plan.scenario, latency, rate, took, plan.target_qps, bound_ms, not reasons, tuple(reasons)
    )  # fmt: skip


def _too_few(plan: _Plan, latency: LatencyResult) -> Sequence[str]:
    q = SCENARIOS[plan.scenario]
    if q is None or latency.n >= samples_needed(q):
        return ()
    return (f"its p{q} needs {samples_needed(q):,} queries, {latency.n:,} were answered",)


def _behind(latency: LatencyResult, run: Run) -> Sequence[str]:
    """Tell whether the service fell behind: answers left more slowly than queries came, and the last one waited."""
    came, left, times = run.last_due_ns / 1e9, run.seconds(), latency.samples_ns
    if not came or left <= 1.05 * came or times[-1] <= 10 * times.min():
        return ()
    return (
        f"the rate can't be reached: queries came at {latency.n / came:,.0f} a second and were answered at "
        f"{latency.n / left:,.0f}; the line grew to the end",
    )


def _over_the_bound(latency: LatencyResult, bound_ms: float | None) -> Sequence[str]:
    """Tell whether the p99 may be over the bound, at LoadGen's 99 % confidence."""
    if bound_ms is None:
        return ()
    high = percentile_interval(latency.samples_ns / 1e6, 99, confidence=0.98)[1]
    if high is not None and high <= bound_ms:
        return ()
    reach = "has no upper end" if high is None else f"may be as high as {time_words(high / 1e3)}"
    return (f"the p99 {reach}; the bound is {time_words(bound_ms / 1e3)}",)


__all__ = ["SCENARIOS", "ScenarioResult", "arrivals_ns", "run_scenario"]
