"""What Binder will do, done here without Docker: ``python -m tests.replay``.

repo2docker prints the Dockerfile that it would build. Of its steps, those that read this project's files are run as
they stand, in an environment of the Python and the Jupyter versions that repo2docker pins, with 2 GB of memory and one
core. Then the server is started as Binder starts it, and lesson 01 is executed in that environment and compared.
Everything lies in one temporary folder, which is removed.
"""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from string import Template

import psutil
import websocket

from notebooks.cap import Cap, entrance, session_cap
from notebooks.links import FIRST
from notebooks.watch import Watch
from tests.interpreters import ROOT, missing, newest_python

CAP_MB = 2048
BUDGET_GB = 2.5
COPY = f"work/{FIRST}"  # where the links lead
SERVER_SECONDS = 120
PREDICTION = """import inferkit
from inferkit.predictor import digit_reader
print(digit_reader().predict_one(inferkit.datasets.load_digits().images[7]))"""
UV = Path(sys.executable).with_name("uv")
# How a machine reaches its registry is its own affair; all else is as on Binder.
KEPT = re.compile(r"(PIP|UV|SSL|HTTPS?|NO|ALL|REQUESTS|INFERKIT)_\w+|TMPDIR", re.I)


# -- what repo2docker says --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """An instruction of a Dockerfile, with its lines joined."""

    word: str
    text: str

    @property
    def ours(self) -> bool:
        """Whether it runs something that this project brings."""
        return self.word == "RUN" and "binder/" in self.text


def read_dockerfile(text: str) -> list[Step]:
    r"""Return the instructions of a Dockerfile, in order.

    Examples
    --------
    >>> read_dockerfile("# why\nENV A=1 \\\n    B=2\nRUN ./binder/postBuild\n")
    [Step(word='ENV', text='A=1 \\\n    B=2'), Step(word='RUN', text='./binder/postBuild')]
    """
    found = re.findall(r"^([A-Z]+)[ \t]+((?:.*\\\n)*.*)$", text, flags=re.M)
    return [Step(word, rest.strip()) for word, rest in found]


def environment(steps: list[Step], start: dict[str, str]) -> dict[str, str]:
    r"""Return the environment that a Dockerfile's steps lead to. What `start` names stays as it is, but for the path.

    Examples
    --------
    >>> steps = read_dockerfile("ARG WHO\nENV HOME=/home/${WHO}\nENV PATH=${HOME}/bin:${PATH}")
    >>> environment(steps, {"WHO": "me", "PATH": "/bin"})
    {'WHO': 'me', 'PATH': '/home/me/bin:/bin', 'HOME': '/home/me'}
    """
    now = dict(start)
    for step in steps:
        pairs = shlex.split(step.text.replace("\\\n", " ")) if step.word in ("ENV", "ARG") else []
        for name, _, value in (pair.partition("=") for pair in pairs):
            if name == "PATH" or name not in now:
                now[name] = Template(value).safe_substitute(now)
    return now


def base_versions(lock: str) -> dict[str, str]:
    r"""Return the Python packages of a frozen conda environment, by the names that PyPI has for them.

    Examples
    --------
    >>> names = "noarch/nbconvert-core-7.16.6-pyhcf101f3_1", "linux-64/cffi-2.0.0-py313h1_0", "linux-64/zlib-1.3-h4a_2"
    >>> base_versions("".join(f"https://conda.example/{name}.conda#1f\n" for name in names))
    {'nbconvert': '7.16.6', 'cffi': '2.0.0'}
    """
    found = re.findall(r"/([\w.-]+)-([^-/]+)-(?:py\d\w*|pyh\w+)\.(?:conda|tar\.bz2)", lock)
    return {re.sub(r"-(base|core)$", "", name): version for name, version in found}


# -- where it is replayed ---------------------------------------------------------------------------------------


