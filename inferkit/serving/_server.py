"""A server in this process, beside the code that started it: ready when `serve` returns, gone when it is stopped."""

import atexit
import socket
import sys
import threading
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from .._base import InputError, require
from ..predictor import Predictor
from ._app import make_app
from ._notebook import curl_line, server_html
from ._settings import Settings

if TYPE_CHECKING:
    from ._web import ServingApp

SHUTDOWN_S = 10.0
_START_S = 60.0
_running: dict[tuple[str, ...], "Server"] = {}
_lock = threading.RLock()


class Server:
    """A server that runs in a thread of this process. `serve` makes it.

    Attributes
    ----------
    url : str
        Where it answers, such as ``"http://127.0.0.1:8000"``.
    host : str
    port : int
    models : tuple of str
        The names under which requests find them.
    """

    def __init__(self, app: "ServingApp", listener: socket.socket, host: str) -> None:
        from ._lifecycle import Life

        self.host, self.port = host, int(listener.getsockname()[1])
        self.models = tuple(app.models)
        self._app = app
        self._held = 0
        self._life = Life(app, listener)
        self._life.start(_START_S)

    @property
    def url(self) -> str:
        """Where it answers."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def is_running(self) -> bool:
        """Whether it answers."""
        return self._life.is_running

    @property
    def settings(self) -> Settings:
        """What it was told; `configure` changes it."""
        return self._app.settings

    def configure(self, **changes: Any) -> Settings:
        """Change settings while it runs; the next batch follows them.

        Parameters
        ----------
        **changes
            ``max_batch_size``, ``max_wait_ms``, ``max_queue``, ``deadline_ms``, ``workers``; see `Settings`.

        Returns
        -------
        Settings

        Raises
        ------
        InputError
            If it is another setting, or not a value for it. Nothing has changed then.
        """
        return self._app.configure(**changes)

    def stats(self) -> dict[str, Any]:
        """Return what it has counted: answered, refused, expired, what waits, recent batches and latencies."""
        return self._app.stats()

    def stop(self, timeout_s: float = SHUTDOWN_S) -> bool:
        """Finish what was accepted, refuse what comes, close the port, end the threads.

        Parameters
        ----------
        timeout_s : float, default=10
            What has not ended by then is broken off.

        Returns
        -------
        bool
            Whether all that was accepted was answered. A server that is stopped already returns what it did then.
        """
        with _lock:
            for key in [key for key, server in _running.items() if server is self]:
                del _running[key]
        return self._life.stop(timeout_s)

    def __enter__(self) -> "Server":
        self._held += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._held -= 1
        self.stop()

    def __repr__(self) -> str:
        state = "running" if self.is_running else "stopped"
        return f"Server({self.url!r}, {state}: {', '.join(self.models)})\n{self.curl}"

    def _repr_html_(self) -> str:
        return server_html(self.url, self.models, self.is_running, self.curl)

    @property
    def curl(self) -> str:
        """A line for a shell that asks the first model for one answer."""
        return curl_line(self.url, self.models, self._app.models[self.models[0]].example, self.settings.token)


def serve(
    models: Predictor | Mapping[str, Predictor],
    *,
    name: str | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    **settings: Any,
) -> Server:
    """Serve predictors over HTTP from this process, in the background.

    The Open Inference Protocol (KServe v2), JSON and binary, and a plain ``/predict`` beside it. The
    server runs in a thread of its own, so a notebook's kernel stays free; it ends with ``with``, with `stop`, or
    with the process.

    Parameters
    ----------
    models : Predictor or dict of str to Predictor
    name : str, optional
        The name of a single model in requests; its own unless given.
    host : str, default="127.0.0.1"
        The address to listen on. Any other than this machine's own opens the server to the network; give a token then.
    port : int, default=0
        0 takes a free one.
    **settings
        Those of `Settings`: how requests are batched, and the limits that are kept.

    Returns
    -------
    Server
        It answers already.

    Raises
    ------
    InputError
        If a setting is wrong, or the port is taken; the message names one that is free.
    MissingExtraError
        If the extra ``serve`` is not installed.

    Notes
    -----
    Where a server of the same models (by their names), or on the same port, was started here before, it is stopped,
    and the new one takes its port: so a notebook's cell can be run again and again. A server inside its own ``with``
    block is let alone; another `name` keeps two side by side without it.

    Examples
    --------
    >>> from inferkit.datasets import load_digits
    >>> from inferkit.predictor import Predictor, digit_reader
    >>> with serve(digit_reader()) as server:
    ...     Predictor(server.url).predict(load_digits().images[:3]).tolist()
    [0, 1, 2]
    """
    require("uvicorn", extra="serve")
    require("httptools", extra="serve")
    named = _named(models, name)
    chosen = as_settings(settings)
    _check_port(port)
    _warn_if_open(host, chosen.token)
    with _lock:
        app = make_app(named, chosen)
        try:
            listener = _listen_instead(tuple(sorted(named)), host, port)
            server = Server(app, listener, host)
        except BaseException:
            app.close()
            raise
        _running[tuple(sorted(named))] = server
    return server


def as_settings(settings: Mapping[str, Any]) -> Settings:
    """Return settings from what a caller gave by name, or raise `InputError`."""
    known = [f.name for f in fields(Settings)]
    for name in settings:
        if name not in known:
            raise InputError(f"expected settings among {', '.join(known)}, got {name!r}")
    return Settings(**settings)


def _named(models: Any, name: str | None) -> dict[str, Predictor]:
    if isinstance(models, Predictor):
        return {models.name if name is None else name: models}
    if not isinstance(models, Mapping):
        raise InputError(f"models: expected a Predictor, or a dict of them by name, got {type(models).__name__}")
    if name is not None:
        raise InputError("name: expected it with a single Predictor; a dict names its models itself")
    return dict(models)


def _check_port(port: Any) -> None:
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port < 2**16:
        raise InputError(f"port: expected a number from 0 to 65535, 0 for any free one, got {port!r}")


def is_loopback(host: str) -> bool:
    """Return whether an address reaches this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _warn_if_open(host: str, token: str | None) -> None:
    if is_loopback(host):
        return
    advice = (
        "whoever reaches it may ask; give token=..." if token is None else "the token crosses the network unencrypted"
    )
    warnings.warn(f"the server listens on {host or 'every address'}, beyond this machine: {advice}", stacklevel=3)


