"""Rows of numbers for the parts of a live figure, checked."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inferkit._base import InputError

Floats = NDArray[np.float64]

MOST_POINTS = 2000  # of one part: no screen shows more
LARGEST = 1e100  # so that no span between two numbers overflows


def alike(**given: ArrayLike) -> list[Floats]:
    """Return rows of numbers, each checked and all of one length, by their names in messages.

    Raises
    ------
    InputError
        If one is not a row of finite numbers, has more than 2,000, or they are not of one length.

    Examples
    --------
    >>> [row.tolist() for row in alike(x=[1, 2], y=[3, 4])]
    [[1.0, 2.0], [3.0, 4.0]]
    """
    arrays = {name: numbers(name, values) for name, values in given.items()}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"expected as many values of each, got {', '.join(f'{n} {k}' for k, n in lengths.items())}")
    return list(arrays.values())


def numbers(name: str, values: ArrayLike) -> Floats:
    """Return a row of numbers as a copy of its own, checked as `alike` does.

    Examples
    --------
    >>> numbers("x", 3)
    array([3.])
    """
    try:
        array = np.array(values, dtype=np.float64, ndmin=1)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: expected numbers, got {values!r:.60}") from error
    if array.ndim != 1 or not len(array):
        raise InputError(f"{name}: expected a row of one number or more, got an array of shape {array.shape}")
    if len(array) > MOST_POINTS:
        raise InputError(
            f"{name}: expected at most {MOST_POINTS:,} points, got {len(array):,}; "
            f"give fewer: {name}[::{-(-len(array) // MOST_POINTS)}]"
        )
    wrong = np.flatnonzero(~(np.abs(array) <= LARGEST))
    if len(wrong):
        raise InputError(f"{name}: expected finite numbers, got {array[wrong[0]]:g} at place {wrong[0]}; leave it out")
    return array


def single(name: str, value: Any) -> Floats:
    """Return one number as a row, checked as `alike` does.

    Examples
    --------
    >>> single("x", [1, 2])
    Traceback (most recent call last):
    ...
    inferkit._base.InputError: x: expected one number, got 2; give one line for each
    """
    array = numbers(name, value)
    if len(array) != 1:
        raise InputError(f"{name}: expected one number, got {len(array)}; give one line for each")
    return array


def check_order(low: Floats, high: Floats) -> None:
    """Raise `InputError` if a lower end lies above its upper end.

    Examples
    --------
    >>> check_order(np.array([1.0]), np.array([1.0]))
    """
    wrong = np.flatnonzero(low > high)
    if len(wrong):
        i = wrong[0]
        raise InputError(f"expected low ≤ high, got {low[i]:g} above {high[i]:g} at place {i}; are they exchanged?")
