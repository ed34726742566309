"""Known mistakes of ports about masked steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from rnnshapes.cells.cell import CellState
from rnnshapes.forward.scan import repeat_masked
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.layers.core import Input
from rnnshapes.network.layers.embedding import Embedding
from rnnshapes.network.layers.masking import Masking
from rnnshapes.ops.activations import Array
from rnnshapes.port.compare import compute_outputs
from rnnshapes.port.hypothesis import (
    Hypothesis,
    Mistake,
    Variations,
    Where,
    direction_of,
    recast,
)
from rnnshapes.port.mistakes.cell_changes import with_directions

#: A number that is not 0, and changes nothing.
_NOT_MASKED = 1e-30


def ignored_masks(hypothesis: Hypothesis) -> Variations:
    """Process masked steps like all others."""
    nodes = []
    for node in hypothesis.network.nodes:
        layer: Any = node.layer
        if isinstance(layer, Masking):
            layer = replace(layer, value=np.nan)  # no number equals it
        elif isinstance(layer, Embedding):
            layer = replace(layer, mask_zero=False)
        nodes.append(node if layer == node.layer else replace(node, layer=layer))
    if tuple(nodes) != hypothesis.network.nodes:
        network = replace(hypothesis.network, nodes=tuple(nodes))
        mistake = Mistake("mask.ignored", "masked steps are processed like all others")
        yield mistake, replace(hypothesis, network=network)


def other_masks(hypothesis: Hypothesis) -> Variations:
    """Process the masked steps alone, or mask each step that has the masked number anywhere."""
    x = hypothesis.xs[0]
    for position, node in enumerate(hypothesis.network.nodes):
        layer: Any = node.layer
        if not isinstance(layer, Masking) and not (
            isinstance(layer, Embedding) and layer.mask_zero
        ):
            continue
        # Where no step is processed, or none makes a difference, other mistakes give the same.
        if any(np.ptp(q.values, axis=(0, 1)).any() for q in hypothesis.quantities):
            text = f"the mask of {layer.name} is inverted: its masked steps alone are processed"
            inverted = recast(layer, mask=_inverted(type(layer)))
            mistake = Mistake("mask.inverted", text, Where(layer=layer.name))
            yield mistake, hypothesis.with_whole_layer(position, inverted)
        source = hypothesis.network.nodes[node.sources[0].node].layer
        is_of_x = isinstance(source, Input) and len(hypothesis.xs) == 1
        if isinstance(layer, Masking) and is_of_x:
            masked = (x == layer.value).any(axis=-1, keepdims=True)
            changed = np.where(masked, x.dtype.type(layer.value), x)
            if not np.array_equal(changed, x):
                text = f"a step is masked if any feature is {layer.value:g}, not only if all are"
                mistake = Mistake("mask.any_feature", text, Where(layer=layer.name))
                yield mistake, replace(hypothesis, xs=(changed,))


def _inverted(kind: type[Any]) -> Callable[..., Any]:
    """Return the mask of a layer, with True for False."""

    def mask(self: Any, inputs: Sequence[Any], masks: Sequence[Any]) -> Any:
        return ~kind.mask(self, inputs, masks)

    return mask


def shifted_masks(hypothesis: Hypothesis) -> Variations:
    """Mask one step more or less at the end of each sample, or process the padding before it."""
    x = hypothesis.xs[0]
    layers: list[Any] = [node.layer for node in hypothesis.network.nodes]
    values = [layer.value for layer in layers if isinstance(layer, Masking)]
    tokens = any(isinstance(layer, Embedding) and layer.mask_zero for layer in layers)
    if len(hypothesis.xs) != 1 or len(values) + tokens != 1 or x.ndim != (2 if tokens else 3):
        return
    value = 0 if tokens else values[0]
    counts = x != value if tokens else (x != value).any(axis=2)
    samples = np.flatnonzero(counts.any(axis=1))
    last = x.shape[1] - 1 - np.argmax(counts[samples, ::-1], axis=1)
    shorter = np.array(x)
    shorter[samples, last] = value
    mistake = Mistake("mask.shifted", "the last step before the padding is masked, too")
    yield mistake, replace(hypothesis, xs=(shorter,))
    padded = last < x.shape[1] - 1
    if not tokens and padded.any():
        longer = np.array(x)
        other = np.nextafter(np.float32(value), np.float32(np.inf)) if value else _NOT_MASKED
        longer[samples[padded], last[padded] + 1] = other
        mistake = Mistake("mask.shifted", "the first step of the padding is processed, too")
        yield mistake, replace(hypothesis, xs=(longer,))
    if padded.any():
        moved = np.array(x)
        for sample, at in zip(samples, last, strict=True):
            moved[sample] = np.roll(x[sample], x.shape[1] - 1 - at, axis=0)
        text = "the padding stands before each sample, not after it, and is processed"
        for _, ignored in ignored_masks(replace(hypothesis, xs=(moved,))):
            yield Mistake("mask.padding_first", text), ignored


def other_lengths_of_samples(hypothesis: Hypothesis) -> Variations:
    """Process other steps of a sample than its mask counts: those of a length, or another mask."""
    nodes, positions = hypothesis.network.nodes, _masked_recurrences(hypothesis)
    masks = compute_outputs(hypothesis).masks if positions else {}
    known = [masks[nodes[nodes[position].sources[0].node].name] for position in positions]
    for text, steps in (
        ("each sample ends at its first masked step: all later ones are masked, too", _first_steps),
        ("each sample is processed up to the number of its steps that count", _as_many_steps),
        ("masked steps before the last step that counts are processed, too", _up_to_last),
        ("the mask, or the length, of the last sample is used for all samples", -1),
        ("the mask, or the length, of the first sample is used for all samples", 0),
    ):
        counted = [
            _steps_of_sample(mask[steps]) if isinstance(steps, int) else steps for mask in known
        ]
        others = [np.asarray(c(mask.T)).T for c, mask in zip(counted, known, strict=True)]
        differs = any(not np.array_equal(*pair) for pair in zip(others, known, strict=True))
        # Where a sample has no step that counts, other mistakes give the same.
        if differs and all(other.any(axis=1).all() for other in others):
            changed = _with_masked_numbers(hypothesis)
            for position, function in zip(positions, counted, strict=True):
                changed = with_directions(changed, position, _counting(function))
            yield Mistake("mask.length", text), changed


def _first_steps(mask: Array) -> Array:
    """Return the steps (T, N) before the first masked one of each sample."""
    return np.logical_and.accumulate(mask, axis=0)


def _as_many_steps(mask: Array) -> Array:
    """Return the first steps (T, N) of each sample, as many as count."""
    return np.asarray(np.arange(len(mask))[:, None] < mask.sum(axis=0))


def _up_to_last(mask: Array) -> Array:
    """Return the steps (T, N) up to the last one of each sample that counts."""
    return np.logical_or.accumulate(mask[::-1], axis=0)[::-1]


def _steps_of_sample(steps: Array) -> Callable[[Array], Array]:
    """Return a function that counts these steps (T,) of every sample."""
    return lambda mask: np.broadcast_to(steps[:, None], mask.shape)


def states_updated_alone(hypothesis: Hypothesis) -> Variations:
    """Leave one of h and c alone as it is at masked steps, and change the other."""
    positions = _masked_recurrences(hypothesis)
    directions = [d for p in positions for d in hypothesis.network.nodes[p].layer.directions]
    if not all(any(key.startswith("c") for key in d.cell.states) for d in directions):
        return
    for held, updated in ("hc", "ch") if directions else ():
        changed = _with_masked_numbers(hypothesis)
        for position in positions:
            changed = with_directions(changed, position, _holding(held))
        text = f"{updated} is changed at masked steps: {held} alone is left as it is"
        yield Mistake("mask.state_updated", text), changed


def masks_ignored_alone(hypothesis: Hypothesis) -> Variations:
    """Process masked steps in one layer or direction alone, or set its outputs there to 0."""
    nodes, positions = hypothesis.network.nodes, _masked_recurrences(hypothesis)
    several = len(positions) > 1
    for position in positions:
        layer: Any = nodes[position].layer
        both = len(layer.directions) > 1
        zeroed = layer.zero_output_for_mask and layer.return_sequences
        scopes = [layer.directions] if several or zeroed else []
        scopes += [(direction,) for direction in layer.directions] if both else []
        for some in scopes:
            where = Where(layer=layer.name)
            text = f"{layer.name} processes masked steps like all others"
            if len(some) < len(layer.directions):
                (direction,) = some
                where = where._replace(direction=direction_of(layer, direction.name))
                text = f"{direction.name} alone processes masked steps like all others"
            names = {direction.name for direction in some}
            base = _with_masked_numbers(hypothesis)
            if several or len(some) < len(layer.directions):
                changed = with_directions(base, position, _counting(_no_mask), names)
                yield Mistake("mask.ignored", text, where), changed
            if zeroed:
                changed = with_directions(base, position, _updating, names)
                text = f"{text}, and sets its outputs there to 0"
                yield Mistake("mask.ignored", text, where), changed


def _no_mask(mask: Array) -> None:
    return None


def _masked_recurrences(hypothesis: Hypothesis) -> list[int]:
    """Return the positions of the recurrent layers whose input has a mask."""
    network = hypothesis.network
    return [
        position
        for position, node in enumerate(network.nodes)
        if node.layer.directions
        and network.shapes_at(node.sources[0]).masked
        and not node.mask_dropped
    ]


def _with_masked_numbers(hypothesis: Hypothesis) -> Hypothesis:
    """Return the hypothesis with the numbers of x at masked steps, which Masking sets to 0."""
    for position, node in enumerate(hypothesis.network.nodes):
        layer: Any = node.layer
        if isinstance(layer, Masking) and layer.value:
            hypothesis = hypothesis.with_layer(position, recast(layer, call=_unchanged))
    return hypothesis


def _unchanged(self: Any, ops: Any, inputs: Sequence[Any], w: Any, masks: Any) -> Any:
    return inputs[0]


def _counting(function: Callable[[Array], Array | None]) -> Callable[[Direction], Direction]:
    """Return what makes a recurrence count other steps, from its mask (T, N)."""

    def counted_steps(self: Any, mask: Any) -> Any:
        return None if mask is None else function(mask)

    return partial(recast, counted_steps=counted_steps)


def _holding(held: str) -> Callable[[Direction], Direction]:
    """Return what makes a recurrence leave one of h and c as it is at masked steps."""

    def states(self: Any, before: CellState, after: CellState) -> CellState:
        return {key: (before if key.startswith(held) else after)[key] for key in before}

    return partial(recast, states_after_masked=states)


def _updating(direction: Direction) -> Direction:
    """Return a recurrence that processes masked steps, and has a mask all the same."""

    def states(self: Any, before: CellState, after: CellState) -> CellState:
        return after

    changed: Direction = recast(direction, states_after_masked=states)
    return changed


def zeroed_outputs(hypothesis: Hypothesis) -> Variations:
    """Give zeros at masked steps for the output of a recurrent layer."""
    if hypothesis.is_constant_over_samples:
        return
    nodes = hypothesis.network.nodes
    for position in _masked_recurrences(hypothesis):
        node = nodes[position]
        layer: Any = node.layer
        if not layer.zero_output_for_mask:
            text = f"{node.name} gives 0 at masked steps, not the output of the step before"
            mistake = Mistake("mask.zeroed_output", text, Where(layer=node.name))
            changed = replace(layer, zero_output_for_mask=True)
            yield mistake, hypothesis.with_layer(position, changed)
    yield from _zeroed_reports(hypothesis)


def _zeroed_reports(hypothesis: Hypothesis) -> Variations:
    """Give zeros for a state at masked steps, as PyTorch's output of packed sequences has them."""
    network = hypothesis.network
    nodes = [network.nodes[position] for position in _masked_recurrences(hypothesis)]
    masks = compute_outputs(hypothesis).masks if nodes else {}
    quantities, names = list(hypothesis.quantities), []
    for node in nodes:
        mask = masks[network.nodes[node.sources[0].node].name]
        for name, direction in node.scans:
            for number, q in enumerate(quantities):
                at_each_step = q.name == name and q.values.shape[:2] == mask.shape
                if at_each_step and not q.values[~mask].any():
                    repeat = partial(_repeated, direction=direction, mask=mask)
                    quantities[number] = q.map(repeat)
                    names.append(f"{q.key} of {name}")
    if names:
        text = (
            f"at masked steps, 0 is given for {', '.join(names)}, not the state of the step before"
        )
        yield Mistake("mask.zeroed_output", text), replace(hypothesis, quantities=tuple(quantities))


