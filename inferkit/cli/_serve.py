"""``inferkit serve``: answer over HTTP until told to stop."""

import argparse
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import predictor as predictors
from .._base import InputError
from ..models import list_reference
from ..predictor import Predictor
from ..serving import Server
from ..serving import run as run_server
from ._bench import with_threads
from ._output import note
from ._runtime import kind_of

TOKEN_VARIABLE = "INFERKIT_TOKEN"
_READERS: dict[str, Callable[..., Predictor]] = {
    "churn": predictors.churn_scorer,
    "digits": predictors.digit_reader,
    "fraud": predictors.fraud_scorer,
    "signs": predictors.sign_reader,
}


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C; return the exit code: 0 if all that was accepted was answered, else 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_, **__: note(f"inferkit serve: {message}")
        clean = run_server(
            _models(options),
            host=options.host,
            port=options.port,
            shutdown_timeout_s=options.shutdown_timeout,
            on_ready=_tell,
            **_settings(options),
        )
    note(
        "inferkit serve: stopped" if clean else "inferkit serve: stopped, and what had not ended in time was broken off"
    )
    return 0 if clean else 1


def _models(options: argparse.Namespace) -> dict[str, Predictor]:
    """Return the models by the names that requests call them by."""
    names = options.name or [Path(model).stem for model in options.models]
    if len(names) != len(options.models):
        raise InputError(f"--name: expected one for each of the {len(options.models)} models, got {len(names)}")
    if len(set(names)) != len(names):
        raise InputError(f"--name: expected another name for each model, got {', '.join(names)}")
    return {name: _open(model, options.threads) for name, model in zip(names, options.models, strict=True)}


def _open(model: str, threads: int) -> Predictor:
    """Return the predictor in a file, or the one that this package carries under a name."""
    path = Path(model)
    bundled = [one.name for one in list_reference()]
    if not path.exists() and model in bundled:
        return _READERS[model.partition("-")[0]](model, num_threads=threads)
    if not path.exists():
        raise InputError(f"{model}: there is no such file, and no model of that name; there are {', '.join(bundled)}")
    return with_threads(Predictor.load(path) if kind_of(path) == "predictor" else Predictor(path), threads)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return what was said about how to serve; what was not is left to the library."""
    names = (
        "max_batch_size", "max_wait_ms", "max_queue", "workers", "max_body_bytes", "max_connections",
        "header_timeout_s", "body_timeout_s",
    )  # fmt: skip
    said = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.deadline_ms is not None:
        said["deadline_ms"] = options.deadline_ms or None
    return {**said, "token": _token(options.token_file)}


def _token(path: str | None) -> str | None:
    """Return the token from a file or the environment; never from the command line, which others can read."""
    if path is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    token = Path(path).read_text(encoding="utf-8").strip()
    if not token:
        raise InputError(f"--token-file: {path} is empty; write a token into it")
    return token


def _tell(server: Server) -> None:
    print(f"{', '.join(server.models)} at {server.url} (what it can: {server.url}/docs)\n{server.curl}", flush=True)
