"""Dask's engine gives what threads give, bit for bit, and a worker's death costs nobody an answer."""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
import pytest
from distributed import Client, LocalCluster
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from inferkit import InputError
from inferkit.batch import _dask, predict_batch
from inferkit.batch._dask import ordered_map
from inferkit.batch._dask_workers import local_cluster
from inferkit.datasets import load_digits
from inferkit.predictor import ArraySpec, Predictor, digit_reader


@pytest.fixture(scope="module")
def cluster():
    with local_cluster(2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def address(cluster):
    return cluster.scheduler_address


def worker_pids(address: str) -> list[int]:
    """Return the processes of the two workers; wait for them where one has just died."""
    with Client(address, set_as_default=False) as client:
        while True:
            pids = list(client.run(os.getpid, on_error="ignore").values())
            if len(pids) == 2:
                return pids
            time.sleep(0.05)


def mapped(function, tasks, address, window=4):
    return list(ordered_map(function, tasks, address=address, window=window))


# -- the contract of an engine ---------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(waits=st.lists(st.sampled_from([0, 0, 0.01, 0.03]), max_size=12), window=st.integers(1, 6))
def test_results_come_in_order_and_the_window_holds(address, waits, window):
    read, received = [], []

    def tasks():
        for i, wait in enumerate(waits):
            read.append(i)
            assert len(read) - len(received) <= window
            yield i, wait

    def wait(task):
        time.sleep(task[1])
        return task[0]

    received.extend(ordered_map(wait, tasks(), address=address, window=window))
    assert received == list(range(len(waits)))


def test_workers_share_the_cores_and_keep_what_they_were_sent(cluster, address):
    def pools(_):
        from threadpoolctl import threadpool_info

        np.ones((2, 2)) @ np.ones(2)  # so that the library is loaded
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    assert all(found and set(found) == {1} for found in mapped(pools, range(4), address))
    assert not cluster.scheduler.extensions["amm"].running


def test_chunks_really_run_on_both_workers(address, tmp_path):
    def meet(name):  # each chunk waits until the other has begun: one worker alone would never end
        (tmp_path / name).touch()
        end = time.monotonic() + 60
        while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        return os.getpid()

    pids = mapped(meet, ["one", "two"], address)
    assert set(pids) == set(worker_pids(address))
    assert os.getpid() not in pids


def test_the_function_travels_once_to_a_worker_not_with_each_chunk(address, tmp_path):
    class Traveller:  # made here, it travels by value: no worker has to import this file
        def __init__(self, diary: Path) -> None:
            self.diary = diary

        def __setstate__(self, state):
            self.__dict__.update(state)
            with self.diary.open("a") as f:
                f.write("unpacked ")

        def __call__(self, chunk):
            time.sleep(0.01)
            return chunk

    assert mapped(Traveller(tmp_path / "diary"), range(30), address) == list(range(30))
    assert 1 <= len((tmp_path / "diary").read_text().split()) <= 2  # on the first, and passed on to the second


@pytest.mark.parametrize("error", [InputError("row 3 is bad"), TimeoutError("too slow"), KeyError("k")])
def test_what_the_function_raises_is_raised_here(address, error):
    def fail(chunk):
        raise error

    with pytest.raises(type(error), match=str(error)):
        mapped(fail, range(4), address)


def test_a_source_that_raises_ends_the_run_with_its_own_error(address):
    def tasks():
        yield from range(6)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        mapped(lambda chunk: chunk, tasks(), address)


def test_a_run_left_half_way_takes_its_work_off_the_cluster(cluster, address):
    with closing(ordered_map(lambda chunk: chunk, range(100), address=address, window=8)) as results:
        assert next(results) == 0
    end = time.monotonic() + 20
    while cluster.scheduler.tasks and time.monotonic() < end:
        time.sleep(0.02)
    assert not cluster.scheduler.tasks


def test_it_works_where_an_event_loop_runs_as_in_a_notebook(address):
    async def cell():
        return mapped(len, ["a", "bc"], address)

    assert asyncio.run(cell()) == [1, 2]


def test_large_chunks_raise_no_warning(address):  # warnings are errors here
    chunk = np.ones(2_000_000)
    assert mapped(len, [chunk], address) == [2_000_000]


def test_the_dashboard_is_named_and_answers(address, capsys):
    mapped(len, ["a"], address)
    said = capsys.readouterr().out
    assert said.startswith(f"Dask: 2 workers at {address}; dashboard: http://127.0.0.1:")
    with urllib.request.urlopen(said.split()[-1], timeout=20) as page:
        assert page.status == 200


# -- the same bytes --------------------------------------------------------------------------------


def linear_model() -> Predictor:
    X, y = load_iris(return_X_y=True)
    return Predictor(LogisticRegression(max_iter=500).fit(X, y), signature=ArraySpec((4,), low=0, high=10))


@pytest.mark.parametrize("answer", ["predict", "predict_proba", "outputs"])
def test_litert_gives_the_bits_of_the_local_engine(address, answer):
    pictures = load_digits().images[:700]
    made = [
        predict_batch(digit_reader(), pictures, answer=answer, batch_size=64, progress=False, **engine)
        for engine in ({}, {"engine": "dask", "address": address})
    ]
    here, there = (r.answers if isinstance(r.answers, dict) else {"": r.answers} for r in made)
    assert here.keys() == there.keys()
    assert all(here[k].dtype == there[k].dtype and here[k].tobytes() == there[k].tobytes() for k in here)


@pytest.mark.parametrize("form", ["csv", "parquet", "npy"])
def test_scikit_learn_writes_the_bytes_of_the_local_engine(address, tmp_path, form):
    X = np.random.default_rng().uniform(0, 8, size=(5000, 4))
    X[[7, 4000], 1] = np.nan  # rejected in both, at the same rows
    for name, engine in {"here": {}, "there": {"engine": "dask", "address": address}}.items():
        sink = tmp_path / f"{name}.{form}"
        predict_batch(
            linear_model(),
            X,
            sink,
            answer="predict_proba",
            batch_size=512,
            checkpoint_rows=1024,
            progress=False,
            **engine,
        )
    for one in (f"here.{form}", "here.rejected.csv"):
        assert (tmp_path / one).read_bytes() == (tmp_path / one.replace("here", "there")).read_bytes()


@pytest.mark.parametrize(("first", "then"), [("local", "dask"), ("dask", "local")])
def test_a_run_that_one_engine_began_is_finished_by_the_other(address, tmp_path, first, then):
    # what is under way when the source fails is not kept: 40 tasks of 10 rows at the most
    pictures, half = load_digits().images[:800], [True]
    engines = {"local": {"n_workers": 1}, "dask": {"engine": "dask", "address": address}}
    options = {"batch_size": 2, "checkpoint_rows": 10, "progress": False}

    def batches():
        for i in range(0, 800, 40):
            if i == 720 and half.pop():
                raise OSError("the disk was pulled out")
            yield pictures[i : i + 40]

    with pytest.raises(OSError, match="pulled out"):
        predict_batch(digit_reader(), batches(), tmp_path / "a.csv", **options, **engines[first])
    half.append(False)
    found = predict_batch(digit_reader(), batches(), tmp_path / "a.csv", **options, **engines[then])
    assert 0 < found.n_resumed <= 720
    calm = predict_batch(digit_reader(), pictures, tmp_path / "b.csv", **options)
    assert found.sink.read_bytes() == calm.sink.read_bytes()


# -- death -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how_many", [1, 2])
def test_a_worker_killed_in_mid_run_loses_nothing(address, tmp_path, how_many):
    pictures = load_digits().images[:1600]
    pids = worker_pids(address)

    def batches(kill):
        for i in range(0, 1600, 100):
            if kill and i == 800:
                for pid in pids[:how_many]:
                    os.kill(pid, signal.SIGKILL)
            yield pictures[i : i + 100]

    for name, engine in {"here": {}, "there": {"engine": "dask", "address": address}}.items():
        source = batches(kill=name == "there")
        predict_batch(digit_reader(), source, tmp_path / f"{name}.csv", batch_size=100, progress=False, **engine)
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
    alive = worker_pids(address)
    assert not set(pids[:how_many]) & set(alive)


@pytest.mark.rotated
def test_a_row_that_ends_its_process_is_rejected_and_the_others_answered(address):
    def crash_at_seven(X):
        if (X == 7).any():
            os.abort()
        return np.column_stack([X[:, 0], X[:, 0]])

    fragile = Predictor(crash_at_seven, signature=ArraySpec((1,)))
    X = np.array([[5.0], [7.0], [9.0]])
    result = predict_batch(fragile, X, batch_size=2, engine="dask", address=address, progress=False)
    assert [(row.row, row.reason) for row in result.rejected] == [
        (1, "the process of the worker died while it predicted this row")
    ]
    assert result.ok.tolist() == [True, False, True]
    assert result.answers[result.ok][:, 1].tolist() == [5, 9]


def test_a_chunk_whose_workers_died_by_chance_is_answered(address, tmp_path):
    def unlucky(chunk):  # its first two workers are killed from outside
        if (tries := len(list(tmp_path.iterdir()))) < 2:
            (tmp_path / str(tries)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return chunk

    assert mapped(unlucky, ["a"], address) == ["a"]


@pytest.mark.rotated
def test_a_chunk_is_not_blamed_for_its_neighbours(address, tmp_path):
    def fatal_at_first(chunk):
        if not (tmp_path / str(chunk)).exists():
            (tmp_path / str(chunk)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return chunk

    assert mapped(fatal_at_first, range(7), address, window=7) == list(range(7))


def test_a_model_that_always_ends_its_process_stops_the_run(address, monkeypatch):
    monkeypatch.setattr(_dask, "MOST_KILLERS", 0)
    hopeless = Predictor(lambda X: os.abort(), signature=ArraySpec((1,)))
    with pytest.raises(RuntimeError, match="the model ends the process it runs in"):
        predict_batch(hopeless, np.zeros((1, 1)), batch_size=1, engine="dask", address=address, progress=False)


# -- errors at the door ----------------------------------------------------------------------------


def test_a_predictor_that_cannot_travel_is_refused_at_once():
    lock = threading.Lock()
    with pytest.raises(InputError, match=r"cannot be sent: cannot pickle '_thread.lock'.*engine=\"local\""):
        ordered_map(lambda chunk: lock and chunk, iter(()), n_workers=1, window=1)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"window": 0}, "window: expected an integer ≥ 1, got 0"),
        ({"n_workers": 2.0}, "n_workers: expected an integer ≥ 1, got 2.0"),
        ({"n_workers": True}, "n_workers: expected an integer ≥ 1, got True"),
        ({"n_workers": 2, "address": "tcp://127.0.0.1:1"}, "expected n_workers or address, got both"),
        ({"address": "nonsense"}, "address: expected one such as .*, got 'nonsense'"),
        ({"address": "carrier-pigeon://loft:1"}, "address: expected one such as"),
    ],
)
def test_arguments_are_checked_before_anything_starts(given, words):
    with pytest.raises(InputError, match=words):
        ordered_map(len, [], **{"window": 2, **given})


