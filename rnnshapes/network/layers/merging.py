"""Layers that make one tensor of several.

Source: ``keras/src/layers/merging``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add, mul, or_, sub
from typing import Any, Self

from rnnshapes.cells.cell import SizeOf
from rnnshapes.errors import ContradictionError, UnsupportedError
from rnnshapes.network.layers.base import Layer, LayerOfClass, Masks
from rnnshapes.network.layers.config import LayerConfig
from rnnshapes.ops.interface import LayerOps, Tensor


@dataclass(frozen=True, kw_only=True)
class Merge(LayerOfClass):
    """The sum, the difference, the product or the mean, element by element."""

    keras_classes = ("Add", "Subtract", "Multiply", "Average")
    output_symbol = "m"
    takes_list = True

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        if config.masked and config.class_name == "Multiply":
            raise UnsupportedError("Multiply with a mask is not supported")
        if config.class_name == "Subtract" and len(config.shapes) != 2:
            raise ContradictionError(f"it subtracts {len(config.shapes)} tensors, not two")
        return cls(keras_class=config.class_name, **config.shared)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        aligned = ops.aligned(inputs)
        if self.keras_class == "Multiply":
            return reduce(mul, aligned)
        if self.keras_class == "Subtract":
            return reduce(sub, aligned)
        total = reduce(add, aligned)
        return total * (1 / len(aligned)) if self.keras_class == "Average" else total

    def mask(self, inputs: Sequence[Any], masks: Sequence[Any]) -> Any:
        return None if any(mask is None for mask in masks) else reduce(or_, masks)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, kw_only=True)
class Concatenate(Layer):
    """The inputs joined along the last axis."""

    keras_classes = ("Concatenate",)
    output_symbol = "m"
    takes_list = True

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        config.require_last_axis()
        return cls(**config.shared)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return ops.concatenate(inputs)

    def mask(self, inputs: Sequence[Any], masks: Sequence[Any]) -> Any:
        # An input without a mask counts at each step, and the masks are joined by "or".
        present = [mask for mask in masks if mask is not None]
        if not present:
            return None
        return reduce(or_, present) if len(present) == len(masks) else present[0] | True

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {}
