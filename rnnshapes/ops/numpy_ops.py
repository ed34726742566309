"""The second reading of an equation: over NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rnnshapes.ops.activations import MONOTONE, Array, activate
from rnnshapes.ops.windows import Window


class NumpyOps:
    """The operations of this reading that are not operators; the dtype is that of the data."""

    def activate(self, name: str, z: Array) -> Array:
        """The activation ``name`` of ``z``."""
        found = MONOTONE.get(name)
        return activate(name, z) if found is None else found.function(z)

    def split(self, z: Array, base: str, parts: tuple[str, ...]) -> list[Array]:
        """The last axis of ``z`` in equal parts."""
        width = z.shape[-1] // len(parts)  # np.split takes longer than a small step
        return [z[..., i * width : (i + 1) * width] for i in range(len(parts))]

    def rows(self, b: Array, names: tuple[str, ...]) -> list[Array]:
        """The rows of ``b``."""
        return list(b)

    def let(self, name: str, value: Array) -> Array:
        """``value`` itself."""
        return value

    def rearrange(self, x: Array, function: Callable[[Array], Array]) -> Array:
        """What only moves or selects numbers, done to ``x``."""
        return function(x)

    def swap_time(self, x: Array) -> Array:
        """(N, T, …) as (T, N, …), and back."""
        return np.swapaxes(x, 0, 1)

    def shape(self, x: Array) -> tuple[int, ...]:
        """Its shape."""
        return x.shape

    def rank(self, x: Array) -> int:
        """How many axes it has."""
        return x.ndim

    def within(self, suffix: str) -> NumpyOps:
        """These operations."""
        return self

    def concatenate(self, values: Sequence[Array]) -> Array:
        """One behind the other on the last axis."""
        longest = max(values, key=np.ndim)
        lead = longest.shape[:-1]
        return np.concatenate(
            [
                v if v.shape[:-1] == lead else np.broadcast_to(v, (*lead, v.shape[-1]))
                for v in values
            ],
            axis=-1,
        )

    def aligned(self, values: Sequence[Array]) -> Sequence[Array]:
        """As they are: NumPy broadcasts."""
        return values

    def take(self, table: Array, indices: Array) -> Array:
        """The rows of ``table`` with these whole numbers."""
        made: Array = table[np.asarray(indices).astype(np.int64)]
        return made

    def windows(self, x: Array, window: Window) -> Array:
        """(N, T, F) as (N, T', size, F); zeros, or what ``window`` says, at the ends."""
        before, after = window.padding(x.shape[1])
        x = np.pad(x, ((0, 0), (before, after), (0, 0)), constant_values=window.fill)
        at = window.positions(x.shape[1])
        made: Array = x[:, at]
        return made

    def contract(self, seen: Array, kernel: Array) -> Array:
        """(N, T', k, D)·(k, D, F) → (N, T', F), as one product of matrices."""
        flat = kernel.reshape(-1, kernel.shape[-1])
        made: Array = seen.reshape(*seen.shape[:2], len(flat)) @ flat
        return made

    def averages(self, x: Array, window: Window) -> Array:
        """The mean of what each window sees, (N, T', F)."""
        return self.mean(self.windows(x, window), 2, self.window_counts(x, window))

    def window_counts(self, x: Array, window: Window) -> Array:
        """How many steps of x each window sees, (1, T', 1)."""
        ones = np.ones((1, x.shape[1], 1))
        made: Array = self.windows(ones, window).sum(axis=2)
        return made

    def mean(self, x: Array, axis: int, count: Array | None = None) -> Array:
        """The mean over ``axis``, or the sum divided by ``count``."""
        if count is None:
            made: Array = x.mean(axis=axis, keepdims=axis == -1)
            return made
        shares: Array = x.sum(axis=axis) / count
        return shares

    def max(self, x: Array, axis: int) -> Array:
        """The largest over ``axis``."""
        made: Array = x.max(axis=axis)
        return made

    def rsqrt(self, x: Array) -> Array:
        """1 / sqrt(x)."""
        return 1.0 / np.sqrt(x)

    def where(self, mask: Array, x: Array) -> Array:
        """``x`` where the mask holds, and 0 elsewhere."""
        return np.where(mask[..., None], x, x.dtype.type(0))

    def reshape(self, x: Array, shape: Sequence[object], numbers: tuple[int, ...]) -> Array:
        """Each sample in the shape ``numbers``."""
        return x.reshape(len(x), *numbers)

    def repeat(self, x: Array, times: object, number: int) -> Array:
        """(N, F) as (N, number, F)."""
        return np.repeat(x[:, None], number, axis=1)
