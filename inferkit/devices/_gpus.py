"""The GPUs of this machine, as the driver's own tools tell."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

_SECONDS = 5.0  # a driver that hangs must not hang a lesson
_QUERY = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]


@dataclass(frozen=True)
class Gpu:
    """A graphics processor.

    Parameters
    ----------
    name : str
    memory_bytes : int or None
        Its own memory; None where it shares that of the machine, or does not say.
    driver : str or None
        Version of the driver.
    """

    name: str
    memory_bytes: int | None = None
    driver: str | None = None


def find_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that ``nvidia-smi`` or macOS tells of; none where neither does."""
    if sys.platform == "darwin":
        return parse_profiler(output_of(["system_profiler", "-json", "SPDisplaysDataType"]))
    return parse_nvidia(output_of(_QUERY))


def output_of(command: list[str], seconds: float = _SECONDS) -> str:
    """Return what a command prints; nothing if it is not there, fails or takes too long.

    Parameters
    ----------
    command : list of str
    seconds : float, default=5
        After that it is stopped.

    Returns
    -------
    str
    """
    program = shutil.which(command[0])
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def parse_nvidia(text: str) -> tuple[Gpu, ...]:
    """Return the GPUs of ``nvidia-smi``'s table: name, MiB of memory, version of the driver.

    Examples
    --------
    >>> parse_nvidia("NVIDIA T4, 15360, 550.54.15")
    (Gpu(name='NVIDIA T4', memory_bytes=16106127360, driver='550.54.15'),)
    """
    gpus = []
    for line in text.splitlines():
        name, *facts = (word.strip() for word in line.rsplit(",", 2))
        if len(facts) == 2 and name:
            memory, driver = facts
            known = driver if driver[:1].isdigit() else None  # it says [N/A] where it doesn't know
            gpus.append(Gpu(name, int(memory) * 2**20 if memory.isdecimal() else None, known))
    return tuple(gpus)


def parse_profiler(text: str) -> tuple[Gpu, ...]:
    """Return the GPUs that macOS's ``system_profiler`` tells of.

    Examples
    --------
    >>> parse_profiler('{"SPDisplaysDataType": [{"sppci_model": "Apple M2", "sppci_cores": "10"}]}')
    (Gpu(name='Apple M2, 10 GPU cores', memory_bytes=None, driver=None),)
    """
    try:
        cards = json.loads(text)["SPDisplaysDataType"]
        return tuple(_card(card) for card in cards if isinstance(card.get("sppci_model"), str))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()


def _card(card: dict[str, Any]) -> Gpu:
    cores = card.get("sppci_cores")
    name = str(card["sppci_model"])
    number, _, unit = str(card.get("spdisplays_vram", "")).partition(" ")
    scale = {"MB": 2**20, "GB": 2**30}.get(unit)
    memory = int(number) * scale if scale and number.isdecimal() else None
    return Gpu(f"{name}, {cores} GPU cores" if cores else name, memory)
