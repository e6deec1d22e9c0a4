"""A figure in a notebook, with its alternative text and its data."""

import base64
import html
import io
import re
import sys
from typing import Any

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from .._base import InputError
from ._data import figure_data

FIGURE_MIME = "application/vnd.inferkit.figure+json"
"""The MIME type under which `show` attaches `figure_data`."""

_CSS_DPI = 96  # a browser's pixels per inch
_UNSEEN = 16  # of 255: a colour off by so much, at the rim of a letter or a curve, is not seen
_SAYS_NOTHING = frozenset(("a", "an", "the", "of", "with", "figure", "plot", "chart", "graph", "image", "picture"))


def show(fig: Figure, alt: str) -> None:
    """Show a figure with its alternative text, and close it.

    In a notebook the output carries the picture with its alt text (HTML), the picture alone (PNG), the alt text
    alone, and the figure's data under `FIGURE_MIME`. The same figure gives the same bytes. Outside a notebook
    the alt text is printed.

    Parameters
    ----------
    fig : matplotlib.figure.Figure
        The figure. It is closed, so that the notebook does not show it a second time.
    alt : str
        What the figure shows, for those who can't see it: "Serving overtakes training after 3 million answers",
        not "A line plot". At least three words that say something.

    Raises
    ------
    InputError
        If `fig` is no figure, or `alt` says nothing.

    Examples
    --------
    >>> fig, ax = plt.subplots()
    >>> _ = ax.plot([1, 2, 3], [1, 4, 9])
    >>> show(fig, alt="The square of n grows faster than n")
    The square of n grows faster than n
    """
    if not isinstance(fig, Figure):
        hint = "pass ax.figure" if isinstance(fig, Axes) else "fig, ax = plt.subplots() gives one"
        raise InputError(f"fig: expected a matplotlib Figure, got {type(fig).__name__}; {hint}")
    text = _alt_text(alt)
    shell = _notebook_shell()
    if shell is None:
        print(text)
    else:
        shell.display_pub.publish(data=_bundle(fig, text))
    plt.close(fig)


def _alt_text(alt: object) -> str:
    text = " ".join(alt.split()) if isinstance(alt, str) else ""
    if len([word for word in re.findall(r"\w+", text.lower()) if word not in _SAYS_NOTHING]) < 3:
        raise InputError(
            f"alt: expected a sentence that says what the figure shows, got {alt!r}; "
            'for example alt="Accuracy falls from 97 % to 12 % when the calibration set is empty"'
        )
    return text


def _notebook_shell() -> Any:
    """Return the running notebook's shell, or None. A script that never imported IPython does not pay for it."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell if hasattr(shell, "kernel") else None


def _bundle(fig: Figure, text: str) -> dict[str, Any]:
    source = base64.b64encode(_png(fig)).decode()
    image = (
        f'<img alt="{html.escape(text)}" width="{round(fig.get_figwidth() * _CSS_DPI)}" '
        f'style="max-width: 100%; height: auto" src="data:image/png;base64,{source}">'
    )
    return {"text/plain": text, "text/html": image, "image/png": source, FIGURE_MIME: figure_data(fig)}


def _png(fig: Figure) -> bytes:
    """Draw the figure at its own size, with no version or date inside: equal figures are equal bytes."""
    dpi = matplotlib.rcParams["savefig.dpi"]
    fig.set_dpi(fig.get_dpi() if dpi == "figure" else dpi)  # laid out as it is drawn
    _settle(fig)
    drawn, small = io.BytesIO(), io.BytesIO()
    with matplotlib.rc_context({"savefig.bbox": None}):
        fig.savefig(drawn, format="png", dpi=fig.get_dpi())
    _few_colours(Image.open(drawn).convert("RGB")).save(small, format="PNG", optimize=True)
    return small.getvalue()


def _settle(fig: Figure) -> None:
    """Lay the figure out until nothing moves: the first passes depend on how often it was drawn before."""
    fig.draw_without_rendering()
    engine = fig.get_layout_engine()
    if engine is None or not fig.axes:
        return
    for _ in range(10):
        before = _places(fig)
        engine.execute(fig)
        if np.allclose(before, _places(fig), rtol=0, atol=1e-5):  # a hundredth of a pixel
            return


def _places(fig: Figure) -> list[tuple[float, float, float, float]]:
    return [ax.get_position(original=True).bounds for ax in fig.axes]


def _few_colours(picture: Image.Image) -> Image.Image:
    """Return the picture in 256 colours, a third of the bytes; or as it is, where one would see it (photographs)."""
    few = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    off = np.abs(np.asarray(picture, dtype=int) - np.asarray(few.convert("RGB"), dtype=int))
    return few if off.max() <= _UNSEEN else picture
