"""One setting feeds every public address; the cell for Colab acts on Colab, and nowhere else."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
from packaging.requirements import Requirement

from inferkit import InputError
from notebooks import links
from notebooks.links import Links, colab_cell, for_colab, read_links
from notebooks.source import SOURCES, from_text, pick, read, write_text

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
HERE = read_links()
ELSEWHERE = Links("https://github.com/some-body/a.course", "next/year")
# The pages of this project, wherever they are published: Binder's, Colab's, its own.
ADDRESS = re.compile(
    r"https://(?:mybinder\.org/v2/gh/|colab\.research\.google\.com/github/|github\.com/)[^\s\")\]'`\\]+"
)


def holding_addresses(root):
    """Return the files of a checkout that lead readers somewhere: the README, the package, the built notebooks."""
    return [root / "README.md", root / "pyproject.toml", *sorted((root / "notebooks").rglob("[0-9][0-9]_*.ipynb"))]


@pytest.fixture
def copied(tmp_path):
    """Return a copy of those files."""
    for path in holding_addresses(ROOT):
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return tmp_path


def move(root, to=ELSEWHERE):
    """Change the one setting."""
    path = root / "pyproject.toml"
    before = path.read_text(encoding="utf-8")
    after = before.replace(f'repository = "{HERE.repository}"\nbranch = "{HERE.branch}"\n',
                           f'repository = "{to.repository}"\nbranch = "{to.branch}"\n')  # fmt: skip
    assert after != before
    path.write_text(after, encoding="utf-8")


def test_every_address_is_the_settings():
    assert links.rewrite(write=False) == [], "run: make links"


def test_every_built_lesson_has_its_links_in_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [line for line in readme.splitlines() if "](notebooks/" in line and line.startswith("| ")]
    assert rows
    for row in rows:
        name = re.search(r"\]\(notebooks/(\d\d_\w+\.ipynb)\)", row)[1]
        assert row.endswith(f"| [Binder]({HERE.binder(name)}) · [Colab]({HERE.colab(f'notebooks/{name}')}) |")


def test_changing_the_setting_changes_every_address(copied):
    found = {path: ADDRESS.findall(path.read_text(encoding="utf-8")) for path in holding_addresses(copied)}
    assert all(found.values()), "a file without an address is looked at"
    assert all(HERE.slug in address for addresses in found.values() for address in addresses)
    move(copied)
    assert set(links.rewrite(copied, write=False)) == set(found)
    assert all(HERE.slug in path.read_text(encoding="utf-8") for path in found if path.suffix != ".toml")
    links.rewrite(copied)
    for path, before in found.items():
        after = ADDRESS.findall(path.read_text(encoding="utf-8"))
        assert len(after) == len(before)
        assert all(ELSEWHERE.slug in address for address in after), path
        assert HERE.slug not in path.read_text(encoding="utf-8")
    assert read_links(copied) == ELSEWHERE
    assert links.rewrite(copied) == []


def test_each_address_is_what_its_service_expects():
    """A slash in a branch is part of its name for Binder, which splits an address at slashes."""
    base = "https://github.com/some-body/a.course"
    assert ELSEWHERE.source("README.md") == f"{base}/blob/next/year/README.md"
    assert ELSEWHERE.colab("notebooks/01.ipynb") == (
        "https://colab.research.google.com/github/some-body/a.course/blob/next/year/notebooks/01.ipynb"
    )
    assert ELSEWHERE.binder("01.ipynb") == (
        "https://mybinder.org/v2/gh/some-body/a.course/next%2Fyear?labpath=work%2F01.ipynb"
    )
    assert ELSEWHERE.requirement == f"inferkit-course[colab] @ git+{base}@next/year"


def test_there_and_back_gives_the_same_bytes(copied):
    move(copied)
    links.rewrite(copied)
    text = (copied / "pyproject.toml").read_text(encoding="utf-8")
    for new, old in ((ELSEWHERE.repository, HERE.repository), (f'"{ELSEWHERE.branch}"', f'"{HERE.branch}"')):
        text = text.replace(new, old)
    (copied / "pyproject.toml").write_text(text, encoding="utf-8")
    links.rewrite(copied)
    for path in holding_addresses(copied):
        assert path.read_bytes() == (ROOT / path.relative_to(copied)).read_bytes()


def test_a_lesson_that_becomes_built_gets_its_links(copied):
    readme = copied / "README.md"
    text = readme.read_text(encoding="utf-8")
    row = re.search(r"^\| 22 \| (.*?) · \*coming\* \| ", text, re.M)
    readme.write_text(text.replace(row[0], f"| 22 | [{row[1]}](notebooks/22_capstone.ipynb) | "), encoding="utf-8")
    assert links.rewrite(copied) == [readme]
    assert HERE.binder("22_capstone.ipynb") in readme.read_text(encoding="utf-8")
    readme.write_text(text, encoding="utf-8")
    assert links.rewrite(copied) == []


@pytest.mark.parametrize(
    ("repository", "branch", "complaint"),
    [
        ("https://gitlab.com/a/b", "main", "https://github.com/OWNER/NAME"),
        ("https://github.com/a/b/", "main", "nothing after it; got 'https://github.com/a/b/'"),
        ("https://github.com/a/b.git", "main", "nothing after it"),
        ("https://github.com/a", "main", "OWNER/NAME"),
        ("https://github.com/a/b", "", "the name of a branch"),
        ("https://github.com/a/b", 'x" y', "the name of a branch"),
    ],
)
def test_what_leads_nowhere_is_refused(repository, branch, complaint):
    with pytest.raises(InputError, match=complaint):
        Links(repository, branch)


def test_a_missing_setting_is_named(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[tool.inferkit.links]\nrepository = "https://github.com/a/b"\n')
    with pytest.raises(InputError, match=r"repository and branch .* got repository"):
        read_links(tmp_path)


def test_the_command_says_what_it_changed_and_a_check_changes_nothing(copied, monkeypatch, capsys):
    move(copied)
    before = {path: path.read_bytes() for path in holding_addresses(copied)}
    rewrite = links.rewrite
    monkeypatch.setattr(links, "rewrite", lambda *, write: rewrite(copied, write=write))
    monkeypatch.setattr(links, "ROOT", copied / "notebooks")
    assert links.main(["--check"]) == 1
    assert {path: path.read_bytes() for path in before} == before
    assert "README.md\n" in capsys.readouterr().out
    assert (links.main([]), links.main(["--check"])) == (0, 0)


# -- Colab ------------------------------------------------------------------------------------------------------


def run_cell(folder, *, on_colab):
    """Execute the cell in IPython with a pip that writes down what it is asked, and a stand-in for Colab's package."""
    (folder / "pip").mkdir()
    (folder / "pip" / "__init__.py").touch()
    (folder / "pip" / "__main__.py").write_text(
        "import json, sys, pathlib; pathlib.Path('asked.json').write_text(json.dumps(sys.argv[1:]))"
    )
    colab = """
import pathlib, sys, types
colab, output = types.ModuleType("google.colab"), types.ModuleType("google.colab.output")
output.enable_custom_widget_manager = lambda: pathlib.Path("widgets").write_text("enabled")
colab.output = output
sys.modules |= {"google": types.ModuleType("google"), "google.colab": colab, "google.colab.output": output}
"""
    code = f"""{colab if on_colab else ""}
from IPython.core.interactiveshell import InteractiveShell
result = InteractiveShell.instance().run_cell({colab_cell(HERE).source!r})
result.raise_error()
assert result.result is None
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(folder), "IPYTHONDIR": str(folder)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_on_colab_it_fetches_the_library_and_enables_widgets(tmp_path):
    run_cell(tmp_path, on_colab=True)
    asked = json.loads((tmp_path / "asked.json").read_text())
    assert asked == ["install", "-q", HERE.requirement]
    assert (tmp_path / "widgets").read_text() == "enabled"


def test_elsewhere_it_does_nothing_and_says_nothing(tmp_path):
    assert run_cell(tmp_path, on_colab=False) == ""
    assert not (tmp_path / "asked.json").exists()
    assert not (tmp_path / "widgets").exists()


def test_pip_understands_what_it_is_asked():
    asked = Requirement(HERE.requirement)
    assert (asked.name, asked.url) == (PROJECT["project"]["name"], f"git+{HERE.repository}@{HERE.branch}")
    assert asked.extras == {"colab"}
    assert asked.extras <= set(PROJECT["project"]["optional-dependencies"])


def test_nothing_that_colab_has_is_made_older():
    """Every requirement is a lower bound, or none, so pip keeps what is there or takes something newer."""
    asked = PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["colab"]
    assert {specifier.operator for line in asked for specifier in Requirement(line).specifier} <= {">="}


def test_colab_gets_what_the_course_needs_but_what_it_brings_itself():
    extras = PROJECT["project"]["optional-dependencies"]
    needed = [line for extra in Requirement(extras["course"][0]).extras for line in extras[extra]]
    course, colab = ({Requirement(line).name for line in lines} for lines in (needed, extras["colab"]))
    assert course - colab == {"tensorflow-cpu", "ipykernel", "jupyterlab", "jupyterlab-deck"}
    assert colab <= course


def test_the_cell_stands_second_folded_and_on_no_slide():
    notebook = from_text('# %% [markdown] tags=["slide", "title"]\n# # T\n\n# %%\n1\n')
    before = write_text(notebook)
    title, cell, code = for_colab(notebook, HERE).cells
    assert write_text(notebook) == before
    assert (title, code) == tuple(notebook.cells)
    assert cell.metadata.jupyter.source_hidden
    assert cell.metadata.slideshow.slide_type == "skip"
    nbformat.validate(for_colab(notebook, HERE))


@pytest.mark.parametrize(
    "source", pick() + pick(sources=SOURCES / "exercises"), ids=lambda p: f"{p.parent.name}/{p.stem}"
)
def test_the_first_cell_of_a_source_is_its_title(source):
    assert read(source).cells[0].source.startswith("# ")
