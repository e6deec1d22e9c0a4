"""A run that is killed, interrupted or starved goes on where it was, and ends with the bytes of one that was not."""

import json
import os
import re
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferkit import InputError
from inferkit.batch import predict_batch
from inferkit.predictor import ArraySpec, Predictor, digit_reader

ROOT = Path(__file__).parent.parent


def tenfold(X):
    """Return the first value of each row, times ten; a row with 13 has no answer."""
    return np.where(X[:, 0] == 13, np.nan, 10 * X[:, 0])


def model(function=tenfold):
    return Predictor(function, signature=ArraySpec((2,), "float64"), name="tenfold")


def rows(n=100):
    return np.column_stack([np.arange(n), np.ones(n)]).astype(float)


OPTIONS = {"batch_size": 4, "checkpoint_rows": 12}


class Stopper:
    """A model that stops before a row is answered, a number of times."""

    def __init__(self, row, error, times=1):
        self.row, self.error, self.times = row, error, times
        self.answered = 0

    def __call__(self, X):
        if self.row in X[:, 0] and self.times:
            self.times -= 1
            raise self.error
        self.answered += len(X)
        return tenfold(X)


def stopping(monkeypatch, row, error, times=1):
    """Return a predictor that stops, and that no fingerprint tells from the sound one."""
    monkeypatch.setattr("inferkit.batch._predict.fingerprint", lambda predictor: {"name": predictor.name})
    return model(Stopper(row, error, times))


def wanted(folder, name, source=None):
    """Return the bytes of an undisturbed run: the answers, and the rejected rows."""
    (folder / "calm").mkdir(exist_ok=True)
    result = predict_batch(model(), rows() if source is None else source, folder / "calm" / name, **OPTIONS)
    return result.sink.read_bytes(), result.rejected_path.read_bytes()


# -- SIGKILL -----------------------------------------------------------------------------------

ZYGOTE = textwrap.dedent('''
    """Run one job in a forked child for each line of standard input, with a plan of its own death."""
    import json, os, signal, sys
    from pathlib import Path
    import numpy as np, pandas as pd, pyarrow.parquet
    from inferkit.batch import predict_batch
    from inferkit.predictor import ArraySpec, Predictor

    def tenfold(X):
        sys.audit("batch")
        return np.where(X[:, 0] == 13, np.nan, 10 * X[:, 0])

    def die_at(event, batch):
        """Die at the so-and-so-manieth time that a file is opened, renamed or removed, or that rows are answered."""
        left = {"file": event, "batch": batch}
        targets = (job["sink"], FOLDER + "/out.rejected.csv")
        def hook(event, args):
            if event == "open" and str(args[0]) in targets and args[2] & (os.O_WRONLY | os.O_RDWR):
                os._exit(3)  # a file that others may read must get its content by its name alone
            files = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree")
            kind = "file" if event in files and FOLDER in str(args[0]) else event
            if kind in left:
                left[kind] -= 1
                if left[kind] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)

    for line in sys.stdin:
        job = json.loads(line)
        FOLDER = job["folder"]
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                die_at(job.get("event", -1), job.get("batch", -1))
                source = job["source"]
                if source == "stream":
                    X = np.column_stack([np.arange(100), np.ones(100)]).astype(float)
                    source = (X[i : i + 7] for i in range(0, 100, 7))
                predict_batch(
                    Predictor(tenfold, signature=ArraySpec((2,), "float64"), name="tenfold"), source, job["sink"],
                    batch_size=4, checkpoint_rows=36, n_workers=job["n_workers"], progress=False,
                    id_column=job["id_column"],
                )
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        status = os.waitpid(pid, 0)[1]
        print(json.dumps({"killed": os.WIFSIGNALED(status), "code": os.waitstatus_to_exitcode(status)}), flush=True)
''')


