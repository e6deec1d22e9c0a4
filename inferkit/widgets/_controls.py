"""From a predictor's input contract to the controls that fill it, and from their values to a row.

A form knows its controls (as plain values, for the browser), the values they start with, and how
values and rows become each other. Whether a row meets the contract is for the predictor to say.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inferkit._base import InputError
from inferkit.predictor import ArraySpec, Column, TableSpec, TextSpec

from ._thumbnails import thumbnail

Values = dict[str, Any]

LONGEST_VECTOR = 12  # a longer array is picked from examples
MOST_EXAMPLES = 100
STEPS = 100  # a slider has at least so many, if its numbers allow it
EXAMPLE = "example"
TEXT = "text"


class Form(Protocol):
    """Controls, and what their values mean."""

    @property
    def controls(self) -> list[dict[str, Any]]:
        """The controls, each with ``kind``, ``name``, ``label`` and what its kind needs."""

    @property
    def examples(self) -> dict[str, Values]:
        """Values to start from, by the name of the example."""

    @property
    def start(self) -> Values:
        """A value for each control, by its name."""

    def values(self, row: Any) -> Values:
        """Return the values that make a row. A row that breaks the contract is refused."""

    def row(self, values: Values) -> Any:
        """Return the row that values make, as ``predict_one`` takes it."""


def form_of(spec: Any, examples: Any = None) -> Form:
    """Return the form for an input contract.

    Parameters
    ----------
    spec : TableSpec, TextSpec or ArraySpec
    examples : array-like, list or mapping of str to row, optional
        Rows that can be picked. An array that is a picture, or longer than 12 values, needs them.

    Returns
    -------
    Form

    Raises
    ------
    InputError
        If examples are needed and missing, break the contract, or are more than 100.

    Examples
    --------
    >>> form_of(ArraySpec((2,), low=0, high=1)).start
    {'x0': 0.5, 'x1': 0.5}
    """
    rows = _rows(spec, examples)
    if isinstance(spec, TableSpec):
        return TableForm(spec, rows)
    if isinstance(spec, TextSpec):
        return TextForm(spec, rows)
    if not isinstance(spec, ArraySpec):
        raise InputError(f"LivePredictor: expected an ArraySpec, TableSpec or TextSpec as input, got {spec!r:.80}")
    short = len(spec.shape) == 1 and spec.shape[0] is not None and spec.shape[0] <= LONGEST_VECTOR
    if short and np.dtype(spec.dtype).kind in "fiu":
        return VectorForm(spec, rows)
    if not rows:
        raise InputError(
            f"LivePredictor: expected examples to pick from, for rows of shape {spec.shape} have no sliders; "
            "pass some: LivePredictor(predictor, examples=X[:12])"
        )
    return PictureForm(spec, rows)


def _rows(spec: Any, examples: Any) -> dict[str, Any]:
    """Return example rows by name, as the contract's own `check_one` makes them, each of length 1."""
    if examples is None:
        return {}
    if isinstance(examples, Mapping):
        rows = {str(name): spec.check_one(row) for name, row in examples.items()}
    else:
        checked = spec.check(examples)
        rows = {f"example {i + 1}": checked[i : i + 1] for i in range(len(checked))}
    if not 0 < len(rows) <= MOST_EXAMPLES:
        raise InputError(f"examples: expected 1 to {MOST_EXAMPLES} rows, got {len(rows):,}; choose some")
    return rows


