"""Cells that measure, in a build: watched, repeated where others disturbed them, stamped where no quiet came."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

import nbformat
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from inferkit.devices import OtherLoad, busy_watch

from .source import first_line, tags

__all__ = ["WIDGET_VIEW", "Quiet", "busy_cells", "busy_words", "output_kinds", "output_parts"]

REPEATS = 3
WAIT_SECONDS = 15 * 60.0
PROBE_SECONDS = 5.0
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
"""Its ids are drawn anew in each run."""
_SAID = re.compile(r"other processes used [\d.]+ of \d+ cores? meanwhile")
Watch = Callable[[], AbstractContextManager[OtherLoad]]


def output_parts(output: dict[str, Any]) -> dict[str, Any]:
    """Return what an output says, by stream or MIME type; a widget's view is left out."""
    if output["output_type"] == "stream":
        return {output["name"]: output["text"]}
    if output["output_type"] == "error":
        return {"error": f"{output['ename']}: {output['evalue']}"}
    return {mime: data for mime, data in output["data"].items() if mime != WIDGET_VIEW}


def output_kinds(outputs: list[dict[str, Any]]) -> list[str]:
    """Return of which kinds the outputs of a cell are; the stamp of a busy machine is none of them."""
    return [" + ".join(sorted(output_parts(output))) for output in outputs if not _stamped(output)]


def busy_words(outputs: list[dict[str, Any]]) -> str | None:
    """Return who else used the machine while these outputs were measured, as they say it themselves; None if nobody."""
    for output in outputs:
        said = _SAID.search("\n".join(map(str, output_parts(output).values())))
        if words := _stamped(output) or (said and said[0]):
            return str(words)
    return None


def busy_cells(notebook: NotebookNode) -> list[str]:
    """Return a line for each cell of a built notebook that was measured while other processes used the machine."""
    cells = [(number, cell, busy_words(cell.get("outputs", []))) for number, cell in enumerate(notebook.cells, 1)]
    return [f"cell {number} ({first_line(cell)}): {words}" for number, cell, words in cells if words]


def _stamped(output: dict[str, Any]) -> str | None:
    words: str | None = output.get("metadata", {}).get("inferkit", {}).get("busy")
    return words


def _stamp(words: str) -> NotebookNode:
    """Return an output that a reader sees below the others, and that is gone when the cell is run again."""
    line = f"Not measured in quiet: {words}. No verdict from these figures; run the cell again on a quiet machine."
    data = {"text/plain": line, "text/markdown": f"*{line}*"}
    return nbformat.v4.new_output("display_data", data, metadata={"inferkit": {"busy": words}})


def _say(line: str) -> None:
    print(line, flush=True)


class Quiet:
    """How the cells of one notebook that measure come to figures that no other process has disturbed.

    A cell that was disturbed is executed again, right after itself, once the machine is quiet, at most 3 times. If it
    then raises or gives outputs of other kinds, it can't be repeated, and its first outputs count. Where no quiet came,
    nothing that follows is trusted, for it may show what was measured here: from there on each cell tagged ``measured``
    keeps its published outputs, if it has the same source, the same kinds of outputs, and they were measured in quiet;
    else its outputs are stamped.

    Parameters
    ----------
    published : nbformat.NotebookNode, optional
        The notebook as it was built before.
    wait_s : float, optional
        How long to wait for quiet, in this notebook altogether. With 0 no cell is repeated.
    watch : callable, optional
        What `inferkit.devices.busy_watch` is: watches other processes while a block runs.
    probe_s : float, optional
        For how long other processes must leave the machine alone to call it quiet.
    say : callable, optional
        Takes a line about what is awaited, or what was done.
    """

    def __init__(
        self,
        published: NotebookNode | None = None,
        *,
        wait_s: float = WAIT_SECONDS,
        watch: Watch = busy_watch,
        probe_s: float = PROBE_SECONDS,
        say: Callable[[str], object] = _say,
    ) -> None:
        self._published = {cell.get("id"): cell for cell in published.cells} if published else {}
        self._disturbed: str | None = None  # by whom, since the first cell that found no quiet
        self._left_s = wait_s
        self._watch = watch
        self._probe_s = probe_s
        self._say = say

    async def measure(self, cell: NotebookNode, run: Callable[[], Awaitable[object]]) -> None:
        """Execute a cell by `run`, as often as it takes, and leave in it the outputs that count."""
        if self._disturbed:
            await run()
        else:
            self._disturbed = await self._settle(cell, run)
        if self._disturbed and "measured" in tags(cell):
            self._stand_in(cell, self._disturbed)

    async def _settle(self, cell: NotebookNode, run: Callable[[], Awaitable[object]]) -> str | None:
        """Execute a cell until nobody disturbs it; say who did so to the end."""
        words = await self._watched(cell, run)
        for _ in range(REPEATS):
            if not words or not await self._quiet_comes(cell, words):
                break
            before = cell.outputs
            try:
                again = await self._watched(cell, run)
            except CellExecutionError:
                cell.outputs = before
                break
            if output_kinds(cell.outputs) != output_kinds(before):
                cell.outputs = before
                break
            words = again
        return words

    async def _watched(self, cell: NotebookNode, run: Callable[[], Awaitable[object]]) -> str | None:
        with self._watch() as others:
            await run()
        return others.words or busy_words(cell.outputs)

    async def _quiet_comes(self, cell: NotebookNode, words: str | None) -> bool:
        while words and self._left_s > 0:
            self._say(f"  {first_line(cell)}: waiting for quiet, up to {self._left_s / 60:.1f} minutes more; {words}")
            start = time.monotonic()
            with self._watch() as others:
                await asyncio.sleep(self._probe_s)
            self._left_s -= time.monotonic() - start
            words = others.words
        return not words

    def _stand_in(self, cell: NotebookNode, words: str) -> None:
        """Take the outputs that were published in quiet, or stamp those that are there."""
        old = self._published.get(cell.id)
        is_same = old and old.source == cell.source and output_kinds(old.outputs) == output_kinds(cell.outputs)
        if is_same and not busy_words(old.outputs):
            self._say(f"  {first_line(cell)}: {words}; keeps its outputs of the last quiet run")
            cell.outputs = old.outputs
        else:
            self._say(f"  {first_line(cell)}: {words}; stamped busy")
            cell.outputs = [*cell.outputs, _stamp(words)]
