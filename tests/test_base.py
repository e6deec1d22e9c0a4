"""Errors, optional imports, whole files, seeds."""

import os
import shlex
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest

from inferkit import _base
from inferkit._base import InputError, MissingExtraError

ROOT = Path(__file__).parent.parent


METADATA = [
    "numpy>=1",
    "no-such-package>=3; extra == 'x'",
    "pytest>=99999; extra == 'x'",
    "hypothesis; extra == 'x'",
    "also-absent[fast,small]>=2; extra == 'x'",
    "other-system; sys_platform == 'beos' and extra == 'x'",
    "another; extra == 'y'",
]


@pytest.fixture
def metadata(monkeypatch):
    monkeypatch.setattr(_base, "requires", {"inferkit-course": METADATA}.__getitem__)


def hint(module, extra):
    with pytest.raises(MissingExtraError) as caught:
        _base.require(module, extra=extra)
    assert isinstance(caught.value, ImportError)
    words, line = str(caught.value).split(" Install it with: ")
    assert words == f"this needs {module.partition('.')[0]}, which is not installed."
    shell = shlex.shlex(line, posix=True, punctuation_chars=True)
    shell.whitespace_split = True
    return list(shell)


def test_require_names_the_package_with_its_bound_and_what_else_the_extra_lacks(metadata):
    """As a shell splits the line: without quotes, what stands behind ``>`` would name a file."""
    wanted = ["no-such-package>=3", "pytest>=99999", "also-absent[fast,small]>=2"]
    assert hint("no_such_package.sub", "x") == ["pip", "install", *wanted]


def test_a_module_that_another_package_brings_is_installed_by_its_whole_extra(metadata):
    assert "hypothesis" in hint("brought_by_one_of_them", "x")


def test_without_the_metadata_the_hint_has_no_bound(monkeypatch):
    def requires(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(_base, "requires", requires)
    assert hint("no_such_package.sub", "x") == ["pip", "install", "no-such-package"]


def test_packages_are_those_of_this_extra_on_this_system(metadata):
    assert [one.name for one in _base.packages_of()] == ["numpy"]
    found = {one.name: one for one in _base.packages_of("x")}
    assert list(found) == ["no-such-package", "pytest", "hypothesis", "also-absent[fast,small]"]
    assert [one.is_fine for one in found.values()] == [False, False, True, False]
    assert (found["no-such-package"].installed, found["pytest"].installed) == (None, pytest.__version__)


def test_every_hint_takes_its_bounds_from_pyproject():
    """Of the distribution as it is installed: its name, and what each extra asks for."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for extra in extras.keys() - {"course", "dev"}:  # they ask for other extras
        named = hint("no_such_package", extra)[2:]
        assert named, extra
        assert set(named) <= {line.partition(";")[0] for line in extras[extra]}


def test_require_does_not_hide_a_failure_inside_an_installed_package(tmp_path, monkeypatch):
    (tmp_path / "half_there.py").write_text("import something_it_needs")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="something_it_needs") as caught:
        _base.require("half_there", extra="cpu")
    assert not isinstance(caught.value, MissingExtraError)


def test_whole_file_replaces_only_when_whole(tmp_path):
    target = tmp_path / "model.bin"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), _base.whole_file(target) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
    with _base.whole_file(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
        assert temporary.suffix == ".bin"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_whole_file_has_the_permissions_of_an_ordinary_file(tmp_path):
    (tmp_path / "plain").write_text("")
    with _base.whole_file(tmp_path / "ours"):
        pass
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_whole_file_names_a_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="the folder does not exist"), _base.whole_file(tmp_path / "no" / "a"):
        pass


def test_whole_file_names_an_unwritable_folder(tmp_path):
    """Root may write anywhere, so the check runs as another user where this one is root."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    code = (
        "import os; from inferkit._base import whole_file; os.getuid() or os.setuid(65534)\n"
        f"with whole_file({str(folder / 'a')!r}): pass"
    )
    for parent in folder.parents:
        if parent.is_relative_to(tempfile.gettempdir()) and parent.stat().st_uid == os.getuid():
            parent.chmod(parent.stat().st_mode | 0o055)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    assert "PermissionError" in run.stderr
    assert "the folder cannot be written to" in run.stderr
    assert list(folder.iterdir()) == []


def test_sha256_of_bytes_and_of_a_file_agree(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4
    assert _base.sha256(b"abc") == _base.sha256(tmp_path / "f") == known


def test_bundled_lists_what_there_is():
    with pytest.raises(FileNotFoundError, match=r"registry\.json"):
        _base.bundled("nothing.bin")


def test_generator_takes_a_seed_a_generator_or_none():
    rng = np.random.default_rng(1)
    assert _base.generator(rng) is rng
    assert _base.generator(3).integers(1 << 30) == np.random.default_rng(3).integers(1 << 30)
    assert _base.generator(np.int64(3)).integers(1 << 30) == np.random.default_rng(3).integers(1 << 30)
    assert _base.generator(None).integers(1 << 60) != _base.generator(None).integers(1 << 60)


@pytest.mark.parametrize("bad", [-1, 1.5, "7", True, [1]])
def test_generator_refuses_what_is_no_seed(bad):
    with pytest.raises(InputError, match="random_state"):
        _base.generator(bad)


# -- the package's face ------------------------------------------------------------------------


def in_a_fresh_python(code: str) -> str:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr == ""
    return run.stdout.strip()


def test_importing_inferkit_loads_nothing_else():
    code = "import sys, inferkit; print(sorted({m.partition('.')[0] for m in sys.modules}))"
    loaded = in_a_fresh_python(code)
    for heavy in ("numpy", "sklearn", "matplotlib", "pandas", "keras", "tensorflow", "ai_edge_litert", "ipywidgets"):
        assert f"'{heavy}'" not in loaded


def test_using_a_predictor_loads_no_framework():
    code = (
        "import sys, inferkit; inferkit.predictor.digit_reader().predict_one(__import__('numpy').zeros((8, 8)));"
        "print(sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    loaded = in_a_fresh_python(code)
    for heavy in ("sklearn", "matplotlib", "pandas", "keras", "tensorflow", "ipywidgets"):
        assert f"'{heavy}'" not in loaded


@pytest.mark.rotated
def test_names_are_shown_before_they_are_loaded():
    code = "import inferkit; print(all(hasattr(inferkit, n) for n in dir(inferkit)), 'Predictor' in dir(inferkit))"
    assert in_a_fresh_python(code) == "True True"


def test_an_unknown_name_is_an_attribute_error():
    import inferkit

    with pytest.raises(AttributeError, match="no attribute 'preditcor'"):
        _ = inferkit.preditcor


def test_what_a_lesson_imports_first_is_light():
    """SciPy takes a fifth of a second, and only percentiles ask for it."""
    heavy = "{'scipy', 'sklearn', 'pandas', 'matplotlib', 'tensorflow', 'keras'}"
    code = f"import sys, inferkit.course, inferkit.benchmark, inferkit.predictor; print({heavy} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"
