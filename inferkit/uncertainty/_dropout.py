"""Monte Carlo dropout: a network that forgets other neurons in each pass, asked many times."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np

from .._base import InputError, generator
from ..predictor import Predictor
from ._checks import Array, Floats, as_numbers, labels_of, needs_values, whole
from ._derived import Derived

_ROWS_AT_ONCE = 512  # rows times passes in one call of the model
_GENERATOR = "SeedGenerator"


class MCDropout(Derived):
    """A Keras model with its dropout left on: the mean of many passes, and how far they are apart.

    Only dropout is left on. Batch normalization goes on using what it learned, and learns nothing.

    Parameters
    ----------
    model : keras.Model, or Predictor over one
        With at least one layer that drops something. Of a Predictor the preparation, the reading and the labels stay.
    n : int, default=32
        Passes. The standard error of the mean falls with the root of `n`, and the time rises with `n`.
    labels : sequence, optional
        What the columns of the model's probabilities stand for, if `model` is no Predictor.
    random_state : int or None, default=0
        A seed gives the same answers to the same rows every time; None other ones each time. Which neurons are
        dropped depends on the place in the batch: a row alone gets another draw than in company.
    name : str, optional
        For tables and figures.

    Attributes
    ----------
    predictor : Predictor
        The same model without dropout.
    n : int

    Raises
    ------
    InputError
        If `model` is no Keras model, drops nothing, or holds layers that change pictures at random in training.

    References
    ----------
    Y. Gal and Z. Ghahramani, "Dropout as a Bayesian Approximation", ICML 2016.
    """

    def __init__(
        self,
        model: Any,
        *,
        n: int = 32,
        labels: Iterable[Any] | None = None,
        random_state: int | None = 0,
        name: str | None = None,
    ) -> None:
        self.predictor = _over_keras(model, labels)
        if self.predictor.labels is None:
            needs_values(self.predictor, "MC dropout")
        else:
            labels_of(self.predictor, "MC dropout")
        self.n, self._seed = whole("n", n), random_state
        generator(random_state)
        self._layers = _all_layers(self.predictor.backend.model)
        _check_layers(self._layers, self.predictor.name)
        self._lock = Lock()
        Predictor.__init__(
            self, self._mean, preprocess=self.predictor.preprocess, signature=self.predictor.signature,
            name=name or f"{self.predictor.name}, MC dropout",
        )  # fmt: skip

    def predict(self, X: Any, *, batch_size: int | None = None, return_std: bool = False) -> Any:
        """Return the label with the largest mean probability, or the mean of the passes' numbers.

        Parameters
        ----------
        X : array-like
            Rows that meet the contract.
        batch_size : int, optional
            Rows in one call of the model; all of them if not given, and with `return_std`.
        return_std : bool, default=False
            Also return the passes' standard deviation. For numbers only.

        Returns
        -------
        numpy.ndarray of shape (n_rows,), or two of them

        Raises
        ------
        InputError
            If the rows do not meet the contract, or `return_std` is asked of a model that gives labels.
        """
        if not return_std:
            return super().predict(X, batch_size=batch_size)
        if self.labels is not None:
            raise InputError("return_std: probabilities have none; predict_draws(X) gives those of each pass")
        draws = self.predict_draws(X)
        return draws.mean(axis=0), draws.std(axis=0)

    def predict_draws(self, X: Any) -> Floats:
        """Return the answers of each pass.

        Parameters
        ----------
        X : array-like

        Returns
        -------
        numpy.ndarray of shape (n, n_rows) or (n, n_rows, n_labels)
            Numbers or probabilities.
        """
        prepared: Any = self.signature.input.check(X)
        for step in self.predictor.preprocess:
            prepared = step(prepared)
        return self._passes(prepared)

    def _mean(self, X: Array) -> Floats:
        mean: Floats = self._passes(X).mean(axis=0)
        return mean

    def _passes(self, X: Array) -> Floats:
        """Return what comes out of each pass, read as the predictor reads it, in calls of limited size."""
        at_once = max(1, _ROWS_AT_ONCE // len(X))
        with self._lock, _only_dropout(self._layers, self._seed):
            parts = [self._call(X, min(at_once, self.n - done)) for done in range(0, self.n, at_once)]
        return np.concatenate(parts)

    def _call(self, X: Array, passes: int) -> Floats:
        """Call the model once with each row `passes` times: dropout drops other neurons in each."""
        value: Any = np.asarray(self.predictor.backend.model(np.concatenate([X] * passes), training=True))
        for step in self.predictor.postprocess:
            value = step(value)
        if self.labels is None:
            value = as_numbers(value, self.name, passes * len(X))
        split: Floats = np.asarray(value, dtype=np.float64).reshape(passes, len(X), *np.shape(value)[1:])
        return split


def _over_keras(model: Any, labels: Iterable[Any] | None) -> Predictor:
    predictor = model if isinstance(model, Predictor) else Predictor(model, labels=labels)
    if predictor.backend.kind != "keras":
        raise InputError(
            f"MC dropout needs a Keras model, or a Predictor over one; {predictor.name} is of the kind "
            f"{predictor.backend.kind!r}, which has no dropout to leave on"
        )
    if labels is not None and predictor is model:
        raise InputError("labels: the predictor has its own; leave them out, or hand over the Keras model alone")
    return predictor


def _all_layers(model: Any) -> list[Any]:
    """Return the layers of a Keras model, those inside other layers too."""
    return list(model._flatten_layers(include_self=False))


def _drops(layer: Any) -> bool:
    """Tell whether a layer drops something: as its work, or beside it, as recurrent and attention layers do."""
    rates = [getattr(layer, name, 0) for name in ("dropout", "recurrent_dropout")]
    rates += [getattr(layer, "rate", 0)] if "Dropout" in type(layer).__name__ else []
    return any(isinstance(rate, int | float) and rate > 0 for rate in rates)


def _check_layers(layers: list[Any], name: str) -> None:
    if not any(map(_drops, layers)):
        raise InputError(
            f"{name} has no layer that drops anything, so every pass would give the same; put "
            "keras.layers.Dropout(0.2) in before it is trained"
        )
    shaking = [layer.name for layer in layers if type(layer).__name__.startswith(("Random", "GaussianNoise"))]
    if shaking:
        raise InputError(f"{name} changes its input at random in training ({', '.join(shaking)}); cut these layers off")


@contextmanager
def _only_dropout(layers: list[Any], seed: int | None) -> Iterator[None]:
    """Let nothing but dropout know that the model is called as in training, and leave no trace.

    Keras runs a batch normalization that is not trainable as in use: with what it learned, and learning nothing.
    """
    norms = [layer for layer in layers if type(layer).__name__ == "BatchNormalization" and layer.trainable]
    states = [] if seed is None else _seed_states(layers)
    before = [np.array(np.asarray(state.value)) for state in states]  # a copy, not a view
    try:
        for layer in norms:
            layer.trainable = False
        for place, state in enumerate(states):
            state.assign(np.array([(int(seed or 0) + 7919 * place) % 2**32, 0], dtype=np.uint32))
        yield
    finally:
        for layer in norms:
            layer.trainable = True
        for state, value in zip(states, before, strict=True):
            state.assign(value)


def _seed_states(layers: list[Any]) -> list[Any]:
    """Return the states of the random generators that the layers hold."""
    held = [vars(layer).values() for layer in layers]
    found = [value for values in held for value in values if type(value).__name__ == _GENERATOR]
    return [one.state for one in {id(one): one for one in found}.values()]
