"""What a cascade would do at each threshold, counted from one answer of each model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._base import InputError, require, wilson
from ._cascade import Cascade
from ._stages import as_predictors, checked_threshold

if TYPE_CHECKING:
    import matplotlib.axes
    import pandas


@dataclass(frozen=True)
class EscalationPoint:
    """What a cascade does at one threshold.

    Attributes
    ----------
    threshold : float
    reached : tuple of float
        Share of the rows that each model is asked about; 1 for the first.
    accuracy, low, high : float
        Share of right answers, and its 95 % interval (Wilson 1927).
    """

    threshold: float
    reached: tuple[float, ...]
    accuracy: float
    low: float
    high: float

    @property
    def escalated(self) -> float:
        """Share of the rows that the first model passes on."""
        return self.reached[1]


@dataclass(frozen=True, eq=False)
class EscalationCurve:
    """What a cascade would do at each threshold, counted on rows with known labels. See :func:`escalation_curve`.

    Attributes
    ----------
    names : tuple of str
        The models, from small to large.
    thresholds : (n_thresholds,) array of float64
    confidence : (n_models, n) array of float64
        Largest probability of each model for each row.
    right : (n_models, n) array of bool
        Whether its answer is right.
    """

    names: tuple[str, ...]
    thresholds: NDArray[np.float64]
    confidence: NDArray[np.float64] = field(repr=False)
    right: NDArray[np.bool_] = field(repr=False)

    @property
    def n(self) -> int:
        """How many rows."""
        return int(self.right.shape[1])

    def at(self, threshold: float) -> EscalationPoint:
        """Count what happens at any threshold, on the grid or between.

        Parameters
        ----------
        threshold : float
            0 to 1; the same for all steps.

        Returns
        -------
        EscalationPoint

        Raises
        ------
        InputError
            If it is out of range.
        """
        limit, left, hits, reached = checked_threshold(threshold), np.ones(self.n, dtype=bool), 0, []
        for i, (confidence, right) in enumerate(zip(self.confidence, self.right, strict=True)):
            reached.append(float(left.mean()))
            on = left & (confidence < limit) if i + 1 < len(self.names) else np.zeros(self.n, dtype=bool)
            hits += int((left & ~on & right).sum())
            left = on
        low, high = wilson(hits, self.n)
        return EscalationPoint(limit, tuple(reached), hits / self.n, float(low), float(high))

    @cached_property
    def points(self) -> tuple[EscalationPoint, ...]:
        """What happens at each of the thresholds."""
        return tuple(self.at(float(one)) for one in self.thresholds)

    @property
    def reached(self) -> NDArray[np.float64]:
        """Share of the rows that each model is asked about, shape (n_thresholds, n_models)."""
        return np.array([one.reached for one in self.points])

    @property
    def escalated(self) -> NDArray[np.float64]:
        """Share of the rows that the first model passes on, shape (n_thresholds,)."""
        return self.reached[:, 1]

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Share of right answers, shape (n_thresholds,)."""
        return np.array([one.accuracy for one in self.points])

    @property
    def low(self) -> NDArray[np.float64]:
        """Lower end of the accuracy's 95 % interval (Wilson 1927)."""
        return np.array([one.low for one in self.points])

    @property
    def high(self) -> NDArray[np.float64]:
        """Upper end of the accuracy's interval."""
        return np.array([one.high for one in self.points])

    def cost(self, times_ms: ArrayLike) -> NDArray[np.float64]:
        """Return the expected time of a row: each model's own time, as often as it is asked.

        For two models that is ``small + escalated · large``.

        Parameters
        ----------
        times_ms : (n_models,) array
            Time of one row in each model, in milliseconds, or in whatever unit the answer should have.

        Returns
        -------
        (n_thresholds,) array of float64

        Raises
        ------
        InputError
            If there is not one finite time ≥ 0 for each model.
        """
        times = np.asarray(times_ms, dtype=np.float64)
        if times.shape != (len(self.names),) or not (np.isfinite(times) & (times >= 0)).all():
            raise InputError(f"times_ms: expected one time ≥ 0 for each of {', '.join(self.names)}, got {times_ms!r}")
        expected: NDArray[np.float64] = self.reached @ times
        return expected

    def to_frame(self) -> pandas.DataFrame:
        """Return one row a threshold.

        Returns
        -------
        pandas.DataFrame
            Columns ``threshold``, ``escalated``, ``accuracy``, ``low`` and ``high``.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        names = ("threshold", "escalated", "accuracy", "low", "high")
        return require("pandas", extra="pandas").DataFrame(
            [[getattr(p, n) for n in names] for p in self.points], columns=names
        )

    def plot(self, ax: matplotlib.axes.Axes | None = None) -> matplotlib.axes.Axes:
        """Draw the accuracy against the share of rows that go on, with its interval.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure if there is none.

        Returns
        -------
        matplotlib.axes.Axes
        """
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots()[1]
        order = np.argsort(self.escalated, kind="stable")
        share, accuracy = 100 * self.escalated[order], 100 * self.accuracy[order]
        ax.fill_between(share, 100 * self.low[order], 100 * self.high[order], alpha=0.2)
        ax.plot(share, accuracy, marker=".")
        for i, name, side in ((0, self.names[0], "left"), (-1, self.names[-1], "right")):
            ax.annotate(name, (share[i], accuracy[i]), xytext=(0, 8), textcoords="offset points", ha=side)
        ax.set(xlabel="rows that go on, %", ylabel="right answers, %")
        return ax

    def __repr__(self) -> str:
        """Say in one line what was counted."""
        return f"EscalationCurve({' → '.join(self.names)}: {len(self.thresholds)} thresholds, {self.n:,} rows)"


def escalation_curve(models: Any, X: Any, y: ArrayLike, thresholds: ArrayLike | None = None) -> EscalationCurve:
    """Ask each model once about all rows, and count what their cascade would do at each threshold.

    Parameters
    ----------
    models : Cascade, or iterable as for :func:`cascade`
        From small to large.
    X : array-like, table or list of str
        Rows that the models were not trained on.
    y : (n,) array
        Their labels.
    thresholds : (n_thresholds,) array, optional
        0 to 1; 101 from 0 to 1 if not given. Each is the threshold of all steps.

    Returns
    -------
    EscalationCurve
        Exactly what running :func:`cascade` at each of the thresholds would give.

    Raises
    ------
    InputError
        If the models do not go together, a label is unknown, or a threshold is out of range.

    Notes
    -----
    A network with an early exit can be looked at as well: its exit is the first model, ``with_threshold(0)``, and the
    whole network the second, ``with_threshold(1)``.

    Examples
    --------
    >>> from inferkit.predictor import ArraySpec, Predictor
    >>> spec = ArraySpec((1,))
    >>> doubting = Predictor(lambda X: np.hstack([X, 1 - X]), signature=spec, labels=["no", "yes"], name="doubting")
    >>> knowing = Predictor(lambda X: np.hstack([X < 0.6, X >= 0.6]), signature=spec, labels=["no", "yes"])
    >>> curve = escalation_curve([doubting, knowing], [[0.1], [0.55], [0.9]], ["yes", "no", "no"], [0, 0.8])
    >>> curve.escalated.round(2), curve.cost([1.0, 6.0])
    (array([0.  , 0.33]), array([1., 3.]))
    """
    predictors = models.predictors if isinstance(models, Cascade) else as_predictors(models)
    limits = np.linspace(0, 1, 101) if thresholds is None else _checked_grid(thresholds)
    answers = [np.asarray(one.predict_proba(X)) for one in predictors]
    codes = _codes(y, predictors[0].labels or (), len(answers[0]))
    return EscalationCurve(
        tuple(one.name for one in predictors), limits,
        np.array([p.max(axis=1).astype(np.float64) for p in answers]),
        np.array([p.argmax(axis=1) == codes for p in answers]),
    )  # fmt: skip


def _checked_grid(thresholds: ArrayLike) -> NDArray[np.float64]:
    grid = np.asarray(thresholds, dtype=np.float64)
    if grid.ndim != 1 or len(grid) == 0:
        raise InputError(f"thresholds: expected some in a row, such as [0.5, 0.9], got {thresholds!r:.60}")
    return np.array([checked_threshold(one) for one in grid])


def _codes(y: ArrayLike, labels: Sequence[Any], n: int) -> NDArray[np.int64]:
    """Return the place of each true label among the labels."""
    truth = np.asarray(y)
    if truth.shape != (n,):
        raise InputError(f"y: expected one label for each of the {n} rows, got shape {truth.shape}")
    places = {label: place for place, label in enumerate(labels)}
    unknown = [one for one in dict.fromkeys(truth.tolist()) if one not in places]
    if unknown:
        raise InputError(f"y: expected the labels {list(labels)[:12]}, got {unknown[0]!r}")
    return np.array([places[one] for one in truth.tolist()], dtype=np.int64)
