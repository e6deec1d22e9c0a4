"""One network on every runtime: each answers as Keras does, and what is not here says so in one line."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from inferkit import InputError
from inferkit.devices import Gpu, describe
from inferkit.models import RUNTIMES, ConversionError, LiteRTModel, MissingRuntimeError, compile_for, load_reference
from inferkit.models import _runtimes as runtimes
from tests.machine import not_checked
from tests.networks import in_turn

EXACT = ("keras", "tf.function", "xla", "litert", "onnxruntime", "openvino")
"""Runtimes that compute in float32 on the processor."""
FLOAT_TOLERANCE = 2e-5
"""A probability from one order of float32 sums may differ so much from another's: seen is a tenth of it."""
MANTISSA = {"mixed_float16": 10, "mixed_bfloat16": 7}
BATCHES = (1, 7, 64)
NETWORKS = ("digits-cnn", "digits-mobilenet")


@pytest.fixture(scope="module")
def networks(tensorflow):
    return {name: load_reference(name, "keras") for name in NETWORKS}


@pytest.fixture(scope="module")
def rows():
    """Return rows whose every number matters: noise, and no two alike."""
    return np.random.default_rng(0).random((2 * max(BATCHES), 8, 8), dtype=np.float32)


def ready(model, runtime, **options):
    """Compile for a runtime; where it is not installed, say what was not checked."""
    try:
        return compile_for(model, runtime, **options)
    except MissingRuntimeError as error:
        not_checked(f"answers of {error}")


def tolerance(model, runtime, expected):
    """Return how far a probability may be off in a number format with few bits.

    Each layer with weights rounds its results by up to half a unit in the last place, one independent of the other: so
    a sum of logits is off by the root of their number. A probability moves by less than the logits do.
    """
    if runtime in EXACT:
        return FLOAT_TOLERANCE
    logits = np.log(expected)
    depth = sum(bool(layer.weights) for layer in model.layers)
    return np.sqrt(depth) * 2.0 ** -(MANTISSA[runtime] + 1) * np.ptp(logits, axis=1).max()


@pytest.mark.parametrize(
    "runtime",
    in_turn([name for name in RUNTIMES if name != "tensorrt"], "keras", "tf.function", "litert", "onnxruntime"),
)
@pytest.mark.parametrize("name", ["digits-cnn", pytest.param("digits-mobilenet", marks=pytest.mark.rotated)])
def test_a_runtime_answers_as_keras_does(networks, rows, name, runtime):
    model = networks[name]
    answer, whole = ready(model, runtime), np.asarray(model(rows))
    limit = tolerance(model, runtime, whole)
    for n in (*BATCHES, 1):
        both = answer(rows[:n]), answer(rows[-n:])  # the second must not answer for the first, nor write over it
        for found, expected in zip(both, (whole[:n], whole[-n:]), strict=True):
            assert (found.shape, found.dtype) == ((n, 10), np.float32)
            off = np.abs(found - expected).max()
            assert off <= limit, f"{runtime}, {n} rows: off by {off:.2g}, allowed {limit:.2g}"
    print(f"{runtime} on {name}: off by {np.abs(answer(rows) - whole).max():.2g}, allowed {limit:.2g}")


@pytest.mark.parametrize("runtime", EXACT)
def test_weights_that_are_off_by_a_hundredth_are_noticed(networks, rows, runtime):
    """The positive control: the tolerance tells one per cent of one layer."""
    model = networks["digits-cnn"]
    right = np.asarray(model(rows))
    kernel, bias = model.layers[-1].get_weights()
    try:
        model.layers[-1].set_weights([kernel * np.float32(1.01), bias])
        found = ready(model, runtime)(rows)
        assert np.abs(found - np.asarray(model(rows))).max() <= FLOAT_TOLERANCE
    finally:
        model.layers[-1].set_weights([kernel, bias])
    assert np.abs(found - right).max() > 10 * FLOAT_TOLERANCE


def test_xla_really_compiles(tensorflow):
    """It refuses what it has no code for, such as text in between; the graph alone does not."""
    keras = sys.modules["keras"]

    class Spelled(keras.layers.Layer):
        def call(self, x):
            return tensorflow.strings.to_number(tensorflow.strings.as_string(x))

    model = keras.Sequential([keras.Input((3,)), Spelled()])
    X = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(compile_for(model, "tf.function")(X), X)
    with pytest.raises(tensorflow.errors.InvalidArgumentError, match="unsupported operations"):
        compile_for(model, "xla")(X)


