"""Dropout that a port leaves active: some units are 0 at random, and the others are scaled.

Which units are 0 is not known. Behind few units every choice is tried, at each sample and step.
What is found explains a port only if all of it then agrees within the bounds of rounding, as for
any other mistake.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnshapes.forward import numpy_run
from rnnshapes.network.layers.regularization import Inactive
from rnnshapes.ops.activations import Array
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Variations, Where, recast
from rnnshapes.port.mistakes.layer import with_second_input
from rnnshapes.port.quantities import ReportedQuantity
from rnnshapes.port.sections import part_of

#: So many numbers are computed at most to try every choice.
_MOST_NUMBERS = 2**21
#: So many bits of each number of the port decide between choices. All of them have to hold so many
#: more than all choices, so that none agrees by chance.
_BITS_OF_A_NUMBER, _LEAST_BITS = 14, 30


def active_dropout(hypothesis: Hypothesis) -> Variations:
    """Leave one Dropout after the last recurrence active, with the units that fit best."""
    network = hypothesis.network
    outputs = [q for q in hypothesis.quantities if not q.key]
    if len(outputs) != 1 or not network.is_chain:
        return
    for position in network.head:
        layer: Any = network.nodes[position].layer
        after = [node.layer for node in network.nodes[position:]]
        is_dropout = isinstance(layer, Inactive) and layer.keras_class == "Dropout"
        if is_dropout and 0 < (layer.rate or 0) < 1 and all(one.stepwise for one in after):
            factors = _nearest_factors(hypothesis, position, outputs[0], 1 / (1 - layer.rate))
            if factors is None:
                continue
            changed = _with_factors(hypothesis, position, factors)
            if changed is not None:
                dropped, count = int((factors == 0).sum()), factors.size
                text = (
                    f"{layer.name} (rate {layer.rate:g}) is active: {dropped} of {count} numbers "
                    f"are set to 0, and the others divided by {1 - layer.rate:g}"
                )
                mistake = Mistake("layer.dropout_active", text, Where(layer=layer.name))
                yield mistake, changed


def _nearest_factors(
    hypothesis: Hypothesis, position: int, output: ReportedQuantity, kept: float
) -> Array | None:
    """Return by which numbers, 0 or ``kept``, the input of a Dropout is multiplied to fit best.

    They have the shape of the input. There are none if the choices are too many, or decide
    nothing, and if all units or none are 0.
    """
    network, weights = hypothesis.network, hypothesis.weights
    tap = network.nodes[position].sources[0]
    ours = numpy_run.numpy_outputs(network, weights, hypothesis.xs)
    values = ours.values[network.nodes[tap.node].name][tap.output]
    units, places = values.shape[-1], values[..., 0].size
    numbers = output.values.size
    softmax = any("softmax" in node.layer.activations for node in network.nodes[position:])
    deciding = numbers - places * softmax
    if places * output.values.shape[-1] != numbers or 2**units * values.size > _MOST_NUMBERS:
        return None
    if deciding * _BITS_OF_A_NUMBER < places * units + _LEAST_BITS:
        return None
    choices = kept * ((np.arange(2**units)[:, None] >> np.arange(units)) & 1)
    every = values * choices.reshape(-1, *(1,) * (values.ndim - 1), units)
    head = part_of(network, position, len(network.nodes) - 1)
    with np.errstate(over="ignore", invalid="ignore"):
        x = every.reshape(-1, *values.shape[1:])
        results = numpy_run.numpy_outputs(head, weights, (x,)).outputs[0]
        distances = results.reshape(len(choices), places, -1) - output.values.reshape(places, -1)
        nearest = np.argmin(np.square(distances).sum(-1), axis=0)
    factors = choices[nearest].reshape(values.shape)
    return factors if 0 < np.count_nonzero(factors) < factors.size else None


def _with_factors(hypothesis: Hypothesis, position: int, factors: Array) -> Hypothesis | None:
    """Return the hypothesis with a layer that multiplies its input by factors."""
    node = hypothesis.network.nodes[position]
    shape = hypothesis.network.shapes_at(node.sources[0]).shapes[0]
    layer = recast(node.layer, call=_product)
    return with_second_input(hypothesis, position, layer, factors, shape)


def _product(self: Any, ops: Any, inputs: Sequence[Any], w: Any, masks: Any) -> Any:
    return inputs[0] * inputs[1]
