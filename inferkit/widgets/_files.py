"""The scripts and styles that lie beside the widgets."""

from pathlib import Path


def joined(*names: str) -> str:
    """Return the text of some files of this folder, one after the other."""
    return "\n".join(Path(__file__).with_name(name).read_text("utf-8") for name in names)
