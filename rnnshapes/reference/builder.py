"""Keras layers and models built from a network.

:mod:`rnnshapes.reference`, the only module that imports Keras, passes it in.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rnnshapes.cells.cell import KerasSpec
from rnnshapes.cells.stacked import StackedCells
from rnnshapes.load.live.keras_private import get_mask, set_mask
from rnnshapes.network.graph import DTYPES_16BIT, Network, Node
from rnnshapes.network.layers.base import Layer
from rnnshapes.network.layers.config import LAST_INPUT
from rnnshapes.network.layers.core import Input
from rnnshapes.network.layers.operations import Operation
from rnnshapes.network.layers.time_distributed import TimeDistributed
from rnnshapes.ops.interface import KERAS2_HARD_SIGMOID

if TYPE_CHECKING:
    from rnnshapes.network.weights import Weights


def build(keras: Any, network: Network, weights: Weights | None = None) -> Any:
    """Build the network as a functional Keras model with ``weights``, or with zeros."""
    builder = LayerBuilder(keras, network)
    tensors = builder.connect()
    inputs = [outputs[0] for outputs in tensors[: len(network.inputs)]]
    outputs = [tensors[tap.node][tap.output] for tap in network.outputs]
    model = keras.Model(_single(inputs), _single(outputs))
    if weights is not None:
        for layer in network.layers:
            arrays = [weights[name][w.key] for name, group in layer.groups.items() for w in group]
            if arrays:
                set_weights(builder.layers[layer.name], arrays)
    return model


def name_in_keras(name: str) -> str:
    """Return a layer name that Keras accepts, unlike any name that it gives by itself."""
    # PyTorch accepts no dot in a name.
    escaped = re.sub(r"[^A-Za-z0-9_-]", lambda match: f"-{ord(match[0]):x}-", name)
    return f"layer-{escaped}"


def set_weights(built: Any, arrays: list[Any]) -> None:
    """Set the weights of a Keras layer, and what Normalization computes of them."""
    built.set_weights(arrays)
    built = getattr(built, "layer", built)
    if hasattr(built, "finalize_state"):
        built.finalize_state()


def call_layer(layer: Layer, built: Any, tensors: list[Any]) -> Any:
    """Call a Keras layer as the network does: on a list, or on one or several tensors."""
    inputs, options = sort_inputs(layer, tensors)
    return built(*([inputs] if layer.takes_list else inputs), **options)


def sort_inputs(layer: Layer, tensors: list[Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return the inputs of a layer that have no names, and all arguments that have."""
    if isinstance(layer, TimeDistributed) and layer.in_model:
        return tensors, {}
    options = dict(layer.call_arguments)
    named = [name for name, value in options.items() if value == LAST_INPUT]
    if not named:
        return tensors, options
    return tensors[:-1], options | {named[0]: tensors[-1]}


def call_at_each_step(
    keras: Any, call: Callable[..., Any], *tensors: Any, stays_inside: bool
) -> Any:
    """Call a function on the steps of tensors (N, T, …), as on N·T samples; return all steps.

    The function receives masks (N, T, …), as of N·T samples. It does not receive a mask (N, T),
    which the result has instead. Without one, the result has the mask that the function gives it,
    if it ``stays_inside`` the model.
    """
    ops = keras.ops
    lead = ops.shape(tensors[0])[:2]

    def fold(x: Any) -> Any:
        return ops.reshape(x, (-1, *ops.shape(x)[2:]))

    def unfold(x: Any) -> Any:
        return ops.reshape(x, (*lead, *ops.shape(x)[1:]))

    steps, outside = list(map(fold, tensors)), None
    for x, step in zip(tensors, steps, strict=True):
        mask = get_mask(x)
        if mask is not None and len(mask.shape) > 2:
            set_mask(step, fold(mask))
        elif mask is not None:
            outside = mask
    results = []
    for step in keras.tree.flatten(call(*steps)):
        x, mask = unfold(step), get_mask(step) if stays_inside else None
        mask = outside if outside is not None or mask is None else unfold(mask)
        if mask is not None:
            set_mask(x, mask)
        results.append(x)
    return _single(results)


