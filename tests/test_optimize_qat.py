"""Quantization-aware training: the folding, the fake rounding, and the file that comes of it."""

import numpy as np
import pytest

from inferkit import InputError, optimize
from inferkit.models import import_keras, load_reference, mobilenet, train
from inferkit.optimize._fold import fold_batch_norm
from inferkit.optimize._qat import with_fake_quantization
from inferkit.optimize._qat_layers import _activation_layer, weighted_kinds
from tests import networks


@pytest.mark.parametrize("make", [networks.residual, lambda: (networks.lived_in(mobilenet(random_state=0)), None)])
def test_folding_batch_norms_changes_no_answer(make):
    model, rows = make()
    rows = np.random.default_rng(1).random((40, *model.input_shape[1:]), dtype=np.float32) if rows is None else rows
    folded = fold_batch_norm(model)
    assert not any("BatchNorm" in type(one).__name__ for one in folded.layers)
    np.testing.assert_allclose(networks.answers(folded, rows), networks.answers(model, rows), atol=1e-5)


def test_a_batch_norm_that_follows_nothing_linear_stays():
    layers = import_keras().layers
    inputs = layers.Input((6,))
    x = layers.BatchNormalization()(layers.Dense(5, activation="relu")(layers.BatchNormalization()(inputs)))
    model = networks.lived_in(import_keras().Model(inputs, layers.Dense(3, activation="softmax")(x)))
    folded = fold_batch_norm(model)
    assert sum("BatchNorm" in type(one).__name__ for one in folded.layers) == 2
    rows = np.random.default_rng(1).random((40, 6), dtype=np.float32)
    np.testing.assert_allclose(networks.answers(folded, rows), networks.answers(model, rows), atol=1e-6)
    with pytest.raises(InputError, match="no rule for BatchNormalization"):  # the file would compute it in float
        optimize.quantization_aware_training(model, rows, np.arange(40) % 3, epochs=1, random_state=0)


def test_kernels_are_rounded_as_the_arithmetic_says():
    keras = import_keras()
    x = np.random.default_rng(0).normal(size=(3, 6, 6, 4)).astype(np.float32)
    for name, options, axis in (
        ("Conv2D", {"filters": 5, "kernel_size": 3}, 3),
        ("DepthwiseConv2D", {"kernel_size": 3}, 2),
    ):
        rounded, plain = weighted_kinds()[name](**options), getattr(keras.layers, name)(**options)
        rounded.build(x.shape)
        plain.build(x.shape)
        kernel, bias = rounded.get_weights()
        plain.set_weights([optimize.fake_quantize(kernel, axis=axis), bias])
        np.testing.assert_allclose(np.asarray(rounded(x)), np.asarray(plain(x)), atol=2e-5)
    rounded, plain = weighted_kinds()["Dense"](7), keras.layers.Dense(7)
    rounded.build((3, 4))
    plain.build((3, 4))
    kernel, bias = rounded.get_weights()
    plain.set_weights([optimize.fake_quantize(kernel), bias])
    np.testing.assert_allclose(np.asarray(rounded(x[:, 0, 0])), np.asarray(plain(x[:, 0, 0])), atol=2e-5)


def test_activations_are_rounded_between_the_ends_that_were_seen():
    layer = _activation_layer()()
    x = np.array([[-1.0, 0.3, 3.0]], dtype=np.float32)
    layer(x, training=True)
    assert (float(layer.low), float(layer.high)) == (-1, 3)
    scale, zero = optimize.affine_parameters(-1, 3)
    wanted = optimize.dequantize(optimize.quantize_affine(x, scale, zero), scale, zero)
    np.testing.assert_allclose(np.asarray(layer(x)), wanted, atol=1e-6)
    layer(10 * x, training=True)
    assert float(layer.high) == 30  # outward at once
    layer(x, training=True)
    assert float(layer.high) == pytest.approx(29.7)  # back by a hundredth
    assert float(layer.low) == pytest.approx(-9.9)
    layer(100 * x)
    assert float(layer.high) == pytest.approx(29.7)  # in inference not at all


