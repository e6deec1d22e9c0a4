"""Ensembles and dropout against closed forms, and the contract that all predictors of this module keep."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferkit import InputError, Predictor
from inferkit.benchmark import compare, measure_latency
from inferkit.datasets import split_digits
from inferkit.predictor import ArraySpec, OutputSpec, Scale, Signature, Softmax, digit_reader
from inferkit.uncertainty import AbstainingPredictor, ConformalPredictor, DeepEnsemble, MCDropout, TemperatureScaler

MEMBERS = ("digits-cnn", "digits-mlp", "digits-cnn-int8")


@pytest.fixture(scope="module")
def digits():
    """Return the test pictures and their labels."""
    _, X, _, y = split_digits()
    return X.reshape(-1, 8, 8), y


def line(slope, **options):
    return Predictor(lambda X: slope * X[:, 0], signature=ArraySpec((1,), "float64"), name=f"{slope} x", **options)


# -- one contract ------------------------------------------------------------------------------------


def temperature(reader, X, y):
    return TemperatureScaler(reader).fit(X, y)


def ensemble(reader, X, y):
    return DeepEnsemble([reader, digit_reader("digits-mlp")])


def conformal(reader, X, y):
    return ConformalPredictor(reader).fit(X, y)


def abstaining(reader, X, y):
    return AbstainingPredictor(reader, abstain_cost=0.2)


MAKERS = [temperature, ensemble, conformal, abstaining]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("name", ["digits-cnn", "digits-cnn-int8"])
def test_each_is_a_predictor_that_can_be_measured_and_compared(make, name, digits):
    X, y = digits
    reader = digit_reader(name)
    made = make(reader, X[:200], y[:200])
    assert isinstance(made, Predictor)
    assert made.signature.input == reader.signature.input
    assert [made.predict_one(x) for x in X[200:215]] == made.predict(X[200:215]).tolist()
    p = made.predict_proba(X[200:215])
    assert p.shape == (15, 10)
    assert p.sum(axis=1) == pytest.approx(np.ones(15), abs=0.03)
    assert measure_latency(made, X, n=20).n == 20
    (entry,) = compare({"it": made}, X[200:], y[200:], n=20, progress=False)
    assert entry.accuracy > 0.9
    with pytest.raises(InputError, match="expected one row of shape"):
        made.predict_one(X[:2])
    with pytest.raises(InputError, match="values from 0 to 16"):
        made.predict(X[:2] * 17)


@pytest.mark.parametrize("make", MAKERS)
def test_each_can_be_put_around_another(make, digits):
    X, y = digits
    inner = make(digit_reader(), X[:200], y[:200])
    for outer in MAKERS:
        if make is abstaining:  # its answers are decisions, with no probabilities behind them any more
            with pytest.raises(InputError, match=r"gives none|needs a predictor with one output of numbers"):
                outer(inner, X[:200], y[:200])
        else:
            assert (outer(inner, X[:200], y[:200]).predict(X[200:]) == y[200:]).mean() > 0.85


# -- ensembles -----------------------------------------------------------------------------------------


def test_probabilities_are_the_mean_of_the_members(digits):
    X, _ = digits
    readers = [digit_reader(name) for name in MEMBERS]
    made = DeepEnsemble(readers)
    each = np.stack([reader.predict_proba(X) for reader in readers])
    assert made.predict_draws(X) == pytest.approx(each)
    assert made.predict_proba(X) == pytest.approx(each.mean(axis=0), abs=0.01)  # int8 does not sum to 1
    assert made.predict_proba(X).sum(axis=1) == pytest.approx(np.ones(len(X)))
    assert (made.predict(X) == each.mean(axis=0).argmax(axis=1)).mean() > 0.99
    assert made.labels == tuple(range(10))
    assert made.name == "ensemble of 3"


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(0, 5)), min_size=2, max_size=5), st.integers(1, 4))
def test_mixture_of_normals_has_the_moments_of_its_draws(parts, n):
    """Mean and deviation against the integral of x and x² over the mixture's density, by Gauss and Hermite."""
    members = [
        Predictor(
            lambda X, m=m, s=s: {"mean": np.full(len(X), m), "sd": np.full(len(X), s)},
            signature=Signature(ArraySpec((1,)), (OutputSpec("mean"), OutputSpec("sd"))),
        )
        for m, s in parts
    ]
    made = DeepEnsemble(members)
    mean, sd = made.predict(np.zeros((n, 1)), return_std=True)
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    draws = np.array([m + s * nodes for m, s in parts])
    share = weights / weights.sum() / len(parts)
    first, second = (draws * share).sum(), (draws**2 * share).sum()
    assert mean == pytest.approx(np.full(n, first), abs=1e-9)
    assert sd**2 == pytest.approx(np.full(n, second - first**2), abs=1e-6)
    assert made.predict_draws(np.zeros((n, 1))) == pytest.approx(np.array([[m] * n for m, _ in parts]))


