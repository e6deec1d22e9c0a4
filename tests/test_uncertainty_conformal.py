"""Conformal prediction: equal to MAPIE's own sets, covering by the finite-sample law, planted faults caught."""

import math
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from inferkit import InputError, MissingExtraError, Predictor
from inferkit.benchmark import compare, measure_latency
from inferkit.datasets import load_signs, split_digits
from inferkit.predictor import ArraySpec, Column, TableSpec, digit_reader, sign_reader
from inferkit.uncertainty import ConformalPredictor, _conformal, rows_needed
from inferkit.uncertainty._scores import label_sets, rank, threshold

COVERAGES = (0.5, 0.8, 0.9, 0.95, 0.975)


@pytest.fixture(scope="module")
def digits():
    """Return the test pictures and their labels."""
    _, X, _, y = split_digits()
    return X.reshape(-1, 8, 8), y


def table_of(p, *, labels=None):
    """Return a predictor that has learned a table of probabilities or numbers by heart, and takes row numbers."""
    p = np.asarray(p, dtype=float)
    labels = labels or (range(p.shape[1]) if p.ndim == 2 else None)
    return Predictor(
        lambda X: p[X[:, 0].astype(int)], signature=ArraySpec((1,), "float64"), labels=labels, name="table"
    )


def numbers(n, start=0):
    return np.arange(start, start + n, dtype=float)[:, None]


def identity():
    return Predictor(lambda X: X[:, 0], signature=ArraySpec((None,), "float64"), name="identity")


# -- how many rows, and which of them ----------------------------------------------------------------

shares = st.tuples(st.integers(1, 999), st.just(1000)) | st.tuples(st.integers(1, 98), st.just(99))


@settings(deadline=None)
@given(shares)
@example((999, 1000))
@example((55, 100))
def test_rows_needed_is_the_smallest_number_that_can_keep_the_promise(parts):
    exact = Fraction(*parts)
    n = rows_needed(parts[0] / parts[1])
    assert math.ceil((n + 1) * exact) <= n
    assert n == 1 or math.ceil(n * exact) > n - 1


@settings(deadline=None)
@given(shares, st.integers(1, 2000))
@example((55, 100), 99)  # 0.55 * 100 is 55.000000000000007
def test_rank_is_exact(parts, n):
    exact, coverage = Fraction(*parts), parts[0] / parts[1]
    expected = math.ceil((n + 1) * exact)
    if expected <= n:
        assert rank(n, coverage) == expected
        assert threshold(np.arange(1.0, n + 1), coverage) == expected
    else:
        needed = rows_needed(coverage)
        with pytest.raises(InputError, match=f"needs at least {needed} calibration rows, got {n}; .* at most 0"):
            rank(n, coverage)


@pytest.mark.parametrize("coverage", [0, 1, -0.1, 90, np.nan, None, True, "0.9"])
def test_a_coverage_is_a_share(coverage):
    with pytest.raises(InputError, match="coverage: expected a share above 0 and below 1"):
        rows_needed(coverage)
    with pytest.raises(InputError, match="coverage: expected a share above 0 and below 1"):
        ConformalPredictor(digit_reader(), coverage=coverage)


def test_too_few_rows_are_an_error_that_says_how_many(digits):
    X, y = digits
    with pytest.raises(
        InputError, match=r"a coverage of 0\.9 needs at least 9 calibration rows, got 8; give more rows"
    ):
        ConformalPredictor(digit_reader()).fit(X[:8], y[:8])
    fitted = ConformalPredictor(digit_reader()).fit(X[:9], y[:9])
    with pytest.raises(InputError, match=r"0\.95 needs at least 19 calibration rows, got 9; .* at most 0.9"):
        fitted.predict_set(X[:2], coverage=0.95)
    with pytest.raises(InputError, match="at least 19"):
        fitted.with_set(0.95)
    one = ConformalPredictor(digit_reader(), coverage=0.5).fit(X[:1], y[:1])
    assert one.predict_set(X[:3]).shape == (3, 10)


