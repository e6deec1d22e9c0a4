"""Rows on their way from a source to a model: blocks of them, cut to the lengths that were fixed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Values = Array | dict[str, Any] | list[Any]
"""Rows: an array (n, ...), a dict of columns, or a list of texts."""


@dataclass(frozen=True)
class Block:
    """Some rows that follow each other in the source.

    Parameters
    ----------
    values : array, dict of columns or list
        The rows. A row of `bad` has a place in them, and nothing that counts.
    ids : array, list or None
        The name of each row.
    bad : dict of int to str
        Rows that could not be read, by their position in the block: why.
    mark : object or None
        Where the source stands after the block, in plain values, for a run that goes on from there.
    share : float or None
        How much of the source is read by now, from 0 to 1, if it can be known.
    """

    values: Values
    ids: Any = None
    bad: dict[int, str] = field(default_factory=dict)
    mark: Any = None
    share: float | None = None

    def __len__(self) -> int:
        return count(self.values)


def count(values: Values) -> int:
    """Return the number of rows."""
    return len(next(iter(values.values()))) if isinstance(values, dict) else len(values)


def cut(values: Values, start: int, stop: int) -> Values:
    """Return the rows from `start` to `stop`, as a view where that can be."""
    if isinstance(values, dict):
        return {name: column[start:stop] for name, column in values.items()}
    return values[start:stop]


def take(values: Values, rows: npt.NDArray[np.intp]) -> Values:
    """Return the rows at some positions."""
    if isinstance(values, dict):
        return {name: _take(column, rows) for name, column in values.items()}
    taken: Values = _take(values, rows)
    return taken


def _take(column: Any, rows: npt.NDArray[np.intp]) -> Any:
    return column[rows] if isinstance(column, np.ndarray) else [column[i] for i in rows]


def join(parts: list[Any]) -> Any:
    """Return rows, or ids, one after the other."""
    first = parts[0]
    if len(parts) == 1 or first is None:
        return first
    if isinstance(first, dict):
        return {name: join([part[name] for part in parts]) for name in first}
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)
    return [value for part in parts for value in part]


def joined(blocks: list[Block]) -> Block:
    """Return blocks that follow each other as one."""
    if len(blocks) == 1:
        return blocks[0]
    bad: dict[int, str] = {}
    before = 0
    for block in blocks:
        bad |= {before + position: reason for position, reason in block.bad.items()}
        before += len(block)
    values, ids = join([block.values for block in blocks]), join([block.ids for block in blocks])
    return Block(values, ids, bad, blocks[-1].mark, blocks[-1].share)


def _split(block: Block, at: int) -> tuple[Block, Block]:
    """Return the first `at` rows and the rest. A mark is true of a block's end alone."""
    if at == len(block):
        return block, replace(block, values=cut(block.values, 0, 0))
    head = {position: reason for position, reason in block.bad.items() if position < at}
    tail = {position - at: reason for position, reason in block.bad.items() if position >= at}
    ids = (None, None) if block.ids is None else (block.ids[:at], block.ids[at:])
    first = Block(cut(block.values, 0, at), ids[0], head, None, block.share)
    return first, Block(cut(block.values, at, len(block)), ids[1], tail, block.mark, block.share)


def recut(blocks: Iterable[Block], rows: int) -> Iterator[Block]:
    """Yield blocks of exactly `rows` rows, the last one of what is left.

    Parameters
    ----------
    blocks : iterable of Block
        Of any lengths; empty ones are left out.
    rows : int

    Yields
    ------
    Block

    Examples
    --------
    >>> [len(block) for block in recut([Block(np.zeros(5)), Block(np.zeros(2))], 3)]
    [3, 3, 1]
    """
    held: list[Block] = []
    waiting = 0
    for block in blocks:
        rest = block
        while waiting + len(rest) >= rows:
            wanted = rows - waiting
            first, rest = _split(rest, wanted)
            yield joined([*held, first])
            held, waiting = [], 0
        if len(rest):
            held.append(rest)
            waiting += len(rest)
    if held:
        yield joined(held)
