"""Load a server, or a predictor, as its users will: at their own instants, and with every query accounted for."""

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter_ns
from typing import Any

import numpy as np

from .._base import InputError, ProgressLine
from ..benchmark import CallError, ScenarioResult
from ..benchmark._latency import name_of, warm_up
from ..benchmark._timing import Clock, as_call, as_inputs, garbage_collection, seconds, whole_number
from ..devices import busy_watch
from ..predictor import Predictor
from ..predictor._metadata import example_row
from . import _load_inprocess as inprocess
from ._client import CONNECTIONS, Answer
from ._load_child import generate_in_child
from ._load_engine import Job, Log, Made, Show, generate, works
from ._load_judge import judge
from ._load_plan import Plan, above_0, make_plan
from ._load_target import requests_for


def loadtest(
    target: Any,
    rate: float | None = None,
    duration: float = 10.0,
    *,
    X: Any = None,
    process: str = "poisson",
    clients: int | None = None,
    deadline_ms: float | None = None,
    latency_bound_ms: float | None = None,
    timeout_s: float = 10.0,
    connections: int = CONNECTIONS,
    workers: int = 1,
    warmup: int = 20,
    token: str | None = None,
    own_process: bool = True,
    name: str | None = None,
    random_state: int | np.random.Generator | None = None,
    progress: bool = True,
    clock: Clock = perf_counter_ns,
    sleep: Callable[[float], None] | None = None,
) -> ScenarioResult:
    """Load a server or a predictor, and account for every query.

    With a `rate`, an open loop: queries come at instants that are fixed beforehand, whatever became of those before,
    and their time runs from that instant; so a server that stalls cannot hold back the queries that would have shown
    it. With `clients`, a closed loop: so many ask side by side, each again as soon as it has its answer.

    Parameters
    ----------
    target : str, Predictor or callable
        ``http://host:port``, the address of a server that speaks the Open Inference Protocol, with
        ``/v2/models/NAME`` for one of several models; or one that ends in ``/predict``; or, in this process, what
        `benchmark.run_scenario` takes.
    rate : float, optional
        Queries a second, on average.
    duration : float, default=10
        For so many seconds queries are begun. Their answers are waited for.
    X : array, list or data frame, optional
        Rows, taken in turn (the first 256). For a server or a `Predictor`: by default one row that its contract allows.
    process : {"poisson", "uniform"}
        How queries come with a `rate`: independently of each other, as those of many users do, or evenly spaced.
    clients : int, optional
        How many ask, without a `rate`.
    deadline_ms : float, optional
        The server is told so; what it answers later than that counts as late.
    latency_bound_ms : float, optional
        What the p99 of all queries must keep for the run to be valid. One without an answer keeps no bound.
    timeout_s : float, default=10
        After so long a query is given up.
    connections : int, default=500
        The most at once. There are never more than queries under way.
    workers : int, default=1
        Without a server: how many threads answer.
    warmup : int, default=20
        Queries before the run, one after another. One is always sent.
    token : str, optional
        For a server that asks for one.
    own_process : bool, default=True
        Whether a server is loaded from a process of its own. In this one, load and server would share an interpreter
        if the server runs here too.
    name : str, optional
        For tables and figures.
    random_state : int, numpy.random.Generator or None
        For the instants.
    progress : bool, default=True
        Show a line from the third second on.
    clock, sleep : callable, optional
        Without a server: nanoseconds, and a sleep in seconds that is relied on.

    Returns
    -------
    ScenarioResult
        ``queries`` holds every query; ``latency`` those answered, in time or late; ``samples_per_s`` is the goodput:
        answers in time, by the time to the last answer or the last query's instant. Interrupting ends the run and
        keeps what there is.

    Raises
    ------
    InputError
        If neither `rate` nor `clients` is given, or both; or X does not meet the contract.
    CallError, RemoteError
        If the first query comes to nothing, or a server does not say what it takes.
    ChildError
        If the process that makes the load dies.

    Notes
    -----
    A run is not valid, and says why, if its sample does not support a p99; if more than one query in a hundred got
    no answer in time, for then the p99 of all has no value; if the line grew to the end; if the p99 may be over
    `latency_bound_ms`; if queries had to wait for a connection; or if the generator itself was late by more than
    half of the p99.

    References
    ----------
    G. Tene, "How NOT to Measure Latency", 2013, for the error that an open loop avoids ("coordinated omission").

    Examples
    --------
    >>> from inferkit.predictor import digit_reader
    >>> result = loadtest(digit_reader(), rate=2000, duration=0.5, random_state=0)
    >>> result.metric, result.queries.counts()["answered"] == result.latency.n
    ('p99_ms', True)
    """
    plan = make_plan(rate, duration, process, clients, random_state)
    _check(deadline_ms, latency_bound_ms, timeout_s, connections, workers, warmup)
    over_http = isinstance(target, str)
    label = name or (target if over_http else name_of(target))
    with busy_watch() as watch, ProgressLine(progress, after_s=2) as line:
        show = _shower(line, plan)
        if over_http:
            asked = requests_for(target, X, deadline_ms=deadline_ms, token=token, timeout_s=timeout_s)
            job = Job(*asked, plan.due_s, plan.clients, plan.duration_s, timeout_s, warmup, connections)
            made = _ask_server(target, job, show, own_process=own_process)
        else:
            rows = _example(target) if X is None else X
            call, inputs = as_call(target, 1), as_inputs(target, rows, 1)
            here = inprocess.InProcess(call, inputs, workers, deadline_ms, timeout_s, clock, sleep)
            made = _ask_here(here, plan, warmup, label, show)
    return judge(
        label, plan, made, over_http=over_http, deadline_ms=deadline_ms, bound_ms=latency_bound_ms, busy=watch.words
    )


