"""Hand-outs and site: they ask nobody for anything, and say what is missing."""

import io
import re
import shutil
import subprocess
import sys
import tarfile

import nbformat
import pytest

from inferkit import InputError
from inferkit._base import sha256
from inferkit.plots import FIGURE_MIME
from notebooks import publish
from notebooks.source import from_text, write_text

LESSON = """# %% [markdown] tags=["slide", "title"]
# # A title
#
# A question?

# %% [markdown] tags=["notes"]
# Ask the room.

# %% [markdown] tags=["skip"]
# For reading only.

# %% [markdown] tags=["slide"]
# ## A slide

# %%
show(fig, alt="a curve that rises")
"""
OUTSIDE = re.compile(r"(?:src|href|import|url)\s*[=(]?\s*[\"']?(?:https?:)?//")


@pytest.fixture
def built(tmp_path):
    """Return a built course of one lesson."""
    folder = tmp_path / "notebooks"
    for name in ("src/01_one.py", "01_one.ipynb", "exercises/01_one.ipynb"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        notebook = from_text(LESSON)
        data = {FIGURE_MIME: {"axes": []}, "text/html": '<img alt="a curve that rises" src="data:image/png;base64,">'}
        notebook.cells[-1].outputs = [nbformat.v4.new_output("display_data", data=data)]
        (folder / name).write_text(LESSON if name.endswith("py") else write_text(notebook))
    return folder


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """Return a package as npm would bring it; npm itself is not asked."""
    path = tmp_path / "package.tgz"
    with tarfile.open(path, "w:gz") as content:
        for name in ("dist/reveal.js", "plugin/notes/notes.js", "es5/tex-chtml.js", "test/unused.js", "../escape.js"):
            member = tarfile.TarInfo(f"package/{name}")
            member.size = 2
            content.addfile(member, io.BytesIO(b"//"))
    packed = []
    monkeypatch.setattr(publish, "_pack", lambda package, scratch: packed.append(package.name) or path)
    return packed


def test_a_hand_out_asks_nobody(built, archive, tmp_path):
    (page,) = publish.slides(["01"], tmp_path / "slides", built=built)
    text = page.read_text()
    assert page == tmp_path / "slides" / "01_one" / "index.html"
    assert not OUTSIDE.findall(re.sub(r'<a [^>]*href="[^"]*"', "", text))
    assert '<script src="../reveal/dist/reveal.js">' in text
    assert {p.name for p in (tmp_path / "slides").rglob("*.js")} == {"reveal.js", "notes.js"}
    assert "<title>A title slides</title>" in text


def test_what_is_on_a_slide_and_what_is_not(built, archive, tmp_path):
    (page,) = publish.slides([], tmp_path / "slides", built=built)
    text = page.read_text()
    assert "For reading only." not in text
    assert re.search(r'<aside class="notes">[\s\S]*Ask the room\.', text)
    assert 'alt="a curve that rises"' in text


def test_a_package_is_fetched_once(built, archive, tmp_path):
    for _ in range(2):
        publish.slides([], tmp_path / "slides", built=built)
    assert archive == ["reveal.js"]


@pytest.mark.parametrize(
    ("text", "math"),
    [("costs 3 $", False), ("`$a$`", False), ("$a+b$", True), ("$$\n# x\n# $$", True), ("\\$a$", False)],
)
def test_formulas_bring_mathjax(built, archive, tmp_path, text, math):
    notebook = from_text(f"{LESSON}\n# %% [markdown]\n# {text}\n")
    (built / "01_one.ipynb").write_text(write_text(notebook))
    (page,) = publish.slides([], tmp_path / "slides", built=built)
    assert ("mathjax" in archive) == math
    assert ('src="../mathjax/es5/tex-chtml.js"' in page.read_text()) == math


def test_npm_is_missed_in_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"npm is needed to fetch reveal\.js and is not on the path"):
        publish._pack(publish.REVEAL, tmp_path)


def test_another_archive_than_the_registered_one_is_refused(tmp_path, monkeypatch):
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\n/bin/echo changed > reveal.js-5.2.1.tgz\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    got = sha256(b"changed\n")
    with pytest.raises(InputError, match=f"expected the SHA-256 {publish.REVEAL.sha256}, got {got}"):
        publish._pack(publish.REVEAL, tmp_path)


def test_a_lesson_that_is_not_built_is_named(built, archive, tmp_path):
    (built / "01_one.ipynb").unlink()
    with pytest.raises(InputError, match=r"01_one\.ipynb is not built; build it: python -m notebooks\.build 01"):
        publish.slides([], tmp_path / "slides", built=built)


@pytest.mark.rotated
def test_the_site_asks_nobody_and_a_fault_in_a_page_is_an_error(built, tmp_path):
    faulty = tmp_path / "faulty" / built.name
    shutil.copytree(built, faulty)
    notebook = from_text(f"{LESSON}\n# %% [markdown]\n# [nowhere](nowhere.md)\n")
    (faulty / "01_one.ipynb").write_text(write_text(notebook))
    code = "import sys; from pathlib import Path; from notebooks.publish import site\n"
    code += "for built in map(Path, sys.argv[1:]): site(built.with_name('site'), built=built)"
    done = subprocess.run([sys.executable, "-c", code, built, faulty], capture_output=True, text=True)

    page = (tmp_path / "site" / "01_one.html").read_text()
    assert 'alt="a curve that rises"' in page
    assert not OUTSIDE.findall(re.sub(r'<(?:a|link rel="canonical") [^>]*href="[^"]*"', "", page))
    assert "exercises/01_one.html" in (tmp_path / "site" / "index.html").read_text()
    assert done.returncode == 1
    assert "nowhere.md" in done.stderr
    assert not faulty.with_name("site").exists()
