"""Widgets: a model of traits in Python and a small view in JavaScript. What they compute lives in the layers below."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from inferkit._base import require

from ._answers import Answer

if TYPE_CHECKING:
    from ._figure import LiveFigure as LiveFigure
    from ._figure_parts import band as band
    from ._figure_parts import bars as bars
    from ._figure_parts import curve as curve
    from ._figure_parts import line as line
    from ._figure_parts import points as points
    from ._figure_parts import text as text
    from ._live import LivePredictor as LivePredictor
    from ._pad import DigitPad as DigitPad
    from ._race import RuntimeRace as RuntimeRace
    from ._reading import LiveAnswer as LiveAnswer
    from ._reading import Reading as Reading

_ANSWERS = {"LiveAnswer": "_reading", "Reading": "_reading"}
_PARTS = dict.fromkeys(("band", "bars", "curve", "line", "points", "text"), "_figure_parts")  # of a LiveFigure
# Their base class comes with an extra, so they are made on first use.
_WIDGETS = {"DigitPad": "_pad", "LiveFigure": "_figure", "LivePredictor": "_live", "RuntimeRace": "_race"}
__all__ = [
    "Answer", "DigitPad", "LiveAnswer", "LiveFigure", "LivePredictor", "Reading", "RuntimeRace",
    "band", "bars", "curve", "line", "points", "text",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _WIDGETS:
        require("anywidget", extra="notebooks")
    found = {**_WIDGETS, **_ANSWERS, **_PARTS}.get(name)
    if found is not None:
        return getattr(import_module(f"{__name__}.{found}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
