"""Early exit: a network answers halfway through where it is sure by then, and goes on to its end where it is not."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._base import InputError, sha256
from ..models import LiteRTModel, TrainingResult, import_keras
from ..models._export import _unrolled
from ..models._networks import _starts
from ..models._training import _checked_classes
from ..predictor._backends import LiteRTBackend
from ._calibration import checked_rows
from ._cut import checked_classifier, copy_from, output_of, rest_of
from ._optimized import from_keras
from ._source import fit, inputs_of, open_keras
from ._stages import Tally, as_probabilities, checked_threshold, is_sure

PROBABILITIES, FEATURES = "probabilities", "features"  # what the stem's two outputs are called
_BATCH = 256
_TRIED = 64  # rows on which the two parts must answer as the whole network does
_CLOSE = 1e-4
_CONSTANT = 1e-6  # float32 holds seven digits


class EarlyExit:
    """A network with an exit halfway: the second half runs only for rows of which the exit is not sure.

    It is a function of a batch, and so a model: ``Predictor(model, preprocess=..., signature=..., labels=...)`` takes
    it, and with that `benchmark.compare` and the ledger.

    Parameters
    ----------
    stem : LiteRTModel
        From rows to the outputs ``"probabilities"`` (n, classes), those of the exit, and ``"features"``.
    rest : LiteRTModel
        From the features to the (n, classes) probabilities of the whole network.
    threshold : float, default 0.9
        The exit's answer counts if its largest probability is at least this, 0 to 1. At 0 all rows leave there. At 1
        only those do of which the exit is certain at exactly 1.0.
    name : str, optional
        For tables and figures.

    Attributes
    ----------
    stem, rest : LiteRTModel
    threshold : float
    n_classes : int
    size_bytes : int
        Bytes of both files.
    sha256 : str
        Hash of both files' hashes and the threshold.
    num_threads : int
        Threads that one call may use; the larger of the two.
    keras_model : keras.Model or None
        The whole network with its exit: a dict of ``"exit"`` and ``"last"``. From :func:`early_exit` alone, and not in
        a copy that was pickled.
    history : inferkit.models.TrainingResult or None
        How the training of the exit went.

    Raises
    ------
    InputError
        If the two do not fit each other, or the threshold is out of range.

    Notes
    -----
    Of many rows the stem gets some 256 at a time, and the rest gets what remains of them as one batch. Several threads
    may call one model. It can be pickled: counts start at 0 in the copy.

    References
    ----------
    S. Teerapittayanon, B. McDanel and H. T. Kung, "BranchyNet: Fast Inference via Early Exiting from Deep Neural
    Networks", ICPR 2016.
    """

    keras_model: Any = None
    history: TrainingResult | None = None

    def __init__(
        self, stem: LiteRTModel, rest: LiteRTModel, threshold: float = 0.9, *, name: str | None = None
    ) -> None:
        self.n_classes = _checked_parts(stem, rest)
        self.stem, self.rest = stem, rest
        self.threshold = checked_threshold(threshold)
        self.name = name or f"{stem.name} with an exit at {self.threshold:g}"
        self._stem, self._rest = LiteRTBackend(stem), LiteRTBackend(rest)
        self._at_once = self._stem._most
        self._tally = Tally(2)

    def __call__(self, X: ArrayLike) -> NDArray[Any]:
        """Return the probabilities (n, classes): of the exit where it is sure, of the whole network elsewhere.

        Parameters
        ----------
        X : (n, ...) array

        Returns
        -------
        (n, classes) array of float32

        Raises
        ------
        InputError
            If the rows do not fit the network.
        """
        rows = np.atleast_1d(X)
        if rows.shape[:1] == (1,):
            return self._ask_one(rows)
        if len(rows) <= self._at_once:
            return self._ask(rows)
        return np.concatenate([self._ask(rows[i : i + self._at_once]) for i in range(0, len(rows), self._at_once)])

    def _ask_one(self, row: NDArray[Any]) -> NDArray[Any]:
        """Do as `_ask`, without what only several rows need: it would cost a tenth of a small network."""
        given: Any = self.stem(row)
        p = as_probabilities(given[PROBABILITIES], self.stem)
        goes_on = not p.item(p.argmax()) >= self.threshold
        self._tally.add_one(int(goes_on))
        return as_probabilities(self._rest.call_one(given[FEATURES]), self.rest) if goes_on else p

    def _ask(self, rows: NDArray[Any]) -> NDArray[Any]:
        given: Any = self._stem(rows)
        p, features = as_probabilities(given[PROBABILITIES], self.stem), given[FEATURES]
        left = np.flatnonzero(~is_sure(p, self.threshold))
        self._tally.add(len(p) - len(left), len(left))
        if not len(left):
            return p
        further = as_probabilities(self._rest(features if len(left) == len(p) else features[left]), self.rest)
        if len(left) == len(p):
            return further
        p[left] = further
        return p

    @property
    def counts(self) -> tuple[int, ...]:
        """Rows that the exit answered, and rows that the whole network answered, since it was made or reset."""
        return self._tally.counts

    @property
    def escalated(self) -> float | None:
        """Share of the rows that went past the exit; None before any row."""
        return self._tally.escalated

    def reset(self) -> None:
        """Count from 0 again."""
        self._tally.reset()

    def with_threshold(self, threshold: float) -> EarlyExit:
        """Return the same network with another threshold, and counts of its own.

        Parameters
        ----------
        threshold : float
            0 to 1.

        Returns
        -------
        EarlyExit

        Raises
        ------
        InputError
            If it is out of range.
        """
        other = EarlyExit(self.stem, self.rest, threshold)
        other.keras_model, other.history = self.keras_model, self.history
        return other

    @property
    def size_bytes(self) -> int:
        """Bytes of both files."""
        return self.stem.size_bytes + self.rest.size_bytes

    @property
    def sha256(self) -> str:
        """SHA-256 of both files' hashes and the threshold, in hexadecimal."""
        return sha256(f"{self.stem.sha256} {self.rest.sha256} {self.threshold!r}".encode())

    @property
    def num_threads(self) -> int:
        """Threads that one call may use."""
        return max(self.stem.num_threads, self.rest.num_threads)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.stem, self.rest, self.threshold, self.name)

    def __repr__(self) -> str:
        return f"EarlyExit({self.name!r}, {self.size_bytes:,} bytes, threshold={self.threshold:g})"


