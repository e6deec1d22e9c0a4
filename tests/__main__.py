"""Run every check, in order of cost: ``make test``, or ``python -m tests [STAGE ...]``.

The stages are lint, unit, slow (tests that take seconds each), alone (what measures itself against another program, and
so wants a quiet machine), lessons (on the newest Python, as on Binder), browser, browser-odd and browser-even (the
lessons in a browser), binder (what Binder will do) and python313 (the newest Python).

Each stage is one tool called as anyone would call it. Where there are several cores, stages run side by side; what they
print comes when they end. All stages run even if one fails; the last lines say what failed and what could not be
checked on this machine, and how to enable it.
With ``INFERKIT_REQUIRE_ALL=1`` what cannot be checked is a failure.
"""

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
PYTEST = [PYTHON, "-m", "pytest", "-q", "--durations=8"]
UNIT = ["--ignore=tests/browser", "tests"]
LIVE = [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("tests/browser/test_lesson_*.py"))]

STAGES: dict[str, list[list[str]]] = {
    "lint": [
        [PYTHON, "-m", "ruff", "check", "."],
        [PYTHON, "-m", "ruff", "format", "--check", "."],
        [PYTHON, "-m", "mypy"],
        [str(Path(PYTHON).with_name("lint-imports")), "--no-logo"],
    ],
    "unit": [[*PYTEST, "-m", "not rotated and not quiet", *UNIT, "inferkit", "notebooks", "datasets"]],
    "slow": [[*PYTEST, "-m", "rotated and not quiet", *UNIT]],
    "lessons": [[PYTHON, "-m", "tests.python313", "lessons"]],
    "binder": [[PYTHON, "-m", "tests.replay"]],
    "python313": [[PYTHON, "-m", "tests.python313", "library"]],
    "browser": [[*PYTEST, "-s", "tests/browser", "--ignore-glob=*/test_lesson_*"]],
    "browser-odd": [[*PYTEST, "-s", *LIVE[::2]]],
    "browser-even": [[*PYTEST, "-s", *LIVE[1::2]]],
    "alone": [[*PYTEST, "-m", "quiet", *UNIT]],
}
# The stages of a group run two at a time, in this order: whichever place is free takes the next. Groups run in turn.
GROUPS = [
    ["lint"],
    ["unit", "python313", "slow", "lessons", "binder"],
    ["browser"],  # it prints how soon the page changes: a browser and a kernel fill two cores by themselves
    ["browser-odd", "browser-even"],
    ["alone"],
]


def run(stage: str, *, beside_another: bool = False) -> bool:
    """Run the commands of one stage; return whether all succeeded."""
    start = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as kept:
        out = kept if beside_another else None
        print(f"── {stage}: begun", flush=True)
        codes = []
        for command in STAGES[stage]:
            print(f"\n── {stage}: {' '.join([Path(command[0]).name, *command[1:]])}", file=out, flush=True)
            # 5 is pytest's "no tests": a stage without tests proves nothing, so it fails too
            codes.append(subprocess.run(command, cwd=ROOT, stdout=out, stderr=out and subprocess.STDOUT).returncode)
        kept.seek(0)
        print(f"{kept.read()}── {stage}: {time.monotonic() - start:.0f} s", flush=True)
    return not any(codes)


def run_group(stages: list[str]) -> list[str]:
    """Run some stages, two at a time where there are cores for it; return those that failed."""
    side_by_side = len(stages) > 1 and cores() > 1
    with ThreadPoolExecutor(2 if side_by_side else 1) as pool:
        passed = pool.map(lambda stage: run(stage, beside_another=side_by_side), stages)
        return [stage for stage, fine in zip(stages, passed, strict=True) if not fine]


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def unchecked() -> dict[str, str]:
    """Return for each stage that this machine cannot run whole what is missing, and how to enable it."""
    from notebooks.cap import NoCapError, memory_cap
    from tests.interpreters import missing
    from tests.machine import chromium_path, mirror_path

    lines = {}
    if mirror_path() is None:
        lines["unit"] = "published models: set INFERKIT_MIRROR to a folder that has them"
    try:
        with memory_cap(64):
            pass
    except NoCapError as error:
        lines["lessons"] = f"the lessons under a cap of 2 GB: {error}"
    if chromium_path() is None:
        line = "anything in a browser: install Chromium (apt-get install chromium) or set INFERKIT_CHROMIUM"
        lines |= dict.fromkeys(("browser", "browser-odd", "browser-even"), line)
    lines |= dict.fromkeys(("binder", "python313"), missing()) if missing() else {}
    return lines


def main(stages: list[str]) -> int:
    """Run the stages named, or all; return the exit code."""
    unknown = [stage for stage in stages if stage not in STAGES]
    if unknown:
        print(f"expected stages from {', '.join(STAGES)}; got {', '.join(unknown)}", file=sys.stderr)
        return 2
    stages = stages or list(STAGES)
    failed = [stage for group in GROUPS for stage in run_group([one for one in group if one in stages])]
    missing = list(dict.fromkeys(line for stage, line in unchecked().items() if stage in stages))
    if missing and os.environ.get("INFERKIT_REQUIRE_ALL"):
        failed.append("what must be checked here and could not be")
    print()
    for line in missing:
        print(f"NOT CHECKED: {line}")
    print(f"FAILED: {', '.join(failed)}" if failed else "All that ran passed." if missing else "All passed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
