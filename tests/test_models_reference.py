"""What ships is what was registered: the bytes that are used are the bytes that were hashed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from inferkit import InputError, ModelFileError
from inferkit._base import bundled, sha256
from inferkit.datasets import load_customers, load_signs, load_transactions, split_digits
from inferkit.models import LiteRTModel, _reference, list_reference, load_reference
from inferkit.predictor import churn_scorer, fraud_scorer

NAMES = ["digits-mlp", "digits-cnn", "digits-cnn-int8", "digits-mobilenet", "signs-cnn"]
NAMES += [f"signs-small-{k}" for k in range(1, 6)]
NAMES += ["churn-mlp", "fraud-mlp"]
NAMES += ["signs-mobilenet-25", "signs-mobilenet-50", "signs-mobilenet-100", "signs-student", "signs-student-alone"]
NAMES += ["signs-cnn-half", "signs-cnn-float16", "signs-cnn-dynamic", "signs-cnn-int8", "signs-cnn-int16x8"]
NAMES += ["signs-mobilenet-100-int8", "signs-exit-stem", "signs-exit-rest"]
PAIRS = [(record.name, fmt) for record in list_reference() for fmt in record.formats]
KERAS_NAMES = [name for name, fmt in PAIRS if fmt == "keras"]

SCORERS = {"churn-mlp": (churn_scorer, load_customers), "fraud-mlp": (fraud_scorer, load_transactions)}


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """Give a copy of the bundled folder, and let the module read from it."""
    folder = tmp_path / "bundled"
    shutil.copytree(Path(bundled("registry.json")).parent, folder)

    def read_from_copy(name):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"inferkit carries no file {name!r}")
        return folder / name

    monkeypatch.setattr(_reference, "bundled", read_from_copy)
    return folder


def test_the_registry_names_the_models_and_their_files():
    assert [record.name for record in list_reference()] == NAMES
    registry = json.loads(bundled("registry.json").read_text(encoding="utf-8"))
    files = [part for entry in registry.values() for part in (entry, entry.get("keras")) if part]
    # seven of digits, two, six and thirteen of signs, their pictures, clinics, two tables, their models
    assert len(files) == 34
    for part in files:
        content = bundled(part["file"]).read_bytes()
        assert (len(content), sha256(content)) == (part["bytes"], part["sha256"])
    carried = {p.name for p in Path(bundled("registry.json")).parent.iterdir()}
    assert carried == {"registry.json", *(part["file"] for part in files)}


def unseen(name):
    """Return what a model was not trained on, as it takes it."""
    if name.startswith("signs-"):
        signs = load_signs()
        return signs.images / np.float32(255), signs.target
    if name in SCORERS:
        scorer, table = SCORERS[name]
        return prepared(scorer(), table().data), table().target
    _, X, _, y = split_digits()
    return X / np.float32(16), y


def prepared(predictor, table):
    """Return what a predictor's model takes of a table."""
    value = predictor.signature.input.check(table)
    for step in predictor.preprocess:
        value = step(value)
    return value


def test_records_are_frozen():
    with pytest.raises(AttributeError):
        list_reference()[0].accuracy = 1.0


WHOLE = [record for record in list_reference() if "exit" not in record.name]  # of the parts: test_make_sign_variants


@pytest.mark.parametrize("record", WHOLE, ids=lambda r: r.name)
def test_the_registered_accuracy_is_what_the_file_reaches(record):
    X, y = unseen(record.name)
    model = load_reference(record.name)
    assert isinstance(model, LiteRTModel)
    right = model(X).argmax(axis=1) == y
    assert right.mean() == pytest.approx(record.accuracy, abs=1.5 / len(y))  # int8 kernels may differ on one
    assert model.size_bytes == record.size_bytes


