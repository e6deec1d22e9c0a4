"""A model file as its runtime calls it: nothing of ours between the clock and the call.

Imports nothing but NumPy until a file is opened, so that a process which opens one and answers once shows what the
model itself needs.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError, ModelFileError, require

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
SUFFIXES = (".tflite", ".keras", ".onnx")


@dataclass(frozen=True)
class Input:
    """What a model says of one of its inputs.

    Parameters
    ----------
    name : str
    shape : tuple of int or None
        None stands for a length that the model leaves open.
    dtype : numpy.dtype
    is_quantized : bool
        Whether its integers stand for real numbers.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]
    is_quantized: bool = False


@dataclass(frozen=True)
class Bare:
    """A loaded model.

    Parameters
    ----------
    runtime : {"litert", "keras", "onnx"}
    inputs : tuple of Input
    call : callable
        Answers a list of arrays, one for each input; gives whatever the runtime gives.
    fit : callable
        Makes the model ready for inputs of other shapes than the last.
    how : str
        The runtime's call, for people.
    """

    runtime: str
    inputs: tuple[Input, ...]
    call: Callable[[list[Array]], Any]
    how: str
    fit: Callable[[Sequence[Shape]], None] = lambda shapes: None


def kind_of(path: Path) -> str:
    """Return a file's kind by its suffix and content: ``".tflite"``, ``".keras"``, ``".onnx"`` or ``"predictor"``.

    Raises
    ------
    InputError
        If it is a folder, or no kind that is known.
    ModelFileError
        If it is empty, or its content contradicts its suffix.
    OSError
        If it cannot be read.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the model's file")
    with path.open("rb") as f:
        begin = f.read(8)
    if not begin:
        raise ModelFileError(f"{path} is empty; fetch or save it again")
    marks = {b"PK\3\4": "a .keras file or a saved predictor", b"\x89HDF": "an .h5 file, which can carry code"}
    found = "a LiteRT model" if begin[4:] == b"TFL3" else marks.get(begin[:4], "")
    suffix = path.suffix.lower()
    fits = {".tflite": ("a LiteRT model", ""), ".keras": (marks[b"PK\3\4"],), ".onnx": ("",)}
    if suffix in fits and found not in fits[suffix]:
        raise ModelFileError(f"{path} ends in {suffix} and holds {found or 'something else'}; save or fetch it again")
    if suffix in fits:
        return suffix
    if found != marks[b"PK\3\4"]:
        raise InputError(f"{path}: expected a .tflite, .keras or .onnx file, or one that Predictor.save wrote")
    return "predictor"


def open_bare(path: Path, threads: int) -> Bare:
    """Load a model file for calls on so many threads.

    Parameters
    ----------
    path : pathlib.Path
        A `.tflite`, `.keras` or `.onnx` file.
    threads : int

    Returns
    -------
    Bare

    Raises
    ------
    ModelFileError
        If the file is damaged or of another kind.
    MissingExtraError
        If its runtime is not installed.
    """
    openers = {".tflite": _litert, ".keras": _keras, ".onnx": _onnx}
    return openers[kind_of(path)](path, threads)


def _litert(path: Path, threads: int) -> Bare:
    from ..models import LiteRTModel

    interpreter = LiteRTModel(path, num_threads=threads)._interpreter  # checked, loaded, and now without its adapter
    taken, given = interpreter.get_input_details(), interpreter.get_output_details()
    set_tensor, invoke, get_tensor = interpreter.set_tensor, interpreter.invoke, interpreter.get_tensor
    places, results = [t["index"] for t in taken], [t["index"] for t in given]

    def call(arrays: list[Array]) -> list[Array]:
        for index, array in zip(places, arrays, strict=True):
            set_tensor(index, array)
        invoke()
        return [get_tensor(index) for index in results]

    def fit(shapes: Sequence[Shape]) -> None:
        now = [tuple(t["shape"].tolist()) for t in interpreter.get_input_details()]
        if now != list(shapes):
            for index, shape in zip(places, shapes, strict=True):
                interpreter.resize_tensor_input(index, shape)
            interpreter.allocate_tensors()

    return Bare("litert", tuple(map(_litert_input, taken)), call, "set_tensor, invoke, get_tensor", fit)


def _litert_input(detail: dict[str, Any]) -> Input:
    shape = detail["shape"].tolist()
    signature = detail.get("shape_signature", detail["shape"]).tolist()
    open_shape = tuple(None if n == -1 else n for n in (signature if len(signature) == len(shape) else shape))
    dtype = np.dtype(detail["dtype"])
    return Input(detail["name"], open_shape, dtype, dtype.kind in "iu" and detail["quantization"][0] != 0)


def _keras(path: Path, threads: int) -> Bare:
    from ..models import load_keras

    use_tensorflow_threads(threads)
    model = load_keras(path)
    tensors = getattr(model, "inputs", None)
    if not tensors:
        raise InputError(f"{path} does not say what it takes: build the model before it is saved")
    inputs = tuple(Input(t.name, tuple(t.shape), np.dtype(t.dtype)) for t in tensors)
    named = isinstance(getattr(model, "input", None), dict)

    def call(arrays: list[Array]) -> Any:
        if named:
            return model.predict_on_batch({t.name: array for t, array in zip(inputs, arrays, strict=True)})
        return model.predict_on_batch(arrays if len(arrays) > 1 else arrays[0])

    return Bare("keras", inputs, call, "predict_on_batch")


def use_tensorflow_threads(threads: int) -> None:
    """Let each call of TensorFlow use so many threads.

    Raises
    ------
    InputError
        If TensorFlow has begun its work in this process with another number.
    """
    from ..models import import_keras

    import_keras()
    threading = sys.modules["tensorflow"].config.threading
    try:
        threading.set_intra_op_parallelism_threads(threads)
        threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError as error:
        raise InputError(
            f"threads: TensorFlow runs in this process already and can't change to {threads}; use a fresh process"
        ) from error


def _onnx(path: Path, threads: int) -> Bare:
    session = onnx_session(str(path), threads, path.name)
    taken = session.get_inputs()
    names, run = [t.name for t in taken], session.run

    def call(arrays: list[Array]) -> Any:
        return run(None, dict(zip(names, arrays, strict=True)))

    inputs = tuple(Input(t.name, _open_lengths(t.shape), onnx_dtype(t.type)) for t in taken)
    return Bare("onnx", inputs, call, "session.run")


def onnx_session(model: str | bytes, threads: int, name: str) -> Any:
    """Return an ONNX Runtime session whose calls use so many threads.

    Raises
    ------
    ModelFileError
        If the content is no ONNX model that this runtime can run.
    """
    ort = require("onnxruntime", extra="onnx")
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 4  # the error is raised, and said once
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has a dozen error classes with no common base
        raise ModelFileError(f"{name} cannot be loaded as ONNX: {first_line(error)}") from error


def _open_lengths(shape: Sequence[Any]) -> tuple[int | None, ...]:
    return tuple(n if isinstance(n, int) and n > 0 else None for n in shape)


def onnx_dtype(kind: str) -> np.dtype[Any]:
    """Return NumPy's type for one of ONNX, such as ``"tensor(float)"``; `object` for what it has none for.

    Examples
    --------
    >>> onnx_dtype("tensor(float)"), onnx_dtype("tensor(int64)"), onnx_dtype("seq(tensor(float))")
    (dtype('float32'), dtype('int64'), dtype('O'))
    """
    short = {"float": "float32", "double": "float64"}
    name = kind.removeprefix("tensor(").removesuffix(")")
    try:
        return np.dtype(short.get(name, name))
    except TypeError:
        return np.dtype(object)


def first_line(error: BaseException) -> str:
    """Return what an error says first, or its kind if it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
