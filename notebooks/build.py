r"""Build the lessons, the exercises and the solutions from their sources.

``python -m notebooks.build [--check] [--wait MINUTES] [NN ...]``

How a source is written
-----------------------
``notebooks/src/NN_slug.py`` is a lesson, ``notebooks/src/exercises/NN_slug.py`` its exercises with
their solutions. Both are py:percent. Nothing but cells stands in them: no header, no ids, no outputs::

    # %% [markdown] tags=["slide", "title"]
    # # Train once, predict forever
    #
    # **How long does a model think before it answers, and how long did it go to school?**

    # %% tags=["fragment"]
    pad

    # %% [markdown] tags=["notes"]
    # Ask before running: ... (speaker notes for the slide above)

**Where a cell stands on the slides** is said by one of the tags ``slide`` (a new slide), ``subslide``
(a new slide below), ``fragment`` (comes on the next key press), ``skip`` (for reading only) and
``notes`` (what the speaker reads; folded in the notebook). A cell with none of them joins the slide
before it. A cell right after a ``skip`` cell carries one of them, so that a forgotten tag is seen. The
first cell is a ``slide``.

**Sections** of a lesson open with a markdown cell whose first line is a ``##`` heading (the words are
free) and which carries the section's tag. They stand in this order::

    predict  by-hand  measure  figure  why  textbook  play  break-it  summary  quiz

Besides these, the first cell is tagged ``title`` (``# Title``, and a sentence that ends with a
question mark), and a markdown cell before ``predict`` is tagged ``objectives``: a list of 3 to 5
items, the minutes ("25 minutes to teach, 25 to practise") and a line that starts with "Needs"
(or "**Needs**") and names what earlier lessons bring. A code cell stands among the first three cells
(speaker notes not counted), so that something happens at once. Other ``##`` headings (loading,
training) may stand between the sections, with no section tag. Sources of the text: a last markdown
cell tagged ``sources``.

**Folded code.** A code cell tagged ``hide-input`` shows its output alone; a click unfolds it. This is for a
quiz, whose code gives its answers away, and for nothing that is taught.

**Outputs.** Every output is compared when the lesson is executed again: text exactly, numbers with a
decimal point to 1 part in 1000, whole numbers exactly, figures by their data and coarsely as
pictures. A cell whose output holds a time, a memory figure or a hardware stamp is tagged
``measured``: it is executed, must not fail, and its outputs must be of the same kinds; what they say is not
compared. One of the next two code cells then shows what must hold: a cell that is compared and contains a
comparison or an ``assert``, and has an output, e.g. ``print("training takes longer:", training_s > 2 * answer_s)``.
At least 60 % of the cells with an output are compared, among them a table and a figure.
Nothing may reach stderr. Figures go through ``inferkit.plots.show(fig, alt="...")``, which ends their cell.

**Limits**: at most 12 lines of code in a cell (blank lines not counted), none longer than 100
characters; at most 5 lines of prose between two code cells. A paragraph or list item counts as one line for each 160
characters begun; headings, tables, formulas in ``$$``, and the cells tagged ``notes``, ``title``, ``objectives``,
``summary`` and ``sources`` count nothing. No exclamation marks in text, and none of LESSON's banned words.

**Exercises** hold three parts, each opening with a ``##`` markdown cell tagged ``core``, ``stretch`` or
``diagnose``, in this order; each has at least one solution and one ``check(...)``. Lines between
the markers are the solution; what follows the colon is what the blank says instead::

    # %%
    # >>> solution: the number of answers at which serving has cost as much as training
    break_even = training_s / answer_s
    # <<< solution
    check("you found the break-even", lambda: 1e5 < break_even < 1e8, hint="which cost comes again and again?")

The blank then reads ``# Your code here: the number of ...`` and, for every name that the
solution assigns (by a plain ``name = ...`` at the region's own indentation) and that is used outside the
markers, ``break_even = ...``; with no such name, one line ``...``. Markers may be indented, inside a function for
instance. A markdown cell tagged ``solution`` (the explanation) is left out of the blank. With ``...`` in
place of every answer the blank must run to its end, and every one of its checks must print ✗: so give
``check`` a condition that cannot raise there (a ``lambda``, if what it computes might).

What comes out
--------------
Behind the first cell of each notebook stands one that no source holds: it fetches the library on Google Colab, and does
nothing elsewhere (`notebooks.links`). It is folded, on no slide, and has no output.

``notebooks/NN_slug.ipynb`` (executed), ``notebooks/exercises/NN_slug.ipynb`` (blank, not executed) and
``notebooks/solutions/NN_slug.ipynb`` (executed). Each notebook is executed in a folder that holds nothing else.
The same source gives the same bytes, but for the outputs of ``measured`` cells; a rebuild replaces those too.
``--check`` executes nothing and says where a notebook's cells, ids, tags or slide types are not what its source gives.

**Quiet.** While a ``measured`` cell runs, the build watches what other processes use (`inferkit.devices.busy_watch`);
so it does for a cell that measures for a later one and says nothing itself, or what is compared: tag it ``timed``. A
cell that was disturbed is executed again right after itself, once the machine is quiet: write it as one that a student
may run twice. No quiet within ``--wait`` minutes (15): from there on a measured cell with the same source keeps its
published outputs, and a new one is stamped *busy* below its outputs (`notebooks.quiet`), where a test finds it.
"""

