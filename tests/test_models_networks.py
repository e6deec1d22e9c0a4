"""The networks have the shapes they promise, train as seeded, and leave as whole files."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest

from inferkit import InputError, MissingExtraError, models
from inferkit.models import LiteRTModel, TrainingResult, cnn, mlp, mobilenet, save_keras, save_litert, to_litert, train

# --- building ---


@pytest.mark.parametrize("build", [mlp, cnn, mobilenet])
@pytest.mark.parametrize(("shape", "n_classes"), [((8, 8), 10), ((12, 10, 3), 4)])
def test_a_network_gives_probabilities(build, shape, n_classes):
    model = build(shape, n_classes, random_state=0)
    out = np.asarray(model(np.random.default_rng(0).random((5, *shape), dtype=np.float32)))
    assert out.shape == (5, n_classes)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("build", [mlp, cnn, mobilenet])
def test_the_seed_decides_the_first_weights(build):
    first, same, other = (build(random_state=seed).get_weights() for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, same, strict=True))
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("build", [mlp, cnn, mobilenet])
def test_layers_of_a_network_start_differently(build):
    kernels = [w.ravel()[:9] for w in build((8, 8), random_state=0).get_weights() if w.ndim > 1]
    directions = {tuple(np.round(k / np.abs(k).max(), 5)) for k in kernels}
    assert len(directions) == len(kernels)


def test_an_mlp_has_the_parameters_that_its_widths_imply():
    assert mlp((5,), 3, hidden=(7, 11)).count_params() == (5 + 1) * 7 + (7 + 1) * 11 + (11 + 1) * 3
    assert mlp((5,), 3, hidden=()).count_params() == (5 + 1) * 3


def test_a_cnn_has_the_parameters_that_its_filters_imply():
    convolutions = (9 * 1 + 1) * 4 + (9 * 4 + 1) * 6
    dense = (4 * 4 * 6 + 1) * 5 + (5 + 1) * 10
    assert cnn(filters=(4, 6), hidden=(5,)).count_params() == convolutions + dense


def test_dropout_works_in_training_only():
    model = cnn(dropout=0.5, random_state=0)
    X = np.random.default_rng(0).random((4, 8, 8), dtype=np.float32)
    quiet = cnn(random_state=0)
    np.testing.assert_array_equal(np.asarray(model(X)), np.asarray(quiet(X)))
    assert not np.array_equal(np.asarray(model(X, training=True)), np.asarray(model(X)))
    assert model.count_params() == quiet.count_params()


@pytest.mark.parametrize(("shape", "last_map"), [((8, 8), (4, 4)), ((96, 96), (6, 6)), ((32, 24, 3), (4, 3))])
def test_a_mobilenet_halves_the_map_only_while_it_is_large(shape, last_map):
    maps = [layer.output.shape[1:3] for layer in mobilenet(shape).layers if "conv2d" in layer.name]
    assert maps[-1] == last_map


def test_width_scales_the_mobilenet():
    sizes = [mobilenet(width=width).count_params() for width in (0.25, 0.5, 1.0, 2.0)]
    ratios = np.divide(sizes[1:], sizes[:-1])
    assert (ratios > 2).all()  # pointwise convolutions grow with the square
    assert (ratios < 4.1).all()
    channels = [layer.filters for layer in mobilenet(width=0.3).layers if hasattr(layer, "filters")]
    assert all(c % 8 == 0 for c in channels)
    assert min(channels) == 8


def test_a_mobilenet_filters_each_channel_by_itself():
    kinds = [type(layer).__name__ for layer in mobilenet().layers if "Conv" in type(layer).__name__]
    assert kinds == ["Conv2D", *["DepthwiseConv2D", "Conv2D"] * 7]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mlp(()), r"input_shape: expected the shape of one input"),
        (lambda: mlp((8, 0)), r"input_shape: expected integers above 0"),
        (lambda: mlp(8), r"input_shape: expected integers above 0.*got 8"),
        (lambda: mlp(hidden=(3.5,)), r"hidden: expected integers above 0.*got \(3.5,\)"),
        (lambda: mlp(n_classes=True), r"n_classes: expected integers above 0"),
        (lambda: cnn((64,)), r"input_shape: expected \(height, width\).*got \(64,\)"),
        (lambda: mobilenet((1, 2, 3, 4)), r"input_shape: expected \(height, width\)"),
        (lambda: cnn(dropout=1), r"dropout: expected a share from 0 to below 1.*got 1"),
        (lambda: cnn(dropout=-0.1), r"dropout: expected a share"),
        (lambda: mobilenet(width=0), r"width: expected a multiplier above 0.*got 0"),
        (lambda: mobilenet(width=float("inf")), r"width: expected a multiplier"),
        (lambda: mobilenet(width="half"), r"width: expected a multiplier.*got 'half'"),
        (lambda: mlp(random_state=-1), r"random_state: expected a seed"),
    ],
)
def test_a_size_that_makes_no_sense_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_without_tensorflow_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(MissingExtraError, match=r'pip install .*"tensorflow'):
        mlp()


def test_the_package_loads_no_framework_and_names_what_it_has():
    code = (
        "import sys, inferkit.models as m; assert set(m.__all__) <= set(dir(m));"
        "m.mlp, m.load_reference, m.list_reference();"
        "print({'keras', 'tensorflow', 'sklearn', 'pandas', 'matplotlib'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "set()\n"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = models.nothing


# --- training ---


def _task(n=120, seed=0):
    """Return rows that anything can learn: the class is the brightest of four."""
    X = np.random.default_rng(seed).random((n, 4), dtype=np.float32)
    return X, X.argmax(axis=1)


def test_training_learns_and_tells_how_it_went():
    model = mlp((4,), 4, random_state=0)
    result = train(
        model, *_task(), epochs=15, batch_size=8, random_state=0, learning_rate=0.01, validation_data=_task(50, 1)
    )
    assert result.epochs == len(result.seconds) == len(result.val_loss) == len(result.val_accuracy) == 15
    assert result.loss[-1] < result.loss[0] / 2
    assert result.accuracy[-1] > 0.85
    assert (result.n_rows, result.batch_size, result.random_state) == (120, 8, 0)
    assert result.total_seconds == pytest.approx(sum(result.seconds))
    assert all(s > 0 for s in result.seconds)
    X, y = _task(50, 1)
    assert result.val_accuracy[-1] == pytest.approx((np.asarray(model(X)).argmax(axis=1) == y).mean())


def _weights_after(digits, seed):
    model = cnn((8, 8), 10, filters=(4, 4), dropout=0.2, random_state=0)
    train(model, digits[0][:200], digits[2][:200], epochs=3, random_state=seed)
    return model.get_weights()


@pytest.mark.rotated
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(digits):
    first, same, other = (_weights_after(digits, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, same, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_training_neither_reads_nor_moves_the_global_seeds():
    import random

    np.random.seed(1)  # noqa: NPY002 - the global state is what is tested
    random.seed(1)
    expected = np.random.RandomState(1).random(), random.Random(1).random()
    train(mlp((4,), 4, random_state=0), *_task(), epochs=1, random_state=0)
    assert (np.random.random(), random.random()) == expected  # noqa: NPY002


def test_rows_are_seen_in_another_order_each_epoch(monkeypatch):
    model = mlp((4,), 4, random_state=0)
    seen, fit = [], model.fit
    monkeypatch.setattr(model, "fit", lambda X, y, **k: seen.append(X) or fit(X, y, **k))
    X, y = _task()
    train(model, X, y, epochs=2, random_state=0)
    assert not np.array_equal(seen[0], seen[1])
    for epoch in seen:
        np.testing.assert_array_equal(np.sort(epoch, axis=0), np.sort(X, axis=0))


@pytest.mark.rotated
def test_an_interrupt_leaves_the_weights_of_the_last_whole_epoch(monkeypatch):
    X, y = _task()
    whole, stopped = (mlp((4,), 4, random_state=0) for _ in range(2))
    train(whole, X, y, epochs=2, random_state=0)
    fit, calls = stopped.fit, []

    def interrupted(*args, **kwargs):
        result = fit(*args, **kwargs)
        calls.append(1)
        if len(calls) == 3:  # in the third epoch, when the weights have moved on
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(stopped, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(stopped, X, y, epochs=9, random_state=0)
    assert all(np.array_equal(a, b) for a, b in zip(whole.get_weights(), stopped.get_weights(), strict=True))
    assert train(stopped, X, y, epochs=1, random_state=0).epochs == 1  # the next call works


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_one_line_that_goes_away(monkeypatch, capsys):
    terminal = _Terminal()
    monkeypatch.delenv("INFERKIT_PROGRESS", raising=False)
    monkeypatch.setattr(sys, "stderr", terminal)
    train(mlp((4,), 4, random_state=0), *_task(), epochs=2, random_state=0)
    first, second, blank, end = terminal.getvalue().split("\r")[1:]
    assert first.startswith("epoch 1 of 2 ██████████░░░░░░░░░░ loss ")
    assert second.startswith("epoch 2 of 2 ████████████████████ loss ")
    assert "accuracy" in second
    assert blank.strip() == end == ""
    assert len(blank) >= len(second.rstrip())
    assert "\n" not in terminal.getvalue()
    assert capsys.readouterr().out == ""


def test_progress_is_silent_when_unwanted_or_unwatched(monkeypatch, capfd):
    train(mlp((4,), 4, random_state=0), *_task(), epochs=1)
    assert capfd.readouterr() == ("", "")
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    train(mlp((4,), 4, random_state=0), *_task(), epochs=1, progress=False)
    assert terminal.getvalue() == ""


def _bad(**changes):
    X, y = _task()
    arguments = {"X": X, "y": y, "epochs": 1, **changes}
    return lambda: train(mlp((4,), 4, random_state=0), **arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (_bad(X=np.zeros((120, 5))), r"X, y: expected X of shape \(n, 4\).*got \(120, 5\)"),
        (_bad(X=np.zeros((0, 4)), y=np.zeros(0, int)), r"n ≥ 1, got \(0, 4\)"),
        (_bad(X=np.full((120, 4), np.nan)), r"finite values, got NaN or infinity in X"),
        (_bad(y=np.zeros(119, int)), r"one target for each of 120 rows, got shape \(119,\)"),
        (_bad(y=np.zeros(120)), r"got shape \(120,\), dtype float64"),
        (_bad(y=np.full(120, 4)), r"expected classes 0 to 3, got 4 to 4"),
        (_bad(y=np.full(120, -1)), r"expected classes 0 to 3, got -1 to -1"),
        (_bad(epochs=0), r"expected epochs ≥ 1"),
        (_bad(batch_size=0), r"batch_size ≥ 1, got 1 and 0"),
        (_bad(validation_data=(np.zeros((2, 3)), [0, 1])), r"validation_data: expected X of shape"),
    ],
)
def test_rows_that_do_not_fit_are_refused_before_any_work(call, message):
    with pytest.raises(InputError, match=message):
        call()


RESULT = TrainingResult((2.0, 1.0), (0.1, 0.5), (2.5, 1.5), (0.2, 0.4), (0.25, 0.5), 100, 10, 0)


def test_a_result_is_frozen_and_says_the_outcome():
    with pytest.raises(AttributeError):
        RESULT.loss = ()
    expected = "TrainingResult(2 epochs of 100 rows, 0.8 s: loss 1.000, accuracy 0.500, validation accuracy 0.400)"
    assert repr(RESULT) == expected


def test_a_result_becomes_a_frame():
    frame = RESULT.to_frame()
    assert frame.index.tolist() == [1, 2]
    assert frame["val_loss"].tolist() == [2.5, 1.5]
    without = TrainingResult((2.0,), (0.1,), (), (), (0.2,), 1, 1, None).to_frame()
    assert list(without.columns) == ["loss", "accuracy", "seconds"]


def test_a_result_draws_its_losses():
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    assert RESULT.plot(ax) is ax
    drawn = {line.get_label(): line.get_xydata().tolist() for line in ax.lines}
    assert drawn == {"training": [[1, 2.0], [2, 1.0]], "validation": [[1, 2.5], [2, 1.5]]}
    assert ax.get_xlabel() == "epoch"
    assert "loss" in ax.get_ylabel()


# --- the way out ---


@pytest.fixture(scope="module")
def floats(small_cnn):
    return to_litert(small_cnn)


def test_litert_answers_as_keras_does(small_cnn, floats, digits):
    np.testing.assert_allclose(LiteRTModel(floats)(digits[1]), np.asarray(small_cnn(digits[1])), atol=1e-5)


def test_int8_is_smaller_takes_floats_and_nearly_agrees(small_cnn, floats, digits, capfd):
    X, unseen, _, _ = digits
    int8 = to_litert(small_cnn, calibration=X[:200])
    assert capfd.readouterr() == ("", "")
    assert len(int8) < 0.7 * len(floats)
    small = LiteRTModel(int8)
    assert {t.dtype for t in [*small.inputs.values(), *small.outputs.values()]} == {np.dtype(np.float32)}
    inside = [t["dtype"] for t in small._interpreter.get_tensor_details()]
    assert inside.count(np.float32) == 2  # weights and activations alike: the door alone is float
    assert np.abs(small(unseen) - LiteRTModel(floats)(unseen)).max() < 0.2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((50, 8, 8)), "rows that are all alike"),
        (np.full((50, 8, 8), np.nan), "finite values"),
        (np.ones((50, 64)), r"expected shape \(n, 8, 8\), n ≥ 2, got \(50, 64\)"),
        (np.ones((1, 8, 8)), r"n ≥ 2, got \(1, 8, 8\)"),
    ],
)
def test_calibration_rows_that_would_ruin_the_model_are_refused(rows, message):
    with pytest.raises(InputError, match=message):
        to_litert(mlp(random_state=0), calibration=rows)


def test_saved_files_are_what_was_trained(small_cnn, digits, tmp_path):
    X = digits[1][:20]
    save_keras(small_cnn, tmp_path / "a.keras")
    save_litert(small_cnn, tmp_path / "a.tflite")
    expected = np.asarray(small_cnn(X))
    again = models.load_keras((tmp_path / "a.keras").read_bytes())
    np.testing.assert_allclose(np.asarray(again(X)), expected, atol=1e-6)
    np.testing.assert_allclose(LiteRTModel(tmp_path / "a.tflite")(X), expected, atol=1e-5)
    assert sorted(os.listdir(tmp_path)) == ["a.keras", "a.tflite"]


@pytest.mark.parametrize(("save", "name"), [(save_keras, "a.keras"), (save_litert, "a.tflite")])
def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch, save, name):
    model = mlp(random_state=0)
    (tmp_path / name).write_bytes(b"old")

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    monkeypatch.setattr(type(model), "save", full)
    with pytest.raises(OSError, match="No space left"):
        save(model, tmp_path / name)
    assert (tmp_path / name).read_bytes() == b"old"
    assert os.listdir(tmp_path) == [name]
    with pytest.raises(OSError, match="folder does not exist"):
        save(model, tmp_path / "nowhere" / name)


def test_a_keras_file_is_named_so(tmp_path):
    with pytest.raises(InputError, match=r"ends in .keras, got .*\.h5"):
        save_keras(mlp(random_state=0), tmp_path / "a.h5")
