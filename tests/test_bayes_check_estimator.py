"""The three estimators keep scikit-learn's whole contract: with Laplace every check, and once with NUTS."""

import warnings

import pytest
from sklearn.utils.estimator_checks import check_estimator

from inferkit.bayes import BayesianClassifier, BayesianRegressor, HierarchicalRegressor, InferenceWarning

# Some fifty fits each, and every one compiles a model anew: minutes where the machine has other work.
pytestmark = pytest.mark.timeout(900)

LAPLACE = {"method": "laplace", "draws": 200, "progress": False}
NUTS = {"method": "nuts", "draws": 20, "tune": 20, "chains": 1, "cores": 1, "progress": False}


def failures(estimator):
    """Run every check; return what failed or was left out, but for the one that needs SciPy's array API switched on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InferenceWarning)  # the checks' data are few, separable and without noise
        results = check_estimator(estimator, on_fail=None, on_skip=None)
    assert len(results) > 45
    return {
        (r["check_name"], repr(r["exception"]))
        for r in results
        if r["status"] != "passed" and r["check_name"] != "check_array_api_input"
    }


@pytest.mark.rotated
def test_regressor_with_laplace():
    assert failures(BayesianRegressor(**LAPLACE)) == set()


@pytest.mark.rotated
@pytest.mark.parametrize("kind", [BayesianClassifier, HierarchicalRegressor])
def test_others_with_laplace(kind):
    assert failures(kind(**LAPLACE)) == set()


@pytest.mark.rotated
def test_with_nuts():
    """Once: how the draws are found is behind one call, which is the same for all three."""
    assert failures(BayesianRegressor(**NUTS)) == set()
