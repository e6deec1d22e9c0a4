"""Networks that the library has never seen: of the kinds that people bring, with rows to calibrate them on."""

from typing import Any

import numpy as np
import pytest

from inferkit.models import import_keras


def _rows(*shape: int, n: int = 200, seed: int = 0) -> Any:
    return np.random.default_rng(seed).random((n, *shape), dtype=np.float32)


def residual() -> tuple[Any, Any]:
    """Build two convolutions around a bypass, with batch norms that are no longer at their start."""
    keras = import_keras()
    layers = keras.layers
    inputs = layers.Input((16, 16, 3))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", use_bias=False)(inputs)))
    y = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", use_bias=False)(x))
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(layers.Add()([x, y])))
    model = keras.Model(inputs, layers.Dense(5, activation="softmax")(x), name="residual")
    return lived_in(model), _rows(16, 16, 3)


def depthwise() -> tuple[Any, Any]:
    """Build convolutions that filter each channel by itself."""
    keras = import_keras()
    layers = keras.layers
    inputs = layers.Input((16, 16, 3))
    x = layers.SeparableConv2D(8, 3, activation="relu")(inputs)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(5, activation="softmax")(layers.Flatten()(x)), name="depthwise"), _rows(
        16, 16, 3
    )


def recurrent(kind: str = "LSTM") -> tuple[Any, Any]:
    """Build a layer with a memory over five steps."""
    keras = import_keras()
    layers = keras.layers
    inputs = layers.Input((5, 4))
    x = getattr(layers, kind)(16)(inputs)
    return keras.Model(inputs, layers.Dense(5, activation="softmax")(x), name=kind.lower()), _rows(5, 4)


def both_ways() -> tuple[Any, Any]:
    """Build a recurrent layer that reads from both ends."""
    keras = import_keras()
    layers = keras.layers
    inputs = layers.Input((3, 4))
    x = layers.Bidirectional(layers.GRU(8))(inputs)
    return keras.Model(inputs, layers.Dense(5, activation="softmax")(x), name="both_ways"), _rows(3, 4)


def autoencoder() -> tuple[Any, Any]:
    """Build a network that gives back what it was given, through eight numbers."""
    keras = import_keras()
    dense = keras.layers.Dense
    parts = [dense(32, activation="relu"), dense(8, activation="relu"), dense(32, activation="relu"), dense(64)]
    return keras.Sequential([keras.layers.Input((64,)), *parts], name="autoencoder"), _rows(64)


def two_inputs() -> tuple[Any, Any]:
    """Build a network with two inputs, whose order is not that of their names."""
    keras = import_keras()
    layers = keras.layers
    first, second = layers.Input((6,), name="zebra"), layers.Input((4, 3), name="ant")
    x = layers.Concatenate()([layers.Dense(8, activation="relu")(first), layers.Flatten()(second)])
    model = keras.Model([first, second], layers.Dense(3, activation="softmax")(x), name="two_inputs")
    return model, (_rows(6), 5 * _rows(4, 3, seed=1))


def words() -> tuple[Any, Any]:
    """Build an embedding of whole numbers."""
    keras = import_keras()
    layers = keras.layers
    inputs = layers.Input((10,), dtype="int32")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(50, 8)(inputs))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x), name="words")
    return model, np.random.default_rng(0).integers(0, 50, (200, 10)).astype(np.int32)


def attention() -> tuple[Any, Any]:
    """Build a block of a transformer."""
    keras = import_keras()
    layers = keras.layers
    inputs = layers.Input((10, 8))
    x = layers.LayerNormalization()(layers.Add()([inputs, layers.MultiHeadAttention(2, 4)(inputs, inputs)]))
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x), name="attention"), _rows(10, 8)


ALL = {
    "residual": residual,
    "depthwise": depthwise,
    "lstm": recurrent,
    "both_ways": both_ways,
    "autoencoder": autoencoder,
    "two_inputs": two_inputs,
    "words": words,
    "attention": attention,
}


def in_turn(cases: Any, *always: Any) -> list[Any]:
    """Return the cases of a matrix for `parametrize`: some run in each landing, the others by turn."""
    cases = list(cases)
    assert set(always) <= set(cases), f"expected cases from {cases}, got {always}"
    marks = {False: [pytest.mark.rotated], True: []}
    return [pytest.param(*(one if isinstance(one, tuple) else (one,)), marks=marks[one in always]) for one in cases]


def lived_in(model: Any, seed: int = 0) -> Any:
    """Give batch norms averages and factors as training would leave them."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if any(word in variable.path for word in ("moving", "gamma", "beta")):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


def answers(model: Any, rows: Any) -> Any:
    """Return what a Keras model gives for some rows."""
    return np.asarray(model.predict_on_batch(rows if not isinstance(rows, tuple) else list(rows)))
