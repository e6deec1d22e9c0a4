"""Memory does not grow with the rows: peaks of whole processes, beside those of a process that holds all rows."""

import pytest

from inferkit.benchmark import run_in_child


def stream(n, folder, hold):  # its text runs in the child
    from pathlib import Path

    import numpy as np

    from inferkit.batch import predict_batch
    from inferkit.predictor import ArraySpec, Predictor

    def batches():
        for start in range(0, n, 5000):
            rows = np.arange(start, min(start + 5000, n))
            columns = {f"x{i}": rows * 0.5 + i for i in range(10)}
            yield columns | {"who": [f"customer-{row}" for row in rows]}

    given = list(batches()) if hold else batches()
    mean = Predictor(lambda X: X.mean(axis=1), signature=ArraySpec((10,), "float64"))
    sink = Path(folder) / "out.csv"
    result = predict_batch(mean, iter(given), sink, id_column="who", batch_size=512, n_workers=2)
    assert (result.n_rows, result.duplicate_ids) == (n, 0)
    with sink.open() as f:
        assert sum(1 for _ in f) == n + 1
    return len(given) if hold else 0


def from_file(n, folder, kind):  # its text runs in the child
    from pathlib import Path

    import numpy as np

    from inferkit.batch import predict_batch
    from inferkit.predictor import ArraySpec, Predictor

    mean = Predictor(lambda X: X.mean(axis=1), signature=ArraySpec((10,), "float64"))
    source = Path(folder) / f"in.{kind}"
    result = predict_batch(mean, source, Path(folder) / f"out.{kind}", batch_size=512, n_workers=2)
    assert result.n_rows == n
    assert result.sink.stat().st_size > 4 * n
    return float(np.float64(0))


def write(n, folder, kind):  # its text runs in the child
    from pathlib import Path

    import numpy as np

    path = Path(folder) / f"in.{kind}"
    if kind == "npy":
        np.save(path, np.random.default_rng(0).normal(size=(n, 10)))
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    schema = pa.schema([(f"x{i}", pa.float64()) for i in range(10)])
    with pq.ParquetWriter(path, schema) as writer:  # row groups as large as pandas makes them
        for size in [min(500_000, n - start) for start in range(0, n, 500_000)]:
            writer.write_table(pa.table({f"x{i}": rng.normal(size=size) for i in range(10)}, schema=schema))


@pytest.mark.rotated
def test_a_stream_takes_the_same_memory_for_any_number_of_rows(tmp_path):
    """From 10,000 rows, which is less than a part, to a million; a list of the same rows is the control."""
    peaks = {n: run_in_child(stream, n, str(tmp_path), False).peak_mb for n in (10_000, 100_000, 1_000_000)}
    held = run_in_child(stream, 1_000_000, str(tmp_path), True).peak_mb
    print("MB at the peak:", {n: round(peak) for n, peak in peaks.items()}, "with all rows held:", round(held))
    assert peaks[1_000_000] - peaks[100_000] < 30
    assert peaks[1_000_000] - peaks[10_000] < 70
    assert held - peaks[1_000_000] > 100


@pytest.mark.rotated
@pytest.mark.parametrize("kind", ["npy", "parquet"])
def test_files_take_the_same_memory_for_any_number_of_rows(tmp_path, kind):
    """From one row group to three: a million rows are 80 MB, and a file that is read whole, or mapped, would show."""
    peaks = {}
    for n in (500_000, 1_500_000):
        run_in_child(write, n, str(tmp_path), kind)
        peaks[n] = run_in_child(from_file, n, str(tmp_path), kind).peak_mb
    print("MB at the peak:", {n: round(peak) for n, peak in peaks.items()})
    assert peaks[1_500_000] - peaks[500_000] < 35
