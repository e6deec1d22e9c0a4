"""Models whose posterior is known by another route, for the tests of inferkit.bayes."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy import stats

from inferkit.bayes import compare_methods
from inferkit.bayes._methods import MethodComparison
from inferkit.bayes._pymc import import_pymc

EFFECTS = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])  # Rubin (1981): coaching in eight schools
ERRORS = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])


@dataclass(frozen=True)
class Known:
    """A model with mean and standard deviation of its true posterior."""

    model: Any
    truth: dict[str, tuple[Any, Any]]


def coin(heads: int = 14, flips: int = 20) -> Known:
    """Return a share with a Beta(2, 2) prior: the posterior is Beta(2 + heads, 2 + tails)."""
    pm = import_pymc()
    with pm.Model() as model:
        p = pm.Beta("p", 2, 2)
        pm.Binomial("heads", n=flips, p=p, observed=heads)
    posterior = stats.beta(2 + heads, 2 + flips - heads)
    return Known(model, {"p": (posterior.mean(), posterior.std())})


@cache
def compared_coin() -> MethodComparison:
    """Return the coin's posterior by every method, sampled once for all test modules."""
    posterior = stats.beta(2 + 14, 2 + 6)
    return compare_methods(
        coin().model,
        methods=("nuts", "advi", "laplace", "smc"),
        exact=lambda: {"p": posterior.rvs(100_000, random_state=0)},
        random_state=0,
        options={"advi": {"draws": 20_000}, "laplace": {"draws": 4000}, "smc": {"draws": 2000}},
        cores=1,
        chains=2,
        progress=False,
    )


def weights(rows: int = 40, noise: float = 0.7) -> Known:
    """Return a regression with known noise and two correlated columns: the posterior is normal."""
    pm = import_pymc()
    rng = np.random.default_rng(11)
    X = rng.normal(size=(rows, 2)) @ np.array([[1.0, 0.9], [0.0, 0.5]])
    y = X @ [1.0, -2.0] + rng.normal(0, noise, rows)
    with pm.Model(coords={"column": ["dose", "age"]}) as model:
        w = pm.Normal("w", 0, 2, dims="column")
        pm.Deterministic("double", 2 * w, dims="column")
        pm.Normal("y", X @ w, noise, observed=y)
    precision = X.T @ X / noise**2 + np.eye(2) / 4
    covariance = np.linalg.inv(precision)
    return Known(model, {"w": (covariance @ X.T @ y / noise**2, np.sqrt(np.diag(covariance)))})


def weights_precision(known: Known) -> np.ndarray:
    """Return the precision matrix of the posterior of `weights`, by its own formula from the data in the model."""
    rng = np.random.default_rng(11)
    X = rng.normal(size=(40, 2)) @ np.array([[1.0, 0.9], [0.0, 0.5]])
    assert known.model["y"].eval().shape == (40,)
    return X.T @ X / 0.7**2 + np.eye(2) / 4


def line(rows: int = 30) -> Known:
    """Return a regression with unknown noise: with normal and inverse gamma priors it has a closed form."""
    pm = import_pymc()
    rng = np.random.default_rng(5)
    X = np.column_stack([np.ones(rows), rng.normal(size=rows)])
    y = X @ [2.0, 0.6] + rng.normal(0, 1.5, rows)
    with pm.Model() as model:
        variance = pm.InverseGamma("variance", alpha=3, beta=4)
        w = pm.Normal("w", 0, 3 * variance**0.5, shape=2)
        pm.Normal("y", X @ w, variance**0.5, observed=y)
    precision = X.T @ X + np.eye(2) / 9
    centre = np.linalg.solve(precision, X.T @ y)
    alpha, beta = 3 + rows / 2, 4 + (y @ y - centre @ precision @ centre) / 2
    sd = np.sqrt(beta / (alpha - 1) * np.diag(np.linalg.inv(precision)))
    gamma = stats.invgamma(alpha, scale=beta)
    return Known(model, {"w": (centre, sd), "variance": (gamma.mean(), gamma.std())})


def schools(*, centred: bool = False) -> Known:
    """Eight schools (Gelman et al., Bayesian Data Analysis, 5.5), with the truth from a grid over mu and tau."""
    pm = import_pymc()
    with pm.Model(coords={"school": list("ABCDEFGH")}) as model:
        mu = pm.Normal("mu", 0, 5)
        tau = pm.HalfCauchy("tau", 5)
        if centred:
            theta = pm.Normal("theta", mu, tau, dims="school")
        else:
            theta = pm.Deterministic("theta", mu + tau * pm.Normal("z", dims="school"), dims="school")
        pm.Normal("effect", theta, ERRORS, observed=EFFECTS)
    return Known(model, schools_truth())


def schools_truth() -> dict[str, tuple[Any, Any]]:
    """Integrate the schools out by hand, and add up over a grid of mu and tau."""
    mu, u = np.meshgrid(np.linspace(-25, 35, 601), np.linspace(-7, 6, 1301), indexing="ij")
    tau = np.exp(u)
    total = ERRORS**2 + tau[..., None] ** 2
    logp = -0.5 * (np.log(total) + (EFFECTS - mu[..., None]) ** 2 / total).sum(axis=-1)
    logp += -0.5 * (mu / 5) ** 2 - np.log1p((tau / 5) ** 2) + u  # the last: the Jacobian of tau = exp(u)
    p = np.exp(logp - logp.max())
    p /= p.sum()
    shrink = tau[..., None] ** 2 / total
    inside = mu[..., None] + shrink * (EFFECTS - mu[..., None])
    theta = (p[..., None] * inside).sum(axis=(0, 1))
    spread = (p[..., None] * (shrink * ERRORS**2 + (inside - theta) ** 2)).sum(axis=(0, 1))
    return {"mu": _moments(p, mu), "tau": _moments(p, tau), "theta": (theta, np.sqrt(spread))}


def _moments(p: np.ndarray, x: np.ndarray) -> tuple[float, float]:
    mean = (p * x).sum()
    return float(mean), float(np.sqrt((p * (x - mean) ** 2).sum()))
