"""What filter pruning leaves is the same network without some filters: the same answers where those gave nothing."""

from itertools import pairwise

import keras
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from inferkit import InputError
from inferkit.models import cnn, mlp, mobilenet, save_keras
from inferkit.optimize import OptimizedModel, prune_filters, quantize
from inferkit.optimize._filters import _chain, _choice, _flow, _rebuilt, strongest

layers = keras.layers


def pictures(n, shape=(8, 8), seed=0):
    return np.random.default_rng(seed).random((n, *shape), dtype=np.float32)


def answers(model, X):
    return np.asarray(model(X))


def shaken(model, rng):
    """Give every weight a random value, so that no bias and no average is 0 by chance."""
    for one in model.variables:
        if "float" in str(one.dtype):
            low = 0.5 if "variance" in one.name or "gamma" in one.name else -0.5
            one.assign(rng.uniform(low, low + 1, one.shape))
    return model


def silenced(model, rng):
    """Make half of the filters of each hidden layer give 0 whatever comes in, and let batch norms keep it so."""
    weighted = [one for one in model.layers if isinstance(one, layers.Conv2D | layers.Dense)]
    weighted = [one for one in weighted if not isinstance(one, layers.DepthwiseConv2D)]
    quiet = np.zeros(0, dtype=bool)
    for layer in model.layers:
        if layer in weighted:
            kernel, *bias = layer.get_weights()
            quiet = np.zeros(kernel.shape[-1], dtype=bool)
            if layer is not weighted[-1]:
                quiet[rng.permutation(len(quiet))[: round(len(quiet) / 2)]] = True
            layer.set_weights([kernel * ~quiet, *(one * ~quiet for one in bias)])
        elif isinstance(layer, layers.DepthwiseConv2D):
            quiet = np.repeat(quiet, layer.depth_multiplier) if len(quiet) else quiet
            if layer.use_bias and len(quiet):
                layer.bias.assign(layer.bias.numpy() * ~quiet)
        elif isinstance(layer, layers.Flatten) and len(quiet):
            quiet = np.tile(quiet, np.prod(layer.input.shape[1:-1], dtype=int))
        elif isinstance(layer, layers.BatchNormalization) and len(quiet):
            layer.beta.assign(layer.beta.numpy() * ~quiet)
            layer.moving_mean.assign(layer.moving_mean.numpy() * ~quiet)
    return model


def narrowed(model, share):
    """Return the smaller network alone, without the file, which takes longest."""
    chain = _chain(model)
    return _rebuilt(model, chain, _flow(chain, _choice(chain, share)))


# --- filters that give nothing ---


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda: cnn((8, 8), filters=(6, 8, 10), hidden=(12, 7), random_state=0), id="cnn"),
        pytest.param(lambda: mobilenet((8, 8), width=0.5, random_state=0), id="mobilenet", marks=pytest.mark.rotated),
        pytest.param(lambda: mlp((8, 8), hidden=(20, 9), random_state=0), id="mlp"),
    ],
)
def test_taking_out_filters_that_give_nothing_changes_no_answer(build):
    rng = np.random.default_rng(3)
    model = silenced(shaken(build(), rng), rng)
    X = pictures(20)
    small = prune_filters(model, share=0.5)
    assert small.keras_model.count_params() < 0.6 * model.count_params()
    np.testing.assert_allclose(answers(small.keras_model, X), answers(model, X), atol=1e-5)
    np.testing.assert_allclose(small(X), answers(model, X), atol=1e-5)
    fewer = narrowed(model, 0.75)
    assert np.abs(answers(fewer, X) - answers(model, X)).max() > 1e-3  # other filters are missed


