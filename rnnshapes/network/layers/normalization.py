"""Normalization: of batches, layers and groups, to unit vectors, and by the root mean square.

Source: ``keras/src/layers/normalization``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from rnnshapes.cells.cell import SizeOf, Weight
from rnnshapes.errors import ContradictionError, UnsupportedError
from rnnshapes.network.layers.base import Layer, Masks
from rnnshapes.network.layers.config import LayerConfig
from rnnshapes.ops.dims import Dim
from rnnshapes.ops.elementwise import InverseRoot
from rnnshapes.ops.interface import LayerOps, Tensor
from rnnshapes.ops.rearrangements import Grouped, RepeatedPerGroup


@dataclass(frozen=True, kw_only=True)
class Normalizing(Layer):
    """Base class of normalizations by mean and variance, which shift and scale each feature."""

    features: Dim
    epsilon: float
    center: bool
    scale: bool

    output_symbol = "n"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        config.require(renorm=False, rms_scaling=False, mode=0)
        config.require_last_axis()
        return cls(**cls.options_in(config))

    @staticmethod
    def options_in(config: LayerConfig) -> dict[str, Any]:
        """Return the fields that all normalizations by mean and variance have."""
        return {
            "index": config.names.index("normalization"),
            "features": config.features,
            "epsilon": float(config.options.get("epsilon", 1e-3)),
            "center": bool(config.options.get("center", True)),
            "scale": bool(config.options.get("scale", True)),
            **config.shared,
        }

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
class BatchNormalization(Normalizing):
    """Normalization with the mean and the variance that were stored in training."""

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
class LayerNormalization(Normalizing):
    """Normalization with the mean and the variance of the features themselves."""

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


@dataclass(frozen=True, kw_only=True)
class GroupNormalization(Normalizing):
    """Normalization with the mean and the variance of G groups of features, over all steps."""

    group_dim: Dim
    group_count: int
    size: int
    rank: int

    keras_classes = ("GroupNormalization",)

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        config.require_last_axis()
        size = config.names.value(config.features)
        if size is None or config.rank not in (2, 3):
            raise UnsupportedError("its input is neither (N, features) nor (N, T, features)")
        groups = config.options.get("groups", 32)
        groups = size if groups == -1 else config.size("groups", 32)
        if size % groups:
            raise ContradictionError(
                f"{size} features cannot be divided into {groups} equal groups"
            )
        return cls(
            group_dim=config.names.size("G", groups),
            group_count=groups,
            size=size // groups,
            rank=config.rank,
            **cls.options_in(config),
        )

    @property
    def label(self) -> str:
        return f"GroupNormalization({self.group_dim})"

    @property
    def stepwise(self) -> bool:
        return self.rank == 2

    @property
    def rounds_input(self) -> bool:
        return False

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        x = inputs[0]
        # (N, T, F) → (N, T, G, F/G)
        parted = ops.rearrange(x, Grouped(self.group_dim, self.group_count, Dim.of(self.size)))
        axes = (1, 3) if self.rank == 3 else (2,)
        mean = ops.define("mean", ops.reduce("mean", parted, axes, True))
        deviation = ops.define("d", parted - mean)
        variance = ops.define("var", ops.reduce("mean", deviation * deviation, axes, True))
        inverse = ops.rsqrt(variance + self.epsilon)
        whole = RepeatedPerGroup(self.features, self.size)  # (N, 1, G, 1) → (N, 1, F)
        return self._normalize(x, ops.rearrange(mean, whole), ops.rearrange(inverse, whole), w)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"groups": self.group_count, **super().keras_arguments(size_of)}


@dataclass(frozen=True, kw_only=True)
class UnitNormalization(Layer):
    """Division by the Euclidean norm of the features, so that their squares add up to 1."""

    keras_classes = ("UnitNormalization",)
    output_symbol = "n"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        config.require_last_axis()
        return cls(**config.shared)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        x = inputs[0]
        squares = ops.reduce("sum", x * x, (-1,), True)
        return x * ops.elementwise(squares, InverseRoot(1e12))

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, kw_only=True)
class RMSNormalization(Layer):
    """Division by the root mean square of the features, in float32 at least."""

    features: Dim
    epsilon: float

    keras_classes = ("RMSNormalization",)
    output_symbol = "n"
    passes_mask = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        config.require_last_axis()
        return cls(
            index=config.names.index("normalization"),
            features=config.features,
            epsilon=config.number("epsilon", 1e-6),
            **config.shared,
        )

    @property
    def weights(self) -> tuple[Weight, ...]:
        return (Weight("scale", "scale", (self.features,)),)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        x = ops.widen(inputs[0])  # before this, Keras rounds x and scale to 16 bits
        square = ops.let("ms", ops.mean(x * x, -1))
        scaled = x * ops.rsqrt(square + self.epsilon) * ops.widen(w.scale)
        return ops.narrow(scaled, inputs[0])

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"epsilon": self.epsilon}
