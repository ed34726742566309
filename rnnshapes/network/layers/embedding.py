"""Embedding of integers.

Source: ``keras/src/layers/core/embedding.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from rnnshapes.cells.cell import SizeOf, Weight
from rnnshapes.errors import UnsupportedError
from rnnshapes.network.layers.base import Layer, Masks
from rnnshapes.network.layers.config import LayerConfig
from rnnshapes.ops.dims import Dim
from rnnshapes.ops.interface import LayerOps, Tensor


@dataclass(frozen=True, kw_only=True)
class Embedding(Layer):
    """A row of the table for each integer; index 0 is masked if ``mask_zero``."""

    words: Dim
    features: Dim
    mask_zero: bool

    keras_classes = ("Embedding",)
    output_symbol = "e"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        if config.rank != 2 or not (config.at_step or config.steps):
            raise UnsupportedError("its input is not an array of integers (N, T)")
        return cls(
            index=config.names.index("embedding"),
            words=config.names.size("V", config.size("input_dim")),
            features=config.names.size("E", config.size("output_dim")),
            mask_zero=bool(config.options.get("mask_zero", False)),
            **config.shared,
        )

    @property
    def label(self) -> str:
        return f"Embedding({self.words}, {self.features})"

    @property
    def weights(self) -> tuple[Weight, ...]:
        return (Weight("E", "embeddings", (self.words, self.features)),)

    @property
    def makes_mask(self) -> bool:
        return self.mask_zero

    @property
    def notes(self) -> tuple[str, ...]:
        return ("mask_zero=True: steps with index 0 are masked",) if self.mask_zero else ()

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return ops.take(w.E, inputs[0])

    def mask(self, inputs: Sequence[Any], masks: Sequence[Any]) -> Any:
        return inputs[0] != 0 if self.mask_zero else None

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        sizes = {"input_dim": size_of(self.words), "output_dim": size_of(self.features)}
        return sizes | {"mask_zero": self.mask_zero, "embeddings_initializer": "zeros"}
