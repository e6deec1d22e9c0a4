"""The machine as it is: read from other machines' files, held against other programs, and against real limits."""

import contextlib
import json
import os
import re
import shutil
import signal
import stat
import struct
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path, PurePosixPath

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit import devices
from inferkit.devices import Gpu, OtherLoad, busy_watch
from inferkit.devices import _busy as busy
from inferkit.devices import _cpu as cpu
from inferkit.devices import _gpus as gpus
from inferkit.devices import _limits as limits
from inferkit.devices import _machine as machines
from inferkit.devices._busy import Reading, words_between
from tests.machine import not_checked

ROOT = Path(__file__).parent.parent
linux = pytest.mark.skipif(sys.platform != "linux", reason="NOT CHECKED: what Linux shows under /proc and /sys")


def in_child(code, **options):
    """Run code in a fresh interpreter; return what it prints, read as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60, **options
    )
    return json.loads(done.stdout)


GRANTS = "import json; from inferkit.devices import stamp; s = stamp();"
GRANTS += "print(json.dumps([s['cores_granted'], s['memory_granted_bytes'], s['machine']]))"


# -- this machine, held against other programs ------------------------------------------------------


def test_cores_and_memory_are_what_psutil_says():
    machine = devices.describe()
    assert machine.cores_logical == psutil.cpu_count()
    assert machine.cores_physical == psutil.cpu_count(logical=False)
    assert machine.memory_bytes == psutil.virtual_memory().total


@linux
def test_cores_granted_are_what_the_affinity_and_nproc_say():
    granted = in_child(GRANTS)[0]
    assert granted <= len(os.sched_getaffinity(0))
    if limits.quota_cores() is None and shutil.which("nproc"):
        assert granted == int(subprocess.run(["nproc"], capture_output=True, check=True).stdout)


@pytest.mark.skipif(shutil.which("lscpu") is None, reason="NOT CHECKED: lscpu is not here to compare with")
def test_model_flags_and_caches_are_what_lscpu_says():
    machine = devices.describe()
    told = json.loads(subprocess.run(["lscpu", "-J"], capture_output=True, check=True).stdout)["lscpu"]
    fields, waiting = {}, list(told)
    while waiting:
        entry = waiting.pop()
        fields[entry["field"].strip(":")] = entry.get("data")
        waiting += entry.get("children", [])
    assert machine.cpu == fields["Model name"]
    assert machine.architecture == {"aarch64": "arm64"}.get(fields["Architecture"], fields["Architecture"])
    for ours, theirs in {"AVX2": "avx2", "AVX-512": "avx512f", "VNNI": "avx512_vnni", "AMX": "amx_tile"}.items():
        assert (ours in machine.flags) == (theirs in fields["Flags"].split())
    told = json.loads(subprocess.run(["lscpu", "-B", "-C", "-J"], capture_output=True, check=True).stdout)["caches"]
    assert machine.caches == {entry["name"]: int(entry["one-size"]) for entry in told}


def test_a_machine_reads_well_and_survives_json():
    machine = devices.describe()
    assert json.loads(json.dumps(machine.to_dict())) == machine.to_dict()
    assert machine.name in repr(machine)
    assert machine.machine_id in repr(machine)
    assert f"numpy {machine.versions['numpy']}" in machine._repr_html_()
    assert len(re.findall("<tr>", machine._repr_html_())) == len(machine.rows())


def test_what_a_driver_or_a_processor_is_called_cannot_break_the_page():
    from dataclasses import replace

    machine = replace(devices.describe(), name="<b>&", cpu="<script>", gpus=(Gpu("<i>", 2**30, "1"),))
    page = machine._repr_html_()
    assert "<script>" not in page
    assert "<b>" not in page
    assert "<i>" not in page


def test_the_stamp_is_plain_and_says_when():
    before = datetime.now().astimezone().replace(microsecond=0)
    stamp = devices.stamp()
    when = datetime.fromisoformat(stamp["utc"])
    assert before <= when <= datetime.now().astimezone()
    assert when.utcoffset().total_seconds() == 0
    assert json.loads(json.dumps(stamp)) == stamp
    machine = devices.describe()
    assert (stamp["machine"], stamp["machine_id"]) == (machine.name, machine.machine_id)
    import numpy as np

    assert stamp["versions"]["numpy"] == np.__version__
    assert stamp["inferkit"] == stamp["versions"]["inferkit"]


def test_versions_are_read_without_importing_anything_heavy():
    code = (
        "import json, sys; from inferkit import devices; devices.stamp()\n"
        "heavy = {'tensorflow', 'keras', 'pymc', 'onnxruntime', 'pandas', 'sklearn', 'matplotlib', 'numpy'}\n"
        "print(json.dumps(sorted(heavy & set(sys.modules))))"
    )
    assert set(in_child(code)) <= {"numpy"}  # which the package's base imports


def test_the_hardware_is_looked_up_once_and_again_on_demand(monkeypatch):
    calls = []
    monkeypatch.setattr(machines, "find_gpus", lambda: calls.append(1) or (Gpu("one"),))
    assert devices.describe(fresh=True).gpus == (Gpu("one"),)
    devices.describe()
    assert len(calls) == 1
    monkeypatch.undo()
    assert devices.describe(fresh=True).gpus != (Gpu("one"),)


# -- what is granted --------------------------------------------------------------------------------


@linux
def test_one_core_of_affinity_is_one_core():
    core = min(os.sched_getaffinity(0))
    cores, _, name = in_child(GRANTS, preexec_fn=lambda: os.sched_setaffinity(0, {core}))
    assert cores == 1.0 or cores < 1.0  # a quota may be tighter still
    assert name.endswith(f"{cores:g} of {os.cpu_count()} cores" if os.cpu_count() > 1 else "1 core")


def test_the_affinity_of_a_running_process_is_read_anew():
    if not hasattr(os, "sched_setaffinity"):
        not_checked("this system has no affinity to set")
    devices.describe()
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert devices.describe().cores_granted <= 1
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def group(controller, name="outer"):
    """Make a control group of version 1 below our own, and remove it (and what lies in it) at the end."""
    above = limits._own_folders(controller, Path("/"))
    try:
        folder = above[0] / f"inferkit-{os.getpid()}-{name}"
        folder.mkdir()
    except (IndexError, OSError) as error:
        not_checked(f"a real control group for {controller}: it needs Linux and root ({error})")
    try:
        yield folder
    finally:
        for inner in [*folder.glob("*/cgroup.procs"), folder / "cgroup.procs"]:
            end = time.monotonic() + 5
            while inner.read_text().split() and time.monotonic() < end:
                time.sleep(0.02)
            inner.parent.rmdir()


def joining(folder):
    return lambda: (folder / "cgroup.procs").write_text(str(os.getpid()))


def set_quota(folder, share):
    if (folder / "cpu.max").exists():
        (folder / "cpu.max").write_text(f"{int(share * 100_000)} 100000")
    else:
        (folder / "cpu.cfs_quota_us").write_text(str(int(share * 100_000)))


def test_a_real_quota_is_found_also_in_the_group_above():
    with group("cpu") as outer:
        set_quota(outer, 0.5)
        (outer / "inner").mkdir()
        assert in_child(GRANTS, preexec_fn=joining(outer / "inner"))[0] == 0.5
        set_quota(outer / "inner", 0.25)
        assert in_child(GRANTS, preexec_fn=joining(outer / "inner"))[0] == 0.25
        assert in_child(GRANTS, preexec_fn=joining(outer))[0] == 0.5


def test_a_real_memory_limit_is_found_also_in_the_group_above():
    with group("memory") as outer:
        name = "memory.max" if (outer / "memory.max").exists() else "memory.limit_in_bytes"
        (outer / name).write_text(str(700 * 2**20))
        (outer / "inner").mkdir()
        assert in_child(GRANTS, preexec_fn=joining(outer / "inner"))[1] == 700 * 2**20
        (outer / "inner" / name).write_text(str(300 * 2**20))
        assert in_child(GRANTS, preexec_fn=joining(outer / "inner"))[1] == 300 * 2**20


def test_time_held_back_by_a_real_quota_is_said():
    code = (
        "import json, time; from inferkit.devices import busy_watch\n"
        "with busy_watch() as others:\n"
        "    end = time.process_time() + 0.2\n"
        "    while time.process_time() < end: pass\n"
        "print(json.dumps(others.words))"
    )
    with group("cpu", "slow") as folder:
        set_quota(folder, 0.3)
        assert "a quota held these cores back for" in in_child(code, preexec_fn=joining(folder))


def plant(root, files):
    """Write a tree of small files, such as another machine's /proc and /sys."""
    for name, text in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V1 = (
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 {cpu} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 {memory} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)
V2 = "30 23 0:26 {root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


