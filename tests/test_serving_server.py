"""A server in this process: ready when it returns, replaced by its successor, gone without a trace."""

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import urllib3

from inferkit._base import InputError
from inferkit.predictor import ArraySpec, Column, OutputSpec, Predictor, Signature, TableSpec, digit_reader, sign_reader
from inferkit.serving import Server, run, serve
from inferkit.serving import _server as module
from inferkit.serving._notebook import curl_line
from inferkit.serving._server import is_loopback, listen

ROOT = Path(__file__).parent.parent
WAIT_S = 20.0  # for what comes within milliseconds on an idle machine


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    """Stop whatever a test left, and see that no thread of a server stays."""
    yield
    for server in list(module._running.values()):
        server.stop(5.0)
    assert not [t for t in threading.enumerate() if t.name.startswith("inferkit-")]


def get(url: str, **options: Any) -> tuple[int, Any]:
    """Ask once on a connection of its own; return the status and what the JSON says."""
    with urllib3.PoolManager() as pool:
        response = pool.request(options.pop("method", "GET"), url, retries=False, timeout=WAIT_S, **options)
        return response.status, response.json()


class Gate:
    """A model that answers when it is let."""

    def __init__(self) -> None:
        self.open, self.entered, self.calls = threading.Event(), threading.Semaphore(0), 0
        self.open.set()
        self.predictor = Predictor(self, signature=ArraySpec((2,), "float64"), name="gate")

    def __call__(self, X: np.ndarray) -> np.ndarray:
        self.calls += 1
        self.entered.release()
        assert self.open.wait(WAIT_S)
        return X.sum(axis=1)

    def close(self) -> None:
        """Keep who comes from now on, and forget who came."""
        while self.entered.acquire(blocking=False):
            pass
        self.open.clear()


def wait_for(condition: Any) -> None:
    until = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


# -- from beginning to end ---------------------------------------------------------------------------


def test_it_answers_when_serve_returns_and_no_more_when_the_block_ends() -> None:
    with serve(digit_reader(), name="digits") as server:
        assert server.is_running
        assert server.models == ("digits",)
        assert get(f"{server.url}/v2/health/ready") == (200, {"ready": True})
        assert (
            get(
                f"{server.url}/predict", method="POST", body=b"[[[0,0,0,0,0,0,0,0]" + b",[0,0,0,0,0,0,0,0]" * 7 + b"]]"
            )[0]
            == 200
        )
        wait_for(lambda: server.stats()["answered"] == 1)  # it is counted when the answer has gone out
    assert not server.is_running
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S)
    assert server.stop()


def test_several_models_answer_side_by_side() -> None:
    with serve({"digits": digit_reader(), "signs": sign_reader()}) as server:
        assert get(f"{server.url}/v2")[1]["models"] == ["digits", "signs"]
        assert get(f"{server.url}/v2/models/signs")[1]["inputs"][0]["shape"] == [-1, 32, 32, 3]


def test_it_starts_beside_a_loop_that_runs_in_the_main_thread() -> None:
    async def cell() -> int:
        with serve(digit_reader()) as server:
            status, _ = await asyncio.to_thread(get, f"{server.url}/v2/health/live")
            return status

    assert asyncio.run(cell()) == 200


def test_what_was_accepted_is_finished_and_what_comes_is_refused() -> None:
    gate = Gate()
    with ThreadPoolExecutor(10) as pool:
        server = serve(gate.predictor, max_batch_size=1)
        gate.close()
        asked = [pool.submit(get, f"{server.url}/predict", method="POST", body=b"[[1, %d]]" % i) for i in range(6)]
        wait_for(lambda: server.stats()["in_flight"] == 6)
        stopping = pool.submit(server.stop, WAIT_S)
        wait_for(lambda: server._app.is_draining)
        assert get(f"{server.url}/v2/health/ready") == (503, {"ready": False})
        status, content = get(f"{server.url}/predict", method="POST", body=b"[[1, 2]]")
        assert status == 503
        assert "shutting down" in content["error"]
        assert not stopping.done()
        gate.open.set()
        assert [one.result()[1]["answers"] for one in asked] == [[1.0 + i] for i in range(6)]
        assert stopping.result() is True


