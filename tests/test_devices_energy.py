"""The counter of energy: read from the files of made-up machines, across the point where it begins anew."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit import devices
from inferkit.devices import EnergyCounter
from inferkit.devices import _energy as energy

ROOT = Path(__file__).parent.parent
RANGE = 262_143_328_850


def plant(root, **domains):
    """Write the counters of a machine: folder to (name, microjoules, range)."""
    for folder, (name, now, whole) in domains.items():
        place = root / "sys/class/powercap" / folder.replace("__", ":").replace("_", "-")
        place.mkdir(parents=True, exist_ok=True)
        for file, text in (("name", name), ("energy_uj", now), ("max_energy_range_uj", whole)):
            if text is not None:
                (place / file).write_text(f"{text}\n")
    return root


def test_this_machine_is_told_of_in_one_line():
    counter = devices.energy_counter()
    line = repr(counter)
    print(line)
    assert "\n" not in line
    assert line.startswith("energy counter: RAPL" if counter.available else "no energy counter: ")
    assert bool(counter.reason) != counter.available
    if counter.available:
        assert counter.joules(counter.read(), counter.read()) >= 0


def test_packages_are_counted_once_and_their_parts_not_again(tmp_path):
    plant(
        tmp_path,
        intel_rapl__1=("package-1", 2_000, RANGE),
        intel_rapl__0=("package-0", 1_000, RANGE),
        intel_rapl__0__0=("core", 600, RANGE),  # a part of package-0
        intel_rapl__0__1=("package-9", 600, RANGE),  # a part, whatever it is called
        intel_rapl__2=("psys", 9_000, RANGE),  # all packages again, and the rest of the board
        intel_rapl_mmio__0=("package-0", 5, RANGE),  # package-0 by another way
        dtpm__0=("package-7", 5, RANGE),
        intel_rapl=("intel-rapl", 5, RANGE),
    )
    counter = energy.linux_counter(tmp_path)
    assert (counter.source, counter.available) == ("RAPL, package-0, package-1", True)
    assert counter.read() == (1_000, 2_000)
    assert counter.ranges_uj == (RANGE, RANGE)
    assert repr(counter) == "energy counter: RAPL, package-0, package-1"


def test_dies_of_a_package_are_packages_and_one_by_memory_alone_will_do(tmp_path):
    plant(
        tmp_path,
        amd_rapl__0=("package-0-die-0", 1, RANGE),
        amd_rapl__1=("package-0-die-1", 2, RANGE),
        intel_rapl_mmio__0=("package-1", 3, RANGE),
    )
    assert energy.linux_counter(tmp_path).read() == (1, 2, 3)


@pytest.mark.parametrize(
    ("domains", "words"),
    [
        ({}, "Linux shows none.*virtual machines"),
        ({"intel_rapl__0__0": ("core", 1, RANGE)}, "Linux shows none"),
        ({"intel_rapl__0": (None, 1, RANGE)}, "Linux shows none"),
        ({"intel_rapl__0": ("package-0", 1, None)}, "Linux shows none"),
        ({"intel_rapl__0": ("package-0", 1, "much")}, "Linux shows none"),
        ({"intel_rapl__0": ("package-0", None, RANGE)}, "there is one, and it does not answer.*No such file"),
        ({"intel_rapl__0": ("package-0", "", RANGE)}, "there is one, and it does not answer"),
        ({"intel_rapl__0": ("package-0", "µ", RANGE)}, "there is one, and it does not answer"),
    ],
)
def test_what_is_absent_or_broken_is_said(tmp_path, domains, words):
    counter = energy.linux_counter(plant(tmp_path, **domains))
    assert not counter.available
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(counter.reason)
    assert "\n" not in repr(counter)
    assert counter.source == ""


@pytest.mark.skipif(os.name != "posix", reason="NOT CHECKED: rights are another matter here")
def test_a_counter_for_the_administrator_alone_says_what_they_can_do():
    code = """if True:
        import os, sys
        from pathlib import Path
        from inferkit.devices._energy import linux_counter
        if os.geteuid() == 0:  # whom no right keeps out
            os.setgroups([]), os.setgid(65534), os.setuid(65534)
        print(linux_counter(Path(sys.argv[1])).reason)
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        plant(Path(folder), intel_rapl__0=("package-0", 1, RANGE))
        file = Path(folder, "sys/class/powercap/intel-rapl:0/energy_uj")
        file.chmod(0o400 if os.geteuid() == 0 else 0)
        done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "there is one (RAPL), and since 2020 Linux lets its administrator alone read it" in done.stdout
    assert done.stdout.strip().endswith(f"sudo chmod a+r {file}")


@pytest.mark.parametrize(
    ("platform", "words"),
    [("darwin", "powermetrics"), ("win32", "Windows"), ("freebsd14", "none is known on freebsd14")],
)
def test_other_systems_say_why_they_have_none(monkeypatch, platform, words):
    monkeypatch.setattr(energy.sys, "platform", platform)
    counter = devices.energy_counter()
    assert not counter.available
    assert words in counter.reason


@given(st.lists(st.tuples(st.integers(1, 2**40), st.integers(0, 2**40), st.integers(0, 2**40)), min_size=1, max_size=4))
def test_joules_are_what_was_used_also_where_a_counter_begins_anew(packages):
    """Against the sum of what was used; each package by less than its whole range."""
    used = [more % whole for whole, _, more in packages]
    start = [now % whole for whole, now, _ in packages]
    end = [(now + more) % whole for (whole, _, _), now, more in zip(packages, start, used, strict=True)]
    counter = EnergyCounter("made up", ranges_uj=tuple(whole for whole, _, _ in packages))
    assert counter.joules(start, end) == sum(used) / 1e6


def test_readings_of_other_packages_are_refused():
    with pytest.raises(ValueError, match="zip"):
        EnergyCounter("made up", ranges_uj=(5,)).joules((1, 2), (2, 3))
