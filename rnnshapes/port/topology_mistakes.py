"""Known mistakes of ports about how layers and directions are joined.

Each function yields the mistakes of one kind that the network allows, each with the hypothesis
that the port makes it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from rnnshapes.cells.cell import Cell, StepResult
from rnnshapes.cells.stacked import StackedCells
from rnnshapes.forward import replay
from rnnshapes.network.graph import Network, Node, Tap
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.layers.rnn import MERGE_MODES, Bidirectional, Recurrent
from rnnshapes.ops.activations import Array
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Where, recast
from rnnshapes.port.quantities import OUTPUT, Y_HAT, ReportedQuantity
from rnnshapes.reference.outputs import STATES


def misjoined(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Join directions or layers otherwise."""
    for position, node in enumerate(hypothesis.network.nodes):
        if isinstance(node.layer, Bidirectional):
            yield from _directions(hypothesis, position, node)
        elif isinstance(node.layer, Recurrent):
            direction = node.layer.direction
            if len(hypothesis.network.recurrent) > 1 or direction.reverse:
                text = f"{node.name} processes the sequence in the other direction"
                fix = "process x[:, ::-1]" if direction.reverse else "process x from t = 0 to T-1"
                mistake = Mistake("direction.reversed", text, Where(layer=node.name), fix)
                other: Any = replace(direction, reverse=not direction.reverse)
                layer = replace(node.layer, direction=other)
                yield mistake, _with_layer(hypothesis, position, layer)
            if direction.reverse and node.layer.return_sequences:
                text = f"{node.name} returns its outputs in the order of x, not the last step first"
                mistake = Mistake("direction.reversed_back", text, Where(layer=node.name))
                changed: Any = recast(node.layer, join=_join_reversed(node.layer, 0))
                yield mistake, _with_layer(hypothesis, position, changed)
    yield from _last_step(hypothesis)
    yield from _pooled(hypothesis)
    yield from _stack(hypothesis)


def _with_layer(hypothesis: Hypothesis, position: int, layer: Any) -> Hypothesis:
    """Return the hypothesis with another layer at a position, computed over all its steps."""
    return replace(hypothesis.with_layer(position, layer), unwindowed=True)


# --- Directions ---------------------------------------------------------------------------------


