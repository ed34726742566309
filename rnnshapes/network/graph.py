"""Network: named sizes and a graph of layers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

from rnnshapes.errors import InputError
from rnnshapes.network.layers.base import Direction, Layer
from rnnshapes.network.layers.core import Input
from rnnshapes.network.sizes import SIZE_MEANINGS, remedy_for_unknown_size
from rnnshapes.network.symbolic import NodeShapes, evaluate_node
from rnnshapes.ops.dims import Dim, Shape
from rnnshapes.ops.interface import KERAS2_HARD_SIGMOID

#: Warning for a layer that Keras 1 or 2 trained with hard_sigmoid.
OLD_HARD_SIGMOID = (
    "hard_sigmoid is clip(0.2 z + 0.5, 0, 1), as in the Keras 1 or 2 that trained it; in Keras 3 "
    "it is clip(z/6 + 0.5, 0, 1), which differs by up to 0.083, and so does the output"
)
#: Warning for an unrolled layer in reverse: Keras does not reverse its mask with its outputs
#: (``keras/src/backend/tensorflow/rnn.py``).
UNROLLED_MASK = (
    "with unroll=True and a mask, Keras (3.15.1) sets the outputs of the direction in reverse to "
    "zero at the wrong steps; set unroll=False, which gives the right ones"
)
#: Bytes of one number, by dtype.
ITEM_BYTES = MappingProxyType({"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2})
#: Floating-point dtypes of 16 bits.
DTYPES_16BIT = ("float16", "bfloat16")
#: Floating-point dtypes in which a layer may compute.
COMPUTE_DTYPES = ("float32", "float64", *DTYPES_16BIT)


class Tap(NamedTuple):
    """One output of one node."""

    node: int
    output: int = 0


@dataclass(frozen=True)
class Node:
    """One call of a layer: its inputs, and the states from which it starts.

    ``name`` is that of the layer, with a number after it for any call but the first. ``sources``
    are the inputs. ``initial`` is empty where the states start at zero. ``mask_dropped`` says
    that Keras does not pass the mask of the input on to it, as beside initial states.
    """

    name: str
    layer: Layer
    sources: tuple[Tap, ...] = ()
    initial: tuple[Tap, ...] = ()
    mask_dropped: bool = False

    @property
    def primes(self) -> str:
        """A prime for each call of the layer but the first: ``h``, ``h'``."""
        number = self.name.removeprefix(self.layer.name).removeprefix(":")
        return "'" * (int(number) - 1) if number else ""

    @cached_property
    def scans(self) -> tuple[tuple[str, Direction], ...]:
        """Recurrences of this call, by the name that each has in the network."""
        suffix = self.name.removeprefix(self.layer.name)
        return tuple((direction.name + suffix, direction) for direction in self.layer.directions)

    @cached_property
    def group(self) -> str:
        """Name of the group of weights of a layer without recurrence."""
        return next(iter(self.layer.groups))

    @property
    def keeps_states(self) -> bool:
        """Whether each batch starts from the states after the one before."""
        return bool(getattr(self.layer, "stateful", False)) and not self.initial