def _single(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


class LayerBuilder:
    """Builds the layers of a network, each once; ``layers`` holds them by name."""

    def __init__(self, keras: Any, network: Network) -> None:
        self.keras, self.network = keras, network
        self.layers: dict[str, Any] = {}

    def connect(self) -> list[list[Any]]:
        """Call each layer on its sources; return the output tensors of each node."""
        tensors: list[list[Any]] = []
        for node in self.network.nodes:
            outputs = (
                self._input(node.layer)
                if isinstance(node.layer, Input)
                else self._call(node, tensors)
            )
            tensors.append(self.keras.tree.flatten(outputs))  # states of several cells are nested
        return tensors

    def _input(self, layer: Input) -> Any:
        network = self.network
        sizes = [network.value(dim) for dim in layer.shape[1:]]
        dtype = "int32" if layer.integers else network.dtype
        dtype = "float32" if dtype in DTYPES_16BIT else dtype
        return self.keras.Input(
            batch_shape=(network.batch, *sizes), dtype=dtype, name=name_in_keras(layer.name)
        )

    def _call(self, node: Node, tensors: list[list[Any]]) -> Any:
        layer = self.layers.get(node.layer.name)
        if layer is None:
            layer = self.layers[node.layer.name] = self.build_layer(node.layer)
        inputs = [tensors[tap.node][tap.output] for tap in node.sources]
        if not node.initial:
            return call_layer(node.layer, layer, inputs)
        mask = get_mask(inputs[0])
        options = {} if node.mask_dropped or mask is None else {"mask": mask}
        return layer(inputs[0], initial_state=self._states(node, tensors), **options)

    def _states(self, node: Node, tensors: list[list[Any]]) -> Any:
        """Return the initial states, nested by cell where the layer has several cells."""
        states = iter([tensors[tap.node][tap.output] for tap in node.initial])
        nested = []
        for direction in node.layer.directions:
            if not isinstance(direction.cell, StackedCells):
                nested += [next(states) for _ in direction.cell.states]
                continue
            for cell in direction.cell.cells:
                nested.append(_single([next(states) for _ in cell.states]))
        return nested

    def build_layer(self, layer: Layer) -> Any:
        """Return a new Keras layer; its weights are not initialized at random."""
        if isinstance(layer, Operation):
            return self._operation(layer)
        if isinstance(layer, TimeDistributed) and layer.in_model:
            return self._at_each_step(layer)
        spec = layer.keras_spec(self.network.count)
        return self._build(replace(spec, name=name_in_keras(layer.name)), self._policy(layer))

    def _operation(self, operation: Operation) -> Any:
        """Return a Keras layer that calls an operation, and passes no mask on, as in a graph."""
        keras = self.keras

        class OperationLayer(keras.layers.Layer):  # type: ignore[misc,name-defined]
            def call(self, inputs: Any) -> Any:
                return operation.call_keras(keras, inputs)

            def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
                return None

        dtype = self.network.precision(operation)
        layer = OperationLayer(name=name_in_keras(operation.name), dtype=dtype)
        layer.supports_masking = True
        return layer

    def _at_each_step(self, layer: TimeDistributed) -> Any:
        """Return a Keras layer that calls another one, or an operation, at each step."""
        keras, name = self.keras, f"{layer.name}-at-step"
        inner = replace(layer.inner, name=name, computes_in=layer.computes_in)
        built = self.build_layer(inner)

        class EachStep(keras.layers.Layer):  # type: ignore[misc,name-defined]
            def build(self, shapes: Any) -> None:
                steps, _ = sort_inputs(inner, [(n, *rest) for n, _, *rest in shapes])
                if not built.built:
                    built.build(*([steps] if inner.takes_list else steps))

            def call(self, inputs: Any) -> Any:
                def call_inner(*tensors: Any) -> Any:
                    return call_layer(inner, built, list(tensors))

                return call_at_each_step(
                    keras, call_inner, *inputs, stays_inside=layer.stays_inside
                )

            def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
                return None  # the output has it already

        dtype = self.network.precision(layer)
        each = EachStep(name=name_in_keras(layer.name), dtype=dtype, autocast=False)
        each.layer, each.supports_masking = built, True
        return each

    def _policy(self, layer: Layer) -> str:
        """Return Keras's dtype policy of a layer: one dtype, or a mixed policy."""
        dtype, computed = self.network.dtype, self.network.precision(layer)
        return dtype if computed == dtype else f"mixed_{computed}"

    def _build(self, value: Any, policy: str) -> Any:
        """Return what a specification describes; any other value of an argument stays as it is."""
        if isinstance(value, Layer):
            return self.build_layer(value)
        if isinstance(value, list):
            return [self._build(each, policy) for each in value]
        if not isinstance(value, KerasSpec):
            # Under this name Keras 3 has another function than Keras 1 and 2.
            return "hard_sigmoid" if value == KERAS2_HARD_SIGMOID else value
        arguments = {name: self._build(each, policy) for name, each in value.arguments.items()}
        arguments |= {"name": value.name} if value.name else {}
        return getattr(self.keras.layers, value.class_name)(**arguments, dtype=policy)
