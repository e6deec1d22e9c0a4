"""What every other module may stand on: errors, optional imports, whole files, seeds."""

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import numpy as np

DISTRIBUTION = "inferkit-course"  # the package index has another project called inferkit, and not this one
RESTORE = "restore it: git checkout inferkit/bundled in the checkout, or install inferkit from git again"
UPDATE = "update inferkit: git pull in its checkout, or install it from git again"


class InputError(ValueError):
    """A value that does not meet the contract it was offered under.

    The message says what was expected, what came, and what to do.
    """


class ModelFileError(ValueError):
    """A model file that is corrupted, truncated, of another kind, or not the registered one."""


class MissingExtraError(ImportError):
    """An optional dependency that is needed now and is not installed."""


def require(module: str, *, extra: str) -> Any:
    """Import an optional dependency, or say with which line it is installed.

    Parameters
    ----------
    module : str
        The module's dotted name.
    extra : str
        The extra that asks for it.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    MissingExtraError
        If it is not installed. A module that is installed and fails inside its own import
        raises what it raised.

    Examples
    --------
    >>> require("json", extra="cpu").dumps([1])
    '[1]'
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        mending = _mending(package, extra)
        raise MissingExtraError(f"this needs {package}, which is not installed. Install it with: {mending}") from error


def _mending(module: str, extra: str) -> str:
    """Return the line that installs a module, and what else its extra lacks."""
    name = module.replace("_", "-")
    try:
        packages = packages_of(extra)
    except ImportError:
        return pip_install([Package(name, None, "", False)])
    if name in [one.name for one in packages]:  # else another of them brings it, such as dask[distributed]
        packages = [one for one in packages if one.name == name or not one.is_fine]
    return pip_install(packages)


@dataclass(frozen=True)
class Package:
    """A package that something here needs.

    Parameters
    ----------
    name : str
        With its own extras, such as ``"dask[distributed]"``.
    installed : str or None
        Its version.
    wanted : str
        Versions that will do, such as ``">=2.1"``.
    is_fine : bool
    """

    name: str
    installed: str | None
    wanted: str
    is_fine: bool


def packages_of(extra: str = "") -> list[Package]:
    """Return the packages that an extra adds on this system, as they are installed.

    Parameters
    ----------
    extra : str, optional
        Without one: what is always needed.

    Raises
    ------
    ImportError
        If the library was not installed, but is imported from a folder.

    Examples
    --------
    >>> [package.name for package in packages_of("bayes")]
    ['arviz', 'pymc']
    """
    from packaging.requirements import Requirement

    wanted = [Requirement(line) for line in requires(DISTRIBUTION) or []]
    always = [r for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    if extra:
        wanted = [r for r in wanted if r not in always and r.marker and r.marker.evaluate({"extra": extra})]
    return [_package(r) for r in (wanted if extra else always)]


def _package(requirement: Any) -> Package:
    name, wanted = requirement.name, requirement.specifier
    full_name = f"{name}[{','.join(sorted(requirement.extras))}]" if requirement.extras else name
    try:
        found = version(name)
    except PackageNotFoundError:
        return Package(full_name, None, str(wanted), False)
    return Package(full_name, found, str(wanted), bool(wanted.contains(found, prereleases=True)))


def pip_install(packages: Iterable[Package]) -> str:
    """Return the line for a shell that installs packages, or makes them new enough."""
    return " ".join(["pip install", *(f'"{one.name}{one.wanted}"' for one in packages)])


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` if the block succeeds, else remove it.

    Parameters
    ----------
    path : path-like
        The file to make. An existing one stays as it is until the new one is whole.

    Yields
    ------
    pathlib.Path
        Where to write. It has the suffix of `path`.

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written to.

    Examples
    --------
    >>> folder = Path(tempfile.mkdtemp())
    >>> with whole_file(folder / "a.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    >>> [p.name for p in folder.iterdir()]
    ['a.txt']
    """
    target = Path(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent)
    except OSError as error:
        reason = "does not exist" if not target.parent.is_dir() else "cannot be written to"
        raise type(error)(
            error.errno, f"cannot write {target.name}: the folder {reason}; give a path in a folder of yours",
            str(target.parent),
        ) from error  # fmt: skip
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    """Return the process's umask (it can be read only by setting it)."""
    current = os.umask(0o077)
    os.umask(current)
    return current


