"""Bayesian classifier and regressor: held against closed forms, scikit-learn's optimum and PyMC's own predictions."""

import pickle
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from inferkit import InputError, Predictor
from inferkit.bayes import BayesianClassifier, BayesianRegressor, InferenceWarning
from inferkit.bayes._laplace import find_mode
from inferkit.bayes._linear import Scaling, scaling_of, unscaled
from inferkit.bayes._predictive import check_replicates
from inferkit.bayes._pymc import flat_draws, import_pymc, quiet
from inferkit.bayes._sample_space import Space

LAPLACE = {"method": "laplace", "progress": False, "random_state": 0}
NUTS = {"method": "nuts", "draws": 500, "tune": 500, "chains": 2, "cores": 1, "progress": False, "random_state": 0}
SHIFT, WIDTH = np.array([5.0, -300.0, 0.2]), np.array([1.0, 50.0, 0.01])
NOISE = 3.0


def features(n=60, seed=1):
    return np.random.default_rng(seed).normal(size=(n, 3)) * WIDTH + SHIFT


def line_data(n=60, seed=1):
    """Columns on very different scales; each moves y by some units a standard deviation."""
    X = features(n, seed)
    y = 100 + (X - SHIFT) / WIDTH @ [4.0, -2.0, 1.0] + np.random.default_rng(seed + 1).normal(0, NOISE, n)
    return X, y


def class_data(classes, n=120, seed=3):
    """Labels that overlap."""
    X = features(n, seed)
    score = (X - SHIFT) / WIDTH @ [1.0, -1.0, 0.5] + np.random.default_rng(seed + 1).logistic(size=n)
    return X, np.array(list("abc"))[np.digitize(score, [0.0, 1.0][: classes - 1])]


def mode(estimator):
    """Return the highest point of a fitted estimator's posterior, by the names of its variables."""
    space = Space(estimator.model_)
    values, _ = space.back(find_mode(space)[0][None])
    return {name: value[0] for name, value in values.items()}


def near(found, mean, sd, draws, *, sigmas=5.0):
    """Whether a mean of draws is where it should be: wrong once in 1.7 million numbers by chance."""
    return np.all(np.abs(found - mean) < sigmas * np.asarray(sd) / np.sqrt(draws))


@pytest.fixture(scope="module")
def line():
    X, y = line_data()
    return X, y, BayesianRegressor(**LAPLACE).fit(X, y)


@pytest.fixture(scope="module")
def two_classes():
    X, y = class_data(2)
    return X, y, BayesianClassifier(**LAPLACE).fit(X, y)


# -- oracles -----------------------------------------------------------------------------------


def ridge(X, y, prior, noise):
    """Mean and covariance of intercept and coefficients for scaled columns, noise known, y in its own units."""
    design = np.column_stack([np.ones(len(X)), (X - X.mean(axis=0)) / X.std(axis=0)])
    covariance = np.linalg.inv(design.T @ design / noise**2 + np.eye(design.shape[1]) / prior**2)
    return covariance @ design.T @ (y - y.mean()) / noise**2 + np.eye(design.shape[1])[0] * y.mean(), covariance


@pytest.mark.parametrize(
    "how",
    [LAPLACE | {"draws": 4000}, pytest.param(NUTS | {"draws": 1000}, marks=pytest.mark.rotated)],
    ids=["laplace", "nuts"],
)
def test_regressor_with_known_noise_is_the_closed_form(how):
    X, y = line_data()
    known = import_pymc().LogNormal.dist(np.log(NOISE / y.std()), 1e-4)
    model = BayesianRegressor(coef_prior=0.5, intercept_prior=0.5, sigma_prior=known, **how).fit(X, y)
    mean, covariance = ridge(X, y, 0.5 * y.std(), NOISE)
    draws = flat_draws(model.idata_)
    found = np.column_stack([draws["intercept"], draws["coef"]]) * y.std() + [y.mean(), 0, 0, 0]
    effective = 4000 if how["method"] == "laplace" else 250  # NUTS gives more than that here
    assert near(found.mean(axis=0), mean, np.sqrt(np.diag(covariance)), effective)
    np.testing.assert_allclose(found.std(axis=0), np.sqrt(np.diag(covariance)), rtol=0.06 if effective == 4000 else 0.2)

    new = np.column_stack([np.ones(5), (features(5, seed=9) - X.mean(axis=0)) / X.std(axis=0)])
    where, sd = model.predict(features(5, seed=9), return_std=True)
    doubt = np.einsum("ij,jk,ik->i", new, covariance, new)
    assert near(where, new @ mean, np.sqrt(doubt), effective)
    np.testing.assert_allclose(sd, np.sqrt(doubt + NOISE**2), rtol=0.02)
    ends = model.predict_interval(features(5, seed=9), coverage=0.9)
    np.testing.assert_allclose(np.diff(ends)[:, 0], 2 * 1.645 * np.sqrt(doubt + NOISE**2), rtol=0.02)


