"""Run every check, in order of cost: ``make test``, or ``python -m tests [lint|unit|lessons|browser ...]``.

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


def unchecked() -> list[str]:
    """Return what this machine cannot check, and how to enable it."""
    from notebooks.cap import NoCapError, memory_cap
    from tests.chromium import chromium_path

    lines = []
    try:
        with memory_cap(64):
            pass
    except NoCapError as error:
        lines.append(f"the lessons under a cap of 2 GB: {error}")
    if chromium_path() is None:
        lines.append(
            "anything in a browser: install Chromium (Debian: apt-get install chromium) or set INFERKIT_CHROMIUM"
        )
    return lines


def main(stages: list[str]) -> int:
    """Run the stages named, or all; return the exit code."""
    unknown = [stage for stage in stages if stage not in STAGES]
    if unknown:
        print(f"expected stages from {', '.join(STAGES)}; got {', '.join(unknown)}", file=sys.stderr)
        return 2
    failed = [stage for stage in stages or STAGES if not run(stage)]
    missing = [] if stages and not {"lessons", "browser"} & set(stages) else unchecked()
    if missing and os.environ.get("INFERKIT_REQUIRE_ALL"):
        failed.append("what must be checked here and could not be")
    print()
    for line in missing:
        print(f"NOT CHECKED: {line}")
    print(f"FAILED: {', '.join(failed)}" if failed else "All that ran passed." if missing else "All passed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
