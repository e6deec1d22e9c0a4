"""Measure the library's way to LiteRT beside other runtimes: ``python -m tests.bench_optimize``.

Two networks (the digits CNN, a miniature MobileNet on pictures of 96×96), one row and a batch, float32 and int8. All
that is compared answers the same rows in one process, on as many threads, in turns of random order. Before it is timed,
what it answers is compared with Keras in float64. Nothing here asserts a time; a runtime that is not there or answers
otherwise is said to be not measured, and why.

Each runtime gets the best form that we know: the ONNX files are written here, layer by layer, without the detours of a
converter; OpenVINO has a shape that is fixed, its tensors bound, and float32 where its default is bfloat16; TensorFlow
has oneDNN, which is its default and not this library's.
"""

import argparse
import contextlib
import gc
import itertools
import logging
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from inferkit.datasets import split_digits
from inferkit.devices import busy_watch
from inferkit.models import LiteRTModel, export_litert, import_keras, import_tensorflow, load_reference, mobilenet
from inferkit.models._export import _silent_stderr
from inferkit.optimize import quantize
from inferkit.predictor import Predictor
from tests import bench_serving

ROUNDS, TURN_S, LEAST_CALLS = 31, 0.02, 3
ROWS_CHECKED = 32
FLOAT_TOLERANCE = 5e-5
"""A probability in float32 may differ so much from float64."""
INT8_TOLERANCE = 0.3
"""A probability in int8 may differ so much from float64, in the mean, as a share of its standard deviation."""

Run = Callable[[], Any]


@dataclass
class Network:
    """A network in all its forms, with rows to ask about and what float64 answers."""

    name: str
    model: Any
    rows: np.ndarray
    expected: np.ndarray
    litert: dict[str, bytes]
    onnx: dict[str, bytes]
    batch: int


# -- the networks ------------------------------------------------------------------------------------


def digits() -> Network:
    """Return the shipped CNN, with scans that it never saw."""
    learned, unseen, _, _ = split_digits()
    rows = np.resize(unseen / np.float32(16), (1024, 8, 8))
    return network("digits CNN", load_reference("digits-cnn", "keras"), rows, learned[::5] / np.float32(16))


def pictures() -> Network:
    """Return a MobileNet with seeded weights that has seen tiles of many colours, and only set its averages by them."""
    rng = np.random.default_rng(0)
    colour, contrast = rng.random((192, 1, 1, 3)), rng.random((192, 1, 1, 1))
    tiles = np.kron(colour + contrast * (rng.random((192, 6, 6, 3)) - 0.5), np.ones((1, 16, 16, 1)))
    rows = np.clip(tiles + rng.normal(0, 0.05, tiles.shape), 0, 1).astype(np.float32)
    model = mobilenet((96, 96, 3), random_state=0)
    for _ in range(50):
        model(rows[64:], training=True)
    tell_apart(model, rows[64:])
    return network("MobileNet 96×96×3", model, rows[:64], rows[64:])


def tell_apart(model: Any, rows: np.ndarray) -> None:
    """Stretch the last layer: untrained, it would give every picture the same class, and hide a wrong answer."""
    last = model.layers[-1]
    kernel, _ = last.get_weights()
    features = np.asarray(import_keras().Model(model.input, last.input)(rows))
    logits = features @ kernel
    stretch = 2 / logits.std(axis=0)
    last.set_weights([kernel * stretch, -logits.mean(axis=0) * stretch])


def network(name: str, model: Any, rows: np.ndarray, calibration: np.ndarray) -> Network:
    """Return a network in all its forms."""
    litert = {"float32": export_litert(model), "int8": quantize(model, "int8", calibration=calibration).content}
    onnx = to_onnx(model)
    both = {"float32": onnx, "int8": quantized_onnx(onnx, calibration)}
    return Network(name, model, rows, in_float64(model, rows), litert, both, len(rows))


