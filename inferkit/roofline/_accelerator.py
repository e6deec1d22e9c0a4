"""The course's models on an accelerator: what a batch costs there and on the way, and whether the answers hold."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._base import InputError, ProgressLine
from ..devices import busy_watch, describe, stamp
from ._accelerator_backend import Backend, one_line, open_backend
from ._accelerator_backend import NoAcceleratorError as NoAcceleratorError
from ._accelerator_networks import PRECISIONS, Build, Subject, chosen, prepare, tolerance
from ._accelerator_nuts import missing, sample, sees
from ._accelerator_record import AcceleratorRow, NutsRow
from ._accelerator_record import AcceleratorRun as AcceleratorRun

Clock = Callable[[], float]

_DISTINCT = 64  # rows that differ: enough for every layer to be tried, few enough for NumPy in float64
_SEED = 11
_SETTINGS = (
    "XLA_FLAGS", "TF_XLA_FLAGS", "JAX_PLATFORMS", "JAX_ENABLE_X64", "XLA_PYTHON_CLIENT_PREALLOCATE",
    "NVIDIA_TF32_OVERRIDE", "TF_ENABLE_ONEDNN_OPTS", "TF_FORCE_GPU_ALLOW_GROWTH", "CUDA_VISIBLE_DEVICES",
)  # fmt: skip


def accelerator_run(
    *,
    device: str | None = None,
    networks: Any = None,
    batch_sizes: Sequence[int] = (1, 8, 64, 512),
    precisions: Sequence[str] = ("float32", "bfloat16"),
    nuts: bool = True,
    rounds: int = 10,
    max_seconds: float = 120.0,
    progress: bool = True,
) -> AcceleratorRun:
    """Run the course's models on an accelerator, and check every answer against float64.

    Keras 3 computes, on JAX or on TensorFlow, whichever sees the device. For each network, precision and batch size
    the first call, which traces and compiles, is timed apart. Then each round times three things, each until it is
    really done: rows to the device, answers there, answers back. The rows go over in float32 and are rounded there.

    Parameters
    ----------
    device : {None, "gpu", "tpu", "cpu"}
        None takes an accelerator if there is one, else the processor: a rehearsal, and labelled so.
    networks : sequence of str, or dict of str to callable, optional
        Names of the course's networks (``"digits-cnn"``, ``"mobilenet-25"``, ``"mobilenet-50"``, ``"mobilenet-100"``,
        ``"transformer-block"``; all by default), or functions that build a Keras model, by name.
    batch_sizes : sequence of int, default (1, 8, 64, 512)
        Each once.
    precisions : sequence of str, default ("float32", "bfloat16")
        Of ``"float32"`` (products in full), ``"tensorfloat32"`` (the same weights; a GPU may round what it
        multiplies), ``"bfloat16"`` and ``"float16"`` (weights and activations).
    nuts : bool, default True
        Sample a Bayesian logistic regression by NumPyro too, on the device and on the processor.
    rounds : int, default 10
        Timed calls for each; from 6 on they bound the median.
    max_seconds : float, default 120
        What has not been begun by then is left out, and named.
    progress : bool, default True
        Show how far it has come.

    Returns
    -------
    AcceleratorRun
        Interrupting keeps what was measured, if there is something.

    Raises
    ------
    NoAcceleratorError
        If there is no such device, or its first computation fails.
    InputError
        If an argument is not of its kind.

    Notes
    -----
    The weights are Glorot's, drawn by NumPy from a seed. The reference is plain NumPy in float64: it shares no code
    with Keras. What lies further off than the precision explains is recorded as a failure.

    Examples
    --------
    >>> run = accelerator_run(device="cpu", networks=["digits-cnn"], batch_sizes=(8,), precisions=("float32",),
    ...                       nuts=False, rounds=6)
    >>> run.device_kind, run.failures
    ('cpu', ())
    """
    plan = _Plan.checked(networks, batch_sizes, precisions, rounds, max_seconds)
    backend = open_backend(device)
    return _run(backend, plan, nuts=nuts, progress=progress)


@dataclass(frozen=True)
class _Plan:
    """What is to be measured."""

    networks: dict[str, Build]
    batch_sizes: tuple[int, ...]
    precisions: tuple[str, ...]
    rounds: int
    max_seconds: float

    @classmethod
    def checked(cls, networks: Any, batch_sizes: Any, precisions: Any, rounds: Any, max_seconds: Any) -> _Plan:
        """Check what a caller asked for."""
        sizes, names = tuple(batch_sizes), (precisions,) if isinstance(precisions, str) else tuple(precisions)
        for size in (rounds, *sizes):
            if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
                raise InputError(f"batch_sizes, rounds: expected whole numbers above 0, got {size!r}")
        if not sizes or len(set(sizes)) != len(sizes):
            raise InputError(f"batch_sizes: expected one or more, each once, got {sizes}")
        if not names or len(set(names)) != len(names) or any(name not in PRECISIONS for name in names):
            raise InputError(f"precisions: expected some of {', '.join(PRECISIONS)}, each once, got {names!r:.80}")
        if isinstance(max_seconds, bool) or not isinstance(max_seconds, int | float) or not max_seconds > 0:
            raise InputError(f"max_seconds: expected a number of seconds above 0, got {max_seconds!r}")
        return cls(chosen(networks), tuple(map(int, sizes)), names, int(rounds), float(max_seconds))

    def cells(self) -> Iterator[tuple[str, str, int]]:
        """Give every network, precision and batch size."""
        for name in self.networks:
            for precision in self.precisions:
                for size in self.batch_sizes:
                    yield name, precision, size


@dataclass
class _Found:
    """What has been measured so far."""

    rows: list[AcceleratorRow] = field(default_factory=list)
    nuts: list[NutsRow] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    stopped: str = "n"


def _run(
    backend: Backend, plan: _Plan, *, nuts: bool, progress: bool, clock: Clock = time.perf_counter
) -> AcceleratorRun:
    """Measure everything that time allows on a backend."""
    found, deadline = _Found(), clock() + plan.max_seconds
    waiting = list(plan.cells())
    with busy_watch() as watch, ProgressLine(progress) as line:
        try:
            _measure_all(backend, plan, waiting, found, deadline, line, clock)
            if nuts:
                line.show("NUTS")
                _sample_all(backend, found, deadline, clock)
        except KeyboardInterrupt:
            if not found.rows:
                raise
            found.stopped = "interrupt"
    why = {"interrupt": "interrupted", "time": f"{plan.max_seconds:g} s were over"}.get(found.stopped, "")
    found.left_out[:0] = [f"{_label(*cell)}: {why}" for cell in waiting]
    whole = {**stamp(), "accelerator": _about(backend)}
    return AcceleratorRun(
        tuple(found.rows), tuple(found.nuts), whole, tuple(found.errors), tuple(found.left_out), watch.words,
        found.stopped,
    )  # fmt: skip


def _measure_all(
    backend: Backend, plan: _Plan, waiting: list[tuple[str, str, int]], found: _Found, deadline: float,
    line: ProgressLine, clock: Clock,
) -> None:  # fmt: skip
    """Take one cell after another off the list until time is over."""
    total, subject, call, ready_for = len(waiting), None, None, None
    while waiting:
        if clock() >= deadline:
            found.stopped = "time"
            return
        name, precision, size = cell = waiting[0]
        line.show(f"{_label(*cell)} ({total - len(waiting) + 1} of {total})")
        try:
            if subject is None or subject.name != name:
                subject = _subject(name, plan)
            if ready_for != (name, precision):
                call, ready_for = _ready(backend, subject, precision), (name, precision)
            found.rows.append(_row(backend, subject, call, precision, size, plan.rounds, deadline, clock))
        except InputError:
            raise
        except Exception as error:  # out of memory, or an operation that a device lacks in this precision
            found.errors.append(f"{_label(*cell)}: {one_line(error)}")
        waiting.pop(0)


def _subject(name: str, plan: _Plan) -> Subject:
    """Build a network and answer its rows in float64."""
    return prepare(name, plan.networks[name], min(_DISTINCT, max(plan.batch_sizes)), _SEED)


def _ready(backend: Backend, subject: Subject, precision: str) -> Callable[[Any], Any]:
    with backend.building():
        return backend.ready(subject.build(precision))


def _row(
    backend: Backend, subject: Subject, call: Any, precision: str, size: int, rounds: int, deadline: float,
    clock: Clock,
) -> AcceleratorRow:  # fmt: skip
    """Measure one network in one precision at one batch size."""
    rows = subject.batch(size)
    with backend.precision(precision):
        placed = backend.place(rows)
        start = clock()
        answer = call(placed)
        first = clock() - start
        if not backend.holds(answer):
            raise RuntimeError(f"the answers do not lie on {backend.device.name!r}: something else computed them")
        backend.fetch(call(placed))  # once more: what is set up late belongs to no round
        times: list[list[float]] = []
        while len(times) < rounds and not (times and clock() >= deadline):
            answer, *spent = _round(backend, call, rows, clock)
            times.append(spent)
    difference = subject.difference(answer)
    transfer, compute, back = (tuple(round(t, 9) for t in part) for part in zip(*times, strict=True))
    return AcceleratorRow(
        subject.name, precision, size, first, transfer, compute, back,
        difference if np.isfinite(difference) else None, tolerance(precision), subject.structure, subject.n_parameters,
    )  # fmt: skip


def _round(backend: Backend, call: Any, rows: Any, clock: Clock) -> tuple[Any, float, float, float]:
    """Return the answers of one call, and the seconds there, of the work, and back."""
    t0 = clock()
    placed = backend.place(rows)
    t1 = clock()
    there = call(placed)
    t2 = clock()
    answer = backend.fetch(there)
    return answer, t1 - t0, t2 - t1, clock() - t2


def _sample_all(backend: Backend, found: _Found, deadline: float, clock: Clock) -> None:
    """Sample on the device and on the processor, or say why not."""
    if why := missing():
        found.left_out.append(why)
        return
    for kind in dict.fromkeys((backend.device.kind, "cpu")):
        if not sees(kind):
            found.left_out.append(f"NUTS on {kind}: JAX, on which NumPyro runs, sees none")
            continue
        if clock() >= deadline:
            found.stopped = "time"
            found.left_out.append(f"NUTS on {kind}: no time was left")
            continue
        try:
            found.nuts.append(sample(kind, clock))
        except Exception as error:
            found.errors.append(f"NUTS on {kind}: {one_line(error)}")


def _label(name: str, precision: str, size: int) -> str:
    return f"{name}, {precision}, batch {size}"


def _about(backend: Backend) -> dict[str, Any]:
    """Return what a stamp says of the device and the backend."""
    drivers = [gpu.driver for gpu in describe().gpus if gpu.driver]
    settings = {name: os.environ[name] for name in _SETTINGS if name in os.environ}
    return {
        "backend": backend.name,
        "versions": backend.versions,
        "device_kind": backend.device.kind,
        "device_name": backend.device.name,
        "driver": drivers[0] if drivers and backend.device.kind == "gpu" else None,
        # a folder says something of its owner, and nothing of the speed
        "settings": {name: " ".join(w for w in value.split() if "/" not in w) for name, value in settings.items()},
    }
