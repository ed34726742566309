"""The calls of layers in a live Keras model, found by what its tensors remember.

A model inside the model is gone into: its layers are called where it is. Nothing of Keras is
imported: a model is walked by its attributes.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rnnshapes.load.live.keras_private import (
    call_index_of,
    call_of,
    get_mask,
    input_structure,
    is_symbolic,
    operation_of,
    output_index_of,
)

#: Keras's own classes of models.
MODELS = ("Sequential", "Functional", "Model")
#: What a layer may be called with, beside what it is called on, in Keras's order.
_OPTIONS = ("initial_state", "mask", "training")
#: The position of a call, and which of its outputs.
Place = tuple[int, int]


@dataclass(frozen=True, eq=False)
class KerasCall:
    """One call of a layer (or of an operation of Keras).

    ``name`` has those of the models around the layer in front. ``outputs`` are its symbolic
    tensors, ``sources`` are (position of the call, output) for each tensor that it was called
    on, ``initial`` the same for its initial states. ``arguments`` are what it was called with,
    ``given`` where each tensor among them comes from, by its ``id``.
    """

    name: str
    layer: Any
    outputs: tuple[Any, ...]
    sources: tuple[Place, ...]
    initial: tuple[Place, ...]
    other: tuple[str, ...]
    mask_given: bool
    arguments: Any
    given: dict[int, Place]


@dataclass(frozen=True, eq=False)
class KerasGraph:
    """All calls that lead to the outputs, the inputs first, each behind its sources."""

    calls: tuple[KerasCall, ...]
    outputs: tuple[Place, ...]


def read_graph(model: Any) -> KerasGraph:
    """The graph of a built Sequential or functional model."""
    walk = _Walk([])
    for tensor in model.inputs:
        walk.place(tensor)
    outputs = tuple(walk.place(tensor) for tensor in model.outputs)
    return KerasGraph(tuple(walk.calls), outputs)


def is_model(layer: Any) -> bool:
    """Whether it is one of Keras's own models, with a graph of layers."""
    kind = type(layer)
    own = kind.__name__ in MODELS and kind.__module__.startswith("keras.src.models.")
    return own and bool(getattr(layer, "inputs", None)) and bool(getattr(layer, "outputs", None))


@dataclass
class _Walk:
    """Finds each call of one model once, its sources before it.

    ``calls`` are those of all models, ``names`` the first name of each layer, by its ``id``,
    ``places`` where the outputs of a call of this model are.
    """

    calls: list[KerasCall]
    front: str = ""
    names: dict[int, str] = field(default_factory=dict)
    places: dict[tuple[int, int], list[Place]] = field(default_factory=dict)

    def place(self, tensor: Any) -> Place:
        """Where a tensor comes from: the position of the call, and which of its outputs it is."""
        stack = [tensor]
        while stack:  # no recursion: a chain may be longer than Python's stack
            last = stack[-1]
            first, initial, _ = _arguments(call_of(last))
            missing = [t for t in (*first, *initial) if self._key(t) not in self.places]
            if missing and self._key(last) not in self.places:
                stack += reversed(missing)
                continue
            stack.pop()
            if self._key(last) not in self.places:
                self._add(last)
        return self._found(tensor)

    def _key(self, tensor: Any) -> tuple[int, int]:
        return id(operation_of(tensor)), call_index_of(tensor)

    def _found(self, tensor: Any) -> Place:
        return self.places[self._key(tensor)][output_index_of(tensor)]

    def _add(self, tensor: Any) -> None:
        node, layer = call_of(tensor), operation_of(tensor)
        arguments = node.arguments
        first, initial, other = _arguments(node)
        if is_model(layer) and not other:
            self.places[self._key(tensor)] = self._inside(layer, self._given(layer, node, first))
            return
        place = len(self.calls)
        self.places[self._key(tensor)] = [(place, i) for i in range(len(node.outputs))]
        known = [t for t in arguments.keras_tensors if self._key(t) in self.places]
        self.calls.append(
            KerasCall(
                self.names.setdefault(id(layer), f"{self.front}{layer.name}"),
                layer,
                tuple(node.outputs),
                tuple(map(self._found, first)),
                tuple(map(self._found, initial)),
                tuple(other),
                arguments_by_name(layer, arguments.args, arguments.kwargs)[1].get("mask")
                is not None,
                arguments,
                {id(t): self._found(t) for t in known},
            )
        )

    def _given(self, model: Any, node: Any, tensors: list[Any]) -> list[Place]:
        """What a model is called on, in the order in which it takes it; also from a dictionary."""
        given = (*node.arguments.args, node.arguments.kwargs.get("inputs"))[0]
        if isinstance(given, dict):
            names = [operation_of(tensor).name for tensor in model.inputs]
            struct = input_structure(model)
            names = sorted(struct) if isinstance(struct, dict) else names
            tensors = [given[name] for name in names]
        return list(map(self._found, tensors))

    def _inside(self, model: Any, given: list[Place]) -> list[Place]:
        """The outputs of a model inside the model, called on ``given``."""
        inner = _Walk(self.calls, f"{self.front}{model.name}/", self.names)
        for tensor, place in zip(model.inputs, given, strict=True):
            inner.places[inner._key(tensor)] = [place]
        return [inner.place(tensor) for tensor in model.outputs]


