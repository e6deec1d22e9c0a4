"""How far probabilities are from what happens, with what chance alone would show on so few rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .._base import InputError, generator
from ._bins import Bin, Curves, make_curves
from ._checks import Floats, as_codes, as_probabilities, one_of, share, whole

Method = Literal["ece", "adaptive", "classwise"]
Norm = Literal["l1", "l2", "max"]
METHODS, NORMS = ("ece", "adaptive", "classwise"), ("l1", "l2", "max")

_CELLS = 4_000_000  # numbers drawn at once: 32 MB


@dataclass(frozen=True)
class CalibrationResult:
    """A calibration error, its interval, and what a perfectly calibrated model would score on the same rows.

    Attributes
    ----------
    value : float
        The error as measured, 0 to 1. On few rows it is too large: see `reference`.
    low, high : float
        Interval of the model's own error: a basic bootstrap over rows, widened to hold `value`, and down to 0 where
        chance alone could have made `value`.
    reference : float
        Mean score of a model that is right about its probabilities, on rows with these very probabilities.
    reference_high : float
        What such a model exceeds in ``1 - confidence`` of all samples.
    method, norm : str
        As in `calibration_error`.
    confidence : float
        Of the interval and of `reference_high`.
    n, n_bins : int
        Rows, and bins asked for.
    bins : tuple of Bin
        The bins that hold rows.
    """

    value: float
    low: float
    high: float
    reference: float
    reference_high: float
    method: str
    norm: str
    confidence: float
    n: int
    n_bins: int
    bins: tuple[Bin, ...] = field(repr=False)

    @property
    def beyond_chance(self) -> bool:
        """Whether the error is larger than chance alone would make it."""
        return self.value > self.reference_high

    def __str__(self) -> str:
        verdict = "more than chance makes" if self.beyond_chance else "no more than chance makes"
        return (
            f"{self.method} ({self.norm}) {self.value:.4f} ({self.confidence:.0%}: {self.low:.4f} to {self.high:.4f}) "
            f"on {self.n:,} rows; a calibrated model would score {self.reference:.4f} here, at most "
            f"{self.reference_high:.4f}: {verdict}"
        )


def calibration_error(
    y_true: npt.ArrayLike,
    p: npt.ArrayLike,
    *,
    method: Method = "ece",
    n_bins: int = 15,
    norm: Norm = "l1",
    labels: Sequence[Any] | None = None,
    confidence: float = 0.95,
    n_resamples: int = 1000,
    random_state: int | np.random.Generator | None = 0,
) -> CalibrationResult:
    """Return how far probabilities are from the shares that come true.

    Rows are put into bins by their probability. In each bin the mean probability is held against the share that came
    true; the differences are averaged over the rows.

    The measure is too large on few rows, because a share of few rows differs from its probability by chance: a
    perfectly calibrated model scores above 0. So the result carries what such a model would score here.

    Parameters
    ----------
    y_true : array-like, shape (n,)
        The true labels.
    p : array-like, shape (n, n_labels) or (n,)
        Probabilities, as ``predictor.predict_proba(X)`` gives them. One column alone is the probability of the second
        of two labels.
    method : {"ece", "adaptive", "classwise"}
        ``"ece"``: of each row's likeliest label, in bins of equal width. ``"adaptive"``: the same, in bins with about
        equally many rows. ``"classwise"``: of every label's probability, averaged over the labels; for two labels
        that is the curve of either.
    n_bins : int, default=15
    norm : {"l1", "l2", "max"}
        Mean difference, root of the mean square, or the largest in any bin.
    labels : sequence, optional
        What the columns of `p` stand for: ``predictor.labels``. By default 0, 1, 2, ...
    confidence : float, default=0.95
    n_resamples : int, default=1000
        For the interval, and again for the reference.
    random_state : int, numpy.random.Generator or None, default=0

    Returns
    -------
    CalibrationResult

    Raises
    ------
    InputError
        If `p` holds no probabilities, a label is unknown, or there are no rows.

    Notes
    -----
    The interval is that of the binned error with these bins. Near 0 a bootstrap is not exact, so there the
    reference decides: the interval reaches down to 0 unless ``value > reference_high``.

    References
    ----------
    M. P. Naeini, G. F. Cooper and M. Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning",
    AAAI 2015; C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017 (``"ece"``); K. Nguyen and
    B. O'Connor, "Posterior calibration and exploratory analysis for natural language processing models", EMNLP 2015
    (``"adaptive"``); M. Kull et al., "Beyond temperature scaling", NeurIPS 2019 (``"classwise"``); J. Bröcker and
    L. A. Smith, "Increasing the Reliability of Reliability Diagrams", Weather and Forecasting 22, 2007 (the reference).

    Examples
    --------
    Sure by 0.9 in every row, and right in 6 of 10:

    >>> result = calibration_error([1] * 6 + [0] * 4, [0.9] * 10)
    >>> round(result.value, 3), result.beyond_chance
    (0.3, True)
    """
    one_of("method", method, METHODS)
    one_of("norm", norm, NORMS)
    whole("n_bins", n_bins)
    whole("n_resamples", n_resamples)
    level, rng = share("confidence", confidence), generator(random_state)
    rows = as_probabilities(p)
    names = tuple(range(rows.shape[1])) if labels is None else tuple(labels)
    curves = make_curves(as_codes(y_true, _as_many(names, rows), len(rows)), rows, names, method, n_bins)
    value = float(_score(*_sums(curves, curves.hit - curves.p, np.ones((1, len(rows)))), norm)[0])
    again = _resample(curves, _bootstrap(curves, norm, rng), n_resamples)
    chance = _resample(curves, _were_it_calibrated(curves, norm, rng), n_resamples)
    limit = float(np.quantile(chance, level))
    low, high = _interval(value, again, level)
    return CalibrationResult(
        value,
        low if value > limit else 0.0,
        high,
        reference=float(chance.mean()),
        reference_high=limit,
        method=method,
        norm=norm,
        confidence=level,
        n=len(rows),
        n_bins=n_bins,
        bins=curves.bins(),
    )


def _interval(value: float, again: Floats, level: float) -> tuple[float, float]:
    """Return the basic bootstrap interval: it takes off the error that resampling puts on."""
    inner, outer = (float(end) for end in np.quantile(again, [(1 - level) / 2, (1 + level) / 2]))
    return max(0.0, min(value, 2 * value - outer)), max(value, 2 * value - inner)


def _as_many(labels: tuple[Any, ...], rows: Floats) -> tuple[Any, ...]:
    if len(labels) != rows.shape[1] or len(set(labels)) != len(labels):
        raise InputError(f"labels: expected {rows.shape[1]} different ones, one for each column of p, got {labels}")
    return labels


def _sums(curves: Curves, gaps: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return for each resample, curve and bin the sum of the gaps and of the weights.

    `gaps` is (C, n) or (C, r, n); `weights` is (r, n). Results are (r, C, B).
    """
    sums, counts = [], []
    for c, place in enumerate(curves.place):
        member = (place[:, None] == np.arange(curves.n_bins)).astype(np.float64)
        sums.append((weights * gaps[c]) @ member)
        counts.append(weights @ member)
    return np.stack(sums, axis=1), np.stack(counts, axis=1)


