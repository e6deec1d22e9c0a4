"""The lab: copies that are the student's own, and a JupyterLab that shows nothing else."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from inferkit import InputError
from notebooks import lab
from notebooks.source import from_text, write_text


def notebook(text):
    return write_text(from_text(f"# %%\n{text!r}\n"))


@pytest.fixture(scope="module", autouse=True)
def jupyter_data(tmp_path_factory):
    """Keep what is trusted here out of the user's own memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture
def course(tmp_path):
    """Return a built course of two lessons and the folder of a student."""
    built = tmp_path / "notebooks"
    for name in ("01_one", "exercises/01_one", "solutions/01_one", "02_two"):
        path = built / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(notebook(name))
    return built, tmp_path / "work"


def test_all_is_copied(course):
    built, work = course
    assert lab.sync(work, built) == []
    for path in built.rglob("*.ipynb"):
        assert (work / path.relative_to(built)).read_bytes() == path.read_bytes()


def test_an_untouched_copy_follows_the_lesson(course):
    built, work = course
    lab.sync(work, built)
    (built / "01_one.ipynb").write_text(notebook("better"))
    assert lab.sync(work, built) == []
    assert "better" in (work / "01_one.ipynb").read_text()


def test_a_copy_that_was_worked_in_is_kept(course):
    built, work = course
    lab.sync(work, built)
    (work / "01_one.ipynb").write_text(notebook("mine"))
    assert lab.sync(work, built) == []  # the lesson is the same, so there is nothing to say
    (built / "01_one.ipynb").write_text(notebook("better"))
    for _ in range(2):
        told = lab.sync(work, built)
        assert told == [
            "01_one.ipynb: your copy is kept; the lesson has changed since. A fresh one: make reset N=01",
        ]
        assert "mine" in (work / "01_one.ipynb").read_text()


def test_a_file_of_unknown_origin_is_kept(course):
    built, work = course
    work.mkdir()
    (work / "01_one.ipynb").write_text(notebook("mine"))
    (work / ".origin.json").write_text("{ not json")
    assert [line.partition(":")[0] for line in lab.sync(work, built)] == ["01_one.ipynb"]
    assert "mine" in (work / "01_one.ipynb").read_text()


def test_reset_puts_the_old_copy_aside(course):
    built, work = course
    lab.sync(work, built)
    for number in (1, 2):
        (work / "exercises" / "01_one.ipynb").write_text(notebook(f"mine {number}"))
        told = lab.reset("1", work, built)
        assert told == [f"exercises/01_one.ipynb: your copy is now exercises/01_one.backup-{number}.ipynb"]
        assert f"mine {number}" in (work / "exercises" / f"01_one.backup-{number}.ipynb").read_text()
        assert (work / "exercises" / "01_one.ipynb").read_bytes() == (built / "exercises" / "01_one.ipynb").read_bytes()
    assert lab.reset("01", work, built) == []


def test_reset_of_an_unknown_lesson_is_refused(course):
    built, work = course
    with pytest.raises(InputError, match="got 07; the lessons are: 01, 02"):
        lab.reset("7", work, built)


