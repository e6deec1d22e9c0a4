"""`predict_batch`: the same answers as `predict`, each row once, whatever the cuts, the threads and the sink."""

import csv
import io
import pickle
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferkit import InputError
from inferkit.batch import BatchResult, _size, batch_size_curve, predict_batch
from inferkit.batch._answer import Answer, Task, divide
from inferkit.batch._collect import Store, fill_value, hashed
from inferkit.batch._fingerprint import fingerprint
from inferkit.batch._local import one_thread_each, ordered_map
from inferkit.batch._rows import Block, recut
from inferkit.batch._size import best_size
from inferkit.bayes import CompiledPosterior
from inferkit.benchmark import ThroughputResult
from inferkit.datasets import load_digits
from inferkit.predictor import (
    ArraySpec,
    Column,
    OutputSpec,
    Predictor,
    Scale,
    Signature,
    Softmax,
    TableSpec,
    TextSpec,
    digit_reader,
)

PICTURES = load_digits().images


def doubled(X):
    """Return the first value of each row, twice; module-level, so that it can be pickled."""
    return 2.0 * X[:, 0]


def line(function=doubled, width=2):
    return Predictor(function, signature=ArraySpec((width,), "float64", low=-1e9, high=1e9), name="line")


@pytest.fixture(scope="module")
def reader():
    return digit_reader()


@pytest.fixture(scope="module")
def expected(reader):
    return reader.predict(PICTURES), reader.predict_proba(PICTURES)


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as f:
        head, *rows = csv.reader(f)
    return head, rows


# -- the answers -------------------------------------------------------------------------------


@pytest.mark.parametrize("n_workers", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 7, 256, 5000, "auto"])
def test_it_answers_as_predict_does(reader, expected, batch_size, n_workers):
    result = predict_batch(reader, PICTURES, batch_size=batch_size, n_workers=n_workers)
    np.testing.assert_array_equal(result.answers, expected[0])
    assert result.ok.all()
    assert (result.n_rows, result.n_answered, result.n_rejected, result.rejected) == (1797, 1797, 0, ())


def test_every_kind_of_answer(reader, expected):
    ask = {
        name: predict_batch(reader, PICTURES, answer=name).answers for name in ("predict", "predict_proba", "outputs")
    }
    np.testing.assert_array_equal(ask["predict"], expected[0])
    np.testing.assert_array_equal(ask["predict_proba"], expected[1])
    np.testing.assert_array_equal(ask["outputs"], expected[1])


def test_several_outputs_come_by_name(tmp_path):
    outputs = (OutputSpec("sum"), OutputSpec("pair"), OutputSpec("sure", "probabilities", ("no", "yes")))
    two = Predictor(
        lambda X: {"sum": X.sum(1), "pair": X[:, :2], "sure": np.tile([0.25, 0.75], (len(X), 1))},
        signature=Signature(ArraySpec((3,), "float64"), outputs),
    )
    X = np.arange(12.0).reshape(4, 3)
    found = predict_batch(two, X, answer="outputs", batch_size=3).answers
    assert {name: value.tolist() for name, value in found.items()} == {
        "sum": X.sum(1).tolist(), "pair": X[:, :2].tolist(), "sure": [[0.25, 0.75]] * 4,
    }  # fmt: skip
    assert predict_batch(two, X).answers["sure"].tolist() == ["yes"] * 4
    predict_batch(two, X, tmp_path / "a.csv", answer="outputs")
    head, rows = read_csv(tmp_path / "a.csv")
    assert head == ["row", "sum", "pair_0", "pair_1", "sure_p_no", "sure_p_yes"]
    assert rows[1] == ["1", "12.0", "3.0", "4.0", "0.25", "0.75"]
    with pytest.raises(InputError, match="holds one output"):
        predict_batch(two, X, tmp_path / "a.npy")


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.npy"])
def test_files_hold_the_bits_of_predict(reader, expected, tmp_path, name):
    result = predict_batch(
        reader, PICTURES, tmp_path / name, answer="predict_proba", batch_size=50, checkpoint_rows=400
    )
    assert result.answers is None
    assert result.sink == tmp_path / name
    if name == "a.npy":
        found = np.load(tmp_path / name)
    elif name == "a.csv":
        head, rows = read_csv(tmp_path / name)
        assert head == ["row", *(f"p_{digit}" for digit in range(10))]
        assert [row[0] for row in rows] == [str(i) for i in range(1797)]
        found = np.array([row[1:] for row in rows], dtype=np.float32)
    else:
        frame = pd.read_parquet(tmp_path / name)
        assert frame["row"].tolist() == list(range(1797))
        found = frame.iloc[:, 1:].to_numpy()
        assert pq.ParquetFile(tmp_path / name).metadata.num_row_groups == 5  # one for each part of 400
    np.testing.assert_array_equal(found, expected[1])
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, "a.rejected.csv"])
    assert (tmp_path / "a.rejected.csv").read_text() == "row,reason\n"