# -- equal to MAPIE ------------------------------------------------------------------------------------


class Given(BaseEstimator):
    """An estimator whose input is its answer, so that MAPIE sees what the predictor gave."""

    fitted_ = True

    def fit(self, X, y):
        return self


class GivenProbabilities(ClassifierMixin, Given):
    def __init__(self, n_labels):
        self.n_labels, self.classes_ = n_labels, np.arange(n_labels)

    def predict_proba(self, X):
        return X

    def predict(self, X):
        return X.argmax(axis=1)


class GivenColumn(RegressorMixin, Given):
    def __init__(self, column):
        self.column = column

    def predict(self, X):
        return X[:, self.column]


def mapie_sets(p, y, n, score, coverage, random_state=0):
    """Return MAPIE's sets of the rows from the n-th on, calibrated on those before."""
    from mapie.classification import SplitConformalClassifier

    model = SplitConformalClassifier(
        GivenProbabilities(p.shape[1]), coverage, conformity_score=score, random_state=random_state
    )
    return model.conformalize(p[:n], y[:n]).predict_set(p[n:])[1][:, :, 0]


def mapie_intervals(mean, sd, y, n, coverage):
    """Return MAPIE's intervals of the rows from the n-th on; in proportion to `sd`, if there is one."""
    from mapie.conformity_scores import ResidualNormalisedScore
    from mapie.regression import SplitConformalRegressor

    score = "absolute" if sd is None else ResidualNormalisedScore(GivenColumn(1), prefit=True)
    model = SplitConformalRegressor(GivenColumn(0), coverage, conformity_score=score)
    X = np.column_stack([mean, np.ones(len(y)) if sd is None else sd])
    return model.conformalize(X[:n], y[:n]).predict_interval(X[n:])[1][:, :, 0]


@pytest.mark.filterwarnings("ignore:WARNING. your conformalization dataset has less labels:UserWarning")
@pytest.mark.parametrize("score", ["lac", "aps"])
@pytest.mark.parametrize("name", ["digits-cnn", "digits-cnn-int8"])
def test_sets_of_digits_are_mapies_own(digits, score, name):
    X, y = digits
    reader = digit_reader(name)
    ours = ConformalPredictor(reader, score=score, random_state=3).fit(X[:150], y[:150])
    p = reader.predict_proba(X).astype(float)
    p /= p.sum(axis=1, keepdims=True)
    for coverage in COVERAGES:
        expected = mapie_sets(p, y, 150, score, coverage, 3)
        assert (ours.predict_set(X[150:], coverage=coverage) == expected).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(3, 6), st.integers(1, 8), st.sampled_from(["lac", "aps"]))
def test_sets_with_ties_and_zeros_are_mapies_own(seed, n_labels, steps, score):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, steps + 1, size=(80, n_labels))
    counts[counts.sum(axis=1) == 0, 0] = 1
    p = counts / counts.sum(axis=1, keepdims=True)
    y = np.concatenate([np.arange(n_labels), rng.integers(n_labels, size=80 - n_labels)])
    ours = ConformalPredictor(table_of(p), score=score).fit(numbers(40), y[:40])
    for coverage in COVERAGES:
        expected = mapie_sets(p, y, 40, score, coverage)
        assert (ours.predict_set(numbers(40, 40), coverage=coverage) == expected).all()


@pytest.mark.parametrize("normalized", [False, True])
def test_intervals_are_mapies_own(normalized):
    rng = np.random.default_rng(5)
    mean, sd = rng.normal(size=120), rng.uniform(0.5, 3, 120)
    y = mean + sd * rng.normal(size=120)
    ours = ConformalPredictor(table_of(mean), sd=(lambda X: sd[X[:, 0].astype(int)]) if normalized else None)
    ours.fit(numbers(60), y[:60])
    for coverage in COVERAGES:
        expected = mapie_intervals(mean, sd if normalized else None, y, 60, coverage)
        assert ours.predict_interval(numbers(60, 60), coverage=coverage) == pytest.approx(expected)


