"""A predictor with a queue before it: rows that were checked go in, answers come out, each in its time."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError
from ..predictor import Predictor
from ..predictor._metadata import example_row, model_metadata
from ..predictor._steps import SAVABLE
from ._batcher import Batcher, ClosedError, ExpiredError, Job, Outputs, QueueFullError
from ._http import RETRY, LeftError, Receive, Refusal
from ._metrics import ModelMetrics, Registry
from ._settings import Settings

Array = npt.NDArray[Any]

VERSION = "1"
QUICK_S = 0.0002
"""A model whose calls take no longer may answer on the loop's thread: to hand rows to another takes about as long."""
_QUICK_ROWS = 8
_QUICK_KINDS = ("litert", "onnx", "posterior")  # what runs code of yours may take its time at any call
PATIENCE_S = 0.002  # an answer that comes sooner needs nobody to look whether its client is still there
_log = logging.getLogger("inferkit.serving")


class ModelError(RuntimeError):
    """The model's answer is none: it gives NaN, or another shape than it should."""


class ServedModel:
    """One model of a server.

    It is asked once, for an example, when it is made: its first answer is often its slowest, and tells
    the types of its outputs.

    Parameters
    ----------
    name : str
    predictor : Predictor
    settings : Settings
    registry : Registry
        Where its metrics go.
    """

    def __init__(self, name: str, predictor: Predictor, settings: Settings, registry: Registry) -> None:
        self.name, self.predictor, self.settings = name, predictor, settings
        self.check = predictor.signature.input.check
        self._row = example_row(predictor.signature.input)
        self.outputs = {spec.name: spec for spec in predictor.signature.outputs}
        self._calls = [call for _, call in predictor.steps]
        self._may_be_quick = _runs_no_code_of_others(predictor)
        self._few_s: deque[float] = deque(maxlen=5)
        self._call_s = self._row_s = float("inf")
        self.metadata = model_metadata(name, predictor.signature, self._first_answer(), [VERSION])
        self.batcher = Batcher(
            self.run,
            deliver,
            max_batch_size=settings.max_batch_size,
            max_wait_ms=settings.max_wait_ms,
            max_queue=settings.max_queue,
            workers=settings.workers,
            on_batch=self._ran,
        )
        self.metrics = ModelMetrics(name, registry, self.batcher.__len__)

    def configure(self, settings: Settings) -> None:
        """Follow new settings from the next request on."""
        self.settings = settings
        self.batcher.configure(
            max_batch_size=settings.max_batch_size,
            max_wait_ms=settings.max_wait_ms,
            max_queue=settings.max_queue,
            workers=settings.workers,
        )

    def _ran(self, rows: int, seconds: float) -> None:
        """Count a call of the model, and remember how long few rows take, and each of many.

        Of the last calls with few rows the quickest counts: another program may have held up the others.
        """
        self.metrics.ran(rows, seconds)
        self._row_s = max(seconds, 1e-9) / rows
        if rows <= _QUICK_ROWS:
            self._few_s.append(seconds)
            self._call_s = min(self._few_s)

    def _first_answer(self) -> Outputs | None:
        with suppress(Exception):  # a model may dislike the example, and answer what it is asked
            return self.run(self.predictor.signature.input.check_one(self._row))
        return None

    @property
    def example(self) -> Any:
        """A row that the model takes, as JSON holds it."""
        return self._row.tolist() if isinstance(self._row, np.ndarray) else self._row

    # -- on a worker's thread ----------------------------------------------------------------

    def run(self, rows: Array) -> Outputs:
        """Return the outputs for checked rows.

        Raises
        ------
        ModelError
            If the model's answer is none.
        """
        value: Any = rows
        for call in self._calls:
            value = call(value)
        try:
            outputs = self.predictor._named(value, len(rows))
            return {name: self._sound(name, outputs[name]) for name in self.outputs}
        except InputError as error:  # of what came out of the model: its caller is not to blame
            raise ModelError(str(error)) from error

    def _sound(self, name: str, output: Array) -> Array:
        spec = self.outputs[name]
        if spec.labels is not None:
            return self.predictor._checked(spec, output)
        if output.dtype.kind in "fc" and not np.isfinite(output).all():
            bad = tuple(int(i) for i in np.argwhere(~np.isfinite(output))[0])
            raise InputError(f"{self.name}: expected finite {name!r}, the model gave {output[bad]} in row {bad[0]}")
        return output

    # -- on the loop's thread ----------------------------------------------------------------

    def deadline(self, arrived: float, asked_ms: float | None) -> float | None:
        """Return when an answer is due: what the request asks for, the settings' time at most."""
        times = [ms for ms in (self.settings.deadline_ms, asked_ms) if ms is not None]
        return arrived + min(times) / 1000 if times else None

    def refuse_if_full(self) -> None:
        """Raise the refusal of a request that the queue has no room for."""
        if not self.batcher.has_room():
            raise self._full(f"{len(self.batcher)} requests wait")

    def _full(self, why: str) -> Refusal:
        return Refusal(503, f"{self.name} has more to do than it can: {why}; try again later", RETRY)

    async def ask(self, rows: Array, deadline: float | None, receive: Receive) -> Outputs:
        """Return the outputs for checked rows when their turn has come.

        Parameters
        ----------
        rows : numpy.ndarray of shape (n, ...)
        deadline : float or None
            On the clock of `time.monotonic`.
        receive : callable
            The request's: it tells when the client has gone.

        Raises
        ------
        Refusal
            400 if the rows are at fault, 500 the model, 503 if there is no room, 504 if the deadline passed.
        LeftError
            If the client has gone; its rows don't run if they have not begun.
        """
        loop = asyncio.get_running_loop()
        is_quick = self._is_quick(rows, deadline)
        try:
            job = self.batcher.put(rows, deadline=deadline, waiter=loop.create_future(), wake=not is_quick)
        except QueueFullError as error:
            raise self._full(str(error)) from error
        except ClosedError as error:
            raise Refusal(503, str(error), RETRY) from error
        try:
            if is_quick:
                await self._answer_here(job)
            if job.state != "done":
                await self._wait(job, receive)
        except asyncio.CancelledError:
            self.batcher.drop(job)
            raise
        return self._outputs(job)

    async def _wait(self, job: Job, receive: Receive) -> None:
        """Wait until a worker has answered, the deadline has passed or the client has gone."""
        loop = asyncio.get_running_loop()
        watch: list[asyncio.Task[None]] = []
        timer = loop.call_later(PATIENCE_S, lambda: watch.append(loop.create_task(self._watch(job, receive))))
        try:
            await job.waiter
        finally:
            timer.cancel()
            for task in watch:
                task.cancel()

    async def _answer_here(self, job: Job) -> None:
        """Answer what waits on the loop's thread, `job` among it, as long as the model is free; else wake a worker.

        Whoever else is there already goes along: the first of them that comes to its turn answers for all.
        """
        while job.state == "queued":
            await asyncio.sleep(0)
            if job.state != "queued":
                return
            done = self.batcher.step_here(max(1, int(PATIENCE_S / self._row_s)))
            if not done:
                return self.batcher.wake()
            deliver([other for other in done if other is not job])

    def _is_quick(self, rows: Array, deadline: float | None) -> bool:
        """Whether a request may be answered on the loop's thread, where its call keeps others out."""
        if not self._may_be_quick or self._call_s > QUICK_S or len(rows) > _QUICK_ROWS or self.settings.max_wait_ms:
            return False
        return deadline is None or deadline - time.monotonic() > PATIENCE_S

    async def _watch(self, job: Job, receive: Receive) -> None:
        """Give a job up when its deadline passes or its client goes, whichever comes first."""
        left = None if job.deadline is None else job.deadline - time.monotonic()
        error: Exception = LeftError()
        try:
            async with asyncio.timeout(left):
                if (await receive())["type"] != "http.disconnect":
                    await asyncio.Event().wait()
        except TimeoutError:
            waited = "before the model was free" if job.state == "queued" else "while the model was at work"
            error = ExpiredError(f"the deadline passed {waited}")
        self.batcher.drop(job)
        if not job.waiter.done():
            job.error = error
            job.waiter.set_result(None)

    def _outputs(self, job: Job) -> Outputs:
        """Return a job's outputs, or raise what a client is told instead."""
        match job.error:
            case None:
                assert job.outputs is not None
                return job.outputs
            case LeftError() as error:
                raise error
            case ExpiredError() as error:
                raise Refusal(504, f"{self.name}: {error}; allow more time, or send less at once")
            case ClosedError() as error:
                raise Refusal(503, str(error), RETRY)
            case InputError() as error:
                raise Refusal(400, str(error))
            case ModelError() as error:
                _log.error("%s", error)
                raise Refusal(500, str(error))
            case error:  # its words may name files of this machine: they go to the log alone
                _log.error("%s raised %s", self.name, type(error).__name__, exc_info=error)
                raise Refusal(500, f"{self.name} raised {type(error).__name__}; the server's log says more")


def _runs_no_code_of_others(predictor: Predictor) -> bool:
    """Whether model and steps are of kinds whose calls all take the same time, and never wait for anything."""
    steps = (*predictor.preprocess, *predictor.postprocess)
    return predictor.backend.kind in _QUICK_KINDS and all(type(step) in SAVABLE.values() for step in steps)


def deliver(jobs: list[Job]) -> None:
    """Wake those who wait for jobs: one call for each event loop, which as a rule is one."""
    for loop in {job.waiter.get_loop() for job in jobs}:
        with suppress(RuntimeError):  # a loop that was closed has nobody left who waits
            loop.call_soon_threadsafe(_settle, [job for job in jobs if job.waiter.get_loop() is loop])


def _settle(jobs: Iterable[Job]) -> None:
    for job in jobs:
        if not job.waiter.done():
            job.waiter.set_result(None)
