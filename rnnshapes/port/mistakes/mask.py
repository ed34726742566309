"""Known mistakes of ports about masked steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rnnshapes.network.layers.base import Direction
from rnnshapes.network.layers.core import Input
from rnnshapes.network.layers.embedding import Embedding
from rnnshapes.network.layers.masking import Masking
from rnnshapes.network.layers.rnn import RecurrentLayer
from rnnshapes.ops.activations import Array
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Variations, Where, recast

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
        is_of_x = isinstance(source, Input) and len(hypothesis.xs) == 1 and x.ndim == 3
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


def zeroed_outputs(hypothesis: Hypothesis) -> Variations:
    """Give zeros at masked steps for the output of a recurrent layer."""
    nodes = hypothesis.network.nodes
    if not any(isinstance(node.layer, Masking | Embedding) for node in nodes):
        return
    for position, node in enumerate(nodes):
        layer: Any = node.layer
        sequences = isinstance(layer, RecurrentLayer) and layer.return_sequences
        if sequences and not layer.zero_output_for_mask:
            text = f"{node.name} gives 0 at masked steps, not the output of the step before"
            mistake = Mistake("mask.zeroed_output", text, Where(layer=node.name))
            changed = replace(layer, zero_output_for_mask=True)
            yield mistake, hypothesis.with_layer(position, changed)


def zeroed_states(hypothesis: Hypothesis) -> Variations:
    """Set the states to 0 at masked steps, in all recurrent layers or in one of them.

    The last output of one sample is then the same for every x, if its last step is masked.
    """
    network = hypothesis.network
    masked = [
        position
        for position, node in enumerate(network.nodes)
        if node.layer.directions
        and network.shapes_at(node.sources[0]).masked
        and not node.mask_dropped
    ]
    one_output = all(q.values[..., 0].size == 1 for q in hypothesis.quantities)
    if one_output or hypothesis.is_constant_over_samples or not masked:
        return
    each = [[position] for position in masked] if len(masked) > 1 else []
    for positions in (masked, *each):
        names = [network.nodes[position].name for position in positions]
        alone = f"in {names[0]} alone, " if positions != masked else ""
        where = Where(layer=names[0] if len(names) == 1 else None)
        changed = replace(hypothesis, unwindowed=True)
        for position in positions:
            layer: Any = network.nodes[position].layer
            changed = changed.with_layer(position, layer.map_directions(_zeroed_when_masked))
        text = f"{alone}the states are set to 0 at masked steps, not left as they are"
        yield Mistake("mask.zeroed_state", text, where), changed


def _zeroed_when_masked(direction: Direction) -> Direction:
    def zeros(self: Any, state: Mapping[str, Array]) -> dict[str, Array]:
        return {key: values * 0.0 for key, values in state.items()}

    return replace(direction, cell=recast(direction.cell, states_after_masked=zeros))
