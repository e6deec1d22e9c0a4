"""The batcher without HTTP: every job answered once with its own rows, in order, never idle while something waits."""

import gc
import threading
import time
import weakref
from collections import Counter

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inferkit.serving._batcher import Batcher, ClosedError, ExpiredError, QueueFullError

POISON = -1.0
LONG = 30.0  # seconds: far more than anything here takes


class Clock:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def rows_of(*values, width=1):
    return np.repeat(np.array(values, dtype=np.float64)[:, None], width, axis=1)


def double(X):
    if (X == POISON).any():
        raise ValueError("poison")
    return {"double": 2 * X[:, 0], "width": np.full(len(X), X.shape[1])}


def by_hand(run=double, **settings):
    """Return a batcher without threads, the list of what it delivered, the rows of each call, and its clock."""
    delivered, calls, clock = [], [], Clock()

    def watched(X):
        calls.append(X.copy())
        return run(X)

    settings = {"max_batch_size": 4, "max_queue": 100, **settings}
    batcher = Batcher(watched, delivered.append, clock=clock, threaded=False, **settings)
    return batcher, delivered, calls, clock


class Interleaving(RuleBasedStateMachine):
    """Any order of arrivals, withdrawals, passing time and work, against a plain list that says what must come out."""

    def __init__(self):
        super().__init__()
        self.batcher, self.delivered, self.calls, self.clock = by_hand(max_batch_size=4, max_queue=12)
        self.waiting = []  # what is queued, in order
        self.next_value = 1.0

    @rule(n=st.integers(1, 6), width=st.integers(1, 2), time=st.none() | st.integers(0, 3), poison=st.booleans())
    def put(self, n, width, time, poison):
        values = self.next_value + np.arange(n)
        self.next_value += n
        if poison:
            values[-1] = POISON
        queued = sum(job.n for job in self.waiting)
        deadline = None if time is None else self.clock.now + time
        if queued and queued + n > 12:
            with pytest.raises(QueueFullError, match=f"room for {n} more, {queued} of 12"):
                self.batcher.put(rows_of(*values, width=width), deadline=deadline)
            return
        self.waiting.append(self.batcher.put(rows_of(*values, width=width), deadline=deadline, waiter=values))

    @rule(seconds=st.integers(1, 2))
    def wait(self, seconds):
        self.clock.now += seconds

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data):
        job = data.draw(st.sampled_from(self.waiting))
        assert self.batcher.drop(job)
        assert not self.batcher.drop(job)
        self.waiting.remove(job)

    @rule(most=st.none() | st.integers(1, 6))
    def step(self, most):
        """Work as a worker does, or as a caller on its own thread who takes no more than so many rows."""
        before = len(self.calls)
        live = [job for job in self.waiting if job.deadline is None or job.deadline > self.clock.now]
        result = self.batcher.step() if most is None else self.batcher.step_here(most)
        done = [job for jobs in self.delivered for job in jobs] if most is None else result
        self.delivered.clear()
        assert Counter(map(id, done)) == Counter({id(job): 1 for job in done}), "a job was delivered twice"
        assert all(job in self.waiting for job in done)
        if live:
            assert most or result == 0
            assert len(self.calls) > before, "the model was idle while something waited"
            self.check_batch([job for job in live if job in done], live, min(most or 4, 4))
        else:
            assert most or result == (0 if self.waiting else float("inf"))
            assert len(self.calls) == before
        for job in done:
            self.check_answer(job, job in live)
            self.waiting.remove(job)

    def check_batch(self, batch, live, size):
        """Hold a batch to its rule: the first in the queue, and after it all of its kind until one does not fit."""
        kin = [job for job in live if job.key == live[0].key]
        assert batch == kin[: len(batch)]
        assert len(batch) == 1 or sum(job.n for job in batch) <= size
        rest = kin[len(batch) :]
        assert not rest or sum(job.n for job in batch) + rest[0].n > size

    def check_answer(self, job, is_live):
        if not is_live:
            assert isinstance(job.error, ExpiredError)
            assert not any((X[:, 0] == job.waiter[0]).any() for X in self.calls if job.waiter[0] != POISON)
        elif job.waiter[-1] == POISON:
            assert isinstance(job.error, ValueError)
            assert job.outputs is None
        else:
            assert job.error is None
            assert job.outputs["double"].tolist() == (2 * job.waiter).tolist()
            assert job.outputs["width"].tolist() == [job.key[0][0]] * job.n
        assert job.rows is None  # an answered request holds no memory

    @invariant()
    def the_books_agree(self):
        assert len(self.batcher) == len(self.waiting)
        assert self.batcher.queued_rows == sum(job.n for job in self.waiting)
        assert all(len(X) <= 4 for X in self.calls)


