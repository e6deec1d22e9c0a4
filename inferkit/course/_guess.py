"""A guess that is made before measuring, kept, and shown again beside the measurement."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from typing import Any

import numpy as np

from .._base import InputError, answer_while_busy, require

_kept: dict[str, "Guess"] = {}  # for the kernel's life, so that a cell that runs again shows the guess again


@dataclass(frozen=True)
class Beside:
    """A guess and a measurement, side by side.

    Attributes
    ----------
    guessed : float, str or None
        The guess; None if none was kept.
    measured : float or str
        The measurement.
    sentence : str
        Both in words.
    """

    guessed: float | str | None
    measured: float | str
    sentence: str

    def __repr__(self) -> str:
        return self.sentence

    def _repr_html_(self) -> str:
        return f'<p style="font-size:18px;line-height:1.45;margin:8px 0">{escape(self.sentence)}</p>'


class Guess:
    """A question and the student's answer to it. Made by `guess`; a cell that ends in it shows it."""

    def __init__(self, question: str, choices: Sequence[float | str], unit: str) -> None:
        from ._views import GuessView

        self.question = question
        self._choices = tuple(choices)
        self._unit = unit
        self._value: float | str | None = None
        labels = [self._in_words(c) for c in choices]
        self._view = GuessView(question=question, labels=labels, slider=not isinstance(choices[0], str))
        answer_while_busy(self._view)
        self._view.observe(self._on_chosen, "chosen")

    @property
    def value(self) -> float | str | None:
        """The guess: a number, or the option chosen; None until one is kept."""
        return self._value

    def keep(self, value: float | str) -> "Guess":
        """Keep a guess without touching the widget.

        Parameters
        ----------
        value : float or str
            A number within the slider's range, or one of the options.

        Returns
        -------
        Guess
            This guess.

        Raises
        ------
        InputError
            If it is outside the range, or no option.

        Examples
        --------
        >>> guess("How many?", low=1, high=1000, key="doctest keep").keep(50).value
        50.0
        """
        value = self._checked(value)
        self._view.chosen = self._choices.index(value) if value in self._choices else -1
        self._set(value)  # also a value between two stops of the slider, which the page could not send
        return self

    def beside(self, measured: float | str) -> Beside:
        """Put a measurement beside the guess, in words.

        Parameters
        ----------
        measured : float or str
            A number above 0 in the guess's unit, or one of the options.

        Returns
        -------
        Beside
            A cell that ends in it shows the sentence.

        Raises
        ------
        InputError
            If it is not finite, not above 0, or no option.

        Examples
        --------
        >>> times = guess("How many times?", low=1, high=1e9, unit="times", key="doctest beside")
        >>> times.beside(310_123)
        No guess kept. This machine measured 310,000 times.
        >>> times.keep(1000).beside(310_123)
        You guessed 1,000 times. This machine measured 310,000 times: 310 × more.
        """
        found = self._measured(measured)
        told = f"This machine measured {self._in_words(found, 3)}"
        if self._value is None:
            return Beside(None, found, f"No guess kept. {told}.")
        return Beside(self._value, found, f"You guessed {self._in_words(self._value)}. {told}{self._compared(found)}.")

    def _on_chosen(self, change: Any) -> None:
        if 0 <= change["new"] < len(self._choices):
            self._set(self._choices[change["new"]])

    def _set(self, value: float | str) -> None:
        self._value = value
        self._view.kept = self._in_words(value)

    def _in_words(self, value: float | str, digits: int = 6) -> str:
        return value if isinstance(value, str) else f"{plain_number(value, digits)} {self._unit}".strip()

    def _compared(self, found: float | str) -> str:
        """Say how a measurement lies to the guess."""
        if isinstance(found, str) or isinstance(self._value, str) or not self._value:
            return ": as you guessed" if found == self._value else ""
        ratio = found / self._value
        if 1 / 1.1 < ratio < 1.1:
            return ": about what you guessed"
        return f": {plain_number(ratio, 2)} × more" if ratio > 1 else f": {plain_number(1 / ratio, 2)} × less"

    def _measured(self, measured: Any) -> float | str:
        if isinstance(self._choices[0], str):
            return self._checked(measured)
        number = _number("measured", measured)
        if number <= 0:
            raise InputError(f"measured: expected a number above 0, got {number:g}")
        return number

    def _checked(self, value: Any) -> float | str:
        """Return a value that this question allows."""
        first, last = self._choices[0], self._choices[-1]
        if isinstance(first, str) or isinstance(last, str):
            if not isinstance(value, str) or value not in self._choices:
                raise InputError(f"expected one of {', '.join(map(repr, self._choices))}, got {value!r}")
            return value
        number = _number("value", value)
        if not first <= number <= last:
            raise InputError(f"value: expected a number from {first:g} to {last:g}, got {number:g}")
        return number

    def __repr__(self) -> str:
        return f"{self.question}\nYour guess: {'none' if self._value is None else self._in_words(self._value)}"

    def _repr_mimebundle_(self, **_kwargs: Any) -> Any:
        from ._views import mimebundle

        question, _, answer = repr(self).rpartition("\n")
        html = f"<p><strong>{escape(question)}</strong></p>\n<p>{escape(answer)}</p>"
        return mimebundle(self._view, repr(self), html)


