"""A race of runtimes: a button, and bars that grow steady while it measures."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from html import escape
from threading import Event, RLock
from time import monotonic, perf_counter_ns
from typing import Any

import anywidget
import numpy as np
import traitlets

from inferkit._base import answer_while_busy, generator
from inferkit.benchmark import LatencyResult, Percentile, samples_needed, time_words
from inferkit.benchmark._timing import Clock
from inferkit.benchmark._timing import seconds as seconds_above_0
from inferkit.benchmark._words import range_words

from ._files import joined
from ._latest import Latest
from ._racing import Race, Runtime, line_up, run

STATED = (50, 90, 99)
TELL_EVERY_S = 0.25


class RuntimeRace(anywidget.AnyWidget):  # type: ignore[misc]  # anywidget's base is untyped
    """Measure several runtimes side by side, and watch what the sample can say grow with it.

    The button Measure starts it: every runtime is warmed up, then each round gives each of them a
    turn, in random order, so that what slows the machine for a while slows all of them. A bar on a
    logarithmic axis shows the median, p90 or p99 of each with its 95 % interval. A percentile
    that the sample does not support yet is not drawn; how many calls it needs stands there
    instead. Stop keeps what was measured. At the end it is said whether the machine was busy.

    Parameters
    ----------
    models : dict of str to Predictor or callable
        Of a predictor, `predict_one` is timed (`predict` if `batch_size` is above 1). Anything else
        is called with batches.
    X : array, list or data frame
        Rows. Up to 256 different inputs take turns.
    batch_size : int, default=1
        Rows in a call.
    seconds : float, default=10
        How long one measurement lasts, all runtimes together, the warm-up not counted.
    random_state : int, numpy.random.Generator or None, optional
        For the order in each round.
    clock : callable, optional
        Returns nanoseconds; it must never go backwards.

    Raises
    ------
    InputError
        If there is no model, one cannot be called, or there are too few rows.

    Notes
    -----
    It measures on a thread of its own, which ends with the measurement. A cell that runs meanwhile
    shares Python's lock with it; where the system can tell, that is said.

    Examples
    --------
    >>> race = RuntimeRace({"sum": np.sum, "sort": np.sort}, np.ones((8, 100)), seconds=0.05)
    >>> race.measure()
    >>> race.wait()
    True
    >>> sorted(race.results)
    ['sort', 'sum']
    >>> race.close()
    """

    _esm = joined("parts.js", "race.js")
    _css = joined("colours.css", "parts.css", "race.css")
    _unit = traitlets.Unicode().tag(sync=True)
    _order = traitlets.Dict().tag(sync=True, echo_update=False)  # what the browser wants: {"serial", "measure"}
    _reply = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        models: Mapping[str, Any],
        X: Any,
        *,
        batch_size: int = 1,
        seconds: float = 10.0,
        random_state: int | np.random.Generator | None = None,
        clock: Clock = perf_counter_ns,
    ) -> None:
        self._lock = RLock()
        self._race = Race(line_up(models, X, batch_size), batch_size)
        self._seconds = seconds_above_0("seconds", seconds)
        self._rng = generator(random_state)
        self._clock = clock
        self._stop = Event()
        self._measures = False
        self._ticket = self._serial = 0
        self._worker: Latest[Event] = Latest(self._work, name="inferkit-race")
        super().__init__(_unit="row" if batch_size == 1 else f"batch of {batch_size:,} rows")
        answer_while_busy(self)
        self._tell("idle")
        self.observe(self._on_order, "_order")

    @property
    def results(self) -> dict[str, LatencyResult]:
        """What was measured last, by name: every sample, and percentiles where they are supported."""
        return self._race.results

    @property
    def is_measuring(self) -> bool:
        """Whether a measurement is under way."""
        return self._measures

    def measure(self) -> None:
        """Start a measurement, as the button does; what was measured before is dropped. Returns at once."""
        with self._lock:
            if not self._measures:
                self._measures, self._stop = True, Event()
                self._ticket = self._worker.put(self._stop)

    def stop(self) -> None:
        """Stop the measurement after the turn under way, and keep what was measured."""
        self._stop.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the measurement has ended. False if the time is up before, or the widget was closed."""
        return self._worker.wait(self._ticket, timeout_s)

    def close(self) -> None:
        """Close the widget, and stop a measurement that is under way."""
        if hasattr(self, "_worker"):  # ipywidgets closes also what was refused at the door
            self.stop()
            self._worker.stop()
        super().close()

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what the browser sends: one message at a time, whichever thread brings it."""
        with self._lock:
            super().set_state(sync_data)

    def _on_order(self, change: Any) -> None:
        (self.measure if change["new"].get("measure") else self.stop)()

    def _work(self, stop: Event) -> None:
        """On the worker's thread."""
        fresh = tuple(Runtime(r.name, r.call, r.inputs) for r in self._race.runtimes)
        self._race = replace(self._race, runtimes=fresh, share=0.0, busy=None, stamp={})
        try:
            self._tell("measuring")
            self._race = run(
                self._race, seconds=self._seconds, rng=self._rng, clock=self._clock,
                is_stopped=stop.is_set, tell=self._teller(),
            )  # fmt: skip
        finally:
            with self._lock:
                self._measures = False
                self._tell("stopped" if stop.is_set() else "done")

    def _teller(self) -> Callable[[Race], None]:
        told_at = monotonic()

        def tell(race: Race) -> None:
            nonlocal told_at
            self._race = race
            if monotonic() - told_at >= TELL_EVERY_S:
                self._tell("measuring")
                told_at = monotonic()

        return tell

    def _tell(self, state: str) -> None:
        race = self._race
        with self._lock:
            self._serial += 1
            self._reply = {
                "serial": self._serial,
                "state": state,
                "share": round(race.share, 3),
                "busy": race.busy,
                "needs": {str(q): samples_needed(q) for q in STATED},
                "rows": [_plain(runtime, race.results.get(runtime.name)) for runtime in race.runtimes],
            }

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        return {**data, "text/html": still(self._race)}, metadata

    def __repr__(self) -> str:
        names = ", ".join(repr(runtime.name) for runtime in self._race.runtimes)
        return f"RuntimeRace({names}: {'measured' if self.results else 'not measured yet'})"


