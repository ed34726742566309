"""One-step residuals: the equation applied to Keras's values, compared with Keras's next values.

The states of a recurrence go through one step, and what a layer receives goes through that
layer, in float64. Keras's result may differ by no more than rounding in its precision can cause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from rnnshapes.forward.difference import Index, StepErrors
from rnnshapes.forward.scan import (
    NodeValue,
    apply_layer,
    join_directions,
    output_mask,
    source_mask,
    swap_mask,
)
from rnnshapes.network.graph import Network, Node, Tap
from rnnshapes.network.layers.base import Layer
from rnnshapes.network.layers.core import Input
from rnnshapes.network.layers.rnn import RecurrentLayer
from rnnshapes.network.weights import Weights, bind
from rnnshapes.ops.activations import Array
from rnnshapes.ops.bounded import Bounded, BoundedOps
from rnnshapes.ops.precision import PRECISIONS, TENSOR_FLOAT_32, Precision
from rnnshapes.reference.outputs import ModelOutputs
from rnnshapes.verification.bounds import (
    MISMATCH,
    Residual,
    combine,
    compare,
    recurrence_residuals,
    sample_chunks,
    samples_first,
)

_OPS = BoundedOps()


class LayerResidual(NamedTuple):
    """The residual of one quantity of a layer or a recurrence: of ``h at every step``."""

    layer: str
    quantity: str
    residual: Residual


def layer_residuals(
    network: Network, weights: Weights, xs: Sequence[Array], keras: ModelOutputs
) -> Iterator[LayerResidual]:
    """Yield the residuals of each node in order, and those of the model's own outputs last."""
    return _NodeWalk(network, weights, xs, keras).residuals()


def network_step_errors(
    network: Network, weights: Weights, xs: Sequence[Array], keras: ModelOutputs
) -> dict[str, StepErrors]:
    """Return the error of Keras at each step, and its proven bound.

    Returns:
        The errors of the states by recurrence and key, ``lstm.h``, each step computed from
        Keras's own states before it. Those of ``y_hat`` belong to the last layer, computed from
        what Keras fed it with; they are missing where the last layer is a recurrence.
    """
    states = {name: d.cell.states for node in network.recurrent for name, d in node.scans}
    last = network.nodes[network.outputs[0].node].name
    errors = {}
    for layer, quantity, residual in layer_residuals(network, weights, xs, keras):
        key = quantity.removesuffix(" at every step")
        if residual.step_errors is None or not residual.compared:
            continue
        if key in states.get(layer, {}):
            errors[f"{layer}.{key}"] = residual.step_errors
        elif layer == last and key == "y_hat":
            errors["y_hat"] = residual.step_errors
    return errors


@dataclass(frozen=True, eq=False)
class _Usable:
    """Which samples (N,) and which steps (N, T) of a node can be compared."""

    samples: Array
    steps: Array | None


