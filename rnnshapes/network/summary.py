"""Symbolic summary of a network: every shape, every count, and the formula of each.

All of it comes from the equations, evaluated on symbolic shapes. It needs neither NumPy nor
Keras, and no size is too large.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

from rnnshapes.cells.cell import Weight
from rnnshapes.network.graph import ITEM_BYTES, Network, Node, Tap
from rnnshapes.network.layers.base import Layer
from rnnshapes.network.layers.rnn import RecurrentLayer
from rnnshapes.network.naming import TensorNames, last_step, state_name
from rnnshapes.network.structure import Engine, Fact, FileCheck
from rnnshapes.network.symbolic import (
    NodeShapes,
    SymbolicEvaluation,
    evaluate_layer,
    evaluate_step,
)
from rnnshapes.ops.dims import Dim, Shape, dim_texts, shape_text, total
from rnnshapes.ops.symbolic import (
    ShapeOps,
    Symbol,
    SymbolicOperation,
    SymbolicOps,
    outside_brackets,
)
from rnnshapes.result import Result

if TYPE_CHECKING:
    from rnnshapes.network.weight_values import WeightValues

#: A shape in numbers, ``None`` where an axis is open.
Numbers = tuple[int | None, ...]


@dataclass(frozen=True)
class Gate:
    """Part of a weight that belongs to one gate.

    ``range`` is its part along ``axis``, [start, stop), stop excluded. In Keras that is the last
    axis.
    """

    name: str
    range: tuple[int, int]
    axis: int


@dataclass(frozen=True)
class WeightReport:
    """One weight: its Keras name, symbol, shape in symbols and numbers, and parameter count.

    A number that depends on an open size is ``None``. ``gates`` are the blocks of an axis, in
    order; ``rows`` name what the first axis holds.
    """

    name: str
    symbol: str
    dims: tuple[str, ...]
    shape: Numbers
    formula: str
    params: int | None
    dtype: str
    bytes: int | None
    gates: tuple[Gate, ...]
    rows: tuple[str, ...]


@dataclass(frozen=True)
class OperationReport:
    """One operation of an equation at one time step: ``(N, D)·(D, M) → (N, M)``.

    ``macs`` counts the multiply-adds of matrix products for all N samples, ``None`` where N is
    open.
    """

    label: str
    symbol: str
    operands: tuple[tuple[str, ...], ...]
    operand_shapes: tuple[Numbers, ...]
    dims: tuple[str, ...]
    shape: Numbers
    macs_formula: str
    macs: int | None


class EquationReport(NamedTuple):
    """One equation of a layer: ``name`` equals ``text``.

    Attributes:
        name: The named values, ``h_t``, or several separated by spaces.
        text: What they equal.
        shapes: The same in shapes, ``(1,3)·(3,5) + (5,) → (1,5)``; empty without a product of
            matrices.
        direction: The number of the recurrence in the layer; ``None`` for what no recurrence
            computes.
        pattern: The equation without the names of the layer and of its input, and as if time ran
            forwards: layers with equal patterns compute the same.
        once: Whether ``predict`` evaluates it once, and not at every step.
    """

    name: str
    text: str
    shapes: str = ""
    direction: int | None = None
    pattern: str = ""
    once: bool = False

    def __str__(self) -> str:
        return f"{self.name} = {self.text}"


class Note(NamedTuple):
    """A remark on a layer, and what it is about.

    ``topic`` is ``gates`` (and biases), ``time`` (in which order the steps are processed),
    ``warning``, or ``use`` (how and where the layer is called).
    """

    text: str
    topic: Literal["gates", "time", "warning", "use"]


@dataclass(frozen=True)
class LayerReport:
    """One layer: its weights, its equations with the shape of every operation, and its totals.

    ``sources`` are the nodes that feed it, ``tensor`` is the name of its output (``h_t``); a layer
    that is not called has neither.
    ``supported`` is false for a layer of which only the stored weights and shapes are known.
    ``macs_step`` counts the multiply-adds of one application to N samples, ``macs`` those of a
    whole ``predict``, which applies the layer ``applications`` times.
    """

    name: str
    type: str
    label: str
    sources: tuple[str, ...]
    activations: tuple[str, ...]
    input_dims: tuple[str, ...]
    input_shape: Numbers
    output_dims: tuple[str, ...]
    output_shape: Numbers
    weights: tuple[WeightReport, ...]
    formula: str
    params: int | None
    trainable_params: int | None
    bytes: int | None
    trainable: bool
    tensor: str
    equations: tuple[EquationReport, ...]
    operations: tuple[OperationReport, ...]
    notes: tuple[Note, ...]
    supported: bool
    applications: str
    macs_step: int | None
    macs_formula: str
    macs: int | None


@dataclass(frozen=True)
class KerasCheck:
    """Comparison of names, shapes and counts with Keras, on one engine."""

    engine: Engine
    facts: tuple[Fact, ...]

    @property
    def differences(self) -> tuple[Fact, ...]:
        """Facts in which Keras differs."""
        return tuple(fact for fact in self.facts if not fact.agrees)

    @property
    def agrees(self) -> bool:
        """Whether nothing differs, and something was compared."""
        return bool(self.facts) and not self.differences


@dataclass(frozen=True, repr=False)
class Inspection(Result):
    """Every shape and count of a network.

    ``keras`` is ``None`` without a comparison with Keras. If Keras could not build the network,
    ``not_built`` is the reason and ``log`` what Keras wrote to standard error. ``file`` is the
    comparison with a saved model, ``values`` a summary of its weights' values, if it was asked for.
    """

    schema = "rnnshapes.inspect/1"
    renderer = "inspection"

    network: Network
    layers: tuple[LayerReport, ...]
    formula: str
    params: int | None
    trainable: int | None
    bytes: int | None
    macs: int | None
    macs_formula: str
    file: FileCheck | None = None
    values: tuple[WeightValues, ...] | None = None
    keras: KerasCheck | None = None
    not_built: str | None = None
    log: str = ""

    @property
    def agrees(self) -> bool:
        """Whether the file and Keras, where compared, have the same names, shapes and counts."""
        checks = (self.file, self.keras)
        return all(check is None or check.agrees for check in checks)


def inspect_network(
    network: Network, stored: Mapping[str, Sequence[Weight]] = MappingProxyType({})
) -> Inspection:
    """Compute every shape and count of a network from its equations.

    Args:
        network: The network.
        stored: The arrays of layers in the layout of another framework than Keras, by layer.
    """
    names = TensorNames(network)
    layers = [_report_layer(network, layer, names) for layer in network.layers]
    layers = [_with_stored(network, layer, stored.get(layer.name)) for layer in layers]
    params = _sum(layer.params for layer in layers)
    formulas = [layer.formula for layer in layers if layer.weights]
    return Inspection(
        network=network,
        layers=tuple(layers),
        formula=" + ".join(formulas) or "0",
        params=params,
        trainable=_sum(layer.trainable_params for layer in layers),
        bytes=_bytes(network, params),
        macs=_sum(layer.macs for layer in layers),
        macs_formula=" + ".join(la.macs_formula for la in layers if la.macs_formula != "0") or "0",
    )


def _sum(counts: Iterable[int | None]) -> int | None:
    """Add counts; return ``None`` where one of them is open."""
    numbers = list(counts)
    return None if None in numbers else sum(number or 0 for number in numbers)


def _bytes(network: Network, count: int | None) -> int | None:
    return None if count is None else count * ITEM_BYTES[network.dtype]


def _report_layer(network: Network, layer: Layer, names: TensorNames) -> LayerReport:
    positions = [i for i, node in enumerate(network.nodes) if node.layer.name == layer.name]
    first = [(network.nodes[i], network.node_shapes[i].shapes) for i in positions[:1]]
    taps = [tap for node, _ in first for tap in (*node.sources, *node.initial)]
    source = network.shapes_at(taps[0]).shapes if taps else ()
    output = next((shapes[0] for _, shapes in first if shapes), ())
    evaluated = [_evaluate(network, position, names) for position in positions]
    operations, equations = evaluated[0] if evaluated else ([], [])
    params = network.value(layer.count)
    applications = [_applications(network, position) for position in positions]
    macs_each = [total(operation.macs for operation in tape) for tape, _ in evaluated]
    macs = total(n * times for n, times in zip(macs_each, applications, strict=True))
    return LayerReport(
        name=layer.name,
        type=layer.type,
        label=layer.label,
        sources=tuple(dict.fromkeys(network.nodes[tap.node].name for tap in taps)),
        activations=layer.activations,
        input_dims=dim_texts(source[0]) if source else (),
        input_shape=network.shape_numbers(source[0]) if source else (),
        output_dims=dim_texts(output),
        output_shape=network.shape_numbers(output),
        weights=tuple(
            _report_weight(network, group, weight, _symbol(layer, group, weight))
            for group, weights in layer.groups.items()
            for weight in weights
        ),
        formula=str(layer.count),
        params=params,
        trainable_params=_trainable_params(network, layer),
        bytes=_bytes(network, params),
        trainable=layer.trainable,
        tensor=names.of(Tap(positions[0])) if positions else "",
        equations=tuple(equations),
        operations=tuple(_report_operation(network, operation) for operation in operations),
        notes=(*_layer_notes(layer), *_notes(network, positions)),
        supported=layer.declared_shapes is None,
        applications=str(total(applications)),
        macs_step=network.value(total(operation.macs for operation in operations)),
        macs_formula=str(macs),
        macs=network.value(macs),
    )


def _symbol(layer: Layer, group: str, weight: Weight) -> str:
    return "" if layer.declared_shapes is not None else weight.key + layer.index_of(group)


def _trainable_params(network: Network, layer: Layer) -> int | None:
    """Count the trainable parameters; ``None`` where a file does not tell."""
    if layer.trainable_count is not None:
        return layer.trainable_count
    if not layer.trainable:
        return 0
    if layer.declared_shapes is not None:  # a file does not say which weights are trainable
        return None if network.value(layer.count) else 0
    learned = [w for group in layer.groups.values() for w in group if w.learned]
    return _sum(network.value(weight.count) for weight in learned)


def _with_stored(
    network: Network, report: LayerReport, stored: Sequence[Weight] | None
) -> LayerReport:
    """Return a report on a layer with the arrays that a file holds in place of Keras's."""
    if stored is None:
        return report
    weights = (_report_weight(network, report.name, w, w.key) for w in stored)
    return replace(report, weights=tuple(weights))


