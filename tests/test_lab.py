"""The lab: copies that are the student's own, and a JupyterLab that shows nothing else."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import urllib.error
import urllib.request
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest
import websocket
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from jupyter_core.paths import jupyter_data_dir

from inferkit import InputError
from inferkit.benchmark import Entry, Ledger
from notebooks import lab, server
from notebooks.source import from_text, write_text

ROOT = Path(__file__).parent.parent


def notebook(text):
    return write_text(from_text(f"# %%\n{text!r}\n"))


NOTED = {"url": "http://127.0.0.1:1/", "hostname": "127.0.0.1", "port": 1, "base_url": "/", "secure": False,
         "token": "t", "password": False}  # fmt: skip
README = """
| | lesson | what you measure | start it |
|---|---|---|---|
| | **First part** | | |
| 01 | [One, "quoted"?](notebooks/01_one.ipynb) | a | b |
| 02 | [Two](notebooks/02_two.ipynb) | a | b |
| | **Second part** | | |
| 03 | Three · *coming* | a | |
"""


@pytest.fixture(scope="module", autouse=True)
def jupyter_data(tmp_path_factory):
    """Keep what is trusted here out of the user's own memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture
def course(tmp_path):
    """Return a built course of two lessons and the folder of a student."""
    return build(tmp_path)


def build(root):
    built = root / "notebooks"
    for name in ("01_one", "exercises/01_one", "solutions/01_one", "02_two"):
        path = built / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(notebook(name))
    (root / "README.md").write_text(README)
    return built, root / "work"


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
        assert told == [f"exercises/01_one.ipynb: your copy is now exercises/old-{number}_01_one.ipynb"]
        assert f"mine {number}" in (work / "exercises" / f"old-{number}_01_one.ipynb").read_text()
        assert (work / "exercises" / "01_one.ipynb").read_bytes() == (built / "exercises" / "01_one.ipynb").read_bytes()
    assert lab.reset("01", work, built) == []


def test_reset_of_an_unknown_lesson_is_refused(course):
    built, work = course
    with pytest.raises(InputError, match="got 7; the lessons are: 01, 02"):
        lab.reset("7", work, built)


def test_a_folder_that_cannot_be_made_is_an_error_in_one_line(course, monkeypatch, capsys):
    built, work = course
    work.write_text("a file in the way")
    sync = lab.sync
    monkeypatch.setattr(lab, "sync", lambda: sync(work, built))
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
        (root / "README.md").touch()
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


# -- the welcome page -------------------------------------------------------------------------------------------


def page(work):
    return (work / "00_welcome.md").read_text(encoding="utf-8")


def test_the_map_names_parts_lessons_and_the_minutes_that_they_state(course):
    built, work = course
    (built / "02_two.ipynb").write_text(notebook("30 minutes to teach, 25 minutes to practise."))
    lab.sync(work, built)
    rows = [line for line in page(work).splitlines() if line.startswith("|")][2:]
    practise = "[exercises](exercises/{0}.ipynb) · [solutions](solutions/{0}.ipynb)"
    assert rows == [
        "| | **First part** | | | |",
        f'| 01 | [One, "quoted"?](01_one.ipynb) |  | {practise.format("01_one")} |  |',
        f"| 02 | [Two](02_two.ipynb) | 30 + 25 | {practise.format('02_two')} |  |",
    ]


def with_outputs(*texts):
    cells = [{"outputs": [{"output_type": "stream", "text": [line]}]} for line in texts]
    return json.dumps(
        {"cells": [{"source": []}, *cells, {"outputs": [{"data": {"text/plain": "You guessed 2 ms. "}}]}]}
    )


def test_what_is_done_is_read_from_the_saved_copies_and_the_ledger(course, monkeypatch, tmp_path):
    built, work = course
    monkeypatch.setenv("INFERKIT_LEDGER", str(tmp_path / "ledger.sqlite"))
    lab.sync(work, built)
    assert "ledger has" not in page(work)
    Ledger.open().add(Entry("a"), Entry("b"))
    (work / "01_one.ipynb").write_text(with_outputs("You guessed 1 ms. This machine measured 2 ms."))
    (work / "exercises" / "01_one.ipynb").write_text(with_outputs("✓ one\n", "✗ two: a hint\n", "✓ three\n"))
    (work / "02_two.ipynb").write_text("no notebook")
    lab.sync(work, built)
    assert "| 2 guesses, 2 of 3 checks |\n" in page(work)
    assert "Your ledger has 2 rows." in page(work)
    (tmp_path / "ledger.sqlite").write_text("no ledger")
    lab.sync(work, built)
    assert "ledger has" not in page(work)


