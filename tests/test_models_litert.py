"""The LiteRT adapter: against TensorFlow, against LiteRT itself, and against damage."""

import contextlib
import copy
import io
import json
import os
import pickle
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

from inferkit import InputError, ModelFileError
from inferkit._base import bundled, sha256
from inferkit.models import LiteRTModel, load_reference

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def made(tensorflow, tmp_path_factory):
    """Convert two signatures into one file: two inputs and two outputs, and one of each."""
    tf = tensorflow

    class Pair(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 2], name="a"), tf.TensorSpec([None, 3], name="b")])
        def join(self, a, b):
            return {"total": tf.reduce_sum(a, 1) + tf.reduce_sum(b, 1), "product": a[:, :1] * b}

        @tf.function(input_signature=[tf.TensorSpec([None, 2], name="a")])
        def double(self, a):
            return {"twice": a * 2.0}

    folder = tmp_path_factory.mktemp("pair")
    pair = Pair()
    tf.saved_model.save(pair, str(folder), signatures={"join": pair.join, "double": pair.double})
    return tf.lite.TFLiteConverter.from_saved_model(str(folder)).convert()


@pytest.fixture(scope="module")
def int8(tensorflow):
    """Convert a dense layer to int8 inside and out; return the file and the layer's float answer."""
    tf = tensorflow
    keras = sys.modules["keras"]
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    X = np.random.default_rng(0).uniform(-1, 1, (200, 4)).astype(np.float32)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([row[None]] for row in X)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the converter warns of statistics that it then takes from the data set
        content = converter.convert()
    return content, X, model.predict_on_batch(X)


def test_it_gives_what_keras_gives(tensorflow):
    X = np.random.default_rng(0).uniform(0, 1, (37, 8, 8)).astype(np.float32)
    expected = load_reference("digits-cnn", format="keras").predict_on_batch(X)
    np.testing.assert_allclose(load_reference("digits-cnn")(X), expected, atol=1e-5)


def test_rows_do_not_depend_on_the_batch_they_come_in():
    model = load_reference("digits-cnn")
    X = np.random.default_rng(0).uniform(0, 1, (50, 8, 8)).astype(np.float32)
    together = model(X)
    np.testing.assert_array_equal(np.concatenate([model(row[None]) for row in X]), together)
    np.testing.assert_array_equal(np.concatenate([model.call_one(row[None]) for row in X]), together)
    np.testing.assert_array_equal(model(X[:7]), together[:7])


def test_several_inputs_and_outputs_by_place_and_by_name(made):
    model = LiteRTModel(made, signature="join")
    a, b = np.array([[1, 2], [3, 4.0]], dtype=np.float32), np.array([[1, 1, 1], [2, 0, 1.0]], dtype=np.float32)
    assert set(model.inputs) == {"a", "b"}
    assert model.inputs["b"].shape == (-1, 3)
    order = [{"a": a, "b": b}[name] for name in model.inputs]
    for answer in (
        model(*order),
        model(a=a, b=b),
        model(b=b, a=a),
        model(order[0], **{list(model.inputs)[1]: order[1]}),
    ):
        np.testing.assert_array_equal(answer["total"], [6, 10])
        np.testing.assert_array_equal(answer["product"], [[1, 1, 1], [6, 0, 3]])


def test_another_signature_of_the_same_file(made):
    model = LiteRTModel(made, signature="double")
    assert set(model.signatures) == {"join", "double"}
    assert list(model.inputs) == ["a"]
    for n in (1, 3, 1):
        np.testing.assert_array_equal(model(np.ones((n, 2))), 2 * np.ones((n, 2)))
    np.testing.assert_array_equal(model.call_one(np.ones((1, 2), dtype=np.float32)), [[2, 2]])


def test_both_signatures_work_side_by_side(made):
    join, double = LiteRTModel(made, signature="join"), LiteRTModel(made, signature="double")
    for _ in range(3):
        assert double(np.ones((1, 2))).tolist() == [[2, 2]]
        assert join(a=np.ones((1, 2)), b=np.ones((1, 3)))["total"].tolist() == [5]


