"""The run itself: rows in, answers out, in order; what is finished is kept, part by part."""

import csv
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import numpy as np

from .._base import InputError, ProgressLine
from ._answer import Answer, Answered, Task
from ._checkpoint import Checkpoint, put_in_place
from ._collect import Labels, Part, Store, hashed
from ._result import Rejected
from ._rows import Block, recut
from ._sink import Sink, count_duplicates, load_memory, write_part, write_rejected, write_whole
from ._source import Source, checksums

SHOWN = 1000
"""Rejected rows that a result carries."""
ENOUGH_TO_JUDGE = 1000
"""Rows, before a run is stopped for rejecting too many."""
Engine = Callable[[Callable[[Task], Answered], Iterable[Task]], Iterator[Answered]]


class Waiting(NamedTuple):
    """What is remembered of a task that is under way."""

    n: int
    ids: Any
    mark: Any
    share: float | None
    crc: list[int] | None


@dataclass
class Job:
    """One run: what it works with, and how far it is.

    Parameters
    ----------
    source : Source
    sink : Sink
    answer : Answer
    labels : dict
        Of the outputs that are probabilities.
    id_column : str or None
    rows_per_task, rows_per_part : int
    checkpoint : Checkpoint or None
    store : Store or None
        Where the answers go if there is no checkpoint.
    """

    source: Source
    sink: Sink
    answer: Answer
    labels: Labels
    id_column: str | None
    rows_per_task: int
    rows_per_part: int
    checkpoint: Checkpoint | None
    store: Store | None
    max_rejected: float = 1.0
    ids: list[Any] = field(default_factory=list)
    n_rows: int = 0
    n_rejected: int = 0
    n_resumed: int = 0
    rejected: list[Rejected] = field(default_factory=list)

    def run(self, engine: Engine, first: list[Block], max_rejected: float, line: ProgressLine) -> None:
        """Answer all rows that are not answered yet.

        Parameters
        ----------
        engine : callable
        first : list of Block
            What was read of a stream already.
        max_rejected : float
        line : ProgressLine
        """
        self.max_rejected = max_rejected
        self._take_up()
        waiting: deque[Waiting] = deque()
        pace = Pace(self.n_resumed, self.source.n_rows)
        with closing(engine(self.answer, self._tasks(waiting, first))) as results:  # type: ignore[type-var]
            part = Part()
            for answered in results:
                task = waiting.popleft()
                if answered.n_rows != task.n:
                    raise RuntimeError(f"the engine gave {answered.n_rows} answers for {task.n} rows")
                self._count(answered, task.ids)
                if self.checkpoint is None:
                    self._remember(answered, task.ids)
                else:
                    part.add(answered, task.ids)
                    if part.n == self.rows_per_part:
                        self._keep(part, task)
                        part = Part()
                if self.n_rows % self.rows_per_part == 0:
                    self._judge()
                line.show(pace.words(self.n_rows, task.share))
        if self.checkpoint is not None and part.n:
            self._keep(part, task)
        self._judge(last=True)

    def _tasks(self, waiting: deque[Waiting], first: list[Block]) -> Iterator[Task]:
        n, mark = self._start()
        blocks = chain(first, self.source.read(self.rows_per_task, n, mark))
        running: dict[str, int] = {}
        for block in recut(blocks, self.rows_per_task):
            n += len(block)
            crc = checksums(block.values, running) if self.source.checked and self.checkpoint is not None else None
            if crc is not None and n - len(block) < self.n_resumed:
                self._compare(n, crc)
                continue
            waiting.append(Waiting(len(block), block.ids, block.mark, block.share, crc))
            yield Task(block.values, block.bad)
        if n < self.n_resumed:
            raise self._other_rows(n)

    # -- what is kept --------------------------------------------------------------------------

    def _start(self) -> tuple[int, Any]:
        """Return where to begin reading. A stream is read from its beginning: it has to be the same one."""
        if self.checkpoint is None or not self.checkpoint.parts or self.source.checked:
            return 0, None
        return self.n_resumed, self.checkpoint.parts[-1]["mark"]

    def _take_up(self) -> None:
        """Count what an earlier run has finished."""
        if self.checkpoint is None:
            return
        self.n_rows = self.n_resumed = sum(marker["rows"] for marker in self.checkpoint.parts)
        self.n_rejected = self.n_rows - sum(marker["answered"] for marker in self.checkpoint.parts)
        for path in self.checkpoint.files(".rejected.csv"):
            with path.open(encoding="utf-8", newline="") as f:
                for row, *name, reason in csv.reader(f):
                    if len(self.rejected) == SHOWN:
                        return
                    self.rejected.append(Rejected(int(row), name[0] if name else int(row), reason))

    def _compare(self, n: int, crc: list[int]) -> None:
        """Raise if a stream gives other rows than it gave the run before."""
        assert self.checkpoint is not None
        number = (n - 1) // self.rows_per_part
        at_end = n == min((number + 1) * self.rows_per_part, self.n_resumed)
        if n > self.n_resumed or (at_end and crc != self.checkpoint.parts[number]["crc"]):
            raise self._other_rows(n)

    def _other_rows(self, n: int) -> InputError:
        assert self.checkpoint is not None
        return InputError(
            f"the stream gives other rows than before (among the first {n:,}), so the run cannot go on; give the same "
            f"ones again, or delete {str(self.checkpoint.folder)!r} to begin anew"
        )

    def _keep(self, part: Part, task: Waiting) -> None:
        assert self.checkpoint is not None
        first = self.n_rows - part.n
        with self.checkpoint.part() as (stem, marker):
            marker |= write_part(stem, part, first, self.sink.format, self.id_column, self.labels)
            marker |= {"mark": task.mark, "crc": task.crc}
            self._same_columns(marker)

    def _same_columns(self, marker: dict[str, Any]) -> None:
        assert self.checkpoint is not None
        before = next((some["columns"] for some in self.checkpoint.parts if "columns" in some), None)
        if before is not None and marker.get("columns", before) != before:
            raise InputError(f"the model gave other outputs than before: expected {before}, got {marker['columns']}")

    def _remember(self, answered: Answered, ids: Any) -> None:
        assert self.store is not None
        self.store.add(answered)
        if ids is not None:
            self.ids += ids.tolist() if isinstance(ids, np.ndarray) else ids

    def _count(self, answered: Answered, ids: Any) -> None:
        for row, reason in answered.rejected:
            if len(self.rejected) < SHOWN:
                number = self.n_rows + row
                self.rejected.append(Rejected(number, number if ids is None else ids[row], reason))
        self.n_rows += answered.n_rows
        self.n_rejected += len(answered.rejected)
        if self.n_rejected == self.n_rows >= ENOUGH_TO_JUDGE and self.max_rejected < 1:
            self._give_up()

    def _judge(self, *, last: bool = False) -> None:
        if last and self.n_rows == 0:
            raise InputError(f"{self.source.name}: expected at least one row, got none")
        if last and self.n_rejected == self.n_rows:
            self._give_up()
        if self.n_rejected > self.max_rejected * self.n_rows and (last or self.n_rows >= ENOUGH_TO_JUDGE):
            self._give_up()

    def _give_up(self) -> None:
        told = "; ".join(f"row {one.row:,}: {one.reason}" for one in self.rejected[:3])
        raise InputError(
            f"{self.n_rejected:,} of {self.n_rows:,} rows were rejected, and max_rejected is {self.max_rejected:g}: "
            f"{told}. Does this source go with this predictor, in these columns and units?"
        )


