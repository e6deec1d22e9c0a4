"""Joules a row: work and rest in turns, between two readings of the machine's own counter; and what a row costs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from time import perf_counter_ns, sleep
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .._base import InputError, ProgressLine, require
from ..devices import EnergyCounter, busy_watch, energy_counter, stamp
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
    whole_number,
)
from ._timing import seconds as as_seconds
from ._words import digits, energy_words

_LEAST_S = 0.05  # the counters move once a millisecond: of a turn as long as this they miss 2 % at most
_CALLS_WITHOUT_TIME = 100_000  # the coarsest of today's clocks ticks within fewer


class Turn(NamedTuple):
    """What was counted in one round.

    Parameters
    ----------
    rows : int
        Rows answered.
    work_j, work_s : float
        Joules and seconds of the work.
    idle_j, idle_s : float
        Joules and seconds of the rest beside it.
    """

    rows: int
    work_j: float
    work_s: float
    idle_j: float
    idle_s: float

    @property
    def per_row(self) -> float:
        """Joules a row of everything that the packages used."""
        return self.work_j / self.rows

    @property
    def above_idle(self) -> float:
        """Joules a row beyond what resting for as long would have used."""
        return (self.work_j - self.idle_j / self.idle_s * self.work_s) / self.rows


@dataclass(frozen=True, eq=False, repr=False)
class EnergyResult:
    """Joules a row, or why there are none.

    Attributes
    ----------
    name : str
        What was measured.
    batch_size : int
        Rows in a call.
    turns : tuple of Turn
        What was counted in each round; empty where nothing could be.
    source : str
        What counted.
    reason : str or None
        Why there is no figure; None where there is one.
    busy : str or None
        What kept the machine busy meanwhile: its joules are in the figure too. None if nothing was seen.
    stopped : {"n", "interrupt"}
        Whether all rounds were made.
    stamp : dict
        The machine, its software, the time; plain values.
    """

    name: str
    batch_size: int
    turns: tuple[Turn, ...] = ()
    source: str = ""
    reason: str | None = None
    busy: str | None = None
    stopped: str = "n"
    stamp: dict[str, Any] = field(default_factory=dict)

    @property
    def joules_per_row(self) -> float | None:
        """Joules a row of all that the processor's packages used during the work: the median of the rounds."""
        return self._median("per_row")

    @property
    def joules_range(self) -> tuple[float, float] | None:
        """The least and the most of the rounds. From six rounds on, they enclose the true median with 95 %."""
        return self._range("per_row")

    @property
    def above_idle(self) -> float | None:
        """Joules a row beyond what the machine uses at rest: the median of the rounds' differences."""
        return self._median("above_idle")

    @property
    def above_idle_range(self) -> tuple[float, float] | None:
        """The least and the most of the rounds' differences; it may reach below 0 where others were at work."""
        return self._range("above_idle")

    @property
    def watts(self) -> tuple[float, float] | None:
        """Watts at work and at rest, medians of the rounds."""
        if self.reason is not None:
            return None
        at_work, at_rest = ([t.work_j / t.work_s for t in self.turns], [t.idle_j / t.idle_s for t in self.turns])
        return float(np.median(at_work)), float(np.median(at_rest))

    def _values(self, name: str) -> npt.NDArray[np.float64]:
        return np.array([getattr(turn, name) for turn in self.turns])

    def _median(self, name: str) -> float | None:
        return None if self.reason is not None else float(np.median(self._values(name)))

    def _range(self, name: str) -> tuple[float, float] | None:
        values = self._values(name)
        return None if self.reason is not None else (float(values.min()), float(values.max()))

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values that JSON can hold."""
        names = ("name", "batch_size", "source", "reason", "busy", "stopped", "stamp", "joules_per_row", "above_idle")
        return {name: getattr(self, name) for name in names} | {"turns": [turn._asdict() for turn in self.turns]}

    def to_frame(self) -> Any:
        """Return what was counted in each round as a pandas DataFrame (extra ``pandas``)."""
        columns = [*Turn._fields, "per_row", "above_idle"]
        rows = [[getattr(turn, name) for name in columns] for turn in self.turns]
        return require("pandas", extra="pandas").DataFrame(rows, columns=columns)

    def _lines(self) -> list[str]:
        """Return what is to be said, line by line."""
        if self.reason is not None:
            return [f"{self.name}: energy was not measured; {self.reason}"]
        at_work, at_rest = self.watts or (0.0, 0.0)
        lines = [
            f"{self.name}: {_spread(self.joules_per_row, self.joules_range)} a row",
            f"above rest: {_spread(self.above_idle, self.above_idle_range)} a row",
            f"{digits(at_work)} W at work, {digits(at_rest)} W at rest; median of {len(self.turns)} rounds, "
            f"least to most; {self.source}, all programs together",
        ]
        return lines + ([self.busy] if self.busy else [])

    def __repr__(self) -> str:
        return "\n  ".join(self._lines())

    def _repr_html_(self) -> str:
        return "".join(f"<p>{escape(line)}</p>" for line in self._lines())


def _spread(value: float | None, ends: tuple[float, float] | None) -> str:
    low, high = ends or (0.0, 0.0)
    return f"{energy_words(value or 0.0)} ({energy_words(low)} to {energy_words(high)})"


def measure_energy(
    predictor: Any,
    X: Any,
    *,
    seconds: float = 2.0,
    batch_size: int = 1,
    rounds: int = 6,
    name: str | None = None,
    counter: EnergyCounter | None = None,
    progress: bool = True,
    clock: Clock = perf_counter_ns,
    sleep: Callable[[float], object] = sleep,
) -> EnergyResult:
    """Count the joules that an answer takes, with the counter of the machine's processors.

    Each round works for a while and rests for as long, in turns first the one and first the other, and reads the
    counter before and after. Nothing is estimated: where there is no counter, there is no figure.

    Parameters
    ----------
    predictor : Predictor or callable
        Of a predictor, `predict` is called (`predict_one` for single rows); anything else is called with batches.
    X : array, list or data frame
        Rows. Up to 256 different inputs take turns.
    seconds : float, default=2
        Of work, in all rounds together; resting takes as long again.
    batch_size : int, default=1
        Rows in a call.
    rounds : int, default=6
        How many. Each works for 0.05 s at least: the counter moves once a millisecond.
    name : str, optional
        For tables and figures.
    counter : EnergyCounter, optional
        This machine's own, if it is not given.
    progress : bool, default=True
        Show a line from the third second on.
    clock, sleep : callable, optional
        A clock in nanoseconds that never goes backwards, and what rests for so many seconds.

    Returns
    -------
    EnergyResult
        Its ``joules_per_row`` is None, and ``reason`` says why, where nothing counts, or what counts stands still.
        Interrupting ends the measurement and keeps the whole rounds, if there is one.

    Raises
    ------
    InputError
        If there are no rows, the rounds would be too short, or the model returns nothing.
    CallError
        If a call raises.
    ClockError
        If the clock stands still.

    References
    ----------
    K. N. Khan et al., "RAPL in Action: Experiences in Using RAPL for Power Measurements", ACM TOMPECS 3(2), 2018.

    Examples
    --------
    >>> from inferkit.datasets import load_digits
    >>> from inferkit.predictor import digit_reader
    >>> result = measure_energy(digit_reader(), load_digits().images, seconds=0.3)
    >>> (result.joules_per_row is None) == (result.reason is not None)
    True
    """
    whole_number("rounds", rounds)
    turn_s = as_seconds("seconds", seconds) / rounds
    if turn_s < _LEAST_S * (1 - 1e-9):
        raise InputError(
            f"seconds: expected {_LEAST_S} or more for each of {rounds} rounds, {_LEAST_S * rounds:.3g} in all, "
            f"got {seconds}; the counter moves once a millisecond"
        )
    call, inputs = as_call(predictor, batch_size), as_inputs(predictor, X, batch_size)
    label, counter = name or name_of(predictor), counter or energy_counter()
    if not counter.available:
        return EnergyResult(label, batch_size, reason=counter.reason, stamp=stamp())
    machine = _Machine(counter, clock, sleep, call, inputs, batch_size)
    turns: list[Turn] = []
    with busy_watch() as watch, garbage_collection(collect=False), ProgressLine(progress, after_s=2) as line:
        check_answer(call, inputs[0], label)
        stopped, reason = _take_turns(machine, turn_s, rounds, turns, line)
    counted = (tuple(turns) if reason is None else (), counter.source, reason)
    return EnergyResult(label, batch_size, *counted, watch.words, stopped, stamp())


@dataclass(frozen=True)
class _Machine:
    """What works and rests, and what counts meanwhile."""

    counter: EnergyCounter
    clock: Clock
    sleep: Callable[[float], object]
    call: Call
    inputs: Sequence[Any]
    batch_size: int

    def work(self, seconds: float) -> int:
        """Call for so long, once at least; return how many rows were answered."""
        calls, count, turn_ns = 0, len(self.inputs), seconds * 1e9
        start = now = self.clock()
        while calls == 0 or now - start < turn_ns:
            try:
                self.call(self.inputs[calls % count])
            except Exception as error:
                raise CallError(f"call {calls + 1:,} raised {type(error).__name__}: {error}") from error
            calls, now = calls + 1, self.clock()
            if calls >= _CALLS_WITHOUT_TIME and now <= start:
                raise ClockError(f"the clock saw no time pass in {calls:,} calls; use one that runs")
        return calls * self.batch_size

    def rest(self, seconds: float) -> int:
        """Do nothing for so long."""
        self.sleep(seconds)
        return 0

    def count(self, do: Callable[[float], int], seconds: float) -> tuple[int, float, float]:
        """Return the rows, joules and seconds of what is done."""
        start, begin = self.counter.read(), self.clock()
        rows = do(seconds)
        end, reading = self.clock(), self.counter.read()
        if end <= begin:
            raise ClockError("the clock saw no time pass while the machine rested; use one that runs")
        return rows, self.counter.joules(start, reading), (end - begin) / 1e9

    def turn(self, seconds: float, *, rest_first: bool) -> Turn:
        """Work and rest, in either order."""
        if rest_first:
            _, idle_j, idle_s = self.count(self.rest, seconds)
        rows, work_j, work_s = self.count(self.work, seconds)
        if not rest_first:
            _, idle_j, idle_s = self.count(self.rest, work_s)
        return Turn(rows, work_j, work_s, idle_j, idle_s)


def _take_turns(
    machine: _Machine, turn_s: float, rounds: int, turns: list[Turn], line: ProgressLine
) -> tuple[str, str | None]:
    """Make the rounds; return what ended them, and why their figures cannot be used, if so."""
    try:
        machine.work(turn_s / 4)  # what rested before has to wake up
        for number in range(rounds):
            turns.append(machine.turn(turn_s, rest_first=number % 2 == 1))
            if turns[-1].work_j <= 0:
                seconds = turns[-1].work_s
                return "n", f"the counter ({machine.counter.source}) stood still through {seconds:.2g} s of work"
            line.show(f"round {number + 1} of {rounds}")
    except (OSError, ValueError) as error:
        return "n", f"the counter ({machine.counter.source}) could not be read any more: {' '.join(str(error).split())}"
    except KeyboardInterrupt:
        if not turns:
            raise
        return "interrupt", None
    return "n", None


def price_per_million(rows_per_s: float, rate_per_hour: float, *, utilisation: float = 1.0) -> float:
    """Return what a million answers cost on a machine that is paid by the hour.

    Parameters
    ----------
    rows_per_s : float
        Rows a second, as `measure_throughput` has them; above 0.
    rate_per_hour : float
        What the machine costs an hour, in the currency of your choice; 0 or more.
    utilisation : float, default=1
        The share of its time in which there is something to answer, above 0 to 1: an idle machine costs as much.

    Returns
    -------
    float
        In the same currency: ``1e6 / (rows_per_s * utilisation) / 3600 * rate_per_hour``.

    Raises
    ------
    InputError
        If a number is not in its range.

    Examples
    --------
    >>> price_per_million(1e6 / 3600, 2.0)  # a million an hour
    2.0
    >>> price_per_million(1e6 / 3600, 2.0, utilisation=0.25)
    8.0
    """
    rows_per_s = _real("rows_per_s", rows_per_s, "a number above 0", lambda value: value > 0)
    rate = _real("rate_per_hour", rate_per_hour, "a number of 0 or more", lambda value: value >= 0)
    busy = _real("utilisation", utilisation, "a share above 0, up to 1", lambda value: 0 < value <= 1)
    return 1e6 / (rows_per_s * busy) / 3600 * rate


def _real(name: str, value: Any, wanted: str, is_fine: Callable[[float], bool]) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise InputError(f"{name}: expected {wanted}, got {value!r:.60}")
    if not math.isfinite(value) or not is_fine(float(value)):
        raise InputError(f"{name}: expected {wanted}, got {value!r}")
    return float(value)