@pytest.mark.parametrize("runtime", MANTISSA)
def test_a_mixed_network_really_computes_in_few_bits(networks, rows, runtime):
    """It is off by more than float32 could be, in proportion to its bits; the network itself stays as it was."""
    model = networks["digits-cnn"]
    before = [weights.copy() for weights in model.get_weights()]
    copy = runtimes._cloned(model, runtime)
    kinds = {layer.compute_dtype for layer in copy.layers[1:-1]}
    assert (kinds, copy.layers[-1].compute_dtype) == ({runtime.removeprefix("mixed_")}, "float32")
    assert {weight.dtype for weight in copy.weights} == {"float32"}
    off = np.abs(compile_for(model, runtime)(rows) - np.asarray(model(rows))).max()
    assert off > 2.0 ** -(MANTISSA[runtime] + 6)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_what_is_inside_a_layer_computes_in_few_bits_too(tensorflow):
    keras = sys.modules["keras"]
    layers = keras.layers
    inside = keras.Sequential([layers.Input((6, 4)), layers.Bidirectional(layers.GRU(3))])
    model = keras.Sequential([layers.Input((6, 4)), inside, layers.Dense(2, activation="softmax")])
    copy = runtimes._cloned(model, "mixed_bfloat16")
    ways = copy.get_layer(inside.name).layers[-1]
    assert (ways.compute_dtype, ways.forward_layer.compute_dtype) == ("bfloat16", "bfloat16")
    X = np.random.default_rng(0).random((3, 6, 4), dtype=np.float32)
    assert np.abs(np.asarray(copy(X)) - np.asarray(model(X))).max() < 0.05


# -- files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runtime", ["litert", "openvino"])
def test_a_file_is_read_where_the_runtime_reads_such(rows, tmp_path, runtime):
    file = load_reference("digits-cnn")
    (tmp_path / "m.tflite").write_bytes(file.content)
    for model in (file, tmp_path / "m.tflite", str(tmp_path / "m.tflite")):
        answer = ready(model, runtime, num_threads=2)
        np.testing.assert_allclose(answer(rows), file(rows), atol=FLOAT_TOLERANCE)
        assert (answer.num_threads, answer.size_bytes) == (2, file.size_bytes)
        assert getattr(answer.call, "num_threads", 2) == 2  # LiteRT's own model says it too


def test_integers_behind_real_inputs_are_read_by_openvino_too(rows):
    file = load_reference("digits-cnn-int8")
    off = np.abs(ready(file, "openvino")(rows) - file(rows))
    assert off.mean() < 0.02  # each rounds its sums in its own way


@pytest.mark.parametrize("runtime", ["keras", "tf.function", "xla", "mixed_float16", "onnxruntime", "tensorrt"])
def test_a_file_is_refused_where_the_runtime_reads_none(runtime):
    with pytest.raises(InputError, match=r"does not read a \.tflite file.*'keras'"):
        compile_for(load_reference("digits-cnn"), runtime)


# -- what is refused -----------------------------------------------------------------------------------


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError, match=r"expected one of keras, tf\.function, .*tensorrt, got 'torch'"):
        compile_for(load_reference("digits-cnn"), "torch")


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "2"])
def test_threads_are_a_whole_number(value):
    with pytest.raises(InputError, match="num_threads: expected an integer"):
        compile_for(load_reference("digits-cnn"), "litert", num_threads=value)


@pytest.mark.parametrize("model", [None, len, np.zeros(3)])
def test_what_is_no_model_is_refused(model):
    with pytest.raises(InputError, match="expected a Keras model, a LiteRTModel or the path"):
        compile_for(model, "litert")


@pytest.mark.parametrize("shape", [(0, 8, 8), (8, 8), (2, 8, 9), (2, 64)])
def test_a_batch_of_another_shape_is_refused(shape):
    with pytest.raises(InputError, match=r"shape \(n, 8, 8\), n ≥ 1, got"):
        compile_for(load_reference("digits-cnn"), "litert")(np.zeros(shape))


@pytest.mark.parametrize("runtime", ["keras", "xla", "litert", "openvino", "onnxruntime"])
def test_two_inputs_are_refused(tensorflow, runtime):
    keras = sys.modules["keras"]
    inputs = keras.Input((3,)), keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Add()(inputs))
    with pytest.raises(InputError, match="one input and one output, got 2 and 1"):
        compile_for(model, runtime)


def test_a_network_that_cannot_be_written_is_refused_with_the_reason(networks, monkeypatch):
    def fail(*_, **__):
        raise ValueError("no such operator")

    model = networks["digits-cnn"]
    monkeypatch.setattr(type(model), "export", fail)
    for runtime in ("litert", "onnxruntime"):
        with pytest.raises(ConversionError, match=r"refused 'digits-cnn|refused .*no such operator"):
            compile_for(model, runtime)


def test_a_file_that_openvino_cannot_read_is_refused_with_the_reason(rows):
    ready(load_reference("digits-cnn"), "openvino")
    ov = sys.modules["openvino"]
    with pytest.raises(ConversionError, match="OpenVINO refused the file"):
        runtimes._openvino_compiled(ov, b"....TFL3" + bytes(40), (1, 8, 8), {})


# -- what is missing -----------------------------------------------------------------------------------


