"""Known mistakes of ports about stacks: which layer has which weights, and what it receives."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from rnnshapes.cells.cell import Cell, StepResult
from rnnshapes.cells.stacked import StackedCells
from rnnshapes.network.graph import Network, Node, Tap
from rnnshapes.network.layers.rnn import Recurrent
from rnnshapes.ops.activations import Array
from rnnshapes.ops.rearrangements import SameShape
from rnnshapes.port.hypothesis import (
    Hypothesis,
    Mistake,
    Variations,
    Where,
    recast,
    with_outputs,
)
from rnnshapes.port.mistakes.cell_changes import exchanged_arrays, one_array_of


def other_stacks(hypothesis: Hypothesis) -> Variations:
    """Exchange the weights of layers, leave one out, or pass the last step on."""
    network, weights = hypothesis.network, hypothesis.weights
    layers = [(p, n) for p, n in enumerate(network.nodes) if isinstance(n.layer, Recurrent)]
    for position, node in layers if len(layers) > 1 else ():
        yield from _omitted(hypothesis, position, node)
    yield from _shared_states(hypothesis)
    for (_, first), (_, second) in itertools.combinations(layers, 2):
        one, other = weights[first.layer.name], weights[second.layer.name]
        same = {k for k in one if k in other and one[k].shape == other[k].shape}
        if "Wh" in same:
            of_first, of_second = ({k: arrays[k] for k in same} for arrays in (one, other))
            text = f"the weights of {first.name} and {second.name} are exchanged"
            exchanged = hypothesis.with_arrays(first.layer.name, of_second)
            exchanged = exchanged.with_arrays(second.layer.name, of_first)
            yield Mistake("stack.layers_swapped", text), exchanged
            for owner, node, arrays in ((first, second, of_first), (second, first, of_second)):
                text = f"{node.name} has the weights of {owner.name}"
                mistake = Mistake("stack.shared_weights", text, Where(layer=node.name))
                yield mistake, hypothesis.with_arrays(node.layer.name, arrays)
        names = (first.layer.name, second.layer.name)
        for name, owner_name in (names, names[::-1]):
            where = Where(layer=name)
            yield from one_array_of(hypothesis, "stack.shared_weights", name, owner_name, where)
        yield from exchanged_arrays(hypothesis, "stack.layers_swapped", *names, Where())
    for after_position, after in layers:
        position = _position_before(network, after)
        node = network.nodes[position]
        layer: Any = node.layer
        if not isinstance(layer, Recurrent) or not layer.return_sequences:
            continue
        text = f"the last h of {node.name} is passed to {after.name} at every step"
        changed = hypothesis.with_whole_layer(position, _rearranged(layer, _last_repeated))
        yield Mistake("stack.last_repeated", text, Where(layer=after.name)), changed
        text = f"{after.name} receives h_{{t-1}} of {node.name} at t, not h_t"
        changed = hypothesis.with_whole_layer(position, _rearranged(layer, _delayed))
        yield Mistake("stack.previous_step", text, Where(layer=after.name)), changed
        yield from _activated_between(hypothesis, position, after)
        if after.sources[0] == Tap(position):
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


def _rearranged(layer: Any, change: Callable[[Array], Array]) -> Any:
    """Return a layer that returns its output, (T, N, M), in another arrangement."""
    moved = SameShape(change)
    return with_outputs(layer, lambda ops, outputs: [ops.rearrange(h, moved) for h in outputs])


def _last_repeated(h: Array) -> Array:
    """Return the last step as every step."""
    return np.broadcast_to(h[-1], h.shape)


def _delayed(h: Array) -> Array:
    """Return at each step the one before, and zeros at first."""
    return np.concatenate([h[:1] * 0, h[:-1]])


def _activated_between(hypothesis: Hypothesis, position: int, after: Node) -> Variations:
    """Apply one more activation to h of a layer before the next one receives it."""
    node = hypothesis.network.nodes[position]
    for name in ("relu", "tanh", "sigmoid"):
        text = f"{name} is applied to h of {node.name} before {after.name} receives it"
        activated = with_outputs(node.layer, partial(_activated, name))
        changed = hypothesis.with_whole_layer(position, activated)
        yield Mistake("stack.activated", text, Where(layer=after.name)), changed


def _activated(name: str, ops: Any, outputs: Any) -> Any:
    """Return outputs after one more activation."""
    return [ops.activate(name, h) for h in outputs]


def _skipped(hypothesis: Hypothesis, position: int, skipped: Node, before: Node) -> Variations:
    """Give a layer the input of the layer before it, if both have one size."""
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


def _omitted(hypothesis: Hypothesis, position: int, node: Node) -> Variations:
    """Pass the input of a layer on as its h, if both have one size."""
    network = hypothesis.network
    size = network.count(network.shapes_at(node.sources[0]).at_step[-1])
    if all(width == size for width in network.widths[node.name].values()):
        mistake = Mistake("layer.omitted", f"{node.name} is left out", Where(layer=node.name))
        yield mistake, hypothesis.with_whole_layer(position, _passing_on(node.layer))


def _passing_on(layer: Any) -> Any:
    """Return a recurrent layer whose states are its input."""

    def project(self: Any, ops: Any, x: Any, w: Any) -> Any:
        return x

    def step(self: Any, ops: Any, xz: Any, state: Any, w: Any) -> Any:
        return StepResult(xz, dict.fromkeys(state, xz), {})

    cell = recast(layer.direction.cell, project=project, step=step)
    return replace(layer, direction=replace(layer.direction, cell=cell))


def _shared_states(hypothesis: Hypothesis) -> Variations:
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
    changed = hypothesis.with_whole_layer(positions[0], first)
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
