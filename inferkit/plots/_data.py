"""What a figure says, as plain numbers and texts."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import Collection, PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure, FigureBase
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.spines import Spine
from matplotlib.text import Annotation, Text
from matplotlib.ticker import LogFormatter, NullFormatter, ScalarFormatter
from matplotlib.transforms import BlendedGenericTransform, IdentityTransform, Transform
from numpy.typing import ArrayLike, NDArray

from .._base import InputError

_LONG = 2000  # more numbers than this are carried as the means of that many blocks
_GRID = 16  # a picture inside a figure is carried as the means of so many blocks a side
_DIGITS = 6


def figure_data(fig: Figure) -> dict[str, Any]:
    """Return what a figure says, as plain numbers and texts.

    Parameters
    ----------
    fig : matplotlib.figure.Figure
        It is laid out, as drawing would do, and not changed otherwise.

    Returns
    -------
    dict
        Ready for JSON: ``"size"`` in inches, ``"artists"`` and ``"legend"`` of the figure itself, and ``"axes"``.
        Each of these has its titles, labels, scales, limits, named ticks, legend, and its visible artists with kind,
        label, colour and positions in data coordinates. Numbers have 6 significant digits, or more where values
        differ little beside their size. More than 2,000 numbers are given as the means of 2,000 blocks, a picture
        as its shape and the means of at most 16 × 16 blocks. What is not finite is None.

    Raises
    ------
    InputError
        If `fig` is no figure.

    Examples
    --------
    >>> from matplotlib import pyplot as plt
    >>> fig, ax = plt.subplots()
    >>> _ = ax.bar(["float", "int8"], [158, 46])
    >>> axes = figure_data(fig)["axes"][0]
    >>> axes["xticks"], [bar["y"] for bar in axes["artists"]]
    (['float', 'int8'], [[0.0, 158.0], [0.0, 46.0]])
    >>> plt.close(fig)
    """
    if not isinstance(fig, Figure):
        raise InputError(
            f"fig: expected a matplotlib Figure, got {type(fig).__name__}; fig, ax = plt.subplots() gives one"
        )
    fig.draw_without_rendering()  # limits, ticks and places are settled only by drawing
    parts: list[FigureBase] = [fig, *fig.subfigs]
    own: list[Artist] = [a for part in parts for a in (*part.texts, *part.lines, *part.patches, *part.images)]
    return {
        "size": [float(side) for side in fig.get_size_inches()],
        "artists": _artists(own, fig.transFigure),
        "legend": [text.get_text() for part in parts for legend in part.legends for text in legend.get_texts()],
        "axes": [_axes(ax) for ax in _shown(fig.axes)],
    }


def _shown(several: Iterable[Artist]) -> list[Axes]:
    """Return the visible axes, each followed by its insets."""
    visible = [ax for ax in several if isinstance(ax, Axes) and ax.get_visible()]
    return [one for ax in visible for one in (ax, *_shown(ax.child_axes))]


def _axes(ax: Axes) -> dict[str, Any]:
    titles = [ax._left_title, ax.title, ax._right_title]  # type: ignore[attr-defined]  # each is also a child
    legend = ax.get_legend()
    return {
        "title": " ".join(text.get_text() for text in titles if text.get_text()),
        "xlabel": ax.get_xlabel(),
        "ylabel": ax.get_ylabel(),
        "xscale": ax.get_xscale(),
        "yscale": ax.get_yscale(),
        "xlim": _numbers(ax.get_xlim()),
        "ylim": _numbers(ax.get_ylim()),
        "xticks": _named_ticks(ax.xaxis),
        "yticks": _named_ticks(ax.yaxis),
        "legend": [text.get_text() for text in legend.get_texts()] if legend else [],
        "artists": _artists((a for a in ax.get_children() if a not in (ax.patch, *titles)), ax.transData),
    }


def _named_ticks(axis: Axis) -> list[str]:
    """Return the ticks' texts where someone has chosen them; matplotlib's own follow from the limits."""
    if not axis.get_visible() or isinstance(axis.get_major_formatter(), ScalarFormatter | LogFormatter | NullFormatter):
        return []
    return [label.get_text() for label in axis.get_ticklabels() if label.get_text()]


def _artists(several: Iterable[Artist], data: Transform) -> list[dict[str, Any]]:
    found = []
    for artist in several:
        describe = next((d for kind, d in _DESCRIBE.items() if isinstance(artist, kind)), None)
        if describe and artist.get_visible() and not isinstance(artist, Spine) and not _unwritten(artist):
            found.append(describe(artist, data))
    return found


def _unwritten(artist: Artist) -> bool:
    """Tell whether a text is empty, or a note on a point outside the axes, which drawing never gave a place."""
    outside = isinstance(artist, Annotation) and isinstance(artist.get_transform(), IdentityTransform)
    return outside or (isinstance(artist, Text) and not artist.get_text())


def _line(line: Line2D, data: Transform) -> dict[str, Any]:
    points = in_data(line.get_xydata(), line.get_transform(), data)
    style = {"colour": to_hex(line.get_color()), "line": str(line.get_linestyle()), "marker": str(line.get_marker())}
    return {"kind": "line", **_label(line), **style, **_xy(points)}


def _rectangle(bar: Rectangle, data: Transform) -> dict[str, Any]:
    corners = bar.get_patch_transform().transform([(0, 0), (1, 1)])
    points = in_data(corners, bar.get_data_transform(), data)
    return {"kind": "bar", **_label(bar), "colour": _colour(bar), **_xy(points)}


def _patch(patch: Patch, data: Transform) -> dict[str, Any]:
    corners = patch.get_patch_transform().transform(patch.get_path().vertices)
    points = in_data(corners, patch.get_data_transform(), data)
    return {"kind": "patch", **_label(patch), "colour": _colour(patch), **_xy(points)}


def _colour(patch: Patch) -> str:
    return to_hex(patch.get_facecolor() if patch.get_fill() else patch.get_edgecolor())


def _collection(collection: Collection, data: Transform) -> dict[str, Any]:
    offsets = np.asarray(collection.get_offsets(), dtype=float)
    if isinstance(collection, PathCollection) or len(offsets) > 1:
        kind, points = "points", in_data(offsets, collection.get_offset_transform(), data)
    else:
        vertices = [path.vertices for path in collection.get_paths()]
        corners = np.concatenate([np.empty((0, 2)), *vertices])
        kind, points = "area", in_data(corners, collection.get_transform(), data)
    return {"kind": kind, **_label(collection), **_shades(collection), **_xy(points)}


def _shades(collection: Collection) -> dict[str, Any]:
    """Return the values behind the colours, or the colours."""
    values = collection.get_array()
    if values is not None:
        return {"values": _numbers(np.ma.filled(np.ma.asarray(values, dtype=float), np.nan)),
                "clim": _numbers(collection.get_clim()), "cmap": collection.get_cmap().name}  # fmt: skip
    colours = [*collection.get_facecolor(), *collection.get_edgecolor()]
    return {"colours": list(dict.fromkeys(to_hex(colour) for colour in colours))}


def _image(image: AxesImage, data: Transform) -> dict[str, Any]:
    values: NDArray[np.float64] = np.ma.filled(np.ma.asarray(image.get_array(), dtype=float), np.nan)
    left, right, bottom, top = image.get_extent()
    points = in_data([(left, bottom), (right, top)], image.get_transform(), data)
    limits = image.get_clim() if values.ndim == 2 else (0, 255 if np.nanmax(values, initial=0) > 1 else 1)
    return {"kind": "image", **_label(image), "shape": list(values.shape), "values": _numbers(_coarse(values)),
            "clim": _numbers(limits), "cmap": image.get_cmap().name, **_xy(points)}  # fmt: skip


def _coarse(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the means of at most 16 × 16 blocks."""
    for axis in (0, 1):
        blocks = np.array_split(values, min(_GRID, values.shape[axis]), axis=axis)
        values = np.stack([block.mean(axis=axis) for block in blocks], axis=axis)
    return values


