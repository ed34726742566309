"""Differences of one stored array: one number, a few, all by rounding, or all."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rnnshapes.ops.activations import Array
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.port.hypothesis import Mistake, Where
from rnnshapes.port.mistakes.weight_rounding import grids

#: The largest share of wrong numbers in an array whose others are right.
_FEW = 0.02
#: The largest error of rounding, of the largest number: that of integers of 8 bits, doubled.
_ROUNDING = 2**-7


def number_mistake(
    values: Array,
    stored: Array,
    where: Where,
    gates: tuple[str, ...] = (),
    part: str = "",
    error: Array | float = 0.0,
) -> Mistake:
    """Return how numbers differ: one, a few, all by rounding, or all.

    Args:
        values: The numbers of Keras, in float64.
        stored: Those of the file, in the same shape, with the gates in Keras's order.
        where: The array.
        gates: The G gates, whose blocks are along the last axis; empty for an array without.
        part: The beginning of an index: ``row 1, `` where ``values`` is a row of the array.
        error: How far each number of ``stored`` may be off.
    """
    differs = ~np.isclose(values, stored, rtol=1e-6, atol=error)
    if not differs.any():  # the last digits
        differs = values != stored
    count, largest = int(differs.sum()), np.abs(values - stored).max()
    blocks = np.split(differs, len(gates), axis=-1) if gates else []
    wrong = [gate for gate, block in zip(gates, blocks, strict=True) if block.any()]
    if len(wrong) == 1:
        where = where._replace(gate=wrong[0])
    first = tuple(int(index) for index in np.argwhere(differs)[0])
    if count == 1 and first:
        where = where._replace(unit=first[-1] % (values.shape[-1] // max(1, len(gates))))
    are_many = count > max(1, _FEW * differs.size)
    limit = _ROUNDING * np.abs(values).max() + np.max(error)
    if are_many and (largest <= limit or np.isinf(largest)):  # float16 may have overflowed
        for id_, name, rounded in _roundings(values, max(1, len(gates))):
            if np.allclose(rounded, stored, rtol=1e-6, atol=error):
                text = f"all numbers are rounded to {name}; largest error {largest:.2g}"
                return Mistake(id_, text, where, "store the weights in float32")
    only = f", all of gate {wrong[0]}" if len(wrong) == 1 < min(len(gates), count) else ""
    verb = "number differs" if count == 1 else "numbers differ"
    place = f"{part}{', '.join(map(str, first))}"
    text = f"{count:,} {verb}{only}: at [{place}] {stored[first]:.8g}, expected {values[first]:.8g}"
    if are_many:
        return Mistake("weights.other", f"{text}; largest difference {largest:.2g}", where)
    return Mistake("weights.one_wrong", text, where)


def _roundings(values: Array, gates: int) -> Iterator[tuple[str, str, Array]]:
    """Yield the ways in which ports round weights: id, format, and the rounded numbers."""
    for name in ("float16", "bfloat16"):
        yield f"weights.{name}", name, PRECISIONS[name].rounded(values)
    for bits in (8, 16):
        for grid in grids(bits):
            yield "weights.quantized", grid.text, grid(values, gates)