def test_a_container_of_version_1_whose_tree_begins_at_its_own_group(tmp_path):
    files = {
        "/proc/self/cgroup": "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/\n",
        "/proc/self/mountinfo": V1.format(cpu="/docker/abc", memory="/docker/abc"),
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "150000\n",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "/sys/fs/cgroup/memory/memory.stat": "cache 0\nhierarchical_memory_limit 2147483648\n",
    }
    root = plant(tmp_path, files)
    assert limits.quota_cores(root) == 1.5
    assert limits.memory_limit(root) == 2**31  # set above the container


def test_a_container_of_version_2_with_a_namespace_of_its_own(tmp_path):
    files = {
        "/proc/self/cgroup": "0::/\n",
        "/proc/self/mountinfo": V2.format(root="/"),
        "/sys/fs/cgroup/cpu.max": "50000 100000\n",
        "/sys/fs/cgroup/memory.max": "450000000\n",
        "/sys/fs/cgroup/cpu.stat": "usage_usec 1\nnr_throttled 2\nthrottled_usec 2500000\n",
    }
    root = plant(tmp_path, files)
    assert limits.quota_cores(root) == 0.5
    assert limits.memory_limit(root) == 450_000_000
    assert limits.throttled_seconds(root) == 2.5


@pytest.mark.parametrize(
    ("own", "top"),
    [("0::/../../other\n", "/"), ("0::/../../other\n", "/kubepods/pod1"), ("0::/not/in/the/tree\n", "/kubepods/pod1")],
)
def test_a_group_that_the_tree_does_not_show_is_read_at_the_top_of_the_tree(tmp_path, own, top):
    files = {
        "/other/cpu.max": "100000 100000\n",  # somebody else's
        "/sys/other/cpu.max": "100000 100000\n",
        "/proc/self/cgroup": own,
        "/proc/self/mountinfo": V2.format(root=top),
        "/sys/fs/cgroup/cpu.max": "200000 100000\n",
        "/sys/fs/cgroup/memory.max": "max\n",
    }
    root = plant(tmp_path, files)
    assert limits.quota_cores(root) == 2.0
    assert limits.memory_limit(root) is None
    (folder,) = limits._own_folders("cpu", root)
    assert ".." not in folder.parts


