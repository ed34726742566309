"""Layer calls of a live Keras model, traced back from its output tensors.

The layers of a model inside the model are called where that model is. Nothing of Keras is
imported: only attributes of the model are read.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

from rnnshapes.load.call_arguments import CallArguments, name_options, sort_arguments
from rnnshapes.load.live.keras_private import (
    call_index_of,
    call_of,
    get_mask,
    input_structure,
    is_symbolic,
    operation_of,
    output_index_of,
)
from rnnshapes.load.live.recorded_model import (
    RecordedModel,
    UncalledWeights,
    unused_name,
    weights_outside,
)
from rnnshapes.network.graph import DTYPES_16BIT, Tap
from rnnshapes.network.layers.config import Source
from rnnshapes.ops.constant import MOST_NUMBERS, NUMBER_DTYPES, Constant


@dataclass(frozen=True, eq=False)
class KerasCall:
    """One call of a layer, or of an operation of Keras.

    ``name`` begins with the names of the models around the layer. ``outputs`` are its symbolic
    tensors, ``sources`` where the tensors come from that it is called on, ``initial`` the same
    for its initial states. ``unsupported`` are the names of arguments that are not interpreted.
    ``has_mask`` says that it is given a mask, ``arguments`` are all arguments as Keras records
    them, ``taps`` where each tensor among them comes from, by its ``id``. ``settings`` are
    arguments beside the tensors that the layer supports. ``nesting`` counts the models around
    the layer that a TimeDistributed applies at each step; ``models_ended`` counts those of them
    whose output is this layer's output.
    """

    name: str
    layer: Any
    outputs: tuple[Any, ...]
    sources: tuple[Tap, ...]
    initial: tuple[Tap, ...]
    unsupported: tuple[str, ...]
    has_mask: bool
    arguments: Any
    taps: dict[int, Tap]
    settings: Mapping[str, Any]
    nesting: int
    models_ended: int = 0


@dataclass(frozen=True, eq=False)
class KerasGraph:
    """All calls that lead to the outputs, the inputs first, each after its sources."""

    calls: tuple[KerasCall, ...]
    outputs: tuple[Tap, ...]


def read_graph(model: Any) -> KerasGraph:
    """Return the graph of a built Sequential or functional model, or of a recorded one."""
    if isinstance(model, RecordedModel):
        walk = _Walk([], names=model.names, recorded=True)
    else:
        walk = _Walk([])
    for tensor in model.inputs:
        walk.tap(tensor)
    outputs = tuple(walk.tap(tensor) for tensor in model.outputs)
    return KerasGraph(tuple(walk.calls), outputs)


def uncalled_weights(model: Any, graph: KerasGraph) -> tuple[UncalledWeights, ...]:
    """Return the weights of a recorded model that no called layer has; none of any other model."""
    if not isinstance(model, RecordedModel):
        return ()
    return tuple(weights_outside(model, [call.layer for call in graph.calls]))


def is_model(layer: Any) -> bool:
    """Return whether a layer is one of Keras's own models, with a graph of layers."""
    kind: type = type(layer)
    is_keras = kind.__module__.startswith("keras.src.models.")
    return is_keras and bool(getattr(layer, "inputs", None))


def model_at_each_step(layer: Any) -> Any:
    """Return the model that a TimeDistributed applies, or None if it is one that is not read.

    It has to have one input, and one output that is another tensor. A TimeDistributed that
    computes in 16 bits rounds what the model receives: its first layers have to do so as well.
    """
    kind: type = type(layer)
    model: Any = getattr(layer, "layer", None)
    is_keras = kind.__module__.startswith("keras.src.layers.")
    if kind.__name__ != "TimeDistributed" or not is_keras or not is_model(model):
        return None
    graph = read_graph(model)
    is_input = not graph.calls[graph.outputs[0].node].sources
    first = [c for c in graph.calls if any(not graph.calls[t.node].sources for t in c.sources)]
    dtypes = {getattr(call.layer, "compute_dtype", call.outputs[0].dtype) for call in first}
    is_rounded = layer.compute_dtype in DTYPES_16BIT and "float" in model.inputs[0].dtype
    rounds = is_rounded and dtypes != {layer.compute_dtype}
    if is_input or rounds or len(model.inputs) + len(graph.outputs) > 2:
        return None
    return model


