"""Keras's own layers and cells, made anew and called once each, on numbers that are given.

No model is built, and nothing is compiled: a cell takes all steps of all samples at once, each
from the state that it is given. Keras is handed in by :mod:`rnnshapes.reference`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnshapes.cells.cell import Weight
from rnnshapes.load.live.graph import recurrent_layers
from rnnshapes.load.live.keras_private import set_mask
from rnnshapes.network.graph import Network, Node, Tap
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.layers.core import Input
from rnnshapes.network.layers.reshaping import Concatenate, Merge
from rnnshapes.ops.activations import Array
from rnnshapes.reference.builder import Making
from rnnshapes.reference.probe import Seen

if TYPE_CHECKING:
    from rnnshapes.network.weights import Weights
    from rnnshapes.reference.outputs import ModelOutputs, States


class Stepping:
    """The layers of a network, each made when its input is there."""

    def __init__(
        self,
        keras: Any,
        network: Network,
        weights: Weights,
        ours: ModelOutputs,
        before: States,
    ) -> None:
        self.keras, self.network, self.weights = keras, network, weights
        self.ours, self.before = ours, before
        self.making = Making(keras, network)
        self.values: dict[str, list[Any]] = {}
        self.layers: dict[str, Any] = {}
        self.found: dict[str, dict[str, Array]] = {}

    def run(self) -> ModelOutputs:
        """What Keras makes of the values and states that NumPy has found."""
        for node in self.network.nodes:
            self.values[node.name] = self._given(node)
            if self._is_given(node):
                continue
            if node.layer.directions:
                for (name, direction), cell in zip(node.scans, self._cells(node), strict=True):
                    self.found[name] = self._stepped(node, name, direction, cell)
            else:
                layer = self.layers[node.name] = self._layer(node)
                made = self.keras.tree.flatten(layer(self._inputs(node)))
                self.values[node.name] = made
        return self._answers()

    def _is_given(self, node: Node) -> bool:
        """Whether its values are those that NumPy has found, or was given.

        A mask is made from x in the layer's own format, and only in that.
        """
        layer = node.layer
        rounds = layer.makes_mask and layer.computes_in
        return isinstance(layer, Input) or layer.declared_shapes is not None or bool(rounds)

    def _answers(self) -> ModelOutputs:
        seen = Seen(self.keras, self.network, self.layers, self.values)
        seen.states = {
            name: self._in_reading_order(name, direction)
            for node in self.network.recurrent
            for name, direction in node.scans
        }
        kinds: dict[str, dict[str, list[Array]]] = {"value": {}, "each": {}, "mask": {}}
        for (kind, name, _), tensor in seen.all():
            if kind in kinds:
                number = self.keras.ops.convert_to_numpy(tensor)
                kinds[kind].setdefault(name, []).append(number)
        return replace(
            self.ours,
            values={**self.ours.values, **{n: tuple(made) for n, made in kinds["value"].items()}},
            each={name: tuple(made) for name, made in kinds["each"].items()},
            masks={name: made[0] for name, made in kinds["mask"].items()},
            states=self.found,
            origins=self.ours.states,
        )

    def called(self, steps: int) -> dict[str, tuple[Array, ...]]:
        """What the layers with a recurrence make of the first steps of what NumPy fed them with."""
        found = {}
        for node in self.network.recurrent:
            if node.initial or getattr(node.layer, "stateful", False):
                continue  # which do not start from zeros
            made = self.making.layers[node.layer.name](self._tap(node.sources[0])[:, :steps])
            flat = self.keras.tree.flatten(made)
            found[node.name] = tuple(map(self.keras.ops.convert_to_numpy, flat))
        return found

    def _cells(self, node: Node) -> Iterator[Any]:
        """The cell of each of the node's recurrences, one when the one before has been used."""
        yield from (part.cell for part in recurrent_layers(self._layer(node)))

    def _layer(self, node: Node) -> Any:
        """The node's layer, built for its input, with its weights."""
        layer = self.making.layers.get(node.layer.name)
        if layer is None:
            layer = self.making.layers[node.layer.name] = self._built(node)
            self._set(layer, node.layer.groups)
        return layer

    def _built(self, node: Node) -> Any:
        inputs = self._inputs(node)
        several = isinstance(inputs, list)
        shapes = [tuple(x.shape) for x in inputs] if several else tuple(inputs.shape)
        layer = self.making.layer(node.layer)
        layer.build(shapes)
        return layer

    def _set(self, layer: Any, groups: Mapping[str, tuple[Weight, ...]]) -> None:
        arrays = [self.weights[name][w.key] for name, group in groups.items() for w in group]
        if arrays:
            layer.set_weights(arrays)

    def _inputs(self, node: Node) -> Any:
        inputs = [self._tap(tap) for tap in node.sources]
        return inputs if isinstance(node.layer, Concatenate | Merge) else inputs[0]

    def _tap(self, tap: Tap) -> Any:
        return self.values[self.network.nodes[tap.node].name][tap.output]

    def _given(self, node: Node) -> list[Any]:
        """What NumPy has found there, as tensors with their mask."""
        made = [self._tensor(array) for array in self.ours.values[node.name]]
        mask = self.ours.masks.get(node.name)
        if mask is not None:
            for tensor in made:
                set_mask(tensor, self.keras.ops.convert_to_tensor(mask))
        return made

    def _tensor(self, array: Array) -> Any:
        dtype = "int32" if array.dtype.kind in "iu" else self.network.dtype
        return self.keras.ops.convert_to_tensor(array, dtype=dtype)

    def _in_reading_order(self, name: str, direction: Direction) -> Any:
        found = np.concatenate(list(self.ours.states[name].values()), axis=-1)
        return self._tensor(found[:, ::-1] if direction.reverse else found)

    def _stepped(self, node: Node, name: str, direction: Direction, cell: Any) -> dict[str, Array]:
        """One step of Keras's cell from each state, (N, T, M), whatever the mask.

        The state that it puts out is what it puts out.
        """
        ops, x = self.keras.ops, self._tap(node.sources[0])
        n, t = x.shape[:2]
        flat = [self._tensor(v.reshape(n * t, -1)) for v in self.before[name].values()]
        sizes = cell.state_size if isinstance(cell.state_size, list | tuple) else [cell.state_size]
        nested = self.keras.tree.pack_sequence_as(list(sizes), flat)
        output, after = cell(ops.reshape(x, (n * t, -1)), nested, training=False)
        made = dict(zip(self.before[name], self.keras.tree.flatten(after), strict=True))
        made[direction.cell.output_state] = output
        numbers = {key: ops.convert_to_numpy(part) for key, part in made.items()}
        return {key: part.reshape(n, t, -1) for key, part in numbers.items()}
