"""A real JupyterLab: started on a free port of the loopback interface, stopped by its process id."""

import json
import secrets
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_S = 300
OPTIONS = (
    "--no-browser",
    "--allow-root",
    "--ServerApp.port_retries=0",
    "--LabApp.extension_manager=readonly",  # the other one asks the package index for its list
    "--LabApp.expose_app_in_browser=True",  # tests read the state of cells that are scrolled out of sight
)


@dataclass
class Lab:
    """A running JupyterLab: where it is, and where its files lie."""

    url: str
    token: str
    root: Path
    process: subprocess.Popen[bytes]

    def call(self, path: str, method: str = "GET") -> Any:
        """Call the server's REST interface."""
        request = urllib.request.Request(
            f"{self.url}/api/{path}", method=method, headers={"Authorization": f"token {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            body = response.read()
        return json.loads(body) if body else None

    def stop_kernels(self) -> None:
        """Shut every kernel down, so that their memory is free for the next test."""
        for session in self.call("sessions"):
            self.call(f"sessions/{session['id']}", "DELETE")


@contextmanager
def running_lab(
    command: Sequence[str], environment: Mapping[str, str], root: Path, log: Path,
    enter: Callable[[], None] | None = None,
) -> Iterator[Lab]:  # fmt: skip
    """Run a command that starts JupyterLab, with a port and a token of its own, until the block ends.

    `enter` is called in its process before it starts.
    """
    port, token = free_port(), secrets.token_hex(16)
    whole = [*command, *OPTIONS, f"--ServerApp.port={port}", f"--IdentityProvider.token={token}"]
    with log.open("wb") as output:
        process = subprocess.Popen(whole, cwd=root, env=dict(environment), stdout=output, stderr=subprocess.STDOUT,
                                   preexec_fn=enter)  # fmt: skip
    lab = Lab(f"http://127.0.0.1:{port}", token, root, process)
    try:
        wait_until_ready(lab, log)
        yield lab
        lab.stop_kernels()
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until_ready(lab: Lab, log: Path) -> None:
    """Wait until the server answers, or fail with the end of its log."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if lab.process.poll() is not None:
            break
        try:
            lab.call("status")
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"JupyterLab did not start within {START_S} s; its log ends:\n{log.read_text()[-2000:]}")
