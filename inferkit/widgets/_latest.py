"""Work on the newest of what comes in. What is overtaken before its turn is never worked on."""

from collections.abc import Callable
from logging import getLogger
from threading import Condition, Thread
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Latest(Generic[Item]):
    """Call a function with the newest item handed in: one call at a time, on a thread of its own.

    At most one item waits, and a newer one takes its place, so nothing ever queues up. The thread
    lives only while there is work: a widget that nobody touches any more holds none.

    Parameters
    ----------
    work : callable
        Is given an item. What it raises is logged, and the next item has its turn.
    name : str
        Name of the thread.

    Examples
    --------
    >>> seen = []
    >>> latest = Latest(seen.append, name="example")
    >>> latest.wait(latest.put("a"))
    True
    >>> seen
    ['a']
    """

    def __init__(self, work: Callable[[Item], None], *, name: str) -> None:
        self._work = work
        self._name = name
        self._changed = Condition()  # guards what follows
        self._waiting: tuple[int, Item] | None = None
        self._given = 0
        self._done = 0
        self._runs = False
        self._stopped = False

    def put(self, item: Item) -> int:
        """Hand an item in, in place of the one that waits. Returns at once, with a ticket for `wait`."""
        with self._changed:
            self._given += 1
            if not self._stopped:
                self._waiting = (self._given, item)
                self._start()
            return self._given

    def wait(self, ticket: int, timeout_s: float | None = None) -> bool:
        """Wait until the item of a ticket, or a newer one, is done. False if the time is up, or all was stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._done >= ticket or self._stopped, timeout_s)
            return self._done >= ticket

    def stop(self) -> None:
        """Drop what waits and take nothing any more. A call under way ends in its own time, and the thread with it."""
        with self._changed:
            self._stopped, self._waiting = True, None
            self._changed.notify_all()

    def _start(self) -> None:
        if not self._runs:
            Thread(target=self._run, name=self._name, daemon=True).start()
            self._runs = True  # only now: a thread that could not be started does not run

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            ticket, item = taken
            try:
                self._work(item)
            except BaseException:  # a thread has nobody to raise to, and the next item may fare better
                getLogger(__name__).exception("%s failed", self._name)
            with self._changed:
                self._done = ticket
                self._changed.notify_all()

    def _take(self) -> tuple[int, Item] | None:
        with self._changed:
            taken, self._waiting = self._waiting, None
            self._runs = taken is not None
            return taken
