"""LiteRT files written here: one dense layer from nothing, or one layer cut out of a whole model."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .._base import InputError, generator
from ..models import LiteRTModel

_MARK = b"TFL3"
_SCALE = 1 / 127  # real numbers of -1 to 1 in int8
_VERSION_INT8 = 4  # of FULLY_CONNECTED, from which on it takes int8


def litert_matmul(
    m: int, k: int, n: int, dtype: Literal["float32", "int8"] = "float32", *, num_threads: int = 1
) -> LiteRTModel:
    """Return a LiteRT model of one dense layer: a matrix product with weights that are fixed.

    The file is written here; no TensorFlow is needed.

    Parameters
    ----------
    m : int
        Rows that the file is planned for. Others may be given.
    k, n : int
        Numbers in a row, and answers to each.
    dtype : {"float32", "int8"}, default "float32"
        In what it computes. An int8 model takes and gives int8; real numbers are rounded on the way in.
    num_threads : int, default 1
        Threads that one call may use.

    Returns
    -------
    LiteRTModel
        From (m, k) to (m, n). One call is m · k · n multiply-accumulate operations. Weights are seeded, from -1 to 1.
        In int8 sums past five times their spread for such rows are cut off.

    Raises
    ------
    InputError
        If a size is not a whole number above 0, or `dtype` is another one.

    Examples
    --------
    >>> litert_matmul(2, 64, 8)(np.ones((2, 64), dtype=np.float32)).shape
    (2, 8)
    """
    for name, size in (("m", m), ("k", k), ("n", n)):
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
            raise InputError(f"{name}: expected a whole number above 0, got {size!r}")
    if dtype not in ("float32", "int8"):
        raise InputError(f"dtype: expected 'float32' or 'int8', got {dtype!r}")
    weights = generator(0).uniform(-1, 1, (int(n), int(k))).astype(np.float32)
    model = LiteRTModel(_dense(int(m), weights, dtype), num_threads=num_threads)
    model.name = f"{m}x{k}x{n}-{dtype}"
    return model


def _dense(m: int, weights: NDArray[np.float32], dtype: str) -> bytes:
    """Write a file with one dense layer."""
    from ai_edge_litert import schema_py_generated as schema

    n, k = weights.shape
    whole = np.rint(weights / _SCALE).astype(np.int8)
    held = whole if dtype == "int8" else weights
    kind = schema.TensorType.INT8 if dtype == "int8" else schema.TensorType.FLOAT32
    # a sum of k products of numbers from -1 to 1 is rarely past five times its spread, sqrt(k) / 3
    steps = (_SCALE, _SCALE, 5 * math.sqrt(k) / 3 / 127) if dtype == "int8" else (0.0, 0.0, 0.0)
    tensors = [
        _tensor(schema, "rows", (m, k), kind, 0, steps[0]),
        _tensor(schema, "weights", (n, k), kind, 1, steps[1]),
        _tensor(schema, "answers", (m, n), kind, 0, steps[2]),
    ]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = _VERSION_INT8 if dtype == "int8" else 1
    layer = schema.OperatorT()
    layer.opcodeIndex, layer.inputs, layer.outputs = 0, [0, 1, -1], [2]
    layer.builtinOptionsType, layer.builtinOptions = (
        schema.BuiltinOptions.FullyConnectedOptions,
        schema.FullyConnectedOptionsT(),
    )
    return _written(schema, [code], [layer], tensors, [b"", held.tobytes()], [0], [2])


def _tensor(schema: Any, name: str, shape: tuple[int, ...], kind: int, buffer: int, step: float) -> Any:
    """Describe a tensor; `step` is what one of its integers stands for."""
    one = schema.TensorT()
    one.name, one.shape, one.type, one.buffer = name.encode(), list(shape), kind, buffer
    if buffer == 0:
        one.shapeSignature = [-1, *shape[1:]]
    if step:
        one.quantization = schema.QuantizationParametersT()
        one.quantization.scale, one.quantization.zeroPoint = [step], [0]
    return one


def cut(content: bytes, operators: Iterable[int]) -> tuple[bytes, tuple[int, ...], tuple[int, ...]]:
    """Cut some operations of a model's main graph out, into a file of their own.

    Parameters
    ----------
    content : bytes
        A `.tflite` file.
    operators : iterable of int
        Their places, in the order in which they run.

    Returns
    -------
    content : bytes
        A file with these operations and the constants that they read.
    inputs, outputs : tuple of int
        The tensors of the whole model that this one takes, and gives, in order.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    layers = [copy.copy(graph.operators[i]) for i in operators]
    made = [int(i) for layer in layers for i in layer.outputs]
    read = [int(i) for layer in layers for i in layer.inputs if i >= 0]
    held = {i for i in read if _constant(model, graph.tensors[i])}
    inputs = tuple(dict.fromkeys(i for i in read if i not in held and i not in made))
    inner = {i for i in made if i in read}
    outputs = tuple(i for i in made if i not in inner) or tuple(made[-1:])
    used = list(dict.fromkeys([*inputs, *sorted(held), *made]))
    place = {old: new for new, old in enumerate(used)}
    buffers, tensors = [b""], []
    for old in used:
        one = copy.copy(graph.tensors[old])
        if old in held:
            buffers.append(np.asarray(model.buffers[one.buffer].data, dtype=np.uint8).tobytes())
        one.buffer = len(buffers) - 1 if old in held else 0
        tensors.append(one)
    for layer in layers:
        layer.inputs = [place[int(i)] if i >= 0 else -1 for i in layer.inputs]
        layer.outputs = [place[int(i)] for i in layer.outputs]
    file = _written(
        schema, model.operatorCodes, layers, tensors, buffers, [place[i] for i in inputs], [place[i] for i in outputs]
    )
    return file, inputs, outputs


def _constant(model: Any, tensor: Any) -> bool:
    data = model.buffers[tensor.buffer].data if tensor.buffer else None
    return data is not None and len(data) > 0


def _written(
    schema: Any, codes: list[Any], layers: list[Any], tensors: list[Any], buffers: list[bytes],
    inputs: list[int], outputs: list[int],
) -> bytes:  # fmt: skip
    """Write a file of one graph."""
    import flatbuffers

    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.operatorCodes, model.subgraphs = 3, codes, [graph]
    model.buffers = []
    for content in buffers:
        one = schema.BufferT()
        one.data = np.frombuffer(content, dtype=np.uint8) if content else None
        model.buffers.append(one)
    graph.tensors, graph.operators, graph.inputs, graph.outputs = tensors, layers, inputs, outputs
    graph.name = b"main"
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), _MARK)
    return bytes(builder.Output())
