"""Activations as layers.

Source: ``keras/src/layers/activations``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from rnnshapes.cells.cell import SizeOf
from rnnshapes.errors import UnsupportedError
from rnnshapes.network.layers.base import LayerOfClass, Masks
from rnnshapes.network.layers.config import LayerConfig
from rnnshapes.ops.interface import LayerOps, Tensor


@dataclass(frozen=True, kw_only=True)
class Activation(LayerOfClass):
    """An activation as a layer."""

    activation: str

    keras_classes = ("Activation", "ReLU", "Softmax")
    output_symbol = "a"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        if config.class_name == "Activation":
            activation = config.activation()
        else:
            config.require(max_value=None, negative_slope=0.0, threshold=0.0, axis=-1)
            if config.masked and config.class_name == "Softmax":
                raise UnsupportedError("Softmax with a mask is not supported")
            activation = config.class_name.lower()
        return cls(activation=activation, keras_class=config.class_name, **config.shared)

    @property
    def label(self) -> str:
        return f"Activation({self.activation})"

    @property
    def activations(self) -> tuple[str, ...]:
        return (self.activation,)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return ops.activate(self.activation, inputs[0])

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"activation": self.activation} if self.keras_class == "Activation" else {}
