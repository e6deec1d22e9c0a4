"""Weight clustering: each kernel makes do with a few values, which all of its weights share."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._base import InputError, generator
from ..models import import_keras
from ..models._training import CROSS_ENTROPY
from ._fold import fold_batch_norm
from ._optimized import OptimizedModel, from_keras
from ._source import fit, open_keras

_SAMPLE = 20_000  # weights that the values are found from; the rest goes to the nearest
_LEFT_ALONE = ("bias", "gamma", "beta", "alpha", "mean", "variance")  # by name: a GRU's bias has two axes


def cluster_weights(
    model: Any,
    n_clusters: int = 16,
    *,
    X: Any = None,
    y: ArrayLike | None = None,
    epochs: int = 2,
    batch_size: int = 32,
    learning_rate: Any = 1e-4,
    loss: Any = CROSS_ENTROPY,
    validation_data: tuple[Any, ArrayLike] | None = None,
    random_state: int | None = None,
    progress: bool = True,
) -> OptimizedModel:
    """Give the weights of each kernel a few values to share.

    Which value a weight has could be told in log₂(`n_clusters`) bits: 4 for 16 values, where a float takes 32. A LiteRT
    file stores floats all the same, so it is no smaller until it is compressed, and no faster.

    Parameters
    ----------
    model : keras.Model, path-like, bytes or OptimizedModel
        A Keras model or a ``.keras`` file. It stays as it is.
    n_clusters : int, default 16
        Values that a kernel may have, 2 or more. Zero is one of them where a kernel has zeros, and they stay: a pruned
        model stays as sparse as it was.
    X : (n, ...) array, or a tuple of them for several inputs, optional
        Training rows, to train the shared values on.
    y : array, optional
        Their classes, or whatever the loss takes; with `X`.
    epochs, batch_size, learning_rate, loss, validation_data, random_state, progress
        As in :func:`inferkit.models.train`. The seed also draws the weights that the values of a kernel of more than
        20,000 are found from.

    Returns
    -------
    OptimizedModel
        Its float file; `keras_model` has the shared values.

    Raises
    ------
    InputError
        If `n_clusters` is no whole number of 2 or more, only one of `X` and `y` is given, or the model has no kernels.
    KeyboardInterrupt
        If it is interrupted; the model given is as it was.

    Notes
    -----
    Kernels are weights of two axes or more: of convolutions, dense and recurrent layers, embeddings. Biases and norms
    are left alone, and so is a kernel that has no more values than it may. A batch norm that follows a convolution or a
    dense layer is folded into it first, as the converter would do later: else it would scale each filter's values
    differently, and the file would hold many more.

    The values of a kernel are the centres that k-means finds for its weights, from a start of evenly spaced centres.
    While it is trained, every weight becomes the mean of its cluster again after each step.

    References
    ----------
    S. Han, H. Mao and W. J. Dally, "Deep Compression: Compressing Deep Neural Networks with Pruning, Trained
    Quantization and Huffman Coding", ICLR 2016, section 3.

    Examples
    --------
    >>> from inferkit.models import mlp
    >>> few = cluster_weights(mlp(random_state=0), 16, random_state=0)
    >>> [len(np.unique(one)) for one in few.keras_model.get_weights() if one.ndim > 1]
    [16, 16]
    """
    _check_arguments(n_clusters, X, y)
    rng = generator(random_state)
    work = fold_batch_norm(open_keras(model))
    kernels = [one for one in work.weights if _is_kernel(one)]
    if not kernels:
        raise InputError("model: it has no kernel to cluster; biases and norms are left alone")
    for kernel in kernels:
        kernel.assign(shared_values(kernel.numpy(), int(n_clusters), rng))
    history = None
    if X is not None and y is not None:
        history = fit(
            work, X, y,
            epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, loss=loss,
            callbacks=[_sharing()(kernels)], validation_data=validation_data, random_state=random_state,
            progress=progress,
        )  # fmt: skip
    return from_keras(work, f"clusters-{n_clusters}", history=history)


def _check_arguments(n_clusters: object, X: Any, y: Any) -> None:
    is_whole = isinstance(n_clusters, int | np.integer) and not isinstance(n_clusters, bool)
    if not (is_whole and n_clusters >= 2):  # type: ignore[operator]
        raise InputError(f"n_clusters: expected a whole number of 2 or more, such as 16, got {n_clusters!r}")
    if (X is None) != (y is None):
        raise InputError("X, y: expected both, to train the shared values, or neither")


def _is_kernel(variable: Any) -> bool:
    """Tell whether a variable holds weights that many inputs meet."""
    is_real = "float" in str(variable.dtype)
    return is_real and len(variable.shape) > 1 and not any(word in variable.name for word in _LEFT_ALONE)


def shared_values(kernel: NDArray[Any], n_clusters: int, rng: np.random.Generator) -> NDArray[Any]:
    """Return a kernel with at most so many different values: each weight is moved to the nearest; zeros stay.

    Examples
    --------
    >>> shared_values(np.array([[0.0, 1.0, 1.25], [5.0, 5.5, 0.0]]), 3, np.random.default_rng(0))
    array([[0.   , 1.125, 1.125],
           [5.25 , 5.25 , 0.   ]])
    """
    if len(np.unique(kernel)) <= n_clusters:
        return kernel
    stays = kernel == 0
    values = kernel[~stays]
    centres = _centres(values, n_clusters - bool(stays.any()), rng).astype(kernel.dtype)
    shared = np.zeros_like(kernel)
    shared[~stays] = centres[np.searchsorted((centres[:-1] + centres[1:]) / 2, values)]
    return shared


def _centres(values: NDArray[Any], n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the centres of k-means in one dimension, in order."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    seen = values if len(values) <= _SAMPLE else rng.choice(values, _SAMPLE, replace=False)
    different = np.unique(seen).astype(np.float64)
    if len(different) <= n:
        return different
    start = np.linspace(different[0], different[-1], n).reshape(-1, 1)
    with warnings.catch_warnings():  # fewer than there may be are no harm
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = KMeans(n, init=start, n_init=1).fit(seen.astype(np.float64).reshape(-1, 1))
    return np.unique(found.cluster_centers_)


@cache
def _sharing() -> type:
    """Make the callback's class, once Keras is there."""
    keras = import_keras()

    class Sharing(keras.callbacks.Callback):  # type: ignore[misc, name-defined]
        """Make every weight its cluster's mean again after each step; zeros stay zero."""

        def __init__(self, kernels: list[Any]) -> None:
            super().__init__()
            self.kernels = kernels
            self.clusters = [np.unique(one.numpy(), return_inverse=True) for one in kernels]

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            for kernel, (values, cluster) in zip(self.kernels, self.clusters, strict=True):
                kernel.assign(_means(kernel.numpy(), cluster.reshape(kernel.shape), values == 0))

    return Sharing


def _means(kernel: NDArray[Any], cluster: NDArray[np.intp], is_zero: NDArray[np.bool_]) -> NDArray[Any]:
    """Return a kernel in which every weight is the mean of its cluster.

    Examples
    --------
    >>> _means(np.array([1.0, 3.0, 7.0]), np.array([0, 0, 1]), np.array([False, False]))
    array([2., 2., 7.])
    """
    flat = cluster.ravel()
    means = np.bincount(flat, weights=kernel.ravel()) / np.bincount(flat)
    means[is_zero] = 0
    return means.astype(kernel.dtype)[cluster]