def early_exit(
    model: Any,
    at: str,
    X: Any,
    y: ArrayLike,
    *,
    hidden: int = 0,
    epochs: int = 5,
    batch_size: int = 64,
    learning_rate: Any = 1e-3,
    random_state: int | None = None,
    progress: bool = True,
) -> EarlyExit:
    """Give a trained classifier an exit at one of its layers, and cut it in two there.

    The exit averages each channel of the layer over its positions and puts a dense softmax behind. It alone is
    trained: the network stays as it is, so the answers at its end stay what they were.

    Parameters
    ----------
    model : keras.Model, path-like, bytes or OptimizedModel
        A Keras model or a ``.keras`` file with one input that ends in a softmax. It stays as it is.
    at : str
        Name of the layer whose output the exit reads. All that comes later must depend on that output alone: a bypass
        around the layer would have to be carried along.
    X : (n, ...) array
        Training rows, as the model takes them.
    y : (n,) array of int
        Their classes, from 0.
    hidden : int, default 0
        Units of a dense layer with ReLU before the exit's softmax; 0 for none.
    epochs, batch_size, learning_rate, random_state, progress
        As in :func:`inferkit.models.train`. The seed also rules the first weights of the exit.

    Returns
    -------
    EarlyExit
        With a threshold of 0.9; ``with_threshold`` gives another. Its `stem` and `rest` are `OptimizedModel`, which
        can be saved and quantized.

    Raises
    ------
    InputError
        If the model is no classifier with one input, `at` names no layer where it can be cut (the message lists those
        that do), `hidden` is negative, or rows and classes do not fit.
    KeyboardInterrupt
        If it is interrupted; the model given is as it was.

    Notes
    -----
    The averaged features are computed once, batch norms and dropout as in inference. They are standardized for the
    training; mean and spread are folded into the first dense layer afterwards and cost nothing.

    References
    ----------
    S. Teerapittayanon, B. McDanel and H. T. Kung, "BranchyNet: Fast Inference via Early Exiting from Deep Neural
    Networks", ICPR 2016. There all exits are trained together; here the network is kept.

    Examples
    --------
    >>> from inferkit.models import mlp
    >>> X = np.eye(3, dtype=np.float32)
    >>> network = mlp((3,), 3, hidden=(8, 8, 8), random_state=0)
    >>> at = network.layers[2].name
    >>> quick = early_exit(network, at, X, [0, 1, 2], epochs=1, random_state=0, progress=False)
    >>> bool(np.allclose(quick.with_threshold(1)(X), network.predict(X, verbose=0), atol=1e-5))
    True
    >>> quick.with_threshold(0)(X).shape, quick.counts
    ((3, 3), (0, 0))
    """
    original = checked_classifier(open_keras(model))
    rows = checked_rows("X, y", inputs_of(original), X)
    classes = _checked_y(y, len(rows[0]), int(original.output_shape[-1]))
    _check_hidden(hidden)
    # the export would unroll recurrent layers anyway, and drop the names of two outputs
    whole = _unrolled(copy_from(original, original.inputs[0]._keras_history.operation.name))
    features = output_of(whole, at)
    pooled = _pooled(features, at)
    seen = _answers(import_keras().Model(whole.inputs[0], pooled), rows[0])
    head = _Head.of(at, int(hidden), int(original.output_shape[-1]), random_state)
    history = head.learn(
        seen, classes, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate,
        random_state=random_state, progress=progress,
    )  # fmt: skip
    return _cut(whole, features, head(pooled), history, rows[0][:_TRIED])


