"""How far an answer can be trusted: calibration, ensembles, sets and intervals with a guarantee, and abstaining.

Everything here takes a `Predictor`, or what a `Predictor` takes, and is one: it goes into `benchmark.compare` and
`benchmark.measure_latency` as it is.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what an editor sees
    from ._abstain import AbstainingPredictor as AbstainingPredictor
    from ._abstain import AbstentionResult as AbstentionResult
    from ._calibration import CalibrationResult as CalibrationResult
    from ._calibration import calibration_error as calibration_error
    from ._conformal import ConformalPredictor as ConformalPredictor
    from ._coverage import CoverageResult as CoverageResult
    from ._dropout import MCDropout as MCDropout
    from ._ensemble import DeepEnsemble as DeepEnsemble
    from ._reliability import reliability_diagram as reliability_diagram
    from ._scores import rows_needed as rows_needed
    from ._temperature import TemperatureScaler as TemperatureScaler

_NAMES = {
    "AbstainingPredictor": "_abstain",
    "AbstentionResult": "_abstain",
    "CalibrationResult": "_calibration",
    "ConformalPredictor": "_conformal",
    "CoverageResult": "_coverage",
    "DeepEnsemble": "_ensemble",
    "MCDropout": "_dropout",
    "TemperatureScaler": "_temperature",
    "calibration_error": "_calibration",
    "reliability_diagram": "_reliability",
    "rows_needed": "_scores",
}
__all__ = list(_NAMES)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
