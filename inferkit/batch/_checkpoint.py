"""What a run that is killed leaves behind for the next one: a plan, and parts that are whole.

Nothing here waits for the disk. What a power cut tears is told by its hash, and answered again.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from .._base import InputError, sha256

VERSION = 1
_WORDS = {
    "version": "the version of the checkpoint", "source": "the source", "predictor": "the predictor",
    "answer": "answer", "batch_size": "batch_size", "checkpoint_rows": "checkpoint_rows", "format": "the kind of sink",
    "columns": "columns", "id_column": "id_column",
}  # fmt: skip
Plan = dict[str, Any]
Marker = dict[str, Any]


class Checkpoint:
    """A folder with a plan and with finished parts. Part i counts when its marker ``i.json`` is there and true.

    Parameters
    ----------
    folder : Path
        Locked by this process.

    Attributes
    ----------
    parts : list of dict
        The markers of the finished parts, from the first one on without a gap.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts: list[Marker] = []

    def resume(self, plan: Plan) -> Plan:
        """Take up the plan that is there, or leave this one.

        Parameters
        ----------
        plan : dict
            Plain values. None as ``batch_size`` agrees with any.

        Returns
        -------
        dict
            The plan that is now in force; its ``batch_size`` may be None still.

        Raises
        ------
        InputError
            If the folder holds finished parts of another job.
        """
        there = self._read_plan()
        if there is None:
            return plan
        self.parts = list(self._whole_parts())
        differing = [name for name in _WORDS if not _agree(name, plan.get(name), there.get(name))]
        if not differing:
            return there
        if not self.parts:
            return plan
        raise InputError(
            f"the checkpoint {str(self.folder)!r} belongs to another job: {_differences(differing, plan, there)}. "
            "Run that job to its end, delete the folder to begin anew, or keep both: checkpoint='another folder'"
        )

    def _read_plan(self) -> Plan | None:
        try:
            plan = json.loads((self.folder / "plan.json").read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            return None  # a crash before anything was kept
        return plan if isinstance(plan, dict) else None

    def _whole_parts(self) -> Iterator[Marker]:
        """Yield the markers of parts whose files are as they were when they were finished."""
        number = 0
        while (self.folder / f"{number:06d}.json").exists():
            try:
                marker = json.loads((self.folder / f"{number:06d}.json").read_bytes())
                whole = all(sha256(self.folder / name) == found for name, found in marker["files"].items())
            except (ValueError, KeyError, OSError):
                return
            if not whole:
                return
            yield marker
            number += 1

    def write_plan(self, plan: Plan) -> None:
        """Keep the plan, and nothing of what an earlier job may have left."""
        self.clear()
        _write_whole(self.folder / "plan.json", json.dumps(plan, indent=1).encode())

    @contextmanager
    def part(self) -> Iterator[tuple[Path, Marker]]:
        """Give the stem of the next part's files, and its marker to fill in; it counts when the block succeeds."""
        stem = f"{len(self.parts):06d}"
        for old in self.folder.glob(f"{stem}.*"):
            old.unlink()
        marker: Marker = {}
        yield self.folder / stem, marker
        files = sorted(self.folder.glob(f"{stem}.*"))
        marker["files"] = {file.name: sha256(file) for file in files}
        _write_whole(self.folder / f"{stem}.json", json.dumps(marker).encode())
        self.parts.append(marker)

    def files(self, suffix: str) -> list[Path]:
        """Return the parts' files of one kind, in order; parts without one are left out."""
        names = [f"{number:06d}{suffix}" for number in range(len(self.parts))]
        return [self.folder / name for name, marker in zip(names, self.parts, strict=True) if name in marker["files"]]

    def clear(self) -> None:
        """Remove all but the lock, the plan last: a part without its plan would belong to nobody."""
        for file in sorted(self.folder.iterdir(), key=lambda file: file.name == "plan.json"):
            if file.name != "lock":
                file.unlink(missing_ok=True)
        self.parts = []


def _agree(name: str, wanted: Any, there: Any) -> bool:
    return wanted == there or (name == "batch_size" and wanted is None)


def _differences(names: list[str], plan: Plan, there: Plan) -> str:
    told = []
    for name in names:
        old, new = there.get(name), plan.get(name)
        short = not isinstance(old, dict | list) and not isinstance(new, dict | list)
        told.append(f"{_WORDS[name]} was {old!r}, and is {new!r} now" if short else f"{_WORDS[name]} has changed")
    return "; ".join(told)


@contextmanager
def open_checkpoint(folder: Path) -> Iterator[Checkpoint]:
    """Make a folder if need be, and hold it for this process alone.

    Parameters
    ----------
    folder : Path

    Yields
    ------
    Checkpoint

    Raises
    ------
    RuntimeError
        If another run holds it.
    OSError
        If it cannot be made or written to.
    """
    with _locked(folder):
        checkpoint = Checkpoint(folder)
        try:
            yield checkpoint
        finally:
            if not checkpoint.parts:  # nothing to go on from
                checkpoint.clear()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system takes back from a dead process; remove the folder if it is empty."""
    lock = _take_lock(folder)
    try:
        lock.seek(0)
        lock.truncate()
        lock.write(str(os.getpid()).encode())
        lock.flush()
        yield
    finally:
        empty = [file.name for file in folder.iterdir()] == ["lock"]
        if empty and sys.platform != "win32":
            (folder / "lock").unlink()  # while it is held: nobody else may take this one
        lock.close()
        if empty:
            with suppress(OSError):
                (folder / "lock").unlink(missing_ok=True)
                folder.rmdir()


def _take_lock(folder: Path) -> IO[bytes]:
    while True:
        folder.mkdir(exist_ok=True)
        lock = (folder / "lock").open("a+b")
        if not _try_lock(lock):
            lock.seek(0)
            owner = lock.read(20).decode(errors="replace") or "unknown"
            lock.close()
            raise RuntimeError(
                f"another run (process {owner}) works on the checkpoint {str(folder)!r}; wait until it ends"
            )
        try:  # the run before us may have removed the file that we hold
            if os.path.samestat(os.fstat(lock.fileno()), (folder / "lock").stat()):
                return lock
        except FileNotFoundError:
            pass
        lock.close()


def _try_lock(file: IO[bytes]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(1 << 30)  # beyond what is written, which stays readable
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _flush(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    if path.is_dir() and sys.platform == "win32":
        return
    number = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def put_in_place(temporary: Path, target: Path) -> None:
    """Give a whole file its name, for good."""
    _flush(temporary)
    temporary.replace(target)
    _flush(target.parent)


def _write_whole(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(content)
    temporary.replace(path)
