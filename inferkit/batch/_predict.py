"""`predict_batch`: a whole table at once, in constant memory, each row exactly once."""

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from .._base import InputError, ProgressLine
from ..benchmark import ThroughputResult
from ..devices import describe
from ..predictor import ArraySpec, Predictor, TableSpec
from ._answer import ANSWERS, ONLY_NAMES, Answer
from ._checkpoint import VERSION, Checkpoint, Plan, open_checkpoint
from ._collect import Labels, Store
from ._convert import InputSpec
from ._fingerprint import fingerprint
from ._local import one_thread_each, ordered_map
from ._open import open_source
from ._result import BatchResult
from ._rows import Block, joined
from ._run import Engine, Job, finish
from ._sink import Sink, open_sink
from ._size import LARGEST, find_size, whole_number
from ._source import Source

ROWS_PER_PART = 65_536
_SAMPLE_BYTES = 32_000_000
_UNKNOWN_ROWS = 1_000_000  # what a stream is taken to hold when it is settled how long to measure
TASK_BYTES = 8_000_000
"""Rows are handed to workers in tasks of about so many bytes, and of whole batches."""
TASK_ROWS = 4096
_SIDE_BY_SIDE = ("litert", "onnx", "sklearn", "posterior", "http")
"""Kinds of models that several threads may call at once. A function of yours may not be made for it."""
EngineName = Literal["local", "dask"]


