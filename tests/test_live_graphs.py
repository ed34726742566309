"""Graphs of live models as calls of layers: names, sources, states, models in models."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as la

from rnnshapes.errors import InputError
from rnnshapes.load.inputs import full_array, random_inputs
from rnnshapes.load.live.graph import (
    is_model,
    layers_by_name,
    model_at_each_step,
    positional_arguments,
    read_graph,
    recurrent_layers,
)
from rnnshapes.load.live.network import has_graph, read_model, takes_indices
from rnnshapes.load.saved.untrusted_json import all_printable, parse, printable
from rnnshapes.network.graph import Tap
from rnnshapes.network.layers.config import Source
from rnnshapes.ops.constant import MOST_NUMBERS, Constant
from tests.helpers.models import dtype_policy
from tests.helpers.subclassed import Classifier, subclassed

T, D = 6, 3


def x_of(name: str = "x", *shape: int) -> Any:
    return keras.Input(shape or (T, D), name=name)


def calls_of(model: Any) -> list[tuple[str, list[Any], list[Any]]]:
    """Return name, sources and initial states of each call."""
    return [
        (call.name, list(map(tuple, call.sources)), list(map(tuple, call.initial)))
        for call in read_graph(model).calls
    ]


def test_calls_come_after_those_that_they_need() -> None:
    x, y = x_of("x"), x_of("y")
    a = la.GRU(4, return_sequences=True, name="a")(y)
    b = la.GRU(4, return_sequences=True, name="b")(x)
    model = keras.Model([x, y], [la.Add(name="sum")([a, b]), a])
    assert calls_of(model) == [
        ("x", [], []),
        ("y", [], []),
        ("a", [(1, 0)], []),
        ("b", [(0, 0)], []),
        ("sum", [(2, 0), (3, 0)], []),
    ]
    assert read_graph(model).outputs == (Tap(4), Tap(2))


def test_states_are_taps_of_further_outputs() -> None:
    x = x_of()
    _, h, c = la.LSTM(4, return_state=True, name="e")(x)
    out = la.LSTM(4, name="d")(x, initial_state=[h, c])
    model = keras.Model(x, [out, c])
    assert calls_of(model)[-1] == ("d", [(0, 0)], [(1, 1), (1, 2)])
    assert read_graph(model).outputs == (Tap(2), Tap(1, 2))
    network = read_model(model)
    assert [node.mask_dropped for node in network.nodes] == [False, False, True]


@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict")
@pytest.mark.parametrize("names", ["", "qp", "uv", "vu"])
def test_nested_model_is_followed_at_each_call(names: str) -> None:
    """With the names of its inputs, or those of the dictionary that it is made from."""
    p, q = x_of("q", 4), x_of("p", 4)
    made_from = [p, q] if names in ("", "qp") else dict(zip(names, (p, q), strict=True))
    m = keras.Model(made_from, la.Subtract(name="minus")([p, q]), name="m")
    a, b = x_of("a", 4), x_of("b", 4)

    def given(*tensors: Any) -> Any:
        return dict(zip(names, tensors, strict=True)) if names else list(tensors)

    model = keras.Model([a, b], m(inputs=given(m(given(a, b)), a)))
    assert calls_of(model) == [
        ("a", [], []),
        ("b", [], []),
        ("m/minus", [(0, 0), (1, 0)], []),
        ("m/minus", [(2, 0), (0, 0)], []),
    ]
    assert set(layers_by_name(model)) == {"a", "b", "m", "m/p", "m/q", "m/minus"}


def test_model_at_each_step_is_followed_without_rounding() -> None:
    def of(dtype: str, inner: str) -> Any:
        model = keras.Sequential(
            [
                keras.Input((T, D)),
                la.GRU(4, name="g", dtype=inner),
                la.Dense(2, name="d", dtype=inner),
            ],
            name="m",
        )
        return la.TimeDistributed(model, name="t", dtype=dtype)

    x = x_of("x", 5, T, D)
    layer = of("float32", "float32")
    model = keras.Model(x, la.Dense(3, name="out")(layer(x)))
    calls = read_graph(model).calls
    found = [(call.name, call.nesting, call.models_ended) for call in calls]
    assert found == [("x", 0, 0), ("t/g", 1, 0), ("t/d", 1, 1), ("out", 0, 0)]
    assert {"t", "t/g", "t/d", "out"} <= set(layers_by_name(model))
    assert model_at_each_step(layer) is layer.layer
    assert model_at_each_step(of("mixed_float16", "float32")) is None
    assert model_at_each_step(of("mixed_float16", "mixed_float16")) is not None
    assert model_at_each_step(of("float32", "mixed_float16")) is not None
    words = keras.Sequential([keras.Input((T,), dtype="int32"), la.Embedding(7, 2)])
    assert model_at_each_step(la.TimeDistributed(words, dtype="mixed_float16")) is words
    assert model_at_each_step(la.TimeDistributed(la.Dense(2))) is None
    assert model_at_each_step(la.Dense(2)) is None
    empty = keras.Sequential([keras.Input((D,))])
    assert model_at_each_step(la.TimeDistributed(empty)) is None
    given = la.TimeDistributed(layer.layer, name="t")(x, training=True)
    assert [call.name for call in read_graph(keras.Model(x, given)).calls] == ["x", "t"]


def test_other_models_at_each_step_stay_one_layer() -> None:
    class TimeDistributed(la.TimeDistributed):
        """A class of the user's may compute anything."""

    p, q = x_of("p"), x_of("q")
    whole = keras.Model(p, la.Dense(2)(p))
    assert model_at_each_step(la.TimeDistributed(whole)) is whole
    for other in (TimeDistributed(whole), la.Wrapper(whole)):
        assert model_at_each_step(other) is None
    for model in (keras.Model([p, q], la.Add()([p, q])), keras.Model(p, [la.Dense(2)(p)] * 2)):
        assert model_at_each_step(la.TimeDistributed(model)) is None


