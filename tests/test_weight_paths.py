"""Arrays of saved models: which layer each belongs to, and what older Keras wrote in its place."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rnnshapes import memory
from rnnshapes.errors import InputError, TooLargeError, UnsupportedError
from rnnshapes.load.saved import model as saved_model
from rnnshapes.load.saved.config_layers import SavedLayer
from rnnshapes.load.saved.hdf5_client import Dataset, StoredWeight
from rnnshapes.load.saved.old_keras import keras3_refusal, modernize_layer, modernize_weights
from rnnshapes.load.saved.weight_paths import (
    array_order,
    assign_by_group,
    assign_by_name,
    weight_owners,
)
from rnnshapes.load.saved.weights_only import read_weights_only
from rnnshapes.network.graph import Network
from rnnshapes.ops.interface import KERAS2_HARD_SIGMOID

Config = dict[str, Any]
LSTM: Config = {"class_name": "LSTM", "config": {"units": 3}}
FROZEN: Config = {"class_name": "GRU", "config": {"units": 3, "trainable": False}}


def cell(kind: str, **config: Any) -> Config:
    return {"class_name": f"{kind}Cell", "config": {"units": 3, **config}}


def stack(*cells: Any) -> Config:
    return {"class_name": "StackedRNNCells", "config": {"cells": list(cells)}}


# --- Owners of arrays -----------------------------------------------------------------------------

OWNERS: list[tuple[str, Config, list[tuple[str, str]]]] = [
    ("Dense", {}, [("Dense", "")]),
    ("LSTM", {}, [("LSTM", "cell/")]),
    ("ConvLSTM1D", {}, [("ConvLSTM1D", "cell/")]),
    ("Own", {}, [("Own", "")]),
    ("RNN", {"cell": cell("GRU")}, [("GRU", "cell/")]),
    (
        "RNN",
        {"cell": stack(cell("GRU"), cell("LSTM"), cell("GRU"))},
        [
            ("GRU", "cell/cells/gru_cell/"),
            ("LSTM", "cell/cells/lstm_cell/"),
            ("GRU", "cell/cells/gru_cell_1/"),
        ],
    ),
    ("ConvLSTM1D", {}, [("ConvLSTM1D", "cell/")]),
    ("ConvLSTM2D", {}, [("ConvLSTM2D", "cell/")]),
    (
        "Bidirectional",
        {"layer": LSTM},
        [("LSTM", "forward_layer/cell/"), ("LSTM", "backward_layer/cell/")],
    ),
    (
        "Bidirectional",
        {"layer": LSTM, "backward_layer": FROZEN},
        [("LSTM", "forward_layer/cell/"), ("GRU", "backward_layer/cell/")],
    ),
    (
        "TimeDistributed",
        {"layer": {"class_name": "Conv1D", "config": {}}},
        [("Conv1D", "layer/")],
    ),
    (
        "TimeDistributed",
        {"layer": {"class_name": "Bidirectional", "config": {"layer": LSTM}}},
        [("LSTM", "layer/forward_layer/cell/"), ("LSTM", "layer/backward_layer/cell/")],
    ),
    (
        "MultiHeadAttention",
        {},
        [("EinsumDense", f"{part}_dense/") for part in ("query", "key", "value", "output")],
    ),
    (
        "MultiHeadAttention",
        {"use_gate": True},
        [("EinsumDense", f"{p}_dense/") for p in ("query", "key", "_gate", "value", "output")],
    ),
]


@pytest.mark.parametrize(("kind", "config", "expected"), OWNERS)
def test_parts_of_a_layer_own_arrays(kind: str, config: Config, expected: Any) -> None:
    found = list(weight_owners(kind, config))
    assert [(owner.class_name, owner.path) for owner in found] == expected
    assert [owner.is_known for owner in found] == [name != "Own" for name, _ in expected]
    frozen = weight_owners(kind, {**config, "trainable": False})
    assert not any(owner.trained for owner in frozen)
    trained = [owner.trained for owner in found]
    assert trained == [config.get("backward_layer") != FROZEN or n == 0 for n in range(len(found))]


@pytest.mark.parametrize(
    ("kind", "config", "paths"),
    [
        ("RNN", {"cell": 3}, ["cell/"]),
        ("RNN", {"cell": {"class_name": "StackedRNNCells", "config": [3]}}, ["cell/"]),
        ("RNN", {"cell": stack(3, cell("GRU"))}, ["cell/cells//", "cell/cells/gru_cell/"]),
        ("TimeDistributed", {"layer": [LSTM]}, ["layer/"]),
        ("TimeDistributed", {"layer": {"class_name": "Dense", "config": "x"}}, ["layer/"]),
        ("Bidirectional", {"layer": "x"}, ["forward_layer/", "backward_layer/"]),
    ],
)
def test_parts_of_a_damaged_config_are_unknown(kind: str, config: Config, paths: list[str]) -> None:
    assert [owner.path for owner in weight_owners(kind, config)] == paths


def test_cells_of_a_stack_may_be_frozen() -> None:
    config = {"cell": stack(cell("GRU", trainable=False), cell("LSTM"))}
    assert [owner.trained for owner in weight_owners("RNN", config)] == [False, True]


def test_layers_are_wrapped_at_most_eight_times() -> None:
    def wrapped(depth: int) -> Config:
        if not depth:
            return LSTM
        return {"class_name": "TimeDistributed", "config": {"layer": wrapped(depth - 1)}}

    (owner,) = weight_owners("TimeDistributed", {"layer": wrapped(7)})
    assert owner.path == "layer/" * 8 + "cell/"
    with pytest.raises(InputError):
        list(weight_owners("TimeDistributed", {"layer": wrapped(8)}))


def test_arrays_are_in_the_order_of_their_numbers() -> None:
    names = ["10", "9", "b", "0", "a", "999999999"]
    found = sorted((dataset(name) for name in names), key=array_order)
    assert [each.path[-1] for each in found] == ["0", "9", "10", "999999999", "a", "b"]


# --- Layers of a file -----------------------------------------------------------------------------


def dataset(path: str, *shape: int, number: int = 0) -> Dataset:
    return Dataset(number, tuple(path.split("/")), shape, "float32", True, True)


def client(paths: dict[str, tuple[int, ...]], groups: dict[str, Config] | None = None) -> Any:
    datasets = [dataset(path, *shape, number=n) for n, (path, shape) in enumerate(paths.items())]
    return SimpleNamespace(datasets=datasets, groups=groups or {})


def layer(name: str, kind: str, group: str = "", **config: Any) -> SavedLayer:
    own = name.rsplit("/", maxsplit=1)[-1]
    return SavedLayer(name, own, kind, config, True, group, name.split("/", maxsplit=1)[0])


def found_in(assigned: Any) -> dict[str, list[str]]:
    return {
        name: ["/".join(d.path) for weight in weights for d in weight.datasets]
        for name, weights in assigned.by_layer.items()
    }


def test_arrays_are_assigned_by_group() -> None:
    paths = {
        "layers/lstm/cell/vars/1": (3, 12),
        "layers/lstm/cell/vars/0": (4, 12),
        "layers/lstm/cell/seed_generator/vars/0": (2,),
        "layers/dense/vars/0": (3, 2),
        "layers/dense/part/vars/0": (5,),
        "layers/own/part/vars/0": (7,),
        "layers/own/vars/0": (8,),
        "layers/own/seed_generator/vars/0": (2,),
        "layers/other/vars/0": (1,),
        "optimizer/vars/0": (),
    }
    layers = [
        layer("a", "LSTM", "layers/lstm"),
        layer("d", "Dense", "layers/dense"),
        layer("o", "Own", "layers/own"),
        layer("e", "Dense", "layers/dense_1"),
    ]
    assigned = assign_by_group(client(paths), layers)
    assert found_in(assigned) == {
        "a": ["layers/lstm/cell/vars/0", "layers/lstm/cell/vars/1"],
        "d": ["layers/dense/vars/0"],
        "o": ["layers/own/part/vars/0", "layers/own/vars/0"],
        "e": [],
    }
    assert [weight.name for weight in assigned.by_layer["a"]] == ["cell/vars/0", "cell/vars/1"]
    left = ["/".join(d.path) for d in assigned.unassigned]
    assert left == ["layers/dense/part/vars/0", "layers/other/vars/0"]
    assert ["/".join(d.path) for d in assigned.optimizer] == ["optimizer/vars/0"]
    assert (assigned.named, assigned.aliases) == (False, {})


@pytest.mark.parametrize("around", ["", "layers/m/"])
def test_groups_are_found_by_names_of_layers(around: str) -> None:
    """The second case has a model inside the model."""
    first, second, third = (f"{around}layers/{name}" for name in ("dense", "dense_1", "dense_2"))
    paths = {f"{first}/vars/0": (3, 2), f"{second}/vars/0": (2, 2)}
    groups: dict[str, Config] = {
        f"{first}/vars": {"name": "second"},
        f"{second}/vars": {"name": "first"},
        third: {"name": "first"},
        "layers/other/vars": {"name": "other"},
    }
    layers = [layer("first", "Dense", first), layer("second", "Dense", second)]
    assert found_in(assign_by_group(client(paths, groups), layers)) == {
        "first": [f"{second}/vars/0"],
        "second": [f"{first}/vars/0"],
    }
    groups[f"{first}/vars"]["name"] = "first"  # two of one name say nothing
    assert found_in(assign_by_group(client(paths, groups), layers)) == {
        "first": [f"{first}/vars/0"],
        "second": [f"{second}/vars/0"],
    }


def test_layer_without_arrays_is_found_by_config() -> None:
    paths = {"layers/m/layers/dense/vars/0": (3, 2)}

    def of(number: int, units: int = 2) -> Config:
        return {"units": units, "shared_object_id": number, "parts": [{"shared_object_id": number}]}

    owner = layer("m/d", "Dense", "layers/m/layers/dense", **of(7))
    for other, alias in (
        (layer("n/d", "Dense", "layers/n/layers/dense", **of(8)), True),
        (layer("n/d", "Dense", "layers/n/layers/dense", **of(7, 3)), False),
        (layer("n/d", "Dense", "layers/n/layers/dense", **of(7), more=1), False),
        (layer("n/e", "Dense", "layers/n/layers/dense", **of(7)), False),
        (layer("n/d", "GRU", "layers/n/layers/dense", **of(7)), False),
    ):
        assigned = assign_by_group(client(paths), [owner, other])
        assert assigned.aliases == ({other.name: "m/d"} if alias else {})


def test_arrays_are_assigned_by_name() -> None:
    names = ["d/kernel:0", "d/bias:0"]
    paths = {f"model_weights/d/{name}": (3, 2) for name in names}
    paths |= {"model_weights/m/m/e/kernel:0": (2,), "model_weights/m/m/f/kernel:0": (3,)}
    paths |= {"model_weights/x/kernel:0": (1,), "optimizer_weights/a": ()}
    groups: dict[str, Config] = {
        "model_weights": {},
        "model_weights/d": {"weight_names": [*names, "d/none:0"]},
        "model_weights/m": {"weight_names": ["m/f/kernel:0", "m/e/kernel:0"]},
    }
    layers = [layer("d", "Dense"), layer("m/e", "Dense"), layer("m/f", "Dense")]
    assigned = assign_by_name(client(paths, groups), layers)
    assert found_in(assigned) == {
        "d": [f"model_weights/d/{name}" for name in names],
        "m/e": ["model_weights/m/m/e/kernel:0"],
        "m/f": ["model_weights/m/m/f/kernel:0"],
    }
    assert [weight.name for weight in assigned.by_layer["d"]] == ["kernel", "bias"]
    assert ["/".join(d.path) for d in assigned.unassigned] == ["model_weights/x/kernel:0"]
    assert [d.path[0] for d in assigned.optimizer] == ["optimizer_weights"]
    assert assigned.named
    bare = {path.removeprefix("model_weights/"): shape for path, shape in paths.items()}
    own = {path.removeprefix("model_weights/"): groups[path] for path in list(groups)[1:]}
    assert found_in(assign_by_name(client(bare, own), layers))["d"] == [f"d/{n}" for n in names]
    assert found_in(assign_by_name(client(bare, own), layers))["m/f"] == ["m/m/f/kernel:0"]


def test_layers_of_one_name_differ_by_model() -> None:
    names = ["q/f/kernel:0", "p/f/kernel:0"]
    groups: dict[str, Config] = {"model_weights/m": {"weight_names": names}}
    file = client({f"model_weights/m/{name}": (2,) for name in names}, groups)
    layers = [layer("m/p/f", "Dense"), layer("m/q/f", "Dense")]
    assert found_in(assign_by_name(file, layers)) == {
        f"m/{way}/f": [f"model_weights/m/{way}/f/kernel:0"] for way in "pq"
    }


def test_frozen_direction_comes_last_in_the_file() -> None:
    """The arrays of both directions are those of Keras's order."""
    names = [f"b/{way}_x/{name}:0" for way in ("backward", "forward") for name in ("k", "r")]
    both = layer("b", "Bidirectional", layer=FROZEN, backward_layer=LSTM)
    groups = {"b": {"weight_names": names}}
    assigned = assign_by_name(client({f"b/{n}": (2,) for n in names}, groups), [both])
    found = [("/".join(w.datasets[0].path[2:]), w.trained) for w in assigned.by_layer["b"]]
    assert found == [
        ("forward_x/k:0", False),
        ("forward_x/r:0", False),
        ("backward_x/k:0", True),
        ("backward_x/r:0", True),
    ]


