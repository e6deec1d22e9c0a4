"""The few lines of HTTP that an endpoint needs: read a body within limits, answer in JSON."""

import hmac
import json
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

JSON: Headers = [(b"content-type", b"application/json")]
RETRY: Headers = [(b"retry-after", b"1")]
_WINDOW = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}


class Refusal(Exception):
    """An answer that says no: a status and the reason, in words for the caller."""

    def __init__(self, status: int, reason: str, headers: Headers | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, headers or []


class LeftError(Exception):
    """The client has gone; nobody waits for an answer."""


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return the value of a request's header, or None."""
    headers: Headers = scope["headers"]
    for key, value in headers:
        if key == name:
            return value
    return None


class Room:
    """Bytes of bodies that a server holds at once, so that many large ones don't fill its memory."""

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0


class Held:
    """The bytes that one request holds of a `Room`."""

    def __init__(self, room: Room) -> None:
        self._room, self._size = room, 0

    def take(self, size: int) -> None:
        """Take so many bytes more, or raise the refusal of a request that there is no room for."""
        if self._room.used + size > self._room.limit:
            raise Refusal(503, "the server holds as many large requests as it can; try again later", RETRY)
        self._room.used += size
        self._size += size

    def release(self) -> None:
        """Give back what was taken."""
        self._room.used -= self._size
        self._size = 0


async def read_body(scope: Scope, receive: Receive, max_bytes: int, held: Held) -> bytes:
    """Return a request's body as it was sent; refuse one that is too large before it is read.

    Raises
    ------
    Refusal
        413 if it is larger than `max_bytes`, announced or not; 503 if there is no room for it now.
    LeftError
        If the client went before it had sent all of it.
    """
    announced = header(scope, b"content-length") or b"0"
    if len(announced) > 18 or (announced.isdigit() and int(announced) > max_bytes):
        raise _too_large(max_bytes, shown(announced))
    body = bytearray()
    while (message := await receive())["type"] == "http.request":
        part: bytes = message.get("body", b"")
        if len(body) + len(part) > max_bytes:
            raise _too_large(max_bytes, "more")
        held.take(len(part))
        if not message.get("more_body"):
            return bytes(body + part) if body else part
        body += part
    raise LeftError


def _too_large(max_bytes: int, got: str) -> Refusal:
    return Refusal(413, f"body: expected at most {max_bytes:,} bytes, got {got}; send fewer rows at once")


def unpack(scope: Scope, body: bytes, max_bytes: int) -> bytes:
    """Return what a compressed body holds, never more than `max_bytes` of it.

    Raises
    ------
    Refusal
        415 for another compression than gzip and deflate, 413 if it unpacks to too much, 400 if it is damaged.
    """
    encoding = header(scope, b"content-encoding")
    if encoding is None or encoding == b"identity":
        return body
    window = _WINDOW.get(encoding.strip().lower())
    if window is None:
        reason = f"Content-Encoding: expected gzip, deflate or none, got {shown(encoding)}"
        raise Refusal(415, reason, [(b"accept-encoding", b"gzip, deflate")])
    unpacker = zlib.decompressobj(window)
    try:
        content = unpacker.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise Refusal(
            400, f"body: expected {encoding.decode()} data, got bytes that do not unpack ({error})"
        ) from error
    if len(content) > max_bytes:
        raise _too_large(max_bytes, "more when unpacked")
    if not unpacker.eof or unpacker.unused_data:
        raise Refusal(400, f"body: expected {encoding.decode()} data from its head to its end, got a part or more")
    return content


def shown(value: bytes) -> str:
    """Return what a client sent, short and harmless, for an error's words."""
    return repr(value[:60].decode("latin-1"))


def has_token(scope: Scope, token: str) -> bool:
    """Return whether a request brings the token; it takes as long whatever it brings."""
    kind, _, given = (header(scope, b"authorization") or b"").partition(b" ")
    return hmac.compare_digest(given.strip(), token.encode()) and kind.lower() == b"bearer"


async def answer(send: Send, body: bytes, *, status: int = 200, headers: Headers = JSON) -> None:
    """Send a whole answer; `headers` say what it is."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


async def refuse(send: Send, refusal: Refusal) -> None:
    """Send the reason of a refusal."""
    await answer(send, reason_body(refusal.reason), status=refusal.status, headers=JSON + refusal.headers)


def reason_body(reason: str) -> bytes:
    """Return the body of every answer that says no."""
    return json.dumps({"error": reason}).encode()
