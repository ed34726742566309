"""Known mistakes of ports about layers that are no recurrences.

Each function yields the mistakes of one kind that the network allows, each with the hypothesis
that the port makes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rnnshapes.network.graph import Tap
from rnnshapes.network.layers.regularization import Inactive
from rnnshapes.ops.activations import Array
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Where, recast

#: Values of epsilon that frameworks have.
_EPSILONS = (1e-5, 1e-3, 1e-6, 1e-12, 0.0)


def head_layers(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Leave out a layer after the last recurrence, or compute it with another epsilon or axis."""
    head = list(hypothesis.network.head)
    yield from _other_layers(hypothesis, head)
    for position in head:
        layer: Any = hypothesis.network.nodes[position].layer
        softmax = getattr(layer, "activation", "") == "softmax"
        if softmax and hypothesis.network.returns_sequences:
            linear = replace(layer, activation="linear")
            changed = hypothesis.with_layer(position, _over_time(linear))
            text = f"the softmax of {layer.name} is taken over time, not over its units"
            mistake = Mistake("head.activation", text, Where(layer=layer.name))
            yield mistake, replace(changed, unwindowed=True)


def earlier_layers(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Leave out a layer before the last recurrence, or read the rows of an Embedding wrongly."""
    network = hypothesis.network
    earlier = [position for position in range(len(network.nodes)) if position not in network.head]
    yield from _other_layers(hypothesis, earlier)
    for position in earlier:
        layer = network.nodes[position].layer
        if layer.type == "Embedding":
            yield from _other_rows(hypothesis, layer.name)


def _other_layers(
    hypothesis: Hypothesis, positions: Sequence[int]
) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Leave out each layer that changes no shape, or give it another epsilon."""
    network = hypothesis.network
    for position in positions:
        node = network.nodes[position]
        layer: Any = node.layer
        known = layer.type == "BatchNormalization" and position in network.head
        if layer.directions or len(node.sources) != 1 or known or _changes_nothing(layer):
            continue
        where = Where(layer=layer.name)
        shapes = [network.shapes_at(tap).shapes[0] for tap in (node.sources[0], Tap(position))]
        if shapes[0] == shapes[1]:
            mistake = Mistake("layer.omitted", f"{layer.name} ({layer.type}) is left out", where)
            yield mistake, hypothesis.with_layer(position, recast(layer, call=_unchanged))
        epsilon = getattr(layer, "epsilon", None)
        for other in _EPSILONS if isinstance(epsilon, float) else ():
            if other != epsilon:
                text = f"epsilon of {layer.name} is {other:g}, not {epsilon:g}"
                changed = hypothesis.with_layer(position, replace(layer, epsilon=other))
                yield Mistake("layer.epsilon", text, where, f"epsilon = {epsilon:g}"), changed


def _changes_nothing(layer: Any) -> bool:
    """Return whether the output of a layer is its input, as that of Dropout."""
    inner = getattr(layer, "inner", layer)  # of TimeDistributed
    is_linear = inner.type == "Activation" and inner.activations == ("linear",)
    return is_linear or isinstance(inner, Inactive)


def _unchanged(self: Any, ops: Any, inputs: Sequence[Any], w: Any, masks: Any) -> Any:
    return inputs[0]


def _over_time(linear: Any) -> Any:
    """Return a layer without an activation, followed by a softmax over all steps."""
    kind = type(linear)

    def turned(values: Array) -> Array:
        return np.swapaxes(values, 1, -1)

    def call(self: Any, ops: Any, inputs: Sequence[Any], w: Any, masks: Any) -> Any:
        z = kind.call(self, ops, inputs, w, masks)
        return ops.rearrange(ops.activate("softmax", ops.rearrange(z, turned)), turned)

    return recast(linear, call=call, stepwise=False)


def _other_rows(hypothesis: Hypothesis, name: str) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Read the row before or after that of a token, or the table as its transpose."""
    arrays = hypothesis.weights.get(name, {})
    for key, table in arrays.items():
        where = Where(layer=name, array="embeddings")
        for text, fix, other in (
            ("i - 1", "read row i for token i", np.concatenate([table[:1], table[:-1]])),
            ("i + 1", "read row i for token i", np.concatenate([table[1:], table[-1:]])),
        ):
            mistake = Mistake("embedding.shifted", f"{name}: token i has row {text}", where, fix)
            yield mistake, _with_table(hypothesis, name, key, other)
        flat = np.ascontiguousarray(table.T).reshape(table.shape)
        text = f"the table of {name} is a buffer of (features, tokens), read as (tokens, features)"
        mistake = Mistake("layout.flat_buffer", text, where)
        yield mistake, _with_table(hypothesis, name, key, flat)


def _with_table(hypothesis: Hypothesis, name: str, key: str, table: Array) -> Hypothesis:
    arrays = {**hypothesis.weights[name], key: table}
    return replace(hypothesis, weights={**hypothesis.weights, name: arrays})
