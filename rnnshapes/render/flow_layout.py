"""Layout of the flow picture: which boxes, arrows and texts it has, and in which order.

:func:`layout` works this out once, from a network. The backends, ``text_art/flow.py`` with
characters and ``plots/flow.py`` with Matplotlib, decide only where a thing stands and in which
colour.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from textwrap import wrap
from typing import NamedTuple

from rnnshapes.network.graph import Network, Node, Tap
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.layers.rnn import Bidirectional, RecurrentLayer
from rnnshapes.network.naming import TensorNames, state_name
from rnnshapes.network.summary import Inspection, LayerReport, Numbers
from rnnshapes.network.symbolic import NodeShapes
from rnnshapes.ops.dims import Dim, Shape
from rnnshapes.ops.symbolic import Symbol, SymbolicOps
from rnnshapes.render.number_text import count_text, shapes_text

#: How the name of a time step's value ends; in a reversed sequence the index is a sum.
_STEP_INDEX = re.compile(r"_(t|\{.*-t\})$")

#: The index of the last step.
_LAST_STEP = re.compile(r"_\{(T\d*)-1\}")


class FlowTensor(NamedTuple):
    """A tensor between layers, with its shape in symbols and in numbers.

    ``producer`` is the name of the box, or of the network's input, that it comes from.
    """

    name: str
    dims: tuple[str, ...]
    shape: Numbers
    producer: str

    @property
    def shapes(self) -> str:
        """``(N, D) = (1, 3)``."""
        return shapes_text(self.dims, self.shape)


class BoxArrow(NamedTuple):
    """An arrow into or out of a box: the tensor's name and shapes, and where it comes from.

    ``origin`` is ``from lstm``, or empty where the picture shows it.
    """

    name: str
    shapes: str
    origin: str = ""


class StepBox(NamedTuple):
    """A time step of a recurrence, what goes in and what goes out: ``0``, ``x_0``, ``h_0``.

    ``output`` is empty where nothing leaves the recurrence at this step.
    """

    step: str
    input: str
    output: str


class StateArrows(NamedTuple):
    """A state on its way from step to step, from left to right.

    ``labels`` has one for the arrow between each box, or dots, and the next; ``initial`` is what
    the state starts from: ``0``, or the name of a state.
    """

    initial: str
    labels: tuple[str, ...]


class Lane(NamedTuple):
    """One direction of a recurrence, unrolled; ``None`` in ``steps`` stands for those left out.

    A lane that goes in ``reverse`` begins at its right end. ``remark`` says that only the last
    output is returned, and is empty where all of them are. ``kernel`` and ``recurrent_kernel``
    are the weights that the input and the first state are multiplied with, empty for a cell
    that has other ones.
    """

    name: str
    reverse: bool
    steps: tuple[StepBox | None, ...]
    states: tuple[StateArrows, ...]
    remark: str
    kernel: str = ""
    recurrent_kernel: str = ""

    @property
    def heading(self) -> str:
        """``forward_lstm, in order``."""
        return f"{self.name}, in {'reverse ' * self.reverse}order"


class UnrolledRecurrence(NamedTuple):
    """The lanes of a recurrence, one below the other, and the lines of text below them.

    ``merge`` is the equation that joins the lanes' outputs, empty for a single lane.
    ``equations`` are those of one step.
    """

    lanes: tuple[Lane, ...]
    merge: str
    each_step: str
    equations: tuple[str, ...]


class ScanDirection(NamedTuple):
    """One direction of a recurrence, before it is unrolled.

    ``states`` (``h``, or ``h`` and ``c``) have the shapes of one step, ``initial`` has what each
    starts from. ``output`` names the state that goes out, ``kernel`` and ``recurrent_kernel``
    the weights.
    """

    name: str
    reverse: bool
    states: tuple[FlowTensor, ...]
    initial: tuple[str, ...]
    output: str
    kernel: str
    recurrent_kernel: str


class RecurrentDiagram(NamedTuple):
    """Recurrent layer as drawn: its directions, time axis and merge.

    ``steps`` is its time axis in symbols, ``number`` how many these are (``None`` where open),
    ``input`` what goes in at one step. With ``reversed_input``, step t gets what the sequence
    holds at T-1-t. With ``sequences`` the output of every step goes out, otherwise that of the
    last one. ``merge`` is how the outputs of all directions become the one called ``output``,
    with places for their names: ``concatenate({0}, {1})``; empty where they do not.
    ``equations`` are those of one step, of all directions.
    """

    directions: tuple[ScanDirection, ...]
    steps: Dim
    number: int | None
    input: FlowTensor
    reversed_input: bool
    sequences: bool
    output: str
    merge: str
    equations: tuple[str, ...] = ()

    @property
    def end(self) -> Dim:
        """Return the number of steps, or the time axis where it is open."""
        return self.steps if self.number is None else Dim.of(self.number)

    @property
    def each_step(self) -> str:
        """``each step takes x_t (N, D) = (1, 3) and passes on h_t, c_t (N, M) = (1, 5)``."""
        t = f"_{{{self.end + -1}-t}}" if self.reversed_input else "_t"
        groups: dict[str, list[str]] = {}
        for state in (state for direction in self.directions for state in direction.states):
            groups.setdefault(state.shapes, []).append(f"{state.name}_t")
        states = "; ".join(f"{', '.join(names)} {shapes}" for shapes, names in groups.items())
        return f"each step takes {self.input.name}{t} {self.input.shapes} and passes on {states}"

    def unroll(self, most: int) -> UnrolledRecurrence:
        """Return the lanes with at most ``most`` steps: the first ones and the last one."""
        end = self.end
        if self.number is not None and self.number <= most:
            steps: list[Dim | None] = [Dim.of(step) for step in range(self.number)]
        else:
            steps = [*(Dim.of(step) for step in range(most - 1)), None, end + -1]
        lanes = tuple(self._lane(direction, steps, end) for direction in self.directions)
        outputs = [
            f"{direction.output}_t"
            if self.sequences
            else lane.steps[0 if lane.reverse else -1].output  # type: ignore[union-attr]
            for direction, lane in zip(self.directions, lanes, strict=True)
        ]
        merged = f"{self.output}_t" if self.sequences else self.output
        merge = f"{merged} = {self.merge.format(*outputs)}" if self.merge else ""
        return UnrolledRecurrence(lanes, merge, self.each_step, self.equations)

    def _lane(self, direction: ScanDirection, steps: Sequence[Dim | None], end: Dim) -> Lane:
        """Return a direction with these steps, of which there are ``end``."""
        last = 0 if direction.reverse else len(steps) - 1
        boxes = tuple(
            None
            if step is None
            else StepBox(
                step=str(step),
                input=at(self.input.name, end + -1 + step * -1 if self.reversed_input else step),
                output=at(direction.output, step) if self.sequences or number == last else "",
            )
            for number, step in enumerate(steps)
        )
        states = tuple(
            StateArrows(
                initial,
                tuple(
                    at(state.name, _producing_step(*pair, reverse=direction.reverse))
                    for pair in pairwise(steps)
                ),
            )
            for state, initial in zip(direction.states, direction.initial, strict=True)
        )
        remark = "" if self.sequences else f"only the last {direction.output} is returned"
        kernels = direction.kernel, direction.recurrent_kernel
        return Lane(direction.name, direction.reverse, boxes, states, remark, *kernels)


class LayerBox(NamedTuple):
    """One call of a layer: what goes in, what happens, what goes out.

    ``sources`` are its inputs and ``initial`` the states that it starts from, where these are
    not 0. ``rule`` is the equation of a layer without recurrence, ``notes`` are what else there
    is to know. ``params`` is ``None`` where the count is open; a layer that is called again has
    none. ``entering`` and ``leaving`` are the arrows above and below; where all that leaves goes
    straight into the next box, the arrows into that one stand for both.
    """

    name: str
    label: str
    sources: tuple[FlowTensor, ...]
    outputs: tuple[FlowTensor, ...]
    params: int | None
    initial: tuple[FlowTensor, ...]
    notes: tuple[str, ...]
    rule: str = ""
    recurrence: RecurrentDiagram | None = None
    entering: tuple[BoxArrow, ...] = ()
    leaving: tuple[BoxArrow, ...] = ()

    @property
    def inputs(self) -> tuple[FlowTensor, ...]:
        """All that goes in."""
        return (*self.sources, *self.initial)

    @property
    def title(self) -> str:
        """``lstm: LSTM(M)``."""
        return f"{self.name}: {self.label}"

    @property
    def parameters(self) -> str:
        """``180 parameters``; nothing where there are none."""
        if self.params == 0:
            return ""
        return "1 parameter" if self.params == 1 else f"{count_text(self.params)} parameters"


class FlowLayout(NamedTuple):
    """The boxes from top to bottom, and how many more there are that are not drawn.

    ``outputs`` are the tensors that the network returns.
    """

    boxes: tuple[LayerBox, ...]
    omitted: int = 0
    outputs: tuple[FlowTensor, ...] = ()


def layout(result: Inspection, most: int | None = None) -> FlowLayout:
    """Return a box for each call of a layer, in the order in which data meets them.

    There are none for a network whose graph is not known.

    Args:
        result: The network and the report on its layers.
        most: How many boxes may be drawn, the first ones; all if it is None.
    """
    network = result.network
    if not network.inputs:
        return FlowLayout(())
    names, reports = TensorNames(network), {layer.name: layer for layer in result.layers}
    boxes = [
        _box(network, index, names, reports[node.layer.name])
        for index, node in enumerate(network.nodes)
        if node.layer.name in reports
    ]
    shown = tuple(_connected(boxes, most))
    outputs = tuple(_tensor(network, tap, names) for tap in network.outputs)
    return FlowLayout(shown, len(boxes) - len(shown), outputs)


def at(name: str, step: Dim) -> str:
    """Return the name of a value at a step as equations write it: ``h_0``, ``h_{T-1}``."""
    index = str(step)
    return f"{name}_{index}" if index.isdigit() else f"{name}_{{{index}}}"


def packed(texts: Sequence[str], room: int) -> Iterator[str]:
    """Yield lines of at most ``room`` characters, with as many texts on each as fit."""
    line = ""
    for text in texts:
        if line and len(line) + 3 + len(text) > room:
            yield from wrap(line, room)
            line = ""
        line += f"   {text}" if line else text
    yield from wrap(line, room)


def _producing_step(left: Dim | None, right: Dim | None, *, reverse: bool) -> Dim:
    """Return the step whose state goes along the arrow between two that are shown."""
    if left is not None:
        return left + 1 if reverse else left
    assert right is not None
    return right if reverse else right + -1


def _connected(boxes: Sequence[LayerBox], most: int | None) -> Iterator[LayerBox]:
    """Yield the boxes with the arrows between them."""
    others = {tensor.producer for box in boxes for tensor in box.inputs}
    others -= {box.name for box in boxes}
    only_input = others if len(others) == 1 else set[str]()
    shown: list[LayerBox | None] = [None, *boxes[:most], None]
    straight = [_goes_straight(above, below) for above, below in pairwise(shown)]
    for number, box in enumerate(boxes[:most]):
        known = {tensor.producer for tensor in box.inputs} if straight[number] else only_input
        yield box._replace(
            entering=_arrows(box.inputs, known),
            leaving=() if straight[number + 1] else _arrows(box.outputs),
        )


def _goes_straight(above: LayerBox | None, below: LayerBox | None) -> bool:
    """Return whether one tensor leaves the box above, and it is all that enters the one below."""
    if above is None or below is None:
        return False
    return below.inputs == above.outputs and len(below.inputs) == 1


def _arrows(
    tensors: Sequence[FlowTensor], known: Collection[str] | None = None
) -> tuple[BoxArrow, ...]:
    """Return an arrow for each tensor; those of ``known`` producers, or all, have no origin."""
    return tuple(
        BoxArrow(
            tensor.name,
            tensor.shapes,
            "" if known is None or tensor.producer in known else f"from {tensor.producer}",
        )
        for tensor in tensors
    )


# --- From a network to its boxes ----------------------------------------------------------------


def _box(network: Network, index: int, names: TensorNames, report: LayerReport) -> LayerBox:
    """Return the box of a call, without its arrows."""
    node = network.nodes[index]
    layer = node.layer
    again = ("called again with the same weights",) if node.primes else ()
    box = LayerBox(
        name=node.name,
        label=report.label,
        sources=tuple(_tensor(network, tap, names) for tap in node.sources),
        outputs=tuple(
            _tensor(network, Tap(index, output), names)
            for output in range(max(1, len(network.node_shapes[index].shapes)))
        ),
        params=0 if node.primes else report.params,
        initial=tuple(_tensor(network, tap, names) for tap in node.initial),
        notes=again,
    )
    if isinstance(layer, RecurrentLayer):
        equations = () if node.primes else _step_equations(report, layer)
        return _with_recurrence(network, node, layer, names, box, equations)
    rule = "" if node.primes else _rule(report, network.node_shapes[index])
    rule = _numbered(network, rule)
    return box._replace(rule=rule, notes=(*layer.notes, *again))


def _tensor(network: Network, tap: Tap, names: TensorNames) -> FlowTensor:
    """Return the tensor at an output of a call, under its name without the index of a step."""
    shapes, producer = network.shapes_at(tap).shapes, network.nodes[tap.node].name
    name = _STEP_INDEX.sub("", names.of(tap))
    if not shapes:
        return FlowTensor(name, ("?",), (None,), producer)
    return _shaped(network, name, shapes[0], producer)


def _shaped(network: Network, name: str, shape: Shape, producer: str = "") -> FlowTensor:
    """Return a tensor of this shape, also in numbers."""
    return FlowTensor(name, tuple(map(str, shape)), network.shape_numbers(shape), producer)


def _rule(report: LayerReport, flow: NodeShapes) -> str:
    """Return the layer's last equation, ``y_hat = h W0 + b0``, with ``_t`` if it is per step."""
    if not report.equations:
        return ""
    text = str(report.equations[-1])
    return re.sub(r"_t\b", "", text) if flow.final or flow.steps is None else text


