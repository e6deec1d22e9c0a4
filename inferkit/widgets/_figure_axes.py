"""Axes of a live figure: limits that rest while a slider moves, ticks, and places in pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferkit._base import InputError

Floats = NDArray[np.float64]
Limits = tuple[float, float]

FAR = 20_000.0  # pixels: what lies farther away is out of sight, and renderers choke on huge numbers
CLOSE = 0.02  # parts of the span
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Axis:
    """What the reader has said about an axis.

    Parameters
    ----------
    label : str
        Its name and unit.
    low, high : float or None
        Its limits; None follows the data.
    log : bool
        Whether it is logarithmic.
    names : tuple of str
        Texts for the places 0, 1, 2, ... in place of numbers; empty for numbers.
    """

    label: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    names: tuple[str, ...] = ()

    def check(self, values: Floats, what: str) -> None:
        """Raise `InputError` if values cannot stand on the axis."""
        if self.log and len(values) and values.min() <= 0:
            raise InputError(
                f"{what}: expected values above 0 on the logarithmic axis {self.label!r}, got {values.min():g}; "
                "leave it out, or use a linear axis"
            )


def make_axis(which: str, label: str, limits: Any = None, scale: str = "linear", names: Sequence[str] = ()) -> Axis:
    """Return an axis, checked.

    Parameters
    ----------
    which : {"x", "y"}
    label : str
        Not empty: an axis without a name says nothing.
    limits : (float or None, float or None), optional
    scale : {"linear", "log"}
    names : sequence of str, optional

    Returns
    -------
    Axis

    Raises
    ------
    InputError
        If one of them cannot be used.

    Examples
    --------
    >>> make_axis("y", "density", (0, None)).low
    0.0
    """
    if not isinstance(label, str) or not label.strip():
        raise InputError(f'{which}label: expected what the axis shows and its unit, as in "dose, mg", got {label!r}')
    if scale not in ("linear", "log"):
        raise InputError(f"{which}scale: expected linear or log, got {scale!r}")
    ends = (None, None) if limits is None else limits
    if not (isinstance(ends, Sequence) and len(ends) == 2 and all(_is_end(end) for end in ends)):
        raise InputError(f"{which}lim: expected (low, high), each a finite number or None, got {limits!r:.60}")
    low, high = (None if end is None else float(end) for end in ends)
    if (low is not None and high is not None and low >= high) or (scale == "log" and min(low or 1, high or 1) <= 0):
        raise InputError(f"{which}lim: expected {'0 < ' * (scale == 'log')}low < high, got {limits!r}")
    if scale == "log" and 0.0 in (low, high):
        raise InputError(f"{which}lim: expected limits above 0 on a logarithmic axis, got {limits!r}")
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{which}names: expected texts for the places 0, 1, 2, ..., got {names!r:.60}")
    return Axis(label.strip(), low, high, scale == "log", tuple(names))


def _is_end(end: Any) -> bool:
    is_number = isinstance(end, int | float | np.number) and not isinstance(end, bool)
    return end is None or (is_number and abs(float(end)) <= 1e100)


def limits_of(axis: Axis, values: Floats, held: Limits | None = None, *, margin: float = 0.0) -> Limits:
    """Return an axis' limits: as given, else as they were, else wide enough for the values.

    Parameters
    ----------
    axis : Axis
    values : ndarray of float64, shape (n,)
        What must be in sight; at least one.
    held : (float, float), optional
        The limits so far. They stay while all values lie inside, and else only widen.
    margin : float, default=0
        The part of the span to leave free at each end. Above 0, the ends are rounded to ticks, so that
        they need not move again soon; else only where a tick is close.

    Returns
    -------
    (float, float)
        The first below the second.

    Examples
    --------
    >>> limits_of(Axis("y"), np.array([0.0, 0.93]), margin=0.05)
    (0.0, 1.0)
    >>> limits_of(Axis("y"), np.array([0.2, 0.4]), (0.0, 1.0))
    (0.0, 1.0)
    """
    if axis.names:
        return -0.5, len(axis.names) - 0.5
    inside = np.clip(values, -math.inf if axis.low is None else axis.low, math.inf if axis.high is None else axis.high)
    low, high = float(inside.min()), float(inside.max())
    if held is None or not (held[0] <= low and high <= held[1]):
        if held is not None:
            low, high = min(low, held[0]), max(high, held[1])
        low, high = (_wide_log if axis.log else _wide)(low, high, margin)
    else:
        low, high = held
    return low if axis.low is None else axis.low, high if axis.high is None else axis.high


def _wide(low: float, high: float, margin: float) -> Limits:
    if high - low <= max(1e-9 * max(abs(low), abs(high)), 1e-90):  # one value: some room on both sides of it
        room = 0.1 * abs(low) if abs(low) > 1e-80 else 0.5
        return low - room, high + room
    room = margin * (high - low)
    floor = 0.0 if low >= 0 and low - room < 0 else low - room  # what cannot be negative gets no negative ticks
    roof = 0.0 if high <= 0 and high + room > 0 else high + room
    step, digits = tick_step(roof - floor, 8)
    below = min(low, round(math.floor(floor / step) * step, digits))
    above = max(high, round(math.ceil(roof / step) * step, digits))
    if margin:
        return below, above
    near = CLOSE * (high - low)
    return below if low - below <= near else low, above if above - high <= near else high


def _wide_log(low: float, high: float, margin: float) -> Limits:
    if high <= 1.001 * low:
        return low / 2, high * 2
    if not margin:
        return low, high
    below = [s * 10.0**k for k in (_power(low) - 1, _power(low)) for s in (1, 2, 5) if s * 10.0**k <= low]
    above = [s * 10.0**k for k in (_power(high), _power(high) + 1) for s in (1, 2, 5) if s * 10.0**k >= high]
    return max(below), min(above)


def _power(value: float) -> int:
    return math.floor(math.log10(value))


def tick_step(span: float, most: int) -> tuple[float, int]:
    """Return the smallest of 1, 2 and 5 times a power of ten that fits a span at most so often, and its decimals.

    Examples
    --------
    >>> tick_step(1.0, 5)
    (0.2, 1)
    """
    power = _power(span / most)
    factor = next(f for f in (1, 2, 5, 10) if f * 10.0**power >= span / most * (1 - 1e-9))
    power, factor = (power + 1, 1) if factor == 10 else (power, factor)
    return factor * 10.0**power, max(0, -power)


def ticks_of(axis: Axis, limits: Limits, most: int) -> list[tuple[float, str]]:
    """Return an axis' ticks: where they stand, and their texts.

    Parameters
    ----------
    axis : Axis
    limits : (float, float)
    most : int
        How many there is room for, at least 2.

    Returns
    -------
    list of (float, str)
        Rising.

    Examples
    --------
    >>> ticks_of(Axis("x"), (0, 1), 6)
    [(0.0, '0.0'), (0.2, '0.2'), (0.4, '0.4'), (0.6, '0.6'), (0.8, '0.8'), (1.0, '1.0')]
    >>> [text for _, text in ticks_of(Axis("x", log=True), (1, 1e6), 7)]
    ['1', '10', '100', '1,000', '10⁴', '10⁵', '10⁶']
    """
    if axis.names:
        return [(float(i), name) for i, name in enumerate(axis.names)]
    if axis.log and (found := _log_ticks(*limits, most)):
        return found
    step, digits = tick_step(limits[1] - limits[0], max(1, most - 1))
    slack = 1e-9 * (limits[1] - limits[0]) / step
    places = range(math.ceil(limits[0] / step - slack), math.floor(limits[1] / step + slack) + 1)
    return [(value := round(k * step, digits), _number(value, digits)) for k in places]


def _log_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Return whole powers of ten, with 2 and 5 between them if there is room; nothing for less than two."""
    powers = range(_power(low), _power(high) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        inside = [s * 10.0**k for k in powers for s in steps if low * (1 - 1e-9) <= s * 10.0**k <= high * (1 + 1e-9)]
        if 2 <= len(inside) <= most:
            return [(value, _log_number(value, low, high)) for value in inside]
    every = -(-len(powers) // most)
    inside = [10.0**k for k in powers if k % every == 0 and low * (1 - 1e-9) <= 10.0**k <= high * (1 + 1e-9)]
    return [(value, _log_number(value, low, high)) for value in inside] if len(inside) > 1 else []


def _log_number(value: float, low: float, high: float) -> str:
    power = _power(value * (1 + 1e-9))
    plain = -4 <= power <= 3 or (power <= 5 and high / low < 1e4)
    if plain or f"{value:.0e}"[0] != "1":
        return (
            _number(value, max(0, -power)) if plain else f"{f'{value:.0e}'[0]}·10{str(power).translate(_SUPERSCRIPTS)}"
        )
    return f"10{str(power).translate(_SUPERSCRIPTS)}"


def _number(value: float, digits: int) -> str:
    shown = f"{value:,.{digits}f}" if digits <= 6 and abs(value) < 1e9 else f"{value:.6g}"
    return shown.replace("-", "−")


@dataclass(frozen=True)
class Scale:
    """From an axis' values to pixels.

    Parameters
    ----------
    limits : (float, float)
    start, end : float
        Where the limits lie, in pixels.
    log : bool
    """

    limits: Limits
    start: float
    end: float
    log: bool = False

    def __call__(self, values: Any) -> Floats:
        """Return places in pixels, at most `FAR` away."""
        along = np.log10(values) if self.log else np.asarray(values, np.float64)
        low, high = np.log10(self.limits) if self.log else self.limits
        share = (along - low) / (high - low)
        return np.asarray(np.clip(self.start + share * (self.end - self.start), -FAR, FAR))