def test_layer_is_called_with_more_than_tensors() -> None:
    x = x_of()
    dense = la.Dense(3, name="d")
    dropped = la.Dropout(0.5, name="o")(x, training=True)
    heads = la.MultiHeadAttention(2, 3, name="h")(x, x, use_causal_mask=True)
    model = keras.Model(x, [dense(dropped), heads])
    calls = {call.name: call for call in read_graph(model).calls}
    assert calls["o"].unsupported == ("training",)
    assert (calls["h"].unsupported, calls["h"].settings) == ((), {"use_causal_mask": True})
    assert calls["h"].sources == (Tap(0), Tap(0))
    supported = {node.name: node.layer.declared_shapes is None for node in read_model(model).nodes}
    assert supported == {"x": True, "o": False, "d": True, "h": True}


def test_model_with_more_than_tensors_stays_one_layer() -> None:
    x, inner = x_of(), keras.Sequential([keras.Input((T, D)), la.GRU(4)], name="m")
    (node,) = read_model(keras.Model(x, inner(x, training=True))).unsupported
    assert (node.name, node.layer.type) == ("m", "Sequential")
    assert node.layer.trainable_count == inner.count_params()


def test_mask_of_another_tensor_is_a_source() -> None:
    x, mask = x_of(), keras.Input((T,), name="mask", dtype="bool")
    gru = la.GRU(3, name="g")(x, mask=keras.ops.logical_not(mask))
    call = read_graph(keras.Model([x, mask], gru)).calls[-1]
    assert (call.unsupported, call.has_mask) == (("mask",), True)
    assert call.sources == (Tap(0), Tap(2))
    trained = la.GRU(3, name="h")(x, mask=mask, training=True)
    call = read_graph(keras.Model([x, mask], trained)).calls[-1]
    assert (call.unsupported, call.sources) == (("training", "mask"), (Tap(0), Tap(1)))


def test_mask_of_a_sum_joins_those_of_its_parts() -> None:
    """In their order; another mask is not that of the sum."""
    x, y = (keras.Input((T,), dtype="int32") for _ in range(2))
    e, f = (la.Embedding(9, 4, mask_zero=True)(words) for words in (x, y))
    of_x, of_y = (keras.ops.not_equal(words, 0) for words in (x, y))
    for parts, masks, is_own in (
        ((f, e), (of_y, of_x), True),
        ((e, e), (of_x, of_x), True),
        ((f, e), (of_x, of_y), False),
        ((f, e), (of_x, of_x), False),
        ((e, e), (of_y, of_x), False),
    ):
        gru = la.GRU(3)(la.Add()(list(parts)), mask=keras.ops.logical_or(*masks))
        call = read_graph(keras.Model([x, y], gru)).calls[-1]
        assert call.unsupported == (() if is_own else ("mask",))


