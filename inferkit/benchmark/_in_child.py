"""Measure what a job costs in a process of its own."""

import inspect
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._base import InputError

MB = 1_000_000
_PROGRAM = Path(__file__).with_name("_child.py").read_text(encoding="utf-8")


class ChildError(RuntimeError):
    """A job that failed in its child process. The message carries the job's own error."""


@dataclass(frozen=True)
class ChildResult:
    """What a job returned, and what it cost.

    Attributes
    ----------
    value
        What the job returned; NumPy arrays come back as lists.
    seconds : float
        How long the job ran, its imports included, the interpreter's start not.
    peak_mb : float
        The most RAM that the process held at any instant, in megabytes (10⁶ bytes).
    baseline_mb : float
        The most RAM that the bare interpreter had held before the job began.
    """

    value: Any
    seconds: float
    peak_mb: float
    baseline_mb: float

    @property
    def extra_mb(self) -> float:
        """What the job added to the bare interpreter, in megabytes."""
        return self.peak_mb - self.baseline_mb

    def __str__(self) -> str:
        return f"{self.seconds:.3g} s, {self.peak_mb:.0f} MB at the peak ({self.baseline_mb:.0f} MB of it bare Python)"


def run_in_child(job: Callable[..., Any] | str, /, *args: Any, timeout_s: float = 120.0) -> ChildResult:
    """Run a function in a fresh Python process; return its value, its time and its peak memory.

    The peak of a process never falls. So what one job needs can be read only from a process that
    does that job and nothing else. To learn what the work costs beyond its imports, run a second
    job that only imports.

    Parameters
    ----------
    job : callable or str
        A plain function, or Python code that leaves its answer in ``result``. The child sees
        the function's own lines and nothing around it: import inside the function.
    *args
        Handed to the function: numbers, text, lists, dicts.
    timeout_s : float, default=120
        After so many seconds the child is killed.

    Returns
    -------
    ChildResult
        What the job prints is shown when it is done.

    Raises
    ------
    InputError
        If `job` is no plain function, an argument is no plain data, or `timeout_s` is not above 0.
    ChildError
        If the job raised, or its process died; the message says which line, and why.
    TimeoutError
        If it took longer than `timeout_s`.

    Notes
    -----
    Peaks are of the resident set: ``VmHWM`` on Linux, ``ru_maxrss`` on macOS, ``peak_wset`` on
    Windows. Processes that the job starts are not counted. However the call ends, the child is gone.

    Examples
    --------
    >>> def squares(n):
    ...     return sum(i * i for i in range(n))
    >>> run_in_child(squares, 4).value
    14
    >>> run_in_child("result = len(b'x' * 50_000_000)").extra_mb > 45
    True
    """
    if isinstance(timeout_s, bool) or not (isinstance(timeout_s, int | float) and 0 < timeout_s < math.inf):
        raise InputError(f"timeout_s: expected a number of seconds above 0, got {timeout_s!r}")
    token = f"\x1e{uuid.uuid4().hex}"
    request = _request(job, args, token)
    printed, errors, code = _converse(request, timeout_s)
    printed, found, reply = printed.partition(token)
    sys.stdout.write(printed)
    if not found:
        raise ChildError(_epitaph(code, errors))
    return _result(json.loads(reply))


def _request(job: Callable[..., Any] | str, args: tuple[Any, ...], token: str) -> bytes:
    """Write the line that tells the child what to do."""
    code, call = (textwrap.dedent(job), None) if isinstance(job, str) else (_source(job), job.__name__)
    if call is None and args:
        raise InputError("code given as text takes no arguments; write them into the text, or give a function")
    try:
        return json.dumps({"code": code, "call": call, "args": args, "token": token}).encode() + b"\n"
    except TypeError as error:
        raise InputError(
            f"the arguments travel to another process as plain data, and one is not: {error}. "
            "Give numbers, text, lists or dicts; an array as array.tolist()"
        ) from None


def _source(job: Callable[..., Any]) -> str:
    """Return the text of a plain function."""
    if not inspect.isfunction(job) or job.__name__ == "<lambda>":
        raise InputError(f"job: expected a function made with def, or code as text, got {job!r}")
    if job.__code__.co_freevars:
        names = ", ".join(job.__code__.co_freevars)
        raise InputError(f"{job.__name__} uses {names} from the function around it; hand that over as an argument")
    try:
        return textwrap.dedent(inspect.getsource(job))
    except OSError:
        raise InputError(f"the text of {job.__name__} cannot be found; give the code as text instead") from None


def _converse(request: bytes, timeout_s: float) -> tuple[str, str, int]:
    """Start a child, hand it the request, wait; return its output, its errors and its exit code.

    The pipe to the child's standard input stays open while this process lives: its end tells the child to go.
    """
    reader, writer = os.pipe()
    try:
        child = subprocess.Popen(
            [sys.executable, "-X", "utf8", "-c", _PROGRAM],
            stdin=reader, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            encoding="utf-8", errors="replace", start_new_session=True,
        )  # fmt: skip
        os.close(reader)
        try:
            os.write(writer, request)
            printed, errors = child.communicate(timeout=timeout_s)
        except BaseException:  # an interrupt too must not leave the child behind
            _kill(child)
            raise
    except subprocess.TimeoutExpired:
        raise TimeoutError(
            f"the job was stopped after {timeout_s:g} s; give it less to do, or more time with timeout_s=..."
        ) from None
    finally:
        os.close(writer)
    return printed, errors, child.returncode


def _kill(child: subprocess.Popen[str]) -> None:
    """End the child and what it started, and wait until it is gone."""
    if sys.platform == "win32":
        child.kill()
    else:
        with suppress(ProcessLookupError):  # after an interrupt Python itself waits a little, and may have seen its end
            os.killpg(child.pid, signal.SIGKILL)  # it leads a group of its own
    child.communicate()


def _epitaph(code: int, errors: str) -> str:
    """Say how a child died that left no answer."""
    if code == -getattr(signal, "SIGKILL", 9):
        return "the child process was killed from outside; too little memory is the usual reason"
    last = errors.strip().splitlines()[-1:] or ["it left no message"]
    return f"the child process ended with code {code} before the job was done: {last[0]}"


def _result(reply: dict[str, Any]) -> ChildResult:
    """Turn the child's reply into a result, or into the error that it tells of."""
    if "error" not in reply:
        return ChildResult(reply["value"], reply["seconds"], reply["peak"] / MB, reply["baseline"] / MB)
    where = f" (at {reply['where']})" if reply["where"] else ""
    advice = "; the child sees only the function's own lines" if reply["error"] == "NameError" else ""
    raise ChildError(f"in the child process: {reply['error']}: {reply['message']}{where}{advice}")
