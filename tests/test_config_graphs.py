"""Configs of models as calls of layers: arguments, references, shapes, models in models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rnnshapes.errors import InputError
from rnnshapes.load.call_arguments import is_given, name_options, sort_arguments
from rnnshapes.load.saved import config_graph
from rnnshapes.load.saved import network as saved_network
from rnnshapes.load.saved.config_layers import (
    has_graph,
    numbered,
    read_model_config,
    sequential_input,
    snake_case,
)
from rnnshapes.load.saved.hdf5_client import StoredWeight
from rnnshapes.load.saved.inbound_nodes import (
    TensorRef,
    inbound_nodes,
    known_shapes,
    references,
    shape_of,
)
from rnnshapes.load.saved.mask_ops import UnequalMask
from rnnshapes.load.saved.network import (
    build_network,
    config_errors,
    flatten,
    mixed_policies,
    weight_dtypes,
)
from rnnshapes.network.assemble import LayerCall, LayerGraph
from rnnshapes.network.graph import Network, Tap
from rnnshapes.network.layers.config import LAST_INPUT, Source
from rnnshapes.ops.constant import Constant
from tests.helpers.hostile_graphs import call, graph, node

Config = dict[str, Any]
#: Tensors of a call are negative numbers here.
PARAMETERS = ("sequences", "initial_state", "mask", "training")


def tensors_in(value: Any) -> Any:
    """Yield the tensors in an argument; negative numbers stand for them here."""
    if isinstance(value, list | tuple):
        for part in value:
            yield from tensors_in(part)
    elif type(value) is int and value < 0:
        yield value


# --- Arguments of a call --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "kwargs", "class_name", "expected"),
    [
        ([-1], {}, "", {"inputs": (-1,)}),
        ([-1, -2], {}, "", {"inputs": (-1, -2)}),
        ([], {"sequences": -1}, "", {"inputs": (-1,)}),
        ([], {"key": -3, "query": -1, "value": -2}, "", {"inputs": (-1, -2, -3)}),
        ([-1], {"initial_state": [-2, -3]}, "", {"inputs": (-1,), "initial": (-2, -3)}),
        ([-1], {"initial_state": None}, "", {"inputs": (-1,)}),
        ([-1], {"initial_state": [3, 4]}, "", {"inputs": (-1,), "unsupported": ("initial_state",)}),
        ([-1], {"mask": -2}, "", {"inputs": (-1,), "mask": -2}),
        ([-1], {"training": False, "other": None}, "", {"inputs": (-1,)}),
        (
            [-1],
            {"training": True},
            "",
            {"inputs": (-1,), "options": {"training": True}, "unsupported": ("training",)},
        ),
        (
            [-1],
            {"other": -2, "more": 0},
            "LSTM",
            {
                "inputs": (-1,),
                "options": {"other": -2, "more": 0},
                "unsupported": ("other", "more"),
            },
        ),
        (
            [-1, -2],
            {"use_causal_mask": True},
            "MultiHeadAttention",
            {"inputs": (-1, -2), "settings": {"use_causal_mask": True}},
        ),
        (
            [-1, -2],
            {"attention_mask": -3},
            "MultiHeadAttention",
            {"inputs": (-1, -2, -3), "settings": {"attention_mask": LAST_INPUT}},
        ),
        (
            [-1, -2],
            {"use_causal_mask": True},
            "Dense",
            {
                "inputs": (-1, -2),
                "options": {"use_causal_mask": True},
                "unsupported": ("use_causal_mask",),
            },
        ),
    ],
)
def test_arguments_are_sorted(args: Any, kwargs: Any, class_name: str, expected: Any) -> None:
    found = sort_arguments(args, kwargs, tensors_in, class_name)
    empty = {"initial": (), "mask": None, "options": {}, "unsupported": (), "settings": {}}
    assert vars(found) == {**empty, **expected}


@pytest.mark.parametrize(
    ("args", "kwargs", "parameters", "expected"),
    [
        ([-1], {}, PARAMETERS, ([-1], {})),
        ([-1, [-2]], {}, PARAMETERS, ([-1], {"initial_state": [-2]})),
        (
            [-1, None, -3, False],
            {},
            PARAMETERS,
            ([-1], {"initial_state": None, "mask": -3, "training": False}),
        ),
        ([-1], {"mask": -2}, PARAMETERS, ([-1], {"mask": -2})),
        ([-1, -2, -3], {}, ("query", "value", "mask"), ([-1, -2], {"mask": -3})),
        ([-1, -2], {}, ("mask", "value"), ([-1, -2], {})),
        ([-1, -2, -3], {}, ("x", "mask", "y"), ([-1, -3], {"mask": -2})),
    ],
)
def test_options_by_position_get_names(args: Any, kwargs: Any, parameters: Any, expected) -> None:
    before = dict(kwargs)
    assert name_options(args, kwargs, parameters) == expected
    assert kwargs == before


def test_nested_nothing_is_not_given() -> None:
    for value in (None, [], {}, [None], {"a": None}, ({"a": [None]},)):
        assert not is_given(value)
    for value in (0, False, "", [0], {"a": [None, 1]}, (None, {"b": 2})):
        assert is_given(value)


# --- References and calls in a config -------------------------------------------------------------


def ref(layer: str, number: int = 0, output: int = 0, shape: Any = (None, 6, 3)) -> Config:
    config = {"shape": list(shape), "dtype": "float32", "keras_history": [layer, number, output]}
    return {"class_name": "__keras_tensor__", "config": config}


def test_references_are_found_in_order() -> None:
    a, b, c = TensorRef("a", 0, 0), TensorRef("b", 1, 2), TensorRef("c", 0, 1)
    first, second, third = ref("a"), ref("b", 1, 2), ref("c", 0, 1)
    cases: list[tuple[Any, list[TensorRef]]] = [
        (None, []),
        (["a", 0, 0], [a]),
        ([["a", 0, 0], ["b", 1, 2, {}]], [a, b]),
        (["a", 0, 0, {"x": ["b", 1, 2]}], [a]),
        ([[["c", 0, 1]], ["a", 0, 0]], [c, a]),
        ({"z": ["a", 0, 0], "y": ["b", 1, 2]}, [b, a]),
        (first, [a]),
        ([first, {"q": third, "p": [second]}], [a, b, c]),
        ("a", []),
        (["a"], []),
    ]
    for value, expected in cases:
        assert list(references(value)) == expected, value


@pytest.mark.parametrize(
    "value",
    [
        ["a", 0, "0"],
        ["a", -1, 0],
        ["a", 0, 2**16],
        ["a", True, 0],
        ["a", 0, 1.0],
        {"class_name": "__keras_tensor__"},
        {"class_name": "__keras_tensor__", "config": {"keras_history": ["a", 0]}},
        {"class_name": "__keras_tensor__", "config": {"keras_history": [0, 0, 0]}},
    ],
)
def test_impossible_reference_is_refused(value: Any) -> None:
    with pytest.raises(InputError):
        list(references(value))
    assert list(references(["a", 2**16 - 1, 0])) == [TensorRef("a", 2**16 - 1, 0)]


def one_call(kind: str, args: Any, module: str = "keras.layers", **kwargs: Any) -> Config:
    return {**call(kind, "layer", {"args": args, "kwargs": kwargs}), "module": module}


def old_call(kind: str, value: Any) -> Config:
    return {"class_name": kind, "name": "layer", "inbound_nodes": [value]}


def read_call(layer: Config) -> Config:
    (found,) = inbound_nodes(layer)
    return {name: value for name, value in vars(found).items() if value not in ((), None)}


A, B, C = TensorRef("a", 0, 0), TensorRef("b", 0, 0), TensorRef("c", 0, 0)
MHA = "MultiHeadAttention"
SLICE = {"class_name": "__slice__", "config": {"start": 1, "stop": None, "step": 2}}
ARRAY = {"class_name": "__numpy__", "config": {"value": [[0.5, 2.0]], "dtype": "float32"}}
EMPTY, UNKNOWN = {"class_name": "__numpy__"}, {**ARRAY, "class_name": "__other__"}


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (one_call("Dense", [ref("a")]), {"sources": (A,)}),
        (one_call("Dense", None), {}),
        (call("Dense", "layer", {"args": [ref("a")], "kwargs": None}), {"sources": (A,)}),
        (one_call("Dense", [ref("a")], training=None), {"sources": (A,)}),
        (one_call("Dense", [ref("a")], x=3), {"sources": (A,), "unsupported": ("x",)}),
        (one_call("Dense", [ref("a")], x=ref("b")), {"sources": (A, B), "unsupported": ("x",)}),
        (
            one_call("LSTM", [ref("a")], initial_state=[ref("b"), ref("c")]),
            {"sources": (A,), "initial": (B, C)},
        ),
        (
            one_call("LSTM", [ref("a"), [ref("b"), ref("c")]]),
            {"sources": (A,), "initial": (B, C)},
        ),
        (one_call("LSTM", [ref("a"), None, ref("b")]), {"sources": (A,), "mask": B}),
        (one_call("LSTM", [ref("a")], mask=ref("b")), {"sources": (A,), "mask": B}),
        (
            one_call("LSTM", [ref("a")], mask=[[True]]),
            {"sources": (A,), "unsupported": ("mask",)},
        ),
        (
            one_call("Add", [[ref("a"), ref("b")]], mask=[ref("c"), None]),
            {"sources": (A, B), "mask": C, "unsupported": ("mask",)},
        ),
        (one_call("Add", [[ref("a"), ref("b")]], mask=[None, None]), {"sources": (A, B)}),
        (
            one_call("Own", [ref("a")], mask={"p": ref("b"), "q": ref("c")}),
            {"sources": (A,), "unsupported": ("mask",)},
        ),
        (
            one_call("Dense", [ref("a"), ref("b")], x=3, mask=[[True]]),
            {
                "sources": (A, B),
                "unsupported": ("x", "mask", "more than one argument"),
                "more": (ref("b"),),
            },
        ),
        (
            one_call("Dense", [ref("a"), ref("b")]),
            {
                "sources": (A, B),
                "unsupported": ("more than one argument",),
                "more": (ref("b"),),
            },
        ),
        (one_call(MHA, [ref("a"), ref("b")]), {"sources": (A, B), "more": (ref("b"),)}),
        (
            one_call(MHA, [ref("a"), ref("b"), ref("c")]),
            {"sources": (A, B, C), "more": (ref("b"), ref("c"))},
        ),
        (
            one_call(MHA, [ref("a"), ref("b")], attention_mask=ref("c")),
            {
                "sources": (A, B, C),
                "more": (ref("b"), ref("c")),
                "settings": (("attention_mask", LAST_INPUT),),
            },
        ),
        (
            one_call("Model", [{"q": ref("b"), "p": ref("a")}]),
            {"sources": (A, B), "input_names": ("p", "q")},
        ),
        (
            one_call("GetItem", [ref("a"), [SLICE, -1]], "keras.src.ops.numpy"),
            {
                "sources": (A,),
                "more": ([SLICE, -1],),
                "arguments": (Source(0), (slice(1, None, 2), -1)),
            },
        ),
        (
            one_call("Where", [ref("a"), 0.5, ref("b")], "keras.src.ops.numpy"),
            {
                "sources": (A, B),
                "more": (0.5, ref("b")),
                "arguments": (Source(0), 0.5, Source(1)),
            },
        ),
        (
            one_call(
                "Add", [ref("a"), ARRAY, {"class_name": "__ellipsis__"}], "keras.src.ops.numpy"
            ),
            {
                "sources": (A,),
                "more": (ARRAY, {"class_name": "__ellipsis__"}),
                "arguments": (Source(0), Constant((0.5, 2.0), (1, 2), "float32"), Ellipsis),
            },
        ),
        (
            one_call("Add", [ref("a"), EMPTY, UNKNOWN], "keras.src.ops.numpy"),
            {
                "sources": (A,),
                "more": (EMPTY, UNKNOWN),
                "arguments": (Source(0), EMPTY, UNKNOWN),
            },
        ),
    ],
)
def test_call_of_keras_3_is_read(layer: Config, expected: Config) -> None:
    assert read_call(layer) == expected


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (old_call("Dense", [["a", 0, 0, {}]]), {"sources": (A,)}),
        (old_call("Dense", ["a", 0, 0]), {"sources": (A,)}),
        (old_call("Add", [["a", 0, 0, {}], ["b", 0, 0]]), {"sources": (A, B)}),
        (
            old_call("GRU", [["a", 0, 0, {}], ["b", 0, 0, {}]]),
            {"sources": (A,), "initial": (B,)},
        ),
        (
            old_call("LSTM", [["a", 0, 0, {}], ["b", 0, 0, {}], ["c", 0, 0, {}]]),
            {"sources": (A,), "initial": (B, C)},
        ),
        (
            old_call("LSTM", [["a", 0, 0, {"initial_state": [["b", 0, 0], ["c", 0, 0]]}]]),
            {"sources": (A,), "initial": (B, C)},
        ),
        (
            old_call("Dense", [["a", 0, 0, {"training": True, "mask": None, "x": False}]]),
            {"sources": (A,), "unsupported": ("training",)},
        ),
        (
            old_call("Dense", [["a", 0, 0, {"scale": ["b", 0, 0]}]]),
            {"sources": (A, B), "unsupported": ("scale",)},
        ),
    ],
)
def test_call_of_keras_2_is_read(layer: Config, expected: Config) -> None:
    assert read_call(layer) == expected


def test_inbound_nodes_must_be_a_list() -> None:
    assert inbound_nodes({"class_name": "Dense"}) == []
    with pytest.raises(InputError, match="'d'"):
        inbound_nodes({"class_name": "Dense", "name": "d", "inbound_nodes": {"a": 1}})


def test_shapes_of_outputs_are_known() -> None:
    layers = [
        call("Dense", "d", {"args": [ref("a", 1, 0, (None, 2))], "kwargs": {}}),
        call("Add", "e", {"args": [[ref("b", 0, 1, (4, 5)), ref("b", 0, 0, (6,))]], "kwargs": {}}),
        call("LSTM", "f", {"args": [], "kwargs": {"initial_state": [ref("c", 0, 0, (0,))]}}),
        "no layer",
    ]
    found = known_shapes(layers, lambda one: one._replace(node=one.node + 3))
    assert found == {("a", 4): {0: (None, 2)}, ("b", 3): {1: (4, 5), 0: (6,)}}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([], ()),
        ([None, 3], (None, 3)),
        ([1, 2**63 - 1], (1, 2**63 - 1)),
        ([1] * 16, (1,) * 16),
        ([1] * 17, None),
        ([0], None),
        ([-1], None),
        ([2**63], None),
        ([True], None),
        ([1.0], None),
        ((1, 2), None),
        (None, None),
        ("12", None),
    ],
)
def test_shape_is_a_list_of_sizes(value: Any, expected: Any) -> None:
    assert shape_of(value) == expected


# --- Layers of a model ----------------------------------------------------------------------------


def sequential(*layers: Config, **more: Any) -> Config:
    config = {"name": "s", "layers": list(layers)}
    return {"class_name": "Sequential", "module": "keras", "config": config, **more}


def layer(kind: str, name: str, **config: Any) -> Config:
    made = call(kind, name, **config)
    build = made["config"].pop("build", None)
    return made if build is None else {**made, "build_config": {"input_shape": build}}


@pytest.mark.parametrize(
    ("model", "name", "shape"),
    [
        (sequential(layer("InputLayer", "x", batch_shape=[2, 6, 3])), "x", [2, 6, 3]),
        (sequential(layer("LSTM", "r", batch_input_shape=[None, 6, 3])), "r_input", [None, 6, 3]),
        (sequential(layer("LSTM", "r", batch_shape=[None, 6, 3])), "r_input", [None, 6, 3]),
        (sequential(layer("LSTM", "r", input_shape=[6, 3])), "r_input", [None, 6, 3]),
        (sequential(layer("LSTM", "r", input_dim=3)), "r_input", [None, None, 3]),
        (
            sequential(layer("LSTM", "r", input_dim=3, input_length=6)),
            "r_input",
            [None, 6, 3],
        ),
        (sequential(layer("Dense", "d", input_dim=3)), "d_input", [None, 3]),
        (sequential(layer("Embedding", "e", input_length=6)), "e_input", [None, 6]),
        (sequential(layer("Embedding", "e", input_dim=9)), "e_input", [None, None]),
        (sequential(layer("LSTM", "r", build=[None, 6, 3])), "r_input", [None, 6, 3]),
        (
            sequential(
                layer("LSTM", "r", build=[None, 6, 3]), build_config={"input_shape": [4, 5, 3]}
            ),
            "r_input",
            [4, 5, 3],
        ),
        (
            {
                "class_name": "Sequential",
                "build_config": {"input_shape": [4, 5, 3]},
                "config": {"build_input_shape": [2, 6, 3], "layers": [layer("LSTM", "r")]},
            },
            "r_input",
            [2, 6, 3],
        ),
        (sequential(layer("LSTM", "r")), "r_input", [None, None, None]),
        (sequential(layer("Dense", "d")), "d_input", [None, None]),
        (sequential(layer("Dropout", "d"), layer("GRU", "r")), "d_input", [None, None, None]),
        (sequential(layer("Embedding", "e"), layer("GRU", "r")), "e_input", [None, None]),
        (
            sequential({**sequential(layer("Dense", "d", input_shape=[3])), "name": "m"}),
            "d_input",
            [None, 3],
        ),
    ],
)
def test_sequential_input_shape_comes_from_config(model: Config, name: str, shape: Any) -> None:
    found = sequential_input(read_model_config(model, None, legacy=False))
    assert (found.class_name, found.name, found.top_layer) == ("InputLayer", name, name)
    assert list(found.config["batch_shape"]) == shape


def test_layers_are_read_with_their_groups() -> None:
    own = {**layer("Own", "o"), "module": "mine", "registered_name": "mine>Own"}
    layers = [
        layer("LSTM", "a", units=5),
        layer("LSTM", "b", trainable=False),
        layer("Conv1D", "c", build=[None, 6, 3]),
        own,
        {**own, "name": "p", "module": None},
        {**layer("Dense", "r"), "module": None, "registered_name": "Dense"},
        {**layer("Add", "q"), "module": "keras.src.ops.numpy"},
        {**layer("Thing", "t"), "module": "keras.src.other"},
        {"class_name": "Dense", "module": "keras.layers", "config": {"name": "d"}},
        {"class_name": "LSTMCell", "module": "keras.layers"},
        {"class_name": "", "name": "e"},
    ]
    found = read_model_config(sequential(*layers), None, legacy=False).layers
    assert list(found) == ["a", "b", "c", "o", "p", "r", "q", "t", "d", "lstm_cell", "e"]
    groups = ["lstm", "lstm_1", "conv1d", "own", "own_1", "dense", "add", "thing", "dense_1"]
    groups += ["lstm_cell", ""]
    assert [each.group for each in found.values()] == [f"layers/{group}" for group in groups]
    kinds = [each.class_name for each in found.values()]
    assert kinds[3:6] == ["mine.Own", "mine>Own", "own.Dense"]
    assert kinds[6:8] == ["keras.ops.Add", "keras.src.other.Thing"]
    assert [name for name, each in found.items() if not each.trainable] == ["b"]
    assert found["c"].input_shape == (None, 6, 3)
    assert [name for name, each in found.items() if each.contradiction] == ["e"]


def test_models_among_layers_are_known_by_their_list() -> None:
    inner = sequential(layer("Dense", "d"))["config"]
    models: list[Config] = [
        {"class_name": "Sequential", "name": "a", "config": inner},
        {"class_name": "Functional", "name": "b", "config": {**inner, "trainable": False}},
        {"class_name": "Sequential", "name": "c", "config": [layer("Dense", "d")]},
        {"class_name": "Functional", "name": "e", "config": {"name": "e"}},
        {"class_name": "Functional", "name": "f", "module": "own", "config": inner},
    ]
    config = read_model_config(sequential(*models), None, legacy=False)
    found = config.layers.values()
    assert [each.is_model for each in found] == [True, True, True, False, False]
    assert [each.submodel for each in found] == [*models[:3], None, None]
    assert [each.trainable for each in found] == [True, False, True, True, True]
    assert [bool(each.contradiction) for each in found] == [False, False, False, True, False]
    assert (config.name, config.sequential) == ("s", True)
    unnamed = {"class_name": "Functional", "config": {"layers": models[:1]}}
    config = read_model_config(unnamed, None, legacy=False)
    assert (config.name, config.sequential, config.input_shape) == ("functional", False, None)


def test_layers_of_a_frozen_model_are_frozen() -> None:
    inner = sequential(layer("Dense", "d"))
    outer = read_model_config(sequential({**inner, "name": "m"}), None, legacy=False)
    parent = outer.layers["m"]
    assert parent.is_model
    (found,) = read_model_config(inner, parent, legacy=False).layers.values()
    assert (found.name, found.own_name, found.top_layer) == ("m/d", "d", "m")
    assert (found.group, found.nesting) == ("layers/sequential/layers/dense", 0)
    assert found.trainable
    frozen = replace(parent, trainable=False)
    for model, around in (
        (inner, frozen),
        (sequential(layer("Dense", "d"), config={**inner["config"], "trainable": False}), parent),
        (sequential(layer("Dense", "d", trainable=False)), parent),
    ):
        (found,) = read_model_config(model, around, legacy=False).layers.values()
        assert not found.trainable


@pytest.mark.parametrize(
    "model",
    [
        {"class_name": "Sequential"},
        {"class_name": "Sequential", "config": {}},
        {"class_name": "Sequential", "config": {"layers": {}}},
        sequential(),
        sequential(layer("Dense", "d"), layer("LSTM", "d")),
        {"class_name": "Sequential", "config": {"layers": [3]}},
        sequential(layer("Dense", "d" * 501)),
    ],
)
def test_model_without_layers_of_its_own_is_refused(model: Config) -> None:
    with pytest.raises(InputError):
        read_model_config(model, None, legacy=False)


def test_names_of_groups_are_those_of_keras() -> None:
    names = {
        "LSTM": "lstm",
        "SimpleRNN": "simple_rnn",
        "Conv1DTranspose": "conv1d_transpose",
        "MultiHeadAttention": "multi_head_attention",
        "GRUCell": "gru_cell",
        "ReLU": "re_lu",
        "My Layer!": "my_layer",
    }
    assert {name: snake_case(name) for name in names} == names
    counts: dict[str, int] = {}
    found = [numbered(name, counts) for name in ("gru", "lstm", "gru", "gru", "lstm")]
    assert found == ["gru", "lstm", "gru_1", "gru_2", "lstm_1"]
    assert has_graph({"config": {"layers": []}})
    assert has_graph({"config": []})
    assert not has_graph({"config": {}})


# --- Graphs ---------------------------------------------------------------------------------------

X = call("InputLayer", "x", batch_shape=[None, 6, 3])


def calls_of(model: Config, *, legacy: bool = False) -> tuple[list[tuple[Any, ...]], Any]:
    """Return name, sources and initial states of each call, and the outputs."""
    found, outputs = flatten(model, legacy=legacy)
    calls = [
        (
            one.layer.name,
            *([(t.node, t.output) for t in taps] for taps in (one.sources, one.initial)),
        )
        for one in found.calls
    ]
    return calls, [tuple(tap) for tap in outputs]


def test_calls_come_after_those_that_they_need() -> None:
    layers = [
        call("Add", "sum", node("b", "a")),
        call("Dense", "unused", node("x"), units=2),
        call("Dense", "b", node("a"), units=3),
        call("Dense", "a", node("x"), units=3),
        X,
    ]
    calls, outputs = calls_of(graph(layers, "sum"))
    assert calls == [
        ("x", [], []),
        ("a", [(0, 0)], []),
        ("b", [(1, 0)], []),
        ("sum", [(2, 0), (1, 0)], []),
    ]
    assert outputs == [(3, 0)]


def test_states_and_further_outputs_are_taps() -> None:
    states = {"args": [ref("x")], "kwargs": {"initial_state": [ref("e", 0, 1), ref("e", 0, 2)]}}
    layers = [
        X,
        call("LSTM", "e", node("x"), units=5, return_state=True),
        call("LSTM", "d", states, units=5),
    ]
    ends = [["d", 0, 0], ["e", 0, 2]]
    calls, outputs = calls_of(graph(layers, "d", output_layers=ends))
    assert calls[2] == ("d", [(0, 0)], [(1, 1), (1, 2)])
    assert outputs == [(2, 0), (1, 2)]


@pytest.mark.parametrize(
    ("kind", "first", "shift"),
    [("Functional", 0, 1), ("Functional", 1, 0), ("Sequential", 0, 0), ("Sequential", 1, -1)],
)
def test_nested_model_is_followed_at_each_call(kind: str, first: int, shift: int) -> None:
    """Keras 3 counts the call in which it was built for outputs, and may for other layers."""
    part = graph([X, call("Dense", "d", node("x"), units=4)], "d")
    part = part if kind == "Functional" else sequential(layer("Dense", "d", units=4))
    part = {**part, "name": "m", "inbound_nodes": [node("x"), node("z")]}
    more = call("ReLU", "z", node("x"))
    after = call("Add", "sum", {"args": [[ref("m", first), ref("m", first + 1)]], "kwargs": {}})
    ends = [["sum", 0, 0], ["m", first + shift, 0]]
    calls, outputs = calls_of(graph([X, more, part, after], "m", output_layers=ends))
    assert [one[0] for one in calls] == ["x", "z", "m/d", "m/d", "sum"]
    on_x, on_z = (calls.index(("m/d", [(number, 0)], [])) for number in (0, 1))
    assert calls[4][1] == [(on_x, 0), (on_z, 0)]
    assert outputs == [(4, 0), (on_x, 0)]


def test_sequential_model_of_keras_2_0_is_followed() -> None:
    """Its config is the list of its layers."""
    inner = {"class_name": "Sequential", "name": "m", "config": [layer("Dense", "d", units=4)]}
    inner["inbound_nodes"] = [[["x", 0, 0, {}]]]
    model = graph([X, inner], "m", output_layers=[["m", 1, 0]])
    assert calls_of(model, legacy=True) == ([("x", [], []), ("m/d", [(0, 0)], [])], [(1, 0)])


def two_inputs(names: Any, given: Any) -> Config:
    """Return a model that calls a model of two inputs p and q."""
    inputs = [call("InputLayer", name, batch_shape=[None, 3]) for name in "qp"]
    minus = call("Subtract", "minus", node("p", "q"))
    inner = {**graph([*inputs, minus], "minus", input_layers=names), "name": "m"}
    inner["inbound_nodes"] = [{"args": [given], "kwargs": {}}]
    layers = [call("InputLayer", name, batch_shape=[None, 3]) for name in "ab"]
    return graph(
        [*layers, inner], "m", input_layers=[["a", 0, 0], ["b", 0, 0]], output_layers=[["m", 1, 0]]
    )


LISTED = [["q", 0, 0], ["p", 0, 0]]


@pytest.mark.parametrize(
    ("names", "given", "sources"),
    [
        (LISTED, [ref("a"), ref("b")], [(1, 0), (0, 0)]),
        (LISTED, {"p": ref("a"), "q": ref("b")}, [(0, 0), (1, 0)]),
        (LISTED, {"p": ref("b"), "q": ref("a")}, [(1, 0), (0, 0)]),
        ({"u": ["q", 0, 0], "v": ["p", 0, 0]}, {"v": ref("a"), "u": ref("b")}, [(0, 0), (1, 0)]),
        (LISTED, {"v": ref("a"), "u": ref("b")}, [(0, 0), (1, 0)]),
        ({"p": ["q", 0, 0], "q": ["p", 0, 0]}, {"p": ref("a"), "q": ref("b")}, [(1, 0), (0, 0)]),
    ],
)
def test_inputs_of_a_model_have_its_order(names: Any, given: Any, sources: Any) -> None:
    calls, _ = calls_of(two_inputs(names, given))
    assert calls[2] == ("m/minus", sources, [])


def test_model_at_each_step_ends_its_output() -> None:
    inner = sequential(layer("Dense", "d", units=4), layer("Dropout", "o", rate=0.5))
    layers = [X, call("TimeDistributed", "t", node("x"), layer=inner)]
    found, outputs = flatten(graph(layers, "t"), legacy=False)
    assert [(one.layer.name, one.layer.nesting, one.models_ended) for one in found.calls] == [
        ("x", 0, 0),
        ("t/d", 1, 0),
        ("t/o", 1, 1),
    ]
    assert outputs == (Tap(2),)


def test_other_models_at_each_step_stay_one_layer() -> None:
    inner = sequential(layer("Dense", "d", units=4))
    two = graph([X, call("Dense", "d", node("x"), units=4)], "d")
    two["config"]["output_layers"] = [["d", 0, 0], ["x", 0, 0]]
    more = graph([X, {**X, "name": "y"}, call("Dense", "d", node("x"), units=4)], "d")
    more["config"]["input_layers"] = [["x", 0, 0], ["y", 0, 0]]
    for model in ({**inner, "module": "own"}, two, more, {**inner, "config": {"name": "s"}}):
        layers = [X, call("TimeDistributed", "t", node("x"), layer=model)]
        assert [one[0] for one in calls_of(graph(layers, "t"))[0]] == ["x", "t"]
    timed = call("TimeDistributed", "t", node("x"), layer=inner)
    assert [one[0] for one in calls_of(graph([X, timed], "t"), legacy=True)[0]] == ["x", "t"]


def test_model_with_more_than_tensors_stays_one_layer() -> None:
    inner = {**sequential(layer("Dense", "d", units=4)), "name": "m"}
    inner["inbound_nodes"] = [{"args": [ref("x")], "kwargs": {"training": True}}]
    calls, _ = calls_of(graph([X, inner], "m"))
    assert [one[0] for one in calls] == ["x", "m"]


def test_unfollowed_model_is_one_layer_per_call() -> None:
    inner = {**sequential(layer("Dense", "d", units=4)), "name": "m"}
    inner["inbound_nodes"] = [{"args": [ref("x")], "kwargs": {"training": True}}, node("m")]
    found, outputs = flatten(graph([X, inner], "m", output_layers=["m", 1, 0]), legacy=False)
    assert [(one.layer.name, one.sources) for one in found.calls] == [
        ("x", ()),
        ("m", (Tap(0),)),
        ("m", (Tap(1),)),
    ]
    assert (outputs, list(found.layers)) == ((Tap(2),), ["x", "m"])
    _, first, second = build_network(found, outputs, {}).nodes
    assert ["training" in each.layer.reason for each in (first, second)] == [True, False]
    assert "tensors" in second.layer.reason


def test_empty_model_at_each_step_stays_one_layer() -> None:
    empty = sequential(layer("InputLayer", "i", batch_shape=[None, 3]))
    timed = layer("TimeDistributed", "t", layer=empty)
    after = layer("GRU", "g", units=4)
    made = sequential(layer("InputLayer", "x", batch_shape=[None, 6, 3]), timed, after)
    found, outputs = flatten(made, legacy=False)
    assert [one.layer.name for one in found.calls] == ["x", "t", "g"]
    assert list(found.layers) == ["x", "t", "g"]
    assert "layers" in build_network(found, outputs, {}).nodes[1].layer.reason


def test_sequential_model_may_hold_its_input_alone() -> None:
    x = layer("InputLayer", "x", batch_shape=[None, 6, 3])
    empty = {**sequential(layer("InputLayer", "i", batch_shape=[None, 6, 3])), "name": "m"}
    assert calls_of(sequential(x)) == ([("x", [], [])], [(0, 0)])
    calls, _ = calls_of(sequential(x, empty, layer("GRU", "g", units=4)))
    assert [one[:2] for one in calls] == [("x", []), ("g", [(0, 0)])]


def test_layers_are_those_that_are_called_or_not() -> None:
    inner = {**sequential(layer("GRU", "g", units=4)), "name": "m", "inbound_nodes": [node("x")]}
    unused = call("Dense", "u", node("x"), units=2)
    found, _ = flatten(graph([X, inner, unused], "m"), legacy=False)
    assert list(found.layers) == ["x", "u", "m/g"]
    assert [one.layer.name for one in found.submodel_calls] == ["m"]
    assert found.submodel_calls[0].sources == (Tap(0),)


def test_sequential_model_is_a_chain() -> None:
    inner = {**sequential(layer("GRU", "g", units=4)), "name": "m"}
    layers = [layer("InputLayer", "x", batch_shape=[None, 6, 3]), inner, layer("Dense", "d")]
    calls, outputs = calls_of(sequential(*layers))
    assert [one[:2] for one in calls] == [("x", []), ("m/g", [(0, 0)]), ("d", [(1, 0)])]
    assert outputs == [(2, 0)]


BROKEN: dict[str, Config] = {
    "no outputs": graph([X], "x", output_layers=[]),
    "unknown output": graph([X], "y"),
    "unknown source": graph([X, call("Dense", "d", node("y"))], "d"),
    "call that is not there": graph(
        [X, call("Dense", "d", node("x"))], "d", output_layers=["d", 1, 0]
    ),
    "call of a model that is not there": graph(
        [X, {**graph([X], "x"), "name": "m", "inbound_nodes": [node("x")]}],
        "m",
        output_layers=["m", 0, 0],
    ),
    "output of a model that is not there": graph(
        [X, {**sequential(layer("Dense", "d")), "name": "m", "inbound_nodes": [node("x")]}],
        "m",
        output_layers=["m", 0, 1],
    ),
    "unknown input": graph([X], "x", input_layers=["y", 0, 0]),
    "loop": graph([X, call("Add", "a", node("x", "b")), call("Dense", "b", node("a"))], "b"),
    "its own input": graph([X, call("Add", "a", node("x", "a"))], "a"),
    "more inputs than it takes": two_inputs(LISTED, [ref("a")]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_impossible_graph_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        flatten(BROKEN[name], legacy=False)


def test_two_layers_of_one_name_are_refused() -> None:
    inner = {**sequential(layer("Dense", "d")), "name": "a", "inbound_nodes": [node("x")]}
    other = call("Dense", "a/d", node("a"), units=3)
    with pytest.raises(InputError, match="a/d"):
        flatten(graph([X, inner, other], "a/d"), legacy=False)


def test_calls_have_the_order_of_live_models() -> None:
    """Inputs first, then depth first from the outputs."""
    calls = [
        LayerCall("a", "InputLayer", {}),
        LayerCall("unused", "Dense", {}, (Tap(0),)),
        LayerCall("d", "Dense", {}, (Tap(0),)),
        LayerCall("b", "InputLayer", {}),
        LayerCall("e", "Dense", {}, (Tap(3),)),
        LayerCall("s", "LSTM", {}, (Tap(4),), (Tap(2, 1), Tap(2, 2))),
        LayerCall("f", "Add", {}, (Tap(5), Tap(2))),
    ]
    ordered = LayerGraph(tuple(calls), (Tap(6), Tap(2, 1))).ordered()
    assert [one.name for one in ordered.calls] == ["a", "b", "e", "d", "s", "f"]
    assert [one.sources for one in ordered.calls] == [
        (),
        (),
        (Tap(1),),
        (Tap(0),),
        (Tap(2),),
        (Tap(4), Tap(3)),
    ]
    assert ordered.calls[4].initial == (Tap(3, 1), Tap(3, 2))
    assert ordered.outputs == (Tap(5), Tap(3, 1))


# --- Networks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError("a"), AttributeError("a"), KeyError("a"), TypeError("a"), ValueError("a")],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_a_config_are_one_line(error: Exception) -> None:
    for raised in (error, RecursionError("a"), InputError("a")):
        with pytest.raises(InputError) as found, config_errors():
            raise raised
        assert "\n" not in str(found.value)
    assert found.value is raised


def network_of(*layers: Config, legacy: bool = False, **weights: tuple[int, ...]) -> Network:
    """Return the network of a graph that ends in its last layer; a weight for each name."""
    found, outputs = flatten(graph(list(layers), layers[-1]["name"]), legacy=legacy)
    stored = {name: [StoredWeight("0", shape, ())] for name, shape in weights.items()}
    return build_network(found, outputs, stored)


def test_alias_is_another_call_of_a_layer() -> None:
    layers = [X, call("Dense", "a", node("x"), units=3), call("Dense", "b", node("a"), units=3)]
    found, outputs = flatten(graph(layers, "b"), legacy=False)
    network = build_network(found, outputs, {}, {"b": "a"})
    assert [each.name for each in network.nodes] == ["x", "a", "a:2"]
    assert network.parameters == 3 * 3 + 3


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_keras_3_drops_masks_beside_states(masked: bool, legacy: bool) -> None:
    """Unless a mask is given once more."""
    more = {"mask": ref("a")} if masked else {}
    taken = {"args": [ref("m")], "kwargs": {"initial_state": [ref("g")], **more}}
    before = [X, MASKING, *MASKS["that of Masking"][0], call("GRU", "g", node("m"), units=4)]
    network = network_of(*before, call("GRU", "h", taken, units=4), legacy=legacy)
    assert [each.layer.declared_shapes for each in network.nodes] == [None] * 4
    dropped = not (masked or legacy)
    assert [each.mask_dropped for each in network.nodes] == [False, False, False, dropped]


def test_batch_is_that_of_the_first_input_with_one() -> None:
    y = call("InputLayer", "y", batch_shape=[4, 6, 3])
    for inputs, batch in (([X], None), ([y], 4), ([X, y], 4)):
        last = call("Add", "sum", node(*(each["name"] for each in inputs * 2)))
        ends = [[each["name"], 0, 0] for each in inputs]
        found, outputs = flatten(graph([*inputs, last], "sum", input_layers=ends), legacy=False)
        assert build_network(found, outputs, {}).batch == batch


def test_inputs_of_embeddings_are_indices() -> None:
    x = call("InputLayer", "x", batch_input_shape=[None, 5, 6])
    table = {"class_name": "Embedding", "config": {"name": "e", "input_dim": 9, "output_dim": 4}}
    flat = call("InputLayer", "x", batch_shape=[None, 6])
    embedding = {**table, "module": "keras.layers", "name": "e", "inbound_nodes": [node("x")]}
    for layers, integers in (
        ((flat, embedding), True),
        ((x, call("TimeDistributed", "e", node("x"), layer=table)), True),
        ((x, call("TimeDistributed", "e", node("x"), layer=layer("Dense", "e", units=4))), False),
        ((x, call("Flatten", "e", node("x"))), False),
    ):
        network = network_of(*layers)
        assert [each.layer.integers for each in network.inputs] == [integers]  # type: ignore[attr-defined]
        assert list(network.unsupported) == []
    with pytest.raises(InputError, match="'x'"):
        network_of(call("InputLayer", "x"), call("Flatten", "e", node("x")))


@pytest.mark.parametrize(
    ("kind", "config", "kernel", "shape"),
    [
        ("GRU", {"units": 4}, (7, 12), (None, None, 7)),
        ("Bidirectional", {"layer": layer("GRU", "g", units=4)}, (7, 12), (None, None, 7)),
        ("GRU", {"units": 4}, (7,), None),
        ("GRU", {"units": 4}, None, None),
        ("Dense", {"units": 4}, (7, 4), None),
        ("RNN", {"cell": layer("GRUCell", "c", units=4)}, (7, 12), None),
    ],
)
def test_kernel_tells_the_shape_before_it(
    kind: str, config: Config, kernel: Any, shape: Any
) -> None:
    """As far as the file does not tell the shape itself."""
    for known in (None, [None, 6, 7]):
        taken = ref("u", shape=known or ())
        if known is None:
            del taken["config"]["shape"]
        after = call(kind, "r", {"args": [taken], "kwargs": {}}, **config)
        weights = {} if kernel is None else {"r": kernel}
        network = network_of(X, call("Unknown", "u", node("x")), after, **weights)
        found = [
            tuple(map(network.value, dims)) for dims in network.nodes[1].layer.declared_shapes or ()
        ]
        expected = shape if known is None else tuple(known)
        assert found == ([] if expected is None else [expected])


@pytest.mark.parametrize(("known", "count"), [((0, 1), 2), ((0,), 1), ((1,), 0), ((0, 2), 0)])
def test_shapes_of_all_outputs_or_none_are_known(known: tuple[int, ...], count: int) -> None:
    taken = [ref("u", 0, number, (None, 6, 4)) for number in known]
    layers = [X, call("Unknown", "u", node("x"))]
    layers.append(call("Other", "o", {"args": [taken], "kwargs": {}}))
    assert len(network_of(*layers).nodes[1].layer.declared_shapes or ()) == count


POLICY = {"class_name": "DTypePolicy", "config": {"name": "mixed_bfloat16"}}


@pytest.mark.parametrize(
    ("policies", "mixed", "dtypes"),
    [
        ([None], "", ("float32",)),
        (["float64"], "", ("float64",)),
        (["float64", "float64"], "", ("float64",)),
        (["float64", "float32"], "float32, float64", ("float32", "float64")),
        (["mixed_float16"], "mixed_float16", ("float32",)),
        ([POLICY, "float32"], "float32, mixed_bfloat16", ("float32",)),
        ([{"config": POLICY["config"]}], "mixed_bfloat16", ("float32",)),
        ([{"config": 3}, {}, 3, {"config": {"name": 3}}], "", ("float32",)),
        (["own", "float16"], "", ("float16",)),
        (["own"], "", ("float32",)),
    ],
)
def test_policies_tell_the_dtypes_of_weights(policies: Any, mixed: str, dtypes: Any) -> None:
    """Those of inputs and of operations do not count."""
    layers = [layer("Dense", f"d{n}", dtype=policy) for n, policy in enumerate(policies)]
    others = [
        {**layer("InputLayer", "x", dtype="float64")},
        {**op("Add", "o"), "config": {"dtype": "float64"}},
    ]
    found = list(
        read_model_config(sequential(*layers, *others), None, legacy=False).layers.values()
    )
    assert (mixed_policies(found), weight_dtypes(found)) == (mixed, dtypes)


@pytest.mark.parametrize(
    ("policy", "computes_in", "dtype"),
    [
        (None, "float32", "float32"),
        ("float16", "float16", "float16"),
        ("mixed_float16", "float16", "float32"),
        (POLICY, "bfloat16", "float32"),
        ("own", "float32", "float32"),
    ],
)
def test_layers_compute_in_the_dtype_of_their_policy(
    policy: Any, computes_in: str, dtype: str
) -> None:
    network = network_of(X, call("Dense", "d", node("x"), units=4, dtype=policy))
    assert (network.nodes[1].layer.computes_in, network.dtype) == (computes_in, dtype)


@pytest.mark.parametrize(
    ("config", "supported"),
    [
        ({}, True),
        ({"lora_rank": None, "dtype": "float32"}, True),
        ({"dtype": POLICY}, True),
        ({"lora_rank": 2}, False),
        ({"quantization_config": {"a": 1}}, False),
        ({"dtype": {"class_name": "QuantizedDTypePolicy"}}, False),
    ],
)
def test_quantized_layers_are_unsupported(config: Config, supported: bool) -> None:
    network = network_of(X, call("Dense", "d", node("x"), units=4, **config))
    assert (network.nodes[1].layer.declared_shapes is None) is supported


def test_layers_are_called_on_few_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    for most, supported in ((2, False), (3, True)):
        monkeypatch.setattr(saved_network, "MOST_SOURCES", most)
        network = network_of(X, call("Add", "sum", node("x", "x", "x")))
        assert (network.nodes[1].layer.declared_shapes is None) is supported


@pytest.mark.parametrize(
    ("trainable", "trained", "count"),
    [(True, (True, True), None), (True, (True, False), 12), (False, (True, False), None)],
)
def test_frozen_parts_of_a_layer_are_not_counted(trainable: bool, trained: Any, count: Any) -> None:
    made = call("Dense", "d", node("x"), units=4, trainable=trainable)
    found, outputs = flatten(graph([X, made], "d"), legacy=False)
    stored = [
        StoredWeight(name, shape, (), trained=own)
        for name, shape, own in zip(("0", "1"), ((3, 4), (4,)), trained, strict=True)
    ]
    layer = build_network(found, outputs, {"d": stored}).nodes[1].layer
    assert layer.trainable_count == count


# --- Masks in a config ----------------------------------------------------------------------------


def op(kind: str, name: str, *args: Any, **config: Any) -> Config:
    """Return a call of an operation of Keras."""
    made = call(kind, name, {"args": list(args), "kwargs": {}}, **config)
    return {**made, "module": "keras.src.ops.numpy"}


def without_module(layer: Config) -> Config:
    return {name: value for name, value in layer.items() if name != "module"}


MASKING = call("Masking", "m", node("x"), mask_value=0.5)
UNEQUAL = op("NotEqual", "u", ref("x"), 0.5)
ANY = op("Any", "a", ref("u"), axis=-1)
SOME, EITHER = op("Any", "b", ref("u"), axis=-1), op("LogicalOr", "a", ref("b"), ref("z"))
#: Operations that compute the mask "a" of a recurrent layer behind Masking, and whether it is that
#: of its input.
MASKS: dict[str, tuple[list[Config], bool]] = {
    "that of Masking": ([UNEQUAL, ANY], True),
    "axis in a list": ([UNEQUAL, op("Any", "a", ref("u"), axis=[-1])], True),
    "of an HDF5 file": ([without_module(UNEQUAL), without_module(ANY)], True),
    "of the user's own class": ([UNEQUAL, {**ANY, "module": "own"}], False),
    "another axis": ([UNEQUAL, op("Any", "a", ref("u"), axis=1)], False),
    "another value": ([op("NotEqual", "u", ref("x"), 0.25), ANY], False),
    "a Boolean": ([op("NotEqual", "u", ref("x"), True), ANY], False),
    "another tensor": ([op("NotEqual", "u", ref("m"), 0.5), ANY], False),
    "two tensors": ([op("NotEqual", "u", ref("x"), ref("m")), ANY], False),
    "another comparison": ([op("Less", "u", ref("x"), 0.5), ANY], False),
    "behind a cast": (
        [op("Cast", "c", ref("x"), dtype="float32"), op("NotEqual", "u", ref("c"), 0.5), ANY],
        True,
    ),
    "behind a cast to 16 bits": (
        [op("Cast", "c", ref("x"), dtype="float16"), op("NotEqual", "u", ref("c"), 0.5), ANY],
        False,
    ),
    "behind a cast to integers": (
        [op("Cast", "c", ref("x"), dtype="int32"), op("NotEqual", "u", ref("c"), 0.5), ANY],
        False,
    ),
    "with nothing more": (
        [UNEQUAL, SOME, op("ZerosLike", "z", ref("b")), EITHER],
        True,
    ),
    "with all": (
        [UNEQUAL, SOME, op("OnesLike", "z", ref("b")), EITHER],
        False,
    ),
    "with itself": (
        [UNEQUAL, op("Any", "b", ref("u"), axis=-1), op("LogicalOr", "a", ref("b"), ref("b"))],
        True,
    ),
    "with another": (
        [
            *(UNEQUAL, SOME, op("NotEqual", "v", ref("x"), 0.25)),
            *(op("Any", "z", ref("v"), axis=-1), EITHER),
        ],
        False,
    ),
    "of joined parts": (
        [
            *(UNEQUAL, SOME, op("ExpandDims", "e", ref("b"), axis=-1)),
            *(op("ConvertToTensor", "t", ref("e")), op("Concatenate", "c", [ref("t"), ref("e")])),
            op("Any", "a", ref("c"), axis=-1),
        ],
        True,
    ),
    "not equal to nothing": ([op("NotEqual", "u", ref("x")), ANY], False),
    "not equal to two": ([op("NotEqual", "u", ref("x"), 0.5, 0.25), ANY], False),
    "of two numbers": ([op("NotEqual", "u", 0.5, 0.5), ANY], False),
    "a loop": ([op("LogicalOr", "a", ref("b"), ref("b")), op("Any", "b", ref("a"))], False),
    "its own loop": ([op("Any", "a", ref("a"))], False),
    "of nothing": ([op("Any", "a")], False),
    "a layer": ([call("Dense", "a", node("x"), units=1)], False),
    "not there": ([], False),
}


@pytest.mark.parametrize("name", MASKS)
def test_only_the_inputs_own_mask_is_supported(name: str) -> None:
    operations, is_own = MASKS[name]
    taken = {"args": [ref("m")], "kwargs": {"mask": ref("a")}}
    layers = [X, MASKING, *operations, call("GRU", "g", taken, units=4)]
    found, outputs = flatten(graph(layers, "g"), legacy=False)
    network = build_network(found, outputs, {})
    supported = {each.name: each.layer.declared_shapes is None for each in network.nodes}
    assert supported["m"]
    assert supported["g"] is is_own


@pytest.mark.parametrize("name", ["that of Masking", "another value"])
def test_model_with_another_mask_stays_one_layer(name: str) -> None:
    operations, is_own = MASKS[name]
    inner = {**sequential(layer("GRU", "g", units=4)), "name": "s"}
    inner["inbound_nodes"] = [{"args": [ref("m")], "kwargs": {"mask": ref("a")}}]
    other = {**sequential(layer("LSTM", "h", units=4)), "name": "t"}
    other["inbound_nodes"] = [{"args": [ref("m")], "kwargs": {}}]
    ends = [["s", 0, 0], ["t", 0, 0]]
    layers = [X, MASKING, *operations, inner, other]
    calls, _ = calls_of(graph(layers, "s", output_layers=ends))
    assert [one[0] for one in calls] == ["x", "m", "s/g" if is_own else "s", "t/h"]


def test_masks_behind_layers_without_shapes_are_others() -> None:
    unknown = ref("m")
    layers = [X, MASKING, *MASKS["that of Masking"][0]]
    for name in ("p", "q"):
        call_of = {"args": [unknown], "kwargs": {"mask": ref("a")}}
        layers.append(call("Unknown", name, call_of))
        unknown = ref(name)
        del unknown["config"]["shape"]
    inner = {**sequential(layer("GRU", "g", units=4)), "name": "s"}
    inner["inbound_nodes"] = [{"args": [unknown], "kwargs": {"mask": ref("a")}}]
    calls, _ = calls_of(graph([*layers, inner], "s"))
    assert [one[0] for one in calls] == ["x", "m", "p", "q", "s"]


def test_calls_of_a_graph_have_a_largest_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each layer counts, and each model in the graph, even one without layers."""
    relu, plain = sequential(layer("ReLU", "r")), graph([X], "x")
    for number, (part, names) in enumerate(((relu, ["x", "a", "s/r"]), (plain, ["x", "a"]))):
        inner = {**part, "name": "s", "inbound_nodes": [node("a")]}
        layers = [X, call("ReLU", "a", node("x")), inner]
        model = graph(layers, "s", output_layers=[["s", number, 0]])
        monkeypatch.setattr(config_graph, "MOST_CALLS", len(names) + 1)
        assert [one[0] for one in calls_of(model)[0]] == names
        monkeypatch.setattr(config_graph, "MOST_CALLS", len(names))
        with pytest.raises(InputError):
            calls_of(model)


def test_masks_are_united() -> None:
    one, other = (UnequalMask(frozenset({(Tap(n), "", 0.0)}), 3) for n in (1, 2))
    every, none = UnequalMask(None), UnequalMask(frozenset())
    assert (one | other).comparisons == {(Tap(1), "", 0.0), (Tap(2), "", 0.0)}
    assert one | none == one == none | one
    assert one | every == every == every | one
    assert (one | object()) == every
    assert (one.any(-1).ndim, one.any(-1)) == (2, one)
