"""One Predictor over every backend: the same answers, the same errors, the same file."""

import json
import threading
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from inferkit import InputError, ModelFileError, Predictor
from inferkit._base import sha256
from inferkit.datasets import load_digits, load_tumours
from inferkit.models import LiteRTModel, load_reference
from inferkit.predictor import (
    ArraySpec,
    Column,
    OutputSpec,
    Reshape,
    Scale,
    Signature,
    Softmax,
    TableSpec,
    TextSpec,
    digit_reader,
)

PICTURE = ArraySpec((8, 8), low=0, high=16)


@pytest.fixture(scope="module")
def digits():
    bunch = load_digits()
    return bunch.images, bunch.target


@pytest.fixture(scope="module")
def reader():
    return digit_reader()


@pytest.fixture(scope="module")
def logistic(digits):
    X, y = digits
    return LogisticRegression(max_iter=200).fit(X[:600].reshape(-1, 64) / 16, y[:600])


def estimator_reader(logistic):
    return Predictor(logistic, preprocess=[Scale(16), Reshape((64,))], signature=PICTURE)


# -- backends ----------------------------------------------------------------------------------


@pytest.mark.rotated
def test_keras_and_litert_give_the_same_probabilities(digits, reader, tensorflow):
    X, _ = digits
    keras = Predictor(
        load_reference("digits-cnn", format="keras"), preprocess=Scale(16), signature=PICTURE, labels=range(10)
    )
    np.testing.assert_allclose(keras.predict_proba(X[:100]), reader.predict_proba(X[:100]), atol=1e-5)
    assert keras.predict_one(X[3]) == reader.predict_one(X[3]) == 3


def test_an_estimator_answers_as_scikit_learn_does(digits, logistic):
    X, _ = digits
    ours = estimator_reader(logistic)
    flat = (X.reshape(-1, 64) / 16).astype(np.float32)
    np.testing.assert_array_equal(ours.predict(X), logistic.predict(flat))
    np.testing.assert_array_equal(ours.predict_proba(X), logistic.predict_proba(flat))
    assert ours.labels == tuple(range(10))


def test_onnx_runtime_gives_the_same_numbers(tmp_path):
    path, weights = write_onnx(tmp_path)
    ours = Predictor(str(path), labels=["a", "b", "c"])
    X = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    logits = X @ weights
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ours.predict_proba(X), expected, rtol=1e-5)
    assert ours.predict(X).tolist() == [["a", "b", "c"][i] for i in logits.argmax(axis=1)]


def write_onnx(folder):
    from onnx import TensorProto, helper, numpy_helper, save

    weights = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Softmax", ["z"], ["p"], axis=1)]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "m.onnx")
    return folder / "m.onnx", weights


def test_bring_your_own_model(digits):
    """The five lines that the README promises, with a model that nobody here has heard of."""
    X, y = digits
    means = np.stack([X[:600][y[:600] == k].mean(axis=0) for k in range(10)])

    def nearest_mean(pictures):
        distances = ((pictures[:, None] - means) ** 2).sum(axis=(2, 3)) / 100
        return np.exp(-distances) / np.exp(-distances).sum(axis=1, keepdims=True)

    mine = Predictor(nearest_mean, signature=ArraySpec((8, 8), low=0, high=16), labels=range(10))
    assert (mine.predict(X[600:]) == y[600:]).mean() > 0.8


def test_a_function_with_several_named_outputs():
    def both(X):
        return {"sum": X.sum(axis=1), "sign": np.column_stack([X.sum(axis=1) < 0, X.sum(axis=1) >= 0]).astype(float)}

    outputs = [OutputSpec("sum", unit="g"), OutputSpec("sign", "probabilities", labels=("−", "+"))]
    p = Predictor(both, signature=Signature(ArraySpec((2,)), outputs))
    answer = p.predict([[1, 2], [-3, 1]])
    assert answer["sum"].tolist() == [3, -2]
    assert answer["sign"].tolist() == ["+", "−"]
    assert p.predict_one([1, 2]) == {"sum": 3, "sign": "+"}
    assert p.predict_proba([[1, 2]]).tolist() == [[0, 1]]
    assert p.labels is None


def test_an_output_that_is_missing_is_named():
    p = Predictor(lambda X: {"a": X}, signature=Signature(ArraySpec((1,)), [OutputSpec("a"), OutputSpec("b")]))
    with pytest.raises(InputError, match=r"expected the outputs \['a', 'b'\], the model gave \['a'\]"):
        p.predict([[1.0]])


@pytest.mark.parametrize("model", [3, None, LogisticRegression, dict])
def test_what_is_no_model_is_refused(model):
    with pytest.raises(InputError, match="expected a Keras model"):
        Predictor(model)


