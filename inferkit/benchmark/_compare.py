"""Several models side by side: in turns and in random order, so that a noisy machine is fair to all of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError, ProgressLine, generator, wilson
from ..devices import busy_watch, stamp
from ..models import LiteRTModel
from ..predictor import Predictor
from ._energy import EnergyResult, measure_energy
from ._entry import Entry
from ._latency import LatencyResult, as_interval, warm_up
from ._ledger import Ledger
from ._memory import measure_memory
from ._timing import (
    Call,
    CallError,
    Clock,
    as_call,
    as_inputs,
    garbage_collection,
    sample,
    seconds,
    timer_overhead_ns,
    whole_number,
)
from ._words import digits

_SETTLE = 3  # calls at the start of a turn that bring a model back into the caches; not counted


@dataclass(frozen=True)
class Ratio:
    """How many times as long one model takes as another: the median of the rounds' ratios.

    Attributes
    ----------
    name, baseline : str
        The two models.
    value : float
        Median over the rounds of (median time of `name`) / (median time of `baseline`).
    low, high : float
        The middle 80 % of the rounds.
    rounds : int
        How many rounds.
    """

    name: str
    baseline: str
    value: float
    low: float
    high: float
    rounds: int

    def __str__(self) -> str:
        value, low, high = map(digits, (self.value, self.low, self.high))
        return f"{self.name} / {self.baseline}: {value} × ({low} to {high})"


class Comparison(Ledger):
    """The ledger of one comparison, with what was measured in each round.

    Attributes
    ----------
    latencies : dict of str to LatencyResult
        Every sample of every model.
    rounds : dict of str to numpy.ndarray of float64
        The median time of each round in milliseconds; the i-th of one model belongs to the i-th of another.
    energies : dict of str to EnergyResult
        What was counted of each model's energy, or why nothing was; empty if it was not asked for.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        latencies: Mapping[str, LatencyResult],
        rounds: Mapping[str, Any],
        energies: Mapping[str, EnergyResult] | None = None,
    ):
        super().__init__(entries)
        self.energies = dict(energies or {})
        self.latencies = dict(latencies)
        self.rounds: dict[str, npt.NDArray[np.float64]] = dict(rounds)

    def ratio(self, name: str, baseline: str) -> Ratio:
        """Return how many times as long `name` takes as `baseline`, round by round.

        Parameters
        ----------
        name, baseline : str
            Two of the models compared.

        Returns
        -------
        Ratio

        Raises
        ------
        InputError
            If one of them was not compared, or the clock saw no time pass.
        """
        for label in (name, baseline):
            if label not in self.rounds:
                raise InputError(f"expected one of {', '.join(map(repr, self.rounds))}, got {label!r}")
        if not self.rounds[baseline].all():
            raise InputError(f"{baseline} took no time that the clock could see; there is no ratio to nothing")
        ratios = self.rounds[name] / self.rounds[baseline]
        low, value, high = np.percentile(ratios, [10, 50, 90])
        return Ratio(name, baseline, float(value), float(low), float(high), len(ratios))


@dataclass
class _Variant:
    """One model in a comparison: how it is called, and its times so far."""

    name: str
    predictor: Any
    call: Call
    inputs: list[Any]
    warm: list[int]
    times: list[list[int]]


