"""The NumPy interpreter: arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rnnshapes.errors import InputError
from rnnshapes.ops.activations import MONOTONE, Array, activate
from rnnshapes.ops.selection import Selection
from rnnshapes.ops.windows import Window


class NumpyOps:
    """The operations of the NumPy interpreter that are not operators; the data sets the dtype."""

    def activate(self, name: str, z: Array) -> Array:
        """Apply the activation ``name``."""
        monotone = MONOTONE.get(name)
        return activate(name, z) if monotone is None else monotone.function(z)

    def split(self, z: Array, base: str, parts: tuple[str, ...]) -> list[Array]:
        """Split the last axis into equal parts."""
        width = z.shape[-1] // len(parts)  # np.split takes longer than a small step
        return [z[..., i * width : (i + 1) * width] for i in range(len(parts))]

    def rows(self, b: Array, names: tuple[str, ...]) -> list[Array]:
        """Return the rows of ``b``."""
        return list(b)

    def let(self, name: str, value: Array) -> Array:
        """Return ``value`` itself."""
        return value

    def rearrange(self, x: Array, function: Callable[[Array], Array]) -> Array:
        """Return ``function(x)`` for a function that only moves or selects numbers."""
        return function(x)

    def swap_time(self, x: Array) -> Array:
        """Exchange samples and time: (N, T, …) → (T, N, …), and back."""
        return np.swapaxes(x, 0, 1)

    def shape(self, x: Array) -> tuple[int, ...]:
        """Return the shape of ``x``."""
        return x.shape

    def rank(self, x: Array) -> int:
        """Return the number of axes of ``x``."""
        return x.ndim

    def within(self, suffix: str) -> NumpyOps:
        """Return these operations."""
        return self

    def concatenate(self, values: Sequence[Array]) -> Array:
        """Join the values along the last axis; a value without time is repeated."""
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
        """Return the values as they are: NumPy broadcasts."""
        return values

    def take(self, table: Array, indices: Array) -> Array:
        """Return the rows of ``table`` with these integer indices."""
        rows: Array = table[np.asarray(indices).astype(np.int64)]
        return rows

    def select(self, x: Array, selection: Selection) -> Array:
        """Return ``x[key]``; raise InputError where x is too short for an index."""
        try:
            selected: Array = x[selection.key]
        except IndexError:
            raise InputError(f"{selection} does not fit an array {x.shape}: give more") from None
        return selected

    def windows(self, x: Array, window: Window) -> Array:
        """Cut windows of time steps: (N, T, F) → (N, T', size, F).

        Beyond the ends stand zeros, or ``window.fill``.
        """
        before, after = window.padding(x.shape[1])
        x = np.pad(x, ((0, 0), (before, after), (0, 0)), constant_values=window.fill)
        windows: Array = x[:, window.positions(x.shape[1])]
        return windows

    def contract(self, windows: Array, kernel: Array) -> Array:
        """Compute (N, T', k, D)·(k, D, F) → (N, T', F), as one product of matrices."""
        matrix = kernel.reshape(-1, kernel.shape[-1])
        result: Array = windows.reshape(*windows.shape[:2], len(matrix)) @ matrix
        return result

    def averages(self, x: Array, window: Window) -> Array:
        """Return the mean of each window: (N, T, F) → (N, T', F)."""
        return self.mean(self.windows(x, window), 2, self.window_counts(x, window))

    def window_counts(self, x: Array, window: Window) -> Array:
        """Return how many steps of x each window holds, (1, T', 1)."""
        ones = np.ones((1, x.shape[1], 1))
        counts: Array = self.windows(ones, window).sum(axis=2)
        return counts

    def mean(self, x: Array, axis: int, count: Array | None = None) -> Array:
        """Return the mean over ``axis``, or the sum divided by ``count``."""
        if count is None:
            mean: Array = x.mean(axis=axis, keepdims=axis == -1)
            return mean
        quotient: Array = x.sum(axis=axis) / count
        return quotient

    def max(self, x: Array, axis: int) -> Array:
        """Return the largest value over ``axis``."""
        largest: Array = x.max(axis=axis)
        return largest

    def rsqrt(self, x: Array) -> Array:
        """Return 1 / sqrt(x)."""
        return 1.0 / np.sqrt(x)

    def where(self, mask: Array, x: Array) -> Array:
        """Return ``x`` where the mask is true, and 0 elsewhere."""
        return np.where(mask[..., None], x, x.dtype.type(0))

    def reshape(self, x: Array, shape: Sequence[object], numbers: tuple[int, ...]) -> Array:
        """Give each sample the shape ``numbers``."""
        return x.reshape(len(x), *numbers)

    def repeat(self, x: Array, times: object, number: int) -> Array:
        """Repeat each sample over time: (N, F) → (N, number, F)."""
        return np.repeat(x[:, None], number, axis=1)
