"""The run as on Binder: what passes the cap is stopped and named, and what is printed is what was held."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from nbformat.v4 import new_output

from inferkit._base import InputError
from notebooks import cap as caps
from notebooks import run
from notebooks.cap import Cap, NoCapError
from notebooks.source import from_text, write_text
from notebooks.watch import Watch


def write(path, text, outputs):
    """Write a notebook as if it had been built, with what its cells are to print."""
    notebook = from_text(text)
    for number, (cell, printed) in enumerate(zip(notebook.cells, outputs, strict=True), 1):
        cell.execution_count = number
        cell.outputs = [new_output("stream", text=printed)] if printed else []
    path.write_text(write_text(notebook), encoding="utf-8")
    return path


@pytest.mark.rotated
def test_a_notebook_that_passes_the_cap_is_stopped_and_its_cell_named(tmp_path, cap):
    code = "# %%\nprint('small')\n\n# %%\nheld = bytearray(3 * 10**9)\n\n# %%\nprint('after')"
    path = write(tmp_path / "big.ipynb", code, ["small\n", "", "after\n"])
    with cap(300) as group:
        outcome = run.run_notebook(path, cap=group)
    assert not outcome.passed
    assert outcome.killed == 1
    assert outcome.peak_mb < 300
    assert "big.ipynb, cell [2] (held = bytearray(3 * 10**9)): the kernel died: out of memory" in outcome.report
    assert "cell [3] (print('after')): not executed: the kernel died in cell [2]" in outcome.report
    assert not group.folder.exists()


@pytest.mark.rotated
def test_it_runs_on_one_core_in_a_folder_of_its_own_and_the_kernels_children_are_counted(tmp_path):
    child = "import time; held = bytearray(200_000_000); time.sleep(1)"
    code = "# %%\nimport os\nprint(len(os.sched_getaffinity(0)), os.listdir())\n\n"
    code += f'# %%\nimport subprocess, sys\n_ = subprocess.run([sys.executable, "-c", "{child}"])'
    found = run.run_notebook(write(tmp_path / "alone.ipynb", code, ["1 ['alone.ipynb']\n", ""]), "a name")
    assert found.passed, found.report
    assert 200e6 / 2**20 < found.peak_mb < 200e6 / 2**20 + 150  # the kernel and its child, and not the runner
    assert found.row().startswith("a name ")
    assert found.row().endswith(" ok")


def outcome(**changes):
    held = {"seconds": 91, "cpu_seconds": 90, "peak_mb": 10, "budget_mb": 10}  # the clock is nobody's fault
    return run.Outcome(**{"name": "x", "passed": True, "report": "", **held, **changes})


@pytest.mark.parametrize(
    ("changes", "mark", "status"),
    [({}, "ok", 0), ({"passed": False}, "FAILED", 1), ({"peak_mb": 11}, "OVER ITS MEMORY", 1),
     ({"cpu_seconds": 91}, "OVER ITS TIME", 1)],
)  # fmt: skip
def test_the_summary_says_what_held(changes, mark, status, capsys):
    assert run._summary([outcome(**changes)], "", 2048, required=True) == status
    assert capsys.readouterr().out.splitlines()[-2].endswith(mark)


@pytest.mark.parametrize(("required", "status"), [(False, 0), (True, 1)])
def test_a_missing_cap_is_said_last_and_loudly(required, status, capsys):
    assert run._summary([outcome()], "no control groups", 2048, required) == status
    assert "NOT CAPPED: no control groups.\n" in capsys.readouterr().out


def test_a_run_goes_on_where_there_is_no_cap(tmp_path, monkeypatch):
    def refuse(megabytes):
        raise NoCapError(f"no cap of {megabytes}")

    monkeypatch.setattr(caps, "memory_cap", refuse)
    monkeypatch.setattr(run, "run_notebook", lambda path, name, cap, **given: outcome(name=name, **given))
    outcomes, why = run._run_all([(tmp_path, "y", 5)], 77)
    assert ([o.name for o in outcomes], why) == (["y"], "no cap of 77")


def test_where_no_group_can_be_made_the_reason_is_given(monkeypatch, tmp_path):
    monkeypatch.setattr(caps, "_parents", list)
    with pytest.raises(NoCapError, match=r"no control groups for memory.*as root"), caps.memory_cap(100):
        pass
    missing = tmp_path / "missing"
    monkeypatch.setattr(caps, "_parents", lambda: [missing])
    with pytest.raises(NoCapError, match=r"missing: No such file"), caps.memory_cap(100):
        pass


def test_version_2_groups(tmp_path):
    (tmp_path / "cgroup.controllers").write_text("cpu memory")
    group = tmp_path / "group"
    group.mkdir()
    for name in ("memory.max", "memory.swap.max"):
        (group / name).write_text("max")
    (group / "memory.events").write_text("oom 2\noom_kill 2\n")
    caps._limit(group, 2**20)
    assert [(group / name).read_text() for name in ("memory.max", "memory.swap.max")] == ["1048576", "0"]
    assert Cap(group).kills() == 2


def test_the_plan_knows_who_trains(tmp_path):
    (tmp_path / "src" / "exercises").mkdir(parents=True)
    source = tmp_path / "src" / "01_one.py"
    source.write_text("# %%\nmodels.train(network)\n")
    (tmp_path / "src" / "exercises" / "01_one.py").write_text('# %%\n"the train brings keras"\n')
    assert run.plan([source], Path("built")) == [
        (Path("built/01_one.ipynb"), "01_one.ipynb", run.BUDGET_MB),
        (Path("built/solutions/01_one.ipynb"), "solutions/01_one.ipynb", run.BUDGET_LITERT_MB),
    ]


def test_nothing_built_is_an_error(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(run, "plan", lambda sources, **_: [(tmp_path / "01.ipynb", "01.ipynb", 1)])
    assert run.main([]) == 1
    assert "not built: 01.ipynb" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "import keras", "from tensorflow import function", "save_litert(a, b)", "    import tensorflow as tf",
        "import pymc as pm", "from inferkit.bayes import sample",
        "from inferkit.bayes import CompiledPosterior, diagnose", 'predict_batch(scorer, table, engine="dask")',
    ],
)  # fmt: skip
def test_what_loads_tensorflow_or_pymc_or_starts_workers_counts_as_training(line):
    assert run._TRAINS.search(f"# %%\n{line}\n")


@pytest.mark.parametrize("line", ["import kerasless", "from inferkit.bayes import CompiledPosterior", "x = sample(3)"])
def test_what_answers_alone_does_not(line):
    assert not run._TRAINS.search(f"# %%\n{line}\n")


@pytest.mark.parametrize(("only", "names"), [("lessons", ["01_one.ipynb"]), ("solutions", ["solutions/01_one.ipynb"])])
def test_lessons_or_solutions_alone(tmp_path, only, names):
    (tmp_path / "src" / "exercises").mkdir(parents=True)
    source = tmp_path / "src" / "01_one.py"
    for path in (source, source.parent / "exercises" / source.name):
        path.write_text("# %%\n1\n")
    assert [name for _, name, _ in run.plan([source], kinds=[only])] == names


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="NOT CHECKED: this system has no choice of cores")
def test_a_session_has_the_last_core_or_the_one_that_is_named(monkeypatch):
    def cores():
        code = "import os; print(*os.sched_getaffinity(0))"
        command = [sys.executable, "-c", code]
        return subprocess.run(command, capture_output=True, text=True, preexec_fn=caps.entrance(None)).stdout.split()

    ours = os.sched_getaffinity(0)
    monkeypatch.delenv("INFERKIT_CORE", raising=False)
    assert cores() == [str(max(ours))]
    monkeypatch.setenv("INFERKIT_CORE", str(min(ours)))
    assert cores() == [str(min(ours))]
    monkeypatch.setenv("INFERKIT_CORE", "last")
    with pytest.raises(InputError, match=r"INFERKIT_CORE to be a core of this process \([\d, ]+\); got 'last'"):
        caps.entrance(None)


def test_time_counts_with_that_of_children_that_have_ended():
    spin = "import time\nwhile time.process_time() < 0.5: pass\n"
    code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {spin!r}])\nprint(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        started = psutil.Process(process.pid)
        watch = Watch(lambda: started)
        process.stdout.readline()  # its child has ended
        watch.sample()
        process.stdin.close()
    assert 0.5 <= watch.cpu_seconds < 5
    assert watch.peak_mb > 1
