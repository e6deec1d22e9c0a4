"""Post-training quantization: one call for the schemes of LiteRT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from .._base import InputError
from ..models import LiteRTModel
from ._calibration import Rows, answers_of, checked_calibration, checked_rows
from ._convert import convert
from ._optimized import OptimizedModel, optimized
from ._source import open_source

Scheme = Literal["dynamic", "float16", "int8", "int16x8", "weight-only"]
SCHEMES: tuple[str, ...] = get_args(Scheme)
NEEDS_RANGES = ("int8", "int16x8")
COMPARED_ROWS = 32
"""Rows that the layers of the two models are compared on."""

Score = Callable[[Any, Any], float]


class AccuracyLossError(RuntimeError):
    """A smaller model that lost more than it may.

    Attributes
    ----------
    model : OptimizedModel
        The model, to look into.
    """

    model: OptimizedModel


def quantize(
    model: Any,
    scheme: Scheme = "int8",
    *,
    calibration: Any = None,
    integer_io: bool = False,
    X: Any = None,
    y: ArrayLike | None = None,
    max_loss: float = 0.02,
    score: Score | None = None,
) -> OptimizedModel:
    """Make a model of fewer bits, with no further training.

    Parameters
    ----------
    model : keras.Model, path-like, bytes, LiteRTModel or OptimizedModel
        A float model: in Keras, a ``.keras`` file, or a float ``.tflite`` file. A file is quantized without TensorFlow,
        by ``ai-edge-quantizer`` (extra ``quantize``).
    scheme : {"dynamic", "float16", "int8", "int16x8", "weight-only"}, default "int8"
        - ``dynamic``: weights int8; activations are rounded while it runs, row by row, where the runtime has a kernel.
        - ``float16``: weights float16; computes in float32 where the processor has nothing better.
        - ``int8``: weights and activations int8, sums int32. Needs `calibration`.
        - ``int16x8``: weights int8, activations int16. Needs `calibration`.
        - ``weight-only``: weights int8, made real again before use; computes in float32. Needs extra ``quantize``.
    calibration : (n, ...) array, or a tuple of them for several inputs
        Typical inputs, prepared as for training, some 100 to 500.
    integer_io : bool, default False
        With ``int8``: take and give int8. A :class:`LiteRTModel` rounds for the caller; a small device has no need to.
    X, y : arrays, optional
        Rows and classes to judge the model on: the accuracy guard.
    max_loss : float, default 0.02
        The accuracy that may be lost on `X`, `y`, as a share.
    score : callable, optional
        ``score(y, answers)`` gives a number that is better when higher, instead of the accuracy.

    Returns
    -------
    OptimizedModel
        Predicts; its `report` has the bytes, and the error of each layer where rows were given.

    Raises
    ------
    InputError
        If the scheme is unknown, the model or the rows do not fit, or calibration rows are missing or useless.
    AccuracyLossError
        If more than `max_loss` is lost.
    ConversionError
        If the converter refuses the model.
    MissingExtraError
        If TensorFlow or ai-edge-quantizer is needed and not installed.

    Warns
    -----
    CalibrationWarning
        If the calibration rows may cost accuracy.

    References
    ----------
    B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
    CVPR 2018; "LiteRT 8-bit quantization specification".

    Examples
    --------
    >>> from inferkit.datasets import load_signs
    >>> from inferkit.models import load_reference
    >>> images = load_signs().images / np.float32(255)
    >>> small = quantize(load_reference("signs-cnn", "keras"), "int8", calibration=images[::5])
    >>> small.report.n_parameters, small.report.weight_bytes
    (30444, 30912)
    """
    _check_words(scheme, calibration, integer_io, max_loss, (X, y, score))
    source = open_source(model)
    float_content = source.float_content()
    reference = LiteRTModel(float_content, order=source.order)
    unseen = None if X is None else checked_rows("X", source.inputs, X)
    rows: Rows | None = None
    if calibration is not None:
        rows = checked_calibration(source, calibration, reference, unseen)
    content = convert(source, float_content, scheme, rows, integer_io=integer_io)
    candidate = LiteRTModel(content, order=source.order)
    scores = {} if unseen is None else _scores(candidate, reference, unseen, y, score)
    compared = unseen or rows or ()
    result = optimized(
        content,
        f"{scheme}-io" if integer_io else scheme,
        f"{source.name}-{scheme}",
        keras_model=source.keras_model,
        order=source.order,
        reference=float_content,
        rows=tuple(one[:COMPARED_ROWS] for one in compared),
        **scores,
    )
    _guard(result, max_loss)
    return result


def _check_words(scheme: str, calibration: Any, integer_io: bool, max_loss: float, judged: tuple[Any, ...]) -> None:
    """Refuse words that do not go together, before any work."""
    X, y, score = judged
    if scheme not in SCHEMES:
        raise InputError(f"scheme: expected one of {', '.join(SCHEMES)}; got {scheme!r}")
    if scheme in NEEDS_RANGES and calibration is None:
        raise InputError(
            f"calibration: {scheme} learns the range of each layer from typical inputs; give some 100 training rows: "
            f'quantize(model, "{scheme}", calibration=X_train[:200])'
        )
    if integer_io and scheme != "int8":
        raise InputError(f"integer_io: only int8 has integers at both ends, got scheme {scheme!r}")
    if (X is None) != (y is None):
        raise InputError("X, y: expected both or neither; the guard needs rows and what is right for them")
    if not (isinstance(max_loss, int | float) and 0 <= max_loss < 1):
        raise InputError(f"max_loss: expected a share from 0 to below 1, such as 0.02, got {max_loss!r}")
    if X is not None and score is None and len(np.asarray(y)) * max_loss < 1:
        raise InputError(
            f"X, y: {len(np.asarray(y))} rows cannot show a loss of {max_loss:g}; give more rows, or a larger max_loss"
        )


def _scores(candidate: LiteRTModel, reference: LiteRTModel, rows: Rows, y: Any, score: Score | None) -> dict[str, Any]:
    """Judge both models on the same rows."""
    right = np.asarray(y)
    if len(right) != len(rows[0]):
        raise InputError(f"y: expected one for each of {len(rows[0])} rows, got {len(right)}")
    judge = score or _accuracy
    return {
        "accuracy": float(judge(right, answers_of(candidate, rows))),
        "reference_accuracy": float(judge(right, answers_of(reference, rows))),
        "n_test": len(right),
    }


def _accuracy(y: Any, answers: Any) -> float:
    if answers.ndim != 2 or y.ndim != 1:
        raise InputError(
            f"y: expected (n,) classes and a model that gives (n, classes), got {y.shape} and {answers.shape}; "
            "for other models give score="
        )
    return float((answers.argmax(axis=1) == y).mean())


def _guard(result: OptimizedModel, max_loss: float) -> None:
    """Raise if the model lost more than it may."""
    report = result.report
    if report.accuracy is None or report.reference_accuracy is None:
        return
    lost = report.reference_accuracy - report.accuracy
    if lost > max_loss + 1e-9:
        worst = min((one for one in report.layers if one.sqnr_db is not None), key=lambda one: one.sqnr_db or 0)
        error = AccuracyLossError(
            f"{report.method} scores {report.accuracy:.3f}, the float model {report.reference_accuracy:.3f} "
            f"(n = {report.n_test:,}): {lost:.3f} lost, {max_loss:g} allowed. The layer furthest off is {worst.name} "
            f"({worst.sqnr_db:.1f} dB). Try other calibration rows, int16x8, or quantization_aware_training"
        )
        error.model = result
        raise error
