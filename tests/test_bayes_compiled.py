"""Compiled posteriors: PyMC's own predictions without PyMC, the same file everywhere, and bad input named."""

import json
import os
import subprocess
import sys
import tracemalloc
import zipfile
from time import perf_counter_ns

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from inferkit import InputError, ModelFileError, Predictor
from inferkit.bayes import CompiledPosterior
from inferkit.bayes._compiled_mixture import NormalNoise, StudentNoise, central_interval, mixture_interval
from tests.networks import in_turn

S, P, K = 400, 3, 3
MEAN, SCALE = np.array([20.0, -3.0, 0.5]), np.array([4.0, 0.5, 2.0])
CLINICS = ("Aa", "Berg", "Cham")
FAMILIES = ["bernoulli", "categorical", "normal", "student", "hierarchical-normal", "hierarchical-student"]
LINES = FAMILIES[2:]


def made(family, s=S, seed=0):
    """Return any draws of a family: the arithmetic must be right for all, however they came about."""
    rng = np.random.default_rng(seed)
    if family == "bernoulli":
        return {"intercept": rng.normal(0.5, 0.4, s), "coef": rng.normal([1, -2, 0], 0.5, (s, P))}
    if family == "categorical":
        return {"intercept": rng.normal([0, 0.5, -1], 0.4, (s, K)), "coef": rng.normal(0, 1, (s, P, K))}
    line = {"intercept": rng.normal(2, 0.4, s), "coef": rng.normal([1, -2, 0], 0.5, (s, P))}
    if "hierarchical" in family:
        mean, sd = rng.normal([2, 1, -2, 0], 0.3, (s, 1 + P)), rng.uniform(0.5, 1.5, (s, 1 + P))
        own = rng.normal([[0, 1, -2, 1], [4, 0, -2, 0], [2, 3, 0, 1]], 0.2, (s, len(CLINICS), 1 + P))
        line = {"intercept": own[..., 0], "coef": own[..., 1:], "group_mean": mean, "group_sd": sd}
    nu = {"nu": rng.uniform(4.5, 12, s)} if "student" in family else {}
    return line | {"sigma": rng.uniform(0.5, 1.5, s)} | nu


def labelled(family):
    return {"groups": CLINICS, "group_column": 1} if "hierarchical" in family else {}


def compiled_from(family, *, seed=0, s=S, **change):
    facts = {"mean": MEAN, "scale": SCALE} | labelled(family) | change
    return CompiledPosterior(family, facts.pop("draws", made(family, s, seed)), **facts)


def rows_of(family, n=4, seed=1):
    X = np.random.default_rng(seed).normal(MEAN, SCALE, (n, P))
    if "hierarchical" not in family:
        return X
    return np.insert(X.astype(object), 1, [(*CLINICS, "Zug")[i % 4] for i in range(n)], axis=1)


# -- as PyMC has it ------------------------------------------------------------------------------

REPEATS = 60  # of each row: the noise of one draw of the parameters is drawn so often
LIMIT = 5.0  # standard errors; one check in 1.7 million of a right answer lies further out


def pymc_model(family, X, n_distinct):
    """Return the family as a PyMC model of these rows, written as anybody would write it."""
    import pymc as pm

    groups = X[:, 1] if "hierarchical" in family else None
    z = ((X if groups is None else np.delete(X, 1, axis=1)).astype(float) - MEAN) / SCALE
    with pm.Model() as model:
        if groups is not None:
            mean, sd = pm.Normal("group_mean", shape=1 + P), pm.HalfNormal("group_sd", shape=1 + P)
            known = pm.Normal("lines", mean, sd, shape=(len(CLINICS), 1 + P))
            new = pm.Normal("effect", mean, sd, shape=(len(X), 1 + P))  # not in the draws: PyMC draws it anew
            at = [CLINICS.index(g) if g in CLINICS else -1 for g in groups]
            line = pm.math.where((np.array(at) >= 0)[:, None], known[np.maximum(at, 0)], new)
            mu = line[:, 0] + (z * line[:, 1:]).sum(axis=1)
        else:
            shape = (K,) if family == "categorical" else ()
            mu = pm.Normal("intercept", shape=shape) + pm.math.dot(z, pm.Normal("coef", shape=(P, *shape)))
        if family == "bernoulli":
            pm.Bernoulli("y", p=pm.Deterministic("p", pm.math.sigmoid(mu)))
        elif family == "categorical":
            pm.Categorical("y", p=pm.Deterministic("p", pm.math.softmax(mu, axis=-1)))
        else:
            pm.Deterministic("mu", mu)
            noise = {"mu": mu, "sigma": pm.HalfNormal("sigma")}
            pm.StudentT("y", nu=pm.Gamma("nu", 2, 0.1), **noise) if "student" in family else pm.Normal("y", **noise)
    return model


