"""Known mistakes of ports about the head: its arrays, activations and normalization.

Other factors and shifts of its output are fitted (:mod:`rnnshapes.port.fits.fitted_heads`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from rnnshapes.network.graph import Tap
from rnnshapes.network.layers.core import Dense
from rnnshapes.ops.elementwise import Clip
from rnnshapes.ops.rearrangements import Selection
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Variations, Where, recast
from rnnshapes.port.mistakes.cell import WRONG_FUNCTIONS
from rnnshapes.port.mistakes.cell_changes import Arrays, differ
from rnnshapes.port.mistakes.layout import FLAT, FORTRAN, as_flat, by_columns
from rnnshapes.port.mistakes.weight_rounding import Grid
from rnnshapes.port.quantities import has_only_zeros_and_ones

#: Activations that ports have after the last layer.
_HEAD_ACTIVATIONS = ("softmax", "sigmoid", "tanh", "relu", "softplus", "exponential")
#: Functions that ports apply to h before the head.
_BEFORE_HEAD = ("relu", "tanh", "sigmoid")


def heads(hypothesis: Hypothesis) -> Variations:
    """Leave out the bias or the activation of a layer of the head, or misread its kernel."""
    for position in hypothesis.network.head:
        layer: Any = hypothesis.network.nodes[position].layer
        name, where = layer.name, Where(layer=layer.name)
        arrays = dict(hypothesis.weights.get(name, {}))
        for mistake, changed in _head_arrays(arrays, where):
            if differ(changed, arrays):
                yield mistake, hypothesis.with_arrays(name, changed)
        if layer.activations not in ((), ("linear",)) and _has_activation(layer):
            text = f"the activation of {name} ({layer.activations[0]}) is left out"
            linear = _with_activation(layer, "linear")
            yield Mistake("head.activation", text, where), hypothesis.with_layer(position, linear)


def _has_activation(layer: Any) -> bool:
    """Return whether a layer, or the one that it applies to each step, has an activation."""
    return hasattr(getattr(layer, "inner", layer), "activation")


def _with_activation(layer: Any, name: str) -> Any:
    """Return a layer with another activation."""
    if hasattr(layer, "inner"):
        return replace(layer, inner=replace(layer.inner, activation=name))
    return replace(layer, activation=name)


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
        if len(layer.activations) == 1 and _has_activation(layer):
            yield from _other_activations(hypothesis, position)
        if isinstance(layer, Dense) and layer.activation != "linear":
            yield from _other_arguments(hypothesis, position)
        for mistake, changed in _other_head_arrays(arrays, where):
            if differ(changed, arrays):
                yield mistake, hypothesis.with_arrays(name, changed)
        if layer.type == "BatchNormalization":
            yield from _other_normalizations(hypothesis, position)


def _other_activations(hypothesis: Hypothesis, position: int) -> Variations:
    """Use another activation after a layer, or use it twice."""
    layer: Any = hypothesis.network.nodes[position].layer
    (right,), where = layer.activations, Where(layer=layer.name)
    more = ("log_softmax",) if right == "softmax" else ()
    for other in (*_HEAD_ACTIVATIONS, *more):
        # exp(z) is a softmax that is not divided by its sum.
        if other != right and (right, other) != _EXPONENTIALS:
            text = f"the activation of {layer.name} is {other}, not {right}"
            mistake = Mistake("head.activation", text, where)
            yield mistake, hypothesis.with_layer(position, _with_activation(layer, other))
    if right != "linear" and right not in WRONG_FUNCTIONS:
        text = f"the activation of {layer.name} ({right}) is applied twice"
        twice = recast(layer, call=_activated_again(type(layer)))
        yield Mistake("head.activation", text, where), hypothesis.with_layer(position, twice)
    for how, (id_, function) in _AFTER.items():
        text = f"the output of {layer.name} is {how}"
        changed = recast(layer, call=_followed_by(type(layer), function))
        mistake = Mistake(id_, text, where, f"give the output of {layer.name} itself")
        yield mistake, hypothesis.with_layer(position, changed)
    for wrong in WRONG_FUNCTIONS.get(right, ()):
        mistake = Mistake("head.activation", f"{layer.name}: {wrong.text}", where, wrong.fix)
        changed = _with_function(layer, wrong.function)
        yield mistake, hypothesis.with_layer(position, changed)
    if right == "softmax":
        yield from _other_softmax(hypothesis, position)


def _other_softmax(hypothesis: Hypothesis, position: int) -> Variations:
    """Compute another function of z than its softmax."""
    layer: Any = hypothesis.network.nodes[position].layer
    for how, function in _SOFTMAX.items():
        if function is _complement and _has_two_units(hypothesis, position):
            continue
        text = f"the softmax of {layer.name} {how}"
        mistake = Mistake("head.activation", text, Where(layer=layer.name), _SOFTMAX_FIX)
        yield mistake, hypothesis.with_layer(position, _with_function(layer, function))


def _with_function(layer: Any, function: Callable[[Any, Any], Any]) -> Any:
    """Return a layer with another function of an interpreter and z in place of its activation."""
    linear = _with_activation(layer, "linear")
    kind = type(linear)

    def call(self: Any, ops: Any, *arguments: Any) -> Any:
        return function(ops, kind.call(self, ops, *arguments))

    return recast(linear, call=call)


def _shares(ops: Any, values: Any, summed: Any = None) -> Any:
    """Return each number, divided by the sum of all, or of others."""
    total = ops.reduce("sum", values if summed is None else summed, (-1,), True)
    inverse = ops.rsqrt(total * total)
    return values * (total * inverse * inverse)


def _below_largest(ops: Any, z: Any) -> Any:
    """Return z - max(z)."""
    return z - ops.reduce("max", z, (-1,), True)


def _without_last(ops: Any, z: Any) -> Any:
    """Return exp(z), divided by the sum of all but the last."""
    powers = ops.activate("exponential", _below_largest(ops, z))
    all_but_last = Selection((..., slice(None, -1)), (None, None))
    return _shares(ops, powers, ops.rearrange(powers, all_but_last))


def _complement(ops: Any, z: Any) -> Any:
    """Return 1 - softmax(z)."""
    return 1 - ops.activate("softmax", z)


_SOFTMAX_FIX = "exp(z) / exp(z).sum(axis=-1, keepdims=True)"
_EXPONENTIALS = ("softmax", "exponential")
#: What ports do to the output of a layer: an id, and a function of an interpreter and the output.
_AFTER: MappingProxyType[str, tuple[str, Callable[[Any, Any], Any]]] = MappingProxyType(
    {
        "clipped to [-1, 1]": (
            "head.clipped",
            lambda ops, y: ops.elementwise(y, Clip(-1.0, 1.0)),
        ),
        "clipped to [0, 1]": ("head.clipped", lambda ops, y: ops.elementwise(y, Clip(0.0, 1.0))),
        "given without its sign": ("head.activation", lambda ops, y: ops.maximum(y, y * -1.0)),
    }
)
#: What ports compute in place of a softmax, from an interpreter and z.
_SOFTMAX: MappingProxyType[str, Callable[[Any, Any], Any]] = MappingProxyType(
    {
        "is not divided by its sum": lambda ops, z: ops.activate("exponential", z),
        "uses z instead of exp(z)": _shares,
        "uses z^2 instead of exp(z)": lambda ops, z: _shares(ops, z * z),
        "is left out, and z - max(z) is given": _below_largest,
        "leaves the last unit out of its sum": _without_last,
        "is subtracted from 1": _complement,
    }
)
#: Activations that are computed from exp(z).
_OF_EXPONENTIALS = ("softmax", "sigmoid", "exponential", "tanh")
#: By what ports multiply z, in words: as 2^z is exp(z ln 2).
_FACTORS = MappingProxyType({"-z": -1.0, "z ln 2 (2^z instead of exp(z))": math.log(2.0)})


def _has_two_units(hypothesis: Hypothesis, position: int) -> bool:
    """Return whether a softmax of -z, and 1 - softmax, are nothing but outputs exchanged."""
    layer: Any = hypothesis.network.nodes[position].layer
    units = hypothesis.network.shapes_at(Tap(position)).shapes[0][-1]
    return layer.activations == ("softmax",) and hypothesis.network.count(units) == 2


def _other_arguments(hypothesis: Hypothesis, position: int) -> Variations:
    """Add the bias of a Dense layer late, apply its activation to -z, or take powers of 2."""
    layer: Any = hypothesis.network.nodes[position].layer
    name, arrays = layer.name, hypothesis.weights.get(layer.name, {})
    fix = f"{layer.activation}(z), with z = h @ kernel{' + bias' if layer.use_bias else ''}"
    if layer.use_bias:
        text = f"the bias of {name} is added after {layer.activation}, not before it"
        late = recast(layer, call=_with_late_bias)
        mistake = Mistake("head.bias", text, Where(layer=name), fix)
        yield mistake, hypothesis.with_layer(position, late)
    for argument, factor in _FACTORS.items():
        known = layer.activation in WRONG_FUNCTIONS or _has_two_units(hypothesis, position)
        if not known if factor < 0 else layer.activation in _OF_EXPONENTIALS:
            text = f"{name} computes {layer.activation} of {argument}, not of z"
            mistake = Mistake("head.activation", text, Where(layer=name), fix)
            scaled = {key: array * factor for key, array in arrays.items()}
            yield mistake, hypothesis.with_arrays(name, scaled)


def _with_late_bias(self: Any, ops: Any, inputs: Any, w: Any, masks: Any) -> Any:
    """Compute a Dense layer whose bias is added after its activation."""
    return ops.activate(self.activation, inputs[0] @ w.W) + w.b


def activated_inputs(hypothesis: Hypothesis) -> Variations:
    """Apply an activation to h before the first layer of the head receives it."""
    network = hypothesis.network
    dense = [p for p in network.head if isinstance(network.nodes[p].layer, Dense)]
    for position, name in itertools.product(dense[:1], _BEFORE_HEAD):
        layer = network.nodes[position].layer
        text = f"{name} is applied to what {layer.name} receives"
        changed = recast(layer, call=_after_activation(type(layer), name))
        mistake = Mistake("stack.activated", text, Where(layer=layer.name))
        yield mistake, hypothesis.with_layer(position, changed)


def _after_activation(kind: type[Any], name: str) -> Callable[..., Any]:
    """Return the call of a layer whose inputs are activated before."""

    def call(self: Any, ops: Any, inputs: Any, *arguments: Any) -> Any:
        return kind.call(self, ops, [ops.activate(name, h) for h in inputs], *arguments)

    return call


def decided_outputs(hypothesis: Hypothesis) -> Variations:
    """Give 1 for the largest output and 0 for all others, or outputs rounded to 0 or 1.

    Both are tried only if the port gives no other numbers.
    """
    position = hypothesis.network.outputs[0].node
    outputs = [q for q in hypothesis.quantities if not q.key]
    if position not in hypothesis.network.head or not outputs:
        return
    if not all(has_only_zeros_and_ones(q.values) and not q.rounding.any() for q in outputs):
        return
    layer: Any = hypothesis.network.nodes[position].layer
    kind = type(layer)
    decisions: dict[str, Callable[[Any, Any], Any]] = {
        "is 1 for the largest number and 0 for all others (argmax)": lambda ops, y: ops.compare(
            ">=", y, ops.reduce("max", y, (-1,), True)
        ),
        "is rounded to 0 or 1": lambda ops, y: ops.compare(">", y, y * 0.0 + 0.5),
    }
    for how, decided in list(decisions.items())[outputs[0].values.shape[-1] == 1 :]:

        def call(self: Any, ops: Any, *arguments: Any, decided: Any = decided) -> Any:
            return decided(ops, kind.call(self, ops, *arguments))

        text = f"the output of {layer.name} {how}"
        mistake = Mistake("head.decided", text, Where(layer=layer.name))
        yield mistake, hypothesis.with_layer(position, recast(layer, call=call))


def _other_head_arrays(arrays: Arrays, where: Where) -> Iterator[tuple[Mistake, Arrays]]:
    """Add the bias twice or at other outputs, or read the kernel otherwise, or rounded to int8."""
    if "b" in arrays:
        bias, at = f"the bias of {where.layer} is", where._replace(array="bias")
        yield Mistake("head.bias", f"{bias} added twice", at), {"b": arrays["b"] * 2}
        for shift in (1, -1):
            fix = "add bias[k] to output k"
            shifted = np.roll(arrays["b"], shift, axis=-1)
            yield Mistake("head.bias", f"{bias} shifted by {shift}", at, fix), {"b": shifted}
    if "W" in arrays:
        text = f"{where.layer}: the sum over h is not set to 0 for each unit"
        summed = {key: np.cumsum(a, axis=-1) for key, a in arrays.items() if key in ("W", "b")}
        yield Mistake("sum.not_reset", text, where), summed
    if "W" in arrays and arrays["W"].ndim == 2:
        kernel, at = f"the kernel of {where.layer} is", where._replace(array="kernel")
        if arrays["W"].shape[0] != arrays["W"].shape[1]:
            mistake = Mistake("layout.flat_buffer", f"{kernel} {FLAT}", at)
            yield mistake, {"W": as_flat(arrays["W"])}
        for row, which in ((-1, "last"), (0, "first")) if len(arrays["W"]) > 1 else ():
            text = f"the {which} row of the kernel of {where.layer} is left out"
            mistake = Mistake("weights.row_omitted", text, at, "sum over all numbers of h")
            shortened = np.array(arrays["W"])
            shortened[row] = 0
            yield mistake, {"W": shortened}
        for how, read in (
            ("shifted: row m - 1 is read at m", np.roll(arrays["W"], 1, axis=0)),
            ("shifted: row m + 1 is read at m", np.roll(arrays["W"], -1, axis=0)),
            ("reversed", arrays["W"][::-1]),
        ):
            text = f"the rows of the kernel of {where.layer} are {how}"
            yield Mistake("weights.permuted", text, at), {"W": read}
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


def _followed_by(kind: type[Any], function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Return the call of a layer, followed by a function of an interpreter and the output."""

    def call(self: Any, ops: Any, *arguments: Any) -> Any:
        return function(ops, kind.call(self, ops, *arguments))

    return call


def _activated_again(kind: type[Any]) -> Callable[..., Any]:
    """Return the call of a layer, followed by its activation once more."""

    def call(self: Any, ops: Any, *arguments: Any) -> Any:
        return ops.activate(self.activations[0], kind.call(self, ops, *arguments))

    return call
