"""Prove a landing, or everything: ``make test``, ``make verify``, or ``python -m tests [test | verify | STAGE ...]``.

A landing runs what is short, a fifth of what takes long by turn, four lessons and, while its minutes last, what
changed since the landing before (`tests.rotation`); its last lines say what it left out. ``verify`` runs everything:
the landing's stages first, and at the end, alone, what measures against a clock.

Each stage is one tool called as anyone would call it. Two run side by side where there are two cores, each with a core
for its kernels; what a stage prints comes when it ends. All run even if one fails. What this machine lacks is said in a
line; with ``INFERKIT_REQUIRE_ALL=1`` that is a failure, before anything starts.
"""

import argparse
import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from notebooks.cap import NoCapError, memory_cap
from notebooks.source import pick
from tests import rotation
from tests.interpreters import missing
from tests.machine import chromium_path, mirror_path
from tests.python313 import ELSEWHERE, FORKED, VENV

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
PYTHON = sys.executable
PYTEST = ["-m", "pytest", "-q", "--durations=10", "-p", "tests.rotation"]
LANDING_MINUTES = 25
FREE_GB = 4  # an environment, and what Binder installs
LESSONS = 4  # in a landing
CLOSING_SECONDS = 10
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Test modules by what they load and share. What no pattern names belongs to "core"; the longest stand first.
SHARDS = {
    "networks": ["test_models_*", "test_optimize_*", "test_make_*", "test_roofline*", "test_cli_bench*"],
    "serving": ["test_serving_*", "test_predictor*", "test_cli_serve*"],
    "core": [],
    "notebooks": ["notebooks/test_*"],
    "bayes": ["test_bayes_*", "test_uncertainty_*"],
    "batch": ["test_batch*"],
}
DOCTESTS = dict.fromkeys(("models", "optimize", "roofline"), "networks")
DOCTESTS |= dict.fromkeys(("bayes", "uncertainty"), "bayes") | {"serving": "serving", "batch": "batch"}


@dataclass
class Stage:
    """One command, and what came of it.

    Parameters
    ----------
    name : str
        What it is called.
    command : list of str
        The command.
    after : str, optional
        The stage that must have ended before.
    part : str, optional
        ``"landing"``, or what is left out where the minutes are over: ``"changed"``, ``"rest"``, ``"quiet"``.
    lacks : str, optional
        What this machine lacks for it; then it is not run.
    """

    name: str
    command: list[str]
    after: str = ""
    part: str = "landing"
    lacks: str = ""
    code: int | None = None
    wall: float = 0.0
    cpu: float = 0.0

    def row(self) -> str:
        """Return a line of the table."""
        state = "not run" if self.code is None else "ok" if self.code == 0 else f"FAILED ({self.code})"
        return f"{self.name:26s}{self.wall:8.0f}{self.cpu:8.0f}  {state}"


# -- what is run ------------------------------------------------------------------------------------------------


def modules(*patterns: str) -> list[str]:
    """Return the paths of the test modules that patterns name."""
    found = {path for pattern in patterns for path in (ROOT / "tests").glob(f"{pattern}.py")}
    return [path.relative_to(ROOT).as_posix() for path in sorted(found)]


def shards() -> dict[str, list[str]]:
    """Return what each shard runs: every test module outside the browser, once, and the doctests."""
    found = {name: modules(*patterns) for name, patterns in SHARDS.items()}
    named = {path for paths in found.values() for path in paths}
    rest = [path for path in modules("test_*", "notebooks/test_*") if path not in named]
    split = {**found, "core": [*rest, "notebooks", "datasets"]}
    for path in sorted((ROOT / "inferkit").iterdir()):  # doctests, where what they import is imported anyway
        if path.suffix == ".py" or (path / "__init__.py").exists():
            split[DOCTESTS.get(path.name, "core")].append(path.relative_to(ROOT).as_posix())
    return split


def lessons() -> tuple[list[str], list[str]]:
    """Return the numbers of the lessons, and of the exercises, in the order in which landings take them.

    Those whose own files changed come first, then those with a changed package, then the others, each kind by turn.
    """
    orders = []
    for folder in ("", "exercises"):
        sources = [path.parent / folder / path.name for path in pick()]
        own, through = rotation.by_change(sources)
        own += [path for path in sources if path not in own and rotation.touches(_tests_of_a_lesson(path.name[:2]))]
        through = [path for path in through if path not in own]
        others = [path for path in sources if path not in own and path not in through]
        orders.append(
            [name for kind in (own, through, others) for name in rotation.by_turn([p.name[:2] for p in kind])]
        )
    return orders[0], orders[1]


