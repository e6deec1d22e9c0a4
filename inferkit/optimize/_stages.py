"""What a cascade is made of: models that take the same rows and give the same labels, and a count of who answered."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._base import InputError, sha256
from ..models import LiteRTModel
from ..predictor import ArraySpec, Predictor, TableSpec

Array = NDArray[Any]
Kind = TypeVar("Kind")


class Stage:
    """One model of a cascade: what is called after the preparation that all share."""

    def __init__(self, predictor: Predictor, n_shared: int, check: bool) -> None:
        self.predictor, backend = predictor, predictor.backend
        first = (predictor.signature.input.check,) if check else ()
        before, after = (*first, *predictor.preprocess[n_shared:]), predictor.postprocess
        self._calls = (*before, backend, *after)
        self._calls_one = (*before, getattr(backend, "call_one", backend), *after)
        self._one_row = (1, len(predictor.labels or ()))

    def __call__(self, value: Any) -> Array:
        """Return the probabilities of a batch, checked."""
        n = len(value)
        for call in self._calls:
            value = call(value)
        return self._checked(value, n)

    def likeliest(self, value: Any) -> tuple[int, float]:
        """Return the place of one row's label, and its probability."""
        for call in self._calls_one:
            value = call(value)
        if type(value) is np.ndarray and value.shape == self._one_row:
            best = value.argmax()
            top = value.item(best)
            if 0 <= top <= 1.001:  # neither NaN nor, as a rule, a logit
                return int(best), top
        p = self._checked(value, 1)[0]
        return int(p.argmax()), float(p.max())

    def _checked(self, value: Any, n: int) -> Array:
        (spec,) = self.predictor.signature.outputs
        return self.predictor._checked(spec, np.asarray(self.predictor._named(value, n)[spec.name]))


class Stages:
    """The model of a cascade: from prepared rows to probabilities. A ledger finds hash and size here."""

    def __init__(self, stages: Sequence[Stage], thresholds: tuple[float, ...]) -> None:
        self.tally = Tally(len(stages))
        self._stages, self._thresholds = stages, thresholds

    def __call__(self, X: Any) -> Array:
        """Return the probabilities (n, classes) of whichever model was sure, or was the last."""
        first, *others = self._stages
        answers, left, answered = first(X), np.arange(len(X)), []
        for stage, threshold in zip(others, self._thresholds, strict=True):
            on = left[~is_sure(answers[left], threshold)]
            answered.append(len(left) - len(on))
            left = on
            if not len(left):
                break
            further = stage(_rows(X, left))
            answers = answers.astype(np.result_type(answers, further))  # a copy: a model may keep what it gave
            answers[left] = further
        self.tally.add(*answered, len(left))
        return answers

    def likeliest(self, row: Any) -> int:
        """Return the place of one row's label."""
        number = 0
        best, top = self._stages[0].likeliest(row)
        for threshold in self._thresholds:
            if top >= threshold:
                break
            number += 1
            best, top = self._stages[number].likeliest(row)
        self.tally.add_one(number)
        return best

    @property
    def sha256(self) -> str | None:
        """Hash of the models' hashes and the thresholds; None if a model has none."""
        hashes = self._all("sha256", str)
        return None if hashes is None else sha256(" ".join([*hashes, *map(repr, self._thresholds)]).encode())

    @property
    def size_bytes(self) -> int | None:
        """Bytes of all models; None if one does not say."""
        sizes = self._all("size_bytes", int)
        return None if sizes is None else sum(sizes)

    @property
    def num_threads(self) -> int | None:
        """Threads that one call may use; None if a model does not say."""
        threads = self._all("num_threads", int)
        return None if threads is None else max(threads)

    def _all(self, attribute: str, kind: type[Kind]) -> list[Kind] | None:
        """Return what all models say of themselves; None if one does not say it."""
        found = [getattr(stage.predictor.backend.model, attribute, None) for stage in self._stages]
        said = [one for one in found if isinstance(one, kind)]
        return said if len(said) == len(found) else None


