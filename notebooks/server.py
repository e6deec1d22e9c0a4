"""JupyterLab as the course runs it: what it is called with, and its life from the first line to the last process.

It prints a log of its own, which is kept in ``work/.lab/log``. The student reads what is under way, where to look, and
what went wrong.
"""

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_config_dir, jupyter_data_dir, jupyter_runtime_dir

__all__ = ["command", "end_at_signals", "environment", "run", "say", "telling", "with_a_home"]

ROOT = Path(__file__).resolve().parent
WORK = ROOT.parent / "work"
_EVERY_S = 4  # how often what takes long says so
_LISTENING_S = 2  # how long it may take from its note to its port
_CLOSING_S = 5  # what JupyterLab gets to close its kernels
_LONG_NAMES = {
    "--ip": "--ServerApp.ip",
    "--notebook-dir": "--ServerApp.root_dir",
    "--allow-root": "--ServerApp.allow_root",
}
_IN_CONTAINER = ("/.dockerenv", "/run/.containerenv")
_NETWORK = ("", "*", "0.0.0.0", "::")
_FOLDERS = [f"JUPYTER_{name}_DIR" for name in ("CONFIG", "DATA", "RUNTIME")]
_FOLDERS += [f"XDG_{name}" for name in ("CACHE_HOME", "CONFIG_HOME", "DATA_HOME", "RUNTIME_DIR", "STATE_HOME")]
_FOLDERS += ["IPYTHONDIR"]
# Where keys go while presenting: to a cell (but not to a widget in its output), to the deck's own arrows, or, once the
# cell that had the focus is off the slide, to nothing at all.
_NOWHERE = "body[data-jp-deck-mode='presenting']:not(:has(:focus))"
_ARROWS = ".jp-Deck-Remote"
_CELL = (
    ".jp-Deck .jp-Notebook.jp-mod-commandMode:not(.jp-mod-readWrite) .jp-Cell:not(:has(.jp-OutputArea-output :focus))"
)
_EDITOR = ".jp-Deck .jp-Notebook.jp-mod-editMode .jp-Cell"
_KEYS = [
    # What a presenter's remote sends is among them.
    ("deck:go", {"direction": "down", "alternate": "forward"}, ("ArrowRight", "ArrowDown", "PageDown", "Space")),
    ("deck:go", {"direction": "up", "alternate": "back"}, ("ArrowLeft", "ArrowUp", "PageUp", "Shift Space")),
    # In place: the room wants to see what comes out.
    ("notebook:run-cell", {}, ("Shift Enter", "Ctrl Enter")),
]
_LECTURE = {
    "@deathbeds/jupyterlab-deck/plugin": {"active": True},
    # The extension listens where this JupyterLab no longer puts the focus.
    "@jupyterlab/shortcuts-extension/shortcuts": {
        "shortcuts": [
            {"command": command, "args": args, "keys": [key], "selector": selector}
            for command, args, keys in _KEYS
            for key in keys
            for selector in (_CELL, _ARROWS, _NOWHERE, *([_EDITOR] if command == "notebook:run-cell" else []))
        ]
    },
    # Every cell is there to be shown, also those below the edge.
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    # Letters for the last row, the whole width, no frame around the cell in turn.
    "@deathbeds/jupyterlab-fonts/fonts": {
        "styles": {
            ":root": {"--jp-content-font-size1": "20px", "--jp-code-font-size": "16px"},
            "body[data-jp-deck-mode='presenting']": {"--jp-private-sidebar-tab-width": "0px !important"},
            ".jp-Deck.jp-NotebookPanel": {"overflow": "clip !important"},
            ".jp-Deck .jp-Notebook": {"padding": "0 48px !important"},
            ".jp-Deck .jp-RenderedHTMLCommon table": {"font-size": "17px !important"},
            ".jp-Deck .jp-Notebook .jp-Cell.jp-deck-mod-onscreen": {"border-color": "transparent !important"},
            "body[data-jp-deck-mode='presenting'] .jp-SideBar": {"display": "none !important"},
            # It lies unseen over the left edge of outputs, where it takes the clicks that a button should get.
            ".jp-Deck .jp-OutputArea-promptOverlay": {"display": "none !important"},
        }
    },
}


# -- what it is called with --------------------------------------------------------------------------------------


def command(page: str, options: list[str], work: Path = WORK, *, lecture: bool = False) -> list[str]:
    """Return the command that opens JupyterLab on a page, and make the settings that it needs.

    Parameters
    ----------
    page : str
        The file's name in `work`.
    options : list of str
        Options for JupyterLab. They take the place of this command's own.
    work : pathlib.Path, optional
        Where the student works: the server shows nothing else.
    lecture : bool, optional
        Whether to present: a lesson opens as slides (jupyterlab-deck), in a workspace and with settings of its own.

    Returns
    -------
    list of str
        The command. The server answers on the loopback address alone, asks for a token, and ends with no question:
        so it may be root's too, as in containers. Without a token it may not, unless the options say so.
    """
    own = {
        "--ServerApp.ip": "127.0.0.1",
        "--ServerApp.root_dir": work,
        "--ServerApp.answer_yes": True,
        "--ServerApp.kernel_websocket_connection_class": "inferkit.widgets.server.PromptConnection",
        "--LabApp.default_url": f"/lab/tree/{page}",
        **({"--ServerApp.allow_root": True} if _is_root() and not any(o.endswith(".token=") for o in options) else {}),
        **({f"--LabApp.{key}": value for key, value in _lecture_folders(work).items()} if lecture else {}),
    }
    given = {option.partition("=")[0] for option in options}
    given |= {_LONG_NAMES[name] for name in given & _LONG_NAMES.keys()}  # JupyterLab refuses an option given twice
    kept = [f"{name}={value}" for name, value in own.items() if name not in given]
    return [sys.executable, "-m", "jupyterlab", *kept, *options]


def _is_root() -> bool:
    return os.name != "nt" and os.geteuid() == 0


def _lecture_folders(work: Path) -> dict[str, Path]:
    """Make settings and workspaces that are fresh for each lecture, so that the student's own stay as they are."""
    base = work / ".lab" / "lecture"
    shutil.rmtree(base, ignore_errors=True)
    for name, settings in _LECTURE.items():
        path = base / "settings" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings), encoding="utf-8")
    return {"user_settings_dir": base / "settings", "workspaces_dir": base / "workspaces"}


