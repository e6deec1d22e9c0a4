"""What every part of this module checks at its door."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError
from ..predictor import Predictor

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_ROUNDING = 1 / 512  # half a step of int8: by so much may each probability of a quantized model be off


def as_predictor(model: Any) -> Predictor:
    """Return `model` if it is a Predictor, else a Predictor made of it."""
    return model if isinstance(model, Predictor) else Predictor(model)


def labels_of(predictor: Predictor, what: str) -> tuple[Any, ...]:
    """Return the labels of a predictor that gives probabilities of two or more, else raise."""
    if predictor.labels is None:
        raise InputError(
            f"{what} needs probabilities, and {predictor.name} gives none; if its columns are probabilities, say what "
            "they stand for: Predictor(model, labels=[...])"
        )
    if len(predictor.labels) < 2:
        raise InputError(f"{what} needs two labels or more, and {predictor.name} knows {list(predictor.labels)}")
    return predictor.labels


def needs_values(predictor: Predictor, what: str) -> None:
    """Raise unless a predictor has one output of numbers."""
    kinds = {spec.name: spec.kind for spec in predictor.signature.outputs}
    if list(kinds.values()) != ["values"]:
        raise InputError(f"{what} needs a predictor with one output of numbers, {predictor.name} gives {kinds}")


def values_of(predictor: Predictor, X: Any) -> Floats:
    """Return one finite number a row, shape (n,)."""
    return as_numbers(predictor.predict(X), predictor.name)


def as_numbers(answers: Any, name: str, n: int | None = None) -> Floats:
    """Return finite numbers, one a row, of what a model gave: (n,) or (n, 1)."""
    array = np.asarray(answers)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or array.dtype.kind not in "fiu" or (n is not None and len(array) != n):
        wanted = "one number a row" if n is None else f"one number for each of the {n} rows"
        raise InputError(f"{name}: expected {wanted}, got shape {array.shape} of {array.dtype}")
    if not np.isfinite(array).all():
        row = int((~np.isfinite(array)).argmax())
        raise InputError(f"{name}: expected finite numbers, got {array[row]} in row {row}")
    return array.astype(np.float64)


def as_codes(y: Any, labels: Sequence[Any], n: int) -> Integers:
    """Return where each of the `n` true labels stands among `labels`."""
    truth = np.asarray(y)
    if truth.ndim != 1 or len(truth) != n:
        raise InputError(f"y: expected one label for each of the {n} rows, got shape {truth.shape}")
    places = {label: place for place, label in enumerate(labels)}
    try:
        return np.array([places[label] for label in truth.tolist()], dtype=np.int64)
    except (KeyError, TypeError) as error:
        known = ", ".join(map(repr, list(labels)[:12])) + (", ..." if len(labels) > 12 else "")
        raise InputError(f"y: expected the labels {known}; got {str(error)[:60]}") from error


def as_probabilities(p: Any) -> Floats:
    """Return probabilities as (n, K) float64; a column alone is that of the second of two labels."""
    try:
        array = np.asarray(p)
    except ValueError as error:
        raise InputError("p: expected probabilities of shape (n, n_labels), got rows of unequal length") from error
    if array.dtype.kind not in "fiu" or array.ndim not in (1, 2) or array.size == 0:
        raise InputError(
            f"p: expected probabilities of shape (n, n_labels), or (n,) for two labels, with at least one row; got "
            f"shape {array.shape} of {array.dtype}. A predictor gives them: predictor.predict_proba(X)"
        )
    rows = array.astype(np.float64)
    rows = np.column_stack([1 - rows, rows]) if rows.ndim == 1 else rows
    if rows.shape[1] < 2:
        raise InputError(
            "p: expected a column for each of two labels or more, got one; p[:, 0] is taken for two labels"
        )
    _check_sums(rows)
    return rows


def _check_sums(rows: Floats) -> None:
    total = rows.sum(axis=1)
    slack = 1e-3 + _ROUNDING
    ok = (rows >= -slack).all(axis=1) & (rows <= 1 + slack).all(axis=1)
    ok &= np.abs(total - 1) <= 1e-3 + rows.shape[1] * _ROUNDING
    if not ok.all():  # NaN compares false, so it ends up here too
        row = int((~ok).argmax())
        shown = str(np.round(rows[row], 3).tolist())[:80]
        raise InputError(
            f"p: expected probabilities, but row {row} is {shown} and sums to {total[row]:.3g}; logits go through "
            "inferkit.predictor.Softmax()(logits) first"
        )


def normalised(p: Any) -> Floats:
    """Return probabilities that sum to 1 to the last digit: those of a quantized model do not."""
    rows = np.clip(np.asarray(p, dtype=np.float64), 0, None)
    scaled: Floats = rows / rows.sum(axis=1, keepdims=True)
    return scaled


def share(name: str, value: Any) -> float:
    """Return a share above 0 and below 1, or raise."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < 1:
        raise InputError(f"{name}: expected a share above 0 and below 1, such as 0.9, got {value!r}")
    return float(value)


def whole(name: str, value: Any, least: int = 1) -> int:
    """Return a whole number that is large enough, or raise."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{name}: expected a whole number ≥ {least}, got {value!r}")
    return int(value)


def one_of(name: str, value: Any, known: Sequence[str]) -> None:
    """Raise unless `value` is one of the words known."""
    if value not in known:
        raise InputError(f"{name}: expected one of {', '.join(map(repr, known))}, got {value!r}")
