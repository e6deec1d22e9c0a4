"""What asks: at given instants whatever became of the queries before, or by clients that each wait for their answer."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from ._client import CONNECTIONS, Answer, Client

Ask = Callable[[int], Awaitable[Answer]]
Stop = Callable[[], bool]
Show = Callable[[int], None]

_SPIN_S = 0.0001  # a sleep wakes late by less than this, as a rule
_NAP_S = 0.05  # so that a wish to stop is seen soon
_CERTAIN_S = 1e-9  # clocks are no finer, and sums of seconds no more exact


@dataclass
class Log:
    """What became of each query, in the order in which their ends came.

    Attributes
    ----------
    rows : list of (float, float, float, str)
        When it was due, was sent and was done, in seconds after the start; and its outcome.
    stopped : {"n", "interrupt"}
        Why it ended.
    trouble : str
        What the first query that failed was told.
    """

    rows: list[tuple[float, float, float, str]] = field(default_factory=list)
    stopped: str = "n"
    trouble: str = ""

    def add(self, due: float, sent: float, answer: Answer, start: float) -> None:
        """Keep what became of one."""
        self.rows.append((due, sent, answer.at_s - start, answer.outcome))
        if answer.outcome == "failed" and not self.trouble:
            self.trouble = answer.words


async def open_loop(ask: Ask, due_s: Sequence[float], log: Log, *, spin_s: float = _SPIN_S) -> None:
    """Ask at each instant, whatever became of the queries before.

    Parameters
    ----------
    ask : callable
        Takes a query's number; its answer comes in any case.
    due_s : sequence of float
        Seconds after the start, in order.
    log : Log
        Takes what became of them. A query is logged when its end has come.
    spin_s : float
        For so long before each instant the clock is looked at, instead of relying on a sleep.
    """
    now = asyncio.get_running_loop().time
    start = now()

    async def one(number: int, due: float) -> None:
        sent = now()
        answer = await ask(number)
        log.add(due, sent - start, answer, start)

    async with asyncio.TaskGroup() as under_way:
        for number, due in enumerate(due_s):
            await _until(start + due, spin_s)
            under_way.create_task(one(number, due))


async def _until(at_s: float, spin_s: float) -> None:
    """Wait for an instant; let others have their turn even if it has passed."""
    now = asyncio.get_running_loop().time
    await asyncio.sleep(max(0.0, at_s - spin_s - now()))
    while now() < at_s - _CERTAIN_S:
        await asyncio.sleep(0)


async def closed_loop(ask: Ask, clients: int, duration_s: float, log: Log) -> None:
    """Let several clients ask, each again as soon as its own query has come to an end, be it a refusal.

    Parameters
    ----------
    ask : callable
        Takes a query's number; its answer comes in any case.
    clients : int
    duration_s : float
        No query is begun so many seconds after the start.
    log : Log
        Takes what became of them.
    """
    now = asyncio.get_running_loop().time
    start, numbers = now(), count()

    async def client() -> None:
        while (begun := now() - start) < duration_s:
            answer = await ask(next(numbers))
            log.add(begun, begun, answer, start)

    async with asyncio.TaskGroup() as together:
        for _ in range(clients):
            together.create_task(client())


async def unless_stopped(work: Coroutine[Any, Any, None], log: Log, stop: Stop, show: Show) -> None:
    """Do some work, and drop it when somebody wants that; what the log holds by then is kept."""
    task = asyncio.ensure_future(work)
    while not task.done():
        await asyncio.wait([task], timeout=_NAP_S)
        show(len(log.rows))
        if stop() and not task.done():
            log.stopped = "interrupt"
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            return
    task.result()


# -- over HTTP --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """What a generator of load is told: plain data, for it may run in another process.

    Attributes
    ----------
    host, port : str, int
    requests : sequence of bytes
        Whole requests, which are sent in turn.
    due_s : sequence of float or None
        When each query comes; None for a closed loop.
    clients : int
        For a closed loop.
    duration_s, timeout_s : float
    connections : int
        The most at once.
    warmup : int
        Queries before the start, one after another. One is always sent: it shows that an answer comes.
    """

    host: str
    port: int
    requests: Sequence[bytes]
    due_s: Sequence[float] | None
    clients: int
    duration_s: float
    timeout_s: float
    warmup: int
    connections: int = CONNECTIONS


@dataclass
class Made:
    """What a generator of load has seen.

    Attributes
    ----------
    log : Log
    first : Answer
        To the very first query, before the run.
    warmup_s : list of float
        Times of the queries before the run.
    opened, waited : int
        Connections made; queries that had to wait for one.
    """

    log: Log
    first: Answer
    warmup_s: list[float]
    opened: int = 0
    waited: int = 0


def generate(job: Job, stop: Stop, show: Show) -> Made:
    """Load a server from this thread; return what was seen.

    Parameters
    ----------
    job : Job
    stop : callable
        Tells whether somebody wants the end.
    show : callable
        Told now and then how many queries have come to their end.

    Returns
    -------
    Made
        With an empty log if the first query came to nothing.
    """
    with asyncio.Runner(loop_factory=_fine_loop) as runner:
        return runner.run(_generate(job, stop, show))


def _fine_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop that wakes to the microsecond: epoll and poll, the usual ones, count in milliseconds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


async def _generate(job: Job, stop: Stop, show: Show) -> Made:
    client = Client(job.host, job.port, connections=job.connections, timeout_s=job.timeout_s)
    requests = job.requests

    def ask(number: int) -> Awaitable[Answer]:
        return client.ask(requests[number % len(requests)])

    log = Log()
    first, times = await _warm_up(ask, job.warmup, stop)
    if works(first):
        work = (
            open_loop(ask, job.due_s, log)
            if job.due_s is not None
            else closed_loop(ask, job.clients, job.duration_s, log)
        )
        await unless_stopped(work, log, stop, show)
    await client.close()
    return Made(log, first, times, client.opened, client.waited)


def works(first: Answer) -> bool:
    """Tell whether it makes sense to go on after a first answer: a refusal may pass, an error will not."""
    return first.outcome in ("answered", "refused", "expired")


async def _warm_up(ask: Ask, warmup: int, stop: Stop) -> tuple[Answer, list[float]]:
    """Ask one by one; return the first answer, and the times of all (none, if none was wanted)."""
    now = asyncio.get_running_loop().time
    begun = now()
    first = await ask(0)
    times = [first.at_s - begun]
    while works(first) and len(times) < warmup and not stop():
        begun = now()
        times.append((await ask(len(times))).at_s - begun)
    return first, times[:warmup]
