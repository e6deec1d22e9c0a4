"""A street sign over a road, as a cheap camera sees it. Everything is drawn from a generator, many pictures at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ._shapes import SIGNS, Floats

SIDE = 32  # pixels
FINE = 2  # the sign is drawn on points twice as fine, and averaged
Conditions = dict[str, Floats]

_SKIES = np.array(  # overhead, at the horizon
    [[(0.30, 0.52, 0.86), (0.70, 0.82, 0.94)], [(0.66, 0.69, 0.74), (0.80, 0.82, 0.84)],
     [(0.45, 0.55, 0.78), (0.93, 0.74, 0.56)]], np.float32,
)  # fmt: skip
_GROUNDS = np.array([(0.22, 0.36, 0.14), (0.34, 0.40, 0.18), (0.42, 0.36, 0.27), (0.40, 0.40, 0.40)], np.float32)
_HOUSES = np.array(
    [(0.55, 0.30, 0.22), (0.72, 0.66, 0.55), (0.45, 0.45, 0.48), (0.14, 0.26, 0.12), (0.20, 0.24, 0.36)], np.float32
)
_LEAVES = np.array([(0.10, 0.24, 0.07), (0.24, 0.34, 0.12), (0.30, 0.22, 0.14), (0.50, 0.50, 0.52)], np.float32)


def conditions(n: int, rng: np.random.Generator) -> Conditions:
    """Draw what each of n pictures looks like, all but its class: one value or one row of values for each picture."""
    dusk = rng.random(n) < 0.18
    radius = rng.uniform(5.5, 12.5, n)
    c = {
        "radius": radius,
        "x": 16 + rng.uniform(-0.55, 0.55, n) * (16 - radius),
        "y": 15 + rng.uniform(-0.55, 0.45, n) * (16 - radius),
        "tilt": np.radians(np.clip(rng.normal(0, 7, n), -18, 18)),
        "squeeze": rng.uniform(0.72, 1.0, n),  # seen from the side
        "fade": rng.uniform(0, 0.55, n),
        "shade": np.where(rng.random(n) < 0.35, rng.uniform(0.35, 0.7, n), 1),  # of the part in a shadow
        "shade_at": rng.uniform(-0.7, 0.7, n),
        "shade_turn": rng.uniform(0, 2 * np.pi, n),
        "cover": np.where(rng.random(n) < 0.45, rng.uniform(0.35, 0.68, n), 0),  # radius of the leaves
        "cover_at": rng.uniform(0.55, 1.05, n),
        "cover_turn": rng.uniform(0, 2 * np.pi, n),
        "cover_colour": _LEAVES[rng.integers(len(_LEAVES), size=n)] * rng.uniform(0.7, 1.3, (n, 1)),
        "light": np.where(dusk, rng.uniform(0.2, 0.45, n), rng.uniform(0.6, 1.15, n))[:, None]
        * np.where(dusk[:, None], (0.88, 0.94, 1.16), 1) * (1 + rng.normal(0, 1, (n, 1)) * (0.07, 0, -0.07)),
        "haze": rng.uniform(0, 0.3, n) * (rng.random(n) < 0.3),
        "blur": rng.uniform(0.3, 1.4, (n, 2)),  # pixels, down and across
        "noise": np.where(dusk, rng.uniform(0.02, 0.05, n), rng.uniform(0.006, 0.035, n)),
    }  # fmt: skip
    return {name: np.asarray(values, np.float32) for name, values in (c | _surroundings(n, rng)).items()}


def _surroundings(n: int, rng: np.random.Generator) -> dict[str, Floats]:
    """Draw the scene: sky, ground, a road, three houses or trees, and the post."""
    sky = _SKIES[rng.choice(len(_SKIES), size=n, p=(0.5, 0.35, 0.15))]
    return {
        "sky": sky * rng.uniform(0.9, 1.08, (n, 1, 1)),
        "ground": _GROUNDS[rng.choice(len(_GROUNDS), size=n)] * rng.uniform(0.75, 1.2, (n, 1)),
        "horizon": rng.uniform(15, 25, n),
        "slope": rng.normal(0, 0.04, n),
        "road_x": rng.uniform(-4, 36, n),
        "road_width": rng.uniform(0.8, 2.2, n),
        "asphalt": rng.uniform(0.28, 0.5, n),
        "house_x": rng.uniform(-2, 34, (n, 3)),
        "house_width": rng.uniform(1.5, 5, (n, 3)),
        "house_height": rng.uniform(0, 9, (n, 3)),
        "house_colour": _HOUSES[rng.integers(len(_HOUSES), size=(n, 3))] * rng.uniform(0.7, 1.25, (n, 3, 1)),
        "post": rng.uniform(0.35, 0.65, n),
    }


def pictures(y: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw one picture for each class in `y`: (n, 32, 32, 3), red, green, blue, 0..255."""
    seen = conditions(len(y), rng)
    light = scenes(seen)
    for k in np.unique(y):
        rows = np.flatnonzero(y == k)
        of_class = {name: values[rows] for name, values in seen.items()}
        colours, cover = signs(int(k), of_class)
        light[rows] += cover * (colours - light[rows])
    light = _behind_leaves(light, seen)
    return _exposed(light, seen, rng)


