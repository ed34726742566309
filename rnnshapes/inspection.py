"""What ``inspect`` answers: every shape, every count, and where each comes from.

Everything here is derived by reading the equations over symbolic shapes; neither NumPy nor
Keras is needed, and no size is too large.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace

from rnnshapes import comparison, reference
from rnnshapes.algebra import shapes
from rnnshapes.algebra.dims import Dim, Shape, total
from rnnshapes.algebra.shapes import ShapeOps, Symbol
from rnnshapes.cells.cell import Weight
from rnnshapes.comparison import Fact
from rnnshapes.display import Displayed
from rnnshapes.errors import CannotRunError
from rnnshapes.layers import Layer
from rnnshapes.network import ITEM_BYTES, Network
from rnnshapes.reference import Engine, Model

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

    ``gates`` are the parts of its last axis, in order; ``rows`` name what its first axis holds.
    """

    name: str
    symbol: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    formula: str
    params: int
    dtype: str
    bytes: int
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

    ``tensor`` is what its output at t is called (``h_t``); ``equations`` say what each named
    value equals, in order.
    ``macs_step`` counts the multiply-adds of one application to N samples, ``macs`` those of
    a whole ``predict``, in which the layer is applied ``applications`` times.
    """

    name: str
    type: str
    activation: str
    input_dims: tuple[str, ...]
    input_shape: Numbers
    output_dims: tuple[str, ...]
    output_shape: Numbers
    weights: tuple[WeightReport, ...]
    formula: str
    params: int
    bytes: int
    trainable: bool
    tensor: str
    equations: tuple[tuple[str, str], ...]
    operations: tuple[Operation, ...]
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
class Inspection(Displayed):
    """Every shape and count of a network.

    ``keras`` is ``None`` where Keras was not asked or could not answer; ``not_built`` then says
    why, if it was asked, and ``log`` what was written to standard error.
    """

    schema = "rnnshapes.inspect/1"

    network: Network
    layers: tuple[LayerReport, ...]
    formula: str
    params: int
    trainable: int
    bytes: int
    macs: int | None
    macs_formula: str
    keras: KerasCheck | None = None
    not_built: str | None = None
    log: str = ""

    def against(self, model: Model) -> Inspection:
        """The same with what Keras says of ``model``."""
        facts = comparison.facts(self.network, reference.built(model, self.network))
        return replace(self, keras=KerasCheck(reference.engine(), facts))

    def checked(self) -> Inspection:
        """The same with what Keras says of this network, or the reason why it cannot say."""
        try:
            return self.against(reference.build(self.network))
        except CannotRunError as error:
            return replace(self, not_built=str(error), log=error.log)


def inspect_network(network: Network) -> Inspection:
    """Every weight's shape and count, and every shape that flows, from the algebra alone."""
    names = _Names(network)
    layers = []
    shape = network.input_shape
    for layer in network.layers:
        layers.append(_report(network, layer, shape, names))
        shape = layer.output_shape(shape)
    macs = [layer.macs for layer in layers if layer.macs is not None]
    params = sum(layer.params for layer in layers)
    return Inspection(
        network=network,
        layers=tuple(layers),
        formula=" + ".join(layer.formula for layer in layers),
        params=params,
        trainable=sum(layer.params for layer in layers if layer.trainable),
        bytes=params * ITEM_BYTES[network.dtype],
        macs=sum(macs) if len(macs) == len(layers) else None,
        macs_formula=" + ".join(layer.macs_formula for layer in layers),
    )


class _Names:
    """How the tensors of a network are written: x_t, h_t, y_hat_t; h1_t, h2_t in a stack."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def layer_input(self, layer: Layer) -> str:
        position = self.network.layers.index(layer)
        return "x_t" if position == 0 else self.layer_output(self.network.layers[position - 1])

    def layer_output(self, layer: Layer) -> str:
        if layer.states:
            return self.state(layer, layer.states[0], "t")
        return "y_hat_t" if layer is self.network.layers[-1] else f"y{layer.index}_t"

    def state(self, layer: Layer, state: str, time: str) -> str:
        subscript = time if len(time) == 1 else f"{{{time}}}"
        return f"{state}{layer.index}_{subscript}"


def _report(network: Network, layer: Layer, shape: Shape, names: _Names) -> LayerReport:
    reading = _read(layer, names)
    params = network.count(layer.count)
    output = layer.output_shape(shape)
    macs_step = total(made.macs for made in reading.tape)
    macs = macs_step * _applications(network, layer)
    return LayerReport(
        name=layer.name,
        type=layer.type,
        activation=layer.activation,
        input_dims=_texts(shape),
        input_shape=network.numbers(shape),
        output_dims=_texts(output),
        output_shape=network.numbers(output),
        weights=tuple(_weight(network, layer, weight) for weight in layer.weights),
        formula=str(layer.count),
        params=params,
        bytes=params * ITEM_BYTES[network.dtype],
        trainable=layer.trainable,
        tensor=names.layer_output(layer),
        equations=tuple(reading.equations),
        operations=tuple(_operation(network, made) for made in reading.tape),
        applications=str(_applications(network, layer)),
        macs_step=network.value(macs_step),
        macs_formula=str(macs),
        macs=network.value(macs),
    )


def _weight(network: Network, layer: Layer, weight: Weight) -> WeightReport:
    params = network.count(weight.count)
    shape = tuple(network.count(dim) for dim in weight.dims)
    width = shape[-1] // max(1, len(weight.gates))
    gates = [Gate(name, (i * width, (i + 1) * width)) for i, name in enumerate(weight.gates)]
    return WeightReport(
        name=f"{layer.name}/{weight.name}",
        symbol=layer.symbol(weight),
        dims=_texts(weight.dims),
        shape=shape,
        formula=str(weight.count),
        params=params,
        dtype=network.dtype,
        bytes=params * ITEM_BYTES[network.dtype],
        gates=tuple(gates),
        rows=weight.rows,
    )


@dataclass(frozen=True)
class _Reading:
    """A layer's equation at one time step, read over symbolic shapes."""

    tape: list[shapes.Operation]
    equations: list[tuple[str, str]]


def _read(layer: Layer, names: _Names) -> _Reading:
    tape: list[shapes.Operation] = []
    n = Dim.named("N")
    weights = {w.key: Symbol(layer.symbol(w), w.dims, tape) for w in layer.weights}
    x = Symbol(names.layer_input(layer), (n, layer.features), tape)
    state = {
        key: Symbol(names.state(layer, key, "t-1"), (n, layer.units), tape) for key in layer.states
    }
    ops = ShapeOps(layer.index)
    output = layer.at_step(ops, x, state, SimpleNamespace(**weights)).output
    if not layer.states:
        ops.named(names.layer_output(layer), output)
    return _Reading(tape, ops.equations)


def _applications(network: Network, layer: Layer) -> Dim:
    """How often ``predict`` applies the layer: T times, or once behind the last state."""
    once = layer in network.head and not network.returns_sequences
    return Dim.of(1) if once else Dim.named("T")


def _operation(network: Network, made: shapes.Operation) -> Operation:
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
