"""Several networks that were trained alike from other starts: where they disagree, none of them knows."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from .._base import InputError
from ..predictor import Predictor
from ._checks import Array, Floats, as_numbers, as_predictor, labels_of, needs_values, normalised
from ._derived import Derived

MEAN_AND_SD = {"mean", "sd"}


class DeepEnsemble(Derived):
    """The mean of several predictors, and how far they are apart.

    Parameters
    ----------
    predictors : iterable of Predictor, or of what a Predictor takes
        Two or more that take the same rows. All give probabilities of the same labels in the same order, or all give
        one number a row, or all give the outputs ``"mean"`` and ``"sd"`` of a normal distribution.
    name : str, optional
        For tables and figures.

    Attributes
    ----------
    predictors : tuple of Predictor
        The members.

    Raises
    ------
    InputError
        If there are fewer than two, or they do not answer alike.

    Notes
    -----
    A row costs as much as all members together.

    References
    ----------
    B. Lakshminarayanan, A. Pritzel and C. Blundell, "Simple and Scalable Predictive Uncertainty Estimation using Deep
    Ensembles", NeurIPS 2017.

    Examples
    --------
    >>> from inferkit.predictor import ArraySpec
    >>> members = [Predictor(lambda X, a=a: a * X[:, 0], signature=ArraySpec((1,))) for a in (1.0, 3.0)]
    >>> ensemble = DeepEnsemble(members)
    >>> ensemble.predict([[1.0], [2.0]])
    array([2., 4.])
    >>> ensemble.predict([[1.0], [2.0]], return_std=True)[1]
    array([1., 2.])
    """

    def __init__(self, predictors: Iterable[Any], *, name: str | None = None) -> None:
        if isinstance(predictors, Predictor) or not isinstance(predictors, Iterable):
            raise InputError(f"predictors: expected two or more in a list, got {predictors!r:.80}")
        self.predictors = tuple(as_predictor(member) for member in predictors)
        if len(self.predictors) < 2:
            raise InputError(f"predictors: expected two or more, got {len(self.predictors)}")
        first = self.predictors[0]
        self._gives_sd = {spec.name for spec in first.signature.outputs} == MEAN_AND_SD
        self._check_alike()
        Predictor.__init__(
            self, self._mean, signature=first.signature.input, labels=first.labels,
            name=name or f"ensemble of {len(self.predictors)}",
        )  # fmt: skip

    def _check_alike(self) -> None:
        first = self.predictors[0]
        if first.labels is None and not self._gives_sd:
            needs_values(first, "an ensemble")
        elif first.labels is not None:
            labels_of(first, "an ensemble")
        wanted = [(spec.name, spec.kind, spec.labels) for spec in first.signature.outputs]
        for member in self.predictors[1:]:
            got = [(spec.name, spec.kind, spec.labels) for spec in member.signature.outputs]
            if [one[1:] for one in got] != [one[1:] for one in wanted] or (self._gives_sd and got != wanted):
                raise InputError(
                    f"predictors: expected all to answer as {first.name} does, {wanted}; {member.name} has {got}"
                )

    def predict(self, X: Any, *, batch_size: int | None = None, return_std: bool = False) -> Any:
        """Return the label with the largest mean probability, or the mean of the members' numbers.

        Parameters
        ----------
        X : array-like, table or list of str
            Rows that meet the contract.
        batch_size : int, optional
            Rows in one call of the model; all of them if not given, and with `return_std`.
        return_std : bool, default=False
            Also return the standard deviation: of the members' numbers, or, where they give ``"sd"``, of the mixture
            of their normal distributions. For numbers only.

        Returns
        -------
        numpy.ndarray of shape (n,), or two of them

        Raises
        ------
        InputError
            If the rows do not meet the contract, or `return_std` is asked of an ensemble that gives labels.
        """
        if not return_std:
            return super().predict(X, batch_size=batch_size)
        if self.labels is not None:
            raise InputError("return_std: probabilities have none; predict_draws(X) gives those of each member")
        mean, sd = self._members(self.signature.input.check(X))
        return mean.mean(axis=0), np.sqrt((sd**2).mean(axis=0) + mean.var(axis=0))

    def predict_draws(self, X: Any) -> Floats:
        """Return each member's own answers.

        Parameters
        ----------
        X : array-like, table or list of str

        Returns
        -------
        numpy.ndarray of shape (n_members, n) or (n_members, n, n_labels)
            Numbers (means, where members give ``"mean"`` and ``"sd"``), or probabilities.
        """
        checked = self.signature.input.check(X)
        return self._probabilities(checked) if self.labels is not None else self._members(checked)[0]

    def _mean(self, X: Array) -> Floats:
        if self.labels is not None:
            return normalised(self._probabilities(X).mean(axis=0))
        mean: Floats = self._members(X)[0].mean(axis=0)
        return mean

    def _probabilities(self, X: Array) -> Floats:
        return np.stack([np.asarray(member.predict_proba(X), dtype=np.float64) for member in self.predictors])

    def _members(self, X: Array) -> tuple[Floats, Floats]:
        """Return means and standard deviations (n_members, n); a member that gives one number has none of its own."""
        answers = [member.predict(X) for member in self.predictors]
        names = [member.name for member in self.predictors]
        if not self._gives_sd:
            mean = np.stack([as_numbers(one, name, len(X)) for one, name in zip(answers, names, strict=True)])
            return mean, np.zeros_like(mean)
        mean, sd = (
            np.stack([as_numbers(one[key], name, len(X)) for one, name in zip(answers, names, strict=True)])
            for key in ("mean", "sd")
        )
        if (sd < 0).any():
            raise InputError("predictors: expected standard deviations ≥ 0 in the output 'sd', got a negative one")
        return mean, sd
