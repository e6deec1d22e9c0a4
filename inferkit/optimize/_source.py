"""The model that a method is given: a Keras model or a float LiteRT file, checked at the door."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._base import InputError, generator
from ..models import LiteRTModel, export_litert, import_keras, load_keras, train
from ..models._keras import uncompiled
from ._layers import read_file

_WANTED = "a Keras model, a .keras file, or a float .tflite file (a path, its bytes, or a LiteRTModel)"


class Input(NamedTuple):
    """One input of a model: its name, the shape of one row, and its type."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Source:
    """A model to work on: either in Keras, or as the content of a float LiteRT file.

    Attributes
    ----------
    name : str
    keras_model : keras.Model or None
    content : bytes or None
        Exactly one of the two is given.
    inputs : tuple of Input
        In the order in which a caller gives them.
    """

    name: str
    keras_model: Any
    content: bytes | None
    inputs: tuple[Input, ...]

    @property
    def order(self) -> tuple[str, ...] | None:
        """Names of the inputs, where there are several."""
        return tuple(one.name for one in self.inputs) if len(self.inputs) > 1 else None

    def float_content(self) -> bytes:
        """Return the float file, converted if need be."""
        return self.content if self.content is not None else export_litert(self.keras_model)


def open_source(model: Any) -> Source:
    """Return what to work on.

    Parameters
    ----------
    model : keras.Model, path-like, bytes, LiteRTModel or OptimizedModel
        An `OptimizedModel` stands for the Keras model that it was made of, where there is one.

    Returns
    -------
    Source

    Raises
    ------
    InputError
        If it is none of these, has no weights, NaN among them, inputs of no fixed shape, or is quantized already.
    ModelFileError
        If a file is damaged, or asks for code to be run.
    """
    made_of = getattr(model, "keras_model", None)
    if made_of is not None:
        return _of_keras(made_of)
    if isinstance(model, LiteRTModel):
        return _of_file(model.content, model.name)
    if isinstance(model, bytes | str | os.PathLike):
        return _of_path(model)
    if is_keras(model):
        return _of_keras(model)
    raise InputError(f"model: expected {_WANTED}, got {type(model).__name__}")


def open_keras(model: Any) -> Any:
    """Return the Keras model to work on, as :func:`open_source`; a method that trains needs one."""
    source = open_source(model)
    if source.keras_model is None:
        raise InputError(
            f"model: this needs a Keras model or a .keras file, for it trains; {source.name} is a LiteRT file, whose "
            "weights are fixed"
        )
    return source.keras_model


def copy_of(model: Any) -> Any:
    """Return a Keras model with weights of its own; the one given stays as it is."""
    copy = import_keras().models.clone_model(uncompiled(model))
    copy.set_weights(model.get_weights())
    return copy


def fit(model: Any, X: Any, y: Any, *, random_state: int | None, **options: Any) -> Any:
    """Train a model by :func:`inferkit.models.train`; the seed also rules what dropout silences.

    Parameters
    ----------
    model : keras.Model
        Of one's own: it is trained in place.
    X, y, random_state, **options
        As in :func:`inferkit.models.train`.

    Returns
    -------
    inferkit.models.TrainingResult
    """
    rng = generator(random_state)
    for layer in model.layers:
        dice = getattr(layer, "seed_generator", None)
        if dice is not None:
            dice.state.assign(rng.integers(2**31, size=2))
    return train(model, X, y, random_state=random_state, **options)


def is_keras(model: object) -> bool:
    """Tell whether something is a Keras model, without importing Keras."""
    return any(kind.__module__.startswith("keras.") and kind.__name__ == "Model" for kind in type(model).__mro__)


def _of_path(model: bytes | str | os.PathLike[str]) -> Source:
    content = model if isinstance(model, bytes) else Path(model).read_bytes()
    name = "model" if isinstance(model, bytes) else Path(model).stem
    if content[4:8] == b"TFL3":
        return _of_file(content, name)
    if content[:2] == b"PK" or content[:4] == b"\x89HDF":  # .keras; .h5 is refused there with its reason
        return _of_keras(load_keras(content, name=name))
    raise InputError(f"model: expected {_WANTED}; {name} is neither .keras nor .tflite inside")


def _of_keras(model: Any) -> Source:
    inputs = getattr(model, "inputs", None)
    if not inputs:
        raise InputError(
            f"model: {model.name!r} has no fixed inputs yet; build it as a functional or Sequential model with an Input"
        )
    found = inputs_of(model)
    _check_shapes(model.name, found)
    if not model.weights:
        raise InputError(f"model: {model.name!r} has no weights, so there is nothing to make smaller")
    for variable in model.weights:
        _check_numbers(variable.path, variable.numpy())
    for layer in model.layers:
        if getattr(layer, "quantization_mode", None):
            raise InputError(f"model: the layer {layer.name!r} is quantized already; start from the float model")
    return Source(model.name, model, None, found)


def _of_file(content: bytes, name: str) -> Source:
    file, model = read_file(content), LiteRTModel(content)
    if not file.weights:
        raise InputError(f"model: {name!r} has no weights, so there is nothing to make smaller")
    for tensor in sorted(file.weights, key=lambda one: -one.size):
        if tensor.dtype != "float32":
            raise InputError(f"model: {name!r} is quantized already ({tensor.dtype}); start from the float32 file")
        if tensor.data is not None:
            _check_numbers(tensor.name, tensor.data)
    found = tuple(Input(key, info.shape[1:], info.dtype.name) for key, info in model.inputs.items())
    _check_shapes(name, found)
    return Source(name, None, content, found)


def inputs_of(model: Any) -> tuple[Input, ...]:
    """Return what a Keras model takes, in the order in which it takes it; −1 for a length that is open."""
    return tuple(
        Input(one.name, tuple(-1 if n is None else int(n) for n in one.shape[1:]), str(one.dtype))
        for one in model.inputs
    )


def _check_shapes(name: str, inputs: tuple[Input, ...]) -> None:
    for one in inputs:
        if -1 in one.shape:
            free = ", ".join("any" if n == -1 else str(n) for n in one.shape)
            raise InputError(
                f"model: {name!r} takes rows of shape ({free}); ranges and layers are planned for one shape, so build "
                "it with an Input of fixed size"
            )


def _check_numbers(name: str, values: Any) -> None:
    if np.asarray(values).dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError(
            f"model: the weights {name!r} hold NaN or infinity; its training failed: train it again with a smaller "
            "learning rate"
        )