# -- whose port --------------------------------------------------------------------------------------


def _listen_instead(key: tuple[str, ...], host: str, port: int) -> socket.socket:
    """Stop the servers that this one replaces, and listen where they did."""
    replaced = [s for k, s in _running.items() if not s._held and s.is_running and (k == key or s.port == port)]
    for server in replaced:
        server.stop()
    if port == 0 and replaced:
        with suppress(InputError):  # somebody else was quicker: any other port will do
            return listen(host, replaced[0].port)
    return listen(host, port)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address; nobody is let in before it is told to listen.

    Raises
    ------
    InputError
        If the port is taken or not allowed, or the address is not one of this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise InputError(f"host: expected an address of this machine, got {host!r}: {error.strerror}") from error
    # Without the protocol asyncio would leave Nagle's algorithm on, and small answers would wait 40 ms.
    listener = socket.socket(family, kind, protocol)
    try:
        if sys.platform != "win32":  # where it would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise _cannot_listen(host, port, error) from error
    return listener


def _cannot_listen(host: str, port: int, error: OSError) -> InputError:
    words = str(error.strerror or error)
    if port:
        with suppress(InputError), listen(host, 0) as other:
            free = other.getsockname()[1]
            return InputError(f"cannot listen on port {port}: {words}. Port {free} is free; port=0 takes any that is")
    return InputError(f"host: expected an address of this machine, got {host!r}: {words}")


@atexit.register
def _stop_all() -> None:
    """End what still runs when the process does."""
    for server in list(_running.values()):
        server.stop(2.0)
