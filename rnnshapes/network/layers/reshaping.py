"""Layers that change the shape and no number.

Source: ``keras/src/layers/reshaping``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from rnnshapes.cells.cell import SizeOf
from rnnshapes.errors import ContradictionError, UnsupportedError
from rnnshapes.network.layers.base import Layer, LayerOfClass, Masks
from rnnshapes.network.layers.config import LayerConfig
from rnnshapes.ops.dims import Dim, Shape, product
from rnnshapes.ops.interface import LayerOps, Tensor
from rnnshapes.ops.rearrangements import WHOLE, Repeated, Reshaped, Selection


@dataclass(frozen=True, kw_only=True)
class Reshape(LayerOfClass):
    """The numbers of each sample in another shape: Flatten and Reshape.

    In ``numbers``, -1 stands for the axis that takes what is left.
    """

    shape: Shape
    numbers: tuple[int, ...]

    keras_classes = ("Flatten", "Reshape")
    output_symbol = "r"
    stepwise = False
    passes_mask = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        if config.class_name == "Flatten":
            config.require(data_format="channels_last")
            target: tuple[Shape, tuple[int, ...]] = (product(config.shapes[0][1:]),), (-1,)
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
    output_symbol = "r"
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
class Cropping1D(Layer):
    """The sequence without its first and its last steps."""

    cropping: tuple[int, int]
    time: Dim
    selection: Selection

    keras_classes = ("Cropping1D",)
    output_symbol = "r"
    stepwise = False
    passes_mask = False
    takes_sequence = True

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        config.require_sequence()
        before, after = config.options.get("cropping", (1, 1))
        if not (
            type(before) is type(after) is int
            and min(before, after) >= 0
            and max(before, after) < 2**31
        ):
            raise ContradictionError(f"cropping={(before, after)!r:.40} is not two sizes")
        time, sizes = config.shapes[0][1], config.names.sizes
        size = time.value(sizes) if time.names <= set(sizes) else None
        if size is not None and before + after >= size:
            raise ContradictionError(
                f"cropping={(before, after)!r:.40} leaves none of {size} steps"
            )
        steps = config.names.primed() if before or after else time
        kept = slice(before, -after if after else None)
        selection = Selection((WHOLE, kept), (None, steps))
        cropping = (before, after)
        return cls(cropping=cropping, time=time, selection=selection, **config.shared)

    @property
    def computed_sizes(self) -> Mapping[str, tuple[Dim, Callable[[int], int]]]:
        cut = sum(self.cropping)
        return {str(self.selection.lengths[1]): (self.time, lambda n: n - cut)} if cut else {}

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return ops.rearrange(inputs[0], self.selection)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"cropping": self.cropping}


def _target_shape(config: LayerConfig) -> tuple[Shape, tuple[int, ...]]:
    """Return the shape of each sample in symbols, and in numbers with -1 for what is left."""
    numbers = tuple(int(-1 if n is None else n) for n in config.options["target_shape"])
    if any(n < 1 for n in numbers if n != -1) or numbers.count(-1) > 1:
        raise ContradictionError(f"target_shape={numbers!r:.40} is not a shape")
    known, total = product(Dim.of(n) for n in numbers if n > 0), product(config.shapes[0][1:])
    rest = Dim.of(1)
    if -1 in numbers:
        size, divisor = total.value(config.names.sizes), known.value({}) or 1
        try:
            rest = total.divided(divisor)
        except ValueError:
            if size is None:
                raise UnsupportedError(f"{total} / {divisor} is unknown") from None
            rest = Dim.of(size // divisor)
    return tuple(rest if n < 0 else Dim.of(n) for n in numbers), numbers
