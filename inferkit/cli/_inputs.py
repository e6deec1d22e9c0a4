"""What a model is fed with: random input of the right shape and type, or what a file holds."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError, ModelFileError
from ..predictor import ArraySpec, TableSpec, TextSpec
from ._runtime import Input, Shape

Array = npt.NDArray[Any]
Arrays = list[Array]

BUDGET_BYTES = (
    1 << 20
)  # of different inputs that take turns: a stream of large ones would measure memory, not the model
_MOST = 32
_WORDS = ["the", "a", "of", "to", "and", "in", "is", "it", "was", "for", "on", "not", "very", "good", "bad", "well"]


@dataclass(frozen=True)
class Feed:
    """What the calls get, in turns.

    Parameters
    ----------
    calls : list of list of numpy.ndarray
        For each call an array for each input.
    shapes : tuple of tuple of int
        Of the arrays of one call.
    batch_size : int
        Rows in a call.
    words : str
        What the values are, for people.
    notes : tuple of str
        What a reader of the figures should know.
    """

    calls: list[Arrays]
    shapes: tuple[Shape, ...]
    batch_size: int
    words: str
    notes: tuple[str, ...] = ()


def load_arrays(path: str) -> Array | dict[str, Array]:
    """Return the array of an `.npy` file, or the arrays of an `.npz` file by name.

    Raises
    ------
    InputError
        If it holds pickled objects, which are code, or is neither.
    ModelFileError
        If it is cut short.
    OSError
        If it cannot be read.
    """
    try:
        with open(path, "rb") as f:
            found = np.load(f, allow_pickle=False)
            return found if isinstance(found, np.ndarray) else {name: found[name] for name in found.files}
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        if "pickle" in str(error).lower():
            raise InputError(f"{path}: expected an .npy or .npz file of numbers, without pickled objects") from error
        raise ModelFileError(f"{path} is cut short or damaged: {error}") from error


def only_array(path: str) -> Any:
    """Return the one array of an `.npy` or `.npz` file.

    Raises
    ------
    InputError
        If it holds several, or what is no array of numbers.
    """
    found = load_arrays(path)
    if not isinstance(found, dict):
        return found
    if len(found) != 1:
        raise InputError(f"{path}: expected one array of rows, got {list(found)}")
    return next(iter(found.values()))


# -- for a model file --------------------------------------------------------------------------------


def parse_shapes(texts: Sequence[str], inputs: Sequence[Input]) -> dict[str, Shape]:
    """Return the shapes given on the command line, by the name of their input.

    Examples
    --------
    >>> parse_shapes(["1,8,8"], [Input("x", (None, 8, 8), np.dtype("float32"))])
    {'x': (1, 8, 8)}
    """
    given = {}
    for text in texts:
        name, _, lengths = text.rpartition("=")
        name = name or (inputs[0].name if len(inputs) == 1 else "")
        known = {one.name: one for one in inputs}
        if name not in known:
            raise InputError(f"--shape {text}: expected NAME=N,N,... with a name of {', '.join(known)}")
        numbers = lengths.replace("x", ",").split(",")
        if not all(n.strip().isdecimal() and int(n) > 0 for n in numbers if lengths) or len(numbers) != len(
            known[name].shape
        ):
            wanted = ",".join("N" if n is None else str(n) for n in known[name].shape)
            raise InputError(f"--shape {text}: expected {len(known[name].shape)} lengths ≥ 1, such as {wanted}")
        given[name] = tuple(map(int, numbers))
    return given


def call_shapes(
    inputs: Sequence[Input], batch_size: int | None, given: Mapping[str, Shape]
) -> tuple[tuple[Shape, ...], int]:
    """Return the shape of each input in one call, and how many rows that are.

    The first axis of an input holds rows, unless it is the only axis and has a fixed length (a wave, say). A row axis
    that the model leaves open takes `batch_size`; any other open length is 1.

    Raises
    ------
    InputError
        If the model takes another number of rows than `batch_size`.
    """
    shapes = tuple(given.get(one.name) or _default_shape(one, batch_size or 1) for one in inputs)
    leading = {shape[0] for one, shape in zip(inputs, shapes, strict=True) if has_rows(one)}
    rows = leading.pop() if len(leading) == 1 else 1
    if batch_size not in (None, rows):
        raise InputError(
            f"--batch-size {batch_size}: this model takes {rows} at once, unless --shape gives it another one"
        )
    return shapes, rows


def _default_shape(one: Input, rows: int) -> Shape:
    first, rest = one.shape[:1], one.shape[1:]
    return (*(rows if n is None else n for n in first), *(1 if n is None else n for n in rest))


def has_rows(one: Input) -> bool:
    """Whether the first axis of an input holds rows."""
    return len(one.shape) > 1 or one.shape == (None,)


def random_feed(
    inputs: Sequence[Input], shapes: tuple[Shape, ...], rows: int, given: Mapping[str, Shape], rng: np.random.Generator
) -> Feed:
    """Return random input: as many different calls as fit a small budget of memory."""
    n_bytes = sum(int(np.prod(shape)) * one.dtype.itemsize for one, shape in zip(inputs, shapes, strict=True))
    n_calls = int(np.clip(BUDGET_BYTES // max(1, n_bytes), 1, _MOST))
    calls = [[random_array(one, shape, rng) for one, shape in zip(inputs, shapes, strict=True)] for _ in range(n_calls)]
    opened = [one.name for one in inputs if None in one.shape[has_rows(one) :] and one.name not in given]
    notes = (f"lengths that {', '.join(opened)} leaves open were taken as 1; --shape gives others",) if opened else ()
    words = "; ".join(dict.fromkeys(value_words(one) for one in inputs))
    return Feed(calls, shapes, rows, words, notes)


def random_array(one: Input, shape: Shape, rng: np.random.Generator) -> Array:
    """Return random values that an input can take.

    Raises
    ------
    InputError
        If it takes text or the like.
    """
    kind = one.dtype.kind
    if kind == "f":
        return rng.random(shape).astype(one.dtype)
    if kind in "iu":
        limits = np.iinfo(one.dtype)
        low, high = (limits.min, limits.max) if _whole_range(one) else (0, 1)
        return rng.integers(low, high, shape, dtype=one.dtype, endpoint=True)
    if kind == "b":
        return rng.random(shape) < 0.5
    raise InputError(f"{one.name} takes {one.dtype.name}, for which random values mean nothing; give --input FILE.npz")


def value_words(one: Input) -> str:
    """Say which random values an input gets.

    Examples
    --------
    >>> value_words(Input("x", (1, 4), np.dtype("uint8")))
    'random uint8 over its whole range'
    """
    if one.dtype.kind == "f":
        return f"random {one.dtype.name} from 0 to 1"
    return f"random {one.dtype.name} over its whole range" if _whole_range(one) else f"random {one.dtype.name}, 0 or 1"


def _whole_range(one: Input) -> bool:
    """Whether any integer will do; a wide one that stands for itself is an index, say of a word, and 0 and 1 exist."""
    return one.dtype.kind in "iu" and (one.is_quantized or one.dtype.itemsize == 1)


def file_feed(
    inputs: Sequence[Input], content: Array | dict[str, Array], batch_size: int | None, given: Mapping[str, Shape]
) -> Feed:
    """Cut what a file holds into calls.

    Raises
    ------
    InputError
        If an input's array is missing, or has another type or shape, or fewer rows than a call takes.
    """
    arrays = [_typed(one, array) for one, array in zip(inputs, _by_input(inputs, content), strict=True)]
    shapes, rows = call_shapes(inputs, batch_size, dict(_file_shapes(inputs, arrays, batch_size)) | dict(given))
    cut = [_cut(one, array, shape) for one, array, shape in zip(inputs, arrays, shapes, strict=True)]
    n_calls = min(map(len, cut))
    return Feed([[pieces[i] for pieces in cut] for i in range(n_calls)], shapes, rows, "given")


def _by_input(inputs: Sequence[Input], content: Array | dict[str, Array]) -> Arrays:
    """Return the arrays in the order of the inputs: by name, or by place where no name fits."""
    named = content if isinstance(content, dict) else {inputs[0].name: content}
    if set(named) == {one.name for one in inputs}:
        return [named[one.name] for one in inputs]
    if len(named) != len(inputs) or any(one.name in named for one in inputs):
        raise InputError(f"--input: expected arrays for {[one.name for one in inputs]}, got {list(named)}")
    return list(named.values())


def _typed(one: Input, array: Array) -> Array:
    if array.dtype == one.dtype:
        return array
    if one.is_quantized or array.dtype.kind not in "fiub" or not np.can_cast(array.dtype, one.dtype, "same_kind"):
        raise InputError(f"--input: {one.name} takes {one.dtype.name}, got {array.dtype.name}; convert it first")
    converted = array.astype(one.dtype)
    if one.dtype.kind in "iu" and not np.array_equal(converted, array):
        raise InputError(f"--input: {one.name} takes {one.dtype.name}, got values that do not fit into it")
    return converted


def _file_shapes(inputs: Sequence[Input], arrays: Arrays, batch_size: int | None) -> list[tuple[str, Shape]]:
    """Return the shape of a call for each input: open lengths are those of the file."""
    shapes = []
    for one, array in zip(inputs, arrays, strict=True):
        own = array.shape[len(array.shape) - len(one.shape) :]
        fits = len(own) == len(one.shape) and all(
            n in (None, m) for n, m in zip(one.shape[has_rows(one) :], own[has_rows(one) :], strict=True)
        )
        if not fits or 0 in array.shape or array.ndim > len(one.shape) + (not has_rows(one)):
            wanted = ", ".join("any" if n is None else str(n) for n in one.shape)
            raise InputError(f"--input: {one.name} takes ({wanted}), rows first, got {array.shape}")
        first = one.shape[:1] if has_rows(one) else own[:1]
        shapes.append((one.name, (*(batch_size or 1 if n is None else n for n in first), *own[1:])))
    return shapes


def _cut(one: Input, array: Array, shape: Shape) -> Arrays:
    """Return the pieces of an array that the calls get."""
    if not has_rows(one):
        return [np.ascontiguousarray(piece) for piece in array.reshape(-1, *shape)]
    rows = shape[0]
    pieces = [np.ascontiguousarray(array[i : i + rows]) for i in range(0, len(array) - rows + 1, rows)]
    if not pieces or pieces[0].shape != shape:
        raise InputError(f"--input: a call takes {one.name} of shape {shape}, the file holds {array.shape}")
    return pieces


# -- for a saved predictor ---------------------------------------------------------------------------


def random_rows(spec: Any, n: int, rng: np.random.Generator) -> Any:
    """Return rows that meet a predictor's contract: an array, a list of dicts or a list of texts.

    Examples
    --------
    >>> random_rows(ArraySpec((2,), low=3, high=3), 2, np.random.default_rng(0))
    array([[3., 3.],
           [3., 3.]], dtype=float32)
    """
    if isinstance(spec, TextSpec):
        return [" ".join(rng.choice(_WORDS, 12))[: spec.max_chars] for _ in range(n)]
    if isinstance(spec, TableSpec):
        return [{column.name: _cell(column, rng) for column in spec.columns} for _ in range(n)]
    shape = (n, *(1 if length is None else length for length in spec.shape))
    return _between(spec.low, spec.high, np.dtype(spec.dtype), shape, rng)


def _cell(column: Any, rng: np.random.Generator) -> Any:
    if column.categories is not None:
        return str(rng.choice(column.categories))
    return float(_between(column.low, column.high, np.dtype("float64"), (), rng))


def _between(
    low: float | None, high: float | None, dtype: np.dtype[Any], shape: Shape, rng: np.random.Generator
) -> Any:
    """Return values between two limits; where one is missing, over a range of 1; where both are, from 0 to 1."""
    if low is None and high is None and dtype.kind in "iub":
        return random_array(Input("the predictor", (), dtype), shape, rng)
    bottom = low if low is not None else high - 1 if high is not None else 0.0
    top = high if high is not None else bottom + 1
    if dtype.kind in "iu":
        return rng.integers(int(np.ceil(bottom)), int(top), shape, dtype=dtype, endpoint=True)
    values = (bottom + (top - bottom) * rng.random(shape)).astype(dtype)
    return np.clip(values, _within(bottom, np.inf, dtype), _within(top, -np.inf, dtype))


def _within(limit: float, inward: float, dtype: np.dtype[Any]) -> Any:
    """Return the number of a type that is nearest to a limit and not beyond it."""
    near = dtype.type(limit)
    beyond = float(near) < limit if inward > 0 else float(near) > limit
    return np.nextafter(near, dtype.type(inward)) if beyond else near


def describe_rows(spec: Any) -> str:
    """Say what kind of random rows a contract gets."""
    kinds = {ArraySpec: "arrays within their limits", TableSpec: "rows within their limits", TextSpec: "words"}
    return f"random {kinds[type(spec)]}"
