"""Numbers as people read them."""

import math

_UNITS = ((1e-6, "ns", 1e9), (1e-3, "µs", 1e6), (1.0, "ms", 1e3), (math.inf, "s", 1.0))
_ENERGY = ((1e-6, "nJ", 1e9), (1e-3, "µJ", 1e6), (1.0, "mJ", 1e3), (math.inf, "J", 1.0))


def time_words(seconds: float) -> str:
    """Write a length of time with three digits and the unit that suits it.

    Parameters
    ----------
    seconds : float
        0 or more.

    Returns
    -------
    str

    Examples
    --------
    >>> time_words(10.43e-6), time_words(0.1), time_words(0), time_words(125)
    ('10.4 µs', '100 ms', '0 ns', '125 s')
    """
    return _in_unit(seconds, _UNITS)


def energy_words(joules: float) -> str:
    """Write an energy with three digits and the unit that suits it; less than none is possible for a difference.

    Parameters
    ----------
    joules : float

    Returns
    -------
    str

    Examples
    --------
    >>> energy_words(10.43e-6), energy_words(-0.1), energy_words(0), energy_words(125)
    ('10.4 µJ', '-100 mJ', '0 nJ', '125 J')
    """
    return "-" * (joules < 0) + _in_unit(abs(joules), _ENERGY)


def _in_unit(value: float, units: tuple[tuple[float, str, float], ...]) -> str:
    unit, factor = next((name, factor) for limit, name, factor in units if value < limit * 0.9995)
    return f"{digits(value * factor)} {unit}"


def digits(value: float) -> str:
    """Write a number with three digits, and without an exponent."""
    if value == 0:
        return "0"
    value = float(f"{value:.3g}")  # first, for rounding may add a digit
    places = max(0, 2 - math.floor(math.log10(value)))
    return f"{value:,.{places}f}"


def range_words(low: float | None, high: float | None) -> str:
    """Write an interval of times, in seconds; an end that the sample does not bound is said to be open."""
    ends = ("no lower end" if low is None else time_words(low), "no upper end" if high is None else time_words(high))
    return " to ".join(ends)
