"""What a `.tflite` file holds: its layers, their weights as they are stored, and the work that each is."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._base import ModelFileError
from ..models import LiteRTModel

Array = NDArray[Any]

# Kinds of tensor (LiteRT's schema) that NumPy has a type for. Four-bit integers come two in a byte.
_DTYPES = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    6: "bool",
    7: "int16",
    9: "int8",
    10: "float64",
}
_INT4 = 17
CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor of a LiteRT file.

    Attributes
    ----------
    index : int
        Its number in the file.
    name : str
        What the converter called it.
    shape : tuple of int
        Of one row, where the first axis is the batch.
    dtype : str
        As stored, in NumPy's words; ``int4`` for four-bit integers.
    scale, zero_point : array
        One of each, or one for each channel; empty in a tensor of real numbers.
    axis : int
        The axis of the channels.
    data : array or None
        The constant that the file holds for it, as stored; None for what is computed.
    n_bytes : int
        Bytes of that constant in the file.
    buffer : int
        Where the file holds it; tensors may share one.
    sparse : bool
        Whether the file holds only what is not zero.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: NDArray[np.float32] = field(repr=False)
    zero_point: NDArray[np.int64] = field(repr=False)
    axis: int = field(repr=False)
    data: Array | None = field(repr=False)
    n_bytes: int
    buffer: int = field(default=0, repr=False)
    sparse: bool = field(default=False, repr=False)

    @property
    def size(self) -> int:
        """Elements."""
        return _size(self.shape)

    @property
    def is_weight(self) -> bool:
        """Whether it is a constant of real numbers, be they stored as integers."""
        return self.data is not None and (self.dtype.startswith("float") or self.scale.size > 0)

    @property
    def n_zeros(self) -> int:
        """Elements that stand for 0."""
        if self.data is None:
            return 0
        if self.sparse:  # the file holds what is not zero
            return self.size - int(np.count_nonzero(self.data))
        return int((self.data == self._along(self.zero_point)).sum())

    @property
    def real(self) -> NDArray[np.float32]:
        """The real numbers that a constant stands for, float32."""
        if self.data is None or self.sparse:
            raise ModelFileError(f"{self.name}: the file holds no dense constant for this tensor")
        if self.scale.size == 0:
            return self.data.astype(np.float32)
        steps = self.data.astype(np.int64) - self._along(self.zero_point)
        return (self._along(self.scale).astype(np.float64) * steps).astype(np.float32)

    def _along(self, parameter: Array) -> Array:
        """Return scales or zero points in a shape that meets the channels."""
        if parameter.size <= 1:
            return parameter.reshape(()) if parameter.size else np.zeros((), dtype=np.int64)
        return parameter.reshape([-1 if i == self.axis else 1 for i in range(len(self.shape))])


@dataclass(frozen=True, eq=False)
class Layer:
    """One operation of a LiteRT file, with its weights.

    Attributes
    ----------
    op : str
        Its kind in LiteRT's words, such as ``CONV_2D``.
    inputs : tuple of Tensor
        What it reads, constants left out.
    output : Tensor
        What it makes; the first, if there are several.
    weights, bias : Tensor or None
        Its constants.
    options : dict
        What else the file says of it: stride, padding, activation.
    macs : int
        Multiply-accumulate operations for one row, counted from the shapes.
    reads : tuple of int
        Numbers of all tensors that it reads, constants included, as the file has them.
    """

    op: str
    inputs: tuple[Tensor, ...] = field(repr=False)
    output: Tensor
    weights: Tensor | None = field(repr=False)
    bias: Tensor | None = field(repr=False)
    options: dict[str, Any] = field(repr=False)
    macs: int
    reads: tuple[int, ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        """A short name for people: the last part of the Keras layer's that it came from."""
        return short_name(self.output.name)


