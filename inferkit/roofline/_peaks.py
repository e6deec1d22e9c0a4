"""The two walls that no program on this machine gets past: operations a second, and bytes a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from html import escape
from threading import Barrier
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from .._base import InputError, ProgressLine, require
from ..benchmark import percentile_interval
from ..benchmark._words import digits as in_words
from ..devices import describe, stamp
from ._files import litert_matmul

if TYPE_CHECKING:
    import pandas

Clock = Callable[[], int]

_N = 512  # side of the matrices: three of them fit into a second-level cache, and a call takes milliseconds
_BYTES = 1 << 25  # read in one timed pass: long against the call, short against the time that is left
_LAST = 1 << 28  # bytes that no cache holds
_ROUNDS = 15
_CALLS = 3  # in a round, of which the quickest counts: a peak is what can be had, not what is had while others work


@dataclass(frozen=True)
class Rate:
    """One rate of this machine, measured.

    Attributes
    ----------
    what : str
        A type of number, such as ``"float32"``, or a level of memory, such as ``"L2"``.
    by : str
        What computed or read: ``"NumPy"`` or ``"LiteRT"``.
    value, low, high : float
        Median over the rounds, and an interval that holds it 19 times in 20 whatever the distribution.
    unit : str
        ``"GFLOP/s"`` (an addition and a multiplication are two operations; in int8 too) or ``"GB/s"``.
    n_bytes : int or None
        For memory: the bytes that were read over and over.
    """

    what: str
    by: str
    value: float
    low: float
    high: float
    unit: str
    n_bytes: int | None = None

    def __str__(self) -> str:
        value, low, high = map(in_words, (self.value, self.low, self.high))
        return f"{self.what} by {self.by}: {value} {self.unit} ({low} to {high})"


@dataclass(frozen=True)
class Peaks:
    """What this machine can at most: operations a second by type, bytes a second by level of memory.

    Attributes
    ----------
    rates : tuple of Rate
        What was measured. A type that the runtime lacks on this machine is left out.
    threads : int
        That all of them were measured with.
    stamp : dict
        The machine and its software.
    caches : dict of str to int
        Bytes of each level of memory but the last, as all threads see it.
    """

    rates: tuple[Rate, ...]
    threads: int
    stamp: dict[str, Any] = field(repr=False)
    caches: dict[str, int] = field(repr=False)

    @property
    def levels(self) -> tuple[str, ...]:
        """Levels of memory, the quickest first."""
        return tuple(rate.what for rate in self.rates if rate.unit == "GB/s")

    def gflops(self, dtype: str = "float32") -> float:
        """Return the largest rate measured for a type of number, in 10⁹ operations a second.

        Parameters
        ----------
        dtype : str
            ``"float32"`` or ``"int8"``.

        Raises
        ------
        InputError
            If there is none.
        """
        known = [rate for rate in self.rates if rate.unit == "GFLOP/s"]
        found = [rate.value for rate in known if rate.what == dtype]
        if not found:
            names = ", ".join(dict.fromkeys(rate.what for rate in known))
            raise InputError(f"dtype: expected one that was measured here ({names}), got {dtype!r}")
        return max(found)

    def gb_per_s(self, level: str) -> float:
        """Return the bytes a second of a level of memory, in 10⁹.

        Raises
        ------
        InputError
            If this machine has no such level.
        """
        for rate in self.rates:
            if rate.unit == "GB/s" and rate.what == level:
                return rate.value
        raise InputError(f"level: expected one of {', '.join(self.levels)}, got {level!r}")

    def level_of(self, n_bytes: float) -> str:
        """Return the quickest level of memory that holds so many bytes."""
        return next((level for level, size in self.caches.items() if n_bytes <= size), self.levels[-1])

    def roof(self, intensity: float, dtype: str = "float32", level: str = "DRAM") -> float:
        """Return what a computation can reach at most: ``min(peak, intensity × bandwidth)``.

        Parameters
        ----------
        intensity : float
            Operations for each byte that is moved.
        dtype, level : str
            Type of number, and where the bytes come from.

        Returns
        -------
        float
            10⁹ operations a second.

        References
        ----------
        S. Williams, A. Waterman and D. Patterson, "Roofline: An Insightful Visual Performance Model for Multicore
        Architectures", Communications of the ACM 52(4), 2009.
        """
        if not intensity >= 0:
            raise InputError(f"intensity: expected operations a byte, 0 or more, got {intensity!r}")
        return float(min(self.gflops(dtype), intensity * self.gb_per_s(level)))

    def ridge(self, dtype: str = "float32", level: str = "DRAM") -> float:
        """Return the intensity from which on operations are the limit, in operations a byte."""
        return self.gflops(dtype) / self.gb_per_s(level)

    def to_frame(self) -> pandas.DataFrame:
        """Return one row a rate (needs pandas)."""
        return require("pandas", extra="pandas").DataFrame([vars(rate) for rate in self.rates])

    def _lines(self) -> list[tuple[str, ...]]:
        return [
            (
                rate.what, rate.by, in_words(rate.value), f"{in_words(rate.low)} to {in_words(rate.high)}", rate.unit,
                "" if rate.n_bytes is None else f"{rate.n_bytes / 1024:,.0f} KiB",
            )
            for rate in self.rates
        ]  # fmt: skip

    def __repr__(self) -> str:
        head = f"{self.stamp['machine']}, {self.threads} thread{'s' * (self.threads > 1)}"
        return "\n".join([head, *map(str, self.rates)])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in ("what", "by", "rate", "19 times in 20", "unit", "bytes read"))
        rows = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in line) + "</tr>" for line in self._lines())
        caption = f"{escape(self.stamp['machine'])}, {self.threads} thread{'s' * (self.threads > 1)}"
        return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def measure_peaks(
    *, threads: int = 1, max_seconds: float = 6.0, progress: bool = True, clock: Clock = perf_counter_ns
) -> Peaks:
    """Measure what this machine can at most, in a few seconds.

    Operations: products of 512 × 512 matrices by NumPy's BLAS and by LiteRT, in float32 and in int8. Bytes: one pass
    after another over as much as fits into each cache, and over more than any of them holds, by NumPy's dot product,
    which only reads. All take turns; in each round the quickest of three calls counts.

    Parameters
    ----------
    threads : int, default 1
        At most as many as there are cores granted.
    max_seconds : float, default 6
        No round is begun after so long; three are made in any case.
    progress : bool, default True
        Show a line while it takes long.
    clock : callable, optional
        Returns nanoseconds; it must never go backwards.

    Returns
    -------
    Peaks

    Raises
    ------
    InputError
        If `threads` is no whole number above 0, or more than the cores that this process may use.

    Notes
    -----
    An addition and a multiplication count as two operations. What a program really reaches lies below both: these
    are measured, not computed from a clock rate, so a layer may come out slightly above on a machine whose clock moves.

    Examples
    --------
    >>> peaks = measure_peaks(max_seconds=0.1)
    >>> peaks.gflops("float32") > 0, peaks.levels[-1]
    (True, 'DRAM')
    """
    threads = _checked_threads(threads)
    if not max_seconds > 0:
        raise InputError(f"max_seconds: expected a number of seconds above 0, got {max_seconds!r}")
    caches = _caches(threads)
    with _limited(threads), ThreadPoolExecutor(threads) as pool, ProgressLine(progress, after_s=2) as line:
        probes = [*_computing(threads), *_reading(caches, threads, pool)]
        rounds = _rounds(probes, max_seconds, clock, line)
    rates = tuple(_rate(probe, values) for probe, values in zip(probes, zip(*rounds, strict=True), strict=True))
    return Peaks(rates, threads, stamp(), caches)


@dataclass(frozen=True)
class _Probe:
    """One thing that is measured: a call, and the work that it is."""

    what: str
    by: str
    unit: str
    work: float  # operations or bytes of one call
    call: Callable[[], Any]
    n_bytes: int | None = None


def _rounds(probes: list[_Probe], max_seconds: float, clock: Clock, line: ProgressLine) -> list[list[float]]:
    """Give each probe a turn in each round; return the rates by round."""
    for probe in probes:
        probe.call()
    deadline, done = clock() + max_seconds * 1e9, []
    for number in range(_ROUNDS):
        if number >= 3 and clock() >= deadline:
            break
        line.show(f"peaks: round {number + 1} of {_ROUNDS}")
        done.append([probe.work / max(min(_timed(probe.call, clock) for _ in range(_CALLS)), 1) for probe in probes])
    return done


def _timed(call: Callable[[], Any], clock: Clock) -> int:
    start = clock()
    call()
    return clock() - start


def _rate(probe: _Probe, values: tuple[float, ...]) -> Rate:
    low, high = percentile_interval(values, 50)
    worst, best = min(values), max(values)
    return Rate(
        probe.what, probe.by, float(np.median(values)), worst if low is None else low, best if high is None else high,
        probe.unit, probe.n_bytes,
    )  # fmt: skip


def _computing(threads: int) -> Iterator[_Probe]:
    """Give products of matrices, by each tool in each type."""
    a = np.linspace(-1, 1, _N * _N, dtype=np.float32).reshape(_N, _N)
    out, operations = np.empty_like(a), 2.0 * _N**3
    yield _Probe("float32", "NumPy", "GFLOP/s", operations, lambda: np.matmul(a, a, out=out))
    types: tuple[Literal["float32", "int8"], ...] = ("float32", "int8")
    for dtype in types:
        model = litert_matmul(_N, _N, _N, dtype, num_threads=threads)
        yield _Probe(dtype, "LiteRT", "GFLOP/s", operations, _ready(model, a))


def _ready(model: Any, rows: npt.NDArray[np.float32]) -> Callable[[], Any]:
    """Return a call of the runtime alone: its input is set, and stays."""
    interpreter = model._interpreter
    info = next(iter(model.inputs.values()))
    index = interpreter.get_input_details()[0]["index"]
    interpreter.set_tensor(index, info.quantize(rows) if info.is_quantized else rows)
    invoke: Callable[[], Any] = interpreter.invoke
    return invoke


def _reading(caches: dict[str, int], threads: int, pool: ThreadPoolExecutor) -> Iterator[_Probe]:
    """Give readings of half of each cache, and of more than any of them holds."""
    sizes = {level: size // threads // 2 for level, size in caches.items()}
    largest = max(caches.values(), default=0)
    for level, size in {**sizes, "DRAM": max(_LAST, 4 * largest) // threads}.items():
        calls = [_reader(size) for _ in range(threads)]
        passes = calls[0][1]
        yield _Probe(
            level, "NumPy", "GB/s", float(threads * passes), _together([c for c, _ in calls], pool), size * threads
        )


def _reader(size: int) -> tuple[Callable[[], Any], int]:
    """Return a call that reads `size` bytes again and again, and the bytes that it reads in all."""
    half = max(size // 8, 16)  # numbers in each of two arrays
    repeats = max(1, _BYTES // (8 * half))
    # a stride of 0: each repeat is the same memory, and the loop over them runs inside NumPy
    a, b = (np.lib.stride_tricks.as_strided(np.ones(half, np.float32), (repeats, half), (0, 4)) for _ in range(2))
    return (lambda: np.vecdot(a, b)), repeats * half * 8


def _together(calls: list[Callable[[], Any]], pool: ThreadPoolExecutor) -> Callable[[], Any]:
    """Return a call that makes all of them side by side; NumPy lets others run meanwhile."""
    if len(calls) == 1:
        return calls[0]
    gate = Barrier(len(calls))

    def one(call: Callable[[], Any]) -> None:
        gate.wait()
        call()

    return lambda: list(pool.map(one, calls))


def _caches(threads: int) -> dict[str, int]:
    """Return the bytes of each cache as `threads` of them see it: inner ones are each core's own."""
    found = {name: size for name, size in describe().caches.items() if name != "L1i"}
    outer = max(found, default="")
    return {
        name: size * (1 if name == outer and name not in ("L1d", "L2") else threads) for name, size in found.items()
    }


def _checked_threads(threads: Any) -> int:
    granted = max(1, int(describe().cores_granted))
    if isinstance(threads, bool) or not isinstance(threads, int | np.integer) or threads < 1:
        raise InputError(f"threads: expected a whole number above 0, got {threads!r}")
    if threads > granted:
        raise InputError(
            f"threads: expected at most the {granted} core{'s' * (granted > 1)} that this process may use, got "
            f"{threads}; more would share a core, and a peak would be none. thread_sweep measures what they do"
        )
    return int(threads)


def _limited(threads: int) -> Any:
    """Hold NumPy's BLAS to so many threads inside a block."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(threads)
