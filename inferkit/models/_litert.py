"""The LiteRT adapter: one `.tflite` file, called with arrays, safe to share between threads."""

import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError, ModelFileError, sha256

Array = npt.NDArray[Any]
_stderr_lock = threading.Lock()


@dataclass(frozen=True)
class TensorInfo:
    """What a model says of one of its inputs or outputs.

    Parameters
    ----------
    name : str
        The name in the model's signature.
    shape : tuple of int
        −1 stands for a length that the caller chooses, as a rule the number of rows.
    dtype : numpy.dtype
        As stored in the tensor: a quantized tensor has an integer type.
    scale, zero_point : float, int
        A quantized value q stands for ``scale * (q - zero_point)``; scale 0 means not quantized.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float
    zero_point: int

    @property
    def is_quantized(self) -> bool:
        """Whether the tensor's integers stand for real numbers."""
        return self.scale != 0 and self.dtype.kind in "iu"

    def quantize(self, values: Array) -> Array:
        """Round real numbers to the tensor's integers, clipped to their range."""
        limits = np.iinfo(self.dtype)
        steps: Array = np.clip(np.rint(values / self.scale) + self.zero_point, limits.min, limits.max)
        return steps.astype(self.dtype)

    def dequantize(self, values: Array) -> Array:
        """Return the real numbers (float32) that the tensor's integers stand for."""
        real: Array = np.float32(self.scale) * (values.astype(np.float32) - np.float32(self.zero_point))
        return real


