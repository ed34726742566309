"""A layer at each time step.

Source: ``keras/src/layers/rnn/time_distributed.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from rnnshapes.cells.cell import SizeOf, Weight
from rnnshapes.errors import UnsupportedError
from rnnshapes.network.layers.base import Layer, Masks
from rnnshapes.network.layers.config import LayerConfig, require_keras_class
from rnnshapes.network.layers.registry import layer_class
from rnnshapes.ops.interface import LayerOps, Tensor


@dataclass(frozen=True, kw_only=True)
class TimeDistributed(Layer):
    """A layer applied at each time step; a stepwise layer does this by itself."""

    inner: Layer

    keras_classes = ("TimeDistributed",)
    takes_sequence = True

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        part = config.options["layer"]
        n, _, *rest = config.shapes[0]
        name = str(part["config"].get("name", part["class_name"].lower()))
        require_keras_class(part)
        inner_config = config.inner(part, name, shapes=[(n, *rest)], steps=None)
        inner = layer_class(inner_config.class_name).from_config(inner_config)
        if not inner.stepwise or len(config.shapes[0]) != 3:
            raise UnsupportedError(f"{inner.type} inside it is not supported")
        return cls(index=inner.index, inner=inner, **config.shared)

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

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"layer": replace(self.inner, computes_in=self.computes_in)}
