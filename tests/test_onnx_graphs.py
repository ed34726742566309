"""Whole graphs of ONNX files: what exporters write around recurrent operators."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes import InputError
from rnnshapes.load.foreign.model import open_foreign_file
from rnnshapes.load.foreign.onnx_sizes import ComputedSizes
from rnnshapes.load.foreign.tensors import Tensor
from rnnshapes.ops.onnx_ops import OnnxNode
from tests.helpers.exported_graphs import (
    exported_graph,
    is_whole,
    of_autoencoder,
    of_flat_dense,
    of_lstm,
    of_moved_directions,
    of_moved_features,
    of_pytorch,
    of_tensorflow,
    of_two_layers,
)
from tests.helpers.foreign import written
from tests.helpers.models import randomized, sequential

X = np.random.default_rng(3).standard_normal((2, 5, 3)).astype("float32")


MODELS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "last": lambda: (la.LSTM(4), la.Dense(2, "softmax")),
    "each step": lambda: (la.GRU(4, return_sequences=True), la.Dense(2, "hard_sigmoid")),
    "both": lambda: (
        la.Bidirectional(la.SimpleRNN(4, "relu", return_sequences=True)),
        la.GRU(5, reset_after=False, go_backwards=True),
        la.Dense(4, "tanh"),
        la.Dense(2),
    ),
    "merged": lambda: (
        la.Bidirectional(la.LSTM(4, return_sequences=True), merge_mode="sum"),
        la.Dropout(0.2),
        la.Bidirectional(la.GRU(5), merge_mode="mul"),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_converted_model_is_traced_as_a_whole(name: str, tmp_path: Path) -> None:
    model = randomized(sequential(*MODELS[name](), shape=(None, 3)))
    path = tmp_path / "m.onnx"
    rnnshapes.convert(model, path)
    expected = rnnshapes.trace(model, x=X, show="all", keras=False)
    traced = rnnshapes.trace(path, x=X, show="all")
    np.testing.assert_allclose(traced.output, expected.output, rtol=1e-5, atol=1e-6)
    assert (traced.y_hat is None) is (expected.y_hat is None)
    if expected.y_hat is not None:
        np.testing.assert_allclose(traced.y_hat, expected.y_hat, rtol=1e-5, atol=1e-6)
    summary = rnnshapes.inspect(path)
    assert summary.agrees
    assert len(summary.layers) == len([w for w in model.layers if w.weights])
    assert rnnshapes.verify(model, against=path).passed


def graph(nodes: list[list[Any]], tmp_path: Path, *options: Any, **more: Any) -> Path:
    """Write a file with these nodes, and return its path."""
    return written(tmp_path / "m.onnx", exported_graph(nodes, *options, **more))


@pytest.mark.parametrize("both", [False, True])
def test_export_of_pytorch_is_traced_as_a_whole(both: bool, tmp_path: Path) -> None:
    path = graph(of_pytorch(both), tmp_path)
    assert is_whole(path)
    traced = rnnshapes.trace(path, x=X, show="all")
    h = np.concatenate([layer.states["h"] for layer in traced.layers], axis=-1)
    with open_foreign_file(path) as file:
        assert file is not None
        (dense,) = [own for own in file.weights().values() if "W" in own]
    z = h @ dense["W"] + dense["b"]
    y = z if both else 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(traced.y_hat, y, rtol=1e-6)
    np.testing.assert_allclose(traced.output, y if both else y[:, -1], rtol=1e-6)
    alone = rnnshapes.trace(path, x=X, show="h", layer="gru")
    np.testing.assert_array_equal(alone.output, h)


def other(number: int, position: int, value: Any) -> Callable[[list[list[Any]]], None]:
    """Return a change of one argument of a node, counted from the recurrent operator."""

    def change(nodes: list[list[Any]]) -> None:
        nodes[3 + number][position] = value

    return change


before = [["Sigmoid", ["z"], ["w"], {}], ["Identity", ["z"], ["y"], {}]]
#: Graphs that are no such chain: each would give other numbers.
CHANGES: dict[str, tuple[bool, Callable[[list[list[Any]]], None]]] = {
    "another step": (False, other(3, 1, ["st", "first"])),
    "another axis": (False, other(3, 3, {"axis": 0})),
    "samples for time": (False, other(1, 1, ["Yh", "one"])),
    "initial state": (False, other(0, 1, ["xt", "W", "R", "B", "", "h1"])),
    "lengths": (False, other(0, 1, ["xt", "W", "R", "B", "zero", "h0"])),
    "integers": (False, other(5, 0, "Cast")),
    "scaled": (False, other(4, 3, {"transB": 1, "alpha": 0.5})),
    "unknown operator": (False, other(5, 0, "Erf")),
    "other domain": (False, lambda nodes: nodes[-1].append("own")),
    "bias twice": (True, other(4, 1, ["z", "z"])),
    "directions not side by side": (True, other(1, 3, {"perm": [0, 2, 3, 1]})),
    "samples beside directions": (True, other(2, 1, ["Yt", "wrong"])),
    "softmax over steps": (True, other(4, 0, "Softmax")),
    "last step in reverse": (False, other(0, 3, {"hidden_size": 4, "direction": "reverse"})),
    "backward first": (True, lambda nodes: nodes.__setitem__(slice(4, None), last_states("last"))),
    "samples as steps": (False, lambda nodes: second_layer(nodes, "st", "Yh2")),
    "first of two layers": (False, lambda nodes: second_layer(nodes, "s", "Yh")),
}
RIGHT: dict[str, tuple[bool, Callable[[list[list[Any]]], None]]] = {
    "last states": (True, lambda nodes: nodes.__setitem__(slice(4, None), last_states("first"))),
    "unused activation": (False, lambda nodes: nodes.__setitem__(slice(8, None), before)),
    "two layers": (False, lambda nodes: second_layer(nodes, "s", "Yh2")),
    "output left out": (False, lambda nodes: left_out(nodes, ["Y", ""], ["", "h0"])),
    "state left out": (False, lambda nodes: left_out(nodes, ["Y", "Yh"], ["", ""])),
}


def last_states(first: str) -> list[list[Any]]:
    """Return nodes that join the last states of both directions, from this one on."""
    second = "first" if first == "last" else "last"
    return [
        ["Gather", ["Yh", first], ["a"], {"axis": 0}],
        ["Gather", ["Yh", second], ["d"], {"axis": 0}],
        ["Concat", ["a", "d"], ["s"], {"axis": -1}],
        ["Gemm", ["s", "K2", "b"], ["y"], {}],
    ]


def second_layer(nodes: list[list[Any]], x: str, state: str) -> None:
    """Add a recurrent operator on a tensor, and a head on a last state."""
    nodes[5 if x == "s" else 6 :] = [
        ["GRU", [x, "W2", "R2", "B2"], ["", "Yh2"], {"hidden_size": 4}],
        ["Squeeze", [state, "zeroth"], ["g"], {}],
        ["Gemm", ["g", "K", "b"], ["y"], {"transB": 1}],
    ]


def left_out(nodes: list[list[Any]], outputs: list[str], states: list[str]) -> None:
    """Give the first of two layers these outputs, and the second one these inputs."""
    second_layer(nodes, "s", "Yh2")
    nodes[3][2] = outputs
    nodes[5][1] += states


@pytest.mark.parametrize("name", RIGHT)
def test_other_chains_are_traced_as_a_whole(name: str, tmp_path: Path) -> None:
    both, change = RIGHT[name]
    nodes = of_pytorch(both)
    change(nodes)
    path = graph(nodes, tmp_path)
    assert is_whole(path)
    with open_foreign_file(path) as file:
        assert file is not None
        assert file.network.layers[-1].activations == ("linear",)
    assert rnnshapes.trace(path, x=X).output.shape == (2, 2)


@pytest.mark.parametrize("name", CHANGES)
def test_other_graph_is_not_taken_for_a_chain(name: str, tmp_path: Path) -> None:
    both, change = CHANGES[name]
    nodes = of_pytorch(both)
    change(nodes)
    assert not is_whole(graph(nodes, tmp_path))


def test_input_with_joined_and_parted_axes_is_read(tmp_path: Path) -> None:
    gru: list[Any] = ["GRU", ["xt", "W", "R"], ["Y"], {"hidden_size": 4}]
    nodes: list[list[Any]] = [
        ["Reshape", ["x", "joined"], ["flat x"], {}],
        ["Reshape", ["flat x", "parted"], ["xt"], {}],
        gru,
    ]
    (layer,) = rnnshapes.inspect(graph(nodes, tmp_path, ("Y",), ("x",), ("time", 2, 3))).layers
    assert layer.params == 12 * 4 + 12 * 3


def test_two_uses_of_a_tensor_are_no_chain(tmp_path: Path) -> None:
    assert not is_whole(graph(of_pytorch(), tmp_path, outputs=("y", "z")))
    nodes = of_pytorch()
    nodes[-1] = ["Mul", ["z", "g"], ["y"], {}]
    assert not is_whole(graph(nodes, tmp_path))


def test_initial_zeros_need_no_note(tmp_path: Path) -> None:
    counts = []
    for name in ("h0", "h1"):
        nodes = of_pytorch()
        nodes[3][1] = ["xt", "W", "R", "B", "", name]
        nodes[3][3]["linear_before_reset"] = 1
        (layer, *_) = rnnshapes.inspect(graph(nodes, tmp_path)).layers
        counts.append(len(layer.notes))
    assert counts[1] == counts[0] + 1


@pytest.mark.parametrize("kind", ["Concat", "Slice"])
def test_deep_zeros_are_found_in_time(kind: str, tmp_path: Path) -> None:
    """Each tensor is the input of the next one twice: 2^60 ways lead to the first."""
    nodes = of_pytorch()
    deep = [[kind, [f"z{n}"] * 2, [f"z{n + 1}"], {"axis": 0}] for n in range(60)]
    nodes[3][1] = ["xt", "W", "R", "B", "", "z60"]
    made = [*nodes[:2], ["Identity", ["h0"], ["z0"], {}], *deep, *nodes[2:]]
    assert is_whole(graph(made, tmp_path))


def shape_first(nodes: list[list[Any]]) -> list[list[Any]]:
    """Return nodes that take a shape before everything else."""
    return sorted(nodes, key=lambda node: node[0] != "Shape")


def in_reverse(nodes: list[list[Any]]) -> list[list[Any]]:
    """Return nodes whose recurrent operator processes the sequence in reverse."""
    more = {"hidden_size": 4, "direction": "reverse"}
    return [[*node[:3], more] if node[0] == "GRU" else node for node in nodes]


def with_axes(nodes: list[list[Any]]) -> list[list[Any]]:
    """Return nodes whose slices of shapes name the only axis, and the step."""
    return [[n[0], [*n[1], "zeroth", "one"], *n[2:]] if n[0] == "Slice" else n for n in nodes]


back = ["Transpose", ["p"], ["y"], {"perm": [0, 2, 1]}]
OPEN, FIXED = ("batch", "time", 3), (2, 5, 3)
#: Graphs as exporters write them: nodes, shape of x, further inputs and outputs.
EXPORTS: dict[str, tuple[list[list[Any]], tuple[int | str, ...], tuple[str, ...]]] = {
    "computed sizes": (of_two_layers(), OPEN, ()),
    "sliced along an axis": (with_axes(of_two_layers()), OPEN, ()),
    "constant sizes": (of_two_layers("of 5 and 2"), FIXED, ()),
    "given states": (of_two_layers(state="h"), OPEN, ("h",)),
    "last step": (of_tensorflow(), OPEN, ()),
    "flat dense": (of_flat_dense(), OPEN, ()),
    "flat dense of x": (of_flat_dense("x"), OPEN, ()),
    "flat dense of x, first": (shape_first(of_flat_dense("x")), OPEN, ()),
    "constant zeros": (of_two_layers(state="c0"), OPEN, ()),
}


@pytest.mark.parametrize("name", EXPORTS)
def test_exported_graph_is_traced_as_a_whole(name: str, tmp_path: Path) -> None:
    nodes, shape, more = EXPORTS[name]
    outputs = ("y", "hn") if "hn" in str(nodes) else ("y",)
    path = graph(nodes, tmp_path, outputs, ("x", *more), shape)
    assert is_whole(path)
    traced = rnnshapes.trace(path, x=X, show="all")
    h = traced.layers[-1].states["h"]
    with open_foreign_file(path) as file:
        assert file is not None
        (dense,) = [own for own in file.weights().values() if "W" in own]
    h = h if name.startswith("flat dense") else h[:, -1]
    np.testing.assert_allclose(traced.output, h @ dense["W"] + dense["b"], rtol=1e-5, atol=1e-6)
    warned = "starts from zeros" in str(rnnshapes.inspect(path).to_dict())
    assert warned is (name == "given states")


def renamed_input(name: str) -> list[list[Any]]:
    first, *rest = of_tensorflow()
    return [[first[0], [name], *first[2:]], *rest]


#: Graphs like these that compute something else, or do not say what.
OTHERS: dict[str, tuple[list[list[Any]], tuple[int | str, ...], tuple[str, ...]]] = {
    "samples for steps": (of_two_layers("of 2 and 5"), FIXED, ()),
    "constants of open sizes": (of_two_layers("of 5 and 2"), OPEN, ()),
    "two inputs": (of_two_layers(), OPEN, ("z",)),
    "state made of x": (of_two_layers(state="xt"), OPEN, ()),
    "first step": (of_tensorflow("zeroth", "one"), OPEN, ()),
    "all steps in reverse": (in_reverse(of_tensorflow("zeroth", "end")), OPEN, ()),
    "sizes swapped": (of_two_layers(order="10"), OPEN, ()),
    "axes swapped": (of_flat_dense(axes="ends swapped"), OPEN, ()),
    "flat output": (of_flat_dense()[:-1], OPEN, ()),
    "steps last": (of_moved_features(), OPEN, ()),
    "dense of steps": (of_moved_features(["MatMul", ["d", "K"], ["p"], {}], back), OPEN, ()),
    "softmax of steps": (
        of_moved_features(["Softmax", ["d"], ["p"], {"axis": -1}], back),
        OPEN,
        (),
    ),
    "bias of steps": (of_moved_features(["Add", ["d", "b"], ["p"], {}], back), OPEN, ()),
    "directions one after the other": (of_moved_directions([1, 2, 0], [0, 2, 1]), OPEN, ()),
    "activation of x": ([["Relu", ["x"], ["r"], {}], *renamed_input("r")], OPEN, ()),
    "bias of x": ([["Add", ["x", "b"], ["r"], {}], *renamed_input("r")], OPEN, ()),
}


@pytest.mark.parametrize("outputs", [("y", "h", "c"), ("s", "Yh", "Yc"), ("s", "h", "c")])
def test_last_states_may_be_outputs(outputs: tuple[str, ...], tmp_path: Path) -> None:
    has_head = "y" in outputs
    path = graph(of_lstm() if has_head else of_lstm()[:-1], tmp_path, outputs)
    assert is_whole(path)
    width = 2 if has_head else 4
    assert rnnshapes.trace(path, x=X, show="h").output.shape[-1] == width


def test_cell_state_is_no_output_of_a_layer(tmp_path: Path) -> None:
    assert is_whole(graph(of_lstm()[:-1], tmp_path, ("h", "c")))
    assert not is_whole(graph(of_lstm()[:-1], tmp_path, ("c", "h")))
    assert not is_whole(graph(of_lstm("c"), tmp_path))


def test_merged_states_are_no_second_output(tmp_path: Path) -> None:
    nodes = [
        *of_pytorch(both=True)[:4],
        ["Gather", ["Y", "first"], ["f"], {"axis": 1}],
        ["Gather", ["Y", "last"], ["r"], {"axis": 1}],
        ["Add", ["f", "r"], ["s"], {}],
        ["MatMul", ["s", "Kt"], ["y"], {}],
        *last_states("first")[:2],
        ["Mul", ["a", "d"], ["m"], {}],
    ]
    assert is_whole(graph(nodes, tmp_path, ("y", "a")))
    assert not is_whole(graph(nodes, tmp_path, ("y", "m")))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_rounding_to_16_bits_is_said(dtype: str, tmp_path: Path) -> None:
    """A graph of 16 bits is traced with a note, and a rounded one of 32 bits is no chain."""
    nodes = of_pytorch()
    nodes[2:3] = [["Cast", ["x"], ["x16"], {"to": 10}], [*nodes[2][:1], ["x16"], *nodes[2][2:]]]
    nodes[-1:] = [["Cast", ["z"], ["y"], {"to": 1}]]
    path = graph(nodes, tmp_path, dtype=dtype)
    assert is_whole(path) is (dtype == "float16")


@pytest.mark.parametrize("nodes", [of_autoencoder(), shape_first(of_autoencoder())])
def test_output_of_the_shape_of_x(nodes: list[list[Any]], tmp_path: Path) -> None:
    path = graph(nodes, tmp_path, shape=OPEN)
    assert is_whole(path)
    assert rnnshapes.trace(path, x=X, show="all").y_hat.shape == X.shape


@pytest.mark.parametrize("name", OTHERS)
def test_graph_that_computes_another_output(name: str, tmp_path: Path) -> None:
    nodes, shape, more = OTHERS[name]
    output = nodes[-1][2][0]
    assert not is_whole(graph(nodes, tmp_path, (output,), ("x", *more), shape))


#: Attributes and inputs that no such operator has.
BROKEN: dict[str, list[Any]] = {
    "indices left out": ["Gather", ["n"], ["i"], {}],
    "perm is a number": ["Transpose", ["s"], ["i"], {"perm": 1}],
    "perm of reals": ["Transpose", ["s"], ["i"], {"perm": [1.0, 0.0, 2.0]}],
    "perm of texts": ["Transpose", ["s"], ["i"], {"perm": ["a", "b", "c"]}],
    "axes of texts": ["Squeeze", ["s"], ["i"], {"axes": ["a"]}],
    "axes of reals": ["Squeeze", ["s"], ["i"], {"axes": [1.0]}],
    "starts of reals": ["Slice", ["s"], ["i"], {"starts": [0.5], "ends": [1.5], "axes": [0]}],
    "starts of texts": ["Slice", ["s"], ["i"], {"starts": ["a"], "ends": ["b"], "axes": [0]}],
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_operator_is_no_chain(name: str, tmp_path: Path) -> None:
    size = ["Shape", ["x"], ["n"], {}]
    end = ["Reshape", ["s", "i"], ["y"], {}]
    if name != "indices left out":
        end = ["Identity", ["i"], ["y"], {}]
    nodes = [size, *of_tensorflow()[:3], BROKEN[name], end]
    assert not is_whole(graph(nodes, tmp_path))


@pytest.mark.parametrize("kind", ["Concat", "Mul"])
def test_sizes_of_many_inputs_are_not_read(kind: str) -> None:
    """To join them, and to multiply them, would take hours."""
    large = Tensor("large", "int64", (1,), lambda: pytest.fail("it is read"))
    sizes = ComputedSizes({"large": large}, {})
    sizes.add(OnnxNode(kind, inputs=["large"] * 1000, outputs=["all"]))
    assert sizes.of("all") is None


def test_states_of_very_many_inputs(tmp_path: Path) -> None:
    """Many tensors, each of which comes from many others."""
    names = [f"p{number}" for number in range(6000)]
    parted = ["Split", [f"q{number}" for number in range(6000)], names, {"axis": 0}]
    nodes = of_pytorch()
    nodes[3][1] = ["xt", "W", "R", "B", "", "start"]
    made = [*nodes[:2], parted, ["Concat", names, ["start"], {"axis": 0}], *nodes[2:]]
    start = time.process_time()
    assert not is_whole(graph(made, tmp_path))
    assert time.process_time() - start < 2


def test_output_of_the_first_layer_is_no_chain(tmp_path: Path) -> None:
    nodes = of_two_layers()
    assert not is_whole(graph(nodes, tmp_path, ("y", "Y")))
    nodes[-2][1] = ["hn", "zero"]
    assert not is_whole(graph(nodes, tmp_path))


def test_declared_steps_are_those_of_x(tmp_path: Path) -> None:
    path = graph(of_tensorflow(), tmp_path, shape=(2, 5, 3))
    with pytest.raises(InputError, match="T"):
        rnnshapes.trace(path, x=X[:, :4])
    assert rnnshapes.trace(path, x=X[:1]).output.shape == (1, 2)


@pytest.mark.parametrize("kind", ["Loop", "unrolled"])
def test_recurrence_without_operator_is_named(kind: str, tmp_path: Path) -> None:
    nodes: list[list[Any]] = [["Loop", ["x"], ["y"], {}]]
    if kind == "unrolled":
        names = ["x", "a", "b", "y"]
        nodes = [["MatMul", [a, "K"], [b], {}] for a, b in pairwise(names)]
    path = graph(nodes, tmp_path)
    with pytest.raises(InputError, match="Loop" if kind == "Loop" else "dynamo=False"):
        rnnshapes.trace(path, x=X)


def test_huge_computed_sizes_are_rejected(tmp_path: Path) -> None:
    """Each size is the square of the one before: 2^80 time steps, or letters."""
    nodes = of_two_layers()
    grown = [["Mul", [f"m{n}"] * 2, [f"m{n + 1}"], {}] for n in range(80)]
    for first in ("Yn1", "Yn3"):
        first_node = ["Mul", [first, first], ["m0"], {}]
        reshape = ["Reshape", ["Yt", "m80"], ["s"], {}]
        assert not is_whole(
            graph([*nodes[:11], first_node, *grown, reshape, *nodes[-4:]], tmp_path)
        )