class LiteRTModel:
    """A LiteRT (formerly TensorFlow Lite) model as a function of arrays.

    Rows go along the first axis. Real numbers may be given to a quantized input, and come back
    from a quantized output: the adapter rounds and scales. Integers of the tensor's own type are
    passed on as they are.

    One model may be called from several threads, and the calls run side by side: each takes an
    interpreter of its own, made when none is free and kept for the next call. So there are as many
    as calls ever ran at once, each with the memory of its largest batch. A model can be pickled: its
    content travels, and interpreters are made anew.

    Parameters
    ----------
    model : path-like or bytes
        A `.tflite` file or its content.
    num_threads : int, default=1
        Threads that one call may use.
    signature : str, optional
        Which of the file's signatures to call; the first one if not given.
    sha256 : str, optional
        The hash that the content must have. It is checked on the very bytes that are used.
    dequantize : bool, default=True
        Give real numbers for quantized outputs. With False the stored integers come back.
    order : sequence of str, optional
        Names of the inputs in the order in which arrays will be given. Converters sort them by name, which is the order
        if not given.

    Attributes
    ----------
    inputs, outputs : dict of str to TensorInfo
    signatures : tuple of str
        The names of the signatures in the file; empty in files that have none.
    size_bytes : int
    sha256 : str
    call_one : callable
        As calling the model with an array of one row, at half the overhead where that is possible.

    Raises
    ------
    ModelFileError
        If the content is no LiteRT model, is cut short, or has another hash.
    InputError
        If `num_threads`, `signature` or `order` is not one that the model can be called with.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import numpy as np
    >>> from inferkit.models import load_reference
    >>> model = load_reference("digits-cnn")
    >>> model(np.zeros((2, 8, 8), dtype="float32")).shape
    (2, 10)
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes,
        *,
        num_threads: int = 1,
        signature: str | None = None,
        sha256: str | None = None,
        dequantize: bool = True,
        order: Sequence[str] | None = None,
    ) -> None:
        if isinstance(num_threads, bool) or not isinstance(num_threads, int) or num_threads < 1:
            raise InputError(f"num_threads: expected an integer ≥ 1, got {num_threads!r}")
        self.name = "model" if isinstance(model, bytes) else Path(model).stem
        self.content = _read(model, sha256)
        self.num_threads = num_threads
        self.dequantize = dequantize
        self.order = None if order is None else tuple(order)
        self._interpreter = _make_interpreter(self.content, num_threads, self.name)
        self.signatures = tuple(self._interpreter.get_signature_list())
        self.signature = self._choose(signature)
        self._read_tensors()
        self._free = [self._lane_of(self._interpreter)]
        self.call_one = self._make_call_one()

    def _choose(self, signature: str | None) -> str | None:
        if signature is None:
            return self.signatures[0] if self.signatures else None
        if signature not in self.signatures:
            known = ", ".join(map(repr, self.signatures)) or "none"
            raise InputError(f"signature: expected one of the model's own ({known}), got {signature!r}")
        return signature

    def _read_tensors(self) -> None:
        """Read names, shapes and types; find out whether the direct calls serve this signature."""
        interpreter = self._interpreter
        direct_in, direct_out = interpreter.get_input_details(), interpreter.get_output_details()
        named_in, named_out = _named(direct_in), _named(direct_out)
        self._is_other = False
        if self.signature is not None:
            runner = interpreter.get_signature_runner(self.signature)
            named_in, named_out = runner.get_input_details(), runner.get_output_details()
            # another subgraph: only its runner can call it
            self._is_other = _identity(named_in) != _identity(_named(direct_in))
        if self.order is not None:
            if sorted(self.order) != sorted(named_in):
                raise InputError(f"order: expected the names {', '.join(named_in)} in some order, got {self.order!r}")
            named_in = {name: named_in[name] for name in self.order}
        self.inputs = {name: _info(name, detail) for name, detail in named_in.items()}
        self.outputs = {name: _info(name, detail) for name, detail in named_out.items()}
        self._in = [(self.inputs[name], detail["index"]) for name, detail in named_in.items()]
        self._out = [(self.outputs[name], detail["index"]) for name, detail in named_out.items()]
        self._first_shapes = [tuple(int(n) for n in detail["shape"]) for detail in named_in.values()]

    def _lane_of(self, interpreter: Any) -> "_Lane":
        runner = interpreter.get_signature_runner(self.signature) if self._is_other else None
        return _Lane(interpreter, runner, self._first_shapes)

    def _take(self) -> "_Lane":
        """Return a free interpreter, or a new one. A list's pop and append are atomic: no lock is needed."""
        try:
            return self._free.pop()
        except IndexError:
            return self._lane_of(_make_interpreter(self.content, self.num_threads, self.name))

    def __reduce__(self) -> tuple[Any, ...]:
        options = {name: getattr(self, name) for name in ("num_threads", "signature", "dequantize", "order")}
        return _from_content, (type(self), self.content, self.name, options)

    @property
    def size_bytes(self) -> int:
        """Size of the model's file in bytes."""
        return len(self.content)

    @cached_property
    def is_quantized(self) -> bool:
        """Whether the model computes in integers, be it behind inputs and outputs of real numbers."""
        lane = self._take()
        details = lane.interpreter.get_tensor_details()
        self._free.append(lane)
        return any(d["quantization"][0] and np.dtype(d["dtype"]).itemsize == 1 and len(d["shape"]) > 1 for d in details)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the model's file, in hexadecimal."""
        return sha256(self.content)

    def __repr__(self) -> str:
        return f"LiteRTModel({self.name!r}, {self.size_bytes:,} bytes, num_threads={self.num_threads})"

    def __call__(self, *arrays: npt.ArrayLike, **named: npt.ArrayLike) -> Any:
        """Run the model once on the rows given.

        Parameters
        ----------
        *arrays, **named : array-like
            One array for each input, in the order of `inputs` or by name.

        Returns
        -------
        numpy.ndarray or dict of str to numpy.ndarray
            The output; several outputs come as a dict by name.

        Raises
        ------
        InputError
            If an array is missing, or its shape or type is not what the model takes.
        """
        if named or len(arrays) != len(self._in):
            arrays = self._order(arrays, named)
        values = [_fit(array, info) for array, (info, _) in zip(arrays, self._in, strict=True)]
        lane = self._take()
        try:
            outputs = self._run_other(lane, values) if self._is_other else self._run(lane, values)
        finally:
            self._free.append(lane)
        if self.dequantize:
            outputs = [
                info.dequantize(out) if info.is_quantized else out
                for out, (info, _) in zip(outputs, self._out, strict=True)
            ]
        return outputs[0] if len(outputs) == 1 else dict(zip(self.outputs, outputs, strict=True))

    def _make_call_one(self) -> Callable[[Array], Any]:
        """Make the shortest way through for one row, where the model has one float input and output."""
        (info, index), *more_in = self._in
        (out, out_index), *more_out = self._out
        if self._is_other or more_in or more_out or info.is_quantized or (out.is_quantized and self.dequantize):
            return self
        dtype, shape = info.dtype, tuple(1 if n == -1 else n for n in info.shape)
        shapes, take, give_back = [shape], self._take, self._free.append

        def call_one(row: Array) -> Any:
            if row.dtype is not dtype or row.shape != shape:
                return self(row)  # which converts, or says what is wrong
            lane = take()
            try:
                if lane.shapes != shapes:
                    self._resize(lane, shapes)
                lane.set_tensor(index, row)
                lane.invoke()
                return lane.get_tensor(out_index)
            finally:
                give_back(lane)

        return call_one

    def _run(self, lane: "_Lane", values: list[Array]) -> list[Array]:
        """Set, invoke, get."""
        shapes = [value.shape for value in values]
        if shapes != lane.shapes:
            self._resize(lane, shapes)
        for value, (_, index) in zip(values, self._in, strict=True):
            lane.set_tensor(index, value)
        lane.invoke()
        return [lane.get_tensor(index) for _, index in self._out]

    def _resize(self, lane: "_Lane", shapes: list[tuple[int, ...]]) -> None:
        lane.shapes = []  # unknown until the new shapes are in place: an interrupt must not lie
        for shape, (_, index) in zip(shapes, self._in, strict=True):
            lane.interpreter.resize_tensor_input(index, shape)
        lane.interpreter.allocate_tensors()
        lane.shapes = shapes

    def _run_other(self, lane: "_Lane", values: list[Array]) -> list[Array]:
        result = lane.runner(**dict(zip(self.inputs, values, strict=True)))
        return [result[name] for name in self.outputs]

    def _order(self, arrays: tuple[npt.ArrayLike, ...], named: Mapping[str, npt.ArrayLike]) -> tuple[Any, ...]:
        """Put arguments by name into the order of `inputs`."""
        given = dict(zip(self.inputs, arrays, strict=False))
        unknown = [name for name in named if name not in self.inputs]
        if unknown or len(arrays) > len(self.inputs) or given.keys() & named.keys():
            got = [f"array {i}" for i in range(len(arrays))] + list(named)
            raise InputError(f"expected one array for each input of {list(self.inputs)}, got {got}")
        given.update(named)
        missing = [name for name in self.inputs if name not in given]
        if missing:
            raise InputError(f"no array for the input {missing[0]!r}; the model takes {list(self.inputs)}")
        return tuple(given[name] for name in self.inputs)


