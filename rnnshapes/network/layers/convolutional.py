"""Convolution over time, images or volumes, and the windows of pooling.

Sources: ``base_conv.py``, ``base_conv_transpose.py``, ``base_depthwise_conv.py`` and
``base_separable_conv.py`` in ``keras/src/layers/convolutional``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Self

from rnnshapes.cells.cell import Cell, SizeOf, Weight
from rnnshapes.cells.lstm import LSTMCell
from rnnshapes.errors import ContradictionError, UnsupportedError
from rnnshapes.network.layers.base import Layer, LayerOfClass, Masks
from rnnshapes.network.layers.config import LayerConfig, activation_in
from rnnshapes.ops.contraction import Contraction
from rnnshapes.ops.dims import Dim, Shape
from rnnshapes.ops.interface import LayerOps, Tensor
from rnnshapes.ops.rearrangements import WHOLE, Joined, Selection, Stretched
from rnnshapes.ops.windows import Window

#: Windows times a kernel, by the number of axes along which the windows slide.
_CONVOLUTIONS = MappingProxyType(
    {
        1: Contraction("ntkd,kdf->ntf"),
        2: Contraction("nhkwld,kldf->nhwf"),
        3: Contraction("nakhlwmd,klmdf->nahwf", sums_in_float16=True),
    }
)
_TRANSPOSED = Contraction("ntkd,kfd->ntf", sums_in_float16=True)
#: The same for each feature by itself.
_DEPTHWISE = MappingProxyType(
    {
        1: Contraction("ntkd,kdm->ntdm", sums_in_float16=True),
        2: Contraction("nhkwld,kldm->nhwdm", sums_in_float16=True),
    }
)


@dataclass(frozen=True, kw_only=True)
class Windowed(LayerOfClass):
    """A layer over windows along the axes from 1 on, which had the lengths ``before``."""

    windows: tuple[Window, ...]
    before: Shape

    stepwise = False
    passes_mask = False

    @staticmethod
    def windows_in(config: LayerConfig, size: str, fill: float = 0.0) -> dict[str, Any]:
        """Return the windows and the axes of a layer whose option ``size`` is their size."""
        axes = int(config.class_name[-2])  # of Conv1D
        config.require(data_format="channels_last")
        config.require_rank(axes)
        sizes = config.sizes(size, axes, 2 if size == "pool_size" else None)
        strides = sizes if size == "pool_size" else (1,) * axes
        if config.options.get("strides") is not None:
            strides = config.sizes("strides", axes)
        dilations = config.sizes("dilation_rate", axes, 1)
        if config.class_name.startswith("Conv") and max(strides) > 1 and max(dilations) > 1:
            raise ContradictionError(
                f"{config.class_name} with both strides and dilation_rate above 1 is not possible"
            )
        mode = str(config.options.get("padding", "valid"))
        if mode not in ("valid", "same") and (mode, config.class_name) != ("causal", "Conv1D"):
            raise ContradictionError(
                f"padding={mode!r:.40} is not a padding of {config.class_name}"
            )
        before, windows = config.shape[1 : axes + 1], []
        for axis, dim in enumerate(before, 1):
            number, stride = sizes[axis - 1], strides[axis - 1]
            window = Window(number, stride, mode, dim, dilations[axis - 1], fill)
            if stride > 1 or (mode == "valid" and number > 1):
                window = replace(window, steps=config.new_length(axis, window.length))
            windows.append(window)
        return {"windows": tuple(windows), "before": before}

    @property
    def axes(self) -> int:
        """The number of axes along which the windows slide."""
        return len(self.windows)

    @property
    def computed_sizes(self) -> Mapping[str, tuple[Dim, Callable[[int], int]]]:
        return {
            str(window.steps): (dim, partial(self.length, window))
            for dim, window in zip(self.before, self.windows, strict=True)
            if window.steps.names and window.steps != dim
        }

    def with_inputs(self, shapes: Sequence[Shape], new_steps: Callable[[], Dim]) -> Layer:
        before = shapes[0][1 : self.axes + 1]
        windows = [
            replace(window, steps=self._steps_again(window, old, new, new_steps))
            for window, old, new in zip(self.windows, self.before, before, strict=True)
        ]
        return replace(self, before=before, windows=tuple(windows))

    def length(self, window: Window, steps: int) -> int:
        """Return the new length of an axis of ``steps``, along which a window slides."""
        return window.length(steps)

    def _steps_again(self, window: Window, old: Dim, new: Dim, new_steps: Callable[[], Dim]) -> Dim:
        """Return the number of windows along an axis that is ``new`` instead of ``old``."""
        if new == old:
            return window.steps
        if not new.names and (size := new.value({})) is not None:
            return Dim.of(self.length(window, size))
        return new if window.steps == old else new_steps()

    def window_arguments(self, size: str) -> dict[str, Any]:
        """Return the arguments of the class in Keras that say what the windows are."""
        return {
            size: tuple(window.size for window in self.windows),
            "strides": tuple(window.stride for window in self.windows),
            "padding": self.windows[0].mode,
        }


@dataclass(frozen=True, kw_only=True)
class Convolution(Windowed):
    """Base class of convolutions: each window is multiplied with a kernel."""

    features: Dim
    activation: str
    use_bias: bool

    output_symbol = "u"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        config.require(groups=1)
        return cls(
            keras_class=config.class_name,
            index=config.names.index("conv"),
            features=config.features,
            activation=config.activation(),
            use_bias=bool(config.options.get("use_bias", True)),
            **cls._sizes(config),
            **cls.windows_in(config, "kernel_size"),
            **config.shared,
        )

    @classmethod
    @abstractmethod
    def _sizes(cls, config: LayerConfig) -> dict[str, Any]:
        """Return the sizes of the output by the names of their fields."""

    @property
    @abstractmethod
    def output_features(self) -> Dim:
        """The last axis of the output."""

    @property
    @abstractmethod
    def kernels(self) -> tuple[Weight, ...]:
        """The weights before the bias."""

    @abstractmethod
    def _convolve(self, ops: LayerOps, windows: Tensor, w: Any) -> Tensor:
        """Multiply windows (N, T', k, D) with the kernels: (N, T', F)."""

    @property
    def label(self) -> str:
        return f"{self.type}({self.output_features})"

    @property
    def weights(self) -> tuple[Weight, ...]:
        bias = Weight("bc", "bias", (self.output_features,))
        return (*self.kernels, bias) if self.use_bias else self.kernels

    @property
    def activations(self) -> tuple[str, ...]:
        return (self.activation,)

    @property
    def window_shape(self) -> Shape:
        """The sizes of a window."""
        return tuple(Dim.of(window.size) for window in self.windows)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        windows = ops.windows(inputs[0], self.windows)  # (N, T, D) → (N, T', k, D)
        z = self._convolve(ops, windows, w)
        z = z + w.bc if self.use_bias else z  # (N, T', F) + (F,) → (N, T', F)
        return ops.activate(self.activation, z)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {
            **self.window_arguments("kernel_size"),
            "dilation_rate": tuple(window.dilation for window in self.windows),
            "activation": self.activation,
            "use_bias": self.use_bias,
        }


@dataclass(frozen=True, kw_only=True)
class Conv(Convolution):
    """Each window of k steps and D features, multiplied with a kernel (k, D, F)."""

    filters: Dim

    keras_classes = ("Conv1D", "Conv2D", "Conv3D")
    sequence_classes = ("Conv1D",)

    @classmethod
    def _sizes(cls, config: LayerConfig) -> dict[str, Any]:
        return {"filters": config.names.size("F", config.size("filters"))}

    @property
    def output_features(self) -> Dim:
        return self.filters

    @property
    def kernels(self) -> tuple[Weight, ...]:
        return (Weight("Wc", "kernel", (*self.window_shape, self.features, self.filters)),)

    def _convolve(self, ops: LayerOps, windows: Tensor, w: Any) -> Tensor:
        contraction = _CONVOLUTIONS[self.axes]
        return ops.contract(contraction, windows, w.Wc)  # (N, T', k, D)·(k, D, F) → (N, T', F)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        options = {"filters": size_of(self.filters), "kernel_initializer": "zeros"}
        return {**super().keras_arguments(size_of), **options}


@dataclass(frozen=True, kw_only=True)
class DepthwiseConv(Convolution):
    """Each feature by itself, multiplied with m kernels of its own: (k, D, m)."""

    multiplier: int

    keras_classes = ("DepthwiseConv1D", "DepthwiseConv2D")
    sequence_classes = ("DepthwiseConv1D",)

    @classmethod
    def _sizes(cls, config: LayerConfig) -> dict[str, Any]:
        return {"multiplier": config.size("depth_multiplier", 1)}

    @property
    def output_features(self) -> Dim:
        return self.features * self.multiplier

    @property
    def kernels(self) -> tuple[Weight, ...]:
        dims = (*self.window_shape, self.features, Dim.of(self.multiplier))
        return (Weight("Wc", "kernel", dims),)

    def _convolve(self, ops: LayerOps, windows: Tensor, w: Any) -> Tensor:
        # (N, T', k, D)·(k, D, m) → (N, T', D, m) → (N, T', m·D)
        return ops.rearrange(ops.contract(_DEPTHWISE[self.axes], windows, w.Wc), Joined())

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        options = {"depth_multiplier": self.multiplier, "depthwise_initializer": "zeros"}
        return {**super().keras_arguments(size_of), **options}


@dataclass(frozen=True, kw_only=True)
class SeparableConv(DepthwiseConv):
    """A depthwise convolution, then a product with a matrix (m·D, F) at each step."""

    filters: Dim

    keras_classes = ("SeparableConv1D", "SeparableConv2D")
    sequence_classes = ("SeparableConv1D",)

    @classmethod
    def _sizes(cls, config: LayerConfig) -> dict[str, Any]:
        filters = config.names.size("F", config.size("filters"))
        return {"filters": filters, **super()._sizes(config)}

    @property
    def output_features(self) -> Dim:
        return self.filters

    @property
    def kernels(self) -> tuple[Weight, ...]:
        depthwise = replace(super().kernels[0], key="Wd", name="depthwise_kernel")
        ones = (Dim.of(1),) * self.axes
        dims = (*ones, self.features * self.multiplier, self.filters)
        return (depthwise, Weight("Wp", "pointwise_kernel", dims))

    def _convolve(self, ops: LayerOps, windows: Tensor, w: Any) -> Tensor:
        each = ops.rearrange(ops.contract(_DEPTHWISE[self.axes], windows, w.Wd), Joined())
        key = (0,) * self.axes
        matrix = ops.rearrange(w.Wp, Selection(key, (None,) * self.axes))
        return each @ matrix  # (N, T', m·D)·(m·D, F) → (N, T', F)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        options = {"filters": size_of(self.filters), "pointwise_initializer": "zeros"}
        return {**super().keras_arguments(size_of), **options}


@dataclass(frozen=True, kw_only=True)
class ConvTranspose(Convolution):
    """Each step, multiplied with a kernel (k, F, D), is spread over k steps, which are added.

    ``stride`` steps later the next one begins. This is a convolution of the sequence stretched
    by zeros with the kernel in reverse; the windows are those of that convolution. Source of the
    lengths: ``keras/src/backend/common/backend_utils.py``, ``_get_output_shape_given_tf_padding``.
    """

    filters: Dim
    stride: int
    mode: str

    keras_classes = ("Conv1DTranspose",)
    sequence_classes = keras_classes

    @classmethod
    def _sizes(cls, config: LayerConfig) -> dict[str, Any]:
        return {"filters": config.names.size("F", config.size("filters"))}

    @staticmethod
    def windows_in(config: LayerConfig, size: str, fill: float = 0.0) -> dict[str, Any]:
        config.require(data_format="channels_last", output_padding=None, dilation_rate=1)
        config.require_rank(1)
        (k,), (stride,) = config.sizes(size, 1), config.sizes("strides", 1, 1)
        mode, time = str(config.options.get("padding", "valid")), config.shape[1]
        if mode not in ("valid", "same"):
            raise ContradictionError(
                f"padding={mode!r:.40} is not a padding of {config.class_name}"
            )
        same = stride == 1 and (mode == "same" or k == 1)
        steps = time if same else config.new_length(1, partial(_spread_length, k, stride, mode))
        window = Window(k, 1, "valid", steps)
        return {"windows": (window,), "before": (time,), "stride": stride, "mode": mode}

    def length(self, window: Window, steps: int) -> int:
        return _spread_length(window.size, self.stride, self.mode, steps)

    @property
    def output_features(self) -> Dim:
        return self.filters

    @property
    def kernels(self) -> tuple[Weight, ...]:
        return (Weight("Wc", "kernel", (*self.window_shape, self.filters, self.features)),)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        (window,) = self.windows
        k, stride = window.size, self.stride
        cut = max(0, k - stride) // 2 if self.mode == "same" else 0
        after = stride - 1 + cut if self.mode == "same" else max(k, stride) - 1
        steps = window.steps + (k - 1)
        stretched = ops.rearrange(inputs[0], Stretched(stride, k - 1 - cut, after, steps))
        return super().call(ops, [stretched], w, masks)

    def _convolve(self, ops: LayerOps, windows: Tensor, w: Any) -> Tensor:
        reverse = Selection((slice(None, None, -1),), (None,))
        kernel = ops.rearrange(w.Wc, reverse)
        return ops.contract(_TRANSPOSED, windows, kernel)  # (N, T', k, D)·(k, F, D) → (N, T', F)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        options = {"filters": size_of(self.filters), "kernel_initializer": "zeros"}
        options |= {"strides": self.stride, "padding": self.mode}
        return {**super().keras_arguments(size_of), **options}


def _spread_length(size: int, stride: int, mode: str, steps: int) -> int:
    """Return how many steps a transposed convolution makes of ``steps``."""
    return steps * stride if mode == "same" else (steps - 1) * stride + max(size, stride)


@dataclass(frozen=True)
class ConvLSTMCell(LSTMCell):
    """The cell of an LSTM whose states are images, or rows of them, of ``units`` filters."""

    windows: tuple[Window, ...] = ()

    def recur(self, ops: Any, h: Tensor, w: Any) -> Tensor:
        """Compute the convolution of h_{t-1} with Wh."""
        return ops.contract(_CONVOLUTIONS[len(self.windows)], ops.windows(h, self.windows), w.Wh)


@dataclass(frozen=True, kw_only=True)
class ConvLSTM(Windowed):
    """An LSTM over images: both of its products are convolutions, that of h pads with zeros.

    It is computed as a whole, so its states are not traced. Source:
    ``keras/src/layers/rnn/conv_lstm.py``.
    """

    features: Dim
    cell: ConvLSTMCell
    return_sequences: bool
    reverse: bool

    keras_classes = ("ConvLSTM1D", "ConvLSTM2D")
    output_symbol = "h"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        config.require(return_state=False, stateful=False)
        if config.masked:
            raise UnsupportedError(f"{config.class_name} with a mask is not supported")
        n, _, *rest = config.shape
        windows = cls.windows_in(replace(config, shapes=[(n, *rest)], at_step=True), "kernel_size")
        cell = ConvLSTMCell(
            config.names.size("F", config.size("filters")),
            activation=config.activation("tanh"),
            use_bias=bool(config.options.get("use_bias", True)),
            recurrent_activation=activation_in(config.options, "recurrent_activation", "sigmoid"),
            unit_forget_bias=bool(config.options.get("unit_forget_bias", True)),
        )
        return cls(
            keras_class=config.class_name,
            index=config.names.index("recurrent"),
            features=config.features,
            cell=cell,
            return_sequences=bool(config.options.get("return_sequences", False)),
            reverse=bool(config.options.get("go_backwards", False)),
            **windows,
            **config.shared,
        )

    @property
    def label(self) -> str:
        return f"{self.type}({self.cell.units})"

    @property
    def weights(self) -> tuple[Weight, ...]:
        sizes = tuple(Dim.of(window.size) for window in self.windows)
        filters, gates = self.cell.units, self.cell.gate_names
        kernel = Weight("Wx", "kernel", (*sizes, self.features, filters * 4), gates)
        recurrent = Weight("Wh", "recurrent_kernel", (*sizes, filters, filters * 4), gates)
        bias = Weight("bh", "bias", (filters * 4,), gates)
        return (kernel, recurrent, bias) if self.cell.use_bias else (kernel, recurrent)

    @property
    def cells(self) -> tuple[Cell, ...]:
        return (self.cell,)

    @property
    def notes(self) -> tuple[str, ...]:
        return self.cell.notes

    @property
    def activations(self) -> tuple[str, ...]:
        return self.cell.activations

    @property
    def equation_lines(self) -> int:
        return 8

    def with_inputs(self, shapes: Sequence[Shape], new_steps: Callable[[], Dim]) -> Layer:
        return super().with_inputs([(shape[0], *shape[2:]) for shape in shapes], new_steps)

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        recurrent = (Window(window.size, 1, "same", window.steps) for window in self.windows)
        cell = replace(self.cell, windows=tuple(recurrent))

        def project(x: Tensor) -> Tensor:
            return ops.contract(_CONVOLUTIONS[self.axes], ops.windows(x, self.windows), w.Wx)

        def step(z: Tensor, states: Sequence[Tensor]) -> Sequence[Tensor]:
            before = dict(zip(cell.state_names, states, strict=True))
            return tuple(cell.step(ops, z, before, w).states.values())

        z = ops.each_step(project, inputs[:1], self.axes + 2)  # (N, T, R, D) → (N, T, R', 4F)
        h = ops.scan(step, z, 4, cell.state_names, reverse=self.reverse)  # (N, T, R', F)
        if not self.return_sequences:
            return ops.rearrange(h, Selection((WHOLE, 0 if self.reverse else -1), (None, None)))
        backwards = Selection((WHOLE, slice(None, None, -1)), (None, None))
        return ops.rearrange(h, backwards) if self.reverse else h

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {
            **self.window_arguments("kernel_size"),
            "filters": size_of(self.cell.units),
            "dilation_rate": tuple(window.dilation for window in self.windows),
            "activation": self.cell.activation,
            "recurrent_activation": self.cell.recurrent_activation,
            "use_bias": self.cell.use_bias,
            "return_sequences": self.return_sequences,
            "go_backwards": self.reverse,
        }
