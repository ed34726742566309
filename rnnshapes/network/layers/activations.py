"""Activations as layers.

Source: ``keras/src/layers/activations``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from rnnshapes.cells.cell import SizeOf, Weight
from rnnshapes.errors import UnsupportedError
from rnnshapes.network.layers.base import Layer, LayerOfClass, Masks
from rnnshapes.network.layers.config import LayerConfig, as_float32
from rnnshapes.ops.dims import Dim, Shape
from rnnshapes.ops.elementwise import ELU, ClippedReLU, Elementwise, LeakyReLU, NegativePart
from rnnshapes.ops.interface import LayerOps, Tensor
from rnnshapes.ops.rearrangements import Transposed


@dataclass(frozen=True, kw_only=True)
class Activation(LayerOfClass):
    """An activation as a layer.

    ``function`` is set for an activation with constants, which come from its ``options``.
    """

    activation: str
    function: Elementwise | None
    options: tuple[tuple[str, Any], ...]

    keras_classes = ("Activation", "ReLU", "LeakyReLU", "ELU")
    output_symbol = "a"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        function, names = _function(config)
        options = tuple((n, config.options[n]) for n in names if n in config.options)
        if config.class_name == "Activation":
            activation = config.activation()
        else:
            activation = config.class_name.lower() if function is None else function.name
        return cls(
            activation=activation,
            function=function,
            options=options,
            keras_class=config.class_name,
            **config.shared,
        )

    @property
    def label(self) -> str:
        named = self.type if self.function is not None else "Activation"
        return f"{named}({self.activation if self.function is None else self._constants})"

    @property
    def _constants(self) -> str:
        return ", ".join(f"{name}={value:g}" for name, value in self.options if value)

    @property
    def activations(self) -> tuple[str, ...]:
        return (self.activation,)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        if self.function is not None:
            return ops.elementwise(inputs[0], self.function)
        return ops.activate(self.activation, inputs[0])

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        if self.keras_class == "Activation":
            return {"activation": self.activation}
        return dict(self.options)


@dataclass(frozen=True, kw_only=True)
class Softmax(Layer):
    """The softmax along one axis, counted from the last one."""

    axis: int

    keras_classes = ("Softmax",)
    output_symbol = "a"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        if config.masked:
            raise UnsupportedError("Softmax with a mask is not supported")
        return cls(axis=config.axis(config.options.get("axis", -1)), **config.shared)

    @property
    def label(self) -> str:
        return "Softmax" if self.stepwise else f"Softmax(axis={self.axis})"

    @property
    def activations(self) -> tuple[str, ...]:
        return ("softmax",)

    @property
    def stepwise(self) -> bool:
        return self.axis == -1

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return activate_along(ops, "softmax", inputs[0], self.axis)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"axis": self.axis}


def activate_along(ops: LayerOps, activation: str, x: Tensor, axis: int) -> Tensor:
    """Apply softmax or log_softmax along an axis of x, counted from the last one."""
    if axis == -1:
        return ops.activate(activation, x)
    order = [*range(ops.rank(x))]
    order[axis], order[-1] = order[-1], order[axis]
    turned = Transposed(tuple(order))
    return ops.rearrange(ops.activate(activation, ops.rearrange(x, turned)), turned)


def _function(config: LayerConfig) -> tuple[Elementwise | None, tuple[str, ...]]:
    """Return the function of a layer that has constants, and the names of their options."""
    if config.class_name == "LeakyReLU":
        return LeakyReLU(as_float32(config.number("negative_slope", 0.3))), ("negative_slope",)
    if config.class_name == "ELU":
        return ELU(config.number("alpha", 1.0)), ("alpha",)
    return relu_function(config) if config.class_name == "ReLU" else (None, ())


def relu_function(config: LayerConfig) -> tuple[Elementwise | None, tuple[str, ...]]:
    """Return the function of a ReLU, None without constants, and the names of its options."""
    names = ("max_value", "negative_slope", "threshold")
    unlimited = config.options.get("max_value") is None
    highest = None if unlimited else config.number("max_value", 0.0)
    slope, threshold = config.number("negative_slope", 0.0), config.number("threshold", 0.0)
    if unlimited and threshold == 0.0:
        return (LeakyReLU(as_float32(slope)), names) if slope else (None, names)
    return ClippedReLU(highest, slope, threshold), names


@dataclass(frozen=True, kw_only=True)
class PReLU(Layer):
    """x above 0, alpha · x below it; each number has its own alpha, except along shared axes."""

    shape: Shape
    shared_axes: tuple[int, ...]

    keras_classes = ("PReLU",)
    output_symbol = "a"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        shape = list(config.shape[1:])
        axes = config.options.get("shared_axes")
        axes = () if axes is None else axes if isinstance(axes, list | tuple) else (axes,)
        if any(type(axis) is not int or not 0 < axis <= len(shape) for axis in axes):
            raise UnsupportedError(f"shared_axes={axes!r:.40} is not supported")
        for axis in axes:
            shape[axis - 1] = Dim.of(1)
        return cls(
            index=config.names.index("prelu"),
            shape=tuple(shape),
            shared_axes=tuple(axes),
            **config.shared,
        )

    @property
    def weights(self) -> tuple[Weight, ...]:
        return (Weight("alpha", "alpha", self.shape),)

    def own_shapes(self, shapes: Sequence[Shape]) -> Sequence[Shape]:
        n, *axes = shapes[0]
        alphas = self.shape[-len(axes) :]  # without time, where a step is computed alone
        own = (dim if own == 1 else own for dim, own in zip(axes, alphas, strict=True))
        return [(n, *own)]

    @property
    def stepwise(self) -> bool:
        return len(self.shape) == 1 or (len(self.shape) == 2 and self.shape[0] == 1)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        below = ops.elementwise(inputs[0], NegativePart())
        return ops.activate("relu", inputs[0]) - w.alpha * below

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"shared_axes": list(self.shared_axes)}
