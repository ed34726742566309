"""Known mistakes of ports about the head: its arrays, activations and normalization."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from rnnshapes.port.hypothesis import Hypothesis, Mistake, Variations, Where, recast
from rnnshapes.port.mistakes.cell_changes import Arrays, differ
from rnnshapes.port.mistakes.exactness import Grid
from rnnshapes.port.mistakes.layout import FLAT, FORTRAN, as_flat, by_columns

#: Activations that ports have after the last layer.
_HEAD_ACTIVATIONS = ("linear", "softmax", "sigmoid", "tanh", "relu")


def heads(hypothesis: Hypothesis) -> Variations:
    """Leave out the bias or the activation of a layer of the head, or misread its kernel."""
    for position in hypothesis.network.head:
        layer: Any = hypothesis.network.nodes[position].layer
        name, where = layer.name, Where(layer=layer.name)
        arrays = dict(hypothesis.weights.get(name, {}))
        for mistake, changed in _head_arrays(arrays, where):
            if differ(changed, arrays):
                yield mistake, hypothesis.with_arrays(name, changed)
        if layer.activations not in ((), ("linear",)) and hasattr(layer, "activation"):
            text = f"the activation of {name} ({layer.activations[0]}) is left out"
            linear = replace(layer, activation="linear")
            yield Mistake("head.activation", text, where), hypothesis.with_layer(position, linear)


def _head_arrays(arrays: Arrays, where: Where) -> Iterator[tuple[Mistake, Arrays]]:
    """Leave out the bias, or read the kernel column by column."""
    if "b" in arrays:
        text, at = f"the bias of {where.layer} is left out", where._replace(array="bias")
        yield Mistake("head.bias", text, at), {"b": arrays["b"] * 0}
    if "W" in arrays and arrays["W"].ndim == 2:
        id_, how, fix = "layout.fortran", FORTRAN, ""
        if arrays["W"].shape[0] == arrays["W"].shape[1]:
            id_, how, fix = "layout.transposed", "transposed", "W = W.T"
        text, at = f"the kernel of {where.layer} is {how}", where._replace(array="kernel")
        yield Mistake(id_, text, at, fix), {"W": by_columns(arrays["W"])}


def other_heads(hypothesis: Hypothesis) -> Variations:
    """Use another activation after the head, use it twice, or read its arrays otherwise."""
    for position in hypothesis.network.head:
        layer: Any = hypothesis.network.nodes[position].layer
        name, where = layer.name, Where(layer=layer.name)
        arrays = dict(hypothesis.weights.get(name, {}))
        if len(layer.activations) == 1 and hasattr(layer, "activation"):
            right = layer.activation
            more = ("log_softmax",) if right == "softmax" else ()
            for other in (*_HEAD_ACTIVATIONS, *more):
                if other not in (right, "linear"):
                    text = f"the activation of {name} is {other}, not {right}"
                    mistake = Mistake("head.activation", text, where)
                    changed = replace(layer, activation=other)
                    yield mistake, hypothesis.with_layer(position, changed)
            if right != "linear":
                text = f"the activation of {name} ({right}) is applied twice"
                twice = recast(layer, call=_activated_again(type(layer)))
                mistake = Mistake("head.activation", text, where)
                yield mistake, hypothesis.with_layer(position, twice)
            if right == "softmax":
                yield from _other_sums(hypothesis, position)
        for mistake, changed_arrays in _other_head_arrays(arrays, where):
            yield mistake, hypothesis.with_arrays(name, changed_arrays)
        if layer.type == "BatchNormalization":
            yield from _other_normalizations(hypothesis, position)


def _other_sums(hypothesis: Hypothesis, position: int) -> Variations:
    """Leave out the sum of a softmax, or its powers."""
    layer: Any = hypothesis.network.nodes[position].layer
    fix = "exp(z) / exp(z).sum(axis=-1, keepdims=True)"
    linear = replace(layer, activation="linear")
    for how, changed in (
        ("is not divided by its sum", replace(layer, activation="exponential")),
        ("uses z instead of exp(z)", recast(linear, call=_shared_out(type(layer)))),
    ):
        text = f"the softmax of {layer.name} {how}"
        mistake = Mistake("head.activation", text, Where(layer=layer.name), fix)
        yield mistake, hypothesis.with_layer(position, changed)


def _shared_out(kind: type[Any]) -> Callable[..., Any]:
    """Return the call of a layer, each number of which is divided by the sum of all."""

    def call(self: Any, ops: Any, *arguments: Any) -> Any:
        z = kind.call(self, ops, *arguments)
        total = ops.reduce("sum", z, (-1,), True)
        inverse = ops.rsqrt(total * total)
        return z * (total * inverse * inverse)

    return call


def _other_head_arrays(arrays: Arrays, where: Where) -> Iterator[tuple[Mistake, Arrays]]:
    """Add the bias twice or at other outputs, or read the kernel otherwise, or rounded to int8."""
    if "b" in arrays:
        bias, at = f"the bias of {where.layer} is", where._replace(array="bias")
        yield Mistake("head.bias", f"{bias} added twice", at), {"b": arrays["b"] * 2}
        for shift in (1, -1) if arrays["b"].shape[-1] > 1 else ():
            fix = "add bias[k] to output k"
            shifted = np.roll(arrays["b"], shift, axis=-1)
            yield Mistake("head.bias", f"{bias} shifted by {shift}", at, fix), {"b": shifted}
    if "W" in arrays and arrays["W"].ndim == 2:
        kernel, at = f"the kernel of {where.layer} is", where._replace(array="kernel")
        if arrays["W"].shape[0] != arrays["W"].shape[1]:
            mistake = Mistake("layout.flat_buffer", f"{kernel} {FLAT}", at)
            yield mistake, {"W": as_flat(arrays["W"])}
        for shift, read in ((1, "m - 1"), (-1, "m + 1")):
            text = f"the rows of the kernel of {where.layer} are shifted: row {read} is read at m"
            mistake = Mistake("weights.permuted", text, at, "multiply h[m] by row m of the kernel")
            yield mistake, {"W": np.roll(arrays["W"], shift, axis=0)}
        for grid in (Grid(8, "array"), Grid(8, "column")):
            mistake = Mistake("weights.quantized", f"{kernel} rounded to {grid.text}", at)
            yield mistake, {"W": grid(arrays["W"])}


def _other_normalizations(hypothesis: Hypothesis, position: int) -> Variations:
    """Leave a BatchNormalization out, or give it another epsilon."""
    layer: Any = hypothesis.network.nodes[position].layer
    where = Where(layer=layer.name)
    with_epsilon = f"sqrt(var + {layer.epsilon:g})"
    fix = f"y = gamma * (x - mean) / {with_epsilon} + beta, with the stored mean and var"
    mistake = Mistake("head.batchnorm", f"{layer.name} is left out", where, fix)
    yield mistake, _without_normalization(hypothesis, layer)
    for epsilon in (1e-5, 1e-3, 0.0):
        if epsilon != layer.epsilon:
            text = f"epsilon of {layer.name} is {epsilon:g}, not {layer.epsilon:g}"
            changed = hypothesis.with_layer(position, replace(layer, epsilon=epsilon))
            yield Mistake("head.batchnorm", text, where, fix), changed


def _without_normalization(hypothesis: Hypothesis, layer: Any) -> Hypothesis:
    """Return the hypothesis with a BatchNormalization that changes nothing."""
    neutral = {"gamma": 1.0, "beta": 0.0, "mean": 0.0, "var": 1.0 - layer.epsilon}
    arrays = hypothesis.weights[layer.name]
    numbers = {key: np.full_like(arrays[key], neutral[key]) for key in neutral if key in arrays}
    return hypothesis.with_arrays(layer.name, numbers)


def _activated_again(kind: type[Any]) -> Callable[..., Any]:
    """Return the call of a layer, followed by its activation once more."""

    def call(self: Any, ops: Any, *arguments: Any) -> Any:
        return ops.activate(self.activation, kind.call(self, ops, *arguments))

    return call