@dataclass
class _Walk:
    """A walk through one model, from its outputs to its inputs.

    ``calls`` are those of all models so far. ``prefix`` are the names of the models around this
    one, ``nesting`` how many of these a TimeDistributed applies, ``names`` the first name of each
    layer by its ``id``, ``outputs`` the taps of each call of this model that was found. With
    ``recorded`` it is the one in a RecordedModel.
    """

    calls: list[KerasCall]
    prefix: str = ""
    nesting: int = 0
    names: dict[int, str] = field(default_factory=dict)
    recorded: bool = False
    outputs: dict[tuple[int, int], list[Tap]] = field(default_factory=dict)

    def tap(self, tensor: Any) -> Tap:
        """Return where a tensor comes from, and add the calls that lead to it."""
        stack = [tensor]
        while stack:  # no recursion: a chain may be longer than Python's stack
            last = stack[-1]
            arguments = read_arguments(call_of(last))
            tensors = (*arguments.inputs, *arguments.initial)
            missing = [t for t in tensors if self._key(t) not in self.outputs]
            if missing and self._key(last) not in self.outputs:
                stack += reversed(missing)
                continue
            stack.pop()
            if self._key(last) not in self.outputs:
                self._add(last)
        return self._known_tap(tensor)

    def _key(self, tensor: Any) -> tuple[int, int]:
        return id(operation_of(tensor)), call_index_of(tensor)

    def _known_tap(self, tensor: Any) -> Tap:
        return self.outputs[self._key(tensor)][output_index_of(tensor)]

    def _add(self, tensor: Any) -> None:
        """Add the call that made a tensor; the calls that it needs are there."""
        call, layer = call_of(tensor), operation_of(tensor)
        arguments = read_arguments(call)
        if is_model(layer) and not arguments.unsupported:
            inputs = self._model_inputs(layer, call, arguments.inputs)
            self.outputs[self._key(tensor)] = self._follow(layer, self._name(layer), inputs)
            return
        model = None if arguments.unsupported else model_at_each_step(layer)
        if model is not None:
            inputs = list(map(self._known_tap, arguments.inputs))
            (output,) = self._follow(model, self._name(layer), inputs, nesting=1)
            last = self.calls[output.node]
            self.calls[output.node] = replace(last, models_ended=last.models_ended + 1)
            self.outputs[self._key(tensor)] = [output]
            return
        position = len(self.calls)
        self.outputs[self._key(tensor)] = [Tap(position, i) for i in range(len(call.outputs))]
        known = [t for t in call.arguments.keras_tensors if self._key(t) in self.outputs]
        self.calls.append(
            KerasCall(
                self.names.setdefault(id(layer), self._name(layer)),
                layer,
                tuple(call.outputs),
                tuple(map(self._known_tap, arguments.inputs)),
                tuple(map(self._known_tap, arguments.initial)),
                arguments.unsupported,
                arguments.mask is not None,
                call.arguments,
                {id(t): self._known_tap(t) for t in known},
                arguments.settings,
                self.nesting,
            )
        )

    def _name(self, layer: Any) -> str:
        """Return the name of a layer, behind those of the models around it.

        An operation that is recorded gets a new name in Keras each time.
        """
        if id(layer) in self.names or not self.recorded:
            return self.names.get(id(layer), f"{self.prefix}{layer.name}")
        return unused_name(re.sub(r"_\d+$", "", layer.name), self.names.values())

    def _model_inputs(self, model: Any, call: Any, tensors: Sequence[Any]) -> list[Tap]:
        """Return what a model is called on, in the order in which it takes it."""
        first = (*call.arguments.args, call.arguments.kwargs.get("inputs"))[0]
        if isinstance(first, dict):
            names = [operation_of(tensor).name for tensor in model.inputs]
            structure = input_structure(model)
            names = sorted(structure) if isinstance(structure, dict) else names
            tensors = [first[name] for name in names]
        return list(map(self._known_tap, tensors))

    def _follow(
        self, model: Any, name: str, inputs: Sequence[Tap], *, nesting: int = 0
    ) -> list[Tap]:
        """Add the calls of a model inside the model, and return its outputs."""
        inner = _Walk(self.calls, f"{name}/", self.nesting + nesting, self.names)
        for tensor, tap in zip(model.inputs, inputs, strict=True):
            inner.outputs[inner._key(tensor)] = [tap]
        return [inner.tap(tensor) for tensor in model.outputs]


def read_arguments(call: Any) -> CallArguments[Any]:
    """Return the arguments of a call, with all symbolic tensors among its inputs.

    A mask that follows from the layers is not unsupported: Keras attaches it to the tensor that
    the layer is called on. A model that was loaded or cloned is given the same mask once more,
    which operations of its own make.
    """
    layer = call.operation
    args, kwargs = name_layer_options(layer, call.arguments.args, call.arguments.kwargs)
    if getattr(layer, "reruns_model", False):  # from all inputs, whatever it is made from
        kwargs.pop("model_inputs")
    arguments = sort_arguments(args, kwargs, _tensors_in, type(layer).__name__)
    inputs, unsupported = list(_tensors_in(arguments.inputs)), arguments.unsupported
    own_masks = [get_mask(tensor) for tensor in inputs]
    inputs += _tensors_in(arguments.options)
    masks = [mask for mask in _leaves(arguments.mask) if mask is not None]
    of_model = is_model(layer)
    if isinstance(arguments.mask, list | tuple) or (
        of_model and not isinstance(arguments.mask, dict)
    ):
        # One for each input. For None, a layer ignores the mask of the input; a model uses it.
        are_own = all(
            _is_same(mask, own) or (mask is None and of_model)
            for mask, own in zip_longest(_leaves(arguments.mask), own_masks)
        )
    else:
        are_own = all(any(_is_same(mask, own) for own in own_masks) for mask in masks)
    if not are_own:
        unsupported = (*unsupported, "mask")
        inputs += _tensors_in(masks)
    return replace(arguments, inputs=tuple(inputs), unsupported=unsupported)


