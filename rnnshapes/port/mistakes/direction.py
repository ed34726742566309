"""Known mistakes of ports about the direction of a layer, and how two are joined."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from rnnshapes.forward import numpy_run
from rnnshapes.network.graph import Node
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.layers.rnn import MERGE_MODES, Bidirectional, Recurrent
from rnnshapes.ops.activations import Array
from rnnshapes.ops.rearrangements import SameShape
from rnnshapes.port.hypothesis import (
    Hypothesis,
    Mistake,
    Variations,
    Where,
    direction_of,
    recast,
    with_outputs,
)
from rnnshapes.port.mistakes.cell_changes import exchanged_arrays, one_array_of
from rnnshapes.port.quantities import OUTPUT, Y_HAT, ReportedQuantity
from rnnshapes.reference.outputs import STATES


def other_directions(hypothesis: Hypothesis) -> Variations:
    """Exchange, reverse or misjoin directions."""
    for position, node in enumerate(hypothesis.network.nodes):
        if isinstance(node.layer, Bidirectional):
            yield from _other_bidirectional(hypothesis, position, node)
        elif isinstance(node.layer, Recurrent):
            direction = node.layer.direction
            if len(hypothesis.network.recurrent) > 1 or direction.reverse:
                text = f"{node.name} processes the sequence in the other direction"
                fix = "process x[:, ::-1]" if direction.reverse else "process x from t = 0 to T-1"
                mistake = Mistake("direction.reversed", text, Where(layer=node.name), fix)
                other: Any = replace(direction, reverse=not direction.reverse)
                layer = replace(node.layer, direction=other)
                yield mistake, hypothesis.with_whole_layer(position, layer)
            if direction.reverse and node.layer.return_sequences:
                text = f"{node.name} returns its outputs in the order of x, not the last step first"
                mistake = Mistake("direction.reversed_back", text, Where(layer=node.name))
                changed = _with_reversed(node.layer, 0)
                yield mistake, hypothesis.with_whole_layer(position, changed)
                yield from _states_in_order_of_processing(hypothesis, node)
    yield from _last_step(hypothesis)


def _states_in_order_of_processing(hypothesis: Hypothesis, node: Node) -> Variations:
    """Give the states of a layer that goes backwards at the step that the loop counts."""
    names = {name for name, _ in node.scans}
    quantities = tuple(
        q.map(lambda values: values[:, ::-1]) if q.name in names else q
        for q in hypothesis.quantities
    )
    if any(q.name in names and len(q.steps) > 1 for q in quantities):
        text = f"the states of {node.name} are given in the order of processing, not of x"
        mistake = Mistake("direction.reversed_back", text, Where(layer=node.name), "h = h[:, ::-1]")
        yield mistake, replace(hypothesis, quantities=quantities)


def _other_bidirectional(hypothesis: Hypothesis, position: int, node: Node) -> Variations:
    """Exchange, repeat or misjoin the two directions of a layer."""
    names = {name for name, _ in node.scans}
    quantities = _exchanged(hypothesis, *names)
    if quantities is not hypothesis.quantities:
        text = f"the states of both directions of {node.name} are exchanged in what the port gives"
        mistake = Mistake("direction.states_exchanged", text, Where(layer=node.name))
        yield mistake, replace(hypothesis, quantities=quantities)
    yield from _otherwise_joined(hypothesis, position, node)
    yield from _other_outputs(hypothesis, position, node)
    yield from _reversed_directions(hypothesis, position, node)
    yield from _other_features(hypothesis, position, node)
    yield from carried_states(hypothesis, node)
    yield from _other_weights(hypothesis, node)


def _otherwise_joined(hypothesis: Hypothesis, position: int, node: Node) -> Variations:
    """Join the directions of a layer in another order, or by another merge_mode."""
    layer: Any = node.layer
    where = Where(layer=node.name)
    names = {name for name, _ in node.scans}
    if layer.merge_mode == "concat":
        text = f"the two directions of {node.name} are exchanged: backward is joined first"
        exchanged = with_outputs(layer, lambda ops, outputs: outputs[::-1])
        changed = hypothesis.with_whole_layer(position, exchanged)
        yield Mistake("direction.halves_swapped", text, where), changed
        # The states alone do not say in which order they are joined.
        quantities = _exchanged(hypothesis, *names)
        if quantities is not hypothesis.quantities and not {q.name for q in quantities} <= names:
            text = f"{text}, and its states are named forward"
            fix = "concatenate forward first, and name its states forward"
            mistake = Mistake("direction.halves_swapped", text, where, fix)
            yield mistake, replace(changed, quantities=quantities)
        text = f"the units of the two directions of {node.name} alternate"
        mistake = Mistake("merge.mode", text, where, "concatenate: all forward units first")
        changed = hypothesis.with_whole_layer(position, recast(layer, join=_joined_by_unit))
        yield mistake, changed
        separated = _separated(hypothesis, *(name for name, _ in node.scans))
        if separated is not None:
            mistake = mistake._replace(text=f"{text}, also in the states that the port gives")
            yield mistake, replace(changed, quantities=separated)
    # Concatenation, and outputs that are not joined, have other shapes than the rest.
    for mode in MERGE_MODES if layer.merge_mode not in ("concat", None) else ():
        if mode not in ("concat", layer.merge_mode):
            text = f"the directions of {node.name} are joined by {mode}, not {layer.merge_mode}"
            changed = hypothesis.with_whole_layer(position, replace(layer, merge_mode=mode))
            yield Mistake("merge.mode", text, where), changed


def _other_outputs(hypothesis: Hypothesis, position: int, node: Node) -> Variations:
    """Join zeros, the other direction, or other steps for the outputs of one direction."""
    layer: Any = node.layer
    for number, direction in enumerate(layer.directions):
        name, where = direction.name, Where(node.name, direction_of(layer, direction.name))
        for id_, text, change in (
            ("missing", "are 0", partial(_with_zeros, number)),
            ("missing", "are those of the other direction", partial(_repeated, 1 - number)),
            ("shifted", "are one step late: those of t - 1", partial(_moved, number, 1)),
            ("shifted", "are one step early: those of t + 1", partial(_moved, number, -1)),
        ):
            if id_ == "missing" or layer.return_sequences:
                mistake = Mistake(f"direction.{id_}", f"the outputs of {name} {text}", where)
                yield mistake, hypothesis.with_whole_layer(position, with_outputs(layer, change))
    name = node.scans[1][0]
    given = any(q.name == name and len(q.steps) > 1 for q in hypothesis.quantities)
    if layer.return_sequences or given:
        text = f"{layer.backward.name}: its outputs are not reversed back: index 0 holds step T-1"
        changed = hypothesis.with_whole_layer(position, _with_reversed(layer, 1))
        quantities = tuple(q.in_reverse() if q.name == name else q for q in hypothesis.quantities)
        mistake = Mistake("direction.not_reversed_back", text, Where(node.name, "backward"))
        yield mistake, replace(changed, quantities=quantities)


def _other_features(hypothesis: Hypothesis, position: int, node: Node) -> Variations:
    """Reverse the features of x for the backward direction, not the steps."""
    layer: Any = node.layer
    name = layer.backward.name
    kernel = hypothesis.weights[name].get("Wx")
    if kernel is not None and len(kernel) > 1:
        text = f"{name} reads the features of x in reverse, not its steps"
        mistake = Mistake("direction.features_reversed", text, Where(node.name, "backward"))
        other: Any = replace(layer.backward, reverse=not layer.backward.reverse)
        wrong_layer = replace(layer, backward=other)
        read = hypothesis.with_arrays(name, {"Wx": kernel[::-1]})
        if layer.return_sequences:
            yield mistake, read.with_whole_layer(position, _with_reversed(wrong_layer, 1))
            mistake = mistake._replace(text=f"{text}, and still reverses its outputs")
        yield mistake, read.with_whole_layer(position, wrong_layer)


def _other_weights(hypothesis: Hypothesis, node: Node) -> Variations:
    """Exchange the weights of both directions of a layer, or use some of them twice."""
    layer: Any = node.layer
    where = Where(layer=node.name)
    forward_name, backward_name = layer.forward.name, layer.backward.name
    groups = hypothesis.weights
    first, second = groups[forward_name], groups[backward_name]
    if {k: a.shape for k, a in first.items()} == {k: a.shape for k, a in second.items()}:
        both = f"both directions of {node.name}"
        for id_, text, way, weights in (
            (
                "direction.weights_exchanged",
                f"the weights of {both} are exchanged",
                None,
                {forward_name: second, backward_name: first},
            ),
            (
                "direction.shared_weights",
                f"{both} have the weights of forward",
                "backward",
                {backward_name: first},
            ),
            (
                "direction.shared_weights",
                f"{both} have the weights of backward",
                "forward",
                {forward_name: second},
            ),
        ):
            mistake = Mistake(id_, text, where._replace(direction=way))
            yield mistake, replace(hypothesis, weights={**groups, **weights})
    names = (forward_name, backward_name)
    for way, one, other in (("backward", *names[::-1]), ("forward", *names)):
        of_way = where._replace(direction=way)
        yield from one_array_of(hypothesis, "direction.shared_weights", one, other, of_way)
    yield from exchanged_arrays(hypothesis, "direction.weights_exchanged", *names, where)


def _reversed_directions(hypothesis: Hypothesis, position: int, node: Node) -> Variations:
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
        changed = hypothesis.with_whole_layer(position, reversed_layer)
        joins = _joins_ends(hypothesis, node)
        turned = hypothesis.with_whole_layer(position, _with_reversed(reversed_layer, number))
        if layer.return_sequences:
            yield mistake, replace(turned, quantities=at_end)
            at_end = tuple(
                q.in_reverse() if q.name == name and len(q.steps) > 1 else q for q in at_end
            )
            mistake = mistake._replace(text=f"{text}, and still reverses its outputs")
        yield mistake, replace(changed, quantities=at_end)
        if joins or any(_is_last(q, name) for q in hypothesis.quantities):
            text = f"{text}, and returns its first state instead of its last"
            changed = turned
            other_end = _last_of(hypothesis, node, layer.directions[1 - number])
            quantities = _joined_at(hypothesis, other_end) if joins else hypothesis.quantities
            yield mistake._replace(text=text), replace(changed, quantities=quantities)


def carried_states(hypothesis: Hypothesis, node: Node) -> Variations:
    """Start the backward direction from the final states of the forward one."""
    network, xs = hypothesis.network, hypothesis.xs
    (first, direction), (second, _) = node.scans
    widths = network.widths
    if node.initial or network.batch or widths[first] != widths[second]:
        return
    end = _last_of(hypothesis, node, direction)
    ours = numpy_run.numpy_outputs(network, hypothesis.weights, xs)
    starts = {key: values[:, end[0]] for key, values in ours.states[first].items()}
    for q in hypothesis.quantities:  # the port starts from its own states
        if q.name == first and q.network_steps is not None and end in q.network_steps:
            starts[q.key] = q.values[:, np.flatnonzero(q.network_steps == end)[0]]
    text = f"{second} starts from the final states of {first}, not from 0"
    mistake = Mistake("direction.states_carried", text, Where(node.name, "backward"))
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


def _separated(
    hypothesis: Hypothesis, first: str, second: str
) -> tuple[ReportedQuantity, ...] | None:
    """Return the quantities with the states of two recurrences as if their units alternated.

    ``None`` where the port does not give the states of both.
    """
    quantities = list(hypothesis.quantities)
    at = {(q.name, q.key): number for number, q in enumerate(quantities)}
    for key in [key for name, key in at if name == first and (second, key) in at]:
        sides = [at[first, key], at[second, key]]
        if quantities[sides[0]].values.shape != quantities[sides[1]].values.shape:
            return None
        pairs = [(quantities[side].values, quantities[side].rounding) for side in sides]
        values, rounding = (np.concatenate(both, axis=-1) for both in zip(*pairs, strict=True))
        for number, side in enumerate(sides):
            own = np.s_[..., number::2]
            quantities[side] = replace(quantities[side], values=values[own], rounding=rounding[own])
    same = all(a is b for a, b in zip(quantities, hypothesis.quantities, strict=True))
    return None if same else tuple(quantities)


def _last_of(hypothesis: Hypothesis, node: Node, direction: Direction) -> Array:
    """Return the step at which a direction ends, (1,)."""
    network = hypothesis.network
    last = network.steps_of(node) - 1
    return np.array([0 if direction.reverse else last])


def _is_last(quantity: ReportedQuantity, name: str) -> bool:
    """Return whether a quantity is the last state alone of a recurrence."""
    return quantity.name == name and len(quantity.steps) == 1


def _joined_by_unit(self: Any, ops: Any, outputs: Any) -> Any:
    """Join two directions unit by unit."""

    def by_unit(part: Array) -> Array:
        parts = part.reshape(*part.shape[:-1], 2, -1)
        return np.swapaxes(parts, -1, -2).reshape(part.shape)

    return (ops.rearrange(ops.concatenate(outputs), SameShape(by_unit)),)


def _with_reversed(layer: Any, number: int) -> Any:
    """Return a layer that reverses the output sequence of one of its directions."""

    def change(ops: Any, outputs: Any) -> Any:
        sides = list(outputs)
        if np.ndim(sides[number]) > 2:
            sides[number] = ops.rearrange(sides[number], SameShape(lambda part: part[::-1]))
        return sides

    return with_outputs(layer, change)


def _with_zeros(number: int, ops: Any, outputs: Any) -> Any:
    """Return the outputs of two directions, with zeros for one of them."""
    sides = list(outputs)
    sides[number] = ops.rearrange(sides[number], SameShape(np.zeros_like))
    return sides


def _repeated(number: int, ops: Any, outputs: Any) -> Any:
    """Return the outputs of one direction for both."""
    return [outputs[number], outputs[number]]


def _moved(number: int, step: int, ops: Any, outputs: Any) -> Any:
    """Return the outputs of one direction one step late or early, and zeros at the end."""

    def moved(part: Array) -> Array:
        rolled = np.roll(part, step, axis=0)
        rolled[0 if step == 1 else -1] = 0.0
        return rolled

    sides = list(outputs)
    sides[number] = ops.rearrange(sides[number], SameShape(moved))
    return sides


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


def _last_step(hypothesis: Hypothesis) -> Variations:
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


def _is_output(quantity: ReportedQuantity) -> bool:
    """Return whether the quantity is the output of the network, without time."""
    return quantity.name in (Y_HAT, OUTPUT) and quantity.network_steps is None
