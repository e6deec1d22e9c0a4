"""Abstaining: the least expected cost by brute force, Chow's rule, and what it costs in the end."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferkit import InputError, Predictor
from inferkit.benchmark import compare
from inferkit.datasets import load_tumours, split_digits
from inferkit.predictor import ArraySpec, digit_reader
from inferkit.uncertainty import AbstainingPredictor


def table_of(p, labels):
    """Return a predictor that has learned a table of probabilities by heart, and takes row numbers."""
    p = np.asarray(p, dtype=float)
    return Predictor(
        lambda X: p[X[:, 0].astype(int)], signature=ArraySpec((1,), "float64"), labels=labels, name="table"
    )


def numbers(n):
    return np.arange(n, dtype=float)[:, None]


@st.composite
def problems(draw):
    """Draw probabilities, costs and true labels; in quarters and whole numbers, so that sums are exact."""
    n_labels, n = draw(st.integers(2, 4)), draw(st.integers(1, 8))
    counts = draw(
        st.lists(st.lists(st.integers(0, 8), min_size=n_labels, max_size=n_labels).filter(any), min_size=n, max_size=n)
    )
    whole = st.integers(-5, 40)
    cost = draw(st.lists(st.lists(whole, min_size=n_labels, max_size=n_labels), min_size=n_labels, max_size=n_labels))
    silence = draw(whole | st.lists(whole, min_size=n_labels, max_size=n_labels))
    y = draw(st.lists(st.integers(0, n_labels - 1), min_size=n, max_size=n))
    p = np.array(counts) / np.sum(counts, axis=1, keepdims=True)
    return p, cost, silence, y


@settings(deadline=None)
@given(problems())
def test_no_other_decision_is_expected_to_cost_less(problem):
    p, cost, silence, y = problem
    n, n_labels = p.shape
    labels = [f"label {k}" for k in range(n_labels)]
    made = AbstainingPredictor(table_of(p, labels), cost, abstain_cost=silence)
    silences = silence if isinstance(silence, list) else [silence] * n_labels
    answers, total = made.predict(numbers(n)), 0.0
    for row in range(n):
        expected = {
            label: sum(p[row, true] * cost[true][answer] for true in range(n_labels))
            for answer, label in enumerate(labels)
        }
        expected["abstain"] = sum(p[row, true] * silences[true] for true in range(n_labels))
        assert expected[answers[row]] <= min(expected.values()) + 1e-9
        assert made.expected_costs(numbers(n))[row] == pytest.approx(list(expected.values()))
        total += silences[y[row]] if answers[row] == "abstain" else cost[y[row]][labels.index(answers[row])]
    result = made.evaluate(numbers(n), [labels[k] for k in y])
    assert result.costs.sum() == pytest.approx(total)
    assert result.abstained == pytest.approx((answers == "abstain").mean())
    right = [answer == labels[k] for answer, k in zip(answers, y, strict=True)]
    assert result.right.tolist() == right
    answered = answers != "abstain"
    assert result.accuracy == (pytest.approx(np.array(right)[answered].mean()) if answered.any() else None)


@settings(deadline=None)
@given(st.integers(1, 31).map(lambda k: k / 32), st.lists(st.integers(0, 16), min_size=1, max_size=20))
def test_chows_rule(abstain_cost, sixteenths):
    p = np.array([[k / 16, 1 - k / 16] for k in sixteenths])
    answers = AbstainingPredictor(table_of(p, ["a", "b"]), abstain_cost=abstain_cost).predict(numbers(len(p)))
    expected = ["abstain" if max(row) < 1 - abstain_cost else "a" if row[0] >= 0.5 else "b" for row in p]
    assert answers.tolist() == expected


def test_right_probabilities_make_it_the_best_of_all_thresholds():
    """Rows come true with their probabilities, so no other threshold costs less: within 4 standard errors."""
    rng = np.random.default_rng(0)
    yes = rng.random(20_000)
    y = np.where(rng.random(20_000) < yes, "ill", "well")
    cost = np.array([[0, 1], [10, 0]])  # of "well" and "ill": missing the ill costs ten times a false alarm
    made = AbstainingPredictor(table_of(np.column_stack([1 - yes, yes]), ["well", "ill"]), cost, abstain_cost=0.4)
    best = made.evaluate(numbers(20_000), y)
    assert best.mean_cost == pytest.approx(best.expected.mean(), abs=4 * best.costs.std() / np.sqrt(20_000))
    ill = y == "ill"
    for low in (0.01, 0.02, 0.08, 0.2):
        for high in (0.3, 0.5, 0.7, 0.9):
            costs = np.where(yes > high, ~ill, np.where(yes < low, 10.0 * ill, 0.4))
            difference = costs - best.costs
            assert difference.mean() > -4 * difference.std() / np.sqrt(20_000)
    assert best.saved > 0


def test_tumours_the_dearer_a_miss_the_more_often_it_asks():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, y = load_tumours(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[::2], y[::2])
    made = [AbstainingPredictor(model, [[0, miss], [1, 0]], abstain_cost=0.5) for miss in (1, 10, 100)]
    results = [one.evaluate(X[1::2], y[1::2]) for one in made]
    rates = [one.abstained for one in results]
    assert rates == sorted(rates)
    assert rates[-1] > 0.02
    missed = [int(((one.predict(X[1::2]) == 1) & (y[1::2] == 0)).sum()) for one in made]
    assert missed == sorted(missed, reverse=True)
    assert missed[-1] < missed[0]
    assert AbstainingPredictor(model, abstain_cost=0).evaluate(X[1::2], y[1::2]).abstained == 1
    assert AbstainingPredictor(model, abstain_cost=1).evaluate(X[1::2], y[1::2]).abstained == 0


@pytest.mark.parametrize("mark", ["abstain", None, -1])
def test_the_mark_is_the_callers(mark):
    _, X, _, y = split_digits()
    X = X.reshape(-1, 8, 8)
    made = AbstainingPredictor(digit_reader(), abstain_cost=0.01, abstain_label=mark)
    answers = made.predict(X)
    silent = made.expected_costs(X).argmin(axis=1) == 10
    assert 0 < silent.sum() < len(X)
    assert all(answer is mark or answer == mark for answer in answers[silent])
    assert (answers[~silent] == digit_reader().predict(X[~silent])).all()
    first = int(silent.argmax())
    assert made.predict_one(X[first]) == mark
    assert type(made.predict_one(X[int((~silent).argmax())])) is int
    (entry,) = compare({"it": made}, X, y, n=10, progress=False)  # silence counts as a wrong answer there
    assert entry.accuracy == pytest.approx((answers == y).mean())


def test_words():
    made = AbstainingPredictor(table_of([[0.9, 0.1], [0.5, 0.5]], ["a", "b"]), abstain_cost=0.25)
    text = str(made.evaluate(numbers(2), ["a", "b"]))
    assert text == (
        "50.0% of 2 rows without an answer; of the answers 100.0% right; 0.125 a row, 0.175 expected, 0.5 if it had "
        "to answer"
    )
    silent = AbstainingPredictor(table_of([[0.5, 0.5]], ["a", "b"]), abstain_cost=0)
    assert "of the answers none right" in str(silent.evaluate(numbers(1), ["a"]))


GIVEN = table_of([[0.5, 0.5]], ["a", "b"])


@pytest.mark.parametrize(
    ("predictor", "options", "message"),
    [
        (GIVEN, {"cost": [[0, 1]], "abstain_cost": 1}, r"cost: expected shape \(2, 2\), .* got \(1, 2\)"),
        (GIVEN, {"cost": np.zeros((3, 3)), "abstain_cost": 1}, r"got \(3, 3\)"),
        (GIVEN, {"cost": [[0, np.nan], [1, 0]], "abstain_cost": 1}, "cost: expected finite numbers"),
        (GIVEN, {"cost": "dear", "abstain_cost": 1}, "cost: expected numbers"),
        (GIVEN, {"abstain_cost": np.inf}, "abstain_cost: expected finite numbers"),
        (GIVEN, {"abstain_cost": [1, 2, 3]}, r"one for each of the 2 labels, got \(3,\)"),
        (GIVEN, {"abstain_cost": 1, "abstain_label": "a"}, "abstain_label: expected none of the labels"),
        (lambda X: X, {"abstain_cost": 1}, "give signature="),
        (Predictor(lambda X: X, signature=ArraySpec((1,)), name="it"), {"abstain_cost": 1}, "it gives none"),
    ],
)  # fmt: skip
def test_costs_that_do_not_fit(predictor, options, message):
    with pytest.raises(InputError, match=message):
        AbstainingPredictor(predictor, **options)


def test_what_are_no_probabilities_decides_nothing():
    logits = AbstainingPredictor(table_of([[2.0, -1.0]], ["a", "b"]), abstain_cost=0.1)
    for ask in (logits.predict, logits.expected_costs):
        with pytest.raises(InputError, match="Logits need postprocess"):
            ask(numbers(1))
    with pytest.raises(InputError, match="Logits need postprocess"):
        logits.predict_one([0.0])
    with pytest.raises(InputError, match="expected the labels 'a', 'b'; got 'c'"):
        AbstainingPredictor(GIVEN, abstain_cost=0.1).evaluate(numbers(1), ["c"])
    with pytest.raises(InputError, match=r"an? AbstainingPredictor cannot be saved"):
        logits.save("anywhere")
