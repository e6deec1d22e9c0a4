"""Reference networks in plain Keras 3, their shipped weights, and the runtime that serves them.

>>> from inferkit import models
>>> [record.name for record in models.list_reference()][:5]
['digits-mlp', 'digits-cnn', 'digits-cnn-int8', 'digits-mobilenet', 'signs-cnn']

Nothing here imports a framework before the call that needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what an editor sees
    from ._export import ConversionError as ConversionError
    from ._export import export_litert as export_litert
    from ._export import save_keras as save_keras
    from ._export import save_litert as save_litert
    from ._export import to_litert as to_litert
    from ._keras import import_keras as import_keras
    from ._keras import import_tensorflow as import_tensorflow
    from ._keras import load_keras as load_keras
    from ._litert import LiteRTModel as LiteRTModel
    from ._litert import TensorInfo as TensorInfo
    from ._networks import cnn as cnn
    from ._networks import mlp as mlp
    from ._networks import mobilenet as mobilenet
    from ._reference import ReferenceModel as ReferenceModel
    from ._reference import list_reference as list_reference
    from ._reference import load_reference as load_reference
    from ._runtimes import RUNTIMES as RUNTIMES
    from ._runtimes import CompiledModel as CompiledModel
    from ._runtimes import MissingRuntimeError as MissingRuntimeError
    from ._runtimes import compile_for as compile_for
    from ._training import TrainingResult as TrainingResult
    from ._training import train as train

_NAMES = {
    "RUNTIMES": "_runtimes",
    "CompiledModel": "_runtimes",
    "ConversionError": "_export",
    "LiteRTModel": "_litert",
    "MissingRuntimeError": "_runtimes",
    "TensorInfo": "_litert",
    "export_litert": "_export",
    "import_keras": "_keras",
    "import_tensorflow": "_keras",
    "load_keras": "_keras",
    "ReferenceModel": "_reference",
    "TrainingResult": "_training",
    "cnn": "_networks",
    "compile_for": "_runtimes",
    "list_reference": "_reference",
    "load_reference": "_reference",
    "mlp": "_networks",
    "mobilenet": "_networks",
    "save_keras": "_export",
    "save_litert": "_export",
    "to_litert": "_export",
    "train": "_training",
}
__all__ = list(_NAMES)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
