"""A model's config as calls of layers, with the calls inside the models that it contains.

Sources: ``keras/src/models/functional.py`` (``functional_from_config``, ``serialize_node``) and
``keras/src/models/sequential.py``; for the lists of Keras 1 and 2 ``deserialize_node`` there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from rnnshapes.errors import InputError
from rnnshapes.load.saved.config_layers import (
    ModelConfig,
    SavedLayer,
    read_model_config,
    sequential_input,
)
from rnnshapes.load.saved.inbound_nodes import (
    InboundNode,
    TensorRef,
    inbound_nodes,
    known_shapes,
    references,
)
from rnnshapes.network.graph import Tap
from rnnshapes.network.layers.config import Config

#: More calls than any network whose shapes someone reads; a model counts each time it is called.
MOST_CALLS = 1500
#: A call inside one model: the layer's name, and the number of the call.
_CallKey = tuple[str, int]


class ModelCall:
    """One call of a functional model: ``outputs`` are those of the calls made inside it.

    They are taps, or the position of a call, each output of which is a tap.
    """

    def __init__(self, model: ModelConfig) -> None:
        self.model = model
        self.outputs: dict[_CallKey, list[Tap] | int] = {}

    def tap(self, ref: TensorRef) -> Tap:
        """Return where a tensor comes from; InputError if no call made it."""
        outputs = self.outputs.get((ref.layer, ref.node))
        if isinstance(outputs, int):
            return Tap(outputs, ref.tensor)
        if outputs is None or ref.tensor >= len(outputs):
            raise InputError(f"layer {ref.layer!r} has no output {ref.tensor}")
        return outputs[ref.tensor]


@dataclass(frozen=True)
class SavedCall:
    """One call of a layer.

    ``mask`` is the tensor given as its mask, in the model of ``model_call``. ``unsupported`` are
    the names of arguments that are not interpreted. ``shapes`` are those of outputs, by number,
    if the file has them. ``arguments`` are the positional ones, with a Source for each tensor,
    ``settings`` those by name that the layer supports. ``models_ended`` counts the models that a
    TimeDistributed applies at each step whose output is this layer's output.
    """

    layer: SavedLayer
    sources: tuple[Tap, ...] = ()
    initial: tuple[Tap, ...] = ()
    mask: TensorRef | None = None
    unsupported: tuple[str, ...] = ()
    shapes: Mapping[int, tuple[int | None, ...]] = field(default_factory=dict)
    model_call: ModelCall | None = None
    arguments: tuple[Any, ...] = ()
    settings: tuple[tuple[str, Any], ...] = ()
    models_ended: int = 0


@dataclass(frozen=True)
class SubmodelCall:
    """A call of a model inside the model; ``mask`` is a tensor in the model of ``model_call``."""

    layer: SavedLayer
    sources: tuple[Tap, ...]
    mask: TensorRef | None
    model_call: ModelCall


class _Shift(Protocol):
    """Changes a reference so that it counts calls as the file holds them."""

    def __call__(self, ref: TensorRef, *, output: bool = False) -> TensorRef:
        """Return the changed reference; ``output`` says that it is an output of the model."""


class GraphFlattener:
    """Collector of the calls of a model, and of the models in it.

    ``calls`` are all calls of layers, each after those that it needs, ``layers`` all layers by
    name. ``submodel_calls`` are the calls of models that were followed. ``more_opaque`` are names
    of models that would have to be ``opaque``: what was collected is then of no use.
    """

    def __init__(self, *, legacy: bool, opaque: frozenset[str] = frozenset()) -> None:
        """Prepare for one model.

        Args:
            legacy: Whether Keras 1 or 2 wrote the config.
            opaque: Names of models inside the model that are kept as one layer.
        """
        self.legacy, self.opaque = legacy, opaque
        self.calls: list[SavedCall] = []
        self.layers: dict[str, SavedLayer] = {}
        self.submodel_calls: list[SubmodelCall] = []
        self.more_opaque: set[str] = set()

    def add_model(
        self,
        model: Config,
        inputs: Sequence[Tap] | None = None,
        parent: SavedLayer | None = None,
    ) -> list[Tap]:
        """Add the calls of a model, and return its outputs.

        Args:
            model: The model as Keras writes it.
            inputs: What it is called on; ``None`` for inputs of its own.
            parent: The layer that this model is in another one, or ``None``.

        Raises:
            InputError: The graph is not one that Keras writes, or too large.
        """
        config = read_model_config(model, parent, legacy=self.legacy)
        for layer in config.layers.values():
            if self._followed_model(layer) is None:
                known = self.layers.setdefault(layer.name, layer)
                if (known.group, known.top_layer) != (layer.group, layer.top_layer):
                    raise InputError(f"two layers of its config are named {layer.name!r}")
        if config.sequential:
            return self._add_sequential(config, inputs)
        return self._add_functional(config, inputs)

    def _followed_model(self, layer: SavedLayer) -> Config | None:
        """Return the model that a layer is or applies, if that model's own layers are added."""
        return None if layer.name in self.opaque else layer.submodel

    def _add_call(self, call: SavedCall) -> int:
        self.calls.append(call)
        self._require_few_calls()
        return len(self.calls) - 1

    def _require_few_calls(self) -> None:
        if len(self.calls) + len(self.submodel_calls) > MOST_CALLS:
            raise InputError(f"its graph has more than {MOST_CALLS:,} calls of layers")

    def _add_sequential(self, model: ModelConfig, inputs: Sequence[Tap] | None) -> list[Tap]:
        layers = [la for la in model.layers.values() if la.class_name != "InputLayer"]
        if inputs is None:
            current = [Tap(self._add_call(SavedCall(sequential_input(model))))]
        else:
            current = list(inputs)
        for layer, after in zip(layers, [*layers, None][1:], strict=True):
            inner = self._followed_model(layer)
            if inner is not None:
                current = self._follow(layer, inner, current)
                continue
            shape = None if after is None else after.input_shape
            shapes = {} if shape is None else {0: shape}
            current = [Tap(self._add_call(SavedCall(layer, tuple(current), shapes=shapes)))]
        return current

    def _add_functional(self, model: ModelConfig, inputs: Sequence[Tap] | None) -> list[Tap]:
        model_call = ModelCall(model)
        nodes = {name: inbound_nodes(config) for name, config in model.layer_configs.items()}
        self._add_inputs(model_call, inputs)
        outputs = list(references(model.config.get("output_layers")))
        if not outputs:
            raise InputError(f"model {model.name!r} has no outputs")
        shift = _call_number_shift(model, nodes, outputs, legacy=self.legacy)
        outputs = [shift(ref, output=True) for ref in outputs]
        nodes = {name: [node.map_references(shift) for node in nodes[name]] for name in nodes}
        shapes = known_shapes(model.config.get("layers"), shift)
        for ref in outputs:
            self._add_calls_up_to((ref.layer, ref.node), model_call, nodes, shapes)
        return [model_call.tap(ref) for ref in outputs]

    def _add_inputs(self, model_call: ModelCall, inputs: Sequence[Tap] | None) -> None:
        """Add the inputs in the order in which the model takes them."""
        model = model_call.model
        names = [ref.layer for ref in references(model.config.get("input_layers"))]
        if inputs is not None and len(inputs) != len(names):
            raise InputError(
                f"model {model.name!r} takes {len(names)} inputs, {len(inputs)} are given"
            )
        for index, name in enumerate(names):
            if name not in model.layers:
                raise InputError(f"model {model.name!r} has no layer {name!r}, which is its input")
            if inputs is None:
                model_call.outputs[name, 0] = self._add_call(SavedCall(model.layers[name]))
            else:
                model_call.outputs[name, 0] = [inputs[index]]

    def _add_calls_up_to(
        self,
        key: _CallKey,
        model_call: ModelCall,
        nodes: Mapping[str, list[InboundNode]],
        shapes: Mapping[_CallKey, Mapping[int, tuple[int | None, ...]]],
    ) -> None:
        """Add a call and, before it, those that it needs; no call is added twice."""
        stack, begun = [key], set()  # no recursion: a chain may be longer than Python's stack
        while stack:
            key = stack[-1]
            if key in model_call.outputs:
                stack.pop()
                continue
            node = _node(nodes, key)
            missing = [k for k in node.required_calls if k not in model_call.outputs]
            if missing:
                if key in begun:
                    raise InputError(f"its graph has a loop through layer {key[0]!r}")
                begun.add(key)
                stack += missing
                continue
            stack.pop()
            layer = model_call.model.layers[key[0]]
            model_call.outputs[key] = self._call(layer, model_call, node, shapes.get(key, {}))

    def _call(
        self,
        layer: SavedLayer,
        model_call: ModelCall,
        node: InboundNode,
        shapes: Mapping[int, tuple[int | None, ...]],
    ) -> list[Tap] | int:
        """Add a call of a layer and return its position, or follow a model to its outputs."""
        sources = tuple(map(model_call.tap, node.sources))
        initial = tuple(map(model_call.tap, node.initial))
        model = self._followed_model(layer)
        if model is None or node.unsupported or initial:
            if model is not None:
                self.more_opaque.add(layer.name)
            return self._add_call(
                SavedCall(
                    layer,
                    sources,
                    initial,
                    node.mask,
                    node.unsupported,
                    shapes,
                    model_call,
                    node.arguments,
                    node.settings,
                )
            )
        self.submodel_calls.append(SubmodelCall(layer, sources, node.mask, model_call))
        self._require_few_calls()
        inputs = _in_input_order(model, node.input_names, sources)
        return self._follow(layer, model, inputs)

    def _follow(self, layer: SavedLayer, model: Config, inputs: Sequence[Tap]) -> list[Tap]:
        """Add the calls of a model inside the model, once or at each step; return its outputs."""
        first = len(self.calls)
        outputs = self.add_model(model, inputs, layer)
        if not layer.is_model:
            (output,) = outputs
            if output.node < first:  # its output is its input
                self.more_opaque.add(layer.name)
            else:
                last = self.calls[output.node]
                self.calls[output.node] = replace(last, models_ended=last.models_ended + 1)
        return outputs