def in_float64(model: Any, rows: np.ndarray) -> np.ndarray:
    """Return what Keras answers in double precision."""
    keras = import_keras()

    def wide(layer: Any) -> Any:
        return layer.__class__.from_config(layer.get_config() | {"dtype": "float64"})

    double = keras.models.clone_model(model, clone_function=wide)
    double.set_weights(model.get_weights())
    answers = np.asarray(double(rows.astype(np.float64)))
    assert answers.dtype == np.float64
    return answers


# -- ONNX --------------------------------------------------------------------------------------------


class OnnxWriter:
    """A chain of Keras layers, written node by node; channels come first, as ONNX has them."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.last, self.flat = "input", None

    def constant(self, values: np.ndarray) -> str:
        """Add an array; return its name."""
        name = f"w{len(self.weights)}"
        self.weights.append(import_module("onnx.numpy_helper").from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, kind: str, *arrays: np.ndarray, **attributes: Any) -> None:
        """Add a node that takes what the last one gave."""
        inputs, output = [self.last, *map(self.constant, arrays)], f"n{len(self.nodes)}"
        self.nodes.append(import_module("onnx.helper").make_node(kind, inputs, [output], **attributes))
        self.last = output

    def layer(self, layer: Any) -> None:
        """Add a Keras layer, by its class."""
        getattr(self, f"on_{type(layer).__name__.lower()}")(layer, *layer.get_weights())

    def on_inputlayer(self, layer: Any) -> None:
        """Put colours first."""
        if len(layer.batch_shape) == 4:
            self.add("Transpose", perm=[0, 3, 1, 2])

    def on_reshape(self, layer: Any) -> None:
        """Give a grey picture its one channel, in front."""
        height, width, channels = layer.target_shape
        assert channels == 1
        self.add("Reshape", np.array([-1, 1, height, width]))

    def on_conv2d(self, layer: Any, kernel: np.ndarray, *bias: np.ndarray) -> None:
        """Add a convolution."""
        self._convolve(layer, kernel.transpose(3, 2, 0, 1), bias, 1)

    def on_depthwiseconv2d(self, layer: Any, kernel: np.ndarray, *bias: np.ndarray) -> None:
        """Add a convolution of each channel by itself."""
        self._convolve(layer, kernel.transpose(2, 3, 0, 1), bias, kernel.shape[2])

    def _convolve(self, layer: Any, kernel: np.ndarray, bias: tuple[np.ndarray, ...], group: int) -> None:
        pad = {"same": "SAME_UPPER", "valid": "VALID"}[layer.padding]
        sizes = {"kernel_shape": kernel.shape[2:], "strides": layer.strides}
        self.add("Conv", kernel, *bias, group=group, auto_pad=pad, **sizes)
        self._activate(layer)

    def on_batchnormalization(self, layer: Any, *weights: np.ndarray) -> None:
        """Add a normalisation by fixed averages: scale, shift, mean, variance."""
        self.add("BatchNormalization", *weights, epsilon=layer.epsilon)

    def on_relu(self, layer: Any) -> None:
        """Add what cuts off below 0, and above some value."""
        assert layer.negative_slope == layer.threshold == 0
        self.add("Clip", np.float32(0), np.float32(layer.max_value))

    def on_maxpooling2d(self, layer: Any) -> None:
        """Take the largest of each window."""
        self.add("MaxPool", kernel_shape=layer.pool_size, strides=layer.strides)

    def on_globalaveragepooling2d(self, layer: Any) -> None:
        """Take the mean of each channel."""
        self.add("GlobalAveragePool")
        self.add("Flatten")

    def on_dropout(self, layer: Any) -> None:
        """Do nothing: that is for training."""

    def on_flatten(self, layer: Any) -> None:
        """Lay all values in a row; the next layer's weights are put into the same order."""
        self.flat = layer.input.shape[1:]
        self.add("Flatten")

    def on_dense(self, layer: Any, kernel: np.ndarray, bias: np.ndarray) -> None:
        """Add a dense layer."""
        if self.flat is not None:
            kernel = kernel.reshape(*self.flat, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
            self.flat = None
        self.add("Gemm", kernel, bias)
        self._activate(layer)

    def _activate(self, layer: Any) -> None:
        kind = {"relu": "Relu", "softmax": "Softmax", "linear": None}[layer.activation.__name__]
        if kind is not None:
            self.add(kind)


def to_onnx(model: Any) -> bytes:
    """Return a Keras model that is one chain of layers as an ONNX file, for any number of rows."""
    helper, kinds = import_module("onnx.helper"), import_module("onnx").TensorProto
    writer = OnnxWriter()
    for layer in model.layers:
        writer.layer(layer)
    taken = helper.make_tensor_value_info("input", kinds.FLOAT, ["n", *model.input_shape[1:]])
    given = helper.make_tensor_value_info(writer.last, kinds.FLOAT, ["n", *model.output_shape[1:]])
    graph = helper.make_graph(writer.nodes, model.name, [taken], [given], writer.weights)
    opset = helper.make_opsetid("", 17)
    content: bytes = helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()
    return content


def quantized_onnx(content: bytes, calibration: np.ndarray) -> bytes:
    """Return ONNX Runtime's static quantization: weights int8 for each channel, activations uint8."""
    ort = import_module("onnxruntime.quantization")

    class Rows(ort.CalibrationDataReader):  # type: ignore[misc, name-defined]
        rows = iter(calibration)

        def get_next(self) -> dict[str, np.ndarray] | None:
            row = next(self.rows, None)
            return None if row is None else {"input": row[None]}

    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        with tempfile.TemporaryDirectory() as folder:
            plain, folded, small = (Path(folder, f"{name}.onnx") for name in ("plain", "folded", "small"))
            plain.write_bytes(content)
            ort.shape_inference.quant_pre_process(plain, folded, skip_symbolic_shape=True)
            kinds = {"activation_type": ort.QuantType.QUInt8, "weight_type": ort.QuantType.QInt8}
            ort.quantize_static(folded, small, Rows(), quant_format=ort.QuantFormat.QDQ, per_channel=True, **kinds)
            return small.read_bytes()
    finally:
        logging.root.setLevel(level)


# -- the runtimes ------------------------------------------------------------------------------------


def by_predictor(net: Network, kind: str, X: np.ndarray, threads: int) -> Run:
    """Answer as the library does: rows checked, labels given."""
    predictor = Predictor(LiteRTModel(net.litert[kind], num_threads=threads), labels=range(net.expected.shape[1]))
    one = X[0]
    return (lambda: predictor.predict_one(one)) if len(X) == 1 else lambda: predictor.predict(X)


def by_adapter(net: Network, kind: str, X: np.ndarray, threads: int) -> Run:
    """Answer by the library's adapter alone, as the predictor calls it."""
    model = LiteRTModel(net.litert[kind], num_threads=threads)
    return (lambda: model.call_one(X)) if len(X) == 1 else lambda: model(X)


def by_litert(net: Network, kind: str, X: np.ndarray, threads: int, at_once: int | None = None) -> Run:
    """Answer by the bare interpreter, which stands ready for so many rows."""
    from ai_edge_litert.interpreter import Interpreter

    bare, rows = Interpreter(model_content=net.litert[kind], num_threads=threads), at_once or len(X)
    taken, given = bare.get_input_details()[0]["index"], bare.get_output_details()[0]["index"]
    bare.resize_tensor_input(taken, (rows, *X.shape[1:]))
    bare.allocate_tensors()

    def run(some: np.ndarray) -> Any:
        bare.set_tensor(taken, some)
        bare.invoke()
        return bare.get_tensor(given)

    if rows == len(X):
        return lambda: run(X)
    return lambda: np.concatenate([run(X[i : i + rows]) for i in range(0, len(X), rows)])


def by_litert_256(net: Network, kind: str, X: np.ndarray, threads: int) -> Run:
    """Answer by the bare interpreter, 256 rows at a time."""
    if len(X) <= 256:
        raise Unmeasured("no more than 256 rows")
    return by_litert(net, kind, X, threads, 256)


def by_onnxruntime(net: Network, kind: str, X: np.ndarray, threads: int) -> Run:
    """Answer by ONNX Runtime."""
    ort = import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    session = ort.InferenceSession(net.onnx[kind], options, providers=["CPUExecutionProvider"])
    given = [session.get_outputs()[0].name]
    return lambda: session.run(given, {"input": X})[0]


def by_openvino(net: Network, kind: str, X: np.ndarray, threads: int, source: str = "onnx") -> Run:
    """Answer by OpenVINO, its tensors bound: less than half the time of its plain call for one digit."""
    ov = import_module("openvino")
    core = ov.Core()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"model.{'onnx' if source == 'onnx' else 'tflite'}")
        path.write_bytes((net.onnx if source == "onnx" else net.litert)[kind])
        model = core.read_model(path)
    model.reshape(list(X.shape))
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    taken = np.zeros_like(X)
    tensor = ov.Tensor(taken, shared_memory=True)
    request.set_input_tensor(tensor)
    given = request.get_output_tensor(0)

    def run() -> Any:
        taken[...] = X
        request.infer()
        return given.data.copy()

    return run