def test_labels_and_values_in_files(reader, expected, tmp_path):
    predict_batch(reader, PICTURES, tmp_path / "a.csv")
    assert read_csv(tmp_path / "a.csv")[1] == [[str(i), str(digit)] for i, digit in enumerate(expected[0])]
    predict_batch(line(), [[0.1, 0], [1e8 / 3, 0]], tmp_path / "b.csv")
    assert [float(row[1]) for row in read_csv(tmp_path / "b.csv")[1]] == [0.2, 2e8 / 3]


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=60))
@settings(max_examples=25, deadline=None)
def test_csv_numbers_are_the_shortest_that_give_the_bits_back(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("floats") / "a.csv"
    single = Predictor(lambda X: X[:, 0], signature=ArraySpec((1,), "float32"))
    predict_batch(single, np.array(values, dtype=np.float32)[:, None], path, batch_size=8)
    for (_, text), value in zip(read_csv(path)[1], np.array(values, dtype=np.float32), strict=True):
        assert np.float32(text).tobytes() == value.tobytes()
        assert text == str(value)


def test_the_bytes_do_not_depend_on_threads_or_parts_in_memory(reader, tmp_path):
    for name, options in {
        "a": {"n_workers": 1}, "b": {"n_workers": 3}, "c": {"checkpoint": tmp_path / "elsewhere"},
    }.items():  # fmt: skip
        predict_batch(reader, PICTURES, tmp_path / f"{name}.parquet", batch_size=64, checkpoint_rows=300, **options)
    one, *others = [(tmp_path / f"{name}.parquet").read_bytes() for name in "abc"]
    assert others == [one, one]


def test_parts_are_whole_batches_and_no_larger_than_asked_for(tmp_path):
    """Seven batches of 1,000 would fit into a part. In two equal tasks, of 4,096 rows at most, it takes six."""
    X = np.zeros((20_500, 2))
    predict_batch(line(), X, tmp_path / "a.parquet", batch_size=1000, checkpoint_rows=7500)
    metadata = pq.ParquetFile(tmp_path / "a.parquet").metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [6000, 6000, 6000, 2500]


def test_an_array_is_filled(reader, expected):
    out = np.zeros((1797, 10), dtype=np.float64)
    result = predict_batch(reader, PICTURES, out, answer="predict_proba")
    np.testing.assert_array_equal(out, expected[1])
    assert np.shares_memory(result.answers, out)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((1797, 9)), r"expected an array of shape \(1797, 10\)"),
        (np.zeros((1797, 10), dtype=int), "that can hold float32"),
        (np.zeros((1700, 10)), "a place for each row"),
        (np.zeros((1800, 10)), "expected an array of 1,797 rows"),
    ],
)
def test_an_array_that_does_not_fit_is_refused(reader, array, message):
    with pytest.raises(InputError, match=message):
        predict_batch(reader, PICTURES, array, answer="predict_proba", batch_size=100)


def test_answers_in_memory_can_be_checkpointed_too(reader, expected, tmp_path):
    bad = PICTURES.copy()
    bad[700] = 99
    table = {f"p{i}": bad.reshape(-1, 64)[:, i] for i in range(64)} | {"name": [f"n{i}" for i in range(1797)]}
    plain = predict_batch(reader, table, id_column="name", batch_size=50)
    kept = predict_batch(reader, table, id_column="name", batch_size=50, checkpoint=tmp_path / "c", checkpoint_rows=300)
    np.testing.assert_array_equal(plain.answers, kept.answers)
    np.testing.assert_array_equal(plain.ok, kept.ok)
    assert list(plain.ids) == list(kept.ids)
    assert plain.rejected == kept.rejected
    assert not (tmp_path / "c").exists()


# -- poison ------------------------------------------------------------------------------------


def some_rows(n, width=2):
    return np.arange(float(n * width)).reshape(n, width)


