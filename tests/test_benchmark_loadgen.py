"""MLPerf's LoadGen as an oracle: of the same recorded queries both must state the same, to the nanosecond.

LoadGen asks a service in real time and records when each query was due and done. Then this library asks, in virtual
time, a service that takes as long as was recorded. However busy the machine, both have the same queries before them.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from inferkit.benchmark import measure_latency, run_scenario, samples_needed
from tests.services import BATCH_SIZE, ROWS, SAMPLES_PER_QUERY, Recorded, VirtualTime

ROOT = Path(__file__).parent.parent
QPS = 40.0  # the service is busy for a third of the time, so queries do wait
N = 67  # a p90 needs 64; of so many no percentile lies between two
ASKED = {
    "single_stream": {"n": N},
    "multi_stream": {"n": N},
    "server": {"n": N, "qps": QPS},
    "offline": {"n": 992},  # rows, 31 batches
}


@pytest.fixture(scope="module")
def theirs():
    """Return what LoadGen stated and recorded, by scenario."""
    asked = [{"scenario": name, **given} for name, given in ASKED.items()]
    command = [sys.executable, "-m", "tests.services", json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=240)
    assert done.returncode == 0, done.stderr
    return dict(zip(ASKED, json.loads(done.stdout), strict=True))


def ours(scenario, recorded, slower=1.0):
    """Ask a service that takes, one call after another, what LoadGen's took."""
    due, done = np.array(recorded["due_ns"]), np.array(recorded["done_ns"])
    if scenario == "server":  # it was at work on a query from when it was due, or the one before was done
        took = done - np.maximum(due, np.concatenate([[0], done[:-1]]))
    elif scenario == "offline":
        took = np.diff(np.unique(done), prepend=0)
    else:
        took = done - due
    now = VirtualTime()
    return run_scenario(
        now.service([0, *np.rint(slower * took).astype(int)]),  # the first call is the check that an answer comes
        np.resize(ROWS, (len(due), 1)) if scenario == "offline" else ROWS,
        scenario,
        n=len(due),
        target_qps=QPS if scenario == "server" else None,
        samples_per_query=SAMPLES_PER_QUERY,
        batch_size=BATCH_SIZE,
        warmup=0,
        clock=now.clock,
        sleep=now.sleep,
        random_state=Recorded(recorded["rows"], recorded["due_ns"]) if scenario == "server" else 0,
        progress=False,
    )


def figures(result):
    return {
        "p50_ns": round(result.latency.p50_ms * 1e6),
        "p90_ns": round(result.latency.p90_ms * 1e6),
        "samples_per_s": result.samples_per_s,
    }


@pytest.mark.parametrize("scenario", ASKED)
def test_of_the_same_queries_both_state_the_same(theirs, scenario):
    stated, found = theirs[scenario], figures(result := ours(scenario, theirs[scenario]))
    assert result.latency.n == len(stated["due_ns"]) == ASKED[scenario]["n"]
    both = found.keys() & stated.keys()
    assert both >= {"p50_ns", "p90_ns"} | ({"samples_per_s"} if scenario == "offline" else set())
    for name in both:
        exact = 0 if name.endswith("ns") else 1e-5  # it prints so many digits
        assert found[name] == pytest.approx(stated[name], rel=exact, abs=0), name


@pytest.mark.parametrize("scenario", ASKED)
def test_a_service_that_is_a_fifth_slower_is_told_from_it(theirs, scenario):
    stated, slow = theirs[scenario], figures(ours(scenario, theirs[scenario], slower=1.2))
    assert min(slow[name] / stated[name] for name in ("p50_ns", "p90_ns")) > 1.1
    assert slow["samples_per_s"] < figures(ours(scenario, stated))["samples_per_s"]


def test_queries_waited_for_one_another(theirs):
    """Else it would not show whether a query's time counts from when it was due or from when its turn came."""
    waits = np.array(theirs["server"]["done_ns"][:-1]) - np.array(theirs["server"]["due_ns"][1:])
    assert (waits > 0).sum() > 3


def test_both_need_as_many_queries_for_a_percentile(theirs):
    assert theirs["single_stream"]["needed_for_p90"] == samples_needed(90)
    assert theirs["single_stream"]["needed_for_p99"] == samples_needed(99)


def test_a_call_in_real_time_takes_what_the_service_itself_has_measured():
    """Never less, and hardly more: the same calls are on both clocks, so that a busy machine lengthens both."""
    took = []

    def service(batch):
        begun = time.perf_counter_ns()
        time.sleep(float(batch[0, 0]) / 1e3)
        took.append(time.perf_counter_ns() - begun)
        return batch

    result = measure_latency(service, ROWS, n=N, warmup=0, progress=False)
    measured, own = result.samples_ns, np.array(took[-N:])
    assert (measured >= own).all()
    assert np.median(measured / own) < 1.05
    assert not np.median(measured / (own / 1.2)) < 1.05  # the planted error


def test_the_replayed_queries_are_loadgens_own():
    """What the comparison of `server` rests on: the generator hands over LoadGen's rows and instants."""
    now = VirtualTime()
    rows, due_ns = [3, 1, 2, 1], [0, 1_000, 5_000, 5_500]
    asked = []

    def service(batch):
        asked.append((int(batch[0]), now.now))
        now.now += 100
        return batch

    result = run_scenario(
        service, np.arange(5), "server", n=4, target_qps=1.0, warmup=0, clock=now.clock, sleep=now.sleep,
        random_state=Recorded(rows, due_ns),
    )  # fmt: skip
    assert result.latency.n == 4
    begin = asked[1][1]  # the first was the check that an answer comes
    assert [(row, at - begin) for row, at in asked[1:]] == list(zip(rows, due_ns, strict=True))