TestInterleaving = Interleaving.TestCase
TestInterleaving.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


def test_a_large_request_runs_in_pieces_and_comes_back_whole():
    batcher, delivered, calls, _ = by_hand()
    batcher.put(rows_of(*range(10)))
    batcher.step()
    ((job,),) = delivered
    assert [len(X) for X in calls] == [4, 4, 2]
    assert job.outputs["double"].tolist() == list(range(0, 20, 2))


def test_a_request_larger_than_the_queue_is_taken_when_nothing_waits():
    batcher, *_ = by_hand(max_queue=3)
    batcher.put(rows_of(*range(10)))
    assert not batcher.has_room()
    with pytest.raises(QueueFullError):
        batcher.put(rows_of(1))


def test_what_can_be_joined_runs_in_one_call_and_of_different_types_in_two():
    batcher, delivered, calls, _ = by_hand()
    batcher.put(rows_of(1))
    batcher.put(rows_of(2).astype(np.float32))
    batcher.put(rows_of(3))
    assert batcher.step() == batcher.step() == 0
    assert [X[:, 0].tolist() for X in calls] == [[1, 3], [2]]
    assert [len(jobs) for jobs in delivered] == [2, 1]


def test_work_that_expires_while_its_batch_is_run_again_row_by_row_does_not_run():
    clock = None

    def slow(X):
        clock.now += 10
        return double(X)

    batcher, delivered, calls, clock = by_hand(slow)
    batcher.put(rows_of(POISON))
    batcher.put(rows_of(2), deadline=clock.now + 15)
    batcher.put(rows_of(3))
    batcher.step()
    first, second, third = delivered[0]
    assert isinstance(first.error, ValueError)
    assert isinstance(second.error, ExpiredError)
    assert third.outputs["double"].tolist() == [6]
    assert [X[:, 0].tolist() for X in calls] == [[POISON, 2, 3], [POISON], [3]]


def test_it_waits_for_more_only_as_long_as_it_was_told_and_not_once_the_batch_is_full():
    batcher, _, calls, clock = by_hand(max_wait_ms=50)
    batcher.put(rows_of(1))
    clock.now += 0.02
    assert batcher.step() == pytest.approx(0.03)
    batcher.put(rows_of(2))
    assert batcher.step() == pytest.approx(0.03), "the second request must not begin the wait anew"
    clock.now += 0.031
    assert batcher.step() == 0
    batcher.put(rows_of(3))
    batcher.put(rows_of(4, 5, 6))
    assert batcher.step() == 0
    assert [X[:, 0].tolist() for X in calls] == [[1, 2], [3, 4, 5, 6]]


def test_waiting_leaves_half_of_the_time_to_the_model():
    batcher, _, calls, clock = by_hand(max_wait_ms=1000)
    batcher.put(rows_of(1), deadline=clock.now + 0.1)
    assert batcher.step() == pytest.approx(0.05)
    clock.now += 0.051
    assert batcher.step() == 0
    assert len(calls) == 1


def test_the_rows_of_another_kind_do_not_fill_a_batch_that_waits():
    batcher, *_ = by_hand(max_wait_ms=50)
    batcher.put(rows_of(1))
    batcher.put(rows_of(2, 3, 4, width=2))
    assert batcher.step() > 0


def test_calls_are_counted_with_their_rows_and_seconds():
    counted, clock = [], None

    def slow(X):
        clock.now += 3
        return double(X)

    batcher, _, _, clock = by_hand(slow, on_batch=lambda n, seconds: counted.append((n, seconds)))
    batcher.put(rows_of(1, 2))
    batcher.put(rows_of(3))
    batcher.step()
    assert counted == [(3, 3.0)]


# -- on the caller's thread --------------------------------------------------------------------------


def test_a_free_model_answers_what_waits_on_the_callers_thread_and_delivers_to_nobody():
    counted = []
    batcher, delivered, calls, _ = by_hand(on_batch=lambda n, seconds: counted.append(n))
    jobs = [batcher.put(rows_of(n), wake=False) for n in (1, 2)]
    assert batcher.step_here(8) == jobs
    assert [(job.state, job.rows, job.error) for job in jobs] == [("done", None, None)] * 2
    assert [job.outputs["double"].tolist() for job in jobs] == [[2], [4]]
    assert counted == [2]
    assert not delivered
    assert batcher.step_here(8) == []
    assert [len(call) for call in calls] == [2]


