"""Post-training quantization: every scheme, networks of every kind, and what is refused."""

import io
import pickle
import re
import warnings
import zipfile

import numpy as np
import pytest

from inferkit import InputError, ModelFileError, Predictor, optimize
from inferkit.benchmark import compare
from inferkit.datasets import load_signs
from inferkit.models import ConversionError, LiteRTModel, export_litert, import_keras, load_reference, mlp, save_keras
from inferkit.optimize._report import make_report
from tests import networks
from tests.trained import SCHEMES

# how far a probability may move: untrained networks, whose outputs spread over less than half a unit
CLOSE = {"dynamic": 0.02, "float16": 0.002, "int8": 0.03, "int16x8": 0.02, "weight-only": 0.02}


@pytest.fixture(scope="module")
def signs():
    bunch = load_signs()
    return (bunch.images[::3] / np.float32(255)).astype(np.float32), bunch.target[::3]


@pytest.fixture(scope="module")
def quick(digits):
    """Give a network that is soon converted, rows to calibrate it on, and its int8 file."""
    network = load_reference("digits-mlp", "keras")
    return network, digits[0][:120], optimize.quantize(network, calibration=digits[0][:120])


def test_the_sign_reader_keeps_its_accuracy_in_every_scheme(quantized_signs, signs):
    X, y = signs
    right = {scheme: (model(X).argmax(axis=1) == y).mean() for scheme, model in quantized_signs.items()}
    wanted = (load_reference("signs-cnn")(X).argmax(axis=1) == y).mean()
    assert all(abs(one - wanted) < 0.01 for one in right.values()), right


def test_bytes_of_weights_are_what_the_types_say(quantized_signs):
    n, n_bias, n_channels = 30_444, 156, 156  # of signs-cnn, batch norms folded in: one bias for each filter
    bytes_of = {scheme: model.report.weight_bytes for scheme, model in quantized_signs.items()}
    assert bytes_of["float16"] == 2 * n
    assert bytes_of["int8"] == (n - n_bias) + 4 * n_bias  # biases are int32
    assert bytes_of["int16x8"] == (n - n_bias) + 8 * n_bias  # and int64
    assert bytes_of["weight-only"] == (n - n_bias) + 4 * n_bias  # and float32
    assert bytes_of["dynamic"] <= 1.05 * n + 4 * n_channels
    assert all(model.report.n_parameters == n for model in quantized_signs.values())


def test_multiplications_are_counted_as_the_shapes_say(quantized_signs):
    by_hand = 16 * 16 * 16 * 5 * 5 * 3 + 16 * 16 * 24 * 9 * 16 + 8 * 8 * 32 * 9 * 24 + 4 * 4 * 48 * 9 * 32
    assert {model.report.macs for model in quantized_signs.values()} == {by_hand + 192 * 24 + 24 * 12}


def test_sixteen_bits_of_activation_hear_less_noise_than_eight(quantized_signs):
    worst = {
        scheme: min(one.sqnr_db for one in quantized_signs[scheme].report.layers if one.sqnr_db is not None)
        for scheme in ("int8", "int16x8")
    }
    assert worst["int8"] > 15
    assert worst["int16x8"] > worst["int8"] + 3  # half the noise at most; what is left is that of the weights


def test_a_layer_s_error_is_the_one_that_numpy_finds(quick, digits):
    """The last layer, compared by the models' own answers."""
    network, _, small = quick
    rows = digits[1][:32]
    content = export_litert(network)
    report = make_report(small.content, "int8", reference=content, rows={"keras_tensor": rows})
    ours = optimize.sqnr_db(LiteRTModel(content)(rows), small(rows))
    assert report.layers[-1].op == "SOFTMAX"
    assert report.layers[-1].sqnr_db == pytest.approx(ours, abs=2)  # the plain kernels round otherwise than the fast


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_file_is_quantized_without_tensorflow(signs, sign_rows, scheme):
    X, y = signs
    file = load_reference("signs-cnn")
    small = optimize.quantize(file, scheme, calibration=sign_rows if "int" in scheme else None, X=X, y=y)
    assert small.report.file_bytes < 0.6 * file.size_bytes
    assert small.keras_model is None
    assert small.report.reference_accuracy == pytest.approx((file(X).argmax(axis=1) == y).mean())


