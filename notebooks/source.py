"""From a py:percent source to a notebook: ids, tags, slide types, and the two faces of an exercise."""

import ast
import hashlib
import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from inferkit._base import InputError

__all__ = ["SLIDE_TAGS", "blank", "first_line", "from_text", "pick", "read", "solution", "tags", "write_text"]

ROOT = Path(__file__).resolve().parent
SOURCES = ROOT / "src"
SLIDE_TAGS = ("slide", "subslide", "fragment", "skip", "notes")
NOTES = "<details><summary>For the lecturer</summary>\n\n{}\n\n</details>"  # folded away from a student's eyes
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

_REGION = re.compile(
    r"^(?P<indent>[ \t]*)# >>> solution(?::[ \t]*(?P<hint>.*))?\n"
    r"(?P<code>(?:(?![ \t]*# >>> solution).*\n)*?)"
    r"[ \t]*# <<< solution[ \t]*$",
    re.M,
)
_MARKER = re.compile(r"^[ \t]*# (?:>>>|<<<) solution\b.*\n?", re.M)


def pick(numbers: list[str] | None = None, sources: Path = SOURCES) -> list[Path]:
    """Return the sources of the lessons with these numbers.

    Parameters
    ----------
    numbers : list of str, optional
        Such as ``["01", "9"]``; nothing means all lessons.
    sources : pathlib.Path, optional
        The folder of the sources.

    Returns
    -------
    list of pathlib.Path
        In the order of their names.

    Raises
    ------
    InputError
        If there is no such lesson.
    """
    every = sorted(sources.glob("[0-9][0-9]_*.py"))
    wanted = {number.zfill(2)[:2] for number in numbers or []}
    missing = wanted - {path.name[:2] for path in every}
    if missing:
        there = ", ".join(path.name[:2] for path in every) or "none"
        raise InputError(f"expected the number of a lesson, got {', '.join(sorted(missing))}; the lessons are: {there}")
    return [path for path in every if not wanted or path.name[:2] in wanted]


def read(path: Path) -> NotebookNode:
    """Return the notebook that a source gives, not executed, with solutions between their markers.

    Parameters
    ----------
    path : pathlib.Path
        A py:percent file.

    Returns
    -------
    nbformat.NotebookNode

    Raises
    ------
    InputError
        If a cell carries two slide tags.
    """
    return from_text(path.read_text(encoding="utf-8"), name=path.name)


def from_text(text: str, name: str = "source") -> NotebookNode:
    r"""Return the notebook that the text of a source gives (see `read`).

    Parameters
    ----------
    text : str
        The cells, as py:percent.
    name : str, optional
        What errors call it.

    Returns
    -------
    nbformat.NotebookNode

    Examples
    --------
    >>> notebook = from_text('# %% tags=["slide", "measured"]\n1 + 1\n')
    >>> notebook.cells[0].source, notebook.cells[0].metadata.slideshow.slide_type, tags(notebook.cells[0])
    ('1 + 1', 'slide', ['measured'])
    """
    import jupytext  # a tool of those who write lessons; `make lab` does without

    taken: Counter[str] = Counter()
    cells = []
    for number, cell in enumerate(jupytext.reads(text, fmt="py:percent").cells, 1):
        make = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
        metadata = _metadata(cell, f"{name}, cell {number}")
        is_notes = metadata.get("slideshow", {}).get("slide_type") == "notes" and cell.cell_type == "markdown"
        source = NOTES.format(cell.source) if is_notes else cell.source
        cells.append(make(source=source, id=_cell_id(cell, taken), metadata=metadata))
    return _notebook(cells)


