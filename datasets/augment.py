"""From 1,415 scanned digits to many: what a hand might have drawn instead.

Each 8×8 picture is enlarged to a bitmap of 32×32 with crisp strokes. That is turned, slanted, stretched, wobbled and
drawn with a thinner or thicker pen, and goes through :func:`inferkit.datasets.picture_from_drawing`, the way that a
real drawing takes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inferkit.datasets import picture_from_drawing

Floats = NDArray[np.float32]

_SIDE = 32
_PAD = 10  # room to turn and stretch
_FIELD = _SIDE + 2 * _PAD
_CENTRE = (_FIELD - 1) / 2
_GRID = np.indices((_FIELD, _FIELD)).reshape(2, -1) - _CENTRE
_SMOOTH = ndimage.zoom(np.eye(5), (_FIELD / 5, 1), order=3)  # from 5 values to a smooth line of them


def variants(pictures: Floats, copies: int, rng: np.random.Generator) -> Floats:
    """Return changed copies of pictures.

    Parameters
    ----------
    pictures : (n, 8, 8) array
        Ink, 0..16.
    copies : int
        How many of each.
    rng : numpy.random.Generator
        Source of the changes.

    Returns
    -------
    (copies * n, 8, 8) float32 array
        Ink, 0..16; first one copy of each, then the next.
    """
    bitmaps = [np.pad(enlarged(picture), _PAD) for picture in pictures]
    return np.stack([picture_from_drawing(_redrawn(bitmap, rng)) for _ in range(copies) for bitmap in bitmaps])


def enlarged(picture: Floats) -> Floats:
    """Return the bitmap of 32×32 that an 8×8 picture may have come from, with soft edges, 0..1."""
    smooth = ndimage.zoom(np.pad(picture / 16.0, 1, mode="edge"), 4, order=3, grid_mode=True, mode="nearest")
    return np.clip(smooth[4:-4, 4:-4], 0, 1).astype(np.float32)


def _redrawn(bitmap: Floats, rng: np.random.Generator) -> Floats:
    """Return a drawing of a bitmap by another hand with another pen."""
    source = _shape(rng) @ _GRID + _wobble(rng) + _CENTRE
    moved = ndimage.map_coordinates(bitmap, source, order=1).reshape(_FIELD, _FIELD)
    return _pen(moved, rng)


def _shape(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a matrix that turns by up to 10°, slants by up to 22° and makes it up to twice as wide."""
    turn, slant = rng.uniform(-0.18, 0.18), np.tan(rng.uniform(-0.38, 0.38))
    tall, wide = np.exp(rng.uniform(-0.15, 0.15)), np.exp(rng.uniform(-0.4, 0.7))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return rotation @ np.array([[1 / tall, 0], [slant, 1 / wide]])


def _wobble(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a smooth field of displacements of a pixel or so."""
    coarse = rng.normal(0, rng.uniform(0, 1.3), (2, 5, 5))
    return (_SMOOTH @ coarse @ _SMOOTH.T).reshape(2, -1)


def _pen(ink: Floats, rng: np.random.Generator) -> Floats:
    """Spread or shrink the ink, then cut it off to crisp strokes: another pen."""
    spread = ndimage.gaussian_filter(ink, rng.uniform(0.6, 1.6), truncate=2.5)
    level = rng.uniform(0.2, 0.5) * spread.max()
    softness = rng.uniform(0.03, 0.15)
    return np.clip((spread - level) / softness + 0.5, 0, 1)
