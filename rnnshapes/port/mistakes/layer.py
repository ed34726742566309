"""Known mistakes of ports about layers that are no recurrences: left out, or computed otherwise."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rnnshapes.forward import numpy_run
from rnnshapes.network.graph import Node, Tap
from rnnshapes.network.layers.core import Input
from rnnshapes.network.layers.pooling import GlobalPooling
from rnnshapes.network.layers.regularization import Inactive
from rnnshapes.ops.activations import Array
from rnnshapes.ops.dims import Shape
from rnnshapes.ops.rearrangements import WHOLE, Selection, Transposed
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Variations, Where, recast
from rnnshapes.port.mistakes.layout import FORTRAN, as_flat, by_columns
from rnnshapes.port.mistakes.weight_rounding import Grid
from rnnshapes.port.quantities import OUTPUT

#: Values of epsilon that frameworks have.
_EPSILONS = (1e-5, 1e-3, 1e-6, 1e-12, 0.0)
#: Rows of an Embedding are not divided by less.
_SHORTEST = 1e-30
#: Of so many tokens, each is tried alone, and of so many every two; the first rows may stand for
#: unknown words.
_MOST_TOKENS, _MOST_EXCHANGED, _MOST_UNKNOWN = 64, 16, 3
#: How to take a softmax over units.
_SOFTMAX = "exp(z) / exp(z).sum(axis=-1, keepdims=True)"


def head_layers(hypothesis: Hypothesis) -> Variations:
    """Leave out a layer after the last recurrence, or compute it with another epsilon or axis."""
    head = list(hypothesis.network.head)
    yield from _other_layers(hypothesis, head)
    for position in head:
        layer: Any = hypothesis.network.nodes[position].layer
        name, where = layer.name, Where(layer=layer.name)
        at_steps = hypothesis.network.returns_sequences
        if getattr(layer, "activation", "") == "softmax" and at_steps:
            linear = replace(layer, activation="linear")
            text = f"the softmax of {name} is taken over time, not over its units"
            mistake = Mistake("head.activation", text, where, _SOFTMAX)
            yield mistake, _over_time(hypothesis, position, linear, _softmax)
        if getattr(layer, "activation", "") == "softmax":
            yield from _over_samples(hypothesis, position)
        yield from _other_normalizations(hypothesis, position)
        if layer.type == "LayerNormalization" and at_steps:
            text = f"{name} takes mean and variance over time, not over its units"
            mistake = Mistake("layer.axis", text, where)
            yield mistake, _over_time(hypothesis, position, layer, _standardized)
        if isinstance(layer, GlobalPooling):
            yield from _other_pooling(hypothesis, position)


def earlier_layers(hypothesis: Hypothesis) -> Variations:
    """Leave out a layer before the last recurrence, or read the rows of an Embedding wrongly."""
    network = hypothesis.network
    earlier = [position for position in range(len(network.nodes)) if position not in network.head]
    yield from _other_layers(hypothesis, earlier)
    for position in earlier:
        layer = network.nodes[position].layer
        yield from _other_normalizations(hypothesis, position)
        if layer.type == "Embedding":
            yield from _other_rows(hypothesis, layer.name)


def _other_layers(hypothesis: Hypothesis, positions: Sequence[int]) -> Variations:
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
        units = [[network.count(dim) for dim in shape[-1:]] for shape in shapes]
        if shapes[0][:-1] == shapes[1][:-1] and units[0] == units[1]:
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


def _over_time(
    hypothesis: Hypothesis,
    position: int,
    layer: Any,
    function: Callable[[Any, Any, Any], Any],
) -> Hypothesis:
    """Return the hypothesis with a layer that takes time for the axis of its units.

    ``function`` takes the layer, the interpreter and the values (N, units, T).
    """
    linear = layer.type != "LayerNormalization"

    time_last = Transposed((0, 2, 1))

    def call(self: Any, ops: Any, inputs: Sequence[Any], w: Any, masks: Any) -> Any:
        z = type(layer).call(self, ops, inputs, w, masks) if linear else inputs[0]
        z = ops.rearrange(function(self, ops, ops.rearrange(z, time_last)), time_last)
        if linear:
            return z
        z = z * w.gamma if self.scale else z
        return z + w.beta if self.center else z

    changed = hypothesis.with_layer(position, recast(layer, call=call, stepwise=False))
    return replace(changed, unwindowed=True)


def _softmax(layer: Any, ops: Any, z: Any) -> Any:
    return ops.activate("softmax", z)


def _standardized(layer: Any, ops: Any, z: Any) -> Any:
    """Return values with mean 0 and variance 1 over the last axis."""
    deviation = z - ops.mean(z, -1)
    return deviation * ops.rsqrt(ops.mean(deviation * deviation, -1) + layer.epsilon)


def _over_samples(hypothesis: Hypothesis, position: int) -> Variations:
    """Divide each exp(z) of a softmax by the sum over all samples, or over all numbers.

    These are exp(z - d), where the logarithms d of the sums are a second input.
    """
    layer: Any = hypothesis.network.nodes[position].layer
    linear = replace(layer, activation="linear")
    z = _values_at(hypothesis.with_layer(position, linear), Tap(position))
    if z is None or len(z) < 2:
        return

    def call(self: Any, ops: Any, inputs: Sequence[Any], w: Any, masks: Any) -> Any:
        return ops.activate(
            "exponential", type(linear).call(self, ops, inputs, w, masks) + inputs[1]
        )

    def own_shapes(self: Any, shapes: Sequence[Shape]) -> Sequence[Shape]:
        return (*type(linear).own_shapes(self, shapes[:1]), shapes[1])

    largest = z.max(axis=0)
    of_samples = largest + np.log(np.exp(z - largest).sum(axis=0))
    of_all = z.max() + np.log(np.exp(z - z.max()).sum())
    shape = hypothesis.network.shapes_at(Tap(position)).shapes[0]
    for what, logarithms in (("the samples", of_samples), ("all numbers", of_all)):
        text = f"the softmax of {layer.name} is taken over {what}, not over its units"
        mistake = Mistake("head.activation", text, Where(layer=layer.name), _SOFTMAX)
        second = np.array(np.broadcast_to(-logarithms, z.shape))
        shifted = recast(linear, call=call, own_shapes=own_shapes)
        changed = with_second_input(hypothesis, position, shifted, second, shape)
        if changed is not None:
            yield mistake, changed


def with_second_input(
    hypothesis: Hypothesis, position: int, layer: Any, values: Array, shape: Shape
) -> Hypothesis | None:
    """Return the hypothesis with a layer that takes values (N, …) beside its input.

    They have one step alone where the model returns the last one, and so has what the port gives
    of its output: otherwise there is no such hypothesis.

    Args:
        hypothesis: The hypothesis.
        position: The position of the layer.
        layer: The layer, with the values as its second input.
        values: The values.
        shape: Their symbolic shape.
    """
    network, steps = hypothesis.network, hypothesis.network.returns_sequences
    if not steps and any(len(q.steps) > 1 for q in hypothesis.quantities if not q.key):
        return None

    def moved(taps: tuple[Tap, ...]) -> tuple[Tap, ...]:
        return tuple(Tap(tap.node + (tap.node > 0), tap.output) for tap in taps)

    name = f"{layer.name}/second"
    nodes = [replace(n, sources=moved(n.sources), initial=moved(n.initial)) for n in network.nodes]
    sources = (*nodes[position].sources, Tap(1))
    nodes[position] = replace(nodes[position], layer=layer, sources=sources)
    nodes.insert(1, Node(name, Input(name=name, shape=shape)))
    quantities = tuple(
        q if q.key or steps else replace(q, name=OUTPUT, network_steps=None)
        for q in hypothesis.quantities
    )
    return replace(
        hypothesis,
        network=replace(network, nodes=tuple(nodes), outputs=moved(network.outputs)),
        xs=(hypothesis.xs[0], values, *hypothesis.xs[1:]),
        quantities=quantities,
        unwindowed=True,
    )


def _other_normalizations(hypothesis: Hypothesis, position: int) -> Variations:
    """Normalize by other numbers, or with gamma and beta left out or exchanged."""
    layer = hypothesis.network.nodes[position].layer
    if layer.type == "BatchNormalization":
        yield from _batch_statistics(hypothesis, position)
        yield from _without_root(hypothesis, position)
    if layer.type == "LayerNormalization":
        yield from _other_deviation(hypothesis, position)
    if layer.type in ("BatchNormalization", "LayerNormalization"):
        yield from _without_scale(hypothesis, layer.name)
        yield from _exchanged_arrays(hypothesis, layer.name)


def _batch_statistics(hypothesis: Hypothesis, position: int) -> Variations:
    """Take mean and variance of the batch for those that are stored."""
    node = hypothesis.network.nodes[position]
    layer, arrays = node.layer, hypothesis.weights[node.group]
    values = _values_at(hypothesis, node.sources[0])
    if values is None or values[..., 0].size < 2:
        return
    axes = tuple(range(values.ndim - 1))
    weights = {**arrays, "mean": values.mean(axes), "var": values.var(axes)}
    text = f"{layer.name} takes mean and variance of the batch, not the stored ones"
    mistake = Mistake("layer.batch_statistics", text, Where(layer=layer.name))
    yield mistake, replace(hypothesis, weights={**hypothesis.weights, node.group: weights})


def _values_at(hypothesis: Hypothesis, tap: Tap) -> Array | None:
    """Return what a node of the network gives, (N, …); None where it is not finite."""
    node = hypothesis.network.nodes[tap.node]
    ours = numpy_run.numpy_outputs(hypothesis.network, hypothesis.weights, hypothesis.xs)
    values = ours.values[node.name][tap.output]
    return values if np.isfinite(values).all() else None


def _without_root(hypothesis: Hypothesis, position: int) -> Variations:
    """Divide by the stored variance, with epsilon or without it, and not by its square root."""
    layer: Any = hypothesis.network.nodes[position].layer
    var = hypothesis.weights[layer.name]["var"]
    fix = "(x - mean) / sqrt(var + epsilon), with the stored mean and var"
    for what, divisor in (("var + epsilon", var + layer.epsilon), ("var", var)):
        text = f"{layer.name} divides by {what}, not by the square root of var + epsilon"
        mistake = Mistake("layer.deviation", text, Where(layer=layer.name), fix)
        arrays = {"var": np.square(divisor) - layer.epsilon}
        yield mistake, hypothesis.with_arrays(layer.name, arrays)
    text = f"{layer.name}: epsilon is added to the square root of var, not to var"
    mistake = Mistake("layer.deviation", text, Where(layer=layer.name), fix)
    root = np.sqrt(np.maximum(var, 0.0))
    arrays = {"var": np.square(root + layer.epsilon) - layer.epsilon}
    yield mistake, hypothesis.with_arrays(layer.name, arrays)


def _exchanged_arrays(hypothesis: Hypothesis, name: str) -> Variations:
    """Exchange gamma and beta, or the stored mean and variance, if none of these is negative."""
    arrays = hypothesis.weights.get(name, {})
    for one, other in (("gamma", "beta"), ("mean", "var")):
        if {one, other} <= arrays.keys() and (other != "var" or (arrays[one] >= 0).all()):
            text = f"{one} and {other} of {name} are exchanged"
            mistake = Mistake("layer.arrays_exchanged", text, Where(layer=name))
            exchanged = {one: arrays[other], other: arrays[one]}
            yield mistake, hypothesis.with_arrays(name, exchanged)


def _other_deviation(hypothesis: Hypothesis, position: int) -> Variations:
    """Divide by another number than the deviation, or do not subtract the mean."""
    layer: Any = hypothesis.network.nodes[position].layer
    units = hypothesis.network.count(layer.features)
    for text, degrees, outside in (
        ("the sum of squares is divided by n - 1, not by n", 1, False),
        ("epsilon is added to the square root of the variance, not to the variance", 0, True),
        (
            "the sum of squares is divided by n - 1, and epsilon is added to the square root",
            1,
            True,
        ),
    ):
        if units > 1:
            call = _divided_by_deviation(units / (units - degrees), outside=outside)
            mistake = Mistake("layer.deviation", f"{layer.name}: {text}", Where(layer=layer.name))
            yield mistake, hypothesis.with_layer(position, recast(layer, call=call))
    for text, changed in (
        ("the mean is not subtracted, and counts as 0 in the variance, too", _uncentered),
        ("the square root of the variance is left out", _divided_by_variance),
    ):
        mistake = Mistake("layer.deviation", f"{layer.name}: {text}", Where(layer=layer.name))
        yield mistake, hypothesis.with_layer(position, recast(layer, call=changed))


def _uncentered(self: Any, ops: Any, inputs: Sequence[Any], w: Any, masks: Any) -> Any:
    squares = ops.mean(inputs[0] * inputs[0], -1)
    return self._normalize(inputs[0], squares * 0.0, ops.rsqrt(squares + self.epsilon), w)


def _divided_by_variance(self: Any, ops: Any, inputs: Sequence[Any], w: Any, masks: Any) -> Any:
    mean = ops.mean(inputs[0], -1)
    deviation = inputs[0] - mean
    divisor = ops.mean(deviation * deviation, -1) + self.epsilon
    return self._normalize(inputs[0], mean, ops.rsqrt(divisor * divisor), w)


def _divided_by_deviation(factor: float, *, outside: bool) -> Callable[..., Any]:
    """Return the call of a LayerNormalization whose variance is multiplied by a factor."""

    def call(self: Any, ops: Any, inputs: Sequence[Any], w: Any, masks: Any) -> Any:
        mean = ops.mean(inputs[0], -1)
        deviation = inputs[0] - mean
        variance = ops.mean(deviation * deviation, -1) * factor
        if outside:
            root = variance * ops.rsqrt(variance) + self.epsilon
            inverse = ops.rsqrt(root * root)
        else:
            inverse = ops.rsqrt(variance + self.epsilon)
        return self._normalize(inputs[0], mean, inverse, w)

    return call


def _without_scale(hypothesis: Hypothesis, name: str) -> Variations:
    """Leave out gamma, beta, or both."""
    arrays = hypothesis.weights.get(name, {})
    neutral = {
        key: np.full_like(arrays[key], number)
        for key, number in (("gamma", 1.0), ("beta", 0.0))
        if key in arrays
    }
    for keys in dict.fromkeys([tuple(neutral), *((key,) for key in neutral)]):
        if keys:
            what = " and ".join(keys)
            text = f"{what} of {name} {'are' if len(keys) > 1 else 'is'} left out"
            array = what if len(keys) == 1 else None
            mistake = Mistake("layer.unscaled", text, Where(layer=name, array=array))
            yield mistake, hypothesis.with_arrays(name, {key: neutral[key] for key in keys})


def _other_pooling(hypothesis: Hypothesis, position: int) -> Variations:
    """Take the mean over time for the largest value, the reverse, or the last step for both."""
    layer: Any = hypothesis.network.nodes[position].layer
    if layer.axes != (1,) or layer.keepdims:
        return
    largest = layer.keras_class.startswith("GlobalMax")
    right, wrong = ("maximum", "mean")[:: 1 if largest else -1]
    other = "GlobalAveragePooling1D" if largest else "GlobalMaxPooling1D"
    for taken, changed in (
        (f"the {wrong} over time", replace(layer, keras_class=other)),
        ("the last step", recast(layer, call=_last_step)),
    ):
        text = f"{layer.name} takes {taken}, not the {right} over time"
        mistake = Mistake("head.pooling", text, Where(layer=layer.name))
        yield mistake, hypothesis.with_layer(position, changed)


def _last_step(self: Any, ops: Any, inputs: Sequence[Any], w: Any, masks: Any) -> Any:
    return ops.rearrange(inputs[0], Selection((WHOLE, -1), (None, None)))


def _other_rows(hypothesis: Hypothesis, name: str) -> Variations:
    """Read another row for a token, the table as its transpose, or rows of another length."""
    arrays = hypothesis.weights.get(name, {})
    for key, table in arrays.items():
        where = Where(layer=name, array="embeddings")
        for text, other in (
            ("i - 1", np.concatenate([table[:1], table[:-1]])),
            ("i + 1", np.concatenate([table[1:], table[-1:]])),
            ("V - 1 - i", table[::-1]),
        ):
            mistake = Mistake("embedding.shifted", f"{name}: token i has row {text}", where)
            yield mistake, hypothesis.with_arrays(name, {key: other})
        for id_, text, other in _misread_tokens(np.asarray(table, np.float64)):
            mistake = Mistake(id_, f"{name}: {text}", where)
            yield mistake, hypothesis.with_arrays(name, {key: other})
        flat = "is a buffer of (features, tokens), read as (tokens, features)"
        length = np.sqrt((np.asarray(table, np.float64) ** 2).sum(-1, keepdims=True))
        length = np.maximum(length, _SHORTEST)
        without = np.array(table)
        without[0] = 0
        for id_, how, other in (
            ("layout.flat_buffer", flat, as_flat(table)),
            ("layout.fortran", f"is {FORTRAN}", by_columns(table)),
            ("embedding.normalized", "has rows scaled to norm 1", table / length),
            (
                "embedding.normalized",
                "has rows scaled down to norm 1 at most (max_norm=1)",
                table / np.maximum(length, 1.0),
            ),
            ("embedding.zero_row", "has zeros for token 0 (padding_idx=0)", without),
            *(
                ("weights.quantized", f"is rounded to int8 ({scales})", rounded)
                for scales, rounded in _quantized(np.asarray(table, np.float64))
            ),
        ):
            mistake = Mistake(id_, f"the table of {name} {how}", where)
            yield mistake, hypothesis.with_arrays(name, {key: other})


def _misread_tokens(table: Array) -> Iterator[tuple[str, str, Array]]:
    """Yield tables of which some tokens have the row of another one, with an id and a text."""
    tokens = np.arange(len(table))
    for row in range(1, len(table)) if len(table) <= _MOST_TOKENS else ():
        if row < tokens[-1]:
            lost = table[np.minimum(np.where(tokens < row, tokens, tokens + 1), tokens[-1])]
            text = f"row {row} of the table is lost: token i has row i + 1 from there on"
            yield "embedding.shifted", text, lost
        for unknown in range(min(row, _MOST_UNKNOWN)):
            text = f"tokens from {row} on have row {unknown}, as unknown words"
            yield "embedding.unknown", text, table[np.where(tokens < row, tokens, unknown)]
    pairs = itertools.combinations(range(len(table)), 2)
    for one, other in pairs if len(table) <= _MOST_EXCHANGED else ():
        order = tokens.copy()
        order[[one, other]] = other, one
        yield "embedding.permuted", f"tokens {one} and {other} are exchanged", table[order]
    for digits in (2, 3):
        text = f"the table is rounded to {digits} decimal places"
        yield "weights.quantized", text, np.round(table, digits)


def _quantized(table: Array) -> Iterator[tuple[str, Array]]:
    """Yield a table rounded to integers of 8 bits, after its scales in words."""
    yield "one scale", Grid(8)(table)
    yield "one scale for each column", Grid(8, "column")(table)
    yield "one scale for each row", Grid(8, "column")(table.T).T