def test_masks_of_attention_are_those_of_its_inputs() -> None:
    """In their order, and all of them."""
    x, y = (keras.Input((T,), dtype="int32") for _ in range(2))
    e, f = (la.Embedding(9, 4, mask_zero=True)(words) for words in (x, y))
    plain = la.Embedding(9, 4)(x)
    of_e, of_f = (each._keras_mask for each in (e, f))
    for inputs, masks, are_own in (
        ([e, f], [of_e, of_f], True),
        ([e, f], [of_f, of_e], False),
        ([plain, f], [None, of_f], True),
        ([plain, f], [of_f, None], False),
        ([e, f, f], [of_e, of_f, of_f], True),
        ([e, f, f], [of_e, of_f], False),
        ([e, f], [None, None], False),
        ([plain, plain], [None, None], True),
        ([plain, plain, plain], [None, None], True),
    ):
        call = read_graph(keras.Model([x, y], la.Attention()(inputs, mask=masks))).calls[-1]
        assert call.unsupported == (() if are_own else ("mask",))


def test_mask_along_another_axis_is_another() -> None:
    x = x_of("x", T, T)
    masked = la.Masking()(x)
    for axis in (-1, 1):
        mask = keras.ops.any(keras.ops.not_equal(x, 0.0), axis=axis)
        call = read_graph(keras.Model(x, la.GRU(3)(masked, mask=mask))).calls[-1]
        assert call.unsupported == (() if axis == -1 else ("mask",))


@pytest.mark.filterwarnings("ignore:.*was passed an input with a mask")
def test_masks_of_models_are_those_of_their_inputs() -> None:
    """However their inputs are nested; None leaves an input its own mask."""
    x, y, z = (keras.Input((T,), dtype="int32") for _ in range(3))
    e, f = (la.Embedding(9, 4, mask_zero=True)(words) for words in (x, y))
    plain = la.Embedding(9, 4)(z)
    a, b, c = (keras.Input((T, 4)) for _ in range(3))
    inner = keras.Model([[a, b], c], la.GRU(3)(la.Concatenate()([a, b, c])))
    for inputs, masks, is_followed in (
        ([[plain, plain], plain], None, True),
        ([[e, f], plain], [[e._keras_mask, f._keras_mask], None], True),
        ([[e, f], plain], [[None, None], None], True),
        ([[e, f], plain], [[f._keras_mask, None], None], False),
        ([[e, f], plain], e._keras_mask, True),
        ([[e, f], plain], f._keras_mask, False),
    ):
        options = {} if masks is None else {"mask": masks}
        calls = read_graph(keras.Model([x, y, z], inner(inputs, **options))).calls
        assert ("GRU" in [type(call.layer).__name__ for call in calls]) == is_followed


def test_complex_input_is_refused() -> None:
    x = keras.Input((T, D), dtype="complex64")
    with pytest.raises(InputError, match="complex64"):
        read_model(keras.Model(x, la.Reshape((D, T))(x)))


def operation_on(value: Any) -> tuple[Any, ...]:
    x = x_of()
    model = keras.Model(x, keras.ops.add(x, value))
    return positional_arguments(read_graph(model).calls[-1])


def test_arguments_of_operations_are_values() -> None:
    x = x_of()
    model = keras.Model(x, keras.ops.where(x > 0.5, x, keras.ops.concatenate([x, x], 1)[:, :T]))
    calls = [call for call in read_graph(model).calls if call.sources]
    found = [positional_arguments(call) for call in calls]
    assert (Source(0), 0.5) in found
    assert (Source(0), Source(1), Source(2)) in found
    assert ((Source(0), Source(1)),) in [value[:1] for value in found]
    array = np.array([0.5, 2, -1], "float32")
    expected = Constant((0.5, 2.0, -1.0), (3,), "float32")
    assert operation_on(array) == (Source(0), expected)
    assert operation_on(keras.ops.convert_to_tensor(array)) == (Source(0), expected)
    _, variable = operation_on(keras.Variable(array, name="own"))
    assert not isinstance(variable, Constant)


@pytest.mark.parametrize(
    ("size", "is_read"), [(0, False), (1, True), (MOST_NUMBERS, True), (MOST_NUMBERS + 1, False)]
)
def test_constants_have_a_largest_size(size: int, is_read: bool) -> None:
    x = x_of("x", 2, 1)
    model = keras.Model(x, keras.ops.multiply(x, np.ones(size, "float32")))
    _, value = positional_arguments(read_graph(model).calls[-1])
    assert isinstance(value, Constant) is is_read