@pytest.mark.parametrize("classes", [2, pytest.param(3, marks=pytest.mark.rotated)])
def test_classifier_has_its_mode_where_scikit_learn_has_it(classes):
    X, y = class_data(classes)
    model = BayesianClassifier(coef_prior=0.7, intercept_prior=1e4, **LAPLACE).fit(X, y)
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    theirs = LogisticRegression(C=0.7**2, tol=1e-10, max_iter=10_000).fit(scaled, y)
    ours = mode(model)
    np.testing.assert_allclose(np.atleast_2d(ours["coef"].T), theirs.coef_, atol=1e-5)
    centred = theirs.intercept_ - (theirs.intercept_.mean() if classes > 2 else 0)  # any shift gives the same softmax
    np.testing.assert_allclose(np.atleast_1d(ours["intercept"]), centred, atol=1e-5)
    np.testing.assert_allclose(flat_draws(model.idata_)["coef"].sum(axis=2) if classes > 2 else 0, 0, atol=1e-9)
    assert model.coef_.shape == theirs.coef_.shape
    assert model.intercept_.shape == theirs.intercept_.shape


@pytest.mark.rotated
def test_student_noise_is_not_pulled_by_a_wild_row(line):
    X, y, normal = line
    wild = y.copy()
    wild[0] += 300
    truth, pulled, steady = (
        m.coef_[0] * WIDTH[0]
        for m in (
            normal,
            BayesianRegressor(**LAPLACE).fit(X, wild),
            BayesianRegressor(likelihood="student", **LAPLACE).fit(X, wild),
        )
    )
    assert abs(steady - truth) < 1 < 2 < abs(pulled - truth)


FITTED = [
    (BayesianRegressor(**LAPLACE), line_data()),
    (BayesianRegressor(likelihood="student", **LAPLACE), line_data()),
    (BayesianRegressor(standardize=False, coef_prior=100, intercept_prior=100, sigma_prior=10, **LAPLACE), line_data()),
    (BayesianClassifier(**LAPLACE), class_data(2)),
    (BayesianClassifier(**LAPLACE), class_data(3)),
    (BayesianClassifier(coef_prior="student", **LAPLACE), class_data(3)),
]  # fmt: skip