@given(
    st.integers(1, 60), st.integers(1, 20), st.integers(12, 25), st.integers(1, 3),
    st.sets(st.integers(0, 59)), st.sets(st.integers(0, 59)), st.sets(st.integers(0, 59)), st.booleans(),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_each_row_is_exactly_once_answered_or_rejected(
    tmp_path_factory, n, batch_size, part, workers, unfit, raising, nan, in_file
):
    """Rows that break the contract, the model or arithmetic, in any places: only they are rejected."""

    def model(X):
        if any(int(x) in raising for x in X[:, 1]):
            raise RuntimeError("no answer")
        return np.where(np.isin(X[:, 1], list(nan)), np.nan, X[:, 0])

    X = np.column_stack([np.arange(n) + 0.5, np.arange(n)])
    X[[row for row in unfit if row < n], 0] = np.inf
    bad = {row for row in unfit | raising | nan if row < n}
    folder = tmp_path_factory.mktemp("poison")
    options = {"batch_size": batch_size, "checkpoint_rows": part, "n_workers": workers, "max_rejected": 1.0}
    if len(bad) == n:
        with pytest.raises(InputError, match=f"{n} of {n} rows were rejected"):
            predict_batch(line(model), X, **options)
        return
    if not in_file:
        result = predict_batch(line(model), X, **options)
        assert result.ok.tolist() == [row not in bad for row in range(n)]
        assert np.isnan(result.answers[~result.ok]).all()
        assert result.answers[result.ok].tolist() == [row + 0.5 for row in range(n) if row not in bad]
    else:
        result = predict_batch(line(model), X, folder / "a.csv", **options)
        answered, rejected = read_csv(folder / "a.csv")[1], read_csv(folder / "a.rejected.csv")[1]
        assert [(int(row), float(value)) for row, value in answered] == [(r, r + 0.5) for r in range(n) if r not in bad]
        assert [int(row) for row, _ in rejected] == sorted(bad)
        assert list(folder.glob(".*")) == []
    assert [one.row for one in result.rejected] == sorted(bad)
    assert result.n_rejected == len(bad)
    for one in result.rejected:
        expected = "got inf" if one.row in unfit else "no answer" if one.row in raising else "no finite number"
        assert expected in one.reason


def test_reasons_say_what_was_wrong_and_not_where_in_the_batch():
    table = Predictor(
        lambda X: X[:, 0].astype(float),
        signature=TableSpec([Column("age", "years", 0, 120), Column("kind", categories=("a", "b"))]),
    )
    source = {"age": [1, 200, None, "x", True, 5], "kind": ["a", "a", "a", "a", "a", "z"]}
    result = predict_batch(table, source, max_rejected=1, batch_size=4)
    assert {one.row: one.reason for one in result.rejected} == {
        1: "column 'age': expected values from 0 to 120 years, got 200",
        2: "column 'age': expected a number, got nothing",
        3: "column 'age': expected a number, got 'x'",
        4: "column 'age': expected a number, got True",
        5: "column 'kind': expected one of 'a', 'b', got 'z'",
    }


def test_probabilities_that_are_none_cost_only_their_row():
    def model(X):
        p = np.tile([0.5, 0.5], (len(X), 1))
        p[X[:, 0] == 6] = [0.5, 0.7]
        return p

    picky = Predictor(model, signature=ArraySpec((2,), "float64"), labels=["no", "yes"])
    result = predict_batch(picky, some_rows(10), answer="predict_proba", batch_size=4)
    assert [one.row for one in result.rejected] == [3]
    assert "expected probabilities" in result.rejected[0].reason
    assert np.isnan(result.answers[3]).all()


def test_a_row_that_fails_in_two_outputs_is_rejected_once():
    two = Predictor(
        lambda X: {"a": np.where(X[:, 0] > 2, np.nan, 1.0), "b": np.where(X[:, 0] > 1, np.inf, 1.0)},
        signature=Signature(ArraySpec((2,), "float64"), (OutputSpec("a"), OutputSpec("b"))),
    )
    result = predict_batch(two, some_rows(3), max_rejected=1)
    assert [(one.row, one.reason) for one in result.rejected] == [
        (1, "the model gave no finite number for 'b'"), (2, "the model gave no finite number for 'a'"),
    ]  # fmt: skip
    assert result.answers["a"].tolist()[:1] == [1.0]
    assert result.n_rejected == (~result.ok).sum() == 2


def test_texts():
    shout = Predictor(lambda texts: np.array([len(text) for text in texts]), signature=TextSpec(max_chars=5))
    result = predict_batch(shout, ["a", "bb", "too long", "dddd"])
    assert result.answers.tolist() == [1, 2, np.iinfo(np.int64).min, 4]
    assert result.rejected[0].reason == "expected at most 5 characters, got 8"


@pytest.mark.parametrize(
    ("values", "fill"),
    [
        (np.array([1, 2, 3], dtype=np.uint8), 255), (np.array([1, 2, 3], dtype=np.int16), -32768),
        (np.array([True, True, False]), False), (np.array(["a", "b", "c"]), ""),
        (np.array(["a", "b", "c"], dtype=object), None),
    ],
)  # fmt: skip
def test_what_stands_where_no_answer_is(values, fill):
    rows = np.arange(3.0)[:, None]
    rows[1] = np.nan
    model = Predictor(lambda X: values[X[:, 0].astype(int)], signature=ArraySpec((1,), "float64"))
    result = predict_batch(model, rows)
    assert result.answers.dtype == values.dtype
    assert result.answers.tolist() == [values[0], fill, values[2]]
    assert fill_value(np.dtype(values.dtype)) == fill


def test_a_job_whose_rows_are_bad_is_stopped(tmp_path):
    X = some_rows(3000)
    X[:2000:2] = np.nan  # a half of the first 2,000
    assert predict_batch(line(), X, batch_size=100, checkpoint_rows=500).n_rejected == 1000
    X[0:2000:3] = np.nan
    with pytest.raises(
        InputError, match=r"667 of 1,000 rows were rejected, and max_rejected is 0\.5: row 0: .* got nan"
    ):
        predict_batch(line(), X, tmp_path / "a.csv", batch_size=100, checkpoint_rows=500)
    assert not (tmp_path / "a.csv").exists()
    result = predict_batch(line(), X, tmp_path / "a.csv", batch_size=100, checkpoint_rows=500, max_rejected=0.7)
    assert result.n_resumed == 1000  # what was answered was not lost
    assert len(read_csv(tmp_path / "a.csv")[1]) == result.n_answered == 3000 - result.n_rejected


def test_a_source_that_does_not_go_with_the_model_is_stopped_early():
    asked = []

    def never(X):
        asked.append(len(X))
        raise RuntimeError("wrong units")

    with pytest.raises(InputError, match=r"of .* rows were rejected.*wrong units.*Does this source go with"):
        predict_batch(line(never), some_rows(1_000_000), batch_size=100, n_workers=1)
    assert sum(size == 1 for size in asked) < 10_000


@pytest.mark.parametrize("fault", [ConnectionError("gone"), MemoryError("full"), TimeoutError("late")])
def test_what_is_no_fault_of_a_row_ends_the_run(fault):
    def failing(X):
        raise fault

    with pytest.raises(type(fault), match=str(fault)):
        predict_batch(line(failing), some_rows(10))


def test_too_little_memory_for_a_batch_is_not_too_little_for_its_halves():
    def small_machine(X):
        if len(X) > 3:
            raise MemoryError
        return X[:, 0]

    assert (
        predict_batch(line(small_machine), some_rows(20), batch_size=16).answers.tolist()
        == some_rows(20)[:, 0].tolist()
    )


def test_divide_asks_each_row_no_more_than_it_must():
    calls = []

    def function(rows):
        calls.append(len(rows))
        if 37 in rows:
            raise ValueError
        return rows

    pieces, failed = divide(function, np.arange(64))
    assert [row for row, _ in failed] == [37]
    assert np.concatenate([rows for rows, _ in pieces]).tolist() == [i for i in range(64) if i != 37]
    assert len(calls) <= 2 * 6 + 1  # twice the depth of the halving


def test_an_answer_takes_part_by_part_what_an_engine_splits():
    """For an engine that looks for a row which ends its process: halves, joined, are the whole."""
    answer = Answer(line(), "predict", 4)
    X = some_rows(23)
    X[9] = np.nan
    task = Task(X, {2: "cut short", 20: "cut short"})

    def by_halves(task):
        halves = answer.split(task)
        return answer(task) if halves is None else answer.join(*map(by_halves, halves))

    whole, pieced = answer(task), by_halves(task)
    assert whole.rejected == pieced.rejected
    assert [row for row, _ in whole.rejected] == [2, 9, 20]
    assert whole.outputs["prediction"].tolist() == pieced.outputs["prediction"].tolist()
    lost = answer.reject(task, "died")
    assert (lost.n_rows, lost.rejected[2], lost.rejected[3]) == (23, (2, "cut short"), (3, "died"))
    first, second = answer.split(task)
    assert (len(first.values), len(second.values)) == (12, 11)  # at the end of a batch


# -- ids ---------------------------------------------------------------------------------------


def test_ids_name_rows_and_may_occur_twice(tmp_path):
    names = ["x1", "x2", "x1", "007", "x1", 'ä,"b"']
    table = {"a": [1.0, 2, np.nan, 4, 5, 6], "b": [0.0] * 6, "who": names}
    for sink in (None, tmp_path / "a.csv", tmp_path / "a.parquet"):
        result = predict_batch(line(), table, sink, id_column="who", batch_size=2, checkpoint_rows=2)
        assert result.duplicate_ids == 2
        assert result.rejected[0][:2] == (2, "x1")
        assert "ids seen before 2" in repr(result)
    assert read_csv(tmp_path / "a.csv")[1] == [
        [n, str(2.0 * v)] for n, v in zip(names, table["a"], strict=True) if v == v
    ]
    assert read_csv(tmp_path / "a.rejected.csv")[1][0][:2] == ["2", "x1"]
    assert pd.read_parquet(tmp_path / "a.parquet")["who"].tolist() == [n for i, n in enumerate(names) if i != 2]


@given(st.lists(st.text(max_size=8) | st.integers(0, 50), max_size=200), st.integers(20, 90))
@settings(max_examples=20, deadline=None)
def test_ids_that_occur_again_are_counted_as_a_set_would(tmp_path_factory, ids, part):
    from inferkit.batch import _sink

    texts = [str(name).rstrip("\0") for name in ids]  # NumPy's texts have no zeros at their end
    table = {"a": np.zeros(len(ids) + 1), "b": np.zeros(len(ids) + 1), "who": [*texts, "last of all"]}
    path = tmp_path_factory.mktemp("ids") / "a.npy"
    before, _sink.IDS_AT_ONCE = _sink.IDS_AT_ONCE, 7
    try:
        result = predict_batch(line(), table, path, id_column="who", batch_size=part, checkpoint_rows=part)
    finally:
        _sink.IDS_AT_ONCE = before
    assert (
        result.duplicate_ids == len(texts) - len(set(texts) - {"last of all"}) if "last of all" not in texts else True
    )


def test_ids_have_hashes_of_their_own():
    names = [f"customer-{i:07d}" for i in range(200_000)] + [str(i) for i in range(200_000)]
    assert len(np.unique(hashed(names))) == 400_000
    assert hashed(["a", "b"])[0] == hashed(["a", "a much longer one"])[0]


def test_the_id_column_must_not_be_an_answer_s_name(tmp_path):
    with pytest.raises(InputError, match="'prediction' is the name of an answer too"):
        predict_batch(line(), {"a": [1], "b": [1], "prediction": [1]}, tmp_path / "a.csv", id_column="prediction")


# -- batch size --------------------------------------------------------------------------------


@pytest.fixture
def costs(monkeypatch):
    """Make models whose calls cost what they are told to, on a clock of their own; the rows of each call are kept."""
    now = [0.0]

    def make(call_s, row_s):
        asked = []

        def model(X):
            asked.append(len(X))
            now[0] += call_s + row_s * len(X)
            return X[:, 0]

        return line(model), asked

    make.clock = lambda: round(1e9 * now[0])
    monkeypatch.setattr(_size, "perf_counter", lambda: now[0])
    monkeypatch.setattr(_size, "perf_counter_ns", make.clock)
    return make


def test_the_curve_holds_powers_of_two_and_what_they_cost(costs):
    curve = batch_size_curve(costs(0.001, 1e-5)[0], some_rows(1797), max_seconds=0.2, clock=costs.clock)
    assert list(curve.rates) == [1 << i for i in range(11)]
    for rows in curve.rates:
        assert curve.rows_per_s(rows) == pytest.approx(rows / (0.001 + 1e-5 * rows))


def test_a_slow_model_is_not_asked_for_large_batches(costs):
    predictor, asked = costs(0.0, 0.02)
    curve = batch_size_curve(predictor, some_rows(100), max_seconds=0.01, clock=costs.clock)
    assert max(curve.rates) <= 8
    assert max(asked) <= 8


@pytest.mark.parametrize(
    ("rates", "best"),
    [
        ({1: 10, 2: 50, 4: 100, 8: 99}, 8),
        ({1: 10, 2: 100, 4: 97}, 2),
        ({8: 90, 16: 100}, 16),
        ({16: 50, 32: 98.5, 64: 100, 128: 99, 256: 97}, 64),
    ],
)
def test_of_the_sizes_that_are_fast_enough_the_middle_one_is_taken(rates, best):
    assert best_size(ThroughputResult("x", {size: np.array([float(r)]) for size, r in rates.items()})) == best


def test_auto_measures_a_long_job_and_not_a_short_one(costs):
    predictor, _ = costs(0.001, 4e-6)
    assert predict_batch(predictor, some_rows(500)).curve is None
    result = predict_batch(predictor, some_rows(400_000))
    assert len(result.curve.rates) >= 3
    assert result.batch_size == 4096  # a call costs as much as 250 rows; a fiftieth of the rows is tried
    assert result.answers.tolist() == some_rows(400_000)[:, 0].tolist()


def test_auto_finds_large_batches_for_a_short_job_without_a_curve(costs):
    predictor, asked = costs(0.001, 0)
    result = predict_batch(predictor, some_rows(400_000))
    assert (result.batch_size, result.curve) == (16_384, None)
    assert sum(asked) < 410_000


@pytest.mark.parametrize(("n_workers", "size"), [(1, 16_384), (2, 4096)])
def test_auto_trusts_the_line_where_a_trial_would_be_dear_and_gives_each_worker_its_share(costs, n_workers, size):
    predictor, asked = costs(0.003, 1e-6)  # as a forest of trees does
    assert predict_batch(predictor, some_rows(30_000), n_workers=n_workers).batch_size == size
    assert sum(asked) == 30_000 + 1 + 16 + 64 + 256


@pytest.mark.parametrize(
    ("call_s", "row_s", "rows", "size"),
    [
        (0.06, 0, 100_000, 16_384),  # far away, or an accelerator: a call takes long whatever is in it
        (0, 0.004, 100_000, 16),  # each row takes long: more of them at once bring nothing
        (0.06, 0, 1000, 16),  # too few to find out
    ],
)
def test_auto_tells_a_call_that_takes_long_from_rows_that_do(costs, call_s, row_s, rows, size):
    predictor, asked = costs(call_s, row_s)
    assert predict_batch(predictor, some_rows(rows)).batch_size == size
    assert sum(asked) <= 1.06 * rows + 17


def test_auto_believes_a_trial_more_than_the_line(costs):
    predictor, asked = costs(0.01, 1e-5)
    model = predictor.backend.model
    predictor.backend.model = lambda X: model(X if len(X) <= 256 else np.repeat(X, 9, axis=0))[: len(X)]
    assert predict_batch(predictor, some_rows(60_000)).batch_size == 256
    assert sorted(set(asked))[-1] == 9 * 1024  # tried, and found to be slow


def test_few_rows_are_answered_at_once_where_each_is_large():
    wide = Predictor(lambda X: X.sum(axis=(1, 2)), signature=ArraySpec((1024, 1024)))
    assert predict_batch(wide, np.ones((5, 1024, 1024), dtype=np.float32)).batch_size == 3  # of 8 MB each


def test_auto_tries_no_large_batches_where_a_call_costs_next_to_nothing(costs):
    predictor, asked = costs(1e-5, 1e-5)
    assert predict_batch(predictor, some_rows(100_000)).batch_size == 256
    assert max(asked) == 256


def test_auto_prefers_few_rows_where_many_are_slower(costs):
    predictor, _ = costs(0.0, 1e-5)
    model = predictor.backend.model
    predictor.backend.model = lambda X: model(X if len(X) <= 64 else np.repeat(X, 2, axis=0))[: len(X)]
    assert predict_batch(predictor, some_rows(200_000)).batch_size <= 64


def test_auto_does_not_try_many_rows_of_a_slow_model(costs):
    predictor, asked = costs(0.0, 0.004)
    result = predict_batch(predictor, some_rows(300))
    assert result.batch_size == 16
    assert sum(asked) == 300 + 17


def test_auto_leaves_out_rows_that_are_bad(costs):
    X = some_rows(300_000)
    X[5:1000:3] = np.nan
    predictor, _ = costs(0.001, 5e-6)
    result = predict_batch(predictor, X)
    assert result.curve is not None
    assert result.n_rejected == len(range(5, 1000, 3))


# -- engine ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_workers", [1, 4])
def test_the_engine_keeps_the_order_and_the_window(n_workers):
    read = []
    yielded = []
    gate = threading.Semaphore(0)

    def tasks():
        for i in range(50):
            read.append(i)
            yield i

    def work(i):
        if i % 4 == 0:
            gate.acquire(timeout=0.002)
        return i * i

    for value in ordered_map(work, tasks(), n_workers=n_workers, window=6):
        yielded.append(value)
        assert len(read) <= len(yielded) + 6
    assert yielded == [i * i for i in range(50)]


def test_threads_really_run_at_the_same_time():
    both = threading.Barrier(3, timeout=20)
    assert list(ordered_map(lambda _: both.wait() >= 0, range(3), n_workers=3, window=3)) == [True] * 3


def test_the_engine_raises_what_a_task_raises_and_leaves_no_thread():
    started = []

    def work(i):
        started.append(i)
        if i == 3:
            raise ZeroDivisionError
        time.sleep(0.001)
        return i

    with pytest.raises(ZeroDivisionError):
        list(ordered_map(work, range(1000), n_workers=2, window=4))
    assert len(started) < 20
    assert not [t for t in threading.enumerate() if t.name.startswith("predict_batch")]


def test_the_caller_begins_nothing_more_once_another_thread_has_failed():
    mine, begun, failing, failed, end = [], threading.Semaphore(0), *(threading.Event() for _ in range(3))

    def tasks():
        yield from (0, 1)
        assert begun.acquire(timeout=20)
        assert begun.acquire(timeout=20)
        yield from range(2, 6)

    def work(i):
        begun.release()
        if threading.current_thread() is threading.main_thread():
            mine.append(i)
            failing.set()
            assert failed.wait(20)
            threading.Timer(0.3, end.set).start()  # until then nobody else could take what is left
        elif i == 1:
            assert failing.wait(20)
            raise ZeroDivisionError
        else:
            if i > 1:  # begun by the thread that failed: it is free again
                failed.set()
            assert end.wait(20)

    with pytest.raises(ZeroDivisionError):
        list(ordered_map(work, tasks(), n_workers=3, window=6))
    assert mine == [2]


def blas_threads():
    from threadpoolctl import threadpool_info

    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_linear_algebra_has_one_thread_while_several_workers_answer():
    from threadpoolctl import threadpool_limits

    seen = []

    def model(X):
        seen.append(blas_threads())
        return X[:, 0]

    with threadpool_limits(2, user_api="blas"):  # on a machine of one core too
        for n_workers, threads in ((1, {2}), (2, {1})):
            predict_batch(line(model), some_rows(50), n_workers=n_workers, batch_size=10)
            assert all(found == threads for found in seen)
            assert len(seen) >= 5
            assert blas_threads() == {2}
            seen.clear()
        with pytest.raises(InputError):
            predict_batch(line(), some_rows(50), np.zeros(1), n_workers=2)
        assert blas_threads() == {2}


def test_linear_algebra_gets_its_threads_back_when_the_last_run_has_ended():
    from threadpoolctl import threadpool_limits

    first, second = one_thread_each(), one_thread_each()
    with threadpool_limits(2, user_api="blas"):
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert blas_threads() == {1}
        second.__exit__(None, None, None)
        assert blas_threads() == {2}


def test_functions_of_one_s_own_run_on_one_thread_and_runtimes_on_all(reader):
    assert predict_batch(line(), some_rows(10)).n_workers == 1
    from inferkit.devices import describe

    assert predict_batch(reader, PICTURES).n_workers == max(1, round(describe().cores_granted))
    assert predict_batch(line(), some_rows(10), n_workers=3).n_workers == 3


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 12), st.sets(st.integers(0, 100)))
@settings(max_examples=150, deadline=None)
def test_blocks_of_any_length_are_cut_to_one(lengths, rows, bad):
    n = sum(lengths)
    all_rows = np.arange(n)
    blocks, before = [], 0
    for length in lengths:
        here = {b - before: f"row {b}" for b in bad if before <= b < before + length}
        some = all_rows[before : before + length]
        blocks.append(Block({"a": some, "b": some.tolist()}, some.tolist(), here, mark=before + length))
        before += length
    out = list(recut(blocks, rows))
    assert [len(block) for block in out] == [rows] * (n // rows) + ([n % rows] if n % rows else [])
    assert [i for block in out for i in block.values["a"]] == all_rows.tolist()
    assert [i for block in out for i in block.values["b"]] == all_rows.tolist()
    assert [i for block in out for i in block.ids] == all_rows.tolist()
    assert [i * rows + p for i, block in enumerate(out) for p in sorted(block.bad)] == sorted(b for b in bad if b < n)
    for i, block in enumerate(out):
        assert all(reason == f"row {i * rows + p}" for p, reason in block.bad.items())
        assert block.mark in (None, min((i + 1) * rows, n))


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.sampled_from("fUi")), min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_the_store_keeps_places_whatever_comes_when(pieces):
    """Answers of growing types, and stretches with none at all: the same as one array made at the end."""
    kind = pieces[0][2]
    values = {"f": [0.5, 1e9], "U": ["a", "longer"], "i": [1, 2**40]}[kind]
    store, wanted, n = Store(None), [], 0
    for length, answered, _ in pieces:
        some = np.array([values[(n + i) % 2] for i in range(length)]) if length else np.array(values)[:0]
        fine = np.full(length, answered)
        store.put({"x": some} if answered and length else {}, fine)
        wanted += some.tolist() if answered else [None] * length
        n += length
    assert store.ok.tolist() == [value is not None for value in wanted]
    if not any(value is not None for value in wanted):
        assert store.arrays == {}
        return
    array = store.arrays["x"]
    fill = fill_value(array.dtype)
    np.testing.assert_array_equal(array, np.array([fill if value is None else value for value in wanted], array.dtype))