class _NodeWalk:
    """Compares the nodes in order, and stores what later nodes need.

    ``keras_values`` are Keras's own numbers, time-major, ``bounded`` the outputs of recurrences
    with the bound of one step, ``usable`` what precedes an overflow; each by position of the node.
    """

    def __init__(
        self, network: Network, weights: Weights, xs: Sequence[Array], keras: ModelOutputs
    ) -> None:
        self.network, self.keras = network, keras
        self.weights = {
            name: self._exact_weights(layer, bind(name, weights, "float64"))
            for layer in network.layers
            for name in layer.groups
        }
        self.xs = iter(xs)
        self.keras_values: list[NodeValue] = []
        self.usable: list[_Usable] = []
        self.bounded: dict[int, NodeValue] = {}

    def residuals(self) -> Iterator[LayerResidual]:
        """Yield the residuals of all nodes."""
        for position, node in enumerate(self.network.nodes):
            self.keras_values.append(self._keras_value(position, node))
            if isinstance(node.layer, Input) or node.layer.declared_shapes is not None:
                self.usable.append(self._usable_input(position, node))
                continue
            precision = self.network.precision(node.layer)
            for layer, quantity, residual in self._node_residuals(position, node):
                yield LayerResidual(layer, quantity, replace(residual, precision=precision))
        yield from self._predictions()

    def _node_residuals(self, position: int, node: Node) -> Iterator[LayerResidual]:
        yield from self._mask(position, node)
        if isinstance(node.layer, RecurrentLayer):
            yield from self._recurrence(position, node)
        else:
            yield from self._layer(position, node)

    def _keras_value(self, position: int, node: Node) -> NodeValue:
        """Return Keras's numbers of a node, time-major, with the mask that they should have."""
        timed = isinstance(node.layer, Input) and node.layer.timed
        outputs = (
            (next(self.xs),) if isinstance(node.layer, Input) else self.keras.values[node.name]
        )
        turned = tuple(np.swapaxes(v, 0, 1) if timed or v.ndim > 2 else v for v in outputs)
        each: tuple[Array | None, ...] = tuple(v if timed or v.ndim > 2 else None for v in turned)
        if self.network.node_shapes[position].final and node.name in self.keras.each:
            at_steps = [np.swapaxes(v, 0, 1) for v in self.keras.each[node.name]]
            each = (*at_steps, *each[len(at_steps) :])
        mask = output_mask(node, self.keras_values)
        if node.layer.declared_shapes is not None and node.name in self.keras.masks:
            mask = swap_mask(self.keras.masks[node.name])
        return NodeValue(turned, each, mask, self.network.node_shapes[position].joined)

    def _usable_input(self, position: int, node: Node) -> _Usable:
        """Return which samples and steps of a node's input are usable."""
        first = self.keras_values[position].outputs[0]
        timed = self.keras_values[position].at_steps[0] is not None
        time_major = timed and not self.network.node_shapes[position].final
        n = first.shape[1] if time_major else first.shape[0]
        samples = np.ones(n, dtype=bool)
        for tap in (*node.sources, *node.initial):
            samples &= self.usable[tap.node].samples
        time_axis = self.network.node_shapes[position].steps
        if time_axis is None:
            return _Usable(samples, None)
        t = self.network.count(time_axis)
        steps = np.ones((n, t), dtype=bool)
        by_step = node.layer.stepwise or isinstance(node.layer, RecurrentLayer)
        for tap in node.sources:
            source = self.usable[tap.node]
            if by_step and source.steps is not None and source.steps.shape[1] == t:
                steps &= source.steps
            else:  # each step may depend on all steps of the source
                steps &= source.samples[:, None]
        return _Usable(samples, steps)

    def _usable_initial(self, node: Node, samples: int) -> Array:
        """Return which samples have usable initial states, (N,)."""
        sources = [self.usable[tap.node].samples for tap in node.initial]
        usable: Array = np.logical_and.reduce([np.ones(samples, dtype=bool), *sources])
        return usable

    def _mask(self, position: int, node: Node) -> Iterator[LayerResidual]:
        """Compare Keras's mask with the one that follows from the layer's input."""
        expected = swap_mask(self.keras_values[position].mask)
        actual = self.keras.masks.get(node.name)
        if expected is None and actual is None:
            return
        residual = MISMATCH
        if expected is not None and actual is not None and expected.shape == actual.shape:
            wrong = actual != expected
            sample, t, *_ = map(int, np.unravel_index(int(np.argmax(wrong)), wrong.shape))
            ratio = np.inf if wrong.any() else 0.0
            residual = Residual(ratio, Index(sample, t, 0), wrong.size)
        yield LayerResidual(node.name, "mask", residual)

    def _recurrence(self, position: int, node: Node) -> Iterator[LayerResidual]:
        """Compare each state at each step, and the outputs of the layer."""
        layer, source = node.layer, node.sources[0]
        assert isinstance(layer, RecurrentLayer)
        x = np.swapaxes(self.keras_values[source.node].outputs[source.output], 0, 1)
        time_major_mask = None if node.mask_dropped else source_mask(self.keras_values, source)
        mask = swap_mask(time_major_mask)
        usable = self._usable_input(position, node)
        assert usable.steps is not None
        usable_steps = usable.steps & self._usable_initial(node, len(usable.samples))[:, None]
        outputs: dict[str, Bounded] = {}
        states: dict[str, dict[str, Bounded]] = {}
        compared_steps = []
        for name, direction in node.scans:
            recurrence = recurrence_residuals(
                direction,
                x,
                x_error=self._input_error(source, x),
                states=self.keras.states[name],
                origins=self.keras.origins.get(name),
                initial=self.keras.starts.get(name, {}),
                mask=mask,
                usable=usable_steps,
                w=self.weights[direction.name],
                precision=self._precision(layer),
            )
            for quantity, residual in recurrence.residuals.items():
                yield LayerResidual(name, quantity, residual)
            zeroed = mask if layer.zero_output_for_mask else None
            outputs[name] = recurrence.bounded_outputs(zeroed)
            states[name] = recurrence.bounded_states()
            compared_steps.append(recurrence.usable)
        value = join_directions(_OPS, node, outputs, self.keras_values, states)
        self.bounded[position] = value
        output = self._usable_output(node, value, compared_steps)
        self.usable.append(output)
        for number, expected in enumerate(value.outputs):
            actual = self.keras.values[node.name][number]
            suffix = "" if number == 0 else f" {number}"
            rows = output.steps if actual.ndim > 2 else output.samples
            assert rows is not None
            residual, compared = compare(actual, samples_first(expected), rows)
            if actual.ndim < 3:  # later outputs and later nodes leave these samples out, too
                np.logical_and(output.samples, compared, out=output.samples)
            if residual.compared:  # otherwise every sample has overflowed before
                yield LayerResidual(node.name, f"output{suffix}", residual)

    def _input_error(self, tap: Tap, x: Array) -> Array | None:
        """Return how far x of the run whose states are compared, too, is from Keras's own."""
        values = self.keras.origin_values.get(self.network.nodes[tap.node].name)
        if values is None or values[tap.output].shape != x.shape:
            return None
        ours = values[tap.output]
        with np.errstate(invalid="ignore", over="ignore"):
            error: Array = np.where(ours == x, 0.0, np.abs(ours - x))
        return error if error.any() else None

    def _usable_output(self, node: Node, value: NodeValue, compared: Sequence[Array]) -> _Usable:
        """Return what is usable of a recurrent layer's output, from its directions."""
        layer = node.layer
        assert isinstance(layer, RecurrentLayer)
        ends = [
            steps[:, 0 if direction.reverse else -1]
            for steps, (_, direction) in zip(compared, node.scans, strict=True)
        ]
        if layer.return_sequences:
            compared = [
                steps[:, ::-1] if reversed_output else steps
                for steps, reversed_output in zip(compared, layer.reversed_outputs, strict=True)
            ]
        steps = np.logical_and.reduce(compared)
        at_steps: Any = value.at_steps[0]
        if at_steps is not None:  # joining two directions may overflow by itself
            steps &= ~np.isinf(at_steps.error).any(axis=2).T
        return _Usable(np.logical_and.reduce(ends), steps)

    def _layer(self, position: int, node: Node) -> Iterator[LayerResidual]:
        """Compare the output of a layer without recurrence with that of what Keras fed it with."""
        usable, flow = self._usable_input(position, node), self.network.node_shapes[position]
        actual, rows = self.keras.values[node.name][0], usable.samples
        at_steps = flow.final and node.name in self.keras.each and not node.layer.last_step
        if at_steps:
            actual = self.keras.each[node.name][0]
        if usable.steps is not None and (at_steps or not flow.final):
            rows = usable.steps
        chunks = []
        more: list[list[tuple[Residual, Array]]] = [[] for _ in self.keras.values[node.name][1:]]
        for chunk in sample_chunks(actual):
            inputs = [self._layer_input(node, tap.node, chunk) for tap in node.sources]
            value = self._apply(position, node, inputs, chunk)
            expected = samples_first(value.at_steps[0] if at_steps else value.outputs[0])
            chunks.append(compare(actual[chunk], expected, rows[chunk], chunk.start))
            for number, residuals in enumerate(more, 1):
                other = self.keras.values[node.name][number][chunk]
                bounded = samples_first(value.outputs[number])
                compared_samples = usable.samples[chunk]
                residuals.append(compare(other, bounded, compared_samples, chunk.start))
        residual, compared = combine(chunks)
        samples = compared if compared.ndim == 1 else compared.all(axis=1)
        samples = usable.samples if at_steps else samples & usable.samples
        self.usable.append(_Usable(samples, compared if compared.ndim > 1 else usable.steps))
        if rows.any():
            is_output = any(tap.node == position for tap in self.network.outputs)
            quantity = "y_hat" if is_output else "output"
            quantity += " at every step" if rows.ndim > 1 else ""
            yield LayerResidual(node.name, quantity, residual)
        if usable.samples.any():
            for number, residuals in enumerate(more, 1):
                yield LayerResidual(node.name, f"output {number}", combine(residuals)[0])

    def _predictions(self) -> Iterator[LayerResidual]:
        """Compare the model's own outputs: one step of the last recurrences, and the head."""
        network, outputs = self.network, self.keras.outputs
        for number, (tap, actual) in enumerate(zip(network.outputs, outputs, strict=True)):
            chunks = []
            usable, layer = self.usable[tap.node], network.nodes[tap.node].layer
            rows = usable.samples
            joined = network.node_shapes[tap.node].joined
            if actual.ndim > 2 and usable.steps is not None and tap.output < joined:
                rows = usable.steps
            if actual.ndim > 2 and rows.ndim < 2:
                rows = np.broadcast_to(rows[:, None], actual.shape[:2])
            for chunk in sample_chunks(actual):
                values: dict[int, NodeValue] = {}
                for position in network.head:
                    node = network.nodes[position]
                    p = self._input_precision(node.layer)
                    sources = [self._computed(t.node, values, chunk, p) for t in node.sources]
                    values[position] = self._apply(position, node, sources, chunk)
                value = self._computed(tap.node, values, chunk, self._precision(layer))
                expected = samples_first(value.outputs[tap.output])
                chunks.append(compare(actual[chunk], expected, rows[chunk], chunk.start))
            residual, _ = combine(chunks)
            if residual.compared:
                quantity = "own output" if len(outputs) == 1 else f"own output {number}"
                residual = replace(residual, precision=network.precision(layer))
                yield LayerResidual("predict", quantity, residual)

    def _computed(
        self, position: int, values: dict[int, NodeValue], chunk: slice, precision: Precision
    ) -> NodeValue:
        """Return the bounded output of a node from Keras's inputs of it.

        The outputs of the model come from another run than those of the layers, and may differ
        from them by rounding.

        Args:
            position: The node.
            values: The bounded outputs of nodes so far, to which this one is added.
            chunk: The samples.
            precision: The dtype of numbers that no layer computes.
        """
        node = self.network.nodes[position]
        if position in values:
            return values[position]
        if position in self.bounded:
            return self._cut(self.bounded[position], chunk)
        if not node.sources or node.layer.declared_shapes is not None:
            value = self._cut(self.keras_values[position], chunk, precision)
            is_same_run = not node.sources or bool(self.keras.origin_values)
            return value if is_same_run else _map_numbers(value, _widen_for_second_run)
        p = self._input_precision(node.layer)
        if self.keras.origin_values:  # the outputs are those of the first run
            inputs = [self._cut(self._first_run(tap.node), chunk, p) for tap in node.sources]
        else:
            inputs = [self._computed(tap.node, values, chunk, p) for tap in node.sources]
        values[position] = self._apply(position, node, inputs, chunk)
        return values[position]

    def _first_run(self, position: int) -> NodeValue:
        """Return the numbers of a node in the run whose steps Keras repeats, or Keras's own."""
        value, node = self.keras_values[position], self.network.nodes[position]
        ours = self.keras.origin_values.get(node.name)
        if ours is None or isinstance(node.layer, Input):
            return value
        turned = tuple(np.swapaxes(v, 0, 1) if v.ndim > 2 else v for v in ours)
        at_steps = tuple(v if v.ndim > 2 else None for v in turned)
        return value._replace(outputs=turned, at_steps=at_steps)

    def _layer_input(self, node: Node, source: int, chunk: slice) -> NodeValue:
        """Return what Keras fed a layer with: its own numbers, taken as exact.

        A dropout rounds nothing, and Keras fuses it with the layer before it: the numbers that
        it passes on may have been computed again, within the bound of that layer.
        """
        previous = self.network.nodes[source]
        if node.layer.makes_mask and node.layer.dtype_16bit:
            # Keras does not repeat it in another dtype: its numbers are those of the first run.
            return self._cut(self._first_run(source), chunk, self._input_precision(node.layer))
        supported = previous.sources and previous.layer.declared_shapes is None
        computed = supported and source not in self.bounded
        if node.layer.symbol or not computed:
            return self._cut(self.keras_values[source], chunk, self._input_precision(node.layer))
        inputs = [self._layer_input(previous, tap.node, chunk) for tap in previous.sources]
        return self._apply(source, previous, inputs, chunk)

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")  # compare sees inf and NaN
    def _apply(self, position: int, node: Node, inputs: list[NodeValue], chunk: slice) -> NodeValue:
        """Return the bounded output of a layer for some samples."""
        layer, mask = node.layer, self.keras_values[position].mask
        after = None if mask is None else mask[:, chunk]
        inner = self._inner_precision(layer)
        rounded = [_cast(value, self._input_precision(layer)) for value in inputs]
        entering = [_cast(value, inner) for value in rounded]
        values: Any = dict(zip((tap.node for tap in node.sources), entering, strict=True))
        flow = self.network.node_shapes[position]
        output = apply_layer(_OPS, node, values, self.weights[node.group], after, flow)
        if not layer.rounds_input:  # Keras rounds its result to the dtype of its input first
            output = _cast(output, self._precision(self.network.nodes[node.sources[0].node].layer))
        return _cast(output, self._precision(layer))

    def _precision(self, layer: Layer) -> Precision:
        """Return the dtype in which Keras computes a layer."""
        name = self.network.precision(layer)
        if name == "float32" and self.keras.engine.tensor_float_32:
            return TENSOR_FLOAT_32
        return PRECISIONS[name]

    def _input_precision(self, layer: Layer) -> Precision:
        """Return the dtype to which a layer rounds its input."""
        return self._precision(layer) if layer.rounds_input else self._inner_precision(layer)

    def _inner_precision(self, layer: Layer) -> Precision:
        """Return float32 for a layer that rounds only its result to a dtype of 16 bits."""
        precision = self._precision(layer)
        return PRECISIONS["float32"] if layer.upcasts and precision.is_16bit else precision

    def _cut(self, value: NodeValue, chunk: slice, precision: Precision | None = None) -> NodeValue:
        """Return some samples of a node; with ``precision``, Keras's numbers as exact ones."""

        def cut(numbers: Any, *, timed: bool) -> Bounded:
            def pick(array: Array) -> Array:
                return array[:, chunk] if timed else array[chunk]

            if precision is not None:
                return Bounded.exact(pick(numbers), precision)
            bounded: Bounded = numbers.rearranged(pick)
            return bounded

        each = [None if e is None else cut(e, timed=True) for e in value.at_steps]
        outputs = [
            each[i]
            if output is value.at_steps[i]
            else cut(output, timed=np.ndim(getattr(output, "value", output)) > 2)
            for i, output in enumerate(value.outputs)
        ]
        mask = None if value.mask is None else value.mask[:, chunk]
        return NodeValue(tuple(outputs), tuple(each), mask, value.joined)  # type: ignore[arg-type]

    def _exact_weights(self, layer: Layer, weights: SimpleNamespace) -> SimpleNamespace:
        p = self._inner_precision(layer)
        return SimpleNamespace(**{k: Bounded.exact(v, p) for k, v in vars(weights).items()})


def _cast(value: NodeValue, precision: Precision) -> NodeValue:
    """Round the bounded numbers of a node to another dtype."""
    return _map_numbers(value, lambda numbers: numbers.cast(precision))


def _widen_for_second_run(numbers: Bounded) -> Bounded:
    """Widen the bounds of an unsupported layer's output to cover a second run.

    Its rounding errors are not known: the lower half of the digits of a sample may differ.
    """
    value = numbers.value
    axes = tuple(axis for axis in range(value.ndim) if axis != (value.ndim > 2))
    finite = np.isfinite(value)
    largest = np.max(np.abs(value), axis=axes, initial=0.0, where=finite, keepdims=True)
    return numbers.widened(np.sqrt(numbers.precision.unit_roundoff) * largest)


def _map_numbers(value: NodeValue, function: Callable[[Any], Any]) -> NodeValue:
    """Apply a function to the bounded numbers of a node."""

    def apply(numbers: Any) -> Any:
        return None if numbers is None else function(numbers)

    outputs = tuple(map(apply, value.outputs))
    each = (
        outputs[i] if i < len(outputs) and e is value.outputs[i] else apply(e)
        for i, e in enumerate(value.at_steps)
    )
    return NodeValue(outputs, tuple(each), value.mask, value.joined)
