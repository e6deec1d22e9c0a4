"""Preprocess and postprocess steps: a closed set that can be named, inspected, timed and saved.

Any callable can be a step. Only those in this file can be saved with a predictor, because a file
that could name any callable could run any code.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError, ModelFileError, require

Array = npt.NDArray[Any]
Step = Callable[[Any], Any]
_FLOAT32 = np.dtype(np.float32)


@dataclass(frozen=True)
class Scale:
    """Subtract, then divide: ``(x - subtract) / divide_by``, in float32.

    Parameters
    ----------
    divide_by : float
    subtract : float, default=0

    Examples
    --------
    >>> Scale(16)(np.array([0, 8, 16]))
    array([0. , 0.5, 1. ], dtype=float32)
    """

    divide_by: float
    subtract: float = 0.0

    _divisor: Array = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not np.isfinite(self.divide_by) or self.divide_by == 0 or not np.isfinite(self.subtract):
            raise InputError(f"expected finite numbers and divide_by ≠ 0, got {self}")
        # As an array of no dimensions a number takes half the time that a scalar takes.
        object.__setattr__(self, "_divisor", np.array(self.divide_by, dtype=np.float32))

    def __call__(self, x: Array) -> Array:
        """Return the scaled array."""
        if x.dtype is not _FLOAT32:
            x = x.astype(np.float32)
        if self.subtract:
            x = x - np.float32(self.subtract)
        scaled: Array = x / self._divisor
        return scaled


@dataclass(frozen=True)
class Standardize:
    """Subtract each column's mean and divide by its standard deviation.

    Parameters
    ----------
    mean, scale : sequence of float
        One value for each column; as `StandardScaler` has them in ``mean_`` and ``scale_``.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]

    _arrays: tuple[Array, Array] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(float(v) for v in self.mean))
        object.__setattr__(self, "scale", tuple(float(v) for v in self.scale))
        object.__setattr__(self, "_arrays", (np.array(self.mean), np.array(self.scale)))
        if len(self.mean) != len(self.scale) or not all(np.isfinite(s) and s > 0 for s in self.scale):
            raise InputError("expected as many scales as means, each scale finite and > 0")

    def __call__(self, x: Array) -> Array:
        """Return the standardized columns."""
        mean, scale = self._arrays
        result: Array = x - mean
        result /= scale
        return result.astype(x.dtype, copy=False) if x.dtype.kind == "f" else result


@dataclass(frozen=True)
class Log1p:
    """Replace x by log(1 + x) in some columns: for amounts, distances and times, which have long tails.

    Parameters
    ----------
    columns : sequence of int
        Their numbers.

    Examples
    --------
    >>> Log1p([1])(np.array([[5.0, 0.0], [6.0, np.e - 1]]))
    array([[5., 0.],
           [6., 1.]])
    """

    columns: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(int(n) for n in self.columns))

    def __call__(self, x: Array) -> Array:
        """Return the array with those columns changed, float64."""
        result: Array = x.astype(np.float64)
        for column in self.columns:
            result[:, column] = np.log1p(result[:, column])
        return result


@dataclass(frozen=True)
class Reshape:
    """Give each row another shape; the axis of rows stays.

    Parameters
    ----------
    shape : tuple of int
        Shape of one row; one length may be −1.
    """

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    def __call__(self, x: Array) -> Array:
        """Return the rows in their new shape."""
        return x.reshape(len(x), *self.shape)


@dataclass(frozen=True)
class Clip:
    """Bring values below `low` up to it, and values above `high` down to it."""

    low: float
    high: float

    def __call__(self, x: Array) -> Array:
        """Return the clipped array."""
        return np.clip(x, self.low, self.high)


@dataclass(frozen=True)
class Cast:
    """Convert to another type.

    Parameters
    ----------
    dtype : str
    """

    dtype: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", np.dtype(self.dtype).name)

    def __call__(self, x: Array) -> Array:
        """Return the converted array."""
        return x.astype(self.dtype)


@dataclass(frozen=True)
class OneHot:
    """Replace each column of words by one column of zeros and ones for each word.

    Parameters
    ----------
    categories : sequence of sequence of str or None
        For each column its words; None for a column of numbers, which stays.

    Examples
    --------
    >>> OneHot([None, ("no", "yes")])(np.array([[40.0, "yes"]], dtype=object))
    array([[40.,  0.,  1.]])
    """

    categories: tuple[tuple[str, ...] | None, ...]

    _places: tuple[int | dict[str, int], ...] = field(init=False, repr=False, compare=False)
    _width: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        columns = tuple(None if words is None else tuple(words) for words in self.categories)
        object.__setattr__(self, "categories", columns)
        starts = np.cumsum([0, *(1 if words is None else len(words) for words in columns)]).tolist()
        places = [
            start if words is None else {word: place for place, word in enumerate(words, start)}
            for start, words in zip(starts[:-1], columns, strict=True)
        ]
        object.__setattr__(self, "_places", tuple(places))
        object.__setattr__(self, "_width", starts[-1])

    def __call__(self, x: Array) -> Array:
        """Return a float64 array with a column for each number and each word."""
        result = np.zeros((len(x), self._width))
        if len(x) == 1:
            self._fill_row(result[0], x[0].tolist())
            return result
        for column, place in zip(x.T, self._places, strict=True):
            if isinstance(place, int):
                result[:, place] = column
            else:
                for word, place_of_word in place.items():
                    result[:, place_of_word] = column == word
        return result

    def _fill_row(self, row: Array, values: list[Any]) -> None:
        """Fill one row of zeros: as the loop over columns does, at a tenth of its time."""
        for value, place in zip(values, self._places, strict=True):
            if isinstance(place, int):
                row[place] = value
            elif value in place:
                row[place[value]] = 1


