"""`inferkit bench`: what is fed, what is called how often, what is said; and that it agrees with a bare loop."""

import gc
import json
import os
import random
import statistics
import subprocess
import sys
import textwrap
from pathlib import Path
from time import perf_counter_ns

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from inferkit import InputError
from inferkit._base import bundled, sha256
from inferkit.benchmark import measure_latency
from inferkit.cli import _bench, _inputs, _runtime, main
from inferkit.cli._inputs import call_shapes, file_feed, has_rows, parse_shapes, random_array, random_feed
from inferkit.cli._runtime import Input, open_bare
from inferkit.datasets import load_digits
from inferkit.models import LiteRTModel
from inferkit.predictor import ArraySpec, Column, Predictor, TableSpec, TextSpec, digit_reader

ROOT = Path(__file__).parent.parent
DIGITS_CNN = bundled("digits-cnn.tflite")
KEYS = {
    "model", "runtime", "p50_ms", "p90_ms", "p99_ms", "n", "throughput_rows_per_s", "peak_memory_mb", "batch_size",
    "threads", "timer_overhead_ns", "busy", "notes", "stamp", "p50_low_ms", "p50_high_ms", "p90_low_ms",
    "p90_high_ms", "p99_low_ms", "p99_high_ms", "model_sha256", "size_bytes", "inputs", "first_call_ms", "stopped",
    "call",
}  # fmt: skip


@pytest.fixture
def bench(capsys):
    """Return a function that benches quickly, and gives the code, the JSON's content and the errors."""

    def call(*words, memory=False):
        code = main(["bench", *map(str, words), *([] if memory else ["--no-memory"]), "--json", "-"])
        out, errors = capsys.readouterr()
        return code, json.loads(out) if out else None, errors

    return call


def save_onnx(path, inputs, nodes, outputs):
    """Write an ONNX model: inputs as (name, type, shape), nodes as (operator, inputs, outputs)."""
    helper, kinds = onnx.helper, onnx.TensorProto
    info = lambda name, kind, shape: helper.make_tensor_value_info(name, getattr(kinds, kind), shape)  # noqa: E731
    made = [helper.make_node(operator, taken, given) for operator, taken, given in nodes]
    graph = helper.make_graph(made, "g", [info(*one) for one in inputs], [info(*one) for one in outputs])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def pair(tmp_path):
    """Return a model of two inputs that adds them, for any number of rows."""
    inputs = [("a", "FLOAT", ["n", 3]), ("b", "FLOAT", ["n", 3])]
    return save_onnx(tmp_path / "pair.onnx", inputs, [("Add", ["a", "b"], ["y"])], [("y", "FLOAT", ["n", 3])])


@pytest.fixture
def spy(monkeypatch):
    """Record what every call of a model file gets."""
    seen = []

    def opened(path, threads):
        bare = open_bare(path, threads)

        def call(arrays):
            seen.append([array.copy() for array in arrays])
            return bare.call(arrays)

        return _runtime.Bare(bare.runtime, bare.inputs, call, bare.how, bare.fit)

    monkeypatch.setattr(_bench, "open_bare", opened)
    return seen


# -- what is told ------------------------------------------------------------------------------------


def test_json_is_one_object_and_holds_what_was_promised(bench):
    code, told, errors = bench(DIGITS_CNN, "-n", 700, memory=True)
    assert (code, set(told)) == (0, KEYS)
    assert (told["model"], told["runtime"], told["n"]) == (str(DIGITS_CNN), "litert", 700)
    assert (told["batch_size"], told["threads"], told["stopped"]) == (1, 1, "n")
    assert 0 < told["p50_low_ms"] <= told["p50_ms"] <= told["p50_high_ms"] <= told["p99_ms"] <= told["p99_high_ms"]
    assert told["peak_memory_mb"] > 20
    assert told["throughput_rows_per_s"] > 0
    assert (told["model_sha256"], told["size_bytes"]) == (sha256(DIGITS_CNN), DIGITS_CNN.stat().st_size)
    assert told["inputs"][0]["shape"] == [1, 8, 8]
    assert told["inputs"][0]["dtype"] == "float32"
    assert told["stamp"]["machine_id"]
    assert errors.splitlines() == told["notes"]


