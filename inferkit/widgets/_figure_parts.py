"""What a live figure is made of, checked where it is made: curves, bands, points, bars, lines, numbers to read."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from inferkit._base import InputError
from inferkit.plots import COLOURS

from ._figure_numbers import Floats, alike, check_order, numbers, single
from ._reading import number_in_words

MOST_IN_ALL = 10_000
LONGEST_LABEL = 60


def _nothing() -> Floats:
    return np.empty(0)


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a live figure, as `curve`, `band`, `points`, `bars`, `line` or `text` makes it.

    Parameters
    ----------
    kind : str
        The name of the function that made it.
    label : str
        What stands beside it; empty for none.
    colour : str or None
        A name of `inferkit.plots.COLOURS`. None takes the next one.
    x, y, low, high : ndarray of float64, shape (n,)
        Its numbers; empty where it has none. Of bars, `low` and `high` are the edges.
    dashed, thin, hollow, across : bool
        How it is drawn; `across` turns the error bars of points to lie along x.
    at : {"end", "top"} or None
        Where its label stands.
    words : str
        What a text says.
    """

    kind: str
    label: str = ""
    colour: str | None = None
    x: Floats = field(default_factory=_nothing)
    y: Floats = field(default_factory=_nothing)
    low: Floats = field(default_factory=_nothing)
    high: Floats = field(default_factory=_nothing)
    dashed: bool = False
    thin: bool = False
    hollow: bool = False
    across: bool = False
    at: str | None = None
    words: str = ""

    @property
    def size(self) -> int:
        """How many points it has; a text has none."""
        return max(len(self.x), len(self.y))


def curve(
    x: ArrayLike, y: ArrayLike, *, label: str = "", colour: str | None = None, dashed: bool = False,
    thin: bool = False, at: str | None = None,
) -> Part:  # fmt: skip
    """Make a curve through points, for a `LiveFigure`.

    Parameters
    ----------
    x, y : array-like of float, shape (n,)
        Finite, at most 2,000 of each.
    label : str, optional
        Stands beside the curve.
    colour : str, optional
        A name of `inferkit.plots.COLOURS`. Without it the parts take them in turn; the same label, the same colour.
    dashed : bool, default=False
        For what is a reference and not a result.
    thin : bool, default=False
        For one of many, such as the draws of a posterior.
    at : {"end", "top"}, optional
        Where the label stands. Without it: at the top of a hump, at the end of anything else.

    Returns
    -------
    Part

    Raises
    ------
    InputError
        If the numbers are not finite, are too many, or do not fit each other, or the colour has no such name.

    Examples
    --------
    >>> part = curve([0, 1], [0, 1], label="truth", dashed=True)
    >>> part.kind, part.size
    ('curve', 2)
    """
    xs, ys = alike(x=x, y=y)
    return Part("curve", *_named(label, colour), xs, ys, dashed=dashed, thin=thin, at=_one_of("at", at, "end", "top"))


def band(x: ArrayLike, low: ArrayLike, high: ArrayLike, *, label: str = "", colour: str | None = None) -> Part:
    """Make a band between two curves, for a `LiveFigure`.

    Parameters
    ----------
    x, low, high : array-like of float, shape (n,)
        Finite, at most 2,000 of each; ``low <= high``.
    label : str, optional
        Stands at its right end.
    colour : str, optional
        As in `curve`. Without label and colour it takes the colour of the part before it.

    Returns
    -------
    Part

    Raises
    ------
    InputError
        As in `curve`; and if `low` lies above `high` somewhere.

    Examples
    --------
    >>> band([0, 1], [0, 0], [1, 2]).high.tolist()
    [1.0, 2.0]
    """
    xs, lows, highs = alike(x=x, low=low, high=high)
    check_order(lows, highs)
    return Part("band", *_named(label, colour), xs, low=lows, high=highs)


def points(
    x: ArrayLike, y: ArrayLike, *, low: ArrayLike | None = None, high: ArrayLike | None = None, across: bool = False,
    label: str = "", colour: str | None = None, hollow: bool = False,
) -> Part:  # fmt: skip
    """Make points, with error bars if wanted, for a `LiveFigure`.

    Parameters
    ----------
    x, y : array-like of float, shape (n,), or float
        Finite, at most 2,000 of each.
    low, high : array-like of float, shape (n,), or float, optional
        The ends of the error bars, on the axis itself (not as distances). Both or neither.
    across : bool, default=False
        Whether the error bars lie along x; else they lie along y.
    label, colour : str, optional
        As in `curve`. The label stands at the point farthest right.
    hollow : bool, default=False
        Rings in place of dots, so that two sets are told apart without their colours.

    Returns
    -------
    Part

    Raises
    ------
    InputError
        As in `curve`; and if only one end of the error bars is given, or `low` lies above `high`.

    Examples
    --------
    >>> points([1, 2], [3, 4], low=[2, 3], high=[5, 5]).low.tolist()
    [2.0, 3.0]
    """
    if (low is None) != (high is None):
        raise InputError("points: expected both ends of the error bars or neither; give low=... and high=...")
    ends = {} if low is None or high is None else {"low": low, "high": high}
    xs, ys, *checked = alike(x=x, y=y, **ends)
    lows, highs = checked or (_nothing(), _nothing())
    check_order(lows, highs)
    return Part("points", *_named(label, colour), xs, ys, lows, highs, hollow=hollow, across=across)


