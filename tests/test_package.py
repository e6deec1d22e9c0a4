"""The package as others get it: a wheel in an empty environment, locks, the two commands."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = sorted((ROOT / "binder").glob("lock-*.txt"))
UV = Path(sys.executable).with_name("uv")


def run(*command, **options):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    done = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_carries_what_the_library_needs_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "py.typed",
        "inferkit.mplstyle",
        "widgets/pad.js",
        "widgets/pad.css",
        "widgets/colours.css",
        "widgets/live.js",
        "widgets/figure.js",
        "course/picker.js",
        "bundled/clinics.csv",
        "bundled/signs.png",
        "bundled/registry.json",
    ):
        assert f"inferkit/{needed}" in names
    tracked = {p.relative_to(ROOT).as_posix() for p in (ROOT / "inferkit").rglob("*") if p.is_file()}
    tracked = {name for name in tracked if "__pycache__" not in name}
    assert {name for name in names if ".dist-info/" not in name} == tracked


@pytest.mark.rotated
def test_the_wheel_works_in_an_empty_environment_with_the_core_alone(wheel, tmp_path):
    """In a folder that has nothing of the checkout: data, models, a predictor, a figure; a missing extra is named."""
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    assert run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv").returncode == 0
    constraint = tmp_path / "versions.txt"
    lines = (ROOT / "binder" / "lock-dev.txt").read_text().splitlines()
    constraint.write_text("\n".join(line.rstrip("\\ ") for line in lines if re.match(r"[A-Za-z0-9]", line)))
    install = [UV, "pip", "install", "-q", "--python", python, "-c", constraint, wheel]
    if run(*install, "--offline").returncode:  # all of it is in the cache, unless that was cleaned
        done = run(*install)
        assert done.returncode == 0, done.stderr
    code = """if True:
        import inferkit, matplotlib.pyplot as plt, re
        X, y = inferkit.datasets.load_digits(return_X_y=True)
        reader = inferkit.predictor.digit_reader()
        assert (reader.predict(X.reshape(-1, 8, 8)[:200]) == y[:200]).mean() > 0.9
        inferkit.plots.use_style()
        fig, ax = plt.subplots()
        ax.plot([1, 2])
        inferkit.plots.show(fig, alt="one short rising line")
        for use in (lambda: inferkit.models.cnn(), lambda: inferkit.datasets.load_digits(as_frame=True),
                    lambda: inferkit.widgets.DigitPad(reader), lambda: inferkit.course.quiz([])):
            try:
                use()
            except inferkit.MissingExtraError as error:
                assert re.search('pip install "[a-z]+>=', str(error)), error
            else:
                raise AssertionError("an extra is not missing")
        print(inferkit.__version__, inferkit.__file__)
    """
    done = run(python, "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) in done.stdout


def test_the_version_is_said_once():
    import inferkit

    assert inferkit.__version__ == PROJECT["project"]["version"]


def test_the_extras_that_were_promised_are_there():
    extras = set(PROJECT["project"]["optional-dependencies"])
    assert extras >= {"cpu", "gpu", "bayes", "notebooks", "serve", "scale", "bench", "verify", "dev", "course"}


def test_the_core_is_small():
    names = {re.split(r"[^A-Za-z0-9-]", d)[0] for d in PROJECT["project"]["dependencies"]}
    # by scikit-learn and pooch; named because they are imported
    brought_along = {"scipy", "threadpoolctl", "platformdirs", "urllib3"}
    assert names == {"numpy", "scikit-learn", "matplotlib", "pooch", "ai-edge-litert"} | brought_along


@pytest.mark.parametrize("lock", LOCKS, ids=lambda p: p.name)
def test_a_lock_has_a_hash_for_each_package_and_no_address(lock):
    text = lock.read_text(encoding="utf-8")
    packages = re.findall(r"^[A-Za-z0-9][^\n]*(?:\n +--hash[^\n]*)*", text, flags=re.M)
    assert packages
    assert [p.splitlines()[0] for p in packages if "--hash=sha256:" not in p or "==" not in p] == []
    assert not re.search(r"https?:|://|--index|--find-links|file:", text)


def test_the_lock_of_the_course_is_part_of_that_of_development():
    course, dev = (
        set(re.findall(r"^\S+==\S+", (ROOT / "binder" / f"lock-{k}.txt").read_text(), re.M)) for k in ("course", "dev")
    )
    assert course < dev


# -- the two commands --------------------------------------------------------------------------


def test_make_help_lists_every_target_of_the_design():
    done = run("make", "-s", "help", cwd=ROOT)
    listed = re.findall(r"^make ([a-z-]+)", done.stdout, flags=re.M)
    designed = {"lab", "test", "reset", "lecture", "notebooks", "site", "slides", "bench", "binder-check", "lint"}
    assert set(listed) >= designed | {"help"}


def test_each_target_is_one_line():
    text = (ROOT / "Makefile").read_text()
    for target, recipe in re.findall(r"^([a-z-]+):[^=\n]*\n((?:\t[^\n]*\n)*)", text, flags=re.M):
        assert recipe.count("\n") == 1, target


def test_a_second_call_returns_at_once():
    """The stamp decides; nothing is installed, so nothing is printed and no network is asked."""
    for _ in range(2):  # the first may have to take up a change of the project's own file
        done = run(sys.executable, "binder/bootstrap.py", "dev", cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_wrong_python_gets_one_clear_line(tmp_path):
    """A copy of the checkout's bootstrap, run by a Python that is made to look old, with no other on the path."""
    shutil.copytree(ROOT / "binder", tmp_path / "binder")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    code = (
        "import sys, runpy; sys.version_info = (3, 9, 1, 'final', 0); sys.argv = ['bootstrap.py', 'course'];"
        "sys.executable = '/nonexistent/python3.9'; runpy.run_path('binder/bootstrap.py', run_name='__main__')"
    )
    done = run(sys.executable, "-c", code, cwd=tmp_path, env={"PATH": "/nonexistent", "PYENV_ROOT": "/nonexistent"})
    assert done.returncode == 1
    assert done.stderr.startswith("inferkit needs Python 3.11, 3.12 or 3.13 with its venv module; this is Python 3.9.")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / ".venv").exists()