# -- the door ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"answer": "proba"}, "answer: expected one of predict, predict_proba, outputs"),
        ({"engine": "ray"}, "engine: expected 'local' or 'dask'"),
        ({"batch_size": 0}, "batch_size: expected a whole number ≥ 1"),
        ({"batch_size": 2.5}, "batch_size: expected a whole number ≥ 1"),
        ({"batch_size": True}, "batch_size: expected a whole number ≥ 1"),
        ({"n_workers": 0}, "n_workers: expected a whole number ≥ 1"),
        ({"checkpoint_rows": 0}, "checkpoint_rows: expected a whole number ≥ 1"),
        ({"max_rejected": 2}, "max_rejected: expected a share from 0 to 1"),
        ({"address": "tcp://x:1"}, "address: only Dask has one"),
        ({"answer": "predict_proba"}, "line gives no probabilities"),
        ({"columns": ["a"]}, "columns, id_column: an array and a list have no columns"),
        ({"id_column": "a"}, "columns, id_column: an array and a list have no columns"),
        ({"sink": "a.txt"}, r"sink: expected the path of a file that ends in \.npy, \.csv, \.parquet"),
        ({"sink": 7}, "sink: expected None, an array, or the path"),
    ],
)
def test_arguments_are_checked_before_any_work(options, message):
    def never(X):
        raise AssertionError("asked")

    with pytest.raises(InputError, match=message):
        predict_batch(line(never), some_rows(3), options.pop("sink", None), **options)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((0, 2)), "at least one row"), ([], "at least one row"), (iter([]), "at least one row, got none"),
        (7, "source: expected an array"), ({"a": [1], "b": [1, 2]}, "columns of one length"),
        (np.float64(3), "source: expected an array"), ([[1, 2], [3]], "rows of one length"),
    ],
)  # fmt: skip
def test_sources_that_are_none(source, message):
    with pytest.raises(InputError, match=message):
        predict_batch(line(), source)


