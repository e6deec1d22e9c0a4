"""One number that makes probabilities more or less sure, and leaves every answer as it is."""

import os
from typing import Any

import numpy as np

from .._base import InputError
from ..predictor import Predictor, Softmax, Temper
from ..predictor._steps import logs_of, tempered
from ._checks import Floats, Integers, as_codes, as_predictor, labels_of
from ._derived import Derived, NotFitted

_COLDEST, _HOTTEST = 1e-3, 1e3


class TemperatureScaler(Derived):
    """Temperature scaling: a predictor whose probabilities were made right on average, by one number.

    Parameters
    ----------
    predictor : Predictor, or what a Predictor takes
        Gives probabilities. What a Predictor can work with is the probabilities, so their logarithms serve as logits;
        for a model that ends in a softmax that is the same thing.
    name : str, optional
        For tables and figures.

    Attributes
    ----------
    temperature_ : float
        Above 1 if the model was too sure.
    nll_before_, nll_after_ : float
        Mean negative log-likelihood of the rows of `fit`, in nats, before and after.
    predictor : Predictor
        The one that it was made of.

    Notes
    -----
    Answers do not change: the order of the probabilities stays. One temperature cannot mend a model that is too sure of
    one label and not sure enough of another.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.

    Examples
    --------
    A model that says 0.95 where 0.8 would be right:

    >>> from inferkit.predictor import ArraySpec
    >>> def sure(X):
    ...     return np.where(X > 0, [[0.05, 0.95]], [[0.95, 0.05]])
    >>> predictor = Predictor(sure, signature=ArraySpec((1,)), labels=["no", "yes"], name="sure")
    >>> X, y = np.ones((10, 1)), ["yes"] * 8 + ["no"] * 2
    >>> scaled = TemperatureScaler(predictor).fit(X, y)
    >>> scaled.predict_proba(X[:1]).round(3), scaled.temperature_ > 1
    (array([[0.2, 0.8]]), True)
    """

    temperature_: float
    nll_before_: float
    nll_after_: float

    def __init__(self, predictor: Any, *, name: str | None = None) -> None:
        self.predictor = as_predictor(predictor)
        labels_of(self.predictor, "temperature scaling")
        self._name = name or f"{self.predictor.name}, temperature scaled"
        self._derive(self.predictor, name=self._name, postprocess=[NotFitted("TemperatureScaler")])

    def fit(self, X: Any, y: Any) -> "TemperatureScaler":
        """Find the temperature under which the labels of some rows are likeliest.

        Parameters
        ----------
        X : array-like, table or list of str
            Rows that the model was not trained on.
        y : array-like, shape (n,)
            Their labels.

        Returns
        -------
        TemperatureScaler
            Itself.

        Raises
        ------
        InputError
            If the rows or labels do not fit the predictor, or no temperature is best: every row is answered right (0
            would be best), or the true labels are no likelier than others (infinity would be).
        """
        p = self.predictor.predict_proba(X)
        codes = as_codes(y, labels_of(self.predictor, "temperature scaling"), len(p))
        floor = max(1e-12, self.predictor.backend.resolution / 2)
        logs = logs_of(p, floor)
        cold = _coldness(logs, codes)
        self.temperature_ = 1 / cold
        self.nll_before_, self.nll_after_ = _nll(logs, codes, 1.0), _nll(logs, codes, cold)
        self._derive(self.predictor, name=self._name, postprocess=self._steps_after(floor))
        return self

    def _steps_after(self, floor: float) -> list[Any]:
        steps = list(self.predictor.postprocess)
        if steps and isinstance(steps[-1], Softmax):  # the logits are at hand
            return [*steps[:-1], Softmax(steps[-1].temperature * self.temperature_)]
        return [*steps, Temper(self.temperature_, floor)]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model, the steps with the temperature, and the contract. See `Predictor.save`.

        `Predictor.load` opens it, as a plain `Predictor`.
        """
        Predictor.save(self, path)


def _nll(logs: Floats, codes: Integers, cold: float) -> float:
    scaled = logs * cold
    true = np.take_along_axis(scaled, codes[:, None], axis=1)[:, 0]
    return float((np.log(np.exp(scaled).sum(axis=1)) - true).mean())


def _coldness(logs: Floats, codes: Integers) -> float:
    """Return the 1 / T with the least mean negative log-likelihood, which is convex in 1 / T: its slope is bisected."""
    true = np.take_along_axis(logs, codes[:, None], axis=1)[:, 0].mean()
    low, high = np.log(1 / _HOTTEST), np.log(1 / _COLDEST)

    def slope(at: float) -> float:
        return float((tempered(logs, float(np.exp(at))) * logs).sum(axis=1).mean() - true)

    if slope(high) <= 0:
        raise InputError(
            f"fit: the model answers all {len(logs)} rows right, so the surer the likelier, and no temperature is "
            "best; give more rows, or rows that it was not trained on"
        )
    if slope(low) >= 0:
        raise InputError(
            f"fit: in these {len(logs)} rows the true label gets no more probability than the others, so no "
            "temperature is best; check the order of the labels"
        )
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float(np.exp((low + high) / 2))
