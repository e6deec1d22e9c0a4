"""The engine past one machine: chunks go to Dask's workers, answers come back in order.

What travels is chosen so that losing a worker loses nothing. A chunk goes as part of its task, and the
function as the result of a task: the scheduler keeps both recipes, and sends them again where a worker died.
"""

import asyncio
import operator
import os
import pickle
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from time import monotonic
from typing import Any

from .._base import InputError, require
from ._dask_workers import local_cluster

CONNECT_S = 10.0
"""How long an address may take to answer."""
WORKERLESS_S = 60.0
"""How long a run waits for a cluster that has lost all its workers."""
MOST_KILLERS = 8
"""A run stops after so many rows that end their worker's process: then the model is at fault, not a row."""
_VERSIONS = "(__import__('sys').version_info[:2], __import__('inferkit').__version__)"


def ordered_map(
    function: Callable[[Any], Any],
    tasks: Iterable[Any],
    *,
    n_workers: int | None = None,
    address: str | None = None,
    window: int,
) -> Iterator[Any]:
    """Apply a function to each chunk on a Dask cluster; yield the results in the order of the chunks.

    The function travels to a worker once, whatever the number of chunks. A worker that dies is
    replaced, and its chunks are answered by another one. A chunk that ends the process of its workers again
    and again is tried alone, in halves, until the rows at fault are found: see `function`.

    Parameters
    ----------
    function : callable
        From a chunk to its result; it must pass through ``cloudpickle``. So that rows which end their worker's
        process cost the other rows nothing, it has three methods: ``split(chunk)`` gives two smaller chunks, or
        None for one row; ``join(left, right)`` makes one result of two; ``reject(chunk, reason)`` makes the
        result of a chunk that cannot be answered. Without them such a chunk stops the run.
    tasks : iterable
        The chunks, anything that can be pickled. It is read as the work goes on, never further than `window`
        chunks ahead of the results.
    n_workers : int, optional
        Processes to start on this machine, one thread each; as many as there are cores if not given.
    address : str, optional
        The scheduler of a cluster that runs already, such as ``"tcp://10.0.0.5:8786"``. It brings its own workers.
    window : int
        How many chunks may be under way at once.

    Returns
    -------
    iterator
        Close it (``contextlib.closing``) if it may be left before its end: it holds the cluster.

    Raises
    ------
    InputError
        If an argument is no such thing, or the function cannot travel. It is raised at once, as is a missing cluster.
    MissingExtraError
        If Dask is not installed.
    ConnectionError
        If nothing answers at `address` within ten seconds, it has no workers, these lack this version of
        inferkit, or the cluster is lost on the way and does not come back within a minute.
    RuntimeError
        If chunks end their workers' processes, and `function` has no ``split`` or more than eight rows do so.
    """
    _check("window", window)
    if n_workers is not None:
        _check("n_workers", n_workers)
    if address is not None and n_workers is not None:
        raise InputError(
            "expected n_workers or address, got both: the cluster at an address brings its own workers; "
            "leave n_workers out"
        )
    require("distributed", extra="scale")
    portable = _portable(function)
    if address is not None:
        _check_address(address)
    return _run(function, portable, iter(tasks), n_workers, address, window)


def _check(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name}: expected an integer ≥ 1, got {value!r}")


def _portable(function: Callable[[Any], Any]) -> bytes:
    """Return the function as bytes that another process can revive."""
    try:
        return bytes(require("cloudpickle", extra="scale").dumps(_Unpacked(function)))
    except Exception as error:  # pickling runs other people's code: it may raise anything
        raise InputError(
            f'engine="dask" sends the predictor to other processes, and this one cannot be sent: {error}. Make it '
            "from a file or an estimator, or from a function that holds no open file, lock or connection; "
            'or use engine="local"'
        ) from error


