"""Visible checks for exercises."""

from collections.abc import Callable
from types import EllipsisType
from typing import Any

import numpy as np

from .._base import InputError

_BLANK = "a blank (...) is still to be filled in"
_tally: dict[str, bool] = {}


class Verdict(int):
    """True or False that shows nothing at the end of a cell, where the printed line already stands."""

    def __repr__(self) -> str:
        return repr(bool(self))

    def _ipython_display_(self) -> None:
        pass


def check(name: str, condition: bool | np.bool_ | EllipsisType | Callable[[], Any], hint: str = "") -> Verdict:
    """Print whether a condition holds, with a hint if it does not.

    Parameters
    ----------
    name : str
        What is checked, in a few words.
    condition : bool, callable or ...
        True or False, or a function of no arguments that returns it. What the function raises
        counts as False and is named: ``lambda: my_answer > 3`` is safe while `my_answer` is a blank.
    hint : str, optional
        What to look at if the check fails.

    Returns
    -------
    Verdict
        True or False.

    Raises
    ------
    InputError
        If `condition` is neither.

    Examples
    --------
    >>> _ = check("two and two", 2 + 2 == 4)
    ✓ two and two
    >>> passed = check("the answer", lambda: ... > 3, hint="count the layers")
    ✗ the answer: count the layers (a blank (...) is still to be filled in)
    >>> bool(passed)
    False
    """
    passed, why = _judge(condition)
    _tally[name] = passed
    told = f"{hint} ({why})" if hint and why else hint or why
    print(f"✓ {name}" if passed else f"✗ {name}: {told}".removesuffix(": "))
    return Verdict(passed)


def checks() -> Verdict:
    """Print how many checks of this kernel pass, counting each name once, as it came out last.

    Returns
    -------
    Verdict
        True if there were checks and all passed.

    Examples
    --------
    >>> _tally.clear()
    >>> _ = check("one", True), check("two", False, "start at one"), checks()
    ✓ one
    ✗ two: start at one
    1 of 2 checks passed. Still open: two
    """
    still_open = [name for name, passed in _tally.items() if not passed]
    rest = f" Still open: {', '.join(still_open)}" if still_open else ""
    passed = f"{len(_tally) - len(still_open)} of {len(_tally)} checks passed."
    print(passed + rest if _tally else "No check has run yet.")
    return Verdict(bool(_tally) and not still_open)


def _judge(condition: Any) -> tuple[bool, str]:
    """Return whether a condition holds, and if not what stood in its way."""
    if condition is ...:
        return False, _BLANK
    if _is_truth(condition):
        return bool(condition), ""
    if not callable(condition):
        raise InputError(
            f"condition: expected True or False, or a function that returns it, got {_describe(condition)}; "
            "for an array say what must hold: np.all(...) or np.any(...)"
        )
    return _judge_call(condition)


def _judge_call(condition: Callable[[], Any]) -> tuple[bool, str]:
    """Call a condition; an error, or an answer that is neither true nor false, is a failed check."""
    try:
        answer = condition()
    except Exception as error:
        return False, _BLANK if "ellipsis" in str(error) else f"{type(error).__name__}: {error}".removesuffix(": ")
    if answer is ...:
        return False, _BLANK
    return (bool(answer), "") if _is_truth(answer) else (False, f"expected True or False, got {_describe(answer)}")


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool | np.bool_ | Verdict)


def _describe(value: Any) -> str:
    """Name a value in a few words."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"