LAYERS = {
    "conv": lambda: layers.Conv2D(5, 3, padding="same"),
    "strided": lambda: layers.Conv2D(4, 2, strides=2, padding="same", activation="relu", use_bias=False),
    "pointwise": lambda: layers.Conv2D(6, 1),
    "depthwise": lambda: layers.DepthwiseConv2D(3, padding="same"),
    "twice": lambda: layers.DepthwiseConv2D(2, padding="same", depth_multiplier=2, use_bias=False),
    "norm": lambda: layers.BatchNormalization(),
    "relu": lambda: layers.ReLU(max_value=6.0),
    "leaky": lambda: layers.LeakyReLU(),
    "tanh": lambda: layers.Activation("tanh"),
    "dropout": lambda: layers.Dropout(0.4),
    "max": lambda: layers.MaxPooling2D(2, padding="same"),
    "mean": lambda: layers.AveragePooling2D(2, padding="same"),
    "pad": lambda: layers.ZeroPadding2D(1),
    "scale": lambda: layers.Rescaling(0.5),
    "dense": lambda: layers.Dense(5, activation="relu"),  # on the channels of each place
}
FLAT = {
    "flatten": lambda: layers.Flatten(),
    "average": lambda: layers.GlobalAveragePooling2D(),
    "largest": lambda: layers.GlobalMaxPooling2D(),
}
TAIL = {
    "dense": lambda: layers.Dense(7),
    "norm": lambda: layers.BatchNormalization(),
    "relu": lambda: layers.Activation("relu"),
}


@pytest.mark.rotated
@settings(max_examples=50, phases=[Phase.explicit, Phase.reuse, Phase.generate])  # to shrink takes minutes
@given(
    st.lists(st.sampled_from(sorted(LAYERS)), max_size=5),
    st.sampled_from(sorted(FLAT)),
    st.lists(st.sampled_from(sorted(TAIL)), max_size=3),
    st.integers(0, 2**31),
)
def test_any_chain_loses_silent_filters_without_a_change(body, flat, tail, seed):
    rng = np.random.default_rng(seed)
    chain = [LAYERS[one]() for one in ["conv", *body]] + [FLAT[flat]()] + [TAIL[one]() for one in tail]
    model = keras.Sequential([layers.Input((5, 4, 2)), *chain, layers.Dense(3, activation="softmax")])
    silenced(shaken(model, rng), rng)
    small = narrowed(model, 0.5)
    X = pictures(4, (5, 4, 2), seed)
    np.testing.assert_allclose(answers(small, X), answers(model, X), atol=1e-5)
    assert small.count_params() < model.count_params()
    assert type(small) is type(model)


def test_nothing_taken_out_is_the_same_network():
    model, X = shaken(cnn(filters=(3, 4), hidden=(5,)), np.random.default_rng(0)), pictures(5)
    same = prune_filters(model, share=0)
    assert same.history is None
    assert same.keras_model is not model
    np.testing.assert_array_equal(answers(same.keras_model, X), answers(model, X))


# --- by hand ---


def test_dense_units_go_as_by_hand():
    model = shaken(mlp((6,), 3, hidden=(5,), random_state=0), np.random.default_rng(1))
    w1, b1, w2, b2 = model.get_weights()
    stays = sorted(np.argsort(np.abs(w1).sum(axis=0))[2:])
    X = pictures(7, (6,))
    z = np.maximum(X @ w1[:, stays] + b1[stays], 0) @ w2[stays] + b2
    expected = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(answers(prune_filters(model, share=0.4).keras_model, X), expected, atol=1e-6)


def test_flatten_spreads_a_channel_over_the_map():
    model = keras.Sequential([layers.Input((2, 3, 1)), layers.Conv2D(2, 1), layers.Flatten(), layers.Dense(2)])
    shaken(model, np.random.default_rng(0))
    model.layers[0].kernel.assign(np.array([[[[0.1, 2.0]]]]))
    kernel = model.layers[-1].kernel.numpy()
    small = prune_filters(model, share=0.5).keras_model
    np.testing.assert_array_equal(small.layers[-1].kernel.numpy(), kernel[[1, 3, 5, 7, 9, 11]])


def normed(gamma, variance):
    model = keras.Sequential(
        [layers.Input((4, 4, 1)), layers.Conv2D(2, 1), layers.BatchNormalization(), layers.Flatten(), layers.Dense(2)]
    )
    model.layers[0].kernel.assign(np.array([[[[1.0, -3.0]]]]))
    model.layers[1].gamma.assign(gamma)
    model.layers[1].moving_variance.assign(variance)
    return narrowed(model, 0.5).layers[0].kernel.numpy().item()