@pytest.mark.parametrize(("estimator", "data"), [
    pytest.param(*FITTED[0], id="normal"), pytest.param(*FITTED[1], id="student", marks=pytest.mark.rotated),
    pytest.param(*FITTED[2], id="unscaled", marks=pytest.mark.rotated), pytest.param(*FITTED[3], id="two"),
    pytest.param(*FITTED[4], id="three"), pytest.param(*FITTED[5], id="three-own-prior", marks=pytest.mark.rotated),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore::inferkit.bayes.InferenceWarning")
def test_answers_are_those_of_pymc(estimator, data):
    """Scaling and folding lose nothing: PyMC's own predictions from the same draws are the estimator's."""
    pm = import_pymc()
    estimator = clone(estimator)
    if estimator.get_params()["coef_prior"] == "student":
        estimator.set_params(coef_prior=pm.StudentT.dist(nu=4))
    X, y = data
    estimator.fit(X, y)
    with quiet():
        theirs = pm.sample_posterior_predictive(
            estimator.idata_, model=estimator.model_, progressbar=False, random_seed=1,
            compile_kwargs={"mode": "FAST_COMPILE"},
        )  # fmt: skip
    drawn = np.asarray(theirs["posterior_predictive"]["y"]).reshape(-1, len(y))
    if isinstance(estimator, BayesianRegressor):
        mean, sd = estimator.predict(X, return_std=True)
        assert near(drawn.mean(axis=0), mean, sd, len(drawn))
        inside = (drawn > estimator.predict_interval(X)[:, 0]) & (drawn < estimator.predict_interval(X)[:, 1])
        assert near(inside.mean(axis=0), 0.9, 0.3, len(drawn))
        return
    for code in range(len(estimator.classes_)):
        p = estimator.predict_proba(X)[:, code]
        assert near((drawn == code).mean(axis=0), p, np.sqrt(p * (1 - p)) + 0.01, len(drawn))


# -- scaling -----------------------------------------------------------------------------------

FINITE = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(npst.arrays(float, st.tuples(st.integers(1, 8), st.integers(1, 4)), elements=FINITE), st.booleans())
def test_a_scaled_line_is_the_same_line(X, wanted):
    scaling = scaling_of(X, wanted)
    rng = np.random.default_rng(0)
    intercept, coef = rng.normal(size=5), rng.normal(size=(5, X.shape[1]))
    own = unscaled(intercept, coef, scaling, 1)
    there, here = intercept + scaling.apply(X) @ coef.T, own["intercept"] + X @ own["coef"].T
    size = 1 + (np.abs(X) / scaling.scale).max() * np.abs(coef).sum()
    np.testing.assert_allclose(there, here, atol=1e-9 * size)


@given(
    npst.arrays(float, st.tuples(st.integers(2, 8), st.integers(1, 4)), elements=st.integers(-1000, 1000).map(float))
)
def test_scaled_columns_have_mean_0_and_sd_1_or_are_constant(X):
    scaling = scaling_of(X / 7, True)
    Z = scaling.apply(X / 7)
    moving = np.ptp(X, axis=0) > 0
    np.testing.assert_array_equal(scaling.constant, ~moving)
    np.testing.assert_allclose(Z.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(Z.std(axis=0), moving, atol=1e-9)
    np.testing.assert_array_equal(scaling.scale[~moving], 1)


def test_units_do_not_matter(line):
    X, y, model = line
    other = BayesianRegressor(**LAPLACE).fit(X * 1000 - 7, 12 - y / 50)
    np.testing.assert_allclose(other.predict(X * 1000 - 7), 12 - model.predict(X) / 50, rtol=1e-3)


def test_without_standardizing_priors_are_in_the_units_of_the_data(line):
    X, y, _ = line
    held = BayesianRegressor(standardize=False, coef_prior=1e-5, intercept_prior=0.1, sigma_prior=50, **LAPLACE)
    assert np.abs(held.fit(X, y).predict(X)).max() < 0.5


def test_values_that_overflow_are_named():
    with pytest.raises(InputError, match="larger unit"):
        scaling_of(np.array([[1e300], [-1e300]]), True)


# -- what the data cannot tell --------------------------------------------------------------------


def test_a_constant_column_keeps_its_prior_and_is_named(line):
    X, y, _ = line
    with pytest.warns(InferenceWarning, match="constant in the training data: x3"):
        model = BayesianRegressor(draws=4000, **LAPLACE).fit(np.column_stack([X, np.full(len(X), 7.0)]), y)
    spread = model.coef_draws()["coef"][:, 3].std()
    assert spread == pytest.approx(2.5 * y.std(), rel=0.06)  # five of its standard errors
    assert "x3" in model.notes_[0]


def test_fewer_rows_than_columns_answer_and_say_that_priors_decide():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(5, 8)), rng.normal(size=5)
    with pytest.warns(InferenceWarning) as told:
        model = BayesianRegressor(**LAPLACE).fit(X, y)
    assert any("5 rows cannot settle 8 coefficients" in str(w.message) for w in told)
    assert np.isfinite(model.predict(X)).all()


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.rotated
def test_separable_classes_get_finite_coefficients_and_a_hint(classes):
    X = np.arange(12.0)[:, None]
    y = np.digitize(X[:, 0], [5.5, 8.5][: classes - 1])
    with pytest.warns(InferenceWarning) as told:
        model = BayesianClassifier(**LAPLACE).fit(X, y)
    assert any("a plane separates the classes" in str(w.message) for w in told)
    assert np.isfinite(model.coef_).all()


@pytest.mark.rotated
def test_with_separable_classes_the_prior_decides_how_sure_the_answer_is():
    X, y = np.arange(12.0)[:, None], np.arange(12) > 5
    sure = []
    for scale in (1.0, 10.0):
        with pytest.warns(InferenceWarning, match="coef_prior"):
            sure.append(mode(BayesianClassifier(coef_prior=scale, **LAPLACE).fit(X, y))["coef"][0])
    assert 2 * sure[0] < sure[1]


def test_data_that_overlap_give_no_hint(two_classes, line):
    assert two_classes[2].notes_ == ()
    assert line[2].notes_ == ()


@pytest.mark.filterwarnings("ignore::inferkit.bayes.InferenceWarning")
def test_data_without_noise_have_a_posterior():
    X = features(20)
    model = BayesianRegressor(**LAPLACE).fit(X, X @ [1.0, 0.1, 100.0])
    np.testing.assert_allclose(model.coef_, [1, 0.1, 100], rtol=0.01)
    mean, sd = model.predict(X, return_std=True)
    assert (sd < 0.02 * mean.std()).all()


# -- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"coef_prior": 0}, "coef_prior: expected a number > 0 or a PyMC distribution"),
        ({"coef_prior": True}, "coef_prior"),
        ({"intercept_prior": float("nan")}, "intercept_prior"),
        ({"sigma_prior": "wide"}, "sigma_prior"),
        ({"likelihood": "student", "nu_prior": -1}, "nu_prior"),
        ({"likelihood": "cauchy"}, "likelihood: expected one of"),
        ({"method": "magic"}, "method: expected one of"),
        ({"draws": 0}, "draws: expected"),
        ({"options": {"speed": 9}}, "speed"),
        ({"random_state": -1}, "random_state"),
    ],
)
def test_bad_parameters_are_refused_in_fit(line, parameters, message):
    X, y, _ = line
    with pytest.raises(InputError, match=message):
        BayesianRegressor(**LAPLACE | parameters).fit(X, y)


