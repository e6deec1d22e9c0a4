"""How much faster more threads are, measured in turns, and what Amdahl's law makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._base import InputError, ProgressLine, generator, require
from ..benchmark import percentile_interval
from ..benchmark._timing import garbage_collection, whole_number
from ..benchmark._words import time_words
from ..devices import describe
from ..models import LiteRTModel
from ._units import as_litert, whole_call

if TYPE_CHECKING:
    import matplotlib.axes
    import pandas

Clock = Callable[[], int]
_MOST = 256
_TURN_NS = 4e6  # a turn lasts some milliseconds, so that a switch of threads by the system is a small part of it


class Speedup(NamedTuple):
    """How many times as fast as one thread: median over the rounds, and the middle 80 % of them."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ThreadSweep:
    """One computation on 1, 2, 4, ... threads.

    Attributes
    ----------
    name : str
    threads : tuple of int
        The first one is what the others are compared with.
    rounds_ms : dict of int to numpy.ndarray of float64
        The median time of each round in milliseconds, by number of threads; the i-th of one belongs to the i-th of
        another.
    cores : float
        What this process may keep busy.
    """

    name: str
    threads: tuple[int, ...]
    rounds_ms: dict[int, NDArray[np.float64]] = field(repr=False)
    cores: float

    @property
    def times_ms(self) -> dict[int, float]:
        """Median time of a call in milliseconds, by number of threads."""
        return {n: float(np.median(self.rounds_ms[n])) for n in self.threads}

    @property
    def intervals_ms(self) -> dict[int, tuple[float, float]]:
        """An interval for each median, 19 times in 20; the ends of the rounds where these are few."""
        found = {}
        for n in self.threads:
            low, high = percentile_interval(self.rounds_ms[n], 50)
            values = self.rounds_ms[n]
            found[n] = float(values.min() if low is None else low), float(values.max() if high is None else high)
        return found

    @property
    def speedup(self) -> dict[int, Speedup]:
        """How many times as fast as on the first number of threads, round by round."""
        first = self.rounds_ms[self.threads[0]]
        ratios = {n: np.percentile(first / self.rounds_ms[n], [50, 10, 90]) for n in self.threads}
        return {n: Speedup(*map(float, three)) for n, three in ratios.items()}

    @property
    def oversubscribed(self) -> tuple[int, ...]:
        """The numbers of threads that are more than there are cores: some of them wait for others."""
        return tuple(n for n in self.threads if n > self.cores)

    @property
    def serial_share(self) -> float | None:
        """The share of the work that threads do not speed up, by Amdahl's law; None if there is one number alone.

        Fitted by least squares to the medians of what fits onto the cores: ``time(n) = serial + parallel / n``. It
        holds waiting and starting of threads as well as work that is serial.
        """
        used = [n for n in self.threads if n <= self.cores]
        if len(used) < 2:
            return None
        times = self.times_ms
        design = np.array([[1.0, 1.0 / n] for n in used])
        serial, parallel = np.linalg.lstsq(design, np.array([times[n] for n in used]), rcond=None)[0]
        return float(np.clip(serial / (serial + parallel), 0, 1)) if serial + parallel > 0 else None

    def to_frame(self) -> pandas.DataFrame:
        """Return one row a number of threads (needs pandas)."""
        gain, ends = self.speedup, self.intervals_ms
        rows = [
            {"threads": n, "ms": ms, "low_ms": ends[n][0], "high_ms": ends[n][1], "speedup": gain[n].value}
            for n, ms in self.times_ms.items()
        ]
        return require("pandas", extra="pandas").DataFrame(rows)

    def plot(self, ax: matplotlib.axes.Axes | None = None) -> matplotlib.axes.Axes:
        """Draw the speed-up against the number of threads, beside what it would be if nothing held it back."""
        from ._plot import draw_sweep

        return draw_sweep(self, ax)

    def _lines(self) -> list[tuple[str, ...]]:
        gain = self.speedup
        return [
            (
                f"{n}{' *' if n in self.oversubscribed else ''}", time_words(ms / 1e3),
                f"{gain[n].value:.2f} × ({gain[n].low:.2f} to {gain[n].high:.2f})",
            )
            for n, ms in self.times_ms.items()
        ]  # fmt: skip

    def _foot(self) -> str:
        share = "" if self.serial_share is None else f"; {self.serial_share:.0%} of it gains nothing from threads"
        more = f"; * more threads than the {self.cores:g} cores granted" if self.oversubscribed else ""
        return f"{self.name}{share}{more}"

    def __repr__(self) -> str:
        return "\n".join([*("  ".join(line) for line in self._lines()), self._foot()])

    def _repr_html_(self) -> str:
        head = "".join(f"<th scope='col'>{name}</th>" for name in ("threads", "time", "as fast as the first"))
        rows = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in line) + "</tr>" for line in self._lines())
        caption = f"<caption>{escape(self._foot())}</caption>"
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def thread_sweep(
    model: Any,
    X: Any = None,
    threads: Sequence[int] = (1, 2, 4),
    *,
    rounds: int = 20,
    max_seconds: float = 10.0,
    random_state: int | np.random.Generator | None = 0,
    progress: bool = True,
    clock: Clock = perf_counter_ns,
) -> ThreadSweep:
    """Measure one computation on several numbers of threads, in turns.

    Parameters
    ----------
    model : LiteRTModel, path-like, bytes or callable
        A `.tflite` model, which is opened once for each number of threads; or ``make(threads)``, which returns a
        function to call without arguments.
    X : array, optional
        The rows of one call, for a model.
    threads : sequence of int, default (1, 2, 4)
        Rising. More than there are cores may be asked for: they are measured, and marked.
    rounds : int, default 20
        Each gives every number a turn, in random order; of a turn's calls the median counts.
    max_seconds : float, default 10
        No round is begun after so long; one is made in any case.
    random_state : int, numpy.random.Generator or None, default 0
        For the order in each round.
    progress : bool, default True
        Show a line while it takes long.
    clock : callable, optional
        Returns nanoseconds.

    Returns
    -------
    ThreadSweep

    Raises
    ------
    InputError
        If `threads` are not rising whole numbers from 1 to 256, or there are no rows for a model.

    References
    ----------
    G. M. Amdahl, "Validity of the single processor approach to achieving large scale computing capabilities", AFIPS
    1967.

    Examples
    --------
    >>> from inferkit.models import load_reference
    >>> found = thread_sweep(load_reference("digits-mlp"), np.zeros((64, 8, 8), np.float32), threads=(1, 2), rounds=3)
    >>> found.speedup[1].value
    1.0
    """
    numbers = _checked_threads(threads)
    whole_number("rounds", rounds)
    calls = _calls(model, X, numbers)
    name = getattr(model, "name", None) or getattr(model, "__name__", "computation")
    rng = generator(random_state)
    done: dict[int, list[float]] = {n: [] for n in numbers}
    with garbage_collection(collect=False), ProgressLine(progress, after_s=2) as line:
        sizes = {n: _calls_in_a_turn(calls[n], clock) for n in numbers}
        deadline = clock() + max_seconds * 1e9
        for number in range(rounds):
            if number and clock() >= deadline:
                break
            line.show(f"threads: round {number + 1} of {rounds}")
            for place in rng.permutation(len(numbers)):
                n = numbers[place]
                done[n].append(_median_ms(calls[n], sizes[n], clock))
    return ThreadSweep(str(name), numbers, {n: np.array(ms) for n, ms in done.items()}, describe().cores_granted)