@dataclass(frozen=True)
class TableForm:
    """A slider, a box or a picker for each column."""

    spec: TableSpec
    rows: Mapping[str, Any]

    @property
    def controls(self) -> list[dict[str, Any]]:
        """One for each column."""
        return [_for_column(column) for column in self.spec.columns]

    @property
    def examples(self) -> dict[str, Values]:
        """The example rows as values."""
        return {name: self._plain(row) for name, row in self.rows.items()}

    @property
    def start(self) -> Values:
        """The first example; without one, the middle of each range and the first of each category."""
        return _first(self.examples) or {control["name"]: _middle(control) for control in self.controls}

    def values(self, row: Any) -> Values:
        """Return a row's values by column. A dict that lacks columns takes them from `start`."""
        whole = {**self.start, **row} if isinstance(row, Mapping) else row
        return self._plain(self.spec.check_one(whole))

    def row(self, values: Values) -> Any:
        """Return the values by column."""
        return dict(values)

    def _plain(self, checked: NDArray[Any]) -> Values:
        return dict(zip((column.name for column in self.spec.columns), checked[0].tolist(), strict=True))


@dataclass(frozen=True)
class TextForm:
    """A box to write in."""

    spec: TextSpec
    rows: Mapping[str, Any]

    @property
    def controls(self) -> list[dict[str, Any]]:
        """The box, with the longest text allowed."""
        return [{"kind": "text", "name": TEXT, "label": "Text", "max_chars": self.spec.max_chars}]

    @property
    def examples(self) -> dict[str, Values]:
        """The example texts."""
        return {name: {TEXT: str(row[0])} for name, row in self.rows.items()}

    @property
    def start(self) -> Values:
        """The first example, or an empty text."""
        return _first(self.examples) or {TEXT: ""}

    def values(self, row: Any) -> Values:
        """Return a text, or a dict that holds it, as the box's value."""
        if isinstance(row, Mapping):
            _check_names(row, [TEXT])
            row = row.get(TEXT)
        return {TEXT: str(self.spec.check_one(row)[0])}

    def row(self, values: Values) -> Any:
        """Return the text."""
        return values[TEXT]


@dataclass(frozen=True)
class VectorForm:
    """A slider or a box for each value of a short vector."""

    spec: ArraySpec
    rows: Mapping[str, Any]

    @property
    def controls(self) -> list[dict[str, Any]]:
        """One for each value, called x0, x1 and so on."""
        whole = np.dtype(self.spec.dtype).kind in "iu"
        length = self.spec.shape[0] or 0
        return [_for_number(f"x{i}", self.spec.unit, self.spec.low, self.spec.high, whole) for i in range(length)]

    @property
    def examples(self) -> dict[str, Values]:
        """The example vectors as values."""
        return {name: self._plain(row) for name, row in self.rows.items()}

    @property
    def start(self) -> Values:
        """The first example, or the middle of the range."""
        return _first(self.examples) or {control["name"]: _middle(control) for control in self.controls}

    def values(self, row: Any) -> Values:
        """Return a vector's values by name. A dict that lacks some takes them from `start`."""
        if isinstance(row, Mapping):
            _check_names(row, self.start)
            row = self.row({**self.start, **row})
        return self._plain(self.spec.check_one(row))

    def row(self, values: Values) -> Any:
        """Return the vector, in the contract's type."""
        array = np.array([_number(name, value) for name, value in values.items()])
        row = array.astype(self.spec.dtype)
        if np.dtype(self.spec.dtype).kind in "iu" and not np.array_equal(row, array):
            raise InputError(f"expected whole numbers that fit into {self.spec.dtype}, got {array.tolist()}")
        return row

    def _plain(self, checked: NDArray[Any]) -> Values:
        return {f"x{i}": value for i, value in enumerate(checked[0].tolist())}