def test_two_labels_and_groups_in_which_one_label_occurs():
    """MAPIE itself refuses "aps" here; the scores are checked against their definition."""
    rng = np.random.default_rng(14)
    yes = rng.random(60)
    p, y = np.column_stack([1 - yes, yes]), (rng.random(60) < yes).astype(int)
    fitted = ConformalPredictor(table_of(p), score="aps", random_state=5).fit(numbers(60), y)
    u = np.random.RandomState(5).uniform(size=60)
    true = p[np.arange(60), y]
    up_to = np.where(true >= 0.5, true, 1.0)
    assert fitted.scores_[None] == pytest.approx(np.sort(up_to - u * true))
    by_label = ConformalPredictor(table_of(p), score="aps", group=lambda X: y[X[:, 0].astype(int)], coverage=0.5)
    assert set(by_label.fit(numbers(60), y).scores_) == {0, 1}
    lac = ConformalPredictor(table_of(p)).fit(numbers(60), y)
    assert lac.scores_[None] == pytest.approx(np.sort(1 - true))


def test_large_numbers_are_no_trouble():
    y = np.linspace(1e12, 2e12, 30) / 3
    fitted = ConformalPredictor(identity()).fit(np.full((30, 1), 1 / 3), y)
    assert fitted.scores_[None] == pytest.approx(y - 1 / 3)


def test_sets_of_one_row_are_those_of_many(digits):
    X, y = digits
    for score in ("lac", "aps"):
        fitted = ConformalPredictor(digit_reader(), score=score).fit(X[:200], y[:200])
        rows = [fitted.predict_set(x[None])[0] for x in X[200:230]]
        assert (fitted.predict_set(X[200:230]) == rows).all()


def test_sets_grow_with_the_coverage_and_aps_is_never_empty(digits):
    X, y = digits
    for score in ("lac", "aps"):
        fitted = ConformalPredictor(digit_reader(), score=score).fit(X[:200], y[:200])
        sets = [fitted.predict_set(X[200:], coverage=coverage) for coverage in np.linspace(0.05, 0.99, 40)]
        assert all((small <= large).all() for small, large in pairwise(sets))
    assert sets[0].any(axis=1).all()


def test_columns_stand_in_the_order_of_the_labels():
    signs = load_signs()
    X, y = signs.images[:120], np.array(signs.target_names)[signs.target[:120]]
    reader = sign_reader()
    assert list(reader.labels) != sorted(reader.labels)  # MAPIE would sort them
    sets = ConformalPredictor(reader, score="aps").fit(X[:60], y[:60]).predict_set(X[60:])
    assert sets[np.arange(60), reader.predict_proba(X[60:]).argmax(axis=1)].all()


# -- the law of coverage -------------------------------------------------------------------------------

N, TRIALS = 29, 300


def true_coverages(rng, coverage=0.9):
    """Return the coverage that each of many calibration sets gives, computed from the known distribution of y."""
    found = []
    for _ in range(TRIALS):
        fitted = ConformalPredictor(identity(), coverage=coverage).fit(np.zeros((N, 1)), rng.normal(size=N))
        low, high = fitted.predict_interval([[0.0]])[0]
        found.append(stats.norm.cdf(high) - stats.norm.cdf(low))
    return np.array(found)


def law(coverage=0.9):
    """Return the distribution of the coverage given the calibration set (Vovk 2012)."""
    k = math.ceil((N + 1) * coverage)
    return stats.beta(k, N + 1 - k)


def test_coverage_follows_its_finite_sample_law():
    """Kolmogorov and Smirnov's test, at a false-alarm rate of 1 in 1,000; a z test of the mean at the same."""
    found = true_coverages(np.random.default_rng(6))
    assert stats.kstest(found, law().cdf).pvalue > 1e-3
    error = law().std() / math.sqrt(TRIALS)
    assert abs(found.mean() - law().mean()) < 3.3 * error
    assert 0.9 <= law().mean() <= 0.9 + 1 / (N + 1)


