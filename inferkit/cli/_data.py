"""``inferkit data list`` and ``inferkit data verify``."""

import argparse
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from .. import datasets
from .._base import RESTORE, ModelFileError, bundled, sha256
from ._output import columns, deliver, results_only

_WEIGHTS_LICENCE = "MIT, as the code"


class File(NamedTuple):
    """A bundled file as the registry has it."""

    name: str
    size_bytes: int
    sha256: str


def run(options: argparse.Namespace) -> int:
    """List what is here, or verify it; return the exit code."""
    with results_only(options.json):
        plain, table, code = listing() if options.action == "list" else verification()
    deliver(options.json, plain, table)
    return code


# -- what there is -----------------------------------------------------------------------------------


def listing() -> tuple[dict[str, Any], str, int]:
    """Return the data sets and the models as plain values and as a table."""
    sets, models = [_data_set(name) for name in _loaders()], list(_models())
    data_table = columns([(s["call"], f"{s['rows']:,} rows", s["licence"]) for s in sets], "  ")
    model_table = columns(
        [(m["name"], ", ".join(m["formats"]), f"{m['bytes']:,} bytes", m["description"]) for m in models], "  "
    )
    text = f"data\n{data_table}\n\nmodels (licence: {_WEIGHTS_LICENCE})\n{model_table}"
    return {"data": sets, "models": models}, text, 0


def _loaders() -> list[str]:
    return [name for name in datasets.__all__ if name.startswith("load_")]


def _data_set(name: str) -> dict[str, Any]:
    bunch = getattr(datasets, name)()
    call = f"inferkit.datasets.{name}()"
    licence, source = bunch.licence, bunch.source
    return {"name": name, "call": call, "rows": len(bunch.data), "licence": licence, "source": source}


def _models() -> Iterator[dict[str, Any]]:
    for name, entry in _registry().items():
        if entry.get("kind", "model") == "model":
            formats = ["litert", *(["keras"] if "keras" in entry else [])]
            yield {
                "name": name,
                "description": entry.get("description", ""),
                "formats": formats,
                "bytes": entry["bytes"],
                "accuracy": entry.get("accuracy"),
                "licence": entry.get("licence", _WEIGHTS_LICENCE),
                "sha256": entry["sha256"],
            }


# -- whether it is whole -----------------------------------------------------------------------------


def verification() -> tuple[dict[str, Any], str, int]:
    """Return what each bundled file is like, as plain values and as a table; the code is 1 if one is damaged."""
    files = registered_files()
    found = {file.name: verify(file) for file in files} | dict.fromkeys(_strangers(files), "is not registered")
    table = columns([("BAD" if fault else "ok", name, fault or "") for name, fault in found.items()])
    n_bad = sum(fault is not None for fault in found.values())
    ending = f"{n_bad} of {len(found)} files are not as they should be; {RESTORE}"
    plain = {"ok": not n_bad, "files": [{"file": name, "fault": fault} for name, fault in found.items()]}
    return plain, f"{table}\n{ending if n_bad else f'all {len(found)} files are whole'}", int(n_bad > 0)


def _strangers(files: list[File]) -> list[str]:
    """Return the bundled files that the registry does not name."""
    known = {file.name for file in files} | {"registry.json"}
    here = (path for path in bundled("registry.json").parent.iterdir() if path.is_file())
    return sorted(path.name for path in here if path.name not in known and not path.name.startswith("."))


def registered_files() -> list[File]:
    """Return every file that the registry names, in its order.

    Examples
    --------
    >>> registered_files()[0].name
    'digits-mlp.tflite'
    """
    return [file for entry in _registry().values() for file in _files_of(entry)]


def _files_of(entry: Any) -> Iterator[File]:
    """Give the files of an entry, and of what lies inside it."""
    if isinstance(entry, dict):
        if {"file", "bytes", "sha256"} <= entry.keys():
            yield File(str(entry["file"]), int(entry["bytes"]), str(entry["sha256"]))
        for inner in entry.values():
            yield from _files_of(inner)


def verify(file: File) -> str | None:
    """Return what is wrong with a bundled file, in words; None if it is the registered one."""
    try:
        content = bundled(file.name).read_bytes()
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if len(content) != file.size_bytes:
        return f"has {len(content):,} bytes; {file.size_bytes:,} are registered"
    found = sha256(content)
    return None if found == file.sha256 else f"has SHA-256 {found[:12]}…; {file.sha256[:12]}… is registered"


def _registry() -> dict[str, dict[str, Any]]:
    try:
        registry: dict[str, dict[str, Any]] = json.loads(bundled("registry.json").read_bytes())
    except (FileNotFoundError, ValueError) as error:
        raise ModelFileError(f"registry.json is missing or damaged ({error}); {RESTORE}") from error
    return registry
