"""What came out of a load, and what speaks against it."""

from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt

from ..benchmark import LatencyResult, Queries, ScenarioResult, percentile_interval, samples_needed, time_words
from ..benchmark._queries import share_words
from ..benchmark._timing import timer_overhead_ns
from ..devices import stamp
from ._load_engine import Log, Made
from ._load_plan import Plan

_NEVER_MS = 1e12  # stands for the time of a query without an answer: beyond any bound
_LOST_SHARE = 0.01  # if more than this got no answer, the p99 of all is none
_LATE_MS = 1.0  # by less than this a query is not late
_LATE_SHARE = 0.5  # so much of the p99 may be the generator's own


def judge(
    label: str,
    plan: Plan,
    made: Made,
    *,
    over_http: bool,
    deadline_ms: float | None = None,
    bound_ms: float | None = None,
    busy: str | None = None,
) -> ScenarioResult:
    """Make the result of a load.

    Parameters
    ----------
    label : str
        What was loaded.
    plan : Plan
    made : Made
    over_http : bool
        Whether who asked and who answered are two: only then is a query that left late the asker's fault.
    deadline_ms, bound_ms : float or None
        An answer after the deadline is late; a p99 over the bound speaks against the run.
    busy : str or None
        What else kept the machine busy.

    Returns
    -------
    ScenarioResult
    """
    queries = as_queries(made.log, deadline_ms)
    took, good = _took_s(queries), queries.counts().get("answered", 0)
    reasons = [
        *_too_few(queries),
        *_without_answer(queries, made.log.trouble),
        *(_behind(queries) if plan.is_open else ()),
        *_over_the_bound(queries, bound_ms),
        *(_askers_fault(queries, made) if over_http else ()),
    ]
    return ScenarioResult(
        "server" if plan.is_open else "closed_loop",
        _latency(label, plan, made, queries, busy),
        good / took if took else 0.0,
        took,
        plan.rate,
        bound_ms,
        not reasons,
        tuple(reasons),
        queries,
    )


def as_queries(log: Log, deadline_ms: float | None = None) -> Queries:
    """Return a log as arrays, in the order in which the queries came; an answer after the deadline is late."""
    columns: Any = zip(*sorted(log.rows), strict=True) if log.rows else ((), (), (), ())
    due, sent, done, outcome = columns
    due_ns, sent_ns, done_ns = _in_ns(due), _in_ns(sent), _in_ns(done)
    ends = np.array(outcome, dtype="U11")  # as long as the longest of them
    if deadline_ms is not None:
        ends[(ends == "answered") & (done_ns - due_ns > deadline_ms * 1e6)] = "late"
    return Queries(due_ns, sent_ns, done_ns, ends)


def _in_ns(seconds: Any) -> npt.NDArray[np.int64]:
    return np.rint(np.asarray(seconds, dtype=np.float64) * 1e9).astype(np.int64)


def _took_s(queries: Queries) -> float:
    """Return the time to the last answer, or to the last query's instant, whichever came later."""
    ends = [queries.due_ns.max(initial=0), queries.done_ns[queries.has_answer].max(initial=0)]
    return float(max(ends)) / 1e9


def _latency(label: str, plan: Plan, made: Made, queries: Queries, busy: str | None) -> LatencyResult:
    return LatencyResult(
        label,
        queries.answered_ns,
        _in_ns(made.warmup_s),
        timer_ns=timer_overhead_ns(perf_counter_ns),
        wanted=len(plan.due_s or queries),
        stopped=made.log.stopped,
        busy=busy,
        stamp=stamp(),
        is_closed_loop=plan.clients == 1,  # only then does each query begin when the one before is done
    )


# -- what speaks against it -----------------------------------------------------------------------


def _too_few(queries: Queries) -> list[str]:
    needed, n = samples_needed(99), len(queries.answered_ns)
    return [] if n >= needed else [f"its p99 needs {needed:,} answers, got {n:,}"]


def _without_answer(queries: Queries, trouble: str) -> list[str]:
    """Tell whether so many got no answer in time that the p99 of all has no value."""
    lost = len(queries) - queries.counts().get("answered", 0)
    if lost <= _LOST_SHARE * len(queries):
        return []
    first = f"; the first that failed was told: {trouble}" if trouble else ""
    return [f"{share_words(lost / len(queries))} got no answer in time, so the p99 of all has no value{first}"]


def _behind(queries: Queries) -> list[str]:
    """Tell whether the service fell behind: answers left more slowly than queries came, and the last one waited."""
    times = queries.answered_ns
    came, left = queries.due_ns.max(initial=0) / 1e9, _took_s(queries)
    if not len(times) or not came or left <= 1.05 * came or times[-1] <= 10 * times.min():
        return []
    return [
        f"the rate can't be reached: queries came at {len(queries) / came:,.0f} a second and were answered at "
        f"{len(times) / left:,.0f}; the line grew to the end"
    ]


def _over_the_bound(queries: Queries, bound_ms: float | None) -> list[str]:
    """Tell whether the p99 of all queries may be over the bound, at 99 % confidence."""
    if bound_ms is None or not len(queries):
        return []
    times_ms = np.where(queries.has_answer, (queries.done_ns - queries.due_ns) / 1e6, _NEVER_MS)
    high = percentile_interval(times_ms, 99, confidence=0.98)[1]
    if high is not None and high <= bound_ms:
        return []
    reach = "has no upper end" if high is None or high == _NEVER_MS else f"may be as high as {time_words(high / 1e3)}"
    return [f"the p99 of all queries {reach}; the bound is {time_words(bound_ms / 1e3)}"]


def _askers_fault(queries: Queries, made: Made) -> list[str]:
    """Tell whether what was measured is in part the generator's own doing."""
    reasons = []
    if made.waited > _LOST_SHARE * len(queries):
        reasons.append(
            f"{share_words(made.waited / len(queries))} had to wait for a connection, so the server saw fewer queries "
            "at once than there were; give more connections, or a lower rate"
        )
    late_ms, p99_ms = _p99_ms(queries.lateness_ns), _p99_ms(queries.answered_ns)
    if late_ms > _LATE_MS and late_ms > _LATE_SHARE * p99_ms:
        reasons.append(
            f"the generator could not keep its schedule: 1 % of the queries left {time_words(late_ms / 1e3)} late or "
            "more; give a lower rate, or a machine with a core to spare"
        )
    return reasons


def _p99_ms(times_ns: npt.NDArray[np.int64]) -> float:
    return float(np.percentile(times_ns, 99, method="higher")) / 1e6 if len(times_ns) else 0.0
