"""A cascade answers as its models would, asks the large one no more than it must, and counts who answered."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from inferkit import InputError, Predictor
from inferkit._base import sha256, wilson
from inferkit.benchmark import Ledger, compare
from inferkit.datasets import split_digits
from inferkit.models import load_reference
from inferkit.optimize import Cascade, cascade, escalation_curve
from inferkit.predictor import ArraySpec, Column, Reshape, Scale, Softmax, TableSpec, TextSpec, ToFrame, digit_reader
from inferkit.uncertainty import AbstainingPredictor, DeepEnsemble, TemperatureScaler

_, X, _, Y = split_digits()
ROW = ArraySpec((1,), "int64")


def rng(seed=0):
    return np.random.default_rng(seed)


def random_probabilities(n_models, n, n_classes, seed):
    """Return probabilities that are sure, in doubt, and tied, some of them exactly 0 or 1."""
    chances = rng(seed).dirichlet(np.full(n_classes, 0.4), size=(n_models, n))
    return rng(seed).multinomial(20, chances) / 20


class Table:
    """A model that looks its answers up, and remembers what it was asked."""

    def __init__(self, p):
        self.p, self.asked = p, []

    def __call__(self, rows):
        self.asked.append(rows[:, 0].tolist())
        return self.p[rows[:, 0]]


def readers(p, labels=None):
    labels = range(p.shape[-1]) if labels is None else labels
    tables = [Table(one) for one in p]
    named = [Predictor(one, signature=ROW, labels=labels, name=f"model {i}") for i, one in enumerate(tables)]
    return named, tables


def by_hand(p, thresholds):
    """Return, row by row, which model answers, and with what."""
    answers, who = [], []
    for row in np.swapaxes(p, 0, 1):
        sure = [i for i, limit in enumerate(thresholds) if max(row[i]) >= limit]
        who.append(sure[0] if sure else len(p) - 1)
        answers.append(row[who[-1]])
    return np.array(answers), np.array(who)


# --- what it answers ---


@given(
    st.integers(2, 4), st.integers(1, 30), st.integers(2, 5), st.integers(0, 2**31),
    st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.55, 0.73, 0.9, 1.0]), min_size=3, max_size=3),
)  # fmt: skip
def test_each_row_gets_the_answer_of_the_first_model_that_is_sure(n_models, n, n_classes, seed, limits):
    p, limits = random_probabilities(n_models, n, n_classes, seed), limits[: n_models - 1]
    (models, tables), rows = readers(p), np.arange(n)[:, None]
    quick = cascade(models, limits)
    expected, who = by_hand(p, limits)
    np.testing.assert_array_equal(quick.predict_proba(rows), expected)
    assert quick.counts == tuple(np.bincount(who, minlength=n_models))
    assert quick.escalated == (who > 0).mean()
    for i, table in enumerate(tables):  # asked once at most, about the rows that got so far and no others
        assert table.asked == ([np.flatnonzero(who >= i).tolist()] if (who >= i).any() else [])
    np.testing.assert_array_equal(quick.predict(rows), expected.argmax(axis=1))
    assert [quick.predict_one(row) for row in rows] == expected.argmax(axis=1).tolist()
    assert quick.counts == tuple(3 * np.bincount(who, minlength=n_models))
    np.testing.assert_array_equal(quick.predict_proba(rows, batch_size=3), expected)


def test_at_0_nothing_goes_on_and_at_1_all_but_what_is_certain():
    p = np.array([[[1.0, 0.0], [0.5, 0.5], [np.nextafter(1, 0), 1 - np.nextafter(1, 0)]], [[0.0, 1.0]] * 3])
    (models, tables), rows = readers(p, ["no", "yes"]), [[0], [1], [2]]
    assert cascade(models, 0).predict(rows).tolist() == ["no", "no", "no"]
    assert tables[1].asked == []
    assert cascade(models, 1).predict(rows).tolist() == ["no", "yes", "yes"]
    assert cascade(models, 1).with_threshold(0.5).predict(rows).tolist() == ["no", "no", "no"]
    assert cascade(models, 0.5 + 1e-9).predict(rows).tolist() == ["no", "yes", "no"]


def test_a_threshold_that_float32_does_not_have_is_compared_as_it_is():
    third = np.float32(0.9)  # a little below 0.9
    p = np.array([[[third, 1 - third]], [[0.1, 0.9]]], dtype=np.float32)
    for limit, label in ((float(third), 0), (0.9, 0 if float(third) >= 0.9 else 1)):
        quick = cascade(readers(p)[0], limit)
        assert quick.predict_one([0]) == quick.predict([[0]])[0] == label
    assert float(third) < 0.9  # or the second line above would test nothing


def test_on_real_models_it_answers_as_they_do_and_sums_their_bytes():
    small, large = digit_reader("digits-mlp"), digit_reader("digits-cnn")
    quick = cascade([small, large], 0.9)
    p, q = small.predict_proba(X), large.predict_proba(X)
    sure = p.max(axis=1).astype(float) >= 0.9
    np.testing.assert_array_equal(quick.predict_proba(X), np.where(sure[:, None], p, q))
    assert quick.counts == (sure.sum(), (~sure).sum())
    assert 0 < quick.escalated < 0.5
    model = quick.backend.model
    assert model.size_bytes == small.backend.model.size_bytes + large.backend.model.size_bytes
    hashes = [one.backend.model.sha256 for one in (small, large)]
    assert model.sha256 == sha256(" ".join([*hashes, "0.9"]).encode())
    assert model.sha256 != cascade([small, large], 0.8).backend.model.sha256
    assert cascade([small, digit_reader("digits-cnn", num_threads=2)], 0.9).backend.model.num_threads == 2
    assert [quick.predict_one(x) for x in X[:60]] == quick.predict(X[:60]).tolist()


def test_files_and_functions_beside_a_predictor_take_its_labels_over():
    labels = [f"digit {i}" for i in range(10)]
    small, large = load_reference("digits-mlp"), load_reference("digits-cnn")
    named = Predictor(small, labels=labels)
    for models in ([named, large], [named, lambda rows: large(rows)]):
        quick = cascade(models, 1)
        assert quick.labels == tuple(labels)
        assert quick.predict(X / 16).tolist() == [labels[i] for i in large(X / 16).argmax(axis=1)]
    assert cascade([small, large], 0.5).labels == tuple(range(10))
    assert (
        cascade([lambda rows: small(rows), large], 0).predict(X / 16).tolist() == small(X / 16).argmax(axis=1).tolist()
    )


def test_integers_round_and_a_cascade_forgives_it_as_a_predictor_does():
    quick = cascade([digit_reader("digits-cnn-int8"), digit_reader("digits-cnn")], 0.6)
    assert (quick.predict(X) == Y).mean() > 0.95
    assert [quick.predict_one(x) for x in X] == quick.predict(X).tolist()


def test_other_kinds_of_predictor_are_stages_too():
    flat, truth = X.reshape(len(X), -1) / 16, Y
    forest = LogisticRegression(max_iter=200).fit(flat, truth)
    first = Predictor(forest, preprocess=[Reshape((64,)), Scale(16)], signature=digit_reader().signature.input)
    scaled = TemperatureScaler(digit_reader("digits-mlp")).fit(X, Y)
    both = DeepEnsemble([digit_reader("digits-mlp"), digit_reader("digits-cnn")])
    models = [first, scaled, both, digit_reader("digits-cnn")]
    quick = cascade(models, [0.9, 0.9, 0.8])
    expected, who = by_hand(np.array([one.predict_proba(X) for one in models]), quick.thresholds)
    np.testing.assert_allclose(quick.predict_proba(X), expected, atol=1e-6)
    assert quick.counts == tuple(np.bincount(who, minlength=4))
    assert min(quick.counts) > 0
    inner = cascade([cascade(models[1:3], 0.5), models[3]], 0.9)
    assert (inner.predict(X) == Y).mean() > 0.95


def test_tables_and_texts_go_on_as_such():
    table = TableSpec((Column("a"), Column("b")))
    small = Predictor(
        lambda f: np.column_stack([f["a"], 1 - f["a"]]), preprocess=ToFrame(["a", "b"]), signature=table, labels="xy"
    )
    large = Predictor(
        lambda f: np.column_stack([f["b"], 1 - f["b"]]), preprocess=ToFrame(["a", "b"]), signature=table, labels="xy"
    )
    rows = {"a": [0.95, 0.5, 0.1], "b": [0.0, 0.8, 0.7]}
    quick = cascade([small, large], 0.9)
    assert quick.predict(rows).tolist() == ["x", "x", "y"]
    assert quick.counts == (2, 1)

    def as_list(texts):
        return list(texts)

    words = [
        Predictor(lambda t, n=n: np.array([[len(w) > n, len(w) <= n] for w in t]) * 0.8 + 0.1, preprocess=as_list,
                  signature=TextSpec(), labels=["long", "short"])
        for n in (3, 5)
    ]  # fmt: skip
    assert cascade(words, 0.95).predict(["four", "a", "sixsix"]).tolist() == ["short", "short", "long"]


# --- what it costs ---


def test_preparation_that_all_share_is_done_once_and_the_rest_by_each():
    made = []
    double, half = (lambda x: made.append("double") or x * 2), (lambda x: made.append("half") or x // 2)

    def reader(steps):
        return Predictor(lambda x: np.full((len(x), 2), 0.5), preprocess=steps, signature=ROW, labels="ab")

    for steps, expected in (
        (([double, half], [double, half]), ["double", "half"]),
        (([double, half], [double]), ["double", "half"]),
        (([double], [half]), ["double", "half"]),
        (([double, half], [half, double]), ["double", "half", "half", "double"]),
        (([double, half], [Scale(1), half]), ["double", "half", "half"]),
        (([Scale(2)], [Scale(2)]), []),
    ):
        quick = cascade([reader(one) for one in steps], 1)
        for ask in (lambda quick=quick: quick.predict([[1], [2]]), lambda quick=quick: quick.predict_one([1])):
            made.clear()
            ask()
            assert made == expected
    assert cascade([reader([Scale(2)]), reader([Scale(2.0)])], 1).preprocess == (Scale(2),)
    assert cascade([reader([Scale(2)]), reader([Scale(3)])], 1).preprocess == ()
    assert cascade([reader([double, half]), reader([Scale(1), half])], 1).preprocess == ()  # alike at the end alone


def test_models_under_wider_contracts_check_for_themselves():
    small = Predictor(lambda x: np.hstack([x, 1 - x]), signature=ArraySpec((1,), "float64", 0, 1), labels="ab")
    seen = []
    large = Predictor(
        lambda x: seen.append(x.dtype) or np.hstack([x, 1 - x]), signature=ArraySpec((None,), "float32"), labels="ab"
    )
    assert cascade([small, large], 1).predict([[0.3]]).tolist() == ["b"]
    assert seen == [np.float32]
    specs = [ArraySpec((1,), dtype, 0, 10) for dtype in ("float64", "float32")]
    steps = [model(spec, preprocess=Scale(0.1)) for spec in specs]  # 5 is within both contracts, and 50 is not
    assert cascade(steps, 1).predict([[5.0]]).tolist() == ["a"]
    assert cascade(steps, 1).preprocess == ()


def test_it_goes_into_a_comparison_and_the_ledger():
    quick, ledger = cascade([digit_reader("digits-mlp"), digit_reader("digits-cnn")], 0.9), Ledger()
    (entry,) = compare({"cascade": quick}, X, Y, n=20, rounds=2, ledger=ledger, progress=False)
    model = quick.backend.model
    assert (entry.size_bytes, entry.model_sha256, entry.threads) == (model.size_bytes, model.sha256, 1)
    assert entry.accuracy == (quick.predict(X) == Y).mean()
    assert len(ledger) == 1
    nameless = cascade(readers(random_probabilities(2, 3, 2, 0))[0], 0.5).backend.model
    assert (nameless.size_bytes, nameless.sha256, nameless.num_threads) == (None, None, None)


def test_a_copy_in_another_process_answers_alike_and_counts_anew():
    quick = cascade([digit_reader("digits-mlp"), digit_reader("digits-cnn")], 0.9, name="quick")
    quick.predict(X)
    again = pickle.loads(pickle.dumps(quick))
    assert again.counts == (0, 0)
    assert (again.name, again.thresholds) == ("quick", (0.9,))
    np.testing.assert_array_equal(again.predict_proba(X), quick.predict_proba(X))
    assert again.counts == tuple(n // 2 for n in quick.counts)


def test_it_cannot_be_saved_and_says_what_can(tmp_path):
    quick = cascade([digit_reader("digits-mlp"), digit_reader("digits-cnn")], 0.9)
    with pytest.raises(InputError, match="save each of its predictors"):
        quick.save(tmp_path / "quick.zip")
    quick.predictors[0].save(tmp_path / "small.zip")
    assert type(Cascade.load(tmp_path / "small.zip")) is Predictor


# --- counting ---


def test_threads_that_call_at_once_lose_no_count():
    p = random_probabilities(3, 50, 3, seed=5)
    quick = cascade(readers(p)[0], [0.8, 0.6])
    who = np.bincount(by_hand(p, [0.8, 0.6])[1], minlength=3)
    rows = np.arange(50)[:, None]

    def work(i):
        return [quick.predict_one(row) for row in rows] if i % 2 else quick.predict(rows)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(80)))
    assert quick.counts == tuple(80 * who)


def test_counting_starts_with_nothing_and_can_start_again():
    p = np.array([[[0.6, 0.4], [1.0, 0.0]], [[0.0, 1.0]] * 2])
    quick = cascade(readers(p)[0], 0.9)
    assert (quick.counts, quick.escalated) == ((0, 0), None)
    quick.predict([[0], [1], [1], [1]])
    assert (quick.counts, quick.escalated) == ((3, 1), 0.25)
    assert quick.with_threshold(0.5).counts == (0, 0)
    quick.reset()
    assert (quick.counts, quick.escalated) == ((0, 0), None)
    assert repr(quick) == "Cascade(model 0 → model 1; threshold 0.9)"


# --- what is refused ---


def doubt(X):
    return np.full((len(X), 2), 0.5)


def model(spec=ROW, labels=("a", "b"), name="other", **options):
    return Predictor(options.pop("answers", doubt), signature=spec, labels=labels, name=name, **options)


@pytest.mark.parametrize(
    ("models", "why"),
    [
        (model(), "models: expected two or more in a list, from small to large, got Predictor"),
        ("digits.tflite", "models: expected two or more in a list"),
        (7, "models: expected two or more in a list"),
        ([], "models: expected two or more, from small to large, got 0"),
        ([model()], "models: expected two or more, from small to large, got 1"),
        ([doubt, doubt], "says neither what it takes.*give a Predictor"),
        ([model(), 7], "expected a Keras model.*got 7"),
        ([model(name="one"), model(labels=("b", "a"))], r"one has \['a', 'b'\], .* \['b', 'a'\] in another order"),
        ([model(name="one"), model(labels=("a", "c"))], r"one has \['a', 'b'\], other has \['a', 'c'\]$"),
        ([model(name="one"), model(labels=("a", "b", "c"))], "expected the same labels in the same order"),
        ([model(labels=("a",)), model(labels=("a",))], "expected probabilities of two labels or more, and other"),
        ([model(), model(labels=None)], "other gives none; .*labels="),
        ([model(), AbstainingPredictor(model(), abstain_cost=0.2, name="silent")], "silent gives none"),
        ([model(), model(ArraySpec((2,), "int64"))], r"other and other differ in shape: \(1,\) and \(2,\)"),
        ([model(ArraySpec((None,), "int64")), model()], r"differ in shape: \(None,\) and \(1,\)"),
        ([model(name="one"), model(ArraySpec((1,), "float32"))], "one and other differ in dtype: int64 and float32"),
        ([model(ArraySpec((1,), low=0, high=1)), model(ArraySpec((1,), low=0, high=255))], "differ in high: 1 and 255"),
        ([model(ArraySpec((1,))), model(ArraySpec((1,), low=0))], "differ in low: None and 0"),
        ([model(ArraySpec((1,), unit="m")), model(ArraySpec((1,), unit="cm"))], "differ in unit: m and cm"),
        ([model(), model(TextSpec())], "differ in kind: ArraySpec and TextSpec"),
        ([model(TextSpec(10)), model(TextSpec(20))], "differ in limits"),
        ([model(TableSpec((Column("a"),))), model(TableSpec((Column("b"),)))], r"in columns: \['a'\] and \['b'\]"),
        ([model(TableSpec((Column("a"),))), model(TableSpec((Column("a", low=0),)))], "differ in limits or categories"),
        ([load_reference("digits-mlp"), load_reference("signs-small-1")], "gives 12 probabilities a row.* 10 labels"),
        ([digit_reader(), load_reference("digits-mlp")], None),
    ],
)  # fmt: skip
def test_models_that_do_not_go_together_are_refused(models, why):
    if why is None:  # a file says nothing of its range, so it is given what the reader is given
        assert cascade(models, 0.5).labels == tuple(range(10))
        return
    with pytest.raises(InputError, match=why):
        cascade(models, 0.5)
    with pytest.raises(InputError, match=why):
        escalation_curve(models, [[0]], ["a"])


@pytest.mark.parametrize(
    ("threshold", "why"),
    [
        (-0.01, "threshold: expected a probability from 0 to 1, such as 0.9, got -0.01"),
        (1.01, "threshold: expected a probability"),
        (float("nan"), "threshold: expected a probability"),
        (float("inf"), "threshold: expected a probability"),
        (True, "threshold: expected a probability"),
        ("0.9", "threshold: expected a probability"),
        (None, "threshold: expected a probability"),
        ([0.5], "expected one number, or 2: one for each model but the last, got 1"),
        ([0.5, 0.5, 0.5], "expected one number, or 2"),
        ([0.5, 2], "threshold: expected a probability"),
        (np.array([0.5, np.nan]), "threshold: expected a probability"),
    ],
)
def test_thresholds_out_of_range_are_refused(threshold, why):
    with pytest.raises(InputError, match=why):
        cascade([model()] * 3, threshold)
    with pytest.raises(InputError, match=why):
        cascade([model()] * 3, 0.5).with_threshold(threshold)


@pytest.mark.parametrize("bad", ["first", "last"])
@pytest.mark.parametrize(
    "answers",
    [
        lambda X: np.full((len(X), 2), np.nan),
        lambda X: np.full((len(X), 2), 3.0),
        lambda X: np.full((len(X), 3), 1 / 3),
        lambda X: np.full(len(X), 0.5),
        lambda X: np.tile([-1.0, 2.0], (len(X), 1)),
    ],
)
def test_answers_that_are_no_probabilities_are_refused_wherever_they_come_from(answers, bad):
    models = [model(answers=answers, name="wrong"), model()]
    quick = cascade(models if bad == "first" else models[::-1], 0.9)
    for ask in (quick.predict, quick.predict_proba):
        with pytest.raises(InputError, match=r"wrong: expected"):
            ask([[1], [2]])
    with pytest.raises(InputError, match=r"wrong: expected"):
        quick.predict_one([1])
    logits = model(answers=answers, name="right", postprocess=lambda p: Softmax()(np.ones((len(p), 2))))
    assert cascade([logits, model()], 0.9).predict([[1]]).tolist() == ["a"]


def test_rows_are_checked_at_the_door():
    quick = cascade([digit_reader("digits-mlp"), digit_reader("digits-cnn")], 0.9)
    for rows, why in (
        (X[:, :4], "expected rows of shape"),
        (X * 3, "expected 0 to 16|from 0 to 16"),
        (X[:0], "one row"),
    ):
        with pytest.raises(InputError, match=why):
            quick.predict(rows)
    with pytest.raises(InputError, match="expected one row of shape"):
        quick.predict_one(X)
    assert quick.counts == (0, 0)


# --- the curve ---


@settings(max_examples=60)
@given(st.integers(2, 3), st.integers(1, 40), st.integers(2, 4), st.integers(0, 2**31))
def test_the_curve_is_what_running_the_cascade_gives(n_models, n, n_classes, seed):
    p, y = random_probabilities(n_models, n, n_classes, seed), rng(seed).integers(n_classes, size=n)
    (models, tables), rows = readers(p), np.arange(n)[:, None]
    limits = np.unique(np.concatenate([[0, 1], p.max(axis=-1).ravel()[:6], rng(seed).random(3)]))
    curve = escalation_curve(models, rows, y, limits)
    assert [len(one.asked) for one in tables] == [1] * n_models
    for i, limit in enumerate(limits):
        quick = cascade(models, float(limit))
        right = (quick.predict(rows) == y).sum()
        assert (curve.accuracy[i], curve.escalated[i]) == (right / n, quick.escalated)
        np.testing.assert_allclose(curve.reached[i], np.cumsum(quick.counts[::-1])[::-1] / n, rtol=1e-12)
        assert (curve.low[i], curve.high[i]) == wilson(right, n)
        assert curve.at(limit) == curve.points[i]


def test_the_expected_time_is_small_plus_escalated_times_large():
    p = random_probabilities(3, 200, 4, seed=1)
    models, rows = readers(p)[0], np.arange(200)[:, None]
    y = np.zeros(200, dtype=int)
    two = escalation_curve(models[:2], rows, y)
    assert len(two.thresholds) == 101
    assert (two.thresholds[0], two.thresholds[90], two.thresholds[-1]) == (0, 0.9, 1)
    np.testing.assert_allclose(two.cost([0.02, 0.3]), 0.02 + two.escalated * 0.3, rtol=1e-12)
    assert two.cost([0.02, 0.3])[0] == 0.02
    three = escalation_curve(cascade(models, 0.5), rows, y, [0, 0.7])
    total = sum(n * t for n, t in zip(by_count(cascade(models, 0.7), rows), np.cumsum([1, 10, 100]), strict=True))
    np.testing.assert_allclose(three.cost([1, 10, 100]), [1, total / 200])
    for times in ([1], [1, 2, 3, 4], [1, 2, -1], [1, 2, np.nan]):
        with pytest.raises(InputError, match="times_ms: expected one time ≥ 0 for each of model 0, model 1, model 2"):
            three.cost(times)


def by_count(quick, rows):
    quick.predict(rows)
    return quick.counts


def test_a_curve_can_be_read_as_a_table_and_as_a_figure():
    curve = escalation_curve([digit_reader("digits-mlp"), digit_reader("digits-cnn")], X, Y)
    frame = curve.to_frame()
    assert list(frame) == ["threshold", "escalated", "accuracy", "low", "high"]
    assert frame.shape == (101, 5)
    assert frame["escalated"].is_monotonic_increasing
    assert (frame["low"] <= frame["accuracy"]).all()
    assert (frame["accuracy"] <= frame["high"]).all()
    assert repr(curve) == f"EscalationCurve(digits-mlp → digits-cnn: 101 thresholds, {len(X)} rows)"
    ax = curve.plot()
    np.testing.assert_allclose(ax.lines[0].get_xdata(), 100 * curve.escalated)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), 100 * curve.accuracy)
    assert [text.get_text() for text in ax.texts] == ["digits-mlp", "digits-cnn"]
    assert curve.plot(plt.figure().add_subplot()).get_xlabel() == "rows that go on, %"
    plt.close("all")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"y": ["a"]}, r"y: expected one label for each of the 2 rows, got shape \(1,\)"),
        ({"y": ["a", "z"]}, r"y: expected the labels \['a', 'b'\], got 'z'"),
        ({"thresholds": []}, "thresholds: expected some in a row"),
        ({"thresholds": 0.5}, "thresholds: expected some in a row"),
        ({"thresholds": [0.5, 1.5]}, "threshold: expected a probability from 0 to 1, such as 0.9, got .*1.5"),
        ({"thresholds": [np.nan]}, "threshold: expected a probability"),
    ],
)
def test_what_a_curve_cannot_be_counted_from_is_refused(options, why):
    given = {"y": ["a", "b"], "thresholds": None} | options
    with pytest.raises(InputError, match=why):
        escalation_curve([model(), model()], [[0], [1]], **given)
