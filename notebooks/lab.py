"""Open the course in JupyterLab: copies of the lessons in ``work/``, which are the student's own.

``python -m notebooks.lab open [options of JupyterLab ...]``
``python -m notebooks.lab lecture NN [options of JupyterLab ...]``
``python -m notebooks.lab reset NN``

A copy that its reader has not touched follows the lesson; one that has been worked in is kept, whatever happens to
the lesson, until `reset` puts it aside as ``old-1_NN_slug.ipynb``: the difference comes first, as lists of files cut
names short.
"""

import argparse
import json
import shutil
import sqlite3
import sys
from contextlib import closing, suppress
from pathlib import Path

from inferkit._base import InputError, sha256, whole_file

from . import server, welcome
from .server import ROOT, WORK, command, environment

__all__ = ["command", "environment", "main", "reset", "sync"]

FOLDERS = ("", "exercises", "solutions")
_STATE = ".origin.json"  # for each copy, the hash of the notebook that it was taken from


def sync(work: Path = WORK, built: Path = ROOT) -> list[str]:
    """Copy new notebooks to `work`, refresh the copies that nobody has changed, and make the welcome page anew.

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
    _welcome(work, built, origin)
    _write_state(work, origin)
    return told


def _welcome(work: Path, built: Path, origin: dict[str, str]) -> None:
    page, text = work / welcome.NAME, welcome.text(work, built)
    digest = sha256(text.encode())
    if _is_unchanged(page, {origin.get(welcome.NAME), digest}):
        with whole_file(page) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
        origin[welcome.NAME] = digest


def _originals(built: Path) -> dict[str, Path]:
    paths = [path for folder in FOLDERS for path in sorted((built / folder).glob("[0-9][0-9]_*.ipynb"))]
    return {path.relative_to(built).as_posix(): path for path in paths}


def _of_lesson(number: str, built: Path) -> dict[str, Path]:
    """Return the notebooks of one lesson, itself first."""
    every = _originals(built)
    found = {name: path for name, path in every.items() if _number(name) == number.partition("_")[0].zfill(2)}
    if not found:
        there = sorted({_number(name) for name in every})
        raise InputError(
            f"expected the number of a lesson, got {number}; the lessons are: {', '.join(there) or 'none'}"
        )
    return found


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
    import nbformat
    from nbformat.sign import NotebookNotary

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
    originals = _of_lesson(number, built)
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
    while (kept := copy.with_name(f"old-{number}_{copy.name}")).exists():
        number += 1
    return copy.rename(kept)


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
    actions.add_parser("open", help="open the welcome page; all other options go to JupyterLab")
    for name, text in (("lecture", "present a lesson with live widgets"), ("reset", "give a fresh copy of a lesson")):
        actions.add_parser(name, help=text).add_argument("number", metavar="NN")
    options, rest = parser.parse_known_args(arguments)
    if options.action == "reset" and rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    server.end_at_signals()
    try:
        server.with_a_home()
        return _act(options.action, getattr(options, "number", ""), rest)
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _act(action: str, number: str, rest: list[str]) -> int:
    if action == "reset":
        told = reset(number)
        print("\n".join([*told, f"Lesson {number} is fresh."]))
        return 0
    page = next(iter(_of_lesson(number, ROOT))) if number else welcome.NAME
    with server.telling("Copying what is new to work/"):
        told = sync()
    for line in told:
        print(line)
    return server.run(command(page, rest, lecture=action == "lecture"), environment())


if __name__ == "__main__":
    sys.exit(main())