def test_an_old_python_can_at_least_read_the_bootstrap():
    import ast

    ast.parse((ROOT / "binder" / "bootstrap.py").read_text(), feature_version=(3, 4))


def texts():
    """Yield the name and the text of each file of the project that is one."""
    done = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in done.stdout.splitlines():
        path = ROOT / name
        if path.suffix not in {".keras", ".tflite", ".png", ".gz"} and path.is_file():
            yield name, path.read_text(encoding="utf-8")


def test_nothing_names_a_registry_or_a_path_of_one_machine():
    registry = re.compile("pypi" + r"\.org|pythonhosted" + r"\.org|npmjs" + r"\.(org|com)|deb\.debian" + r"\.org")
    own = (str(ROOT), str(Path.home()) + "/")
    assert [name for name, text in texts() if registry.search(text) or any(path in text for path in own)] == []


# -- the package index has another project called inferkit --------------------------------------

STRINGS_SIDE_BY_SIDE = re.compile(r"""["']\s*\n\s*[frb]*["']""")
GAP = r"(?:[ \t]|\\\n)+"  # between the words of a command
FROM_THE_INDEX = re.compile(
    rf"""(?:\b(?:pip3?|uv|tool|conda){GAP}(?:install|add)(?:{GAP}[^\s#]+)*?{GAP}|\binstall\s+)"""  # or in words
    r"""[\\"'`]*inferkit(?:-course)?(?:\[[^\]]*\])?(?![\w/\[-]|\s+@\s|\s+from\s+git\b)""",
    re.I,
)


def from_the_index(text):
    """Return the places of a text that would have somebody install this project by its name alone."""
    return [found[0] for found in FROM_THE_INDEX.finditer(STRINGS_SIDE_BY_SIDE.sub("", text))]


def test_no_message_fetches_this_project_from_the_index():
    found = {name: from_the_index(text) for name, text in texts() if not name.startswith("tests/")}
    assert {name: places for name, places in found.items() if places} == {}


@pytest.mark.parametrize(
    "text",
    [
        "pip install inferkit",
        "update with pip install --upgrade inferkit.",
        "python -m pip install -U -q inferkit==0.1",
        '%pip install "inferkit[serve,scale]"',
        r"    %pip install -q \"inferkit-course[colab]\"\n",
        "pip install 'inferkit-course>=0.1'",
        "f'Install it with: pip install \"inferkit[{extra}]\"'",
        'f"if a newer one wrote it, update yours: pip install "\n    "--upgrade inferkit"',
        "pip3 install numpy \\\n  inferkit",
        "uv pip install inferkit",
        "uv tool install inferkit",
        "`uv add inferkit-course`",
        "registry.json is damaged; install inferkit again",
    ],
)
def test_a_message_that_does_is_found(text):
    assert len(from_the_index(f"Some words. {text} More words.")) == 1


@pytest.mark.parametrize(
    "text",
    [
        'pip install -e ".[serve]"    # inferkit with what a server needs',
        r"    %pip install -q \"inferkit-course[colab] @ git+https://github.com/inferkit/inferkit@main\"\n",
        "pip install ./inferkit",
        "pip install inferkit_like",
        "git checkout inferkit/bundled in the checkout, or install inferkit from git again",
    ],
)
def test_a_checkout_and_git_may_be_named(text):
    assert from_the_index(text) == []
