"""Cascades: a small model answers where it is sure, and a larger one is asked about the rest."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from .._base import InputError
from ..predictor import Predictor
from ._stages import Stage, Stages, as_predictors, checked_thresholds, n_shared


def cascade(models: Iterable[Any], threshold: float | Sequence[float], *, name: str | None = None) -> Cascade:
    """Ask a small model first, and a larger one only about the rows of which the small one is not sure.

    Parameters
    ----------
    models : iterable of Predictor, LiteRTModel or callable
        Two or more, from small to large. A `Predictor` gives probabilities of its labels; anything else gives
        (n, classes) probabilities, and takes contract and labels over from the predictors beside it.
    threshold : float or sequence of float
        One for all steps, or one for each model but the last, 0 to 1. An answer counts if its largest probability is
        at least this; else the row goes on. At 0 none goes on. At 1 all do but those of which a model is certain at
        exactly 1.0.
    name : str, optional
        For tables and figures.

    Returns
    -------
    Cascade
        A `Predictor`.

    Raises
    ------
    InputError
        If there are fewer than two models, they take other rows or give other labels than the first, one gives no
        probabilities, or a threshold is out of range.

    References
    ----------
    P. Viola and M. Jones, "Rapid Object Detection using a Boosted Cascade of Simple Features", CVPR 2001.

    Examples
    --------
    >>> from inferkit.datasets import split_digits
    >>> from inferkit.predictor import digit_reader
    >>> _, X, _, y = split_digits()
    >>> reader = cascade([digit_reader("digits-mlp"), digit_reader("digits-cnn")], 0.9)
    >>> bool((reader.predict(X) == y).mean() > 0.95), reader.counts[0] > reader.counts[1] > 0
    (True, True)
    """
    return Cascade(models, threshold, name=name)


class Cascade(Predictor):
    """Several models in a row, each of which answers what it is sure of. Made by :func:`cascade`.

    Parameters
    ----------
    models, threshold, name
        As in :func:`cascade`.

    Attributes
    ----------
    predictors : tuple of Predictor
        From small to large.
    thresholds : tuple of float
        One for each of them but the last.

    Notes
    -----
    Rows are checked once. Steps of preparation that all models begin with are run once; for that they must be equal,
    and the contracts too. The rows that go on are given to the next model as one batch. It can be pickled if its models
    can; counts start at 0 in the copy.
    """

    def __init__(self, models: Iterable[Any], threshold: Any, *, name: str | None = None) -> None:
        self.predictors = as_predictors(models)
        self.thresholds = checked_thresholds(threshold, len(self.predictors) - 1)
        first, *others = self.predictors
        n_steps = n_shared(self.predictors)
        own = [one.signature.input != first.signature.input for one in others]
        stages = [Stage(one, n_steps, check) for one, check in zip(self.predictors, [False, *own], strict=True)]
        self._stages = Stages(stages, self.thresholds)
        super().__init__(
            self._stages, preprocess=first.preprocess[:n_steps], signature=first.signature.input, labels=first.labels,
            name=name or ", then ".join(one.name for one in self.predictors),
        )  # fmt: skip
        self.backend.resolution = max(one.backend.resolution for one in self.predictors)

    @property
    def counts(self) -> tuple[int, ...]:
        """Rows that each model answered, since the cascade was made or reset."""
        return self._stages.tally.counts

    @property
    def escalated(self) -> float | None:
        """Share of the rows that the first model passed on; None before any row."""
        return self._stages.tally.escalated

    def reset(self) -> None:
        """Count from 0 again."""
        self._stages.tally.reset()

    def with_threshold(self, threshold: float | Sequence[float]) -> Cascade:
        """Return a cascade of the same models with another threshold, and counts of its own.

        Parameters
        ----------
        threshold : float or sequence of float
            As in :func:`cascade`.

        Returns
        -------
        Cascade

        Raises
        ------
        InputError
            If it is out of range.
        """
        return Cascade(self.predictors, threshold, name=self.name)

    def _fuse(self) -> Any:
        """Make `predict_one` once: no larger than that of the first model, where this is sure."""
        check, steps, likeliest = self.signature.input.check_one, self.preprocess, self._stages.likeliest
        labels = self.labels or ()

        def one(x: Any) -> Any:
            value: Any = check(x)
            for step in steps:
                value = step(value)
            return labels[likeliest(value)]

        return one

    def __repr__(self) -> str:
        limits = ", ".join(f"{one:g}" for one in self.thresholds)
        return f"Cascade({' → '.join(one.name for one in self.predictors)}; threshold {limits})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.predictors, self.thresholds, self.name)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Refuse: a file of a predictor has place for one model.

        Raises
        ------
        InputError
            Always. Each of the ``.predictors`` can be saved, and the cascade made anew.
        """
        raise InputError("a Cascade cannot be saved; save each of its predictors and make it anew with cascade([...])")

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, sha256: str | None = None) -> Predictor:
        """Open a file that `Predictor.save` wrote. See `Predictor.load`."""
        return Predictor.load(path, sha256=sha256)


def _again(predictors: tuple[Predictor, ...], thresholds: tuple[float, ...], name: str) -> Cascade:
    """Make a cascade that was pickled."""
    return Cascade(predictors, thresholds, name=name)
