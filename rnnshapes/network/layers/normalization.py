"""Layers without time: the same for each step, and nothing but their last axis counts.

Sources: ``keras/src/layers/rnn/time_distributed.py``, ``keras/src/layers/normalization``,
``keras/src/layers/core/embedding.py``, ``keras/src/layers/core/masking.py``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rnnshapes.cells.cell import Weight
from rnnshapes.network.layers.base import Layer, Masks, NamedLayer, SizeOf
from rnnshapes.ops.dims import Dim
from rnnshapes.ops.interface import LayerOps, Tensor


@dataclass(frozen=True, kw_only=True)
class TimeDistributed(Layer):
    """A layer applied at each time step; what is stepwise does so by itself."""

    inner: Layer

    keras_class = "TimeDistributed"

    @property
    def label(self) -> str:
        return f"TimeDistributed({self.inner.label})"

    @property
    def weights(self) -> tuple[Weight, ...]:
        return self.inner.weights

    @property
    def groups(self) -> Mapping[str, tuple[Weight, ...]]:
        return {f"{self.name}/{self.inner.name}": self.weights}

    @property
    def upcasts(self) -> bool:
        return self.inner.upcasts

    @property
    def activations(self) -> tuple[str, ...]:
        return self.inner.activations

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return self.inner.call(ops, inputs, w, masks)


@dataclass(frozen=True, kw_only=True)
class Activation(NamedLayer):
    """An activation as a layer of its own."""

    activation: str

    output_symbol = "a"

    @property
    def label(self) -> str:
        return f"Activation({self.activation})"

    @property
    def activations(self) -> tuple[str, ...]:
        return (self.activation,)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return ops.activate(self.activation, inputs[0])

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"activation": self.activation} if self.keras_name == "Activation" else {}


#: What the rate of a layer is called, where it is not ``rate``.
_RATES = {"GaussianNoise": "stddev"}


@dataclass(frozen=True, kw_only=True)
class Inactive(NamedLayer):
    """Dropout and its kin: nothing at inference."""

    rate: float | None = None

    output_symbol = ""

    @property
    def notes(self) -> tuple[str, ...]:
        rate = "" if self.rate is None else f" (rate {self.rate:g})"
        return (f"{self.keras_name}{rate}: no effect at inference",)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return inputs[0]

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {} if self.rate is None else {_RATES.get(self.keras_name, "rate"): self.rate}


@dataclass(frozen=True, kw_only=True)
class Normalization(Layer):
    """What both normalizations share: they shift and scale each feature."""

    features: Dim
    epsilon: float
    center: bool = True
    scale: bool = True

    output_symbol = "n"

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

    def _applied(self, x: Tensor, mean: Tensor, inv: Tensor, w: Any) -> Tensor:
        inv = inv * w.gamma if self.scale else inv
        shift = w.beta - mean * inv if self.center else mean * inv * -1.0
        return x * inv + shift

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"epsilon": self.epsilon, "center": self.center, "scale": self.scale}


@dataclass(frozen=True, kw_only=True)
class BatchNormalization(Normalization):
    """With the mean and variance that training has left in it."""

    keras_class = "BatchNormalization"

    @property
    def weights(self) -> tuple[Weight, ...]:
        moving = [
            Weight(key, f"moving_{name}", (self.features,), learned=False)
            for key, name in (("mean", "mean"), ("var", "variance"))
        ]
        return (*super().weights, *moving)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return self._applied(inputs[0], w.mean, ops.rsqrt(w.var + self.epsilon), w)


@dataclass(frozen=True, kw_only=True)
class LayerNormalization(Normalization):
    """With the mean and variance of the features at hand."""

    keras_class = "LayerNormalization"

    @property
    def rounds_input(self) -> bool:
        return False

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        x = inputs[0]
        mean = ops.let("mean", ops.mean(x, -1))
        apart = ops.let("d", x - mean)
        variance = ops.let("var", ops.mean(apart * apart, -1))
        return self._applied(x, mean, ops.rsqrt(variance + self.epsilon), w)


@dataclass(frozen=True, kw_only=True)
class Embedding(Layer):
    """A row of the table for each whole number; index 0 is masked if ``mask_zero``."""

    words: Dim
    features: Dim
    mask_zero: bool = False

    keras_class = "Embedding"
    output_symbol = "e"

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
    """Steps of which every feature is ``value`` are masked, and become 0.

    Keras compares x as it is in the format of the layer with the value as it is in float32
    (``keras/src/ops/numpy.py``, ``not_equal``).
    """

    value: float = 0.0

    keras_class = "Masking"
    output_symbol = "m"

    @property
    def makes_mask(self) -> bool:
        return True

    @property
    def notes(self) -> tuple[str, ...]:
        said = f"steps of which every feature is {self.value:g} are masked"
        if self.computes_in and not _fits(self.value, self.computes_in):
            said += f", which no number is: {self.computes_in} has no {self.value:g}"
        return (said,)

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


def _fits(value: float, short: str) -> bool:
    """Whether a format of 16 bits has this number of float32."""
    if short == "float16":
        return abs(value) < 2**16 and struct.unpack("e", struct.pack("e", value))[0] == value
    return struct.pack("<f", value)[:2] == bytes(2)
