"""From what a caller gave to its rows: memory, a stream, or files; and rows out of ``.npy`` files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.lib.format as npy

from .._base import InputError
from ..predictor import Predictor
from ._columns import Columns
from ._convert import InputSpec
from ._rows import Array, Block
from ._source import Source, from_memory, from_stream, stamps

KINDS = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet", ".npy": "npy"}


def open_source(source: Any, columns: Columns, id_column: str | None, predictor: Predictor) -> Source:
    """Return the source behind what a caller gave.

    Parameters
    ----------
    source : array, dict of columns, data frame, list, iterator of these, or path
    columns, id_column
        As `predict_batch` takes them.
    predictor : Predictor

    Returns
    -------
    Source

    Raises
    ------
    InputError
        If it is of no known kind, holds no rows, or lacks a column; if its files are of several kinds or damaged.
    FileNotFoundError
        If there is no such file.
    """
    spec = predictor.signature.input
    if isinstance(source, str | Path):
        return _open_path(source, columns, id_column, spec)
    if isinstance(source, Iterator):
        return from_stream(source, columns, id_column, spec)
    return from_memory(source, columns, id_column, spec)


def _open_path(path: str | Path, columns: Columns, id_column: str | None, spec: InputSpec) -> Source:
    """Return the source behind a file, a folder or a glob."""
    files = find(path)
    kinds = {KINDS[file.suffix.lower()] for file in files}
    if len(kinds) > 1:
        raise InputError(f"{path}: expected files of one kind, got {sorted(kinds)}; give a glob such as '*.csv'")
    name = files[0].name if len(files) == 1 else f"{len(files)} files in {files[0].parent.name}"
    match kinds.pop():
        case "csv":
            from ._csv import open_csv

            return open_csv(name, files, columns, id_column, spec)
        case "parquet":
            from ._parquet import open_parquet

            return open_parquet(name, files, columns, id_column, spec)
    if len(files) > 1 or columns is not None or id_column is not None:
        raise InputError(f"{path}: expected one .npy file, without columns and id_column, got {len(files)} files")
    return _open_npy(files[0])


def find(path: str | Path) -> tuple[Path, ...]:
    """Return the files that a path names, in the order of their names; hidden ones are left out."""
    given = Path(path)
    if given.is_dir():
        files = [file for file in given.iterdir() if file.suffix.lower() in KINDS]
    elif given.exists():
        files = [given]
    elif any(c in str(path) for c in "*?["):
        fixed = Path(given.anchor) if given.is_absolute() else Path()
        files = list(fixed.glob(str(given.relative_to(given.anchor) if given.is_absolute() else given)))
    else:
        raise FileNotFoundError(f"source: there is no file, folder or glob {str(path)!r}")
    listed = tuple(sorted(f for f in files if f.is_file() and (f == given or f.name[0] not in "._")))
    if not listed:
        raise FileNotFoundError(f"source: {str(path)!r} holds no file that ends in {', '.join(KINDS)}")
    for file in listed:
        if file.suffix.lower() not in KINDS:
            raise InputError(f"source: expected files that end in {', '.join(KINDS)}, got {file.name}")
    return listed


def _open_npy(file: Path) -> Source:
    shape, fortran, dtype, offset = _npy_header(file)
    if not shape or not shape[0]:
        raise InputError(f"{file.name}: expected at least one row, got an array of shape {shape}")
    n, values = shape[0], int(np.prod(shape[1:], dtype=np.int64))
    if not fortran and file.stat().st_size < offset + n * values * dtype.itemsize:
        raise InputError(f"{file.name} is cut short: its {n:,} rows of {shape[1:]} do not fit into it; write it again")

    def read(rows: int, start: int, mark: Any) -> Iterator[Block]:
        if fortran:  # a row is scattered over the whole file
            mapped = np.load(file, mmap_mode="r")
            for i in range(start, n, rows):
                yield Block(np.ascontiguousarray(mapped[i : i + rows]), share=min(i + rows, n) / n)
            return
        with file.open("rb") as f:  # a memory map would count as this process's memory, all of it
            f.seek(offset + start * values * dtype.itemsize)
            for i in range(start, n, rows):
                some: Array = np.fromfile(f, dtype, min(rows, n - i) * values).reshape(-1, *shape[1:])
                if len(some) < min(rows, n - i):
                    raise InputError(f"{file.name} was cut short while it was read, at row {i + len(some):,}")
                yield Block(some, share=min(i + rows, n) / n)

    return Source(file.name, n, read, lambda: stamps((file,)), files=(file,))


def _npy_header(file: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Return shape, whether it is in Fortran's order, dtype, and where the values begin."""
    with file.open("rb") as f:
        try:
            version = npy.read_magic(f)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, fortran, dtype = read(f)
        except (ValueError, EOFError) as error:
            raise InputError(f"{file.name} is no whole .npy file: {error}") from error
        if dtype.hasobject:
            raise InputError(
                f"{file.name} holds Python objects, which only running code could read; save plain numbers"
            )
        return shape, fortran and len(shape) > 1, dtype, f.tell()
