"""The recurrences of one sample, of which each step can be evaluated in full.

A step is evaluated when somebody looks at it, by the recording interpreter
(:mod:`rnnshapes.ops.recorder`) and from the states of the trace: so a long trace needs no more
memory than its states.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from rnnshapes.errors import InputError
from rnnshapes.forward import tracing
from rnnshapes.forward.head import Head, head_inputs, uses_single_steps
from rnnshapes.forward.scan import Block, recurrence_outputs, states_before
from rnnshapes.forward.step_view import (
    SAMPLES,
    EvaluatedEquation,
    GeneralEquation,
    StepValue,
    StepView,
    evaluated_equations,
    name_at_step,
    step_value,
)
from rnnshapes.load.inputs import InputSource, InputSources
from rnnshapes.network.graph import Network, Node, Tap
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.naming import TensorNames
from rnnshapes.network.sizes import index_range_text
from rnnshapes.network.symbolic import evaluate_step
from rnnshapes.network.weights import Weights, bind_all
from rnnshapes.ops.activations import Array
from rnnshapes.ops.recorder import RecorderOps, Recording
from rnnshapes.reference.outputs import ModelOutputs
from rnnshapes.result import Result

if TYPE_CHECKING:
    from rnnshapes.forward.tracing import Trace

_Key = TypeVar("_Key")
_ALL = slice(None)


@dataclass(frozen=True, eq=False)
class RecurrenceSteps:
    """One recurrence of one sample, of which each step can be evaluated.

    Arrays are float64 and indexed by input time step.

    Attributes:
        network: The network.
        position: The position of the recurrent layer.
        name: The recurrence.
        direction: Its cell and direction.
        weights: Its weights.
        x: Its input, (T, F).
        states: The states after each step, (T, M).
        initial: The states before the first step, (M,).
        mask: Which steps count, (T,); None if all do.
        head: The head, where it uses each step by itself.
    """

    network: Network
    position: int
    name: str
    direction: Direction
    weights: SimpleNamespace
    x: Array
    states: Mapping[str, Array]
    initial: Mapping[str, Array]
    mask: Array | None
    head: Head | None

    @property
    def node(self) -> Node:
        """The call of the layer."""
        return self.network.nodes[self.position]

    @property
    def count(self) -> int:
        """How many steps there are."""
        return len(self.x)

    @property
    def reverse(self) -> bool:
        """Whether the sequence is processed in reverse."""
        return self.direction.reverse

    def users(self, *, at_end: bool) -> tuple[str, ...]:
        """Return the layers that take its output at each step; ``at_end`` also its states."""
        shapes, directions = self.network.node_shapes[self.position], self.node.layer.directions
        number = directions.index(self.direction)
        own = {number if shapes.joined > 1 else 0} if at_end or not shapes.final else set()
        if at_end:
            first = shapes.joined + sum(len(each.cell.states) for each in directions[:number])
            own.update(range(first, first + len(self.direction.cell.states)))
        users = (
            node.name
            for node in self.network.nodes
            for tap in (*node.sources, *node.initial)
            if tap.node == self.position and tap.output in own
        )
        return tuple(dict.fromkeys(users))

    def step(self, t: int) -> StepView:
        """Evaluate step t of the input."""
        masked = self.mask is not None and not self.mask[t]
        inputs, equations = self._evaluate(t, masked=masked)
        prediction = None
        if self.head is not None:
            head_step = self.head.step_of(self.position, self.direction, t)
            prediction = None if head_step is None else self.head.predict(head_step)
        return StepView(
            t=t,
            number=self.count - t if self.reverse else t + 1,
            count=self.count,
            masked=masked,
            inputs=inputs,
            equations=equations,
            states=tuple(
                step_value(
                    self.network, self._state_name(key, t), (SAMPLES, dim), self.states[key][t]
                )
                for key, dim in self.direction.cell.states.items()
            ),
            prediction=prediction,
        )

    def _evaluate(
        self, t: int, *, masked: bool
    ) -> tuple[tuple[StepValue, ...], tuple[EvaluatedEquation, ...]]:
        """Return x_t and the states before step t, and the equations of the step."""
        direction, recording = self.direction, Recording()
        cell, index, previous = direction.cell, direction.index, t + 1 if self.reverse else t - 1
        before = self._states_before(t)
        names = {key: self._state_name(key, previous) for key in cell.states}
        x = recording.tensor(
            name_at_step(self._x_name, t, self.count),
            (SAMPLES, direction.features),
            self.x[t][None],
        )
        states = {
            key: recording.tensor(names[key], (SAMPLES, dim), before[key][None])
            for key, dim in cell.states.items()
        }
        inputs = tuple(
            step_value(self.network, value.symbol.text, value.symbol.shape, value.array)
            for value in (x, *states.values())
        )
        if masked:
            return inputs, ()
        arrays = vars(self.weights)
        w = {
            weight.key: recording.tensor(weight.key + index, weight.dims, arrays[weight.key])
            for weight in direction.weights
        }
        bound = SimpleNamespace(**w)
        ops = RecorderOps(recording, index, f"{self.node.primes}_{t}")
        with np.errstate(all="ignore"):  # NaN and infinite numbers are shown as they are
            cell.step(ops, cell.project(ops, x, bound), states, bound)
        return inputs, tuple(evaluated_equations(self.network, recording, self._general))

    def _states_before(self, t: int) -> dict[str, Array]:
        """Return the states from which step t starts, (M,)."""
        steps = slice(t, t + 2) if self.reverse else slice(max(t - 1, 0), t + 1)
        around = {key: values[steps] for key, values in self.states.items()}
        before = states_before(self.direction, around, self.initial, time_axis=0)
        return {key: values[0 if self.reverse else -1] for key, values in before.items()}

    def _state_name(self, key: str, t: int) -> str:
        """Return ``h→_3``, or ``h_{-1}`` for an initial state."""
        step = t if t >= 0 else f"{{{t}}}"
        return f"{key}{self.direction.index}{self.node.primes}_{step}"

    @cached_property
    def _x_name(self) -> str:
        return TensorNames(self.network).of(self.node.sources[0])

    @cached_property
    def _general(self) -> list[GeneralEquation]:
        return evaluate_step(self.direction, self._x_name).equations


@dataclass(frozen=True, repr=False, eq=False)
class TracedStep(Result):
    """One step of a trace in full, for one sample.

    Attributes:
        network: The network.
        source: Where the input comes from, as text.
        t: The time step of the input.
        sample: The sample.
        recurrences: Each recurrence that has this step.
    """

    schema = "rnnshapes.step/1"
    renderer = "step"

    network: Network
    source: str
    t: int
    sample: int
    recurrences: tuple[RecurrenceSteps, ...]


def traced_step(trace: Trace, t: int, sample: int) -> TracedStep:
    """Return one step of a trace in full.

    Raises:
        InputError: there is no such step or sample.
    """
    try:
        t, sample = operator.index(t), operator.index(sample)
    except TypeError:
        raise InputError(f"a step and a sample are whole numbers, got {t!r}, {sample!r}") from None
    samples = len(trace.output)
    if not 0 <= sample < samples:
        raise InputError(f"sample {sample}: must be {index_range_text('N', samples)}")
    recurrences = trace.recurrences(sample)
    with_step = tuple(each for each in recurrences if 0 <= t < each.count)
    if not with_step:
        steps = max(each.count for each in recurrences)
        raise InputError(f"step {t}: must be {index_range_text('T', steps)}")
    return TracedStep(trace.network, trace.source, t, sample, with_step)


def with_needed_samples(network: Network, *, keras: bool) -> Network:
    """Return the network with the samples that must be computed to show one of them.

    One, unless Keras has run, or the batch size is fixed, so that samples may share states.
    """
    if keras or network.batch is not None:
        return network
    return replace(network, declared_sizes=tuple({**dict(network.declared_sizes), "N": 1}.items()))


def steps_of_sample(
    network: Network,
    weights: Weights,
    sources: InputSources,
    sample: int = 0,
    layer: str | None = None,
    keras: ModelOutputs | None = None,
) -> tuple[RecurrenceSteps, ...]:
    """Return each recurrence of one sample.

    Args:
        network: The network.
        weights: Its weights.
        sources: Its inputs.
        sample: The index of the sample. Others are computed only where they are needed, see
            :func:`with_needed_samples`.
        layer: The recurrent layer; all by default.
        keras: What Keras computed from the same inputs.

    Raises:
        InputError: no such layer, or an unsupported layer and no Keras.
        TooLargeError: the states do not fit into memory.
    """
    names = tracing.check_traced_steps(network, layer)
    computed = with_needed_samples(network, keras=keras is not None)
    if computed is not network:
        sources, sample = tuple(_OneSample(source, sample) for source in sources), 0
    show = tuple(part for part in tracing.all_parts(computed) if part != "gates")
    tracing.require_memory(computed, show, with_keras=keras is not None)
    recorder = _SampleRecorder(computed, sample)
    trace = tracing.trace_network(computed, weights, sources, show, keras, on_block=recorder.record)
    head = None
    if uses_single_steps(computed):
        assert trace.y_hat is not None
        head = Head(
            network=network,
            weights=weights,
            recurrence_outputs=_concatenate(recorder.outputs),
            other_inputs=_concatenate(recorder.head_inputs),
            y_hat=trace.y_hat[sample].reshape(trace.y_hat.shape[1], -1),
        )
    traces = {trace.name: trace for trace in trace.layers}
    scans = [
        (position, name, direction)
        for position, node in enumerate(computed.nodes)
        for name, direction in node.scans
        if name in names
    ]
    bound = bind_all((direction.name for _, _, direction in scans), weights, "float64")
    return tuple(
        RecurrenceSteps(
            network=network,
            position=position,
            name=name,
            direction=direction,
            weights=bound[direction.name],
            x=np.concatenate(recorder.x[name]),
            states={key: values[sample] for key, values in traces[name].states.items()},
            initial=recorder.initial[name],
            mask=None if (mask := traces[name].mask) is None else mask[sample],
            head=head,
        )
        for position, name, direction in scans
    )


@dataclass(frozen=True)
class _OneSample:
    """One sample of an input."""

    source: InputSource
    sample: int

    @property
    def description(self) -> str:
        return self.source.description

    def blocks(self, steps: int, part: slice = _ALL) -> Iterator[Array]:
        return self.source.blocks(steps, slice(self.sample, self.sample + 1))


class _SampleRecorder:
    """Copies of one sample's inputs, outputs and initial states, block by block."""

    def __init__(self, network: Network, sample: int) -> None:
        self.network, self.sample = network, sample
        self.x: dict[str, list[Array]] = defaultdict(list)
        self.outputs: dict[str, list[Array]] = defaultdict(list)
        self.head_inputs: dict[Tap, list[Array]] = defaultdict(list)
        self.initial: dict[str, dict[str, Array]] = {}
        self.counted: dict[str, Array] = {}

    def record(self, block: Block, batch: slice) -> None:
        """Copy the sample, if the block contains it."""
        row = self.sample - batch.start
        if not 0 <= row < batch.stop - batch.start:
            return
        for node in self.network.recurrent:
            tap = node.sources[0]
            x = block.values[tap.node].outputs[tap.output]
            outputs = recurrence_outputs(node, block.scans, self.counted)
            for name, _ in node.scans:
                if block.start == 0:
                    initial = block.scans[name].initial
                    self.initial[name] = {key: v[row].copy() for key, v in initial.items()}
                self.x[name].append(x[:, row].copy())
                self.outputs[name].append(outputs[name][:, row].copy())
        for tap in head_inputs(self.network):
            if not self.network.nodes[tap.node].layer.directions:
                value = block.values[tap.node]
                at_steps = value.at_steps[tap.output]
                values = value.outputs[tap.output][None] if at_steps is None else at_steps
                self.head_inputs[tap].append(values[:, row].copy())


def _concatenate(blocks: Mapping[_Key, list[Array]]) -> dict[_Key, Array]:
    """Join the blocks of each array along the time axis."""
    return {key: np.concatenate(arrays) for key, arrays in blocks.items()}
