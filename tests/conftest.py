"""What several test modules share."""

import os
import signal
import sys
from pathlib import Path

import hypothesis
import pytest

from tests.machine import mirror_path, not_checked
from tests.trained import digits, quantized_signs, sign_rows, small_cnn, trained_cnn  # noqa: F401 - fixtures for all

# A shell lets its background jobs ignore interrupts, and nohup a hang-up; what is tested here must not inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no bug
hypothesis.settings.load_profile("untimed")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ["INFERKIT_LEDGER"] = ":memory:"  # never the one of whoever runs the tests
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")


@pytest.fixture(scope="session")
def published() -> Path:
    """Return the folder of published models and data that this project did not make."""
    folder = mirror_path()
    if folder is None:
        not_checked("published models. Set INFERKIT_MIRROR to a folder that has them")
    return folder


@pytest.fixture(scope="session")
def tensorflow():
    """Return TensorFlow, quiet and on one thread."""
    from inferkit.models import import_keras

    import_keras()
    return sys.modules["tensorflow"]
