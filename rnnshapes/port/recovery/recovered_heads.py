"""Weights of the last Dense layer of a port, recovered from its outputs.

What the layer receives is that of the network. Its z follows from the port's y_hat, except for a
constant at each step, which a softmax cancels. z is linear in the weights: these are fitted by
least squares. What is recovered explains a port only if all of it then agrees within the bounds of
rounding, as for any other mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

import numpy as np

from rnnshapes.network.layers.core import Dense
from rnnshapes.ops.activations import Array
from rnnshapes.port.compare import compute_outputs
from rnnshapes.port.hypothesis import Hypothesis
from rnnshapes.port.quantities import ReportedQuantity
from rnnshapes.port.recovery.equations import RecoveredWeights
from rnnshapes.port.recovery.recovered_mistakes import explained_arrays

#: z from the output of each activation, except for a constant, which a softmax cancels.
_INVERSES: MappingProxyType[str, Callable[[Array], Array]] = MappingProxyType(
    {
        "linear": lambda y: y,
        "sigmoid": lambda y: np.log(y) - np.log1p(-y),
        "tanh": np.arctanh,
        "exponential": np.log,
        "softmax": np.log,
    }
)
#: The derivative of z with respect to ln(y), or to y: by so much rounding grows.
_SLOPES: MappingProxyType[str, Callable[[Array], Array]] = MappingProxyType(
    {"sigmoid": lambda y: 1 / (1 - y), "tanh": lambda y: 1 / (1 - y * y)}
)
#: The arrays that may differ from the expected ones, the fewest numbers first.
_SUBSETS = (("b",), ("W",), ("W", "b"))
#: So many equations for each number that is fitted, at least.
_LEAST_EQUATIONS = 1.25
#: Inputs of a layer that are larger, or not finite, tell nothing.
_LARGEST_INPUT = 1e100
#: So many products are affordable.
_MOST_PRODUCTS = 2e8
#: The largest residual of a fit, in units of rounding.
_LARGEST_RESIDUAL = 64.0
#: A weight is another one if it differs by more than so many standard errors.
_STANDARD_ERRORS = 12.0


def explained_by_head(base: Hypothesis, roundoff: float) -> Iterator[tuple[Hypothesis, int]]:
    """Yield the hypothesis with other weights of the last layer, and how many numbers are fitted.

    Args:
        base: The network, and what the port reports.
        roundoff: The unit roundoff of the port's arithmetic.
    """
    network = base.network
    position = network.outputs[0].node
    layer: Any = network.nodes[position].layer
    outputs = [q for q in base.quantities if not q.key]
    if position not in network.head or len(outputs) != 1 or not isinstance(layer, Dense):
        return
    before = [network.nodes[p].layer.name for p in network.head if p < position]
    if layer.activation not in _INVERSES or any(base.weights.get(name) for name in before):
        return  # other weights of a layer before it would do as well
    x = _received(base, outputs[0])
    y = outputs[0].values
    if x is None or x.shape[:2] != y.shape[:2] or x.ndim != 3:
        return
    system = _HeadEquations(base, layer, x.reshape(-1, x.shape[-1]), outputs[0], roundoff)
    for keys in _SUBSETS:
        recovered = system.recovered(keys) if set(keys) <= set(system.weights) else None
        explained = None if recovered is None else explained_arrays(base, recovered)
        if explained is not None:
            hypothesis = base.with_arrays(layer.name, explained.arrays)
            for mistake in explained.mistakes:
                hypothesis = hypothesis.with_mistake("recovered", mistake)
            yield hypothesis, sum(system.weights[key].size for key in keys)


def _received(base: Hypothesis, output: ReportedQuantity) -> Array | None:
    """Return what the last layer receives at each step that the port reports, (N, L, M)."""
    network = base.network
    tap = network.nodes[network.outputs[0].node].sources[0]
    name = network.nodes[tap.node].name
    ours = compute_outputs(base)
    if output.network_steps is None:
        return ours.values[name][tap.output][:, None]
    values: Array = ours.each.get(name, ours.values[name])[tap.output]
    return values[:, output.network_steps] if values.ndim == 3 else None


class _HeadEquations:
    """The equations z = x W + b of a Dense layer, in which z follows from the port's outputs."""

    def __init__(
        self, base: Hypothesis, layer: Dense, x: Array, output: ReportedQuantity, roundoff: float
    ) -> None:
        self.layer, self.weights = layer, base.weights[layer.name]
        y = output.values.reshape(len(x), -1)
        with np.errstate(divide="ignore", invalid="ignore"):
            z = _INVERSES[layer.activation](y)
            slopes = _SLOPES.get(layer.activation, np.ones_like)(y)
        usable = np.isfinite(z).all(axis=1) & np.isfinite(slopes).all(axis=1)
        usable &= (np.abs(x) < _LARGEST_INPUT).all(axis=1)
        self.x, self.z = np.asarray(x[usable], np.float64), z[usable]
        #: Factors of each equation, which are smaller where rounding is larger.
        self.certainty = 1 / slopes[usable]
        size = float(np.sqrt(np.mean(np.square(self.z)))) if self.z.size else 0.0
        self.noise = roundoff * max(size, 1.0) + float(output.rounding.max())

    def recovered(self, keys: tuple[str, ...]) -> RecoveredWeights | None:
        """Return the arrays with which all equations hold; ``None`` if there are none."""
        inputs = {"W": self.x, "b": np.ones((len(self.x), 1))}
        expected = {k: np.atleast_2d(np.asarray(a, np.float64)) for k, a in self.weights.items()}
        some = np.concatenate([inputs[key] for key in keys], axis=1)
        rows, width = some.shape
        if rows < _LEAST_EQUATIONS * width or rows * width**2 * self.z.shape[1] > _MOST_PRODUCTS:
            return None
        wanted = self.z - sum(inputs[key] @ a for key, a in expected.items())
        loses_mean = self.layer.activation == "softmax"
        if loses_mean:
            wanted = wanted - wanted.mean(axis=1, keepdims=True)
        changes = np.empty((width, wanted.shape[1]))
        errors = np.empty_like(changes)
        for unit, factors in enumerate(self.certainty.T):
            inverse = np.linalg.pinv(some * factors[:, None], rcond=1e-12)
            changes[:, unit] = inverse @ (factors * wanted[:, unit])
            residual = (some @ changes[:, unit] - wanted[:, unit]) * factors
            if np.max(np.abs(residual)) > _LARGEST_RESIDUAL * self.noise:
                return None
            size = max(float(np.sqrt(np.mean(np.square(residual)))), self.noise)
            errors[:, unit] = _STANDARD_ERRORS * size * np.linalg.norm(inverse, axis=1)
        if loses_mean:  # most numbers of a row are the expected ones, if any are
            changes -= np.median(changes, axis=1, keepdims=True)
        found = np.concatenate([expected[key] for key in keys]) + changes
        arrays, tolerances = (
            dict(zip(keys, np.split(values, [len(expected[keys[0]])]), strict=False))
            for values in (found, errors)
        )
        shapes = {key: self.weights[key].shape for key in keys}
        return RecoveredWeights(
            self.layer.name,
            self.layer.weights,
            {key: arrays[key].reshape(shape) for key, shape in shapes.items()},
            {key: tolerances[key].reshape(shape) for key, shape in shapes.items()},
        )
