"""How much memory a model needs: in a process of its own, for a peak never falls."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._base import InputError
from ..predictor import Predictor
from ._in_child import run_in_child


@dataclass(frozen=True, repr=False)
class MemoryResult:
    """Peak memory of a process that loads a model and answers.

    Attributes
    ----------
    peak_mb : float
        The most RAM that the process held, in megabytes (10⁶ bytes).
    runtime_mb : float
        The same for a process that loads the runtime and the rows, and no model.
    python_mb : float
        The same for the bare interpreter.
    """

    peak_mb: float
    runtime_mb: float
    python_mb: float

    @property
    def model_mb(self) -> float:
        """What the model added to its runtime: its weights, and what an answer needs; 0 if it cannot be told apart."""
        return max(0.0, self.peak_mb - self.runtime_mb)

    def to_dict(self) -> dict[str, float]:
        """Return the result as plain values that JSON can hold."""
        parts = {"peak_mb": self.peak_mb, "runtime_mb": self.runtime_mb, "python_mb": self.python_mb}
        return parts | {"model_mb": self.model_mb}

    def __repr__(self) -> str:
        return (
            f"{self.peak_mb:.0f} MB at the peak: Python {self.python_mb:.0f}, "
            f"its libraries and the rows {self.runtime_mb - self.python_mb:.0f}, the model {self.model_mb:.1f}"
        )


def measure_memory(model: Any, X: Any, *, timeout_s: float = 120.0) -> MemoryResult:
    """Load a model in a fresh process, answer once, and return the peak of that process.

    Parameters
    ----------
    model : Predictor or path-like
        A predictor that can be saved, or a file: what `Predictor.save` wrote, `.tflite`, `.keras` or `.onnx`.
    X : array-like, shape (n, ...)
        The rows of the one batch that is answered, as the predictor takes them.
    timeout_s : float, default=120
        For each of the two processes.

    Returns
    -------
    MemoryResult

    Raises
    ------
    InputError
        If the model is a function (its process would lack it), or X is empty.
    ChildError
        If the model cannot be loaded or does not answer X; the message says why.
    TimeoutError
        If it takes longer than `timeout_s`.

    Examples
    --------
    >>> from inferkit.datasets import load_digits
    >>> from inferkit.predictor import digit_reader
    >>> result = measure_memory(digit_reader(), load_digits().images[:1])
    >>> result.python_mb < result.runtime_mb <= result.peak_mb + 5
    True
    """
    rows = np.asarray(X)
    if rows.ndim == 0 or not len(rows):
        raise InputError(f"X: expected at least one row, got an array of shape {rows.shape}")
    with tempfile.TemporaryDirectory(prefix="inferkit-") as folder:
        path, kind = _as_file(model, Path(folder))
        np.save(Path(folder) / "rows.npy", rows, allow_pickle=rows.dtype == object)
        job = [str(path), kind, str(Path(folder) / "rows.npy")]
        without = run_in_child(_answer_once, *job, False, timeout_s=timeout_s)
        whole = run_in_child(_answer_once, *job, True, timeout_s=timeout_s)
    return MemoryResult(whole.peak_mb, without.peak_mb, whole.baseline_mb)


def _as_file(model: Any, folder: Path) -> tuple[Path, str]:
    """Return a file that holds the model, and of what kind it is."""
    if isinstance(model, Predictor):
        path = folder / "model.predictor"
        model.save(path)
        return path, model.backend.kind
    if not isinstance(model, str | os.PathLike):
        raise InputError(f"model: expected a Predictor or the path of a model's file, got {type(model).__name__}")
    path = Path(model)
    if not path.is_file():
        raise InputError(f"model: expected the path of a file, and there is none at {str(path)!r}")
    kinds = {".tflite": "litert", ".keras": "keras", ".onnx": "onnx", ".posterior": "posterior"}
    return path, kinds.get(path.suffix, "predictor")


def _answer_once(path, kind, rows, load):  # type: ignore[no-untyped-def]  # its text runs in the child
    import numpy as np

    from inferkit.predictor import Predictor

    X = np.load(rows, allow_pickle=True)
    runtimes = {"litert": "ai_edge_litert.interpreter", "keras": "keras", "onnx": "onnxruntime", "sklearn": "sklearn"}
    if kind in runtimes:
        __import__(runtimes[kind])
    if load:
        plain = path.endswith((".tflite", ".keras", ".onnx", ".posterior"))
        predictor = Predictor(path) if plain else Predictor.load(path)
        predictor.predict(X)
