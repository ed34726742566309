"""Layers that do nothing at inference.

Sources: ``keras/src/layers/regularization`` and ``keras/src/layers/core/identity.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from rnnshapes.cells.cell import SizeOf
from rnnshapes.network.layers.base import LayerOfClass, Masks
from rnnshapes.network.layers.config import LayerConfig
from rnnshapes.ops.interface import LayerOps, Tensor

#: The option that holds the rate of a layer, where it is not ``rate``.
_RATE_OPTIONS = {"GaussianNoise": "stddev"}


@dataclass(frozen=True, kw_only=True)
class Inactive(LayerOfClass):
    """Dropout and others: at inference the output is the input."""

    rate: float | None

    keras_classes = (
        *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
        *("GaussianDropout", "GaussianNoise", "AlphaDropout"),
        *("ActivityRegularization", "Identity"),
    )
    output_symbol = ""

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        rate = config.options.get("rate", config.options.get("stddev"))
        rate = float(rate) if isinstance(rate, int | float) else None
        return cls(keras_class=config.class_name, rate=rate, **config.shared)

    @property
    def notes(self) -> tuple[str, ...]:
        rate = "" if self.rate is None else f" (rate {self.rate:g})"
        return (f"{self.keras_class}{rate}: no effect at inference",)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return inputs[0]

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        option = _RATE_OPTIONS.get(self.keras_class, "rate")
        return {} if self.rate is None else {option: self.rate}
