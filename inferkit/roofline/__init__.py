"""What this machine can at most, and how near a model comes to it.

>>> from inferkit import roofline
>>> peaks = roofline.measure_peaks(max_seconds=0.1)
>>> peaks.roof(0.25) < peaks.roof(1000.0) == peaks.gflops("float32")
True
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what an editor sees
    from ._accelerator import AcceleratorRun as AcceleratorRun
    from ._accelerator import NoAcceleratorError as NoAcceleratorError
    from ._accelerator import accelerator_run as accelerator_run
    from ._files import litert_matmul as litert_matmul
    from ._peaks import Peaks as Peaks
    from ._peaks import Rate as Rate
    from ._peaks import measure_peaks as measure_peaks
    from ._roofline import LayerPoint as LayerPoint
    from ._roofline import Roofline as Roofline
    from ._roofline import roofline as roofline
    from ._sweep import Speedup as Speedup
    from ._sweep import ThreadSweep as ThreadSweep
    from ._sweep import thread_sweep as thread_sweep
    from ._work import operations as operations

_NAMES = {
    "AcceleratorRun": "_accelerator",
    "LayerPoint": "_roofline",
    "NoAcceleratorError": "_accelerator",
    "Peaks": "_peaks",
    "Rate": "_peaks",
    "Roofline": "_roofline",
    "Speedup": "_sweep",
    "ThreadSweep": "_sweep",
    "accelerator_run": "_accelerator",
    "litert_matmul": "_files",
    "measure_peaks": "_peaks",
    "operations": "_work",
    "roofline": "_roofline",
    "thread_sweep": "_sweep",
}
__all__ = list(_NAMES)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
