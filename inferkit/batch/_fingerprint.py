"""What tells one predictor from another: so that a run does not go on with a model that was exchanged."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..predictor import Predictor


def fingerprint(predictor: Predictor) -> dict[str, Any]:
    """Return plain values that are the same for the same predictor in every process.

    Functions are known by their name and code, not by the values that they take from around them.

    Parameters
    ----------
    predictor : Predictor

    Returns
    -------
    dict

    Examples
    --------
    >>> from inferkit.predictor import digit_reader
    >>> fingerprint(digit_reader()) == fingerprint(digit_reader())
    True
    """
    steps = [_of_function(step) for step in (*predictor.preprocess, *predictor.postprocess)]
    signature = repr(predictor.signature)
    return {
        "kind": predictor.backend.kind,
        "model": _of_model(predictor.backend),
        "steps": steps,
        "contract": signature,
    }


def _of_model(backend: Any) -> str:
    model = backend.model
    known = getattr(model, "sha256", None)  # a LiteRT file, a compiled posterior
    if isinstance(known, str):
        return known
    if isinstance(getattr(backend, "content", None), bytes):  # ONNX
        return hashlib.sha256(backend.content).hexdigest()
    if backend.kind == "sklearn":
        return _hashed(_parts(model, set()))
    if hasattr(model, "get_weights"):
        return _hashed(np.ascontiguousarray(weight).tobytes() for weight in model.get_weights())
    return _of_function(model)


def _of_function(function: Any) -> str:
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if code is None:
        return (
            repr(function)
            if " at 0x" not in repr(function)
            else f"{type(function).__module__}.{type(function).__qualname__}"
        )
    constants = [const for const in code.co_consts if isinstance(const, int | float | str | bytes | tuple | type(None))]
    parts = (function.__qualname__, code.co_code.hex(), repr(constants), repr(code.co_names))
    return _hashed(part.encode("utf-8", "backslashreplace") for part in parts)


def _parts(thing: Any, seen: set[int]) -> Iterator[bytes]:
    """Yield what an estimator is made of: a pickle's bytes would tell a copy from the original."""
    if isinstance(thing, np.ndarray) and not thing.dtype.hasobject:
        yield f"{thing.dtype}{thing.shape}".encode()
        yield np.ascontiguousarray(thing).tobytes()
    elif thing is None or isinstance(thing, str | bytes | int | float | complex | type | np.generic):
        yield repr(thing).encode("utf-8", "backslashreplace")
    elif id(thing) not in seen:
        seen.add(id(thing))
        yield type(thing).__qualname__.encode()
        for part in _inside(thing):
            yield b"("
            yield from _parts(part, seen)
            yield b")"


def _inside(thing: Any) -> Iterable[Any]:
    if isinstance(thing, dict):
        return sorted(thing.items(), key=lambda item: repr(item[0]))
    if isinstance(thing, set | frozenset):
        return sorted(thing, key=repr)
    if isinstance(thing, list | tuple):
        return thing
    if isinstance(thing, np.ndarray):
        return [thing.shape, thing.tolist()]
    if hasattr(thing, "__code__"):
        return [_of_function(thing)]
    made = thing.__reduce_ex__(4)
    return [made] if isinstance(made, str) else [made[1], *(part for part in made[2:3])]


def _hashed(parts: Any) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()
