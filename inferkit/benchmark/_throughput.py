"""How many rows a second: whole batches, timed in turns so that a noisy machine is fair to every size."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError, ProgressLine, generator, require
from ..devices import busy_watch, stamp
from ._latency import name_of
from ._timing import (
    Call,
    CallError,
    Clock,
    ClockError,
    as_call,
    as_inputs,
    check_answer,
    garbage_collection,
    seconds,
    whole_number,
)

_CALLS_WITHOUT_TIME = 100_000  # the coarsest of today's clocks ticks within fewer


@dataclass(frozen=True, eq=False, repr=False)
class ThroughputResult:
    """Rows a second for each batch size.

    Attributes
    ----------
    name : str
        What was measured.
    rates : dict of int to numpy.ndarray of float64, shape (rounds,)
        Batch size to rows a second, one value for each round.
    busy : str or None
        What kept the machine busy meanwhile; None if nothing was seen.
    stopped : {"n", "interrupt"}
        Whether all rounds were made.
    stamp : dict
        The machine, its software, the time; plain values.
    """

    name: str
    rates: dict[int, npt.NDArray[np.float64]]
    busy: str | None = None
    stopped: str = "n"
    stamp: dict[str, Any] = field(default_factory=dict)

    def rows_per_s(self, batch_size: int) -> float:
        """Return the median rate of a batch size."""
        if batch_size not in self.rates:
            raise InputError(f"batch_size: expected one that was measured ({list(self.rates)}), got {batch_size!r}")
        return float(np.median(self.rates[batch_size]))

    @property
    def best(self) -> int:
        """The batch size with the highest median rate."""
        return max(self.rates, key=self.rows_per_s)

    def _table(self) -> list[tuple[int, float, float, float]]:
        """Return batch size, median rate, and the slowest and fastest round."""
        return [(size, float(np.median(r)), float(r.min()), float(r.max())) for size, r in self.rates.items()]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values that JSON can hold."""
        plain = {"name": self.name, "busy": self.busy, "stopped": self.stopped, "stamp": self.stamp}
        return plain | {"rows_per_s": {str(size): rates.tolist() for size, rates in self.rates.items()}}

    def to_frame(self) -> Any:
        """Return batch size, median, slowest and fastest round as a pandas DataFrame (extra ``pandas``)."""
        columns = ["batch_size", "rows_per_s", "slowest", "fastest"]
        return require("pandas", extra="pandas").DataFrame(self._table(), columns=columns)

    def __repr__(self) -> str:
        rounds = len(next(iter(self.rates.values())))
        lines = [f"  {size:>7,}  {rate:>13,.0f}  {low:,.0f} to {high:,.0f}" for size, rate, low, high in self._table()]
        head = [f"{self.name}: rows a second, median of {rounds} rounds, slowest to fastest"]
        return "\n".join(head + lines + ([f"  {self.busy}"] if self.busy else []))

    def _repr_html_(self) -> str:
        body = "".join(
            f"<tr><th scope='row'>{size:,}</th><td>{rate:,.0f}</td><td>{low:,.0f} to {high:,.0f}</td></tr>"
            for size, rate, low, high in self._table()
        )
        heads = "".join(f"<th scope='col'>{h}</th>" for h in ("rows in a batch", "rows a second", "slowest to fastest"))
        busy = f"<p>{escape(self.busy)}</p>" if self.busy else ""
        return (
            f"<table><caption>{escape(self.name)}</caption><thead><tr>{heads}</tr></thead>"
            f"<tbody>{body}</tbody></table>{busy}"
        )


def measure_throughput(
    predictor: Any,
    X: Any,
    *,
    batch_sizes: Sequence[int] = (1, 8, 64, 256),
    rounds: int = 7,
    max_seconds: float = 4.0,
    name: str | None = None,
    random_state: int | np.random.Generator | None = 0,
    progress: bool = True,
    clock: Clock = perf_counter_ns,
) -> ThroughputResult:
    """Measure rows a second for several batch sizes, in turns.

    In each round every batch size has its turn, in random order; a turn lasts the same time for
    all. So a machine that is slow for a while is slow for all of them.

    Parameters
    ----------
    predictor : Predictor or callable
        Of a predictor, `predict` is timed (`predict_one` for single rows); anything else is called with batches.
    X : array, list or data frame
        Rows, at least as many as the largest batch.
    batch_sizes : sequence of int, default=(1, 8, 64, 256)
        Each once.
    rounds : int, default=7
        How many turns each batch size has. From 6 on, slowest and fastest enclose the true median with 95 % confidence.
    max_seconds : float, default=4
        For all turns together; each makes at least one call.
    name : str, optional
        For tables and figures.
    random_state : int, numpy.random.Generator or None, default=0
        For the order of the turns.
    progress : bool, default=True
        Show a line from the third second on.
    clock : callable, optional
        Returns nanoseconds; it must never go backwards.

    Returns
    -------
    ThroughputResult
        Interrupting ends the measurement and keeps the whole rounds, if there is one.

    Raises
    ------
    InputError
        If a batch size is above the number of rows or occurs twice, or the model returns nothing.
    CallError
        If a call raises.
    ClockError
        If the clock stands still.

    Examples
    --------
    >>> from inferkit.datasets import load_digits
    >>> from inferkit.predictor import digit_reader
    >>> result = measure_throughput(digit_reader(), load_digits().images, batch_sizes=(1, 64), max_seconds=0.2)
    >>> result.best, len(result.rates[1])
    (64, 7)
    """
    sizes = list(batch_sizes)
    whole_number("rounds", rounds)
    if not sizes or len(set(sizes)) != len(sizes):
        raise InputError(f"batch_sizes: expected one or more, each once, got {sizes}")
    turn_ns = seconds("max_seconds", max_seconds) * 1e9 / rounds / len(sizes)
    work = {size: (as_call(predictor, size), as_inputs(predictor, X, size)) for size in sizes}
    label, rng = name or name_of(predictor), generator(random_state)
    done: list[dict[int, float]] = []
    stopped = "n"
    with busy_watch() as watch, garbage_collection(collect=False), ProgressLine(progress, after_s=2) as line:
        for call, inputs in work.values():
            check_answer(call, inputs[0], label)
        try:
            for number in range(rounds):
                order = [sizes[i] for i in rng.permutation(len(sizes))]
                done.append({size: size * _calls_per_s(*work[size], turn_ns, clock) for size in order})
                line.show(f"round {number + 1} of {rounds}")
        except KeyboardInterrupt:
            if not done:
                raise
            stopped = "interrupt"
    rates = {size: np.array([turn[size] for turn in done]) for size in sizes}
    return ThroughputResult(label, rates, watch.words, stopped, stamp())


def _calls_per_s(call: Call, inputs: Sequence[Any], turn_ns: float, clock: Clock) -> float:
    """Call for the length of a turn, once at least; return calls a second."""
    calls, count = 0, len(inputs)
    start = now = clock()
    while calls == 0 or now - start < turn_ns:
        try:
            call(inputs[calls % count])
        except Exception as error:
            raise CallError(f"call {calls + 1:,} raised {type(error).__name__}: {error}") from error
        calls, now = calls + 1, clock()
        if calls >= _CALLS_WITHOUT_TIME and now <= start:
            raise ClockError(f"the clock saw no time pass in {calls:,} calls; use one that runs, and never backwards")
    return calls / (now - start) * 1e9