@pytest.mark.parametrize(
    ("count", "trained"),
    [
        (4, [True, True, False, False]),
        (2, [True, False]),
        (3, [True, True, True]),
        (0, []),
    ],
)
def test_arrays_without_paths_are_divided(count: int, trained: list[bool]) -> None:
    """Half of them are those of each direction; an odd number of them is left as it is."""
    names = [f"w{number}:0" for number in range(count)]
    both = layer("b", "Bidirectional", layer=LSTM, backward_layer=FROZEN)
    groups = {"b": {"weight_names": names}}
    assigned = assign_by_name(client({f"b/{n}": (2,) for n in names}, groups), [both])
    found = assigned.by_layer["b"]
    assert [weight.name for weight in found] == [f"w{number}" for number in range(count)]
    assert [weight.trained for weight in found] == trained


# --- Options of Keras 1 and 2 ---------------------------------------------------------------------

RECURRENT: Config = {
    "recurrent_activation": KERAS2_HARD_SIGMOID,
    "activation": "tanh",
    "reset_after": False,
}


@pytest.mark.parametrize(
    ("kind", "options", "new_kind", "expected"),
    [
        ("Dense", {"output_dim": 3, "bias": False}, "Dense", {"units": 3, "use_bias": False}),
        ("Dense", {"units": 2, "output_dim": 3}, "Dense", {"units": 2}),
        ("Embedding", {"output_dim": 3}, "Embedding", {"output_dim": 3}),
        ("TimeDistributedDense", {"output_dim": 3}, "Dense", {"units": 3}),
        (
            "Convolution1D",
            {"nb_filter": 3, "filter_length": 2, "border_mode": "same", "subsample_length": 2},
            "Conv1D",
            {"filters": 3, "kernel_size": 2, "padding": "same", "strides": 2},
        ),
        ("Dropout", {"p": 0.5}, "Dropout", {"rate": 0.5}),
        ("Dense", {"activation": "swish"}, "Dense", {"activation": "silu"}),
        ("Dense", {"activation": "own"}, "Dense", {"activation": {"config": "own"}}),
        (
            "Dense",
            {"activation": "hard_sigmoid"},
            "Dense",
            {"activation": KERAS2_HARD_SIGMOID},
        ),
        ("GRU", {"units": 3}, "GRU", {"units": 3, **RECURRENT}),
        (
            "LSTM",
            {"inner_activation": "sigmoid", "activation": "relu", "dropout_W": 0.1},
            "LSTM",
            {**RECURRENT, "recurrent_activation": "sigmoid", "activation": "relu", "dropout": 0.1},
        ),
        (
            "CuDNNGRU",
            {"units": 3},
            "GRU",
            {
                "units": 3,
                "activation": "tanh",
                "recurrent_activation": "sigmoid",
                "use_bias": True,
                "reset_after": True,
            },
        ),
        (
            "TimeDistributed",
            {"layer": {"class_name": "Convolution1D", "config": {"nb_filter": 2}}},
            "TimeDistributed",
            {"layer": {"class_name": "Conv1D", "config": {"filters": 2}}},
        ),
        (
            "StackedRNNCells",
            {"cells": [{"class_name": "GRUCell", "config": {"units": 2}}, 3]},
            "StackedRNNCells",
            {"cells": [{"class_name": "GRUCell", "config": {"units": 2, **RECURRENT}}, 3]},
        ),
    ],
)
def test_options_have_the_names_of_keras_3(
    kind: str, options: Config, new_kind: str, expected: Config
) -> None:
    before = repr(options)
    found_kind, found = modernize_layer(kind, options)
    assert found_kind == new_kind
    assert {name: found[name] for name in expected} == expected
    assert "recurrent_activation" not in found or new_kind in ("LSTM", "GRU")
    assert repr(options) == before


