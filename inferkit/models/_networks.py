"""Three small networks in plain Keras 3."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._base import InputError, generator
from ._keras import import_keras

if TYPE_CHECKING:
    import keras

# The blocks of the miniature MobileNet: channels, and whether the block would like to halve the map.
_MOBILE_BLOCKS = ((32, False), (64, True), (64, False), (128, True), (128, False), (256, True), (256, False))


def mlp(
    input_shape: Sequence[int] = (8, 8),
    n_classes: int = 10,
    *,
    hidden: Sequence[int] = (64,),
    random_state: int | None = None,
) -> keras.Model:
    """Build a multilayer perceptron: dense layers with ReLU, then softmax.

    Parameters
    ----------
    input_shape : sequence of int, default (8, 8)
        Shape of one input, without the batch.
    n_classes : int, default 10
        Number of classes.
    hidden : sequence of int, default (64,)
        Width of each hidden layer.
    random_state : int, optional
        Seed of the first weights.

    Returns
    -------
    keras.Model
        From (n, ...) float32, scaled to 0..1, to (n, n_classes) probabilities. Not trained.

    Raises
    ------
    InputError
        If a size is not a positive integer.
    MissingExtraError
        If Keras or TensorFlow is not installed.

    Examples
    --------
    >>> mlp(hidden=(32,)).count_params()
    2410
    """
    layers, start = import_keras().layers, _starts(random_state)
    inputs = layers.Input(_checked_shape(input_shape))
    x = layers.Flatten()(inputs)
    for width in _checked_sizes("hidden", hidden):
        x = layers.Dense(width, activation="relu", kernel_initializer=next(start))(x)
    return _classifier(inputs, x, n_classes, next(start), "mlp")


def cnn(
    input_shape: Sequence[int] = (8, 8),
    n_classes: int = 10,
    *,
    filters: Sequence[int] = (16, 32, 32),
    hidden: Sequence[int] = (40,),
    dropout: float = 0.0,
    random_state: int | None = None,
) -> keras.Model:
    """Build a convolutional network: 3×3 convolutions with ReLU, one pooling, dense layers, softmax.

    Parameters
    ----------
    input_shape : sequence of int, default (8, 8)
        (height, width) or (height, width, channels) of one picture.
    n_classes : int, default 10
        Number of classes.
    filters : sequence of int, default (16, 32, 32)
        Filters of each convolution. The map is halved once, before the last of them.
    hidden : sequence of int, default (40,)
        Width of each dense layer before the output.
    dropout : float, default 0.0
        Share of the values before and after each dense layer that training silences at random; nothing is silenced
        in inference.
    random_state : int, optional
        Seed of the first weights and of the dropout.

    Returns
    -------
    keras.Model
        From (n, ...) float32, scaled to 0..1, to (n, n_classes) probabilities. Not trained.

    Raises
    ------
    InputError
        If a size is not a positive integer, a picture has not two or three axes, or `dropout` is not in [0, 1).
    MissingExtraError
        If Keras or TensorFlow is not installed.

    Examples
    --------
    >>> cnn().output_shape
    (None, 10)
    """
    layers, start = import_keras().layers, _starts(random_state)
    filters, silence = _checked_sizes("filters", filters), _silence(dropout, random_state)
    inputs, x = _picture_input(input_shape)
    for i, n_filters in enumerate(filters):
        if i == len(filters) - 1:
            x = layers.MaxPooling2D(2)(x)
        x = layers.Conv2D(n_filters, 3, padding="same", activation="relu", kernel_initializer=next(start))(x)
    x = silence(layers.Flatten()(x))
    for width in _checked_sizes("hidden", hidden):
        x = silence(layers.Dense(width, activation="relu", kernel_initializer=next(start))(x))
    return _classifier(inputs, x, n_classes, next(start), "cnn")


def mobilenet(
    input_shape: Sequence[int] = (8, 8),
    n_classes: int = 10,
    *,
    width: float = 1.0,
    random_state: int | None = None,
) -> keras.Model:
    """Build a MobileNet in miniature: depthwise-separable convolutions with a width multiplier.

    Each block filters every channel by itself (3×3), then mixes the channels (1×1), each step followed by batch
    normalisation and ReLU6. A block that would halve the map does so only while a side is longer than 4, so the same
    network reads pictures of 8×8 and of 96×96.

    Parameters
    ----------
    input_shape : sequence of int, default (8, 8)
        (height, width) or (height, width, channels) of one picture.
    n_classes : int, default 10
        Number of classes.
    width : float, default 1.0
        Multiplies the channels of every layer; they are rounded to multiples of 8, and are at least 8.
    random_state : int, optional
        Seed of the first weights.

    Returns
    -------
    keras.Model
        From (n, ...) float32, scaled to 0..1, to (n, n_classes) probabilities. Not trained.

    Raises
    ------
    InputError
        If a size is not positive, or a picture has not two or three axes.
    MissingExtraError
        If Keras or TensorFlow is not installed.

    References
    ----------
    A. G. Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
    arXiv:1704.04861, 2017.

    Examples
    --------
    >>> mobilenet(width=0.5).count_params() < mobilenet(width=1.0).count_params() / 3
    True
    """
    if not (isinstance(width, int | float) and 0 < width < float("inf")):
        raise InputError(f"width: expected a multiplier above 0, such as 0.5, got {width!r}")
    layers, start = import_keras().layers, _starts(random_state)
    inputs, x = _picture_input(input_shape)
    stride = 2 if max(x.shape[1:3]) > 32 else 1
    x = _normalised(
        layers.Conv2D(_channels(16, width), 3, stride, "same", use_bias=False, kernel_initializer=next(start))(x)
    )
    for channels, halve in _MOBILE_BLOCKS:
        x = _separable(x, _channels(channels, width), halve and max(x.shape[1:3]) > 4, start)
    return _classifier(inputs, layers.GlobalAveragePooling2D()(x), n_classes, next(start), "mobilenet")


def _classifier(inputs: Any, x: Any, n_classes: int, start: Any, name: str) -> keras.Model:
    """Close a network with a softmax over the classes."""
    (n_classes,) = _checked_sizes("n_classes", (n_classes,))
    keras = import_keras()
    outputs = keras.layers.Dense(n_classes, activation="softmax", kernel_initializer=start)(x)
    return keras.Model(inputs, outputs, name=name)


def _silence(dropout: float, random_state: int | None) -> Callable[[Any], Any]:
    """Return what silences a share of a layer's values; it does nothing for a share of 0."""
    if not (isinstance(dropout, int | float) and 0 <= dropout < 1):
        raise InputError(f"dropout: expected a share from 0 to below 1, such as 0.3, got {dropout!r}")
    rng = generator(random_state)
    return lambda x: import_keras().layers.Dropout(dropout, seed=int(rng.integers(2**31)))(x) if dropout else x


