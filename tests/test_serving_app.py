"""The app: the Open Inference Protocol by its own client, plain JSON, batching, deadlines, shedding, drain, counts."""

import asyncio
import gzip
import json
import logging
import re
import shlex
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib

import numpy as np
import pytest
import tritonclient.http as triton
from prometheus_client.parser import text_string_to_metric_families
from tritonclient.utils import InferenceServerException

from inferkit import InputError
from inferkit.predictor import ArraySpec, Column, Predictor, TableSpec, TextSpec, digit_reader
from inferkit.serving import Settings, make_app
from inferkit.serving._model import PATIENCE_S
from tests.serving_apps import LONG, Sum, app_of, ask, call, running, two_outputs, wait_until

INFER = "/v2/models/sum/infer"


def tensors(*rows, **more):
    """Return a request of the protocol for the model `Sum`."""
    return {"inputs": [{"name": "input", "shape": [len(rows), 2], "datatype": "FP64", "data": list(rows)}], **more}


def table():
    """Return a predictor of a table with a column of numbers and one of words."""
    spec = TableSpec([Column("age", "years", 0, 120), Column("plan", categories=("basic", "größer"))])

    def model(X):
        return np.column_stack([X[:, 0].astype(float), X[:, 1] == "größer"]).sum(axis=1)

    return Predictor(model, signature=spec, name="table")


def shout():
    """Return a predictor from texts to texts."""
    return Predictor(lambda X: np.array([text.upper() for text in X]), signature=TextSpec(), name="shout")


@pytest.fixture(scope="module")
def server():
    """Run a server with models of all kinds."""
    models = {"digits": digit_reader(), "two": two_outputs(), "table": table(), "shout": shout()}
    with running({**models, "sum": Sum().predictor()}) as app:
        yield app


@pytest.fixture
def client(server):
    """Return the field's own client."""
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        yield client


# -- the protocol, by tritonclient -------------------------------------------------------------------