def is_one_line(error, runtime, *words):
    assert str(error.value).startswith(f"{runtime}: ")
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("runtime", "package", "installed"),
    [
        ("keras", "tensorflow", "tensorflow"),
        ("tf.function", "tensorflow", "tensorflow"),
        ("xla", "tensorflow", "tensorflow"),
        ("mixed_float16", "keras", "keras>="),
        ("mixed_bfloat16", "keras", "keras>="),
        ("onnxruntime", "onnxruntime", "onnxruntime>="),
        ("onnxruntime", "onnx", "tf2onnx>="),
        ("onnxruntime", "tf2onnx", "tf2onnx>="),
        ("openvino", "openvino", "openvino>="),
    ],
)
def test_what_is_missing_is_said_in_one_line(networks, monkeypatch, runtime, package, installed):
    model = networks["digits-cnn"] if runtime != "openvino" else load_reference("digits-cnn")
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingRuntimeError) as error:
        compile_for(model, runtime)
    is_one_line(error, runtime, f"this needs {package}, which", "pip install ", f'"{installed}')


def test_an_installed_runtime_that_does_not_load_is_said_in_one_line(monkeypatch):
    def broken(name, *, extra):
        raise ImportError("libopenvino.so: cannot open\nshared object file")

    monkeypatch.setattr(runtimes, "require", broken)
    with pytest.raises(MissingRuntimeError) as error:
        compile_for(load_reference("digits-cnn"), "openvino")
    is_one_line(error, "openvino", "cannot open shared object file")


def test_tensorrt_says_what_it_lacks(networks, monkeypatch):
    ready(networks["digits-cnn"], "onnxruntime")
    with_gpu = replace(describe(), gpus=(Gpu("NVIDIA T4", 2**34, "550"),))
    monkeypatch.setattr(runtimes, "describe", lambda: replace(with_gpu, gpus=(Gpu("Apple M2, 10 GPU cores"),)))
    with pytest.raises(MissingRuntimeError) as error:
        compile_for(networks["digits-cnn"], "tensorrt")
    is_one_line(error, "tensorrt", "NVIDIA GPU")
    monkeypatch.setattr(runtimes, "describe", lambda: with_gpu)
    monkeypatch.setattr(sys.modules["onnxruntime"], "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(MissingRuntimeError) as error:
        compile_for(networks["digits-cnn"], "tensorrt")
    is_one_line(error, "tensorrt", "onnxruntime-gpu")


def test_tensorrt_is_asked_for_first_where_it_is(networks, monkeypatch):
    ready(networks["digits-cnn"], "onnxruntime")
    asked = []

    class Session:
        def __init__(self, content, options, providers):
            asked.extend(providers)

        def get_inputs(self):
            return [replace(Gpu(""), name="in")]

        get_outputs = get_inputs

        def run(self, given, taken):
            return [np.ones((len(taken["in"]), 10), np.float32)]

    monkeypatch.setattr(runtimes, "describe", lambda: replace(describe(), gpus=(Gpu("NVIDIA T4", 2**34, "550"),)))
    ort = sys.modules["onnxruntime"]
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["TensorrtExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(ort, "InferenceSession", Session)
    answer = compile_for(networks["digits-cnn"], "tensorrt")
    assert asked == ["TensorrtExecutionProvider", "CUDAExecutionProvider"]
    assert answer(np.zeros((2, 8, 8))).shape == (2, 10)


# -- what comes back -----------------------------------------------------------------------------------


def test_every_runtime_is_named_and_made():
    assert set(RUNTIMES) == {*runtimes._FROM_KERAS, *runtimes._FROM_FILE, *runtimes._FROM_ONNX}
    assert all("\n" not in words and len(words) < 100 for words in RUNTIMES.values())


def test_threads_that_tensorflow_decides_about_are_not_claimed(networks, monkeypatch):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    assert compile_for(networks["digits-cnn"], "keras", num_threads=4).num_threads == 1
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")
    assert compile_for(networks["digits-cnn"], "keras").num_threads is None


def test_a_ledger_learns_the_threads_and_the_bytes(rows):
    from inferkit.benchmark import compare

    file = load_reference("digits-cnn")
    found = compare({"a": compile_for(LiteRTModel(file.content), "litert")}, rows, n=20, rounds=2)["a"]
    assert (found.threads, found.size_bytes) == (1, file.size_bytes)
    assert "LiteRT" in repr(compile_for(file, "litert"))


def test_a_model_that_was_loaded_and_never_called_is_ready_at_once(rows):
    fresh = load_reference("digits-mlp", "keras")
    expected = load_reference("digits-mlp")(rows[:3])
    np.testing.assert_allclose(ready(fresh, "onnxruntime")(rows[:3]), expected, atol=FLOAT_TOLERANCE)


INTERRUPTED = """
import faulthandler, gc, os, signal
faulthandler.enable()
import numpy as np
from inferkit.models import compile_for, load_reference
for _ in range(2):
    ready = compile_for(load_reference("digits-cnn"), "openvino")
    for n in (1, 7, 64):
        ready(np.zeros((n, 8, 8), np.float32))
del ready
gc.collect()
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("heard")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="stacks for signals are laid so on Linux")
def test_an_interrupt_is_heard_when_openvino_has_come_and_gone(networks):
    ready(networks["digits-cnn"], "openvino")
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr
