"""Open the course in JupyterLab: copies of the lessons in ``work/``, which are the student's own.

``python -m notebooks.lab open [options of JupyterLab ...]``
``python -m notebooks.lab lecture NN [options of JupyterLab ...]``
``python -m notebooks.lab reset NN``

A copy that its reader has not touched follows the lesson; one that has been worked in is kept, whatever happens to
the lesson, until `reset` puts it aside as ``NN_slug.backup-1.ipynb``.
"""

import argparse
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import nbformat
from nbformat.sign import NotebookNotary

from inferkit._base import InputError, sha256, whole_file

from .source import ROOT, pick

__all__ = ["command", "main", "reset", "sync"]

WORK = ROOT.parent / "work"
FOLDERS = ("", "exercises", "solutions")
_CLOSING_SECONDS = 10
_LONG_NAMES = {"--ip": "--ServerApp.ip", "--notebook-dir": "--ServerApp.root_dir"}
_STATE = ".origin.json"  # for each copy, the hash of the notebook that it was taken from
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


def sync(work: Path = WORK, built: Path = ROOT) -> list[str]:
    """Copy new notebooks to `work`, and refresh the copies that nobody has changed.

    Parameters
    ----------
    work : pathlib.Path, optional
        Where the student works. It is made if need be.
    built : pathlib.Path, optional
        The folder of the built notebooks.

    Returns
    -------
    list of str
        What the student should know: copies that were kept although their lesson has changed.

    Raises
    ------
    OSError
        If `work` cannot be written to.
    """
    work.mkdir(exist_ok=True)
    origin, told = _read_state(work), []
    for name, original in _originals(built).items():
        taken_from, new, copy = origin.get(name), sha256(original), work / name
        if _is_unchanged(copy, {taken_from, new}):
            _copy(original, copy, new)
            origin[name] = new
        elif taken_from != new:
            told.append(
                f"{name}: your copy is kept; the lesson has changed since. A fresh one: make reset N={_number(name)}"
            )
    _write_state(work, origin)
    return told


def _originals(built: Path) -> dict[str, Path]:
    paths = [path for folder in FOLDERS for path in sorted((built / folder).glob("[0-9][0-9]_*.ipynb"))]
    return {path.relative_to(built).as_posix(): path for path in paths}


def _number(name: str) -> str:
    return name.rpartition("/")[2][:2]


def _is_unchanged(copy: Path, known: set[str | None]) -> bool:
    return not copy.exists() or sha256(copy) in known


def _copy(original: Path, copy: Path, digest: str) -> None:
    if copy.exists() and sha256(copy) == digest:
        return
    copy.parent.mkdir(exist_ok=True)
    with whole_file(copy) as temporary:
        shutil.copyfile(original, temporary)
    with suppress(OSError, sqlite3.Error):  # no more than a convenience: JupyterLab shows its outputs as they are
        notary = NotebookNotary()
        with closing(notary.store):
            notary.sign(nbformat.read(copy, as_version=4))


def _read_state(work: Path) -> dict[str, str]:
    """Return where the copies come from; a state that can't be read counts as none, and then nothing is overwritten."""
    try:
        state = json.loads((work / _STATE).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return state if isinstance(state, dict) else {}


def _write_state(work: Path, origin: dict[str, str]) -> None:
    with whole_file(work / _STATE) as temporary:
        temporary.write_text(json.dumps(origin, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def reset(number: str, work: Path = WORK, built: Path = ROOT) -> list[str]:
    """Give a fresh copy of a lesson, its exercises and their solution; what was there is put aside, not lost.

    Parameters
    ----------
    number : str
        The lesson's number.
    work : pathlib.Path, optional
        Where the student works.
    built : pathlib.Path, optional
        The folder of the built notebooks.

    Returns
    -------
    list of str
        A line for each file that was put aside.

    Raises
    ------
    InputError
        If there is no such lesson.
    """
    number = number.zfill(2)
    originals = {name: path for name, path in _originals(built).items() if _number(name) == number}
    if not originals:
        there = sorted({_number(name) for name in _originals(built)})
        raise InputError(
            f"expected the number of a lesson, got {number}; the lessons are: {', '.join(there) or 'none'}"
        )
    work.mkdir(exist_ok=True)
    origin, told = _read_state(work), []
    for name, original in originals.items():
        new, copy = sha256(original), work / name
        if not _is_unchanged(copy, {origin.get(name), new}):
            kept = _put_aside(copy)
            told.append(f"{name}: your copy is now {kept.relative_to(work).as_posix()}")
        _copy(original, copy, new)
        origin[name] = new
    _write_state(work, origin)
    return told


def _put_aside(copy: Path) -> Path:
    number = 1
    while (kept := copy.with_name(f"{copy.stem}.backup-{number}.ipynb")).exists():
        number += 1
    return copy.rename(kept)


# -- JupyterLab -------------------------------------------------------------------------------------------------


def command(lesson: str, options: list[str], work: Path = WORK, *, lecture: bool = False) -> list[str]:
    """Return the command that opens JupyterLab on a lesson, and make the settings that it needs.

    Parameters
    ----------
    lesson : str
        The notebook's name in `work`.
    options : list of str
        Options for JupyterLab. They take the place of this command's own.
    work : pathlib.Path, optional
        Where the student works: the server shows nothing else.
    lecture : bool, optional
        Whether to present: the lesson opens as slides (jupyterlab-deck), in a workspace and with settings of its own.

    Returns
    -------
    list of str
        The command. The server answers on the loopback address alone, and Ctrl-C ends it with no question.
    """
    own = {
        "--ServerApp.ip": "127.0.0.1",
        "--ServerApp.root_dir": work,
        "--ServerApp.answer_yes": True,
        "--ServerApp.kernel_websocket_connection_class": "inferkit.widgets.server.PromptConnection",
        "--LabApp.default_url": f"/lab/tree/{lesson}",
        **({f"--LabApp.{key}": value for key, value in _lecture_folders(work).items()} if lecture else {}),
    }
    given = {option.partition("=")[0] for option in options}
    given |= {_LONG_NAMES[name] for name in given & _LONG_NAMES.keys()}  # JupyterLab refuses an option given twice
    kept = [f"{name}={value}" for name, value in own.items() if name not in given]
    return [sys.executable, "-m", "jupyterlab", *kept, *options]


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


def _open(lesson: str, options: list[str], *, lecture: bool) -> int:
    """Run JupyterLab until it ends. Ctrl-C and SIGTERM reach it; it gets some seconds to close its kernels."""
    server = subprocess.Popen(command(lesson, options, lecture=lecture), env=environment(), cwd=WORK)
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    patience = None
    while True:
        try:
            return max(server.wait(patience), 0)
        except KeyboardInterrupt:
            patience = _CLOSING_SECONDS
        except subprocess.TimeoutExpired:  # closed, but for a thread that hangs
            server.kill()


def main(arguments: list[str] | None = None) -> int:
    """Open, present or reset from the command line.

    Parameters
    ----------
    arguments : list of str, optional
        The command line; ``--help`` explains it.

    Returns
    -------
    int
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m notebooks.lab", description="Open the course in JupyterLab.")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("open", help="open the first lesson; all other options go to JupyterLab")
    for name, text in (("lecture", "present a lesson with live widgets"), ("reset", "give a fresh copy of a lesson")):
        actions.add_parser(name, help=text).add_argument("number", metavar="NN")
    options, rest = parser.parse_known_args(arguments)
    if options.action == "reset" and rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return _act(options.action, getattr(options, "number", None), rest)
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        return 1


def _act(action: str, number: str | None, rest: list[str]) -> int:
    if action == "reset":
        told = reset(number or "")
        print("\n".join([*told, f"Lesson {number} is fresh."]))
        return 0
    lessons = pick([number] if number else None)
    if not lessons:
        raise InputError("no lesson is here; build them: python -m notebooks.build")
    for line in sync():
        print(line)
    return _open(f"{lessons[0].stem}.ipynb", rest, lecture=action == "lecture")


if __name__ == "__main__":
    sys.exit(main())
