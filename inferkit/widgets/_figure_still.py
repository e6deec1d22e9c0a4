"""A `LiveFigure` at rest, for pages where no kernel runs: a picture with its alt text, and the numbers to read."""

import base64
from collections.abc import Sequence
from html import escape
from typing import Any

from inferkit.plots import COLOURS

from ._figure_scene import Mark, Scene
from ._static import DPI, LINE, MUTED, TEXT, few_colours

_POINTS = 0.72  # of a pixel, at 100 pixels an inch
_STYLES: dict[str, dict[str, Any]] = {
    "curve": {"linewidth": 2.6}, "thin": {"linewidth": 1.2, "alpha": 0.5}, "rule": {"linewidth": 1.6},
    "error": {"linewidth": 2.0}, "leader": {"linewidth": 1.0}, "grid": {"linewidth": 1.0, "color": "#d5d9de"},
    "axis": {"linewidth": 1.2}, "band": {"alpha": 0.25, "linewidth": 0}, "bar": {"alpha": 0.6, "linewidth": 0},
    "dot": {"markersize": 9}, "ring": {"markersize": 9, "markerfacecolor": "none", "markeredgewidth": 2.0},
    "tick": {"size": 15, "color": MUTED},
    "caption": {"size": 16, "color": TEXT}, "label": {"size": 16, "weight": "bold"},
}  # fmt: skip


def still(scene: Scene, alt: str, title: str, values: Sequence[str], said: Sequence[str]) -> str:
    """Return a live figure as HTML.

    Parameters
    ----------
    scene : Scene
    alt : str
        What the picture shows.
    title : str
        Empty for none.
    values : sequence of str
        What the controls show, each with its name.
    said : sequence of str
        The numbers to read, each with its name.

    Returns
    -------
    str
        All texts are escaped.

    Examples
    --------
    >>> from ._figure_axes import make_axis
    >>> from ._figure_parts import curve
    >>> from ._figure_scene import Frame, scene_of
    >>> frame = Frame(make_axis("x", "time, s"), make_axis("y", "speed, m/s"))
    >>> "&lt;b&gt;" in still(scene_of([curve([0, 1], [0, 1])], frame), "<b>", "", [], [])
    True
    """
    data = base64.b64encode(_png(scene)).decode()
    picture = (
        f'<img alt="{escape(alt, quote=True)}" width="{scene.width}" style="max-width: 100%; height: auto" '
        f'src="data:image/png;base64,{data}">'
    )
    lines = [title, ". ".join(said), f"At rest; run the cell to move it: {', '.join(values)}."]
    above, *below = (f'<p style="margin:4px 0;font-size:14px">{escape(line)}</p>' if line else "" for line in lines)
    return f"{above}{picture}{''.join(below)}"


def _png(scene: Scene) -> bytes:
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox, TransformedBbox

    with mpl.rc_context():
        mpl.rcdefaults()  # the reader's own style shall not change the bytes
        mpl.rcParams["font.family"] = "DejaVu Sans"  # matplotlib brings it along
        mpl.rcParams["text.hinting"] = "none"
        figure = Figure(figsize=(scene.width / 100, scene.height / 100), dpi=DPI)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, scene.width), ylim=(scene.height, 0))
        axes.axis("off")
        left, top, right, bottom = scene.box
        plot = TransformedBbox(Bbox([(left, bottom), (right, top)]), axes.transData)
        for marks, clip in ((scene.back, None), (scene.inside, plot), (scene.front, None)):
            for mark in marks:
                for artist in _draw(axes, mark):
                    artist.set(clip_box=clip, zorder=3)  # one above the other as they come, areas and lines alike
        return few_colours(figure)


def _draw(axes: Any, mark: Mark) -> list[Any]:
    """Draw one mark, and return what was drawn."""
    role, *dashed = mark.role.split()
    style = {"color": COLOURS.get(mark.colour, LINE), **_STYLES[role]}
    if mark.shape == "text":
        ((x, y),) = mark.places[0]
        # DejaVu runs wider than the fonts of screens.
        style |= {
            "size": style["size"] * _POINTS * 0.92,
            "ha": {"start": "left", "middle": "center", "end": "right"}[mark.anchor],
        }
        return [axes.text(x, y, mark.text, va="baseline", parse_math=False, **style)]
    for pixels in style.keys() & {"linewidth", "markersize", "markeredgewidth"}:
        style[pixels] *= _POINTS
    if mark.shape == "area":
        return [artist for outline in mark.places for artist in axes.fill(*outline.T, **style)]
    if mark.shape == "dots":
        return list(axes.plot(*mark.places[0].T, "o", **style))
    return [a for line in mark.places for a in axes.plot(*line.T, linestyle="--" if dashed else "-", **style)]
