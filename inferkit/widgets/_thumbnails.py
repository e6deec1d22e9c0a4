"""Small pictures of rows that are arrays."""

import base64
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferkit.predictor import ArraySpec

LONGEST_SIDE = 96
_CURVE = (96, 64)  # width and height of a curve's picture


def thumbnail(row: NDArray[Any], spec: ArraySpec) -> str | None:
    """Return a small picture of an array as a data URL, or None where it is no picture and no curve.

    Parameters
    ----------
    row : ndarray
        Shape (h, w), (h, w, 1), (h, w, 3) or (h, w, 4): a picture. Shape (n,): a curve.
    spec : ArraySpec
        Its limits are black and white. Without them, the row's own smallest and largest value are.
        In the unit ``"ink"``, much is black; in any other, much is white.

    Returns
    -------
    str or None

    Examples
    --------
    >>> thumbnail(np.eye(8), ArraySpec((8, 8)))[:22]
    'data:image/png;base64,'
    >>> thumbnail(np.zeros((2, 2, 2, 2)), ArraySpec((2, 2, 2, 2)))
    """
    shares = _shares(row, spec)
    if row.ndim == 1 and len(row) > 1:
        return _url(_curve(shares))
    if row.ndim == 3 and row.shape[2] == 1:
        shares = shares[..., 0]
    if shares.ndim == 2 or (shares.ndim == 3 and shares.shape[2] in (3, 4)):
        dark = spec.unit == "ink"
        return _url(_picture(1 - shares if dark else shares))
    return None


def _shares(row: NDArray[Any], spec: ArraySpec) -> NDArray[np.float64]:
    """Return values in 0..1; what is not finite counts as 0."""
    values = np.nan_to_num(row.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low = float(values.min()) if spec.low is None else spec.low
    high = float(values.max()) if spec.high is None else spec.high
    return np.clip((values - low) / ((high - low) or 1.0), 0, 1)


def _picture(shares: NDArray[np.float64]) -> Any:
    from PIL import Image  # matplotlib brings it along

    image = Image.fromarray(np.round(255 * shares).astype(np.uint8))
    if max(image.size) > LONGEST_SIDE:
        image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return image


def _curve(shares: NDArray[np.float64]) -> Any:
    from PIL import Image, ImageDraw

    width, height = _CURVE
    image = Image.new("L", _CURVE, 255)
    x = np.linspace(2, width - 3, len(shares))
    y = 2 + (height - 5) * (1 - shares)
    ImageDraw.Draw(image).line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=0, width=2)
    return image


def _url(image: Any) -> str:
    content = BytesIO()
    image.save(content, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
