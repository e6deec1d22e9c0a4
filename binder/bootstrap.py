"""Make the project's environment, `.venv`, from a lock file: once, and quickly.

Usage: ``python3 binder/bootstrap.py course|dev|gpu``. It runs before anything is installed, on
whatever ``python3`` the machine has, so it uses the standard library alone and says in one line
when no suitable Python is there. While it works it is never silent for long, and what ends it
(Ctrl-C, a signal, a closed terminal) ends all that it has started. A stamp written last tells a
finished environment from one that was interrupted; a second call with the same locks returns at once.
"""

import glob
import hashlib
import ntpath
import os
import posixpath
import signal
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HERE = os.path.join(ROOT, "binder")
VENV = os.path.join(ROOT, ".venv")
WINDOWS = os.name == "nt"
# A lock holds all that the ones after it hold: dev serves `make lab` too.
SATISFIED_BY = {"course": ("course", "dev", "gpu"), "dev": ("dev",), "gpu": ("gpu",)}
OLDEST, NEWEST = (3, 11), (3, 13)
EVERY_S = 4  # how often work that takes long says so
CLOSING_S = 4  # how long a program that is asked to end may take

# Two settings that keep JupyterLab from asking the network for news and updates, and one that shows a page of text as
# its readers want it, not its source.
LAB_SETTINGS = """{
  "@jupyterlab/docmanager-extension:plugin": {"defaultViewers": {"markdown": "Markdown Preview"}},
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


def works(python, oldest=OLDEST, newest=NEWEST, modules="venv, ensurepip"):
    """Return whether the command `python` runs, is of these versions, and has what is needed of its library.

    A shim may be there and not run; a system's Python may come without what makes environments.
    """
    code = "import sys, %s; sys.exit(not (%r <= sys.version_info[:2] <= %r))" % (modules, oldest, newest)
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
    escape = getattr(glob, "escape", str)  # Python 2 has none
    folders = os.path.join(escape(pyenv), "versions", name + "*", "bin", "python")
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
    digest.update(ROOT if isinstance(ROOT, bytes) else ROOT.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


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
        except EnvironmentError:  # Python 2 has two kinds
            pass
    return False


def write(path, text):
    """Write `text` under a temporary name, then rename it."""
    if not os.path.isdir(os.path.dirname(path)):
        os.makedirs(os.path.dirname(path))
    try:
        with open(path + ".part", "w") as f:
            f.write(text)
        getattr(os, "replace", os.rename)(path + ".part", path)
    finally:
        if os.path.exists(path + ".part"):
            os.remove(path + ".part")


def write_lab_settings(prefix):
    """Write JupyterLab's settings into an environment."""
    write(os.path.join(prefix, "share", "jupyter", "lab", "settings", "overrides.json"), LAB_SETTINGS)


# -- running programs -------------------------------------------------------------------------------------------


class Failed(Exception):
    """A program that did not do its work: what it was about, and what it said."""


def say(text):
    """Print a line at once, also where it is read by a program."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def end_at_signals():
    """Let what would kill this program end it in good order, with the exit code that a shell gives."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:  # `nohup` has it ignored
            signal.signal(number, lambda number, _frame: sys.exit(128 + number))


def step(what, command, environment=None):
    """Run a program; say every few seconds how long it has taken and what it printed last."""
    say(what + " ...")
    # In a session of its own, so that it can be ended with all that it started.
    child = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=getattr(os, "setsid", None),
    )
    printed = []
    reader = threading.Thread(target=listen, args=(child.stdout, printed))
    reader.daemon = True
    reader.start()
    started = told = time.time()
    try:
        child.stdin.close()
        while child.poll() is None:
            time.sleep(0.05)
            if time.time() - told > EVERY_S:
                told = time.time()
                say("  %.0f s: %s" % (told - started, printed[-1] if printed else "at work"))
    finally:
        end(child)
        reader.join(1)
        if not reader.is_alive():  # something that it started may still hold the other end
            child.stdout.close()
    if child.returncode:
        raise Failed(what, printed)


def listen(stream, printed):
    """Append the lines that a program prints, in letters that any terminal can show."""
    for line in iter(stream.readline, b""):
        text = line.decode("utf-8", "replace").strip()
        if text:
            printed.append(str(text.encode("ascii", "replace").decode("ascii")))


