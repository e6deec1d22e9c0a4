"""What several test modules share."""

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def published() -> Path:
    """Return the folder of published models and data that this project did not make."""
    folder = Path(os.environ.get("INFERKIT_MIRROR", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        reason = f"no published models at {folder}; set INFERKIT_MIRROR to a folder that has them"
        if os.environ.get("INFERKIT_REQUIRE_ALL"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def tensorflow():
    """Return TensorFlow, quiet and on one thread."""
    from inferkit.models import import_keras

    import_keras()
    return sys.modules["tensorflow"]
