"""The course's public addresses: `[tool.inferkit.links]` in ``pyproject.toml`` feeds every one of them.

``python -m notebooks.links [--check]`` (this is ``make links``)

It writes anew the links of the README, the addresses of the package, and the cell of each built notebook that fetches
the library on Google Colab. That cell has no output, so nothing is executed.
"""

import argparse
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import nbformat
from nbformat import NotebookNode

from inferkit._base import InputError, whole_file

from . import welcome
from .source import ROOT, write_text

__all__ = ["Links", "colab_cell", "for_colab", "main", "read_links", "rewrite"]

FIRST = "01_train_once_predict_forever.ipynb"
_CELL_ID = "on-colab"
_COLAB_CELL = """# @title For Google Colab alone; elsewhere this cell does nothing
import sys

if "google.colab" in sys.modules:
    %pip install -q "{requirement}"
    from google.colab import output

    output.enable_custom_widget_manager()"""
_GITHUB = re.compile(r"https://github\.com/(?P<slug>[\w.-]+/[\w.-]+)")
_ROW = re.compile(r"^(\| \d\d \| (?P<lesson>[^|]*) \| [^|]* \|)[^|\n]*\|$", re.M)
_BUILT = re.compile(r"\]\(notebooks/(?P<name>\d\d_\w+\.ipynb)\)")


@dataclass(frozen=True)
class Links:
    """Where the course is published.

    Parameters
    ----------
    repository : str
        ``https://github.com/OWNER/NAME``: Colab opens notebooks from there alone.
    branch : str
        The branch that readers get.

    Raises
    ------
    InputError
        If the address is another, or the branch is empty.

    Examples
    --------
    >>> links = Links("https://github.com/somebody/course", "main")
    >>> links.requirement
    'inferkit-course[colab] @ git+https://github.com/somebody/course@main'
    >>> links.colab("notebooks/01_one.ipynb")
    'https://colab.research.google.com/github/somebody/course/blob/main/notebooks/01_one.ipynb'
    """

    repository: str
    branch: str

    def __post_init__(self) -> None:
        """Refuse what would give links that lead nowhere."""
        if not _GITHUB.fullmatch(self.repository) or self.repository.endswith(".git"):
            expected = 'repository = "https://github.com/OWNER/NAME" in [tool.inferkit.links]'
            raise InputError(f"expected {expected}, with nothing after it; got {self.repository!r}")
        if not re.fullmatch(r"[\w./-]+", self.branch):
            raise InputError(f"expected the name of a branch in [tool.inferkit.links]; got {self.branch!r}")

    @property
    def slug(self) -> str:
        """Owner and name, as the addresses of other services hold them."""
        return self.repository.removeprefix("https://github.com/")

    @property
    def requirement(self) -> str:
        """What pip installs on Colab."""
        return f"inferkit-course[colab] @ git+{self.repository}@{self.branch}"

    def source(self, path: str) -> str:
        """Return the address at which a file is read."""
        return f"{self.repository}/blob/{self.branch}/{path}"

    def colab(self, path: str) -> str:
        """Return the address at which Google Colab opens a notebook of the repository."""
        return f"https://colab.research.google.com/github/{self.slug}/blob/{self.branch}/{path}"

    def binder(self, name: str) -> str:
        """Return the address at which Binder opens a file that ``binder/postBuild`` makes in ``work/``."""
        where = quote(f"work/{name}", safe="")
        return f"https://mybinder.org/v2/gh/{self.slug}/{quote(self.branch, safe='')}?labpath={where}"


