"""What a server is asked: rows made into whole requests before any clock runs."""

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._base import InputError
from ..benchmark._timing import DISTINCT_ROWS, count_rows
from ..predictor._http import HTTPBackend
from ..predictor._metadata import example_row, from_rows
from ..predictor._protocol import LENGTH_HEADER, encode_request
from ..predictor._signature import InputSpec
from ._client import host_of, request_bytes
from ._codecs import DEADLINE_HEADER

_PLAIN = re.compile(r"/predict(/[^/]+)?$")

Headers = Mapping[str, str]


def requests_for(
    url: str, X: Any, *, deadline_ms: float | None = None, token: str | None = None, timeout_s: float = 10.0
) -> tuple[str, int, list[bytes]]:
    """Return whom to ask, and what: one whole request for each row.

    Parameters
    ----------
    url : str
        A server's, a model's (``/v2/models/NAME``), or one of plain JSON (``/predict``, ``/predict/NAME``).
    X : array, list, data frame or None
        Rows; the first 256 are used. None stands for one row that the model's contract allows.
    deadline_ms : float or None
        Goes along as a header that this package's server knows.
    token : str or None
    timeout_s : float
        For the question what the model takes.

    Returns
    -------
    host : str
    port : int
    requests : list of bytes

    Raises
    ------
    InputError
        If the address is none, or the rows do not meet the contract.
    RemoteError
        If the server is not there, or does not say what it takes.
    """
    host, port, path = host_of(url)
    deadline = {} if deadline_ms is None else {DEADLINE_HEADER: f"{deadline_ms:.6f}"}
    if _PLAIN.search(path) and "/v2/" not in path:
        requests = _plain_requests(url, X, _authorization(token) | deadline)
    else:
        requests = _protocol_requests(url, X, token, timeout_s, deadline)
    return host, port, requests


def _authorization(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


# -- in plain JSON ---------------------------------------------------------------------------------


def _plain_requests(url: str, X: Any, headers: Headers) -> list[bytes]:
    if X is None:
        raise InputError(f"X: expected rows; {url} does not say what it takes, the server's own address does")
    try:
        bodies = [json.dumps({"rows": [row]}, default=_plain).encode() for row in _rows(X)]
    except (TypeError, ValueError) as error:
        raise InputError(f"X: expected rows that JSON can hold: {error}") from None
    return [request_bytes(url, body, {"Content-Type": "application/json", **headers}) for body in bodies]


def _rows(X: Any) -> list[Any]:
    """Return the first rows one by one."""
    if isinstance(X, Mapping):  # columns by name
        return [dict(zip(X, row, strict=True)) for row in zip(*X.values(), strict=True)][:DISTINCT_ROWS]
    n = min(count_rows(X), DISTINCT_ROWS)
    rows = X.head(n).to_dict("records") if hasattr(X, "to_dict") else X
    return [rows[i] for i in range(n)]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"got {type(value).__name__}")


# -- in the protocol -------------------------------------------------------------------------------


def _protocol_requests(url: str, X: Any, token: str | None, timeout_s: float, deadline: Headers) -> list[bytes]:
    """Return requests of one row each, their tensors as bytes where the server takes them so."""
    backend = HTTPBackend(url, token=token, timeout_s=timeout_s, connect_timeout_s=timeout_s, retries=0)
    backend.close()
    checked = _checked(backend.input_spec(), X)
    return [
        _infer_request(backend, checked[i : i + 1], _authorization(token) | dict(deadline)) for i in range(len(checked))
    ]


def _infer_request(backend: HTTPBackend, row: Any, headers: Headers) -> bytes:
    body, length = encode_request(from_rows(row, backend._inputs), binary=backend._binary)
    kind = {"Content-Type": "application/json"}
    if length is not None:
        kind = {"Content-Type": "application/octet-stream", LENGTH_HEADER: str(length)}
    return request_bytes(f"{backend.url}/infer", body, kind | dict(headers))


def _checked(spec: InputSpec, X: Any) -> Any:
    """Return the first rows, checked by the contract; one that it allows, if there are none."""
    if X is None:
        return spec.check_one(example_row(spec))
    if isinstance(X, Mapping):
        return spec.check({name: column[:DISTINCT_ROWS] for name, column in X.items()})  # type: ignore[arg-type]
    count_rows(X)
    return spec.check(X[:DISTINCT_ROWS])


__all__ = ["requests_for"]