@pytest.mark.parametrize(
    ("arrays", "named", "message"),
    [
        ((np.ones((1, 2)),), {}, "no array for the input"),
        ((), {"a": np.ones((1, 2)), "c": 1}, "expected one array for each input"),
        ((1, 2, 3), {}, "expected one array for each input"),
        ((np.ones((1, 2)),), {"a": 1, "b": 2}, "expected one array for each input"),
        ((), {"a": np.ones((1, 3)), "b": np.ones((1, 3))}, r"a: expected an array of shape \(any, 2\), got \(1, 3\)"),
        ((), {"a": np.ones(2), "b": np.ones((1, 3))}, r"a: expected an array of shape \(any, 2\), got \(2,\)"),
        ((), {"a": np.ones((0, 2)), "b": np.ones((0, 3))}, "at least one row"),
        ((), {"a": np.array([["x", "y"]]), "b": np.ones((1, 3))}, "a: expected float32, got str"),
        ((), {"a": np.ones((1, 2), dtype=bool), "b": np.ones((1, 3))}, "a: expected float32, got bool"),
    ],
)
def test_wrong_arrays_are_named(made, arrays, named, message):
    model = LiteRTModel(made, signature="join")
    with pytest.raises(InputError, match=message):
        model(*arrays, **named)
    assert model(a=np.ones((1, 2)), b=np.ones((1, 3)))["total"].tolist() == [5]


def test_quantized_tensors_speak_in_real_numbers(int8):
    content, X, expected = int8
    model = LiteRTModel(content)
    (taken,), (given,) = model.inputs.values(), model.outputs.values()
    assert taken.is_quantized
    assert taken.dtype == given.dtype == np.int8
    answer = model(X)
    assert answer.dtype == np.float32
    assert np.abs(answer - expected).max() < 4 * given.scale  # a few steps: weights are rounded too
    whole = LiteRTModel(content, dequantize=False)
    as_integers = whole(taken.quantize(X))
    assert as_integers.dtype == np.int8
    np.testing.assert_array_equal(given.dequantize(as_integers), answer)
    np.testing.assert_array_equal(model.call_one(X[:1]), answer[:1])


def test_rounding_is_to_the_nearest_and_stays_in_range(int8):
    (taken,) = LiteRTModel(int8[0]).inputs.values()
    values = np.linspace(-0.9, 0.9, 101).astype(np.float32)
    assert np.abs(taken.dequantize(taken.quantize(values)) - values).max() <= taken.scale * 0.501
    assert taken.quantize(np.array([-1e9, 1e9])).tolist() == [-128, 127]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_no_integer_can_stand_for_is_refused(int8, bad):
    model = LiteRTModel(int8[0])
    with pytest.raises(InputError, match="no integer can stand for"):
        model(np.full((1, 4), bad))
    with pytest.raises(InputError, match="expected int8 or real numbers, got int64"):
        model(np.ones((1, 4), dtype=np.int64))


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "2"])
def test_the_number_of_threads_is_checked(bad):
    with pytest.raises(InputError, match="num_threads: expected an integer ≥ 1"):
        LiteRTModel(bundled("digits-cnn.tflite"), num_threads=bad)


def test_threads_do_not_change_the_answer():
    X = np.random.default_rng(0).uniform(0, 1, (64, 8, 8)).astype(np.float32)
    path = bundled("digits-cnn.tflite")
    np.testing.assert_allclose(LiteRTModel(path, num_threads=2)(X), LiteRTModel(path)(X), atol=1e-6)


def test_an_unknown_signature_lists_those_there_are(made):
    with pytest.raises(InputError, match="'join'"):
        LiteRTModel(made, signature="predict")