def _directions(
    hypothesis: Hypothesis, position: int, node: Node
) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Exchange, repeat or misjoin the two directions of a layer."""
    layer: Any = node.layer
    where = Where(layer=node.name)
    backward = where._replace(direction="backward")
    forward_name, backward_name = layer.forward.name, layer.backward.name

    def halves(self: Any, ops: Any, outputs: Any) -> Any:
        return type(layer).join(self, ops, outputs[::-1])

    names = {name for name, _ in node.scans}
    quantities = _exchanged(hypothesis, *names)
    if quantities is not hypothesis.quantities:
        text = f"the states of both directions of {node.name} are exchanged in what the port gives"
        mistake = Mistake("direction.states_exchanged", text, where)
        yield mistake, replace(hypothesis, quantities=quantities)

    if layer.merge_mode == "concat":
        text = f"the two directions of {node.name} are exchanged: backward is joined first"
        changed = _with_layer(hypothesis, position, recast(layer, join=halves))
        yield Mistake("direction.halves_swapped", text, where), changed
        # The states alone do not say in which order they are joined.
        if quantities is not hypothesis.quantities and not {q.name for q in quantities} <= names:
            text = f"{text}, and its states are named forward"
            fix = "concatenate forward first, and name its states forward"
            mistake = Mistake("direction.halves_swapped", text, where, fix)
            yield mistake, replace(changed, quantities=quantities)
        side_by_side = _with_layer(hypothesis, position, recast(layer, join=_joined_by_unit))
        text = f"the units of the two directions of {node.name} alternate"
        yield (
            Mistake("merge.mode", text, where, "concatenate: all forward units first"),
            side_by_side,
        )

    # Concatenation, and outputs that are not joined, have other shapes than the rest.
    for mode in MERGE_MODES if layer.merge_mode not in ("concat", None) else ():
        if mode not in ("concat", layer.merge_mode):
            text = f"the directions of {node.name} are joined by {mode}, not {layer.merge_mode}"
            changed = _with_layer(hypothesis, position, replace(layer, merge_mode=mode))
            yield Mistake("merge.mode", text, where), changed

    name = node.scans[1][0]
    text = f"{backward_name}: its outputs are not reversed back: index 0 holds step T-1"
    changed = _with_layer(hypothesis, position, recast(layer, join=_join_reversed(layer, 1)))
    quantities = tuple(q.in_reverse() if q.name == name else q for q in hypothesis.quantities)
    mistake = Mistake("direction.not_reversed_back", text, backward)
    yield mistake, replace(changed, quantities=quantities)

    yield from _reversed_directions(hypothesis, position, node)
    yield from _kept_states(hypothesis, node)

    groups = hypothesis.weights
    first, second = groups[forward_name], groups[backward_name]
    if {k: a.shape for k, a in first.items()} == {k: a.shape for k, a in second.items()}:
        for mistake, weights in (
            (
                Mistake(
                    "direction.weights_exchanged",
                    f"the weights of both directions of {node.name} are exchanged",
                    where,
                ),
                {forward_name: second, backward_name: first},
            ),
            (
                Mistake(
                    "direction.shared_weights",
                    f"both directions of {node.name} have the weights of forward",
                    backward,
                ),
                {backward_name: first},
            ),
            (
                Mistake(
                    "direction.shared_weights",
                    f"both directions of {node.name} have the weights of backward",
                    where._replace(direction="forward"),
                ),
                {forward_name: second},
            ),
        ):
            yield mistake, replace(hypothesis, weights={**groups, **weights})


def _reversed_directions(
    hypothesis: Hypothesis, position: int, node: Node
) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Process the sequence in the wrong order in one direction of a layer.

    Where the port gives the last state alone, that is the state after all steps, or the one at the
    step where the right direction ends. The latter has the numbers of states set to 0 at each step.
    """
    layer: Any = node.layer
    in_order, in_reverse = (layer.forward, layer.backward)[:: -1 if layer.forward.reverse else 1]
    fix = f"process x in {in_order.name}, and x[:, ::-1] in {in_reverse.name}"
    for number, other, way in ((1, "forwards", "backward"), (0, "backwards", "forward")):
        name, one = node.scans[number]
        text = f"{one.name} processes the sequence {other}, too"
        mistake = Mistake("direction.reversed", text, Where(node.name, way), fix)
        reversed_layer: Any = replace(layer, **{way: replace(one, reverse=not one.reverse)})
        end = _last_of(hypothesis, node, reversed_layer.directions[number])
        at_end = tuple(
            replace(q, network_steps=end) if _is_last(q, name) else q for q in hypothesis.quantities
        )
        changed = _with_layer(hypothesis, position, reversed_layer)
        yield mistake, replace(changed, quantities=at_end)
        joins = _joins_ends(hypothesis, node)
        if joins or any(_is_last(q, name) for q in hypothesis.quantities):
            text = f"{text}, and returns its first state instead of its last"
            first_state = recast(reversed_layer, join=_join_reversed(layer, number))
            changed = _with_layer(hypothesis, position, first_state)
            other_end = _last_of(hypothesis, node, layer.directions[1 - number])
            quantities = _joined_at(hypothesis, other_end) if joins else hypothesis.quantities
            yield mistake._replace(text=text), replace(changed, quantities=quantities)


