"""A predictor's contract in the words of the Open Inference Protocol, and its rows as tensors."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError
from ._signature import ArraySpec, Column, InputSpec, OutputSpec, Signature, TableSpec, TextSpec
from ._tensors import ProtocolError, as_texts, checked_shape, datatype_of, dtype_of

Array = npt.NDArray[Any]
Metadata = dict[str, Any]

INPUT = "input"
"""The name of the one tensor that a model of arrays or of texts takes."""
OWN = "inferkit"
"""Under this name the parameters of our metadata hold the whole signature, for our own client."""


def example_row(spec: InputSpec) -> Any:
    """Return one row that meets a contract: for a first call, or to show how one is asked.

    Parameters
    ----------
    spec : ArraySpec, TableSpec or TextSpec

    Returns
    -------
    numpy.ndarray, dict or str
        As `Predictor.predict_one` takes it: the smallest numbers allowed (0 where there is no limit), the first
        word of each column, 1 for each length that is left open.

    Examples
    --------
    >>> example_row(TableSpec([Column("age", "years", 18, 120), Column("smoker", categories=["no", "yes"])]))
    {'age': 18.0, 'smoker': 'no'}
    """
    if isinstance(spec, ArraySpec):
        return np.full([n or 1 for n in spec.shape], _allowed(spec.low, spec.high), spec.dtype)
    if isinstance(spec, TextSpec):
        return "a text"[: spec.max_chars]
    return {c.name: _allowed(c.low, c.high) if c.categories is None else c.categories[0] for c in spec.columns}


def _allowed(low: float | None, high: float | None) -> float:
    if low is not None:
        return float(low)
    return 0.0 if high is None or high >= 0 else float(high)


# -- what a server says ------------------------------------------------------------------------------


def model_metadata(
    name: str,
    signature: Signature,
    answers: Mapping[str, Array] | None = None,
    versions: Sequence[str] = ("1",),
    *,
    resolution: float | None = None,
) -> Metadata:
    """Return a model's metadata as the protocol has them, the whole contract in its parameters.

    Parameters
    ----------
    name : str
    signature : Signature
    answers : dict of str to numpy.ndarray, optional
        What the model gave for some rows: from these the types and shapes of the outputs are known.
    versions : sequence of str
    resolution : float, optional
        Step between two neighbouring outputs, as the backend has it: the client allows for it, as the predictor does.
        Where it is not said, the client allows for 1/256: the server has checked its answers already.

    Returns
    -------
    dict
        Plain values that JSON can hold.
    """
    inputs, outputs = tensor_specs(signature, answers)
    own: Metadata = {"version": 1, "signature": signature.to_dict()} | (
        {} if resolution is None else {"resolution": resolution}
    )
    return {
        "name": name,
        "versions": list(versions),
        "platform": OWN,
        "inputs": inputs,
        "outputs": outputs,
        "parameters": {OWN: own},
    }


def tensor_specs(
    signature: Signature, answers: Mapping[str, Array] | None = None
) -> tuple[list[Metadata], list[Metadata]]:
    """Return the metadata of a predictor's input and output tensors.

    Parameters
    ----------
    signature : Signature
    answers : dict of str to numpy.ndarray, optional
        As of `model_metadata`. Without them values are taken for FP64, one a row, probabilities for FP64, labels
        for BYTES.

    Returns
    -------
    inputs, outputs : list of dict
        Each with ``name``, ``datatype`` and ``shape``; −1 stands for any length.

    Examples
    --------
    >>> inputs, outputs = tensor_specs(Signature(ArraySpec((8, 8)), [OutputSpec("p", "probabilities", (0, 1))]))
    >>> inputs
    [{'name': 'input', 'datatype': 'FP32', 'shape': [-1, 8, 8]}]
    >>> outputs
    [{'name': 'p', 'datatype': 'FP64', 'shape': [-1, 2]}]
    """
    answers = answers or {}
    return _input_specs(signature.input), [_output_spec(spec, answers.get(spec.name)) for spec in signature.outputs]


def _input_specs(spec: InputSpec) -> list[Metadata]:
    if isinstance(spec, ArraySpec):
        shape = [-1, *(-1 if n is None else n for n in spec.shape)]
        return [_tensor(INPUT, datatype_of(spec.dtype), shape)]
    if isinstance(spec, TextSpec):
        return [_tensor(INPUT, "BYTES", [-1])]
    return [_tensor(c.name, "FP64" if c.categories is None else "BYTES", [-1]) for c in spec.columns]


def _output_spec(spec: OutputSpec, answer: Array | None) -> Metadata:
    if answer is not None:
        return _tensor(spec.name, datatype_of(answer.dtype), [-1, *answer.shape[1:]])
    if spec.labels is not None:
        return _tensor(spec.name, "FP64", [-1, len(spec.labels)])
    return _tensor(spec.name, "BYTES" if spec.kind == "labels" else "FP64", [-1])


def _tensor(name: str, datatype: str, shape: list[int]) -> Metadata:
    return {"name": name, "datatype": datatype, "shape": shape}


# -- what a client reads -----------------------------------------------------------------------------


def signature_from_metadata(metadata: Mapping[str, Any]) -> Signature:
    """Return the contract that a model's metadata state.

    Parameters
    ----------
    metadata : dict
        As a server sent it. From ours everything comes back: ranges, units, labels. Another server's say names,
        types and shapes.

    Returns
    -------
    Signature
        One input becomes an array or a text; several inputs of one number each become a table.

    Raises
    ------
    ProtocolError
        If it is no metadata of a model, or several inputs are no columns of a table.
    """
    parameters = metadata.get("parameters")
    own = parameters.get(OWN) if isinstance(parameters, dict) else None
    if own is not None:
        return _own_signature(own)
    inputs, outputs = described(metadata, "inputs"), described(metadata, "outputs")
    kinds = [(one["name"], "labels" if one["datatype"] == "BYTES" else "values") for one in outputs]
    return Signature(_foreign_input(inputs), tuple(OutputSpec(name, kind) for name, kind in kinds))  # type: ignore[arg-type]


def _own_signature(own: Any) -> Signature:
    try:
        return Signature.from_dict(own["signature"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProtocolError(
            f"metadata: expected the signature of a predictor, got {repr(own)[:80]}: {error}"
        ) from error


def described(metadata: Mapping[str, Any], what: str) -> list[Metadata]:
    """Return the tensors that a model's metadata name, checked; `what` is ``"inputs"`` or ``"outputs"``."""
    listed = metadata.get(what)
    if not isinstance(listed, list) or not listed:
        raise ProtocolError(f"metadata: expected {what} to be a list of tensors, got {repr(listed)[:60]}")
    for one in listed:
        name = one.get("name") if isinstance(one, dict) else None
        if not isinstance(name, str) or not name:
            raise ProtocolError(f"metadata: expected each of {what} to have a name, got {repr(one)[:60]}")
        dtype_of(one.get("datatype"), f"metadata of {name!r}")
        shape = one.get("shape")
        checked_shape(
            [0 if n == -1 else n for n in shape] if isinstance(shape, list) else shape, f"metadata of {name!r}"
        )
    return listed


