"""One way to train a classifier: seeded, with progress, safe to interrupt."""

from __future__ import annotations

import time
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

_Rows = tuple[NDArray[np.float32], NDArray[np.int64]]


@dataclass(frozen=True)
class TrainingResult:
    """What a training was and how it went, epoch by epoch.

    Attributes
    ----------
    loss, accuracy : tuple of float
        Of the training rows, as they were seen during each epoch.
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
            Columns ``loss``, ``accuracy``, ``seconds``, and ``val_loss``, ``val_accuracy`` if there were any.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        names = ["loss", "accuracy", *(["val_loss", "val_accuracy"] if self.val_loss else []), "seconds"]
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
        last = f"loss {self.loss[-1]:.3f}, accuracy {self.accuracy[-1]:.3f}" if self.loss else "nothing"
        unseen = f", validation accuracy {self.val_accuracy[-1]:.3f}" if self.val_accuracy else ""
        return f"TrainingResult({self.epochs} epochs of {self.n_rows} rows, {self.total_seconds:.1f} s: {last}{unseen})"


def train(
    model: keras.Model,
    X: ArrayLike,
    y: ArrayLike,
    *,
    epochs: int = 10,
    batch_size: int = 32,
    random_state: int | None = None,
    validation_data: tuple[ArrayLike, ArrayLike] | None = None,
    learning_rate: Any = 1e-3,
    progress: bool = True,
) -> TrainingResult:
    """Train a classifier with Adam on the cross-entropy.

    Parameters
    ----------
    model : keras.Model
        Gives (n, n_classes) probabilities. It is trained in place.
    X : (n, ...) array
        Inputs, as the model takes them.
    y : (n,) array of int
        Class of each row, from 0.
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
    rows = _checked_rows(model, "X, y", X, y)
    unseen = _checked_rows(model, "validation_data", *validation_data) if validation_data is not None else None
    if epochs < 1 or batch_size < 1:
        raise InputError(f"expected epochs ≥ 1 and batch_size ≥ 1, got {epochs} and {batch_size}")
    rng = generator(random_state)
    adam = import_keras().optimizers.Adam(learning_rate)
    model.compile(optimizer=adam, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    records: list[dict[str, float]] = []
    with ProgressLine(progress) as line:
        for _ in range(epochs):
            records.append(_one_epoch(model, rows, rng.permutation(len(rows[0])), batch_size, unseen))
            line.show(_progress(records, epochs))
    columns = {name: tuple(r[name] for r in records if name in r) for name in _COLUMNS}
    return TrainingResult(**columns, n_rows=len(rows[0]), batch_size=batch_size, random_state=random_state)


_COLUMNS = ("loss", "accuracy", "val_loss", "val_accuracy", "seconds")


def _one_epoch(
    model: keras.Model, rows: _Rows, order: NDArray[np.int64], batch_size: int, unseen: _Rows | None
) -> dict[str, float]:
    """Train one epoch in the given order; if anything stops it, put back the weights it began with."""
    before = model.get_weights()
    X, y = rows[0][order], rows[1][order]
    start = time.perf_counter()
    try:
        fit = model.fit(X, y, batch_size=batch_size, shuffle=False, validation_data=unseen, verbose=0)
    except BaseException:
        model.set_weights(before)
        raise
    last = {name: float(values[-1]) for name, values in fit.history.items()}
    return {**last, "seconds": time.perf_counter() - start}


def _checked_rows(model: keras.Model, what: str, X: ArrayLike, y: ArrayLike) -> _Rows:
    """Return rows and classes that fit each other and the model."""
    rows, classes = np.asarray(X, dtype=np.float32), np.asarray(y)
    shape, n_classes = tuple(model.input_shape[1:]), int(model.output_shape[-1])
    if rows.shape[1:] != shape or len(rows) == 0:
        raise InputError(f"{what}: expected X of shape (n, {', '.join(map(str, shape))}), n ≥ 1, got {rows.shape}")
    if classes.shape != rows.shape[:1] or classes.dtype.kind not in "iu":
        raise InputError(
            f"{what}: expected y with one integer for each of {len(rows)} rows, "
            f"got shape {classes.shape}, dtype {classes.dtype}"
        )
    if classes.min() < 0 or classes.max() >= n_classes:
        raise InputError(f"{what}: expected classes 0 to {n_classes - 1}, got {classes.min()} to {classes.max()}")
    if not np.isfinite(rows).all():
        raise InputError(f"{what}: expected finite values, got NaN or infinity in X: remove or replace those rows")
    return rows, classes.astype(np.int64)


def _progress(records: list[dict[str, float]], epochs: int) -> str:
    """Return the line that tells how far a training has come."""
    done, last = len(records), records[-1]
    left = sum(r["seconds"] for r in records) / done * (epochs - done)
    bar = "█" * round(20 * done / epochs)
    return (
        f"epoch {done} of {epochs} {bar:░<20} loss {last['loss']:.3f} accuracy {last['accuracy']:.3f} {left:.0f} s left"
    )
