"""The ledger: every variant that was measured, on whatever machine, in one table and one figure."""

import json
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_data_path

from .._base import UPDATE, InputError, require, whole_file
from ._entry import Entry
from ._ledger_plot import draw
from ._ledger_views import entries_not_beaten, html_table, text_table
from ._store import VERSION, FileStore, LedgerError, MemoryStore, NotKeptError, Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FORMAT = "inferkit ledger"
_IN_MEMORY = ":memory:"


class Ledger:
    """What was measured of every variant of every model: a table that grows through the course.

    Two entries with the same name, model (its hash), machine, batch size and number of threads are
    one row: the newer takes the older one's place.

    Parameters
    ----------
    rows : iterable of Entry
        To begin with. This ledger lives in memory; `Ledger.open` gives one that is kept.

    Examples
    --------
    >>> ledger = Ledger([Entry("small", accuracy=0.95, p50_ms=0.02), Entry("large", accuracy=0.98, p50_ms=0.3)])
    >>> ledger.add(Entry("silly", accuracy=0.90, p50_ms=0.5))
    >>> [entry.name for entry in ledger.pareto()]
    ['small', 'large']
    >>> ledger["large"].accuracy
    0.98
    """

    def __init__(self, rows: Iterable[Entry] = ()) -> None:
        self._store: Store = MemoryStore()
        self.add(*rows)

    @classmethod
    def open(cls, path: str | os.PathLike[str] | None = None) -> "Ledger":
        """Open the ledger that is kept on this computer; begin it if there is none.

        Parameters
        ----------
        path : path-like, optional
            Its file. Without it: the environment variable ``INFERKIT_LEDGER``, else
            ``ledger.sqlite`` in the user's data folder. ``":memory:"`` keeps nothing.

        Returns
        -------
        Ledger
            Each look at it reads the file, and `add` writes at once: two notebooks may share it. Where
            the file cannot be written to, a warning says so, and the ledger goes on in memory with
            what could be read.

        Raises
        ------
        LedgerError
            If the file is damaged, no ledger, or of a newer version. It is left as it is.
        InputError
            If the path is a folder.

        Examples
        --------
        >>> len(Ledger.open(":memory:"))
        0
        """
        place = path or os.environ.get("INFERKIT_LEDGER") or user_data_path("inferkit") / "ledger.sqlite"
        if os.fspath(place) == _IN_MEMORY:
            return Ledger()
        file = Path(place).expanduser()
        if file.is_dir():
            raise InputError(f"path: expected a file for the ledger, got the folder {file}; add a name: ledger.sqlite")
        ledger = Ledger()
        ledger._store = FileStore(file)
        ledger._put([])  # begins the file, and finds out whether it can be written to
        return ledger

    def add(self, *entries: Entry) -> None:
        """Add entries, all in one step. One that is older than its like in the ledger is left out.

        Parameters
        ----------
        *entries : Entry

        Raises
        ------
        InputError
            If one of them is no Entry.
        LedgerError
            If the ledger's file has been damaged meanwhile.
        """
        for entry in entries:
            if not isinstance(entry, Entry):
                raise InputError(f"expected an Entry such as Entry('digits-cnn', p50_ms=0.01), got {entry!r:.60}")
        self._put(entries)

    def _put(self, entries: Iterable[Entry]) -> None:
        try:
            self._store.put(entries)
        except NotKeptError as error:
            self._store = _in_memory(self._store)
            known = f"{len(self)} {'entry' if len(self) == 1 else 'entries'} could be read"
            self._store.put(entries)
            warnings.warn(f"this ledger will not be kept, it lives in memory ({known}): {error}", stacklevel=3)

    def __len__(self) -> int:
        return len(self._store.read())

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._store.read())

    def __contains__(self, name: object) -> bool:
        return any(name in (entry, entry.name) for entry in self)

    def __getitem__(self, name: str) -> Entry:
        """Return the entry called `name`; of several (machines, batch sizes, threads) the one measured last."""
        found = [entry for entry in self if entry.name == name]
        if not found:
            there = ", ".join(sorted({entry.name for entry in self})) or "nothing yet"
            raise KeyError(f"no entry {name!r} in the ledger; it has: {there}")
        return max(found, key=lambda entry: entry.measured_us)

    def to_frame(self) -> Any:
        """Return the entries as a pandas DataFrame (extra ``pandas``).

        Returns
        -------
        pandas.DataFrame
            A row for each entry, a column for each field but ``stamp``.
        """
        pandas = require("pandas", extra="pandas")
        kinds = {one.name: _FRAME_TYPES.get(str(one.type)) for one in fields(Entry) if one.name != "stamp"}
        rows = [[getattr(entry, name) for name in kinds] for entry in self]
        frame = pandas.DataFrame(rows, columns=list(kinds))
        return frame.astype({name: kind for name, kind in kinds.items() if kind})

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the ledger as JSON, and write it to a file if one is given.

        Parameters
        ----------
        path : path-like, optional
            An existing file is replaced when the new one is whole.

        Returns
        -------
        str
        """
        document = {"format": _FORMAT, "version": VERSION, "entries": [entry.to_dict() for entry in self]}
        text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
        if path is not None:
            with whole_file(path) as temporary:
                temporary.write_text(text + "\n", encoding="utf-8", newline="\n")
        return text

    @classmethod
    def from_json(cls, path_or_text: str | os.PathLike[str]) -> "Ledger":
        """Read a ledger that `to_json` wrote, this machine's or another's.

        Parameters
        ----------
        path_or_text : path-like or str
            A file, or the JSON text itself.

        Returns
        -------
        Ledger
            In memory.

        Raises
        ------
        LedgerError
            If it is damaged, no ledger, or of a newer version.
        FileNotFoundError
            If there is no such file.
        """
        text, source = _text(path_or_text)
        try:
            document = json.loads(text)  # NaN is refused by the fields
            if not isinstance(document, dict) or document.get("format") != _FORMAT:
                raise InputError('expected {"format": "inferkit ledger", ...} at its top')
            version, entries = document.get("version"), document.get("entries")
            if not isinstance(version, int) or version < 1 or not isinstance(entries, list):
                raise InputError('expected "version" and "entries" beside "format"')
            if version > VERSION:
                raise LedgerError(
                    f"{source} is a ledger of version {version}, and this inferkit reads {VERSION}; {UPDATE}"
                )
            return Ledger([Entry.from_dict(values) for values in entries])
        except LedgerError:
            raise
        except (ValueError, RecursionError) as error:
            raise LedgerError(
                f"{source} is damaged or no ledger ({error}); ask for it again, as Ledger.to_json(path) writes it"
            ) from error

    def merge(self, *others: "Ledger") -> "Ledger":
        """Return this ledger and others, such as those of other machines, as one.

        Parameters
        ----------
        *others : Ledger

        Returns
        -------
        Ledger
            In memory; this one and the others stay as they are. Of two entries with one key the
            newer is in it, so neither the order nor merging twice makes a difference to what is in it.

        Examples
        --------
        >>> mine, yours = Ledger([Entry("a", machine_id="1")]), Ledger([Entry("a", machine_id="2")])
        >>> len(mine.merge(yours)), len(mine.merge(yours, yours))
        (2, 2)
        """
        for other in others:
            if not isinstance(other, Ledger):
                raise InputError(f"expected ledgers, got {other!r:.60}; Ledger.from_json(path) reads one")
        together = [entry for ledger in (self, *others) for entry in ledger]
        places = {entry.key: place for place, entry in reversed(list(enumerate(together)))}
        # Two that were measured in the same instant need an order too, and one that depends on nothing else.
        winners = {entry.key: entry for entry in sorted(together, key=lambda e: (e.measured_us, repr(e.to_dict())))}
        return Ledger(sorted(winners.values(), key=lambda entry: places[entry.key]))

    def pareto(self, x: str = "p50_ms", y: str = "accuracy") -> "Ledger":
        """Return the entries that no other is shown to beat in `x` and `y` together.

        One entry beats another on the same machine if it is better in one of the two and no worse in the other.
        Where there are intervals, their ends must show it: an entry whose interval
        overlaps is not called beaten. Accuracies measured on the same rows rise and fall together,
        so this is careful: it may keep an entry that a paired test would drop.

        Parameters
        ----------
        x, y : str
            Fields with numbers, such as ``"p50_ms"``, ``"size_bytes"``, ``"peak_mb"``. Of accuracy and
            throughput more is better, of all else less.

        Returns
        -------
        Ledger
            In memory. Entries that lack one of the two are not in it.

        Raises
        ------
        InputError
            If `x` or `y` is no such field.
        """
        return Ledger(entries_not_beaten(list(self), x, y))

    def plot(self, x: str = "p50_ms", y: str = "accuracy") -> "Figure":
        """Draw the entries and the front: what no other is better than in both.

        Filled points are those of `pareto`; hollow ones are beaten for certain. The line joins the best values
        as measured, for each machine in its colour. Bars are intervals.

        Parameters
        ----------
        x, y : str
            As in `pareto`.

        Returns
        -------
        matplotlib.figure.Figure
            In the course's style; `inferkit.plots.show` shows it with its alt text.

        Raises
        ------
        InputError
            If `x` or `y` is no such field, or no entry has both.
        """
        return draw(list(self), x, y)

    def __repr__(self) -> str:
        return text_table(list(self))

    def _repr_html_(self) -> str:
        return html_table(list(self))


_FRAME_TYPES = {"float | None": "float64", "int | None": "Int64"}


_NO_PATH = re.compile(r"^\s*($|[{\[\ufeff])|[\n\0]|.{1000}")  # empty, JSON, or nothing that a path could be


def _in_memory(store: Store) -> MemoryStore:
    """Return a store in memory with what can be read of another."""
    memory = MemoryStore()
    with suppress(NotKeptError):  # neither written nor read: the caller says so
        memory.put(store.read())
    return memory


def _text(path_or_text: str | os.PathLike[str]) -> tuple[str, str]:
    """Return the JSON text, and what to call its source."""
    if isinstance(path_or_text, str) and _NO_PATH.search(path_or_text):
        return path_or_text, "the text"
    try:
        return Path(path_or_text).read_text(encoding="utf-8-sig"), str(path_or_text)
    except UnicodeDecodeError as error:
        raise LedgerError(f"{path_or_text} is damaged or no ledger: it is no UTF-8 text ({error.reason})") from error
    except FileNotFoundError as error:
        raise FileNotFoundError(
            error.errno, "expected a file that Ledger.to_json(path) wrote; there is none", str(path_or_text)
        ) from None
