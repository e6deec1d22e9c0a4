"""Hold lessons and exercises to their limits: length, anatomy, slides, alt text, and what is compared.

`lint_lesson` and `lint_exercises` read what a source gives; `lint_outputs` reads a built lesson. Each returns
one line for each fault. The rules stand in the docstring of `notebooks.build`.
"""

import ast
import math
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from nbformat import NotebookNode

from inferkit.plots import FIGURE_MIME

from .kernel import is_measured
from .source import first_line, solution, tags

__all__ = ["LIMITS", "SECTIONS", "lint_exercises", "lint_lesson", "lint_outputs", "prose_lines"]

SECTIONS = ("predict", "by-hand", "measure", "figure", "why", "textbook", "play", "break-it", "summary", "quiz")
PARTS = ("core", "stretch", "diagnose")
LIMITS = {"code lines": 12, "code columns": 100, "prose lines": 5, "prose columns": 160, "compared share": 0.6}
_UNCOUNTED = {"title", "objectives", "summary", "sources"}
_BANNED = re.compile(
    r"\b(simply|obviously|powerful|leverag(?:e|es|ed|ing)|div(?:e|es|ing) in(?:to)?)\b"
    r"|it(?:'|’)?s? (?:is )?important to note|(?<!<)!(?![\[=])",
    re.I,
)
_LIST_ITEM = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s+", re.M)
_IMAGE = re.compile(r"<img\b[^>]*>", re.I)
_ALT = re.compile(r'\balt="[^"]*\w[^"]*"', re.I)
Fault = tuple[int, str]  # the cell's place in the notebook, from 0, and what is wrong with it


def lint_lesson(notebook: NotebookNode) -> list[str]:
    """Return what is wrong with a lesson, as its source gives it.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        What `source.read` gave.

    Returns
    -------
    list of str
        One line for each fault, in no order that matters.
    """
    rules = (_code_limits, _prose_limits, _words, _figures, _slides, _opening, _sections)
    return [_say(notebook, fault) for rule in rules for fault in rule(notebook.cells)]


def lint_exercises(notebook: NotebookNode) -> list[str]:
    """Return what is wrong with exercises, as their source gives them, solutions included.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        What `source.read` gave.

    Returns
    -------
    list of str
        One line for each fault.
    """
    solved = solution(notebook)
    rules = (_code_limits, _words, _figures)
    faults = [_say(solved, fault) for rule in rules for fault in rule(solved.cells)]
    return faults + [_say(notebook, fault) for fault in _parts(notebook.cells)]


def lint_outputs(notebook: NotebookNode) -> list[str]:
    """Return what is wrong with the outputs of a built lesson.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        A lesson, executed.

    Returns
    -------
    list of str
        One line for each fault.
    """
    rules = (_counts, _pictures, _share, _measured)
    return [_say(notebook, fault) for rule in rules for fault in rule(notebook.cells)]


def _say(notebook: NotebookNode, fault: Fault) -> str:
    place, what = fault
    if place < 0:
        return what
    return f"cell {place + 1} ({first_line(notebook.cells[place])}): {what}"


def _is(cell: NotebookNode, kind: str) -> bool:
    return bool(cell.cell_type == kind)


def _slide(cell: NotebookNode) -> str | None:
    return cell.metadata.get("slideshow", {}).get("slide_type")


# -- limits -----------------------------------------------------------------------------------------------------


def _code_limits(cells: list[NotebookNode]) -> Iterator[Fault]:
    for place, cell in enumerate(cells):
        if not _is(cell, "code"):
            continue
        lines = [line for line in cell.source.splitlines() if line.strip()]
        if not lines:
            yield place, "an empty cell"
        if len(lines) > LIMITS["code lines"]:
            yield place, f"{len(lines)} lines of code; at most {LIMITS['code lines']}"
        longest = max(map(len, lines), default=0)
        if longest > LIMITS["code columns"]:
            yield place, f"a line of {longest} characters; at most {LIMITS['code columns']}"


