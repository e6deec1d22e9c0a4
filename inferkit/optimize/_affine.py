"""Real numbers as integers: the affine arithmetic of LiteRT's 8-bit specification, in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._base import InputError

Array = NDArray[Any]


def affine_parameters(
    low: ArrayLike, high: ArrayLike, *, bits: int = 8, symmetric: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Choose scale and zero point so that the integers span a range of real numbers.

    Parameters
    ----------
    low, high : float or array
        Ends of the range; an array has one for each channel. Zero is taken into every range, for it must have an
        integer of its own: padding and ReLU are full of zeros.
    bits : int, default 8
        Bits of a signed integer, 2 to 16.
    symmetric : bool, default False
        Give zero the integer 0, and use as many steps above as below it (−127 to 127 of 8 bits), as LiteRT does for
        weights. Otherwise all 2**bits integers are used, as for activations.

    Returns
    -------
    scale : array of float64
        Real distance between neighbouring integers, above 0; of the shape of `low`.
    zero_point : array of int64
        The integer that stands for 0.

    Raises
    ------
    InputError
        If an end is not finite, `high` lies below `low`, or `bits` is out of range.

    References
    ----------
    B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
    CVPR 2018, section 2.1; "LiteRT 8-bit quantization specification".

    Examples
    --------
    >>> scale, zero_point = affine_parameters(-1.0, 3.0)
    >>> round(float(scale), 4), int(zero_point)
    (0.0157, -64)
    """
    lowest, highest = _limits(bits, symmetric)
    lower, upper = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    if not (np.isfinite(lower).all() and np.isfinite(upper).all() and (lower <= upper).all()):
        raise InputError(f"expected finite ends with low ≤ high, got {low!r:.60} and {high!r:.60}")
    lower, upper = np.minimum(lower, 0), np.maximum(upper, 0)
    if symmetric:
        scale = np.maximum(-lower, upper) / highest
        return np.where(scale > 0, scale, 1.0), np.zeros(scale.shape, dtype=np.int64)
    scale = (upper - lower) / (highest - lowest)
    scale = np.where(scale > 0, scale, 1.0)
    return scale, np.clip(np.rint(lowest - lower / scale), lowest, highest).astype(np.int64)


def quantize_affine(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike = 0,
    *,
    bits: int = 8,
    axis: int | None = None,
    symmetric: bool = False,
) -> Array:
    """Round real numbers to integers: ``round(x / scale) + zero_point``, clipped to what the bits can hold.

    Parameters
    ----------
    x : array
        Finite real numbers.
    scale : float or (channels,) array
        Distance between neighbouring integers, above 0.
    zero_point : int or (channels,) array, default 0
        The integer that stands for 0.
    bits : int, default 8
        Bits of a signed integer, 2 to 16.
    axis : int, optional
        The axis of the channels, where there is a scale for each.
    symmetric : bool, default False
        Leave out the lowest integer (−128 of 8 bits), as LiteRT does for weights.

    Returns
    -------
    array of int8, or of int16 above 8 bits
        Of the shape of `x`. A half is rounded to the even neighbour.

    Raises
    ------
    InputError
        If `x` holds NaN or infinity, a scale is not above 0, or scales and axis do not fit.

    Examples
    --------
    >>> quantize_affine([-1.0, 0.0, 0.02, 9.0], 1 / 64, -64)
    array([-128,  -64,  -63,  127], dtype=int8)
    """
    lowest, highest = _limits(bits, symmetric)
    values = np.asarray(x, dtype=np.float64)
    if not np.isfinite(values).all():
        raise InputError("x: expected finite numbers, got NaN or infinity, which no integer can stand for")
    step, zero = _along(values, scale, axis), _along(values, zero_point, axis)
    if not (np.isfinite(step).all() and (step > 0).all()):
        raise InputError(f"scale: expected finite numbers above 0, got {scale!r:.60}")
    q: Array = np.clip(np.rint(values / step) + zero, lowest, highest)
    return q.astype(np.int8 if bits <= 8 else np.int16)


