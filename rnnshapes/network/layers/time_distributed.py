"""A layer at each time step.

Source: ``keras/src/layers/rnn/time_distributed.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from rnnshapes.cells.cell import Cell, SizeOf, Weight
from rnnshapes.errors import UnsupportedError
from rnnshapes.network.layers.base import Layer, Masks
from rnnshapes.network.layers.config import LayerConfig, require_keras_class
from rnnshapes.network.layers.registry import layer_class
from rnnshapes.network.layers.rnn import RecurrentLayer, WholeRecurrence
from rnnshapes.ops.dims import Dim, Shape
from rnnshapes.ops.interface import LayerOps, Tensor


def layer_at_step(layer: Layer) -> Layer:
    """Return the layer that a TimeDistributed applies at each step; any other one itself."""
    return layer.inner if isinstance(layer, TimeDistributed) else layer


@dataclass(frozen=True, kw_only=True)
class TimeDistributed(Layer):
    """A layer applied at each time step, to an input of ``rank`` axes there.

    It passes a mask on, and does not use it.
    """

    inner: Layer
    rank: int

    keras_classes = ("TimeDistributed",)
    sequence_classes = keras_classes
    uses_mask = True  # Keras gives it none of the right shape inside another one

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        part = config.options["layer"]
        n, _, *rest = config.shapes[0]
        name = str(part["config"].get("name", part["class_name"].lower()))
        require_keras_class(part)
        if len(config.shapes) != 1 or not rest:
            raise UnsupportedError("its input is not one sequence")
        steps = rest[0] if len(rest) > 1 else None
        inner_config = config.inner(part, name, shapes=[(n, *rest)], steps=steps, at_step=True)
        inner = layer_class(inner_config.class_name).from_config(inner_config)
        if isinstance(inner, RecurrentLayer):
            inner = WholeRecurrence.around(inner)
        if inner.takes_list or inner.symbol == "x":
            raise UnsupportedError(f"{inner.type} inside it is not supported")
        if inner.uses_mask and (config.masked or inner.makes_mask):
            raise UnsupportedError(f"{inner.type} inside it, with a mask, is not supported")
        return cls(index=inner.index, inner=inner, rank=1 + len(rest), **config.shared)

    @property
    def symbol(self) -> str:
        return self.inner.symbol

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
    def cells(self) -> tuple[Cell, ...]:
        return self.inner.cells

    @property
    def activations(self) -> tuple[str, ...]:
        return self.inner.activations

    @property
    def notes(self) -> tuple[str, ...]:
        return self.inner.notes

    @property
    def equation_lines(self) -> int:
        return self.inner.equation_lines

    @property
    def computed_sizes(self) -> Mapping[str, tuple[Dim, Callable[[int], int]]]:
        return self.inner.computed_sizes

    def own_shapes(self, shapes: Sequence[Shape]) -> Sequence[Shape]:
        if len(shapes[0]) == self.rank:
            return self.inner.own_shapes(shapes)
        n, steps, *rest = shapes[0]
        ((n, *rest),) = self.inner.own_shapes([(n, *rest)])
        return [(n, steps, *rest)]

    def with_inputs(self, shapes: Sequence[Shape], new_steps: Callable[[], Dim]) -> Layer:
        at_step = [(shape[0], *shape[2:]) for shape in shapes]
        return replace(self, inner=self.inner.with_inputs(at_step, new_steps))

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        def call_at_step(x: Tensor) -> Tensor:
            return self.inner.call(ops, [x], w, Masks())

        return ops.each_step(call_at_step, inputs[0], self.rank)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"layer": replace(self.inner, computes_in=self.computes_in)}