def _report_weight(network: Network, group: str, weight: Weight, symbol: str) -> WeightReport:
    params = network.value(weight.count)
    shape = network.shape_numbers(weight.dims)
    axis = len(shape) + weight.gate_axis
    width = (shape[axis] or 0) // max(1, len(weight.gates)) if shape else 0
    gates = [Gate(name, (i * width, (i + 1) * width), axis) for i, name in enumerate(weight.gates)]
    return WeightReport(
        name=f"{group}/{weight.name}",
        symbol=symbol,
        dims=dim_texts(weight.dims),
        shape=shape,
        formula=str(weight.count),
        params=params,
        dtype=network.dtype,
        bytes=_bytes(network, params),
        gates=tuple(gates),
        rows=weight.rows,
    )


def _report_operation(network: Network, operation: SymbolicOperation) -> OperationReport:
    return OperationReport(
        label=operation.label,
        symbol=operation.symbol,
        operands=tuple(dim_texts(shape) for shape in operation.operands),
        operand_shapes=tuple(network.shape_numbers(shape) for shape in operation.operands),
        dims=dim_texts(operation.shape),
        shape=network.shape_numbers(operation.shape),
        macs_formula=str(operation.macs),
        macs=network.value(operation.macs),
    )


def _evaluate(
    network: Network, position: int, names: TensorNames
) -> tuple[list[SymbolicOperation], list[EquationReport]]:
    """Return the operations of a node at one time step, and its equations."""
    node, shapes = network.nodes[position], network.node_shapes[position]
    layer = node.layer
    if layer.declared_shapes is not None:
        return [], []
    if isinstance(layer, RecurrentLayer):
        return _evaluate_recurrent(network, position, layer, names)
    sources = [network.shapes_at(tap) for tap in node.sources]
    stepped = layer.stepwise and shapes.steps is not None
    once = not stepped or shapes.final
    inputs = [source.at_step if stepped else source.shapes[0] for source in sources]
    inputs = list(layer.own_shapes(inputs))
    name_of = names.at_end if layer.stepwise else names.whole
    texts, name = list(map(name_of, node.sources)), name_of(Tap(position))
    if layer.last_step:
        texts = [f"{names.bases[tap.node]}_{{{shapes.steps}-1}}" for tap in node.sources]

    def evaluate(ops: SymbolicOps) -> SymbolicEvaluation:
        return evaluate_layer(layer, layer.groups, inputs, texts, name, ops)

    evaluation = evaluate(SymbolicOps(layer.index))
    in_shapes = evaluate(ShapeOps(partial(_short_shape, network), layer.index))
    equations = [
        EquationReport(*equation, shapes=_product_shapes(*shapes), once=once)
        for equation, shapes in zip(evaluation.equations, in_shapes.equations, strict=True)
    ]
    return evaluation.operations, equations


