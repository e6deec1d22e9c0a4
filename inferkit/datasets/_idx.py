"""The file format of MNIST and of those that follow it."""

from __future__ import annotations

import gzip
import math
import zlib

import numpy as np
from numpy.typing import NDArray

from .._base import ModelFileError

_UINT8 = 8  # the format's code for the kind of number


def read_idx(content: bytes, n_dimensions: int, what: str) -> NDArray[np.uint8]:
    """Return the array in a packed idx file of bytes.

    Parameters
    ----------
    content : bytes
        Packed by gzip. Inside: two zeros, the kind of number (8 for uint8), the number of dimensions, each dimension
        as four bytes with the highest first, then the numbers, the last dimension running fastest.
    n_dimensions : int
        How many dimensions it must have.
    what : str
        What it is, for the error.

    Returns
    -------
    uint8 array
        Of `n_dimensions` dimensions; it may be written to.

    Raises
    ------
    ModelFileError
        If the file is cut short, goes on too long, or is of another kind.

    References
    ----------
    Y. LeCun, C. Cortes and C. Burges, "The MNIST database of handwritten digits": file formats.

    Examples
    --------
    >>> read_idx(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 3, 9, 0, 4])), 1, "labels")
    array([9, 0, 4], dtype=uint8)
    """
    try:
        raw = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ModelFileError(f"{what}: expected a whole file packed by gzip: {error}") from error
    magic, start = bytes([0, 0, _UINT8, n_dimensions]), 4 + 4 * n_dimensions
    if len(raw) < start or raw[:4] != magic:
        raise ModelFileError(f"{what}: expected an idx file that begins with {magic.hex()}, got {raw[:4].hex()}")
    shape = [int(n) for n in np.frombuffer(raw, ">u4", n_dimensions, 4)]
    if len(raw) - start != math.prod(shape):
        raise ModelFileError(f"{what}: expected {math.prod(shape):,} bytes after the head, got {len(raw) - start:,}")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape).copy()
