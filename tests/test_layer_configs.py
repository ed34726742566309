"""Layers by their config alone: which inputs and options are supported, and which Keras refuses."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from keras import layers as la
from keras.src.ops import nn, numpy

from rnnshapes.network.assemble import LayerCall
from rnnshapes.network.graph import Tap
from rnnshapes.network.layers import registry
from rnnshapes.network.layers.base import Layer
from rnnshapes.network.layers.config import OPERATION, Source
from rnnshapes.network.layers.registry import supported_classes
from rnnshapes.ops.constant import MOST_NUMBERS
from tests.helpers.layer_calls import called_on, is_refused, is_supported, last_layer, shape_after


@pytest.mark.parametrize(
    ("shapes", "axis", "supported"),
    [
        (((6, 3, 3, 2), (6, 4, 4, 2)), 2, False),
        (((6, 3, 3, 2), (6, 4, 3, 2)), 2, True),
        (((3, 3), (3, 4)), -1, True),
        (((3, 3), (4, 3)), 1, True),
    ],
)
def test_joined_tensors_differ_along_one_axis(shapes: Any, axis: int, supported: bool) -> None:
    arguments = (tuple(map(Source, range(len(shapes)))),)
    layer = called_on("keras.ops.Concatenate", {"axis": axis}, *shapes, arguments=arguments)
    assert is_supported(layer) == supported


@pytest.mark.parametrize("kind", ["Add", "Multiply", "Maximum", "Minimum"])
def test_products_of_masked_images_are_unsupported(kind: str) -> None:
    repeated = {"class_name": "RepeatVector", "config": {"name": "repeated", "n": 5}}
    calls = [
        LayerCall("x", "InputLayer", {"batch_shape": (None, 6, 4)}),
        LayerCall("masking", "Masking", {}, (Tap(0),)),
    ]
    for source, masked in ((0, False), (1, True)):
        images = LayerCall("images", "TimeDistributed", {"layer": repeated}, (Tap(source),))
        merged = LayerCall("merged", kind, {}, (Tap(2), Tap(2)))
        supported = is_supported(last_layer(*calls, images, merged))
        assert supported == (kind == "Add" or not masked)


@pytest.mark.parametrize("kind", ["Conv1D", "DepthwiseConv1D", "ConvLSTM1D"])
def test_convolution_has_strides_or_dilation(kind: str) -> None:
    shape = (6, 9, 4) if kind == "ConvLSTM1D" else (9, 4)
    sizes = {"kernel_size": 3, **({} if kind.startswith("Depthwise") else {"filters": 2})}
    for options in ({"strides": 2}, {"dilation_rate": 2}):
        assert is_supported(called_on(kind, {**sizes, **options}, shape))
    both = called_on(kind, {**sizes, "strides": 2, "dilation_rate": 2}, shape)
    assert is_refused(both) != kind.startswith("Depthwise")


@pytest.mark.parametrize(
    ("steps", "output", "supported"),
    [(10, 10, True), (10, None, True), (None, None, True), (10, 7, False), (None, 7, False)],
)
def test_output_shape_must_fit_the_input(steps: Any, output: Any, *, supported: bool) -> None:
    options = {"equation": "abc,cd->abd", "output_shape": [output, 3]}
    layer = called_on("EinsumDense", options, (steps, 4))
    assert is_supported(layer) == supported
    assert is_refused(layer) == (not supported and steps is not None)


@pytest.mark.parametrize(
    ("shape", "target", "symbols"),
    [
        ((6, 4), (24,), "N, T·D"),
        ((6, 4), (-1, 4), "N, T, D"),
        ((6, 4), (6, 1, 4), "N, T, 1, D"),
        ((6, 4), (6, 4, 1), "N, T, D, 1"),
        ((6, 8, 4), (6, -1), "N, T, 8D"),
        ((6, 8, 4), (48, 4), "N, 8T, D"),
        ((6, 4), (12, 2), "N, 12, 2"),
        ((6, 4), (2, 12), "N, 2, 12"),
    ],
)
def test_reshaped_axes_keep_their_names(shape: Any, target: Any, symbols: str) -> None:
    assert shape_after("Reshape", {"target_shape": target}, shape) == symbols


def test_impossible_target_shape_is_refused() -> None:
    for shape, refused in (((6, 4), True), ((None, 4), False), ((23,), False), ((1, 23), False)):
        assert is_refused(called_on("Reshape", {"target_shape": [23]}, shape)) is refused


#: Arguments of the layers of Keras that have no default.
REQUIRED = {
    **dict.fromkeys(("kernel_size", "pool_size", "num_heads", "axes"), 2),
    **dict.fromkeys(("units", "key_dim", "scale"), 3),
    **dict.fromkeys(("filters", "n"), 5),
    **dict.fromkeys(("rate", "stddev"), 0.5),
    "activation": "relu",
    "equation": "abc,cd->abd",
    "output_shape": (None, 3),
    "target_shape": (8, 3),
    "dims": (2, 1),
    "layer": {"class_name": "LSTM", "config": {"name": "inner", "units": 3}},
    "cell": {"class_name": "GRUCell", "config": {"name": "inner", "units": 3}},
}
#: One of these shapes suits each layer.
SHAPES = (
    *([(6, 4)], [(4,)], [(6, 8, 4)], [(6, 8, 7, 4)], [(6, 8, 7, 5, 4)], [(6, 64)]),
    [(6, 4), (6, 4)],
)
LAYERS = set(supported_classes()) - {"InputLayer", "Embedding"}


@pytest.mark.parametrize("kind", sorted(name for name in LAYERS if not name.startswith(OPERATION)))
def test_omitted_options_have_the_defaults_of_keras(kind: str) -> None:
    parameters = inspect.signature(getattr(la, kind).__init__).parameters.values()
    options = {
        p.name: REQUIRED[p.name] for p in parameters if p.default is p.empty and p.name in REQUIRED
    }
    inner = {name: keras_layer(REQUIRED[name]) for name in ("layer", "cell") if name in options}
    written = getattr(la, kind)(**{**options, **inner}).get_config()
    shapes = next(s for s in SHAPES if is_supported(called_on(kind, options, *s)))
    shortest, whole = (called_on(kind, config, *shapes) for config in (options, written))
    assert effective(shortest) == effective(whole)


def keras_layer(part: dict[str, Any]) -> Any:
    return getattr(la, part["class_name"])(**part["config"])


def effective(layer: Layer) -> dict[str, Any]:
    """Return what a layer computes, without the options from which it follows."""
    return {name: value for name, value in vars(layer).items() if name != "options"}


REDUCTIONS = ("Sum", "Mean", "Max", "Min", "Amax", "Amin", "Var", "Std")
ACTIVATIONS = (
    *("Elu", "Celu", "Gelu", "LeakyRelu", "Squareplus", "HardShrink", "SoftShrink"),
    *("Softmax", "LogSoftmax"),
)


@pytest.mark.parametrize("kind", [*REDUCTIONS, *ACTIVATIONS])
def test_omitted_options_of_operations_have_defaults(kind: str) -> None:
    options = {"axis": 1} if kind in REDUCTIONS else {}
    made = next(vars(module)[kind] for module in (nn, numpy) if kind in vars(module))
    parameters = inspect.signature(made.__init__).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    defaults = {name: value for name, value in defaults.items() if name not in ("name", "dtype")}
    shortest, whole = (
        called_on(OPERATION + kind, config, (6, 4), arguments=(Source(0),))
        for config in (options, {**defaults, **options})
    )
    assert is_supported(shortest)
    assert effective(shortest) == effective(whole)


# --- What is supported, and what Keras refuses ----------------------------------------------------

S, L, F, IMAGES, V = (6, 4), (7, 4), (4,), (6, 8, 4), (6, 8, 7, 4)
MANY, BACK = [1.0] * (MOST_NUMBERS + 1), {"go_backwards": True}
HEADS, KERNEL = {"num_heads": 2, "key_dim": 5}, {"filters": 2, "kernel_size": 3}


def inner(kind: str, **options: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": "inner", "units": 3, **options}}


def stack(count: int) -> dict[str, Any]:
    cells = {"cells": [inner("GRUCell")] * count}
    return {"cell": {"class_name": "StackedRNNCells", "config": cells}}


#: Of each class: whether it is supported, options, shapes of its inputs without samples.
CASES: dict[str, list[tuple[Any, ...]]] = {
    "Softmax": [
        ("supported", {"axis": 1}, S),
        ("unsupported", {"axis": 0}, S),
        ("unsupported", {"axis": [1, 2]}, S),
    ],
    "PReLU": [
        ("supported", {"shared_axes": [1]}, S),
        ("supported", {"shared_axes": [2]}, S),
        ("unsupported", {"shared_axes": [0]}, S),
        ("unsupported", {"shared_axes": [3]}, S),
        ("supported", {}, F),
        ("supported", {}, (None, 4)),
        ("supported", {}, S),
        ("unsupported", {"shared_axes": ["1"]}, S),
    ],
    "ReLU": [
        ("supported", {"max_value": 6.0, "threshold": 1.0}, S),
        ("unsupported", {"negative_slope": -1.0}, S),
        ("refused", {"max_value": "6"}, S),
    ],
    "LeakyReLU": [
        ("unsupported", {"negative_slope": 2.0**127}, S),
        ("supported", {"alpha": 0.2}, S),
    ],
    "Attention": [
        ("unsupported", {}, S),
        ("supported", {}, S, S),
        ("supported", {}, S, S, S),
        ("unsupported", {}, S, S, S, S),
        ("supported", {}, S, (7, 4)),
        ("unsupported", {}, S, (7, 5)),
        ("supported", {}, S, (7, 5), (7, 4)),
        ("unsupported", {}, S, (7, 5), (8, 4)),
        ("unsupported", {}, F, F),
        ("refused", {"score_mode": "own"}, S, S),
        ("supported", {"score_mode": "concat"}, S, S),
        ("unsupported", {}, S, (None, 4), (None, 4)),
        ("unsupported", {}, (6, None), (6, None)),
    ],
    "MultiHeadAttention": [
        ("supported", HEADS, S, S),
        ("unsupported", {**HEADS, "sliding_window": 3}, S, S),
        ("supported", {**HEADS, "attention_axes": [1]}, S, S),
        ("unsupported", {**HEADS, "attention_axes": [2]}, S, S),
        ("supported", {**HEADS, "output_shape": [3]}, S, S),
        ("supported", {**HEADS, "output_shape": 3}, S, S),
        ("unsupported", {**HEADS, "output_shape": [3, 2]}, S, S),
        ("refused", {**HEADS, "output_shape": 0}, S, S),
        ("refused", {**HEADS, "num_heads": 0}, S, S),
        ("refused", {"num_heads": 2}, S, S),
        ("refused", {**HEADS, "value_dim": 0}, S, S),
        ("unsupported", {**HEADS, "dropout": -0.1}, S, S),
        ("supported", {**HEADS, "num_heads": 1, "key_dim": 6}, S, S),
        ("unsupported", {**HEADS, "num_heads": 6, "key_dim": 1}, S, S),
        ("supported", {**HEADS, "num_heads": 6, "key_dim": 1, "use_bias": False}, S, S),
        # one number for each head and as many heads as steps: of queries, keys, values, gates
        *(
            (each, {"num_heads": heads, "key_dim": key, "value_dim": value, "use_gate": gate}, S, L)
            for each, heads, key, value, gate in (
                ("unsupported", 6, 1, 2, False),
                ("unsupported", 7, 1, 2, False),
                ("unsupported", 7, 2, 1, False),
                ("supported", 6, 2, 1, False),
                ("unsupported", 6, 2, 1, True),
                ("supported", 5, 1, 1, True),
            )
        ),
        ("unsupported", HEADS, S),
        ("unsupported", HEADS, IMAGES, IMAGES),
    ],
    "Conv1D": [
        ("supported", KERNEL, S),
        ("unsupported", {**KERNEL, "kernel_size": 7}, S),
        ("supported", {**KERNEL, "kernel_size": 7, "padding": "same"}, S),
        ("refused", {**KERNEL, "padding": "own"}, S),
        ("unsupported", {**KERNEL, "groups": 2}, S),
        ("unsupported", {**KERNEL, "data_format": "channels_first"}, S),
        ("unsupported", KERNEL, F),
        ("unsupported", KERNEL, IMAGES),
        ("refused", {**KERNEL, "activation": "own"}, S),
        ("unsupported", {**KERNEL, "activation": "glu"}, S),
        ("refused", {**KERNEL, "filters": 2.0}, S),
        ("refused", {"kernel_size": 3}, S),
    ],
    "Conv2D": [
        ("refused", {**KERNEL, "kernel_size": [3]}, IMAGES),
        ("refused", {**KERNEL, "padding": "causal"}, IMAGES),
        ("supported", {**KERNEL, "kernel_size": [3, 2]}, IMAGES),
        ("refused", {**KERNEL, "kernel_size": [3, 2, 1]}, IMAGES),
        ("unsupported", KERNEL, S),
    ],
    "SeparableConv1D": [
        ("refused", {**KERNEL, "strides": 0}, S),
    ],
    "DepthwiseConv1D": [
        ("refused", {"kernel_size": 3, "depth_multiplier": 0}, S),
    ],
    "Conv1DTranspose": [
        ("supported", KERNEL, S),
        ("refused", {**KERNEL, "padding": "causal"}, S),
        ("unsupported", {**KERNEL, "output_padding": 1}, S),
        ("unsupported", {**KERNEL, "dilation_rate": 2}, S),
        ("supported", {**KERNEL, "dilation_rate": [1]}, S),
        ("supported", {**KERNEL, "kernel_size": [3], "strides": [2]}, S),
        ("refused", {**KERNEL, "strides": [2, 1]}, S),
        ("unsupported", KERNEL, IMAGES),
    ],
    "ConvLSTM1D": [
        ("supported", KERNEL, IMAGES),
        ("unsupported", {**KERNEL, "return_state": True}, IMAGES),
        ("unsupported", {**KERNEL, "stateful": True}, IMAGES),
        ("unsupported", KERNEL, V),
        ("unsupported", KERNEL, S),
    ],
    "ConvLSTM2D": [
        ("supported", KERNEL, V),
    ],
    "EinsumDense": [
        ("supported", {"equation": "abc,cd->abd", "output_shape": [None, 5]}, S),
        ("refused", {"equation": "abc,cd->abd", "output_shape": [6]}, S),
        ("unsupported", {"equation": "abc,cd", "output_shape": [6]}, S),
        ("unsupported", {"equation": "abc,cc->abc", "output_shape": [None, 4]}, S),
        ("unsupported", {"equation": "...c,cd->...d", "output_shape": 5}, S),
        ("unsupported", {"equation": "abc,cd->bad", "output_shape": [None, 5]}, S),
        (
            "unsupported",
            {"equation": "abc,cd->abd", "output_shape": [None, 5], "bias_axes": "x"},
            S,
        ),
        (
            "unsupported",
            {"equation": "abc,cd->abd", "output_shape": [None, 5], "bias_axes": "ad"},
            S,
        ),
        ("supported", {"equation": "abc,cd->abd", "output_shape": [None, 5], "bias_axes": "bd"}, S),
        ("supported", {"equation": "ab,bd->ad", "output_shape": 5}, F),
        ("unsupported", {"equation": "ab,bd->ad", "output_shape": 5}, S),
        (
            "unsupported",
            {"equation": "abc,cde->abde", "output_shape": [None, 6, 2], "bias_axes": "d"},
            S,
        ),
        ("supported", {"equation": "abc,bcd->ad", "output_shape": [5]}, S),
        ("supported", {"equation": "abc,bcd->ad", "output_shape": [5]}, (None, 4)),
    ],
    "Masking": [
        ("refused", {"mask_value": "0"}, S),
        ("supported", {"mask_value": True}, S),
        ("unsupported", {}, F),
        ("supported", {}, IMAGES),
    ],
    "Subtract": [
        ("supported", {}, S, S),
        ("refused", {}, S, S, S),
    ],
    "Add": [
        ("supported", {}, S, S, S),
        ("supported", {}, S, (6, 1)),
        ("supported", {}, S, F),
    ],
    "Concatenate": [
        ("unsupported", {"axis": 0}, S, S),
        ("supported", {"axis": 1}, S, (7, 4)),
        ("unsupported", {"axis": 1}, S, (7, 5)),
        ("unsupported", {"axis": 3}, S, S),
        ("supported", {"axis": 1}, S, (None, 4)),
        ("supported", {"axis": 2}, S, (None, 4)),
    ],
    "Dot": [
        ("supported", {"axes": 2}, S, S),
        ("supported", {"axes": [2, 1]}, S, (4, 3)),
        ("unsupported", {"axes": [2, 1]}, S, S),
        ("unsupported", {"axes": 0}, S, S),
        ("unsupported", {"axes": 3}, S, S),
        ("refused", {"axes": [1]}, S, S),
        ("supported", {"axes": -1}, S, S),
        ("refused", {"axes": [1, 2, 1]}, S, S),
        ("supported", {"axes": 1}, F, F),
        ("unsupported", {"axes": 1}, S, S, S),
        ("unsupported", {"axes": 1}, V, V),
        ("supported", {"axes": 1}, IMAGES, IMAGES),
        ("unsupported", {"axes": 1}, S, F),
        ("unsupported", {"axes": "1"}, S, S),
        ("refused", {"axes": True}, S, S),
    ],
    "LayerNormalization": [
        ("supported", {"axis": [2]}, S),
        ("unsupported", {"axis": 1}, S),
        ("unsupported", {"axis": [1, 2]}, S),
        ("unsupported", {"rms_scaling": True}, S),
    ],
    "BatchNormalization": [
        ("supported", {"axis": 2}, S),
        ("unsupported", {"renorm": True}, S),
        ("unsupported", {"mode": 2}, S),
    ],
    "GroupNormalization": [
        ("supported", {"groups": 2}, S),
        ("refused", {"groups": 3}, S),
        ("supported", {"groups": -1}, S),
        ("unsupported", {"groups": 2}, IMAGES),
        ("supported", {"groups": 2}, F),
        ("refused", {"groups": 0}, S),
        ("refused", {}, S),
    ],
    "UnitNormalization": [
        ("unsupported", {"axis": 1}, S),
    ],
    "RMSNormalization": [
        ("unsupported", {"axis": 1}, S),
        ("unsupported", {"epsilon": -1.0}, S),
    ],
    "MaxPooling1D": [
        ("supported", {"pool_size": 2}, S),
        ("unsupported", {"pool_size": 7}, S),
        ("refused", {"pool_size": 2, "padding": "causal"}, S),
        ("unsupported", {"pool_size": 2, "data_format": "channels_first"}, S),
    ],
    "AveragePooling2D": [
        ("supported", {"pool_size": 2}, IMAGES),
        ("unsupported", {"pool_size": 2}, S),
    ],
    "GlobalMaxPooling1D": [
        ("supported", {"data_format": "channels_first"}, S),
        ("unsupported", {"data_format": "own"}, S),
    ],
    "GlobalMaxPooling2D": [
        ("unsupported", {}, S),
        ("supported", {}, IMAGES),
    ],
    "GlobalMaxPooling3D": [
        ("supported", {}, V),
    ],
    "Rescaling": [
        ("supported", {"scale": 2}, S),
        ("unsupported", {"scale": "2"}, S),
        ("unsupported", {"scale": [2.0]}, S),
        ("unsupported", {"scale": 2.0**126}, S),
        ("supported", {"scale": -(2.0**125), "offset": -1}, S),
        ("unsupported", {"scale": 1.0, "offset": True}, S),
        ("refused", {}, S),
    ],
    "Normalization": [
        ("supported", {}, S),
        ("supported", {"axis": None}, S),
        ("supported", {"axis": [1, 2]}, S),
        ("unsupported", {"axis": 0}, S),
        ("unsupported", {"axis": -3}, S),
        ("refused", {"axis": 3}, S),
        ("refused", {"axis": "1"}, S),
        ("supported", {"mean": 1.0, "variance": 2.0}, S),
        ("refused", {"mean": 1.0}, S),
        ("supported", {"mean": [1.0, 1.0, 1.0, 1.0], "variance": [2.0, 2.0, 2.0, 2.0]}, S),
        ("refused", {"mean": [1.0, 1.0, 1.0], "variance": [2.0, 2.0, 2.0]}, S),
        ("supported", {"mean": [1.0], "variance": [2.0]}, S),
        ("refused", {"mean": [1.0, 1.0, 1.0, 1.0], "variance": [2.0]}, S),
        (
            "unsupported",
            {
                "mean": [[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]],
                "variance": [[2.0, 2.0, 2.0, 2.0], [2.0, 2.0, 2.0, 2.0]],
            },
            S,
        ),
        (
            "supported",
            {
                "axis": [1, 2],
                "mean": [[1.0], [1.0], [1.0], [1.0], [1.0], [1.0]],
                "variance": [[2.0], [2.0], [2.0], [2.0], [2.0], [2.0]],
            },
            S,
        ),
        ("unsupported", {"axis": 1, "mean": [1.0], "variance": [2.0]}, (None, 4)),
        ("supported", {"mean": 1.0, "variance": 2.0}, (2, MOST_NUMBERS)),
        ("unsupported", {"mean": 1.0, "variance": 2.0}, (2, MOST_NUMBERS + 1)),
        ("unsupported", {"mean": MANY, "variance": MANY}, (2, len(MANY))),
        ("refused", {"mean": "x", "variance": "y"}, S),
    ],
    "Flatten": [
        ("unsupported", {"data_format": "channels_first"}, S),
    ],
    "Permute": [
        ("supported", {"dims": [2, 1]}, S),
        ("refused", {"dims": [1, 1]}, S),
        ("refused", {"dims": [0, 1]}, S),
        ("unsupported", {"dims": [3, 1, 2]}, S),
        ("refused", {"dims": ["1", "2"]}, S),
        ("supported", {"dims": [1]}, F),
    ],
    "ZeroPadding1D": [
        ("supported", {"padding": 2}, S),
        ("supported", {"padding": [1, 2]}, S),
        ("refused", {"padding": [1, 2, 3]}, S),
        ("refused", {"padding": -1}, S),
        ("refused", {"padding": True}, S),
        ("refused", {"padding": 2.0}, S),
        ("refused", {"padding": 2147483648}, S),
    ],
    "ZeroPadding2D": [
        ("supported", {"padding": [[1, 2], [0, 1]]}, IMAGES),
        ("supported", {"padding": [1, 2]}, IMAGES),
        ("refused", {"padding": [1, 2, 3]}, IMAGES),
        ("unsupported", {"padding": 1, "data_format": "channels_first"}, IMAGES),
        ("unsupported", {"padding": 1}, S),
    ],
    "Cropping1D": [
        ("supported", {"cropping": [3, 2]}, S),
        ("refused", {"cropping": [3, 3]}, S),
        ("supported", {"cropping": [3, 3]}, (None, 4)),
    ],
    "UpSampling1D": [
        ("supported", {"size": 2}, S),
        ("refused", {"size": 0}, S),
    ],
    "UpSampling2D": [
        ("supported", {"size": [2, 3]}, IMAGES),
        ("unsupported", {"size": 2, "interpolation": "bilinear"}, IMAGES),
        ("refused", {"size": [2, 3, 4]}, IMAGES),
    ],
    "RepeatVector": [
        ("supported", {"n": 3}, F),
        ("refused", {"n": 0}, F),
        ("supported", {"n": 3}, S),
    ],
    "Reshape": [
        ("supported", {"target_shape": [24]}, S),
        ("refused", {"target_shape": [23]}, S),
        ("refused", {"target_shape": [-1, -1]}, S),
        ("refused", {"target_shape": [0, 24]}, S),
        ("refused", {"target_shape": [-2, 12]}, S),
        ("refused", {"target_shape": [5, -1]}, S),
        ("supported", {"target_shape": [None, 2]}, S),
        ("refused", {"target_shape": [-1, 3]}, (None, 4)),
        ("refused", {"target_shape": [-1, 8]}, (None, 4)),
        ("unsupported", {"target_shape": [1, 1, 1, 1, 1, 1, 1, 1, 1]}, S),
        ("supported", {"target_shape": [1, 1, 1, 1, 1, 1, 6, 4]}, S),
        ("refused", {"target_shape": 24}, S),
    ],
    "LSTM": [
        ("supported", {"units": 3}, S),
        ("unsupported", {"units": 3}, F),
        ("unsupported", {"units": 3}, IMAGES),
        ("unsupported", {"units": 3, "time_major": True}, S),
        ("refused", {"units": 0}, S),
        ("refused", {}, S),
        ("refused", {"units": 3, "activation": "own"}, S),
        ("unsupported", {"units": 3, "recurrent_activation": {"a": 1}}, S),
    ],
    "Bidirectional": [
        ("supported", {"layer": inner("LSTM")}, S),
        ("refused", {"layer": inner("LSTM"), "merge_mode": "own"}, S),
        ("supported", {"layer": inner("LSTM"), "merge_mode": None}, S),
        ("unsupported", {"layer": inner("Dense")}, S),
        ("unsupported", {"layer": inner("LSTM", time_major=True)}, S),
        ("unsupported", {"layer": inner("LSTM"), "time_major": True}, S),
        ("unsupported", {"layer": {**inner("LSTM"), "module": "own"}}, S),
        (
            "supported",
            {"layer": inner("LSTM"), "backward_layer": inner("GRU", go_backwards=True)},
            S,
        ),
        ("refused", {}, S),
        ("supported", {"layer": inner("LSTM", **BACK)}, S),
        ("supported", {"layer": inner("LSTM", **BACK), "backward_layer": inner("LSTM")}, S),
        ("refused", {"layer": inner("LSTM"), "backward_layer": inner("LSTM")}, S),
        *(
            ("refused", {"layer": inner("LSTM"), "backward_layer": inner("LSTM", **BACK, **one)}, S)
            for one in ({"return_sequences": True}, {"return_state": True}, {"stateful": True})
        ),
        *(
            (expected, {"layer": one, "backward_layer": other, "merge_mode": mode}, S)
            for mode, expected in (
                *(("concat", "supported"), (None, "supported"), ("sum", "unsupported")),
                *(("mul", "unsupported"), ("ave", "unsupported")),
            )
            for one, other in (
                (inner("LSTM"), inner("GRU", **{**BACK, "units": 4})),
                (inner("RNN", **stack(2)), inner("RNN", **stack(3), **BACK)),
            )
        ),
    ],
    "RNN": [
        ("supported", {"cell": inner("LSTMCell")}, S),
        ("unsupported", {"cell": inner("Own")}, S),
        ("unsupported", {"cell": {**inner("LSTMCell"), "registered_name": "a>b"}}, S),
        ("supported", stack(2), S),
        ("unsupported", stack(100), S),
        ("unsupported", {"cell": {**stack(2)["cell"], "module": None}}, S),
    ],
    "TimeDistributed": [
        ("supported", {"layer": inner("Dense")}, S),
        ("unsupported", {"layer": inner("Dense")}, F),
        ("unsupported", {"layer": inner("Dense")}, S, S),
        ("supported", {"layer": inner("LSTM")}, IMAGES),
        ("unsupported", {"layer": inner("LSTM")}, S),
        ("unsupported", {"layer": inner("LSTM", stateful=True)}, IMAGES),
        ("unsupported", {"layer": inner("LSTM", return_state=True)}, IMAGES),
        ("unsupported", {"layer": {**inner("Dense"), "module": "own"}}, S),
        (
            "unsupported",
            {
                "layer": {
                    "class_name": "Bidirectional",
                    "config": {"name": "b", "layer": inner("GRU"), "merge_mode": None},
                }
            },
            IMAGES,
        ),
        (
            "unsupported",
            {
                "layer": {
                    "class_name": "RNN",
                    "config": {
                        "name": "r",
                        "cell": {
                            "class_name": "StackedRNNCells",
                            "config": {"cells": [inner("GRUCell"), inner("GRUCell")]},
                        },
                    },
                }
            },
            IMAGES,
        ),
        ("supported", {"layer": inner("TimeDistributed", layer=inner("Dense"))}, IMAGES),
        ("unsupported", {"layer": inner("Add")}, IMAGES),
        ("unsupported", {"layer": inner("Attention")}, IMAGES),
        ("unsupported", {"layer": inner("InputLayer", batch_shape=(None, 8, 4))}, IMAGES),
        ("unsupported", {"layer": inner("Masking")}, IMAGES),
        (
            "supported",
            {"layer": inner("Embedding", input_dim=9, output_dim=3, mask_zero=True)},
            S,
        ),
    ],
    "Dense": [
        ("supported", {"units": 2}, S),
        ("supported", {"units": 2}, (None, None)),
        ("refused", {"units": 9223372036854775808}, S),
        ("supported", {"units": True}, S),
    ],
    "Dropout": [
        ("supported", {"rate": 0.5}, S),
    ],
    "Activation": [
        ("supported", {"activation": None}, S),
        ("supported", {"activation": "relu6"}, S),
        ("supported", {}, S),
    ],
    "SpatialDropout1D": [
        ("supported", {"rate": 0.2}, F),
    ],
}


@pytest.mark.parametrize("kind", CASES)
def test_configs_are_supported_or_refused(kind: str) -> None:
    for expected, options, *shapes in CASES[kind]:
        layer = called_on(kind, options, *shapes)
        found = "refused" if is_refused(layer) else "unsupported"
        found = "supported" if is_supported(layer) else found
        assert found == expected, (options, shapes)


KNOWN = (*supported_classes(), "CuDNNLSTM", "CuDNNGRU", "LSTMCell", "Own")
RECURRENT = {"LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "CuDNNLSTM", "CuDNNGRU"}
POOLING = {f"Global{kind}Pooling{n}D" for kind in ("Max", "Average") for n in (1, 2, 3)}


def test_classes_are_told_apart_by_their_inputs() -> None:
    assert {kind for kind in KNOWN if registry.is_recurrent(kind)} == RECURRENT
    assert {kind for kind in KNOWN if registry.takes_sequence(kind)} == RECURRENT | {
        *("Conv1D", "Conv1DTranspose", "DepthwiseConv1D", "SeparableConv1D", "MaxPooling1D"),
        *("AveragePooling1D", "ZeroPadding1D", "Cropping1D", "UpSampling1D"),
        *("Masking", "TimeDistributed"),
    }


def test_attention_alone_has_arguments_by_name() -> None:
    options = ("use_causal_mask", "return_attention_scores")
    named = [(kind, registry.call_inputs(kind), registry.call_options(kind)) for kind in KNOWN]
    assert sorted(each for each in named if any(each[1:])) == [
        ("AdditiveAttention", (), options),
        ("Attention", (), options),
        ("MultiHeadAttention", ("query", "value", "key"), (*options, "attention_mask")),
    ]


def test_numbers_of_some_layers_depend_on_masks() -> None:
    found = {kind for kind in supported_classes() if registry.layer_class(kind).uses_mask}
    cells = {"LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional"}
    assert found == {*cells, *POOLING, "Masking", "TimeDistributed"}
