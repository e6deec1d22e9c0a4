"""Measure what the design promises, and print it beside its budget: ``make bench``.

Nothing here asserts: a busy machine is no bug. What is compared is measured side by side in one run, in
turns, and shown as the median of the rounds' ratios with their spread.
"""

import random
import statistics
import subprocess
import sys
from time import perf_counter_ns

import numpy as np

ROUNDS, CALLS = 60, 400


def spread(values: list[float], digits: int = 2) -> str:
    """Return the median of some values, and the middle 80 % of them."""
    low, high = np.percentile(values, [10, 90])
    return f"{statistics.median(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def time_us(call, calls: int = CALLS) -> float:
    """Return the mean time of a call, in microseconds."""
    start = perf_counter_ns()
    for _ in range(calls):
        call()
    return (perf_counter_ns() - start) / calls / 1000


def bench_predict_one(name: str) -> None:
    """Compare `predict_one`, checks included, with the bare LiteRT call for the same picture."""
    from inferkit.datasets import load_digits
    from inferkit.predictor import digit_reader

    reader = digit_reader(name)
    picture = load_digits().images[7]
    row = picture[None] / np.float32(16)
    interpreter = reader.backend.model._interpreter
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()

    def bare():
        interpreter.set_tensor(taken["index"], row)
        interpreter.invoke()
        return interpreter.get_tensor(given["index"])

    def ours():
        return reader.predict_one(picture)

    times: dict[str, list[float]] = {"bare": [], "ours": []}
    time_us(bare), time_us(ours)
    for _ in range(ROUNDS):
        for label, call in random.sample([("bare", bare), ("ours", ours)], 2):
            times[label].append(time_us(call))
    ratios = [ours / bare for ours, bare in zip(times["ours"], times["bare"], strict=True)]
    print(f"predict_one, {name}: bare {spread(times['bare'])} µs, checked {spread(times['ours'])} µs")
    print(f"    ratio {spread(ratios)}; budget 1.5 at the median")


def bench_import() -> None:
    """Time ``import inferkit`` after NumPy is there, in fresh processes: NumPy's own time varies by more than that."""
    code = "import numpy, time; t = time.perf_counter(); import inferkit; print(1000 * (time.perf_counter() - t))"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, check=True) for _ in range(15)]
    print(f"import inferkit, beyond numpy: {spread([float(run.stdout) for run in runs])} ms; budget 60 ms")


def main() -> None:
    """Run all."""
    bench_import()
    for name in ("digits-cnn", "digits-cnn-int8", "digits-mlp"):
        bench_predict_one(name)
    print("The pad's latency is printed by the browser tests: python -m tests browser")


if __name__ == "__main__":
    main()
