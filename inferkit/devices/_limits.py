"""What of the machine this process is granted: affinity, and the limits of its control groups.

Linux limits groups of processes in a tree, in two versions of the interface. A process may use no more than the
tightest group on its way to the root allows, so each of them is read. In a container the tree often begins at the
container's own group; the mount table says where.

References
----------
Linux kernel documentation, "Control Group v2" and "Control Groups version 1" (CFS bandwidth control, memory).
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

ROOT = Path("/")
_NO_LIMIT = 1 << 60  # version 1 writes "no limit" as a number near 2**63


def read_text(path: Path) -> str:
    """Return a file's text, or nothing where it can't be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def group_folders(own: str, mounts: str, controller: str) -> list[PurePosixPath]:
    """Return the folders of this process's group and all groups above it, for one controller.

    Parameters
    ----------
    own : str
        Text of ``/proc/self/cgroup``.
    mounts : str
        Text of ``/proc/self/mountinfo``.
    controller : str
        Such as ``"memory"``. A tree of version 2 serves all controllers.

    Returns
    -------
    list of pathlib.PurePosixPath
        From the process's own group upwards; empty where there are none.

    Examples
    --------
    >>> mounts = "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw"
    >>> [str(folder) for folder in group_folders("0::/a/b", mounts, "cpu")]
    ['/sys/fs/cgroup/a/b', '/sys/fs/cgroup/a', '/sys/fs/cgroup']
    """
    folders: list[PurePosixPath] = []
    for kind, path in _own_groups(own, controller):
        trees = [(root, where) for tree, root, where in _trees(mounts, controller) if tree == kind]
        inside = [(root, where) for root, where in trees if path.is_relative_to(root) and ".." not in path.parts]
        # A tree that does not show our own group shows a group above it at best: its top is all we can read.
        for root, where in inside or [(path, where) for _, where in trees]:
            own_folder = where / path.relative_to(root)
            folders += [own_folder, *(f for f in own_folder.parents if f.is_relative_to(where))]
    return list(dict.fromkeys(folders))


def _own_groups(own: str, controller: str) -> Iterator[tuple[str, PurePosixPath]]:
    for line in own.splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if path.startswith("/") and (not names or controller in names.split(",")):
            yield "cgroup" if names else "cgroup2", PurePosixPath(path)


def _trees(mounts: str, controller: str) -> Iterator[tuple[str, PurePosixPath, PurePosixPath]]:
    """Give kind, root and mount point of each tree that may limit `controller`."""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        place, kind = before.split(), after.split()
        if len(place) < 5 or not kind or kind[0] not in ("cgroup", "cgroup2"):
            continue
        if kind[0] == "cgroup2" or controller in kind[-1].split(","):
            yield kind[0], PurePosixPath(_unescaped(place[3])), PurePosixPath(_unescaped(place[4]))


def _unescaped(path: str) -> str:
    """Undo the kernel's octal escapes of blanks and the like."""
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, char)
    return path


def _own_folders(controller: str, root: Path) -> list[Path]:
    own, mounts = (read_text(root / "proc/self" / name) for name in ("cgroup", "mountinfo"))
    return [root / folder.relative_to("/") for folder in group_folders(own, mounts, controller)]


def quota_cores(root: Path = ROOT) -> float | None:
    """Return how many cores' worth of time the tightest quota allows; None if there is no quota."""
    quotas = [_quota(folder) for folder in _own_folders("cpu", root)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota(folder: Path) -> float | None:
    words = read_text(folder / "cpu.max").split()
    words = words or (read_text(folder / "cpu.cfs_quota_us") + " " + read_text(folder / "cpu.cfs_period_us")).split()
    with suppress(ValueError):  # "max" and "-1" stand for no quota
        quota, period = map(int, words)
        return quota / period if quota > 0 and period > 0 else None
    return None


def memory_limit(root: Path = ROOT) -> int | None:
    """Return the tightest limit on this process's memory, in bytes; None if there is no limit."""
    limits = [limit for folder in _own_folders("memory", root) for limit in _memory_limits(folder)]
    return min((limit for limit in limits if limit < _NO_LIMIT), default=None)


def _memory_limits(folder: Path) -> Iterator[int]:
    texts = [read_text(folder / name) for name in ("memory.max", "memory.limit_in_bytes")]
    # Version 1 tells here of limits above the container, whose files can't be seen.
    texts += [value for name, value in pairs(read_text(folder / "memory.stat")) if name == "hierarchical_memory_limit"]
    yield from (int(text) for text in texts if text.strip().isdecimal())


def pairs(text: str) -> Iterator[tuple[str, str]]:
    """Give name and value of each line of the form ``name value``."""
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        yield name, value.strip()


def throttled_seconds(root: Path = ROOT) -> float:
    """Return for how long a quota has held this process's groups back so far."""
    units = {"throttled_usec": 1e-6, "throttled_time": 1e-9}
    stats = [pairs(read_text(folder / "cpu.stat")) for folder in _own_folders("cpu", root)]
    return sum(
        int(value) * units[name] for stat in stats for name, value in stat if name in units and value.isdecimal()
    )


def allowed_cores() -> frozenset[int] | None:
    """Return the numbers of the processors that this thread may run on; None where the system doesn't say."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    try:
        import psutil

        return frozenset(psutil.Process().cpu_affinity())
    except Exception:  # not installed, or (macOS) not something that this system has
        return None


def cores_granted(root: Path = ROOT) -> float:
    """Return how many cores this process may keep busy: the smaller of affinity and quota."""
    allowed = allowed_cores()
    number = len(allowed) if allowed else os.cpu_count() or 1
    quota = quota_cores(root)
    return float(number if quota is None else min(number, quota))