# --- Arrays of Keras 1 and 2 ----------------------------------------------------------------------


def stored(arrays: dict[str, np.ndarray]) -> list[StoredWeight]:
    return [
        StoredWeight(name, a.shape, (dataset(name, *a.shape, number=n),))
        for n, (name, a) in enumerate(arrays.items())
    ]


def modern(kind: str, arrays: dict[str, np.ndarray], backend: str = "") -> dict[str, np.ndarray]:
    values = list(arrays.values())
    reader: Any = SimpleNamespace(values=lambda datasets: [values[d.number] for d in datasets])
    weights = modernize_weights(kind, stored(arrays), backend)
    found = {weight.name: weight.values(reader) for weight in weights}
    assert [weight.shape for weight in weights] == [array.shape for array in found.values()]
    return found


RNG = np.random.default_rng(5)


@pytest.mark.parametrize(
    ("kind", "order", "gates"), [("LSTM", "icfo", "ifco"), ("GRU", "zrh", "zrh")]
)
def test_arrays_of_gates_are_joined(kind: str, order: str, gates: str) -> None:
    shapes = {"W": (3, 5), "U": (5, 5), "b": (5,)}
    arrays = {f"{n}_{gate}": RNG.random(s) for gate in order for n, s in shapes.items()}
    found = modern(kind, arrays)
    for name, own in (("kernel", "W"), ("recurrent_kernel", "U"), ("bias", "b")):
        joined = np.concatenate([arrays[f"{own}_{gate}"] for gate in gates], axis=-1)
        np.testing.assert_array_equal(found[name], joined)
    arrays["U_" + order[1]] = RNG.random((5, 6))
    assert list(modern(kind, arrays)) != ["kernel", "recurrent_kernel", "bias"]


