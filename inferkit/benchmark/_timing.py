"""Time calls one by one: one clock, no garbage collection in between, every sample kept."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

import numpy as np

from .._base import InputError
from ..predictor import Predictor

Clock = Callable[[], int]
Call = Callable[[Any], Any]

DISTINCT_ROWS = 256  # so many different inputs take turns: enough that none stays in the fastest cache by itself


class ClockError(RuntimeError):
    """A clock that went backwards. Nothing timed with it can be trusted."""


class CallError(RuntimeError):
    """A call that raised while it was measured.

    Attributes
    ----------
    partial : object
        What had been measured before; None if that was nothing.
    """

    partial: Any = None


def as_call(predictor: Any, batch_size: int) -> Call:
    """Return what is to be timed: a function of one input.

    Parameters
    ----------
    predictor : Predictor or callable
        Of a predictor, `predict_one` is timed for single rows, and `predict` for batches. Anything
        else is called as it is, with a batch.
    batch_size : int
        Rows in a call.

    Returns
    -------
    callable

    Raises
    ------
    InputError
        If it cannot be called.
    """
    if isinstance(predictor, Predictor):
        return predictor.predict_one if batch_size == 1 else predictor.predict
    if not callable(predictor):
        raise InputError(
            f"predictor: expected a Predictor or a function of a batch, got {type(predictor).__name__}; "
            "hand over its method, such as model.predict, or wrap it: Predictor(model)"
        )
    return predictor  # type: ignore[no-any-return]


def as_inputs(predictor: Any, X: Any, batch_size: int) -> list[Any]:
    """Cut X into what the calls take, before any clock runs.

    Parameters
    ----------
    predictor : Predictor or callable
        As in `as_call`.
    X : array, list or data frame
        Rows.
    batch_size : int
        Rows in a call.

    Returns
    -------
    list
        Up to 256 different inputs: single rows for `predict_one`, else batches.

    Raises
    ------
    InputError
        If X is empty or has no rows, or has fewer than `batch_size`.
    """
    whole_number("batch_size", batch_size)
    n = count_rows(X)
    if batch_size > n:
        raise InputError(
            f"batch_size: expected at most the {n:,} rows of X, got {batch_size:,}; give more rows, or a smaller batch"
        )
    starts = range(0, n - batch_size + 1, batch_size)[:DISTINCT_ROWS]
    if batch_size == 1 and isinstance(predictor, Predictor):
        rows = X.head(DISTINCT_ROWS).to_dict("records") if hasattr(X, "to_dict") else X
        return [rows[i] for i in starts]
    return [X[i : i + batch_size] for i in starts]


def count_rows(X: Any) -> int:
    """Return how many rows there are, or raise if there are none."""
    try:
        n = len(X)
    except TypeError:
        raise InputError(f"X: expected rows (an array, a list, a data frame), got {type(X).__name__}") from None
    if n == 0:
        raise InputError("X: expected at least one row, got none")
    return n


def whole_number(name: str, value: Any, least: int = 1) -> None:
    """Raise unless `value` is a whole number that is large enough."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{name}: expected a whole number ≥ {least}, got {value!r}")


def seconds(name: str, value: Any) -> float:
    """Return a length of time in seconds, above 0, or raise."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < float("inf"):
        raise InputError(f"{name}: expected a number of seconds above 0, got {value!r}")
    return float(value)


def timer_overhead_ns(clock: Clock, repeats: int = 501) -> float:
    """Return what two readings of a clock take, in nanoseconds: the median of many.

    It is part of every sample, and is stated, not subtracted.
    """
    pairs = ((clock(), clock()) for _ in range(repeats))
    return float(median(later - earlier for earlier, later in pairs))


@contextmanager
def garbage_collection(*, collect: bool) -> Iterator[None]:
    """Collect the young garbage now; inside the block leave all lying, unless `collect` says otherwise."""
    gc.collect(1)  # not the old: with a framework loaded that takes a third of a second, and nothing here waits for it
    was_enabled = gc.isenabled()
    if not collect:
        gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def check_answer(call: Call, value: Any, name: str) -> None:
    """Call once, and raise if nothing comes back."""
    if call(value) is None:
        raise InputError(
            f"{name} returned nothing (None); expected an answer for the input given. Does its function lack a return?"
        )


def sample(call: Call, inputs: Sequence[Any], n: int, *, clock: Clock, samples: list[int], deadline: float) -> None:
    """Time up to `n` calls, one by one, and append their nanoseconds to `samples`.

    Parameters
    ----------
    call : callable
        A function of one input.
    inputs : sequence
        They take turns, going on where the last one stopped.
    n : int
        How many calls.
    clock : callable
        Returns nanoseconds as an integer.
    samples : list of int
        Grows with each call, so that whatever stops this leaves what was measured.
    deadline : float
        A reading of the clock after which no more calls are begun.

    Raises
    ------
    CallError
        If a call raises.
    ClockError
        If the clock goes backwards.
    """
    count, append, first = len(inputs), samples.append, len(samples)
    stop = clock()
    for i in range(first, first + n):
        value = inputs[i % count]
        start = clock()
        try:
            call(value)
        except Exception as error:
            raise CallError(f"call {i + 1:,} raised {type(error).__name__}: {error}") from error
        before, stop = stop, clock()
        if not before <= start <= stop:
            back = max(before - start, start - stop)
            raise ClockError(f"the clock went backwards by {back:,} ns in call {i + 1:,}; use a monotonic clock")
        append(stop - start)
        if stop >= deadline:
            return