@pytest.mark.parametrize("off", [-1, 1])
def test_a_rank_that_is_off_by_one_breaks_the_law(off, monkeypatch):
    monkeypatch.setattr(
        _conformal, "threshold", lambda ordered, c, w="": float(ordered[rank(len(ordered), c) - 1 + off])
    )
    found = true_coverages(np.random.default_rng(6))
    assert stats.kstest(found, law().cdf).pvalue < 1e-6


def test_a_plain_quantile_breaks_the_law(monkeypatch):
    """The usual slip: the 90 % quantile of the scores, with no correction for their small number."""
    monkeypatch.setattr(_conformal, "threshold", lambda ordered, c, w="": float(np.quantile(ordered, c)))
    assert stats.kstest(true_coverages(np.random.default_rng(6)), law().cdf).pvalue < 1e-6


def split_coverage(predictor, X, y, n, rng, trials, **options):
    """Return the share covered in each of many random splits into `n` calibration rows and the rest."""
    found = []
    for _ in range(trials):
        order = rng.permutation(len(y))
        fitted = ConformalPredictor(predictor, **options).fit(X[order[:n]], y[order[:n]])
        found.append(fitted.evaluate(X[order[n:]], y[order[n:]]).coverage)
    return np.array(found)


@pytest.mark.parametrize(("score", "coverage"), [("lac", 0.9), ("lac", 0.95), ("aps", 0.9)])
def test_coverage_of_digits_over_many_splits(digits, score, coverage):
    """The mean over splits lies from c to c + 1 / (n + 1), give or take 4 standard errors (1 in 15,000).

    The rows of one pool in random order are exchangeable, which is all that the bounds ask for. ``"aps"`` puts the
    last label in whole, and so has the lower bound alone.
    """
    X, y = digits
    found = split_coverage(
        digit_reader("digits-mlp"), X, y, 99, np.random.default_rng(7), 100, score=score, coverage=coverage
    )
    error = found.std() / math.sqrt(len(found))
    assert found.mean() >= coverage - 4 * error
    assert score == "aps" or found.mean() <= coverage + 1 / 100 + 4 * error


def test_calibrating_on_the_training_rows_is_caught():
    """A model that knows its training rows by heart looks sure of all others; the promise is broken by far."""
    rng = np.random.default_rng(8)
    X = rng.normal(size=(400, 3))
    y = (X[:, 0] + rng.normal(size=400) > 0).astype(int)
    model = KNeighborsClassifier(1).fit(X[:200], y[:200])
    honest = ConformalPredictor(model).fit(X[200:300], y[200:300]).evaluate(X[300:], y[300:])
    fooled = ConformalPredictor(model).fit(X[:200], y[:200]).evaluate(X[300:], y[300:])
    assert honest.interval[1] > 0.9
    assert fooled.interval[1] < 0.9


def test_intervals_in_proportion_to_the_deviation_cover_and_are_narrower_where_rows_are_easy():
    rng = np.random.default_rng(9)
    X = rng.uniform(0.2, 4, size=(3000, 1))
    y = X[:, 0] * rng.normal(size=3000)
    model = KNeighborsRegressor(200).fit(X[:1000], y[:1000])
    flat = ConformalPredictor(model).fit(X[1000:2000], y[1000:2000])
    fitting = ConformalPredictor(model, sd=lambda X: X[:, 0]).fit(X[1000:2000], y[1000:2000])
    easy = X[2000:, 0] < 1
    for fitted in (flat, fitting):
        assert fitted.evaluate(X[2000:], y[2000:]).interval[0] < 0.9 < fitted.evaluate(X[2000:], y[2000:]).interval[1]
    wide, narrow = (one.evaluate(X[2000:][easy], y[2000:][easy]) for one in (flat, fitting))
    assert wide.coverage > 0.99
    assert narrow.mean_size < wide.mean_size / 3


