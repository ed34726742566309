"""Layers that turn one shape into another, and those that make one tensor of several.

Sources: ``keras/src/layers/reshaping``, ``keras/src/layers/merging``,
``keras/src/layers/convolutional/base_conv.py``, ``keras/src/layers/pooling``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add, mul, or_
from typing import Any

from rnnshapes.cells.cell import Weight
from rnnshapes.network.layers.base import Layer, Masks, NamedLayer, SizeOf
from rnnshapes.ops.dims import Dim, Shape
from rnnshapes.ops.interface import LayerOps, Tensor
from rnnshapes.ops.windows import Window


@dataclass(frozen=True, kw_only=True)
class Reshape(NamedLayer):
    """The numbers of each sample in another shape: Flatten and Reshape."""

    shape: Shape
    numbers: tuple[int, ...]

    output_symbol = "r"
    stepwise = False
    passes_mask = False

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return ops.reshape(inputs[0], self.shape, self.numbers)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"target_shape": self.numbers} if self.keras_name == "Reshape" else {}


@dataclass(frozen=True, kw_only=True)
class RepeatVector(Layer):
    """The same vector at each of R steps."""

    times: Dim
    number: int

    keras_class = "RepeatVector"
    output_symbol = "r"
    stepwise = False
    passes_mask = False

    @property
    def label(self) -> str:
        return f"RepeatVector({self.times})"

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return ops.repeat(inputs[0], self.times, self.number)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"n": self.number}


@dataclass(frozen=True, kw_only=True)
class Windowed(Layer):
    """A layer that looks at windows of time steps, of which there are T'."""

    window: Window
    time: Dim

    stepwise = False
    passes_mask = False

    @property
    def computed_sizes(self) -> Mapping[str, tuple[Dim, Callable[[int], int]]]:
        return {str(self.window.steps): (self.time, self.window.length)}

    def with_inputs(self, shapes: Sequence[Shape], new_steps: Callable[[], Dim]) -> Layer:
        time = shapes[0][1]
        if time == self.time:
            return self
        steps = time if self.window.steps == self.time else new_steps()
        return replace(self, time=time, window=replace(self.window, steps=steps))


@dataclass(frozen=True, kw_only=True)
class Conv1D(Windowed):
    """Each window of k steps and D features through a kernel (k, D, F)."""

    features: Dim
    filters: Dim
    activation: str = "linear"
    use_bias: bool = True

    keras_class = "Conv1D"
    output_symbol = "u"

    @property
    def label(self) -> str:
        return f"Conv1D({self.filters})"

    @property
    def weights(self) -> tuple[Weight, ...]:
        shape = (Dim.of(self.window.size), self.features, self.filters)
        kernel = Weight("Wc", "kernel", shape)
        return (kernel, Weight("bc", "bias", (self.filters,))) if self.use_bias else (kernel,)

    @property
    def activations(self) -> tuple[str, ...]:
        return (self.activation,)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        seen = ops.windows(inputs[0], self.window)  # (N, T, D) → (N, T', k, D)
        z = ops.contract(seen, w.Wc)  # (N, T', k, D)·(k, D, F) → (N, T', F)
        z = z + w.bc if self.use_bias else z  # (N, T', F) + (F,) → (N, T', F)
        return ops.activate(self.activation, z)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        window = self.window
        return {
            "filters": size_of(self.filters),
            "kernel_size": window.size,
            "strides": window.stride,
            "padding": window.mode,
            "dilation_rate": window.dilation,
            "activation": self.activation,
            "use_bias": self.use_bias,
            "kernel_initializer": "zeros",
        }


@dataclass(frozen=True, kw_only=True)
class Pooling1D(NamedLayer, Windowed):
    """The largest, or the mean, of each window; steps beyond the ends do not count."""

    output_symbol = "p"

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        if self.keras_name == "MaxPooling1D":
            return ops.max(ops.windows(inputs[0], self.window), 2)  # (N, T', k, F) → (N, T', F)
        return ops.averages(inputs[0], self.window)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        window = self.window
        return {"pool_size": window.size, "strides": window.stride, "padding": window.mode}


@dataclass(frozen=True, kw_only=True)
class GlobalPooling1D(NamedLayer):
    """The largest, or the mean, over all steps; a mean leaves out those that are masked."""

    output_symbol = "p"
    stepwise = False
    passes_mask = False

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        x, mask = inputs[0], masks.before
        if self.keras_name == "GlobalMaxPooling1D":
            return ops.max(x, 1)
        if mask is None:
            return ops.mean(x, 1)
        return ops.mean(ops.where(mask, x), 1, mask.sum(axis=1)[:, None])

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, kw_only=True)
class Merge(NamedLayer):
    """Add, Multiply, Average: element by element."""

    output_symbol = "m"

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        parts = ops.aligned(inputs)
        if self.keras_name == "Multiply":
            return reduce(mul, parts)
        whole = reduce(add, parts)
        return whole * (1 / len(parts)) if self.keras_name == "Average" else whole

    def mask(self, inputs: Sequence[Any], masks: Sequence[Any]) -> Any:
        return None if any(mask is None for mask in masks) else reduce(or_, masks)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, kw_only=True)
class Concatenate(Layer):
    """One behind the other on the last axis."""

    keras_class = "Concatenate"
    output_symbol = "m"

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        return ops.concatenate(inputs)

    def mask(self, inputs: Sequence[Any], masks: Sequence[Any]) -> Any:
        # An input without a mask counts at each step, and the masks are joined by "or".
        found = [mask for mask in masks if mask is not None]
        if not found:
            return None
        return reduce(or_, found) if len(found) == len(masks) else found[0] | True

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, kw_only=True)
class UnsupportedLayer(NamedLayer):
    """A layer that is not derived: what the model holds of it, and why."""

    reason: str
    stored_weights: tuple[Weight, ...]
    output_shapes: tuple[Shape, ...]
    masked: bool = False

    output_symbol = "v"
    stepwise = False
    passes_mask = False

    @property
    def weights(self) -> tuple[Weight, ...]:
        return self.stored_weights

    @property
    def declared_shapes(self) -> tuple[Shape, ...]:
        return self.output_shapes

    @property
    def equation_lines(self) -> int:
        return 0

    @property
    def makes_mask(self) -> bool:
        return self.masked

    @property
    def notes(self) -> tuple[str, ...]:
        return (f"not derived: {self.reason}; shapes are those that are held",)
