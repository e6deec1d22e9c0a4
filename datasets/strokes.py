"""Digits drawn by a program: a supplement for the habits of writing that 13 people do not cover.

Each digit is a function that draws it as strokes, in a box of 1×1 with y pointing down, and rolls dice for the habits:
a 1 with a flag or a base, a crossed 7, an open 4, a 9 with a straight or a curved tail. Points are then moved a little,
and the whole is slanted, turned, stretched and drawn with some pen. Nothing here is traced from anybody's drawing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from inferkit.datasets import picture_from_drawing

Floats = NDArray[np.float64]
Rng = np.random.Generator

_SIDE = 32


def synthetic(n: int, rng: Rng) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return pictures of digits drawn by this program.

    Parameters
    ----------
    n : int
        How many.
    rng : numpy.random.Generator
        Source of all habits.

    Returns
    -------
    X : (n, 8, 8) float32 array
        Ink, 0..16.
    y : (n,) int64 array
        Digits, each as often as any other, give or take one.
    """
    y = rng.permutation(np.arange(n) % 10)
    X = [picture_from_drawing(inked(by_a_hand(DIGITS[digit](rng), rng), rng)) for digit in y]
    return np.stack(X), y.astype(np.int64)


def by_a_hand(strokes: Sequence[Floats], rng: Rng) -> list[Floats]:
    """Slant, turn and stretch strokes, and let them tremble."""
    slant, turn = np.tan(rng.uniform(-0.42, 0.52)), rng.normal(0, 0.07)
    wide = np.exp(rng.uniform(-0.5, 0.45))
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    matrix = np.array([[wide, 0], [-slant, 1]]) @ rotation
    bend = rng.normal(0, rng.uniform(0, 0.45), (3, 2))
    return [_trembled(_bent(stroke - 0.5, bend) @ matrix, rng) for stroke in strokes]


def inked(strokes: Sequence[Floats], rng: Rng) -> NDArray[np.float32]:
    """Draw strokes with a round pen of some width on a field of 32×32, ink 0..1."""
    points = np.concatenate(strokes)
    low, high = points.min(axis=0), points.max(axis=0)
    size = rng.uniform(0.55, 0.95) * _SIDE
    pen = min(np.exp(rng.uniform(np.log(1.2), np.log(5.5))), size / 4.5)  # a thicker one would fill every loop
    scale = (size - pen) / (high - low).max()
    drawn = [(stroke - (low + high) / 2) * scale + _SIDE / 2 for stroke in strokes]
    ink = np.clip(pen / 2 + 0.5 - np.sqrt(_squared_distance(drawn)), 0, 1)
    hard = rng.random() < 0.25  # a pad without soft edges
    return (ink > 0.5 if hard else ink).astype(np.float32)


def _squared_distance(strokes: Sequence[Floats]) -> Floats:
    """Return each pixel's squared distance to the nearest segment."""
    start = np.concatenate([stroke[:-1] for stroke in strokes])
    step = np.concatenate([np.diff(stroke, axis=0) for stroke in strokes])
    y, x = np.indices((_SIDE, _SIDE)) + 0.5
    dx, dy = x[..., None] - start[:, 0], y[..., None] - start[:, 1]
    length = (step**2).sum(axis=1) + 1e-12
    along = np.clip((dx * step[:, 0] + dy * step[:, 1]) / length, 0, 1)
    return ((dx - along * step[:, 0]) ** 2 + (dy - along * step[:, 1]) ** 2).min(axis=-1)


def _bent(stroke: Floats, bend: Floats) -> Floats:
    """Bend the paper: parts grow, shrink and lean, and what touches still touches."""
    x, y = stroke.T
    return stroke + np.column_stack([x * x, x * y, y * y]) @ bend


