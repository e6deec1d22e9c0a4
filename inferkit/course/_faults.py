"""Silent faults to find from their symptoms. Reading this file spoils the hunt.

| code | fault | the accident behind it |
|---|---|---|
| amber | labels shifted | classes counted from 1 in one program and from 0 in the other |
| birch | scale forgotten | ÷ 16 was done by the training script, and not where the model serves |
| cedar | inverted | ink is high in the training pictures, and low in those of a scanner |
| damson | transposed | rows and columns change places between two libraries |
| elder | grey levels lost | pictures stored as whole numbers after they were scaled to 0..1 |
| fir | labels sorted | a folder for each class, read in alphabetical order |
| gorse | channels swapped | one library gives red, green, blue, and another one blue, green, red |
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError, generator
from ..predictor import ArraySpec, Cast, Predictor, Scale
from ._check import Verdict, check

Array = npt.NDArray[Any]
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def break_it(predictor: Predictor, fault: str) -> Predictor:
    """Return a predictor like the one given, with one silent fault in it.

    Parameters
    ----------
    predictor : Predictor
        It stays as it is.
    fault : str
        A code name: 'amber', 'birch', 'cedar', 'damson', 'elder', 'fir' or 'gorse'. What each stands
        for is to be found out.

    Returns
    -------
    Predictor
        It answers every picture, without an error. It can be saved where the given one can,
        'damson' and 'gorse' apart.

    Raises
    ------
    InputError
        If the code is unknown, or the predictor has no part in which this fault could hide.

    Examples
    --------
    >>> from inferkit.predictor import ArraySpec
    >>> def darkness(X):
    ...     dark = X.mean(axis=(1, 2)) / 16
    ...     return np.column_stack([1 - dark, dark])
    >>> honest = Predictor(darkness, signature=ArraySpec((8, 8), low=0, high=16), labels=["light", "dark"])
    >>> broken = break_it(honest, "cedar")
    >>> honest.predict_one(np.zeros((8, 8))), broken.predict_one(np.zeros((8, 8)))
    ('light', 'dark')
    """
    if not isinstance(predictor, Predictor):
        raise InputError(f"predictor: expected an inferkit Predictor, got {type(predictor).__name__}; wrap it in one")
    changes = _known(fault).inject(predictor)
    parts: dict[str, Any] = {
        "preprocess": predictor.preprocess,
        "postprocess": predictor.postprocess,
        "signature": predictor.signature,
        "name": f"{predictor.name} ({fault})",
    }
    return Predictor(predictor.backend, **(parts | changes))


def name_the_fault(fault: str, suspicion: str | EllipsisType) -> Verdict:
    """Check a suspicion about a fault, as `check` does, with a hint if it is wrong.

    Parameters
    ----------
    fault : str
        The code name given to `break_it`.
    suspicion : str
        One of 'labels shifted', 'labels sorted', 'scale forgotten', 'inverted', 'transposed',
        'grey levels lost', 'channels swapped'.

    Returns
    -------
    Verdict
        True if that is the fault.

    Raises
    ------
    InputError
        If the code or the suspicion is none of those listed.

    Examples
    --------
    >>> found = name_the_fault("cedar", "inverted")
    ✓ the fault in cedar
    """
    truth = _known(fault)
    if suspicion is ...:
        return check(f"the fault in {fault}", suspicion)
    names = sorted(f.name for f in _FAULTS.values())
    said = suspicion.strip().casefold() if isinstance(suspicion, str) else suspicion
    if said not in names:
        raise InputError(f"suspicion: expected one of {', '.join(map(repr, names))}, got {suspicion!r}")
    return check(f"the fault in {fault}", said == truth.name, f"not {said!r}. {truth.hint}")


def pictures_of_nothing(n: int = 5, *, random_state: int | np.random.Generator | None = 0) -> tuple[Array, list[str]]:
    """Return pictures that show no digit, to ask a model that has never learnt to say "nothing".

    Parameters
    ----------
    n : int, default=5
        How many.
    random_state : int, numpy.random.Generator or None, default=0
        Where the noise and the stripes come from.

    Returns
    -------
    pictures : numpy.ndarray of shape (n, 8, 8), float32
        Ink from 0 to 16, as `inferkit.datasets.load_digits` has it.
    kinds : list of str
        What each picture is: 'blank', 'full', 'noise', 'stripes' and 'squares', in turns.

    Raises
    ------
    InputError
        If `n` is no whole number above 0.

    Examples
    --------
    >>> pictures, kinds = pictures_of_nothing(5)
    >>> pictures.shape, kinds
    ((5, 8, 8), ['blank', 'full', 'noise', 'stripes', 'squares'])
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise InputError(f"n: expected a whole number above 0, got {n!r}")
    rng = generator(random_state)
    kinds = [list(_NOTHING)[i % len(_NOTHING)] for i in range(n)]
    return np.stack([_NOTHING[kind](rng) for kind in kinds]).astype(np.float32), kinds


