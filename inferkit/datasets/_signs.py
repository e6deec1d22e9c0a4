"""Street signs over a road: drawn by a program, so that the truth is known and the process can be read."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._base import InputError, generator
from ._bunch import as_asked, make_bunch
from ._registered import registered
from ._scene import SIDE, pictures
from ._shapes import SIGNS

if TYPE_CHECKING:
    from sklearn.utils import Bunch

SIGN_NAMES = [sign.name for sign in SIGNS]
_SHEET, _COLUMNS = "signs.png", 32  # the pictures side by side, class by class
_CHUNK = 512  # pictures drawn at once: half the memory of a chunk of 1,024, and as fast


def make_signs(
    n: int = 100, random_state: int | np.random.Generator | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw street signs over a road.

    Twelve European signs, each alone on a post: red ones forbid, blue ones oblige, and of three a turn to the left or
    right is all that tells them apart. Sky, ground, road and houses, light, haze, shadow, blur, noise, tilt, size, a
    faded paint and leaves before the sign are drawn at random; one picture in six is taken at dusk.

    Parameters
    ----------
    n : int, default 100
        How many. The twelve signs come equally often (as far as n allows), in random order.
    random_state : int, numpy.random.Generator or None
        A seed gives the same pictures every time.

    Returns
    -------
    X : (n, 32, 32, 3) uint8 array
        Red, green and blue, 0 to 255, row 0 at the top.
    y : (n,) int64 array
        Which sign, 0 to 11; `load_signs` has the names.

    Raises
    ------
    InputError
        If n is no whole number above 0.

    Examples
    --------
    >>> X, y = make_signs(24, random_state=0)
    >>> X.shape, X.dtype, np.bincount(y).tolist()
    ((24, 32, 32, 3), dtype('uint8'), [2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2])
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise InputError(f"n: expected a whole number above 0, got {n!r}")
    rng = generator(random_state)
    y = rng.permutation(np.arange(n, dtype=np.int64) % len(SIGN_NAMES))
    return np.concatenate([pictures(y[i : i + _CHUNK], rng) for i in range(0, n, _CHUNK)]), y


def load_signs(*, return_X_y: bool = False, as_frame: bool = False) -> Bunch | tuple[Any, Any]:
    """Load 1,152 street signs that no shipped model has seen, 96 of each of twelve.

    They were drawn once by :func:`make_signs` and stay the same, so that a score means the same everywhere. The file is
    compared with its registered hash before it is used.

    Parameters
    ----------
    return_X_y : bool, default False
        Return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default False
        Give ``data`` as a data frame and ``target`` as a series (needs pandas).

    Returns
    -------
    Bunch or tuple
        The keys stand in the module's description. ``images`` is (1152, 32, 32, 3) uint8, red, green and blue, 0..255,
        ``data`` the same as (1152, 3072), ``target`` is (1152,) int64 in 0..11. The twelve signs take turns, so
        every twelve rows in a row show all of them.

    Raises
    ------
    ModelFileError
        If the file is missing, or its bytes are not the registered ones.
    MissingExtraError
        If ``as_frame=True`` and pandas is not installed.

    Examples
    --------
    >>> signs = load_signs()
    >>> signs.images.shape, signs.target_names[int(signs.target[10])]
    ((1152, 32, 32, 3), 'turn left')
    """
    from PIL import Image  # matplotlib brings it along

    with Image.open(io.BytesIO(registered(_SHEET))) as sheet:
        images = _cut(np.asarray(sheet.convert("RGB")))
    names = [f"{c}_{i}_{j}" for i in range(SIDE) for j in range(SIDE) for c in ("red", "green", "blue")]
    data = images.reshape(len(images), -1)
    bunch = make_bunch(
        data,
        np.arange(len(images)) % len(SIGN_NAMES),
        feature_names=names,
        target_names=list(SIGN_NAMES),
        units=dict.fromkeys(names, "1/255 of the brightest"),
        DESCR=_DESCR,
        licence="CC BY 4.0, as the course's figures. Drawn by this package; nothing was copied.",
        source="inferkit.datasets.make_signs",
        images=images,
    )
    return as_asked(bunch, return_X_y=return_X_y, as_frame=as_frame)


def sheet_of(X: NDArray[np.uint8], y: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Lay pictures side by side, class by class, as the bundled file has them.

    Parameters
    ----------
    X : (n, 32, 32, 3) uint8 array
    y : (n,) int64 array
        Each class equally often.

    Returns
    -------
    (height, 1024, 3) uint8 array

    Raises
    ------
    InputError
        If the pictures do not fill the rows, or the classes differ in number.
    """
    counts = np.bincount(y, minlength=len(SIGN_NAMES))
    if len(set(counts)) > 1 or len(X) % _COLUMNS:
        raise InputError(f"expected as many pictures of each class, {_COLUMNS} in a row; got {counts.tolist()}")
    rows = X[np.argsort(y, kind="stable")].reshape(-1, _COLUMNS, SIDE, SIDE, 3)
    return rows.transpose(0, 2, 1, 3, 4).reshape(-1, _COLUMNS * SIDE, 3)


def _cut(sheet: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut a sheet into its pictures, and let the classes take turns."""
    rows = sheet.reshape(-1, SIDE, _COLUMNS, SIDE, 3).transpose(0, 2, 1, 3, 4)
    by_class = rows.reshape(len(SIGN_NAMES), -1, SIDE, SIDE, 3)
    return np.ascontiguousarray(by_class.swapaxes(0, 1)).reshape(-1, SIDE, SIDE, 3)


_DESCR = """Street signs over a road, drawn by a program
--------------------------------------------

1,152 pictures of 32 x 32 points in red, green and blue, 96 of each of twelve European signs, each alone on a post.
The program (inferkit.datasets.make_signs) draws a sky, a ground, a road and three houses or trees; then the sign,
between 11 and 25 pixels across, tilted (standard deviation 7 degrees), seen from the side, its paint faded; then a
shadow on a third of the signs and leaves before nearly half of them; then what the camera adds: haze, light from dusk
(one picture in six, or nearly so) to glare, its colour, blur, noise.

The truth is known, since the program was told which sign to draw. Blue discs oblige and red ones forbid: with red
and blue swapped, "no entry" looks much like a blue "turn left". Three arrows differ by a quarter turn or a half.

Limits: drawn, not photographed. No country's exact drawings, one sign a picture, no rain, no lamp light, no reflection,
no sticker, no other sign. A model that reads these has not shown that it can read a street.
"""
