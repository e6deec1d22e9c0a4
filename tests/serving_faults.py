"""Servers to be overloaded, and clients that behave badly, each in a process of its own.

``python -m tests.serving_faults serve '{...}'`` and ``... attack '{...}'`` print one line when they are ready, and end
when their standard input does.
"""

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from subprocess import PIPE, Popen
from typing import Any

# -- a server ------------------------------------------------------------------------------------


def slow_model(service_ms: float) -> Any:
    """Return a predictor that takes a fixed time for a call, and doubles numbers."""
    from inferkit.predictor import ArraySpec, Predictor

    def double(X: Any) -> Any:
        time.sleep(service_ms / 1e3)
        return 2 * X

    return Predictor(double, signature=ArraySpec((1,), dtype="float64"), name="double")


def serve_here(*, service_ms: float, settings: dict[str, Any], unguarded_limit: int | None = None) -> None:
    """Serve until standard input ends; `unguarded_limit` runs the same app in bare uvicorn with so many connections."""
    from inferkit.serving import Settings, make_app, serve

    model = slow_model(service_ms)
    if unguarded_limit is None:
        with serve(model, **settings) as server:
            print(server.url, flush=True)
            _wait_for_the_end()
        return
    import uvicorn

    config = uvicorn.Config(
        make_app(model, Settings(**settings)), port=0, limit_concurrency=unguarded_limit, access_log=False,
        log_level="error",
    )  # fmt: skip
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    print(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", flush=True)
    _wait_for_the_end()


def _wait_for_the_end() -> None:
    while os.read(0, 4096):
        pass


# -- clients that behave badly ---------------------------------------------------------------------

_HEAD = b"POST /predict HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"


async def _drip(writer: asyncio.StreamWriter, content: bytes, every_s: float) -> None:
    for i in range(len(content)):
        if writer.is_closing():
            return
        writer.write(content[i : i + 1])
        await writer.drain()
        await asyncio.sleep(every_s)


async def drip_head(_: asyncio.StreamReader, writer: asyncio.StreamWriter, every_s: float) -> None:
    """Send a head that never ends, byte by byte."""
    await _drip(writer, _HEAD + b"X-Long: " + b"x" * 10**6, every_s)


async def drip_body(_: asyncio.StreamReader, writer: asyncio.StreamWriter, every_s: float) -> None:
    """Promise a body, and send it byte by byte."""
    writer.write(_HEAD + b"Content-Length: 100000\r\n\r\n")
    await _drip(writer, b" " * 100_000, every_s)


async def say_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter, __: float) -> None:
    """Connect, and wait."""
    await reader.read()


async def never_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, every_s: float) -> None:
    """Ask again and again, and take in no answer."""
    assert isinstance(writer.transport, asyncio.Transport)
    writer.transport.pause_reading()
    while not writer.is_closing():
        writer.write(b"GET /v2/models/double HTTP/1.1\r\nHost: here\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(every_s)


BAD = (drip_head, drip_body, say_nothing, never_read)


async def _attack(port: int, n: int, every_s: float) -> None:
    connected = 0
    all_there = asyncio.Event()

    async def attacker(number: int) -> None:
        nonlocal connected
        first = True
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                if first:
                    connected, first = connected + 1, False
                    if connected == n:
                        all_there.set()
                with closing(writer):
                    await BAD[number % len(BAD)](reader, writer, every_s)
            await asyncio.sleep(1.0)

    async with asyncio.TaskGroup() as group:
        for number in range(n):
            group.create_task(attacker(number))
        await all_there.wait()
        print("ready", flush=True)
        await asyncio.to_thread(_wait_for_the_end)
        os._exit(0)  # as an attacker's machine would go: without a word to anybody


# -- both, as processes ----------------------------------------------------------------------------


@contextmanager
def process(what: str, **given: Any) -> Iterator[tuple[Popen[str], str]]:
    """Start a process, wait until it is ready, and end it; yield it with the line that it printed."""
    command = [sys.executable, "-m", "tests.serving_faults", what, json.dumps(given)]
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as child:
        assert child.stdout
        try:
            yield child, child.stdout.readline().strip()
        finally:
            child.kill()


if __name__ == "__main__":
    wanted, options = sys.argv[1], json.loads(sys.argv[2])
    if wanted == "serve":
        serve_here(**options)
    else:
        asyncio.run(_attack(**options))
