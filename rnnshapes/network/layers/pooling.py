"""Pooling over windows of time steps, or over all of them.

Source: ``keras/src/layers/pooling``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from rnnshapes.cells.cell import SizeOf
from rnnshapes.network.layers.base import LayerOfClass, Masks
from rnnshapes.network.layers.config import LayerConfig
from rnnshapes.network.layers.convolutional import Windowed
from rnnshapes.ops.interface import LayerOps, Tensor


@dataclass(frozen=True, kw_only=True)
class Pooling1D(LayerOfClass, Windowed):
    """The largest value, or the mean, of each window; steps beyond the ends do not count."""

    keras_classes = ("MaxPooling1D", "AveragePooling1D")
    output_symbol = "p"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        size = config.size("pool_size", 2)
        stride = size if config.options.get("strides") is None else config.size("strides")
        fill = float("-inf") if config.class_name == "MaxPooling1D" else 0.0
        window = cls.window_in(config, size, stride, fill)
        return cls(keras_class=config.class_name, **window, **config.shared)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        if self.keras_class == "MaxPooling1D":
            return ops.max(ops.windows(inputs[0], self.window), 2)  # (N, T', k, F) → (N, T', F)
        return ops.averages(inputs[0], self.window)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        window = self.window
        return {"pool_size": window.size, "strides": window.stride, "padding": window.mode}


@dataclass(frozen=True, kw_only=True)
class GlobalPooling1D(LayerOfClass):
    """The largest value, or the mean, over all steps; a mean leaves out masked steps."""

    keras_classes = ("GlobalMaxPooling1D", "GlobalAveragePooling1D")
    output_symbol = "p"
    stepwise = False
    passes_mask = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        config.require(data_format="channels_last", keepdims=False)
        return cls(keras_class=config.class_name, **config.shared)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        x, mask = inputs[0], masks.input
        if self.keras_class == "GlobalMaxPooling1D":
            return ops.max(x, 1)
        if mask is None:
            return ops.mean(x, 1)
        return ops.mean(ops.where(mask, x), 1, mask.sum(axis=1)[:, None])

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {}
