"""What ``trace --golden`` writes: all that a port of the network has to reproduce.

The intermediates come from each cell's own equation, by one more reading of it
(:mod:`rnnshapes.ops.recorder`): one step from each of the states that the trace has found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import numpy as np

from rnnshapes import progress
from rnnshapes.cells.cell import StepResult
from rnnshapes.forward import tracing
from rnnshapes.forward.scan import Block, states_before
from rnnshapes.forward.tracing import LayerTrace, Trace
from rnnshapes.load.inputs import InputSources, full_array
from rnnshapes.network.graph import Network, Node
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.layers.core import Input
from rnnshapes.network.summary import Gate, LayerReport, inspect_network
from rnnshapes.network.weights import Weights, bind
from rnnshapes.ops.activations import Array
from rnnshapes.ops.dims import Dim, Shape, product
from rnnshapes.ops.recorder import Intermediate, RecordedTensor, RecorderOps, Recording
from rnnshapes.reference.outputs import ModelOutputs
from rnnshapes.result import Result, save_golden

#: About how many numbers an array of the recorded reading has at once.
PART = 2**18

_SAMPLES = Dim.named("N")
#: What the arrays of the whole network are called, of which an input may have the name.
_OWN = ("y_hat", "output")


@dataclass(frozen=True, eq=False)
class Entry:
    """One array by its name, with its symbolic shape and the equation that it stands in.

    For a weight ``text`` is its symbol, ``gates`` are the parts of its last axis, and ``rows``
    name what its first axis holds.
    """

    name: str
    values: Array
    dims: Shape
    text: str
    gates: tuple[Gate, ...] = ()
    rows: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False, eq=False)
class Golden(Result):
    """Weights, input, every intermediate at every step, and the answer.

    Weights have their own dtype, what is computed is float64. What a recurrence computes is
    (N, T, units) by the time of x, and NaN where a step is masked; there the states are those
    of the step before.
    """

    schema = "rnnshapes.golden/1"
    renderer = "golden"

    network: Network
    source: str
    layers: tuple[LayerReport, ...]
    entries: tuple[Entry, ...]

    @property
    def arrays(self) -> dict[str, Array]:
        """Each by its name: ``x``, ``lstm/kernel``, ``lstm.h Wh``, ``lstm.z_i``, ``y_hat``."""
        return {entry.name: entry.values for entry in self.entries}

    def save(self, path: str | Path) -> None:
        """Write a .npz, .json or .h file, whole or not at all; InputError if it cannot be."""
        save_golden(self, Path(path))


def require_memory(network: Network, *, with_keras: bool = False) -> None:
    """Raise TooLargeError if a trace of all, and what is recorded, do not fit into memory."""
    numbers = sum(plan.numbers for plan in _plans(network))
    for node in network.inputs:
        assert isinstance(node.layer, Input)
        numbers += network.count(product(node.layer.shape))
    everything = tracing.everything(network)
    tracing.require_memory(network, everything, with_keras=with_keras, beside=numbers)


def described(network: Network) -> dict[str, tuple[Shape, str]]:
    """The symbolic shape and the equation of all that each recurrence computes, by its name."""
    return {
        f"{plan.name}.{name}": ((_SAMPLES, plan.steps, width), text)
        for plan in _plans(network)
        for name, text, width in plan.equations()
    }


def record_network(
    network: Network,
    weights: Weights,
    sources: InputSources,
    keras: ModelOutputs | None = None,
) -> tuple[Trace, Golden]:
    """A trace of all that there is, and its arrays with those in between.

    Takes and raises what :func:`rnnshapes.forward.tracing.trace_network` does.
    """
    recorders = {plan.name: _Recorder(plan, weights) for plan in _plans(network)}

    def seen(block: Block, part: slice) -> None:
        for recorder in recorders.values():
            recorder.keep(block, part)

    everything = tracing.everything(network)
    traced = tracing.trace_network(network, weights, sources, everything, keras, seen=seen)
    layers = inspect_network(network).layers
    entries = [*_inputs(network, sources), *_weights(network, layers, weights)]
    for layer in traced.layers:
        entries += recorders[layer.name].entries(layer)
    entries += _answers(traced)
    return traced, Golden(network, traced.source, layers, tuple(map(_read_only, entries)))


@dataclass(frozen=True, eq=False)
class _Plan:
    """What is recorded of one recurrence, from the texts of a single step.

    ``traced`` is what the trace has of it by the name it gets here: ``h``, ``gate_i``.
    """

    network: Network
    node: Node
    name: str
    direction: Direction
    traced: Mapping[str, RecordedTensor]
    intermediates: Mapping[str, Intermediate]

    @classmethod
    def of(cls, network: Network, node: Node, name: str, direction: Direction) -> _Plan:
        """The plan, for which no number is needed."""
        step, recording = _evaluate_step(direction)
        _, dated = _evaluate_step(direction, dated=True)
        intermediates: dict[str, Intermediate] = {}
        both = zip(recording.intermediates, dated.intermediates, strict=True)
        for (_, value), (text, _) in both:
            intermediates.setdefault(value.symbol.text, Intermediate(text, value))
        gates = {f"gate_{key}": value for key, value in step.gates.items()}
        return cls(network, node, name, direction, {**step.states, **gates}, intermediates)

    @property
    def steps(self) -> Dim:
        """The time axis of x."""
        found = self.network.node_shapes[self.node.sources[0].node].steps
        assert found is not None
        return found

    @cached_property
    def between(self) -> dict[str, int]:
        """What is neither a state nor a gate, with how wide it is."""
        traced = {id(value) for value in self.traced.values()}
        return {
            text: self.network.count(note.value.symbol.shape[-1])
            for text, note in self.intermediates.items()
            if id(note.value) not in traced
        }

    @property
    def numbers(self) -> int:
        """How many numbers are kept of it."""
        rows = self.network.size("N") * self.network.count(self.steps)
        return rows * sum(self.between.values())

    def equations(self) -> Iterator[tuple[str, str, Dim]]:
        """Each array's name, its equation and its width, in the order of the equation."""
        names = {id(value): name for name, value in self.traced.items()}
        for text, note in self.intermediates.items():
            name = names.pop(id(note.value), text)
            yield name, note.text, note.value.symbol.shape[-1]
        for name in names.values():  # what the equation gives no name of its own
            yield name, name, self.traced[name].symbol.shape[-1]


