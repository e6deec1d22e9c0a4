"""What `make` does, without make: open the course, present it, prove it. On Windows this is the way.

Usage: ``python binder/course.py COMMAND [--gpu] [options of the command ...]``, for instance ``lab``,
``lecture 01``, ``reset 01``, ``test``. It makes the environment first, if need be. It uses the standard
library alone, as nothing is installed yet. The Makefile calls it too.
"""

import os
import subprocess
import sys

import bootstrap

# Of each command: the lock that it needs, what Python then runs, and what it does.
COMMANDS = {
    "lab": ("course", ["-m", "notebooks.lab", "open"], "open the course in JupyterLab"),
    "lecture": ("course", ["-m", "notebooks.lab", "lecture"], "present a lesson as live slides: lecture 01"),
    "reset": ("course", ["-m", "notebooks.lab", "reset"], "give a fresh copy of a lesson: reset 01"),
    "test": ("dev", ["-m", "tests"], "prove what a landing needs"),
    "verify": ("dev", ["-m", "tests", "verify"], "prove everything"),
    "lint": ("dev", ["-m", "tests.lint"], "style, types and layers alone, and a table of sizes"),
    "notebooks": ("dev", ["-m", "notebooks.build"], "rebuild the notebooks from their sources"),
    "binder-check": ("dev", ["-m", "notebooks.run"], "run each lesson once in 2 GB on one core"),
    "links": ("dev", ["-m", "notebooks.links"], "write every public address anew from pyproject.toml"),
    "slides": ("dev", ["-m", "notebooks.publish", "slides"], "hand-outs of the slides"),
    "site": ("dev", ["-m", "notebooks.publish", "site"], "the course as a web site"),
    "bench": ("dev", ["-m", "tests.bench"], "measure what the design promises"),
    "weights": ("dev", ["-m", "datasets"], "train the shipped models again"),
    "lock": ("dev", [os.path.join("binder", "lock.py")], "resolve the locks anew"),
    "env": ("dev", None, "make the environment of development"),
}


def usage():
    """Return what the command line may hold."""
    lines = ["usage: python binder/course.py COMMAND [--gpu] [options ...]", ""]
    return "\n".join(lines + ["  %-14s%s" % (name, COMMANDS[name][2]) for name in COMMANDS])


def plan(arguments):
    """Return which environment a command line needs, and what Python is then called with (None: nothing)."""
    if not arguments or arguments[0] not in COMMANDS:
        sys.exit(usage())
    kind, call, _ = COMMANDS[arguments[0]]
    options = [option for option in arguments[1:] if option != "--gpu"]
    if arguments[0] in ("lecture", "reset"):
        check_lesson(options[0] if options else "nothing")
    if len(options) < len(arguments) - 1:
        if kind != "course":
            sys.exit("--gpu goes with lab, lecture and reset; the tests run on the processor")
        kind = "gpu"
    return kind, call and call + options


def check_lesson(number):
    """End the program unless there is such a lesson: before an environment is made, as lessons are files."""
    names = sorted(os.listdir(os.path.join(bootstrap.ROOT, "notebooks")))
    there = [name[:2] for name in names if name[:2].isdigit() and name.endswith(".ipynb")]
    if number.split("_")[0].zfill(2) not in there:
        sys.exit("expected the number of a lesson, got %s; the lessons are: %s" % (number, ", ".join(there)))


def run(command):
    """Run `command` in place of this program; where a program can't be replaced (Windows), wait for its end."""
    # Containers often set it; then each kernel compiles TensorFlow's sources anew, for longer than it imports them.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if not bootstrap.WINDOWS:
        sys.stdout.flush()
        os.execv(command[0], command)
    child = subprocess.Popen(command)
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:  # Ctrl-C has reached the child too, and it may want some seconds to close
            pass


def main(arguments):
    """Make the environment and run the command in the project's folder; return its exit code."""
    kind, call = plan(arguments)
    bootstrap.ensure(kind)
    if call is None:
        return 0
    os.chdir(bootstrap.ROOT)
    return run([bootstrap.program("python")] + call)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
