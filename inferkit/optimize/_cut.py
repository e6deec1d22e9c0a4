"""Where a network can be cut in two, so that its second half needs nothing but what one layer gives."""

from typing import Any

from .._base import InputError
from ..models import import_keras
from ..models._keras import uncompiled
from ._distill import _ends_in_softmax

_LEFT = 2  # kernels behind an exit: one alone is the classifier, which the exit would copy
_AXES = 2, 5  # of what an exit can read: (n, channels) up to (n, three of space, channels)


def checked_classifier(model: Any) -> Any:
    """Return a classifier with one input, or raise."""
    if len(model.inputs) != 1:
        names = ", ".join(one.name for one in model.inputs)
        raise InputError(f"model: expected a network with one input, {model.name!r} has {len(model.inputs)} ({names})")
    if len(model.outputs) != 1 or len(model.outputs[0].shape) != 2 or not _ends_in_softmax(model):
        raise InputError(
            f"model: expected a classifier with one output (n, classes) that ends in a softmax, such as cnn() or "
            f"mobilenet(), got {model.name!r} with outputs {[tuple(one.shape) for one in model.outputs]}"
        )
    return model


def output_of(whole: Any, at: str) -> Any:
    """Return the output of the layer behind which a network is cut.

    Parameters
    ----------
    whole : keras.Model
        With one input and one output.
    at : str
        The layer's name.

    Returns
    -------
    KerasTensor

    Raises
    ------
    InputError
        If there is no such layer, or the network cannot be cut behind it; the message lists where it can.
    """
    end = _node_of(whole.outputs[0])
    graph = _up_to(end)
    reasons = {layer.name: _why_not(graph, end, layer) for layer in whole.layers}
    if at in reasons and reasons[at] is None:
        return next(node for node in graph if node.operation.name == at).outputs[0]
    usable = ", ".join(name for name, reason in reasons.items() if reason is None)
    why = f"the layer {at!r} {reasons[at]}" if at in reasons else f"{whole.name!r} has no layer {at!r}"
    raise InputError(f"at: {why}; " + (f"choose one of: {usable}" if usable else "no other layer can be used either"))


def copy_from(model: Any, name: str) -> Any:
    """Return a Keras model with weights of its own and an input of that name.

    A name that Keras makes up has a number in it that is another each time, and so would the bytes of a file be.
    """
    keras, (given,) = import_keras(), model.inputs
    start = keras.layers.Input(tuple(given.shape[1:]), dtype=given.dtype, name=name)
    copy = keras.models.clone_model(uncompiled(model), input_tensors=start)
    copy.set_weights(model.get_weights())
    return keras.Model(copy.inputs[0], copy.outputs[0], name=model.name)


def rest_of(whole: Any, features: Any, name: str) -> Any:
    """Return what comes after some features, as a network of its own whose input has that name.

    Parameters
    ----------
    whole : keras.Model
    features : KerasTensor
        As :func:`output_of` returned it.
    name : str

    Returns
    -------
    keras.Model
        With weights of its own.
    """
    behind = import_keras().Model(features, whole.outputs[0], name=whole.name)
    return copy_from(behind, name)


def _why_not(graph: list[Any], end: Any, layer: Any) -> str | None:
    """Return why a network cannot be cut behind a layer; None if it can."""
    calls = [node for node in graph if node.operation is layer]
    if len(calls) != 1:
        return f"runs {len(calls)} times on the way to the output"
    node = calls[0]
    if node.is_input:
        return "is the input"
    rest = _up_to(end, stop=node)
    if any(one.is_input for one in rest):
        return _passed_by(rest, node)
    if _n_kernels(_up_to(node)) == 0:
        return "comes before any weights: there is nothing yet to answer from"
    if _n_kernels(rest) < _LEFT:
        return "comes too late: an exit would cost as much as what it saves"
    return _odd_output(node)


def _passed_by(rest: list[Any], node: Any) -> str:
    """Return which two layers are joined past a node."""
    behind = [one for one in rest if any(other is node for other in _up_to(one))]
    names = {id(one) for one in (*behind, node)}
    reader, source = next((one, past) for one in behind for past in one.parent_nodes if id(past) not in names)
    return f"is passed by: {reader.operation.name!r} also reads {source.operation.name!r}"


def _odd_output(node: Any) -> str | None:
    """Return what is wrong with what a node gives; None if it can be handed on as one array."""
    given = node.outputs
    if len(given) != 1 or str(given[0].dtype) != "float32" or not _AXES[0] <= len(given[0].shape) <= _AXES[1]:
        return f"does not give one float32 array of channels, but {[(one.dtype, one.shape) for one in given]}"
    if None in given[0].shape[1:]:
        return f"gives an array of no fixed shape, {given[0].shape}"
    return None


def _node_of(tensor: Any) -> Any:
    """Return the node of Keras's graph that makes a tensor."""
    made = tensor._keras_history
    return made.operation._inbound_nodes[made.node_index]


def _up_to(node: Any, stop: Any = None) -> list[Any]:
    """Return the nodes that one depends on, itself included; not `stop`, nor what only that depends on."""
    found: dict[int, Any] = {}
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if one is not stop and id(one) not in found:
            found[id(one)] = one
            waiting += one.parent_nodes
    return list(found.values())


def _n_kernels(nodes: list[Any]) -> int:
    """Count the weights of two axes or more, each once."""
    operations = {id(node.operation): node.operation for node in nodes}.values()
    return sum(len(one.shape) > 1 for operation in operations for one in getattr(operation, "weights", ()))