import argparse
import math
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from inferkit._base import InputError, whole_file

from .kernel import NotebookError, execute
from .links import for_colab, read_links
from .quiet import WAIT_SECONDS, Quiet
from .source import ROOT, blank, first_line, pick, read, solution, write_text

__all__ = ["build", "check", "main"]


def build(source: Path, target: Path = ROOT, **quiet: Any) -> list[Path]:
    """Build the lesson of a source, and its blank exercises and executed solutions where it has some.

    Parameters
    ----------
    source : pathlib.Path
        ``NN_slug.py``; its exercises stand in ``exercises/`` beside it.
    target : pathlib.Path, optional
        The folder to write to.
    **quiet
        Settings of `notebooks.quiet.Quiet`, such as ``wait_s``.

    Returns
    -------
    list of pathlib.Path
        The files made. Each is replaced whole, or stays as it was.

    Raises
    ------
    NotebookError
        If a cell raises, takes too long, kills the kernel or writes to stderr.
    """
    made = []
    for path, notebook, executed in _plan(source, target):
        name = path.relative_to(target).as_posix()
        _write(path, execute(notebook, name, quiet=Quiet(_published(path), **quiet)) if executed else notebook)
        made.append(path)
    return made


def _plan(source: Path, target: Path) -> Iterator[tuple[Path, NotebookNode, bool]]:
    """Yield each notebook that a source gives: where it goes, what it is, and whether it is executed."""
    name, links = source.with_suffix(".ipynb").name, read_links()
    yield target / name, for_colab(read(source), links), True
    exercises = source.parent / "exercises" / source.name
    if exercises.exists():
        notebook = read(exercises)
        yield target / "exercises" / name, for_colab(blank(notebook), links), False
        yield target / "solutions" / name, for_colab(solution(notebook), links), True


def _published(path: Path) -> NotebookNode | None:
    with suppress(OSError, ValueError):  # none yet, or one that a merge has left broken
        return nbformat.read(path, nbformat.NO_CONVERT)
    return None


def _write(path: Path, notebook: NotebookNode) -> None:
    path.parent.mkdir(exist_ok=True)
    with whole_file(path) as temporary:
        temporary.write_text(write_text(notebook), encoding="utf-8", newline="\n")


