"""The predictor: preprocess → predict → postprocess over any backend, checked at the door."""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError
from . import _archive, _pickled
from ._backends import Backend, as_backend, labels_of
from ._signature import InputSpec, Label, OutputSpec, Signature
from ._steps import Step, step_name
from ._trace import Stage, Trace

Array = npt.NDArray[Any]
Steps = Step | Sequence[Step] | None


class Predictor:
    """A model with its preparation, its reading and its contract: what everything else here accepts.

    Parameters
    ----------
    model : object
        A Keras model, a `LiteRTModel`, a fitted scikit-learn estimator, an ONNX Runtime session, a
        `CompiledPosterior`, a path to a `.tflite`, `.keras`, `.onnx` or `.posterior` file, or any
        function from a batch to an array (or to a dict of arrays, one for each named output).
    preprocess, postprocess : callable or sequence of callables, optional
        Steps from batch to batch, before and after the model. Those of this package (`Scale`,
        `Softmax`, ...) can be saved; any other callable runs as well.
    signature : ArraySpec, TableSpec, TextSpec or Signature, optional
        The contract. What it leaves out is read from the model where the model says it.
    labels : sequence, optional
        What each column of the model's probabilities stands for, for a model with one output.
    name : str, optional
        For tables and figures.

    Attributes
    ----------
    signature : Signature
    labels : tuple or None
        The labels of the only output; None if it has none, or if there are several outputs.
    backend : Backend
    preprocess, postprocess : tuple of callables

    Raises
    ------
    InputError
        If the model is of no known kind, or the contract cannot be known.

    Notes
    -----
    A predictor can be pickled if its parts can, and so be sent to another process. A lambda or a function made
    inside another one cannot; ``cloudpickle`` (which Dask brings along) sends those too. Open only pickles of your
    own: for a file use `save`, which holds no code.

    Examples
    --------
    Bring your own model: a function of a batch, its contract, its labels.

    >>> import numpy as np
    >>> from inferkit.predictor import ArraySpec, Predictor
    >>> def darkness(X):
    ...     dark = X.mean(axis=(1, 2)) / 16
    ...     return np.column_stack([1 - dark, dark])
    >>> predictor = Predictor(darkness, signature=ArraySpec((8, 8), low=0, high=16), labels=["light", "dark"])
    >>> predictor.predict_one(np.full((8, 8), 15.0))
    'dark'
    """

    def __init__(
        self,
        model: Any,
        *,
        preprocess: Steps = None,
        postprocess: Steps = None,
        signature: InputSpec | Signature | None = None,
        labels: Iterable[Label] | None = None,
        name: str | None = None,
    ) -> None:
        self.backend: Backend = as_backend(model)
        self.preprocess = _as_steps("preprocess", preprocess)
        self.postprocess = _as_steps("postprocess", postprocess)
        self.signature = self._complete(signature, None if labels is None else tuple(labels))
        self.name = name or self._default_name()
        outputs = self.signature.outputs
        self.labels = outputs[0].labels if len(outputs) == 1 else None
        self._calls: tuple[Step, ...] = (*self.preprocess, self.backend, *self.postprocess)
        self._label_arrays = {spec.name: np.asarray(spec.labels) for spec in outputs if spec.labels is not None}
        self._one = self._fuse()

    def _default_name(self) -> str:
        for source in (self.backend.model, type(self.backend.model)):
            for attribute in ("name", "__name__"):
                found = getattr(source, attribute, None)
                if isinstance(found, str):
                    return found
        return self.backend.kind

    def _complete(self, signature: InputSpec | Signature | None, labels: tuple[Label, ...] | None) -> Signature:
        """Return the whole contract: what was given, and what the model says where nothing was."""
        if isinstance(signature, Signature):
            return Signature(signature.input, labels_of(signature.outputs, labels))
        spec = signature
        if spec is None and not self.preprocess:
            spec = self.backend.input_spec()
        if spec is None:
            raise InputError(
                "the model does not say what it takes before preprocessing; "
                "give signature=ArraySpec(shape=..., low=..., high=...), TableSpec(...) or TextSpec()"
            )
        outputs = self.backend.output_specs() or (OutputSpec(),)
        return Signature(spec, labels_of(outputs, labels))

    # -- asking ------------------------------------------------------------------------------

    def predict(self, X: Any, *, batch_size: int | None = None) -> Any:
        """Return the answer for each row: a label where the model gives probabilities, else its values.

        Parameters
        ----------
        X : array-like, table or list of str
            Rows that meet the contract.
        batch_size : int, optional
            Rows in one call of the model; all of them if not given. The memory that the call needs grows with it.

        Returns
        -------
        numpy.ndarray of shape (n, ...) or dict of str to numpy.ndarray
            One entry for each output if there are several.

        Raises
        ------
        InputError
            If the rows do not meet the contract, or the model's probabilities are none.
        """
        outputs = self._run(X, batch_size)
        answers = {spec.name: self._read(spec, outputs[spec.name]) for spec in self.signature.outputs}
        return _only(answers)

    def predict_proba(self, X: Any, *, batch_size: int | None = None) -> Any:
        """Return the probability of each label for each row.

        Parameters
        ----------
        X : array-like, table or list of str
        batch_size : int, optional
            As `predict` takes it.

        Returns
        -------
        numpy.ndarray of shape (n, n_labels) or dict of str to numpy.ndarray
            Columns in the order of the labels. A dict if several outputs have labels.

        Raises
        ------
        InputError
            If no output has labels, if the rows do not meet the contract, or if what the model
            gives are no probabilities.
        """
        specs = [spec for spec in self.signature.outputs if spec.kind == "probabilities"]
        if not specs:
            kinds = {spec.name: spec.kind for spec in self.signature.outputs}
            raise InputError(
                f"{self.name} gives no probabilities, but {kinds}; if its columns are probabilities, "
                "say what they stand for: Predictor(model, labels=[...])"
            )
        outputs = self._run(X, batch_size)
        return _only({spec.name: self._checked(spec, outputs[spec.name]) for spec in specs})

    def predict_outputs(self, X: Any, *, batch_size: int | None = None) -> dict[str, Array]:
        """Return what the model gives, each output by its name: probabilities, labels or values.

        Parameters
        ----------
        X : array-like, table or list of str
        batch_size : int, optional
            As `predict` takes it.

        Returns
        -------
        dict of str to numpy.ndarray of shape (n, ...)
            One entry for each output of the signature, in its order. Probabilities are checked.

        Raises
        ------
        InputError
            As `predict` does.
        """
        outputs = self._run(X, batch_size)
        specs = self.signature.outputs
        return {s.name: self._checked(s, outputs[s.name]) if s.labels else outputs[s.name] for s in specs}

    def predict_one(self, x: Any) -> Any:
        """Return the answer for one row: the quickest way from one input to one label.

        Parameters
        ----------
        x : array-like, dict or str
            One row that meets the contract, without the axis of rows.

        Returns
        -------
        object
            A label, a number, an array, or a dict of these if there are several outputs.

        Raises
        ------
        InputError
            As `predict` does.
        """
        return self._one(x)

    def trace(self, X: Any, *, repeat: int = 5) -> Trace:
        """Run the stages one by one, and keep what each made and its time.

        Parameters
        ----------
        X : array-like, table or list of str
        repeat : int, default=5
            Each stage is run so often; its median time is kept.

        Returns
        -------
        Trace
            Stages ``check``, each step by its name, the model by its kind, and ``read``.
        """
        value: Any = X
        stages = []
        last: Callable[[Any], Any] = self._answers
        for name, stage in [("check", self.signature.input.check), *self.steps, ("read", last)]:
            times = []
            for _ in range(max(1, repeat)):
                start = time.perf_counter_ns()
                result = stage(value)
                times.append((time.perf_counter_ns() - start) / 1000)
            value = result
            stages.append(Stage(name, value, median(times)))
        return Trace(tuple(stages))

    @property
    def steps(self) -> list[tuple[str, Step]]:
        """Return preprocessing, model and postprocessing as (name, callable), in order."""
        before = [(step_name(step), step) for step in self.preprocess]
        after = [(step_name(step), step) for step in self.postprocess]
        return [*before, (self.backend.kind, self.backend), *after]

    # -- inside ------------------------------------------------------------------------------

    def _run(self, X: Any, batch_size: int | None) -> dict[str, Array]:
        """Check all rows, then return the model's outputs by name."""
        if batch_size is not None and (type(batch_size) is not int or batch_size < 1):
            raise InputError(f"batch_size: expected a whole number ≥ 1, got {batch_size!r}")
        rows = self.signature.input.check(X)
        n, size = len(rows), batch_size or len(rows)
        parts = [self._run_batch(rows[start : start + size]) for start in range(0, n, size)]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _run_batch(self, value: Any) -> dict[str, Array]:
        n = len(value)
        for call in self._calls:
            value = call(value)
        return self._named(value, n)

    def _named(self, value: Any, n: int) -> dict[str, Array]:
        specs = self.signature.outputs
        outputs = value if isinstance(value, dict) else {specs[0].name: np.asarray(value)}
        if len(outputs) != len(specs) or any(spec.name not in outputs for spec in specs):
            names = [spec.name for spec in specs]
            raise InputError(f"{self.name}: expected the outputs {names}, the model gave {sorted(outputs)}")
        for name, output in outputs.items():
            if np.ndim(output) == 0 or len(output) != n:
                raise InputError(f"{self.name}: expected {n} rows of {name!r}, the model gave shape {np.shape(output)}")
        return outputs

    def _answers(self, value: Any) -> Any:
        n = len(next(iter(value.values())) if isinstance(value, dict) else value)
        outputs = self._named(value, n)
        return _only({spec.name: self._read(spec, outputs[spec.name]) for spec in self.signature.outputs})

    def _read(self, spec: OutputSpec, output: Array) -> Array:
        """Turn probabilities into labels; leave the rest as it is."""
        if spec.kind != "probabilities":
            return output
        answers: Array = self._label_arrays[spec.name][self._checked(spec, output).argmax(axis=1)]
        return answers

    def _checked(self, spec: OutputSpec, output: Array) -> Array:
        """Return `output` if its rows are probabilities of the labels, else raise."""
        assert spec.labels is not None
        if output.ndim != 2 or output.shape[1] != len(spec.labels):
            raise InputError(
                f"{self.name}: expected {len(spec.labels)} probabilities a row, one for each label, "
                f"the model gave shape {output.shape}"
            )
        # Rounding to steps moves each value by half a step at most, and their sum by so much more.
        slack = 1e-3 + self.backend.resolution / 2
        real = np.result_type(output.dtype, np.float32)
        total = output @ np.ones(len(spec.labels), real)  # quicker than a sum over so short an axis
        off = 1e-3 + len(spec.labels) * self.backend.resolution / 2
        low, high = _extremes(output)
        least, most = _extremes(total)
        fine = 1 - off <= least and most <= 1 + off and -slack <= low and high <= 1 + slack
        if not fine:  # NaN compares false, so it ends up here too
            wide, sums = output.astype(np.float64), total.astype(np.float64)  # as the numbers above
            ok = ((wide >= -slack) & (wide <= 1 + slack)).all(axis=1) & (sums >= 1 - off) & (sums <= 1 + off)
            row = int((~ok).argmax())
            shown = str(np.round(wide[row], 3).tolist())[:80]
            raise InputError(
                f"{self.name}: expected probabilities, but row {row} is {shown} and sums to {total[row]:.3g}. "
                "Logits need postprocess=[Softmax()]; labels or values need a signature that says so"
            )
        return output

    def _fuse(self) -> Callable[[Any], Any]:
        """Make `predict_one` once: the checks and the calls of `predict`, without its dictionaries."""
        check, named = self.signature.input.check_one, self._named
        calls: list[Step] = [*self.preprocess, getattr(self.backend, "call_one", self.backend), *self.postprocess]
        specs = self.signature.outputs
        read = self._read

        def one(x: Any) -> Any:
            value: Any = check(x)
            for call in calls:
                value = call(value)
            outputs = named(value, 1)
            return _only({spec.name: read(spec, outputs[spec.name])[0] for spec in specs})

        labels = self.labels
        if labels is None:
            return one
        n = len(labels)

        def one_label(x: Any) -> Any:
            value: Any = check(x)
            for call in calls:
                value = call(value)
            if value.shape == (1, n):
                best = value.argmax()
                if 0 <= value.item(best) <= 1.001:  # neither NaN nor, as a rule, a logit
                    return labels[best]
            return _only({specs[0].name: read(specs[0], named(value, 1)[specs[0].name])[0]})

        return one_label

    def __repr__(self) -> str:
        flow = " → ".join(name for name, _ in self.steps)
        return f"Predictor({self.name!r}: {flow})"

    # -- keeping -----------------------------------------------------------------------------

    def __reduce__(self) -> tuple[Any, ...]:
        return _pickled.reduced(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model, the steps and the contract into one file, with a hash of each part.

        Parameters
        ----------
        path : path-like
            An existing file is replaced when the new one is whole.

        Raises
        ------
        InputError
            If the model is a function, or a step is not one of this package: a file holds no code.
        OSError
            If the folder cannot be written to.
        """
        _archive.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, sha256: str | None = None) -> "Predictor":
        """Open a file that `save` wrote.

        Parameters
        ----------
        path : path-like
        sha256 : str, optional
            Hash that the whole file must have, for a file that came over a network. The hashes inside
            the file find damage, not a forger.

        Returns
        -------
        Predictor

        Raises
        ------
        ModelFileError
            If the file is damaged, of another kind, or has another hash.
        """
        return cls(**_archive.load(path, sha256=sha256))


def _as_steps(what: str, steps: Steps) -> tuple[Step, ...]:
    if steps is None:
        return ()
    listed = (steps,) if callable(steps) else tuple(steps)
    for step in listed:
        if not callable(step) or isinstance(step, type):
            raise InputError(f"{what}: expected callables such as Scale(16), got {step!r:.80}")
    return listed


def _extremes(array: Array) -> tuple[Any, Any]:
    """Return the smallest and the largest value, or NaN for both: quicker than ``min`` and ``max``."""
    return array.item(array.argmin()), array.item(array.argmax())


def _only(by_name: dict[str, Any]) -> Any:
    """Return the only value of a dict, or the dict."""
    return next(iter(by_name.values())) if len(by_name) == 1 else by_name
