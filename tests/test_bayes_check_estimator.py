"""The three estimators keep scikit-learn's whole contract, each check a test: with Laplace, and one with NUTS too.

What needs no fit, or one, is looked at in every landing; the others take their turns.
"""

import warnings
from contextlib import ExitStack
from importlib import import_module

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from inferkit.bayes import BayesianClassifier, BayesianRegressor, HierarchicalRegressor, InferenceWarning

LAPLACE = {"method": "laplace", "draws": 50, "progress": False}
NUTS = {"method": "nuts", "draws": 20, "tune": 20, "chains": 1, "cores": 1, "progress": False}
ESTIMATORS = {
    "classifier": BayesianClassifier(**LAPLACE),
    "hierarchical": HierarchicalRegressor(**LAPLACE),
    "regressor": BayesianRegressor(**LAPLACE),
    "NUTS": BayesianRegressor(**NUTS),  # once: how the draws are found is behind one call, the same for all three
}
QUICK = {
    "estimator_cloneable", "estimator_repr", "estimator_tags_renamed", "valid_tag_types", "mixin_order",
    "no_attributes_set_in_init", "do_not_raise_errors_in_init_or_set_params", "parameters_default_constructible",
    "get_params_invariance", "set_params", "estimators_unfitted", "complex_data", "fit1d", "requires_y_none",
    "supervised_y_no_nan", "fit_check_is_fitted",
}  # fmt: skip
SWITCHED_OFF = "array_api_input"  # it asks for SciPy's array API


def cases():
    for name, estimator in ESTIMATORS.items():
        for one, check in estimator_checks_generator(estimator):
            what = check.func.__name__.removeprefix("check_")
            rotated = name == "NUTS" or what not in QUICK
            if what != SWITCHED_OFF:
                yield pytest.param(one, check, marks=[pytest.mark.rotated] * rotated, id=f"{name}-{what}")


CASES = list(cases())


@pytest.mark.parametrize(("estimator", "check"), CASES)
def test_it_keeps_the_contract(estimator, check):
    with ExitStack() as stack:
        if estimator.method == "nuts":  # so few draws are quicker in NumPy than what compiles them
            stack.enter_context(import_module("pytensor").config.change_flags(mode="FAST_COMPILE"))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", InferenceWarning)  # the checks' data are few, separable and without noise
        check(estimator)


def test_no_check_is_lost():
    names = [case.id.partition("-") for case in CASES]
    for name in ESTIMATORS:
        found = {what for one, _, what in names if one == name}
        assert len(found) > 45
        assert found > QUICK