class _Unpacked:
    """The function, for chunks that come as bytes: a scheduler passes bytes on, and need not know what they are."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, chunk: bytes) -> Any:
        return self.function(pickle.loads(chunk))


def _run(
    function: Any, portable: bytes, tasks: Iterator[Any], n_workers: int | None, address: str | None, window: int
) -> Iterator[Any]:
    with _connected(n_workers, address) as client:
        work = _Work(client, function, portable)
        under_way: deque[_Sent] = deque()
        for chunk in tasks:
            under_way.append(work.send(chunk))
            if len(under_way) >= window:
                yield work.receive(under_way)
        while under_way:
            yield work.receive(under_way)


@contextmanager
def _connected(n_workers: int | None, address: str | None) -> Iterator[Any]:
    """Give a client of the cluster, and say where its dashboard is; close all that was opened."""
    import dask
    from dask.system import CPU_COUNT
    from distributed import Client

    with ExitStack() as stack:
        # A chunk goes through the scheduler on purpose, so that it outlives a worker: no cause for a warning.
        stack.enter_context(dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 PB"}))
        if address is None:
            n_workers = n_workers or CPU_COUNT  # those that this process may use
            cluster = stack.enter_context(local_cluster(n_workers))
            client = stack.enter_context(Client(cluster.scheduler_address, set_as_default=False))
            about = f"{_workers(n_workers)} on this machine, {_memory_mb(client):.0f} MB of memory"
        else:
            client = stack.enter_context(Client(address, set_as_default=False))
            _check_workers(client, address)
            about = f"{_workers(len(client.nthreads()))} at {address}"
        print(f"Dask: {about}; dashboard: {client.dashboard_link}")
        yield client


def _memory_mb(client: Any) -> float:
    """Return what the workers on this machine take, pages that they share counted once where the system tells."""
    import psutil  # Dask brings it

    held = []
    for pid in client.run(os.getpid, on_error="ignore").values():
        with suppress(psutil.Error):
            held.append(psutil.Process(pid).memory_full_info())
    return float(sum(getattr(info, "pss", info.rss) for info in held)) / 1e6


def _workers(n: int) -> str:
    return f"{n} worker" if n == 1 else f"{n} workers"


def _check_address(address: str) -> None:
    """Raise unless a scheduler answers. Dask's own client would wait for ever on a port that is open and silent."""
    try:
        with ThreadPoolExecutor(1) as pool:  # in a notebook this thread has a running event loop
            found = pool.submit(asyncio.run, asyncio.wait_for(_identity(address), CONNECT_S)).result()
    except (ValueError, TypeError) as error:
        raise InputError(f'address: expected one such as "tcp://10.0.0.5:8786", got {address!r}: {error}') from error
    except (OSError, TimeoutError) as error:
        raise ConnectionError(
            f"no Dask scheduler answered at {address!r} within {CONNECT_S:.0f} s. Start one (dask scheduler), "
            "give the address that it prints, or leave address out to use this machine"
        ) from error
    if found["type"] != "Scheduler":
        raise ConnectionError(f"expected a Dask scheduler at {address!r}, got a {found['type']}")


async def _identity(address: str) -> Any:
    from distributed import Security, rpc

    async with rpc(address, connection_args=Security().get_connection_args("client")) as scheduler:
        return await scheduler.identity()


def _check_workers(client: Any, address: str) -> None:
    """Raise unless there are workers, and each has this Python and this inferkit."""
    if not client.nthreads():
        raise ConnectionError(f"the cluster at {address} has no workers; start some: dask worker {address}")
    here = eval(_VERSIONS)  # a fixed text; as text it runs where inferkit is missing
    for worker, there in client.run(eval, _VERSIONS, on_error="return").items():
        if there != here and not isinstance(there, OSError):  # that one has just left: others take its work
            got = repr(there) if isinstance(there, Exception) else _words(there)
            raise ConnectionError(
                f"the worker {worker} cannot take this work: expected {_words(here)}, got {got}. "
                'Install the same there, in a checkout of it: pip install ".[scale]"'
            )


def _words(versions: Any) -> str:
    (major, minor), ours = versions
    return f"Python {major}.{minor} with inferkit {ours}"


