"""Layers that make one tensor of several.

Source: ``keras/src/layers/merging``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import zip_longest
from operator import add, mul, or_, sub
from typing import Any, Self

from rnnshapes.cells.cell import SizeOf
from rnnshapes.errors import ContradictionError, UnsupportedError
from rnnshapes.network.layers.attention import LOST_MASK
from rnnshapes.network.layers.base import Broadcast, Layer, LayerOfClass, Masks
from rnnshapes.network.layers.config import LayerConfig
from rnnshapes.ops.contraction import Contraction
from rnnshapes.ops.dims import Dim, Shape, total
from rnnshapes.ops.elementwise import InverseRoot
from rnnshapes.ops.interface import LayerOps, Tensor
from rnnshapes.ops.rearrangements import WHOLE, Reshaped, Selection


@dataclass(frozen=True, kw_only=True)
class Merge(Broadcast, LayerOfClass):
    """The sum, the difference, the product, the mean, or the largest or smallest number.

    Keras inserts axes of length 1 behind the samples of a tensor that has fewer axes than another.
    Multiply, Maximum and Minimum leave out the inputs that are masked at a step. ``stepwise`` is
    False if an input has one step for all steps of another, one number for all of a sample, or
    fewer axes than images or than a sequence of one step.
    """

    stepwise: bool = True

    keras_classes = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
    output_symbol = "m"
    takes_list = True

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        if config.class_name in ("Multiply", "Maximum", "Minimum"):
            if config.lost_mask:
                raise UnsupportedError(LOST_MASK)
            if config.masked and any(len(shape) > 3 for shape in config.shapes):
                raise UnsupportedError("it is called on masked tensors of more than 3 axes")
        if config.class_name == "Subtract" and len(config.shapes) != 2:
            raise ContradictionError(f"it subtracts {len(config.shapes)} tensors, not two")
        features = [reversed(shape[1:]) for shape in config.shapes]
        for dims in zip_longest(*features, fillvalue=Dim.of(1)):
            if config.names.differ(dim for dim in dims if config.names.value(dim) != 1):
                raise ContradictionError("its tensors have different sizes")
        units = config.unit_axes()
        repeats_step = any(len(config.shapes[n]) + axis == 1 for n, axis in units)
        shortest, longest = (choose(config.shapes, key=len) for choose in (min, max))
        if len(shortest) < len(longest):
            repeats_step |= len(shortest) < 2 or len(longest) > 3 or longest[1] == 1
        return cls(
            keras_class=config.class_name,
            unit_axes=units,
            stepwise=not repeats_step,
            **config.shared,
        )

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        aligned = ops.aligned(inputs if self.stepwise else _with_equal_ranks(ops, inputs))
        if self.keras_class == "Multiply":
            product = reduce(mul, [_unmasked(ops, x, masks.of(i)) for i, x in enumerate(aligned)])
            return product if masks.output is None else ops.where(masks.output, product, 0.0)
        if self.keras_class in ("Maximum", "Minimum"):
            return self._extreme(ops, aligned, masks)
        if self.keras_class == "Subtract":
            return reduce(sub, aligned)
        total = reduce(add, aligned)
        return total * (1 / len(aligned)) if self.keras_class == "Average" else total

    def _extreme(self, ops: LayerOps, inputs: Sequence[Tensor], masks: Masks) -> Tensor:
        """Return the largest or smallest numbers, where a masked input gives way to the others."""
        choose = ops.maximum if self.keras_class == "Maximum" else ops.minimum
        output, counted = inputs[0], masks.of(0)
        for number, x in enumerate(inputs[1:], 1):
            mask, other = masks.of(number), x
            if mask is not None:
                other = ops.where(mask, other, output)
            if counted is not None:
                output = ops.where(counted, output, other)
            both = counted is not None and mask is not None
            counted = counted | mask if both else None
            output = choose(output, other)
        return output

    def mask(self, inputs: Sequence[Any], masks: Sequence[Any]) -> Any:
        return None if any(mask is None for mask in masks) else reduce(or_, masks)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {}


def _with_equal_ranks(ops: LayerOps, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return the tensors with axes of length 1 behind the samples of those that have fewer."""
    ranks = [ops.rank(x) for x in inputs]
    keys = [(WHOLE, *(None,) * (max(ranks) - rank)) for rank in ranks]
    return [
        x if len(key) == 1 else ops.rearrange(x, Selection(key, (None,) * len(key)))
        for x, key in zip(inputs, keys, strict=True)
    ]


def _unmasked(ops: LayerOps, x: Tensor, mask: Any) -> Tensor:
    """Return a factor, which is 1 at masked steps."""
    return x if mask is None else ops.where(mask, x, 1.0)