def _tests_of_a_lesson(number: str) -> list[str]:
    return [f"tests/browser/test_lesson_{number}_live.py", f"tests/notebooks/test_lesson_{number}.py"]


def stages(minutes: float | None) -> list[Stage]:
    """Return all stages, the landing's first, each kind with what takes longest in front.

    Parameters
    ----------
    minutes : float or None
        After how many minutes no further test of what may be left out is begun.

    Returns
    -------
    list of Stage
    """
    no_newest = missing() or ""
    newest = PYTHON if no_newest else str(VENV / "bin" / "python")
    no_browser = "" if chromium_path() else "Chromium (apt-get install chromium, or set INFERKIT_CHROMIUM to its path)"
    until = [] if minutes is None else [f"--until={time.time() + 60 * minutes:.0f}"]
    split = shards()
    first, exercises = lessons()
    made, compiled = "python313", "compiled"
    bayesian = {path.name[:2] for path in pick() if "inferkit/bayes" in rotation.packages_of(path)}

    def tests(name: str, part: str, *paths: str) -> Stage:
        limit = until if part in ("changed", "rest") else []
        return Stage(name, [PYTHON, *PYTEST, f"--part={part}", *limit, *paths], part=part)

    def tests_there(name: str, part: str, *paths: str) -> Stage:
        limit = until if part in ("changed", "rest") else []
        return Stage(name, [newest, *PYTEST, "-m", "not rotated and not quiet", *limit, *paths], made, part, no_newest)

    def widgets(name: str, part: str) -> Stage:
        stage = tests(name, part, "-s", "tests/browser", "--ignore-glob=*/test_lesson_*")
        stage.lacks = no_browser
        return stage

    def lesson(number: str, part: str) -> Stage:
        path = f"tests/browser/test_lesson_{number}_live.py"
        after = compiled if number in bayesian else made
        return Stage(f"lesson {number}", [newest, *PYTEST, "-s", path], after, part, no_browser)

    def solutions(numbers: list[str], part: str) -> Stage:
        command = [newest, "-m", "notebooks.run", "--only", "solutions", *numbers]
        return Stage(f"solutions {' '.join(numbers)}", command, made, part)

    binder_now = rotation.touches(["binder/", "pyproject.toml", "tests/replay.py"]) or rotation.has_turn("binder")
    environment = Stage(made, [PYTHON, "-m", "tests.python313"], lacks=no_newest)
    when = "landing" if bayesian & set(first[:LESSONS]) else "rest"
    as_in_the_image = Stage(compiled, [newest, "binder/warm.py", "compiles"], made, when, no_browser)
    binder = Stage("binder", [PYTHON, "-m", "tests.replay"], made, "landing" if binder_now else "rest", no_newest)
    forked = modules(*FORKED)
    not_there = [f"--ignore={path}" for path in [*ELSEWHERE, *forked]]
    heavy = split["networks"] + split["notebooks"]
    light = [path for name, paths in split.items() if name not in ("networks", "notebooks") for path in paths]
    return [
        environment,
        Stage("lint", [PYTHON, "-m", "tests.lint"]),
        *(tests(name, "landing", *paths) for name, paths in split.items()),
        *([as_in_the_image] if when == "landing" else []),
        *([binder] if binder_now else []),
        *(lesson(number, "landing") for number in first[:LESSONS]),
        widgets("widgets", "landing"),
        tests_there("on 3.13", "landing", "--turns", "--part=landing", *forked, "inferkit"),
        solutions(exercises[:LESSONS], "landing"),
        *([] if binder_now else [binder]),
        tests("changed, networks", "changed", *heavy),
        tests("changed, others", "changed", *light),
        widgets("changed, widgets", "changed"),
        tests_there("changed, on 3.13", "changed", "--turns", "--part=changed", *forked),
        tests("rest, networks", "rest", *heavy),
        tests("rest, others", "rest", *light),
        widgets("rest, widgets", "rest"),
        tests_there("on 3.13, rest", "rest", "--turns", "--part=rest", *forked, "inferkit"),
        tests_there("on 3.13, others", "rest", *not_there, "tests"),
        *([as_in_the_image] if when == "rest" else []),
        *(lesson(number, "rest") for number in first[LESSONS:]),
        solutions(exercises[LESSONS:], "rest"),
        tests("quiet", "quiet", "tests", "--ignore=tests/browser"),
    ]


# -- running ----------------------------------------------------------------------------------------------------