def tensor(name, array, datatype, *, binary):
    made = triton.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def test_its_client_finds_the_server_and_its_models(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits")
    assert client.is_model_ready("digits", "1")
    assert not client.is_model_ready("digits", "2")
    assert not client.is_model_ready("letters")
    about = client.get_server_metadata()
    assert about["name"] == "inferkit"
    assert about["extensions"] == ["binary_tensor_data"]
    assert about["models"] == ["digits", "two", "table", "shout", "sum"]
    digits = client.get_model_metadata("digits", "1")
    assert digits["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 8, 8]}]
    assert [(o["datatype"], o["shape"]) for o in digits["outputs"]] == [("FP32", [-1, 10])]
    assert client.get_model_metadata("table")["inputs"] == [
        {"name": "age", "datatype": "FP64", "shape": [-1]},
        {"name": "plan", "datatype": "BYTES", "shape": [-1]},
    ]


@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary_out", [None, False, True])
@pytest.mark.parametrize("binary_in", [False, True])
def test_its_client_gets_the_same_numbers_in_every_form(client, binary_in, binary_out, packed):
    X = np.random.default_rng().uniform(0, 16, (7, 8, 8)).astype(np.float32)
    reader = digit_reader()
    (name,) = (spec.name for spec in reader.signature.outputs)
    wanted = None if binary_out is None else [triton.InferRequestedOutput(name, binary_data=binary_out)]
    result = client.infer(
        "digits", [tensor("input", X, "FP32", binary=binary_in)], outputs=wanted, request_id="mine",
        request_compression_algorithm=packed,
    )  # fmt: skip
    np.testing.assert_array_equal(result.as_numpy(name), reader.predict_outputs(X)[name])
    response = result.get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == ("mine", "digits", "1")


@pytest.mark.parametrize("binary", [False, True])
def test_its_client_gets_several_outputs_or_those_it_asks_for(client, binary):
    inputs = [tensor("input", np.array([[0.25, 1], [1, 2]]), "FP64", binary=binary)]
    both = client.infer("two", inputs)
    np.testing.assert_array_equal(both.as_numpy("kind"), [[0.75, 0.25], [0, 1]])
    np.testing.assert_array_equal(both.as_numpy("size"), [1.25, 3])
    one = client.infer("two", inputs, outputs=[triton.InferRequestedOutput("size", binary_data=binary)])
    np.testing.assert_array_equal(one.as_numpy("size"), [1.25, 3])
    assert one.as_numpy("kind") is None


@pytest.mark.parametrize("binary", [False, True])
def test_its_client_sends_and_gets_texts(client, binary):
    words = np.array(["ein Maß".encode(), b"", "雨".encode()], dtype=object)
    result = client.infer("shout", [tensor("input", words, "BYTES", binary=binary)])
    assert [text.decode() for text in result.as_numpy("output")] == ["EIN MASS", "", "雨"]
    result = client.infer(
        "shout", [tensor("input", words, "BYTES", binary=binary)],
        outputs=[triton.InferRequestedOutput("output", binary_data=False)],
    )  # fmt: skip
    assert result.as_numpy("output").tolist() == ["EIN MASS", "", "雨"]


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_its_client_sends_a_table_column_by_column(client, shape):
    age = np.array([30.0, 40.0]).reshape(shape)
    plan = np.array(["größer".encode(), b"basic"], dtype=object).reshape(shape)
    inputs = [tensor("plan", plan, "BYTES", binary=True), tensor("age", age, "FP64", binary=False)]
    np.testing.assert_array_equal(client.infer("table", inputs).as_numpy("output"), [31, 40])


def test_its_client_shows_the_reason_of_a_refusal(client):
    two_axes = [tensor("input", np.zeros((1, 64), np.float32), "FP32", binary=True)]
    with pytest.raises(
        InferenceServerException, match=re.escape("[400] expected rows of shape (n, 8, 8), got (1, 64)")
    ):
        client.infer("digits", two_axes)
    with pytest.raises(InferenceServerException, match=r"\[404\] expected one of the models"):
        client.infer("letters", two_axes)
    with pytest.raises(InferenceServerException, match=r"\[404\] digits: expected version '1', got '7'"):
        client.infer("digits", two_axes, model_version="7")
    wanted = [triton.InferRequestedOutput("colour")]
    with pytest.raises(InferenceServerException, match=r"outputs: expected some of \['output'\], got 'colour'"):
        client.infer("sum", [tensor("input", np.zeros((1, 2)), "FP64", binary=True)], outputs=wanted)


def test_its_client_may_set_a_time_limit(client):
    rows = [tensor("input", np.zeros((1, 2)), "FP64", binary=True)]
    assert client.infer("sum", rows, timeout=10_000_000).as_numpy("output").tolist() == [0]
    assert client.infer("sum", rows, timeout=0).as_numpy("output").tolist() == [0]  # none, as in Triton


# -- plain JSON --------------------------------------------------------------------------------------


def test_rows_in_answers_out(server):
    X = np.round(np.random.default_rng().uniform(0, 16, (3, 8, 8)))
    reader = digit_reader()
    for body in ({"rows": X.tolist()}, X.tolist()):
        answer = ask(server, "POST", "/predict/digits", body)
        assert answer.status == 200
        assert answer.json["answers"] == reader.predict(X).tolist()
        assert answer.json["labels"] == list(range(10))
        np.testing.assert_allclose(answer.json["probabilities"], reader.predict_proba(X), atol=1e-7)


def test_rows_of_a_table_of_texts_and_several_outputs(server):
    rows = [{"age": 30, "plan": "größer"}, {"plan": "basic", "age": 40}]
    assert ask(server, "POST", "/predict/table", rows).json == {"model": "table", "answers": [31.0, 40.0]}
    assert ask(server, "POST", "/predict/table", [[30, "größer"]]).json["answers"] == [31.0]
    assert ask(server, "POST", "/predict/shout", ["so true"]).json["answers"] == ["SO TRUE"]
    assert ask(server, "POST", "/predict/two", {"rows": [[0.25, 1]]}).json == {
        "model": "two",
        "answers": {"kind": ["low"], "size": [1.25]},
        "probabilities": {"kind": [[0.75, 0.25]]},
        "labels": {"kind": ["low", "high"]},
    }


def test_one_model_needs_no_name_and_several_do(server):
    with app_of(Sum().predictor("my-sum")) as app:
        assert ask(app, "POST", "/predict", [[1, 2]]).json == {"model": "my-sum", "answers": [3.0]}
        assert ask(app, "POST", "/predict/my-sum", [[1, 2]]).status == 200
    answer = ask(server, "POST", "/predict", [[1, 2]])
    assert answer.status == 404
    assert "'digits'" in answer.error


def test_it_works_below_another_path(server):
    answer = ask(server, "POST", INFER, tensors([1, 2]), root_path="/below/here")
    assert answer.json["outputs"][0]["data"] == [3]
    assert ask(server, "GET", "/v2", root_path="/below/here").status == 200


# -- what is refused ---------------------------------------------------------------------------------

BAD_TENSORS = {
    "no JSON": (b"{", "expected JSON"),
    "no UTF-8": (b'{"inputs": "\xff"}', "UTF-8"),
    "no object": (b"[1]", "object"),
    "nothing": (b"", "JSON"),
    "no inputs": ({}, "inputs"),
    "another name": ({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}]}, "'x'"),
    "another datatype": ({"inputs": [{"name": "input", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}, "FP64"),
    "an unknown datatype": ({"inputs": [{"name": "input", "shape": [1], "datatype": "BF16", "data": [1]}]}, "BF16"),
    "another shape": ({"inputs": [{"name": "input", "shape": [2], "datatype": "FP64", "data": [1, 2]}]}, "(n, 2)"),
    "a negative shape": ({"inputs": [{"name": "input", "shape": [-1, 2], "datatype": "FP64", "data": [1]}]}, "shape"),
    "a huge shape": (
        {"inputs": [{"name": "input", "shape": [2**40, 2**40], "datatype": "FP64", "data": [1]}]},
        "elements",
    ),
    "no rows": ({"inputs": [{"name": "input", "shape": [0, 2], "datatype": "FP64", "data": []}]}, "one row"),
    "less than was said": (tensors([1, 2], [3]), "nested"),
    "out of range": (tensors([1, 999]), "from -100 to 100"),
    "a text for a number": (tensors([1, "2"]), "numbers"),
    "true for a number": (tensors([1, True]), "numbers"),
    "null for a number": (tensors([1, None]), "numbers"),
    "NaN": (b'{"inputs":[{"name":"input","shape":[1,2],"datatype":"FP64","data":[1,NaN]}]}', "NaN"),
    "infinity": (b'{"inputs":[{"name":"input","shape":[1,2],"datatype":"FP64","data":[1,1e999]}]}', "inf"),
    "a huge integer": (
        b'{"inputs":[{"name":"input","shape":[1,2],"datatype":"FP64","data":[1,' + b"9" * 5000 + b"]}]}",
        "digits",
    ),
    "a large integer": (
        b'{"inputs":[{"name":"input","shape":[1,2],"datatype":"FP64","data":[1,' + b"9" * 400 + b"]}]}",
        "values from",
    ),
    "deep nesting": (b'{"inputs":' + b"[" * 100_000, "brackets"),
    "a name twice": (b'{"inputs": [], "inputs": []}', "twice"),
    "an output that is none": (tensors([1, 2], outputs=[{"name": "colour"}]), "colour"),
    "a time limit that is none": (tensors([1, 2], parameters={"timeout": -1}), "timeout"),
    "a time limit of text": (tensors([1, 2], parameters={"timeout": "1"}), "timeout"),
}


@pytest.mark.parametrize("case", BAD_TENSORS)
def test_a_request_of_the_protocol_that_is_none_gets_a_reason(server, case):
    body, words = BAD_TENSORS[case]
    before = server.stats()["models"]["sum"]["invalid"]
    answer = ask(server, "POST", INFER, body)
    assert answer.status == 400
    assert words in answer.error
    wait_until(lambda: server.stats()["models"]["sum"]["invalid"] == before + 1)


@pytest.mark.parametrize(
    ("head", "tail", "length", "words"),
    [
        ({"binary_data_size": 16}, b"\0" * 15, None, "15 bytes left"),
        ({"binary_data_size": 16}, b"\0" * 17, None, "1 bytes more"),
        ({"binary_data_size": 8}, b"\0" * 8, None, "expected 16 bytes"),
        ({"binary_data_size": -1}, b"\0" * 16, None, "binary_data_size"),
        ({"binary_data_size": 16}, b"\0" * 16, "99999", "99999 bytes of JSON"),
        ({"binary_data_size": 16}, b"\0" * 16, "-5", "number of bytes"),
        ({"binary_data_size": 16}, b"\0" * 16, "٣", "number of bytes"),
        ({"binary_data_size": 16}, b"\0\0\0\0\0\0\xf8\x7f" * 2, None, "got nan"),
    ],
)
def test_binary_tensors_that_lie_get_a_reason(server, head, tail, length, words):
    one = {"name": "input", "shape": [1, 2], "datatype": "FP64", "parameters": head}
    text = json.dumps({"inputs": [one]}).encode()
    length = length.encode().decode("latin-1") if length else str(len(text))
    answer = ask(server, "POST", INFER, text + tail, {"Inference-Header-Content-Length": length})
    assert answer.status == 400
    assert words in answer.error


def test_texts_of_lying_lengths_get_a_reason(server):
    one = {"name": "input", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 12}}
    text = json.dumps({"inputs": [one]}).encode()
    tail = b"\xff\xff\xff\x7fabcd\0\0\0\0"
    answer = ask(
        server, "POST", "/v2/models/shout/infer", text + tail, {"Inference-Header-Content-Length": str(len(text))}
    )
    assert answer.status == 400
    assert "expected 2 texts" in answer.error


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/predict/sum", {}, '{"rows": [...]}'),
        ("/predict/sum", {"rows": [[1, 2]], "colour": 1}, "colour"),
        ("/predict/sum", {"rows": 5}, "int"),
        ("/predict/sum", 5, "object"),
        ("/predict/sum", [], "got (0,)"),
        ("/predict/sum", [[1, True]], "got true or false"),
        ("/predict/sum", [[1, "2"]], "expected float64"),
        ("/predict/sum", [[1, None]], "expected float64"),
        ("/predict/sum", [[1], [1, 2]], "unequal length"),
        ("/predict/sum", [[1, 2, 3]], "(n, 2)"),
        ("/predict/sum", b"[[1, NaN]]", "NaN"),
        ("/predict/sum", b"[[1, 1e999]]", "inf"),
        ("/predict/sum", b"[[1, " + b"9" * 5000 + b"]]", "digits"),
        ("/predict/sum", b"[[1, " + b"9" * 400 + b"]]", "expected float64"),
        ("/predict/sum", b"[" * 1000, "brackets"),
        ("/predict/sum", [{"a": 1}], "expected"),
        ("/predict/table", [{"age": 30}], "missing: ['plan']"),
        ("/predict/table", [{"age": 30, "plan": "basic", "x": 1}], "unknown: ['x']"),
        ("/predict/table", [{"age": 130, "plan": "basic"}], "from 0 to 120 years"),
        ("/predict/table", [{"age": 30, "plan": "none"}], "'none'"),
        ("/predict/table", [{"age": 30, "plan": ["basic"]}], "plan"),
        ("/predict/table", [{"age": [30], "plan": "basic"}], "age"),
        ("/predict/table", [5], "row 0"),
        ("/predict/table", b'[{"age": ' + b"9" * 400 + b', "plan": "basic"}]', "numbers"),
        ("/predict/shout", [5], "text"),
        ("/predict/shout", ["x" * 10_001], "10,000 characters"),
    ],
)
def test_rows_that_are_none_get_a_reason(server, path, body, words):
    answer = ask(server, "POST", path, body)
    assert answer.status == 400
    assert words in answer.error