def _text(text: Text, data: Transform) -> dict[str, Any]:
    place = in_data([text.get_position()], text.get_transform(), data)
    points = np.vstack([place, [text.xy]]) if isinstance(text, Annotation) and text.xycoords == "data" else place
    return {"kind": "text", "text": text.get_text(), "colour": to_hex(text.get_color()), **_xy(points)}


_DESCRIBE: dict[type[Artist], Callable[[Any, Transform], dict[str, Any]]] = {
    Line2D: _line,
    Rectangle: _rectangle,
    Patch: _patch,
    Collection: _collection,
    AxesImage: _image,
    Text: _text,
}


def _label(artist: Artist) -> dict[str, str]:
    """Return the label, unless it is one of matplotlib's own, which begin with an underscore."""
    label = str(artist.get_label() or "")
    return {} if label.startswith("_") or not label else {"label": label}


def in_data(points: ArrayLike, transform: Transform, data: Transform) -> NDArray[np.float64]:
    """Return points of another frame (of the axes, of the page) in data coordinates; those there stay exact."""
    points = np.ma.filled(np.ma.asarray(points, dtype=float), np.nan)
    if transform == data:
        return points
    moved = data.inverted().transform(transform.transform(points))
    if not isinstance(transform, BlendedGenericTransform):
        return moved
    return np.where(transform.contains_branch_seperately(data), points, moved)


def _xy(points: NDArray[np.float64]) -> dict[str, Any]:
    return {"n": len(points), "x": _numbers(points[:, 0]), "y": _numbers(points[:, 1])}


def _numbers(values: ArrayLike) -> list[float | None]:
    """Return rounded numbers; None for what is not finite; block means where there are too many."""
    array = np.asarray(values, dtype=float).ravel()
    if len(array) > _LONG:
        array = np.array([block.mean() for block in np.array_split(array, _LONG)])
    finite = array[np.isfinite(array)]
    digits = _digits(finite)
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in array.tolist()]


def _digits(finite: NDArray[np.float64]) -> int:
    """Return how many digits to keep: six, and as many more as the values share (dates, say, share four)."""
    spread = float(np.ptp(finite)) if len(finite) else 0.0
    if spread == 0:
        return _DIGITS + 3
    shared = math.log10(float(np.abs(finite).max()) / spread)
    return min(15, _DIGITS + max(0, math.ceil(shared)))
