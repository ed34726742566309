"""Preprocessing layers that are part of a model.

Source: ``keras/src/layers/preprocessing``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from rnnshapes.cells.cell import SizeOf
from rnnshapes.errors import UnsupportedError
from rnnshapes.network.layers.base import Layer, Masks
from rnnshapes.network.layers.config import LARGEST, LayerConfig, as_float32
from rnnshapes.ops.interface import LayerOps, Tensor


@dataclass(frozen=True, kw_only=True)
class Rescaling(Layer):
    """x × scale + offset, with one number for each of the two.

    Keras rounds both to float32, even where it computes in float64
    (``keras/src/backend/tensorflow/core.py``, ``cast``).
    """

    scale: float
    offset: float = 0.0

    keras_classes = ("Rescaling",)
    output_symbol = "s"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        scale, offset = config.options["scale"], config.options.get("offset", 0.0)
        for name, value in (("scale", scale), ("offset", offset)):
            if type(value) not in (int, float) or not abs(value) < LARGEST:
                raise UnsupportedError(f"{name}={value!r:.40} is not supported, only a number")
        scale, offset = map(as_float32, (scale, offset))
        return cls(scale=scale, offset=offset, **config.shared)

    @property
    def label(self) -> str:
        return f"Rescaling({self.scale:g})"

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        scaled = inputs[0] * self.scale
        return scaled + self.offset if self.offset else scaled

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"scale": self.scale, "offset": self.offset}
