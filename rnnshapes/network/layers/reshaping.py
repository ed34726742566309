"""Layers that change the shape and no number.

Source: ``keras/src/layers/reshaping``.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from rnnshapes.cells.cell import SizeOf
from rnnshapes.errors import ContradictionError
from rnnshapes.network.layers.base import Layer, LayerOfClass, Masks
from rnnshapes.network.layers.config import LayerConfig, require_axes
from rnnshapes.ops.dims import Dim, Shape, product
from rnnshapes.ops.interface import LayerOps, Tensor
from rnnshapes.ops.rearrangements import (
    WHOLE,
    Padded,
    Rearrangement,
    Repeated,
    Reshaped,
    Selection,
    Transposed,
    Upsampled,
)


@dataclass(frozen=True, kw_only=True)
class Reshape(LayerOfClass):
    """The numbers of each sample in another shape: Flatten and Reshape.

    In ``numbers``, -1 stands for the axis that takes what is left.
    """

    shape: Shape
    numbers: tuple[int, ...]

    keras_classes = ("Flatten", "Reshape")
    output_symbol = "s"
    stepwise = False
    passes_mask = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        if config.class_name == "Flatten":
            config.require(data_format="channels_last")
            target: tuple[Shape, tuple[int, ...]] = (product(config.shape[1:]),), (-1,)
        else:
            target = _target_shape(config)
        shape, numbers = target
        return cls(keras_class=config.class_name, shape=shape, numbers=numbers, **config.shared)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return ops.rearrange(inputs[0], Reshaped(self.shape, self.numbers))

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"target_shape": self.numbers} if self.keras_class == "Reshape" else {}


@dataclass(frozen=True, kw_only=True)
class RepeatVector(Layer):
    """The same vector at each of R steps."""

    times: Dim
    number: int

    keras_classes = ("RepeatVector",)
    output_symbol = "s"
    stepwise = False
    passes_mask = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        number = config.size("n")
        return cls(times=config.names.size("R", number), number=number, **config.shared)

    @property
    def label(self) -> str:
        return f"RepeatVector({self.times})"

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return ops.rearrange(inputs[0], Repeated(self.times, self.number))

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"n": self.number}


@dataclass(frozen=True, kw_only=True)
class Permute(Layer):
    """The axes after the samples in another order; ``dims`` count from 1."""

    dims: tuple[int, ...]

    keras_classes = ("Permute",)
    output_symbol = "s"
    stepwise = False
    passes_mask = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        dims = tuple(config.options["dims"])
        if any(type(n) is not int for n in dims) or sorted(dims) != [*range(1, len(dims) + 1)]:
            raise ContradictionError(f"dims={dims!r:.40} is not an order of the axes")
        config.require_rank(len(dims) - 1)
        return cls(dims=dims, **config.shared)

    @property
    def label(self) -> str:
        return f"Permute({', '.join(map(str, self.dims))})"

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return ops.rearrange(inputs[0], Transposed((0, *self.dims)))

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"dims": self.dims}


@dataclass(frozen=True, kw_only=True)
class Resized(LayerOfClass):
    """Base class of padding, cropping and upsampling: new lengths of the axes from 1 on.

    ``amounts`` are those of each axis, ``before`` and ``after`` its lengths.
    """

    amounts: tuple[Any, ...]
    before: Shape
    after: Shape

    output_symbol = "s"
    stepwise = False
    passes_mask = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        axes = int(config.class_name[-2])  # of Cropping2D
        config.require(data_format="channels_last")
        config.require_rank(axes)
        amounts = cls._amounts(config, axes)
        before, after = config.shape[1 : axes + 1], []
        for axis, (dim, amount) in enumerate(zip(before, amounts, strict=True), 1):
            same = cls._length(amount, 1) == 1
            after.append(dim if same else config.new_length(axis, partial(cls._length, amount)))
        return cls(
            keras_class=config.class_name,
            amounts=amounts,
            before=before,
            after=tuple(after),
            **config.shared,
        )

    @classmethod
    @abstractmethod
    def _amounts(cls, config: LayerConfig, axes: int) -> tuple[Any, ...]:
        """Return the amounts of each axis from the config."""

    @staticmethod
    @abstractmethod
    def _length(amount: Any, size: int) -> int:
        """Return the new length of an axis of this size."""

    @abstractmethod
    def _rearrangement(self) -> Rearrangement:
        """Return the padding, selection or repetition that computes the output."""

    @property
    def computed_sizes(self) -> Mapping[str, tuple[Dim, Callable[[int], int]]]:
        return {
            str(after): (before, partial(self._length, amount))
            for before, after, amount in zip(self.before, self.after, self.amounts, strict=True)
            if after.names and after != before
        }

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return ops.rearrange(inputs[0], self._rearrangement())


@dataclass(frozen=True, kw_only=True)
class ZeroPadding(Resized):
    """Zeros before and after each axis."""

    keras_classes = ("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
    sequence_classes = ("ZeroPadding1D",)

    @classmethod
    def _amounts(cls, config: LayerConfig, axes: int) -> tuple[Any, ...]:
        return _pairs(config, "padding", axes)

    @staticmethod
    def _length(amount: Any, size: int) -> int:
        return size + int(sum(amount))

    def _rearrangement(self) -> Rearrangement:
        return Padded(self.after, self.amounts)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"padding": _for_keras(self.amounts)}


@dataclass(frozen=True, kw_only=True)
class Cropping(Resized):
    """Each axis without its first and its last numbers."""

    keras_classes = ("Cropping1D", "Cropping2D", "Cropping3D")
    sequence_classes = ("Cropping1D",)

    @classmethod
    def _amounts(cls, config: LayerConfig, axes: int) -> tuple[Any, ...]:
        amounts = _pairs(config, "cropping", axes)
        for dim, amount in zip(config.shape[1:], amounts, strict=False):
            size = config.names.value(dim)
            if size is not None and sum(amount) >= size:
                raise ContradictionError(
                    f"cropping={amount!r:.40} leaves nothing of an axis of length {size}"
                )
        return amounts

    @staticmethod
    def _length(amount: Any, size: int) -> int:
        return size - int(sum(amount))

    def _rearrangement(self) -> Rearrangement:
        slices = (slice(before, -after if after else None) for before, after in self.amounts)
        return Selection((WHOLE, *slices), (None, *self.after))

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"cropping": _for_keras(self.amounts)}


@dataclass(frozen=True, kw_only=True)
class UpSampling(Resized):
    """Each number several times along each axis."""

    keras_classes = ("UpSampling1D", "UpSampling2D", "UpSampling3D")
    sequence_classes = ("UpSampling1D",)

    @classmethod
    def _amounts(cls, config: LayerConfig, axes: int) -> tuple[Any, ...]:
        config.require(interpolation="nearest")
        return config.sizes("size", axes, 2)

    @staticmethod
    def _length(amount: Any, size: int) -> int:
        length: int = size * amount
        return length

    def _rearrangement(self) -> Rearrangement:
        return Upsampled(self.after, self.amounts)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"size": _for_keras(self.amounts)}


def _pairs(config: LayerConfig, option: str, axes: int) -> tuple[tuple[int, int], ...]:
    """Return an option that says how many numbers before and after each axis."""
    value = config.options.get(option, 0 if config.class_name == "Cropping2D" else 1)
    each = [value] * axes if isinstance(value, int) else [value] if axes == 1 else list(value)
    pairs = [[pair, pair] if isinstance(pair, int) else list(pair) for pair in each]
    numbers = [number for pair in pairs for number in pair]
    if not all(type(n) is int and 0 <= n < 2**31 for n in numbers):
        raise ContradictionError(f"{option}={value!r:.40} is not two sizes for each axis")
    return tuple((before, after) for before, after in pairs)


def _for_keras(amounts: tuple[Any, ...]) -> Any:
    """Return amounts as Keras takes them: those of a single axis alone."""
    return amounts[0] if len(amounts) == 1 else amounts


def _target_shape(config: LayerConfig) -> tuple[Shape, tuple[int, ...]]:
    """Return the shape of each sample in symbols, and in numbers with -1 for what is left.

    An axis that is one axis of the input, or the product of several, gets their symbols.
    """
    require_axes(config.options["target_shape"], "its target_shape")
    numbers = tuple(int(-1 if n is None else n) for n in config.options["target_shape"])
    if any(n < 1 for n in numbers if n != -1) or numbers.count(-1) > 1:
        raise ContradictionError(f"target_shape={numbers!r:.40} is not a shape")
    count = config.names.value(product(config.shape[1:]))
    if -1 not in numbers and count not in (None, math.prod(numbers)):
        raise ContradictionError(f"{count} numbers do not fit target_shape={numbers!r:.40}")
    rest = _rest(config, math.prod(n for n in numbers if n > 0)) if -1 in numbers else Dim.of(1)
    dims = tuple(rest if n < 0 else Dim.of(n) for n in numbers)
    return _in_symbols(config, dims), numbers


def _rest(config: LayerConfig, divisor: int) -> Dim:
    """Return how many numbers of a sample there are, divided by an integer."""
    axes = config.shape[1:]
    try:
        return product(axes).divided(divisor)
    except ValueError:
        values = [config.names.value(dim) for dim in axes]
    count = math.prod(value for value in values if value is not None)
    rest = product(dim for dim, value in zip(axes, values, strict=True) if value is None)
    if count % divisor:
        raise ContradictionError(f"{product(axes)} / {divisor} is not a whole number")
    return rest * (count // divisor)


def _in_symbols(config: LayerConfig, dims: Shape) -> Shape:
    """Return a target shape with the symbols of the axes that it joins, or leaves as they are."""
    value, axes, named = config.names.value, list(config.shape[1:]), []
    for dim in dims:
        size, joined = value(dim), Dim.of(1)
        if axes and dim == axes[0]:
            joined = axes.pop(0)
        while axes and size is not None and (value(joined) or size) < size:
            joined = joined * axes.pop(0)
        if joined != dim and (size is None or value(joined) != size):
            return dims
        named.append(joined)
    return tuple(named) if all(value(dim) == 1 for dim in axes) else dims
