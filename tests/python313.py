"""Make an environment of the newest Python that the locks cover, and that Binder has: ``python -m tests.python313``.

The lock forks (NumPy, SciPy, PyMC, ArviZ), so this is not the same set of packages on a newer interpreter. The lessons
were built on the default one and run here, so that their outputs are those of both.
"""

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
    "tests/test_links.py", "tests/test_runner.py", "tests/test_binder.py", "tests/test_bootstrap.py",
    "tests/test_handwriting.py",
    "tests/test_make_digit_models.py", "tests/test_make_sign_models.py", "tests/test_make_sign_ensemble.py",
    "tests/test_make_table_models.py", "tests/test_batch_crash.py", "tests/test_batch_dask.py",
    "tests/test_cli_bench.py", "tests/test_cli_serve.py", "tests/test_serving_fuzz.py", "tests/test_serving_limits.py",
    "tests/test_serving_loadtest.py", "tests/test_serving_traffic.py", "tests/test_optimize_quantize.py",
    "tests/test_optimize_qat.py", "tests/test_optimize_prune.py", "tests/test_optimize_filters.py",
    "tests/test_optimize_cluster.py", "tests/test_optimize_distill.py", "tests/test_optimize_cascade.py",
    "tests/test_optimize_early_exit.py", "tests/test_models_runtimes.py", "tests/test_roofline_accelerator.py",
    "tests/test_make_sign_variants.py",
)  # fmt: skip
FORKED = ("test_bayes_*", "test_uncertainty_*", "test_datasets*")  # what concerns the packages that fork most


def main() -> int:
    """Make the environment if need be, and print what is in it; return the exit code."""
    base = newest_python()
    if base is None:
        print(missing(), file=sys.stderr)
        return 1
    start = time.monotonic()
    bootstrap().ensure("dev", str(VENV), base)
    print(f"The environment: {time.monotonic() - start:.0f} s, in {VENV.relative_to(ROOT).as_posix()}", flush=True)
    python = bootstrap().program("python", str(VENV))
    versions = "import importlib.metadata as m, platform; print('Python ' + platform.python_version(), *("
    versions += "f'{name} {m.version(name)}' for name in ('numpy', 'scipy', 'pymc', 'arviz')), sep=', ')"
    return subprocess.run([python, "-c", versions]).returncode


if __name__ == "__main__":
    sys.exit(main())
