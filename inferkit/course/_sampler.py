"""Draw samples of any size from values whose percentiles are known, and see what each sample can say."""

from html import escape
from threading import RLock
from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError, answer_while_busy, require
from ..benchmark import Percentile, SampleTooSmallError, percentile, samples_needed
from ._guess import plain_number

STATED = (50, 90, 99)
SIZES = (*(round(step * 10**power) for power in (1, 2, 3) for step in (1, 1.5, 2, 3, 5, 7)), 10_000)
_DOTS = 150  # so many of a sample are drawn, and its largest besides
_LARGEST = 15
_CELL = "border-bottom:1px solid #8884;padding:2px 16px 2px 0;text-align:left"


class Sampler:
    """A slider for the size of a sample, and the intervals that it gives. Made by `sampler`.

    Attributes
    ----------
    truth : dict of int to float
        The percentiles of all values.
    """

    def __init__(self, values: npt.NDArray[np.float64], unit: str, size: int, random_state: int) -> None:
        from ._sampler_view import SamplerView

        self._values = values
        self._unit = unit
        self._seed = random_state
        self._size, self._draws = size, 0
        self._lock = RLock()  # the page speaks on a thread of the kernel's own
        ordered = np.sort(values)
        self.truth = {q: float(ordered[-(-len(ordered) * q // 100) - 1]) for q in STATED}
        self._draw_order()
        ends = [float(ordered[0]), float(ordered[-1])]
        self._view = SamplerView(unit=unit, sizes=list(SIZES), chosen=SIZES.index(size), ends=ends, reply=self._reply())
        answer_while_busy(self._view)
        self._view.observe(self._on_page, ["chosen", "draws"])

    @property
    def size(self) -> int:
        """How many values the sample has."""
        return self._size

    @property
    def sample(self) -> npt.NDArray[np.float64]:
        """The sample, shape (size,). A larger one goes on where a smaller one ends, until it is drawn again."""
        with self._lock:
            return self._values[self._order[: self._size]]

    @property
    def percentiles(self) -> dict[int, Percentile | None]:
        """What the sample says; None where it is too small to say it."""
        return {q: _stated(self.sample, q) for q in STATED}

    def draw(self, size: int | None = None) -> "Sampler":
        """Draw again, as the button does, or set the size, as the slider does.

        Parameters
        ----------
        size : int, optional
            One of the slider's sizes, from 10 to 10,000. Without it a new sample of the same size is drawn.

        Returns
        -------
        Sampler
            This one.

        Raises
        ------
        InputError
            If the slider has no such size.
        """
        if size is None:
            self._view.draws += 1
        else:
            self._view.chosen = SIZES.index(_known(size))
        return self

    def _on_page(self, _: Any) -> None:
        with self._lock:
            if 0 <= self._view.chosen < len(SIZES):
                self._size = SIZES[self._view.chosen]
            if self._view.draws != self._draws:
                self._draws = self._view.draws
                self._draw_order()
            self._view.reply = self._reply()

    def _draw_order(self) -> None:
        rng = np.random.default_rng([self._seed, self._draws])
        self._order = rng.integers(len(self._values), size=max(SIZES))

    def _reply(self) -> dict[str, Any]:
        """Return what the page draws, as plain values."""
        ordered = np.sort(self.sample)
        keep = np.unique(
            np.append(np.linspace(0, len(ordered) - 1, _DOTS).astype(int), np.arange(len(ordered))[-_LARGEST:])
        )
        dots = [[float(ordered[i]), (i + 1) / len(ordered)] for i in keep.tolist()]
        return {"size": self._size, "draws": self._draws, "dots": dots, "rows": [self._row(q) for q in STATED]}

    def _row(self, q: int) -> dict[str, Any]:
        found = _stated(self.sample, q)
        row = {"name": f"p{q}", "truth": self.truth[q], "words": self._words(q, found)}
        return row if found is None else {**row, "value": found.value, "low": found.low, "high": found.high}

    def _words(self, q: int, found: Percentile | None) -> str:
        if found is None:
            return f"needs {samples_needed(q):,} calls"
        value, low, high = (plain_number(x or 0.0, 3) for x in (found.value, found.low, found.high))
        return f"{value} {self._unit}, {low} to {high}".replace(" ,", ",")

    def __repr__(self) -> str:
        said = [f"  p{q:<3} {self._words(q, found)}" for q, found in self.percentiles.items()]
        return "\n".join([f"{self.size:,} of {len(self._values):,} values", *said])

    def _repr_mimebundle_(self, **_: Any) -> Any:
        from ._views import mimebundle

        return mimebundle(self._view, repr(self), self._html())

    def _html(self) -> str:
        """Return the sample as a table, for pages where no kernel runs."""
        head = "".join(f'<th scope="col" style="{_CELL}">{h}</th>' for h in ("", "this sample, 95 % interval", "truth"))
        rows = [
            f'<tr><th scope="row" style="{_CELL}">p{q}</th><td style="{_CELL}">{escape(self._words(q, found))}</td>'
            f'<td style="{_CELL}">{escape(f"{plain_number(self.truth[q], 3)} {self._unit}".strip())}</td></tr>'
            for q, found in self.percentiles.items()
        ]
        caption = f"A sample of {self.size:,} calls, at rest: run the cell to draw others"
        return (
            f'<table style="font-size:14px;border-collapse:collapse"><caption style="text-align:left;padding:4px 0">'
            f"{caption}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        )


def sampler(values: npt.ArrayLike, *, unit: str = "ms", size: int = 100, random_state: int = 0) -> Sampler:
    """Draw samples of any size from values, and show what each can say about their percentiles.

    A slider sets the size, a button draws again. For p50, p90 and p99 a band shows the 95 % interval of
    the sample beside the truth, which is the percentile of all values. Where the sample is smaller than
    `inferkit.benchmark.samples_needed`, nothing is stated.

    Parameters
    ----------
    values : array-like, shape (n,)
        Numbers above 0, such as times: those of a simulation, or all that you have measured. Samples
        are drawn with replacement.
    unit : str, default="ms"
        Of the values.
    size : int, default=100
        What the slider shows first.
    random_state : int, default=0
        Seed of the first sample; each draw has its own.

    Returns
    -------
    Sampler
        With ``sample``, ``percentiles``, ``truth`` and ``draw``.

    Raises
    ------
    InputError
        If the values are not finite numbers above 0, or all the same, or the slider has no such size.
    MissingExtraError
        If anywidget is not installed.

    Examples
    --------
    >>> sampler(range(1, 100_001), unit="µs", size=500)
    500 of 100,000 values
      p50  54,100 µs, 50,400 to 57,900
      p90  92,400 µs, 89,000 to 94,200
      p99  needs 662 calls
    """
    require("anywidget", extra="notebooks")
    numbers = np.asarray(values if hasattr(values, "__array__") else list(values), dtype=np.float64)  # type: ignore[arg-type]
    if numbers.ndim != 1 or len(numbers) < 2:
        raise InputError(f"values: expected a list of two or more numbers, got an array of shape {numbers.shape}")
    if not (np.isfinite(numbers).all() and (numbers > 0).all() and np.ptp(numbers) > 0):
        raise InputError("values: expected finite numbers above 0 that are not all the same; times in ms, for instance")
    if isinstance(random_state, bool) or not isinstance(random_state, int) or random_state < 0:
        raise InputError(f"random_state: expected a whole number ≥ 0, got {random_state!r}")
    return Sampler(numbers, unit, _known(size), random_state)


def _known(size: Any) -> int:
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size not in SIZES:
        raise InputError(f"size: expected one of {', '.join(map(str, SIZES))}, got {size!r}")
    return int(size)


def _stated(sample: npt.NDArray[np.float64], q: int) -> Percentile | None:
    try:
        return percentile(sample, q)
    except SampleTooSmallError:
        return None