@pytest.fixture(scope="module")
def zygote(tmp_path_factory):
    """Start a process that has all modules loaded, so that a run and its death take milliseconds."""
    path = tmp_path_factory.mktemp("zygote") / "zygote.py"
    path.write_text(ZYGOTE)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    child = subprocess.Popen(
        [sys.executable, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )

    def run(**job):
        child.stdin.write(json.dumps(job) + "\n")
        child.stdin.flush()
        return json.loads(child.stdout.readline())

    yield run
    child.stdin.close()
    child.wait(timeout=20)
    child.stdout.close()


def sources(folder):
    """Make the same rows as a CSV file and a Parquet file."""
    frame = pd.DataFrame(rows(), columns=["a", "b"]).assign(who=[f"n{i % 90}" for i in range(100)])
    frame.to_csv(folder / "in.csv", index=False)
    frame.to_parquet(folder / "in.parquet", row_group_size=30)
    return {"csv": str(folder / "in.csv"), "parquet": str(folder / "in.parquet"), "stream": "stream"}


def job_of(folder, source, suffix, n_workers):
    return {
        "folder": str(folder), "source": sources(folder)[source], "sink": str(folder / f"out.{suffix}"),
        "n_workers": n_workers, "id_column": None if source == "stream" else "who",
    }  # fmt: skip


def outcome(folder, suffix):
    return (folder / f"out.{suffix}").read_bytes(), (folder / "out.rejected.csv").read_bytes()


@pytest.mark.parametrize(
    ("source", "suffix", "n_workers", "step"),
    [("csv", "csv", 2, 2), ("parquet", "parquet", 1, 4), ("stream", "npy", 1, 4)],
)
def test_it_may_be_killed_at_any_file_that_it_touches(zygote, tmp_path, source, suffix, n_workers, step):
    """One run for each instant at which a file is opened, renamed or removed: killed there, then run again."""
    job = job_of(tmp_path, source, suffix, n_workers)
    assert zygote(**job) == {"killed": False, "code": 0}
    expected = outcome(tmp_path, suffix)
    before = {path.name for path in tmp_path.iterdir()}
    for path in (tmp_path / f"out.{suffix}", tmp_path / "out.rejected.csv"):
        path.write_bytes(b"of the day before")
    deaths, event = 0, 1
    while True:
        died = zygote(**job, event=event)["killed"]
        if not died:
            break
        deaths += 1
        out = (tmp_path / f"out.{suffix}").read_bytes()
        assert out in (b"of the day before", expected[0])  # whole or not at all
        assert zygote(**job) == {"killed": False, "code": 0}
        assert outcome(tmp_path, suffix) == expected
        assert {path.name for path in tmp_path.iterdir()} == before
        event += step
        if event % 2:
            (tmp_path / f"out.{suffix}").write_bytes(b"of the day before")
    assert deaths * step > 40
    assert outcome(tmp_path, suffix) == expected


@pytest.mark.parametrize("seed", range(4))
def test_it_may_be_killed_again_and_again(zygote, tmp_path, seed):
    """Killed at a random one of the 25 batches, eight times; what is left over is for one more run."""
    rng = np.random.default_rng(seed)
    source, suffix = [("csv", "csv"), ("parquet", "csv"), ("stream", "csv"), ("csv", "parquet")][seed]
    job = job_of(tmp_path, source, suffix, 1 + seed % 2)
    assert zygote(**job)["code"] == 0
    expected = outcome(tmp_path, suffix)
    (tmp_path / f"out.{suffix}").unlink()
    killed = [zygote(**job, batch=int(number))["killed"] for number in rng.integers(1, 25, size=8)]
    assert killed[0]
    assert zygote(**job) == {"killed": False, "code": 0}
    assert outcome(tmp_path, suffix) == expected
    assert not list(tmp_path.glob(".*"))


# -- interrupts and errors ---------------------------------------------------------------------


@pytest.mark.parametrize("n_workers", [1, 2])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), ConnectionError("gone")])
def test_an_interrupted_run_says_how_to_go_on_and_goes_on(tmp_path, monkeypatch, error, n_workers):
    expected = wanted(tmp_path, "a.csv")
    predictor = stopping(monkeypatch, 50, error)
    with pytest.raises(type(error)) as caught:
        predict_batch(predictor, rows(), tmp_path / "a.csv", n_workers=n_workers, **OPTIONS)
    assert re.match(
        r"48 rows are finished and kept in '.*\.a\.csv\.checkpoint': the same call goes on", caught.value.__notes__[0]
    )
    assert not (tmp_path / "a.csv").exists()
    assert not [t for t in threading.enumerate() if t.name.startswith("predict_batch")]
    predictor.backend.model.answered = 0
    result = predict_batch(predictor, rows(), tmp_path / "a.csv", n_workers=n_workers, **OPTIONS)
    assert result.n_resumed == 48
    assert predictor.backend.model.answered == 52  # nothing twice
    assert (result.sink.read_bytes(), result.rejected_path.read_bytes()) == expected
    assert (result.n_rows, result.n_rejected, [one.row for one in result.rejected]) == (100, 1, [13])