def dequantize(q: ArrayLike, scale: ArrayLike, zero_point: ArrayLike = 0, *, axis: int | None = None) -> Array:
    """Return the real numbers that integers stand for: ``scale * (q - zero_point)``.

    Parameters
    ----------
    q : array of int
        The integers.
    scale : float or (channels,) array
        Distance between neighbouring integers.
    zero_point : int or (channels,) array, default 0
        The integer that stands for 0.
    axis : int, optional
        The axis of the channels, where there is a scale for each.

    Returns
    -------
    array of float32
        Of the shape of `q`.

    Raises
    ------
    InputError
        If scales and axis do not fit.

    Examples
    --------
    >>> dequantize([-128, -64, 127], 1 / 64, -64)
    array([-1.      ,  0.      ,  2.984375], dtype=float32)
    """
    integers = np.asarray(q, dtype=np.int64)
    step, zero = _along(integers, scale, axis), _along(integers, zero_point, axis)
    real: Array = (step * (integers - zero)).astype(np.float32)
    return real


def fake_quantize(x: ArrayLike, *, bits: int = 8, axis: int | None = None, symmetric: bool = True) -> Array:
    """Round real numbers to those that so many bits can hold, and keep them as floats.

    Parameters
    ----------
    x : array
        Finite real numbers.
    bits : int, default 8
        Bits of a signed integer, 2 to 16.
    axis : int, optional
        The axis of the channels, each with a range of its own; one range for all if not given.
    symmetric : bool, default True
        As LiteRT does for weights; False as for activations.

    Returns
    -------
    array of float32
        Of the shape of `x`. No number is moved by more than half a scale.

    Raises
    ------
    InputError
        If `x` is empty or holds NaN or infinity, or `bits` or `axis` is out of range.

    Examples
    --------
    >>> fake_quantize([-1.0, 0.2, 0.7], bits=2)
    array([-1.,  0.,  1.], dtype=float32)
    """
    values = np.asarray(x, dtype=np.float64)
    if values.size == 0:
        raise InputError("x: expected at least one number, got none")
    if not np.isfinite(values).all():
        raise InputError("x: expected finite numbers, got NaN or infinity, which no integer can stand for")
    rest = _other_axes(values, axis)
    scale, zero_point = affine_parameters(values.min(axis=rest), values.max(axis=rest), bits=bits, symmetric=symmetric)
    q = quantize_affine(values, scale, zero_point, bits=bits, axis=axis, symmetric=symmetric)
    return dequantize(q, scale, zero_point, axis=axis)


def _limits(bits: int, symmetric: bool) -> tuple[int, int]:
    """Return the lowest and the highest integer."""
    if isinstance(bits, bool) or not isinstance(bits, int | np.integer) or not 2 <= bits <= 16:
        raise InputError(f"bits: expected a whole number from 2 to 16, got {bits!r}")
    highest = 2 ** (int(bits) - 1) - 1
    return -highest if symmetric else -highest - 1, highest


def _other_axes(values: Array, axis: int | None) -> tuple[int, ...]:
    """Return the axes that a range is taken over."""
    if axis is None:
        return tuple(range(values.ndim))
    if not -values.ndim <= axis < values.ndim:
        raise InputError(f"axis: expected an axis of an array of shape {values.shape}, got {axis}")
    return tuple(i for i in range(values.ndim) if i != axis % values.ndim)


def _along(values: Array, parameter: ArrayLike, axis: int | None) -> Array:
    """Return a parameter in a shape that meets the channels of `values`."""
    array = np.asarray(parameter)
    if array.size == 1:
        return array.reshape(())
    if axis is None:
        raise InputError(f"expected one number for all of the tensor, got {array.size}; name the channels by axis=")
    _other_axes(values, axis)
    if array.shape != (values.shape[axis],):
        raise InputError(
            f"expected {values.shape[axis]} numbers, one for each channel of axis {axis}, got shape {array.shape}"
        )
    return array.reshape([-1 if i == axis % values.ndim else 1 for i in range(values.ndim)])