def test_no_percentile_is_stated_that_the_sample_cannot_support(bench):
    for n, supported in (
        (10, []),
        (63, ["p50"]),
        (64, ["p50", "p90"]),
        (661, ["p50", "p90"]),
        (662, ["p50", "p90", "p99"]),
    ):
        told = bench(DIGITS_CNN, "-n", n)[1]
        assert [q for q in ("p50", "p90", "p99") if told[f"{q}_ms"] is not None] == supported
        assert [
            q for q in ("p50", "p90", "p99") if told[f"{q}_low_ms"] is not None or told[f"{q}_high_ms"]
        ] == supported


def test_as_a_program_it_prints_json_alone(tmp_path):
    command = [sys.executable, "-m", "inferkit", "bench", DIGITS_CNN, "-n", "70", "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True, timeout=120)
    assert done.stdout.count("\n") == 1
    assert set(json.loads(done.stdout)) == KEYS


def test_the_table_for_people(capsys, tmp_path):
    assert main(["bench", str(DIGITS_CNN), "-n", "100", "--json", str(tmp_path / "told.json")]) == 0
    out, errors = capsys.readouterr()
    told = json.loads((tmp_path / "told.json").read_text())
    assert set(told) == KEYS
    assert errors == ""
    assert out.startswith("digits-cnn.tflite: litert, 1 thread\n")
    assert "100 of 1 row each" in out
    assert "p99         –  (it takes 662 calls to state it)" in out
    assert f"{told['peak_memory_mb']:,.0f} MB at the peak" in out
    assert told["stamp"]["machine"] in out
    for text in told["notes"]:
        assert text in out
    assert list(tmp_path.iterdir()) == [tmp_path / "told.json"]


def test_time_that_is_up_is_said(bench):
    code, told, errors = bench(DIGITS_CNN, "-n", 10**9, "--seconds", 0.05)
    assert (code, told["stopped"]) == (0, "time")
    assert 0 < told["n"] < 10**9
    assert "samples: the time was up" in errors


def test_the_model_is_called_once_for_each_sample_and_nothing_else(bench, spy):
    bench(DIGITS_CNN, "-n", 123, "--warmup", 7)
    assert len(spy) == 130
    spy.clear()
    bench(DIGITS_CNN, "-n", 5, "--warmup", 0)
    assert len(spy) == 6  # one call shows that an answer comes


# -- what is fed -------------------------------------------------------------------------------------


def test_random_input_is_the_same_for_a_seed_and_differs_from_call_to_call(bench, spy):
    def fed(*words):
        spy.clear()
        bench(DIGITS_CNN, "-n", 40, *words)
        return np.stack([arrays[0] for arrays in spy])

    first = fed()
    np.testing.assert_array_equal(first, fed())
    assert not np.array_equal(first, fed("--seed", 1))
    assert first.shape == (60, 1, 8, 8)
    assert len(np.unique(first, axis=0)) == 32
    assert first.min() >= 0
    assert first.max() < 1
    assert first.std() == pytest.approx(12**-0.5, rel=0.1)


INTEGERS = st.sampled_from(["int8", "uint8", "int16", "uint16", "int32", "int64"]).map(np.dtype)
SHAPES = st.lists(st.integers(1, 5), max_size=3).map(tuple)


@given(dtype=INTEGERS, shape=SHAPES, quantized=st.booleans(), seed=st.integers(0, 2**32))
def test_random_integers_stay_in_the_range_that_means_something(dtype, shape, quantized, seed):
    one = Input("x", shape, dtype, quantized)
    values = random_array(one, shape, np.random.default_rng(seed))
    assert (values.shape, values.dtype) == (shape, dtype)
    if not quantized and dtype.itemsize > 1:  # an index, say of a word
        assert set(values.ravel()) <= {0, 1}


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_quantized_input_covers_the_whole_range_of_its_type(dtype):
    one = Input("x", (400_000,), np.dtype(dtype), True)
    values = random_array(one, (2_000_000,), np.random.default_rng(0))
    limits = np.iinfo(dtype)
    assert (values.min(), values.max()) == (limits.min, limits.max)  # missed in fewer than e⁻³⁰ of all seeds


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bool"])
def test_other_types(dtype):
    values = random_array(Input("x", (), np.dtype(dtype)), (4, 300), np.random.default_rng(0))
    assert (values.shape, values.dtype) == ((4, 300), np.dtype(dtype))
    assert len(np.unique(values)) > 1


@pytest.mark.parametrize("dtype", ["S8", "U4", "object"])
def test_text_has_no_random_input(dtype):
    with pytest.raises(InputError, match=r"x takes .*, for which random values mean nothing; give --input"):
        random_array(Input("x", (1,), np.dtype(dtype)), (1,), np.random.default_rng(0))


LENGTHS = st.lists(st.one_of(st.none(), st.integers(1, 4)), max_size=4).map(tuple)


@given(shape=LENGTHS, batch=st.one_of(st.none(), st.integers(1, 9)))
def test_a_call_has_the_shape_that_the_model_asks_for(shape, batch):
    one = Input("x", shape, np.dtype("float32"))
    leads = has_rows(one) and shape[0]
    fixed = leads or (1 if not has_rows(one) else None)  # how many rows a call takes, if the model says it
    if batch is not None and fixed not in (None, batch):
        with pytest.raises(InputError, match=f"this model takes {fixed} at once"):
            call_shapes([one], batch, {})
        return
    (found,), rows = call_shapes([one], batch, {})
    assert rows == (fixed or batch or 1)
    assert len(found) == len(shape)
    assert all(n in (None, got) for n, got in zip(shape[1:], found[1:], strict=True))
    assert all(got == 1 for n, got in zip(shape[1:], found[1:], strict=True) if n is None)
    assert not has_rows(one) or found[0] == rows


def test_different_inputs_take_turns_within_a_small_budget():
    large, small = Input("x", (1, 600, 600), np.dtype("float32")), Input("y", (1, 4), np.dtype("float32"))
    rng = np.random.default_rng(0)
    assert len(random_feed([large], ((1, 600, 600),), 1, {}, rng).calls) == 1
    assert len(random_feed([small], ((1, 4),), 1, {}, rng).calls) == 32
    middle = random_feed([small], ((10_000, 4),), 10_000, {}, rng)
    assert sum(arrays[0].nbytes for arrays in middle.calls) <= _inputs.BUDGET_BYTES
    assert len(middle.calls) == 6


def test_several_inputs(bench, spy, pair):
    code, told, _ = bench(pair, "-n", 20, memory=True)
    assert (code, told["runtime"], told["batch_size"]) == (0, "onnx", 1)
    assert [(one["name"], one["shape"]) for one in told["inputs"]] == [("a", [1, 3]), ("b", [1, 3])]
    assert told["peak_memory_mb"] > 20
    assert not np.array_equal(spy[0][0], spy[0][1])


def test_more_rows_in_a_call(bench, spy, pair):
    told = bench(pair, "-n", 20, "--batch-size", 8)[1]
    assert told["batch_size"] == 8
    assert [array.shape for array in spy[0]] == [(8, 3), (8, 3)]
    told = bench(DIGITS_CNN, "-n", 20, "--batch-size", 5)[1]
    assert (told["batch_size"], told["inputs"][0]["shape"]) == (5, [5, 8, 8])


def test_throughput_counts_rows(bench, monkeypatch, pair):
    """Every call takes one millisecond of a clock that only the model moves."""
    now = [0]

    def slow(path, threads):
        bare = open_bare(path, threads)

        def call(arrays):
            now[0] += 10**6
            return bare.call(arrays)

        return _runtime.Bare(bare.runtime, bare.inputs, call, bare.how, bare.fit)

    real = measure_latency
    monkeypatch.setattr(_bench, "open_bare", slow)
    monkeypatch.setattr(_bench, "measure_latency", lambda *a, **k: real(*a, **k, clock=lambda: now[0]))
    told = bench(pair, "-n", 30, "--batch-size", 16)[1]
    assert told["throughput_rows_per_s"] == pytest.approx(16_000)
    assert told["p50_ms"] == 1.0


def test_lengths_that_a_model_leaves_open(bench, spy, tmp_path):
    path = save_onnx(
        tmp_path / "open.onnx",
        [("x", "FLOAT", ["n", "t", 2])],
        [("Relu", ["x"], ["y"])],
        [("y", "FLOAT", ["n", "t", 2])],
    )
    told = bench(path, "-n", 12)[1]
    assert told["inputs"][0]["shape"] == [1, 1, 2]
    assert told["notes"][0] == "lengths that x leaves open were taken as 1; --shape gives others"
    for words in ("4,7,2", "x=4,7,2", "4x7x2"):
        told = bench(path, "-n", 12, "--shape", words)[1]
        assert (told["inputs"][0]["shape"], told["batch_size"]) == ([4, 7, 2], 4)
        assert not any("open" in text for text in told["notes"])
    assert spy[-1][0].shape == (4, 7, 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shape", "1,3"], "expected NAME=N,N,... with a name of a, b"),
        (["--shape", "c=1,3"], "with a name of a, b"),
        (["--shape", "a=1"], "expected 2 lengths ≥ 1, such as N,3"),
        (["--shape", "a=1,0"], "expected 2 lengths"),
        (["--shape", "a=1,x"], "expected 2 lengths"),
        (["--shape", "a=,"], "expected 2 lengths"),
        (["--shape", "a="], "expected 2 lengths"),
        (["--shape", "a=2,4"], "does not answer a float32 (2, 4), b float32 (1, 3): "),
        (["--shape", "a=2,3", "--shape", "b=2,3", "--batch-size", "3"], "this model takes 2 at once"),
    ],
)
def test_a_shape_that_does_not_fit_is_one_clear_line(bench, pair, words, message):
    code, told, errors = bench(pair, *words)
    assert (code, told) == (2, None)
    assert errors.startswith("inferkit bench: ")
    assert errors.count("\n") == 1
    assert message in errors


