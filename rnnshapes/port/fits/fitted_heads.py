"""Outputs, or arguments of the last activation, that a port scales or shifts by unknown numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from rnnshapes.network.layers.core import Dense
from rnnshapes.ops.activations import Array
from rnnshapes.port.fits.fit import NEGLIGIBLE, Fit, scaled_term, scaled_text
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Where, recast

#: Of so many outputs, each has a factor and a shift of its own.
_MOST_OUTPUTS = 16


def output_fits(base: Hypothesis) -> Iterator[Fit]:
    """Yield fits of factors and shifts of the output, and of z before its activation.

    They scale the network's output, not the port's, which a fit could make arbitrarily small.
    """
    network = base.network
    position = network.outputs[0].node
    if position not in network.head or all(quantity.key for quantity in base.quantities):
        return
    layer: Any = network.nodes[position].layer
    if len(network.shapes_at(network.outputs[0]).shapes) > 1 or network.outputs[0].output:
        return
    is_linear = isinstance(layer, Dense) and layer.activation == "linear"
    if isinstance(layer, Dense) and not is_linear and layer.use_bias:
        yield _scaled_argument(layer)
    outputs = network.count(network.output_shapes.shapes[0][-1])
    fits = _ScaledOutputs(base, position)
    if not is_linear or layer.use_bias:  # otherwise, a factor of the kernel
        yield Fit(np.ones(1), fits.applied(lambda a: (a, 0 * a)), fits.scaled)
    if not is_linear or not layer.use_bias or outputs > 1:  # otherwise, one weight
        yield Fit(np.zeros(1), fits.applied(lambda a: (0 * a + 1, a)), fits.shifted)
    yield Fit(np.array([1.0, 0.0]), fits.applied(lambda a: (a[:1], a[1:])), fits.affine)
    if 1 < outputs <= _MOST_OUTPUTS:
        start = np.repeat([1.0, 0.0], outputs)
        yield Fit(start[:outputs], fits.applied(lambda a: (a, 0 * a)), fits.each_scaled)
        yield Fit(start, fits.applied(lambda a: np.split(a, 2)), fits.each_affine)


def _scaled_argument(layer: Dense) -> Fit:
    """Return the fit of a factor of z, the argument of the activation of a Dense layer."""

    def apply(hypothesis: Hypothesis, numbers: Array) -> Hypothesis:
        factor = _not_zero(numbers)[0]
        arrays = hypothesis.weights[layer.name]
        return hypothesis.with_arrays(layer.name, {k: a * factor for k, a in arrays.items()})

    def mistake(numbers: Array) -> Mistake:
        factor = float(numbers[0])
        temperature = (
            f" (a temperature of {1 / factor:.5g})" if layer.activation == "softmax" else ""
        )
        text = f"z of {layer.name} is multiplied by {factor:.5g} before {layer.activation}"
        fix = f"y = {layer.activation}(z), with z as it is"
        return Mistake("head.scaled", text + temperature, Where(layer=layer.name), fix)

    return Fit(np.ones(1), apply, mistake)


class _ScaledOutputs:
    """Hypotheses in which the output of the last layer is multiplied and shifted."""

    def __init__(self, base: Hypothesis, position: int) -> None:
        layer: Any = base.network.nodes[position].layer
        self.name, self.group = layer.name, base.network.nodes[position].group
        kind = type(layer)

        def call(self: Any, ops: Any, inputs: Any, w: Any, masks: Any) -> Any:
            return kind.call(self, ops, inputs, w, masks) * w.output_scale + w.output_shift

        self.network = base.with_layer(position, recast(layer, call=call)).network
        self.outputs = base.network.count(base.network.output_shapes.shapes[0][-1])

    def applied(self, split: Callable[[Array], Any]) -> Callable[[Hypothesis, Array], Hypothesis]:
        """Return the function that scales and shifts the output.

        ``split`` returns factors and shifts from the fitted numbers.
        """

        def apply(hypothesis: Hypothesis, numbers: Array) -> Hypothesis:
            scale, shift = split(numbers)
            arrays = {"output_scale": _not_zero(scale), "output_shift": shift}
            whole = {key: np.broadcast_to(a, self.outputs) for key, a in arrays.items()}
            return replace(hypothesis, network=self.network).with_arrays(self.group, whole)

        return apply

    def mistake(self, text: str) -> Mistake:
        """Return the mistake in these words."""
        return Mistake("head.scaled", text, Where(layer=self.name))

    def scaled(self, numbers: Array) -> Mistake:
        """Return the mistake of one factor."""
        factor = float(numbers[0])
        percent = " (percent)" if abs(factor - 100) < NEGLIGIBLE else ""
        return self.mistake(f"the output of {self.name} is multiplied by {factor:.5g}{percent}")

    def shifted(self, numbers: Array) -> Mistake:
        """Return the mistake of one shift."""
        return self.mistake(f"{float(numbers[0]):.5g} is added to the output of {self.name}")

    def affine(self, numbers: Array) -> Mistake:
        """Return the mistake of one factor and one shift."""
        term = scaled_term("y", *numbers.tolist())
        return self.mistake(f"the output y of {self.name} is scaled and shifted: {term}")

    def each_scaled(self, numbers: Array) -> Mistake:
        """Return the mistake of a factor for each output."""
        shown = scaled_text("y", numbers, 0 * numbers)
        return self.mistake(f"outputs y of {self.name} are scaled: {shown}")

    def each_affine(self, numbers: Array) -> Mistake:
        """Return the mistake of a factor and a shift for each output."""
        shown = scaled_text("y", *np.split(numbers, 2))
        return self.mistake(f"outputs y of {self.name} are scaled and shifted: {shown}")


def _not_zero(factors: Array) -> Array:
    """Replace factors of about 0 by NaN: a constant output is not a scaled one."""
    return np.where(np.abs(factors) < NEGLIGIBLE, np.nan, factors)
