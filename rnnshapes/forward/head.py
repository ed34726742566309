"""y_hat at one time step: what the layers behind the last recurrence make of its output there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from rnnshapes.forward.scenes import SAMPLES, General, Quantity, Scene, filled, quantity, scenes
from rnnshapes.network.graph import Network, Tap
from rnnshapes.network.layers.base import Direction, Masks
from rnnshapes.network.layers.rnn import RecurrentLayer
from rnnshapes.network.naming import TensorNames
from rnnshapes.network.symbolic import with_own_features
from rnnshapes.network.weights import Weights, bind
from rnnshapes.ops.activations import Array
from rnnshapes.ops.recorder import RecordedTensor, RecorderOps, Recording


class Answer(NamedTuple):
    """y_hat at a step, and the equations that make it.

    ``own`` says that it is what the model itself answers.
    """

    scenes: tuple[Scene, ...]
    y_hat: Quantity
    own: bool


@dataclass(frozen=True, eq=False)
class Head:
    """The layers from which no recurrence is reached, for one sample.

    ``emitted`` is what each recurrence puts out (T, M), by the time of x; ``entering`` what else
    comes in, at each step (T, F) or without time (1, F); ``y_hat`` (T, K) is that of the trace.
    """

    network: Network
    weights: Weights
    emitted: Mapping[str, Array]
    entering: Mapping[Tap, Array]
    y_hat: Array

    def at(self, t: int) -> Answer:
        """Step t of y_hat."""
        network, count = self.network, len(self.y_hat)
        recording = self._record(t, general=False)
        name, shape = (
            filled(self._names.of(network.outputs[0]), t, count),
            network.output_shapes.at_step,
        )
        own = network.is_causal and (network.returns_sequences or t == count - 1)
        y_hat = quantity(network, name, shape, self.y_hat[t])
        return Answer(tuple(scenes(network, recording, self._general)), y_hat, own)

    def step_of(self, node: int, direction: Direction, t: int) -> int | None:
        """Where y_hat has step t of a recurrence; ``None`` if it is not what the head looks at."""
        if all(tap.node != node for tap in taps(self.network)):
            return None
        return len(self.y_hat) - 1 - t if self._turned(node, direction) else t

    def _turned(self, node: int, direction: Direction) -> bool:
        """Whether the layer hands on the steps of this recurrence turned round."""
        layer = self.network.nodes[node].layer
        assert isinstance(layer, RecurrentLayer)
        return layer.return_sequences and layer.reversed_outputs[layer.directions.index(direction)]

    @cached_property
    def _names(self) -> TensorNames:
        return TensorNames(self.network)

    @cached_property
    def _general(self) -> list[General]:
        recording = self._record(0, general=True)
        return [(" ".join(named.names), named.text) for named in recording.equations]

    def _record(self, t: int, *, general: bool) -> Recording:
        """What the head does at a step, in the words of this step or of any."""
        network, recording, count = self.network, Recording(), len(self.y_hat)
        values: dict[Tap, RecordedTensor] = {}

        def called(tap: Tap) -> str:
            name = self._names.of(tap)
            return name if general else filled(name, t, count)

        with np.errstate(all="ignore"):  # what is not finite is shown as it is
            for tap in taps(network):
                if network.nodes[tap.node].layer.directions:
                    values[tap] = self._joined(recording, tap, t, called(tap), general=general)
                else:
                    found = self.entering[tap]
                    found = found[min(t, len(found) - 1)][None]
                    values[tap] = recording.tensor(
                        called(tap), network.shapes_at(tap).at_step, found
                    )
            for place in _places(network):
                values[Tap(place)] = self._applied(recording, place, values, called(Tap(place)))
        return recording

    def _joined(
        self, recording: Recording, tap: Tap, t: int, name: str, *, general: bool
    ) -> RecordedTensor:
        """The output of a layer with a recurrence, from those of its directions."""
        node = self.network.nodes[tap.node]
        assert isinstance(node.layer, RecurrentLayer)
        ends = []
        for scan, direction in node.scans:
            turned = self._turned(tap.node, direction)
            at = len(self.y_hat) - 1 - t if turned else t
            step = (
                (f"{{{self.network.output_shapes.steps}-1-t}}" if turned else "t")
                if general
                else at
            )
            text = f"{direction.cell.output_state}{direction.index}{node.primes}_{step}"
            shape = (SAMPLES, direction.cell.output)
            ends.append(recording.tensor(text, shape, self.emitted[scan][at][None]))
        ops: Any = RecorderOps(recording)
        outputs: tuple[RecordedTensor, ...] = node.layer.join(ops, ends)
        joined = outputs[tap.output]
        return joined if len(outputs) == len(ends) else ops.named(name, joined)

    def _applied(
        self, recording: Recording, place: int, values: Mapping[Tap, RecordedTensor], name: str
    ) -> RecordedTensor:
        """What a layer makes of its inputs."""
        node = self.network.nodes[place]
        layer, group = node.layer, node.group
        inputs = [values[tap] for tap in node.sources]
        shapes = with_own_features(layer, [value.symbol.shape for value in inputs])
        inputs = [
            recording.tensor(value.symbol.text, shape, value.array)
            for value, shape in zip(inputs, shapes, strict=True)
        ]
        bound = vars(bind(group, self.weights, "float64"))
        w = {
            weight.key: recording.tensor(weight.key + layer.index, weight.dims, bound[weight.key])
            for weight in layer.groups[group]
        }
        after = layer.mask([v.array for v in inputs], [None] * len(inputs))
        ops: Any = RecorderOps(recording, layer.index)
        made: RecordedTensor = layer.call(ops, inputs, SimpleNamespace(**w), Masks(None, after))
        return made if made.symbol.text == name else ops.named(name, made)


def taps(network: Network) -> tuple[Tap, ...]:
    """What the layers that make y_hat at one step take, that none of them makes."""
    places = _places(network)
    if not places:
        return (network.outputs[0],)
    found = [tap for place in places for tap in network.nodes[place].sources]
    return tuple(dict.fromkeys(tap for tap in found if tap.node not in places))


def at_steps(network: Network) -> bool:
    """Whether y_hat at a step comes from that step of the recurrences alone."""
    flow = network.output_shapes
    if flow.steps is None or not all(network.nodes[p].layer.stepwise for p in _places(network)):
        return False
    sources = [network.shapes_at(tap) for tap in taps(network)]
    timed = [source for source in sources if source.steps is not None]
    return all((source.steps, source.final) == (flow.steps, flow.final) for source in timed)


def _places(network: Network) -> tuple[int, ...]:
    """The positions of the layers that make the first output, in order."""
    wanted = {network.outputs[0].node}
    for place in reversed(network.head):
        if place in wanted:
            wanted |= {tap.node for tap in network.nodes[place].sources}
    return tuple(place for place in network.head if place in wanted)
