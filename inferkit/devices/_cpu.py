"""The processor: its name, what it can do, its cores and caches. The readers are functions of text, for any machine."""

import os
import platform
import re
import struct
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ._gpus import output_of
from ._limits import ROOT, read_text

# What each feature that matters to inference is called, by Linux and by macOS; all names in lower case.
FLAGS = {
    "AVX2": {"avx2"},
    "AVX-512": {"avx512f"},
    "VNNI": {"avx512_vnni", "avx512vnni"},
    "AVX-VNNI": {"avx_vnni", "avxvnni"},
    "BF16": {"avx512_bf16", "avx512bf16", "bf16", "feat_bf16"},
    "AMX": {"amx_tile", "amx-tile"},
    "NEON": {"asimd", "neon", "advsimd"},
    "DOTPROD": {"asimddp", "feat_dotprod"},
    "I8MM": {"i8mm", "feat_i8mm"},
    "SVE": {"sve"},
}
_WINDOWS_FLAGS = {"AVX2": 40, "AVX-512": 41, "NEON": 19, "DOTPROD": 43}  # PF_..._AVAILABLE of winnt.h

_ARM_CORES = {
    "0xd03": "Cortex-A53", "0xd05": "Cortex-A55", "0xd07": "Cortex-A57", "0xd08": "Cortex-A72", "0xd0a": "Cortex-A75",
    "0xd0b": "Cortex-A76", "0xd0c": "Neoverse-N1", "0xd40": "Neoverse-V1", "0xd49": "Neoverse-N2",
    "0xd4f": "Neoverse-V2",
}  # fmt: skip


@dataclass(frozen=True)
class Cpu:
    """What a processor says of itself; None or empty where it says nothing."""

    model: str | None = None
    flags: tuple[str, ...] = ()
    cores_physical: int | None = None
    caches: dict[str, int] = field(default_factory=dict)


def find_cpu() -> Cpu:
    """Describe the processor of this machine."""
    if sys.platform == "darwin":
        return parse_sysctl(output_of(["sysctl", "machdep.cpu", "hw"]))
    if sys.platform == "win32":
        return _windows_cpu()
    return linux_cpu()


def known_flags(names: Iterable[str]) -> tuple[str, ...]:
    """Return the features that matter, in a fixed order, from a system's own names.

    Examples
    --------
    >>> known_flags(["fpu", "avx2", "avx512f"])
    ('AVX2', 'AVX-512')
    """
    present = {name.lower() for name in names}
    return tuple(flag for flag, aliases in FLAGS.items() if aliases & present)


# -- Linux -----------------------------------------------------------------------------------------


def linux_cpu(root: Path = ROOT) -> Cpu:
    """Describe the processor from what the kernel shows under ``/proc`` and ``/sys``."""
    text = read_text(root / "proc/cpuinfo")
    blocks = parse_cpuinfo(text)
    folder = root / "sys/devices/system/cpu"
    features = " ".join(block.get("flags") or block.get("Features", "") for block in blocks[:1])
    return Cpu(
        model_of(blocks, read_text(root / "proc/device-tree/model").rstrip("\0")),
        known_flags(features.split()),
        _linux_cores(folder) or cores_of(blocks),
        _linux_caches(folder / "cpu0/cache"),
    )


def parse_cpuinfo(text: str) -> list[dict[str, str]]:
    r"""Return the blocks of ``/proc/cpuinfo``: one for each logical processor, and on some boards one for the board.

    Examples
    --------
    >>> parse_cpuinfo("processor : 0\nmodel name : A\n\nprocessor : 1\nmodel name : A\n")
    [{'processor': '0', 'model name': 'A'}, {'processor': '1', 'model name': 'A'}]
    """
    blocks = []
    for part in re.split(r"\n\s*\n", text):
        fields = (line.partition(":") for line in part.splitlines() if ":" in line)
        blocks.append({name.strip(): value.strip() for name, _, value in fields})
    return [block for block in blocks if block]


def model_of(blocks: list[dict[str, str]], board: str = "") -> str | None:
    """Return the processor's name: as it stands there, or (ARM) from the numbers of its cores and the board.

    Examples
    --------
    >>> model_of([{"CPU implementer": "0x41", "CPU part": "0xd0c"}])
    'Arm Neoverse-N1'
    """
    name = next((block["model name"] for block in blocks if block.get("model name")), None)
    if name and not re.match(r"ARMv\d|AArch64|unknown", name, re.I):  # which name an architecture, and no processor
        return name
    cores = dict.fromkeys(_arm_core(block) for block in blocks if "CPU part" in block)
    board = board or next((block["Model"] for block in blocks if "Model" in block and "CPU part" not in block), "")
    found = " + ".join(cores) or name
    return f"{board} ({found})" if board and found else board or found or None