def _evaluate_recurrent(
    network: Network, position: int, layer: RecurrentLayer, names: TensorNames
) -> tuple[list[SymbolicOperation], list[EquationReport]]:
    """Return the operations of one step in each direction, and of joining the outputs."""
    operations: list[SymbolicOperation] = []
    equations: list[EquationReport] = []
    x = names.of(network.nodes[position].sources[0])
    for number, direction in enumerate(layer.directions):
        evaluation = evaluate_step(direction, x)
        in_shapes = evaluate_step(direction, x, ShapeOps(partial(_short_shape, network)))
        pattern = evaluate_step(replace(direction, index="", reverse=False), "x_t")
        operations += evaluation.operations
        equations += [
            EquationReport(*equation, _product_shapes(*shapes), number, " = ".join(neutral))
            for equation, shapes, neutral in zip(
                evaluation.equations, in_shapes.equations, pattern.equations, strict=True
            )
        ]
    if len(layer.directions) > 1:
        shapes = network.node_shapes[position]
        joining: list[SymbolicOperation] = []
        n, steps = Dim.named("N"), shapes.steps
        symbols = [
            Symbol(
                f"{d.cell.output_state}{d.index}_{last_step(d, steps) if shapes.final else 't'}",
                (n, d.cell.output),
                joining,
            )
            for d in layer.directions
        ]
        outputs = layer.join(SymbolicOps(), symbols)
        if len(outputs) == 1:
            ops = SymbolicOps()
            ops.named(names.at_end(Tap(position)), outputs[0])
            equations.append(EquationReport(*ops.equations[0], once=shapes.final))
        operations += joining
    return operations, equations