def test_what_does_not_end_in_time_is_broken_off() -> None:
    gate = Gate()
    server = serve(gate.predictor)
    gate.close()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(get, f"{server.url}/predict", method="POST", body=b"[[1, 2]]")
        assert gate.entered.acquire(timeout=WAIT_S)
        assert server.stop(0.2) is False
        assert not server.is_running
        try:
            assert asked.result()[0] >= 500
        except urllib3.exceptions.HTTPError as error:
            assert "Connection" in str(error)  # noqa: PT017
    gate.open.set()
    wait_for(lambda: not [t for t in threading.enumerate() if t.name.startswith("inferkit-")])


def test_a_client_that_keeps_its_connection_does_not_keep_the_server() -> None:
    server = serve(digit_reader())
    with socket.create_connection(("127.0.0.1", server.port)) as half:
        half.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n[")
        with socket.create_connection(("127.0.0.1", server.port)):
            wait_for(lambda: server.stats()["in_flight"] == 1)
            server.stop(0.2)
            assert not server.is_running


# -- again and again ---------------------------------------------------------------------------------


def test_the_cell_run_twenty_times_leaves_one_server_and_nothing_else() -> None:
    process = psutil.Process()

    def cell() -> Server:
        server = serve(digit_reader())
        assert get(f"{server.url}/v2/health/ready")[0] == 200
        return server

    first = cell()
    for _ in range(4):  # allocators and caches fill up
        cell()
    gc.collect()
    before = threading.active_count(), process.num_fds(), process.memory_info().rss
    for _ in range(20):
        last = cell()
    gc.collect()
    assert last.port == first.port
    assert not first.is_running
    assert threading.active_count() == before[0]
    assert process.num_fds() <= before[1] + 2
    assert process.memory_info().rss - before[2] < 20 * 2**20  # a server that stays takes some of it each time


def test_a_new_server_takes_the_port_of_the_one_with_its_models() -> None:
    old, other = serve(digit_reader()), serve(digit_reader(), name="other")
    new = serve(digit_reader())
    assert (old.is_running, other.is_running, new.is_running) == (False, True, True)
    assert new.port == old.port
    third = serve(digit_reader(), name="third", port=other.port)
    assert (other.is_running, third.port) == (False, other.port)


def test_a_server_in_its_own_block_is_let_alone() -> None:
    with serve(digit_reader()) as one, serve(digit_reader()) as two:
        assert one.is_running
        assert two.is_running
        assert one.port != two.port
        with pytest.raises(InputError, match=f"cannot listen on port {one.port}"):
            serve(digit_reader(), port=one.port)


def test_a_call_that_fails_leaves_the_former_server_as_it_was() -> None:
    server = serve(digit_reader())
    before = threading.active_count()
    for wrong in ({"max_batch_size": 0}, {"name": "a b"}, {"port": -1}, {"burst": 3}):
        with pytest.raises(InputError):
            serve(digit_reader(), **wrong)
    assert server.is_running
    assert threading.active_count() == before


# -- where it listens --------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_named_with_one_that_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"cannot listen on port {port}: .*in use.* Port (\d+) is free") as caught:
            serve(digit_reader(), port=port)
    free = int(str(caught.value).partition("Port ")[2].split()[0])
    with serve(digit_reader(), port=free) as server:
        assert server.port == free


@pytest.mark.parametrize("port", [-1, 2**16, 1.5, "80", True, None])
def test_what_is_no_port_is_refused(port: Any) -> None:
    with pytest.raises(InputError, match="port: expected a number from 0 to 65535"):
        serve(digit_reader(), port=port)


@pytest.mark.filterwarnings("ignore:the server listens on")
@pytest.mark.parametrize("host", ["nowhere.invalid", "192.0.2.1"])
def test_an_address_that_is_not_of_this_machine_is_refused(host: str) -> None:
    with pytest.raises(InputError, match="expected an address of this machine, got"):
        serve(digit_reader(), host=host)


def test_a_server_that_others_can_reach_says_so() -> None:
    with pytest.warns(UserWarning, match=r"beyond this machine: whoever reaches it may ask; give token="):
        server = serve(digit_reader(), host="0.0.0.0")
    assert server.url == f"http://127.0.0.1:{server.port}"
    with pytest.warns(UserWarning, match="the token crosses the network unencrypted"):
        server = serve(digit_reader(), host="0.0.0.0", token="secret")
    assert get(f"{server.url}/v2")[0] == 401


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("", False), ("10.0.0.1", False), ("example.org", False), ("127.0.0.1.example.org", False)],
)  # fmt: skip
def test_which_addresses_reach_this_machine_alone(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_ipv6_has_its_brackets() -> None:
    with serve(digit_reader(), host="::1") as server:
        assert server.url == f"http://[::1]:{server.port}"
        assert get(f"{server.url}/v2/health/live")[0] == 200


def test_small_answers_are_sent_at_once() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP  # else asyncio leaves Nagle's algorithm on: 40 ms an answer


def test_models_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match="models: expected a Predictor, or a dict of them by name, got str"):
        serve("digits")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="name: expected it with a single Predictor"):
        serve({"a": digit_reader()}, name="b")
    with pytest.raises(InputError, match=r"expected settings among max_batch_size, .* got 'max_batchsize'"):
        serve(digit_reader(), max_batchsize=3)


