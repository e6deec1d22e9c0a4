"""What the three estimators share: reading data, scaling, fitting, and answers from the posterior."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from .._base import InputError, generator
from ._compiled import CompiledPosterior
from ._diagnose import InferenceWarning, diagnose
from ._predictive import PredictiveCheck, Statistic, check_replicates
from ._pymc import flat_draws, import_pymc, quiet
from ._sample import sample

Floats = npt.NDArray[np.float64]
Draws = dict[str, Floats]


class Scaling(NamedTuple):
    """Where the columns of some data lie and how wide they are; which of them never change."""

    mean: Floats
    scale: Floats
    constant: npt.NDArray[np.bool_]

    def apply(self, X: Floats) -> Floats:
        """Return `X` with mean 0 and sd 1, as the data had that this was made from."""
        scaled: Floats = (X - self.mean) / self.scale
        return scaled


def scaling_of(X: Floats, wanted: bool) -> Scaling:
    """Return the mean and sd of each column, or 0 and 1 if they are not wanted; a constant column keeps scale 1."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean, sd = X.mean(axis=0), X.std(axis=0)
    if not np.isfinite(sd).all():
        raise InputError("X and y: the squares of their values overflow; give them in a larger unit")
    constant = np.asarray(sd <= 1e-12 * np.abs(X).max(axis=0, initial=0))
    if not wanted:
        return Scaling(np.zeros_like(mean), np.ones_like(sd), constant)
    return Scaling(mean, np.where(constant, 1.0, sd), constant)


def unscaled(intercept: Floats, coef: Floats, scaling: Scaling, axis: int) -> Draws:
    """Return intercept and coefficients for features as they came; `axis` of `coef` runs over the features."""
    shape = [1] * coef.ndim
    shape[axis] = -1
    coef = coef / scaling.scale.reshape(shape)
    return {"intercept": intercept - (coef * scaling.mean.reshape(shape)).sum(axis=axis), "coef": coef}


def column_notes(X: Floats, scaling: Scaling, names: list[str]) -> list[str]:
    """Return what columns without spread, and more columns than rows, leave to the priors."""
    constant = [name for name, is_constant in zip(names, scaling.constant, strict=True) if is_constant]
    n, p = X.shape
    notes = []
    if constant:
        notes.append(
            f"constant in the training data: {', '.join(constant)}; nothing can be learned about "
            "their coefficients, which stay as their priors have them, and they are not scaled"
        )
    if n <= p:
        notes.append(f"{n} rows cannot settle {p} coefficients and an intercept: the priors decide what is left open")
    return notes