def sha256(content: bytes | str | os.PathLike[str]) -> str:
    """Return the SHA-256 of some bytes, or of a file.

    Parameters
    ----------
    content : bytes or path-like
        Bytes are hashed as they are; anything else names a file.

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> sha256(b"")[:8]
    'e3b0c442'
    """
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with open(content, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def bundled(name: str) -> Path:
    """Return the path of a file that this package carries.

    Parameters
    ----------
    name : str
        The file's name in ``inferkit/bundled``.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    FileNotFoundError
        If the package carries no such file; the message lists those it carries.

    Examples
    --------
    >>> bundled("registry.json").name
    'registry.json'
    """
    folder = Path(__file__).parent / "bundled"
    path = folder / name
    if not path.is_file():
        there = ", ".join(sorted(p.name for p in folder.iterdir())) if folder.is_dir() else "nothing"
        raise FileNotFoundError(f"inferkit carries no file {name!r}; it carries: {there}")
    return path


def answer_while_busy(widget: Any) -> None:
    """Let a widget's messages reach the kernel while one of its cells runs.

    JupyterLab sends them to a thread of their own. ipykernel 7.4 sends them on to the thread that
    spoke to the widget last: for a new widget that is the one that runs the cells, and so the
    widget would be dead until the last cell is done.

    Parameters
    ----------
    widget : ipywidgets.Widget
        A widget whose observers may run on any thread.
    """
    if widget.comm is not None:
        widget.comm._reply_subshell_for = None


class ProgressLine:
    """A line that tells how far long work has come: rewritten in place, taken away at the end.

    It goes to a notebook's output or a terminal, and is silent where nobody watches, or where the
    environment variable ``INFERKIT_PROGRESS`` is ``0``.

    Parameters
    ----------
    wanted : bool
        Whether to show anything at all.
    after_s : float, default=0
        Work that ends sooner than this shows nothing.

    Examples
    --------
    >>> with ProgressLine(True) as line:
    ...     line.show("half of it")
    """

    def __init__(self, wanted: bool, *, after_s: float = 0.0) -> None:
        self._stream = _watched_stream() if wanted and os.environ.get("INFERKIT_PROGRESS") != "0" else None
        self._next = time.monotonic() + after_s
        self._width = 0

    def __enter__(self) -> "ProgressLine":
        return self

    def show(self, text: str) -> None:
        """Write `text` over the line."""
        if self._stream is not None and time.monotonic() >= self._next:
            self._stream.write("\r" + text.ljust(self._width))
            self._stream.flush()
            self._width = len(text)

    def __exit__(self, *_: object) -> None:
        if self._stream is not None and self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()


def _watched_stream() -> Any:
    """Return where a reader looks: a notebook's output, else the terminal behind standard error, else None."""
    if type(sys.stdout).__module__.startswith("ipykernel"):  # where standard error is shown in red
        return sys.stdout
    return sys.stderr if sys.stderr is not None and sys.stderr.isatty() else None


def wilson(hits: Any, n: Any, z: float = 1.959963984540054) -> tuple[Any, Any]:
    """Return the interval (Wilson 1927) of each share ``hits / n``.

    Parameters
    ----------
    hits, n : int or array
        So many of so many; n above 0.
    z : float
        Half the interval's width in standard errors; 95 % by default.

    Returns
    -------
    low, high : numpy.ndarray of float64
        From 0 to 1.

    Examples
    --------
    >>> low, high = wilson(374, 382)
    >>> round(float(low), 3), round(float(high), 3)
    (0.959, 0.989)
    """
    hits, n = np.asarray(hits, dtype=np.float64), np.asarray(n, dtype=np.float64)
    middle = (hits + z * z / 2) / (n + z * z)
    half = z * np.sqrt(hits * (n - hits) / n + z * z / 4) / (n + z * z)
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)


def generator(random_state: int | np.random.Generator | None) -> np.random.Generator:
    """Return a NumPy generator from a seed, a generator or None.

    Parameters
    ----------
    random_state : int, numpy.random.Generator or None
        A seed gives the same numbers every time; a generator is used as it is; None draws a
        fresh seed from the operating system.

    Returns
    -------
    numpy.random.Generator

    Raises
    ------
    InputError
        If it is anything else, or a negative number.

    Examples
    --------
    >>> int(generator(0).integers(100))
    85
    """
    if random_state is None or isinstance(random_state, np.random.Generator):
        return np.random.default_rng(random_state)
    if isinstance(random_state, int | np.integer) and not isinstance(random_state, bool) and random_state >= 0:
        return np.random.default_rng(int(random_state))
    raise InputError(f"random_state: expected a seed (an integer ≥ 0), a Generator or None, got {random_state!r}")
