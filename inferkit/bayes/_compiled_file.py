"""A compiled posterior as one file: a zip of a manifest and plain arrays, a hash for each, no pickle.

Nothing in it is compressed, so that no part can be larger than the file.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from .._base import InputError, ModelFileError, sha256
from ._compiled_check import Floats

FORMAT, VERSION = "inferkit-posterior", 1
_EPOCH = (1980, 1, 1, 0, 0, 0)  # a zip's zero: the same posterior gives the same bytes
_MANIFEST, _LIMIT = "manifest.json", 1 << 24


def pack(facts: Mapping[str, Any], arrays: Mapping[str, Floats]) -> bytes:
    """Return the content of a file that holds plain facts and arrays of float64."""
    contents = {name: np.ascontiguousarray(array, dtype="<f8").tobytes() for name, array in arrays.items()}
    parts = {name: {"shape": arrays[name].shape, "sha256": sha256(data)} for name, data in contents.items()}
    try:
        text = json.dumps({"format": FORMAT, "version": VERSION, **facts, "parts": parts}, allow_nan=False, indent=1)
    except (TypeError, ValueError) as error:
        raise InputError(f"the posterior holds a value that cannot be saved: {error}") from error
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {_MANIFEST: text.encode(), **contents}.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data)
    return buffer.getvalue()


def unpack(content: bytes, name: str) -> tuple[dict[str, Any], dict[str, Floats]]:
    """Return the facts and the arrays that `pack` wrote, each checked, or raise `ModelFileError`."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            facts = json.loads(_stored(archive, _MANIFEST, name, _LIMIT))
            _check_version(facts, name)
            parts = facts.pop("parts")
            if sorted(archive.namelist()) != sorted([_MANIFEST, *parts]):
                raise ModelFileError(f"{name} holds other parts than its manifest names; save the posterior again")
            return facts, {part: _array(archive, part, told, name) for part, told in parts.items()}
    except ModelFileError:
        raise
    except (
        zipfile.BadZipFile, KeyError, TypeError, ValueError, AttributeError, EOFError, NotImplementedError,
        OverflowError, RecursionError, RuntimeError, OSError,
    ) as error:  # fmt: skip
        raise ModelFileError(f"{name} is not a whole saved posterior: {str(error)[:200]}; save it again") from error


def _check_version(facts: Any, name: str) -> None:
    if not isinstance(facts, dict) or facts.pop("format", None) != FORMAT:
        raise ModelFileError(f"{name} is no posterior saved by inferkit; CompiledPosterior.save writes one")
    version = facts.pop("version", None)
    if version != VERSION:
        raise ModelFileError(
            f"{name} was saved in version {version!r} of the format, and this inferkit reads version {VERSION}; "
            "use the inferkit that wrote it, or compile and save the posterior again"
        )


def _array(archive: zipfile.ZipFile, part: str, told: Mapping[str, Any], name: str) -> Floats:
    shape = tuple(told["shape"])
    if not all(type(length) is int and length >= 0 for length in shape):
        raise ModelFileError(f"{name}: its part {part} has no shape but {shape!r:.60}")
    size = 8 * prod(shape)
    data = _stored(archive, part, name, size)
    if len(data) != size:
        raise ModelFileError(f"{name}: its part {part} has {len(data):,} bytes, and its shape {shape} needs {size:,}")
    if sha256(data) != told["sha256"]:
        raise ModelFileError(f"{name}: its part {part} is not the one that was saved; its SHA-256 differs")
    return np.frombuffer(data, dtype="<f8").reshape(shape)


def _stored(archive: zipfile.ZipFile, part: str, name: str, limit: int) -> bytes:
    """Return a part that lies in the file as it is and is no larger than announced."""
    info = archive.getinfo(part)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size or info.file_size > limit:
        raise ModelFileError(f"{name}: its part {part} is packed, or larger than announced; posteriors never are")
    with archive.open(info) as f:
        return f.read(limit + 1)
