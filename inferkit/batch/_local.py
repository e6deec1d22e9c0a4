"""The engine on one machine: threads, because the runtimes let go of Python's lock while they compute."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ordered_map(function: Callable[[T], R], tasks: Iterable[T], *, n_workers: int, window: int) -> Iterator[R]:
    """Apply a function to each task on several threads; yield the results in the order of the tasks.

    The caller's own thread is one of them: a thread that only waited would take a core from those that work, each time
    that it woke up.

    Parameters
    ----------
    function : callable
    tasks : iterable
        It is read in the caller's thread, never further than `window` tasks ahead of the results.
    n_workers : int
        Threads, with the caller's.
    window : int
        How many tasks may be under way at once.

    Yields
    ------
    object
        What `function` returned. What it raised is raised here, and no other task is begun then.

    Examples
    --------
    >>> list(ordered_map(len, ["a", "bcd"], n_workers=2, window=4))
    [1, 3]
    """
    if n_workers == 1:
        yield from map(function, tasks)
        return
    under_way: deque[_Sent[T, R]] = deque()
    pool = ThreadPoolExecutor(n_workers - 1, thread_name_prefix="predict_batch")
    try:
        for task in tasks:
            under_way.append(_Sent(task, pool.submit(function, task)))
            if len(under_way) >= window:
                yield _receive(function, under_way)
        while under_way:
            yield _receive(function, under_way)
    finally:
        pool.shutdown(cancel_futures=True)


class _Sent(Generic[T, R]):
    """A task, and the future of its result: a thread's, or one that the caller's thread has filled."""

    def __init__(self, task: T, future: "Future[R]") -> None:
        self.task, self.future = task, future

    @property
    def has_failed(self) -> bool:
        """Whether it is done and has no result."""
        return self.future.done() and self.future.exception() is not None

    def take(self) -> bool:
        """Take the task back, if no thread has begun it."""
        if not self.future.cancel():
            return False
        self.future = Future()
        return True

    def work(self, function: Callable[[T], R]) -> None:
        """Fill the future. An interrupt too is raised in its turn, so that what was begun before it is not lost."""
        try:
            self.future.set_result(function(self.task))
        except BaseException as error:
            self.future.set_exception(error)


def _receive(function: Callable[[T], R], under_way: "deque[_Sent[T, R]]") -> R:
    """Return the first result; work as long as it is not there, and there is work that nobody has begun."""
    while not under_way[0].future.done() and not any(sent.has_failed for sent in under_way):
        mine = next((sent for sent in under_way if sent.take()), None)
        if mine is None:
            break
        mine.work(function)
    return under_way.popleft().future.result()


_lock = threading.Lock()
_users: list[object] = []
_limits: list[Any] = []


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let NumPy's linear algebra use one thread a call: where several calls run at once, more would take their cores.

    It holds for the whole process, until the last one that asked for it has ended.
    """
    from threadpoolctl import threadpool_limits

    me = object()
    with _lock:
        if not _users:
            _limits.append(threadpool_limits(1, user_api="blas"))
        _users.append(me)
    try:
        yield
    finally:
        with _lock:
            _users.remove(me)
            if not _users:
                _limits.pop().restore_original_limits()
