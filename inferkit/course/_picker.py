"""A picker of silent faults: what the model sees then, what it answers, and how sure it is."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from threading import RLock
from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError, answer_while_busy, require
from ..predictor import ArraySpec, Predictor
from ._faults import FAULT_NAMES, with_faults

Array = npt.NDArray[Any]
_OFFERED = ("scale forgotten", "inverted", "transposed", "grey levels lost", "channels swapped", "labels sorted")


@dataclass(frozen=True)
class Outcome:
    """What became of the pictures under some faults.

    Parameters
    ----------
    faults : tuple of str
        Their names; empty for none.
    accuracy : float
        Share of right answers.
    confidence : float
        Mean probability of the answer.
    seen : ndarray of uint8, shape (n, height, width, 3)
        The first pictures as they reached the model, drawn as if 0 to 1 were black to white.
    answers : tuple of str
        To those pictures.
    sure : tuple of float
        The probability of each of those answers.
    right : tuple of bool
        Whether each of those answers is right.
    """

    faults: tuple[str, ...]
    accuracy: float
    confidence: float
    seen: npt.NDArray[np.uint8]
    answers: tuple[str, ...]
    sure: tuple[float, ...]
    right: tuple[bool, ...]

    @property
    def name(self) -> str:
        """The faults in words."""
        return " and ".join(self.faults) or "no fault"

    def __repr__(self) -> str:
        return f"{self.name}: right {self.accuracy:.2f}, sure {self.confidence:.2f}"


class FaultPicker:
    """Pictures, and faults to switch on and off. Made by `fault_picker`; a cell that ends in it shows it."""

    def __init__(self, predictor: Predictor, X: Array, y: Array, faults: tuple[str, ...], show: int) -> None:
        from ._picker_view import PickerView

        self.faults = faults
        self._predictor, self._X, self._y, self._show = predictor, X, y, show
        self._outcomes: dict[frozenset[str], Outcome] = {}
        self._lock = RLock()  # the page's messages come on a thread of their own
        self._view = PickerView(faults=list(faults), shown=_for_page(self.outcome()))
        answer_while_busy(self._view)
        self._view.observe(self._on_chosen, "chosen")

    @property
    def chosen(self) -> tuple[str, ...]:
        """The faults that are switched on."""
        return tuple(name for name in self.faults if name in self._view.chosen)

    def choose(self, *faults: str) -> FaultPicker:
        """Switch these faults on, and all others off, without touching the widget.

        Parameters
        ----------
        *faults : str
            Names out of `faults`.

        Returns
        -------
        FaultPicker
            This picker.

        Raises
        ------
        InputError
            If a name is none of those offered.
        """
        self._view.chosen = list(_checked_faults(faults, self.faults))
        return self

    def outcome(self, *faults: str) -> Outcome:
        """Return what becomes of the pictures under some faults; nothing that is shown changes.

        Parameters
        ----------
        *faults : str
            Names out of `faults`; none for the predictor as it is.

        Returns
        -------
        Outcome

        Raises
        ------
        InputError
            If a name is none of those offered.
        """
        names = frozenset(_checked_faults(faults, self.faults))
        with self._lock:
            if names not in self._outcomes:
                self._outcomes[names] = self._asked(tuple(name for name in self.faults if name in names))
            return self._outcomes[names]

    def _asked(self, names: tuple[str, ...]) -> Outcome:
        broken = with_faults(self._predictor, names)
        p = broken.predict_proba(self._X)
        assert broken.labels is not None  # `fault_picker` has seen to it
        answers = np.array([str(label) for label in broken.labels])[p.argmax(axis=1)]
        right, n = answers == self._y, self._show
        return Outcome(
            names,
            accuracy=float(right.mean()),
            confidence=float(p.max(axis=1).mean()),
            seen=_as_seen(broken, self._X[:n]),
            answers=tuple(answers[:n].tolist()),
            sure=tuple(p.max(axis=1)[:n].tolist()),
            right=tuple(right[:n].tolist()),
        )

    def _on_chosen(self, change: Any) -> None:
        self._view.shown = _for_page(self.outcome(*(name for name in self.faults if name in change["new"])))

    def __repr__(self) -> str:
        return repr(self.outcome(*self.chosen))

    def _repr_mimebundle_(self, **_: Any) -> Any:
        from ._views import mimebundle

        rows = [self.outcome(), *(self.outcome(name) for name in self.faults)]
        return mimebundle(self._view, "\n".join(map(repr, rows)), _still(rows))


def fault_picker(
    predictor: Predictor, X: npt.ArrayLike, y: Sequence[Any] | Array, *, faults: Iterable[str] = (), show: int = 6
) -> FaultPicker:
    """Show the same pictures under silent faults that one switches on and off.

    The first pictures are shown as they reach the model, each with its answer and how sure it is; beside them, for
    all pictures, the share of right answers and the mean confidence. Where no kernel runs it is a table.

    Parameters
    ----------
    predictor : Predictor
        Takes pictures and has labels. It stays as it is.
    X : (n, height, width) or (n, height, width, 3) array
        Pictures that meet the predictor's contract.
    y : (n,) sequence
        The true label of each.
    faults : iterable of str, optional
        Which faults are offered, by the names that `name_the_fault` knows. By default those of
        lesson 02 that the predictor has a part for.
    show : int, default=6
        How many pictures are shown.

    Returns
    -------
    FaultPicker
        With ``chosen``, ``choose`` and ``outcome``.

    Raises
    ------
    InputError
        If the predictor takes no pictures or has no labels, X and y do not fit each other, a fault is
        unknown or finds no place, or there are fewer pictures than `show`.
    MissingExtraError
        If anywidget is not installed.

    Examples
    --------
    >>> from inferkit.datasets import load_signs
    >>> from inferkit.predictor import sign_reader
    >>> signs = load_signs()
    >>> picker = fault_picker(sign_reader(), signs.images[:120], [signs.target_names[k] for k in signs.target[:120]])
    >>> picker.outcome("channels swapped").accuracy < 0.5 < picker.outcome("channels swapped").confidence
    True
    """
    require("anywidget", extra="notebooks")
    if not isinstance(predictor, Predictor) or predictor.labels is None:
        raise InputError(f"predictor: expected an inferkit Predictor with labels, got {predictor!r:.80}")
    spec = predictor.signature.input
    if not isinstance(spec, ArraySpec) or len(spec.shape) not in (2, 3):
        raise InputError(f"predictor: expected one that takes pictures, got the contract {spec}")
    rows, truth = spec.check(X), np.array([str(label) for label in y])
    if len(truth) != len(rows) or set(truth) - set(map(str, predictor.labels)):
        raise InputError(f"y: expected one of the predictor's labels for each of {len(rows)} pictures, got {y!r:.80}")
    if isinstance(show, bool) or not isinstance(show, int | np.integer) or not 1 <= show <= len(rows):
        raise InputError(f"show: expected a whole number from 1 to {len(rows)}, got {show!r}")
    names = _checked_faults(faults, FAULT_NAMES) or tuple(name for name in _OFFERED if _has_place(predictor, name))
    for name in names:
        with_faults(predictor, [name])  # raises where the fault finds no place
    return FaultPicker(predictor, rows, truth, names, int(show))


def _has_place(predictor: Predictor, name: str) -> bool:
    try:
        with_faults(predictor, [name])
    except InputError:
        return False
    return True


def _checked_faults(faults: Iterable[str], offered: Sequence[str]) -> tuple[str, ...]:
    names = tuple(faults)
    if unknown := [name for name in names if name not in offered]:
        raise InputError(f"faults: expected some of {', '.join(map(repr, offered))}, got {unknown}")
    return names


def _as_seen(predictor: Predictor, X: Array) -> npt.NDArray[np.uint8]:
    """Return pictures as the model gets them: 0 is drawn black, 1 and more white."""
    value: Any = X
    for step in predictor.preprocess:
        value = step(value)
    colours = value if value.ndim == 4 else np.repeat(value[..., None], 3, axis=-1)
    return np.asarray(np.rint(255 * np.clip(colours, 0, 1)), np.uint8)


def _png(picture: npt.NDArray[np.uint8]) -> str:
    """Return a picture as an address that holds its bytes."""
    from PIL import Image  # matplotlib brings it along

    out = io.BytesIO()
    Image.fromarray(picture).save(out, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _for_page(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as the page takes it: texts that are ready to be shown, and pictures."""
    each = zip(outcome.seen, outcome.answers, outcome.sure, outcome.right, strict=True)
    return {
        "accuracy": _percent(outcome.accuracy),
        "confidence": _percent(outcome.confidence),
        "spoken": f"{outcome.name}: {_percent(outcome.accuracy)} right, {_percent(outcome.confidence)} sure.",
        "pictures": [
            {"src": _png(picture), "answer": answer, "sure": _percent(sure), "right": right}
            for picture, answer, sure, right in each
        ],
    }


def _still(outcomes: Sequence[Outcome]) -> str:
    """Return a table for pages where no kernel runs: a row for each fault, the pictures side by side."""
    head = "".join(f"<th scope='col'>{title}</th>" for title in ("fault", "what the model sees", "right", "sure"))
    rows = [
        f"<tr><th scope='row'>{escape(o.name)}</th><td>{_strip(o)}</td>"
        f"<td>{_percent(o.accuracy)}</td><td>{_percent(o.confidence)}</td></tr>"
        for o in outcomes
    ]
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _strip(outcome: Outcome) -> str:
    """Return the pictures of an outcome as one image, with its answers as alternative text."""
    side_by_side = np.concatenate(list(outcome.seen), axis=1)
    alt = escape(f"With {outcome.name} the model answers {', '.join(outcome.answers)}.", quote=True)
    width = 48 * len(outcome.answers)
    return f'<img alt="{alt}" width="{width}" style="image-rendering: pixelated" src="{_png(side_by_side)}">'