@pytest.mark.parametrize(
    ("gamma", "variance", "stays"),
    [
        ([1, 1], [1, 1], -3.0),
        ([1, 0.1], [1, 1], 1.0),
        ([-4, 1], [1, 1], 1.0),  # a negative gamma is as strong as a positive one
        ([1, 1], [1, 100], 1.0),
        ([1, 4], [1, 100], -3.0),  # 3 · 4 / 10 > 1
    ],
)
def test_a_filter_counts_as_its_batch_norm_scales_it(gamma, variance, stays):
    assert normed(gamma, variance) == stays


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30), st.floats(0, 0.999))
def test_the_strongest_stay(importance, share):
    values = np.array(importance)
    stays = strongest(values, share)
    assert len(stays) == max(1, len(values) - round(share * len(values)))
    assert (np.diff(stays) > 0).all()
    goes = np.delete(values, stays)
    assert len(goes) == 0 or goes.max() <= values[stays].min()


def test_one_filter_at_least_stays():
    small = prune_filters(cnn(filters=(2, 3), hidden=(4,), random_state=0), share=0.99).keras_model
    assert [one.kernel.shape[-1] for one in small.layers if one.weights] == [1, 1, 1, 10]


# --- what it weighs ---


def macs(filters, hidden):
    convolutions = sum(64 * 9 * a * b for a, b in zip((1, *filters[:-2]), filters[:-1], strict=True))
    last = 16 * 9 * filters[-2] * filters[-1]
    widths = (16 * filters[-1], *hidden, 10)
    return convolutions + last + sum(a * b for a, b in pairwise(widths))


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_the_work_falls_as_the_widths_imply(share):
    small = prune_filters(cnn(filters=(8, 16, 16), hidden=(40,), random_state=0), share=share)
    left = 1 - share
    assert small.report.macs == macs([round(left * n) for n in (8, 16, 16)], [round(left * 40)])
    assert small.report.method == f"filters-{share:g}"


# --- with training ---


@pytest.fixture(scope="module")
def halved(small_cnn, digits):
    X, unseen, y, truth = digits
    return prune_filters(small_cnn, X, y, share=0.5, epochs=3, validation_data=(unseen, truth), random_state=0)


def accuracy(model, digits):
    return float((model(digits[1]).argmax(axis=1) == digits[3]).mean())


def test_training_brings_the_accuracy_back(small_cnn, halved, digits):
    untrained = prune_filters(small_cnn, share=0.5)
    assert accuracy(halved, digits) > 0.75
    assert accuracy(halved, digits) > accuracy(untrained, digits) + 0.02
    assert halved.history.epochs == 3
    assert len(halved.history.val_accuracy) == 3


def test_the_model_given_stays_as_it_is(trained_cnn, small_cnn, halved):
    for one, was in zip(small_cnn.get_weights(), trained_cnn.get_weights(), strict=True):
        np.testing.assert_array_equal(one, was)


@pytest.mark.rotated
def test_what_comes_out_goes_on(halved, digits, tmp_path):
    assert isinstance(halved, OptimizedModel)
    again = prune_filters(halved, share=0.5)
    assert [one.filters for one in again.keras_model.layers if hasattr(one, "filters")] == [2, 4, 4]
    save_keras(halved.keras_model, tmp_path / "half.keras")
    from_file = prune_filters(tmp_path / "half.keras", share=0.5)
    X = pictures(3)
    np.testing.assert_allclose(from_file(X), again(X), atol=1e-6)
    small = quantize(halved, "int8", calibration=digits[0][:200])
    assert accuracy(small, digits) > 0.7


@pytest.mark.rotated
def test_an_autoencoder_of_dense_layers_is_trained_on_its_own_loss():
    X = pictures(64, (12,))
    model = keras.Sequential([layers.Input((12,)), layers.Dense(8, activation="relu"), layers.Dense(12)])
    small = prune_filters(model, X, X, share=0.5, loss="mse", epochs=5, learning_rate=1e-2, random_state=0)
    assert small.history.loss[-1] < small.history.loss[0]
    assert small.keras_model.output_shape == (None, 12)


def test_a_model_that_was_trained_on_a_loss_of_its_own_is_taken():
    model = keras.Sequential([layers.Input((4,)), layers.Dense(4), layers.Dense(2)])
    model.compile(loss=lambda y, answers: keras.ops.abs(y - answers))
    assert prune_filters(model).keras_model.layers[0].units == 2