def _step_equations(report: LayerReport, layer: RecurrentLayer) -> tuple[str, ...]:
    """Return the equations of one step; a direction that is like the first is only named."""
    first, *others = (
        [equation for equation in report.equations if equation.direction == number]
        for number in range(len(layer.directions))
    )
    texts = [str(equation) for equation in first]
    for direction, equations in zip(layer.directions[1:], others, strict=True):
        if [e.pattern for e in equations] == [e.pattern for e in first]:
            name = direction.name.rpartition("/")[2]
            order = "t+1 for t-1" if direction.reverse else "t-1 for t+1"
            texts.append(f"{name}: the same with {direction.index[-1:]}, and {order}")
        else:
            texts += [str(equation) for equation in equations]
    return tuple(texts)


def _with_recurrence(
    network: Network,
    node: Node,
    layer: RecurrentLayer,
    names: TensorNames,
    box: LayerBox,
    equations: tuple[str, ...],
) -> LayerBox:
    """Return the box with the recurrence of its layer, and the notes on it."""
    source = network.shapes_at(node.sources[0])
    steps = source.steps or source.shapes[0][1]
    input_name = names.of(node.sources[0])
    recurrence = RecurrentDiagram(
        directions=tuple(_directions(network, node, box.initial)),
        steps=steps,
        number=network.value(steps),
        input=_shaped(
            network,
            _STEP_INDEX.sub("", input_name),
            (source.shapes[0][0], layer.directions[0].features),
        ),
        reversed_input=input_name.endswith("-t}"),
        sequences=layer.return_sequences,
        output=box.outputs[0].name,
        merge=_merge(layer),
        equations=equations,
    )
    notes = _recurrence_notes(layer, recurrence, box.outputs, masked=network.is_masked(node))
    return box._replace(recurrence=recurrence, notes=(*box.notes, *notes))


