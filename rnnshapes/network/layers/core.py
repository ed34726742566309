"""Inputs, dense layers, embeddings and masks.

Sources: ``dense.py``, ``embedding.py`` and ``masking.py`` in ``keras/src/layers/core``.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from rnnshapes.cells.cell import SizeOf, Weight
from rnnshapes.network.layers.base import Layer, Masks, UnsupportedError
from rnnshapes.network.layers.config import LayerConfig
from rnnshapes.ops.dims import Dim, Shape
from rnnshapes.ops.interface import LayerOps, Tensor


@dataclass(frozen=True, kw_only=True)
class Input(Layer):
    """An input of the network, with its whole shape; ``integers`` for indices of an Embedding."""

    shape: Shape
    integers: bool = False

    keras_classes = ("InputLayer",)
    output_symbol = "x"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        shape = config.options.get("batch_shape") or config.options.get("batch_input_shape")
        sizes = list(shape or ())[1:]
        integers = bool(config.options.get("integers"))
        letters = ["T" if integers else "D"] if len(sizes) == 1 else ["T", "D"]
        dims = [config.names.size(letter, n) for letter, n in zip(letters, sizes, strict=False)]
        dims += [Dim.of(n) if n else config.names.size("A", None) for n in sizes[2:]]
        return cls(shape=(Dim.named("N"), *dims), integers=integers, **config.shared)

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


@dataclass(frozen=True, kw_only=True)
class Embedding(Layer):
    """A row of the table for each integer; index 0 is masked if ``mask_zero``."""

    words: Dim
    features: Dim
    mask_zero: bool = False

    keras_classes = ("Embedding",)
    output_symbol = "e"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        if len(config.shapes[0]) != 2 or config.steps is None:
            raise UnsupportedError("its input is not one of whole numbers (N, T)")
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


@dataclass(frozen=True, kw_only=True)
class Masking(Layer):
    """Steps in which every feature is ``value`` are masked, and become 0.

    Keras compares x in the format of the layer with the value in float32
    (``keras/src/ops/numpy.py``, ``not_equal``).
    """

    value: float = 0.0

    keras_classes = ("Masking",)
    output_symbol = "m"
    takes_sequence = True

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        value = config.options.get("mask_value", 0.0)
        if not isinstance(value, int | float):
            raise UnsupportedError(f"mask_value={value!r} is not a number")
        value = float(value)
        if config.dtype != "float64":  # what Keras compares with
            value = struct.unpack("f", struct.pack("f", value))[0]
        return cls(value=float(value), **config.shared)

    @property
    def makes_mask(self) -> bool:
        return True

    @property
    def notes(self) -> tuple[str, ...]:
        note = f"steps of which every feature is {self.value:g} are masked"
        if self.computes_in and not _is_exact(self.value, self.computes_in):
            note += f", which no number is: {self.computes_in} has no {self.value:g}"
        return (note,)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return ops.where(masks.after, inputs[0])

    def mask(self, inputs: Sequence[Any], masks: Sequence[Any]) -> Any:
        x = inputs[0]
        if self.computes_in:
            from rnnshapes.ops.precision import PRECISIONS  # which needs NumPy

            x = PRECISIONS[self.computes_in].rounded(x)
        return (x != self.value).any(axis=-1)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"mask_value": self.value}


def _is_exact(value: float, short: str) -> bool:
    """Return whether a 16-bit format has this number of float32."""
    if short == "float16":
        return abs(value) < 2**16 and struct.unpack("e", struct.pack("e", value))[0] == value
    return struct.pack("<f", value)[:2] == bytes(2)
