"""Write the lock files: every version pinned and hashed, no address recorded.

Usage: ``make lock``. Universal locks (Linux, macOS, Windows; Python 3.11 to 3.13). The lock `course`
takes its versions from the lock `dev`, so that one environment serves both.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
UV = ["uv", "pip", "compile", "--universal", "--python-version=3.11", "--generate-hashes", "--no-header"]
UV += ["--no-emit-index-url", "--no-emit-find-links", "--no-annotate", "-q"]


def compile_lock(name: str, *what: str) -> None:
    """Resolve `what` into ``lock-<name>.txt``, keeping today's versions where they still fit."""
    subprocess.run([*UV, *what, *sys.argv[1:], "-o", str(HERE / f"lock-{name}.txt")], check=True, cwd=HERE.parent)


def main() -> None:
    """Write the four lock files."""
    project = ("pyproject.toml", "--group", "build")
    compile_lock("dev", *project, "--extra", "dev")
    compile_lock("course", *project, "--extra", "course", "-c", str(HERE / "lock-dev.txt"))
    compile_lock("gpu", *project, "--extra", "gpu", "--extra", "notebooks")
    with tempfile.NamedTemporaryFile("w", suffix=".in") as f:
        f.write("uv\n")
        f.flush()
        compile_lock("uv", f.name)


if __name__ == "__main__":
    main()
