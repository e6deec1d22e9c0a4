"""Execute each lesson and each solution once, as on Binder: under a memory cap, on one core, compared by nbval.

``python -m notebooks.run [--only lessons|solutions] [--cap-mb 2048] [--require-cap] [NN ...]``
(this is ``make binder-check``)

For each notebook it prints the seconds that it took, those of the processor that its kernel and the processes which the
kernel started took of it, and the most memory that they held at once (proportional set size), beside the budgets.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from inferkit._base import InputError

from .cap import Cap, entrance, session_cap
from .kernel import CELL_SECONDS
from .source import ROOT, pick
from .watch import Watch

__all__ = ["Outcome", "main", "memory_budget", "run_notebook"]

CAP_MB = 2048  # what Binder gives
KINDS = ("lessons", "solutions")
BUDGET_SECONDS = 90
BUDGET_MB, BUDGET_LITERT_MB = 1434, 450
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
        From the start to the end, on the clock.
    cpu_seconds : float
        What the kernel and its children took of the processor. This is what the budget is about: others' work disturbs
        it far less than the clock.
    peak_mb : float
        The most memory that the kernel and its children held at once, in units of 2²⁰ bytes.
    budget_mb : int
        What it may hold.
    report : str
        What was found wrong.
    killed : int
        How many processes were killed for passing the cap.
    budget_seconds : float
        How much of the processor it may take.
    """

    name: str
    passed: bool
    seconds: float
    cpu_seconds: float
    peak_mb: float
    budget_mb: int
    report: str
    killed: int = 0
    budget_seconds: float = BUDGET_SECONDS

    @property
    def faults(self) -> list[str]:
        """What did not hold, in a few words each."""
        return [
            *([] if self.passed else ["FAILED"]),
            *(["OVER ITS TIME"] if self.cpu_seconds > self.budget_seconds else []),
            *(["OVER ITS MEMORY"] if self.peak_mb > self.budget_mb else []),
        ]

    def row(self) -> str:
        """Return a line of the table."""
        marks = self.faults + ([f"{self.killed} killed by the cap"] if self.killed else [])
        time_used = f"{self.seconds:7.1f} {self.cpu_seconds:7.1f} /{self.budget_seconds:4g}"
        return f"{self.name:44s}{time_used} {self.peak_mb:8.0f} /{self.budget_mb:5d}  {', '.join(marks) or 'ok'}"


HEADING = f"{'notebook':44s}{'seconds':>7s} {'of CPU':>7s} / max {'peak MB':>8s} /  max"


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
        watch = Watch(lambda: _kernel_of(runner.pid))
        watch.start()
        report = _finish(runner)
        watch.stop()
    killed = cap.kills() if cap else 0
    return Outcome(name or path.name, runner.returncode == 0, time.monotonic() - began, watch.cpu_seconds,
                   watch.peak_mb, budget_mb, report, killed)  # fmt: skip


def _kernel_of(pid: int) -> psutil.Process | None:
    """Return the kernel that a process has started."""
    children = psutil.Process(pid).children()
    return next((child for child in children if any("ipykernel" in word for word in child.cmdline())), None)


def _start(notebook: Path, cap: Cap | None, cell_seconds: float) -> subprocess.Popen[str]:
    plugins = ["-p", "no:nbval", "-p", "tests.nbcompare", "-p", "no:cacheprovider"]
    options = ["-q", "--color=no", "--no-header", "-rN", f"--nbval-cell-timeout={cell_seconds}"]
    command = [sys.executable, "-m", "pytest", *plugins, *options, str(notebook)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}

    return subprocess.Popen(command, cwd=ROOT.parent, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, preexec_fn=entrance(cap))  # fmt: skip


def _finish(runner: subprocess.Popen[str]) -> str:
    try:
        return runner.communicate(timeout=_LIMIT_SECONDS)[0]
    except subprocess.TimeoutExpired:
        for process in [*psutil.Process(runner.pid).children(recursive=True), runner]:
            process.kill()
        return f"{runner.communicate()[0]}\nstopped after {_LIMIT_SECONDS} s"


def memory_budget(source: Path) -> int:
    """Return what a lesson or a solution may hold, in units of 2²⁰ bytes: less where nothing is trained.

    Parameters
    ----------
    source : pathlib.Path
        Its source.

    Returns
    -------
    int
    """
    return BUDGET_MB if _TRAINS.search(source.read_text(encoding="utf-8")) else BUDGET_LITERT_MB


def plan(sources: list[Path], target: Path = ROOT, *, kinds: Sequence[str] = KINDS) -> list[tuple[Path, str, int]]:
    """Return the notebooks to execute: path, name, and memory budget in MB.

    Parameters
    ----------
    sources : list of pathlib.Path
        The lessons' sources.
    target : pathlib.Path, optional
        The folder with the built notebooks.
    kinds : sequence of str, optional
        Of ``lessons`` and ``solutions``, what is wanted.

    Returns
    -------
    list of tuple
    """
    found = []
    for source in sources:
        for kind in kinds:
            inside = "solutions/" if kind == "solutions" else ""
            path = source.parent / "exercises" / source.name if inside else source
            if path.exists():
                name = f"{inside}{source.stem}.ipynb"
                found.append((target / name, name, memory_budget(path)))
    return found


def _run_all(notebooks: list[tuple[Path, str, int]], cap_mb: int) -> tuple[list[Outcome], str]:
    """Return the outcomes, and why there was no cap."""
    outcomes, whys = [], [""]
    for path, name, budget in notebooks:
        print(f"{name} ...", flush=True)
        with session_cap(cap_mb) as (cap, why):
            outcome = run_notebook(path, name, cap=cap, budget_mb=budget)
        print(outcome.row() if outcome.passed else f"{outcome.report}\n{outcome.row()}", flush=True)
        outcomes.append(outcome)
        whys.append(why)
    return outcomes, max(whys)


def main(arguments: list[str] | None = None) -> int:
    """Execute the lessons and solutions from the command line.

    Parameters
    ----------
    arguments : list of str, optional
        The command line; ``--help`` explains it.

    Returns
    -------
    int
        0 if all passed within their budgets, else 1.
    """
    parser = argparse.ArgumentParser(prog="python -m notebooks.run", description="Execute the notebooks, capped.")
    parser.add_argument("numbers", nargs="*", metavar="NN", help="the lessons' numbers; none means all")
    parser.add_argument("--cap-mb", type=int, default=CAP_MB, help=f"the memory cap in MB (Binder: {CAP_MB})")
    parser.add_argument("--only", choices=KINDS, help="the lessons or the solutions alone")
    parser.add_argument("--require-cap", action="store_true", help="fail where memory can't be capped")
    options = parser.parse_args(arguments)
    try:
        notebooks = plan(pick(options.numbers), kinds=[options.only] if options.only else KINDS)
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
    print(f"\n{HEADING}")
    for outcome in outcomes:
        print(outcome.row())
    if uncapped:
        print(f"\nNOT CAPPED: {uncapped}.")
        print("The notebooks ran with all the memory there is; that they fit into 2 GB was not checked.")
    else:
        print(f"Each ran on one core with at most {cap_mb} MB for all its processes.")
    faults = any(outcome.faults for outcome in outcomes)
    return 1 if faults or (uncapped and required) else 0


if __name__ == "__main__":
    sys.exit(main())
