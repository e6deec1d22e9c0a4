"""Load a predictor in this process: the same account of every query, without HTTP."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from ..benchmark._schedule import Run, ask_at
from ..benchmark._timing import Call, Clock
from ._load_engine import Log, Show


@dataclass(frozen=True)
class InProcess:
    """What is asked, and how.

    Attributes
    ----------
    call : callable
        Answers one query.
    inputs : sequence
        Taken in turn.
    workers : int
        Threads that answer: the servers of the queue.
    deadline_ms, timeout_s : float or None, float
        A query that has waited so long when its turn comes is not run.
    clock : callable
        Nanoseconds.
    sleep : callable or None
        Seconds; relied on if given.
    """

    call: Call
    inputs: Sequence[Any]
    workers: int
    deadline_ms: float | None
    timeout_s: float
    clock: Clock
    sleep: Callable[[float], None] | None = None

    def answer(self, number: int, due_ns: int, start_ns: int, log: Log) -> None:
        """Answer one query, unless its time is over, and log what became of it."""
        sent_ns = self.clock() - start_ns
        outcome = self._outcome(number, (sent_ns - due_ns) / 1e9, log)
        done_ns = self.clock() - start_ns
        log.rows.append((due_ns / 1e9, sent_ns / 1e9, done_ns / 1e9, outcome))

    def _outcome(self, number: int, waited_s: float, log: Log) -> str:
        if self.deadline_ms is not None and waited_s * 1e3 >= self.deadline_ms:
            return "expired"
        if waited_s >= self.timeout_s:
            return "timeout"
        try:
            self.call(self.inputs[number % len(self.inputs)])
        except Exception as error:  # counted, as a server's 500 is
            log.trouble = log.trouble or f"{type(error).__name__}: {error}"
            return "failed"
        return "answered"


def open_loop(target: InProcess, due_s: Sequence[float], log: Log, show: Show) -> None:
    """Put a query into the line at each instant; whoever of the workers is free takes the first.

    Parameters
    ----------
    target : InProcess
    due_s : sequence of float
        Seconds after the start.
    log : Log
    show : callable
        Told how many have been taken.
    """
    run = Run(target.clock, float("inf"))
    due_ns = np.rint(np.asarray(due_s) * 1e9).astype(np.int64)

    def call(query: tuple[int, int]) -> None:
        target.answer(*query, run.start, log)

    queries = list(enumerate(due_ns.tolist()))
    ask_at(call, queries, due_ns, run, show, workers=target.workers, sleep=target.sleep)
    log.stopped = run.stopped


def closed_loop(target: InProcess, clients: int, duration_s: float, log: Log, show: Show) -> None:
    """Let clients ask side by side, each again as soon as it has its answer.

    Parameters
    ----------
    target : InProcess
        At most its `workers` are answered at once; the others wait in line.
    clients : int
    duration_s : float
    log : Log
    show : callable
        Told how many have come to their end.
    """
    numbers, ended, free = count(), threading.Event(), threading.Semaphore(target.workers)
    start = target.clock()

    def client() -> None:
        while (begun := target.clock() - start) < duration_s * 1e9 and not ended.is_set():
            with free:
                target.answer(next(numbers), begun, start, log)
            show(len(log.rows))

    threads = [threading.Thread(target=client, daemon=True) for _ in range(clients - 1)]
    try:
        for thread in threads:
            thread.start()
        client()
    except KeyboardInterrupt:
        if not log.rows:
            raise
        log.stopped = "interrupt"
    finally:
        ended.set()
        for thread in threads:
            thread.join()