@dataclass(frozen=True)
class PictureForm:
    """Examples to pick from, each with its picture."""

    spec: ArraySpec
    rows: Mapping[str, Any]

    @property
    def controls(self) -> list[dict[str, Any]]:
        """One picker."""
        options = [{"name": name, "picture": thumbnail(row[0], self.spec)} for name, row in self.rows.items()]
        return [{"kind": "picture", "name": EXAMPLE, "label": "Example", "options": options}]

    @property
    def examples(self) -> dict[str, Values]:
        """None beside the picker itself."""
        return {}

    @property
    def start(self) -> Values:
        """The first."""
        return {EXAMPLE: 0}

    def values(self, row: Any) -> Values:
        """Return which example is meant: by its name or its number."""
        if isinstance(row, Mapping):
            _check_names(row, [EXAMPLE])
        given = row.get(EXAMPLE) if isinstance(row, Mapping) else row
        names = list(self.rows)
        if isinstance(given, str) and given in names:
            return {EXAMPLE: names.index(given)}
        if isinstance(given, int | np.integer) and not isinstance(given, bool) and 0 <= given < len(names):
            return {EXAMPLE: int(given)}
        raise InputError(f"{EXAMPLE}: expected a number from 0 to {len(names) - 1} or one of {names}, got {row!r:.80}")

    def row(self, values: Values) -> Any:
        """Return a copy of the example."""
        return list(self.rows.values())[self.values(values)[EXAMPLE]][0].copy()


def _for_column(column: Column) -> dict[str, Any]:
    if column.categories is not None:
        options = list(column.categories)
        return {"kind": "choice", "name": column.name, "label": column.name, "unit": column.unit, "options": options}
    return _for_number(column.name, column.unit, column.low, column.high, whole=False)


def _for_number(name: str, unit: str, low: float | None, high: float | None, whole: bool) -> dict[str, Any]:
    """Return a slider where both limits are known and finite, else a box."""
    base = {"name": name, "label": name, "unit": unit}
    if low is not None and high is not None and math.isfinite(high - low):
        return {**base, "kind": "slider", "grid": grid(low, high, whole=whole)}
    return {**base, "kind": "number", "low": _finite(low), "high": _finite(high), "whole": whole}


def _finite(limit: float | None) -> float | None:
    return limit if limit is not None and math.isfinite(limit) else None


def grid(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Return a slider's stops: both limits, and between them the multiples of a round step.

    Parameters
    ----------
    low, high : float
        Finite limits, and their difference is finite too.
    whole : bool, default=False
        Keep to whole numbers.

    Returns
    -------
    list of float
        Rising, some 100 to 250 of them, fewer where there are no more.

    Examples
    --------
    >>> stops = grid(6.98, 28.11)
    >>> stops[:3], stops[-1], len(stops)
    ([6.98, 7.0, 7.2], 28.11, 108)
    >>> grid(0, 3, whole=True)
    [0, 1, 2, 3]
    """
    step, digits = _round_step(high - low)
    if whole:
        low, high, step, digits = math.ceil(low), math.floor(high), max(1, round(step)), 0
    if not step:
        return sorted({float(low), float(high)})
    between = (round(k * step, digits) for k in range(math.ceil(low / step), math.floor(high / step) + 1))
    stops = sorted({low, high, *(stop for stop in between if low < stop < high)})
    return [int(stop) if whole else float(stop) for stop in stops]


def _round_step(span: float) -> tuple[float, int]:
    """Return the largest of 1, 2 and 5 times a power of ten that fits 100 times, and its decimal places."""
    if not span / STEPS:
        return 0.0, 0
    power = math.floor(math.log10(span / STEPS))
    factor = max(f for f in (1, 2, 5) if f == 1 or f * 10.0**power <= span / STEPS)
    return factor * 10.0**power, max(0, -power)


def _middle(control: Mapping[str, Any]) -> Any:
    if control["kind"] == "slider":
        return control["grid"][len(control["grid"]) // 2]
    if control["kind"] == "choice":
        return control["options"][0]
    low, high = control["low"], control["high"]
    return max(0, low) if low is not None else min(0, high) if high is not None else 0


def _first(examples: Mapping[str, Values]) -> Values | None:
    return next(iter(examples.values()), None)


def _check_names(given: Iterable[Any], known: Iterable[str]) -> None:
    unknown = [name for name in given if name not in set(known)]
    if unknown:
        raise InputError(f"expected values for {list(known)}, got {unknown}")


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        raise InputError(f"{name}: expected a number, got {'nothing' if value is None else repr(value)}")
    return value  # type: ignore[return-value]
