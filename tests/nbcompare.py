"""A pytest plugin on nbval: outputs compared by what they say, and a dead kernel seen at once.

``python -m pytest -p no:nbval -p tests.nbcompare NOTEBOOK``

nbval executes, reports and brings its options; its own plugin is off, as it would collect each notebook a second time.

Text is compared exactly, numbers with a decimal point to 1 part in 1000, whole numbers exactly; figures by the
data they carry, and coarsely as pictures. The outputs of a cell tagged ``measured`` must only be of the same kinds.
Anything on stderr fails, and so does a cell that is not the n-th to be executed as the n-th cell. After a dead kernel
or a time-out the rest of the notebook fails at once.
"""

import json
import math
import os
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from queue import Empty
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode
from nbval import plugin as nbval
from nbval.kernel import RunningKernel
from nbval.plugin import pytest_addoption as pytest_addoption

from inferkit.plots import FIGURE_MIME, PICTURE_TOLERANCE, compare_figure_data, compare_pictures
from notebooks.kernel import CELL_SECONDS, is_measured, kernel_env
from notebooks.quiet import output_kinds, output_parts
from notebooks.source import first_line

RTOL, ATOL = 1e-3, 1e-12
POLL_SECONDS = 0.5
_NBVAL_CELL_SECONDS = 2000  # nbval's default, far too patient
_NUMBER = re.compile(r"(?<![\w.])[-+−]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?(?!\w)")
_EMBEDDED = re.compile(r'src="data:image/[a-z+]+;base64,([^"]*)"')
Output = dict[str, Any]


# -- comparison -------------------------------------------------------------------------------------------------


def compare_texts(reference: str, fresh: str) -> list[str]:
    """Return the differences between two texts: none, or the first.

    Numbers with a decimal point or an exponent may differ by 1 part in 1000, white space by its amount.
    """
    lines = zip_longest(reference.rstrip().splitlines(), fresh.rstrip().splitlines())
    return [f"{a!r} became {b!r}" for a, b in lines if a is None or b is None or not _same_line(a, b)][:1]


def _same_line(reference: str, fresh: str) -> bool:
    def skeleton(line: str) -> str:
        return " ".join(_NUMBER.sub("#", line).split())

    pairs = zip(_NUMBER.findall(reference), _NUMBER.findall(fresh), strict=False)
    return skeleton(reference) == skeleton(fresh) and all(_same_number(a, b) for a, b in pairs)


def _same_number(reference: str, fresh: str) -> bool:
    if reference == fresh:
        return True
    measured = all(re.search(r"[.eE]", number) for number in (reference, fresh))
    a, b = (float(number.replace("−", "-")) for number in (reference, fresh))
    return measured and math.isclose(a, b, rel_tol=RTOL, abs_tol=ATOL)


def _compare_html(reference: str, fresh: str) -> list[str]:
    pictures = [_EMBEDDED.findall(text) for text in (reference, fresh)]
    texts = [_EMBEDDED.sub('src="(picture)"', text) for text in (reference, fresh)]
    return compare_texts(*texts) or [line for pair in zip(*pictures, strict=False) for line in _compare_pictures(*pair)]


def _compare_pictures(reference: str, fresh: str) -> list[str]:
    distance = compare_pictures(reference, fresh)
    return [f"the picture has changed (by {distance:.2f})"] if distance > PICTURE_TOLERANCE else []


def _compare_data(mime: str, reference: Any, fresh: Any) -> list[str]:
    if mime == FIGURE_MIME:
        return list(compare_figure_data(reference, fresh))
    if mime == "image/png":
        return _compare_pictures(reference, fresh)
    if mime == "text/html":
        return _compare_html(reference, fresh)
    return compare_texts(*(x if isinstance(x, str) else json.dumps(x, sort_keys=True) for x in (reference, fresh)))


def compare_outputs(reference: list[Output], fresh: list[Output], *, measured: bool) -> list[str]:
    """Return what differs between the outputs that a cell has in the notebook and those it gave now.

    Nothing may be on stderr.
    """
    written = "".join(o["text"] for o in fresh if o["output_type"] == "stream" and o["name"] == "stderr")
    if written:
        return [f"it wrote to stderr: {written.strip()}"]
    kinds = [output_kinds(outputs) for outputs in (reference, fresh)]
    if kinds[0] != kinds[1]:
        return [f"its outputs are of other kinds: {_list(kinds[0])} became {_list(kinds[1])}"]
    if measured:
        return []
    pairs = zip(map(output_parts, reference), map(output_parts, fresh), strict=True)
    return [f"{kind}: {line}" for a, b in pairs for kind in a for line in _compare_data(kind, a[kind], b[kind])]


def compare_notebooks(reference: NotebookNode, fresh: NotebookNode) -> list[str]:
    """Return what differs between a notebook and the same one executed now, each with the number of its code cell."""
    number = 0
    for before, now in zip_longest(reference.cells, fresh.cells, fillvalue=NotebookNode(cell_type="none", source="")):
        number += before.cell_type == "code"
        if (before.cell_type, before.source) != (now.cell_type, now.source):
            return [f"{_where(number, before)}: it is not the published cell but another, or lost: {first_line(now)!r}"]
    pairs = [pair for pair in zip(reference.cells, fresh.cells, strict=True) if pair[0].cell_type == "code"]
    return [
        f"{_where(number, before)}: {fault}"
        for number, (before, now) in enumerate(pairs, 1)
        for fault in _count_faults(before, number)
        or _count_faults(now, number)
        or compare_outputs(before.outputs, nbval.coalesce_streams(now.outputs), measured=is_measured(before))
    ]


def _where(number: int, cell: NotebookNode) -> str:
    return f"cell [{number}] ({first_line(cell)})"


