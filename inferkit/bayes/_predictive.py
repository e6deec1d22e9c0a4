"""Predictive checks: what was observed, beside what the model would have given."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .._base import InputError

Statistic = Callable[[npt.NDArray[Any]], float]


@dataclass(frozen=True)
class CheckRow:
    """One statistic of the observed data among the same statistic of replicated data.

    Attributes
    ----------
    statistic : str
    observed : float
    lower, upper : float
        The middle 95 % of the replicated values.
    tail : float
        The share of replicated values above the observed one, ties by half: near 0 or 1 is a misfit.
    surprising : bool
        Whether the observed value lies outside `lower` to `upper`.
    """

    statistic: str
    observed: float
    lower: float
    upper: float
    tail: float

    @property
    def surprising(self) -> bool:
        return not self.lower <= self.observed <= self.upper


@dataclass(frozen=True, repr=False)
class PredictiveCheck:
    """What `predictive_check` found.

    Attributes
    ----------
    kind : {"prior", "posterior"}
    observed : dict of str to float
        Each statistic of the observed data.
    replicated : dict of str to numpy.ndarray of shape (n,)
        Each statistic of each replicated set.

    Examples
    --------
    >>> import numpy as np
    >>> check = PredictiveCheck("posterior", {"mean": 9.0}, {"mean": np.linspace(0, 1, 101)})
    >>> print(check)
    posterior predictive check, 101 replicated sets
    statistic  observed  replicated, middle 95 %  share above
    mean              9           0.025 to 0.975            0  surprising
    """

    kind: str
    observed: dict[str, float]
    replicated: dict[str, npt.NDArray[np.float64]]

    @property
    def rows(self) -> tuple[CheckRow, ...]:
        """One `CheckRow` for each statistic."""
        return tuple(self._row(name) for name in self.observed)

    def _row(self, name: str) -> CheckRow:
        observed, values = self.observed[name], self.replicated[name]
        lower, upper = np.quantile(values, [0.025, 0.975])
        tail = np.mean(values > observed) + np.mean(values == observed) / 2
        return CheckRow(name, observed, float(lower), float(upper), float(tail))

    @property
    def surprising(self) -> tuple[str, ...]:
        """The statistics whose observed value the model would seldom give: one in 20 even if it is right."""
        return tuple(row.statistic for row in self.rows if row.surprising)

    def _table(self) -> Iterator[tuple[str, ...]]:
        yield "statistic", "observed", "replicated, middle 95 %", "share above", ""
        for row in self.rows:
            band = f"{row.lower:.3g} to {row.upper:.3g}"
            yield row.statistic, f"{row.observed:.3g}", band, f"{row.tail:.3g}", "surprising" * row.surprising

    def _title(self) -> str:
        sets = len(next(iter(self.replicated.values())))
        return f"{self.kind} predictive check, {sets} replicated sets"

    def __str__(self) -> str:
        table = list(self._table())
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(
                [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:4], widths[1:4], strict=True)), row[4]]
            ).rstrip()
            for row in table
        ]
        return "\n".join([self._title(), *lines])

    __repr__ = __str__  # the replicated arrays are long

    def _repr_markdown_(self) -> str:
        header, *rows = ("| " + " | ".join(row) + " |" for row in self._table())
        return "\n".join([f"{self._title()}\n", header, "|:--|--:|--:|--:|:--|", *rows])


def check_replicates(
    kind: str, observed: npt.NDArray[Any], replicated: npt.NDArray[Any], statistics: Mapping[str, Statistic]
) -> PredictiveCheck:
    """Return each statistic of what was observed and of each replicated set.

    Parameters
    ----------
    kind : {"prior", "posterior"}
    observed : numpy.ndarray of shape (n_rows,)
    replicated : numpy.ndarray of shape (n, n_rows)
    statistics : mapping of str to callable

    Returns
    -------
    PredictiveCheck

    Raises
    ------
    InputError
        If there is no statistic, or one gives anything but a number.

    Examples
    --------
    >>> import numpy as np
    >>> replicated = np.arange(20.0).reshape(10, 2)
    >>> check_replicates("prior", np.array([0.0, 2.0]), replicated, {"largest": np.max}).rows[0].tail
    0.9
    """
    if not isinstance(statistics, Mapping) or not statistics:
        raise InputError(f'statistics: expected a mapping such as {{"mean": np.mean}}, got {statistics!r}')
    return PredictiveCheck(
        kind,
        {name: _number(name, statistic, observed) for name, statistic in statistics.items()},
        {
            name: np.array([_number(name, statistic, one) for one in replicated])
            for name, statistic in statistics.items()
        },
    )


def _number(name: str, statistic: Statistic, answers: npt.NDArray[Any]) -> float:
    value = np.asarray(statistic(answers))
    if value.shape != () or value.dtype.kind not in "fiub":
        raise InputError(f"statistics[{name!r}]: expected a function from (n_rows,) to one number, got {value!r}")
    return float(value)
