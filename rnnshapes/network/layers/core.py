"""Inputs and dense layers.

Source: ``keras/src/layers/core/dense.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from rnnshapes.cells.cell import SizeOf, Weight
from rnnshapes.network.layers.base import Layer, Masks
from rnnshapes.network.layers.config import LayerConfig
from rnnshapes.ops.dims import Dim, Shape
from rnnshapes.ops.interface import LayerOps, Tensor


@dataclass(frozen=True, kw_only=True)
class Input(Layer):
    """An input of the network; ``integers`` for indices of an Embedding."""

    shape: Shape
    integers: bool = False

    keras_classes = ("InputLayer",)
    output_symbol = "x"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        sizes = list(config.options.get("batch_shape") or ())[1:]
        integers = bool(config.options.get("integers"))
        letters = ["T", *[""] * (len(sizes) - 2), "D"]
        if len(sizes) == 1:
            letters = ["T" if integers else "D"]
        dims = [
            config.names.size(letter or "A", n) if letter or n is None else Dim.of(n)
            for letter, n in zip(letters, sizes, strict=False)
        ]
        return cls(shape=(Dim.named("N"), *dims), integers=integers, **config.shared)

    @property
    def timed(self) -> bool:
        """Whether axis 1 is time."""
        return len(self.shape) > (1 if self.integers else 2)


@dataclass(frozen=True, kw_only=True)
class Dense(Layer):
    """y = activation(x W0 + b0), applied to the last axis."""

    features: Dim
    units: Dim
    activation: str
    use_bias: bool

    keras_classes = ("Dense",)

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        units = config.names.size("K", config.size("units"))
        return cls(
            index=str(int(str(units)[1:] or 1) - 1),
            features=config.features,
            units=units,
            activation=config.activation(),
            use_bias=bool(config.options.get("use_bias", True)),
            **config.shared,
        )

    @property
    def label(self) -> str:
        return f"Dense({self.units})"

    @property
    def weights(self) -> tuple[Weight, ...]:
        kernel = Weight("W", "kernel", (self.features, self.units))
        return (kernel, Weight("b", "bias", (self.units,))) if self.use_bias else (kernel,)

    @property
    def activations(self) -> tuple[str, ...]:
        return (self.activation,)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        z = inputs[0] @ w.W  # (N, M)·(M, K) → (N, K)
        z = z + w.b if self.use_bias else z  # (N, K) + (K,) → (N, K)
        return ops.activate(self.activation, z)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        options = {"activation": self.activation, "use_bias": self.use_bias}
        return {"units": size_of(self.units), "kernel_initializer": "zeros", **options}
