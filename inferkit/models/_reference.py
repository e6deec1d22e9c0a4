"""The models that ship with the package, checked against their hashes before use."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from .._base import RESTORE, InputError, ModelFileError, bundled, sha256
from ._keras import load_keras
from ._litert import LiteRTModel

_FORMATS = ("litert", "keras")


@dataclass(frozen=True)
class ReferenceModel:
    """What the registry says of a model that ships with the package.

    Attributes
    ----------
    name : str
        What :func:`load_reference` calls it.
    description : str
        What it is, in a sentence.
    formats : tuple of str
        The formats it comes in.
    size_bytes : int
        Bytes of its ``.tflite`` file.
    sha256 : str
        Hash of its ``.tflite`` file.
    n_parameters : int
        Numbers in the network that training sets, and the averages of batch normalisation.
    accuracy : float
        Share of right answers of the ``.tflite`` file on rows that it was not trained on: the test part of
        :func:`inferkit.datasets.split_digits`, or all of :func:`inferkit.datasets.load_signs`, `load_customers` or
        `load_transactions`. Where one answer is rare it says little: the card has more.
    random_state : int
        Seed of its training.
    """

    name: str
    description: str
    formats: tuple[str, ...]
    size_bytes: int
    sha256: str
    n_parameters: int
    accuracy: float
    random_state: int


def list_reference() -> list[ReferenceModel]:
    """List the models that ship with the package.

    Returns
    -------
    list of ReferenceModel

    Raises
    ------
    ModelFileError
        If the registry is damaged.

    Examples
    --------
    >>> for model in list_reference():
    ...     print(model.name, *model.formats)
    digits-mlp litert keras
    digits-cnn litert keras
    digits-cnn-int8 litert
    digits-mobilenet litert keras
    signs-cnn litert keras
    signs-small-1 litert keras
    signs-small-2 litert
    signs-small-3 litert
    signs-small-4 litert
    signs-small-5 litert
    churn-mlp litert
    fraud-mlp litert
    signs-mobilenet-25 litert
    signs-mobilenet-50 litert
    signs-mobilenet-100 litert
    signs-student litert
    signs-student-alone litert
    signs-cnn-half litert
    signs-cnn-float16 litert
    signs-cnn-dynamic litert
    signs-cnn-int8 litert
    signs-cnn-int16x8 litert
    signs-mobilenet-100-int8 litert
    signs-exit-stem litert
    signs-exit-rest litert
    """
    return [_record(name, entry) for name, entry in _registry().items()]


def load_reference(name: str, format: Literal["litert", "keras"] = "litert", *, num_threads: int = 1) -> Any:
    """Load a model that ships with the package.

    The bytes are hashed, compared with the registry, and then those very bytes are used.

    Parameters
    ----------
    name : str
        One of the names that :func:`list_reference` gives.
    format : {"litert", "keras"}, default "litert"
        Which runtime to load it for. LiteRT needs no extra; Keras needs ``cpu`` or ``gpu``.
    num_threads : int, default 1
        Threads of one LiteRT call; Keras has its own setting for all of TensorFlow.

    Returns
    -------
    LiteRTModel or keras.Model
        Takes float32 and gives probabilities. The digit models take ink scaled to 0..1, from (n, 8, 8) to (n, 10), the
        sign models light scaled to 0..1, from (n, 32, 32, 3) to (n, 12). Of these, ``signs-exit-stem`` and
        ``signs-exit-rest`` are the parts of an `inferkit.optimize.EarlyExit`. The models over tables take 19 numbers
        to (n, 2); `inferkit.predictor.churn_scorer` and `fraud_scorer` make these from a table.

    Raises
    ------
    InputError
        If there is no such name, it does not come in that format, or `num_threads` is not a positive integer.
    ModelFileError
        If the file is missing, or its bytes are not the registered ones.
    MissingExtraError
        If the format needs an extra that is not installed.

    Examples
    --------
    >>> from inferkit.datasets import load_digits
    >>> model = load_reference("digits-cnn")
    >>> model(load_digits().images[:3] / 16).argmax(axis=1)
    array([0, 1, 2])
    """
    record, entry = _entry(name, format)
    content = _verified(name, entry if format == "litert" else entry["keras"])
    if format == "keras":
        return load_keras(content, name=record.name)
    model = LiteRTModel(content, num_threads=num_threads)
    model.name = record.name
    return model


def _entry(name: str, format: str) -> tuple[ReferenceModel, dict[str, Any]]:
    """Return what the registry says of a model in a format it comes in."""
    registry = _registry()
    if name not in registry:
        raise InputError(f"name: expected one of {', '.join(registry)}; got {name!r}")
    record = _record(name, registry[name])
    if format not in record.formats:
        raise InputError(f"format: {name} comes as {' or '.join(record.formats)}; got {format!r}")
    return record, registry[name]


def _verified(name: str, entry: dict[str, Any]) -> bytes:
    """Return a file's bytes if they are the registered ones."""
    try:
        content = bundled(entry["file"]).read_bytes()
    except FileNotFoundError as error:
        raise ModelFileError(f"{name}: {error}; {RESTORE}") from error
    if sha256(content) != entry["sha256"]:
        raise ModelFileError(
            f"{name}: expected {entry['file']} with SHA-256 {entry['sha256'][:12]}… ({entry['bytes']:,} bytes), got "
            f"{sha256(content)[:12]}… ({len(content):,} bytes): it was changed or cut short; {RESTORE}"
        )
    return content


def _record(name: str, entry: dict[str, Any]) -> ReferenceModel:
    return ReferenceModel(
        name=name,
        description=entry["description"],
        formats=("litert", "keras") if "keras" in entry else ("litert",),
        size_bytes=entry["bytes"],
        sha256=entry["sha256"],
        n_parameters=entry["n_parameters"],
        accuracy=entry["accuracy"],
        random_state=entry["random_state"],
    )


def _registry() -> dict[str, dict[str, Any]]:
    try:
        entries: dict[str, dict[str, Any]] = json.loads(bundled("registry.json").read_bytes())
        return {name: entry for name, entry in entries.items() if entry.get("kind", "model") == "model"}
    except (FileNotFoundError, ValueError) as error:
        raise ModelFileError(f"registry.json is missing or damaged ({error}); {RESTORE}") from error
