"""Bundled data, used only if the bytes are the registered ones."""

import json
from typing import Any

from .._base import RESTORE, ModelFileError, bundled, sha256


def registered(name: str) -> bytes:
    """Return a bundled file's bytes if they are the registered ones."""
    try:
        entries: dict[str, dict[str, Any]] = json.loads(bundled("registry.json").read_bytes())
        expected = next(entry["sha256"] for entry in entries.values() if entry["file"] == name)
        content = bundled(name).read_bytes()
    except (FileNotFoundError, ValueError, StopIteration) as error:
        raise ModelFileError(f"{name}: not there, or not registered ({error}); {RESTORE}") from error
    if sha256(content) != expected:
        raise ModelFileError(
            f"{name}: expected SHA-256 {expected[:12]}…, got {sha256(content)[:12]}… ({len(content):,} bytes): "
            f"it was changed or cut short; {RESTORE}"
        )
    return content