def test_a_fixed_litert_model_takes_what_shape_gives_or_says_that_it_cannot(bench, published):
    path = published / "blazeface" / "face_detection_front.tflite"
    told = bench(path, "-n", 12, "--shape", "4,128,128,3")[1]
    assert (told["batch_size"], told["inputs"][0]["shape"]) == (4, [4, 128, 128, 3])
    code, told, errors = bench(path, "--batch-size", 2)
    assert (code, told) == (2, None)
    assert "--batch-size 2: this model takes 1 at once" in errors
    code, told, errors = bench(published / "coral" / "mobilenet_v1_0.25_128_quant.tflite", "--shape", "1,4,4,4")
    assert (code, told, errors.count("\n")) == (2, None, 1)
    assert "cannot take the shapes [(1, 4, 4, 4)]" in errors


def test_parsing_shapes_gives_back_what_was_written():
    inputs = [Input("a", (None, 3), np.dtype("float32")), Input("b=c", (2,), np.dtype("float32"))]
    assert parse_shapes(["a=5,3", "b=c=7"], inputs) == {"a": (5, 3), "b=c": (7,)}


# -- given input -------------------------------------------------------------------------------------


def test_every_row_of_a_file_is_fed_in_turn(bench, spy, tmp_path):
    rows = load_digits().images[:40] / np.float32(16)
    np.save(tmp_path / "rows.npy", rows)
    bench(DIGITS_CNN, "-n", 45, "--warmup", 0, "--batch-size", 4, "--input", tmp_path / "rows.npy")
    fed = np.concatenate([arrays[0] for arrays in spy[1:11]])
    np.testing.assert_array_equal(fed, rows)
    np.testing.assert_array_equal(spy[11][0], rows[:4])
    assert spy[0][0].flags.c_contiguous


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a"), ("arr_0", "arr_1")])
def test_a_file_for_several_inputs_goes_by_name_or_by_place(bench, spy, pair, tmp_path, names):
    a, b = np.full((6, 3), 1.0), np.full((6, 3), 2, dtype=np.float32)
    np.savez(tmp_path / "rows.npz", **dict(zip(names, (a, b) if names != ("b", "a") else (b, a), strict=True)))
    told = bench(pair, "-n", 12, "--input", tmp_path / "rows.npz")[1]
    assert told["n"] == 12
    assert [float(array.mean()) for array in spy[0]] == [1, 2]
    assert {array.dtype for array in spy[0]} == {np.dtype("float32")}