def _notebook(cells: list[NotebookNode]) -> NotebookNode:
    return nbformat.from_dict({"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5})


def _metadata(cell: NotebookNode, where: str) -> dict[str, Any]:
    slide = [tag for tag in cell.metadata.get("tags", []) if tag in SLIDE_TAGS]
    rest = [tag for tag in cell.metadata.get("tags", []) if tag not in SLIDE_TAGS]
    if len(slide) > 1:
        raise InputError(f"{where}: expected at most one of the tags {', '.join(SLIDE_TAGS)}, got {', '.join(slide)}")
    metadata: dict[str, Any] = {"slideshow": {"slide_type": slide[0]}} if slide else {}
    if "hide-input" in rest:
        metadata["jupyter"] = {"source_hidden": True}
    return {**metadata, "tags": rest} if rest else metadata


def _cell_id(cell: NotebookNode, taken: Counter[str]) -> str:
    """Return an id that depends on the cell alone, so that it stays when other cells change."""
    digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]
    taken[digest] += 1
    return digest if taken[digest] == 1 else f"{digest}-{taken[digest]}"


def tags(cell: NotebookNode) -> list[str]:
    """Return the tags of a cell, the slide type not among them."""
    return list(cell.metadata.get("tags", []))


def first_line(cell: NotebookNode) -> str:
    """Return the first line of a cell that says something, shortened: what messages call the cell."""
    line = next((line.strip() for line in cell.source.splitlines() if line.strip()), "(empty)")
    return textwrap.shorten(line, 70, placeholder=" ...")


def write_text(notebook: NotebookNode) -> str:
    """Return the notebook as the text of a file: keys in one order, one line feed at the end."""
    return str(nbformat.writes(notebook, version=nbformat.NO_CONVERT)).rstrip("\n") + "\n"


def solution(notebook: NotebookNode) -> NotebookNode:
    """Return exercises as their solution: the marker lines are gone.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        What `read` gave.

    Returns
    -------
    nbformat.NotebookNode
    """
    _check_markers(notebook)
    cells = [NotebookNode({**cell, "source": _MARKER.sub("", cell.source).strip("\n")}) for cell in notebook.cells]
    return _notebook(cells)


def blank(notebook: NotebookNode) -> NotebookNode:
    r"""Return exercises as a student gets them: ``...`` stands in place of each solution.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        What `read` gave.

    Returns
    -------
    nbformat.NotebookNode

    Raises
    ------
    InputError
        If a marker has no counterpart, or a solution defines a function or class that is used outside it.

    Examples
    --------
    >>> notebook = from_text("# %%\n# >>> solution: how many?\nn = 6 * 7\n# <<< solution\nprint(n)")
    >>> print(blank(notebook).cells[0].source)
    # Your code here: how many?
    n = ...
    print(n)
    """
    _check_markers(notebook)
    outside = "\n".join(_REGION.sub("", cell.source) for cell in notebook.cells if cell.cell_type == "code")
    used = set(re.findall(r"\b[^\W\d]\w*\b", outside))
    cells = [
        NotebookNode({**cell, "source": _REGION.sub(lambda region: _gap(region, used), cell.source)})
        for cell in notebook.cells
        if "solution" not in tags(cell)
    ]
    return _notebook(cells)


def _check_markers(notebook: NotebookNode) -> None:
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "code" and _MARKER.search(_REGION.sub("", cell.source)):
            raise InputError(
                f"cell {number} ({first_line(cell)}): expected '# >>> solution' and '# <<< solution' in pairs, "
                "each on a line of its own; one of them stands alone"
            )


def _gap(region: re.Match[str], used: set[str]) -> str:
    """Return what stands in the blank where the solution was."""
    names = [name for name in _assigned(textwrap.dedent(region["code"])) if name in used]
    hint = f": {region['hint'].strip()}" if region["hint"] else ""
    lines = [f"# Your code here{hint}", *([f"{name} = ..." for name in names] or ["..."])]
    return "\n".join(region["indent"] + line for line in lines)


def _assigned(code: str) -> list[str]:
    """Return the names that the code binds at its outermost level, in order."""
    names: dict[str, None] = {}
    for statement in ast.parse(code).body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            raise InputError(f"the solution defines {statement.name}; put its first line outside the markers")
        names.update(dict.fromkeys(_targets(statement)))
    return list(names)


def _targets(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for target in targets:
            yield from (node.id for node in ast.walk(target) if isinstance(node, ast.Name) and _stored(node))


def _stored(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)