def test_one_model_serves_many_threads():
    """Batches of several sizes at once: every caller gets the rows that it asked for."""
    model = load_reference("digits-cnn")
    X = np.random.default_rng(0).uniform(0, 1, (40, 8, 8)).astype(np.float32)
    expected = model(X)
    wrong = []

    def ask(n):
        for i in range(0, 36, 2):
            answer = model(X[i : i + n]) if n > 1 else model.call_one(X[i : i + 1])
            if not np.array_equal(answer, expected[i : i + n]):
                wrong.append((n, i))

    threads = [threading.Thread(target=ask, args=(n,)) for n in (1, 2, 3, 4) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_calls_run_side_by_side_each_with_an_interpreter_of_its_own():
    """Four calls that are all inside at once, twice: four interpreters, and no more the second time."""
    model = load_reference("digits-cnn")
    X = np.random.default_rng(0).uniform(0, 1, (8, 8, 8)).astype(np.float32)
    expected = model(X)
    inside = threading.Barrier(4, timeout=20)
    run, answers = model._run, []

    def meeting(lane, values):
        inside.wait()  # breaks unless four are here together
        found = run(lane, values)
        inside.wait()
        return found

    model._run = meeting
    for _ in range(2):
        threads = [threading.Thread(target=lambda: answers.append(model(X))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(answers) == 8
    assert all(np.array_equal(answer, expected) for answer in answers)
    assert len(model._free) == len({id(lane.interpreter) for lane in model._free}) == 4


def test_calls_one_after_the_other_share_one_interpreter():
    model = load_reference("digits-cnn")
    row = np.zeros((1, 8, 8), dtype=np.float32)
    for answer in (model, model.call_one) * 3:
        answer(row)
    with pytest.raises(InputError):
        model(np.zeros((1, 9, 9)))
    assert len(model._free) == 1


def test_an_interpreter_comes_back_from_a_call_that_fails(monkeypatch):
    model = load_reference("digits-cnn")
    row = np.zeros((1, 8, 8), dtype=np.float32)
    expected = model(row)
    (lane,) = model._free
    for call in (model, model.call_one):
        with monkeypatch.context() as patch:
            patch.setattr(lane, "invoke", lambda: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                call(row)
        assert model._free == [lane]
        np.testing.assert_array_equal(call(row), expected)


def test_a_model_travels_with_all_that_it_was_made_with(made, int8):
    model = LiteRTModel(made, signature="double", num_threads=2)
    model.name = "twice"
    for copied in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert (copied.name, copied.signature, copied.num_threads) == ("twice", "double", 2)
        assert copied.sha256 == model.sha256
        np.testing.assert_array_equal(copied(np.ones((3, 2))), model(np.ones((3, 2))))
    raw = pickle.loads(pickle.dumps(LiteRTModel(int8[0], dequantize=False)))
    assert raw(int8[1]).dtype == np.int8


def test_an_interrupt_between_two_sizes_does_not_mix_them(monkeypatch):
    model = load_reference("digits-cnn")
    X = np.random.default_rng(0).uniform(0, 1, (5, 8, 8)).astype(np.float32)
    expected = model(X)
    allocate = type(model._interpreter).allocate_tensors

    def interrupted(self):
        monkeypatch.setattr(type(model._interpreter), "allocate_tensors", allocate)
        raise KeyboardInterrupt

    monkeypatch.setattr(type(model._interpreter), "allocate_tensors", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model(X[:2])
    np.testing.assert_array_equal(model(X), expected)  # the size of before, which is no longer the size inside
    np.testing.assert_array_equal(model(X[:2]), expected[:2])


def test_it_is_silent_and_loses_no_message_of_others():
    code = (
        "import os, numpy as np; from inferkit.models import load_reference, _litert\n"
        "model = load_reference('digits-cnn'); model(np.zeros((1, 8, 8)))\n"
        "with _litert._quiet_stderr(): os.write(2, b'INFO: greeting\\nWARNING: mine\\n')\n"
        "os.write(2, b'after\\n')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stderr == "WARNING: mine\nafter\n"
    assert run.stdout == ""


def test_it_works_where_standard_error_is_closed():
    code = "import os; os.close(2); from inferkit.models import load_reference; print(load_reference('digits-cnn'))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.startswith("LiteRTModel('digits-cnn'")


# -- files -------------------------------------------------------------------------------------


def test_a_file_with_another_hash_is_refused(tmp_path):
    content = bundled("digits-cnn.tflite").read_bytes()
    assert LiteRTModel(content, sha256=sha256(content)).sha256 == sha256(content)
    changed = bytearray(content)
    changed[len(content) // 2] ^= 1  # LiteRT itself would run this one
    (tmp_path / "digits-cnn.tflite").write_bytes(changed)
    with pytest.raises(ModelFileError, match="is not the registered model: expected SHA-256"):
        LiteRTModel(tmp_path / "digits-cnn.tflite", sha256=sha256(content))


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\0" * 100, b"not a model at all", b"PK\3\4" + bytes(100)])
def test_what_is_no_model_is_refused(content):
    with pytest.raises(ModelFileError, match="is not a LiteRT model"):
        LiteRTModel(content)


def test_a_truncated_file_is_refused_wherever_it_ends():
    """In a process of its own: a runtime that reads past the end would take pytest with it."""
    code = (
        "import sys, json; from inferkit.models import LiteRTModel; from inferkit import ModelFileError\n"
        "from inferkit._base import bundled\n"
        "content = bundled('digits-cnn.tflite').read_bytes(); n = len(content); accepted = []\n"
        "for cut in [*range(8, n, n // 60), n - 1000, n - 100, n - 10]:\n"
        "    try: LiteRTModel(content[:cut]); accepted.append(cut)\n"
        "    except ModelFileError as error: assert 'cut short or damaged' in str(error)\n"
        "print(json.dumps(accepted))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=os.environ)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == []


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        LiteRTModel(tmp_path / "no.tflite")