def test_an_unfitted_estimator_is_refused_at_once():
    with pytest.raises(ValueError, match="not fitted"):
        Predictor(LogisticRegression())


def test_a_model_that_does_not_say_what_it_takes_needs_a_signature():
    with pytest.raises(InputError, match="give signature=ArraySpec"):
        Predictor(lambda X: X)


# -- labels and probabilities ------------------------------------------------------------------


def test_logits_are_not_taken_for_probabilities():
    logits = lambda X: np.tile([2.0, -1.0], (len(X), 1))  # noqa: E731
    p = Predictor(logits, signature=ArraySpec((1,)), labels=["no", "yes"])
    for ask in (p.predict_proba, p.predict):
        with pytest.raises(InputError, match=r"Logits need postprocess=\[Softmax\(\)\]"):
            ask([[0.0]])
    with pytest.raises(InputError, match="Softmax"):
        p.predict_one([0.0])
    fixed = Predictor(logits, postprocess=Softmax(), signature=ArraySpec((1,)), labels=["no", "yes"])
    np.testing.assert_allclose(fixed.predict_proba([[0.0]]), [[1 / (1 + np.exp(-3)), 1 / (1 + np.exp(3))]])
    assert fixed.predict_one([0.0]) == "no"


def test_nan_from_a_model_is_no_answer():
    p = Predictor(lambda X: np.full((len(X), 2), np.nan), signature=ArraySpec((1,)), labels=["no", "yes"])
    for ask in (lambda: p.predict_one([0.0]), lambda: p.predict([[0.0]]), lambda: p.predict_proba([[0.0]])):
        with pytest.raises(InputError, match="expected probabilities"):
            ask()


def test_labels_in_place_of_probabilities_are_refused():
    p = Predictor(lambda X: np.ones(len(X), dtype=int), signature=ArraySpec((1,)), labels=[0, 1])
    with pytest.raises(InputError, match="one for each label"):
        p.predict_one([0.0])


def test_probabilities_are_asked_in_vain_of_a_model_that_gives_values(digits):
    X, y = digits
    p = Predictor(LinearRegression().fit(X[:50].reshape(-1, 64), y[:50]))
    with pytest.raises(InputError, match="gives no probabilities"):
        p.predict_proba(X[:1].reshape(1, 64))


def test_an_estimator_without_probabilities_gives_its_labels(digits):
    X, y = digits
    names = np.array([f"digit {k}" for k in y])
    svc = LinearSVC().fit(X[:200].reshape(-1, 64), names[:200])
    p = Predictor(svc)
    assert p.predict(X[:5].reshape(-1, 64)).tolist() == svc.predict(X[:5].reshape(-1, 64)).tolist()
    with pytest.raises(InputError, match="gives no probabilities"):
        p.predict_proba(X[:1].reshape(1, 64))


def test_labels_are_labels_and_not_positions(digits):
    X, y = digits
    only = np.isin(y, [3, 8])
    p = Predictor(LogisticRegression(max_iter=300).fit(X[only].reshape(-1, 64), y[only]))
    assert set(p.predict(X[only].reshape(-1, 64)).tolist()) == {3, 8}
    assert p.predict_one(X[3].reshape(64)) == 3


@pytest.mark.parametrize(
    ("kind", "labels"), [("probabilities", None), ("values", ("a",)), ("labels", ("a",)), ("x", None)]
)
def test_an_output_is_of_one_kind(kind, labels):
    with pytest.raises(InputError):
        OutputSpec("o", kind, labels)


def test_a_label_given_twice_is_refused():
    with pytest.raises(InputError, match="each label once"):
        OutputSpec("o", "probabilities", ("a", "a"))


# -- the door ----------------------------------------------------------------------------------

GOOD = np.full((8, 8), 7.0, dtype=np.float32)


