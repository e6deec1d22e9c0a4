"""What clients may not do: be slow, be many, send too much, never read. On real connections."""

import json
import socket
import threading
import time
from contextlib import ExitStack, contextmanager, suppress

import numpy as np

from inferkit.predictor import ArraySpec, Predictor
from inferkit.serving._limits import Joined, limited_protocol
from tests.serving_apps import LONG, Sum, running, wait_until

SOON = 0.2  # seconds: the limits here


def head(path="/predict", method="POST", **fields):
    named = {"Host": "x", **{name.replace("_", "-"): value for name, value in fields.items()}}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items()), "", ""]
    return "\r\n".join(lines).encode()


def request(rows, path="/predict", **fields):
    body = json.dumps(rows).encode()
    return head(path, Content_Length=len(body), **fields) + body


class Line:
    """One connection, spoken to by hand."""

    def __init__(self, app):
        self.socket = socket.create_connection(("127.0.0.1", app.port), timeout=LONG)
        self.buffer = b""

    def send(self, data):
        self.socket.sendall(data)

    def drip(self, data, seconds=0.02):
        """Send byte by byte, until all is sent or the server has enough of it; say how many went."""
        for i in range(len(data)):
            self.socket.settimeout(seconds)
            try:
                self.socket.sendall(data[i : i + 1])
                if part := self.socket.recv(65536):
                    self.buffer += part
                return i
            except TimeoutError:
                continue
            except ConnectionError:
                return i
            finally:
                self.socket.settimeout(LONG)
        return len(data)

    def read(self):
        """Return the next answer: status, headers, body."""
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        top, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        first, *lines = top.decode("latin-1").split("\r\n")
        fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = int(fields.get("content-length", 0))
        while len(self.buffer) < length:
            self._more()
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return int(first.split(" ")[1]), fields, json.loads(body) if body else None

    def _more(self):
        part = self.socket.recv(65536)
        assert part, f"closed after {self.buffer!r}"
        self.buffer += part

    def is_closed(self):
        """Wait until the server closes, and say whether it did so without another word."""
        with suppress(ConnectionError):
            while part := self.socket.recv(65536):
                self.buffer += part
        return not self.buffer


@contextmanager
def served(model=None, **settings):
    """Run a server whose limits are short; yield it and a function that opens connections."""
    model = model or Sum()
    settings = {"header_timeout_s": SOON, "body_timeout_s": SOON, **settings}
    with ExitStack() as stack:
        app = stack.enter_context(running(model.predictor() if isinstance(model, Sum) else model, **settings))
        lines = []

        def connect():
            lines.append(Line(app))
            stack.callback(lines[-1].socket.close)
            return lines[-1]

        yield app, connect


def expect_good(connect):
    """Hold the server to it that a good client is served, and return its connection."""
    line = connect()
    line.send(request([[1, 2]]))
    status, _, answer = line.read()
    assert (status, answer["answers"]) == (200, [3.0])
    return line


# -- slow clients ------------------------------------------------------------------------------------


def test_a_head_that_takes_too_long_is_told_so_and_closed_however_it_drips():
    with served() as (_, connect):
        line = connect()
        sent = line.drip(b"POST /predict HTTP/1.1\r\n" + b"X-Slow: yes\r\n" * 1000)
        assert sent < 1000
        status, fields, answer = line.read()
        assert (status, fields["connection"]) == (408, "close")
        assert answer == {"error": "expected the head of a request within 0.2 s"}
        assert line.is_closed()
        expect_good(connect)


def test_without_the_guard_the_same_head_drips_on():
    """The control: what the test above sees is the guard's work."""
    with served(guarded=False) as (_, connect):
        line = connect()
        data = b"GET /v2/health/live HTTP/1.1\r\n" + b"X: 1\r\n" * 3
        assert line.drip(data) == len(data)
        line.send(b"\r\n")
        assert line.read()[0] == 200


def test_a_client_that_says_nothing_is_closed_without_a_word():
    with served() as (_, connect):
        assert connect().is_closed()


def test_a_body_that_takes_too_long_is_told_so_and_closed_however_it_drips():
    with served() as (app, connect):
        for fields, data in [
            ({"Content_Length": 100_000}, b" " * 1000),
            ({"Transfer_Encoding": "chunked"}, b"1\r\n \r\n" * 200),
        ]:
            line = connect()
            line.send(head(**fields))
            sent = line.drip(data)
            assert sent < 1000
            status, _, answer = line.read()
            assert (status, answer["error"]) == (408, "expected the body within 0.2 s")
            assert line.is_closed()
        wait_until(lambda: app.stats()["left"] == 2)
        assert app.stats()["in_flight"] == 0
        expect_good(connect)


def test_empty_lines_keep_no_connection_open():
    with served(keep_alive=LONG) as (_, connect):
        line = expect_good(connect)
        assert line.drip(b"\r\n" * 500) < 1000
        line.read()
        assert line.is_closed()


def test_between_requests_a_client_may_take_its_time():
    with served(keep_alive=LONG) as (_, connect):
        line = expect_good(connect)
        time.sleep(3 * SOON)
        line.send(request([[3, 4]]))
        assert line.read()[2]["answers"] == [7.0]


