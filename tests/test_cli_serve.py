"""``inferkit serve`` as a shell has it: a process, signals, an exit code."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import urllib3

from inferkit import datasets
from inferkit._base import bundled
from inferkit.cli import main
from inferkit.predictor import Predictor, RemoteError, digit_reader, remote

ROOT = Path(__file__).parent.parent
DIGITS = datasets.load_digits().images
WAIT_S = 60.0

SLOW = """
import sys, time
import numpy as np
from inferkit.predictor import ArraySpec, Predictor
from inferkit.serving import run

def model(X):
    time.sleep({seconds} if X[0, 0] else 0)
    return X.sum(axis=1)

predictor = Predictor(model, signature=ArraySpec((2,), "float64"), name="slow")
say = lambda server: print(server.url, flush=True)
sys.exit(0 if run(predictor, max_batch_size=1, on_ready=say, shutdown_timeout_s={patience}) else 1)
"""


class Shell:
    """A command that runs beside the test, and the lines that it prints."""

    def __init__(self, *words: object, **options: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *map(str, words)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, **options,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.first = self.process.stdout.readline()
        found = re.search(r"http://[\d.]+:\d+", self.first)
        self.url = found[0] if found else ""

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Send a signal; return the exit code and what is left to read."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, out, err


@pytest.fixture
def shell() -> Iterator[Callable[..., Shell]]:
    started: list[Shell] = []

    def start(*words: object, **options: Any) -> Shell:
        started.append(Shell(*words, **options))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate(timeout=WAIT_S)


def ask(url: str, first: int = 0) -> float:
    """Ask the slow model on a connection of its own; it sleeps if `first` is not 0."""
    with urllib3.PoolManager() as pool:
        response = pool.request("POST", url + "/predict", body=f"[[{first}, 1]]", retries=False, timeout=WAIT_S)
        assert response.status == 200
        return float(response.json()["answers"][0])


def ask_in_vain(url: str) -> None:
    with suppress(urllib3.exceptions.HTTPError, AssertionError):
        ask(url, 1)


def in_flight(url: str) -> int:
    with urllib3.PoolManager() as pool:
        text = pool.request("GET", url + "/metrics", timeout=WAIT_S).data.decode()
    return int(sum(float(n) for n in re.findall(r"^\w*in_flight\w*\{.*\} ([\d.e+]+)$", text, flags=re.MULTILINE)))


def test_files_and_bundled_models_are_served_until_sigterm(shell: Any, tmp_path: Path) -> None:
    digit_reader().save(tmp_path / "reader.inferkit")
    (tmp_path / "token").write_text("secret\n")
    command = shell(
        "-m", "inferkit", "serve", tmp_path / "reader.inferkit", "digits-cnn-int8",
        "--port", 0, "--token-file", tmp_path / "token", "--max-batch-size", 3, "--deadline-ms", 0,
    )  # fmt: skip
    assert command.first.startswith("reader, digits-cnn-int8 at http://127.0.0.1:")
    curl = command.process.stdout.readline()
    assert curl.startswith("curl ")
    assert "secret" not in curl
    reader = remote(command.url + "/v2/models/reader", token="secret")
    assert reader.predict(DIGITS[:7]).tolist() == digit_reader().predict(DIGITS[:7]).tolist()
    reader.backend.close()  # type: ignore[attr-defined]
    code, out, err = command.end()
    assert (code, out, err) == (0, "", "inferkit serve: stopped\n")
    with pytest.raises(RemoteError, match="no server answers there"):
        remote(command.url + "/v2/models/reader", token="secret", retries=0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_whoever_is_in_flight_at_the_signal_gets_an_answer(shell: Any, number: int) -> None:
    command = shell("-c", SLOW.format(seconds=0.2, patience=30))
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, command.url, i) for i in range(1, 9)]
        while in_flight(command.url) < 8:
            assert not any(one.done() and one.exception() for one in asked)
            if (
                sum(one.done() for one in asked) > 3
            ):  # the machine is too busy: the first must not leave before the last
                asked += [pool.submit(ask, command.url, len(asked) + 1)]
        code, _, err = command.end(number)
        assert [one.result() for one in asked] == [1.0 + i for i in range(1, len(asked) + 1)]
    assert (code, err) == (0, "")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(command.url.rpartition(":")[2])), timeout=WAIT_S)


def test_a_model_that_does_not_come_back_holds_the_process_no_longer_than_its_time(shell: Any) -> None:
    command = shell("-c", SLOW.format(seconds=1000, patience=0.5))
    caller = threading.Thread(target=ask_in_vain, args=(command.url,))
    caller.start()
    while in_flight(command.url) < 1:
        pass
    code, _, _ = command.end()
    caller.join(WAIT_S)
    assert not caller.is_alive()
    assert code == 1


def test_a_second_interrupt_ends_it_at_once(shell: Any) -> None:
    command = shell("-c", SLOW.format(seconds=1000, patience=1000))
    caller = threading.Thread(target=ask_in_vain, args=(command.url,))
    caller.start()
    while in_flight(command.url) < 1:
        pass
    command.process.send_signal(signal.SIGINT)
    with urllib3.PoolManager() as pool:
        while pool.request("GET", command.url + "/v2/health/ready", timeout=WAIT_S).status == 200:
            pass
    assert command.process.poll() is None
    code, _, _ = command.end(signal.SIGINT)
    caller.join(WAIT_S)
    assert code == 130


def test_a_server_beyond_this_machine_says_so_in_one_line(shell: Any) -> None:
    environment = {**os.environ, "INFERKIT_TOKEN": "secret"}
    command = shell("-m", "inferkit", "serve", "digits-mlp", "--port", 0, "--host", "0.0.0.0", env=environment)
    with urllib3.PoolManager() as pool:
        assert pool.request("GET", command.url + "/v2", timeout=WAIT_S).status == 401
    code, _, err = command.end()
    assert code == 0
    assert err.splitlines() == [
        "inferkit serve: the server listens on 0.0.0.0, beyond this machine: the token crosses the network unencrypted",
        "inferkit serve: stopped",
    ]


# -- what is refused before anything listens ---------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], "nothing: there is no such file, and no model of that name; there are digits-mlp, "),
        (["digits-cnn", "digits-cnn"], "--name: expected another name for each model, got digits-cnn, digits-cnn"),
        (["digits-cnn", "--name", "a", "--name", "b"], "--name: expected one for each of the 1 models, got 2"),
        (["digits-cnn", "--name", "a b"], "model name: expected letters, digits"),
        (["digits-cnn", "--host", "192.0.2.1"], "host: expected an address of this machine, got '192.0.2.1'"),
        (["digits-cnn", "--port", "70000"], "port: expected a number from 0 to 65535"),
        (["digits-cnn", "--token-file", os.devnull], "is empty; write a token into it"),
        (["digits-cnn", "--token-file", "/nowhere/token"], "/nowhere/token: No such file"),
        ([__file__], "expected a .tflite, .keras or .onnx file, or one that Predictor.save wrote"),
    ],
)
def test_a_wrong_word_is_refused_in_one_line(words: list[str], said: str, capsys: Any) -> None:
    assert main(["serve", *words]) == 2
    out, err = capsys.readouterr()
    last = err.splitlines()[-1]
    assert out == ""
    assert last.startswith("inferkit serve: ")
    assert said in last


@pytest.mark.parametrize(
    "option", ["--workers", "--max-batch-size", "--max-queue", "--shutdown-timeout", "--max-wait-ms"]
)
def test_a_number_that_is_none_is_refused(option: str, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "digits-cnn", option, "-1"])
    assert f"{option}: expected" in capsys.readouterr().err


def test_a_port_that_is_taken_is_named_with_one_that_is_free(capsys: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "digits-cnn", "--port", str(port)]) == 2
    assert re.search(rf"cannot listen on port {port}: .* Port \d+ is free", capsys.readouterr().err)


def test_threads_reach_a_model_that_comes_from_a_file(tmp_path: Path) -> None:
    from inferkit.cli import _serve

    digit_reader().save(tmp_path / "reader.inferkit")
    assert _serve._open(str(tmp_path / "reader.inferkit"), 2).backend.model.num_threads == 2
    assert _serve._open(str(bundled("digits-cnn.tflite")), 2).backend.model.num_threads == 2


def test_every_option_reaches_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    from inferkit.cli import _serve

    seen: dict[str, Any] = {}
    monkeypatch.setattr(_serve, "run_server", lambda models, **options: seen.update(options, models=models) or True)
    monkeypatch.setenv("INFERKIT_TOKEN", "word")
    said = {
        "--port": 7, "--workers": 2, "--max-batch-size": 3, "--max-wait-ms": 0.5, "--max-queue": 4, "--deadline-ms": 5,
        "--max-body-bytes": 6, "--max-connections": 7, "--header-timeout": 8, "--body-timeout": 9,
        "--shutdown-timeout": 10, "--threads": 2, "--name": "n",
    }  # fmt: skip
    assert main(["serve", "digits-cnn", *(str(word) for pair in said.items() for word in pair)]) == 0
    models = seen.pop("models")
    assert list(models) == ["n"]
    assert isinstance(models["n"], Predictor)
    assert models["n"].backend.model.num_threads == 2
    del seen["on_ready"]
    assert json.loads(json.dumps(seen)) == {
        "host": "127.0.0.1", "port": 7, "workers": 2, "max_batch_size": 3, "max_wait_ms": 0.5, "max_queue": 4,
        "deadline_ms": 5, "max_body_bytes": 6, "max_connections": 7, "header_timeout_s": 8, "body_timeout_s": 9,
        "shutdown_timeout_s": 10, "token": "word",
    }  # fmt: skip
    assert main(["serve", "digits-cnn", "--deadline-ms", "0"]) == 0
    assert seen["deadline_ms"] is None
