"""Golden file of a network: every array that a port has to reproduce, with its equation.

The intermediates come from each cell's own equation, evaluated by the recording interpreter
(:mod:`rnnshapes.ops.recorder`): one step from each of the states of the trace.
"""

from __future__ import annotations

import contextlib
import difflib
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np

from rnnshapes import progress
from rnnshapes.cells.cell import StepResult, Weight
from rnnshapes.errors import InputError, UnsupportedError
from rnnshapes.forward import tracing
from rnnshapes.forward.scan import Block, flat_steps, states_before
from rnnshapes.forward.tracing import LayerTrace, Trace
from rnnshapes.layouts.stored_arrays import FRAMEWORKS, lay_out, stored_names
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

#: About how many numbers an array of the recording interpreter has at once.
CHUNK = 2**18

#: The frameworks in whose layout weights can be written, by the names of options.
LAYOUT_NAMES = MappingProxyType({"keras": "Keras", "pytorch": "PyTorch", "onnx": "ONNX"})
#: The dtypes in which all numbers can be written.
DTYPES = ("float32", "float64")
#: The name that stands for all weights.
WEIGHTS = "weights"
#: The end of the name of an array that has the value of one in the integers of another.
SCALE = " scale"

_SAMPLES = Dim.named("N")
#: Names of arrays of the whole network, which an input may also have.
_RESERVED = ("y_hat", "output")


@dataclass(frozen=True, eq=False)
class GoldenArray:
    """One array of a golden file, and what it is.

    Attributes:
        name: Its name: ``lstm.h Wh``.
        values: Its numbers.
        dims: Its symbolic shape.
        description: The equation of an intermediate, the symbol of a weight, or what it is.
        gates: The parts of an axis of a weight.
        rows: What the rows of a weight are.
        is_weight: Whether it is a weight.
    """

    name: str
    values: Array
    dims: Shape
    description: str
    gates: tuple[Gate, ...] = ()
    rows: tuple[str, ...] = ()
    is_weight: bool = False


@dataclass(frozen=True, repr=False, eq=False)
class Golden(Result):
    """Weights, input, every intermediate at every step, and the output.

    Weights have their own dtype, computed arrays are float64, unless ``dtype`` says otherwise.
    Those of a recurrence are (N, T, units), indexed by input time step, and NaN where a step is
    masked; the states of a masked step are those of the step before. ``layout`` is the framework
    in whose layout the weights of recurrent layers are. ``source`` says where x comes from; it is
    empty where there are weights alone. ``scheme`` is the fixed-point format of integers.
    """

    schema = "rnnshapes.golden/1"
    renderer = "golden"

    network: Network
    source: str
    layers: tuple[LayerReport, ...]
    entries: tuple[GoldenArray, ...]
    layout: str = LAYOUT_NAMES["keras"]
    dtype: str | None = None
    scheme: str | None = None

    def select(self, names: Iterable[str] | None) -> Golden:
        """Return some of the arrays; all of them for ``None``.

        Args:
            names: ``weights`` for all weights, names of arrays (``lstm.h``), or what a name ends
                in behind the last dot (``h`` of each layer, and of each cell of a stack). The
                scale of integers comes with them.

        Raises:
            InputError: there is no such array.
        """
        if names is None:
            return self
        wanted = list(names)
        groups = {entry.name: _groups(entry) for entry in self.entries}
        known = dict.fromkeys(name for entry in self.entries for name in groups[entry.name])
        for name in wanted or [""]:
            if name not in known:
                raise InputError(_unknown_array(name, known))
        chosen = (entry for entry in self.entries if set(groups[entry.name]) & set(wanted))
        return replace(self, entries=tuple(chosen))

    def in_dtype(self, dtype: str | None) -> Golden:
        """Return the arrays with all floating-point numbers in ``dtype``.

        Raises:
            InputError: it is neither float32 nor float64.
        """
        if dtype is None:
            return self
        if dtype not in DTYPES:
            raise InputError(f"the dtype of a golden file is {' or '.join(DTYPES)}, not {dtype}")
        entries = tuple(_in_dtype(entry, dtype) for entry in self.entries)
        return replace(self, entries=entries, dtype=dtype)

    @property
    def arrays(self) -> dict[str, Array]:
        """Arrays by name: ``x``, ``lstm/kernel``, ``lstm.h Wh``, ``lstm.z_i``, ``y_hat``."""
        return {entry.name: entry.values for entry in self.entries}

    def save(self, path: str | Path) -> None:
        """Write a .npz, .json or .h file, atomically.

        Raises:
            InputError: the file has another extension, or cannot be written.
        """
        save_golden(self, Path(path))


