"""What a request asks, read from its body, and how its answer is written: the protocol's way and the plain one."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ..predictor._metadata import to_rows
from ..predictor._protocol import (
    LENGTH_HEADER,
    InferRequest,
    ProtocolError,
    decode_request,
    encode_response,
    header_length_of,
    read_json,
)
from ._batcher import Outputs
from ._http import JSON, Headers, Scope, header, shown
from ._model import VERSION, ServedModel

Array = npt.NDArray[Any]

DEADLINE_HEADER = "Deadline-Ms"
_LENGTH_KEY = LENGTH_HEADER.lower().encode()
_DEADLINE_KEY = DEADLINE_HEADER.lower().encode()
_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request asks of a model.

    Parameters
    ----------
    rows : numpy.ndarray of shape (n, ...)
        Checked by the model's contract.
    asked_ms : float or None
        In how many milliseconds the request wants its answer.
    write : callable
        From the model's outputs to the answer's body and headers.
    """

    rows: Array
    asked_ms: float | None
    write: Callable[[Outputs], tuple[bytes, Headers]]


Reader = Callable[[ServedModel, Scope, bytes], Ask]


def asked_ms(scope: Scope) -> float | None:
    """Return the milliseconds that the header `Deadline-Ms` grants, or None."""
    value = header(scope, _DEADLINE_KEY)
    if value is None:
        return None
    if not re.fullmatch(rb"[0-9]{1,12}(\.[0-9]{1,6})?", value):
        raise ProtocolError(f"{DEADLINE_HEADER}: expected milliseconds ≥ 0, got {shown(value)}")
    return float(value)


# -- the protocol ------------------------------------------------------------------------------------


def read_infer(model: ServedModel, scope: Scope, body: bytes) -> Ask:
    """Read a request of the Open Inference Protocol.

    Raises
    ------
    InputError
        Whatever is wrong with it: the message, its tensors, their values.
    """
    length = header(scope, _LENGTH_KEY)
    request = decode_request(body, None if length is None else header_length_of(length.decode("latin-1")))
    names = request.wanted(model.outputs)
    rows = model.check(to_rows(model.predictor.signature.input, request.inputs))
    times = [ms for ms in (asked_ms(scope), _timeout_ms(request)) if ms is not None]
    return Ask(rows, min(times, default=None), partial(_write_infer, model, request, names))


def _timeout_ms(request: InferRequest) -> float | None:
    """Return the request's own time limit; 0 stands for none, as in Triton."""
    timeout = request.parameters.get("timeout")
    if timeout is None:
        return None
    if type(timeout) is not int or not 0 <= timeout < 2**63:
        raise ProtocolError(f"timeout: expected whole microseconds ≥ 0, got {timeout!r:.60}")
    return timeout / 1000 or None


def _write_infer(
    model: ServedModel, request: InferRequest, names: list[str], outputs: Outputs
) -> tuple[bytes, Headers]:
    chosen = {name: outputs[name] for name in names}
    body, length = encode_response(model.name, VERSION, request.id, chosen, request.binary(names))
    if length is None:
        return body, JSON
    return body, [(b"content-type", b"application/octet-stream"), (_LENGTH_KEY, b"%d" % length)]


# -- the plain way -----------------------------------------------------------------------------------


def read_predict(model: ServedModel, scope: Scope, body: bytes) -> Ask:
    """Read ``{"rows": [...]}``, or a list of rows alone.

    Raises
    ------
    InputError
        As of `read_infer`.
    """
    if body.lstrip()[:1] == b"[":
        body = b'{"rows":' + body + b"}"
    content = read_json(body)
    rows = content.get("rows")
    if content.keys() != {"rows"} or type(rows) is not list:
        raise ProtocolError(f'expected {{"rows": [...]}} or a list of rows, got {_brief(content)}')
    if (b"true" in body or b"false" in body) and _has_bool(rows):
        raise ProtocolError("rows: expected numbers or texts, got true or false")
    return Ask(model.check(rows), asked_ms(scope), partial(_write_predict, model))


def _brief(content: dict[str, Any]) -> str:
    kinds = {name[:40]: type(value).__name__ for name, value in list(content.items())[:5]}
    return repr(kinds)


def _has_bool(value: Any) -> bool:
    """Whether true or false stands among nested lists and objects; NumPy would take them for 1 and 0."""
    if isinstance(value, dict):
        value = list(value.values())
    return isinstance(value, bool) or (isinstance(value, list) and any(map(_has_bool, value)))


def _write_predict(model: ServedModel, outputs: Outputs) -> tuple[bytes, Headers]:
    answers, probabilities, labels = {}, {}, {}
    for name, spec in model.outputs.items():
        values = outputs[name]
        if spec.labels is not None:
            probabilities[name], labels[name] = values.tolist(), spec.labels
            values = np.asarray(spec.labels)[values.argmax(axis=1)]
        answers[name] = values.tolist()
    content = {"answers": answers, "probabilities": probabilities, "labels": labels}
    several = len(answers) > 1
    plain = {key: found if several else next(iter(found.values())) for key, found in content.items() if found}
    return _ENCODER.encode({"model": model.name, **plain}).encode(), JSON
