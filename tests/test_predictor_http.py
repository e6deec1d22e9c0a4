"""A predictor over a server: the same answers as here, through ours and a stranger's, and what each fault becomes."""

import json
import pickle
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inferkit import datasets
from inferkit._base import InputError
from inferkit.batch import predict_batch
from inferkit.benchmark import compare, measure_latency
from inferkit.predictor import (
    ArraySpec,
    Column,
    OutputSpec,
    Predictor,
    RemoteError,
    RemoteUnavailableError,
    Signature,
    TableSpec,
    TextSpec,
    digit_reader,
    remote,
)
from inferkit.predictor import _http as module
from inferkit.predictor._http import HTTPBackend, address_of
from inferkit.predictor._metadata import model_metadata
from inferkit.serving import Server, serve

DIGITS = datasets.load_digits()
X = DIGITS.images
PATIENTS = TableSpec([Column("age", "years", 18, 90), Column("smoker", categories=("no", "yes"))])


@pytest.fixture
def over() -> Iterator[Callable[..., Predictor]]:
    """Return a function that makes predictors over a URL, and close their connections in the end."""
    made: list[Predictor] = []

    def make(url: str, **options: Any) -> Predictor:
        made.append(remote(url, **options))
        return made[-1]

    yield make
    for predictor in made:
        predictor.backend.close()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def ours() -> Iterator[Server]:
    """Return a server of ours with a model of each kind."""

    def two(batch: np.ndarray) -> dict[str, np.ndarray]:
        dark = batch.mean(axis=(1, 2)) / 16
        return {
            "p": np.column_stack([1 - dark, dark]),
            "sum": batch.sum(axis=(1, 2)),
            "word": np.array(["hé"] * len(batch)),
        }

    outputs = [OutputSpec("p", "probabilities", ("light", "dark")), OutputSpec("sum"), OutputSpec("word", "labels")]
    models = {
        "digits": digit_reader(),
        "two": Predictor(two, signature=Signature(ArraySpec((8, 8), "float64", 0, 16), outputs)),
        "table": Predictor(lambda t: t[:, 0].astype(float) + 100 * (t[:, 1] == "yes"), signature=PATIENTS),
        "text": Predictor(lambda t: np.array([len(s) for s in t]), signature=TextSpec(50)),
        "fussy": Predictor(_fussy, signature=ArraySpec((1,), "float64")),
    }
    with serve(models, max_body_bytes=200_000) as server:
        yield server


def _fussy(batch: np.ndarray) -> np.ndarray:
    if batch[0, 0] == 1:
        raise InputError("expected anything but 1")
    if batch[0, 0] == 2:
        raise ZeroDivisionError
    return batch[:, 0]


# -- through ours ------------------------------------------------------------------------------------


@pytest.mark.parametrize("binary", [True, False])
def test_the_answers_are_those_of_the_model_itself(ours: Server, over: Any, binary: bool) -> None:
    here, there = digit_reader(), over(f"{ours.url}/v2/models/digits")
    assert there.backend._binary
    there.backend._binary = binary
    assert there.signature == here.signature
    assert there.labels == here.labels
    assert there.name == "digits"
    assert np.array_equal(there.predict_proba(X), here.predict_proba(X))
    assert there.predict(X[:50]).tolist() == here.predict(X[:50]).tolist()
    assert there.predict_one(X[3]) == here.predict_one(X[3])


def test_the_rounded_probabilities_of_a_quantized_model_come_through(over: Any) -> None:
    here = digit_reader("digits-cnn-int8")
    with serve(here) as server:
        assert np.array_equal(over(server.url).predict_proba(X), here.predict_proba(X))


@pytest.mark.parametrize("resolution", [0.01, 0])
def test_a_server_says_how_finely_its_answers_are_rounded(
    stranger: "StrangeServer", strange: Any, resolution: float
) -> None:
    signature = Signature(ArraySpec((3,), "float64"), [OutputSpec("y", "probabilities", ("no", "yes"))])
    stranger.metadata = model_metadata("sum", signature, resolution=resolution)
    output = {"name": "y", "shape": [1, 2], "datatype": "FP32", "data": [0.2, 0.795]}
    stranger.on_post = [lambda s: s.say(200, {"outputs": [output]})]
    predictor = strange()
    if resolution:
        assert predictor.predict_proba([[1, 2, 3]]).shape == (1, 2)
    else:
        with pytest.raises(InputError, match=r"sums to 0\.995"):
            predictor.predict_proba([[1, 2, 3]])


