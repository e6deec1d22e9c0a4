"""Measure what the design promises, and print it beside its budget: ``make bench``, or ``make bench ARGS="PART ..."``.

The parts are predictor, batch, serving and optimize. Nothing here asserts: a busy machine is no bug. What is compared
is measured side by side in one run, in turns, and shown as the median of the rounds' ratios with their spread.
"""

import statistics
import subprocess
import sys

import numpy as np

from tests import bench_batch, bench_optimize, bench_serving

ROUNDS, CALLS = 60, 12_000


def spread(values: list[float], digits: int = 2) -> str:
    """Return the median of some values, and the middle 80 % of them."""
    low, high = np.percentile(values, [10, 90])
    return f"{statistics.median(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def bench_predict_one(name: str) -> None:
    """Compare `predict_one`, checks included, with the bare LiteRT call for the same picture."""
    from inferkit.benchmark import compare
    from inferkit.datasets import load_digits
    from inferkit.predictor import digit_reader

    reader = digit_reader(name)
    picture = load_digits().images[7]
    row = picture[None] / np.float32(16)
    interpreter = reader.backend.model._interpreter
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()

    def bare(_: object) -> object:
        interpreter.set_tensor(taken["index"], row)
        interpreter.invoke()
        return interpreter.get_tensor(given["index"])

    found = compare({"bare": bare, "checked": reader}, picture[None], n=CALLS, rounds=ROUNDS)
    times = [f"{label} {spread(list(1000 * found.rounds[label]))} µs" for label in found.rounds]
    print(f"predict_one, {name}: {', '.join(times)}")
    print(f"    {found.ratio('checked', 'bare')}; budget 1.5 at the median")
    print(*(f"    {note}" for note in found.latencies["bare"].notes), sep="\n")


def bench_import() -> None:
    """Time ``import inferkit`` after NumPy is there, in fresh processes: NumPy's own time varies by more than that."""
    code = "import numpy, time; t = time.perf_counter(); import inferkit; print(1000 * (time.perf_counter() - t))"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, check=True) for _ in range(15)]
    print(f"import inferkit, beyond numpy: {spread([float(run.stdout) for run in runs])} ms; budget 60 ms")


def bench_predictor() -> None:
    """Print what importing costs, and one answer."""
    bench_import()
    for name in ("digits-cnn", "digits-cnn-int8", "digits-mlp"):
        bench_predict_one(name)
    print("The pad's latency is printed by the browser tests: python -m tests browser")


PARTS = {
    "predictor": bench_predictor,
    "batch": bench_batch.main,
    "serving": bench_serving.main,
    "optimize": bench_optimize.main,
}


def main(*parts: str) -> int:
    """Run the parts named, or all; return the exit code."""
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        print(f"expected parts from {', '.join(PARTS)}; got {', '.join(unknown)}", file=sys.stderr)
        return 2
    for part in parts or PARTS:
        PARTS[part]()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
