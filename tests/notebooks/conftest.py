"""What the tests of the notebooks share."""

import os

import pytest

from notebooks.cap import NoCapError, memory_cap


@pytest.fixture
def cap():
    """Return what caps memory; where the machine can't, say so loudly (and fail, if everything is required)."""
    try:
        with memory_cap(64):
            return memory_cap
    except NoCapError as error:
        if os.environ.get("INFERKIT_REQUIRE_ALL"):
            pytest.fail(str(error))
        pytest.skip(str(error))
