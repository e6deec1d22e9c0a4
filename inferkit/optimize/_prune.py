"""Magnitude pruning: the smallest weights go to zero while training goes on, and stay there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._base import InputError
from ..models import import_keras
from ..models._training import CROSS_ENTROPY
from ._optimized import OptimizedModel, from_keras
from ._source import copy_of, fit, open_keras

_EVERY = 10  # steps between two choices of what goes


def cubic_sparsity(progress: ArrayLike, final: float, begin: float = 0.0, end: float = 1.0) -> NDArray[np.float64]:
    """Return the share of zeros at a point of the training: it rises quickly at first, then ever more slowly.

    Parameters
    ----------
    progress : float or array
        Share of the training that is done, 0 to 1.
    final : float
        The share of zeros at the end, from 0 to below 1.
    begin, end : float, default 0.0 and 1.0
        Shares of the training between which it rises.

    Returns
    -------
    array of float64
        ``final · (1 − (1 − t)³)``, t the way from `begin` to `end`; of the shape of `progress`.

    Raises
    ------
    InputError
        If `final` is not in [0, 1), or not 0 ≤ begin < end ≤ 1.

    References
    ----------
    M. Zhu and S. Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression", 2017.

    Examples
    --------
    >>> cubic_sparsity([0, 0.5, 1], final=0.8).round(3)
    array([0. , 0.7, 0.8])
    """
    if not (_is_number(final) and 0 <= final < 1):
        raise InputError(f"sparsity: expected a share from 0 to below 1, such as 0.8, got {final!r}")
    if not (_is_number(begin) and _is_number(end) and 0 <= begin < end <= 1):
        raise InputError(
            f"schedule: expected 0 ≤ begin < end ≤ 1, as shares of the training, such as (0.0, 0.7); got "
            f"({begin!r}, {end!r})"
        )
    way = np.clip((np.asarray(progress, dtype=np.float64) - begin) / (end - begin), 0, 1)
    return np.asarray(final * (1 - (1 - way) ** 3))


def prune(
    model: Any,
    X: Any,
    y: ArrayLike,
    *,
    sparsity: float = 0.8,
    schedule: tuple[float, float] = (0.0, 0.7),
    epochs: int = 4,
    batch_size: int = 32,
    learning_rate: Any = 1e-3,
    skip: Sequence[str] = (),
    loss: Any = CROSS_ENTROPY,
    validation_data: tuple[Any, ArrayLike] | None = None,
    random_state: int | None = None,
    progress: bool = True,
) -> OptimizedModel:
    """Set the smallest weights of each kernel to zero, a few more with every step, while the rest learns on.

    The zeros stay in the file as zeros: it is no smaller until it is compressed, and no faster. `prune_filters` takes
    out what a processor can leave out.

    Parameters
    ----------
    model : keras.Model, path-like, bytes or OptimizedModel
        A Keras model or a ``.keras`` file. It stays as it is; a copy is trained.
    X : (n, ...) array, or a tuple of them for several inputs
        Training rows.
    y : array
        Their classes, or whatever the loss takes.
    sparsity : float, default 0.8
        Share of zeros in each kernel at the end, from 0 to below 1.
    schedule : tuple of float, default (0.0, 0.7)
        Shares of the training between which the zeros come, by :func:`cubic_sparsity`. What is left is for the weights
        that stay.
    epochs, batch_size, learning_rate, loss, validation_data, random_state, progress
        As in :func:`inferkit.models.train`.
    skip : sequence of str
        Names of layers to leave alone.

    Returns
    -------
    OptimizedModel
        Its float file; `keras_model` has the zeros, and can be quantized.

    Raises
    ------
    InputError
        If a share is out of range, the schedule ends before it begins, a name in `skip` is unknown, or the rows do not
        fit the model.
    KeyboardInterrupt
        If it is interrupted; the model given is as it was.

    Notes
    -----
    Kernels are weights of two axes or more: of convolutions, dense and recurrent layers, embeddings. Biases, norms and
    depthwise kernels (a few weights for each channel) are left alone.

    References
    ----------
    M. Zhu and S. Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression", 2017.

    Examples
    --------
    >>> from inferkit.models import mlp
    >>> X = np.eye(4, dtype=np.float32)
    >>> small = prune(mlp((4,), 4, random_state=0), X, [0, 1, 2, 3], sparsity=0.5, epochs=20, random_state=0)
    >>> float((small.keras_model.layers[-1].kernel.numpy() == 0).mean())
    0.5
    """
    begin, end = _checked_schedule(schedule)
    cubic_sparsity(0, sparsity, begin, end)
    original = open_keras(model)
    work = copy_of(original)
    kernels = kernels_of(work, skip)
    n_steps = epochs * -(-len(np.asarray(y)) // batch_size) if epochs > 0 and batch_size > 0 else 1
    mask = _masking()(kernels, lambda step: float(cubic_sparsity(step / n_steps, sparsity, begin, end)))
    history = fit(
        work, X, y,
        epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, loss=loss, callbacks=[mask],
        validation_data=validation_data, random_state=random_state, progress=progress,
    )  # fmt: skip
    return from_keras(work, f"pruned-{sparsity:g}", history=history)


def kernels_of(model: Any, skip: Sequence[str] = ()) -> list[Any]:
    """Return the weights of two axes or more, without depthwise kernels and the layers named.

    Raises
    ------
    InputError
        If a name is not a layer's, or nothing is left.
    """
    known = {layer.name for layer in model.layers}
    if unknown := sorted(set(skip) - known):
        raise InputError(f"skip: no layer is called {', '.join(unknown)}; the layers are {', '.join(sorted(known))}")
    left_alone = {id(one) for layer in model.layers if layer.name in skip for one in layer.weights}
    kernels = [
        one for one in model.trainable_variables
        if len(one.shape) > 1 and "bias" not in one.name and id(one) not in left_alone and not _is_depthwise(one, model)
    ]  # fmt: skip
    if not kernels:
        raise InputError("model: it has no kernel to work on; biases, norms and depthwise kernels are left alone")
    return kernels


def _is_depthwise(variable: Any, model: Any) -> bool:
    """Tell whether a kernel filters each channel by itself."""
    owners = (layer for layer in model.layers if any(one is variable for one in layer.weights))
    return "depthwise" in variable.name or any("Depthwise" in type(layer).__name__ for layer in owners)


def smallest(weights: NDArray[Any], share: float) -> NDArray[np.bool_]:
    """Return a mask of what stays when that share of the weights, the smallest, goes.

    Examples
    --------
    >>> smallest(np.array([0.1, -0.5, 0.2, 0.9]), 0.5)
    array([False,  True, False,  True])
    """
    stays = np.ones(weights.size, dtype=bool)
    stays[np.argsort(np.abs(weights), axis=None, kind="stable")[: round(share * weights.size)]] = False
    return stays.reshape(weights.shape)


@cache
def _masking() -> type:
    """Make the callback's class, once Keras is there."""
    keras = import_keras()

    class Masking(keras.callbacks.Callback):  # type: ignore[misc, name-defined]
        """Choose what goes as the sparsity rises; set it to zero again after every step."""

        def __init__(self, kernels: list[Any], sparsity: Callable[[int], float]) -> None:
            super().__init__()
            self.kernels, self.sparsity, self.step = kernels, sparsity, 0
            self.masks = [np.ones(one.shape, dtype=np.float32) for one in kernels]
            self.share = 0.0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.step += 1
            share = self.sparsity(self.step)
            grows = share > self.share and (self.step % _EVERY == 0 or self.sparsity(self.step + _EVERY) == share)
            for i, kernel in enumerate(self.kernels):
                if grows:
                    self.masks[i] = smallest(kernel.numpy(), share).astype(np.float32)
                kernel.assign(kernel * self.masks[i])
            self.share = share if grows else self.share

    return Masking


def _checked_schedule(schedule: Any) -> tuple[float, float]:
    if not (isinstance(schedule, Sequence) and len(schedule) == 2):
        raise InputError(f"schedule: expected two shares of the training, such as (0.0, 0.7); got {schedule!r}")
    return schedule[0], schedule[1]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
