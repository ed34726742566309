"""A layer at each time step, by itself or as a part of a model that is applied at each step.

Source: ``keras/src/layers/rnn/time_distributed.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from rnnshapes.cells.cell import Cell, SizeOf, Weight
from rnnshapes.errors import UnsupportedError
from rnnshapes.network.layers.base import Layer, Masks
from rnnshapes.network.layers.config import MOST_AXES, LayerConfig, require_keras_class
from rnnshapes.network.layers.registry import layer_class
from rnnshapes.network.layers.rnn import RecurrentLayer, WholeRecurrence
from rnnshapes.network.symbolic import evaluate_layer
from rnnshapes.ops.dims import Dim, Shape
from rnnshapes.ops.interface import LayerOps, Tensor


def layer_at_step(layer: Layer) -> Layer:
    """Return the layer that a TimeDistributed applies at each step; any other one itself."""
    return layer_at_step(layer.inner) if isinstance(layer, TimeDistributed) else layer


@dataclass(frozen=True, kw_only=True)
class TimeDistributed(Layer):
    """A layer applied at each time step, to a first input of ``rank`` axes there.

    It passes a mask on that its input has from outside, and does not use it. Masks that a model
    makes inside have more axes than samples and the ``outer_levels`` of steps around the layer;
    they stay in that model.

    Attributes:
        in_model: Whether the layer is in a model that is applied at each step.
        stays_inside: Whether its output stays in that model.
        stepwise: Whether inputs and output have features at each step.
    """

    inner: Layer
    rank: int
    outer_levels: int
    in_model: bool
    stays_inside: bool
    stepwise: bool = True

    keras_classes = ("TimeDistributed",)
    sequence_classes = keras_classes
    uses_mask = True  # Keras gives it none of the right shape inside another one

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        shapes = [(n, *rest) for n, _, *rest in config.shapes]
        rest = shapes[0][1:]
        changes: dict[str, Any] = {
            "shapes": shapes,
            "steps": rest[0] if len(rest) > 1 else None,
            "at_step": True,
            "causal": False,
            "outer_levels": config.outer_levels + 1,
            "stays_inside": config.stays_inside[1:],
        }
        if config.stays_inside:
            inner_config = replace(config, **changes)
        else:
            part = config.options["layer"]
            name = str(part["config"].get("name", part["class_name"].lower()))
            require_keras_class(part)
            if len(shapes) != 1 or not rest:
                raise UnsupportedError("its input is not one sequence")
            inner_config = config.inner(part, name, **changes)
        kind = cls if inner_config.stays_inside else layer_class(inner_config.class_name)
        inner = kind.from_config(inner_config)
        if isinstance(inner, RecurrentLayer):
            inner = WholeRecurrence.around(inner, masked=config.masked)
        if inner.symbol == "x" or (inner.takes_list and not config.stays_inside):
            raise UnsupportedError(f"{inner.type} inside it is not supported")
        is_outer = config.masked and (
            not config.stays_inside or config.mask_axes <= config.outer_levels + 2
        )
        uses_outer = is_outer and (inner.uses_mask or inner.makes_mask or len(shapes) > 1)
        if uses_outer or (
            inner.uses_mask and inner.makes_mask and not any(config.stays_inside[:1])
        ):
            raise UnsupportedError(f"{inner.type} inside it, with a mask, is not supported")
        if config.masked and isinstance(inner, WholeRecurrence) and inner.layer.zeroes_wrong_steps:
            raise UnsupportedError("unroll=True inside it, with a mask, is not supported")
        outputs = evaluate_layer(inner, inner.groups, inner.own_shapes(shapes))
        has_features = all(len(shape) > 1 for shape in (*shapes, outputs.shape))
        return cls(
            index=inner.index,
            inner=inner,
            rank=len(shapes[0]),
            outer_levels=config.outer_levels + 1,
            in_model=bool(config.stays_inside),
            stays_inside=any(config.stays_inside[:1]),
            stepwise=has_features and not outputs.more,
            **config.shared,
        )

    @property
    def takes_list(self) -> bool:
        return self.in_model

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
        return {self.name if self.in_model else f"{self.name}/{self.inner.name}": self.weights}

    @property
    def upcasts(self) -> bool:
        return self.inner.upcasts

    @property
    def is_boolean(self) -> bool:
        return self.inner.is_boolean

    @property
    def casts_to(self) -> str | None:
        return self.inner.casts_to

    @property
    def rounds_input(self) -> bool:
        return not self.in_model or self.inner.rounds_input

    @property
    def makes_mask(self) -> bool:
        return self.stays_inside and self.inner.makes_mask

    @property
    def call_arguments(self) -> Mapping[str, Any]:
        return self.inner.call_arguments

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
        at_step = self.inner.own_shapes([(n, *rest) for n, _, *rest in shapes])
        steps = [shape[1] for shape in shapes]
        return [(n, t, *rest) for (n, *rest), t in zip(at_step, steps, strict=True)]

    def with_inputs(self, shapes: Sequence[Shape], new_steps: Callable[[], Dim]) -> Layer:
        at_step = [(shape[0], *shape[2:]) for shape in shapes]
        inner = self.inner.with_inputs(at_step, new_steps)
        return replace(self, inner=inner, rank=len(at_step[0]))

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        def call_at_step(*tensors: Tensor) -> Any:
            return self.inner.call(ops, tensors, w, at_step)

        at_step = Masks()
        if masks.any:
            at_step = masks.map(_fold) if ops.rank(inputs[0]) != self.rank else masks
            if not self.inner.makes_mask:
                at_step = at_step._replace(output=self.inner.mask((), at_step.inputs))
        return ops.each_step(call_at_step, inputs, self.rank)

    def mask(self, inputs: Sequence[Any], masks: Sequence[Any]) -> Any:
        axes = self.outer_levels + 1 if self.in_model else MOST_AXES
        from_outside = [m for m in masks if m is not None and m.ndim <= axes]
        if from_outside or not self.stays_inside:
            return from_outside[0] if from_outside else None
        return replace(self.inner, computes_in=self.computes_in).mask(inputs, masks)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"layer": replace(self.inner, computes_in=self.computes_in)}


def _fold(mask: Any) -> Any:
    """Return a mask (N, T, …) as one of the N·T steps; None for the mask (N, T) of the steps."""
    return None if mask.ndim < 3 else mask.reshape(-1, *mask.shape[2:])
