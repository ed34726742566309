"""Head of a network at one time step: y_hat from the outputs of the last recurrences there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np

from rnnshapes.forward.step_view import (
    SAMPLES,
    GeneralEquation,
    StepPrediction,
    evaluated_equations,
    name_at_step,
    step_value,
)
from rnnshapes.network.graph import Network, Tap
from rnnshapes.network.layers.base import Direction, Masks
from rnnshapes.network.layers.rnn import RecurrentLayer
from rnnshapes.network.naming import TensorNames
from rnnshapes.network.weights import Weights, bind
from rnnshapes.ops.activations import Array
from rnnshapes.ops.recorder import RecordedTensor, RecorderOps, Recording


@dataclass(frozen=True, eq=False)
class Head:
    """The layers after the last recurrences, for one sample.

    Attributes:
        network: The network.
        weights: Its weights.
        recurrence_outputs: The output of each recurrence at each step, (T, M), indexed by input
            time step.
        other_inputs: What else the head receives, at each step (T, F) or without time (1, F).
        y_hat: y_hat of the trace, (T, K).
    """

    network: Network
    weights: Weights
    recurrence_outputs: Mapping[str, Array]
    other_inputs: Mapping[Tap, Array]
    y_hat: Array

    def predict(self, t: int) -> StepPrediction:
        """Return y_hat at step t, with its equations."""
        network, count = self.network, len(self.y_hat)
        equations = evaluated_equations(network, self._record(t), self._general)
        name = name_at_step(self._names.of(network.outputs[0]), t, count)
        return StepPrediction(
            equations=tuple(equations),
            y_hat=step_value(network, name, network.output_shapes.at_step, self.y_hat[t]),
            is_output=network.is_causal and (network.returns_sequences or t == count - 1),
        )

    def step_of(self, node: int, direction: Direction, t: int) -> int | None:
        """Return the step of y_hat that belongs to step t of a recurrence.

        None if the head does not use this recurrence.
        """
        if all(tap.node != node for tap in head_inputs(self.network)):
            return None
        return len(self.y_hat) - 1 - t if self._is_reversed(node, direction) else t

    def _is_reversed(self, node: int, direction: Direction) -> bool:
        """Return whether the layer returns the steps of this recurrence in reverse order."""
        layer = self.network.nodes[node].layer
        assert isinstance(layer, RecurrentLayer)
        return layer.return_sequences and layer.reversed_outputs[layer.directions.index(direction)]

    @cached_property
    def _names(self) -> TensorNames:
        return TensorNames(self.network)

    @cached_property
    def _general(self) -> list[GeneralEquation]:
        recording = self._record(0, general=True)
        return [(" ".join(equation.names), equation.text) for equation in recording.equations]

    def _record(self, t: int, *, general: bool = False) -> Recording:
        """Record the head at step t, with the names of that step or of any."""
        network, recording, count = self.network, Recording(), len(self.y_hat)
        values: dict[Tap, RecordedTensor] = {}

        def name_of(tap: Tap) -> str:
            name = self._names.of(tap)
            return name if general else name_at_step(name, t, count)

        with np.errstate(all="ignore"):  # NaN and infinite numbers are shown as they are
            for tap in head_inputs(network):
                if network.nodes[tap.node].layer.directions:
                    values[tap] = self._join(recording, tap, t, name_of(tap), general=general)
                else:
                    steps = self.other_inputs[tap]
                    array = steps[min(t, len(steps) - 1)][None]
                    shape = network.shapes_at(tap).at_step
                    values[tap] = recording.tensor(name_of(tap), shape, array)
            for position in _head_layers(network):
                tap = Tap(position)
                values[tap] = self._apply(recording, position, values, name_of(tap))
        return recording

    def _join(
        self, recording: Recording, tap: Tap, t: int, name: str, *, general: bool
    ) -> RecordedTensor:
        """Return the output of a recurrent layer from those of its directions."""
        node = self.network.nodes[tap.node]
        assert isinstance(node.layer, RecurrentLayer)
        ends = []
        for recurrence, direction in node.scans:
            is_reversed = self._is_reversed(tap.node, direction)
            at = len(self.y_hat) - 1 - t if is_reversed else t
            step = str(at)
            if general:
                step = f"{{{self.network.output_shapes.steps}-1-t}}" if is_reversed else "t"
            text = f"{direction.cell.output_state}{direction.index}{node.primes}_{step}"
            array = self.recurrence_outputs[recurrence][at][None]
            ends.append(recording.tensor(text, (SAMPLES, direction.cell.output), array))
        ops: Any = RecorderOps(recording)
        outputs: tuple[RecordedTensor, ...] = node.layer.join(ops, ends)
        joined = outputs[tap.output]
        return joined if len(outputs) == len(ends) else ops.named(name, joined)

    def _apply(
        self, recording: Recording, position: int, values: Mapping[Tap, RecordedTensor], name: str
    ) -> RecordedTensor:
        """Return the output of a layer of the head."""
        node = self.network.nodes[position]
        layer, group = node.layer, node.group
        inputs = [values[tap] for tap in node.sources]
        shapes = layer.own_shapes([value.symbol.shape for value in inputs])
        inputs = [
            recording.tensor(value.symbol.text, shape, value.array)
            for value, shape in zip(inputs, shapes, strict=True)
        ]
        bound = vars(bind(group, self.weights, "float64"))
        w = {
            weight.key: recording.tensor(weight.key + layer.index, weight.dims, bound[weight.key])
            for weight in layer.groups[group]
        }
        mask = layer.mask([value.array for value in inputs], [None] * len(inputs))
        ops: Any = RecorderOps(recording, layer.index)
        output: RecordedTensor = layer.call(ops, inputs, SimpleNamespace(**w), Masks((), mask))
        return output if output.symbol.text == name else ops.named(name, output)


def head_inputs(network: Network) -> tuple[Tap, ...]:
    """Return the outputs of other layers that the head takes as its inputs."""
    positions = _head_layers(network)
    if not positions:
        return (network.outputs[0],)
    taps = [tap for position in positions for tap in network.nodes[position].sources]
    return tuple(dict.fromkeys(tap for tap in taps if tap.node not in positions))


def uses_single_steps(network: Network) -> bool:
    """Return whether y_hat at a step depends only on that step of the recurrences."""
    shapes = network.output_shapes
    layers = [network.nodes[position].layer for position in _head_layers(network)]
    if shapes.steps is None or not all(layer.stepwise for layer in layers):
        return False
    sources = [network.shapes_at(tap) for tap in head_inputs(network)]
    timed = [source for source in sources if source.steps is not None]
    # A sequence becomes a last step within the head only where some layer takes its last step.
    finals = {shapes.final, not any(layer.last_step for layer in layers) and shapes.final}
    return all(source.steps == shapes.steps and source.final in finals for source in timed)


def _head_layers(network: Network) -> tuple[int, ...]:
    """Return the positions of the layers that compute the first output, in order."""
    needed = {network.outputs[0].node}
    for position in reversed(network.head):
        if position in needed:
            needed |= {tap.node for tap in network.nodes[position].sources}
    return tuple(position for position in network.head if position in needed)
