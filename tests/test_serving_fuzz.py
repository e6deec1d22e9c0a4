"""Whatever is sent: no 5xx, always JSON, and the server answers the next request."""

import json
import socket
from contextlib import suppress

import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from schemathesis.checks import CHECKS, load_all_checks

from inferkit.predictor import Column, Predictor, TableSpec, TextSpec
from inferkit.predictor._protocol import DATATYPES
from inferkit.serving import Settings, make_app
from tests.serving_apps import LONG, Sum, ask, running

pytest_plugins = ["schemathesis.pytest.plugin"]  # here alone: each start of pytest takes 2 s longer with it
load_all_checks()
CHECKED = CHECKS.get_by_names(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    ]
)


def models():
    """Return a predictor of each kind of input."""
    columns = [Column("amount", "EUR", 0, 1e6), Column("channel", categories=("card", "phone"))]
    return {
        "sum": Sum().predictor(),
        "table": Predictor(lambda X: X[:, 0].astype(float), signature=TableSpec(columns), name="table"),
        "text": Predictor(lambda X: np.array([len(x) for x in X]), signature=TextSpec(100), name="text"),
    }


app = make_app(models(), Settings(max_body_bytes=20_000, max_queue=10_000))
fuzz = settings(deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module", autouse=True)
def _closing():
    yield
    assert app.close(LONG)


def no_surprise(answer):
    """Hold an answer to what every answer is: success, or a client's fault with a reason, in JSON."""
    if answer.status == 200:
        assert "application/octet-stream" in answer.headers["content-type"] or answer.json
    else:
        assert 400 <= answer.status < 500, answer.body
        assert answer.error


# -- from the OpenAPI document -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def server():
    """Run a server with these models."""
    with running(models(), max_body_bytes=20_000, header_timeout_s=0.1, body_timeout_s=0.1) as app:
        yield app


schema = schemathesis.openapi.from_dict(app.openapi())


@schema.parametrize()
@settings(fuzz, max_examples=40)
def test_what_the_document_says_is_so(case, server):
    response = case.call(base_url=f"http://127.0.0.1:{server.port}")
    checks = list(CHECKED)
    if response.status_code == 504:  # in a server with nothing to do it is for who asked for so little time
        assert "Deadline-Ms" in case.headers or "timeout" in case.body["parameters"]
        checks = [check for check in checks if check.__name__ != "not_a_server_error"]
    case.validate_response(response, checks=checks)


# -- from nothing ------------------------------------------------------------------------------------

PATHS = ["/v2/models/sum/infer", "/v2/models/table/infer", "/v2/models/text/infer", "/predict/sum", "/predict/table"]
HEADERS = st.dictionaries(
    st.sampled_from(["Inference-Header-Content-Length", "Deadline-Ms", "Content-Encoding", "Content-Type"]),
    st.sampled_from(
        ["0", "1", "17", "-1", "1e3", "99999", "gzip", "deflate", "br", "identity", "application/json", "é"]
    ),
    max_size=2,
)


@given(path=st.sampled_from(PATHS), body=st.binary(max_size=300), headers=HEADERS)
@settings(fuzz, max_examples=300)
def test_any_bytes_get_a_reason(path, body, headers):
    no_surprise(ask(app, "POST", path, body, headers))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(path=st.sampled_from(PATHS), body=JSON)
@settings(fuzz, max_examples=300)
def test_any_json_gets_a_reason(path, body):
    no_surprise(ask(app, "POST", path, json.dumps(body).encode()))


NUMBERS = st.integers(-100, 100) | st.floats(-100, 100)
SHAPES = st.lists(st.integers(-1, 3) | st.sampled_from([2**31, 2**63, 2**64, 10**30]), max_size=4)
TENSORS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["input", "amount", "channel", "", "x"]) | JSON,
        "shape": SHAPES | st.just([1, 2]) | st.just([1]) | JSON,
        "datatype": st.sampled_from([*DATATYPES, "BF16", "FP65"]) | JSON,
        "data": st.lists(NUMBERS | st.text(max_size=5), max_size=5) | JSON,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-2, 40) | JSON}) | JSON,
    },
)
PARAMETERS = st.dictionaries(st.sampled_from(["timeout", "binary_data_output", "priority", "x"]), JSON, max_size=2)
REQUESTS = st.fixed_dictionaries(
    {"inputs": st.lists(TENSORS, max_size=3) | JSON},
    optional={
        "id": JSON,
        "outputs": st.lists(st.fixed_dictionaries({"name": JSON}), max_size=2) | JSON,
        "parameters": PARAMETERS | JSON,
    },
)


