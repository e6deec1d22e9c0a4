"""Read the JSON that a run on an accelerator is kept in: every field there, and of its kind."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from .._base import UPDATE, InputError

FORMAT, VERSION = "inferkit accelerator run", 1


def read(source: str | os.PathLike[str]) -> tuple[dict[str, Any], str]:
    """Return the fields of a document of this format and version, and what to call it in messages.

    Parameters
    ----------
    source : str or path-like
        JSON text, which begins with ``{``, or the path of a file.

    Returns
    -------
    values : dict
    name : str

    Raises
    ------
    InputError
        If it is no JSON, another document, or of a newer version.
    OSError
        If the file cannot be read.
    """
    is_text = isinstance(source, str) and source.lstrip().startswith("{")
    name = "the text" if is_text else Path(source).name
    content = str(source) if is_text else Path(source).read_bytes()
    try:
        document = json.loads(content, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is damaged: no JSON ({str(error)[:100]}); record it again") from error
    _check_format(document, name)
    return {key: value for key, value in document.items() if key not in ("format", "version")}, name


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _check_format(document: Any, name: str) -> None:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(f"{name} is no recording of an accelerator; make one: python -m datasets.record_accelerator")
    version: Any = document.get("version")
    if not _is_whole(version) or version < 1:
        raise InputError(f"{name} is damaged: version {version!r:.40}; record it again")
    if version > VERSION:
        raise InputError(f"{name} is of version {version}, and this inferkit reads {VERSION}; {UPDATE}")


def checked(kind: type, values: Any, name: str) -> dict[str, Any]:
    """Return the fields of a dataclass, lists as tuples, or raise unless each is there and of its kind.

    Parameters
    ----------
    kind : type
        A dataclass whose annotations are text.
    values : object
        What JSON gave.
    name : str
        Of the document.

    Returns
    -------
    dict

    Raises
    ------
    InputError
        If a field is missing, unknown or of another kind.
    """
    kinds = {one.name: str(one.type) for one in fields(kind)}
    if not isinstance(values, Mapping) or values.keys() != kinds.keys():
        got = ", ".join(sorted(map(str, values))) if isinstance(values, Mapping) else repr(values)
        raise InputError(f"{name} is damaged: expected the fields {', '.join(kinds)}; got {got:.200}; record it again")
    for key, value in values.items():
        if not any(_KINDS[one](value) for one in kinds[key].split(" | ")):
            raise InputError(f"{name} is damaged: {key} is {value!r:.40}, expected {kinds[key]}; record it again")
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


_KINDS: dict[str, Callable[[Any], bool]] = {
    "None": lambda value: value is None,
    "str": lambda value: isinstance(value, str),
    "int": _is_whole,
    "float": _is_number,
    "dict[str, Any]": lambda value: isinstance(value, dict),
    "tuple[float, ...]": lambda value: isinstance(value, list) and all(map(_is_number, value)),
    "tuple[str, ...]": lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value),
    "tuple[AcceleratorRow, ...]": lambda value: isinstance(value, list),
    "tuple[NutsRow, ...]": lambda value: isinstance(value, list),
}
