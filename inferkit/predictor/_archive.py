"""A predictor as one file: a zip of a manifest and the model, a hash for each part, no pickle."""

import io
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .._base import InputError, ModelFileError, require, sha256, whole_file
from ..bayes._compiled import CompiledPosterior
from ..models import LiteRTModel, load_keras
from ._backends import OnnxBackend
from ._signature import Signature
from ._steps import step_from_dict, step_to_dict

FORMAT, VERSION = "inferkit-predictor", 1
_MEMBERS = {
    "litert": "model.tflite", "keras": "model.keras", "onnx": "model.onnx", "sklearn": "model.skops",
    "posterior": "model.posterior",
}  # fmt: skip
_EPOCH = (1980, 1, 1, 0, 0, 0)  # a zip's zero: the same predictor gives the same bytes


def save(predictor: Any, path: str | os.PathLike[str]) -> None:
    """Write `predictor` to `path`. See `Predictor.save`."""
    backend = predictor.backend
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "name": predictor.name,
        "backend": backend.kind,
        "signature": predictor.signature.to_dict(),
        "preprocess": [step_to_dict(step) for step in predictor.preprocess],
        "postprocess": [step_to_dict(step) for step in predictor.postprocess],
    }
    if backend.kind == "litert":
        manifest["litert"] = {name: getattr(backend.model, name) for name in ("num_threads", "signature", "dequantize")}
    member, content = _model_content(predictor)
    manifest["files"] = {member: {"sha256": sha256(content), "bytes": len(content)}}
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, data in (("manifest.json", _json(manifest)), (member, content)):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)


def _json(manifest: dict[str, Any]) -> bytes:
    try:
        return json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise InputError(f"the signature holds a value that cannot be saved: {error}") from error


def _model_content(predictor: Any) -> tuple[str, bytes]:
    backend = predictor.backend
    if backend.kind == "http":
        raise InputError(f"{predictor.name} lives on a server and cannot be saved: keep its address, {backend.url}")
    if backend.kind not in _MEMBERS:
        raise InputError(
            f"{predictor.name} is a function and cannot be saved: a file holds no code. Save a Keras, LiteRT, ONNX or "
            "scikit-learn model or a CompiledPosterior instead, or build the predictor where it is used"
        )
    return _MEMBERS[backend.kind], _WRITERS[backend.kind](backend)


def _write_content(backend: Any) -> bytes:
    content: bytes = backend.model.content
    return content


def _write_keras(backend: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        backend.model.save(path)
        return path.read_bytes()


def _write_onnx(backend: OnnxBackend) -> bytes:
    if backend.content is None:
        raise InputError("an ONNX Runtime session does not give its file back; make the Predictor from the .onnx path")
    return backend.content


def _write_sklearn(backend: Any) -> bytes:
    skops = require("skops.io", extra="skops")
    content: bytes = skops.dumps(backend.model)
    unknown = skops.get_untrusted_types(data=content)
    if unknown:
        raise InputError(f"the estimator holds types that no safe file can: {', '.join(map(str, unknown))}")
    return content


_WRITERS: dict[str, Callable[[Any], bytes]] = {
    "litert": _write_content,
    "keras": _write_keras,
    "onnx": _write_onnx,
    "sklearn": _write_sklearn,
    "posterior": _write_content,
}


def load(path: str | os.PathLike[str], *, sha256: str | None = None) -> dict[str, Any]:
    """Return what a saved predictor is made with. See `Predictor.load`."""
    name = Path(path).name
    manifest, content = _read(Path(path).read_bytes(), name, sha256)
    try:
        return {
            "model": _open_model(manifest, content, name),
            "preprocess": [step_from_dict(step) for step in manifest["preprocess"]],
            "postprocess": [step_from_dict(step) for step in manifest["postprocess"]],
            "signature": Signature.from_dict(manifest["signature"]),
            "name": str(manifest["name"]),
        }
    except (KeyError, TypeError, InputError) as error:
        raise ModelFileError(f"{name}: its manifest is not one that this version can read: {error}") from error


def _read(content: bytes, name: str, expected: str | None) -> tuple[dict[str, Any], bytes]:
    """Return manifest and model, each checked, reading no more than the manifest announces."""
    if expected is not None and sha256(content) != expected.lower():
        raise ModelFileError(f"{name}: expected SHA-256 {expected[:12]}…, got {sha256(content)[:12]}…; fetch it again")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            manifest = json.loads(_part(archive, "manifest.json", limit=1 << 24))
            if manifest.get("format") != FORMAT or manifest.get("version") != VERSION:
                raise ModelFileError(f"{name} is no predictor of version {VERSION} saved by inferkit")
            ((member, announced),) = manifest["files"].items()
            if sorted(archive.namelist()) != sorted(["manifest.json", member]):
                raise ModelFileError(f"{name} holds parts that its manifest does not name")
            model = _part(archive, member, limit=int(announced["bytes"]))
            registered = announced["sha256"]
    except (
        zipfile.BadZipFile,
        zlib.error,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        EOFError,
        NotImplementedError,
    ) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{name} is not a whole saved predictor: {error}") from error
    if sha256(model) != registered:
        raise ModelFileError(f"{name}: the model inside is not the one that was saved; its SHA-256 differs")
    return manifest, model


def _part(archive: zipfile.ZipFile, member: str, limit: int) -> bytes:
    with archive.open(member) as f:
        content = f.read(limit + 1)
    if len(content) > limit:
        raise ModelFileError(f"its part {member} is larger than announced")
    return content


def _open_model(manifest: dict[str, Any], content: bytes, name: str) -> Any:
    match manifest["backend"]:
        case "litert":
            model = LiteRTModel(content, **manifest["litert"])
            model.name = str(manifest["name"])
            return model
        case "keras":
            return load_keras(content, name=name)
        case "onnx":
            return OnnxBackend.from_bytes(content, name)
        case "sklearn":
            return _open_sklearn(content, name)
        case "posterior":
            return CompiledPosterior.from_bytes(content, name=name)
    raise ModelFileError(f"{name} holds a model of kind {manifest['backend']!r}, which this version does not know")


def _open_sklearn(content: bytes, name: str) -> Any:
    skops = require("skops.io", extra="skops")
    unknown = skops.get_untrusted_types(data=content)
    if unknown:
        raise ModelFileError(f"{name} asks for types that are not scikit-learn's own: {', '.join(map(str, unknown))}")
    try:
        return skops.loads(content, trusted=[])
    except Exception as error:  # skops raises whatever the parts that it rebuilds raise
        raise ModelFileError(f"{name}: the estimator inside cannot be rebuilt: {str(error)[:200]}") from error
