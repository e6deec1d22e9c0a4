"""The OpenAPI document of a server: what may be sent to it, and all that may come back."""

from collections.abc import Collection
from typing import Any

from ..predictor._protocol import DATATYPES, LENGTH_HEADER
from ._codecs import DEADLINE_HEADER
from ._model import VERSION, ServedModel

Plain = dict[str, Any]

OPEN_PATHS = frozenset({"/v2/health/live", "/v2/health/ready"})
"""What a cluster asks all the time, and may ask without a token."""

_REASONS = {
    400: "The request is not what it should be; the reason names what was expected and what came.",
    401: "The token is missing or wrong.",
    404: "There is no such model or version.",
    408: "The request did not come in time.",
    413: "The body is too large.",
    415: "The body is compressed in a way that is not known here.",
    431: "The request's head is too large.",
    500: "The model failed, or gave an answer that is none, such as NaN.",
    503: "There is more to do than the server can, or it is shutting down; try again later.",
    504: "The deadline passed.",
}


def document(models: Collection[ServedModel], *, version: str, needs_token: bool) -> Plain:
    """Return the OpenAPI document of a server.

    Parameters
    ----------
    models : collection of ServedModel
    version : str
        Of this package.
    needs_token : bool

    Returns
    -------
    dict
        Plain values that JSON can hold.
    """
    page: Plain = {
        "openapi": "3.1.0",
        "info": {
            "title": "inferkit",
            "version": version,
            "description": "Models behind the Open Inference Protocol (KServe v2), and plain JSON beside it.",
        },
        "paths": _paths(list(models), needs_token),
        "components": {"schemas": _schemas(list(models))},
    }
    if needs_token:
        page["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        page["security"] = [{"token": []}]
        for path in OPEN_PATHS:
            page["paths"][path]["get"]["security"] = []
    return page


def _paths(models: list[ServedModel], needs_token: bool) -> Plain:
    always = [401] if needs_token else []
    one = "/v2/models/{model}"
    paths: Plain = {
        "/v2": {"get": _get("What this server is.", "ServerMetadata", always)},
        "/v2/health/live": {"get": _get("Whether the server runs.", "Live", [])},
        "/v2/health/ready": {"get": _get("Whether the server takes requests.", "Ready", [503])},
        "/metrics": {"get": _get_text("Counts and times, as Prometheus reads them.", always)},
    }
    for path in (one, one + "/versions/{version}"):
        names = _names(models, versions="version" in path)
        known = [*always, 404]
        paths[path] = {"parameters": names, "get": _get("What a model takes and gives.", "ModelMetadata", known)}
        ready = _get("Whether a model takes requests.", "ModelReady", [*known, 503])
        paths[path + "/ready"] = {"parameters": names, "get": ready}
        paths[path + "/infer"] = {"parameters": names, "post": _infer(models[0], known)}
    paths["/predict/{model}"] = {"parameters": _names(models), "post": _predict(models[0], [*always, 404])}
    if len(models) == 1:
        paths["/predict"] = {"post": _predict(models[0], always)}
    return paths


def _names(models: list[ServedModel], *, versions: bool = False) -> list[Plain]:
    model = {"name": "model", "in": "path", "required": True, "schema": {"enum": [m.name for m in models]}}
    version = {"name": "version", "in": "path", "required": True, "schema": {"enum": [VERSION]}}
    return [model, version] if versions else [model]


def _get(summary: str, schema: str, errors: list[int]) -> Plain:
    return {"summary": summary, "responses": {"200": _json("It is so.", _ref(schema)), **_errors(errors)}}


def _get_text(summary: str, errors: list[int]) -> Plain:
    content = {"text/plain": {"schema": {"type": "string"}}}
    return {"summary": summary, "responses": {"200": {"description": "Text.", "content": content}, **_errors(errors)}}


def _infer(model: ServedModel, errors: list[int]) -> Plain:
    body = _body("InferenceRequest", _infer_example(model))
    answer = _json("The outputs.", _ref("InferenceResponse"))
    raw = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}
    body["content"]["application/octet-stream"] = raw  # JSON, then the bytes of the tensors
    answer["content"]["application/octet-stream"] = raw
    length = {"schema": {"type": "integer"}, "description": "Bytes of JSON before those of the tensors."}
    answer["headers"] = {LENGTH_HEADER: length}
    sent = {"name": LENGTH_HEADER, "in": "header", "required": False, "schema": {"type": "integer", "minimum": 0}}
    sent["description"] = "Bytes of JSON before those of the tensors; without it all of the body is JSON."
    return _post("Ask a model, in tensors.", body, answer, errors, [sent])


def _predict(model: ServedModel, errors: list[int]) -> Plain:
    body = _body("Rows", {"rows": [model.example]})
    return _post("Ask a model, in rows.", body, _json("The answers.", _ref("Answers")), errors, [])


