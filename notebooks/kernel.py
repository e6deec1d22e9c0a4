"""Execute a notebook in a fresh kernel, under fixed conditions, and keep of its outputs what stays the same."""

import copy
import os
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from .quiet import WIDGET_VIEW, Quiet
from .source import METADATA, first_line, tags

__all__ = ["CELL_SECONDS", "NotebookError", "execute", "kernel_env"]

CELL_SECONDS = 180
"""How long a cell may run: on a busy machine one that starts TensorFlow three times takes over a minute."""

_FIXED = {
    # One thread and no oneDNN: the same bits on the next machine.
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    **dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"),
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
    "PYTHONHASHSEED": "0",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "NO_COLOR": "1",
    "INFERKIT_LEDGER": ":memory:",  # not this machine's own
    "INFERKIT_PROGRESS": "0",  # a line that only slow machines show is no output to keep
}
# What would change outputs; under PYTEST_CURRENT_TEST ipykernel does not read what C++ writes to stderr.
_DROPPED = ("MPLBACKEND", "PYTEST_CURRENT_TEST", "PYTHONSTARTUP", "PYTHONWARNINGS", "COLUMNS", "LINES", "FORCE_COLOR")


class NotebookError(RuntimeError):
    """A notebook that could not be executed as it should; the message names the cell."""


def kernel_env(scratch: Path) -> dict[str, str]:
    """Return the environment in which every notebook is built and tested.

    Parameters
    ----------
    scratch : pathlib.Path
        A folder that is thrown away afterwards; IPython's own files go there, so that no start-up
        file of the user is read.

    Returns
    -------
    dict of str to str
        The process's own environment with what would change outputs fixed or taken out.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _DROPPED}
    return {**kept, **_FIXED, "IPYTHONDIR": str(scratch / "ipython")}


class _Client(NotebookClient):
    """A client that executes a cell that measures again before the next one, where that is asked for."""

    quiet: Quiet | None = None

    async def async_execute_cell(self, cell: NotebookNode, cell_index: int, *args: Any, **kwargs: Any) -> NotebookNode:
        """Execute a cell; if it measures, until its figures count."""
        execute = partial(super().async_execute_cell, cell, cell_index, *args, **kwargs)
        if self.quiet is None or not {"measured", "timed"}.intersection(tags(cell)):
            return await execute()
        executed_before = self.code_cells_executed

        async def run() -> None:
            is_repeat = self.code_cells_executed > executed_before
            self.code_cells_executed = executed_before
            self.clear_display_id_mapping(cell_index)
            await execute(store_history=not is_repeat)  # a repeat has no number of its own

        await self.quiet.measure(cell, run)
        return cell


def execute(
    notebook: NotebookNode, name: str, *, cell_seconds: float = CELL_SECONDS, quiet: Quiet | None = None
) -> NotebookNode:
    """Execute a notebook in a fresh kernel, in a folder of its own.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        The notebook; it stays as it is.
    name : str
        What errors call it.
    cell_seconds : float, optional
        How long a cell may run.
    quiet : notebooks.quiet.Quiet, optional
        What to do when other processes disturb a cell that measures. Without it each cell is executed once.

    Returns
    -------
    nbformat.NotebookNode
        The same cells with their outputs. Times, widget states and widget views are left out.

    Raises
    ------
    NotebookError
        If a cell raises, takes too long, kills the kernel or writes to stderr.
    """
    fresh = copy.deepcopy(notebook)
    with tempfile.TemporaryDirectory(prefix="inferkit-") as scratch:
        work = Path(scratch) / "work"
        work.mkdir()
        client = _Client(
            fresh, timeout=cell_seconds, kernel_name="python3", record_timing=False, coalesce_streams=True,
            interrupt_on_timeout=False, resources={"metadata": {"path": str(work)}},
        )  # fmt: skip
        client.quiet = quiet
        # A cell's stderr comes as a message; the kernel's own remarks are for nobody.
        _run(client, name, env=kernel_env(Path(scratch)), stderr=subprocess.DEVNULL)
    for number, cell in enumerate(_code(fresh), 1):
        _refuse_stderr(cell, f"{name}, cell [{number}] ({first_line(cell)})")
    return _clean(fresh)


def _code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _run(client: NotebookClient, name: str, **start: Any) -> None:
    running: dict[int, NotebookNode] = {}
    client.on_cell_start = lambda cell, cell_index: running.update({cell_index: cell})
    try:
        client.execute(**start)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        cells = list(running.values())
        number = sum(cell.cell_type == "code" for cell in cells)
        where = f"{name}, cell [{number}] ({first_line(cells[-1])})" if cells else f"{name}, before its first cell"
        raise NotebookError(f"{where}: {_reason(error, client.timeout)}") from error


def _reason(error: Exception, cell_seconds: float | None) -> str:
    if isinstance(error, CellTimeoutError):
        return f"still running after {cell_seconds:g} s; make it shorter"
    if isinstance(error, DeadKernelError):
        return "the kernel died: out of memory, or a crash in compiled code"
    return str(error).rstrip()


def _refuse_stderr(cell: NotebookNode, where: str) -> None:
    written = "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stderr")
    if written:
        raise NotebookError(f"{where}: wrote to stderr; a reader should see nothing there: {written.strip()[:500]}")


def _clean(notebook: NotebookNode) -> NotebookNode:
    """Take out what differs from run to run, or from machine to machine."""
    for cell in _code(notebook):
        cell.metadata.pop("execution", None)
        for output in cell.outputs:
            if "data" in output:
                output.data.pop(WIDGET_VIEW, None)
            if "execution_count" in output:  # one kept from an earlier build may have another
                output.execution_count = cell.execution_count
            if output.output_type == "error":  # the traceback holds paths of this machine
                output.traceback = [f"{output.ename}: {output.evalue}"]
        cell.outputs = [output for output in cell.outputs if output.get("data", True)]
    notebook.metadata = NotebookNode(METADATA)
    return notebook


def is_measured(cell: NotebookNode) -> bool:
    """Return whether the outputs of a cell are measurements, and so not compared."""
    return "measured" in tags(cell)
