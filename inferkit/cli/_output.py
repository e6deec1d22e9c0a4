"""Where results go: a table for people, JSON for programs, notes beside them."""

import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

from .._base import whole_file


@contextmanager
def results_only(destination: str | None) -> Iterator[None]:
    """Keep standard output for the JSON alone where it goes there: whatever else prints goes to standard error."""
    if destination == "-":
        with redirect_stdout(sys.stderr):
            yield
    else:
        yield


def deliver(destination: str | None, plain: dict[str, Any], table: str) -> None:
    """Give a result: as one JSON object on standard output, or as a table (and JSON in a file).

    Parameters
    ----------
    destination : str or None
        ``"-"``, the path of a file, or None.
    plain : dict
        What JSON shall hold.
    table : str
        What people shall read.
    """
    if destination == "-":
        print(as_json(plain))
        return
    print(table)  # first: a file that can't be written must not cost the result
    if destination is not None:
        with whole_file(destination) as path:
            path.write_text(as_json(plain, indent=1) + "\n", encoding="ascii")


def as_json(value: Any, indent: int | None = None) -> str:
    r"""Write JSON that any reader takes: no NaN, no infinity, and no character beyond ASCII.

    Examples
    --------
    >>> as_json({"p99_ms": float("nan"), "unit": "µs"})
    '{"p99_ms": null, "unit": "\\u00b5s"}'
    """
    return json.dumps(plain_values(value), allow_nan=False, indent=indent)


def plain_values(value: Any) -> Any:
    """Return arrays, NumPy numbers, tuples and numbers that are none as what JSON has for them."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): plain_values(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(entry) for entry in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return None if isinstance(value, float) and not math.isfinite(value) else value


def columns(rows: Iterable[Sequence[str]], indent: str = "") -> str:
    """Lay rows of text out in columns; the last column runs free.

    Examples
    --------
    >>> print(columns([("a", "b", "c"), ("long", "x", "y")]))
    a     b  c
    long  x  y
    """
    table = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table)
    return "\n".join(indent + line.rstrip() for line in padded)


def note(text: str) -> None:
    """Say something beside the result."""
    print(text, file=sys.stderr)
