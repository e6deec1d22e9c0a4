"""Services whose times are known, in virtual time and in real time, and MLPerf's LoadGen to ask the real ones."""

import array
import json
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np


class VirtualTime:
    """A clock and a sleep in virtual time: exact, and as quick as the code under test."""

    def __init__(self) -> None:
        self.now = 0

    def clock(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += round(seconds * 1e9)

    def service(self, times_ns: Iterable[int]) -> Callable[[Any], Any]:
        """Return a function that answers anything, and takes the next of some times."""
        times = iter(times_ns)

        def call(batch: Any) -> Any:
            self.now += int(next(times))
            return batch

        return call


def with_stalls(times_ns: Iterable[int], every: int, stall_ns: int) -> Iterator[int]:
    """Let every so many-th call stand still for a while before it answers."""
    for i, time_ns in enumerate(times_ns, 1):
        yield time_ns + (stall_ns if i % every == 0 else 0)


# -- in real time -------------------------------------------------------------------------------

FAST_MS, SLOW_MS, START_MS = 8.0, 14.0, 8.0
ROWS = np.where(np.arange(100) % 5 == 0, SLOW_MS, FAST_MS)[:, None]
"""What a row takes: one in five is slow. So p50 and p90 lie well inside the fast and the slow ones."""


def by_first_row(slower: float = 1.0) -> Callable[[Any], Any]:
    """Return a service that takes as long as the first row of a batch says; times may be stretched."""

    def call(batch: Any) -> Any:
        time.sleep(slower * float(np.ravel(batch)[0]) / 1e3)
        return batch

    return call


def by_size(slower: float = 1.0) -> Callable[[Any], Any]:
    """Return a service that takes a fixed time for a batch, and a twentieth of a millisecond for each row."""

    def call(batch: Any) -> Any:
        time.sleep(slower * (START_MS + 0.05 * len(batch)) / 1e3)
        return batch

    return call


# -- LoadGen ------------------------------------------------------------------------------------

SAMPLES_PER_QUERY, BATCH_SIZE = 4, 32
NAMES = {"single_stream": "SingleStream", "multi_stream": "MultiStream", "server": "Server", "offline": "Offline"}


def ask_with_loadgen(scenario: str, n: int, qps: float = 0.0) -> dict[str, Any]:
    """Let LoadGen ask a service of this module; return what it found, in milliseconds and rows a second.

    For "server" also return when each query came (nanoseconds after the first) and which row it asked for.
    """
    import mlperf_loadgen as lg

    service = by_size() if scenario == "offline" else by_first_row()
    came: list[tuple[int, int]] = []
    asked = 0
    line: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def answer(queries: Any) -> None:
        service(ROWS[[query.index for query in queries]])
        nothing = array.array("B", [0])
        address, length = nothing.buffer_info()
        lg.QuerySamplesComplete([lg.QuerySampleResponse(query.id, address, length) for query in queries])

    def issue(queries: Any) -> None:
        nonlocal asked
        asked += len(queries)
        if scenario == "server":  # it must not wait for the answer
            came.append((time.perf_counter_ns(), queries[0].index))
            line.put(queries)
            return
        for start in range(0, len(queries), BATCH_SIZE):
            answer(queries[start : start + BATCH_SIZE])

    def work() -> None:
        while (queries := line.get()) is not None:
            answer(queries)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    settings = _settings(lg, scenario, n, qps)
    with tempfile.TemporaryDirectory() as folder:
        log = lg.LogSettings()
        log.log_output.outdir, log.log_output.copy_summary_to_stdout, log.enable_trace = folder, False, False
        system = lg.ConstructSUT(issue, lambda: None)
        library = lg.ConstructQSL(len(ROWS), len(ROWS), lambda rows: None, lambda rows: None)
        lg.StartTestWithLogSettings(system, library, settings, log)
        lg.DestroyQSL(library)
        lg.DestroySUT(system)
        summary = (Path(folder) / "mlperf_log_summary.txt").read_text()
    line.put(None)
    worker.join()
    return read_summary(summary) | {
        "n": asked // SAMPLES_PER_QUERY if scenario == "multi_stream" else asked,
        "came_ns": [at - came[0][0] for at, _ in came],
        "rows": [row for _, row in came],
    }


def _settings(lg: Any, scenario: str, n: int, qps: float) -> Any:
    settings = lg.TestSettings()
    settings.scenario = getattr(lg.TestScenario, NAMES[scenario])
    settings.mode = lg.TestMode.PerformanceOnly
    settings.min_query_count = settings.max_query_count = 1 if scenario == "offline" else n
    settings.min_duration_ms = 1000 if scenario == "offline" else 1
    settings.offline_expected_qps = n / 1.1  # it asks for a tenth more than this, in the one second
    settings.single_stream_expected_latency_ns = settings.multi_stream_expected_latency_ns = int(FAST_MS * 1e6)
    settings.multi_stream_samples_per_query = SAMPLES_PER_QUERY
    if qps:
        settings.server_target_qps = qps
        settings.server_target_latency_ns = 1_000_000_000
    return settings


def read_summary(text: str) -> dict[str, Any]:
    """Return p50, p90 (milliseconds) and rows a second, if it has them, from LoadGen's summary."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key in ("50.00 percentile latency (ns)", "90.00 percentile latency (ns)"):
            found[f"p{key[:2]}_ms"] = int(value) / 1e6
        elif key == "Samples per second":
            found["samples_per_s"] = float(value)
    return found


# -- this library -------------------------------------------------------------------------------


class Recorded(np.random.Generator):
    """A generator that draws what LoadGen drew: the same rows at the same instants."""

    def __init__(self, rows: list[int], came_ns: list[int]) -> None:
        super().__init__(np.random.PCG64(0))
        self._rows, self._came_ns = np.array(rows), np.array(came_ns)

    def integers(self, *_: Any, size: int, **__: Any) -> Any:
        assert size == len(self._rows)
        return self._rows

    def exponential(self, *_: Any, size: int, **__: Any) -> Any:
        assert size == len(self._came_ns)
        return np.diff(self._came_ns, prepend=0).astype(float)


def ask_with_inferkit(
    scenario: str, n: int, qps: float = 0.0, slower: float = 1.0, rows: Any = (), came_ns: Any = ()
) -> dict[str, Any]:
    """Let this library ask the same service, perhaps a slower one; return the same figures."""
    from inferkit.benchmark import run_scenario

    offline = scenario == "offline"
    result = run_scenario(
        (by_size if offline else by_first_row)(slower),
        np.resize(ROWS, (n, 1)) if offline else ROWS,
        scenario,
        n=n,
        target_qps=qps or None,
        samples_per_query=SAMPLES_PER_QUERY,
        batch_size=BATCH_SIZE,
        random_state=Recorded(rows, came_ns) if rows else 0,
        progress=False,
    )
    latency = result.latency
    return {"p50_ms": latency.p50_ms, "p90_ms": latency.p90_ms, "samples_per_s": result.samples_per_s, "n": latency.n}


def ask_in_turns(scenario: str, n: int, rounds: int, qps: float = 0.0) -> list[list[dict[str, Any]]]:
    """Let LoadGen, this library, and this library with a service a fifth slower, ask in turns.

    LoadGen draws the same rows at the same instants in every round.
    """
    found = []
    for _ in range(rounds):
        theirs = ask_with_loadgen(scenario, n, qps)
        same = {key: theirs.pop(key) for key in ("rows", "came_ns")}  # for "server": the same rows at the same instants
        found.append([theirs, *(ask_with_inferkit(scenario, n, qps, slower, **same) for slower in (1.0, 1.2))])
    return found


if __name__ == "__main__":  # python -m tests.services '{"scenario": "server", ...}'
    print(json.dumps(ask_in_turns(**json.loads(sys.argv[1]))))
