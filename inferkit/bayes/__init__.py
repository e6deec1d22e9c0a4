"""Answers as distributions: any PyMC model sampled and checked, estimators on top, and posteriors served without PyMC.

Nothing here imports PyMC before the call that needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what an editor sees
    from ._classifier import BayesianClassifier as BayesianClassifier
    from ._compiled import CompiledPosterior as CompiledPosterior
    from ._diagnose import Diagnosis as Diagnosis
    from ._diagnose import InferenceWarning as InferenceWarning
    from ._diagnose import diagnose as diagnose
    from ._hierarchical import HierarchicalRegressor as HierarchicalRegressor
    from ._methods import compare_methods as compare_methods
    from ._regressor import BayesianRegressor as BayesianRegressor
    from ._sample import sample as sample

_NAMES = {
    "BayesianClassifier": "_classifier",
    "BayesianRegressor": "_regressor",
    "CompiledPosterior": "_compiled",
    "Diagnosis": "_diagnose",
    "HierarchicalRegressor": "_hierarchical",
    "InferenceWarning": "_diagnose",
    "compare_methods": "_methods",
    "diagnose": "_diagnose",
    "sample": "_sample",
}
__all__ = list(_NAMES)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
