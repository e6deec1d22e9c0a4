"""Measure batch inference beside a loop by hand, joblib, Dask alone and scikit-learn: ``python -m tests.bench_batch``.

All that is compared is run in turns, in one process, and answers the same rows from the same array; that the answers
are equal is checked. What a part costs to start is shown by itself, and is in no rate. Peaks of memory are those of
processes that do nothing else. Nothing here asserts a time.
"""

import argparse
import logging
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inferkit.batch import predict_batch
from inferkit.benchmark import run_in_child
from inferkit.datasets import load_digits
from inferkit.devices import describe
from inferkit.models import load_reference
from inferkit.predictor import Predictor, digit_reader

ROWS, ROUNDS = 1_000_000, 9
Run = Callable[[], Any]


def pictures(n: int) -> np.ndarray:
    """Return so many pictures of digits, float32."""
    some = load_digits().images.astype(np.float32)
    return np.resize(some, (n, 8, 8))


def make_interpreter(content: bytes, rows: int) -> Any:
    """Return a bare interpreter that is ready for batches of so many rows."""
    from ai_edge_litert.interpreter import Interpreter

    bare = Interpreter(model_content=content, num_threads=1)
    bare.resize_tensor_input(bare.get_input_details()[0]["index"], (rows, 8, 8))
    bare.allocate_tensors()
    return bare


