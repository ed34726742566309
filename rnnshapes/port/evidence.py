"""Evidence for an explanation: how many bits it explains, which chance would not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rnnshapes.ops.activations import Array
from rnnshapes.port.compare import Comparison
from rnnshapes.port.quantities import ReportedQuantity, has_only_zeros_and_ones

#: An explanation agrees by chance in one of 100 ports at most: so many bits.
_LEAST_BITS = float(np.log2(100))
#: A bound that is smaller by this factor is evidence itself.
_MUCH_SMALLER = 0.25


def least_bits(tried: int) -> float:
    """Return how many bits the best of so many hypotheses must explain not to fit by chance."""
    return float(np.log2(max(tried, 1))) + _LEAST_BITS


def explained_bits(
    quantities: Sequence[ReportedQuantity],
    unchanged: Sequence[Comparison],
    explained: Sequence[Comparison],
) -> float:
    """Return how many bits agree that did not.

    A hypothesis that changes a number by about the difference agrees with it by chance in one of
    ratio cases, but for numbers that hold few bits themselves.

    Args:
        quantities: What the port reports.
        unchanged: The comparison of each with the network itself.
        explained: The comparison of each with the explanation.
    """
    bits = 0.0
    for quantity, before, after in zip(quantities, unchanged, explained, strict=True):
        of_quantity = before.bits
        if _leaves_out_all_that_differs(before, after):
            of_quantity = 0.0
        elif after.bound > 0 and before.bound > 0:
            # By chance, few numbers would agree within a much smaller bound.
            is_smaller = after.bound < _MUCH_SMALLER * before.bound
            numbers = after.compared if is_smaller else before.differing
            of_quantity -= numbers * np.log2(after.bound / before.bound)
        bits += _held_bits(quantity.values, of_quantity)
    return bits


def _held_bits(values: Array, bits: float) -> float:
    """Return how many of so many bits an array (N, L, units) holds: equal numbers count once."""
    if has_only_zeros_and_ones(values):
        return min(bits, _entropy(values))
    return bits * np.unique(values).size / max(values.size, 1)


def _entropy(values: Array) -> float:
    """Return how many bits the rows of an array (N, L, units) hold, by how often each occurs."""
    rows = values.reshape(-1, values.shape[-1])
    shares = np.unique(rows, axis=0, return_counts=True)[1] / len(rows)
    return float(-len(rows) * (shares * np.log2(shares)).sum())


def _leaves_out_all_that_differs(before: Comparison, after: Comparison) -> bool:
    """Return whether fewer steps are compared, such as after a shift, and none that differs."""
    samples, steps, _ = before.pattern.shape
    is_shorter = after.pattern.shape[0] == samples and after.pattern.shape[1] < steps
    if not is_shorter or after.steps is None or not before.pattern.steps:
        return False
    return not set(before.pattern.steps) & set(after.steps.tolist())
