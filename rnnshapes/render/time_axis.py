"""Time steps in groups, for pictures that have no room for each step.

``text_art/strips.py`` and ``plots/series.py`` draw a group of neighbours in one place. A group
never samples: its mean is that of all its steps, or its range that of all of them. Groups are
given by their ``edges`` (groups + 1,): where each group begins, and the count of steps.
"""

from __future__ import annotations

import numpy as np

from rnnshapes.ops.activations import Array


def group_size(count: int, most: int) -> int:
    """Return how many have to stand together so that there are at most ``most`` groups."""
    return max(1, -(-count // most))


def groups_of(size: int, count: int) -> Array:
    """Return the edges of groups of ``size``; the last one may be smaller."""
    return np.append(np.arange(0, count, size, dtype=np.int64), count)


def balanced_groups(number: int, count: int) -> Array:
    """Return the edges of this many groups, of which none has two more than another."""
    return np.arange(number + 1, dtype=np.int64) * count // number


def group_means(values: Array, weights: Array, edges: Array, axis: int = -1) -> tuple[Array, Array]:
    """Return the mean of each group along an axis, NaN if no weight is positive, and its weight.

    Args:
        values: The numbers; those of weight 0 may be anything.
        weights: How often each number counts, of a shape that broadcasts to that of ``values``.
        edges: The edges of the groups.
        axis: The axis along which numbers are grouped.
    """
    starts, sizes = edges[:-1], np.diff(edges)
    totals = np.add.reduceat(weights, starts, axis=axis)
    shares = np.repeat(totals, sizes, axis=axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Divided before they are added up: a sum of large numbers would overflow.
        np.divide(weights, shares, out=shares)
        shared = np.where(weights > 0, values, 0.0) * shares
        means = np.add.reduceat(shared, starts, axis=axis)
    return means, totals
