"""Send queries: in turn, at given instants, or all at once; keep the time of each."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ._timing import Call, CallError, Clock, ClockError

Show = Callable[[int], None]
_SPIN_NS = 500_000  # a sleep wakes late by less than this, as a rule
_LONGEST_NAP_S = 0.05  # so that an interrupt, or the end of the time, is seen soon


class Run:
    """One run: its clock, its end, and the time of every query, by the query's number.

    Parameters
    ----------
    clock : callable
        Returns nanoseconds.
    limit_ns : float
        No query is begun so long after the start.
    """

    def __init__(self, clock: Clock, limit_ns: float) -> None:
        self.clock = clock
        self.limit_ns = limit_ns
        self.start = self.end = 0
        self.last_due_ns = 0
        self.stopped = "n"
        self.times: dict[int, int] = {}

    def begin(self) -> None:
        """Start the run's time."""
        self.start = self.end = self.clock()

    def is_over(self) -> bool:
        """Return whether the time is up."""
        return self.clock() - self.start >= self.limit_ns

    def answer(self, call: Call, query: Any, number: int, since: int | None = None) -> None:
        """Ask, and keep the time; it runs from `since`, or from now."""
        begin = self.clock()
        try:
            call(query)
        except Exception as error:
            raise self._failed(number, error) from error
        end = self.clock()
        if end < begin:
            raise ClockError(
                f"the clock went backwards by {begin - end:,} ns in query {number + 1:,}; use a monotonic one"
            )
        self.times[number] = end - (begin if since is None else since)
        self.end = max(self.end, end)

    def _failed(self, number: int, error: Exception) -> CallError:
        failed = CallError(f"query {number + 1:,} raised {type(error).__name__}: {error}")
        failed.partial = self.samples()
        return failed

    def samples(self) -> list[int]:
        """Return the times in the order of the queries."""
        return [self.times[number] for number in sorted(self.times)]

    def seconds(self) -> float:
        """Return the time from the start to the last answer."""
        return (self.end - self.start) / 1e9


def ask_in_turn(call: Call, queries: Sequence[Any], run: Run, show: Show) -> None:
    """Send each query when the one before is answered: a closed loop."""
    run.begin()
    try:
        for number, query in enumerate(queries):
            if run.is_over():
                run.stopped = "time"
                return
            run.answer(call, query, number)
            show(number + 1)
    except KeyboardInterrupt:
        _interrupted(run)


def ask_offline(call: Call, inputs: Sequence[Any], n: int, batch_size: int, run: Run, show: Show) -> None:
    """Answer `n` rows that are all there from the start; each row's time runs from there."""
    whole = [x for x in inputs if len(x) == batch_size] if batch_size > 1 else list(inputs)
    rest = inputs[-1] if n % batch_size else None
    run.begin()
    done = 0
    try:
        while done < n:
            if run.is_over():
                run.stopped = "time"
                return
            size = min(batch_size, n - done)
            query = whole[done // batch_size % len(whole)] if size == batch_size else rest
            run.answer(call, query, done, run.start)
            run.times.update(dict.fromkeys(range(done, done + size), run.times[done]))
            done += size
            show(done)
    except KeyboardInterrupt:
        _interrupted(run)


def ask_at(
    call: Call, queries: Sequence[Any], due_ns: npt.NDArray[np.int64], run: Run, show: Show, *, workers: int = 1,
    sleep: Callable[[float], None] | None = None,
) -> None:  # fmt: skip
    """Send each query at its instant, whatever became of those before: an open loop.

    The queries wait in one line; whoever is free takes the first. A query's time runs from its
    instant, so that waiting counts.

    Parameters
    ----------
    call : callable
        Answers one query. With several workers it must be safe to call from several threads.
    queries : sequence
        In the order in which they come.
    due_ns : numpy.ndarray of int64
        When each comes, after the start.
    run : Run
        Takes the times.
    show : callable
        Told how many queries have been taken.
    workers : int
        How many answer.
    sleep : callable, optional
        Sleeps for so many seconds. If given it is relied on.
    """
    line = enumerate(zip(queries, due_ns.tolist(), strict=True))
    taking, ended, failures = threading.Lock(), threading.Event(), []

    def work() -> None:
        while not ended.is_set():
            with taking:
                number, (query, due) = next(line, (-1, (None, 0)))
            if number < 0 or not _wait(run, run.start + due, ended, spin=workers == 1, sleep=sleep):
                return
            run.answer(call, query, number, run.start + due)
            run.last_due_ns = max(run.last_due_ns, due)
            show(number + 1)

    def guarded() -> None:
        try:
            work()
        except Exception as error:  # handed to the caller's thread
            failures.append(error)
            ended.set()

    run.begin()
    try:
        _work_together(work, guarded, workers, ended)
    except KeyboardInterrupt:
        _interrupted(run)
    if failures:
        raise failures[0]


def _work_together(
    work: Callable[[], None], guarded: Callable[[], None], workers: int, ended: threading.Event
) -> None:  # fmt: skip
    """Let one worker work here, or several in threads of their own."""
    if workers == 1:
        work()
        return
    threads = [threading.Thread(target=guarded, daemon=True) for _ in range(workers)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(_LONGEST_NAP_S)
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def _wait(
    run: Run, due: int, ended: threading.Event, *, spin: bool, sleep: Callable[[float], None] | None
) -> bool:  # fmt: skip
    """Wait for an instant; return whether to go on."""
    while (left := due - run.clock()) > 0:
        if ended.is_set() or run.is_over():
            break
        if sleep is not None:
            sleep(left / 1e9)
        elif left > _SPIN_NS or not spin:  # several threads must not take turns at looking at a clock
            nap = (left - _SPIN_NS if spin else left) / 1e9
            time.sleep(min(nap, _LONGEST_NAP_S))
    if run.is_over():
        run.stopped = "time"
        return False
    return not ended.is_set()


def _interrupted(run: Run) -> None:
    """Keep what was measured; with nothing to keep, let the interrupt go on."""
    if not run.times:
        raise KeyboardInterrupt
    run.stopped = "interrupt"
