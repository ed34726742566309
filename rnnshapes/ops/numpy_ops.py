"""The NumPy interpreter: arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from rnnshapes.ops.activations import Array, activate, softmax
from rnnshapes.ops.constant import Constant
from rnnshapes.ops.contraction import Contraction
from rnnshapes.ops.dims import Dim, Shape
from rnnshapes.ops.elementwise import Elementwise
from rnnshapes.ops.interface import map_outputs, next_states
from rnnshapes.ops.visibility import Visibility
from rnnshapes.ops.windows import Axes, Window, window_axes

_RELATIONS = MappingProxyType(
    {
        ">": np.greater,
        ">=": np.greater_equal,
        "<": np.less,
        "<=": np.less_equal,
        "==": np.equal,
        "!=": np.not_equal,
    }
)


class NumpyOps:
    """The operations of the NumPy interpreter that are not operators; the data sets the dtype."""

    def activate(self, name: str, z: Array) -> Array:
        """Apply the activation ``name``."""
        return activate(name, z)

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

    def concatenate(
        self, values: Sequence[Array], axis: int = -1, length: Dim | None = None
    ) -> Array:
        """Join the values along an axis; on the last one, a value without time is repeated."""
        if axis != -1:
            return np.concatenate(list(values), axis=axis)
        longest = max(values, key=np.ndim)
        lead = longest.shape[:-1]
        return np.concatenate(
            [
                v if v.shape[:-1] == lead else np.broadcast_to(v, (*lead, v.shape[-1]))
                for v in values
            ],
            axis=-1,
        )

    def constant(self, values: Constant, like: Array, shape: Shape | None = None) -> Array:
        """Return the numbers of a constant, in the dtype of ``like``."""
        return values.array().astype(like.dtype)

    def aligned(self, values: Sequence[Array]) -> Sequence[Array]:
        """Return the values as they are: NumPy broadcasts."""
        return values

    def take(self, table: Array, indices: Array) -> Array:
        """Return the rows of ``table`` with these integer indices."""
        rows: Array = table[np.asarray(indices).astype(np.int64)]
        return rows

    def windows(self, x: Array, windows: Sequence[Window]) -> Array:
        """Cut windows along the axes from 1 on: (N, T, F) → (N, T', size, F).

        Beyond the ends stand zeros, or ``window.fill``.
        """
        for number, window in enumerate(windows):
            axis = 1 + 2 * number  # each axis before has become two
            positions = window.positions(x.shape[axis])
            if (positions == x.shape[axis]).any():
                beyond = [(0, int(number == axis)) for number in range(x.ndim)]
                x = np.pad(x, beyond, constant_values=window.fill)
            x = x[(slice(None),) * axis + (positions,)]
        return x

    def each_step(self, function: Callable[..., Any], inputs: Sequence[Array], rank: int) -> Any:
        """Apply a function to each step of tensors (N, T, …), or to (N, …) as they are."""
        if inputs[0].ndim == rank:
            return function(*inputs)
        lead = inputs[0].shape[:2]
        result = function(*(x.reshape(-1, *x.shape[2:]) for x in inputs))
        return map_outputs(lambda array: array.reshape(*lead, *array.shape[1:]), result)

    def scan(
        self,
        step: Callable[[Array, Sequence[Array]], Sequence[Array]],
        z: Array,
        multiple: int,
        names: tuple[str, ...],
        *,
        reverse: bool,
        mask: Array | None = None,
    ) -> Array:
        """Take one step after the other, and return the first state after each, (N, T, …, M)."""
        zeros = np.zeros((len(z), *z.shape[2:-1], z.shape[-1] // multiple), z.dtype)
        states: Sequence[Array] = [zeros for _ in names]
        after = np.empty((*z.shape[:-1], zeros.shape[-1]), z.dtype)
        for t in range(z.shape[1])[:: -1 if reverse else 1]:
            states = next_states(self, step(z[:, t], states), states, mask, t)
            after[:, t] = states[0]
        return after

    def contract(self, contraction: Contraction, left: Array, right: Array) -> Array:
        """Multiply, and sum over axes."""
        return contraction(left, right)

    def averages(self, x: Array, windows: Sequence[Window]) -> Array:
        """Return the mean of each window along the axes from 1 on: (N, T, F) → (N, T', F)."""
        counts = self.window_counts(x, windows)
        return self.mean(self.windows(x, windows), window_axes(windows), counts)

    def window_counts(self, x: Array, windows: Sequence[Window]) -> Array:
        """Return how many numbers of x each window holds: (1, T', 1)."""
        axes = range(1, len(windows) + 1)
        ones = np.ones([n if axis in axes else 1 for axis, n in enumerate(x.shape)])
        counts: Array = self.windows(ones, windows).sum(axis=window_axes(windows))
        return counts

    def mean(self, x: Array, axis: Axes, count: Array | None = None) -> Array:
        """Return the mean over ``axis``, or the sum divided by ``count``."""
        if count is None:
            mean: Array = x.mean(axis=axis)
            return np.expand_dims(mean, -1) if axis == -1 else mean
        quotient: Array = x.sum(axis=axis) / count
        return quotient

    def attention_weights(
        self, scores: Array, visibility: Visibility, mask: Array | None = None
    ) -> Array:
        """Return the softmax of scores (N, …, queries, keys) over the visible keys."""
        visible = visibility.visible(scores.shape, mask)
        if visible is None:
            return softmax(scores)
        blind = ~visible.any(axis=-1, keepdims=True)
        if visibility.replaced:
            scores = np.where(blind, scores.dtype.type(0), scores)
        else:  # rounded as in Keras
            scores = np.where(blind, scores - scores.dtype.type(1e9), scores)
        weights = softmax(np.where(visible | blind, scores, scores.dtype.type(-np.inf)))
        return np.where(blind, scores.dtype.type(0), weights) if visibility.nothing else weights

    def widen(self, x: Array) -> Array:
        """Return the same numbers in float32, if their dtype has 16 bits."""
        return x

    def narrow(self, x: Array, other: Array) -> Array:
        """Return the same numbers, rounded to the dtype of another tensor."""
        return x

    def define(self, name: str, value: Array) -> Array:
        """Return ``value`` itself."""
        return value

    def max(self, x: Array, axis: Axes) -> Array:
        """Return the largest value over ``axis``."""
        largest: Array = x.max(axis=axis)
        return largest

    def reduce(self, name: str, x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
        """Return the ``sum``, ``mean``, ``max`` or ``min`` over axes."""
        reduced: Array = getattr(x, name)(axis=axes, keepdims=keepdims)
        return reduced

    def rsqrt(self, x: Array) -> Array:
        """Return 1 / sqrt(x)."""
        return 1.0 / np.sqrt(x)

    def elementwise(self, x: Array, function: Elementwise) -> Array:
        """Apply a monotone function to each number."""
        return function(x)

    def maximum(self, x: Array, y: Array) -> Array:
        """Return the larger one of each two numbers."""
        larger: Array = np.maximum(x, y)
        return larger

    def minimum(self, x: Array, y: Array) -> Array:
        """Return the smaller one of each two numbers."""
        smaller: Array = np.minimum(x, y)
        return smaller

    def compare(self, relation: str, x: Array, y: Array) -> Array:
        """Return 1 where a relation holds between two numbers, and 0 elsewhere."""
        holds: Array = _RELATIONS[relation](x, y)
        return holds.astype(x.dtype)

    def choose(self, condition: Array, x: Array, y: Array) -> Array:
        """Return ``x`` where the condition is not 0, and ``y`` elsewhere."""
        return np.where(condition != 0, x, y)

    def where(self, mask: Array, x: Array, other: Any) -> Array:
        """Return ``x`` at steps where the mask is true, and ``other`` elsewhere."""
        other = other if isinstance(other, np.ndarray) else x.dtype.type(other)
        return np.where(mask[..., None], x, other)