def positional_arguments(call: KerasCall) -> tuple[Any, ...]:
    """Return the positional arguments of an operation, with a Source for each tensor."""
    numbers = iter(range(len(call.sources)))

    def replace_tensors(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return tuple(map(replace_tensors, value))
        return Source(next(numbers)) if is_symbolic(value) else _constant(value)

    return tuple(map(replace_tensors, call.arguments.args))


@dataclass(frozen=True)
class _Variable:
    """A weight of the model among the arguments of an operation, which changes in training."""

    name: str


def _constant(value: Any) -> Any:
    """Return an array of NumPy or of Keras's backend as a constant; anything else stays."""
    if not (hasattr(value, "dtype") and hasattr(value, "shape")):
        return value
    if hasattr(value, "trainable"):
        return _Variable(value.name)
    import numpy as np

    array = np.asarray(value)
    if array.dtype.name not in NUMBER_DTYPES or not 0 < array.size <= MOST_NUMBERS:
        return value
    return Constant(tuple(array.ravel().tolist()), array.shape, array.dtype.name)


def name_layer_options(
    layer: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments of a call with the options of the layer by name."""
    return name_options(args, kwargs, list(inspect.signature(layer.call).parameters))


def _is_same(first: Any, second: Any) -> bool:
    """Return whether two symbolic tensors are one, or made of the same by the same operations."""
    pairs, seen = [(first, second)], set()
    while pairs:
        pair = pairs.pop()
        if pair[0] is pair[1] or (key := (id(pair[0]), id(pair[1]))) in seen:
            continue
        seen.add(key)
        operations = [_describe_operation(tensor) for tensor in pair]
        if operations[0] is None or operations[0] != operations[1]:
            return False
        operands = [call_of(tensor).arguments.keras_tensors for tensor in pair]
        pairs += zip(*operands, strict=True)
    return True


def _describe_operation(tensor: Any) -> tuple[Any, ...] | None:
    """Return which operation of Keras made a tensor, with all of its arguments but tensors.

    ``None`` for an output of a layer, or of an operation with more than plain values.
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
    values = _comparable([arguments.args, arguments.kwargs, config])
    return None if values is None else (kind, output_index_of(tensor), values)


def _comparable(value: Any) -> Any:
    """Return a value without its symbolic tensors; ``None`` if it cannot be compared."""
    if isinstance(value, dict):
        value = sorted(value.items())
    if isinstance(value, list | tuple):
        parts = tuple(map(_comparable, value))
        return None if None in parts else parts
    if is_symbolic(value):
        return ("tensor",)
    return (value,) if value is None or isinstance(value, bool | int | float | str) else None


def _leaves(value: Any) -> Iterator[Any]:
    """Yield everything in a value, however it is nested."""
    if isinstance(value, list | tuple | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _leaves(part)
    else:
        yield value


def _tensors_in(value: Any) -> Iterator[Any]:
    """Yield the symbolic tensors in a value, however they are nested."""
    return filter(is_symbolic, _leaves(value))


def recurrent_layers(layer: Any) -> list[Any]:
    """Return the layers with a cell that are, or are in, a layer of Keras."""
    if hasattr(layer, "forward_layer"):
        return [layer.forward_layer, layer.backward_layer]
    return [layer] if hasattr(layer, "cell") and hasattr(layer, "states") else []


def layers_by_name(model: Any, prefix: str = "") -> dict[str, Any]:
    """Return the layers of a model and of the models in it, by the names that their calls have."""
    layers: dict[str, Any] = {}
    if isinstance(model, RecordedModel):
        named = dict(model.layers)
        named |= {part.name: part for part in uncalled_weights(model, read_graph(model))}
    else:
        named = {layer.name: layer for layer in model.layers}
    for name, layer in named.items():
        inner = layer if is_model(layer) else model_at_each_step(layer)
        if inner is not None:
            layers |= layers_by_name(inner, f"{prefix}{name}/")
        layers[f"{prefix}{name}"] = layer
    return layers