class Tally:
    """How many rows each stage has answered; several threads may count at once."""

    def __init__(self, n_stages: int) -> None:
        self._lock = threading.Lock()
        self._counts = [0] * n_stages

    def add(self, *answered: int) -> None:
        """Count rows answered, from the first stage on."""
        with self._lock:
            for stage, n in enumerate(answered):
                self._counts[stage] += n

    def add_one(self, stage: int) -> None:
        """Count one row."""
        with self._lock:
            self._counts[stage] += 1

    def reset(self) -> None:
        """Count from 0 again."""
        with self._lock:
            self._counts = [0] * len(self._counts)

    @property
    def counts(self) -> tuple[int, ...]:
        """Rows answered by each stage."""
        with self._lock:
            return tuple(self._counts)

    @property
    def escalated(self) -> float | None:
        """Share of rows that left the first stage; None before any row."""
        first, *others = self.counts
        return sum(others) / (first + sum(others)) if first or any(others) else None


def is_sure(p: Array, threshold: float) -> NDArray[np.bool_]:
    """Tell of which rows the largest probability is at least the threshold, compared in float64."""
    sure: NDArray[np.bool_] = p.max(axis=1).astype(np.float64) >= threshold
    return sure


def as_probabilities(p: Any, model: LiteRTModel) -> Array:
    """Return a file's probabilities; where it computes in integers, rounding is taken out of their sum."""
    answers: Array = np.asarray(p)
    if not model.is_quantized:
        return answers
    total = np.maximum(answers.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return np.asarray(answers / total)


def checked_threshold(threshold: Any) -> float:
    """Return a threshold from 0 to 1, or raise."""
    is_number = isinstance(threshold, int | float | np.integer | np.floating) and not isinstance(threshold, bool)
    if not (is_number and 0 <= threshold <= 1):  # NaN compares false
        raise InputError(f"threshold: expected a probability from 0 to 1, such as 0.9, got {threshold!r:.60}")
    return float(threshold)


def checked_thresholds(threshold: Any, n_steps: int) -> tuple[float, ...]:
    if not isinstance(threshold, list | tuple | np.ndarray) or np.ndim(threshold) == 0:
        return (checked_threshold(threshold),) * n_steps
    if len(threshold) != n_steps:
        raise InputError(
            f"threshold: expected one number, or {n_steps}: one for each model but the last, got {len(threshold)}"
        )
    return tuple(map(checked_threshold, threshold))


def _rows(X: Any, which: NDArray[np.int64]) -> Any:
    """Return some rows of an array, a data frame or a list."""
    if isinstance(X, list):
        return [X[i] for i in which]
    return X.iloc[which] if hasattr(X, "iloc") else X[which]


# --- models that go together ---


def as_predictors(models: Any) -> tuple[Predictor, ...]:
    """Return two or more predictors that take the same rows and give probabilities of the same labels, or raise."""
    if isinstance(models, Predictor | str | LiteRTModel) or not isinstance(models, Iterable):
        raise InputError(f"models: expected two or more in a list, from small to large, got {models!r:.80}")
    given = tuple(models)
    if len(given) < 2:
        raise InputError(f"models: expected two or more, from small to large, got {len(given)}")
    found = tuple(one if isinstance(one, Predictor) else _wrapped(one, given) for one in given)
    for one in found:
        _check_labels(found[0], one)
        _check_rows(found[0], one)
    return found


def _wrapped(model: Any, given: tuple[Any, ...]) -> Predictor:
    """Return a predictor over a model; what it does not say of itself is taken over from those beside it."""
    itself, known = _read(model), [one for one in map(_read, given) if one is not None]
    if itself is not None and itself.labels is not None:
        return itself
    labels = next((one.labels for one in known if one.labels is not None), _numbered(known))
    if not known or labels is None:
        raise InputError(
            f"models: {model!r:.60} says neither what it takes nor what its columns stand for, and no model beside it "
            "does; give a Predictor(model, signature=ArraySpec(...), labels=[...])"
        )
    return Predictor(model, signature=known[0].signature.input if itself is None else None, labels=labels)


def _read(model: Any) -> Predictor | None:
    """Return a predictor over a model that says what it takes; None for a function, which does not."""
    if isinstance(model, Predictor):
        return model
    try:
        return Predictor(model)
    except InputError:
        return None


def _numbered(predictors: Sequence[Predictor]) -> tuple[int, ...] | None:
    """Return a number for each class of the first model that knows how many there are."""
    counts = [n for n in map(_n_columns, predictors) if n is not None]
    return tuple(range(counts[0])) if counts else None


def n_shared(predictors: Sequence[Predictor]) -> int:
    """Return how many steps of preparation all begin with; none where they take rows under other contracts."""
    if any(one.signature.input != predictors[0].signature.input for one in predictors):
        return 0
    n = 0
    for steps in zip(*(one.preprocess for one in predictors), strict=False):
        if not all(step is steps[0] or (step == steps[0]) is True for step in steps):
            break
        n += 1
    return n


def _check_labels(first: Predictor, other: Predictor) -> None:
    if other.labels is None or len(other.labels) < 2:
        raise InputError(
            f"models: expected probabilities of two labels or more, and {other.name} gives none; if its columns are "
            "probabilities, say what they stand for: Predictor(model, labels=[...])"
        )
    n = _n_columns(other)
    if n is not None and n != len(other.labels):
        raise InputError(
            f"models: {other.name} gives {n} probabilities a row, and there are {len(other.labels)} labels"
        )
    if other.labels != first.labels:
        order = " in another order" if set(other.labels) == set(first.labels or ()) else ""
        raise InputError(
            f"models: expected the same labels in the same order; {first.name} has {_short(first.labels)}, "
            f"{other.name} has {_short(other.labels)}{order}"
        )


def _n_columns(predictor: Predictor) -> int | None:
    """Return how many probabilities a LiteRT file gives, where nothing comes after it."""
    model = predictor.backend.model
    if not isinstance(model, LiteRTModel) or predictor.postprocess or len(model.outputs) != 1:
        return None
    shape = next(iter(model.outputs.values())).shape
    return int(shape[-1]) if len(shape) == 2 and shape[-1] > 0 else None


def _short(labels: Any) -> str:
    shown = ", ".join(map(repr, labels[:8]))
    return f"[{shown}{', ...' if len(labels) > 8 else ''}]"


def _check_rows(first: Predictor, other: Predictor) -> None:
    """Refuse a model that would take otherwise, or read otherwise, what the first one was given."""
    one, two = first.signature.input, other.signature.input
    if one == two:
        return
    if type(one) is not type(two):
        _differ(first, other, "kind", type(one).__name__, type(two).__name__)
    if isinstance(one, ArraySpec) and isinstance(two, ArraySpec):
        _check_arrays(first, one, other, two)
    elif isinstance(one, TableSpec) and isinstance(two, TableSpec):
        names = [[column.name for column in spec.columns] for spec in (one, two)]
        what = "columns" if names[0] != names[1] else "limits or categories"
        _differ(first, other, what, *(names if names[0] != names[1] else (one.columns, two.columns)))
    else:
        _differ(first, other, "limits", one, two)


def _check_arrays(first: Predictor, one: ArraySpec, other: Predictor, two: ArraySpec) -> None:
    """Refuse arrays of other shape or kind of number; a range or a unit counts where both say it."""
    fits = len(one.shape) == len(two.shape) and all(m in (None, n) for n, m in zip(one.shape, two.shape, strict=True))
    if not fits:
        _differ(first, other, "shape", one.shape, two.shape)
    if np.dtype(one.dtype).kind != np.dtype(two.dtype).kind or not np.can_cast(one.dtype, two.dtype, "same_kind"):
        _differ(first, other, "dtype", one.dtype, two.dtype)
    for what in ("low", "high", "unit"):
        ours, theirs = getattr(one, what), getattr(two, what)
        if theirs not in (None, "", ours) and (ours != "" or what != "unit"):
            _differ(first, other, what, ours, theirs)


def _differ(first: Predictor, other: Predictor, what: str, ours: Any, theirs: Any) -> NoReturn:
    raise InputError(
        f"models: expected all to take the same rows; {first.name} and {other.name} differ in {what}: "
        f"{ours!s:.80} and {theirs!s:.80}; give each the steps that prepare those rows for it"
    )