def test_a_model_may_take_longer_than_a_client():
    model = Sum()
    with served(model) as (_, connect):
        model.close_gate()
        line = connect()
        line.send(request([[1, 2]]))
        assert model.started.wait(LONG)
        time.sleep(3 * SOON)
        model.gate.set()
        assert line.read()[0] == 200


def test_a_client_that_never_reads_its_answers_is_cut_off():
    echo = Predictor(lambda X: np.repeat(X, 40, axis=1), signature=ArraySpec((2,), dtype="float64"), name="echo")
    with served(echo, max_body_bytes=10**6) as (app, connect):
        line = connect()
        line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for n in range(1, 5):  # some megabytes each: more than the system keeps
            with suppress(ConnectionError):
                line.send(request([[0.123456789, 1.23456789]] * 2000))
            wait_until(lambda n=n: app.stats()["answered"] == n or not app.watch.connections)
        wait_until(lambda: not app.watch.connections, "the end of a connection that nobody reads")
        wait_until(lambda: app.stats()["in_flight"] == 0)


# -- many clients ------------------------------------------------------------------------------------


def test_slow_clients_by_the_dozen_lock_nobody_out():
    with served(max_connections=20, header_timeout_s=LONG, body_timeout_s=LONG) as (app, connect):
        silent = [connect() for _ in range(20)]
        half = [connect() for _ in range(20)]
        for line in half:
            line.send(b"POST /predict HTTP/1.1\r\nHost")
        wait_until(lambda: sum(line.size > 0 for line in list(app.watch.connections)) == 20)
        bodies = [connect() for _ in range(20)]
        for line in bodies:
            line.send(head(Content_Length=10) + b"[[")
        wait_until(lambda: len(app.watch.unfinished) == 20)
        good = [expect_good(connect) for _ in range(30)]  # more than there are places: some of their own must go
        assert len(app.watch.connections) <= 20
        assert all(line.is_closed() for line in silent)
        status, _, answer = half[0].read()
        assert (status, answer["error"]) == (408, "expected the request sooner: others wait for this connection")
        good[-1].send(request([[1, 2]]))
        assert good[-1].read()[0] == 200, "a connection that was used last must be the last to go"


def test_those_in_mid_request_go_before_those_that_wait_between_two():
    with served(max_connections=3, header_timeout_s=LONG, keep_alive=LONG) as (app, connect):
        first, second = expect_good(connect), expect_good(connect)
        slow = connect()
        slow.send(b"POST")
        wait_until(lambda: len(app.watch.unfinished) == 1)
        expect_good(connect)
        assert slow.read()[0] == 408
        for line in (first, second):
            line.send(request([[1, 2]]))
            assert line.read()[0] == 200


def test_when_all_wait_for_answers_a_new_one_is_refused_in_words():
    model = Sum()
    with served(model, max_connections=3) as (app, connect):
        model.close_gate()
        busy = [connect() for _ in range(3)]
        for line in busy:
            line.send(request([[1, 2]]))
        wait_until(lambda: app.stats()["in_flight"] == 3)
        status, fields, answer = connect().read()
        assert (status, fields["retry-after"]) == (503, "1")
        assert answer["error"] == "expected fewer connections; try again later"
        model.gate.set()
        assert [line.read()[0] for line in busy] == [200] * 3
        expect_good(connect)


def test_who_leaves_the_queue_before_its_turn_is_not_computed():
    model = Sum()
    with served(model, max_batch_size=1) as (app, connect):
        model.close_gate()
        first, leaving, last = connect(), connect(), connect()
        first.send(request([[1, 0]]))
        assert model.started.wait(LONG)
        leaving.send(request([[2, 0]]))
        wait_until(lambda: len(app.models["sum"].batcher) == 1)
        last.send(request([[3, 0]]))
        leaving.socket.close()
        wait_until(lambda: app.stats()["left"] == 1)
        model.gate.set()
        assert first.read()[0] == last.read()[0] == 200
        assert model.rows == [1, 3]


def test_the_watch_ends_with_the_last_connection():
    with served() as (app, connect):
        expect_good(connect).socket.close()
        wait_until(lambda: not app.watch.connections)
        wait_until(lambda: app.watch._timer is None)
        assert not app.watch.idle
        assert not app.watch.unfinished


# -- too much ----------------------------------------------------------------------------------------


def test_a_head_that_never_ends_is_refused_before_it_fills_the_memory():
    with served(header_timeout_s=LONG) as (_, connect):
        for endless in (
            b"POST /" + b"x" * 2**20,
            b"POST / HTTP/1.1\r\nX: " + b"x" * 2**20,
            b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 2**17,
        ):
            line = connect()
            with suppress(ConnectionError):
                for i in range(0, len(endless), 16_384):
                    line.send(endless[i : i + 16_384])
                    time.sleep(0.001)
            with suppress(ConnectionError, AssertionError):  # a reset may come before the reason is read
                assert line.read()[0] == 431
            line.is_closed()
        line = connect()
        line.send(b"POST / HTTP/1.1\r\nX: " + b"x" * 70_000)
        status, _, answer = line.read()
        assert (status, "65,536 bytes before the body" in answer["error"]) == (431, True)
        expect_good(connect)