@pytest.mark.parametrize("value", ["soon", "-1", "nan", "1e9", ""])
def test_a_deadline_that_is_none_gets_a_reason(server, value):
    answer = ask(server, "POST", "/predict/sum", [[1, 2]], {"Deadline-Ms": value})
    assert answer.status == 400
    assert "Deadline-Ms: expected milliseconds" in answer.error


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404), ("POST", "/v2", 405), ("GET", INFER, 405), ("PUT", "/predict/sum", 405),
        ("GET", "/v2/models/letters", 404), ("POST", "/predict/letters", 404), ("POST", "/v2/models/sum/infer/", 404),
        ("GET", "/v2/models/sum/versions/2", 404), ("DELETE", "/v2/models/sum", 405), ("OPTIONS", "/docs", 405),
    ],
)  # fmt: skip
def test_paths_and_methods_that_are_none_get_a_reason(server, method, path, status):
    answer = ask(server, method, path)
    assert answer.status == status
    assert "expected" in answer.error
    assert ("allow" in answer.headers) == (status == 405)


# -- bodies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_packed_bodies_are_taken_and_bombs_are_not(pack):
    encoding = {"content-encoding": "gzip" if pack is gzip.compress else "deflate"}
    body = json.dumps([[1, 2]]).encode()
    with app_of(Sum().predictor(), max_body_bytes=100_000) as app:
        assert ask(app, "POST", "/predict", pack(body), encoding).json["answers"] == [3]
        packed = pack(b" " * 50_000_000)
        tracemalloc.start()
        bomb = ask(app, "POST", "/predict", packed, encoding)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 5_000_000, "it must not be unpacked before it is refused"
        assert (bomb.status, "when unpacked" in bomb.error) == (413, True)
        for broken in (body, pack(body)[:-1], pack(body) + b"x"):
            answer = ask(app, "POST", "/predict", broken, encoding)
            assert answer.status == 400
            assert encoding["content-encoding"] in answer.error
        answer = ask(app, "POST", "/predict", body, {"content-encoding": "br"})
        assert (answer.status, answer.headers["accept-encoding"]) == (415, "gzip, deflate")
        assert "got 'br'" in answer.error


def test_a_body_that_announces_too_much_is_refused_before_it_is_read():
    with app_of(Sum().predictor(), max_body_bytes=100) as app:
        for announced in ("101", "9" * 30):
            unread = ask(app, "POST", "/predict", parts=[], headers={"content-length": announced})
            assert unread.status == 413  # nothing was sent: had it waited for the body, the client would have been gone
            assert f"expected at most 100 bytes, got '{announced}'" in unread.error


