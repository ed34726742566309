"""Convolution over time, and what it shares with pooling.

Source: ``keras/src/layers/convolutional/base_conv.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from rnnshapes.cells.cell import SizeOf, Weight
from rnnshapes.errors import ContradictionError
from rnnshapes.network.layers.base import Layer, Masks
from rnnshapes.network.layers.config import LayerConfig
from rnnshapes.ops.contraction import Contraction
from rnnshapes.ops.dims import Dim, Shape
from rnnshapes.ops.interface import LayerOps, Tensor
from rnnshapes.ops.windows import Window

_CONVOLUTION = Contraction("ntkd,kdf->ntf")


@dataclass(frozen=True, kw_only=True)
class Windowed(Layer):
    """A layer over windows of time steps, of which there are T'."""

    window: Window
    time: Dim

    stepwise = False
    passes_mask = False
    takes_sequence = True

    @staticmethod
    def window_in(config: LayerConfig, size: int, stride: int, fill: float = 0.0) -> dict[str, Any]:
        """Return the window and the time axis of a layer with such windows."""
        config.require(data_format="channels_last")
        config.require_sequence()
        mode = str(config.options.get("padding", "valid"))
        if mode not in ("valid", "same", "causal"):
            raise ContradictionError(f"padding={mode!r:.40} is no padding of Keras")
        time = config.shapes[0][1]
        same_length = stride == 1 and (mode != "valid" or size == 1)
        steps = time if same_length else config.names.primed()
        dilation = config.size("dilation_rate", 1)
        return {"window": Window(size, stride, mode, steps, dilation, fill), "time": time}

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
    """Each window of k steps and D features, multiplied with a kernel (k, D, F)."""

    features: Dim
    filters: Dim
    activation: str = "linear"
    use_bias: bool = True

    keras_classes = ("Conv1D",)
    output_symbol = "u"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        config.require(groups=1)
        return cls(
            index=config.names.index("conv"),
            features=config.features,
            filters=config.names.size("F", config.size("filters")),
            activation=config.activation(),
            use_bias=bool(config.options.get("use_bias", True)),
            **cls.window_in(config, config.size("kernel_size"), config.size("strides", 1)),
            **config.shared,
        )

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
        windows = ops.windows(inputs[0], self.window)  # (N, T, D) → (N, T', k, D)
        z = ops.contract(_CONVOLUTION, windows, w.Wc)  # (N, T', k, D)·(k, D, F) → (N, T', F)
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
