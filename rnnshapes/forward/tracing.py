"""Trace: y_hat and the states at every time step, from NumPy and from Keras."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from rnnshapes import memory
from rnnshapes.errors import InputError, UnsupportedError
from rnnshapes.forward import numpy_run, scan
from rnnshapes.forward.difference import Difference, StepErrors, largest_difference, y_hat_of
from rnnshapes.forward.non_finite import NonFinite, NonFiniteFinder
from rnnshapes.forward.scan import Block
from rnnshapes.load.inputs import InputSources, describe_inputs
from rnnshapes.network.graph import ITEM_BYTES, Network, Node
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.symbolic import NodeShapes
from rnnshapes.network.weights import Weights
from rnnshapes.ops.activations import Array
from rnnshapes.ops.dims import Shape
from rnnshapes.reference.outputs import ModelOutputs, States
from rnnshapes.result import Result

if TYPE_CHECKING:
    from rnnshapes.forward.recurrence_steps import RecurrenceSteps, TracedStep

#: Receives each block of steps, and of which samples it is.
BlockListener = Callable[[Block, slice], None]


@dataclass(frozen=True, eq=False)
class LayerTrace:
    """States and gates of one recurrence at every step of its input, by name, each (N, T, M).

    Attributes:
        name: The recurrence.
        index: What its letters end in: ``h2`` of the second layer, ``h→`` of a direction.
        steps: The symbol of the time axis.
        reverse: Whether it processes the sequence in reverse; t is still that of the input.
        states: The states from NumPy, in float64. A masked step repeats those before it.
        keras: The same states from Keras.
        gates: The gates from NumPy, NaN at a masked step.
        mask: Which steps count, (N, T); None if all do.
        candidates: The gates that have the name of a state.
    """

    name: str
    index: str
    steps: str
    reverse: bool
    states: Mapping[str, Array]
    keras: Mapping[str, Array]
    gates: Mapping[str, Array]
    mask: Array | None
    candidates: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether it holds no array."""
        return not self.states and not self.gates and self.mask is None

    def select(self, parts: Sequence[str]) -> LayerTrace:
        """Return only the states and gates among ``parts``."""
        keys = [key for key in self.states if _part_of(key) in parts]
        keras = _pick(self.keras, keys) if self.keras else {}
        gates = self.gates if "gates" in parts else {}
        return replace(self, states=_pick(self.states, keys), keras=keras, gates=gates)


@dataclass(frozen=True, repr=False, eq=False)
class Trace(Result):
    """y_hat at every time step, computed in NumPy float64 from the model's own weights.

    Attributes:
        network: The network.
        source: Where the input comes from, as text.
        y_hat: y_hat at every step, (N, T, K). None where the head joins the time steps, so that
            no single step has one.
        output: The output of the model, (N, K) or (N, T, K).
        layers: States and gates of each recurrence.
        not_finite: NaN and infinite numbers of the input.
        keras: What Keras computed; None without Keras.
        recurrences: Returns the recurrences of a sample, of which each step can be evaluated.
        unsupported: Unsupported layers, whose values come from Keras.
        sources: The inputs, of which a plot draws x.
        step_errors: The error of Keras at each step against one step of the equation from its
            own states, with its bound, over all samples: of ``y_hat`` and ``lstm.h``. Empty
            unless asked for. See :mod:`rnnshapes.verification.residuals`.
    """

    schema = "rnnshapes.trace/1"
    renderer = "tracing"

    network: Network
    source: str
    y_hat: Array | None
    output: Array
    layers: tuple[LayerTrace, ...]
    not_finite: NonFinite | None
    keras: ModelOutputs | None
    recurrences: partial[tuple[RecurrenceSteps, ...]]
    unsupported: tuple[str, ...]
    sources: InputSources
    step_errors: Mapping[str, StepErrors] = field(default_factory=dict)

    def step(self, t: int, sample: int = 0) -> TracedStep:
        """Return one step in full: every equation with its shapes and numbers.

        Args:
            t: The time step of the input, from 0.
            sample: The sample, from 0.

        Raises:
            InputError: there is no such step or sample.
        """
        from rnnshapes.forward.recurrence_steps import traced_step

        return traced_step(self, t, sample)

    @property
    def y_hat_keras(self) -> Array | None:
        """y_hat at every time step from Keras, (N, T, K)."""
        if self.keras is None or self.y_hat is None:
            return None
        return y_hat_of(self.network, self.keras)

    @property
    def output_keras(self) -> Array | None:
        """The output of the model's own ``predict``."""
        return None if self.keras is None else self.keras.outputs[0]

    @property
    def difference(self) -> Difference | None:
        """The largest difference between both y_hat, or between both outputs."""
        if self.y_hat is not None and self.y_hat_keras is not None:
            return largest_difference(self.y_hat, self.y_hat_keras)
        if self.output_keras is None:
            return None
        return largest_difference(self.output, self.output_keras)

    def select(self, show: str | Iterable[str], layer: str | None = None) -> Trace:
        """Return what :func:`trace_network` returns for ``show`` and ``layer``."""
        parts, names = check_show(self.network, show), check_layer(self.network, layer)
        layers = [trace.select(parts) for trace in self.layers if trace.name in names]
        return replace(
            self,
            layers=tuple(trace for trace in layers if not trace.is_empty),
            recurrences=partial(self.recurrences, layer=layer),
        )


