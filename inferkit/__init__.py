"""Machine-learning inference, measured on the reader's own machine.

Submodules load on first use, so ``import inferkit`` costs a millisecond and brings in no framework:

>>> import inferkit
>>> X, y = inferkit.datasets.load_digits(return_X_y=True)
>>> X.shape
(1797, 64)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what an editor sees
    from . import batch as batch
    from . import bayes as bayes
    from . import benchmark as benchmark
    from . import course as course
    from . import datasets as datasets
    from . import devices as devices
    from . import models as models
    from . import optimize as optimize
    from . import plots as plots
    from . import predictor as predictor
    from . import roofline as roofline
    from . import serving as serving
    from . import uncertainty as uncertainty
    from . import widgets as widgets
    from ._base import InputError as InputError
    from ._base import MissingExtraError as MissingExtraError
    from ._base import ModelFileError as ModelFileError
    from .benchmark import Ledger as Ledger
    from .predictor import Predictor as Predictor

__version__ = "0.1.0"

_MODULES = (
    "batch", "bayes", "benchmark", "course", "datasets", "devices", "models", "optimize", "plots", "predictor",
    "roofline", "serving", "uncertainty", "widgets",
)  # fmt: skip
_NAMES = {
    "InputError": "_base",
    "Ledger": "benchmark",
    "MissingExtraError": "_base",
    "ModelFileError": "_base",
    "Predictor": "predictor",
}
__all__ = [*_MODULES, *_NAMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _NAMES:
        return getattr(import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
