"""Messages of the Open Inference Protocol (KServe v2): requests and responses to bytes, and back.

A message is JSON; with the binary tensor extension the bytes of its tensors follow the JSON, and a header beside the
message says how long the JSON is. What a model says of itself, and how its rows become tensors, is in `_metadata`.
Nothing here knows of HTTP.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from ._strict_json import read_json
from ._tensors import (
    DATATYPES,
    ProtocolError,
    checked_shape,
    datatype_of,
    dtype_of,
    from_bytes,
    from_json,
    to_bytes,
    to_json,
)

__all__ = [
    "DATATYPES", "LENGTH_HEADER", "InferRequest", "InferResponse", "ProtocolError", "WantedOutput", "datatype_of",
    "decode_request", "decode_response", "encode_request", "encode_response", "header_length_of", "read_json",
]  # fmt: skip

Array = npt.NDArray[Any]

LENGTH_HEADER = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class WantedOutput:
    """An output that a request asks for.

    Parameters
    ----------
    name : str
    binary : bool or None
        Whether it shall come as bytes; None leaves it to the request's ``binary_data_output``.
    """

    name: str
    binary: bool | None = None


@dataclass(frozen=True)
class InferRequest:
    """What a request holds.

    Parameters
    ----------
    inputs : dict of str to numpy.ndarray
        Tensors by name, in their order; texts are ``bytes`` in an array of objects.
    outputs : tuple of WantedOutput
        Empty if all are wanted.
    id : str or None
        Goes back with the answer.
    parameters : dict
    """

    inputs: dict[str, Array]
    outputs: tuple[WantedOutput, ...] = ()
    id: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)

    def wanted(self, names: Collection[str]) -> list[str]:
        """Return which of a model's outputs are wanted, or raise `ProtocolError` if it has not all of them."""
        for output in self.outputs:
            if output.name not in names:
                raise ProtocolError(f"outputs: expected some of {list(names)}, got {output.name!r}")
        return [output.name for output in self.outputs] or list(names)

    def binary(self, names: Collection[str]) -> set[str]:
        """Return which of these outputs shall come as bytes."""
        otherwise = self.parameters.get("binary_data_output") is True
        said = {output.name: output.binary for output in self.outputs}
        return {name for name in names if (otherwise if said.get(name) is None else said[name])}


@dataclass(frozen=True)
class InferResponse:
    """What a response holds.

    Parameters
    ----------
    outputs : dict of str to numpy.ndarray
        Tensors by name, in their order; texts are ``bytes`` in an array of objects.
    model_name, model_version, id : str or None
    parameters : dict
    """

    outputs: dict[str, Array]
    model_name: str | None = None
    model_version: str | None = None
    id: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


# -- reading -----------------------------------------------------------------------------------------


def header_length_of(header: str | None) -> int | None:
    """Return the length of the JSON that a message's header states; None if there is no such header.

    Raises
    ------
    ProtocolError
        If it is no whole number.
    """
    if header is None:
        return None
    if not re.fullmatch(r"[0-9]{1,15}", header):
        raise ProtocolError(f"{LENGTH_HEADER}: expected a number of bytes, got {header[:40]!r}")
    return int(header)


def decode_request(body: bytes, header_length: int | None = None) -> InferRequest:
    """Read a request.

    Parameters
    ----------
    body : bytes
    header_length : int, optional
        Bytes of JSON at the start of `body`; the rest are tensors. All of it is JSON if not given.

    Returns
    -------
    InferRequest

    Raises
    ------
    ProtocolError
        Whatever is wrong with it. The message names the part, what was expected and what came.

    References
    ----------
    .. [1] Open Inference Protocol, "Inference Request JSON Object", and Triton's "Binary Tensor Data Extension".

    Examples
    --------
    >>> request = decode_request(
    ...     b'{"inputs": [{"name": "input", "shape": [1, 2], "datatype": "FP32", "data": [3, 0.5]}]}'
    ... )
    >>> request.inputs["input"]
    array([[3. , 0.5]], dtype=float32)
    """
    head, tail = _parts(body, header_length)
    return InferRequest(
        inputs=_read_tensors(head, "input", tail),
        outputs=_read_wanted(head),
        id=_text_or_none(head, "id"),
        parameters=_dict_of(head, "the message"),
    )