def check_show(network: Network, show: str | Iterable[str]) -> tuple[str, ...]:
    """Return the parts to show, from ``"y,h"``, ``"all"`` or a list.

    Raises:
        InputError: the network has no such part.
    """
    parts = show.split(",") if isinstance(show, str) else show
    chosen = tuple(str(part).strip() for part in parts)
    types = " and ".join(dict.fromkeys(node.layer.type for node in network.recurrent))
    known = all_parts(network)
    if chosen == ("all",):
        return known
    for part in chosen:
        if part not in known:
            raise InputError(
                f"unknown value {part!r} for show (--show) of {types}: choose from "
                f"{', '.join(known)} or all"
            )
    return chosen


def all_parts(network: Network) -> tuple[str, ...]:
    """Return all parts of a trace: ``y``, ``h``, ``c``, ``gates``."""
    cells = [direction.cell for node in network.recurrent for _, direction in node.scans]
    states = dict.fromkeys(_part_of(key) for cell in cells for key in cell.states)
    return ("y", *states, *(("gates",) if any(cell.gates for cell in cells) else ()))


def check_traced_steps(network: Network, name: str | None) -> tuple[str, ...]:
    """Return what :func:`check_layer` returns, or raise InputError if that is nothing."""
    names = check_layer(network, name)
    if not names:
        raise InputError(
            "the recurrent layers of this model are computed as a whole: there are no steps to "
            "show; leave --step and --follow out"
        )
    return names


def check_layer(network: Network, name: str | None) -> tuple[str, ...]:
    """Return the recurrences of the layer or stack ``name``, or all of the network.

    There are none if all of its recurrent layers are computed as a whole.

    Raises:
        InputError: the network has no such layer, or no recurrence.
        UnsupportedError: it has no recurrence, and an unsupported layer that may be one.
    """
    recurrences = {node.name: [scan for scan, _ in node.scans] for node in network.recurrent}
    if not recurrences and name is None and any(layer.cells for layer in network.layers):
        return ()  # all of them are computed as a whole
    if not recurrences:
        error = UnsupportedError if network.inputs and network.unsupported else InputError
        raise error(f"{network.no_recurrence_reason}: there are no time steps to trace")
    every = [recurrence for names in recurrences.values() for recurrence in names]
    if name is None:
        return tuple(every)
    if stack := [
        scan for node in recurrences if is_in_stack(node, name) for scan in recurrences[node]
    ]:
        return tuple(stack)
    if name not in recurrences and name not in every:
        names = dict.fromkeys([*recurrences, *every])
        raise InputError(f"no recurrent layer {name!r}: choose one of {', '.join(names)}")
    return tuple(recurrences.get(name, [name]))


def is_in_stack(layer: str, stack: str) -> bool:
    """Return whether a layer, ``encoder.l1``, belongs to the stack ``encoder``."""
    name, _, number = layer.rpartition(".l")
    return name == stack and number.isdecimal()


