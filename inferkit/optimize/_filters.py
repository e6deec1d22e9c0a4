"""Filter pruning: whole filters are taken out, and a smaller network of ordinary layers is left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._base import InputError
from ..models import import_keras
from ..models._training import CROSS_ENTROPY
from ._optimized import OptimizedModel, from_keras
from ._source import fit, open_keras

Channels = NDArray[np.intp]

_WIDTH = {"Conv2D": "filters", "Dense": "units"}  # the layers that filters are taken from, and the option to change
# What treats every channel alike, and needs to be told nothing.
_PASSES = {
    "Activation",
    "AveragePooling2D",
    "Dropout",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "LeakyReLU",
    "MaxPooling2D",
    "ReLU",
    "Rescaling",
    "Softmax",
    "ZeroPadding2D",
}
_KNOWN = {"BatchNormalization", "DepthwiseConv2D", "Flatten", "InputLayer", "Reshape", *_PASSES, *_WIDTH}
_INSTEAD = "prune(model, X, y) sets single weights to zero in any network, and cluster_weights(model) shares them"


@dataclass(frozen=True)
class _Link:
    """A layer of a chain, with the shapes of one row that goes in and one that comes out."""

    layer: Any
    taken: tuple[int, ...]
    given: tuple[int, ...]

    @property
    def kind(self) -> str:
        return type(self.layer).__name__

    @property
    def name(self) -> str:
        return str(self.layer.name)


def prune_filters(
    model: Any,
    X: Any = None,
    y: ArrayLike | None = None,
    *,
    share: float = 0.5,
    epochs: int = 4,
    batch_size: int = 32,
    learning_rate: Any = 1e-3,
    loss: Any = CROSS_ENTROPY,
    validation_data: tuple[Any, ArrayLike] | None = None,
    random_state: int | None = None,
    progress: bool = True,
) -> OptimizedModel:
    """Take the weakest filters out of each layer, build the smaller network that is left, and train it on.

    A filter that is gone takes its channel along, and so the weights of the next layer that read it. With half of the
    filters, a layer in the middle has a quarter of the weights and of the work: no zeros are left to multiply by.

    Parameters
    ----------
    model : keras.Model, path-like, bytes or OptimizedModel
        A Keras model or a ``.keras`` file that is one chain of layers. It stays as it is.
    X : (n, ...) array, optional
        Training rows. Without them nothing is trained, and the answers are off until it is.
    y : array, optional
        Their classes, or whatever the loss takes; with `X`.
    share : float, default 0.5
        Share of the filters of each convolution, and of the units of each dense layer, that goes; from 0 to below 1.
        One at least stays. The outputs of the last of these layers all stay.
    epochs, batch_size, learning_rate, loss, validation_data, random_state, progress
        As in :func:`inferkit.models.train`.

    Returns
    -------
    OptimizedModel
        Its float file; `keras_model` is the smaller network, with the layers' names as they were.

    Raises
    ------
    InputError
        If `share` is not in [0, 1), only one of `X` and `y` is given, the model is no chain, it has a kind of layer
        that there is no rule for, or it has no hidden layer to take filters from.
    KeyboardInterrupt
        If it is interrupted; the model given is as it was.

    Notes
    -----
    Filters are ranked by the sum of their absolute weights (their L1 norm), bias left out. Where batch norms come
    before the next layer with a kernel, the sum is multiplied by each one's ``|gamma| / sqrt(variance + epsilon)``:
    that is the norm of the filter as the converter will fold it.

    References
    ----------
    H. Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017.

    Examples
    --------
    >>> from inferkit.models import cnn
    >>> small = prune_filters(cnn(filters=(8, 8), hidden=(10,), random_state=0), share=0.5)
    >>> [layer.filters for layer in small.keras_model.layers if hasattr(layer, "filters")]
    [4, 4]
    """
    _check_arguments(share, X, y)
    original = open_keras(model)
    chain = _chain(original)
    small = _rebuilt(original, chain, _flow(chain, _choice(chain, share)))
    history = None
    if X is not None and y is not None:
        history = fit(
            small, X, y,
            epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, loss=loss,
            validation_data=validation_data, random_state=random_state, progress=progress,
        )  # fmt: skip
    return from_keras(small, f"filters-{share:g}", history=history)


def _check_arguments(share: object, X: Any, y: Any) -> None:
    is_number = isinstance(share, int | float | np.integer | np.floating) and not isinstance(share, bool)
    if not (is_number and 0 <= share < 1):  # type: ignore[operator]
        raise InputError(f"share: expected a share from 0 to below 1, such as 0.5, got {share!r}")
    if (X is None) != (y is None):
        raise InputError("X, y: expected both, to train what is left, or neither")


# --- the chain ---


def _chain(model: Any) -> list[_Link]:
    """Return the layers from input to output; refuse whatever is no chain of layers that there are rules for."""
    if len(model.outputs) != 1:
        _refuse(f"{model.name!r} has {len(model.outputs)} outputs")
    found: list[_Link] = []
    tensor = model.outputs[0]
    while not found or found[0].kind != "InputLayer":
        link, tensor = _link(tensor)
        if any(link.layer is one.layer for one in found):
            _refuse(f"{link.kind} (layer {link.name!r}) runs more than once")
        found.insert(0, link)
    names = {link.name for link in found}
    if aside := [one.name for one in model.layers if one.name not in names]:
        _refuse(f"{', '.join(aside)} stand beside the chain to {found[-1].name!r}")
    _check_order(found)
    return found


def _link(tensor: Any) -> tuple[_Link, Any]:
    """Return the layer that makes a tensor, and the tensor that it reads."""
    made = tensor._keras_history
    layer = made.operation
    _check_kind(layer)
    read = layer._inbound_nodes[made.node_index].input_tensors
    source = read[0] if read else tensor
    return _Link(layer, tuple(source.shape[1:]), tuple(tensor.shape[1:])), source


def _check_kind(layer: Any) -> None:
    """Refuse a layer that there is no rule for, by name."""
    kind = type(layer).__name__
    is_plain = isinstance(layer, import_keras().layers.Layer) and type(layer).__module__.startswith("keras.")
    if kind not in _KNOWN or not is_plain:
        _refuse(f"there is no rule for {kind} (layer {layer.name!r})")
    if getattr(layer, "data_format", None) == "channels_first":
        _refuse(f"{kind} (layer {layer.name!r}) has its channels first; build it with channels last")
    if getattr(layer, "groups", 1) != 1:
        _refuse(f"{kind} (layer {layer.name!r}) has {layer.groups} groups of filters")


def _check_order(chain: Sequence[_Link]) -> None:
    """Refuse what a channel cannot be followed through, and a network with nothing to take out."""
    hidden = _hidden(chain)
    if not hidden:
        raise InputError("model: it has no hidden Conv2D or Dense layer to take filters from; all outputs stay")
    for i, link in enumerate(chain):
        where = f"{link.kind} (layer {link.name!r})"
        if link.kind == "BatchNormalization" and link.layer.axis % (len(link.taken) + 1) != len(link.taken):
            _refuse(f"{where} normalises axis {link.layer.axis}, which is not that of the channels")
        if i > chain.index(hidden[0]):
            if link.kind == "Reshape":
                _refuse(f"{where} comes after {hidden[0].name!r} and mixes its channels")
            if link.kind == "Rescaling" and max(np.ndim(link.layer.scale), np.ndim(link.layer.offset)) > 0:
                _refuse(f"{where} has a scale for each channel; use BatchNormalization")


def _refuse(why: str) -> NoReturn:
    raise InputError(f"model: prune_filters follows the channels of one chain of layers, and {why}; {_INSTEAD}")


# --- what stays ---


def _hidden(chain: Sequence[_Link]) -> list[_Link]:
    """Return the layers that filters may be taken from: all but the last."""
    return [link for link in chain if link.kind in _WIDTH][:-1]


def _choice(chain: Sequence[_Link], share: float) -> dict[str, Channels]:
    """Return, for each hidden layer, which of its filters stay."""
    return {link.name: strongest(_importance(link, chain), share) for link in _hidden(chain)}


def strongest(importance: ArrayLike, share: float) -> Channels:
    """Return the indices that stay when that share, the least important, goes; in order, and one at least.

    Examples
    --------
    >>> strongest([3.0, 1.0, 2.0, 4.0], 0.5)
    array([0, 3])
    """
    values = np.asarray(importance)
    gone = min(round(share * len(values)), len(values) - 1)
    return np.sort(np.argsort(values, kind="stable")[gone:])


def _importance(link: _Link, chain: Sequence[_Link]) -> NDArray[np.float64]:
    """Return the L1 norm of each filter, as batch norms scale it."""
    kernel = np.abs(link.layer.get_weights()[0].astype(np.float64))
    norms = kernel.sum(axis=tuple(range(kernel.ndim - 1)))
    for one in chain[chain.index(link) + 1 :]:
        if one.kind in (*_WIDTH, "DepthwiseConv2D", "Flatten"):
            break
        if one.kind == "BatchNormalization":
            norms = norms * _gain(one.layer)
    return np.asarray(norms, dtype=np.float64)


def _gain(norm: Any) -> NDArray[np.float64]:
    """Return what a batch norm multiplies each channel by."""
    gamma = np.abs(norm.gamma.numpy()) if norm.scale else 1.0
    return np.asarray(gamma / np.sqrt(norm.moving_variance.numpy().astype(np.float64) + norm.epsilon))


def _flow(chain: Sequence[_Link], choice: dict[str, Channels]) -> dict[str, tuple[Channels, Channels]]:
    """Return, for each layer, which channels it still reads and which it still gives."""
    flow: dict[str, tuple[Channels, Channels]] = {}
    read = np.arange(0)
    for link in chain:
        flow[link.name] = read, _given(link, read, choice)
        read = flow[link.name][1]
    return flow


def _given(link: _Link, read: Channels, choice: dict[str, Channels]) -> Channels:
    """Return the channels that a layer gives, where it reads those."""
    if link.kind in (*_WIDTH, "InputLayer", "Reshape"):
        return choice.get(link.name, np.arange(link.given[-1] if link.given else 1))
    if link.kind == "DepthwiseConv2D":
        return _spread(read, np.arange(link.layer.depth_multiplier), link.layer.depth_multiplier)
    if link.kind == "Flatten" and link.taken:
        n_channels = link.taken[-1]  # of each place on the map in turn
        return _spread(np.arange(math.prod(link.taken[:-1])), read, n_channels)
    return read


def _spread(slow: Channels, fast: Channels, width: int) -> Channels:
    """Return the indices ``slow · width + fast`` of all pairs."""
    return np.asarray((slow[:, None] * width + fast).ravel())


# --- the smaller network ---


def _rebuilt(model: Any, chain: Sequence[_Link], flow: dict[str, tuple[Channels, Channels]]) -> Any:
    """Return a new network of the widths that are left, with the weights that are left."""
    first, *rest = (_narrowed(link.layer, len(flow[link.name][1])) for link in chain)
    small = _joined(type(model).__name__, first, rest, model.name)
    for link, layer in zip(chain[1:], rest, strict=True):
        if layer.weights:
            layer.set_weights(_left(link.layer, *flow[link.name]))
    return small


def _narrowed(layer: Any, width: int) -> Any:
    """Return a new layer of the same kind and name, with so many filters where it has any."""
    option = _WIDTH.get(type(layer).__name__)
    config = layer.get_config()
    return type(layer).from_config(config | {option: width} if option else config)


def _joined(kind: str, first: Any, rest: Sequence[Any], name: str) -> Any:
    """Return a model of layers in a row, Sequential if the one given was."""
    keras = import_keras()
    if kind == "Sequential":
        return keras.Sequential([first, *rest], name=name)
    x = first.output
    for layer in rest:
        x = layer(x)
    return keras.Model(first.output, x, name=name)


def _left(layer: Any, read: Channels, given: Channels) -> list[NDArray[Any]]:
    """Return those of a layer's weights that belong to channels that are left."""
    kind, weights = type(layer).__name__, layer.get_weights()
    if kind == "BatchNormalization":
        return [one[given] for one in weights]
    kernel, *bias = weights
    kernel = kernel.take(read, axis=-2)  # (..., read, given); of a depthwise layer (..., read, multiplier)
    return [kernel if kind == "DepthwiseConv2D" else kernel.take(given, axis=-1), *(one[given] for one in bias)]