@dataclass(frozen=True, kw_only=True)
class Dot(Layer):
    """Sums of products of two tensors along one axis of each."""

    axes: tuple[int, int]
    ranks: tuple[int, int]
    normalize: bool

    keras_classes = ("Dot",)
    output_symbol = "m"
    takes_list = True
    passes_mask = False
    stepwise = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        axes, shapes = config.options["axes"], config.shapes
        if len(shapes) != 2 or not all(1 < len(shape) <= 4 for shape in shapes):
            raise UnsupportedError("it is not called on two tensors of 2 to 4 axes")
        axes = (axes, axes) if type(axes) is int else tuple(axes)
        ranks = len(shapes[0]), len(shapes[1])
        in_range = all(type(a) is int and -r <= a < r for a, r in zip(axes, ranks, strict=True))
        if not in_range or 0 in (axes := (axes[0] % ranks[0], axes[1] % ranks[1])):
            raise UnsupportedError(f"axes={axes!r:.40} is not supported")
        config.require_same_size(shapes[0][axes[0]], shapes[1][axes[1]])
        normalize = bool(config.options.get("normalize", False))
        return cls(axes=axes, ranks=ranks, normalize=normalize, **config.shared)

    def own_shapes(self, shapes: Sequence[Shape]) -> Sequence[Shape]:
        first, second = shapes[0], list(shapes[1])
        second[self.axes[1]] = first[self.axes[0]]
        return [first, tuple(second)]

    @property
    def _contraction(self) -> Contraction:
        left, right = list("nabc"[: self.ranks[0]]), list("nxyz"[: self.ranks[1]])
        left[self.axes[0]] = right[self.axes[1]] = "s"
        result = "".join(letter for letter in (*left, *right[1:]) if letter != "s")
        return Contraction(f"{''.join(left)},{''.join(right)}->{result}")

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        left, right = inputs
        if self.normalize:
            left, right = (_unit(ops, *each) for each in zip(inputs, self.axes, strict=True))
        product = ops.contract(self._contraction, left, right)
        if self.ranks == (2, 2):  # one number for each sample
            return ops.rearrange(product, Reshaped((Dim.of(1),), (1,)))
        return product

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"axes": self.axes, "normalize": self.normalize}


def _unit(ops: LayerOps, x: Tensor, axis: int) -> Tensor:
    """Divide by the length of the vectors along an axis, which is at least epsilon."""
    squares = ops.reduce("sum", x * x, (axis,), True)
    return x * ops.elementwise(squares, InverseRoot(1e7))


@dataclass(frozen=True, kw_only=True)
class Join(Layer):
    """Base class of tensors joined along an axis, counted from the last one.

    ``joined_time`` is the number of steps together, where time is the axis, and ``steps`` its name.
    """

    axis: int = -1
    joined_time: Dim | None = None
    steps: Dim | None = None

    output_symbol = "m"

    @staticmethod
    def along(config: LayerConfig, axis: int) -> dict[str, Any]:
        """Return the fields for an axis, along which alone the inputs have different sizes."""
        shapes, rank = config.shapes, config.rank
        if any(len(shape) != rank for shape in shapes):
            raise UnsupportedError("its tensors have different numbers of axes")
        for number, dims in enumerate(zip(*shapes, strict=True)):
            if number not in (0, axis % rank):
                for dim in dims[1:]:
                    config.require_same_size(dims[0], dim)
        if axis != 1 - rank or rank < 3 or len(shapes) == 1:
            return {"axis": axis}
        total_steps = total(shape[axis] for shape in shapes)
        return {"axis": axis, "joined_time": total_steps, "steps": config.names.primed()}

    @property
    def stepwise(self) -> bool:
        return self.axis == -1

    @property
    def computed_sizes(self) -> Mapping[str, tuple[Dim, Callable[[int], int]]]:
        if self.joined_time is None:
            return {}
        return {str(self.steps): (self.joined_time, lambda size: size)}

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return ops.concatenate(inputs, self.axis, self.steps)


@dataclass(frozen=True, kw_only=True)
class Concatenate(Join):
    """The inputs joined along an axis."""

    keras_classes = ("Concatenate",)
    takes_list = True

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        axis = config.axis(config.options.get("axis", -1))
        if axis == -1:
            for dims in zip_longest(*(shape[:-1] for shape in config.shapes)):
                if None in dims or config.names.differ(dims):
                    raise ContradictionError("its tensors have different sizes")
            return cls(**config.shared)
        if config.masked:
            raise UnsupportedError(f"axis={axis}, with a mask, is not supported")
        return cls(**cls.along(config, axis), **config.shared)

    @property
    def label(self) -> str:
        return self.type if self.axis == -1 else f"{self.type}(axis={self.axis})"

    def mask(self, inputs: Sequence[Any], masks: Sequence[Any]) -> Any:
        # An input without a mask counts at each step, and the masks are joined by "or".
        present = [mask for mask in masks if mask is not None]
        if not present:
            return None
        return reduce(or_, present) if len(present) == len(masks) else present[0] | True

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"axis": self.axis}