def test_parts_with_a_cell_and_states_are_recurrent() -> None:
    lstm, both = la.LSTM(4), la.Bidirectional(la.GRU(3))
    assert recurrent_layers(lstm) == [lstm]
    assert recurrent_layers(both) == [both.forward_layer, both.backward_layer]
    for other in (la.Dense(2), SimpleNamespace(states=1), SimpleNamespace(cell=1)):
        assert recurrent_layers(other) == []


def test_models_with_a_graph_are_known() -> None:
    x = x_of()
    functional = keras.Model(x, la.Dense(2)(x))
    sequential = keras.Sequential([keras.Input((T, D)), la.Dense(2)])
    unbuilt, own = keras.Sequential([la.Dense(2)]), subclassed(Classifier)
    assert [is_model(each) for each in (functional, sequential, unbuilt, own, la.Dense(2))] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert [has_graph(each) for each in (functional, sequential, own)] == [True, True, False]
    for wrong in (unbuilt, keras.Model, 3, la.Dense):
        with pytest.raises(InputError):
            has_graph(wrong)


def test_inputs_of_embeddings_are_indices() -> None:
    x, y, z = x_of("x", T), x_of("y", 4, T), x_of("z", T)
    words = la.Embedding(9, 3)
    out = [words(x), la.TimeDistributed(la.Embedding(9, 3))(y), la.Rescaling(2.0)(z)]
    graph = read_graph(keras.Model([x, y, z], out))
    assert [takes_indices(graph, position) for position in range(3)] == [True, True, False]


def test_index_of_a_sample_has_no_time() -> None:
    """As that of a class, whose Embedding is the state from which a layer starts."""
    kind, x = keras.Input((), dtype="int32", name="kind"), x_of()
    start = la.Embedding(9, 4, name="start")(kind)
    network = read_model(keras.Model([kind, x], la.GRU(4)(x, initial_state=start)))
    assert [node.layer.timed for node in network.inputs] == [False, True]  # type: ignore[attr-defined]
    assert [node.name for node in network.unsupported] == ["start"]
    shapes = [full_array(each).shape for each in random_inputs(network.with_sizes(N=5), 3)]
    assert shapes == [(5,), (5, T, D)]


def own(z: Any) -> Any:
    """Return a product, as a function of the user's."""
    return z * z


@keras.saving.register_keras_serializable(package="tests")
def named(z: Any) -> Any:
    """Return a product, as a function that Keras knows by name."""
    return z * z


class Unsaved(la.Layer):
    """A layer that cannot say how it was made."""

    def get_config(self) -> dict[str, Any]:
        raise NotImplementedError

    def call(self, x: Any) -> Any:
        return x * x


def one_layer(layer: Any, *shape: int) -> Any:
    x = x_of("x", *shape)
    return keras.Model(x, layer(x))


def shares_a_cell() -> Any:
    """Return a model that calls a cell, and a layer that has it, as a loop of the user's would."""
    x, h, z, cell = x_of("x", D), x_of("h", 4), x_of("z"), la.SimpleRNNCell(4, name="cell")
    return keras.Model([x, h, z], [cell(x, [h])[0], la.RNN(cell, name="rnn")(z)])


def integers() -> Any:
    """Return a model in which an Embedding takes integers, and other layers others."""
    x, y = (keras.Input((T,), dtype="int32", name=name) for name in "xy")
    others = [la.Rescaling(2.0, name="scaled")(y), la.Flatten(name="flat")(y)]
    return keras.Model([x, y], [la.Embedding(9, 3)(x), *others])


TANH = keras.activations.tanh
#: A model, and the names of its layers that are not supported.
LIVE: dict[str, tuple[Any, list[str]]] = {
    "functions of Keras": (lambda: one_layer(la.GRU(4, TANH, "relu", name="a")), []),
    "initializer": (lambda: one_layer(la.GRU(4, kernel_initializer=lambda shape, dtype: 1.0)), []),
    "activation": (lambda: one_layer(la.GRU(4, own, name="a")), ["a"]),
    "recurrent activation": (lambda: one_layer(la.LSTM(4, "tanh", own, name="a")), ["a"]),
    "of one direction": (
        lambda: one_layer(
            la.Bidirectional(la.GRU(4), backward_layer=la.GRU(4, own, go_backwards=True), name="a")
        ),
        ["a"],
    ),
    "of the other direction": (
        lambda: one_layer(
            la.Bidirectional(
                la.GRU(4, named), backward_layer=la.GRU(4, go_backwards=True), name="a"
            )
        ),
        ["a"],
    ),
    "of the layer at each step": (
        lambda: one_layer(la.TimeDistributed(la.Dense(4, own), name="a")),
        ["a"],
    ),
    "of a cell": (lambda: one_layer(la.RNN(la.GRUCell(4, own), name="a")), ["a"]),
    "of the second cell": (
        lambda: one_layer(la.RNN([la.GRUCell(4), la.GRUCell(4, own)], name="a")),
        ["a"],
    ),
    "of no cell": (lambda: one_layer(la.RNN([la.GRUCell(4), la.LSTMCell(4)], name="a")), []),
    "no config": (lambda: one_layer(Unsaved(name="a")), ["a"]),
    "integers": (integers, ["scaled", "flat"]),
    "shared cell": (shares_a_cell, ["cell"]),
}


