"""What each stage of one prediction made, and how long it took."""

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from .._base import require


@dataclass(frozen=True)
class Stage:
    """One stage of a traced prediction.

    Parameters
    ----------
    name : str
    value : object
        What came out of it.
    time_us : float
        Median time in microseconds.
    """

    name: str
    value: Any
    time_us: float

    @property
    def shape(self) -> str:
        """Shape and type of what came out, in words."""
        if isinstance(self.value, dict):
            return ", ".join(f"{name} {np.shape(value)}" for name, value in self.value.items())
        if isinstance(self.value, np.ndarray):
            return f"{self.value.dtype} {self.value.shape}"
        return type(self.value).__name__


@dataclass(frozen=True)
class Trace:
    """What each stage of one prediction made, and how long it took.

    Parameters
    ----------
    stages : tuple of Stage
    """

    stages: tuple[Stage, ...]

    def __getitem__(self, name: str) -> Stage:
        """Return the stage called `name`."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(f"no stage {name!r}; there are {[s.name for s in self.stages]}")

    def to_frame(self) -> Any:
        """Return the stages as a pandas DataFrame (extra ``pandas``)."""
        rows = [(s.name, s.shape, s.time_us) for s in self.stages]
        return require("pandas", extra="pandas").DataFrame(rows, columns=["stage", "gives", "time_us"])

    def __repr__(self) -> str:
        width = max(len(s.name) for s in self.stages)
        return "\n".join(f"{s.name:<{width}}  {s.time_us:8.1f} µs  {s.shape}" for s in self.stages)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th scope='row'>{escape(s.name)}</th><td>{escape(s.shape)}</td><td>{s.time_us:.1f}</td></tr>"
            for s in self.stages
        )
        return (
            "<table><thead><tr><th scope='col'>stage</th><th scope='col'>gives</th><th scope='col'>µs</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )
