"""Tensors of the Open Inference Protocol: NumPy arrays to JSON and to bytes, and back, with nothing lost unsaid."""

from collections.abc import Callable
from itertools import chain
from math import isfinite, prod
from struct import Struct
from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError

Array = npt.NDArray[Any]

DATATYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    **{f"UINT{bits}": np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
    "BYTES": np.dtype(object),
}
"""NumPy's type for each datatype of the protocol; an element of BYTES is a Python ``bytes``."""

_NAMES = {dtype: name for name, dtype in DATATYPES.items()}
_LENGTH = Struct("<I")
_LARGEST = 1 << 40  # elements: far more than any body holds, far less than NumPy can count
_MOST_AXES = 32


class ProtocolError(InputError):
    """A message or a tensor that is not what the Open Inference Protocol says."""


def datatype_of(dtype: npt.DTypeLike) -> str:
    """Return the protocol's name for a NumPy type.

    Parameters
    ----------
    dtype : numpy.dtype or its name
        Strings, bytes and objects are BYTES.

    Returns
    -------
    str

    Raises
    ------
    ProtocolError
        If the protocol has no such type: times, complex numbers, records.

    Examples
    --------
    >>> datatype_of("float32"), datatype_of(np.array(["yes"]).dtype)
    ('FP32', 'BYTES')
    """
    dtype = np.dtype(dtype)
    if dtype.kind in "US":
        return "BYTES"
    name = _NAMES.get(dtype.newbyteorder("="))
    if name is None:
        raise ProtocolError(f"expected one of {', '.join(map(str, _NAMES))} or text, got {dtype}; convert it first")
    return name


def dtype_of(datatype: object, where: str = "datatype") -> np.dtype[Any]:
    """Return NumPy's type for a datatype of the protocol, or raise `ProtocolError` that starts with `where`."""
    dtype = DATATYPES.get(datatype) if isinstance(datatype, str) else None
    if dtype is None:
        hint = "; send BF16 as FP32, which holds each of its values" if datatype == "BF16" else ""
        raise ProtocolError(f"{where}: expected one of {', '.join(DATATYPES)}, got {_brief(datatype)}{hint}")
    return dtype


def checked_shape(shape: object, where: str) -> tuple[int, ...]:
    """Return a shape that arrays can have, or raise `ProtocolError` that starts with `where`."""
    if type(shape) is not list or not all(type(n) is int and n >= 0 for n in shape):
        raise ProtocolError(f"{where}: expected shape to be a list of whole numbers ≥ 0, got {_brief(shape)}")
    if len(shape) > _MOST_AXES or prod(max(n, 1) for n in shape) > _LARGEST:
        raise ProtocolError(f"{where}: expected at most {_MOST_AXES} axes and {_LARGEST} elements, got {_brief(shape)}")
    return tuple(shape)


# -- JSON --------------------------------------------------------------------------------------------


def from_json(data: object, datatype: str, shape: tuple[int, ...], where: str) -> Array:
    """Return the array that a tensor's ``data`` holds.

    Parameters
    ----------
    data : list
        As `json` reads it: flat in row-major order, or nested as `shape` says.
    datatype : str
    shape : tuple of int
    where : str
        How messages begin, such as ``"input 'x'"``.

    Returns
    -------
    numpy.ndarray
        Of that type and shape, writable.

    Raises
    ------
    ProtocolError
        If there are more or fewer elements; if one is of another kind (true and false are no numbers, 1.0 is no
        integer); if one does not fit into the type.

    Examples
    --------
    >>> from_json([[1, 2], [3, 4]], "FP32", (2, 2), "input 'x'")
    array([[1., 2.],
           [3., 4.]], dtype=float32)
    """
    dtype = dtype_of(datatype, where)
    if type(data) is not list:
        raise ProtocolError(f"{where}: expected data to be a list, got {_brief(data)}")
    values = _flat(data, shape, where)
    kinds, words = _ELEMENTS[dtype.kind]
    if not kinds.issuperset(map(type, values)):
        i, value = next((i, v) for i, v in enumerate(values) if type(v) not in kinds)
        raise ProtocolError(f"{where}: expected {words} for {datatype}, got {_brief(value)} as element {i}")
    return _READERS[dtype.kind](values, dtype, where).reshape(shape)


def _flat(data: list[Any], shape: tuple[int, ...], where: str) -> list[Any]:
    """Return the elements in one list; one axis is opened at a time, so depth is bounded by the shape."""
    if not data or type(data[0]) is not list:
        if len(data) != prod(shape):
            raise ProtocolError(f"{where}: expected {prod(shape)} elements for shape {list(shape)}, got {len(data)}")
        return data
    parts = [data]
    for n in shape:
        if any(type(part) is not list or len(part) != n for part in parts):
            raise ProtocolError(
                f"{where}: expected data as one flat list or nested as shape {list(shape)}, got neither"
            )
        parts = list(chain.from_iterable(parts))
    return parts


def _read_numbers(values: list[Any], dtype: np.dtype[Any], where: str) -> Array:
    try:
        with np.errstate(over="ignore"):
            array = np.array(values, dtype)
        if dtype.kind != "f" or np.isfinite(array).all():
            return array
    except OverflowError:
        pass
    raise ProtocolError(_misfit(values, dtype, where))


