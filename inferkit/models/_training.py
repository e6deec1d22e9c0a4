"""One way to train a classifier: seeded, with progress, safe to interrupt."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._base import InputError, ProgressLine, generator, require
from ._keras import import_keras

if TYPE_CHECKING:
    import keras
    import matplotlib.axes
    import pandas

_Rows = tuple[list[NDArray[np.float32]], NDArray[Any]]  # an array for each input of the model; the targets
CROSS_ENTROPY = "sparse_categorical_crossentropy"


@dataclass(frozen=True)
class TrainingResult:
    """What a training was and how it went, epoch by epoch.

    Attributes
    ----------
    loss, accuracy : tuple of float
        Of the training rows, as they were seen during each epoch; no accuracy where the loss is not the cross-entropy.
    val_loss, val_accuracy : tuple of float
        Of the validation rows after each epoch; empty if there were none.
    seconds : tuple of float
        Duration of each epoch, in seconds.
    n_rows, batch_size : int
        Rows in an epoch, and in a step.
    random_state : int or None
        The seed.
    """

    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    val_loss: tuple[float, ...]
    val_accuracy: tuple[float, ...]
    seconds: tuple[float, ...]
    n_rows: int
    batch_size: int
    random_state: int | None

    @property
    def epochs(self) -> int:
        """Passes over the rows."""
        return len(self.loss)

    @property
    def total_seconds(self) -> float:
        """Seconds that all epochs took."""
        return sum(self.seconds)

    def to_frame(self) -> pandas.DataFrame:
        """Return one row an epoch.

        Returns
        -------
        pandas.DataFrame
            Columns ``loss`` and ``seconds``, and those of ``accuracy``, ``val_loss``, ``val_accuracy`` that there are.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        names = [name for name in _COLUMNS if getattr(self, name)]
        index = require("pandas", extra="pandas").RangeIndex(1, self.epochs + 1, name="epoch")
        return require("pandas", extra="pandas").DataFrame({name: getattr(self, name) for name in names}, index=index)

    def plot(self, ax: matplotlib.axes.Axes | None = None) -> matplotlib.axes.Axes:
        """Draw the loss of each epoch.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure if there is none.

        Returns
        -------
        matplotlib.axes.Axes
        """
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots()[1]
        epochs = range(1, self.epochs + 1)
        for name, losses in (("training", self.loss), ("validation", self.val_loss)):
            if losses:
                ax.plot(epochs, losses, label=name)
                ax.annotate(name, (self.epochs, losses[-1]), xytext=(4, 0), textcoords="offset points", va="center")
        ax.set(xlabel="epoch", ylabel="loss (nats per picture)", ylim=(0, None))
        return ax

    def __repr__(self) -> str:
        """Say the outcome in one line."""
        last = f"loss {self.loss[-1]:.3f}" if self.loss else "nothing"
        last += f", accuracy {self.accuracy[-1]:.3f}" if self.accuracy else ""
        unseen = f", validation accuracy {self.val_accuracy[-1]:.3f}" if self.val_accuracy else ""
        return f"TrainingResult({self.epochs} epochs of {self.n_rows} rows, {self.total_seconds:.1f} s: {last}{unseen})"


def train(
    model: keras.Model,
    X: Any,
    y: ArrayLike,
    *,
    epochs: int = 10,
    batch_size: int = 32,
    random_state: int | None = None,
    validation_data: tuple[Any, ArrayLike] | None = None,
    learning_rate: Any = 1e-3,
    loss: Any = CROSS_ENTROPY,
    callbacks: Sequence[Any] = (),
    progress: bool = True,
) -> TrainingResult:
    """Train a model with Adam: a classifier on the cross-entropy, or anything else on the loss given.

    Parameters
    ----------
    model : keras.Model
        Gives (n, n_classes) probabilities, or what the loss takes. It is trained in place.
    X : (n, ...) array, or a tuple of them
        Inputs, as the model takes them; one array for each input.
    y : (n,) array of int
        Class of each row, from 0. With another loss than the cross-entropy: (n, ...) array, the targets.
    epochs : int, default 10
        Passes over the rows.
    batch_size : int, default 32
        Rows in a step.
    random_state : int, optional
        Seed of the order of the rows. The same seed, first weights, number of threads and machine give the same
        weights.
    validation_data : tuple of (X, y), optional
        Rows to judge the model on after each epoch; nothing is learned from them.
    learning_rate : float or keras.optimizers.schedules.LearningRateSchedule, default 1e-3
        Step size of Adam.
    loss : str or keras loss, default "sparse_categorical_crossentropy"
        What to make small. Accuracies are recorded with the default alone.
    callbacks : sequence of keras.callbacks.Callback
        What Keras is to call while it trains, anew for each epoch.
    progress : bool, default True
        Show one line that is rewritten after each epoch, in a terminal (on standard error) or a notebook only.

    Returns
    -------
    TrainingResult
        Losses, accuracies and seconds of each epoch.

    Raises
    ------
    InputError
        If X and y do not fit each other or the model, are empty, or hold NaN or infinity.
    KeyboardInterrupt
        If it is interrupted. The model then has the weights of the last whole epoch and can be used.

    References
    ----------
    D. P. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.

    Examples
    --------
    >>> from inferkit.models import mlp
    >>> X = np.eye(4, dtype=np.float32)
    >>> result = train(mlp((4,), 4, random_state=0), X, [0, 1, 2, 3], epochs=80, learning_rate=0.1, random_state=0)
    >>> result.accuracy[-1]
    1.0
    """
    classes = loss == CROSS_ENTROPY
    rows = _checked_rows(model, "X, y", X, y, classes)
    unseen = _checked_rows(model, "validation_data", *validation_data, classes) if validation_data is not None else None
    if epochs < 1 or batch_size < 1:
        raise InputError(f"expected epochs ≥ 1 and batch_size ≥ 1, got {epochs} and {batch_size}")
    rng = generator(random_state)
    adam = import_keras().optimizers.Adam(learning_rate)
    model.compile(optimizer=adam, loss=loss, metrics=["accuracy"] if classes else None)
    records: list[dict[str, float]] = []
    with ProgressLine(progress) as line:
        for _ in range(epochs):
            records.append(_one_epoch(model, rows, rng.permutation(len(rows[1])), batch_size, unseen, callbacks))
            line.show(_progress(records, epochs))
    columns = {name: tuple(r[name] for r in records if name in r) for name in _COLUMNS}
    return TrainingResult(**columns, n_rows=len(rows[1]), batch_size=batch_size, random_state=random_state)