def spoiled(value):
    picture = GOOD.copy()
    picture[2, 3] = value
    return picture


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (GOOD[:7], r"one row of shape \(8, 8\), got \(7, 8\)"),
        (GOOD[None], r"use predict\(X\)"),
        (spoiled(np.nan), r"values from 0 to 16 ink, got nan at index \(2, 3\)"),
        (spoiled(np.inf), r"got inf at index \(2, 3\)"),
        (spoiled(-np.inf), r"got -inf at index \(2, 3\)"),
        (spoiled(17), r"got 17 at index \(2, 3\)"),
        (spoiled(-1), r"got -1 at index \(2, 3\)"),
        (np.full((8, 8), "7"), "expected float32, got str"),
        (np.full((8, 8), None), "expected float32, got object"),
        (np.full((8, 8), True), "expected float32, got bool"),
        (np.full((8, 8), 1j), "expected float32, got complex128"),
        ([[1, 2], [3]], "unequal length"),
        (7, r"got \(\)"),
        ("7", "expected float32, got str"),
    ],
)
def test_one_bad_picture_is_refused(reader, x, message):
    with pytest.raises(InputError, match=message):
        reader.predict_one(x)
    assert reader.predict_one(GOOD) in range(10)  # the next call works


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (GOOD, r"rows of shape \(n, 8, 8\), got \(8, 8\); for one row use predict_one"),
        (np.zeros((0, 8, 8)), "at least one row"),
        (np.zeros((2, 64)), r"got \(2, 64\)"),
        (np.stack([GOOD, spoiled(np.nan)]), r"got nan at index \(1, 2, 3\)"),
        (np.stack([spoiled(99), spoiled(99)]), "and 1 more"),
    ],
)
def test_a_bad_batch_is_refused(reader, X, message):
    for ask in (reader.predict, reader.predict_proba, reader.trace):
        with pytest.raises(InputError, match=message):
            ask(X)


@given(npst.arrays(npst.floating_dtypes(sizes=(32, 64)) | npst.integer_dtypes(), (2, 2)))
def test_the_quick_check_and_the_slow_one_agree(x):
    """`check_one` accepts exactly what is finite and in range; `check` says the same of a batch of one."""
    spec = ArraySpec((2, 2), low=-3, high=250)
    fine = bool(np.isfinite(x.astype(np.float64)).all() and (x >= -3).all() and (x <= 250).all())
    for check, rows in ((spec.check_one, x), (spec.check, x[None])):
        if fine:
            got = check(rows)
            assert got.dtype == np.float32
            np.testing.assert_array_equal(got[0], x.astype(np.float32))
        else:
            with pytest.raises(InputError):
                check(rows)


@given(npst.arrays(np.float32, (3,)))
def test_without_limits_all_finite_numbers_pass_and_no_others(x):
    if np.isfinite(x).all():
        np.testing.assert_array_equal(ArraySpec((3,)).check_one(x)[0], x)
    else:
        with pytest.raises(InputError, match="finite values"):
            ArraySpec((3,)).check_one(x)


def test_integers_are_not_wrapped_round():
    with pytest.raises(InputError, match="do not fit"):
        ArraySpec((2,), "uint8").check_one(np.array([3, 300], dtype=np.uint16))
    with pytest.raises(InputError, match="expected uint8, got float64"):
        ArraySpec((2,), "uint8").check_one([0.5, 1.0])


@pytest.mark.parametrize("bad", [{"shape": (0,)}, {"shape": (2,), "low": 1, "high": 0}, {"shape": (-1,)}])
def test_a_contract_that_nothing_can_meet_is_refused(bad):
    with pytest.raises(InputError):
        ArraySpec(**bad)


PATIENT = TableSpec([Column("age", "years", 0, 120), Column("smoker", categories=("no", "yes"))])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"age": [40]}, r"missing: \['smoker'\]"),
        ({"age": [40], "smoker": ["no"], "name": ["A"]}, r"unknown: \['name'\]"),
        ({"age": [40, 41], "smoker": ["no"]}, "columns of one length"),
        ({"age": [140], "smoker": ["no"]}, "'age': expected values from 0 to 120 years, got 140 in row 0"),
        ({"age": [np.nan], "smoker": ["no"]}, "got nan in row 0"),
        ({"age": ["old"], "smoker": ["no"]}, "'age': expected numbers in years"),
        ({"age": [True], "smoker": ["no"]}, "expected numbers"),
        ({"age": [40], "smoker": ["maybe"]}, "expected one of 'no', 'yes', got 'maybe' in row 0"),
        ({"age": [40], "smoker": [1]}, "got 1 in row 0"),
        ({"age": [], "smoker": []}, "empty table"),
        ([{"age": 1, "smoker": "no"}, {"age": 2}], r"row 1: missing \['smoker'\]"),
        ([[1]], "row 0: expected 2 values"),
        ("age", "expected a table"),
        (7, "expected a table"),
    ],
)
def test_a_bad_table_is_refused(rows, message):
    with pytest.raises(InputError, match=message):
        PATIENT.check(rows)


