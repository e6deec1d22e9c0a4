"""Columns as a source has them, made into what a predictor takes: numbers out of text, arrays out of columns."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..predictor import ArraySpec, TableSpec, TextSpec
from ._rows import Array, Values, count

InputSpec = ArraySpec | TableSpec | TextSpec


def shaped(values: Values, spec: InputSpec) -> tuple[Values, dict[int, str]]:
    """Return the rows as the contract has them, and the rows that cannot be read so.

    Parameters
    ----------
    values : array, dict of columns or list
        Columns of text are read as numbers where the contract asks for numbers.
    spec : ArraySpec, TableSpec or TextSpec

    Returns
    -------
    values : array, dict of columns or list
    bad : dict of int to str
        Position and reason. The row stays in `values`, with 0 where nothing could be read.
    """
    if not isinstance(values, dict):
        return values, {}
    bad: dict[int, str] = {}
    if isinstance(spec, TextSpec):
        (texts,) = values.values()
        return list(texts), bad
    if isinstance(spec, TableSpec):
        words = {column.name for column in spec.columns if column.categories is not None}
        return {name: column if name in words else _numbers(name, column, bad) for name, column in values.items()}, bad
    columns = [_numbers(name, column, bad) for name, column in values.items()]
    n = count(values)
    stacked = np.column_stack(columns) if columns else np.empty((n, 0))
    return stacked.reshape(n, *(length or -1 for length in spec.shape)), bad


def _numbers(name: str, column: Any, bad: dict[int, str]) -> Any:
    """Return a column of text, or of anything that may be a number or not, as numbers."""
    if isinstance(column, np.ndarray) and column.dtype.kind in "fiu":
        return column
    if isinstance(column, np.ndarray) and column.dtype.kind in "bMmcV":
        return _each(name, column.tolist(), bad, _number)  # refused, value by value
    values = column.tolist() if isinstance(column, np.ndarray) else list(column)
    try:
        text = "".join(values)
    except TypeError:
        return _each(name, values, bad, _number)  # not of text alone
    if text.isascii() and "_" not in text:  # else `float` reads more than a file of numbers may hold
        try:
            return np.fromiter(map(float, values), dtype=np.float64, count=len(values))
        except ValueError:
            pass
    return _each(name, values, bad, _number)


def _each(name: str, values: Sequence[Any], bad: dict[int, str], read: Callable[[Any], float]) -> Array:
    numbers = np.zeros(len(values))
    for position, value in enumerate(values):
        try:
            numbers[position] = read(value)
        except (TypeError, ValueError):
            bad.setdefault(position, f"column {name!r}: expected a number, got {_shown(value)}")
    return numbers


def _shown(value: Any) -> str:
    return "nothing" if value is None or value == "" else repr(value)[:80]


def _number(value: Any) -> float:
    if isinstance(value, str):
        if not value.isascii() or "_" in value:
            raise ValueError
        return float(value)
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError
    return float(value)
