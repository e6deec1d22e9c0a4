"""Check style, types and layers, and print how large the house is: ``python -m tests.lint``."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHECKS = [
    [sys.executable, "-m", "ruff", "check", "."],
    [sys.executable, "-m", "ruff", "format", "--check", "."],
    [sys.executable, "-m", "mypy"],
    [str(Path(sys.executable).with_name("lint-imports")), "--no-logo"],
]
SMALL, LARGE = 60, 300  # code lines of a module


def code_lines(text: str) -> int:
    """Return how many lines of a Python source are neither blank nor comment nor docstring."""
    documented: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            documented |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(bool(line.strip()) and not line.lstrip().startswith("#") and n not in documented for n, line in lines)


def _count(paths: Iterable[Path]) -> dict[Path, int]:
    return {path: code_lines(path.read_text(encoding="utf-8")) for path in paths}


def _lines(paths: Iterable[Path]) -> int:
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def size_table() -> str:
    """Return the table of sizes: the library by package, and what stands beside it."""
    library = _count(sorted((ROOT / "inferkit").rglob("*.py")))
    packages: dict[str, dict[Path, int]] = {}
    for path, lines in library.items():
        parts = path.relative_to(ROOT / "inferkit").parts
        name = parts[0] if len(parts) > 1 else "_base and root"
        packages.setdefault(name, {})[path] = lines
    rows = [f"{'package':24s}{'code lines':>11s}{'modules':>9s}{'largest':>9s}{'below ' + str(SMALL):>10s}"
            f"{'above ' + str(LARGE):>11s}"]  # fmt: skip
    for name, found in sorted(packages.items(), key=lambda pair: -sum(pair[1].values())):
        sizes = [lines for path, lines in found.items() if path.name not in ("__init__.py", "__main__.py")] or [0]
        small, large = sum(size < SMALL for size in sizes), sum(size > LARGE for size in sizes)
        rows.append(f"{name:24s}{sum(found.values()):11,d}{len(sizes):9d}{max(sizes):9d}{small:10d}{large:11d}")
    rows.append(f"{'library':24s}{sum(library.values()):11,d}{len(library):9d}")
    tests = [path for path in (ROOT / "tests").rglob("*.py") if not path.name.startswith("bench")]
    scripts = [path for path in (ROOT / "inferkit").rglob("*") if path.suffix in (".js", ".css")]
    cells = [
        len(json.loads(path.read_text(encoding="utf-8"))["cells"]) for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")
    ]
    beside = {
        "tests, all lines": _lines(tests),
        "datasets, code": sum(_count((ROOT / "datasets").glob("*.py")).values()),
        "notebooks/*.py, code": sum(_count((ROOT / "notebooks").glob("*.py")).values()),
        "binder, code": sum(_count((ROOT / "binder").glob("*.py")).values()),
        "JavaScript and CSS": _lines(scripts),
        "cells of lessons": sum(cells),
    }
    return "\n".join([*rows, *(f"{name:24s}{count:11,d}" for name, count in beside.items())])


def main() -> int:
    """Run the checks, print the table; return the exit code."""
    codes = []
    for command in CHECKS:
        print(f"── {' '.join([Path(command[0]).name, *command[1:]])}", flush=True)
        codes.append(subprocess.run(command, cwd=ROOT).returncode)
    print(size_table())
    return 1 if any(codes) else 0


if __name__ == "__main__":
    sys.exit(main())
