"""One weight of several networks that NumPy computes at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rnnshapes.ops.activations import Array


@dataclass(frozen=True, eq=False)
class BatchedWeight:
    """One weight of H networks of the same structure, an array for each of them.

    The samples of the networks stand one behind the other on the axis before the last:
    (…, H · ``rows``, features). Products and sums with it take for each sample the array of its
    network.

    Attributes:
        values: The arrays, (H, …).
        rows: How many samples each network has.
    """

    values: Array
    rows: int

    __array_ufunc__ = None  # NumPy leaves the operators to this class

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of each array."""
        return self.values.shape[1:]

    def __rmatmul__(self, x: Array) -> Array:
        product = self._blocks(x) @ self.values
        return product.reshape(*x.shape[:-1], -1)

    def __radd__(self, x: Array) -> Array:
        return (self._blocks(x) + self.values[:, None]).reshape(x.shape)

    def __iter__(self) -> Iterator[BatchedWeight]:
        rows = range(self.values.shape[1])
        return (BatchedWeight(self.values[:, row], self.rows) for row in rows)

    def __getitem__(self, index: tuple[object, ...]) -> BatchedWeight:
        """Return a part of each array: ``weight[..., 2:4]``."""
        part: Array = self.values[index]  # type: ignore[index]
        return BatchedWeight(part, self.rows)

    def _blocks(self, x: Array) -> Array:
        """Return (…, H · rows, features) as (…, H, rows, features)."""
        return x.reshape(-1, len(self.values), self.rows, x.shape[-1])
