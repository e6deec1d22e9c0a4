"""How many rows to answer at once: found by measurement."""

from collections.abc import Sequence
from contextlib import suppress
from time import perf_counter, perf_counter_ns
from typing import Any, NamedTuple

import numpy as np

from .._base import InputError
from ..benchmark import CallError, ThroughputResult, measure_throughput
from ..predictor import Predictor
from ._answer import ANSWERS, Answer, divide
from ._convert import shaped
from ._rows import Values, count, cut, take
from ._source import as_values

LARGEST = 16_384
"""Rows: beyond it nothing gets faster, and all that is under way has to lie in memory."""
DEFAULT = 256
MOST_S = 0.6
SHARE = 0.005
LONG_S = 1.0
"""A run that takes less is not worth a curve."""
ROUNDS = 3
SMALLEST_BIT = 5
CLOSE_ENOUGH = 0.98
WORTH_IT = 1.1
TRIED = 0.05
_LONGEST_CALL_S = 0.1


def batch_size_curve(
    predictor: Predictor,
    X: Any,
    *,
    answer: str = "predict",
    batch_sizes: Sequence[int] | None = None,
    max_seconds: float = 0.6,
    progress: bool = False,
    clock: Any = perf_counter_ns,
) -> ThroughputResult:
    """Measure rows a second for batches of 1, 2, 4, ... rows, in turns, on one thread.

    ``predict_batch(..., batch_size="auto")`` does the same before it begins, with fewer sizes and rounds: its
    measurement takes about a two-hundredth of the time that the work does.

    Parameters
    ----------
    predictor : Predictor
    X : array, data frame, dict of columns or list of texts
        Rows that meet the contract; they are used over and over.
    answer : {"predict", "predict_proba", "outputs"}
    batch_sizes : sequence of int, optional
        Powers of two up to 16,384 and to the rows there are, without those that would take longer than 0.1 s a call.
    max_seconds : float, default=0.6
        For all of it, about: each size has five turns, and each turn at least one call.
    progress : bool, default=False
    clock : callable, optional
        Returns nanoseconds.

    Returns
    -------
    ThroughputResult
        Its ``rates`` hold one value for each size and round.

    Raises
    ------
    InputError
        If a row does not meet the contract, or there are fewer rows than a batch size asks for.

    Examples
    --------
    >>> from inferkit.datasets import load_digits
    >>> from inferkit.predictor import digit_reader
    >>> curve = batch_size_curve(digit_reader(), load_digits().images, batch_sizes=[1, 64], max_seconds=0.1)
    >>> curve.rows_per_s(64) > curve.rows_per_s(1)
    True
    """
    if answer not in ANSWERS:
        raise InputError(f"answer: expected one of {', '.join(ANSWERS)}, got {answer!r}")
    values, _ = as_values(X, None, None, predictor.signature.input)
    return measure(Answer(predictor, answer, 1), values, batch_sizes, max_seconds, progress, clock)


def measure(
    answer: Answer,
    values: Values,
    sizes: Sequence[int] | None,
    max_seconds: float,
    progress: bool,
    clock: Any,
    rounds: int = 5,
) -> ThroughputResult:
    """Measure one call of the model for each size."""

    def call(rows: Any) -> Any:
        return answer.ask(cut(values, rows[0], rows[-1] + 1))

    rows = np.arange(count(values))
    return measure_throughput(
        call, rows, batch_sizes=list(sizes) if sizes is not None else _sizes(call, rows), rounds=rounds,
        max_seconds=max_seconds, name=answer.predictor.name, progress=progress, clock=clock,
    )  # fmt: skip


def _sizes(call: Any, rows: Any) -> list[int]:
    """Return powers of two, up to the first whose call takes long."""
    call(rows[:1])  # the first call of all may set things up
    sizes, size, took = [], 1, 0.0
    while size <= min(LARGEST, len(rows)) and took <= _LONGEST_CALL_S:
        start = perf_counter()
        call(rows[:size])
        took = perf_counter() - start
        sizes.append(size)
        size *= 2
    return sizes


