"""Conformal prediction: sets and intervals that hold the truth as often as was asked, whatever the model."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from .._base import InputError
from ..predictor import ArraySpec, OutputSpec, Predictor, Signature, TableSpec
from ._checks import (
    Array,
    Floats,
    as_codes,
    as_numbers,
    as_predictor,
    labels_of,
    needs_values,
    normalised,
    one_of,
    share,
    values_of,
)
from ._coverage import CoverageResult
from ._derived import Derived
from ._scores import label_sets, rank, threshold

Score = Literal["lac", "aps", "absolute", "normalized"]
Group = int | str | Callable[[Any], Any]


class ConformalPredictor(Derived):
    """Split conformal prediction around any predictor.

    It answers as the predictor does, and gives a set of labels or an interval for each row as well. Of new rows that
    come as the calibration rows came, at least the share `coverage` has its truth inside, in the mean over all
    calibration sets; no assumption about the model is needed. It is a promise about all rows together, not about each.

    Parameters
    ----------
    predictor : Predictor, or what a Predictor takes
        Gives probabilities, or one number a row.
    score : {"lac", "aps", "absolute", "normalized"}, optional
        For labels ``"lac"`` (the default): the smallest sets, some of them empty; or ``"aps"``: larger where the row is
        hard, never empty, and covering somewhat more than asked. For numbers ``"absolute"`` (the default): intervals
        of one width; or ``"normalized"``: in proportion to `sd`.
    sd : Predictor or callable, optional
        Gives a standard deviation > 0 for each row; a callable takes the rows that the predictor takes. With it the
        score is ``"normalized"``.
    group : int, str or callable, optional
        Mondrian: the promise holds in each group, which is a column by number (of rows that are flat arrays) or by name
        (of tables), or what a function of the rows returns for each.
    coverage : float, default=0.9
        Used where a call names none. Any other can be asked for later.
    random_state : int, default=0
        ``"aps"`` draws one number for each calibration row.
    name : str, optional
        For tables and figures.

    Attributes
    ----------
    scores_ : dict
        For each group (None if there are none) the scores of its calibration rows, in ascending order.
    predictor : Predictor
        The one that it was made of.

    Raises
    ------
    InputError
        If score, `sd` and predictor do not go together.

    References
    ----------
    V. Vovk, A. Gammerman and G. Shafer, *Algorithmic Learning in a Random World*, Springer 2005; M. Sadinle, J. Lei and
    L. Wasserman, "Least Ambiguous Set-Valued Classifiers with Bounded Error Levels", JASA 114, 2019 (``"lac"``);
    Y. Romano, M. Sesia and E. Candès, "Classification with Valid and Adaptive Coverage", NeurIPS 2020 (``"aps"``);
    J. Lei et al., "Distribution-Free Predictive Inference for Regression", JASA 113, 2018 (``"absolute"``,
    ``"normalized"``). The scores are computed by MAPIE (extra ``conformal``).

    Examples
    --------
    >>> from inferkit.predictor import ArraySpec
    >>> twice = Predictor(lambda X: 2 * X[:, 0], signature=ArraySpec((1,), "float64"), name="twice")
    >>> X = np.linspace(0, 1, 19)[:, None]
    >>> conformal = ConformalPredictor(twice).fit(X, 2 * X[:, 0] + np.linspace(-1, 1, 19))
    >>> conformal.predict_interval([[3.0]]).round(2)
    array([[5., 7.]])
    >>> conformal.predict_interval([[3.0]], coverage=0.5).round(2)
    array([[5.44, 6.56]])
    """

    scores_: dict[Any, Floats]

    def __init__(
        self,
        predictor: Any,
        *,
        score: Score | None = None,
        sd: Any = None,
        group: Group | None = None,
        coverage: float = 0.9,
        random_state: int = 0,
        name: str | None = None,
    ) -> None:
        self.predictor = as_predictor(predictor)
        self.score = _checked_score(self.predictor, score, sd)
        self._derive(self.predictor, name=name or f"{self.predictor.name}, conformal")
        self._sd = None if sd is None else _sd_predictor(sd, self.predictor)
        self._column = _as_column(group, self.predictor)
        self.group, self.coverage, self.random_state = group, share("coverage", coverage), random_state
        self.scores_ = {}

    def fit(self, X: Any, y: Any) -> "ConformalPredictor":
        """Learn from calibration rows how far off the predictor is.

        Parameters
        ----------
        X : array-like, table or list of str
            Rows that the model was not trained on, and that come as later rows will.
        y : array-like, shape (n,)
            Their labels or numbers.

        Returns
        -------
        ConformalPredictor
            Itself.

        Raises
        ------
        InputError
            If the rows are too few for `coverage`, in any group: the message says how many are needed. If they do not
            fit the predictor.
        MissingExtraError
            If MAPIE is not installed.
        """
        groups = self._groups(X)
        answers = self._answers_for(X)
        if self.labels is not None:
            truth: Array = as_codes(y, self.labels, len(answers))
        else:
            truth = as_numbers(y, "y", len(answers))
        sd = None if self._sd is None else self._deviations(X)
        found = {}
        for group in [None] if groups is None else dict.fromkeys(groups.tolist()):
            rows = slice(None) if groups is None else groups == group
            rank(len(truth[rows]), self.coverage, _where(group))
            found[group] = self._scores_of(answers[rows], truth[rows], None if sd is None else sd[rows])
        self.scores_ = found
        return self

    def _scores_of(self, answers: Floats, truth: Array, sd: Floats | None) -> Floats:
        from ._mapie import classification_scores, regression_scores  # scikit-learn takes its time to load

        if self.labels is not None:
            return classification_scores(answers, truth, self.score, self.random_state)
        return regression_scores(answers, truth, sd)

    def predict_set(self, X: Any, *, coverage: float | None = None) -> Array:
        """Return which labels are in the set of each row.

        Parameters
        ----------
        X : array-like, table or list of str
        coverage : float, optional
            Above 0 and below 1; by default the one that this predictor was made with.

        Returns
        -------
        numpy.ndarray of bool, shape (n, n_labels)
            Columns in the order of `labels`. With ``"lac"`` a row may be empty: no label is likely enough.

        Raises
        ------
        InputError
            If the predictor gives numbers, nothing was fitted, a group is unknown, or the calibration rows are too few
            for this coverage.
        """
        self._needs_labels()
        sets: Array = label_sets(self.predictor.predict_proba(X), self._limits(X, coverage), self.score)
        return sets

    def predict_interval(self, X: Any, *, coverage: float | None = None) -> Floats:
        """Return the ends of each row's interval.

        Parameters
        ----------
        X : array-like, table or list of str
        coverage : float, optional
            As in `predict_set`.

        Returns
        -------
        numpy.ndarray of float64, shape (n, 2)

        Raises
        ------
        InputError
            If the predictor gives labels; else as `predict_set` does.
        """
        self._needs_numbers()
        mean = values_of(self.predictor, X)
        half = self._limits(X, coverage) * (1.0 if self._sd is None else self._deviations(X))
        return np.column_stack([mean - half, mean + half])

    def evaluate(self, X: Any, y: Any, *, coverage: float | None = None) -> CoverageResult:
        """Count how often the truth lies inside, on rows that were not used so far.

        Parameters
        ----------
        X : array-like, table or list of str
        y : array-like, shape (n,)
        coverage : float, optional
            As in `predict_set`.

        Returns
        -------
        CoverageResult
        """
        wanted = self.coverage if coverage is None else coverage
        groups = self._groups(X)
        if self.labels is not None:
            sets = self.predict_set(X, coverage=coverage)
            codes = as_codes(y, self.labels, len(sets))
            covered = np.take_along_axis(sets, codes[:, None], axis=1)[:, 0]
            return CoverageResult(wanted, covered, sets.sum(axis=1).astype(np.float64), groups)
        low, high = self.predict_interval(X, coverage=coverage).T
        truth = as_numbers(y, "y", len(low))
        return CoverageResult(wanted, (low <= truth) & (truth <= high), high - low, groups)

    def with_set(self, coverage: float | None = None) -> Predictor:
        """Return a predictor that answers with the label and the set, so that both can be measured and served.

        Parameters
        ----------
        coverage : float, optional
            As in `predict_set`.

        Returns
        -------
        Predictor
            Its outputs are ``"label"`` and ``"set"`` (bool, a column for each label).
        """
        self._needs_labels()
        self._check_coverage(coverage)

        def both(X: Array) -> dict[str, Any]:
            p = normalised(self.predictor.predict_proba(X))
            return {"label": p, "set": label_sets(p, self._limits(X, coverage), self.score)}

        outputs = (OutputSpec("label", "probabilities", self.labels), OutputSpec("set"))
        return Predictor(both, signature=Signature(self.signature.input, outputs), name=self.name)

    def with_interval(self, coverage: float | None = None) -> Predictor:
        """Return a predictor that answers with the number and its interval, so that all can be measured and served.

        Parameters
        ----------
        coverage : float, optional
            As in `predict_set`.

        Returns
        -------
        Predictor
            Its outputs are ``"mean"``, ``"lower"`` and ``"upper"``.
        """
        self._needs_numbers()
        self._check_coverage(coverage)

        def all_three(X: Array) -> dict[str, Any]:
            ends = self.predict_interval(X, coverage=coverage)
            return {"mean": ends.mean(axis=1), "lower": ends[:, 0], "upper": ends[:, 1]}

        outputs = tuple(OutputSpec(name, unit=self.signature.outputs[0].unit) for name in ("mean", "lower", "upper"))
        return Predictor(all_three, signature=Signature(self.signature.input, outputs), name=self.name)

    # -- inside ------------------------------------------------------------------------------

    def _needs_labels(self) -> None:
        if self.labels is None:
            raise InputError(f"{self.name} gives numbers, which have no sets; ask for predict_interval(X)")

    def _needs_numbers(self) -> None:
        if self.labels is not None:
            raise InputError(f"{self.name} gives labels, which have no intervals; ask for predict_set(X)")

    def _check_coverage(self, coverage: float | None) -> dict[Any, float]:
        """Return the threshold of each group, or raise."""
        level = self.coverage if coverage is None else share("coverage", coverage)
        if not self.scores_:
            raise InputError(f"{self.name} knows nothing yet; call fit(X, y) with rows that the model never saw")
        return {group: threshold(scores, level, _where(group)) for group, scores in self.scores_.items()}

    def _limits(self, X: Any, coverage: float | None) -> Floats:
        """Return the threshold of each row: one for all if there are no groups."""
        limits = self._check_coverage(coverage)
        groups = self._groups(X)
        if groups is None:
            return np.array([limits[None]])
        unknown = [group for group in dict.fromkeys(groups.tolist()) if group not in limits]
        if unknown:
            raise InputError(
                f"group {unknown[0]!r} was not among the calibration rows, so nothing can be promised there; known are "
                f"{', '.join(map(repr, list(limits)[:12]))}"
            )
        return np.array([limits[group] for group in groups.tolist()])

    def _groups(self, X: Any) -> Array | None:
        """Return the group of each row, or None if there are no groups."""
        if self.group is None:
            return None
        if self._column is not None:
            column: Array = self.signature.input.check(X)[:, self._column]
            return column
        assert callable(self.group)
        groups, n = np.asarray(self.group(X)), len(self.signature.input.check(X))
        if groups.shape != (n,):
            raise InputError(f"group: expected one group for each of the {n} rows, the function gave {groups.shape}")
        return groups

    def _answers_for(self, X: Any) -> Floats:
        """Return probabilities (n, n_labels) or numbers (n,)."""
        if self.labels is None:
            return values_of(self.predictor, X)
        return normalised(self.predictor.predict_proba(X))

    def _deviations(self, X: Any) -> Floats:
        assert self._sd is not None
        sd = values_of(self._sd, X)
        if not (sd > 0).all():
            row = int((sd <= 0).argmax())
            raise InputError(f"sd: expected standard deviations above 0, got {sd[row]:g} in row {row}")
        return sd


def _checked_score(predictor: Predictor, score: str | None, sd: Any) -> str:
    if predictor.labels is not None:
        labels_of(predictor, "conformal prediction")
        if sd is not None:
            raise InputError(f"sd: expected None, because {predictor.name} gives labels; a set needs no deviation")
        one_of("score", score or "lac", ("lac", "aps"))
        return score or "lac"
    needs_values(predictor, "conformal prediction")
    score = score or ("absolute" if sd is None else "normalized")
    one_of("score", score, ("absolute", "normalized"))
    if (score == "normalized") != (sd is not None):
        raise InputError("sd: expected with score='normalized', and only with it: ConformalPredictor(model, sd=...)")
    return score


def _sd_predictor(sd: Any, predictor: Predictor) -> Predictor:
    """Return what gives the deviations; a plain function takes what the predictor takes."""
    if isinstance(sd, Predictor):
        return sd
    return Predictor(sd, signature=predictor.signature.input, name="sd")


def _as_column(group: Any, predictor: Predictor) -> int | None:
    """Return which column holds the group; None for a function, or for no group."""
    if group is None or callable(group):
        return None
    spec = predictor.signature.input
    if isinstance(spec, TableSpec):
        names = [column.name for column in spec.columns]
        one_of("group", group, names)
        return names.index(group)
    width = spec.shape[0] if isinstance(spec, ArraySpec) and len(spec.shape) == 1 else None
    if isinstance(group, bool) or not isinstance(group, int | np.integer) or width is None or not 0 <= group < width:
        raise InputError(
            f"group: expected the number of a column of flat rows, the name of a column of a table, or a function of "
            f"the rows, got {group!r} for {spec}"
        )
    return int(group)


def _where(group: Any) -> str:
    return "" if group is None else f" in group {group!r}"
