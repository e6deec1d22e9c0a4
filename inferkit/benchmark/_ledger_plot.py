"""The figure of a ledger: every entry with its interval, and each machine's front."""

import math
from collections.abc import Sequence
from itertools import cycle, pairwise
from typing import TYPE_CHECKING

import numpy as np

from .._base import InputError
from ._entry import Entry
from ._ledger_views import Quantity, digits, entries_not_beaten, machines, names, quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

Point = tuple[float, float]

_GREY = "#555555"
_WIDE = 3.0  # from this ratio of the largest value to the smallest on, an axis is logarithmic
_DOT_POINTS = 7  # half a marker, with a little air
# Where a label may stand, best first: direction from its point, and distance in points.
_PLACES = [
    (dx, dy, distance)
    for distance in (9, 24, 42)
    for dx, dy in ((1, 0), (0, 1), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))
]


def draw(entries: Sequence[Entry], x: str, y: str) -> "Figure":
    """Draw the entries, their intervals, and each machine's front.

    Parameters
    ----------
    entries : sequence of Entry
    x, y : str
        Fields that can be axes.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If `x` or `y` is no such field, or no entry has both.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from ..plots import slide_size, use_style

    across, up = quantity(entries, x), quantity(entries, y)
    placed = [entry for entry in entries if across.of(entry) is not None and up.of(entry) is not None]
    if not placed:
        missing = "the ledger is empty" if not entries else f"none of its {len(entries)} entries has both"
        raise InputError(f"expected entries with {x} and {y}, but {missing}; compare({{...}}, X, y) measures them")
    with rc_context():  # the style is this figure's; the reader's own stays as it was
        use_style()
        fig = Figure(figsize=slide_size(), layout="constrained")
        ax = fig.add_subplot()
        _set_up(ax, placed, across, up)
        _draw_entries(ax, placed, across, up)
    return fig


def _set_up(ax: "Axes", placed: Sequence[Entry], across: Quantity, up: Quantity) -> None:
    for axis, one, set_scale in ((ax.xaxis, across, ax.set_xscale), (ax.yaxis, up, ax.set_yscale)):
        ends = [end for entry in placed for end in _drawn_ends(one, entry)]
        # Shares stay linear, and so does what cannot be on a logarithmic axis, or needs none.
        is_log = one.unit != "%" and 0 < _WIDE * min(ends) <= max(ends)
        if is_log:
            set_scale("log")
            _set_ticks(axis, math.log10(max(ends) / min(ends)))
        better = "more is better" if one.more_is_better else "less is better"
        axis.set_label_text(f"{one.label}, {one.unit} ({'log, ' if is_log else ''}{better})")
    ax.margins(x=0.15, y=0.15)
    by_id = machines(placed)
    if len(by_id) == 1:
        ax.set_title(next(iter(by_id.values())))


def _set_ticks(axis: "Axis", decades: float) -> None:
    """Write plain numbers at a logarithmic axis, and enough of them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 3 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: digits(value) if value >= 1000 else f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def _drawn_ends(one: Quantity, entry: Entry) -> Point:
    """Return the ends of the bar; an open end is drawn as none."""
    value, (low, high) = one.of(entry) or 0.0, one.interval(entry)
    return (low if low > 0 else value), (high if high < math.inf else value)


def _draw_entries(ax: "Axes", placed: Sequence[Entry], across: Quantity, up: Quantity) -> None:
    from ..plots import COLOURS, label_lines

    by_id = machines(placed)
    colours = dict(zip(by_id, cycle(COLOURS.values()), strict=False))
    kept = entries_not_beaten(placed, across.field, up.field)
    for entry in placed:
        _draw_entry(ax, entry, across, up, colours[entry.machine_id], beaten=entry not in kept)
    if len(kept) < len(placed):
        ax.set_title("hollow: beaten", loc="right", color=_GREY, fontsize="medium", fontweight="normal")
    ax.autoscale_view()
    ax.set(xlim=ax.get_xlim(), ylim=ax.get_ylim())  # settled: the fronts end at the edges
    for key, machine in by_id.items():
        own = [entry for entry in placed if entry.machine_id == key]
        label = machine if len(by_id) > 1 else "_front"
        ax.plot(*zip(*_front(ax, own, across, up), strict=True), color=colours[key], lw=2, alpha=0.6, label=label)
    label_lines(ax)
    tints = [colours[entry.machine_id] if entry in kept else _GREY for entry in placed]
    _label_points(ax, [_point(entry, across, up) for entry in placed], names(placed), tints)


