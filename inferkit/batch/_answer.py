"""One task: answer a block of rows, batch by batch; a bad row is set aside and costs nobody else an answer."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .._base import InputError, MissingExtraError
from ..predictor import Predictor
from ._convert import shaped
from ._rows import Array, Values, count, cut, take

Positions = npt.NDArray[np.intp]
Pieces = list[tuple[Positions, Any]]
Reasons = list[tuple[int, str]]

ANSWERS = ("predict", "predict_proba", "outputs")
_FATAL = (OSError, MemoryError, MissingExtraError)
"""No fault of a row: a server that is gone, a machine that is full, a package that is missing."""


class Answered(NamedTuple):
    """What a task gives back.

    Parameters
    ----------
    outputs : dict of str to numpy.ndarray
        The answers of the rows that have one, in their order; empty if none has.
    rejected : list of (int, str)
        Position in the block and reason of every other row.
    """

    outputs: dict[str, Array]
    rejected: Reasons

    @property
    def n_rows(self) -> int:
        """Rows of the task."""
        return len(next(iter(self.outputs.values()), ())) + len(self.rejected)


class Task(NamedTuple):
    """What is sent to a worker: rows, and those of them that were bad already when they were read."""

    values: Values
    bad: dict[int, str]


class Answer:
    """The function that an engine maps over the tasks. It can be pickled if the predictor can.

    Parameters
    ----------
    predictor : Predictor
    answer : {"predict", "predict_proba", "outputs"}
    batch_size : int
        Rows in one call of the model.
    """

    def __init__(self, predictor: Predictor, answer: str, batch_size: int) -> None:
        self.predictor, self.answer, self.batch_size = predictor, answer, batch_size
        self._is_careful = False

    def __call__(self, task: Task) -> Answered:
        """Answer the rows of a task.

        Parameters
        ----------
        task : Task

        Returns
        -------
        Answered

        Raises
        ------
        OSError, MemoryError, MissingExtraError
            What is no fault of a row ends the run.
        """
        values, unreadable = shaped(task.values, self.predictor.signature.input)
        bad = unreadable | task.bad
        if not bad and not self._is_careful:
            whole = self._whole(values)
            if whole is not None:
                return whole
        outputs: list[dict[str, Array]] = []
        rejected = list(bad.items())
        n = count(values)
        for start in range(0, n, self.batch_size):
            answered, failed = self._batch(values, start, min(start + self.batch_size, n), bad)
            outputs += answered
            rejected += failed
        return Answered(_joined(outputs), sorted(rejected))

    def _whole(self, values: Values) -> Answered | None:
        """Answer all rows with one check before the model and one behind it; None if that fails, by the fault of a row.

        From then on batches are answered one by one, so that a bad row costs its own batch a second call and no other.
        """
        try:
            (outputs,), lost = _finite([(np.arange(count(values)), self.ask(values, self.batch_size))], [])
            return Answered(outputs, sorted(lost))
        except _FATAL as error:
            if not isinstance(error, MemoryError):
                raise
        except Exception:  # which row's fault it is, is found out batch by batch
            pass
        self._is_careful = True
        return None

    def _batch(
        self, values: Values, start: int, stop: int, bad: dict[int, str]
    ) -> tuple[list[dict[str, Array]], Reasons]:
        """Answer one batch: at once if all is well, else without the rows that are to blame."""
        rows = np.arange(start, stop)
        if bad:
            rows = np.array([row for row in rows if row not in bad], dtype=np.intp)
            if not len(rows):
                return [], []
        try:
            outputs = self.ask(cut(values, start, stop) if len(rows) == stop - start else take(values, rows))
            return _finite([(rows, outputs)], [])
        except _FATAL as error:
            if not isinstance(error, MemoryError):
                raise
        except Exception:  # some row's fault: which one's is found out below
            pass
        return _finite(*self._without_the_bad(values, rows))

    def _without_the_bad(self, values: Values, rows: Positions) -> tuple[Pieces, Reasons]:
        """Find the rows that break the contract, which costs no call of the model, and then those that break it."""
        check = self.predictor.signature.input.check
        _, unfit = divide(lambda some: check(take(values, some)), rows)  # type: ignore[arg-type]
        fit = np.setdiff1d(rows, [row for row, _ in unfit]).astype(np.intp)
        pieces, failed = divide(lambda some: self.ask(take(values, some)), fit) if len(fit) else ([], [])
        return pieces, unfit + failed

    def ask(self, values: Values, batch_size: int | None = None) -> dict[str, Array]:
        """Return answers by name; the only one goes by what was asked for."""
        if self.answer == "outputs":
            return self.predictor.predict_outputs(values, batch_size=batch_size)
        ask = self.predictor.predict if self.answer == "predict" else self.predictor.predict_proba
        found = ask(values, batch_size=batch_size)
        return found if isinstance(found, dict) else {ONLY_NAMES[self.answer]: found}

    # What an engine needs to find a row that ends the process it is answered in.

    def split(self, task: Task) -> tuple[Task, Task] | None:
        """Return two smaller tasks, whole batches as long as there are several; None for a single row."""
        n = count(task.values)
        if n < 2:
            return None
        at = n // 2 if n <= self.batch_size else (n // self.batch_size + 1) // 2 * self.batch_size
        first = {row: reason for row, reason in task.bad.items() if row < at}
        rest = {row - at: reason for row, reason in task.bad.items() if row >= at}
        return Task(cut(task.values, 0, at), first), Task(cut(task.values, at, n), rest)

    def join(self, left: Answered, right: Answered) -> Answered:
        """Return the answers of two tasks as those of one."""
        moved = [(left.n_rows + row, reason) for row, reason in right.rejected]
        return Answered(_joined([some.outputs for some in (left, right) if some.outputs]), left.rejected + moved)

    def reject(self, task: Task, reason: str) -> Answered:
        """Return a task's result if none of its rows can be answered."""
        return Answered({}, [(row, task.bad.get(row, reason)) for row in range(count(task.values))])


