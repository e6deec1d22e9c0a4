"""What the tests of the notebooks share."""

import pytest

from notebooks.cap import NoCapError, memory_cap
from tests.machine import not_checked


@pytest.fixture
def cap():
    """Return what caps memory; where the machine can't, say so loudly (and fail, if everything is required)."""
    try:
        with memory_cap(64):
            return memory_cap
    except NoCapError as error:
        not_checked(str(error))
