"""The engine on one machine: threads, because the runtimes let go of Python's lock while they compute."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ordered_map(function: Callable[[T], R], tasks: Iterable[T], *, n_workers: int, window: int) -> Iterator[R]:
    """Apply a function to each task on several threads; yield the results in the order of the tasks.

    Parameters
    ----------
    function : callable
    tasks : iterable
        It is read in the caller's thread, never further than `window` tasks ahead of the results.
    n_workers : int
        Threads; with 1 the caller's own.
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
    under_way: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(n_workers, thread_name_prefix="predict_batch")
    try:
        for task in tasks:
            under_way.append(pool.submit(function, task))
            if len(under_way) >= window:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
