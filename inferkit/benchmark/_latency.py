"""How long one answer takes: raw samples first, percentiles only where the sample supports them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import ProgressLine
from ..devices import busy_watch, stamp
from ._percentiles import Percentile, SampleTooSmallError, percentile, percentile_interval, samples_needed
from ._timing import (
    Call,
    CallError,
    Clock,
    as_call,
    as_inputs,
    check_answer,
    garbage_collection,
    sample,
    seconds,
    timer_overhead_ns,
    whole_number,
)
from ._words import range_words, time_words

STATED = (50, 90, 99)
_BLOCK = 100  # calls between two looks at the progress line
Times = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, repr=False)
class LatencyResult:
    """Times of single calls, with the machine that they were measured on.

    Attributes
    ----------
    name : str
        What was measured.
    samples_ns : numpy.ndarray of int64, shape (n,)
        Every call's time in nanoseconds, in order. The timer's own time is in it.
    warmup_ns : numpy.ndarray of int64
        The calls before, which count for nothing else. The first is the cold one.
    batch_size : int
        Rows in a call.
    timer_ns : float
        What two readings of the clock take.
    wanted : int
        How many samples were asked for.
    stopped : {"n", "time", "interrupt"}
        Why it ended.
    busy : str or None
        What kept the machine busy meanwhile; None if nothing was seen.
    stamp : dict
        The machine, its software, the time; plain values.
    is_closed_loop : bool
        Whether each call began when the one before was done. If not, a time includes waiting.
    """

    name: str
    samples_ns: Times
    warmup_ns: Times
    batch_size: int = 1
    timer_ns: float = 0.0
    wanted: int = 0
    stopped: str = "n"
    busy: str | None = None
    stamp: dict[str, Any] = field(default_factory=dict)
    is_closed_loop: bool = True

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.samples_ns)

    def percentile(self, q: float, *, confidence: float = 0.95) -> Percentile:
        """Return a percentile in milliseconds with its interval, or refuse.

        Parameters
        ----------
        q : float
            In percent.
        confidence : float, default=0.95
            Of the interval. It assumes no distribution, but that calls do not depend on each other.

        Returns
        -------
        Percentile

        Raises
        ------
        SampleTooSmallError
            If there are fewer samples than `samples_needed` asks for.
        """
        return percentile(self.samples_ns / 1e6, q, confidence=confidence)

    def stated(self, q: float) -> Percentile | None:
        """Return a percentile in milliseconds, or None where the sample does not support it."""
        if not self.n:  # of a load none of whose queries was answered
            return None
        try:
            return self.percentile(q)
        except SampleTooSmallError:
            return None

    @property
    def p50_ms(self) -> float | None:
        """Median in milliseconds; None below 11 samples."""
        return _value(self.stated(50))

    @property
    def p90_ms(self) -> float | None:
        """90th percentile in milliseconds; None below 64 samples."""
        return _value(self.stated(90))

    @property
    def p99_ms(self) -> float | None:
        """99th percentile in milliseconds; None below 662 samples."""
        return _value(self.stated(99))

    @property
    def rows_per_s(self) -> float | None:
        """Rows a second where calls follow each other; None if they do not, or the clock saw no time pass."""
        total = int(self.samples_ns.sum()) if self.is_closed_loop else 0
        return self.batch_size * self.n / total * 1e9 if total else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the numbers should know."""
        return tuple(note for note in (self._ending(), self._resolution(), self._drift(), self.busy) if note)

    def _ending(self) -> str | None:
        if self.stopped == "n":
            return None
        why = "the time was up" if self.stopped == "time" else "it was interrupted"
        return f"{self.n:,} of {self.wanted:,} samples: {why}"

    def _resolution(self) -> str | None:
        if not self.n:
            return None
        if not self.samples_ns.all():
            return f"{int((self.samples_ns == 0).sum()):,} calls took no time that the clock could see"
        share = self.timer_ns / float(np.median(self.samples_ns))
        return f"the timer itself is {share:.0%} of the median".replace("%", " %") if share > 0.05 else None

    def _drift(self) -> str | None:
        """Tell whether the first half and the second half differ by more than chance and a tenth."""
        halves = np.array_split(self.samples_ns, 2)
        if not self.is_closed_loop or min(map(len, halves)) < samples_needed(50):
            return None
        (a_low, a_high), (b_low, b_high) = (percentile_interval(half, 50, confidence=0.999) for half in halves)
        if None in (a_low, a_high, b_low, b_high):
            return None
        a, b = map(float, map(np.median, halves))
        apart = b_low > a_high or a_low > b_high  # type: ignore[operator]  # none of them is None
        if not apart or max(a, b) < 1.1 * min(a, b):
            return None
        word = "slower" if b > a else "faster"
        return f"the second half is {max(a, b) / min(a, b) - 1:.0%} {word} than the first: not settled".replace(
            "%", " %"
        )

    def to_dict(self, *, samples: bool = False) -> dict[str, Any]:
        """Return the result as plain values that JSON can hold.

        Parameters
        ----------
        samples : bool, default=False
            Whether to include every sample.

        Returns
        -------
        dict
            Times in milliseconds; None where the sample does not support a percentile.
        """
        plain: dict[str, Any] = {"name": self.name, "n": self.n, "batch_size": self.batch_size}
        for q in STATED:
            found = self.stated(q)
            plain |= {
                f"p{q}_ms": _value(found),
                f"p{q}_low_ms": found and found.low,
                f"p{q}_high_ms": found and found.high,
            }
        plain |= {
            "rows_per_s": self.rows_per_s,
            "first_call_ms": self.first_call_ms,
            "timer_overhead_ns": self.timer_ns,
        }
        plain |= {"stopped": self.stopped, "busy": self.busy, "notes": list(self.notes), "stamp": self.stamp}
        if samples:
            plain |= {"samples_ns": self.samples_ns.tolist(), "warmup_ns": self.warmup_ns.tolist()}
        return plain

    @property
    def first_call_ms(self) -> float | None:
        """Time of the very first call in milliseconds; None if there was no warm-up."""
        return float(self.warmup_ns[0]) / 1e6 if len(self.warmup_ns) else None

    def _rows(self) -> list[tuple[str, str, str]]:
        """Return percentile, value and interval in words."""
        return [_in_words(q, self.stated(q)) for q in STATED]

    def _head(self) -> str:
        rows = "one row" if self.batch_size == 1 else f"{self.batch_size:,} rows"
        return f"{self.name}: {self.n:,} calls of {rows}"

    def __repr__(self) -> str:
        lines = [f"  {q:4} {value:>8}  {interval}" for q, value, interval in self._rows()]
        return "\n".join([self._head(), *lines, *(f"  {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        body = "".join(
            f"<tr><th scope='row'>{q}</th><td>{value}</td><td>{interval}</td></tr>"
            for q, value, interval in self._rows()
        )
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return (
            f"<table><caption>{escape(self._head())}</caption><thead><tr><th scope='col'></th><th scope='col'>time</th>"
            f"<th scope='col'>95 % interval</th></tr></thead><tbody>{body}</tbody></table>{notes}"
        )


def _value(found: Percentile | None) -> float | None:
    return None if found is None else found.value


def _in_words(q: float, found: Percentile | None) -> tuple[str, str, str]:
    if found is None:
        return f"p{q}", "–", f"needs {samples_needed(q):,} samples"
    ends = [None if end is None else end / 1e3 for end in (found.low, found.high)]
    return f"p{q}", time_words(found.value / 1e3), range_words(*ends)


def measure_latency(
    predictor: Any,
    X: Any,
    *,
    n: int = 1000,
    max_seconds: float = 10.0,
    warmup: int = 20,
    batch_size: int = 1,
    collect_garbage: bool = False,
    name: str | None = None,
    progress: bool = True,
    clock: Clock = perf_counter_ns,
) -> LatencyResult:
    """Time single calls, one after another, and keep every time.

    Parameters
    ----------
    predictor : Predictor or callable
        Of a predictor, `predict_one` is timed (`predict` if `batch_size` is above 1). Anything else
        is called with batches: ``measure_latency(model.predict, X)``.
    X : array, list or data frame
        Rows. Up to 256 different inputs take turns.
    n : int, default=1000
        How many calls to keep. A p99 needs 662.
    max_seconds : float, default=10
        No call is begun after so many seconds; nor is the warm-up longer than this.
    warmup : int, default=20
        Calls before, kept apart. The first of them, at least, is always made: it shows that an answer comes.
    batch_size : int, default=1
        Rows in a call.
    collect_garbage : bool, default=False
        Let Python collect garbage between the calls. As a rule that is not what is to be measured.
    name : str, optional
        For tables and figures.
    progress : bool, default=True
        Show a line from the third second on.
    clock : callable, optional
        Returns nanoseconds; it must never go backwards.

    Returns
    -------
    LatencyResult
        Interrupting (Ctrl-C, or the stop button) ends the measurement and keeps what there is.

    Raises
    ------
    InputError
        If there are no rows, fewer rows than `batch_size`, or the model returns nothing.
    CallError
        If a call raises; its ``partial`` is the result of the calls before.
    ClockError
        If the clock goes backwards.

    Examples
    --------
    >>> from inferkit.datasets import load_digits
    >>> from inferkit.predictor import digit_reader
    >>> result = measure_latency(digit_reader(), load_digits().images, n=700)
    >>> result.n, result.p50_ms < result.p99_ms
    (700, True)
    """
    for label, value, least in (("n", n, 1), ("warmup", warmup, 0)):
        whole_number(label, value, least)
    limit_ns = seconds("max_seconds", max_seconds) * 1e9
    call, inputs = as_call(predictor, batch_size), as_inputs(predictor, X, batch_size)
    label = name or name_of(predictor)
    warm: list[int] = []
    times: list[int] = []
    with busy_watch() as watch, garbage_collection(collect=collect_garbage), ProgressLine(progress, after_s=2) as line:
        warm_up(call, inputs, warmup, label, clock=clock, samples=warm, limit_ns=limit_ns)
        overhead = timer_overhead_ns(clock)

        def result(stopped: str) -> LatencyResult:
            arrays = (np.array(times, np.int64), np.array(warm, np.int64))
            return LatencyResult(label, *arrays, batch_size, overhead, n, stopped, watch.words, stamp())

        stopped = _keep_sampling(call, inputs, n, clock, times, limit_ns, line, result)
    return result(stopped)


def warm_up(
    call: Call, inputs: Sequence[Any], n: int, name: str, *, clock: Clock, samples: list[int], limit_ns: float
) -> None:
    """Make the first calls, timed and kept apart; raise if the very first gives nothing."""
    begin = clock()
    check_answer(call, inputs[0], name)
    if n:
        samples.append(clock() - begin)
        sample(call, inputs, n - 1, clock=clock, samples=samples, deadline=begin + limit_ns)


def _keep_sampling(
    call: Call, inputs: Sequence[Any], n: int, clock: Clock, times: list[int], limit_ns: float, line: ProgressLine,
    result: Any,
) -> str:  # fmt: skip
    """Take blocks of samples until there are enough, the time is up, or somebody interrupts; return which."""
    deadline = clock() + limit_ns
    try:
        while len(times) < n:
            before = len(times)
            sample(call, inputs, min(_BLOCK, n - before), clock=clock, samples=times, deadline=deadline)
            if len(times) < n and clock() >= deadline:
                return "time"
            line.show(f"{len(times):,} of {n:,} calls")
    except KeyboardInterrupt:
        if not times:
            raise
        return "interrupt"
    except CallError as error:
        if times:
            error.partial = result("error")
        raise
    return "n"


def name_of(predictor: Any) -> str:
    """Return what a predictor or a function is called.

    Examples
    --------
    >>> name_of(len), name_of("abc".upper)
    ('len', 'str.upper')
    """
    own = getattr(predictor, "name", None)
    if isinstance(own, str) and own:
        return own
    return str(getattr(predictor, "__qualname__", type(predictor).__name__))


def as_interval(result: LatencyResult, q: float) -> tuple[float | None, float | None, float | None]:
    """Return a percentile in milliseconds with both ends of its interval; three Nones where it is not supported."""
    found = result.stated(q)
    return (None, None, None) if found is None else (found.value, found.low, found.high)
