"""How a run on an accelerator is shown."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from ..benchmark import time_words
from ..benchmark._words import digits

if TYPE_CHECKING:
    from ._accelerator_record import AcceleratorRow, AcceleratorRun, NutsRow, Span

_HEADS = ("model", "precision", "batch", "first call", "transfer", "compute", "back", "rows/s", "difference")


def text(run: AcceleratorRun) -> str:
    """Return a run as a table of plain text."""
    lines = [_HEADS, *map(_cells, run.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join(_aligned(line, widths)).rstrip() for line in lines] if run.rows else []
    return "\n".join([_head(run), *table, *_notes(run)])


def _aligned(line: tuple[str, ...], widths: list[int]) -> Iterable[str]:
    for place, (cell, width) in enumerate(zip(line, widths, strict=True)):
        yield cell.ljust(width) if place < 2 else cell.rjust(width)


def html(run: AcceleratorRun) -> str:
    """Return a run as a table of HTML."""
    heads = "".join(f"<th scope='col'>{escape(head)}</th>" for head in _HEADS)
    body = "".join(
        f"<tr><th scope='row'>{escape(cells[0])}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in cells[1:])}</tr>"
        for cells in map(_cells, run.rows)
    )
    notes = "".join(f"<p>{escape(note)}</p>" for note in _notes(run))
    return (
        f"<table style='white-space: nowrap'><caption>{escape(_head(run))}</caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>{notes}"
    )


def _head(run: AcceleratorRun) -> str:
    about = run.stamp.get("accelerator", {})
    versions = ", ".join(f"{name} {number}" for name, number in about.get("versions", {}).items())
    driver = f", driver {about['driver']}" if about.get("driver") else ""
    return f"{about.get('device_name', 'device unknown')} ({run.device_kind}{driver}), {versions or 'versions unknown'}"


def _cells(row: AcceleratorRow) -> tuple[str, ...]:
    difference = "no number" if row.difference is None else f"{row.difference:.1e}"
    spans = (row.transfer_us, row.compute_us, row.back_us)
    return (
        row.network, row.precision, f"{row.batch_size:,}", time_words(row.first_call_s), *map(_span, spans),
        _rate(row.rows_per_s), difference + (" FAILED" if row.failure else ""),
    )  # fmt: skip


def _span(span: Span) -> str:
    return time_words(span.median / 1e6)


def _rate(value: float) -> str:
    return digits(value) if math.isfinite(value) else "–"  # a clock that saw no time pass


def _notes(run: AcceleratorRun) -> list[str]:
    failures = [f"FAILED: {words}" for words in run.failures]
    return [*map(_sampling, run.nuts), *failures, *map("left out: {}".format, run.left_out), *filter(None, [run.busy])]


def _sampling(row: NutsRow) -> str:
    return (
        f"NUTS on {row.device_kind}: first run {time_words(row.first_run_s)}, then {time_words(row.seconds)}, "
        f"{_rate(row.ess_per_s)} effective draws/s, means within {row.deviation_sd:.2f} sd of Laplace's"
    )