def environment(work: Path = WORK) -> dict[str, str]:
    """Return the environment for JupyterLab: it asks for no news from the outside.

    Parameters
    ----------
    work : pathlib.Path, optional
        Where the student works.

    Returns
    -------
    dict of str to str
    """
    config = work / ".lab" / "config"
    page = config / "labconfig" / "page_config.json"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}))
    paths = [str(config), *os.environ.get("JUPYTER_CONFIG_PATH", "").split(os.pathsep)]
    return {**os.environ, "JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, paths))}


def with_a_home(work: Path = WORK) -> None:
    """Put a folder of the course in the place of a home that can't be written to, and say so in a line.

    Parameters
    ----------
    work : pathlib.Path, optional
        Where the student works.
    """
    if os.name == "nt":
        return
    try:
        for folder in (Path.home(), jupyter_config_dir(), jupyter_data_dir(), jupyter_runtime_dir()):
            Path(folder).mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
    except (OSError, RuntimeError) as error:
        home = work / ".lab" / "home"
        home.mkdir(parents=True, exist_ok=True)
        for name in _FOLDERS:
            os.environ.pop(name, None)
        os.environ["HOME"] = str(home)
        say(f"Your home folder can't be written to ({error}): settings and the ledger are kept in work/.lab/home.")


# -- its life -----------------------------------------------------------------------------------------------------


def say(text: str) -> None:
    """Print a line at once; a terminal that is gone does not matter any more."""
    try:
        print(text, flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # or the last flush complains


@contextmanager
def telling(what: str) -> Iterator[None]:
    """Say what is under way, and every few seconds how long it has taken, until the block ends."""
    started, done = time.monotonic(), threading.Event()

    def tell() -> None:
        while not done.wait(_EVERY_S):
            say(f"  {time.monotonic() - started:.0f} s")

    say(f"{what} ...")
    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def end_at_signals() -> None:
    """Let what would kill this process end it in good order, with the exit code that a shell gives."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:  # `nohup` has it ignored
            signal.signal(number, lambda number, _frame: sys.exit(128 + number))


def run(command: list[str], environment: dict[str, str], work: Path = WORK) -> int:
    """Run JupyterLab until it ends; whatever ends this call ends the server and its kernels.

    Parameters
    ----------
    command : list of str
        What `command` gives.
    environment : dict of str to str
        What `environment` gives.
    work : pathlib.Path, optional
        Where the student works. The log is kept in it.

    Returns
    -------
    int
        The exit status: 0 after Ctrl-C.
    """
    log = work / ".lab" / "log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):
        log.unlink()  # another JupyterLab that still writes to it goes on with its own
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, env=environment, cwd=work, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,  # a terminal's Ctrl-C comes here, and goes on from here, once
            preexec_fn=_die_with_this_process(),
        )  # fmt: skip
    try:
        with telling("Starting JupyterLab"):
            noted = _wait_for_note(server)
        if noted:
            say("\n".join(_address(noted)))
            _show_errors(server, log)
    except KeyboardInterrupt:
        return 0
    finally:
        _end(server)
    if server.returncode or not noted:
        said = log.read_text(encoding="utf-8", errors="replace").splitlines()
        say("\n".join(said[-15:] if server.returncode else said))  # all of it if that is what it was called for: --help
    return server.returncode if server.returncode >= 0 else 128 - server.returncode


def _die_with_this_process() -> Any:
    """Return what a child does first: on Linux it asks to be killed when this process is."""
    if not sys.platform.startswith("linux"):
        return None
    library, set_parent_death_signal = ctypes.CDLL(None), 1
    return lambda: library.prctl(set_parent_death_signal, signal.SIGKILL)


def _wait_for_note(server: subprocess.Popen[bytes]) -> dict[str, Any] | None:
    """Return what the server notes, and wait until it listens, which comes a moment later; None if it ends before."""
    note, noted = Path(jupyter_runtime_dir()) / f"jpserver-{server.pid}.json", None
    end = float("inf")
    while server.poll() is None and time.monotonic() < end:
        with suppress(OSError, ValueError):
            if noted is None:
                noted, end = dict(json.loads(note.read_text(encoding="utf-8"))), time.monotonic() + _LISTENING_S
            host = "127.0.0.1" if noted["hostname"] in _NETWORK else noted["hostname"]
            socket.create_connection((host, noted["port"]), timeout=1).close()
            break
        time.sleep(0.1)
    return noted


def _address(noted: dict[str, Any]) -> list[str]:
    """Say where to look, and to root what keeps others out."""
    is_open = noted["hostname"] in _NETWORK
    url = f"http{'s' * noted['secure']}://127.0.0.1:{noted['port']}{noted['base_url']}" if is_open else noted["url"]
    lines = [
        f"Open this: {url}{'?token=' * bool(noted['token'])}{noted['token']}",
        "Ctrl-C ends it. Its log: work/.lab/log",
    ]
    if not is_open and any(map(os.path.exists, _IN_CONTAINER)):
        lines.append("From outside this container: publish its port, and make lab ARGS=--ip=0.0.0.0")
    if _is_root():
        whom = "the whole network" if is_open else f"this machine alone ({noted['hostname']})"
        what = (
            "asks for the token above" if noted["token"] else f"asks for {'a' if noted['password'] else 'no'} password"
        )
        verdict = "safe here" if (noted["token"] or noted["password"]) and not is_open else "not safe everywhere"
        lines.append(f"Running as root is {verdict}: the server answers {whom}, and {what}.")
    return lines


def _show_errors(server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for the server's end, and show the errors in its log meanwhile."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        while server.poll() is None:
            for line in lines:
                if line.startswith("[E "):
                    say(line.rstrip())
            time.sleep(0.2)


def _end(server: subprocess.Popen[bytes]) -> None:
    """End server and kernels: politely, then (after some seconds, or if asked again) at once."""
    try:
        if server.poll() is None:
            say("Closing JupyterLab and its kernels ...")
            if os.name != "nt":  # where Ctrl-C has reached it already
                server.terminate()
        server.wait(_CLOSING_S)
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        pass
    finally:
        server.kill()
        server.wait()
        for kernel in _left_over(server.pid):
            with suppress(ProcessLookupError):
                os.kill(kernel, signal.SIGKILL)


def _left_over(server: int) -> list[int]:
    """Return the kernels of a server and what they have started, on Linux; elsewhere kernels look for their server."""
    mark, found = f"JPY_PARENT_PID={server}".encode(), []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found
