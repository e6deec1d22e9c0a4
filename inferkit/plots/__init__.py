"""Figures: one style, alt text that reaches the reader, and comparison by what was drawn.

JupyterLab's own picture output has no alternative text. `show` gives a figure its alt text, and lets it carry
its data (lines, bars, points, texts, limits), so that a test can compare two figures by what they say.
"""

from ._compare import PICTURE_TOLERANCE, compare_figure_data, compare_pictures
from ._data import figure_data
from ._show import FIGURE_MIME, show
from ._style import COLOURS, label_lines, slide_size, use_style

__all__ = [
    "COLOURS",
    "FIGURE_MIME",
    "PICTURE_TOLERANCE",
    "compare_figure_data",
    "compare_pictures",
    "figure_data",
    "label_lines",
    "show",
    "slide_size",
    "use_style",
]