def test_a_model_alone_is_not_enough():
    with pytest.raises(InputError, match=r"expected a Predictor, got function; wrap it: Predictor\(model\)"):
        predict_batch(doubled, some_rows(3))


def test_a_result_says_what_it_is(reader, tmp_path):
    bad = PICTURES.copy()
    bad[3] = 99
    result = predict_batch(reader, bad, tmp_path / "a<b.csv")
    assert isinstance(result, BatchResult)
    told = repr(result)
    for words in (
        "1,797",
        "1,796, in a<b.csv",
        "1, in a<b.rejected.csv",
        "row 3 (3): expected values from 0 to 16 ink",
    ):
        assert words in told
    assert "a&lt;b.csv" in result._repr_html_()
    assert result.to_dict()["n_rejected"] == 1
    assert result.rows_per_s == pytest.approx(1797 / result.seconds)


def test_importing_it_loads_nothing_heavy():
    import subprocess
    import sys

    code = (
        "import sys, inferkit.batch; heavy = {'pandas', 'pyarrow', 'dask', 'distributed', 'fastapi', 'tensorflow'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent
    )
    assert run.stdout == "[]\n"


# -- travelling --------------------------------------------------------------------------------


def test_predictors_can_be_pickled(reader):
    draws = {"intercept": np.zeros(50), "coef": np.ones((50, 2)), "sigma": np.ones(50)}
    from sklearn.linear_model import LogisticRegression

    X = np.random.default_rng(0).normal(size=(40, 2))
    logistic = LogisticRegression().fit(X, X[:, 0] > 0)
    logits = Predictor(np.negative, postprocess=Softmax(), signature=ArraySpec((2,), "float64"), labels="ab")
    for predictor, rows in (
        (reader, PICTURES[:5]), (line(), X), (logits, X), (Predictor(logistic), X),
        (Predictor(CompiledPosterior("normal", draws)), X),
    ):  # fmt: skip
        copied = pickle.loads(pickle.dumps(predictor))
        assert (copied.name, copied.signature, copied.labels) == (predictor.name, predictor.signature, predictor.labels)
        assert [name for name, _ in copied.steps] == [name for name, _ in predictor.steps]
        np.testing.assert_array_equal(copied.predict(rows), predictor.predict(rows))
        assert copied.predict_one(rows[0]) == predictor.predict_one(rows[0])


