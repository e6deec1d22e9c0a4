"""Logistic regression with a posterior, for two classes or more."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from .._base import InputError
from ._compiled import CompiledPosterior
from ._linear import Draws, Floats, LinearPosterior, scaling_of
from ._predictive import Statistic
from ._priors import Prior, add_prior
from ._pymc import import_pymc


class BayesianClassifier(ClassifierMixin, LinearPosterior):  # type: ignore[misc]
    """Logistic regression whose answer is a distribution of probabilities.

    With two classes the log odds of the second are ``intercept + X @ coef``; with more, each class has a score of
    that form and the probabilities are their softmax. `X` is scaled to mean 0 and sd 1 while the model is fitted, so
    the defaults of the priors are weak for any data: coefficients ~ Normal(0, 2.5) for one sd of their feature,
    intercepts ~ Normal(0, 5). With more than two classes they sum to zero over the classes: no class is special.

    Parameters
    ----------
    coef_prior : float or PyMC distribution, default=2.5
        The sd of a normal distribution around 0, or a distribution such as ``pm.StudentT.dist(nu=4)``. A distribution
        given for more than two classes stands for each class alone; the sum to zero is then given up.
    intercept_prior : float or PyMC distribution, default=5.0
        The same for the intercepts, that is the log odds at the mean of the features.
    standardize : bool, default=True
        Whether to scale `X`. Without, priors are in the units of the data. A constant column keeps scale 1.
    method : {"nuts", "advi", "laplace", "smc"}, default="nuts"
        How to draw from the posterior; see `inferkit.bayes.sample`, which also takes the next seven.
    draws : int, default=1000
        For each chain.
    tune : int, default=1000
    chains : int, default=4
    cores : int, optional
    target_accept : float, default=0.8
    random_state : int, numpy.random.Generator or None, default=None
    progress : bool, default=True
    options : dict, optional
        Further arguments for `inferkit.bayes.sample`.

    Attributes
    ----------
    classes_ : numpy.ndarray of shape (n_classes,)
    idata_ : arviz.InferenceData or xarray.DataTree
        The draws, on the scale of the fit.
    diagnosis_ : Diagnosis
        Whether the draws can be trusted.
    notes_ : tuple of str
        What the data could not tell, so that the priors decided; also warned about.
    model_ : pymc.Model
    coef_ : numpy.ndarray of shape (1, n_features) or (n_classes, n_features)
        Posterior means in the units of the data; one row for two classes, as scikit-learn has it.
    intercept_ : numpy.ndarray of shape (1,) or (n_classes,)
    n_features_in_ : int
    feature_names_in_ : numpy.ndarray of str
        If `X` had names.

    References
    ----------
    A. Gelman, A. Jakulin, M. G. Pittau and Y.-S. Su, "A weakly informative default prior distribution for logistic
    and other regression models", Annals of Applied Statistics 2, 2008 (the scale 2.5, there of a Cauchy).

    Examples
    --------
    >>> import numpy as np
    >>> from inferkit.bayes import BayesianClassifier
    >>> X = np.array([[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]])
    >>> y = np.array(["no", "no", "yes", "no", "yes", "yes"])
    >>> model = BayesianClassifier(method="laplace", random_state=0, progress=False).fit(X, y)
    >>> model.predict([[0.0], [7.0]])
    array(['no', 'yes'], dtype='<U3')
    >>> interval = model.predict_interval([[4.0]])  # of the probability: six patients leave doubt
    >>> interval.shape
    (1, 2, 2)
    """

    def __init__(
        self,
        *,
        coef_prior: Prior = 2.5,
        intercept_prior: Prior = 5.0,
        standardize: bool = True,
        method: str = "nuts",
        draws: int = 1000,
        tune: int = 1000,
        chains: int = 4,
        cores: int | None = None,
        target_accept: float = 0.8,
        random_state: int | np.random.Generator | None = None,
        progress: bool = True,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.coef_prior = coef_prior
        self.intercept_prior = intercept_prior
        self.standardize = standardize
        self.method = method
        self.draws = draws
        self.tune = tune
        self.chains = chains
        self.cores = cores
        self.target_accept = target_accept
        self.random_state = random_state
        self.progress = progress
        self.options = options

    # -- fitting -----------------------------------------------------------------------------

    def _read(self, X: Any, y: Any) -> dict[str, Any]:
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(
                f"y: expected two classes or more, got one class, {self.classes_.tolist()[0]!r}, in all rows"
            )
        scaling = scaling_of(X, self.standardize)
        return {"rows": X, "X": scaling.apply(X), "answers": y, "codes": codes, "scaling": scaling}

    def _rows(self, X: Any) -> Floats:
        rows: Floats = validate_data(self, X, dtype=np.float64, reset=False)
        return rows

    @property
    def _is_binary(self) -> bool:
        return len(self.classes_) == 2

    def _build(self) -> Any:
        pm = import_pymc()
        coords = {"feature": self._feature_names(), "class": self.classes_.tolist()}
        over, family = ((), "normal") if self._is_binary else (("class",), "zero-sum")
        with pm.Model(coords=coords) as model:
            x = pm.Data("X", self._data["X"], dims=("row", "feature"))
            codes = pm.Data("y_observed", self._data["codes"], dims="row")
            intercept = add_prior("intercept", self.intercept_prior, family, dims=over, parameter="intercept_prior")
            coef = add_prior("coef", self.coef_prior, family, dims=("feature", *over), parameter="coef_prior")
            likelihood = pm.Bernoulli if self._is_binary else pm.Categorical
            likelihood("y", logit_p=intercept + x @ coef, observed=codes, dims="row")
        return model

    def _folded(self, draws: Mapping[str, Floats]) -> Draws:
        return {"intercept": draws["intercept"], "coef": draws["coef"]}

    def _labels(self) -> dict[str, Any]:
        return {"family": "bernoulli" if self._is_binary else "categorical", "classes": self.classes_}

    def _summarize(self) -> None:
        super()._summarize()
        self.coef_, self.intercept_ = np.atleast_2d(self.coef_.T), np.atleast_1d(self.intercept_)

    def _separates(self) -> bool:
        """Tell whether the mean of the posterior's lines puts every training row on its own side."""
        scores = self._data["rows"] @ self.coef_.T + self.intercept_
        guess = (scores[:, 0] > 0) if self._is_binary else scores.argmax(axis=1)
        return bool((guess == self._data["codes"]).all())

    def _notes(self) -> list[str]:
        separated = (
            "a plane separates the classes: the data alone would push the coefficients to infinity, "
            "and how far they go is decided by coef_prior"
        )
        return super()._notes() + [separated] * self._separates()

    # -- answers -----------------------------------------------------------------------------

    def predict_proba(self, X: Any) -> Floats:
        """Return the probability of each class, averaged over the posterior.

        Parameters
        ----------
        X : array-like of shape (n, n_features)

        Returns
        -------
        numpy.ndarray of shape (n, n_classes)
            Columns in the order of ``classes_``.
        """
        check_is_fitted(self)
        return self._compiled.predict_proba(self._rows(X))

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the likeliest class.

        Parameters
        ----------
        X : array-like of shape (n, n_features)

        Returns
        -------
        numpy.ndarray of shape (n,)
        """
        probabilities = self.predict_proba(X)
        labels: npt.NDArray[Any] = self.classes_[probabilities.argmax(axis=1)]
        return labels

    def _observed(self, rows: Any, y: Any) -> npt.NDArray[Any]:
        labels = np.asarray(column_or_1d(y))
        if len(labels) != len(rows) or not np.isin(labels, self.classes_).all():
            raise InputError(
                f"y: expected one of {self.classes_.tolist()} for each of the {len(rows)} rows of X, "
                f"got {len(labels)} labels, {np.unique(labels).tolist()}"
            )
        return labels

    def _replicate(self, compiled: CompiledPosterior, rows: Any, n: int | None, rng: Any) -> npt.NDArray[Any]:
        """Draw labels: a uniform number passes the summed probabilities of the classes before its own."""
        passed = compiled.predict_draws(rows, n=n, random_state=rng).cumsum(axis=2)[..., :-1]
        codes = (rng.random(passed.shape[:2])[..., None] > passed).sum(axis=2)
        labels: npt.NDArray[Any] = self.classes_[codes]
        return labels

    def _statistics(self, rows: Any) -> dict[str, Statistic]:
        guess = self.classes_[self._compiled.predict_proba(rows).argmax(axis=1)]
        shares: dict[str, Statistic] = {f"share of {c}": _ShareOf(c) for c in self.classes_.tolist()}
        return shares | {"share as predicted": _ShareOf(guess)}


class _ShareOf:
    """The share of answers that are equal to something."""

    def __init__(self, wanted: Any) -> None:
        self.wanted = wanted

    def __call__(self, answers: npt.NDArray[Any]) -> float:
        return float(np.mean(answers == self.wanted))