@pytest.mark.parametrize("name", LIVE)
def test_layers_with_own_functions_are_not_supported(name: str) -> None:
    """Each weight counts once, also that of a cell that a model calls by itself."""
    build, unsupported = LIVE[name]
    model = build()
    network = read_model(model)
    assert [node.name for node in network.unsupported] == unsupported
    counts = [layer.trainable_count for layer in network.layers]
    assert sum(count or 0 for count in counts) == model.count_params()
    assert (network.batch, network.dtype, network.uncalled) == (None, "float32", ())


@pytest.mark.parametrize(
    ("policy", "dtype", "computes_in"),
    [
        ("float32", "float32", "float32"),
        ("float64", "float64", "float64"),
        ("mixed_float16", "float32", "float16"),
        ("mixed_bfloat16", "float32", "bfloat16"),
    ],
)
def test_layers_compute_in_the_dtype_of_their_policy(
    policy: str, dtype: str, computes_in: str
) -> None:
    """An input has its own dtype, whatever the policy is, and may have a fixed N."""
    with dtype_policy(policy):
        x = keras.Input((T, D), batch_size=4, dtype="float64", name="x")
        model = keras.Model(x, la.Dense(2)(la.GRU(4, trainable=False)(x)))
    network = read_model(model)
    assert (network.dtype, network.batch) == (dtype, 4)
    layers = [node.layer for node in network.nodes]
    assert [layer.computes_in for layer in layers] == ["float64", computes_in, computes_in]
    assert [layer.trainable_count for layer in layers[1:]] == [0, 10]


def test_operations_have_no_dtype_of_weights() -> None:
    """Without weights it is float32; no layer may have one that is no float."""
    x = x_of()
    assert read_model(keras.Model(x, x * 2.0)).dtype == "float32"
    assert read_model(keras.Model(x, la.ReLU(dtype="float64")(x * 2.0))).dtype == "float64"
    with pytest.raises(InputError, match="int32"):
        read_model(keras.Model(x, la.Flatten(dtype="int32")(x)))


# --- JSON of files --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ['{"a": [1, {"b": null}], "a": 2}', b'{"a": 2, "c": "\xc3\xa4"}'])
def test_object_is_parsed(text: Any) -> None:
    assert parse(text, "it")["a"] == 2


@pytest.mark.parametrize(
    "text",
    [
        "[1]",
        "3",
        "",
        "{",
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": %s}' % ("1" * 41),
        '{"a": %s}' % ("[" * 65 + "]" * 65),
        '{"a": [%s]}' % ("," * 500_000),
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^it "):
        parse(text, "it")


def test_largest_object_is_parsed() -> None:
    assert parse('{"a": %s}' % ("1" * 40), "it") == {"a": int("1" * 40)}
    assert parse('{"a": %s}' % ("[" * 64 + "]" * 64), "it")
    with pytest.raises(InputError):
        parse('{"a": 1, "a": 2}', "it", unique_keys=True)
    assert parse('{"a": 1, "b": 2}', "it", unique_keys=True) == {"a": 1, "b": 2}


def test_text_of_a_file_can_be_printed() -> None:
    assert printable("a ä 日") == "a ä 日"
    assert printable("a\x1b[31m\n") == "a\\x1b[31m\\n"
    assert printable("\u202eä\\") == "\\u202eä\\"
    assert printable("a" * 5000) == "a" * 5000
    assert printable("\n" * 1000) == "\\n" * 1000
    assert printable("\n" * 1001) == "\\n" * 1000 + "…"
    assert all_printable({"\n": ["\n", 1, None, {"a": "\t"}]}) == {
        "\\n": ["\\n", 1, None, {"a": "\\t"}]
    }
