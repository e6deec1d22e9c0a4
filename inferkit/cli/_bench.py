"""``inferkit bench``: a model's latency, throughput and memory, on one thread unless told otherwise."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .._base import InputError, ModelFileError, sha256
from ..benchmark import (
    ChildError,
    LatencyResult,
    measure_latency,
    measure_memory,
    run_in_child,
    samples_needed,
    time_words,
)
from ..models import LiteRTModel
from ..predictor import Predictor
from . import _inputs
from ._inputs import only_array
from ._output import columns, deliver, note, results_only
from ._runtime import Bare, Shape, first_line, kind_of, onnx_session, open_bare, use_tensorflow_threads

INTERRUPTED = 130


@dataclass(frozen=True)
class Job:
    """What is to be measured.

    Parameters
    ----------
    runtime : str
    how : str
        What a call is, for people.
    measure : callable
        Takes `measure_latency`'s settings, gives its result.
    batch_size : int
        Rows in a call.
    inputs : list of dict
        Name, shape and type of each input of a call.
    words : str
        What the values are.
    peak_mb : callable
        Gives the peak memory of a process that answers once.
    notes : tuple of str
    """

    runtime: str
    how: str
    measure: Callable[..., LatencyResult]
    batch_size: int
    inputs: list[dict[str, Any]]
    words: str
    peak_mb: Callable[[], float]
    notes: tuple[str, ...] = ()


def run(options: argparse.Namespace) -> int:
    """Measure and tell; return the exit code."""
    with results_only(options.json):
        path = Path(options.model)
        prepare = _prepare_predictor if kind_of(path) == "predictor" else _prepare_file
        job = prepare(path, options)
        with _own_words(job, options):
            result = job.measure(n=options.n, max_seconds=options.seconds, warmup=options.warmup, name=path.name)
        result = replace(result, batch_size=job.batch_size)
        peak, why, interrupted = _memory(job, skip=options.no_memory or result.stopped == "interrupt")
        notes = [*job.notes, *result.notes, *([why] if why else [])]
        plain = _plain(options, job, result, peak, notes)
        table = _table(options, job, result, peak, notes)
        if options.json == "-":
            for text in notes:
                note(text)
    deliver(options.json, plain, table)
    return INTERRUPTED if interrupted or result.stopped == "interrupt" else 0


@contextmanager
def _own_words(job: Job, options: argparse.Namespace) -> Iterator[None]:
    """Turn what a runtime raises at a call into an error that names the model."""
    try:
        yield
    except (InputError, ModelFileError, OSError):
        raise
    except Exception as error:  # each runtime raises its own
        shapes = ", ".join(f"{one['name']} {one['dtype']} {tuple(one['shape'])}" for one in job.inputs)
        raise InputError(
            f"{options.model} does not answer {shapes}: {first_line(error)}. Give --shape or --input"
        ) from error


def _memory(job: Job, *, skip: bool) -> tuple[float | None, str | None, bool]:
    """Return the peak in megabytes, or why there is none, and whether somebody interrupted."""
    if skip:
        return None, None, False
    try:
        return job.peak_mb(), None, False
    except KeyboardInterrupt:
        return None, "memory was not measured: it was interrupted", True
    except (InputError, ChildError, TimeoutError) as error:
        return None, f"memory was not measured: {first_line(error)}", False


# -- a model file ------------------------------------------------------------------------------------


def _prepare_file(path: Path, options: argparse.Namespace) -> Job:
    bare = open_bare(path, options.threads)
    feed = _feed(bare, options)
    with _fitting(path, feed.shapes):
        bare.fit(feed.shapes)
    call = bare.call

    def measure(**settings: Any) -> LatencyResult:
        return measure_latency(lambda turn: call(turn[0]), feed.calls, **settings)

    inputs = [
        {"name": one.name, "shape": list(shape), "dtype": one.dtype.name}
        for one, shape in zip(bare.inputs, feed.shapes, strict=True)
    ]
    job = [str(path), options.threads, [list(shape) for shape in feed.shapes]]

    def peak_mb() -> float:
        return run_in_child(_answer_once, *job).peak_mb

    return Job(bare.runtime, bare.how, measure, feed.batch_size, inputs, feed.words, peak_mb, feed.notes)


def _feed(bare: Bare, options: argparse.Namespace) -> _inputs.Feed:
    given = _inputs.parse_shapes(options.shape, bare.inputs)
    if options.input is not None:
        return _inputs.file_feed(bare.inputs, _inputs.load_arrays(options.input), options.batch_size, given)
    shapes, rows = _inputs.call_shapes(bare.inputs, options.batch_size, given)
    return _inputs.random_feed(bare.inputs, shapes, rows, given, np.random.default_rng(options.seed))


@contextmanager
def _fitting(path: Path, shapes: Sequence[Shape]) -> Iterator[None]:
    try:
        yield
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{path} cannot take the shapes {list(shapes)}: {first_line(error)}") from error


def _answer_once(path: str, threads: int, shapes: list[list[int]]) -> None:
    import pathlib

    import numpy

    from inferkit.cli import _runtime

    bare = _runtime.open_bare(pathlib.Path(path), threads)
    arrays = [numpy.ones(shape, one.dtype) for one, shape in zip(bare.inputs, shapes, strict=True)]
    bare.fit([tuple(shape) for shape in shapes])
    bare.call(arrays)


# -- a saved predictor -------------------------------------------------------------------------------


def _prepare_predictor(path: Path, options: argparse.Namespace) -> Job:
    if options.shape:
        raise InputError("--shape: a saved predictor says itself what it takes; leave it out")
    predictor = with_threads(Predictor.load(path), options.threads)
    size = options.batch_size or 1
    spec = predictor.signature.input
    if options.input is None:
        rows = _inputs.random_rows(spec, max(size, 32), np.random.default_rng(options.seed))
        words = _inputs.describe_rows(spec)
    else:
        rows, words = only_array(options.input), "given"
        predictor.signature.input.check(rows[:1])  # what the contract says against it is said before the clock runs
    kind = predictor.backend.kind

    def measure(**settings: Any) -> LatencyResult:
        return measure_latency(predictor, rows, batch_size=size, **settings)

    def peak_mb() -> float:
        return measure_memory(path, rows[:size]).peak_mb

    inputs = [{"name": "rows", "shape": list(np.shape(rows[:size])), "dtype": _type_of(rows)}]
    how = "predict_one" if size == 1 else "predict"
    return Job(kind, f"{how} of the predictor, with its preparation and checks", measure, size, inputs, words, peak_mb)


def _type_of(rows: Any) -> str:
    return rows.dtype.name if isinstance(rows, np.ndarray) else type(rows[0]).__name__


def with_threads(predictor: Predictor, threads: int) -> Predictor:
    """Return the same predictor over a runtime that uses so many threads.

    Scikit-learn's estimators stay as they are: they have no threads of their own to set at a call.
    """
    backend: Any = predictor.backend
    if backend.kind == "keras":
        use_tensorflow_threads(threads)
        return predictor
    if backend.kind == "litert":
        old = backend.model
        model: Any = LiteRTModel(old.content, num_threads=threads, signature=old.signature, dequantize=old.dequantize)
    elif backend.kind == "onnx":
        model = onnx_session(backend.content, threads, predictor.name)
    else:
        return predictor
    return Predictor(
        model,
        preprocess=predictor.preprocess,
        postprocess=predictor.postprocess,
        signature=predictor.signature,
        name=predictor.name,
    )


# -- what is told ------------------------------------------------------------------------------------


def _plain(
    options: argparse.Namespace, job: Job, result: LatencyResult, peak: float | None, notes: list[str]
) -> dict[str, Any]:
    measured = result.to_dict()
    times = {name: measured[name] for name in measured if name.startswith(("p50", "p90", "p99"))}
    return {
        "model": options.model,
        "model_sha256": sha256(Path(options.model)),
        "size_bytes": Path(options.model).stat().st_size,
        "runtime": job.runtime,
        "call": job.how,
        "inputs": job.inputs,
        **times,
        "n": result.n,
        "stopped": result.stopped,
        "first_call_ms": measured["first_call_ms"],
        "throughput_rows_per_s": result.rows_per_s,
        "peak_memory_mb": peak,
        "batch_size": job.batch_size,
        "threads": options.threads,
        "timer_overhead_ns": result.timer_ns,
        "busy": result.busy,
        "notes": notes,
        "stamp": result.stamp,
    }


def _table(options: argparse.Namespace, job: Job, result: LatencyResult, peak: float | None, notes: list[str]) -> str:
    stamp, first = result.stamp, result.first_call_ms
    threads = "1 thread" if options.threads == 1 else f"{options.threads} threads"
    head = f"{Path(options.model).name}: {job.runtime}, {threads}"
    shapes = ", ".join(f"{one['name']} {one['dtype']} {tuple(one['shape'])}" for one in job.inputs)
    rows = [
        ("call", job.how),
        ("input", f"{shapes}: {job.words}"),
        ("calls", f"{result.n:,} of {job.batch_size:,} {'row' if job.batch_size == 1 else 'rows'} each"),
        *(("first call", time_words(ms / 1e3)) for ms in [first] if ms is not None),
        *((f"p{q}", _percentile_words(result, q)) for q in (50, 90, 99)),
        ("throughput", _rate_words(result.rows_per_s)),
        ("memory", "–" if peak is None else f"{peak:,.0f} MB at the peak of a process that loads it and answers once"),
        ("timer", f"{result.timer_ns:.0f} ns, in every time above"),
        ("machine", f"{stamp.get('machine')}; {stamp.get('system')}"),
        *(("note", text) for text in notes),
    ]
    return head + "\n" + columns(rows, "  ")


def _rate_words(rows_per_s: float | None) -> str:
    if rows_per_s is None:
        return "–"
    return f"{rows_per_s:,.0f} rows a second" if rows_per_s >= 100 else f"{rows_per_s:.3g} rows a second"


def _percentile_words(result: LatencyResult, q: int) -> str:
    found = result.stated(q)
    if found is None:
        return f"–  (it takes {samples_needed(q):,} calls to state it)"
    low, high = ("?" if end is None else time_words(end / 1e3) for end in (found.low, found.high))
    return f"{time_words(found.value / 1e3)}  (95 % interval {low} to {high})"