def read_links(root: Path = ROOT.parent) -> Links:
    """Return what ``[tool.inferkit.links]`` says.

    Parameters
    ----------
    root : pathlib.Path, optional
        The checkout.

    Returns
    -------
    Links

    Raises
    ------
    InputError
        If a setting is missing or leads nowhere.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    settings = project.get("tool", {}).get("inferkit", {}).get("links", {})
    if set(settings) != {"repository", "branch"}:
        got = ", ".join(settings) or "nothing"
        raise InputError(f"expected repository and branch in [tool.inferkit.links] of pyproject.toml; got {got}")
    return Links(**settings)


# -- notebooks --------------------------------------------------------------------------------------------------


def colab_cell(links: Links) -> NotebookNode:
    """Return the cell that fetches the library on Google Colab and lets widgets work there.

    Parameters
    ----------
    links : Links
        Where the library is fetched from.

    Returns
    -------
    nbformat.NotebookNode
        Folded in JupyterLab and on Colab; on no slide, and not on the site.
    """
    metadata = {
        "cellView": "form",
        "jupyter": {"source_hidden": True},
        "slideshow": {"slide_type": "skip"},
        "tags": ["remove-cell"],
    }
    return nbformat.v4.new_code_cell(_COLAB_CELL.format(requirement=links.requirement), id=_CELL_ID, metadata=metadata)


def for_colab(notebook: NotebookNode, links: Links) -> NotebookNode:
    """Return a notebook with the cell for Colab behind its first one, the title.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        What a source gives. It stays as it is.
    links : Links
        Where the library is fetched from.

    Returns
    -------
    nbformat.NotebookNode
    """
    title, *rest = notebook.cells
    return nbformat.from_dict({**notebook, "cells": [title, colab_cell(links), *rest]})


def _notebook(text: str, links: Links) -> str:
    notebook = nbformat.reads(text, nbformat.NO_CONVERT)
    fresh = colab_cell(links)
    for cell in notebook.cells:
        if cell.id == _CELL_ID:
            cell.source, cell.metadata = fresh.source, fresh.metadata
    return write_text(notebook)


# -- README and package -----------------------------------------------------------------------------------------


def _readme(text: str, links: Links) -> str:
    """Return the README with its addresses, and with links beside each lesson that it names as built."""
    text = re.sub(r"(?<=git clone )https://\S+", links.repository, text)
    text = re.sub(r"(?<=git\+)https://[^\s\"]+", f"{links.repository}@{links.branch}", text)
    text = re.sub(r"https://mybinder\.org/v2/gh/[^)\s]+", links.binder(welcome.NAME), text)
    text = re.sub(r"https://colab\.research\.google\.com/github/[^)\s]+", links.colab(f"notebooks/{FIRST}"), text)
    return _ROW.sub(lambda row: f"{row[1]} {_beside(row['lesson'], links)}|", text)


def _beside(lesson: str, links: Links) -> str:
    built = _BUILT.search(lesson)
    if not built:
        return ""
    return f"[Binder]({links.binder(built['name'])}) · [Colab]({links.colab('notebooks/' + built['name'])}) "


def _project(text: str, links: Links) -> str:
    for key, address in (("Source", links.repository), ("Documentation", links.source("README.md"))):
        text = re.sub(rf'^{key} = "[^"]*"$', f'{key} = "{address}"', text, flags=re.M)
    return text


def rewrite(root: Path = ROOT.parent, *, write: bool = True) -> list[Path]:
    """Write every address of the course anew from the one setting.

    Parameters
    ----------
    root : pathlib.Path, optional
        The checkout.
    write : bool, optional
        Whether to write, or only to look.

    Returns
    -------
    list of pathlib.Path
        The files that held another address.

    Raises
    ------
    InputError
        If the setting is missing or leads nowhere.
    """
    links = read_links(root)
    rules = {root / "README.md": _readme, root / "pyproject.toml": _project}
    for folder in ("", "exercises", "solutions"):
        rules |= dict.fromkeys(sorted((root / "notebooks" / folder).glob("[0-9][0-9]_*.ipynb")), _notebook)
    changed = []
    for path, rule in rules.items():
        old = path.read_text(encoding="utf-8")
        new = rule(old, links)
        if new != old:
            changed.append(path)
            if write:
                with whole_file(path) as temporary:
                    temporary.write_text(new, encoding="utf-8", newline="\n")
    return changed


def main(arguments: list[str] | None = None) -> int:
    """Write or check the addresses from the command line.

    Parameters
    ----------
    arguments : list of str, optional
        The command line; ``--help`` explains it.

    Returns
    -------
    int
        0 if all went well; with ``--check``, 1 if a file holds another address.
    """
    parser = argparse.ArgumentParser(prog="python -m notebooks.links", description="Write the course's addresses.")
    parser.add_argument("--check", action="store_true", help="say which files hold another address; write nothing")
    options = parser.parse_args(arguments)
    try:
        changed = rewrite(write=not options.check)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    for path in changed:
        print(path.relative_to(ROOT.parent).as_posix())
    return 1 if options.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
