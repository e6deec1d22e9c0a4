"""The page that `make lab` opens: the map of the course, what is done of it, and how to work in it.

Parts and titles are the README's, minutes those that each lesson states. What is done is read from the student's own
copies, as they were saved, and from the ledger.
"""

import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from inferkit._base import InputError

__all__ = ["NAME", "text"]

NAME = "00_welcome.md"
_ROW = re.compile(
    r"^\| (?:\| \*\*(?P<part>[^|*]+)\*\*|(?P<number>\d\d) \| \[(?P<title>[^]]+)\]\(notebooks/(?P<name>\S+)\)) ", re.M
)
_MINUTES = re.compile(r"(\d+) minutes to teach, (\d+) minutes to practise")
_PAGE = """# inferkit: what happens after training

**Run a cell** with Shift+Enter, from the top of a lesson. A widget lives as long as its notebook's kernel: opened \
without it, a saved notebook shows a picture in place of a live widget. *Run → Run All Cells* brings it to life.

{map}

Minutes: to go through, and to practise. {done}

**Keep your work.** These are copies, yours to change. *File → Save Notebook* keeps them in this folder, `work`, and \
`make lab` renews only what you have not touched.

**Start again.** `make reset N=01` in a terminal gives a fresh lesson 01, exercises and solutions (without make: \
`python binder/course.py reset 01`). What you wrote stays beside it, as `old-1_01_...`.

`make lab` makes this page anew, unless you have changed it.
"""


def text(work: Path, built: Path) -> str:
    """Return the page as Markdown.

    Parameters
    ----------
    work : pathlib.Path
        Where the student works.
    built : pathlib.Path
        The folder of the built notebooks. The README lies beside it.

    Returns
    -------
    str
    """
    return _PAGE.format(map="\n".join(_map(work, built)), done=_ledger())


def _map(work: Path, built: Path) -> Iterator[str]:
    yield "| | Lesson | Minutes | | Done |\n|---|:---|---|:---|:---|"
    for row in _ROW.finditer((built.parent / "README.md").read_text(encoding="utf-8")):
        if row["part"]:
            part = f"| | **{row['part']}** | | | |"
        elif (built / row["name"]).exists():
            if part:  # a part none of whose lessons is there is left out
                yield part
                part = ""
            number, title, name = row["number"], row["title"], row["name"]
            practise = f"[exercises](exercises/{name}) · [solutions](solutions/{name})"
            yield f"| {number} | [{title}]({name}) | {_minutes(built / name)} | {practise} | {_done(work, name)} |"


def _minutes(lesson: Path) -> str:
    stated = _MINUTES.search(lesson.read_text(encoding="utf-8"))
    return " + ".join(stated.groups()) if stated else ""


def _done(work: Path, name: str) -> str:
    """Say what a student's saved copies show: guesses that were kept, checks of the exercises that pass."""
    guesses = len(re.findall(r"^You guessed ", _printed(work / name), re.M))
    checks = re.findall(r"^[✓✗] ", _printed(work / "exercises" / name), re.M)
    said = [f"{guesses} {'guess' if guesses == 1 else 'guesses'}"] if guesses else []
    said += [f"{checks.count('✓ ')} of {len(checks)} checks"] if checks else []
    return ", ".join(said)


def _printed(copy: Path) -> str:
    """Return what the cells of a copy show as text; nothing of a file that is no notebook any more."""
    try:
        cells = json.loads(copy.read_text(encoding="utf-8"))["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
        return "\n".join("".join(lines) for lines in texts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""


def _ledger() -> str:
    """Say how many rows the ledger has; nothing if it has none, or can't be read."""
    from inferkit.benchmark import Ledger

    try:
        with warnings.catch_warnings(action="ignore"):
            rows = len(Ledger.open())
    except (InputError, OSError):
        rows = 0
    return f"Your ledger has {rows} {'row' if rows == 1 else 'rows'}." if rows else ""
