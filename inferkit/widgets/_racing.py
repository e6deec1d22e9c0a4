"""Time several runtimes in turns, in random order, until somebody says stop. No widget is needed for it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from threading import main_thread
from typing import Any

import numpy as np

from inferkit._base import InputError
from inferkit.benchmark import LatencyResult
from inferkit.benchmark._latency import warm_up
from inferkit.benchmark._timing import Call, Clock, as_call, as_inputs, garbage_collection, sample, timer_overhead_ns
from inferkit.devices import busy_watch, stamp

from ._answers import in_words

TURN_NS = 10_000_000  # a turn lasts about so long, or one call
MOST_CALLS = 100  # in a turn
SETTLE = 3  # calls at the start of a turn that bring a model back into the caches; not counted
WARM_UP, WARM_UP_NS = 20, 500_000_000
OWN_CORES = 0.2  # from so much of a core on, a cell that runs meanwhile is said


@dataclass
class Runtime:
    """One that takes part: how it is called, and its times so far.

    Attributes
    ----------
    name : str
    call : callable
        A function of one input.
    inputs : list
        They take turns.
    warm, times : list of int
        Nanoseconds of the calls before, and of those that count.
    error : str or None
        Why it is out.
    """

    name: str
    call: Call
    inputs: list[Any]
    warm: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    error: str | None = None

    def calls_in_a_turn(self) -> int:
        """Return how many calls fill a turn, going by the warm-up without its first."""
        typical = median(self.warm[1:] or self.warm)
        return int(min(MOST_CALLS, max(1, TURN_NS // max(1, typical))))


@dataclass(frozen=True)
class Race:
    """What a race has measured so far.

    Attributes
    ----------
    runtimes : tuple of Runtime
    batch_size : int
    timer_ns : float
        What two readings of the clock take.
    share : float
        How much of the time is up, in 0..1.
    busy : str or None
        What kept the machine busy meanwhile.
    stamp : dict
        Machine and software; empty until the race has ended.
    """

    runtimes: tuple[Runtime, ...]
    batch_size: int = 1
    timer_ns: float = 0.0
    share: float = 0.0
    busy: str | None = None
    stamp: dict[str, Any] = field(default_factory=dict)

    @property
    def results(self) -> dict[str, LatencyResult]:
        """The times of each runtime that has any, by name."""
        return {runtime.name: self._result(runtime) for runtime in self.runtimes if runtime.times}

    def _result(self, runtime: Runtime) -> LatencyResult:
        times, warm = np.array(runtime.times, np.int64), np.array(runtime.warm, np.int64)
        return LatencyResult(
            runtime.name, times, warm, self.batch_size, self.timer_ns,
            wanted=len(times), busy=self.busy, stamp=self.stamp,
        )  # fmt: skip


def line_up(models: Any, X: Any, batch_size: int) -> tuple[Runtime, ...]:
    """Return the runtimes of a race, checked.

    Parameters
    ----------
    models : mapping of str to Predictor or callable
        Of a predictor, `predict_one` is timed (`predict` if `batch_size` is above 1).
    X : array, list or data frame
        Rows.
    batch_size : int
        Rows in a call.

    Returns
    -------
    tuple of Runtime

    Raises
    ------
    InputError
        If there is no model, a name is no text, one cannot be called, or there are too few rows.

    Examples
    --------
    >>> [runtime.name for runtime in line_up({"sum": np.sum}, np.ones((4, 2)), 1)]
    ['sum']
    """
    if not isinstance(models, Mapping) or not models:
        raise InputError(f"RuntimeRace: expected a dict of one or more models by name, got {models!r:.80}")
    for name in models:
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"RuntimeRace: expected a name (a text) for each model, got {name!r}")
    return tuple(Runtime(n, as_call(model, batch_size), as_inputs(model, X, batch_size)) for n, model in models.items())


def run(
    race: Race,
    *,
    seconds: float,
    rng: np.random.Generator,
    clock: Clock,
    is_stopped: Callable[[], bool],
    tell: Callable[[Race], None],
) -> Race:
    """Warm up, then give each runtime one turn a round, in random order, until the time is up or it is stopped.

    Parameters
    ----------
    race : Race
        At its start. Its runtimes collect the times; one that raises is out.
    seconds : float
        No round is begun after so many, the warm-up not counted.
    rng : numpy.random.Generator
        For the order in each round.
    clock : callable
        Returns nanoseconds.
    is_stopped : callable
        Asked before each turn.
    tell : callable
        Is given the race after each round.

    Returns
    -------
    Race
        At its end.
    """
    cells = CellWatch()
    with busy_watch() as others, garbage_collection(collect=False):
        race = replace(race, timer_ns=timer_overhead_ns(clock))
        for runtime in race.runtimes:
            if not is_stopped():
                _try(runtime, lambda one: _warm_up(one, clock))
        begin, now = clock(), 0.0
        while now < seconds and not is_stopped() and _racing(race):
            for i in rng.permutation(len(race.runtimes)):
                runtime = race.runtimes[i]
                if not is_stopped() and runtime.error is None:
                    _try(runtime, lambda one: _turn(one, clock))
            now = (clock() - begin) / 1e9
            race = replace(race, share=min(1.0, now / seconds))
            tell(race)
    told = [words for words in (others.words, cells.words()) if words]
    return replace(race, busy="; ".join(told) or None, stamp=stamp())


def _racing(race: Race) -> bool:
    return any(runtime.error is None for runtime in race.runtimes)


def _try(runtime: Runtime, step: Callable[[Runtime], None]) -> None:
    try:
        step(runtime)
    except (Exception, SystemExit) as error:  # the others go on, and the reader sees why this one does not
        runtime.error = in_words(error)


def _warm_up(runtime: Runtime, clock: Clock) -> None:
    warm_up(runtime.call, runtime.inputs, WARM_UP, runtime.name, clock=clock, samples=runtime.warm, limit_ns=WARM_UP_NS)


def _turn(runtime: Runtime, clock: Clock) -> None:
    """Call a runtime uncounted until it has settled, then for its turn. A slow one settles in one call."""
    calls = runtime.calls_in_a_turn()
    settle = SETTLE if calls >= SETTLE else 1
    times: list[int] = []
    try:
        sample(runtime.call, runtime.inputs, settle + calls, clock=clock, samples=times, deadline=float("inf"))
    finally:
        runtime.times += times[settle:]


class CellWatch:
    """Whether the thread that runs a notebook's cells was at work since this was made.

    It shares Python's lock with a race on another thread, and `busy_watch` looks at other processes
    only. Where the system has no clock for single threads, nothing is known.

    Examples
    --------
    >>> watch = CellWatch()
    >>> _ = sum(range(3_000_000))
    >>> watch.words() is None or "of a core" in watch.words()
    True
    """

    def __init__(self) -> None:
        self._start = self._read()

    def words(self) -> str | None:
        """Say how much it was at work; None if it was not, or nothing is known."""
        end = self._read()
        if self._start is None or end is None:
            return None
        wall, used = end[0] - self._start[0], end[1] - self._start[1]
        if wall <= 0 or used / wall < OWN_CORES:
            return None
        return f"a cell of this notebook used {used / wall:.1f} of a core meanwhile"

    @staticmethod
    def _read() -> tuple[float, float] | None:
        ident = main_thread().ident
        if ident is None or not hasattr(time, "pthread_getcpuclockid"):
            return None
        return time.monotonic(), time.clock_gettime(time.pthread_getcpuclockid(ident))
