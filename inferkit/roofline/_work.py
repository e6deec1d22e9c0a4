"""What a layer is as work: operations and bytes, counted from its shapes."""

from __future__ import annotations

import math

from ..optimize import Layer, Tensor

_BITS = {"int4": 4, "bool": 8, "other": 0}
# Operations for each number that comes out, where nothing is multiplied by weights. What takes a logarithm or a power
# takes more than one instruction; how many is the kernel's own affair, and these count as one.
_EACH = {
    "ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "PRELU",
    "LOGISTIC", "TANH", "EXP", "LOG", "SQRT", "RSQRT", "SQUARE", "NEG", "ABS", "HARD_SWISH", "GELU", "ELU",
    "QUANTIZE", "DEQUANTIZE",
}  # fmt: skip


def operations(layer: Layer) -> int:
    """Count the operations of a layer for one row.

    Parameters
    ----------
    layer : Layer

    Returns
    -------
    int
        Two for each multiply-accumulate; one for each number that a pooling looks at or that is added, cut off or
        changed by itself; four for each of a softmax. 0 for what only moves.

    Examples
    --------
    >>> from inferkit.models import load_reference
    >>> from inferkit.optimize import read_layers
    >>> [(layer.op, operations(layer)) for layer in read_layers(load_reference("digits-mlp"))][-2:]
    [('FULLY_CONNECTED', 1280), ('SOFTMAX', 40)]
    """
    if layer.macs:
        return 2 * layer.macs
    if layer.op in ("MAX_POOL_2D", "AVERAGE_POOL_2D"):
        window = int(layer.options.get("filterHeight", 1)) * int(layer.options.get("filterWidth", 1))
        return layer.output.size * window
    if layer.op in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"):
        return sum(one.size for one in layer.inputs)
    if layer.op == "SOFTMAX":  # the largest, an exponential, a sum, a division
        return 4 * layer.output.size
    return layer.output.size if layer.op in _EACH else 0


def stored_bytes(tensor: Tensor) -> int:
    """Return the bytes of one row of a tensor in memory."""
    bits = _BITS.get(tensor.dtype)
    if bits is None:
        bits = 8 * int("".join(c for c in tensor.dtype if c.isdigit())) // 8
    return math.ceil(tensor.size * bits / 8)