def test_a_source_that_fails_on_the_way_keeps_what_was_done(tmp_path):
    def broken():
        yield rows()[:30]
        yield rows()[30:45]
        raise OSError("the network is gone")

    with pytest.raises(OSError, match="the network is gone") as caught:
        predict_batch(model(), broken(), tmp_path / "a.csv", **OPTIONS)
    assert caught.value.__notes__[0].startswith("36 rows are finished")
    result = predict_batch(model(), iter([rows()]), tmp_path / "a.csv", **OPTIONS)
    assert result.n_resumed == 36
    assert (result.sink.read_bytes(), result.rejected_path.read_bytes()) == wanted(tmp_path, "a.csv")


def test_a_run_that_fails_before_anything_is_done_leaves_nothing(tmp_path, monkeypatch):
    with pytest.raises(ConnectionError):
        predict_batch(stopping(monkeypatch, 0, ConnectionError()), rows(), tmp_path / "a.csv", **OPTIONS)
    assert list(tmp_path.iterdir()) == []


def interrupted(folder, monkeypatch, source=None, **options):
    """Leave a checkpoint of 48 rows behind."""
    with pytest.raises(KeyboardInterrupt):
        predict_batch(
            stopping(monkeypatch, 50, KeyboardInterrupt()), rows() if source is None else source, folder / "a.csv",
            **(OPTIONS | options),
        )  # fmt: skip
    monkeypatch.undo()
    return folder / ".a.csv.checkpoint"


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "marker", "torn marker", "left over"])
def test_a_damaged_part_is_answered_again(tmp_path, monkeypatch, damage):
    folder = interrupted(tmp_path, monkeypatch)
    part, marker = folder / "000001.csv", folder / "000001.json"
    content = part.read_bytes()
    match damage:
        case "flip":
            part.write_bytes(content.replace(b"120.0", b"121.0"))
        case "cut":
            part.write_bytes(content[:-3])
        case "gone":
            part.unlink()
        case "marker":
            marker.unlink()
        case "torn marker":
            marker.write_bytes(marker.read_bytes()[:20])
        case "left over":  # of a part that was being written
            marker.unlink()
            (folder / "000001.rejected.csv").write_text("12,never\n")
    monkeypatch.setattr("inferkit.batch._predict.fingerprint", lambda predictor: {"name": predictor.name})
    result = predict_batch(model(), rows(), tmp_path / "a.csv", **OPTIONS)
    assert result.n_resumed == 12
    assert (result.sink.read_bytes(), result.rejected_path.read_bytes()) == wanted(tmp_path, "a.csv")


@pytest.mark.parametrize("plan", ["gone", "torn", "another's"])
def test_what_an_earlier_job_left_is_never_taken_for_this_one_s(tmp_path, monkeypatch, plan):
    """Parts without a plan, or after a part that is lost: a crash in the clearing up could leave them."""
    folder = interrupted(tmp_path, monkeypatch)
    match plan:
        case "gone":
            (folder / "plan.json").unlink()
        case "torn":
            (folder / "plan.json").write_bytes(b'{"ver')
        case _:
            (folder / "000000.json").unlink()
    source = rows() + 1000
    with pytest.raises(KeyboardInterrupt):
        predict_batch(stopping(monkeypatch, 1014, KeyboardInterrupt()), source, tmp_path / "a.csv", **OPTIONS)
    result = predict_batch(stopping(monkeypatch, None, None), source, tmp_path / "a.csv", **OPTIONS)
    assert result.n_resumed == 12
    assert result.sink.read_bytes() == wanted(tmp_path, "a.csv", source)[0]