WAVE = Input("wave", (5,), np.dtype("float32"))
IMAGE = Input("image", (1, 4, 4), np.dtype("uint8"), True)
STEPS, WORDS = Input("steps", (1, 2), np.dtype("int8"), True), Input("words", (1, 2), np.dtype("int32"))
OPEN = Input("rows", (None, 3), np.dtype("float32"))


def test_an_input_without_rows_takes_one_or_several():
    one = file_feed([WAVE], np.zeros(5, np.float32), None, {})
    assert (len(one.calls), one.shapes, one.batch_size) == (1, ((5,),), 1)
    several = file_feed([WAVE], np.zeros((7, 5), np.float32), None, {})
    assert (len(several.calls), several.calls[0][0].shape) == (7, (5,))


@pytest.mark.parametrize(
    ("one", "array", "batch", "message"),
    [
        (WAVE, np.zeros(6), None, r"wave takes \(5\), rows first, got \(6,\)"),
        (WAVE, np.zeros((2, 3, 5)), None, "wave takes"),
        (IMAGE, np.zeros((4, 4), np.uint8), None, r"image takes \(1, 4, 4\), rows first, got \(4, 4\)"),
        (IMAGE, np.zeros((1, 4, 4)), None, "image takes uint8, got float64; convert it first"),
        (IMAGE, np.zeros((1, 4, 5), np.uint8), None, "image takes"),
        (STEPS, np.full((1, 2), 3), None, "steps takes int8, got int64; convert it first"),
        (WORDS, np.full((1, 2), 2**31), None, "words takes int32, got values that do not fit into it"),
        (IMAGE, np.zeros((0, 4, 4), np.uint8), None, "image takes"),
        (IMAGE, np.zeros((2, 4, 4), np.uint8), 2, "this model takes 1 at once"),
        (OPEN, np.zeros((2, 3)), 3, r"a call takes rows of shape \(3, 3\), the file holds \(2, 3\)"),
        (OPEN, np.zeros(3), None, "rows takes"),
        (OPEN, np.array([["a"] * 3]), None, "rows takes float32, got str"),
        (OPEN, np.zeros((2, 3), complex), None, "rows takes float32, got complex128"),
        (
            OPEN,
            {"x": np.zeros((2, 3)), "y": np.zeros((2, 3))},
            None,
            r"expected arrays for \['rows'\], got \['x', 'y'\]",
        ),
    ],
)
def test_given_input_that_does_not_fit(one, array, batch, message):
    with pytest.raises(InputError, match=message):
        file_feed([one], array, batch, {})