@dataclass(frozen=True)
class Network:
    """Graph of layers. The first nodes are its inputs.

    ``declared_sizes`` holds N, T, D, each M and K with their values (``None`` where open).
    ``dtype`` is that of weights and computation in Keras. ``batch`` is the number of samples where
    the model fixes it, as layers that keep their states require. With ``uniform`` all layers
    compute in ``dtype``, whatever their own setting says. ``uncalled`` are layers that have
    weights, and no node.
    """

    declared_sizes: tuple[tuple[str, int | None], ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Tap, ...]
    dtype: str
    batch: int | None = None
    uniform: bool = False
    uncalled: tuple[Layer, ...] = ()

    @property
    def sizes(self) -> dict[str, int | None]:
        """Value of each size by name, in the order in which data meets them."""
        return dict(self._sizes)

    @cached_property
    def _sizes(self) -> dict[str, int | None]:
        values = dict(self.declared_sizes)
        for node in self.nodes:
            for name, (dim, length) in node.layer.computed_sizes.items():
                size = dim.value(values)
                values[name] = None if size is None else length(size)
        return values

    @property
    def inputs(self) -> tuple[Node, ...]:
        """Nodes where data enters."""
        return tuple(node for node in self.nodes if isinstance(node.layer, Input))

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Each layer once, without inputs, in the order in which data meets them."""
        by_name = {node.layer.name: node.layer for node in self.nodes}
        called = (layer for layer in by_name.values() if not isinstance(layer, Input))
        return (*called, *self.uncalled)

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Names of all groups of weights."""
        return tuple(name for layer in self.layers for name in layer.groups)

    @cached_property
    def widths(self) -> dict[str, dict[str, int]]:
        """Number of units of each state, by the name of the recurrence and of the state."""
        return {
            name: {key: self.count(dim) for key, dim in direction.cell.states.items()}
            for node in self.recurrent
            for name, direction in node.scans
        }

    @cached_property
    def recurrent(self) -> tuple[Node, ...]:
        """Nodes with a recurrence, in order."""
        return tuple(node for node in self.nodes if node.layer.directions)

    @property
    def unsupported_reasons(self) -> dict[str, str]:
        """Reason why each unsupported layer is not supported, by its name."""
        return {node.name: getattr(node.layer, "reason", "") for node in self.unsupported}

    @property
    def unsupported(self) -> tuple[Node, ...]:
        """Nodes whose layer is not supported."""
        return tuple(node for node in self.nodes if node.layer.declared_shapes is not None)

    @property
    def contradictions(self) -> dict[str, str]:
        """Reason why Keras itself would refuse the config of a layer, by its name."""
        return {
            node.name: reason
            for node, reason in zip(
                self.unsupported, self.unsupported_reasons.values(), strict=True
            )
            if getattr(node.layer, "contradicts", False)
        }

    @property
    def no_recurrence_reason(self) -> str:
        """Reason why there is nothing to trace in a network without a known recurrence."""
        if not self.inputs:
            return "the graph of its layers is not known"
        names = [f"{node.layer.name} ({node.layer.type})" for node in self.unsupported]
        if not names:
            return "this model has no recurrent layer whose steps are traced"
        return f"this model has no supported recurrent layer; not supported: {', '.join(names)}"

    @property
    def path_count(self) -> int:
        """Largest number of paths from any input to one node."""
        counts: list[int] = []
        for node in self.nodes:
            counts.append(sum(counts[tap.node] for tap in (*node.sources, *node.initial)) or 1)
        return max(counts, default=0)

    @cached_property
    def known_differences(self) -> dict[str, str]:
        """Warnings, by layer: why Keras or a runtime gives other numbers than the equations."""
        warnings = {
            layer.name: OLD_HARD_SIGMOID
            for layer in self.layers
            if KERAS2_HARD_SIGMOID in layer.activations
        }
        for node in self.recurrent:
            if differences := getattr(node.layer, "runtime_differences", ""):
                warnings[node.layer.name] = differences
            if self.is_masked(node) and getattr(node.layer, "zeroes_wrong_steps", False):
                warnings[node.layer.name] = UNROLLED_MASK
        return warnings

    @cached_property
    def not_in_keras(self) -> tuple[str, ...]:
        """Classes of the layers around cells that Keras does not have."""
        directions = [direction for node in self.recurrent for _, direction in node.scans]
        cells = [cell for d in directions for cell in d.cell.cells_by_suffix.values()]
        return tuple(dict.fromkeys(cell.class_name for cell in cells if not cell.in_keras))

    @property
    def not_buildable_reason(self) -> str:
        """Reason why Keras cannot build it from what is known; empty if it can."""
        if not self.inputs or not self.outputs:
            return "the graph of its layers is not known"
        if self.unsupported:
            node = self.unsupported[0]
            return f"layer {node.name!r} ({node.layer.type}) is not supported"
        if self.not_in_keras:
            return f"Keras has no {self.not_in_keras[0]}"
        open_sizes = {n for layer in self.layers for n in layer.count.names if not self.sizes[n]}
        return f"{min(open_sizes)} is unknown: give --{min(open_sizes)}" if open_sizes else ""

    @cached_property
    def head(self) -> tuple[int, ...]:
        """Positions of the nodes that no recurrence follows: they compute y_hat from h."""
        before: set[int] = set()
        for position in range(len(self.nodes) - 1, -1, -1):
            node = self.nodes[position]
            if position in before or node.layer.directions:
                before |= {tap.node for tap in (*node.sources, *node.initial)}
        return tuple(
            position
            for position, node in enumerate(self.nodes)
            if position not in before
            and not (node.layer.directions or node in self.unsupported or not node.sources)
        )

    @cached_property
    def node_shapes(self) -> tuple[NodeShapes, ...]:
        """Symbolic shapes of the outputs of each node."""
        shapes: list[NodeShapes] = []
        for node in self.nodes:
            sources = [shapes[tap.node].output(tap.output) for tap in node.sources]
            shapes.append(evaluate_node(node.layer, sources))
        return tuple(shapes)

    @property
    def output_shapes(self) -> NodeShapes:
        """Symbolic shape of the first output of the model."""
        return self.shapes_at(self.outputs[0])

    def shapes_at(self, tap: Tap) -> NodeShapes:
        """Return the symbolic shape of one output of one node."""
        return self.node_shapes[tap.node].output(tap.output)

    @property
    def returns_sequences(self) -> bool:
        """Whether the model returns an output at every time step, not only at the last."""
        return self.output_shapes.steps is not None and not self.output_shapes.final

    @property
    def is_causal(self) -> bool:
        """Whether no value at t depends on a step after t."""
        return self.only_recurrences_mix_steps and not any(
            direction.reverse for node in self.recurrent for _, direction in node.scans
        )

    @property
    def only_recurrences_mix_steps(self) -> bool:
        """Whether a value at t depends on other steps through recurrences alone."""
        return all(node.layer.stepwise or node.layer.directions for node in self.nodes)

    @property
    def runs_in_blocks(self) -> bool:
        """Whether a block of time steps can be computed without the steps after it."""
        alone = not any(node.initial for node in self.nodes) and self.batch is None
        timed = all(shapes.steps is not None for shapes in self.node_shapes)
        return self.is_causal and alone and timed

    @property
    def is_chain(self) -> bool:
        """Whether each layer feeds the next one and nothing else."""
        return len(self.outputs) == 1 and all(
            node.sources == ((position - 1, 0),) and not node.initial
            for position, node in enumerate(self.nodes)
            if position
        )

    @property
    def parameters(self) -> int:
        """Exact number of parameters; raises InputError where it depends on an open size."""
        return sum(self.count(layer.count) for layer in self.layers)

    def is_masked(self, node: Node) -> bool:
        """Return whether a recurrent layer gets the mask of its input."""
        return self.shapes_at(node.sources[0]).masked and not node.mask_dropped

    def precision(self, layer: Layer) -> str:
        """Return the floating-point dtype in which Keras computes a layer."""
        return self.dtype if self.uniform else layer.computes_in or self.dtype

    @property
    def precisions(self) -> tuple[str, ...]:
        """Floating-point dtypes in which Keras computes its layers, each once."""
        return tuple(dict.fromkeys(map(self.precision, self.layers))) or (self.dtype,)

    def with_dtype(self, dtype: str) -> Network:
        """Return the network with all layers computed in ``dtype``."""
        same = self.uniform and self.dtype == dtype
        return self if same else replace(self, dtype=dtype, uniform=True)

    def with_nodes(self, nodes: tuple[Node, ...]) -> Network:
        """Return the network with other options of its layers, which change no shape."""
        network = replace(self, nodes=nodes)
        vars(network).update(node_shapes=self.node_shapes, _sizes=self._sizes, groups=self.groups)
        return network

    @property
    def max_steps(self) -> int:
        """Largest number of time steps of any tensor."""
        return max(map(self.step_count, self.node_shapes), default=1)

    @property
    def scan_steps(self) -> int:
        """Number of steps of all recurrences for all samples; N where there is no recurrence."""
        counts = [self.steps_of(node) for node in self.recurrent for _ in node.scans]
        return self.size("N") * max(1, sum(counts))

    def steps_of(self, node: Node) -> int:
        """Return the number of time steps that a recurrent layer processes."""
        return self.step_count(self.shapes_at(node.sources[0]))

    def step_count(self, shapes: NodeShapes) -> int:
        """Return the number of time steps of an output; 1 where it has no time axis."""
        return 1 if shapes.steps is None else self.count(shapes.steps)

    def value(self, dim: Dim) -> int | None:
        """Return a symbolic size or count as a number, ``None`` where it is open."""
        return dim.value(self._sizes)

    def count(self, dim: Dim) -> int:
        """Return a symbolic size or count as a number; raise InputError where it is open."""
        value = dim.value(self._sizes)
        if value is None:
            open_size = next(name for name in sorted(dim.names) if self._sizes[name] is None)
            raise InputError(
                f"{dim} is unknown in this model: give {remedy_for_unknown_size(open_size)}"
            )
        return value

    def size(self, name: str) -> int:
        """Return the size called ``name``; raise InputError where it is open."""
        value = self._sizes[name]
        if value is None:
            raise InputError(
                f"{name} ({SIZE_MEANINGS[name[0]]}) is unknown in this model: "
                f"give {remedy_for_unknown_size(name)}"
            )
        return value

    def shape_numbers(self, shape: Shape) -> tuple[int | None, ...]:
        """Return a symbolic shape in numbers, ``None`` for an open axis."""
        return tuple(self.value(dim) for dim in shape)

    def with_sizes(self, **sizes: int) -> Network:
        """Return the network with values for open sizes; raise InputError for a fixed size."""
        for name, value in sizes.items():
            if self.sizes[name] not in (None, value):
                letter = name.rstrip("0123456789")
                remedy = f"; leave {letter} (--{letter}) out" if letter in SIZE_MEANINGS else ""
                raise InputError(f"{name} is {self.sizes[name]} in this model, not {value}{remedy}")
        declared = tuple({**dict(self.declared_sizes), **sizes}.items())
        network = replace(self, declared_sizes=declared)
        for name, size in network.sizes.items():
            if size is not None and size < 1:
                raise InputError(f"{name} would be {size}: the input has too few time steps")
        return network
