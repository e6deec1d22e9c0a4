"""Tests of the tests: what must fail in a lesson's one run, in a real JupyterLab, does fail and names its cell."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lessons import OpenPage, lecture_lab, run_lesson
from nbformat.v4 import new_output
from playwright.sync_api import Page
from server import Lab

from notebooks.cap import Cap, session_cap
from notebooks.kernel import NotebookError
from notebooks.source import from_text, write_text
from tests.machine import not_checked

pytestmark = pytest.mark.rotated
CAP_MB = 700
FINE = """# %%
from IPython.display import clear_output, display
print("one")
clear_output(wait=True)
print("two")
shown = display("before", display_id="shown")
print("three")
shown.update("after")

# %% tags=["raises-exception"]
1 / 0

# %% tags=["measured"]
import time
print(time.perf_counter())
"""
SAID = [
    [
        new_output("stream", text="two\nthree\n"),
        new_output("display_data", data={"text/plain": "'after'"}),
    ],
    [new_output("error", ename="ZeroDivisionError", evalue="division by zero")],
    [new_output("stream", text="0.0\n")],
]
PRINTS = '# %%\nimport time\nprint("one")\n\n# %%\n'
# What is in the second cell, what it does in the published notebook (nothing), and what is said.
BREACHES = {
    "raises": ("1 / 0", r"cell \[2\] \(1 / 0\): .*ZeroDivisionError"),
    "hangs": ("time.sleep(3600)", r"cell \[2\] \(time.sleep\(3600\)\): still running after 5 s"),
    "kills": ("import os; time.sleep(1); os.kill(os.getpid(), 9)", r"cell \[2\] \(import os.*the kernel died"),
    "hoards": ("held = bytearray(10**9)", r"cell \[2\] \(held .*the kernel died.*1 killed by the cap"),
}


def publish(folder: Path, name: str, text: str, outputs: list[list[Any]]) -> None:
    """Write a notebook as if it had been built, with what its cells are to give."""
    notebook = from_text(text)
    for number, (cell, given) in enumerate(zip(notebook.cells, outputs, strict=True), 1):
        cell.execution_count, cell.outputs = number, given
    (folder / f"{name}.ipynb").write_text(write_text(notebook), encoding="utf-8")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("course") / "built"
    folder.mkdir()
    (folder.parent / "README.md").touch()  # of which the welcome page is made
    publish(folder, "01_fine", FINE, SAID)
    publish(folder, "02_odd", "# %%\nprint('one')\n\n# %%\nprint('two')", [[new_output("stream", text="three\n")], []])
    for number, (name, (code, _)) in enumerate(BREACHES.items(), 3):
        publish(folder, f"{number:02}_{name}", PRINTS + code, [[new_output("stream", text="one\n")], []])
    return folder


@pytest.fixture(scope="module")
def capped_lab(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Cap]]:
    with session_cap(CAP_MB) as (cap, why):
        if cap is None:
            not_checked(why)
        with lecture_lab("01_fine.ipynb", tmp_path_factory.mktemp("lab"), cap, published) as lab:
            yield lab, cap


@pytest.fixture
def page(open_page: OpenPage) -> Iterator[Page]:
    """Open a page that is held to no rule: what is tried here is to go wrong."""
    with open_page(watched=False) as one:
        yield one


def test_displays_that_change_errors_that_are_meant_and_measured_cells_pass(
    page: Page, capped_lab: tuple[Lab, Cap], published: Path
) -> None:
    lab, cap = capped_lab
    outcome = run_lesson(page, lab, "01_fine.ipynb", published=published, cap=cap, budget_mb=450)
    assert outcome.faults == [], outcome.report
    assert outcome.report == ""
    assert 30 < outcome.peak_mb < 450
    assert 0 < outcome.cpu_seconds < 90
    assert outcome.killed == 0


def test_other_outputs_and_what_is_over_a_budget_are_faults(
    page: Page, capped_lab: tuple[Lab, Cap], published: Path
) -> None:
    lab, cap = capped_lab
    small = {"budget_mb": 1, "budget_seconds": 0.001}
    outcome = run_lesson(page, lab, "02_odd.ipynb", published=published, cap=cap, **small)
    assert outcome.faults == ["FAILED", "OVER ITS TIME", "OVER ITS MEMORY"]
    assert outcome.report.splitlines() == [
        "cell [1] (print('one')): stdout: 'three' became 'one'",
        "cell [2] (print('two')): its outputs are of other kinds: none became stdout",
    ]


@pytest.mark.parametrize("name", BREACHES)
def test_a_cell_that_does_not_end_well_is_named(
    page: Page, capped_lab: tuple[Lab, Cap], published: Path, name: str
) -> None:
    lab, cap = capped_lab
    file = next(published.glob(f"*_{name}.ipynb")).name
    with pytest.raises(NotebookError, match=f"(?s)^{file}, {BREACHES[name][1]}"):
        run_lesson(page, lab, file, published=published, cap=cap, budget_mb=450, cell_seconds=5)