def by_hand(content: bytes, X: np.ndarray, threads: int, rows: int) -> np.ndarray:
    """Answer with nothing but NumPy, threads and the runtime: the quickest loop that we know how to write."""
    labels = np.empty(len(X), dtype=np.int64)
    edges = np.linspace(0, len(X), threads + 1).astype(int)

    def work(start: int, stop: int) -> None:
        bare = make_interpreter(content, rows)
        taken, given = bare.get_input_details()[0]["index"], bare.get_output_details()[0]["index"]
        for i in range(start, stop, rows):
            some = X[i : min(i + rows, stop)] / np.float32(16)
            if len(some) < rows:
                bare.resize_tensor_input(taken, some.shape)
                bare.allocate_tensors()
            bare.set_tensor(taken, some)
            bare.invoke()
            labels[i : i + len(some)] = bare.get_tensor(given).argmax(axis=1)

    workers = [threading.Thread(target=work, args=edges[i : i + 2]) for i in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return labels


def answer_chunk(model: Any, some: np.ndarray, rows: int = 256) -> np.ndarray:
    """Answer one chunk, batch by batch: what joblib and Dask are given."""
    parts = [model(some[i : i + rows] / np.float32(16)).argmax(axis=1) for i in range(0, len(some), rows)]
    return np.concatenate(parts)


def best_rows(content: bytes, X: np.ndarray, threads: int) -> int:
    """Return the batch size that is the best for the loop by hand."""
    sizes, seconds = (128, 256, 512, 1024), {}
    for _ in range(3):
        for size in sizes:
            start = time.perf_counter()
            by_hand(content, X[:100_000], threads, size)
            seconds[size] = min(seconds.get(size, np.inf), time.perf_counter() - start)
    return min(seconds, key=seconds.__getitem__)


def in_turns(runs: dict[str, Run], rounds: int, n: int) -> dict[str, list[float]]:
    """Run each in every round, in an order that turns; return rows a second."""
    rates: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            start = time.perf_counter()
            runs[name]()
            rates[name].append(n / (time.perf_counter() - start))
    return rates


def report(rates: dict[str, list[float]], ours: str) -> None:
    """Print median rates, and the ratios of the rounds with an interval for their median."""
    for name, found in rates.items():
        words = f"    {name:<34}{statistics.median(found):>11,.0f} rows/s ({min(found):,.0f} to {max(found):,.0f})"
        if name != ours:
            ratios = sorted(a / b for a, b in zip(rates[ours], found, strict=True))
            low, high = median_interval(ratios)
            words += f"; ours is {statistics.median(ratios):.2f} of it ({low:.2f} to {high:.2f})"
        print(words)


def median_interval(ratios: list[float]) -> tuple[float, float]:
    """Return the two order statistics that hold the median with 95 % confidence; the extremes if there are few."""
    from scipy.stats import binom

    k = int(binom.ppf(0.025, len(ratios), 0.5))
    return ratios[max(0, k - 1)], ratios[min(len(ratios) - 1, len(ratios) - k)]


def bench_digits(n: int, rounds: int, *, with_dask: bool = True) -> None:
    """Compare on the digits network, a million pictures in memory."""
    import joblib

    threads = max(1, round(describe().cores_granted))
    reader, model, X = digit_reader(), load_reference("digits-cnn"), pictures(n)
    content = model.content
    rows = best_rows(content, X, threads)
    chunk = 16_384
    cuts = range(0, n, chunk)

    def with_joblib() -> np.ndarray:
        jobs = (joblib.delayed(answer_chunk)(model, X[i : i + chunk]) for i in cuts)
        return np.concatenate(joblib.Parallel(n_jobs=threads, prefer="threads")(jobs))

    runs: dict[str, Run] = {
        f"by hand, batches of {rows}": lambda: by_hand(content, X, threads, rows),
        "predict_batch": lambda: predict_batch(reader, X, n_workers=threads, progress=False).answers,
        "joblib, threads": with_joblib,
    }
    print(f"Batch, {n:,} digits, {threads} threads, median of {rounds} rounds:")
    cluster = None
    if with_dask:
        from distributed import Client, LocalCluster

        start = time.perf_counter()
        cluster = LocalCluster(
            n_workers=threads,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        )
        client = Client(cluster, set_as_default=False)
        client.submit(answer_chunk, model, X[:10], pure=False).result()
        print(f"    Dask alone needs {time.perf_counter() - start:.1f} s to start its processes")

        def with_dask_alone() -> np.ndarray:
            sent = client.scatter(model, broadcast=True)
            futures = [client.submit(answer_chunk, sent, X[i : i + chunk], pure=False) for i in cuts]
            return np.concatenate(client.gather(futures))

        runs["Dask alone"] = with_dask_alone
    expected = reader.predict(X[:20_000])
    for name, run in runs.items():
        assert np.array_equal(run()[:20_000], expected), name
    report(in_turns(runs, rounds, n), "predict_batch")
    start = time.perf_counter()
    predict_batch(reader, X[:1], progress=False)
    print(f"    predict_batch needs {1000 * (time.perf_counter() - start):.1f} ms for one row: its start")
    if cluster is not None:
        client.close()
        cluster.close()


def bench_table(n: int, rounds: int) -> None:
    """Compare with scikit-learn's own `predict`: a model that does next to nothing for a row, and two that do more."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X = np.random.default_rng(0).normal(size=(n, 20))
    y = X[:5000, 0] > 0
    models = {
        "scaler and logistic regression": make_pipeline(StandardScaler(), LogisticRegression()),
        "a network of 64 and 64 units": MLPClassifier((64, 64), random_state=0),
        "a forest of 50 trees": RandomForestClassifier(50, random_state=0),
    }
    for name, model in models.items():
        predictor = Predictor(model.fit(X[:5000], y))
        runs: dict[str, Run] = {
            "scikit-learn's predict": lambda model=model: model.predict(X),
            "predict_batch": lambda predictor=predictor: predict_batch(predictor, X, progress=False).answers,
        }
        print(f"Batch, {n:,} rows of 20 numbers, {name}, median of {rounds} rounds:")
        assert np.array_equal(*(run() for run in runs.values())), name
        report(in_turns(runs, rounds, n), "predict_batch")


def peak(n, kind, folder):  # type: ignore[no-untyped-def]  # its text runs in the child
    """Answer so many pictures: a stream or a file by `predict_batch`, or an array by hand."""
    from pathlib import Path

    import numpy as np

    from inferkit.batch import predict_batch
    from inferkit.datasets import load_digits
    from inferkit.predictor import digit_reader

    some = load_digits().images.astype(np.float32)
    if kind == "by hand":
        import tests.bench_batch as bench

        X = np.load(Path(folder) / "x.npy")
        return bench.by_hand(digit_reader().backend.model.content, X, 2, 256).tolist()[:3]
    stream = (np.resize(np.roll(some, -start, axis=0), (min(1797, n - start), 8, 8)) for start in range(0, n, 1797))
    source = stream if kind == "stream" else Path(folder) / "x.npy"
    result = predict_batch(digit_reader(), source, Path(folder) / "y.npy", batch_size=256, progress=False)
    return [result.n_rows, result.rows_per_s]


def bench_memory(n: int) -> None:
    """Print the peaks of processes that answer few rows and many."""
    print("Batch, the most memory that the process held:")
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "x.npy"), pictures(n))
        for kind in ("file", "by hand"):
            print(f"    {n:>10,} rows, {kind}: {run_in_child(peak, n, kind, folder, timeout_s=600).peak_mb:,.0f} MB")
        for rows in (n // 100, n // 10, n, 10 * n):
            found = run_in_child(peak, rows, "stream", folder, timeout_s=1800)
            print(f"    {rows:>10,} rows, stream: {found.peak_mb:,.0f} MB, {found.value[1]:,.0f} rows/s")


def main(arguments: Sequence[str] = ()) -> None:
    """Run all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", choices=("digits", "table", "memory"))
    chosen = parser.parse_args(arguments)
    if chosen.only in (None, "digits"):
        bench_digits(chosen.rows, chosen.rounds)
    if chosen.only in (None, "table"):
        bench_table(chosen.rows, chosen.rounds)
    if chosen.only in (None, "memory"):
        bench_memory(chosen.rows)


if __name__ == "__main__":
    main(sys.argv[1:])
