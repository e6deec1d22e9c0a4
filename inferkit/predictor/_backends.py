"""Backends: one way to call a Keras model, a LiteRT file, an estimator, an ONNX file, a posterior, a URL or a function.

No framework is imported here. What is already loaded is recognised by where its class was made.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .._base import InputError, ModelFileError, require
from ..bayes._compiled import CompiledPosterior
from ..bayes._compiled_groups import NEW_GROUP
from ..models import LiteRTModel, load_keras
from ._http import HTTPBackend
from ._signature import ArraySpec, Column, InputSpec, Label, OutputSpec, TableSpec, TextSpec

Array = npt.NDArray[Any]


class Backend(Protocol):
    """What a predictor needs of a model."""

    kind: str
    model: Any
    resolution: float
    """Step between two neighbouring output values: 0 for floats, 1/256 as a rule for int8."""

    def __call__(self, X: Any) -> Array | dict[str, Array]:
        """Return the model's outputs for a batch."""

    def input_spec(self) -> InputSpec | None:
        """Return what the model says of its input, if it says anything."""

    def output_specs(self) -> tuple[OutputSpec, ...] | None:
        """Return what the model says of its outputs, if it says anything."""


ROWS_AT_ONCE = 256
BYTES_AT_ONCE = 1 << 20  # of input: what lies between the layers should stay in the cache


