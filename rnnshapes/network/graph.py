"""A network: named sizes and a graph of layers, validated once."""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

from rnnshapes.errors import InputError
from rnnshapes.network.layers.base import Direction, Layer, Masks
from rnnshapes.network.layers.core import Input
from rnnshapes.network.layers.rnn import RecurrentLayer
from rnnshapes.ops.dims import Dim, Shape, shape_text
from rnnshapes.ops.interface import KERAS2_HARD_SIGMOID
from rnnshapes.ops.symbolic import ShapeMismatchError, Symbol, SymbolicOperation, SymbolicOps

#: What each size counts, in the order in which it is written.
MEANING = MappingProxyType(
    {
        "N": "samples",
        "T": "time steps",
        "D": "input features",
        "M": "hidden units",
        "K": "outputs",
    }
)
#: What is said of a layer that Keras 1 or 2 trained with it.
OLD_HARD_SIGMOID = (
    "hard_sigmoid is clip(0.2 z + 0.5, 0, 1), as in the Keras 1 or 2 that trained it; in Keras 3 "
    "it is clip(z/6 + 0.5, 0, 1), which differs by up to 0.083, and so do the answers"
)
#: No axis of an array can be longer (a 64-bit signed integer).
LARGEST_SIZE = 2**63 - 1
#: Bytes of one number.
ITEM_BYTES = MappingProxyType({"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2})
#: Formats of 16 bits.
SHORT = ("float16", "bfloat16")
#: What Keras may compute in here.
COMPUTED_IN = ("float32", "float64", *SHORT)


class Tap(NamedTuple):
    """One output of one node."""

    node: int
    output: int = 0


@dataclass(frozen=True)
class Node:
    """A layer where it is called: on what, and from which states it starts.

    ``initial`` is empty where the states start at zero. ``mask_dropped`` says that Keras does
    not hand the mask of its input on to it, as it does not beside initial states. ``name`` is
    that of the layer, with a number behind it for any call but the first.
    """

    name: str
    layer: Layer
    sources: tuple[Tap, ...] = ()
    initial: tuple[Tap, ...] = ()
    mask_dropped: bool = False

    @property
    def again(self) -> str:
        """A prime for each call of a layer but the first: ``h``, ``h'``."""
        number = self.name.removeprefix(self.layer.name).removeprefix(":")
        return "'" * (int(number) - 1) if number else ""

    @cached_property
    def scans(self) -> tuple[tuple[str, Direction], ...]:
        """The recurrences of this call, by the name that each has in the network."""
        suffix = self.name.removeprefix(self.layer.name)
        return tuple((direction.name + suffix, direction) for direction in self.layer.directions)

    @cached_property
    def group(self) -> str:
        """The name of the weights of a layer without recurrence."""
        return next(iter(self.layer.groups))


@dataclass(frozen=True)
class Flow:
    """What a node yields, in symbols.

    ``shapes`` are those of its outputs. ``steps`` is the time axis along which its first output
    is known at each step: that of the sequence it is, or, for an output that is ``final``, that
    of the recurrence whose last step it belongs to; ``None`` where time has gone. This is so
    for the first ``joined`` outputs; those behind them are states.
    """

    shapes: tuple[Shape, ...]
    steps: Dim | None
    final: bool = False
    masked: bool = False
    joined: int = 1

    def of(self, output: int) -> Flow:
        """One of the outputs by itself: states that are handed on have no time."""
        if output >= len(self.shapes):
            return Flow((), None)
        if output < self.joined:
            return replace(self, shapes=(self.shapes[output],), joined=1)
        shape = self.shapes[output]
        return Flow((shape,), shape[1] if len(shape) > 2 else None)

    @property
    def at_step(self) -> Shape:
        """The shape of the first output at one time step."""
        shape = self.shapes[0]
        return shape if self.steps is None or self.final else (shape[0], *shape[2:])


@dataclass(frozen=True)
class Network:
    """A graph of layers. The first nodes are its inputs.

    ``named`` holds N, T, D, each M and K with their values (``None`` where open), ``dtype`` is
    that of weights and computation in Keras. ``batch`` is the number of samples of a model that
    keeps its states from one batch to the next. ``uniform`` says that all layers compute in
    ``dtype``, whatever they are said to compute in.
    """

    named: tuple[tuple[str, int | None], ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Tap, ...]
    dtype: str = "float32"
    batch: int | None = None
    uniform: bool = False

    @property
    def sizes(self) -> dict[str, int | None]:
        """The value of each size by name, in the order in which data meets them."""
        return dict(self._sizes)

    @cached_property
    def _sizes(self) -> dict[str, int | None]:
        values = dict(self.named)
        for node in self.nodes:
            for name, (dim, length) in node.layer.computed_sizes.items():
                found = dim.value(values)
                values[name] = None if found is None else length(found)
        return values

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The nodes where data comes in."""
        return tuple(node for node in self.nodes if isinstance(node.layer, Input))

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Each layer once, without inputs, in the order in which data meets them."""
        found = {node.layer.name: node.layer for node in self.nodes}
        return tuple(layer for layer in found.values() if not isinstance(layer, Input))

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The names of all groups of weights."""
        return tuple(name for layer in self.layers for name in layer.groups)

    @cached_property
    def widths(self) -> dict[str, dict[str, int]]:
        """How many units each state has, by the name of the recurrence and of the state."""
        return {
            name: {key: self.count(dim) for key, dim in direction.cell.states.items()}
            for node in self.recurrent
            for name, direction in node.scans
        }

    @cached_property
    def recurrent(self) -> tuple[Node, ...]:
        """The nodes with a recurrence, in order."""
        return tuple(node for node in self.nodes if node.layer.directions)

    @property
    def underived(self) -> dict[str, str]:
        """Why each layer is not derived that is not, by its name."""
        return {node.name: getattr(node.layer, "reason", "") for node in self.unknown}

    @property
    def unknown(self) -> tuple[Node, ...]:
        """The nodes whose layer is not derived."""
        return tuple(node for node in self.nodes if node.layer.declared_shapes is not None)

    @property
    def no_recurrence(self) -> str:
        """What to say of a network in which no recurrence is known."""
        if not self.inputs:
            return "the graph of its layers is not known"
        found = [f"{node.layer.name} ({node.layer.type})" for node in self.unknown]
        if not found:
            return "this model has no recurrent layer"
        return f"this model has no recurrent layer that is derived; not derived: {', '.join(found)}"

    @property
    def paths(self) -> int:
        """How many ways there are through the graph, from an input to any node, at the most."""
        ways: list[int] = []
        for node in self.nodes:
            ways.append(sum(ways[tap.node] for tap in (*node.sources, *node.initial)) or 1)
        return max(ways, default=0)

    @cached_property
    def old_meanings(self) -> dict[str, str]:
        """By layer, what an option meant to the Keras that trained it, and means today."""
        return {
            layer.name: OLD_HARD_SIGMOID
            for layer in self.layers
            if KERAS2_HARD_SIGMOID in layer.activations
        }

    @property
    def not_buildable(self) -> str:
        """Why it cannot be built anew from what is known of it; nothing if it can."""
        if not self.inputs or not self.outputs:
            return "the graph of its layers is not known"
        if self.unknown:
            node = self.unknown[0]
            return f"layer {node.name!r} ({node.layer.type}) is not derived"
        open_sizes = {n for layer in self.layers for n in layer.count.names if not self.sizes[n]}
        return f"{min(open_sizes)} is open: give --{min(open_sizes)}" if open_sizes else ""

    @cached_property
    def head(self) -> tuple[int, ...]:
        """Positions of the nodes from which no recurrence is reached: they make y_hat of h."""
        before: set[int] = set()
        for position in range(len(self.nodes) - 1, -1, -1):
            node = self.nodes[position]
            if position in before or node.layer.directions:
                before |= {tap.node for tap in (*node.sources, *node.initial)}
        return tuple(
            position
            for position, node in enumerate(self.nodes)
            if position not in before
            and not (node.layer.directions or node in self.unknown or not node.sources)
        )

    @cached_property
    def flows(self) -> tuple[Flow, ...]:
        """What each node yields, in symbols."""
        found: list[Flow] = []
        for node in self.nodes:
            found.append(flow_of(node, found))
        return tuple(found)

    @property
    def output_flow(self) -> Flow:
        """What the first output of the model is."""
        return self.flow(self.outputs[0])

    def flow(self, tap: Tap) -> Flow:
        """What one output of one node is."""
        return self.flows[tap.node].of(tap.output)

    @property
    def returns_sequences(self) -> bool:
        """Whether the model answers at every time step, and not only once."""
        return self.output_flow.steps is not None and not self.output_flow.final

    @property
    def causal(self) -> bool:
        """Whether what happens at t depends on no step after t."""
        return all(
            not direction.reverse for node in self.recurrent for _, direction in node.scans
        ) and all(node.layer.stepwise or node.layer.directions for node in self.nodes)

    @property
    def streams(self) -> bool:
        """Whether a block of time steps can be computed without those behind it."""
        alone = not any(node.initial for node in self.nodes) and self.batch is None
        timed = all(flow.steps is not None for flow in self.flows)
        return self.causal and alone and timed

    @property
    def chain(self) -> bool:
        """Whether each layer feeds the next one and nothing else."""
        return len(self.outputs) == 1 and all(
            node.sources == ((position - 1, 0),) and not node.initial
            for position, node in enumerate(self.nodes)
            if position
        )

    @property
    def parameters(self) -> int:
        """The exact number of parameters; InputError where a size is open that decides it."""
        return sum(self.count(layer.count) for layer in self.layers)

    def precision(self, layer: Layer) -> str:
        """The format in which Keras computes a layer."""
        return self.dtype if self.uniform else layer.computes_in or self.dtype

    @property
    def precisions(self) -> tuple[str, ...]:
        """The formats in which Keras computes its layers, each once."""
        return tuple(dict.fromkeys(map(self.precision, self.layers))) or (self.dtype,)

    def all_in(self, dtype: str) -> Network:
        """The same network, computed in one format."""
        same = self.uniform and self.dtype == dtype
        return self if same else replace(self, dtype=dtype, uniform=True)

    @property
    def longest(self) -> int:
        """The most time steps that anything in it has."""
        return max((self.steps(flow) for flow in self.flows), default=1)

    @property
    def scan_steps(self) -> int:
        """Number of steps of all recurrences for all samples; N where there is no recurrence."""
        sources = [node.sources[0] for node in self.recurrent for _ in node.scans]
        return self.known("N") * max(1, sum(self.steps(self.flows[s.node]) for s in sources))

    def steps(self, flow: Flow) -> int:
        """How many time steps something has; 1 where time has gone."""
        return 1 if flow.steps is None else self.count(flow.steps)

    def value(self, dim: Dim) -> int | None:
        """A symbolic size or count as a number, ``None`` where it is open."""
        return dim.value(self._sizes)

    def count(self, dim: Dim) -> int:
        """A symbolic size or count that has to be known by now."""
        value = dim.value(self._sizes)
        if value is None:
            open_size = next(name for name in sorted(dim.names) if self._sizes[name] is None)
            raise InputError(f"{dim} is open in this model: give {_advice(open_size)}")
        return value

    def known(self, name: str) -> int:
        """The size called ``name``; InputError where it is open."""
        value = self._sizes[name]
        if value is None:
            raise InputError(
                f"{name} ({MEANING[name[0]]}) is open in this model: give {_advice(name)}"
            )
        return value

    def numbers(self, shape: Shape) -> tuple[int | None, ...]:
        """A symbolic shape in numbers."""
        return tuple(self.value(dim) for dim in shape)

    def with_sizes(self, **sizes: int) -> Network:
        """The same layers with values for N and T; InputError for one that is fixed otherwise."""
        for name, value in sizes.items():
            if self.sizes[name] not in (None, value):
                raise InputError(f"{name} is {self.sizes[name]} in this model, not {value}")
        made = replace(self, named=tuple({**dict(self.named), **sizes}.items()))
        for name, found in made.sizes.items():
            if found is not None and found < 1:
                raise InputError(f"{name} would be {found}: the input has too few time steps")
        return made


def _advice(name: str) -> str:
    """Which size to give, for one that is open."""
    if "'" in name:
        return "T (--T), or build the model with a fixed T"
    letter = name.rstrip("0123456789")
    if name == letter:
        return f"{name} (--{name}), or x (--input)" if name in MEANING else name
    return f"{letter} (--{letter}) for all inputs, or x (--input, an .npz with an array for each)"


def flow_of(node: Node, found: list[Flow]) -> Flow:
    """What a node yields, from what the nodes before it yield."""
    layer, sources = node.layer, [found[tap.node].of(tap.output) for tap in node.sources]
    if isinstance(layer, Input):
        return Flow((layer.shape,), layer.shape[1] if layer.timed else None)
    if (held := layer.declared_shapes) is not None:
        steps = held[0][1] if held and len(held[0]) > 2 else None
        return Flow(held, steps, masked=layer.makes_mask)
    shapes = [source.shapes[0] for source in sources]
    masked = _masked(layer, [source.masked for source in sources])
    if isinstance(layer, RecurrentLayer):
        return _recurrent_flow(layer, shapes[0], sources[0].steps or shapes[0][1], masked=masked)
    shape = read(layer, layer.groups, renamed(layer, shapes)).shape
    timed = [source for source in sources if source.steps is not None]
    sequences = [source for source in timed if not source.final]
    if not layer.stepwise or not timed:
        return Flow((shape,), shape[1] if len(shape) > 2 else None, masked=masked)
    if sequences:
        return Flow((shape,), sequences[0].steps, masked=masked)
    same = all(source.steps == timed[0].steps for source in timed)
    return Flow((shape,), timed[0].steps if same else None, same, masked)


def renamed(layer: Layer, shapes: list[Shape]) -> list[Shape]:
    """The shapes of the inputs, with the layer's own name for the features.

    A layer that is called again has its names from the first call.
    """
    features = getattr(layer, "features", None)
    if features is None or layer.output_symbol == "e":
        return shapes
    return [(*shape[:-1], features) for shape in shapes]


def _recurrent_flow(layer: RecurrentLayer, shape: Shape, steps: Dim, *, masked: bool) -> Flow:
    n = shape[0]
    lead = (n, steps) if layer.return_sequences else (n,)
    symbols = [Symbol("h", (*lead, d.cell.output), []) for d in layer.directions]
    shapes = [symbol.shape for symbol in layer.join(SymbolicOps(), symbols)]
    joined = len(shapes)
    if layer.return_state:
        shapes += [(n, dim) for d in layer.directions for dim in d.cell.states.values()]
    return Flow(tuple(shapes), steps, not layer.return_sequences, masked, joined)


def _masked(layer: Layer, before: list[bool]) -> bool:
    """Whether the output has a mask."""
    return layer.makes_mask or bool(layer.mask([], [True if masked else None for masked in before]))


class Reading(NamedTuple):
    """A layer's equation read over symbolic shapes."""

    shape: Shape
    tape: list[SymbolicOperation]
    equations: list[tuple[str, str]]


def read(
    layer: Layer,
    groups: Any,
    shapes: list[Shape],
    texts: list[str] | None = None,
    name: str | None = None,
) -> Reading:
    """Read what a layer without recurrence does to tensors of ``shapes``.

    ``texts`` name the inputs, ``name`` the output. Raises InputError where the shapes do not
    fit the layer.
    """
    tape: list[SymbolicOperation] = []
    inputs = [
        Symbol(text, shape, tape)
        for text, shape in zip(texts or ["x"] * len(shapes), shapes, strict=True)
    ]
    weights = {
        w.key: Symbol(w.key + layer.index, w.dims, tape) for group in groups.values() for w in group
    }
    ops = SymbolicOps(layer.index)
    try:
        made = layer.call(ops, inputs, SimpleNamespace(**weights), Masks())
    except ShapeMismatchError as error:
        given = ", ".join(shape_text(shape) for shape in shapes)
        raise InputError(f"layer {layer.name!r} does not fit its input {given}: {error}") from None
    if name is not None and name != made.text:
        ops.named(name, made)
    return Reading(made.shape, tape, ops.equations)


def read_step(direction: Direction, x: str) -> Reading:
    """Read one time step of a recurrence; ``x`` is how its input is written."""
    tape: list[SymbolicOperation] = []
    n, index = Dim.named("N"), direction.index
    weights = {w.key: Symbol(w.key + index, w.dims, tape) for w in direction.weights}
    before = "{t+1}" if direction.reverse else "{t-1}"
    state = {
        key: Symbol(f"{key}{index}_{before}", (n, dim), tape)
        for key, dim in direction.cell.states.items()
    }
    ops, w = SymbolicOps(index), SimpleNamespace(**weights)
    xz = direction.cell.project(ops, Symbol(x, (n, direction.features), tape), w)
    step = direction.cell.step(ops, xz, state, w)
    return Reading(step.output.shape, tape, ops.equations)


def check_size(name: str, value: object) -> int:
    """``value`` as the size called ``name``.

    Raises InputError unless it is a whole number from 1 to 2**63 - 1.
    """
    wanted = f"{name} ({MEANING[name[0]]}) is a whole number of at least 1"
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InputError(f"{wanted}, got {_shown(value)}") from None
    if isinstance(value, bool) or number < 1:
        raise InputError(f"{wanted}, got {_shown(value)}")
    if number > LARGEST_SIZE:
        raise InputError(f"{wanted} and at most 2**63 - 1, got {_shown(number)}")
    return number


def _shown(value: object) -> str:
    """What was given, at a length that fits into a line."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        return "a number of more than 4300 digits"
    return text if len(text) <= 60 else f"{text[:30]}… ({len(text)} characters)"