_COLUMNS = ("loss", "accuracy", "val_loss", "val_accuracy", "seconds")


def _one_epoch(
    model: keras.Model,
    rows: _Rows,
    order: NDArray[np.int64],
    batch_size: int,
    unseen: _Rows | None,
    callbacks: Sequence[Any],
) -> dict[str, float]:
    """Train one epoch in the given order; if anything stops it, put back the weights it began with."""
    before = model.get_weights()
    X, y = _as_keras([x[order] for x in rows[0]]), rows[1][order]
    unseen = unseen and (_as_keras(unseen[0]), unseen[1])
    options: dict[str, Any] = {"batch_size": batch_size, "shuffle": False, "verbose": 0}
    start = time.perf_counter()
    try:
        fit = model.fit(X, y, validation_data=unseen, callbacks=list(callbacks), **options)
    except BaseException:
        model.set_weights(before)
        raise
    last = {name: float(values[-1]) for name, values in fit.history.items() if name in _COLUMNS}
    return {**last, "seconds": time.perf_counter() - start}


def _as_keras(arrays: list[NDArray[np.float32]]) -> Any:
    """Return one array as it is, several as a tuple."""
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def _checked_rows(model: keras.Model, what: str, X: Any, y: ArrayLike, classes: bool) -> _Rows:
    """Return rows and targets that fit each other and the model."""
    given = X if isinstance(X, tuple) and len(model.inputs) > 1 else (X,)
    if len(given) != len(model.inputs):
        names = ", ".join(one.name for one in model.inputs)
        raise InputError(f"{what}: expected X as a tuple of {len(model.inputs)} arrays ({names}), got {len(given)}")
    targets = np.asarray(y)
    rows = [_checked_input(what, one, x, targets) for one, x in zip(model.inputs, given, strict=True)]
    return rows, _checked_classes(what, targets, int(model.output_shape[-1])) if classes else targets


def _checked_input(what: str, wanted: Any, X: ArrayLike, targets: NDArray[Any]) -> NDArray[np.float32]:
    """Return the rows of one input."""
    rows = np.asarray(X, dtype=np.float32)
    shape = tuple(wanted.shape[1:])
    fits = rows.ndim == len(shape) + 1 and all(n in (None, m) for n, m in zip(shape, rows.shape[1:], strict=True))
    if not fits or len(rows) == 0:
        raise InputError(f"{what}: expected X of shape (n, {', '.join(map(str, shape))}), n ≥ 1, got {rows.shape}")
    if targets.shape[:1] != rows.shape[:1]:
        raise InputError(f"{what}: expected y with one target for each of {len(rows)} rows, got shape {targets.shape}")
    if not np.isfinite(rows).all():
        raise InputError(f"{what}: expected finite values, got NaN or infinity in X: remove or replace those rows")
    return rows


def _checked_classes(what: str, classes: NDArray[Any], n_classes: int) -> NDArray[np.int64]:
    """Return the class of each row."""
    if classes.ndim != 1 or classes.dtype.kind not in "iu":
        raise InputError(
            f"{what}: expected y with one integer for each row, got shape {classes.shape}, dtype {classes.dtype}"
        )
    if classes.min() < 0 or classes.max() >= n_classes:
        raise InputError(f"{what}: expected classes 0 to {n_classes - 1}, got {classes.min()} to {classes.max()}")
    return classes.astype(np.int64)


def _progress(records: list[dict[str, float]], epochs: int) -> str:
    """Return the line that tells how far a training has come."""
    done, last = len(records), records[-1]
    right = f" accuracy {last['accuracy']:.3f}" if "accuracy" in last else ""
    left = sum(r["seconds"] for r in records) / done * (epochs - done)
    bar = "█" * round(20 * done / epochs)
    return f"epoch {done} of {epochs} {bar:░<20} loss {last['loss']:.3f}{right} {left:.0f} s left"
