"""Simulation-based calibration: true values, drawn from the prior, must rank uniformly among the draws.

Talts, Betancourt, Simpson, Vehtari, Gelman (2018), "Validating Bayesian inference algorithms with
simulation-based calibration", arXiv:1804.06788. All replications are plates of one model, which is compiled once.
"""

import warnings

import numpy as np
import pytest
from scipy import stats

from inferkit.bayes import InferenceWarning, sample
from inferkit.bayes._pymc import import_pymc, posterior_arrays

REPLICATIONS = 800
ROWS = 4
THIN = 20  # draws apart, so that those which are ranked are independent
FALSE_ALARM = 1e-4  # in all, shared out among the ranked quantities


def truth(seed: int) -> dict[str, np.ndarray]:
    """Draw a mean and a scale for each replication from the prior, and then its data."""
    rng = np.random.default_rng(seed)
    mu, sigma = rng.normal(0, 1, REPLICATIONS), np.abs(rng.normal(0, 1, REPLICATIONS))
    return {"mu": mu, "sigma": sigma, "y": mu + sigma * rng.normal(size=(ROWS, REPLICATIONS))}


@pytest.fixture(scope="module")
def plates():
    """One model for both tests: what is wrong with the prior of mu is data to it."""
    pm = import_pymc()
    with pm.Model() as model:
        pm.Data("width", 1.0)
        pm.Data("y", np.zeros((ROWS, REPLICATIONS)))
        mu = pm.Normal("mu", 0, model["width"], shape=REPLICATIONS)
        sigma = pm.HalfNormal("sigma", 1, shape=REPLICATIONS)
        pm.Normal("seen", mu, sigma, observed=model["y"])
    return model


def ranks(model, drawn: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Return the rank of each true value among thinned draws: 0 to the number of draws."""
    model.set_data("y", drawn["y"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InferenceWarning)  # a divergence among thousands of numbers is no matter here
        idata = sample(
            model, draws=990, tune=700, chains=2, cores=1, target_accept=0.9, random_state=seed, progress=False
        )
    draws = {k: a[:, ::THIN][:, 1:].reshape(-1, REPLICATIONS)[:95] for k, a in posterior_arrays(idata).items()}
    draws["ratio"] = draws["mu"] / draws["sigma"]
    true = drawn | {"ratio": drawn["mu"] / drawn["sigma"]}
    return {name: (a < true[name]).sum(axis=0) for name, a in draws.items()}


def uniformity(found: np.ndarray) -> float:
    """Return the p-value of a chi-squared test over bins of equal width; 96 ranks make 16 bins of 6."""
    return float(stats.chisquare(np.bincount(found // 6, minlength=16)).pvalue)


def test_the_check_itself_keeps_its_false_alarm_rate():
    rng = np.random.default_rng(0)
    values = [uniformity(rng.integers(0, 96, REPLICATIONS)) for _ in range(2000)]
    assert stats.kstest(values, "uniform").pvalue > 1e-4


@pytest.mark.rotated(1)
@pytest.mark.timeout(600)
def test_nuts_is_calibrated(plates):
    """It fails for a sound sampler once in ten thousand runs."""
    plates.set_data("width", 1.0)
    for name, found in ranks(plates, truth(1), seed=2).items():
        assert uniformity(found) > FALSE_ALARM / 3, name


@pytest.mark.rotated(1)
@pytest.mark.timeout(600)
def test_a_wrong_prior_is_detected(plates):
    """The planted fault: the model takes mu for half as wide as it is."""
    plates.set_data("width", 0.5)
    assert uniformity(ranks(plates, truth(1), seed=3)["mu"]) < FALSE_ALARM / 3