class LinearPosterior(BaseEstimator, ABC):  # type: ignore[misc]
    """A linear model with a posterior: the part that does not depend on the likelihood."""

    _feature_axis = 1  # of the coefficients' draws

    # -- what each estimator says for itself -------------------------------------------------

    @abstractmethod
    def _read(self, X: Any, y: Any) -> dict[str, Any]:
        """Check the training data; return the arrays "X" (n, p), "y" (n,) and what else the model needs."""

    @abstractmethod
    def _rows(self, X: Any) -> Any:
        """Check rows to be answered; return them as the compiled posterior takes them."""

    @abstractmethod
    def _build(self) -> Any:
        """Return the PyMC model of the data in ``self._data``."""

    @abstractmethod
    def _folded(self, draws: Mapping[str, Floats]) -> Draws:
        """Return the model's draws as the compiled posterior takes them, in units of y."""

    @abstractmethod
    def _labels(self) -> dict[str, Any]:
        """Return the family of the compiled posterior, and what its columns and groups are called."""

    @abstractmethod
    def _observed(self, rows: Any, y: Any) -> npt.NDArray[Any]:
        """Return observed answers in the form of the replicated ones."""

    @abstractmethod
    def _replicate(self, compiled: CompiledPosterior, rows: Any, n: int | None, rng: Any) -> npt.NDArray[Any]:
        """Return answers (draws, n) that the model could have given for the rows."""

    @abstractmethod
    def _statistics(self, rows: Any) -> dict[str, Statistic]:
        """Return what a predictive check looks at unless it is told."""

    # -- fitting -----------------------------------------------------------------------------

    def fit(self, X: Any, y: Any) -> Self:
        """Draw from the posterior.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            Finite numbers; `HierarchicalRegressor` takes words in the column of the group.
        y : array-like of shape (n,)

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the data hold NaN, are too few, or do not fit each other.
        InputError
            If a parameter is not what it should be.

        Warns
        -----
        InferenceWarning
            If the draws cannot be trusted, or if the priors decide where the data cannot.
        """
        self.__dict__.pop("_compiled", None)  # a fit that fails leaves nothing that could answer
        self._data = self._read(X, y)
        self._model = self._build()
        self.idata_ = sample(
            self._model, method=self.method, draws=self.draws, tune=self.tune, chains=self.chains, cores=self.cores,
            target_accept=self.target_accept, random_state=self.random_state, progress=self.progress,
            **(self.options or {}),
        )  # fmt: skip
        self.diagnosis_ = diagnose(self.idata_)
        self._compiled = self._compiled_from(flat_draws(self.idata_))
        self._summarize()
        self.notes_ = tuple(self._notes())
        for note in self.notes_:
            warnings.warn(note, InferenceWarning, stacklevel=2)
        return self

    def _summarize(self) -> None:
        means = {name: values.mean(axis=0) for name, values in self.coef_draws().items()}
        self.intercept_, self.coef_ = means["intercept"], means["coef"]

    def _notes(self) -> list[str]:
        """Return what the training data cannot tell, so that the priors decide."""
        return column_notes(self._data["X"], self._data["scaling"], self._feature_names())

    def _feature_names(self) -> list[str]:
        """Return the names of the columns, or x0, x1, ..."""
        return list(getattr(self, "feature_names_in_", [f"x{i}" for i in range(self.n_features_in_)]))

    @property
    def model_(self) -> Any:
        """The fitted PyMC model, for whatever PyMC can do with one; features in it are scaled."""
        check_is_fitted(self)
        if self._model is None:
            self._model = self._build()
        return self._model

    def __getstate__(self) -> dict[str, Any]:
        """Leave the PyMC model out of a pickle, for it cannot be pickled; it is built anew when it is needed."""
        state: dict[str, Any] = dict(super().__getstate__())
        return state | {"_model": None} if "_model" in state else state

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_compiled")

    def _compiled_from(self, draws: Mapping[str, Floats]) -> CompiledPosterior:
        """Return these draws of the model's variables as a compiled posterior."""
        scaling: Scaling = self._data["scaling"]
        names = getattr(self, "feature_names_in_", None)
        return CompiledPosterior(
            draws=self._folded(draws), mean=scaling.mean, scale=scaling.scale, feature_names=names,
            name=type(self).__name__, **self._labels(),
        )  # fmt: skip

    # -- answers -----------------------------------------------------------------------------

    def compile(self) -> CompiledPosterior:
        """Return the posterior as plain arrays: quick, saved as one file, and used without PyMC.

        Returns
        -------
        CompiledPosterior
            `Predictor` takes it.
        """
        check_is_fitted(self)
        return self._compiled

    def coef_draws(self) -> Draws:
        """Return each posterior draw of the line, in the units of the data.

        Returns
        -------
        dict of str to numpy.ndarray
            ``"intercept"`` and ``"coef"``, the draws along the first axis, for features as they came.
        """
        check_is_fitted(self)
        draws = self._folded(flat_draws(self.idata_))
        return unscaled(draws["intercept"], draws["coef"], self._data["scaling"], self._feature_axis)

    def predict_interval(self, X: Any, *, coverage: float = 0.9) -> Floats:
        """Return the central interval that holds a share `coverage` of the posterior.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
        coverage : float, default=0.9
            Above 0 and below 1.

        Returns
        -------
        numpy.ndarray of shape (n, 2) or (n, n_classes, 2)
            Regressors: where a new observation lies (doubt about the line, and noise). Classifiers: where the
            probability of each class lies.
        """
        check_is_fitted(self)
        interval: Floats = self._compiled.predict_interval(self._rows(X), coverage=coverage)
        return interval

    def predict_draws(
        self, X: Any, n: int | None = None, *, random_state: int | np.random.Generator | None = None
    ) -> Floats:
        """Return the answer of each posterior draw.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
        n : int, optional
            How many draws; all by default.
        random_state : int, numpy.random.Generator or None

        Returns
        -------
        numpy.ndarray of shape (n, n_rows) or (n, n_rows, n_classes)
            Regressors: new observations, noise included. Classifiers: probabilities.
        """
        check_is_fitted(self)
        draws: Floats = self._compiled.predict_draws(self._rows(X), n=n, random_state=random_state)
        return draws

    # -- checks against what the model could have said ------------------------------------------

    def prior_predictive(
        self, X: Any = None, n: int = 500, *, random_state: int | np.random.Generator | None = None
    ) -> npt.NDArray[Any]:
        """Return answers that the priors alone would give.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), optional
            The training rows by default.
        n : int, default=500
        random_state : int, numpy.random.Generator or None

        Returns
        -------
        numpy.ndarray of shape (n, n_rows)
            Observations, or labels.
        """
        check_is_fitted(self)
        rng = generator(random_state)
        return self._replicate(self._prior(n, rng), self._rows_or_training(X), None, rng)

    def posterior_predictive(
        self, X: Any = None, n: int | None = None, *, random_state: int | np.random.Generator | None = None
    ) -> npt.NDArray[Any]:
        """Return answers that the fitted model would give if the data were collected again.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features), optional
            The training rows by default.
        n : int, optional
            How many times; once for each posterior draw by default.
        random_state : int, numpy.random.Generator or None

        Returns
        -------
        numpy.ndarray of shape (n, n_rows)
            Observations, or labels.
        """
        check_is_fitted(self)
        return self._replicate(self._compiled, self._rows_or_training(X), n, generator(random_state))

    def predictive_check(
        self,
        X: Any = None,
        y: Any = None,
        *,
        statistics: Mapping[str, Callable[[npt.NDArray[Any]], float]] | None = None,
        prior: bool = False,
        n: int = 500,
        random_state: int | np.random.Generator | None = None,
    ) -> PredictiveCheck:
        """Hold what was observed against what the model would have given.

        Parameters
        ----------
        X, y : array-like, optional
            Rows and what was observed there; the training data by default.
        statistics : mapping of str to callable, optional
            Functions from one set of answers (n_rows,) to a number. By default mean, sd, least and largest value
            for a regressor; the share of each class and the agreement with `predict` for a classifier.
        prior : bool, default=False
            Ask the priors instead of the posterior.
        n : int, default=500
            How many replicated sets.
        random_state : int, numpy.random.Generator or None

        Returns
        -------
        PredictiveCheck

        References
        ----------
        A. Gelman, X.-L. Meng and H. Stern, "Posterior predictive assessment of model fitness via realized
        discrepancies", Statistica Sinica 6, 1996.
        """
        check_is_fitted(self)
        if (X is None) != (y is None):
            raise InputError("predictive_check: expected both X and y, or neither for the training data")
        rows = self._rows_or_training(X)
        observed = self._data["answers"] if y is None else self._observed(rows, y)
        rng = generator(random_state)
        compiled, many = (self._prior(n, rng), None) if prior else (self._compiled, n)
        replicated = self._replicate(compiled, rows, many, rng)
        wanted = self._statistics(rows) if statistics is None else statistics
        return check_replicates("prior" if prior else "posterior", observed, replicated, wanted)

    def _rows_or_training(self, X: Any) -> Any:
        return self._data["rows"] if X is None else self._rows(X)

    def _prior(self, n: int, rng: np.random.Generator) -> CompiledPosterior:
        """Return `n` draws of the priors in the form of a posterior."""
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
            raise InputError(f"n: expected an integer ≥ 1, got {n!r}")
        pm = import_pymc()
        variables = {v.name: v for v in (*self.model_.free_RVs, *self.model_.deterministics)}
        seed = int(rng.integers(2**31))
        with quiet():
            values = pm.draw(list(variables.values()), draws=max(2, n), mode="FAST_COMPILE", random_seed=seed)
        return self._compiled_from({name: v[:n] for name, v in zip(variables, values, strict=True)})