def _arm_core(block: Mapping[str, str]) -> str:
    maker, part = block.get("CPU implementer", "?"), block["CPU part"]
    if maker == "0x41" and part in _ARM_CORES:
        return f"Arm {_ARM_CORES[part]}"
    return f"ARM processor (maker {maker}, part {part})"


def cores_of(blocks: list[dict[str, str]]) -> int | None:
    """Return the number of physical cores that ``/proc/cpuinfo`` tells of, if it does."""
    places = {(b.get("physical id"), b["core id"]) for b in blocks if "core id" in b}
    return len(places) or None


def _linux_cores(folder: Path) -> int | None:
    """Count the sets of logical processors that share a core."""
    siblings = {
        read_text(cpu / "topology/core_cpus_list") or read_text(cpu / "topology/thread_siblings_list")
        for cpu in folder.glob("cpu[0-9]*")
    }
    return len(siblings - {""}) or None


def _linux_caches(folder: Path) -> dict[str, int]:
    """Return bytes of each cache that the first core sees."""
    found = {}
    for index in sorted(folder.glob("index[0-9]*")):
        level, kind, size = (read_text(index / name).strip() for name in ("level", "type", "size"))
        n_bytes = parse_size(size)
        if level and n_bytes:
            found[f"L{level}" + {"Data": "d", "Instruction": "i"}.get(kind, "")] = n_bytes
    return found


def parse_size(text: str) -> int | None:
    """Return the bytes of a size as the kernel writes it.

    Examples
    --------
    >>> parse_size("48K"), parse_size("32M"), parse_size("")
    (49152, 33554432, None)
    """
    match = re.fullmatch(r"([0-9]+)([KMG]?)", text)
    return int(match[1]) * {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}[match[2]] if match else None


# -- macOS -----------------------------------------------------------------------------------------


def parse_sysctl(text: str) -> Cpu:
    r"""Describe the processor from what ``sysctl machdep.cpu hw`` prints.

    Where cores differ, the caches are those of the fastest kind (``perflevel0``).

    Examples
    --------
    >>> parse_sysctl("machdep.cpu.brand_string: Apple M2\nhw.physicalcpu: 8\nhw.optional.arm.FEAT_I8MM: 1").flags
    ('I8MM',)
    """
    values = {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
    named = {name.rpartition(".")[2] for name, value in values.items() if ".optional." in name and value == "1"}
    listed = " ".join(values.get(f"machdep.cpu.{name}", "") for name in ("features", "leaf7_features"))
    caches: dict[str, int] = {}
    for label, key in (("L1d", "l1dcachesize"), ("L1i", "l1icachesize"), ("L2", "l2cachesize"), ("L3", "l3cachesize")):
        size = values.get(f"hw.perflevel0.{key}") or values.get(f"hw.{key}", "")
        if size.isdecimal() and int(size):
            caches[label] = int(size)
    cores = values.get("hw.physicalcpu", "")
    brand = values.get("machdep.cpu.brand_string") or None
    return Cpu(brand, known_flags([*named, *listed.split()]), int(cores) if cores.isdecimal() else None, caches)


# -- Windows ---------------------------------------------------------------------------------------


def parse_windows_topology(data: bytes) -> tuple[int | None, dict[str, int]]:
    """Return physical cores and caches from the records of Windows' ``GetLogicalProcessorInformation``.

    Parameters
    ----------
    data : bytes
        Records of 32 bytes, as 64-bit Windows writes them: a mask of processors, what they share, and of a cache its
        level, kind and size.

    Returns
    -------
    int or None, dict of str to int
    """
    cores = 0
    caches: dict[str, int] = {}
    for _mask, shared, level, _ways, _line, size, kind in struct.iter_unpack("<QI4xBBHII4x", data):
        cores += shared == 0
        if shared == 2 and kind in (0, 1, 2):  # unified, instruction, data
            caches.setdefault(f"L{level}" + ("", "i", "d")[kind], size)
    return cores or None, dict(sorted(caches.items()))


def _windows_cpu() -> Cpu:
    """Describe the processor from the registry and the kernel's calls."""
    if sys.platform != "win32":
        return Cpu()
    import ctypes
    import winreg

    try:
        place = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, place) as key:
            model = str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
    except OSError:
        model = platform.processor()
    kernel = ctypes.windll.kernel32
    flags = tuple(name for name, number in _WINDOWS_FLAGS.items() if kernel.IsProcessorFeaturePresent(number))
    size = ctypes.c_ulong(0)
    kernel.GetLogicalProcessorInformation(None, ctypes.byref(size))
    records = ctypes.create_string_buffer(size.value)
    done = kernel.GetLogicalProcessorInformation(records, ctypes.byref(size)) and sys.maxsize > 2**32
    cores, caches = parse_windows_topology(records.raw[: size.value]) if done else (None, {})
    all_seen = (os.cpu_count() or 0) <= 64  # the call tells of one group of processors, which holds 64 at most
    return Cpu(model or None, flags, cores if all_seen else None, caches)
