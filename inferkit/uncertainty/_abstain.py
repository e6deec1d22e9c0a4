"""A predictor that says nothing where an answer would cost more than silence."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError
from ..predictor import OutputSpec
from ._checks import Array, Floats, as_codes, as_predictor, labels_of, normalised
from ._derived import Derived


@dataclass(frozen=True)
class AbstentionResult:
    """What a predictor's answers and silences cost, row by row, in the unit of its costs.

    Attributes
    ----------
    costs : numpy.ndarray of float64, shape (n,)
        What each row cost.
    costs_if_forced : numpy.ndarray of float64, shape (n,)
        What it would have cost had silence not been allowed.
    expected : numpy.ndarray of float64, shape (n,)
        What the predictor expected each row to cost, by its own probabilities.
    answered, right : numpy.ndarray of bool, shape (n,)
        Whether it answered, and whether the answer was right.
    """

    costs: Floats = field(repr=False)
    costs_if_forced: Floats = field(repr=False)
    expected: Floats = field(repr=False)
    answered: Array = field(repr=False)
    right: Array = field(repr=False)

    @property
    def n(self) -> int:
        """How many rows."""
        return len(self.costs)

    @property
    def abstained(self) -> float:
        """The share of rows without an answer."""
        return float(1 - self.answered.mean())

    @property
    def accuracy(self) -> float | None:
        """The share of right answers among the answers; None if there was none."""
        return float(self.right[self.answered].mean()) if self.answered.any() else None

    @property
    def mean_cost(self) -> float:
        """What a row cost in the mean."""
        return float(self.costs.mean())

    @property
    def saved(self) -> float:
        """What silence saved a row in the mean; below 0 if it cost more."""
        return float((self.costs_if_forced - self.costs).mean())

    def __str__(self) -> str:
        accuracy = "none" if self.accuracy is None else f"{self.accuracy:.1%}"
        return (
            f"{self.abstained:.1%} of {self.n:,} rows without an answer; of the answers {accuracy} right; "
            f"{self.mean_cost:.4g} a row, {float(self.expected.mean()):.4g} expected, "
            f"{float(self.costs_if_forced.mean()):.4g} if it had to answer"
        )


class AbstainingPredictor(Derived):
    """A predictor that weighs what a wrong answer costs against what silence costs, and takes what costs least.

    Parameters
    ----------
    predictor : Predictor, or what a Predictor takes
        Gives probabilities. What comes of this is as good as they are: calibrate them first.
    cost : array-like, shape (n_labels, n_labels), optional
        ``cost[i, j]``: of the answer ``labels[j]`` where ``labels[i]`` is true. By default 0 for a right answer and 1
        for a wrong one.
    abstain_cost : float or array-like, shape (n_labels,)
        Of no answer, in the same unit; one number, or one for each true label.
    abstain_label : str, int, float, bool or None, default="abstain"
        What stands in place of an answer. It must not be one of the labels.
    name : str, optional
        For tables and figures.

    Attributes
    ----------
    labels : None
        The answers are labels and `abstain_label`; ``predictor.labels`` are the labels alone.
    cost : numpy.ndarray of float64, shape (n_labels, n_labels + 1)
        The last column is that of no answer.
    predictor : Predictor
        The one that it was made of.

    Raises
    ------
    InputError
        If the costs do not fit the labels, or are not finite.

    Notes
    -----
    With the default cost this is Chow's rule: answer if the largest probability is at least ``1 - abstain_cost``. At a
    tie it answers, and the first of the labels wins. In `benchmark.compare` silence counts as a wrong answer;
    `evaluate` tells them apart. The array of answers is of objects, because labels may be numbers and the mark a word.

    References
    ----------
    C. K. Chow, "On optimum recognition error and reject tradeoff", IEEE Transactions on Information Theory 16, 1970.

    Examples
    --------
    Missing a tumour costs 50 times as much as a false alarm, and asking an expert twice as much:

    >>> from inferkit.predictor import ArraySpec, Predictor
    >>> given = Predictor(lambda p: np.hstack([1 - p, p]), signature=ArraySpec((1,)), labels=["benign", "malignant"])
    >>> careful = AbstainingPredictor(given, [[0, 1], [50, 0]], abstain_cost=0.5)
    >>> careful.predict([[0.001], [0.1], [0.9]]).tolist()
    ['benign', 'abstain', 'malignant']
    """

    def __init__(
        self,
        predictor: Any,
        cost: npt.ArrayLike | None = None,
        *,
        abstain_cost: float | npt.ArrayLike,
        abstain_label: str | int | float | bool | None = "abstain",
        name: str | None = None,
    ) -> None:
        self.predictor = as_predictor(predictor)
        labels = labels_of(self.predictor, "abstaining")
        if abstain_label in labels:
            raise InputError(f"abstain_label: expected none of the labels {list(labels)[:12]}, got {abstain_label!r}")
        self.abstain_label = abstain_label
        self.cost = np.column_stack([_cost_matrix(cost, len(labels)), _abstain_costs(abstain_cost, len(labels))])
        self._choices = np.empty(len(labels) + 1, dtype=object)
        self._choices[:] = [*labels, abstain_label]
        steps = [*self.predictor.postprocess, self._decide]
        self._derive(
            self.predictor, name=name or f"{self.predictor.name}, abstaining", postprocess=steps,
            outputs=(OutputSpec(self.predictor.signature.outputs[0].name, "labels"),),
        )  # fmt: skip

    def predict_proba(self, X: Any, *, batch_size: int | None = None) -> Any:
        """Return the probabilities of the predictor that this was made of. See `Predictor.predict_proba`."""
        return self.predictor.predict_proba(X, batch_size=batch_size)

    def expected_costs(self, X: Any) -> Floats:
        """Return what each answer, and none, is expected to cost.

        Parameters
        ----------
        X : array-like, table or list of str

        Returns
        -------
        numpy.ndarray of float64, shape (n, n_labels + 1)
            Columns in the order of ``predictor.labels``; the last is that of no answer.
        """
        return self._expected(self.predictor.predict_proba(X))

    def evaluate(self, X: Any, y: Any) -> AbstentionResult:
        """Count what the answers and the silences cost on rows with known labels.

        Parameters
        ----------
        X : array-like, table or list of str
        y : array-like, shape (n,)
            The true labels.

        Returns
        -------
        AbstentionResult

        Raises
        ------
        InputError
            If a label is unknown, or the rows do not fit.
        """
        expected = self.expected_costs(X)
        true = as_codes(y, labels_of(self.predictor, "abstaining"), len(expected))
        chosen, forced = expected.argmin(axis=1), expected[:, :-1].argmin(axis=1)
        return AbstentionResult(
            self.cost[true, chosen], self.cost[true, forced], expected.min(axis=1),
            chosen < len(self.cost), chosen == true,
        )  # fmt: skip

    def _expected(self, p: Any) -> Floats:
        costs: Floats = normalised(p) @ self.cost
        return costs

    def _decide(self, p: Any) -> Array:
        """Return the label that is expected to cost least, or the mark; refuse what are no probabilities."""
        checked = self.predictor._checked(self.predictor.signature.outputs[0], np.asarray(p))
        answers: Array = self._choices[self._expected(checked).argmin(axis=1)]
        return answers


def _numbers(name: str, values: Any) -> Floats:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: expected numbers, got {values!r:.80}") from error
    if not np.isfinite(array).all():
        raise InputError(f"{name}: expected finite numbers, got {values!r:.80}")
    return array


def _cost_matrix(cost: Any, n: int) -> Floats:
    matrix = 1 - np.eye(n) if cost is None else _numbers("cost", cost)
    if matrix.shape != (n, n):
        raise InputError(f"cost: expected shape ({n}, {n}), cost[true, answered] of {n} labels, got {matrix.shape}")
    return matrix


def _abstain_costs(cost: Any, n: int) -> Floats:
    costs = _numbers("abstain_cost", cost)
    if costs.shape not in ((), (n,)):
        raise InputError(f"abstain_cost: expected one number, or one for each of the {n} labels, got {costs.shape}")
    return np.broadcast_to(costs, n)
