"""Other Pythons of this machine, and environments made from them."""

import importlib.util
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
NEWEST = (3, 13)


def bootstrap() -> ModuleType:
    """Return ``binder/bootstrap.py``, which is a script and in no package."""
    if "bootstrap" not in sys.modules:
        spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "binder" / "bootstrap.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules["bootstrap"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["bootstrap"])
    return sys.modules["bootstrap"]


@cache
def newest_python() -> list[str] | None:
    """Return the command of the newest Python that the locks cover, or None where there is none that runs."""
    found: list[str] | None = bootstrap().find_python(NEWEST, NEWEST)
    return found


def missing() -> str | None:
    """Return what a machine without it should read, or None."""
    if newest_python():
        return None
    return "Python 3.13 (the other fork of the lock): put a python3.13 that runs on the path, or pyenv install 3.13"


def jax_python() -> str | None:
    """Return a Python that has JAX, NumPyro and Keras, and no TensorFlow; None where there is none.

    That is the one that INFERKIT_JAX_PYTHON names, else one in ``build/jax``, which is made from its lock where all is
    required.
    """
    if named := os.environ.get("INFERKIT_JAX_PYTHON"):
        return named
    folder = ROOT / "build" / "jax"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        if not os.environ.get("INFERKIT_REQUIRE_ALL"):
            return None
        uv = Path(sys.executable).with_name("uv")
        lock = ["--require-hashes", "-r", ROOT / "binder" / "lock-jax.txt"]
        subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, folder], check=True)
        made = subprocess.run([uv, "pip", "install", "-q", "--python", python, *lock])
        if made.returncode:
            shutil.rmtree(folder)
            made.check_returncode()
    return str(python)