def trace_network(
    network: Network,
    weights: Weights,
    sources: InputSources,
    show: str | Iterable[str],
    keras: ModelOutputs | None = None,
    layer: str | None = None,
    on_block: BlockListener | None = None,
) -> Trace:
    """Run the recurrence in NumPy, beside what Keras computed.

    Args:
        network: The network.
        weights: Its weights.
        sources: Its inputs.
        show: The parts of the trace: ``"y,h"``.
        keras: What Keras computed from the same inputs.
        layer: The recurrent layer to trace; all by default.
        on_block: Receives each block of steps.

    Raises:
        InputError: no such part or layer.
        UnsupportedError: an unsupported layer, and no Keras.
    """
    from rnnshapes.forward import recurrence_steps

    parts, names = check_show(network, show), check_layer(network, layer)
    unsupported = [f"layer {node.name!r} ({node.layer.type})" for node in network.unsupported]
    if unsupported and keras is None:
        raise UnsupportedError(
            f"{unsupported[0]} is not supported: without Keras no layer after it can be computed"
        )
    run = _TraceRun(network, weights, sources, parts, names, keras)
    y_hat, output = run.compute(on_block)
    layers = [trace for trace in run.layers if not trace.is_empty]
    if keras is not None:
        layers = [replace(la, keras=_pick(keras.states[la.name], la.states)) for la in layers]
    for trace in layers:
        for values in (*trace.states.values(), *trace.gates.values(), trace.mask):
            if values is not None:
                values.setflags(write=False)
    output.setflags(write=False)
    if y_hat is not None:
        y_hat.setflags(write=False)
    return Trace(
        network=network,
        source=describe_inputs(sources, network),
        y_hat=y_hat,
        output=output,
        layers=tuple(layers),
        not_finite=run.finder.result,
        keras=keras,
        unsupported=tuple(unsupported),
        recurrences=partial(
            recurrence_steps.steps_of_sample,
            network,
            weights,
            sources,
            layer=layer,
            keras=keras if unsupported else None,
        ),
        sources=sources,
    )


def require_memory(
    network: Network,
    show: str | Iterable[str] = "y",
    *,
    with_keras: bool = False,
    more_numbers: int = 0,
) -> None:
    """Raise TooLargeError if weights, one block of each layer and result do not fit into memory.

    Args:
        network: The network.
        show: The parts of the trace.
        with_keras: Whether the outputs of Keras are in memory, too.
        more_numbers: How many more numbers are in memory.
    """
    parts = check_show(network, show)
    n, t = network.size("N"), 1
    # The weights as they are drawn and in float64; with Keras also its own, and as bounds.
    numbers = network.parameters * (4 if with_keras else 2) + more_numbers
    numbers += n * _result_numbers(network)
    for node in network.recurrent:
        steps = network.steps_of(node)
        t = max(t, steps)
        for _, direction in node.scans:
            cell = direction.cell
            dims = [dim for key, dim in cell.states.items() if _part_of(key) in parts]
            dims += cell.gates.values() if "gates" in parts else ()
            dims += cell.states.values() if with_keras else ()
            numbers += n * steps * sum(map(network.count, dims))
    if with_keras:
        numbers += n * sum(map(partial(_output_numbers, network), network.node_shapes))
    if with_keras or not network.unsupported:
        numbers += _block_numbers(network)
    what = f"a trace of N={n:,} samples over T={t:,} steps with {network.parameters:,} parameters"
    memory.require(numbers * ITEM_BYTES["float64"], what)


def _result_numbers(network: Network) -> int:
    """Return how many numbers y_hat and the output have for one sample."""
    shapes = network.output_shapes
    y_hat = _output_numbers(network, shapes)
    return y_hat + (_numbers(network, shapes.shapes[0]) if shapes.final else 0)


