"""The operations that an equation may use, and that every interpreter has.

An equation combines its tensors with ``@``, ``+``, ``-``, ``*``, ``/`` and ``1 - a``; for
anything else it calls the ``ops`` object. Nothing here needs NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from rnnshapes.ops.constant import Constant
from rnnshapes.ops.contraction import Contraction
from rnnshapes.ops.dims import Dim, Shape
from rnnshapes.ops.elementwise import Elementwise
from rnnshapes.ops.rearrangements import Rearrangement
from rnnshapes.ops.visibility import Visibility
from rnnshapes.ops.windows import Axes, Window

#: A value of any interpreter: a symbolic tensor, an array, a bounded array, a recorded value.
Tensor = Any

#: Keras's names of the activations that every interpreter knows.
ACTIVATIONS = (
    *("tanh", "sigmoid", "relu", "linear", "hard_sigmoid", "hard_tanh", "relu6", "leaky_relu"),
    *("elu", "selu", "celu", "softplus", "softsign", "log_sigmoid", "exponential"),
    *("sparse_plus", "sparse_sigmoid", "soft_shrink", "hard_shrink"),
    *("silu", "hard_silu", "mish", "gelu", "tanh_shrink", "squareplus"),
    *("softmax", "log_softmax"),
)
#: Relations of two numbers.
RELATIONS = (">", ">=", "<", "<=", "==", "!=")
#: The hard_sigmoid of Keras 1 and 2, in models that they saved.
KERAS2_HARD_SIGMOID = "keras2_hard_sigmoid"


def map_outputs(function: Callable[[Tensor], Tensor], result: Any) -> Any:
    """Apply a function to the result of a layer, or to each of several ones."""
    return tuple(map(function, result)) if isinstance(result, tuple) else function(result)


def next_states(
    ops: Any, after: Sequence[Tensor], before: Sequence[Tensor], mask: Any, t: int
) -> Sequence[Tensor]:
    """Return the states after step t where the mask (N, T) is true, those before it elsewhere."""
    if mask is None:
        return after
    return [ops.where(mask[:, t], new, old) for new, old in zip(after, before, strict=True)]


class CellOps(Protocol):
    """The operations that the equation of a cell may use."""

    def activate(self, name: str, z: Tensor) -> Tensor:
        """Apply the activation ``name``: to each element, softmax and log_softmax to each row."""

    def split(self, z: Tensor, base: str, parts: tuple[str, ...]) -> list[Tensor]:
        """Split the last axis into equal parts, which are written ``base_part``."""

    def rows(self, b: Tensor, names: tuple[str, ...]) -> list[Tensor]:
        """Return what the first axis holds, one after the other, by their names."""

    def elementwise(self, x: Tensor, function: Elementwise) -> Tensor:
        """Apply a monotone function to each number."""

    def let(self, name: str, value: Tensor) -> Tensor:
        """Return the same value, written ``name_t`` from here on."""

    def within(self, suffix: str) -> CellOps:
        """Return these operations for a part of the layer, whose names end in ``suffix``."""


class LayerOps(CellOps, Protocol):
    """The operations that the equation of a layer may use."""

    def concatenate(
        self, values: Sequence[Tensor], axis: int = -1, length: Dim | None = None
    ) -> Tensor:
        """Join the values along an axis, which then has the length of all, or ``length``."""

    def constant(self, values: Constant, like: Tensor, shape: Shape | None = None) -> Tensor:
        """Return the numbers of a constant, as a tensor of the kind of ``like``.

        ``shape`` has the names of its axes.
        """

    def aligned(self, values: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the values with shapes that can be combined element by element."""

    def take(self, table: Tensor, indices: Tensor) -> Tensor:
        """Return the rows of ``table`` with these integer indices."""

    def rearrange(self, x: Tensor, function: Rearrangement) -> Tensor:
        """Move, select, repeat or pad numbers."""

    def windows(self, x: Tensor, windows: Sequence[Window]) -> Tensor:
        """Cut windows along the axes from 1 on: (N, T, F) → (N, T', size, F)."""

    def rank(self, x: Tensor) -> int:
        """Return the number of axes."""

    def each_step(self, function: Callable[..., Any], inputs: Sequence[Tensor], rank: int) -> Any:
        """Apply a function to each step of tensors (N, T, …), or to (N, …) as they are.

        Args:
            function: Takes as many tensors, and returns one or several.
            inputs: The tensors.
            rank: The number of axes of the first one at a step, (N, …).
        """

    def scan(
        self,
        step: Callable[[Tensor, Sequence[Tensor]], Sequence[Tensor]],
        z: Tensor,
        multiple: int,
        names: tuple[str, ...],
        *,
        reverse: bool,
        mask: Any = None,
    ) -> Tensor:
        """Take one step after the other, and return the first state after each, (N, T, …, M).

        Args:
            step: Returns the states after a step, from z_t and the states before.
            z: What the steps need of the input, (N, T, …, multiple·M).
            multiple: The length of the last axis of z, in multiples of a state's.
            names: The names of the states, which are zeros before the first step.
            reverse: Whether the last step comes first.
            mask: Which steps count, (N, T); the others change no state. None if all do.
        """

    def contract(self, contraction: Contraction, left: Tensor, right: Tensor) -> Tensor:
        """Multiply, and sum over axes: (N, T', k, D)·(k, D, F) → (N, T', F)."""

    def averages(self, x: Tensor, windows: Sequence[Window]) -> Tensor:
        """Return the mean of each window along the axes from 1 on: (N, T, F) → (N, T', F)."""

    def mean(self, x: Tensor, axis: Axes, count: Any = None) -> Tensor:
        """Return the mean over ``axis``, or the sum divided by ``count``.

        The last axis stays, with length 1.
        """

    def max(self, x: Tensor, axis: Axes) -> Tensor:
        """Return the largest value over ``axis``."""

    def attention_weights(
        self, scores: Tensor, visibility: Visibility, mask: Tensor | None = None
    ) -> Tensor:
        """Return the softmax of scores (N, …, queries, keys) over the visible keys.

        A ``mask`` (N, queries, keys) is 0 for keys that are hidden beside those.
        """

    def widen(self, x: Tensor) -> Tensor:
        """Return the same numbers in float32, if their dtype has 16 bits."""

    def narrow(self, x: Tensor, other: Tensor) -> Tensor:
        """Return the same numbers, rounded to the dtype of another tensor."""

    def define(self, name: str, value: Tensor) -> Tensor:
        """Return the same value, written ``name`` from here on, for a value of all steps."""

    def reduce(self, name: str, x: Tensor, axes: tuple[int, ...], keepdims: bool) -> Tensor:
        """Return the ``sum``, ``mean``, ``max`` or ``min`` over axes."""

    def rsqrt(self, x: Tensor) -> Tensor:
        """Return 1 / sqrt(x)."""

    def maximum(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the larger one of each two numbers."""

    def minimum(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the smaller one of each two numbers."""

    def compare(self, relation: str, x: Tensor, y: Tensor) -> Tensor:
        """Return 1 where one of RELATIONS holds between two numbers, and 0 elsewhere."""

    def choose(self, condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return ``x`` where the condition is not 0, and ``y`` elsewhere."""

    def where(self, mask: Any, x: Tensor, other: Any) -> Tensor:
        """Return ``x`` at steps where the mask is true, and ``other`` elsewhere."""
