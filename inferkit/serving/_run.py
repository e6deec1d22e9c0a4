"""A server for the shell: it runs until somebody says stop, and then finishes what it accepted."""

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from .._base import InputError
from ..predictor import Predictor
from ._server import SHUTDOWN_S, Server, serve

INTERRUPTED = 130
_LOOK_S = 0.5


def run(
    models: Predictor | Mapping[str, Predictor],
    *,
    name: str | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    shutdown_timeout_s: float = SHUTDOWN_S,
    on_ready: Callable[[Server], object] = print,
    **settings: Any,
) -> bool:
    """Serve predictors until SIGTERM or Ctrl-C comes.

    Then the server refuses what is new, finishes what it accepted, and this returns. A second Ctrl-C
    ends the process at once.

    Parameters
    ----------
    models, name, host, port, **settings
        As `serve` takes them.
    shutdown_timeout_s : float, default=10
        What has not ended so long after the signal is broken off.
    on_ready : callable
        Called with the `Server` when it answers; prints it unless given.

    Returns
    -------
    bool
        Whether all that was accepted was answered.

    Raises
    ------
    InputError, MissingExtraError
        As `serve` does; and if it is called from another thread than the main one, which alone hears signals.
    RuntimeError
        If the server ends by itself.
    """
    told = threading.Event()
    with _handled(told), serve(models, name=name, host=host, port=port, **settings) as server, _out_of_the_way():
        on_ready(server)
        while not told.wait(_LOOK_S):  # on Windows a signal is not seen while a wait has no end
            if not server.is_running:
                raise RuntimeError("the server ended by itself; its log says more")
        return server.stop(shutdown_timeout_s)


@contextmanager
def _out_of_the_way() -> Iterator[None]:
    """Spare garbage collection what is loaded by now: to look through all of it would stop every answer meanwhile."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _handled(told: threading.Event) -> Iterator[None]:
    """Let the signals that end a process set `told`; a second Ctrl-C ends it on the spot."""

    def handle(number: int, _: FrameType | None) -> None:
        if told.is_set() and number == signal.SIGINT:
            os._exit(INTERRUPTED)
        told.set()

    if threading.current_thread() is not threading.main_thread():
        raise InputError("run: expected the main thread, which alone hears signals; from another one call serve(...)")
    former = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
