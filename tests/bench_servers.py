"""The servers that ``tests.bench_serving`` compares, each in its plainest good form: ``python -m tests.bench_servers``.

All answer the same request (one row) with the same model, and each is set up as its documentation does it: with batches
of up to 64 rows for the model with a fixed cost, without for the small one, where a batch can only cost time.
"""

import asyncio
import os
import sys
import threading
import time
from typing import Any

import numpy as np

from inferkit.predictor import ArraySpec, Predictor, digit_reader

MAX_BATCH = 64
FIXED_S, ROW_S = 0.005, 0.0001


def make(model: str) -> Predictor:
    """Return the model of that name."""
    return digit_reader() if model == "digits" else fixed_cost()


def fixed_cost() -> Predictor:
    """Return a stand-in for an accelerator: 5 ms a call and 0.1 ms a row, asleep, one call at a time."""
    device = threading.Lock()

    def call(X: np.ndarray) -> np.ndarray:
        with device:
            time.sleep(FIXED_S + ROW_S * len(X))
        return X.reshape(len(X), -1).mean(axis=1, keepdims=True)

    return Predictor(call, signature=ArraySpec((8, 8), low=0, high=16), name="fixed")


def answers(predictor: Predictor, rows: Any) -> list[dict[str, Any]]:
    """Return what a request gets, for each row."""
    (values,) = predictor.predict_outputs(np.asarray(rows, dtype=np.float32)).values()
    if predictor.labels is None:
        return [{"answers": [value]} for value in values.tolist()]
    best = np.asarray(predictor.labels)[values.argmax(axis=1)].tolist()
    return [{"answers": [label], "probabilities": [p]} for label, p in zip(best, values.tolist(), strict=True)]


def inferkit(model: str, port: int) -> None:
    """Serve as this package does by default."""
    from inferkit.serving import run

    run({"model": make(model)}, port=port)


def fastapi(model: str, port: int) -> None:
    """Serve by FastAPI without batching and without its own validation: the least that an endpoint can do."""
    import uvicorn
    from fastapi import FastAPI, Request
    from fastapi.responses import JSONResponse

    app, predictor = FastAPI(), make(model)

    @app.post("/predict")
    async def predict(request: Request) -> JSONResponse:
        return JSONResponse(answers(predictor, (await request.json())["rows"])[0])

    uvicorn.run(app, port=port, log_level="warning", access_log=False)


def fastapi_typed(model: str, port: int) -> None:
    """Serve by FastAPI without batching, the request typed and the answer a dict, as its documentation shows."""
    import uvicorn
    from fastapi import FastAPI
    from pydantic import create_model

    app, predictor = FastAPI(), make(model)
    Rows = create_model("Rows", rows=(list[list[list[float]]], ...))

    @app.post("/predict")
    async def predict(body: Rows) -> dict:  # type: ignore[valid-type]
        return answers(predictor, body.rows)[0]

    uvicorn.run(app, port=port, log_level="warning", access_log=False)


def litserve(model: str, port: int) -> None:
    """Serve by LitServe: one worker process beside the server's."""
    import litserve

    api = __getattr__("LitServeAPI")(max_batch_size=1 if model == "digits" else MAX_BATCH, batch_timeout=0.0)
    api.model = model
    server = litserve.LitServer(api, accelerator="cpu")
    server.run(host="127.0.0.1", port=port, log_level="warning", generate_client_file=False)


def litserve_api() -> type:
    """Return the class that LitServe's worker process looks up by its name."""
    import litserve

    class LitServeAPI(litserve.LitAPI):
        model = ""

        def setup(self, device: str) -> None:
            self.predictor = make(self.model)

        def decode_request(self, request: dict) -> Any:
            return np.asarray(request["rows"][0], dtype=np.float32)

        def predict(self, x: Any) -> Any:
            return answers(self.predictor, x) if x.ndim == 3 else answers(self.predictor, x[None])[0]

        def batch(self, inputs: list) -> Any:
            return np.stack(inputs)

        def unbatch(self, output: Any) -> Any:
            return output

        def encode_response(self, output: Any) -> Any:
            return output

    LitServeAPI.__qualname__ = LitServeAPI.__name__
    return LitServeAPI


def bentoml_service(model: str) -> Any:
    """Return the service that ``bentoml serve tests.bench_servers:digits`` looks up by its name."""
    import bentoml

    class Service:
        def __init__(self) -> None:
            self.predictor = make(model)

        @bentoml.api(route="/predict", batchable=model == "fixed", max_batch_size=MAX_BATCH)
        def predict(self, rows: np.ndarray) -> list[dict]:
            return answers(self.predictor, rows)

    return bentoml.service(Service, name=model, workers=1, logging={"access": {"enabled": False}})


def ray_serve(model: str, port: int) -> None:
    """Serve by Ray Serve: its proxy and one replica."""
    import signal

    import ray
    from ray import serve

    @serve.deployment(max_ongoing_requests=256, ray_actor_options={"num_cpus": 0})
    class Model:
        def __init__(self) -> None:
            self.predictor = make(model)

        @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0.0)
        async def together(self, rows: list) -> list:
            return await asyncio.to_thread(answers, self.predictor, rows)

        async def __call__(self, request: Any) -> Any:
            (row,) = (await request.json())["rows"]
            return answers(self.predictor, [row])[0] if model == "digits" else await self.together(row)

    start_ray(port)
    serve.run(Model.bind(), route_prefix="/predict")
    signal.sigwait({signal.SIGTERM})
    serve.shutdown()
    ray.shutdown()


def ray_inferkit(model: str, port: int) -> None:
    """Serve this package's application, unchanged, on two replicas of Ray Serve."""
    import signal

    import ray
    from ray import serve

    from tests.ray_serve_app import application

    start_ray(port)
    serve.run(application({"model": model}), route_prefix="/")
    signal.sigwait({signal.SIGTERM})
    serve.shutdown()
    ray.shutdown()


def start_ray(port: int) -> None:
    """Start Ray on this machine alone."""
    import signal

    import ray
    from ray import serve

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    here = {"working_dir": None, "env_vars": {"PYTHONPATH": os.getcwd()}}
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, runtime_env=here)
    serve.start(http_options={"host": "127.0.0.1", "port": port}, logging_config={"enable_access_log": False})


def __getattr__(name: str) -> Any:
    """Make what other processes look up here by name; the packages are only in the environment of the comparison."""
    if name == "LitServeAPI":
        made = litserve_api()
    elif name in ("digits", "fixed"):
        made = bentoml_service(name)
    else:
        raise AttributeError(name)
    globals()[name] = made
    return made


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