def test_the_models_are_small_and_good():
    records = {record.name: record for record in list_reference()}
    assert records["digits-cnn"].accuracy >= 0.975
    assert records["digits-cnn"].n_parameters <= 60_000
    large = {"signs-mobilenet-100", "signs-exit-rest"}  # on purpose: what the small ones are compared with
    assert max(record.size_bytes for name, record in records.items() if name not in large) <= 250_000
    assert sum(record.size_bytes for record in records.values()) <= 3_000_000
    assert records["digits-cnn-int8"].size_bytes < records["digits-cnn"].size_bytes / 2
    assert records["digits-cnn-int8"].accuracy >= records["digits-cnn"].accuracy - 0.01


@pytest.mark.parametrize("name", KERAS_NAMES)
def test_both_formats_answer_alike(name):
    X = unseen(name)[0][:100]
    np.testing.assert_allclose(load_reference(name)(X), np.asarray(load_reference(name, "keras")(X)), atol=1e-4)


@pytest.mark.parametrize("name", KERAS_NAMES)
def test_the_registered_number_of_parameters_is_the_model_s(name):
    record = next(r for r in list_reference() if r.name == name)
    assert load_reference(name, "keras").count_params() == record.n_parameters


def test_a_loaded_model_knows_its_name_and_threads():
    model = load_reference("digits-cnn", num_threads=2)
    assert (model.name, model.num_threads) == ("digits-cnn", 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("digits",), r"name: expected one of digits-mlp, digits-cnn.*; got 'digits'"),
        (("digits-cnn", "onnx"), r"format: digits-cnn comes as litert or keras; got 'onnx'"),
        (("digits-cnn-int8", "keras"), r"format: digits-cnn-int8 comes as litert; got 'keras'"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(arguments, message):
    with pytest.raises(InputError, match=message):
        load_reference(*arguments)


def _file(folder, name, fmt):
    entry = json.loads((folder / "registry.json").read_text(encoding="utf-8"))[name]
    return folder / (entry if fmt == "litert" else entry["keras"])["file"]


@pytest.mark.parametrize(("name", "fmt"), PAIRS)
def test_one_changed_bit_is_refused(copy, name, fmt):
    path = _file(copy, name, fmt)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        ModelFileError, match=f"{name}: expected {path.name} with SHA-256 .* git checkout inferkit/bundled"
    ):
        load_reference(name, fmt)


@pytest.mark.parametrize("keep", [0, 7, 5000])
def test_a_truncated_file_is_refused(copy, keep):
    path = _file(copy, "digits-cnn", "litert")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelFileError, match=rf"got .* \({keep:,} bytes\)"):
        load_reference("digits-cnn")


def test_another_model_under_the_name_is_refused(copy):
    shutil.copy(_file(copy, "digits-mlp", "litert"), _file(copy, "digits-cnn", "litert"))
    with pytest.raises(ModelFileError, match="digits-cnn"):
        load_reference("digits-cnn")
    assert load_reference("digits-mlp").name == "digits-mlp"  # the next call works


def test_a_missing_file_is_said_to_be_missing(copy):
    _file(copy, "digits-cnn", "litert").unlink()
    with pytest.raises(ModelFileError, match=r"carries no file 'digits-cnn.tflite'.*git checkout inferkit/bundled"):
        load_reference("digits-cnn")


@pytest.mark.parametrize("content", ["", "{", "[1, 2"])
def test_a_damaged_registry_is_said_to_be_damaged(copy, content):
    (copy / "registry.json").write_text(content)
    with pytest.raises(ModelFileError, match=r"registry\.json is missing or damaged"):
        list_reference()


@pytest.mark.parametrize("fmt", ["litert", "keras"])
def test_a_file_swapped_after_the_check_is_not_used(copy, monkeypatch, fmt):
    """The bytes that were hashed are the bytes that are used."""
    path = _file(copy, "digits-cnn", fmt)

    def hash_and_swap(content):
        digest = sha256(content)
        path.write_bytes(b"another file")
        return digest

    monkeypatch.setattr(_reference, "sha256", hash_and_swap)
    model = load_reference("digits-cnn", fmt)
    X = split_digits()[1][:20] / np.float32(16)
    monkeypatch.undo()
    np.testing.assert_allclose(np.asarray(model(X)), load_reference("digits-cnn")(X), atol=1e-4)