def test_a_body_that_grows_too_large_is_refused_and_gives_its_room_back():
    with app_of(Sum().predictor(), max_body_bytes=100) as app:
        answer = ask(app, "POST", "/predict", parts=[b" " * 60, b" " * 60, b"never read"])
        assert answer.status == 413
        assert ask(app, "POST", "/predict", parts=[b" " * 60, b"[[1,", b"2]]"]).json["answers"] == [3]
        assert app._endpoints["/predict"]._room.used == 0


def test_many_large_bodies_at_once_don_t_fill_the_memory():
    with app_of(Sum().predictor(), max_body_bytes=1000) as app:

        async def flood():
            room = app._endpoints["/predict"]._room
            room.used = room.limit - 500  # as if others held the rest
            refused = await call(app, "POST", "/predict", b" " * 900)
            small = await call(app, "POST", "/predict", [[1, 2]])
            room.used = 0
            return refused, small

        refused, small = asyncio.run(flood())
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert small.status == 200


def test_large_requests_are_answered_whole_and_no_batch_is_larger_than_was_said():
    rows = np.random.default_rng().uniform(-100, 60, (30_000, 2)).round(3)
    with app_of(Sum().predictor(), max_queue=10) as app:
        answer = ask(app, "POST", "/predict", rows.tolist())
        np.testing.assert_allclose(answer.json["answers"], rows.sum(axis=1))
        assert max(app.stats()["recent_batch_sizes"]) == 64


def test_what_takes_long_to_read_is_read_beside_the_loop():
    with app_of(Sum().predictor()) as app:
        endpoint, threads = app._endpoints["/predict"], []
        read = endpoint._read

        def watched(*given):
            threads.append(threading.current_thread())
            return read(*given)

        endpoint._read = watched
        small, large = json.dumps([[1, 2]]).encode(), json.dumps([[1, 2]] * 20_000).encode()
        for body, headers in [(small, {}), (large, {}), (gzip.compress(large), {"content-encoding": "gzip"})]:
            assert ask(app, "POST", "/predict", body, headers).status == 200
        assert [thread is threading.current_thread() for thread in threads] == [True, False, False]


# -- batches, queues, deadlines ----------------------------------------------------------------------


async def behind_the_gate(app, model, *bodies, **options):
    """Send a first request that waits in the model, and others that queue up behind it; return their tasks."""
    model.close_gate()
    first = asyncio.create_task(call(app, "POST", "/predict", [[1, 1]]))
    while not model.started.is_set():
        await asyncio.sleep(0.001)
    queued = len(app.models["sum"].batcher)
    rest = [asyncio.create_task(call(app, "POST", "/predict", body, **options)) for body in bodies]
    while len(app.models["sum"].batcher) < queued + len(bodies):
        await asyncio.sleep(0.001)
    return first, rest


def test_what_queues_up_shares_a_call_and_each_gets_its_own_answer():
    model = Sum()
    with app_of(model.predictor(), max_batch_size=10) as app:

        async def main():
            first, rest = await behind_the_gate(app, model, *([[i, 0], [i, 1]] for i in range(4)))
            model.gate.set()
            return await first, await asyncio.gather(*rest)

        first, rest = asyncio.run(main())
        assert first.json["answers"] == [2]
        assert [answer.json["answers"] for answer in rest] == [[i, i + 1] for i in range(4)]
        assert model.sizes == [1, 8]
        assert app.stats()["recent_batch_sizes"] == [1, 8]


def test_rows_that_break_the_model_harm_no_other_in_their_batch(caplog):
    model = Sum()
    with app_of(model.predictor()) as app:

        async def main():
            first, rest = await behind_the_gate(
                app, model, [[1, 2]], [[Sum.FAIL, 0]], [[3, 4]], [[Sum.NAN, 0]], [[5, 6]], [[7, 8]]
            )
            bad = await call(app, "POST", "/predict", [[5, 999]])  # refused at the door: it is in no batch
            model.gate.set()
            return await first, bad, await asyncio.gather(*rest)

        with caplog.at_level(logging.CRITICAL, "inferkit.serving"):
            first, bad, rest = asyncio.run(main())
        assert (first.status, bad.status) == (200, 400)
        assert [answer.status for answer in rest] == [200, 500, 200, 500, 200, 200]
        assert [answer.json["answers"] for answer in rest if answer.status == 200] == [[3], [7], [11], [15]]
        assert 999 not in model.rows
        assert (app.stats()["answered"], app.stats()["failed"], app.stats()["invalid"]) == (5, 2, 1)


def test_a_model_that_raises_tells_the_caller_its_kind_and_the_log_all(caplog):
    with app_of(Sum().predictor()) as app:
        answer = ask(app, "POST", "/predict", [[Sum.FAIL, 0]])
        assert answer.status == 500
        assert answer.error == "sum raised RuntimeError; the server's log says more"
        assert "secret /srv/model.py" in caplog.text
        assert ask(app, "POST", "/predict", [[1, 0]]).status == 200


@pytest.mark.parametrize("path", ["/predict", INFER])
@pytest.mark.parametrize("binary", [False, True])
def test_a_model_that_gives_nan_is_an_error_in_valid_json(path, binary):
    body = [[1, 2], [Sum.NAN, 0]] if path == "/predict" else tensors([1, 2], [Sum.NAN, 0])
    if binary and path == INFER:
        body["parameters"] = {"binary_data_output": True}
    with app_of(Sum().predictor()) as app:
        answer = ask(app, "POST", path, body)
        assert answer.status == 500
        assert answer.error == "sum: expected finite 'output', the model gave nan in row 1"


def test_probabilities_that_are_none_are_the_model_s_fault():
    liar = Predictor(
        lambda X: np.column_stack([X[:, 0], X[:, 0]]), signature=ArraySpec((2,)), labels=["no", "yes"], name="liar"
    )
    with app_of(liar) as app:
        assert ask(app, "POST", "/predict", [[0.5, 0]]).status == 200
        answer = ask(app, "POST", "/predict", [[0.9, 0]])
        assert answer.status == 500
        assert "expected probabilities" in answer.error


