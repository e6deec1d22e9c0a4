"""What this machine has for the tests: the browser, and models that this project did not make."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium_path() -> str | None:
    """Return the browser's path, or None."""
    chosen = os.environ.get("INFERKIT_CHROMIUM")
    return chosen or next(filter(None, map(shutil.which, NAMES)), None)


def mirror_path() -> Path | None:
    """Return the folder of published models and data, or None."""
    folder = Path(os.environ.get("INFERKIT_MIRROR", Path(__file__).parents[2] / "shared" / "data"))
    return folder if folder.is_dir() else None


def not_checked(what: str) -> NoReturn:
    """Skip a test, saying loudly what stays unchecked; where all is required, fail."""
    import pytest

    if os.environ.get("INFERKIT_REQUIRE_ALL"):
        pytest.fail(f"NOT CHECKED, and all is required: {what}")
    pytest.skip(f"NOT CHECKED: {what}")
