"""What ``inspect`` answers: every shape, every count, and where each comes from.

Everything here is derived by reading the equations over symbolic shapes; neither NumPy nor
Keras is needed, and no size is too large.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rnnshapes.cells.cell import Weight
from rnnshapes.network.graph import ITEM_BYTES, Network, Node, Tap, read, read_step, renamed
from rnnshapes.network.layers.base import Layer
from rnnshapes.network.layers.rnn import RecurrentLayer
from rnnshapes.network.structure import Engine, Fact, FileCheck
from rnnshapes.ops import symbolic
from rnnshapes.ops.dims import Dim, Shape, total
from rnnshapes.ops.symbolic import Symbol, SymbolicOps
from rnnshapes.result import Result

#: A shape in numbers, ``None`` where an axis is open.
Numbers = tuple[int | None, ...]


@dataclass(frozen=True)
class Gate:
    """The columns of a weight that belong to one gate: ``columns[0]`` up to ``columns[1]``."""

    name: str
    columns: tuple[int, int]


@dataclass(frozen=True)
class WeightReport:
    """One weight: its Keras name, symbol, shape in symbols and numbers, and its count.

    What depends on a size that is open is ``None``.

    ``gates`` are the parts of its last axis, in order; ``rows`` name what its first axis holds.
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
class Operation:
    """One operation of an equation at one time step: ``(N, D)·(D, M) → (N, M)``.

    ``macs`` counts multiply-adds of matrix products for all N samples, ``None`` where N is open.
    """

    label: str
    symbol: str
    operands: tuple[tuple[str, ...], ...]
    operand_shapes: tuple[Numbers, ...]
    dims: tuple[str, ...]
    shape: Numbers
    macs_formula: str
    macs: int | None


@dataclass(frozen=True)
class LayerReport:
    """One layer: its weights, its equation with every shape in it, and its totals.

    ``sources`` name what feeds it, ``tensor`` is what its output is called (``h_t``);
    ``equations`` say what each named value equals, in order; ``notes`` tell of options that
    change no equation. ``macs_step`` counts the multiply-adds of one application to N samples,
    ``macs`` those of a whole ``predict``, in which the layer is applied ``applications`` times.
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
    equations: tuple[tuple[str, str], ...]
    operations: tuple[Operation, ...]
    notes: tuple[str, ...]
    derived: bool
    applications: str
    macs_step: int | None
    macs_formula: str
    macs: int | None


@dataclass(frozen=True)
class KerasCheck:
    """Whether Keras, on this engine, has the same names, shapes and counts."""

    engine: Engine
    facts: tuple[Fact, ...]

    @property
    def differences(self) -> tuple[Fact, ...]:
        """The facts in which Keras differs."""
        return tuple(fact for fact in self.facts if not fact.agrees)

    @property
    def agrees(self) -> bool:
        """Whether nothing differs, and something was compared."""
        return bool(self.facts) and not self.differences


@dataclass(frozen=True, repr=False)
class Inspection(Result):
    """Every shape and count of a network.

    ``keras`` is ``None`` where Keras was not asked or could not answer; ``not_built`` then says
    why, if it was asked, and ``log`` what was written to standard error. ``file`` is there for a
    saved model.
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
    keras: KerasCheck | None = None
    not_built: str | None = None
    log: str = ""

    @property
    def agrees(self) -> bool:
        """Whether neither the file nor Keras, if asked, has anything else than is derived."""
        checks = (self.file, self.keras)
        return all(check is None or check.agrees for check in checks)


def inspect_network(network: Network) -> Inspection:
    """Every weight's shape and count, and every shape that flows, from the algebra alone."""
    names = Names(network)
    layers = [_report(network, layer, names) for layer in network.layers]
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
    """``None`` where one of them is open."""
    found = list(counts)
    return None if None in found else sum(count or 0 for count in found)


def _bytes(network: Network, count: int | None) -> int | None:
    return None if count is None else count * ITEM_BYTES[network.dtype]


def _output_number(network: Network, place: int) -> str | None:
    """Which output a node is, counted from 1 where there are several."""
    found = [i for i, tap in enumerate(network.outputs, 1) if tap.node == place]
    return None if not found else str(found[0]) if len(network.outputs) > 1 else ""


