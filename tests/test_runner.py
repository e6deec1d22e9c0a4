"""What proves a landing: which tests are chosen, how stages are run and ended, and what is said of what is missing."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests import __main__ as runner
from tests import lint, rotation

ROOT = runner.ROOT
MARKED = """import pytest
@pytest.mark.parametrize("n", range(40))
@pytest.mark.rotated
def test_long(n): pass
@pytest.mark.parametrize("n", [pytest.param(n, marks=pytest.mark.rotated(n)) for n in range(5)])
def test_named(n): pass
def test_short(): pass
@pytest.mark.quiet
def test_clock(): pass
"""


def python(*arguments, **environment):
    env = {
        **os.environ,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "INFERKIT_LEFT_OUT": "",  # planted tests are not in the list of the run that these are part of
        **{name: str(value) for name, value in environment.items()},
    }
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)


def code(text, **more):
    return runner.Stage(more.pop("name", "planted"), [sys.executable, "-c", text], **more)


# -- which tests ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chosen(tmp_path_factory):
    """Return what each part runs of a module that did not change, and what the landing says that it leaves out."""
    module = tmp_path_factory.mktemp("marked") / "test_marked.py"
    module.write_text(MARKED)
    left = module.with_name("left-out.tsv")
    found = {}
    for part in ("landing", "changed", "rest", "quiet"):
        options = [
            "-q",
            "-p",
            "tests.rotation",
            "-p",
            "no:cacheprovider",
            "-rA",
            f"--part={part}",
            "--rootdir",
            module.parent,
        ]
        done = python("-m", "pytest", *options, "-c", os.devnull, module, INFERKIT_LEFT_OUT=left)
        assert done.returncode == 0, done.stdout + done.stderr
        found[part] = {line.split("::")[1] for line in done.stdout.splitlines() if line.startswith("PASSED")}
    return found, [line.split("\t") for line in left.read_text().splitlines()]


def test_each_test_is_in_one_part_and_a_landing_takes_about_a_fifth_of_the_long_ones(chosen):
    found, _ = chosen
    assert sum(map(len, found.values())) == len(set().union(*found.values())) == 47
    assert found["quiet"] == {"test_clock"}
    assert "test_short" in found["landing"]
    assert 1 <= sum(name.startswith("test_long") for name in found["landing"]) <= 20
    assert sum(name.startswith("test_named") for name in found["landing"]) == 1
    assert found["changed"] == set()


def test_a_landing_names_what_it_leaves_out(chosen):
    found, left = chosen
    assert {test.split("::")[1] for by, part, test in left} == found["rest"]
    assert {(by, part) for by, part, _ in left} == {("landing", "rest")}


def test_doctests_take_turns_and_so_do_all_where_it_is_asked_for(tmp_path):
    text = "".join(f'def doc_{n}():\n    """Say it.\n\n    >>> {n}\n    {n}\n    """\n' for n in range(20))
    (tmp_path / "test_marked.py").write_text(text + "".join(f"def test_{n}(): pass\n" for n in range(20)))
    options = ["-q", "-rA", "-p", "tests.rotation", "-p", "no:cacheprovider", "--doctest-modules", "-c", os.devnull]
    options += ["--rootdir", tmp_path, tmp_path / "test_marked.py"]
    for more, kinds in ((), ["doc"]), (("--turns",), ["doc", "test"]):
        runs = [python("-m", "pytest", *options, *more, f"--part={part}").stdout for part in ("landing", "rest")]
        landing, rest = (set(re.findall(r"^PASSED .*?(test_marked\.py\S+)$", run, re.M)) for run in runs)
        assert len(landing | rest) == 40 == len(landing) + len(rest)
        in_turn = {
            name for name in landing | rest if any(f"::{kind}_" in name or f".{kind}_" in name for kind in kinds)
        }
        assert landing & in_turn == {name for name in in_turn if rotation.has_turn(name)}
        assert rest <= in_turn


def test_what_a_stage_covers_is_named_by_file_or_by_folder():
    stage = runner.Stage("some", ["-m", "pytest", "tests/browser", "tests/test_cli.py"])
    named = ("tests/browser/test_pad.py", "tests/test_cli.py", "tests/test_cli.pyc", "tests/browsers.py")
    assert [runner.covers(stage, name) for name in named] == [True, True, False, False]


def test_five_turns_bring_each_test_once(monkeypatch):
    names = [f"tests/test_x.py::test_long[{n}]" for n in range(40)]
    seen = []
    for turn in range(rotation.FIFTHS):
        monkeypatch.setattr(rotation, "head", lambda turn=turn: f"{turn:040x}")
        seen += [name for name in names if rotation.has_turn(name)]
        assert sorted(rotation.by_turn(names)) == sorted(names)
    assert sorted(seen) == sorted(names)


def test_a_module_changes_with_itself_and_with_what_it_imports(monkeypatch):
    ours = ROOT / "tests" / "test_bayes_sbc.py"
    for path, expected in (
        ("tests/test_bayes_sbc.py", ([ours], [])), ("inferkit/bayes/_sample.py", ([], [ours])),
        ("inferkit/serving/_web.py", ([], [])),
    ):  # fmt: skip
        monkeypatch.setattr(rotation, "changed_files", lambda path=path: frozenset([path]))
        assert rotation.by_change([ours]) == expected


@pytest.mark.parametrize(
    ("path", "target"),
    [("binder/lock-dev.txt", "verify"), ("tests/__main__.py", "verify"), ("inferkit/_base.py", "test")],
)
def test_everything_is_proved_where_locks_or_the_runner_changed(path, target, monkeypatch):
    monkeypatch.setattr(rotation, "changed_files", lambda: frozenset([path]))
    assert rotation.proof() == target


def test_after_its_time_a_part_ends_well_and_names_what_it_did_not_begin(tmp_path):
    (tmp_path / "test_marked.py").write_text(MARKED)
    left = tmp_path / "left-out.tsv"
    options = [
        "-q",
        "-c",
        os.devnull,
        "-p",
        "tests.rotation",
        "-p",
        "no:cacheprovider",
        "--part=rest",
        f"--until={time.time() - 1}",
    ]
    done = python("-m", "pytest", *options, tmp_path / "test_marked.py", INFERKIT_LEFT_OUT=left)
    assert done.returncode == 0, done.stdout
    assert len(left.read_text().splitlines()) >= 20


def test_a_skip_fails_where_all_is_required(tmp_path):
    (tmp_path / "test_skipped.py").write_text("import pytest\ndef test_it(): pytest.skip('no such thing')\n")
    options = ["-q", "-c", os.devnull, "-p", "tests.rotation", "-p", "no:cacheprovider", tmp_path / "test_skipped.py"]
    assert python("-m", "pytest", *options, INFERKIT_REQUIRE_ALL="").returncode == 0
    assert python("-m", "pytest", *options, INFERKIT_REQUIRE_ALL=1).returncode == 1


def test_verify_runs_every_module_and_every_lesson_once():
    everything = runner.choose(runner.stages(None), ["verify"])
    for part in ("landing", "rest"):
        words = [
            word
            for stage in everything
            if stage.part == part
            for word in stage.command
            if stage.command[0] == runner.PYTHON
        ]
        for module in runner.modules("test_*", "notebooks/test_*"):
            assert words.count(module) == 1, (part, module)
    lessons = [stage.command[-1] for stage in everything if stage.name.startswith("lesson ")]
    assert sorted(lessons) == runner.modules("browser/test_lesson_*")
    assert sum(stage.name.startswith("lesson ") and stage.part == "landing" for stage in everything) == runner.LESSONS


# -- running ----------------------------------------------------------------------------------------------------


@pytest.fixture
def proved(tmp_path, monkeypatch, capfd):
    """Return a function that runs planted stages: the exit code, and what was printed."""
    monkeypatch.setattr(runner, "BUILD", tmp_path)
    monkeypatch.setattr(runner, "unchecked", lambda chosen: [])

    def prove(*stages, minutes=10.0):
        return runner.prove(list(stages), list(stages), minutes), capfd.readouterr()

    return prove


def test_all_stages_run_and_a_failure_is_named(proved):
    result, said = proved(code("print('oh'); raise SystemExit(3)", name="one"), code("print('fine')", name="two"))
    assert result == 1
    assert "FAILED: one" in said.out
    assert "oh" in said.out
    assert "fine" in said.out


def test_a_stage_waits_for_the_one_that_it_needs(proved, tmp_path):
    made = tmp_path / "made"
    first = code(f"import time; time.sleep(.5); open({str(made)!r}, 'w')", name="first")
    second = code(f"open({str(made)!r})", name="second", after="first")
    assert proved(second, first)[0] == 0


def test_what_may_be_left_out_is_not_begun_after_its_time(proved):
    result, said = proved(code("raise SystemExit(3)", part="rest", name="long"), code("pass", name="short"), minutes=0)
    assert result == 0
    assert "NOT IN THIS LANDING (`make verify` runs it): long" in said.out


def test_what_a_stage_leaves_running_is_ended_and_named(proved):
    start = "import subprocess, sys; sleep = [sys.executable, '-c', 'import time; time.sleep(600)']; "
    result, said = proved(code(start + "print('left:', subprocess.Popen(sleep).pid)"))
    assert result == 0
    assert "left running by a stage, and ended" in said.out
    left, end = int(re.search(r"^left: (\d+)$", said.out, re.M)[1]), time.monotonic() + 30
    with suppress(psutil.NoSuchProcess):
        while psutil.Process(left).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < end
            time.sleep(0.05)


PLANTED = """
import sys
from pathlib import Path
from tests import __main__ as runner
runner.BUILD = Path(sys.argv[1])
runner.SHARDS = {}
nested = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
runner.stages = lambda minutes: [runner.Stage("planted", [sys.executable, "-c", nested])]
sys.exit(runner.main(["planted"]))
"""


def begin(folder):
    (folder / "tmp").mkdir(exist_ok=True)
    env = {**os.environ, "TMPDIR": str(folder / "tmp"), "INFERKIT_REQUIRE_ALL": ""}
    process = subprocess.Popen([sys.executable, "-c", PLANTED, str(folder)], cwd=ROOT, env=env, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)  # fmt: skip
    assert "begun" in process.stdout.readline()
    end = time.monotonic() + 60
    while len(psutil.Process(process.pid).children(recursive=True)) < 2:
        assert time.monotonic() < end
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_leaves_nothing_behind_and_says_so_in_a_line(number, tmp_path):
    process = begin(tmp_path)
    started = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert errors == "\nInterrupted: nothing is left running, and nothing was proved.\n"
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in started)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_second_run_in_one_folder_is_refused_in_a_line(tmp_path):
    process = begin(tmp_path)
    try:
        env = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "INFERKIT_REQUIRE_ALL": ""}
        second = subprocess.run(
            [sys.executable, "-c", PLANTED, str(tmp_path)], cwd=ROOT, env=env, capture_output=True, text=True
        )
        assert second.returncode == 2
        assert second.stderr == (
            f"Not run: another run (process {process.pid}) is under way in this folder: wait for its end.\n"
        )
    finally:
        process.terminate()
        process.communicate(timeout=60)


# -- what is missing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("INFERKIT_CHROMIUM", "", "Chromium (apt-get install chromium"),
        ("INFERKIT_MIRROR", "/nowhere", "published models"),
    ],
)
def test_what_is_missing_is_said_in_a_line_and_fails_at_once_where_all_is_required(name, value, line, tmp_path):
    path = os.pathsep.join([str(Path(sys.executable).parent)])
    done = python("-m", "tests", "widgets", INFERKIT_REQUIRE_ALL=1, PATH=path, **{name: value})
    assert done.returncode == 1
    assert f"NOT CHECKED, and all is required: {line}" in done.stderr
    assert done.stdout == ""


def test_without_a_newer_python_its_stages_are_not_run_and_the_lessons_take_the_one_at_hand(monkeypatch):
    monkeypatch.setattr(runner, "missing", lambda: "Python 3.13: there is none")
    stages = {stage.name: stage for stage in runner.stages(None)}
    assert stages["binder"].lacks == stages["on 3.13"].lacks == "Python 3.13: there is none"
    assert stages["lesson 01"].command[0] == sys.executable
    assert "Python 3.13: there is none" in runner.unchecked(list(stages.values()))


def test_without_a_right_to_cap_memory_it_is_said(monkeypatch):
    def none(megabytes):
        raise runner.NoCapError("memory can't be capped here")

    monkeypatch.setattr(runner, "memory_cap", none)
    assert "the lessons in 2 GB: memory can't be capped here" in runner.unchecked([])


def test_a_full_disk_is_said_before_anything_starts(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(runner, "BUILD", tmp_path)
    monkeypatch.setattr(runner, "FREE_GB", 10**9)
    monkeypatch.setenv("INFERKIT_REQUIRE_ALL", "")
    assert runner.main(["lint"]) == 2
    assert capsys.readouterr().err.startswith("Not run: the tests write up to 1000000000 GB; ")


def test_an_unknown_stage_is_refused_and_the_known_ones_named(capsys):
    with pytest.raises(SystemExit) as error:
        runner.main(["unti"])
    assert error.value.code == 2
    assert "expected test, verify or stages (python313, lint" in capsys.readouterr().err


# -- how large the house is -------------------------------------------------------------------------------------


def test_code_lines_are_those_that_are_neither_blank_nor_comment_nor_docstring():
    text = (
        '"""What it is.\n\nMore.\n"""\n\nX = 1  # why\n\n# only this\ndef f():\n    """Do it."""\n    return "text"\n'
    )
    assert lint.code_lines(text) == 3


def test_the_table_of_sizes_adds_up():
    rows = [line.rsplit(maxsplit=5) for line in lint.size_table().splitlines()]
    whole = next(
        int(line.split()[1].replace(",", "")) for line in lint.size_table().splitlines() if line.startswith("library")
    )
    assert sum(int(row[1].replace(",", "")) for row in rows[1:] if len(row) == 6 and row[0] != "library") == whole
