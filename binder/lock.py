"""Write the lock files: every version pinned and hashed, no address recorded.

Usage: ``make lock``. Universal locks (Linux, macOS, Windows; Python 3.11 to 3.13). The lock `course`
takes its versions from the lock `dev`, so that one environment serves both. ``requirements.txt`` and
``tensorflow.txt`` are what Binder installs: the lock `course` without what Binder's own base brings. TensorFlow stands
alone: a tenth of the environment is its C++ headers, and they leave the image only in the step that brings them.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
UV = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "--universal", "--python-version=3.11"]
UV += ["--generate-hashes", "--no-header", "--no-emit-index-url", "--no-emit-find-links", "--no-annotate", "-q"]
# What repo2docker's base promises. These, and what they need, stay as the base has them: the server that it starts,
# and the extensions that it brings, were made to fit them.
BASE = ("jupyterlab", "ipykernel", "ipywidgets")
NEWER = ("typing-extensions",)  # the base has it too, older than what the web server's packages ask for
HEADER = "# Written by `make lock`: lock-course.txt without JupyterLab, ipykernel, ipywidgets and what they need.\n"
TENSORFLOW = ("tensorflow", "tensorflow-cpu")
TENSORFLOW_HEADER = "# Written by `make lock`: TensorFlow of lock-course.txt, for postBuild.\n"


def compile_lock(name: str, *what: str) -> None:
    """Resolve `what` into ``lock-<name>.txt``, keeping today's versions where they still fit."""
    options = ["-c", str(HERE / "constraints.txt"), *sys.argv[1:], "-o", str(HERE / f"lock-{name}.txt")]
    subprocess.run([*UV, *what, *options], check=True, cwd=HERE.parent)


def compile_names(name: str, *names: str) -> None:
    """Resolve packages of these names, with no project around them."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "names.in").write_text("\n".join(names))
        compile_lock(name, str(Path(folder) / "names.in"))


def blocks(lock: str) -> dict[str, str]:
    """Return the lines of each package of a lock; a package that forks has several entries."""
    parts = re.split(r"^(?=[a-z0-9])", lock, flags=re.M)
    return {part.partition(" \\")[0]: part for part in parts if "==" in part}


def name_of(requirement: str) -> str:
    """Return the name that a line of a lock is about."""
    return requirement.partition("==")[0].partition("[")[0]


def for_binder(lock: str, brought: set[str]) -> str:
    """Return a lock without the packages that are `brought` along, in the form of requirements for pip."""
    kept = [text for requirement, text in blocks(lock).items() if name_of(requirement) not in brought]
    return HEADER + "--require-hashes\n" + "".join(kept)


def tensorflow_alone(lock: str) -> str:
    """Return TensorFlow's lines of a lock, in the form of requirements for pip."""
    kept = [text for requirement, text in blocks(lock).items() if name_of(requirement) in TENSORFLOW]
    return TENSORFLOW_HEADER + "--require-hashes\n" + "".join(kept)


def brought_by_base() -> set[str]:
    """Return the names of `BASE` and of all that they need."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "base.in", Path(folder) / "base.txt"
        source.write_text("\n".join(BASE))
        constraint = ["-c", str(HERE / "lock-course.txt")]
        subprocess.run([*UV, *constraint, str(source), "-o", str(target)], check=True, cwd=HERE.parent)
        return {name_of(requirement) for requirement in blocks(target.read_text())} - set(NEWER)


def main() -> None:
    """Write the lock files and what Binder installs."""
    project = ("pyproject.toml", "--group", "build")
    compile_lock("dev", *project, "--extra", "dev")
    compile_lock("course", *project, "--extra", "course", "-c", str(HERE / "lock-dev.txt"))
    compile_lock("gpu", *project, "--extra", "gpu", "--extra", "notebooks")
    compile_names("jax", "jax", "numpyro", "keras", "platformdirs")  # an accelerator's run without TensorFlow
    compile_names("uv", "uv")
    compile_names("repo2docker", "jupyter-repo2docker")  # for the tests: it says what Binder will do
    course = (HERE / "lock-course.txt").read_text()
    (HERE / "requirements.txt").write_text(for_binder(course, brought_by_base() | set(TENSORFLOW)))
    (HERE / "tensorflow.txt").write_text(tensorflow_alone(course))


if __name__ == "__main__":
    main()