def _cut(whole: Any, features: Any, exit_: Any, history: TrainingResult, rows: NDArray[Any]) -> EarlyExit:
    """Return the two parts, tried against the whole."""
    keras, start, end = import_keras(), whole.inputs[0], whole.outputs[0]
    stem = keras.Model(start, {PROBABILITIES: exit_, FEATURES: features}, name=whole.name)
    rest = rest_of(whole, features, FEATURES)
    apart = rest(stem(rows, training=False)[FEATURES], training=False)
    if not np.allclose(apart, whole(rows, training=False), atol=_CLOSE):
        at = features._keras_history.operation.name
        raise InputError(f"at: what comes after {at!r} needs more than its output; choose a layer before or after it")
    found = EarlyExit(from_keras(stem, "exit-stem"), from_keras(rest, "exit-rest"), name=f"{whole.name} with an exit")
    found.keras_model, found.history = keras.Model(start, {"exit": exit_, "last": end}, name=whole.name), history
    return found


def _answers(model: Any, rows: NDArray[Any]) -> NDArray[np.float32]:
    """Return a Keras model's output, a few rows at a time; `predict` would first compile each of these models."""
    parts = [np.asarray(model(rows[i : i + _BATCH], training=False)) for i in range(0, len(rows), _BATCH)]
    return np.concatenate(parts)


# --- the exit ---