def decode_response(body: bytes, header_length: int | None = None) -> InferResponse:
    """Read a response. Parameters and errors are those of `decode_request`.

    Returns
    -------
    InferResponse
    """
    head, tail = _parts(body, header_length)
    return InferResponse(
        outputs=_read_tensors(head, "output", tail),
        model_name=_text_or_none(head, "model_name"),
        model_version=_text_or_none(head, "model_version"),
        id=_text_or_none(head, "id"),
        parameters=_dict_of(head, "the message"),
    )


def _parts(body: bytes, header_length: int | None) -> tuple[dict[str, Any], memoryview]:
    if header_length is None:
        return read_json(body), memoryview(b"")
    if not 0 <= header_length <= len(body):
        raise ProtocolError(f"expected {header_length} bytes of JSON, as the header says, got {len(body)} in all")
    return read_json(body[:header_length]), memoryview(body)[header_length:]


def _read_tensors(head: dict[str, Any], kind: str, tail: memoryview) -> dict[str, Array]:
    """Return the tensors by name; those that come as bytes take theirs from `tail`, one after the other."""
    listed = head.get(kind + "s")
    if type(listed) is not list or not listed:
        raise ProtocolError(f"expected {kind}s to be a list of tensors, got {_kind_of(listed)}")
    tensors: dict[str, Array] = {}
    for plain in listed:
        name = _name_of(plain, kind, tensors)
        where = f"{kind} {name!r}"
        shape = checked_shape(plain.get("shape"), where)
        dtype_of(datatype := plain.get("datatype"), where)
        size = _binary_size(plain, tail, where)
        if size is None:
            tensors[name] = from_json(plain.get("data"), datatype, shape, where)
        else:
            tensors[name] = from_bytes(tail[:size], datatype, shape, where)
            tail = tail[size:]
    if len(tail):
        raise ProtocolError(f"expected the message to end after its tensors, got {len(tail)} bytes more")
    return tensors


def _name_of(plain: Any, kind: str, before: Collection[str]) -> str:
    name = plain.get("name") if type(plain) is dict else None
    if type(name) is not str or not name or not name.isprintable() or len(name) > 256:
        raise ProtocolError(f"expected each {kind} to be an object with a name, got {repr(name)[:60]}")
    if name in before:
        raise ProtocolError(f"expected each {kind} once, got {name!r} twice")
    return name


def _binary_size(plain: dict[str, Any], tail: memoryview, where: str) -> int | None:
    """Return how many bytes a tensor has behind the JSON; None if its elements are in the JSON."""
    parameters = _dict_of(plain, where)
    if any(name.startswith("shared_memory") for name in parameters):
        raise ProtocolError(f"{where}: expected its elements in the message; shared memory is not supported")
    size = parameters.get("binary_data_size")
    if size is None:
        return None
    if "data" in plain:
        raise ProtocolError(f"{where}: expected either data or binary_data_size, got both")
    if type(size) is not int or not 0 <= size <= len(tail):
        raise ProtocolError(
            f"{where}: expected binary_data_size to be a number of the {len(tail)} bytes left, got {repr(size)[:60]}"
        )
    return size


def _read_wanted(head: dict[str, Any]) -> tuple[WantedOutput, ...]:
    listed = head.get("outputs")
    if listed is None:
        return ()
    if type(listed) is not list:
        raise ProtocolError(f"expected outputs to be a list, got {_kind_of(listed)}")
    wanted: dict[str, WantedOutput] = {}
    for plain in listed:
        name = _name_of(plain, "output", wanted)
        parameters = _dict_of(plain, f"output {name!r}")
        if "classification" in parameters or any(key.startswith("shared_memory") for key in parameters):
            raise ProtocolError(
                f"output {name!r}: classification and shared memory are not supported; ask without them"
            )
        wanted[name] = WantedOutput(name, _bool_or_none(parameters, "binary_data", f"output {name!r}"))
    return tuple(wanted.values())


