"""The thread in which uvicorn runs an application, from the first tick to the last. Imported late: it loads uvicorn."""

import asyncio
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import uvicorn

from ._limits import limited_protocol

if TYPE_CHECKING:
    from ._web import ServingApp

_TICK_S = 1.0
_ENDING_S = 1.0  # for what follows the deadline: cancelled requests, closed connections


class Life:
    """A thread with an event loop in which uvicorn answers until it is told to stop.

    Parameters
    ----------
    app : ServingApp
    listener : socket.socket
        Listens already; closed at the end.
    """

    def __init__(self, app: "ServingApp", listener: socket.socket) -> None:
        self._app, self._listener = app, listener
        self._uvicorn = _Uvicorn(app)
        self._thread = threading.Thread(
            target=self._run, name=f"inferkit-server-{listener.getsockname()[1]}", daemon=True
        )
        self._error: BaseException | None = None
        self._stopping = threading.Lock()
        self._clean: bool | None = None

    @property
    def is_running(self) -> bool:
        """Whether it answers."""
        return self._thread.is_alive() and self._uvicorn.ready.is_set() and self._clean is None

    def start(self, timeout_s: float) -> None:
        """Start the thread; return when it answers, or raise what kept it from that."""
        self._thread.start()
        try:
            if not self._uvicorn.ready.wait(timeout_s) or self._error is not None:
                raise RuntimeError("the server did not start; the log of uvicorn says more") from self._error
        except BaseException:  # an interrupt as well: nothing must stay behind it
            self.stop(0.0)
            raise

    def stop(self, timeout_s: float) -> bool:
        """Stop as `Server.stop` says; called twice, the second call returns what the first did."""
        with self._stopping:
            if self._clean is None:
                until = time.monotonic() + timeout_s
                self._uvicorn.end(until)
                self._thread.join(timeout_s + _ENDING_S)
                ended = self._app.close(max(0.0, until - time.monotonic()))
                self._clean = self._uvicorn.drained and ended and not self._thread.is_alive()
            return self._clean

    def _run(self) -> None:
        try:
            self._uvicorn.run(sockets=[self._listener])
        except BaseException as error:  # `start` raises it where somebody sees it
            self._error = error
        finally:
            self._listener.close()
            self._uvicorn.ready.set()


class _Uvicorn(uvicorn.Server):
    """Uvicorn, stopped from another thread, within a time that covers all of it."""

    def __init__(self, app: "ServingApp") -> None:
        super().__init__(_config(app))
        self._app = app
        self.ready = threading.Event()
        self.drained = True
        self._until = float("inf")
        self._loop: asyncio.AbstractEventLoop | None = None

    def end(self, until: float) -> None:
        """Begin to stop; all is over by `until`, in seconds of the monotonic clock."""
        self._until, self.should_exit = until, True
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._wake.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell so."""
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        """Tick until told to stop; then refuse what is new, and finish what was accepted."""
        ticks = 0
        while not await self.on_tick(ticks):
            ticks += 10  # with each tenth uvicorn writes the date anew
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _TICK_S)
        self.drained = await self._app.drain(self._left())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the port and the connections, by force where time is up."""
        self.config.timeout_graceful_shutdown = self._left()  # type: ignore[assignment]  # a float does as well
        connections: list[Any] = list(self.server_state.connections)
        await super().shutdown(sockets)
        for connection in connections:
            if connection.transport is not None and connection in self.server_state.connections:
                connection.transport.abort()
        await asyncio.sleep(0)

    def _left(self) -> float:
        return max(0.0, self._until - time.monotonic())


def _config(app: "ServingApp") -> uvicorn.Config:
    return uvicorn.Config(
        app, http=limited_protocol(app.settings), ws="none", interface="asgi3",
        lifespan="off",  # `Life` does what the lifespan would
        log_config=None, access_log=False, proxy_headers=False, server_header=False, timeout_keep_alive=30,
    )  # fmt: skip
