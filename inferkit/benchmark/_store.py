"""Where the entries of a ledger are kept: in memory, or in an SQLite file that several kernels share."""

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from .._base import UPDATE, InputError
from ._entry import Entry, Key

VERSION = 1
"""Of the file and of the JSON document. Anything newer is refused, and left as it is."""

_APPLICATION = int.from_bytes(b"infk")  # tells a ledger from any other SQLite file
_PATIENCE_S = 20.0  # how long to wait for another kernel that writes

_TABLE = """CREATE TABLE entries (
    place INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, measured_us INTEGER NOT NULL,
    entry TEXT NOT NULL, checksum INTEGER NOT NULL
)"""
_PUT = """INSERT INTO entries (key, measured_us, entry, checksum) VALUES (?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE
    SET measured_us = excluded.measured_us, entry = excluded.entry, checksum = excluded.checksum
    WHERE excluded.measured_us >= measured_us"""

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_SCHEMA}


class LedgerError(InputError):
    """A ledger's file or JSON text that is damaged, of another kind, or newer than this version reads."""


class NotKeptError(OSError):
    """A file that cannot be written to, or not be reached, just now."""


class Store(Protocol):
    """What a ledger asks of the place where its entries are kept."""

    def read(self) -> list[Entry]:
        """Return the entries in the order in which their keys first came."""

    def put(self, entries: Iterable[Entry]) -> None:
        """Add all of them or none; of two with one key keep the newer, or the later one if both are as new."""


class MemoryStore:
    """Entries in a dict: gone when the program ends."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}

    def read(self) -> list[Entry]:
        """Return the entries."""
        return list(self._entries.values())

    def put(self, entries: Iterable[Entry]) -> None:
        """Add entries."""
        for entry in list(entries):
            old = self._entries.get(entry.key)
            if old is None or entry.measured_us >= old.measured_us:
                self._entries[entry.key] = entry


class FileStore:
    """Entries in an SQLite file.

    Each call opens the file, does its work in one transaction, and closes it again: so two
    kernels share it, a kill in the middle leaves the old contents whole, and nothing stays open.

    Parameters
    ----------
    path : pathlib.Path
        Made, with its folder, when something is first put.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Entry]:
        """Return the entries.

        Raises
        ------
        LedgerError
            If the file is damaged, no ledger, or newer.
        NotKeptError
            If it cannot be read just now.
        """
        try:
            if not self.path.stat().st_size:  # SQLite begins with an empty file
                return []
        except FileNotFoundError:
            return []
        except OSError as error:
            raise NotKeptError(f"{self.path} cannot be read ({error.strerror})") from error
        with self._connection("rw") as connection:  # falls back to reading alone by itself
            return self._entries(connection) if self._is_begun(connection) else []

    def put(self, entries: Iterable[Entry]) -> None:
        """Add entries, all in one transaction.

        Raises
        ------
        LedgerError
            If the file is damaged, no ledger, or newer: it is left as it is.
        NotKeptError
            If it cannot be written to.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NotKeptError(f"{self.path.parent} cannot be made ({error.strerror})") from error
        with self._connection("rwc") as connection:
            connection.execute("BEGIN IMMEDIATE")
            if not self._is_begun(connection):
                connection.execute(_TABLE)
                connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.executemany(_PUT, map(_row, entries))
            connection.execute("COMMIT")

    @contextmanager
    def _connection(self, mode: str) -> Iterator[sqlite3.Connection]:
        """Open the file for a moment. Closing without a commit takes back what was begun."""
        connection = None
        try:
            address = f"{self.path.absolute().as_uri()}?mode={mode}"
            connection = sqlite3.connect(address, uri=True, timeout=_PATIENCE_S, isolation_level=None)
            yield connection
        except (sqlite3.Error, UnicodeDecodeError) as error:  # a damaged schema makes messages that are no UTF-8
            # What Python's own module finds, such as text that is no UTF-8, carries no code.
            if (getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF) in _DAMAGE:
                raise self._damaged(str(error)) from error
            raise NotKeptError(f"{self.path}: {error}") from error
        finally:
            if connection is not None:
                connection.close()

    def _is_begun(self, connection: sqlite3.Connection) -> bool:
        """Tell whether there is a ledger in the file; raise if there is something else."""
        found, version, tables = (
            connection.execute(question).fetchone()[0]
            for question in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
        )
        if (found, version, tables) == (0, 0, 0):
            return False
        if found != _APPLICATION:
            raise LedgerError(
                f"{self.path} is an SQLite file, but no ledger of inferkit. It was left as it is; "
                'give another path: Ledger.open("ledger.sqlite")'
            )
        if version < 1:
            raise self._damaged(f"version {version}")
        if version > VERSION:
            raise LedgerError(
                f"{self.path} is a ledger of version {version}, and this inferkit reads {VERSION}. It was left as it "
                f"is; {UPDATE}, or give another path: Ledger.open(path)"
            )
        self._check(connection)
        return True

    def _check(self, connection: sqlite3.Connection) -> None:
        verdict = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if verdict != "ok":
            raise self._damaged(str(verdict))

    def _entries(self, connection: sqlite3.Connection) -> list[Entry]:
        rows = connection.execute("SELECT key, measured_us, entry, checksum FROM entries ORDER BY place")
        try:
            return [_entry(*row) for row in rows]
        except (TypeError, ValueError) as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, why: str) -> LedgerError:
        return LedgerError(
            f"{self.path} is damaged or no ledger ({' '.join(why.split())}). It was left as it is; move it away and "
            "a new ledger begins, or give another path: Ledger.open(path)"
        )


def _row(entry: Entry) -> tuple[str, int, str, int]:
    """Return an entry as the columns of the table; the checksum finds a digit that changed."""
    text = json.dumps(entry.to_dict(), ensure_ascii=False, allow_nan=False)
    return json.dumps(entry.key), entry.measured_us, text, zlib.crc32(text.encode())


def _entry(key: str, measured_us: int, text: str, checksum: int) -> Entry:
    """Return the entry that a row holds."""
    if zlib.crc32(text.encode() if isinstance(text, str) else text) != checksum:
        raise ValueError(f"the checksum of {key!r:.80} is wrong")
    entry = Entry.from_dict(json.loads(text))
    if (key, measured_us) != (json.dumps(entry.key), entry.measured_us):
        raise ValueError(f"the columns of {key!r:.80} contradict each other")
    return entry