def check_layout(layout: str) -> str:
    """Return the framework of an option's name; raise InputError for an unknown one."""
    if layout not in LAYOUT_NAMES:
        raise InputError(f"unknown layout {layout!r}: use one of {', '.join(LAYOUT_NAMES)}")
    return LAYOUT_NAMES[layout]


def require_memory(network: Network, *, with_keras: bool = False) -> None:
    """Raise TooLargeError if a full trace and the golden arrays do not fit into memory."""
    numbers = sum(recorded.numbers for recorded in recorded_recurrences(network))
    for node in network.inputs:
        assert isinstance(node.layer, Input)
        numbers += network.count(product(node.layer.shape))
    parts = tracing.all_parts(network)
    tracing.require_memory(network, parts, with_keras=with_keras, more_numbers=numbers)


def array_names(network: Network) -> frozenset[str]:
    """Return the names of all arrays that a golden file or a trace of the network may have."""
    names = {"x", "y_hat", "output", *(node.name for node in network.inputs)}
    names |= {f"input {name}" for name in _RESERVED}
    names |= {
        f"{group}/{weight.name}"
        for layer in network.layers
        for group, weights in layer.groups.items()
        for weight in weights
    }
    for node in network.recurrent:
        names |= {f"{node.layer.name}/{name}" for name in stored_names(node.layer)}
    for recurrence in recorded_recurrences(network):
        values = [name for name, _, _ in recurrence.equations()]
        values += ["mask", *(f"{key}_initial" for key in recurrence.direction.cell.states)]
        names |= {f"{recurrence.name}.{value}" for value in values}
    return frozenset(names)


def record_network(
    network: Network,
    weights: Weights,
    sources: InputSources,
    keras: ModelOutputs | None = None,
    layout: str = LAYOUT_NAMES["keras"],
) -> tuple[Trace, Golden]:
    """Return a full trace, and its arrays together with all intermediates.

    It takes and raises what :func:`rnnshapes.forward.tracing.trace_network` does. ``layout`` is a
    framework; UnsupportedError is raised where it has no layout for a cell.
    """
    stored = {}
    if layout != LAYOUT_NAMES["keras"]:
        recurrent = {node.layer.name: node.layer for node in network.recurrent}
        stored = {n: lay_out(layer, weights, layout) for n, layer in recurrent.items()}
    recorders = {
        recurrence.name: _Recorder(recurrence, weights)
        for recurrence in recorded_recurrences(network)
    }

    def record(block: Block, batch: slice) -> None:
        for recorder in recorders.values():
            recorder.record(block, batch)

    trace = tracing.trace_network(
        network, weights, sources, tracing.all_parts(network), keras, on_block=record
    )
    kinds = {name: [weight for weight, _ in arrays] for name, arrays in stored.items()}
    layers = inspect_network(network, kinds).layers
    entries = [*inputs_alone(network, sources), *_weight_arrays(network, layers, weights, stored)]
    for layer in trace.layers:
        entries += recorders[layer.name].arrays(layer)
    entries += _output_arrays(trace)
    read_only = tuple(map(_read_only, entries))
    return trace, Golden(network, trace.source, layers, read_only, layout)


def weights_alone(network: Network, weights: Weights) -> Golden:
    """Return the weights of a network, in Keras's layout and in their own dtype."""
    layers = inspect_network(network).layers
    entries = _weight_arrays(network, layers, weights, {})
    return Golden(network, "", layers, tuple(map(_read_only, entries)))


def stored_weights(network: Network, weights: Weights) -> Iterator[GoldenArray]:
    """Yield the weights of recurrent layers in the layouts of the frameworks that have them."""
    for layer in {node.layer.name: node.layer for node in network.recurrent}.values():
        for framework in FRAMEWORKS:
            with contextlib.suppress(UnsupportedError):
                for weight, values in lay_out(layer, weights, framework):
                    name = f"{layer.name}/{weight.name}"
                    yield GoldenArray(name, values, weight.dims, weight.name, is_weight=True)


