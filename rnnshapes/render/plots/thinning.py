"""More steps than a picture has room for, as groups of steps: what is drawn of them is said."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rnnshapes.ops.activations import Array

#: How many groups of steps at the most are drawn side by side, and of units one below the other.
ACROSS, DOWN = 1000, 128
#: So many groups of steps that are marked or not.
_MARKED = 200


class Thinned(NamedTuple):
    """Groups of ``size`` steps: where each has its middle, its smallest and largest number.

    What is not finite does not count; a group in which nothing is finite has NaN.
    """

    t: Array
    low: Array
    high: Array
    size: int


def thinned(values: Array, start: int = 0) -> Thinned:
    """``values`` (T,), the first of which is that of step ``start``."""
    finite = np.where(np.isfinite(values), values, np.nan)
    size = group_size(len(values), ACROSS)
    if size == 1:
        return Thinned(start + np.arange(len(values)), finite, finite, 1)
    groups = _grouped(finite, size)
    t = start + size * np.arange(len(groups)) + (size - 1) / 2
    return Thinned(t, np.fmin.reduce(groups, axis=1), np.fmax.reduce(groups, axis=1), size)


def means(values: Array) -> tuple[Array, int, int]:
    """(T, units) as (groups of steps, groups of units) with the mean of each, and both sizes.

    What is not finite does not count; a group in which nothing is finite has NaN.
    """
    steps, units = group_size(values.shape[0], ACROSS), group_size(values.shape[1], DOWN)
    finite = np.isfinite(values)
    if steps == units == 1:
        return np.where(finite, values, np.nan), 1, 1
    sums, counts = np.where(finite, values, 0.0), finite.astype(float)
    for axis, size in ((0, steps), (1, units)):
        starts = np.arange(0, values.shape[axis], size)
        sums = np.add.reduceat(sums, starts, axis=axis)
        counts = np.add.reduceat(counts, starts, axis=axis)
    made = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return made, steps, units


def runs(marked: Array, start: int = 0) -> list[tuple[float, float]]:
    """From where to where steps are ``marked`` (T,), each end half a step further out.

    Where groups stand for several steps, one counts as a whole in which a step is marked.
    """
    size = group_size(len(marked), _MARKED)
    groups = _grouped(marked.astype(float), size)
    found = np.concatenate([[0], np.fmax.reduce(groups, axis=1), [0]])
    edges = np.flatnonzero(np.diff(found)).reshape(-1, 2)
    ends = np.minimum(edges * size, len(marked)) + start - 0.5
    return [(float(a), float(b)) for a, b in ends]


def group_size(count: int, most: int) -> int:
    """How many stand for one where no more than ``most`` can be drawn."""
    return max(1, -(-count // most))


def _grouped(values: Array, size: int) -> Array:
    """(T,) as (groups, size), filled up with NaN."""
    groups = -(-len(values) // size)
    filled = np.full(groups * size, np.nan)
    filled[: len(values)] = values
    return filled.reshape(groups, size)
