"""Where two arrays differ: an index, the largest difference, and the error at each time step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rnnshapes.network.graph import Network
from rnnshapes.ops.activations import Array
from rnnshapes.reference.outputs import ModelOutputs


@dataclass(frozen=True)
class Index:
    """The index of a number in (N, T, units); ``t`` is None in an array without a time axis."""

    sample: int
    t: int | None
    unit: int

    def __str__(self) -> str:
        t = "" if self.t is None else f"t {self.t}, "
        return f"sample {self.sample}, {t}unit {self.unit}"


class StepErrors(NamedTuple):
    """Per-step error, (T,) in float64: at each step, the unit with the largest error/bound ratio.

    ``ratio`` is ``error`` / ``bound``: |actual - expected| / largest error that rounding can
    cause. Where nothing was compared all three are NaN; a NaN in the actual numbers has an
    infinite error.
    """

    ratio: Array
    error: Array
    bound: Array


@dataclass(frozen=True)
class Difference:
    """The largest |NumPy - Keras| and its index; NaN at the first index where either is NaN."""

    max_abs: float
    index: Index


def largest_difference(ours: Array, theirs: Array) -> Difference:
    """Return the largest |ours - theirs| over (N, T, units); a NaN is larger than anything."""
    with np.errstate(invalid="ignore"):
        error = np.abs(ours - theirs)
    return Difference(float(np.max(error)), index_of(error, int(np.argmax(error))))


def index_of(values: Array, position: int) -> Index:
    """Return the index of a flat position in (N, T, units), or in (N, units).

    Several axes of units count as one.
    """
    sample, *inner = (int(i) for i in np.unravel_index(position, values.shape))
    shape = values.shape[1:]
    t = None
    if values.ndim > 2:
        t, *inner = inner
        shape = shape[1:]
    return Index(sample, t, int(np.ravel_multi_index(tuple(inner), shape)))


def output_difference(network: Network, ours: ModelOutputs, keras: ModelOutputs) -> Difference:
    """Return the largest difference between both y_hat, or between both outputs."""
    one, other = y_hat_of(network, ours), y_hat_of(network, keras)
    if one is None or other is None:
        one, other = ours.outputs[0], keras.outputs[0]
    return largest_difference(one, other)


def y_hat_of(network: Network, outputs: ModelOutputs) -> Array | None:
    """Return y_hat at every time step (N, T, K), or None where no single step has one."""
    if network.output_shapes.steps is None:
        return None
    tap = network.outputs[0]
    name = network.nodes[tap.node].name
    arrays = outputs.each.get(name, outputs.values.get(name))
    return None if arrays is None else arrays[tap.output]