def _separable(x: Any, channels: int, halve: bool, start: Iterator[Any]) -> Any:
    """Filter each channel by itself, then mix the channels."""
    layers = import_keras().layers
    stride = 2 if halve else 1
    depthwise = layers.DepthwiseConv2D(3, stride, "same", use_bias=False, depthwise_initializer=next(start))
    pointwise = layers.Conv2D(channels, 1, use_bias=False, kernel_initializer=next(start))
    return _normalised(pointwise(_normalised(depthwise(x))))


def _normalised(x: Any) -> Any:
    """Normalise over the batch, then ReLU6, which keeps the range short for int8."""
    layers = import_keras().layers
    # momentum 0.9: a short training must reach its own averages
    return layers.ReLU(max_value=6.0)(layers.BatchNormalization(momentum=0.9)(x))


def _channels(channels: int, width: float) -> int:
    """Return the channels times the width multiplier, as a multiple of 8."""
    return max(8, round(channels * width / 8) * 8)


def _picture_input(input_shape: Sequence[int]) -> tuple[Any, Any]:
    """Return the input of a picture, and the same with an axis of channels."""
    layers = import_keras().layers
    shape = _checked_shape(input_shape)
    if len(shape) not in (2, 3):
        raise InputError(f"input_shape: expected (height, width) or (height, width, channels), got {shape}")
    inputs = layers.Input(shape)
    return inputs, inputs if len(shape) == 3 else layers.Reshape((*shape, 1))(inputs)


def _checked_shape(input_shape: Sequence[int]) -> tuple[int, ...]:
    """Return a shape of at least one axis."""
    shape = _checked_sizes("input_shape", input_shape)
    if not shape:
        raise InputError("input_shape: expected the shape of one input, such as (8, 8), got ()")
    return shape


def _checked_sizes(what: str, sizes: Sequence[int]) -> tuple[int, ...]:
    """Return positive integers, or say which of them is none."""
    if not isinstance(sizes, Sequence) or not all(_is_size(size) for size in sizes):
        raise InputError(f"{what}: expected integers above 0, such as (8, 8), got {sizes!r}")
    return tuple(int(size) for size in sizes)


def _is_size(size: object) -> bool:
    """Tell whether something is a positive integer."""
    return isinstance(size, int | np.integer) and not isinstance(size, bool) and bool(size > 0)


def _starts(random_state: int | None) -> Iterator[Any]:
    """Yield initializers of first weights, each with a seed of its own and none that is global."""
    keras, rng = import_keras(), generator(random_state)
    while True:
        yield keras.initializers.GlorotUniform(seed=int(rng.integers(2**31)))