def _trembled(stroke: Floats, rng: Rng) -> Floats:
    """Add a slow wave across the stroke."""
    t = np.linspace(0, 1, len(stroke))[:, None]
    phase, waves, size = rng.uniform(0, 2 * np.pi, (1, 2)), rng.uniform(0.5, 3), abs(rng.normal(0, 0.015))
    return stroke + size * np.sin(2 * np.pi * waves * t + phase)


def _curve(points: Sequence[tuple[float, float]], rng: Rng, shake: float = 0.03) -> Floats:
    """Return a smooth stroke through points that are moved a little (Catmull-Rom)."""
    p = np.asarray(points, dtype=float) + rng.normal(0, shake, (len(points), 2))
    p = np.vstack([2 * p[0] - p[1], p, 2 * p[-1] - p[-2]])
    t = np.linspace(0, 1, 8, endpoint=False)[:, None]
    spans = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(p, p[1:], p[2:], p[3:], strict=False)
    ]
    return np.vstack([*spans, p[-2:-1]])


def _line(points: Sequence[tuple[float, float]], rng: Rng, shake: float = 0.025) -> Floats:
    """Return a stroke with corners at points that are moved a little."""
    return np.asarray(points, dtype=float) + rng.normal(0, shake, (len(points), 2))


def _arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> Floats:
    """Return a part of an ellipse; angles in turns, 0 at the right, clockwise on the page."""
    angle = 2 * np.pi * np.linspace(start, end, 25)
    return np.column_stack([x + rx * np.cos(angle), y + ry * np.sin(angle)])


def _chance(rng: Rng, share: float) -> bool:
    return bool(rng.random() < share)


def _zero(rng: Rng) -> list[Floats]:
    start, gap, rx = rng.uniform(-0.5, 0.0), rng.uniform(-0.28, 0.12), rng.uniform(0.18, 0.42)
    way = rng.choice([-1, 1])
    ring = _arc(0.5, 0.5, rx, 0.47, start, start + way * (1 - gap))
    closing = np.linspace(0, rng.uniform(-0.2, 0.2), len(ring))[:, None]  # the end misses the start
    return [ring + closing * [1, 0.4]]


def _one(rng: Rng) -> list[Floats]:
    bend = rng.normal(0, 0.025)
    strokes = [_curve([(0.5, 0.02), (0.5 + bend, 0.5), (0.5, 0.98)], rng, 0.012)]
    if _chance(rng, 0.6):  # a flag, from a tick to a long upstroke
        long = rng.uniform(0.1, 0.48)
        strokes.append(_line([(0.5 - long * rng.uniform(0.45, 1.1), 0.02 + long), (0.5, 0.02)], rng, 0.012))
    if _chance(rng, 0.35):
        half = rng.uniform(0.12, 0.36)
        strokes.append(_line([(0.5 - half, 0.97), (0.5 + half, 0.97)], rng, 0.015))
    return strokes


def _two(rng: Rng) -> list[Floats]:
    right = rng.uniform(0.62, 0.85)
    top = [(0.14, rng.uniform(0.12, 0.36)), (0.28, 0.07), (0.5, 0.02), (right - 0.03, 0.12), (right, 0.33)]
    end = (rng.uniform(0.55, 1.05), rng.uniform(0.8, 0.99))
    if _chance(rng, 0.4):  # a loop at the foot
        high, down = rng.uniform(0.06, 0.26), rng.uniform(0.2, 0.42)
        knot = (rng.uniform(0.26, 0.5), rng.uniform(0.82, 0.96))
        foot = [(0.52, 0.62), (down, 0.87), (0.12, 0.97), (0.03, 0.97 - high / 2), (0.16, 0.95 - high), knot, end]
        return [_curve([*top, *foot], rng, 0.022)]
    swan = _curve([*top, (0.52, 0.62), (0.13, 0.97)], rng)
    sag = rng.normal(0, 0.05)
    return [swan, _curve([tuple(swan[-1]), (0.5, 0.96 + sag), end], rng, 0.015)]