# -- Mondrian ------------------------------------------------------------------------------------------


def two_groups(rng, n=400):
    group = rng.integers(2, size=n)
    X = np.column_stack([rng.normal(size=n), group])
    return X, X[:, 0] + np.where(group == 1, 5.0, 0.5) * rng.normal(size=n)


@pytest.mark.parametrize("normalized", [False, True])
def test_each_group_is_a_conformal_predictor_of_its_own(normalized):
    X, y = two_groups(np.random.default_rng(10))
    sd = (lambda X: 1 + X[:, 0] ** 2) if normalized else None
    both = ConformalPredictor(identity(), sd=sd, group=lambda X: X[:, 1]).fit(X[:200], y[:200])
    assert set(both.scores_) == {0.0, 1.0}
    for group in (0, 1):
        mine = X[:200, 1] == group
        alone = ConformalPredictor(identity(), sd=sd).fit(X[:200][mine], y[:200][mine])
        rows = X[200:][X[200:, 1] == group]
        assert both.predict_interval(rows) == pytest.approx(alone.predict_interval(rows))


def test_only_mondrian_keeps_the_promise_in_each_group():
    X, y = two_groups(np.random.default_rng(11), 4000)
    together = ConformalPredictor(identity()).fit(X[:2000], y[:2000]).evaluate(X[2000:], y[2000:])
    apart = ConformalPredictor(identity(), group=lambda X: X[:, 1]).fit(X[:2000], y[:2000])
    result = apart.evaluate(X[2000:], y[2000:])
    assert together.by_group() == {}
    assert together.covered[X[2000:, 1] == 1].mean() < 0.85
    for group, one in result.by_group().items():
        mine = X[2000:, 1] == group
        assert (one.n, one.coverage) == (mine.sum(), result.covered[mine].mean())
        assert one.mean_size == result.sizes[mine].mean()
    for one in result.by_group().values():  # 95 % intervals twice: widened to 1 in 10,000
        assert abs(one.coverage - 0.9) < 4 * math.sqrt(0.09 / one.n + 0.09 / 950)


def test_a_group_is_a_column_of_an_array_or_of_a_table():
    X, y = two_groups(np.random.default_rng(12))
    spec = TableSpec([Column("dose", "mg"), Column("clinic", categories=("north", "south"))])
    flat = Predictor(lambda X: X[:, 0], signature=ArraySpec((2,), "float64"), name="flat")
    table = Predictor(lambda X: X[:, 0].astype(float), signature=spec, name="table")
    names = np.array(["north", "south"])[X[:, 1].astype(int)]
    rows = {"dose": X[:, 0].tolist(), "clinic": names.tolist()}
    by_number = ConformalPredictor(flat, group=1).fit(X, y)
    by_name = ConformalPredictor(table, group="clinic").fit(rows, y)
    assert set(by_name.scores_) == {"north", "south"}
    assert by_name.predict_interval(rows) == pytest.approx(by_number.predict_interval(X))
    assert set(by_name.evaluate(rows, y).by_group()) == {"north", "south"}


def test_a_group_with_too_few_rows_and_an_unknown_one_are_named():
    X, y = two_groups(np.random.default_rng(13))
    X[:5, 1] = 7
    with pytest.raises(InputError, match=r"at least 9 calibration rows in group 7.0, got 5"):
        ConformalPredictor(identity(), group=lambda X: X[:, 1]).fit(X, y)
    fitted = ConformalPredictor(identity(), group=lambda X: X[:, 1]).fit(X[5:], y[5:])
    with pytest.raises(InputError, match=r"group 7.0 was not among the calibration rows, .* known are "):
        fitted.predict_interval(X[:1])
    with pytest.raises(InputError, match="one group for each of the 400 rows"):
        ConformalPredictor(identity(), group=lambda X: X[:3, 1]).fit(X, y)


