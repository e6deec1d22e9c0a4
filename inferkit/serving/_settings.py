"""What a server is told: how it batches, how long it waits, how much it takes."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import isfinite
from typing import Any

from .._base import InputError


@dataclass(frozen=True)
class Settings:
    """How a server batches, and the limits that it keeps.

    Parameters
    ----------
    max_batch_size : int, default=64
        Rows that one call of a model gets at most. A larger request is answered in several calls.
    max_wait_ms : float, default=0
        How long a model that has nothing to do waits for more rows than it has. With 0 it never
        waits: a batch is what has queued up while the model was busy.
    max_queue : int, default=1024
        Rows that may wait for one model. Above it requests are refused with 503. One request that
        is larger than that is taken when nothing else waits.
    deadline_ms : float or None, default=30_000
        From a request's arrival to its answer. What has not begun by then never runs; the answer
        is 504 either way. A request may ask for less. None sets no deadline.
    workers : int, default=1
        Calls of one model that may run side by side, each on a thread of its own. A request of a few rows that is
        alone is answered on the server's thread, if the model is compiled (LiteRT, ONNX, a posterior), the steps
        are this package's own, and its last call took less than 0.2 ms: to hand it over would take as long.
    max_body_bytes : int, default=16 MiB
        Size of a request's body, and of what it unpacks to if it is compressed.
    max_connections : int, default=512
        Connections open at once. One more, and the one that kept the server waiting longest is
        closed; if all are waiting for answers, the new one is refused with 503.
    header_timeout_s, body_timeout_s : float, default=5 and 10
        What a client may take to send the head of a request, and its body; and, again the time of a
        body, to take in an answer.
    token : str, optional
        Requests must bring it as ``Authorization: Bearer <token>``, but for those after the
        server's health. Without one, whoever reaches the port may ask.

    Raises
    ------
    InputError
        If one of them is not what it says here.

    Examples
    --------
    >>> Settings(max_batch_size=8).max_batch_size
    8
    """

    max_batch_size: int = 64
    max_wait_ms: float = 0.0
    max_queue: int = 1024
    deadline_ms: float | None = 30_000.0
    workers: int = 1
    max_body_bytes: int = 16 * 2**20
    max_connections: int = 512
    header_timeout_s: float = 5.0
    body_timeout_s: float = 10.0
    token: str | None = None

    def __post_init__(self) -> None:
        for name in ("max_batch_size", "max_queue", "workers", "max_body_bytes", "max_connections"):
            _whole(name, getattr(self, name))
        for name in ("deadline_ms", "header_timeout_s", "body_timeout_s"):
            _positive(name, getattr(self, name), may_be_none=name == "deadline_ms")
        if not _is_real(self.max_wait_ms) or self.max_wait_ms < 0:
            raise InputError(f"max_wait_ms: expected milliseconds ≥ 0, got {self.max_wait_ms!r}")
        _check_token(self.token)

    def __repr__(self) -> str:  # a token belongs in no log
        shown = {f.name: getattr(self, f.name) for f in fields(self)} | {"token": self.token and "…"}
        return "Settings(" + ", ".join(f"{name}={value!r}" for name, value in shown.items()) + ")"

    def changed(self, changes: Mapping[str, Any]) -> "Settings":
        """Return these settings with some changed; only those that a running server can follow may be."""
        fixed = [name for name in changes if name not in CHANGEABLE]
        if fixed:
            raise InputError(
                f"expected one of {', '.join(CHANGEABLE)}, got {fixed[0]!r}; start the server anew for that"
            )
        return replace(self, **changes)


CHANGEABLE = ("max_batch_size", "max_wait_ms", "max_queue", "deadline_ms", "workers")


def _is_real(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _whole(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name}: expected an integer ≥ 1, got {value!r}")


def _positive(name: str, value: Any, *, may_be_none: bool) -> None:
    if value is None and may_be_none:
        return
    if not _is_real(value) or value <= 0:
        unit = "milliseconds" if name.endswith("_ms") else "seconds"
        raise InputError(f"{name}: expected {unit} > 0{' or None' if may_be_none else ''}, got {value!r}")


def _check_token(token: object) -> None:
    if token is None:
        return
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable() or " " in token:
        raise InputError("token: expected a word of ASCII characters without spaces, or None")
