"""The course's look: style sheet, colours, sizes, labels at the lines."""

import math
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Text
from numpy.typing import NDArray

from .._base import InputError
from ._data import in_data

COLOURS = {"blue": "#0072b2", "orange": "#d55e00", "green": "#009e73", "pink": "#cc79a7", "black": "#222222"}
"""The style's cycle by name (after Okabe and Ito): for colour-blind readers too, 3 : 1 or more against white."""

_STYLE = Path(__file__).parents[1] / "inferkit.mplstyle"


def use_style() -> None:
    """Draw every later figure in the course's style.

    Letters of 14 points and more, colours that colour-blind readers tell apart, no box, matplotlib's own font.

    Examples
    --------
    >>> use_style()
    >>> float(matplotlib.rcParams["font.size"])
    14.0
    """
    plt.style.use(_STYLE)


def slide_size(width: float = 1.0, height: float = 1.0) -> tuple[float, float]:
    """Return the size of a figure that fills a part of a slide's body.

    Parameters
    ----------
    width, height : float
        Parts of the body, above 0 and at most 1. The whole is 11 × 5 inches: a slide of 1280 × 720 pixels
        is 13.3 × 7.5 inches, and margins and a title take the rest.

    Returns
    -------
    tuple of float
        Inches, for ``figsize``.

    Raises
    ------
    InputError
        If a part is not above 0 and at most 1.

    Examples
    --------
    >>> slide_size(width=0.5)
    (5.5, 5.0)
    """
    for name, part in (("width", width), ("height", height)):
        if not 0 < part <= 1:
            raise InputError(f"{name}: expected a part of a slide above 0 and at most 1, got {part!r}; 0.5 is a half")
    return 11.0 * width, 5.0 * height


def label_lines(ax: Axes) -> list[Text]:
    """Write each line's label at its right end, in its colour, in place of a legend.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Its limits should be settled. Lines without a label or without a finite point are left alone;
        labels that would overlap are moved apart.

    Returns
    -------
    list of matplotlib.text.Text
        What was written, from the lowest to the highest.

    Examples
    --------
    >>> fig, ax = plt.subplots()
    >>> _ = ax.plot([1, 2], [3, 4], label="training")
    >>> [text.get_text() for text in label_lines(ax)]
    ['training']
    >>> plt.close(fig)
    """
    lines = [(line, points[-1]) for line in ax.lines if len(points := _labelled(line, ax))]
    heights = ax.transData.transform(np.reshape([end for _, end in lines], (-1, 2)))[:, 1]
    scale = ax.figure.dpi / 72  # pixels in a point
    gap = 1.25 * matplotlib.rcParams["font.size"] * scale
    written: list[Text] = []
    lowest = -math.inf
    for height, (line, end) in sorted(zip(heights, lines, strict=True), key=lambda pair: float(pair[0])):
        lowest = max(float(height), lowest + gap)
        text = ax.annotate(
            str(line.get_label()),
            (float(end[0]), float(end[1])),
            xytext=(8, (lowest - float(height)) / scale),
            textcoords="offset points",
            va="center",
            color=line.get_color(),
            fontweight="bold",
        )
        written.append(text)
    return written


def _labelled(line: Line2D, ax: Axes) -> NDArray[np.float64]:
    """Return the finite points, in data coordinates, of a line with a label (matplotlib's own begin with _)."""
    points = in_data(line.get_xydata(), line.get_transform(), ax.transData)
    keep = np.isfinite(points).all(axis=1) & (not str(line.get_label()).startswith("_"))
    return points[keep]