def test_who_announces_too_much_gets_the_reason_even_while_sending_on():
    with served(max_body_bytes=1000, body_timeout_s=LONG) as (_, connect):
        line = connect()
        line.send(head(Content_Length=5000))
        assert line.read()[0] == 413
        line.send(b" " * 5000)  # the rest of it is read and forgotten,
        line.send(request([[1, 2]]))  # so that the connection goes on
        assert line.read()[0] == 200


def test_a_connection_whose_request_was_refused_is_one_that_waits_like_any_other():
    with served(max_body_bytes=1000, body_timeout_s=LONG, keep_alive=SOON) as (app, connect):
        line = connect()
        line.send(head(Content_Length=5000))
        assert line.read()[0] == 413
        line.send(b" " * 5000)
        wait_until(lambda: app.watch.idle)  # the first to go where places are wanted,
        assert line.is_closed()  # and closed where none are


def test_who_asks_before_sending_is_refused_before_sending():
    with served(max_body_bytes=1000) as (_, connect):
        line = connect()
        line.send(head(Content_Length=5000, Expect="100-continue"))
        assert line.read()[0] == 413
        line = connect()
        line.send(head(Content_Length=7, Expect="100-continue"))
        assert line.read() == (100, {}, None)
        line.send(b"[[1,2]]")
        assert line.read()[2]["answers"] == [3.0]


def test_a_refused_body_that_never_ends_is_cut_off(monkeypatch):
    monkeypatch.setattr("inferkit.serving._limits.LINGER_S", SOON)
    with served(max_body_bytes=1000, body_timeout_s=LONG, keep_alive=LONG) as (_, connect):
        line = connect()
        line.send(head(Content_Length=10**9))
        assert line.read()[0] == 413
        assert line.drip(b" " * 1000) < 1000
        assert line.is_closed()


def test_chunks_that_are_all_frame_are_refused():
    with served(max_body_bytes=10_000, body_timeout_s=LONG) as (_, connect):
        line = connect()
        line.send(head(Transfer_Encoding="chunked"))
        chunk = b"1;" + b"x" * 8000 + b"\r\n \r\n"
        with suppress(ConnectionError):
            for _ in range(30):
                line.send(chunk)
                time.sleep(0.001)
        assert line.read()[0] == 413
        expect_good(connect)


def test_what_is_no_http_is_told_so_in_json():
    with served() as (_, connect):
        for wrong in (
            b"hello\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00",
        ):
            line = connect()
            line.send(wrong)
            status, fields, answer = line.read()
            assert (status, fields["content-type"]) == (400, "application/json")
            assert answer == {"error": "expected a request in HTTP/1.1, got something else"}
            assert line.is_closed()


def test_requests_sent_ahead_are_answered_in_order_and_not_without_end():
    with served() as (_, connect):
        line = connect()
        line.send(b"".join(request([[i, 0]]) for i in range(5)))
        assert [line.read()[2]["answers"] for _ in range(5)] == [[float(i)] for i in range(5)]
        flood = connect()
        flood.send(b"".join(request([[i, 0]]) for i in range(50)) * 20)
        flood.is_closed()
        assert flood.buffer.count(b"HTTP/1.1 ") < 50
        expect_good(connect)


def test_a_client_that_sent_all_its_requests_and_leaves_holds_nothing():
    with served() as (app, connect):
        for _ in range(20):
            connect().socket.close()
        threads = threading.active_count()
        expect_good(connect).socket.close()
        wait_until(lambda: not app.watch.connections)
        assert threading.active_count() <= threads + 1


# -- one packet --------------------------------------------------------------------------------------


class Wire:
    """A transport that keeps what is written."""

    def __init__(self):
        self.written = []

    def write(self, data):
        self.written.append(data)

    def close(self):
        self.written.append("closed")

    def is_closing(self):
        return "closed" in self.written


def test_an_answer_goes_out_in_one_piece_and_nothing_is_kept_for_ever():
    top = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"
    wire = Wire()
    joined = Joined(wire)
    joined.write(top)
    assert wire.written == []
    joined.write(b"body")
    joined.write(b"more")
    joined.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    joined.write(top)
    joined.flush()
    joined.flush()
    joined.write(top)
    joined.close()
    assert wire.written == [top + b"body", b"more", b"HTTP/1.1 100 Continue\r\n\r\n", top, top, "closed"]
    assert joined.is_closing()


def test_an_answer_without_a_body_goes_out():
    with served() as (_, connect):
        line = connect()
        line.send(head("/v2/health/live", "HEAD"))
        while b"\r\n\r\n" not in line.buffer:
            line._more()
        line.buffer = b""
        line.send(request([[1, 2]]))
        assert line.read()[0] == 200


def test_each_server_has_a_watch_of_its_own():
    from inferkit.serving import Settings

    one, two = limited_protocol(Settings()), limited_protocol(Settings(max_connections=1))
    assert one.watch is not two.watch
    assert two.watch.settings.max_connections == 1