class Pace:
    """How fast a run is, and how long it will take."""

    def __init__(self, before: int, n_rows: int | None) -> None:
        self._before, self._n_rows = before, n_rows
        self._start = monotonic()

    def words(self, done: int, share: float | None) -> str:
        """Say how many rows are done, how many a second, and what time is left."""
        seconds = max(monotonic() - self._start, 1e-9)
        rate = (done - self._before) / seconds
        total = self._n_rows or (done / share if share else None)
        if total is None:
            return f"{done:,} rows, {rate:,.0f} a second"
        of = f"{done:,} of {total:,}" if self._n_rows else f"{done:,} of about {total:,.0f}"
        return f"{of} rows, {rate:,.0f} a second, {max(0.0, total - done) / rate:,.0f} s left"


def finish(job: Job) -> dict[str, Any]:
    """Make of the finished rows what the caller asked for; return what the result says of it."""
    if job.sink.path is not None:
        return {"duplicate_ids": _write(job, job.sink.path)}
    store = job.store
    if job.checkpoint is not None:
        store = Store(job.n_rows, job.sink.array)
        job.ids = list(load_memory(job.checkpoint, store))
    assert store is not None
    if job.sink.array is not None and store.n != len(job.sink.array):
        raise InputError(f"sink: expected an array of {store.n:,} rows, as the source has, got {len(job.sink.array):,}")
    if job.checkpoint is not None:
        job.checkpoint.clear()
    arrays = store.arrays
    answers = arrays if len(arrays) > 1 else next(iter(arrays.values()))
    ids = job.ids if job.id_column is not None else None
    again = 0 if ids is None else len(ids) - len(np.unique(hashed(ids)))
    return {"answers": answers, "ok": store.ok, "ids": ids, "duplicate_ids": again}


def _write(job: Job, path: Path) -> int:
    """Write the files, the one for rejected rows first; return how many ids occurred before."""
    assert job.checkpoint is not None
    assert job.sink.rejected_path is not None
    whole, rejected = (target.with_name(f".{target.name}.whole") for target in (path, job.sink.rejected_path))
    try:
        write_whole(job.checkpoint, job.sink.format, whole)
        write_rejected(job.checkpoint, job.id_column, rejected)
        put_in_place(rejected, job.sink.rejected_path)
        put_in_place(whole, path)
    finally:
        whole.unlink(missing_ok=True)
        rejected.unlink(missing_ok=True)
    again = count_duplicates(job.checkpoint)
    job.checkpoint.clear()
    return again
