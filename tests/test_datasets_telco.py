"""What comes from the net is the registered file or an error; the telephone customers keep their trap."""

import contextlib
import http.server
import threading
import time

import numpy as np
import pytest

from inferkit import InputError, ModelFileError
from inferkit._base import sha256
from inferkit.datasets import _fetch, _telco, fetch_telco
from inferkit.datasets._fetch import Remote, fetched
from inferkit.predictor import Column, TableSpec

CONTENT = b"some rows\n" * 5000
PATH = "folder/rows.csv"


class Server(http.server.ThreadingHTTPServer):
    """Answers every request by `how`, and counts them."""

    daemon_threads = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.n_requests, self.how = 0, whole

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.n_requests += 1
        with contextlib.suppress(OSError):  # the client left, as it should
            self.server.how(self)

    def log_message(self, *_):
        pass


def answer(handler, content, status=200, length=None):
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(content) if length is None else length))
    handler.end_headers()
    handler.wfile.write(content)


def whole(handler):
    answer(handler, CONTENT)


def dripping(handler):
    answer(handler, b"", length=len(CONTENT))
    for byte in CONTENT:
        handler.wfile.write(bytes([byte]))
        time.sleep(0.02)


def endless(handler):
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"x" * 65536)


@pytest.fixture
def server():
    """Give a server on a free port."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Give an empty cache, and no mirror."""
    monkeypatch.setenv("INFERKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("INFERKIT_MIRROR", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


@pytest.fixture
def remote(server, cache):
    """Give a file that the server has."""
    return Remote(PATH, len(CONTENT), sha256(CONTENT), f"{server.url}/rows.csv")


def test_a_file_is_fetched_once_and_then_kept(server, remote, cache, capfd):
    assert fetched(remote) == CONTENT
    assert (cache / PATH).read_bytes() == CONTENT
    assert fetched(remote) == CONTENT
    assert server.n_requests == 1
    assert capfd.readouterr().err == ""  # nothing about paths of this machine


def test_a_copy_that_was_changed_is_fetched_again(server, remote, cache):
    fetched(remote)
    (cache / PATH).write_bytes(CONTENT.replace(b"s", b"z", 1))
    assert fetched(remote) == CONTENT == (cache / PATH).read_bytes()
    assert server.n_requests == 2


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        (lambda h: answer(h, b"<html>log in, please</html>"), ModelFileError, "not the registered file"),
        (lambda h: answer(h, CONTENT.replace(b"s", b"z", 1)), ModelFileError, "not the registered file"),
        (lambda h: answer(h, b"gone", 404), OSError, r"cannot be fetched \(HTTPError\); is there a network"),
        (lambda h: answer(h, CONTENT[:100], length=len(CONTENT)), (OSError, ModelFileError), "rows.csv"),
        (endless, ModelFileError, "the server sends more"),
    ],
)
def test_what_is_not_the_file_is_refused_and_not_kept(server, remote, cache, how, error, message):
    server.how = how
    with pytest.raises(error, match=message):
        fetched(remote)
    assert [path for path in cache.rglob("*") if path.is_file()] == []
    server.how = whole
    assert fetched(remote) == CONTENT


def test_a_dripping_server_does_not_hold_a_download(server, remote, monkeypatch):
    monkeypatch.setattr(_fetch, "DEADLINE_S", 0.2)
    server.how = dripping  # the whole would take a quarter of an hour
    with pytest.raises(TimeoutError, match=r"of 50,000 bytes after 0\.2 s"):
        fetched(remote)


def test_no_network_is_one_clear_error(server, remote):
    gone = Remote(PATH, remote.size_bytes, remote.sha256, "http://127.0.0.1:1/rows.csv")
    with pytest.raises(OSError, match=r"is there a network.*INFERKIT_MIRROR"):
        fetched(gone)


def test_a_mirror_is_a_folder_or_an_address(server, remote, cache, tmp_path, monkeypatch):
    (tmp_path / "mirror/folder").mkdir(parents=True)
    (tmp_path / "mirror" / PATH).write_bytes(CONTENT)
    monkeypatch.setenv("INFERKIT_MIRROR", str(tmp_path / "mirror"))
    assert fetched(remote) == CONTENT
    assert (server.n_requests, cache.exists()) == (0, False)
    (tmp_path / "mirror" / PATH).write_bytes(CONTENT + b"x")
    with pytest.raises(ModelFileError, match=r"the mirror's copy .* expected 50,000 bytes, got 50,001"):
        fetched(remote)
    (tmp_path / "mirror" / PATH).unlink()
    with pytest.raises(FileNotFoundError, match=r"INFERKIT_MIRROR names has no folder/rows\.csv"):
        fetched(remote)
    monkeypatch.setenv("INFERKIT_MIRROR", server.url + "/")
    asked = []
    server.how = lambda handler: (asked.append(handler.path), whole(handler))
    assert fetched(Remote(PATH, remote.size_bytes, remote.sha256, "http://127.0.0.1:1/")) == CONTENT
    assert asked == ["/" + PATH]


# -- the telephone customers -------------------------------------------------------------------------

FEW = b"""customerID,Contract,tenure,MonthlyCharges,TotalCharges,SeniorCitizen,Churn
7590-A,Month-to-month,1,29.85,29.85,0,No
5575-B,Two year,0,52.55, ,1,No
3668-C,Month-to-month,2,53.85,108.15,0,Yes
"""


def test_a_blank_total_is_nan_and_the_column_stays_one_of_numbers():
    bunch = _telco.telco_bunch(FEW)
    assert bunch.data["TotalCharges"].dtype == np.float64
    np.testing.assert_array_equal(bunch.data["TotalCharges"], [29.85, np.nan, 108.15])
    assert bunch.data["tenure"].tolist() == [1, 0, 2]
    assert bunch.data["Contract"].tolist() == ["Month-to-month", "Two year", "Month-to-month"]
    assert bunch.categories == {"Contract": ("Month-to-month", "Two year")}
    assert bunch.customer.tolist() == ["7590-A", "5575-B", "3668-C"]
    assert bunch.target.tolist() == [0, 0, 1]
    frame = _telco.telco_bunch(FEW, as_frame=True).frame
    assert frame.columns.tolist() == ["customer", *bunch.feature_names, "target"]
    spec = TableSpec([Column(name, categories=bunch.categories.get(name)) for name in bunch.feature_names])
    with pytest.raises(InputError, match="'TotalCharges': expected finite values, got nan in row 1"):
        spec.check(bunch.data)


def test_the_published_customers_are_those_that_were_registered(published, monkeypatch):
    monkeypatch.setenv("INFERKIT_MIRROR", str(published))
    bunch = fetch_telco()
    assert bunch.data.shape == (7043,)
    assert len(bunch.feature_names) == 19
    assert bunch.target.sum() == 1869
    blank = np.isnan(bunch.data["TotalCharges"])
    assert blank.sum() == 11
    assert set(bunch.data["tenure"][blank]) == {0}
    assert len(bunch.categories) == 15
    X, y = fetch_telco(return_X_y=True)
    assert (len(X), len(y)) == (7043, 7043)
