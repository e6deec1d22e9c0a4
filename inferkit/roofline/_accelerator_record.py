"""What a run on an accelerator is kept in: rows with their samples, as a table and as JSON."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .._base import InputError, require, whole_file
from ..benchmark import percentile_interval
from . import _accelerator_table as table
from ._accelerator_json import FORMAT, VERSION, checked, read

if TYPE_CHECKING:
    import pandas

NUTS_TOLERANCE_SD = 0.2
"""Peak and mean of a posterior that is nearly normal lie closer than this; so do 500 draws of four chains."""


class _PartsError(InputError):
    """Rounds whose parts were not all timed."""


@dataclass(frozen=True)
class Span:
    """A median and the interval that holds it 19 times in 20; an end is None where the sample does not bound it."""

    median: float
    low: float | None
    high: float | None

    def is_below(self, other: Span) -> bool:
        """Tell whether the whole interval lies below another; an open end never does."""
        return self.high is not None and other.low is not None and self.high < other.low


def _span(samples: Any) -> Span:
    """Return median and interval of some seconds, in microseconds."""
    low, high = percentile_interval(samples, 50)
    ends = (None if end is None else 1e6 * end for end in (low, high))
    return Span(1e6 * float(np.median(samples)), *ends)


@dataclass(frozen=True)
class AcceleratorRow:
    """One network in one precision at one batch size.

    Attributes
    ----------
    network, precision : str
    batch_size : int
        Rows in a call.
    first_call_s : float
        Seconds of the first call: tracing and compiling, and one answer.
    transfer_s, compute_s, back_s : tuple of float
        Seconds of each later call: rows to the device, the answers there, the answers back. One value a round.
    difference : float or None
        Largest difference from the float64 reference, as a share of its largest answer; None if an answer was no
        number, or of another shape.
    tolerance : float
        How large it may be in this precision.
    structure : str
        12 hexadecimal digits that stand for the network's layers and shapes.
    n_parameters : int
    """

    network: str
    precision: str
    batch_size: int
    first_call_s: float
    transfer_s: tuple[float, ...] = field(repr=False)
    compute_s: tuple[float, ...] = field(repr=False)
    back_s: tuple[float, ...] = field(repr=False)
    difference: float | None
    tolerance: float
    structure: str
    n_parameters: int

    def __post_init__(self) -> None:
        if not len(self.transfer_s) == len(self.compute_s) == len(self.back_s) > 0:
            raise _PartsError(f"{self.label}: expected as many times of each part, one or more")

    @property
    def label(self) -> str:
        """Network, precision and batch size, for messages."""
        return f"{self.network}, {self.precision}, batch {self.batch_size}"

    @property
    def n(self) -> int:
        """Rounds that were timed."""
        return len(self.compute_s)

    @property
    def transfer_us(self) -> Span:
        """Microseconds that the rows take to the device."""
        return _span(self.transfer_s)

    @property
    def compute_us(self) -> Span:
        """Microseconds that the answers take on the device."""
        return _span(self.compute_s)

    @property
    def back_us(self) -> Span:
        """Microseconds that the answers take back."""
        return _span(self.back_s)

    @property
    def total_us(self) -> Span:
        """Microseconds from rows in this machine's memory to answers in it."""
        return _span(np.sum([self.transfer_s, self.compute_s, self.back_s], axis=0))

    @property
    def rows_per_s(self) -> float:
        """Rows a second, transfers included."""
        total = self.total_us.median
        return 1e6 * self.batch_size / total if total else math.inf

    @property
    def failure(self) -> str | None:
        """What is wrong with the answers; None if they lie within the tolerance."""
        if self.difference is None:
            return f"{self.label}: answers that are no finite numbers, or of another shape"
        if self.difference <= self.tolerance:
            return None
        return f"{self.label}: {self.difference:.1e} from float64, where {self.tolerance:.1e} is allowed"


@dataclass(frozen=True)
class NutsRow:
    """One sampling of a Bayesian logistic regression on one device.

    Attributes
    ----------
    device_kind, device_name : str
    n_rows, n_columns : int
        Size of the data.
    chains, warmup, draws : int
        Chains, and steps of each before and after it has adapted.
    first_run_s, seconds : float
        Of the first run, which compiles, and of the next.
    ess : float
        Effective sample size of that coefficient which has the smallest.
    deviation_sd : float
        Largest distance of a posterior mean from Newton's and Laplace's, in posterior standard deviations.
    """

    device_kind: str
    device_name: str
    n_rows: int
    n_columns: int
    chains: int
    warmup: int
    draws: int
    first_run_s: float
    seconds: float
    ess: float
    deviation_sd: float

    @property
    def ess_per_s(self) -> float:
        """Effective draws a second, compiling left out."""
        return self.ess / self.seconds if self.seconds else math.inf

    @property
    def failure(self) -> str | None:
        """What is wrong with the posterior; None if its means are those of the reference."""
        if self.deviation_sd <= NUTS_TOLERANCE_SD:
            return None
        return (
            f"NUTS on {self.device_kind}: a posterior mean lies {self.deviation_sd:.2f} sd from the reference, "
            f"where {NUTS_TOLERANCE_SD:g} is allowed"
        )


