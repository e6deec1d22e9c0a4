"""Partial pooling: between no pooling and complete pooling, and exactly as far as the closed form says."""

import pickle

import numpy as np
import pandas as pd
import pytest

from inferkit import InputError, Predictor
from inferkit.bayes import HierarchicalRegressor, InferenceWarning
from inferkit.bayes._laplace import find_mode
from inferkit.bayes._pymc import flat_draws, import_pymc, quiet
from inferkit.bayes._sample_space import Space

LAPLACE = {"method": "laplace", "progress": False, "random_state": 0}
NUTS = {"method": "nuts", "draws": 500, "tune": 500, "chains": 2, "cores": 1, "progress": False, "random_state": 0}
SIZES = (1, 4, 10, 40)  # the first group has one row

pytestmark = pytest.mark.filterwarnings("ignore:laplace:inferkit.bayes.InferenceWarning")  # rough for this model


def clinics(seed=0, spread=3.0, noise=1.0):
    """Rows (clinic, dose) of four clinics of very different size, and each clinic's true line."""
    rng = np.random.default_rng(seed)
    lines = np.column_stack([20 + spread * rng.normal(size=4), 2 + 0.5 * spread * rng.normal(size=4)])
    clinic = np.repeat(np.arange(4), SIZES)
    dose = rng.uniform(0, 4, len(clinic))
    return np.column_stack([clinic, dose]), lines[clinic, 0] + lines[clinic, 1] * dose + rng.normal(
        0, noise, len(clinic)
    )


def fixed(value):
    """Return a prior that leaves no doubt."""
    return import_pymc().LogNormal.dist(np.log(value), 1e-4)


def mode(estimator):
    """Return the highest point of a fitted estimator's posterior, by the names of its variables."""
    space = Space(estimator.model_)
    values, _ = space.back(find_mode(space)[0][None])
    return {name: value[0] for name, value in values.items()}


def least_squares(x, y):
    return np.linalg.lstsq(np.column_stack([np.ones(len(y)), x]), y)[0]


def lines_at_mode(model, X, y):
    """Return intercept and slope of each group at the mode, in the units of the data."""
    top = mode(model)
    slope = top["group_coef"][:, 0] * y.std() / X[:, 1].std()
    return top["group_intercept"] * y.std() + y.mean() - slope * X[:, 1].mean(), slope


@pytest.fixture(scope="module")
def fitted():
    X, y = clinics()
    with pytest.warns(InferenceWarning, match="laplace"):
        return X, y, HierarchicalRegressor(**LAPLACE | {"draws": 4000}).fit(X, y)


# -- oracles -----------------------------------------------------------------------------------


@pytest.mark.rotated
def test_a_huge_spread_between_groups_is_no_pooling():
    X, y = clinics()
    X, y = X[X[:, 0] > 0], y[X[:, 0] > 0]  # a line needs two rows
    free = HierarchicalRegressor(group_sd_prior=fixed(30), sigma_prior=fixed(0.3), **LAPLACE).fit(X, y)
    intercepts, slopes = lines_at_mode(free, X, y)
    for group, label in enumerate(free.groups_):
        own = X[:, 0] == label
        np.testing.assert_allclose([intercepts[group], slopes[group]], least_squares(X[own, 1], y[own]), rtol=1e-3)


@pytest.mark.rotated
def test_no_spread_between_groups_is_complete_pooling():
    X, y = clinics()
    pooled = HierarchicalRegressor(
        group_sd_prior=fixed(1e-5), sigma_prior=fixed(0.3), coef_prior=1e3, intercept_prior=1e3, **LAPLACE
    ).fit(X, y)
    intercepts, slopes = lines_at_mode(pooled, X, y)
    intercept, slope = least_squares(X[:, 1], y)
    np.testing.assert_allclose(intercepts, intercept, rtol=1e-3)
    np.testing.assert_allclose(slopes, slope, rtol=1e-3)


def shrunk_means(group, y, sd, noise, prior):
    """Return mean and sd of the group means' posterior, and of the grand mean's, both spreads known."""
    n = np.bincount(group)
    design = np.column_stack([np.ones(len(n)), np.eye(len(n))])[group]
    covariance = np.linalg.inv(design.T @ design / noise**2 + np.diag([1 / prior**2, *[1 / sd**2] * len(n)]))
    parts = covariance @ design.T @ y / noise**2
    to_means = np.column_stack([np.ones(len(n)), np.eye(len(n))])
    return to_means @ parts, np.sqrt(np.diag(to_means @ covariance @ to_means.T)), parts[0], np.sqrt(covariance[0, 0])


