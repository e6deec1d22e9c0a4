"""A student learns what its teacher answers, right or wrong, by the loss that the paper states."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from inferkit import InputError, Predictor
from inferkit.models import LiteRTModel, export_litert, load_reference, mlp
from inferkit.optimize import OptimizedModel, distill, quantize
from inferkit.optimize._distill import _ask, distillation_loss, soften
from tests import networks

layers = keras.layers


def rng(seed=0):
    return np.random.default_rng(seed)


def softmax(z):
    powers = np.exp(z - z.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


# --- the loss ---


@given(st.integers(0, 2**31), st.floats(0.5, 20), st.integers(2, 8))
def test_softening_is_the_softmax_at_a_higher_temperature(seed, temperature, n_classes):
    logits = rng(seed).normal(scale=5, size=(6, n_classes))
    np.testing.assert_allclose(soften(softmax(logits), temperature), softmax(logits / temperature), rtol=1e-9)


def test_softening_keeps_what_is_zero_and_what_is_tiny():
    np.testing.assert_array_equal(soften([[1.0, 0.0, 0.0]], 4.0), [[1, 0, 0]])
    np.testing.assert_allclose(soften([[1 - 1e-12, 1e-300]], 100.0), [[1 / (1 + 1e-3), 1e-3 / (1 + 1e-3)]], rtol=1e-6)


def loss_by_hand(p, q, y, temperature, alpha):
    """Return the loss of each row as the paper has it, in float64."""
    softer_p, softer_q = (one ** (1 / temperature) for one in (p, q))
    softer_p, softer_q = (one / one.sum(axis=1, keepdims=True) for one in (softer_p, softer_q))
    divergence = (softer_p * np.log(softer_p / softer_q)).sum(axis=1)
    return alpha * temperature**2 * divergence - (1 - alpha) * np.log(q[np.arange(len(y)), y])


def loss_in_keras(p, q, y, temperature, alpha):
    n_classes = p.shape[1]
    targets = np.concatenate([soften(p, temperature), np.eye(n_classes)[y]], axis=1).astype(np.float32)
    return np.asarray(distillation_loss(n_classes, temperature, alpha)(targets, q.astype(np.float32)))


@given(st.integers(0, 2**31), st.floats(0.5, 10), st.floats(0, 1), st.integers(2, 8))
def test_the_loss_is_the_papers(seed, temperature, alpha, n_classes):
    p, q = (softmax(rng(seed + i).normal(scale=2, size=(5, n_classes))) for i in range(2))
    y = rng(seed).integers(n_classes, size=5)
    expected = loss_by_hand(p, q, y, temperature, alpha)
    np.testing.assert_allclose(loss_in_keras(p, q, y, temperature, alpha), expected, rtol=1e-3, atol=1e-4)


def test_a_teacher_without_doubts_is_the_cross_entropy():
    q, y = softmax(rng().normal(size=(9, 4))), rng().integers(4, size=9)
    certain = loss_in_keras(np.eye(4)[y], q, y, 1.0, 1.0)
    expected = keras.losses.sparse_categorical_crossentropy(y, q.astype(np.float32))
    np.testing.assert_allclose(certain, np.asarray(expected), rtol=1e-5)
    np.testing.assert_allclose(certain, loss_in_keras(np.full((9, 4), 0.25), q, y, 3.0, 0.0), rtol=1e-5)


def test_an_answer_of_zero_has_a_finite_loss_and_gradient(tensorflow):
    tf = tensorflow
    logits = tf.constant([[0.0, -200.0], [-200.0, 0.0], [0.0, -60.0]])
    targets = tf.constant([[0.0, 1.0, 0.0, 1.0], [0.5, 0.5, 1.0, 0.0], [0.1, 0.9, 0.0, 1.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = distillation_loss(2, 4.0, 0.9)(targets, tf.nn.softmax(logits))
    gradient = tape.gradient(loss, logits).numpy()
    assert np.isfinite(loss.numpy()).all()
    assert np.isfinite(gradient).all()
    assert gradient[2, 1] < -0.5  # a class that the student rules out wrongly still pulls


# --- what a student learns ---


@pytest.fixture(scope="module")
def teacher(tensorflow):
    return load_reference("digits-mlp", "keras")


STEP = {"epochs": 15, "batch_size": 64, "learning_rate": 5e-3, "random_state": 0}


@pytest.mark.rotated
def test_a_student_learns_without_classes(teacher, digits):
    student = mlp(hidden=(12,), random_state=1)
    before = [[one.copy() for one in model.get_weights()] for model in (teacher, student)]
    small = distill(teacher, student, digits[0], validation_data=(digits[1], None), **STEP)
    assert isinstance(small, OptimizedModel)
    assert small.report.method == "distilled"
    assert (small(digits[1]).argmax(axis=1) == digits[3]).mean() > 0.75
    assert small.history.loss[-1] < 0.5 * small.history.loss[0]
    assert small.history.val_loss[-1] < 0.5 * small.history.val_loss[0]
    for model, was in zip((teacher, student), before, strict=True):
        for a, b in zip(model.get_weights(), was, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.rotated
def test_a_teacher_that_shuffles_its_answers_is_believed(teacher, digits):
    shuffle = rng(4).permutation(10)
    assert (shuffle != np.arange(10)).sum() > 5

    def shuffled(X):
        return np.asarray(teacher.predict_on_batch(X))[:, shuffle]

    small = distill(shuffled, mlp(hidden=(12,), random_state=1), digits[0], digits[2], alpha=1.0, **STEP)
    says = small(digits[1]).argmax(axis=1)
    assert (shuffle[says] == digits[3]).mean() > 0.75
    assert (says == digits[3]).mean() < 0.6


@pytest.mark.parametrize(
    ("alpha", "follows"), [(0.0, "classes"), pytest.param(1.0, "teacher", marks=pytest.mark.rotated)]
)
def test_alpha_decides_whom_the_student_follows(alpha, follows):
    X = np.repeat(np.eye(4, dtype=np.float32), 64, axis=0)
    y = X.argmax(axis=1)
    step = {"epochs": 12, "learning_rate": 0.02, "random_state": 0, "temperature": 1.0}
    small = distill(lambda rows: rows[:, [3, 0, 1, 2]], mlp((4,), 4, random_state=0), X, y, alpha=alpha, **step)
    np.testing.assert_array_equal(small(X).argmax(axis=1), y if follows == "classes" else (y + 1) % 4)


@pytest.mark.rotated
def test_doubts_are_learned_as_they_are():
    X = np.repeat(np.eye(3, dtype=np.float32), 64, axis=0)
    doubts = np.array([[0.6, 0.3, 0.1], [0.05, 0.9, 0.05], [1 / 3, 1 / 3, 1 / 3]], dtype=np.float32)
    step = {"epochs": 25, "learning_rate": 0.02, "random_state": 0}
    small = distill(lambda rows: rows @ doubts, mlp((3,), 3, random_state=0), X, temperature=2.0, **step)
    np.testing.assert_allclose(small(np.eye(3, dtype=np.float32)), doubts, atol=0.03)


# --- teachers ---


@pytest.mark.rotated
@pytest.mark.parametrize("kind", ["keras", "litert", "int8", "predictor", "sklearn", "callable"])
def test_whatever_gives_probabilities_is_a_teacher(kind, teacher, digits):
    X = digits[0][:300]  # more than one batch
    expected = np.asarray(teacher(X))
    flat = LogisticRegression(max_iter=500).fit(X.reshape(-1, 64), digits[2][:300]) if kind == "sklearn" else None
    made = {
        "keras": lambda: teacher,
        "litert": lambda: LiteRTModel(export_litert(teacher)),
        "int8": lambda: quantize(teacher, "int8", calibration=X),
        "predictor": lambda: Predictor(teacher, labels=range(10)),
        "sklearn": lambda: flat,
        "callable": lambda: lambda rows: teacher(rows),
    }[kind]()
    if kind == "sklearn":
        X, expected = X.reshape(-1, 64), flat.predict_proba(X.reshape(-1, 64))
    np.testing.assert_allclose(_ask(made, (X,)), expected, atol=0.1 if kind == "int8" else 1e-5)
    shape = X.shape[1:]
    small = distill(made, mlp(shape, hidden=(4,), random_state=0), X, digits[2][:300], epochs=1, random_state=0)
    assert small(X).shape == (300, 10)


# --- students that it has never seen ---


def residual():
    x = inputs = layers.Input((6, 6, 4))
    x = layers.Add()([x, layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(x))])
    return keras.Model(inputs, layers.Softmax()(layers.Dense(3)(layers.Flatten()(x))))


def recurrent():
    chain = [layers.Embedding(20, 6), layers.LSTM(5), layers.Dense(3), layers.Activation("softmax")]
    return keras.Sequential([layers.Input((7,), dtype="int32"), *chain])


def two_inputs():
    a, b = layers.Input((9,), name="wide"), layers.Input((8,), name="narrow")  # not in the order of the alphabet
    return keras.Model([a, b], layers.Dense(3, activation="softmax")(layers.Concatenate()([layers.Dense(5)(a), b])))


def nested():
    inner = keras.Sequential([layers.Input((5,)), layers.Dense(3, activation="softmax")])
    inputs = layers.Input((5,))
    return keras.Model(inputs, inner(inputs))


@pytest.mark.parametrize("build", networks.in_turn([residual, recurrent, two_inputs, nested], two_inputs))
def test_any_classifier_can_teach_and_learn(build):
    shapes = [tuple(one.shape[1:]) for one in build().inputs]
    X = tuple(rng(i).random((24, *shape), dtype=np.float32) * 9 for i, shape in enumerate(shapes))
    X = tuple(one.astype("int32") if build is recurrent else one for one in X)
    y = rng().integers(3, size=24)
    small = distill(build(), build(), X if len(X) > 1 else X[0], y, epochs=1, random_state=0)
    ours = np.asarray(small.keras_model(list(X) if len(X) > 1 else X[0]))
    np.testing.assert_allclose(small(*X), ours, atol=1e-4)
    again = keras.models.clone_model(small.keras_model)  # as every further step begins
    assert again.count_params() == small.keras_model.count_params()


# --- what is refused ---


def uniform(X):
    return np.full((len(X), 3), 1 / 3)


def student():
    return mlp((4,), 3, hidden=(2,), random_state=0)


X4, Y4 = np.ones((4, 4), dtype=np.float32), [0, 1, 2, 0]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"temperature": 0}, r"temperature: expected a number above 0, such as 4\.0, got 0"),
        ({"temperature": float("inf")}, "temperature: expected"),
        ({"temperature": float("nan")}, "temperature: expected"),
        ({"temperature": "hot"}, "temperature: expected"),
        ({"alpha": -0.1}, "alpha: expected the teacher's weight from 0 to 1"),
        ({"alpha": 1.1}, "alpha: expected"),
        ({"alpha": float("nan")}, "alpha: expected"),
        ({"alpha": 0.9, "y": None}, "alpha: without y the teacher is all there is"),
        ({"y": [0, 1, 2]}, "X, y: expected y with one integer for each of 4 rows"),
        ({"y": [0.0, 1.0, 2.0, 0.0]}, "X, y: expected y with one integer"),
        ({"y": [0, 1, 2, 3]}, "X, y: expected classes 0 to 2, got 0 to 3"),
        ({"y": [0, 1, 2, -1]}, "X, y: expected classes 0 to 2, got -1 to 2"),
        ({"X": np.ones((4, 5))}, r"X, y: expected an array of shape \(n, 4\)"),
        ({"X": np.full((4, 4), np.nan)}, "X, y: expected finite values"),
        ({"validation_data": (X4, None)}, "validation_data: expected"),
        ({"validation_data": (X4, [0, 1, 2, 3])}, "validation_data: expected classes"),
        ({"teacher": "teacher.tflite"}, "teacher: expected a LiteRTModel, .* got str"),
        ({"teacher": lambda X: np.full((len(X), 5), 0.2)}, "expected the same classes, got 5 and 3.*n_classes=5"),
        ({"teacher": lambda X: X[:, :3] * 7}, "teacher: expected probabilities.*put a softmax behind"),
        ({"teacher": lambda X: X[:, :3] * [2, -2, 1]}, "teacher: expected probabilities"),
        ({"teacher": lambda X: X[:, :3] * np.nan}, "teacher: expected probabilities"),
        ({"teacher": lambda X: X[:, 0]}, r"teacher: expected \(4, classes\) probabilities"),
        ({"teacher": lambda X: uniform(X)[1:]}, r"teacher: expected \(4, classes\) probabilities"),
    ],
)
def test_what_cannot_be_learned_is_refused(options, why):
    given = {"teacher": uniform, "X": X4, "y": Y4} | options
    with pytest.raises(InputError, match=why):
        distill(given.pop("teacher"), student(), given.pop("X"), given.pop("y"), progress=False, **given)


def logits():
    return keras.Sequential([layers.Input((4,)), layers.Dense(3)])


def two_outputs():
    inputs = layers.Input((4,))
    return keras.Model(inputs, [layers.Dense(3, activation="softmax")(inputs) for _ in range(2)])


def a_map():
    return keras.Sequential([layers.Input((4, 2)), layers.Dense(3, activation="softmax")])


def sigmoids():
    return keras.Sequential([layers.Input((4,)), layers.Dense(3, activation="sigmoid")])


@pytest.mark.parametrize("build", [logits, two_outputs, a_map, sigmoids])
def test_a_student_that_gives_no_probabilities_is_refused(build):
    with pytest.raises(InputError, match="student: expected a classifier with one output"):
        distill(uniform, build(), X4, Y4)


def test_the_weight_of_the_teacher_is_as_documented(monkeypatch):
    seen = []
    monkeypatch.setattr("inferkit.optimize._distill.distillation_loss", lambda n, t, alpha: seen.append(alpha) or 1 / 0)
    for y in (Y4, None):
        with pytest.raises(ZeroDivisionError):
            distill(uniform, student(), X4, y)
    assert seen == [0.9, 1.0]
