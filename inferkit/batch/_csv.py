"""Rows out of CSV files, as text: the contract says what is a number. Byte by byte it is known how far one has read."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from .._base import InputError
from ._columns import Columns, choose
from ._convert import InputSpec
from ._rows import Block
from ._source import Source, stamps

LONGEST_LINE = 1 << 20
"""Bytes. A file that is no CSV may have no line ends at all, and must not be read whole."""
Row = list[str]


def open_csv(name: str, files: tuple[Path, ...], columns: Columns, id_column: str | None, spec: InputSpec) -> Source:
    """Return the source behind some CSV files; their headers are checked.

    Parameters
    ----------
    name : str
    files : tuple of Path
        UTF-8, with or without a mark at the beginning; fields are parted by commas.
    columns, id_column
        As `predict_batch` takes them.
    spec : ArraySpec, TableSpec or TextSpec

    Returns
    -------
    Source

    Raises
    ------
    InputError
        If a file is empty or is no CSV, or a column is missing.
    """
    headers = [_header(file) for file in files]
    for file, header in zip(files, headers, strict=True):
        if sorted(header) != sorted(headers[0]):
            odd = sorted(set(header) ^ set(headers[0])) or header
            raise InputError(f"{file.name} has other columns than {files[0].name}: {odd}; score it by itself")
    taken = choose(headers[0], columns, id_column, spec)
    sizes = [file.stat().st_size for file in files]
    total, before = max(1, sum(sizes)), [sum(sizes[:i]) for i in range(len(files))]

    def read(rows: int, start: int, mark: Any) -> Iterator[Block]:
        number, offset = mark or (0, 0)
        held: list[tuple[int, list[Row], dict[int, str]]] = []
        kept = 0
        for at in range(number, len(files)):
            width = len(headers[at])
            for records, bad, end in _records(files[at], width, rows, rows - kept, offset if at == number else 0):
                held.append((at, records, bad))
                kept += len(records)
                if kept == rows:
                    yield _block(held, headers, taken, id_column, (at, end), (before[at] + end) / total)
                    held, kept = [], 0
        if kept:
            yield _block(held, headers, taken, id_column, (len(files), 0), 1.0)

    return Source(name, None, read, lambda: stamps(files), files=files)


def _header(file: Path) -> Row:
    with file.open("rb") as f:
        try:
            place = _Place()
            header = next(csv.reader(_lines(f, place, file.name), strict=True), None)
            if place.odd:
                raise csv.Error("it holds bytes that are no UTF-8")
        except csv.Error as error:
            raise InputError(
                f"{file.name}: its first line is no CSV header in UTF-8: {error}; save it as 'CSV UTF-8'"
            ) from error
    if not header:
        raise InputError(f"{file.name} is empty: expected a first line with the names of the columns")
    return header


@dataclass
class _Place:
    """How far a file is read: bytes, and lines that were no UTF-8."""

    offset: int = 0
    odd: int = 0


def _lines(f: BinaryIO, place: _Place, name: str) -> Iterator[str]:
    """Yield lines as text, and count. A line that is no UTF-8 is passed on: where its record ends must be known."""
    for line in iter(partial(f.readline, LONGEST_LINE), b""):
        start = place.offset
        place.offset += len(line)
        if len(line) == LONGEST_LINE:
            raise InputError(f"{name}: the line at byte {start:,} is longer than {LONGEST_LINE:,} bytes; is it a CSV?")
        try:
            text = line.decode()
        except UnicodeDecodeError:
            place.odd += 1
            text = line.decode(errors="replace")
        yield text.removeprefix("\ufeff") if start == 0 else text


def _records(
    file: Path, width: int, rows: int, first: int, offset: int
) -> Iterator[tuple[list[Row], dict[int, str], int]]:
    """Yield so many records at a time (`first` the first time), the bad ones among them, and where the last ends."""
    place, wanted = _Place(offset), first
    with file.open("rb") as f:
        if offset == 0:
            next(csv.reader(_lines(f, place, file.name)))
        while True:
            start = place.offset
            f.seek(start)
            bad: dict[int, str] = {}
            records = _at_once(f, place, width, wanted)
            if records is None:
                f.seek(start)
                records = _one_by_one(f, place, width, wanted, bad, file.name)
            if not records:
                return
            yield records, bad, place.offset
            wanted = rows


def _at_once(f: BinaryIO, place: _Place, width: int, wanted: int) -> list[Row] | None:
    """Return the next records if each is one line and nothing is wrong with any: some five times as fast."""
    pieces: list[bytes] = []
    lines = iter(partial(f.readline, LONGEST_LINE), b"")
    while len(pieces) < wanted:
        some = list(islice(lines, min(64, wanted - len(pieces))))
        if max(map(len, some), default=0) == LONGEST_LINE:
            return None
        pieces += some
        if len(some) < 64:
            break
    whole = b"".join(pieces)
    try:
        texts = whole.decode().split("\n")  # not at the other signs that str.splitlines knows
        records = list(csv.reader(texts[: len(pieces)], strict=True))
    except (UnicodeDecodeError, csv.Error):
        return None
    if len(records) != len(pieces) or set(map(len, records)) - {width}:
        return None
    place.offset += len(whole)
    return records


def _one_by_one(f: BinaryIO, place: _Place, width: int, wanted: int, bad: dict[int, str], name: str) -> list[Row]:
    """Return the next records; find those that are bad."""
    reader = csv.reader(_lines(f, place, name), strict=True)
    records: list[Row] = []
    odd = place.odd
    while len(records) < wanted and (record := _next(reader, name)) is not None:
        if not record:
            continue  # an empty line
        if len(record) != width or isinstance(record, _Bad) or place.odd != odd:
            bad[len(records)] = _fault(record, width, place.odd != odd)
            record, odd = [""] * width, place.odd
        records.append(record)
    return records


class _Bad(list[str]):
    """A record that cannot be read: it holds why."""


def _fault(record: Row, width: int, odd: bool) -> str:
    if odd:
        return "the line cannot be read: it is not UTF-8"
    return record[0] if isinstance(record, _Bad) else f"expected {width} cells, got {len(record)}"


def _next(reader: Any, name: str) -> Row | None:
    line = reader.line_num
    try:
        record: Row | None = next(reader, None)
    except csv.Error as error:
        if reader.line_num - line > 1 or "limit" in str(error) or "unexpected end" in str(error):
            raise InputError(
                f"{name}: a record cannot be read, and so it is not known where the next one begins: {error}. "
                "A quotation mark that is never closed is the usual reason"
            ) from error
        return _Bad([f"the line cannot be read: {error}"])
    return record


def _block(
    held: list[tuple[int, list[Row], dict[int, str]]], headers: list[Row], taken: dict[str, str],
    id_column: str | None, mark: tuple[int, int], share: float,
) -> Block:  # fmt: skip
    """Make a block of records from one file or several; their columns may stand in another order."""
    values: dict[str, list[str]] = {new: [] for new in taken.values()}
    ids: list[str] = []
    bad: dict[int, str] = {}
    n = 0
    for at, records, unread in held:
        columns = list(zip(*records, strict=True))
        for old, new in taken.items():
            values[new] += columns[headers[at].index(old)]
        if id_column is not None:
            ids += columns[headers[at].index(id_column)]
        bad |= {n + position: reason for position, reason in unread.items()}
        n += len(records)
    return Block(values, None if id_column is None else ids, bad, list(mark), share)
