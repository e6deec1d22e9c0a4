"""Tables at the door: named columns of numbers with units and ranges, and of words with their categories."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    name : str
    unit : str
        Unit of a number, such as ``"mm"``.
    low, high : float, optional
        The smallest and the largest number allowed.
    categories : sequence of str, optional
        The words allowed; a column that has them holds words, one that has none holds numbers.
    """

    name: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.categories is not None:
            object.__setattr__(self, "categories", tuple(self.categories))
        check_limits(f"column {self.name!r}", self.low, self.high)

    def check(self, values: Iterable[Any]) -> Array:
        """Return the column's values as float64, or as str objects if it has categories."""
        if self.categories is not None:
            return self._check_words(values)
        try:
            array = _as_numbers(values)
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"column {self.name!r}: expected numbers{self._in_unit()}, got {values!r:.80}") from error
        low, high = (-np.inf if self.low is None else self.low), (np.inf if self.high is None else self.high)
        bad = ~np.isfinite(array) | (array < low) | (array > high)
        if bad.any():
            row = int(bad.argmax())
            wanted = range_words(self.low, self.high, self.unit)
            raise InputError(f"column {self.name!r}: expected {wanted}, got {array[row]:g} in row {row}")
        return array

    def allows(self, value: Any) -> bool:
        """Whether one plain value meets the column; False also where only `check` can tell."""
        if self.categories is not None:
            return type(value) is str and value in self.categories
        if type(value) is not float and type(value) is not int:
            return False
        return (-_LARGEST if self.low is None else self.low) <= value <= (_LARGEST if self.high is None else self.high)

    def _in_unit(self) -> str:
        return f" in {self.unit}" if self.unit else ""

    def _check_words(self, values: Iterable[Any]) -> Array:
        assert self.categories is not None
        if hasattr(values, "factorize"):  # a column of pandas: its distinct words are few and quickly found
            with suppress(TypeError):  # what has no hash is no word, and is named below
                codes, found = values.factorize()
                if len(codes) and codes.min() >= 0 and set(found) <= set(self.categories):
                    result: Array = np.array(found, dtype=object)[codes]
                    return result
        try:
            listed = list(values.astype(object) if isinstance(values, np.ndarray) else values)
        except TypeError as error:
            raise InputError(f"column {self.name!r}: expected one word for each row, got {values!r:.80}") from error
        if not self._are_words(listed):
            for row, value in enumerate(listed):
                if not isinstance(value, str) or value not in self.categories:
                    known = ", ".join(map(repr, self.categories))
                    raise InputError(f"column {self.name!r}: expected one of {known}, got {value!r} in row {row}")
        return np.array(listed, dtype=object)

    def _are_words(self, values: Iterable[Any]) -> bool:
        """Whether all are known words: a set finds it out at a tenth of the time of a loop."""
        assert self.categories is not None
        try:
            return set(values) <= set(self.categories)
        except TypeError:  # a list, say, has no hash
            return False