def test_rows_that_a_step_refuses_are_the_caller_s_fault():
    def picky(X):
        if (X > 9).any():
            raise InputError("expected at most 9")
        return X

    with app_of(Predictor(lambda X: X[:, 0], preprocess=picky, signature=ArraySpec((2,)), name="picky")) as app:
        answer = ask(app, "POST", "/predict", [[10, 0]])
        assert (answer.status, answer.error) == (400, "expected at most 9")


def test_a_full_queue_refuses_at_once_and_recovers():
    model = Sum()
    with app_of(model.predictor(), max_queue=3, max_batch_size=1) as app:

        async def main():
            first, rest = await behind_the_gate(app, model, [[2, 0]], [[3, 0]], [[4, 0]])
            refused = [
                await call(app, "POST", path, body) for path, body in [("/predict", [[5, 0]]), (INFER, tensors([6, 0]))]
            ]
            unread = await call(app, "POST", "/predict", parts=[])  # refused before its body was read
            model.gate.set()
            return (
                refused,
                unread,
                [await first, *await asyncio.gather(*rest)],
                await call(app, "POST", "/predict", [[7, 0]]),
            )

        refused, unread, answered, later = asyncio.run(main())
        for answer in [*refused, unread]:
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert "sum has more to do than it can: 3 requests wait; try again later" in answer.error
        assert [a.status for a in [*answered, later]] == [200] * 5
        assert not {5, 6} & set(model.rows)
        assert app.stats()["refused"] == 3


def test_rows_count_in_the_queue_and_not_requests():
    model = Sum()
    with app_of(model.predictor(), max_queue=3) as app:

        async def main():
            first, rest = await behind_the_gate(app, model, [[2, 0], [3, 0]])
            refused = await call(app, "POST", "/predict", [[4, 0], [5, 0]])
            model.gate.set()
            await asyncio.gather(first, *rest)
            return refused

        refused = asyncio.run(main())
        assert refused.status == 503
        assert "expected room for 2 more, 2 of 3 rows wait" in refused.error


@pytest.mark.parametrize("way", ["settings", "header", "parameter"])
def test_work_whose_deadline_passed_never_runs(way):
    model = Sum()
    settings = {"deadline_ms": 30.0} if way == "settings" else {}
    headers = {"Deadline-Ms": "30.5"} if way == "header" else {}
    more = {"parameters": {"timeout": 30_000}} if way == "parameter" else {}
    with app_of(model.predictor(), max_batch_size=1, **settings) as app:
        model.close_gate()

        async def run():
            first = asyncio.create_task(call(app, "POST", "/predict", [[1, 1]], {"Deadline-Ms": "29000"}))
            while not model.started.is_set():
                await asyncio.sleep(0.001)
            late = await call(app, "POST", INFER, tensors([2, 2], **more), headers)
            model.gate.set()
            return await first, late

        first, late = asyncio.run(run())
        assert late.status == 504
        assert "the deadline passed before the model was free" in late.error
        assert first.status == (504 if way == "settings" else 200)
        wait_until(lambda: not app.models["sum"].batcher.queued_rows)
        assert model.rows == [1]
        assert app.stats()["expired"] == (2 if way == "settings" else 1)


def test_a_deadline_cuts_off_a_model_at_work_too():
    model = Sum()
    with app_of(model.predictor(), deadline_ms=20) as app:
        model.close_gate()
        answer = ask(app, "POST", "/predict", [[1, 1]])
        model.gate.set()
        assert answer.status == 504
        assert "while the model was at work" in answer.error


def test_a_deadline_of_nothing_never_runs_and_a_longer_one_than_the_server_s_is_cut():
    model = Sum()
    with app_of(model.predictor(), deadline_ms=50) as app:
        assert app.models["sum"].deadline(10.0, 100.0) == pytest.approx(10.05)
        assert app.models["sum"].deadline(10.0, 20.0) == pytest.approx(10.02)
        model.rows.clear()
        assert ask(app, "POST", "/predict", [[1, 1]], {"Deadline-Ms": "0"}).status == 504
        assert model.rows == []
    with app_of(model.predictor(), deadline_ms=None) as app:
        assert app.models["sum"].deadline(10.0, None) is None
        assert ask(app, "POST", "/predict", [[1, 1]]).status == 200


def test_the_work_of_a_client_that_leaves_is_dropped():
    model = Sum()
    with app_of(model.predictor(), max_batch_size=1, max_queue=2) as app:

        async def main():
            gone = asyncio.Event()
            first, (leaving,) = await behind_the_gate(app, model, [[2, 2], [3, 3]], gone=gone)
            gone.set()
            left = await leaving
            room = app.models["sum"].batcher.queued_rows
            after = asyncio.create_task(call(app, "POST", "/predict", [[4, 4]]))
            await asyncio.sleep(0.01)
            model.gate.set()
            return left, room, await first, await after

        left, room, first, after = asyncio.run(main())
        assert (left, room) == (None, 0)
        assert [first.status, after.status] == [200, 200]
        assert model.rows == [1, 4]
        assert app.stats()["left"] == 1
        assert app.stats()["in_flight"] == 0


def test_a_client_that_leaves_in_mid_body_asks_nothing():
    with app_of(Sum().predictor()) as app:

        async def main():
            messages = [{"type": "http.request", "body": b"[[1,", "more_body": True}, {"type": "http.disconnect"}]

            async def receive():
                return messages.pop(0)

            async def send(message):
                raise AssertionError("nobody is there to be answered")

            scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [], "root_path": ""}
            await app(scope, receive, send)

        asyncio.run(main())
        assert app.stats()["left"] == 1


def test_a_request_that_is_cancelled_leaves_the_queue():
    model = Sum()
    with app_of(model.predictor(), max_batch_size=1) as app:

        async def main():
            first, (cancelled,) = await behind_the_gate(app, model, [[2, 2]])
            cancelled.cancel()
            await asyncio.gather(cancelled, return_exceptions=True)
            model.gate.set()
            await first
            await call(app, "POST", "/predict", [[3, 3]])

        asyncio.run(main())
        assert model.rows == [1, 3]


