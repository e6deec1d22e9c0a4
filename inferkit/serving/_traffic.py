"""Traffic for a server, in the background: its rate can be changed while it runs, and what becomes of it be seen."""

import pickle
import subprocess
import sys
import tempfile
import weakref
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .._base import InputError, generator, require
from ..benchmark import ChildError, samples_needed
from ..benchmark._timing import seconds
from ._load_plan import above_0
from ._load_target import requests_for
from ._traffic_child import Task
from ._traffic_window import HISTORY_S, STEP_S

Floats = NDArray[np.float64]

MOST_PER_S = 10_000.0
STATED = (50, 99)
_GRACE_S = 3.0
_PROGRAM = "import sys; sys.path.append({folder!r}); from inferkit.serving._traffic_child import main; main()"


@dataclass(frozen=True)
class Snapshot:
    """What became of a server's traffic in the last seconds.

    Attributes
    ----------
    rate : float
        Queries a second that are asked for, on average.
    seconds : float
        How long the window is: at first the time since the start.
    offered_per_s : float
        Queries that came.
    answered_per_s, late_per_s, refused_per_s, expired_per_s, failed_per_s : float
        Queries that were answered in time, answered after the deadline, refused (503), expired before the model ran
        (504), or got no answer: time-outs, closed and refused connections, any other status.
    unsent_per_s : float
        Queries that came and did not leave: 2,000 were under way, or this machine was a quarter of a second behind.
        They count as offered. Above 0, the traffic is not what was asked for.
    p50_ms, p99_ms : float or None
        Time of the queries answered, in time or late, from the instant at which they came. None where the window has
        too few of them to state it.
    n : int
        How many those are.
    in_flight : int
        Queries without an answer yet.
    lateness_ms : float
        By how much the latest query left after its instant: the traffic's own part of the times.
    trouble : str
        What the last query without an answer was told; empty if all got one.
    history : dict of str to numpy.ndarray of float64, shape (120,)
        The last half minute in steps of a quarter of a second: ``ago_s``, and the rates, percentiles and ``in_flight``
        that a snapshot would have shown then. NaN where it would have shown None.
    """

    rate: float
    seconds: float
    offered_per_s: float
    answered_per_s: float
    late_per_s: float
    refused_per_s: float
    expired_per_s: float
    failed_per_s: float
    unsent_per_s: float
    p50_ms: float | None
    p99_ms: float | None
    n: int
    in_flight: int
    lateness_ms: float
    trouble: str = ""
    history: dict[str, Floats] = field(default_factory=dict, repr=False, compare=False)

    def line(self, name: str) -> tuple[Floats, Floats]:
        """Return one of the histories as a line to draw: where it was stated.

        Parameters
        ----------
        name : str
            Of `history`, such as ``"p50_ms"``.

        Returns
        -------
        ago_s, values : numpy.ndarray of float64, shape (n,)
            Finite, and in the order of time; empty if it was never stated.

        Raises
        ------
        InputError
            If there is no such history.
        """
        if name not in self.history:
            raise InputError(f"line: expected one of {', '.join(self.history)}, got {name!r}")
        stated = np.isfinite(self.history[name])
        return self.history["ago_s"][stated], self.history[name][stated]


