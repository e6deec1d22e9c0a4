"""A model taken apart: each layer as a model of its own, with the rows that reach it in the whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from .._base import InputError
from ..models import LiteRTModel
from ..models._litert import _quiet_stderr as quiet_stderr
from ..optimize import Layer
from ..optimize._layers import ModelFile, read_file
from ..optimize._signal import _open as open_plain  # keeps what every layer gives
from ._files import cut

Array = NDArray[Any]
_STATE = ("CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE")
_INSIDE = ("WHILE", "IF", "CALL")


@dataclass(frozen=True, eq=False)
class Unit:
    """One layer, ready to be timed.

    Attributes
    ----------
    layer : Layer
    invoke : callable
        Runs it once on its rows.
    answer : callable
        Returns what it gave, by the tensor's number in the whole model.
    """

    layer: Layer
    invoke: Callable[[], Any]
    answer: Callable[[], dict[int, Array]]


def take_apart(model: LiteRTModel, rows: tuple[Array, ...], num_threads: int) -> list[Unit]:
    """Cut a model into its layers.

    Operations that only compute a shape, or make stored weights real, stay with the layer that reads them.

    Parameters
    ----------
    model : LiteRTModel
    rows : tuple of array
        One for each input, as the model's tensors have them.
    num_threads : int

    Returns
    -------
    list of Unit
        In the order in which they run.

    Raises
    ------
    InputError
        If the model cannot be taken apart, naming the layers that stand in the way.
    """
    file = read_file(model.content)
    _check(model, file)
    values = _values(model, rows)
    return [_unit(model, file.main[group[-1]], group, values, num_threads) for group in groups(file)]


def groups(file: ModelFile) -> list[list[int]]:
    """Return for each layer the places of the operations that run with it, its own last."""
    maker = {layer.output.index: place for place, layer in enumerate(file.main)}
    helpers = {place for place, layer in enumerate(file.main) if _helps(layer)}
    used = {index for layer in file.main for index in layer.reads}
    return [
        sorted(_with_helpers(place, file, maker, helpers))
        for place, layer in enumerate(file.main)
        if place not in helpers or layer.output.index not in used
    ]


def _helps(layer: Layer) -> bool:
    """Tell whether an operation only computes a shape, or makes stored weights real."""
    whole = layer.output.dtype in ("int32", "int64") and not layer.output.scale.size
    return whole or (layer.op == "DEQUANTIZE" and not layer.inputs)


def _with_helpers(place: int, file: ModelFile, maker: dict[int, int], helpers: set[int]) -> set[int]:
    """Return an operation and those that help it, whatever they need in turn."""
    found, waiting = {place}, [place]
    while waiting:
        for index in file.main[waiting.pop()].reads:
            source = maker.get(index)
            if source in helpers and source not in found:
                found.add(source)
                waiting.append(source)
    return found


def _check(model: LiteRTModel, file: ModelFile) -> None:
    """Raise where layers depend on more than what they are given."""
    ops = [layer.op for layer in file.main]
    names = {"loops or branches": _INSIDE, "a state that lasts": _STATE, "operations of its own": ("CUSTOM",)}
    for what, kinds in names.items():
        if stands := sorted({op for op in ops if op in kinds}):
            raise InputError(
                f"model: {model.name!r} has {what} ({', '.join(stands)}), so its layers cannot run one by one; "
                "recurrent layers can if inferkit.models.export_litert unrolls them"
            )


def _values(model: LiteRTModel, rows: tuple[Array, ...]) -> dict[int, Array]:
    """Run the whole model once and return what each tensor held."""
    interpreter, places = open_plain(model.content), [index for _, index in model._in]
    _fill(interpreter, dict(zip(places, rows, strict=True)))
    interpreter.invoke()
    held = {}
    for detail in interpreter.get_tensor_details():
        try:
            held[int(detail["index"])] = interpreter.get_tensor(detail["index"])
        except ValueError:  # what is never computed, such as scratch memory
            continue
    return held | dict(zip(places, rows, strict=True))


def _fill(interpreter: Any, values: dict[int, Array]) -> None:
    for index, value in values.items():
        interpreter.resize_tensor_input(index, value.shape)
    interpreter.allocate_tensors()
    for index, value in values.items():
        interpreter.set_tensor(index, value)


def _unit(model: LiteRTModel, layer: Layer, group: list[int], values: dict[int, Array], num_threads: int) -> Unit:
    """Make a model of a layer, and set its rows."""
    from ai_edge_litert.interpreter import Interpreter

    content, inputs, outputs = cut(model.content, group)
    with quiet_stderr():
        try:
            interpreter = Interpreter(model_content=content, num_threads=num_threads)
            places = [int(one["index"]) for one in interpreter.get_input_details()]
            _fill(interpreter, {place: values[index] for place, index in zip(places, inputs, strict=True)})
            interpreter.invoke()
        except (ValueError, RuntimeError, KeyError) as error:
            reason = str(error).strip().splitlines()[-1:] or ["no reason given"]
            raise InputError(
                f"model: the layer {layer.name!r} ({layer.op}) of {model.name!r} does not run by itself: {reason[0]}"
            ) from error
    ends = [int(one["index"]) for one in interpreter.get_output_details()]
    return Unit(
        layer,
        interpreter.invoke,
        lambda: {whole: interpreter.get_tensor(end) for whole, end in zip(outputs, ends, strict=True)},
    )


def whole_call(model: LiteRTModel, rows: tuple[Any, ...], num_threads: int) -> Callable[[], Any]:
    """Return a call of a whole model by the runtime alone, on so many threads; its rows are set, and stay."""
    copy = LiteRTModel(model.content, num_threads=num_threads, order=model.order, signature=model.signature)
    copy(*rows)
    (lane,) = copy._free
    invoke: Callable[[], Any] = lane.invoke
    return invoke


def as_litert(model: Any) -> LiteRTModel:
    """Return a LiteRT model; a path or bytes are opened."""
    if isinstance(model, LiteRTModel):
        return model
    backend = getattr(getattr(model, "backend", None), "model", None)
    if isinstance(backend, LiteRTModel):
        raise InputError(
            "model: expected the LiteRT model itself: hand over predictor.backend.model, and prepared rows"
        )
    if isinstance(model, bytes | str) or hasattr(model, "__fspath__"):
        return LiteRTModel(model)
    raise InputError(
        f"model: expected a LiteRTModel or a .tflite file (a path or its bytes), got {type(model).__name__}; "
        "inferkit.models.export_litert makes one of a Keras model"
    )
