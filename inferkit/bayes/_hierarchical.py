"""Linear regression for groups that are alike: each has its own line, and lends strength to the others."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_array, validate_data

from .._base import InputError
from ._compiled_check import Label
from ._linear import Draws, Floats, scaling_of, unscaled
from ._predictive import Statistic
from ._priors import Prior, add_prior
from ._pymc import import_pymc
from ._regressor import NumberAnswers, add_noise, folded_noise

Array = npt.NDArray[Any]


class HierarchicalRegressor(NumberAnswers):
    """Linear regression with partial pooling: an intercept and slopes for each group, drawn from one distribution.

    The line of group g is ``line + group_sd * offset[g]`` with offsets ~ Normal(0, 1) (the non-centred form, which
    NUTS can walk through). How much groups borrow from each other is learned: `group_sd` near 0 is one line for all,
    large is a line for each alone. `X` and `y` are scaled to mean 0 and sd 1 while the model is fitted. Defaults of
    the priors, in units of sd(y), slopes for one sd of their feature: the mean line ~ Normal(0, 2.5), `group_sd` ~
    HalfNormal(1) for intercept and each slope, the noise's sd ~ HalfNormal(1).

    A group that was not seen in `fit` is drawn from the distribution of the groups: its answers are centred on the
    mean line and wider.

    Parameters
    ----------
    group : int or str, default=0
        The column of `X` that says which group a row belongs to: its position, or its name if `X` has names. Words
        alone, or numbers alone. It is no feature. `X` may have no other column.
    likelihood : {"normal", "student"}, default="normal"
        The noise. Student's t is not pulled away by single wild observations.
    coef_prior, intercept_prior : float or PyMC distribution, default=2.5
        For the mean line: the sd of a normal distribution around 0, or a distribution.
    group_sd_prior : float or PyMC distribution, default=1.0
        The scale of a half-normal distribution, or a distribution of positive numbers, for the sd between groups of
        the intercept and of each slope.
    sigma_prior : float or PyMC distribution, default=1.0
        The scale of a half-normal distribution, or a distribution of positive numbers.
    nu_prior : float or PyMC distribution, default=20.0
        The mean of a gamma distribution with shape 2, or a distribution of positive numbers, for the degrees of
        freedom above 2 of Student's t.
    standardize : bool, default=True
        Whether to scale `X` and `y`. Without, priors are in the units of the data. A constant column keeps scale 1.
    method : {"nuts", "advi", "laplace", "smc"}, default="nuts"
        How to draw from the posterior; see `inferkit.bayes.sample`, which also takes the next seven. Laplace
        and ADVI are quick and, for this model, rough: they take too narrow a view of `group_sd`.
    draws : int, default=1000
        For each chain.
    tune : int, default=1000
    chains : int, default=4
    cores : int, optional
    target_accept : float, default=0.9
    random_state : int, numpy.random.Generator or None, default=None
    progress : bool, default=True
    options : dict, optional
        Further arguments for `inferkit.bayes.sample`.

    Attributes
    ----------
    groups_ : tuple
        The labels of the groups.
    idata_ : arviz.InferenceData or xarray.DataTree
        The draws, on the scale of the fit.
    diagnosis_ : Diagnosis
        Whether the draws can be trusted.
    notes_ : tuple of str
        What the data could not tell, so that the priors decided; also warned about.
    model_ : pymc.Model
    coef_ : numpy.ndarray of shape (n_features - 1,)
        Posterior means of the mean line, in the units of the data.
    intercept_ : float
    group_coef_ : numpy.ndarray of shape (n_groups, n_features - 1)
        Posterior means of each group's line.
    group_intercept_ : numpy.ndarray of shape (n_groups,)
    n_features_in_ : int
        The group's column counts.
    feature_names_in_ : numpy.ndarray of str
        If `X` had names.

    References
    ----------
    A. Gelman and J. Hill, *Data Analysis Using Regression and Multilevel/Hierarchical Models*, 2007, chapter 13.
    M. Betancourt and M. Girolami, "Hamiltonian Monte Carlo for Hierarchical Models", 2015 (the non-centred form).

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> from inferkit.bayes import HierarchicalRegressor, InferenceWarning
    >>> rng = np.random.default_rng(0)
    >>> clinic = np.repeat([1, 2, 3, 4], [30, 30, 30, 2])
    >>> y = 10 * clinic + rng.normal(size=92)
    >>> model = HierarchicalRegressor(method="laplace", random_state=0, progress=False)
    >>> with warnings.catch_warnings():  # Laplace is rough here, and says so; for results to trust leave NUTS in place
    ...     warnings.simplefilter("ignore", InferenceWarning)
    ...     _ = model.fit(clinic[:, None], y)
    >>> model.groups_
    (1, 2, 3, 4)
    >>> known, new = np.diff(model.predict_interval([[1], [99]]))[:, 0]
    >>> bool(new > known)
    True
    """

    def __init__(
        self,
        *,
        group: int | str = 0,
        likelihood: str = "normal",
        coef_prior: Prior = 2.5,
        intercept_prior: Prior = 2.5,
        group_sd_prior: Prior = 1.0,
        sigma_prior: Prior = 1.0,
        nu_prior: Prior = 20.0,
        standardize: bool = True,
        method: str = "nuts",
        draws: int = 1000,
        tune: int = 1000,
        chains: int = 4,
        cores: int | None = None,
        target_accept: float = 0.9,
        random_state: int | np.random.Generator | None = None,
        progress: bool = True,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.group = group
        self.likelihood = likelihood
        self.coef_prior = coef_prior
        self.intercept_prior = intercept_prior
        self.group_sd_prior = group_sd_prior
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

    def __sklearn_tags__(self) -> Any:
        """Say that a column of `X` may hold categories."""
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        return tags

    # -- reading -----------------------------------------------------------------------------

    def _read(self, X: Any, y: Any) -> dict[str, Any]:
        table, y = validate_data(
            self, X, y, dtype=None, ensure_all_finite=False, y_numeric=True, ensure_min_samples=2
        )  # fmt: skip
        self._column = self._group_column()
        rows, labels = self._split(table)
        y = y.astype(np.float64)
        self.groups_ = tuple(sorted(set(labels)))
        numbers = {label: number for number, label in enumerate(self.groups_)}
        X = np.delete(rows, self._column, axis=1).astype(np.float64)
        scaling, target = scaling_of(X, self.standardize), scaling_of(y, self.standardize)
        member = np.array([numbers[label] for label in labels])
        return {
            "rows": rows,
            "X": scaling.apply(X),
            "answers": y,
            "scaling": scaling,
            "target": target,
            "member": member,
        }

    def _group_column(self) -> int:
        names = list(getattr(self, "feature_names_in_", ()))
        if isinstance(self.group, str) and self.group in names:
            return names.index(self.group)
        n: int = self.n_features_in_
        if not isinstance(self.group, int | np.integer) or isinstance(self.group, bool) or not -n <= self.group < n:
            known = f", or one of {names}" if names else "; X has no names"
            raise InputError(f"group: expected a column of X from 0 to {n - 1}{known}, got {self.group!r}")
        return int(self.group) % n

    def _split(self, table: Array) -> tuple[Array, list[Label]]:
        """Return the rows as the compiled posterior takes them, and the label of each."""
        features = check_array(
            np.delete(table, self._column, axis=1), dtype=np.float64, ensure_min_features=0, estimator=self,
            input_name="X",
        )  # fmt: skip
        labels = [_label(label) for label in table[:, self._column].tolist()]
        kinds = {isinstance(label, str) for label in labels}
        if len(kinds) > 1:
            raise InputError("group: expected words alone or numbers alone, got both")
        rows = np.insert(features.astype(object) if kinds == {True} else features, self._column, labels, axis=1)
        return rows, labels

    def _rows(self, X: Any) -> Array:
        return self._split(validate_data(self, X, dtype=None, ensure_all_finite=False, reset=False))[0]

    def _feature_names(self) -> list[str]:
        names = super()._feature_names()
        return names[: self._column] + names[self._column + 1 :]

    # -- the model ---------------------------------------------------------------------------

    def _build(self) -> Any:
        pm = import_pymc()
        features = self._feature_names()
        coords = {"feature": features, "term": ["intercept", *features], "group": list(self.groups_)}
        with pm.Model(coords=coords) as model:
            member = pm.Data("member", self._data["member"], dims="row")
            sd = add_prior("group_sd", self.group_sd_prior, "half-normal", dims=("term",), parameter="group_sd_prior")
            offset = pm.Normal("offset", 0, 1, dims=("group", "term"))
            intercept = add_prior("intercept", self.intercept_prior, "normal", parameter="intercept_prior")
            own = pm.Deterministic("group_intercept", intercept + sd[0] * offset[:, 0], dims="group")
            line = own[member]
            if features:
                x = pm.Data("X", self._data["X"], dims=("row", "feature"))
                coef = add_prior("coef", self.coef_prior, "normal", dims=("feature",), parameter="coef_prior")
                slopes = pm.Deterministic("group_coef", coef + sd[1:] * offset[:, 1:], dims=("group", "feature"))
                line = line + (x * slopes[member]).sum(axis=1)
            add_noise(pm, line, self._data["answers"], self._data["target"], self)
        return model

    def _folded(self, draws: Mapping[str, Floats]) -> Draws:
        target = self._data["target"]
        n, p = len(draws["sigma"]), self._data["X"].shape[1]
        coef = draws.get("coef", np.zeros((n, p)))
        return {
            "intercept": target.mean + target.scale * draws["group_intercept"],
            "coef": target.scale * draws.get("group_coef", np.zeros((n, len(self.groups_), p))),
            "group_mean": np.column_stack([target.mean + target.scale * draws["intercept"], target.scale * coef]),
            "group_sd": target.scale * draws["group_sd"],
        } | folded_noise(draws, self._data["answers"], target)

    def _labels(self) -> dict[str, Any]:
        family = f"hierarchical-{self.likelihood}"
        return {"family": family, "groups": self.groups_, "group_column": self._column}

    def coef_draws(self) -> Draws:
        """Return each posterior draw of the lines, in the units of the data.

        Returns
        -------
        dict of str to numpy.ndarray
            ``"intercept"`` (S,) and ``"coef"`` (S, p) of the mean line; ``"group_intercept"`` (S, n_groups) and
            ``"group_coef"`` (S, n_groups, p), groups in the order of ``groups_``.
        """
        draws = self.compile().draws
        mean, scaling = draws["group_mean"], self._data["scaling"]
        own = unscaled(draws["intercept"], draws["coef"], scaling, 2)
        whole = unscaled(mean[:, 0], mean[:, 1:], scaling, 1)
        return whole | {f"group_{name}": values for name, values in own.items()}

    def _summarize(self) -> None:
        means = {name: values.mean(axis=0) for name, values in self.coef_draws().items()}
        self.intercept_, self.coef_ = means["intercept"], means["coef"]
        self.group_intercept_, self.group_coef_ = means["group_intercept"], means["group_coef"]

    def _statistics(self, rows: Any) -> dict[str, Statistic]:
        member = np.unique(rows[:, self._column].astype(str), return_inverse=True)[1]
        return super()._statistics(rows) | {"sd of group means": _SdOfMeans(member)}


class _SdOfMeans:
    """How far the means of groups lie apart."""

    def __init__(self, member: npt.NDArray[np.intp]) -> None:
        self.member, self.sizes = member, np.bincount(member)

    def __call__(self, answers: Array) -> float:
        return float(np.std(np.bincount(self.member, answers) / self.sizes))


def _label(label: Any) -> Label:
    """Return one group's label, a whole number without its decimal point."""
    label = label.item() if isinstance(label, np.generic) else label
    if isinstance(label, str):
        return label
    if not isinstance(label, int | float):
        raise TypeError(f"group: the argument must be a string or a number, got {label!r}")
    if not np.isfinite(label):
        raise InputError(f"group: expected a label in every row, got {label!r} (NaN or infinity) in one")
    return int(label) if label == int(label) else label