def test_a_welcome_page_that_was_written_in_is_kept(course):
    built, work = course
    lab.sync(work, built)
    (work / "00_welcome.md").write_text("mine")
    lab.sync(work, built)
    assert page(work) == "mine"


# -- JupyterLab -------------------------------------------------------------------------------------------------


def test_the_command_is_of_the_loopback_and_options_win(tmp_path):
    command = lab.command("01_one.ipynb", ["--port=9999", "--no-browser"], tmp_path)
    assert "--ServerApp.ip=127.0.0.1" in command
    assert f"--ServerApp.root_dir={tmp_path}" in command
    assert command[-2:] == ["--port=9999", "--no-browser"]
    assert not [word for word in lab.command("", ["--ip", "0.0.0.0"], tmp_path) if "127.0.0.1" in word]


@pytest.mark.parametrize(
    ("user", "options", "allowed"),
    [
        (0, [], True),
        (0, ["--ip=0.0.0.0"], True),
        (0, ["--IdentityProvider.token="], False),  # then JupyterLab refuses, and says what would allow it
        (0, ["--allow-root"], False),  # once is enough
        (1000, [], False),
    ],
)
def test_root_may_where_a_token_is_asked_for(tmp_path, monkeypatch, user, options, allowed):
    monkeypatch.setattr(server.os, "geteuid", lambda: user)
    assert ("--ServerApp.allow_root=True" in lab.command("", options, tmp_path)) == allowed


@pytest.mark.parametrize(
    ("noted", "line"),
    [
        ({}, "safe here: the server answers this machine alone (127.0.0.1), and asks for the token above."),
        (
            {"hostname": "0.0.0.0"},
            "not safe everywhere: the server answers the whole network, and asks for the token above.",
        ),
        (
            {"token": "", "password": True},
            "safe here: the server answers this machine alone (127.0.0.1), and asks for a password.",
        ),
        (
            {"token": ""},
            "not safe everywhere: the server answers this machine alone (127.0.0.1), and asks for no password.",
        ),
    ],
)
def test_root_is_told_what_keeps_others_out(monkeypatch, noted, line):
    monkeypatch.setattr(server.os, "geteuid", lambda: 0)
    noted = {**NOTED, **noted}
    assert server._address(noted)[-1] == f"Running as root is {line}"
    monkeypatch.setattr(server.os, "geteuid", lambda: 1000)
    assert "root" not in "".join(server._address(noted))


def test_the_address_is_one_that_a_browser_reaches():
    """A name of the container is known to nobody outside it; there the port is published on the loopback address."""
    assert server._address(NOTED)[0] == "Open this: http://127.0.0.1:1/?token=t"
    noted = {**NOTED, "hostname": "0.0.0.0", "url": "http://3f2a:1/", "base_url": "/x/", "secure": True}
    assert server._address(noted)[0] == "Open this: https://127.0.0.1:1/x/?token=t"


def test_a_lecture_has_settings_of_its_own_each_time(tmp_path):
    for _ in range(2):
        command = lab.command("01_one.ipynb", [], tmp_path, lecture=True)
        folder = Path(next(word for word in command if "user_settings_dir" in word).partition("=")[2])
        deck = folder / "@deathbeds" / "jupyterlab-deck" / "plugin.jupyterlab-settings"
        assert json.loads(deck.read_text()) == {"active": True}
        deck.write_text('{"active": false}')  # what the extension writes when a lecture ends


@pytest.mark.parametrize(
    ("arguments", "opened", "options", "lecture"),
    [
        (["open"], "00_welcome.md", [], False),
        (["open", "--port=1", "--no-browser"], "00_welcome.md", ["--port=1", "--no-browser"], False),
        (["lecture", "2", "--port=1"], "02_the_pipeline_is_the_model.ipynb", ["--port=1"], True),
    ],
)
def test_what_is_opened(monkeypatch, arguments, opened, options, lecture):
    calls = []
    monkeypatch.setattr(lab, "sync", list)
    monkeypatch.setattr(lab, "command", lambda *arguments, **lecture: calls.append((*arguments, lecture)))
    monkeypatch.setattr(server, "run", lambda command, environment: 0)
    assert lab.main(arguments) == 0
    assert calls == [(opened, options, {"lecture": lecture})]


def test_a_lecture_on_no_lesson_is_an_error_in_one_line(capsys):
    assert lab.main(["lecture", "foo"]) == 1
    assert re.fullmatch(r"expected the number of a lesson, got foo; the lessons are: 01, .*\n", capsys.readouterr().err)