class _Lane:
    """One interpreter and the shapes it stands ready for: in the hands of one call at a time."""

    __slots__ = ("get_tensor", "interpreter", "invoke", "runner", "set_tensor", "shapes")

    def __init__(self, interpreter: Any, runner: Any, shapes: list[tuple[int, ...]]) -> None:
        self.interpreter, self.runner, self.shapes = interpreter, runner, shapes
        self.set_tensor, self.invoke = interpreter.set_tensor, interpreter.invoke  # bound once, for speed
        self.get_tensor = interpreter.get_tensor


def _from_content(kind: type[LiteRTModel], content: bytes, name: str, options: dict[str, Any]) -> LiteRTModel:
    """Make a model that was pickled."""
    model = kind(content, **options)
    model.name = name
    return model


def _read(model: str | os.PathLike[str] | bytes, expected: str | None) -> bytes:
    """Return the model's bytes, checked against the hash if one is given."""
    content = model if isinstance(model, bytes) else Path(model).read_bytes()
    name = "the content" if isinstance(model, bytes) else Path(model).name
    if expected is not None and sha256(content) != expected.lower():
        raise ModelFileError(
            f"{name} is not the registered model: expected SHA-256 {expected[:12]}…, got {sha256(content)[:12]}…; "
            "fetch or build it again"
        )
    if content[4:8] != b"TFL3":
        raise ModelFileError(f"{name} is not a LiteRT model: no TFL3 mark in its first eight bytes")
    return content


def _make_interpreter(content: bytes, num_threads: int, name: str) -> Any:
    """Make an interpreter without its greeting on standard error."""
    from ai_edge_litert.interpreter import Interpreter

    with _quiet_stderr():
        try:
            interpreter = Interpreter(model_content=content, num_threads=num_threads)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[-1] if str(error).strip() else "no reason given"
            raise ModelFileError(f"{name} cannot be loaded; it is cut short or damaged: {reason}") from error
    return interpreter


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Hold back what C++ writes to standard error; pass on all that is not a notice."""
    with _stderr_lock, tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        with suppress(OSError):  # a process may have closed its standard error
            saved = os.dup(2)
            os.dup2(held.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(saved, 2)
                os.close(saved)
                held.seek(0)
                for line in held.read().splitlines(keepends=True):
                    if not line.startswith(b"INFO:"):
                        os.write(2, line)
            return
        yield


def _named(details: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {detail["name"]: detail for detail in details}


def _identity(details: Mapping[str, dict[str, Any]]) -> set[tuple[int, str]]:
    return {(detail["index"], detail["name"]) for detail in details.values()}


def _info(name: str, detail: Mapping[str, Any]) -> TensorInfo:
    shape = detail.get("shape_signature", ())
    shape = detail["shape"] if len(shape) != len(detail["shape"]) else shape
    scale, zero_point = detail["quantization"]
    return TensorInfo(name, tuple(int(n) for n in shape), np.dtype(detail["dtype"]), float(scale), int(zero_point))


def _fit(array: npt.ArrayLike, info: TensorInfo) -> Array:
    """Return `array` as the tensor takes it, or raise."""
    value = np.asarray(array)
    if value.dtype != info.dtype:
        value = _convert(value, info)
    if len(value.shape) != len(info.shape) or any(
        n not in (got, -1) for n, got in zip(info.shape, value.shape, strict=True)
    ):
        wanted = "(" + ", ".join("any" if n == -1 else str(n) for n in info.shape) + ")"
        raise InputError(f"{info.name}: expected an array of shape {wanted}, got {value.shape}")
    if 0 in value.shape:
        raise InputError(f"{info.name}: expected at least one row, got an empty array of shape {value.shape}")
    return value


def _convert(value: Array, info: TensorInfo) -> Array:
    if info.is_quantized and value.dtype.kind == "f":
        if not np.isfinite(value).all():
            raise InputError(
                f"{info.name}: expected finite numbers, got NaN or infinity, which no integer can stand for"
            )
        return info.quantize(value)
    if not info.is_quantized and value.dtype.kind in "fiu" and np.can_cast(value.dtype, info.dtype, "same_kind"):
        return value.astype(info.dtype)
    raise InputError(
        f"{info.name}: expected {info.dtype.name}"
        + (" or real numbers" if info.is_quantized else "")
        + f", got {value.dtype.name}"
    )
