"""Each layer of a model under the roof of this machine: what it does, how long it takes, and what it could take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._base import InputError, ProgressLine, generator, require
from ..benchmark import percentile_interval
from ..benchmark._timing import garbage_collection, whole_number
from ..benchmark._words import digits, time_words
from ..devices import describe
from ..models import LiteRTModel
from ..models._litert import _fit as fit_rows
from ..optimize import Layer
from ..optimize._layers import short_name
from ._files import litert_matmul
from ._peaks import Peaks, measure_peaks
from ._units import as_litert, take_apart, whole_call
from ._work import operations, stored_bytes

if TYPE_CHECKING:
    import matplotlib.axes
    import pandas

Clock = Callable[[], int]
_SETTLE = 3  # calls at the start of a turn that bring a layer back into the caches; not counted


@dataclass(frozen=True)
class LayerPoint:
    """One layer of a model: its work, its time, and its roof.

    Attributes
    ----------
    name, op : str
        What people call it, and its kind in LiteRT's words.
    dtype : str
        ``"int8"`` where products are of 8-bit integers, else ``"float32"``.
    macs, operations : int
        Of all rows: multiply-accumulate operations; and operations as `inferkit.roofline` counts them, two for each.
    n_bytes : int
        What it must move at least: all rows in, all rows out, its weights once.
    time_us, low_us, high_us : float
        Median time of one call, alone, in microseconds, and an interval for it (of the rounds' medians, 19 in 20).
    level : str
        The level of memory that these bytes fit into.
    roof_gflops : float
        What the machine allows it: 10⁹ operations a second.
    call_us : float
        What a call takes that does nothing, in microseconds; it is part of `time_us`.
    """

    name: str
    op: str
    dtype: str
    macs: int
    operations: int
    n_bytes: int
    time_us: float
    low_us: float
    high_us: float
    level: str
    roof_gflops: float
    call_us: float

    @property
    def intensity(self) -> float:
        """Operations for each byte that is moved."""
        return self.operations / self.n_bytes

    @property
    def gflops(self) -> float:
        """10⁹ operations a second, as measured: the call's own cost included."""
        return self.operations / self.time_us / 1e3

    @property
    def roof_us(self) -> float:
        """The time that its roof allows, in microseconds: operations or bytes, whichever takes longer."""
        return self.operations / self.roof_gflops / 1e3 if self.operations else 0.0

    @property
    def share(self) -> float:
        """The share of its roof that it reaches; 0 for a layer that computes nothing."""
        return self.gflops / self.roof_gflops if self.operations else 0.0

    @property
    def share_alone(self) -> float:
        """The same without the cost of a call, which layers in one model share."""
        net = self.time_us - self.call_us
        return self.operations / net / 1e3 / self.roof_gflops if self.operations and net > 0 else self.share


@dataclass(frozen=True)
class Roofline:
    """A model taken apart, each layer timed alone, under the roof of this machine.

    Attributes
    ----------
    name : str
        The model.
    layers : tuple of LayerPoint
        In the order in which they run.
    whole_us, whole_low_us, whole_high_us : float
        Median time of the whole model on the same rows, and its interval.
    call_us : float
        What a call takes that does nothing.
    batch_size, threads : int
    peaks : Peaks
    """

    name: str
    layers: tuple[LayerPoint, ...]
    whole_us: float
    whole_low_us: float
    whole_high_us: float
    call_us: float
    batch_size: int
    threads: int
    peaks: Peaks = field(repr=False)

    @property
    def sum_us(self) -> float:
        """The layers' times together, in microseconds."""
        return sum(layer.time_us for layer in self.layers)

    @property
    def operations(self) -> int:
        """Of all layers, for all rows."""
        return sum(layer.operations for layer in self.layers)

    @property
    def roof_us(self) -> float:
        """The least time that this machine allows: the sum of what each layer's roof allows, in microseconds."""
        return sum(layer.roof_us for layer in self.layers)

    @property
    def share(self) -> float:
        """The share of what the machine allows that the whole model reaches."""
        return self.roof_us / self.whole_us

    @property
    def peak_share(self) -> float:
        """The share of the machine's peak that the whole reaches: operations a second, whatever the bytes.

        The peak is that of the type in which most operations are done.
        """
        work = {dtype: sum(one.operations for one in self.layers if one.dtype == dtype) for dtype in _types(self)}
        most = max(work, key=lambda dtype: work[dtype])
        return self.operations / self.whole_us / 1e3 / self.peaks.gflops(most)

    def to_frame(self) -> pandas.DataFrame:
        """Return one row a layer (needs pandas)."""
        extra = ("intensity", "gflops", "share", "share_alone", "roof_us")
        rows = [vars(one) | {name: getattr(one, name) for name in extra} for one in self.layers]
        return require("pandas", extra="pandas").DataFrame(rows)

    def plot(self, ax: matplotlib.axes.Axes | None = None) -> matplotlib.axes.Axes:
        """Draw the roof, and each layer that computes under it.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure if there is none.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from ._plot import draw

        return draw(self, ax)

    def _head(self) -> str:
        ratio = self.sum_us / self.whole_us
        return (
            f"{self.name}, {self.batch_size} row{'s' * (self.batch_size > 1)}, {self.threads} "
            f"thread{'s' * (self.threads > 1)}: whole {time_words(self.whole_us / 1e6)} "
            f"({time_words(self.whole_low_us / 1e6)} to {time_words(self.whole_high_us / 1e6)}), layers alone together "
            f"{time_words(self.sum_us / 1e6)} ({ratio:.2f} ×), a call that does nothing "
            f"{time_words(self.call_us / 1e6)}; {self.share:.0%} of what this machine allows"
        )

    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (
                one.name, one.op, one.dtype, f"{one.operations:,}", f"{one.n_bytes:,}",
                digits(one.intensity), digits(one.time_us), digits(one.gflops),
                one.level, digits(one.roof_gflops), f"{one.share:.0%}" if one.operations else "–",
            )
            for one in self.layers
        ]  # fmt: skip

    def __repr__(self) -> str:
        lines = [_HEADS, *self._cells()]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rows = [[cell.ljust(w) for cell, w in zip(line[:3], widths[:3], strict=True)] for line in lines]
        rest = [[cell.rjust(w) for cell, w in zip(line[3:], widths[3:], strict=True)] for line in lines]
        return "\n".join([self._head(), *("  ".join(a + b) for a, b in zip(rows, rest, strict=True))])

    def _repr_html_(self) -> str:
        head = "".join(f"<th scope='col'>{escape(name)}</th>" for name in _HEADS)
        rows = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in line) + "</tr>" for line in self._cells())
        caption = f"<caption>{escape(self._head())}</caption>"
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


_HEADS = ("layer", "kind", "type", "operations", "bytes", "ops/byte", "µs", "GFLOP/s", "memory", "roof", "reached")


def _types(found: Roofline) -> list[str]:
    return list(dict.fromkeys(one.dtype for one in found.layers))


def roofline(
    model: Any,
    X: Any,
    *,
    peaks: Peaks | None = None,
    threads: int = 1,
    n: int = 300,
    rounds: int = 10,
    max_seconds: float = 20.0,
    random_state: int | np.random.Generator | None = 0,
    progress: bool = True,
    clock: Clock = perf_counter_ns,
) -> Roofline:
    """Time each layer of a model alone, and compare it with what this machine allows.

    The runtime tells nothing of its layers, so each is cut out of the file into a model of its own, and gets the rows
    that reach it in the whole. Layers, the whole, and a call that does nothing take turns in random order.

    Parameters
    ----------
    model : LiteRTModel, path-like or bytes
        A `.tflite` file, or what was made of it.
    X : array, or a tuple of them for several inputs
        The rows of one call; their number is the batch size.
    peaks : Peaks, optional
        What :func:`measure_peaks` found, with as many threads; measured now if not given.
    threads : int, default 1
    n : int, default 300
        Timed calls of each layer.
    rounds : int, default 10
        In how many rounds they are made.
    max_seconds : float, default 20
        No round is begun after so long; one is made in any case.
    random_state : int, numpy.random.Generator or None, default 0
        For the order in each round.
    progress : bool, default True
        Show a line while it takes long.
    clock : callable, optional
        Returns nanoseconds.

    Returns
    -------
    Roofline

    Raises
    ------
    InputError
        If the model cannot be taken apart (loops, a state that lasts, operations of its own), the rows do not fit it,
        or `peaks` were measured on another machine or with another number of threads.
    ModelFileError
        If a file is damaged.

    Notes
    -----
    Bytes are counted once: rows in, rows out, weights. A layer alone finds all of them in a cache if they fit there,
    and so its roof is that of the level that holds them. In the whole model others may have pushed them out; then the
    sum is less than the whole. Each call has a cost of its own, paid once by the whole and once by each layer here;
    then the sum is more.

    References
    ----------
    S. Williams, A. Waterman and D. Patterson, "Roofline: An Insightful Visual Performance Model for Multicore
    Architectures", Communications of the ACM 52(4), 2009.

    Examples
    --------
    >>> from inferkit.models import load_reference
    >>> peaks = measure_peaks(max_seconds=0.1)
    >>> found = roofline(load_reference("digits-mlp"), np.zeros((1, 8, 8), np.float32), peaks=peaks, n=20, rounds=2)
    >>> [(layer.op, layer.macs) for layer in found.layers if layer.macs]
    [('FULLY_CONNECTED', 4096), ('FULLY_CONNECTED', 640)]
    """
    given = as_litert(model)
    whole_number("n", n)
    whole_number("rounds", rounds)
    rows, n_rows = _checked_rows(given, X)
    if peaks is None:
        peaks = measure_peaks(threads=threads, progress=progress)
    _check_peaks(peaks, threads)
    units = take_apart(given, rows, threads)
    calls = [*(unit.invoke for unit in units), whole_call(given, rows, threads), _nothing()]
    with garbage_collection(collect=False), ProgressLine(progress, after_s=2) as line:
        medians = _take_turns(calls, n, min(rounds, n), generator(random_state), max_seconds, clock, line)
    *alone, whole, nothing = (_median_us(one) for one in medians)
    per_file = n_rows / given._first_shapes[0][0]  # a file may be planned for several rows
    points = [_point(u.layer, per_file, times, peaks, nothing[0]) for u, times in zip(units, alone, strict=True)]
    return Roofline(given.name, tuple(points), *whole, nothing[0], n_rows, threads, peaks)


def _checked_rows(model: LiteRTModel, X: Any) -> tuple[tuple[NDArray[Any], ...], int]:
    """Return the rows as the model's tensors have them."""
    given = X if isinstance(X, tuple) else (X,)
    if len(given) != len(model.inputs):
        names = ", ".join(model.inputs)
        raise InputError(f"X: expected a tuple of {len(model.inputs)} arrays ({names}), got {len(given)}")
    rows = tuple(fit_rows(one, info) for one, info in zip(given, model.inputs.values(), strict=True))
    if len({len(one) for one in rows}) > 1:
        raise InputError(f"X: expected as many rows for each input, got {[len(one) for one in rows]}")
    return rows, len(rows[0])


def _check_peaks(peaks: Any, threads: int) -> None:
    if not isinstance(peaks, Peaks):
        raise InputError(f"peaks: expected what measure_peaks() returns, got {type(peaks).__name__}")
    here = describe()
    if peaks.stamp["machine_id"] != here.machine_id:
        raise InputError(
            f"peaks: expected those of this machine ({here.name}), got those of {peaks.stamp['machine']}; its roof "
            "says nothing about times taken here: measure_peaks()"
        )
    if peaks.threads != threads:
        raise InputError(
            f"peaks: measured with {peaks.threads} thread(s), and the layers are to run on {threads}; "
            f"measure_peaks(threads={threads})"
        )


def _nothing() -> Callable[[], Any]:
    """Return a call of a model that multiplies one number by one."""
    return whole_call(litert_matmul(1, 1, 1), (np.ones((1, 1), dtype=np.float32),), 1)


def _take_turns(
    calls: Sequence[Callable[[], Any]], n: int, rounds: int, rng: np.random.Generator, max_seconds: float,
    clock: Clock, line: ProgressLine,
) -> list[list[float]]:  # fmt: skip
    """Return for each call the median of each round, in nanoseconds."""
    medians: list[list[float]] = [[] for _ in calls]
    deadline = clock() + max_seconds * 1e9
    for number, size in enumerate(len(part) for part in np.array_split(np.arange(n), rounds)):
        if number and clock() >= deadline:
            break
        line.show(f"layers: round {number + 1} of {rounds}")
        for place in rng.permutation(len(calls)):
            medians[place].append(_turn(calls[place], size, clock))
    return medians


def _turn(call: Callable[[], Any], size: int, clock: Clock) -> float:
    times = []
    for _ in range(size + _SETTLE):
        start = clock()
        call()
        times.append(clock() - start)
    return float(np.median(times[_SETTLE:]))


def _median_us(medians: Sequence[float]) -> tuple[float, float, float]:
    """Return median and interval, in microseconds; where the rounds are too few for one, their ends."""
    low, high = percentile_interval(medians, 50)
    ends = min(medians) if low is None else low, max(medians) if high is None else high
    value, bottom, top = (max(one, 1.0) / 1e3 for one in (float(np.median(medians)), *ends))
    return value, bottom, top


def _point(layer: Layer, n: float, times: tuple[float, float, float], peaks: Peaks, call_us: float) -> LayerPoint:
    """Return a layer under its roof."""
    held = sum(one.n_bytes for one in (layer.weights, layer.bias) if one is not None)
    moved = sum(stored_bytes(one) for one in (*layer.inputs, layer.output))
    work, n_bytes, dtype = round(n * operations(layer)), held + round(n * moved), _type(layer)
    level = peaks.level_of(n_bytes)
    roof = peaks.roof(work / n_bytes, dtype, level)
    name = _name(layer)
    return LayerPoint(name, layer.op, dtype, round(n * layer.macs), work, n_bytes, *times, level, roof, call_us)


def _name(layer: Layer) -> str:
    """Return the Keras layer's name: that of the weights, since later layers may be part of this one."""
    name = layer.name if layer.weights is None else short_name(layer.weights.name)
    return layer.op.lower() if name.startswith(("StatefulPartitionedCall", "tfl.")) else name


def _type(layer: Layer) -> str:
    """Return in what a layer computes: 8-bit integers if its weights are, else as its answers."""
    one = layer.weights or layer.output
    return "int8" if one.dtype in ("int8", "uint8", "int4", "int16") else "float32"
