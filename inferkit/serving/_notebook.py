"""How a running server shows itself: an address, its models, a line to copy."""

import json
import shlex
from collections.abc import Sequence
from html import escape
from typing import Any

_LONGEST = 400


def curl_line(url: str, models: Sequence[str], example: Any, token: str | None) -> str:
    r"""Return a line for a shell that asks the first model; if a row is too long to read, for its metadata.

    Parameters
    ----------
    url : str
    models : sequence of str
    example : object
        A row, as JSON holds it.
    token : str or None
        Never shown: the line reads it from the environment variable ``INFERKIT_TOKEN``.

    Examples
    --------
    >>> print(curl_line("http://127.0.0.1:8000", ["tone"], "it's fine", None))
    curl http://127.0.0.1:8000/predict -d '{"rows":["it'"'"'s fine"]}'
    """
    bearer = "" if token is None else ' -H "Authorization: Bearer $INFERKIT_TOKEN"'
    body = json.dumps({"rows": [example]}, separators=(",", ":"))
    if len(body) > _LONGEST:
        return f"curl{bearer} {url}/v2/models/{models[0]}"
    path = "/predict" if len(models) == 1 else f"/predict/{models[0]}"
    return f"curl{bearer} {url}{path} -d {shlex.quote(body)}"


def server_html(url: str, models: Sequence[str], is_running: bool, curl: str) -> str:
    """Return what a notebook shows of a server."""
    state = "running" if is_running else "stopped"
    rows = "".join(f"<li><code>{escape(url)}/v2/models/{escape(name)}</code></li>" for name in models)
    return (
        f'<div><p><a href="{escape(url)}/docs">{escape(url)}</a> ({state})</p><ul>{rows}</ul>'
        f'<pre style="white-space: pre-wrap; overflow-wrap: anywhere">{escape(curl)}</pre></div>'
    )