def _arguments(node: Any) -> tuple[list[Any], list[Any], list[str]]:
    """The tensors that a layer is called on, its initial states, and names of what else is given.

    A mask that Keras passes on by itself is not told: it follows from the layers. A model that
    was loaded or cloned is handed the same once more, made by operations of its own.
    """
    args, kwargs = arguments_by_name(node.operation, node.arguments.args, node.arguments.kwargs)
    args += [kwargs.pop(name) for name in ("sequences", "inputs") if name in kwargs]
    initial = kwargs.pop("initial_state", None)
    tensors, states = list(_tensors(args)), list(_tensors(initial))
    mask = kwargs.pop("mask", None)
    own = [get_mask(tensor) for tensor in tensors]
    other = [name for name, value in kwargs.items() if value is not None and value is not False]
    other += ["initial_state"] if initial is not None and not states else []
    if any(not any(_same(found, known) for known in own) for found in _given(mask)):
        other.append("mask")
        kwargs["mask"] = mask
    return [*tensors, *_tensors(kwargs)], states, other


def arguments_by_name(layer: Any, given: Any, named: Any) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a call, with the options of a layer by name, however they were given."""
    args, kwargs = list(given), dict(named)
    names = list(inspect.signature(layer.call).parameters)[: len(args)]
    for name in reversed(_OPTIONS):
        if name in names[1:]:
            kwargs[name] = args.pop(names.index(name))
    return args, kwargs


def _same(one: Any, other: Any) -> bool:
    """Whether two symbolic tensors are one, or made of the same by the same operations."""
    pairs, seen = [(one, other)], set()
    while pairs:
        pair = pairs.pop()
        if pair[0] is pair[1] or (key := (id(pair[0]), id(pair[1]))) in seen:
            continue
        seen.add(key)
        made = [_made_by(tensor) for tensor in pair]
        if made[0] is None or made[0] != made[1]:
            return False
        parts = [call_of(tensor).arguments.keras_tensors for tensor in pair]
        pairs += zip(*parts, strict=True)
    return True


def _made_by(tensor: Any) -> tuple[Any, ...] | None:
    """What operation of Keras makes a tensor, with its options and all but the tensors it takes.

    ``None`` for what a layer makes, or an operation that is given more than plain values.
    """
    operation: Any = operation_of(tensor) if is_symbolic(tensor) else None
    kind: Any = type(operation)
    if not kind.__module__.startswith("keras.src.ops."):
        return None
    arguments = call_of(tensor).arguments
    try:
        config = {k: v for k, v in operation.get_config().items() if k != "name"}
    except NotImplementedError:  # it was made with something that has no config
        return None
    shape = _plain([arguments.args, arguments.kwargs, config])
    return None if shape is None else (kind, output_index_of(tensor), shape)


def _plain(value: Any) -> Any:
    """A value that can be compared, with its symbolic tensors left out; ``None`` if it cannot."""
    if isinstance(value, dict):
        value = sorted(value.items())
    if isinstance(value, list | tuple):
        parts = tuple(map(_plain, value))
        return None if None in parts else parts
    if is_symbolic(value):
        return ("tensor",)
    return (value,) if value is None or isinstance(value, bool | int | float | str) else None


def _given(value: Any) -> Iterator[Any]:
    """What is there, however it is nested."""
    if isinstance(value, list | tuple | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _given(part)
    elif value is not None:
        yield value


def _tensors(value: Any) -> Iterator[Any]:
    """Symbolic tensors, however they are nested."""
    if isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif is_symbolic(value):
        yield value


def recurrent_layers(layer: Any) -> list[Any]:
    """The layers with a cell that are, or are in, a layer of Keras."""
    if hasattr(layer, "forward_layer"):
        return [layer.forward_layer, layer.backward_layer]
    return [layer] if hasattr(layer, "cell") and hasattr(layer, "states") else []


def layers_by_name(model: Any, front: str = "") -> dict[str, Any]:
    """The layers of a model and of the models in it, by the names that their calls have."""
    found: dict[str, Any] = {}
    for layer in model.layers:
        if is_model(layer):
            found |= layers_by_name(layer, f"{front}{layer.name}/")
        found[f"{front}{layer.name}"] = layer
    return found