def _post(summary: str, body: Plain, answer: Plain, errors: list[int], headers: list[Plain]) -> Plain:
    deadline = {
        "name": DEADLINE_HEADER,
        "in": "header",
        "required": False,
        "description": "In how many milliseconds the answer is wanted.",
        "schema": {"type": "number", "minimum": 0, "maximum": 10**9},
    }
    responses = {"200": answer, **_errors([400, *errors, 408, 413, 415, 431, 500, 503, 504])}
    return {"summary": summary, "parameters": [*headers, deadline], "requestBody": body, "responses": responses}


def _body(schema: str, example: Plain) -> Plain:
    return {"required": True, "content": {"application/json": {"schema": _ref(schema), "example": example}}}


def _json(description: str, schema: Plain) -> Plain:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _errors(statuses: list[int]) -> Plain:
    found: Plain = {str(status): _json(_REASONS[status], _ref("Error")) for status in sorted(statuses)}
    if "503" in found:
        found["503"]["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return found


def _ref(name: str) -> Plain:
    return {"$ref": f"#/components/schemas/{name}"}


# -- examples ----------------------------------------------------------------------------------------


def _infer_example(model: ServedModel) -> Plain:
    row = model.example
    inputs = []
    for tensor in model.metadata["inputs"]:
        shape = [1 if n == -1 else n for n in tensor["shape"]]
        data = [row[tensor["name"]]] if isinstance(row, dict) else [row]
        inputs.append({"name": tensor["name"], "shape": shape, "datatype": tensor["datatype"], "data": data})
    return {"inputs": inputs}


# -- schemas -----------------------------------------------------------------------------------------


def _schemas(models: list[ServedModel]) -> Plain:
    text, flag, anything = ({"type": kind} for kind in ("string", "boolean", "object"))
    names = _list_of(text)
    tensor: Plain = {
        "name": {"type": "string", "minLength": 1},
        "datatype": {"enum": list(DATATYPES)},
        "parameters": anything,
    }
    lengths = _list_of({"type": "integer", "minimum": 0})
    described = _object({**tensor, "shape": _list_of({"type": "integer", "minimum": -1})}, optional=["parameters"])
    shaped = _object({**tensor, "shape": lengths, "data": {"type": "array"}}, optional=["parameters", "data"])
    wanted: Plain = {"name": {"type": "string", "minLength": 1}, "parameters": _parameters("binary_data", flag)}
    timeout = {"type": "integer", "minimum": 0, "description": "Microseconds in which the answer is wanted."}
    request = {
        "id": text,
        "parameters": _parameters("binary_data_output", flag, timeout=timeout),
        "inputs": {**_list_of(_ref("Tensor")), "minItems": 1},
        "outputs": _list_of(_object(wanted, optional=["parameters"], closed=False)),
    }
    response = {"model_name": text, "model_version": text, "id": text, "outputs": _list_of(_ref("Tensor"))}
    metadata = {"name": text, "versions": names, "platform": text, "parameters": anything}
    metadata |= {"inputs": _list_of(_ref("TensorMetadata")), "outputs": _list_of(_ref("TensorMetadata"))}
    anyhow: Plain = {"anyOf": [{"type": "array"}, anything]}
    answers = {"model": text, "answers": anyhow, "probabilities": anyhow, "labels": anyhow}
    rows = {**_list_of(_row_schema(models)), "minItems": 1}
    return {
        "Error": _object({"error": text}),
        "Live": _object({"live": flag}),
        "Ready": _object({"ready": flag}),
        "ModelReady": _object({"name": text, "ready": flag}),
        "ServerMetadata": _object({"name": text, "version": text, "extensions": names, "models": names}),
        "ModelMetadata": _object(metadata),
        "TensorMetadata": described,
        "Tensor": shaped,
        "InferenceRequest": _object(request, optional=["id", "parameters", "outputs"], closed=False),
        "InferenceResponse": _object(response, optional=["id"]),
        "Rows": {"anyOf": [_object({"rows": rows}), rows]},
        "Answers": _object(answers, optional=["probabilities", "labels"]),
    }


def _row_schema(models: list[ServedModel]) -> Plain:
    """Return what a row may be for one of the models."""
    kinds: dict[type, Plain] = {
        dict: {"type": ["object", "array"], "description": "Columns by name, or in their order."},
        str: {"type": "string"},
    }
    array: Plain = {"type": ["array", "number"], "description": "Numbers, nested as the row's shape is."}
    schemas = [schema for kind, schema in kinds.items() if any(isinstance(m.example, kind) for m in models)]
    if any(not isinstance(m.example, dict | str) for m in models):
        schemas.append(array)
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _parameters(name: str, schema: Plain, **more: Plain) -> Plain:
    return {"type": "object", "properties": {name: schema, **more}}


def _list_of(schema: Plain) -> Plain:
    return {"type": "array", "items": schema}


def _object(properties: Plain, *, optional: Collection[str] = (), closed: bool = True) -> Plain:
    required = [name for name in properties if name not in optional]
    found: Plain = {"type": "object", "properties": properties, "required": required}
    return found | {"additionalProperties": False} if closed else found