@given(path=st.sampled_from(PATHS[:3]), request=REQUESTS, tail=st.binary(max_size=40), off=st.integers(-3, 3))
@settings(fuzz, max_examples=400)
def test_a_message_that_looks_right_gets_a_reason(path, request, tail, off):
    """Messages of the protocol with one thing or another wrong, and bytes behind them of a length that may lie."""
    head = json.dumps(request).encode()
    length = {"Inference-Header-Content-Length": str(len(head) + off)} if tail else {}
    answer = ask(app, "POST", path, head + tail, length)
    if answer.status == 504:  # a time limit that it asked for itself
        assert isinstance(request["parameters"]["timeout"], int)
    else:
        no_surprise(answer)


@given(X=arrays(np.float64, st.tuples(st.integers(1, 4), st.just(2)), elements=st.floats(-100, 65)), data=st.data())
@settings(fuzz, max_examples=100)
@example(X=np.array([[-0.0, 5e-324]]), data=None)
def test_a_message_that_is_right_is_answered_whatever_its_form(X, data):
    """The positive control of all this: right messages are not refused."""
    binary_in, binary_out = (True, True) if data is None else (data.draw(st.booleans()), data.draw(st.booleans()))
    one = {"name": "input", "shape": list(X.shape), "datatype": "FP64"}
    tail = X.astype("<f8").tobytes() if binary_in else b""
    one |= {"parameters": {"binary_data_size": len(tail)}} if binary_in else {"data": X.tolist()}
    head = json.dumps({"inputs": [one], "parameters": {"binary_data_output": binary_out}}).encode()
    answer = ask(
        app, "POST", PATHS[0], head + tail, {"Inference-Header-Content-Length": str(len(head))} if binary_in else {}
    )
    assert answer.status == 200
    if binary_out:
        length = int(answer.headers["inference-header-content-length"])
        found = np.frombuffer(answer.body[length:], "<f8")
    else:
        found = answer.json["outputs"][0]["data"]
    np.testing.assert_array_equal(found, X.sum(axis=1))


# -- below HTTP --------------------------------------------------------------------------------------


def talk(port, sent):
    """Send bytes, and return all that comes back until the server closes."""
    parts = []
    with socket.create_connection(("127.0.0.1", port), timeout=LONG) as connection, suppress(ConnectionError):
        connection.sendall(sent)
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)  # it may reset a connection of which it did not read all


LINES = st.sampled_from(
    [b"POST /predict/sum HTTP/1.1", b"GET /v2 HTTP/1.1", b"GET * HTTP/1.1", b"GET /\xff HTTP/1.1",
     b"CONNECT x HTTP/1.1",
     b"GET http://[ HTTP/1.1", b"POST /predict/sum HTTP/1.0", b"GET /v2 HTTP/9.9", b"PRI * HTTP/2.0", b""]
)  # fmt: skip
FIELDS = st.sampled_from(
    [b"Host: x", b"Content-Length: 7", b"Content-Length: 99", b"Content-Length: -1", b"Content-Length: 7, 8",
     b"Transfer-Encoding: chunked", b"Transfer-Encoding: x", b"Connection: close", b"Expect: 100-continue",
     b"Upgrade: websocket", b"Connection: upgrade", b"X: \x00", b": x", b"no colon", b" folded", b"X" * 5000 + b": 1"]
)  # fmt: skip
BODIES = st.sampled_from(
    [b"", b"[[1,2]]", b"7\r\n[[1,2]]\r\n0\r\n\r\n", b"fffffffffffffffff\r\n", b"0\r\nX: 1\r\n\r\n"]
)


LAST = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@given(st.lists(st.tuples(LINES, st.lists(FIELDS, max_size=4), BODIES), max_size=3), st.binary(max_size=30))
@settings(fuzz, max_examples=60)
def test_no_bytes_at_all_bring_the_server_down(server, requests, garbage):
    """Requests with one thing or another wrong, each after the other on one connection, and something at the end."""
    lines = [b"\r\n".join([line, *fields, b"", body]) for line, fields, body in requests]
    received = talk(server.port, b"".join(lines) + garbage + LAST)
    assert b"HTTP/1.1 5" not in received
    assert b"Traceback" not in received
    for answer in received.split(b"HTTP/1.1 4")[1:]:
        assert b"content-type: application/json" in answer
        assert b'{"error": "' in answer
    assert talk(server.port, LAST).endswith(b'{"live": true}')
