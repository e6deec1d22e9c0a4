"""Models to serve, an app asked without a server, and a server in a thread."""

import asyncio
import json
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import uvicorn

from inferkit.predictor import ArraySpec, OutputSpec, Predictor, Signature
from inferkit.serving import Settings, make_app
from inferkit.serving._limits import limited_protocol

LONG = 30.0  # seconds: far more than anything takes


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        """The reason, of an answer that must have one in JSON and nothing else."""
        assert self.headers["content-type"] == "application/json"
        assert self.json.keys() == {"error"}
        return self.json["error"]


async def call(app, method, path, body=b"", headers=None, *, gone=None, parts=None, root_path=""):
    """Ask an app one thing, as an ASGI server does; `gone` is an event: the client leaves."""
    sent = [json.dumps(body).encode() if not isinstance(body, bytes) else body] if parts is None else list(parts)
    messages = [{"type": "http.request", "body": part, "more_body": i + 1 < len(sent)} for i, part in enumerate(sent)]
    gone, answered = gone or asyncio.Event(), []

    async def receive():
        if messages:
            return messages.pop(0)
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        answered.append(message)

    lengths = {} if parts is not None else {"content-length": str(len(sent[0]))}
    named = {"host": "here", **lengths, **(headers or {})}
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": root_path + path, "raw_path": path.encode(), "query_string": b"", "root_path": root_path,
        "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in named.items()],
        "client": ("127.0.0.1", 1), "server": ("here", 80), "state": {},
    }  # fmt: skip
    await app(scope, receive, send)
    if not answered:
        return None
    start, *rest = answered
    found = {k.decode().lower(): v.decode("latin-1") for k, v in start["headers"]}
    assert len(found) == len(start["headers"]), "a header came twice"
    return Answer(start["status"], found, b"".join(part.get("body", b"") for part in rest))


def ask(app, method, path, body=b"", headers=None, **options):
    """Ask an app one thing, with an event loop of its own."""
    return asyncio.run(call(app, method, path, body, headers, **options))


@contextmanager
def app_of(models, **settings):
    """Make an app; its threads end with the block."""
    app = make_app(models, Settings(**settings))
    try:
        yield app
    finally:
        assert app.close(LONG)


@contextmanager
def running(models, *, guarded=True, keep_alive=5, **settings):
    """Run an app in a thread on a free port; yield the app, which has the port as ``app.port``."""
    app = make_app(models, Settings(**settings))
    protocol = limited_protocol(app.settings) if guarded else "httptools"
    config = uvicorn.Config(
        app, http=protocol, ws="none", loop="asyncio", lifespan="on", log_config=None, access_log=False,
        proxy_headers=False, timeout_keep_alive=keep_alive, timeout_graceful_shutdown=5,
    )  # fmt: skip
    server = uvicorn.Server(config)
    app.watch = getattr(protocol, "watch", None)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    app.port = listener.getsockname()[1]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield app
    finally:
        server.should_exit = True
        thread.join(LONG)
        listener.close()
        assert not thread.is_alive()


def wait_until(condition, what="what was waited for"):
    """Wait for something that another thread does."""
    last = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < last, f"{what} did not come"
        time.sleep(0.005)


class Sum:
    """A model that adds up a row; it fails where a row says so, waits at a gate, and counts the rows it ran."""

    FAIL, NAN = 66.0, 77.0

    def __init__(self):
        self.rows = []
        self.sizes = []
        self.started = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, X):
        self.sizes.append(len(X))
        self.rows.extend(X[:, 0].tolist())
        self.started.set()
        assert self.gate.wait(LONG)
        if (X[:, 0] == self.FAIL).any():
            raise RuntimeError("secret /srv/model.py")
        total = X.sum(axis=1)
        total[X[:, 0] == self.NAN] = np.nan
        return total

    def close_gate(self):
        """Let the next call wait; forget the calls so far."""
        self.started.clear()
        self.gate.clear()
        self.rows.clear()
        self.sizes.clear()

    def predictor(self, name="sum"):
        """Return the model as a predictor of rows of two numbers from −100 to 100."""
        return Predictor(self, signature=ArraySpec((2,), dtype="float64", low=-100, high=100), name=name)


def two_outputs():
    """Return a predictor with words as labels in one output and numbers in another."""

    def model(X):
        p = np.clip(X[:, 0], 0, 1)
        return {"kind": np.column_stack([1 - p, p]), "size": X.sum(axis=1)}

    outputs = [OutputSpec("kind", "probabilities", ("low", "high")), OutputSpec("size")]
    return Predictor(
        model, signature=Signature(ArraySpec((2,), dtype="float64", low=-100, high=100), outputs), name="two"
    )
