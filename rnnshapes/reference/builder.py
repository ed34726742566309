"""Keras layers and models built from a network.

:mod:`rnnshapes.reference`, the only module that imports Keras, passes it in.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rnnshapes.cells.cell import BaseCell, Cell
from rnnshapes.cells.stacked import StackedCells
from rnnshapes.load.live.keras_private import get_mask
from rnnshapes.network.graph import SHORT_DTYPES, Network, Node
from rnnshapes.network.layers.base import Layer
from rnnshapes.network.layers.core import Input
from rnnshapes.network.layers.normalization import TimeDistributed
from rnnshapes.network.layers.reshaping import Concatenate, Merge
from rnnshapes.network.layers.rnn import Bidirectional, Recurrent, RecurrentLayer
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
                builder.layers[layer.name].set_weights(arrays)
    return model


def name_in_keras(name: str) -> str:
    """Return a layer name that Keras accepts, unlike any name that it gives by itself."""
    # PyTorch accepts no dot in a name.
    escaped = re.sub(r"[^A-Za-z0-9_-]", lambda match: f"-{ord(match[0]):x}-", name)
    return f"layer-{escaped}"


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
            tensors.append(list(outputs) if isinstance(outputs, list | tuple) else [outputs])
        return tensors

    def _input(self, layer: Input) -> Any:
        network = self.network
        sizes = [network.value(dim) for dim in layer.shape[1:]]
        dtype = "int32" if layer.integers else network.dtype
        dtype = "float32" if dtype in SHORT_DTYPES else dtype
        return self.keras.Input(
            batch_shape=(network.batch, *sizes), dtype=dtype, name=name_in_keras(layer.name)
        )

    def _call(self, node: Node, tensors: list[list[Any]]) -> Any:
        layer = self.layers.get(node.layer.name)
        if layer is None:
            layer = self.layers[node.layer.name] = self.build_layer(node.layer)
        inputs = [tensors[tap.node][tap.output] for tap in node.sources]
        if not node.initial:
            several = isinstance(node.layer, Concatenate | Merge)
            return layer(inputs if several else inputs[0])
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
        options = {"name": name_in_keras(layer.name), "dtype": self._policy(layer)}
        layers = self.keras.layers
        if isinstance(layer, Bidirectional):
            forward, backward = (
                self._recurrent(layer, direction, direction.name.rsplit("/", 1)[-1])
                for direction in layer.directions
            )
            return layers.Bidirectional(
                forward, backward_layer=backward, merge_mode=layer.merge_mode, **options
            )
        if isinstance(layer, Recurrent):
            return self._recurrent(layer, layer.direction, options["name"])
        if isinstance(layer, TimeDistributed):
            inner = replace(layer.inner, computes_in=layer.computes_in)
            return layers.TimeDistributed(self.build_layer(inner), **options)
        options |= _renamed(layer.keras_arguments(self.network.count))
        return getattr(layers, layer.type)(**options)

    def _policy(self, layer: Layer) -> str:
        """Return Keras's dtype policy of a layer: one dtype, or a mixed policy."""
        dtype, computed = self.network.dtype, self.network.precision(layer)
        return dtype if computed == dtype else f"mixed_{computed}"

    def _recurrent(self, layer: RecurrentLayer, direction: Any, name: str) -> Any:
        options = {
            "name": name,
            "dtype": self._policy(layer),
            "return_sequences": layer.return_sequences,
            "return_state": layer.return_state,
            "stateful": layer.stateful,
            "go_backwards": direction.reverse,
            "zero_output_for_mask": layer.zero_output_for_mask,
        }
        cell: BaseCell = direction.cell
        if isinstance(cell, Cell):
            return getattr(self.keras.layers, cell.keras_class)(**self._cell(cell), **options)
        assert isinstance(cell, StackedCells)
        policy = self._policy(layer)
        cells = [
            self.build_cell(part, name=name, dtype=policy)
            for part, name in zip(cell.cells, cell.names, strict=True)
        ]
        stacked = self.keras.layers.StackedRNNCells(cells, dtype=self._policy(layer))
        return self.keras.layers.RNN(stacked, **options)

    def build_cell(self, cell: Cell, **options: Any) -> Any:
        """Return a new Keras cell, without a layer around it."""
        kind = getattr(self.keras.layers, f"{cell.keras_class}Cell")
        return kind(**self._cell(cell), **{"dtype": self.network.dtype, **options})

    def _cell(self, cell: Cell) -> dict[str, Any]:
        """Return the arguments of a cell, or of its layer."""
        # Keras's initializer of recurrent kernels takes O(M³), and draws from the user's seeds.
        initializers = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros", "seed": 0}
        return (
            _renamed(cell.keras_options) | {"units": self.network.count(cell.units)} | initializers
        )


def _renamed(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with Keras 3's name for the hard_sigmoid of Keras 1 and 2."""
    return {
        name: "hard_sigmoid" if value == KERAS2_HARD_SIGMOID else value
        for name, value in options.items()
    }