@dataclass(frozen=True, eq=False)
class RecordedRecurrence:
    """Names, equations and widths of what is recorded of one recurrence.

    ``traced`` are the values that a trace has, too, by their name here: ``h``, ``gate_i``.
    ``intermediates`` are all named values of a step, by name. ``noted`` are their names in the
    order in which a step computes them; a value that is part of a split and the argument of an
    activation is there twice.
    """

    network: Network
    node: Node
    name: str
    direction: Direction
    traced: Mapping[str, RecordedTensor]
    intermediates: Mapping[str, Intermediate]
    noted: tuple[str, ...]

    @classmethod
    def of(
        cls, network: Network, node: Node, name: str, direction: Direction
    ) -> RecordedRecurrence:
        """Return it for a recurrence, from the texts of a single step."""
        step, recording = record_step(direction)
        _, dated = record_step(direction, dated=True)
        intermediates: dict[str, Intermediate] = {}
        both = zip(recording.intermediates, dated.intermediates, strict=True)
        for (_, value), (equation, _) in both:
            intermediates.setdefault(value.symbol.text, Intermediate(equation, value))
        gates = {f"gate_{key}": value for key, value in step.gates.items()}
        traced = {**step.states, **gates}
        names = {id(value): key for key, value in traced.items()}
        noted = [names.get(id(v), v.symbol.text) for _, v in recording.intermediates]
        return cls(network, node, name, direction, traced, intermediates, tuple(noted))

    @property
    def steps(self) -> Dim:
        """The time axis of the input."""
        steps = self.network.shapes_at(self.node.sources[0]).steps
        assert steps is not None
        return steps

    @cached_property
    def widths(self) -> dict[str, int]:
        """How wide each intermediate is that is neither a state nor a gate, by name."""
        traced = {id(value) for value in self.traced.values()}
        return {
            name: self.network.count(intermediate.value.symbol.shape[-1])
            for name, intermediate in self.intermediates.items()
            if id(intermediate.value) not in traced
        }

    @property
    def numbers(self) -> int:
        """How many numbers these intermediates have."""
        rows = self.network.size("N") * self.network.count(self.steps)
        return rows * sum(self.widths.values())

    def equations(self) -> Iterator[tuple[str, str, Dim]]:
        """Yield name, equation and width of each array, in the order of the equation."""
        names = {id(value): name for name, value in self.traced.items()}
        for text, intermediate in self.intermediates.items():
            name = names.get(id(intermediate.value), text)
            yield name, intermediate.text, intermediate.value.symbol.shape[-1]


def recorded_recurrences(network: Network) -> list[RecordedRecurrence]:
    """Return what can be recorded of each recurrence of a network."""
    return [
        RecordedRecurrence.of(network, node, name, direction)
        for node in network.recurrent
        for name, direction in node.scans
    ]


