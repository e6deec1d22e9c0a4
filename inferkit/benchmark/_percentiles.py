"""Percentiles with intervals that assume no distribution, and the sample that each of them needs."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .._base import InputError


class SampleTooSmallError(InputError):
    """A percentile that the sample cannot support. The message says how many values it takes."""


@dataclass(frozen=True)
class Percentile:
    """A percentile of a sample, with its interval.

    Attributes
    ----------
    q : float
        Which percentile, in percent.
    value : float
        A value of the sample itself: the smallest that at least `q` percent do not exceed.
    low, high : float or None
        Ends of the interval; None where the sample does not reach far enough to bound it.
    confidence : float
        In how many of all samples, at least, such an interval holds the true percentile.
    n : int
        Size of the sample.
    """

    q: float
    value: float
    low: float | None
    high: float | None
    confidence: float
    n: int


def samples_needed(q: float, *, confidence: float = 0.99) -> int:
    """Return how many values it takes to state a percentile.

    The rule is that of MLPerf's LoadGen: the sample must be so large that, with the confidence
    given, at least two of its values lie beyond the true percentile. The smaller of them then
    bounds it, and the percentile does not hang on the one worst value.

    Parameters
    ----------
    q : float
        The percentile in percent, above 0 and below 100.
    confidence : float, default=0.99
        Above 0 and below 1.

    Returns
    -------
    int

    Raises
    ------
    InputError
        If `q` or `confidence` is out of range.

    References
    ----------
    MLCommons, MLPerf Inference Rules, "Early stopping".

    Examples
    --------
    >>> [samples_needed(q) for q in (50, 90, 95, 99, 99.9)]
    [11, 64, 130, 662, 6636]
    """
    share = _share(q)
    _check_confidence(confidence)
    beyond = min(share, 1 - share)
    low, high = 1, 2
    while _at_most(1, high, beyond) > 1 - confidence:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _at_most(1, middle, beyond) > 1 - confidence else (low, middle)
    return high


def percentile(samples: npt.ArrayLike, q: float, *, confidence: float = 0.95) -> Percentile:
    """Return a percentile of a sample and its interval, or refuse.

    Parameters
    ----------
    samples : array-like, shape (n,)
        Finite numbers, in any order and unit.
    q : float
        The percentile in percent, above 0 and below 100.
    confidence : float, default=0.95
        Of the interval.

    Returns
    -------
    Percentile
        In the unit of the samples.

    Raises
    ------
    SampleTooSmallError
        If there are fewer values than `samples_needed` asks for.
    InputError
        If the sample is empty or not finite, or `q` or `confidence` is out of range.

    Examples
    --------
    >>> p = percentile(range(1, 1001), 90)
    >>> p.value, p.low, p.high
    (900.0, 881.0, 919.0)
    """
    values = _sample(samples)
    needed = samples_needed(q)
    if len(values) < needed:
        raise SampleTooSmallError(
            f"a p{q:g} needs {needed:,} samples, got {len(values):,}; measure more, or state a lower one"
        )
    ordered = np.sort(values)
    low, high = percentile_interval(ordered, q, confidence=confidence)
    # The rank is rounded before it is raised: 1,000 times 0.9 is 900 and a speck.
    rank = math.ceil(round(len(ordered) * q / 100, 9))
    return Percentile(float(q), float(ordered[rank - 1]), low, high, confidence, len(ordered))


def percentile_interval(
    samples: npt.ArrayLike, q: float, *, confidence: float = 0.95
) -> tuple[float | None, float | None]:
    """Return an interval for a percentile, whatever the distribution: two values of the sample itself.

    How many of n independent values lie below the true percentile is binomial, whatever they
    measure. So the l-th and the u-th smallest enclose it with a probability that depends on n, l
    and u alone. They are chosen so that each end fails in at most half of what `confidence` leaves.

    Parameters
    ----------
    samples : array-like, shape (n,)
        Finite numbers. Values that depend on their neighbours make the interval too narrow.
    q : float
        The percentile in percent, above 0 and below 100.
    confidence : float, default=0.95
        The least share of samples whose interval holds the true percentile.

    Returns
    -------
    low, high : float or None
        None where no value of the sample bounds it with that confidence.

    Raises
    ------
    InputError
        If the sample is empty or not finite, or `q` or `confidence` is out of range.

    References
    ----------
    H. A. David and H. N. Nagaraja, *Order Statistics*, 3rd edition, section 7.1, Wiley 2003.

    Examples
    --------
    >>> percentile_interval(range(1, 101), 50)
    (40.0, 61.0)
    >>> percentile_interval([3.0, 1.0, 2.0], 50)
    (None, None)
    """
    ordered = np.sort(_sample(samples))
    share, n = _share(q), len(ordered)
    _check_confidence(confidence)
    fails = (1 - confidence) / 2
    lower = _first(lambda k: _at_most(k, n, share) > fails, n)  # ranks count from 1: the l-th fails if ≤ l−1 are below
    upper = _first(lambda k: 1 - _at_most(k, n, share) <= fails, n) + 1
    low = float(ordered[lower - 1]) if lower >= 1 else None
    return low, float(ordered[upper - 1]) if upper <= n else None


def _at_most(k: int, n: int, share: float) -> float:
    """Return the probability that a binomial count (n trials, each with probability `share`) is at most k."""
    from scipy.special import bdtr  # here, for it takes a fifth of a second to load and most lessons never ask

    return float(bdtr(k, n, share))


def _first(holds: Callable[[int], bool], n: int) -> int:
    """Return the smallest k in 0..n for which something holds that goes on holding, by halving."""
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _sample(samples: npt.ArrayLike) -> npt.NDArray[np.float64]:
    values = np.asarray(samples if hasattr(samples, "__array__") else list(samples), dtype=np.float64)  # type: ignore[arg-type]
    if values.ndim != 1 or not len(values):
        raise InputError(f"samples: expected a list of one or more numbers, got an array of shape {values.shape}")
    if not np.isfinite(values).all():
        raise InputError("samples: expected finite numbers, got NaN or infinity among them")
    return values


def _share(q: float) -> float:
    if isinstance(q, bool) or not isinstance(q, int | float | np.number) or not 0 < q < 100:
        raise InputError(f"q: expected a percentile above 0 and below 100, such as 99, got {q!r}")
    return float(q) / 100


def _check_confidence(confidence: float) -> None:
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 < confidence < 1:
        raise InputError(f"confidence: expected a number above 0 and below 1, such as 0.95, got {confidence!r}")
