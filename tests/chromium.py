"""Where the browser is."""

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium_path() -> str | None:
    """Return the browser's path, or None."""
    chosen = os.environ.get("INFERKIT_CHROMIUM")
    return chosen or next(filter(None, map(shutil.which, NAMES)), None)
