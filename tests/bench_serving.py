"""Compare the server with what else is there: ``python -m tests.bench_serving [rounds] [server ...]``.

Nothing here asserts. Each server is a process of its own, started anew in each round, and alone on the machine with the
client. Rounds go through all servers in turn; shown is the median of the rounds, and their range. The competitors live
in an environment of their own, ``build/bench``, which is made when it is missing. Two models: the small digit reader,
and a stand-in for an accelerator that takes 5 ms a call and 0.1 ms a row: it sleeps, one call at a time.
"""

import asyncio
import gc
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from inferkit.benchmark._percentiles import Percentile, SampleTooSmallError, percentile
from inferkit.datasets import load_digits
from inferkit.predictor import Predictor
from inferkit.serving._client import Client, request_bytes

from . import bench_servers

ROOT = Path(__file__).parents[1]
ENVIRONMENT = ROOT / "build" / "bench"
SERVERS = {
    "inferkit": "inferkit",
    "fastapi": "FastAPI, bare",
    "fastapi_typed": "FastAPI, typed",
    "litserve": "LitServe",
    "bentoml": "BentoML",
    "ray_serve": "Ray Serve",
    "ray_inferkit": "inferkit on Ray, 2 replicas",
}
OURS = ("inferkit", "fastapi", "fastapi_typed")  # they need nothing that the checkout's own environment lacks
CLIENTS = (1, 16, 64)
RATES = {"digits": 500.0, "fixed": 500.0}
CLOSED_S, OPEN_S, WARM_S = 2.0, 3.0, 0.5
START_S = 120.0
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "BENTOML_DO_NOT_TRACK": "true", "DO_NOT_TRACK": "1"}


def environment() -> Path:
    """Return the Python that has the competitors; make its environment if there is none."""
    python, whole = ENVIRONMENT / "bin" / "python", ENVIRONMENT / "whole"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = json.dumps(project["optional-dependencies"]["bench"])
    if not whole.exists() or whole.read_text() != wanted:  # broken off, or of another list: made anew
        uv = Path(sys.executable).with_name("uv")
        print(f"making {ENVIRONMENT} with the competitors: some minutes, once", flush=True)
        subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, ENVIRONMENT], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--python", python, "-e", f"{ROOT}[serve,bench]"], check=True)
        whole.write_text(wanted)
    return python


# -- one server --------------------------------------------------------------------------------------


@dataclass
class Running:
    """A server that answers, and what its start took."""

    port: int
    process: psutil.Process
    start_s: float
    idle_mb: float


@contextmanager
def started(server: str, model: str) -> Iterator[Running]:
    """Start a server; leave no process of it behind."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    python = sys.executable if server in OURS else str(environment())
    command = [python, "-m", "tests.bench_servers", server, model, str(port)]
    if server == "bentoml":
        command = [python, "-m", "bentoml", "serve", f"tests.bench_servers:{model}", "--port", str(port)]
    folder = tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)  # what they leave in a home
    with folder as home, tempfile.TemporaryFile() as log:
        settings = os.environ | QUIET | {"PYTHONPATH": str(ROOT), "HOME": home, "RAY_TMPDIR": home}
        start = time.perf_counter()
        child = subprocess.Popen(command, cwd=ROOT, env=settings, stdout=log, stderr=log, start_new_session=True)
        process = psutil.Process(child.pid)
        try:
            asyncio.run(first_answer(port, model, child))
            start_s = time.perf_counter() - start
            if "inferkit" in server:
                check_protocol(port, model)
            time.sleep(1.0)
            yield Running(port, process, start_s, memory_mb(process))
        except BaseException:
            log.seek(0)
            print(log.read().decode(errors="replace")[-2000:])
            raise
        finally:
            end(child, process)


async def first_answer(port: int, model: str, child: "subprocess.Popen[bytes]") -> None:
    """Wait until the server answers, and see that it answers as the model does."""
    row = load_digits().images[0]
    wanted = bench_servers.answers(bench_servers.make(model), row[None])[0]
    end_s = time.monotonic() + START_S
    client = Client("127.0.0.1", port, timeout_s=10.0)
    while True:
        answer = await client.ask(request(port, row))
        if answer.outcome == "answered":
            break
        if child.poll() is not None or time.monotonic() > end_s:
            raise RuntimeError(f"it does not answer: {answer.words}")
        await asyncio.sleep(0.02)
    await client.close()
    got = json.loads(answer.body)
    got = got[0] if isinstance(got, list) else got
    for name, values in wanted.items():
        if not np.allclose(got[name], values, rtol=1e-6, atol=1e-9):
            raise RuntimeError(f"it answers otherwise: expected {name} {values}, got {got[name]}")


def check_protocol(port: int, model: str) -> None:
    """See that the field's protocol gives the bits that the model gives here; a predictor is its client."""
    pictures = load_digits().images[:40]
    ours, theirs = bench_servers.make(model), Predictor(f"http://127.0.0.1:{port}/v2/models/model")
    for name, values in ours.predict_outputs(pictures).items():
        if not np.array_equal(values, theirs.predict_outputs(pictures)[name]):
            raise RuntimeError(f"by the protocol it answers {name} otherwise")


def request(port: int, row: np.ndarray) -> bytes:
    """Return the request for one row, as every server here takes it."""
    body = json.dumps({"rows": [row.tolist()]}).encode()
    return request_bytes(f"http://127.0.0.1:{port}/predict", body, {"Content-Type": "application/json"})


def memory_mb(process: psutil.Process) -> float:
    """Return the memory of a process and all below it; pages that several share count once."""
    return sum(one.memory_full_info().pss for one in [process, *process.children(recursive=True)]) / 1e6


def end(child: "subprocess.Popen[bytes]", process: psutil.Process) -> None:
    """End a server by the signal that it knows, and what is left of it after that."""
    below = process.children(recursive=True) if child.poll() is None else []
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
    _, left = psutil.wait_procs([process, *below], timeout=15)
    for one in left:
        one.kill()
    psutil.wait_procs(left, timeout=15)
    child.wait()


# -- load --------------------------------------------------------------------------------------------


@dataclass
class Load:
    """What came of one load: latencies of the answered in milliseconds, how many others, answers a second."""

    ms: list[float]
    failed: int
    rps: float


def closed(port: int, clients: int) -> Load:
    """Let so many clients ask side by side, each again as soon as it has its answer."""
    return asyncio.run(_measure(port, lambda ask: _closed(ask, clients)))


def poisson(port: int, rate: float) -> Load:
    """Ask at random instants that were fixed beforehand; latency counts from these."""
    return asyncio.run(_measure(port, lambda ask: _poisson(ask, rate)))


async def _measure(port: int, load: Callable[[Callable[[], Awaitable[bool]]], Awaitable[Load]]) -> Load:
    client = Client("127.0.0.1", port, timeout_s=30.0)
    requests = [request(port, row) for row in load_digits().images[:256]]
    turn = 0

    async def ask() -> bool:
        nonlocal turn
        turn += 1
        return (await client.ask(requests[turn % len(requests)])).outcome == "answered"

    gc.collect()
    gc.freeze()
    try:
        return await load(ask)
    finally:
        await client.close()


async def _closed(ask: Callable[[], Awaitable[bool]], clients: int) -> Load:
    now = asyncio.get_running_loop().time
    found = Load([], 0, 0.0)
    begin = now() + WARM_S
    stop = begin + CLOSED_S

    async def one() -> None:
        while (start := now()) < stop:
            good = await ask()
            if start >= begin:
                found.ms.append(1000 * (now() - start)) if good else _count(found)

    await asyncio.gather(*(one() for _ in range(clients)))
    found.rps = len(found.ms) / (now() - begin)
    return found


def _count(found: Load) -> None:
    found.failed += 1


async def _poisson(ask: Callable[[], Awaitable[bool]], rate: float) -> Load:
    now = asyncio.get_running_loop().time
    found = Load([], 0, 0.0)
    draw = random.Random().expovariate

    async def one(due: float) -> None:
        if await ask():
            found.ms.append(1000 * (now() - due))
        else:
            _count(found)

    due = begin = now() + 0.05
    tasks = []
    while (due := due + draw(rate)) < begin + OPEN_S:
        if (wait := due - now()) > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(one(due)))
    await asyncio.gather(*tasks)
    found.rps = len(found.ms) / (now() - begin)
    return found


# -- the table ---------------------------------------------------------------------------------------


@dataclass
class Found:
    """What the rounds gave for one server and one model."""

    start_s: list[float] = field(default_factory=list)
    idle_mb: list[float] = field(default_factory=list)
    loads: dict[str, list[Load]] = field(default_factory=dict)

    def add(self, server: str, model: str) -> None:
        """Run one round."""
        with started(server, model) as running:
            self.start_s.append(running.start_s)
            self.idle_mb.append(running.idle_mb)
            for clients in CLIENTS:
                self.loads.setdefault(str(clients), []).append(closed(running.port, clients))
            self.loads.setdefault("open", []).append(poisson(running.port, RATES[model]))

    def rps(self, load: str) -> float:
        """Return answers a second, the median of the rounds."""
        return statistics.median(one.rps for one in self.loads[load])

    def p99(self, load: str) -> Percentile | None:
        """Return the p99 of all rounds together; None if they are too few answers to support it."""
        try:
            return percentile([ms for one in self.loads[load] for ms in one.ms], 99)
        except SampleTooSmallError:
            return None


def shown(values: list[float], digits: int = 0) -> str:
    """Return the median of the rounds, and their range."""
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def latencies(found: Found, load: str) -> str:
    """Return the median round's p50 with their range, and the p99 of all answers with its interval."""
    p50, p99 = shown([statistics.median(one.ms) for one in found.loads[load]], 2), found.p99(load)
    failed = sum(one.failed for one in found.loads[load])
    tail = "not supported by so few" if p99 is None else f"{p99.value:,.2f} ({bound(p99.low)}–{bound(p99.high)})"
    return f"p50 {p50} ms, p99 {tail} ms" + (f", {failed} unanswered" if failed else "")


