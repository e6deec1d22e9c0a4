"""A small HTTP/1.1 client for load: connections kept open, errors told apart, instants taken where they happen."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .._base import InputError, require

CONNECTIONS = 500
"""The most connections at once: below what `select` can watch, whose clock is finer than its successors'."""

_OUTCOMES = {503: "refused", 429: "refused", 504: "expired"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query came to.

    Attributes
    ----------
    outcome : str
        One of `inferkit.benchmark.OUTCOMES`; the client knows no deadline, so never "late".
    at_s : float
        When, by the event loop's clock.
    status : int
        The status; 0 if none came.
    headers : dict of str to str
        Names in lower case.
    body : bytes
        What came, or the reason why nothing did.
    """

    outcome: str
    at_s: float
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def words(self) -> str:
        """Status and body, or the reason why there are none, in one short line."""
        said = " ".join(self.body[:300].decode(errors="replace").split())
        return f"{self.status}: {said}" if self.status else said


def host_of(url: str) -> tuple[str, int, str]:
    """Return host, port and path of an ``http://`` address, or raise.

    Examples
    --------
    >>> host_of("http://127.0.0.1:8080/predict"), host_of("http://example.org")
    (('127.0.0.1', 8080, '/predict'), ('example.org', 80, ''))
    """
    advice = "expected an address such as 'http://127.0.0.1:8080'"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InputError(f"url: {advice}, got {url!r} ({error})") from None
    if parts.scheme != "http" or not host:
        raise InputError(f"url: {advice}, got {url!r}; the load generator speaks plain HTTP, without TLS")
    return host, port or 80, parts.path + (f"?{parts.query}" if parts.query else "")


def request_bytes(url: str, body: bytes | None, headers: Mapping[str, str] | None = None) -> bytes:
    r"""Return a whole request: a POST of `body`, or a GET if there is none.

    Parameters
    ----------
    url : str
    body : bytes or None
    headers : mapping of str to str, optional
        Beyond ``Host`` and ``Content-Length``.

    Returns
    -------
    bytes

    Raises
    ------
    InputError
        If a header would break the line that it stands on.

    Examples
    --------
    >>> request_bytes("http://here:80/v2", None)
    b'GET /v2 HTTP/1.1\r\nHost: here:80\r\n\r\n'
    """
    host, port, path = host_of(url)
    shown = f"[{host}]" if ":" in host else host
    lines = [f"{'GET' if body is None else 'POST'} {path or '/'} HTTP/1.1", f"Host: {shown}:{port}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    lines += [] if body is None else [f"Content-Length: {len(body)}"]
    if any("\r" in line or "\n" in line for line in lines):
        raise InputError(f"headers: expected no line breaks in names, values and path, got {dict(headers or {})}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


class Client:
    """Asks one server, over as many connections as there are queries under way, and no more.

    Parameters
    ----------
    host : str
    port : int
    connections : int
        The most at once; further queries wait in line for one.
    timeout_s : float
        How long a query may take, its wait for a connection included.
    """

    def __init__(self, host: str, port: int, *, connections: int = CONNECTIONS, timeout_s: float = 10.0) -> None:
        self._httptools = require("httptools", extra="serve")
        self._address = host, port
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(connections)
        self._idle: list[_Connection] = []
        self.opened = 0
        """Connections made so far."""
        self.waited = 0
        """Queries that had to wait for a connection."""

    async def ask(self, request: bytes) -> Answer:
        """Send a request, and return what came of it: an `Answer` in any case, never an error."""
        try:
            async with asyncio.timeout(self._timeout_s):
                self.waited += self._slots.locked()
                async with self._slots:
                    return await self._ask(request)
        except TimeoutError:
            return self._without_answer("timeout", "no answer in the time allowed")
        except ConnectionRefusedError as error:
            return self._without_answer("unreachable", str(error))
        except OSError as error:
            return self._without_answer("closed", str(error) or type(error).__name__)
        except (self._httptools.HttpParserError, self._httptools.HttpParserUpgrade) as error:
            return self._without_answer("failed", f"the answer is no HTTP: {error}")

    def _without_answer(self, outcome: str, reason: str) -> Answer:
        return Answer(outcome, asyncio.get_running_loop().time(), body=reason.encode())

    async def _ask(self, request: bytes) -> Answer:
        connection = self._take_idle() or await self._open()
        answer = await connection.ask(request)
        if connection.is_open:
            self._idle.append(connection)
        return answer

    def _take_idle(self) -> "_Connection | None":
        """Return the connection that was used last, so that those in surplus stay idle; None if there is none."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None

    async def _open(self) -> "_Connection":
        loop, (host, port) = asyncio.get_running_loop(), self._address
        connection: _Connection
        _, connection = await loop.create_connection(lambda: _Connection(self._httptools), host, port)
        self.opened += 1
        return connection

    async def close(self) -> None:
        """Close the idle connections, and wait until they are."""
        closing, self._idle = self._idle, []
        for connection in closing:
            connection.close()
        await asyncio.gather(*(connection.gone for connection in closing))


class _Connection(asyncio.Protocol):
    """One connection: one query at a time."""

    def __init__(self, httptools: Any) -> None:
        loop = asyncio.get_running_loop()
        self._now = loop.time
        self._make_future = loop.create_future
        self._parser = httptools.HttpResponseParser(self)
        self._wrong = httptools.HttpParserError, httptools.HttpParserUpgrade
        self._answer: asyncio.Future[Answer] | None = None
        self.gone: asyncio.Future[None] = loop.create_future()
        self.is_open = False
        self._begin()

    def _begin(self) -> None:
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

    async def ask(self, request: bytes) -> Answer:
        """Send a request; return its answer, or raise what came instead."""
        if not self.is_open:  # the server hung up between the handshake and here
            raise ConnectionResetError("the server closed the connection before it was asked")
        self._answer = self._make_future()
        self._transport.write(request)
        try:
            return await self._answer
        except BaseException:  # a query given up leaves an answer behind that nobody must mistake for the next
            self.close()
            raise
        finally:
            self._answer = None

    def close(self) -> None:
        """Close at once."""
        self.is_open = False
        self._transport.abort()

    # -- what asyncio calls ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        """Hand bytes to the parser; an idle connection expects none."""
        if self._answer is None:
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except self._wrong as error:
            self._fail(error)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever waits."""
        self.is_open = False
        self._fail(error or ConnectionResetError("the server closed the connection without an answer"))
        if not self.gone.done():
            self.gone.set_result(None)

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    # -- what the parser calls ---------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Hand the answer over, with its instant; an interim one (1xx) is not the answer."""
        status = self._parser.get_status_code()
        headers, body = self._headers, b"".join(self._body)
        self._begin()
        if status < 200:
            return
        if self._answer is None or self._answer.done() or not self._parser.should_keep_alive():
            self.close()
        if self._answer is None or self._answer.done():  # an answer too many
            return
        outcome = "answered" if status < 300 else _OUTCOMES.get(status, "failed")
        self._answer.set_result(Answer(outcome, self._now(), status, headers, body))
