"""How a ledger is shown: its units, its tables, and which entries are beaten."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

from .._base import InputError
from ._entry import Entry

EMPTY = "The ledger is empty. This measures models and adds them: compare({...}, X, y, ledger=Ledger.open())"
_NONE = "–"
_ENERGY = ((1e-3, ("µJ/row", 1e6)), (1.0, ("mJ/row", 1e3)))
_WHERE_MEASURED = {"joules"}  # few machines have a counter: no column of dashes on all others


@dataclass(frozen=True)
class Quantity:
    """A field of an entry that can be an axis, in the unit that it is shown in."""

    field: str
    label: str
    unit: str
    factor: float = 1.0
    ends: tuple[str, str] | None = None
    more_is_better: bool = False

    def of(self, entry: Entry) -> float | None:
        """Return the value, in the unit shown."""
        value = getattr(entry, self.field)
        return None if value is None else self.factor * value

    def interval(self, entry: Entry) -> tuple[float, float]:
        """Return the ends of the interval: the value twice if there is none, infinity for an open end."""
        value, ends = getattr(entry, self.field), [getattr(entry, end) for end in self.ends or ()]
        if not any(end is not None for end in ends):
            return self.factor * value, self.factor * value
        low, high = ends
        return self.factor * (0.0 if low is None else low), math.inf if high is None else self.factor * high

    def costs(self, entry: Entry) -> tuple[float, float]:
        """Return the interval turned so that less is better."""
        low, high = self.interval(entry)
        return (-high, -low) if self.more_is_better else (low, high)


def quantities(entries: Iterable[Entry]) -> dict[str, Quantity]:
    """Return every field that can be an axis, in units that suit these entries."""
    rows = list(entries)
    unit, times = ("µs", 1e3) if _least(rows, "p50_ms", "p90_ms", "p99_ms") < 1 else ("ms", 1.0)
    size, part = ("kB", 1e-3) if _least(rows, "size_bytes") < 1e6 else ("MB", 1e-6)
    energy, joules = next((unit for least, unit in _ENERGY if _least(rows, "joules") < least), ("J/row", 1.0))
    listed = (
        Quantity("accuracy", "accuracy", "%", 100, ("accuracy_low", "accuracy_high"), more_is_better=True),
        Quantity("p50_ms", "p50", unit, times, ("p50_low", "p50_high")),
        Quantity("p90_ms", "p90", unit, times),
        Quantity("p99_ms", "p99", unit, times),
        Quantity("throughput", "throughput", "rows/s", more_is_better=True),
        Quantity("size_bytes", "size", size, part),
        Quantity("peak_mb", "peak memory", "MB"),
        Quantity("joules", "energy", energy, joules),
    )
    return {one.field: one for one in listed}


def _least(entries: Iterable[Entry], *names: str) -> float:
    values = [getattr(entry, name) for entry in entries for name in names]
    return min((value for value in values if value), default=math.inf)


def quantity(entries: Iterable[Entry], name: str) -> Quantity:
    """Return a field that can be an axis, or raise."""
    known = quantities(entries)
    if name not in known:
        raise InputError(f"expected a field with numbers ({', '.join(known)}), got {name!r:.60}")
    return known[name]


# -- the front ---------------------------------------------------------------------------------


def entries_not_beaten(entries: Sequence[Entry], x: str, y: str) -> list[Entry]:
    """Return the entries that no other of the same machine is shown to beat in x and y together."""
    axes = quantity(entries, x), quantity(entries, y)
    placed = [entry for entry in entries if all(axis.of(entry) is not None for axis in axes)]
    spans = [tuple(axis.costs(entry) for axis in axes) for entry in placed]
    return [
        entry
        for entry, span in zip(placed, spans, strict=True)
        if not any(
            other.machine_id == entry.machine_id and _beats(theirs, span)
            for other, theirs in zip(placed, spans, strict=True)
        )
    ]


def _beats(a: Sequence[tuple[float, float]], b: Sequence[tuple[float, float]]) -> bool:
    """Tell whether a, at its worst, is nowhere worse than b at its best, and somewhere better."""
    worst_best = [(mine[1], theirs[0]) for mine, theirs in zip(a, b, strict=True)]
    return all(mine <= theirs for mine, theirs in worst_best) and any(mine < theirs for mine, theirs in worst_best)


# -- tables ------------------------------------------------------------------------------------


def names(entries: Sequence[Entry]) -> list[str]:
    """Return what to call each entry: its name, and what tells it from others of that name."""
    times = Counter(entry.name for entry in entries)
    return [
        " ".join([entry.name, *_what_differs(entry, entries)]) if times[entry.name] > 1 else entry.name
        for entry in entries
    ]


def _what_differs(entry: Entry, entries: Iterable[Entry]) -> list[str]:
    same = [other for other in entries if other.name == entry.name]
    found = []
    if len({other.batch_size for other in same}) > 1:
        found.append(f"×{entry.batch_size}")
    if len({other.threads for other in same}) > 1:
        found.append(_threads(entry))
    if len({other.model_sha256 for other in same}) > 1:
        found.append(f"({entry.model_sha256[:4]})" if entry.model_sha256 else "(no hash)")
    return found


def _threads(entry: Entry) -> str:
    return "threads unknown" if entry.threads is None else f"{entry.threads} thread{'s' * (entry.threads != 1)}"


def machines(entries: Iterable[Entry]) -> dict[str, str]:
    """Return each machine's name by its id; machines of one name get a part of their ids."""
    by_id = {entry.machine_id: entry.machine or "machine unknown" for entry in entries}
    times = Counter(by_id.values())
    length = next(n for n in range(4, 99) if len({key[:n] for key in by_id}) == len(by_id) or n > 64)
    return {key: f"{name} ({key[:length] or 'no id'})" if times[name] > 1 else name for key, name in by_id.items()}


