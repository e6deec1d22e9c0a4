"""Put one picture to a predictor; keep what it says, and how long it took to say it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from inferkit._base import InputError

Clock = Callable[[], float]
Checked = TypeVar("Checked")

FAST_S = 0.002  # a call below this is repeated, for a single short time is mostly the timer's and the scheduler's
REPEATS = 5
LONGEST_MESSAGE = 300


@dataclass(frozen=True, eq=False, repr=False)
class Answer:
    """What one predictor says about one picture.

    Attributes
    ----------
    name : str
        The predictor's name.
    labels : tuple
        The labels of its k classes.
    probabilities : ndarray of float64, shape (k,)
        One for each label, in 0..1. Empty if it failed.
    time_us : float
        Time of one call of ``predict_proba`` with one picture, in microseconds. A call of
        less than 2 ms is made five times, and this is the median. NaN if it failed.
    calls : int
        How many calls stand behind ``time_us``.
    error : str or None
        If the predictor failed: the kind of the error and its message.

    Examples
    --------
    >>> Answer("coin", ("heads", "tails"), np.array([0.75, 0.25]), time_us=2.0, calls=5)
    Answer('coin': heads, 75.0 %, 2.0 µs)
    """

    name: str
    labels: tuple[Any, ...]
    probabilities: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    time_us: float = float("nan")
    calls: int = 0
    error: str | None = None

    @property
    def label(self) -> Any:
        """The most probable label; None if the predictor failed."""
        return self.labels[int(self.probabilities.argmax())] if self.probabilities.size else None

    @property
    def probability(self) -> float:
        """The probability of `label`; NaN if the predictor failed."""
        return float(self.probabilities.max()) if self.probabilities.size else float("nan")

    def __repr__(self) -> str:
        if self.error is not None:
            return f"Answer({self.name!r}: failed, {self.error})"
        return f"Answer({self.name!r}: {self.label}, {self.probability:.1%}, {self.time_us:.1f} µs)".replace("%", " %")


def ask(name: str, predictor: Any, picture: NDArray[np.float32], *, clock: Clock = perf_counter) -> Answer:
    """Put one picture to a predictor and time it. A failure becomes part of the answer.

    Parameters
    ----------
    name : str
        What the answer shall be called.
    predictor : object
        It has ``predict_proba(X)``, for X of shape (n, 8, 8), or of shape (n, 64) if its
        ``n_features_in_`` says so, as scikit-learn's estimators do.
    picture : ndarray of float32, shape (8, 8)
        Ink in 0..16. Every call gets a copy of its own.
    clock : callable
        Returns seconds.

    Returns
    -------
    Answer

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> dummy = DummyClassifier(strategy="prior").fit(np.zeros((4, 64)), [1, 7, 7, 7])
    >>> answer = ask("dummy", dummy, np.zeros((8, 8), np.float32))
    >>> answer.label, answer.probability
    (7, 0.75)
    """
    labels = labels_of(predictor)
    try:
        probabilities, seconds, calls = timed(
            lambda rows: predictor.predict_proba(rows),
            lambda: _rows(predictor, picture),
            check=lambda output: _checked(output, labels),
            clock=clock,
        )
    except Exception as error:  # whatever it is, the reader wants to see it in the pad and go on drawing
        return Answer(name, labels or tuple(range(10)), error=in_words(error))
    labels = labels or tuple(range(len(probabilities)))
    return Answer(name, labels, probabilities, time_us=seconds * 1e6, calls=calls)


def timed(
    call: Callable[[Any], Any], argument: Callable[[], Any], *, check: Callable[[Any], Checked], clock: Clock
) -> tuple[Checked, float, int]:
    """Call a function and time it: once, or five times if once takes less than 2 ms.

    Parameters
    ----------
    call : callable
        What is timed.
    argument : callable
        Makes what `call` is given, anew for each call and outside of its time.
    check : callable
        Reads the first output, or raises; then there is no second call.
    clock : callable
        Returns seconds.

    Returns
    -------
    checked : object
        What `check` returned.
    seconds : float
        Median time of a call.
    calls : int
        How many there were.

    Examples
    --------
    >>> ticks = iter([0.0, 0.5])
    >>> timed(abs, lambda: -3, check=float, clock=lambda: next(ticks))
    (3.0, 0.5, 1)
    """
    first, seconds = _once(call, argument(), clock)
    checked = check(first)
    times = [seconds]
    if seconds < FAST_S:
        times += [_once(call, argument(), clock)[1] for _ in range(REPEATS - 1)]
    return checked, median(times), len(times)


def _once(call: Callable[[Any], Any], argument: Any, clock: Clock) -> tuple[Any, float]:
    start = clock()
    output = call(argument)
    return output, clock() - start


def in_words(error: BaseException) -> str:
    """Return an error's kind and message, cut to what a widget has room for.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    str

    Examples
    --------
    >>> in_words(ValueError("no such digit"))
    'ValueError: no such digit'
    """
    return f"{type(error).__name__}: {error}"[:LONGEST_MESSAGE]


def _rows(predictor: Any, picture: NDArray[np.float32]) -> NDArray[np.float32]:
    flat = getattr(predictor, "n_features_in_", None) == picture.size
    return picture.reshape((1, -1) if flat else (1, *picture.shape)).copy()


def _checked(output: Any, labels: tuple[Any, ...] | None) -> NDArray[np.float64]:
    values = np.asarray(output, dtype=np.float64)
    expected = f"(1, {len(labels) if labels else 'k'})"
    if values.ndim != 2 or values.shape[0] != 1 or values.shape[1] != len(labels or values[0]) or not values.size:
        raise InputError(f"predict_proba: expected shape {expected} for one picture, got {values.shape}")
    if not np.isfinite(values).all():
        raise InputError("predict_proba: expected finite probabilities, got NaN or infinity")
    if values.min() < -1e-6 or values.max() > 1 + 1e-6:
        raise InputError(
            f"predict_proba: expected probabilities in 0..1, got {values.min():.3g}..{values.max():.3g}; "
            "if these are logits, end the model with a softmax"
        )
    return values.reshape(-1)


def labels_of(predictor: Any) -> tuple[Any, ...] | None:
    """Return a predictor's labels: its ``labels``, else its ``classes_``, else None.

    Parameters
    ----------
    predictor : object
        Anything.

    Returns
    -------
    tuple or None

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> labels_of(SimpleNamespace(labels=["cat", "dog"]))
    ('cat', 'dog')
    """
    for attribute in ("labels", "classes_"):
        labels = getattr(predictor, attribute, None)
        if labels is not None:
            return tuple(labels.tolist() if hasattr(labels, "tolist") else labels)
    return None


def named(predictors: Any) -> dict[str, Any]:
    """Return predictors by name, checked: a mapping as it is, a single one under its own name.

    Parameters
    ----------
    predictors : object or mapping of str to object
        Each has ``predict_proba``.

    Returns
    -------
    dict of str to object

    Raises
    ------
    InputError
        If the mapping is empty, a name is not a text, or one has no ``predict_proba``.

    Examples
    --------
    >>> named({})
    Traceback (most recent call last):
    ...
    inferkit._base.InputError: DigitPad: expected at least one predictor, got an empty dict
    """
    if not isinstance(predictors, Mapping):
        own = getattr(predictors, "name", None)
        predictors = {own if isinstance(own, str) and own else type(predictors).__name__: predictors}
    if not predictors:
        raise InputError("DigitPad: expected at least one predictor, got an empty dict")
    for name, predictor in predictors.items():
        _check_predictor(name, predictor)
    return dict(predictors)


def _check_predictor(name: Any, predictor: Any) -> None:
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"DigitPad: expected a name (a text) for each predictor, got {name!r}")
    if isinstance(predictor, type) or not callable(getattr(predictor, "predict_proba", None)):
        raise InputError(
            f"DigitPad: {name!r} has no predict_proba, got {type(predictor).__name__}; "
            "wrap the model first: DigitPad(inferkit.Predictor(model))"
        )
