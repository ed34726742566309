"""The only module that uses private attributes of Keras objects.

Keras has no public access to masks of tensors, to the calls of layers in a graph, and to the
structure of a model's inputs. Nothing of Keras is imported here. Sources, in Keras 3:
``keras/src/ops/node.py`` (``KerasHistory``, ``Node``), ``keras/src/ops/symbolic_arguments.py``,
``keras/src/backend/common/masking.py``, ``keras/src/models/functional.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

#: Why a call cannot be recorded: the layer inside would not give its output that mask.
OTHER_MASK = "a layer changes the mask of an inner layer's output, which is not supported"


def get_mask(tensor: Any) -> Any:
    """Return the mask (N, T) that Keras attached to a tensor, or ``None``."""
    return getattr(tensor, "_keras_mask", None)


def set_mask(tensor: Any, mask: Any) -> None:
    """Attach a mask (N, T) to a tensor, for the layer that is called on it next."""
    tensor._keras_mask = mask


def keep_masks(call: Callable[[], Any], tensors: Iterable[Any]) -> Any:
    """Return the result of a call, and restore the masks that the tensors had before it.

    MultiHeadAttention removes them from its inputs.
    """
    masks = [(tensor, get_mask(tensor)) for tensor in tensors]
    result = call()
    for tensor, mask in masks:
        if mask is not None and get_mask(tensor) is None:
            set_mask(tensor, mask)
    return result


def is_symbolic(value: Any) -> bool:
    """Return whether a value is a tensor that Keras made while a graph was built."""
    return hasattr(value, "_keras_history")


def operation_of(tensor: Any) -> Any:
    """Return the layer, or the operation of Keras, that a symbolic tensor is an output of."""
    return tensor._keras_history.operation


def call_index_of(tensor: Any) -> int:
    """Return which call of its layer made a symbolic tensor, from 0 on."""
    return int(tensor._keras_history.node_index)


def output_index_of(tensor: Any) -> int:
    """Return which output of that call a symbolic tensor is, from 0 on."""
    return int(tensor._keras_history.tensor_index)


def call_of(tensor: Any) -> Any:
    """Return Keras's record of the call that made a symbolic tensor.

    A ``Node`` with ``operation``, ``outputs``, and ``arguments``: ``args``, ``kwargs``, and the
    ``keras_tensors`` among them.
    """
    return operation_of(tensor)._inbound_nodes[call_index_of(tensor)]


def input_structure(model: Any) -> Any:
    """Return how a model takes its inputs: a tensor, or lists or a dictionary of tensors."""
    return getattr(model, "_inputs_struct", None)


def all_layers(model: Any) -> list[Any]:
    """Return the layers of a model and, at any depth, the layers in them."""
    if hasattr(model, "_flatten_layers"):
        return list(model._flatten_layers())
    return list(model.layers)


def sublayers(layer: Any) -> list[Any]:
    """Return the layers that a layer or model holds itself, not those in them."""
    return list(layer._flatten_layers(include_self=False, recursive=False))


@contextmanager
def calls_recorded_inside(
    layers: Sequence[Any], tensors_in: Callable[[Any], Iterable[Any]]
) -> Iterator[None]:
    """Let each symbolic call of these layers run their code, whose calls are then recorded.

    Keras would record one call of the layer itself instead, and take it for what made the outputs.

    Args:
        layers: The layers.
        tensors_in: Yields the symbolic tensors in a value.

    Raises:
        ValueError: one of the layers has given a mask to the output of a layer inside it.
    """
    made: list[tuple[Any, Any, Any]] = []

    def call_inside(layer: Any) -> Callable[..., Any]:
        def symbolic_call(*args: Any, **kwargs: Any) -> Any:
            outputs = layer.call(*args, **kwargs)
            made.extend((t, t._keras_history, get_mask(t)) for t in tensors_in(outputs))
            return outputs

        return symbolic_call

    for layer in layers:
        vars(layer)["symbolic_call"] = call_inside(layer)
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["symbolic_call"]
        for tensor, history, _ in reversed(made):  # the innermost layer made it
            tensor._keras_history = history
    if any(get_mask(tensor) is not mask for tensor, _, mask in made):
        raise ValueError(OTHER_MASK)


@contextmanager
def calls_forgotten(layers: Sequence[Any]) -> Iterator[None]:
    """Remove the symbolic calls that were recorded meanwhile from these layers."""
    records = [nodes for layer in layers for nodes in (layer._inbound_nodes, layer._outbound_nodes)]
    counts = list(map(len, records))
    try:
        yield
    finally:
        for nodes, count in zip(records, counts, strict=True):
            del nodes[count:]


def takes_training(layer: Any) -> bool:
    """Return whether a layer is told if it is called for training."""
    return "training" in getattr(layer, "_call_context_args", {})