def compare(
    variants: Mapping[str, Any],
    X: Any,
    y: Any = None,
    *,
    n: int = 1000,
    rounds: int = 20,
    batch_size: int = 1,
    max_seconds: float = 60.0,
    metric: Callable[[Any, Any], Any] | None = None,
    memory: bool = False,
    energy: bool = False,
    ledger: Ledger | None = None,
    warmup: int = 20,
    random_state: int | np.random.Generator | None = 0,
    progress: bool = True,
    clock: Clock = perf_counter_ns,
) -> Comparison:
    """Measure accuracy, latency, size and memory of several models in one run.

    Each round gives every model one turn, in random order. In a turn a model is called `n` /
    `rounds` times after three calls that are not counted. So what slows the machine for a while
    slows all of them, and ratios hold where times do not.

    Parameters
    ----------
    variants : dict of str to Predictor or callable
        Models by name; callables take batches, and give labels where `y` is given. Of a bare `LiteRTModel` the
        largest output counts, and `y` is its number.
    X : array, list or data frame
        Rows to ask about.
    y : array-like, shape (n_rows,), optional
        The truth; without it there is no accuracy.
    n : int, default=1000
        Timed calls of each model. A p99 needs 662.
    rounds : int, default=20
        In how many rounds they are made.
    batch_size : int, default=1
        Rows in a call.
    max_seconds : float, default=60
        No round is begun after so many seconds of timing.
    metric : callable, optional
        ``metric(y, predictions)``, a share from 0 to 1; of several outputs it gets the dict. By default
        the share of right answers, with its interval (Wilson 1927, 95 %).
    memory : bool, default=False
        Also measure peak memory, in two processes for each model. Only for models that can be saved.
    energy : bool, default=False
        Also count joules a row, after the timing, as `measure_energy` does by default: some four seconds a model. Where
        this machine has no counter there are none; ``.energies`` of what comes back says why.
    ledger : Ledger, optional
        Where the rows are added as well, such as ``Ledger.open()``.
    warmup : int, default=20
        Calls of each model before the first round.
    random_state : int, numpy.random.Generator or None, default=0
        For the order in each round.
    progress : bool, default=True
        Show a line from the third second on.
    clock : callable, optional
        Returns nanoseconds; it must never go backwards.

    Returns
    -------
    Comparison
        A ledger with a row for each model, every sample, and ratios. Interrupting ends it and keeps the whole rounds.

    Raises
    ------
    InputError
        If there is no variant, or X and y do not fit each other.
    CallError
        If a call raises.

    Examples
    --------
    >>> from inferkit.datasets import split_digits
    >>> from inferkit.predictor import digit_reader
    >>> _, X, _, y = split_digits()
    >>> names = ["digits-cnn", "digits-mlp"]
    >>> found = compare({name: digit_reader(name) for name in names}, X, y, n=100)
    >>> [entry.name for entry in found], found.ratio("digits-cnn", "digits-mlp").value > 1
    (['digits-cnn', 'digits-mlp'], True)
    """
    for label, value, least in (("n", n, 1), ("rounds", rounds, 1), ("warmup", warmup, 0)):
        whole_number(label, value, least)
    limit_ns, rng, rounds = seconds("max_seconds", max_seconds) * 1e9, generator(random_state), min(rounds, n)
    work = [_variant(name, model, X, batch_size) for name, model in _named(variants).items()]
    truth = None if y is None else _truth(X, y)
    with busy_watch() as watch, garbage_collection(collect=False), ProgressLine(progress, after_s=2) as line:
        for variant in work:
            warm_up(
                variant.call, variant.inputs, warmup, variant.name, clock=clock, samples=variant.warm, limit_ns=limit_ns
            )
        overhead = timer_overhead_ns(clock)
        turns = [len(part) for part in np.array_split(np.arange(n), rounds)]
        stopped = _take_turns(work, turns, rng, clock, limit_ns, line)
    latencies = {v.name: _result(v, batch_size, overhead, n, stopped, watch.words) for v in work}
    counted = {v.name: _energy(v, X, batch_size, progress=progress) for v in work} if energy else {}
    entries = [_entry(v, latencies[v.name], X, truth, metric, counted.get(v.name), memory=memory) for v in work]
    if ledger is not None:
        ledger.add(*entries)
    medians = {v.name: np.array([np.median(turn) for turn in v.times]) / 1e6 for v in work}
    return Comparison(entries, latencies, medians, counted)


def _named(variants: Any) -> dict[str, Any]:
    if not isinstance(variants, Mapping) or not variants:
        raise InputError(f"variants: expected a dict of one or more models by name, got {variants!r:.80}")
    for name in variants:
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"variants: expected a name (a text) for each model, got {name!r}")
    return dict(variants)


def _variant(name: str, model: Any, X: Any, batch_size: int) -> _Variant:
    return _Variant(name, model, as_call(model, batch_size), as_inputs(model, X, batch_size), [], [])


def _truth(X: Any, y: Any) -> npt.NDArray[Any]:
    truth = np.asarray(y)
    if truth.ndim != 1 or len(truth) != len(X):
        raise InputError(f"y: expected one value for each of the {len(X):,} rows of X, got shape {truth.shape}")
    return truth


def _take_turns(
    work: list[_Variant], turns: list[int], rng: np.random.Generator, clock: Clock, limit_ns: float, line: ProgressLine
) -> str:  # fmt: skip
    """Make the rounds; an unfinished one is dropped, unless it is the first and time is up."""
    deadline = clock() + limit_ns
    for number, size in enumerate(turns):
        taken: dict[str, list[int]] = {}
        try:
            for i in rng.permutation(len(work)):
                taken[work[i].name] = _turn(work[i], size, clock)
        except KeyboardInterrupt:
            if number == 0:
                raise
            return "interrupt"
        for variant in work:
            variant.times.append(taken[variant.name])
        line.show(f"round {number + 1} of {len(turns)}")
        if number + 1 < len(turns) and clock() >= deadline:
            return "time"
    return "n"