ONLY_NAMES = {"predict": "prediction", "predict_proba": "probability"}


def divide(function: Callable[[Positions], Any], rows: Positions) -> tuple[Pieces, Reasons]:
    """Call a function with rows, and where it fails with each half of them, down to the single rows that are to blame.

    Parameters
    ----------
    function : callable
        Takes positions.
    rows : numpy.ndarray of int
        One or more.

    Returns
    -------
    pieces : list of (rows, result)
        In the order of the rows.
    failed : list of (row, reason)

    Examples
    --------
    >>> def picky(rows):
    ...     if 3 in rows:
    ...         raise ValueError("not three")
    ...     return rows.tolist()
    >>> pieces, failed = divide(picky, np.arange(6))
    >>> [result for _, result in pieces], failed
    ([[0, 1, 2], [4, 5]], [(3, 'ValueError: not three')])
    """
    try:
        return [(rows, function(rows))], []
    except _FATAL as error:
        if not isinstance(error, MemoryError) or len(rows) == 1:
            raise
    except Exception as error:
        if len(rows) == 1:
            return [], [(int(rows[0]), reason_of(error))]
    middle = len(rows) // 2
    (pieces, failed), (more, also) = divide(function, rows[:middle]), divide(function, rows[middle:])
    return pieces + more, failed + also


def reason_of(error: Exception) -> str:
    """Say in one line why a row was rejected. It was alone in its batch: its number there says nothing."""
    words = " ".join(str(error).split())
    if isinstance(error, InputError):
        return words.removeprefix("row 0: ").removesuffix(" in row 0")[:400]
    return f"{type(error).__name__}: {words}"[:400]


def _finite(pieces: Pieces, failed: Reasons) -> tuple[list[dict[str, Array]], Reasons]:
    """Set aside rows for which the model gave NaN or infinity."""
    kept = []
    for rows, outputs in pieces:
        fine = np.ones(len(rows), dtype=bool)
        for name, output in outputs.items():
            if output.dtype.kind == "f" and not np.isfinite(output).all():
                lost = ~np.isfinite(output).reshape(len(output), -1).all(axis=1)
                failed = failed + [
                    (int(row), f"the model gave no finite number for {name!r}") for row in rows[fine & lost]
                ]
                fine &= ~lost
        kept.append(outputs if fine.all() else {name: output[fine] for name, output in outputs.items()})
    return kept, failed


def _joined(outputs: list[dict[str, Array]]) -> dict[str, Array]:
    if not outputs:
        return {}
    if len(outputs) == 1:
        return outputs[0]
    return {name: np.concatenate([some[name] for some in outputs]) for name in outputs[0]}
