"""How a predictor travels to another process: what it was made of travels, runtimes are made anew there."""

from typing import Any

from ._backends import LiteRTBackend, OnnxBackend


def reduced(predictor: Any) -> tuple[Any, ...]:
    """Return what ``pickle`` asks of ``__reduce__``."""
    parts = {name: getattr(predictor, name) for name in ("preprocess", "postprocess", "signature", "name")}
    return _revived, (type(predictor), predictor.backend.kind, _portable(predictor.backend), parts)


def _portable(backend: Any) -> Any:
    if isinstance(backend, LiteRTBackend):
        return backend.model
    if isinstance(backend, OnnxBackend):
        if backend.content is None:
            raise TypeError("an ONNX Runtime session cannot be pickled; make the Predictor from the .onnx path")
        return backend.content
    return backend


def _revived(made: Any, kind: str, model: Any, parts: dict[str, Any]) -> Any:
    return made(OnnxBackend.from_bytes(model, parts["name"]) if kind == OnnxBackend.kind else model, **parts)
