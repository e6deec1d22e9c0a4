"""The counter of energy that some processors have, where this system lets a program read it."""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ._limits import ROOT, read_text

_FOLDER = "sys/class/powercap"
_DOMAIN = re.compile(r"[\w-]*rapl[\w-]*:\d+")  # with a second number it is a part of such a one
_PACKAGE = re.compile(r"package-\d+(-die-\d+)?")  # beside them lies psys, which counts the packages again
_ELSEWHERE = {
    "darwin": "macOS tells of energy to its administrator alone, by powermetrics",
    "win32": "Windows has no energy counter that a program could read without a driver of its own",
}
_NO_COUNTER = "Linux shows none under /sys/class/powercap; virtual machines and containers mostly have none"


@dataclass(frozen=True, repr=False)
class EnergyCounter:
    """What the processors of this machine tell of the energy that they have used; or why they don't.

    It counts whole packages: all cores, caches and the memory's controller, for this program and for all others. The
    power supply, the fans, most of the memory and a graphics card are not in it.

    Parameters
    ----------
    source : str
        What counts, such as ``"RAPL, package-0"``; empty where nothing does.
    reason : str or None
        Why there is nothing to read; None where there is.
    ranges_uj : tuple of int
        For each package the microjoules at which its counter begins at 0 again.
    read : callable
        Gives what the counters stand at: a tuple of microjoules, one for each package. It raises `OSError` or
        `ValueError` if they cannot be read any more.

    Notes
    -----
    Graphics cards of NVIDIA count their own energy, which their library NVML tells
    (``nvmlDeviceGetTotalEnergyConsumption``). That is not read here.
    """

    source: str
    reason: str | None = None
    ranges_uj: tuple[int, ...] = ()
    read: Callable[[], tuple[int, ...]] = field(default=tuple, compare=False)

    @property
    def available(self) -> bool:
        """Whether there is a counter that this program may read."""
        return self.reason is None

    def joules(self, start: Sequence[int], end: Sequence[int]) -> float:
        """Return the joules that all packages used between two readings.

        Parameters
        ----------
        start, end : tuple of int
            What `read` gave. In between a counter may have begun anew once: a package of 100 W takes some 40 minutes
            from one beginning to the next.

        Returns
        -------
        float

        Examples
        --------
        >>> EnergyCounter("a counter", ranges_uj=(262_143_328_850,)).joules([262_143_000_000], [671_150])
        1.0
        """
        spans = zip(start, end, self.ranges_uj, strict=True)
        return sum((later - earlier) % whole for earlier, later, whole in spans) / 1e6

    def __repr__(self) -> str:
        return f"energy counter: {self.source}" if self.available else f"no energy counter: {self.reason}"


def energy_counter() -> EnergyCounter:
    """Return this machine's energy counter, or one that says why there is none.

    Returns
    -------
    EnergyCounter
        Printed, it is one line.

    References
    ----------
    Linux kernel documentation, "Power Capping Framework": the counters (RAPL) of processors by Intel and AMD.
    M. Lipp et al., "PLATYPUS: Software-based Power Side-Channel Attacks on x86", IEEE Symposium on Security and
    Privacy 2021: why Linux lets the administrator alone read them.

    Examples
    --------
    >>> counter = energy_counter()
    >>> counter.available == (counter.reason is None)
    True
    """
    if sys.platform != "linux":
        return EnergyCounter("", _ELSEWHERE.get(sys.platform, f"none is known on {sys.platform}"))
    return linux_counter()


def linux_counter(root: Path = ROOT) -> EnergyCounter:
    """Return the counter that the kernel shows under ``/sys/class/powercap``."""
    packages = _packages(root / _FOLDER)
    files = [folder / "energy_uj" for folder in packages.values()]
    if not files:
        return EnergyCounter("", _NO_COUNTER)
    ranges = tuple(_microjoules(folder / "max_energy_range_uj") for folder in packages.values())

    def read() -> tuple[int, ...]:
        return tuple(map(_microjoules, files))

    try:
        read()
    except PermissionError:
        return EnergyCounter("", _forbidden(files))
    except (OSError, ValueError) as error:
        return EnergyCounter("", f"there is one, and it does not answer ({' '.join(str(error).split())})")
    return EnergyCounter(f"RAPL, {', '.join(packages)}", None, ranges, read)


def _packages(folder: Path) -> dict[str, Path]:
    """Return the folder of each package's counter by the package's name, each once."""
    try:
        folders = [path for path in folder.iterdir() if _DOMAIN.fullmatch(path.name)]
    except OSError:
        return {}
    found: dict[str, Path] = {}
    for path in sorted(folders, key=lambda path: ("mmio" in path.name, path.name)):  # which shows package-0 once more
        name = read_text(path / "name").strip()
        if _PACKAGE.fullmatch(name) and read_text(path / "max_energy_range_uj").strip().isdecimal():
            found.setdefault(name, path)
    return dict(sorted(found.items()))


def _microjoules(path: Path) -> int:
    return int(path.read_bytes())


def _forbidden(files: Sequence[Path]) -> str:
    paths = " ".join(map(str, files))
    return (
        "there is one (RAPL), and since 2020 Linux lets its administrator alone read it; until the next start they "
        f"can allow it to all with: sudo chmod a+r {paths}"
    )
