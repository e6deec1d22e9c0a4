"""Street signs as layers of simple shapes, each a signed distance: below 0 inside, above 0 outside.

Coordinates: u to the right, v down, the sign's middle at (0, 0), and its rim about 1 away. What a function here takes
and gives are float32 arrays of any one shape.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Shape = Callable[[Floats, Floats], Floats]
Colour = tuple[float, float, float]

RED, BLUE, YELLOW = (0.75, 0.07, 0.10), (0.04, 0.28, 0.66), (0.97, 0.74, 0.05)
WHITE, BLACK = (0.95, 0.95, 0.93), (0.07, 0.07, 0.08)


def disc(radius: float, u0: float = 0.0, v0: float = 0.0) -> Shape:
    """Return a disc."""
    return lambda u, v: np.asarray(np.hypot(u - u0, v - v0) - radius)


def box(left: float, top: float, right: float, bottom: float) -> Shape:
    """Return a rectangle with upright sides."""
    u0, v0, a, b = (left + right) / 2, (top + bottom) / 2, (right - left) / 2, (bottom - top) / 2
    return lambda u, v: np.maximum(np.abs(u - u0) - a, np.abs(v - v0) - b)


def triangle(inner: float, *, up: bool = True) -> Shape:
    """Return a triangle of equal sides around the middle, whose sides are `inner` away from it."""
    down = 1.0 if up else -1.0
    return lambda u, v: np.maximum(down * v, np.abs(u) * np.float32(0.866) - down * v * 0.5) - inner


def octagon(inner: float) -> Shape:
    """Return an octagon that stands on a side."""
    half = np.float32(np.sqrt(0.5))
    return lambda u, v: np.maximum(np.maximum(np.abs(u), np.abs(v)), (np.abs(u) + np.abs(v)) * half) - inner


def diamond(inner: float) -> Shape:
    """Return a square that stands on a corner."""
    half = np.float32(np.sqrt(0.5))
    return lambda u, v: (np.abs(u) + np.abs(v)) * half - inner


def slash(width: float, *, falling: bool = True) -> Shape:
    """Return a band without end through the middle, down to the right if it is falling."""
    sign, half = (-1.0 if falling else 1.0), np.float32(np.sqrt(0.5))
    return lambda u, v: np.abs(v + sign * u) * half - width / 2


def both(*shapes: Shape) -> Shape:
    """Return what belongs to all the shapes."""
    return lambda u, v: np.maximum.reduce([shape(u, v) for shape in shapes])


def either(*shapes: Shape) -> Shape:
    """Return what belongs to any of the shapes."""
    return lambda u, v: np.minimum.reduce([shape(u, v) for shape in shapes])


def turned_left(shape: Shape) -> Shape:
    """Return a shape after a quarter turn: what pointed up points to the left."""
    return lambda u, v: shape(-v, u)


def mirrored(shape: Shape) -> Shape:
    """Return a shape as a mirror shows it: left is right."""
    return lambda u, v: shape(-u, v)


def head(tip: float, wing: float) -> Shape:
    """Return the head of an arrow that points up, from its tip at −`tip` down, its sides at 45°."""
    half = np.float32(np.sqrt(0.5))
    return lambda u, v: np.maximum((np.abs(u) - v - tip) * half, v + tip - wing)


def letters(height: float) -> Shape:
    """Return the word STOP, three points wide and five high for each letter, 15 points in all."""
    side = height / 5
    word = np.array([[c == "#" for c in row] for row in _STOP])

    def inside(u: Floats, v: Floats) -> Floats:
        column = np.clip(np.floor(u / side + 7.5).astype(int), 0, 14)
        row = np.clip(np.floor(v / side + 2.5).astype(int), 0, 4)
        inked = word[row, column] & (np.abs(u) < 7.5 * side) & (np.abs(v) < 2.5 * side)
        return np.where(inked, np.float32(-1), np.float32(1))

    return inside


_STOP = ("### ### ### ###", "#    #  # # # #", "###  #  # # ###", "  #  #  # # #  ", "###  #  ### #  ")
_ARROW = either(box(-0.16, -0.3, 0.16, 0.68), head(0.72, 0.5))
_HOOK = either(  # up, then to the left
    box(0.06, -0.28, 0.3, 0.56),
    box(-0.2, -0.28, 0.3, -0.04),
    turned_left(lambda u, v: head(0.58, 0.4)(u - 0.16, v)),
)


@dataclass(frozen=True)
class Sign:
    """A sign: its name, and its layers from the back to the front. The first one is the whole sign."""

    name: str
    layers: tuple[tuple[Shape, Colour], ...]


def _forbidden(symbol: Shape) -> tuple[tuple[Shape, Colour], ...]:
    bar = both(slash(0.16), disc(0.8))
    return ((disc(1), RED), (disc(0.76), WHITE), (both(symbol, disc(0.76)), BLACK), (bar, RED))


def _obligatory(symbol: Shape) -> tuple[tuple[Shape, Colour], ...]:
    return ((disc(1), WHITE), (disc(0.94), BLUE), (symbol, WHITE))


SIGNS = (
    Sign(
        "danger",
        (
            (triangle(0.56), RED),
            (triangle(0.34), WHITE),
            (either(box(-0.08, -0.42, 0.08, 0.06), disc(0.1, 0.0, 0.2)), BLACK),
        ),
    ),
    Sign("give way", ((triangle(0.56, up=False), RED), (triangle(0.32, up=False), WHITE))),
    Sign("stop", ((octagon(0.98), WHITE), (octagon(0.92), RED), (letters(0.55), WHITE))),
    Sign("priority road", ((diamond(0.76), BLACK), (diamond(0.73), WHITE), (diamond(0.5), YELLOW))),
    Sign("no entry", ((disc(1), WHITE), (disc(0.95), RED), (box(-0.66, -0.17, 0.66, 0.17), WHITE))),
    Sign("no vehicles", ((disc(1), RED), (disc(0.72), WHITE))),
    Sign("no left turn", _forbidden(_HOOK)),
    Sign("no right turn", _forbidden(mirrored(_HOOK))),
    Sign("no parking", ((disc(1), RED), (disc(0.76), BLUE), (both(slash(0.2), disc(0.8)), RED))),
    Sign("straight ahead", _obligatory(_ARROW)),
    Sign("turn left", _obligatory(turned_left(_ARROW))),
    Sign("turn right", _obligatory(mirrored(turned_left(_ARROW)))),
)
