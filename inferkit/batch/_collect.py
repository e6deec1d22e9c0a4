"""Answers gathered in order: in arrays that keep every row's place, or as the columns of a table."""

from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError
from ._answer import Answered
from ._rows import Array, count

Labels = dict[str, tuple[Any, ...] | None]


def fill_value(dtype: np.dtype[Any]) -> Any:
    """Return what stands in an array where a row has no answer.

    NaN where there is one, an empty text, None, False; of whole numbers the smallest that the type
    holds, or the largest where that is 0.

    Examples
    --------
    >>> fill_value(np.dtype("float32")), fill_value(np.dtype("int8")), fill_value(np.dtype("uint8"))
    (nan, -128, 255)
    """
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return limits.min or limits.max
    return {"f": np.nan, "c": np.nan, "U": "", "S": b"", "b": False}.get(dtype.kind)


class Store:
    """Arrays with a place for each row, filled from the front.

    Parameters
    ----------
    n_rows : int or None
        How many there will be; where that is unknown the arrays grow.
    given : numpy.ndarray, optional
        The array to fill, for the only output.
    """

    def __init__(self, n_rows: int | None, given: Array | None = None) -> None:
        self._n_rows, self._given = n_rows if given is None else len(given), given
        self.n = 0
        self._ok: list[npt.NDArray[np.bool_]] = []
        self._arrays: dict[str, Array] = {}

    @property
    def ok(self) -> npt.NDArray[np.bool_]:
        """Which rows have an answer."""
        return np.concatenate([np.zeros(0, dtype=bool), *self._ok])

    @property
    def arrays(self) -> dict[str, Array]:
        """The answers, one array for each output; empty as long as no row has one."""
        return {name: array[: self.n] for name, array in self._arrays.items()}

    def add(self, answered: Answered) -> None:
        """Put the answers of the next rows in their places."""
        fine = np.ones(answered.n_rows, dtype=bool)
        fine[[row for row, _ in answered.rejected]] = False
        self.put(answered.outputs, fine)

    def put(self, outputs: dict[str, Array], fine: npt.NDArray[np.bool_]) -> None:
        """Put the answers of some of the next rows in their places."""
        stop = self.n + len(fine)
        if self._given is not None and stop > len(self._given):
            raise InputError(f"sink: expected an array with a place for each row, got {len(self._given):,} for more")
        for name, output in outputs.items():
            array = self._room(name, output, stop)
            if fine.all():
                array[self.n : stop] = output
            else:
                array[self.n : stop] = fill_value(array.dtype)
                array[self.n : stop][fine] = output
        if not outputs:
            for name, array in self._arrays.items():
                self._grown(name, array.dtype, stop)[self.n : stop] = fill_value(array.dtype)
        self._ok.append(fine)
        self.n = stop

    def _room(self, name: str, output: Array, stop: int) -> Array:
        """Return the array for an output, with room up to `stop` and of a type that holds its values."""
        array = self._arrays.get(name)
        if array is None:
            self._arrays[name] = array = self._first(output)
        if output.shape[1:] != array.shape[1:]:
            raise InputError(f"{name}: expected answers of shape {array.shape[1:]}, as before, got {output.shape[1:]}")
        safe = self._given is not None or np.can_cast(output.dtype, array.dtype, "safe")
        return self._grown(name, array.dtype if safe else np.promote_types(output.dtype, array.dtype), stop)

    def _grown(self, name: str, dtype: np.dtype[Any], stop: int) -> Array:
        array = self._arrays[name]
        if dtype != array.dtype or stop > len(array):
            more = np.empty((max(stop, len(array) if stop <= len(array) else 2 * len(array)), *array.shape[1:]), dtype)
            more[: self.n] = array[: self.n]
            self._arrays[name] = array = more
        return array

    def _first(self, output: Array) -> Array:
        """Return an array for the first answers, filled up to here."""
        if self._given is None:
            shape = (self._n_rows or max(2 * len(output), self.n), *output.shape[1:])
            array = np.empty(shape, output.dtype)
        else:
            array = self._given
            if output.shape[1:] != array.shape[1:] or not np.can_cast(output.dtype, array.dtype, "same_kind"):
                raise InputError(
                    f"sink: expected an array of shape {(len(array), *output.shape[1:])} that can hold {output.dtype}, "
                    f"got {array.shape} of {array.dtype}"
                )
        array[: self.n] = fill_value(array.dtype)
        return array


