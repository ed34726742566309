"""Models inside TimeDistributed: which masks their layers and the layers after them have."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.network.assemble import LayerCall, LayerGraph, assemble
from rnnshapes.network.graph import Network, Tap
from rnnshapes.network.layers.base import Masks
from rnnshapes.network.layers.config import Source
from rnnshapes.network.summary import inspect_network
from rnnshapes.ops.numpy_ops import NumpyOps
from tests.helpers.models import randomized, sequential


def chain(shape: tuple[int, ...], *layers: tuple[str, Any, int, int]) -> Network:
    """Assemble a chain of layers: class, config, models around it, and how many it leaves."""
    calls = [LayerCall("x", "InputLayer", {"batch_shape": (None, *shape)})]
    calls += [
        LayerCall(
            f"layer{number}", kind, config, (Tap(number),), nesting=nesting, models_ended=ended
        )
        for number, (kind, config, nesting, ended) in enumerate(layers)
    ]
    return assemble(LayerGraph(tuple(calls), (Tap(len(layers)),)))


def masked(network: Network) -> list[bool]:
    return [shapes.masked for shapes in network.node_shapes[1:]]


DENSE = "Dense", {"units": 6}
GRU = "GRU", {"units": 5}


def test_mask_made_inside_stays_inside() -> None:
    network = chain((3, 5, 4), ("Masking", {}, 1, 0), (*DENSE, 1, 1), ("Flatten", {}, 1, 1))
    assert masked(network) == [True, False, False]
    assert not network.unsupported


def test_weights_inside_are_named_after_their_layers() -> None:
    part = {"class_name": "Dense", "config": {"units": 6, "name": "own"}}
    network = chain(
        (3, 5, 4), (*DENSE, 1, 0), (*GRU, 1, 1), ("TimeDistributed", {"layer": part}, 0, 0)
    )
    names = [[w.name for w in layer.weights] for layer in inspect_network(network).layers]
    assert names[0] == ["layer0/kernel", "layer0/bias"]
    assert names[1] == [f"layer1/{name}" for name in ("kernel", "recurrent_kernel", "bias")]
    assert names[2] == ["layer2/own/kernel", "layer2/own/bias"]


def test_mask_inside_adds_one_note() -> None:
    plain, skipping = (
        inspect_network(chain((3, 5, 4), (kind, {}, 1, 0), (*GRU, 1, 1))).layers[1]
        for kind in ("Dropout", "Masking")
    )
    assert plain.supported
    assert [note.topic for note in plain.notes] == ["gates", "gates", "use"]
    assert skipping.notes[:-1] == plain.notes
    assert skipping.notes[-1].topic == "use"


@pytest.mark.parametrize("missing", ["", "unroll", "zero_output_for_mask", "mask"])
def test_unrolled_mask_in_reverse_is_unsupported_inside(missing: str) -> None:
    """Keras sets the wrong steps to zero."""
    options = {"units": 5, "return_sequences": True, "go_backwards": True, "unroll": True}
    options |= {"zero_output_for_mask": True, missing: False}
    front = "Dropout" if missing == "mask" else "Masking"
    network = chain((3, 5, 4), (front, {}, 1, 0), ("GRU", options, 1, 1))
    assert [node.name for node in network.unsupported] == ["layer1"] * (missing == "")


def test_mask_of_an_inner_model_stays_there() -> None:
    layers = (("Masking", {}, 2, 0), ("Flatten", {}, 2, 1), (*GRU, 1, 1))
    network = chain((2, 3, 5, 4), *layers)
    assert masked(network) == [True, False, False]
    assert not network.unsupported


@pytest.mark.parametrize(("shape", "nesting"), [((3, 5, 4), 0), ((2, 3, 5, 4), 1)])
def test_mask_of_more_axes_does_not_enter(shape: Any, nesting: int) -> None:
    """Keras passes one of samples and steps on, and a model inside may make any."""
    network = chain(shape, ("Masking", {}, nesting, 0), (*DENSE, 1, 1))
    assert masked(network) == [True, False]
    assert [node.name for node in network.unsupported] == ["layer1"] * (nesting == 0)


def test_mask_from_outside_passes_through() -> None:
    cut = "Reshape", {"target_shape": (5, 4)}
    inside = (*cut, 1, 0), ("Flatten", {}, 1, 1)
    network = chain((3, 20), ("Masking", {}, 0, 0), *inside, (*GRU, 0, 0))
    assert masked(network) == [True, True, True, False]
    assert not network.unsupported


@pytest.mark.parametrize(
    ("shape", "before"),
    [((3, 20), [("Reshape", {"target_shape": (5, 4)}, 1, 0)]), ((3, 5, 4), [])],
)
def test_layer_inside_uses_no_outer_mask(shape: Any, before: Any) -> None:
    """Keras gives it one number for each step, or passes a mask of more axes on."""
    network = chain(shape, ("Masking", {}, 0, 0), *before, (*GRU, 1, 1))
    assert [node.layer.name for node in network.unsupported] == [f"layer{1 + len(before)}"]


@pytest.mark.parametrize(
    ("kind", "config", "supported"),
    [
        ("Dense", {"units": 6}, True),
        ("Flatten", {}, True),
        ("MaxPooling1D", {}, True),
        ("LSTM", {"units": 6}, False),
        ("Bidirectional", {"layer": {"class_name": "GRU", "config": {"units": 6}}}, False),
        ("GlobalMaxPooling1D", {}, False),
        ("GlobalAveragePooling1D", {}, False),
        ("Masking", {}, False),
        ("ConvLSTM1D", {"filters": 2, "kernel_size": 2}, False),
    ],
)
def test_only_layers_without_masks_are_wrapped_behind_one(
    kind: str, config: Any, supported: bool
) -> None:
    """Keras gives the wrapped layer none of the right shape."""
    part = {"class_name": kind, "config": {"name": "own", **config}}
    shape = (3, 5, 7, 4) if kind == "ConvLSTM1D" else (3, 5, 4)
    for front, expected in (("Dropout", kind != "Masking"), ("Masking", supported)):
        network = chain(shape, (front, {}, 0, 0), ("TimeDistributed", {"layer": part}, 0, 0))
        assert [node.name for node in network.unsupported] == ["layer1"] * (not expected)
        assert not expected or masked(network) == [front == "Masking"] * 2


@pytest.mark.parametrize("nesting", [1, 2, 3])
def test_layer_returning_its_input_has_no_equation(nesting: int) -> None:
    layers = ("Dropout", {"rate": 0.5}, nesting, nesting), (*DENSE, 0, 0)
    dropout, dense = inspect_network(chain((2, 3, 5, 4), *layers)).layers[-2:]
    assert not dropout.equations
    assert len(dense.equations) == 1


BACKWARDS, SEQUENCES = {"go_backwards": True}, {"return_sequences": True}
ZEROED = {"zero_output_for_mask": True}
RECURRENCES = [
    la.SimpleRNN(5),
    la.GRU(5, **ZEROED),
    la.GRU(5, **BACKWARDS, **ZEROED),
    la.LSTM(5, **BACKWARDS, **SEQUENCES),
    la.GRU(5, **BACKWARDS, **SEQUENCES, **ZEROED),
    la.Bidirectional(la.LSTM(5), merge_mode="mul"),
    la.Bidirectional(la.GRU(5, **SEQUENCES)),
]


@pytest.mark.parametrize("made", RECURRENCES, ids=lambda made: type(made).__name__)
def test_recurrence_inside_computes_what_keras_computes(made: Any) -> None:
    """It starts anew at each step, and a mask from inside skips steps of its own."""
    rng = np.random.default_rng(4)
    x, mask = rng.standard_normal((2, 3, 6, 4)), rng.random((2, 3, 6)) < 0.6
    made.build((None, 6, 4))
    randomized(made)
    part = keras.saving.serialize_keras_object(made)
    call = part["class_name"], part["config"], 1, 1
    layer = chain((3, 6, 4), ("Masking", {}, 1, 0), call).nodes[-1].layer
    keys = [weight.key for group in layer.groups.values() for weight in group]
    w = SimpleNamespace(**dict(zip(keys, made.get_weights(), strict=True)))
    for given in (None, mask):
        folded = None if given is None else given.reshape(6, 6)
        expected = np.asarray(made(x.reshape(6, 6, 4).astype("float32"), mask=folded))
        kept = layer.mask([x], [given])
        found = layer.call(NumpyOps(), [x], w, Masks([given], kept))
        assert kept is None
        np.testing.assert_allclose(found, expected.reshape(found.shape), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["Multiply", "Maximum", "Minimum"])
def test_masks_inside_choose_the_factors(kind: str) -> None:
    """The last layer of a model uses the masks of its inputs, and passes none on."""
    x = LayerCall("x", "InputLayer", {"batch_shape": (None, 3, 5, 4)})
    made = [LayerCall(name, "Masking", {}, (Tap(0),), nesting=1) for name in "ab"]
    last = LayerCall("last", kind, {}, (Tap(1), Tap(2)), nesting=1, models_ended=1)
    layer = assemble(LayerGraph((x, *made, last), (Tap(3),))).nodes[-1].layer
    rng = np.random.default_rng(4)
    one, other = rng.standard_normal((2, 2, 3, 5, 4))
    first, second = (each[..., None] for each in rng.random((2, 2, 3, 5)) < 0.6)
    masks = [first[..., 0], second[..., 0]]
    assert layer.mask([one, other], masks) is None
    found = layer.call(NumpyOps(), [one, other], None, Masks(masks, None))
    if kind == "Multiply":
        product = np.where(first, one, 1) * np.where(second, other, 1)
        expected = np.where(first | second, product, 0)
    else:
        chosen = np.maximum(one, other) if kind == "Maximum" else np.minimum(one, other)
        expected = np.where(first & second, chosen, np.where(second, other, one))
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize(
    ("kind", "config", "shape", "dims", "stepwise"),
    [
        ("keras.ops.Sum", {"axis": -1}, (6, 4), "N T", False),
        ("keras.ops.Sum", {"axis": -1, "keepdims": True}, (6, 4), "N T 1", True),
        ("keras.ops.ExpandDims", {"axis": -1}, (6,), "N D 1", False),
        ("keras.ops.Split", {"indices_or_sections": 2, "axis": -1}, (6, 4), "N T 2, N T 2", False),
        ("Dense", {"units": 5}, (6, 4), "N T K", True),
        ("Flatten", {}, (6, 4, 3), "N T 4D", True),
        ("keras.ops.GetItem", {}, (6, 4, 3), "N T D", True),
    ],
)
def test_steps_have_features_inside_and_outside(
    kind: str, config: Any, shape: tuple[int, ...], dims: str, *, stepwise: bool
) -> None:
    """Other models give and take all steps at once."""
    arguments: tuple[Any, ...] = (Source(0),) if "ops" in kind else ()
    arguments += ((slice(None), -1),) if "GetItem" in kind else ()
    x = LayerCall("x", "InputLayer", {"batch_shape": (None, *shape)})
    call = LayerCall("c", kind, config, (Tap(0),), nesting=1, models_ended=1, arguments=arguments)
    network = assemble(LayerGraph((x, call), (Tap(1),)))
    assert not network.unsupported
    shapes = network.node_shapes[-1].shapes
    assert ", ".join(" ".join(map(str, each)) for each in shapes) == dims
    assert network.nodes[-1].layer.stepwise is stepwise


@pytest.mark.parametrize(
    ("kind", "nesting", "rounds"),
    [
        *(("Dense", 0, True), ("Dense", 1, True), ("Dense", 2, True)),
        *(("LayerNormalization", 0, True), ("LayerNormalization", 1, False)),
        ("LayerNormalization", 2, False),
    ],
)
def test_wrapper_alone_rounds_the_input_of_norms(kind: str, nesting: int, rounds: bool) -> None:
    """A model inside receives what the layers before it give."""
    part = {"class_name": kind, "config": {"name": "own", "units": 6}}
    call = (kind, part["config"], nesting, 0)
    call = call if nesting else ("TimeDistributed", {"layer": part}, 0, 0)
    assert chain((2, 3, 5, 4), call).nodes[-1].layer.rounds_input is rounds


def test_model_without_layers_has_one_row(tmp_path: Path) -> None:
    inner, x = keras.Input((5, 4)), keras.Input((3, 5, 4))
    each = la.TimeDistributed(keras.Model(inner, inner), name="each")
    model = keras.Model(x, la.Flatten()(each(x)))
    model.save(path := tmp_path / "model.keras")
    for network in (rnnshapes.inspect(model).network, rnnshapes.inspect(path).network):
        assert [node.name for node in network.unsupported] == ["each"]


@pytest.mark.parametrize("parts", [1, 2])
def test_parts_of_a_tensor_inside_are_traced(parts: int) -> None:
    """One part alone is a tensor like any other."""
    inner = keras.Input((4, 6))
    last = keras.ops.split(inner, parts, axis=1)[-1]
    each = la.TimeDistributed(keras.Model(inner, la.Flatten()(last)))
    model = randomized(sequential(each, la.GRU(5), shape=(3, 4, 6)))
    x = np.random.default_rng(3).standard_normal((2, 3, 4, 6)).astype("float32")
    traced = rnnshapes.trace(model, x=x, keras=False)
    np.testing.assert_allclose(traced.output, model(x), atol=1e-6)
    assert rnnshapes.verify(model, x=x).passed


@pytest.mark.parametrize(("dtype", "supported"), [("mixed_float16", False), ("float32", True)])
def test_model_that_receives_rounded_numbers_is_unsupported(dtype: str, supported: bool) -> None:
    inner = sequential(la.Dense(4), la.Flatten(), shape=(3, 5))
    at_steps = la.TimeDistributed(inner, dtype=dtype)
    model = randomized(sequential(at_steps, la.LSTM(6, dtype="float32"), shape=(4, 3, 5)))
    result = rnnshapes.verify(model, N=3)
    assert (result.passed, not result.unsupported) == (True, supported)


def test_mask_passes_an_unsupported_layer_at_each_step() -> None:
    def made(x: Any) -> Any:
        inner = keras.Input((4,))
        doubled = keras.Model(inner, la.Add()([inner, inner * 0.5]))
        h = la.GRU(4, return_sequences=True)(la.Masking()(x))
        joined = la.Concatenate(axis=1)([la.TimeDistributed(doubled)(h), la.Dense(4)(x)])
        return keras.ops.tanh(joined)

    x = keras.Input((6, 3))
    model = randomized(keras.Model(x, made(x)))
    values = np.random.default_rng(3).standard_normal((3, 6, 3)).astype("float32")
    values[1:, 4:] = 0.0
    result = rnnshapes.verify(model, x=values)
    assert result.unsupported
    assert result.passed, result


def test_calls_inside_keep_their_arguments() -> None:
    """Also those that are no tensors, and what Normalization computes of its weights."""
    inner_x = keras.Input((4, 3))
    heads = la.MultiHeadAttention(2, 5)
    attended = heads(inner_x, inner_x, use_causal_mask=True)
    inner = keras.Model(inner_x, la.Normalization()(attended))
    x = keras.Input((6, 4, 3))
    model = keras.Model(x, la.TimeDistributed(inner)(x))
    randomized(model)
    assert rnnshapes.verify(model, N=2).passed


@pytest.mark.parametrize("first", [0, 1])
def test_layer_is_shared_by_inputs_of_other_ranks(first: int) -> None:
    """The steps of one are sequences, those of the other are vectors."""
    inputs = [keras.Input((2, 6, 3)), keras.Input((6, 3))]
    shared = la.TimeDistributed(la.Dense(5))
    called = {number: shared(inputs[number]) for number in (first, 1 - first)}
    model = keras.Model(inputs, [called[0], la.LSTM(4)(called[1])])
    result = rnnshapes.verify(randomized(model), N=2)
    assert result.passed, result
    assert not result.unsupported
