"""What a process and its children use: the most memory that they hold at once, and the processor's time."""

import threading
from collections.abc import Callable
from contextlib import suppress

import psutil

__all__ = ["Watch"]

_SAMPLES_PER_SECOND = 10


class Watch(threading.Thread):
    """Samples the memory and the time of a process and its children, from `start` until `stop`.

    Parameters
    ----------
    find : callable
        Returns the process; None while there is none.

    Attributes
    ----------
    peak_mb : float
        The most memory that they held at once, in units of 2²⁰ bytes: shared pages count by the share (elsewhere than
        on Linux, whole).
    cpu_seconds : float
        User and system time of the process and its children, with those that have ended.
    """

    def __init__(self, find: Callable[[], psutil.Process | None]) -> None:
        super().__init__(daemon=True)
        self.peak_mb = self.cpu_seconds = 0.0
        self._find = find
        self._ended = threading.Event()

    def run(self) -> None:
        """Sample until it is stopped."""
        while not self._ended.wait(1 / _SAMPLES_PER_SECOND):
            self.sample()

    def sample(self) -> None:
        """Look now."""
        with suppress(psutil.Error):
            first = self._find()
            if first is not None:
                tree = [first, *first.children(recursive=True)]
                if sum(map(_resident_mb, tree)) > self.peak_mb:  # shares are never more, and cost 10 ms to count
                    self.peak_mb = max(self.peak_mb, sum(map(_held_mb, tree)))
                self.cpu_seconds = max(self.cpu_seconds, sum(map(_cpu_seconds, tree)))

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()
        self.join()


def _resident_mb(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss) / 2**20
    except psutil.Error:  # it has just ended
        return 0.0


def _held_mb(process: psutil.Process) -> float:
    try:
        info = process.memory_full_info()
    except psutil.Error:  # it has just ended, or is not ours to look into
        return 0.0
    return float(getattr(info, "pss", info.rss)) / 2**20


def _cpu_seconds(process: psutil.Process) -> float:
    """Return a process's time, and that of its children that have ended: the others have theirs asked for."""
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)