def test_a_blank_in_the_path_of_the_tree():
    mounts = "30 23 0:26 / /my\\040groups rw - cgroup2 cgroup2 rw\n"
    assert limits.group_folders("0::/a", mounts, "cpu") == [PurePosixPath("/my groups/a"), PurePosixPath("/my groups")]


def test_a_machine_without_groups_has_no_limits(tmp_path):
    assert (limits.quota_cores(tmp_path), limits.memory_limit(tmp_path), limits.throttled_seconds(tmp_path)) == (
        None,
        None,
        0,
    )


LIMIT = st.one_of(st.none(), st.integers(1_000, 10**9))


@given(chain=st.lists(st.tuples(LIMIT, LIMIT), min_size=1, max_size=5), version=st.sampled_from([1, 2]))
def test_the_tightest_limit_on_the_way_to_the_root_wins(tmp_path_factory, chain, version):
    """The oracle is `min` over what was written, in either version's spelling."""
    own = "/" + "/".join(f"g{i}" for i in range(1, len(chain)))
    mounts = V1.format(cpu="/", memory="/") if version == 1 else V2.format(root="/")
    lines = f"5:memory:{own}\n4:cpu,cpuacct:{own}\n" if version == 1 else f"0::{own}\n"
    files = {"/proc/self/cgroup": lines, "/proc/self/mountinfo": mounts}
    for depth, (quota, memory) in enumerate(chain):
        place = "/".join(f"g{i}" for i in range(1, depth + 1))
        if version == 1:
            cpu_place, memory_place = f"/sys/fs/cgroup/cpu,cpuacct/{place}", f"/sys/fs/cgroup/memory/{place}"
            files[f"{cpu_place}/cpu.cfs_quota_us"] = f"{quota or -1}\n"
            files[f"{cpu_place}/cpu.cfs_period_us"] = "100000\n"
            files[f"{memory_place}/memory.limit_in_bytes"] = f"{memory or 9223372036854771712}\n"
        else:
            files[f"/sys/fs/cgroup/{place}/cpu.max"] = f"{quota or 'max'} 100000\n"
            files[f"/sys/fs/cgroup/{place}/memory.max"] = f"{memory or 'max'}\n"
    root = plant(tmp_path_factory.mktemp("tree"), files)
    expected = min((quota / 100_000 for quota, _ in chain if quota), default=None)
    assert limits.quota_cores(root) == expected
    assert limits.memory_limit(root) == min((memory for _, memory in chain if memory), default=None)


@given(st.text(), st.text())
def test_no_text_of_groups_or_mounts_makes_it_raise(own, mounts):
    for controller in ("cpu", "memory"):
        assert isinstance(limits.group_folders(own, mounts, controller), list)