def _three(rng: Rng) -> list[Floats]:
    waist, right = (rng.uniform(0.3, 0.62), rng.uniform(0.38, 0.52)), rng.uniform(0.68, 0.88)
    belly = [
        (right, 0.6),
        (right, 0.78),
        (0.5, rng.uniform(0.92, 1.0)),
        (rng.uniform(0.0, 0.2), rng.uniform(0.76, 1.0)),
    ]
    if _chance(rng, 0.25):  # a flat top
        top = _line([(0.15, 0.04), (rng.uniform(0.65, 0.85), 0.04), waist], rng)
        return [np.vstack([top, _curve([top[-1], *belly], rng)])]
    first = _curve([(0.14, rng.uniform(0.04, 0.22)), (0.42, 0.02), (0.72, 0.13), (0.66, 0.33), waist], rng)
    return [np.vstack([first, _curve([first[-1], *belly], rng)])]


def _four(rng: Rng) -> list[Floats]:
    bar, stem = rng.uniform(0.45, 0.74), rng.uniform(0.55, 0.8)
    right = min(stem + rng.uniform(0.02, 0.32), 1.05)
    foot = (stem + rng.normal(-0.03, 0.07), 0.98)
    if _chance(rng, 0.35):  # closed: a triangle, with the stem from its tip
        return [_line([(stem, 0.02), (0.08, bar), (right, bar)], rng), _line([(stem, 0.02), foot], rng)]
    left, top = rng.uniform(0.1, 0.32), rng.uniform(0.0, 0.32)
    hook = _line([(left + rng.uniform(-0.02, 0.14), 0.04), (left - 0.05, bar), (right, bar)], rng)
    if _chance(rng, 0.35):  # open and round, in one sweep
        sweep = [(left + 0.05, 0.04), (left - 0.02, bar / 2), (left + 0.1, bar), (stem, bar - rng.uniform(0, 0.1))]
        hook = _curve(sweep, rng)
    return [hook, _line([(stem, top), foot], rng)]


def _five(rng: Rng) -> list[Floats]:
    neck, start, right = rng.uniform(0.32, 0.52), rng.uniform(0.12, 0.36), rng.uniform(0.62, 0.85)
    rise, low = rng.uniform(0.0, 0.08), rng.uniform(0.92, 0.98)
    belly = [
        (0.48, neck - rise),
        (right, 0.6),
        (right - 0.04, 0.83),
        (0.42, low),
        (rng.uniform(0, 0.2), rng.uniform(0.8, 1)),
    ]
    reach, lift = rng.uniform(0.65, 1.0), rng.normal(0.03, 0.05)
    if _chance(rng, 0.3):  # in one sweep, like an S
        return [_curve([(reach, lift), (0.4, 0.05), (start, neck), *belly], rng)]
    back = _line([(start + rng.uniform(-0.02, 0.14), 0.04), (start, neck + 0.02)], rng, 0.015)
    roof = _line([tuple(back[0] + rng.normal(0, 0.035, 2)), (reach, lift)], rng, 0.02)
    return [back, _curve([tuple(back[-1]), *belly], rng), roof]


def _six(rng: Rng) -> list[Floats]:
    loop, right = rng.uniform(0.42, 0.75), rng.uniform(0.48, 0.85)
    down = [(rng.uniform(0.4, 0.95), 0.02), (0.3, 0.25), (0.14, 0.6), (0.2, 0.9)]
    if _chance(rng, 0.35):  # a straight stem
        down = [(rng.uniform(0.15, 0.6), 0.02), (0.2, 0.45), (0.16, 0.72), (0.22, 0.92)]
    high = (loop + 0.98) / 2
    close = (rng.uniform(0.12, 0.32), rng.uniform(high - 0.05, 0.9))
    ring = [(right / 2 + 0.1, 0.98), (right, high + 0.08), (right - 0.05, loop + 0.06), (right / 2 + 0.1, loop), close]
    return [_curve([*down, *ring], rng, 0.022)]


