"""``inferkit doctor``: what is installed, what this machine is, what works, and the line that mends what doesn't."""

import argparse
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from queue import Empty
from subprocess import DEVNULL
from typing import Any

from .. import __version__
from .._base import RESTORE, InputError, Package, packages_of, pip_install
from ..devices import EnergyCounter, Machine, describe, energy_counter, stamp
from ._data import registered_files, verify
from ._output import columns, deliver, results_only

CORE = "core"
PURPOSES = {
    CORE: "data, models on LiteRT, predictors, measuring, figures",
    "notebooks": "the lessons: JupyterLab and the widgets",
    "cpu": "Keras and TensorFlow: to train and to convert",
    "gpu": "the same on an NVIDIA GPU, in place of cpu",
    "bayes": "Bayesian models: PyMC and ArviZ",
    "conformal": "sets and intervals with a guarantee: MAPIE",
    "onnx": "ONNX files, on ONNX Runtime",
    "runtimes": "a Keras model on other runtimes: ONNX Runtime, OpenVINO",
    "quantize": "quantizing a LiteRT file without TensorFlow: ai-edge-quantizer",
    "skops": "saving predictors made of scikit-learn estimators",
    "pandas": "tables as data frames",
    "bench": "other people's servers, to compare with",
    "serve": "answering over HTTP",
    "scale": "a table on several processes or machines, on Dask",
    "parquet": "tables in Parquet files",
    "verify": "other people's measuring programs, to compare with",
}
_KERNEL_SECONDS = 30.0


@dataclass(frozen=True)
class Check:
    """Something that was tried.

    Parameters
    ----------
    name : str
    is_fine : bool
    words : str
        What came of it.
    is_core : bool
        Whether nothing works without it.
    mend : str
        What to do if it failed.
    """

    name: str
    is_fine: bool
    words: str
    is_core: bool = False
    mend: str = ""


def run(options: argparse.Namespace) -> int:
    """Look, try and tell; return 0 if the core works, else 1."""
    with results_only(options.json):
        groups = installed()
        checks = [attempt(*one) for one in CHECKS]
        works = all(check.is_fine for check in checks if check.is_core)
        works = works and all(package.is_fine for package in groups.get(CORE, []))
        plain = {
            "ok": works,
            "inferkit": __version__,
            "extras": {name: _extra_plain(name, packages) for name, packages in groups.items()},
            "checks": [asdict(check) for check in checks],
            "machine": describe().to_dict(),
            "energy_counter": _energy_plain(energy_counter()),
            "stamp": stamp(),
        }
        table = _table(groups, checks, describe(), works=works)
    deliver(options.json, plain, table)
    return 0 if works else 1


def _extra_plain(name: str, packages: list[Package]) -> dict[str, Any]:
    return {"for": PURPOSES[name], "packages": [asdict(one) for one in packages], "mend": mending(packages)}


def _energy_plain(counter: EnergyCounter) -> dict[str, Any]:
    return {"available": counter.available, "source": counter.source, "reason": counter.reason}


def _table(groups: dict[str, list[Package]], checks: list[Check], machine: Machine, *, works: bool) -> str:
    parts = [f"inferkit {__version__}, Python {platform.python_version()} at {sys.executable}"]
    facts = [(a, b) for a, b in machine.rows() if a != "packages"]
    parts.append("machine\n" + columns([*facts, ("energy", repr(energy_counter()))], "  "))
    rows = [(name, PURPOSES[name], _state(packages)) for name, packages in groups.items()]
    parts.append("installed\n" + columns(rows, "  "))
    tried = [("ok" if c.is_fine else "FAILED" if c.is_core else "no", c.name, c.words) for c in checks]
    parts.append("tried\n" + columns(tried, "  "))
    mends = [(name, line) for name, packages in groups.items() if (line := mending(packages))]
    mends += [(c.name, c.mend) for c in checks if not c.is_fine and c.mend]
    if mends:
        parts.append("to mend what you need of it\n" + columns(mends, "  "))
    parts.append("The core works." if works else "The core does not work.")
    return "\n\n".join(parts)