def _plain(runtime: Runtime, result: LatencyResult | None) -> dict[str, Any]:
    """Return one runtime's figures as what JSON can carry."""
    told: dict[str, Any] = {"name": runtime.name, "error": runtime.error, "n": len(runtime.times), "stated": {}}
    if result is not None:
        found = {str(q): result.stated(q) for q in STATED}
        told["stated"] = {q: _in_words(percentile) for q, percentile in found.items() if percentile is not None}
        told["notes"] = [note for note in result.notes if note != result.busy]  # that one is said once, for all
    return told


def _in_words(found: Percentile) -> dict[str, Any]:
    ends = [None if end is None else end / 1e3 for end in (found.low, found.high)]
    return {
        "value": found.value, "low": found.low, "high": found.high,
        "text": time_words(found.value / 1e3), "interval": range_words(*ends),
    }  # fmt: skip


def still(race: Race) -> str:
    """Return what was measured as a table in HTML, for pages where no kernel runs.

    Parameters
    ----------
    race : Race

    Returns
    -------
    str
        Names and messages are escaped.

    Examples
    --------
    >>> "not measured yet" in still(Race((Runtime("<b>", len, []),)))
    True
    """
    rows = "".join(_still_row(runtime, race.results.get(runtime.name)) for runtime in race.runtimes)
    busy = f"<p>{escape(race.busy)}</p>" if race.busy else ""
    caption = "A race of runtimes, at rest: run the cell, then press Measure"
    return (
        '<table style="font-size:14px;border-collapse:collapse"><caption style="text-align:left;padding:4px 0">'
        f"{caption}</caption><tbody>{rows}</tbody></table>{busy}"
    )


def _still_row(runtime: Runtime, result: LatencyResult | None) -> str:
    if runtime.error is not None:
        told = runtime.error
    elif result is None:
        told = "not measured yet"
    else:
        found = result.stated(50)
        told = f"{result.n:,} calls" if found is None else "median {text} ({interval})".format(**_in_words(found))
    style = "padding:2px 12px 2px 0;text-align:left;border-bottom:1px solid #8884"
    return (
        f'<tr><th scope="row" style="{style}">{escape(runtime.name)}</th><td style="{style}">{escape(told)}</td></tr>'
    )