def bars(x: ArrayLike, height: ArrayLike, *, label: str = "", colour: str | None = None) -> Part:
    """Make bars that stand on 0, or a histogram, for a `LiveFigure`.

    Parameters
    ----------
    x : array-like of float, shape (n,) or (n + 1,)
        The middle of each bar; or, if there is one more than there are heights, their rising edges.
    height : array-like of float, shape (n,)
        Finite, at most 2,000.
    label, colour : str, optional
        As in `curve`. The label stands at the highest bar.

    Returns
    -------
    Part

    Raises
    ------
    InputError
        As in `curve`; and if the places do not rise.

    Examples
    --------
    >>> counts, edges = np.histogram([1, 1, 2, 3], bins=3)
    >>> bars(edges, counts).y.tolist()
    [2.0, 1.0, 1.0]
    """
    places, heights = numbers("x", x), numbers("height", height)
    if len(places) not in (len(heights), len(heights) + 1):
        raise InputError(f"bars: expected {len(heights)} places or {len(heights) + 1} edges, got {len(places)}")
    gaps = np.diff(places)
    if (gaps <= 0).any():
        raise InputError("x: expected places that rise from bar to bar; sort them, and join what is twice there")
    if len(places) > len(heights):
        low, high = places[:-1], places[1:]
    else:
        half = 0.4 * (gaps.min() if len(gaps) else 1.0)
        low, high = places - half, places + half
    return Part("bars", *_named(label, colour), (low + high) / 2, heights, low, high)


def line(
    *, x: float | None = None, y: float | None = None, label: str = "", colour: str | None = None, dashed: bool = True
) -> Part:
    """Make a straight line across the whole figure, for a `LiveFigure`: upright at `x`, or level at `y`.

    Parameters
    ----------
    x, y : float
        One of them.
    label : str, optional
        Stands at its top or its right end.
    colour : str, optional
        As in `curve`; black without it.
    dashed : bool, default=True
        Whether it is dashed.

    Returns
    -------
    Part

    Raises
    ------
    InputError
        If not exactly one place is given, or it is not a finite number.

    Examples
    --------
    >>> line(x=0.5, label="threshold").x.tolist()
    [0.5]
    """
    if (x is None) == (y is None):
        raise InputError("line: expected one place, x=... for an upright line or y=... for a level one")
    xs, ys = _nothing() if x is None else single("x", x), _nothing() if y is None else single("y", y)
    return Part("line", *_named(label, colour or "black"), xs, ys, dashed=dashed)


def text(label: str, value: Any) -> Part:
    """Make a number to read beside a `LiveFigure`.

    Parameters
    ----------
    label : str
        What it is.
    value : str or number
        A number is shown with four digits; write its unit into a str: ``text("mean width", f"{w:.1f} mg")``.

    Returns
    -------
    Part

    Raises
    ------
    InputError
        If the label is empty.

    Examples
    --------
    >>> text("interval", 0.123456).words
    '0.1235'
    """
    label, _ = _named(label, None)
    if not label:
        raise InputError('text: expected what the number is, as in text("mean width", "3.1 mg"), got an empty label')
    plain = value.item() if isinstance(value, np.generic) else value
    return Part("text", label, words=number_in_words(plain))


def parts_of(made: Any) -> tuple[Part, ...]:
    """Return what a live figure's function has returned as a tuple of parts, checked.

    Parameters
    ----------
    made : Part or iterable of Part

    Returns
    -------
    tuple of Part

    Raises
    ------
    InputError
        If it is something else, has nothing to draw, or has more than 10,000 points.

    Examples
    --------
    >>> [part.kind for part in parts_of([line(x=1), text("n", 3)])]
    ['line', 'text']
    """
    listed = [made] if isinstance(made, Part) or not isinstance(made, Iterable) else list(made)
    for part in listed:
        if not isinstance(part, Part):
            raise InputError(
                f"expected a list of parts such as curve(x, y) and text(label, value), got {type(part).__name__}; "
                "end the function with: return [curve(x, y)]"
            )
    if not any(part.size for part in listed):
        raise InputError("expected something to draw, got none; give at least one curve, band, points, bars or line")
    if (count := sum(part.size for part in listed)) > MOST_IN_ALL:
        raise InputError(f"expected at most {MOST_IN_ALL:,} points in all, got {count:,}; give every second: x[::2]")
    return tuple(listed)


def coloured(parts: Iterable[Part]) -> list[tuple[Part, str]]:
    """Return each part with the name of its colour.

    Parameters
    ----------
    parts : iterable of Part

    Returns
    -------
    list of (Part, str)
        Those without a colour take them in turn. Parts of one label share a colour; a band with
        neither takes that of the part before it.

    Examples
    --------
    >>> [c for _, c in coloured([curve([1], [1], label="a"), band([1], [0], [2]), curve([1], [1], label="b")])]
    ['blue', 'blue', 'orange']
    """
    found: list[tuple[Part, str]] = []
    by_label: dict[str, str] = {}
    turn = list(COLOURS)
    for part in parts:
        colour = part.colour or by_label.get(part.label)
        if colour is None and part.kind == "band" and not part.label and found:
            colour = found[-1][1]
        if colour is None and part.kind != "text":
            colour = turn[0]
            turn = [*turn[1:], colour]
        found.append((part, colour or "black"))
        if part.label and part.kind != "text":
            by_label.setdefault(part.label, colour or "black")
    return found


def _named(label: Any, colour: str | None) -> tuple[str, str | None]:
    if not isinstance(label, str) or len(label) > LONGEST_LABEL:
        raise InputError(f"label: expected a text of at most {LONGEST_LABEL} characters, got {label!r:.80}")
    if colour is not None and (not isinstance(colour, str) or colour not in COLOURS):
        raise InputError(f"colour: expected one of {', '.join(COLOURS)}, got {colour!r}")
    return " ".join(label.split()), colour


def _one_of(name: str, given: str | None, *known: str) -> str | None:
    if given is not None and given not in known:
        raise InputError(f"{name}: expected one of {', '.join(known)}, got {given!r}")
    return given