def _directions(
    network: Network, node: Node, initial: Sequence[FlowTensor]
) -> Iterator[ScanDirection]:
    """Yield the directions of a recurrent layer; ``initial`` are the states of all of them."""
    names = [
        _numbered(network, state_name(network, tap))
        if network.nodes[tap.node].layer.directions
        else tensor.name
        for tap, tensor in zip(node.initial, initial, strict=True)
    ]
    for name, direction in node.scans:
        states = direction.cell.states
        of_direction, names = names[: len(states)], names[len(states) :]
        yield _direction(network, name, node, direction, of_direction)


def _numbered(network: Network, text: str) -> str:
    """Return a text with ``h_9`` for ``h_{T-1}`` where T is known."""

    def number(match: re.Match[str]) -> str:
        steps = network.value(Dim.named(match[1]))
        return match[0] if steps is None else f"_{steps - 1}"

    return _LAST_STEP.sub(number, text)


def _direction(
    network: Network, name: str, node: Node, direction: Direction, initial: Sequence[str]
) -> ScanDirection:
    """Return one direction; its states start from 0 where ``initial`` is empty."""
    suffix, n = direction.index + node.primes, Dim.named("N")
    states = direction.cell.states
    keys = {weight.name: f"{weight.key}{direction.index}" for weight in direction.weights}
    return ScanDirection(
        name=name.rpartition("/")[2],
        reverse=direction.reverse,
        states=tuple(_shaped(network, key + suffix, (n, dim)) for key, dim in states.items()),
        initial=tuple(initial or ["0"] * len(states)),
        output=direction.cell.output_state + suffix,
        kernel=keys.get("kernel", ""),
        recurrent_kernel=keys.get("recurrent_kernel", ""),
    )