def test_a_table_comes_in_four_shapes():
    import pandas as pd

    columns = {"age": [40, 50], "smoker": ["no", "yes"]}
    records = [{"smoker": "no", "age": 40}, {"age": 50, "smoker": "yes"}]
    expected = [[40, "no"], [50, "yes"]]
    for rows in (columns, records, pd.DataFrame(columns)[["smoker", "age"]], [[40, "no"], (50, "yes")]):
        assert PATIENT.check(rows).tolist() == expected
    assert PATIENT.check_one({"smoker": "yes", "age": 50}).tolist() == [[50, "yes"]]
    assert PATIENT.check_one([50, "yes"]).tolist() == [[50, "yes"]]


def test_an_estimator_over_a_table_with_units():
    data = load_tumours()
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(data.data, data.target)
    spec = TableSpec([Column(name, low=0) for name in data.feature_names])
    p = Predictor(model, signature=spec)
    row = dict(zip(data.feature_names, data.data[0].tolist(), strict=True))
    assert p.predict_one(row) == model.predict(data.data[:1])[0]
    np.testing.assert_array_equal(p.predict_proba(data.data[:9]), model.predict_proba(data.data[:9].astype(float)))
    with pytest.raises(InputError, match="finite values ≥ 0, got -1"):
        p.predict_one(row | {"mean radius": -1})


@pytest.mark.parametrize(
    ("texts", "message"),
    [("one", "list of texts"), ([], "empty"), ([3], "got int"), (["a" * 21], "at most 20 characters")],
)
def test_bad_texts_are_refused(texts, message):
    with pytest.raises(InputError, match=message):
        TextSpec(max_chars=20).check(texts)


def test_an_estimator_over_texts():
    from sklearn.feature_extraction.text import CountVectorizer

    texts = ["good day", "good film", "bad day", "bad film"]
    model = make_pipeline(CountVectorizer(), LogisticRegression()).fit(texts, ["+", "+", "−", "−"])
    p = Predictor(model, signature=TextSpec())
    assert p.predict_one("a good dog") == "+"
    assert p.predict(["a bad dog", "good"]).tolist() == ["−", "+"]


# -- steps -------------------------------------------------------------------------------------


def test_the_stages_can_be_looked_at_one_by_one(digits, reader):
    X, _ = digits
    trace = reader.trace(X[:2])
    assert [s.name for s in trace.stages] == ["check", "Scale", "litert", "read"]
    np.testing.assert_array_equal(trace["Scale"].value, X[:2] / 16)
    np.testing.assert_array_equal(trace["litert"].value, reader.predict_proba(X[:2]))
    np.testing.assert_array_equal(trace["read"].value, reader.predict(X[:2]))
    assert all(s.time_us > 0 for s in trace.stages)
    assert list(trace.to_frame().columns) == ["stage", "gives", "time_us"]
    assert "float32 (2, 10)" in repr(trace)
    assert "<td>float32 (2, 10)</td>" in trace._repr_html_()
    with pytest.raises(KeyError, match="no stage 'scale'"):
        trace["scale"]


def test_a_step_that_is_no_callable_is_refused():
    for bad in ([Scale], ["scale"], 3):
        with pytest.raises((InputError, TypeError)):
            Predictor(lambda X: X, preprocess=bad, signature=PICTURE)


@pytest.mark.parametrize("bad", [lambda: Scale(0), lambda: Scale(np.nan), lambda: Softmax(0), lambda: Softmax(-1)])
def test_steps_check_their_parameters(bad):
    with pytest.raises(InputError):
        bad()


def test_an_interrupt_leaves_the_predictor_usable(digits, reader):
    X, y = digits
    fuse = iter([True])

    def interrupted(batch):
        if next(fuse, False):
            raise KeyboardInterrupt
        return batch

    p = Predictor(
        load_reference("digits-cnn"),
        preprocess=[Scale(16)],
        postprocess=interrupted,
        signature=PICTURE,
        labels=range(10),
    )
    with pytest.raises(KeyboardInterrupt):
        p.predict_one(X[0])
    assert p.predict_one(X[0]) == y[0]


