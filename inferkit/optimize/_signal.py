"""What each layer of a LiteRT file gives out, and how far two files differ there."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._base import InputError
from ..models._litert import _quiet_stderr as quiet_stderr  # one descriptor, one lock
from ._layers import read_file

Array = NDArray[Any]


def sqnr_db(signal: ArrayLike, noisy: ArrayLike) -> float:
    """Return the signal-to-quantization-noise ratio in decibels.

    Parameters
    ----------
    signal : array
        What it should be.
    noisy : array of the same shape
        What it is.

    Returns
    -------
    float
        ``10 log10(sum(signal²) / sum((signal − noisy)²))``; infinite where nothing differs. Each bit more of a uniform
        quantizer gives 6 dB.

    Raises
    ------
    InputError
        If the shapes differ.

    References
    ----------
    W. R. Bennett, "Spectra of Quantized Signals", Bell System Technical Journal 27, 1948.

    Examples
    --------
    >>> round(sqnr_db([3.0, 4.0], [3.0, 4.5]), 6)
    20.0
    """
    x, y = np.asarray(signal, dtype=np.float64), np.asarray(noisy, dtype=np.float64)
    if x.shape != y.shape:
        raise InputError(f"expected two arrays of one shape, got {x.shape} and {y.shape}")
    power, noise = float((x**2).sum()), float(((x - y) ** 2).sum())
    if noise == 0:
        return float("inf")
    return 10 * float(np.log10(power / noise)) if power else float("-inf")


def layer_outputs(content: bytes, rows: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    """Run a file row by row and keep what each of its layers gives out.

    Parameters
    ----------
    content : bytes
        A `.tflite` file's content.
    rows : dict of str to (n, ...) array
        One for each input, by its name in the file's signature.

    Returns
    -------
    dict of str to (n, ...) float32 array
        By the tensor's name; integers are given as the real numbers that they stand for. Layers in a loop are left out.
    """
    file = read_file(content)
    interpreter = _open(content)
    ins, details = _inputs(interpreter, rows), {d["index"]: d for d in interpreter.get_tensor_details()}
    wanted = {layer.output.index: layer.output.name for layer in file.main}
    kept: dict[int, list[Array]] = {index: [] for index in wanted}
    for row in range(len(next(iter(rows.values())))):
        for one, values in zip(ins, rows.values(), strict=True):
            interpreter.set_tensor(one["index"], _as_stored(values[row][None], one))
        interpreter.invoke()
        for index, outputs in kept.items():
            outputs.append(_real(interpreter.get_tensor(index), details[index]))
    return {wanted[index]: np.concatenate(parts) for index, parts in kept.items() if parts and parts[0].ndim}


def _open(content: bytes) -> Any:
    """Make an interpreter that keeps every layer's output; LiteRT's plain kernels, for others fuse layers."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with quiet_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that keeping every tensor takes memory
        interpreter = Interpreter(
            model_content=content,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        interpreter.allocate_tensors()
    return interpreter


def _inputs(interpreter: Any, rows: Mapping[str, Array]) -> list[dict[str, Any]]:
    """Return what the file says of its inputs, in the order of `rows`."""
    if not interpreter.get_signature_list():
        return list(interpreter.get_input_details())
    named = interpreter.get_signature_runner().get_input_details()
    return [named[name] for name in rows] if len(rows) > 1 else list(named.values())


def _as_stored(values: Array, detail: dict[str, Any]) -> Array:
    """Return real numbers as the input takes them."""
    (scale, zero), dtype = detail["quantization"], np.dtype(detail["dtype"])
    if dtype.kind in "iu" and scale:
        limits = np.iinfo(dtype)
        steps: Array = np.clip(np.rint(values / scale) + zero, limits.min, limits.max)
        return steps.astype(dtype)
    return values.astype(dtype)


def _real(values: Array, detail: dict[str, Any]) -> NDArray[np.float32]:
    """Return what integers stand for."""
    scale, zero = detail["quantization"]
    if values.dtype.kind in "iu" and scale:
        return np.asarray(np.float32(scale) * (values.astype(np.int64) - zero), dtype=np.float32)
    return values.astype(np.float32)