def _stripes(rng: np.random.Generator) -> Array:
    """Stripes of random direction, width and start."""
    width, start = int(rng.integers(1, 4)), int(rng.integers(4))
    rows = np.repeat(((np.arange(8) + start) // width % 2)[:, None] * 16.0, 8, axis=1)
    return rows.T if rng.random() < 0.5 else rows


def _squares(rng: np.random.Generator) -> Array:
    """Return a chequered board with squares of 1, 2 or 4 points."""
    i = np.arange(8) // int(rng.choice([1, 2, 4]))
    board: Array = (i[:, None] + i + rng.integers(2)) % 2 * 16.0
    return board


_NOTHING: dict[str, Callable[[np.random.Generator], Array]] = {
    "blank": lambda _: np.zeros((8, 8)),
    "full": lambda _: np.full((8, 8), 16.0),
    "noise": lambda rng: rng.integers(0, 17, (8, 8)).astype(float),
    "stripes": _stripes,
    "squares": _squares,
}


@dataclass(frozen=True)
class _Fault:
    """What a fault is called, what it changes in a predictor, and where to look for it."""

    name: str
    inject: Callable[[Predictor], dict[str, Any]]
    hint: str


def with_faults(predictor: Predictor, names: Iterable[str]) -> Predictor:
    """Return a predictor with several faults at once, called by their names, whatever their order.

    Parameters
    ----------
    predictor : Predictor
        It stays as it is.
    names : iterable of str
        Such as 'inverted'; none leaves the predictor whole.

    Returns
    -------
    Predictor

    Raises
    ------
    InputError
        If a name is unknown, or the predictor has no part in which that fault could hide.
    """
    wanted = set(names)
    if unknown := wanted - set(FAULT_NAMES):
        raise InputError(f"faults: expected some of {', '.join(map(repr, FAULT_NAMES))}, got {sorted(unknown)}")
    # 'grey levels lost' looks for the scale that 'scale forgotten' takes away, so that one comes last.
    order = sorted(_FAULTS, key=lambda code: code == "birch")
    for code in order:
        if _FAULTS[code].name in wanted:
            predictor = break_it(predictor, code)
    return predictor


def _known(fault: str) -> _Fault:
    if not isinstance(fault, str) or fault not in _FAULTS:
        raise InputError(f"fault: expected one of {', '.join(map(repr, _FAULTS))}, got {fault!r}")
    return _FAULTS[fault]


def _labels(predictor: Predictor) -> tuple[Any, ...]:
    if predictor.labels is None:
        raise InputError(f"{predictor.name} has no labels that could be wrong; give one with labels=[...]")
    return predictor.labels


def _shift_labels(predictor: Predictor) -> dict[str, Any]:
    labels = _labels(predictor)
    return {"labels": labels[1:] + labels[:1]}


def _sort_labels(predictor: Predictor) -> dict[str, Any]:
    """Sort the labels as a folder listing would; digits sort as themselves, so they go by their names."""
    labels = _labels(predictor)
    digits = all(label in range(10) for label in labels)
    ordered = tuple(sorted(labels, key=lambda label: _WORDS[int(label)] if digits else str(label)))
    if ordered == labels:
        raise InputError(
            f"{predictor.name}: its labels are in alphabetical order already; this fault would change nothing"
        )
    return {"labels": ordered}


def _scale_at(predictor: Predictor) -> int:
    """Return where in the preprocessing the pictures are scaled."""
    found = [i for i, step in enumerate(predictor.preprocess) if isinstance(step, Scale)]
    if not found:
        raise InputError(f"{predictor.name} has no Scale step, in which this fault hides; give preprocess=[Scale(...)]")
    return found[0]


def _forget_scale(predictor: Predictor) -> dict[str, Any]:
    at = _scale_at(predictor)
    return {"preprocess": predictor.preprocess[:at] + predictor.preprocess[at + 1 :]}


def _lose_greys(predictor: Predictor) -> dict[str, Any]:
    at = _scale_at(predictor) + 1
    whole_numbers = (Cast("uint8"), Cast("float32"))
    return {"preprocess": predictor.preprocess[:at] + whole_numbers + predictor.preprocess[at:]}


def _invert(predictor: Predictor) -> dict[str, Any]:
    spec = predictor.signature.input
    if not isinstance(spec, ArraySpec) or spec.low is None or spec.high is None:
        raise InputError(f"{predictor.name} does not say what black and white are; give ArraySpec(..., low=, high=)")
    flip = Scale(divide_by=-1, subtract=spec.low + spec.high)  # high becomes low, and low high
    return {"preprocess": (flip, *predictor.preprocess)}


def _transpose(predictor: Predictor) -> dict[str, Any]:
    spec = predictor.signature.input
    if not isinstance(spec, ArraySpec) or len(spec.shape) < 2 or spec.shape[0] != spec.shape[1]:
        raise InputError(f"{predictor.name} takes no square pictures, and only those can be transposed unnoticed")
    return {"preprocess": (transposed, *predictor.preprocess)}


def _swap_channels(predictor: Predictor) -> dict[str, Any]:
    spec = predictor.signature.input
    if not isinstance(spec, ArraySpec) or len(spec.shape) != 3 or spec.shape[-1] != 3:
        raise InputError(f"{predictor.name} takes no pictures (height, width, 3), in which colours could be swapped")
    return {"preprocess": (channels_swapped, *predictor.preprocess)}


def transposed(X: Array) -> Array:
    """Return pictures whose rows and columns have changed places."""
    return np.swapaxes(X, 1, 2)


def channels_swapped(X: Array) -> Array:
    """Return pictures whose red and blue have changed places."""
    return X[..., ::-1]


_FAULTS = {
    "amber": _Fault(
        "labels shifted",
        _shift_labels,
        "Print ten answers below ten truths. What is the same in every pair?",
    ),
    "birch": _Fault(
        "scale forgotten",
        _forget_scale,
        "How sure is it, and how often right? Look at the largest number that reaches the model.",
    ),
    "cedar": _Fault(
        "inverted",
        _invert,
        "Draw the picture that reaches the model: trace(X) keeps it.",
    ),
    "damson": _Fault(
        "transposed",
        _transpose,
        "Which classes does it still read well? What do their shapes share?",
    ),
    "elder": _Fault(
        "grey levels lost",
        _lose_greys,
        "How many different numbers are in one picture that reaches the model?",
    ),
    "fir": _Fault(
        "labels sorted",
        _sort_labels,
        "Count which answer each class gets. Is it always the same wrong one?",
    ),
    "gorse": _Fault(
        "channels swapped",
        _swap_channels,
        "Draw the picture that reaches the model: trace(X) keeps it. What colour is the sky?",
    ),
}
FAULT_NAMES = tuple(fault.name for fault in _FAULTS.values())
