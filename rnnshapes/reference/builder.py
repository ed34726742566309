"""A network built as a Keras model, layer by layer, from what is known of it and nothing else.

Keras is handed in by :mod:`rnnshapes.reference`, the only module that imports it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rnnshapes.cells.cell import BaseCell, Cell
from rnnshapes.cells.stacked import StackedCells
from rnnshapes.load.live.keras_private import get_mask
from rnnshapes.network.graph import SHORT_DTYPES, Network, Node, Tap
from rnnshapes.network.layers.base import Layer
from rnnshapes.network.layers.core import Input
from rnnshapes.network.layers.normalization import TimeDistributed
from rnnshapes.network.layers.reshaping import Concatenate, Merge
from rnnshapes.network.layers.rnn import Bidirectional, Recurrent, RecurrentLayer
from rnnshapes.ops.interface import KERAS2_HARD_SIGMOID

if TYPE_CHECKING:
    from rnnshapes.network.weights import Weights


def build(keras: Any, network: Network, weights: Weights | None = None) -> Any:
    """The network as a functional model with ``weights``, or with zeros."""
    made = Making(keras, network)
    tensors = made.tensors()
    inputs = [outputs[0] for outputs in tensors[: len(network.inputs)]]
    outputs = [tensors[tap.node][tap.output] for tap in network.outputs]
    model = keras.Model(_single(inputs), _single(outputs))
    if weights is not None:
        for layer in network.layers:
            arrays = [weights[name][w.key] for name, group in layer.groups.items() for w in group]
            if arrays:
                made.layers[layer.name].set_weights(arrays)
    return model


def name_in_keras(name: str) -> str:
    """A name that Keras takes, which no operation has that it adds by itself (``concatenate``)."""
    # PyTorch takes no point in a name.
    taken = re.sub(r"[^A-Za-z0-9_-]", lambda found: f"-{ord(found[0]):x}-", name)
    return f"layer-{taken}"


def _single(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


class Making:
    """The layers that were made, each once."""

    def __init__(self, keras: Any, network: Network) -> None:
        self.keras, self.network = keras, network
        self.layers: dict[str, Any] = {}

    def tensors(self) -> list[list[Any]]:
        """What each node yields."""
        found: list[list[Any]] = []
        for node in self.network.nodes:
            made = (
                self._input(node.layer)
                if isinstance(node.layer, Input)
                else self._call(node, found)
            )
            found.append(list(made) if isinstance(made, list | tuple) else [made])
        return found

    def _input(self, layer: Input) -> Any:
        network = self.network
        sizes = [network.value(dim) for dim in layer.shape[1:]]
        dtype = "int32" if layer.integers else network.dtype
        dtype = "float32" if dtype in SHORT_DTYPES else dtype
        return self.keras.Input(
            batch_shape=(network.batch, *sizes), dtype=dtype, name=name_in_keras(layer.name)
        )

    def _call(self, node: Node, found: list[list[Any]]) -> Any:
        layer = self.layers.get(node.layer.name)
        if layer is None:
            layer = self.layers[node.layer.name] = self.layer(node.layer)
        inputs = [self._tensor(tap, found) for tap in node.sources]
        if not node.initial:
            several = isinstance(node.layer, Concatenate | Merge)
            return layer(inputs if several else inputs[0])
        mask = get_mask(inputs[0])
        options = {} if node.mask_dropped or mask is None else {"mask": mask}
        return layer(inputs[0], initial_state=self._states(node, found), **options)

    def _tensor(self, tap: Tap, found: list[list[Any]]) -> Any:
        return found[tap.node][tap.output]

    def _states(self, node: Node, found: list[list[Any]]) -> Any:
        """Initial states, nested where several cells share them."""
        states = iter([self._tensor(tap, found) for tap in node.initial])
        nested = []
        for direction in node.layer.directions:
            if not isinstance(direction.cell, StackedCells):
                nested += [next(states) for _ in direction.cell.states]
                continue
            for cell in direction.cell.cells:
                own = [next(states) for _ in cell.states]
                nested.append(_single(own))
        return nested

    def layer(self, layer: Layer) -> Any:
        """Without the random start that Keras would give its weights."""
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
            return layers.TimeDistributed(self.layer(inner), **options)
        options |= _renamed(layer.keras_arguments(self.network.count))
        return getattr(layers, layer.type)(**options)

    def _policy(self, layer: Layer) -> str:
        """Keras's name for the formats of weights and computation."""
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
            self.cell(part, name=own, dtype=policy)
            for part, own in zip(cell.cells, cell.names, strict=True)
        ]
        stacked = self.keras.layers.StackedRNNCells(cells, dtype=self._policy(layer))
        return self.keras.layers.RNN(stacked, **options)

    def cell(self, cell: Cell, **options: Any) -> Any:
        """A cell by itself."""
        kind = getattr(self.keras.layers, f"{cell.keras_class}Cell")
        return kind(**self._cell(cell), **{"dtype": self.network.dtype, **options})

    def _cell(self, cell: Cell) -> dict[str, Any]:
        """Keras's own start of recurrent kernels takes O(M³), and a seed from the user's."""
        starts = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros", "seed": 0}
        return _renamed(cell.keras_options) | {"units": self.network.count(cell.units)} | starts


def _renamed(options: dict[str, Any]) -> dict[str, Any]:
    """What Keras 1 and 2 called hard_sigmoid has that name in Keras 3, with another meaning."""
    return {
        name: "hard_sigmoid" if value == KERAS2_HARD_SIGMOID else value
        for name, value in options.items()
    }
