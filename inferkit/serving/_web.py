"""The application itself. It loads FastAPI, and so is imported late."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from .._base import DISTRIBUTION
from ..predictor import Predictor
from ._codecs import read_infer, read_predict
from ._endpoint import Endpoint
from ._http import RETRY, Refusal, Room, has_token, reason_body, refuse
from ._metrics import Registry, total
from ._model import VERSION, ServedModel
from ._openapi import OPEN_PATHS, document
from ._page import page
from ._settings import Settings

_INFERKIT = version(DISTRIBUTION)
_ROOM_FOR = 8  # so many bodies of the largest size are held at once
_CLOSE = [(b"connection", b"close")]
_log = logging.getLogger("inferkit.serving")


class ServingApp(FastAPI):
    """A FastAPI application that answers for models. Make it with `make_app`."""

    def __init__(self, models: Mapping[str, Predictor], settings: Settings) -> None:
        super().__init__(
            title="inferkit", version=_INFERKIT, docs_url=None, redoc_url=None, redirect_slashes=False,
            lifespan=_lifespan, exception_handlers={HTTPException: _plain_error, Exception: _our_error},
        )  # fmt: skip
        self.settings = settings
        self.is_draining = False
        self.registry = Registry()
        self.models = {name: ServedModel(name, model, settings, self.registry) for name, model in models.items()}
        self._document = document(self.models.values(), version=_INFERKIT, needs_token=settings.token is not None)
        self._endpoints = self._make_endpoints()
        self._add_routes()
        self.state.stats, self.state.configure = self.stats, self.configure
        self.state.drain, self.state.close = self.drain, self.close

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document: our own, since requests are read by other means than FastAPI's."""
        return self._document

    # -- requests ----------------------------------------------------------------------------

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request: those to models at once, the rest by their routes."""
        if scope["type"] != "http":
            return await super().__call__(scope, receive, send)
        path: str = scope["path"]
        root: str = scope.get("root_path", "")
        if root:
            path = path.removeprefix(root)
        token = self.settings.token
        if token is not None and path not in OPEN_PATHS and not has_token(scope, token):
            reason = "expected the header Authorization: Bearer <token> with this server's token"
            return await refuse(send, Refusal(401, reason, [(b"www-authenticate", b"Bearer")]))
        endpoint = self._endpoints.get(path) if scope["method"] == "POST" else None
        if endpoint is None:
            return await super().__call__(scope, receive, send)
        if self.is_draining:
            endpoint.model.metrics.ended("refused", 0.0)
            return await refuse(send, Refusal(503, "the server is shutting down", RETRY + _CLOSE))
        await endpoint(scope, receive, send)

    def _make_endpoints(self) -> dict[str, Endpoint]:
        """Return what answers the POST requests, by path."""
        room = Room(_ROOM_FOR * self.settings.max_body_bytes)
        found = {}
        for name, model in self.models.items():
            infer, predict = Endpoint(model, read_infer, room), Endpoint(model, read_predict, room)
            found[f"/v2/models/{name}/infer"] = infer
            found[f"/v2/models/{name}/versions/{VERSION}/infer"] = infer
            found[f"/predict/{name}"] = predict
            if len(self.models) == 1:
                found["/predict"] = predict
        return found

    def _add_routes(self) -> None:
        one = "/v2/models/{model}"
        for path, answer in {
            "/v2": self._about, "/v2/health/live": self._live, "/v2/health/ready": self._ready,
            "/metrics": self._metrics, "/docs": self._docs, "/": self._docs,
            one: self._model_metadata, one + "/versions/{version}": self._model_metadata,
            one + "/ready": self._model_ready, one + "/versions/{version}/ready": self._model_ready,
        }.items():  # fmt: skip
            self.add_route(path, answer, methods=["GET"], include_in_schema=False)
        for path in (one + "/infer", one + "/versions/{version}/infer", "/predict/{model}", "/predict"):
            self.add_route(path, self._unknown, methods=["POST"], include_in_schema=False)

    async def _about(self, _: Request) -> Response:
        about = {"name": "inferkit", "version": _INFERKIT, "extensions": ["binary_tensor_data"]}
        return _json({**about, "models": list(self.models)})

    async def _live(self, _: Request) -> Response:
        return _json({"live": True})

    async def _ready(self, _: Request) -> Response:
        return _json({"ready": not self.is_draining}, status=503 if self.is_draining else 200)

    async def _model_metadata(self, request: Request) -> Response:
        return _json(self._find(request).metadata)

    async def _model_ready(self, request: Request) -> Response:
        content = {"name": self._find(request).name, "ready": not self.is_draining}
        return _json(content, status=503 if self.is_draining else 200)

    async def _metrics(self, _: Request) -> Response:
        return Response(self.registry.text(), media_type=self.registry.content_type)

    async def _docs(self, request: Request) -> Response:
        url = str(request.base_url).rstrip("/")
        policy = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return HTMLResponse(page(self.openapi(), self.models.values(), url), headers=policy)

    async def _unknown(self, request: Request) -> Response:
        self._find(request)
        raise HTTPException(404, f"expected one of the paths {list(self._endpoints)}")

    def _find(self, request: Request) -> ServedModel:
        """Return the model that a path names, or raise what a client is told."""
        name, version = request.path_params.get("model"), request.path_params.get("version", VERSION)
        if name not in self.models:
            raise HTTPException(404, f"expected one of the models {list(self.models)}, got {str(name)[:60]!r}")
        if version != VERSION:
            raise HTTPException(404, f"{name}: expected version {VERSION!r}, got {version[:60]!r}")
        return self.models[name]

    # -- life --------------------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """Return the counts so far: of all models, and of each under ``models``."""
        each = {name: model.metrics.stats() for name, model in self.models.items()}
        return {**total(list(each.values())), "models": each}

    def configure(self, **changes: Any) -> Settings:
        """Change settings while it runs, from any thread, and return them all.

        Parameters
        ----------
        **changes
            ``max_batch_size``, ``max_wait_ms``, ``max_queue``, ``deadline_ms``, ``workers``.

        Raises
        ------
        InputError
            If a setting is another one, or its value none. Then nothing changes.
        """
        self.settings = self.settings.changed(changes)
        for model in self.models.values():
            model.configure(self.settings)
        return self.settings

    async def drain(self, timeout_s: float | None = None) -> bool:
        """Refuse new requests, and wait until those that were accepted are answered; say whether all were in time."""
        self.is_draining = True
        for model in self.models.values():
            model.batcher.configure(max_wait_ms=0)
        try:
            async with asyncio.timeout(timeout_s):
                while any(model.metrics.in_flight for model in self.models.values()):
                    await asyncio.sleep(0.01)
        except TimeoutError:
            return False
        return True

    def close(self, timeout_s: float = 5.0) -> bool:
        """End the threads; what still waits is refused. Say whether they ended in time."""
        self.is_draining = True
        ended = [model.batcher.close(timeout_s) for model in self.models.values()]
        return all(ended)


@asynccontextmanager
async def _lifespan(app: Any) -> AsyncIterator[None]:
    yield
    await app.drain()
    await asyncio.to_thread(app.close)


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(content), status, media_type="application/json")


async def _plain_error(request: Request, error: Any) -> Response:
    """Answer a request that no route takes."""
    reasons = {
        404: f"expected one of the paths that /docs names, got {request.url.path[:80]!r}",
        405: f"expected another method for this path, got {request.method[:20]}",
    }
    reason = error.detail if error.detail not in ("Not Found", "Method Not Allowed") else reasons[error.status_code]
    return Response(reason_body(reason), error.status_code, error.headers, "application/json")


async def _our_error(_: Request, error: Exception) -> Response:
    return Response(
        reason_body(f"the server raised {type(error).__name__}; its log says more"), 500, None, "application/json"
    )