def _state(packages: list[Package]) -> str:
    missing = ", ".join(one.name for one in packages if one.installed is None)
    other = ", ".join(f"{p.name} {p.installed}, not {p.wanted}" for p in packages if p.installed and not p.is_fine)
    faults = "; ".join(filter(None, (missing and f"missing: {missing}", other and f"other version: {other}")))
    return faults or ", ".join(f"{one.name} {one.installed}" for one in packages)


# -- what is installed -------------------------------------------------------------------------------


def installed() -> dict[str, list[Package]]:
    """Return for the core and each extra the packages that it needs on this system.

    Examples
    --------
    >>> "numpy" in [package.name for package in installed()["core"]]
    True
    """
    names = [name for name in PURPOSES if name != "gpu" or describe().gpus]
    try:
        return {name: packages_of("" if name == CORE else name) for name in names}
    except ImportError:  # a source tree that was not installed says nothing of what it needs
        return {}


def mending(packages: Iterable[Package]) -> str | None:
    """Return the line that installs what is missing of some packages; None if nothing is."""
    faulty = [package for package in packages if not package.is_fine]
    return pip_install(faulty) if faulty else None


# -- what works --------------------------------------------------------------------------------------


class _NotFineError(Exception):
    """A check that failed; the message says how."""


def attempt(name: str, try_it: Callable[[], str], is_core: bool, mend: str) -> Check:
    """Run a check; whatever it raises is its result."""
    try:
        return Check(name, True, try_it(), is_core)
    except Exception as error:  # the very thing that is looked for
        words = str(error) if isinstance(error, _NotFineError | InputError) else f"{type(error).__name__}: {error}"
        return Check(name, False, " ".join(words.split())[:300], is_core, mend)


def _python() -> str:
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        raise _NotFineError(f"expected Python 3.11, 3.12 or 3.13, this is {platform.python_version()}")
    return f"Python {platform.python_version()}"


def _bundled() -> str:
    files = registered_files()
    faults = [f"{file.name} {fault}" for file in files if (fault := verify(file))]
    if faults:
        raise _NotFineError("; ".join(faults))
    return f"{len(files)} files, each with its registered hash"


def _answers() -> str:
    from ..datasets import split_digits
    from ..predictor import digit_reader

    _, X, _, y = split_digits()
    right = float((digit_reader("digits-cnn").predict(X) == y).mean())
    if right < 0.95:
        raise _NotFineError(f"it reads {right:.1%} of {len(y)} digits; 97.9% is what it reads elsewhere")
    return f"LiteRT reads {right:.1%} of {len(y)} digits that it never saw"


def _clock() -> str:
    resolution = time.get_clock_info("perf_counter").resolution
    if resolution > 1e-5:
        raise _NotFineError(f"it ticks every {resolution * 1e6:.0f} µs: too coarse for small models")
    return f"it ticks every {resolution * 1e9:.0f} ns"


def _ledger() -> str:
    from ..benchmark import Ledger

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        n = len(Ledger.open())
    if heard:
        raise _NotFineError(str(heard[0].message))
    return f"it is kept, and holds {n:,} {'entry' if n == 1 else 'entries'}"


def _kernel() -> str:
    """Start a kernel, open a comm in it, and wait for the message."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3", startup_timeout=_KERNEL_SECONDS, stderr=DEVNULL)
    try:
        client.execute("import comm; comm.create_comm(target_name='inferkit-doctor')")
        while True:
            try:
                message = client.get_iopub_msg(timeout=_KERNEL_SECONDS)
            except Empty:
                raise _NotFineError("a kernel started, and no widget's message came") from None
            if message["msg_type"] == "comm_open":
                return "a kernel started, and a widget's message came through"
            if message["msg_type"] == "error":
                raise _NotFineError(f"{message['content']['ename']}: {message['content']['evalue']}")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


CHECKS: list[tuple[str, Callable[[], str], bool, str]] = [
    ("Python", _python, True, "install Python 3.11, 3.12 or 3.13"),
    ("bundled files", _bundled, True, RESTORE),
    ("an answer", _answers, True, "pip install --upgrade --force-reinstall ai-edge-litert"),
    ("the clock", _clock, False, "time batches instead of single rows"),
    ("the ledger", _ledger, False, "set INFERKIT_LEDGER to a file in a folder that you may write to"),
    ("Jupyter", _kernel, False, "pip install --upgrade --force-reinstall ipykernel"),
]