@dataclass(frozen=True)
class ToFrame:
    """Make a pandas DataFrame, for pipelines that choose columns by name (needs the extra ``pandas``).

    Parameters
    ----------
    columns : sequence of str
    """

    columns: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(self.columns))

    def __call__(self, x: Array) -> Any:
        """Return the rows as a DataFrame; columns of numbers become numeric again."""
        return require("pandas", extra="pandas").DataFrame(x, columns=list(self.columns)).infer_objects()


@dataclass(frozen=True)
class Lowercase:
    """Write texts in lower case."""

    def __call__(self, x: Array) -> Array:
        """Return the texts in lower case."""
        return np.array([text.lower() for text in x], dtype=object)


@dataclass(frozen=True)
class Softmax:
    """Turn logits into probabilities: ``exp(z / T)`` divided by its sum over the last axis.

    Parameters
    ----------
    temperature : float, default=1
        T > 1 makes the answers less sure, T < 1 more.
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.temperature) and self.temperature > 0):
            raise InputError(f"temperature: expected a finite number > 0, got {self.temperature}")

    def __call__(self, x: Array) -> Array:
        """Return the probabilities."""
        z = np.asarray(x) / self.temperature
        e = np.exp(z - z.max(axis=-1, keepdims=True))  # the largest exponent is 0: no overflow
        result: Array = e / e.sum(axis=-1, keepdims=True)
        return result


@dataclass(frozen=True)
class Temper:
    """Raise probabilities to the power ``1 / T``, and divide by their sum: a postprocess step.

    For probabilities that a softmax made it is the same as dividing the logits by T, because their logarithms are the
    logits but for a constant.

    Parameters
    ----------
    temperature : float
        T > 1 makes the answers less sure, T < 1 more.
    floor : float, default=1e-12
        Smaller probabilities count as this. A zero would stay zero at any temperature; those of a quantized model
        stand for anything up to half a step.

    Raises
    ------
    InputError
        If `temperature` is not a finite number above 0, or `floor` not above 0 and below 0.5.

    Examples
    --------
    >>> Temper(2.0)(np.array([[0.8, 0.2]])).round(3)
    array([[0.667, 0.333]])
    """

    temperature: float
    floor: float = 1e-12

    def __post_init__(self) -> None:
        if not (np.isfinite(self.temperature) and self.temperature > 0):
            raise InputError(f"temperature: expected a finite number > 0, got {self.temperature}")
        if not 0 < self.floor < 0.5:
            raise InputError(f"floor: expected a probability above 0 and below 0.5, got {self.floor}")

    def __call__(self, x: Array) -> Array:
        """Return the tempered probabilities, float64."""
        return tempered(logs_of(x, self.floor), 1 / self.temperature)


def logs_of(p: Array, floor: float) -> npt.NDArray[np.float64]:
    """Return logits up to a constant, the largest of each row 0."""
    logs = np.log(np.maximum(np.asarray(p, dtype=np.float64), floor))
    shifted: npt.NDArray[np.float64] = logs - logs.max(axis=-1, keepdims=True)
    return shifted


def tempered(logs: npt.NDArray[np.float64], cold: float) -> npt.NDArray[np.float64]:
    """Return the probabilities of logits that were multiplied by `cold`, which is one over the temperature."""
    powers = np.exp(logs * cold)
    p: npt.NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return p


@dataclass(frozen=True)
class Sigmoid:
    """Turn one logit a row into the two probabilities of no and yes."""

    def __call__(self, x: Array) -> Array:
        """Return an array (n, 2)."""
        z = np.asarray(x).reshape(-1, 1)
        yes = np.where(z >= 0, 1, np.exp(-np.abs(z))) / (1 + np.exp(-np.abs(z)))
        return np.hstack([1 - yes, yes])


SAVABLE: dict[str, type[Any]] = {
    cls.__name__: cls
    for cls in (Scale, Standardize, Log1p, Reshape, Clip, Cast, OneHot, ToFrame, Lowercase, Softmax, Temper, Sigmoid)
}  # fmt: skip


def step_name(step: Step) -> str:
    """Return a step's name: that of a function, or of the class of anything else."""
    return getattr(step, "__name__", type(step).__name__)


def step_to_dict(step: Step) -> dict[str, Any]:
    """Return a savable step as plain values, or raise `InputError` that names it."""
    if SAVABLE.get(type(step).__name__) is not type(step):
        raise InputError(
            f"the step {step_name(step)!r} cannot be saved: a file holds no code. "
            f"Use one of {', '.join(SAVABLE)}, or save without it and add it after loading"
        )
    parameters = {f.name: getattr(step, f.name) for f in fields(step) if f.init}  # type: ignore[arg-type]
    return {"step": type(step).__name__, **parameters}


def step_from_dict(plain: Mapping[str, Any]) -> Step:
    """Make the step that `step_to_dict` wrote."""
    parameters = dict(plain)
    name = parameters.pop("step", None)
    if name not in SAVABLE:
        raise ModelFileError(f"the file asks for a step {name!r}, which this version does not know")
    try:
        step: Step = SAVABLE[name](**parameters)
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"the file has wrong parameters for the step {name}: {error}") from error
    return step