def _dict_of(plain: dict[str, Any], where: str) -> dict[str, Any]:
    parameters = plain.get("parameters")
    if parameters is None:
        return {}
    if type(parameters) is not dict:
        raise ProtocolError(f"{where}: expected parameters to be an object, got {_kind_of(parameters)}")
    _bool_or_none(parameters, "binary_data_output", where)
    return parameters


def _bool_or_none(parameters: dict[str, Any], name: str, where: str) -> bool | None:
    value = parameters.get(name)
    if value is not None and type(value) is not bool:
        raise ProtocolError(f"{where}: expected {name} to be true or false, got {_kind_of(value)}")
    return value


def _text_or_none(head: dict[str, Any], name: str) -> str | None:
    value = head.get(name)
    if value is not None and type(value) is not str:
        raise ProtocolError(f"expected {name} to be a text, got {_kind_of(value)}")
    return value


def _kind_of(value: object) -> str:
    names = {
        type(None): "nothing",
        list: "an empty list" if value == [] else "a list",
        dict: "an object",
        str: "a text",
    }
    return names.get(type(value), repr(value)[:60])


# -- writing -----------------------------------------------------------------------------------------


def encode_response(
    model: str,
    version: str | None,
    id: str | None,
    outputs: Mapping[str, Array],
    binary: Collection[str] = (),
) -> tuple[bytes, int | None]:
    """Write a response.

    Parameters
    ----------
    model : str
    version : str or None
    id : str or None
        That of the request.
    outputs : dict of str to numpy.ndarray
    binary : collection of str
        Names of the outputs that shall come as bytes.

    Returns
    -------
    body : bytes
    header_length : int or None
        Bytes of JSON at the start of `body`; None if all of it is JSON.

    Raises
    ------
    ProtocolError
        If an output holds what its form cannot: NaN or an infinity in JSON, complex numbers.

    Examples
    --------
    >>> import numpy as np
    >>> encode_response("m", None, None, {"output": np.array([0.5, 1.0])})
    (b'{"model_name":"m","outputs":[{"name":"output","shape":[2],"datatype":"FP64","data":[0.5,1.0]}]}', None)
    """
    head: dict[str, Any] = {"model_name": model}
    if version is not None:
        head["model_version"] = version
    if id is not None:
        head["id"] = id
    head["outputs"], tail = _write_tensors(outputs, "output", binary)
    return _joined(head, tail)


def encode_request(
    inputs: Mapping[str, Array], *, binary: bool = True, id: str | None = None, outputs: Collection[str] = ()
) -> tuple[bytes, int | None]:
    """Write a request.

    Parameters
    ----------
    inputs : dict of str to numpy.ndarray
    binary : bool, default=True
        Whether tensors go as bytes, and shall come back so.
    id : str, optional
    outputs : collection of str
        Names of the outputs wanted; all if empty.

    Returns
    -------
    body : bytes
    header_length : int or None
        As of `encode_response`.

    Raises
    ------
    ProtocolError
        As of `encode_response`.
    """
    head: dict[str, Any] = {} if id is None else {"id": id}
    if binary:
        head["parameters"] = {"binary_data_output": True}
    head["inputs"], tail = _write_tensors(inputs, "input", inputs if binary else ())
    if outputs:
        head["outputs"] = [{"name": name} for name in outputs]
    return _joined(head, tail)


def _write_tensors(
    tensors: Mapping[str, Array], kind: str, binary: Collection[str]
) -> tuple[list[dict[str, Any]], list[bytes]]:
    listed, tail = [], []
    for name, array in tensors.items():
        where = f"{kind} {name!r}"
        plain: dict[str, Any] = {"name": name, "shape": list(array.shape), "datatype": datatype_of(array.dtype)}
        if name in binary:
            content = to_bytes(array, where)
            plain["parameters"] = {"binary_data_size": len(content)}
            tail.append(content)
        else:
            plain["data"] = to_json(array, where)
        listed.append(plain)
    return listed, tail


def _joined(head: dict[str, Any], tail: list[bytes]) -> tuple[bytes, int | None]:
    text = _ENCODER.encode(head).encode()
    return (b"".join([text, *tail]), len(text)) if tail else (text, None)


_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
