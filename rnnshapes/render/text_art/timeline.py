"""Time along a line of a drawing: steps in cells, the mean of each cell, and t below them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from rnnshapes.ops.activations import Array

#: Characters of a cell, where there is room for more.
_WIDEST = 12


class Cells(NamedTuple):
    """Steps from ``start`` on, cut at ``edges`` (0, …, steps) into cells of ``width`` characters.

    Where there is room, a cell is one step.
    """

    start: int
    edges: Array
    width: int

    @property
    def number(self) -> int:
        """How many cells there are."""
        return len(self.edges) - 1

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return int(self.edges[-1])


class Means(NamedTuple):
    """The mean over each cell's steps that count, (units, cells), NaN in cells without such.

    These are ``masked`` (cells,).
    """

    values: Array
    masked: Array


def cells(start: int, steps: int, columns: int) -> Cells:
    """As many cells as there are steps, or as fit, none with two steps more than another."""
    number = min(steps, columns)
    edges = np.arange(number + 1, dtype=np.int64) * steps // number
    return Cells(start, edges, min(columns // number, _WIDEST))


def means(values: Array, counts: Array | None, into: Cells) -> Means:
    """The cells of ``values`` (units, steps); ``counts`` (steps,) says which steps count."""
    starts = into.edges[:-1]
    counted = np.ones(values.shape[1]) if counts is None else counts.astype(float)
    many = np.add.reduceat(counted, starts)
    used = values if counts is None else np.where(counts, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.repeat(1.0 / many, np.diff(into.edges))
        # Divided before they are added up: a sum of large numbers would overflow.
        found = np.add.reduceat(used * share, starts, axis=1)
    return Means(found, many == 0)


def scale(below: Cells) -> str:
    """``0    10    20    29``: some steps, each below the cell that it is in, and the last."""
    last = below.start + below.steps - 1
    line = [" "] * (below.number * below.width)
    at = _place(below, last)
    line[at:] = str(last).ljust(len(line) - at)
    room = at - 2
    for t in _ticks(below, len(str(last)) + 2):
        place, text = _place(below, t), str(t)
        if place + len(text) <= room and not "".join(line[max(place - 2, 0) : place]).strip():
            line[place : place + len(text)] = text
    return "".join(line).rstrip()


def _place(below: Cells, t: int) -> int:
    """Where the text of step t begins: in the middle of its cell, if that is wide enough."""
    cell = int(np.searchsorted(below.edges, t - below.start, side="right")) - 1
    length = len(str(t))
    place = cell * below.width + max(0, (below.width - length) // 2)
    return max(0, min(place, below.number * below.width - length))


def _ticks(below: Cells, apart: int) -> Iterator[int]:
    """The first step, and those divisible by 1, 2, 5, 10, 20, 50 … that are so far ``apart``."""
    characters = below.number * below.width / below.steps
    every = next(
        factor * 10**power
        for power in range(19)
        for factor in (1, 2, 5)
        if factor * 10**power * characters >= apart
    )
    yield below.start
    yield from range(below.start // every * every + every, below.start + below.steps, every)
