"""What is said about a live figure: checked where it is made, and filled in for each drawing."""

from collections.abc import Mapping
from typing import Any

from inferkit._base import InputError

LOWEST, HIGHEST = 200, 800  # pixels


def check_rest(alt: Any, title: Any, height: Any) -> None:
    """Hold a figure's alt text, title and height to what they must be.

    Parameters
    ----------
    alt : str or callable
    title : str
    height : int
        From 200 to 800.

    Raises
    ------
    InputError
        If one is anything else.

    Examples
    --------
    >>> check_rest("A line.", "", 360)
    """
    if not (callable(alt) or (isinstance(alt, str) and alt.strip())):
        raise InputError(f"alt: expected a text or a callable that says what the figure shows, got {alt!r:.60}")
    if not isinstance(title, str):
        raise InputError(f"title: expected a text, got {title!r:.60}")
    if not isinstance(height, int) or not LOWEST <= height <= HIGHEST:
        raise InputError(f"height: expected {LOWEST} to {HIGHEST} pixels, got {height!r}")


def filled(alt: str, fields: Mapping[str, str]) -> str:
    """Return an alt text with its fields filled in.

    Parameters
    ----------
    alt : str
        With fields such as ``{size}``.
    fields : mapping of str to str

    Returns
    -------
    str

    Raises
    ------
    InputError
        If a field has no value, or the text's braces do not fit.

    Examples
    --------
    >>> filled("The interval at {patients} patients.", {"patients": "30"})
    'The interval at 30 patients.'
    """
    try:
        return alt.format_map(fields)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        known = ", ".join(f"{{{name}}}" for name in fields)
        raise InputError(
            f"alt: expected fields among {known}, got {alt!r:.80} ({error}); write {{{{ for a brace"
        ) from error
