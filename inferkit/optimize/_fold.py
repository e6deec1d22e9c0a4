"""Batch normalisation, folded into the layer before it: the same function with fewer layers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models import import_keras
from ..models._keras import uncompiled

_FOLDS = ("Conv2D", "DepthwiseConv2D", "Dense")


def fold_batch_norm(model: Any) -> Any:
    """Return a functional copy in which each batch norm that follows a linear layer is part of that layer.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential. It stays as it is.

    Returns
    -------
    keras.Model
        Gives the same answers (to float32 rounding) in inference.

    References
    ----------
    B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
    CVPR 2018, section 3.2.

    Examples
    --------
    >>> from inferkit.models import mobilenet
    >>> model = mobilenet(random_state=0)
    >>> len(model.layers), len(fold_batch_norm(model).layers)
    (49, 34)
    """
    keras = import_keras()
    functional = uncompiled(model)
    pairs = _pairs(functional)
    gone = {norm.name for norm in pairs.values()}

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        return type(layer).from_config(config | {"use_bias": True} if layer.name in pairs else config)

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        return args[0] if layer.name in gone else layer(*args, **kwargs)

    folded = keras.models.clone_model(functional, clone_function=clone, call_function=call)
    for layer in folded.layers:
        if layer.weights:
            original = functional.get_layer(layer.name)
            norm = pairs.get(layer.name)
            layer.set_weights(original.get_weights() if norm is None else _folded(original, norm))
    return folded


def readers_of(model: Any) -> dict[str, list[Any]]:
    """Return for each layer, by its name, those that read it."""
    readers: dict[str, list[Any]] = {layer.name: [] for layer in model.layers}
    for layer in model.layers:
        for node in layer._inbound_nodes:
            for source in node.input_tensors:
                maker = source._keras_history.operation.name
                if maker in readers:
                    readers[maker].append(layer)
    return readers


def _pairs(model: Any) -> dict[str, Any]:
    """Return, by the name of each layer that can take one, the batch norm that is its only reader."""
    readers = readers_of(model)
    linear = [
        one for one in model.layers
        if type(one).__name__ in _FOLDS and one.activation.__name__ == "linear" and len(one._inbound_nodes) == 1
    ]  # fmt: skip
    found = {one.name: readers[one.name] for one in linear}
    return {
        name: one[0] for name, one in found.items() if len(one) == 1 and type(one[0]).__name__ == "BatchNormalization"
    }


def _folded(layer: Any, norm: Any) -> list[NDArray[np.float32]]:
    """Return kernel and bias of a layer that does what the two did."""
    kernel, *rest = layer.get_weights()
    bias = rest[0] if rest else np.zeros(norm.moving_mean.shape, dtype=np.float32)
    mean, variance = norm.moving_mean.numpy().astype(np.float64), norm.moving_variance.numpy().astype(np.float64)
    factor = 1 / np.sqrt(variance + norm.epsilon)
    factor = factor * norm.gamma.numpy() if norm.scale else factor
    shift = norm.beta.numpy() if norm.center else 0.0
    by_output = factor.reshape(kernel.shape[-2:]) if type(layer).__name__ == "DepthwiseConv2D" else factor
    return [(kernel * by_output).astype(np.float32), ((bias - mean) * factor + shift).astype(np.float32)]
