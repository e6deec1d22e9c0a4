"""The affine arithmetic: its properties, and the integers that the converter itself wrote."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from inferkit import InputError, optimize
from inferkit.datasets import load_signs
from inferkit.models import LiteRTModel, export_litert, import_keras, load_reference
from inferkit.optimize._signal import _open
from tests import networks

FINITE = st.floats(-1e6, 1e6, allow_nan=False, width=32)
BITS = st.integers(2, 16)


@given(
    x=hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=6), elements=FINITE), bits=BITS, even=st.booleans()
)
def test_no_number_moves_by_more_than_half_a_step(x, bits, even):
    scale, zero = optimize.affine_parameters(x.min(), x.max(), bits=bits, symmetric=even)
    q = optimize.quantize_affine(x, scale, zero, bits=bits, symmetric=even)
    moved = np.abs(optimize.dequantize(q, scale, zero) - x.astype(np.float64))
    # asymmetric: rounding the zero point may shift an end by half a step more
    assert moved.max() <= scale * (0.5 if even else 1.0) * (1 + 1e-5) + 1e-30


@given(x=hnp.arrays(np.float32, (4, 5), elements=FINITE), bits=BITS, even=st.booleans())
def test_zero_stays_zero_and_order_stays_order(x, bits, even):
    x[0, 0] = 0
    got = optimize.fake_quantize(x, bits=bits, symmetric=even)
    assert got[0, 0] == 0
    order = np.argsort(x, axis=None, kind="stable")
    assert (np.diff(got.ravel()[order]) >= 0).all()
    assert len(np.unique(got)) <= 2**bits


@given(x=hnp.arrays(np.float32, (3, 4, 2), elements=FINITE), axis=st.integers(-3, 2))
def test_a_scale_for_each_channel_is_the_same_as_channel_by_channel(x, axis):
    whole = optimize.fake_quantize(x, axis=axis)
    parts = [optimize.fake_quantize(part) for part in np.moveaxis(x, axis, 0)]
    np.testing.assert_array_equal(np.moveaxis(whole, axis, 0), np.stack(parts))


@given(
    q=hnp.arrays(np.int8, st.integers(1, 20), elements=st.integers(-128, 127)),
    scale=st.floats(2**-20, 2**10, width=32),
    zero=st.integers(-128, 127),
)
def test_integers_survive_the_way_there_and_back(q, scale, zero):
    real = optimize.dequantize(q, scale, zero)
    np.testing.assert_array_equal(optimize.quantize_affine(real, scale, zero), q)


def test_the_result_is_the_closed_form():
    x = np.array([-1.0, -0.4, 0.0, 0.3, 3.0])
    scale, zero = optimize.affine_parameters(-1, 3)
    assert scale == pytest.approx(4 / 255)
    assert zero == round(-128 + 1 / (4 / 255))
    np.testing.assert_array_equal(
        optimize.quantize_affine(x, scale, zero), [min(127, round(v / (4 / 255)) + zero) for v in x]
    )
    scale, zero = optimize.affine_parameters(-1, 3, symmetric=True)
    assert (scale, zero) == (pytest.approx(3 / 127), 0)


def test_a_bit_more_is_six_decibels():
    x = np.random.default_rng(0).uniform(-1, 1, 100_000)
    heard = [optimize.sqnr_db(x, optimize.fake_quantize(x, bits=bits)) for bits in range(4, 12)]
    np.testing.assert_allclose(np.diff(heard), 20 * np.log10(2), atol=0.6)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda o: o.affine_parameters(np.nan, 1), "finite ends with low ≤ high"),
        (lambda o: o.affine_parameters(2, 1), "finite ends with low ≤ high"),
        (lambda o: o.affine_parameters(0, 1, bits=1), "bits: expected a whole number from 2 to 16, got 1"),
        (lambda o: o.affine_parameters(0, 1, bits=True), "bits"),
        (lambda o: o.quantize_affine([np.inf], 1.0), "NaN or infinity"),
        (lambda o: o.quantize_affine([1.0], 0.0), "scale: expected finite numbers above 0"),
        (lambda o: o.quantize_affine(np.ones((2, 3)), np.ones(3)), "name the channels by axis="),
        (lambda o: o.quantize_affine(np.ones((2, 3)), np.ones(2), axis=1), "3 numbers, one for each channel of axis 1"),
        (lambda o: o.dequantize(np.ones((2, 3)), np.ones(3), axis=2), "axis: expected an axis of an array of shape"),
        (lambda o: o.fake_quantize([]), "at least one number"),
        (lambda o: o.fake_quantize([np.nan]), "NaN or infinity"),
        (lambda o: o.sqnr_db([1, 2], [1]), "two arrays of one shape"),
    ],
)
def test_what_cannot_be_done_is_refused(call, match):
    with pytest.raises(InputError, match=match):
        call(optimize)


@pytest.fixture(scope="module", params=networks.in_turn(["signs-cnn", "digits-mobilenet"], "signs-cnn"))
def pair(request, quantized_signs, digits):
    """Give an int8 file of a network, unseen rows, and the layers of both its files: float and int8."""
    if request.param == "signs-cnn":
        small, rows = quantized_signs["int8"], load_signs().images[:100] / np.float32(255)
    else:
        small, rows = optimize.quantize(load_reference(request.param, "keras"), calibration=digits[0][:200]), digits[1]
    plain, layers = (optimize.read_layers(one) for one in (export_litert(small.keras_model), small))
    assert [one.op for one in plain] == [one.op for one in layers]
    return small, rows[:100], list(zip(plain, layers, strict=True))


def test_weights_are_the_integers_that_the_converter_wrote(pair):
    looked_at = 0
    for plain, layer in pair[2]:
        if layer.weights is None:
            continue
        real, stored = plain.weights.real, layer.weights
        axis = stored.axis
        rest = tuple(i for i in range(real.ndim) if i != axis)
        scale, zero = optimize.affine_parameters(real.min(axis=rest), real.max(axis=rest), symmetric=True)
        np.testing.assert_allclose(scale, stored.scale, rtol=1e-5)
        ours = optimize.quantize_affine(real, scale, zero, axis=axis, symmetric=True)
        assert np.abs(ours.astype(int) - stored.data).max() <= 1
        assert (ours == stored.data).mean() > 0.99
        looked_at += stored.size
    assert looked_at > 20_000


def test_biases_are_int32_on_the_scale_of_the_sums(pair):
    for plain, layer in pair[2]:
        if layer.bias is None:
            continue
        assert layer.bias.dtype == "int32"
        on = layer.inputs[0].scale[0].astype(np.float64) * layer.weights.scale
        np.testing.assert_allclose(layer.bias.scale, on, rtol=1e-5)
        assert np.abs(layer.bias.data - np.rint(plain.bias.real / on)).max() <= 1


def test_a_whole_layer_in_integers_is_what_the_runtime_gives(pair):
    small, _, layers = pair
    rng = np.random.default_rng(5)
    interpreter = _open(small.content)
    info = interpreter.get_input_details()[0]
    kinds, worst = set(), 0
    for _ in range(5):
        interpreter.set_tensor(info["index"], rng.random(info["shape"], dtype=np.float32))
        interpreter.invoke()
        for _, layer in layers:
            if layer.weights is not None:
                seen = interpreter.get_tensor(layer.inputs[0].index)
                ours = optimize.integer_layer(layer, seen)
                off = np.abs(ours.astype(int) - interpreter.get_tensor(layer.output.index)).max()
                kinds.add(layer.op)
                worst = max(worst, int(off))
    assert worst <= 1
    assert kinds >= {"CONV_2D", "FULLY_CONNECTED"}


def test_depthwise_layers_with_strides_and_multipliers_too():
    layers = import_keras().layers
    inputs = layers.Input((10, 12, 3))  # one more zero behind than before
    x = layers.DepthwiseConv2D(3, (2, 2), "same", depth_multiplier=2, activation="relu6")(inputs)
    x = layers.Conv2D(4, (2, 3), (1, 2), "valid", activation="relu")(x)
    model = import_keras().Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    rows = np.random.default_rng(0).normal(0, 3, (120, 10, 12, 3)).astype(np.float32)
    small = optimize.quantize(model, calibration=rows)
    interpreter = _open(small.content)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], rows[:1])
    interpreter.invoke()
    done = []
    for layer in optimize.read_layers(small):
        if layer.weights is not None:
            ours = optimize.integer_layer(layer, interpreter.get_tensor(layer.inputs[0].index))
            theirs = interpreter.get_tensor(layer.output.index)
            assert ours.shape == theirs.shape
            assert np.abs(ours.astype(int) - theirs).max() <= 1
            done.append(layer.op)
    assert done == ["DEPTHWISE_CONV_2D", "CONV_2D", "FULLY_CONNECTED"]


def test_the_fast_kernels_give_the_same_answers_as_the_plain_ones(pair):
    """So that a layer by hand says something about what is served."""
    small, rows, _ = pair
    fast = LiteRTModel(small.content)
    slow = _open(small.content)
    info = slow.get_input_details()[0]
    same = 0
    for row in rows:
        slow.set_tensor(info["index"], row[None])
        slow.invoke()
        plain = slow.get_tensor(slow.get_output_details()[0]["index"])
        same += np.abs(plain - fast(row[None])).max() <= 2 / 256
    assert same >= 95  # of a hundred; a softmax between two classes makes much of one step


def test_an_integer_layer_refuses_what_it_cannot_compute(quantized_signs):
    half, small = (quantized_signs[scheme] for scheme in ("float16", "int8"))
    softmax = optimize.read_layers(small)[-1]
    with pytest.raises(InputError, match="expected CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED of an int8 file"):
        optimize.integer_layer(softmax, np.zeros((1, 4), np.int8))
    with pytest.raises(InputError, match="of an int8 file"):
        optimize.integer_layer(
            next(one for one in optimize.read_layers(half) if one.weights), np.zeros((1, 4), np.int8)
        )
    first = next(one for one in optimize.read_layers(small) if one.weights)
    with pytest.raises(InputError, match="q: expected int8 of shape"):
        optimize.integer_layer(first, np.zeros((1, 4), np.int8))
