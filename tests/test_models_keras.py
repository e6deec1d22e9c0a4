"""Opening `.keras` files: what is whole, what is damaged, and what would run code."""

import json
import sys
import zipfile

import numpy as np
import pytest

from inferkit import ModelFileError
from inferkit._base import bundled
from inferkit.models import load_keras, load_reference


@pytest.fixture(scope="module")
def keras(tensorflow):
    return sys.modules["keras"]


def changed(path, target, change):
    """Copy a `.keras` file with its description changed."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    change(config)
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return target


def test_a_whole_file_predicts(keras):
    model = load_keras(bundled("digits-mlp.keras"))
    X = np.zeros((3, 8, 8), dtype=np.float32)
    np.testing.assert_array_equal(
        model.predict_on_batch(X), load_reference("digits-mlp", format="keras").predict_on_batch(X)
    )


def test_a_lambda_layer_is_refused_before_keras_sees_it(keras, tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x * 2)])
    model.save(tmp_path / "lambda.keras")
    with pytest.raises(ModelFileError, match="Lambda, which is no layer of Keras or runs code"):
        load_keras(tmp_path / "lambda.keras")


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["config"]["layers"][1].update(module="os", class_name="system"),
        lambda c: c["config"]["layers"][1].update(registered_name="Mine>Layer"),
        lambda c: c["config"]["layers"].append([{"module": "subprocess", "class_name": "Popen"}]),
    ],
)
def test_a_description_that_reaches_outside_keras_is_refused(tmp_path, change):
    path = changed(bundled("digits-mlp.keras"), tmp_path / "m.keras", change)
    with pytest.raises(ModelFileError, match="refused"):
        load_keras(path)


def test_a_truncated_file_is_refused():
    content = bundled("digits-mlp.keras").read_bytes()
    for cut in (0, 10, len(content) // 2, len(content) - 1):
        with pytest.raises(ModelFileError, match=r"not a whole \.keras file"):
            load_keras(content[:cut])


def test_a_changed_weight_is_noticed():
    content = bytearray(bundled("digits-mlp.keras").read_bytes())
    content[len(content) // 2] ^= 255
    with pytest.raises(ModelFileError, match=r"does not match its checksum|not a whole"):
        load_keras(bytes(content))
    with pytest.raises(ModelFileError, match="not the registered model"):
        load_keras(bytes(content), sha256="0" * 64)


def test_an_h5_file_is_refused(keras, tmp_path):
    import h5py

    with h5py.File(tmp_path / "m.h5", "w") as f:
        f["x"] = 1
    with pytest.raises(ModelFileError, match=r"save the model again as \.keras"):
        load_keras(tmp_path / "m.h5")


def test_a_file_that_keras_cannot_build_is_our_error(keras, tmp_path):
    def change(config):
        config["config"]["layers"][1]["config"]["no_such_option"] = 1

    path = changed(bundled("digits-mlp.keras"), tmp_path / "m.keras", change)
    with pytest.raises(ModelFileError, match="cannot be loaded; it is damaged"):
        load_keras(path)