def predict_batch(
    predictor: Predictor,
    source: Any,
    sink: Any = None,
    *,
    answer: Literal["predict", "predict_proba", "outputs"] = "predict",
    batch_size: int | Literal["auto"] = "auto",
    engine: EngineName = "local",
    n_workers: int | None = None,
    address: str | None = None,
    columns: Sequence[str] | Mapping[str, str] | None = None,
    id_column: str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_rows: int = ROWS_PER_PART,
    max_rejected: float = 0.5,
    progress: bool = True,
) -> BatchResult:
    """Answer every row of a table, in constant memory, each exactly once and in order.

    Parameters
    ----------
    predictor : Predictor
    source : array, data frame, dict of columns, list of texts, iterator of these, or path
        A path names a ``.csv``, ``.parquet`` or ``.npy`` file, a folder or a glob of CSV or Parquet files, which
        are read in the order of their names. An array may be memory-mapped. CSV is read as UTF-8 text, parted by
        commas; the contract says which columns are numbers.
    sink : None, array or path
        None returns the answers. An array is filled. ``.npy`` takes one output; ``.csv`` and ``.parquet`` get a
        column for the row's id or number, and one for each answer: they have no line for a rejected row. A file
        appears whole or not at all.
    answer : {"predict", "predict_proba", "outputs"}
        Labels or values; probabilities; or every output by its name.
    batch_size : int or "auto"
        Rows in one call of the model. "auto" measures it (see `batch_size_curve`), for about a two-hundredth of the
        time that the answers will take.
    engine : {"local", "dask"}
        Threads, or Dask's workers: the same bytes.
    n_workers : int, optional
        Threads or processes. As many as there are cores if not given, but one thread for a model that may not
        be called by several: Keras, and functions of your own.
    address : str, optional
        Of a Dask scheduler that runs already.
    columns : sequence or dict of str, optional
        Which columns to take, in order, or new names for some: ``{"Monthly Charges": "monthly_charge"}``. A table
        takes those of its contract by name, and leaves the others; an array takes all but `id_column`.
    id_column : str, optional
        Names the rows, here and in the output. Ids need not be unique; how many occur again is counted.
    checkpoint : path-like, optional
        Folder for what is finished. For a file it lies beside it, hidden, if not given; for answers in memory there
        is none. The same call goes on from there, on any engine. It is removed at the end.
    checkpoint_rows : int, default=65536
        Rows in one part of the checkpoint, rounded down to whole batches. A crash costs no more than these.
    max_rejected : float, default=0.5
        The run stops with an error if more than this share of the rows so far is rejected, at the end of a part (of
        1,000 rows or more) or of all; and if no row at all can be answered, after 1,000 rows unless it is 1.
    progress : bool, default=True
        Show rows done, rows a second and the time left.

    Returns
    -------
    BatchResult

    Raises
    ------
    InputError
        If an argument does not fit, a file is damaged, or too many rows are rejected.
    RuntimeError
        If another run works on the same checkpoint.
    OSError
        If a file cannot be read or written, the disk is full, or the model cannot be reached.

    Notes
    -----
    A row that breaks the contract, that the model cannot answer, or for which it gives NaN or infinity is rejected
    with a reason; the others in its batch are answered. The file ``<sink>.rejected.csv`` lists such rows, and is
    written even if there are none.

    Batches are cut at the same rows whatever the engine, the number of workers or a crash, and so the output has
    the same bytes. With ``batch_size="auto"`` two runs may choose different sizes; LiteRT gives the same bits for
    any, scikit-learn may differ in the last one. `BatchResult.batch_size` says which it was.

    While several threads answer, NumPy's linear algebra uses one thread in each call, in the whole process: it would
    take the cores of the others.

    Examples
    --------
    >>> from inferkit.datasets import load_digits
    >>> from inferkit.predictor import digit_reader
    >>> pictures = load_digits().images
    >>> pictures[2, 0, 0] = 99
    >>> result = predict_batch(digit_reader(), pictures, progress=False)
    >>> result.answers[:2].tolist(), result.ok[:3].tolist()
    ([0, 1], [True, True, False])
    >>> result.rejected[0]
    Rejected(row=2, id=2, reason='expected values from 0 to 16 ink, got 99 at index (0, 0, 0)')
    """
    start = perf_counter()
    _check(predictor, answer, batch_size, engine, n_workers, address, checkpoint_rows, max_rejected)
    labels = output_labels(predictor, answer)
    rows = open_source(source, columns, id_column, predictor)
    where = open_sink(sink, rows.files, list(labels))
    folder = Path(checkpoint) if checkpoint is not None else _beside(where)
    workers = n_workers or (_threads(predictor) if engine == "local" else None)
    with ExitStack() as stack:
        if engine == "local" and (workers or 1) > 1:
            stack.enter_context(one_thread_each())
        kept = None if folder is None else stack.enter_context(open_checkpoint(folder))
        plan: Plan = {"batch_size": None if batch_size == "auto" else batch_size, "checkpoint_rows": checkpoint_rows}
        if kept is not None:
            about = {"answer": answer, "format": where.format, "id_column": id_column, "columns": _plain(columns)}
            plan |= about | {"version": VERSION, "source": rows.fingerprint(), "predictor": fingerprint(predictor)}
            plan = kept.resume(plan)
        first, curve = _settle_size(plan, Answer(predictor, answer, 1), rows, workers or 1)
        if kept is not None and not kept.parts:
            kept.write_plan(plan)
        job = _job(plan, rows, where, Answer(predictor, answer, plan["batch_size"]), labels, id_column, kept)
        try:
            with ProgressLine(progress, after_s=1) as line:
                job.run(_engine(engine, workers, address), first, max_rejected, line)
            found = finish(job)
        except BaseException as error:
            if kept is not None and kept.parts:
                done = sum(marker["rows"] for marker in kept.parts)
                error.add_note(
                    f"{done:,} rows are finished and kept in {str(folder)!r}: the same call goes on from there."
                )
            raise
    return BatchResult(
        job.n_rows, job.n_rejected, tuple(job.rejected), plan["batch_size"], perf_counter() - start, engine,
        workers, sink=where.path, rejected_path=where.rejected_path, curve=curve, n_resumed=job.n_resumed, **found,
    )  # fmt: skip


def _check(
    predictor: Any, answer: Any, batch_size: Any, engine: Any, n_workers: Any, address: Any, checkpoint_rows: Any,
    max_rejected: Any,
) -> None:  # fmt: skip
    if not isinstance(predictor, Predictor):
        raise InputError(f"predictor: expected a Predictor, got {type(predictor).__name__}; wrap it: Predictor(model)")
    if answer not in ANSWERS:
        raise InputError(f"answer: expected one of {', '.join(ANSWERS)}, got {answer!r}")
    if engine not in ("local", "dask"):
        raise InputError(f"engine: expected 'local' or 'dask', got {engine!r}")
    if address is not None and engine != "dask":
        raise InputError("address: only Dask has one; add engine='dask', or leave it out")
    if batch_size != "auto":
        whole_number("batch_size", batch_size)
    if n_workers is not None:
        whole_number("n_workers", n_workers)
    whole_number("checkpoint_rows", checkpoint_rows)
    if isinstance(max_rejected, bool) or not isinstance(max_rejected, int | float) or not 0 <= max_rejected <= 1:
        raise InputError(f"max_rejected: expected a share from 0 to 1, got {max_rejected!r}")