class _Sent:
    """A chunk under way, and the future of its result."""

    def __init__(self, chunk: Any, future: Any) -> None:
        self.chunk = chunk
        self.future = future


class _Work:
    """One run's chunks on one cluster."""

    def __init__(self, client: Any, function: Any, portable: bytes) -> None:
        self._client = client
        self._function = function
        self._name = f"predict_batch-{uuid.uuid4().hex}"  # two runs on one cluster must not share keys
        self._count = 0
        self._killers = 0
        self._portable = portable
        self._revive()

    def _revive(self) -> None:
        """Have a worker unpack the function; the cluster hands it on to the others."""
        self._revived = self._client.submit(pickle.loads, self._portable, key=f"predictor-{uuid.uuid4().hex}")

    def send(self, chunk: Any) -> _Sent:
        """Send a chunk to the cluster."""
        self._count += 1
        packed = pickle.dumps(chunk, protocol=pickle.HIGHEST_PROTOCOL)
        return _Sent(chunk, self._client.submit(operator.call, self._revived, packed, key=(self._name, self._count)))

    def receive(self, under_way: deque[_Sent]) -> Any:
        """Take the first chunk off the queue and return its result."""
        first = under_way.popleft()
        try:
            return self._result(first)
        except _killed() as error:
            self._wait([sent.future for sent in under_way])  # a neighbour on the same worker would share the blame
            return self._alone(first.chunk, error)

    def _alone(self, chunk: Any, error: Exception) -> Any:
        """Return the result of a chunk that may end its worker's process, with nothing else on the cluster."""
        split = getattr(self._function, "split", lambda chunk: None)
        halves = None
        for _ in range(2):  # a worker may have died by chance: what cannot be split gets a second try
            try:
                return self._try(chunk)
            except _killed():
                halves = split(chunk)
                if halves is not None:
                    break
        if halves is None:
            return self._killer(chunk, error)
        left, right = (self._alone(half, error) for half in halves)
        return self._function.join(left, right)

    def _try(self, chunk: Any) -> Any:
        """Send a chunk and return its result; unpack the function anew if it was lost with its worker."""
        if self._revived.status == "error":
            self._revive()
            self._wait([self._revived])
            self._revived.result()
        return self._result(self.send(chunk))

    def _killer(self, chunk: Any, error: Exception) -> Any:
        self._killers += 1
        if self._killers > MOST_KILLERS or not hasattr(self._function, "reject"):
            raise RuntimeError(
                "the model ends the process it runs in: each worker that was given a certain chunk died. Expected "
                "an answer or an exception. Run the model on these rows by itself to see why; a worker that is short "
                "of memory dies so too, and then smaller batches help (batch_size=...)"
            ) from error
        return self._function.reject(chunk, "the process of the worker died while it predicted this row")

    def _result(self, sent: _Sent) -> Any:
        while True:
            self._wait([sent.future])
            if sent.future.status == "error":
                return sent.future.result()  # raises, perhaps a TimeoutError of the model's own
            with suppress(TimeoutError):  # the result was lost with its worker, and is computed anew
                return sent.future.result(timeout=WORKERLESS_S)

    def _wait(self, futures: list[Any]) -> None:
        """Wait until all are done or failed; raise when the cluster is gone."""
        from distributed import wait

        seen = monotonic()
        while futures:
            try:
                with self._client.as_current():
                    wait(futures, timeout=1.0)
                return
            except TimeoutError:
                if self._client.nthreads():
                    seen = monotonic()
            except CancelledError as error:
                raise _lost("its scheduler is gone") from error
            if monotonic() - seen > WORKERLESS_S:
                raise _lost(f"it has had no worker for {WORKERLESS_S:.0f} s")


def _killed() -> type[Exception]:
    """Return what Dask raises for a task whose workers died."""
    from distributed.scheduler import KilledWorker

    killed: type[Exception] = KilledWorker
    return killed


def _lost(how: str) -> ConnectionError:
    return ConnectionError(f"the Dask cluster was lost: {how}. Mend it, then run the same call again")
