"""More steps than a picture has room for, as groups of steps: what is drawn of them is said."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rnnshapes.algebra.activations import Array

#: How many groups of steps at the most are drawn side by side, and of units one below the other.
ACROSS, DOWN = 1000, 128


class Thinned(NamedTuple):
    """Groups of ``size`` steps: where each has its middle, its smallest and largest number.

    A group has NaN if all in it is NaN; ``lost`` is how many numbers are not finite.
    """

    t: Array
    low: Array
    high: Array
    size: int
    lost: int


def thinned(values: Array, start: int = 0, most: int = ACROSS) -> Thinned:
    """``values`` (T,), the first of which is that of step ``start``."""
    finite = np.where(np.isfinite(values), values, np.nan)
    lost = int(values.size - np.isfinite(values).sum())
    size = group_size(len(values), most)
    if size == 1:
        return Thinned(start + np.arange(len(values)), finite, finite, 1, lost)
    groups = _grouped(finite, size)
    t = start + size * np.arange(len(groups)) + (size - 1) / 2
    return Thinned(t, np.fmin.reduce(groups, axis=1), np.fmax.reduce(groups, axis=1), size, lost)


def means(values: Array, across: int = ACROSS, down: int = DOWN) -> tuple[Array, int, int]:
    """(T, units) as (groups of steps, groups of units) with the mean of each, and both sizes.

    What is not finite does not count; a group in which nothing is finite has NaN.
    """
    steps, units = group_size(values.shape[0], across), group_size(values.shape[1], down)
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


def runs(marked: Array, start: int = 0, most: int = 200) -> list[tuple[float, float]]:
    """From where to where steps are ``marked`` (T,), each end half a step further out.

    Of more steps than that, a group in which one is marked counts as a whole.
    """
    size = group_size(len(marked), most)
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
