"""A network with an exit answers as its two ends do, and the cut between them changes nothing."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

from inferkit import InputError, Predictor
from inferkit._base import sha256
from inferkit.benchmark import Ledger, compare
from inferkit.datasets import split_digits
from inferkit.models import LiteRTModel, cnn, export_litert, load_reference, mlp
from inferkit.optimize import (
    EarlyExit,
    OptimizedModel,
    early_exit,
    escalation_curve,
    prune_filters,
    quantize,
    read_layers,
)
from inferkit.predictor import ArraySpec, Scale
from tests import networks

layers = keras.layers
X, X_TEST, Y, Y_TEST = split_digits()
X, X_TEST = (one.astype(np.float32) / 16 for one in (X, X_TEST))
QUIET = {"epochs": 1, "random_state": 0, "progress": False}
LEARN = {"hidden": 16, "epochs": 15, "batch_size": 32, "learning_rate": 1e-2, "random_state": 0, "progress": False}


def macs(content):
    return sum(layer.macs for layer in read_layers(content))


def names(model, kind):
    return [layer.name for layer in model.layers if type(layer).__name__ == kind]


@pytest.fixture(scope="module")
def whole(small_cnn):
    return LiteRTModel(export_litert(small_cnn))


@pytest.fixture(scope="module")
def made(small_cnn):
    return early_exit(small_cnn, names(small_cnn, "Conv2D")[2], X, Y, **LEARN)


# --- the two ends ---


def test_the_two_parts_in_a_row_are_the_whole_network(small_cnn, whole, made):
    given = made.stem(X_TEST)
    assert set(given) == {"probabilities", "features"}
    answers = made.rest(given["features"])
    np.testing.assert_allclose(answers, np.asarray(small_cnn(X_TEST)), atol=1e-5)
    np.testing.assert_allclose(answers, whole(X_TEST), atol=1e-5)


def test_at_1_all_rows_go_on_and_at_0_none_does(whole, made):
    all_on, none_on = made.with_threshold(1), made.with_threshold(0)
    certain = made.stem(X_TEST)["probabilities"].max(axis=1) >= 1
    np.testing.assert_allclose(all_on(X_TEST)[~certain], whole(X_TEST)[~certain], atol=1e-5)
    assert all_on.counts == (certain.sum(), (~certain).sum())
    np.testing.assert_array_equal(none_on(X_TEST), made.stem(X_TEST)["probabilities"])
    assert none_on.counts == (len(X_TEST), 0)
    assert (certain.sum(), none_on.escalated) == (0, 0)


@pytest.mark.parametrize("threshold", [0.3, 0.6, 0.9, 0.99])
def test_between_them_each_row_gets_the_exit_where_that_is_sure(made, threshold):
    model = made.with_threshold(threshold)
    p, features = (made.stem(X_TEST)[name] for name in ("probabilities", "features"))
    sure = p.max(axis=1).astype(float) >= threshold
    expected = np.where(sure[:, None], p, made.rest(features))
    np.testing.assert_array_equal(model(X_TEST), expected)
    assert model.counts == (sure.sum(), (~sure).sum())
    assert model.escalated == (~sure).mean()
    model.reset()
    np.testing.assert_array_equal([model(row[None])[0] for row in X_TEST[:50]], expected[:50])
    assert model.counts == (sure[:50].sum(), (~sure[:50]).sum())
    many = np.concatenate([X_TEST] * 3)  # more than the stem gets at once
    np.testing.assert_array_equal(model(many), np.concatenate([expected] * 3))


def test_an_answer_as_sure_as_the_threshold_counts(made):
    p = made.stem(X_TEST[:5])["probabilities"]
    for i, surest in enumerate(p.max(axis=1).astype(float)):
        for limit, counts in ((surest, (1, 0)), (np.nextafter(surest, 2), (0, 1))):
            one, several = made.with_threshold(limit), made.with_threshold(limit)
            one(X_TEST[i : i + 1])
            several(X_TEST[[i, i]])
            assert (one.counts, several.counts) == (counts, tuple(2 * n for n in counts))


def test_only_rows_that_go_on_reach_the_rest(made, monkeypatch):
    model, asked = made.with_threshold(0.9), []

    class Rest:
        def __call__(self, features):
            asked.append(features)
            return made.rest(features)

        call_one = __call__

    monkeypatch.setattr(model, "_rest", Rest())
    p = made.stem(X_TEST)
    left = p["probabilities"].max(axis=1) < 0.9
    for n in (1, 2, 200):
        asked.clear()
        model(X_TEST[:n])
        np.testing.assert_array_equal(np.concatenate(asked or [p["features"][:0]]), p["features"][:n][left[:n]])
        assert len(asked) <= 1


def test_the_exit_has_learned_and_the_network_is_as_it_was(trained_cnn, small_cnn, whole, made):
    for now, before in zip(small_cnn.get_weights(), trained_cnn.get_weights(), strict=True):
        np.testing.assert_array_equal(now, before)
    exit_right = (made.with_threshold(0)(X_TEST).argmax(axis=1) == Y_TEST).mean()
    assert exit_right > 0.6  # guessing gives 0.1, and this is half a network
    assert made.history.epochs == LEARN["epochs"]
    assert made.history.accuracy[-1] > 0.6
    right = (made(X_TEST).argmax(axis=1) == Y_TEST).mean()
    assert right >= exit_right
    answers = made.keras_model(X_TEST)
    np.testing.assert_allclose(answers["exit"], made.stem(X_TEST)["probabilities"], atol=1e-5)
    np.testing.assert_allclose(answers["last"], whole(X_TEST), atol=1e-5)


@pytest.mark.rotated
@pytest.mark.parametrize("hidden", [0, 5])
def test_mean_and_spread_are_folded_into_the_exit(small_cnn, monkeypatch, hidden):
    seen = {}

    def remember(model, rows, y, **options):
        seen.update(rows=rows, answers=np.asarray(model(rows)))

    monkeypatch.setattr("inferkit.optimize._early_exit.fit", remember)
    at = names(small_cnn, "Conv2D")[0]
    exit_ = early_exit(small_cnn, at, X[:300], Y[:300], hidden=hidden, **QUIET)
    np.testing.assert_allclose(seen["rows"].mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(seen["rows"].std(axis=0), 1, atol=1e-3)
    np.testing.assert_allclose(exit_.stem(X[:300])["probabilities"], seen["answers"], atol=1e-5)


def test_a_channel_that_never_changes_does_no_harm():
    model = mlp((3,), 3, hidden=(6, 6, 6), random_state=0)
    dense = model.layers[2]
    dense.set_weights(
        [np.zeros((3, 6)), np.array([1, 1e-8, 0, 5, 7, -1], dtype=np.float32)]
    )  # whatever comes, that goes
    exit_ = early_exit(model, dense.name, np.eye(3), [0, 1, 2], **QUIET)
    np.testing.assert_allclose(exit_.with_threshold(0)(np.eye(3, dtype=np.float32)).sum(axis=1), 1, atol=1e-5)


@pytest.mark.rotated
@pytest.mark.parametrize(("n", "hidden"), [(0, 0), (1, 7), (2, 0)])
def test_the_work_is_that_of_the_network_and_the_exit(small_cnn, whole, n, hidden):
    at, channels = names(small_cnn, "Conv2D")[n], (8, 16, 16)[n]
    exit_ = early_exit(small_cnn, at, X[:64], Y[:64], hidden=hidden, **QUIET)
    head = channels * hidden + hidden * 10 if hidden else channels * 10
    assert macs(exit_.stem) + macs(exit_.rest) == macs(whole) + head
    first = 64 * 9 * (8, 8 + 8 * 16, 8 + 8 * 16)[n] + (16 * 9 * 16 * 16 if n == 2 else 0)
    assert macs(exit_.stem) == first + head


@pytest.mark.rotated
def test_the_same_seed_gives_the_same_bytes_from_memory_and_from_a_file(small_cnn, tmp_path):
    path, at = tmp_path / "network.keras", names(small_cnn, "MaxPooling2D")[0]
    small_cnn.save(path)
    one, two, other = (
        early_exit(model, at, X[:200], Y[:200], epochs=1, random_state=seed, progress=False)
        for model, seed in ((small_cnn, 3), (path, 3), (small_cnn, 4))
    )
    assert one.sha256 == two.sha256
    assert one.rest.content == other.rest.content
    assert one.stem.content != other.stem.content


# --- networks of other kinds ---


def residual():
    """Two blocks with a bypass, batch norms that have lived, dropout."""
    x = inputs = layers.Input((8, 8, 3))
    for i in range(2):
        y = layers.Conv2D(6, 3, padding="same", use_bias=False, name=f"inside_{i}")(x)
        y = layers.Dropout(0.3)(layers.ReLU()(layers.BatchNormalization()(y)))
        x = layers.Add(name=f"block_{i}")([layers.Conv2D(6, 1, name=f"bypass_{i}")(x), y])
    x = layers.Dense(5)(layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(layers.Dense(7, "relu")(x))))
    model = keras.Model(inputs, layers.Softmax()(x), name="residual")
    return networks.lived_in(model), networks._rows(8, 8, 3), "block_0"


def recurrent(first, second):
    inputs = layers.Input((5, 4))
    x = layers.Dense(5, activation="softmax")(second(first(inputs)))
    return keras.Model(inputs, x, name="recurrent"), networks._rows(5, 4), first.name


def lstm():
    return recurrent(layers.LSTM(6, return_sequences=True, name="first"), layers.LSTM(6))


def both_ways():
    return recurrent(layers.Bidirectional(layers.GRU(3, return_sequences=True), name="first"), layers.GRU(6))


def words():
    inputs = layers.Input((10,), dtype="int32")
    x = layers.Dense(3, "softmax")(layers.Dense(6, "relu")(layers.GlobalAveragePooling1D()(
        layers.Conv1D(8, 3, activation="relu", name="first")(layers.Embedding(50, 8)(inputs)))))  # fmt: skip
    rows = np.random.default_rng(0).integers(0, 50, (60, 10)).astype(np.int32)
    return keras.Model(inputs, x, name="words"), rows, "first"


def attention():
    inputs = layers.Input((10, 8))
    x = layers.LayerNormalization(name="first")(layers.Add()([inputs, layers.MultiHeadAttention(2, 4)(inputs, inputs)]))
    x = layers.GlobalAveragePooling1D()(layers.Dense(6, "gelu")(x))
    return (
        keras.Model(inputs, layers.Dense(3, activation="softmax")(x), name="attention"),
        networks._rows(10, 8),
        "first",
    )


def nested():
    inner = keras.Sequential([layers.Input((6,)), layers.Dense(8, "relu"), layers.Dense(8, "relu")], name="inner")
    inputs = layers.Input((6,))
    x = layers.Dense(3, "softmax")(layers.Dense(5, "tanh")(inner(inputs)))
    return keras.Model(inputs, x, name="outer"), networks._rows(6), "inner"


def sequence():
    chain = [layers.Conv1D(4, 2, name="first"), layers.Conv1D(4, 2), layers.Flatten(), layers.Dense(3, "softmax")]
    return keras.Sequential([layers.Input((6, 2)), *chain], name="sequence"), networks._rows(6, 2), "first"


def solids():
    chain = [layers.Conv3D(4, 2, name="first"), layers.Flatten(), layers.Dense(4), layers.Dense(3, "softmax")]
    return keras.Sequential([layers.Input((4, 4, 4, 1)), *chain]), networks._rows(4, 4, 4, 1), "first"


def twice():
    """One layer that runs twice, behind the exit."""
    shared, inputs = layers.Dense(6, "relu", name="shared"), layers.Input((6,))
    x = layers.Dense(3, "softmax")(shared(shared(layers.Dense(6, name="first")(inputs))))
    return keras.Model(inputs, x, name="twice"), networks._rows(6), "first"


KINDS = {
    "residual": residual, "lstm": lstm, "both ways": both_ways, "words": words, "attention": attention,
    "nested": nested, "sequence": sequence, "solids": solids, "twice": twice,
}  # fmt: skip


@pytest.mark.parametrize("kind", networks.in_turn(KINDS))
def test_networks_of_any_kind_are_cut_without_a_change(kind):
    model, rows, at = KINDS[kind]()
    rows, n_classes = rows[:60], model.output_shape[-1]
    y = np.random.default_rng(1).integers(n_classes, size=len(rows))
    expected = np.asarray(model(rows))
    exit_ = early_exit(model, at, rows, y, **QUIET)
    given = exit_.stem(rows)
    np.testing.assert_allclose(exit_.rest(given["features"]), expected, atol=1e-5)
    np.testing.assert_allclose(exit_.with_threshold(1)(rows), expected, atol=1e-5)
    np.testing.assert_allclose(exit_.keras_model(rows)["exit"], given["probabilities"], atol=1e-5)
    axes = tuple(range(1, given["features"].ndim - 1))
    head = exit_.keras_model.get_layer(f"{at}_exit")
    z = given["features"].mean(axis=axes) @ head.get_weights()[0] + head.get_weights()[1]
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    np.testing.assert_allclose(given["probabilities"], powers / powers.sum(axis=1, keepdims=True), atol=1e-5)


@pytest.mark.rotated
def test_an_exit_can_be_given_to_a_network_that_was_made_smaller(small_cnn):
    pruned, at = prune_filters(small_cnn, share=0.5), names(small_cnn, "Conv2D")[2]
    exit_ = early_exit(pruned, at, X[:64], Y[:64], **QUIET)
    np.testing.assert_allclose(exit_.rest(exit_.stem(X_TEST)["features"]), pruned(X_TEST), atol=1e-5)


# --- where it goes ---


@pytest.fixture(scope="module")
def reader(made):
    return Predictor(made, preprocess=Scale(1), signature=ArraySpec((8, 8)), labels=range(10))


def test_it_goes_into_a_predictor_a_comparison_and_the_ledger(made, reader):
    ledger = Ledger()
    (entry,) = compare({"exit": reader}, X_TEST, Y_TEST, n=20, rounds=2, ledger=ledger, progress=False)
    assert entry.size_bytes == made.size_bytes == len(made.stem.content) + len(made.rest.content)
    assert entry.model_sha256 == sha256(f"{made.stem.sha256} {made.rest.sha256} 0.9".encode())
    assert made.with_threshold(0.8).sha256 != made.sha256
    assert (entry.threads, len(ledger)) == (1, 1)
    assert entry.accuracy == (made(X_TEST).argmax(axis=1) == Y_TEST).mean()
    assert [reader.predict_one(x) for x in X_TEST[:40]] == reader.predict(X_TEST[:40]).tolist()
    assert reader.name == made.name
    threads = EarlyExit(LiteRTModel(made.stem.content, num_threads=2), made.rest)
    assert threads.num_threads == 2


def test_the_curve_of_its_two_ends_is_what_running_it_gives(made, reader):
    ends = [
        Predictor(made.with_threshold(t), signature=ArraySpec((8, 8)), labels=range(10), name=f"at {t}") for t in (0, 1)
    ]
    curve = escalation_curve(ends, X_TEST, Y_TEST)
    for i in (0, 20, 40, 60, 80, 90, 95, 99, 100):
        model = made.with_threshold(curve.thresholds[i])
        assert curve.accuracy[i] == (model(X_TEST).argmax(axis=1) == Y_TEST).mean()
        assert curve.escalated[i] == model.escalated


def test_its_parts_are_files_that_can_be_kept_and_opened(made, tmp_path):
    for name in ("stem", "rest"):
        part = getattr(made, name)
        assert isinstance(part, OptimizedModel)
        part.save(tmp_path / f"{name}.tflite")
    again = EarlyExit(*(LiteRTModel(tmp_path / f"{name}.tflite") for name in ("stem", "rest")), threshold=0.9)
    np.testing.assert_array_equal(again(X_TEST), made(X_TEST))
    assert again.sha256 == made.sha256
    assert again.keras_model is None


def test_a_copy_answers_alike_and_counts_anew(made):
    made(X_TEST)
    again = pickle.loads(pickle.dumps(made))
    assert again.counts == (0, 0)
    assert (again.sha256, again.threshold, again.name) == (made.sha256, made.threshold, made.name)
    np.testing.assert_array_equal(again(X_TEST), made(X_TEST))
    assert repr(again) == f"EarlyExit({made.name!r}, {made.size_bytes:,} bytes, threshold=0.9)"


@pytest.mark.rotated
@pytest.mark.parametrize("scheme", ["float16", "int8"])
def test_its_parts_can_be_quantized_and_put_together_again(made, scheme):
    features = made.stem(X)["features"]
    calibration = ({"calibration": X[:200]}, {"calibration": features[:200]}) if scheme == "int8" else ({}, {})
    parts = [
        quantize(LiteRTModel(one.content), scheme, **options)
        for one, options in zip((made.stem, made.rest), calibration, strict=True)
    ]
    small = EarlyExit(*parts, threshold=0.9)
    p = small(X_TEST)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-3)
    # At 8 bits a small exit's own probabilities are coarse, and other rows leave there: judged is who goes to the end.
    threshold = 1.0 if scheme == "int8" else 0.9
    pair = [one.with_threshold(threshold)(X_TEST).argmax(axis=1) for one in (small, made)]
    assert (pair[0] == pair[1]).mean() > 0.9
    assert small.size_bytes < made.size_bytes
    reader = Predictor(small, signature=ArraySpec((8, 8)), labels=range(10))
    assert reader.predict_proba(X_TEST).shape == (len(X_TEST), 10)


def test_threads_that_call_at_once_lose_no_count(made):
    model, once = made.with_threshold(0.9), made.with_threshold(0.9)
    expected = once(X_TEST[:60])
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(model, [X_TEST[:60]] * 30))
    for one in found:
        np.testing.assert_array_equal(one, expected)
    assert model.counts == tuple(30 * n for n in once.counts)
    assert min(once.counts) > 0
    model.reset()
    assert (model.counts, model.escalated) == ((0, 0), None)


# --- what is refused ---


def test_layers_behind_which_nothing_can_be_cut_are_refused_by_name():
    model, rows, _ = residual()
    y = np.zeros(len(rows), dtype=int)
    cases = {
        "nowhere": "'residual' has no layer 'nowhere'; choose one of: .*block_0",
        model.layers[0].name: "is the input",
        "inside_1": "'inside_1' is passed by: 'block_1' also reads 'bypass_1'",
        "bypass_0": "is passed by: 'block_0' also reads ",
        model.layers[-1].name: "comes too late",
        model.layers[-2].name: "comes too late",
        names(model, "GlobalAveragePooling2D")[0]: "comes too late",
    }
    for at, why in cases.items():
        with pytest.raises(InputError, match=f"at: .*{why}") as caught:
            early_exit(model, at, rows, y, **QUIET)
        assert str(caught.value).endswith("choose one of: block_0, block_1")


def test_a_layer_before_any_weights_one_that_runs_twice_and_a_mask_are_refused():
    model = cnn(random_state=0)
    with pytest.raises(InputError, match=r"at: the layer 'reshape.*' comes before any weights"):
        early_exit(model, names(model, "Reshape")[0], X, Y)
    two, rows, _ = twice()
    with pytest.raises(InputError, match="'shared' runs 2 times on the way to the output; choose one of: first"):
        early_exit(two, "shared", rows, np.zeros(len(rows), dtype=int))
    masked = keras.Sequential([
        layers.Input((5,), dtype="int32"), layers.Embedding(9, 4, mask_zero=True, name="words"),
        layers.LSTM(4, name="memory"), layers.Dense(4), layers.Dense(3, "softmax"),
    ])  # fmt: skip
    rows = np.random.default_rng(0).integers(0, 9, (20, 5))
    with pytest.raises(
        InputError, match=r"'words' is passed by: 'memory' also reads 'not_equal.*choose one of: memory"
    ):
        early_exit(masked, "words", rows, np.zeros(20, dtype=int))
    small = mlp((4,), 3, random_state=0)
    with pytest.raises(InputError, match="no other layer can be used either"):
        early_exit(small, "nowhere", np.ones((4, 4)), [0, 1, 2, 0])


def test_parts_that_do_not_add_up_are_noticed(small_cnn, monkeypatch):
    """Whatever a layer hands on in secret, the two parts are tried against the whole."""

    def forgetful(whole, features, name):
        rest = keras.models.clone_model(keras.Model(features, whole.outputs[0]))
        return rest

    monkeypatch.setattr("inferkit.optimize._early_exit.rest_of", forgetful)
    at = names(small_cnn, "Conv2D")[1]
    with pytest.raises(InputError, match=f"at: what comes after '{at}' needs more than its output"):
        early_exit(small_cnn, at, X[:64], Y[:64], **QUIET)


def logits():
    return keras.Sequential([layers.Input((4,)), layers.Dense(4), layers.Dense(4), layers.Dense(3)])


def two_outputs():
    inputs = layers.Input((4,))
    return keras.Model(inputs, [layers.Dense(3, activation="softmax")(inputs) for _ in range(2)])


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (logits, "model: expected a classifier with one output .* ends in a softmax"),
        (two_outputs, "model: expected a classifier with one output"),
        (lambda: networks.autoencoder()[0], "model: expected a classifier with one output"),
        (lambda: networks.two_inputs()[0], r"expected a network with one input, 'two_inputs' has 2 \(zebra, ant\)"),
        (lambda: load_reference("digits-mlp"), "model: this needs a Keras model or a .keras file, for it trains"),
        (lambda: 7, "model: expected a Keras model"),
    ],
)
def test_models_that_are_no_classifiers_are_refused(build, why):
    with pytest.raises(InputError, match=why):
        early_exit(build(), "dense", np.ones((4, 4)), [0, 1, 2, 0])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"X": np.ones((4, 5))}, "X, y: expected an array of shape"),
        ({"X": np.full((4, 4), np.nan)}, "X, y: expected finite values"),
        ({"y": [0, 1, 2]}, r"X, y: expected y with one class for each of 4 rows, got shape \(3,\)"),
        ({"y": [0, 1, 2, 3]}, "X, y: expected classes 0 to 2"),
        ({"y": [0.0, 1.0, 2.0, 0.0]}, "X, y: expected y with one integer"),
        ({"hidden": -1}, "hidden: expected a number of units, 0 for no hidden layer, got -1"),
        ({"hidden": True}, "hidden: expected"),
        ({"hidden": 2.5}, "hidden: expected"),
        ({"epochs": 0}, "expected epochs ≥ 1"),
        ({"random_state": -1}, "random_state: expected a seed"),
    ],
)
def test_what_an_exit_cannot_learn_from_is_refused(options, why):
    model = mlp((4,), 3, hidden=(4, 4, 4), random_state=0)
    given = {"X": np.ones((4, 4)), "y": [0, 1, 2, 0]} | QUIET | options
    with pytest.raises(InputError, match=why):
        early_exit(model, model.layers[2].name, given.pop("X"), given.pop("y"), **given)


def test_parts_that_do_not_fit_each_other_are_refused(made, whole):
    stem, rest = made.stem, made.rest
    for parts, why in (
        (("stem.tflite", rest), "stem: expected a LiteRTModel, such as LiteRTModel.path., got str"),
        ((stem, None), "rest: expected a LiteRTModel"),
        ((rest, stem), "stem, rest: expected the outputs 'probabilities' and 'features' of the stem"),
        ((stem, stem), "stem, rest: expected the outputs"),
        ((stem, whole), r"expected the rest to take what the stem gives, float32 of shape \(4, 4, 16\)"),
        ((stem, load_reference("signs-cnn")), "expected the rest to take what the stem gives"),
    ):
        with pytest.raises(InputError, match=why):
            EarlyExit(*parts)
    for threshold in (-0.1, 1.1, float("nan"), True, "0.9", None, [0.9]):
        with pytest.raises(InputError, match="threshold: expected a probability from 0 to 1"):
            EarlyExit(stem, rest, threshold)
        with pytest.raises(InputError, match="threshold: expected a probability from 0 to 1"):
            made.with_threshold(threshold)


def test_the_rest_of_a_network_with_other_classes_is_refused(made):
    start = layers.Input((4, 4, 16))
    other = keras.Model(start, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(start)))
    with pytest.raises(InputError, match=r"both to give \(n, classes\), got shapes \(-1, 10\) and \(-1, 3\)"):
        EarlyExit(made.stem, LiteRTModel(export_litert(other)))


def test_rows_that_do_not_fit_the_network_are_refused(made):
    for rows in (X_TEST[:, :4], X_TEST[:1, :4], X_TEST[:0], X_TEST.astype(str), 5.0):
        with pytest.raises(InputError, match="expected"):
            made(rows)