def _turn(variant: _Variant, size: int, clock: Clock) -> list[int]:
    """Call a model a few times uncounted, then `size` times; return those times. Inputs go on where they stopped."""
    times: list[int] = []
    start = (sum(map(len, variant.times)) - _SETTLE) % len(variant.inputs)
    inputs = variant.inputs[start:] + variant.inputs[:start]
    try:
        sample(variant.call, inputs, size + _SETTLE, clock=clock, samples=times, deadline=float("inf"))
    except CallError as error:
        raise CallError(f"{variant.name}: {error}") from error.__cause__
    return times[_SETTLE:]


def _result(
    variant: _Variant, batch_size: int, overhead: float, wanted: int, stopped: str, busy: str | None
) -> LatencyResult:  # fmt: skip
    times = np.concatenate([np.array(turn, np.int64) for turn in variant.times])
    warm = np.array(variant.warm, np.int64)
    return LatencyResult(variant.name, times, warm, batch_size, overhead, wanted, stopped, busy, stamp())


def _energy(variant: _Variant, X: Any, batch_size: int, *, progress: bool) -> EnergyResult:
    return measure_energy(variant.predictor, X, batch_size=batch_size, name=variant.name, progress=progress)


def _entry(
    variant: _Variant, latency: LatencyResult, X: Any, truth: Any, metric: Any, energy: EnergyResult | None, *,
    memory: bool,
) -> Entry:  # fmt: skip
    """Return the row of a ledger for one model."""
    p50, low, high = as_interval(latency, 50)
    model = getattr(getattr(variant.predictor, "backend", None), "model", variant.predictor)
    peak = measure_memory(variant.predictor, X[: latency.batch_size]).peak_mb if memory else None
    return Entry(
        variant.name,
        **_accuracy(variant, X, truth, metric),
        p50_ms=p50, p50_low=low, p50_high=high, p90_ms=latency.p90_ms, p99_ms=latency.p99_ms, n=latency.n,
        throughput=latency.rows_per_s, batch_size=latency.batch_size, peak_mb=peak,
        joules=None if energy is None else energy.joules_per_row,
        model_sha256=_plain(model, "sha256", str), size_bytes=_plain(model, "size_bytes", int),
        threads=_plain(model, "num_threads", int),
        machine=latency.stamp["machine"], machine_id=latency.stamp["machine_id"], stamp=latency.stamp,
    )  # fmt: skip


def _plain(model: Any, attribute: str, kind: type) -> Any:
    """Return what a model says of itself, if it says it."""
    value = getattr(model, attribute, None)
    return value if isinstance(value, kind) else None


def _accuracy(variant: _Variant, X: Any, truth: Any, metric: Any) -> dict[str, Any]:
    if truth is None:
        return {}
    predict = variant.predictor.predict if isinstance(variant.predictor, Predictor) else variant.predictor
    predictions = predict(X)
    predictions = predictions if isinstance(predictions, dict) else np.asarray(predictions)
    if metric is not None:
        return {"accuracy": float(metric(truth, predictions)), "n_test": len(truth)}
    if isinstance(predictions, dict):
        raise InputError(
            f"{variant.name} has several outputs, {', '.join(predictions)}; say what counts as right: "
            "metric=lambda y, outputs: ..."
        )
    if isinstance(variant.predictor, LiteRTModel) and predictions.ndim == 2 and truth.dtype.kind in "iu":
        predictions = predictions.argmax(axis=1)  # a bare file says nothing of labels: y counts its outputs
    if predictions.shape != truth.shape:
        raise InputError(
            f"{variant.name}: expected one answer a row, shape {truth.shape}, got {predictions.shape}; a function "
            "that gives probabilities becomes a Predictor with labels=[...]"
        )
    right = int((predictions == truth).sum())
    low, high = wilson_interval(right, len(truth))
    return {"accuracy": right / len(truth), "accuracy_low": low, "accuracy_high": high, "n_test": len(truth)}


def wilson_interval(right: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share.

    Parameters
    ----------
    right, n : int
        So many of so many; ``0 <= right <= n`` and ``n >= 1``.

    Returns
    -------
    low, high : float
        From 0 to 1.

    References
    ----------
    E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927.

    Examples
    --------
    >>> low, high = wilson_interval(374, 382)
    >>> round(low, 3), round(high, 3)
    (0.959, 0.989)
    """
    whole_number("n", n)
    if not 0 <= right <= n:
        raise InputError(f"right: expected from 0 to {n}, got {right}")
    low, high = wilson(right, n)
    return float(low), float(high)