def _repeated(values: Array, direction: Direction, mask: Array) -> Array:
    """Return states (N, T, M) with those of the step before at masked steps."""
    return repeat_masked(direction, {"": values}, {}, mask)[""]


def zeroed_states(hypothesis: Hypothesis) -> Variations:
    """Set the states to 0 at masked steps, in all recurrent layers or in one of them.

    The last output of one sample is then the same for every x, if its last step is masked.
    """
    network, masked = hypothesis.network, _masked_recurrences(hypothesis)
    one_output = all(q.values[..., 0].size == 1 for q in hypothesis.quantities)
    if one_output or hypothesis.is_constant_over_samples or not masked:
        return
    each = [[position] for position in masked] if len(masked) > 1 else []
    for positions in (masked, *each):
        names = [network.nodes[position].name for position in positions]
        alone = f"in {names[0]} alone, " if positions != masked else ""
        where = Where(layer=names[0] if len(names) == 1 else None)
        changed = hypothesis
        for position in positions:
            changed = with_directions(changed, position, _zeroed_when_masked)
        text = f"{alone}the states are set to 0 at masked steps, not left as they are"
        yield Mistake("mask.zeroed_state", text, where), changed


def _zeroed_when_masked(direction: Direction) -> Direction:
    def zeros(self: Any, before: CellState, after: CellState) -> CellState:
        return {key: values * 0.0 for key, values in before.items()}

    changed: Direction = recast(direction, states_after_masked=zeros)
    return changed
