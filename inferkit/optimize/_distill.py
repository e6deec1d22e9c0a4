"""Distillation: a small network learns what a large one answers, its doubts included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._base import InputError
from ..models import LiteRTModel, import_keras
from ._calibration import Rows, answers_of, checked_rows
from ._optimized import OptimizedModel, from_keras
from ._source import copy_of, fit, inputs_of, is_keras, open_keras

_BATCH = 256
_TINY = 1e-30  # a probability that rounds to 0 in float32 has no logarithm
_WITH_CLASSES = 0.9
_WANTED = (
    "a LiteRTModel, an OptimizedModel, a Keras model, something with predict_proba, or a function from rows to "
    "(n, classes) probabilities"
)


def distill(
    teacher: Any,
    student: Any,
    X: Any,
    y: ArrayLike | None = None,
    *,
    temperature: float = 4.0,
    alpha: float | None = None,
    epochs: int = 10,
    batch_size: int = 32,
    learning_rate: Any = 1e-3,
    validation_data: tuple[Any, ArrayLike | None] | None = None,
    random_state: int | None = None,
    progress: bool = True,
) -> OptimizedModel:
    """Train a small network to answer as a large one does.

    The loss of a row is ``alpha · T² · KL(teacher ‖ student) + (1 − alpha) · cross-entropy``. In the first term both
    are softened by the temperature T: each probability is raised to 1/T, and they are made to sum to 1 again. So the
    student also learns which wrong classes the teacher finds likely.

    Parameters
    ----------
    teacher : LiteRTModel, OptimizedModel, keras.Model, Predictor or callable
        Gives (n, classes) probabilities for the rows; `predict_proba` is used where there is one. It is only asked.
    student : keras.Model, path-like, bytes or OptimizedModel
        A Keras model or a ``.keras`` file that ends in a softmax. It stays as it is; a copy is trained.
    X : (n, ...) array, or a tuple of them for several inputs
        Rows, as both take them. For a teacher that wants them prepared otherwise, give a function that does that.
    y : (n,) array of int, optional
        Classes from 0. Without them the teacher is all there is to learn from.
    temperature : float, default 4.0
        T, above 0. At 1 the probabilities are taken as they are.
    alpha : float, optional
        Weight of the teacher, 0 to 1; 0.9 if there are classes, 1 if not.
    epochs, batch_size, learning_rate, random_state, progress
        As in :func:`inferkit.models.train`.
    validation_data : tuple of (X, y), optional
        Rows to state the same loss on after each epoch; y may be None if `y` is.

    Returns
    -------
    OptimizedModel
        Its float file; `keras_model` is the trained student.

    Raises
    ------
    InputError
        If the teacher's answers are no probabilities, or of other classes than the student's; the student has no
        softmax at its end; rows and classes do not fit; or a number is out of range.
    KeyboardInterrupt
        If it is interrupted; the student given is as it was.

    Notes
    -----
    The factor T² keeps the first term's gradient of one size: softening shrinks it by about that much.

    References
    ----------
    G. Hinton, O. Vinyals and J. Dean, "Distilling the Knowledge in a Neural Network", 2015.

    Examples
    --------
    >>> from inferkit.models import mlp
    >>> X = np.repeat(np.eye(3, dtype=np.float32), 50, axis=0)
    >>> teacher = lambda X: 0.8 * X[:, [1, 2, 0]] + 0.2 / 3
    >>> small = distill(teacher, mlp((3,), 3, random_state=0), X, learning_rate=0.05, random_state=0)
    >>> small(np.eye(3, dtype=np.float32)).argmax(axis=1)
    array([2, 0, 1])
    """
    alpha = _checked_alpha(alpha, y, temperature)
    original = open_keras(student)
    n_classes = _checked_student(original)
    targets = _targets(teacher, original, "X, y", X, y, temperature)
    unseen = None
    if validation_data is not None:
        held_back, classes = validation_data
        if y is not None and classes is None:
            raise InputError("validation_data: expected (X, y) with classes, as for the training rows, got y = None")
        unseen = held_back, _targets(teacher, original, "validation_data", held_back, classes, temperature)
    work, small = copy_of(original), copy_of(original)
    history = fit(
        work, X, targets,
        epochs=epochs, batch_size=batch_size, learning_rate=learning_rate,
        loss=distillation_loss(n_classes, temperature, alpha), validation_data=unseen,
        random_state=random_state, progress=progress,
    )  # fmt: skip
    small.set_weights(work.get_weights())  # without the loss, which no other step could read from a file or a copy
    return from_keras(small, "distilled", history=history)


def soften(probabilities: ArrayLike, temperature: float) -> NDArray[np.float64]:
    """Return ``p^(1/T)``, made to sum to 1: the softmax of the same logits at a higher temperature.

    Parameters
    ----------
    probabilities : (n, classes) array
    temperature : float
        T, above 0.

    Returns
    -------
    (n, classes) array of float64
        What was 0 stays 0.

    Examples
    --------
    >>> soften([[0.9, 0.1]], 2.0).round(3)
    array([[0.75, 0.25]])
    """
    p = np.asarray(probabilities, dtype=np.float64)
    with np.errstate(divide="ignore"):  # log 0 is −∞, which comes back as 0
        logs = np.log(p) / temperature
    powers = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def distillation_loss(n_classes: int, temperature: float, alpha: float) -> Callable[[Any, Any], Any]:
    """Return the loss in Keras: of targets (softened teacher, then the class as one-hot) and the student's answers.

    Parameters
    ----------
    n_classes : int
    temperature, alpha : float
        As in :func:`distill`.

    Returns
    -------
    callable
        From (n, 2 · n_classes) and (n, n_classes) tensors to n losses, in nats.
    """
    ops = import_keras().ops

    def loss(targets: Any, answers: Any) -> Any:
        soft, hard = targets[:, :n_classes], targets[:, n_classes:]
        log_answers = ops.log(ops.maximum(answers, _TINY))
        softened = ops.log_softmax(log_answers / temperature, axis=-1)
        divergence = ops.sum(soft * (ops.log(ops.maximum(soft, _TINY)) - softened), axis=-1)
        cross_entropy = -ops.sum(hard * log_answers, axis=-1)
        return alpha * temperature**2 * divergence + (1 - alpha) * cross_entropy

    return loss


def _targets(teacher: Any, student: Any, what: str, X: Any, y: Any, temperature: float) -> NDArray[np.float32]:
    """Return what the student is to learn: the teacher's softened answers, and beside them the classes as one-hot."""
    rows = checked_rows(what, inputs_of(student), X)
    n_classes = int(student.output_shape[-1])
    hard = _one_hot(what, y, len(rows[0]), n_classes)
    soft = soften(_checked_answers(_ask(teacher, rows), len(rows[0]), n_classes), temperature)
    return np.concatenate([soft, hard], axis=1).astype(np.float32)