def _score(sums: Floats, counts: Floats, norm: str) -> Floats:
    """Return the error of each resample from (r, C, B) sums and counts."""
    n = counts.sum(axis=(1, 2))  # rows times curves: this averages over both
    filled = np.maximum(counts, 1)
    if norm == "max":
        largest: Floats = (np.abs(sums) / filled).max(axis=(1, 2))
        return largest
    if norm == "l2":
        root: Floats = np.sqrt((sums**2 / filled).sum(axis=(1, 2)) / n)
        return root
    mean: Floats = np.abs(sums).sum(axis=(1, 2)) / n
    return mean


Draw = Callable[[int], Floats]


def _resample(curves: Curves, draw: Draw, n_resamples: int) -> Floats:
    """Return so many scores of resamples, drawn a few at a time."""
    at_once = max(1, _CELLS // curves.p.shape[1])
    parts = [draw(min(at_once, n_resamples - done)) for done in range(0, n_resamples, at_once)]
    return np.concatenate(parts)


def _bootstrap(curves: Curves, norm: str, rng: np.random.Generator) -> Draw:
    n, gaps = curves.p.shape[1], curves.hit - curves.p

    def draw(size: int) -> Floats:
        chosen = rng.integers(n, size=(size, n)) + n * np.arange(size)[:, None]
        weights = np.bincount(chosen.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)
        return _score(*_sums(curves, gaps, weights), norm)

    return draw


def _were_it_calibrated(curves: Curves, norm: str, rng: np.random.Generator) -> Draw:
    """Return a draw of scores where each row comes true with its very probability."""
    n = curves.p.shape[1]

    def draw(size: int) -> Floats:
        u, ones = rng.random((size, n)), np.ones((size, n))
        hits = [(start < u) & (u <= start + p) for start, p in zip(curves.start, curves.p, strict=True)]
        gaps = np.stack([hit - p for hit, p in zip(hits, curves.p, strict=True)])
        return _score(*_sums(curves, gaps, ones), norm)

    return draw
