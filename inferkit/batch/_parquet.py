"""Rows out of Parquet files, a few at a time, and into them (extra ``parquet``)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .._base import InputError, require
from ._columns import Columns, choose
from ._convert import InputSpec
from ._rows import Block
from ._source import Source, stamps


def open_parquet(
    name: str, files: tuple[Path, ...], columns: Columns, id_column: str | None, spec: InputSpec
) -> Source:
    """Return the source behind some Parquet files; the end of each, where its schema is, is read and checked.

    Parameters
    ----------
    name : str
    files : tuple of Path
    columns, id_column
        As `predict_batch` takes them.
    spec : ArraySpec, TableSpec or TextSpec

    Returns
    -------
    Source

    Raises
    ------
    InputError
        If a file is damaged, holds no rows, lacks a column, or has it in another type than the first file.
    MissingExtraError
        If pyarrow is not installed.
    """
    first: Any = None
    taken: dict[str, str] = {}
    counts = []
    for file in files:
        with _opened(file) as f:
            schema = f.schema_arrow
            if first is None:
                first, taken = schema, choose(schema.names, columns, id_column, spec)
            wanted = [*taken, *([] if id_column is None else [id_column])]
            _compare(file, schema, files[0], first, wanted)
            counts.append([f.metadata.row_group(i).num_rows for i in range(f.metadata.num_row_groups)])
    n = sum(map(sum, counts))
    if n == 0:
        raise InputError(f"{name}: expected at least one row, got none")

    def read(rows: int, start: int, mark: Any) -> Iterator[Block]:
        before = 0
        for file, groups in zip(files, counts, strict=True):
            yield from _of_file(file, groups, rows, before, start, taken, id_column, n)
            before += sum(groups)

    return Source(name, n, read, lambda: stamps(files), files=files)


def _compare(file: Path, schema: Any, first_file: Path, first: Any, wanted: list[str]) -> None:
    for column in wanted:
        there = schema.field(column).type if column in schema.names else "missing"
        if there != first.field(column).type:
            raise InputError(
                f"{file.name}: column {column!r} is {there}, but {first.field(column).type} in {first_file.name}; "
                "score it by itself, or write it again with the same types"
            )


@contextmanager
def _opened(file: Path, row: str = "") -> Iterator[Any]:
    """Open a file, and say which one it was if it cannot be read."""
    pq, pa = require("pyarrow.parquet", extra="parquet"), require("pyarrow", extra="parquet")
    try:
        # Without these the columns of a whole row group would lie in memory.
        with pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20, page_checksum_verification=True) as f:
            yield f
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise InputError(
            f"{file.name} is damaged, cut short or no Parquet file{row}: {str(error).splitlines()[0]}. Write it again"
        ) from error


def _of_file(
    file: Path,
    groups: list[int],
    rows: int,
    before: int,
    start: int,
    taken: dict[str, str],
    id_column: str | None,
    n: int,
) -> Iterator[Block]:
    """Yield the rows of one file from row `start` of the whole source on; whole row groups before it are not read."""
    skipped, first = before, 0
    while first < len(groups) and skipped + groups[first] <= start:
        skipped += groups[first]
        first += 1
    if first == len(groups):
        return
    wanted = [*taken, *([id_column] if id_column is not None and id_column not in taken else [])]
    at = [skipped]
    with _opened(file) as f:
        batches = f.iter_batches(rows, row_groups=list(range(first, len(groups))), columns=wanted)
        for batch in batches:
            drop = max(0, min(start - at[0], len(batch)))
            at[0] += len(batch)
            if drop < len(batch):
                yield _block(batch.slice(drop), taken, id_column, at[0] / n)


def _block(batch: Any, taken: dict[str, str], id_column: str | None, share: float) -> Block:
    values = {new: _values(batch.column(old)) for old, new in taken.items()}
    return Block(values, None if id_column is None else _ids(batch.column(id_column)), share=share)


def _values(column: Any) -> Any:
    types = require("pyarrow", extra="parquet").types
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if types.is_decimal(column.type):
        column = column.cast("float64")
    return column.to_numpy(zero_copy_only=False)


def _ids(column: Any) -> Any:
    """Return ids as they are: whole numbers with a gap must not become real ones."""
    types = require("pyarrow", extra="parquet").types
    plain = types.is_integer(column.type) and not column.null_count
    return column.to_numpy() if plain else column.to_pylist()
