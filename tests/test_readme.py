"""What the README promises works when pasted; tables name the lessons that there are, and in CONTRIBUTING the tests."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.mark.rotated
def test_the_lines_of_import_inferkit_work_when_pasted(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    assert len([line for line in code.splitlines() if line.strip()]) == 10
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    first, *rest = run.stdout.splitlines()
    assert first == "7"
    assert "µs" in run.stdout
    assert rest[-1].startswith("[")


def test_every_lesson_is_in_the_table_and_every_link_leads_somewhere():
    lessons = {path.name for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")}
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert lessons == {Path(link).name for link in links if link.endswith(".ipynb")}
    assert [link for link in links if not (ROOT / link).exists()] == []


# -- what holds the numbers -------------------------------------------------------------------------------------


TABLE = "## What holds the numbers\n"
parsed = cache(lambda path: ast.parse(path.read_text(encoding="utf-8")).body)


def wrong_rows(text):
    """Return what is wrong with the rows of the table of oracles and controls, a line for each test."""
    _, *rows = re.findall(r"^\| (?!\*\*).*", text.partition(TABLE)[2], flags=re.M) or [""]
    wrong = [] if rows else ["no row"]
    for row in rows:
        *_, tests, said = (cell.strip() for cell in row.strip("|").split("|"))
        path, _, names = tests.replace("`", "").partition("::")
        for name in names.split(", ::"):
            found = when_it_runs(ROOT / path, name.split("::"))
            if found != said:
                wrong.append(f"{path}::{name}: the table says {said}, there is {found}")
    return wrong


def when_it_runs(path, names):
    """Return when a test runs, by its own mark and those of its module and class; None where there is no such test."""
    if not path.is_file():
        return None
    body = parsed(path)
    own = [node.value for node in body if isinstance(node, ast.Assign) and ast.unparse(node.targets) == "pytestmark"]
    marks = [mark for value in own for mark in getattr(value, "elts", [value])]
    for name in names:
        found = [node for node in body if getattr(node, "name", "") == name]
        if not found:
            return None
        body, marks = found[0].body, marks + found[0].decorator_list
    kinds = {ast.unparse(mark).removeprefix("pytest.mark.").partition("(")[0] for mark in marks}
    if path.parent.name == "browser" and "lesson" in path.name:
        kinds.add("rotated")  # without a mark: the runner takes lessons by turn
    return next((kind for kind in ("quiet", "rotated") if kind in kinds), "landing")


def test_what_holds_the_numbers_is_there_and_runs_when_the_table_says():
    assert wrong_rows(CONTRIBUTING) == []


@pytest.mark.parametrize(
    "row",
    [
        "",
        "| a | b | `tests/test_readme.py::test_that_is_not_there` | landing |",
        "| a | b | `tests/test_that_is_not_there.py::test_a_wrong_row_is_found` | landing |",
        "| a | b | `tests/test_readme.py::test_a_wrong_row_is_found`, `::test_that_is_not_there` | landing |",
        "| a | b | `tests/test_readme.py::test_a_wrong_row_is_found` | rotated |",
        "| a | b | `tests/test_readme.py::test_a_wrong_row_is_found` | |",
        "| a | b | `tests/test_bayes_sbc.py::test_nuts_is_calibrated` | landing |",
        "| a | b | `tests/test_optimize_published.py::test_int8_stays_within_a_point_of_float` | landing |",
        "| a | b | `tests/test_bayes_estimators.py::test_regressor_with_known_noise_is_the_closed_form` | rotated |",
    ],
)
def test_a_wrong_row_is_found(row):
    assert len(wrong_rows(f"{TABLE}\n| proved | against | test | runs |\n|---|---|---|---|\n{row}")) == 1