def end(child):
    """End a program and all that it started: politely, then (after some seconds, or if asked again) at once."""
    try:
        if child.poll() is None:
            send(child, signal.SIGTERM)
        until = time.time() + CLOSING_S
        while child.poll() is None and time.time() < until:
            time.sleep(0.05)
    finally:
        if child.poll() is None:
            send(child, getattr(signal, "SIGKILL", signal.SIGTERM))
            child.wait()


def send(child, number):
    """Send a signal to a program and all that it started."""
    if WINDOWS:
        child.terminate()
    else:
        os.killpg(child.pid, number)


def can_be_written(path):
    """Return whether a folder can be written to, or be made."""
    while path and not os.path.exists(path):
        path = os.path.dirname(path)
    return os.path.isdir(path) and os.access(path, os.W_OK | os.X_OK)


# -- the environment --------------------------------------------------------------------------------------------


def for_uv(venv, environ=os.environ):
    """Return the variables that uv needs: its own memory of packages is left out where it can't be written to."""
    variables = dict(environ, VIRTUAL_ENV=venv, UV_PYTHON_DOWNLOADS="never")
    caches = environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    if not WINDOWS and not can_be_written(environ.get("UV_CACHE_DIR") or os.path.join(caches, "uv")):
        say("The home folder can't be written to: packages are fetched and not kept for the next environment.")
        variables["UV_NO_CACHE"] = "1"
    return variables


def make(kind, venv=VENV, base=None):
    """Make or complete an environment, from the Python `base` if there is none yet."""
    for other in SATISFIED_BY:
        if os.path.exists(stamp(other, venv)):
            os.remove(stamp(other, venv))
    python = program("python", venv)
    if not works([python], modules="venv, pip"):
        base = base or find_python()
        if base is None:
            sys.exit(
                "inferkit needs Python 3.11, 3.12 or 3.13 with its venv module; this is Python %d.%d. Install one "
                "(Debian, Ubuntu: apt install python3-venv), or name it: make lab PYTHON=/path/to/python3.12"
                % sys.version_info[:2]
            )
        step("Making the environment .venv, once", base + ["-m", "venv", "--clear", venv])
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes"]
    step("Installing uv, which installs the rest", pip + ["-r", os.path.join(HERE, "lock-uv.txt")])
    environment = for_uv(venv)
    uv = [program("uv", venv), "pip"]
    lock = os.path.join(HERE, "lock-%s.txt" % kind)
    step("Installing the packages (3 GB on disk)", uv + ["install", "--require-hashes", "-r", lock], environment)
    # the project's name until version 0.1; both would own the command `inferkit`
    step("Looking for an earlier inferkit", uv + ["uninstall", "-q", "inferkit"], environment)
    local = ["install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-e", ROOT]
    step("Installing inferkit", uv + local, environment)
    write_lab_settings(venv)
    write(stamp(kind, venv), fingerprint(kind))


def ensure(kind, venv=VENV, base=None):
    """Make an environment unless it is there; a failure ends the program with one line that says what failed."""
    if kind == "gpu" and not sys.platform.startswith("linux"):
        sys.exit(
            "TensorFlow uses accelerators on Linux alone (on Windows: in WSL). Without one: the same command, no GPU."
        )
    if is_ready(kind, venv):
        return
    end_at_signals()
    try:
        make(kind, venv, base)
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. The same command goes on from here.\n")
        sys.exit(130)
    except Failed as error:
        what, printed = error.args
        sys.exit(why("\n".join(printed)) or "%s failed:\n%s" % (what, "\n".join(printed[-8:])))
    except EnvironmentError as error:
        sys.exit(why(str(error)) or "Could not make the environment .venv: %s" % error)


def why(text):
    """Return a line for what a user can mend, by what a program said of it; None for all else."""
    if "No space left" in text or "os error 28" in text:
        return "The disk is full: the environment takes 3 GB. Make room; the same command goes on from here."
    return None


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in SATISFIED_BY:
        sys.exit("usage: python3 binder/bootstrap.py course|dev|gpu")
    ensure(sys.argv[1])
