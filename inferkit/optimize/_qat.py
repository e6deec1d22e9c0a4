"""Quantization-aware training in plain Keras 3: the network feels the rounding while it can still learn."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from .._base import InputError
from ..models import export_litert, import_keras, import_tensorflow
from ..models._training import CROSS_ENTROPY
from ._calibration import checked_rows
from ._fold import fold_batch_norm, readers_of
from ._optimized import OptimizedModel, optimized
from ._qat_layers import fake_quantized, weighted_kinds
from ._source import fit, inputs_of, open_keras

COMPARED_ROWS = 32

# What only moves numbers about keeps the range that came in.
_KEEPS_RANGE = {
    "InputLayer", "Flatten", "Reshape", "Dropout", "MaxPooling2D", "AveragePooling2D", "ZeroPadding2D", "UpSampling2D",
}  # fmt: skip
_NEW_RANGE = {
    "ReLU",
    "Add",
    "Concatenate",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "Rescaling",
}
_FIXED_RANGE = {"Softmax"}
_ACTIVATIONS = {"linear", "relu", "relu6"}
_FIXED_ACTIVATIONS = {"softmax", "sigmoid", "tanh"}  # their range is known before any data


def quantization_aware_training(
    model: Any,
    X: Any,
    y: ArrayLike,
    *,
    epochs: int = 3,
    batch_size: int = 64,
    learning_rate: Any = 1e-4,
    loss: Any = CROSS_ENTROPY,
    validation_data: tuple[Any, ArrayLike] | None = None,
    random_state: int | None = None,
    progress: bool = True,
) -> OptimizedModel:
    """Train on with weights and activations rounded to 8 bits, then convert to int8 with the ranges that were learned.

    Going forward, every kernel and every activation is rounded to the 256 values that int8 will have. Going back, the
    gradient passes the rounding as if it were not there (the straight-through estimator), and stops where a value
    was clipped. Batch normalisation is folded into the layer before it first, as the converter will do.

    Parameters
    ----------
    model : keras.Model, path-like, bytes or OptimizedModel
        A trained Keras model or a ``.keras`` file. It stays as it is; a copy is trained.
    X : (n, ...) array, or a tuple of them for several inputs
        Training rows.
    y : array
        Their classes, or whatever the loss takes.
    epochs, batch_size, learning_rate, loss, validation_data, random_state, progress
        As in :func:`inferkit.models.train`. A tenth of the step size of the first training is a good start.

    Returns
    -------
    OptimizedModel
        An int8 file with float ends; `keras_model` has the trained weights, unrounded and batch norm folded in.

    Raises
    ------
    InputError
        If a layer is of a kind that it has no rule for, or the rows do not fit the model.
    ConversionError
        If the converter refuses the model.
    KeyboardInterrupt
        If it is interrupted; the model given is as it was.

    Notes
    -----
    Kernels of convolutions get a scale for each filter, dense kernels one in all, for the converter takes no other from
    a trained range. The range of an activation is the widest of the batches seen lately: an end moves outward at once,
    and back by a hundredth with every batch.

    References
    ----------
    B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
    CVPR 2018, section 3; Y. Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons", 2013.

    Examples
    --------
    >>> from inferkit.models import mlp
    >>> import numpy as np
    >>> X = np.eye(4, dtype=np.float32)
    >>> small = quantization_aware_training(mlp((4,), 4, random_state=0), X, [0, 1, 2, 3], epochs=1, random_state=0)
    >>> small.is_quantized
    True
    """
    plain = fold_batch_norm(open_keras(model))
    _check_layers(plain)
    work = with_fake_quantization(plain)
    history = fit(
        work, X, y,
        epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, loss=loss,
        validation_data=validation_data, random_state=random_state, progress=progress,
    )  # fmt: skip
    content = export_litert(work, optimizations=[import_tensorflow().lite.Optimize.DEFAULT])
    for layer in plain.layers:
        if layer.weights:
            layer.set_weights(work.get_layer(layer.name).get_weights())
    rows = checked_rows("X", inputs_of(plain), X)
    return optimized(
        content, "int8-aware", f"{plain.name}-int8-aware",
        keras_model=plain, history=history, reference=export_litert(plain),
        rows=tuple(one[:COMPARED_ROWS] for one in rows),
    )  # fmt: skip


def with_fake_quantization(model: Any) -> Any:
    """Return the same network, with every kernel and activation rounded to 8 bits.

    Parameters
    ----------
    model : keras.Model
        Functional, without batch norms that could be folded.

    Returns
    -------
    keras.Model
        Functional. Layers keep their names and weights; ranges are layers of their own.
    """
    keras, kinds = import_keras(), weighted_kinds()
    asked = readers_of(model)
    ranged: dict[int, Any] = {}

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        if _activation(layer) in _FIXED_ACTIVATIONS:  # apart, for the range lies before it
            config["activation"] = "linear"
        kind: Any = kinds.get(type(layer).__name__, type(layer))
        return kind.from_config(config)

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        args = tuple(keras.tree.map_structure(lambda x: _ranged_input(ranged, x), one) for one in args)
        original = model.get_layer(layer.name)
        out = layer(*args, **kwargs)
        if _needs_range(original, asked[original.name]):
            out = fake_quantized(out)
        activation = _activation(original)
        return keras.layers.Activation(activation)(out) if activation in _FIXED_ACTIVATIONS else out

    work = keras.models.clone_model(model, clone_function=clone, call_function=call)
    for layer in model.layers:
        if layer.weights:
            work.get_layer(layer.name).set_weights(layer.get_weights())
    return work


def _ranged_input(ranged: dict[int, Any], x: Any) -> Any:
    """Round an input of the network, once, whoever reads it."""
    if type(x._keras_history.operation).__name__ != "InputLayer":
        return x
    if id(x) not in ranged:
        ranged[id(x)] = fake_quantized(x)
    return ranged[id(x)]


def _needs_range(layer: Any, readers: list[Any]) -> bool:
    """Tell whether what a layer gives out is rounded: not if an activation follows, which the runtime fuses with it."""
    kind = type(layer).__name__
    if kind in _KEEPS_RANGE or kind in _FIXED_RANGE:
        return False
    fused = len(readers) == 1 and type(readers[0]).__name__ in ("ReLU", "Activation")
    return not (fused and _activation(layer) in (None, "linear") and _activation(readers[0]) not in _FIXED_ACTIVATIONS)


def _activation(layer: Any) -> str | None:
    """Return the name of a layer's activation, if it has one."""
    given = getattr(layer, "activation", None)
    return None if given is None else str(getattr(given, "__name__", type(given).__name__))


def _check_layers(model: Any) -> None:
    """Refuse kinds of layers that there is no rule for, by name."""
    known = _KEEPS_RANGE | _NEW_RANGE | _FIXED_RANGE | set(weighted_kinds()) | {"Activation"}
    for layer in model.layers:
        kind, activation = type(layer).__name__, _activation(layer)
        if kind not in known or not type(layer).__module__.startswith("keras."):
            raise InputError(
                f"model: quantization-aware training has no rule for {kind} (layer {layer.name!r}); "
                'quantize(model, "int8", calibration=...) needs none'
            )
        if activation is not None and activation not in _ACTIVATIONS | _FIXED_ACTIVATIONS:
            raise InputError(
                f"model: quantization-aware training has no rule for the activation {activation!r} of {layer.name!r}; "
                'use relu, or quantize(model, "int8", calibration=...)'
            )
