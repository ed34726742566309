"""Layers against Keras, one by one: numbers, masks, shapes, and how Keras builds them again."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as la

from rnnshapes.load.live.keras_private import get_mask
from rnnshapes.network.assemble import LayerCall, LayerGraph, assemble
from rnnshapes.network.graph import Network, Tap
from rnnshapes.network.layers.base import Masks
from rnnshapes.ops.numpy_ops import NumpyOps
from rnnshapes.reference.builder import LayerBuilder, call_layer, set_weights

SEQUENCE, IMAGES, VOLUMES, FEATURES = (6, 4), (6, 8, 3), (3, 4, 5, 2), (4,)
N = 5
#: Class, options, shapes of the inputs without samples.
Case = tuple[str, dict[str, Any], list[tuple[int, ...]]]

MERGES = ("Add", "Multiply", "Average", "Maximum", "Minimum")
SHAPES: list[Case] = [
    ("Flatten", {}, [SEQUENCE]),
    ("Flatten", {}, [FEATURES]),
    *(("Reshape", {"target_shape": s}, [SEQUENCE]) for s in ((24,), (3, 8), (-1, 2), (6, 2, 2))),
    ("Reshape", {"target_shape": (8, -1)}, [IMAGES]),
    ("Permute", {"dims": (2, 1)}, [SEQUENCE]),
    ("Permute", {"dims": (3, 1, 2)}, [IMAGES]),
    ("RepeatVector", {"n": 3}, [FEATURES]),
    ("ZeroPadding1D", {"padding": 2}, [SEQUENCE]),
    ("ZeroPadding1D", {"padding": (0, 3)}, [SEQUENCE]),
    ("ZeroPadding2D", {"padding": ((0, 1), (2, 0))}, [IMAGES]),
    ("ZeroPadding2D", {"padding": (1, 2)}, [IMAGES]),
    ("ZeroPadding3D", {"padding": ((1, 0), (0, 0), (0, 2))}, [VOLUMES]),
    ("Cropping1D", {"cropping": (1, 2)}, [SEQUENCE]),
    ("Cropping1D", {"cropping": (2, 0)}, [SEQUENCE]),
    ("Cropping2D", {"cropping": ((0, 1), (3, 0))}, [IMAGES]),
    ("Cropping3D", {"cropping": (1, 1, 2)}, [VOLUMES]),
    ("UpSampling1D", {"size": 3}, [SEQUENCE]),
    ("UpSampling2D", {"size": (1, 2)}, [IMAGES]),
    ("UpSampling3D", {"size": (2, 1, 2)}, [VOLUMES]),
]
POOLS: list[Case] = [
    *(
        (
            f"{kind}Pooling1D",
            {"pool_size": size, "strides": strides, "padding": padding},
            [SEQUENCE],
        )
        for kind in ("Max", "Average")
        for size, strides, padding in (
            (2, None, "valid"),
            (3, 1, "same"),
            (4, 3, "valid"),
            (4, 3, "same"),
        )
    ),
    *(
        (f"{kind}Pooling2D", {"pool_size": (2, 3), "strides": (1, 2), "padding": "same"}, [IMAGES])
        for kind in ("Max", "Average")
    ),
    *(
        (f"Global{kind}Pooling{len(shape) - 1}D", {"keepdims": keepdims}, [shape])
        for kind in ("Max", "Average")
        for shape in (SEQUENCE, IMAGES, VOLUMES)
        for keepdims in (False, True)
    ),
    ("GlobalMaxPooling1D", {"data_format": "channels_first"}, [SEQUENCE]),
    (
        "GlobalAveragePooling2D",
        {"data_format": "channels_first", "keepdims": True},
        [IMAGES],
    ),
]
CONVOLUTIONS: list[Case] = [
    ("Conv1D", {"filters": 3, "kernel_size": 2}, [SEQUENCE]),
    ("Conv1D", {"filters": 3, "kernel_size": 3, "padding": "same", "use_bias": False}, [SEQUENCE]),
    ("Conv1D", {"filters": 3, "kernel_size": 4, "padding": "same", "strides": 3}, [SEQUENCE]),
    ("Conv1D", {"filters": 3, "kernel_size": 2, "padding": "causal"}, [SEQUENCE]),
    (
        "Conv1D",
        {"filters": 3, "kernel_size": 2, "padding": "causal", "dilation_rate": 2},
        [SEQUENCE],
    ),
    ("Conv1D", {"filters": 3, "kernel_size": 2, "strides": 2, "activation": "relu"}, [SEQUENCE]),
    ("Conv2D", {"filters": 3, "kernel_size": (2, 3), "strides": (2, 1)}, [IMAGES]),
    ("Conv2D", {"filters": 2, "kernel_size": 2, "dilation_rate": (1, 3)}, [IMAGES]),
    ("Conv3D", {"filters": 3, "kernel_size": (1, 2, 3), "padding": "same"}, [VOLUMES]),
    ("Conv1DTranspose", {"filters": 3, "kernel_size": 3, "strides": 2}, [SEQUENCE]),
    ("Conv1DTranspose", {"filters": 3, "kernel_size": 2, "padding": "same"}, [SEQUENCE]),
    (
        "Conv1DTranspose",
        {"filters": 3, "kernel_size": 2, "strides": 3, "padding": "same", "use_bias": False},
        [SEQUENCE],
    ),
    ("DepthwiseConv1D", {"kernel_size": 2, "depth_multiplier": 3}, [SEQUENCE]),
    ("DepthwiseConv1D", {"kernel_size": 3, "strides": 2, "padding": "same"}, [SEQUENCE]),
    ("DepthwiseConv2D", {"kernel_size": (2, 3), "depth_multiplier": 2}, [IMAGES]),
    ("SeparableConv1D", {"filters": 5, "kernel_size": 2, "depth_multiplier": 3}, [SEQUENCE]),
    ("SeparableConv2D", {"filters": 2, "kernel_size": 3, "use_bias": False}, [IMAGES]),
]
NORMALIZATIONS: list[Case] = [
    *(("BatchNormalization", {"axis": -1, **o}, [SEQUENCE]) for o in ({}, {"epsilon": 0.2})),
    ("BatchNormalization", {"scale": False}, [FEATURES]),
    ("BatchNormalization", {"center": False}, [IMAGES]),
    ("LayerNormalization", {}, [SEQUENCE]),
    ("LayerNormalization", {"epsilon": 0.2, "center": False}, [FEATURES]),
    ("LayerNormalization", {"scale": False}, [IMAGES]),
    ("GroupNormalization", {"groups": 2}, [SEQUENCE]),
    ("GroupNormalization", {"groups": 1, "epsilon": 0.2}, [SEQUENCE]),
    ("GroupNormalization", {"groups": -1, "scale": False}, [SEQUENCE]),
    ("GroupNormalization", {"groups": 4, "center": False}, [FEATURES]),
    ("UnitNormalization", {}, [SEQUENCE]),
    ("RMSNormalization", {"epsilon": 0.2}, [SEQUENCE]),
    ("Normalization", {"axis": -1}, [SEQUENCE]),
    ("Normalization", {"axis": 1}, [SEQUENCE]),
    ("Normalization", {"axis": (1, 2), "invert": True}, [SEQUENCE]),
    ("Normalization", {"axis": (1, 3)}, [IMAGES]),
    ("Normalization", {"axis": None}, [FEATURES]),
    ("Normalization", {"mean": [0.5, -1, 2, 0], "variance": [1.0, 2, 0, 4]}, [SEQUENCE]),
    ("Normalization", {"axis": None, "mean": 0.5, "variance": 2.0, "invert": True}, [SEQUENCE]),
    ("Rescaling", {"scale": 0.3, "offset": -1.5}, [SEQUENCE]),
    ("Rescaling", {"scale": -2}, [FEATURES]),
]
COMBINED: list[Case] = [
    *((kind, {}, [SEQUENCE, SEQUENCE, SEQUENCE]) for kind in MERGES),
    *((kind, {}, [SEQUENCE, (1, 4)]) for kind in MERGES),
    *((kind, {}, [FEATURES, FEATURES]) for kind in MERGES),
    ("Add", {}, [SEQUENCE, (6, 1)]),
    ("Add", {}, [(), SEQUENCE]),
    ("Maximum", {}, [FEATURES, ()]),
    ("Multiply", {}, [IMAGES, (6, 1, 3)]),
    ("Subtract", {}, [SEQUENCE, SEQUENCE]),
    ("Subtract", {}, [FEATURES, FEATURES]),
    *(("Concatenate", {"axis": axis}, [SEQUENCE, (6, 3), (6, 1)]) for axis in (-1, 2)),
    *(("Concatenate", {"axis": axis}, [SEQUENCE, (5, 4)]) for axis in (-2, 1)),
    ("Concatenate", {}, [FEATURES, (3,)]),
    ("Dot", {"axes": 2}, [SEQUENCE, (5, 4)]),
    ("Dot", {"axes": (2, 1)}, [SEQUENCE, (4, 3)]),
    ("Dot", {"axes": (1, 2), "normalize": True}, [SEQUENCE, (3, 6)]),
    ("Dot", {"axes": -1}, [FEATURES, FEATURES]),
    ("Dot", {"axes": (2, 1)}, [SEQUENCE, FEATURES]),
    ("Dot", {"axes": 1, "normalize": True}, [FEATURES, FEATURES]),
]
ACTIVATIONS: list[Case] = [
    *(("Activation", {"activation": name}, [SEQUENCE]) for name in ("tanh", "softmax", "gelu")),
    ("ReLU", {"max_value": 0.9, "negative_slope": 0.1, "threshold": 0.3}, [SEQUENCE]),
    ("ReLU", {"threshold": 0.5}, [SEQUENCE]),
    ("ReLU", {}, [FEATURES]),
    ("LeakyReLU", {"negative_slope": 0.35}, [SEQUENCE]),
    ("ELU", {"alpha": 0.25}, [SEQUENCE]),
    ("PReLU", {}, [SEQUENCE]),
    ("PReLU", {"shared_axes": [1]}, [SEQUENCE]),
    ("PReLU", {"shared_axes": [1, 3]}, [IMAGES]),
    ("PReLU", {}, [FEATURES]),
    ("Softmax", {}, [SEQUENCE]),
    ("Softmax", {"axis": 1}, [SEQUENCE]),
    ("Softmax", {"axis": -2}, [IMAGES]),
]
DENSES: list[Case] = [
    ("Dense", {"units": 3}, [SEQUENCE]),
    ("Dense", {"units": 3, "use_bias": False, "activation": "relu"}, [FEATURES]),
    ("Dense", {"units": 2, "activation": "softmax"}, [IMAGES]),
    ("EinsumDense", {"equation": "abc,cd->abd", "output_shape": (None, 3)}, [SEQUENCE]),
    (
        "EinsumDense",
        {"equation": "abc,cde->abde", "output_shape": (None, 3, 2), "bias_axes": "de"},
        [SEQUENCE],
    ),
    ("EinsumDense", {"equation": "ab,bc->ac", "output_shape": 3, "bias_axes": "c"}, [FEATURES]),
    (
        "EinsumDense",
        {"equation": "abc,bd->adc", "output_shape": (3, None), "bias_axes": "d"},
        [SEQUENCE],
    ),
    ("TimeDistributed", {"layer": la.Dense(3)}, [IMAGES]),
    ("TimeDistributed", {"layer": la.Conv1D(3, 2)}, [IMAGES]),
    ("TimeDistributed", {"layer": la.GlobalMaxPooling1D()}, [IMAGES]),
    ("TimeDistributed", {"layer": la.Flatten()}, [IMAGES]),
    ("TimeDistributed", {"layer": la.Normalization()}, [IMAGES]),
    *((kind, {"rate": 0.5}, [SEQUENCE]) for kind in ("Dropout", "SpatialDropout1D")),
    ("Identity", {}, [SEQUENCE]),
]
ATTENTIONS: list[Case] = [
    ("Attention", {}, [SEQUENCE, (5, 4)]),
    ("Attention", {}, [SEQUENCE, (5, 4), (5, 4)]),
    ("Attention", {"use_scale": True}, [SEQUENCE, (5, 4)]),
    ("Attention", {"score_mode": "concat"}, [SEQUENCE, (5, 4)]),
    ("AdditiveAttention", {}, [SEQUENCE, (5, 4)]),
    ("AdditiveAttention", {"use_scale": False}, [SEQUENCE, (5, 4)]),
    ("MultiHeadAttention", {"num_heads": 2, "key_dim": 3}, [SEQUENCE, SEQUENCE]),
    (
        "MultiHeadAttention",
        {"num_heads": 2, "key_dim": 3, "value_dim": 5, "use_bias": False},
        [SEQUENCE, (5, 4)],
    ),
    (
        "MultiHeadAttention",
        {"num_heads": 3, "key_dim": 2, "output_shape": 7},
        [SEQUENCE, (5, 4), (5, 4)],
    ),
    (
        "MultiHeadAttention",
        {"num_heads": 2, "key_dim": 3, "value_dim": 5, "use_gate": True, "dropout": 0.5},
        [SEQUENCE, (5, 4)],
    ),
]
CASES = [
    *(SHAPES + POOLS + CONVOLUTIONS + NORMALIZATIONS),
    *(COMBINED + ACTIVATIONS + DENSES + ATTENTIONS),
]
ON_SEQUENCES = [case for case in CASES if case[2][0] == SEQUENCE]
#: Those that Keras, or rnnshapes, does not call on masked sequences of these sizes.
UNMASKED = [("Softmax", {}), ("Softmax", {"axis": 1})]
UNMASKED += [("Concatenate", {"axis": axis}) for axis in (-2, 1)]
MASKED = [
    case
    for case in ON_SEQUENCES
    if case[:2] not in UNMASKED and "data_format" not in case[1] and FEATURES not in case[2]
]
MASKED += [case for case in POOLS if case[2] == [IMAGES] and "data_format" not in case[1]]
#: Those that take several tensors as arguments, and not in a list.
SPREAD = ("MultiHeadAttention",)
#: Operations that may be said to mix steps although they do not.
CAUTIOUS = ("Dot", "EinsumDense", "Reshape", "Attention", "AdditiveAttention")


def new_layer(case: Case) -> Any:
    kind, options, _ = case
    own = {
        name: type(value).from_config(value.get_config()) if name == "layer" else value
        for name, value in options.items()
    }
    return getattr(la, kind)(name="layer", **own)


def built_layer(case: Case, inputs: Callable[[], list[Any]]) -> tuple[Any, Any]:
    """Return a layer of Keras with random weights, and what it computes of inputs.

    ``inputs`` makes them again, since a layer may take off their mask.
    """

    def called() -> Any:
        tensors = inputs()
        return layer(*tensors) if case[0] in SPREAD or len(tensors) == 1 else layer(tensors)

    layer = new_layer(case)
    called()
    rng = np.random.default_rng(8)
    arrays = [rng.uniform(0.2, 1.3, w.shape).astype("float32") for w in layer.get_weights()]
    set_weights(layer, arrays)
    return layer, called()


def network_around(case: Case, layer: Any, *, masked: bool = False) -> Network:
    calls = [
        LayerCall(f"x{number}", "InputLayer", {"batch_shape": (None, *shape)})
        for number, shape in enumerate(case[2])
    ]
    taps = [Tap(number) for number in range(len(calls))]
    if masked:
        calls += [LayerCall(f"m{tap.node}", "Masking", {}, (tap,)) for tap in taps]
        taps = [Tap(tap.node + len(taps)) for tap in taps]
    config = keras.saving.serialize_keras_object(layer)["config"]
    calls.append(LayerCall("layer", case[0], config, tuple(taps)))
    return assemble(LayerGraph(tuple(calls), (Tap(len(calls) - 1),)))


def arrays_of(case: Case, *, masked: bool = False) -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    made = [rng.standard_normal((N, *shape)).astype("float32") for shape in case[2]]
    for number, x in enumerate(made if masked else ()):
        x[1, 2:] = x[3, number : number + 2] = 0
    return made


def computed(
    network: Network, xs: list[np.ndarray], masks: list[Any], arrays: list[np.ndarray] | None = None
) -> Any:
    """Return what the equation of the last layer gives, and its mask; with weights at random."""
    layer = network.nodes[-1].layer
    assert layer.declared_shapes is None, getattr(layer, "reason", "")
    weights = [weight for group in layer.groups.values() for weight in group]
    shapes = [tuple(network.count(dim) for dim in weight.dims) for weight in weights]
    rng = np.random.default_rng(8)
    arrays = [rng.uniform(0.2, 1.3, shape) for shape in shapes] if arrays is None else arrays
    assert shapes == [array.shape for array in arrays]
    w = SimpleNamespace(**dict(zip([weight.key for weight in weights], arrays, strict=True)))
    mask = layer.mask(xs, masks)
    return layer.call(NumpyOps(), xs, w, Masks(masks, mask)), mask


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_layer_computes_what_keras_computes(case: Case) -> None:
    xs = arrays_of(case)
    built, expected = built_layer(case, lambda: list(map(keras.ops.convert_to_tensor, xs)))
    network = network_around(case, built)
    found, mask = computed(network, xs, [None] * len(xs), built.get_weights())
    assert mask is None
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)
    sizes = {**network.sizes, "N": N}
    (shape,) = network.node_shapes[-1].shapes
    assert tuple(dim.value(sizes) for dim in shape) == tuple(expected.shape)
    layer = network.nodes[-1].layer
    again = LayerBuilder(keras, network).build_layer(layer)
    call_layer(layer, again, xs)
    set_weights(again, built.get_weights())
    np.testing.assert_array_equal(call_layer(layer, again, xs), expected)


@pytest.mark.filterwarnings("ignore:.*does not support masking")
@pytest.mark.parametrize("case", MASKED, ids=[case[0] for case in MASKED])
def test_layer_meets_masks_as_keras_does(case: Case) -> None:
    xs = arrays_of(case, masked=True)

    def masked() -> list[Any]:
        return [la.Masking()(keras.ops.convert_to_tensor(x)) for x in xs]

    masks = [np.asarray(get_mask(x)) for x in masked()]
    built, expected = built_layer(case, masked)
    network = network_around(case, built, masked=True)
    found, mask = computed(network, xs, masks, built.get_weights())
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)
    kept = get_mask(expected)
    assert (mask is None) is (kept is None)
    assert network.node_shapes[-1].masked is (kept is not None)
    if kept is not None:
        np.testing.assert_array_equal(mask, kept)


@pytest.mark.parametrize("case", ON_SEQUENCES, ids=[case[0] for case in ON_SEQUENCES])
def test_stepwise_layer_treats_steps_alike(case: Case) -> None:
    """It computes each step from that step alone, and each in the same way."""
    xs, order = arrays_of(case), [3, 1, 0, 5, 2, 4]
    network = network_around(case, new_layer(case))
    moved = [x[:, order] if x.shape[1] == 6 else x for x in xs]
    changed = [np.concatenate([x[:, :-1], x[:, -1:] + 1], axis=1) for x in xs]
    none = [None] * len(xs)
    a, b, c = (computed(network, each, none)[0] for each in (xs, moved, changed))
    alike = (
        a.ndim == 3
        and a.shape[1] == 6
        and np.allclose(a[:, order], b, rtol=1e-4)
        and np.allclose(a[:, :-1], c[:, :-1], rtol=1e-4)
    )
    assert network.nodes[-1].layer.stepwise is alike or (alike and case[0] in CAUTIOUS)


#: The least length of a vector that Keras divides by.
SHORTEST = {"UnitNormalization": 1e-12, "Dot": 1e-7}


@pytest.mark.parametrize("kind", SHORTEST)
@pytest.mark.parametrize("share", [0.5, 2.0])
def test_very_short_vectors_are_divided_as_by_keras(kind: str, share: float) -> None:
    case: Case = (kind, {"axes": 1, "normalize": True}, [FEATURES, FEATURES])
    case = case if kind == "Dot" else (kind, {}, [FEATURES])
    x, *others = (each.astype("float64") for each in arrays_of(case))
    x *= share * SHORTEST[kind] / np.linalg.norm(x, axis=1, keepdims=True)
    found, _ = computed(network_around(case, new_layer(case)), [x, *others], [None] * len(case[2]))
    expected = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), SHORTEST[kind])
    for each in others:
        unit = each / np.linalg.norm(each, axis=1, keepdims=True)
        expected = (expected * unit).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