@pytest.mark.rotated
def test_whatever_holds_the_model_gives_the_same_file(tmp_path, quick):
    network, rows, small = quick
    save_keras(network, tmp_path / "net.keras")
    for given in (tmp_path / "net.keras", (tmp_path / "net.keras").read_bytes(), small):
        again = optimize.quantize(given, calibration=rows)
        assert again.report.weight_bytes == small.report.weight_bytes
        np.testing.assert_array_equal(again(rows), small(rows))


def test_int8_at_both_ends(quick):
    network, rows, plain = quick
    small = optimize.quantize(network, "int8", calibration=rows, integer_io=True)
    assert {one.dtype.name for one in (*small.inputs.values(), *small.outputs.values())} == {"int8"}
    assert np.abs(small(rows) - plain(rows)).max() <= 1 / 256 + 1e-6


def test_the_result_goes_wherever_a_model_goes(tmp_path, quantized_signs, signs):
    X, y = signs
    small = quantized_signs["int8"]
    ledger = compare({"float": load_reference("signs-cnn"), "int8": small}, X[:300], y[:300], n=30)
    assert {entry.name for entry in ledger} == {"float", "int8"}
    assert (Predictor(small, labels=range(12)).predict_proba(X[:5]) == small(X[:5])).all()
    copy = pickle.loads(pickle.dumps(small))
    assert copy.report == small.report
    assert (copy(X[:5]) == small(X[:5])).all()
    small.save(tmp_path / "small.tflite")
    assert LiteRTModel(tmp_path / "small.tflite").sha256 == small.sha256
    assert "30,444 parameters" in repr(small)
    assert "<table>" in small._repr_html_()
    frame = small.report.to_frame()
    assert frame["n_parameters"].sum() == small.report.n_parameters
    with pytest.raises(InputError, match=r"ends in \.tflite"):
        small.save(tmp_path / "small.bin")


@pytest.mark.parametrize(
    ("kind", "scheme"),
    networks.in_turn(
        [
            *((kind, "int8") for kind in networks.ALL),
            ("depthwise", "dynamic"),
            ("words", "dynamic"),
            ("lstm", "float16"),
        ],
        ("two_inputs", "int8"),
    ),
)
def test_networks_of_every_kind(kind, scheme):
    model, rows = networks.ALL[kind]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optimize.CalibrationWarning)  # untrained: some classes are never answered
        small = optimize.quantize(model, scheme, calibration=rows if scheme == "int8" else None)
    given = rows if isinstance(rows, tuple) else (rows,)
    np.testing.assert_allclose(small(*given), networks.answers(model, rows), atol=CLOSE[scheme])
    assert small.report.n_parameters > 0.9 * (model.count_params() - sum(_not_folded(one) for one in model.layers))


def _not_folded(layer):
    """Count what conversion folds away: batch norms, and biases that are still zero."""
    biases = sum(int(np.prod(one.shape)) for one in layer.weights if "bias" in one.path and not np.any(one.numpy()))
    return layer.count_params() if "batch_norm" in layer.name else biases


def test_recurrent_layers_are_unrolled_and_count_every_step():
    model, rows = networks.recurrent()
    small = optimize.quantize(model, "float16")
    assert small.report.macs == 5 * (4 * 64 + 16 * 64) + 16 * 5
    np.testing.assert_allclose(small(rows), networks.answers(model, rows), atol=1e-3)
    assert model.layers[1].unroll is False  # the model given stays as it is


# what is refused


class Halve:
    """A stand-in that defines a custom layer once Keras is there."""

    def __new__(cls):
        class Half(import_keras().layers.Layer):
            def call(self, x):
                return x / 2

        return Half()


def functional(*inner, shape=(4,)):
    layers = import_keras().layers
    inputs = x = layers.Input(shape)
    for layer in inner:
        x = layer(x)
    return import_keras().Model(inputs, x, name="built")