@dataclass(frozen=True)
class TableSpec:
    """A table: named columns with units, ranges and categories.

    Rows come as a dict of columns, a list of dicts, a pandas DataFrame, a structured array, or a
    two-dimensional array in the order of `columns`.

    Parameters
    ----------
    columns : sequence of Column

    Examples
    --------
    >>> spec = TableSpec([Column("age", "years", 0, 120), Column("dose", "mg", 0, 50)])
    >>> spec.check_one({"age": 40, "dose": 10})
    array([[40., 10.]])
    """

    columns: tuple[Column, ...]

    _by_name: dict[str, Column] = field(init=False, repr=False, compare=False)
    _dtype: np.dtype[Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        columns = tuple(Column(**c) if isinstance(c, Mapping) else c for c in self.columns)
        names = [column.name for column in columns]
        if not columns or len(set(names)) != len(names):
            raise InputError(f"columns: expected one or more, each with a name of its own, got {names}")
        object.__setattr__(self, "columns", columns)
        object.__setattr__(self, "_by_name", dict(zip(names, columns, strict=True)))
        words = any(column.categories is not None for column in columns)
        object.__setattr__(self, "_dtype", np.dtype(object if words else np.float64))

    def check(self, X: Any) -> Array:
        """Return the table as an array (n, columns): float64, or object where words occur."""
        given = self._columns_of(X)
        names = list(self._by_name)
        missing, unknown = [n for n in names if n not in given], [n for n in given if n not in names]
        if missing or unknown:
            raise InputError(f"expected the columns {names}; missing: {missing}, unknown: {unknown}")
        checked = [column.check(given[column.name]) for column in self.columns]
        lengths = {len(column) for column in checked}
        if len(lengths) > 1:
            raise InputError(f"expected columns of one length, got lengths {sorted(lengths)}")
        if lengths == {0}:
            raise InputError("expected at least one row, got an empty table")
        if self._dtype.kind == "f":
            return np.column_stack(checked)
        table = np.empty(
            (*lengths, len(checked)), dtype=object, order="F"
        )  # a column lies in one piece: steps take columns
        for i, column in enumerate(checked):
            table[:, i] = column
        return table

    def check_one(self, x: Mapping[str, Any] | Sequence[Any] | Array) -> Array:
        """Return one row, a dict or a sequence in the order of the columns, as an array (1, columns)."""
        if isinstance(x, np.void) and x.dtype.names:  # a row of a structured array
            x = dict(zip(x.dtype.names, x.item(), strict=True))
        if not isinstance(x, Mapping):
            return self.check([x])
        if x.keys() == self._by_name.keys():
            values = [x[name] for name in self._by_name]
            if all(map(Column.allows, self.columns, values)):
                return np.array([[v if type(v) is str else float(v) for v in values]], dtype=self._dtype)
        return self.check({name: [value] for name, value in x.items()})

    def _columns_of(self, X: Any) -> dict[str, Any]:
        if isinstance(X, Mapping):
            return dict(X)
        if isinstance(X, np.ndarray) and X.dtype.names:  # a structured array
            return {name: X[name] for name in X.dtype.names}
        if isinstance(X, np.ndarray) and X.ndim == 2 and X.shape[1] == len(self.columns):
            return dict(zip(self._by_name, X.T, strict=True))
        if hasattr(X, "columns") and hasattr(X, "__getitem__"):  # a DataFrame of any maker
            return {str(name): X[name] for name in X.columns}
        rows = list(X) if isinstance(X, Sequence | np.ndarray) and not isinstance(X, str) else None
        if rows is None:
            raise InputError(f"expected a table (dict of columns, list of dicts, DataFrame), got {type(X).__name__}")
        if rows and all(isinstance(row, Mapping) for row in rows):
            names = list(dict.fromkeys(name for row in rows for name in row))
            for number, row in enumerate(rows):
                if len(row) != len(names):
                    raise InputError(f"row {number}: missing {[n for n in names if n not in row]}")
            return {name: [row[name] for row in rows] for name in names}
        return self._columns_of_rows(rows)

    def _columns_of_rows(self, rows: list[Any]) -> dict[str, Any]:
        width = len(self.columns)
        for number, row in enumerate(rows):
            if not isinstance(row, Sequence | np.ndarray) or isinstance(row, str) or len(row) != width:
                size = len(row) if isinstance(row, Sequence | np.ndarray) else repr(row)
                raise InputError(f"row {number}: expected {width} values, one for each column, got {size}")
        return {column.name: [row[i] for row in rows] for i, column in enumerate(self.columns)}


_LARGEST = float(np.finfo(np.float64).max)


def _as_numbers(values: Iterable[Any]) -> Array:
    """Return a column as float64, or raise; what is no number is not made one, and 10**400 is too large."""
    listed = values if hasattr(values, "__array__") else list(values)
    if isinstance(listed, list) and not {bool, np.bool_}.isdisjoint(map(type, listed)):
        raise TypeError  # among numbers an array would make it one
    array = np.asarray(listed)
    is_plain = array.dtype.kind in "fiu" or (array.dtype == object and all(map(_is_number_type, set(map(type, array)))))
    if array.ndim != 1 or not is_plain:
        raise TypeError
    return array.astype(np.float64)


def _is_number_type(kind: type) -> bool:
    return issubclass(kind, int | float | np.number) and not issubclass(kind, bool)


def check_limits(what: str, low: float | None, high: float | None) -> None:
    """Raise unless the limits leave something between them."""
    if low is not None and high is not None and not low <= high:
        raise InputError(f"{what}: expected low ≤ high, got low={low}, high={high}")


def range_words(low: float | None, high: float | None, unit: str) -> str:
    """Return what values are allowed, in words."""
    suffix = f" {unit}" if unit else ""
    if low is not None and high is not None:
        return f"values from {low:g} to {high:g}{suffix}"
    if low is not None:
        return f"finite values ≥ {low:g}{suffix}"
    return f"finite values ≤ {high:g}{suffix}" if high is not None else f"finite values{suffix}"