def test_whole_numbers_of_another_width_are_taken_where_they_fit():
    ((words,),) = file_feed([WORDS], np.array([[1, 2**31 - 1]]), None, {}).calls
    assert (words.dtype, words.tolist()) == (np.dtype("int32"), [[1, 2**31 - 1]])


def test_lengths_of_given_input_fill_what_a_model_leaves_open():
    one = Input("x", (None, None, 2), np.dtype("float32"))
    feed = file_feed([one], np.zeros((6, 9, 2), np.float32), 2, {})
    assert (len(feed.calls), feed.shapes, feed.batch_size) == (3, ((2, 9, 2),), 2)


# -- runtimes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 3])
def test_each_runtime_gets_the_threads_that_were_asked_for(bench, pair, monkeypatch, threads):
    import onnxruntime

    import inferkit.models

    asked = []

    class Spied(LiteRTModel):
        def __init__(self, *given, num_threads, **named):
            asked.append(num_threads)
            super().__init__(*given, num_threads=num_threads, **named)

    real = onnxruntime.InferenceSession

    def session(model, options, **named):
        asked.extend([options.intra_op_num_threads, options.inter_op_num_threads])
        return real(model, options, **named)

    monkeypatch.setattr(inferkit.models, "LiteRTModel", Spied, raising=False)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    assert bench(DIGITS_CNN, "-n", 12, "--threads", threads)[1]["threads"] == threads
    assert bench(pair, "-n", 12, "--threads", threads)[1]["threads"] == threads
    assert asked == [threads] * 3