@pytest.fixture(scope="module")
def by_pymc():
    """Return a function: a family's rows, and what PyMC predicts for them, S draws each, `REPEATS` times over."""
    import pymc as pm

    from inferkit.bayes._pymc import flat_draws, make_idata, quiet

    known = {}

    def predict(family):
        if family not in known:
            X, draws = rows_of(family), made(family)
            if "hierarchical" in family:
                draws["lines"] = np.concatenate([draws.pop("intercept")[..., None], draws.pop("coef")], axis=2)
            names = ["y", "p" if family in FAMILIES[:2] else "mu"]
            with quiet(), pymc_model(family, np.tile(X, (REPEATS, 1)), len(X)):
                found = pm.sample_posterior_predictive(
                    make_idata({name: values[None] for name, values in draws.items()}), var_names=names,
                    random_seed=3, progressbar=False, compile_kwargs={"mode": "FAST_COMPILE"},
                )  # fmt: skip
            known[family] = (
                X,
                {
                    name: values.reshape(S, REPEATS, len(X), *values.shape[2:])
                    for name, values in flat_draws(found, "posterior_predictive").items()
                },
            )
        return known[family]

    return predict


def z_score(sample, expected):
    """Return how many standard errors a mean of independent values lies from what is expected of it.

    A share's error comes from the share expected; five cases more make up for how skewed rare ones are.
    """
    n = len(sample)
    variance = expected * (1 - expected) + 5 / n if sample.dtype == bool else sample.var(axis=0)
    return (sample.mean(axis=0) - expected) / np.sqrt(variance / n)


def disagreements(ours, X, truth):
    """Return what of ours is not as PyMC has it: exactly where nothing is random, else by `LIMIT`."""
    return sorted(_by_class(ours, X, truth) if ours.is_classifier else _by_value(ours, X, truth))


def _by_class(ours, X, truth):
    p = truth["p"][:, 0]
    if p.ndim == 2:
        p = np.stack([1 - p, p], axis=-1)
    pairs = {
        "draws": (ours.predict_draws(X), p),
        "mean": (ours(X), p.mean(axis=0)),
        "interval": (ours.predict_interval(X, 0.8), np.moveaxis(np.quantile(p, [0.1, 0.9], axis=0), 0, -1)),
    }
    yield from (name for name, (got, expected) in pairs.items() if not np.allclose(got, expected, rtol=0, atol=1e-9))
    counts = truth["y"].reshape(-1, len(X))[:, :, None] == np.arange(p.shape[-1])
    if np.abs(z_score(counts, ours(X))).max() > LIMIT:
        yield "classes"


def _by_value(ours, X, truth):
    y = truth["y"].reshape(-1, len(X))
    is_known = np.array([X.shape[1] == P or row[1] in CLINICS for row in X])
    if not np.allclose(ours(X)[is_known], truth["mu"][:, 0].mean(axis=0)[is_known], rtol=0, atol=1e-9):
        yield "mean"
    mean, std = ours.predict(X, return_std=True)
    if np.abs(z_score(y, mean)).max() > LIMIT:
        yield "mean of y"
    if np.abs(z_score((y - mean) ** 2, std**2)).max() > LIMIT:
        yield "std"
    mine = ours.predict_draws(X, n=len(y), random_state=4)
    for coverage in (0.5, 0.9):
        ends = ours.predict_interval(X, coverage)
        for what, sample in (("interval", y), ("draws", mine)):
            below, above = (
                z_score(sample < ends[:, 0], (1 - coverage) / 2),
                z_score(sample > ends[:, 1], (1 - coverage) / 2),
            )
            if max(np.abs(below).max(), np.abs(above).max()) > LIMIT:
                yield f"{what} {coverage}"


@pytest.mark.parametrize("family", FAMILIES)
def test_it_predicts_as_pymc_does(family, by_pymc):
    """At most some 200 checks are made, so all of them pass a right answer but once in 8,000 seeds."""
    X, truth = by_pymc(family)
    assert disagreements(compiled_from(family), X, truth) == []


def faulty(family, **change):
    draws = made(family)
    return compiled_from(family, draws=draws | {name: edit(draws) for name, edit in change.items()})


FAULTS = {
    "standardization forgotten": ("normal", lambda: compiled_from("normal", mean=None, scale=None)),
    "mean forgotten": ("bernoulli", lambda: compiled_from("bernoulli", mean=None)),
    "classes swapped": (
        "bernoulli", lambda: faulty("bernoulli", intercept=lambda d: -d["intercept"], coef=lambda d: -d["coef"]),
    ),
    "classes in another order": (
        "categorical",
        lambda: faulty("categorical", intercept=lambda d: d["intercept"][:, ::-1], coef=lambda d: d["coef"][..., ::-1]),
    ),
    "noise forgotten": ("normal", lambda: faulty("normal", sigma=lambda d: d["sigma"] * 1e-9)),
    "variance for scale": ("normal", lambda: faulty("normal", sigma=lambda d: d["sigma"] ** 2)),
    "the doubt forgotten": (
        "normal", lambda: faulty("normal", coef=lambda d: np.broadcast_to(d["coef"].mean(axis=0), (S, P))),
    ),
    "normal for Student's t": ("student", lambda: faulty("student", nu=lambda d: d["nu"] + 1e6)),
    "groups in another order": (
        "hierarchical-normal", lambda: compiled_from("hierarchical-normal", groups=CLINICS[::-1]),
    ),
    "new groups all alike": (
        "hierarchical-normal", lambda: faulty("hierarchical-normal", group_sd=lambda d: d["group_sd"] * 0),
    ),
    "new lines all parallel": (
        "hierarchical-normal", lambda: faulty("hierarchical-normal", group_sd=lambda d: d["group_sd"] * [1, 0, 0, 0]),
    ),
    "new groups all alike, Student": (
        "hierarchical-student", lambda: faulty("hierarchical-student", group_sd=lambda d: d["group_sd"] * 0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault, by_pymc):
    family, make = FAULTS[fault]
    assert disagreements(make(), *by_pymc(family)) != []


def test_rows_of_one_new_group_share_its_line():
    """Two rows of one new clinic move together; those of two clinics do so by the doubt about all clinics alone."""
    ours = compiled_from("hierarchical-normal")
    d = ours.draws
    X = np.insert(np.tile(MEAN, (3, 1)).astype(object), 1, ["Zug", "Zug", "Ulm"], axis=1)  # z = 0: intercepts alone
    covariance = np.cov(ours.predict_draws(X, n=200_000, random_state=0).T)
    common = d["group_mean"][:, 0].var()
    np.testing.assert_allclose(covariance[0, 1], common + (d["group_sd"][:, 0] ** 2).mean(), atol=0.05)
    np.testing.assert_allclose(covariance[0, 2], common, atol=0.05)


def fitted(family):
    """Return an estimator of the family fitted to a few rows, and the rows; Laplace's draws are draws like any."""
    from inferkit.bayes import BayesianClassifier, BayesianRegressor, HierarchicalRegressor

    rng = np.random.default_rng(5)
    X = rng.normal(MEAN, SCALE, (40, P))
    y = (X - MEAN) / SCALE @ [3, -2, 0.5] + rng.standard_t(5, 40)
    how = {"method": "laplace", "draws": 1000, "random_state": 0, "progress": False}
    if family in ("bernoulli", "categorical"):
        cuts = [0.0] if family == "bernoulli" else [-2.0, 2.0]
        return BayesianClassifier(**how).fit(X, np.array(["a", "b", "c"])[np.digitize(y, cuts)]), X
    if "hierarchical" not in family:
        return BayesianRegressor(likelihood=family, **how).fit(X, 100 + 10 * y), X
    X = np.insert(X, 1, np.arange(40) % 3, axis=1)
    likelihood = family.removeprefix("hierarchical-")
    return HierarchicalRegressor(group=1, likelihood=likelihood, **how).fit(X, 100 + 10 * y + 20 * X[:, 1]), X


@pytest.mark.filterwarnings("ignore::inferkit.bayes.InferenceWarning")  # whether the draws are good is not asked here
@pytest.mark.parametrize("family", in_turn(FAMILIES, "normal", "bernoulli", "hierarchical-normal"))
def test_a_fitted_estimator_is_compiled_to_what_its_model_predicts(family):
    """Its model's own predictions, from its own draws, against those of ``compile()``.

    Some 700 checks in all: a right answer fails one of them in one of 2,500 seeds.
    """
    import pymc as pm

    from inferkit.bayes._pymc import flat_draws, quiet

    estimator, X = fitted(family)
    with quiet(), estimator.model_:
        found = pm.sample_posterior_predictive(
            estimator.idata_, var_names=["y"], random_seed=3, progressbar=False, compile_kwargs={"mode": "FAST_COMPILE"}
        )
    y, ours = flat_draws(found, "posterior_predictive")["y"], estimator.compile()
    assert ours.family == family
    if ours.is_classifier:
        assert np.abs(z_score(y[:, :, None] == np.arange(len(ours.classes)), ours(X))).max() < LIMIT
        return
    low, high = ours.predict_interval(X, 0.6).T
    for sample, expected in [(y, ours(X)), (y < low, 0.2), (y > high, 0.2)]:
        assert np.abs(z_score(sample, expected)).max() < LIMIT


# -- by hand -------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["hierarchical-normal", "hierarchical-student"])
def test_the_label_of_a_new_group_does_not_matter(family):
    X = rows_of(family)[[3, 3]]
    X[1, 1] = "Ulm"
    ours = compiled_from(family)
    assert np.ptp(ours(X)) == 0
    assert np.ptp(ours.predict_interval(X), axis=0).tolist() == [0, 0]
    np.testing.assert_allclose(ours(X[:1]), ours.draws["group_mean"].mean(axis=0) @ [1, *z_of(X[:1])[0]])


def z_of(X):
    return (np.delete(X, 1, axis=1).astype(float) - MEAN) / SCALE


def test_groups_may_be_numbers():
    named, numbered = (compiled_from("hierarchical-normal", groups=groups) for groups in (CLINICS, (10, 20, 30)))
    X = rows_of("hierarchical-normal", 8)
    Y = X.copy()
    Y[:, 1] = [dict(zip(CLINICS, (10, 20, 30), strict=True)).get(g, 99.5) for g in X[:, 1]]
    np.testing.assert_array_equal(named.predict_interval(X), numbered.predict_interval(Y.astype(float)))
    np.testing.assert_array_equal(named.predict_interval(X), numbered.predict_interval(Y))


def test_a_group_may_have_no_features():
    draws = made("hierarchical-normal")
    bare = {
        "coef": draws["coef"][..., :0],
        "group_mean": draws["group_mean"][:, :1],
        "group_sd": draws["group_sd"][:, :1],
    }
    ours = CompiledPosterior("hierarchical-normal", draws | bare, groups=CLINICS, group_column=0)
    np.testing.assert_allclose(ours([["Berg"]]), draws["intercept"][:, 1].mean())
    low, high = ours.predict_interval([["Berg"], ["Zug"]]).T
    assert (high - low)[1] > (high - low)[0]


def test_columns_may_be_named():
    ours = compiled_from("hierarchical-normal", group_column="clinic", feature_names=["a", "clinic", "b", "c"])
    import pandas

    X = rows_of("hierarchical-normal")
    frame = pandas.DataFrame(X, columns=list(ours.feature_names))
    np.testing.assert_array_equal(ours(frame), ours(X))
    with pytest.raises(InputError, match=r"expected the columns \['a', 'clinic', 'b', 'c'\] in this order"):
        ours(frame[["clinic", "a", "b", "c"]])


def test_sure_answers_do_not_overflow():
    draws = {"intercept": np.zeros(9), "coef": np.ones((9, 1))}
    ours = CompiledPosterior("bernoulli", draws)
    assert ours([[-1e6], [0.0], [1e6]]).tolist() == [[1, 0], [0.5, 0.5], [0, 1]]
    three = {"intercept": np.zeros((9, 3)), "coef": np.ones((9, 1, 3)) * [-1, 0, 1]}
    assert CompiledPosterior("categorical", three)([[1e6]]).tolist() == [[0, 0, 1]]


def test_classes_keep_their_labels():
    draws = {"intercept": np.tile([0.0, 1, 0], (9, 1)), "coef": np.tile([-1.0, 0, 1], (9, 1, 1))}
    ours = CompiledPosterior("categorical", draws, classes=["low", "middle", "high"])
    assert ours.predict([[-3.0], [0.0], [3.0]]).tolist() == ["low", "middle", "high"]
    assert compiled_from("bernoulli").predict(rows_of("bernoulli")).dtype.kind == "i"


def test_one_call_gives_mean_and_interval():
    for family in FAMILIES:
        ours, X = compiled_from(family), rows_of(family)
        answer = ours.with_interval(0.8)(X)
        np.testing.assert_array_equal(answer["mean"], ours(X))
        np.testing.assert_array_equal(np.stack([answer["lower"], answer["upper"]], -1), ours.predict_interval(X, 0.8))
        assert ours.coverage is None
        before = ours.sha256
        assert before == compiled_from(family).sha256
        assert ours.with_interval(0.8).sha256 != before


def test_draws_are_chosen_and_repeated_as_asked():
    for family in FAMILIES:
        ours, X = compiled_from(family), rows_of(family)
        tail = X.shape[:1] + ((len(ours.classes),) if ours.is_classifier else ())
        assert ours.predict_draws(X).shape == (S, *tail)
        for n in (1, 7, S, S + 5):
            assert ours.predict_draws(X, n=n, random_state=0).shape == (n, *tail)
        first, again, other = (ours.predict_draws(X, 9, random_state=seed) for seed in (0, 0, 1))
        assert (first == again).all()
        assert not (first == other).all()
    sure = CompiledPosterior("normal", {"intercept": np.arange(50.0), "coef": np.zeros((50, 1)), "sigma": [1e-9] * 50})
    chosen = sure.predict_draws([[0.0]], n=20, random_state=0).round().ravel()
    assert len(set(chosen)) == 20  # fewer than there are: none twice


@settings(deadline=None, max_examples=25)
@given(family=st.sampled_from(FAMILIES), n=st.integers(1, 9), s=st.integers(1, 40), seed=st.integers(0, 9))
def test_rows_together_are_rows_one_by_one(family, n, s, seed):
    ours, X = compiled_from(family, s=s, seed=seed), rows_of(family, n, seed)
    parted = compiled_from(family, s=s, seed=seed)
    parted._rows_at_once = 2
    for ask in (lambda m, rows: m(rows), lambda m, rows: m.predict_interval(rows, 0.7)):
        whole = ask(ours, X)
        assert whole.shape[0] == n
        np.testing.assert_allclose(ask(parted, X), whole, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(np.concatenate([ask(ours, row[None]) for row in X]), whole, rtol=1e-9, atol=1e-9)
    if ours.is_classifier:
        np.testing.assert_allclose(ours(X).sum(axis=1), 1)


@settings(deadline=None, max_examples=25)
@given(
    family=st.sampled_from(FAMILIES),
    s=st.integers(1, 40),
    coverages=st.lists(st.floats(0.01, 0.99), min_size=2, max_size=2),
)
def test_more_coverage_is_never_a_narrower_interval(family, s, coverages):
    ours, X = compiled_from(family, s=s), rows_of(family)
    (low, high), (wide_low, wide_high) = (np.moveaxis(ours.predict_interval(X, c), -1, 0) for c in sorted(coverages))
    slack = 1e-6
    assert (wide_low <= low + slack).all()
    assert (low <= high).all()
    assert (high <= wide_high + slack).all()
    if s == 1 and family in ("normal", "student"):  # one bell: the mean is its middle; no mixture promises as much
        np.testing.assert_allclose(low + high, 2 * ours(X), atol=1e-6)


# -- the interval of a mixture -------------------------------------------------------------------

FLOATS = st.floats(-1e6, 1e6)


@settings(deadline=None, max_examples=150)
@given(
    bells=st.lists(st.tuples(FLOATS, st.floats(-8, 4), st.floats(0.5, 200)), min_size=1, max_size=30),
    student=st.booleans(),
    coverage=st.floats(0.001, 0.9999),
)
def test_the_ends_of_an_interval_solve_the_distribution_function(bells, student, coverage):
    """However far apart the bells stand, and however narrow some are; checked with SciPy's own bells."""
    location, log_scale, nu = (np.array(column) for column in zip(*bells, strict=True))
    sigma = 10.0**log_scale
    noise = StudentNoise(sigma, nu) if student else NormalNoise(sigma)
    for end, p in zip(
        mixture_interval(location[None], sigma, noise, coverage)[0], (1 - coverage, 1 + coverage), strict=True
    ):

        def share(y):
            t = (y - location) / sigma
            return (stats.t.cdf(t, nu) if student else stats.norm.cdf(t)).mean()

        blur = 8 * np.spacing(np.abs(end) + np.abs(location).max())  # no float lies nearer
        assert share(end - blur) - 2e-6 <= p / 2 <= share(end + blur) + 2e-6


@pytest.mark.parametrize("noise", [NormalNoise, lambda sigma: StudentNoise(sigma, np.full(3, 4.0))])
def test_a_bell_without_any_width_is_a_step(noise):
    sigma = np.array([1e-200, 1e-300, 1.0])
    low, high = mixture_interval(np.array([[-5.0, 5.0, 0.0]]), sigma, noise(sigma), 0.5)[0]
    np.testing.assert_allclose([low, high], [-5, 5], atol=1e-9)


@pytest.mark.parametrize("nu", [0.1, 0.2, 0.5, 1, 2, 5, 30, 1e3, 1e6])
def test_students_t_is_as_exact_as_it_says(nu):
    t = np.concatenate([-np.logspace(-3, 4, 200), np.logspace(-3, 4, 200)])
    cdf, pdf = StudentNoise(np.ones(1), np.array([nu])).cdf_pdf(t[:, None])
    assert np.abs(cdf[:, 0] - stats.t.cdf(t, nu)).max() < (1e-6 if nu >= 0.5 else 1e-4)
    np.testing.assert_allclose(pdf[:, 0], stats.t.pdf(t, nu), rtol=1e-8, atol=1e-15)


@settings(max_examples=100)
@given(values=st.lists(FLOATS, min_size=1, max_size=50), coverage=st.floats(0.001, 0.999))
def test_a_central_interval_is_that_of_numpy(values, coverage):
    expected = np.quantile(values, [(1 - coverage) / 2, (1 + coverage) / 2])
    np.testing.assert_allclose(central_interval(np.array(values), coverage), expected, rtol=1e-9, atol=1e-6)


def test_no_finite_variance_is_an_infinite_standard_deviation():
    ours = faulty("student", nu=lambda d: np.where(np.arange(S) == 7, 2.0, d["nu"]))
    assert np.isinf(ours.predict(rows_of("student"), return_std=True)[1]).all()


# -- the file ------------------------------------------------------------------------------------


def saved(ours, folder):
    path = folder / "a.posterior"
    ours.save(path)
    return path


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_loaded_answers_as_what_was_saved(family, tmp_path):
    ours = compiled_from(family, name="µ-Modell").with_interval(0.7)
    again = CompiledPosterior.load(saved(ours, tmp_path), sha256=ours.sha256)
    X = rows_of(family)
    for name, values in ours(X).items():
        np.testing.assert_array_equal(again(X)[name], values)
    for fact in ("family", "name", "classes", "groups", "group_column", "feature_names", "coverage", "sha256"):
        assert getattr(again, fact) == getattr(ours, fact), fact
    assert again.content == ours.content == (tmp_path / "a.posterior").read_bytes()
    assert again.size_bytes == (tmp_path / "a.posterior").stat().st_size


BLOCKED = """
import sys, warnings
warnings.simplefilter("error")
for name in ("pymc", "arviz", "pytensor", "xarray", "numba"):
    sys.modules[name] = None
import numpy as np
from inferkit.bayes import CompiledPosterior
from inferkit import Predictor
ours = CompiledPosterior.load(sys.argv[1])
X = np.load(sys.argv[2])
answer = ours.with_interval(0.9)(X)
draws = ours.predict_draws(X, 1, 5)[0]
np.save(sys.argv[3], np.column_stack([answer["mean"], answer["lower"], answer["upper"], draws]))
assert Predictor(ours).predict_one(X[0]) == answer["mean"][0]
"""


def test_it_loads_and_answers_where_pymc_is_not_installed(tmp_path):
    ours, X = compiled_from("student"), rows_of("student")
    np.save(tmp_path / "X.npy", X)
    paths = [str(saved(ours, tmp_path)), str(tmp_path / "X.npy"), str(tmp_path / "answer.npy")]
    subprocess.run([sys.executable, "-c", BLOCKED, *paths], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    answer = ours.with_interval(0.9)(X)
    here = np.column_stack([answer["mean"], answer["lower"], answer["upper"], ours.predict_draws(X, 1, 5)[0]])
    np.testing.assert_allclose(np.load(paths[2]), here, rtol=1e-12)


def rewritten(path, change, method=zipfile.ZIP_STORED):
    """Return the file with its manifest and its parts changed."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(parts.pop("manifest.json"))
    change(manifest, parts)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in {"manifest.json": json.dumps(manifest).encode(), **parts}.items():
            archive.writestr(name, content)
    return path


def with_draws(name, content, shape=None):
    """Return a change that is true to itself: the part, its shape and its hash."""
    from inferkit._base import sha256

    def change(manifest, parts):
        parts[name] = content
        manifest["parts"][name]["sha256"] = sha256(content)
        if shape is not None:
            manifest["parts"][name]["shape"] = shape

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, p: m.update(version=2), "was saved in version 2 .* reads version 1"),
        (lambda m, p: m.pop("version"), "was saved in version None"),
        (lambda m, p: m.update(format="other"), "no posterior saved by inferkit"),
        (lambda m, p: m.update(family="poisson"), "expected one of 'bernoulli'"),
        (lambda m, p: m.update(family="normal"), "needs intercept, coef, sigma, got"),
        (lambda m, p: m.update(classes=["a"]), "expected 2 labels"),
        (lambda m, p: m.update(classes=["a", {}]), "expected words alone"),
        (lambda m, p: m.update(feature_names="abc"), "a name for each of the 3 columns"),
        (lambda m, p: m.update(coverage=3), "expected a share"),
        (lambda m, p: m.update(surprise=3), "surprise"),
        (lambda m, p: m.pop("family"), "family"),
        (lambda m, p: m.pop("parts"), "not a whole saved posterior"),
        (lambda m, p: p.update(extra=b"x"), "other parts than its manifest names"),
        (lambda m, p: p.pop("coef"), "other parts than its manifest names"),
        (lambda m, p: p.update(coef=p["coef"][:-8] + bytes(8)), "its SHA-256 differs"),
        (lambda m, p: p.update(coef=p["coef"][:-8]), r"has 9,592 bytes, and its shape \(400, 3\) needs 9,600"),
        (lambda m, p: p.update(coef=p["coef"] + bytes(8)), "larger than announced"),
        (lambda m, p: m["parts"]["coef"].update(shape=[400, "3"]), "has no shape but"),
        (lambda m, p: m["parts"]["coef"].update(shape=[-400, -3]), "has no shape but"),
        (lambda m, p: m["parts"]["coef"].update(shape=[10**30, 10**30]), "bytes, and its shape"),
        (lambda m, p: m["parts"].update(coef=[]), "not a whole saved posterior"),
        (with_draws("intercept", np.full(S, np.nan).tobytes()), "expected finite numbers, got nan at index"),
        (with_draws("intercept", np.zeros(S, "f4").tobytes()), "has 1,600 bytes"),
        (with_draws("intercept", np.zeros(S, "f4").tobytes(), [S // 2]), "with 200 draws"),
        (with_draws("intercept", b"", [0]), "draws"),
        (with_draws("scale", np.zeros(P).tobytes()), "expected values > 0, got 0"),
    ],
)
def test_a_file_that_lies_is_refused(change, message, tmp_path):
    path = rewritten(saved(compiled_from("bernoulli"), tmp_path), change)
    with pytest.raises(ModelFileError, match=message) as caught:
        CompiledPosterior.load(path)
    assert "a.posterior" in str(caught.value)


def test_a_part_that_unpacks_to_more_is_not_unpacked(tmp_path):
    bomb = with_draws("coef", bytes(80_000_000), [10**7, 1])
    path = rewritten(saved(compiled_from("bernoulli"), tmp_path), bomb, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 200_000
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match="packed, or larger than announced"):
            CompiledPosterior.load(path)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    ours = compiled_from("normal", s=3)
    folder = tmp_path_factory.mktemp("small")
    return folder, saved(ours, folder).read_bytes(), ours(rows_of("normal"))


@settings(deadline=None, max_examples=300)
@given(position=st.floats(0, 1, exclude_max=True), flip=st.integers(0, 255))
def test_a_damaged_file_is_refused_or_answers_the_same(small, position, flip):
    """Whatever byte is changed (or, with flip 0, cut off with all behind it): no other answers come out."""
    _, content, expected = small
    place = int(position * len(content))
    damaged = content[:place] + (bytes([content[place] ^ flip]) + content[place + 1 :] if flip else b"")
    try:
        again = CompiledPosterior.from_bytes(damaged)
    except ModelFileError:
        return
    np.testing.assert_array_equal(again(rows_of("normal")), expected)


@pytest.mark.parametrize("content", [b"", b"PK", b"\x80\x04]\x94.", b'{"format": "inferkit-posterior"}'])
def test_what_is_no_such_file_is_refused(content, tmp_path):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ModelFileError, match="a is not a whole saved posterior"):
        CompiledPosterior.load(tmp_path / "a")


def test_deep_json_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        archive.writestr("manifest.json", "[" * 200_000)
    with pytest.raises(ModelFileError, match="not a whole saved posterior"):
        CompiledPosterior.load(tmp_path / "a")


def test_another_hash_is_refused(tmp_path):
    with pytest.raises(ModelFileError, match="expected SHA-256 000000000000"):
        CompiledPosterior.load(saved(compiled_from("normal"), tmp_path), sha256="0" * 64)


def test_saving_into_no_folder_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError, match="the folder does not exist"):
        compiled_from("normal").save(tmp_path / "no" / "a")


# -- bad input -----------------------------------------------------------------------------------

GOOD = made("normal")
GROUPED = made("hierarchical-normal")


@pytest.mark.parametrize(
    ("family", "draws", "facts", "message"),
    [
        ("poisson", GOOD, {}, "family: expected one of 'bernoulli'"),
        ("normal", None, {}, "needs intercept, coef, sigma, got NoneType"),
        ("normal", {"coef": GOOD["coef"]}, {}, r"needs intercept, coef, sigma, got \['coef'\]"),
        ("normal", GOOD | {"nu": GOOD["sigma"]}, {}, "needs intercept, coef, sigma, got"),
        ("normal", GOOD | {"coef": GOOD["coef"][:5]}, {}, r"expected shape \(draws, features\) with 400 draws"),
        ("normal", GOOD | {"coef": GOOD["coef"][:, 0]}, {}, r"draws\['coef'\]: expected shape"),
        ("normal", GOOD | {"sigma": GOOD["sigma"] * 0}, {}, r"draws\['sigma'\]: expected values > 0, got 0"),
        ("normal", GOOD | {"sigma": GOOD["sigma"] * np.nan}, {}, "expected finite numbers, got nan at index"),
        ("normal", GOOD | {"sigma": ["wide"] * S}, {}, "expected an array of numbers"),
        ("normal", {k: v[:0] for k, v in GOOD.items()}, {}, "expected at least one draw, one feature"),
        ("normal", GOOD | {"coef": GOOD["coef"][:, :0]}, {}, "expected at least one draw, one feature"),
        ("normal", GOOD, {"mean": [0.0]}, r"mean: expected one value for each of the 3 features, got shape \(1,\)"),
        ("normal", GOOD, {"scale": [1, 0, 1]}, "scale: expected values > 0, got 0; a constant column has scale 1"),
        ("normal", GOOD, {"classes": [0, 1]}, "classes: the family 'normal' has none"),
        ("normal", GOOD, {"groups": ["a"]}, "groups: the family 'normal' has none"),
        ("normal", GOOD, {"feature_names": ["a", "a", "b"]}, "a name for each of the 3 columns"),
        ("normal", GOOD, {"coverage": 90}, "coverage: expected a share above 0 and below 1 such as 0.9, got 90"),
        ("bernoulli", made("bernoulli"), {"classes": ["yes"]}, "classes: expected 2 labels"),
        ("bernoulli", made("bernoulli"), {"classes": ["yes", "yes"]}, "each once"),
        ("bernoulli", made("bernoulli"), {"classes": ["yes", 1]}, "words alone or numbers alone"),
        ("bernoulli", made("bernoulli"), {"classes": [0, np.nan]}, "classes: expected finite numbers"),
        ("bernoulli", made("bernoulli"), {"classes": "no"}, "expected a sequence of 2 labels, got 'no'"),
        ("categorical", {k: v[..., :1] for k, v in made("categorical").items()}, {}, "two classes"),
        ("hierarchical-normal", GROUPED, {}, "groups: expected 3 labels"),
        ("hierarchical-normal", GROUPED, {"groups": CLINICS}, "group_column: expected a column from 0 to 3, got None"),
        ("hierarchical-normal", GROUPED, {"groups": CLINICS, "group_column": 4}, "from 0 to 3, got 4"),
        ("hierarchical-normal", GROUPED, {"groups": ["a", "b", "new group"], "group_column": 0}, "rename yours"),
        ("hierarchical-normal", GROUPED | {"group_sd": -GROUPED["group_sd"]}, {}, "expected values ≥ 0"),
        ("hierarchical-normal", GROUPED | {"group_mean": GROUPED["group_mean"][:, 1:]}, {}, r"1 \+ features"),
    ],
)  # fmt: skip
def test_bad_draws_and_labels_are_refused(family, draws, facts, message):
    with pytest.raises(InputError, match=message):
        CompiledPosterior(family, draws, **facts)


@pytest.mark.parametrize(
    ("family", "X", "message"),
    [
        ("normal", np.zeros(3), r"got shape \(3,\); for one row give X\[None\]"),
        ("normal", np.zeros((2, 4)), r"expected one or more rows \(n, 3\), got shape \(2, 4\)"),
        ("normal", np.zeros((0, 3)), "expected one or more rows"),
        ("normal", [[1, 2, 3], [1]], "rows of unequal length"),
        ("normal", [[1, 2, np.nan]], "expected finite numbers, got nan in row 0, feature 2"),
        ("normal", [["a", "b", "c"]], "expected numbers, got"),
        ("normal", [[1j, 0, 0]], "expected numbers, got complex128"),
        ("hierarchical-normal", [[20, 7, -3, 0.5]], "the group, column 1: expected a word, got 7 in row 0"),
        ("hierarchical-normal", [[20, "Aa", "x", 0.5]], "expected numbers"),
        ("hierarchical-normal", [[20, None, -3, 0.5]], "expected a word, got None"),
    ],
)
def test_bad_rows_are_refused(family, X, message):
    with pytest.raises(InputError, match=message):
        compiled_from(family)(X)


@pytest.mark.parametrize("bad", ["Aa", np.nan])
def test_a_group_that_is_no_number_is_refused(bad):
    ours = compiled_from("hierarchical-normal", groups=(1, 2, 3))
    with pytest.raises(InputError, match=r"the group, column 1: expected (a number|finite numbers)"):
        ours([[20, 1, -3, 0.5], [20, bad, -3, 0.5]])


def test_questions_that_make_no_sense_are_refused():
    value, sorted_out = compiled_from("normal"), compiled_from("bernoulli")
    X = rows_of("normal")
    for ask, message in [
        (lambda: value.predict_proba(X), "gives values and no probabilities"),
        (lambda: sorted_out.predict(X, return_std=True), "classes have no standard deviation"),
        (lambda: value.predict_interval(X, 1.0), "expected a share"),
        (lambda: value.with_interval(0), "expected a share"),
        (lambda: value.predict_draws(X, n=0), "n: expected a number of draws ≥ 1, got 0"),
        (lambda: value.predict_draws(X, random_state=-1), "random_state"),
    ]:
        with pytest.raises(InputError, match=message):
            ask()


def test_what_was_given_may_be_changed_afterwards():
    draws = made("normal")
    ours, X = CompiledPosterior("normal", draws), rows_of("normal")
    before = ours(X)
    draws["coef"] += 1
    assert (ours(X) == before).all()
    with pytest.raises(ValueError, match="read-only"):
        ours.draws["coef"] += 1


# -- the promise ---------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_print_what_one_row_takes(family, capsys):
    """At 1,000 draws, mean, interval and draws together: at most 1 ms by the design. Printed, not asserted."""
    ours, X = compiled_from(family, s=1000), rows_of(family, 1)
    predictor = Predictor(ours)
    row = X[0]
    calls = {
        "mean": lambda: ours(X), "interval": lambda: ours.predict_interval(X),
        "draws": lambda: ours.predict_draws(X, random_state=0), "predict_one": lambda: predictor.predict_one(row),
    }  # fmt: skip
    times = {name: [] for name in calls}
    for _ in range(50):
        for name, call in calls.items():
            start = perf_counter_ns()
            call()
            times[name].append((perf_counter_ns() - start) / 1000)
    median = {name: float(np.median(values)) for name, values in times.items()}
    with capsys.disabled():
        print(f"\n{family}: " + ", ".join(f"{name} {us:.0f} µs" for name, us in median.items()), end=" ")
    assert all(us > 0 for us in median.values())


@pytest.mark.parametrize("as_file", [True, False])
def test_its_memory_is_measured_in_a_process_of_its_own(as_file, tmp_path):
    from inferkit.benchmark import measure_memory

    compiled = compiled_from("bernoulli", s=50_000)  # draws of 1.6 MB
    compiled.save(tmp_path / "a.posterior")
    found = measure_memory(tmp_path / "a.posterior" if as_file else Predictor(compiled), rows_of("bernoulli"))
    assert found.model_mb > 1
