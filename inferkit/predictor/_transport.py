"""One request to a server and its whole answer, within one deadline, sent once. It loads urllib3: imported late."""

import socket
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, SSLError
from urllib3.util import Timeout

from ._remote_error import RemoteError, RemoteUnavailableError

LARGEST_ANSWER = 1 << 28
_KEPT = 32  # connections that stay open between requests
_BUSY = (429, 503)


class Answer(NamedTuple):
    """What a server sent, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Connections to one server, kept open, for any number of threads.

    Parameters
    ----------
    scheme : {"http", "https"}
    host : str
    port : int or None
    timeout_s : float
        From asking to having the whole answer, retries included. A server that drips is cut off as well: a limit for
        each read alone would be met by every drop.
    connect_timeout_s : float
    retries : int
        How often a request is sent again, where it was surely not run: nobody took the connection, or the
        server said that it is busy and when to come back. What only reads is sent again in any case.
    headers : dict of str to str
        Sent with every request.
    """

    def __init__(
        self, scheme: str, host: str, port: int | None, *,
        timeout_s: float, connect_timeout_s: float, retries: int, headers: Mapping[str, str],
    ) -> None:  # fmt: skip
        self.timeout_s, self.connect_timeout_s, self.retries = timeout_s, connect_timeout_s, retries
        self._headers = {"accept-encoding": "identity", **headers}
        self.where = f"{scheme}://{host}" + (f":{port}" if port else "")
        self._pool: Any
        if scheme == "https":
            context = ssl.create_default_context()
            context.sslsocket_class = _TimedTls
            self._pool = _TlsPool(host, port, maxsize=_KEPT, ssl_context=context)
        else:
            self._pool = _Pool(host, port, maxsize=_KEPT)

    def close(self) -> None:
        """Close the connections that are open; the next request opens one."""
        self._pool.close()

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request and return the answer, whatever its status.

        Raises
        ------
        RemoteError
            If there is no whole answer in time; a `RemoteUnavailableError` where there may be one later.
        """
        _limit.until = until = time.monotonic() + self.timeout_s
        for left in range(self.retries, -1, -1):
            pause: float | None = 0.1 * 2 ** (self.retries - left)
            failed: HTTPError | None = None
            try:
                answer = self._ask_once(method, path, body, {**self._headers, **(headers or {})})
                pause = _come_back(answer) if answer.status in _BUSY else None
            except HTTPError as error:
                failed = error
                pause = pause if method == "GET" or _was_not_sent(error) else None
            if not left or pause is None or time.monotonic() + pause >= until:
                break
            time.sleep(pause)
        if failed is not None:
            raise self._no_answer(failed) from failed
        return answer

    def _ask_once(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        left = _left()
        response = self._pool.urlopen(
            method, path, body, headers, retries=False, redirect=False, preload_content=False, decode_content=False,
            timeout=Timeout(connect=min(self.connect_timeout_s, left), read=left),
        )  # fmt: skip
        whole = False
        try:
            content = _read(response)
            whole = len(content) <= LARGEST_ANSWER
        finally:
            if not whole:
                response.close()  # what is left of it must not begin the next answer
            response.release_conn()
        if not whole:
            raise RemoteError(f"{self.where}: expected an answer of at most {LARGEST_ANSWER:,} bytes, got more")
        return Answer(response.status, response.headers, content)

    def _no_answer(self, error: HTTPError) -> RemoteError:
        words = str(error).partition(": ")[2] or str(error)  # before it stands the pool's own name
        if isinstance(error, NewConnectionError):  # which is a ConnectTimeoutError as well
            said = f"no server answers there: {words}. Is it running, and is this its address?"
        elif isinstance(error, ConnectTimeoutError):
            said = f"nobody took the connection in {self.connect_timeout_s:g} s: {words}"
        elif time.monotonic() >= _limit.until:
            said = f"expected the whole answer in {self.timeout_s:g} s, it had not come"
        elif isinstance(error, SSLError):
            return RemoteError(f"{self.where}: expected a certificate that can be trusted: {words}")
        else:
            said = f"the connection broke before the whole answer was there: {error}"
        return RemoteUnavailableError(f"{self.where}: {said}")


def _read(response: Any) -> bytes:
    """Return a body, or its beginning if it is too long. urllib3 finds it too short when it reads nothing more."""
    content = bytearray()
    while len(content) <= LARGEST_ANSWER and (part := response.read(LARGEST_ANSWER + 1, decode_content=False)):
        content += part
    return bytes(content)


def _was_not_sent(error: HTTPError) -> bool:
    """Whether a request surely never left: there was no connection to send it through."""
    return isinstance(error, ConnectTimeoutError)


def _come_back(answer: Answer) -> float | None:
    """Return in how many seconds a busy server wants to be asked again; None if it does not say."""
    try:
        seconds = float(answer.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


# -- one deadline for all that a socket does ---------------------------------------------------------

_limit = threading.local()


def _left() -> float:
    """Return the seconds until this thread's deadline, or raise `TimeoutError`."""
    left: float = _limit.until - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


class _Timed:
    """Mixed into a socket: it waits no longer than until its thread's deadline, however often it is read."""

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(_left())  # type: ignore[attr-defined]
        return super().recv_into(*args, **kwargs)  # type: ignore[misc,no-any-return]

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        self.settimeout(_left())  # type: ignore[attr-defined]
        super().sendall(*args, **kwargs)  # type: ignore[misc]

    def send(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(_left())  # type: ignore[attr-defined]
        return super().send(*args, **kwargs)  # type: ignore[misc,no-any-return]


class _TimedSocket(_Timed, socket.socket):
    pass


class _TimedTls(_Timed, ssl.SSLSocket):
    pass


class _Plain(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _timed(super()._new_conn())


class _Tls(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _timed(super()._new_conn())


def _timed(made: socket.socket) -> socket.socket:
    timeout = made.gettimeout()  # it limits a TLS handshake as a whole
    timed = _TimedSocket(made.family, made.type, made.proto, made.detach())
    timed.settimeout(timeout)
    return timed


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Plain


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Tls