@pytest.mark.parametrize("silent", [False, True])
def test_an_address_without_a_scheduler_is_told_in_time(monkeypatch, silent):
    monkeypatch.setattr(_dask, "CONNECT_S", 0.5)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        if silent:  # accepts, and never says a word
            s.listen()
        with pytest.raises(ConnectionError, match="no Dask scheduler answered at 'tcp://"):
            ordered_map(len, [], address=f"tcp://127.0.0.1:{s.getsockname()[1]}", window=1)


WITHOUT_INFERKIT = """
import sys
sys.modules["inferkit"] = None
from distributed.cli.dask_worker import main
main()
"""


def test_a_cluster_that_cannot_do_the_work_is_told(monkeypatch):
    quiet = {"dashboard_address": None, "silence_logs": logging.CRITICAL, "host": "127.0.0.1"}
    with LocalCluster(n_workers=0, **quiet) as bare:
        with pytest.raises(ConnectionError, match="has no workers; start some: dask worker tcp"):
            mapped(len, ["a"], bare.scheduler_address)
        command = [sys.executable, "-c", WITHOUT_INFERKIT, bare.scheduler_address, "--no-nanny", "--no-dashboard"]
        worker = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            while not bare.scheduler.workers:
                time.sleep(0.02)
            with pytest.raises(
                ConnectionError, match=r"worker tcp.* expected .*inferkit .*ModuleNotFoundError.*Install"
            ):
                mapped(len, ["a"], bare.scheduler_address)
        finally:
            worker.kill()
            worker.wait()


