"""The newest Python that the locks cover: the library and the first lessons, in an environment of its own.

``python -m tests.python313``

The lock forks (NumPy, SciPy, PyMC, ArviZ), so this is not the same set of packages on a newer interpreter. The lessons'
outputs are those that were built on the default one: nbval compares them.
"""

import os
import subprocess
import sys
import time

from tests.interpreters import ROOT, bootstrap, missing, newest_python

VENV = ROOT / "build" / "python-3.13"
LESSONS = ("02", "03", "04", "05", "06", "07", "08")  # 01 runs there as on Binder: `tests.replay`
# What concerns the repository, its tools and its builds, and no other Python: proved once, on the default one.
ELSEWHERE = (
    "tests/browser", "tests/notebooks", "tests/test_package.py", "tests/test_readme.py", "tests/test_lab.py",
    "tests/test_links.py", "tests/test_binder.py", "tests/test_bootstrap.py", "tests/test_handwriting.py",
    "tests/test_make_digit_models.py", "tests/test_make_sign_models.py", "tests/test_make_sign_ensemble.py",
)  # fmt: skip
PYTEST = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow and not alone", "--durations=5"]


def built_lessons() -> list[str]:
    """Return the numbers of the lessons to execute: those of `LESSONS` that are built."""
    names = [path.name for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")]
    return [number for number in LESSONS if any(name.startswith(f"{number}_") for name in names)]


def commands(python: str) -> list[list[str]]:
    """Return what is run there."""
    ignored = [f"--ignore={path}" for path in ELSEWHERE if (ROOT / path).exists()]
    return [[python, *PYTEST, *ignored, "tests", "inferkit"], [python, "-m", "notebooks.run", *built_lessons()]]


def main() -> int:
    """Make the environment if need be, run all, return 0 if all passed (or there is no such Python)."""
    base = newest_python()
    if base is None:
        print(f"Not run: {missing()}")
        return 0
    start = time.monotonic()
    bootstrap().ensure("dev", str(VENV), base)
    python = bootstrap().program("python", str(VENV))
    print(f"The environment: {time.monotonic() - start:.0f} s, in {VENV.relative_to(ROOT).as_posix()}", flush=True)
    versions = "import importlib.metadata as m, platform; print('Python ' + platform.python_version(), *("
    versions += "f'{name} {m.version(name)}' for name in ('numpy', 'scipy', 'pymc', 'arviz')), sep=', ')"
    subprocess.run([python, "-c", versions], check=True)
    env = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONHOME")}
    codes = [subprocess.run(command, cwd=ROOT, env=env).returncode for command in commands(python)]
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
