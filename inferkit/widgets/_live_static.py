"""A `LivePredictor` at rest, for pages where no kernel runs. It holds the answer and no time."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ._reading import LiveAnswer, Reading, number_in_words, top

_LINE = "border-bottom:1px solid #8884;padding:2px 12px 2px 0;text-align:left;vertical-align:middle"


def still(name: str, controls: Sequence[Mapping[str, Any]], values: Mapping[str, Any], answer: LiveAnswer) -> str:
    """Return the controls' values and the answer as a table in HTML.

    Parameters
    ----------
    name : str
        The predictor's name.
    controls : sequence of dict
        As a form has them.
    values : mapping of str to object
        A value for each control.
    answer : LiveAnswer

    Returns
    -------
    str
        Names, texts and messages are escaped.

    Examples
    --------
    >>> "&lt;b&gt;" in still("<b>", [], {}, LiveAnswer(None, error="no"))
    True
    """
    rows = [_row(control["label"], _shown(control, values[control["name"]])) for control in controls]
    rows += [_row("failed", escape(answer.error))] if answer.error else [_reading(r) for r in answer.readings]
    caption = f"{escape(name)}, at rest: run the cell to change its input"
    return (
        f'<table style="font-size:14px;border-collapse:collapse"><caption style="text-align:left;padding:4px 0">'
        f"{caption}</caption><tbody>{''.join(rows)}</tbody></table>"
    )


def _row(label: str, content: str) -> str:
    return f'<tr><th scope="row" style="{_LINE}">{escape(label)}</th><td style="{_LINE}">{content}</td></tr>'


def _shown(control: Mapping[str, Any], value: Any) -> str:
    if control["kind"] == "picture":
        option = control["options"][value]
        label = escape(option["name"], quote=True)
        return f'<img alt="{label}" width="64" src="{option["picture"]}"> {label}' if option["picture"] else label
    number = isinstance(value, int | float)
    return escape(f"{number_in_words(value) if number else value} {control.get('unit', '')}".strip())


def _reading(reading: Reading) -> str:
    if reading.probabilities is None:
        return _row(reading.spec.name, f"<strong>{escape(reading.text)}</strong>")
    shown = [(str(label), f"{100 * p:.1f} %", best) for label, p, best in top(reading)]
    lines = (f"<strong>{escape(label)} {p}</strong>" if best else f"{escape(label)} {p}" for label, p, best in shown)
    return _row(reading.spec.name, "<br>".join(lines))