def _point(entry: Entry, across: Quantity, up: Quantity) -> Point:
    return across.of(entry) or 0.0, up.of(entry) or 0.0


def _draw_entry(ax: "Axes", entry: Entry, across: Quantity, up: Quantity, colour: str, *, beaten: bool) -> None:
    x, y = _point(entry, across, up)
    (left, right), (bottom, top) = _drawn_ends(across, entry), _drawn_ends(up, entry)
    ax.errorbar(
        x, y, xerr=[[x - left], [right - x]], yerr=[[y - bottom], [top - y]], fmt="o", color=colour, ms=11, mew=2,
        mfc="white" if beaten else colour, elinewidth=1.8, zorder=3,
    )  # fmt: skip


def _front(ax: "Axes", entries: Sequence[Entry], across: Quantity, up: Quantity) -> list[Point]:
    """Return the corners of the line between what is worth having and what is beaten, from left to right."""
    signs = [-1 if one.more_is_better else 1 for one in (across, up)]
    costs = sorted({(signs[0] * x, signs[1] * y) for x, y in (_point(entry, across, up) for entry in entries)})
    best = [costs[0]]
    best += [cost for place, cost in enumerate(costs) if place and cost[1] < min(c[1] for c in costs[:place])]
    (left, right), (bottom, top) = sorted(ax.get_xlim()), sorted(ax.get_ylim())
    worst = (-left if across.more_is_better else right), (-bottom if up.more_is_better else top)
    corners = [(best[0][0], worst[1]), best[0]]
    for before, after in pairwise(best):
        corners += [(after[0], before[1]), after]
    corners.append((worst[0], best[-1][1]))
    line = [(signs[0] * x, signs[1] * y) for x, y in corners]
    return line[::-1] if across.more_is_better else line


# -- labels at the points ----------------------------------------------------------------------


def _label_points(ax: "Axes", points: Sequence[Point], texts: Sequence[str], colours: Sequence[str]) -> None:
    """Write each point's name where it covers least of what is there."""
    ax.get_figure(root=True).draw_without_rendering()  # type: ignore[union-attr]  # settles where everything is
    taken = _obstacles(ax, points)
    for point, text, colour in zip(points, texts, colours, strict=True):
        note = ax.annotate(text, point, xytext=(0, 0), textcoords="offset points", color=colour, zorder=4)
        note.set_in_layout(False)
        best = min(range(len(_PLACES)), key=lambda place: (_covered(ax, note, place, taken), place))
        taken.append(_put(note, best))


def _put(note: "Annotation", place: int) -> "Bbox":
    """Move a label to one of its places; return what it covers there, in pixels."""
    dx, dy, distance = _PLACES[place]
    note.set_position((dx * distance, dy * distance))
    note.set(ha={1: "left", 0: "center", -1: "right"}[dx], va={1: "bottom", 0: "center", -1: "top"}[dy])
    return note.get_window_extent()


def _covered(ax: "Axes", note: "Annotation", place: int, taken: Sequence["Bbox"]) -> int:
    """Return how much a label would cover or stick out, in coarse steps, so that near ties go to the better place."""
    box, field = _put(note, place), ax.get_window_extent()
    outside = box.width * box.height - _common(box, field)
    return round((10 * outside + sum(_common(box, other) for other in taken)) / 40)


def _common(a: "Bbox", b: "Bbox") -> float:
    """Return the area that two boxes share."""
    width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    return width * height if width > 0 and height > 0 else 0.0


def _obstacles(ax: "Axes", points: Sequence[Point]) -> list["Bbox"]:
    """Return what labels should not cover, in pixels: points, bars, fronts (all of them upright or level)."""
    from matplotlib.transforms import Bbox

    dot = _DOT_POINTS * ax.figure.dpi / 72
    found = [Bbox([[x - dot, y - dot], [x + dot, y + dot]]) for x, y in ax.transData.transform(points)]
    bars = [bar for bars in ax.collections for bar in bars.get_segments()]  # type: ignore[attr-defined]
    lines = [list(pairwise(np.asarray(line.get_xydata()))) for line in ax.lines]  # a single point gives none
    for start, end in [*bars, *(part for line in lines for part in line)]:
        (x0, y0), (x1, y1) = ax.transData.transform([start, end])
        found.append(Bbox([[min(x0, x1) - 2, min(y0, y1) - 2], [max(x0, x1) + 2, max(y0, y1) + 2]]))
    return found
