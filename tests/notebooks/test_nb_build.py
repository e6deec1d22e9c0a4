"""The build: same source, same bytes; what a reader should not see is refused; what is out of date is named."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from notebooks import build
from notebooks.kernel import NotebookError, execute, kernel_env
from notebooks.links import colab_cell, read_links
from notebooks.quiet import Quiet, busy_cells
from notebooks.source import ROOT, from_text
from tests.nbcompare import compare_outputs

LESSON = """# %% [markdown] tags=["slide", "title"]
# # A title

# %%
import os
import ipywidgets
print(sorted(os.listdir()), os.environ["OMP_NUM_THREADS"])

# %% tags=["fragment"]
{"b": 1.5, "a": [1, 2]}

# %%
ipywidgets.IntSlider()
"""
EXERCISE = """# %%
# >>> solution: one
x = 1
# <<< solution
print(x)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Return a folder with the sources of one lesson, built."""
    root = tmp_path_factory.mktemp("notebooks")
    (root / "src" / "exercises").mkdir(parents=True)
    (root / "src" / "01_one.py").write_text(LESSON)
    (root / "src" / "exercises" / "01_one.py").write_text(EXERCISE)
    build.build(root / "src" / "01_one.py", root)
    return root


@pytest.fixture
def copied(built, tmp_path) -> Path:
    """Return a copy of that folder, to be changed."""
    for path in built.rglob("01_one.*"):
        (tmp_path / path.relative_to(built)).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path.relative_to(built)).write_bytes(path.read_bytes())
    return tmp_path


def check(root):
    return build.check(root / "src" / "01_one.py", root)


def change(path, change):
    notebook = nbformat.read(path, nbformat.NO_CONVERT)
    change(notebook)
    nbformat.write(notebook, path)


def test_what_is_built(built):
    lesson, exercise, solved = (
        nbformat.read(built / folder / "01_one.ipynb", nbformat.NO_CONVERT) for folder in ("", "exercises", "solutions")
    )
    assert lesson.cells[2].outputs[0].text == "[] 1\n"
    assert [cell.execution_count for cell in lesson.cells if cell.cell_type == "code"] == [1, 2, 3, 4]
    assert list(lesson.cells[4].outputs[0].data) == ["text/plain"]
    assert (exercise.cells[0].source, exercise.cells[0].outputs) == ("# Your code here: one\nx = ...\nprint(x)", [])
    assert exercise.cells[0].execution_count is None
    assert (solved.cells[0].source, solved.cells[0].outputs[0].text) == ("x = 1\nprint(x)", "1\n")
    for notebook in (lesson, exercise, solved):
        nbformat.validate(notebook)
        assert notebook.cells[1] == {**colab_cell(read_links()), **ran(notebook.cells[1])}


def ran(cell):
    """Return that a cell was executed, if at all, and gave nothing."""
    assert cell.outputs == []
    return {"execution_count": cell.execution_count}


def test_no_times_no_widget_state(built):
    content = json.loads((built / "01_one.ipynb").read_text())
    assert set(content["metadata"]) == {"kernelspec", "language_info"}
    assert all(set(cell["metadata"]) <= {"tags", "slideshow"} for cell in content["cells"][2:])


def test_the_same_source_gives_the_same_bytes(built, copied):
    for path in copied.rglob("*.ipynb"):
        path.unlink()
    made = build.build(copied / "src" / "01_one.py", copied)
    assert len(made) == 3
    for path in made:
        assert path.read_bytes() == (built / path.relative_to(copied)).read_bytes()


def test_what_is_up_to_date_passes(built):
    assert check(built) == []
    assert build.orphans(built) == []


@pytest.mark.parametrize(
    ("what", "alter", "complaint"),
    [
        ("source", lambda nb: nb.cells[2].update(source="1"), "01_one.ipynb, cell 3 .*: its source is '1'"),
        ("id", lambda nb: nb.cells[2].update(id="other"), "cell 3 .*: its id is 'other'"),
        ("tags", lambda nb: nb.cells[2].metadata.update(tags=["measured"]), "cell 3 .*: its metadata is .*measured"),
        ("slides", lambda nb: nb.cells[0].metadata.pop("slideshow"), "cell 1 .*: its metadata is"),
        ("type", lambda nb: nb.cells[0].update(cell_type="raw"), "cell 1 .*: its cell_type is 'raw'"),
        ("the cell for Colab", lambda nb: nb.cells.pop(1), "the number of its cells"),
        ("a cell less", lambda nb: nb.cells.pop(), "the number of its cells"),
        ("metadata", lambda nb: nb.metadata.update(x=1), "the notebook's own metadata"),
    ],
)
def test_what_is_out_of_date_is_named(copied, what, alter, complaint):
    change(copied / "01_one.ipynb", alter)
    assert [line for line in check(copied) if re.search(complaint, line)]


def test_outputs_are_not_its_business(copied):
    change(copied / "01_one.ipynb", lambda nb: nb.cells[2].update(outputs=[]))
    assert check(copied) == []


def test_a_blank_is_compared_byte_by_byte(copied):
    path = copied / "exercises" / "01_one.ipynb"
    path.write_text(path.read_text() + "\n")
    assert check(copied) == ["exercises/01_one.ipynb: not the bytes that its source gives"]


def test_what_is_missing_or_has_no_source_is_named(copied):
    (copied / "solutions" / "01_one.ipynb").rename(copied / "02_two.ipynb")
    assert check(copied) == ["solutions/01_one.ipynb: not built"]
    assert build.orphans(copied) == ["02_two.ipynb: no source gives it"]


def test_a_failed_build_leaves_the_old_notebook(copied):
    before = (copied / "01_one.ipynb").read_bytes()
    (copied / "src" / "01_one.py").write_text(LESSON + "\n# %%\n1 / 0\n")
    with pytest.raises(NotebookError, match=r"01_one\.ipynb, cell \[5\] \(1 / 0\): [\s\S]*ZeroDivisionError"):
        build.build(copied / "src" / "01_one.py", copied)
    assert (copied / "01_one.ipynb").read_bytes() == before
    assert not list(copied.glob(".*"))


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("import sys\nprint('oh', file=sys.stderr)", r"cell \[2\] \(import sys\): wrote to stderr; .*: oh"),
        ("import warnings\nwarnings.warn('oh')", r"cell \[2\] .* wrote to stderr; .*UserWarning: oh"),
        ("import os\nos.kill(os.getpid(), 9)", r"cell \[2\] \(import os\): the kernel died"),
        ("import time\ntime.sleep(60)", r"cell \[2\] \(import time\): still running after 3 s"),
    ],
)
def test_what_must_not_be_is_refused_and_its_cell_named(code, complaint):
    with pytest.raises(NotebookError, match=f"lesson, {complaint}"):
        execute(from_text(f"# %%\n1\n\n# %%\n{code}\n"), "lesson", cell_seconds=3)


def test_the_environment_is_fixed(monkeypatch, tmp_path):
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.setenv("INFERKIT_KEPT", "1")
    env = kernel_env(tmp_path)
    assert "MPLBACKEND" not in env
    assert "PYTEST_CURRENT_TEST" not in env
    assert (env["OMP_NUM_THREADS"], env["TF_ENABLE_ONEDNN_OPTS"], env["INFERKIT_KEPT"]) == ("1", "0", "1")


def test_the_command(built, monkeypatch, capsys):
    monkeypatch.setattr(build, "pick", lambda *_, **__: [built / "src" / "01_one.py"])
    monkeypatch.setattr(build, "check", lambda source: [f"{source.stem}: old"])
    monkeypatch.setattr(build, "orphans", list)
    assert build.main(["--check", "01"]) == 1
    assert "01_one: old\nThe notebooks are not up to date" in capsys.readouterr().err


def test_the_command_passes_on_how_long_to_wait(built, monkeypatch):
    settings = []
    monkeypatch.setattr(build, "pick", lambda *_: [built / "src" / "01_one.py"])
    monkeypatch.setattr(build, "build", lambda _, **given: settings.append(given) or [])
    assert [build.main([]), build.main(["--wait", "0.5"])] == [0, 0]
    assert settings == [{"wait_s": 900}, {"wait_s": 30}]


@pytest.mark.parametrize("wait", ["-1", "nan", "inf", "long"])
def test_a_wait_that_is_no_number_of_minutes_is_refused(wait, capsys):
    with pytest.raises(SystemExit):
        build.main([f"--wait={wait}"])
    assert f"expected a number of minutes, 0 or more, got '{wait}'" in capsys.readouterr().err


def test_an_unknown_lesson_is_refused(capsys):
    with pytest.raises(SystemExit):
        build.main(["--check", "99"])
    assert "expected the number of a lesson, got 99" in capsys.readouterr().err


# -- quiet: measured cells and other processes -------------------------------------------------------------------


def measured(*codes):
    return "\n".join(f'# %% tags=["measured"]\n{code}\n' for code in codes)


def shown(cell):
    return [output.get("text") or output.data["text/plain"] for output in cell.outputs]


def under_script(script, source):
    """Execute cells while others do what the script says, at each run and each wait: B, they are busy."""
    words = {"B": "other processes used 1.1 of 2 cores meanwhile", "-": None}
    states, said = list(script.replace(" ", "")), []
    quiet = Quiet(
        wait_s=60, probe_s=0, say=said.append,
        watch=lambda: contextlib.nullcontext(SimpleNamespace(words=words[states.pop(0)])),
    )  # fmt: skip
    executed = execute(from_text(source), "lesson", quiet=quiet)
    assert states == []
    return executed, said


def test_only_disturbed_cells_are_repeated_each_before_the_next_one():
    source = """# %%
