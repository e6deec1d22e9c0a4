"""What every method here gives back: a LiteRT model that knows what it weighs and where it came from."""

from __future__ import annotations

import os
from typing import Any

from .._base import InputError, whole_file
from ..models import LiteRTModel, export_litert
from ._report import Report, Rows, make_report


class OptimizedModel(LiteRTModel):
    """A LiteRT model with a report: a :class:`~inferkit.models.LiteRTModel`, and so whatever takes one takes it.

    It goes as it is into `inferkit.Predictor`, `inferkit.benchmark.compare` and the ledger.

    Attributes
    ----------
    report : Report
        What it weighs, layer by layer.
    keras_model : keras.Model or None
        The Keras model that the file was made of, for further steps: a pruned model can be quantized. None where the
        file was made of another file, and in a copy that was pickled.
    history : inferkit.models.TrainingResult or None
        How its training went, if there was one.
    """

    report: Report
    keras_model: Any = None
    history: Any = None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model as a ``.tflite`` file, whole or not at all.

        Parameters
        ----------
        path : path-like
            The file to write; its name ends in ``.tflite``.

        Raises
        ------
        InputError
            If the name ends otherwise.
        OSError
            If the folder cannot be written to; an existing file stays as it was.
        """
        if not os.fspath(path).endswith(".tflite"):
            raise InputError(f"path: expected a name that ends in .tflite, got {os.fspath(path)!r}")
        with whole_file(path) as temporary:
            temporary.write_bytes(self.content)

    def __reduce__(self) -> tuple[Any, ...]:
        make, arguments = super().__reduce__()
        return _again, (make, arguments, self.report)

    def __repr__(self) -> str:
        """Say what it is in one line."""
        return f"OptimizedModel({self.name!r}, {self.report!r})"

    def _repr_html_(self) -> str:
        """Return the report's table."""
        return self.report._repr_html_()


def _again(make: Any, arguments: tuple[Any, ...], report: Report) -> OptimizedModel:
    """Make a model that was pickled."""
    model: OptimizedModel = make(*arguments)
    model.report = report
    return model


def optimized(
    content: bytes,
    method: str,
    name: str,
    *,
    keras_model: Any = None,
    history: Any = None,
    reference: bytes | None = None,
    rows: Rows = (),
    order: tuple[str, ...] | None = None,
    **scores: Any,
) -> OptimizedModel:
    """Make the result of a method.

    Parameters
    ----------
    content : bytes
        The file.
    method, name : str
        How it came about, and what to call it.
    keras_model, history
        Where it came from.
    reference, rows, **scores
        As in :func:`make_report`.
    order : tuple of str, optional
        Names of several inputs, in the order of `rows`.

    Returns
    -------
    OptimizedModel
    """
    if order is None and keras_model is not None and len(keras_model.inputs) > 1:
        order = tuple(one.name for one in keras_model.inputs)
    model = OptimizedModel(content, order=order)
    model.name, model.keras_model, model.history = name, keras_model, history
    by_name = dict(zip(model.inputs, rows, strict=True)) if rows else {}
    model.report = make_report(content, method, reference=reference, rows=by_name, **scores)
    return model


def from_keras(keras_model: Any, method: str, *, history: Any = None) -> OptimizedModel:
    """Make the result of a method that changed a Keras model: its float file, and the model itself."""
    return optimized(
        export_litert(keras_model), method, f"{keras_model.name}-{method}", keras_model=keras_model, history=history
    )
