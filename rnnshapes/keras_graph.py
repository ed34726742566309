"""The calls of layers in a live Keras model, found by what its tensors remember.

Nothing of Keras is imported: a model is walked by its attributes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class KerasCall:
    """One call of a layer (or of an operation of Keras).

    ``outputs`` are its symbolic tensors, ``sources`` are (position of the call, output) for
    each tensor that it was called on, ``initial`` the same for its initial states.
    """

    layer: Any
    outputs: tuple[Any, ...]
    sources: tuple[tuple[int, int], ...]
    initial: tuple[tuple[int, int], ...]
    other: tuple[str, ...]
    mask_given: bool


@dataclass(frozen=True, eq=False)
class KerasGraph:
    """All calls that lead to the outputs, the inputs first, each behind its sources."""

    calls: tuple[KerasCall, ...]
    outputs: tuple[tuple[int, int], ...]


def graph_of(model: Any) -> KerasGraph:
    """The graph of a built Sequential or functional model."""
    walk = _Walk()
    for tensor in model.inputs:
        walk.place(tensor)
    outputs = tuple(walk.place(tensor) for tensor in model.outputs)
    return KerasGraph(tuple(walk.calls), outputs)


class _Walk:
    """Finds each call once, its sources before it."""

    def __init__(self) -> None:
        self.calls: list[KerasCall] = []
        self.places: dict[tuple[int, int], int] = {}

    def place(self, tensor: Any) -> tuple[int, int]:
        """Where a tensor comes from: the position of the call, and which of its outputs it is."""
        stack = [tensor]
        while stack:  # no recursion: a chain may be longer than Python's stack
            last = stack[-1]
            first, initial, _ = _arguments(_node(last))
            missing = [t for t in (*first, *initial) if self._key(t) not in self.places]
            if missing:
                stack += reversed(missing)
                continue
            stack.pop()
            if self._key(last) not in self.places:
                self._add(last)
        return self._found(tensor)

    def _key(self, tensor: Any) -> tuple[int, int]:
        history = tensor._keras_history
        return id(history.operation), history.node_index

    def _found(self, tensor: Any) -> tuple[int, int]:
        return self.places[self._key(tensor)], tensor._keras_history.tensor_index

    def _add(self, tensor: Any) -> None:
        node = _node(tensor)
        first, initial, other = _arguments(node)
        mask_given = node.arguments.kwargs.get("mask") is not None
        self.places[self._key(tensor)] = len(self.calls)
        self.calls.append(
            KerasCall(
                tensor._keras_history.operation,
                tuple(node.outputs),
                tuple(map(self._found, first)),
                tuple(map(self._found, initial)),
                tuple(other),
                mask_given,
            )
        )


def _node(tensor: Any) -> Any:
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index]


def _arguments(node: Any) -> tuple[list[Any], list[Any], list[str]]:
    """The tensors that a layer is called on, its initial states, and names of what else is given.

    A mask that Keras passes on by itself is not told: it follows from the layers.
    """
    kwargs = dict(node.arguments.kwargs)
    args = list(node.arguments.args)
    args += [kwargs.pop(name) for name in ("sequences", "inputs") if name in kwargs]
    initial = args.pop(1) if len(args) > 1 and hasattr(node.operation, "cell") else None
    initial = kwargs.pop("initial_state", initial)
    tensors, states = list(_tensors(args)), list(_tensors(initial))
    mask = kwargs.pop("mask", None)
    own = [getattr(tensor, "_keras_mask", None) for tensor in tensors]
    other = [name for name, value in kwargs.items() if value is not None and value is not False]
    other += ["initial_state"] if initial is not None and not states else []
    other += ["mask"] if mask is not None and not any(mask is found for found in own) else []
    return [*tensors, *_tensors(kwargs)], states, other


def _tensors(value: Any) -> Iterator[Any]:
    """Symbolic tensors, however they are nested."""
    if isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif hasattr(value, "_keras_history"):
        yield value


def recurrent_parts(layer: Any) -> list[Any]:
    """The layers with a cell that are, or are in, a layer of Keras."""
    if hasattr(layer, "forward_layer"):
        return [layer.forward_layer, layer.backward_layer]
    return [layer] if hasattr(layer, "cell") and hasattr(layer, "states") else []