def _merge(layer: RecurrentLayer) -> str:
    """Return how outputs of all directions become one, ``{0} + {1}``; empty if they do not."""
    n = Dim.named("N")
    symbols = [
        Symbol(f"{{{number}}}", (n, direction.cell.output), [])
        for number, direction in enumerate(layer.directions)
    ]
    outputs = layer.join(SymbolicOps(), symbols)
    return outputs[0].text if len(outputs) == 1 < len(symbols) else ""


def _recurrence_notes(
    layer: RecurrentLayer,
    recurrence: RecurrentDiagram,
    outputs: tuple[FlowTensor, ...],
    *,
    masked: bool,
) -> Iterator[str]:
    """Yield what the lanes alone do not show."""
    if isinstance(layer, Bidirectional) and layer.merge_mode is None:
        yield "both outputs are returned separately"
    if layer.return_state:
        last_states = [
            at(state.name, Dim.of(0) if direction.reverse else recurrence.end + -1)
            for direction in recurrence.directions
            for state in direction.states
        ]
        named = zip(outputs[-len(last_states) :], last_states, strict=True)
        equations = ", ".join(f"{output.name} = {state}" for output, state in named)
        yield f"also returns the final states: {equations}"
    if layer.return_sequences and any(layer.reversed_outputs):
        yield "returns the sequence in reverse order"
    if masked:
        yield "a masked step does not change the states"
