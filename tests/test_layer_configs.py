"""Layers by their config alone: which inputs and options are supported, and which Keras refuses."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from keras import layers as la
from keras.src.ops import nn, numpy

from rnnshapes.network.assemble import LayerCall
from rnnshapes.network.graph import Tap
from rnnshapes.network.layers.base import Layer
from rnnshapes.network.layers.config import OPERATION, Source
from rnnshapes.network.layers.registry import supported_classes
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
