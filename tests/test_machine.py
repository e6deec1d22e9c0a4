"""What cannot be checked here is said, and is a failure where all is required."""

import pytest

from tests.machine import not_checked


def test_what_is_not_checked_is_skipped_loudly(monkeypatch):
    monkeypatch.delenv("INFERKIT_REQUIRE_ALL", raising=False)
    with pytest.raises(pytest.skip.Exception, match="NOT CHECKED: the moon"):
        not_checked("the moon")


def test_and_fails_where_all_is_required(monkeypatch):
    monkeypatch.setenv("INFERKIT_REQUIRE_ALL", "1")
    with pytest.raises(pytest.fail.Exception, match="all is required: the moon"):
        not_checked("the moon")