@pytest.mark.parametrize("binary", [True, False])
def test_several_outputs_tables_and_texts_come_through(ours: Server, over: Any, binary: bool) -> None:
    two, table, text = (over(f"{ours.url}/v2/models/{name}") for name in ("two", "table", "text"))
    for predictor in (two, table, text):
        predictor.backend._binary = binary
    answers = two.predict(X[:2])
    assert list(answers) == ["p", "sum", "word"]
    assert answers["p"].tolist() == ["light", "light"]
    assert answers["sum"].tolist() == X[:2].sum(axis=(1, 2)).tolist()
    assert answers["word"].tolist() == ["hé", "hé"]
    assert table.signature.input == PATIENTS
    assert table.predict([{"smoker": "yes", "age": 40}, {"smoker": "no", "age": 50.5}]).tolist() == [140, 50.5]
    assert table.predict_one({"smoker": "yes", "age": 18}) == 118
    assert text.predict(["", "héllo"]).tolist() == [0, 5]


def test_rows_are_checked_here_before_they_are_sent(ours: Server, over: Any) -> None:
    there = over(f"{ours.url}/v2/models/digits")
    before = ours.stats()
    with pytest.raises(InputError, match="expected values from 0 to 16 ink, got 17"):
        there.predict(X[:2] + 17 - X[0, 0, 0])
    assert {k: v for k, v in ours.stats().items() if k in ("answered", "invalid")} == {
        k: v for k, v in before.items() if k in ("answered", "invalid")
    }


def test_many_rows_go_in_several_requests(ours: Server, over: Any) -> None:
    there, before = over(f"{ours.url}/v2/models/digits"), ours.stats()["models"]["digits"]["answered"]
    many = np.tile(X, (2, 1, 1))[:2500]
    there.backend._at_once = 500  # of 256 bytes each: 128,000, and at most 200,000 are taken
    assert np.array_equal(there.predict_proba(many), digit_reader().predict_proba(many))
    assert ours.stats()["models"]["digits"]["answered"] - before == 5


def test_what_is_too_large_is_halved_until_it_fits(ours: Server, over: Any) -> None:
    there = over(f"{ours.url}/v2/models/digits")
    assert there.backend._at_once == 1024  # 262,144 bytes: more than this server takes
    assert np.array_equal(there.predict_proba(X[:1100]), digit_reader().predict_proba(X[:1100]))
    assert there.backend._at_once == 512


def test_one_row_that_is_too_large_is_refused_in_the_servers_words(over: Any) -> None:
    with serve(digit_reader(), max_body_bytes=200) as server:
        there = over(server.url)
        with pytest.raises(InputError, match=r"413: .*expected at most 200 bytes"):
            there.predict(X[:3])


def test_what_the_server_says_against_a_row_is_an_input_error_and_what_befalls_it_is_not(
    ours: Server, over: Any
) -> None:
    fussy = over(f"{ours.url}/v2/models/fussy")
    with pytest.raises(RemoteError, match="500: fussy raised ZeroDivisionError"):
        fussy.predict([[2]])
    assert fussy.predict([[3]]).tolist() == [3]


def test_the_only_model_needs_no_name_and_one_of_several_does(ours: Server, over: Any) -> None:
    with serve(digit_reader(), name="only") as server:
        assert over(server.url).predict_one(X[0]) == 0
        assert over(server.url + "/v2/").name == "only"
        assert over(server.url + "/v2/models/only/versions/1/infer").predict_one(X[0]) == 0
    with pytest.raises(InputError, match=r"which model\? it has \['digits', 'two'"):
        over(ours.url)
    with pytest.raises(InputError, match=r"404: expected one of the models \['digits'.*got 'digit'"):
        over(f"{ours.url}/v2/models/digit")


