"""Whether others used the processor while something was measured."""

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._limits import ROOT, allowed_cores, read_text, throttled_seconds

_SHARE, _CORES, _SECONDS = 0.10, 0.20, 0.05  # see OtherLoad
_STOLEN_SHARE = 0.02


@dataclass(frozen=True)
class Reading:
    """Time that the processors had given out at one instant, in seconds since some beginning.

    Parameters
    ----------
    wall_s : float
        The instant, on a monotonic clock.
    cores : int
        How many processors the figures are summed over.
    used_s : float
        What all processes and the system used.
    own_s : float
        What this process and its descendants used.
    stolen_s : float
        What the host of a virtual machine gave to others.
    throttled_s : float
        For how long a quota held this process's groups back.
    """

    wall_s: float
    cores: int
    used_s: float
    own_s: float
    stolen_s: float = 0.0
    throttled_s: float = 0.0


class OtherLoad:
    """What others did with the processor since it was made, until `stop` or until it is asked.

    Others count as a disturbance from a tenth of the processors that this process may use, or a fifth of one
    processor, whichever is more: one busy neighbour is said on up to ten cores, the ticks of a quiet desktop are not.
    The system counts in ticks of 10 ms, so less than 0.05 s is never said. Time that the host of a virtual machine
    gave to others is said from 2 %; and any time for which a quota held this process back, for even a little moves
    a tail.

    Parameters
    ----------
    read : callable
        Gives a `Reading`, or None where the system tells nothing. For tests.
    load_average : callable
        Gives the load average of the last minute. It serves where no reading can be had: what it had risen to before
        the start, less one for this process itself.

    Attributes
    ----------
    words : str or None
        A sentence about who else used the machine; None if nobody did who matters, or nothing is known.
    is_known : bool
        Whether the system tells enough to judge.
    """

    def __init__(
        self,
        read: Callable[[], Reading | None] | None = None,
        load_average: Callable[[], float | None] | None = None,
    ) -> None:
        self._read = read or read_load
        self._start = self._read()
        self._end: Reading | None = None
        self._load_before = (load_average or _load_average)() if self._start is None else None

    def stop(self) -> None:
        """End the time that is looked at."""
        self._end = self._end or self._read()

    @property
    def is_known(self) -> bool:
        """Whether the system tells enough to judge."""
        return self._start is not None or self._load_before is not None

    @property
    def words(self) -> str | None:
        """Who else used the machine, in a sentence; None if nobody did who matters, or nothing is known."""
        if self._start is not None:
            end = self._end or self._read()
            return None if end is None else words_between(self._start, end)
        cores = _cores()
        if self._load_before is None or self._load_before - 1 < max(_SHARE * cores, _CORES):
            return None
        return f"the load average was {self._load_before:.1f} on {cores} {_plural(cores)} before it began"

    def __repr__(self) -> str:
        return self.words or (
            "nothing else used the processor" if self.is_known else "unknown: the system tells nothing"
        )


@contextmanager
def busy_watch(read: Callable[[], Reading | None] | None = None) -> Iterator[OtherLoad]:
    """Watch who else uses the processor while a block runs.

    Parameters
    ----------
    read : callable, optional
        Gives a reading of the processors' time. For tests; the system is asked if it is not given.

    Yields
    ------
    OtherLoad
        Its ``words`` is None, or a sentence such as "other processes used 1.3 of 2 cores meanwhile". See there for
        the threshold.

    Notes
    -----
    Linux: what ``/proc/stat`` counts on the processors that this process may use, less what this process and its
    descendants used (those who left their family count as others); stolen time from the same place; the quota's own
    count from ``cpu.stat``. Elsewhere the same through psutil, if it is installed, without stolen time and quotas;
    else the load average at the start; else nothing is known.

    Examples
    --------
    >>> with busy_watch() as others:
    ...     _ = sum(range(1000))
    >>> others.words is None or "cores" in others.words or "core" in others.words
    True
    """
    watch = OtherLoad(read)
    try:
        yield watch
    finally:
        watch.stop()