def test_reset_from_the_command_line(monkeypatch, capsys):
    monkeypatch.setattr(lab, "reset", lambda number: [f"{number} put aside"])
    assert lab.main(["reset", "01"]) == 0
    assert capsys.readouterr().out == "01 put aside\nLesson 01 is fresh.\n"
    with pytest.raises(SystemExit):
        lab.main(["reset", "01", "--port=1"])


# -- from the first line to the last process --------------------------------------------------------------------

# What stands in for JupyterLab here notes an address as it does, has a kernel that no signal ends, and is itself deaf.
_DEAF = "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (2, 15)]; time.sleep(600)"
_SERVER = f"""
import json, os, pathlib, signal, subprocess, sys, time
kernel = subprocess.Popen([sys.executable, "-c", {_DEAF!r}], start_new_session=True,
                          env=os.environ | {{"JPY_PARENT_PID": str(os.getpid())}})
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("[E 10:00 ServerApp] something went wrong", flush=True)
note = pathlib.Path(os.environ["JUPYTER_RUNTIME_DIR"], f"jpserver-{{os.getpid()}}.json")
address = {NOTED!r} | {{"token": f"{{os.getpid()}}-{{kernel.pid}}"}}
note.write_text(json.dumps(address))
time.sleep(600)
"""
_LAUNCHER = """
import os, pathlib, sys
from notebooks import server
server.end_at_signals()
server._CLOSING_S = 1
sys.exit(server.run([sys.executable, "-c", sys.argv[1]], dict(os.environ), pathlib.Path.cwd()))
"""


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a program in a session of its own, which does not outlive the test."""
    started = []

    def start(*command, cwd=tmp_path, **variables):
        env = {**os.environ, "PYTHONPATH": str(ROOT), "JUPYTER_RUNTIME_DIR": str(tmp_path), **variables}
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "start_new_session": True}
        started.append(subprocess.Popen(command, cwd=cwd, env=env, **options))
        return started[-1]

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def lines_until(process, beginning):
    """Return the lines that a program prints, up to one that begins so."""
    watchdog = threading.Timer(300, process.kill)
    watchdog.start()
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if line.startswith(beginning):
            watchdog.cancel()
            return lines
    raise AssertionError(f"it ended without a line {beginning!r}: {lines}")


def left_of(pids):
    """Wait until processes have ended; return those that have not within some seconds."""
    end = time.monotonic() + 10
    while (left := [pid for pid in pids if is_running(pid)]) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def is_running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    ("signals", "code"),
    [(["SIGTERM"], 143), (["SIGHUP"], 129), (["SIGINT"], 0), (["SIGINT", "SIGINT"], 0), (["SIGKILL"], -9)],
)
def test_what_ends_the_command_ends_server_and_kernels(start, signals, code):
    launcher = start(sys.executable, "-c", _LAUNCHER, _SERVER)
    opened = lines_until(launcher, "Open this")[-1]
    pids = [int(pid) for pid in opened.rpartition("=")[2].split("-")]
    assert all(map(is_running, pids))
    lines_until(launcher, "[E 10:00 ServerApp] something went wrong")
    os.kill(launcher.pid, getattr(signal, signals[0]))
    for name in signals[1:]:
        lines_until(launcher, "Closing")
        os.kill(launcher.pid, getattr(signal, name))
    printed, _ = launcher.communicate(timeout=120)
    assert launcher.returncode == code
    assert "Traceback" not in printed
    if signals == ["SIGKILL"]:  # a real kernel sees that its server is gone; this one does not look
        os.kill(pids.pop(), signal.SIGKILL)
    assert left_of(pids) == []


@pytest.mark.parametrize(
    ("program", "code", "shown"),
    [
        ("print('first'); print('options: ...')", 0, ["first", "options: ..."]),
        ("import sys; [print(i) for i in range(99)]; sys.exit('no port is free')", 1, ["98", "no port is free"]),
        ("import os; os.kill(os.getpid(), 9)", 137, []),
    ],
)
def test_a_server_that_ends_by_itself_is_heard(start, program, code, shown):
    launcher = start(sys.executable, "-c", _LAUNCHER, program)
    printed, _ = launcher.communicate(timeout=120)
    assert launcher.returncode == code
    assert [line for line in printed.splitlines() if line][1:][-2:] == shown
    assert len(printed.splitlines()) < 20


def test_what_takes_long_says_so(monkeypatch, capsys):
    monkeypatch.setattr(server, "_EVERY_S", 0.01)
    heard, say = threading.Event(), server.say
    monkeypatch.setattr(server, "say", lambda line: (say(line), line.endswith(" s") and heard.set()))
    with server.telling("Doing it"):
        assert heard.wait(60)
    first, *others = capsys.readouterr().out.splitlines()
    assert first == "Doing it ..."
    assert others[0] == "  0 s"


@pytest.mark.parametrize("variable", ["HOME", "JUPYTER_DATA_DIR"])
def test_a_home_that_cannot_be_written_to_is_replaced(tmp_path, monkeypatch, capsys, variable):
    """A file in its place, as root may write into any folder."""
    (tmp_path / "file").touch()
    for name in server._FOLDERS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    server.with_a_home(tmp_path / "work")
    assert capsys.readouterr().out == ""
    monkeypatch.setenv(variable, str(tmp_path / "file" / "folder"))
    server.with_a_home(tmp_path / "work")
    assert Path(jupyter_data_dir()).is_relative_to(tmp_path / "work" / ".lab" / "home")
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("settings and the ledger are kept in work/.lab/home.")


@pytest.mark.rotated
def test_the_course_opens_in_a_folder_with_any_name_and_without_a_home(start, tmp_path):
    """For real, as one process after the other is: JupyterLab on the welcome page, a kernel that does not listen."""
    root = tmp_path / "x y" / "Übung"
    build(root)
    shutil.copytree(ROOT / "notebooks", root / "notebooks", dirs_exist_ok=True,
                    ignore=lambda folder, names: [name for name in names if not name.endswith(".py")])  # fmt: skip
    (root / "file").touch()
    folders = dict.fromkeys(server._FOLDERS, "")
    command = [sys.executable, "-m", "notebooks.lab", "open", "--no-browser", "--ServerApp.port=0"]
    launcher = start(*command, cwd=root, HOME=str(root / "file"), PYTHONPATH=str(ROOT), **folders)
    printed = lines_until(launcher, "Open this")
    assert printed[0].startswith("Your home folder can't be written to")
    url, token = printed[-1].removeprefix("Open this: ").split("?token=")
    assert url.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(f"{url}?token={token}") as answer:
        assert answer.url.startswith(f"{url}lab/tree/00_welcome.md")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{url}api/contents")
    names = {entry["name"] for entry in ask(url, token, "contents")["content"]}
    assert names == {"00_welcome.md", "01_one.ipynb", "02_two.ipynb", "exercises", "solutions"}

    deaf = root / "work" / "deaf"
    busy_kernel(url, token, f"""
        import pathlib, subprocess, sys, time
        pathlib.Path({str(deaf)!r}).write_text(str(subprocess.Popen([sys.executable, "-c", {_DEAF!r}]).pid))
        while True:
            try:
                time.sleep(0.1)
            except BaseException:
                pass
        """)  # fmt: skip
    wait_for(lambda: deaf.exists() and deaf.read_text())
    pids = [child.pid for child in psutil.Process(launcher.pid).children(recursive=True)]
    assert len(pids) >= 3
    assert int(deaf.read_text()) in pids
    launcher.terminate()
    printed, _ = launcher.communicate(timeout=120)
    assert launcher.returncode == 143
    assert "Traceback" not in printed
    assert left_of(pids) == []
    assert [path for path in (root / "work").rglob("*") if path.name.startswith(".0")] == []  # nothing half-written


def ask(url, token, path, body=None):
    """Call the server's REST interface."""
    headers, data = {"Authorization": f"token {token}"}, None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{url}api/{path}", data=data, headers=headers)) as answer:
        return json.load(answer)


def busy_kernel(url, token, code):
    """Start a kernel through the server, and send it a cell."""
    kernel = ask(url, token, "kernels", {"name": "python3"})
    address = f"{url.replace('http', 'ws', 1)}api/kernels/{kernel['id']}/channels?token={token}"
    header = {"msg_id": "1", "username": "", "session": "1", "msg_type": "execute_request", "version": "5.3"}
    content = {"code": textwrap.dedent(code), "silent": False, "store_history": False, "user_expressions": {},
               "allow_stdin": False}  # fmt: skip
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    with closing(websocket.create_connection(address, timeout=60)) as socket:
        socket.send(json.dumps(message))


def wait_for(condition):
    end = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < end, "it did not happen within three minutes"
        time.sleep(0.05)


def test_it_does_without_the_tools_of_those_who_write_lessons():
    tools = ("jupytext", "nbclient", "nbval", "psutil", "tensorflow", "keras", "matplotlib", "nbformat")
    code = f"import sys; sys.modules.update(dict.fromkeys({tools})); import notebooks.lab"
    subprocess.run([sys.executable, "-c", code], check=True)
