"""The two converters: TensorFlow's for a Keras model, ai-edge-quantizer for a float file."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from .._base import InputError, require
from ..models import ConversionError, LiteRTModel, export_litert, import_tensorflow
from ._calibration import Rows
from ._source import Source

_RECIPES = {
    "dynamic": "dynamic_wi8_afp32",
    "int8": "static_wi8_ai8",
    "int16x8": "static_wi8_ai16",
    "weight-only": "weight_only_wi8_afp32",
}


def convert(source: Source, float_content: bytes, scheme: str, rows: Rows | None, *, integer_io: bool) -> bytes:
    """Return the content of a quantized file.

    Parameters
    ----------
    source : Source
        The model.
    float_content : bytes
        Its float file.
    scheme : str
        One of `SCHEMES`.
    rows : tuple of arrays or None
        Calibration rows.
    integer_io : bool
        int8 at both ends.

    Returns
    -------
    bytes

    Raises
    ------
    ConversionError
        If the converter refuses the model.
    """
    if source.keras_model is None or scheme == "weight-only":
        if integer_io:
            raise InputError("integer_io: a .tflite file keeps its float ends; give the Keras model")
        return _from_file(source, float_content, scheme, rows)
    return export_litert(source.keras_model, **_options(source, scheme, rows, integer_io))


def _options(source: Source, scheme: str, rows: Rows | None, integer_io: bool) -> dict[str, Any]:
    """Return the converter's options for a scheme."""
    tf = import_tensorflow()
    options: dict[str, Any] = {"optimizations": [tf.lite.Optimize.DEFAULT]}
    if scheme == "float16":
        options["target_spec"] = {"supported_types": [tf.float16]}
    if scheme == "int16x8":
        wide = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        options["target_spec"] = {"supported_ops": [wide]}
    if integer_io:
        options["target_spec"] = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]}
        options |= {"inference_input_type": tf.int8, "inference_output_type": tf.int8}
    if scheme in ("int8", "int16x8") and rows is not None:
        options["representative_dataset"] = lambda: _one_by_one(source, rows)
    return options


def _one_by_one(source: Source, rows: Rows) -> Iterator[Any]:
    """Give the rows as the converter wants them: by name where there are several inputs."""
    names = source.order or ("",)
    for i in range(len(rows[0])):
        one = [array[i][None] for array in rows]
        yield one if len(one) == 1 else dict(zip(names, one, strict=True))


def _from_file(source: Source, content: bytes, scheme: str, rows: Rows | None) -> bytes:
    """Quantize a float file without TensorFlow."""
    quantizer = require("ai_edge_quantizer.quantizer", extra="quantize")
    recipe = require("ai_edge_quantizer.recipe", extra="quantize")
    with _quiet():
        try:
            work = quantizer.Quantizer(content)
            if scheme == "float16":
                _ask_for_float16(work)
            else:
                work.load_quantization_recipe(getattr(recipe, _RECIPES[scheme])())
            ranges = None if rows is None or scheme not in ("int8", "int16x8") else _ranges(work, source, content, rows)
            result = work.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
        except Exception as error:  # it raises whatever its parts raise
            raise ConversionError(f"the quantizer refused the file: {str(error)[:400]}") from error
    return bytes(result.quantized_model)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep back reports and bars; what goes wrong comes as an exception all the same."""
    nowhere = io.StringIO()
    with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def _ask_for_float16(work: Any) -> None:
    types = require("ai_edge_quantizer.qtyping", extra="quantize")
    half = types.TensorQuantizationConfig(num_bits=16, dtype=types.TensorDataType.FLOAT)
    work.update_quantization_recipe(
        regex=".*",
        operation_name=types.TFLOperationName.ALL_SUPPORTED,
        op_config=types.OpQuantizationConfig(weight_tensor_config=half),
        algorithm_key="float_casting",
    )


def _ranges(work: Any, source: Source, content: bytes, rows: Rows) -> Any:
    """Learn the range of each tensor."""
    model = LiteRTModel(content, order=source.order)
    names = list(model.inputs)
    data = [
        {name: np.ascontiguousarray(array[i][None]) for name, array in zip(names, rows, strict=True)}
        for i in range(len(rows[0]))
    ]
    return work.calibrate({model.signature or "serving_default": data}, num_threads=1)