def test_numbers_have_mean_and_deviation():
    made = DeepEnsemble([line(1.0), line(2.0), line(6.0)])
    mean, sd = made.predict([[1.0], [2.0]], return_std=True)
    assert mean == pytest.approx([3, 6])
    assert sd == pytest.approx([np.std([1, 2, 6]), np.std([2, 4, 12])])
    assert made.predict_draws([[1.0], [2.0]]).tolist() == [[1, 2], [2, 4], [6, 12]]
    assert made.predict_one([2.0]) == 6


def test_an_ensemble_gives_the_deviation_of_a_conformal_predictor():
    rng = np.random.default_rng(0)
    X = rng.uniform(1, 5, size=(400, 1))
    y = X[:, 0] * (2 + rng.normal(size=400))
    made = DeepEnsemble([line(1.0), line(3.0)])
    sd = Predictor(lambda X: made.predict(X, return_std=True)[1], signature=made.signature.input)
    fitted = ConformalPredictor(made, sd=sd).fit(X[:200], y[:200])
    low, high = fitted.predict_interval([[1.0], [4.0]]).T
    assert high[1] - low[1] == pytest.approx(4 * (high[0] - low[0]))
    assert fitted.evaluate(X[200:], y[200:]).interval[1] > 0.9


def labelled(*labels):
    return Predictor(
        lambda X: np.full((len(X), 2), 0.5), signature=ArraySpec((1,)), labels=labels, name="/".join(labels)
    )


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "two or more, got 0"),
        ([line(1.0)], "two or more, got 1"),
        (line(1.0), "two or more in a list"),
        (7, "two or more in a list, got 7"),
        ([labelled("a", "b"), labelled("b", "a")], "expected all to answer as a/b does"),
        ([labelled("a", "b"), line(1.0)], "1.0 x has"),
        ([line(1.0), labelled("a", "b")], "a/b has"),
        ([line(1.0), lambda X: X], "give signature="),
    ],
)
def test_members_that_do_not_make_an_ensemble(members, message):
    with pytest.raises(InputError, match=message):
        DeepEnsemble(members)


def test_answers_that_are_no_numbers():
    broken = Predictor(lambda X: np.full(len(X), np.nan), signature=ArraySpec((1,)), name="broken")
    with pytest.raises(InputError, match="broken: expected finite numbers, got nan in row 0"):
        DeepEnsemble([line(1.0), broken]).predict([[1.0]])
    wide = Predictor(lambda X: np.zeros((len(X), 2)), signature=ArraySpec((1,)), name="wide")
    with pytest.raises(InputError, match=r"wide: expected one number .* got shape \(1, 2\)"):
        DeepEnsemble([wide, line(1.0)]).predict([[1.0]])
    negative = Predictor(
        lambda X: {"mean": X[:, 0], "sd": -X[:, 0]},
        signature=Signature(ArraySpec((1,)), (OutputSpec("mean"), OutputSpec("sd"))),
    )
    with pytest.raises(InputError, match="expected standard deviations ≥ 0"):
        DeepEnsemble([negative, negative]).predict([[1.0]])
    with pytest.raises(InputError, match=r"return_std: probabilities have none; predict_draws\(X\)"):
        DeepEnsemble([labelled("a", "b")] * 2).predict([[1.0]], return_std=True)
    with pytest.raises(InputError, match="a DeepEnsemble cannot be saved"):
        DeepEnsemble([line(1.0)] * 2).save("anywhere")


