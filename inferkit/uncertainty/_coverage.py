"""What came of a promised coverage."""

from dataclasses import dataclass, field
from typing import Any

from .._base import wilson
from ._checks import Array, Floats


@dataclass(frozen=True)
class CoverageResult:
    """How often sets or intervals held the truth, and how large they were.

    Attributes
    ----------
    wanted : float
        The coverage asked for.
    covered : numpy.ndarray of bool, shape (n,)
        Which rows were.
    sizes : numpy.ndarray of float64, shape (n,)
        Labels in each set, or width of each interval in the unit of the answers.
    groups : numpy.ndarray of shape (n,) or None
        Each row's group.
    """

    wanted: float
    covered: Array = field(repr=False)
    sizes: Floats = field(repr=False)
    groups: Array | None = field(default=None, repr=False)

    @property
    def n(self) -> int:
        """How many rows."""
        return len(self.covered)

    @property
    def coverage(self) -> float:
        """The share of rows that were covered."""
        return float(self.covered.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of that share (Wilson 1927), for these very sets: the calibration rows are given."""
        low, high = wilson(self.covered.sum(), self.n)
        return float(low), float(high)

    @property
    def mean_size(self) -> float:
        """Mean number of labels, or mean width."""
        return float(self.sizes.mean())

    def by_group(self) -> dict[Any, "CoverageResult"]:
        """Return a result for each group.

        Returns
        -------
        dict
            Empty if the predictor knows no groups.
        """
        if self.groups is None:
            return {}
        parts = {group: self.groups == group for group in dict.fromkeys(self.groups.tolist())}
        return {group: CoverageResult(self.wanted, self.covered[i], self.sizes[i]) for group, i in parts.items()}

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.coverage:.1%} of {self.n:,} rows covered (95 %: {low:.1%} to {high:.1%}), {self.wanted:.1%} asked "
            f"for; mean size {self.mean_size:.3g}"
        )
