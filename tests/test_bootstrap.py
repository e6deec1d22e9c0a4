"""The environment and the commands, made by the standard library alone: on this machine, and as Windows would."""

import glob
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.interpreters import bootstrap
from tests.machine import not_checked

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


def test_a_python_without_what_makes_environments_is_passed_over():
    """As a system's own may be; and an environment that another program made may have no pip."""
    assert boot.works([sys.executable], modules="venv, ensurepip")
    assert not boot.works([sys.executable], modules="venv, no_such_module")


# -- making it --------------------------------------------------------------------------------------------------


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """Return the commands that making an environment runs, on a machine where each succeeds."""
    ran = []
    monkeypatch.setattr(boot, "step", lambda what, command, env=None: ran.append((command, env)))
    monkeypatch.setattr(boot, "works", lambda command, *_, **__: command != [boot.program("python", str(tmp_path))])
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


def test_an_interrupted_environment_is_not_ready(recorded, tmp_path, monkeypatch, capsys):
    boot.make("dev", str(tmp_path), base=["python"])
    assert boot.is_ready("course", str(tmp_path))

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(boot, "step", interrupt)
    monkeypatch.setattr(boot, "is_ready", lambda *_: False)
    with pytest.raises(SystemExit, match="130"):
        boot.ensure("dev", str(tmp_path))
    assert capsys.readouterr().err == "\nInterrupted. The same command goes on from here.\n"
    assert not list(tmp_path.glob("*.stamp"))


def test_work_that_takes_long_says_what_is_under_way(monkeypatch, tmp_path):
    heard = tmp_path / "heard"
    told = []
    monkeypatch.setattr(boot, "EVERY_S", 0.01)
    monkeypatch.setattr(boot, "say", lambda line: told.append(line) or ("Downloading" in line and heard.touch()))
    code = "import os, sys, time; print('Downloading päckages', flush=True)\n"
    code += "while not os.path.exists(sys.argv[1]): time.sleep(0.01)"
    boot.step("Installing", [sys.executable, "-X", "utf8", "-c", code, str(heard)])
    assert told[0] == "Installing ..."
    assert told[-1] == "  0 s: Downloading p?ckages"


# What fails, as uv says it; what then is the last line. (Where the cause is known, the only one.)
@pytest.mark.parametrize(
    ("said", "lines"),
    [
        (
            "x: failed to write\\n  Caused by: No space left on device (os error 28)",
            ["The disk is full: the environment takes 3 GB."],
        ),
        ("x: no such package", ["Installing failed:", "x: no such package"]),
    ],
)
def test_a_failure_says_what_failed_and_leaves_no_stamp(monkeypatch, tmp_path, said, lines):
    program = [sys.executable, "-c", f"import sys; sys.exit('{said}')"]
    monkeypatch.setattr(boot, "make", lambda *_: boot.step("Installing", program))
    with pytest.raises(SystemExit) as ended:
        boot.ensure("course", str(tmp_path))
    printed = str(ended.value.code).splitlines()
    assert len(printed) == len(lines)
    assert all(line.startswith(beginning) for line, beginning in zip(printed, lines, strict=True))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_part_of_a_file(tmp_path):
    os.symlink("/dev/full", tmp_path / "stamp.part")
    with pytest.raises(OSError, match="No space left"):
        boot.write(str(tmp_path / "stamp"), "text" * 10_000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_what_ends_the_making_ends_all_that_it_started(tmp_path, name, code):
    """A program that does not listen, and one that it started."""
    deaf = "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (2, 15)]"
    program = (
        f"{deaf}; import os, subprocess, sys;"
        f"child = subprocess.Popen([sys.executable, '-c', '{deaf}; time.sleep(600)']);"
        "print(os.getpid(), child.pid, flush=True); time.sleep(600)"
    )
    code_of_caller = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'binder')!r}); import bootstrap as boot;"
        "boot.EVERY_S, boot.CLOSING_S, boot.is_ready = 0.1, 0.5, lambda *_: False;"
        f"boot.make = lambda *_: boot.step('At it', [sys.executable, '-c', {program!r}]); boot.ensure('course')"
    )
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": tmp_path}
    caller = subprocess.Popen([sys.executable, "-c", code_of_caller], **options)
    pids = next(found[1].split() for line in caller.stdout if (found := re.search(r"s: (\d+ \d+)$", line)))
    caller.send_signal(getattr(signal, name))
    _, errors = caller.communicate(timeout=60)
    assert caller.returncode == code
    assert "Traceback" not in errors
    assert [pid for pid in pids if is_running(pid)] == []


def is_running(pid):
    try:
        return psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_uv_does_without_a_memory_that_cannot_be_written_to(tmp_path, capsys):
    """A file in the place of the folder, as root may write into any."""
    (tmp_path / "file").touch()
    assert "UV_NO_CACHE" not in boot.for_uv("x", {"XDG_CACHE_HOME": str(tmp_path)})
    assert capsys.readouterr().out == ""
    for variables in ({"XDG_CACHE_HOME": str(tmp_path / "file")}, {"UV_CACHE_DIR": str(tmp_path / "file" / "x")}):
        assert boot.for_uv("x", variables)["UV_NO_CACHE"] == "1"
        assert len(capsys.readouterr().out.splitlines()) == 1


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
    """Same process, so that what ends it (a closed terminal, a signal) ends the command; compiled files are kept."""
    code = (
        f"import os, sys; sys.path.insert(0, {str(ROOT / 'binder')!r}); import course; print(os.getpid(), flush=True);"
        "course.run([sys.executable, '-c', 'import os, sys; print(os.getpid(), sys.dont_write_bytecode); sys.exit(5)'])"
    )
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    before, after, kept_off = done.stdout.split()
    assert (before, done.returncode) == (after, 5)
    assert kept_off == "False"


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


@pytest.fixture
def checkout(tmp_path):
    """Return a copy of the commands and of the lessons' names, with no environment."""
    root = tmp_path / "x y" / "Übung"
    shutil.copytree(ROOT / "binder", root / "binder", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    (root / "notebooks").mkdir()
    (root / "notebooks" / "01_one.ipynb").touch()
    return root


def pythons():
    """Return this Python, and of those that are too old the oldest and the newest that a version manager keeps."""
    kept = glob.glob(str(Path.home() / ".pyenv" / "versions" / "[23].*" / "bin" / "python"))
    old = [path for path in kept if boot.works([path], (2, 7), (3, 10), "os")]
    old.sort(key=lambda path: [int(number) for number in re.findall(r"\d+", path.rpartition("/versions/")[2])])
    return [sys.executable, *dict.fromkeys([*old[:1], *old[-1:]])]


def call(python, checkout, *arguments):
    """Run the command by a Python, where no other one is found."""
    command = [python, str(checkout / "binder" / "course.py"), *arguments]
    environment = {"PATH": "/nonexistent", "PYENV_ROOT": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("python", pythons())
def test_a_wrong_lesson_is_refused_before_anything_is_made(checkout, python):
    for *arguments, number in (["lecture", "foo"], ["reset", "99"], ["lecture", "--gpu", "013"]):
        done = call(python, checkout, *arguments, number)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"expected the number of a lesson, got {number}; the lessons are: 01\n"
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("python", pythons()[1:] or [None])
def test_a_python_that_is_too_old_is_told_what_is_needed(checkout, python):
    if python is None:
        not_checked("that a Python which is too old is told so. Install one: pyenv install 3.10")
    done = call(python, checkout, "lab")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("inferkit needs Python 3.11, 3.12 or 3.13 with its venv module; this is Python ")
    assert not (checkout / ".venv").exists()


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
