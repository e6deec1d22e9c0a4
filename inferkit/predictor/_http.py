"""A model behind a server that speaks the Open Inference Protocol: called like one in this process."""

import re
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .._base import InputError
from ._metadata import OWN, as_answer, described, from_rows, signature_from_metadata
from ._protocol import (
    LENGTH_HEADER,
    ProtocolError,
    decode_response,
    encode_request,
    header_length_of,
    read_json,
)
from ._remote_error import RemoteError, RemoteUnavailableError
from ._signature import InputSpec, OutputSpec
from ._tensors import dtype_of

if TYPE_CHECKING:
    from ._transport import Answer, Transport

Array = npt.NDArray[Any]

ROWS_AT_ONCE = 1024
BYTES_AT_ONCE = 4 << 20
_LATER = (408, 429, 502, 503, 504)  # statuses that blame no row: the same request may succeed later


class Address(NamedTuple):
    """Where a model is.

    Attributes
    ----------
    scheme, host, port
        The server's.
    root : str
        What stands before ``/v2``.
    name : str
        The model's; empty for the only one of a server.
    version : str
        Empty for the one that the server chooses.
    """

    scheme: str
    host: str
    port: int | None
    root: str
    name: str
    version: str = ""

    @property
    def path(self) -> str:
        """The path that the model's own paths begin with."""
        return f"{self.root}/v2/models/{self.name}" + (f"/versions/{self.version}" if self.version else "")


def address_of(url: str) -> Address:
    """Read a model's URL, or a server's.

    Raises
    ------
    InputError
        If it is neither.

    Examples
    --------
    >>> address_of("http://127.0.0.1:8000/v2/models/digits").path
    '/v2/models/digits'
    """
    from urllib3.exceptions import LocationParseError
    from urllib3.util import parse_url

    example = "give one like http://127.0.0.1:8000/v2/models/digits"
    try:
        parts = parse_url(url)
    except LocationParseError as error:
        raise InputError(f"url: expected the address of a model's server, got {url!r:.100}; {example}") from error
    if parts.scheme not in ("http", "https") or not parts.host:
        raise InputError(f"url: expected http:// or https:// and a host, got {url!r:.100}; {example}")
    if parts.auth or parts.query or parts.fragment:
        raise InputError(
            f"url: expected no name, password, ? or # in an address, got one for {parts.host}; "
            "a token goes into remote(url, token=...)"
        )
    found = _PATH.fullmatch(parts.path or "")
    assert found is not None  # the pattern matches everything
    root, name, version = found["root"], found["name"] or "", found["version"] or ""
    return Address(parts.scheme, parts.host, parts.port, root, name, version)


_PATH = re.compile(
    r"(?P<root>.*?)(/v2(/models/(?P<name>[^/]+)(/versions/(?P<version>[^/]+))?(/infer)?)?)?/?", flags=re.DOTALL
)


