"""Which queries come when, fixed before the first of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._base import InputError, generator
from ..benchmark._timing import seconds, whole_number

_PROCESSES = ("poisson", "uniform")


@dataclass(frozen=True)
class Plan:
    """Which queries come when.

    Attributes
    ----------
    duration_s : float
        For so long queries are begun.
    rate : float or None
        Queries a second of an open loop.
    due_s : list of float or None
        Their instants.
    clients : int
        Of a closed loop; 0 for an open one.
    """

    duration_s: float
    rate: float | None = None
    due_s: list[float] | None = None
    clients: int = 0

    @property
    def is_open(self) -> bool:
        """Whether queries come whatever became of those before."""
        return self.due_s is not None


def make_plan(
    rate: float | None, duration: float, process: str, clients: int | None,
    random_state: int | np.random.Generator | None,
) -> Plan:  # fmt: skip
    """Check what was asked for, and draw the instants."""
    if (rate is None) == (clients is None):
        raise InputError(
            "expected either rate=..., queries a second, for an open loop, or clients=..., for a closed one; "
            f"got rate={rate!r}, clients={clients!r}"
        )
    if process not in _PROCESSES:
        raise InputError(f"process: expected 'poisson' or 'uniform', got {process!r}")
    duration = seconds("duration", duration)
    if rate is None:
        whole_number("clients", clients)
        return Plan(duration, clients=int(clients or 0))
    rate = above_0("rate", rate, "queries a second")
    due_s = arrivals_s(rate, duration, process, generator(random_state))
    if not due_s:
        raise InputError(f"no query comes in {duration:g} s at {rate:g} a second; give a longer duration")
    return Plan(duration, rate, due_s)


def arrivals_s(rate: float, duration: float, process: str, rng: np.random.Generator) -> list[float]:
    """Return the instants at which queries come, in seconds after the start, all before `duration`.

    Examples
    --------
    >>> arrivals_s(4, 1, "uniform", np.random.default_rng(0))
    [0.0, 0.25, 0.5, 0.75]
    """
    if process == "uniform":
        spaced: list[float] = (np.arange(np.ceil(round(rate * duration, 9))) / rate).tolist()
        return spaced
    # Of a Poisson process's points in a given time, each lies anywhere in it, independently of the others.
    drawn: list[float] = np.sort(duration * rng.random(rng.poisson(rate * duration))).tolist()
    return drawn


def above_0(name: str, value: Any, unit: str) -> float:
    """Return a number above 0, or raise."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < float("inf"):
        raise InputError(f"{name}: expected {unit} above 0, got {value!r}")
    return float(value)
