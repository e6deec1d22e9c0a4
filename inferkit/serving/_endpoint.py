"""The one thing that is asked a thousand times a second: a body comes in, a model answers."""

import asyncio
import logging
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

from .._base import InputError
from ._codecs import Reader
from ._http import (
    Headers,
    Held,
    LeftError,
    Receive,
    Refusal,
    Room,
    Scope,
    Send,
    answer,
    header,
    read_body,
    refuse,
    unpack,
)
from ._metrics import Outcome, outcome_of
from ._model import ServedModel

T = TypeVar("T")

OFF_LOOP_BYTES = 128 * 1024  # from here on reading a body takes milliseconds, in which nobody else would be heard
_AT_ONCE = 2
_log = logging.getLogger("inferkit.serving")


class Endpoint:
    """An ASGI application that answers the POST requests to one model.

    Parameters
    ----------
    model : ServedModel
    read : callable
        From the model, the request's scope and its body to an `Ask`.
    room : Room
        That of all bodies of the server.
    """

    def __init__(self, model: ServedModel, read: Reader, room: Room) -> None:
        self.model, self._read, self._room = model, read, room
        self._large = asyncio.Semaphore(_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or say why not, and count it."""
        metrics = self.model.metrics
        arrived = monotonic()
        outcome: Outcome = "left"
        metrics.in_flight += 1
        try:
            body, headers = await self._answer(scope, receive, arrived)
            await answer(send, body, headers=headers)
            outcome = "answered"
        except LeftError:
            pass
        except Exception as error:
            refusal = _as_refusal(error)
            outcome = outcome_of(refusal.status)
            await refuse(send, refusal)
        finally:
            metrics.ended(outcome, monotonic() - arrived)
            metrics.in_flight -= 1  # whoever sees none in flight sees all of them counted

    async def _answer(self, scope: Scope, receive: Receive, arrived: float) -> tuple[bytes, Headers]:
        self.model.refuse_if_full()
        max_bytes = self.model.settings.max_body_bytes
        held = Held(self._room)
        try:
            body = await read_body(scope, receive, max_bytes, held)
            size = len(body) if header(scope, b"content-encoding") is None else OFF_LOOP_BYTES
            ask = await self._off_loop_if(size, lambda: self._read(self.model, scope, unpack(scope, body, max_bytes)))
        except InputError as error:
            raise Refusal(400, str(error)) from error
        finally:
            held.release()
        outputs = await self.model.ask(ask.rows, self.model.deadline(arrived, ask.asked_ms), receive)
        return await self._off_loop_if(sum(values.nbytes for values in outputs.values()), lambda: ask.write(outputs))

    async def _off_loop_if(self, size: int, work: Callable[[], T]) -> T:
        """Do quick work at once, long work on a thread; not more of it at once than that it stays bounded."""
        if size < OFF_LOOP_BYTES:
            return work()
        async with self._large:
            return await asyncio.to_thread(work)


def _as_refusal(error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    _log.error("a request failed", exc_info=error)
    return Refusal(500, f"the server raised {type(error).__name__}; its log says more")
