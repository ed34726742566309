"""Few combinations of many choices, among which all pairs or triples of choices occur."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any


def covering(axes: Mapping[Any, Sequence[Any]], strength: int) -> list[dict[Any, Any]]:
    """Return rows with a choice of each axis, so that any ``strength`` axes take all combinations.

    A fault that shows only where two (three) choices come together is found by one of the rows,
    of which there are far fewer than combinations. The rows are always the same.
    """
    names = list(axes)
    left = {
        (chosen, places)
        for chosen in itertools.combinations(range(len(names)), strength)
        for places in itertools.product(*(range(len(axes[names[i]])) for i in chosen))
    }
    rows = []
    while left:
        chosen, places = min(left)
        row: dict[int, int] = dict(zip(chosen, places, strict=True))
        for axis in range(len(names)):
            if axis not in row:
                options = range(len(axes[names[axis]]))
                row[axis] = max(options, key=lambda place: _new(left, {**row, axis: place}, axis))
        left -= {part for part in left if all(row[a] == p for a, p in zip(*part, strict=True))}
        rows.append({name: axes[name][row[axis]] for axis, name in enumerate(names)})
    return rows


def _new(left: set[Any], row: Mapping[int, int], axis: int) -> int:
    """Return how many combinations are new that end with the choice of this axis."""
    return sum(
        axis in chosen and all(row.get(a) == p for a, p in zip(chosen, places, strict=True))
        for chosen, places in left
    )