def check(source: Path, target: Path = ROOT) -> list[str]:
    """Say where built notebooks are not what their source gives, executing nothing.

    Parameters
    ----------
    source : pathlib.Path
        ``NN_slug.py``.
    target : pathlib.Path, optional
        The folder with the built notebooks.

    Returns
    -------
    list of str
        One line for each difference; none if all is up to date.
    """
    return [line for path, expected, executed in _plan(source, target)
            for line in _differences(path, expected, executed, path.relative_to(target).as_posix())]  # fmt: skip


def _differences(path: Path, expected: NotebookNode, executed: bool, name: str) -> Iterator[str]:
    if not path.exists():
        yield f"{name}: not built"
        return
    text = path.read_text(encoding="utf-8")
    if not executed:
        if text != write_text(expected):
            yield f"{name}: not the bytes that its source gives"
        return
    built = nbformat.reads(text, nbformat.NO_CONVERT)
    if _frame(built) != _frame(expected):
        yield f"{name}: the notebook's own metadata or the number of its cells differ from its source"
    pairs = enumerate(zip(built.cells, expected.cells, strict=False), 1)
    yield from (f"{name}, cell {n} ({first_line(b)}): {what}" for n, (a, b) in pairs for what in _cell_changes(a, b))


def _frame(notebook: NotebookNode) -> tuple[object, ...]:
    return notebook.nbformat, notebook.nbformat_minor, notebook.metadata, len(notebook.cells)


def _cell_changes(built: NotebookNode, expected: NotebookNode) -> list[str]:
    keys = ("cell_type", "source", "id", "metadata")
    return [f"its {key} is {built.get(key)!r}, and its source gives {expected.get(key)!r}"
            for key in keys if built.get(key) != expected.get(key)]  # fmt: skip


def orphans(target: Path = ROOT) -> list[str]:
    """Return a line for each notebook that no source gives."""
    expected = {path for source in pick(sources=target / "src") for path, _, _ in _plan(source, target)}
    built = {path for folder in (".", "exercises", "solutions") for path in (target / folder).glob("*.ipynb")}
    return [f"{path.relative_to(target).as_posix()}: no source gives it" for path in sorted(built - expected)]


def main(arguments: list[str] | None = None) -> int:
    """Build or check notebooks from the command line.

    Parameters
    ----------
    arguments : list of str, optional
        The command line; ``--help`` explains it.

    Returns
    -------
    int
        0 if all went well, else 1.
    """
    parser = argparse.ArgumentParser(prog="python -m notebooks.build", description="Build the notebooks.")
    parser.add_argument("numbers", nargs="*", metavar="NN", help="the lessons' numbers; none means all")
    parser.add_argument("--check", action="store_true", help="say what is out of date; execute nothing")
    wait = {"type": _minutes, "default": WAIT_SECONDS / 60, "metavar": "MINUTES"}
    parser.add_argument("--wait", **wait, help="how long a notebook may wait for a quiet machine (default: 15)")
    options = parser.parse_args(arguments)
    try:
        sources = pick(options.numbers)
    except InputError as error:
        parser.error(str(error))
    if options.check:
        return _report([line for source in sources for line in check(source)] + orphans())
    return _report([line for source in sources for line in _build_one(source, options.wait * 60)])


def _minutes(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (minutes := float(text)) < math.inf:
            return minutes
    raise argparse.ArgumentTypeError(f"expected a number of minutes, 0 or more, got {text!r}")


def _build_one(source: Path, wait_s: float) -> list[str]:
    print(f"{source.stem} ...", flush=True)
    try:
        for path in build(source, wait_s=wait_s):
            print(f"  {path.relative_to(ROOT.parent).as_posix()}")
    except (NotebookError, InputError) as error:
        return [f"{source.stem}: {error}"]
    return []


def _report(problems: list[str]) -> int:
    for line in problems:
        print(line, file=sys.stderr)
    if problems:
        print("The notebooks are not up to date. To rebuild them: python -m notebooks.build", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
