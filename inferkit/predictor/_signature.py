"""What a predictor takes and gives: checked at the door, in words a caller can act on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .._base import InputError
from ._table import Column as Column
from ._table import TableSpec as TableSpec
from ._table import check_limits, range_words

Array = npt.NDArray[Any]
Label = str | int | float | bool
Kind = Literal["probabilities", "labels", "values"]


@dataclass(frozen=True)
class ArraySpec:
    """An array for each row: shape, type and range.

    Parameters
    ----------
    shape : tuple of int or None
        Shape of one row, without the axis of rows; None stands for any length.
    dtype : str, default="float32"
        Type that the model is given. Numbers of another type are converted where nothing can be
        lost but precision (integers to floats, float64 to float32), and refused otherwise.
    low, high : float, optional
        The smallest and the largest value allowed.
    unit : str
        What one unit of a value is.

    Examples
    --------
    >>> ArraySpec((8, 8), low=0, high=16).check_one([[0] * 8] * 8).shape
    (1, 8, 8)
    """

    shape: tuple[int | None, ...]
    dtype: str = "float32"
    low: float | None = None
    high: float | None = None
    unit: str = ""

    _dtype: np.dtype[Any] = field(init=False, repr=False, compare=False)
    _low: float = field(init=False, repr=False, compare=False)
    _high: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(self, "dtype", np.dtype(self.dtype).name)
        if any(not (n is None or (isinstance(n, int) and n > 0)) for n in self.shape):
            raise InputError(f"shape: expected lengths ≥ 1 or None, got {self.shape}")
        check_limits("the array", self.low, self.high)
        largest = np.finfo(np.float64).max
        # What `check_one` compares with, made once.
        object.__setattr__(self, "_dtype", np.dtype(self.dtype))
        object.__setattr__(self, "_low", -largest if self.low is None else self.low)
        object.__setattr__(self, "_high", largest if self.high is None else self.high)

    def check(self, X: npt.ArrayLike) -> Array:
        """Return the rows as an array (n, *shape) of the declared type, or raise `InputError`."""
        array = self._as_array(X)
        if array.ndim != len(self.shape) + 1 or not self._fits(array.shape[1:]):
            hint = "; for one row use predict_one(x) or X[None]" if self._fits(array.shape) else ""
            raise InputError(f"expected rows of shape {self._wanted('n')}, got {array.shape}{hint}")
        if 0 in array.shape:
            raise InputError(f"expected at least one row of shape {self._wanted()}, got an empty array {array.shape}")
        self._check_values(array)
        return array

    def check_one(self, x: npt.ArrayLike) -> Array:
        """Return one row as an array (1, *shape), or raise `InputError`."""
        if (
            type(x) is np.ndarray and x.dtype is self._dtype and x.shape == self.shape
            and self._low <= x.item(x.argmin()) and x.item(x.argmax()) <= self._high
        ):  # fmt: skip
            return x[None]  # `_is_in_range`, written out: a call would cost a tenth of the check
        array = self._as_array(x)
        if not self._fits(array.shape):
            hint = "; for several rows use predict(X)" if self._fits(array.shape[1:]) else ""
            raise InputError(f"expected one row of shape {self._wanted()}, got {array.shape}{hint}")
        self._check_values(array)
        return array[None]

    def _fits(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == len(self.shape) and all(n in (None, got) for n, got in zip(self.shape, shape, strict=True))

    def _wanted(self, *first: str) -> str:
        lengths = [*first, *("any" if n is None else str(n) for n in self.shape)]
        return "(" + ", ".join(lengths) + ("," if len(lengths) == 1 else "") + ")"

    def _as_array(self, values: npt.ArrayLike) -> Array:
        try:
            array = np.asarray(values)
        except ValueError as error:
            raise InputError(f"expected an array of {self.dtype}, got rows of unequal length") from error
        if array.dtype == self._dtype:  # a name would not tell one byte order from the other
            return array
        if array.dtype.kind not in "fiu" or not np.can_cast(array.dtype, self.dtype, "same_kind"):
            raise InputError(f"expected {self.dtype}, got {array.dtype.name}; convert it where you know what it means")
        with np.errstate(over="ignore"):
            converted = array.astype(self.dtype)
        if array.dtype.kind in "iu" and self.dtype[0] in "iu" and not np.array_equal(converted, array):
            raise InputError(f"expected {self.dtype}, got {array.dtype.name} values that do not fit into it")
        return converted

    def _is_in_range(self, array: Array) -> bool:
        """Whether all values are finite and in range.

        argmin and argmax cost a fifth of min and max on a small array, and they stop at a NaN,
        for which both comparisons are false.
        """
        return bool(self._low <= array.item(array.argmin()) and array.item(array.argmax()) <= self._high)

    def _check_values(self, array: Array) -> None:
        if array.dtype.kind not in "fiu" or not array.size or self._is_in_range(array):
            return
        wide = array.astype(np.float64)  # a limit that float32 does not have must not be rounded to one that it has
        bad = ~np.isfinite(wide) | (wide < self._low) | (wide > self._high)
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"expected {range_words(self.low, self.high, self.unit)}, got {array[where]:g} at index {where}"
            + (f" and {int(bad.sum()) - 1} more" if bad.sum() > 1 else "")
        )


@dataclass(frozen=True)
class TextSpec:
    """A text for each row.

    Parameters
    ----------
    max_chars : int, default=10_000
        The longest text allowed, in characters.

    Examples
    --------
    >>> TextSpec().check(["a fine day", "rain again"]).shape
    (2,)
    """

    max_chars: int = 10_000

    def check(self, X: Iterable[str]) -> Array:
        """Return the texts as an array (n,) of str objects."""
        if isinstance(X, str | bytes):
            raise InputError("expected a list of texts, got one text; use predict_one(text) or [text]")
        texts = list(X)
        if not texts:
            raise InputError("expected at least one text, got an empty list")
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise InputError(f"row {row}: expected a text, got {type(text).__name__}")
            if len(text) > self.max_chars:
                raise InputError(f"row {row}: expected at most {self.max_chars:,} characters, got {len(text):,}")
        return np.array(texts, dtype=object)

    def check_one(self, x: str) -> Array:
        """Return one text as an array (1,)."""
        return self.check([x])


InputSpec = ArraySpec | TableSpec | TextSpec


@dataclass(frozen=True)
class OutputSpec:
    """One output of a predictor.

    Parameters
    ----------
    name : str, default="output"
    kind : {"probabilities", "labels", "values"}
        ``"probabilities"``: one column for each label, rows sum to 1; ``predict`` gives the likeliest
        label. ``"labels"``: the model gives labels itself, and no probabilities can be had.
        ``"values"``: numbers, as in regression.
    labels : sequence, optional
        What each column of the probabilities stands for.
    unit : str
        Unit of the values.
    """

    name: str = "output"
    kind: Kind = "values"
    labels: tuple[Label, ...] | None = None
    unit: str = ""

    def __post_init__(self) -> None:
        if self.labels is not None:
            labels = tuple(label.item() if isinstance(label, np.generic) else label for label in self.labels)
            if len(set(labels)) != len(labels):
                raise InputError(f"labels: expected each label once, got {labels}")
            object.__setattr__(self, "labels", labels)
        if self.kind not in ("probabilities", "labels", "values"):
            raise InputError(f"kind: expected 'probabilities', 'labels' or 'values', got {self.kind!r}")
        if (self.kind == "probabilities") != (self.labels is not None):
            raise InputError(f"output {self.name!r}: labels go with probabilities, and only with them")


@dataclass(frozen=True)
class Signature:
    """The contract of a predictor: its input and its outputs.

    Parameters
    ----------
    input : ArraySpec, TableSpec or TextSpec
    outputs : sequence of OutputSpec
    """

    input: InputSpec
    outputs: tuple[OutputSpec, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "outputs", tuple(self.outputs))
        names = [output.name for output in self.outputs]
        if not names or len(set(names)) != len(names):
            raise InputError(f"outputs: expected one or more, each with a name of its own, got {names}")

    def to_dict(self) -> dict[str, Any]:
        """Return the signature as plain values that JSON can hold."""
        kind = next(name for name, cls in INPUT_KINDS.items() if type(self.input) is cls)
        return {"input": {"kind": kind, **_plain(self.input)}, "outputs": [_plain(o) for o in self.outputs]}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Signature":
        """Make the signature that `to_dict` wrote."""
        spec = dict(plain["input"])
        kind = INPUT_KINDS[spec.pop("kind")]
        return cls(kind(**spec), tuple(OutputSpec(**output) for output in plain["outputs"]))


INPUT_KINDS: dict[str, Any] = {"array": ArraySpec, "table": TableSpec, "text": TextSpec}


def _plain(spec: Any) -> dict[str, Any]:
    """Return what a specification was made with, as plain values."""
    plain = {f.name: getattr(spec, f.name) for f in fields(spec) if f.init}
    if "columns" in plain:
        plain["columns"] = [_plain(column) for column in plain["columns"]]
    return plain