class Names:
    """How the tensors of a network are written: x_t, h_t, y_hat_t; h1_t, h2_t in a stack."""

    def __init__(self, network: Network) -> None:
        self.network = network
        plain = [node for node in network.nodes if not node.layer.directions]
        totals = Counter(node.layer.output_symbol for node in plain)
        used: Counter[str] = Counter()
        self.bases: list[str] = []
        for place, node in enumerate(network.nodes):
            layer = node.layer
            if layer.directions:
                cell = layer.directions[0].cell
                base = f"{cell.output_state}{layer.index}"
            elif (which := _output_number(network, place)) is not None and node.sources:
                base = f"y_hat{which}"
            elif layer.output_symbol == "":
                base = self.bases[node.sources[0].node]
            elif layer.output_symbol == "y":
                base = f"y{layer.index}"
            else:
                used[layer.output_symbol] += 1
                number = used[layer.output_symbol] if totals[layer.output_symbol] > 1 else ""
                base = f"{layer.output_symbol}{number}"
            self.bases.append(base + node.again)

    def of(self, tap: Tap) -> str:
        """What an output of a node is called, at time step t if it has one."""
        flow, layer = self.network.flows[tap.node], self.network.nodes[tap.node].layer
        if flow.joined > 1 and tap.output < flow.joined:  # each direction for itself
            direction = layer.directions[tap.output]
            again = self.network.nodes[tap.node].again
            return f"{direction.cell.output_state}{direction.index}{again}_t"
        if tap.output:
            return f"{self.bases[tap.node]}[{tap.output}]"
        if flow.steps is not None and not flow.final and layer.directions:
            turned = len(layer.directions) == 1 and layer.directions[0].reverse
            if turned:
                return f"{self.bases[tap.node]}_{{{flow.steps}-1-t}}"
        return self.bases[tap.node] + ("_t" if flow.steps is not None else "")


def _report(network: Network, layer: Layer, names: Names) -> LayerReport:
    nodes = enumerate(network.nodes)
    places = [place for place, node in nodes if node.layer.name == layer.name]
    node, flow = network.nodes[places[0]], network.flows[places[0]]
    source = network.flow(node.sources[0]).shapes if node.sources else ()
    output = flow.shapes[0] if flow.shapes else ()
    readings = [_read(network, place, names) for place in places]
    tape, equations = readings[0]
    params = network.value(layer.count)
    times = total(_applications(network, place) for place in places)
    each = [total(made.macs for made in read) for read, _ in readings]
    macs = total(n * _applications(network, at) for n, at in zip(each, places, strict=True))
    reports = [
        _weight(network, layer, group, weight)
        for group, weights in layer.groups.items()
        for weight in weights
    ]
    learned = [w for group in layer.groups.values() for w in group if w.learned]
    trainable = _sum(network.value(w.count) for w in learned) if layer.trainable else 0
    trainable = trainable if layer.trainable_count is None else layer.trainable_count
    if layer.declared_shapes is not None and layer.trainable_count is None and layer.trainable:
        trainable = None if params else 0  # a file does not say which of them are trained
    return LayerReport(
        name=layer.name,
        type=layer.type,
        label=layer.label,
        sources=tuple(
            dict.fromkeys(network.nodes[tap.node].name for tap in (*node.sources, *node.initial))
        ),
        activations=layer.activations,
        input_dims=_texts(source[0]) if source else (),
        input_shape=network.numbers(source[0]) if source else (),
        output_dims=_texts(output),
        output_shape=network.numbers(output),
        weights=tuple(reports),
        formula=str(layer.count),
        params=params,
        trainable_params=trainable,
        bytes=_bytes(network, params),
        trainable=layer.trainable,
        tensor=names.of(Tap(places[0])),
        equations=tuple(equations),
        operations=tuple(_operation(network, made) for made in tape),
        notes=(*layer.notes, *_notes(network, places)),
        derived=layer.declared_shapes is None,
        applications=str(times),
        macs_step=network.value(each[0]),
        macs_formula=str(macs),
        macs=network.value(macs),
    )


def _notes(network: Network, places: list[int]) -> Iterator[str]:
    """What has to be said of where and how a layer is called."""
    node, flow = network.nodes[places[0]], network.flows[places[0]]
    if node.layer.name in network.old_meanings:
        yield network.old_meanings[node.layer.name]
    if len(places) > 1:
        yield f"called {len(places)} times, with the same weights: they count once"
    if node.initial:
        starts = [
            f"{key}{d.index}_{{{flow.steps if d.reverse else -1}}}"
            for d in node.layer.directions
            for key in d.cell.states
        ]
        given = [state_name(network, tap) for tap in node.initial]
        pairs = zip(starts, given, strict=False)
        yield f"its states start from others: {', '.join(f'{a} = {b}' for a, b in pairs)}"
    for _, direction in node.scans:
        if direction.reverse:
            who = direction.name.removeprefix(f"{node.layer.name}/")
            who = "" if who == node.layer.name else f"{who} "
            yield f"{who}reads from t = {flow.steps}-1 down to 0"
    if node.layer.directions and network.flows[node.sources[0].node].masked:
        yield f"a masked step leaves its states as they are; {_put_out(node.layer)}"
    backwards = [direction for _, direction in node.scans if direction.reverse]
    if backwards and flow.final:
        ends = ", ".join(
            f"{d.cell.output_state}{d.index}_0"
            if d.reverse
            else f"{d.cell.output_state}{d.index}_{{{flow.steps}-1}}"
            for _, d in node.scans
        )
        both = ", where each direction ends" if len(node.scans) > 1 else ""
        yield f"the model itself goes on from {ends}{both}"