@pytest.mark.parametrize("how", [LAPLACE, pytest.param(NUTS, marks=pytest.mark.rotated)], ids=["laplace", "nuts"])
def test_known_spreads_shrink_as_the_closed_form_says(how):
    """Only intercepts vary: X has no other column than the group."""
    X, y = clinics()
    group, draws = X[:, 0].astype(int), 4000 if how is LAPLACE else 500
    sd, noise, prior = 0.7, 0.9, 2.5  # in units of sd(y), as the model has them
    model = HierarchicalRegressor(group_sd_prior=fixed(sd), sigma_prior=fixed(noise), **how | {"draws": draws})
    model.fit(X[:, :1], y)
    means, sds, grand, grand_sd = shrunk_means(group, y - y.mean(), sd * y.std(), noise * y.std(), prior * y.std())
    effective = 4000 if how is LAPLACE else 200  # NUTS gives more than that here
    assert (np.abs(model.group_intercept_ - y.mean() - means) < 5 * sds / np.sqrt(effective)).all()
    assert abs(model.intercept_ - y.mean() - grand) < 5 * grand_sd / np.sqrt(effective)
    np.testing.assert_allclose(model.coef_draws()["group_intercept"].std(axis=0), sds, rtol=5 / np.sqrt(2 * effective))

    known, known_sd = model.predict([[2]], return_std=True)
    assert known[0] == pytest.approx(model.group_intercept_[2])
    assert known_sd[0] == pytest.approx(np.hypot(sds[2], noise * y.std()), rel=0.05)
    new, new_sd = model.predict([[77]], return_std=True)
    assert abs(new[0] - y.mean() - grand) < 5 * grand_sd / np.sqrt(effective)
    assert new_sd[0] == pytest.approx(np.sqrt(grand_sd**2 + (sd**2 + noise**2) * y.var()), rel=0.05)


@pytest.mark.parametrize("likelihood", ["normal", pytest.param("student", marks=pytest.mark.rotated)])
def test_answers_are_those_of_pymc(likelihood):
    """Scaling and folding lose nothing: PyMC's own predictions from the same draws are the estimator's."""
    pm = import_pymc()
    X, y = clinics()
    model = HierarchicalRegressor(likelihood=likelihood, **LAPLACE).fit(X, y)
    with quiet():
        theirs = pm.sample_posterior_predictive(
            model.idata_, model=model.model_, progressbar=False, random_seed=1, compile_kwargs={"mode": "FAST_COMPILE"}
        )
    drawn = np.asarray(theirs["posterior_predictive"]["y"]).reshape(-1, len(y))
    mean, sd = model.predict(X, return_std=True)
    assert (np.abs(drawn.mean(axis=0) - mean) < 5 * sd / np.sqrt(len(drawn))).all()
    inside = (drawn > model.predict_interval(X)[:, 0]) & (drawn < model.predict_interval(X)[:, 1])
    assert (np.abs(inside.mean(axis=0) - 0.9) < 5 * 0.3 / np.sqrt(len(drawn))).all()


@pytest.mark.rotated
@pytest.mark.filterwarnings("ignore:nuts:inferkit.bayes.InferenceWarning")  # few draws will do for a count
def test_nuts_covers_the_truth_of_many_clinics():
    """Of 60 true intercepts some 54 lie in their 90 % intervals; fewer than 42 come by chance once in 280,000 times.

    The intervals of a model without pooling's doubt, half as wide, would hold some 35.
    """
    rng = np.random.default_rng(5)
    n = rng.integers(1, 15, 60)
    clinic = np.repeat(np.arange(60), n)
    truth = 10 + 2 * rng.normal(size=60)
    dose = rng.normal(size=len(clinic))
    y = truth[clinic] + (1 + 0.5 * rng.normal(size=60))[clinic] * dose + rng.normal(size=len(clinic))
    model = HierarchicalRegressor(**NUTS).fit(np.column_stack([clinic, dose]), y)
    low, high = np.quantile(model.coef_draws()["group_intercept"], [0.05, 0.95], axis=0)
    assert ((low < truth) & (truth < high)).sum() >= 42
    middle, quarter = (low + high) / 2, (high - low) / 4
    assert (np.abs(truth - middle) < quarter).sum() < 42  # the planted fault: intervals half as wide
    alone = np.array([y[clinic == c].mean() for c in range(60)])
    assert np.mean((model.group_intercept_ - truth) ** 2) < np.mean((alone - truth) ** 2)  # what pooling is for


# -- groups --------------------------------------------------------------------------------------


def test_a_new_group_gets_the_mean_line_and_more_doubt(fitted):
    model = fitted[2]
    mean, sd = model.predict([[99, 2.0]], return_std=True)
    _, known = model.predict([[3, 2.0]], return_std=True)
    assert mean[0] == pytest.approx(model.intercept_ + 2 * model.coef_[0], abs=0.2 * sd[0])
    assert sd[0] > 1.5 * known[0]
    np.testing.assert_array_equal(model.predict([[99, 2.0]]), model.predict([[-5.5, 2.0]]))
    width = np.diff(model.predict_interval([[99, 2.0], [3, 2.0]]))[:, 0]
    assert width[0] > 1.5 * width[1]


