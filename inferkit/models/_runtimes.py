"""One network on several runtimes: each a plain function of a batch, ready to be timed beside the others."""

import os
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError, require
from ..devices import describe
from ._export import ConversionError, _reason, _silent_stderr, export_litert
from ._keras import import_keras, import_tensorflow, uncompiled
from ._litert import LiteRTModel

Array = npt.NDArray[Any]
Run = Callable[[Array], Array]

RUNTIMES = {
    "keras": "Keras, called directly: Python hands over one layer after the other",
    "tf.function": "TensorFlow's graph of the same layers: Python hands over once a call",
    "xla": "that graph, compiled by XLA for each batch size when it first comes",
    "mixed_float16": "that graph, computed in float16; weights and the last layer stay float32",
    "mixed_bfloat16": "that graph, computed in bfloat16; weights and the last layer stay float32",
    "litert": "LiteRT, on the .tflite file that the network converts to",
    "onnxruntime": "ONNX Runtime, on the ONNX file that Keras writes by tf2onnx",
    "openvino": "OpenVINO, on the .tflite file, compiled for each batch size when it first comes",
    "tensorrt": "TensorRT on an NVIDIA GPU, by way of ONNX Runtime and the ONNX file",
}
"""What each runtime is, in a line."""

_TENSORRT = "TensorrtExecutionProvider"


class MissingRuntimeError(ImportError):
    """A runtime that is not here. The message is one line: what is missing, and what would bring it."""


@dataclass(frozen=True)
class CompiledModel:
    """A network on one runtime; calling it answers a batch.

    Attributes
    ----------
    runtime : str
        One of `RUNTIMES`.
    call : callable
        The function itself, without the check of the batch.
    shape : tuple of int
        Of one row.
    num_threads : int or None
        Threads that a call may use; None where TensorFlow decides.
    size_bytes : int or None
        Of the file that the runtime reads, if it reads one.
    """

    runtime: str
    call: Run
    shape: tuple[int, ...]
    num_threads: int | None
    size_bytes: int | None = None

    def __call__(self, X: npt.ArrayLike) -> Array:
        """Return the answers to a batch, (n, ...) float32, for rows (n, ...)."""
        batch = np.asarray(X, dtype=np.float32)
        if batch.shape[1:] != self.shape or not len(batch):
            wanted = ", ".join(["n", *map(str, self.shape)])
            raise InputError(f"expected a batch of shape ({wanted}), n ≥ 1, got {batch.shape}")
        return self.call(batch)

    def __repr__(self) -> str:
        return f"CompiledModel on {self.runtime}: {RUNTIMES[self.runtime]}"


def compile_for(model: Any, runtime: str, *, num_threads: int = 1) -> CompiledModel:
    """Make one network ready on one runtime.

    Parameters
    ----------
    model : keras.Model, LiteRTModel or path-like
        With one input and one output, real numbers. A `LiteRTModel`, or the path of a ``.tflite`` file, goes to
        the runtimes that read such a file: ``"litert"`` and ``"openvino"``.
    runtime : str
        One of `RUNTIMES`.
    num_threads : int, default=1
        Threads that one call may use, of LiteRT, ONNX Runtime and OpenVINO. TensorFlow keeps to the number that it
        was given when it first computed (``TF_NUM_INTRAOP_THREADS``); ``.num_threads`` of what comes back says it.

    Returns
    -------
    CompiledModel
        A function from (n, ...) float32 to (n, ...) float32, for one call at a time. The first call of a batch size
        may compile: let it warm up. ``"keras"``, ``"tf.function"`` and ``"xla"`` follow the model's weights when
        these change later; all others hold a copy.

    Raises
    ------
    InputError
        If there is no such runtime, it does not read such a model, or the model has several inputs or outputs.
    MissingRuntimeError
        If the runtime, or what writes its file, is not installed or cannot run here.
    ConversionError
        If the network cannot be written as the file that the runtime reads.

    References
    ----------
    P. Micikevicius et al., "Mixed Precision Training", ICLR 2018: weights and the last layer in float32, the rest in
    half the bits.

    Examples
    --------
    >>> from inferkit.datasets import load_digits
    >>> from inferkit.models import load_reference
    >>> answer = compile_for(load_reference("digits-cnn"), "litert")
    >>> answer(load_digits().images[:3] / 16).argmax(axis=1)
    array([0, 1, 2])
    """
    if runtime not in RUNTIMES:
        raise InputError(f"runtime: expected one of {', '.join(RUNTIMES)}, got {runtime!r:.60}")
    if isinstance(num_threads, bool) or not isinstance(num_threads, int) or num_threads < 1:
        raise InputError(f"num_threads: expected an integer ≥ 1, got {num_threads!r}")
    file = _as_file(model)
    if file is not None and runtime not in _FROM_FILE:
        raise InputError(f"{runtime} does not read a .tflite file; give the Keras model: load_reference(name, 'keras')")
    try:
        if runtime in _FROM_FILE:
            return _FROM_FILE[runtime](file or _converted(model), num_threads)
        shape = _shape(model.inputs, model.outputs)
        if runtime in _FROM_ONNX:
            return _onnx(model, runtime, shape, num_threads)
        return CompiledModel(runtime, _FROM_KERAS[runtime](model), shape, _tensorflow_threads())
    except ImportError as error:
        raise MissingRuntimeError(f"{runtime}: {' '.join(str(error).split())}") from error