def test_a_token_is_sent_and_its_lack_is_told(over: Any) -> None:
    with serve(digit_reader(), token="secret") as server:
        for wrong in (None, "other"):
            with pytest.raises(InputError, match=r"401: .* Give its token: remote\(url, token="):
                over(server.url, token=wrong)
        there = over(server.url, token="secret")
        assert there.predict_one(X[0]) == 0
    assert "secret" not in repr(there) + repr(there.backend) + repr(there.backend.model)


def test_many_threads_may_ask_at_once(ours: Server, over: Any) -> None:
    there, right = over(f"{ours.url}/v2/models/digits"), digit_reader().predict_proba(X[:400])
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: there.predict_proba(X[i : i + 1])[0], range(400)))
    assert np.array_equal(np.array(answers), right)


def test_it_can_be_sent_to_another_process(ours: Server, over: Any) -> None:
    there = over(f"{ours.url}/v2/models/digits")
    backend = pickle.loads(pickle.dumps(there.backend))
    again = Predictor(backend)
    assert again.signature == there.signature
    assert again.predict_one(X[5]) == 5
    backend.close()


def test_it_is_measured_and_compared_like_any_other(ours: Server, over: Any) -> None:
    there = over(f"{ours.url}/v2/models/digits")
    assert there.backend.kind == "http"
    assert measure_latency(there, X[:8], n=20, warmup=2).n == 20
    found = {e.name: e for e in compare({"here": digit_reader(), "there": there}, X, DIGITS.target, n=20, memory=False)}
    assert found["there"].accuracy == found["here"].accuracy
    assert found["there"].size_bytes is None


def test_it_is_not_saved_but_named(ours: Server, over: Any, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=f"lives on a server and cannot be saved: keep its address, {ours.url}/v2/models"
    ):
        over(f"{ours.url}/v2/models/digits").save(tmp_path / "p")


def test_a_predictor_of_a_url_may_have_steps_of_its_own(ours: Server) -> None:
    predictor = Predictor(
        f"{ours.url}/v2/models/digits",
        preprocess=lambda x: 16 - x,
        signature=ArraySpec((8, 8), low=0, high=16),
        labels=range(10),
    )
    assert predictor.predict(16 - X[:5]).tolist() == digit_reader().predict(X[:5]).tolist()
    predictor.backend.close()  # type: ignore[attr-defined]


# -- through a stranger's, and through one that fails ------------------------------------------------

Act = Callable[["Stranger"], None]


class Stranger(BaseHTTPRequestHandler):
    """A small server of the protocol in JSON alone: the model `sum` adds three numbers. It can be told to fail."""

    protocol_version = "HTTP/1.1"
    timeout = 20
    server: "StrangeServer"

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.server.on_get:
            return self.server.on_get.pop(0)(self)
        known = {"/v2": self.server.about, "/v2/models/sum": self.server.metadata}
        self.say(200, known[self.path]) if self.path in known else self.say(404, {"detail": "no such thing"})
        return None

    def do_POST(self) -> None:
        self.server.asked.append(self.path)
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.server.on_post:
            return self.server.on_post.pop(0)(self)
        if self.headers["inference-header-content-length"]:
            return self.say(400, {"error": "this server reads no binary tensors"})
        self.server.bodies.append(plain := json.loads(body))
        rows = np.array(plain["inputs"][0]["data"]).reshape(plain["inputs"][0]["shape"])
        data = rows.sum(axis=1).tolist()
        output = {"name": "y", "shape": [len(data)], "datatype": "FP64", "data": data}
        return self.say(200, {"model_name": "sum", "outputs": [output], "note": "more than was asked"})

    def say(self, status: int, plain: Any, **headers: str) -> None:
        """Answer in JSON."""
        body = plain if isinstance(plain, bytes) else json.dumps(plain).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def raw(self, content: bytes) -> None:
        """Send bytes as they are, and hang up."""
        self.close_connection = True
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