# -- dropout -------------------------------------------------------------------------------------------

RATE, WEIGHTS = 0.25, np.array([1.0, -2.0, 0.5, 3.0])


@pytest.fixture(scope="module")
def keras(tensorflow):
    """Return Keras."""
    from inferkit.models import import_keras

    return import_keras()


def linear(keras, *before, rate=RATE):
    """Return a Keras model that drops inputs and adds up the rest with known weights."""
    model = keras.Sequential([keras.Input((4,)), *before, keras.layers.Dropout(rate), keras.layers.Dense(1)])
    model.layers[-1].set_weights([WEIGHTS[:, None], np.zeros(1)])
    return model


def test_passes_have_the_closed_form_moments(keras):
    """Of a linear model: mean w·x, variance Σ (w x)² r / (1 − r); within 4.5 standard errors (1 in 100,000)."""
    x = np.array([[1.0, 1.0, 2.0, 0.5]], dtype=np.float32)
    n = 8000
    draws = MCDropout(linear(keras), n=n, random_state=1).predict_draws(x)
    parts = x[0] * WEIGHTS
    variance = (parts**2).sum() * RATE / (1 - RATE)
    assert draws.shape == (n, 1)
    assert abs(draws.mean() - parts.sum()) < 4.5 * math.sqrt(variance / n)
    assert abs(draws.var() - variance) < 4.5 * variance * math.sqrt(3 / n)
    mean, sd = MCDropout(linear(keras), n=n, random_state=1).predict(x, return_std=True)
    assert (mean[0], sd[0]) == (pytest.approx(draws.mean()), pytest.approx(draws.std()))


def test_layers_drop_independently(keras):
    """Through two layers that each keep half, a quarter comes: within 4.5 standard errors."""
    model = linear(keras, keras.layers.Dropout(0.5), rate=0.5)
    draws = MCDropout(model, n=4000).predict_draws(np.eye(4, dtype=np.float32)[:1])
    assert np.unique(draws) == pytest.approx([0, 4 * WEIGHTS[0]])
    assert abs((draws > 0).mean() - 0.25) < 4.5 * math.sqrt(0.25 * 0.75 / 4000)


def test_rows_and_passes_are_kept_apart(keras):
    x = np.eye(4, dtype=np.float32)
    draws = MCDropout(linear(keras), n=50).predict_draws(x)
    for row, weight in enumerate(WEIGHTS):  # each row shows one weight, kept and scaled up, or dropped
        assert np.unique(draws[:, row]) == pytest.approx(sorted([0, weight / (1 - RATE)]))
    assert len(np.unique(draws[:, 0] + 10 * draws[:, 1] + 100 * draws[:, 2])) > 4  # rows do not share their dropping


def test_calls_of_limited_size_make_other_passes(keras, monkeypatch):
    from inferkit.uncertainty import _dropout

    monkeypatch.setattr(_dropout, "_ROWS_AT_ONCE", 8)
    draws = MCDropout(linear(keras), n=21).predict_draws(np.ones((4, 4), dtype=np.float32))
    assert draws.shape == (21, 4)
    assert len(np.unique(draws.sum(axis=1))) > 5  # not the same two passes over and over


def test_a_seed_repeats_and_none_does_not(keras):
    model, x = linear(keras), np.ones((3, 4), dtype=np.float32)
    first = MCDropout(model, n=16, random_state=7)
    assert (first.predict_draws(x) == first.predict_draws(x)).all()
    assert (first.predict_draws(x) == MCDropout(model, n=16, random_state=7).predict_draws(x)).all()
    assert (first.predict_draws(x) != MCDropout(model, n=16, random_state=8).predict_draws(x)).any()
    free = MCDropout(model, n=16, random_state=None)
    assert (free.predict_draws(x) != free.predict_draws(x)).any()