def test_the_gradient_passes_the_rounding_and_stops_where_values_are_clipped():
    from inferkit.models import import_tensorflow

    tf = import_tensorflow()
    layer = _activation_layer()()
    layer(np.array([[0.0, 1.0]], dtype=np.float32), training=True)
    x = tf.constant([[0.31, 0.77, 5.0]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        out = tf.reduce_sum(layer(x))
    np.testing.assert_array_equal(tape.gradient(out, x), [[1, 1, 0]])


@pytest.fixture(scope="module", params=networks.in_turn(["digits-cnn", "digits-mobilenet"], "digits-cnn"))
def aware(request, digits):
    model, (X, _, y, _) = load_reference(request.param, "keras"), digits
    return optimize.quantization_aware_training(model, X[:480], y[:480], epochs=1, random_state=0)


def test_the_file_is_int8_throughout_and_answers_as_the_trained_network(aware, digits):
    _, unseen, _, truth = digits
    layers = optimize.read_layers(aware)
    assert {one.weights.dtype for one in layers if one.weights is not None} == {"int8"}
    assert all(one.output.dtype == "int8" for one in layers if one.macs)
    right = (aware(unseen).argmax(axis=1) == truth).mean()
    assert right > 0.9
    agree = (aware(unseen).argmax(axis=1) == networks.answers(aware.keras_model, unseen).argmax(axis=1)).mean()
    assert agree > 0.95
    assert min(one.sqnr_db for one in aware.report.layers if one.sqnr_db is not None) > 10


def test_the_integers_are_those_of_the_rounded_kernels(aware):
    """What was trained is what is in the file: the trained kernel, rounded by our own arithmetic."""
    first = next(one for one in optimize.read_layers(aware) if one.weights is not None)
    kernel = next(one for one in aware.keras_model.layers if one.weights).get_weights()[0]
    ours = optimize.fake_quantize(np.moveaxis(kernel, -1, 0), axis=0)
    np.testing.assert_allclose(first.weights.real, ours, atol=float(first.weights.scale.max()) * 1.01)


@pytest.mark.rotated
def test_it_learns_what_rounding_broke(monkeypatch, digits):
    """At three bits, where rounding is felt: the network that learned with it beats the one that did not."""
    monkeypatch.setattr("inferkit.optimize._qat_layers.BITS", 3)
    X, unseen, y, truth = digits
    model = fold_batch_norm(load_reference("digits-cnn", "keras"))

    def right(one):
        return (networks.answers(one, unseen).argmax(axis=1) == truth).mean()

    blind, aware = with_fake_quantization(model), with_fake_quantization(model)
    train(blind, X, y, epochs=1, learning_rate=0.0, random_state=0)  # sees the ranges, learns nothing
    train(aware, X, y, epochs=3, learning_rate=1e-3, random_state=0)
    assert right(blind) < right(model) - 0.15  # the fault is felt
    assert right(aware) > right(blind) + 0.1


@pytest.mark.parametrize("kind", networks.in_turn(["residual", "autoencoder", "two_inputs"]))
def test_networks_of_every_kind_are_trained_in_a_copy(kind):
    model, rows = networks.ALL[kind]()
    before = model.get_weights()
    loss, y = ("mse", rows) if kind == "autoencoder" else ("sparse_categorical_crossentropy", np.arange(200) % 3)
    small = optimize.quantization_aware_training(model, rows, y, epochs=1, loss=loss, random_state=0)
    given = rows if isinstance(rows, tuple) else (rows,)
    wanted = networks.answers(small.keras_model, rows)
    assert optimize.sqnr_db(wanted, small(*given)) > 20
    assert small.is_quantized
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_fake_rounding_keeps_names_and_weights():
    model = fold_batch_norm(networks.residual()[0])
    work = with_fake_quantization(model)
    for layer in model.layers:
        for ours, theirs in zip(layer.get_weights(), work.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    roundings = sum(type(one).__name__ == "Rounding" for one in work.layers)
    assert roundings == 6  # input, two convolutions' ends, sum, mean, logits


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        ("depthwise", "no rule for SeparableConv2D"),
        ("lstm", "no rule for LSTM"),
        ("words", "no rule for Embedding"),
        ("attention", "no rule for MultiHeadAttention|no rule for LayerNormalization"),
    ],
)
def test_layers_without_a_rule_are_refused_by_name(kind, match):
    model, rows = networks.ALL[kind]()
    with pytest.raises(InputError, match=match):
        optimize.quantization_aware_training(model, rows, np.arange(200) % 3, epochs=1)


def test_an_activation_without_a_rule_is_refused():
    layers = import_keras().layers
    inputs = layers.Input((4,))
    model = import_keras().Model(inputs, layers.Dense(3, activation="gelu")(inputs))
    with pytest.raises(InputError, match="no rule for the activation 'gelu'"):
        optimize.quantization_aware_training(model, np.eye(4, dtype=np.float32), [0, 1, 2, 0], epochs=1)
