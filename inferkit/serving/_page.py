"""The page at /docs: one file of HTML, drawn from the OpenAPI document, that loads nothing from anywhere."""

import json
from collections.abc import Collection
from html import escape
from typing import Any

from ._model import ServedModel

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .3rem .8rem .3rem 0;
  border-bottom: 1px solid #8884; vertical-align: top; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { background: #8882; padding: .8rem; border-radius: .4rem; overflow-x: auto; }
.method { font-weight: 600; }
"""


def page(openapi: dict[str, Any], models: Collection[ServedModel], url: str) -> str:
    """Return the documentation of a server as HTML.

    Parameters
    ----------
    openapi : dict
        As `document` makes it.
    models : collection of ServedModel
    url : str
        Where the server was asked, without a slash at its end: for the lines to copy.
    """
    info = openapi["info"]
    parts = [
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])} ",
        "All of it for programs: <a href='openapi.json'>openapi.json</a>.</p>",
        *(_model(model, openapi, url) for model in models),
        "<h2>Paths</h2>",
        _table(("Method", "Path", "What it does", "Answers"), _paths(openapi)),
    ]
    head = (
        f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{escape(info['title'])}</title>"
    )
    return (
        f"<!doctype html><html lang=en><head>{head}<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>"
    )


def _model(model: ServedModel, openapi: dict[str, Any], url: str) -> str:
    rows: list[tuple[str, ...]] = [
        (kind, f"<code>{escape(t['name'])}</code>", t["datatype"], escape(str(t["shape"])))
        for kind, tensors in (("takes", model.metadata["inputs"]), ("gives", model.metadata["outputs"]))
        for t in tensors
    ]
    line = _curl_line(url, model.name, model.example, needs_token="security" in openapi)
    table = _table(("", "Tensor", "Datatype", "Shape"), rows)
    return f"<h2>Model <code>{escape(model.name)}</code></h2>{table}<p>Try it:</p><pre>{escape(line)}</pre>"


def _curl_line(url: str, name: str, row: Any, *, needs_token: bool = False) -> str:
    """Return a line that asks a model for one row, to be copied into a shell."""
    token = " -H 'Authorization: Bearer TOKEN'" if needs_token else ""
    body = json.dumps({"rows": [row]}).replace("'", "'\\''")
    return f"curl {url}/predict/{name}{token} -d '{body}'"


def _paths(openapi: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (f"<span class=method>{method.upper()}</span>", f"<code>{escape(path)}</code>", escape(what["summary"]),
         ", ".join(what["responses"]))
        for path, methods in openapi["paths"].items()
        for method, what in methods.items()
        if method in ("get", "post")
    ]  # fmt: skip


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table; its cells are HTML already."""
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
