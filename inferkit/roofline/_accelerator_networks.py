"""The networks that run on an accelerator, with weights from a seed and the answers that NumPy gives in float64."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._base import InputError, generator, sha256
from ..models import cnn, import_keras, mobilenet

Doubles = NDArray[np.float64]
Build = Callable[[], Any]

PRECISIONS = ("float32", "tensorfloat32", "bfloat16", "float16")

# Bits of a stored mantissa. Rounding to the nearest is wrong by at most 2^-(bits + 1) of the number.
_MANTISSA = {"float32": 23, "tensorfloat32": 10, "bfloat16": 7, "float16": 10}


def tolerance(precision: str) -> float:
    """Return how far an answer may lie from float64, as a share of the largest answer.

    Two things are lost. Some 60 steps one after another (a MobileNet's) each round their result; that drifts like a
    random walk, by 8 roundings of the precision, and the largest of hundreds of answers lies up to four times as far
    out: 32. And sums of up to a thousand products are kept in float32, some 32 roundings of that, which drift in the
    same way: 256. So 2·10⁻⁵ for float32, 2·10⁻² for TF32 and float16, and 1·10⁻¹ for bfloat16. Products in TF32
    do not pass for float32.

    Parameters
    ----------
    precision : str
        One of ``PRECISIONS``.

    Returns
    -------
    float

    References
    ----------
    N. J. Higham and T. Mary, "A New Approach to Probabilistic Rounding Error Analysis", SIAM Journal on Scientific
    Computing 41(5), 2019.

    Examples
    --------
    >>> [f"{tolerance(p):.0e}" for p in ("float32", "float16", "bfloat16")]
    ['2e-05', '2e-02', '1e-01']
    """
    return float(32 * 2.0 ** -(_MANTISSA[precision] + 1) + 256 * 2.0**-24)


@dataclass(frozen=True, eq=False)
class Subject:
    """A network that is ready to be run.

    Attributes
    ----------
    name : str
    rows : array of float32
        Rows that differ; a larger batch repeats them.
    expected : array of float64
        What NumPy answers to them.
    build : callable
        Takes a precision; returns the Keras model with the weights.
    structure : str
        12 hexadecimal digits: the same for the same layers, shapes and order, whatever the weights.
    n_parameters : int
    """

    name: str
    rows: NDArray[np.float32]
    expected: Doubles
    build: Callable[[str], Any]
    structure: str
    n_parameters: int

    def batch(self, size: int) -> NDArray[np.float32]:
        """Return that many rows."""
        return np.ascontiguousarray(np.resize(self.rows, (size, *self.rows.shape[1:])))

    def difference(self, answers: Any) -> float:
        """Return the largest difference from float64, as a share of the largest answer to any row; infinity if none."""
        expected = np.resize(self.expected, (len(answers), *self.expected.shape[1:]))
        if np.shape(answers) != expected.shape:
            return float("inf")
        worst = float(np.abs(np.asarray(answers, dtype=np.float64) - expected).max() / np.abs(self.expected).max())
        return worst if np.isfinite(worst) else float("inf")


def transformer_block() -> Any:
    """Build one block of a transformer's encoder: attention of four heads, then two dense layers.

    Each half adds its result to what came in, and is followed by layer normalisation.

    Returns
    -------
    keras.Model
        From (n, 64 tokens, 128) to the same. Not trained.

    References
    ----------
    A. Vaswani et al., "Attention Is All You Need", arXiv:1706.03762, 2017.
    """
    keras = import_keras()
    layers = keras.layers
    inputs = layers.Input((64, 128))
    x = layers.MultiHeadAttention(num_heads=4, key_dim=32)(inputs, inputs)
    middle = layers.LayerNormalization()(layers.Add()([inputs, x]))
    x = layers.Dense(128)(layers.Dense(512, activation="relu")(middle))
    return keras.Model(inputs, layers.LayerNormalization()(layers.Add()([middle, x])), name="transformer_block")


def _mobilenet(width: float) -> Build:
    return lambda: mobilenet((32, 32, 3), 12, width=width)


NETWORKS: dict[str, Build] = {
    "digits-cnn": cnn,
    "mobilenet-25": _mobilenet(0.25),
    "mobilenet-50": _mobilenet(0.5),
    "mobilenet-100": _mobilenet(1.0),
    "transformer-block": transformer_block,
}
"""The course's models by name."""


def chosen(networks: Any) -> dict[str, Build]:
    """Return what builds each of the networks that were asked for: all, some by name, or one's own."""
    if networks is None:
        return dict(NETWORKS)
    if isinstance(networks, Mapping):
        if networks and all(isinstance(name, str) and callable(build) for name, build in networks.items()):
            return dict(networks)
        raise InputError('networks: expected functions that build a Keras model, by name: {"mine": lambda: cnn()}')
    names = [networks] if isinstance(networks, str) else list(networks)
    if not names or len(set(names)) != len(names) or any(name not in NETWORKS for name in names):
        raise InputError(f"networks: expected names from {', '.join(NETWORKS)}, each once, got {names!r:.80}")
    return {name: NETWORKS[name] for name in names}


def prepare(name: str, build: Build, n_rows: int, random_state: int) -> Subject:
    """Build a network in float32, give it weights from a seed, and answer some rows in float64 by NumPy.

    Parameters
    ----------
    name : str
    build : callable
        Returns a Keras model with one input and one output.
    n_rows : int
        Rows that differ.
    random_state : int

    Returns
    -------
    Subject

    Raises
    ------
    InputError
        If it has more than one input or output, or a layer that the NumPy reference does not know.
    """
    rng = generator(random_state)
    model = build()
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise InputError(f"networks: expected one input and one output, {name!r} has more; run its parts by themselves")
    rows = rng.random((n_rows, *model.inputs[0].shape[1:]), dtype=np.float32)
    answers(model, rows, lambda layer, given: _begin(layer, given, rng))
    weights = model.get_weights()

    def built(precision: str) -> Any:
        with dtype_policy(precision):
            copy = build()
        copy.set_weights(weights)
        return copy

    return Subject(name, rows, answers(model, rows), built, _structure(model), model.count_params())


@contextmanager
def dtype_policy(precision: str) -> Iterator[None]:
    """Let Keras build in a precision: weights and activations both. TF32 is float32 that is multiplied otherwise."""
    config = import_keras().config
    before = config.dtype_policy()
    config.set_dtype_policy("float32" if precision == "tensorfloat32" else precision)
    try:
        yield
    finally:
        config.set_dtype_policy(before)


def _structure(model: Any) -> str:
    """Return a hash of the layers' kinds and shapes in order."""
    layers = [
        [type(layer).__name__, [list(w.shape) for w in layer.weights], *map(str, _shape(layer))]
        for layer in model.layers
    ]
    return sha256(json.dumps(layers).encode())[:12]


def _shape(layer: Any) -> list[Any]:
    return [one.shape for one in _several(layer.output)]


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


# -- weights -----------------------------------------------------------------------------------


def _begin(layer: Any, given: list[Doubles], rng: np.random.Generator) -> None:
    """Give a layer weights: Glorot's, by NumPy, so that they are the same whatever the backend."""
    kind, shapes = type(layer).__name__, [tuple(w.shape) for w in layer.weights]
    if kind == "BatchNormalization":  # its averages are those of the rows: a network that has settled
        scale, shift = rng.uniform(0.5, 1.5, shapes[0]), rng.uniform(-0.5, 0.5, shapes[0])
        axes = tuple(range(given[0].ndim - 1))
        layer.set_weights([scale, shift, given[0].mean(axes), given[0].var(axes)])
    elif kind == "LayerNormalization":
        layer.set_weights([rng.uniform(0.5, 1.5, shapes[0]), rng.uniform(-0.5, 0.5, shapes[0])])
    elif shapes:
        # A last bias like any other says whether biases are added at all.
        weights = [
            _glorot(shape, rng) if layer.weights[i].path.endswith("kernel") else rng.uniform(-0.1, 0.1, shape)
            for i, shape in enumerate(shapes)
        ]
        layer.set_weights(_sharper(weights, given[0]) if _activation(layer) == "softmax" else weights)


def _glorot(shape: tuple[int, ...], rng: np.random.Generator) -> Doubles:
    """Draw a kernel as Glorot and Bengio (2010) do: uniform, by what goes in and what comes out."""
    n = int(np.prod(shape))
    width = max(shape)  # of an attention, whose kernels are (width, heads, part) or the other way round
    fans = width + n // width if len(shape) == 3 else n // shape[-1] + n // shape[-2]
    limit = np.sqrt(6 / fans)
    return rng.uniform(-limit, limit, shape)


def _sharper(weights: list[Doubles], x: Doubles) -> list[Doubles]:
    """Scale a classifier's last kernel until its answers differ: all near 1/n, they would hide an error."""
    kernel, *rest = weights
    return [kernel / (x @ kernel).std(), *rest]


# -- the reference -----------------------------------------------------------------------------


def answers(
    model: Any, rows: NDArray[np.float32], before: Callable[[Any, list[Doubles]], None] | None = None
) -> Doubles:
    """Run a Keras model's layers in NumPy and float64, one after another.

    Nothing of Keras computes here: only its description of the layers and their weights are read. So a backend, a
    device and a precision are all checked against something that shares no code with them.

    Parameters
    ----------
    model : keras.Model
        Functional, with one input and one output.
    rows : array of float32
    before : callable, optional
        Called with each layer and its inputs before the layer runs.

    Returns
    -------
    numpy.ndarray of float64

    Raises
    ------
    InputError
        If it does not know a layer's kind.

    Examples
    --------
    >>> from inferkit.models import mlp
    >>> model = mlp(random_state=0)
    >>> x = np.ones((2, 8, 8), dtype=np.float32)
    >>> bool(np.abs(answers(model, x) - model.predict_on_batch(x)).max() < 1e-6)
    True
    """
    values = {id(model.inputs[0]): rows.astype(np.float64)}
    for layer in model.layers:
        kind = type(layer).__name__
        if kind == "InputLayer":
            continue
        if kind not in _LAYERS:
            raise InputError(f"networks: the float64 reference knows {', '.join(_LAYERS)}; got a layer {kind}")
        given = [values[id(one)] for one in _several(layer.input)]
        if before is not None:
            before(layer, given)
        values[id(layer.output)] = _LAYERS[kind](layer, *given)
    return values[id(model.outputs[0])]


def _activation(layer: Any) -> str:
    return str(getattr(getattr(layer, "activation", None), "__name__", "linear"))


def _activated(layer: Any, x: Doubles) -> Doubles:
    name = _activation(layer)
    if name == "linear":
        return x
    if name == "relu":
        return np.maximum(x, 0)
    if name == "softmax":
        return _softmax(x)
    raise InputError(f"networks: the float64 reference knows linear, relu and softmax; got the activation {name}")


def _softmax(x: Doubles) -> Doubles:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def _weights(layer: Any) -> list[Doubles]:
    return [np.asarray(w, dtype=np.float64) for w in layer.get_weights()]


def _dense(layer: Any, x: Doubles) -> Doubles:
    kernel, *bias = _weights(layer)
    return _activated(layer, x @ kernel + sum(bias))


def _windows(x: Doubles, size: tuple[int, int], strides: tuple[int, int], padding: str) -> Doubles:
    """Return every window of a map: (n, rows, columns, channels, height, width)."""
    if padding == "same":
        total = [max((-(-n // s) - 1) * s + k - n, 0) for n, s, k in zip(x.shape[1:3], strides, size, strict=True)]
        x = np.pad(x, [(0, 0), *((t // 2, t - t // 2) for t in total), (0, 0)])
    found = np.lib.stride_tricks.sliding_window_view(x, size, axis=(1, 2))
    return found[:, :: strides[0], :: strides[1]]


def _conv(layer: Any, x: Doubles) -> Doubles:
    kernel, *bias = _weights(layer)
    y = np.tensordot(_windows(x, kernel.shape[:2], layer.strides, layer.padding), kernel, ((4, 5, 3), (0, 1, 2)))
    return _activated(layer, y + sum(bias))


def _depthwise(layer: Any, x: Doubles) -> Doubles:
    kernel, *bias = _weights(layer)
    y = np.einsum("nrcdhw,hwd->nrcd", _windows(x, kernel.shape[:2], layer.strides, layer.padding), kernel[..., 0])
    return _activated(layer, y + sum(bias))


def _batch_normalisation(layer: Any, x: Doubles) -> Doubles:
    scale, shift, mean, variance = _weights(layer)
    return np.asarray((x - mean) / np.sqrt(variance + layer.epsilon) * scale + shift)


def _layer_normalisation(layer: Any, x: Doubles) -> Doubles:
    scale, shift = _weights(layer)
    spread = np.sqrt(x.var(-1, keepdims=True) + layer.epsilon)
    return np.asarray((x - x.mean(-1, keepdims=True)) / spread * scale + shift)


def _attention(layer: Any, query: Doubles, value: Doubles) -> Doubles:
    wq, bq, wk, bk, wv, bv, wo, bo = _weights(layer)
    q, k, v = (
        np.einsum("ntd,dhp->nhtp", x, w) + b[:, None] for x, w, b in ((query, wq, bq), (value, wk, bk), (value, wv, bv))
    )
    shares = _softmax(np.einsum("nhtp,nhsp->nhts", q, k) / np.sqrt(q.shape[-1]))
    return np.asarray(np.einsum("nhts,nhsp,hpd->ntd", shares, v, wo, optimize=True) + bo)


def _max_pooling(layer: Any, x: Doubles) -> Doubles:
    if layer.padding != "valid":
        raise InputError("networks: the float64 reference knows pooling without padding only")
    return np.asarray(_windows(x, layer.pool_size, layer.strides, "valid").max((4, 5)))


_LAYERS: dict[str, Callable[..., Doubles]] = {
    "Add": lambda layer, *given: np.asarray(sum(given)),
    "BatchNormalization": _batch_normalisation,
    "Conv2D": _conv,
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise,
    "Dropout": lambda layer, x: x,
    "Flatten": lambda layer, x: x.reshape(len(x), -1),
    "GlobalAveragePooling2D": lambda layer, x: x.mean((1, 2)),
    "LayerNormalization": _layer_normalisation,
    "MaxPooling2D": _max_pooling,
    "MultiHeadAttention": _attention,
    "ReLU": lambda layer, x: np.clip(x, 0, layer.max_value),
    "Reshape": lambda layer, x: x.reshape(len(x), *layer.target_shape),
}