@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("GRU", 3)])
def test_arrays_of_cudnn_are_turned(kind: str, gates: int) -> None:
    kernel, recurrent = RNG.random((3, gates * 5)), RNG.random((5, gates * 5))
    bias = RNG.random(2 * gates * 5)
    found = modern(kind, {"kernel": kernel, "recurrent_kernel": recurrent, "bias": bias})
    for gate in range(gates):
        part = slice(5 * gate, 5 * gate + 5)
        np.testing.assert_array_equal(found["recurrent_kernel"][:, part], recurrent[:, part].T)
        columns = kernel[:, part].reshape(5, 3)
        np.testing.assert_array_equal(found["kernel"][:, part], columns.T)
    rows = bias.reshape(2, -1)
    np.testing.assert_array_equal(found["bias"], rows if kind == "GRU" else rows.sum(axis=0))
    plain = {"kernel": kernel, "recurrent_kernel": recurrent, "bias": bias[: gates * 5]}
    for name, array in modern(kind, plain).items():
        np.testing.assert_array_equal(array, plain[name])


KERNEL = RNG.random((2, 1, 3, 4))
OTHER = RNG.random((4, 3, 2, 1))


@pytest.mark.parametrize(
    ("kind", "arrays", "backend", "expected"),
    [
        ("Dense", {"dense_1_W": KERNEL, "dense_1_b": OTHER}, "", {"kernel": KERNEL, "bias": OTHER}),
        ("Embedding", {"embedding_1_W": KERNEL}, "", {"embeddings": KERNEL}),
        ("SimpleRNN", {"rnn_1_U": KERNEL}, "", {"recurrent_kernel": KERNEL}),
        (
            "SimpleRNN",
            {"rnn_1_W": KERNEL[0, 0], "rnn_1_U": OTHER[0, 0], "rnn_1_b": KERNEL[0, 0, 0]},
            "",
            {"kernel": KERNEL[0, 0], "recurrent_kernel": OTHER[0, 0], "bias": KERNEL[0, 0, 0]},
        ),
        ("Conv1D", {"conv_W": KERNEL}, "tensorflow", {"kernel": KERNEL[:, 0]}),
        ("Conv1D", {"conv_W": KERNEL}, "theano", {"kernel": KERNEL[::-1, 0]}),
        ("Conv1D", {"W": OTHER}, "", {"kernel": OTHER[..., 0].transpose(2, 1, 0)}),
        ("Conv1D", {"W": OTHER}, "theano", {"kernel": OTHER[..., 0].transpose(2, 1, 0)[::-1]}),
        ("Conv1D", {"kernel": KERNEL[0]}, "", {"kernel": KERNEL[0]}),
        ("Conv1D", {"kernel": KERNEL[0]}, "theano", {"kernel": KERNEL[0][::-1]}),
        ("Conv1D", {"bias": KERNEL[0]}, "theano", {"bias": KERNEL[0]}),
        ("Conv2D", {"kernel": KERNEL}, "theano", {"kernel": KERNEL[::-1, ::-1]}),
        ("Conv2D", {"kernel": KERNEL}, "tensorflow", {"kernel": KERNEL}),
        ("Conv2D", {"bias": KERNEL}, "theano", {"bias": KERNEL}),
        (
            "ConvLSTM2D",
            {"recurrent_kernel": KERNEL},
            "theano",
            {"recurrent_kernel": KERNEL[::-1, ::-1]},
        ),
        ("Conv3D", {"kernel": KERNEL[0]}, "theano", {"kernel": KERNEL[0][::-1]}),
        ("DepthwiseConv2D", {"depthwise_kernel": KERNEL}, "", {"kernel": KERNEL}),
        ("SeparableConv1D", {"depthwise_kernel": KERNEL}, "", {"depthwise_kernel": KERNEL}),
    ],
)
def test_arrays_get_keras_3_names_and_axes(
    kind: str, arrays: Any, backend: str, expected: Any
) -> None:
    found = modern(kind, arrays, backend)
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


