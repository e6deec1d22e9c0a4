"""Services whose times are known in virtual time, and MLPerf's LoadGen to ask one in real time."""

import array
import json
import queue
import re
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


# -- LoadGen ------------------------------------------------------------------------------------

FAST_MS, SLOW_MS, START_MS = 8.0, 14.0, 8.0
ROWS = np.where(np.arange(100) % 5 == 0, SLOW_MS, FAST_MS)[:, None]
"""What a row takes: one in five is slow. So p50 and p90 lie well inside the fast and the slow ones."""
SAMPLES_PER_QUERY, BATCH_SIZE = 4, 32
NAMES = {"single_stream": "SingleStream", "multi_stream": "MultiStream", "server": "Server", "offline": "Offline"}


def ask_with_loadgen(scenario: str, n: int, qps: float = 0.0) -> dict[str, Any]:
    """Let LoadGen ask a service for `n` answers, in real time; return what it states and what it recorded.

    It states percentiles, rows a second and how many queries it needs; of each query it recorded its row, when it was
    due (nanoseconds after the first) and when its answer came.
    """
    import mlperf_loadgen as lg

    line: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def answer(queries: Any) -> None:
        took_ms = START_MS + 0.05 * len(queries) if scenario == "offline" else ROWS[queries[0].index, 0]
        time.sleep(took_ms / 1e3)
        nothing = array.array("B", [0])
        address, length = nothing.buffer_info()
        lg.QuerySamplesComplete([lg.QuerySampleResponse(query.id, address, length) for query in queries])

    def issue(queries: Any) -> None:
        if scenario == "server":  # it must not wait for the answer
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
        log.log_output.outdir, log.log_output.copy_summary_to_stdout, log.enable_trace = folder, False, True
        system = lg.ConstructSUT(issue, lambda: None)
        library = lg.ConstructQSL(len(ROWS), len(ROWS), lambda rows: None, lambda rows: None)
        lg.StartTestWithLogSettings(system, library, settings, log)
        lg.DestroyQSL(library)
        lg.DestroySUT(system)
        stated = read_summary((Path(folder) / "mlperf_log_summary.txt").read_text())
        trace = (Path(folder) / "mlperf_log_trace.json").read_text()
        recorded = read_trace(trace, "sample_seq" if scenario == "offline" else "query_seq")
    line.put(None)
    worker.join()
    return stated | recorded


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
    """Return from LoadGen's summary what it has of p50 and p90 (nanoseconds), rows a second, and queries needed."""
    patterns = {
        "p50_ns": r"^50\.00 percentile latency \(ns\) *: (\d+)",
        "p90_ns": r"^90\.00 percentile latency \(ns\) *: (\d+)",
        "samples_per_s": r"^Samples per second *: ([\d.]+)",
        "needed_for_p90": r"Processed at least (\d+) queries",
        "needed_for_p99": r"process at\s+least (\d+)",
    }
    found = {name: re.search(pattern, text, re.M) for name, pattern in patterns.items()}
    return {name: float(match[1]) for name, match in found.items() if match}


def read_trace(text: str, number_is: str) -> dict[str, list[int]]:
    """Return from LoadGen's trace each query's row, when it was due and when it was done."""
    pattern = rf'"name":"Sample".*"ph":"b".*"ts":([\d.]+).*"{number_is}":(\d+).*"sample_idx":(\d+).*"complete_ns":(\d+)'
    queries = {}  # a query of several rows is done with its last
    for due_us, number, row, took_ns in re.findall(pattern, text):
        due = round(float(due_us) * 1e3)
        queries[int(number)] = int(row), due, due + int(took_ns)
    rows, due, done = zip(*(queries[number] for number in sorted(queries)), strict=True)
    return {"rows": list(rows), "due_ns": [at - due[0] for at in due], "done_ns": [at - due[0] for at in done]}


class Recorded(np.random.Generator):
    """A generator that draws what LoadGen drew: the same rows at the same instants."""

    def __init__(self, rows: list[int], due_ns: list[int]) -> None:
        super().__init__(np.random.PCG64(0))
        self._rows, self._due_ns = np.array(rows), np.array(due_ns)

    def integers(self, *_: Any, size: int, **__: Any) -> Any:
        assert size == len(self._rows)
        return self._rows

    def exponential(self, *_: Any, size: int, **__: Any) -> Any:
        assert size == len(self._due_ns)
        return np.diff(self._due_ns, prepend=0).astype(float)


if __name__ == "__main__":  # python -m tests.services '[{"scenario": "server", ...}, ...]'
    print(json.dumps([ask_with_loadgen(**asked) for asked in json.loads(sys.argv[1])]))
