"""Execute each lesson and each solution once, as on Binder: under a memory cap, on one core, compared by nbval.

``python -m notebooks.run [--cap-mb 2048] [--require-cap] [NN ...]`` (this is ``make binder-check``)

For each notebook it prints the seconds that it took and the most memory that its kernel and the processes which the
kernel started held at once (proportional set size), beside the budgets.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from inferkit._base import InputError

from .cap import Cap, NoCapError, memory_cap
from .kernel import CELL_SECONDS
from .source import ROOT, pick

__all__ = ["Outcome", "main", "run_notebook"]

BUDGET_SECONDS = 90
BUDGET_MB, BUDGET_LITERT_MB = 1536, 450
_SAMPLES_PER_SECOND = 10
# What loads TensorFlow or PyMC, or starts Dask's worker processes: an import, or a call of this library that needs it.
# A compiled posterior needs none.
_TRAINS = re.compile(
    r"^\s*(import|from) (keras|tensorflow|pymc)\b|\b(import_keras|models\.train|save_litert|to_litert)\("
    r"|\bengine=\"dask\""
    r"|^\s*from inferkit\.bayes import (?!CompiledPosterior\b\s*$)",
    re.M,
)
_LIMIT_SECONDS = 900  # for a notebook; each cell has its own time-out


@dataclass(frozen=True)
class Outcome:
    """What came of one notebook.

    Parameters
    ----------
    name : str
        The notebook.
    passed : bool
        Whether every cell ran and gave what the notebook says.
    seconds : float
        From the start of the kernel to the end.
    peak_mb : float
        The most memory that the kernel and its children held at once, in units of 2²⁰ bytes.
    budget_mb : int
        What it may hold.
    report : str
        What nbval said.
    killed : int
        How many processes were killed for passing the cap.
    """

    name: str
    passed: bool
    seconds: float
    peak_mb: float
    budget_mb: int
    report: str
    killed: int = 0

    def row(self) -> str:
        """Return a line of the table."""
        marks = [] if self.passed else ["FAILED"]
        marks += ["over its time"] if self.seconds > BUDGET_SECONDS else []
        marks += ["OVER ITS MEMORY"] if self.peak_mb > self.budget_mb else []
        marks += [f"{self.killed} killed by the cap"] if self.killed else []
        figures = f"{self.seconds:7.1f} /{BUDGET_SECONDS:4d} {self.peak_mb:8.0f} /{self.budget_mb:5d}"
        return f"{self.name:44s}{figures}  {', '.join(marks) or 'ok'}"


class _Watch(threading.Thread):
    """Samples the memory of the kernel that a process starts."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.runner = psutil.Process(pid)
        self.peak_bytes = 0
        self.first = self.last = 0.0
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(1 / _SAMPLES_PER_SECOND):
            with suppress(psutil.Error):
                self._sample()

    def _sample(self) -> None:
        for kernel in self.runner.children():
            if any("ipykernel" in word for word in kernel.cmdline()):
                self.last = time.monotonic()
                self.first = self.first or self.last
                tree = [kernel, *kernel.children(recursive=True)]
                self.peak_bytes = max(self.peak_bytes, sum(map(_held_bytes, tree)))


def _held_bytes(process: psutil.Process) -> int:
    """Return the memory that a process holds: shared pages count by the share (elsewhere than on Linux, whole)."""
    try:
        info = process.memory_full_info()
    except psutil.Error:  # it has just ended, or is not ours to look into
        return 0
    return int(getattr(info, "pss", info.rss))


def run_notebook(
    path: Path, name: str | None = None, *, cap: Cap | None = None, budget_mb: int = BUDGET_MB,
    cell_seconds: float = CELL_SECONDS,
) -> Outcome:  # fmt: skip
    """Execute a built notebook once, by nbval, in a folder of its own.

    Parameters
    ----------
    path : pathlib.Path
        The notebook.
    name : str, optional
        What the outcome calls it.
    cap : Cap, optional
        The memory cap to execute it under.
    budget_mb : int, optional
        What it may hold, for the outcome.
    cell_seconds : float, optional
        How long a cell may run.

    Returns
    -------
    Outcome
    """
    with tempfile.TemporaryDirectory(prefix="inferkit-", ignore_cleanup_errors=True) as folder:
        shutil.copy(path, folder)
        began = time.monotonic()
        runner = _start(Path(folder) / path.name, cap, cell_seconds)
        watch = _Watch(runner.pid)
        watch.start()
        report = _finish(runner)
        watch.ended.set()
        watch.join()
    seconds = watch.last - (watch.first or began)
    killed = cap.kills() if cap else 0
    return Outcome(name or path.name, runner.returncode == 0, max(seconds, 0), watch.peak_bytes / 2**20, budget_mb,
                   report, killed)  # fmt: skip