def test_no_more_rows_than_it_is_told_and_no_call_takes_more_than_it_may():
    batcher, _, calls, _ = by_hand(max_batch_size=4)
    jobs = [batcher.put(rows_of(*range(n)), wake=False) for n in (1, 1, 1, 6)]
    assert batcher.step_here(2) == jobs[:2]
    assert batcher.step_here(100) == jobs[2:3]
    assert batcher.step_here(2) == jobs[3:]  # the first has to go, however many rows it has
    assert [len(call) for call in calls] == [2, 1, 4, 2]
    assert batcher.queued_rows == len(batcher) == 0


def test_what_waits_longest_goes_first_and_what_is_late_never_runs():
    batcher, _, calls, clock = by_hand()
    late, first = batcher.put(rows_of(1), deadline=1.0, wake=False), batcher.put(rows_of(2))
    batcher.put(rows_of(3), wake=False)
    clock.now = 2.0
    assert batcher.step_here(1) == [late, first]
    assert isinstance(late.error, ExpiredError)
    assert [call[:, 0].tolist() for call in calls] == [[2]]


def test_what_the_model_raises_harms_no_other_and_the_model_is_free_again():
    batcher, *_ = by_hand()
    good, bad = batcher.put(rows_of(1), wake=False), batcher.put(rows_of(POISON), wake=False)
    assert batcher.step_here(8) == [good, bad]
    assert good.outputs["double"].tolist() == [2]
    assert str(bad.error) == "poison"
    assert bad.outputs is None
    batcher.put(rows_of(1), wake=False)
    assert batcher.step_here(8)[0].error is None


def test_a_closed_batcher_answers_nobody_on_the_callers_thread():
    batcher, *_ = by_hand()
    batcher.close()
    assert batcher.step_here(8) == []


# -- with threads ------------------------------------------------------------------------------------


class Waiting:
    """Jobs that a test waits for: an event each."""

    def __init__(self):
        self.delivered = Counter()

    def deliver(self, jobs):
        for job in jobs:
            self.delivered[id(job)] += 1
            job.waiter.set()

    def put(self, batcher, rows, **options):
        return batcher.put(rows, waiter=threading.Event(), **options)


@pytest.fixture
def threaded():
    """Make a batcher with threads; it is closed at the end, and none of its threads stays."""
    made = []

    def make(run=double, **settings):
        waiting = Waiting()
        batcher = Batcher(run, waiting.deliver, **{"max_batch_size": 8, "max_queue": 10_000, **settings})
        made.append(batcher)
        return batcher, waiting

    yield make
    ended = [batcher.close(LONG) for batcher in made]
    assert all(ended)