def scenes(c: Conditions) -> Floats:
    """Return the road without a sign: (n, 32, 32, 3), light from 0 to about 1."""
    x, y = _grid(1)
    horizon = _wide(c["horizon"]) + _wide(c["slope"]) * (x - 16)
    high = np.clip(y / horizon, 0, 1)[..., None]
    picture = c["sky"][:, None, None, 0] * (1 - high) + c["sky"][:, None, None, 1] * high
    for i in range(3):
        side = np.abs(x - _wide(c["house_x"][:, i])) - _wide(c["house_width"][:, i])
        roof = horizon - _wide(c["house_height"][:, i]) - y
        _paint(picture, _inside(np.maximum(side, roof)), c["house_colour"][:, i])
    _paint(picture, _inside(horizon - y), c["ground"])
    depth = np.maximum(y - horizon, 0)
    road = np.abs(x - _wide(c["road_x"]) - (16 - _wide(c["road_x"])) * 0.2) - _wide(c["road_width"]) * depth
    _paint(picture, _inside(np.maximum(road, horizon - y)), np.repeat(c["asphalt"][:, None], 3, axis=1))
    post = np.maximum(np.abs(x - _wide(c["x"])) - 0.1 * _wide(c["radius"]), _wide(c["y"]) - y)
    _paint(picture, _inside(post), np.repeat(c["post"][:, None], 3, axis=1))
    return picture


def signs(k: int, c: Conditions) -> tuple[Floats, Floats]:
    """Return the colours of sign k in each picture, and how much of each pixel it covers (last axis 1)."""
    u, v = _on_the_sign(c)
    per_unit = _wide(c["radius"]) * FINE
    (whole, colour), *inner = SIGNS[k].layers
    cover = _inside(whole(u, v) * per_unit)
    colours = np.empty((*u.shape, 3), np.float32)
    colours[:] = colour
    for shape, colour in inner:
        _paint(colours, _inside(shape(u, v) * per_unit), np.asarray(colour, np.float32)[None])
    grey = colours.mean(axis=-1, keepdims=True) * 0.7 + 0.2
    colours += c["fade"][:, None, None, None] * (grey - colours)
    turn, sharp = c["shade_turn"], _wide(c["shade_at"])
    dark = _inside((u * _wide(np.cos(turn)) + v * _wide(np.sin(turn)) - sharp) * per_unit)
    colours *= (1 - dark * (1 - _wide(c["shade"])))[..., None]
    thin = _coarser(cover[..., None])
    return _coarser(colours * cover[..., None]) / np.maximum(thin, 1e-6), thin


def _on_the_sign(c: Conditions) -> tuple[Floats, Floats]:
    """Return where each fine point of each picture lies on its sign."""
    x, y = _grid(FINE)
    dx, dy = (x - _wide(c["x"])) / _wide(c["radius"]), (y - _wide(c["y"])) / _wide(c["radius"])
    cos, sin = _wide(np.cos(c["tilt"])), _wide(np.sin(c["tilt"]))
    return (cos * dx + sin * dy) / _wide(c["squeeze"]), cos * dy - sin * dx


def _behind_leaves(picture: Floats, c: Conditions) -> Floats:
    """Let something hide a part of the sign."""
    x, y = _grid(1)
    away = c["cover_at"] * c["radius"]
    left, top = c["x"] + away * np.cos(c["cover_turn"]), c["y"] + away * np.sin(c["cover_turn"])
    size = c["cover"] * c["radius"]
    blob = np.hypot(x - _wide(left), 1.2 * (y - _wide(top))) - _wide(size)
    _paint(picture, _inside(blob) * _wide(np.asarray(size > 0, np.float32)), c["cover_colour"])
    return picture


def _exposed(picture: Floats, c: Conditions, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return what the camera makes of the light: haze, exposure, blur, noise, whole numbers."""
    picture += c["haze"][:, None, None, None] * (np.float32(0.75) - picture)
    picture *= c["light"][:, None, None, :]
    for axis in (1, 2):
        picture = _blurred(picture, c["blur"][:, axis - 1], axis)
    picture += rng.standard_normal(picture.shape, dtype=np.float32) * c["noise"][:, None, None, None]
    return np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8)


def _blurred(picture: Floats, sigma: Floats, axis: int) -> Floats:
    """Blur each picture along an axis by a Gaussian of its own width; the rim repeats."""
    reach = np.arange(-3, 4, dtype=np.float32)
    weights = np.exp(-0.5 * (reach / sigma[:, None]) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    padded = np.pad(picture, [(0, 0)] + [(3, 3) if a == axis else (0, 0) for a in (1, 2)] + [(0, 0)], mode="edge")
    parts: Iterator[Floats] = (
        weights[:, i, None, None, None] * np.take(padded, range(i, i + SIDE), axis=axis) for i in range(7)
    )
    return np.asarray(sum(parts), np.float32)


def _grid(fine: int) -> tuple[Floats, Floats]:
    """Return x and y of each point, in pixels, for one picture: (1, side, side)."""
    at = (np.arange(SIDE * fine, dtype=np.float32) + np.float32(0.5)) / np.float32(fine)
    x, y = np.meshgrid(at, at)
    return x[None], y[None]


def _wide(values: Floats) -> Floats:
    """Return one value for each picture so that it spreads over its points."""
    return np.asarray(values, np.float32)[:, None, None]


def _inside(distance: Floats) -> Floats:
    """Return how much of a point is inside, from its distance in points: a soft edge one point wide."""
    return np.asarray(np.clip(np.float32(0.5) - distance, 0, 1))


def _paint(picture: Floats, cover: Floats, colour: Floats) -> None:
    """Paint one colour for each picture over what is covered."""
    picture += cover[..., None] * (colour[:, None, None, :] - picture)


def _coarser(values: Floats) -> Floats:
    """Return the means of FINE × FINE points."""
    corners = [values[:, i::FINE, j::FINE] for i in range(FINE) for j in range(FINE)]  # a third of the time of .mean()
    return np.asarray(sum(corners), np.float32) / np.float32(len(corners))