def _block_numbers(network: Network) -> int:
    """Return how many numbers the layers hold at once, for one block of steps and samples."""
    samples = min(network.size("N"), network.batch or scan.samples_at_once(network, "float64"))
    block = scan.block_steps(network, "float64")
    outputs = intermediates = 0
    for shapes in network.node_shapes:
        steps = max(1, network.step_count(shapes))  # a layer that is not supported may return none
        repeated = min(steps, block)
        outputs += _output_numbers(network, shapes) * repeated // steps
        largest = max((_numbers(network, shape) for shape in shapes.intermediates), default=0)
        largest *= steps if shapes.final else 1
        intermediates = max(intermediates, largest * repeated // steps)
    return samples * (outputs + intermediates)


def _output_numbers(network: Network, shapes: NodeShapes) -> int:
    """Return how many numbers the outputs have for one sample, at all of their steps."""
    steps = network.step_count(shapes) if shapes.final else 1
    return sum(
        _numbers(network, shape) * (steps if number < shapes.joined else 1)
        for number, shape in enumerate(shapes.shapes)
    )


def _numbers(network: Network, shape: Shape) -> int:
    """Return how many numbers a tensor (N, …) has for one sample, as an int without a limit."""
    return math.prod(map(network.count, shape[1:]))


def _part_of(state: str) -> str:
    """Return the part that a state belongs to: ``h`` for ``h2``, of a stack of cells."""
    return state.rstrip("0123456789")


def _pick(arrays: Mapping[str, Array], keys: Iterable[str]) -> dict[str, Array]:
    return {key: arrays[key] for key in keys}


class _TraceRun:
    """The run in NumPy, block by block, and the arrays that it fills."""

    def __init__(
        self,
        network: Network,
        weights: Weights,
        sources: InputSources,
        parts: Sequence[str],
        names: Sequence[str],
        keras: ModelOutputs | None,
    ) -> None:
        self.network, self.weights, self.sources = network, weights, sources
        self.keras = keras
        self.gates = "gates" in parts
        self.samples = network.size("N")
        self.finder = NonFiniteFinder()
        self.layers = [
            self._empty_trace(node, name, direction, parts)
            for node in network.recurrent
            for name, direction in node.scans
            if name in names
        ]

    def _empty_trace(
        self, node: Node, name: str, direction: Direction, parts: Sequence[str]
    ) -> LayerTrace:
        shapes, cell = self.network.shapes_at(node.sources[0]), direction.cell
        assert shapes.steps is not None
        n, t = self.samples, self.network.count(shapes.steps)
        states = {
            key: np.empty((n, t, self.network.count(dim)))
            for key, dim in cell.states.items()
            if _part_of(key) in parts
        }
        gates = {
            key: np.empty((n, t, self.network.count(dim)))
            for key, dim in cell.gates.items()
            if self.gates
        }
        return LayerTrace(
            name=name,
            index=direction.index + node.primes,
            steps=str(shapes.steps),
            reverse=direction.reverse,
            states=states,
            keras={},
            gates=gates,
            mask=np.ones((n, t), dtype=bool) if shapes.masked else None,
            candidates=tuple(gate for gate in cell.gates if gate in cell.states),
        )

    def compute(self, on_block: BlockListener | None) -> tuple[Array | None, Array]:
        """Compute y_hat and the output of all samples."""
        network = self.network
        shapes, tap = network.output_shapes, network.outputs[0]
        y_hat = None
        if shapes.steps is not None:
            inner = (network.count(shapes.steps), *map(network.count, shapes.at_step[1:]))
            y_hat = np.empty((self.samples, *inner))
        outputs = []
        initial = numpy_run.stored_states(self.weights)
        size = network.batch or scan.samples_at_once(network, "float64")
        steps = scan.block_steps(network, "float64")
        for start in range(0, self.samples, size):
            batch = slice(start, start + size)
            inputs = self.finder.blocks(self.sources, steps, batch)
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # reported later
                for block in self._blocks(inputs, batch, initial):
                    self._store(block, batch)
                    if on_block is not None:
                        on_block(block, batch)
                    value = block.values[tap.node]
                    at_steps = value.at_steps[tap.output]
                    if y_hat is not None and at_steps is not None:
                        times = slice(block.start, block.start + len(at_steps))
                        y_hat[batch, times] = np.swapaxes(at_steps, 0, 1)
            initial = numpy_run.states_that_stay(network, block)
            outputs.append(np.array(value.outputs[tap.output]))
        if network.returns_sequences and y_hat is not None:
            return y_hat, y_hat
        return y_hat, np.concatenate(outputs)

    def _blocks(
        self, inputs: Iterable[Sequence[Array]], batch: slice, initial: States
    ) -> Iterator[Block]:
        unsupported, masks = numpy_run.unsupported_outputs(self.network, self.keras, batch)
        return scan.run(
            self.network,
            self.weights,
            inputs,
            gates=self.gates,
            initial=initial,
            unsupported=unsupported,
            masks=masks,
        )

    def _store(self, block: Block, batch: slice) -> None:
        """Copy the states, gates and masks of a block."""
        for trace in self.layers:
            states, gates, mask, _ = block.scans[trace.name]
            for target, source in ((trace.states, states), (trace.gates, gates)):
                for key, values in target.items():
                    times = slice(block.start, block.start + len(source[key]))
                    values[batch, times] = np.swapaxes(source[key], 0, 1)
            if mask is not None and trace.mask is not None:
                trace.mask[batch, block.start : block.start + len(mask)] = mask.T