def _misfit(values: list[Any], dtype: np.dtype[Any], where: str) -> str:
    """Return in words which number does not fit into the type."""
    info: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    low, high = (float(info.min), float(info.max)) if dtype.kind == "f" else (int(info.min), int(info.max))
    i = next(i for i, v in enumerate(values) if not _fits(v, dtype))
    limits = f"values from {low} to {high} for {datatype_of(dtype)}"
    return f"{where}: expected {limits}, got {_brief(values[i])} as element {i}"


def _fits(value: Any, dtype: np.dtype[Any]) -> bool:
    try:
        with np.errstate(over="ignore"):
            return isfinite(np.array(value, dtype))
    except OverflowError:
        return False


def _read_words(values: list[str], dtype: np.dtype[Any], where: str) -> Array:
    array = np.empty(len(values), dtype)
    try:
        array[:] = [value.encode() for value in values]
    except UnicodeEncodeError as error:
        raise ProtocolError(f"{where}: expected text, got half of a surrogate pair: {_brief(error.object)}") from error
    return array


_ELEMENTS: dict[str, tuple[frozenset[type], str]] = {
    "b": (frozenset({bool}), "true or false"),
    "u": (frozenset({int}), "integers"),
    "i": (frozenset({int}), "integers"),
    "f": (frozenset({int, float}), "numbers"),
    "O": (frozenset({str}), "texts"),
}
_READERS: dict[str, Callable[[list[Any], np.dtype[Any], str], Array]] = {
    **dict.fromkeys("buif", _read_numbers),
    "O": _read_words,
}


def to_json(array: Array, where: str) -> list[Any]:
    """Return an array as the flat list that JSON holds.

    Raises
    ------
    ProtocolError
        If it holds what JSON cannot: NaN, an infinity, bytes that are no UTF-8.
    """
    if array.dtype.kind in "USO":
        try:
            return [_as_bytes(value, where).decode() for value in array.ravel().tolist()]
        except UnicodeDecodeError as error:
            raise ProtocolError(
                f"{where}: expected UTF-8, got {_brief(error.object)}; send it as binary data"
            ) from error
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = array[~np.isfinite(array)][0]
        raise ProtocolError(f"{where}: expected finite numbers, got {bad}: JSON has no such number")
    flat: list[Any] = array.ravel().tolist()
    return flat


# -- bytes -------------------------------------------------------------------------------------------


def from_bytes(content: memoryview, datatype: str, shape: tuple[int, ...], where: str) -> Array:
    """Return the array whose bytes these are: little endian, row-major; each text after its length in four bytes.

    Raises
    ------
    ProtocolError
        If there are more or fewer bytes than the shape needs, or a boolean is neither 0 nor 1.

    Examples
    --------
    >>> from_bytes(memoryview(bytes([1, 0, 2, 0])), "INT16", (2,), "input 'x'")
    array([1, 2], dtype=int16)
    """
    dtype = dtype_of(datatype, where)
    if dtype.kind == "O":
        return _texts(content, prod(shape), where).reshape(shape)
    needed = prod(shape) * dtype.itemsize
    if len(content) != needed:
        raise ProtocolError(f"{where}: expected {needed} bytes for {datatype} {list(shape)}, got {len(content)}")
    if dtype.kind == "b" and (largest := np.frombuffer(content, np.uint8).max(initial=0)) > 1:
        raise ProtocolError(f"{where}: expected bytes 0 or 1 for BOOL, got {largest}")
    # A copy: aligned, writable, and the body it came in can go.
    return np.frombuffer(content, dtype.newbyteorder("<")).astype(dtype).reshape(shape)


def _texts(content: memoryview, n: int, where: str) -> Array:
    if 4 * n > len(content):  # before so many places are made
        raise _uneven(content, n, where)
    array, end = np.empty(n, object), 0
    for i in range(n):
        start = end + 4
        if start > len(content):
            raise _uneven(content, n, where)
        end = start + _LENGTH.unpack_from(content, end)[0]
        array[i] = bytes(content[start:end])
    if end != len(content):
        raise _uneven(content, n, where)
    return array


def _uneven(content: memoryview, n: int, where: str) -> ProtocolError:
    return ProtocolError(
        f"{where}: expected {n} texts, each after its length in 4 bytes, got {len(content)} bytes of something else"
    )


def to_bytes(array: Array, where: str) -> bytes:
    """Return an array's bytes, as `from_bytes` reads them."""
    if array.dtype.kind in "USO":
        texts = [_as_bytes(value, where) for value in array.ravel().tolist()]
        return b"".join(chain.from_iterable((_LENGTH.pack(len(text)), text) for text in texts))
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _as_bytes(value: Any, where: str) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise ProtocolError(f"{where}: expected text, got half of a surrogate pair: {_brief(value)}") from error
    if isinstance(value, bytes):
        return value
    raise ProtocolError(f"{where}: expected texts or bytes, got {_brief(value)}")


def as_texts(array: Array, where: str) -> list[str]:
    """Return the elements of a BYTES tensor as text, or raise `ProtocolError`."""
    try:
        return [value.decode() for value in array.ravel().tolist()]
    except UnicodeDecodeError as error:
        raise ProtocolError(f"{where}: expected text in UTF-8, got {_brief(error.object)}") from error


def _brief(value: object) -> str:
    """Return what came, short: it may be a million numbers, or a number of a million digits."""
    try:
        text = repr(value)
    except ValueError:  # an integer too long to be written
        return "a number of thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."