def _checked_threads(threads: Any) -> tuple[int, ...]:
    numbers = tuple(threads) if isinstance(threads, Sequence | range) and not isinstance(threads, str) else ()
    whole = all(isinstance(n, int | np.integer) and not isinstance(n, bool) and 1 <= n <= _MOST for n in numbers)
    if not numbers or not whole or list(numbers) != sorted(set(numbers)):
        raise InputError(
            f"threads: expected rising whole numbers from 1 to {_MOST}, such as (1, 2, 4), got {threads!r}"
        )
    return tuple(int(n) for n in numbers)


def _calls(model: Any, X: Any, numbers: tuple[int, ...]) -> dict[int, Callable[[], Any]]:
    """Return what is timed, for each number of threads."""
    if callable(model) and not isinstance(model, LiteRTModel):
        made = {n: model(n) for n in numbers}
        for n, call in made.items():
            if not callable(call):
                raise InputError(f"model: expected make({n}) to return a function, got {type(call).__name__}")
            call()
        return made
    given = as_litert(model)
    if X is None:
        raise InputError("X: expected the rows of one call, got none; thread_sweep(model, X)")
    return {n: whole_call(given, X if isinstance(X, tuple) else (X,), n) for n in numbers}


def _calls_in_a_turn(call: Callable[[], Any], clock: Clock) -> int:
    """Return how many calls make some milliseconds."""
    call()
    start = clock()
    call()
    return int(np.clip(_TURN_NS / max(clock() - start, 1), 3, 200))


def _median_ms(call: Callable[[], Any], size: int, clock: Clock) -> float:
    call()  # wakes the threads; not counted
    times = []
    for _ in range(size):
        start = clock()
        call()
        times.append(clock() - start)
    return max(float(np.median(times)), 1.0) / 1e6