def test_an_onnx_predictor_travels_as_its_file(tmp_path):
    from onnx import TensorProto, helper, save

    node = helper.make_node("Neg", ["x"], ["y"])
    shape = ["n", 2]
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )  # fmt: skip
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    predictor = Predictor(tmp_path / "m.onnx")
    copied = pickle.loads(pickle.dumps(predictor))
    assert copied.predict(np.ones((3, 2))).tolist() == [[-1, -1]] * 3
    predictor.backend.content = None
    with pytest.raises(TypeError, match="an ONNX Runtime session cannot be pickled; make the Predictor from"):
        pickle.dumps(predictor)


def test_fingerprints_tell_predictors_apart(reader):
    def other(X):
        return 3.0 * X[:, 0]

    from sklearn.linear_model import LogisticRegression

    X = np.random.default_rng(0).normal(size=(40, 2))
    fitted = [Predictor(LogisticRegression(C=c).fit(X, X[:, 0] > 0)) for c in (1.0, 0.1)]
    spec = ArraySpec((8, 8), low=0, high=16)
    different = [
        reader, digit_reader("digits-mlp"), line(), line(other), line(width=3), *fitted,
        Predictor(reader.backend.model, preprocess=Scale(8), signature=spec, labels=range(10)),
        Predictor(reader.backend.model, preprocess=Scale(16), signature=spec, labels=range(1, 11)),
    ]  # fmt: skip
    for factor in (4.0, 5.0):
        namespace = {}
        exec(f"def same(X):\n    return {factor} * X[:, 0]", namespace)
        different.append(line(namespace["same"]))
    prints = [fingerprint(predictor) for predictor in different]
    assert all(a != b for i, a in enumerate(prints) for b in prints[:i])
    for predictor, known in zip(different, prints, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            copied = predictor if predictor.name == "line" else pickle.loads(pickle.dumps(predictor))
        assert fingerprint(copied) == known


def test_progress_is_told_to_those_who_watch(monkeypatch):
    from inferkit import _base

    class Screen(io.StringIO):
        def isatty(self):
            return True

    screen = Screen()
    monkeypatch.delenv("INFERKIT_PROGRESS", raising=False)
    monkeypatch.setattr(_base, "_watched_stream", lambda: screen)
    real = _base.ProgressLine.__init__
    monkeypatch.setattr(_base.ProgressLine, "__init__", lambda self, wanted, after_s=0.0: real(self, wanted))
    predict_batch(line(), some_rows(100), batch_size=10)
    assert "100 of 100 rows" in screen.getvalue()
    assert "a second, 0 s left" in screen.getvalue()
    screen.truncate(0)
    predict_batch(line(), some_rows(100), batch_size=10, progress=False)
    assert "rows" not in screen.getvalue()