def _kept_states(hypothesis: Hypothesis, node: Node) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Start the backward direction from the final states of the forward one."""
    network, xs = hypothesis.network, hypothesis.xs
    (first, direction), (second, _) = node.scans
    widths = network.widths
    if node.initial or network.batch or widths[first] != widths[second]:
        return
    end = _last_of(hypothesis, node, direction)
    ours = replay.numpy_outputs(network, hypothesis.weights, xs)
    starts = {key: values[:, end[0]] for key, values in ours.states[first].items()}
    for q in hypothesis.quantities:  # the port starts from its own states
        if q.name == first and q.network_steps is not None and end in q.network_steps:
            starts[q.key] = q.values[:, np.flatnonzero(q.network_steps == end)[0]]
    text = f"{second} starts from the final states of {first}, not from 0"
    mistake = Mistake("direction.states_kept", text, Where(node.name, "backward"))
    weights = {**hypothesis.weights, STATES + second: starts}
    yield mistake, replace(hypothesis, weights=weights, unwindowed=True)


def _exchanged(hypothesis: Hypothesis, first: str, second: str) -> tuple[ReportedQuantity, ...]:
    """Return the quantities with the states of two recurrences for each other, if all are given."""
    other = {first: second, second: first}
    given = {(q.name, q.key): q for q in hypothesis.quantities}
    exchanged = []
    for q in hypothesis.quantities:
        source = given.get((other.get(q.name, q.name), q.key))
        if source is None or source.values.shape != q.values.shape:
            return hypothesis.quantities
        exchanged.append(replace(q, values=source.values, rounding=source.rounding))
    return (
        tuple(exchanged) if {first, second} & {q.name for q in exchanged} else hypothesis.quantities
    )


def _last_of(hypothesis: Hypothesis, node: Node, direction: Direction) -> Array:
    """Return the step at which a direction ends, (1,)."""
    network = hypothesis.network
    last = network.step_count(network.shapes_at(node.sources[0])) - 1
    return np.array([0 if direction.reverse else last])


def _is_last(quantity: ReportedQuantity, name: str) -> bool:
    """Return whether a quantity is the last state alone of a recurrence."""
    return quantity.name == name and len(quantity.steps) == 1


def _joined_by_unit(self: Any, ops: Any, outputs: Any) -> Any:
    """Join two directions unit by unit."""

    def by_unit(part: Array) -> Array:
        parts = part.reshape(*part.shape[:-1], 2, -1)
        return np.swapaxes(parts, -1, -2).reshape(part.shape)

    return (ops.rearrange(ops.concatenate(outputs), by_unit),)


def _join_reversed(layer: Any, number: int) -> Callable[..., Any]:
    """Return a join of two directions that reverses the sequence of one of them."""

    def join(self: Any, ops: Any, outputs: Any) -> Any:
        sides = list(outputs)
        if np.ndim(sides[number]) > 2:
            sides[number] = ops.rearrange(sides[number], lambda part: part[::-1])
        return type(layer).join(self, ops, sides)

    return join


def _joins_ends(hypothesis: Hypothesis, node: Node) -> bool:
    """Return whether the port gives an output that joins the ends of both directions of a layer."""
    network = hypothesis.network
    if network.output_shapes.steps is None or network.returns_sequences:
        return False
    return node is network.recurrent[-1] and any(map(_is_output, hypothesis.quantities))


def _joined_at(hypothesis: Hypothesis, at: Array) -> tuple[ReportedQuantity, ...]:
    """Return the quantities, the output as that of both directions at one step."""
    return tuple(
        replace(q, name=Y_HAT, network_steps=at) if _is_output(q) else q
        for q in hypothesis.quantities
    )


def _last_step(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Take both directions at the same step, where the output has the end of each."""
    for node in hypothesis.network.recurrent[-1:]:
        if not isinstance(node.layer, Bidirectional) or not _joins_ends(hypothesis, node):
            continue
        last = np.array([hypothesis.network.step_count(hypothesis.network.output_shapes) - 1])
        for text, at in (
            (f"both directions of {node.name} are joined at t = T-1: output[:, -1]", last),
            (f"both directions of {node.name} are joined at t = 0", last * 0),
        ):
            quantities = _joined_at(hypothesis, at)
            changed = replace(hypothesis, quantities=quantities, unwindowed=True)
            yield Mistake("direction.last_step", text, Where(layer=node.name)), changed