@dataclass(frozen=True, repr=False)
class AcceleratorRun:
    """Networks on one device: what each batch size takes, and how far the answers lie from float64.

    Attributes
    ----------
    rows : tuple of AcceleratorRow
    nuts : tuple of NutsRow
        Bayesian sampling on the accelerator and on the processor, if it ran.
    stamp : dict
        As of `inferkit.devices.stamp`, and ``accelerator``: backend, its versions, kind and name of the device, driver
        and the settings that matter.
    errors : tuple of str
        What raised instead of answering.
    left_out : tuple of str
        What was not measured, and why.
    busy : str or None
        What else kept the machine busy meanwhile.
    stopped : {"n", "interrupt", "time"}
        Whether all was measured.
    """

    rows: tuple[AcceleratorRow, ...]
    nuts: tuple[NutsRow, ...] = ()
    stamp: dict[str, Any] = field(default_factory=dict, hash=False)
    errors: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    busy: str | None = None
    stopped: str = "n"

    @property
    def device_kind(self) -> str:
        """``"gpu"``, ``"tpu"`` or ``"cpu"``."""
        return str(self.stamp.get("accelerator", {}).get("device_kind", "unknown"))

    @property
    def failures(self) -> tuple[str, ...]:
        """What raised, and what lies further from its reference than its tolerance; empty if all is well."""
        wrong = [*(row.failure for row in self.rows), *(row.failure for row in self.nuts)]
        return (*self.errors, *(words for words in wrong if words))

    def crossover(self, other: AcceleratorRun, network: str, precision: str = "float32") -> int | None:
        """Return from which batch size on this run answers faster than another, transfers included.

        Faster means that the intervals of the medians do not overlap, there and at each larger size that both have.
        Wrong answers are never faster.

        Parameters
        ----------
        other : AcceleratorRun
            Such as a run on the processor.
        network, precision : str
            Measured by both.

        Returns
        -------
        int or None
            None if it is faster at no size, or not at the largest.

        Raises
        ------
        InputError
            If one of them lacks the network in this precision, they share no batch size, or the networks differ.
        """
        mine, theirs = self._by_size(network, precision), other._by_size(network, precision)
        kinds = {row.structure for row in (*mine.values(), *theirs.values())}
        if len(kinds) > 1:
            raise InputError(f"other: expected the same network {network!r}, got one of other layers; run both anew")
        sizes = sorted(mine.keys() & theirs.keys(), reverse=True)
        if not sizes:
            raise InputError(f"other: expected a batch size of {sorted(mine)}, got {sorted(theirs)}")
        found = None
        for size in sizes:
            if mine[size].failure or not mine[size].total_us.is_below(theirs[size].total_us):
                break
            found = size
        return found

    def _by_size(self, network: str, precision: str) -> dict[int, AcceleratorRow]:
        rows = {r.batch_size: r for r in self.rows if (r.network, r.precision) == (network, precision)}
        if not rows:
            known = ", ".join(dict.fromkeys(f"{row.network} in {row.precision}" for row in self.rows)) or "nothing"
            raise InputError(f"network: expected one that both runs measured ({known}), got {network} in {precision}")
        return rows

    def to_frame(self) -> pandas.DataFrame:
        """Return one line a row, times in microseconds (needs pandas)."""
        return require("pandas", extra="pandas").DataFrame([_flat(row) for row in self.rows])

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the run as JSON text, and write it to a file: the whole of it or nothing.

        Parameters
        ----------
        path : path-like, optional
            Where to write.

        Returns
        -------
        str
        """
        document = {"format": FORMAT, "version": VERSION, **asdict(self)}
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
        if path is not None:
            with whole_file(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
        return text

    @classmethod
    def from_json(cls, source: str | os.PathLike[str]) -> AcceleratorRun:
        """Read what `to_json` gave.

        Parameters
        ----------
        source : str or path-like
            JSON text, which begins with ``{``, or the path of a file.

        Returns
        -------
        AcceleratorRun

        Raises
        ------
        InputError
            If it is damaged, another document, or of a newer version.
        OSError
            If the file cannot be read.
        """
        document, name = read(source)
        values = checked(cls, document, name)
        if not isinstance(values["stamp"].get("accelerator", {}), dict):
            raise InputError(f"{name} is damaged: stamp.accelerator holds no fields; record it again")
        try:
            rows = tuple(AcceleratorRow(**checked(AcceleratorRow, row, name)) for row in values["rows"])
        except _PartsError as error:
            raise InputError(f"{name} is damaged: {error}; record it again") from error
        nuts = (NutsRow(**checked(NutsRow, row, name)) for row in values["nuts"])
        return cls(**{**values, "rows": rows, "nuts": tuple(nuts)})

    def __repr__(self) -> str:
        return table.text(self)

    def _repr_html_(self) -> str:
        return table.html(self)


def _flat(row: AcceleratorRow) -> dict[str, Any]:
    """Return a row as one line of a table."""
    spans = {name: getattr(row, name) for name in ("transfer_us", "compute_us", "back_us", "total_us")}
    return {
        **{name: getattr(row, name) for name in ("network", "precision", "batch_size", "n_parameters", "first_call_s")},
        **{key: value for name, span in spans.items() for key, value in _ends(name, span)},
        **{name: getattr(row, name) for name in ("rows_per_s", "n", "difference", "tolerance", "failure")},
    }


def _ends(name: str, span: Span) -> Iterator[tuple[str, float | None]]:
    stem = name.removesuffix("_us")
    yield from ((name, span.median), (f"{stem}_low_us", span.low), (f"{stem}_high_us", span.high))