def model(*layers: Config, kind: str = "Sequential") -> Config:
    return {"class_name": kind, "config": {"name": "m", "layers": list(layers)}}


def part(kind: str, **config: Any) -> Config:
    return {"class_name": kind, "config": {"name": "p", **config}}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (model(part("InputLayer"), part("Dense")), ""),
        (model(part("Dense", units=3)), ""),
        (model(3), ""),  # type: ignore[arg-type]
        (model(), ""),
        ([part("Dense")], "list"),
        ({"class_name": "Sequential", "config": [part("Dense")]}, "list"),
        (model(part("Dense"), part("CuDNNGRU")), "CuDNNGRU"),
        (model(part("Convolution1D")), "Convolution1D"),
        (model(part("Merge")), "Merge"),
        (model(part("Dense", name="a/b")), "a/b"),
        (model(part("GRU", time_major=False)), "time_major"),
        (model(part("Dense", output_dim=3)), "output_dim"),
        (model(part("Embedding", output_dim=3)), ""),
        (model(part("Dropout", p=0.5)), "option p"),
        (model(part("TimeDistributed", layer=part("CuDNNLSTM"))), "CuDNNLSTM"),
        (model(part("Dense", batch_input_shape=[None, 3])), "batch_input_shape"),
        (model(part("InputLayer", batch_input_shape=[None, 3])), ""),
        (model(part("Dense", batch_input_shape=[None, 3]), kind="Functional"), ""),
        (model(part("Dense"), part("Dense", batch_input_shape=[None, 3])), ""),
    ],
)
def test_refusal_of_keras_3_names_its_reason(config: Any, said: str) -> None:
    found = keras3_refusal(config)
    assert said in found
    assert bool(found) is bool(said)


# --- Weights alone --------------------------------------------------------------------------------