# -- while it runs -----------------------------------------------------------------------------------


def test_settings_change_while_it_runs() -> None:
    gate = Gate()
    sizes: list[int] = []
    predictor = Predictor(
        lambda X: sizes.append(len(X)) or gate(X), signature=ArraySpec((2,), "float64"), name="gate"  # type: ignore[func-returns-value]
    )  # fmt: skip
    with serve(predictor, max_batch_size=2) as server, ThreadPoolExecutor(9) as pool:
        for size in (2, 4):
            assert server.configure(max_batch_size=size).max_batch_size == size
            assert server.settings.max_batch_size == size
            gate.close()
            asked = [pool.submit(get, f"{server.url}/predict", method="POST", body=b"[[1, 2]]")]
            assert gate.entered.acquire(timeout=WAIT_S)  # the first is at work, the others queue up
            asked += [pool.submit(get, f"{server.url}/predict", method="POST", body=b"[[1, 2]]") for _ in range(8)]
            wait_for(lambda: server.stats()["in_flight"] == 9)
            wait_for(lambda: server.stats()["queue_length"] == 8)
            sizes.clear()
            gate.open.set()
            assert [one.result()[0] for one in asked] == [200] * 9
            assert sizes == [size] * (8 // size)
        with pytest.raises(InputError, match="start the server anew"):
            server.configure(token="x")


def test_it_shows_where_it_is_and_a_line_that_works() -> None:
    spec = TableSpec([Column("age", "years", 18, 90), Column("word", categories=("it's <b>",))])
    predictor = Predictor(
        lambda X: np.array([f"{age:g}" for age in X[:, 0]]),
        signature=Signature(spec, [OutputSpec("a", "labels")]),
        name="p",
    )
    with serve(predictor, token="secret") as server:
        assert repr(server).startswith(f"Server('{server.url}', running: p)\ncurl")
        assert "secret" not in repr(server) + server._repr_html_()
        assert "<b>" in server.curl
        assert "<b>" not in server._repr_html_()
        assert f"{server.url}/v2/models/p" in server._repr_html_()
        line = ["sh", "-c", server.curl]
        said = subprocess.run(
            line, env={"PATH": "/usr/bin:/bin", "INFERKIT_TOKEN": "secret"}, capture_output=True, timeout=60
        )
        assert b'"answers":["18"]' in said.stdout
    assert "stopped" in repr(server)
    assert curl_line("u", ["m"], [0.5] * 1000, None) == "curl u/v2/models/m"


# -- the end of the process --------------------------------------------------------------------------

LEFT_RUNNING = """
import threading
from inferkit.predictor import digit_reader
from inferkit.serving import serve
server = serve(digit_reader())
print(server.port, flush=True)
{ending}
"""


@pytest.mark.parametrize("ending", ["", "raise SystemExit(0)"])
def test_leaving_python_ends_a_server_that_nobody_stopped(ending: str) -> None:
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", LEFT_RUNNING.format(ending=ending)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 0
    assert done.stderr == ""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(done.stdout)), timeout=WAIT_S)