@dataclass(frozen=True, eq=False)
class ModelFile:
    """A whole `.tflite` file, read.

    Attributes
    ----------
    main : tuple of Layer
        What runs once for each input, conversions between real numbers and integers included.
    inner : tuple of Layer
        What runs inside loops.
    tensors : tuple of Tensor
    """

    main: tuple[Layer, ...]
    inner: tuple[Layer, ...]
    tensors: tuple[Tensor, ...]

    @property
    def has_loops(self) -> bool:
        """Whether some layers run more than once."""
        return bool(self.inner)

    @property
    def runs(self) -> list[Layer]:
        """All layers but conversions."""
        return [layer for layer in self.main + self.inner if layer.op not in CONVERSIONS]

    @property
    def weights(self) -> list[Tensor]:
        """Every constant of real numbers."""
        return [tensor for tensor in self.tensors if tensor.is_weight]


def read_layers(model: LiteRTModel | str | os.PathLike[str] | bytes) -> list[Layer]:
    """Read the layers of a LiteRT file, in the order in which they run.

    Parameters
    ----------
    model : LiteRTModel, path-like or bytes
        A `.tflite` file, its content, or the model that was made of it.

    Returns
    -------
    list of Layer
        Operations, without those that only change between real numbers and integers.

    Raises
    ------
    ModelFileError
        If it is no LiteRT file, or damaged.

    References
    ----------
    "LiteRT 8-bit quantization specification" and the schema of the file format.

    Examples
    --------
    >>> from inferkit.models import load_reference
    >>> for layer in read_layers(load_reference("digits-cnn-int8")):
    ...     if layer.weights:
    ...         print(layer.op, layer.weights.dtype, layer.weights.shape, f"{layer.macs:,} MACs")
    CONV_2D int8 (16, 3, 3, 1) 9,216 MACs
    CONV_2D int8 (32, 3, 3, 16) 294,912 MACs
    CONV_2D int8 (32, 3, 3, 32) 147,456 MACs
    FULLY_CONNECTED int8 (40, 512) 20,480 MACs
    FULLY_CONNECTED int8 (10, 40) 400 MACs
    """
    return read_file(content_of(model)).runs


def content_of(model: LiteRTModel | str | os.PathLike[str] | bytes) -> bytes:
    """Return the bytes of a LiteRT file."""
    if isinstance(model, LiteRTModel):
        return model.content
    return model if isinstance(model, bytes) else Path(model).read_bytes()


def read_file(content: bytes) -> ModelFile:
    """Read a `.tflite` file's content."""
    from ai_edge_litert import schema_py_generated as schema

    if content[4:8] != b"TFL3":
        raise ModelFileError("this is not a LiteRT model: no TFL3 mark in its first eight bytes")
    try:
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        kinds = {number: name for name, number in vars(schema.BuiltinOperator).items() if name.isupper()}
        found = [[_tensor(i, one, model.buffers) for i, one in enumerate(graph.tensors)] for graph in model.subgraphs]
        main, *inner = (
            tuple(_layers(graph.operators or [], tensors, model.operatorCodes, kinds))
            for graph, tensors in zip(model.subgraphs, found, strict=True)
        )
    except (AttributeError, LookupError, ValueError, TypeError, OverflowError, struct.error) as error:
        raise ModelFileError(f"this LiteRT model cannot be read; it is cut short or damaged: {error}") from error
    once = {id(one) if one.buffer == 0 else -one.buffer: one for tensors in found for one in tensors}
    return ModelFile(main, tuple(layer for graph in inner for layer in graph), tuple(once.values()))


def short_name(name: str) -> str:
    """Return what a person would call a tensor.

    Examples
    --------
    >>> short_name("signs_cnn_1/re_lu_1/Relu;signs_cnn_1/conv2d_1/convolution")
    're_lu_1'
    """
    parts = name.partition(";")[0].split("/")
    return parts[-2] if len(parts) > 1 else parts[0].partition(":")[0]


