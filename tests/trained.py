"""What several modules need trained or quantized: made once a session, and handed out so that no test can spoil it."""

import numpy as np
import pytest

from inferkit.datasets import make_signs, split_digits
from inferkit.models import cnn, import_keras, load_reference, train
from inferkit.optimize import quantize

SCHEMES = ("dynamic", "float16", "int8", "int16x8", "weight-only")


def read_only(array):
    array.setflags(write=False)
    return array


@pytest.fixture(scope="session")
def digits():
    """Return scans to learn from, unseen ones, and the digits of both; light from 0 to 1."""
    X, unseen, y, truth = split_digits()
    return tuple(map(read_only, ((X / 16).astype(np.float32), (unseen / 16).astype(np.float32), y, truth)))


@pytest.fixture(scope="session")
def trained_cnn(digits):
    model = cnn(filters=(8, 16, 16), hidden=(40,), dropout=0.2, random_state=0)
    train(model, digits[0], digits[2], epochs=4, batch_size=64, learning_rate=3e-3, random_state=0, progress=False)
    return model


@pytest.fixture(scope="module")
def small_cnn(trained_cnn):
    """Return a copy of the one small network that reads digits, for a module; a test that changes it is found out."""
    model = import_keras().models.clone_model(trained_cnn)
    model.set_weights(trained_cnn.get_weights())
    yield model
    for now, before in zip(model.get_weights(), trained_cnn.get_weights(), strict=True):
        np.testing.assert_array_equal(now, before, "a test changed the network that its module shares: take a clone")


@pytest.fixture(scope="session")
def sign_rows():
    """Return rows to calibrate on: signs of every kind, light from 0 to 1."""
    return read_only((make_signs(120, 5)[0] / 255).astype(np.float32))


@pytest.fixture(scope="session")
def quantized_signs(tensorflow, sign_rows):
    """Return the bundled reader of street signs in every scheme."""
    network = load_reference("signs-cnn", "keras")
    return {scheme: quantize(network, scheme, calibration=sign_rows if "int" in scheme else None) for scheme in SCHEMES}
