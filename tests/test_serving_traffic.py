"""Traffic in the background: when its queries come, what is counted of them, and that nothing is left behind."""

import asyncio
import gc
import json
import os
import random
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from math import sqrt
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from inferkit import InputError
from inferkit.benchmark import ChildError, percentile, samples_needed
from inferkit.predictor import ArraySpec, Predictor
from inferkit.serving import serve
from inferkit.serving._client import Answer
from inferkit.serving._traffic import Snapshot, Traffic
from inferkit.serving._traffic_child import BEHIND_S, MOST_UNDER_WAY, Flow, Task
from inferkit.serving._traffic_window import FAILED, HISTORY_S, RATES, STEP_S, Window

NEEDED = {50: samples_needed(50), 99: samples_needed(99)}
ROWS = [[1.0, 2.0], [3.0, 4.0]]


# ---- The window, against counting by hand ----

# Times in 64ths of a second: sums of these are exact, and so is the question which step one lies in.
events = st.lists(
    st.tuples(st.integers(0, 150), st.sampled_from(["answered", "late", "refused", "expired", "failed", "closed"])),
    max_size=60,
)


@given(events, st.integers(0, 100), st.sampled_from([1.0, 2.0, 5.0]))
def test_the_window_counts_what_lies_in_it(gaps: list[tuple[int, str]], after: int, window_s: float) -> None:
    window, now, seen = Window(window_s, {50: 3}, now=7.0), 7.0, []
    for gap, outcome in gaps:
        now += gap / 64
        window.came(now, lateness_s=gap / 1000)
        window.ended(now, outcome, time_s=gap / 100)
        seen.append((now, gap, outcome))
    now += after / 64
    found = window.stats(now)
    covered = min(now - 7.0, window_s + (now - 7.0) % STEP_S)
    inside = [(gap, outcome) for at, gap, outcome in seen if at >= now - covered]
    assert found["seconds"] == covered
    for name in set(RATES) - {"unsent"}:
        kinds = FAILED if name == "failed" else (name,)
        wanted = len(inside) if name == "offered" else sum(outcome in kinds for _, outcome in inside)
        assert found[f"{name}_per_s"] == (wanted / covered if covered else 0)
    times = [gap / 100 for gap, outcome in inside if outcome in ("answered", "late")]
    assert found["n"] == len(times)
    assert found["p50_ms"] == (1000 * sorted(times)[(len(times) + 1) // 2 - 1] if len(times) >= 3 else None)
    assert found["lateness_ms"] == max([gap for gap, _ in inside], default=0)
    assert found["in_flight"] == 0


def test_percentiles_are_those_of_the_benchmark_and_none_before_their_sample() -> None:
    times, rng = [], np.random.default_rng()
    window = Window(5.0, NEEDED, now=0.0)
    for i in range(NEEDED[99]):
        found = window.stats(1.0)
        assert [found[f"p{q}_ms"] is None for q in NEEDED] == [i < n for n in NEEDED.values()]
        times.append(float(rng.exponential()))
        window.ended(1.0, "answered", time_s=times[-1])
    found = window.stats(1.0)
    for q in NEEDED:
        assert found[f"p{q}_ms"] == 1000 * percentile(times, q).value


def test_the_history_is_what_snapshots_would_have_shown() -> None:
    window, shown = Window(2.0, {50: 2}, now=0.0), []
    for step in range(200):
        for k in range(step % 5):
            window.came(step * STEP_S + 0.1, lateness_s=0.0)
            window.ended(step * STEP_S + 0.1, "answered", time_s=k / 1000)
        if step % 50 == 7:
            window.unsent(step * STEP_S + 0.2)
        shown.append(window.stats((step + 1) * STEP_S))
    now = 200 * STEP_S + 0.125
    history = window.history(now)
    steps = round(HISTORY_S / STEP_S)
    for name, past in history.items():
        assert len(past) == steps
        if name != "ago_s":
            assert past == [each[name] for each in shown[-steps:]]
    assert history["ago_s"] == [-0.125 - STEP_S * back for back in range(steps - 1, -1, -1)]


# ---- When queries come, in virtual time ----


class _Passing(selectors.SelectSelector):
    """Waiting costs no time: the clock is put forward instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self.now += timeout or 0.0
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock goes as fast as its work is done."""

    def __init__(self) -> None:
        self.passing = _Passing()
        super().__init__(self.passing)

    def time(self) -> float:
        return self.passing.now


class World:
    """A flow against a service of a given time, and the instants at which it was asked."""

    def __init__(self, *, rate: float, service_s: float = 0.0, outcome: str = "answered", **more: Any) -> None:
        plain = {"deadline_s": None, "rest_after_s": None, "window_s": 5.0, "timeout_s": 10.0, "needed": {50: 11}}
        self.task = Task("here", 80, [b"a", b"b"], rate, random.SystemRandom().getrandbits(63), **(plain | more))
        self.service_s, self.outcome = service_s, outcome
        self.asked: list[float] = []
        self.requests: list[bytes] = []

    def run(self, story: Callable[[Flow, VirtualLoop], Coroutine[Any, Any, Any]]) -> Any:
        async def whole() -> Any:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)

            async def ask(request: bytes) -> Answer:
                self.asked.append(loop.time())
                self.requests.append(request)
                await asyncio.sleep(self.service_s)
                return Answer(self.outcome, loop.time(), 500, {}, b"broken")

            flow = Flow(self.task, ask, loop.time)
            running = asyncio.ensure_future(flow.run())
            try:
                return await story(flow, loop)
            finally:
                running.cancel()

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(whole())


async def for_20_s(flow: Flow, _: VirtualLoop) -> dict[str, Any]:
    await asyncio.sleep(20)
    return flow.snapshot()


def z_of(count: float, mean: float) -> float:
    """Return how many standard errors a Poisson count lies off. Beyond 5.2: a false alarm in 5 million."""
    return abs(count - mean) / sqrt(mean)


def test_queries_come_as_a_poisson_process() -> None:
    world = World(rate=200)
    found = world.run(for_20_s)
    assert z_of(len(world.asked), 4000) < 5.2
    assert kstest(np.diff(world.asked) * 200, "expon").pvalue > 1e-6  # so often a false alarm
    assert found["offered_per_s"] * found["seconds"] == sum(at >= 20 - found["seconds"] for at in world.asked)
    assert world.requests[:4] == [b"a", b"b", b"a", b"b"]
    # A clock's even beat has the right rate, and is found out.
    assert kstest(np.full(4000, 1.0), "expon").pvalue < 1e-6
    assert z_of(4400, 4000) > 5.2


def test_two_flows_are_independent_and_a_seed_repeats() -> None:
    first, second = World(rate=100), World(rate=100)
    first.run(for_20_s)
    second.run(for_20_s)
    assert first.asked != second.asked
    again = World(rate=100)
    again.task = first.task
    again.run(for_20_s)
    assert again.asked == first.asked


def test_the_rate_changes_while_it_runs() -> None:
    world = World(rate=100)

    async def story(flow: Flow, loop: VirtualLoop) -> None:
        await asyncio.sleep(20)
        flow.set_rate(0)
        await asyncio.sleep(20)
        assert flow.snapshot()["offered_per_s"] == 0
        flow.set_rate(0.05)  # the next one is 20 s away, as a rule ...
        await asyncio.sleep(0.2)
        flow.set_rate(300)  # ... and is not waited for
        await asyncio.sleep(20)

    world.run(story)
    asked = np.array(world.asked)
    assert z_of(int((asked < 20).sum()), 2000) < 5.2
    assert not ((asked > 20) & (asked < 40)).any()
    assert z_of(int((asked > 40.2).sum()), 6000) < 5.2


def test_it_rests_when_nobody_looks_and_goes_on_with_the_next_look() -> None:
    world = World(rate=50, rest_after_s=10.0)

    async def story(flow: Flow, loop: VirtualLoop) -> None:
        for _ in range(4):
            await asyncio.sleep(5)
            flow.snapshot()
        await asyncio.sleep(100)
        assert flow.snapshot()["offered_per_s"] == 0
        await asyncio.sleep(5)

    world.run(story)
    asked = np.array(world.asked)
    assert z_of(int((asked <= 30).sum()), 1500) < 5.2
    assert not ((asked > 30) & (asked < 120)).any()
    assert z_of(int((asked >= 120).sum()), 250) < 5.2


def test_times_run_from_the_instant_at_which_a_query_came() -> None:
    """A machine that stands still for a fifth of a second: who came meanwhile has waited, and is counted so."""
    world = World(rate=1000, service_s=0.01)

    async def story(flow: Flow, loop: VirtualLoop) -> tuple[dict[str, Any], dict[str, Any]]:
        await asyncio.sleep(5)
        quiet = flow.snapshot()
        loop.passing.now += 0.2
        await asyncio.sleep(0.05)
        return quiet, flow.snapshot()

    quiet, after = world.run(story)
    assert quiet["p50_ms"] == pytest.approx(10)
    assert quiet["lateness_ms"] == pytest.approx(0, abs=1e-3)
    assert 150 < after["lateness_ms"] <= 201
    assert after["unsent_per_s"] == 0
    assert after["in_flight"] < 100


def test_what_is_too_late_to_tell_of_the_server_is_not_sent_and_is_counted() -> None:
    world = World(rate=1000)

    async def story(flow: Flow, loop: VirtualLoop) -> tuple[dict[str, Any], dict[str, Any]]:
        await asyncio.sleep(0.5)
        loop.passing.now += 3.0
        await asyncio.sleep(0.5)
        stalled = flow.snapshot()
        loop.passing.now += 3600.0  # the lid was closed: nobody came
        await asyncio.sleep(1)
        return stalled, flow.snapshot()

    stalled, slept = world.run(story)
    assert z_of(stalled["offered_per_s"] * stalled["seconds"], 4000) < 5.2
    assert z_of(stalled["unsent_per_s"] * stalled["seconds"], 1000 * (3.0 - BEHIND_S)) < 5.2
    assert slept["unsent_per_s"] == 0
    assert z_of(len(world.asked), 2250) < 5.2


def test_a_server_that_never_answers_fills_nothing_without_end() -> None:
    world = World(rate=1000, service_s=1e6)
    found = world.run(for_20_s)
    assert found["in_flight"] == MOST_UNDER_WAY == len(world.asked)
    assert found["unsent_per_s"] == found["offered_per_s"]
    assert z_of(found["offered_per_s"] * found["seconds"], 1000 * found["seconds"]) < 5.2


def test_it_holds_no_more_after_an_hour_than_after_a_minute() -> None:
    world = World(rate=8, window_s=2.0)

    async def story(flow: Flow, loop: VirtualLoop) -> list[int]:
        held = []
        for minutes in (1, 59):
            await asyncio.sleep(60 * minutes)
            times = [len(each.times_s) for each in flow.window._slices]
            assert len(flow.window._slices) <= 9
            held.append(sum(times) + len(flow._under_way) + len(flow.window._history))
        return held

    first, last = world.run(story)
    assert last < 2 * first
    assert z_of(len(world.asked), 28_800) < 5.2


@pytest.mark.parametrize(
    ("outcome", "service_s", "shown"),
    [
        ("answered", 0.01, "answered"), ("answered", 0.03, "late"), ("refused", 0.0, "refused"),
        ("expired", 0.03, "expired"), ("timeout", 0.03, "failed"), ("unreachable", 0.0, "failed"),
        ("closed", 0.0, "failed"), ("failed", 0.0, "failed"),
    ],
)  # fmt: skip
def test_each_end_is_counted_as_what_it_is(outcome: str, service_s: float, shown: str) -> None:
    world = World(rate=100, outcome=outcome, service_s=service_s, deadline_s=0.02)

    async def story(flow: Flow, loop: VirtualLoop) -> tuple[dict[str, Any], dict[str, Any]]:
        await asyncio.sleep(20)
        told = flow.snapshot()
        world.outcome, world.service_s = "answered", 0.0
        await asyncio.sleep(6)
        return told, flow.snapshot()

    told, later = world.run(story)
    ends = {name: told[f"{name}_per_s"] for name in RATES if name not in ("offered", "unsent")}
    assert [name for name, per_s in ends.items() if per_s] == [shown]
    assert told["n"] == (ends[shown] * told["seconds"] if shown in ("answered", "late") else 0)
    assert told["trouble"] == ("500: broken" if shown == "failed" else "")
    assert later["trouble"] == ""


# ---- The process ----


class TinyServer:
    """Answers every POST with a status, on a thread of its own."""

    def __init__(self, port: int = 0) -> None:
        self.status, self.bodies = 200, list[bytes]()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        starting = asyncio.start_server(self._answer, "127.0.0.1", port)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(30)
        self.port = int(self._server.sockets[0].getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}/predict"
        self._tasks: set[Any] = set()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split()[0])
                self.bodies.append(await reader.readexactly(length))
                writer.write(b"HTTP/1.1 %d Said\r\nContent-Length: 2\r\n\r\n{}" % self.status)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    async def _stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextmanager
def tiny_server(port: int = 0) -> Iterator[TinyServer]:
    server = TinyServer(port)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def server() -> Iterator[TinyServer]:
    with tiny_server() as one:
        yield one


def watch(traffic: Traffic, until: Callable[[Snapshot], bool]) -> Snapshot:
    """Look until something is seen; a minute is for a machine with other work."""
    deadline = time.monotonic() + 60
    while not until(now := traffic.snapshot()):
        assert time.monotonic() < deadline, now
        time.sleep(0.05)
    return now


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended; one that nobody has waited for counts as that."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def wait_gone(pid: int) -> None:
    deadline = time.monotonic() + 30
    while not is_gone(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_real_process_asks_at_the_rate_and_sends_the_rows_in_turn(server: TinyServer) -> None:
    with Traffic(server.url, ROWS, rate=500, window_s=2) as traffic:
        found = watch(traffic, lambda now: now.seconds >= 1.9 and now.p99_ms is not None)
        assert z_of(found.offered_per_s * found.seconds, 500 * found.seconds) < 5.2
        assert found.p50_ms is not None
        assert found.p99_ms is not None
        assert 0 < found.p50_ms <= found.p99_ms
        assert found.failed_per_s == 0
        assert found.trouble == ""
        assert found.rate == traffic.rate == 500
        traffic.rate = 0
        rests = watch(traffic, lambda now: now.offered_per_s == 0)
        assert (rests.rate, rests.in_flight) == (0, 0)
        assert rests.p50_ms is None
    first, second = (sum(json.loads(body) == {"rows": [row]} for body in server.bodies) for row in ROWS)
    assert first + second == len(server.bodies)
    assert first - second in (0, 1)  # in which order they arrive is for the connections to say


def test_a_history_is_ready_to_be_drawn(server: TinyServer) -> None:
    with Traffic(server.url, ROWS, window_s=1) as traffic:
        at_rest = traffic.snapshot()
        assert at_rest.line("offered_per_s")[1].tolist() == [0.0] * 120
        assert at_rest.line("p50_ms")[0].size == 0
        traffic.rate = 200
        now = watch(traffic, lambda now: now.line("p50_ms")[0].size > 3)
        ago, values = now.line("p50_ms")
        assert (np.diff(ago) > 0).all()
        assert ago[0] >= -30.25
        assert ago[-1] <= 0
        assert np.isfinite(values).all()
        assert now.line("offered_per_s")[1][0] == 0  # half a minute ago there was none
        with pytest.raises(InputError, match=r"line: expected one of ago_s, offered_per_s, .*, got 'p95'"):
            now.line("p95")


@pytest.mark.parametrize(("status", "shown"), [(503, "refused"), (504, "expired"), (500, "failed")])
def test_a_server_that_says_no_is_told_apart(server: TinyServer, status: int, shown: str) -> None:
    server.status = status
    with Traffic(server.url, ROWS, rate=100) as traffic:
        found = watch(traffic, lambda now: getattr(now, f"{shown}_per_s") > 0)
        assert found.answered_per_s == 0
        assert found.trouble == ("500: {}" if status == 500 else "")


def test_a_server_that_dies_is_counted_and_its_recovery_is_seen() -> None:
    with tiny_server() as first:
        port = first.port
        traffic = Traffic(first.url, ROWS, rate=100, window_s=1)
        watch(traffic, lambda now: now.answered_per_s > 50)
    with traffic:
        down = watch(traffic, lambda now: now.failed_per_s > 50 and now.answered_per_s == 0)
        assert "refused" in down.trouble.lower() or "connect" in down.trouble.lower()
        with tiny_server(port):
            up = watch(traffic, lambda now: now.answered_per_s > 50 and now.failed_per_s == 0)
            assert up.trouble == ""


def test_a_servers_own_limits_are_seen() -> None:
    """A model that takes 50 ms a call: most of 200 queries a second find its short queue full, or wait too long."""

    def slow(X: np.ndarray) -> np.ndarray:
        time.sleep(0.05)
        return X[:, 0]

    model = Predictor(slow, signature=ArraySpec((2,)), name="slow")
    with (
        serve(model, max_batch_size=1, max_queue=8, token="secret") as server,
        Traffic(server, ROWS, rate=200, deadline_ms=100, random_state=None) as traffic,
    ):
        watch(traffic, lambda now: now.refused_per_s > 20 and now.expired_per_s > 0 and now.answered_per_s > 0)
        traffic.rate = 0
        last = watch(traffic, lambda now: now.in_flight == 0)
        assert last.failed_per_s == 0
        told = server.stats()
        assert min(told["answered"], told["refused"], told["expired"]) > 0


def test_close_leaves_no_process_no_thread_and_no_pipe(server: TinyServer) -> None:
    threads, files = threading.active_count(), psutil.Process().num_fds()
    traffic = Traffic(server.url, ROWS, rate=100)
    pid = traffic._child._process.pid
    watch(traffic, lambda now: now.n > 0)
    assert threading.active_count() == threads
    traffic.close()
    traffic.close()
    assert is_gone(pid)
    gc.collect()
    assert psutil.Process().num_fds() <= files + 1  # the server may still close its end
    for use in (traffic.snapshot, lambda: setattr(traffic, "rate", 5)):
        with pytest.raises(InputError, match=r"the traffic for http://.* is closed; make it anew"):
            use()
    assert repr(traffic) == f"Traffic('{server.url}': closed)"


def test_forgotten_traffic_ends(server: TinyServer) -> None:
    traffic = Traffic(server.url, ROWS, rate=100)
    pid = traffic._child._process.pid
    del traffic
    gc.collect()
    assert is_gone(pid)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "sys.exit()", "raise SystemExit(3)"])
