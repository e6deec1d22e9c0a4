"""Where rows come from, and those in memory: arrays, tables, texts and streams. Files are in modules of their own."""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._base import InputError
from ..predictor import TextSpec
from ._columns import Columns, choose
from ._convert import InputSpec
from ._rows import Block, Values, count, cut


@dataclass(frozen=True)
class Source:
    """Rows that can be read from the start or from any part on.

    Parameters
    ----------
    name : str
        What errors and tables call it.
    n_rows : int or None
        None where only reading tells.
    read : callable
        ``read(rows, start, mark)`` yields blocks, of `rows` rows where it can choose, from row `start` on.
        `mark` is what the last block before `start` carried. A stream goes on from where it is.
    fingerprint : callable
        Returns plain values that change when the rows do.
    files : tuple of Path
    checked : bool
        Whether the rows that a second run gives have to be compared with those of the first.
    """

    name: str
    n_rows: int | None
    read: Callable[[int, int, Any], Iterator[Block]]
    fingerprint: Callable[[], dict[str, Any]]
    files: tuple[Path, ...] = ()
    checked: bool = False


def from_memory(rows: Any, columns: Columns, id_column: str | None, spec: InputSpec) -> Source:
    """Return the source of rows that are all there: an array, a dict of columns, a data frame or a list."""
    values, ids = as_values(rows, columns, id_column, spec)
    n = count(values)
    if n == 0:
        raise InputError("source: expected at least one row, got none")

    def read(rows: int, start: int, mark: Any) -> Iterator[Block]:
        for i in range(start, n, rows):
            some = None if ids is None else ids[i : i + rows]
            yield Block(cut(values, i, i + rows), some, share=min(i + rows, n) / n)

    return Source("the rows", n, read, lambda: {"kind": "rows", "rows": n, "sha256": _digest(values, ids)})


def from_stream(batches: Iterator[Any], columns: Columns, id_column: str | None, spec: InputSpec) -> Source:
    """Return the source of what an iterator gives; there is no way to begin in its middle."""

    def read(rows: int, start: int, mark: Any) -> Iterator[Block]:
        for batch in batches:
            yield Block(*as_values(batch, columns, id_column, spec))

    return Source("the stream", None, read, lambda: {"kind": "stream"}, checked=True)


def stamps(files: tuple[Path, ...]) -> dict[str, Any]:
    """Return what tells one state of some files from another: names, sizes, times."""
    states = [(file.name, file.stat()) for file in files]
    return {"kind": "files", "files": [[name, state.st_size, state.st_mtime_ns] for name, state in states]}


def as_values(rows: Any, columns: Columns, id_column: str | None, spec: InputSpec) -> tuple[Values, Any]:
    """Return rows in memory as an array, a dict of columns or a list of texts, and their ids."""
    if hasattr(rows, "columns") and hasattr(rows, "iloc"):
        rows = {str(name): rows[name].to_numpy() for name in _once(rows.columns)}
    if isinstance(rows, Mapping):
        return _of_columns(rows, columns, id_column, spec)
    if columns is not None or id_column is not None:
        raise InputError(
            "columns, id_column: an array and a list have no columns to choose from; "
            "give a data frame, a dict of columns or a file"
        )
    if isinstance(rows, np.ndarray) and rows.ndim:
        return rows.tolist() if isinstance(spec, TextSpec) else rows, None
    if isinstance(rows, list | tuple):
        return list(rows) if isinstance(spec, TextSpec) else _array(rows), None
    raise InputError(
        "source: expected an array, a data frame, a dict of columns, a list of texts, an iterator of these, or the "
        f"path of a .csv, .parquet or .npy file, a folder or a glob, got {type(rows).__name__}"
    )


def _once(names: Iterable[Any]) -> list[Any]:
    listed = list(names)
    if len(set(map(str, listed))) != len(listed):
        raise InputError(f"source: expected columns with a name of their own each, got {listed}")
    return listed


def _of_columns(
    rows: Mapping[Any, Any], columns: Columns, id_column: str | None, spec: InputSpec
) -> tuple[Values, Any]:
    taken = choose(list(rows), columns, id_column, spec)
    by_name = {str(name): column for name, column in rows.items()}
    picked = {new: _column(by_name[old]) for old, new in taken.items()}
    ids = None if id_column is None else _column(by_name[id_column])
    lengths = {len(column) for column in picked.values()} | ({len(ids)} if ids is not None else set())
    if len(lengths) != 1:
        raise InputError(f"source: expected columns of one length, got lengths {sorted(lengths)}")
    return picked, ids


def _column(values: Any) -> Any:
    """Return a column that can be cut: an array as it is, anything else as a list."""
    if isinstance(values, np.ndarray):
        return values
    return values.to_numpy() if hasattr(values, "to_numpy") else list(values)


def _array(rows: Any) -> Any:
    try:
        return np.asarray(rows)
    except ValueError as error:
        raise InputError("source: expected rows of one length, got a list of unequal ones; give an array") from error


def checksums(values: Values, running: dict[str, int]) -> list[int]:
    """Return a CRC-32 of each column; `running` holds those of the rows before, and goes on.

    How the rows are cut makes no difference.
    """
    columns = values if isinstance(values, dict) else {"": values}
    for name, column in columns.items():
        running[name] = zlib.crc32(_bytes_of(column), running.get(name, 0))
    return list(running.values())


def _bytes_of(column: Any) -> Any:
    if isinstance(column, np.ndarray) and column.dtype.kind != "O":
        return np.ascontiguousarray(column).view(np.uint8).reshape(-1)
    return "".join(f"{value!r}\x1f" for value in column).encode("utf-8", "backslashreplace")


def _digest(values: Any, ids: Any) -> str:
    """Return a SHA-256 of all rows: for a checkpoint that outlives the program that held them."""
    found = hashlib.sha256()
    parts = [*(values.items() if isinstance(values, dict) else [("", values)]), *([] if ids is None else [("id", ids)])]
    for name, column in parts:
        found.update(f"{name}\0{getattr(column, 'dtype', '')}{np.shape(column[:1])}{len(column)}".encode())
        for i in range(0, len(column), 65_536):  # a memory-mapped array is read piece by piece
            found.update(_bytes_of(column[i : i + 65_536]))
    return found.hexdigest()
