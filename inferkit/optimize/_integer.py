"""One layer of an int8 model, computed in integers alone: what a chip without floating point does."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from .._base import InputError
from ._layers import Layer, Tensor

Array = NDArray[Any]

_SAME, _VALID = 0, 1  # padding, as LiteRT's schema numbers it
_NONE, _RELU, _RELU6 = 0, 1, 3  # fused activations, likewise


def integer_layer(layer: Layer, q: ArrayLike) -> NDArray[np.int8]:
    """Compute a convolution, depthwise convolution or dense layer in integers.

    Products of int8 are added up in int32. The sum is scaled once, to the integers of the output:
    ``round(sum · scale_in · scale_weights / scale_out) + zero_point_out``, cut off where int8 or the activation ends.

    Parameters
    ----------
    layer : Layer
        Of an int8 file, from :func:`read_layers`; its weights are int8.
    q : (n, ...) array of int8
        Its input, as stored.

    Returns
    -------
    (n, ...) array of int8
        Its output, as stored: what LiteRT gives, to one step, for a runtime may round a half otherwise.

    Raises
    ------
    InputError
        If the layer is of another kind, not int8, or dilated, or the input does not fit.

    References
    ----------
    B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
    CVPR 2018, section 2; "LiteRT 8-bit quantization specification".

    Examples
    --------
    >>> from inferkit.models import load_reference
    >>> from inferkit.optimize import read_layers
    >>> dense = read_layers(load_reference("digits-cnn-int8"))[-2]
    >>> integer_layer(dense, np.zeros((1, 40), dtype=np.int8)).shape
    (1, 10)
    """
    weights, source = _checked(layer, np.asarray(q))
    x = np.asarray(q).astype(np.int32) - int(source.zero_point[0])  # so that 0 stands for 0, padding too
    w = weights.data.astype(np.int32) if weights.data is not None else np.zeros(0, np.int32)
    total = _SUMS[layer.op](layer, x, w)
    if layer.bias is not None and layer.bias.data is not None:
        total = total + layer.bias.data
    return _requantize(layer, total, source, weights)


def _checked(layer: Layer, q: Array) -> tuple[Tensor, Tensor]:
    """Return the weights and the input's description of a layer that can be computed here."""
    if layer.op not in _SUMS or layer.weights is None or layer.weights.dtype != "int8" or layer.output.dtype != "int8":
        raise InputError(f"layer: expected {', '.join(_SUMS)} of an int8 file, got {layer.op} ({layer.output.dtype})")
    if max(layer.options.get("dilationWFactor", 1), layer.options.get("dilationHFactor", 1)) > 1:
        raise InputError("layer: expected no dilation")
    source = layer.inputs[0]
    if q.dtype != np.int8 or q.shape[1:] != source.shape[1:]:
        wanted = ", ".join(["n", *map(str, source.shape[1:])])
        raise InputError(f"q: expected int8 of shape ({wanted}), got {q.dtype} of shape {q.shape}")
    return layer.weights, source


def _requantize(layer: Layer, total: Array, source: Tensor, weights: Tensor) -> NDArray[np.int8]:
    """Scale the sums to the integers of the output, and cut them off where the activation does."""
    out = layer.output
    scale_out, zero_out = float(out.scale[0]), int(out.zero_point[0])
    factor = weights.scale.astype(np.float64) * float(source.scale[0]) / scale_out  # one, or one for each channel
    lowest, highest = _range(layer.options.get("fusedActivationFunction", _NONE), scale_out, zero_out)
    steps: Array = np.clip(np.rint(total * factor) + zero_out, lowest, highest)
    return steps.astype(np.int8)


def _range(activation: int, scale: float, zero_point: int) -> tuple[int, int]:
    """Return the integers that an activation leaves."""
    if activation not in (_NONE, _RELU, _RELU6):
        raise InputError(f"layer: expected no activation, ReLU or ReLU6, got number {activation} of the schema")
    lowest = -128 if activation == _NONE else max(-128, zero_point)
    return lowest, min(127, zero_point + round(6 / scale)) if activation == _RELU6 else 127


def _dense(layer: Layer, x: Array, w: Array) -> Array:
    return np.asarray(x @ w.T)


def _convolution(layer: Layer, x: Array, w: Array) -> Array:
    """Sum over window and channels; weights are (filters, height, width, channels)."""
    return np.asarray(np.einsum("nijchw,ohwc->nijo", _windows(layer, x, w.shape[1:3]), w, dtype=np.int32))


def _depthwise(layer: Layer, x: Array, w: Array) -> Array:
    """Sum over the window; weights are (1, height, width, channels × multiplier)."""
    windows = np.repeat(_windows(layer, x, w.shape[1:3]), w.shape[3] // x.shape[3], axis=3)
    return np.asarray(np.einsum("nijchw,hwc->nijc", windows, w[0], dtype=np.int32))


_SUMS = {"CONV_2D": _convolution, "DEPTHWISE_CONV_2D": _depthwise, "FULLY_CONNECTED": _dense}


def _windows(layer: Layer, x: Array, size: tuple[int, ...]) -> Array:
    """Return what each output looks at: (n, rows, columns, channels, height, width)."""
    strides = layer.options["strideH"], layer.options["strideW"]
    if layer.options["padding"] == _SAME:
        ends = [_padding(n, k, step) for n, k, step in zip(x.shape[1:3], size, strides, strict=True)]
        x = np.pad(x, [(0, 0), *ends, (0, 0)])
    windows = sliding_window_view(x, size, axis=(1, 2))
    return np.asarray(windows[:, :: strides[0], :: strides[1]])


def _padding(n: int, size: int, stride: int) -> tuple[int, int]:
    """Return zeros before and behind, so that the output has n / stride places; an odd one goes behind."""
    missing = max((-(-n // stride) - 1) * stride + size - n, 0)
    return missing // 2, missing - missing // 2
