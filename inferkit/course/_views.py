"""The widgets behind `guess` and `quiz`: traits here, what is seen in the JavaScript beside.

Imported only inside calls, as it needs anywidget.
"""

from pathlib import Path
from typing import Any

import anywidget
import traitlets

_HERE = Path(__file__).parent


class GuessView(anywidget.AnyWidget):  # type: ignore[misc]  # anywidget's base is untyped
    """A question with a slider or radio buttons, and a button that keeps the choice."""

    _esm = _HERE / "guess.js"
    _css = _HERE / "course.css"
    question = traitlets.Unicode().tag(sync=True)
    labels = traitlets.List(traitlets.Unicode()).tag(sync=True)
    slider = traitlets.Bool().tag(sync=True)
    chosen = traitlets.Int(-1).tag(sync=True)  # the page sets it: which label was kept
    kept = traitlets.Unicode("").tag(sync=True)  # the kernel sets it: what it has kept, in words


class QuizView(anywidget.AnyWidget):  # type: ignore[misc]  # anywidget's base is untyped
    """Questions with radio buttons; the page itself says what is right, and why."""

    _esm = _HERE / "quiz.js"
    _css = _HERE / "course.css"
    questions = traitlets.List(traitlets.Dict()).tag(sync=True)


def mimebundle(view: Any, text: str, html: str) -> Any:
    """Return what a notebook shows: the live widget, and text and HTML where no kernel runs.

    Parameters
    ----------
    view : anywidget.AnyWidget
        The widget.
    text, html : str
        The same content at rest. Neither holds an id, so a built notebook comes out the same every time.

    Returns
    -------
    tuple of (dict, dict)
        Data and metadata, by MIME type.
    """
    data, metadata = view._repr_mimebundle_()
    return data | {"text/plain": text, "text/html": html}, metadata