# --- what is refused ---


@pytest.mark.parametrize("share", [-0.1, 1, 1.5, float("nan"), "half", True, None])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(InputError, match=r"share: expected a share from 0 to below 1, such as 0\.5, got"):
        prune_filters(mlp(random_state=0), share=share)


def test_rows_without_classes_are_refused():
    with pytest.raises(InputError, match="X, y: expected both"):
        prune_filters(mlp(random_state=0), pictures(4))
    with pytest.raises(InputError, match="X, y: expected both"):
        prune_filters(mlp(random_state=0), y=[1])


class Conv2D(layers.Conv2D):
    """A convolution of somebody's own, under a name that is known."""


def residual():
    x = inputs = layers.Input((6, 6, 4))
    x = layers.Add(name="sum")([x, layers.Conv2D(4, 3, padding="same")(x)])
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))


def two_inputs():
    a, b = layers.Input((3,)), layers.Input((4,))
    return keras.Model([a, b], layers.Dense(2)(layers.Concatenate(name="join")([layers.Dense(5)(a), b])))


def two_outputs():
    x = layers.Dense(5)(inputs := layers.Input((3,)))
    return keras.Model(inputs, [layers.Dense(2)(x), layers.Dense(3)(x)])


def twice():
    inputs, dense = layers.Input((4,)), layers.Dense(4, name="same")
    return keras.Model(inputs, layers.Dense(2)(dense(dense(inputs))))


def by_operation():
    inputs = layers.Input((4,))
    return keras.Model(inputs, layers.Dense(2)(keras.ops.reshape(layers.Dense(4)(inputs), (-1, 4))))


def in_a_row(shape, *chain):
    return lambda: keras.Sequential([layers.Input(shape), *chain, layers.Flatten(), layers.Dense(2)])


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (residual, r"there is no rule for Add \(layer 'sum'\); prune\(model, X, y\)"),
        (two_inputs, r"there is no rule for Concatenate \(layer 'join'\)"),
        (two_outputs, "has 2 outputs"),
        (twice, r"Dense \(layer 'same'\) runs more than once"),
        (by_operation, "there is no rule for Reshape"),
        (in_a_row((6, 3), layers.LSTM(4)), "there is no rule for LSTM"),
        (in_a_row((6, 6, 1), layers.SeparableConv2D(4, 3)), "there is no rule for SeparableConv2D"),
        (in_a_row((6, 6, 1), layers.Conv2DTranspose(4, 3)), "there is no rule for Conv2DTranspose"),
        (in_a_row((6, 6, 1), Conv2D(4, 3)), "there is no rule for Conv2D"),
        (in_a_row((6, 6, 4), layers.Conv2D(4, 3, groups=2)), "has 2 groups"),
        (in_a_row((6,), keras.Sequential([layers.Dense(4)])), "there is no rule for Sequential"),
        (in_a_row((6,), layers.Dense(4), layers.Reshape((2, 2))), "comes after 'dense.*mixes its channels"),
        (in_a_row((6, 6, 1), layers.Conv2D(4, 3), layers.BatchNormalization(axis=1)), "normalises axis 1"),
        (in_a_row((6,), layers.Dense(2), layers.Rescaling([1.0, 2.0])), "has a scale for each channel"),
    ],
    ids=str,
)
def test_what_is_no_chain_is_refused_by_name(build, why):
    with pytest.raises(InputError, match=why):
        prune_filters(build())


def test_a_network_of_one_layer_has_no_filters_to_spare():
    with pytest.raises(InputError, match="no hidden Conv2D or Dense layer"):
        prune_filters(mlp(hidden=(), random_state=0))


def test_a_scale_for_each_channel_may_stand_at_the_start():
    rescaling = layers.Rescaling([1.0, 0.5, 2.0], offset=[0.0, 1.0, 0.0])
    model = keras.Sequential([layers.Input((4, 4, 3)), rescaling, layers.Conv2D(4, 3), layers.Flatten()])
    model.add(layers.Dense(2))
    assert prune_filters(model).keras_model.layers[1].filters == 2