def _pooled(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Pass the mean or the largest h over time on, where the last h is right."""
    network = hypothesis.network
    node = network.recurrent[-1] if network.recurrent else None
    layer: Any = node.layer if node else None
    alone = all(q.key or len(q.steps) == 1 for q in hypothesis.quantities)
    if node is None or layer.return_sequences or layer.return_state or not alone:
        return
    shapes = network.shapes_at(node.sources[0])
    if shapes.masked or network.step_count(shapes) == 1 or network.returns_sequences:
        return
    quantities = tuple(
        q if q.key else replace(q, name=OUTPUT, network_steps=None) for q in hypothesis.quantities
    )
    for how, function in (("mean", "mean"), ("largest", "max")):
        sequence = replace(layer, return_sequences=True)
        changed = recast(sequence, join=_join_pooled(type(layer), function))
        text = f"{node.name} passes the {how} h over time on, not the last one"
        pooled = _with_layer(hypothesis, network.nodes.index(node), changed)
        mistake = Mistake("time.pooled", text, Where(layer=node.name))
        yield mistake, replace(pooled, quantities=quantities)


def _join_pooled(kind: type[Any], function: str) -> Callable[..., Any]:
    """Return a join of outputs (T, N, M) that are first pooled over time."""

    def join(self: Any, ops: Any, outputs: Any) -> Any:
        return kind.join(self, ops, [getattr(ops, function)(part, 0) for part in outputs])

    return join


def _is_output(quantity: ReportedQuantity) -> bool:
    """Return whether the quantity is the output of the network, without time."""
    return quantity.name in (Y_HAT, OUTPUT) and quantity.network_steps is None


# --- Stacks -------------------------------------------------------------------------------------


def _stack(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Exchange the weights of layers, leave one out, or pass the last step on."""
    network, weights = hypothesis.network, hypothesis.weights
    layers = [(p, n) for p, n in enumerate(network.nodes) if isinstance(n.layer, Recurrent)]
    for position, node in layers if len(layers) > 1 else ():
        yield from _omitted(hypothesis, position, node)
    yield from _shared_states(hypothesis)
    for (_, first), (_, second) in itertools.combinations(layers, 2):
        one, other = weights[first.layer.name], weights[second.layer.name]
        same = {k for k in one if k in other and one[k].shape == other[k].shape}
        if same and {"Wh"} <= same:
            exchanged = {
                first.layer.name: {**one, **{k: other[k] for k in same}},
                second.layer.name: {**other, **{k: one[k] for k in same}},
            }
            text = f"the weights of {first.name} and {second.name} are exchanged"
            changed = replace(hypothesis, weights={**weights, **exchanged})
            yield Mistake("stack.layers_swapped", text), changed
            for owner, node in ((first, second), (second, first)):
                name = node.layer.name
                text = f"{node.name} has the weights of {owner.name}"
                repeated = {**weights, name: exchanged[name]}
                mistake = Mistake("stack.shared_weights", text, Where(layer=node.name))
                yield mistake, replace(hypothesis, weights=repeated)
    for after_position, after in layers:
        position = _position_before(network, after)
        node = network.nodes[position]
        layer: Any = node.layer
        if not isinstance(layer, Recurrent) or not layer.return_sequences:
            continue
        text = f"the last h of {node.name} is passed to {after.name} at every step"
        changed = _with_layer(hypothesis, position, recast(layer, join=_last_repeated(layer)))
        yield Mistake("stack.last_repeated", text, Where(layer=after.name)), changed
        text = f"{after.name} receives h_{{t-1}} of {node.name} at t, not h_t"
        changed = _with_layer(hypothesis, position, recast(layer, join=_delayed(layer)))
        yield Mistake("stack.previous_step", text, Where(layer=after.name)), changed
        if len(after.sources) == 1 and after.sources[0] == Tap(position) and node.sources:
            skipped = replace(after, sources=node.sources[:1])
            yield from _skipped(hypothesis, after_position, skipped, node)
        text = f"the final states of {node.name} are the initial states of {after.name}"
        started = _states_passed_up(hypothesis, position, after_position)
        if started is not None:
            yield Mistake("state.passed_up", text, Where(layer=after.name)), started


def _position_before(network: Network, node: Node) -> int:
    """Return the position of the recurrence or input whose steps alone a node receives."""
    position = node.sources[0].node
    while (
        len(network.nodes[position].sources) == 1 and not network.nodes[position].layer.directions
    ):
        position = network.nodes[position].sources[0].node
    return position


def _last_repeated(layer: Any) -> Callable[..., Any]:
    """Return a join after which every step of the output is the last one."""
    last = 0 if layer.direction.reverse else -1

    def join(self: Any, ops: Any, outputs: Any) -> Any:
        def repeated(part: Array) -> Array:
            return np.broadcast_to(part[last][None], part.shape)

        return tuple(ops.rearrange(output, repeated) for output in outputs)

    return join


def _skipped(
    hypothesis: Hypothesis, position: int, skipped: Node, before: Node
) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Yield that a layer receives what the layer before it does, if both have one size."""
    network = hypothesis.network
    right = network.nodes[position].sources[0]
    shapes = [network.shapes_at(source) for source in (before.sources[0], right)]
    sizes = [network.count(one.at_step[-1]) for one in shapes]
    if sizes[0] != sizes[1]:
        return
    nodes = list(network.nodes)
    nodes[position] = skipped
    text = f"{skipped.name} receives the input of {before.name}, not its h"
    changed = replace(hypothesis, network=network.with_nodes(tuple(nodes)), unwindowed=True)
    yield Mistake("stack.layer_skipped", text, Where(layer=skipped.name)), changed


def _omitted(
    hypothesis: Hypothesis, position: int, node: Node
) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Pass the input of a layer on as its h, if both have one size."""
    network = hypothesis.network
    size = network.count(network.shapes_at(node.sources[0]).at_step[-1])
    if all(width == size for width in network.widths[node.name].values()):
        mistake = Mistake("layer.omitted", f"{node.name} is left out", Where(layer=node.name))
        yield mistake, _with_layer(hypothesis, position, _passing_on(node.layer))


def _passing_on(layer: Any) -> Any:
    """Return a recurrent layer whose states are its input."""

    def project(self: Any, ops: Any, x: Any, w: Any) -> Any:
        return x

    def step(self: Any, ops: Any, xz: Any, state: Any, w: Any) -> Any:
        return StepResult(xz, dict.fromkeys(state, xz), {})

    cell = recast(layer.direction.cell, project=project, step=step)
    return replace(layer, direction=replace(layer.direction, cell=cell))


def _shared_states(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Compute the layers of a stack step by step, with one buffer for the states of all.

    The first layer then has the cells of all, and the others pass its output on.
    """
    network, weights = hypothesis.network, dict(hypothesis.weights)
    positions = _stack_of_one_size(network)
    if len(positions) < 2 or network.batch:
        return
    stack = [network.nodes[position] for position in positions]
    layers: list[Any] = [node.layer for node in stack]
    names = tuple(layer.name for layer in layers)
    numbers = {node.name: str(number) for number, node in enumerate(stack, 1)}
    cells = StackedCells(tuple(layer.direction.cell for layer in layers), names)
    shared = recast(cells, states_before=_states_of_cell_before)
    weights[names[0]] = {
        f"{key}{number}": array
        for name, number in zip(names, numbers.values(), strict=True)
        for key, array in hypothesis.weights[name].items()
    }
    first = replace(layers[0], direction=replace(layers[0].direction, cell=shared))
    changed = _with_layer(hypothesis, positions[0], first)
    for position, layer in zip(positions[1:], layers[1:], strict=True):
        changed = changed.with_layer(position, _passing_on(layer))
    quantities = tuple(
        replace(q, name=stack[0].name, key=q.key + numbers[q.name]) if q.name in numbers else q
        for q in hypothesis.quantities
    )
    text = f"{' and '.join(names)} have one buffer for their states: each overwrites the other's"
    mistake = Mistake("stack.shared_states", text, Where(layer=names[-1]))
    yield mistake, replace(changed, weights=weights, quantities=quantities)


def _stack_of_one_size(network: Network) -> list[int]:
    """Return the positions of recurrent layers, each the next one's input, of the same states."""
    positions: list[int] = []
    for position, node in enumerate(network.nodes):
        layer: Any = node.layer
        if not isinstance(layer, Recurrent):
            continue
        plain = not (layer.direction.reverse or layer.return_state or node.initial)
        if not plain or not isinstance(layer.direction.cell, Cell):
            return []
        if positions:
            before = network.nodes[positions[-1]]
            same = network.widths[before.name] == network.widths[node.name]
            if not same or node.sources != (Tap(positions[-1]),):
                return []
        positions.append(position)
    return positions


def _states_of_cell_before(self: Any, number: str, cell: Any, state: Any, states: Any) -> Any:
    """Return the states that the cell before left: in this step, or the last cell before it."""
    after, before = (states, int(number) - 1) if number != "1" else (state, len(self.cells))
    return {key: after[f"{key}{before}"] for key in cell.state_names}


def _delayed(layer: Any) -> Callable[..., Any]:
    """Return a join after which every step of the output is that of the step before."""

    def join(self: Any, ops: Any, outputs: Any) -> Any:
        def delayed(part: Array) -> Array:
            return np.concatenate([part[:1] * 0, part[:-1]])

        sides = tuple(ops.rearrange(output, delayed) for output in outputs)
        return type(layer).join(self, ops, sides)

    return join


def _states_passed_up(
    hypothesis: Hypothesis, position: int, after_position: int
) -> Hypothesis | None:
    """Return the hypothesis in which a layer starts from the final states of the one before."""
    network = hypothesis.network
    node, after = network.nodes[position], network.nodes[after_position]
    widths = [list(network.widths[n.scans[0][0]].values()) for n in (node, after)]
    if widths[0] != widths[1] or after.initial or node.layer.return_state:  # type: ignore[attr-defined]
        return None
    nodes = list(network.nodes)
    layer: Any = replace(node.layer, return_state=True)  # type: ignore[call-arg]
    nodes[position] = replace(node, layer=layer)
    initial = tuple(Tap(position, 1 + number) for number in range(len(widths[0])))
    nodes[after_position] = replace(after, initial=initial)
    changed = network.with_nodes(tuple(nodes))
    return replace(hypothesis, network=changed, unwindowed=True)