class LiteRTBackend:
    """A LiteRT model; a file made for one row at a time is called row by row.

    Of many rows the model gets 256 at a time, fewer if they are large: its memory grows with the batch, and its speed
    no more.
    """

    kind = "litert"

    def __init__(self, model: LiteRTModel) -> None:
        if len(model.inputs) != 1:
            raise InputError(
                f"a Predictor takes models with one input, this one has {list(model.inputs)}; "
                "wrap it: Predictor(lambda X: model(X[:, :3], X[:, 3:]), signature=...)"
            )
        self.model = model
        self._info = next(iter(model.inputs.values()))
        self._batches = self._info.shape[:1] == (-1,)
        self._rows_at_once = self._info.shape[0] if self._info.shape else 1
        row_bytes = self._info.dtype.itemsize * int(np.prod([max(n, 1) for n in self._info.shape[1:]]))
        self._most = max(1, min(ROWS_AT_ONCE, BYTES_AT_ONCE // max(row_bytes, 1)))
        self.call_one = model.call_one if self._batches or self._rows_at_once == 1 else self
        self.resolution = 1 / 256 if model.is_quantized else 0.0

    def __call__(self, X: Array) -> Array | dict[str, Array]:
        """Return the outputs for a batch."""
        at_once = self._most if self._batches else self._rows_at_once
        if len(X) == at_once or (self._batches and len(X) < at_once):
            result: Array | dict[str, Array] = self.model(X)
            return result
        if not self._batches and at_once != 1:
            raise InputError(f"this model takes exactly {at_once} rows at once, got {len(X)}")
        parts = [self.model(X[i : i + at_once]) for i in range(0, len(X), at_once)]
        if isinstance(parts[0], dict):
            return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return np.concatenate(parts)

    def input_spec(self) -> InputSpec:
        """Return shape and type of one row; a quantized model is given real numbers."""
        shape = tuple(None if n == -1 else n for n in self._info.shape[1:])
        raw_bytes = self._info.dtype == np.uint8  # pictures: stored as they come from a camera
        dtype = "float32" if self._info.is_quantized and not raw_bytes else self._info.dtype.name
        return ArraySpec(shape, dtype)

    def output_specs(self) -> tuple[OutputSpec, ...]:
        """Return the names of the outputs."""
        return tuple(OutputSpec(name) for name in self.model.outputs)


class KerasBackend:
    """A Keras model, called through ``predict_on_batch``: the same numbers as ``predict``, without its set-up."""

    kind = "keras"
    resolution = 0.0

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, X: Array) -> Array | dict[str, Array]:
        """Return the outputs for a batch."""
        result = self.model.predict_on_batch(X)
        if isinstance(result, Mapping):
            return {name: np.asarray(value) for name, value in result.items()}
        if isinstance(result, list | tuple):
            return dict(zip(self.model.output_names, map(np.asarray, result), strict=True))
        return np.asarray(result)

    def input_spec(self) -> InputSpec | None:
        """Return shape and type of one row, if the model is built and has one input."""
        inputs = getattr(self.model, "inputs", None) or []
        if len(inputs) != 1:
            return None
        return ArraySpec(tuple(inputs[0].shape[1:]), str(inputs[0].dtype))

    def output_specs(self) -> tuple[OutputSpec, ...] | None:
        """Return the names of the outputs, if there are several."""
        names = getattr(self.model, "output_names", None) or []
        return tuple(OutputSpec(name) for name in names) if len(names) > 1 else None


class SklearnBackend:
    """A fitted scikit-learn estimator or pipeline; a classifier gives probabilities where it can."""

    kind = "sklearn"
    resolution = 0.0

    def __init__(self, model: Any) -> None:
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(model)
        self.model = model
        self._classes = getattr(model, "classes_", None)
        self._has_proba = self._classes is not None and hasattr(model, "predict_proba")

    def __call__(self, X: Any) -> Array | dict[str, Array]:
        """Return probabilities from a classifier that has them, else what ``predict`` gives."""
        result = self.model.predict_proba(X) if self._has_proba else self.model.predict(X)
        if isinstance(result, list):  # several outputs
            return {f"output_{i}": np.asarray(value) for i, value in enumerate(result)}
        return np.asarray(result)

    def input_spec(self) -> InputSpec | None:
        """Return the number of features, if the estimator knows it."""
        n = getattr(self.model, "n_features_in_", None)
        return None if n is None else ArraySpec((int(n),), "float64")

    def output_specs(self) -> tuple[OutputSpec, ...] | None:
        """Return the classes as labels."""
        if self._classes is None:
            return None
        if isinstance(self._classes, list):
            kinds = [self._output(f"output_{i}", classes) for i, classes in enumerate(self._classes)]
            return tuple(kinds)
        return (self._output("output", self._classes),)

    def _output(self, name: str, classes: Array) -> OutputSpec:
        if not self._has_proba:
            return OutputSpec(name, "labels")
        return OutputSpec(name, "probabilities", tuple(classes.tolist()))


class OnnxBackend:
    """An ONNX model run by ONNX Runtime (extra ``onnx``)."""

    kind = "onnx"
    resolution = 0.0

    def __init__(self, model: Any, content: bytes | None = None) -> None:
        self.model, self.content = model, content
        inputs = model.get_inputs()
        if len(inputs) != 1:
            raise InputError(f"a Predictor takes models with one input, this one has {[i.name for i in inputs]}")
        self._input = inputs[0]
        self._outputs = [output.name for output in model.get_outputs()]

    @classmethod
    def from_bytes(cls, content: bytes, name: str) -> "OnnxBackend":
        """Make a session on one thread from the content of an `.onnx` file."""
        ort = require("onnxruntime", extra="onnx")
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        try:
            return cls(ort.InferenceSession(content, options, providers=["CPUExecutionProvider"]), content)
        except InputError:
            raise
        except Exception as error:  # ONNX Runtime has a dozen error classes with no common base
            raise ModelFileError(f"{name} cannot be loaded as ONNX: {str(error).splitlines()[0]}") from error

    def __call__(self, X: Array) -> Array | dict[str, Array]:
        """Return the outputs for a batch."""
        result = self.model.run(None, {self._input.name: X})
        if len(result) == 1:
            return np.asarray(result[0])
        return dict(zip(self._outputs, map(np.asarray, result), strict=True))

    def input_spec(self) -> InputSpec | None:
        """Return shape and type of one row."""
        types = {"float": "float32", "double": "float64", "uint8": "uint8", "int64": "int64", "int32": "int32"}
        kind = self._input.type.removeprefix("tensor(").removesuffix(")")
        if kind == "string":
            return TextSpec()
        shape = tuple(n if isinstance(n, int) else None for n in self._input.shape[1:])
        return ArraySpec(shape, types[kind]) if kind in types else None

    def output_specs(self) -> tuple[OutputSpec, ...] | None:
        """Return the names of the outputs, if there are several."""
        return tuple(OutputSpec(name) for name in self._outputs) if len(self._outputs) > 1 else None


class PosteriorBackend:
    """A compiled posterior: means or probabilities, and their intervals where it was asked for them."""

    kind = "posterior"
    resolution = 0.0

    def __init__(self, model: CompiledPosterior) -> None:
        self.model = model

    def __call__(self, X: Array) -> Array | dict[str, Array]:
        """Return the outputs for a batch."""
        return self.model(X)

    def input_spec(self) -> InputSpec:
        """Return an array of numbers, or a table where groups are words: the known ones, and one for any other."""
        model = self.model
        groups, column = model.groups, model.group_column
        if groups is None or column is None or not isinstance(groups[0], str):
            return ArraySpec((model.n_features,), "float64")
        names = model.feature_names or [f"x{i}" if i != column else "group" for i in range(model.n_features)]
        words = (*map(str, groups), NEW_GROUP)
        return TableSpec(tuple(Column(name, categories=words if i == column else None) for i, name in enumerate(names)))

    def output_specs(self) -> tuple[OutputSpec, ...]:
        """Return the classes as labels; with intervals, the names of the three outputs."""
        several = self.model.coverage is not None
        name, classes = "mean" if several else "output", self.model.classes
        mean = OutputSpec(name) if classes is None else OutputSpec(name, "probabilities", classes)
        return (mean, OutputSpec("lower"), OutputSpec("upper")) if several else (mean,)


class CallableBackend:
    """Any function of a batch: this is how PyTorch and your own models come in."""

    kind = "callable"
    resolution = 0.0

    def __init__(self, model: Callable[[Any], Any]) -> None:
        self.model = model

    def __call__(self, X: Any) -> Array | dict[str, Array]:
        """Return what the function gives, as arrays."""
        result = self.model(X)
        if isinstance(result, Mapping):
            return {name: np.asarray(value) for name, value in result.items()}
        return np.asarray(result)

    def input_spec(self) -> None:
        """Return None: a function says nothing of its input."""

    def output_specs(self) -> None:
        """Return None: a function says nothing of its outputs."""


def as_backend(model: Any) -> Backend:
    """Return the backend that can call `model`, or raise `InputError`."""
    if isinstance(model, type):
        raise _no_model(model)
    if isinstance(model, str) and model.startswith(("http://", "https://")):
        return HTTPBackend(model)
    if isinstance(model, str | os.PathLike):
        return _from_path(Path(model))
    if isinstance(model, LiteRTModel):
        return LiteRTBackend(model)
    if isinstance(model, CompiledPosterior):
        return PosteriorBackend(model)
    if isinstance(model, _OURS):
        return model
    origins = {cls.__module__.partition(".")[0]: cls.__name__ for cls in type(model).__mro__}
    if "keras" in origins and hasattr(model, "predict_on_batch"):
        return KerasBackend(model)
    if hasattr(model, "get_inputs") and hasattr(model, "run"):
        return OnnxBackend(model)
    if hasattr(model, "predict") and hasattr(model, "get_params"):
        return SklearnBackend(model)
    if not callable(model):
        raise _no_model(model)
    return CallableBackend(model)


_OURS = (
    CallableBackend, HTTPBackend, KerasBackend, LiteRTBackend, OnnxBackend, PosteriorBackend, SklearnBackend,
)  # fmt: skip


def _no_model(model: Any) -> InputError:
    return InputError(
        "expected a Keras model, a LiteRTModel, a fitted scikit-learn estimator, an ONNX session, a "
        f"CompiledPosterior, a path to a model file, a URL or a function of a batch, got {model!r:.80}"
    )


def _from_path(path: Path) -> Backend:
    content = path.read_bytes()
    match path.suffix:
        case ".tflite":
            return LiteRTBackend(LiteRTModel(path))
        case ".keras":
            return KerasBackend(load_keras(content, name=path.name))
        case ".onnx":
            return OnnxBackend.from_bytes(content, path.name)
        case ".posterior":
            return PosteriorBackend(CompiledPosterior.from_bytes(content, name=path.name))
    raise InputError(
        f"{path.name}: expected a file that ends in .tflite, .keras, .onnx or .posterior; a saved predictor opens with "
        "Predictor.load(path)"
    )


def labels_of(outputs: tuple[OutputSpec, ...], labels: tuple[Label, ...] | None) -> tuple[OutputSpec, ...]:
    """Return the outputs with `labels` given to the one that has none."""
    if labels is None:
        return outputs
    if len(outputs) != 1:
        raise InputError(f"labels: this model has several outputs {[o.name for o in outputs]}; say it in signature")
    return (OutputSpec(outputs[0].name, "probabilities", labels),)
