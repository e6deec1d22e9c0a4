"""The process that makes traffic: queries at random instants, at a rate that may change, whatever becomes of them."""

import asyncio
import gc
import os
import pickle
import random
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._client import Answer, Client
from ._load_engine import _fine_loop
from ._traffic_window import FAILED, Window

MOST_UNDER_WAY = 2000
BEHIND_S = 0.25  # what leaves later than this would tell of the traffic, not of the server
_ASLEEP_S = 5.0  # a longer gap is that of a machine that was suspended
_NAP_S = 0.05  # so that a wish is seen soon
_GRACE_S = 2.0


@dataclass(frozen=True)
class Task:
    """What a process that makes traffic is told first.

    Attributes
    ----------
    host, port : str, int
    requests : sequence of bytes
        Whole requests, which are sent in turn.
    rate : float
        Queries a second, on average.
    seed : int
    deadline_s, rest_after_s : float or None
    window_s, timeout_s : float
    needed : mapping of int to int
        Percentiles to state, and how many answers it takes to state each.
    """

    host: str
    port: int
    requests: Sequence[bytes]
    rate: float
    seed: int
    deadline_s: float | None
    rest_after_s: float | None
    window_s: float
    timeout_s: float
    needed: Mapping[int, int]


class Flow:
    """Ask at the instants of a Poisson process, whatever became of the queries before.

    Parameters
    ----------
    task : Task
    ask : callable
        Takes a request; its answer comes in any case.
    now : callable
        Returns seconds: the running event loop's clock.
    """

    def __init__(self, task: Task, ask: Callable[[bytes], Awaitable[Answer]], now: Callable[[], float]) -> None:
        self._task, self._ask, self._now = task, ask, now
        self._draw = random.Random(task.seed).expovariate
        self._rate = task.rate
        self._version = self._sent = 0
        self._seen = now()
        self._under_way: set[asyncio.Task[None]] = set()
        self._trouble = ""
        self.window = Window(task.window_s, task.needed, now())

    def set_rate(self, rate: float) -> None:
        """Change the rate; 0 pauses."""
        self._rate = rate
        self._version += 1

    def snapshot(self) -> dict[str, Any]:
        """Return what was seen in the last seconds. Whoever asks is looking, and so the traffic goes on."""
        now = self._now()
        self._seen = now
        stats = self.window.stats(now)
        trouble = self._trouble if stats["failed_per_s"] else ""
        return {"rate": self._rate, "trouble": trouble, **stats, "history": self.window.history(now)}

    async def run(self) -> None:
        """Ask until cancelled."""
        due = self._now()
        while True:
            if self._rests():
                await asyncio.sleep(_NAP_S)
                due = self._now()
                continue
            due += self._draw(self._rate)
            if not await self._until(due) or self._now() - due > _ASLEEP_S:
                due = self._now()  # a Poisson process has no memory: from here it is the new one's
                continue
            self._begin(due)

    def _rests(self) -> bool:
        rest_after = self._task.rest_after_s
        return not self._rate or (rest_after is not None and self._now() - self._seen > rest_after)

    async def _until(self, due: float) -> bool:
        """Wait for an instant. False if the rate has changed meanwhile, or nobody looks any more."""
        version = self._version
        await asyncio.sleep(min(_NAP_S, max(0.0, due - self._now())))  # others have their turn, however late it is
        while (left := due - self._now()) > 0 and version == self._version:
            await asyncio.sleep(min(_NAP_S, left))
        return version == self._version and not self._rests()

    def _begin(self, due: float) -> None:
        now = self._now()
        if now - due > BEHIND_S or len(self._under_way) >= MOST_UNDER_WAY:
            self.window.unsent(now)
            return
        self.window.came(now, lateness_s=now - due)
        query = asyncio.get_running_loop().create_task(self._one(due))
        self._under_way.add(query)
        query.add_done_callback(self._under_way.discard)

    async def _one(self, due: float) -> None:
        requests, deadline_s = self._task.requests, self._task.deadline_s
        self._sent += 1
        answer = await self._ask(requests[(self._sent - 1) % len(requests)])
        took, outcome = answer.at_s - due, answer.outcome
        if outcome == "answered" and deadline_s is not None and took > deadline_s:
            outcome = "late"
        if outcome in FAILED:
            self._trouble = answer.words
        self.window.ended(self._now(), outcome, time_s=took)


def main() -> None:
    """Make the traffic that standard input asks for, and end with it."""
    tell, told = os.fdopen(os.dup(1), "wb"), sys.stdin.buffer
    os.dup2(2, 1)  # whatever else writes to standard output goes to standard error
    task = pickle.load(told)
    with asyncio.Runner(loop_factory=_fine_loop) as runner:
        runner.run(_serve(task, told, tell))


async def _serve(task: Task, told: Any, tell: Any) -> None:
    loop = asyncio.get_running_loop()
    client = Client(task.host, task.port, timeout_s=task.timeout_s)
    flow = Flow(task, client.ask, loop.time)
    running = asyncio.ensure_future(flow.run())

    def take(message: dict[str, Any]) -> None:
        if "rate" in message:
            flow.set_rate(message["rate"])
        if "snapshot" in message:
            pickle.dump(flow.snapshot(), tell)
            tell.flush()

    threading.Thread(target=_listen, args=(told, loop, take, running.cancel), daemon=True).start()
    gc.collect()
    gc.freeze()  # so that no later collection looks through what was imported
    await asyncio.wait([running])


def _listen(told: Any, loop: asyncio.AbstractEventLoop, take: Callable[[Any], None], stop: Callable[[], Any]) -> None:
    """Hand on what the parent wants; when it is gone, end this process."""
    try:
        while True:
            loop.call_soon_threadsafe(take, pickle.load(told))
    except (EOFError, pickle.UnpicklingError):
        loop.call_soon_threadsafe(stop)
    time.sleep(_GRACE_S)
    os._exit(1)  # only if the loop hangs