runs = n = 0
# %% tags=["measured"]
runs += 1
runs
# %% tags=["measured"]
print("once", runs)
# %% tags=["timed"]
n += 1
# %% tags=["measured"]
print(n)
# %%
n, len(In)
"""
    # `runs` is disturbed twice, `n` each time: what it measured, the next one shows.
    executed, said = under_script("B B- B - -" + "-" + "B - B - B - B", source)
    assert [shown(cell)[:1] for cell in executed.cells] == [[], ["3"], ["once 3\n"], [], ["4\n"], ["(4, 7)"]]
    assert [cell.execution_count for cell in executed.cells] == [1, 2, 3, 4, 5, 6]
    assert executed.cells[1].outputs[0].execution_count == 2
    assert busy_cells(executed) == ["cell 5 (print(n)): other processes used 1.1 of 2 cores meanwhile"]
    waiting = "waiting for quiet, up to 1.0 minutes more; other processes used 1.1 of 2 cores meanwhile"
    assert said[0] == f"  runs += 1: {waiting}"


@pytest.mark.parametrize(
    "code",
    [
        "runs = 1 if 'runs' not in globals() else 1 / 0\nprint(runs)",
        "print(1) if 'runs' not in globals() else 2\nruns = 1",
    ],
    ids=["raises", "is of another kind"],
)
def test_of_a_cell_that_cannot_be_repeated_the_first_outputs_count(code):
    executed, _ = under_script("B - -", measured(code, "print('next')"))
    assert [shown(cell)[0] for cell in executed.cells] == ["1\n", "next\n"]
    assert len(busy_cells(executed)) == 2


STRANGER = "import os, time\nif os.fork(): os._exit(0)\nprint(os.getpid(), flush=True)\nend = time.time() + 120\n"


@pytest.fixture
def stranger():
    """Have a process compute that descends from nobody here."""
    code = f"{STRANGER}while time.time() < end: pass"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        yield
        os.kill(pid, signal.SIGKILL)


def computing(what):
    """Return a cell that has the processor for half a second, so that it is seen who takes it away."""
    return f"import time\nend = time.perf_counter() + 0.5\nwhile time.perf_counter() < end: pass\n{what!r}"


def test_where_no_quiet_comes_quiet_outputs_stay_and_others_are_stamped(stranger, tmp_path, capsys):
    source, path = tmp_path / "src" / "01_one.py", tmp_path / "01_one.ipynb"
    source.parent.mkdir()
    whats = ("unchanged", "changed", "stamped before", "said so itself", "of other kinds")
    source.write_text(measured(*map(computing, whats)), encoding="utf-8")
    published = from_text(source.read_text(encoding="utf-8"))
    for cell in published.cells:
        cell.outputs = [nbformat.v4.new_output("execute_result", {"text/plain": "old"}, execution_count=9)]
    published.cells[1].source += "  # once"
    busy = nbformat.v4.new_output("display_data", {"text/plain": "busy"}, metadata={"inferkit": {"busy": "others"}})
    published.cells[2].outputs.append(busy)
    published.cells[3].outputs[0].data["text/plain"] += "\nother processes used 1.1 of 2 cores meanwhile"
    published.cells[4].outputs.append(nbformat.v4.new_output("display_data", {"text/plain": "x"}))
    nbformat.write(published, path)

    build.build(source, tmp_path, wait_s=0)
    made = nbformat.read(path, nbformat.NO_CONVERT)
    cells = [cell for cell in made.cells if cell.outputs]
    assert [shown(cell)[0] for cell in cells] == ["old", *map(repr, whats[1:])]
    assert cells[0].outputs[0].execution_count == 1
    lines = [shown(cell)[1:] for cell in cells]
    assert lines[0] == []
    for (line,) in lines[1:]:
        assert re.match(
            r"Not measured in quiet: other processes used .* run the cell again on a quiet machine\.$", line
        )
    assert len(busy_cells(made)) == 4
    assert "waiting for quiet" not in capsys.readouterr().out
    assert build.check(source, tmp_path) == []
    assert compare_outputs(cells[1].outputs, published.cells[1].outputs, measured=True) == []


# Measured before builds waited for quiet; it goes with the next quiet build of that lesson. Nothing may be added.
NOT_YET = ["11_hardware_acceleration.ipynb, cell 99 (run): other processes used 1.1 of 2 cores meanwhile"]


def test_published_figures_were_measured_in_quiet():
    built = [*ROOT.glob("*.ipynb"), *ROOT.glob("solutions/*.ipynb")]
    found = [f"{path.name}, {line}" for path in built for line in busy_cells(nbformat.read(path, nbformat.NO_CONVERT))]
    assert built
    assert found == NOT_YET
