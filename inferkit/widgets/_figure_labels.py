"""Where the labels of a live figure stand: at what they name, and never on each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SIZE = 16.0  # pixels of a label's letters
ROW = 20.0  # from one line of text to the next
_NARROW, _WIDE = set("ijl.,:;'|!()[] ftr·"), set("mwMW%@—")
_ROWS = 10  # that a label may go up or down to find a free place
_LOYALTY = 4.0  # a label leaves its place only for one that is better by this
_OUTSIDE, _CROWDED = 1000.0, 2000.0  # to stand on another label is worse than to leave the plot


def text_width(text: str, size: float = SIZE, *, bold: bool = False) -> float:
    """Return about how wide a text is, in pixels: rather too much than too little.

    Examples
    --------
    >>> text_width("mmm") > text_width("iii")
    True
    """
    shares = (
        0.36 if c in _NARROW else 0.95 if c in _WIDE else 0.62 if c.islower() or c.isdigit() else 0.72 for c in text
    )
    return size * sum(shares) * (1.1 if bold else 1.0)


def broken(text: str, width: float) -> tuple[str, ...]:
    """Return a text as lines of about this width.

    Examples
    --------
    >>> broken("one clinic alone", 90)
    ('one clinic', 'alone')
    """
    letters = max(8, int(width / (0.56 * SIZE)))
    return tuple(wrap(text, letters)) or ("",)


@dataclass(frozen=True, eq=False)
class Label:
    """A text, and what it belongs to.

    Parameters
    ----------
    lines : tuple of str
    colour : str
    x, y : float
        The place that it names, in pixels.
    at : {"side", "end", "top", "upright"}
        Beside the plot, or inside it: right of its place, above it, or along an upright line.
    """

    lines: tuple[str, ...]
    colour: str
    x: float
    y: float
    at: str

    @property
    def name(self) -> str:
        """Its whole text."""
        return " ".join(self.lines)

    @property
    def width(self) -> float:
        """Pixels."""
        return max(text_width(line, bold=True) for line in self.lines)

    @property
    def height(self) -> float:
        """Pixels."""
        return ROW * len(self.lines)


def spread(wanted: Sequence[float], heights: Sequence[float], low: float, high: float) -> list[float]:
    """Move middles apart until nothing overlaps, as little as can be.

    Parameters
    ----------
    wanted : sequence of float, shape (n,)
        Where the middles should lie.
    heights : sequence of float, shape (n,)
    low, high : float
        What they should lie between. If there is no room for all, they stand close from `low` on.

    Returns
    -------
    list of float, shape (n,)
        In the order of `wanted`; the sum of squared moves is the smallest that keeps their order.

    References
    ----------
    Pool adjacent violators: R. E. Barlow and others, "Statistical Inference under Order Restrictions", Wiley, 1972.

    Examples
    --------
    >>> spread([10, 12], [20, 20], 0, 100)
    [10.0, 30.0]
    >>> spread([50, 52], [20, 20], 0, 100)
    [41.0, 61.0]
    """
    order = np.argsort(wanted, kind="stable")
    sizes = np.asarray(heights, np.float64)[order]
    offsets = np.concatenate([[0.0], np.cumsum((sizes[1:] + sizes[:-1]) / 2)])[: len(sizes)]
    free = _pooled(np.asarray(wanted, np.float64)[order] - offsets)
    if len(sizes):
        first, last = low + sizes[0] / 2, high - sizes[-1] / 2 - offsets[-1]
        free = np.maximum(np.minimum(free, last), first)
    placed = np.empty(len(sizes))
    placed[order] = free + offsets
    return [float(place) for place in placed]


def _pooled(values: Floats) -> Floats:
    """Return the rising sequence nearest to the values."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        mean, count = float(value), 1
        while blocks and blocks[-1][0] > mean:
            before, many = blocks.pop()
            mean, count = (before * many + mean * count) / (many + count), many + count
        blocks.append((mean, count))
    return np.repeat([mean for mean, _ in blocks], [count for _, count in blocks])


def place_inside(
    labels: Sequence[Label], box: tuple[float, float, float, float], ink: Floats, before: Mapping[str, int]
) -> list[tuple[float, float, int]]:
    """Find each label a place inside the plot, near what it names, off the other labels and the lines.

    Parameters
    ----------
    labels : sequence of Label
    box : (float, float, float, float)
        Left, top, right and bottom of the plot, in pixels.
    ink : ndarray of float64, shape (n, 2)
        Points on all that is drawn.
    before : mapping of str to int
        Which of its places a label had before; it keeps that unless another is clearly better.

    Returns
    -------
    list of (float, float, int)
        Left end and middle of the first line, and which of its places it is.

    Examples
    --------
    >>> place_inside([Label(("a",), "blue", 50, 50, "end")], (0, 0, 100, 100), np.empty((0, 2)), {})[0][2]
    0
    """
    taken: list[Floats] = []
    found = []
    for label in labels:
        boxes = _candidates(label)
        costs = _costs(boxes, box, ink, taken) + 0.1 * np.arange(len(boxes)) + 0.2 * abs(boxes[:, 1] - boxes[0, 1])
        last = before.get(label.name)
        if last is not None and last < len(boxes):
            costs[last] -= _LOYALTY
        best = int(costs.argmin())
        taken.append(boxes[best])
        found.append((float(boxes[best, 0]), float(boxes[best, 1] + ROW / 2), best))
    return found


def _candidates(label: Label) -> Floats:
    """Return boxes (left, top, right, bottom) in which a label could stand, the dearest first."""
    w, h = label.width, label.height
    right, left, middle = 10.0, -w - 10.0, -w / 2
    if label.at == "upright":
        corners = [(side, row) for row in np.arange(8) * ROW for side in (right - 2, left + 2)]
    else:
        above = [(x, -h - 8 - k * 0.6 * h) for k in range(_ROWS) for x in (middle, right, left)]
        beside = [(right, -h / 2), (left, -h / 2)]
        below = [(x, 8.0 + k * 0.6 * h) for k in range(_ROWS) for x in (middle, right, left)]
        corners = above + beside + below if label.at == "top" else beside[:1] + above + beside[1:] + below
    at = np.array(corners) + np.array((label.x, label.y))
    return np.column_stack([at, at + np.array((w, h))])


def _costs(boxes: Floats, plot: tuple[float, float, float, float], ink: Floats, taken: Sequence[Floats]) -> Floats:
    inside = (boxes[:, :2] >= plot[:2]).all(axis=1) & (boxes[:, 2:] <= plot[2:]).all(axis=1)
    near = ink[((ink >= boxes[:, :2].min(axis=0)) & (ink <= boxes[:, 2:].max(axis=0))).all(axis=1)]
    x, y = near.T
    left, top, right, bottom = boxes.T[:, :, None]
    under = ((x >= left) & (x <= right) & (y >= top) & (y <= bottom)).sum(axis=1)
    costs = np.where(inside, 0.0, _OUTSIDE) + 2.0 * np.minimum(under, 50)
    for other in taken:
        overlap = (boxes[:, :2] < other[2:]).all(axis=1) & (other[:2] < boxes[:, 2:]).all(axis=1)
        costs += np.where(overlap, _CROWDED, 0.0)
    return np.asarray(costs)