def test_one_predictor_serves_many_threads(digits, reader):
    X, _ = digits
    expected = reader.predict(X[:200]).tolist()
    wrong = []

    def ask(start):
        for _ in range(3):
            for i in range(start, 200, 4):
                wrong.extend([i] * (reader.predict_one(X[i]) != expected[i]))
            if reader.predict(X[start : start + 50]).tolist() != expected[start : start + 50]:
                wrong.append(-start)

    threads = [threading.Thread(target=ask, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# -- the file ----------------------------------------------------------------------------------


def saved(predictor, folder):
    path = folder / "p.predictor"
    predictor.save(path)
    return path


def test_what_is_loaded_answers_as_what_was_saved(digits, reader, logistic, tmp_path, tensorflow):
    X, _ = digits
    keras = Predictor(
        load_reference("digits-mlp", format="keras"), preprocess=Scale(16), signature=PICTURE, labels=range(10)
    )
    int8 = digit_reader("digits-cnn-int8")
    for predictor in (reader, int8, estimator_reader(logistic), keras):
        again = Predictor.load(saved(predictor, tmp_path))
        np.testing.assert_array_equal(again.predict_proba(X[:50]), predictor.predict_proba(X[:50]))
        assert again.signature == predictor.signature
        assert again.preprocess == predictor.preprocess
        assert again.name == predictor.name
        with pytest.raises(InputError, match="got 99"):
            again.predict_one(spoiled(99))


def test_an_onnx_predictor_is_saved_too(tmp_path):
    path, _ = write_onnx(tmp_path)
    p = Predictor(path, labels=["a", "b", "c"])
    X = np.eye(4, dtype=np.float32)
    np.testing.assert_array_equal(Predictor.load(saved(p, tmp_path)).predict_proba(X), p.predict_proba(X))


def test_tables_and_texts_keep_their_contract(tmp_path):
    data = load_tumours()
    spec = TableSpec([Column(name, "px", 0, 1e4) for name in data.feature_names])
    p = Predictor(LogisticRegression(max_iter=10_000).fit(data.data, data.target), signature=spec)
    assert Predictor.load(saved(p, tmp_path)).signature == p.signature


def test_the_same_predictor_gives_the_same_bytes(reader, tmp_path):
    first = saved(reader, tmp_path).read_bytes()
    assert saved(reader, tmp_path).read_bytes() == first


def test_a_function_is_not_saved(tmp_path):
    def my_step(X):
        return X

    p = Predictor(load_reference("digits-cnn"), preprocess=[my_step], signature=PICTURE, labels=range(10))
    with pytest.raises(InputError, match="the step 'my_step' cannot be saved"):
        p.save(tmp_path / "p")
    with pytest.raises(InputError, match="is a function and cannot be saved"):
        Predictor(my_step, signature=PICTURE).save(tmp_path / "p")
    assert list(tmp_path.iterdir()) == []


def test_a_step_of_a_false_name_is_not_saved(tmp_path):
    class Scale:
        def __call__(self, X):
            return X

    p = Predictor(load_reference("digits-cnn"), preprocess=[Scale()], signature=PICTURE, labels=range(10))
    with pytest.raises(InputError, match="'Scale' cannot be saved"):
        p.save(tmp_path / "p")


def test_an_estimator_with_a_type_of_somebodys_own_is_not_saved(tmp_path):
    from sklearn.preprocessing import FunctionTransformer

    model = make_pipeline(FunctionTransformer(spoiled_column), LinearRegression()).fit([[0.0], [1]], [0, 1])
    p = Predictor(model, signature=ArraySpec((1,), "float64"))
    with pytest.raises(InputError, match="types that no safe file can"):
        p.save(tmp_path / "p")
    assert list(tmp_path.iterdir()) == []


def spoiled_column(X):
    return X


def test_no_pickle_is_inside(reader, logistic, tmp_path):
    for predictor in (reader, estimator_reader(logistic)):
        with zipfile.ZipFile(saved(predictor, tmp_path)) as archive:
            assert not [name for name in archive.namelist() if "pkl" in name or "pickle" in name]
            manifest = json.loads(archive.read("manifest.json"))
        assert all(len(f["sha256"]) == 64 for f in manifest["files"].values())


@settings(deadline=None, max_examples=200)
@given(position=st.floats(0, 1, exclude_max=True), flip=st.integers(0, 255))
def test_a_damaged_file_is_refused_or_answers_the_same(reader_file, position, flip):
    """Whatever byte is changed (or, with flip 0, cut off with all behind it): no other answers come out."""
    folder, X, expected = reader_file
    content = (folder / "p.predictor").read_bytes()
    place = int(position * len(content))
    damaged = content[:place] + (bytes([content[place] ^ flip]) + content[place + 1 :] if flip else b"")
    (folder / "damaged.predictor").write_bytes(damaged)
    try:
        again = Predictor.load(folder / "damaged.predictor")
    except ModelFileError:
        return
    np.testing.assert_array_equal(again.predict_proba(X), expected)


@pytest.fixture(scope="module")
def reader_file(reader, digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    X = digits[0][:4]
    saved(reader, folder)
    return folder, X, reader.predict_proba(X)


def rewritten(path, change):
    """Return `path` with its manifest changed and the rest as it was."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(parts["manifest.json"])
    change(manifest, parts)
    parts["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, p: m["preprocess"].append({"step": "os.system"}), "a step 'os.system'"),
        (lambda m, p: m["preprocess"].append({"step": "Scale", "times": 3}), "wrong parameters"),
        (lambda m, p: m.update(backend="pickle"), "of kind 'pickle'"),
        (lambda m, p: m.update(version=99), "no predictor of version"),
        (lambda m, p: m["files"]["model.tflite"].update(bytes=5), "larger than announced"),
        (lambda m, p: p.update(extra=b"x"), "does not name"),
        (lambda m, p: m.pop("signature"), "not one that this version can read"),
        (lambda m, p: p.update({"model.tflite": p["model.tflite"][:-9] + bytes(9)}), "SHA-256 differs"),
    ],
)
def test_a_manifest_that_lies_is_refused(reader, tmp_path, change, message):
    with pytest.raises(ModelFileError, match=message):
        Predictor.load(rewritten(saved(reader, tmp_path), change))


def test_a_part_that_unpacks_to_more_than_announced_is_not_unpacked(reader, tmp_path):
    path = saved(reader, tmp_path)
    with zipfile.ZipFile(path) as archive:
        manifest = archive.read("manifest.json")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", manifest)
        archive.writestr("model.tflite", bytes(200_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match="larger than announced"):
            Predictor.load(path)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_a_file_with_another_hash_is_refused(reader, tmp_path):
    with pytest.raises(ModelFileError, match="expected SHA-256 000000000000"):
        Predictor.load(saved(reader, tmp_path), sha256="0" * 64)


def test_saving_into_no_folder_leaves_nothing(reader, tmp_path):
    with pytest.raises(FileNotFoundError, match="the folder does not exist"):
        reader.save(tmp_path / "no" / "p")


def test_a_missing_extra_is_named(reader, logistic, tmp_path, monkeypatch):
    import sys

    path = saved(estimator_reader(logistic), tmp_path)
    for name in [n for n in sys.modules if n.partition(".")[0] == "skops"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "skops", None)
    with pytest.raises(ImportError, match='pip install "skops>='):
        Predictor.load(path)


# -- a compiled posterior ----------------------------------------------------------------------


def posterior(family="bernoulli", **facts):
    from inferkit.bayes import CompiledPosterior

    rng = np.random.default_rng(0)
    parts = {"intercept": rng.normal(0, 0.5, 200), "coef": rng.normal([2, -1], 0.5, (200, 2))}
    if family != "bernoulli":
        parts["sigma"] = rng.uniform(0.5, 1, 200)
    if family == "hierarchical-normal":
        parts |= {"intercept": rng.normal([0, 3], 0.5, (200, 2)), "coef": rng.normal(1, 0.5, (200, 2, 2))}
        parts |= {"group_mean": rng.normal(1, 0.5, (200, 3)), "group_sd": np.ones((200, 3))}
    return CompiledPosterior(family, parts, **facts)


ROWS = np.array([[1.0, 0.5], [-1.0, 2.0]])
WARDS = {"groups": ["north", "south"], "group_column": "ward", "feature_names": ["age", "dose", "ward"]}


def test_a_posterior_answers_as_it_does_alone():
    model = posterior(classes=["well", "ill"])
    p = Predictor(model)
    assert (p.backend.kind, p.labels, p.name) == ("posterior", ("well", "ill"), "posterior")
    assert p.signature.input == ArraySpec((2,), "float64")
    np.testing.assert_array_equal(p.predict_proba(ROWS), model.predict_proba(ROWS))
    assert p.predict(ROWS).tolist() == model.predict(ROWS).tolist() == [p.predict_one(row) for row in ROWS]
    line = posterior("normal")
    np.testing.assert_array_equal(Predictor(line).predict(ROWS), line.predict(ROWS))
    assert Predictor(line).predict_one(ROWS[0]) == pytest.approx(line(ROWS)[0])
    with pytest.raises(InputError, match=r"expected one row of shape \(2,\)"):
        p.predict_one([1.0])
    with pytest.raises(InputError, match="gives no probabilities"):
        Predictor(line).predict_proba(ROWS)


def test_a_posterior_may_answer_with_its_interval():
    p = Predictor(posterior("normal").with_interval(0.8))
    answer = p.predict(ROWS)
    assert list(answer) == ["mean", "lower", "upper"]
    assert (answer["lower"] < answer["mean"]).all()
    assert (answer["mean"] < answer["upper"]).all()
    assert p.predict_one(ROWS[0]) == pytest.approx({name: values[0] for name, values in answer.items()})
    sorted_out = Predictor(posterior().with_interval(0.8))
    assert sorted_out.predict_one(ROWS[0])["mean"] == 1
    assert sorted_out.predict(ROWS)["lower"].shape == (2, 2)
    np.testing.assert_array_equal(sorted_out.predict_proba(ROWS), posterior()(ROWS))


def test_a_posterior_with_named_features_may_have_a_table_for_a_contract():
    model = posterior("normal", feature_names=["age", "dose"])
    p = Predictor(model, signature=TableSpec([Column(name, low=-9, high=9) for name in model.feature_names]))
    table = {"dose": ROWS[:, 1], "age": ROWS[:, 0]}
    np.testing.assert_array_equal(p.predict(table), model(ROWS))


def test_a_group_is_a_word_of_the_contract_and_a_new_one_is_said_to_be_new():
    model = posterior("hierarchical-normal", **WARDS)
    p = Predictor(model)
    assert p.signature.input.columns[2].categories == ("north", "south", "new group")
    rows = [{"age": 1.0, "dose": 0.5, "ward": ward} for ward in ("north", "south", "new group")]
    expected = model([[1.0, 0.5, "north"], [1.0, 0.5, "south"], [1.0, 0.5, "nobody knows it"]])
    np.testing.assert_allclose(p.predict(rows), expected)
    assert len(set(expected)) == 3
    assert p.predict_one(rows[2]) == pytest.approx(expected[2])
    with pytest.raises(InputError, match="expected one of 'north', 'south', 'new group', got 'nort'"):
        p.predict_one({"age": 1.0, "dose": 0.5, "ward": "nort"})


def test_groups_that_are_numbers_are_numbers_of_an_array():
    model = posterior("hierarchical-normal", groups=[1, 2], group_column=0)
    p = Predictor(model)
    assert p.signature.input == ArraySpec((3,), "float64")
    X = np.array([[1.0, 1.0, 0.5], [2.0, 1.0, 0.5], [77.0, 1.0, 0.5]])
    np.testing.assert_array_equal(p.predict(X), model(X))


@pytest.mark.parametrize(
    "model",
    [
        posterior(classes=["well", "ill"]),
        posterior("normal", mean=[1, 2], scale=[3, 4]).with_interval(0.7),
        posterior("hierarchical-normal", **WARDS),
    ],
)
def test_a_posterior_is_saved_within_its_predictor(model, tmp_path):
    p = Predictor(model, name="ward model")
    again = Predictor.load(saved(p, tmp_path))
    assert again.signature == p.signature
    assert again.name == "ward model"
    assert again.backend.model.sha256 == model.sha256
    X = ROWS if model.groups is None else {"age": [1.0], "dose": [0.5], "ward": ["new group"]}
    np.testing.assert_equal(again.predict(X), p.predict(X))
    assert saved(again, tmp_path).read_bytes() == saved(p, tmp_path).read_bytes()
    model.save(tmp_path / "m.posterior")
    np.testing.assert_equal(Predictor(tmp_path / "m.posterior").predict(X), p.predict(X))


def test_a_damaged_posterior_within_a_predictor_is_refused(tmp_path):
    path = saved(Predictor(posterior()), tmp_path)
    change = {"model.posterior": b"PK"}
    with pytest.raises(ModelFileError, match="SHA-256 differs"):
        Predictor.load(rewritten(path, lambda m, p: p.update(change)))
    told = {"sha256": sha256(b"PK"), "bytes": 2}
    with pytest.raises(ModelFileError, match=r"p\.predictor is not a whole saved posterior"):
        Predictor.load(rewritten(path, lambda m, p: m["files"].update({"model.posterior": told})))


def test_a_posterior_is_measured_as_other_models_are():
    from inferkit.benchmark import compare, measure_latency

    model = posterior()
    found = compare({"posterior": Predictor(model)}, ROWS, [1, 0], n=20, rounds=2, progress=False)
    (entry,) = found
    assert (entry.model_sha256, entry.size_bytes) == (model.sha256, len(model.content))
    assert entry.accuracy == 1
    assert measure_latency(Predictor(model), ROWS, n=20, progress=False).n == 20


# -- published models --------------------------------------------------------------------------


def picture_of(path, size):
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB").resize((size, size)))


@pytest.mark.parametrize(
    ("picture", "word"), [("grace_hopper.bmp", "military uniform"), ("parrot.jpg", "macaw"), ("cat.bmp", "tabby")]
)
def test_mobilenet_reads_real_pictures(published, picture, word):
    coral = published / "coral"
    names = (coral / "imagenet_labels.txt").read_text().splitlines()
    model = Predictor(LiteRTModel(coral / "mobilenet_v2_1.0_224_quant.tflite"))
    (scores,) = model.predict(picture_of(coral / "images" / picture, 224)[None])
    best = [names[i] for i in np.argsort(-scores)[:5]]
    assert any(word in name for name in best), best


def test_a_model_for_one_row_with_two_outputs_takes_many(published):
    model = LiteRTModel(published / "blazeface" / "face_detection_front.tflite")
    p = Predictor(model)
    picture = picture_of(published / "coral" / "images" / "face.jpg", 128) / np.float32(127.5) - np.float32(1)
    both = p.predict(np.stack([picture, picture * 0]).astype(np.float32))
    assert {name: value.shape for name, value in both.items()} == {
        "regressors": (2, 896, 16),
        "classificators": (2, 896, 1),
    }
    face, nothing = both["classificators"].max(axis=(1, 2))
    assert face > 0 > nothing  # logits: above a half, and below


@pytest.mark.parametrize(("low", "high", "value"), [(-262144.4921875, None, -262144.5), (None, 16777217.5, 16777218.0)])
def test_a_limit_that_the_type_does_not_have_is_a_limit_all_the_same(low, high, value):
    spec = ArraySpec((1,), "float32", low=low, high=high)
    with pytest.raises(InputError, match="got"):
        spec.check(np.array([[value]], np.float32))


@pytest.mark.parametrize("n", [255, 256, 257, 513])
def test_many_rows_are_answered_part_by_part_and_all_the_same(n):
    reader = digit_reader()
    X = np.resize(load_digits().images, (n, 8, 8))
    assert np.array_equal(reader.predict_proba(X), reader.backend.model(X / np.float32(16)))


# -- in batches --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 7, 8, None])
def test_the_model_gets_batches_of_the_size_asked_for(size):
    asked = []

    def model(X):
        asked.append(len(X))
        return {"p": np.column_stack([X[:, 0], 1 - X[:, 0]]), "twice": 2 * X[:, 0]}

    outputs = (OutputSpec("p", "probabilities", ("low", "high")), OutputSpec("twice"))
    predictor = Predictor(model, signature=Signature(ArraySpec((1,), "float64", 0, 1), outputs))
    X = np.linspace(0, 1, 7)[:, None]
    one = predictor.predict(X, batch_size=size)
    assert asked == {1: [1] * 7, 3: [3, 3, 1]}.get(size, [7])
    assert one["p"].tolist() == ["high"] * 3 + ["low"] * 4  # of two equal ones the first
    assert one["twice"].tolist() == (2 * X[:, 0]).tolist()
    assert np.array_equal(predictor.predict_proba(X, batch_size=size), predictor.predict_proba(X))
    assert np.array_equal(predictor.predict_outputs(X, batch_size=size)["twice"], one["twice"])


@pytest.mark.parametrize("size", [0, -1, 2.0, True, "8"])
def test_a_batch_size_that_is_none_is_refused(size):
    with pytest.raises(InputError, match="batch_size: expected a whole number ≥ 1"):
        Predictor(lambda X: X, signature=ArraySpec((1,))).predict([[1.0]], batch_size=size)


def test_all_rows_are_checked_before_the_model_is_asked():
    asked = []
    predictor = Predictor(lambda X: asked.append(len(X)) or X, signature=ArraySpec((1,), low=0))
    with pytest.raises(InputError, match="got -1 at index"):
        predictor.predict([[1.0], [2.0], [-1.0]], batch_size=1)
    assert not asked


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "bool"])
def test_what_does_not_sum_to_one_is_no_probability_whatever_its_type(dtype):
    answer = np.array([[0, 1], [1, 0], [1, 1]]).astype(dtype)
    predictor = Predictor(lambda X: answer, signature=ArraySpec((1,)), labels=["a", "b"])
    with pytest.raises(InputError, match=r"row 2 .* sums to 2"):
        predictor.predict(np.zeros((3, 1), "float32"))
    answer[2, 0] = 0
    assert predictor.predict(np.zeros((3, 1), "float32")).tolist() == ["b", "a", "b"]


@pytest.mark.parametrize(("name", "shape", "most"), [("signs-cnn", (32, 32, 3), 85), ("digits-cnn", (8, 8), 256)])
def test_a_model_gets_fewer_rows_at_once_where_they_are_large(name, shape, most):
    """A megabyte of float32 at most."""
    backend = Predictor(load_reference(name)).backend
    whole, sizes = backend.model, []

    def watched(X):
        sizes.append(len(X))
        return whole(X)

    backend.model = watched
    rows = np.random.default_rng(0).random((300, *shape), dtype=np.float32)
    np.testing.assert_array_equal(backend(rows), whole(rows))
    assert max(sizes) == most
    assert sum(sizes) == 300