def by_openvino_tflite(net: Network, kind: str, X: np.ndarray, threads: int) -> Run:
    """Answer by OpenVINO, which reads the very file that LiteRT has."""
    return by_openvino(net, kind, X, threads, "tflite")


def by_keras(how: Callable[[Any, np.ndarray], Any]) -> Callable[[Network, str, np.ndarray, int], Run]:
    """Return a way to answer by Keras."""

    def make(net: Network, kind: str, X: np.ndarray, threads: int) -> Run:
        if kind != "float32":
            raise Unmeasured("Keras has no convolutions in int8")
        return lambda: np.asarray(how(net.model, X))

    return make


class Unmeasured(Exception):
    """Why something is not measured."""


OURS, ADAPTER, BARE = "inferkit, Predictor", "inferkit, LiteRTModel", "LiteRT, bare"
RUNTIMES: dict[str, Callable[[Network, str, np.ndarray, int], Run]] = {
    OURS: by_predictor,
    ADAPTER: by_adapter,
    BARE: by_litert,
    "LiteRT, bare, 256 rows at a time": by_litert_256,
    "ONNX Runtime": by_onnxruntime,
    "OpenVINO, from ONNX": by_openvino,
    "OpenVINO, from the .tflite file": by_openvino_tflite,
    "Keras, model(x)": by_keras(lambda model, X: model(X)),
    "Keras, predict_on_batch": by_keras(lambda model, X: model.predict_on_batch(X)),
    "Keras, predict": by_keras(lambda model, X: model.predict(X, batch_size=len(X), verbose=0)),
}