@pytest.mark.parametrize("group", [2, -1, "clinic", 1.0, True])
def test_a_group_that_is_no_column(group):
    flat = Predictor(lambda X: X[:, 0], signature=ArraySpec((2,), "float64"), name="flat")
    with pytest.raises(InputError, match="group: expected the number of a column"):
        ConformalPredictor(flat, group=group)
    with pytest.raises(InputError, match="group: expected the number of a column"):
        ConformalPredictor(digit_reader(), group=0)  # pictures have no columns
    table = Predictor(lambda X: X[:, 0], signature=TableSpec([Column("dose")]))
    with pytest.raises(InputError, match="group: expected one of 'dose'"):
        ConformalPredictor(table, group=group)


# -- a predictor like any other ------------------------------------------------------------------------


def test_it_answers_as_its_predictor_and_goes_where_predictors_go(digits):
    X, y = digits
    reader = digit_reader()
    fitted = ConformalPredictor(reader).fit(X[:200], y[:200])
    assert isinstance(fitted, Predictor)
    assert (fitted.predict(X) == reader.predict(X)).all()
    assert (fitted.predict_proba(X) == reader.predict_proba(X)).all()
    assert fitted.predict_one(X[0]) == reader.predict_one(X[0])
    assert (fitted.labels, fitted.signature) == (reader.labels, reader.signature)
    assert "ConformalPredictor('digits-cnn, conformal'" in repr(fitted)
    entries = list(compare({"plain": reader, "conformal": fitted}, X[200:], y[200:], n=30, progress=False))
    assert entries[0].accuracy == entries[1].accuracy
    assert entries[0].model_sha256 == entries[1].model_sha256 is not None
    with pytest.raises(InputError, match="a ConformalPredictor cannot be saved"):
        fitted.save("anywhere")


def test_sets_and_intervals_are_served_by_predictors(digits):
    X, y = digits
    fitted = ConformalPredictor(digit_reader("digits-cnn-int8")).fit(X[:200], y[:200])
    served = fitted.with_set(0.95)
    answer = served.predict(X[200:])
    assert (answer["set"] == fitted.predict_set(X[200:], coverage=0.95)).all()
    assert (answer["label"] == fitted.predict(X[200:])).all()
    assert measure_latency(served, X, n=20).n == 20
    line = ConformalPredictor(identity()).fit(numbers(50), numbers(50)[:, 0] + np.linspace(-1, 1, 50))
    one = line.with_interval().predict_one([3.0])
    low, high = line.predict_interval([[3.0]])[0]
    assert one == {"mean": 3.0, "lower": low, "upper": high}


def test_what_was_covered_is_told(digits):
    line = ConformalPredictor(identity(), coverage=0.5).fit(numbers(3), numbers(3)[:, 0] + [1, -2, 3])
    result = line.evaluate(numbers(4), [0, 3, 4, 1])  # within 2: yes, yes, yes, yes; the edge counts
    assert (result.covered.tolist(), result.sizes.tolist()) == ([True] * 4, [4.0] * 4)
    assert line.evaluate(numbers(2), [0, 3.5]).coverage == 0.5
    assert str(result).startswith("100.0% of 4 rows covered (95 %: 51.0% to 100.0%), 50.0% asked for; mean size 4")


# -- bad input -----------------------------------------------------------------------------------------


def test_nothing_is_promised_before_fit(digits):
    X, _ = digits
    for ask in (ConformalPredictor(digit_reader()).predict_set, ConformalPredictor(digit_reader()).with_set):
        with pytest.raises(InputError, match=r"knows nothing yet; call fit\(X, y\)"):
            ask(X[:1]) if ask.__name__ == "predict_set" else ask()


def test_labels_have_sets_and_numbers_have_intervals(digits):
    X, y = digits
    fitted = ConformalPredictor(digit_reader()).fit(X[:200], y[:200])
    for ask in (fitted.predict_interval, fitted.with_interval):
        with pytest.raises(InputError, match="gives labels, which have no intervals"):
            ask(X)
    line = ConformalPredictor(identity()).fit(numbers(50), numbers(50)[:, 0])
    for ask in (line.predict_set, line.with_set):
        with pytest.raises(InputError, match="gives numbers, which have no sets"):
            ask(numbers(2))


