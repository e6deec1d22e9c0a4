"""Jobs in a process of their own: what they return, what they cost, and that they are gone afterwards."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferkit import InputError
from inferkit.benchmark import ChildError, _child, _in_child, run_in_child

MIB = 1 << 20


def total(*numbers: int) -> dict[str, Any]:
    import numpy as np

    return {"sum": np.sum(numbers), "list": np.array(numbers) / 2, "text": "µ ✓"}


def test_a_function_runs_with_its_arguments_in_another_process() -> None:
    result = run_in_child(total, 1, 2)
    assert result.value == {"sum": 3, "list": [0.5, 1.0], "text": "µ ✓"}
    assert 0 < result.seconds < 60
    assert run_in_child("import os\nresult = os.getpid()").value != os.getpid()


def test_code_as_text_may_be_indented_and_need_not_answer() -> None:
    assert run_in_child("    x = 20\n    result = x + 1\n").value == 21
    assert run_in_child("x = 1").value is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=8, deadline=None)
@given(json_values)
def test_plain_data_travel_there_and_back(value: Any) -> None:
    assert run_in_child(same, value).value == value


def same(value: Any) -> Any:
    return value


def test_what_the_job_prints_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    run_in_child("import os\nprint('one')\nos.write(2, b'noise')\nprint('two')")
    assert capsys.readouterr().out == "one\ntwo\n"


# -- memory ------------------------------------------------------------------------------------


def hold(mib: int) -> None:
    held = b"x" * (mib * 1024 * 1024)
    del held  # the peak stays


def test_the_peak_is_of_the_job_alone() -> None:
    weight = b"x" * (200 * MIB)  # a heavy parent, as a kernel with TensorFlow is
    light, heavy = run_in_child(hold, 1), run_in_child(hold, 100)
    assert len(weight) == 200 * MIB
    assert 5 < light.baseline_mb <= light.peak_mb < 60
    assert heavy.extra_mb == pytest.approx(100 * MIB / 1e6, abs=10)
    assert heavy.extra_mb == heavy.peak_mb - heavy.baseline_mb
    assert f"{heavy.peak_mb:.0f} MB at the peak" in str(heavy)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no getrusage on Windows")
@pytest.mark.parametrize(("platform", "unit"), [("darwin", 1), ("freebsd", 1024)])
def test_other_systems_count_in_other_units(platform: str, unit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    monkeypatch.setattr(sys, "platform", platform)
    assert _child.peak_bytes() == resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


# -- failure -----------------------------------------------------------------------------------


def fails(n: int) -> float:
    x = n - n
    return n / x


@pytest.mark.parametrize(
    ("job", "args", "says"),
    [
        (fails, [3], r"in the child process: ZeroDivisionError: division by zero \(at line 3: return n / x\)"),
        ("import no_such_module", [], "ModuleNotFoundError: No module named 'no_such_module'"),
        ("result = missing", [], r"NameError: .*\(at line 1: result = missing\); the child sees only"),
        ("result = )", [], "SyntaxError: unmatched"),
        ("import sys\nsys.exit(3)", [], r"SystemExit: 3 \(at line 2"),
        ("result = {1, 2}", [], "TypeError: the job returned a set, which cannot travel"),
        ("import os\nos._exit(3)", [], "ended with code 3 before the job was done: it left no message"),
        ("import os\nos.write(2, b'a\\nlast words\\n')\nos._exit(3)", [], "code 3 before the job was done: last words"),
    ],
)
def test_an_error_in_the_child_is_raised_here(job: Any, args: list[Any], says: str) -> None:
    with pytest.raises(ChildError, match=says):
        run_in_child(job, *args)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are of Unix")
def test_a_child_that_is_killed_says_so() -> None:
    with pytest.raises(ChildError, match="killed from outside; too little memory"):
        run_in_child("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")


class Thing:
    def method(self) -> None: ...


@pytest.mark.parametrize("job", [len, lambda: 1, Thing, Thing().method, 3, None])
def test_a_job_that_is_no_plain_function_is_refused(job: Any) -> None:
    with pytest.raises(InputError, match="expected a function made with def, or code as text"):
        run_in_child(job)


def test_a_job_that_leans_on_its_surroundings_is_refused() -> None:
    outer = 3

    def inner() -> int:
        return outer

    with pytest.raises(InputError, match="inner uses outer from the function around it"):
        run_in_child(inner)


def test_a_job_without_text_is_refused() -> None:
    names: dict[str, Any] = {}
    exec("def nowhere(): return 1", names)
    with pytest.raises(InputError, match="the text of nowhere cannot be found; give the code as text"):
        run_in_child(names["nowhere"])


def test_arguments_that_cannot_travel_are_refused() -> None:
    with pytest.raises(InputError, match=r"one is not: .*set.*array\.tolist"):
        run_in_child(total, {1, 2})
    with pytest.raises(InputError, match="takes no arguments"):
        run_in_child("result = 1", 2)


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf"), "5", None, True])
def test_a_time_limit_that_is_none_is_refused(timeout_s: Any) -> None:
    with pytest.raises(InputError, match="timeout_s: expected a number of seconds above 0"):
        run_in_child("result = 1", timeout_s=timeout_s)


# -- nothing is left behind --------------------------------------------------------------------


def sleep_with_a_child(note: str) -> None:
    import os
    import subprocess
    import sys
    import time

    helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    with open(note + ".part", "w") as f:
        f.write(f"{os.getpid()} {helper.pid}")
    os.rename(note + ".part", note)
    time.sleep(300)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited 30 s in vain"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_job_past_its_time_is_killed_with_what_it_started(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match=r"stopped after 3 s; .*timeout_s"):
        run_in_child(sleep_with_a_child, str(tmp_path / "note"), timeout_s=3)
    for pid in map(int, (tmp_path / "note").read_text().split()):
        wait_for(lambda pid=pid: gone(pid))  # type: ignore[misc]
    assert [p.name for p in tmp_path.iterdir()] == ["note"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are of Unix")
def test_an_interrupt_kills_the_job_and_the_next_call_works(tmp_path: Path) -> None:
    note = tmp_path / "note"

    def interrupt() -> None:
        wait_for(note.exists)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # as Jupyter's stop button does

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        run_in_child(sleep_with_a_child, str(note), timeout_s=200)
    for pid in map(int, note.read_text().split()):
        wait_for(lambda pid=pid: gone(pid))  # type: ignore[misc]
    assert run_in_child("result = 1").value == 1


def test_a_child_that_has_just_ended_need_not_be_killed() -> None:
    """After an interrupt Python waits a little for the child, and may have seen its end."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    child = subprocess.Popen([sys.executable, "-c", "pass"], **options)
    assert child.wait() == 0
    _in_child._kill(child)


def test_open_files_do_not_pile_up() -> None:
    run_in_child("result = 1")
    before = psutil.Process().num_fds() if os.name == "posix" else 0
    for _ in range(3):
        with pytest.raises(ChildError):
            run_in_child("1 / 0")
    assert (psutil.Process().num_fds() if os.name == "posix" else 0) == before


@pytest.mark.skipif(sys.platform == "win32", reason="a process of Windows has no SIGKILL")
def test_a_kernel_that_is_killed_takes_the_job_with_it(tmp_path: Path) -> None:
    note = tmp_path / "note"
    code = f"from inferkit.benchmark import run_in_child; run_in_child({SLEEPER!r}, timeout_s=200)"
    kernel = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"NOTE": str(note)})
    try:
        wait_for(note.exists)
    finally:
        kernel.send_signal(signal.SIGKILL)
        kernel.wait()
    job = int(note.read_text())
    wait_for(lambda: gone(job))


SLEEPER = """
import os, time
with open(os.environ["NOTE"] + ".part", "w") as f:
    f.write(str(os.getpid()))
os.rename(os.environ["NOTE"] + ".part", os.environ["NOTE"])
time.sleep(300)
"""