def test_jobs_from_many_threads_are_each_answered_once_with_their_own_rows(threaded):
    batcher, waiting = threaded(workers=3)
    jobs = []

    def caller(start):
        for value in range(start, start + 100):
            job = waiting.put(batcher, rows_of(value, value + 0.5, width=1 + value % 2))
            jobs.append((value, job))

    callers = [threading.Thread(target=caller, args=(1000 * i,)) for i in range(4)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    for value, job in jobs:
        assert job.waiter.wait(LONG)
        assert job.outputs["double"].tolist() == [2 * value, 2 * value + 1]
    assert set(waiting.delivered.values()) == {1}
    assert len(waiting.delivered) == 400


def test_an_idle_worker_starts_at_once_and_what_came_meanwhile_is_one_batch(threaded):
    started, go, sizes = threading.Event(), threading.Event(), []

    def gate(X):
        sizes.append(len(X))
        started.set()
        assert go.wait(LONG)
        return double(X)

    batcher, waiting = threaded(gate)
    first = waiting.put(batcher, rows_of(0))
    assert started.wait(LONG)
    rest = [waiting.put(batcher, rows_of(i)) for i in range(1, 11)]
    go.set()
    assert all(job.waiter.wait(LONG) for job in [first, *rest])
    assert sizes == [1, 8, 2]


def test_nobody_else_has_the_model_while_the_caller_has_it_and_the_other_way_round(threaded):
    entered, go, running, most = threading.Semaphore(0), threading.Semaphore(0), [], []

    def gate(X):
        running.append(1)
        most.append(len(running))
        entered.release()
        assert go.acquire(timeout=LONG)
        running.pop()
        return double(X)

    batcher, waiting = threaded(gate, workers=1)
    found = []
    batcher.put(rows_of(1), wake=False)
    here = threading.Thread(target=lambda: found.extend(batcher.step_here(8)))
    here.start()
    assert entered.acquire(timeout=LONG)
    job = waiting.put(batcher, rows_of(2))  # its worker has to wait
    assert not entered.acquire(timeout=0.1)
    go.release()
    assert entered.acquire(timeout=LONG)  # and has it now
    left = waiting.put(batcher, rows_of(3), wake=False)
    assert batcher.step_here(8) == []
    go.release(2)  # the worker takes what is left too
    assert job.waiter.wait(LONG)
    assert left.waiter.wait(LONG)
    here.join()
    assert found[0].outputs["double"].tolist() == [2]
    assert job.outputs["double"].tolist() == [4]
    assert most == [1, 1, 1]


def test_what_was_put_without_a_word_is_taken_when_a_worker_is_woken(threaded):
    batcher, waiting = threaded(double)
    job = waiting.put(batcher, rows_of(1), wake=False)
    assert not job.waiter.wait(0.1)
    batcher.wake()
    assert job.waiter.wait(LONG)
    assert job.outputs["double"].tolist() == [2]


def test_as_many_calls_as_workers_run_side_by_side_and_no_more(threaded):
    together, running, most = threading.Barrier(3), [], []

    def meet(X):
        running.append(1)
        most.append(len(running))
        together.wait(LONG)
        running.pop()
        return double(X)

    batcher, waiting = threaded(meet, workers=3, max_batch_size=1)
    jobs = [waiting.put(batcher, rows_of(i)) for i in range(9)]
    assert all(job.waiter.wait(LONG) for job in jobs)
    assert max(most) == 3


def test_workers_come_and_go_while_it_runs(threaded):
    together = threading.Barrier(2)
    meets = True

    def meet(X):
        if meets:
            together.wait(LONG)
        return double(X)

    batcher, waiting = threaded(meet, workers=1, max_batch_size=1)
    jobs = [waiting.put(batcher, rows_of(i)) for i in range(2)]
    assert not jobs[0].waiter.wait(0.05)  # one alone waits for another one
    batcher.configure(workers=2)
    assert all(job.waiter.wait(LONG) for job in jobs)
    meets = False
    batcher.configure(workers=1)
    last = time.monotonic() + LONG
    while len(batcher._threads) > 1 and time.monotonic() < last:
        time.sleep(0.01)
    assert len(batcher._threads) == 1
    job = waiting.put(batcher, rows_of(5))
    assert job.waiter.wait(LONG)


def test_settings_that_change_hold_from_the_next_batch_on():
    batcher, _, calls, _ = by_hand(max_batch_size=2, max_wait_ms=1000, max_queue=5)
    for i in range(5):
        batcher.put(rows_of(i))
    batcher.configure(max_batch_size=4, max_wait_ms=0, max_queue=6)
    batcher.put(rows_of(5))
    while batcher.step() == 0:
        pass
    assert [len(X) for X in calls] == [4, 2]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, MemoryError, StopIteration])
def test_whatever_a_model_raises_the_worker_goes_on(threaded, error):
    def raising(X):
        if X[0, 0] == POISON:
            raise error("from the model")
        return double(X)

    batcher, waiting = threaded(raising)
    bad = waiting.put(batcher, rows_of(POISON))
    assert bad.waiter.wait(LONG)
    assert type(bad.error) is error
    good = waiting.put(batcher, rows_of(3))
    assert good.waiter.wait(LONG)
    assert good.outputs["double"].tolist() == [6]


def test_closing_fails_what_waits_refuses_the_rest_and_ends_the_threads():
    started, go = threading.Event(), threading.Event()

    def gate(X):
        started.set()
        assert go.wait(LONG)
        return double(X)

    waiting = Waiting()
    batcher = Batcher(gate, waiting.deliver, max_batch_size=1, max_queue=10)
    running, queued = waiting.put(batcher, rows_of(1)), waiting.put(batcher, rows_of(2))
    assert started.wait(LONG)
    assert not batcher.close(timeout_s=0.01), "a call that goes on cannot be stopped"
    assert queued.waiter.wait(LONG)
    assert isinstance(queued.error, ClosedError)
    with pytest.raises(ClosedError, match="shutting down"):
        batcher.put(rows_of(3))
    go.set()
    assert batcher.close(LONG)
    assert running.waiter.wait(LONG)
    assert running.outputs["double"].tolist() == [2]
    assert not [thread for thread in threading.enumerate() if thread.name == "inferkit-worker"]


def test_an_idle_worker_holds_no_request(threaded):
    batcher, waiting = threaded()
    sent = rows_of(1)
    rows = weakref.ref(sent)
    job = waiting.put(batcher, sent)
    assert job.waiter.wait(LONG)
    answer = weakref.ref(job.outputs["double"])
    del job, sent
    last = time.monotonic() + LONG
    while (rows() is not None or answer() is not None) and time.monotonic() < last:
        gc.collect()
        time.sleep(0.01)
    assert rows() is None
    assert answer() is None
