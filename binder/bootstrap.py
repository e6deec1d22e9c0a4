"""Make the project's environment, `.venv`, from a lock file: once, and quickly.

Usage: ``python3 binder/bootstrap.py course|dev|gpu``. It runs before anything is installed, on
whatever ``python3`` the machine has, so it uses the standard library alone and says in one line
when no suitable Python is there. A stamp written last tells a finished environment from one that
was interrupted; a second call with the same locks returns at once.
"""

import hashlib
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HERE = os.path.join(ROOT, "binder")
VENV = os.path.join(ROOT, ".venv")
BIN = os.path.join(VENV, "bin")
# A lock holds all that the ones after it hold: dev serves `make lab` too.
SATISFIED_BY = {"course": ("course", "dev", "gpu"), "dev": ("dev",), "gpu": ("gpu",)}
OLDEST, NEWEST = (3, 11), (3, 13)

# Two settings that keep JupyterLab from asking the network for news and updates.
LAB_SETTINGS = """{
  "@jupyterlab/apputils-extension:notification": {
    "checkForUpdates": false, "fetchNews": "false", "doNotDisturbMode": true
  }
}
"""


def works(python):
    """Return whether `python` runs, and is one that the course supports. (A shim may be there and not run.)"""
    code = "import sys, venv; sys.exit(not (%r <= sys.version_info[:2] <= %r))" % (OLDEST, NEWEST)
    try:
        with open(os.devnull, "w") as null:
            return subprocess.call([python, "-c", code], stdout=null, stderr=null) == 0
    except OSError:
        return False


def find_python():
    """Return the first Python from 3.11 to 3.13: this one, or one that the path offers."""
    for python in [sys.executable, "python3.13", "python3.12", "python3.11"]:
        if works(python):
            return python
    sys.exit(
        "inferkit needs Python 3.11, 3.12 or 3.13 with its venv module; this is Python %d.%d. "
        "Install one, or name it: make lab PYTHON=/path/to/python3.12" % sys.version_info[:2]
    )


def fingerprint(kind):
    """Hash all that decides what `.venv` holds."""
    digest = hashlib.sha256()
    for name in ("binder/bootstrap.py", "binder/lock-uv.txt", "binder/lock-%s.txt" % kind, "pyproject.toml"):
        with open(os.path.join(ROOT, name), "rb") as f:
            digest.update(f.read())
    return digest.hexdigest() + " " + ROOT


def stamp(kind):
    """Return the path of the file that says that `.venv` holds `kind`, whole."""
    return os.path.join(VENV, "inferkit-%s.stamp" % kind)


def is_ready(kind):
    """Return whether `.venv` holds what the lock `kind` asks for."""
    for other in SATISFIED_BY[kind]:
        try:
            with open(stamp(other)) as f:
                if f.read() == fingerprint(other):
                    return True
        except OSError:
            pass
    return False


def write(path, text):
    """Write `text` under a temporary name, then rename it."""
    if not os.path.isdir(os.path.dirname(path)):
        os.makedirs(os.path.dirname(path))
    with open(path + ".part", "w") as f:
        f.write(text)
    os.replace(path + ".part", path)


def make(kind):
    """Make or complete `.venv`."""
    for other in SATISFIED_BY:
        if os.path.exists(stamp(other)):
            os.remove(stamp(other))
    python = os.path.join(BIN, "python")
    if not works(python):
        subprocess.check_call([find_python(), "-m", "venv", "--clear", VENV])
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes"]
    subprocess.check_call(pip + ["-r", os.path.join(HERE, "lock-uv.txt")])
    environment = dict(os.environ, VIRTUAL_ENV=VENV, UV_PYTHON_DOWNLOADS="never")
    uv = [os.path.join(BIN, "uv"), "pip"]
    lock = os.path.join(HERE, "lock-%s.txt" % kind)
    subprocess.check_call(uv + ["install", "--require-hashes", "-r", lock], env=environment)
    subprocess.check_call(
        uv + ["install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-e", ROOT], env=environment
    )
    write(os.path.join(VENV, "share", "jupyter", "lab", "settings", "overrides.json"), LAB_SETTINGS)
    write(stamp(kind), fingerprint(kind))


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in SATISFIED_BY:
        sys.exit("usage: python3 binder/bootstrap.py course|dev|gpu")
    try:
        if not is_ready(sys.argv[1]):
            make(sys.argv[1])
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. The same command goes on from here.")
    except subprocess.CalledProcessError as error:
        sys.exit("Could not make the environment: this failed: %s" % " ".join(map(str, error.cmd)))
