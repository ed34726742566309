"""Patterns in a recovered array: what a port may have made of the expected one.

Each pattern is read off the recovered numbers: which column, row or number of the expected array
stands where, which numbers are 0, and where numbers are clipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from rnnshapes.ops.activations import Array
from rnnshapes.port.hypothesis import Mistake, Where

#: Numbers that agree to this share are the same.
_SAME = 1e-6
#: So many numbers, at least, are clipped or pruned at a limit, unless it has one digit.
_LEAST_AT_LIMIT = 2
#: So many rows or units are listed.
_LISTED = 8
#: Limits of a bias of which the sum of both rows alone is known.
_LIMITS = (0.25, 0.5, 1.0, 2.0)


class RecoveredArray(NamedTuple):
    """An array that a port must have, beside the expected one, with the same shape.

    Attributes:
        key: The key of the array: ``Wx``, ``bh``.
        name: The array in words: ``kernel of lstm``.
        where: The array.
        gates: The G gates, each with a block of M columns; empty for a cell without.
        expected: The expected numbers, (rows, G·M), or (G·M,).
        right: The same, as far as they can be compared with the recovered ones: of some gates of
            a GRU, the sum of both rows of the bias.
        found: The recovered ones.
        error: How far each of them may be off; infinite in columns of units that are not known.
    """

    key: str
    name: str
    where: Where
    gates: tuple[str, ...]
    expected: Array
    right: Array
    found: Array
    error: Array

    @property
    def blocks(self) -> tuple[int, int, int]:
        """The sizes (rows, G, M)."""
        count = max(1, len(self.gates))
        columns = self.expected.shape[-1]
        return self.expected.size // columns, count, columns // count

    @property
    def differs(self) -> Array:
        """Which recovered numbers are others than the expected ones."""
        tolerance = self.error + _SAME * np.abs(self.right)
        return np.asarray(np.abs(self.found - self.right) > tolerance)

    @property
    def is_summed(self) -> bool:
        """Whether it is a bias of two rows."""
        return self.is_bias and self.expected.ndim == 2

    @property
    def is_bias(self) -> bool:
        """Whether it has no rows that multiply something."""
        return self.key in ("bh", "b")


def patterns(recovered: RecoveredArray) -> Iterator[tuple[Mistake, Array]]:
    """Yield what the recovered numbers look like, with the array that it makes of the expected one.

    Not all of these arrays are within the error of the recovered one.
    """
    yield from _units(recovered)
    if not recovered.is_bias:
        yield from _rows(recovered)
    yield from _zeros(recovered)
    yield from _limits(recovered)


# --- Other columns and rows ---------------------------------------------------------------------


def _units(recovered: RecoveredArray) -> Iterator[tuple[Mistake, Array]]:
    """Yield the array with its units in another order, in all gates alike.

    Units that are not known are taken to be where they belong.
    """
    name, where, expected = recovered.name, recovered.where, recovered.expected
    units = recovered.blocks[2]
    right, found, error = (
        a.reshape(recovered.blocks).transpose(2, 0, 1).reshape(units, -1)
        for a in (recovered.right, recovered.found, recovered.error)
    )
    known, order = np.isfinite(error).all(axis=1), np.arange(units)
    order[known] = _nearest(found[known], right)
    columns = expected.reshape(recovered.blocks)[..., order].reshape(expected.shape)
    each = ", in each gate" if recovered.gates else ""
    fix = f"read column m of {where.array} for unit m{each}"
    read = _read_for_others(order, lambda m: f"unit {m}")
    text = f"columns of {name} are read for others{each}: {read}"
    yield Mistake("weights.permuted", text, where, fix), columns
    first = expected.reshape(-1)[0]
    text = f"every number of {name} is its first one"
    fix = f"read number m of {where.array} for column m"
    yield Mistake("weights.permuted", text, where, fix), np.full_like(expected, first)


def _rows(recovered: RecoveredArray) -> Iterator[tuple[Mistake, Array]]:
    """Yield a kernel with its rows in another order, or 0."""
    name, where, expected = recovered.name, recovered.where, recovered.expected
    count = len(expected)
    with_zeros = np.concatenate([expected, np.zeros((1, expected.shape[1]))])
    known = np.isfinite(recovered.error).all(axis=0)
    order = _nearest(recovered.found[:, known], with_zeros[:, known])
    zeros, others = (np.flatnonzero(is_zero) for is_zero in (order == count, order < count))
    if sorted(order) == list(range(count)):
        mistake = order_of_rows(order.tolist(), recovered.key, where, name)
    elif np.array_equal(order[others], others):
        numbers = f"row{'s' * (len(zeros) > 1)} {_listed(zeros)}"
        text = f"{numbers} of {name} {'are' if len(zeros) > 1 else 'is'} 0"
        mistake = Mistake("weights.row_omitted", text, where, f"read every row of {where.array}")
    else:
        read = _read_for_others(order, lambda m: "0" if m == count else f"row {m}")
        text = f"rows of {name} are read for others: {read}"
        mistake = Mistake("weights.permuted", text, where, f"read row m of {where.array} at m")
    yield mistake, with_zeros[order]


def order_of_rows(order: Sequence[int], key: str, where: Where, name: str) -> Mistake:
    """Return the mistake of a kernel, by its key and name, with its rows in another order."""
    what = "the features of x" if key == "Wx" else "its units"
    text = f"the rows of {name}, or {what}, are in the order {_listed(order)}"
    return Mistake("input.permuted" if key == "Wx" else "weights.permuted", text, where)


def _read_for_others(order: Array, named: Callable[[int], str]) -> str:
    """Return the first places at which another column or row is read, and which."""
    places = enumerate(order.tolist())
    return _listed([f"{named(other)} for {named(at)}" for at, other in places if other != at])


def _nearest(found: Array, right: Array) -> Array:
    """Return for each row of ``found`` which row of ``right`` is nearest."""
    squares = (right**2).sum(axis=1)[None] - 2 * found @ right.T
    return np.asarray(np.argmin(squares, axis=1))


def _listed(numbers: Sequence[Any] | Array) -> str:
    """Return the first numbers in one text."""
    return ", ".join(map(str, numbers[:_LISTED])) + (", …" if len(numbers) > _LISTED else "")


# --- Zeros and limits ---------------------------------------------------------------------------


def _zeros(recovered: RecoveredArray) -> Iterator[tuple[Mistake, Array]]:
    """Yield the array with gates or units of 0, or with its smallest numbers as 0."""
    name, where, expected = recovered.name, recovered.where, recovered.expected
    zero = np.abs(recovered.found) <= recovered.error
    blocks = zero.reshape(recovered.blocks)
    gates = [gate for n, gate in enumerate(recovered.gates) if blocks[:, n].all()]
    if gates:
        several = len(gates) > 1
        what = f"gate{'s' * several} {', '.join(gates)} of {name}"
        text = f"{what} {'are' if several else 'is'} left out"
        kept = np.array([gate not in gates for gate in recovered.gates])
        mistake = Mistake(
            "bias.omitted" if recovered.is_bias else "weights.omitted",
            text,
            where if several else where._replace(gate=gates[0]),
            f"use the block of every gate of {where.array}",
        )
        yield mistake, expected * np.repeat(kept, recovered.blocks[2])
    known = np.isfinite(recovered.error).reshape(recovered.blocks)
    units = np.flatnonzero((blocks & known).all(axis=(0, 1)))
    if 0 < len(units) < recovered.blocks[2]:
        several = len(units) > 1
        text = f"the numbers of unit{'s' * several} {_listed(units)} are 0 in {name}"
        at = where if several else where._replace(unit=int(units[0]))
        fix = f"use every column of {where.array}"
        kept = np.isin(np.arange(recovered.blocks[2]), units, invert=True)
        mistake = Mistake("weights.omitted", text, at, fix)
        yield mistake, expected * np.tile(kept, recovered.blocks[1])
    sizes = np.abs(expected)
    for limit in _pruned_up_to(recovered):
        text = f"the smallest numbers of {name}, up to {limit:.4g}, are 0"
        yield Mistake("weights.pruned", text, where), np.where(sizes <= limit, 0.0, expected)


def _pruned_up_to(recovered: RecoveredArray) -> Iterator[float]:
    """Yield up to which size numbers may be 0: several that differ, but not the largest."""
    sizes = np.sort(np.abs(recovered.expected), axis=None)
    if recovered.is_summed:
        yield from sizes[_LEAST_AT_LIMIT - 1 : -1]
    elif (pruned := recovered.differs).sum() >= _LEAST_AT_LIMIT:
        limit = float(np.abs(recovered.expected[pruned]).max())
        if limit < sizes[-1]:
            yield limit


def _limits(recovered: RecoveredArray) -> Iterator[tuple[Mistake, Array]]:
    """Yield the array clipped to a limit, or to one on each side."""
    expected, found = recovered.expected, recovered.found
    limits: list[tuple[float, float]] = []
    if recovered.is_summed:
        limits += [(-limit, limit) for limit in _LIMITS]
    else:
        smaller = recovered.differs & (np.abs(found) < np.abs(expected)) & (found * expected > 0)
        size = _limit(recovered, smaller)
        low, high = (_limit(recovered, smaller & (side * found > 0)) for side in (-1, 1))
        limits += [(-size, size), (-low, high), (-low, np.inf), (-np.inf, high)]
    for low, high in dict.fromkeys(limits):
        how = f"±{high:.6g}" if low == -high else f"[{low:.6g}, {high:.6g}]"
        text = f"the numbers of {recovered.name} are clipped to {how}"
        yield Mistake("weights.clipped", text, recovered.where), np.clip(expected, low, high)


def _limit(recovered: RecoveredArray, clipped: Array) -> float:
    """Return the size of clipped numbers, with as few digits as its error allows, or infinity.

    It takes several numbers, or one digit, to be a limit.
    """
    if not clipped.any():
        return np.inf
    size = float(np.median(np.abs(recovered.found[clipped])))
    tolerance = float(np.median(recovered.error[clipped])) + _SAME * size
    for digits in range(1, 7):
        short = float(f"{size:.{digits}g}")
        if abs(short - size) <= tolerance:
            size = short
            break
    is_limit = digits == 1 or clipped.sum() >= _LEAST_AT_LIMIT
    return size if is_limit else np.inf
