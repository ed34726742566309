"""Batch and layer normalization.

Source: ``keras/src/layers/normalization``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from rnnshapes.cells.cell import SizeOf, Weight
from rnnshapes.network.layers.base import Layer, Masks
from rnnshapes.network.layers.config import LayerConfig
from rnnshapes.ops.dims import Dim
from rnnshapes.ops.interface import LayerOps, Tensor


@dataclass(frozen=True, kw_only=True)
class Normalization(Layer):
    """What both normalizations share: they shift and scale each feature."""

    features: Dim
    epsilon: float
    center: bool = True
    scale: bool = True

    output_symbol = "n"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        config.require(renorm=False, rms_scaling=False, mode=0)
        config.require_last_axis()
        return cls(
            index=config.names.index("normalization"),
            features=config.features,
            epsilon=float(config.options.get("epsilon", 1e-3)),
            center=bool(config.options.get("center", True)),
            scale=bool(config.options.get("scale", True)),
            **config.shared,
        )

    @property
    def upcasts(self) -> bool:
        return True

    @property
    def equation_lines(self) -> int:
        return 3

    @property
    def weights(self) -> tuple[Weight, ...]:
        keys = (("gamma",) if self.scale else ()) + (("beta",) if self.center else ())
        return tuple(Weight(key, key, (self.features,)) for key in keys)

    def _normalize(self, x: Tensor, mean: Tensor, inverse: Tensor, w: Any) -> Tensor:
        """Compute (x - mean) · inverse · gamma + beta, in the order in which Keras does."""
        inverse = inverse * w.gamma if self.scale else inverse
        shift = w.beta - mean * inverse if self.center else mean * inverse * -1.0
        return x * inverse + shift

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"epsilon": self.epsilon, "center": self.center, "scale": self.scale}


@dataclass(frozen=True, kw_only=True)
class BatchNormalization(Normalization):
    """Normalizes with the mean and the variance that were stored in training."""

    keras_classes = ("BatchNormalization",)

    @property
    def weights(self) -> tuple[Weight, ...]:
        moving = [
            Weight(key, f"moving_{name}", (self.features,), learned=False)
            for key, name in (("mean", "mean"), ("var", "variance"))
        ]
        return (*super().weights, *moving)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return self._normalize(inputs[0], w.mean, ops.rsqrt(w.var + self.epsilon), w)


@dataclass(frozen=True, kw_only=True)
class LayerNormalization(Normalization):
    """Normalizes with the mean and the variance of the features themselves."""

    keras_classes = ("LayerNormalization",)

    @property
    def rounds_input(self) -> bool:
        return False

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        x = inputs[0]
        mean = ops.let("mean", ops.mean(x, -1))
        deviation = ops.let("d", x - mean)
        variance = ops.let("var", ops.mean(deviation * deviation, -1))
        return self._normalize(x, mean, ops.rsqrt(variance + self.epsilon), w)