@pytest.mark.parametrize(
    ("predictor", "options", "message"),
    [
        (table_of([0.0]), {"score": "lac"}, "score: expected one of 'absolute', 'normalized'"),
        (table_of([[0.5, 0.5]]), {"score": "absolute"}, "score: expected one of 'lac', 'aps'"),
        (table_of([[0.5, 0.5]]), {"sd": lambda X: X[:, 0]}, "sd: expected None"),
        (table_of([0.0]), {"score": "normalized"}, "sd: expected with score='normalized'"),
        (table_of([0.0]), {"score": "absolute", "sd": lambda X: X[:, 0]}, "sd: expected with score='normalized'"),
        (table_of([[1.0]], labels=["only"]), {}, "needs two labels or more"),
        (lambda X: X, {}, "give signature="),
        ("no model", {}, "No such file"),
    ],
)  # fmt: skip
def test_what_does_not_go_together(predictor, options, message):
    with pytest.raises((InputError, FileNotFoundError), match=message):
        ConformalPredictor(predictor, **options)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(19), "y: expected one number for each of the 20 rows"),
        ([np.nan] * 20, "y: expected finite numbers, got nan in row 0"),
        (["a"] * 20, "y: expected one number"),
    ],
)
def test_numbers_that_are_none(y, message):
    with pytest.raises(InputError, match=message):
        ConformalPredictor(identity()).fit(numbers(20), y)


def test_rows_that_do_not_fit(digits):
    X, y = digits
    with pytest.raises(InputError, match=r"expected the labels 0, 1, 2, .*; got 'zero'"):
        ConformalPredictor(digit_reader()).fit(X[:20], ["zero"] * 20)
    with pytest.raises(InputError, match="got an empty array"):
        ConformalPredictor(digit_reader()).fit(X[:0], y[:0])
    fitted = ConformalPredictor(identity(), sd=lambda X: X[:, 0]).fit(1 + numbers(20), numbers(20)[:, 0])
    with pytest.raises(InputError, match="sd: expected standard deviations above 0, got 0 in row 1"):
        fitted.predict_interval([[1.0], [0.0]])
    nan = Predictor(lambda X: X[:, 0] / 0 * 0, signature=ArraySpec((1,), "float64"), name="broken")
    with np.errstate(all="ignore"), pytest.raises(InputError, match="broken: expected finite numbers"):
        ConformalPredictor(nan).fit(numbers(20), np.zeros(20))


def test_without_mapie_the_extra_is_named(digits, monkeypatch):
    X, y = digits
    monkeypatch.setitem(sys.modules, "mapie.conformity_scores", None)
    with pytest.raises(MissingExtraError, match='pip install "mapie>='):
        ConformalPredictor(digit_reader()).fit(X[:20], y[:20])


def test_serving_needs_no_mapie_and_the_module_loads_no_framework():
    code = (
        "import sys, inferkit.uncertainty as u; dir(u)\n"
        "assert not {'mapie', 'sklearn', 'scipy', 'keras', 'pandas', 'matplotlib'} & set(sys.modules), 'at import'\n"
        "[getattr(u, name) for name in u.__all__]\n"
        "assert not {'mapie', 'sklearn', 'keras', 'pymc', 'pandas'} & set(sys.modules), 'at first use'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_aps_takes_labels_until_the_threshold_is_passed():
    p = np.array([[0.5, 0.3, 0.2]])
    sets = {limit: label_sets(p, np.array([limit]), "aps")[0].tolist() for limit in (0.0, 0.5, 0.6, 0.8, 0.9)}
    assert sets == {
        0.0: [True, False, False],
        0.5: [True, False, False],
        0.6: [True, True, False],
        0.8: [True, True, False],
        0.9: [True, True, True],
    }
