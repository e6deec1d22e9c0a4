"""Make the ASGI application of a server: any ASGI server runs it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .._base import InputError, require
from ..predictor import Predictor
from ._settings import Settings

if TYPE_CHECKING:
    from ._web import ServingApp


def make_app(models: Predictor | Mapping[str, Predictor], settings: Settings | None = None) -> "ServingApp":
    """Return an ASGI application that answers for models: the Open Inference Protocol, and plain JSON beside it.

    Parameters
    ----------
    models : Predictor or dict of str to Predictor
        By the names that requests call them by; one alone goes by its own name. Each is asked once, for
        an example, so that its first caller need not wait longer than the others.
    settings : Settings, optional
        How requests are batched, and the limits that are kept.

    Returns
    -------
    ServingApp
        A FastAPI application. ``app.state.stats()`` counts, ``app.state.configure(...)`` changes settings
        while it runs, ``await app.state.drain()`` finishes what was accepted and refuses the rest,
        ``app.state.close()`` ends its threads. The lifespan's end does both of the last two.

    Raises
    ------
    InputError
        If there is no model, or a name is one that no URL can hold.
    MissingExtraError
        If FastAPI or the Prometheus client are not installed.

    Notes
    -----
    The limits on connections and on the time that clients take are kept by the server that runs the
    app, as `inferkit.serving.serve` does: an ASGI application sees a request when its head is there.

    Examples
    --------
    >>> from inferkit.predictor import digit_reader
    >>> app = make_app({"digits": digit_reader()})
    >>> app.state.stats()["answered"]
    0
    >>> app.state.close()
    True
    """
    named = {models.name: models} if isinstance(models, Predictor) else dict(models)
    if not named:
        raise InputError("models: expected one predictor at least, got none")
    for name, predictor in named.items():
        check_name(name)
        if not isinstance(predictor, Predictor):
            raise InputError(f"model {name!r}: expected a Predictor, got {type(predictor).__name__}; wrap it first")
    require("fastapi", extra="serve")
    require("prometheus_client", extra="serve")
    from ._web import ServingApp

    return ServingApp(named, settings or Settings())


def check_name(name: str) -> None:
    """Raise `InputError` if a model's name cannot be part of a URL as it stands."""
    if not isinstance(name, str) or not name or not all(c.isascii() and (c.isalnum() or c in "-_.~") for c in name):
        raise InputError(
            f"model name: expected letters, digits and - _ . ~, got {name!r}; give another: {{'model': predictor}}"
        )