# -- checking and timing -----------------------------------------------------------------------------


def checked(run: Run, X: np.ndarray, net: Network, kind: str) -> str:
    """Compare the answers to some rows, one set after the other in the same place, so that an old answer is seen."""
    n_sets, varies = max(2, ROWS_CHECKED // len(X)), net.expected.std(axis=0).mean()
    starts = [i * len(net.rows) // n_sets for i in range(n_sets)]
    sets = [(start + np.arange(len(X))) % len(net.rows) for start in reversed(starts)]  # at last those that are timed
    answers = []
    for order in sets:
        X[...] = net.rows[order]
        answers.append(np.array(run(), ndmin=1))
    if len(X) == 1:  # too few to judge int8 by
        sets, answers = [np.concatenate(sets)], [np.concatenate(answers)]
    return max(check(some, net.expected[order], kind, varies) for some, order in zip(answers, sets, strict=True))


def check(answers: np.ndarray, expected: np.ndarray, kind: str, varies: float) -> str:
    """Return by how much answers differ from float64, or say that it is too much.

    Parameters
    ----------
    answers : (n,) array of labels or (n, k) array of probabilities
    expected : (n, k) float64 array
    kind : {"float32", "int8"}
    varies : float
        How much a probability varies over all rows, as a standard deviation.

    Examples
    --------
    >>> check(np.array([1, 0]), np.array([[0.2, 0.8], [0.7, 0.3]]), "float32", 0.3)
    'labels as float64'
    >>> check(np.array([[0.2, 0.8]]), np.array([[0.20001, 0.79999]]), "float32", 0.3)
    'off by 0.000010 at most'
    >>> check(np.array([[0.8, 0.2]]), np.array([[0.2, 0.8]]), "int8", 0.3)
    Traceback (most recent call last):
        ...
    tests.bench_optimize.Unmeasured: its answers are off by up to 0.6
    """
    if answers.ndim == 1:
        return _check_labels(answers, expected, kind, varies)
    if answers.shape != expected.shape or not np.isfinite(answers).all():
        raise Unmeasured(f"it answers with shape {answers.shape}, or not with numbers")
    off = np.abs(answers - expected)
    far = off.max() > FLOAT_TOLERANCE if kind == "float32" else off.mean() > INT8_TOLERANCE * varies
    if far:
        raise Unmeasured(f"its answers are off by up to {off.max():.2g}")
    return f"off by {off.max():.6f} at most"


def _check_labels(labels: np.ndarray, expected: np.ndarray, kind: str, varies: float) -> str:
    """Compare labels where float64 is clear; int8 may get one in ten of them wrong."""
    top = np.sort(expected, axis=1)
    clear = top[:, -1] - top[:, -2] > (2 * FLOAT_TOLERANCE if kind == "float32" else varies)
    wrong = ((labels != expected.argmax(axis=1)) & clear).sum()
    if wrong > (0 if kind == "float32" else clear.sum() / 10):
        raise Unmeasured(f"{wrong} of {clear.sum()} clear labels are not those of float64")
    return "labels as float64" if not wrong else f"{wrong} of {clear.sum()} clear labels differ"


@dataclass
class Timed:
    """One runtime in one table."""

    run: Run
    checked: str
    medians: list[float] = field(default_factory=list)

    def turn(self) -> None:
        """Call it for a while, after a call that is not counted; keep the median in seconds."""
        self.run()
        times: list[int] = []
        end = time.perf_counter_ns() + int(1e9 * TURN_S)
        while len(times) < LEAST_CALLS or time.perf_counter_ns() < end:
            start = time.perf_counter_ns()
            self.run()
            times.append(time.perf_counter_ns() - start)
        self.medians.append(statistics.median(times) / 1e9)


def measure(net: Network, kind: str, n: int, threads: int, rounds: int) -> tuple[dict[str, Timed], dict[str, str]]:
    """Return the times of each runtime for so many rows, and why others have none."""
    X = net.rows[:n].copy()
    found: dict[str, Timed] = {}
    missing: dict[str, str] = {}
    for name, make in RUNTIMES.items():
        try:
            run = make(net, kind, X, threads)
            found[name] = Timed(run, checked(run, X, net, kind))
        except Exception as error:  # each runtime raises its own
            text = str(error).strip().splitlines() or [""]
            missing[name] = text[0] if isinstance(error, Unmeasured) else f"{type(error).__name__}: {text[0][:150]}"
    gc.collect()
    gc.freeze()
    try:
        for _ in range(rounds):
            for timed in random.sample(list(found.values()), len(found)):
                timed.turn()
    finally:
        gc.unfreeze()
    return found, missing


# -- the table ---------------------------------------------------------------------------------------


def shown(seconds: Sequence[float]) -> str:
    """Return the median of some times, and their middle 80 %, in a unit that fits."""
    low, middle, high = np.percentile(seconds, [10, 50, 90])
    scale, unit = (1e6, "µs") if middle < 1e-3 else (1e3, "ms")
    digits = 1 if middle * scale < 100 else 0
    return f"{middle * scale:,.{digits}f} {unit} ({low * scale:,.{digits}f} to {high * scale:,.{digits}f})"


def ratios(some: Timed, other: Timed) -> float:
    """Return the median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(some.medians, other.medians, strict=True))


def print_table(found: dict[str, Timed], missing: dict[str, str], n: int) -> None:
    """Print the runtimes, the fastest first, and where the library stands."""
    ranked = sorted(found, key=lambda name: statistics.median(found[name].medians))
    for name in ranked:
        one = found[name]
        rate = f"{n / statistics.median(one.medians):>11,.0f} rows/s" if n > 1 else ""
        times = f"{ratios(one, found[ranked[0]]):>10,.2f} × the fastest"
        print(f"    {name:<34}{shown(one.medians):>30}{rate}{times}; {one.checked}")
    for name, why in missing.items():
        print(f"    {name:<34}not measured: {why}")
    if {OURS, ADAPTER, BARE} <= found.keys():
        print(f"    {behind(found, ranked[0])}")


def behind(found: dict[str, Timed], fastest: str) -> str:
    """Say by how much the library's path is behind the fastest, and where the time goes.

    Examples
    --------
    >>> times = {OURS: [9e-6, 9e-6], ADAPTER: [7e-6, 7e-6], BARE: [6e-6, 6e-6], "other": [4e-6, 4e-6]}
    >>> behind({name: Timed(lambda: None, "", s) for name, s in times.items()}, "other")
    'inferkit: 2.25 × other. Of +5.0 µs: checks, reading and cutting +2.0, adapter +1.0, the runtime itself +2.0'
    """
    chain = [found[name].medians for name in (OURS, ADAPTER, BARE, fastest)]
    scale, unit = (1e6, "µs") if statistics.median(chain[0]) < 1e-3 else (1e3, "ms")
    steps = [scale * statistics.median(a - b for a, b in zip(*pair, strict=True)) for pair in itertools.pairwise(chain)]
    whole = scale * statistics.median(a - b for a, b in zip(chain[0], chain[-1], strict=True))
    words = ("checks, reading and cutting", "adapter", "the runtime itself")
    parts = ", ".join(f"{word} {step:+.1f}" for word, step in zip(words, steps, strict=True))
    return f"inferkit: {ratios(found[OURS], found[fastest]):.2f} × {fastest}. Of {whole:+.1f} {unit}: {parts}"


@contextlib.contextmanager
def competitors() -> Iterator[None]:
    """Let what only the competitors' environment has be found there; without a network, go on without it."""
    before = list(sys.path)
    try:
        bench_serving.environment()
        sys.path += map(str, bench_serving.ENVIRONMENT.glob("lib/*/site-packages"))  # last: what is here comes first
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"the competitors' environment cannot be made: {error}")
    try:
        yield
    finally:
        sys.path[:] = before


def main(arguments: Sequence[str] = ()) -> None:
    """Print a table for each network, kind of number and batch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=("digits", "pictures"))
    chosen = parser.parse_args(arguments)
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    with _silent_stderr():  # TensorFlow would tell of it
        settings = import_tensorflow().config.threading
    settings.set_intra_op_parallelism_threads(chosen.threads)
    settings.set_inter_op_parallelism_threads(1)
    with competitors(), busy_watch() as others:
        for name, make in {"digits": digits, "pictures": pictures}.items():
            if chosen.only in (None, name):
                print_network(make(), chosen.threads, chosen.rounds)
    print(f"note: {others.words}" if others.words else "the machine was quiet")


def print_network(net: Network, threads: int, rounds: int) -> None:
    """Print the four tables of one network."""
    for kind in ("float32", "int8"):
        sizes = f".tflite {len(net.litert[kind]) / 1e3:.0f} kB, ONNX {len(net.onnx[kind]) / 1e3:.0f} kB"
        for n in (1, net.batch):
            what = f"{n:,} row{'s' * (n > 1)}, {threads} thread{'s' * (threads > 1)}"
            print(f"Runtimes, {net.name}, {kind} ({sizes}), {what}; medians of {rounds} rounds (middle 80 %):")
            print_table(*measure(net, kind, n, threads, rounds), n)


if __name__ == "__main__":
    main(sys.argv[1:])