def test_a_cluster_lost_on_the_way_ends_the_run(monkeypatch):
    monkeypatch.setattr(_dask, "WORKERLESS_S", 1.0)
    quiet = {"dashboard_address": None, "silence_logs": logging.CRITICAL, "host": "127.0.0.1", "processes": False}
    with LocalCluster(n_workers=1, threads_per_worker=1, protocol="tcp://", **quiet) as brief:
        with closing(
            ordered_map(lambda x: (time.sleep(0.05), x)[1], range(99), address=brief.scheduler_address, window=3)
        ) as on:
            assert next(on) == 0
            brief.scale(0)
            with pytest.raises(ConnectionError, match="has had no worker for 1 s"):
                list(on)
        brief.scale(1)
        brief.wait_for_workers(1, 20)
        results = ordered_map(lambda x: (time.sleep(0.05), x)[1], range(99), address=brief.scheduler_address, window=3)
        assert next(results) == 0
    with pytest.raises(ConnectionError, match="its scheduler is gone"):
        list(results)


# -- what is left behind ---------------------------------------------------------------------------

SCRIPT = """
import asyncio, threading
from inferkit.batch._dask import ordered_map
from beside import step

def slow(x):  # of this very script, which has no __main__ guard; step is of a module beside it
    return step(x)

async def cell():  # as in a notebook, an event loop runs in this thread
    for x in ordered_map(slow, range(100_000), n_workers=2, window=4):
        if x == 3:
            print("running", flush=True)

try:
    asyncio.new_event_loop().run_until_complete(cell())
except KeyboardInterrupt:
    others = [t for t in threading.enumerate() if t.name != "MainThread" and not t.name.startswith("Dask-Offload")]
    for thread in others:  # where Dask's profiler runs, it looks every 10 ms whether to end
        thread.join(10)
    print("interrupted", [t.name for t in others if t.is_alive()])
"""