def words_between(start: Reading, end: Reading) -> str | None:
    """Say who else used the processors between two readings; None if nobody did who matters.

    Examples
    --------
    >>> words_between(Reading(0, 2, 0, 0), Reading(10, 2, 23, 10))
    'other processes used 1.3 of 2 cores meanwhile'
    """
    wall = end.wall_s - start.wall_s
    if wall <= 0:
        return None
    sentences = []
    others_s = (end.used_s - start.used_s) - (end.own_s - start.own_s)
    if others_s >= _SECONDS and others_s / wall >= max(_SHARE * start.cores, _CORES):
        cores = min(others_s / wall, start.cores)
        sentences.append(f"other processes used {cores:.1f} of {start.cores} {_plural(start.cores)} meanwhile")
    stolen_s = end.stolen_s - start.stolen_s
    if stolen_s >= _SECONDS and stolen_s / (wall * start.cores) >= _STOLEN_SHARE:
        sentences.append(f"the host gave {stolen_s / (wall * start.cores):.0%} of these cores' time to others")
    if end.throttled_s > start.throttled_s:
        sentences.append(f"a quota held these cores back for {end.throttled_s - start.throttled_s:.2g} s")
    return "; ".join(sentences) or None


def _plural(cores: int) -> str:
    return "core" if cores == 1 else "cores"


def _cores() -> int:
    return len(allowed_cores() or ()) or os.cpu_count() or 1


def read_load() -> Reading | None:
    """Return a reading from Linux, else from psutil, else None."""
    return _linux_reading() or _psutil_reading()


def _linux_reading(root: Path = ROOT) -> Reading | None:
    allowed = allowed_cores() or frozenset()
    rows = [row for number, row in parse_stat(read_text(root / "proc/stat")).items() if number in allowed]
    if not rows:
        return None
    tick = os.sysconf("SC_CLK_TCK")
    used, stolen = (sum(column) / tick for column in zip(*rows, strict=True))
    family = _descendants_ticks(_processes(root), os.getpid()) / tick
    own = sum(os.times()[:4])
    return Reading(time.monotonic(), len(rows), used, own + family, stolen, throttled_seconds(root))


def parse_stat(text: str) -> dict[int, tuple[int, int]]:
    r"""Return for each processor of ``/proc/stat`` the ticks used (by programs, the system, interrupts), and stolen.

    Examples
    --------
    >>> parse_stat("cpu  9 9 9 9\ncpu0 100 10 30 5000 7 1 2 8 0 0\nintr 5")
    {0: (143, 8)}
    """
    rows = {}
    for number, ticks in re.findall(r"^cpu([0-9]+)((?: [0-9]+){8})", text, re.M):
        user, nice, system, _idle, _waiting, interrupts, soft, stolen = map(int, ticks.split())
        rows[int(number)] = (user + nice + system + interrupts + soft, stolen)
    return rows


def _processes(root: Path) -> dict[int, tuple[int, int]]:
    """Return for each process its parent, and the ticks that it and its children who ended have used."""
    found = {}
    with suppress(OSError):
        for folder in (root / "proc").iterdir():
            if folder.name.isdigit():
                # The name stands in brackets and may hold anything, brackets too.
                words = read_text(folder / "stat").rpartition(")")[2].split()
                if len(words) > 14:
                    found[int(folder.name)] = int(words[1]), sum(map(int, words[11:15]))
    return found


def _descendants_ticks(processes: Mapping[int, tuple[int, int]], ancestor: int) -> int:
    """Return the ticks of all processes that descend from `ancestor`, without its own."""
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in processes.items():
        children.setdefault(parent, []).append(pid)
    total, waiting = 0, [ancestor]
    while waiting:
        born = children.pop(waiting.pop(), [])
        total += sum(processes[pid][1] for pid in born)
        waiting += born
    return total


def _psutil_reading() -> Reading | None:
    """Return a reading by way of psutil; None if it is not installed or this system refuses to tell."""
    try:
        import psutil

        rows = psutil.cpu_times(percpu=True)
        own: Any = psutil.Process()
        family = 0.0
        for process in own.children(recursive=True):
            with suppress(psutil.Error):
                family += sum(process.cpu_times()[:4])
    except Exception:  # psutil raises its own errors, the system's, and whatever a new system makes of it
        return None
    idle = {"idle", "iowait", "steal", "guest", "guest_nice"}  # guests count as user time already
    used = sum(value for row in rows for name, value in row._asdict().items() if name not in idle)
    stolen = sum(getattr(row, "steal", 0.0) for row in rows)
    return Reading(time.monotonic(), len(rows), used, sum(os.times()[:4]) + family, stolen)


def _load_average() -> float | None:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