#: Groups of arrays, and what they are shown as: name, shape, and how many gates.
ALONE: dict[str, list[tuple[Any, ...]]] = {
    "layers/lstm_2/cell/vars": [
        ("kernel", (3, 20), 4),
        ("recurrent_kernel", (5, 20), 4),
        ("bias", (20,), 4),
    ],
    "layers/dense/vars": [("vars/0", (5, 2), 0), ("vars/1", (2,), 0)],
    "layers/bidirectional/backward_layer/cell/vars": [
        ("backward_layer/kernel", (3, 15), 3),
        ("backward_layer/recurrent_kernel", (5, 15), 3),
    ],
    "layers/bidirectional/forward_layer/cell/vars": [
        ("forward_layer/kernel", (3, 15), 3),
        ("forward_layer/recurrent_kernel", (5, 15), 3),
        ("forward_layer/bias", (2, 15), 3),
    ],
    # Two Dense layers may have such shapes, too.
    "two/vars": [("vars/0", (3, 5), 0), ("vars/1", (5, 5), 0), ("vars/2", (5,), 0)],
    "layers/simple_rnn/cell/vars": [("kernel", (4, 5), 0), ("recurrent_kernel", (5, 5), 0)],
    "encode/scale/vars": [("scale/vars/0", (7,), 0)],
    "encode/vars": [("kernel", (3, 15), 3), ("recurrent_kernel", (5, 15), 3), ("bias", (15,), 3)],
    "near/cell/vars": [
        ("cell/vars/0", (3, 20), 0),
        ("cell/vars/1", (5, 20), 0),
        ("cell/vars/2", (21,), 0),
    ],
    "cube/cell/vars": [("cell/vars/0", (3, 20), 0), ("cell/vars/1", (5, 20, 1), 0)],
}
CLASSES = {"lstm_2": "LSTM", "dense": "Dense", "bidirectional": "Bidirectional"}
CLASSES |= {"simple_rnn": "SimpleRNN", "two": "?", "encode": "?", "near": "?", "cube": "?"}


def shown(network: Network) -> dict[str, list[tuple[Any, ...]]]:
    """Return name, shape and number of gates of the weights of each layer."""
    return {
        layer.name: [
            (w.name, tuple(map(network.count, w.dims)), len(w.gates)) for w in layer.weights
        ]
        for layer in network.layers
    }


def test_weights_alone_are_shown_by_layer() -> None:
    """Shapes that only a cell can have show its gates."""
    others = {"optimizer/vars/0": (9,), "top/0": (1,), "layers/0": (8,)}
    others["layers/dropout/seed_generator/vars/0"] = (2,)
    paths = {f"{g}/{n}": w[1] for g, own in ALONE.items() for n, w in enumerate(own)}
    network, weights, kind = read_weights_only(client({**others, **paths}), None)
    expected: dict[str, list[tuple[Any, ...]]] = {}
    for group, own in ALONE.items():
        expected.setdefault(group.removeprefix("layers/").split("/")[0], []).extend(own)
    assert shown(network) == expected
    assert {layer.name: layer.type for layer in network.layers} == CLASSES
    assert {w.key for layer in network.layers for w in layer.weights if w.gates} >= {"Wx", "bh"}
    assert [d.path for d in weights.optimizer] == [("optimizer", "vars", "0")]
    assert [d.path for d in weights.unassigned] == [("layers", "0"), ("top", "0")]
    assert (weights.named, kind) == (False, "weights alone")
    assert all(kind in str(node.layer.reason) for node in network.nodes)


@pytest.mark.parametrize("root", ["", "model_weights/"])
def test_weights_alone_may_have_names(root: str) -> None:
    """As Keras 1 and 2 wrote them; the config is one of a user's class."""
    paths = {"gru_1/gru_1/kernel:0": (3, 15), "gru_1/gru_1/recurrent_kernel:0": (5, 15)}
    names = [path.partition("/")[2] for path in paths]
    groups = {
        root.strip("/"): {"layer_names": ["gru_1", "dropout"]},
        f"{root}gru_1": {"weight_names": names},
        f"{root}dropout": {"weight_names": []},
    }
    file = client({f"{root}{path}": shape for path, shape in paths.items()}, groups)
    network, weights, kind = read_weights_only(file, {"class_name": "Own"})
    (gru,) = network.layers
    assert (gru.name, gru.type, weights.named) == ("gru_1", "GRU", True)
    assert shown(network)["gru_1"] == [("kernel", (3, 15), 3), ("recurrent_kernel", (5, 15), 3)]
    assert "Own" in kind


@pytest.mark.parametrize(
    ("paths", "config"), [({}, None), ({"top/0": (1,)}, None), ({"a/vars/0": (1,)}, {})]
)
def test_other_files_hold_no_weights(paths: Any, config: Config | None) -> None:
    with pytest.raises(InputError):
        read_weights_only(client(paths), config)


# --- Whole models ---------------------------------------------------------------------------------


def keras_layer(kind: str, name: str, **config: Any) -> Config:
    return {"class_name": kind, "module": "keras.layers", "config": {"name": name, **config}}


def keras_model(*more: Config, steps: int | None = 4) -> Config:
    layers = [
        keras_layer("InputLayer", "x", batch_shape=[None, steps, 3]),
        keras_layer("LSTM", "a", units=5),
        *more,
        keras_layer("Dense", "b", units=2),
    ]
    return {"class_name": "Sequential", "config": {"name": "m", "layers": layers}}