def _seven(rng: Rng) -> list[Floats]:
    foot, bow, corner = rng.uniform(0.1, 0.6), rng.normal(0, 0.06), (rng.uniform(0.75, 0.95), rng.uniform(0.0, 0.1))
    stem = _curve([corner, ((corner[0] + foot) / 2 - bow, 0.45), (foot, 0.98)], rng, 0.02)
    sag = rng.normal(0, 0.04)
    strokes = [_curve([(0.08, 0.06), (0.45, 0.06 + sag), tuple(stem[0])], rng, 0.02), stem]
    if _chance(rng, 0.35):  # a serif
        strokes.append(_line([(0.08, 0.05), (0.05, rng.uniform(0.12, 0.3))], rng, 0.015))
    if _chance(rng, 0.45):
        y, half = rng.uniform(0.4, 0.62), rng.uniform(0.13, 0.34)
        x, tilt = corner[0] + (foot - corner[0]) * y, rng.normal(0, 0.06)
        strokes.append(_line([(x - half, y + tilt), (x + half, y - tilt)], rng, 0.02))
    return strokes


def _eight(rng: Rng) -> list[Floats]:
    waist = rng.uniform(0.36, 0.58)
    if _chance(rng, 0.35):  # two rings
        top, bottom = rng.uniform(0.15, 0.32), rng.uniform(0.2, 0.38)
        upper = _arc(0.5 + rng.normal(0, 0.04), waist / 2 + 0.01, top, waist / 2, 0.25, rng.uniform(1.1, 1.27))
        return [upper, _arc(0.5, (waist + 0.98) / 2, bottom, (0.98 - waist) / 2, -0.25, rng.uniform(0.65, 0.77))]
    up, low = rng.uniform(0.15, 0.3), rng.uniform(0.2, 0.34)  # half the widths of the two loops
    end = (0.5 + up * rng.uniform(0.4, 1.2), rng.uniform(0.0, 0.2))
    down = [(0.5 + up, 0.13), (0.5, 0.02), (0.5 - up, 0.15), (0.5 - 0.7 * up, 0.34), (0.5, waist), (0.5 + low, 0.72)]
    back = [(0.5 + 0.7 * low, 0.91), (0.48, 0.98), (0.5 - low, 0.88), (0.5 - low, 0.7), (0.5, waist), (0.5 + up, 0.28)]
    stroke = _curve([*down, *back, end], rng, 0.02)
    return [stroke * [-1, 1] + [1, 0] if _chance(rng, 0.3) else stroke]


def _nine(rng: Rng) -> list[Floats]:
    loop, left, right = rng.uniform(0.3, 0.58), rng.uniform(0.0, 0.38), rng.uniform(0.66, 0.82)
    middle = (left + right) / 2
    head = [
        (right, rng.uniform(0.08, 0.2)),
        (middle, 0.02),
        (left, loop * 0.4),
        (left + 0.05, loop * 0.85),
        (middle, loop),
    ]
    head.append((right, loop * rng.uniform(0.3, 0.6)))
    if _chance(rng, 0.25):  # the loop begins left of the stem's top and does not quite close
        head[0] = (right - rng.uniform(0.05, 0.2), 0.06)
    if _chance(rng, 0.55):
        tail = _line([(right, 0.06), (right - rng.uniform(-0.05, 0.4), 0.98)], rng, 0.02)
    else:
        curl = (rng.uniform(0.1, 0.4), rng.uniform(0.78, 0.97))
        tail = _curve([(right, 0.1), (right + 0.01, 0.5), (right - 0.06, 0.85), (0.46, 0.98), curl], rng, 0.025)
    return [_curve(head, rng, 0.022), tail]


DIGITS: tuple[Callable[[Rng], list[Floats]], ...] = (
    _zero, _one, _two, _three, _four, _five, _six, _seven, _eight, _nine,
)  # fmt: skip