def test_less_memory_granted_than_there_is_is_told(monkeypatch):
    monkeypatch.setattr(machines, "memory_limit", lambda: 2_000_000_000)
    machine = devices.describe()
    assert machine.memory_granted_bytes == 2_000_000_000
    assert f"2.0 GB of {machine.memory_bytes / 1e9:.1f} GB granted" in repr(machine)
    monkeypatch.setattr(machines, "memory_limit", lambda: machine.memory_bytes * 4)
    assert devices.describe().memory_granted_bytes == machine.memory_bytes


# -- other machines' processors ---------------------------------------------------------------------

GRAVITON_FEATURES = (
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm jscvt fcma lrcpc dcpop sha3 sm3 "
    "sm4 asimddp sha512 sve asimdfhm dit uscat ilrcpc flagm ssbs paca pacg dcpodp svei8mm svebf16 i8mm bf16 dgh rng"
)
GRAVITON = "".join(
    f"processor\t: {i}\nBogoMIPS\t: 2100.00\nFeatures\t: {GRAVITON_FEATURES}\nCPU implementer\t: 0x41\n"
    "CPU architecture: 8\nCPU variant\t: 0x1\nCPU part\t: 0xd40\nCPU revision\t: 1\n\n"
    for i in range(4)
)
PI = (
    "".join(
        f"processor\t: {i}\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\n"
        "CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n"
        for i in range(4)
    )
    + "Hardware\t: BCM2835\nRevision\t: c03114\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n"
)
PI_32_BIT = (
    "processor\t: 0\nmodel name\t: ARMv7 Processor rev 3 (v7l)\nFeatures\t: half thumb fastmult vfp edsp neon vfpv3 "
    "tls vfpv4 idiva idivt vfpd32 lpae evtstrm crc32\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n\n"
    "Hardware\t: BCM2711\nModel\t\t: Raspberry Pi 4 Model B Rev 1.1\n"
)
LAPTOP_FLAGS = "fpu vme sse sse2 ht avx fma f16c avx2 bmi2 avx_vnni serialize md_clear"
LAPTOP = "".join(
    f"processor\t: {i}\nvendor_id\t: GenuineIntel\nmodel name\t: 12th Gen Intel(R) Core(TM) i5-1240P\n"
    f"physical id\t: 0\nsiblings\t: 6\ncore id\t\t: {core}\ncpu cores\t: 4\nflags\t\t: {LAPTOP_FLAGS}\n\n"
    for i, core in enumerate([0, 0, 4, 4, 8, 9])  # two cores that run two threads each, two that run one
)
SAPPHIRE = (
    "processor : 0\nmodel name : Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz\nflags : avx2 avx512f avx512_vnni "
)
SAPPHIRE += "avx_vnni avx512_bf16 amx_bf16 amx_tile amx_int8\n"


def linux_machine(tmp_path, cpuinfo, siblings=(), caches=(), board=None):
    files = {"/proc/cpuinfo": cpuinfo}
    for i, shared in enumerate(siblings):
        files[f"/sys/devices/system/cpu/cpu{i}/topology/core_cpus_list"] = shared + "\n"
    for i, (level, kind, size) in enumerate(caches):
        folder = f"/sys/devices/system/cpu/cpu0/cache/index{i}"
        files |= {f"{folder}/level": f"{level}\n", f"{folder}/type": f"{kind}\n", f"{folder}/size": f"{size}\n"}
    if board:
        files["/proc/device-tree/model"] = board
    return cpu.linux_cpu(plant(tmp_path, files))


def test_a_cloud_server_on_arm(tmp_path):
    caches = [(1, "Data", "64K"), (1, "Instruction", "64K"), (2, "Unified", "1024K"), (3, "Unified", "32768K")]
    found = linux_machine(tmp_path, GRAVITON, siblings="0123", caches=caches)
    assert found.model == "Arm Neoverse-V1"
    assert found.flags == ("BF16", "NEON", "DOTPROD", "I8MM", "SVE")
    assert found.cores_physical == 4
    assert found.caches == {"L1d": 2**16, "L1i": 2**16, "L2": 2**20, "L3": 2**25}


def test_a_raspberry_pi(tmp_path):
    found = linux_machine(tmp_path / "a", PI)
    assert found.model == "Raspberry Pi 4 Model B Rev 1.4 (Arm Cortex-A72)"
    assert found.flags == ("NEON",)
    assert (found.cores_physical, found.caches) == (None, {})  # nothing there tells, so nothing is said
    assert linux_machine(tmp_path / "b", PI_32_BIT).model == "Raspberry Pi 4 Model B Rev 1.1 (Arm Cortex-A72)"
    assert linux_machine(tmp_path / "b", PI_32_BIT).flags == ("NEON",)
    told = linux_machine(tmp_path / "c", PI.partition("Hardware")[0], board="Raspberry Pi 5 Model B Rev 1.0\0")
    assert told.model == "Raspberry Pi 5 Model B Rev 1.0 (Arm Cortex-A72)"


