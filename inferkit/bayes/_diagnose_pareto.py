"""Importance ratios between a posterior and its approximation: what the approximation misses shows there."""

import numpy as np
import numpy.typing as npt

_PRIOR_WEIGHT, _PRIOR_K = 10, 0.5  # steadies the estimate in short tails, as Vehtari et al. have it


def pareto_k(log_ratios: npt.ArrayLike) -> float:
    """Return the Pareto shape of the largest importance ratios.

    Parameters
    ----------
    log_ratios : array-like of float, shape (draws,)
        Log density of the target, less that of the approximation, at draws from the approximation;
        each up to a constant.

    Returns
    -------
    float
        Up to 0.7 the approximation covers the target; above, it misses part of it. ``-inf`` if all
        ratios are equal, ``inf`` if one isn't finite, NaN if there are fewer than 25 draws.

    References
    ----------
    Vehtari, Simpson, Gelman, Yao, Gabry (2024), "Pareto smoothed importance sampling", JMLR 25.
    Zhang and Stephens (2009), "A new and efficient estimation method for the generalized Pareto
    distribution", Technometrics 51.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=10_000)
    >>> print(f"{pareto_k(-0.5 * (x / 0.8) ** 2 + 0.5 * x**2):.1f}")  # the target is narrower
    -1.6
    >>> print(f"{pareto_k(-0.5 * (x / 2.5) ** 2 + 0.5 * x**2):.1f}")  # it is wider
    0.7
    """
    ratios = np.asarray(log_ratios, dtype=np.float64)
    if not np.isfinite(ratios).all():
        return float("inf")
    if ratios.size < 25:
        return float("nan")
    length = int(np.ceil(min(0.2 * ratios.size, 3 * np.sqrt(ratios.size))))
    tail = np.exp(np.sort(ratios)[-length - 1 :] - ratios.max())
    above = tail[1:] - tail[0]
    if above[-1] <= 1e-12:
        return float("-inf")
    return _shape(np.maximum(above, np.finfo(np.float64).tiny))


def efficiency(log_ratios: npt.ArrayLike) -> float:
    """Return what share of their worth draws from an approximation keep when they are weighed to be the posterior's.

    Parameters
    ----------
    log_ratios : array-like of float, shape (draws,)
        As for `pareto_k`.

    Returns
    -------
    float
        1 if the two are the same, 0 if a ratio isn't finite. With a share of e, if the draws show the ratios in
        full, a mean of the approximation is at most √(1/e - 1) standard deviations from the posterior's.

    References
    ----------
    Kong (1992), "A note on importance sampling using standardized weights", University of Chicago.

    Examples
    --------
    >>> efficiency([0.0, 0.0]), efficiency([0.0, -1000.0])
    (1.0, 0.5)
    """
    ratios = np.asarray(log_ratios, dtype=np.float64)
    if not np.isfinite(ratios).all():
        return 0.0
    weights = np.exp(ratios - ratios.max())
    return float(weights.sum() ** 2 / (weights**2).sum() / weights.size)


def _shape(above: npt.NDArray[np.float64]) -> float:
    """Return the shape of a generalized Pareto distribution that sorted exceedances come from."""
    n = above.size
    grid = np.arange(1, 31 + int(np.sqrt(n)))
    quarter = above[int(n / 4 + 0.5) - 1]
    theta = 1 / above[-1] + (1 - np.sqrt(grid.size / (grid - 0.5))) / (3 * quarter)
    k = np.log1p(-np.outer(theta, above)).mean(axis=1)
    likelihood = n * (np.log(-theta / k) - k - 1)
    weights = np.exp(likelihood - likelihood.max())
    best = theta @ weights / weights.sum()
    raw = float(np.log1p(-best * above).mean())
    return (n * raw + _PRIOR_WEIGHT * _PRIOR_K) / (n + _PRIOR_WEIGHT)