def table_columns(outputs: dict[str, Array], labels: Labels) -> dict[str, Array]:
    """Return outputs as the columns of a table, each of one dimension.

    Parameters
    ----------
    outputs : dict of str to numpy.ndarray, shape (n, ...)
    labels : dict of str to tuple or None
        What the columns of probabilities stand for, by output.

    Returns
    -------
    dict of str to numpy.ndarray, shape (n,)

    Examples
    --------
    >>> p = np.array([[0.25, 0.75]])
    >>> table_columns({"probability": p}, {"probability": ("no", "yes")})
    {'p_no': array([0.25]), 'p_yes': array([0.75])}
    """
    columns: dict[str, Array] = {}
    for name, output in outputs.items():
        if output.ndim == 1:
            columns[name] = output
            continue
        flat = output.reshape(len(output), -1)
        known = labels.get(name)
        prefix = "p" if len(outputs) == 1 or name == "probability" else f"{name}_p"
        names = [f"{prefix}_{label}" for label in known] if known else _numbered(name, output.shape[1:])
        columns |= {column: flat[:, i] for i, column in enumerate(names)}
    return columns


def _numbered(name: str, shape: tuple[int, ...]) -> list[str]:
    return [f"{name}_" + "_".join(map(str, index)) for index in np.ndindex(*shape)]


class Part:
    """The rows that are finished, and not yet kept.

    Attributes
    ----------
    n : int
        Rows.
    ids : list
        Of all of them.
    rejected : list of (int, str)
        Position in the part, and reason.
    """

    def __init__(self) -> None:
        self.n = 0
        self.ids: list[Any] = []
        self.rejected: list[tuple[int, str]] = []
        self.answers: list[Answered] = []

    def add(self, answered: Answered, ids: Any) -> None:
        """Take the next rows in."""
        self.rejected += [(self.n + row, reason) for row, reason in answered.rejected]
        self.n += answered.n_rows
        self.answers.append(answered)
        if ids is not None:
            self.ids += ids.tolist() if isinstance(ids, np.ndarray) else ids

    @property
    def n_answered(self) -> int:
        """Rows that have an answer."""
        return self.n - len(self.rejected)

    def fine(self) -> npt.NDArray[np.bool_]:
        """Which rows have an answer."""
        fine = np.ones(self.n, dtype=bool)
        fine[[row for row, _ in self.rejected]] = False
        return fine

    def outputs(self) -> dict[str, Array]:
        """Return the answers of the rows that have one."""
        some = [answered.outputs for answered in self.answers if answered.outputs]
        return {name: np.concatenate([one[name] for one in some]) for name in some[0]} if some else {}


_HASHES = np.random.default_rng(2**61 - 1).integers(0, 2**64, 512, dtype=np.uint64) | np.uint64(1)


def hashed(ids: Any) -> npt.NDArray[np.uint64]:
    """Return 64 bits for each id, the same in every process: equal ids have equal ones, others as good as never.

    Each character is multiplied by a random odd number of its place, and the products are added up (multilinear
    hashing, Carter and Wegman 1979). Only the first 512 characters count.

    Examples
    --------
    >>> a, b, c = hashed(["A-1", "A-2", "A-1"])
    >>> bool(a == c), bool(a == b)
    (True, False)
    """
    texts = np.array([str(name)[: len(_HASHES)] for name in ids])
    if not count(texts):
        return np.zeros(0, dtype=np.uint64)
    letters = texts.view(np.uint32).reshape(len(texts), -1).astype(np.uint64)
    total: npt.NDArray[np.uint64] = (letters * _HASHES[: letters.shape[1]]).sum(axis=1, dtype=np.uint64)
    return total ^ (total >> np.uint64(31))