def test_a_group_of_one_row_borrows_from_the_others(fitted):
    X, _, model = fitted
    doubt = model.coef_draws()["group_coef"][:, :, 0].std(axis=0)
    assert doubt[0] > 2 * doubt[3]
    assert np.isfinite(model.predict(X[:1])).all()


def test_known_groups_answer_with_their_own_line(fitted):
    X, _, model = fitted
    group = X[:, 0].astype(int)
    np.testing.assert_allclose(model.predict(X), model.group_intercept_[group] + model.group_coef_[group, 0] * X[:, 1])


@pytest.mark.rotated
def test_words_names_and_order_of_columns_do_not_matter(fitted):
    X, y, model = fitted
    words = np.array(["east", "north", "south", "west"])[X[:, 0].astype(int)]
    frame = pd.DataFrame({"dose": X[:, 1], "clinic": pd.Categorical(words)})
    named = HierarchicalRegressor(group="clinic", **LAPLACE | {"draws": 4000}).fit(frame, y)
    assert named.groups_ == ("east", "north", "south", "west")
    np.testing.assert_allclose(named.predict(frame), model.predict(X))
    last = HierarchicalRegressor(group=-1, **LAPLACE | {"draws": 4000}).fit(frame.to_numpy(), y)
    np.testing.assert_allclose(last.predict(frame.to_numpy()), model.predict(X))
    unseen = frame.head(1).assign(clinic="island")
    np.testing.assert_allclose(named.predict(unseen), model.predict([[99, X[0, 1]]]))
    assert Predictor(named.compile()).predict_one({"dose": X[0, 1], "clinic": "east"}) == pytest.approx(
        model.predict(X[:1])[0]
    )


def test_labels_may_be_numpy_numbers_in_a_table_of_objects(fitted):
    X, _, model = fitted
    table = X[:3].astype(object)
    table[:, 0] = [np.int64(0), np.float32(1), True]
    np.testing.assert_array_equal(model.predict(table), model.predict(np.column_stack([[0, 1, 1], X[:3, 1]])))


def test_labels_that_are_whole_numbers_are_shown_as_such(fitted):
    assert fitted[2].groups_ == (0, 1, 2, 3)
    assert list(map(type, fitted[2].groups_)) == [int] * 4


def test_pickle_keeps_everything(fitted):
    X, _, model = fitted
    back = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(back.predict_interval(X), model.predict_interval(X))
    assert len(back.model_.free_RVs) == len(model.model_.free_RVs)


def test_checks_look_at_the_spread_between_groups(fitted):
    X, y, model = fitted
    assert not model.predictive_check(random_state=0).surprising
    torn = model.predictive_check(X, y + 1000 * (X[:, 0] == 0), random_state=0)
    assert "sd of group means" in torn.surprising
    assert model.prior_predictive(n=7, random_state=0).shape == (7, len(y))


def test_draws_of_the_fit_have_names(fitted):
    draws = flat_draws(fitted[2].idata_)
    assert draws["group_coef"].shape == (4000, 4, 1)
    assert draws["group_sd"].shape == (4000, 2)


# -- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("group", [2, -3, "clinic", 1.0, True, None])
def test_a_column_that_is_not_there_is_refused(group):
    X, y = clinics()
    with pytest.raises(InputError, match="group: expected a column of X from 0 to 1; X has no names"):
        HierarchicalRegressor(group=group, **LAPLACE).fit(X, y)


@pytest.mark.parametrize(
    ("label", "error", "message"),
    [
        (None, TypeError, "must be a string or a number, got None"),
        (float("nan"), InputError, "a label in every row"),
        ("east", InputError, "words alone or numbers alone"),
        ({"clinic": 1}, TypeError, "must be a string or a number"),
    ],
)
def test_a_label_that_is_none_is_refused(label, error, message):
    X, y = clinics()
    X = X.astype(object)
    X[3, 0] = label
    with pytest.raises(error, match=message):
        HierarchicalRegressor(**LAPLACE).fit(X, y)


def test_words_are_refused_where_numbers_were_fitted(fitted):
    with pytest.raises(InputError, match="expected a number"):
        fitted[2].predict(np.array([["east", 1.0]], dtype=object))
    with pytest.raises(ValueError, match="NaN"):
        fitted[2].predict([[1, np.nan]])


def test_priors_of_groups_are_checked():
    X, y = clinics()
    with pytest.raises(InputError, match="group_sd_prior: expected a number > 0"):
        HierarchicalRegressor(group_sd_prior=0, **LAPLACE).fit(X, y)
    with pytest.raises(InputError, match=r"group_sd_prior.* of shape \(2,\), got one of shape \(3,\)"):
        HierarchicalRegressor(group_sd_prior=import_pymc().HalfNormal.dist([1.0, 2, 3]), **LAPLACE).fit(X, y)