def _in_input_order(
    model: Config, names: tuple[str, ...], sources: tuple[Tap, ...]
) -> tuple[Tap, ...]:
    """Return sources in the order in which a model takes them.

    Args:
        model: The model.
        names: The names of the sources, if they were given in a dictionary.
        sources: The sources, in the order of their names.
    """
    config = model.get("config")
    input_layers = config.get("input_layers") if isinstance(config, dict) else None
    if isinstance(input_layers, dict):  # both in the order of their keys
        return sources
    expected = [ref.layer for ref in references(input_layers)]
    if not names or sorted(names) != sorted(expected):
        return sources
    return tuple(sources[names.index(name)] for name in expected)


def _node(nodes: Mapping[str, list[InboundNode]], key: _CallKey) -> InboundNode:
    name, number = key
    if name not in nodes:
        raise InputError(f"its graph asks for a layer {name!r} that is not there")
    if not 0 <= number < len(nodes[name]):
        raise InputError(f"its graph asks for call {number} of layer {name!r}, which is not there")
    return nodes[name][number]


def _call_number_shift(
    model: ModelConfig,
    nodes: Mapping[str, list[InboundNode]],
    outputs: Sequence[TensorRef],
    *,
    legacy: bool,
) -> _Shift:
    """Return what makes the number of a call its position among those that the file holds.

    A model inside a model has a call 0 of its own, which the file does not hold. Keras 2 counts
    it everywhere, Keras 3 for the outputs of the model alone.
    """
    submodels = {name for name, layer in model.layers.items() if layer.is_model}
    lowest: dict[str, int] = {}
    for ref in (*_all_references(nodes), *(outputs if legacy else ())):
        lowest[ref.layer] = min(ref.node, lowest.get(ref.layer, ref.node))

    def shift(ref: TensorRef, *, output: bool = False) -> TensorRef:
        if ref.layer not in submodels:
            return ref
        if output and not legacy:
            uncounted = int(model.layers[ref.layer].class_name != "Sequential")
        else:
            uncounted = min(1, lowest.get(ref.layer, 0))
        return ref._replace(node=ref.node - uncounted)

    return shift


def _all_references(nodes: Mapping[str, list[InboundNode]]) -> Iterator[TensorRef]:
    for calls in nodes.values():
        for node in calls:
            yield from (*node.sources, *node.initial)