class _Recorder:
    """The arrays of one recurrence, filled block by block."""

    def __init__(self, recurrence: RecordedRecurrence, weights: Weights) -> None:
        self.recurrence, self.direction = recurrence, recurrence.direction
        network, cell = recurrence.network, recurrence.direction.cell
        n, t = network.size("N"), network.count(recurrence.steps)
        self.weights = vars(bind(self.direction.name, weights, "float64"))
        self.intermediates = {
            name: np.empty((n, t, width)) for name, width in recurrence.widths.items()
        }
        self.initial = {key: np.zeros((n, network.count(d))) for key, d in cell.states.items()}
        self.widest = max([network.count(self.direction.features), *recurrence.widths.values()])

    def record(self, block: Block, batch: slice) -> None:
        """Record a block of some samples: one step from each state before."""
        tap = self.recurrence.node.sources[0]
        x, scan = block.values[tap.node].outputs[tap.output], block.scans[self.recurrence.name]
        if block.start == 0:
            for key, values in scan.initial.items():
                self.initial[key][batch] = values
        before = states_before(self.direction, scan.states, scan.initial, time_axis=0)
        size = max(1, CHUNK // (x.shape[1] * self.widest))
        for start in range(0, len(x), size):
            steps = slice(start, start + size)
            states = {key: flat_steps(values[steps]) for key, values in before.items()}
            _, recording = record_step(self.direction, flat_steps(x[steps]), states, self.weights)
            arrays: dict[str, Array] = {}
            for _, value in recording.intermediates:
                arrays.setdefault(value.symbol.text, value.array)
            for name, target in self.intermediates.items():
                values = arrays[name].reshape(*x[steps].shape[:2], -1)
                if scan.mask is not None:
                    values = np.where(scan.mask[steps][..., None], values, np.nan)
                times = slice(block.start + start, block.start + start + len(values))
                target[batch, times] = np.swapaxes(values, 0, 1)
            progress.advance(x[steps].shape[0] * x.shape[1])

    def arrays(self, layer: LayerTrace) -> Iterator[GoldenArray]:
        """Yield all arrays of the recurrence, with those of its trace."""
        steps, states = self.recurrence.steps, self.direction.cell.states
        if layer.mask is not None:
            yield GoldenArray(
                f"{layer.name}.mask", layer.mask, (_SAMPLES, steps), "whether step t counts"
            )
        for key, values in self.initial.items():
            if values.any():
                symbol = f"{key}_{{{steps if self.direction.reverse else -1}}}"
                name = f"{layer.name}.{key}_initial"
                yield GoldenArray(name, values, (_SAMPLES, states[key]), f"{symbol}, the start")
        gates = {f"gate_{key}": values for key, values in layer.gates.items()}
        arrays = {**self.intermediates, **layer.states, **gates}
        for name, equation, width in self.recurrence.equations():
            dims = (_SAMPLES, steps, width)
            yield GoldenArray(f"{layer.name}.{name}", arrays[name], dims, equation)


class _GoldenOps(RecorderOps):
    """Recording interpreter that names the parts of a split by their cell of a stack: ``z_i2``."""

    def split(self, z: RecordedTensor, base: str, parts: tuple[str, ...]) -> list[RecordedTensor]:
        return super().split(z, base, tuple(part + self.index for part in parts))


def record_step(
    direction: Direction,
    x: Array | None = None,
    state: Mapping[str, Array] = MappingProxyType({}),
    weights: Mapping[str, Array] = MappingProxyType({}),
    *,
    dated: bool = False,
    recording: Recording | None = None,
    numbers: Any = None,
) -> tuple[StepResult, Recording]:
    """Evaluate and record one step for many rows at once.

    Args:
        direction: The recurrence.
        x: Its input, (R, D); without it only names and equations are recorded.
        state: The states before the step, (R, M).
        weights: Its weights.
        dated: Whether names are those of step t (``h_{t-1} Wh``), and not of any (``h Wh``).
        recording: Where to record it; a new recording by default.
        numbers: The interpreter of the numbers, to which x, states and weights belong.
    """
    recording = recording or Recording(with_arrays=x is not None)
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
    ops, bound = _GoldenOps(recording, step=now, numbers=numbers), SimpleNamespace(**w)
    return cell.step(ops, cell.project(ops, inputs, bound), states, bound), recording


def inputs_alone(network: Network, sources: InputSources) -> Iterator[GoldenArray]:
    """Yield ``x``, or each input by its name."""
    for node, source in zip(network.inputs, sources, strict=True):
        layer = node.layer
        assert isinstance(layer, Input)
        name = "x" if len(sources) == 1 else node.name
        name = f"input {name}" if name in _RESERVED else name
        values = full_array(source)
        values = values.astype(np.int32) if layer.integers else values
        description = "the input" if len(sources) == 1 else f"the input {node.name}"
        yield GoldenArray(name, values, layer.shape, description)


def _weight_arrays(
    network: Network,
    layers: tuple[LayerReport, ...],
    weights: Weights,
    stored: Mapping[str, Sequence[tuple[Weight, Array]]],
) -> Iterator[GoldenArray]:
    """Yield the weights by name: as the equations use them, or as ``stored`` has a layer's."""
    for layer, report in zip(network.layers, layers, strict=True):
        each = stored.get(layer.name) or [
            (weight, np.asarray(weights[name][weight.key]))
            for name, group in layer.groups.items()
            for weight in group
        ]
        for (weight, values), row in zip(each, report.weights, strict=True):
            yield GoldenArray(
                name=row.name,
                values=values,
                dims=weight.dims,
                description=row.symbol or "not supported",
                gates=row.gates,
                rows=row.rows,
                is_weight=True,
            )


def _output_arrays(trace: Trace) -> Iterator[GoldenArray]:
    """Yield y_hat, if there is one, and the output of the model."""
    shapes = trace.network.output_shapes
    if trace.y_hat is not None:
        assert shapes.steps is not None
        dims = (_SAMPLES, shapes.steps, *shapes.at_step[1:])
        yield GoldenArray("y_hat", trace.y_hat, dims, "y_hat_t, the head at step t")
    yield GoldenArray("output", trace.output, shapes.shapes[0], "what the model returns")


def _groups(entry: GoldenArray) -> tuple[str, ...]:
    """Return the names by which an array can be selected: ``rnn.h2``, ``h2`` and ``h``."""
    name = entry.name.removesuffix(SCALE)
    if entry.is_weight:
        return entry.name, name, WEIGHTS
    layer, _, last = name.rpartition(".")
    return entry.name, name, last, last.rstrip(string.digits) if layer else last


def _unknown_array(name: str, known: Iterable[str]) -> str:
    """Return the text of an error, with the name that may be meant."""
    close = difflib.get_close_matches(name, known, 1)
    meant = f" (did you mean {close[0]!r}?)" if close else ""
    shown = [each for each in known if not set(" ./") & set(each)]
    return f"there is no array {name!r}{meant}; choose from {', '.join(shown)}"


def _in_dtype(entry: GoldenArray, dtype: str) -> GoldenArray:
    """Return an array in ``dtype``, unless it holds integers or Booleans."""
    if entry.values.dtype.kind in "iub":
        return entry
    with np.errstate(over="ignore"):  # too large for float32: it is written as infinite
        return _read_only(replace(entry, values=entry.values.astype(dtype)))


def _read_only(array: GoldenArray) -> GoldenArray:
    values = array.values.view()  # x and the weights may be the user's own
    values.setflags(write=False)
    return replace(array, values=values)
