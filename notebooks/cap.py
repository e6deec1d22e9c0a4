"""What a session on Binder has: a cap on the memory of a process and all its children, and one core.

The cap is a control group of Linux.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from inferkit._base import InputError

__all__ = ["Cap", "NoCapError", "entrance", "memory_cap", "session_cap"]

_REMOVE_SECONDS = 5.0


class NoCapError(RuntimeError):
    """Memory cannot be capped here; the message says why, and what would enable it."""


@dataclass(frozen=True)
class Cap:
    """A control group with a limit on its memory.

    Parameters
    ----------
    folder : pathlib.Path
        Where the kernel shows it.
    """

    folder: Path

    def join(self) -> None:
        """Put the calling process, and all that it will start, under the cap."""
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def kills(self) -> int:
        """Return how many processes were killed for passing the cap."""
        for name in ("memory.oom_control", "memory.events"):
            for line in _lines(self.folder / name):
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
        return 0


@contextmanager
def memory_cap(megabytes: int) -> Iterator[Cap]:
    """Make a control group whose processes together get no more memory than this.

    Parameters
    ----------
    megabytes : int
        The cap, in units of 2²⁰ bytes. There is no swap beyond it.

    Yields
    ------
    Cap
        What lies in it at the end of the block is killed, and the group is removed.

    Raises
    ------
    NoCapError
        If that cannot be done here.
    """
    cap = Cap(_make(megabytes * 2**20))
    try:
        _try_to_join(cap)
        yield cap
    finally:
        _remove(cap.folder)


@contextmanager
def session_cap(megabytes: int) -> Iterator[tuple[Cap | None, str]]:
    """Cap memory where that can be done; where not, say why and go on.

    Parameters
    ----------
    megabytes : int
        The cap, in units of 2²⁰ bytes.

    Yields
    ------
    tuple of Cap or None, and str
        The cap, or None and the reason why there is none.
    """
    with ExitStack() as stack:
        try:
            found: tuple[Cap | None, str] = stack.enter_context(memory_cap(megabytes)), ""
        except NoCapError as error:
            found = None, str(error)
        yield found


def entrance(cap: Cap | None) -> Callable[[], None] | None:
    """Return what a process that is about to be started calls to get what a session has: the cap, and one core.

    The core is the one that INFERKIT_CORE names, else the last of those that this process may use. What runs two
    sessions side by side names another for each.

    Parameters
    ----------
    cap : Cap or None
        The cap to go under, if there is one.

    Returns
    -------
    callable or None
        For ``preexec_fn`` of `subprocess`; None where there is no such thing.

    Raises
    ------
    InputError
        If INFERKIT_CORE names no core of this process.
    """
    if os.name != "posix":
        return None
    core = _core()

    def enter() -> None:
        if cap is not None:
            cap.join()
        if core is not None:
            os.sched_setaffinity(0, {core})

    return enter


def _core() -> int | None:
    """Return the core of a session; None where a process can't choose."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    cores = os.sched_getaffinity(0)
    named = os.environ.get("INFERKIT_CORE") or str(max(cores))
    if named not in map(str, cores):
        expected = ", ".join(map(str, sorted(cores)))
        raise InputError(f"expected INFERKIT_CORE to be a core of this process ({expected}); got {named!r}")
    return int(named)


def _make(limit: int) -> Path:
    """Make a group below the first of our own, its parent and the top one in which we may."""
    reasons = []
    for parent in _parents():
        folder = parent / f"inferkit-{os.getpid()}-{time.monotonic_ns()}"
        try:
            folder.mkdir()
        except OSError as error:
            reasons.append(f"{parent}: {error.strerror}")
            continue
        try:
            _limit(folder, limit)
        except OSError as error:
            folder.rmdir()
            reasons.append(f"{parent}: {error.strerror}")
        else:
            return folder
    why = "; ".join(reasons) or "no control groups for memory"
    raise NoCapError(f"memory can't be capped here ({why}); run it on Linux as root, or in a delegated control group")


def _limit(folder: Path, limit: int) -> None:
    if (folder.parent / "cgroup.controllers").exists():  # version 2
        if not (folder / "memory.max").exists():
            (folder.parent / "cgroup.subtree_control").write_text("+memory")
        (folder / "memory.max").write_text(str(limit))
        _write_if_there(folder / "memory.swap.max", 0)
    else:
        (folder / "memory.limit_in_bytes").write_text(str(limit))
        _write_if_there(folder / "memory.memsw.limit_in_bytes", limit)


def _write_if_there(path: Path, value: int) -> None:
    if path.exists():
        path.write_text(str(value))


def _parents() -> list[Path]:
    mounts = [line.split()[1:4] for line in _lines(Path("/proc/mounts"))]
    own = [line.split(":", 2) for line in _lines(Path("/proc/self/cgroup"))]
    first = [Path(where) for where, kind, how in mounts if kind == "cgroup" and "memory" in how.split(",")]
    second = [Path(where) for where, kind, _ in mounts if kind == "cgroup2" and _has_memory(Path(where))]
    found = [where / path.lstrip("/") for where in first for _, names, path in own if "memory" in names.split(",")]
    found += [where / path.lstrip("/") for where in second for _, names, path in own if not names]
    several = [folder for own_group in found for folder in (own_group, own_group.parent)] + first + second
    return [folder for folder in dict.fromkeys(several) if folder.is_dir() and folder.is_relative_to("/sys/fs/cgroup")]


def _has_memory(mount: Path) -> bool:
    return any("memory" in line.split() for line in _lines(mount / "cgroup.controllers"))


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _try_to_join(cap: Cap) -> None:
    try:
        subprocess.run(["true"], preexec_fn=cap.join, check=True)
    except (subprocess.SubprocessError, OSError) as error:
        raise NoCapError(f"memory can't be capped here: no process may be put into {cap.folder} ({error})") from error


def _remove(folder: Path) -> None:
    """Kill what is left in the group, all of it started by us, and remove it."""
    end = time.monotonic() + _REMOVE_SECONDS
    while True:
        for pid in _lines(folder / "cgroup.procs"):
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        try:
            folder.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > end:
                raise
        time.sleep(0.05)