HELD: dict[str, tuple[int, ...]] = {
    "layers/lstm/cell/vars/0": (3, 20),
    "layers/lstm/cell/vars/1": (5, 20),
    "layers/lstm/cell/vars/2": (20,),
    "layers/dense/vars/0": (5, 2),
    "layers/dense/vars/1": (2,),
}
RIGHT_SHAPES = {
    "a": [("kernel", (3, 20)), ("recurrent_kernel", (5, 20)), ("bias", (20,))],
    "b": [("kernel", (5, 2)), ("bias", (2,))],
}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that opens a model whose file has these arrays."""

    def open_one(
        paths: dict[str, tuple[int, ...]],
        config: Any,
        groups: dict[str, Config] | None = None,
        **more: Any,
    ) -> Any:
        file = client(paths, groups)
        text = None if config is None else json.dumps(config)
        version = '{"keras_version": "3.1"}'
        more = {"kind": "keras", "metadata": version, "holds_weights": True, **more}
        vars(file).update(more, config=text, close=lambda: None)
        monkeypatch.setattr(saved_model, "Hdf5Client", lambda path: file)
        with saved_model.open_model_file(Path("m.keras")) as found:
            return found

    return open_one


def complaint(file: Any, *, keras: bool) -> tuple[type | None, str]:
    """Return why the model of a file is not computed."""
    try:
        file.require_computable(file.network.with_sizes(N=2), keras=keras)
    except (InputError, UnsupportedError) as error:
        return type(error), str(error)
    return None, ""


def test_saved_model_has_what_its_file_holds(opened: Any) -> None:
    file = opened(HELD, keras_model())
    assert complaint(file, keras=True) == (None, "")
    assert {name: list(own) for name, own in file.structure.weights.items()} == RIGHT_SHAPES
    assert (file.structure.counts, file.structure.total) == ({"a": 180, "b": 12}, 192)
    check = file.check(file.network.with_sizes(N=2))
    assert (check.path, check.kind, check.keras_version) == ("m.keras", ".keras", "3.1")
    assert all(fact.agrees for fact in check.facts)
    assert (check.notes, check.extras, check.contradictions, check.unbuilt) == ((), (), (), False)
    more = opened({**HELD, "layers/dense/vars/2": (7,)}, keras_model())
    assert more.structure.weights["b"] == (*RIGHT_SHAPES["b"], ("vars/2", (7,)))
    assert more.structure.counts == {"a": 180, "b": 19}


def test_weights_are_read_if_they_fit(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file = opened(HELD, keras_model())
    file.client.values = lambda datasets: [np.full(d.shape, d.number) for d in datasets]
    monkeypatch.setattr(memory, "available", lambda: 8 * 192)  # twice as much as in the file
    with pytest.raises(TooLargeError):
        file.weights()
    monkeypatch.setattr(memory, "available", lambda: 64 * 192)
    found = {
        name: {key: (array.shape, array.ravel()[0]) for key, array in group.items()}
        for name, group in file.weights().items()
    }
    assert found == {
        "a": {"Wx": ((3, 20), 0), "Wh": ((5, 20), 1), "bh": ((20,), 2)},
        "b": {"W": ((5, 2), 3), "b": ((2,), 4)},
    }


OWN: Config = {"class_name": "Own", "module": "own", "config": {}}
WITHOUT_HEAD = {path: shape for path, shape in HELD.items() if "dense" not in path}


@pytest.mark.parametrize(
    ("paths", "config", "error", "words"),
    [
        ({**HELD, "layers/dense/vars/0": (5, 3)}, keras_model(), InputError, ["(5, 2)", "(5, 3)"]),
        (WITHOUT_HEAD, keras_model(), InputError, ["b/kernel", "(5, 2)", "nothing"]),
        ({}, keras_model(), InputError, ["no weights"]),
        (HELD, None, InputError, ["weights alone", "whole model"]),
        (HELD, OWN, UnsupportedError, ["class Own"]),
        (HELD, {**OWN, "class_name": "Sequential", "module": "keras"}, InputError, ["Sequential"]),
        (HELD, {**OWN, "class_name": 3}, InputError, ["class_name"]),
        (HELD, {**OWN, "class_name": "Sequential"}, UnsupportedError, ["class Sequential"]),
        (HELD, keras_model(keras_layer("Other", "o")), UnsupportedError, ["'o'"]),
    ],
)
def test_model_without_all_it_needs_is_refused(
    paths: Any, config: Any, error: type, words: list[str], opened: Any
) -> None:
    file = opened(paths, config)
    for keras in (False, True):
        kind, text = complaint(file, keras=keras)
        assert kind is error
        assert [word for word in ("m.keras", *words) if word not in text] == []
        assert ("load the model in Keras" in text) is (error is UnsupportedError)


def test_keras_alone_refuses_paths_and_dtypes(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = [keras_layer("LSTM", "a", units=5, dtype=dtype) for dtype in ("float32", "float64")]
    for first, refused in zip(layers, (False, True), strict=True):
        config = keras_model()
        config["config"]["layers"][1] = first
        file = opened(HELD, config)
        assert complaint(file, keras=False)[0] is None
        assert (complaint(file, keras=True)[0] is UnsupportedError) is refused
    file = opened(HELD, keras_model())
    monkeypatch.setattr(saved_model, "MOST_PATHS", 0)
    assert complaint(file, keras=False)[0] is None
    assert complaint(file, keras=True)[0] is UnsupportedError


@pytest.mark.parametrize(
    ("more", "notes", "extras"),
    [
        ({"optimizer/vars/0": (9,)}, [], ["1 optimizer array (9 numbers)"]),
        (
            {"optimizer/vars/0": (9, 3), "optimizer/vars/1": (900, 2)},
            [],
            ["2 optimizer arrays (1,827 numbers)"],
        ),
        ({f"o/{n}": (1,) for n in range(3)}, ["o/0, o/1, o/2$"], []),
        ({f"o/{n}": (1,) for n in range(5)}, ["o/0, o/1, o/2 and 2 more"], []),
    ],
)
def test_other_arrays_are_noted(
    more: Any, notes: list[str], extras: list[str], opened: Any
) -> None:
    file = opened({**HELD, **more}, keras_model())
    for found, expected in ((file.notes, notes), (file.extras, extras)):
        assert len(found) == len(expected)
        assert all(word in f"{text}$" for text, word in zip(found, expected, strict=True))
    assert complaint(file, keras=True)[0] is None


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["kernel:0", "bias:0"], ["kernel", "bias"]),
        (["kernel:0", "q"], ["kernel", "q"]),
        (["p", "q"], ["kernel", "bias"]),
    ],
)
def test_names_of_a_file_count_if_one_is_known(
    names: list[str], expected: list[str], opened: Any
) -> None:
    paths = dict(zip([f"model_weights/b/{name}" for name in names], [(5, 2), (2,)], strict=True))
    groups = {"model_weights": {}, "model_weights/b": {"weight_names": names}}
    file = opened(paths, keras_model(), groups, kind="hdf5", metadata=None)
    assert file.structure.weights["b"] == ((expected[0], (5, 2)), (expected[1], (2,)))


@pytest.mark.parametrize("policy", ["float32", "float64", "mixed_float16"])
def test_mixed_policy_is_noted(policy: str, opened: Any) -> None:
    model = keras_model()
    for layer in model["config"]["layers"]:
        layer["config"]["dtype"] = policy
    assert [policy in note for note in opened(HELD, model).notes] == [True] * ("mixed" in policy)


def test_lost_weights_are_noted(opened: Any) -> None:
    (note,) = opened({}, keras_model(), holds_weights=False).notes
    assert "model.weights.h5" in note
    assert not opened({}, keras_model(), holds_weights=False).unbuilt
    assert not opened({"o/0": (1,)}, keras_model()).unbuilt  # its arrays are elsewhere
    assert not opened(HELD, None).unbuilt
    unbuilt = opened({}, keras_model())
    (note,) = unbuilt.notes
    assert (unbuilt.unbuilt, "no weights" in note) == (True, True)


def test_complex_weights_are_refused(opened: Any) -> None:
    file = opened(HELD, keras_model())
    weights = {**file.stored_weights}
    (*others, last) = weights["b"]
    complex_one = replace(last.datasets[0], dtype="complex64", is_real=False)
    weights["b"] = (*others, replace(last, datasets=(complex_one,)))
    kind, text = complaint(replace(file, stored_weights=weights), keras=False)
    assert kind is InputError
    assert [w for w in ("layers/dense/vars/1", "'b'", "complex64") if w not in text] == []


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["bias", "kernel", "recurrent_kernel"], [1, 2, 0]),
        (["0", "1", "2"], [0, 1, 2]),
        (["kernel", "bias", "bias"], [0, 1, 2]),
    ],
)
def test_arrays_are_in_the_order_of_weights(
    names: list[str], order: list[int], opened: Any
) -> None:
    """Arrays without these names stay in the order of the file."""
    file = opened(HELD, keras_model())
    (layer,) = (one for one in file.network.layers if one.name == "a")
    stored = tuple(StoredWeight(name, (n,), ()) for n, name in enumerate(names))
    file = replace(file, stored_weights={"a": stored})
    assert [weight.shape[0] for weight in file.in_weight_order(layer)] == order


@pytest.mark.parametrize(
    ("groups", "paths", "more", "version"),
    [
        ({}, {"a/vars/0": (1,)}, {}, "3"),
        ({}, {"a/k:0": (1,)}, {}, "1"),
        ({"": {"keras_version": "2.1"}, "model_weights": {"keras_version": "2.2"}}, {}, {}, "2.1"),
        ({"model_weights": {"keras_version": "2.2"}}, {}, {}, "2.2"),
        ({"": {"keras_version": "dev"}}, {}, {}, "dev"),
        ({"": {"keras_version": "1" * 30}}, {}, {}, "1" * 30),
        ({}, {}, {"metadata": '{"keras_version": 3}'}, "?"),
        ({}, {}, {"metadata": json.dumps({"keras_version": "3" * 50})}, "3" * 40),
    ],
)
def test_version_is_that_of_the_writer(
    groups: Any, paths: Any, more: Any, version: str, opened: Any
) -> None:
    kinds = {} if more else {"kind": "hdf5", "metadata": None}
    file = opened(paths, keras_model(), groups, **kinds, **more)
    assert file.keras_version == version
    assert file.kind == (".keras" if more else "HDF5")
    (direction,) = file.network.recurrent[0].layer.directions
    is_old = direction.cell.recurrent_activation == KERAS2_HARD_SIGMOID
    assert is_old is (version in ("1", "2.1", "2.2"))
