"""Tables that a program makes: row i hangs on the seed and on i alone, however the rows are cut into batches.

Rows come in blocks of `BLOCK`. Each block has a stream of random numbers of its own, which the seed and the block's
number fix (a counter-based generator, Philox). So a stream of any length needs the memory of one block, and a
program that wants the last million rows need not make the first.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._base import InputError, generator, require
from ._bunch import make_bunch

if TYPE_CHECKING:
    from sklearn.utils import Bunch

BLOCK = 8192
Columns = dict[str, NDArray[Any]]
Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
About = Mapping[str, Mapping[str, Any]]


def key_of(random_state: int | np.random.Generator | None) -> NDArray[np.uint64]:
    """Return the key of all blocks: the same for the same seed, drawn afresh for None or from a generator."""
    rng = generator(random_state)
    return rng.integers(0, 2**64, 2, dtype=np.uint64)


def uniforms(key: NDArray[np.uint64], block: int, n_draws: int) -> Floats:
    """Return the numbers of one block, uniform in [0, 1): (n_draws, BLOCK)."""
    counter = np.array([0, 0, 0, block], dtype=np.uint64)  # a block takes fewer than 2¹⁹² numbers
    return np.random.Generator(np.random.Philox(key=key, counter=counter)).random((n_draws, BLOCK))


def whole(what: str, value: Any, least: int) -> int:
    """Return `value` as an int if it is a whole number and not below `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{what}: expected a whole number ≥ {least}, got {value!r:.80}")
    return int(value)


def batches(blocks: Iterator[Columns], first: int, n: int, batch_size: int) -> Iterator[Columns]:
    """Cut blocks into batches of `batch_size` rows: `n` of them, from row `first` of the first block on."""
    waiting: list[Columns] = []
    n_waiting, skip, left = 0, first, n
    while left:
        wanted = min(batch_size, left)
        while n_waiting < wanted:
            block = rows(next(blocks), slice(skip, None))
            skip = 0
            waiting.append(block)
            n_waiting += length(block)
        whole_thing = waiting[0] if len(waiting) == 1 else _joined(waiting)
        yield rows(whole_thing, slice(0, wanted))
        waiting, n_waiting, left = [rows(whole_thing, slice(wanted, None))], n_waiting - wanted, left - wanted


def length(columns: Columns) -> int:
    """Return how many rows there are."""
    return len(next(iter(columns.values())))


def rows(columns: Columns, which: slice) -> Columns:
    """Return some rows of all columns."""
    return {name: column[which] for name, column in columns.items()}


def _joined(parts: Sequence[Columns]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


# -- drawing -----------------------------------------------------------------------------------------


def normal(u: Floats, v: Floats) -> Floats:
    """Return standard normal numbers from two uniform ones each (Box and Muller 1958)."""
    result: Floats = np.sqrt(-2 * np.log1p(-u)) * np.cos(2 * np.pi * v)
    return result


def poisson(u: Floats, mean: Floats, most: int) -> Codes:
    """Return Poisson numbers from uniform ones, by inversion; those above `most` count as `most`."""
    count, term = np.zeros(len(u), dtype=np.int64), np.exp(-mean)
    below = term.copy()
    for k in range(1, most + 1):
        count += u >= below
        term = term * mean / k
        below += term
    return count


def pick(u: Floats, *shares: Floats | float) -> Codes:
    """Return codes: k with the share ``shares[k]`` of its row, the last code with what is left."""
    code, below = np.zeros(len(u), dtype=np.int64), np.zeros(len(u))
    for share in shares:
        below = below + share
        code += u >= below
    return code


# -- giving ------------------------------------------------------------------------------------------


def words(codes: Codes, categories: Sequence[str]) -> NDArray[Any]:
    """Return each code's word; all rows share the same few objects."""
    known: NDArray[Any] = np.array(categories, dtype=object)
    return known[codes]


def codes(column: Any, categories: Sequence[str]) -> Codes:
    """Return each word's code, or raise `InputError`."""
    given = np.asarray(column, dtype=object)
    found = np.full(len(given), -1, dtype=np.int64)
    for code, word in enumerate(categories):
        found[given == word] = code
    if (found < 0).any():
        row = int((found < 0).argmax())
        raise InputError(f"expected one of {', '.join(map(repr, categories))}, got {given[row]!r} in row {row}")
    return found


def table(columns: Mapping[str, Any], about: About) -> NDArray[Any]:
    """Return columns as a structured array: a column by its name, a row by its number."""
    kinds = [(name, np.dtype(object) if "categories" in a else columns[name].dtype) for name, a in about.items()]
    result = np.empty(len(next(iter(columns.values()))), dtype=kinds)
    for name in about:
        result[name] = columns[name]
    return result


def numbers_of(data: Any, about: About) -> Columns:
    """Return a table's columns for computing: numbers as float64, words as codes; refuse what is missing.

    `data` may be anything that gives a column by its name: a structured array, a frame, a dict of columns.
    """
    try:
        given = {name: data[name] for name in about}
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise InputError(f"expected a table with the columns {list(about)}: {error}") from error
    return {
        name: codes(column, about[name]["categories"])
        if "categories" in about[name]
        else np.asarray(column, dtype=np.float64)
        for name, column in given.items()
    }


def table_bunch(columns: Columns, about: About, *, identity: str, as_frame: bool, **more: Any) -> Bunch:
    """Return the contract of this module for a table with words; `columns` has target, identity and truth as well."""
    bunch = make_bunch(
        table(columns, about),
        columns["target"],
        feature_names=list(about),
        units={name: a.get("unit", "1") if "categories" not in a else "one of its words" for name, a in about.items()},
        categories={name: a["categories"] for name, a in about.items() if "categories" in a},
        **{name: columns[name] for name in (identity, "probability", "time_s") if name in columns},
        **more,
    )
    if as_frame:
        pandas = require("pandas", extra="pandas")
        bunch.data = pandas.DataFrame({name: columns[name] for name in about})
        bunch.target = pandas.Series(bunch.target, name="target")
        bunch.frame = bunch.data.assign(target=bunch.target)
        bunch.frame.insert(0, identity, columns[identity])
    return bunch


def write_csv(columns: Mapping[str, NDArray[Any]], decimals: Mapping[str, int]) -> bytes:
    """Return columns as CSV; numbers have the decimals named, or are written as they are."""
    ready = [
        [f"{value:.{decimals[name]}f}" for value in column] if name in decimals else list(map(str, column))
        for name, column in columns.items()
    ]
    lines = [",".join(columns), *map(",".join, zip(*ready, strict=True))]
    return ("\n".join(lines) + "\n").encode()


def read_csv(content: bytes, kinds: Mapping[str, Callable[[Any], Any]]) -> Columns:
    """Return the columns of a CSV file, packed or not, each converted by its kind."""
    text = (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode()
    header, *lines = csv.reader(io.StringIO(text))
    return {name: kinds[name](column) for name, column in zip(header, zip(*lines, strict=True), strict=True)}
