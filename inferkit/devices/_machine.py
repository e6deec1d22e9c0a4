"""The machine as a whole, and the stamp that goes into every result."""

import hashlib
import os
import platform
import re
import struct
import sys
import uuid
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .._base import DISTRIBUTION
from ._cpu import find_cpu
from ._gpus import Gpu, find_gpus, output_of
from ._limits import cores_granted, memory_limit, read_text

PACKAGES = (
    "inferkit", "numpy", "scikit-learn", "ai-edge-litert", "keras", "tensorflow", "tensorflow-cpu", "onnxruntime",
    "pymc", "arviz", "torch", "jupyterlab", "ipykernel", "ipywidgets", "anywidget",
)  # fmt: skip
_ARCHITECTURES = {"amd64": "x86_64", "x64": "x86_64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Machine:
    """What this machine is, and how much of it this process may use. What is not known is None or empty.

    Attributes
    ----------
    name : str
        For people: the processor and the cores granted.
    machine_id : str
        12 hexadecimal digits, the same on each run here and another elsewhere. Nothing can be read from it.
    cpu : str or None
        The processor's model.
    architecture : str
        Such as ``"x86_64"`` or ``"arm64"``.
    flags : tuple of str
        Which of AVX2, AVX-512, VNNI, AVX-VNNI, BF16, AMX, NEON, DOTPROD, I8MM and SVE it has.
    caches : dict of str to int
        Bytes of each cache that one core sees, such as ``{"L1d": 49152}``; outer levels may be shared.
    cores_logical : int
        Processors that the system sees.
    cores_physical : int or None
        Cores that do not share their units.
    cores_granted : float
        What this process may keep busy at once: the smaller of its affinity and the quotas of its control groups.
    memory_bytes : int or None
    memory_granted_bytes : int or None
        The smaller of the machine's memory and the limits of the control groups.
    gpus : tuple of Gpu
    system : str
        Such as ``"Linux 6.1"``.
    python : str
    versions : dict of str to str
        Versions of the installed packages that matter here, by name.
    """

    name: str
    machine_id: str
    cpu: str | None
    architecture: str
    flags: tuple[str, ...]
    caches: dict[str, int]
    cores_logical: int
    cores_physical: int | None
    cores_granted: float
    memory_bytes: int | None
    memory_granted_bytes: int | None
    gpus: tuple[Gpu, ...]
    system: str
    python: str
    versions: dict[str, str] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the machine as plain values that JSON can hold."""
        return {**asdict(self), "flags": list(self.flags), "gpus": [asdict(gpu) for gpu in self.gpus]}

    def rows(self) -> list[tuple[str, str]]:
        """Return what a reader wants to know, as label and text."""
        physical = f", {self.cores_physical} physical" if self.cores_physical else ""
        of_memory = "" if self.memory_granted_bytes == self.memory_bytes else f" of {_gigabytes(self.memory_bytes)}"
        return [
            ("processor", f"{self.cpu or 'not known'} ({self.architecture})"),
            ("can do", ", ".join(self.flags) or "not known"),
            ("cores", f"{self.cores_granted:g} granted of {self.cores_logical}{physical}"),
            ("caches", ", ".join(f"{level} {_cache_size(n)}" for level, n in self.caches.items()) or "not known"),
            ("memory", f"{_gigabytes(self.memory_granted_bytes)}{of_memory} granted"),
            ("GPU", "; ".join(map(_gpu_words, self.gpus)) or "none found"),
            ("system", f"{self.system}, Python {self.python}"),
            ("packages", ", ".join(f"{name} {number}" for name, number in self.versions.items())),
            ("machine id", self.machine_id),
        ]

    def __repr__(self) -> str:
        return "\n".join([self.name, *(f"  {label:<11}{text}" for label, text in self.rows())])

    def _repr_html_(self) -> str:
        rows = (f"<tr><th scope='row'>{escape(label)}</th><td>{escape(text)}</td></tr>" for label, text in self.rows())
        return f"<table><caption>{escape(self.name)}</caption><tbody>{''.join(rows)}</tbody></table>"


def describe(*, fresh: bool = False) -> Machine:
    """Describe this machine and what of it this process may use.

    The hardware and the packages are looked up once in a process; what is granted may change, and is read each time.

    Parameters
    ----------
    fresh : bool, default=False
        Look everything up again.

    Returns
    -------
    Machine

    Examples
    --------
    >>> machine = describe()
    >>> len(machine.machine_id), machine.cores_logical >= 1
    (12, True)
    """
    if fresh:
        _hardware.cache_clear()
    machine = _hardware()
    cores, limit = cores_granted(), memory_limit()
    known = [n for n in (machine.memory_bytes, limit) if n is not None]
    name = machine_name(machine.cpu or machine.architecture, machine.cores_logical, cores)
    return replace(machine, name=name, cores_granted=cores, memory_granted_bytes=min(known, default=None))


def stamp() -> dict[str, Any]:
    """Return what goes into every result: where, with what and when it was measured.

    Returns
    -------
    dict
        Plain values: machine, machine_id, cpu, architecture, flags, cores_granted, memory_granted_bytes, gpus, system,
        python, versions, inferkit (its version) and utc (ISO 8601, in seconds).

    Examples
    --------
    >>> stamp()["utc"][-6:]
    '+00:00'
    """
    machine = describe().to_dict()
    kept = (
        "machine_id", "cpu", "architecture", "flags", "cores_granted", "memory_granted_bytes", "gpus", "system",
        "python", "versions",
    )  # fmt: skip
    return {
        "machine": machine["name"],
        **{name: machine[name] for name in kept},
        "inferkit": machine["versions"].get("inferkit"),
        # time.gmtime() reads a coarser clock, some milliseconds behind the one that everything else reads
        "utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def machine_name(cpu: str, logical: int, granted: float) -> str:
    """Return a name for people: the processor without its trade marks, and its cores.

    Examples
    --------
    >>> machine_name("Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz", 8, 8.0)
    'Intel Core i7-8650U, 8 cores'
    >>> machine_name("Apple M2", 8, 1.5)
    'Apple M2, 1.5 of 8 cores'
    """
    short = re.sub(r"\((R|TM)\)|\bCPU\b|\b(\w+-Core )?Processor\b|@.*", "", cpu)
    share = f"{granted:g} of " if granted < logical else ""
    return f"{' '.join(short.split())}, {share}{logical} core{'s' if logical > 1 else ''}"


@cache
def _hardware() -> Machine:
    """Describe what does not change while a process lives; the rest is filled in by `describe`."""
    cpu = find_cpu()
    logical = os.cpu_count() or 1
    architecture = platform.machine().lower()
    return Machine(
        name="",
        machine_id=machine_id(_identity(), cpu.model, logical),
        cpu=cpu.model,
        architecture=_ARCHITECTURES.get(architecture, architecture),
        flags=cpu.flags,
        caches=cpu.caches,
        cores_logical=logical,
        cores_physical=cpu.cores_physical,
        cores_granted=float(logical),
        memory_bytes=_memory_bytes(),
        memory_granted_bytes=None,
        gpus=find_gpus(),
        system=_system(),
        python=platform.python_version(),
        versions=_versions(),
    )


def machine_id(identity: str, cpu: str | None, cores: int) -> str:
    """Return 12 hexadecimal digits that stand for a machine.

    The hash is slow on purpose: a network address has few enough values that a quick one could be undone by trying
    them all.

    Parameters
    ----------
    identity : str
        What the system says of itself and keeps; empty if it says nothing.
    cpu : str or None
    cores : int

    Returns
    -------
    str

    Examples
    --------
    >>> machine_id("a", "Apple M2", 8) == machine_id("a", "Apple M2", 8) != machine_id("b", "Apple M2", 8)
    True
    """
    facts = "\n".join([identity, cpu or "", str(cores)])
    return hashlib.pbkdf2_hmac("sha256", facts.encode(), b"inferkit machine", 100_000, 6).hex()


def _identity() -> str:
    """Return what tells this machine from others: the system's own id, else a network address that is burnt in.

    Where there is neither (some containers), two machines of the same kind share their id.
    """
    if sys.platform == "darwin":
        found = re.search(r'"IOPlatformUUID" = "([^"]+)"', output_of(["ioreg", "-rd1", "-c", "IOPlatformExpertDevice"]))
        own = found[1] if found else ""
    elif sys.platform == "win32":
        own = _windows_identity()
    else:
        texts = (read_text(Path(name)).strip() for name in ("/etc/machine-id", "/var/lib/dbus/machine-id"))
        own = next((text for text in texts if re.fullmatch("[0-9a-f]{32}", text)), "")
    if own:
        return own
    node = uuid.getnode()
    made_up = node >> 40 & 0b11  # by Python where it finds none (bit 0), by a container or a switch (bit 1)
    return "" if made_up else f"{node:012x}"


def _windows_identity() -> str:
    if sys.platform != "win32":
        return ""
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SOFTWARE\Microsoft\Cryptography") as key:
            return str(winreg.QueryValueEx(key, "MachineGuid")[0])
    except OSError:
        return ""


def _memory_bytes() -> int | None:
    """Return the bytes of memory that the system manages."""
    if sys.platform == "win32":
        import ctypes

        status = ctypes.create_string_buffer(struct.pack("<I60x", 64))  # MEMORYSTATUSEX: its length, load, total, ...
        done = ctypes.windll.kernel32.GlobalMemoryStatusEx(status)
        return int(struct.unpack_from("<Q", status, 8)[0]) if done else None
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def _system() -> str:
    if sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    release = re.match(r"\d+(\.\d+)?", platform.release())
    return f"{platform.system()} {release[0] if release else platform.release()}".strip()


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(DISTRIBUTION if name == "inferkit" else name)
        except PackageNotFoundError:
            continue
    return found


def _gigabytes(n_bytes: int | None) -> str:
    return "not known" if n_bytes is None else f"{n_bytes / 1e9:.1f} GB"


def _cache_size(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:g} MiB" if n_bytes >= 2**20 else f"{n_bytes / 2**10:g} KiB"


def _gpu_words(gpu: Gpu) -> str:
    driver = f", driver {gpu.driver}" if gpu.driver else ""
    return gpu.name + (f", {_gigabytes(gpu.memory_bytes)}" if gpu.memory_bytes else "") + driver