def _count_faults(cell: NotebookNode, number: int) -> list[str]:
    if cell.execution_count == number:
        return []
    return [f"it was executed as [{cell.execution_count}]; build the notebook top to bottom"]


def _list(kinds: list[str]) -> str:
    return "; ".join(kinds) or "none"


# -- execution --------------------------------------------------------------------------------------------------


class KernelDiedError(Exception):
    """The kernel is gone while its answer is waited for."""


class WatchedKernel(RunningKernel):
    """A kernel that runs in the environment in which notebooks are built, and whose death is seen at once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.scratch = tempfile.TemporaryDirectory(prefix="inferkit-", ignore_cleanup_errors=True)
        before, fixed = dict(os.environ), kernel_env(Path(self.scratch.name))
        try:
            os.environ.clear()
            os.environ.update(fixed)
            super().__init__(*args, **kwargs)
        finally:
            os.environ.clear()
            os.environ.update(before)

    def get_message(self, stream: str, timeout: float | None = None) -> dict[str, Any]:
        """Wait for a message; look twice a second whether the kernel still lives."""
        end = time.monotonic() + (math.inf if timeout is None else timeout)
        while True:
            try:
                return super().get_message(stream, timeout=max(0.0, min(POLL_SECONDS, end - time.monotonic())))
            except Empty:
                if not self.is_alive():
                    raise KernelDiedError from None
                if time.monotonic() >= end:
                    raise

    def stop(self) -> None:
        """Stop the kernel and remove what IPython wrote."""
        super().stop()
        self.scratch.cleanup()


class LessonFile(nbval.IPyNbFile):
    """A notebook. It follows displays that are updated or cleared, as a reader's screen does."""

    current: "LessonCell"
    broken_by: str | None = None  # why the cells that follow are not executed

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.displays: dict[str, list[Output]] = defaultdict(list)
        self.clear_before_next = False

    def setup(self) -> None:
        """Start the kernel, in the folder of the notebook."""
        startup_seconds = self.config.option.nbval_kernel_startup_timeout
        self.kernel = WatchedKernel("python3", cwd=str(self.path.parent), startup_timeout=startup_seconds)

    def collect(self) -> Iterator["LessonCell"]:
        """Yield the code cells, none of them excused by a tag or a comment for nbval but ``raises-exception``."""
        for cell in super().collect():
            cell.options.update(check=True, skip=False)
            parts = {"name": cell.name, "cell_num": cell.cell_num, "cell": cell.cell, "options": cell.options}
            yield LessonCell.from_parent(self, **parts)

    def get_kernel_message(self, timeout: float | None = None, stream: str = "iopub") -> dict[str, Any]:
        """Return the next message, having done to the current cell's outputs what it asks for."""
        message = super().get_kernel_message(timeout, stream)
        kind, content = message["msg_type"], message["content"]
        if kind == "clear_output":
            self.clear_before_next = content["wait"]
            if not content["wait"]:
                self.current.test_outputs.clear()
        elif kind in ("display_data", "execute_result", "stream", "error") and self.clear_before_next:
            self.clear_before_next = False
            self.current.test_outputs.clear()
        self._follow(kind, content)
        return message

    def _follow(self, kind: str, content: dict[str, Any]) -> None:
        if kind not in ("display_data", "execute_result", "update_display_data"):
            return
        displays = self.displays[content.get("transient", {}).get("display_id", "")]
        if kind == "update_display_data":
            for data in displays:
                data.clear()
                data.update(content["data"])
        else:  # as a node that nbval keeps and does not copy, so that an update reaches it
            content["data"] = nbformat.from_dict(content["data"])
            displays.append(content["data"])


class LessonCell(nbval.IPyNbCell):
    """A code cell, executed and compared."""

    parent: LessonFile

    def setup(self) -> None:
        """Leave out nbval's own way after a time-out: what follows is not expected to fail, it fails."""

    def runtest(self) -> None:
        """Execute the cell and compare its outputs."""
        self.parent.current = self
        if self.parent.broken_by:
            self.raise_cell_error(f"not executed: {self.parent.broken_by}")
        for fault in _count_faults(self.cell, self.cell_num + 1):
            self.raise_cell_error(fault)
        try:
            super().runtest()
        except KernelDiedError:
            self.parent.broken_by = f"the kernel died in cell [{self.cell_num + 1}]"
            self.raise_cell_error("the kernel died: out of memory, or a crash in compiled code")
        finally:
            if self.parent.timed_out and not self.parent.broken_by:
                self.parent.broken_by = f"cell [{self.cell_num + 1}] ran too long"

    def compare_outputs(self, test: list[Output], ref: list[Output], skip_compare: Any = None) -> bool:
        """Return whether the outputs say the same; if not, keep why for the report."""
        faults = compare_outputs(ref, test, measured=is_measured(self.cell))
        self.comparison_traceback = [f"  {line}" for line in faults]
        return not faults

    def repr_failure(self, excinfo: Any) -> str:
        """Return the report: notebook, cell, its first line, and what is wrong."""
        error = excinfo.value
        if not isinstance(error, nbval.NbCellError):
            return str(super().repr_failure(excinfo))
        details = f"\n{error.inner_traceback}" if error.inner_traceback else ""
        return f"{self.path.name}, {_where(self.cell_num + 1, self.cell)}: {error}{details}"


def pytest_configure(config: pytest.Config) -> None:
    """Shorten the time-out of nbval, unless one was given."""
    if config.option.nbval_cell_timeout == _NBVAL_CELL_SECONDS:
        config.option.nbval_cell_timeout = CELL_SECONDS


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> LessonFile | None:
    """Collect notebooks."""
    return LessonFile.from_parent(parent, path=file_path) if file_path.suffix == ".ipynb" else None