def _put_out(layer: Layer) -> str:
    """What a layer answers at a masked step."""
    assert isinstance(layer, RecurrentLayer)
    if layer.zero_output_for_mask:
        return "its output there is 0"
    return "its output there is that of the step read before"


def state_name(network: Network, tap: Tap) -> str:
    """How a state that another layer hands on is written: ``c1_{T-1}``."""
    node, flow = network.nodes[tap.node], network.flows[tap.node]
    states = [(key, d) for d in node.layer.directions for key in d.cell.states]
    place = tap.output - (len(flow.shapes) - len(states))
    if tap.output == 0 or not 0 <= place < len(states):
        return node.name
    key, direction = states[place]
    last = "0" if direction.reverse else f"{{{flow.steps}-1}}"
    return f"{key}{direction.index}{node.again}_{last}"


def _weight(network: Network, layer: Layer, group: str, weight: Weight) -> WeightReport:
    params = network.value(weight.count)
    shape = network.numbers(weight.dims)
    width = (shape[-1] or 0) // max(1, len(weight.gates)) if shape else 0
    gates = [Gate(name, (i * width, (i + 1) * width)) for i, name in enumerate(weight.gates)]
    return WeightReport(
        name=f"{group}/{weight.name}",
        symbol="" if layer.declared_shapes is not None else weight.key + layer.index_of(group),
        dims=_texts(weight.dims),
        shape=shape,
        formula=str(weight.count),
        params=params,
        dtype=network.dtype,
        bytes=_bytes(network, params),
        gates=tuple(gates),
        rows=weight.rows,
    )


def _read(
    network: Network, place: int, names: Names
) -> tuple[list[symbolic.SymbolicOperation], list[tuple[str, str]]]:
    """The operations of a node at one time step, and what each named value equals."""
    node, flow = network.nodes[place], network.flows[place]
    layer = node.layer
    if layer.declared_shapes is not None:
        return [], []
    if isinstance(layer, RecurrentLayer):
        return _read_recurrent(node, names.of(node.sources[0]), names.of(Tap(place)))
    inputs = []
    for tap in node.sources:
        source = network.flow(tap)
        stepped = layer.stepwise and flow.steps is not None
        inputs.append(source.at_step if stepped else source.shapes[0])
    inputs = renamed(layer, inputs)
    texts = [names.of(tap) if layer.stepwise else names.bases[tap.node] for tap in node.sources]
    reading = read(layer, layer.groups, inputs, texts, names.of(Tap(place)))
    return reading.tape, reading.equations


def _read_recurrent(
    node: Node, x: str, name: str
) -> tuple[list[symbolic.SymbolicOperation], list[tuple[str, str]]]:
    layer = node.layer
    assert isinstance(layer, RecurrentLayer)
    tape: list[symbolic.SymbolicOperation] = []
    equations: list[tuple[str, str]] = []
    for direction in layer.directions:
        made = read_step(direction, x)
        tape += made.tape
        equations += made.equations
    if len(layer.directions) > 1:
        joined: list[symbolic.SymbolicOperation] = []
        n = Dim.named("N")
        ends = [
            Symbol(f"{d.cell.output_state}{d.index}_t", (n, d.cell.output), joined)
            for d in layer.directions
        ]
        outputs = layer.join(SymbolicOps(), ends)
        if len(outputs) == 1:
            ops = SymbolicOps()
            ops.named(name, outputs[0])
            equations += ops.equations
        tape += joined
    return tape, equations


def _applications(network: Network, place: int) -> Dim:
    """How often ``predict`` applies a node to N samples: at each step, or once."""
    node, flow = network.nodes[place], network.flows[place]
    if node.layer.directions:
        return flow.steps or Dim.of(1)
    once = flow.steps is None or flow.final or not node.layer.stepwise
    return Dim.of(1) if once else flow.steps or Dim.of(1)


def _operation(network: Network, made: symbolic.SymbolicOperation) -> Operation:
    return Operation(
        label=made.label,
        symbol=made.symbol,
        operands=tuple(_texts(shape) for shape in made.operands),
        operand_shapes=tuple(network.numbers(shape) for shape in made.operands),
        dims=_texts(made.shape),
        shape=network.numbers(made.shape),
        macs_formula=str(made.macs),
        macs=network.value(made.macs),
    )


def _texts(shape: Shape) -> tuple[str, ...]:
    return tuple(str(dim) for dim in shape)