class StrangeServer(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Stranger)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v2/models/sum"
        self.about: Any = {"name": "stranger", "extensions": []}
        self.metadata: Any = {
            "name": "sum",
            "inputs": [{"name": "x", "datatype": "FP64", "shape": [-1, 3]}],
            "outputs": [{"name": "y", "datatype": "FP64", "shape": [-1]}],
        }
        self.asked: list[str] = []
        self.bodies: list[Any] = []
        self.on_get: list[Act] = []
        self.on_post: list[Act] = []
        self.over, self.closed = threading.Event(), threading.Semaphore(0)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, and tell so."""
        super().shutdown_request(request)
        self.closed.release()

    def handle_error(self, *_: Any) -> None:
        """Say nothing: a client that hangs up is what some tests want."""

    @property
    def infers(self) -> int:
        return sum(path.endswith("/infer") for path in self.asked)


@pytest.fixture
def stranger(over: Any) -> Iterator[StrangeServer]:
    with StrangeServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()
        for made in _CLOSE:
            made()
        _CLOSE.clear()


_CLOSE: list[Callable[[], None]] = []


@pytest.fixture
def strange(stranger: StrangeServer) -> Callable[..., Predictor]:
    """Return a function that makes a predictor over the stranger; closed before the stranger is."""

    def make(**options: Any) -> Predictor:
        predictor = remote(stranger.url, **options)
        _CLOSE.append(predictor.backend.close)  # type: ignore[attr-defined]
        return predictor

    return make


def test_a_server_that_speaks_json_alone_answers(stranger: StrangeServer, strange: Any) -> None:
    predictor = strange()
    assert predictor.signature == Signature(ArraySpec((3,), "float64"), [OutputSpec("y")])
    assert predictor.predict([[1, 2, 3], [4, 5, 6.5]]).tolist() == [6, 15.5]
    assert predictor.predict_one([1, 2, 3]) == 6
    assert stranger.bodies[0]["inputs"] == [
        {"name": "x", "shape": [2, 3], "datatype": "FP64", "data": [1.0, 2.0, 3.0, 4.0, 5.0, 6.5]}
    ]


@pytest.mark.parametrize("parameters", [None, [], [1], 3, {}, {"inferkit": None}])
def test_parameters_that_are_not_ours_say_nothing(stranger: StrangeServer, strange: Any, parameters: Any) -> None:
    stranger.metadata["parameters"] = parameters
    assert strange().backend.resolution == 0


def test_a_server_that_says_nothing_of_itself_is_asked_in_json(stranger: StrangeServer, strange: Any) -> None:
    stranger.on_get = [lambda s: s.say(404, {})]
    assert strange().predict_one([1, 2, 3]) == 6
    stranger.about = {"models": [], "extensions": "binary_tensor_data"}  # not a list: says nothing either
    assert strange().predict_one([1, 2, 3]) == 6


def test_a_server_that_does_not_list_its_models_must_be_told_which(stranger: StrangeServer) -> None:
    with pytest.raises(InputError, match=r"which model\? it does not say which it has; give its URL"):
        remote(stranger.url.removesuffix("/models/sum"))


def test_a_model_of_a_fixed_batch_gets_just_that(stranger: StrangeServer, strange: Any) -> None:
    stranger.metadata["inputs"][0]["shape"] = [2, 3]
    predictor = strange()
    assert predictor.predict(np.ones((4, 3))).tolist() == [3] * 4
    assert [body["inputs"][0]["shape"] for body in stranger.bodies] == [[2, 3]] * 2
    with pytest.raises(InputError, match="exactly 2 rows at once, got 3"):
        predictor.predict(np.ones((3, 3)))


def test_labels_and_ranges_may_be_said_by_who_knows_them(stranger: StrangeServer, strange: Any) -> None:
    stranger.on_post = [
        lambda s: s.say(200, {"outputs": [{"name": "y", "shape": [1, 2], "datatype": "FP32", "data": [0.2, 0.8]}]})
    ]
    predictor = Predictor(stranger.url, signature=ArraySpec((3,), "float64", low=0), labels=["no", "yes"])
    _CLOSE.append(predictor.backend.close)  # type: ignore[attr-defined]
    assert predictor.predict_one([1, 2, 3]) == "yes"
    with pytest.raises(InputError, match="finite values ≥ 0"):
        predictor.predict_one([-1, 2, 3])


def busy(**headers: str) -> Act:
    return lambda s: s.say(503, {"error": "busy"}, **headers)


def test_a_busy_server_is_asked_again_when_it_says_so(stranger: StrangeServer, strange: Any) -> None:
    predictor = strange()
    stranger.on_post = [busy(retry_after="0"), busy(retry_after="0.01")]
    assert predictor.predict_one([1, 2, 3]) == 6
    assert stranger.infers == 3
    stranger.on_get = [busy(retry_after="0")] * 2
    assert strange().predict_one([1, 2, 3]) == 6


@pytest.mark.parametrize(
    ("answers", "options", "infers"),
    [
        ([busy(retry_after="0")] * 9, {}, 3),
        ([busy(retry_after="0")] * 9, {"retries": 0}, 1),
        ([busy()] * 9, {}, 1),
        ([busy(retry_after="3600")] * 9, {}, 1),
        ([busy(retry_after="-1")] * 9, {}, 1),
        ([busy(retry_after="nan")] * 9, {}, 1),
        ([busy(retry_after="Fri, 31 Dec 1999 23:59:59 GMT")] * 9, {}, 1),
    ],
)
def test_a_server_that_stays_busy_is_let_alone(
    stranger: StrangeServer, strange: Any, answers: Any, options: Any, infers: int
) -> None:
    predictor = strange(**options)
    stranger.on_post = answers
    with pytest.raises(RemoteError, match="answers 503: busy"):
        predictor.predict_one([1, 2, 3])
    assert stranger.infers == infers


def drip(s: Stranger) -> None:
    """Send a byte now and then: each read of a client has its answer soon, and the whole never comes."""
    s.close_connection = True
    s.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n")
    while not s.server.over.wait(0.02):
        s.wfile.write(b" ")


def drip_head(s: Stranger) -> None:
    s.close_connection = True
    s.wfile.write(b"HTTP/1.1 200 OK\r\nx: ")
    while not s.server.over.wait(0.02):
        s.wfile.write(b"x")


def drip_continue(s: Stranger) -> None:
    s.close_connection = True
    while not s.server.over.wait(0.02):
        s.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def silence(s: Stranger) -> None:
    s.close_connection = True
    s.server.over.wait(20)


@pytest.mark.parametrize("slow", [drip, drip_head, drip_continue, silence])
def test_a_server_that_drips_is_cut_off_and_not_asked_again(stranger: StrangeServer, strange: Any, slow: Act) -> None:
    predictor = strange(timeout_s=0.5)
    stranger.on_post = [slow] * 9
    begin = time.monotonic()
    with pytest.raises(RemoteError, match=r"expected the whole answer in 0\.5 s"):
        predictor.predict_one([1, 2, 3])
    assert time.monotonic() - begin < 10  # a drip for each read alone would last half an hour
    assert stranger.infers == 1


def test_a_server_that_does_not_read_is_cut_off(over: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        begin = time.monotonic()
        with pytest.raises(RemoteError, match=r"expected the whole answer in 0\.3 s"):
            over(f"http://127.0.0.1:{deaf.getsockname()[1]}", timeout_s=0.3)
        assert time.monotonic() - begin < 10


GOOD = b'{"outputs": [{"name": "y", "shape": [1], "datatype": "FP64", "data": [6]}]}'


def whole(body: bytes, *, length: int | None = None, head: str = "content-type: application/json") -> Act:
    n = len(body) if length is None else length
    return lambda s: s.raw(
        f"HTTP/1.1 200 OK\r\nconnection: close\r\n{head}\r\ncontent-length: {n}\r\n\r\n".encode() + body
    )


FAULTS: dict[str, tuple[Act, str]] = {
    "hangs up before a word": (lambda s: s.raw(b""), "connection broke before the whole answer"),
    "hangs up in the head": (lambda s: s.raw(b"HTTP/1.1 200 OK\r\ncontent-"), "connection broke|not of its protocol"),
    "hangs up in the body": (whole(GOOD, length=len(GOOD) + 1), "connection broke before the whole answer"),
    "promises less": (whole(GOOD, length=len(GOOD) - 1), "not of its protocol"),
    "a broken chunk": (
        lambda s: s.raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"),
        "connection broke before the whole answer",
    ),
    "no HTTP": (lambda s: s.raw(b"SSH-2.0-OpenSSH_9.2\r\n"), "connection broke before the whole answer"),
    "a web page": (whole(b"<html>hello", head="content-type: text/html"), r"\(text/html\): expected JSON"),
    "no JSON": (whole(b"{"), "expected JSON"),
    "NaN": (whole(GOOD.replace(b"[6]", b"[NaN]")), "expected finite numbers, got NaN"),
    "a compressed body": (
        whole(GOOD, head="content-type: application/json\r\ncontent-encoding: gzip"),
        "expected it as it is, got it as 'gzip'",
    ),
    "another output": (whole(GOOD.replace(b'"y"', b'"z"')), r"expected the outputs \['y'\], got \['z'\]"),
    "another number of rows": (
        whole(GOOD.replace(b"[6]", b"[6, 7]").replace(b'"shape": [1]', b'"shape": [2]')),
        r"expected 1 rows of 'y', got shape \[2\]",
    ),
    "a length of the JSON that lies": (whole(GOOD, head="inference-header-content-length: 9999"), "as the header says"),
    "a length of the JSON that is none": (whole(GOOD, head="inference-header-content-length: x"), "a number of bytes"),
    "a redirect": (lambda s: s.say(307, {}, location="http://127.0.0.1:1/v2"), "sends on to 'http://127.0.0.1:1/v2'"),
    "its own fault": (lambda s: s.say(500, {"error": "out of memory"}), "answers 500: out of memory"),
    "its own fault, and a wish": (lambda s: s.say(500, {"error": "again"}, retry_after="0"), "answers 500: again"),
    "a gateway's page": (lambda s: s.say(502, b"<h1>Bad Gateway</h1>"), "answers 502: <h1>Bad Gateway</h1>"),
    "its deadline": (lambda s: s.say(504, {"error": "too late"}), "answers 504: too late"),
    "no content": (lambda s: s.say(204, b""), "answers 204: it does not say why"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_server_is_told_and_the_request_ran_once(
    stranger: StrangeServer, strange: Any, fault: str
) -> None:
    predictor = strange(timeout_s=20)
    act, words = FAULTS[fault]
    stranger.on_post = [act]
    with pytest.raises(RemoteError, match=words):
        predictor.predict_one([1, 2, 3])
    assert stranger.infers == 1
    assert predictor.predict_one([4, 5, 6]) == 15  # nothing of it is left for the next


@pytest.mark.parametrize(
    ("status", "content", "words"),
    [
        (400, {"error": "expected 3, got 4"}, "answers 400: expected 3, got 4"),
        (422, {"detail": "wrong shape"}, "answers 422: wrong shape"),
        (404, b"", "answers 404: it does not say why"),
        (403, {"error": "no"}, "answers 403: no. Give its token"),
    ],
)
def test_what_the_server_refuses_is_an_input_error_in_its_words(
    stranger: StrangeServer, strange: Any, status: int, content: Any, words: str
) -> None:
    predictor = strange()
    stranger.on_post = [lambda s: s.say(status, content)]
    with pytest.raises(InputError, match=words):
        predictor.predict_one([1, 2, 3])
    assert stranger.infers == 1


def test_what_only_reads_is_asked_again(stranger: StrangeServer, strange: Any) -> None:
    stranger.on_get = [lambda s: s.raw(b""), whole(b"{}", length=9)]
    assert strange().predict_one([1, 2, 3]) == 6


def endless(s: Stranger) -> None:
    s.raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
    while not s.server.over.wait(0.001):
        s.wfile.write(b" " * 1000)


@pytest.mark.parametrize("long", [whole(GOOD), endless])
def test_an_answer_that_is_too_long_is_not_read_to_its_end(
    stranger: StrangeServer, strange: Any, monkeypatch: Any, long: Act
) -> None:
    from inferkit.predictor import _transport

    predictor = strange()
    monkeypatch.setattr(_transport, "LARGEST_ANSWER", 50)
    stranger.on_post = [long]
    with pytest.raises(RemoteError, match="at most 50 bytes, got more"):
        predictor.predict_one([1, 2, 3])


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ([], "expected a JSON object, got list"),
        ({"inputs": []}, "describes a model that no row can be sent to: metadata: expected inputs"),
        ({"parameters": {"inferkit": {"signature": 3}}}, "describes a model that no row can be sent to"),
    ],
)
def test_metadata_that_are_none_are_told(stranger: StrangeServer, metadata: Any, words: str) -> None:
    stranger.metadata = metadata
    with pytest.raises(RemoteError, match=words):
        remote(stranger.url)


def test_a_server_that_closes_idle_connections_is_asked_on_a_new_one(stranger: StrangeServer, strange: Any) -> None:
    predictor = strange()

    def answer_and_leave(s: Stranger) -> None:
        s.close_connection = True
        s.say(200, GOOD)

    stranger.on_post = [answer_and_leave] * 5
    for _ in range(5):
        assert predictor.predict_one([1, 2, 3]) == 6
        time.sleep(0.01)
    assert stranger.infers == 5


# -- where nobody is ---------------------------------------------------------------------------------


def test_where_no_server_is_the_error_says_so(over: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(RemoteError, match=rf"127.0.0.1:{port}: no server answers there: .*refused"):
        over(f"http://127.0.0.1:{port}/v2/models/m")
    with pytest.raises(RemoteError, match="no server answers there"):
        over("http://nowhere.invalid/v2/models/m", retries=0)


def test_a_server_that_comes_back_is_found(over: Any) -> None:
    with serve(digit_reader(), name="back") as server:
        there = over(server.url, timeout_s=60, retries=10)
        assert there.predict_one(X[0]) == 0
    again: list[Server] = []
    later = threading.Timer(0.3, lambda: again.append(serve(digit_reader(), name="back", port=server.port)))
    later.start()
    assert there.predict_one(X[3]) == 3
    later.join()
    again[0].stop()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://", "expected"),
        ("http://[::1", "expected the address"),
        ("http://host:99999", "expected the address"),
        ("http://user:secret@host/v2", "a token goes into remote"),
        ("http://host/v2/models/m?x=1", "a token goes into remote"),
        ("http://host/#m", "a token goes into remote"),
    ],
)
def test_what_is_no_address_is_refused(url: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        Predictor(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://host/x", "file:///etc/passwd"])
def test_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(InputError, match="expected http:// or https://"):
        HTTPBackend(url)


@pytest.mark.parametrize(
    ("url", "root", "name", "version"),
    [
        ("http://h", "", "", ""),
        ("http://h/", "", "", ""),
        ("https://h:1/v2", "", "", ""),
        ("http://h/v2/models/m", "", "m", ""),
        ("http://h/v2/models/m/", "", "m", ""),
        ("http://h/v2/models/m/infer", "", "m", ""),
        ("http://h/v2/models/m/versions/3", "", "m", "3"),
        ("http://h/user/me/proxy/80/v2/models/m", "/user/me/proxy/80", "m", ""),
        ("http://h/user/me/", "/user/me", "", ""),
        ("http://h/v2/x/v2/models/m", "/v2/x", "m", ""),
    ],
)
def test_addresses_are_read(url: str, root: str, name: str, version: str) -> None:
    found = address_of(url)
    assert (found.root, found.name, found.version) == (root, name, version)


@pytest.mark.parametrize(
    "options",
    [{"timeout_s": 0}, {"timeout_s": True}, {"connect_timeout_s": float("nan")}, {"retries": -1}, {"retries": 1.0},
     {"token": ""}, {"token": "a b"}, {"token": "a\r\nhost: x"}, {"token": b"x"}],
)  # fmt: skip
def test_options_that_are_none_are_refused(options: Any) -> None:
    with pytest.raises(InputError, match=f"{next(iter(options))}: expected"):
        remote("http://host", **options)


def test_texts_go_in_requests_of_a_bounded_size(ours: Server, over: Any) -> None:
    text = over(f"{ours.url}/v2/models/text")
    assert text.backend._at_once == module.ROWS_AT_ONCE
    wide = HTTPBackend.__new__(HTTPBackend)
    wide.__dict__ |= {"_inputs": [{"datatype": "FP32", "shape": [-1, 1000, 1000]}], "_binary": True}
    assert wide._row_bytes() == 4_000_000


# -- over TLS ----------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Return a file with a key and a certificate for 127.0.0.1 that nobody signed."""
    path = tmp_path / "both.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1 "
        f"-addext subjectAltName=IP:127.0.0.1 -keyout {tmp_path / 'key'} -out {tmp_path / 'cert'}"
    )
    subprocess.run(command.split(), check=True, capture_output=True, timeout=60)
    path.write_text((tmp_path / "key").read_text() + (tmp_path / "cert").read_text())
    return path


