"""Where data comes in, and the dense layer.

Source: ``keras/src/layers/core/dense.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rnnshapes.cells.cell import Weight
from rnnshapes.network.layers.base import Layer, Masks, SizeOf
from rnnshapes.ops.dims import Dim, Shape
from rnnshapes.ops.interface import LayerOps, Tensor


@dataclass(frozen=True, kw_only=True)
class Input(Layer):
    """Where x comes in, with its whole shape; ``integers`` for indices of an Embedding."""

    shape: Shape
    integers: bool = False

    keras_class = "InputLayer"
    output_symbol = "x"

    @property
    def timed(self) -> bool:
        """Whether axis 1 is time."""
        return len(self.shape) > 2 or self.integers


@dataclass(frozen=True, kw_only=True)
class Dense(Layer):
    """y = activation(x W0 + b0), applied to the last axis."""

    features: Dim
    units: Dim
    activation: str = "linear"
    use_bias: bool = True

    keras_class = "Dense"

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
        plain = {"activation": self.activation, "use_bias": self.use_bias}
        return {"units": size_of(self.units), "kernel_initializer": "zeros", **plain}