def _foreign_input(inputs: list[Metadata]) -> InputSpec:
    if len(inputs) == 1:
        shape = tuple(None if n == -1 else n for n in inputs[0]["shape"][1:])
        return (
            TextSpec() if inputs[0]["datatype"] == "BYTES" else ArraySpec(shape, dtype_of(inputs[0]["datatype"]).name)
        )
    odd = [one["name"] for one in inputs if one["datatype"] == "BYTES" or one["shape"][1:] not in ([], [1])]
    if odd:
        raise ProtocolError(
            f"this model takes {[one['name'] for one in inputs]}, of which {odd} are no columns of numbers; "
            "say what a row is: Predictor(url, signature=TableSpec([Column(...), ...]))"
        )
    return TableSpec(tuple(Column(one["name"]) for one in inputs))


# -- rows --------------------------------------------------------------------------------------------


def to_rows(spec: InputSpec, tensors: Mapping[str, Array]) -> Any:
    """Return the rows that a request's tensors hold, as `Predictor.predict_outputs` takes them.

    Parameters
    ----------
    spec : ArraySpec, TableSpec or TextSpec
    tensors : dict of str to numpy.ndarray
        As `decode_request` gives them.

    Returns
    -------
    numpy.ndarray, dict of columns or list of str
        Names, datatypes and axes are checked here; lengths and values by the contract itself.

    Raises
    ------
    ProtocolError
        If a tensor is missing or unknown, or of another datatype.

    Examples
    --------
    >>> to_rows(TextSpec(), {"input": np.array([b"rain again"], dtype=object)})
    ['rain again']
    """
    wanted = {one["name"]: one["datatype"] for one in _input_specs(spec)}
    if tensors.keys() != wanted.keys():
        raise ProtocolError(f"inputs: expected {list(wanted)}, got {list(tensors)}")
    for name, array in tensors.items():
        if (datatype := datatype_of(array.dtype)) != wanted[name]:
            raise ProtocolError(f"input {name!r}: expected {wanted[name]}, got {datatype}")
    if isinstance(spec, ArraySpec):
        return tensors[INPUT]
    if isinstance(spec, TextSpec):
        return as_texts(_column(tensors[INPUT], INPUT), f"input {INPUT!r}")
    columns = {name: _column(array, name) for name, array in tensors.items()}
    return {n: as_texts(c, f"input {n!r}") if c.dtype.kind == "O" else c for n, c in columns.items()}


