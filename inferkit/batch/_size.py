"""How many rows to answer at once: found by measurement."""

from collections.abc import Sequence
from time import perf_counter, perf_counter_ns
from typing import Any

import numpy as np

from .._base import InputError
from ..benchmark import CallError, ThroughputResult, measure_throughput
from ..predictor import Predictor
from ._answer import ANSWERS, Answer, divide
from ._convert import shaped
from ._rows import Values, count, cut, take
from ._source import as_values

LARGEST = 16_384
DEFAULT = 256
MEASURING_S = 0.6
CLOSE_ENOUGH = 0.97
_ROUNDS = 5
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

    It is what ``predict_batch(..., batch_size="auto")`` does before it begins.

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
    answer: Answer, values: Values, sizes: Sequence[int] | None, max_seconds: float, progress: bool, clock: Any
) -> ThroughputResult:
    """Measure one call of the model for each size."""

    def call(rows: Any) -> Any:
        return answer.ask(cut(values, rows[0], rows[-1] + 1))

    rows = np.arange(count(values))
    return measure_throughput(
        call, rows, batch_sizes=list(sizes) if sizes is not None else _sizes(call, rows), rounds=_ROUNDS,
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
    """Return the smallest batch size that is as fast as the fastest, or within 3 % of it.

    Examples
    --------
    >>> rates = {1: np.array([10.0]), 2: np.array([98.0]), 4: np.array([100.0])}
    >>> best_size(ThroughputResult("a model", rates))
    2
    """
    enough = CLOSE_ENOUGH * curve.rows_per_s(curve.best)
    return min(size for size in curve.rates if curve.rows_per_s(size) >= enough)


def find_size(
    answer: Answer, values: Values, bad: dict[int, str], n_rows: float | None
) -> tuple[int, ThroughputResult | None]:
    """Return the batch size for a source, and the curve that it was read from.

    Where answering all rows takes no longer than measuring would, two sizes are tried; where the first rows are
    such that the model fails, none is, and it is 256.

    Parameters
    ----------
    answer : Answer
    values : array, dict of columns or list
        The first rows.
    bad : dict of int to str
        Those of them that cannot be read.
    n_rows : float or None
        How many rows there are, about.

    Returns
    -------
    batch_size : int
    curve : ThroughputResult or None
    """
    values, unreadable = shaped(values, answer.predictor.signature.input)
    check = answer.predictor.signature.input.check
    rows = np.array([row for row in range(count(values)) if row not in bad and row not in unreadable], dtype=np.intp)
    pieces, _ = divide(lambda some: check(take(values, some)), rows) if len(rows) else ([], [])  # type: ignore[arg-type]
    fit = np.concatenate([some for some, _ in pieces]) if pieces else rows
    if len(fit) < DEFAULT:
        return DEFAULT, None
    fine = take(values, fit)
    try:
        rate = DEFAULT / _call_s(answer, fine, DEFAULT)
        if n_rows is not None and n_rows / rate < MEASURING_S:
            return _larger_if_faster(answer, fine, rate), None
        curve = measure(answer, fine, None, MEASURING_S, False, perf_counter_ns)
    except (CallError, InputError):
        return DEFAULT, None
    return best_size(curve), curve


def _larger_if_faster(answer: Answer, values: Values, rate: float) -> int:
    """Return a size that is some ten times the usual one, if a call of it is that much worth the while."""
    size = min(LARGEST, 1 << (count(values).bit_length() - 1))
    return size if size > DEFAULT and size / _call_s(answer, values, size) > 1.2 * rate else DEFAULT


def _call_s(answer: Answer, values: Values, rows: int) -> float:
    """Return the time of a call with so many rows, after a first one that may set things up."""
    for _ in range(2):
        start = perf_counter()
        answer.ask(cut(values, 0, rows))
    return perf_counter() - start


def whole_number(name: str, value: Any) -> None:
    """Raise unless `value` is a whole number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{name}: expected a whole number ≥ 1, got {value!r}")