# -- its life ----------------------------------------------------------------------------------------


def test_drain_finishes_what_was_accepted_and_refuses_the_rest():
    model = Sum()
    with app_of(model.predictor(), max_batch_size=1) as app:

        async def main():
            first, rest = await behind_the_gate(app, model, [[2, 2]], [[3, 3]])
            assert not await app.state.drain(timeout_s=0.02)
            refused = await call(app, "POST", "/predict", [[4, 4]])
            ready = [await call(app, "GET", path) for path in ("/v2/health/ready", "/v2/models/sum/ready")]
            live = await call(app, "GET", "/v2/health/live")
            model.gate.set()
            drained = await app.state.drain(timeout_s=LONG)
            return [await first, *await asyncio.gather(*rest)], refused, ready, live, drained

        accepted, refused, ready, live, drained = asyncio.run(main())
        assert [answer.status for answer in accepted] == [200, 200, 200]
        assert (refused.status, refused.headers["retry-after"], refused.headers["connection"]) == (503, "1", "close")
        assert "shutting down" in refused.error
        assert [answer.status for answer in ready] == [503, 503]
        assert ready[0].json == {"ready": False}
        assert live.status == 200
        assert drained
        assert model.rows == [1, 2, 3]
        assert app.stats()["refused"] == 1


def test_its_lifespan_ends_with_a_drain_and_without_threads():
    model = Sum()
    app = make_app(model.predictor(), Settings(max_batch_size=1))

    async def main():
        events, told = asyncio.Queue(), []

        async def send(message):
            told.append(message["type"])

        life = asyncio.create_task(app({"type": "lifespan", "state": {}}, events.get, send))
        await events.put({"type": "lifespan.startup"})
        first, (second,) = await behind_the_gate(app, model, [[2, 2]])
        await events.put({"type": "lifespan.shutdown"})
        await asyncio.sleep(0.02)
        assert told == ["lifespan.startup.complete"], "it must wait for what was accepted"
        model.gate.set()
        await life
        return told, await first, await second

    told, first, second = asyncio.run(main())
    assert told[-1] == "lifespan.shutdown.complete"
    assert (first.status, second.status) == (200, 200)
    assert not app.models["sum"].batcher._threads


def test_who_waits_for_a_fuller_batch_is_let_through_when_the_server_goes():
    with app_of(Sum().predictor(), max_wait_ms=LONG * 1000, deadline_ms=None) as app:

        async def main():
            waiting = asyncio.create_task(call(app, "POST", "/predict", [[1, 2]]))
            while not len(app.models["sum"].batcher):
                await asyncio.sleep(0.001)
            assert await app.drain(timeout_s=LONG / 2)
            return await waiting

        assert asyncio.run(main()).json["answers"] == [3]


def test_a_closed_app_refuses_in_words():
    with app_of(Sum().predictor()) as app:
        app.state.close()
        app.is_draining = False  # as if the request had come in just before
        answer = ask(app, "POST", "/predict", [[1, 1]])
        assert (answer.status, answer.error) == (503, "the server is shutting down")


def test_settings_change_while_it_runs():
    model = Sum()
    with app_of(model.predictor(), max_batch_size=1) as app:
        changed = app.state.configure(max_batch_size=8, max_wait_ms=1.5, workers=2, max_queue=5, deadline_ms=None)
        assert (changed.max_batch_size, changed.workers, changed.deadline_ms) == (8, 2, None)

        async def main():
            app.state.configure(workers=1)
            first, rest = await behind_the_gate(app, model, [[2, 2]], [[3, 3]])
            model.gate.set()
            return await asyncio.gather(first, *rest)

        assert [answer.status for answer in asyncio.run(main())] == [200] * 3
        assert model.sizes == [1, 2]
        for wrong in ({"token": "x"}, {"max_batch_size": 0}, {"colour": 1}):
            with pytest.raises(InputError):
                app.state.configure(**wrong)
        assert app.settings.max_batch_size == 8


def test_a_model_is_asked_for_an_example_first_and_may_dislike_it():
    model = Sum()
    with app_of(model.predictor()) as app:
        assert model.rows == [-100]
        assert app.stats()["answered"] == 0

    def picky(X):
        if (X == 0).all():
            raise RuntimeError("no")
        return X[:, 0]

    with app_of(Predictor(picky, signature=ArraySpec((2,)), name="picky")) as app:
        assert ask(app, "GET", "/v2/models/picky").json["outputs"] == [
            {"name": "output", "datatype": "FP64", "shape": [-1]}
        ]
        assert ask(app, "POST", "/predict", [[1, 1]]).status == 200


@pytest.mark.parametrize(
    ("models", "words"),
    [
        ({}, "one predictor at least"), ({"a b": Sum().predictor()}, "'a b'"), ({"": Sum().predictor()}, "letters"),
        ({"a/b": Sum().predictor()}, "'a/b'"), ({"a": len}, "expected a Predictor"), ({1: Sum().predictor()}, "got 1"),
    ],
)  # fmt: skip
def test_models_that_cannot_be_served_get_a_reason(models, words):
    with pytest.raises(InputError, match=re.escape(words)):
        make_app(models)


# -- who may ask -------------------------------------------------------------------------------------


def test_a_token_guards_all_but_the_health():
    with app_of(Sum().predictor(), token="s3cret") as app:
        paths = [("GET", "/v2"), ("GET", "/docs"), ("GET", "/openapi.json"), ("GET", "/metrics"), ("GET", "/nowhere"),
                 ("GET", "/v2/models/sum"), ("POST", "/predict"), ("POST", INFER)]  # fmt: skip
        wrong = [{}, {"authorization": "Bearer s3cre"}, {"authorization": "Bearer s3cret1"},
                 {"authorization": "Basic s3cret"}, {"authorization": "s3cret"},
                 {"authorization": "Bearer s3crét"}]  # fmt: skip
        for method, path in paths:
            for headers in wrong:
                answer = ask(app, method, path, [[1, 1]], headers)
                assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
                assert "s3cret" not in answer.error
        right = {"authorization": "bearer  s3cret"}
        assert [ask(app, m, p, [[1, 1]], right).status for m, p in paths] == [200, 200, 200, 200, 404, 200, 200, 400]
        for path in ("/v2/health/live", "/v2/health/ready"):
            assert ask(app, "GET", path).status == 200
        assert app.openapi()["security"] == [{"token": []}]
        assert "s3cret" not in repr(app.settings)