def bound(value: float | None) -> str:
    """Return the end of an interval; open where the sample does not reach."""
    return "?" if value is None else f"{value:,.2f}"


def print_table(model: str, found: dict[str, Found]) -> None:
    """Print what was found for one model."""
    print(
        f"\n{model}: one row a request, JSON over loopback; medians of the rounds (range), p99 of all (95 % interval)"
    )
    for server, one in found.items():
        print(f"  {SERVERS[server]}: start {shown(one.start_s, 1)} s, idle {shown(one.idle_mb)} MB")
        for clients in CLIENTS:
            load = str(clients)
            rps = shown([each.rps for each in one.loads[load]])
            print(f"    {clients:>2} client{'s' if clients > 1 else ' '}: {rps} rps, {latencies(one, load)}")
        rate = shown([each.rps for each in one.loads["open"]])
        print(f"    Poisson {RATES[model]:.0f}/s: {rate} rps, {latencies(one, 'open')}")


def print_targets(found: dict[str, dict[str, Found]]) -> None:
    """Print what the design promises, beside what came out."""
    for bare in ("fastapi", "fastapi_typed"):
        if {"inferkit", bare} <= found["digits"].keys():
            pairs = zip(found["digits"]["inferkit"].loads["1"], found["digits"][bare].loads["1"], strict=True)
            ratios = [statistics.median(a.ms) / statistics.median(b.ms) for a, b in pairs]
            print(f"one client's p50, inferkit / {SERVERS[bare]}: {shown(ratios, 2)}; budget 1.3")
    if {"inferkit", "fastapi"} <= found["fixed"].keys():
        pairs = zip(found["fixed"]["inferkit"].loads["64"], found["fixed"]["fastapi"].loads["64"], strict=True)
        print(f"fixed cost, 64 clients, inferkit / unbatched: {shown([a.rps / b.rps for a, b in pairs], 1)}; target 15")
    for model, servers in found.items():
        for other in ("litserve", "bentoml", "ray_serve"):
            if {"inferkit", other} <= servers.keys():
                print(f"{model}, against {SERVERS[other]}: {against(servers['inferkit'], servers[other])}")


def against(ours: Found, theirs: Found) -> str:
    """Say how often more answers a second, and how much smaller a p99, at each load."""
    words = []
    for load in (*map(str, CLIENTS), "open"):
        a, b = ours.p99(load), theirs.p99(load)
        p99 = "p99 not supported" if a is None or b is None else f"p99 {a.value:.2f} against {b.value:.2f} ms"
        words.append(f"{load}: {ours.rps(load) / theirs.rps(load):.1f}× rps, {p99}")
    return "; ".join(words)


SIZES = """
import importlib.metadata as m, json, re
from packaging.requirements import Requirement

def closure(name, extras=(), seen=None):
    seen = {} if seen is None else seen
    key = re.sub("[-_.]+", "-", name).lower()
    if seen.get(key, set()) >= {"", *extras}:
        return seen
    seen.setdefault(key, set()).update({"", *extras})
    for text in m.distribution(name).requires or []:
        r = Requirement(text)
        if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in ("", *extras)):
            try:
                closure(r.name, tuple(r.extras), seen)
            except m.PackageNotFoundError:
                pass
    return seen

def size(names):
    return sum(f.locate().stat().st_size for n in names for f in m.files(n) or [] if f.locate().is_file()) / 1e6

base = set(closure("inferkit"))
wanted = {"inferkit": ("inferkit", ("serve",)), "fastapi": ("fastapi", ()), "litserve": ("litserve", ()),
          "bentoml": ("bentoml", ()), "ray_serve": ("ray", ("serve",))}
print(json.dumps({k: (size(set(closure(*v)) - base), len(set(closure(*v)) - base)) for k, v in wanted.items()}))
"""


def print_sizes() -> None:
    """Print what each server needs on disk beyond the packages that the predictor itself needs."""
    run = subprocess.run([environment(), "-c", SIZES], capture_output=True, text=True, check=True)
    for server, (mb, n) in json.loads(run.stdout).items():
        print(f"install, {SERVERS[server]}: {mb:.0f} MB in {n} packages beyond the predictor's own")


def main(rounds: int = 5, *servers: str) -> None:
    """Run all, or the servers named."""
    print_sizes()
    found = {model: {server: Found() for server in servers or SERVERS} for model in RATES}
    for done in range(rounds):
        for model, each in found.items():
            for server in random.sample(list(each), len(each)):
                try:
                    each[server].add(server, model)
                    rps = [f"{each[server].loads[load][-1].rps:,.0f}" for load in (*map(str, CLIENTS), "open")]
                    print(f"round {done + 1}, {model}, {SERVERS[server]}: {', '.join(rps)} rps", flush=True)
                except Exception as error:
                    print(f"{SERVERS[server]}, {model}: left out from here on: {type(error).__name__}: {error}")
                    del each[server]
    for model, each in found.items():
        print_table(model, each)
    print()
    print_targets(found)


if __name__ == "__main__":
    main(*([int(sys.argv[1])] if sys.argv[1:] else []), *sys.argv[2:])