def test_a_laptop_whose_cores_run_two_threads(tmp_path):
    found = linux_machine(tmp_path / "a", LAPTOP, siblings=["0-1", "0-1", "2-3", "2-3", "4", "5"])
    assert found.model == "12th Gen Intel(R) Core(TM) i5-1240P"
    assert found.flags == ("AVX2", "AVX-VNNI")
    assert found.cores_physical == 4
    assert linux_machine(tmp_path / "b", LAPTOP).cores_physical == 4  # from cpuinfo alone


def test_a_server_with_a_matrix_unit(tmp_path):
    found = linux_machine(tmp_path, SAPPHIRE)
    assert found.flags == ("AVX2", "AVX-512", "VNNI", "AVX-VNNI", "BF16", "AMX")


def test_a_core_that_nobody_knows_is_told_by_its_numbers(tmp_path):
    text = "processor : 0\nCPU implementer : 0x99\nCPU part : 0xabc\n\nprocessor : 1\nCPU implementer : 0x41\n"
    text += "CPU part : 0xd05\n"
    assert linux_machine(tmp_path, text).model == "ARM processor (maker 0x99, part 0xabc) + Arm Cortex-A55"


def test_a_system_that_shows_nothing(tmp_path):
    assert cpu.linux_cpu(tmp_path) == cpu.Cpu()
    assert cpu.parse_sysctl("") == cpu.Cpu()


APPLE = """\
machdep.cpu.brand_string: Apple M2
machdep.cpu.core_count: 8
hw.ncpu: 8
hw.physicalcpu: 8
hw.logicalcpu: 8
hw.memsize: 17179869184
hw.l1icachesize: 131072
hw.l1dcachesize: 65536
hw.l2cachesize: 4194304
hw.perflevel0.l1icachesize: 196608
hw.perflevel0.l1dcachesize: 131072
hw.perflevel0.l2cachesize: 16777216
hw.optional.AdvSIMD: 1
hw.optional.arm.FEAT_DotProd: 1
hw.optional.arm.FEAT_BF16: 1
hw.optional.arm.FEAT_I8MM: 1
hw.optional.arm.FEAT_SME: 0
"""
INTEL_MAC = """\
machdep.cpu.brand_string: Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz
machdep.cpu.features: FPU VME SSE SSE2 SSE4.1 AVX1.0 FMA F16C
machdep.cpu.leaf7_features: RDWRFSGS BMI1 AVX2 BMI2
hw.physicalcpu: 6
hw.logicalcpu: 12
hw.l1icachesize: 32768
hw.l1dcachesize: 32768
hw.l2cachesize: 262144
hw.l3cachesize: 12582912
hw.optional.avx2_0: 1
hw.optional.avx512f: 0
"""


def test_a_mac_of_either_kind():
    apple = cpu.parse_sysctl(APPLE)
    assert apple.model == "Apple M2"
    assert apple.flags == ("BF16", "NEON", "DOTPROD", "I8MM")
    assert apple.cores_physical == 8
    assert apple.caches == {"L1d": 131072, "L1i": 196608, "L2": 16777216}
    intel = cpu.parse_sysctl(INTEL_MAC)
    assert intel.flags == ("AVX2",)
    assert intel.caches == {"L1d": 32768, "L1i": 32768, "L2": 262144, "L3": 12582912}


def test_the_records_of_windows():
    record = struct.Struct("<QI4xBBHII4x")
    core, numa = record.pack(0b11, 0, 1, 0, 0, 0, 0), record.pack(0b1111, 1, 0, 0, 0, 0, 0)
    l1 = record.pack(0b11, 2, 1, 8, 64, 49152, 2) + record.pack(0b11, 2, 1, 8, 64, 32768, 1)
    l2, l3 = record.pack(0b11, 2, 2, 10, 64, 2**20, 0), record.pack(0b1111, 2, 3, 12, 64, 2**23, 0)
    cores, caches = cpu.parse_windows_topology(core + core + numa + l1 + l1 + l2 + l2 + l3)
    assert cores == 2
    assert caches == {"L1d": 49152, "L1i": 32768, "L2": 2**20, "L3": 2**23}
    assert cpu.parse_windows_topology(b"") == (None, {})


WORDS = ["processor", "cpu0", "cpu", "model name", "CPU part", "core id", ":", ": ", " ", "\t", "\n", "\n\n", ","]
WORDS += [
    "9",
    "-1",
    "²",
    "[N/A]",
    "x" * 20,
    "hw.physicalcpu: ",
    " 1" * 8,
    '{"SPDisplaysDataType": [',
    "]}",
    "{}",
    "48K",
]
TEXT = st.one_of(st.text(), st.lists(st.sampled_from(WORDS), max_size=30).map("".join))