# -- what it tells -----------------------------------------------------------------------------------


def metrics_of(app):
    text = ask(app, "GET", "/metrics")
    assert text.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.body.decode())
        for sample in family.samples
    }


def test_what_prometheus_reads_is_what_happened(caplog):
    model = Sum()
    with app_of(model.predictor()) as app, app_of(Sum().predictor()) as other:

        async def main():
            first, rest = await behind_the_gate(app, model, [[2, 0]], [[3, 0]])
            during = metrics_of_async(await call(app, "GET", "/metrics"))
            model.gate.set()
            await asyncio.gather(first, *rest)
            return during

        def metrics_of_async(answer):
            return {s.name: s.value for f in text_string_to_metric_families(answer.body.decode()) for s in f.samples}

        during = asyncio.run(main())
        assert (during["inferkit_queue_length"], during["inferkit_in_flight"]) == (2, 3)
        ask(app, "POST", "/predict", [[Sum.FAIL, 0]])
        ask(app, "POST", "/predict", [[1, 999]])
        ask(app, "POST", "/predict", [[1, 1]], {"deadline-ms": "0"})
        found, model_is = metrics_of(app), ("model", "sum")
        outcomes = {"answered": 3, "failed": 1, "invalid": 1, "expired": 1, "refused": 0, "left": 0}
        for outcome, n in outcomes.items():
            assert found["inferkit_requests_total", model_is, ("outcome", outcome)] == n
        assert found["inferkit_request_seconds_count", model_is] == 3
        assert found["inferkit_batch_rows_count", model_is] == 2
        assert found["inferkit_batch_rows_sum", model_is] == 3
        assert found["inferkit_queue_length", model_is] == found["inferkit_in_flight", model_is] == 0
        stats = app.state.stats()
        assert {name: stats[name] for name in outcomes} == outcomes
        assert stats["recent_batch_sizes"] == [1, 2]
        assert len(stats["recent_latencies_ms"]) == 3
        assert all(ms > 0 for ms in stats["recent_latencies_ms"])
        assert (stats["queue_length"], stats["in_flight"]) == (0, 0)
        assert other.state.stats()["answered"] == 0


def test_stats_of_several_models_add_up(server):
    before = server.stats()
    ask(server, "POST", "/predict/sum", [[1, 1]])
    ask(server, "POST", "/predict/two", [[1, 1]])
    after = server.stats()
    assert after["answered"] == before["answered"] + 2
    assert after["models"]["two"]["answered"] == before["models"]["two"]["answered"] + 1
    assert len(after["recent_latencies_ms"]) == sum(len(m["recent_latencies_ms"]) for m in after["models"].values())
    json.dumps(after)


@pytest.mark.parametrize("make", [lambda: Sum().predictor(), digit_reader, table, shout, two_outputs])
def test_the_examples_of_the_documents_work(make):
    with app_of(make()) as app:
        document = ask(app, "GET", "/openapi.json").json
        (name,) = app.models
        tried = 0
        for path, methods in document["paths"].items():
            for method, what in methods.items():
                if method == "post":
                    example = what["requestBody"]["content"]["application/json"]["example"]
                    place = path.replace("{model}", name).replace("{version}", "1")
                    assert ask(app, "POST", place, example).status == 200
                    tried += 1
        assert tried == 4
        page = ask(app, "GET", "/docs")
        (line,) = re.findall("<pre>(.*?)</pre>", page.body.decode(), re.DOTALL)
        import html

        command, url, flag, body = shlex.split(html.unescape(line))
        assert (command, flag) == ("curl", "-d")
        assert ask(app, "POST", url.removeprefix("http://here"), body.encode()).status == 200


def test_the_page_loads_nothing_from_anywhere(server):
    page = ask(server, "GET", "/docs")
    text = page.body.decode()
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert not re.search(r"<(script|link|img|iframe)|@import|url\(", text)
    assert set(re.findall(r"href='([^']*)'", text)) == {"openapi.json"}
    assert ask(server, "GET", "/").body == page.body


def test_the_document_names_every_path_and_no_other(server):
    paths = ask(server, "GET", "/openapi.json").json["paths"]
    for path, methods in paths.items():
        place = path.replace("{model}", "sum").replace("{version}", "1")
        for method in {"get", "post"} & methods.keys():
            assert ask(server, method.upper(), place, [[1, 1]]).status in (200, 400)
    assert {route.path for route in server.routes} - paths.keys() == {"/docs", "/", "/openapi.json", "/predict"}