class _Recorder:
    """The arrays of one recurrence, filled block by block."""

    def __init__(self, plan: _Plan, weights: Weights) -> None:
        self.plan, self.direction = plan, plan.direction
        network, cell = plan.network, plan.direction.cell
        n, t = network.size("N"), network.count(plan.steps)
        self.weights = vars(bind(self.direction.name, weights, "float64"))
        self.kept = {text: np.empty((n, t, width)) for text, width in plan.between.items()}
        self.starts = {key: np.zeros((n, network.count(d))) for key, d in cell.states.items()}
        widths = [network.count(dim) for dim in (self.direction.features, cell.output)]
        self.widest = max(*widths, *plan.between.values())

    def keep(self, block: Block, part: slice) -> None:
        """Record a block of some of the samples: one step from each state before."""
        tap = self.plan.node.sources[0]
        x, scan = block.values[tap.node].outputs[tap.output], block.scans[self.plan.name]
        if block.start == 0:
            for key, values in scan.start.items():
                self.starts[key][part] = values
        before = states_before(self.direction, scan.states, scan.start, time_axis=0)
        size = max(1, PART // (x.shape[1] * self.widest))
        for start in range(0, len(x), size):
            steps = slice(start, start + size)
            rows = {key: _flat(values[steps]) for key, values in before.items()}
            _, recording = _evaluate_step(self.direction, _flat(x[steps]), rows, self.weights)
            arrays: dict[str, Array] = {}
            for _, value in recording.intermediates:
                arrays.setdefault(value.symbol.text, value.array)
            for text, kept in self.kept.items():
                found = arrays[text].reshape(*x[steps].shape[:2], -1)
                if scan.mask is not None:
                    found = np.where(scan.mask[steps][..., None], found, np.nan)
                at = slice(block.start + start, block.start + start + len(found))
                kept[part, at] = np.swapaxes(found, 0, 1)
            progress.advance(x[steps].shape[0] * x.shape[1])

    def entries(self, layer: LayerTrace) -> Iterator[Entry]:
        """All of the recurrence, with what the trace has of it."""
        steps, states = self.plan.steps, self.direction.cell.states
        if layer.mask is not None:
            dims = (_SAMPLES, steps)
            yield Entry(f"{layer.name}.mask", layer.mask, dims, "whether step t counts")
        for key, values in self.starts.items():
            if values.any():
                at = f"{key}_{{{steps if self.direction.reverse else -1}}}"
                dims = (_SAMPLES, states[key])
                yield Entry(f"{layer.name}.{key}_initial", values, dims, f"{at}, the start")
        gates = {f"gate_{key}": values for key, values in layer.gates.items()}
        found = {**self.kept, **layer.states, **gates}
        for name, text, width in self.plan.equations():
            yield Entry(f"{layer.name}.{name}", found[name], (_SAMPLES, steps, width), text)


def _plans(network: Network) -> list[_Plan]:
    return [
        _Plan.of(network, node, name, direction)
        for node in network.recurrent
        for name, direction in node.scans
    ]


class _GoldenOps(RecorderOps):
    """Names the parts of a split by the cell of a stack that they belong to: ``z_i2``."""

    def split(self, z: RecordedTensor, base: str, parts: tuple[str, ...]) -> list[RecordedTensor]:
        return super().split(z, base, tuple(part + self.index for part in parts))


def _evaluate_step(
    direction: Direction,
    x: Array | None = None,
    state: Mapping[str, Array] = MappingProxyType({}),
    weights: Mapping[str, Array] = MappingProxyType({}),
    *,
    dated: bool = False,
) -> tuple[StepResult, Recording]:
    """Evaluate one step for all rows of x (R, D), and record it; without x only its texts.

    Names are those of any step (``h Wh``), or with ``dated`` those of step t (``h_{t-1} Wh``).
    """
    recording = Recording(with_arrays=x is not None)
    cell, before, now = direction.cell, "", ""
    if dated:
        before, now = "_{t+1}" if direction.reverse else "_{t-1}", "_t"
    w = {
        weight.key: recording.tensor(weight.key, weight.dims, weights.get(weight.key))
        for weight in direction.weights
    }
    states = {
        key: recording.tensor(key + before, (_SAMPLES, dim), state.get(key))
        for key, dim in cell.states.items()
    }
    inputs = recording.tensor(f"x{now}", (_SAMPLES, direction.features), x)
    ops, bound = _GoldenOps(recording, step=now), SimpleNamespace(**w)
    return cell.step(ops, cell.project(ops, inputs, bound), states, bound), recording


def _flat(values: Array) -> Array:
    return values.reshape(-1, values.shape[-1])


def _inputs(network: Network, sources: InputSources) -> Iterator[Entry]:
    """What goes in: ``x``, or each input by its name."""
    for node, source in zip(network.inputs, sources, strict=True):
        layer = node.layer
        assert isinstance(layer, Input)
        name = "x" if len(sources) == 1 else node.name
        name = f"input {name}" if name in _OWN else name
        values = full_array(source)
        values = values.astype(np.int32) if layer.integers else values
        text = "the input" if len(sources) == 1 else f"the input {node.name}"
        yield Entry(name, values, layer.shape, text)


def _weights(
    network: Network, layers: tuple[LayerReport, ...], weights: Weights
) -> Iterator[Entry]:
    """The weights as the equations have them, by their Keras names."""
    for layer, report in zip(network.layers, layers, strict=True):
        each = ((name, weight) for name, group in layer.groups.items() for weight in group)
        for (group, weight), said in zip(each, report.weights, strict=True):
            yield Entry(
                said.name,
                np.asarray(weights[group][weight.key]),
                weight.dims,
                said.symbol or "not derived",
                said.gates,
                said.rows,
            )


def _answers(traced: Trace) -> Iterator[Entry]:
    """y_hat, where there is one, and what the model returns."""
    flow = traced.network.output_shapes
    if traced.y_hat is not None:
        assert flow.steps is not None
        dims = (_SAMPLES, flow.steps, *flow.at_step[1:])
        yield Entry("y_hat", traced.y_hat, dims, "y_hat_t, the head at step t")
    yield Entry("output", traced.output, flow.shapes[0], "what the model returns")


def _read_only(entry: Entry) -> Entry:
    values = entry.values.view()  # x and the weights may be the user's own
    values.setflags(write=False)
    return replace(entry, values=values)
