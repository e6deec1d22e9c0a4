"""The newest Python that the locks cover, and that Binder has: library and lessons, in an environment of its own.

``python -m tests.python313 library`` or ``lessons``

The lock forks (NumPy, SciPy, PyMC, ArviZ), so this is not the same set of packages on a newer interpreter. The lessons'
outputs are those that were built on the default one, where the browser tests run them again: nbval compares them here.
"""

import os
import subprocess
import sys
import time

from tests.interpreters import ROOT, bootstrap, missing, newest_python

VENV = ROOT / "build" / "python-3.13"
# Proved once, on the default Python: what concerns the repository, its tools and its builds; and what drives processes,
# servers and clients for long, but no package of which the lock holds two versions; and what trains and converts for
# minutes, as lessons 09 and 10 do here.
ELSEWHERE = (
    "tests/browser", "tests/notebooks", "tests/test_package.py", "tests/test_readme.py", "tests/test_lab.py",
    "tests/test_links.py", "tests/test_binder.py", "tests/test_bootstrap.py", "tests/test_handwriting.py",
    "tests/test_make_digit_models.py", "tests/test_make_sign_models.py", "tests/test_make_sign_ensemble.py",
    "tests/test_make_table_models.py", "tests/test_batch_crash.py", "tests/test_batch_dask.py",
    "tests/test_cli_bench.py", "tests/test_cli_serve.py", "tests/test_serving_fuzz.py", "tests/test_serving_limits.py",
    "tests/test_serving_loadtest.py", "tests/test_serving_traffic.py", "tests/test_optimize_quantize.py",
    "tests/test_optimize_qat.py", "tests/test_optimize_prune.py", "tests/test_optimize_filters.py",
    "tests/test_optimize_cluster.py", "tests/test_optimize_distill.py", "tests/test_optimize_cascade.py",
    "tests/test_optimize_early_exit.py", "tests/test_models_runtimes.py", "tests/test_roofline_accelerator.py",
    "tests/test_make_sign_variants.py",
)  # fmt: skip
PYTEST = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not rotated and not quiet", "--durations=5"]


def command(part: str, python: str) -> list[str]:
    """Return what is run there."""
    if part == "lessons":
        return [python, "-m", "notebooks.run"]
    ignored = [f"--ignore={path}" for path in ELSEWHERE if (ROOT / path).exists()]
    return [python, *PYTEST, *ignored, "tests", "inferkit"]


def main(part: str) -> int:
    """Make the environment if need be, run a part, return 0 if all passed (or there is no such Python).

    Where there is none, the lessons run on the Python at hand.
    """
    base = newest_python()
    if base is None:
        print(f"Not run on Python 3.13: {missing()}")
        return subprocess.run(command(part, sys.executable), cwd=ROOT).returncode if part == "lessons" else 0
    start = time.monotonic()
    bootstrap().ensure("dev", str(VENV), base)
    python = bootstrap().program("python", str(VENV))
    print(f"The environment: {time.monotonic() - start:.0f} s, in {VENV.relative_to(ROOT).as_posix()}", flush=True)
    versions = "import importlib.metadata as m, platform; print('Python ' + platform.python_version(), *("
    versions += "f'{name} {m.version(name)}' for name in ('numpy', 'scipy', 'pymc', 'arviz')), sep=', ')"
    subprocess.run([python, "-c", versions], check=True)
    env = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONHOME")}
    return subprocess.run(command(part, python), cwd=ROOT, env=env).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
