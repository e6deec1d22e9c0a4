"""Probabilities beside what happened, gathered into bins: what calibration is measured on."""

from dataclasses import dataclass

import numpy as np

from .._base import InputError
from ._checks import Array, Floats, Integers


@dataclass(frozen=True)
class Bin:
    """Rows whose probabilities lie close together.

    Attributes
    ----------
    low, high : float
        Its ends; a row at an inner end belongs to the bin below.
    n : int
        Rows in it.
    mean_p : float
        Their mean probability.
    share : float
        In how many of them it came true.
    label : object
        Whose probability it is; None stands for the likeliest label of each row.
    """

    low: float
    high: float
    n: int
    mean_p: float
    share: float
    label: object = None


@dataclass(frozen=True)
class Curves:
    """One or more reliability curves over the same `n` rows: C of them, B bins each.

    Row ``i`` of curve ``c`` has the probability ``p[c, i]`` and lies in bin ``place[c, i]``; ``hit[c, i]`` says whether
    it came true. Were the probabilities right, that would be so where a uniform number lies above ``start[c, i]`` and
    at most ``start[c, i] + p[c, i]``: one number a row serves all curves.
    """

    p: Floats
    hit: Floats
    start: Floats
    place: Integers
    edges: tuple[Floats, ...]
    labels: tuple[object, ...]

    @property
    def n_bins(self) -> int:
        """The largest number of bins of a curve."""
        return max(len(edges) for edges in self.edges) - 1

    def bins(self) -> tuple[Bin, ...]:
        """Return the bins that hold rows, curve by curve."""
        found = []
        for c, (edges, label) in enumerate(zip(self.edges, self.labels, strict=True)):
            for b in range(len(edges) - 1):
                inside = self.place[c] == b
                if inside.any():
                    p, hit = float(self.p[c, inside].mean()), float(self.hit[c, inside].mean())
                    found.append(Bin(float(edges[b]), float(edges[b + 1]), int(inside.sum()), p, hit, label))
        return tuple(found)


def make_curves(y: Integers, p: Floats, labels: tuple[object, ...], method: str, n_bins: int) -> Curves:
    """Return the curve of the likeliest label, or for ``"classwise"`` one of each label."""
    if method == "classwise":
        chosen = p.T
        hit = (y == np.arange(len(labels))[:, None]).astype(np.float64)
        start, names = np.cumsum(chosen, axis=0) - chosen, labels
    else:
        top = p.argmax(axis=1)
        chosen = np.take_along_axis(p, top[:, None], axis=1).T
        hit, start, names = (y == top).astype(np.float64)[None], np.zeros_like(chosen), (None,)
    make_edges = _equal_rows if method == "adaptive" else _equal_widths
    edges = tuple(make_edges(row, n_bins) for row in chosen)
    place = np.stack([np.searchsorted(ends[1:-1], row) for ends, row in zip(edges, chosen, strict=True)])
    return Curves(chosen, hit, start, place, edges, names)


def _equal_widths(_: Array, n_bins: int) -> Floats:
    return np.linspace(0, 1, n_bins + 1)


def _equal_rows(p: Floats, n_bins: int) -> Floats:
    """Return ends between which lie about as many rows each; equal probabilities stay together."""
    if n_bins > len(p):
        raise InputError(f"n_bins: expected at most the {len(p)} rows, got {n_bins}")
    inner = np.quantile(p, np.linspace(0, 1, n_bins + 1)[1:-1], method="inverted_cdf")
    return np.unique(np.concatenate([[0.0], inner[inner < p.max()], [1.0]]))
