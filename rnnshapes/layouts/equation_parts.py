"""Conversion of arrays between the layout of a framework and the parts of an equation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rnnshapes.layouts.layout import ArrayLayout
from rnnshapes.ops.activations import Array


def to_parts(
    array: ArrayLayout, values: Array, direction: int, order: Sequence[str], gates: Sequence[str]
) -> dict[str, Array]:
    """Return the parts of an equation that an array holds.

    Args:
        array: The layout of the array.
        values: Its numbers.
        direction: The direction, of an array that holds several.
        order: The order of the gates in it.
        gates: The order of the gates in the equation.
    """
    values = values[direction] if array.by_direction else values
    values = values.T if array.transposed else values
    parts = list(values) if array.stacked else np.split(values, len(array.parts))
    own = array.gates or tuple(order)
    return {
        part: in_order(part_values, own, [gate for gate in gates if gate in own])
        for part, part_values in zip(array.parts, parts, strict=True)
    }


def from_parts(
    array: ArrayLayout,
    parts: Sequence[Mapping[str, Array]],
    order: Sequence[str],
    gates: Sequence[str],
) -> Array:
    """Return the array that holds parts of an equation; the inverse of :func:`to_parts`.

    Args:
        array: The layout of the array.
        parts: The parts by name, of each direction that the array holds.
        order: The order of the gates in the array.
        gates: The order of the gates in the equation.
    """
    arrays = []
    for of_direction in parts:
        own = array.gates or tuple(order)
        inner = [gate for gate in gates if gate in own]
        each = [in_order(of_direction[part], inner, own) for part in array.parts]
        joined = np.stack(each) if array.stacked else np.concatenate(each)
        arrays.append(joined.T if array.transposed else joined)
    return np.stack(arrays) if array.by_direction else arrays[0]


def in_order(values: Array, order: Sequence[str], gates: Sequence[str]) -> Array:
    """Return an array with the blocks of its last axis in the order ``gates``, not ``order``."""
    if tuple(order) == tuple(gates) or not order:
        return values
    blocks = dict(zip(order, np.split(values, len(order), axis=-1), strict=True))
    return np.concatenate([blocks[gate] for gate in gates], axis=-1)