def test_https_answers_with_a_trusted_certificate_alone(
    stranger: StrangeServer, certificate: Path, monkeypatch: pytest.MonkeyPatch, over: Any
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    stranger.socket = context.wrap_socket(stranger.socket, server_side=True)
    url = stranger.url.replace("http:", "https:")
    with pytest.raises(RemoteError, match="expected a certificate that can be trusted"):
        over(url)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    predictor = remote(url, timeout_s=1.5)
    _CLOSE.append(predictor.backend.close)  # type: ignore[attr-defined]
    assert predictor.predict_one([1, 2, 3]) == 6
    stranger.on_post = [drip]
    with pytest.raises(RemoteError, match=r"expected the whole answer in 1\.5 s"):
        predictor.predict_one([1, 2, 3])


def test_importing_the_library_loads_neither_client_nor_server() -> None:
    code = "import sys, inferkit.predictor, inferkit.serving; print('urllib3' in sys.modules, 'uvicorn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "False False\n"


# -- who is to blame ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_a_status_that_blames_no_row_may_pass(stranger: StrangeServer, strange: Any, status: int) -> None:
    predictor = strange(retries=0)
    stranger.on_post = [lambda s: s.say(status, b'{"error": "later"}')]
    with pytest.raises(RemoteUnavailableError, match=f"answers {status}: later") as caught:
        predictor.predict_one([1, 2, 3])
    assert isinstance(caught.value, ConnectionError)


@pytest.mark.parametrize("status", [500, 501])
def test_a_status_that_may_blame_a_row_does_not_pass(stranger: StrangeServer, strange: Any, status: int) -> None:
    predictor = strange(retries=0)
    stranger.on_post = [lambda s: s.say(status, b'{"error": "no"}')]
    with pytest.raises(RemoteError, match=f"answers {status}: no") as caught:
        predictor.predict_one([1, 2, 3])
    assert not isinstance(caught.value, OSError)


def test_a_row_that_a_server_fails_on_is_set_aside(ours: Server, over: Any) -> None:
    found = predict_batch(over(f"{ours.url}/v2/models/fussy"), np.arange(5.0)[:, None], batch_size=1, progress=False)
    assert [one.row for one in found.rejected] == [1, 2]
    assert found.answers[[0, 3, 4]].tolist() == [0, 3, 4]


def test_a_table_half_answered_by_a_server_that_goes_away_is_finished_when_it_is_back(
    tmp_path: Path, over: Any
) -> None:
    rows, sink = np.resize(X, (600, 8, 8)), tmp_path / "answers.csv"
    options: Any = {"batch_size": 10, "checkpoint_rows": 50, "n_workers": 1, "progress": False}
    calm = predict_batch(digit_reader(), rows, tmp_path / "calm.csv", **options)

    def stream() -> Iterator[np.ndarray]:
        for start in range(0, 600, 10):
            if start == 300:
                server.stop()
            yield rows[start : start + 10]

    server = serve(digit_reader(), name="model")
    there = over(server.url, retries=0)
    with pytest.raises(RemoteUnavailableError, match="no server answers there") as caught:
        predict_batch(there, stream(), sink, **options)
    assert not sink.exists()
    assert "300 rows are finished and kept" in caught.value.__notes__[0]
    with serve(digit_reader(), name="model", port=server.port):
        found = predict_batch(there, (rows[i : i + 10] for i in range(0, 600, 10)), sink, **options)
    assert found.n_resumed == 300
    assert found.n_rejected == 0
    assert sink.read_bytes() == calm.sink.read_bytes()
