"""The way out of training: ``.keras`` and ``.tflite`` files, whole or not at all."""

from __future__ import annotations

import logging
import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._base import InputError, whole_file
from ._keras import import_keras, import_tensorflow, uncompiled
from ._litert import _stderr_lock as stderr_lock  # one descriptor, one lock

if TYPE_CHECKING:
    import keras


class ConversionError(RuntimeError):
    """A model that the converter does not take; the message has its reason."""


def to_litert(model: keras.Model, *, calibration: ArrayLike | None = None) -> bytes:
    """Convert a model to a LiteRT flatbuffer.

    Parameters
    ----------
    model : keras.Model
        A model with one input.
    calibration : (n, ...) array, optional
        Typical inputs, a few hundred. If given, weights and activations become int8, with ranges taken from these
        rows; input and output stay float32. Without it all stays float32.

    Returns
    -------
    bytes
        The content of a ``.tflite`` file.

    Raises
    ------
    InputError
        If the calibration rows do not fit the model, hold NaN or infinity, or are all alike: ranges learned from
        them would silently ruin the model.
    ConversionError
        If the converter refuses the model.

    References
    ----------
    B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
    CVPR 2018.

    Examples
    --------
    >>> from inferkit.models import mlp
    >>> to_litert(mlp(hidden=(4,), random_state=0))[4:8]
    b'TFL3'
    """
    options: dict[str, Any] = {}
    if calibration is not None:
        rows = _checked_calibration(model, calibration)
        options["optimizations"] = [import_tensorflow().lite.Optimize.DEFAULT]
        options["representative_dataset"] = lambda: ([row[None]] for row in rows)
    return export_litert(model, **options)


def export_litert(model: keras.Model, **options: Any) -> bytes:
    """Convert a model with the converter's own options.

    Parameters
    ----------
    model : keras.Model
        Any model that Keras can export.
    **options
        Of ``tf.lite.TFLiteConverter``: ``optimizations``, ``representative_dataset``, ``target_spec`` (as a dict) and
        more.

    Returns
    -------
    bytes
        The content of a ``.tflite`` file.

    Raises
    ------
    ConversionError
        If the converter refuses the model, or the file would need operations that LiteRT does not have.

    Notes
    -----
    Recurrent layers are unrolled, step by step: as a loop they would need TensorFlow's own operations at run time.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        try:
            with _silent_stderr(), warnings.catch_warnings():
                # the converter calls its own older interpreter where there are several inputs
                warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter is deprecated")
                _unrolled(model).export(str(path), format="litert", verbose=False, **options)
        except Exception as error:  # the converter raises whatever its parts raise
            raise ConversionError(f"the converter refused {model.name!r}: {_reason(error)}") from error
        content = path.read_bytes()
    if found := sorted(set(re.findall(rb"Flex[A-Z]\w+", content))):
        names = ", ".join(name.decode()[4:] for name in found)
        raise ConversionError(
            f"{model.name!r} uses operations that LiteRT does not have: {names}; build it without them"
        )
    return content


def _unrolled(model: keras.Model) -> keras.Model:
    """Return a model whose recurrent layers write out their steps; the same one if it has none."""
    if not any(_has_loop(layer.get_config()) for layer in model.layers if hasattr(layer, "return_sequences")):
        return model
    copy = import_keras().models.clone_model(
        uncompiled(model), clone_function=lambda one: type(one).from_config(_unroll(one))
    )
    copy.set_weights(model.get_weights())
    return copy


def _has_loop(config: Any) -> bool:
    """Tell whether a layer's description, at any depth, asks for a loop over the steps."""
    inner = config.values() if isinstance(config, dict) else config if isinstance(config, list | tuple) else ()
    return (isinstance(config, dict) and config.get("unroll") is False) or any(map(_has_loop, inner))


def _unroll(layer: Any) -> Any:
    """Return a layer's description with loops written out."""

    def written_out(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: True if key == "unroll" else written_out(one) for key, one in value.items()}
        return [written_out(one) for one in value] if isinstance(value, list) else value

    return written_out(layer.get_config())


def _reason(error: Exception) -> str:
    """Return the lines of an error that say something, in short."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "loc(" not in line]
    telling = [line for line in lines if "error" in line.lower() or "op" in line.lower()] or lines
    return (" ".join(telling) or type(error).__name__)[:400]


def save_litert(model: keras.Model, path: str | os.PathLike[str], *, calibration: ArrayLike | None = None) -> None:
    """Convert a model and write it as a ``.tflite`` file, whole or not at all.

    Parameters
    ----------
    model : keras.Model
        A model with one input.
    path : path-like
        The file to write.
    calibration : (n, ...) array, optional
        As in :func:`to_litert`.

    Raises
    ------
    OSError
        If the folder cannot be written to; an existing file stays as it was.
    """
    content = to_litert(model, calibration=calibration)
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def save_keras(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Write a model as a ``.keras`` file, whole or not at all.

    Parameters
    ----------
    model : keras.Model
        Any Keras model.
    path : path-like
        The file to write; its name ends in ``.keras``.

    Raises
    ------
    InputError
        If the name ends otherwise.
    OSError
        If the folder cannot be written to; an existing file stays as it was.
    """
    if not os.fspath(path).endswith(".keras"):
        raise InputError(f"path: expected a name that ends in .keras, got {os.fspath(path)!r}")
    with whole_file(path) as temporary:
        model.save(temporary)


def _checked_calibration(model: keras.Model, calibration: ArrayLike) -> NDArray[np.float32]:
    """Return calibration rows that fit the model and have something to say."""
    rows, shape = np.asarray(calibration, dtype=np.float32), tuple(model.input_shape[1:])
    if rows.shape[1:] != shape or len(rows) < 2:
        raise InputError(f"calibration: expected shape (n, {', '.join(map(str, shape))}), n ≥ 2, got {rows.shape}")
    if not np.isfinite(rows).all():
        raise InputError("calibration: expected finite values, got NaN or infinity: remove those rows")
    if (rows == rows[0]).all():
        raise InputError("calibration: expected typical inputs, got rows that are all alike: take some training rows")
    return rows


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Keep the converter's notes from standard error: those of C++ on descriptor 2, those of Python's logger.

    What goes wrong comes as an exception all the same.
    """
    logger = logging.getLogger("tensorflow")
    with stderr_lock:
        kept, nowhere, level = os.dup(2), os.open(os.devnull, os.O_WRONLY), logger.level
        try:
            os.dup2(nowhere, 2)
            logger.setLevel(logging.ERROR)
            yield
        finally:
            logger.setLevel(level)
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)