@pytest.mark.rotated
def test_a_keras_model_gets_its_threads():
    """In a process of its own: TensorFlow takes its number of threads once."""
    code = (
        "import sys; from pathlib import Path; from inferkit.cli._runtime import open_bare\n"
        "import numpy as np\n"
        "bare = open_bare(Path(sys.argv[1]), 3); tf = sys.modules['tensorflow']\n"
        "answer = np.asarray(bare.call([np.zeros((2, 8, 8), np.float32)]))\n"
        "got = tf.config.threading\n"
        "print(got.get_intra_op_parallelism_threads(), got.get_inter_op_parallelism_threads(), answer.shape)\n"
    )
    command = [sys.executable, "-c", code, bundled("digits-mlp.keras")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "3 3 (2, 10)\n"


@pytest.mark.rotated(3)
def test_a_keras_model_is_measured_with_the_memory_of_tensorflow():
    command = [sys.executable, "-m", "inferkit", "bench", bundled("digits-mlp.keras"), "-n", "70", "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    told = json.loads(done.stdout)
    assert (told["runtime"], told["n"], told["inputs"][0]["shape"]) == ("keras", 70, [1, 8, 8])
    assert told["peak_memory_mb"] > 200  # TensorFlow itself is in it
    assert set(told) == KEYS


def test_a_keras_model_of_several_inputs(tensorflow, tmp_path, monkeypatch):
    keras = sys.modules["keras"]
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    monkeypatch.setattr(_runtime, "use_tensorflow_threads", lambda threads: None)
    for name, inputs in (("list", [a, b]), ("dict", {"b": b, "a": a})):
        keras.Model(inputs, keras.ops.subtract(a, b)).save(tmp_path / f"{name}.keras")
        bare = open_bare(tmp_path / f"{name}.keras", 1)
        assert [one.shape for one in bare.inputs] == [(None, 2), (None, 2)]
        values = {"a": np.full((1, 2), 5, np.float32), "b": np.full((1, 2), 2, np.float32)}
        answer = bare.call([values[one.name] for one in bare.inputs])
        assert np.asarray(answer).tolist() == [[3, 3]], name


def test_a_bare_model_answers_as_its_adapter_does():
    X = (load_digits().images[:7] / 16).astype(np.float32)
    bare = open_bare(DIGITS_CNN, 1)
    bare.fit([X.shape])
    np.testing.assert_array_equal(bare.call([X])[0], LiteRTModel(DIGITS_CNN)(X))
    bare.fit([X[:2].shape])
    np.testing.assert_array_equal(bare.call([X[:2]])[0], LiteRTModel(DIGITS_CNN)(X[:2]))


def test_every_published_model_is_taken_as_it_is(bench, published):
    paths = sorted(published.rglob("*.tflite"))
    assert paths
    for path in paths:
        code, told, _ = bench(path, "-n", 12)
        assert (code, told["n"], told["batch_size"]) == (0, 12, 1), path.name
        assert told["p50_ms"] > 0
        assert told["p90_ms"] is None


# -- saved predictors --------------------------------------------------------------------------------


def test_a_saved_predictor(bench, tmp_path):
    digit_reader(num_threads=2).save(tmp_path / "reader.inferkit")
    code, told, _ = bench(tmp_path / "reader.inferkit", "-n", 70, memory=True)
    assert (code, told["runtime"], told["n"], told["threads"]) == (0, "litert", 70, 1)
    assert told["call"].startswith("predict_one ")
    assert told["inputs"] == [{"name": "rows", "shape": [1, 8, 8], "dtype": "float32"}]
    assert told["peak_memory_mb"] > 20
    told = bench(tmp_path / "reader.inferkit", "-n", 20, "--batch-size", 50)[1]
    assert (told["batch_size"], told["call"].split()[0]) == (50, "predict")
    np.save(tmp_path / "rows.npy", load_digits().images[:9])
    assert bench(tmp_path / "reader.inferkit", "-n", 20, "--input", tmp_path / "rows.npy")[0] == 0
    np.save(tmp_path / "rows.npy", load_digits().images[:9] * 3)
    code, told, errors = bench(tmp_path / "reader.inferkit", "--input", tmp_path / "rows.npy")
    assert (code, told, errors.count("\n")) == (2, None, 1)
    assert "expected values from 0 to 16 ink" in errors
    code, told, errors = bench(tmp_path / "reader.inferkit", "--shape", "1,8,8")
    assert (code, told) == (2, None)


def test_a_saved_predictor_gets_the_threads_that_were_asked_for(bench, monkeypatch, tmp_path):
    measured = []
    monkeypatch.setattr(_bench, "measure_latency", lambda p, *a, **k: measured.append(p) or measure_latency(p, *a, **k))
    digit_reader(num_threads=2).save(tmp_path / "reader.inferkit")
    for threads in (1, 3):
        bench(tmp_path / "reader.inferkit", "-n", 12, "--threads", threads)
        assert measured[-1].backend.model.num_threads == threads
    reader = _bench.with_threads(digit_reader(num_threads=1), 2)
    assert reader.backend.model.num_threads == 2
    X = load_digits().images[:20]
    np.testing.assert_allclose(reader.predict_proba(X), digit_reader().predict_proba(X), atol=1e-6)
    path = save_onnx(
        tmp_path / "one.onnx", [("x", "FLOAT", ["n", 3])], [("Relu", ["x"], ["y"])], [("y", "FLOAT", ["n", 3])]
    )
    again = _bench.with_threads(Predictor(path), 2)
    assert again.backend.model.get_session_options().intra_op_num_threads == 2
    assert again.predict([[-1, 2, 3]]).tolist() == [[0, 2, 3]]


@pytest.mark.rotated
def test_a_saved_predictor_of_tables(bench, tmp_path):
    X = np.array([[20, 0], [30, 1], [60, 40], [70, 50]], dtype=float)
    spec = TableSpec([Column("age", "years", 0, 120), Column("dose", "mg", 0, 50)])
    model = LogisticRegression().fit(X, [0, 0, 1, 1])
    Predictor(model, signature=spec, name="doses").save(tmp_path / "doses.inferkit")
    for words, memory in (([], False), (["--batch-size", 40], True)):
        code, told, _ = bench(tmp_path / "doses.inferkit", "-n", 12, *words, memory=memory)
        assert (code, told["runtime"], told["n"]) == (0, "sklearn", 12)
        assert not memory or told["peak_memory_mb"] > 50


@given(
    low=st.none() | st.floats(-1e6, 1e6),
    width=st.none() | st.just(0) | st.floats(1, 1e3),
    side=st.sampled_from(["both", "low", "high"]),
    seed=st.integers(0, 999),
)
def test_random_rows_meet_the_contract_that_they_were_made_for(low, width, side, seed):
    low = round(low) if low is not None and width == 0 else low  # a number that float32 has
    high = None if width is None or low is None else low + width
    limits = {"low": None if side == "high" else low, "high": None if side == "low" else high}
    specs = [
        ArraySpec((2, None), **limits),
        ArraySpec((3,), "float64", **limits),
        ArraySpec((3,), "uint8", low=3, high=9),
        ArraySpec((3,), "int64"),
        TableSpec([Column("x", **limits), Column("kind", categories=("a", "b"))]),
        TextSpec(max_chars=5),
    ]
    for spec in specs:
        rows = _inputs.random_rows(spec, 4, np.random.default_rng(seed))
        assert len(spec.check(rows)) == 4
        spec.check_one(rows[0])


@given(limit=st.floats(-1e30, 1e30))
def test_a_limit_is_rounded_inward_and_no_further(limit):
    low, high = (_inputs._within(limit, inward, np.dtype("float32")) for inward in (np.inf, -np.inf))
    assert float(np.nextafter(low, np.float32(-np.inf))) < limit <= float(low)
    assert float(high) <= limit < float(np.nextafter(high, np.float32(np.inf)))


# -- interrupts --------------------------------------------------------------------------------------


def interrupted_after(calls):
    """Return a program that benches, and sends itself the signal of Ctrl-C in its `calls`-th call."""
    return textwrap.dedent(f"""
        import os, signal, sys
        from inferkit.cli import _bench, _runtime, main
        real, count = _bench.open_bare, 0
        def opened(path, threads):
            bare = real(path, threads)
            def call(arrays):
                global count
                count += 1
                if count == {calls}:
                    os.kill(os.getpid(), signal.SIGINT)
                return bare.call(arrays)
            return _runtime.Bare(bare.runtime, bare.inputs, call, bare.how, bare.fit)
        _bench.open_bare = opened
        sys.exit(main(["bench", sys.argv[1], "-n", "5000", "--json", "-"]))
    """)


@pytest.mark.skipif(os.name == "nt", reason="NOT CHECKED: the signal of Ctrl-C")
def test_ctrl_c_keeps_what_was_measured():
    command = [sys.executable, "-c", interrupted_after(520), DIGITS_CNN]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 130, done.stderr
    told = json.loads(done.stdout)
    assert told["stopped"] == "interrupt"
    assert 490 <= told["n"] <= 500
    assert told["p90_ms"] > 0
    assert told["p99_ms"] is None
    assert told["peak_memory_mb"] is None
    assert "of 5,000 samples: it was interrupted" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="NOT CHECKED: the signal of Ctrl-C")
def test_ctrl_c_before_anything_was_measured_is_one_line():
    command = [sys.executable, "-c", interrupted_after(1), DIGITS_CNN]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "inferkit bench: interrupted\n")


