"""The controls of a live figure, from short Python: a tuple, a range, a list, True or False."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from inferkit._base import InputError

from ._controls import Values, grid

MOST_CONTROLS = 8
MOST_STOPS = 1000
STOPS_A_DECADE = 40
_HOW = 'give (low, high), (low, high, "log"), range(low, high), a list of numbers or texts, True or False'


@dataclass(frozen=True)
class Control:
    """A slider, a picker or a checkbox.

    Parameters
    ----------
    name : str
        The argument of the function that it fills.
    label : str
        What stands beside it.
    kind : {"slider", "choice", "switch"}
    stops : tuple
        What can be chosen, as the function gets it.
    start : object
        The value that it shows first.
    between : bool, default=False
        Whether any number between the first and the last stop is allowed too.
    """

    name: str
    label: str
    kind: str
    stops: tuple[Any, ...]
    start: Any
    between: bool = False

    @property
    def plain(self) -> dict[str, Any]:
        """What the browser makes it from."""
        return {
            "kind": self.kind, "name": self.name, "label": self.label, "unit": "",
            "grid" if self.kind == "slider" else "options": list(self.stops),
        }  # fmt: skip

    def value(self, given: Any) -> Any:
        """Return a value as the function gets it: a browser knows no difference between 1 and 1.0.

        Raises
        ------
        InputError
            If the control cannot take it.
        """
        if np.ndim(given) == 0 and isinstance(given, bool | np.bool_) == (self.kind == "switch"):
            for stop in self.stops:
                if stop == given:
                    return stop
            if self.between and _is_number(given) and self.stops[0] <= given <= self.stops[-1]:
                return float(given)
        raise InputError(f"{self.name}: expected {self._words()}, got {given!r:.60}")

    def _words(self) -> str:
        if self.between or len(self.stops) > 12:
            return f"a number from {self.stops[0]} to {self.stops[-1]}" + ("" if self.between else " that is a stop")
        return f"one of {', '.join(map(repr, self.stops))}"


def controls_of(
    given: Any, *, labels: Mapping[str, str] | None = None, start: Mapping[str, Any] | None = None
) -> tuple[Control, ...]:
    """Return the controls of a live figure.

    Parameters
    ----------
    given : mapping of str to specification
        By the name of the function's argument; see `LiveFigure`.
    labels : mapping of str to str, optional
        What stands beside a control. Without it: its name, with spaces for underscores.
    start : mapping of str to object, optional
        What a control shows first.

    Returns
    -------
    tuple of Control

    Raises
    ------
    InputError
        If a specification, a label or a start cannot be used.

    Examples
    --------
    >>> width, patients = controls_of({"width": (0.1, 10, "log"), "patients": [10, 30, 100]})
    >>> width.start, patients.start, patients.stops
    (1.0, 10, (10, 30, 100))
    """
    if not isinstance(given, Mapping) or not 1 <= len(given) <= MOST_CONTROLS:
        raise InputError(
            f'controls: expected 1 to {MOST_CONTROLS} by name, as in {{"width": (0, 10)}}, got {given!r:.80}'
        )
    for name, more in (("labels", labels), ("start", start)):
        unknown = sorted(map(str, set(more or {}) - set(given)))
        if unknown:
            raise InputError(f"{name}: expected names of controls ({', '.join(map(str, given))}), got {unknown}")
    return tuple(_started(_control(name, spec, (labels or {}).get(name)), start or {}) for name, spec in given.items())


def check_arguments(function: Any, names: Sequence[str]) -> None:
    """Hold a function to taking these arguments by name.

    Parameters
    ----------
    function : callable
    names : sequence of str

    Raises
    ------
    InputError
        If it is not callable or takes others.

    Examples
    --------
    >>> check_arguments(lambda width: [], ["width"])
    """
    if not callable(function):
        raise InputError(f"LiveFigure: expected a function of the controls' values, got {type(function).__name__}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions written in C don't tell
        return
    try:
        signature.bind(**dict.fromkeys(names))
    except TypeError as error:
        raise InputError(
            f"LiveFigure: expected a function that takes {', '.join(names)}, got one of {signature}: {error}; "
            "name the controls as its arguments"
        ) from error


def starting(controls: Sequence[Control]) -> Values:
    """Return the value that each control shows first.

    Examples
    --------
    >>> starting(controls_of({"n": range(1, 10), "log": False}))
    {'n': 5, 'log': False}
    """
    return {control.name: control.start for control in controls}


def _control(name: Any, spec: Any, label: Any) -> Control:
    if not isinstance(name, str) or not name.isidentifier():
        raise InputError(f"controls: expected names of the function's arguments, got {name!r}")
    if label is not None and (not isinstance(label, str) or not label.strip()):
        raise InputError(f"labels: expected a text for {name!r}, got {label!r}")
    make = next((make for kinds, make in _MAKERS if isinstance(spec, kinds)), None)
    if make is None:
        raise InputError(f"control {name!r}: got {spec!r:.60}; {_HOW}")
    made = make(name, spec)
    return replace(made, label=label or name.replace("_", " "))


def _switch(name: str, spec: Any) -> Control:
    return Control(name, name, "switch", (False, True), bool(spec))


def _from_range(name: str, spec: range) -> Control:
    stops = tuple(sorted(spec))
    if not 2 <= len(stops) <= MOST_STOPS:
        raise InputError(
            f"control {name!r}: expected 2 to {MOST_STOPS:,} numbers in the range, got {len(stops):,}; "
            "give it a step: range(0, 5000, 50)"
        )
    return Control(name, name, "slider", stops, stops[len(stops) // 2])


def _from_list(name: str, spec: list[Any]) -> Control:
    stops = tuple(stop.item() if isinstance(stop, np.generic) else stop for stop in spec)
    texts = all(isinstance(stop, str) and stop for stop in stops)
    rising = all(map(_is_number, stops)) and all(a < b for a, b in pairwise(stops))
    if not 2 <= len(stops) <= MOST_STOPS or not (rising or (texts and len(set(stops)) == len(stops))):
        raise InputError(f"control {name!r}: expected 2 or more rising numbers, or different texts, got {spec!r:.60}")
    return Control(name, name, "choice" if texts else "slider", stops, stops[0])


def _from_ends(name: str, spec: tuple[Any, ...]) -> Control:
    low, high = map(float, spec[:2]) if len(spec) > 1 and all(map(_is_number, spec[:2])) else (0.0, 0.0)
    log = spec[2:] == ("log",)
    if not (low < high and (log or len(spec) == 2)):
        raise InputError(f"control {name!r}: expected low < high, got {spec!r:.60}; {_HOW}")
    if log and low <= 0:
        raise InputError(f"control {name!r}: expected 0 < low on a logarithmic slider, got {low:g}")
    stops = tuple(map(float, (log_grid if log else grid)(low, high)))
    return Control(name, name, "slider", stops, stops[len(stops) // 2], between=True)


_MAKERS: list[tuple[type, Callable[[str, Any], Control]]] = [
    (bool, _switch), (range, _from_range), (list, _from_list), (tuple, _from_ends),
]  # fmt: skip


def log_grid(low: float, high: float) -> list[float]:
    """Return a slider's stops that multiply: both limits, and between them numbers of two digits.

    Parameters
    ----------
    low, high : float
        ``0 < low < high``. If `high` is less than three times `low`, the stops have three digits.

    Returns
    -------
    list of float
        Rising.

    Examples
    --------
    >>> stops = log_grid(0.1, 10)
    >>> stops[:3], stops[-2:], 1.0 in stops
    ([0.1, 0.11, 0.12], [9.4, 10.0], True)
    """
    digits = 2 if high >= 3 * low else 3
    decades = math.log10(high) - math.log10(low)
    count = min(MOST_STOPS // 2, max(STOPS_A_DECADE, round(STOPS_A_DECADE * decades)) + 1)
    between = (float(f"{stop:.{digits - 1}e}") for stop in np.geomspace(low, high, count))
    return sorted({float(low), float(high), *(stop for stop in between if low < stop < high)})


def _is_number(value: Any) -> bool:
    """Tell whether it is a finite number of a size that sliders can do with. NaN is below nothing."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and bool(-1e100 < value < 1e100)


def _started(control: Control, start: Mapping[str, Any]) -> Control:
    """Return the control with its start; a start between two stops becomes one, so that the slider can come back."""
    if control.name not in start:
        return control
    value = control.value(start[control.name])
    return replace(
        control, start=value, stops=tuple(sorted({*control.stops, value})) if control.between else control.stops
    )