class _Head(NamedTuple):
    """Dense layers that end in a softmax, in the order in which they run."""

    layers: tuple[Any, ...]

    @classmethod
    def of(cls, at: str, hidden: int, n_classes: int, random_state: int | None) -> _Head:
        """Return layers with first weights."""
        dense, start = import_keras().layers.Dense, _starts(random_state)
        before = [dense(hidden, "relu", kernel_initializer=next(start), name=f"{at}_exit_hidden")] if hidden else []
        return cls((*before, dense(n_classes, "softmax", kernel_initializer=next(start), name=f"{at}_exit")))

    def learn(self, seen: NDArray[np.float32], y: NDArray[Any], **options: Any) -> TrainingResult:
        """Train on standardized features, then fold mean and spread into the first layer."""
        wide = seen.astype(np.float64)
        mean, spread = wide.mean(axis=0), wide.std(axis=0)
        spread[spread <= _CONSTANT * np.abs(mean)] = 1.0  # a channel that is always the same says nothing
        keras = import_keras()
        model = keras.Sequential([keras.layers.Input(seen.shape[1:]), *self.layers])
        history: TrainingResult = fit(model, ((wide - mean) / spread).astype(np.float32), y, **options)
        kernel, bias = (one.astype(np.float64) for one in self.layers[0].get_weights())
        kernel = kernel / spread[:, None]
        self.layers[0].set_weights([kernel, bias - mean @ kernel])
        return history

    def __call__(self, pooled: Any) -> Any:
        for layer in self.layers:
            pooled = layer(pooled)
        return pooled


def _pooled(features: Any, at: str) -> Any:
    """Return one number a channel: its mean over all positions, where there are any."""
    layers, n_axes = import_keras().layers, len(features.shape) - 2
    if n_axes == 0:
        return features
    return getattr(layers, f"GlobalAveragePooling{n_axes}D")(name=f"{at}_exit_pool")(features)


# --- what is refused ---


def _checked_y(y: ArrayLike, n: int, n_classes: int) -> NDArray[np.int64]:
    """Return the class of each row; said before the features are computed, which takes a while."""
    classes = np.asarray(y)
    if classes.shape[:1] != (n,):
        raise InputError(f"X, y: expected y with one class for each of {n} rows, got shape {classes.shape}")
    return _checked_classes("X, y", classes, n_classes)


def _check_hidden(hidden: object) -> None:
    if isinstance(hidden, bool) or not isinstance(hidden, int | np.integer) or hidden < 0:
        raise InputError(f"hidden: expected a number of units, 0 for no hidden layer, got {hidden!r}")


def _checked_parts(stem: Any, rest: Any) -> int:
    """Return the number of classes, if the two parts fit each other."""
    for what, part in (("stem", stem), ("rest", rest)):
        if not isinstance(part, LiteRTModel):
            raise InputError(f"{what}: expected a LiteRTModel, such as LiteRTModel(path), got {type(part).__name__}")
        if len(part.inputs) != 1:
            raise InputError(f"{what}: expected a model with one input, got {list(part.inputs)}")
    if set(stem.outputs) != {PROBABILITIES, FEATURES} or len(rest.outputs) != 1:
        raise InputError(
            f"stem, rest: expected the outputs {PROBABILITIES!r} and {FEATURES!r} of the stem and one of the rest, got "
            f"{list(stem.outputs)} and {list(rest.outputs)}; early_exit makes such a pair"
        )
    (takes,), (answer,) = rest.inputs.values(), rest.outputs.values()
    exit_, features = stem.outputs[PROBABILITIES], stem.outputs[FEATURES]
    if features.shape[1:] != takes.shape[1:] or _real(features) != _real(takes):
        raise InputError(
            f"stem, rest: expected the rest to take what the stem gives, {_real(features)} of shape "
            f"{features.shape[1:]}; it takes {_real(takes)} of shape {takes.shape[1:]}"
        )
    if len(exit_.shape) != 2 or exit_.shape[1:] != answer.shape[1:]:
        raise InputError(
            f"stem, rest: expected both to give (n, classes), got shapes {exit_.shape} and {answer.shape}; take the "
            "two parts of one network"
        )
    return int(exit_.shape[1])


def _real(info: Any) -> str:
    """Return the type that a caller meets: real numbers where a tensor is quantized."""
    return "float32" if info.is_quantized else str(info.dtype)


def _again(stem: LiteRTModel, rest: LiteRTModel, threshold: float, name: str) -> EarlyExit:
    """Make a model that was pickled."""
    return EarlyExit(stem, rest, threshold, name=name)