def _columns(entries: Sequence[Entry]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Return what all entries have in common, and the columns: header and cells."""
    known, by_id = quantities(entries), machines(entries)
    columns = [("model", names(entries))]
    if len(by_id) > 1:
        columns.append(("machine", [by_id[entry.machine_id] for entry in entries]))
    for one in known.values():
        cells = [_cell(one, entry) for entry in entries]
        if one.field == "throughput":
            columns.append(("calls", [_NONE if entry.n is None else f"{entry.n:,}" for entry in entries]))
        if one.field not in _WHERE_MEASURED or set(cells) != {_NONE}:
            columns.append((f"{one.label}, {one.unit}", cells))
    shared = [next(iter(by_id.values()))] if len(by_id) == 1 else []
    varied: tuple[tuple[str, Callable[[Entry], str]], ...] = (
        ("batch size", lambda entry: f"{entry.batch_size:,}"),
        ("threads", lambda entry: _NONE if entry.threads is None else str(entry.threads)),
        ("tested on", lambda entry: _NONE if entry.n_test is None else f"{entry.n_test:,} rows"),
    )
    for header, say in varied:
        cells = [say(entry) for entry in entries]
        if len(set(cells)) > 1:
            columns.append((header, cells))
        elif cells[0] != _NONE:
            shared.append(f"{header} {cells[0]}")
    return shared, columns


def _cell(one: Quantity, entry: Entry) -> str:
    value = one.of(entry)
    if value is None:
        return _NONE
    write = _tenths if one.unit == "%" else digits
    low, high = one.interval(entry)
    if low == high:
        return write(value)
    open_below, open_above = low == 0 < value and one.unit != "%", high == math.inf
    return f"{write(value)} ({'?' if open_below else write(low)}–{'?' if open_above else write(high)})"


def _tenths(value: float) -> str:
    return f"{value:.1f}"


def digits(value: float) -> str:
    """Write a number with three digits or all of its whole ones, and without an exponent.

    Examples
    --------
    >>> digits(0.012345), digits(12.345), digits(123456.0), digits(0)
    ('0.0123', '12.3', '123,456', '0')
    """
    if value == 0:
        return "0"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(value)))}f}"


def text_table(entries: Sequence[Entry]) -> str:
    """Return the entries as a table of plain text."""
    if not entries:
        return EMPTY
    shared, columns = _columns(entries)
    widths = [max(map(len, (header, *cells))) for header, cells in columns]
    lines = [[header for header, _ in columns], *zip(*(cells for _, cells in columns), strict=True)]
    rows = [
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    ]
    return "\n".join([*([" · ".join(shared)] if shared else []), *rows])


def html_table(entries: Sequence[Entry]) -> str:
    """Return the entries as a table of HTML."""
    if not entries:
        return f"<p>{escape(EMPTY)}</p>"
    shared, columns = _columns(entries)
    head = "".join(f"<th scope='col'>{escape(header)}</th>" for header, _ in columns)
    body = "".join(
        f"<tr><th scope='row'>{escape(cells[0])}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in cells[1:])}</tr>"
        for cells in zip(*(cells for _, cells in columns), strict=True)
    )
    caption = f"<caption>{escape(' · '.join(shared))}</caption>" if shared else ""
    return f"<table style='white-space: nowrap'>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
