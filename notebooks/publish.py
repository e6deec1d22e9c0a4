"""Hand-outs of the slides, and the course as a web site: both work from a folder, with no network.

``python -m notebooks.publish slides [NN ...]`` writes ``build/slides``; ``python -m notebooks.publish site`` writes
``build/site``. What pages need of other projects is fetched once, by npm, and checked against a hash.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

import nbformat
from jinja2 import DictLoader
from nbconvert import SlidesExporter
from nbformat import NotebookNode

from inferkit._base import InputError, sha256
from inferkit.plots import FIGURE_MIME

from .source import NOTES, ROOT, pick

__all__ = ["main", "site", "slides"]

BUILD = ROOT.parent / "build"


class Package(NamedTuple):
    """A package of npm: its exact version, the hash of its archive, and the folders that are used."""

    name: str
    version: str
    sha256: str
    parts: tuple[str, ...]


REVEAL = Package(
    "reveal.js", "5.2.1", "359b575dd51bbda32f89b2fd4c7dc46ad7389a805572158916c29252f7a27333", ("dist/", "plugin/notes/")
)
MATHJAX = Package(
    "mathjax", "3.2.2", "1b9c0a1c44df864e915690558e72adb9cc5203360daefd385084ced3b6c64c09",
    ("es5/tex-chtml.js", "es5/output/chtml/fonts/"),
)  # fmt: skip
_MATH = re.compile(r"(?<!\\)\$[^$\n]+\$|\$\$")

# nbconvert's own page asks other servers for jQuery, RequireJS, MathJax and Mermaid; this one asks nobody.
_TEMPLATE = """
{%- extends 'reveal/index.html.j2' -%}
{%- block html_head_js_jquery -%}{%- endblock -%}
{%- block html_head_js_requirejs -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}
{% if resources.mathjax_url %}<script defer src="{{ resources.mathjax_url }}"></script>{% endif %}
{%- endblock -%}
{%- block html_head_css -%}
<style>
:root { --jp-content-font-size1: 20px; --jp-code-font-size: 15px; --jp-cell-prompt-width: 0px; }
.reveal .slides { text-align: left; }
.reveal .slides section { max-height: 720px; overflow-y: auto; font-size: 20px; }
.reveal h1, .reveal h2 { text-transform: none; }
.reveal .jp-RenderedHTMLCommon img { margin: 0; max-height: 480px; width: auto; }
.jp-InputPrompt, .jp-OutputPrompt { display: none; }
</style>
{%- endblock -%}
{%- block footer_js -%}
<script src="{{ reveal_url_prefix }}/dist/reveal.js"></script>
<script src="{{ reveal_url_prefix }}/plugin/notes/notes.js"></script>
<script>
Reveal.initialize({ width: 1280, height: 720, margin: 0.04, center: false, hash: true, transition: "none",
                    plugins: [RevealNotes] });
</script>
{%- endblock -%}
"""


def slides(numbers: list[str] | None = None, target: Path = BUILD / "slides", *, built: Path = ROOT) -> list[Path]:
    """Make hand-outs of the slides of built lessons.

    Parameters
    ----------
    numbers : list of str, optional
        The lessons' numbers; nothing means all.
    target : pathlib.Path, optional
        The folder to write to. It can be moved and opened anywhere.
    built : pathlib.Path, optional
        The folder of the built lessons.

    Returns
    -------
    list of pathlib.Path
        The pages: ``NN_slug/index.html``. Reveal.js shows the speaker's notes at the key S.

    Raises
    ------
    InputError
        If there is no such lesson, or npm is missing.
    """
    target.mkdir(parents=True, exist_ok=True)
    _fetch(REVEAL, target / "reveal")
    pages = []
    for source in pick(numbers, built / "src"):
        notebook = _unfold_notes(_read(built / f"{source.stem}.ipynb"))
        if _has_math([notebook]):
            _fetch(MATHJAX, target / "mathjax")
        page = target / source.stem / "index.html"
        page.parent.mkdir(exist_ok=True)
        page.write_text(_slides(notebook), encoding="utf-8")
        pages.append(page)
    return pages


def _read(path: Path) -> NotebookNode:
    if not path.exists():
        raise InputError(f"{path.name} is not built; build it: python -m notebooks.build {path.name[:2]}")
    return nbformat.read(path, as_version=4)


def _unfold_notes(notebook: NotebookNode) -> NotebookNode:
    """Take the fold off the speaker's notes: on the hand-outs they have a window of their own."""
    before, after = NOTES.split("{}")
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = cell.source.removeprefix(before).removesuffix(after)
    return notebook


def _has_math(notebooks: list[NotebookNode]) -> bool:
    cells = [cell for notebook in notebooks for cell in notebook.cells if cell.cell_type == "markdown"]
    return any(_MATH.search(re.sub(r"`[^`]*`", "", cell.source)) for cell in cells)


