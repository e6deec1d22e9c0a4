"""Magnitude pruning: the schedule, the masks, and what the zeros weigh."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from inferkit import InputError, optimize
from inferkit.models import import_keras, load_reference, mlp
from inferkit.optimize._prune import kernels_of, smallest
from tests import networks

SHARE = st.floats(0, 0.99)


@given(final=SHARE, way=st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_the_schedule_rises_from_nothing_to_its_end(final, way):
    got = optimize.cubic_sparsity(sorted(way), final, 0.2, 0.8)
    assert (np.diff(got) >= -1e-12).all()
    np.testing.assert_allclose(optimize.cubic_sparsity([0, 0.2, 0.8, 1], final, 0.2, 0.8), [0, 0, final, final])


def test_the_schedule_is_the_paper_s():
    """Zhu and Gupta, equation 1: s_f + (s_i − s_f)(1 − (t − t0) / (n Δt))³ with s_i = 0."""
    t = np.linspace(0.1, 0.9, 9)
    np.testing.assert_allclose(optimize.cubic_sparsity(t, 0.9, 0.1, 0.9), 0.9 + (0 - 0.9) * (1 - (t - 0.1) / 0.8) ** 3)


@given(
    weights=hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=6), elements=st.floats(-9, 9, width=32)),
    share=SHARE,
)
def test_the_smallest_go_and_as_many_as_asked(weights, share):
    stays = smallest(weights, share)
    assert (~stays).sum() == round(share * weights.size)
    if stays.any() and not stays.all():
        assert np.abs(weights[stays]).min() >= np.abs(weights[~stays]).max()


@pytest.fixture(scope="module")
def pruned(digits):
    X, _, y, _ = digits
    return optimize.prune(load_reference("digits-cnn", "keras"), X, y, sparsity=0.8, epochs=3, random_state=0)


def test_four_weights_of_five_are_zero_and_the_answers_still_right(pruned, digits):
    _, unseen, _, truth = digits
    for kernel in kernels_of(pruned.keras_model):
        assert (kernel.numpy() == 0).mean() == pytest.approx(0.8, abs=0.5 / kernel.numpy().size + 1e-9)
    assert (pruned(unseen).argmax(axis=1) == truth).mean() > 0.9
    np.testing.assert_allclose(pruned(unseen), networks.answers(pruned.keras_model, unseen), atol=1e-5)


def test_the_file_is_no_smaller_until_it_is_compressed(pruned):
    dense = load_reference("digits-cnn")
    assert pruned.report.file_bytes == pytest.approx(dense.size_bytes, rel=0.05)
    assert pruned.report.gzip_bytes < 0.5 * pruned.report.file_bytes
    assert pruned.report.sparsity == pytest.approx(0.8, abs=0.01)


def test_zeros_survive_quantization(pruned, digits):
    small = optimize.quantize(pruned, calibration=digits[0][:200])
    assert small.report.sparsity >= pruned.report.sparsity
    assert small.report.file_bytes < 0.4 * pruned.report.file_bytes


def test_the_model_given_stays_as_it_is_and_a_skipped_layer_too(digits):
    X, _, y, _ = digits
    model = mlp(random_state=0)
    before = model.get_weights()
    last = model.layers[-1].name
    small = optimize.prune(model, X[:200], y[:200], sparsity=0.5, epochs=1, skip=[last], random_state=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert (small.keras_model.layers[-1].kernel.numpy() != 0).all()
    assert (small.keras_model.layers[-2].kernel.numpy() == 0).mean() == pytest.approx(0.5, abs=1e-3)


def test_the_zeros_come_as_the_schedule_says(digits):
    """Watched after every step; by the end of the schedule all are there, and none comes back."""
    X, _, y, _ = digits
    seen = []
    model = mlp(random_state=0)
    watched = optimize._prune._masking()
    step = watched.on_train_batch_end

    def spy(self, batch, logs=None):
        step(self, batch, logs)
        seen.append(float((self.kernels[0].numpy() == 0).mean()))

    watched.on_train_batch_end = spy
    try:
        optimize.prune(
            model, X[:960], y[:960], sparsity=0.9, schedule=(0.25, 0.75), epochs=2, batch_size=16, random_state=0
        )
    finally:
        watched.on_train_batch_end = step
    assert len(seen) == 120
    wanted = optimize.cubic_sparsity(np.arange(1, 121) / 120, 0.9, 0.25, 0.75)
    assert max(seen[:29]) == 0
    assert np.all(np.diff(seen) >= -1e-9)
    # chosen anew every ten steps, so never ahead of the schedule, and at most ten steps behind it
    assert np.all(np.array(seen) <= wanted + 1e-3)
    assert np.all(np.array(seen[10:]) >= wanted[:-10] - 1e-3)
    assert seen[95] == pytest.approx(0.9, abs=1e-3)


def test_pruning_by_size_loses_less_than_pruning_at_random(digits):
    """The control: as many weights, chosen by lot, with no training after either."""
    _, unseen, _, truth = digits
    rng = np.random.default_rng(0)
    right = {}
    for way in ("smallest", "any"):
        model = load_reference("digits-cnn", "keras")
        for kernel in kernels_of(model):
            weights = kernel.numpy()
            stays = smallest(weights if way == "smallest" else rng.random(weights.shape), 0.5)
            kernel.assign(weights * stays)
        right[way] = (networks.answers(model, unseen).argmax(axis=1) == truth).mean()
    assert right["smallest"] > right["any"] + 0.05


@pytest.mark.parametrize(
    "kind", networks.in_turn(["residual", "lstm", "autoencoder", "two_inputs", "words"], "two_inputs")
)
def test_networks_of_every_kind(kind):
    model, rows = networks.ALL[kind]()
    loss, y = ("mse", rows) if kind == "autoencoder" else ("sparse_categorical_crossentropy", np.arange(200) % 3)
    small = optimize.prune(model, rows, y, sparsity=0.5, epochs=1, loss=loss, random_state=0)
    for kernel in kernels_of(small.keras_model):
        assert (kernel.numpy() == 0).mean() == pytest.approx(0.5, abs=0.51 / kernel.numpy().size)
    given = rows if isinstance(rows, tuple) else (rows,)
    np.testing.assert_allclose(small(*given), networks.answers(small.keras_model, rows), atol=1e-4)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"sparsity": 1.0}, "sparsity: expected a share from 0 to below 1, such as 0.8, got 1.0"),
        ({"sparsity": -0.1}, "sparsity"),
        ({"sparsity": float("nan")}, "sparsity"),
        ({"sparsity": "80 %"}, "sparsity"),
        ({"schedule": (0.7, 0.2)}, r"expected 0 ≤ begin < end ≤ 1.*got \(0.7, 0.2\)"),
        ({"schedule": (0.5, 0.5)}, "begin < end"),
        ({"schedule": (0, 100)}, "as shares of the training"),
        ({"schedule": 0.5}, "two shares of the training"),
        ({"skip": ["no such"]}, "no layer is called no such; the layers are dense"),
        ({"epochs": 0}, "epochs ≥ 1"),
        ({"y": [0, 1]}, "one target for each of 4 rows"),
    ],
)
def test_what_cannot_be_pruned_is_refused(options, match):
    model = import_keras().Sequential([import_keras().layers.Input((4,)), import_keras().layers.Dense(4, name="dense")])
    given = {"X": np.eye(4, dtype=np.float32), "y": np.arange(4)} | options
    with pytest.raises(InputError, match=match):
        optimize.prune(model, **given)


def test_a_file_cannot_be_trained_and_a_model_without_kernels_has_nothing_to_prune():
    with pytest.raises(InputError, match=r"needs a Keras model or a \.keras file, for it trains"):
        optimize.prune(load_reference("digits-cnn"), np.zeros((4, 8, 8)), np.arange(4))
    layers = import_keras().layers
    inputs = layers.Input((4, 4, 1))
    model = import_keras().Model(inputs, layers.Flatten()(layers.DepthwiseConv2D(2)(inputs)))
    with pytest.raises(InputError, match="no kernel to work on"):
        optimize.prune(model, np.zeros((4, 4, 4, 1)), np.arange(4))


@pytest.mark.rotated
def test_a_model_compiled_with_a_loss_of_its_own_can_be_copied_and_biases_of_two_axes_stay():
    model, rows = networks.recurrent("GRU")

    def loss(y, out):
        return import_keras().ops.mean((y - out) ** 2)

    model.compile("adam", loss)
    bias = next(one for one in model.weights if one.path.endswith("bias") and len(one.shape) == 2)
    bias.assign(np.full(bias.shape, 1e-3, dtype=np.float32))
    small = optimize.prune(
        model, rows, np.eye(5)[np.arange(200) % 5], sparsity=0.5, epochs=1, loss=loss, random_state=0
    )
    again = optimize.prune(small, rows, np.arange(200) % 5, sparsity=0.6, epochs=1, random_state=0)
    assert (next(one for one in again.keras_model.weights if one.path.endswith(bias.path[-20:])).numpy() != 0).all()


@pytest.mark.rotated
def test_the_same_seed_gives_the_same_weights_dropout_included(digits):
    X, _, y, _ = digits
    layers = import_keras().layers
    inputs = layers.Input((8, 8))
    x = layers.Dropout(0.5)(layers.Dense(12, activation="relu")(layers.Flatten()(inputs)))
    model = import_keras().Model(inputs, layers.Dense(10, activation="softmax")(x))

    def weights(seed):
        small = optimize.prune(model, X[:300], y[:300], sparsity=0.5, epochs=2, random_state=seed)
        return np.concatenate([one.ravel() for one in small.keras_model.get_weights()])

    first = weights(0)
    np.testing.assert_array_equal(weights(0), first)
    assert (weights(1) != first).any()


def test_an_interrupt_leaves_the_model_as_it_was(digits):
    X, _, y, _ = digits
    model = mlp(random_state=0)
    before = model.get_weights()

    class Stop(import_keras().callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optimize._prune, "_masking", lambda: lambda kernels, share: Stop())
        with pytest.raises(KeyboardInterrupt):
            optimize.prune(model, X[:100], y[:100], epochs=1)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
