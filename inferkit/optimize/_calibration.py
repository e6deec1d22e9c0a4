"""Calibration rows: what the ranges of an integer model are learned from, checked before they can ruin it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._base import InputError
from ..models import LiteRTModel
from ._source import Input, Source

Rows = tuple[NDArray[np.float32], ...]

LEAST, ENOUGH = 10, 100
_FAR = 3.0  # a range so many times as wide was scaled otherwise
_WHOLE_FROM = 10  # whole numbers above it look like raw pixels
_COMPARED = 1000  # rows of X that are looked at


class CalibrationWarning(UserWarning):
    """Calibration rows that are allowed, and may cost accuracy."""


def checked_rows(what: str, inputs: tuple[Input, ...], given: Any) -> Rows:
    """Return one array for each input, of its type, finite and of one length.

    Parameters
    ----------
    what : str
        For messages.
    inputs : tuple of Input
        What the model takes.
    given : array, or tuple of arrays where there are several inputs

    Returns
    -------
    tuple of (n, ...) arrays

    Raises
    ------
    InputError
        If they do not fit.
    """
    arrays = given if isinstance(given, tuple) else (given,)
    if len(arrays) != len(inputs):
        raise InputError(f"{what}: expected a tuple of {len(inputs)} arrays, one for each input, got {len(arrays)}")
    rows = tuple(np.asarray(array, dtype=one.dtype) for array, one in zip(arrays, inputs, strict=True))
    for one, wants in zip(rows, inputs, strict=True):
        if one.shape[1:] != wants.shape or len(one) == 0 or len(one) != len(rows[0]):
            wanted = ", ".join(["n", *map(str, wants.shape)])
            raise InputError(f"{what}: expected an array of shape ({wanted}), n ≥ 1, for each input, got {one.shape}")
        if not np.isfinite(one).all():
            raise InputError(f"{what}: expected finite values, got NaN or infinity: remove those rows")
    return rows


def checked_calibration(source: Source, calibration: Any, reference: LiteRTModel, X: Rows | None) -> Rows:
    """Return calibration rows that have something to say; warn of what may cost accuracy.

    Parameters
    ----------
    source : Source
        The model.
    calibration : array or tuple of arrays
        As it was given.
    reference : LiteRTModel
        The float model, which says which classes the rows show.
    X : tuple of arrays, optional
        Rows as the model will meet them.

    Returns
    -------
    tuple of (n, ...) float32 arrays

    Raises
    ------
    InputError
        If there are fewer than 10 rows, they do not fit, are all alike or zero, or are scaled otherwise than `X`.

    Warns
    -----
    CalibrationWarning
        If there are fewer than 100 rows, they look unscaled, or classes are missing.
    """
    rows = checked_rows("calibration", source.inputs, calibration)
    _check_content(rows)
    if X is not None:
        _check_scale(rows, X)
    raw = () if X is not None or _scales_itself(source.keras_model) else _raw_pixels(rows)
    for doubt in (*_too_few(rows), *raw, *_missing_classes(reference, rows, X)):
        warnings.warn(f"calibration: {doubt}", CalibrationWarning, stacklevel=3)
    return rows


def _too_few(rows: Rows) -> Iterator[str]:
    if len(rows[0]) < ENOUGH:
        yield f"{len(rows[0])} rows: ranges may be too narrow; take some {ENOUGH} to 500 training rows"


def _check_content(rows: Rows) -> None:
    """Refuse rows from which no range can be learned."""
    if len(rows[0]) < LEAST:
        raise InputError(f"calibration: expected at least {LEAST} typical rows, got {len(rows[0])}; take some {ENOUGH}")
    for one in rows:
        if not one.any():
            raise InputError("calibration: expected typical inputs, got zeros only: take some training rows")
        if (one == one[0]).all():
            raise InputError(
                "calibration: expected typical inputs, got rows that are all alike: take some training rows"
            )


def _check_scale(rows: Rows, X: Rows) -> None:
    """Refuse rows that reach much further, or much less far, than those that the model will meet."""
    for ours, theirs in zip(rows, X, strict=True):
        reach, met = (float(np.quantile(np.abs(one[:_COMPARED]), 0.999)) for one in (ours, theirs))
        if met and not met / _FAR <= reach <= met * _FAR:
            raise InputError(
                f"calibration: its values reach {reach:.3g}, those of X {met:.3g}: it was scaled otherwise; "
                "prepare both alike"
            )


def _scales_itself(model: Any) -> bool:
    """Tell whether a model begins with scaling, so that raw numbers are right."""
    return any(type(layer).__name__ in ("Rescaling", "Normalization") for layer in getattr(model, "layers", ()))


def _raw_pixels(rows: Rows) -> Iterator[str]:
    """Doubt whole numbers that no scaling has touched."""
    for one in rows:
        if one.dtype.kind == "f" and one.max() > _WHOLE_FROM and one.min() >= 0 and (one == np.rint(one)).all():
            yield f"whole numbers up to {one.max():.0f}: were they scaled as the training rows were?"


def _missing_classes(reference: LiteRTModel, rows: Rows, X: Rows | None) -> Iterator[str]:
    """Doubt rows in which the float model sees fewer classes than it should."""
    answers = answers_of(reference, rows)
    if not _is_classifier(answers):
        return
    met = range(answers.shape[1]) if X is None else answers_of(reference, tuple(one[:_COMPARED] for one in X)).argmax(1)
    missing = sorted(set(map(int, met)) - set(answers.argmax(axis=1).tolist()))
    if missing:
        yield f"the model sees no row of class {', '.join(map(str, missing[:10]))}; take rows of every class"


def answers_of(model: LiteRTModel, rows: Rows) -> NDArray[Any]:
    """Return a model's first output for some rows, a few at a time."""
    parts = []
    for i in range(0, len(rows[0]), 256):
        answer = model(*(one[i : i + 256] for one in rows))
        parts.append(next(iter(answer.values())) if isinstance(answer, dict) else answer)
    return np.concatenate(parts)


def _is_classifier(answers: NDArray[Any]) -> bool:
    """Tell whether answers are probabilities of a few classes."""
    return (
        answers.ndim == 2
        and 1 < answers.shape[1] <= 1000
        and bool((answers >= 0).all())
        and np.allclose(answers.sum(axis=1), 1, atol=0.05)
    )