@given(TEXT)
def test_no_text_makes_a_reader_raise(text):
    blocks = cpu.parse_cpuinfo(text)
    cpu.model_of(blocks, text)
    cpu.cores_of(blocks)
    cpu.parse_sysctl(text)
    cpu.parse_size(text)
    gpus.parse_nvidia(text)
    gpus.parse_profiler(text)
    busy.parse_stat(text)


@given(st.sets(st.sampled_from(sorted(cpu.FLAGS))), st.lists(st.sampled_from(["fpu", "sse", "svei8mm", "avx", "asim"])))
def test_a_feature_is_listed_if_and_only_if_it_is_there(wanted, others):
    names = [min(cpu.FLAGS[flag]) for flag in wanted] + others
    assert set(cpu.known_flags(names)) == wanted


@pytest.mark.parametrize(
    ("model", "logical", "granted", "name"),
    [
        ("Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz", 8, 8.0, "Intel Core i7-8650U, 8 cores"),
        ("AMD Ryzen 7 5800X 8-Core Processor", 16, 16.0, "AMD Ryzen 7 5800X, 16 cores"),
        ("AMD EPYC", 2, 0.5, "AMD EPYC, 0.5 of 2 cores"),
        ("Arm Neoverse-N1", 1, 1.0, "Arm Neoverse-N1, 1 core"),
    ],
)
def test_names_for_people(model, logical, granted, name):
    assert machines.machine_name(model, logical, granted) == name


def test_the_machine_id_tells_machines_apart_and_nothing_else():
    identity = "0123456789abcdef0123456789abcdef"
    one = machines.machine_id(identity, "Apple M2", 8)
    assert re.fullmatch("[0-9a-f]{12}", one)
    others = [(identity[::-1], "Apple M2", 8), (identity, "Apple M1", 8), (identity, "Apple M2", 10), ("", None, 8)]
    assert len({one, *(machines.machine_id(*facts) for facts in others)}) == 5
    assert one not in identity
    assert in_child("import json; from inferkit import devices; print(json.dumps(devices.describe().machine_id))") == (
        devices.describe().machine_id
    )


@pytest.mark.parametrize(
    ("node", "kept"), [(0x001B63ABCDEF, "001b63abcdef"), (0x010000000001, ""), (0x0242AC110002, "")]
)
def test_only_a_network_address_that_is_burnt_in_tells_machines_apart(monkeypatch, node, kept):
    monkeypatch.setattr(machines, "read_text", lambda path: "uninitialized\n")
    monkeypatch.setattr(machines.uuid, "getnode", lambda: node)
    monkeypatch.setattr(machines.sys, "platform", "linux")
    assert machines._identity() == kept


# -- GPUs -------------------------------------------------------------------------------------------


@pytest.fixture
def fake_smi(tmp_path, monkeypatch):
    """Return a function that puts a script called nvidia-smi first on the path."""
    if sys.platform == "win32":
        pytest.skip("NOT CHECKED: a script in place of nvidia-smi")

    def make(body):
        path = tmp_path / "nvidia-smi"
        path.write_text("#!/bin/sh\n" + body)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    return make


def test_two_gpus(fake_smi):
    fake_smi('echo "NVIDIA H100, 80 GB, SXM, 81559, 550.54.15"\necho "NVIDIA Orin, [N/A], [N/A]"\n')
    assert gpus.find_gpus() == (
        Gpu("NVIDIA H100, 80 GB, SXM", 81559 * 2**20, "550.54.15"),  # a name may hold commas
        Gpu("NVIDIA Orin", None, None),
    )
    machine = devices.describe(fresh=True)
    try:
        assert "NVIDIA H100, 80 GB, SXM, 85.5 GB, driver 550.54.15; NVIDIA Orin" in repr(machine)
        assert json.loads(json.dumps(devices.stamp()))["gpus"][1] == {
            "name": "NVIDIA Orin",
            "memory_bytes": None,
            "driver": None,
        }
    finally:
        machines._hardware.cache_clear()


def test_the_question_that_is_put_to_the_driver(fake_smi, tmp_path):
    fake_smi(f'echo "$@" > {tmp_path}/asked\n')
    gpus.find_gpus()
    asked = (tmp_path / "asked").read_text().split()
    assert asked == ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]


@pytest.mark.parametrize(
    "body",
    [
        'echo "NVIDIA-SMI has failed, as it could not, it says, talk to the driver"\nexit 9\n',
        "exit 0\n",
        "kill -9 $$\n",
    ],
)
def test_a_driver_that_fails_is_no_gpu(fake_smi, body):
    fake_smi(body)
    assert gpus.find_gpus() == ()