def test_an_interrupt_while_memory_is_measured_keeps_the_times(bench, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_bench, "run_in_child", interrupted)
    code, told, errors = bench(DIGITS_CNN, "-n", 20, memory=True)
    assert (code, told["n"], told["peak_memory_mb"]) == (130, 20, None)
    assert "memory was not measured: it was interrupted" in errors


def test_a_child_that_fails_costs_the_memory_alone(bench, monkeypatch):
    from inferkit.benchmark import ChildError

    def failed(*_):
        raise ChildError("the child process was killed from outside")

    monkeypatch.setattr(_bench, "run_in_child", failed)
    code, told, errors = bench(DIGITS_CNN, "-n", 20, memory=True)
    assert (code, told["n"], told["peak_memory_mb"]) == (0, 20, None)
    assert "memory was not measured: the child process was killed from outside" in errors


def test_a_model_that_fails_at_a_later_call_is_one_clear_line(bench, monkeypatch):
    def opened(path, threads):
        bare, count = open_bare(path, threads), iter(range(10**6))

        def call(arrays):
            if next(count) == 50:
                raise RuntimeError("node 7 failed\nand more of it")
            return bare.call(arrays)

        return _runtime.Bare(bare.runtime, bare.inputs, call, bare.how, bare.fit)

    monkeypatch.setattr(_bench, "open_bare", opened)
    code, told, errors = bench(DIGITS_CNN)
    assert (code, told, errors.count("\n")) == (2, None, 1)
    assert "does not answer" in errors
    assert "raised RuntimeError: node 7 failed. Give --shape or --input" in errors


