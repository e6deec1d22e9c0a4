"""JSON as strict as its standard, and no deeper than a message needs."""

import json
import re
from typing import Any

import numpy as np

from ._tensors import ProtocolError

MAX_DEPTH = 64
"""Brackets within brackets: a tensor has at most 32 axes, and lies five deep in a message."""


def read_json(content: bytes) -> dict[str, Any]:
    """Read one JSON object: no NaN, no infinity, no name twice, no more than 64 brackets within brackets.

    Raises
    ------
    ProtocolError
        If it is anything else.

    Examples
    --------
    >>> read_json(b'{"inputs": []}')
    {'inputs': []}
    """
    if content.count(b"[") + content.count(b"{") > MAX_DEPTH and _depth(content) > MAX_DEPTH:
        raise ProtocolError(f"expected JSON with at most {MAX_DEPTH} brackets within brackets, got more")
    try:
        value = _DECODER.decode(content.decode())
    except UnicodeDecodeError as error:
        raise ProtocolError(f"expected JSON in UTF-8, got byte {content[error.start]} at {error.start}") from error
    except ProtocolError:
        raise
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"expected JSON, got something else: {error}") from error
    if type(value) is not dict:
        raise ProtocolError(f"expected a JSON object, got {type(value).__name__}")
    return value


def _depth(content: bytes) -> int:
    """Return how deep brackets lie within brackets, those in strings not counted."""
    bare = np.frombuffer(re.sub(rb'"(?:[^"\\]|\\.)*"', b"", content), np.uint8) | 0x20
    bare = bare[(bare == ord("{")) | (bare == ord("}"))]  # with that bit set, "[" is "{" and "]" is "}"
    return int(np.cumsum(np.where(bare == ord("{"), 1, -1)).max(initial=0))


def _refuse_constant(name: str) -> None:
    raise ProtocolError(f"expected finite numbers, got {name}: JSON has no such number")


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twin = next(name for name in names if names.count(name) > 1)
        raise ProtocolError(f"expected each name once in an object, got {twin[:40]!r} twice")
    return found


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_without_twins)
