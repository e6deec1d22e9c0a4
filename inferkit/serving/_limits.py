"""How long a client may take, how many may be connected, and who goes first when there are too many.

An ASGI application sees a request when its head is there; what comes before only the server's protocol sees. This
one is uvicorn's, with a watch over its connections. It loads uvicorn, and so is imported late.
"""

import asyncio
from http import HTTPStatus
from time import monotonic
from typing import Any, ClassVar, Literal

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ._http import reason_body
from ._settings import Settings

MAX_HEAD_BYTES = 64 * 1024
LINGER_S = 2.0  # so long a body is read on that was refused already: whoever still sends it would not see the answer
_MAX_PIPELINED = 16
_SWEEPS = 8  # in the time of the shortest limit

State = Literal["idle", "head", "body", "busy"]


class Watch:
    """The connections of one server, and the clock that looks at them.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.connections: set[GuardedProtocol] = set()
        self.unfinished: dict[GuardedProtocol, None] = {}  # those that sent a part of a request, the oldest first
        self.idle: dict[GuardedProtocol, None] = {}  # those that sent nothing since their last answer
        self._shortest = min(settings.header_timeout_s, settings.body_timeout_s, LINGER_S)
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, connection: "GuardedProtocol") -> bool:
        """Take a connection in; close another one if there are too many; say whether there is a place."""
        if len(self.connections) >= self.settings.max_connections:
            longest = next(iter(self.unfinished), None) or next(iter(self.idle), None)
            if longest is None:
                return False
            longest.end(408, "expected the request sooner: others wait for this connection")
            self.leave(longest)  # its loss is told later, and its place is wanted now
        self.connections.add(connection)
        if self._timer is None:
            self._sweep_later()
        return True

    def leave(self, connection: "GuardedProtocol") -> None:
        """Forget a connection."""
        self.connections.discard(connection)
        self.sort(connection, "busy")
        if not self.connections and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def sort(self, connection: "GuardedProtocol", state: State) -> None:
        """Put a connection where `enter` looks for those that may be closed; later in its state means later closed."""
        self.unfinished.pop(connection, None)
        self.idle.pop(connection, None)
        if state == "idle":
            self.idle[connection] = None
        elif state != "busy":
            self.unfinished[connection] = None

    def _sweep_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._shortest / _SWEEPS, self._sweep)

    def _sweep(self) -> None:
        now = monotonic()
        for connection in list(self.connections):
            connection.check_time(now)
        self._sweep_later()


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with limits to the time and the size of a request's head and to the time of its body.

    It sends the head and the body of an answer in one piece.
    """

    watch: ClassVar[Watch]

    def connection_made(self, transport: Any) -> None:
        """Begin the time of the first request's head, or refuse the connection."""
        super().connection_made(Joined(transport))  # type: ignore[arg-type]
        self.state: State = "head"
        self.since = monotonic()
        self.size = 0  # bytes of the head, or of the body, as they came
        self.is_closing_since: float | None = None
        self.cannot_write_since: float | None = None
        if self.watch.enter(self):
            self.watch.sort(self, "head")
        else:
            self.end(503, "expected fewer connections; try again later", retry=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self.watch.leave(self)
        super().connection_lost(exc)

    # -- what comes in -----------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Read on, unless the head or the body is larger than any may be."""
        if self.state == "idle":
            self._turn("head")  # from the first byte on, be it one that begins no request
        before, since = self.state, self.since
        super().data_received(data)
        if self.state != before or self.since != since or self.state == "busy" or self.transport.is_closing():
            return
        self.size += len(data)
        if self.state == "head" and self.size > MAX_HEAD_BYTES:
            self.end(431, f"expected at most {MAX_HEAD_BYTES:,} bytes before the body, got more")
        elif self.state == "body" and self.size > 2 * self.watch.settings.max_body_bytes + MAX_HEAD_BYTES:
            self.end(413, f"body: expected at most {self.watch.settings.max_body_bytes:,} bytes, got more")

    def on_message_begin(self) -> None:
        """Begin the time of a head, if it is not the first, whose time began with the connection."""
        super().on_message_begin()
        if self.state != "head":
            self._turn("head")

    def on_headers_complete(self) -> None:
        """Begin the time of the body."""
        if len(self.pipeline) >= _MAX_PIPELINED:
            raise ValueError("too many requests before the first answer")
        super().on_headers_complete()
        self._turn("body")

    def on_message_complete(self) -> None:
        """End the time of the body."""
        self._turn("idle" if self._is_answered() else "busy")
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Begin the time between two requests, if the request was read to its end."""
        self.transport.flush()  # type: ignore[attr-defined]
        super().on_response_complete()
        if self.state == "busy" and self._is_answered():
            self._turn("idle")
        elif self.state == "body":
            self.since = monotonic()  # a refused body has `LINGER_S` from here

    def _turn(self, state: State) -> None:
        self.state, self.since, self.size = state, monotonic(), 0
        self.watch.sort(self, state)

    def _is_answered(self) -> bool:
        return self.cycle is None or (self.cycle.response_complete and not self.pipeline)

    # -- what goes out -----------------------------------------------------------------------

    def pause_writing(self) -> None:
        """Begin the time in which the client must take in what was sent."""
        self.cannot_write_since = monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        """End that time."""
        self.cannot_write_since = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Say that this was no HTTP."""
        self.end(400, "expected a request in HTTP/1.1, got something else")

    # -- the end -----------------------------------------------------------------------------

    def check_time(self, now: float) -> None:
        """Close the connection if its client takes too long."""
        settings = self.watch.settings
        stuck = self.is_closing_since if self.transport.is_closing() else self.cannot_write_since
        if self.transport.is_closing() and stuck is None:
            self.is_closing_since = now
        elif stuck is not None and now - stuck > settings.body_timeout_s:
            self.transport.abort()
        elif self.flow.read_paused:
            self.since = now  # it is we who do not read
        elif self.state == "head" and now - self.since > settings.header_timeout_s:
            self.end(408, f"expected the head of a request within {settings.header_timeout_s:g} s")
        elif self.state == "body":
            limit = LINGER_S if self.cycle.response_complete else settings.body_timeout_s
            if now - self.since > limit:
                self.end(408, f"expected the body within {limit:g} s")
        elif self.state == "idle" and now - self.since > self.timeout_keep_alive + 1:
            self.transport.close()  # uvicorn's own timer does not see to a connection whose request was refused early

    def end(self, status: int, reason: str, *, retry: bool = False) -> None:
        """Close the connection; say why, if something was asked and no answer is under way."""
        was_asked = self.state in ("head", "body") and (self.size or self.cycle is not None or retry)
        if (was_asked or status == 400) and not self._answer_is_under_way():
            self.transport.write(_raw_answer(status, reason, retry=retry))
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def _answer_is_under_way(self) -> bool:
        cycle = self.cycle
        if cycle is None or (self.state == "head" and self._is_answered()):
            return False  # a new request, of which the application knows nothing
        return bool(cycle.response_started or self.pipeline or self.state != "body")


class Joined:
    """A transport that holds back the head of an answer until its body comes: one packet, and one call, instead of two.

    Parameters
    ----------
    transport : asyncio.Transport
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send bytes, or keep them if they are the head of an answer."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1.1 ") and data.endswith(b"\r\n\r\n") and not data.startswith(b"HTTP/1.1 1"):
            self._head = data
            return
        self._transport.write(data)

    def flush(self) -> None:
        """Send what was kept: the head of an answer without a body."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        """Send what was kept, and close."""
        self.flush()
        self._transport.close()


def _raw_answer(status: int, reason: str, *, retry: bool) -> bytes:
    body = reason_body(reason)
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\nconnection: close\r\n"
    later = "retry-after: 1\r\n" if retry else ""
    return f"{head}{later}content-length: {len(body)}\r\n\r\n".encode() + body


def limited_protocol(settings: Settings) -> type[GuardedProtocol]:
    """Return a protocol for one uvicorn server: ``uvicorn.Config(app, http=limited_protocol(settings))``."""
    return type("LimitedProtocol", (GuardedProtocol,), {"watch": Watch(settings)})