def _check(deadline_ms: Any, bound_ms: Any, timeout_s: Any, connections: Any, workers: Any, warmup: Any) -> None:
    """Raise unless the rest of what was given makes sense."""
    for label, value in (("deadline_ms", deadline_ms), ("latency_bound_ms", bound_ms)):
        if value is not None:
            above_0(label, value, "milliseconds")
    seconds("timeout_s", timeout_s)
    for label, number, least in (("connections", connections, 1), ("workers", workers, 1), ("warmup", warmup, 0)):
        whole_number(label, number, least)


def _example(target: Any) -> Any:
    """Return one row that a predictor's contract allows."""
    if not isinstance(target, Predictor):
        raise InputError("X: expected rows; of a function nobody knows what it takes")
    return [example_row(target.signature.input)]


def _shower(line: ProgressLine, plan: Plan) -> Show:
    """Return what shows how far a plan is."""
    of = "" if plan.due_s is None else f" of {len(plan.due_s):,}"
    return lambda done: line.show(f"{done:,}{of} queries have come to their end")


# -- making the load ---------------------------------------------------------------------------


def _ask_server(url: str, job: Job, show: Show, *, own_process: bool) -> Made:
    """Load a server; raise if its very first answer is none."""
    made = generate_in_child(job, show) if own_process else _generate_beside(job, show)
    if not works(made.first):
        raise CallError(f"the first query to {url} came to nothing: {made.first.words}")
    return made


def _generate_beside(job: Job, show: Show) -> Made:
    """Make the load in a thread, for this one may be inside an event loop, as a notebook's is."""
    wanted_end, found = threading.Event(), queue.SimpleQueue[Made | BaseException]()

    def work() -> None:
        try:
            found.put(generate(job, wanted_end.is_set, show))
        except BaseException as error:  # handed to the caller's thread
            found.put(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        made = _wait_for(found)
    except KeyboardInterrupt:
        wanted_end.set()
        made = _wait_for(found)
    thread.join()
    if isinstance(made, BaseException):
        raise made
    return made


def _wait_for(found: "queue.SimpleQueue[Made | BaseException]") -> Made | BaseException:
    """Wait so that an interrupt is seen soon on every system."""
    while True:
        with suppress(queue.Empty):
            return found.get(timeout=0.05)


def _ask_here(target: inprocess.InProcess, plan: Plan, warmup: int, label: str, show: Show) -> Made:
    """Load a predictor from this thread and those of its workers."""
    warm, log = list[int](), Log()
    with garbage_collection(collect=False):
        warm_up(target.call, target.inputs, warmup, label, clock=target.clock, samples=warm, limit_ns=1e10)
        if plan.due_s is not None:
            inprocess.open_loop(target, plan.due_s, log, show)
        else:
            inprocess.closed_loop(target, plan.clients, plan.duration_s, log, show)
    return Made(log, Answer("answered", 0.0), [ns / 1e9 for ns in warm])


__all__ = ["loadtest"]
