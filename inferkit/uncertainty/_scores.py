"""From conformity scores to sets: the thresholds, and which labels stay below them. NumPy alone, for serving."""

import math
from typing import Any

import numpy as np

from .._base import InputError
from ._checks import Floats, normalised, share

_SPECK = 1e-9  # 0.55 * 100 is 55.000000000000007: the rank of the score must not rise for that
_EPSILON = 1e-8  # MAPIE's own: probabilities so close are the same


def rows_needed(coverage: float) -> int:
    """Return how many calibration rows it takes to promise a coverage.

    With fewer, no calibration row lies far enough out, and only the set of everything keeps the promise.

    Parameters
    ----------
    coverage : float
        Above 0 and below 1.

    Returns
    -------
    int
        The smallest ``n`` with ``ceil((n + 1) * coverage) <= n``. For Mondrian groups that many are needed in each.

    Raises
    ------
    InputError
        If `coverage` is out of range.

    References
    ----------
    V. Vovk, A. Gammerman and G. Shafer, *Algorithmic Learning in a Random World*, Springer 2005.

    Examples
    --------
    >>> [rows_needed(coverage) for coverage in (0.5, 0.8, 0.9, 0.95, 0.99)]
    [1, 4, 9, 19, 99]
    """
    level = share("coverage", coverage)
    return max(1, math.ceil(level / (1 - level) - _SPECK / (1 - level)))


def threshold(ordered: Floats, coverage: float, where: str = "") -> float:
    """Return the score that a new row does not exceed in at least `coverage` of all cases.

    It is the ``ceil((n + 1) * coverage)``-th smallest of `n` scores, which are given in ascending order.
    """
    return float(ordered[rank(len(ordered), coverage, where) - 1])


def rank(n: int, coverage: float, where: str = "") -> int:
    """Return which of `n` scores is the threshold, counted from 1, or raise if there are too few."""
    wanted = max(1, math.ceil((n + 1) * coverage - _SPECK))
    if wanted > n:
        raise InputError(
            f"a coverage of {coverage:g} needs at least {rows_needed(coverage)} calibration rows{where}, got {n}; give "
            f"more rows, or ask for a coverage of at most {n / (n + 1):.3g}"
        )
    return wanted


def label_sets(p: Floats, limits: Floats, score: str) -> Any:
    """Return which labels are in each row's set, (n, K) bool; `limits` is one threshold, or one for each row.

    ``"lac"``: labels with at least so much probability. ``"aps"``: labels from the likeliest on, until their sum
    passes the threshold; the one that passes it is in.
    """
    rows = normalised(p)
    wanted = np.broadcast_to(np.asarray(limits, dtype=np.float64), len(rows))[:, None]
    if score == "lac":
        return (1 - rows) - wanted <= _EPSILON
    order = np.argsort(rows, axis=1)[:, ::-1]
    ordered = np.take_along_axis(rows, order, axis=1)
    so_far = np.cumsum(ordered, axis=1) - ordered
    taken = wanted - so_far > _EPSILON
    taken[:, 0] = True
    least = np.where(taken, ordered, 1).min(axis=1)
    return rows >= least[:, None] - _EPSILON  # labels that are as likely as the last one are in as well