def test_the_package_loads_no_server():
    code = """if True:
        import sys
        import inferkit.serving
        heavy = {"fastapi", "starlette", "uvicorn", "httptools", "prometheus_client", "pydantic", "urllib3"}
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_batch_size": 0}, "max_batch_size: expected an integer ≥ 1, got 0"),
        ({"max_queue": 1.5}, "max_queue"),
        ({"workers": True}, "workers"),
        ({"max_wait_ms": -1}, "max_wait_ms: expected milliseconds ≥ 0"),
        ({"max_wait_ms": float("inf")}, "max_wait_ms"),
        ({"deadline_ms": 0}, "deadline_ms: expected milliseconds > 0 or None"),
        ({"header_timeout_s": None}, "header_timeout_s: expected seconds > 0, got None"),
        ({"body_timeout_s": float("nan")}, "body_timeout_s"),
        ({"token": ""}, "token"),
        ({"token": "two words"}, "token"),
        ({"token": "naïve"}, "token"),
    ],
)
def test_settings_that_are_none_get_a_reason(settings, words):
    with pytest.raises(InputError, match=re.escape(words)):
        Settings(**settings)


# -- whose thread ------------------------------------------------------------------------------------


def ask_directly(model, rows, *, times=1):
    """Ask a model as an endpoint does; return the threads that called it and the rows of each call."""
    seen, run = [], model.batcher._run

    def watched(X):
        seen.append((threading.current_thread() is threading.main_thread(), len(X)))
        return run(X)

    async def never():
        await asyncio.Event().wait()

    async def all_of_them():
        return await asyncio.gather(*(model.ask(model.check(rows), None, never) for _ in range(times)))

    model.batcher._run = watched
    answers = asyncio.run(all_of_them())
    model.batcher._run = run
    (wanted,) = model.predictor.predict_outputs(rows).values()
    for answer in answers:
        np.testing.assert_array_equal(*answer.values(), wanted)
    return seen


@pytest.fixture
def quick():
    """Return a served model whose calls are known to be quick."""
    apps = []

    def make(predictor, **settings):
        apps.append(make_app(predictor, Settings(**settings)))
        (model,) = apps[-1].models.values()
        model._call_s = model._row_s = 1e-5
        model._ran = lambda rows, seconds: None  # a busy machine makes a call slow
        model.batcher._on_batch = None
        return model

    yield make
    for app in apps:
        app.close()


def test_a_quick_model_answers_on_the_thread_of_the_loop(quick):
    model = quick(digit_reader())
    assert ask_directly(model, np.zeros((1, 8, 8))) == [(True, 1)]
    assert ask_directly(model, np.zeros((8, 8, 8))) == [(True, 8)]


def test_many_rows_and_slow_models_take_the_worker(quick):
    model, one = quick(digit_reader()), np.zeros((1, 8, 8))
    assert ask_directly(model, np.zeros((9, 8, 8))) == [(False, 9)]
    model._call_s = 0.001
    assert ask_directly(model, one) == [(False, 1)]
    assert ask_directly(quick(digit_reader(), max_wait_ms=1), one) == [(False, 1)]


def test_requests_that_come_together_are_one_batch_for_a_quick_model_too(quick):
    assert ask_directly(quick(digit_reader()), np.zeros((1, 8, 8)), times=6) == [(True, 6)]
    assert ask_directly(quick(digit_reader(), max_batch_size=4), np.zeros((1, 8, 8)), times=6) == [(True, 4), (True, 2)]


def test_no_batch_keeps_the_loop_for_long(quick):
    model = quick(digit_reader())
    model._row_s = PATIENCE_S / 2.5
    assert ask_directly(model, np.zeros((1, 8, 8)), times=5) == [(True, 2), (True, 2), (True, 1)]
    model._row_s = PATIENCE_S * 3
    assert ask_directly(model, np.zeros((1, 8, 8)), times=2) == [(True, 1), (True, 1)]


def test_a_quick_model_that_is_at_work_elsewhere_is_waited_for(quick):
    model = quick(digit_reader())
    entered, go, run, seen = threading.Event(), threading.Event(), model.batcher._run, []

    def gate(X):
        seen.append((threading.current_thread() is threading.main_thread(), len(X)))
        entered.set()
        assert go.wait(LONG)
        return run(X)

    async def never():
        await asyncio.Event().wait()

    async def both():
        asks = [asyncio.ensure_future(model.ask(model.check(np.zeros((9, 8, 8))), None, never))]
        await asyncio.to_thread(entered.wait, LONG)
        asks += [asyncio.ensure_future(model.ask(model.check(np.zeros((1, 8, 8))), None, never)) for _ in range(3)]
        await asyncio.sleep(0.05)
        assert not any(asked.done() for asked in asks)
        go.set()
        return await asyncio.gather(*asks)

    model.batcher._run = gate
    answers = asyncio.run(both())
    assert [len(next(iter(answer.values()))) for answer in answers] == [9, 1, 1, 1]
    assert seen == [(False, 9), (False, 3)]


def test_who_is_taken_along_hears_of_it(quick):
    model = quick(digit_reader())
    model.batcher.threaded = False  # no worker comes

    async def never():
        await asyncio.Event().wait()

    async def both():
        many, one = (model.check(np.zeros((n, 8, 8))) for n in (9, 1))
        async with asyncio.timeout(LONG):
            return await asyncio.gather(*(model.ask(rows, None, never) for rows in (many, one)))

    assert [len(next(iter(answer.values()))) for answer in asyncio.run(both())] == [9, 1]


def test_who_may_not_be_answered_here_is_left_to_a_worker(quick):
    model = quick(digit_reader())
    model.batcher.max_wait_ms = 20.0  # it was changed while the request was on its way
    assert ask_directly(model, np.zeros((1, 8, 8))) == [(False, 1)]


def test_who_leaves_before_its_turn_leaves_nothing_behind(quick):
    model = quick(digit_reader())

    async def leave():
        asked = asyncio.ensure_future(model.ask(model.check(np.zeros((1, 8, 8))), None, None))
        await asyncio.sleep(0)
        assert len(model.batcher) == 1
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked

    asyncio.run(leave())
    assert len(model.batcher) == model.batcher.queued_rows == 0


def test_code_of_others_never_runs_on_the_thread_of_the_loop(quick):
    assert ask_directly(quick(Sum().predictor()), np.zeros((1, 2))) == [(False, 1)]
    reader = digit_reader()
    own_step = Predictor(reader.backend, preprocess=[*reader.preprocess, lambda X: X], signature=reader.signature)
    assert ask_directly(quick(own_step), np.zeros((1, 8, 8))) == [(False, 1)]


def test_how_long_few_rows_take_is_known_from_the_last_calls():
    app = make_app(digit_reader())
    (model,) = app.models.values()
    assert not model._is_quick(np.zeros((1, 8, 8)), None)  # nothing is known yet
    calls = [(1, 0.0001, True), (100, 0.01, True), *[(2, 0.01, True)] * 4, (2, 0.01, False), (8, 0.0001, True)]
    for rows, seconds, is_quick in calls:  # once is no rule: five slow calls are
        model._ran(rows, seconds)
        assert model._is_quick(np.zeros((1, 8, 8)), None) == is_quick
        assert model._row_s == pytest.approx(seconds / rows)
    assert not model._is_quick(np.zeros((1, 8, 8)), time.monotonic())  # it is due now: the queue says so
    app.close()
