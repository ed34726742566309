"""Masks made from x.

Source: ``keras/src/layers/core/masking.py``.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from rnnshapes.cells.cell import SizeOf
from rnnshapes.errors import ContradictionError, UnsupportedError
from rnnshapes.network.layers.base import Layer, Masks
from rnnshapes.network.layers.config import LayerConfig, as_float32
from rnnshapes.ops.interface import LayerOps, Tensor


@dataclass(frozen=True, kw_only=True)
class Masking(Layer):
    """Steps in which every feature is ``value`` are masked, and become 0.

    Keras compares x in the dtype of the layer with the value in float32
    (``keras/src/ops/numpy.py``, ``not_equal``).
    """

    value: float

    keras_classes = ("Masking",)
    output_symbol = "m"
    uses_mask = True
    sequence_classes = keras_classes

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        if config.rank < 3:
            raise UnsupportedError("a mask of vectors, for whole samples, is not supported")
        value = config.options.get("mask_value", 0.0)
        if not isinstance(value, int | float):
            raise ContradictionError(f"mask_value={value!r} is not a number")
        value = float(value)
        if config.dtype != "float64":  # what Keras compares with
            value = as_float32(value)
        return cls(value=value, **config.shared)

    @property
    def makes_mask(self) -> bool:
        return True

    @property
    def notes(self) -> tuple[str, ...]:
        note = f"steps of which every feature is {self.value:g} are masked"
        dtype = self.dtype_16bit
        if dtype and not _is_exact(self.value, dtype):
            note += f", which no number is: {dtype} has no {self.value:g}"
        return (note,)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return ops.where(masks.output, inputs[0], 0.0)

    def mask(self, inputs: Sequence[Any], masks: Sequence[Any]) -> Any:
        x = inputs[0]
        if self.dtype_16bit:
            from rnnshapes.ops.precision import PRECISIONS  # which needs NumPy

            x = PRECISIONS[self.dtype_16bit].rounded(x)
        return (x != self.value).any(axis=-1)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"mask_value": self.value}


def _is_exact(value: float, dtype: str) -> bool:
    """Return whether a 16-bit dtype has this number of float32."""
    if dtype == "float16":
        return abs(value) < 2**16 and struct.unpack("e", struct.pack("e", value))[0] == value
    return struct.pack("<f", value)[:2] == bytes(2)