def dense(n=3, **options):
    return import_keras().layers.Dense(n, **options)


def poisoned():
    model = mlp((4,), 3, random_state=0)
    kernel = model.layers[-1].kernel.numpy()
    kernel[0, 0] = np.nan
    model.layers[-1].kernel.assign(kernel)
    return model


def h5():
    return b"\x89HDF\r\n\x1a\n" + bytes(100)


def zipped():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("readme.txt", "no model")
    return out.getvalue()


ROWS = np.random.default_rng(0).random((120, 4), dtype=np.float32)

REFUSED = {
    "unknown scheme": (
        lambda: mlp((4,), 3),
        {"scheme": "int4"},
        InputError,
        "scheme: expected one of dynamic, float16",
    ),
    "no calibration": (
        lambda: mlp((4,), 3),
        {},
        InputError,
        r"calibration: int8 learns .* quantize\(model, \"int8\", ",
    ),
    "integer ends": (lambda: mlp((4,), 3), {"scheme": "float16", "integer_io": True}, InputError, "only int8 has"),
    "half a guard": (lambda: mlp((4,), 3), {"scheme": "float16", "X": ROWS}, InputError, "both or neither"),
    "a loss of more than all": (lambda: mlp((4,), 3), {"scheme": "float16", "max_loss": 1}, InputError, "max_loss"),
    "too few to judge": (
        lambda: mlp((4,), 3),
        {"scheme": "float16", "X": ROWS[:30], "y": np.zeros(30, int)},
        InputError,
        "30 rows cannot show a loss of 0.02",
    ),
    "other rows": (
        lambda: load_reference("digits-mlp"),
        {"scheme": "float16", "X": ROWS, "y": np.zeros(120, int)},
        InputError,
        r"X: expected an array of shape \(n, 8, 8\)",
    ),
    "fewer answers": (
        lambda: load_reference("digits-mlp"),
        {"scheme": "float16", "X": np.zeros((120, 8, 8)), "y": np.zeros(110, int)},
        InputError,
        "y: expected one for each of 120 rows, got 110",
    ),
    "no model": (lambda: 3, {"scheme": "float16"}, InputError, "model: expected a Keras model"),
    "no weights": (
        lambda: functional(import_keras().layers.ReLU()),
        {"scheme": "float16"},
        InputError,
        "has no weights, so there is nothing to make smaller",
    ),
    "NaN": (poisoned, {"scheme": "float16"}, InputError, "dense.*hold NaN or infinity; its training failed"),
    "open shape": (
        lambda: functional(dense(), shape=(None, 4)),
        {"scheme": "float16"},
        InputError,
        r"takes rows of shape \(any, 4\); .* build it with an Input of fixed size",
    ),
    "not built": (
        lambda: import_keras().Sequential([dense()]),
        {"scheme": "float16"},
        InputError,
        "no fixed inputs yet",
    ),
    "quantized": (
        lambda: load_reference("digits-cnn-int8"),
        {"scheme": "float16"},
        InputError,
        r"quantized already \(int8\); start from the float32 file",
    ),
    "h5": (h5, {"scheme": "float16"}, ModelFileError, "save the model again as .keras"),
    "a zip": (zipped, {"scheme": "float16"}, ModelFileError, "not a whole .keras file"),
    "anything": (lambda: b"anything else", {"scheme": "float16"}, InputError, "neither .keras nor .tflite inside"),
    "cut short": (
        lambda: load_reference("digits-cnn").content[:3000],
        {"scheme": "float16"},
        ModelFileError,
        "cut short or damaged",
    ),
    "an operation that LiteRT lacks": (
        lambda: functional(import_keras().layers.Lambda(lambda x: import_keras().ops.erfinv(x / 9)), dense()),
        {"scheme": "float16"},
        ConversionError,
        "Erfinv",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_quantized_is_refused_with_the_next_step(case):
    make, options, error, match = REFUSED[case]
    with pytest.raises(error, match=match):
        optimize.quantize(make(), options.pop("scheme", "int8") if "scheme" in options else "int8", **options)


def test_keras_own_quantization_is_seen():
    model = mlp((4,), 3, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that Keras leaves its input layer as it is
        model.quantize("int8")
    with pytest.raises(InputError, match="quantized already; start from the float model"):
        optimize.quantize(model, "float16")


def test_a_custom_layer_that_converts_is_taken_from_memory_and_refused_from_a_file(tmp_path):
    model = functional(dense(), Halve())
    small = optimize.quantize(model, "float16")
    np.testing.assert_allclose(small(ROWS), networks.answers(model, ROWS), atol=1e-3)
    save_keras(model, tmp_path / "custom.keras")
    with pytest.raises(ModelFileError, match="which is no layer of Keras or runs code; refused"):
        optimize.quantize(tmp_path / "custom.keras", "float16")


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (lambda rows: rows[:9], "at least 10 typical rows, got 9"),
        (lambda rows: np.zeros_like(rows), "got zeros only"),
        (lambda rows: np.ones_like(rows), "rows that are all alike"),
        (lambda rows: np.where(rows > 2, rows, np.nan), "NaN or infinity"),
        (lambda rows: rows[:, :4], r"expected an array of shape \(n, 8, 8\)"),
        (lambda rows: rows[:0], "n ≥ 1"),
    ],
)
def test_calibration_rows_that_would_ruin_the_model_are_refused(digits, rows, match):
    with pytest.raises(InputError, match=match):
        optimize.quantize(load_reference("digits-mlp"), calibration=rows(digits[0][:120]))


def test_calibration_rows_on_another_scale_are_refused_where_the_right_one_is_known(digits):
    X, unseen, _, truth = digits
    for factor in (255, 1 / 255):
        with pytest.raises(InputError, match="it was scaled otherwise; prepare both alike"):
            optimize.quantize(load_reference("digits-mlp"), calibration=factor * X[:120], X=unseen, y=truth)


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (lambda X, y: X[:60], "60 rows: ranges may be too narrow"),
        (lambda X, y: np.rint(255 * X[:120]), "whole numbers up to 255: were they scaled"),
        (lambda X, y: X[:250][y[:250] < 6], "sees no row of class .*take rows of every class"),
    ],
)
def test_calibration_rows_that_may_cost_accuracy_are_warned_of(digits, rows, match):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        optimize.quantize(load_reference("digits-mlp"), calibration=rows(digits[0], digits[2]))
    told = [str(one.message) for one in caught if one.category is optimize.CalibrationWarning]
    assert any(re.search(match, text) for text in told), told
    assert {one.filename for one in caught if one.category is optimize.CalibrationWarning} == {__file__}


