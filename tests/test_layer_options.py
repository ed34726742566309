"""Which options of layers and operations are supported, which are not, and which Keras refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rnnshapes.network.assemble import LayerCall
from rnnshapes.network.graph import Tap
from rnnshapes.network.layers.base import Masks
from rnnshapes.network.layers.config import Source
from rnnshapes.ops.constant import constant_of
from rnnshapes.ops.symbolic import Symbol, SymbolicOps
from tests.helpers.layer_calls import called_on, is_refused, is_supported, last_layer, network_of

SEQUENCE, IMAGES, FEATURES = (6, 4), (6, 8, 4), (4,)
OPEN = (None, 4)
X, Y = Source(0), Source(1)
LSTM = {"class_name": "LSTM", "config": {"name": "inner", "units": 3}}
CONV = {"class_name": "Conv1D", "config": {"name": "inner", "filters": 3, "kernel_size": 2}}
EINSUM = {
    "class_name": "EinsumDense",
    "config": {"equation": "abc,cd->abd", "output_shape": (None, 3)},
}
LSTM_CELL = {"class_name": "LSTMCell", "config": {"name": "cell", "units": 3}}
STACK = {"class_name": "StackedRNNCells", "config": {"cells": [LSTM_CELL, LSTM_CELL]}}
HIGH = {"class_name": "StackedRNNCells", "config": {"cells": [LSTM_CELL] * 32}}
HIGHER = {"class_name": "StackedRNNCells", "config": {"cells": [LSTM_CELL] * 33}}
OPERATION = "keras.ops."


def inner(part: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"layer": {**part, "config": {**part["config"], **changes}}}


def array(*shape: int, dtype: str = "float32") -> Any:
    constant = constant_of(np.ones(shape).tolist(), dtype)
    assert constant is not None
    return constant


#: Class, options, shapes of the inputs.
SUPPORTED_LAYERS = [
    ("Permute", {"dims": (2, 1)}, [SEQUENCE]),
    ("Permute", {"dims": (3, 1, 2)}, [IMAGES]),
    ("Cropping1D", {"cropping": (2, 3)}, [SEQUENCE]),
    ("ZeroPadding2D", {"padding": ((0, 1), (2, 0))}, [IMAGES]),
    ("Reshape", {"target_shape": (3, -1)}, [SEQUENCE]),
    ("Reshape", {"target_shape": (8, 3)}, [SEQUENCE]),
    ("Flatten", {}, [SEQUENCE]),
    ("Dot", {"axes": 2}, [SEQUENCE, (5, 4)]),
    ("Dot", {"axes": (-1, 1)}, [FEATURES, FEATURES]),
    ("Subtract", {}, [FEATURES, FEATURES]),
    ("Add", {}, [OPEN, (6, 1), OPEN, FEATURES]),
    ("Concatenate", {}, [OPEN, (6, 3), OPEN]),
    ("Concatenate", {"axis": 1}, [SEQUENCE, (5, 4)]),
    ("Softmax", {"axis": 1}, [SEQUENCE]),
    ("Softmax", {"axis": [-1]}, [FEATURES]),
    ("PReLU", {"shared_axes": [1, 2]}, [SEQUENCE]),
    ("LeakyReLU", {"negative_slope": 0}, [FEATURES]),
    ("Rescaling", {"scale": 2, "offset": -0.5}, [FEATURES]),
    ("Normalization", {"axis": -2}, [SEQUENCE]),
    ("Normalization", {"axis": None, "mean": 0.5, "variance": 2.0}, [FEATURES]),
    ("Normalization", {"mean": [0.5] * 4, "variance": [1.0] * 4}, [SEQUENCE]),
    ("GroupNormalization", {"groups": 2}, [SEQUENCE]),
    ("GroupNormalization", {"groups": -1}, [FEATURES]),
    ("BatchNormalization", {"axis": [1]}, [FEATURES]),
    ("LayerNormalization", {"axis": 2}, [SEQUENCE]),
    ("LayerNormalization", {"axis": [np.int64(-1)]}, [SEQUENCE]),
    ("Attention", {"score_mode": "concat"}, [SEQUENCE, (5, 4)]),
    ("AdditiveAttention", {}, [SEQUENCE, (5, 4), (5, 4)]),
    ("EinsumDense", {"equation": "abc,cd->abd", "output_shape": (None, 3)}, [SEQUENCE]),
    (
        "EinsumDense",
        {"equation": "ab,bc->ac", "output_shape": 3, "bias_axes": "c"},
        [FEATURES],
    ),
    ("Conv1D", {"filters": 3, "kernel_size": [2], "padding": "causal"}, [SEQUENCE]),
    ("Conv1DTranspose", {"filters": 3, "kernel_size": 2, "padding": "same"}, [SEQUENCE]),
    ("GlobalMaxPooling2D", {"keepdims": True}, [IMAGES]),
    ("Bidirectional", {**inner(LSTM), "merge_mode": "ave"}, [SEQUENCE]),
    ("RNN", {"cell": STACK}, [SEQUENCE]),
    ("RNN", {"cell": HIGH}, [SEQUENCE]),
    ("TimeDistributed", inner(LSTM), [IMAGES]),
    ("TimeDistributed", inner({**LSTM, "class_name": "SimpleRNN"}), [IMAGES]),
]
UNSUPPORTED_LAYERS = [
    ("RNN", {"cell": HIGHER}, [SEQUENCE]),
    ("Permute", {"dims": (2, 1)}, [FEATURES]),
    ("Dot", {"axes": 1}, [SEQUENCE, SEQUENCE, SEQUENCE]),
    ("Dot", {"axes": (0, 0)}, [SEQUENCE, SEQUENCE]),
    ("Dot", {"axes": (1, 3)}, [SEQUENCE, SEQUENCE]),
    ("Dot", {"axes": 1}, [SEQUENCE, (5, 4)]),
    ("Concatenate", {"axis": 1}, [SEQUENCE, (5, 3)]),
    ("Concatenate", {"axis": 0}, [SEQUENCE, SEQUENCE]),
    ("Concatenate", {"axis": 1}, [SEQUENCE, FEATURES]),
    ("Softmax", {"axis": [1, 2]}, [SEQUENCE]),
    ("Softmax", {"axis": 3}, [SEQUENCE]),
    ("PReLU", {"shared_axes": [3]}, [SEQUENCE]),
    ("PReLU", {"shared_axes": [0]}, [SEQUENCE]),
    ("LeakyReLU", {"negative_slope": -0.1}, [FEATURES]),
    ("LeakyReLU", {"negative_slope": 1e300}, [FEATURES]),
    ("Rescaling", {"scale": [2.0, 3.0]}, [FEATURES]),
    ("Rescaling", {"scale": 2.0, "offset": 1e39}, [FEATURES]),
    ("Normalization", {"axis": 0}, [SEQUENCE]),
    ("Normalization", {"axis": 1, "mean": [[0.5]], "variance": [[1.0]]}, [SEQUENCE]),
    ("Normalization", {"axis": 1, "mean": 0.5, "variance": 1.0}, [OPEN]),
    ("GroupNormalization", {"groups": 2}, [IMAGES]),
    ("BatchNormalization", {"axis": 1}, [SEQUENCE]),
    ("LayerNormalization", {"axis": [1, 2]}, [SEQUENCE]),
    ("GroupNormalization", {"groups": 2, "axis": 1}, [SEQUENCE]),
    ("RMSNormalization", {"axis": -2}, [SEQUENCE]),
    ("UnitNormalization", {"axis": [1, 2]}, [SEQUENCE]),
    ("UnitNormalization", {}, [()]),
    ("Attention", {}, [SEQUENCE]),
    ("Attention", {}, [SEQUENCE, FEATURES]),
    ("Attention", {}, [SEQUENCE, (5, 3)]),
    ("MultiHeadAttention", {"num_heads": 2, "key_dim": 3}, [IMAGES, IMAGES]),
    (
        "MultiHeadAttention",
        {"num_heads": 2, "key_dim": 3, "attention_axes": [2]},
        [SEQUENCE, SEQUENCE],
    ),
    (
        "MultiHeadAttention",
        {"num_heads": 2, "key_dim": 3, "output_shape": [3, 2]},
        [SEQUENCE, SEQUENCE],
    ),
    ("EinsumDense", {"equation": "abb,bd->ad", "output_shape": 3}, [SEQUENCE]),
    ("EinsumDense", {"equation": "abc,acd->abd", "output_shape": (None, 3)}, [SEQUENCE]),
    ("EinsumDense", {"equation": "abc,cd->bad", "output_shape": (None, 3)}, [SEQUENCE]),
    (
        "EinsumDense",
        {"equation": "ab,bc->ac", "output_shape": 3, "bias_axes": "a"},
        [FEATURES],
    ),
    ("Conv1D", {"filters": 3, "kernel_size": 2}, [FEATURES]),
    ("Conv2D", {"filters": 3, "kernel_size": 2}, [SEQUENCE]),
    ("MaxPooling1D", {"data_format": "channels_first"}, [SEQUENCE]),
    ("Bidirectional", inner(LSTM, time_major=True), [SEQUENCE]),
    ("Bidirectional", inner({"class_name": "ConvLSTM1D", "config": {"filters": 2}}), [IMAGES]),
    ("ConvLSTM1D", {"filters": 2, "kernel_size": 3, "return_state": True}, [IMAGES]),
    ("ConvLSTM1D", {"filters": 2, "kernel_size": 3, "stateful": True}, [IMAGES]),
    ("RNN", {"cell": {"class_name": "Own", "module": "own", "config": {}}}, [SEQUENCE]),
    ("TimeDistributed", inner(LSTM, return_state=True), [IMAGES]),
    ("TimeDistributed", inner(LSTM, stateful=True), [IMAGES]),
    ("TimeDistributed", inner({"class_name": "RNN", "config": {"cell": STACK}}), [IMAGES]),
    ("TimeDistributed", inner(LSTM), [FEATURES]),
    ("LSTM", {"units": 3}, [FEATURES]),
    ("Masking", {}, [()]),
]
REFUSED_LAYERS = [
    ("Permute", {"dims": (2, 2)}, [SEQUENCE]),
    ("Permute", {"dims": (0, 1)}, [SEQUENCE]),
    ("Cropping1D", {"cropping": (3, 3)}, [SEQUENCE]),
    ("ZeroPadding2D", {"padding": ((0, 1), (2, -1))}, [IMAGES]),
    ("ZeroPadding2D", {"padding": ((0, 1), (2,))}, [IMAGES]),
    ("Reshape", {"target_shape": (5, -1)}, [SEQUENCE]),
    ("Reshape", {"target_shape": (-1, -1)}, [SEQUENCE]),
    ("Reshape", {"target_shape": (0, 24)}, [SEQUENCE]),
    ("Subtract", {}, [FEATURES, FEATURES, FEATURES]),
    ("Add", {}, [SEQUENCE, (6, 3)]),
    ("Average", {}, [SEQUENCE, FEATURES, (5, 1)]),
    ("Multiply", {}, [(3,), SEQUENCE]),
    ("Concatenate", {}, [SEQUENCE, (5, 4)]),
    ("Concatenate", {}, [SEQUENCE, FEATURES]),
    ("ZeroPadding2D", {"padding": ((0, 1), (2, 0), (1, 1))}, [IMAGES]),
    ("LeakyReLU", {"negative_slope": "0.3"}, [FEATURES]),
    ("Normalization", {"axis": 3}, [SEQUENCE]),
    ("Normalization", {"axis": -1, "mean": [0.5], "variance": [1.0, 2.0]}, [SEQUENCE]),
    ("Normalization", {"axis": -1, "mean": [0.5] * 3, "variance": [1.0] * 3}, [SEQUENCE]),
    ("GroupNormalization", {"groups": 3}, [SEQUENCE]),
    ("Attention", {"score_mode": "sum"}, [SEQUENCE, SEQUENCE]),
    ("EinsumDense", {"equation": "abc,cd->abd", "output_shape": 3}, [SEQUENCE]),
    ("Conv1D", {"filters": 3, "kernel_size": 2, "padding": "full"}, [SEQUENCE]),
    ("Conv2D", {"filters": 3, "kernel_size": 2, "padding": "causal"}, [IMAGES]),
    ("Conv1DTranspose", {"filters": 3, "kernel_size": 2, "padding": "causal"}, [SEQUENCE]),
    ("Bidirectional", {**inner(LSTM), "merge_mode": "max"}, [SEQUENCE]),
]
#: Operation, options, shapes of the inputs, arguments.
SUPPORTED_OPERATIONS = [
    ("GetItem", {}, [SEQUENCE], (X, (slice(None), -6))),
    ("GetItem", {}, [OPEN], (X, (slice(None), slice(2, None)))),
    ("Clip", {"x_min": -1, "x_max": 0.5}, [FEATURES], (X,)),
    ("Sum", {"axis": (-1, 1)}, [SEQUENCE], (X,)),
    ("Reshape", {"newshape": (-1, 8, 3)}, [SEQUENCE], (X,)),
    ("Transpose", {"axes": (0, 2, 1)}, [SEQUENCE], (X,)),
    ("Squeeze", {"axis": 1}, [(1, 4)], (X,)),
    ("Squeeze", {"axis": -1}, [(6, 1)], (X,)),
    ("Split", {"indices_or_sections": 3, "axis": 1}, [SEQUENCE], (X,)),
    ("Split", {"indices_or_sections": [1, 4], "axis": 1}, [SEQUENCE], (X,)),
    ("Concatenate", {"axis": -1}, [SEQUENCE, (6, 3)], ((X, Y),)),
    ("Stack", {"axis": 1}, [FEATURES, FEATURES], ((X, Y),)),
    ("Matmul", {}, [SEQUENCE, (4, 5)], (X, Y)),
    ("Matmul", {}, [FEATURES], (X, array(4, 3))),
    ("Matmul", {}, [SEQUENCE], (array(5, 6), X)),
    ("Matmul", {}, [(2, 3, 6, 4), (2, 3, 4, 5)], (X, Y)),
    ("Matmul", {}, [(2, 3, 6, 4)], (X, array(4, 5))),
    ("Matmul", {}, [(2, 3, 6, 4)], (X, array(4))),
    ("Matmul", {}, [(2, 3, 6, 4)], (array(5, 6), X)),
    ("Einsum", {"subscripts": "btd,btd->bt"}, [SEQUENCE, SEQUENCE], (X, Y)),
    ("Einsum", {"subscripts": "btx,xy"}, [SEQUENCE], (X, array(4, 3))),
    ("Add", {}, [SEQUENCE], (X, array(4))),
    ("Add", {}, [SEQUENCE, (6, 1)], (X, Y)),
    ("Multiply", {}, [SEQUENCE, (1, 4)], (X, Y)),
    ("Cast", {"dtype": "float16"}, [FEATURES], (X,)),
    ("Softmax", {"axis": 1}, [SEQUENCE], (X,)),
    ("Std", {"axis": 1}, [SEQUENCE], (X,)),
]
UNSUPPORTED_OPERATIONS = [
    ("GetItem", {}, [SEQUENCE], (X, (0,))),
    ("GetItem", {}, [SEQUENCE], (X, (slice(None), slice(4, 4)))),
    ("GetItem", {}, [(3, None, 4)], (X, (slice(None), slice(None), slice(2, None)))),
    ("GetItem", {}, [FEATURES], (X, (slice(None), 0, 0))),
    ("GetItem", {}, [SEQUENCE], (X, (Ellipsis, Ellipsis))),
    *(
        ("GetItem", {}, [SEQUENCE], (X, (slice(None), part)))
        for part in (1.0, True, slice(1.0, None), slice(None, 2**31), slice(None, None, 0), Y)
    ),
    ("Clip", {"x_min": -1, "x_max": None}, [FEATURES], (X,)),
    ("Clip", {"x_min": -1e39, "x_max": 1}, [FEATURES], (X,)),
    ("Sum", {"axis": None}, [SEQUENCE], (X,)),
    ("Sum", {"axis": 0}, [SEQUENCE], (X,)),
    ("Sum", {"axis": 3}, [SEQUENCE], (X,)),
    ("Sum", {"axis": ()}, [SEQUENCE], (X,)),
    ("Max", {"axis": 1, "initial": 0.5}, [SEQUENCE], (X,)),
    ("Reshape", {"newshape": (2, 12)}, [SEQUENCE], (X,)),
    ("Reshape", {"newshape": (-1,)}, [SEQUENCE], (X,)),
    ("Reshape", {"newshape": (-1,)}, [(1,)], (X,)),
    ("Reshape", {"newshape": (5, 24)}, [SEQUENCE], (X,)),
    ("Reshape", {"newshape": (-1, 24)}, [OPEN], (X,)),
    ("Reshape", {"newshape": (-1, 24, *(1,) * 7)}, [SEQUENCE], (X,)),
    ("Reshape", {"newshape": (-1, 7)}, [SEQUENCE], (X,)),
    ("Reshape", {"newshape": (-1, 24.0)}, [SEQUENCE], (X,)),
    ("Reshape", {"newshape": (-1, 24, True)}, [SEQUENCE], (X,)),
    ("Reshape", {"newshape": (-1, 24, 0)}, [SEQUENCE], (X,)),
    ("Transpose", {"axes": (1, 0, 2)}, [SEQUENCE], (X,)),
    ("Transpose", {"axes": None}, [SEQUENCE], (X,)),
    ("Squeeze", {"axis": 1}, [SEQUENCE], (X,)),
    ("Squeeze", {"axis": 1}, [(1,)], (X,)),
    ("Split", {"indices_or_sections": 40, "axis": 1}, [(40, 4)], (X,)),
    ("Split", {"indices_or_sections": [2, 2], "axis": 1}, [SEQUENCE], (X,)),
    ("Split", {"indices_or_sections": [2.0], "axis": 1}, [SEQUENCE], (X,)),
    ("Split", {"indices_or_sections": [*range(1, 40)], "axis": 1}, [(40, 4)], (X,)),
    ("Split", {"indices_or_sections": [4, 6], "axis": 1}, [SEQUENCE], (X,)),
    ("Split", {"indices_or_sections": 2, "axis": 1}, [OPEN], (X,)),
    ("Split", {"indices_or_sections": 0, "axis": 1}, [SEQUENCE], (X,)),
    ("Concatenate", {"axis": -1}, [SEQUENCE, FEATURES], ((X, Y),)),
    ("Concatenate", {"axis": -1}, [SEQUENCE], ((X, 1.0),)),
    ("Stack", {"axis": 1}, [FEATURES, (5,)], ((X, Y),)),
    ("Matmul", {}, [FEATURES, FEATURES], (X, Y)),
    ("Matmul", {}, [SEQUENCE], (X, 2.0)),
    ("Matmul", {}, [(7, 2, 3, 6, 4), (7, 2, 3, 4, 5)], (X, Y)),
    ("Matmul", {}, [(7, 2, 3, 6, 4)], (X, array(4, 5))),
    ("Matmul", {}, [(7, 2, 3, 6, 4)], (array(5, 6), X)),
    ("Matmul", {}, [SEQUENCE], (X, array(6, 4, 5))),
    ("Matmul", {}, [FEATURES], (array(5, 4), X)),
    ("Einsum", {"subscripts": "btd,bsd->tbs"}, [SEQUENCE, SEQUENCE], (X, Y)),
    ("Einsum", {"subscripts": "btd,bsd"}, [SEQUENCE, SEQUENCE], (X, Y)),
    ("Einsum", {"subscripts": "btd,bsd->"}, [SEQUENCE, SEQUENCE], (X, Y)),
    ("Einsum", {"subscripts": "btd,dk"}, [SEQUENCE], (X, array(4, 3))),
    ("Einsum", {"subscripts": "btd,btd->bd"}, [SEQUENCE, (5, 4)], (X, Y)),
    ("Add", {}, [SEQUENCE], (X, array(6, 4, dtype="float64"))),
    ("Add", {}, [SEQUENCE], (X, array(2, 6, 4))),
    ("Add", {}, [SEQUENCE, FEATURES], (X, Y)),
    ("Add", {}, [SEQUENCE, (5, 4)], (X, Y)),
    ("Add", {}, [(1, 4), FEATURES], (X, Y)),
    ("Add", {}, [FEATURES, (1, 4)], (X, Y)),
    ("Add", {}, [FEATURES], (X, array(1, 4), 2.0)),
    ("Where", {}, [FEATURES], (X, 2.0)),
    ("Add", {}, [FEATURES, FEATURES], (X, 2.0)),
    *(
        (kind, options, [SEQUENCE, SEQUENCE], (X, Y))
        for kind, options in (
            ("Sum", {"axis": 1}),
            ("Cast", {"dtype": "float16"}),
            ("Copy", {}),
            ("LogicalNot", {}),
            ("Clip", {"x_min": 0, "x_max": 1}),
            ("Flip", {"axis": 1}),
            ("Split", {"indices_or_sections": 2, "axis": 1}),
            ("Relu", {}),
        )
    ),
    ("Multiply", {}, [FEATURES], (X, 1e39)),
    ("Power", {}, [FEATURES], (X, -1.0)),
    ("Cast", {"dtype": "int32"}, [FEATURES], (X,)),
    ("Softmax", {"axis": (1, 2)}, [SEQUENCE], (X,)),
    ("Tanh", {}, [FEATURES, FEATURES], (X, Y)),
    ("HardShrink", {"threshold": 0.7}, [FEATURES], (X,)),
]
REFUSED_OPERATIONS = [
    ("GetItem", {}, [SEQUENCE], (X, (slice(None), 6))),
    ("GetItem", {}, [SEQUENCE], (X, (slice(None), -7))),
    ("Transpose", {"axes": (0, 1, 1)}, [SEQUENCE], (X,)),
    ("Transpose", {"axes": (0, 1)}, [SEQUENCE], (X,)),
    ("Split", {"indices_or_sections": 4, "axis": 1}, [SEQUENCE], (X,)),
    ("Einsum", {"subscripts": "bt,bt->b"}, [SEQUENCE, SEQUENCE], (X, Y)),
    ("Einsum", {"subscripts": "btd,bsd,bud->bts"}, [SEQUENCE, SEQUENCE], (X, Y)),
    ("Einsum", {"subscripts": "btd->bt"}, [SEQUENCE, SEQUENCE], (X, Y)),
]


@pytest.mark.parametrize(("kind", "options", "shapes"), SUPPORTED_LAYERS)
def test_layer_is_supported(kind: str, options: Any, shapes: Any) -> None:
    assert is_supported(called_on(kind, options, *shapes))


@pytest.mark.parametrize(("kind", "options", "shapes"), UNSUPPORTED_LAYERS)
def test_layer_is_unsupported(kind: str, options: Any, shapes: Any) -> None:
    layer = called_on(kind, options, *shapes)
    assert not is_supported(layer)
    assert not is_refused(layer)


@pytest.mark.parametrize(("kind", "options", "shapes"), REFUSED_LAYERS)
def test_layer_contradicts_itself(kind: str, options: Any, shapes: Any) -> None:
    assert is_refused(called_on(kind, options, *shapes))


@pytest.mark.parametrize(("kind", "options", "shapes", "arguments"), SUPPORTED_OPERATIONS)
def test_operation_is_supported(kind: str, options: Any, shapes: Any, arguments: Any) -> None:
    assert is_supported(called_on(OPERATION + kind, options, *shapes, arguments=arguments))


@pytest.mark.parametrize(("kind", "options", "shapes", "arguments"), UNSUPPORTED_OPERATIONS)
def test_operation_is_unsupported(kind: str, options: Any, shapes: Any, arguments: Any) -> None:
    layer = called_on(OPERATION + kind, options, *shapes, arguments=arguments)
    assert not is_supported(layer)
    assert not is_refused(layer)


@pytest.mark.parametrize(("kind", "options", "shapes", "arguments"), REFUSED_OPERATIONS)
def test_operation_contradicts_itself(kind: str, options: Any, shapes: Any, arguments: Any) -> None:
    assert is_refused(called_on(OPERATION + kind, options, *shapes, arguments=arguments))


@pytest.mark.parametrize(
    ("kind", "options", "constants"),
    [
        ("Elu", {"alpha": 0.5}, True),
        ("Elu", {"alpha": 1.0}, False),
        ("LeakyRelu", {"negative_slope": 0.25}, True),
        ("ReLU", {"max_value": 6.0}, True),
        ("Relu", {}, False),
        ("Softmax", {"axis": -1}, False),
    ],
)
def test_constants_of_an_activation_are_shown(kind: str, options: Any, constants: bool) -> None:
    layer = called_on(OPERATION + kind, options, FEATURES, arguments=(X,))
    assert is_supported(layer)
    assert any(f"{value:g}" in layer.label for value in options.values()) == constants
    assert ("(" in layer.label) == constants


@pytest.mark.parametrize("boolean", [False, True])
def test_heads_take_booleans_only_as_masks(boolean: bool) -> None:
    x = LayerCall("x", "InputLayer", {"batch_shape": (None, *SEQUENCE)})
    compared = LayerCall("g", f"{OPERATION}Greater", {}, (Tap(0),), arguments=(X, 0.0))
    sources = (Tap(1), Tap(0)) if boolean else (Tap(0), Tap(0))
    heads = LayerCall("m", "MultiHeadAttention", {"num_heads": 2, "key_dim": 3}, sources)
    assert is_supported(last_layer(x, compared, heads)) is not boolean


#: Class, options, shapes of the inputs, and how the layer and the shape of its output are shown.
SHOWN: list[tuple[str, Any, Any, str, str]] = [
    ("Dense", {"units": 3}, [SEQUENCE], "Dense(K)", "N T K"),
    ("Dense", {"units": 3}, [FEATURES], "Dense(K)", "N K"),
    ("Reshape", {"target_shape": (24,)}, [SEQUENCE], "Reshape", "N T·D"),
    ("Reshape", {"target_shape": (3, 8)}, [SEQUENCE], "Reshape", "N 3 8"),
    ("Reshape", {"target_shape": (8, -1)}, [IMAGES], "Reshape", "N 8 T·D"),
    ("Flatten", {}, [SEQUENCE], "Flatten", "N T·D"),
    ("Permute", {"dims": (3, 1, 2)}, [IMAGES], "Permute(3, 1, 2)", "N D T 8"),
    ("RepeatVector", {"n": 3}, [FEATURES], "RepeatVector(R)", "N R D"),
    ("ZeroPadding1D", {"padding": 2}, [SEQUENCE], "ZeroPadding1D", "N T' D"),
    ("UpSampling2D", {"size": (1, 2)}, [IMAGES], "UpSampling2D", "N T 16 D"),
    ("Cropping2D", {"cropping": ((0, 1), (3, 0))}, [IMAGES], "Cropping2D", "N T' 5 D"),
    ("MaxPooling1D", {"pool_size": 2}, [SEQUENCE], "MaxPooling1D", "N T' D"),
    ("MaxPooling1D", {"strides": 1, "padding": "same"}, [SEQUENCE], "MaxPooling1D", "N T D"),
    ("GlobalMaxPooling2D", {"keepdims": True}, [IMAGES], "GlobalMaxPooling2D", "N 1 1 D"),
    ("Conv1D", {"filters": 3, "kernel_size": 2}, [SEQUENCE], "Conv1D(F)", "N T' F"),
    ("Conv2D", {"filters": 3, "kernel_size": 2}, [IMAGES], "Conv2D(F)", "N T' 7 F"),
    (
        "DepthwiseConv1D",
        {"kernel_size": 2, "depth_multiplier": 3},
        [SEQUENCE],
        "DepthwiseConv1D(3D)",
        "N T' 3D",
    ),
    ("GroupNormalization", {"groups": 2}, [SEQUENCE], "GroupNormalization(G)", "N T D"),
    ("Rescaling", {"scale": 0.25}, [SEQUENCE], "Rescaling(0.25)", "N T D"),
    ("Concatenate", {}, [SEQUENCE, (6, 3)], "Concatenate", "N T1 D1+D2"),
    ("Concatenate", {"axis": 1}, [SEQUENCE, (5, 4)], "Concatenate(axis=-2)", "N T' D1"),
    ("Dot", {"axes": 2}, [SEQUENCE, (5, 4)], "Dot", "N T1 T2"),
    ("Dot", {"axes": (1, 2)}, [SEQUENCE, (3, 6)], "Dot", "N D1 T2"),
    ("Dot", {"axes": 1}, [FEATURES, FEATURES], "Dot", "N 1"),
    ("Activation", {"activation": "tanh"}, [SEQUENCE], "Activation(tanh)", "N T D"),
    ("ReLU", {"threshold": 0.5}, [SEQUENCE], "ReLU(threshold=0.5)", "N T D"),
    ("ReLU", {}, [SEQUENCE], "Activation(relu)", "N T D"),
    ("ELU", {"alpha": 0.25}, [SEQUENCE], "ELU(alpha=0.25)", "N T D"),
    ("Softmax", {"axis": 1}, [SEQUENCE], "Softmax(axis=-2)", "N T D"),
    (
        "EinsumDense",
        {"equation": "abc,cde->abde", "output_shape": (None, 3, 2)},
        [SEQUENCE],
        "EinsumDense(abc,cde->abde)",
        "N T K1 K2",
    ),
    ("TimeDistributed", inner(LSTM), [IMAGES], "TimeDistributed(LSTM(M))", "N T M"),
    ("TimeDistributed", inner(CONV), [IMAGES], "TimeDistributed(Conv1D(F))", "N T 7 F"),
    *(
        ("TimeDistributed", {"layer": part}, [IMAGES], f"TimeDistributed({label})", shape)
        for part, label, shape in (
            ({"class_name": "PReLU", "config": {"name": "own"}}, "PReLU", "N T 8 D"),
            ({"class_name": "Normalization", "config": {"axis": 1}}, "Normalization", "N T 8 D"),
            (EINSUM, "EinsumDense(abc,cd->abd)", "N T 8 K"),
        )
    ),
    ("Attention", {}, [SEQUENCE, (5, 4)], "Attention", "N T1 D1"),
    (
        "MultiHeadAttention",
        {"num_heads": 3, "key_dim": 2, "output_shape": 7},
        [SEQUENCE, (5, 4)],
        "MultiHeadAttention(H)",
        "N T1 F",
    ),
    ("LSTM", {"units": 3, "return_sequences": True}, [SEQUENCE], "LSTM(M)", "N T M"),
    ("Bidirectional", inner(LSTM), [SEQUENCE], "Bidirectional(LSTM(M))", "N 2M"),
]
ALL = slice(None)
SHOWN_OPERATIONS: list[tuple[str, Any, Any, Any, str, str]] = [
    ("GetItem", {}, [SEQUENCE], (X, (ALL, -2)), "GetItem[:, -2]", "N D"),
    ("GetItem", {}, [SEQUENCE], (X, (ALL, slice(4, 1, -2))), "GetItem[:, 4:1:-2]", "N T' D"),
    ("GetItem", {}, [SEQUENCE], (X, (..., slice(2, None))), "GetItem[..., 2:]", "N T 2"),
    ("GetItem", {}, [SEQUENCE], (X, (ALL, None, 2)), "GetItem[:, None, 2]", "N 1 D"),
    ("Add", {}, [SEQUENCE], (X, -0.25), "Add(-0.25)", "N T D"),
    ("Multiply", {}, [SEQUENCE], (array(4), X), "Multiply([1 1 …])", "N T D"),
    ("Multiply", {}, [SEQUENCE, SEQUENCE], (X, Y), "Multiply", "N T1 D1"),
    ("Where", {}, [SEQUENCE, SEQUENCE], (X, Y, 0.5), "Where(0.5)", "N T1 D1"),
    ("Clip", {"x_min": -1, "x_max": 0.5}, [SEQUENCE], (X,), "Clip(-1, 0.5)", "N T D"),
    ("Power", {}, [SEQUENCE], (X, 3.0), "Power(3)", "N T D"),
    ("LeakyRelu", {}, [SEQUENCE], (X,), "LeakyRelu(0.2)", "N T D"),
    ("Sum", {"axis": 1}, [SEQUENCE], (X,), "Sum", "N D"),
    ("Mean", {"axis": -1, "keepdims": True}, [SEQUENCE], (X,), "Mean", "N T 1"),
    ("Reshape", {"newshape": (-1, 6, 2, 2)}, [SEQUENCE], (X,), "Reshape", "N T 2 2"),
    ("Reshape", {"newshape": (-1, 2, 3, 4)}, [SEQUENCE], (X,), "Reshape", "N 2 3 D"),
    ("Transpose", {"axes": (0, 2, 1)}, [SEQUENCE], (X,), "Transpose", "N D T"),
    ("ExpandDims", {"axis": 1}, [SEQUENCE], (X,), "ExpandDims", "N 1 T D"),
    ("Concatenate", {"axis": 2}, [SEQUENCE, (6, 3)], ((X, Y),), "Concatenate", "N T1 D1+D2"),
    ("Stack", {"axis": 1}, [FEATURES, FEATURES], ((X, Y),), "Stack", "N 2 D1"),
    ("Split", {"indices_or_sections": [1, 3], "axis": -1}, [SEQUENCE], (X,), "Split(3)", "N T 1"),
    ("Matmul", {}, [SEQUENCE, (4, 5)], (X, Y), "Matmul", "N T1 D2"),
    (
        "Einsum",
        {"subscripts": "...d,dk"},
        [SEQUENCE],
        (X, array(4, 3)),
        "Einsum(ABd,dk->ABk)",
        "N T 3",
    ),
]


@pytest.mark.parametrize(("kind", "options", "shapes", "label", "shape"), SHOWN)
def test_layer_is_shown_with_its_sizes(
    kind: str, options: Any, shapes: Any, label: str, shape: str
) -> None:
    network = network_of(kind, options, *shapes)
    assert network.nodes[-1].layer.label == label
    assert " ".join(map(str, network.output_shapes.shapes[0])) == shape


@pytest.mark.parametrize(
    ("kind", "options", "shapes", "arguments", "label", "shape"), SHOWN_OPERATIONS
)
def test_operation_is_shown_with_its_numbers(
    kind: str, options: Any, shapes: Any, arguments: Any, label: str, shape: str
) -> None:
    network = network_of(OPERATION + kind, options, *shapes, arguments=arguments)
    assert network.nodes[-1].layer.label == label
    assert " ".join(map(str, network.output_shapes.shapes[0])) == shape


@pytest.mark.parametrize(
    ("shapes", "stepwise"),
    [
        ([SEQUENCE, SEQUENCE, FEATURES], True),
        ([FEATURES, FEATURES], True),
        ([SEQUENCE, (6, 1)], True),
        ([(1, 4), SEQUENCE], False),
        ([SEQUENCE, ()], False),
        ([IMAGES, FEATURES], False),
        ([IMAGES, (8, 4)], False),
        ([IMAGES, IMAGES], True),
        ([FEATURES, ()], False),
    ],
)
def test_merged_tensors_may_have_steps_of_their_own(shapes: Any, *, stepwise: bool) -> None:
    for kind in ("Add", "Multiply", "Minimum"):
        assert called_on(kind, {}, *shapes).stepwise is stepwise


@pytest.mark.parametrize("mask_zero", [False, True])
def test_embedding_notes_the_masked_word(mask_zero: bool) -> None:
    words = LayerCall("x", "InputLayer", {"batch_shape": (None, 6), "integers": True})
    config = {"input_dim": 9, "output_dim": 3, "mask_zero": mask_zero}
    layer = last_layer(words, LayerCall("e", "Embedding", config, (Tap(0),)))
    assert is_supported(layer)
    assert (len(layer.notes), layer.makes_mask) == (mask_zero, mask_zero)


@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        ([SEQUENCE, FEATURES], "a + b"),
        ([SEQUENCE, ()], "a + b[:, None, None]"),
        ([(), SEQUENCE], "a[:, None, None] + b"),
        ([IMAGES, (8, 4)], "a + b[:, None]"),
    ],
)
def test_new_axes_of_merged_tensors_are_written(shapes: Any, text: str) -> None:
    network = network_of("Add", {}, *shapes)
    layer, tape = network.nodes[-1].layer, []
    given = [each.shapes[0] for each in network.node_shapes[:-1]]
    inputs = [Symbol(*named, tape) for named in zip("ab", layer.own_shapes(given), strict=True)]
    assert layer.call(SymbolicOps(), inputs, None, Masks()).text == text


@pytest.mark.parametrize(
    ("dtype", "of_numbers", "of_booleans"),
    [
        *(("float32", True, True), ("float64", False, True), ("float16", True, True)),
        *(("bfloat16", True, True), ("int32", False, False), (None, False, False)),
    ],
)
def test_booleans_may_be_cast_to_wider_numbers(
    dtype: str | None, of_numbers: bool, of_booleans: bool
) -> None:
    x = LayerCall("x", "InputLayer", {"batch_shape": (None, *SEQUENCE)})
    compared = LayerCall("g", f"{OPERATION}Greater", {}, (Tap(0),), arguments=(X, 0.5))
    for source, expected in ((0, of_numbers), (1, of_booleans)):
        cast = LayerCall("c", f"{OPERATION}Cast", {"dtype": dtype}, (Tap(source),), arguments=(X,))
        layer = last_layer(x, compared, cast)
        assert is_supported(layer) is expected
        assert not expected or (layer.casts_to, layer.is_boolean) == (dtype, False)