def other(X):
    """Return something else."""
    return 11 * X[:, 0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"predictor": model(other)}, "the predictor has changed"),
        ({"source": rows() + 1}, "the source has changed"),
        ({"source": rows(101)}, "the source has changed"),
        ({"batch_size": 5}, "batch_size was 4, and is 5 now"),
        ({"checkpoint_rows": 16}, "checkpoint_rows was 12, and is 16 now"),
        ({"answer": "outputs"}, "answer was 'predict', and is 'outputs' now"),
        ({"id_column": "a", "columns": ["a", "b"]}, "id_column was None, and is 'a' now"),
        ({"columns": ["b", "a"]}, "columns has changed"),
    ],
)
def test_the_checkpoint_of_another_job_is_left_alone(tmp_path, monkeypatch, change, words):
    def columns(X):
        return {"a": X[:, 0], "b": X[:, 1]}

    real = __import__("inferkit.batch._predict", fromlist=["fingerprint"]).fingerprint
    fingerprint = lambda predictor: real(model() if isinstance(predictor.backend.model, Stopper) else predictor)  # noqa: E731
    monkeypatch.setattr("inferkit.batch._predict.fingerprint", fingerprint)
    stopper = model(Stopper(50, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        predict_batch(stopper, columns(rows()), tmp_path / "a.csv", **OPTIONS)
    kept = {path.name: path.read_bytes() for path in (tmp_path / ".a.csv.checkpoint").iterdir()}
    options = OPTIONS | {"predictor": model(), "source": rows()} | change
    predictor, source = options.pop("predictor"), columns(options.pop("source"))
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        predict_batch(predictor, source, tmp_path / "a.csv", **options)
    assert "belongs to another job" in str(caught.value)
    assert "delete the folder to begin anew" in str(caught.value)
    after = {path.name: path.read_bytes() for path in (tmp_path / ".a.csv.checkpoint").iterdir()}
    assert after.keys() == kept.keys()
    assert {n: c for n, c in after.items() if n != "lock"} == {n: c for n, c in kept.items() if n != "lock"}
    result = predict_batch(predictor, source, tmp_path / "a.csv", checkpoint=tmp_path / "another", **options)
    assert result.n_resumed == 0
    assert predict_batch(model(), columns(rows()), tmp_path / "a.csv", **OPTIONS).n_resumed == 48


def test_auto_takes_the_size_that_the_first_run_found(tmp_path, monkeypatch):
    interrupted(tmp_path, monkeypatch)
    monkeypatch.setattr("inferkit.batch._predict.fingerprint", lambda predictor: {"name": predictor.name})
    result = predict_batch(model(), rows(), tmp_path / "a.csv", checkpoint_rows=12)
    assert (result.n_resumed, result.batch_size) == (48, 4)


@pytest.mark.parametrize(
    ("again", "message"),
    [
        ([rows()[:20], rows()[20:] + 1], "the stream gives other rows than before"),
        ([rows()[::-1]], "the stream gives other rows than before"),
        ([rows()[:40]], "the stream gives other rows than before"),
        ([rows()[:, ::-1]], "the stream gives other rows than before"),
    ],
)
def test_a_stream_that_gives_other_rows_is_found_out(tmp_path, monkeypatch, again, message):
    interrupted(tmp_path, monkeypatch, source=iter([rows()[:33], rows()[33:]]))
    monkeypatch.setattr("inferkit.batch._predict.fingerprint", lambda predictor: {"name": predictor.name})
    with pytest.raises(InputError, match=message):
        predict_batch(model(), iter(again), tmp_path / "a.csv", **OPTIONS)
    result = predict_batch(model(), (rows()[i : i + 1] for i in range(100)), tmp_path / "a.csv", **OPTIONS)
    assert result.n_resumed == 48
    assert (result.sink.read_bytes(), result.rejected_path.read_bytes()) == wanted(tmp_path, "a.csv")


@given(st.lists(st.integers(0, 99), max_size=4), st.sampled_from(["array", "stream", "csv"]), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_any_series_of_interrupts_ends_with_the_same_bytes(tmp_path_factory, stops, kind, n_workers):
    folder = tmp_path_factory.mktemp("stops")
    pd.DataFrame(rows(), columns=["a", "b"]).to_csv(folder / "in.csv", index=False)

    def source():
        if kind == "csv":
            return folder / "in.csv"
        return iter([rows()[:50], rows()[50:]]) if kind == "stream" else rows()

    expected = wanted(folder, "a.csv")
    with pytest.MonkeyPatch.context() as patch:
        for row in [*stops, None]:
            predictor = stopping(patch, row, KeyboardInterrupt())
            try:
                result = predict_batch(predictor, source(), folder / "a.csv", n_workers=n_workers, **OPTIONS)
            except KeyboardInterrupt:
                continue
            break
    assert (result.sink.read_bytes(), result.rejected_path.read_bytes()) == expected


# -- two at once -------------------------------------------------------------------------------


def test_two_runs_do_not_share_a_checkpoint(tmp_path):
    inside, go_on = threading.Event(), threading.Event()

    def waiting(X):
        inside.set()
        assert go_on.wait(20)
        return tenfold(X)

    first = threading.Thread(target=lambda: predict_batch(model(waiting), rows(), tmp_path / "a.csv", **OPTIONS))
    first.start()
    assert inside.wait(20)
    try:
        with pytest.raises(RuntimeError, match=rf"another run \(process {os.getpid()}\) works on the checkpoint"):
            predict_batch(model(), rows(), tmp_path / "a.csv", **OPTIONS)
    finally:
        go_on.set()
        first.join()
    assert (tmp_path / "a.csv").read_bytes() == wanted(tmp_path, "a.csv")[0]
    assert not (tmp_path / ".a.csv.checkpoint").exists()


# -- a full disk -------------------------------------------------------------------------------

STARVED = textwrap.dedent("""
    import os, resource, sys, numpy as np
    from inferkit.batch import predict_batch
    from inferkit.predictor import ArraySpec, Predictor

    def tenfold(X):
        return 10 * X

    limit, folder, suffix = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    room = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    X = np.arange(20_000.0).reshape(-1, 2)
    model = Predictor(tenfold, signature=ArraySpec((2,), "float64"), name="tenfold")
    for size, name in ((limit, "a"), (room, "a"), (room, "b")):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, room))
        try:
            sink = f"{folder}/{name}.{suffix}"
            print("resumed", predict_batch(model, X, sink, batch_size=100, checkpoint_rows=1000).n_resumed)
        except OSError as error:
            print(type(error).__name__, *getattr(error, "__notes__", ()))
        print(*sorted(os.listdir(folder)))
""")


@pytest.mark.parametrize(("suffix", "limit"), [("csv", 9_000), ("csv", 60_000), ("npy", 60_000), ("parquet", 60_000)])
def test_a_disk_that_is_full_costs_only_time(tmp_path, suffix, limit):
    """No part fits, or the parts fit and the whole does not: the error says so, and more room is all that is needed."""
    command = [sys.executable, "-c", STARVED, str(limit), str(tmp_path), suffix]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    starved, left, again, _, anew, _ = done.splitlines()
    assert f"a.{suffix}" not in left.split()
    assert ".whole" not in left
    assert starved.split()[0] == "OSError"
    rows = 10_000 if limit == 60_000 else 0
    assert ("10,000 rows are finished and kept" in starved) == bool(rows)
    assert (again, anew) == (f"resumed {rows}", "resumed 0")
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_real_models_end_with_the_same_bytes_too(tmp_path, monkeypatch):
    from inferkit.datasets import load_digits

    pictures = load_digits().images
    reader = digit_reader()
    predict_batch(reader, pictures, tmp_path / "calm.csv", answer="predict_proba", batch_size=64, checkpoint_rows=256)
    real = type(reader.backend.model).__call__
    calls = []

    def failing(self, *arrays, **named):
        calls.append(1)
        if len(calls) == 18:
            raise KeyboardInterrupt
        return real(self, *arrays, **named)

    monkeypatch.setattr(type(reader.backend.model), "__call__", failing)
    with pytest.raises(KeyboardInterrupt):
        predict_batch(reader, pictures, tmp_path / "a.csv", answer="predict_proba", batch_size=64, checkpoint_rows=256)
    result = predict_batch(
        digit_reader(), pictures, tmp_path / "a.csv", answer="predict_proba", batch_size=64, checkpoint_rows=256
    )
    assert result.n_resumed >= 256
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "calm.csv").read_bytes()