def _shape(inputs: Any, outputs: Any) -> tuple[int, ...]:
    """Return the shape of a row of the one input, or raise."""
    inputs, outputs = list(inputs), list(outputs)
    if len(inputs) != 1 or len(outputs) != 1:
        raise InputError(
            f"model: expected one input and one output, got {len(inputs)} and {len(outputs)}; "
            "make a model of the part that is to be timed: keras.Model(one_input, one_output)"
        )
    return tuple(inputs[0].shape[1:])


# -- TensorFlow ----------------------------------------------------------------------------------------


def _tensorflow_threads() -> int | None:
    """Return how many threads an operation may use; None if TensorFlow was left to decide."""
    told = import_tensorflow().config.threading.get_intra_op_parallelism_threads()
    said = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    return told or (int(said) if said.isdecimal() and int(said) else None)


def _keras(model: Any) -> Run:
    import_keras()
    return lambda X: np.asarray(model(X, training=False))


def _graph(model: Any, *, jit: bool = False) -> Run:
    """Return a graph that takes any number of rows: it is traced once."""
    tf = import_tensorflow()
    rows = tf.TensorSpec((None, *model.inputs[0].shape[1:]), tf.float32)

    def answer(X: Any) -> Any:
        return model(X, training=False)

    graph = tf.function(answer, input_signature=[rows], jit_compile=jit, autograph=False)
    return lambda X: np.asarray(graph(X))


def _xla(model: Any) -> Run:
    return _graph(model, jit=True)


def _mixed(policy: str) -> Callable[[Any], Run]:
    def make(model: Any) -> Run:
        return _graph(_cloned(model, policy))

    return make


def _cloned(model: Any, policy: str) -> Any:
    """Return a copy that computes under a dtype policy: all of it but what takes and what gives float32."""
    last = model.outputs[0]._keras_history.operation.name

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        return type(layer).from_config(config if layer.name == last else _under(policy, config))

    copy = import_keras().models.clone_model(uncompiled(model), clone_function=clone)
    copy.set_weights(model.get_weights())
    return copy


def _under(policy: str, config: Any) -> Any:
    """Return a layer's description, and those of the layers in it, with another dtype."""
    if isinstance(config, dict):
        if config.get("class_name") == "InputLayer" or "batch_shape" in config:
            return config
        return {key: policy if key == "dtype" else _under(policy, value) for key, value in config.items()}
    return [_under(policy, value) for value in config] if isinstance(config, list) else config


# -- runtimes that read a .tflite file -----------------------------------------------------------------


def _as_file(model: Any) -> LiteRTModel | None:
    """Return a model that came as a file; None for a Keras model."""
    if isinstance(model, str | os.PathLike):
        return LiteRTModel(model)
    if isinstance(model, LiteRTModel):
        return model
    if not hasattr(model, "inputs") or not hasattr(model, "export"):
        kind = type(model).__name__
        raise InputError(f"model: expected a Keras model, a LiteRTModel or the path of a .tflite file, got {kind}")
    return None


def _converted(model: Any) -> LiteRTModel:
    _shape(model.inputs, model.outputs)
    return LiteRTModel(export_litert(model))


def _litert(file: LiteRTModel, num_threads: int) -> CompiledModel:
    shape = _shape(file.inputs.values(), file.outputs.values())
    ready = LiteRTModel(file.content, num_threads=num_threads)
    return CompiledModel("litert", ready, shape, num_threads, file.size_bytes)


