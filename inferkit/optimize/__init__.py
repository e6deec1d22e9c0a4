"""Smaller models: quantization, pruning, clustering and distillation, and what they weigh afterwards.

Whatever is made here is a LiteRT model with a report; it goes into `Predictor`, `benchmark.compare` and the ledger as
it is.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what an editor sees
    from ._affine import affine_parameters as affine_parameters
    from ._affine import dequantize as dequantize
    from ._affine import fake_quantize as fake_quantize
    from ._affine import quantize_affine as quantize_affine
    from ._calibration import CalibrationWarning as CalibrationWarning
    from ._cascade import Cascade as Cascade
    from ._cascade import cascade as cascade
    from ._cluster import cluster_weights as cluster_weights
    from ._distill import distill as distill
    from ._early_exit import EarlyExit as EarlyExit
    from ._early_exit import early_exit as early_exit
    from ._escalation import EscalationCurve as EscalationCurve
    from ._escalation import escalation_curve as escalation_curve
    from ._filters import prune_filters as prune_filters
    from ._integer import integer_layer as integer_layer
    from ._layers import Layer as Layer
    from ._layers import Tensor as Tensor
    from ._layers import read_layers as read_layers
    from ._optimized import OptimizedModel as OptimizedModel
    from ._prune import cubic_sparsity as cubic_sparsity
    from ._prune import prune as prune
    from ._qat import quantization_aware_training as quantization_aware_training
    from ._quantize import AccuracyLossError as AccuracyLossError
    from ._quantize import quantize as quantize
    from ._report import LayerReport as LayerReport
    from ._report import Report as Report
    from ._signal import sqnr_db as sqnr_db

_NAMES = {
    "AccuracyLossError": "_quantize",
    "CalibrationWarning": "_calibration",
    "Cascade": "_cascade",
    "EarlyExit": "_early_exit",
    "EscalationCurve": "_escalation",
    "Layer": "_layers",
    "LayerReport": "_report",
    "OptimizedModel": "_optimized",
    "Report": "_report",
    "Tensor": "_layers",
    "affine_parameters": "_affine",
    "cascade": "_cascade",
    "cluster_weights": "_cluster",
    "cubic_sparsity": "_prune",
    "dequantize": "_affine",
    "distill": "_distill",
    "early_exit": "_early_exit",
    "escalation_curve": "_escalation",
    "fake_quantize": "_affine",
    "integer_layer": "_integer",
    "prune": "_prune",
    "prune_filters": "_filters",
    "quantization_aware_training": "_qat",
    "quantize": "_quantize",
    "quantize_affine": "_affine",
    "read_layers": "_layers",
    "sqnr_db": "_signal",
}
__all__ = list(_NAMES)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
