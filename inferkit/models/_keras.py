"""Keras and TensorFlow, imported late and kept quiet; `.keras` files, opened without running their code."""

import io
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .._base import ModelFileError, require
from .._base import sha256 as hash_of

# Layers that run code given in the file, or reach outside it.
_REFUSED = {"Lambda", "TorchModuleWrapper", "FlaxLayer", "JaxLayer", "TFSMLayer"}


def import_keras() -> Any:
    """Return Keras on TensorFlow, or say which extra brings them.

    Where the environment variable ``KERAS_BACKEND`` is ``jax`` Keras runs on JAX, and TensorFlow is not needed.

    Returns
    -------
    module
        ``keras``.

    Raises
    ------
    MissingExtraError
        If either is not installed.
    """
    if os.environ.get("KERAS_BACKEND") != "jax":
        import_tensorflow()
    return require("keras", extra="cpu")


def import_tensorflow() -> Any:
    """Return TensorFlow without its log lines, and with the kernels that give the same bits on every processor.

    Returns
    -------
    module
        ``tensorflow``.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    return require("tensorflow", extra="cpu")


def uncompiled(model: Any) -> Any:
    """Return a functional view of a model, on the same layers, that knows no loss.

    Cloning a compiled model fails where its loss is a function of one's own.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential.

    Returns
    -------
    keras.Model
    """
    ends = (one[0] if len(one) == 1 else one for one in (model.inputs, model.outputs))
    return import_keras().Model(*ends, name=model.name)


def load_keras(model: str | os.PathLike[str] | bytes, *, sha256: str | None = None, name: str = "the content") -> Any:
    """Open a `.keras` file.

    The file's description is read before Keras sees it: it may name layers of Keras alone, and none
    that runs code of the file's own. `.h5` files are refused: they can carry such code, and Keras
    runs it.

    Parameters
    ----------
    model : path-like or bytes
    sha256 : str, optional
        The hash that the content must have, checked on the bytes that are used.
    name : str
        For messages, where the content comes as bytes.

    Returns
    -------
    keras.Model
        Ready to predict, not compiled.

    Raises
    ------
    ModelFileError
        If the content is damaged, has another hash, or asks for code to be run.
    MissingExtraError
        If Keras is not installed.
    OSError
        If the file cannot be read.
    """
    name = name if isinstance(model, bytes) else Path(model).name
    content = model if isinstance(model, bytes) else Path(model).read_bytes()
    _check(content, name, sha256)
    keras = import_keras()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        path.write_bytes(content)
        try:
            return keras.saving.load_model(path, compile=False, safe_mode=True)
        except Exception as error:  # Keras, h5py, json and zipfile each raise their own
            raise ModelFileError(f"{name} cannot be loaded; it is damaged: {str(error).strip()[:200]}") from error


def _check(content: bytes, name: str, expected: str | None) -> None:
    """Raise `ModelFileError` unless the content is a whole, registered and harmless `.keras` file."""
    if expected is not None and hash_of(content) != expected.lower():
        raise ModelFileError(
            f"{name} is not the registered model: expected SHA-256 {expected[:12]}…, got {hash_of(content)[:12]}…; "
            "fetch or build it again"
        )
    if content[:4] == b"\x89HDF":
        raise ModelFileError(f"{name} is an .h5 file, which can carry code; save the model again as .keras")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            damaged = archive.testzip()
            config = json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, NotImplementedError) as error:
        raise ModelFileError(f"{name} is not a whole .keras file; fetch or save it again: {error}") from error
    if damaged:
        raise ModelFileError(f"{name} is damaged: its part {damaged} does not match its checksum")
    for module, layer, registered in _objects(config):
        if (
            module.partition(".")[0] not in ("keras", "builtins")
            or layer in _REFUSED
            or registered not in (None, layer)
        ):
            raise ModelFileError(f"{name} asks for {module}.{layer}, which is no layer of Keras or runs code; refused")


def _objects(config: Any) -> Iterator[tuple[str, str, str | None]]:
    """Give module, class and registered name of every object in a Keras description, at any depth."""
    if isinstance(config, dict):
        if "class_name" in config:
            yield str(config.get("module") or "keras"), str(config["class_name"]), config.get("registered_name")
        config = list(config.values())
    if isinstance(config, list):
        for value in config:
            yield from _objects(value)
