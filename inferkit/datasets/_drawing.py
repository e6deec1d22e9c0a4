"""From a drawing to a picture such as the digits are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._base import InputError


def picture_from_drawing(drawing: ArrayLike) -> NDArray[np.float32]:
    """Turn a drawing into a picture like those of :func:`load_digits`.

    The drawing is cropped to its ink, scaled to fill a field of 32×32 with its proportions kept, put in the middle,
    and averaged in blocks of 4×4. That is how the 8×8 pictures came about, so a model that has learned from them can
    read it, wherever and however large it was drawn.

    Parameters
    ----------
    drawing : (height, width) array of uint8 (0..255), float (0..1) or bool
        Ink is high, paper is 0. Both sides have at least 8 pixels. What is fainter than a tenth of full ink does not
        count as ink when the edges are sought.

    Returns
    -------
    (8, 8) float32 array
        0..16; all zeros if there is no ink.

    Raises
    ------
    InputError
        If it has another shape, dtype or range, or holds NaN or infinity.

    Notes
    -----
    The field of 32×32 is never made: each of the 8×8 cells takes the mean of the ink above it, weighted by overlap,
    which is the same and costs two small matrix products.

    Examples
    --------
    >>> drawing = np.zeros((32, 32), dtype=np.uint8)
    >>> drawing[4:20, 9:11] = 255
    >>> picture_from_drawing(drawing)[0]
    array([0., 0., 0., 8., 8., 0., 0., 0.], dtype=float32)
    """
    ink = _checked_ink(np.asarray(drawing))
    inked = ink > _FAINT
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    if rows.size == 0:
        return np.zeros((8, 8), dtype=np.float32)
    crop = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    side = max(crop.shape)
    picture = _cell_weights(crop.shape[0], side) @ crop @ _cell_weights(crop.shape[1], side).T
    return (16 * picture).astype(np.float32)  # float64 until here: rounding can't lift a cell above 16


_FAINT = 0.1  # of full ink: an anti-aliased edge, not a stroke
_EXPECTED = "a 2-D array, at least 8×8, of uint8 (0..255), float (0..1) or bool, with ink high"


def _checked_ink(drawing: NDArray[Any]) -> NDArray[np.float64]:
    """Return the drawing as float64 in 0..1, or say at the door what is wrong with it."""
    if drawing.ndim != 2:
        raise InputError(f"drawing: expected {_EXPECTED}; got {drawing.ndim}-D, shape {drawing.shape}")
    if min(drawing.shape) < 8:
        raise InputError(f"drawing: expected {_EXPECTED}; got shape {drawing.shape}: draw on a larger field")
    if drawing.dtype == np.uint8:
        return drawing / 255.0
    if drawing.dtype == np.bool_:
        return drawing.astype(np.float64)
    if drawing.dtype.kind != "f":
        raise InputError(
            f"drawing: expected {_EXPECTED}; got dtype {drawing.dtype}: for 0..255 use drawing.astype(np.uint8)"
        )
    return _checked_range(drawing.astype(np.float64))


def _checked_range(ink: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a drawing of floats that are finite and lie in 0..1."""
    if not np.isfinite(ink).all():
        raise InputError(
            "drawing: expected finite values, got NaN or infinity: replace them, by np.nan_to_num(drawing)"
        )
    low, high = ink.min(), ink.max()
    if low < 0 or high > 1:
        raise InputError(f"drawing: expected floats in 0..1, got {low:g}..{high:g}: divide by the largest value")
    return ink


def _cell_weights(length: int, side: int) -> NDArray[np.float64]:
    """Return (8, length) weights: the share of each of 8 cells that each of `length` pixels covers.

    `side` pixels span all 8 cells; fewer lie in the middle.
    """
    pixel_edges = 4 + (np.arange(length + 1) - length / 2) * (8 / side)
    return np.diff(np.clip(pixel_edges - np.arange(8)[:, None], 0, 1), axis=1)
