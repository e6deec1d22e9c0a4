"""Every lesson: up to date, within its limits, and its exercises fail blank and pass solved."""

import re

import nbformat
import pytest

from notebooks.build import check, orphans
from notebooks.kernel import execute
from notebooks.lesson import lint_exercises, lint_lesson, lint_outputs
from notebooks.source import ROOT, pick, read

LESSONS = pick()
EXERCISES = [path for source in LESSONS if (path := source.parent / "exercises" / source.name).exists()]
each_lesson = pytest.mark.parametrize("source", LESSONS, ids=lambda path: path.stem)
each_exercise = pytest.mark.parametrize("source", EXERCISES, ids=lambda path: path.stem)


def built(source, folder=""):
    return nbformat.read(ROOT / folder / f"{source.stem}.ipynb", nbformat.NO_CONVERT)


def printed(notebook):
    """Return the lines that the cells of an executed notebook print."""
    texts = [o.text for cell in notebook.cells for o in cell.get("outputs", []) if o.output_type == "stream"]
    return [line for text in texts for line in text.splitlines()]


def checks(notebook, mark):
    return [line.removeprefix(mark).strip() for line in printed(notebook) if line.startswith(mark)]


def test_there_are_lessons_and_each_has_exercises():
    assert LESSONS
    assert [path.name for path in EXERCISES] == [path.name for path in LESSONS]


def test_every_notebook_has_a_source():
    assert orphans() == []


@each_lesson
def test_the_built_notebooks_are_what_their_sources_give(source):
    assert check(source) == []


@each_lesson
def test_a_lesson_keeps_its_limits(source):
    assert lint_lesson(read(source)) == []


@each_lesson
def test_the_outputs_of_a_lesson_are_compared_well_enough(source):
    assert lint_outputs(built(source)) == []


@each_exercise
def test_exercises_keep_their_limits(source):
    assert lint_exercises(read(source)) == []


@each_exercise
def test_a_solution_passes_every_check(source):
    # What stands in the notebook is what its cells print: nbval compares them when it executes the solution.
    solved = built(source, "solutions")
    calls = sum(len(re.findall(r"\bcheck\(", cell.source)) for cell in solved.cells if cell.cell_type == "code")
    assert checks(solved, "✗") == []
    assert len(checks(solved, "✓")) >= calls >= 3


@pytest.mark.rotated
@each_exercise
def test_a_blank_runs_and_fails_every_check(source):
    blank = execute(built(source, "exercises"), f"exercises/{source.stem}.ipynb")
    passed = checks(built(source, "solutions"), "✓")
    failed = checks(blank, "✗")
    assert checks(blank, "✓") == []
    assert [name for name in passed if not any(line.startswith(name) for line in failed)] == []