def test_a_driver_that_hangs_is_left_after_a_while(fake_smi):
    fake_smi("exec sleep 60\n")
    start = time.monotonic()
    assert gpus.output_of(["nvidia-smi"], seconds=0.3) == ""
    assert time.monotonic() - start < 30  # far from the sleep's end, whatever else runs here
    assert gpus._SECONDS == 5


def test_a_file_that_is_no_program_is_no_gpu(tmp_path, monkeypatch):
    (tmp_path / "nvidia-smi").write_bytes(b"\0\1\2")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus.find_gpus() == ()
    monkeypatch.setenv("PATH", "")
    assert gpus.find_gpus() == ()


def test_the_gpus_of_a_mac():
    cards = {
        "SPDisplaysDataType": [
            {
                "_name": "Apple M2",
                "sppci_model": "Apple M2",
                "sppci_cores": "10",
                "spdisplays_vendor": "sppci_vendor_Apple",
            },
            {"sppci_model": "AMD Radeon Pro 5300M", "spdisplays_vram": "4 GB"},
            {"spdisplays_vram": "1536 MB"},
        ]
    }
    assert gpus.parse_profiler(json.dumps(cards)) == (
        Gpu("Apple M2, 10 GPU cores"),
        Gpu("AMD Radeon Pro 5300M", 4 * 2**30),
    )
    for bad in ("", "[]", '{"SPDisplaysDataType": null}', '{"SPDisplaysDataType": [3]}'):
        assert gpus.parse_profiler(bad) == ()


# -- who else is at work ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        (Reading(0, 2, 0, 0), Reading(10, 2, 23, 10), "other processes used 1.3 of 2 cores meanwhile"),
        (Reading(5, 2, 100, 50), Reading(15, 2, 112, 60), "other processes used 0.2 of 2 cores meanwhile"),
        (Reading(5, 2, 100, 50), Reading(15, 2, 111.9, 60), None),  # just under a fifth of a core
        (Reading(0, 1, 0, 0), Reading(10, 1, 8, 4), "other processes used 0.4 of 1 core meanwhile"),
        (Reading(0, 64, 0, 0), Reading(10, 64, 60, 0), None),  # six of 64
        (Reading(0, 64, 0, 0), Reading(10, 64, 70, 0), "other processes used 7.0 of 64 cores meanwhile"),
        (Reading(0, 2, 0, 0), Reading(0.1, 2, 0.04, 0), None),  # four ticks
        (Reading(0, 2, 0, 0), Reading(0.1, 2, 0.05, 0), "other processes used 0.5 of 2 cores meanwhile"),
        (Reading(0, 2, 0, 0), Reading(1, 2, 2.1, 0), "other processes used 2.0 of 2 cores meanwhile"),  # never above
        (Reading(0, 2, 0, 0), Reading(10, 2, 10, 10.2), None),  # ticks may make it negative
        (Reading(3, 2, 0, 0), Reading(3, 2, 5, 0), None),
        (Reading(0, 2, 0, 0), Reading(10, 2, 0, 0, 0.41), "the host gave 2% of these cores' time to others"),
        (Reading(0, 2, 0, 0), Reading(10, 2, 0, 0, 0.39), None),
        (Reading(0, 2, 0, 0, 0, 3), Reading(10, 2, 0, 0, 0, 3.25), "a quota held these cores back for 0.25 s"),
        (
            Reading(0, 2, 0, 0),
            Reading(10, 2, 10, 0, 2, 1),
            "other processes used 1.0 of 2 cores meanwhile; the host gave 10% of these cores' time to others; "
            "a quota held these cores back for 1 s",
        ),
    ],
)
def test_what_is_said_between_two_readings(start, end, words):
    assert words_between(start, end) == words
    readings = iter([start, end])
    with busy_watch(lambda: next(readings)) as others:
        pass
    assert others.words == words
    assert others.is_known
    assert repr(others) == (words or "nothing else used the processor")


def test_the_watch_ends_with_its_block_also_when_that_fails():
    readings = [Reading(0, 2, 0, 0), Reading(10, 2, 0, 0), Reading(20, 2, 40, 0)]
    with pytest.raises(KeyboardInterrupt), busy_watch(lambda: readings.pop(0)) as others:
        raise KeyboardInterrupt
    assert others.words is None
    assert len(readings) == 1


