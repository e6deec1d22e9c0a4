"""The environment and the commands, made by the standard library alone: on this machine, and as Windows would."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.interpreters import bootstrap

ROOT = Path(__file__).parent.parent
boot = bootstrap()
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.fixture
def course(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "binder")
    sys.modules.pop("course", None)
    import course

    yield course
    sys.modules.pop("course", None)


# -- finding a Python -------------------------------------------------------------------------------------------


def fake_python(path, exit_code):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\nexit {exit_code}\n")
    path.chmod(0o755)
    return path


def test_a_program_lies_where_the_platform_has_it():
    assert boot.program("python", "/home/me/.venv", windows=False) == "/home/me/.venv/bin/python"
    assert boot.program("uv", r"C:\me\.venv", windows=True) == r"C:\me\.venv\Scripts\uv.exe"
    assert Path(boot.program("python", sys.prefix)).exists()


def test_where_a_python_may_be(tmp_path):
    newer, older = (fake_python(tmp_path / "versions" / name / "bin" / "python", 0) for name in ("3.13.2", "3.13.0"))
    fake_python(tmp_path / "versions" / "3.12.9" / "bin" / "python", 0)
    found = boot.candidates((3, 13), windows=False, environ={"PYENV_ROOT": str(tmp_path)})
    assert found == [["python3.13"], [str(newer)], [str(older)]]
    assert boot.candidates((3, 13), windows=True, environ={}) == [["py", "-3.13"], ["python3.13"]]


def test_a_shim_that_does_not_run_is_passed_over(tmp_path, monkeypatch):
    """As with a version manager: the name is on the path, and only the folder of versions has a Python that runs."""
    fake_python(tmp_path / "shims" / "python3.13", 127)
    real = fake_python(tmp_path / "versions" / "3.13.1" / "bin" / "python", 0)
    monkeypatch.setenv("PATH", str(tmp_path / "shims"))
    monkeypatch.setattr(boot, "candidates", lambda version, f=boot.candidates: f(
        version, windows=False, environ={"PYENV_ROOT": str(tmp_path)}))  # fmt: skip
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert boot.find_python((3, 13), (3, 13)) == [str(real)]
    assert boot.find_python((3, 12), (3, 12)) is None


@pytest.mark.parametrize(
    ("oldest", "newest", "runs"),
    [((3, 11), (3, 13), True), (sys.version_info[:2], sys.version_info[:2], True), ((3, 6), (3, 7), False)],
)
def test_a_python_works_if_it_is_of_the_right_version(oldest, newest, runs):
    assert boot.works([sys.executable], oldest, newest) == runs
    assert not boot.works(["/nonexistent/python"], oldest, newest)


# -- making it --------------------------------------------------------------------------------------------------


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """Return the commands that making an environment runs, on a machine where each succeeds."""
    ran = []
    monkeypatch.setattr(boot.subprocess, "check_call", lambda command, env=None: ran.append((command, env)))
    monkeypatch.setattr(boot, "works", lambda command, *_: command != [boot.program("python", str(tmp_path))])
    return ran


def test_what_is_run_and_in_which_order(recorded, tmp_path):
    venv = str(tmp_path)
    boot.make("course", venv, base=["py", "-3.13"])
    commands = [command for command, _ in recorded]
    assert commands[0] == ["py", "-3.13", "-m", "venv", "--clear", venv]
    assert [command[0] for command in commands[1:]] == [boot.program(n, venv) for n in ("python", "uv", "uv", "uv")]
    assert [Path(word).name for c in commands for word in c if word.endswith(".txt")] == [
        "lock-uv.txt", "lock-course.txt",
    ]  # fmt: skip
    assert all("--require-hashes" in command for command in commands[1:3])
    assert commands[3][1:] == ["pip", "uninstall", "-q", "inferkit"]  # as it was called once
    assert "--no-index" in commands[4]
    assert all(env["VIRTUAL_ENV"] == venv for _, env in recorded[2:])
    assert boot.is_ready("course", venv)
    assert not boot.is_ready("dev", venv)
    assert (tmp_path / "share/jupyter/lab/settings/overrides.json").exists()


def test_an_interrupted_environment_is_not_ready(recorded, tmp_path, monkeypatch):
    boot.make("dev", str(tmp_path), base=["python"])
    assert boot.is_ready("course", str(tmp_path))

    def interrupt(command, env=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(boot.subprocess, "check_call", interrupt)
    monkeypatch.setattr(boot, "is_ready", lambda *_: False)
    with pytest.raises(SystemExit, match="goes on from here"):
        boot.ensure("dev", str(tmp_path))
    assert not list(tmp_path.glob("*.stamp"))


@pytest.mark.parametrize(("platform", "refused"), [("linux", False), ("darwin", True), ("win32", True)])
def test_an_accelerator_where_there_is_no_way_to_use_it_is_refused(recorded, tmp_path, monkeypatch, platform, refused):
    """There the lock `gpu` holds no TensorFlow at all."""
    monkeypatch.setattr(sys, "platform", platform)
    if refused:
        with pytest.raises(SystemExit, match="on Linux alone"):
            boot.ensure("gpu", str(tmp_path))
    else:
        boot.ensure("gpu", str(tmp_path))
    assert boot.is_ready("gpu", str(tmp_path)) != refused


# -- the commands -----------------------------------------------------------------------------------------------


def test_each_target_of_make_is_the_command_of_that_name(course):
    called = dict(re.findall(r"^([a-z-]+):.*\n\t@\$\(COURSE\) ([a-z-]+)", MAKEFILE, re.M))
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.M)) - {"help"}
    assert called == {name: name for name in targets}
    assert set(course.COMMANDS) == targets


@pytest.mark.parametrize(
    ("arguments", "kind", "call"),
    [
        (["lab"], "course", ["-m", "notebooks.lab", "open"]),
        (["lab", "--gpu", "--port=1"], "gpu", ["-m", "notebooks.lab", "open", "--port=1"]),
        (["lecture", "03"], "course", ["-m", "notebooks.lab", "lecture", "03"]),
        (["reset", "01"], "course", ["-m", "notebooks.lab", "reset", "01"]),
        (["test", "unit"], "dev", ["-m", "tests", "unit"]),
        (["env"], "dev", None),
    ],
)
def test_what_a_command_needs_and_runs(course, arguments, kind, call):
    assert course.plan(arguments) == (kind, call)


@pytest.mark.parametrize("arguments", [[], ["open"], ["--help"], ["test", "--gpu"]])
def test_what_is_no_command_is_refused(course, arguments):
    with pytest.raises(SystemExit, match=r"usage: python binder/course\.py|--gpu goes with lab"):
        course.plan(arguments)


def test_what_each_command_runs_is_there(course):
    for kind, call, _ in course.COMMANDS.values():
        assert (ROOT / "binder" / f"lock-{kind}.txt").exists()
        if call:
            name = call[1].replace(".", "/") if call[0] == "-m" else call[0]
            assert [path for path in (f"{name}.py", f"{name}/__main__.py", name) if (ROOT / path).is_file()], call


def test_windows_waits_for_the_command_and_gives_its_exit_code(course, monkeypatch):
    """There a program can't take the place of another; Ctrl-C reaches both, and the child may need some seconds."""

    class Child:
        waits = iter([KeyboardInterrupt, KeyboardInterrupt, 7])

        def wait(self):
            answer = next(self.waits)
            if answer is KeyboardInterrupt:
                raise KeyboardInterrupt
            return answer

    started = []
    monkeypatch.setattr(course.bootstrap, "WINDOWS", True)
    monkeypatch.setattr(course.subprocess, "Popen", lambda command: started.append(command) or Child())
    assert course.run(["python.exe", "-m", "tests"]) == 7
    assert started == [["python.exe", "-m", "tests"]]