class Traffic:
    """Ask a server at random instants, in the background, and tell what becomes of the queries.

    An open loop: queries come as those of many users do, independently of each other and of the answers (a Poisson
    process), and their time runs from the instant at which they came. They are made by a process of its own, so that a
    server in this one does not share its interpreter with them. It ends with `close`, with this object, or with the
    interpreter, however that ends.

    Parameters
    ----------
    target : str or Server
        A server or its address, as in `loadtest`.
    X : array, list or data frame, optional
        Rows, taken in turn (the first 256). By default one row that the server's contract allows.
    rate : float, default=0
        Queries a second, on average, up to 10,000; 0 is a pause.
    deadline_ms : float, optional
        The server is told so; what it answers later than that counts as late.
    window_s : float, default=5
        How far a snapshot looks back, from 1 to 30 seconds.
    rest_after_s : float or None, default=10
        If there was no `snapshot` for so long, nobody looks, and the traffic rests until the next one. None: never.
    timeout_s : float, default=10
        After so long a query is given up.
    token : str, optional
        For a server that asks for one; a `Server` of this process tells its own.
    random_state : int, numpy.random.Generator or None
        For the instants.

    Raises
    ------
    InputError
        If the address is none, the rows do not meet the server's contract, or a number makes no sense.
    CallError
        If the server does not say what it takes.

    Notes
    -----
    It keeps the times of its window and half a minute of history, whatever it has seen: it can run for hours.

    Examples
    --------
    >>> from inferkit.predictor import digit_reader
    >>> from inferkit.serving import serve
    >>> with serve(digit_reader()) as server, Traffic(server, rate=200) as traffic:
    ...     traffic.rate = 0
    ...     traffic.snapshot().failed_per_s
    0.0
    """

    def __init__(
        self,
        target: Any,
        X: Any = None,
        rate: float = 0.0,
        *,
        deadline_ms: float | None = None,
        window_s: float = 5.0,
        rest_after_s: float | None = 10.0,
        timeout_s: float = 10.0,
        token: str | None = None,
        random_state: int | np.random.Generator | None = None,
    ) -> None:
        require("httptools", extra="serve")
        self._rate = _rate(rate)
        url = _address(target)
        if not isinstance(window_s, int | float) or not 1 <= window_s <= HISTORY_S:
            raise InputError(f"window_s: expected 1 to {HISTORY_S:g} seconds, got {window_s!r:.60}")
        deadline_s = None if deadline_ms is None else above_0("deadline_ms", deadline_ms, "milliseconds") / 1000
        seed = int(generator(random_state).integers(2**63))
        rest = None if rest_after_s is None else seconds("rest_after_s", rest_after_s)
        timeout_s, window_s = seconds("timeout_s", timeout_s), STEP_S * round(window_s / STEP_S)
        token = token or getattr(getattr(target, "settings", None), "token", None)
        asked = requests_for(url, X, deadline_ms=deadline_ms, token=token, timeout_s=timeout_s)
        needed = {q: samples_needed(q) for q in STATED}
        self._url = url
        self._lock = Lock()
        self._child = _Child(Task(*asked, self._rate, seed, deadline_s, rest, window_s, timeout_s, needed))
        self._end = weakref.finalize(self, self._child.end)

    @property
    def rate(self) -> float:
        """Queries a second, on average. A change counts at once; what is under way is not touched."""
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        self._rate = _rate(rate)
        with self._lock:
            self._alive().tell({"rate": self._rate})

    def snapshot(self) -> Snapshot:
        """Return what became of the traffic in the last seconds.

        Returns
        -------
        Snapshot

        Raises
        ------
        InputError
            If it is closed.
        ChildError
            If the process that makes the traffic has died.
        """
        with self._lock:
            child = self._alive()
            child.tell({"snapshot": True})
            told = child.hear()
        history = {name: np.array(past, np.float64) for name, past in told.pop("history").items()}  # None becomes NaN
        return Snapshot(**told, history=history)

    def close(self) -> None:
        """End the traffic. What is under way gets no answer any more. Closing twice is as good as once."""
        with self._lock:
            self._end()

    def _alive(self) -> "_Child":
        if not self._end.alive:
            raise InputError(f"the traffic for {self._url} is closed; make it anew: Traffic({self._url!r}, ...)")
        return self._child

    def __enter__(self) -> "Traffic":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        rate = f"{self._rate:g} queries a second" if self._end.alive else "closed"
        return f"Traffic({self._url!r}: {rate})"


class _Child:
    """The process, and the pipes to it. It lives as long as its standard input is open."""

    def __init__(self, task: Task) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed at its end)
        program = _PROGRAM.format(folder=str(Path(__file__).parents[2]))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-X", "utf8", "-c", program],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            start_new_session=True,  # an interrupt of the kernel, or in a terminal, is not for it
        )  # fmt: skip
        self._stdin, self._stdout = _pipes(self._process)
        with suppress(ChildError):  # whoever asks it first will know
            self.tell(task)

    def tell(self, message: Any) -> None:
        """Send a message."""
        try:
            pickle.dump(message, self._stdin)
            self._stdin.flush()
        except OSError as error:
            raise self._died() from error

    def hear(self) -> Any:
        """Return its answer."""
        try:
            return pickle.load(self._stdout)
        except (EOFError, pickle.UnpicklingError) as error:
            raise self._died() from error

    def _died(self) -> ChildError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S)
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").strip().splitlines()[-1:]
        reason = last[0] if last else f"it ended with code {self._process.poll()}"
        return ChildError(f"the process that makes the traffic has died: {reason}; make the Traffic anew")

    def end(self) -> None:
        """End it, and wait until it is gone."""
        with suppress(OSError):
            self._stdin.close()
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stdout.close()
        self._errors.close()


def _pipes(process: "subprocess.Popen[bytes]") -> tuple[IO[bytes], IO[bytes]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


def _address(target: Any) -> str:
    url = getattr(target, "url", target)
    if not isinstance(url, str):
        raise InputError(
            f"target: expected a server or its address, such as 'http://127.0.0.1:8080', got {type(target).__name__}"
        )
    return url


def _rate(rate: Any) -> float:
    number = isinstance(rate, int | float | np.number) and not isinstance(rate, bool)
    if not (number and 0 <= rate <= MOST_PER_S):
        raise InputError(f"rate: expected 0 to {MOST_PER_S:,.0f} queries a second, got {rate!r:.60}")
    return float(rate)
