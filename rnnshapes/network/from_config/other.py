"""How layers around a recurrence are read."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from rnnshapes.network.from_config.base import LayerConfig, Reader, is_keras
from rnnshapes.network.layers.base import Layer, UnsupportedError
from rnnshapes.network.layers.normalization import (
    Activation,
    BatchNormalization,
    Embedding,
    Inactive,
    LayerNormalization,
    Masking,
    TimeDistributed,
)
from rnnshapes.network.layers.reshaping import (
    Concatenate,
    Conv1D,
    GlobalPooling1D,
    Merge,
    Pooling1D,
    RepeatVector,
    Reshape,
)
from rnnshapes.ops.dims import Dim, product
from rnnshapes.ops.windows import Window


def _time_distributed(entry: LayerConfig) -> Layer:
    part = entry.config["layer"]
    n, _, *rest = entry.shapes[0]
    name = str(part["config"].get("name", part["class_name"].lower()))
    if not is_keras(part):
        raise UnsupportedError(f"the layer in it is of a type {part['class_name']} of your own")
    inner = entry.reader(str(part["class_name"]))(
        LayerConfig(
            *(name, part["class_name"], part["config"], [(n, *rest)], None, entry.trainable),
            *(entry.dtype, entry.names, entry.reader, entry.masked),
        )
    )
    if not inner.stepwise or len(entry.shapes[0]) != 3:
        raise UnsupportedError(f"the layer in it is of type {inner.type}")
    return TimeDistributed(index=inner.index, inner=inner, **entry.shared)


def _activation(entry: LayerConfig) -> Layer:
    names = {"ReLU": "relu", "Softmax": "softmax"}
    if entry.class_name == "Activation":
        return Activation(activation=entry.activation(), keras_name="Activation", **entry.shared)
    entry.plain(max_value=None, negative_slope=0.0, threshold=0.0, axis=-1)
    if entry.masked and entry.class_name == "Softmax":
        raise UnsupportedError("it is given a mask")
    return Activation(
        activation=names[entry.class_name], keras_name=entry.class_name, **entry.shared
    )


def _inactive(entry: LayerConfig) -> Layer:
    rate = entry.config.get("rate", entry.config.get("stddev"))
    rate = float(rate) if isinstance(rate, int | float) else None
    return Inactive(keras_name=entry.class_name, rate=rate, **entry.shared)


def _normalization(entry: LayerConfig) -> Layer:
    entry.plain(renorm=False, rms_scaling=False, mode=0)
    axis = entry.config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list | tuple) and len(axis) == 1 else axis
    if axis not in (-1, len(entry.shapes[0]) - 1):
        raise UnsupportedError(f"axis={axis} is not supported, only the last one")
    kind = {"BatchNormalization": BatchNormalization}.get(entry.class_name, LayerNormalization)
    return kind(
        index=entry.names.index("normalization"),
        features=entry.features,
        epsilon=float(entry.config.get("epsilon", 1e-3)),
        center=bool(entry.config.get("center", True)),
        scale=bool(entry.config.get("scale", True)),
        **entry.shared,
    )


def _embedding(entry: LayerConfig) -> Layer:
    if len(entry.shapes[0]) != 2 or entry.steps is None:
        raise UnsupportedError("its input is not one of whole numbers (N, T)")
    return Embedding(
        index=entry.names.index("embedding"),
        words=entry.names.size("V", entry.one("input_dim")),
        features=entry.names.size("E", entry.one("output_dim")),
        mask_zero=bool(entry.config.get("mask_zero", False)),
        **entry.shared,
    )


def _masking(entry: LayerConfig) -> Layer:
    value = entry.config.get("mask_value", 0.0)
    if not isinstance(value, int | float):
        raise UnsupportedError(f"mask_value={value!r} is not a number")
    value = float(value)
    if entry.dtype != "float64":  # what Keras compares with
        value = struct.unpack("f", struct.pack("f", value))[0]
    return Masking(value=float(value), **entry.shared)


def _flatten(entry: LayerConfig) -> Layer:
    entry.plain(data_format="channels_last")
    shape = (product(entry.shapes[0][1:]),)
    return Reshape(keras_name="Flatten", shape=shape, numbers=(-1,), **entry.shared)


def _reshape(entry: LayerConfig) -> Layer:
    numbers = tuple(int(-1 if n is None else n) for n in entry.config["target_shape"])
    if any(n < 1 for n in numbers if n != -1) or numbers.count(-1) > 1:
        raise UnsupportedError(f"target_shape={numbers!r:.40} is no shape")
    known, whole = product(Dim.of(n) for n in numbers if n > 0), product(entry.shapes[0][1:])
    left = Dim.of(1)
    if -1 in numbers:
        size, divisor = whole.value(entry.names.sizes), known.value({})
        try:
            left = whole.divided(divisor or 1)
        except ValueError:
            if size is None:
                raise UnsupportedError(f"{whole} / {divisor} is open") from None
            left = Dim.of(size // (divisor or 1))
    shape = tuple(left if n < 0 else Dim.of(n) for n in numbers)
    return Reshape(keras_name="Reshape", shape=shape, numbers=numbers, **entry.shared)


def _repeat(entry: LayerConfig) -> Layer:
    number = entry.one("n")
    return RepeatVector(times=entry.names.size("R", number), number=number, **entry.shared)


def _window(entry: LayerConfig, size: int, stride: int, fill: float = 0.0) -> dict[str, Any]:
    entry.plain(data_format="channels_last")
    if entry.steps is None or len(entry.shapes[0]) != 3:
        raise UnsupportedError("its input is not a sequence (N, T, features)")
    mode = str(entry.config.get("padding", "valid"))
    if mode not in ("valid", "same", "causal"):
        raise UnsupportedError(f"padding={mode!r:.40} is not supported")
    same = stride == 1 and (mode != "valid" or size == 1)
    steps = entry.shapes[0][1] if same else entry.names.primed()
    dilation = entry.one("dilation_rate", 1)
    return {
        "window": Window(size, stride, mode, steps, dilation, fill),
        "time": entry.shapes[0][1],
    }


def _conv(entry: LayerConfig) -> Layer:
    entry.plain(groups=1)
    return Conv1D(
        index=entry.names.index("conv"),
        features=entry.features,
        filters=entry.names.size("F", entry.one("filters")),
        activation=entry.activation(),
        use_bias=bool(entry.config.get("use_bias", True)),
        **_window(entry, entry.one("kernel_size"), entry.one("strides", 1)),
        **entry.shared,
    )


def _pooling(entry: LayerConfig) -> Layer:
    size = entry.one("pool_size", 2)
    strides = entry.config.get("strides")
    stride = size if strides is None else entry.one("strides")
    fill = float("-inf") if entry.class_name == "MaxPooling1D" else 0.0
    return Pooling1D(
        keras_name=entry.class_name, **_window(entry, size, stride, fill), **entry.shared
    )


def _global_pooling(entry: LayerConfig) -> Layer:
    entry.plain(data_format="channels_last", keepdims=False)
    return GlobalPooling1D(keras_name=entry.class_name, **entry.shared)


def _merge(entry: LayerConfig) -> Layer:
    if entry.masked and entry.class_name == "Multiply":
        raise UnsupportedError("it is given a mask, which changes what it does")
    return Merge(keras_name=entry.class_name, **entry.shared)


def _concatenate(entry: LayerConfig) -> Layer:
    axis = entry.config.get("axis", -1)
    if axis not in (-1, len(entry.shapes[0]) - 1):
        raise UnsupportedError(f"axis={axis} is not supported, only the last one")
    return Concatenate(**entry.shared)


READERS: Mapping[str, Reader] = {
    "TimeDistributed": _time_distributed,
    **dict.fromkeys(("Activation", "ReLU", "Softmax"), _activation),
    **dict.fromkeys(
        (
            *("Dropout", "SpatialDropout1D", "GaussianDropout", "GaussianNoise"),
            *("AlphaDropout", "ActivityRegularization", "Identity"),
        ),
        _inactive,
    ),
    **dict.fromkeys(("BatchNormalization", "LayerNormalization"), _normalization),
    "Embedding": _embedding,
    "Masking": _masking,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "RepeatVector": _repeat,
    "Conv1D": _conv,
    **dict.fromkeys(("MaxPooling1D", "AveragePooling1D"), _pooling),
    **dict.fromkeys(("GlobalMaxPooling1D", "GlobalAveragePooling1D"), _global_pooling),
    **dict.fromkeys(("Add", "Multiply", "Average"), _merge),
    "Concatenate": _concatenate,
}