def start_script(folder: Path) -> subprocess.Popen[str]:
    (folder / "script.py").write_text(SCRIPT)
    (folder / "beside.py").write_text("import time\n\ndef step(x):\n    time.sleep(0.01)\n    return x + 1\n")
    (folder / "tmp").mkdir()
    env = {**os.environ, "TMPDIR": str(folder / "tmp")}
    script = [sys.executable, "script.py"]
    return subprocess.Popen(script, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read_until(process, word: str) -> None:
    for line in process.stdout:
        if word in line:
            return
    raise AssertionError(f"it ended: {process.stderr.read()}")


def workers_in(folder: Path) -> list[int]:
    marked = str(folder)
    return [p.pid for p in psutil.process_iter(["cmdline"]) if any(marked in a for a in p.info["cmdline"] or ())]


@pytest.mark.rotated
def test_a_script_without_a_guard_runs_and_ctrl_c_leaves_nothing_behind(tmp_path):
    with start_script(tmp_path) as process:
        read_until(process, "running")
        assert len(workers_in(tmp_path)) == 2
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.strip() == "interrupted []"
    assert not err
    assert not workers_in(tmp_path)
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.rotated
def test_workers_end_when_the_run_is_killed(tmp_path):
    with start_script(tmp_path) as process:
        read_until(process, "running")
        process.kill()
        process.communicate()
    end = time.monotonic() + 60
    while workers_in(tmp_path) and time.monotonic() < end:
        time.sleep(0.1)
    assert not workers_in(tmp_path)