def _openvino(file: LiteRTModel, num_threads: int) -> CompiledModel:
    """Compile for each batch size, with tensors bound: half the time of a plain call, where networks are small."""
    shape, ov = _shape(file.inputs.values(), file.outputs.values()), require("openvino", extra="runtimes")
    settings = {
        "INFERENCE_NUM_THREADS": num_threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # else it takes bfloat16 where the processor has it, unasked
    }
    ready: dict[int, tuple[Array, Any, Any]] = {}

    def make(n: int) -> tuple[Array, Any, Any]:
        taken = np.zeros((n, *shape), np.float32)
        request = _openvino_compiled(ov, file.content, taken.shape, settings).create_infer_request()
        tensor = ov.Tensor(taken, shared_memory=True)
        request.set_input_tensor(tensor)
        return taken, request, tensor

    def run(X: Array) -> Array:
        if len(X) not in ready:
            ready[len(X)] = make(len(X))
        taken, request, _ = ready[len(X)]
        taken[...] = X
        request.infer()
        return np.array(request.get_output_tensor(0).data)

    return CompiledModel("openvino", run, shape, num_threads, file.size_bytes)


def _openvino_compiled(ov: Any, content: bytes, shape: tuple[int, ...], settings: dict[str, Any]) -> Any:
    core = _openvino_core(ov)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.tflite")  # it reads this format from a file alone
        path.write_bytes(content)
        try:
            model = core.read_model(path)
            model.reshape(list(shape))
            return core.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise ConversionError(f"OpenVINO refused the file: {_reason(error)}") from error


@cache
def _openvino_core(ov: Any) -> Any:
    """Return one core for as long as the process lives.

    OpenVINO lays a stack for signals of its own, and its last core takes that away again. Where Python's faulthandler
    had laid one before, as in Jupyter, the next Ctrl-C would then find none, and end the process without a word.
    """
    return ov.Core()


# -- runtimes that read an ONNX file -------------------------------------------------------------------


def _onnx(model: Any, runtime: str, shape: tuple[int, ...], num_threads: int) -> CompiledModel:
    ort = require("onnxruntime", extra="runtimes")
    providers = [_TENSORRT, "CUDAExecutionProvider"] if runtime == "tensorrt" else ["CPUExecutionProvider"]
    if runtime == "tensorrt":
        _check_tensorrt(ort.get_available_providers())
    content = _written_onnx(model, shape)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = num_threads, 1, 3
    session = ort.InferenceSession(content, options, providers=providers)
    taken, given = session.get_inputs()[0].name, [session.get_outputs()[0].name]
    return CompiledModel(runtime, lambda X: session.run(given, {taken: X})[0], shape, num_threads, len(content))


def _check_tensorrt(providers: list[str]) -> None:
    """Raise unless ONNX Runtime was built for TensorRT, and there is a GPU for it."""
    if not any(gpu.name.startswith("NVIDIA") for gpu in describe().gpus):
        raise ImportError("this needs an NVIDIA GPU, and this machine shows none; run it on a machine that has one")
    if _TENSORRT not in providers:
        raise ImportError(
            "this needs ONNX Runtime built for TensorRT, and the one installed is not. "
            "Install it in its place with: pip install onnxruntime-gpu tensorrt"
        )


def _written_onnx(model: Any, shape: tuple[int, ...]) -> bytes:
    """Return the ONNX file that Keras writes, for any number of rows."""
    import_keras()
    require("onnx", extra="runtimes")
    model(np.zeros((1, *shape), dtype=np.float32))  # Keras writes no model that was loaded and never called
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # tf2onnx speaks to NumPy as it was before version 2
        require("tf2onnx", extra="runtimes")
        path = Path(folder, "model.onnx")
        try:
            with _silent_stderr():
                model.export(str(path), format="onnx", verbose=False)
        except Exception as error:  # the converter raises whatever its parts raise
            raise ConversionError(f"tf2onnx refused {model.name!r}: {_reason(error)}") from error
        return path.read_bytes()


_FROM_KERAS: dict[str, Callable[[Any], Run]] = {
    "keras": _keras,
    "tf.function": _graph,
    "xla": _xla,
    "mixed_float16": _mixed("mixed_float16"),
    "mixed_bfloat16": _mixed("mixed_bfloat16"),
}
_FROM_FILE: dict[str, Callable[[LiteRTModel, int], CompiledModel]] = {"litert": _litert, "openvino": _openvino}
_FROM_ONNX = ("onnxruntime", "tensorrt")