def _one_hot(what: str, y: Any, n: int, n_classes: int) -> NDArray[np.float64]:
    """Return a one in the column of each row's class; zeros alone if there are no classes."""
    if y is None:
        return np.zeros((n, n_classes))
    classes = np.asarray(y)
    if classes.shape != (n,) or classes.dtype.kind not in "iu":
        raise InputError(
            f"{what}: expected y with one integer for each of {n} rows, got shape {classes.shape}, dtype "
            f"{classes.dtype}"
        )
    if classes.min() < 0 or classes.max() >= n_classes:
        raise InputError(f"{what}: expected classes 0 to {n_classes - 1}, got {classes.min()} to {classes.max()}")
    hot: NDArray[np.float64] = np.eye(n_classes)[classes]
    return hot


def _ask(teacher: Any, rows: Rows) -> NDArray[Any]:
    """Return a teacher's answers, a few rows at a time."""
    if isinstance(teacher, LiteRTModel):
        return answers_of(teacher, rows)
    ask = _asked(teacher)
    starts = range(0, len(rows[0]), _BATCH)
    return np.concatenate([np.asarray(ask(*(one[i : i + _BATCH] for one in rows))) for i in starts])


def _asked(teacher: Any) -> Callable[..., Any]:
    """Return a function of one array for each input."""
    if is_keras(teacher):
        return lambda *arrays: teacher.predict_on_batch(arrays[0] if len(arrays) == 1 else list(arrays))
    if hasattr(teacher, "predict_proba"):
        return lambda *arrays: teacher.predict_proba(*arrays)
    if callable(teacher):
        return lambda *arrays: teacher(*arrays)
    raise InputError(f"teacher: expected {_WANTED}, got {type(teacher).__name__}")


def _checked_answers(answers: NDArray[Any], n: int, n_classes: int) -> NDArray[Any]:
    """Return answers that are probabilities of the student's classes."""
    if answers.ndim != 2 or len(answers) != n:
        raise InputError(f"teacher: expected ({n}, classes) probabilities for {n} rows, got shape {answers.shape}")
    if answers.shape[1] != n_classes:
        raise InputError(
            f"teacher, student: expected the same classes, got {answers.shape[1]} and {n_classes}; build the student "
            f"with n_classes={answers.shape[1]}"
        )
    if not (np.isfinite(answers).all() and (answers >= 0).all() and np.allclose(answers.sum(axis=1), 1, atol=0.05)):
        raise InputError(
            "teacher: expected probabilities, 0 or more and summing to 1 in each row; put a softmax behind a teacher "
            "that gives logits"
        )
    return answers


def _checked_student(student: Any) -> int:
    """Return the number of classes of a student that gives probabilities."""
    if len(student.outputs) != 1 or len(student.outputs[0].shape) != 2 or not _ends_in_softmax(student):
        raise InputError(
            f"student: expected a classifier with one output (n, classes) that ends in a softmax, such as mlp() or "
            f"cnn(), got {student.name!r} with outputs {[tuple(one.shape) for one in student.outputs]}"
        )
    return int(student.output_shape[-1])


def _ends_in_softmax(model: Any) -> bool:
    last = model.outputs[0]._keras_history.operation
    if hasattr(last, "outputs") and hasattr(last, "layers"):  # a model inside a model
        return _ends_in_softmax(last)
    return type(last).__name__ == "Softmax" or getattr(getattr(last, "activation", None), "__name__", "") == "softmax"


def _checked_alpha(alpha: float | None, y: Any, temperature: float) -> float:
    """Return the weight of the teacher; refuse numbers out of range."""
    if not (_is_number(temperature) and 0 < temperature < float("inf")):
        raise InputError(f"temperature: expected a number above 0, such as 4.0, got {temperature!r}")
    if alpha is None:
        return 1.0 if y is None else _WITH_CLASSES
    if not (_is_number(alpha) and 0 <= alpha <= 1):
        raise InputError(f"alpha: expected the teacher's weight from 0 to 1, such as 0.9, got {alpha!r}")
    if y is None and alpha < 1:
        raise InputError(f"alpha: without y the teacher is all there is to learn from; leave it out, got {alpha!r}")
    return float(alpha)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
