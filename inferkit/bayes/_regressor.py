"""Linear regression with a posterior, normal or Student-t noise."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from .._base import InputError
from ._compiled import CompiledPosterior
from ._linear import Draws, Floats, LinearPosterior, Scaling, scaling_of
from ._predictive import Statistic
from ._priors import Prior, add_prior
from ._pymc import import_pymc

LIKELIHOODS = ("normal", "student")
RESOLUTION = 1e-3  # of sd(y)


def add_noise(pm: Any, line: Any, y: Floats, target: Scaling, estimator: Any) -> None:
    """Put the target into the model whose block this is called in: the line in units of sd(y), and noise.

    A thousandth of sd(y) is added to the noise in quadrature: where a line fits all rows exactly, the posterior of
    a noise that may vanish has no finite integral.

    Parameters
    ----------
    pm : module
        PyMC.
    line : pytensor.tensor.TensorVariable of shape (n,)
    y : numpy.ndarray of shape (n,)
        In its own units.
    target : Scaling
        Of y.
    estimator : BayesianRegressor or HierarchicalRegressor
        Whose `likelihood`, `sigma_prior` and `nu_prior` are used.

    Raises
    ------
    InputError
        If the likelihood is unknown.
    """
    if estimator.likelihood not in LIKELIHOODS:
        raise InputError(f"likelihood: expected one of {LIKELIHOODS}, got {estimator.likelihood!r}")
    sigma = add_prior("sigma", estimator.sigma_prior, "half-normal", parameter="sigma_prior")
    # data, and no constants: a constant would be compiled into the code, and each y would need code of its own
    mean, scale = pm.Data("y_mean", float(target.mean)), pm.Data("y_scale", float(target.scale))
    observed = pm.Data("y_observed", y, dims="row")
    resolution = pm.Data("y_resolution", target_resolution(y, target))
    where, width = mean + scale * line, pm.math.sqrt((scale * sigma) ** 2 + resolution**2)
    if estimator.likelihood == "normal":
        pm.Normal("y", where, width, observed=observed, dims="row")
        return
    above_two = add_prior("nu_above_2", estimator.nu_prior, "gamma", parameter="nu_prior")
    nu = pm.Deterministic("nu", 2 + above_two)
    pm.StudentT("y", nu=nu, mu=where, sigma=width, observed=observed, dims="row")


def target_resolution(y: Floats, target: Scaling) -> float:
    """Return the least noise that the model takes y to have, in units of y."""
    return RESOLUTION * (1.0 if target.constant else float(y.std()))


class NumberAnswers(RegressorMixin, LinearPosterior):  # type: ignore[misc]
    """The answers of the estimators that predict a number."""

    def predict(self, X: Any, *, return_std: bool = False) -> Any:
        """Return the mean of the posterior predictive distribution.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
        return_std : bool, default=False
            Also return its standard deviation: doubt about the line, and noise.

        Returns
        -------
        numpy.ndarray of shape (n,), or two of them
        """
        check_is_fitted(self)
        return self._compiled.predict(self._rows(X), return_std=return_std)

    def _observed(self, rows: Any, y: Any) -> npt.NDArray[Any]:
        return _same_length(rows, np.asarray(column_or_1d(y), dtype=np.float64))

    def _replicate(self, compiled: CompiledPosterior, rows: Any, n: int | None, rng: Any) -> npt.NDArray[Any]:
        return compiled.predict_draws(rows, n=n, random_state=rng)

    def _statistics(self, rows: Any) -> dict[str, Statistic]:
        return {"mean": np.mean, "sd": np.std, "least": np.min, "largest": np.max}


def _same_length(rows: Any, y: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if len(y) != len(rows):
        raise InputError(f"y: expected one value for each of the {len(rows)} rows of X, got {len(y)}")
    return y


def folded_noise(draws: Mapping[str, Floats], y: Floats, target: Scaling) -> Draws:
    """Return the draws of the noise in units of y."""
    noise = {"sigma": np.hypot(draws["sigma"] * target.scale, target_resolution(y, target))}
    return noise | ({"nu": draws["nu"]} if "nu" in draws else {})


class BayesianRegressor(NumberAnswers):
    """Linear regression whose answer is a distribution.

    ``y = intercept + X @ coef + noise``, with `X` and `y` scaled to mean 0 and sd 1 while the model is fitted. So the
    defaults of the priors are weak for any data: intercept and coefficients ~ Normal(0, 2.5), the noise's sd ~
    HalfNormal(1), all in units of sd(y), coefficients for one sd of their feature. A thousandth of sd(y) is added to
    the noise in quadrature, so that data without noise have a posterior too. Student-t noise has degrees of freedom
    2 + Gamma with shape 2: always more than two, so that the sd of a prediction exists.

    Parameters
    ----------
    likelihood : {"normal", "student"}, default="normal"
        The noise. Student's t is not pulled away by single wild observations.
    coef_prior, intercept_prior : float or PyMC distribution, default=2.5
        The sd of a normal distribution around 0, or a distribution such as ``pm.StudentT.dist(nu=4)``.
    sigma_prior : float or PyMC distribution, default=1.0
        The scale of a half-normal distribution, or a distribution of positive numbers.
    nu_prior : float or PyMC distribution, default=20.0
        The mean of a gamma distribution with shape 2, or a distribution of positive numbers, for the degrees of
        freedom above 2 of Student's t.
    standardize : bool, default=True
        Whether to scale `X` and `y`. Without, priors are in the units of the data. A constant column keeps scale 1.
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
    idata_ : arviz.InferenceData or xarray.DataTree
        The draws, on the scale of the fit.
    diagnosis_ : Diagnosis
        Whether the draws can be trusted.
    notes_ : tuple of str
        What the data could not tell, so that the priors decided; also warned about.
    model_ : pymc.Model
    coef_ : numpy.ndarray of shape (n_features,)
        Posterior means in the units of the data.
    intercept_ : float
    n_features_in_ : int
    feature_names_in_ : numpy.ndarray of str
        If `X` had names.

    References
    ----------
    A. Gelman, J. Hill and A. Vehtari, *Regression and Other Stories*, 2020, chapter 9 (scaled weak priors).
    M. A. Juárez and M. F. J. Steel, "Model-based clustering of non-Gaussian panel data based on skew-t
    distributions", Journal of Business & Economic Statistics 28, 2010 (the gamma prior of shape 2).

    Examples
    --------
    >>> import numpy as np
    >>> from inferkit.bayes import BayesianRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 1))
    >>> y = 3 * X[:, 0] + rng.normal(size=200)
    >>> model = BayesianRegressor(method="laplace", random_state=0, progress=False).fit(X, y)
    >>> model.coef_.round()
    array([3.])
    >>> mean, sd = model.predict([[2.0]], return_std=True)
    >>> mean.round(), sd.round()
    (array([6.]), array([1.]))
    """

    def __init__(
        self,
        *,
        likelihood: str = "normal",
        coef_prior: Prior = 2.5,
        intercept_prior: Prior = 2.5,
        sigma_prior: Prior = 1.0,
        nu_prior: Prior = 20.0,
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
        self.likelihood = likelihood
        self.coef_prior = coef_prior
        self.intercept_prior = intercept_prior
        self.sigma_prior = sigma_prior
        self.nu_prior = nu_prior
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

    def _read(self, X: Any, y: Any) -> dict[str, Any]:
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=2)
        y = y.astype(np.float64)
        scaling, target = scaling_of(X, self.standardize), scaling_of(y, self.standardize)
        return {"rows": X, "X": scaling.apply(X), "answers": y, "scaling": scaling, "target": target}

    def _rows(self, X: Any) -> Floats:
        rows: Floats = validate_data(self, X, dtype=np.float64, reset=False)
        return rows

    def _build(self) -> Any:
        pm = import_pymc()
        X = self._data["X"]
        with pm.Model(coords={"feature": self._feature_names()}) as model:
            x = pm.Data("X", X, dims=("row", "feature"))
            intercept = add_prior("intercept", self.intercept_prior, "normal", parameter="intercept_prior")
            coef = add_prior("coef", self.coef_prior, "normal", dims=("feature",), parameter="coef_prior")
            add_noise(pm, intercept + x @ coef, self._data["answers"], self._data["target"], self)
        return model

    def _folded(self, draws: Mapping[str, Floats]) -> Draws:
        target = self._data["target"]
        line = {"intercept": target.mean + target.scale * draws["intercept"], "coef": target.scale * draws["coef"]}
        return line | folded_noise(draws, self._data["answers"], target)

    def _labels(self) -> dict[str, Any]:
        return {"family": self.likelihood}
