"""Widgets: a model of traits in Python and a small view in JavaScript. What they compute lives in the layers below."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from inferkit._base import require

from ._answers import Answer

if TYPE_CHECKING:
    from ._pad import DigitPad as DigitPad

__all__ = ["Answer", "DigitPad"]


def __getattr__(name: str) -> Any:
    if name == "DigitPad":  # its base class comes with an extra, so it is made on first use
        require("anywidget", extra="notebooks")
        return import_module(f"{__name__}._pad").DigitPad
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