LEFT_AT_WORK = """
import os, threading, time
import urllib3
from inferkit.predictor import ArraySpec, Predictor
from inferkit.serving import serve

entered = threading.Event()

def model(X):
    if X[0, 0]:
        entered.set()
        time.sleep(0.3)
    return X[:, 0]

server = serve(Predictor(model, signature=ArraySpec((1,), "float64"), name="m"))

def ask():
    with urllib3.PoolManager() as pool:
        os.write(1, pool.request("POST", server.url + "/predict", body="[[7]]").data)

threading.Thread(target=ask, daemon=True).start()
entered.wait()
"""


def test_leaving_python_finishes_what_was_accepted() -> None:
    command = [sys.executable, "-c", LEFT_AT_WORK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert '"answers":[7.0]' in done.stdout


def test_while_it_runs_garbage_collection_passes_over_what_was_loaded() -> None:
    """A look through all that a process has loaded stops every answer for tens of milliseconds."""
    found = []

    def ready(_: Server) -> None:
        found.append(gc.get_freeze_count())
        os.kill(os.getpid(), signal.SIGTERM)

    assert run(digit_reader(), on_ready=ready)
    assert found[0] > 10_000
    assert gc.get_freeze_count() == 0


@pytest.mark.rotated
def test_leaving_a_kernel_ends_its_server() -> None:
    from jupyter_client.manager import KernelManager

    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(ROOT))
    try:
        client = manager.blocking_client()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        printed: list[str] = []
        for _ in range(2):
            reply = client.execute_interactive(
                LEFT_RUNNING.format(ending=""), timeout=60,
                output_hook=lambda m: printed.append(m["content"].get("text", "")),
            )  # fmt: skip
            assert reply["content"]["status"] == "ok"
        first, second = (int(text) for text in "".join(printed).split())
        assert first == second
        assert get(f"http://127.0.0.1:{second}/v2/health/ready")[0] == 200
        client.stop_channels()
    finally:
        manager.shutdown_kernel(now=False)
        manager.cleanup_resources()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", second), timeout=WAIT_S)


def test_run_ends_with_its_server_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Server] = []

    def ready(server: Server) -> None:
        seen.append(server)
        assert get(f"{server.url}/v2/health/ready")[0] == 200
        server.stop()  # nobody asked for that: the caller must hear of it

    with pytest.raises(RuntimeError, match="ended by itself"):
        run(digit_reader(), on_ready=ready)
    assert not seen[0].is_running


def test_run_grants_the_time_that_it_was_told_and_gives_the_signals_back(monkeypatch: pytest.MonkeyPatch) -> None:
    granted: list[float] = []
    stop, before = Server.stop, signal.getsignal(signal.SIGTERM)

    def recorded(self: Server, timeout_s: float = -1.0) -> bool:
        granted.append(timeout_s)
        return stop(self, 5.0)

    monkeypatch.setattr(Server, "stop", recorded)
    assert run(digit_reader(), shutdown_timeout_s=3.5, on_ready=lambda _: os.kill(os.getpid(), signal.SIGTERM))
    assert granted[0] == 3.5
    assert signal.getsignal(signal.SIGTERM) is before


def test_run_is_for_the_main_thread_which_hears_signals() -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(InputError, match="expected the main thread"):
        pool.submit(run, digit_reader()).result()


def test_a_server_that_cannot_start_says_why_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from inferkit.serving import _lifecycle

    async def fail(*_: object) -> None:
        raise OSError("no more files")

    before = psutil.Process().num_fds()
    monkeypatch.setattr(_lifecycle.uvicorn.Server, "startup", fail)
    with pytest.raises(RuntimeError, match="the server did not start") as caught:
        serve(digit_reader())
    assert str(caught.value.__cause__) == "no more files"
    assert psutil.Process().num_fds() <= before + 2


def test_an_interrupt_while_it_starts_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from inferkit.serving import _lifecycle

    class Interrupted(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            raise KeyboardInterrupt

    begin = _lifecycle._Uvicorn.__init__

    def begin_interrupted(self: Any, app: Any) -> None:
        begin(self, app)
        self.ready = Interrupted()

    monkeypatch.setattr(_lifecycle._Uvicorn, "__init__", begin_interrupted)
    with pytest.raises(KeyboardInterrupt):
        serve(digit_reader())
    assert not module._running
