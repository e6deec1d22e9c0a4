"""Choose what a landing runs: what is short, a fifth of what takes long by turn, and of the rest what changed.

Doctests take turns too. As a pytest plugin (``-p tests.rotation --part=landing``) it chooses tests; as a script it
prints whether a landing is proved by ``test`` or, as locks, ``binder/`` or the runner changed, by ``verify``. The turn
comes from HEAD's hash, so that the same commit always runs the same tests.
"""

import os
import re
import subprocess
import time
import zlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FIFTHS = 5
SITTING_SECONDS = 4 * 3600
RUNNER = (
    "pyproject.toml",
    "binder/",
    ".ci/",
    "Makefile",
    "tests/__main__.py",
    "tests/rotation.py",
    "tests/conftest.py",
)
PARTS = ("landing", "changed", "rest", "quiet")
TIME_IS_OVER = "its time is over"
INTERRUPTED, NOTHING_RAN = 2, 5  # pytest's exit codes


# -- what changed -----------------------------------------------------------------------------------------------


def _git(*arguments: str) -> list[str]:
    """Return the lines that git prints; none where there is no repository."""
    try:
        result = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        return []
    return result.stdout.splitlines() if result.returncode == 0 else []


@cache
def head() -> str:
    """Return HEAD's hash; zeros where there is no repository."""
    return (_git("rev-parse", "HEAD") or ["0" * 40])[0]


@cache
def base() -> str:
    """Return what landed before: ``INFERKIT_BASE``, or where main stands elsewhere, or stood four hours before HEAD."""
    if named := os.environ.get("INFERKIT_BASE"):
        return named
    upstream = _git("merge-base", "HEAD", "origin/main")
    if upstream and upstream[0] != head():
        return upstream[0]
    (stamp,) = _git("show", "-s", "--format=%ct", "HEAD") or ["0"]
    before = _git("rev-list", "-1", f"--before={int(stamp) - SITTING_SECONDS}", "HEAD")
    return (before or _git("rev-list", "--max-parents=0", "HEAD") or [head()])[0]


@cache
def changed_files() -> frozenset[str]:
    """Return the paths that differ from the base, committed or not."""
    untracked = _git("ls-files", "--others", "--exclude-standard")
    return frozenset([*_git("diff", "--name-only", base(), "--"), *untracked])


def touches(paths: Iterable[str]) -> bool:
    """Return whether something below one of these paths changed."""
    return any(changed.startswith(path) for path in paths for changed in changed_files())


@cache
def packages_of(path: Path) -> frozenset[str]:
    """Return the folders of this library's packages that a Python file names, in what it gives a browser to run too."""
    text = path.read_text(encoding="utf-8")
    names = re.findall(r"\binferkit\.(\w+)", text)
    names += [name for names in re.findall(r"\bfrom inferkit import ([\w, ]+)", text) for name in names.split(", ")]
    return frozenset(f"inferkit/{name}" for name in names)


def by_change(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Return which of some Python files changed themselves, and of which only a package changed that they import."""
    own, through = [], []
    for path in paths:
        if touches([Path(os.path.relpath(path, ROOT)).as_posix()]):
            own.append(path)
        elif touches(packages_of(path)):
            through.append(path)
    return own, through


def proof() -> str:
    """Return which target proves a landing: ``verify`` where locks, ``binder/`` or the runner changed."""
    return "verify" if touches(RUNNER) else "test"


# -- whose turn it is -------------------------------------------------------------------------------------------


def has_turn(name: str, parts: int = FIFTHS) -> bool:
    """Return whether one of these many parts, to which this name belongs, has its turn."""
    return zlib.crc32(name.encode()) % parts == int(head(), 16) % parts


def by_turn(names: list[str]) -> list[str]:
    """Return names in an order that begins elsewhere with each commit."""
    start = int(head(), 16) % len(names) if names else 0
    return names[start:] + names[:start]


# -- the plugin -------------------------------------------------------------------------------------------------


def pytest_addoption(parser: Any) -> None:
    """Add the options."""
    group = parser.getgroup("rotation")
    group.addoption("--part", choices=PARTS, help="which tests: landing, changed, rest (changed first) or quiet")
    group.addoption("--turns", action="store_true", help="let all tests take turns, not those alone that take long")
    group.addoption("--until", type=float, metavar="T", help="begin no test after this time (as time.time())")


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Keep the tests of the part; of what takes long, what changed comes first."""
    part = config.option.part
    if part is None:
        return
    parts = {item: _part_of(item) for item in items}
    wanted = ("changed", "rest") if part == "rest" else (part,)
    kept = [item for name in wanted for item in items if parts[item] == name]
    left = [item for item in items if parts[item] not in wanted]
    if part == "landing" and not config.option.turns:
        _leave_out(config, [item for item in left if parts[item] in ("changed", "rest")])
    config.hook.pytest_deselected(items=left)
    items[:] = kept


def _part_of(item: Any) -> str:
    if item.get_closest_marker("quiet"):
        return "quiet"
    is_doctest = type(item).__name__ == "DoctestItem"
    takes_turns = is_doctest or item.config.option.turns or item.get_closest_marker("rotated")
    if not takes_turns or _has_turn(item):
        return "landing"
    return "changed" if any(by_change([Path(item.path)])) else "rest"


def _has_turn(item: Any) -> bool:
    """Return whether a test has its turn: the one that its mark names, so that no turn has all the longest, or any."""
    marker = item.get_closest_marker("rotated")
    if marker and marker.args:
        return bool(marker.args[0] == int(head(), 16) % FIFTHS)
    return has_turn(item.nodeid)


def _leave_out(config: Any, items: Iterable[Any]) -> None:
    if path := os.environ.get("INFERKIT_LEFT_OUT"):
        with open(path, "a", encoding="utf-8") as file:
            file.writelines(f"{config.option.part}\t{_part_of(item)}\t{item.nodeid}\n" for item in items)


def pytest_runtest_protocol(item: Any) -> None:
    """End the session where its time is over."""
    until = item.config.option.until
    if until is not None and time.time() > until:
        items = item.session.items
        _leave_out(item.config, items[items.index(item) :])
        item.session.shouldstop = TIME_IS_OVER
        raise item.session.Interrupted(TIME_IS_OVER)


def pytest_sessionfinish(session: Any, exitstatus: int) -> None:
    """Fail where a test was skipped and all is required; an end for lack of time, or of tests, is no failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    stopped = exitstatus == INTERRUPTED and session.shouldstop == TIME_IS_OVER
    empty = exitstatus == NOTHING_RAN and session.config.option.part in ("changed", "rest")
    if stopped or empty:
        session.exitstatus = 1 if session.testsfailed else 0
    if reporter.stats.get("skipped") and os.environ.get("INFERKIT_REQUIRE_ALL"):
        reporter.write_line("All is required here, and tests were skipped.", red=True)
        session.exitstatus = 1


if __name__ == "__main__":
    print(proof())