def output_labels(predictor: Predictor, answer: str) -> Labels:
    """Return the names of the answers, and the labels of those that are probabilities."""
    specs = predictor.signature.outputs
    if answer == "outputs":
        return {spec.name: spec.labels for spec in specs}
    if answer == "predict_proba":
        specs = tuple(spec for spec in specs if spec.kind == "probabilities")
        if not specs:
            raise InputError(
                f"answer: {predictor.name} gives no probabilities; ask for answer='predict', or, if its columns are "
                "probabilities, say what they stand for: Predictor(model, labels=[...])"
            )
    known = {spec.name: spec.labels if answer == "predict_proba" else None for spec in specs}
    return known if len(known) > 1 else {ONLY_NAMES[answer]: next(iter(known.values()))}


def _beside(where: Sink) -> Path | None:
    return None if where.path is None else where.path.with_name(f".{where.path.name}.checkpoint")


def _plain(columns: Any) -> Any:
    return dict(columns) if isinstance(columns, Mapping) else None if columns is None else list(columns)


def _threads(predictor: Predictor) -> int:
    if predictor.backend.kind not in _SIDE_BY_SIDE:
        return 1
    return max(1, round(describe().cores_granted) // int(getattr(predictor.backend.model, "num_threads", 1)))


def row_bytes(spec: InputSpec) -> int:
    """Return about how much memory a row takes."""
    if isinstance(spec, ArraySpec):
        return 8 * math.prod(n or 256 for n in spec.shape)
    return 100 * len(spec.columns) if isinstance(spec, TableSpec) else 1000


def _settle_size(plan: Plan, answer: Answer, rows: Source, workers: int) -> tuple[list[Block], ThroughputResult | None]:
    """Find the batch size if none is given; return what was read for it of a stream, and the curve."""
    if plan["batch_size"] is not None:
        return [], None
    most = max(1, min(LARGEST, _SAMPLE_BYTES // row_bytes(answer.predictor.signature.input)))
    enough = min(most, max(256, rows.n_rows // 50 if rows.n_rows else 4096))
    blocks: list[Block] = []
    with closing(rows.read(enough, 0, None)) as reading:  # type: ignore[type-var]
        for block in reading:
            blocks.append(block)
            if sum(map(len, blocks)) >= enough:
                break
    if not blocks:
        raise InputError(f"{rows.name}: expected at least one row, got none")
    first = joined(blocks)
    n_rows = rows.n_rows or (len(first) / first.share if first.share else _UNKNOWN_ROWS)
    plan["batch_size"], curve = find_size(answer, first.values, first.bad, n_rows, workers, most)
    return blocks if rows.checked else [], curve


def _job(
    plan: Plan,
    rows: Source,
    where: Sink,
    answer: Answer,
    labels: Labels,
    id_column: str | None,
    kept: Checkpoint | None,
) -> Job:
    size = answer.batch_size
    batches = max(1, plan["checkpoint_rows"] // size)
    most = min(TASK_ROWS, TASK_BYTES // row_bytes(answer.predictor.signature.input)) // size
    tasks = -(-batches // max(1, most))
    at_once = batches // tasks
    batches = at_once * tasks  # a part is of whole tasks
    store = Store(rows.n_rows, where.array) if kept is None else None
    return Job(rows, where, answer, labels, id_column, at_once * size, batches * size, kept, store)


def _engine(name: str, workers: int | None, address: str | None) -> Engine:
    window = 2 * (workers or 16) + 8  # enough that one slow thread does not make the others wait for it
    if name == "dask":
        from ._dask import ordered_map as on_dask

        return lambda function, tasks: on_dask(function, tasks, n_workers=workers, address=address, window=window)
    return lambda function, tasks: ordered_map(function, tasks, n_workers=workers or 1, window=window)