def test_it_can_be_asked_while_it_watches():
    readings = [Reading(0, 2, 0, 0), Reading(10, 2, 10, 0), Reading(20, 2, 10, 0)]
    with busy_watch(lambda: readings.pop(0)) as others:
        assert others.words == "other processes used 1.0 of 2 cores meanwhile"
    assert others.words == "other processes used 0.5 of 2 cores meanwhile"


@pytest.mark.parametrize(
    ("cores", "load", "words"),
    [
        (2, 2.4, "the load average was 2.4 on 2 cores before it began"),
        (2, 1.1, None),  # this process itself
        (64, 6.0, None),
        (None, None, None),
    ],
)
def test_where_nothing_counts_time_the_load_average_serves(monkeypatch, cores, load, words):
    monkeypatch.setattr(busy, "_cores", lambda: cores)
    others = OtherLoad(lambda: None, lambda: load)
    others.stop()
    assert others.words == words
    assert others.is_known == (load is not None)
    if load is None:
        assert repr(others).startswith("unknown")


SPIN = "import sys, time\nend = time.monotonic() + 60\nprint('on', flush=True)\nwhile time.monotonic() < end: pass"
READERS = [pytest.param(busy._linux_reading, marks=linux), busy._psutil_reading]


@contextlib.contextmanager
def spinning(*, detached):
    """Run a process that does nothing but compute; a detached one is nobody's child (and so not ours)."""
    code = f"import os\nif os.fork(): os._exit(0)\nprint(os.getpid(), flush=True)\n{SPIN}" if detached else SPIN
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(process.stdout.readline()) if detached else process.pid
    process.stdout.readline()
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


TICKS_S = 0.2
"""Counts of processor time come in hundredths of a second, several of them; a second of work stands out."""


def while_using(read, pid, seconds):
    """Return what `read` counts as used, as ours, and what this process itself uses while `pid` uses so much."""
    used = lambda: sum(psutil.Process(pid).cpu_times()[:2])  # noqa: E731
    ours, start = time.process_time(), read()
    goal = used() + seconds
    while used() < goal:
        time.sleep(0.02)
    end = read()
    return end.used_s - start.used_s, end.own_s - start.own_s, time.process_time() - ours


@pytest.mark.parametrize("read", READERS)
def test_the_work_of_others_is_counted_and_not_called_ours(read):
    with spinning(detached=True) as pid:
        used, own, ours = while_using(read, pid, 1.0)
    assert used >= 1 - TICKS_S
    assert own <= ours + TICKS_S


@pytest.mark.parametrize("read", READERS)
def test_the_work_of_our_own_children_is_ours_while_they_live_and_after(read):
    before = read().own_s
    with spinning(detached=False) as pid:
        _, own, ours = while_using(read, pid, 1.0)
    assert own >= ours + 1 - TICKS_S
    assert read().own_s >= before + 1 - TICKS_S  # now they are counted among the children who ended


def test_two_busy_strangers_are_noticed():
    """The positive control: real processes, and no reading made up."""
    with spinning(detached=True), spinning(detached=True), busy_watch() as others:
        time.sleep(1.5)
    print(others.words)
    assert others.words.startswith("other processes used ")


def test_descendants_are_found_through_any_number_of_generations():
    processes = {1: (0, 5), 10: (1, 100), 11: (10, 7), 12: (11, 20), 13: (12, 300), 20: (1, 4000), 21: (20, 50_000)}
    assert busy._descendants_ticks(processes, 10) == 327
    assert busy._descendants_ticks(processes, 13) == 0
    assert busy._descendants_ticks(processes, 99) == 0


def test_a_process_with_brackets_and_blanks_in_its_name(tmp_path):
    fields = "S 7 " + " ".join(["0"] * 9) + " 11 22 33 44 20 0 1 0 99"
    root = plant(tmp_path, {"/proc/42/stat": f"42 (a) b (c) {fields}\n", "/proc/43/stat": "", "/proc/version": "x"})
    assert busy._processes(root) == {42: (7, 110)}


def test_only_the_processors_that_we_may_use_are_counted(tmp_path, monkeypatch):
    text = "cpu  1 1 1 1 1 1 1 1\ncpu0 100 0 0 0 0 0 0 5 0 0\ncpu1 999 0 0 0 0 0 0 7 0 0\ncpu2 300 0 0 0 0 0 0 1 0 0\n"
    monkeypatch.setattr(busy, "allowed_cores", lambda: frozenset({0, 2}))
    tick = os.sysconf("SC_CLK_TCK")
    reading = busy._linux_reading(plant(tmp_path, {"/proc/stat": text}))
    assert (reading.cores, reading.used_s, reading.stolen_s) == (2, 400 / tick, 6 / tick)
    monkeypatch.setattr(busy, "allowed_cores", lambda: None)
    assert busy._linux_reading(tmp_path) is None
