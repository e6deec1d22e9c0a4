"""Dynamic batching: what queued up while the model was busy runs together; an idle model never waits.

Nothing here knows of HTTP. Requests come in with `Batcher.put` from any thread; each is a `Job` that is
answered exactly once. Worker threads pick a batch, run it and deliver it; a test can do so by hand with `Batcher.step`.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Outputs = dict[str, Array]
Run = Callable[[Array], Outputs]
State = Literal["queued", "running", "done", "dropped"]


class QueueFullError(RuntimeError):
    """No room in the queue: try again later."""


class ClosedError(RuntimeError):
    """The batcher takes nothing more."""


class ExpiredError(TimeoutError):
    """The deadline passed before the work began."""


@dataclass(eq=False, slots=True)
class Job:
    """Rows of one request, and, once it is done, their answer.

    Attributes
    ----------
    rows : numpy.ndarray of shape (n, ...)
        Checked rows; let go of when the job has ended.
    deadline : float or None
        On the batcher's clock, in seconds.
    waiter : object
        Whatever the caller needs to find whoever waits.
    outputs : dict of str to numpy.ndarray or None
        One entry for each output, n rows each.
    error : BaseException or None
        Why there are no outputs.
    """

    rows: Array | None
    n: int
    key: Hashable
    queued_at: float
    deadline: float | None
    waiter: Any
    state: State = "queued"
    outputs: Outputs | None = None
    error: BaseException | None = None


class Batcher:
    """A bounded queue before a model, and the threads that empty it.

    Parameters
    ----------
    run : callable
        From rows (n, ...) to outputs by name, n rows each. It may be called from `workers` threads at once.
    deliver : callable
        Called with the jobs of a batch when all of them are done, on the thread that ran them.
    max_batch_size, max_wait_ms, max_queue, workers
        As in `Settings`.
    clock : callable
        Seconds that never go back.
    on_batch : callable, optional
        Called with the number of rows and the seconds after every call of `run` that gave an answer.
    threaded : bool, default=True
        Whether threads are started as jobs come. Without, whoever owns the batcher calls `step`.
    """

    def __init__(
        self,
        run: Run,
        deliver: Callable[[list[Job]], None],
        *,
        max_batch_size: int,
        max_queue: int,
        max_wait_ms: float = 0.0,
        workers: int = 1,
        clock: Callable[[], float] = time.monotonic,
        on_batch: Callable[[int, float], None] | None = None,
        threaded: bool = True,
    ) -> None:
        self._run, self._deliver, self._on_batch, self._clock = run, deliver, on_batch, clock
        self.max_batch_size, self.max_queue, self.workers = max_batch_size, max_queue, workers
        self.max_wait_ms, self.threaded = max_wait_ms, threaded
        self._queue: deque[Job] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._threads: set[threading.Thread] = set()
        self._closed = False
        self._busy = 0  # calls of the model that are under way
        self.queued_rows = 0

    # -- the side of the callers -------------------------------------------------------------

    def __len__(self) -> int:
        """Return how many jobs wait."""
        return len(self._queue)

    def has_room(self, n: int = 1) -> bool:
        """Return whether a job of `n` rows would be taken now."""
        return not self.queued_rows or self.queued_rows + n <= self.max_queue

    def put(self, rows: Array, *, deadline: float | None = None, waiter: Any = None, wake: bool = True) -> Job:
        """Queue the rows of one request.

        Parameters
        ----------
        rows : numpy.ndarray of shape (n, ...)
            Checked: a row that makes `run` raise costs the others in its batch a second call.
        deadline : float, optional
            On the batcher's clock; what has not begun by then never runs.
        waiter : object, optional
            Kept in the job.
        wake : bool, default=True
            Whether a worker is to take it. If not, the caller calls `step_here`, or `wake`.

        Returns
        -------
        Job

        Raises
        ------
        QueueFullError, ClosedError
            The rows were not taken.
        """
        key = (rows.shape[1:], rows.dtype)
        job = Job(rows, len(rows), key, self._clock(), deadline, waiter)
        with self._changed:
            if self._closed:
                raise _closed()
            if not self.has_room(job.n):
                raise QueueFullError(
                    f"expected room for {job.n} more, {self.queued_rows} of {self.max_queue} rows wait"
                )
            self._queue.append(job)
            self.queued_rows += job.n
            if wake:
                self._wake()
        return job

    def wake(self) -> None:
        """Let a worker take what waits."""
        with self._changed:
            self._wake()

    def _wake(self) -> None:
        if self.threaded:
            self._start_threads()
            self._changed.notify()

    def step_here(self, most_rows: int) -> list[Job]:
        """Run the next batch on the caller's own thread, if the model is free.

        Parameters
        ----------
        most_rows : int
            No more of them together, unless the first job alone has more.

        Returns
        -------
        list of Job
            Done, and not delivered. Empty if the model is not free, or nothing is due.
        """
        with self._changed:
            if self._closed or self._busy >= self.workers:
                return []
            late, batch, _ = self._pick(most_rows)
            self._busy += 1
        try:
            self._answer(batch)
        finally:
            self._rest()
        return late + batch

    def drop(self, job: Job) -> bool:
        """Take a job out of the queue, and say whether it was still there: then it never runs, and is not delivered."""
        with self._changed:
            if job.state != "queued":
                return False
            self._queue.remove(job)
            self._leave(job, "dropped")
            return True

    def configure(
        self,
        *,
        max_batch_size: int | None = None,
        max_wait_ms: float | None = None,
        max_queue: int | None = None,
        workers: int | None = None,
    ) -> None:
        """Change settings while it runs; None leaves one as it is. Threads too many end after their batch."""
        with self._changed:
            self.max_batch_size = max_batch_size or self.max_batch_size
            self.max_wait_ms = self.max_wait_ms if max_wait_ms is None else max_wait_ms
            self.max_queue = max_queue or self.max_queue
            self.workers = workers or self.workers
            if self.threaded:
                self._start_threads()
            self._changed.notify_all()

    def close(self, timeout_s: float = 5.0) -> bool:
        """Refuse new jobs, fail those that wait with `ClosedError`, and end the threads.

        Returns
        -------
        bool
            Whether every thread ended in time. One that is inside the model cannot be stopped; it ends after its call.
        """
        with self._changed:
            self._closed = True
            left = [self._leave(job, "done", _closed()) for job in self._queue]
            self._queue.clear()
            threads = list(self._threads)
            self._changed.notify_all()
        self._deliver_some(left)
        until = time.monotonic() + timeout_s
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    # -- the side of the workers -------------------------------------------------------------

    def step(self) -> float:
        """Run the next batch on this thread, as a worker does.

        Returns
        -------
        float
            0 if there was something to do, else the seconds to wait for (infinity if nothing is queued).
        """
        with self._changed:
            late, batch, wait = self._pick()
        self._answer(batch)
        self._deliver_some(late + batch)
        return 0.0 if late or batch else wait

    def _answer(self, batch: list[Job]) -> None:
        """Run jobs together, or each alone if that fails."""
        try:
            self._answer_together(batch)
        except BaseException as error:  # whatever a model raises, the thread and the other jobs go on
            if len(batch) == 1:
                batch[0].error = error
            else:
                self._answer_alone(batch)
        for job in batch:
            job.state, job.rows = "done", None

    def _deliver_some(self, jobs: list[Job]) -> None:
        if jobs:
            self._deliver(jobs)

    def _answer_together(self, jobs: list[Job]) -> None:
        if not jobs:
            return
        if len(jobs) == 1:
            jobs[0].outputs = self._run_in_pieces(_rows(jobs[0]))
            return
        outputs = self._run_in_pieces(np.concatenate([_rows(job) for job in jobs]))
        start = 0
        for job in jobs:
            job.outputs = {name: values[start : start + job.n] for name, values in outputs.items()}
            start += job.n

    def _answer_alone(self, jobs: list[Job]) -> None:
        """Run each job by itself: one of them made the model fail, and must harm no other."""
        for job in jobs:
            job.outputs = None
            if _is_late(job, self._clock()):
                job.error = _too_late()
                continue
            try:
                job.outputs = self._run_in_pieces(_rows(job))
            except BaseException as error:
                job.error = error

    def _run_in_pieces(self, rows: Array) -> Outputs:
        size = self.max_batch_size
        parts = [self._timed_run(rows[i : i + size]) for i in range(0, len(rows), size)]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _timed_run(self, rows: Array) -> Outputs:
        start = self._clock()
        outputs = self._run(rows)
        if self._on_batch is not None:
            self._on_batch(len(rows), self._clock() - start)
        return outputs

    def _pick(self, most_rows: int | None = None) -> tuple[list[Job], list[Job], float]:
        """Return what came too late, the next batch, and without one the seconds to wait. The lock is held."""
        now, late = self._clock(), []
        while self._queue and _is_late(self._queue[0], now):
            late.append(self._leave(self._queue.popleft(), "done", _too_late()))
        if not self._queue:
            return late, [], float("inf")
        wait = self._wait_left(now) if self.max_wait_ms else 0.0
        size = min(self.max_batch_size, most_rows or self.max_batch_size)
        return (late, [], wait) if wait > 0 else (late, self._take(now, late, size), 0.0)

    def _take(self, now: float, late: list[Job], size: int) -> list[Job]:
        """Take the first job, and after it those that can be joined to it until one does not fit. The lock is held."""
        queue, key = self._queue, self._queue[0].key
        batch: list[Job] = []
        passed: list[Job] = []
        rows = 0
        while queue and rows < size:
            job = queue[0]
            if _is_late(job, now):
                late.append(self._leave(job, "done", _too_late()))
            elif job.key != key:
                passed.append(job)
            elif batch and rows + job.n > size:
                break
            else:
                batch.append(self._leave(job, "running"))
                rows += job.n
            queue.popleft()
        queue.extendleft(reversed(passed))
        return batch

    def _wait_left(self, now: float) -> float:
        """Return the seconds that the first job may still wait for others. The lock is held."""
        first, rows = self._queue[0], 0
        until = first.queued_at + self.max_wait_ms / 1000
        if first.deadline is not None:  # half of its time stays for the model
            until = min(until, (first.queued_at + first.deadline) / 2)
        for job in self._queue:
            rows += job.n if job.key == first.key else 0
            if rows >= self.max_batch_size:
                return 0.0
        return until - now

    def _leave(self, job: Job, state: State, error: BaseException | None = None) -> Job:
        """Keep the books of a job that leaves the queue. The lock is held."""
        self.queued_rows -= job.n
        job.state, job.error = state, error
        if state != "running":
            job.rows = None
        return job

    # -- the threads -------------------------------------------------------------------------

    def _start_threads(self) -> None:
        """Start a thread for each job that waits, up to `workers`. The lock is held."""
        for _ in range(min(len(self._queue), self.workers - len(self._threads))):
            thread = threading.Thread(target=self._work, name="inferkit-worker", daemon=True)
            self._threads.add(thread)
            thread.start()

    def _work(self) -> None:
        """Take and answer, until the batcher is closed or there are threads too many."""
        while (picked := self._wait_for_work()) is not None:
            late, batch = picked
            try:
                self._answer(batch)
                self._deliver_some(late + batch)
            finally:
                self._rest()
            del picked, late, batch  # an idle thread holds no request

    def _wait_for_work(self) -> tuple[list[Job], list[Job]] | None:
        with self._changed:
            while not self._closed and len(self._threads) <= self.workers:
                late, batch, wait = self._pick() if self._busy < self.workers else ([], [], float("inf"))
                if late or batch:
                    self._busy += 1
                    return late, batch
                self._changed.wait(None if wait == float("inf") else wait)
            self._threads.discard(threading.current_thread())
            return None

    def _rest(self) -> None:
        """Let go of the model; whoever waits for it may have it."""
        with self._changed:
            self._busy -= 1
            if self._queue:
                self._changed.notify()


def _rows(job: Job) -> Array:
    assert job.rows is not None
    return job.rows


def _is_late(job: Job, now: float) -> bool:
    return job.deadline is not None and job.deadline <= now


def _closed() -> ClosedError:
    return ClosedError("the server is shutting down")


def _too_late() -> ExpiredError:
    return ExpiredError("the deadline passed before the model was free")