def test_it_ends_with_the_interpreter_however_that_ends(server: TinyServer, end: str) -> None:
    program = f"""
import os, sys
from inferkit.serving._traffic import Traffic
traffic = Traffic({server.url!r}, {ROWS!r}, rate=50)
traffic.snapshot()
print(traffic._child._process.pid, flush=True)
{end}
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    wait_gone(int(done.stdout))
    assert done.stderr == ""


def test_a_process_that_was_killed_is_told_and_can_be_closed(server: TinyServer) -> None:
    with Traffic(server.url, ROWS, rate=10) as traffic:
        traffic.snapshot()
        os.kill(traffic._child._process.pid, signal.SIGKILL)
        for _ in range(2):
            with pytest.raises(ChildError, match=r"the process that makes the traffic has died: .*; make the Traffic"):
                traffic.snapshot()


@pytest.mark.parametrize(
    ("target", "more", "match"),
    [
        (3, {}, "target: expected a server or its address, such as .*, got int"),
        ("ftp://here/predict", {}, "expected an address such as"),
        (None, {"rate": -1}, "rate: expected 0 to 10,000 queries a second, got -1"),
        (None, {"rate": float("nan")}, "rate: expected 0 to 10,000"),
        (None, {"rate": True}, "rate: expected 0 to 10,000"),
        (None, {"window_s": 0.5}, "window_s: expected 1 to 30 seconds, got 0.5"),
        (None, {"deadline_ms": 0}, "deadline_ms: expected milliseconds above 0, got 0"),
        (None, {"rest_after_s": -1}, "rest_after_s: expected a number of seconds above 0"),
        (None, {"timeout_s": 0}, "timeout_s: expected a number of seconds above 0"),
        (None, {"random_state": "x"}, "random_state: expected a seed"),
    ],
)
def test_what_makes_no_sense_is_refused_before_a_process_starts(
    target: Any, more: dict[str, Any], match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
    with pytest.raises(InputError, match=match):
        Traffic("http://127.0.0.1:9/predict" if target is None else target, ROWS, **more)


def test_a_rate_that_makes_no_sense_leaves_the_old_one(server: TinyServer) -> None:
    with Traffic(server.url, ROWS, rate=20) as traffic:
        with pytest.raises(InputError, match="rate: expected 0 to 10,000"):
            traffic.rate = 1e9
        assert traffic.rate == 20
        assert traffic.snapshot().rate == 20