def prose_lines(text: str) -> int:
    r"""Return how many lines of prose a markdown text holds.

    Each paragraph and each list item counts one line for every 160 characters begun, as they are read (no marks, no
    addresses of links). Headings, tables, displayed formulas, code, pictures and comments count nothing.

    Parameters
    ----------
    text : str
        Markdown.

    Returns
    -------
    int

    Examples
    --------
    >>> prose_lines("## A heading\n\nOne paragraph\nover two lines.\n\n- an item\n- another")
    3
    """
    text = re.sub(r"```.*?```|\$\$.*?\$\$|<!--.*?-->|!\[[^\]]*\]\([^)]*\)", "", text, flags=re.S)
    text = re.sub(r"^\s*(?:#{1,6} |\|).*$", "", text, flags=re.M)
    text = _LIST_ITEM.sub("\n\n", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    paragraphs = [" ".join(re.sub(r"[*_`>]", "", part).split()) for part in re.split(r"\n\s*\n", text)]
    return sum(math.ceil(len(part) / LIMITS["prose columns"]) for part in paragraphs)


def _prose_limits(cells: list[NotebookNode]) -> Iterator[Fault]:
    since = 0
    for place, cell in enumerate(cells):
        if _is(cell, "code"):
            since = 0
        elif _slide(cell) != "notes" and not _UNCOUNTED & set(tags(cell)):
            before, since = since, since + prose_lines(cell.source)
            if before <= LIMITS["prose lines"] < since:
                yield place, f"{since} lines of prose with no code between them; at most {LIMITS['prose lines']}"


def _words(cells: list[NotebookNode]) -> Iterator[Fault]:
    for place, cell in enumerate(cells):
        text = re.sub(r"```.*?```|`[^`]*`|\$[^$]*\$", "", cell.source, flags=re.S) if _is(cell, "markdown") else ""
        for found in _BANNED.finditer(text):
            yield place, f"{found.group()!r} has no place in a lesson"


def _figures(cells: list[NotebookNode]) -> Iterator[Fault]:
    for place, cell in enumerate(cells):
        for call in _calls(cell):
            name = ast.unparse(call.func)
            if name in ("plt.show", "fig.show"):
                yield place, f"{name}() gives no alt text; use show(fig, alt=...)"
            elif name.rpartition(".")[2] == "show" and not any(word.arg == "alt" for word in call.keywords):
                yield place, "show(...) without alt="


def _tree(cell: NotebookNode) -> ast.Module:
    """Return the code of a cell, without the lines that only IPython understands."""
    if not _is(cell, "code"):
        return ast.Module([], [])
    return ast.parse(re.sub(r"^\s*[%!].*$", "", cell.source, flags=re.M))


def _calls(cell: NotebookNode) -> Iterator[ast.Call]:
    return (node for node in ast.walk(_tree(cell)) if isinstance(node, ast.Call))


# -- anatomy ----------------------------------------------------------------------------------------------------


def _slides(cells: list[NotebookNode]) -> Iterator[Fault]:
    kinds = [_slide(cell) for cell in cells]
    if not kinds or kinds[0] != "slide":
        yield 0 if kinds else -1, "the first cell is tagged slide"
    if "notes" not in kinds:
        yield -1, "there are no speaker notes: markdown cells tagged notes"
    for place, (before, kind) in enumerate(pairwise(kinds), 1):
        if before == "skip" and kind is None:
            yield place, "comes after a skipped cell, so say where it stands: slide, subslide, fragment, skip or notes"
        if kind == "notes" and not _is(cells[place], "markdown"):
            yield place, "speaker notes are text"


def _opening(cells: list[NotebookNode]) -> Iterator[Fault]:
    title = cells[0] if cells else None
    if title is None or "title" not in tags(title) or not re.match(r"# \S.*\n[\s\S]*\?\W*\s*$", title.source):
        yield -1, "the first cell is tagged title: '# Title', and a sentence that ends with a question mark"
    if not any(_is(cell, "code") for cell in [cell for cell in cells if _slide(cell) != "notes"][:3]):
        yield -1, "no code cell among the first three: something happens at once"
    goals = [cell for cell in _before(cells, "predict") if "objectives" in tags(cell)]
    if not goals:
        yield -1, "no cell tagged objectives before the section predict"
        return
    text, place = goals[0].source, cells.index(goals[0])
    if not 3 <= (number := len(_LIST_ITEM.findall(text))) <= 5:
        yield place, f"{number} objectives; 3 to 5"
    if not re.search(r"\d+ minutes", text):
        yield place, "how many minutes? ('25 minutes to teach, 25 to practise')"
    if not re.search(r"^\W*Needs\b", text, re.M):
        yield place, "what does it need? (a line that starts with 'Needs')"


def _before(cells: list[NotebookNode], tag: str) -> list[NotebookNode]:
    end = next((place for place, cell in enumerate(cells) if tag in tags(cell)), len(cells))
    return cells[:end]


def _sections(cells: list[NotebookNode]) -> Iterator[Fault]:
    yield from _in_order(cells, SECTIONS)


def _in_order(cells: list[NotebookNode], names: tuple[str, ...]) -> Iterator[Fault]:
    """Yield a fault for each section that is missing, twice there, out of its order, or without a heading."""
    found = [(place, tag) for place, cell in enumerate(cells) for tag in tags(cell) if tag in names]
    order = [tag for _, tag in found]
    for tag in names:
        if order.count(tag) != 1:
            yield -1, f"expected one section {tag}, got {order.count(tag)}"
    for (_, before), (place, tag) in pairwise(found):
        if names.index(tag) < names.index(before):
            yield place, f"the section {tag} comes before {before}"
    for place, tag in found:
        if not (_is(cells[place], "markdown") and cells[place].source.startswith("## ")):
            yield place, f"the section {tag} opens with a '## heading'"


def _parts(cells: list[NotebookNode]) -> Iterator[Fault]:
    yield from _in_order(cells, PARTS)
    starts = [place for place, cell in enumerate(cells) if set(PARTS) & set(tags(cell))]
    for start, end in pairwise([*starts, len(cells)]):
        code = [cell for cell in cells[start:end] if _is(cell, "code")]
        if not any("# >>> solution" in cell.source for cell in code):
            yield start, "no solution between markers"
        if not any(ast.unparse(call.func).rpartition(".")[2] == "check" for cell in code for call in _calls(cell)):
            yield start, "no check(...)"


# -- outputs ----------------------------------------------------------------------------------------------------


def _counts(cells: list[NotebookNode]) -> Iterator[Fault]:
    for number, (place, cell) in enumerate(_code(cells), 1):
        if cell.execution_count != number:
            yield place, f"its execution count is {cell.execution_count}, not {number}: run top to bottom"
        if any(output.get("name") == "stderr" for output in cell.outputs):
            yield place, "it wrote to stderr"


def _code(cells: list[NotebookNode]) -> list[tuple[int, NotebookNode]]:
    return [(place, cell) for place, cell in enumerate(cells) if _is(cell, "code")]


def _data(cell: NotebookNode) -> Iterable[NotebookNode]:
    return (output.data for output in cell.get("outputs", []) if "data" in output)


def _pictures(cells: list[NotebookNode]) -> Iterator[Fault]:
    for place, cell in _code(cells):
        for data in _data(cell):
            images = _IMAGE.findall(data.get("text/html", ""))
            if "image/png" in data and not images:
                yield place, "a picture that did not go through show(fig, alt=...)"
            if not all(map(_ALT.search, images)):
                yield place, "an image without alt text"


def _share(cells: list[NotebookNode]) -> Iterator[Fault]:
    speaking = [cell for _, cell in _code(cells) if cell.outputs]
    compared = [cell for cell in speaking if not is_measured(cell)]
    if len(compared) < LIMITS["compared share"] * len(speaking) or not speaking:
        yield -1, f"{len(compared)} of {len(speaking)} cells with an output are compared; at least 60 %"
    if not any(_is_table(data) for cell in compared for data in _data(cell)):
        yield -1, "no table among the cells that are compared"
    if not any(FIGURE_MIME in data for cell in compared for data in _data(cell)):
        yield -1, "no figure among the cells that are compared"


def _is_table(data: NotebookNode) -> bool:
    return "<table" in data.get("text/html", "") or bool(
        re.search(r"^\|[ :|-]+\|$", data.get("text/markdown", ""), re.M)
    )


def _measured(cells: list[NotebookNode]) -> Iterator[Fault]:
    code = _code(cells)
    for number, (place, cell) in enumerate(code):
        if is_measured(cell) and not cell.outputs:
            yield place, "tagged measured, with no output"
        if is_measured(cell) and not any(_asserts(after) for _, after in code[number + 1 : number + 3]):
            yield place, "none of the next two code cells is compared and shows an order or a size (a comparison)"


def _asserts(cell: NotebookNode) -> bool:
    comparison = any(isinstance(node, ast.Compare | ast.Assert) for node in ast.walk(_tree(cell)))
    return comparison and bool(cell.outputs) and not is_measured(cell)
