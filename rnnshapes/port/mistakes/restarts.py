"""Known mistakes of ports that set the states to 0 again, or leave out the first or last step."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from rnnshapes.network.layers.base import Direction
from rnnshapes.ops.activations import Array
from rnnshapes.ops.rearrangements import SameShape
from rnnshapes.port.compare import compute_outputs
from rnnshapes.port.hypothesis import (
    Hypothesis,
    Mistake,
    Variations,
    Where,
    direction_of,
    recast,
    with_outputs,
)
from rnnshapes.port.mistakes.cell_changes import with_directions
from rnnshapes.port.mistakes.steps import first_difference, gives_every_step

#: Lengths of blocks, where the first step that differs does not tell it.
_LENGTHS = (2, 3, 4, 5, 6, 8, 10, 16)


def states_set_to_0(hypothesis: Hypothesis) -> Variations:
    """Set the states to 0 after every few steps.

    How many steps they are, the first step that differs tells, if all recurrences start at t = 0.
    """
    network = hypothesis.network
    if hypothesis.sequences is None or network.batch:
        return
    recurrences = [direction for node in network.recurrent for _, direction in node.scans]
    lengths: tuple[int, ...] = _LENGTHS
    if gives_every_step(hypothesis) and not any(one.reverse for one in recurrences):
        lengths = (first_difference(hypothesis),)
    elif all(len(q.steps) == 1 for q in hypothesis.quantities) and network.runs_in_blocks:
        return  # the last step alone has other mistakes with the same numbers
    for length in lengths:
        counts = (network.steps_of(node) for node in network.recurrent)
        if 1 < length < max(counts, default=0):
            changed = hypothesis
            for position, node in enumerate(network.nodes):
                if node.layer.directions:
                    count = network.steps_of(node)
                    restarted = partial(_restarted, every=length, count=count)
                    changed = with_directions(changed, position, restarted)
            text = f"the states are set to 0 after every {length} steps, as at a new sample"
            yield Mistake("state.zeroed_in_blocks", text), changed


def _restarted(direction: Direction, every: int, count: int) -> Direction:
    """Return a recurrence that starts from its first states again after every few steps."""
    return _with_restarts(direction, range(every, count, every), count)


def _with_restarts(direction: Direction, steps: Iterable[int], count: int) -> Direction:
    """Return a recurrence that starts again at steps, counted in the order of processing."""
    restarts = frozenset(count - 1 - step if direction.reverse else step for step in steps)
    changed: Direction = recast(direction, restarts=restarts)
    return changed


def unprocessed_ends(hypothesis: Hypothesis) -> Variations:
    """Leave out the first or the last step, whose h is 0; after the first, states start from 0.

    Where a layer passes on its last state alone, that is the state of the step before.
    """
    network = hypothesis.network
    alone = all(len(q.steps) == 1 for q in hypothesis.quantities)
    if hypothesis.sequences is None or network.batch or (alone and network.runs_in_blocks):
        return
    for (names, label, where), which in itertools.product(_scopes(hypothesis), ("first", "last")):
        changed, steps = hypothesis, {}
        for position, node in enumerate(network.nodes):
            for number, (name, direction) in enumerate(node.scans):
                count = network.steps_of(node)
                if direction.name in names and count > 2:
                    step = (count - 1) * (direction.reverse == (which == "first"))
                    changed = _recurrence_without(changed, position, number, which, step)
                    steps[name] = step
        reported = _quantities_without(changed, steps, which)
        if reported is not None:
            text = f"{label} does not process its {which} step"
            mistake = Mistake(f"time.{which}_omitted", text, where, "process all T steps")
            yield mistake, reported


def _scopes(hypothesis: Hypothesis) -> Iterator[tuple[set[str], str, Where]]:
    """Yield the recurrences that have a mistake, in words, and where they are: all, or one."""
    recurrences = [(n, d) for n in hypothesis.network.recurrent for _, d in n.scans]
    if len(recurrences) > 1:
        yield {d.name for _, d in recurrences}, "each recurrence", Where()
    for node, direction in recurrences:
        where = Where(node.name, direction_of(node.layer, direction.name))
        yield {direction.name}, direction.name, where


def _recurrence_without(
    hypothesis: Hypothesis, position: int, number: int, which: str, step: int
) -> Hypothesis:
    """Return the hypothesis in which one recurrence of a layer leaves out a step at its end."""
    node = hypothesis.network.nodes[position]
    layer: Any = node.layer
    count = hypothesis.network.steps_of(node)
    name = layer.directions[number].name
    if which == "first":
        restarted = partial(_with_restarts, steps=[1], count=count)
        hypothesis = with_directions(hypothesis, position, restarted, {name})
        layer = hypothesis.network.nodes[position].layer
    elif not layer.return_sequences and all(
        len(q.steps) == 1 for q in hypothesis.quantities if not q.key
    ):  # the last state is that of the step before
        kept = np.arange(count)[:, None] != step
        counting = partial(
            recast, counted_steps=lambda self, mask: kept if mask is None else mask & kept
        )
        return with_directions(hypothesis, position, counting, {name})
    place = count - 1 - step if layer.reversed_outputs[number] else step
    zeroed = partial(_with_zeros, number=number, step=place, count=count)
    return hypothesis.with_whole_layer(position, with_outputs(layer, zeroed))


def _with_zeros(ops: Any, outputs: Any, number: int, step: int, count: int) -> Any:
    """Return the outputs of a layer, (T, N, M), with zeros at one step of one direction."""
    sides = list(outputs)
    sides[number] = ops.rearrange(sides[number], SameShape(_zeroed_at(step, count)))
    return sides


def _zeroed_at(step: int, count: int) -> Callable[[Array], Array]:
    def zeroed(h: Array) -> Array:
        if h.ndim < 3 or len(h) != count:  # the last state alone, or some of the steps
            return h
        changed = h.copy()
        changed[step] = 0.0
        return changed

    return zeroed


def _quantities_without(
    hypothesis: Hypothesis, steps: Mapping[str, int], which: str
) -> Hypothesis | None:
    """Return the hypothesis without the states at one step each, if the port gives zeros for them.

    ``steps`` are by recurrence. ``None`` where it gives other numbers, and where all that it gives
    is 0 at the last step: then the array may as well not be written to its end, which is another
    mistake.
    """
    ours, quantities, others = compute_outputs(hypothesis), list(hypothesis.quantities), False
    for number, q in enumerate(quantities):
        if q.network_steps is None or not q.key or q.name not in steps:
            others = True
            continue
        here = q.network_steps == steps[q.name]
        if q.values[:, here].any():
            return None
        values, rounding = q.values.copy(), q.rounding.copy()
        values[:, here] = q.expected(hypothesis.network, ours)[:, here]
        rounding[:, here] = np.inf
        quantities[number] = replace(q, values=values, rounding=rounding)
    is_ambiguous = not steps or (which == "last" and not others)
    return None if is_ambiguous else replace(hypothesis, quantities=tuple(quantities))