def best_size(curve: ThroughputResult) -> int:
    """Return a batch size that is as fast as the fastest, or within 2 % of it: of several the middle one.

    The curve is one thread's. Beside others each call costs a little more, which speaks for more rows in a call; and
    caches are shared, which speaks for fewer.

    Examples
    --------
    >>> rates = {1: np.array([10.0]), 2: np.array([100.0]), 4: np.array([99.0])}
    >>> best_size(ThroughputResult("a model", rates))
    4
    """
    enough = CLOSE_ENOUGH * curve.rows_per_s(curve.best)
    fast = sorted(size for size in curve.rates if curve.rows_per_s(size) >= enough)
    return fast[len(fast) // 2]


def find_size(
    answer: Answer, values: Values, bad: dict[int, str], n_rows: float, workers: int, largest: int = LARGEST
) -> tuple[int, ThroughputResult | None]:
    """Return the batch size for a source, and the curve that it was read from.

    Calls with few rows tell what a call costs by itself, and what each row adds. Where larger batches should be faster,
    they are tried, and trusted where a trial would take too large a part of the work. If the answers will take so long
    that a two-hundredth of their time is enough for a curve, that decides. Where the model fails, it is 256.

    Parameters
    ----------
    answer : Answer
    values : array, dict of columns or list
        The first rows.
    bad : dict of int to str
        Those of them that cannot be read.
    n_rows : float
        How many rows there are, about.
    workers : int
        How many of them are answered at once.
    largest : int, default=16384
        Rows that memory allows for.

    Returns
    -------
    batch_size : int
    curve : ThroughputResult or None
    """
    fine = _fit(answer, values, bad)
    n = count(fine)
    if n < DEFAULT:
        return max(1, min(DEFAULT, largest)), None
    try:
        answer.ask(cut(fine, 0, 1))  # the first call may set things up
        usual, line = _usual(answer, fine, n_rows / workers)
        if usual < DEFAULT:
            return usual, None
        climbed, rate = _climb(answer, fine, line, n_rows / workers, min(LARGEST, largest))
        all_s = n_rows / rate / workers
        seconds = min(MOST_S, all_s * SHARE)
        most = min(n, seconds * rate / (2 * ROUNDS))  # the sizes below the largest add up to as many rows
        sizes = [1 << i for i in range(SMALLEST_BIT, LARGEST.bit_length()) if 1 << i <= most]
        if len(sizes) < 3 or all_s < LONG_S:
            return climbed, None
        curve = measure(answer, fine, sizes, seconds, False, perf_counter_ns, ROUNDS)
        best = best_size(curve)
        return (best if best < sizes[-1] else max(best, climbed)), curve
    except (CallError, InputError):
        return DEFAULT, None


def _fit(answer: Answer, values: Values, bad: dict[int, str]) -> Values:
    """Return the rows that can be read and meet the contract."""
    spec = answer.predictor.signature.input
    values, unreadable = shaped(values, spec)
    if not bad and not unreadable:
        with suppress(Exception):  # which rows break it is found out below
            spec.check(values)  # type: ignore[arg-type]
            return values
    rows = np.array([row for row in range(count(values)) if row not in bad and row not in unreadable], dtype=np.intp)
    pieces, _ = divide(lambda some: spec.check(take(values, some)), rows) if len(rows) else ([], [])  # type: ignore[arg-type]
    return take(values, np.concatenate([some for some, _ in pieces]) if pieces else rows)


class Line(NamedTuple):
    """What a call takes: so much by itself, and so much more for each row.

    Examples
    --------
    >>> line = Line.through((16, 1.16), (256, 3.56))
    >>> round(line.call_s, 9), round(line.row_s, 9)
    (1.0, 0.01)
    >>> round(line.rows_per_s(100))
    50
    """

    call_s: float
    row_s: float

    @classmethod
    def through(cls, few: tuple[int, float], many: tuple[int, float]) -> "Line":
        """Return the line through two calls, each given by its rows and its seconds; no row takes less than nothing."""
        row_s = min(max(0.0, many[1] - few[1]) / max(1, many[0] - few[0]), many[1] / many[0])
        return cls(many[1] - row_s * many[0], row_s)

    def rows_per_s(self, n: int) -> float:
        """Return how many rows a second calls of n rows answer."""
        return n / max(self.call_s + self.row_s * n, 1e-9)


def _usual(answer: Answer, values: Values, rows_each: float) -> tuple[int, Line]:
    """Return 256, or fewer rows if their call takes long and more of them are no quicker; and what a call takes."""
    size, took = 16, _call_s(answer, values, 16)
    few = (size, took)
    while size < DEFAULT:
        is_long = took >= _LONGEST_CALL_S / 4
        if is_long and 4 * size > TRIED * rows_each:
            break
        more = _call_s(answer, values, 4 * size)
        if is_long and more > 4 * took / WORTH_IT:
            break
        size, took = 4 * size, more
    return size, Line.through(few, (size, took))


def _climb(answer: Answer, values: Values, line: Line, rows_each: float, largest: int) -> tuple[int, float]:
    """Return 256 rows, or four times as many, and again, as long as that is a tenth faster; and how fast that is.

    No worker's share of the rows is exceeded. A size is tried, if that takes no more than a twentieth of the work; else
    what smaller calls took decides.
    """
    size, rate = DEFAULT, line.rows_per_s(DEFAULT)
    first = (0, line.call_s)
    while 4 * size <= min(largest, rows_each) and line.rows_per_s(4 * size) > WORTH_IT * rate:
        larger, faster = 4 * size, line.rows_per_s(4 * size)
        if larger <= count(values) and 2 * larger <= TRIED * rows_each:
            rates = (larger / _call_s(answer, values, larger) for _ in range(2))
            tried = next((found for found in rates if found > WORTH_IT * rate), None)
            if tried is None:
                break
            faster, line = tried, Line.through(first, (larger, larger / tried))
        size, rate = larger, faster
    return size, rate


def _call_s(answer: Answer, values: Values, rows: int) -> float:
    """Return the time of a call with so many rows."""
    start = perf_counter()
    answer.ask(cut(values, 0, rows))
    return perf_counter() - start


def whole_number(name: str, value: Any) -> None:
    """Raise unless `value` is a whole number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{name}: expected a whole number ≥ 1, got {value!r}")