class HTTPBackend:
    """A model behind a server that speaks the Open Inference Protocol, ours or any other.

    Tensors go as bytes where the server says that it takes them so, else as JSON. Of many rows the server gets 1,024
    at a time, and no more than 4 MiB; half of that, and half again, if it finds a request too large.

    Parameters
    ----------
    url : str
    token : str, optional
    timeout_s, connect_timeout_s : float
    retries : int
        See `inferkit.predictor.remote`.

    Attributes
    ----------
    model : Address
    metadata : dict
        What the server says of the model.
    """

    kind = "http"

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float = 30.0,
        connect_timeout_s: float = 5.0,
        retries: int = 2,
    ) -> None:
        _check_options(token, timeout_s, connect_timeout_s, retries)
        self._options: dict[str, Any] = {
            "timeout_s": float(timeout_s),
            "connect_timeout_s": float(connect_timeout_s),
            "retries": retries,
            "headers": {} if token is None else {"authorization": f"Bearer {token}"},
        }
        self.model = address_of(url)
        self._transport = self._connect()
        server = self._read_server()
        if not self.model.name:
            self.model = self.model._replace(name=self._only_model(server))
        extensions = server.get("extensions")
        self._binary = isinstance(extensions, list) and "binary_tensor_data" in extensions
        self.metadata = self._json(self._transport.ask("GET", self.model.path))
        self._describe()

    def _describe(self) -> None:
        """Read what is needed of the metadata, or say what is wrong with them."""
        try:
            self._signature = signature_from_metadata(self.metadata)
            self._inputs, outputs = described(self.metadata, "inputs"), described(self.metadata, "outputs")
        except ProtocolError as error:
            raise RemoteError(f"{self.url} describes a model that no row can be sent to: {error}") from error
        self._outputs = {one["name"] for one in outputs}
        self.resolution = _resolution(self.metadata.get("parameters"))
        first = self._inputs[0]["shape"][:1]
        self._exactly = first[0] if first and first[0] > 0 else None
        self._at_once = self._exactly or min(ROWS_AT_ONCE, max(1, BYTES_AT_ONCE // self._row_bytes()))

    def _row_bytes(self) -> int:
        """Return about how many bytes a row takes in a request; a text is taken for a page."""
        sizes = (max(dtype_of(one["datatype"]).itemsize, 8 * (one["datatype"] == "BYTES")) for one in self._inputs)
        lengths = (prod(max(n, 1) for n in one["shape"][1:]) for one in self._inputs)
        total = sum(size * length for size, length in zip(sizes, lengths, strict=True))
        return total * (1 if self._binary else 5) if any(i["datatype"] != "BYTES" for i in self._inputs) else 4096

    @property
    def url(self) -> str:
        """The model's address."""
        return self._transport.where + self.model.path

    def _connect(self) -> "Transport":
        from ._transport import Transport

        return Transport(self.model.scheme, self.model.host, self.model.port, **self._options)

    def close(self) -> None:
        """Close the connections to the server; the next call opens one."""
        self._transport.close()

    def __getstate__(self) -> dict[str, Any]:  # connections stay where they are: another process opens its own
        return {name: value for name, value in vars(self).items() if name != "_transport"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._transport = self._connect()

    # -- what a predictor needs --------------------------------------------------------------

    def input_spec(self) -> InputSpec:
        """Return the contract that the server states."""
        return self._signature.input

    def output_specs(self) -> tuple[OutputSpec, ...]:
        """Return the outputs that the server states, with their labels where it knows them."""
        return self._signature.outputs

    def __call__(self, X: Array) -> Array | dict[str, Array]:
        """Return the outputs for a batch."""
        outputs = self._ask(X)
        return outputs if len(outputs) > 1 else next(iter(outputs.values()))

    def _ask(self, X: Array) -> dict[str, Array]:
        size = self._at_once  # another thread may change it
        if self._exactly is not None and len(X) % size:
            raise InputError(f"this model takes exactly {size} rows at once, got {len(X)}")
        parts = [self._infer(X[start : start + size]) for start in range(0, len(X), size)]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _infer(self, rows: Array) -> dict[str, Array]:
        body, length = encode_request(from_rows(rows, self._inputs), binary=self._binary)
        headers = {"content-type": "application/json", "deadline-ms": f"{self._transport.timeout_s * 1000:.0f}"}
        if length is not None:
            headers |= {"content-type": "application/octet-stream", LENGTH_HEADER: str(length)}
        answer = self._transport.ask("POST", self.model.path + "/infer", body, headers)
        if answer.status == 413 and len(rows) > 1 and self._exactly is None:
            self._at_once = max(1, len(rows) // 2)
            return self._ask(rows)
        return self._read(answer, len(rows))

    # -- what a server sends -----------------------------------------------------------------

    def _read(self, answer: "Answer", n: int) -> dict[str, Array]:
        """Return the outputs that an answer holds."""
        self._refuse_refusal(answer)
        try:
            response = decode_response(answer.body, header_length_of(answer.headers.get(LENGTH_HEADER)))
            outputs = {name: as_answer(array, f"output {name!r}") for name, array in response.outputs.items()}
        except ProtocolError as error:
            raise self._garbage(answer, str(error)) from error
        missing = self._outputs - outputs.keys()
        if missing:
            raise self._garbage(answer, f"expected the outputs {sorted(self._outputs)}, got {sorted(outputs)}")
        for name in self._outputs:
            if outputs[name].shape[:1] != (n,):
                raise self._garbage(answer, f"expected {n} rows of {name!r}, got shape {list(outputs[name].shape)}")
        return {name: outputs[name] for name in outputs if name in self._outputs}

    def _read_server(self) -> dict[str, Any]:
        """Return what the server says of itself; nothing, if it does not speak of itself."""
        answer = self._transport.ask("GET", f"{self.model.root}/v2")
        return {} if answer.status == 404 else self._json(answer)

    def _only_model(self, server: dict[str, Any]) -> str:
        names = server.get("models")
        if isinstance(names, list) and len(names) == 1 and isinstance(names[0], str):
            return names[0]
        there = f"it has {names}" if names else "it does not say which it has"
        raise InputError(f"{self._transport.where}: which model? {there}; give its URL, which ends in /v2/models/NAME")

    def _json(self, answer: "Answer") -> dict[str, Any]:
        self._refuse_refusal(answer)
        try:
            return read_json(answer.body)
        except ProtocolError as error:
            raise self._garbage(answer, str(error)) from error

    def _refuse_refusal(self, answer: "Answer") -> None:
        """Raise what an answer with another status than 200 says."""
        status, where = answer.status, self._transport.where
        if status == 200:
            if "content-encoding" in answer.headers:
                raise self._garbage(
                    answer, f"expected it as it is, got it as {answer.headers['content-encoding']!r:.40}"
                )
            return
        said = f"{where} answers {status}: {_reason(answer.body)}"
        if 300 <= status < 400:
            target = answer.headers.get("location", "nowhere")
            raise RemoteError(f"{where} sends on to {target!r:.200}; if you trust that address, give it instead")
        if status in (401, 403):
            raise InputError(f"{said}. Give its token: remote(url, token=...)")
        if status in _LATER:
            raise RemoteUnavailableError(said)
        if 400 <= status < 500:
            raise InputError(said)
        raise RemoteError(said)

    def _garbage(self, answer: "Answer", words: str) -> RemoteError:
        kind = answer.headers.get("content-type", "no content type")
        return RemoteError(f"{self._transport.where} answers what is not of its protocol ({kind:.60}): {words}")


def _reason(body: bytes) -> str:
    """Return why a server refuses: what it says as ``error`` or ``detail``, else how its body begins."""
    try:
        plain = read_json(body)
    except ProtocolError:
        return body[:200].decode("utf-8", "replace").strip() or "it does not say why"
    said = plain.get("error") or plain.get("detail") or plain
    return str(said)[:500]


def _resolution(parameters: Any) -> float:
    """Return the step between two outputs; ours has checked its answers already where it says none."""
    if not isinstance(parameters, dict) or parameters.get(OWN) is None:
        return 0.0
    said = parameters[OWN].get("resolution", 1 / 256)
    return float(said) if type(said) in (int, float) and 0 <= said <= 1 else 0.0


def _check_options(token: Any, timeout_s: Any, connect_timeout_s: Any, retries: Any) -> None:
    for name, seconds in (("timeout_s", timeout_s), ("connect_timeout_s", connect_timeout_s)):
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < 1e6:
            raise InputError(f"{name}: expected seconds above 0, got {seconds!r}")
    if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= 10:
        raise InputError(f"retries: expected a number from 0 to 10, got {retries!r}")
    if token is not None and (not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token)):
        raise InputError("token: expected a text of letters, digits and signs without spaces")
