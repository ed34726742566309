"""One weight of several networks that NumPy computes at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from rnnshapes.ops.activations import Array


@dataclass(frozen=True, eq=False)
class BatchedWeight:
    """One weight of H networks of the same structure, which may share some of its arrays.

    The samples of the networks stand one behind the other on the axis before the last:
    (…, H · ``rows``, features). Products and sums with it take for each sample the array of its
    network.

    Attributes:
        values: The different arrays, (U, …).
        counts: How many networks, one behind the other, have each of them, (U,).
        rows: How many samples each network has.
    """

    values: Array
    counts: tuple[int, ...]
    rows: int

    __array_ufunc__ = None  # NumPy leaves the operators to this class

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of each array."""
        return self.values.shape[1:]

    @cached_property
    def _each(self) -> Array:
        """The array of each network, (H, …)."""
        if len(self.counts) == sum(self.counts):
            return self.values
        return np.repeat(self.values, self.counts, axis=0)

    def __rmatmul__(self, x: Array) -> Array:
        blocks = self._blocks(x)
        if 2 * len(self.counts) > blocks.shape[1]:
            return (blocks @ self._each).reshape(*x.shape[:-1], -1)
        # Networks that share an array read it from memory once.
        product = np.empty((*blocks.shape[:-1], self.shape[-1]))
        start = 0
        for values, count in zip(self.values, self.counts, strict=True):
            some = blocks[:, start : start + count]
            result = some.reshape(-1, x.shape[-1]) @ values
            product[:, start : start + count] = result.reshape(*some.shape[:-1], -1)
            start += count
        return product.reshape(*x.shape[:-1], -1)

    def __radd__(self, x: Array) -> Array:
        return (self._blocks(x) + self._each[:, None]).reshape(x.shape)

    def __rmul__(self, x: Array) -> Array:
        return (self._blocks(x) * self._each[:, None]).reshape(x.shape)

    def __iter__(self) -> Iterator[BatchedWeight]:
        rows = range(self.values.shape[1])
        return (replace(self, values=self.values[:, row]) for row in rows)

    def __getitem__(self, index: tuple[object, ...]) -> BatchedWeight:
        """Return a part of each array: ``weight[..., 2:4]``."""
        part: Array = self.values[index]  # type: ignore[index]
        return replace(self, values=part)

    def _blocks(self, x: Array) -> Array:
        """Return (…, H · rows, features) as (…, H, rows, features)."""
        return x.reshape(-1, sum(self.counts), self.rows, x.shape[-1])
