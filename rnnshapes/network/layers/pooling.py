"""Pooling over windows of time steps, images or volumes, or over all of them.

Source: ``keras/src/layers/pooling``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from rnnshapes.cells.cell import SizeOf
from rnnshapes.errors import UnsupportedError
from rnnshapes.network.layers.base import LayerOfClass, Masks
from rnnshapes.network.layers.config import LayerConfig
from rnnshapes.network.layers.convolutional import Windowed
from rnnshapes.ops.interface import LayerOps, Tensor
from rnnshapes.ops.rearrangements import WHOLE, Selection
from rnnshapes.ops.windows import window_axes


@dataclass(frozen=True, kw_only=True)
class Pooling(Windowed):
    """The largest value, or the mean, of each window; what is beyond the ends does not count.

    Volumes are not supported: each step is checked in float64, in which TensorFlow cannot pool
    them.
    """

    keras_classes = ("MaxPooling1D", "AveragePooling1D", "MaxPooling2D", "AveragePooling2D")
    sequence_classes = ("MaxPooling1D", "AveragePooling1D")
    output_symbol = "p"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        fill = float("-inf") if config.class_name.startswith("Max") else 0.0
        windows = cls.windows_in(config, "pool_size", fill)
        return cls(keras_class=config.class_name, **windows, **config.shared)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        if self.keras_class.startswith("Max"):
            windows = ops.windows(inputs[0], self.windows)  # (N, T, F) → (N, T', k, F)
            return ops.max(windows, window_axes(self.windows))  # (N, T', k, F) → (N, T', F)
        return ops.averages(inputs[0], self.windows)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return self.window_arguments("pool_size")


@dataclass(frozen=True, kw_only=True)
class GlobalPooling(LayerOfClass):
    """The largest value, or the mean, over all steps; a mean leaves out masked steps.

    With ``data_format="channels_first"``, Keras takes axis 1 for the features: it pools over what
    follows.
    """

    axes: tuple[int, ...]
    keepdims: bool = False

    keras_classes = (
        *("GlobalMaxPooling1D", "GlobalAveragePooling1D"),
        *("GlobalMaxPooling2D", "GlobalAveragePooling2D"),
        *("GlobalMaxPooling3D", "GlobalAveragePooling3D"),
    )
    output_symbol = "p"
    stepwise = False
    passes_mask = False
    uses_mask = True

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        count = int(config.class_name[-2])  # of GlobalMaxPooling2D
        config.require_rank(count)
        first = 2 if config.options.get("data_format") == "channels_first" else 1
        if first == 1:
            config.require(data_format="channels_last")
        elif config.masked:
            raise UnsupportedError("data_format='channels_first' with a mask is not supported")
        axes = tuple(range(first, first + count))
        keepdims = bool(config.options.get("keepdims", False))
        return cls(keras_class=config.class_name, axes=axes, keepdims=keepdims, **config.shared)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        pooled = self._pooled(ops, inputs[0], masks.input)
        if not self.keepdims:
            return pooled
        key = (*(WHOLE,) * self.axes[0], *(None,) * len(self.axes))
        return ops.rearrange(pooled, Selection(key, (None,) * len(key)))

    def _pooled(self, ops: LayerOps, x: Tensor, mask: Any) -> Tensor:
        if self.keras_class.startswith("GlobalMax"):
            return ops.max(x, self.axes)
        if mask is None or len(self.axes) > 1:
            return ops.mean(x, self.axes)
        return ops.mean(ops.where(mask, x, 0.0), self.axes, mask.sum(axis=1)[:, None])

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        data_format = "channels_last" if self.axes[0] == 1 else "channels_first"
        return {"keepdims": self.keepdims, "data_format": data_format}
