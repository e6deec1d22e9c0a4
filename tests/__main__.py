"""Run every check, in order of cost: ``make test``, or ``python -m tests [STAGE ...]``.

The stages are lint, unit, lessons, browser, binder (what Binder will do) and python313 (the newest Python).

Each stage is one tool called as anyone would call it. All stages run even if one fails; the last
lines say what failed and what could not be checked on this machine, and how to enable it.
With ``INFERKIT_REQUIRE_ALL=1`` what cannot be checked is a failure.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
PYTEST = [PYTHON, "-m", "pytest", "-q", "--durations=8"]

STAGES: dict[str, list[list[str]]] = {
    "lint": [
        [PYTHON, "-m", "ruff", "check", "."],
        [PYTHON, "-m", "ruff", "format", "--check", "."],
        [PYTHON, "-m", "mypy"],
        [str(Path(PYTHON).with_name("lint-imports")), "--no-logo"],
    ],
    "unit": [[*PYTEST, "--ignore=tests/browser", "tests", "inferkit", "notebooks", "datasets"]],
    "lessons": [[PYTHON, "-m", "notebooks.run"]],
    "browser": [[*PYTEST, "-s", "tests/browser"]],
    "binder": [[PYTHON, "-m", "tests.replay"]],
    "python313": [[PYTHON, "-m", "tests.python313"]],
}


def run(stage: str) -> bool:
    """Run the commands of one stage; return whether all succeeded."""
    start = time.monotonic()
    codes = []
    for command in STAGES[stage]:
        print(f"\n── {stage}: {' '.join([Path(command[0]).name, *command[1:]])}", flush=True)
        # 5 is pytest's "no tests": a stage without tests proves nothing, so it fails too
        codes.append(subprocess.run(command, cwd=ROOT).returncode)
    print(f"── {stage}: {time.monotonic() - start:.0f} s", flush=True)
    return not any(codes)


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
        lines["browser"] = "anything in a browser: install Chromium (apt-get install chromium) or set INFERKIT_CHROMIUM"
    lines |= dict.fromkeys(("binder", "python313"), missing()) if missing() else {}
    return lines


def main(stages: list[str]) -> int:
    """Run the stages named, or all; return the exit code."""
    unknown = [stage for stage in stages if stage not in STAGES]
    if unknown:
        print(f"expected stages from {', '.join(STAGES)}; got {', '.join(unknown)}", file=sys.stderr)
        return 2
    stages = stages or list(STAGES)
    failed = [stage for stage in stages if not run(stage)]
    missing = [line for stage, line in unchecked().items() if stage in stages]
    if missing and os.environ.get("INFERKIT_REQUIRE_ALL"):
        failed.append("what must be checked here and could not be")
    print()
    for line in missing:
        print(f"NOT CHECKED: {line}")
    print(f"FAILED: {', '.join(failed)}" if failed else "All that ran passed." if missing else "All passed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