def _tensor(index: int, raw: Any, buffers: list[Any]) -> Tensor:
    """Return a tensor with its constant, if the file holds one."""
    q = raw.quantization
    scale = np.asarray([] if q is None or q.scale is None else q.scale, dtype=np.float32)
    zero = np.asarray([] if q is None or q.zeroPoint is None else q.zeroPoint, dtype=np.int64)
    shape = tuple(int(n) for n in raw.shape) if raw.shape is not None else ()
    held = buffers[raw.buffer].data if raw.buffer else None
    held = None if held is None or len(held) == 0 else np.asarray(held, dtype=np.uint8)
    dtype = "int4" if raw.type == _INT4 else _DTYPES.get(raw.type, "other")
    axis = int(q.quantizedDimension) if q is not None else 0
    data = None if held is None or dtype == "other" else _constant(held, dtype, shape, raw.sparsity is not None)
    return Tensor(
        index, (raw.name or b"").decode(errors="replace"), shape, dtype, scale, zero, axis,
        data, 0 if held is None else len(held), int(raw.buffer), raw.sparsity is not None,
    )  # fmt: skip


def _constant(held: NDArray[np.uint8], dtype: str, shape: tuple[int, ...], sparse: bool) -> Array:
    """Return a buffer's bytes as numbers."""
    if dtype == "int4":
        pairs = np.stack([held << 4, held], axis=1).astype(np.uint8).view(np.int8) >> 4
        values = pairs.ravel()[: int(np.prod(shape))]
    else:
        values = held.view(dtype)
    return values if sparse else values.reshape(shape)


def _layers(raw: list[Any], tensors: list[Tensor], codes: list[Any], kinds: dict[int, str]) -> list[Layer]:
    """Return the operations of a graph; weights that are made real at run time count as what the file holds."""
    named = [(_op(codes[one.opcodeIndex], kinds), one) for one in raw]
    widened = {
        one.outputs[0]: one.inputs[0] for op, one in named if op == "DEQUANTIZE" and tensors[one.inputs[0]].is_weight
    }
    return [_layer(op, one, tensors, widened) for op, one in named]


def _op(code: Any, kinds: dict[int, str]) -> str:
    """Return the name of an operation; old files hold its number elsewhere."""
    return kinds.get(max(code.builtinCode, code.deprecatedBuiltinCode), "CUSTOM")


def _layer(op: str, raw: Any, tensors: list[Tensor], widened: dict[int, int]) -> Layer:
    """Return an operation with its weights and its work."""
    sources = [] if raw.inputs is None else [widened.get(int(i), int(i)) for i in raw.inputs if i >= 0]
    read = [tensors[i] for i in sources]
    constants = [one for one in read if one.is_weight]
    weights = next((one for one in constants if len(one.shape) > 1), None)
    bias = next((one for one in constants if len(one.shape) == 1), None)
    output = tensors[raw.outputs[0]]
    options = dict(vars(raw.builtinOptions)) if raw.builtinOptions is not None else {}
    rest = tuple(one for one in read if one.data is None)
    reads = () if raw.inputs is None else tuple(int(i) for i in raw.inputs if i >= 0)
    return Layer(op, rest, output, weights, bias, options, _macs(op, read, output), reads)


def _macs(op: str, read: list[Tensor], output: Tensor) -> int:
    """Count the multiply-accumulate operations for one row."""
    count = _WORK.get(op)
    return int(count(read, output)) if count is not None and len(read) > 1 else 0


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))


_WORK: dict[str, Callable[[list[Tensor], Tensor], int]] = {
    # weights are (filters, height, width, channels): each output sees height × width × channels inputs
    "CONV_2D": lambda read, out: _size(out.shape) * _size(read[1].shape[1:]),
    "DEPTHWISE_CONV_2D": lambda read, out: _size(out.shape) * _size(read[1].shape[1:3]),
    "TRANSPOSE_CONV": lambda read, out: _size(read[2].shape) * _size(read[1].shape[:3]),
    "FULLY_CONNECTED": lambda read, out: _size(out.shape) * read[1].shape[-1],
    "BATCH_MATMUL": lambda read, out: _size(out.shape) * read[0].shape[-1],
}
