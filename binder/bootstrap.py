"""Make the project's environment, `.venv`, from a lock file: once, and quickly.

Usage: ``python3 binder/bootstrap.py course|dev|gpu``. It runs before anything is installed, on
whatever ``python3`` the machine has, so it uses the standard library alone and says in one line
when no suitable Python is there. A stamp written last tells a finished environment from one that
was interrupted; a second call with the same locks returns at once.
"""

import glob
import hashlib
import ntpath
import os
import posixpath
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HERE = os.path.join(ROOT, "binder")
VENV = os.path.join(ROOT, ".venv")
WINDOWS = os.name == "nt"
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


def program(name, venv=VENV, windows=WINDOWS):
    """Return the path of a program in an environment: ``Scripts`` on Windows, ``bin`` elsewhere."""
    if windows:
        return ntpath.join(venv, "Scripts", name + ".exe")
    return posixpath.join(venv, "bin", name)


def works(python, oldest=OLDEST, newest=NEWEST):
    """Return whether the command `python` runs, and is of these versions. (A shim may be there and not run.)"""
    code = "import sys, venv; sys.exit(not (%r <= sys.version_info[:2] <= %r))" % (oldest, newest)
    try:
        with open(os.devnull, "w") as null:
            return subprocess.call(python + ["-c", code], stdout=null, stderr=null) == 0
    except OSError:
        return False


def candidates(version, windows=WINDOWS, environ=os.environ):
    """Return the commands that may start a Python: the path's, the launcher's of Windows, pyenv's own folders."""
    name = "%d.%d" % version
    if windows:
        return [["py", "-" + name], ["python" + name]]
    pyenv = environ.get("PYENV_ROOT") or os.path.join(os.path.expanduser("~"), ".pyenv")
    folders = os.path.join(glob.escape(pyenv), "versions", name + "*", "bin", "python")
    return [["python" + name]] + [[path] for path in sorted(glob.glob(folders), reverse=True)]


def find_python(oldest=OLDEST, newest=NEWEST):
    """Return the command of a Python from `oldest` to `newest`, this one first and else the newest; or None."""
    found = [[sys.executable]]
    for minor in range(newest[1], oldest[1] - 1, -1):
        found += candidates((oldest[0], minor))
    for python in found:
        if works(python, oldest, newest):
            return python
    return None


def fingerprint(kind):
    """Hash all that decides what an environment holds."""
    digest = hashlib.sha256()
    for name in ("binder/bootstrap.py", "binder/lock-uv.txt", "binder/lock-%s.txt" % kind, "pyproject.toml"):
        with open(os.path.join(ROOT, name), "rb") as f:
            digest.update(f.read())
    return digest.hexdigest() + " " + ROOT


def stamp(kind, venv=VENV):
    """Return the path of the file that says that an environment holds `kind`, whole."""
    return os.path.join(venv, "inferkit-%s.stamp" % kind)


def is_ready(kind, venv=VENV):
    """Return whether an environment holds what the lock `kind` asks for."""
    for other in SATISFIED_BY[kind]:
        try:
            with open(stamp(other, venv)) as f:
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


def write_lab_settings(prefix):
    """Write JupyterLab's settings into an environment."""
    write(os.path.join(prefix, "share", "jupyter", "lab", "settings", "overrides.json"), LAB_SETTINGS)


def make(kind, venv=VENV, base=None):
    """Make or complete an environment, from the Python `base` if there is none yet."""
    for other in SATISFIED_BY:
        if os.path.exists(stamp(other, venv)):
            os.remove(stamp(other, venv))
    python = program("python", venv)
    if not works([python]):
        base = base or find_python()
        if base is None:
            sys.exit(
                "inferkit needs Python 3.11, 3.12 or 3.13 with its venv module; this is Python %d.%d. "
                "Install one, or name it: make lab PYTHON=/path/to/python3.12" % sys.version_info[:2]
            )
        subprocess.check_call(base + ["-m", "venv", "--clear", venv])
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes"]
    subprocess.check_call(pip + ["-r", os.path.join(HERE, "lock-uv.txt")])
    environment = dict(os.environ, VIRTUAL_ENV=venv, UV_PYTHON_DOWNLOADS="never")
    uv = [program("uv", venv), "pip"]
    lock = os.path.join(HERE, "lock-%s.txt" % kind)
    subprocess.check_call(uv + ["install", "--require-hashes", "-r", lock], env=environment)
    # the project's name until version 0.1; both would own the command `inferkit`
    subprocess.check_call(uv + ["uninstall", "-q", "inferkit"], env=environment)
    subprocess.check_call(
        uv + ["install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-e", ROOT], env=environment
    )
    write_lab_settings(venv)
    write(stamp(kind, venv), fingerprint(kind))


def ensure(kind, venv=VENV, base=None):
    """Make an environment unless it is there; a failure ends the program with one line that says what failed."""
    if kind == "gpu" and not sys.platform.startswith("linux"):
        sys.exit(
            "TensorFlow uses accelerators on Linux alone (on Windows: in WSL). Without one: the same command, no GPU."
        )
    try:
        if not is_ready(kind, venv):
            make(kind, venv, base)
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. The same command goes on from here.")
    except subprocess.CalledProcessError as error:
        sys.exit("Could not make the environment: this failed: %s" % " ".join(map(str, error.cmd)))


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in SATISFIED_BY:
        sys.exit("usage: python3 binder/bootstrap.py course|dev|gpu")
    ensure(sys.argv[1])