@pytest.mark.skipif(os.name == "nt", reason="the other test is for Windows")
def test_elsewhere_the_command_takes_its_place(tmp_path):
    """Same process, so that what ends it (a closed terminal, a signal) ends the command."""
    code = (
        f"import os, sys; sys.path.insert(0, {str(ROOT / 'binder')!r}); import course; print(os.getpid(), flush=True);"
        "course.run([sys.executable, '-c', 'import os, sys; print(os.getpid()); sys.exit(5)'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    before, after = done.stdout.split()
    assert (before, done.returncode) == (after, 5)


def test_it_works_from_another_folder(tmp_path):
    """On this machine, for real: the command of the course, called by its path."""
    command = [sys.executable, str(ROOT / "binder" / "course.py"), "reset", "no-such-lesson"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "expected the number of a lesson, got no-such-lesson" in done.stderr


def test_an_old_python_can_at_least_read_the_commands():
    import ast

    for name in ("bootstrap.py", "course.py"):
        ast.parse((ROOT / "binder" / name).read_text(encoding="utf-8"), feature_version=(3, 4))


def test_a_machine_without_a_python_is_told_by_course_too(tmp_path):
    shutil.copytree(ROOT / "binder", tmp_path / "binder")
    code = (
        "import sys, runpy; sys.path.insert(0, 'binder'); sys.argv = ['course.py', 'lab'];"
        "sys.executable = '/nonexistent'; import bootstrap; bootstrap.find_python = lambda: None;"
        "runpy.run_path('binder/course.py', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("inferkit needs Python 3.11, 3.12 or 3.13 with its venv module; this is Python ")