def guess(
    question: str,
    *,
    low: float | None = None,
    high: float | None = None,
    unit: str = "",
    log: bool = True,
    options: Sequence[str] | None = None,
    key: str | None = None,
) -> Guess:
    """Ask for a guess before anything is measured: a number on a slider, or one of several options.

    Parameters
    ----------
    question : str
        What is asked.
    low, high : float, optional
        The ends of the slider.
    unit : str, optional
        Written behind each number, such as ``"times"`` or ``"ms"``.
    log : bool, default=True
        Whether each step of the slider multiplies (1, 2, 5, 10, 20, ...) or adds.
    options : sequence of str, optional
        Two or more options, instead of `low` and `high`.
    key : str, optional
        The name under which the guess is kept as long as the kernel lives; by default the
        question. The same key and the same question give the same guess again.

    Returns
    -------
    Guess
        With ``value`` (None until the student keeps one), ``keep`` and ``beside``.

    Raises
    ------
    InputError
        If the range or the options make no question.
    MissingExtraError
        If anywidget is not installed.

    Examples
    --------
    >>> times = guess("Training takes how many times one answer?", low=1, high=1e9, unit="times")
    >>> print(times.value)
    None
    >>> faster = guess("Which answers first?", options=["Keras", "LiteRT"]).keep("Keras")
    >>> faster.beside("LiteRT")
    You guessed Keras. This machine measured LiteRT.
    """
    require("anywidget", extra="notebooks")
    choices = _stops(low, high, log) if options is None else _options(options, low, high)
    key = question if key is None else key
    before = _kept.get(key)
    if before is None or (before.question, before._choices, before._unit) != (question, choices, unit):
        _kept[key] = Guess(question, choices, unit)
    return _kept[key]


def plain_number(value: float, digits: int = 3) -> str:
    """Write a number as people do: few digits, thousands set apart, no exponent.

    Parameters
    ----------
    value : float
        A finite number.
    digits : int, default=3
        How many significant digits to keep.

    Returns
    -------
    str

    Examples
    --------
    >>> plain_number(310_123), plain_number(0.0012345), plain_number(2.0)
    ('310,000', '0.00123', '2')
    """
    text = f"{Decimal(f'{value:.{digits - 1}e}'):,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _stops(low: float | None, high: float | None, log: bool) -> tuple[float, ...]:
    """Return the numbers that the slider stops at: round ones, and both ends."""
    if low is None or high is None:
        raise InputError("give low=... and high=... for a number, or options=[...] for a choice")
    low, high = _number("low", low), _number("high", high)
    if not low < high or (log and low <= 0):
        raise InputError(f"expected {'0 < ' * log}low < high, got low={low:g} and high={high:g}")
    if not log:
        return tuple(float(f"{x:.12g}") for x in np.linspace(low, high, 101))
    steps = (1, 2, 5) if high / low >= 1000 else (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    inside = {float(f"{step}e{power}") for power in powers for step in steps}
    return tuple(sorted({x for x in inside if low < x < high} | {low, high}))


def _options(options: Sequence[str], low: float | None, high: float | None) -> tuple[str, ...]:
    """Return the options of a choice, checked."""
    if low is not None or high is not None:
        raise InputError("give either low and high, or options, not both")
    if isinstance(options, str) or not all(isinstance(o, str) and o.strip() for o in options):
        raise InputError(f"options: expected texts such as ['A', 'B'], got {options!r}")
    if len(options) < 2 or len(set(options)) < len(options):
        raise InputError(f"options: expected two or more different texts, got {list(options)!r}")
    return tuple(options)


def _number(name: str, value: Any) -> float:
    """Return a finite number as a float."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise InputError(f"{name}: expected a number, got {value!r}")
    if not math.isfinite(value):
        raise InputError(f"{name}: expected a finite number, got {value}")
    return float(value)
