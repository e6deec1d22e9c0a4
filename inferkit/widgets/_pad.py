"""A pad to draw digits on, which its predictors read while one draws."""

from collections.abc import Mapping
from threading import RLock
from time import perf_counter
from typing import Any

import anywidget
import numpy as np
import traitlets
from ipywidgets.widgets.trait_types import CByteMemoryView
from numpy.typing import ArrayLike, NDArray

from inferkit._base import InputError, answer_while_busy
from inferkit.datasets import picture_from_drawing

from ._answers import Answer, Clock, ask, labels_of, named
from ._files import joined

FIELD = 32


class DigitPad(anywidget.AnyWidget):  # type: ignore[misc]  # anywidget's base is untyped
    """Draw a digit by mouse, finger, pen or keyboard; the predictors answer while you draw.

    The drawing is 32 × 32 points of ink. It is centred and reduced to the 8 × 8 picture which the
    models know; the pad shows that picture too. Each predictor has its answer, its ten
    probabilities, and the time that its ``predict_proba`` took, measured in the kernel. The way
    from the browser to the kernel and back is not part of that time.

    Where no kernel runs, the output shows a picture of the pad instead, without times.

    Parameters
    ----------
    predictors : object or mapping of str to object
        A predictor, or several by name. Each has ``predict_proba(X)`` for pictures X of shape
        (n, 8, 8) with ink in 0..16, and returns an array of shape (n, k): a
        `inferkit.Predictor`, a fitted scikit-learn classifier of 64 columns, or any such object.
    clock : callable, optional
        Returns seconds; what the times are read from.

    Raises
    ------
    InputError
        If there is no predictor, or one has no ``predict_proba``.

    Notes
    -----
    Drawings arrive on a thread of the kernel's own, also while a cell runs. Every change of state
    holds one lock, so a predictor sees one picture at a time from one pad. The browser keeps at
    most one message under way, and then sends the newest drawing.

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> dummy = DummyClassifier(strategy="prior").fit(np.zeros((4, 64)), [1, 7, 7, 7])
    >>> pad = DigitPad({"always 7": dummy})
    >>> pad
    DigitPad('always 7', blank)
    >>> ink = np.zeros((32, 32), np.uint8)
    >>> ink[4:28, 14:18] = 255
    >>> pad.draw(ink)
    >>> pad.answers["always 7"].label
    7
    """

    _esm = joined("pad.js")
    _css = joined("colours.css", "pad.css")
    # traitlets' own Bytes refuses what a browser sends. Nothing is echoed: the browser knows what it drew.
    _ink = CByteMemoryView(bytes(FIELD * FIELD)).tag(sync=True, echo_update=False)
    _asked = traitlets.Int(0).tag(sync=True, echo_update=False)  # the browser's count of its drawings
    _reply = traitlets.Dict().tag(sync=True)

    def __init__(self, predictors: Any, *, clock: Clock = perf_counter) -> None:
        self._lock = RLock()
        self._predictors = named(predictors)
        self._clock = clock
        self._serial = 0
        self._picture: NDArray[np.float32] = np.zeros((8, 8), np.float32)
        self._answers: dict[str, Answer] = {}
        super().__init__()
        answer_while_busy(self)
        self._answer()
        self.observe(self._on_asked, "_asked")

    @property
    def drawing(self) -> NDArray[np.uint8]:
        """The ink, shape (32, 32), uint8, 0 to 255; a copy."""
        return np.frombuffer(bytes(self._ink), np.uint8).reshape(FIELD, FIELD).copy()

    @property
    def picture(self) -> NDArray[np.float32]:
        """What the predictors see: shape (8, 8), float32, ink in 0..16; a copy."""
        return self._picture.copy()

    @property
    def answers(self) -> dict[str, Answer]:
        """The latest `Answer` of each predictor by name; empty while the pad is blank."""
        return dict(self._answers)

    def draw(self, drawing: ArrayLike) -> None:
        """Replace the drawing and let the predictors answer.

        Parameters
        ----------
        drawing : array_like, shape (32, 32)
            Ink: uint8 in 0..255, or bool, or float in 0..1.

        Raises
        ------
        InputError
            If shape, dtype or range are others.
        """
        ink = _as_ink(drawing)
        with self._lock:
            self._ink = ink.tobytes()
            self._answer()

    def clear(self) -> None:
        """Make the pad blank."""
        self.draw(np.zeros((FIELD, FIELD), np.uint8))

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what the browser sends: one message at a time, whichever thread brings it."""
        with self._lock:
            super().set_state(sync_data)

    @traitlets.validate("_ink")  # type: ignore[untyped-decorator]  # traitlets' own
    def _check_ink(self, proposal: Any) -> Any:
        if len(proposal.value) != FIELD * FIELD:
            raise traitlets.TraitError(f"expected {FIELD * FIELD} bytes of ink, got {len(proposal.value)}")
        return proposal.value

    def _on_asked(self, _: Any) -> None:
        self._answer()

    def _answer(self) -> None:
        drawing = self.drawing
        self._picture = np.asarray(picture_from_drawing(drawing), np.float32)
        asked = self._predictors if drawing.any() else {}
        self._answers = {name: ask(name, p, self._picture, clock=self._clock) for name, p in asked.items()}
        self._serial += 1
        self._reply = {
            "serial": self._serial,
            "asked": self._asked,
            "picture": np.round(self._picture, 2).ravel().tolist(),
            "answers": [_plain(name, p, self._answers.get(name)) for name, p in self._predictors.items()],
        }

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        from ._static import still

        data, metadata = bundle
        return {**data, **still(self._predictors, self.drawing)}, metadata

    def __repr__(self) -> str:
        names = ", ".join(map(repr, self._predictors))
        return f"DigitPad({names}, {'drawn' if np.any(self.drawing) else 'blank'})"


def _plain(name: str, predictor: Any, answer: Answer | None) -> Mapping[str, Any]:
    """Return an answer as what JSON can carry; without one, only who would answer."""
    if answer is None:
        return {"name": name, "labels": [str(label) for label in labels_of(predictor) or range(10)]}
    plain: dict[str, Any] = {"name": name, "labels": [str(label) for label in answer.labels], "error": answer.error}
    if answer.error is None:
        plain |= {
            "probabilities": np.round(answer.probabilities, 4).tolist(),
            "best": int(answer.probabilities.argmax()),
            "time_us": round(answer.time_us, 2),
            "calls": answer.calls,
        }
    return plain


def _as_ink(drawing: ArrayLike) -> NDArray[np.uint8]:
    ink = np.asarray(drawing)
    if ink.shape != (FIELD, FIELD):
        raise InputError(f"draw: expected a drawing of shape ({FIELD}, {FIELD}), got {ink.shape}")
    if ink.dtype == np.uint8:
        return ink
    if ink.dtype == np.bool_:
        return ink.astype(np.uint8) * np.uint8(255)
    if not np.issubdtype(ink.dtype, np.floating):
        raise InputError(f"draw: expected uint8 in 0..255, bool, or float in 0..1, got {ink.dtype}")
    if not (np.isfinite(ink).all() and ink.min() >= 0 and ink.max() <= 1):
        raise InputError(f"draw: expected float ink in 0..1, got {ink.min():.3g}..{ink.max():.3g}")
    return np.round(ink * 255).astype(np.uint8)