def _column(array: Array, name: str) -> Array:
    if array.ndim == 1 or array.shape[1:] == (1,):
        return array.reshape(-1)
    raise ProtocolError(f"input {name!r}: expected one value a row, shape [n] or [n, 1], got {list(array.shape)}")


def from_rows(rows: Array, inputs: Sequence[Metadata]) -> dict[str, Array]:
    """Return rows as the tensors that a model's metadata ask for.

    Parameters
    ----------
    rows : numpy.ndarray of shape (n, ...)
        Checked by the contract: what a `Predictor` hands to its model.
    inputs : list of dict
        Metadata of the tensors. The columns of a table go to several of them in their order.

    Returns
    -------
    dict of str to numpy.ndarray

    Raises
    ------
    InputError
        If there are more or fewer columns than tensors, or numbers that the tensor's datatype cannot hold.
    """
    if len(inputs) == 1:
        return {inputs[0]["name"]: _as_tensor(rows, inputs[0])}
    if rows.ndim != 2 or rows.shape[1] != len(inputs):
        names = [one["name"] for one in inputs]
        raise InputError(f"expected one column for each of {names}, got rows of shape {rows.shape}")
    shapes = [(-1, *one["shape"][1:]) for one in inputs]
    return {
        one["name"]: _as_tensor(column, one).reshape(shape)
        for one, column, shape in zip(inputs, rows.T, shapes, strict=True)
    }


def _as_tensor(values: Array, one: Metadata) -> Array:
    dtype = dtype_of(one["datatype"])
    if values.dtype == dtype or datatype_of(values.dtype) == one["datatype"]:
        return values
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            converted = values.astype(dtype)
            kept = dtype.kind not in "biu" or bool((converted == values).all())
    except (TypeError, ValueError, OverflowError):
        kept = False
    if not kept or dtype.kind == "O":
        raise InputError(
            f"input {one['name']!r}: expected {one['datatype']}, got {values.dtype} values that do not fit"
        )
    return converted


def as_answer(array: Array, where: str) -> Array:
    """Return an output as a model here would give it: texts as ``str``."""
    if array.dtype.kind != "O":
        return array
    return np.array(as_texts(array, where), dtype=np.str_).reshape(array.shape)
