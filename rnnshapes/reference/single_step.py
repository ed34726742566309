"""New Keras layers and cells, each called once on the values that NumPy has computed.

No model is built, and nothing is compiled: one call of a cell takes all steps of all samples at
once, each from its own state. :mod:`rnnshapes.reference` passes Keras in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnshapes.cells.cell import Weight
from rnnshapes.load.live.graph import recurrent_layers
from rnnshapes.load.live.keras_private import keep_masks, set_mask
from rnnshapes.network.graph import Network, Node, Tap
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.layers.core import Input
from rnnshapes.ops.activations import Array
from rnnshapes.reference.builder import LayerBuilder, call_layer, set_weights, sort_inputs
from rnnshapes.reference.instrumented_model import LayerTensors

if TYPE_CHECKING:
    from rnnshapes.network.weights import Weights
    from rnnshapes.reference.outputs import ModelOutputs, States


class SingleStep:
    """Keras layers of a network, each built when its input is known.

    ``computed`` holds what NumPy has computed, ``before`` the states (N, T, M) before each step.
    """

    def __init__(
        self,
        keras: Any,
        network: Network,
        weights: Weights,
        computed: ModelOutputs,
        before: States,
    ) -> None:
        self.keras, self.network, self.weights = keras, network, weights
        self.computed, self.before = computed, before
        self.builder = LayerBuilder(keras, network)
        self.values: dict[str, list[Any]] = {}
        self.layers: dict[str, Any] = {}
        self.states: dict[str, dict[str, Array]] = {}

    def run(self) -> ModelOutputs:
        """Compute each layer from NumPy's inputs, and each step from NumPy's states, in Keras."""
        for node in self.network.nodes:
            self.values[node.name] = self._numpy_values(node)
            if self._keeps_numpy_values(node):
                continue
            if node.layer.directions:
                for (name, direction), cell in zip(node.scans, self._cells(node), strict=True):
                    self.states[name] = self._step(node, name, direction, cell)
            else:
                layer = self.layers[node.name] = self._layer(node)
                inputs = self._inputs(node)
                outputs = keep_masks(partial(call_layer, node.layer, layer, inputs), inputs)
                self.values[node.name] = self.keras.tree.flatten(outputs)
        return self._outputs()

    def _keeps_numpy_values(self, node: Node) -> bool:
        """Return whether Keras does not compute the node again.

        A layer that makes a mask in a 16-bit dtype is not called: it would round x first.
        """
        layer = node.layer
        rounds = layer.makes_mask and layer.dtype_16bit
        return isinstance(layer, Input) or layer.declared_shapes is not None or bool(rounds)

    def _outputs(self) -> ModelOutputs:
        tensors = LayerTensors(self.keras, self.network, self.layers, self.values)
        tensors.states = {
            name: self._in_processing_order(name, direction)
            for node in self.network.recurrent
            for name, direction in node.scans
        }
        kinds: dict[str, dict[str, list[Array]]] = {"value": {}, "each": {}, "mask": {}}
        for (kind, name, _), tensor in tensors.labelled():
            if kind in kinds:
                array = self.keras.ops.convert_to_numpy(tensor)
                kinds[kind].setdefault(name, []).append(array)
        return replace(
            self.computed,
            values={
                **self.computed.values,
                **{n: tuple(arrays) for n, arrays in kinds["value"].items()},
            },
            each={name: tuple(arrays) for name, arrays in kinds["each"].items()},
            masks={name: arrays[0] for name, arrays in kinds["mask"].items()},
            states=self.states,
            origins=self.computed.states,
            origin_values=self.computed.values,
        )

    def unrolled(self, steps: int) -> dict[str, tuple[Array, ...]]:
        """Call each recurrent layer as a whole on the first steps of its input."""
        outputs = {}
        for node in self.network.recurrent:
            if node.initial or node.keeps_states:
                continue  # these do not start from zeros
            tensors = self.builder.layers[node.layer.name](self._tap(node.sources[0])[:, :steps])
            flat = self.keras.tree.flatten(tensors)
            outputs[node.name] = tuple(map(self.keras.ops.convert_to_numpy, flat))
        return outputs

    def _cells(self, node: Node) -> Iterator[Any]:
        """Yield the Keras cell of each recurrence of a node."""
        yield from (part.cell for part in recurrent_layers(self._layer(node)))

    def _layer(self, node: Node) -> Any:
        """Return the Keras layer of a node, with its weights; build it at the first call."""
        layer = self.builder.layers.get(node.layer.name)
        if layer is None:
            layer = self.builder.layers[node.layer.name] = self._build(node)
            self._set_weights(layer, node.layer.groups)
        return layer

    def _build(self, node: Node) -> Any:
        inputs, _ = sort_inputs(node.layer, self._inputs(node))
        shapes = [tuple(x.shape) for x in inputs]
        layer = self.builder.build_layer(node.layer)
        layer.build(*([shapes] if node.layer.takes_list else shapes))
        return layer

    def _set_weights(self, layer: Any, groups: Mapping[str, tuple[Weight, ...]]) -> None:
        arrays = [self.weights[name][w.key] for name, group in groups.items() for w in group]
        if arrays:
            set_weights(layer, arrays)

    def _inputs(self, node: Node) -> list[Any]:
        return [self._tap(tap) for tap in node.sources]

    def _tap(self, tap: Tap) -> Any:
        return self.values[self.network.nodes[tap.node].name][tap.output]

    def _numpy_values(self, node: Node) -> list[Any]:
        """Return NumPy's outputs of a node as tensors, with their mask."""
        tensors = [self._tensor(array) for array in self.computed.values[node.name]]
        mask = self.computed.masks.get(node.name)
        if mask is not None:
            shapes = self.network.node_shapes[self.network.nodes.index(node)]
            for tensor in tensors[: shapes.joined]:
                set_mask(tensor, self.keras.ops.convert_to_tensor(mask))
        return tensors

    def _tensor(self, array: Array) -> Any:
        dtype = "int32" if array.dtype.kind in "iu" else self.network.dtype
        return self.keras.ops.convert_to_tensor(array, dtype=dtype)

    def _in_processing_order(self, name: str, direction: Direction) -> Any:
        """Return all states of a recurrence, (N, T, units), in the order of processing."""
        states = np.concatenate(list(self.computed.states[name].values()), axis=-1)
        return self._tensor(states[:, ::-1] if direction.reverse else states)

    def _step(self, node: Node, name: str, direction: Direction, cell: Any) -> dict[str, Array]:
        """Take one step of Keras's cell from each state; return the states (N, T, M) after it.

        Masks are ignored. The output of the cell stands for the state that is its output.
        """
        ops, x = self.keras.ops, self._tap(node.sources[0])
        n, t = x.shape[:2]
        flat = [self._tensor(v.reshape(n * t, -1)) for v in self.before[name].values()]
        sizes = cell.state_size if isinstance(cell.state_size, list | tuple) else [cell.state_size]
        nested = self.keras.tree.pack_sequence_as(list(sizes), flat)
        output, after = cell(ops.reshape(x, (n * t, -1)), nested, training=False)
        tensors = dict(zip(self.before[name], self.keras.tree.flatten(after), strict=True))
        tensors[direction.cell.output_state] = output
        arrays = {key: ops.convert_to_numpy(tensor) for key, tensor in tensors.items()}
        return {key: array.reshape(n, t, -1) for key, array in arrays.items()}