def test_a_folder_that_cannot_be_made_is_an_error_in_one_line(course, monkeypatch, capsys):
    built, work = course
    work.write_text("a file in the way")
    sync = lab.sync
    monkeypatch.setattr(lab, "sync", lambda: sync(work, built))
    monkeypatch.setattr(lab, "pick", lambda numbers: [Path("01_one.py")])
    assert lab.main(["open"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


class Student(RuleBasedStateMachine):
    """Whatever happens in whatever order, nothing that a student wrote is lost."""

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        root = Path(self.folder.name)
        self.built, self.work, self.written = root / "notebooks", root / "work", set()
        self.built.mkdir()
        self.edition("first")

    def teardown(self):
        self.folder.cleanup()

    @rule(words=st.sampled_from(["first", "second", "third"]))
    def edition(self, words):
        (self.built / "01_one.ipynb").write_text(notebook(f"edition: {words}"))

    @rule()
    def open(self):
        lab.sync(self.work, self.built)
        self.all_is_there()

    @rule(words=st.sampled_from(["a", "b", "c"]))
    def write(self, words):
        if self.work.exists():
            (self.work / "01_one.ipynb").write_text(notebook(f"student: {words}"))
            self.current = notebook(f"student: {words}")
            self.written = (self.written & self.on_disk()) | {self.current}

    @rule()
    def reset(self):
        lab.reset("01", self.work, self.built)
        assert (self.work / "01_one.ipynb").read_text() == (self.built / "01_one.ipynb").read_text()
        self.all_is_there()

    @rule()
    def lose_state(self):
        (self.work / ".origin.json").unlink(missing_ok=True)

    def on_disk(self):
        return {path.read_text() for path in self.work.glob("*.ipynb")}

    def all_is_there(self):
        assert self.written <= self.on_disk()


TestStudent = Student.TestCase
TestStudent.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)


# -- JupyterLab -------------------------------------------------------------------------------------------------


def test_the_command_is_of_the_loopback_and_options_win(tmp_path):
    command = lab.command("01_one.ipynb", ["--port=9999", "--no-browser"], tmp_path)
    assert "--ServerApp.ip=127.0.0.1" in command
    assert f"--ServerApp.root_dir={tmp_path}" in command
    assert command[-2:] == ["--port=9999", "--no-browser"]


def test_a_lecture_has_settings_of_its_own_each_time(tmp_path):
    for _ in range(2):
        command = lab.command("01_one.ipynb", [], tmp_path, lecture=True)
        folder = Path(next(word for word in command if "user_settings_dir" in word).partition("=")[2])
        deck = folder / "@deathbeds" / "jupyterlab-deck" / "plugin.jupyterlab-settings"
        assert json.loads(deck.read_text()) == {"active": True}
        deck.write_text('{"active": false}')  # what the extension writes when a lecture ends


@pytest.mark.parametrize(
    ("arguments", "lesson", "options", "lecture"),
    [
        (["open"], "01_one.ipynb", [], False),
        (["open", "--port=1", "--no-browser"], "01_one.ipynb", ["--port=1", "--no-browser"], False),
        (["lecture", "2", "--port=1"], "02_two.ipynb", ["--port=1"], True),
    ],
)
def test_what_is_opened(course, monkeypatch, arguments, lesson, options, lecture):
    opened = []
    monkeypatch.setattr(lab, "pick", lambda numbers: [Path("02_two.py" if numbers else "01_one.py")])
    monkeypatch.setattr(lab, "sync", list)
    monkeypatch.setattr(lab, "_open", lambda name, rest, lecture: opened.append((name, rest, lecture)) or 0)
    assert lab.main(arguments) == 0
    assert opened == [(lesson, options, lecture)]


def test_reset_from_the_command_line(monkeypatch, capsys):
    monkeypatch.setattr(lab, "reset", lambda number: [f"{number} put aside"])
    assert lab.main(["reset", "01"]) == 0
    assert capsys.readouterr().out == "01 put aside\nLesson 01 is fresh.\n"
    with pytest.raises(SystemExit):
        lab.main(["reset", "01", "--port=1"])


def test_a_real_server_answers_on_the_loopback_and_ends_at_ctrl_c(course):
    built, work = course
    lab.sync(work, built)
    options = ["--no-browser", "--allow-root", "--ServerApp.port=0", "--IdentityProvider.token=t"]
    code = (
        "import pathlib, sys; from notebooks import lab; lab.WORK = pathlib.Path(sys.argv[1]);"
        "lab.command.__defaults__ = lab.environment.__defaults__ = (lab.WORK,);"
        "sys.exit(lab._open('01_one.ipynb', sys.argv[2:], lecture=False))"
    )
    env = {**os.environ, "JUPYTER_RUNTIME_DIR": str(work / "run")}
    server = subprocess.Popen([sys.executable, "-c", code, str(work), *options], env=env, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, start_new_session=True)  # fmt: skip
    try:
        address = running(work / "run")
        assert address["url"].startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{address['url']}?token=t") as answer:
            assert answer.url.startswith(f"{address['url']}lab/tree/01_one.ipynb")
        with urllib.request.urlopen(f"{address['url']}api/contents?token=t") as answer:
            assert {entry["name"] for entry in json.load(answer)["content"]} == {
                "01_one.ipynb", "02_two.ipynb", "exercises", "run", "solutions",
            }  # fmt: skip
        os.killpg(server.pid, signal.SIGINT)
        printed, _ = server.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
    assert server.returncode == 0
    assert "Traceback" not in printed


def running(folder):
    """Wait until a server has noted where it answers, and takes connections there; return what it noted."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for path in folder.glob("jpserver-*.json"):
            with suppress(ValueError, ConnectionRefusedError):
                noted = json.loads(path.read_text())
                socket.create_connection(("127.0.0.1", noted["port"])).close()
                return noted
        time.sleep(0.1)
    raise AssertionError("no server within a minute")


def test_it_does_without_the_tools_of_those_who_write_lessons():
    tools = ("jupytext", "nbclient", "nbval", "psutil", "tensorflow", "keras", "matplotlib")
    code = f"import sys; sys.modules.update(dict.fromkeys({tools})); import notebooks.lab"
    subprocess.run([sys.executable, "-c", code], check=True)