def _start(notebook: Path, cap: Cap | None, cell_seconds: float) -> subprocess.Popen[str]:
    plugins = ["-p", "no:nbval", "-p", "tests.nbcompare", "-p", "no:cacheprovider"]
    options = ["-q", "--color=no", "--no-header", "-rN", f"--nbval-cell-timeout={cell_seconds}"]
    command = [sys.executable, "-m", "pytest", *plugins, *options, str(notebook)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}

    def enter() -> None:
        if cap is not None:
            cap.join()
        if hasattr(os, "sched_setaffinity"):  # one core, as on Binder
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    return subprocess.Popen(command, cwd=ROOT.parent, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, preexec_fn=enter if os.name == "posix" else None)  # fmt: skip


def _finish(runner: subprocess.Popen[str]) -> str:
    try:
        return runner.communicate(timeout=_LIMIT_SECONDS)[0]
    except subprocess.TimeoutExpired:
        for process in [*psutil.Process(runner.pid).children(recursive=True), runner]:
            process.kill()
        return f"{runner.communicate()[0]}\nstopped after {_LIMIT_SECONDS} s"


def plan(sources: list[Path], target: Path = ROOT) -> list[tuple[Path, str, int]]:
    """Return the notebooks to execute: path, name, and memory budget in MB.

    Parameters
    ----------
    sources : list of pathlib.Path
        The lessons' sources.
    target : pathlib.Path, optional
        The folder with the built notebooks.

    Returns
    -------
    list of tuple
    """
    found = []
    for source in sources:
        for folder in (source.parent, source.parent / "exercises"):
            path = folder / source.name
            if path.exists():
                inside = "solutions/" if folder != source.parent else ""
                budget = BUDGET_MB if _TRAINS.search(path.read_text(encoding="utf-8")) else BUDGET_LITERT_MB
                found.append((target / inside / f"{source.stem}.ipynb", f"{inside}{source.stem}.ipynb", budget))
    return found


def _run_all(notebooks: list[tuple[Path, str, int]], cap_mb: int) -> tuple[list[Outcome], str]:
    """Return the outcomes, and why there was no cap."""
    outcomes, uncapped = [], ""
    for path, name, budget in notebooks:
        print(f"{name} ...", flush=True)
        try:
            with memory_cap(cap_mb) as cap:
                outcome = run_notebook(path, name, cap=cap, budget_mb=budget)
        except NoCapError as error:
            uncapped = str(error)
            outcome = run_notebook(path, name, budget_mb=budget)
        print(outcome.row() if outcome.passed else f"{outcome.report}\n{outcome.row()}", flush=True)
        outcomes.append(outcome)
    return outcomes, uncapped


def main(arguments: list[str] | None = None) -> int:
    """Execute the lessons and solutions from the command line.

    Parameters
    ----------
    arguments : list of str, optional
        The command line; ``--help`` explains it.

    Returns
    -------
    int
        0 if all passed within their memory, else 1.
    """
    parser = argparse.ArgumentParser(prog="python -m notebooks.run", description="Execute the notebooks, capped.")
    parser.add_argument("numbers", nargs="*", metavar="NN", help="the lessons' numbers; none means all")
    parser.add_argument("--cap-mb", type=int, default=2048, help="the memory cap in MB (2048: what Binder gives)")
    parser.add_argument("--require-cap", action="store_true", help="fail where memory can't be capped")
    options = parser.parse_args(arguments)
    try:
        notebooks = plan(pick(options.numbers))
    except InputError as error:
        parser.error(str(error))
    missing = [name for path, name, _ in notebooks if not path.exists()]
    if missing or not notebooks:
        print(f"not built: {', '.join(missing) or 'no lesson'}. Build them: python -m notebooks.build", file=sys.stderr)
        return 1
    outcomes, uncapped = _run_all(notebooks, options.cap_mb)
    required = options.require_cap or bool(os.environ.get("INFERKIT_REQUIRE_ALL"))
    return _summary(outcomes, uncapped, options.cap_mb, required)


def _summary(outcomes: list[Outcome], uncapped: str, cap_mb: int, required: bool) -> int:
    print(f"\n{'notebook':44s}{'seconds':>7s} / max {'peak MB':>8s} /  max")
    for outcome in outcomes:
        print(outcome.row())
    if uncapped:
        print(f"\nNOT CAPPED: {uncapped}.")
        print("The notebooks ran with all the memory there is; that they fit into 2 GB was not checked.")
    else:
        print(f"Each ran on one core with at most {cap_mb} MB for all its processes.")
    held = all(outcome.passed and outcome.peak_mb <= outcome.budget_mb for outcome in outcomes)
    return 0 if held and not (uncapped and required) else 1


if __name__ == "__main__":
    sys.exit(main())