def test_several_inputs_need_a_tuple():
    model, rows = networks.two_inputs()
    with pytest.raises(InputError, match="a tuple of 2 arrays, one for each input, got 1"):
        optimize.quantize(model, calibration=rows[0])


def test_the_guard_raises_where_too_much_is_lost_and_hands_the_model_over(signs):
    """The planted fault: ranges from pictures that are too dark, which the guard cannot see by itself."""
    X, y = signs
    dark = 0.36 * X[:120]  # near enough for the check of scales
    with pytest.raises(optimize.AccuracyLossError, match=r"lost, 0\.005 allowed.*layer furthest off is") as caught:
        optimize.quantize(load_reference("signs-cnn"), calibration=dark, X=X, y=y, max_loss=0.005)
    report = caught.value.model.report
    assert report.accuracy < report.reference_accuracy - 0.005


def test_the_guard_takes_another_score():
    model, rows = networks.autoencoder()
    file = export_litert(model)
    small = optimize.quantize(
        file, calibration=rows, X=rows, y=rows, score=lambda y, out: -float(((y - out) ** 2).mean())
    )
    assert small.report.accuracy == pytest.approx(small.report.reference_accuracy, rel=0.1)
    with pytest.raises(InputError, match="for other models give score="):
        optimize.quantize(file, calibration=rows, X=rows, y=rows)