def _slides(notebook: NotebookNode) -> str:
    exporter = SlidesExporter(
        extra_loaders=[DictLoader({"handout.html.j2": _TEMPLATE})],
        template_file="handout.html.j2",
        reveal_url_prefix="../reveal",
        reveal_theme="white",  # nbconvert's own choice fetches its letters from elsewhere
        mathjax_url="../mathjax/es5/tex-chtml.js" if _has_math([notebook]) else "",
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    title = notebook.cells[0].source.partition("\n")[0].lstrip("# ")
    return str(exporter.from_notebook_node(notebook, resources={"metadata": {"name": title}})[0])


def _fetch(package: Package, target: Path) -> None:
    """Bring the parts of a package to a folder, if they are not there."""
    mark = target / f".{package.version}"
    if mark.exists():
        return
    with tempfile.TemporaryDirectory(prefix="inferkit-") as scratch:
        archive = _pack(package, Path(scratch))
        with tarfile.open(archive) as content:
            members = [m for m in content if m.name.removeprefix("package/").startswith(package.parts)]
            content.extractall(scratch, members, filter="data")
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(Path(scratch) / "package", target)
    mark.touch()


def _pack(package: Package, scratch: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise InputError(f"npm is needed to fetch {package.name} and is not on the path; install Node.js, then again")
    command = [npm, "pack", f"{package.name}@{package.version}", "--silent", "--ignore-scripts"]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True)
    archives = list(scratch.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        raise InputError(f"npm could not fetch {package.name} {package.version}: {done.stderr.strip()[-300:]}")
    if (got := sha256(archives[0])) != package.sha256:
        raise InputError(f"{package.name} {package.version}: expected the SHA-256 {package.sha256}, got {got}")
    return archives[0]


# -- site -------------------------------------------------------------------------------------------------------

_INDEX = """# Machine-learning inference, measured on your own machine

Every number is measured where you are; every claim can be tried by hand. These pages show the lessons as one
machine ran them. To run them on yours: `make lab`.

```{{toctree}}
:caption: Lessons
:maxdepth: 1

{lessons}
```

```{{toctree}}
:caption: Exercises
:maxdepth: 1

{exercises}
```
"""
_SPHINX = {
    "project": "inferkit",
    "author": "The inferkit authors",
    "extensions": ["myst_nb"],
    "html_theme": "sphinx_book_theme",
    "html_title": "inferkit",
    "html_show_sourcelink": False,
    "html_copy_source": False,
    "nb_execution_mode": "off",
    "nb_ipywidgets_js": {},
    "myst_enable_extensions": ["dollarmath"],
    "mathjax_path": "es5/tex-chtml.js",
    "html_theme_options": {"use_download_button": False, "use_fullscreen_button": False},
}


def site(target: Path = BUILD / "site", *, built: Path = ROOT) -> Path:
    """Make the web site of the built lessons and exercises.

    Parameters
    ----------
    target : pathlib.Path, optional
        The folder to write to.
    built : pathlib.Path, optional
        The folder of the built notebooks.

    Returns
    -------
    pathlib.Path
        The first page.

    Raises
    ------
    InputError
        If a notebook is not built, npm is missing, or a page has a fault (a broken link, a heading out of order).
    """
    from sphinx.application import Sphinx
    from sphinx.errors import SphinxError

    with tempfile.TemporaryDirectory(prefix="inferkit-") as scratch:
        sources = Path(scratch) / "site"
        notebooks = _gather(sources, built)
        static = {}
        if _has_math(notebooks):
            _fetch(MATHJAX, Path(scratch) / "mathjax")
            static = {"html_static_path": [str(Path(scratch) / "mathjax")]}
        pages = Path(scratch) / "html" / "site"
        try:
            app = Sphinx(
                sources, None, pages, Path(scratch) / "trees", "html", {**_SPHINX, **static},
                status=None, warningiserror=True,
            )  # fmt: skip
            app.build()
        except SphinxError as error:
            raise InputError(f"the site could not be built: {error}") from error
        if app.statuscode:
            raise InputError("the site has faults; they are listed above")
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(pages, target)
    return target / "index.html"


def _gather(sources: Path, built: Path) -> list[NotebookNode]:
    """Copy the notebooks to a folder of their own, with a first page; return them."""
    names = [source.stem for source in pick(sources=built / "src")]
    notebooks: list[NotebookNode] = []
    listed: dict[str, list[str]] = {"": [], "exercises": []}
    for folder, entries in listed.items():
        (sources / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            path = built / folder / f"{name}.ipynb"
            if folder and not path.exists():
                continue
            notebooks.append(_without_figure_data(_read(path)))
            nbformat.write(notebooks[-1], sources / folder / path.name)
            entries.append(f"{folder}/{name}".lstrip("/"))
    text = _INDEX.format(lessons="\n".join(listed[""]), exercises="\n".join(listed["exercises"]))
    (sources / "index.md").write_text(text, encoding="utf-8")
    return notebooks


def _without_figure_data(notebook: NotebookNode) -> NotebookNode:
    """Take out the data of figures: a page can't show them, and Sphinx would say so."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(FIGURE_MIME, None)
    return notebook


def main(arguments: list[str] | None = None) -> int:
    """Make hand-outs or the site from the command line.

    Parameters
    ----------
    arguments : list of str, optional
        The command line; ``--help`` explains it.

    Returns
    -------
    int
        0 if all went well, else 1.
    """
    parser = argparse.ArgumentParser(prog="python -m notebooks.publish", description="Make hand-outs or the web site.")
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("slides").add_argument("numbers", nargs="*", metavar="NN", help="none means all")
    kinds.add_parser("site")
    options = parser.parse_args(arguments)
    try:
        pages = slides(options.numbers) if options.kind == "slides" else [site()]
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    for page in pages:
        print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