def test_the_model_is_left_as_it_was(keras):
    norm = keras.layers.BatchNormalization(momentum=0.5)
    model = linear(keras, norm)
    x = np.random.default_rng(0).normal(3, 2, size=(64, 4)).astype(np.float32)
    before = [np.array(np.asarray(variable.value)) for variable in model.variables]
    draws = MCDropout(model, n=400).predict_draws(x)
    assert all((one == np.asarray(now.value)).all() for one, now in zip(before, model.variables, strict=True))
    assert norm.trainable
    # Normalised by what it learned, the outputs are those of use; by the batch's own mean they would be near 0.
    assert abs(draws.mean() - np.asarray(model(x)).mean()) < 0.3
    assert abs(np.asarray(model(x)).mean()) > 3


def test_a_predictor_keeps_its_preparation_reading_and_labels(keras, digits):
    X, y = digits
    from inferkit._base import bundled
    from inferkit.models import load_keras

    model = load_keras(bundled("digits-cnn.keras").read_bytes(), name="digits-cnn.keras")
    reader = Predictor(model, preprocess=Scale(16), signature=ArraySpec((8, 8), low=0, high=16), labels=range(10))
    made = MCDropout(reader, n=8)
    assert (made.signature, made.labels) == (reader.signature, tuple(range(10)))
    draws = made.predict_draws(X[:50])
    assert draws.shape == (8, 50, 10)
    assert made.predict_proba(X[:50]) == pytest.approx(draws.mean(axis=0))
    assert draws.std(axis=0).max() > 0.01
    assert (made.predict(X) == y).mean() > 0.95
    assert made.predict_one(X[0]) == y[0]
    assert measure_latency(made, X, n=5, warmup=1).n == 5


def test_logits_are_read_by_the_predictors_steps(keras):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5), keras.layers.Dense(3)])
    made = MCDropout(Predictor(model, postprocess=Softmax(), labels="abc"), n=8)
    draws = made.predict_draws(np.ones((5, 4), dtype=np.float32))
    assert draws.sum(axis=2) == pytest.approx(np.ones((8, 5)))
    with pytest.raises(InputError, match="return_std: probabilities have none"):
        made.predict(np.ones((5, 4), dtype=np.float32), return_std=True)
    named = MCDropout(keras.Sequential([model, keras.layers.Softmax()]), labels="abc", n=4)  # dropout inside a part
    assert named.predict_one(np.ones(4, dtype=np.float32)) in "abc"
    with pytest.raises(InputError, match="the predictor has its own"):
        MCDropout(named.predictor, labels="abc")


def test_models_that_drop_nothing_or_too_much(keras):
    dense = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    with pytest.raises(InputError, match="no layer that drops anything"):
        MCDropout(dense)
    with pytest.raises(InputError, match="no layer that drops anything"):
        MCDropout(linear(keras, rate=0.0))
    shaken = linear(keras, keras.layers.GaussianNoise(0.1, name="shake"))
    with pytest.raises(InputError, match=r"changes its input at random in training \(shake\)"):
        MCDropout(shaken)
    with pytest.raises(InputError, match="n: expected a whole number ≥ 1, got 0"):
        MCDropout(linear(keras), n=0)
    with pytest.raises(InputError, match="random_state: expected a seed"):
        MCDropout(linear(keras), random_state=-1)
    with pytest.raises(InputError, match=r"MC dropout needs a Keras model, .* of the kind 'litert'"):
        MCDropout(digit_reader())


def test_recurrent_layers_drop_as_well(keras):
    model = keras.Sequential([keras.Input((6, 4)), keras.layers.LSTM(3, dropout=0.3), keras.layers.Dense(1)])
    made = MCDropout(model, n=6)
    x = np.ones((2, 6, 4), dtype=np.float32)
    assert len(np.unique(made.predict_draws(x))) > 4
    assert (made.predict_draws(x) == made.predict_draws(x)).all()