@dataclass
class Place:
    """The folder that stands for Binder's container: its environment variables, and the limits of a session."""

    folder: Path
    env: dict[str, str]
    cap: Cap | None

    @property
    def home(self) -> Path:
        """Where the project lies."""
        return Path(self.env["REPO_DIR"])

    @property
    def python(self) -> Path:
        """The Python that Binder's base would bring."""
        return Path(self.env["NB_PYTHON_PREFIX"], "bin", "python")

    def start(self, command: list[str], **options: object) -> "subprocess.Popen[str]":
        """Start a command within the limits."""
        # A group of its own, so that all that it starts can be ended together.
        return subprocess.Popen(command, cwd=self.home, env=self.env, preexec_fn=entrance(self.cap), text=True,
                                start_new_session=True, **options)  # type: ignore[call-overload, no-any-return]  # fmt: skip

    def run(self, command: str) -> None:
        """Run a step to its end; print its seconds and its peak."""
        began = time.monotonic()
        process = self.start(["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        started = psutil.Process(process.pid)
        watch = Watch(lambda: started)
        watch.start()
        printed, _ = process.communicate()
        watch.stop()
        print(f"{time.monotonic() - began:6.1f} s {watch.peak_mb:6.0f} MB  {command}", flush=True)
        if process.returncode:
            raise SystemExit(f"{printed}\nThis step of Binder's build failed (status {process.returncode}): {command}")


def copy_project(target: Path) -> None:
    """Copy what a clone would hold, and what is not yet committed."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            capture_output=True, text=True, check=True).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        with suppress(FileNotFoundError):  # removed, and not yet committed
            content, mode = (ROOT / name).read_bytes(), (ROOT / name).stat().st_mode
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(content)
            (target / name).chmod(mode)


def install(python: Path, *what: str) -> None:
    """Install into an environment, quickly: from the cache where it can."""
    subprocess.run([UV, "pip", "install", "-q", "--python", python, *what], check=True)


def ask_repo2docker(folder: Path, project: Path) -> tuple[str, Path]:
    """Return the Dockerfile that repo2docker would build, and the folder of its frozen environments."""
    python = folder / "repo2docker" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "repo2docker"], check=True)
    install(python, "--require-hashes", "-r", str(ROOT / "binder" / "lock-repo2docker.txt"))
    command = [python, "-m", "repo2docker", "--no-build", "--debug", "--user-id=1000", "--user-name=jovyan", "."]
    said = subprocess.run(command, cwd=project, capture_output=True, text=True)
    if said.returncode:
        raise SystemExit(f"repo2docker refused the project: {said.stderr}")
    (conda,) = (folder / "repo2docker").glob("lib/python*/site-packages/repo2docker/buildpacks/conda")
    return said.stdout, conda


def make_base(prefix: Path, python: list[str], frozen: str, conda: Path) -> dict[str, str]:
    """Make the environment that Binder starts from; return its versions."""
    (version,) = re.findall(r"py-(3\.\d+)-linux-64\.lock", frozen)
    versions = base_versions((conda / f"environment.py-{version}-linux-64.lock").read_text())
    asked = re.findall(r"^- (\w[\w-]*?)(?:-singleuser)?==", (conda / f"environment.py-{version}.yml").read_text(), re.M)
    subprocess.run([*python, "-m", "venv", prefix], check=True)
    constraints = prefix / "base.txt"
    constraints.write_text("".join(f"{name}=={number}\n" for name, number in versions.items()))
    install(prefix / "bin" / "python", "-c", str(constraints), *asked)
    print(f"Binder's base, Python {version}: " + ", ".join(f"{n} {versions.get(n, '')}".strip() for n in asked))
    return versions


# -- the replay -------------------------------------------------------------------------------------------------


def disk_gb(folder: Path) -> float:
    """Return what a folder takes on the disk, in units of 10⁹ bytes."""
    return sum(path.lstat().st_blocks for path in folder.rglob("*")) * 512 / 1e9


def build(place: Place, steps: list[Step]) -> None:
    """Run the steps that are ours, as they stand, and say which are not."""
    others = [step.text.split()[0] for step in steps if step.word == "RUN" and not step.ours]
    print(f"Not replayed, as they make the container: {len(others)} RUN steps ({', '.join(sorted(set(others)))}).")
    for step in steps:
        if step.ours:
            place.run(step.text)


@contextmanager
def server(place: Place) -> Iterator[tuple[str, str]]:
    """Start the server as Binder does, through `start`; yield its address and its token."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place.env |= {"JUPYTER_RUNTIME_DIR": str(place.folder / "runtime"), "JUPYTER_TOKEN": "replay"}
    command = ["jupyter", "lab", "--ip=127.0.0.1", f"--port={port}", "--no-browser", "--allow-root"]
    log = (place.folder / "server.log").open("w")
    process = place.start([place.env["R2D_ENTRYPOINT"], *command], stdout=log, stderr=subprocess.STDOUT)
    try:
        yield _answering(f"http://127.0.0.1:{port}/", process, place.folder / "server.log"), "replay"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


def _answering(address: str, process: "subprocess.Popen[str]", log: Path) -> str:
    end = time.monotonic() + SERVER_SECONDS
    while process.poll() is None and time.monotonic() < end:
        with suppress(OSError):
            urllib.request.urlopen(f"{address}api", timeout=30).close()
            return address
        time.sleep(0.1)
    raise SystemExit(f"{log.read_text()}\nThe server did not start.")


def check_server(place: Place) -> None:
    """Hold the server to what the links need: the lesson is there, a kernel predicts, a widget's answer is prompt."""
    began = time.monotonic()
    with server(place) as (address, token):

        def ask(path: str) -> str:
            with urllib.request.urlopen(f"{address}{path}?token={token}", timeout=30) as answer:
                return str(answer.read().decode())

        assert json.loads(ask(f"api/contents/{COPY}"))["type"] == "notebook"
        page = ask(f"lab/tree/{COPY}")
        assert "apputils-extension:announcements" in page, "JupyterLab would ask for news"
        predicted = answer(address, token, PREDICTION).strip()
        assert predicted == "7", f"the kernel was to read a 7 and says: {predicted}"
    print(
        f"{time.monotonic() - began:6.1f} s            the server, through binder/start, until a kernel has predicted"
    )
    command = f'"{place.env["R2D_ENTRYPOINT"]}" jupyter lab --show-config-json --allow-root'
    shown = place.start(["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).communicate()[0]
    used = json.loads(shown)["ServerApp"]["kernel_websocket_connection_class"]
    assert used == "inferkit.widgets.server.PromptConnection", used


def answer(address: str, token: str, code: str) -> str:
    """Return what code prints in a fresh kernel of a server, asked for through the server as a page does."""
    given = {"Authorization": f"token {token}"}
    asked = urllib.request.Request(f"{address}api/kernels", data=b"{}", method="POST", headers=given)
    with urllib.request.urlopen(asked, timeout=SERVER_SECONDS) as answered:
        kernel = json.load(answered)["id"]
    header = {"msg_id": "replay", "msg_type": "execute_request", "username": "", "session": "replay", "version": "5.3"}
    message = {"header": header, "parent_header": {}, "metadata": {}, "channel": "shell", "content": {"code": code}}
    socket_address = f"ws{address.removeprefix('http')}api/kernels/{kernel}/channels"
    channels = websocket.create_connection(socket_address, timeout=SERVER_SECONDS, header=given)
    with closing(channels):
        channels.send(json.dumps(message))
        printed = ""
        while True:
            said = json.loads(channels.recv())
            if said["parent_header"].get("msg_id") == "replay":
                content = said["content"]
                printed += content.get("text", "") + "\n".join(content.get("traceback", []))
                if content.get("execution_state") == "idle":
                    return printed


def replay(folder: Path, python: list[str]) -> int:
    """Replay Binder's build and a session in a folder; return the exit code."""
    home = folder / "home"
    copy_project(home)
    text, conda = ask_repo2docker(folder, home)
    steps = read_dockerfile(text)
    kept = {name: value for name, value in os.environ.items() if KEPT.fullmatch(name)}
    own = {"NB_USER": "jovyan", "NB_UID": "1000", "HOME": str(home), "APP_BASE": str(folder), "PATH": os.defpath}
    frozen = next(step.text for step in steps if step.word == "COPY" and step.text.endswith("/environment.lock"))
    with session_cap(CAP_MB) as (cap, why):
        if why:
            print(f"NOT CAPPED: {why}. The steps have all the memory there is.")
        place = Place(folder, environment(steps, {**kept, **own}), cap)
        prefix = Path(place.env["NB_PYTHON_PREFIX"])
        versions = make_base(prefix, python, _decoded(frozen), conda)
        build(place, steps)
        _check_base(place, versions)
        size = disk_gb(prefix)
        print(
            f"The environment takes {size:.2f} GB on the disk (budget {BUDGET_GB}); the base's own packages are in it,"
        )
        print("but not Node.js and conda, which Binder's base brings too.")
        check_server(place)
    return int(size > BUDGET_GB)


def _decoded(text: str) -> str:
    """Return a path as it was, before repo2docker wrote what is not a letter as ``-2e``."""
    return re.sub(r"-([0-9a-f]{2})", lambda code: chr(int(code[1], 16)), text.rpartition("-")[0])


def _check_base(place: Place, versions: dict[str, str]) -> None:
    """Hold the steps to leaving the base's Jupyter as it was, and to a set of packages that fit each other."""
    place.run('"${NB_PYTHON_PREFIX}/bin/python" -m pip check')
    code = "import importlib.metadata as m; print(*map(m.version, ('jupyterlab', 'ipykernel', 'ipywidgets')))"
    now = subprocess.run([place.python, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert now == [versions[name] for name in ("jupyterlab", "ipykernel", "ipywidgets")], now


def main() -> int:
    """Replay, or say what is missing for it."""
    python = newest_python()
    if python is None:
        print(f"Not replayed: {missing()}")
        return 0
    with tempfile.TemporaryDirectory(prefix="inferkit-binder-", ignore_cleanup_errors=True) as folder:
        return replay(Path(folder), python)


if __name__ == "__main__":
    sys.exit(main())