# -- agreement with a bare loop ----------------------------------------------------------------------


def bare_loop(path, array):
    """Return a function that runs a file with LiteRT alone, and gives the times of `n` calls."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    taken = interpreter.get_input_details()[0]["index"]
    given = [detail["index"] for detail in interpreter.get_output_details()]

    def times(n):
        found = []
        for _ in range(n):
            start = perf_counter_ns()
            interpreter.set_tensor(taken, array)
            interpreter.invoke()
            for index in given:
                interpreter.get_tensor(index)
            found.append(perf_counter_ns() - start)
        return found

    return times


def ratio_to_bare_loop(path, *, slower_by=0.0, rounds=15, calls=20):
    """Return bench's time for a call over that of a bare loop: the median of rounds in random turns.

    Of each round the lower quartile counts, so that another process which takes the core for a while moves nothing.
    """
    bare = open_bare(path, 1)
    shapes, rows = call_shapes(bare.inputs, None, {})
    feed = random_feed(bare.inputs, shapes, rows, {}, np.random.default_rng(0))
    loop = bare_loop(path, feed.calls[0][0])
    wait_ns = slower_by * statistics.median(loop(30))

    def call(turn):
        answer = bare.call(turn[0])
        end = perf_counter_ns() + wait_ns
        while wait_ns and perf_counter_ns() < end:
            pass
        return answer

    def ours(n):
        return measure_latency(call, feed.calls, n=n, warmup=2, progress=False).samples_ns

    ratios = []
    for _ in range(rounds):
        times = {measure: np.percentile(measure(calls), 25) for measure in random.sample([ours, loop], 2)}
        ratios.append(times[ours] / times[loop])
    return statistics.median(ratios)


@pytest.mark.quiet
@pytest.mark.parametrize(
    "name", ["face_detection_front", "mobilenet_v1_0.25_224_1_default_1", "mobilenet_v1_0.25_224_quant"]
)
def test_it_agrees_with_a_bare_loop_and_a_planted_delay_is_caught(published, name):
    """Models whose call takes half a millisecond or more, which this project has never seen."""
    (path,) = published.rglob(f"{name}.tflite")
    gc.freeze()  # else each measurement begins by looking through all that other tests have loaded
    try:
        ratio, planted = ratio_to_bare_loop(path), ratio_to_bare_loop(path, slower_by=0.3)
    finally:
        gc.unfreeze()
    print(f"{name}: {ratio:.3f} of a bare loop; {planted:.3f} with a delay of 30 % planted")
    assert 0.9 < ratio < 1.1
    assert planted > 1.15
