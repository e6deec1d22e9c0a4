"""Controls made from a predictor's contract, and an answer that follows them."""

from dataclasses import dataclass
from threading import RLock
from time import perf_counter
from typing import Any

import anywidget
import traitlets

from inferkit._base import InputError, answer_while_busy
from inferkit.predictor import Signature

from ._answers import Clock
from ._controls import Values, form_of
from ._files import joined
from ._latest import Latest
from ._reading import LiveAnswer, plain, read_row

PATIENCE_S = 10  # what is slower than this is shown without an answer where no kernel runs


@dataclass(frozen=True)
class _Question:
    asked: int  # the browser's count, which the answer carries back
    values: Values


class LivePredictor(anywidget.AnyWidget):  # type: ignore[misc]  # anywidget's base is untyped
    """Change a predictor's input by hand, and see the answer change with it.

    The controls come from ``predictor.signature.input``. A table has a slider for each number with
    two limits, a box for any other number, and a picker for each category. A text has a box. A
    vector of up to 12 numbers has a slider or a box for each. A picture or a longer array is
    picked from examples.

    Each output is shown as its contract has it: probabilities as bars with the likeliest label,
    values with their unit. The time is that of the predictor's call alone, measured in the kernel.

    However fast the controls move and however slow the model is, at most one value waits, and
    that is the newest. Where no kernel runs, the output shows a table instead, without a time.

    Parameters
    ----------
    predictor : Predictor
        It answers one row at a time, on a thread of the widget's own.
    start : row, optional
        What the controls show first, as ``predict_one`` takes it. A dict may leave columns out. For
        a picture: the name or the number of an example. Without it: the first example; without
        examples, the middle of each range.
    examples : rows or mapping of str to row, optional
        Up to 100 rows to pick from, by name if they have one. A picture or a long array needs them.
    clock : callable, optional
        Returns seconds; what the times are read from.

    Raises
    ------
    InputError
        If it is no predictor, or `start` or an example breaks its contract, or examples are needed.

    Notes
    -----
    Values arrive on a thread of the kernel's own, also while a cell runs. It only stores them. A
    worker takes the newest and calls the predictor; it lives while there is work, and `close` drops
    what waits. An error of the model or of the contract is shown, and the next value is tried anew.

    Examples
    --------
    >>> import numpy as np
    >>> from inferkit.predictor import Column, Predictor, TableSpec
    >>> def risk(X):
    ...     p = X[:, 0] / 100
    ...     return np.column_stack([1 - p, p])
    >>> contract = TableSpec([Column("age", "years", 0, 100)])
    >>> live = LivePredictor(Predictor(risk, signature=contract, labels=["low", "high"], name="risk"))
    >>> live.value, live.answer.value
    ({'age': 50.0}, 'low')
    >>> live.set(age=80)
    >>> live.answer.value
    'high'
    >>> live.close()
    """

    _esm = joined("parts.js", "controls.js", "live.js")
    _css = joined("colours.css", "parts.css", "live.css")
    _name = traitlets.Unicode().tag(sync=True)
    _controls = traitlets.List().tag(sync=True)
    _examples = traitlets.List().tag(sync=True)
    # Nothing is echoed: the browser knows what it sent, and has moved on since.
    _values = traitlets.Dict().tag(sync=True, echo_update=False)
    _asked = traitlets.Int(0).tag(sync=True, echo_update=False)  # the browser's count of its questions
    _reply = traitlets.Dict().tag(sync=True)

    def __init__(self, predictor: Any, *, start: Any = None, examples: Any = None, clock: Clock = perf_counter) -> None:
        _check_predictor(predictor)
        self._predictor = predictor
        self._form = form_of(predictor.signature.input, examples)
        self._clock = clock
        self._lock = RLock()
        self._latest_answer = LiveAnswer(None)
        self._serial = 0
        self._worker: Latest[_Question] = Latest(self._work, name="inferkit-live")
        super().__init__(
            _name=predictor.name,
            _controls=self._form.controls,
            _examples=[{"name": name, "values": values} for name, values in self._form.examples.items()],
            _values=self._form.start if start is None else self._form.values(start),
        )
        answer_while_busy(self)
        self._ticket = self._ask()
        self.observe(self._on_asked, "_asked")

    @property
    def value(self) -> Any:
        """The row that the controls show, as ``predict_one`` takes it.

        A box that was left empty is None in a table; in a vector it raises `InputError`.
        """
        return self._form.row(self._values)

    @property
    def answer(self) -> LiveAnswer:
        """What the predictor says about `value`; waits until it has said it."""
        self._worker.wait(self._ticket)
        return self._latest_answer

    def set(self, /, **values: Any) -> None:
        """Change some of the controls, as a person would.

        Parameters
        ----------
        **values
            By name: a table's columns, a vector's ``x0``, ``x1`` and so on, ``text``, or ``example``
            with the name or the number of a picture.

        Raises
        ------
        InputError
            If there is no such control, or the row would break the contract.
        """
        with self._lock:
            self._values = self._form.values({**self._values, **values})
            self._ticket = self._ask()

    def close(self) -> None:
        """Close the widget. What waits is dropped; a call under way ends in its own time and shows nothing."""
        if hasattr(self, "_worker"):  # ipywidgets closes also what was refused at the door
            self._worker.stop()
        super().close()

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what the browser sends: one message at a time, whichever thread brings it."""
        with self._lock:
            super().set_state(sync_data)

    @traitlets.validate("_values")  # type: ignore[untyped-decorator]  # traitlets' own
    def _check_values(self, proposal: Any) -> Any:
        if set(proposal.value) != set(self._form.start):
            raise traitlets.TraitError(f"expected values for {list(self._form.start)}, got {list(proposal.value)}")
        return proposal.value

    def _on_asked(self, _: Any) -> None:
        self._ticket = self._ask()

    def _ask(self) -> int:
        return self._worker.put(_Question(self._asked, dict(self._values)))

    def _work(self, question: _Question) -> None:
        """On the worker's thread: the predictor is called outside of the lock, so that values can arrive meanwhile."""
        answer = read_row(self._predictor, lambda: self._form.row(question.values), clock=self._clock)
        with self._lock:
            self._latest_answer = answer
            self._serial += 1
            self._reply = {"serial": self._serial, "asked": question.asked, **plain(answer)}

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        from ._live_static import still

        self._worker.wait(self._ticket, PATIENCE_S)
        data, metadata = bundle
        html = still(self._name, self._controls, self._values, self._latest_answer)
        return {**data, "text/html": html}, metadata

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r:.40}" for name, value in self._values.items())
        return f"LivePredictor({self._name!r}: {values})"


def _check_predictor(predictor: Any) -> None:
    if isinstance(predictor, type) or not isinstance(getattr(predictor, "signature", None), Signature):
        raise InputError(
            f"LivePredictor: expected a Predictor, whose signature says which controls to make, got "
            f"{type(predictor).__name__}; wrap the model first: Predictor(model, signature=TableSpec(...))"
        )