def test_a_distribution_of_the_wrong_shape_is_refused(line):
    X, y, _ = line
    pm = import_pymc()
    for wrong in (pm.Normal.dist(0, [1.0, 2.0]), pm.MvNormal.dist(np.zeros(3), np.eye(3))):
        with pytest.raises(InputError, match="coef_prior: expected a distribution of one number, or of shape"):
            BayesianRegressor(coef_prior=wrong, **LAPLACE).fit(X, y)


def test_one_class_nan_and_wrong_rows_are_refused(line, two_classes):
    X, y, model = line
    with pytest.raises(InputError, match="two classes or more, got one class"):
        BayesianClassifier(**LAPLACE).fit(X, np.zeros(len(X), int))
    holed = X.copy()
    holed[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        BayesianRegressor(**LAPLACE).fit(holed, y)
    with pytest.raises(ValueError, match="NaN"):
        model.predict(holed)
    with pytest.raises(ValueError, match="2 features"):
        model.predict(X[:, :2])
    with pytest.raises(InputError, match=r"y: expected one of \['a', 'b'\]"):
        two_classes[2].predictive_check(X, np.full(len(X), "z"))
    with pytest.raises(InputError, match="y: expected one value for each of the 60 rows"):
        model.predictive_check(X, y[:5])
    with pytest.raises(InputError, match="both X and y"):
        model.predictive_check(X)
    with pytest.raises(InputError, match="coverage"):
        model.predict_interval(X, coverage=1.5)
    with pytest.raises(InputError, match="n: expected an integer"):
        model.prior_predictive(n=0)


ASKED = ["predict", "predict_interval", "predict_draws", "prior_predictive", "posterior_predictive", "predictive_check"]


@pytest.mark.parametrize("ask", ASKED)
def test_nothing_is_answered_before_fit(ask):
    with pytest.raises(NotFittedError):
        getattr(BayesianRegressor(), ask)(features(3))


def test_nothing_is_compiled_before_fit():
    for ask in (BayesianRegressor().compile, BayesianRegressor().coef_draws, lambda: BayesianClassifier().model_):
        with pytest.raises(NotFittedError):
            ask()


# -- priors given as distributions ------------------------------------------------------------------


@pytest.mark.rotated
def test_a_distribution_stands_in_for_a_number(line):
    X, y, _ = line
    pm = import_pymc()
    number, given = (
        BayesianRegressor(coef_prior=p, **LAPLACE).fit(X, y) for p in (0.1, pm.Normal.dist(0, 0.1))
    )  # fmt: skip
    np.testing.assert_allclose(given.coef_, number.coef_, rtol=1e-6)
    each = BayesianRegressor(coef_prior=pm.Normal.dist(0, [1e-4, 1.0, 1.0]), **LAPLACE).fit(X, y)
    assert abs(each.coef_[0] * WIDTH[0]) < 0.01 < 1 < abs(each.coef_[1] * WIDTH[1])


@pytest.mark.rotated
def test_numbers_mean_what_the_docstring_says(line):
    """Each default prior is held against SciPy's density."""
    X, y, _ = line
    pm = import_pymc()
    model = BayesianRegressor(
        likelihood="student", coef_prior=0.3, intercept_prior=0.4, sigma_prior=0.5, nu_prior=6.0, **LAPLACE
    ).fit(X, y).model_  # fmt: skip
    expected = {
        "coef": stats.norm(0, 0.3), "intercept": stats.norm(0, 0.4), "sigma": stats.halfnorm(0, 0.5),
        "nu_above_2": stats.gamma(2, scale=3.0),
    }  # fmt: skip
    assert {v.name for v in model.free_RVs} == set(expected)
    with import_module("pytensor").config.change_flags(mode="FAST_COMPILE"):
        for name, distribution in expected.items():
            found = pm.logp(model[name], np.full(3 if name == "coef" else (), 0.7)).eval()
            np.testing.assert_allclose(found, distribution.logpdf(0.7), rtol=1e-6)


# -- predictive checks ------------------------------------------------------------------------------


def test_prior_predictive_is_as_wide_as_the_priors_say(line):
    X, y, model = line
    drawn = model.prior_predictive(X.mean(axis=0)[None], 4000, random_state=0)
    assert drawn.shape == (4000, 1)
    sd = y.std() * np.sqrt(2.5**2 + 1)  # at the mean of X: the intercept and the noise
    assert near(drawn.mean(), y.mean(), sd, 4000)
    assert drawn.std() == pytest.approx(sd, rel=0.07)  # five standard errors, its tails being heavier than a bell's


def test_replicated_labels_come_as_often_as_their_probability(two_classes):
    X, _, model = two_classes
    p = model.predict_proba(X)[:, 1]
    labels = model.posterior_predictive(X, 4000, random_state=0)
    assert labels.shape == (4000, len(X))
    assert near((labels == "b").mean(axis=0), p, np.sqrt(p * (1 - p)), 4000)


def test_posterior_check_finds_a_planted_misfit_and_no_other():
    X, y = line_data(200)
    calm = BayesianRegressor(**LAPLACE).fit(X, y).predictive_check(random_state=0)
    assert all(0.001 < row.tail < 0.999 for row in calm.rows)  # a true model leaves these bounds once in 125 times
    wild = y.copy()
    wild[:4] += 60
    check = BayesianRegressor(**LAPLACE).fit(X, wild).predictive_check(random_state=0)
    assert "largest" in check.surprising
    assert "surprising" in str(check)
    assert "| largest |" in check._repr_markdown_()


def test_prior_check_finds_data_that_the_prior_excludes(line):
    X, y, model = line
    assert "mean" in model.predictive_check(X, y + 1e5, prior=True, random_state=0).surprising
    before, after = (model.predictive_check(prior=p, random_state=0).replicated["mean"].std() for p in (True, False))
    assert before > 10 * after
    own = model.predictive_check(statistics={"median": np.median}, n=50, random_state=0)
    assert list(own.observed) == ["median"]
    assert own.replicated["median"].shape == (50,)


def test_classifier_check_looks_at_shares_and_agreement(two_classes):
    X, y, model = two_classes
    check = model.predictive_check(random_state=0)
    assert check.observed["share of a"] == pytest.approx(np.mean(y == "a"))
    assert check.observed["share as predicted"] == pytest.approx(model.score(X, y))
    swapped = model.predictive_check(X, np.where(y == "a", "b", "a"), random_state=0)
    assert "share as predicted" in swapped.surprising


@given(npst.arrays(float, st.integers(2, 30), elements=st.integers(-5, 5).map(float)), st.integers(-6, 6))
def test_tail_counts_what_lies_above_and_half_of_the_ties(values, observed):
    row = check_replicates("prior", np.array([float(observed)]), values[:, None], {"sum": np.sum}).rows[0]
    above = sum(v > observed for v in values) + sum(v == observed for v in values) / 2
    assert row.tail == pytest.approx(above / len(values))
    assert min(values) <= row.lower <= row.upper <= max(values)


def test_a_fit_that_fails_leaves_nothing_that_answers():
    X, y = line_data(20)
    model = BayesianRegressor(**LAPLACE).fit(X, y)
    with pytest.raises(InputError):
        model.set_params(draws=0).fit(X, y)
    with pytest.raises(NotFittedError):
        model.predict(X)


@pytest.mark.parametrize("bad", [{}, {"all": lambda y: y}, {"word": lambda y: "x"}, [np.mean]])
def test_a_statistic_that_is_no_number_is_refused(line, bad):
    with pytest.raises(InputError, match="statistics"):
        line[2].predictive_check(statistics=bad)


# -- as scikit-learn and Predictor have them ------------------------------------------------------------


def test_same_seed_same_draws(line):
    X, y, model = line
    again = BayesianRegressor(**LAPLACE).fit(X, y)
    np.testing.assert_array_equal(flat_draws(again.idata_)["coef"], flat_draws(model.idata_)["coef"])
    other = BayesianRegressor(**LAPLACE | {"random_state": 1}).fit(X, y)
    assert (flat_draws(other.idata_)["coef"] != flat_draws(model.idata_)["coef"]).any()


@pytest.mark.rotated
def test_clone_and_pickle_keep_a_prior_that_is_a_distribution(line):
    X, y, _ = line
    model = BayesianRegressor(coef_prior=import_pymc().StudentT.dist(nu=4), **LAPLACE)
    fitted = clone(model).fit(X, y)
    back = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(back.predict(X), fitted.predict(X))
    assert mode(back)["coef"] == pytest.approx(mode(fitted)["coef"])  # the model is built anew, the same
    assert back.fit(X, y).coef_ == pytest.approx(fitted.coef_)


def test_draws_intervals_and_means_agree(line, two_classes):
    X, _, model = line
    drawn = model.predict_draws(X[:5], random_state=0)
    mean, sd = model.predict(X[:5], return_std=True)
    assert drawn.shape == (1000, 5)
    assert near(drawn.mean(axis=0), mean, sd, 1000)
    assert model.predict_draws(X[:5], 7, random_state=0).shape == (7, 5)
    X, _, chooser = two_classes
    low, high = np.moveaxis(chooser.predict_interval(X), 2, 0)
    proba = chooser.predict_proba(X)
    assert ((low <= proba) & (proba <= high)).all()
    assert (chooser.predict(X) == chooser.classes_[proba.argmax(axis=1)]).all()


def test_coefficients_are_those_of_the_line_in_its_units(line):
    X, y, model = line
    np.testing.assert_allclose(model.intercept_ + X @ model.coef_, model.predict(X))
    straight = np.linalg.lstsq(np.column_stack([np.ones(len(X)), X]), y)[0]
    np.testing.assert_allclose(model.coef_ * WIDTH, straight[1:] * WIDTH, atol=0.2)


def test_a_predictor_takes_estimator_and_compiled_posterior(two_classes):
    X, _, model = two_classes
    compiled = Predictor(model.compile())
    assert list(compiled.labels) == ["a", "b"]
    np.testing.assert_allclose(Predictor(model).predict_proba(X[:4]), compiled.predict_proba(X[:4]))
    assert compiled.predict_one(X[0]) == model.predict(X[:1])[0]


def test_importing_an_estimator_loads_no_pymc():
    code = """if True:
        import sys
        from inferkit.bayes import BayesianRegressor
        BayesianRegressor()
        print({"pymc", "arviz", "pytensor", "xarray"} & {*sys.modules})"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_a_scaling_is_what_it_says():
    found = scaling_of(np.array([[1.0, 5.0], [3.0, 5.0]]), True)
    assert isinstance(found, Scaling)
    np.testing.assert_array_equal(found.mean, [2, 5])
    np.testing.assert_array_equal(found.scale, [1, 1])
    np.testing.assert_array_equal(found.constant, [False, True])


# -- sampling ------------------------------------------------------------------------------------------


@pytest.mark.rotated
@pytest.mark.parametrize("method", ["nuts", "advi"])
@pytest.mark.filterwarnings("ignore::inferkit.bayes.InferenceWarning")
def test_other_methods_agree_with_laplace(two_classes, method):
    X, y, laplace = two_classes
    how = NUTS if method == "nuts" else LAPLACE | {"method": "advi"}
    other = BayesianClassifier(**how).fit(X, y)
    np.testing.assert_allclose(other.predict_proba(X), laplace.predict_proba(X), atol=0.05)
    assert other.diagnosis_.method == method


@pytest.mark.rotated
def test_chains_that_are_too_short_warn_where_fit_is_called(two_classes):
    X, y, _ = two_classes
    with pytest.warns(InferenceWarning, match="effective sample size") as told:
        model = BayesianClassifier(**NUTS | {"draws": 20, "tune": 50}).fit(X, y)
    assert not model.diagnosis_.ok
    assert told[0].filename == __file__
