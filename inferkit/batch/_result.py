"""What a batch run gave, and what it cost."""

from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..benchmark import ThroughputResult

Array = npt.NDArray[Any]


class Rejected(NamedTuple):
    """A row without an answer.

    Attributes
    ----------
    row : int
        Its number in the source, from 0.
    id : object
        What `id_column` calls it; without one the row's number.
    reason : str
    """

    row: int
    id: Any
    reason: str


@dataclass(frozen=True, eq=False, repr=False)
class BatchResult:
    """The answers, or where they are, and how the run went.

    Attributes
    ----------
    n_rows : int
        Rows in the source. Each is answered or rejected.
    n_rejected : int
    rejected : tuple of Rejected
        The first 1,000 of them; the file `rejected_path` has all.
    answers : numpy.ndarray, dict of str to numpy.ndarray, or None
        Answers in memory, in the order of the rows; one array for each output if there are several. A row that
        was rejected has NaN, an empty text, None or False; of whole numbers the smallest that the type
        holds (the largest where that is 0). None if they went to a file.
    ok : numpy.ndarray of bool, or None
        Which rows of `answers` have an answer.
    ids : sequence or None
        What `id_column` calls the rows of `answers`.
    sink, rejected_path : Path or None
        The files that were written.
    duplicate_ids : int
        Rows whose id an earlier row has too. They are answered like all others.
    batch_size : int
        Rows in one call of the model.
    curve : ThroughputResult or None
        The measurement that the batch size was read from.
    n_resumed : int
        Rows that an earlier run had finished already.
    seconds : float
        How long this run took, the measurement included.
    engine : str
    n_workers : int or None
    """

    n_rows: int
    n_rejected: int
    rejected: tuple[Rejected, ...]
    batch_size: int
    seconds: float
    engine: str
    n_workers: int | None
    answers: Array | dict[str, Array] | None = None
    ok: npt.NDArray[np.bool_] | None = None
    ids: Any = None
    sink: Path | None = None
    rejected_path: Path | None = None
    duplicate_ids: int = 0
    curve: ThroughputResult | None = None
    n_resumed: int = field(default=0)

    @property
    def n_answered(self) -> int:
        """Rows with an answer."""
        return self.n_rows - self.n_rejected

    @property
    def rows_per_s(self) -> float:
        """Rows a second in this run."""
        return (self.n_rows - self.n_resumed) / self.seconds

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values that JSON can hold; the answers stay out."""
        names = ("n_rows", "n_answered", "n_rejected", "duplicate_ids", "batch_size", "n_resumed", "seconds", "engine")
        plain = {name: getattr(self, name) for name in names} | {"n_workers": self.n_workers}
        paths = {"sink": self.sink, "rejected_path": self.rejected_path}
        return plain | {"rows_per_s": self.rows_per_s} | {n: None if p is None else str(p) for n, p in paths.items()}

    def _lines(self) -> list[tuple[str, str]]:
        workers = "" if self.n_workers is None else f", {self.n_workers} worker{'s' * (self.n_workers != 1)}"
        lines = [
            ("rows", f"{self.n_rows:,}"),
            ("answered", f"{self.n_answered:,}" + (f", in {self.sink.name}" if self.sink else "")),
            ("rejected", f"{self.n_rejected:,}" + (f", in {self.rejected_path.name}" if self.rejected_path else "")),
            ("rows a second", f"{self.rows_per_s:,.0f}, in {self.seconds:.3g} s"),
            ("batch size", f"{self.batch_size:,}" + (", found by measurement" if self.curve else "")),
            ("engine", self.engine + workers),
        ]
        if self.n_resumed:
            lines.insert(1, ("finished before", f"{self.n_resumed:,}"))
        if self.duplicate_ids:
            lines.insert(1, ("ids seen before", f"{self.duplicate_ids:,}: rows whose id an earlier row has too"))
        return lines

    def __repr__(self) -> str:
        lines = [f"  {name:<16}{words}" for name, words in self._lines()]
        first = [f"  row {one.row:,} ({one.id}): {one.reason}" for one in self.rejected[:3]]
        return "\n".join(["BatchResult", *lines, *first])

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th scope='row'>{name}</th><td>{escape(words)}</td></tr>" for name, words in self._lines())
        first = "".join(f"<li>row {r.row:,} ({escape(str(r.id))}): {escape(r.reason)}</li>" for r in self.rejected[:3])
        return f"<table><caption>A batch run</caption><tbody>{rows}</tbody></table>" + (first and f"<ul>{first}</ul>")