def _short_shape(network: Network, shape: Shape) -> str:
    """Return ``(1,5)``, or ``(N,M)`` where a size is open."""
    numbers = network.shape_numbers(shape)
    return shape_text(dim_texts(shape) if None in numbers else numbers).replace(", ", ",")


def _product_shapes(result: str, text: str) -> str:
    """Return an equation in shapes, without the activation around it.

    Args:
        result: The shape of the named value.
        text: What it equals, with each tensor written as its shape.

    Returns:
        ``(1,3)·(3,5) + (5,) → (1,5)``; empty for an equation without a product of matrices.
    """
    if ") (" not in text:
        return ""
    function, _, argument = text.partition("(")
    if outside_brackets(text) == f"{function})":
        text = argument.removesuffix(")")
    return f"{text.replace(') (', ')·(')} → {result}"


def _applications(network: Network, position: int) -> Dim:
    """Return how often ``predict`` applies a node to N samples: at each step, or once."""
    node, shapes = network.nodes[position], network.node_shapes[position]
    at_each = node.layer.directions or (node.layer.stepwise and not shapes.final)
    return (shapes.steps if at_each else None) or Dim.of(1)


def _layer_notes(layer: Layer) -> Iterator[Note]:
    """Yield the layer's own notes."""
    about_gates = [note for cell in layer.cells for note in cell.notes]
    about_gates += layer.directions[0].cell.notes if layer.directions else ()
    for text in layer.notes:
        other: Literal["warning", "use"] = "use" if layer.declared_shapes is None else "warning"
        yield Note(text, "gates" if text in about_gates else other)


def _notes(network: Network, positions: list[int]) -> Iterator[Note]:
    """Yield what a reader has to know about where and how a layer is called."""
    if not positions:
        return
    node, shapes = network.nodes[positions[0]], network.node_shapes[positions[0]]
    if node.layer.name in network.known_differences:
        yield Note(network.known_differences[node.layer.name], "warning")
    if len(positions) > 1:
        text = f"called {len(positions)} times, with the same weights: they count once"
        yield Note(text, "use")
    if node.initial and node.layer.directions:
        states = _initial_states_text(network, node, shapes)
        yield Note(f"its initial states come from another layer: {states}", "use")
    for _, direction in node.scans:
        if direction.reverse:
            subject = direction.name.removeprefix(f"{node.layer.name}/")
            subject = "" if subject == node.layer.name else f"{subject} "
            text = f"{subject}processes the sequence in reverse, from t = {shapes.steps}-1 to 0"
            yield Note(text, "time")
    if node.layer.directions and network.shapes_at(node.sources[0]).masked:
        text = f"a masked step does not change its states; {_masked_output_text(node.layer)}"
        if node.mask_dropped:
            text = "Keras passes no mask to it beside initial states: masked steps count"
        yield Note(text, "use")
    if shapes.final and any(direction.reverse for _, direction in node.scans):
        ends = ", ".join(
            f"{d.cell.output_state}{d.index}_{last_step(d, shapes.steps)}" for _, d in node.scans
        )
        both = ", where each direction ends" if len(node.scans) > 1 else ""
        yield Note(f"the next layer receives {ends}{both}", "time")


def _initial_states_text(network: Network, node: Node, shapes: NodeShapes) -> str:
    """Return ``h2_{-1} = h1_{T-1}, …``: from which states a recurrence starts."""
    starts = [
        f"{key}{d.index}_{{{shapes.steps if d.reverse else -1}}}"
        for d in node.layer.directions
        for key in d.cell.states
    ]
    others = [state_name(network, tap) for tap in node.initial]
    return ", ".join(f"{a} = {b}" for a, b in zip(starts, others, strict=False))


def _masked_output_text(layer: Layer) -> str:
    assert isinstance(layer, RecurrentLayer)
    if layer.zero_output_for_mask:
        return "its output there is 0"
    return "its output there repeats the last unmasked step"
