"""What Binder reads, and the locks: each machine gets one version of each package, hashed. `tests.replay` runs it."""

import importlib.util
import json
import re
import tomllib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from notebooks import lab
from tests import replay
from tests.interpreters import ROOT, bootstrap

HERE = ROOT / "binder"
spec = importlib.util.spec_from_file_location("lock", HERE / "lock.py")
lock = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lock)

LOCKS = {name: (HERE / f"lock-{name}.txt").read_text(encoding="utf-8") for name in ("dev", "course", "gpu")}
REQUIREMENTS = (HERE / "requirements.txt").read_text(encoding="utf-8")
TENSORFLOW = (HERE / "tensorflow.txt").read_text(encoding="utf-8")
MACHINES = {
    "Linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"},
    "Linux on Arm": {
        "sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "aarch64",
    },
    "macOS": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"},
    "Windows": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": "AMD64"},
}  # fmt: skip
PYTHONS = ("3.11", "3.12", "3.13")
each_lock = pytest.mark.parametrize("name", LOCKS)
each_python = pytest.mark.parametrize("python", PYTHONS)
each_machine = pytest.mark.parametrize("machine", MACHINES)


def on(machine, python):
    """Return the variables of markers on a machine."""
    fixed = {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
    return MACHINES[machine] | fixed | {"python_version": python, "python_full_version": f"{python}.8", "extra": ""}


def chosen(text, machine, python):
    """Return the requirements of a lock that apply on a machine."""
    found = [Requirement(line) for line in lock.blocks(text)]
    return [r for r in found if r.marker is None or r.marker.evaluate(on(machine, python))]


# -- the locks --------------------------------------------------------------------------------------------------


@each_lock
@each_machine
@each_python
def test_each_machine_gets_one_version_of_each_package(name, machine, python):
    """Each is exact, and what the lessons import is there on each machine."""
    requirements = chosen(LOCKS[name], machine, python)
    assert [name for name, count in Counter(r.name for r in requirements).items() if count > 1] == []
    assert all(re.fullmatch(r"==[^,*]+", str(r.specifier)) and r.url is None for r in requirements)
    assert {r.name for r in requirements} >= {"numpy", "keras", "jupyterlab", "ai-edge-litert"}
    # TensorFlow knows CUDA on Linux alone; elsewhere `make lab GPU=1` is refused (test_bootstrap).
    expected = 0 if name == "gpu" and not machine.startswith("Linux") else 1
    assert len({r.name for r in requirements} & {"tensorflow", "tensorflow-cpu"}) == expected


@pytest.mark.parametrize("package", ["numpy", "scipy", "pymc", "arviz"])
def test_the_lock_forks_at_python_312(package):
    versions = [
        {str(r.specifier) for machine in MACHINES for r in chosen(LOCKS["dev"], machine, python) if r.name == package}
        for python in PYTHONS
    ]
    assert [len(found) for found in versions] == [1, 1, 1]
    assert versions[0] != versions[1] == versions[2]


def test_the_markers_are_of_the_python_and_the_machine_alone():
    """So that evaluating them as above says what an installer will do."""
    known = set(on("Linux", "3.11")) | {"platform_release", "platform_version"}
    for text in LOCKS.values():
        for requirement in map(Requirement, lock.blocks(text)):
            words = set(re.findall(r"[a-z_]+(?= [<>=!]=? ')", str(requirement.marker or "")))
            assert words <= known, requirement


@pytest.mark.parametrize(
    "text", [*LOCKS.values(), REQUIREMENTS, TENSORFLOW], ids=[*LOCKS, "requirements", "tensorflow"]
)
def test_each_package_has_hashes_and_no_address(text):
    parts = lock.blocks(text)
    assert parts
    assert [name for name, part in parts.items() if not re.search(r"--hash=sha256:[0-9a-f]{64}", part)] == []
    assert "://" not in text


def test_no_lock_asks_for_what_the_other_tool_refuses():
    """A version that declares itself for older Pythons alone: uv takes it, and pip, on Binder, does not."""
    for line in (HERE / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        asked = Requirement(line)
        for text in (*LOCKS.values(), REQUIREMENTS):
            for locked in map(Requirement, lock.blocks(text)):
                if locked.name == asked.name:
                    assert str(locked.specifier).removeprefix("==") in asked.specifier


names = st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9]", fullmatch=True)


@given(st.dictionaries(names, st.booleans(), min_size=1), st.data())
def test_what_the_base_brings_is_taken_out_and_nothing_else(packages, data):
    brought = set(data.draw(st.lists(st.sampled_from(sorted(packages)))))
    text = ""
    for name, forks in packages.items():
        for marker in (" ; python_full_version < '3.12'", " ; python_full_version >= '3.12'") if forks else ("",):
            text += f"{name}==1.0{marker} \\\n    --hash=sha256:ab \\\n    --hash=sha256:cd\n"
    made = lock.for_binder(text, brought)
    assert {lock.name_of(line) for line in lock.blocks(made)} == set(packages) - brought
    assert len(lock.blocks(made)) == sum(1 + packages[name] for name in set(packages) - brought)
    assert all(part in text for part in lock.blocks(made).values())


# -- what Binder reads ------------------------------------------------------------------------------------------


def test_binder_installs_from_the_lock_of_the_course():
    course, first, second = (lock.blocks(text) for text in (LOCKS["course"], REQUIREMENTS, TENSORFLOW))
    assert {lock.name_of(name) for name in second} == {"tensorflow", "tensorflow-cpu"}
    assert not first.keys() & second.keys()
    binder = first | second
    assert {name: course.get(name) for name in binder} == binder
    assert REQUIREMENTS.splitlines()[1] == TENSORFLOW.splitlines()[1] == "--require-hashes"
    left = {lock.name_of(name) for name in course.keys() - binder.keys()}
    assert left >= {"jupyterlab", "ipykernel", "ipywidgets", "jupyter-server", "traitlets", "tornado"}
    assert not left & {"numpy", "keras", "tensorflow-cpu", "anywidget", "jupyterlab-deck", "hatchling", "editables"}


def test_binders_python_is_the_newest_of_the_project():
    (python,) = re.findall(r"^python-(3\.\d+)$", (HERE / "runtime.txt").read_text(encoding="utf-8"), re.M)
    assert tuple(map(int, python.split("."))) == bootstrap().NEWEST
    assert python == PYTHONS[-1]


@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_scripts_can_be_executed_and_end_at_the_first_fault(name):
    path = HERE / name
    assert path.stat().st_mode & 0o111
    text = path.read_text(encoding="utf-8")
    assert text.startswith("#!/bin/bash\n")
    assert "set -euo pipefail" in text


def test_binders_server_has_the_settings_of_make_lab(tmp_path):
    settings = json.loads((HERE / "jupyter" / "jupyter_server_config.json").read_text(encoding="utf-8"))["ServerApp"]
    for name, value in settings.items():
        assert f"--ServerApp.{name}={value}" in lab.command("01.ipynb", [], tmp_path)
    lab.environment(tmp_path)
    here, there = (
        folder / "labconfig" / "page_config.json" for folder in (HERE / "jupyter", tmp_path / ".lab" / "config")
    )
    assert json.loads(here.read_text()) == json.loads(there.read_text())


def test_the_readme_warns_of_what_binder_takes_away():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    for promise in (
        "ten idle minutes",
        "2 GB of memory",
        "one processor core",
        "File → Download",
        "zipfile -c work.zip",
    ):
        assert promise in text


# -- the replay's reading of what repo2docker says --------------------------------------------------------------

DOCKERFILE = r"""
FROM base
# RUN echo binder/ in a comment
ENV APP_BASE=/srv
ENV PREFIX=${APP_BASE}/env \
    NEXT="${APP_BASE} two"
ENV PATH=${PREFIX}/bin:${PATH}
RUN apt-get install \
    less
RUN ${PREFIX}/bin/pip install -r "binder/requirements.txt"
RUN ./binder/postBuild
ENV R2D_ENTRYPOINT="${PREFIX}/binder/start"
CMD ["jupyter"]
"""


def test_ours_are_the_steps_that_run_what_this_project_brings():
    steps = replay.read_dockerfile(DOCKERFILE)
    assert [step.text for step in steps if step.ours] == [
        '${PREFIX}/bin/pip install -r "binder/requirements.txt"', "./binder/postBuild",
    ]  # fmt: skip
    assert [step.word for step in steps] == ["FROM", "ENV", "ENV", "ENV", "RUN", "RUN", "RUN", "ENV", "CMD"]


def test_the_environment_is_the_dockerfiles_moved_to_another_place():
    found = replay.environment(replay.read_dockerfile(DOCKERFILE), {"APP_BASE": "/tmp/here", "PATH": "/bin"})
    assert found == {
        "APP_BASE": "/tmp/here", "PREFIX": "/tmp/here/env", "NEXT": "/tmp/here two", "PATH": "/tmp/here/env/bin:/bin",
        "R2D_ENTRYPOINT": "/tmp/here/env/binder/start",
    }  # fmt: skip


def test_a_failing_step_ends_the_replay_and_is_shown(tmp_path):
    place = replay.Place(tmp_path, {"REPO_DIR": str(tmp_path), "PATH": "/bin:/usr/bin"}, None)
    with pytest.raises(SystemExit, match=r"(?s)out of paper\n.*status 3.*exit 3"):
        place.run("echo out of paper; exit 3")


def test_a_copy_holds_what_a_clone_holds(tmp_path):
    replay.copy_project(tmp_path)
    assert (tmp_path / "binder" / "start").stat().st_mode & 0o111
    assert (tmp_path / "binder" / "requirements.txt").read_text() == REQUIREMENTS
    assert not (tmp_path / ".git").exists()
    assert not (tmp_path / ".venv").exists()


# -- the other Python -------------------------------------------------------------------------------------------


def test_where_there_is_no_such_python_the_replay_says_it(monkeypatch, capsys):
    monkeypatch.setattr(replay, "newest_python", lambda: None)
    monkeypatch.setattr("tests.interpreters.newest_python", lambda: None)
    assert replay.main() == 0
    assert "Python 3.13" in capsys.readouterr().out


def test_the_project_says_which_pythons_it_supports():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    supported = SpecifierSet(project["requires-python"])
    assert [version for version in ("3.10", *PYTHONS, "3.14") if version in supported] == list(PYTHONS)
    assert (bootstrap().OLDEST, bootstrap().NEWEST) == ((3, 11), (3, 13))
