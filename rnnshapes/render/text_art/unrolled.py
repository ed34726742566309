"""A network as it flows, described for drawing: stages, and recurrences unrolled over time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from rnnshapes.network.graph import Flow, Network, Node, Tap
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.layers.rnn import Bidirectional, RecurrentLayer
from rnnshapes.network.summary import Inspection, LayerReport, Names, Numbers, state_name
from rnnshapes.ops.dims import Dim, Shape
from rnnshapes.ops.symbolic import Symbol, SymbolicOps
from rnnshapes.render.number_text import shapes_text, whole

#: What a name ends in where it is that of a time step; that of a turned sequence has a sum.
_STEP = re.compile(r"_(t|\{.*-t\})$")


class Tensor(NamedTuple):
    """What flows: its name, its shape in symbols and in numbers, and the stage that makes it.

    ``maker`` is the name of a stage or of an input.
    """

    name: str
    dims: tuple[str, ...]
    shape: Numbers
    maker: str = ""

    @property
    def shapes(self) -> str:
        """``(N, D) = (1, 3)``."""
        return shapes_text(self.dims, self.shape)


class Lane(NamedTuple):
    """One direction of a recurrence.

    ``states`` go from step to step (``h``, or ``h`` and ``c``; their shapes are those of one
    step), ``starts`` are what they start from: ``0``, or the state that is handed to them.
    ``output`` names the state that goes out; it is one of ``states``.
    """

    name: str
    reverse: bool
    states: tuple[Tensor, ...]
    starts: tuple[str, ...]
    output: str

    @property
    def end(self) -> int:
        """The place of its last step in what :meth:`Stage.shown` gives."""
        return 0 if self.reverse else -1


class Moment(NamedTuple):
    """A time step, and which step of its input the recurrence reads there."""

    step: Dim
    read: Dim


class Stage(NamedTuple):
    """One call of a layer: what goes in, what happens, what goes out.

    ``given`` are the states that it starts from, where these are not 0.

    ``lanes`` are there for a recurrence, as are ``steps``, its time axis in symbols, with
    ``number``, the number of them (``None`` where open), and ``step``, its input at one step.
    ``turned`` says that the input is read from its end: at step t comes what it holds at
    T-1-t. With ``sequences`` every step's output goes out, otherwise only the last that is
    read. ``joined`` is how the outputs of several lanes are made one, with
    places for their names: ``concatenate({0}, {1})``.

    ``rule`` is the equation of any other layer, ``notes`` say what else there is to know, and
    ``params`` is ``None`` where the count is open; a layer that is called again has none.
    """

    name: str
    label: str
    sources: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    params: int | None
    given: tuple[Tensor, ...] = ()
    rule: str = ""
    notes: tuple[str, ...] = ()
    lanes: tuple[Lane, ...] = ()
    steps: Dim = Dim.of(1)
    number: int | None = 1
    step: Tensor = Tensor("", (), ())
    turned: bool = False
    sequences: bool = False
    joined: str = ""

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """All that goes in."""
        return (*self.sources, *self.given)

    @property
    def output(self) -> Tensor:
        """The first of what goes out."""
        return self.outputs[0]

    def follows(self, before: Stage) -> bool:
        """Whether what goes out of the stage before is all that goes in here."""
        return self.inputs == before.outputs and len(self.inputs) == 1

    @property
    def title(self) -> str:
        """``lstm: LSTM(M)``."""
        return f"{self.name}: {self.label}"

    @property
    def parameters(self) -> str:
        """``180 parameters``; nothing where there are none."""
        if self.params == 0:
            return ""
        return "1 parameter" if self.params == 1 else f"{whole(self.params)} parameters"

    @property
    def each_step(self) -> str:
        """``each step reads x_t (N, D) = (1, 3) and hands on h_t, c_t (N, M) = (1, 5)``."""
        t = f"_{{{self.steps + -1}-t}}" if self.turned else "_t"
        groups: dict[str, list[str]] = {}
        for state in (state for lane in self.lanes for state in lane.states):
            groups.setdefault(state.shapes, []).append(f"{state.name}_t")
        handed = "; ".join(f"{', '.join(names)} {shapes}" for shapes, names in groups.items())
        return f"each step reads {self.step.name}{t} {self.step.shapes} and hands on {handed}"

    def shown(self, most: int) -> tuple[Moment | None, ...]:
        """The first steps and the last one, ``None`` for those between; all if there are few."""
        few = self.number is not None and self.number <= most
        whole = Dim.of(self.number or 0) if few else self.steps
        first = range(self.number or 0) if few else range(most - 1)
        moments = [self._moment(Dim.of(step), whole) for step in first]
        return tuple(moments) if few else (*moments, None, self._moment(whole + -1, whole))

    def _moment(self, step: Dim, whole: Dim) -> Moment:
        return Moment(step, whole + -1 + step * -1 if self.turned else step)


def at(name: str, step: Dim) -> str:
    """``h_0``, ``h_{T-1}``: as the equations write it."""
    index = str(step)
    return f"{name}_{index}" if index.isdigit() else f"{name}_{{{index}}}"


def stages(result: Inspection) -> tuple[Stage, ...]:
    """Every call of a layer, in the order in which data meets them.

    There are none for a network of which no graph is known.
    """
    network = result.network
    if not network.inputs:
        return ()
    names, reports = Names(network), {layer.name: layer for layer in result.layers}
    return tuple(
        _stage(network, place, names, reports[node.layer.name])
        for place, node in enumerate(network.nodes)
        if node.layer.name in reports
    )


def _stage(network: Network, place: int, names: Names, report: LayerReport) -> Stage:
    node = network.nodes[place]
    layer = node.layer
    plain = Stage(
        name=node.name,
        label=report.label,
        sources=tuple(_tensor(network, tap, names) for tap in node.sources),
        outputs=tuple(
            _tensor(network, Tap(place, output), names)
            for output in range(max(1, len(network.flows[place].shapes)))
        ),
        params=0 if node.again else report.params,
        given=tuple(_tensor(network, tap, names) for tap in node.initial),
    )
    again = ("called again, with the same weights",) if node.again else ()
    if isinstance(layer, RecurrentLayer):
        return _unrolled(network, place, names, plain._replace(notes=again))
    rule = "" if node.again else _rule(report, network.flows[place])
    return plain._replace(rule=rule, notes=(*layer.notes, *again))


def _tensor(network: Network, tap: Tap, names: Names) -> Tensor:
    shapes, maker = network.flow(tap).shapes, network.nodes[tap.node].name
    name = _STEP.sub("", names.of(tap))
    if not shapes:
        return Tensor(name, ("?",), (None,), maker)
    return _shaped(network, name, shapes[0], maker)


def _shaped(network: Network, name: str, shape: Shape, maker: str = "") -> Tensor:
    return Tensor(name, tuple(map(str, shape)), network.numbers(shape), maker)


def _rule(report: LayerReport, flow: Flow) -> str:
    """``y_hat = h W0 + b0``; with ``_t`` where it holds at each step."""
    if not report.equations:
        return ""
    text = " = ".join(report.equations[-1])
    return re.sub(r"_t\b", "", text) if flow.final or flow.steps is None else text


def _unrolled(network: Network, place: int, names: Names, plain: Stage) -> Stage:
    node = network.nodes[place]
    layer, tap = node.layer, node.sources[0]
    assert isinstance(layer, RecurrentLayer)
    source = network.flow(tap)
    steps = source.steps or source.shapes[0][1]
    read = names.of(tap)
    starts = [
        state_name(network, start) if network.nodes[start.node].layer.directions else given.name
        for start, given in zip(node.initial, plain.given, strict=True)
    ]
    lanes = []
    for name, direction in node.scans:
        own = len(direction.cell.states)
        given, starts = starts[:own], starts[own:]
        lanes.append(_lane(network, name, node, direction, given))
    return plain._replace(
        notes=(*plain.notes, *_notes(layer, lanes, plain.outputs, source, steps)),
        lanes=tuple(lanes),
        steps=steps,
        number=network.value(steps),
        step=_shaped(
            network, _STEP.sub("", read), (source.shapes[0][0], layer.directions[0].features)
        ),
        turned=read.endswith("-t}"),
        sequences=layer.return_sequences,
        joined=_joined(layer),
    )


def _lane(network: Network, name: str, node: Node, direction: Direction, given: list[str]) -> Lane:
    suffix, n = direction.index + node.again, Dim.named("N")
    states = direction.cell.states
    return Lane(
        name=name.rpartition("/")[2],
        reverse=direction.reverse,
        states=tuple(_shaped(network, key + suffix, (n, dim)) for key, dim in states.items()),
        starts=tuple(given or ["0"] * len(states)),
        output=direction.cell.output_state + suffix,
    )


def _joined(layer: RecurrentLayer) -> str:
    """The equation of what joins the lanes, read over places for their names."""
    n = Dim.named("N")
    symbols = [
        Symbol(f"{{{place}}}", (n, direction.cell.output), [])
        for place, direction in enumerate(layer.directions)
    ]
    outputs = layer.join(SymbolicOps(), symbols)
    return outputs[0].text if len(outputs) == 1 < len(symbols) else ""


def _notes(
    layer: RecurrentLayer,
    lanes: list[Lane],
    outputs: tuple[Tensor, ...],
    source: Flow,
    steps: Dim,
) -> Iterator[str]:
    """What the lanes alone do not show."""
    if isinstance(layer, Bidirectional) and layer.merge_mode is None:
        yield "both go on, each for itself"
    if layer.return_state:
        ends = [
            at(state.name, Dim.of(0) if lane.reverse else steps + -1)
            for lane in lanes
            for state in lane.states
        ]
        named = zip(outputs[-len(ends) :], ends, strict=True)
        said = ", ".join(f"{output.name} = {end}" for output, end in named)
        yield f"its last states go out, too: {said}"
    if layer.return_sequences and any(layer.reversed_outputs):
        yield "its sequence goes out in the order in which it was read, from the end"
    if source.masked:
        yield "a masked step leaves the states as they are"