class Runner:
    """Runs stages, two side by side where there are two cores, and ends all that they started.

    Parameters
    ----------
    folder : pathlib.Path
        Where the stages keep what is temporary.
    deadline : float
        After which time (`time.monotonic`) nothing that may be left out is begun.
    """

    def __init__(self, folder: Path, deadline: float) -> None:
        self.folder = folder
        self.deadline = deadline
        self.changed = threading.Condition()
        self.waiting: list[Stage] = []
        self.under_way: set[str] = set()
        self.stopped = False

    def run(self, stages: list[Stage]) -> None:
        """Run stages; quiet ones alone, at the end."""
        cores = sorted(os.sched_getaffinity(0))[-2:]
        for quiet in (False, True):
            self.waiting = [stage for stage in stages if (stage.part == "quiet") == quiet and not stage.lacks]
            workers = [threading.Thread(target=self._work, args=[core]) for core in (cores[:1] if quiet else cores)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()

    def _work(self, core: int) -> None:
        while (stage := self._next()) is not None:
            if stage.part == "landing" or time.monotonic() < self.deadline:
                self._run(stage, core)
            with self.changed:
                self.under_way.remove(stage.name)
                self.changed.notify_all()

    def _next(self) -> Stage | None:
        with self.changed:
            while self.waiting and not self.stopped:
                ahead = self.under_way | {stage.name for stage in self.waiting}
                ready = next((stage for stage in self.waiting if stage.after not in ahead), None)
                if ready:
                    self.waiting.remove(ready)
                    self.under_way.add(ready.name)
                    return ready
                self.changed.wait()
        return None

    def _run(self, stage: Stage, core: int) -> None:
        print(f"── {stage.name}: begun", flush=True)
        environment = {
            **os.environ, "INFERKIT_CORE": str(core), "INFERKIT_LEFT_OUT": str(self.folder / "left-out.tsv"),
            "TMPDIR": str(self.folder), "PYTHONUNBUFFERED": "1",
        }  # fmt: skip
        began = time.monotonic()
        with tempfile.TemporaryFile(dir=self.folder) as output:
            process = subprocess.Popen(
                stage.command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip
            _, status, usage = os.wait4(process.pid, 0)
            stage.code = process.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            text = output.read().decode("utf-8", "replace")
        stage.wall = time.monotonic() - began
        stage.cpu = usage.ru_utime + usage.ru_stime
        if not self.stopped:
            print(f"\n── {stage.name}: {' '.join(stage.command[1:])}\n{text}── {stage.row()}", flush=True)

    def started(self) -> list[psutil.Process]:
        """Return the processes that stages, or whatever they started, have left running: they keep their folder."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("TMPDIR") == str(self.folder):
                    found.append(process)
        return found

    def stop(self) -> None:
        """End the stages as Ctrl-C would, then kill what is left of all that they started."""
        with self.changed:
            self.stopped = True
            self.changed.notify_all()
            for stage in psutil.Process().children():
                with suppress(psutil.Error):
                    stage.send_signal(signal.SIGINT)
            self.changed.wait_for(lambda: not self.under_way, CLOSING_SECONDS)
            while self.under_way:
                self.kill()
                self.changed.wait(0.2)
        self.kill()

    def kill(self) -> list[str]:
        """Kill what is still running, and return its command lines."""
        lines = []
        for process in self.started():
            with suppress(psutil.Error):
                lines.append(" ".join(process.cmdline())[:100])
                process.kill()
        return lines


@contextmanager
def alone() -> Iterator[None]:
    """Hold this folder for one run; another one is refused."""
    BUILD.mkdir(exist_ok=True)
    with open(BUILD / "tests.lock", "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise Refusal(
                f"another run (process {file.read()}) is under way in this folder: wait for its end"
            ) from None
        file.truncate(0)
        print(os.getpid(), end="", file=file, flush=True)
        yield


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder for what is temporary, if there is room for what stages write; remove it."""
    for place in (BUILD, Path(tempfile.gettempdir())):
        free = shutil.disk_usage(place).free / 1e9
        if free < FREE_GB:
            raise Refusal(f"the tests write up to {FREE_GB} GB; {free:.1f} GB are free in {place}")
    folder = Path(tempfile.mkdtemp(prefix="inferkit-"))
    folder.chmod(0o755)  # as `/tmp` is: some tests become another user
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# -- from the command line --------------------------------------------------------------------------------------


class Refusal(Exception):
    """The reason, in one line, why nothing is run."""


class Stopped(BaseException):
    """A signal asked for the end; its argument is the signal's number."""


def _raise_stopped(number: int, frame: object) -> None:
    raise Stopped(number)


def unchecked(chosen: list[Stage]) -> list[str]:
    """Return a line for each thing that stages need and this machine lacks."""
    lines = [stage.lacks for stage in chosen]
    if mirror_path() is None:
        lines.append("published models and data: set INFERKIT_MIRROR to a folder that has them")
    try:
        with memory_cap(64):
            pass
    except NoCapError as error:
        lines.append(f"the lessons in 2 GB: {error}")
    return list(dict.fromkeys(filter(None, lines)))


def covers(stage: Stage, module: str) -> bool:
    """Return whether a stage's command names a test module, or the folder in which it lies."""
    return any(module == word or module.startswith(f"{word}/") for word in stage.command)


def left_out(all_stages: list[Stage], folder: Path) -> list[str]:
    """Return what was not run: tests by module, and whole stages."""
    ran = [stage for stage in all_stages if stage.code is not None]
    counts: Counter[str] = Counter()
    path = folder / "left-out.tsv"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        by, part, test = line.split("\t")
        module = test.split("::")[0]
        later = ("changed", "rest") if part == "changed" else ("rest",)
        if by != "landing" or not any(stage.part in later and covers(stage, module) for stage in ran):
            counts[module] += 1
    stages = [
        stage.name for stage in all_stages if stage.code is None and not stage.name.startswith(("changed", "rest"))
    ]
    return [f"{module}: {count}" for module, count in sorted(counts.items())] + stages


def prove(chosen: list[Stage], everything: list[Stage], minutes: float) -> int:
    """Run stages, print the table and what was left out, and return the exit code."""
    with alone(), temporary_folder() as folder:
        runner = Runner(folder, time.monotonic() + 60 * minutes)
        began = time.monotonic()
        try:
            runner.run(chosen)
        except Stopped as stopped:
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            runner.stop()
            print("\nInterrupted: nothing is left running, and nothing was proved.", file=sys.stderr)
            return 128 + int(stopped.args[0])
        for line in runner.kill():
            print(f"left running by a stage, and ended: {line}")
        print(f"\n{'stage':26s}{'wall s':>8s}{'CPU s':>8s}")
        for stage in chosen:
            print(stage.row())
        seconds = time.monotonic() - began
        print(f"{'together':26s}{seconds:8.0f}{sum(stage.cpu for stage in chosen):8.0f}")
        lines = left_out(everything, folder)
    if lines:
        print(f"\nNOT IN THIS LANDING (`make verify` runs it): {'; '.join(lines)}")
    for line in (missed := unchecked(chosen)):
        print(f"NOT CHECKED: {line}")
    failed = [stage.name for stage in chosen if stage.code]
    print(f"FAILED: {', '.join(failed)}" if failed else "All that ran passed." if missed else "All passed.")
    return 1 if failed else 0


def main(arguments: list[str] | None = None) -> int:
    """Prove what the command line names; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests", description="Prove a landing, or everything.")
    parser.add_argument("what", nargs="*", default=["test"], help="test (a landing), verify (everything), or stages")
    parser.add_argument("--minutes", type=float, help="begin nothing that may be left out after so many minutes")
    options = parser.parse_args(arguments)
    minutes = (
        options.minutes if options.minutes is not None else LANDING_MINUTES if options.what == ["test"] else 10_000
    )
    everything = stages(minutes)
    chosen = choose(everything, options.what)
    if not chosen:
        names = ", ".join(stage.name for stage in everything)
        parser.error(f"expected test, verify or stages ({names}); got {', '.join(options.what)}")
    missed = unchecked(chosen)
    if missed and os.environ.get("INFERKIT_REQUIRE_ALL"):
        print("\n".join(f"NOT CHECKED, and all is required: {line}" for line in missed), file=sys.stderr)
        return 1
    for number in SIGNALS:
        signal.signal(number, _raise_stopped)
    try:
        return prove(chosen, everything if options.what in (["test"], ["verify"]) else chosen, minutes)
    except Refusal as refusal:
        print(f"Not run: {refusal}.", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print("Not run to its end: no space is left on the disk.", file=sys.stderr)
        return 2


def choose(everything: list[Stage], what: list[str]) -> list[Stage]:
    """Return the stages that are named; none where a name is unknown."""
    if what == ["test"]:
        return [stage for stage in everything if stage.part in ("landing", "changed")]
    if what == ["verify"]:
        return [stage for stage in everything if stage.part != "changed"]
    known = {stage.name for stage in everything}
    return [stage for stage in everything if stage.name in what] if set(what) <= known else []


if __name__ == "__main__":
    sys.exit(main())
