"""Put one row to a predictor; keep what each of its outputs says, and how long the call took."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferkit.predictor import OutputSpec

from ._answers import Clock, in_words, timed

MOST_BARS = 10
MOST_VALUES = 8


@dataclass(frozen=True, eq=False)
class Reading:
    """What one output of a predictor says about one row.

    Attributes
    ----------
    spec : OutputSpec
        Its name, kind, labels and unit.
    value : object
        The likeliest label, the label, the number, or an array of numbers.
    probabilities : ndarray of float64, shape (k,), or None
        One for each label, where the output gives them.
    """

    spec: OutputSpec
    value: Any
    probabilities: NDArray[np.float64] | None = None

    @property
    def text(self) -> str:
        """The value in words, with its unit."""
        if self.spec.kind != "values":
            return str(self.value)
        return f"{_values_in_words(self.value)} {self.spec.unit}".strip()


@dataclass(frozen=True, eq=False, repr=False)
class LiveAnswer:
    """What a predictor says about one row.

    Attributes
    ----------
    row : object
        The row, as ``predict_one`` takes it. None if there was none: ``error`` says why.
    readings : tuple of Reading
        One for each output. Empty if the predictor failed.
    time_us : float
        Time of one call with this row, in microseconds. A call of less than 2 ms is made five
        times, and this is the median. NaN if it failed.
    calls : int
        How many calls stand behind ``time_us``.
    error : str or None
        If the predictor failed, or the row breaks its contract: the kind of the error and its message.

    Examples
    --------
    >>> LiveAnswer("a text", (Reading(OutputSpec("length", unit="characters"), 6.0),), time_us=3.0, calls=5)
    LiveAnswer(6 characters, 3.0 µs)
    """

    row: Any
    readings: tuple[Reading, ...] = ()
    time_us: float = float("nan")
    calls: int = 0
    error: str | None = None

    @property
    def value(self) -> Any:
        """The answer as ``predict_one`` gives it: one value, or a dict by output; None if it failed."""
        values = {reading.spec.name: reading.value for reading in self.readings}
        return next(iter(values.values()), None) if len(values) <= 1 else values

    @property
    def probabilities(self) -> dict[str, dict[Any, float]]:
        """The probability of each label, for each output that gives them."""
        found = ((r.spec.name, r.spec.labels, r.probabilities) for r in self.readings)
        return {n: dict(zip(labels or (), p.tolist(), strict=True)) for n, labels, p in found if p is not None}

    def __repr__(self) -> str:
        if self.error is not None:
            return f"LiveAnswer(failed, {self.error})"
        return f"LiveAnswer({', '.join(reading.text for reading in self.readings)}, {self.time_us:.1f} µs)"


def read_row(predictor: Any, make_row: Callable[[], Any], *, clock: Clock = perf_counter) -> LiveAnswer:
    """Put one row to a predictor and time it. A failure becomes part of the answer.

    Parameters
    ----------
    predictor : Predictor
        Called through ``predict_proba`` if all its outputs are probabilities, through ``predict`` if
        none is. If some are, one ``trace`` gives both, so that a slow model is not called twice.
    make_row : callable
        Returns the row as ``predict_one`` takes it, a copy of its own for each call.
    clock : callable
        Returns seconds.

    Returns
    -------
    LiveAnswer

    Examples
    --------
    >>> from inferkit.predictor import Predictor, TextSpec
    >>> counts = Predictor(lambda texts: np.array([len(t) for t in texts]), signature=TextSpec())
    >>> read_row(counts, lambda: "a fine day").value
    10
    """
    row = None
    try:
        row = make_row()
        specs = predictor.signature.outputs
        readings, seconds, calls = timed(
            _call_of(predictor), lambda: _batch(make_row()), check=lambda raw: _readings(specs, raw), clock=clock
        )
    except (Exception, SystemExit) as error:  # whatever it is, the reader wants to see it and go on
        return LiveAnswer(row, error=in_words(error))
    return LiveAnswer(row, readings, seconds * 1e6, calls)


def _call_of(predictor: Any) -> Callable[[Any], Any]:
    probable = [spec.kind == "probabilities" for spec in predictor.signature.outputs]
    if all(probable):
        return lambda rows: predictor.predict_proba(rows)
    if not any(probable):
        return lambda rows: predictor.predict(rows)
    return lambda rows: predictor.trace(rows, repeat=1).stages[-2].value  # the last stage turns them into labels


def _batch(row: Any) -> Any:
    return row[None] if isinstance(row, np.ndarray) else [row]


def _readings(specs: tuple[OutputSpec, ...], raw: Any) -> tuple[Reading, ...]:
    by_name = raw if isinstance(raw, dict) else {specs[0].name: raw}
    return tuple(_reading(spec, by_name[spec.name][0]) for spec in specs)


def _reading(spec: OutputSpec, value: Any) -> Reading:
    if spec.kind != "probabilities":
        single = np.ndim(value) == 0 or np.size(value) == 1
        return Reading(spec, np.asarray(value).reshape(-1)[0].item() if single else np.array(value))
    assert spec.labels is not None
    probabilities = np.asarray(value, np.float64)
    return Reading(spec, spec.labels[int(probabilities.argmax())], probabilities)


def plain(answer: LiveAnswer) -> dict[str, Any]:
    """Return an answer as what JSON can carry: numbers that may be no finite ones are text.

    Parameters
    ----------
    answer : LiveAnswer

    Returns
    -------
    dict

    Examples
    --------
    >>> plain(LiveAnswer(None, error="ValueError: no"))
    {'error': 'ValueError: no', 'outputs': []}
    """
    told: dict[str, Any] = {"error": answer.error, "outputs": [_plain(reading) for reading in answer.readings]}
    if answer.error is None:
        told |= {"time_us": round(answer.time_us, 2), "calls": answer.calls}
    return told


def _plain(reading: Reading) -> dict[str, Any]:
    told: dict[str, Any] = {"name": reading.spec.name, "text": reading.text, "bars": [], "more": 0}
    if reading.probabilities is not None:
        bars = top(reading)
        told |= {"probability": _share(reading.probabilities.max()), "more": reading.probabilities.size - len(bars)}
        told["bars"] = [{"label": str(label), "p": p, "best": best} for label, p, best in bars]
    return told


def top(reading: Reading) -> list[tuple[Any, float, bool]]:
    """Return label, probability and whether it is the likeliest: all in their order, or the ten likeliest of more.

    Parameters
    ----------
    reading : Reading
        It has probabilities.

    Returns
    -------
    list of (object, float, bool)

    Examples
    --------
    >>> top(Reading(OutputSpec("o", "probabilities", ("cat", "dog")), "dog", np.array([0.25, 0.75])))
    [('cat', 0.25, False), ('dog', 0.75, True)]
    """
    p, labels = reading.probabilities, reading.spec.labels
    assert p is not None
    assert labels is not None
    shown = range(len(p)) if len(p) <= MOST_BARS else np.argsort(-p, kind="stable")[:MOST_BARS].tolist()
    return [(labels[i], _share(p[i]), i == int(p.argmax())) for i in shown]


def _share(p: float) -> float:
    return round(min(1.0, max(0.0, float(p))), 4)  # a quantized model may be off by a step


def _values_in_words(value: Any) -> str:
    if np.ndim(value) == 0:
        return number_in_words(value)
    flat = np.asarray(value).reshape(-1)
    listed = ", ".join(number_in_words(v) for v in flat[:MOST_VALUES].tolist())
    return listed if len(flat) <= MOST_VALUES else f"{listed}, … ({len(flat):,} values)"


def number_in_words(value: Any) -> str:
    """Return a number with four digits, an integer with all of them, anything else as it is.

    Parameters
    ----------
    value : object

    Returns
    -------
    str

    Examples
    --------
    >>> [number_in_words(v) for v in (12345.6, 0.00012344, 1234567, float("nan"), "fine")]
    ['12,350', '0.0001234', '1,234,567', 'nan', 'fine']
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    rounded = float(f"{value:.4g}")
    return f"{rounded:,.0f}" if 1000 <= abs(rounded) < 1e6 else f"{rounded:g}"
