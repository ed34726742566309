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
    graph_arrays,
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
from tests.helpers.tried import FUNCTIONS

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


before = [
    ["Sigmoid", ["z"], ["w"], {}],
    ["Sigmoid", ["w"], ["v"], {}],
    ["Identity", ["z"], ["y"], {}],
]
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


@pytest.mark.parametrize("units", [4, 3])
def test_graph_with_an_impossible_operator_is_no_chain(units: int, tmp_path: Path) -> None:
    """Though no other node takes its output."""
    nodes = [*of_tensorflow(), ["GRU", ["xt", "W", "R", "B"], ["o"], {"hidden_size": units}]]
    path = graph(nodes, tmp_path)
    assert not is_whole(path)
    assert rnnshapes.inspect(path).file.agrees is (units == 4)
    with open_foreign_file(path) as file:
        assert file is not None
        assert file.contents.chain == ()


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


@pytest.mark.parametrize("number", [0.0, 1.0])
def test_initial_states_may_be_filled_with_zeros(number: float, tmp_path: Path) -> None:
    nodes = of_pytorch()
    nodes[1][3] = {"value": np.array([number], "float32")}
    assert is_whole(graph(nodes, tmp_path)) is (number == 0)


MOVES = (
    "Cast",
    "Concat",
    "Expand",
    "Identity",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Unsqueeze",
)


@pytest.mark.parametrize("kind", [*MOVES, "Gather", "Transpose", "Relu"])
def test_initial_states_may_be_moved(kind: str, tmp_path: Path) -> None:
    """Zeros, no zeros, and a state that is an input of the graph."""
    for state, inputs, expected in (
        ("h0", ("x",), kind in MOVES),
        ("h1", ("x",), False),
        ("h", ("x", "h"), kind != "Relu"),
    ):
        nodes = of_pytorch()
        nodes[3][1] = ["xt", "W", "R", "B", "", "moved"]
        made = [*nodes[:2], [kind, [state], ["moved"], {"axis": 0}], *nodes[2:]]
        assert is_whole(graph(made, tmp_path, inputs=inputs)) is expected
    if kind == "Concat":  # of all that it joins
        made[2][1] = ["h0", "h1"]
        assert not is_whole(graph(made, tmp_path))


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


GRU = of_tensorflow()[:3]
ELU, HARD = {"alpha": 1.0}, {"alpha": 1 / 6, "beta": 0.5}
ARRAYS = graph_arrays(GRU)
K, B, KT = ARRAYS["K"], ARRAYS["b"], ARRAYS["Kt"]


def sliced(*more: Any, **attributes: Any) -> list[list[Any]]:
    """Return nodes that take one step by a slice."""
    slice_node = ["Slice", ["s", *more], ["l"], attributes]
    return [slice_node, ["Squeeze", ["l"], ["y"], {"axes": [0]}]]


def dense(*nodes: list[Any], rank: int = 2) -> list[list[Any]]:
    """Return nodes that follow z of a dense layer, of the last step alone or of each."""
    last = ["Gather", ["s", "last"], ["g"], {}] if rank == 2 else ["Identity", ["s"], ["g"], {}]
    return [last, ["MatMul", ["g", "Kt"], ["z"], {}], *nodes]


def gemm(inputs: list[str], rank: int = 2, **attributes: Any) -> list[list[Any]]:
    """Return a dense layer on the last step."""
    return [*dense(rank=rank)[:1], ["Gemm", ["g", *inputs], ["y"], attributes]]


def samples_first(y: np.ndarray) -> np.ndarray:
    """Return (T, N, M) as (N, T, M), and the (N, M) of one step as it is."""
    return y if y.ndim == 2 else np.swapaxes(y, 0, 1)


elu, softmax = FUNCTIONS["elu"], FUNCTIONS["softmax"]
FAR = 2**31 - 1
#: Nodes after s (T, N, 4), and y from the numbers of s; None where they are no chain.
TAILS: dict[str, tuple[list[list[Any]], Callable[[Any], Any] | None]] = {
    "index, axis left out": ([["Gather", ["s", "last"], ["y"], {}]], lambda s: s[-1]),
    "index, axis from the end": ([["Gather", ["s", "last"], ["y"], {"axis": -3}]], lambda s: s[-1]),
    "index left out": ([["Gather", ["s"], ["y"], {}]], None),
    "index beyond": ([["Gather", ["s", "last"], ["y"], {"axis": 3}]], None),
    "index before": ([["Gather", ["s", "last"], ["y"], {"axis": -4}]], None),
    "index of samples": ([["Gather", ["s", "last"], ["y"], {"axis": 1}]], None),
    "index as a list": ([["Gather", ["s", "rest"], ["y"], {"axis": 0}]], None),
    "slice": (sliced(starts=[-1], ends=[FAR], axes=[0]), lambda s: s[-1]),
    "slice from the end": (sliced(starts=[-1], ends=[FAR], axes=[-3]), lambda s: s[-1]),
    "empty slice": (sliced(starts=[-1], ends=[0], axes=[0]), None),
    "slice of two": (sliced(starts=[-2], ends=[FAR], axes=[0]), None),
    "slice before the last": (sliced(starts=[-2], ends=[-1], axes=[0]), None),
    "slice of two axes": (sliced(starts=[-1], ends=[FAR], axes=[0, 1]), None),
    "two slices": (sliced(starts=[-1, -1], ends=[FAR, FAR], axes=[0, 1]), None),
    "slice to no integer": (sliced("rest", "K", "zeroth"), None),
    "slice with step 1": (sliced("rest", "end", "zeroth", "one"), lambda s: s[-1]),
    "slice with step 2": (sliced("rest", "end", "zeroth", "two"), None),
    "squeezed twice": ([*sliced("rest", "end", "zeroth")[:1], ["Squeeze", ["l"], ["y"], {}]], None),
    "squeezed along an open axis": (
        [
            *sliced("rest", "end", "zeroth")[:1],
            ["Shape", ["s"], ["n"], {}],
            ["Slice", ["n", "one", "two"], ["samples"], {}],
            ["Concat", ["zeroth", "samples"], ["axes"], {"axis": 0}],
            ["Squeeze", ["l", "axes"], ["y"], {}],
        ],
        None,
    ),
    "squeezed beyond": (
        [*sliced("rest", "end", "zeroth")[:1], ["Squeeze", ["l"], ["y"], {"axes": [3]}]],
        None,
    ),
    "squeezed from the end": (
        [*sliced("rest", "end", "zeroth")[:1], ["Squeeze", ["l"], ["y"], {"axes": [-3]}]],
        lambda s: s[-1],
    ),
    "reshaped with its axis of one step": (
        [
            *sliced("rest", "end", "zeroth")[:1],
            ["MatMul", ["l", "Kt"], ["z"], {}],
            ["Reshape", ["z", "one step"], ["y"], {"allowzero": 1}],
        ],
        lambda s: s[-1] @ KT,
    ),
    "sizes of 0": (dense(["Reshape", ["z", "rows"], ["y"], {}], rank=3), lambda s: s @ KT),
    "sizes of 0, not copied": (
        dense(["Reshape", ["z", "rows"], ["y"], {"allowzero": 1}], rank=3),
        None,
    ),
    "own domain": ([["Identity", ["s"], ["y"], {}, "own"]], None),
    "domain of ONNX": ([["Identity", ["s"], ["y"], {}, "ai.onnx"]], lambda s: s),
    "turned twice": (
        [["Transpose", ["s"], ["a"], {}], ["Transpose", ["a"], ["y"], {}]],
        lambda s: s,
    ),
    "turned": ([["Transpose", ["s"], ["y"], {}]], None),
    **{
        f"perm {name}": ([["Transpose", ["s"], ["y"], {"perm": perm}]], None)
        for name, perm in {"short": [1, 0], "beyond": [0, 1, 3], "twice": [0, 0, 2]}.items()
    },
    "gemm": (gemm(["Kt", "b"]), lambda s: s[-1] @ KT + B),
    "gemm of ones": (gemm(["Kt", "b"], alpha=1.0, beta=1.0), lambda s: s[-1] @ KT + B),
    "gemm without bias": (gemm(["K"], transB=1), lambda s: s[-1] @ K.T),
    "gemm of an empty bias": (gemm(["K", ""], transB=1), lambda s: s[-1] @ K.T),
    "gemm, alpha": (gemm(["Kt", "b"], alpha=2.0), None),
    "gemm, beta": (gemm(["Kt", "b"], beta=0.0), None),
    "gemm, turned input": (gemm(["Kt", "b"], transA=1), None),
    "gemm of each step": (gemm(["Kt", "b"], rank=3), None),
    "gemm, bias of 3": (gemm(["Kt", "b3"]), None),
    "gemm, bias of two axes": (gemm(["K3", "Kt"]), None),
    "gemm, vector": (gemm(["b"]), None),
    "constant first": ([["MatMul", ["K", "s"], ["y"], {}]], None),
    "product alone": ([["MatMul", ["s"], ["y"], {}]], None),
    "bias": (dense(["Add", ["z", "b"], ["y"], {}]), lambda s: s[-1] @ KT + B),
    "bias first": (dense(["Add", ["b", "z"], ["y"], {}], rank=3), lambda s: s @ KT + B),
    "bias of 3": (dense(["Add", ["z", "b3"], ["y"], {}]), None),
    "bias of two axes": (dense(["Add", ["z", "K"], ["y"], {}]), None),
    "bias twice": (dense(["Add", ["z", "b"], ["a"], {}], ["Add", ["a", "b"], ["y"], {}]), None),
    "late bias": (dense(["Tanh", ["z"], ["a"], {}], ["Add", ["a", "b"], ["y"], {}]), None),
    "bias of states": ([["Add", ["s", "b"], ["y"], {}]], None),
    "activated states": ([["Tanh", ["s"], ["y"], {}]], None),
    "two activations": (dense(["Tanh", ["z"], ["a"], {}], ["Relu", ["a"], ["y"], {}]), None),
    "two layers": (
        dense(["Tanh", ["z"], ["a"], {}], ["MatMul", ["a", "K"], ["y"], {}]),
        lambda s: np.tanh(s[-1] @ KT) @ K,
    ),
    **{
        f"{kind} {attributes}, {rank} axes": (
            dense([kind, ["z"], ["y"], attributes], rank=rank),
            known,
        )
        for kind, attributes, rank, known in (
            ("Relu", {}, 2, lambda s: np.maximum(s[-1] @ KT, 0)),
            ("Sigmoid", {}, 2, lambda s: 1 / (1 + np.exp(-s[-1] @ KT))),
            ("Tanh", {}, 3, lambda s: np.tanh(s @ KT)),
            ("Softplus", {}, 2, lambda s: np.log1p(np.exp(s[-1] @ KT))),
            ("Softsign", {}, 2, lambda s: s[-1] @ KT / (1 + np.abs(s[-1] @ KT))),
            ("Elu", {}, 2, lambda s: elu(s[-1] @ KT)),
            ("Elu", ELU, 2, lambda s: elu(s[-1] @ KT)),
            ("Elu", {"alpha": 0.5}, 2, None),
            ("HardSigmoid", HARD, 2, lambda s: np.clip(s[-1] @ KT / 6 + 0.5, 0, 1)),
            ("HardSigmoid", {}, 2, None),
            ("HardSigmoid", {**HARD, "alpha": 0.2}, 2, None),
            ("HardSigmoid", {**HARD, "beta": 0.4}, 2, None),
            ("Softmax", {"axis": -1}, 3, lambda s: softmax(s @ KT)),
            ("Softmax", {"axis": 2}, 3, lambda s: softmax(s @ KT)),
            ("Softmax", {"axis": 1}, 3, None),
            ("Softmax", {"axis": 1}, 2, lambda s: softmax(s[-1] @ KT)),
            ("Softmax", {"axis": 0}, 2, None),
            ("LogSoftmax", {}, 2, lambda s: np.log(softmax(s[-1] @ KT))),
            ("LogSoftmax", {}, 3, None),
            ("Dropout", {}, 2, lambda s: s[-1] @ KT),
            ("Dropout", {"is_test": 1}, 3, lambda s: s @ KT),
            ("Dropout", {"is_test": 0}, 2, None),
            ("Cast", {"to": 11}, 2, lambda s: s[-1] @ KT),
            ("Cast", {"to": 1}, 2, lambda s: s[-1] @ KT),
            ("Cast", {"to": 10}, 2, None),
            ("Cast", {}, 2, None),
        )
    },
    "training": (dense(["Dropout", ["z", "", "one"], ["y"], {}]), None),
}


def assert_computes(path: Path, expected: Callable[..., Any] | None, recurrences: int) -> None:
    """Check the output of a graph: ``expected`` makes it from h (T, N, M) of each recurrence.

    With None, the graph is no chain.
    """
    assert is_whole(path) is (expected is not None)
    if expected is not None:
        traced = rnnshapes.trace(path, x=X, show="h")
        states = [np.swapaxes(each.states["h"], 0, 1) for each in traced.layers[:recurrences]]
        np.testing.assert_allclose(traced.output, samples_first(expected(*states)), 1e-6, 1e-7)


@pytest.mark.parametrize("name", TAILS)
def test_chain_computes_what_its_operators_say(name: str, tmp_path: Path) -> None:
    nodes, expected = TAILS[name]
    assert_computes(graph([*GRU, *nodes], tmp_path), expected, recurrences=1)


BY_SAMPLE = {"hidden_size": 4, "layout": 1}
FIRST = ["GRU", ["x", "W", "R", "B"], ["Y", "Yh"], BY_SAMPLE]
SECOND = ["GRU", ["s", "W2", "R2", "B2"], ["Y2", "Yh2"], BY_SAMPLE]
#: Nodes with layout=1, and y from h (N, T, 4) of the last layer; None where they are no chain.
SAMPLES_FIRST: dict[str, tuple[list[list[Any]], Callable[[Any], Any] | None]] = {
    "every step": ([FIRST, ["Squeeze", ["Y", "two"], ["y"], {}]], lambda h: h),
    "last state": ([FIRST, ["Squeeze", ["Yh", "one"], ["y"], {}]], lambda h: h[:, -1]),
    "state of steps first": ([FIRST, ["Squeeze", ["Yh", "zeroth"], ["y"], {}]], None),
    "two layers": (
        [
            FIRST,
            ["Squeeze", ["Y", "two"], ["s"], {}],
            SECOND,
            ["Squeeze", ["Yh2", "one"], ["y"], {}],
        ],
        lambda h: h[:, -1],
    ),
    "steps first behind samples first": (
        [
            FIRST,
            ["Squeeze", ["Y", "two"], ["s"], {}],
            [*SECOND[:3], {"hidden_size": 4}],
            ["Squeeze", ["Yh2", "zeroth"], ["y"], {}],
        ],
        None,
    ),
    "turned between": (
        [
            FIRST,
            ["Squeeze", ["Y", "two"], ["a"], {}],
            ["Transpose", ["a"], ["s"], {"perm": [1, 0, 2]}],
            [*SECOND[:3], {"hidden_size": 4}],
            ["Squeeze", ["Yh2", "zeroth"], ["y"], {}],
        ],
        lambda h: h[:, -1],
    ),
}


@pytest.mark.parametrize("name", SAMPLES_FIRST)
def test_samples_may_come_first_in_a_chain(name: str, tmp_path: Path) -> None:
    nodes, expected = SAMPLES_FIRST[name]
    path = graph(nodes, tmp_path)
    assert is_whole(path) is (expected is not None)
    if expected is not None:
        traced = rnnshapes.trace(path, x=X, show="h")
        np.testing.assert_allclose(traced.output, expected(traced.layers[-1].states["h"]), 1e-6)


BOTH_WAYS = [GRU[0], [*GRU[1][:2], ["Y", "Yh"], {"hidden_size": 4, "direction": "bidirectional"}]]


def directions(
    *nodes: list[Any], axis: int | None = 1, indices: tuple[str, str] = ("first", "other")
) -> list[list[Any]]:
    """Return nodes that follow f and r (T, N, 4) of both directions, or their last states."""
    of = "Yh" if axis == 0 else "Y"
    parts = [
        ["Gather", [of, index], [name], {} if axis is None else {"axis": axis}]
        for index, name in zip(indices, "fr", strict=True)
    ]
    return [*parts, *nodes]


def joined(kind: str = "Concat", *inputs: str, **attributes: Any) -> list[Any]:
    """Return the node that joins both directions."""
    return [kind, [*(inputs or "fr")], ["y"], attributes]


#: Nodes that cut each direction out of Y, as an axis of size 1.
CUT = [
    ["Slice", ["Y", start, end, "one"], [name], {}]
    for start, end, name in (("zeroth", "one", "f1"), ("one", "two", "r1"))
]
#: Nodes after both directions, and y from their numbers (T, N, 4).
BOTH_TAILS: dict[str, tuple[list[list[Any]], Callable[[Any, Any], Any] | None]] = {
    "sum": (directions(joined("Add")), lambda f, r: f + r),
    "product": (directions(joined("Mul")), lambda f, r: f * r),
    "concat": (directions(joined(axis=-1)), lambda f, r: np.concatenate([f, r], -1)),
    "concat, last axis": (directions(joined(axis=2)), lambda f, r: np.concatenate([f, r], -1)),
    "axis from the end": (directions(joined("Add"), axis=-3), lambda f, r: f + r),
    "indices from the end": (
        directions(joined(axis=2), indices=("before", "last")),
        lambda f, r: np.concatenate([f, r], -1),
    ),
    "last states": (
        directions(joined(axis=-1), axis=0),
        lambda f, r: np.concatenate([f[-1], r[0]], -1),
    ),
    "sum of last states": (directions(joined("Add"), axis=0), lambda f, r: f[-1] + r[0]),
    "concat of samples": (directions(joined(axis=1)), None),
    "concat of steps": (directions(joined(axis=0)), None),
    "concat, axis left out": (directions(joined()), None),
    "other order": (directions(joined("Concat", "r", "f", axis=-1)), None),
    "one way twice": (directions(joined("Add", "f", "f")), None),
    "three parts": (directions(joined("Concat", "f", "r", "f", axis=-1)), None),
    "with a constant": (directions(joined("Concat", "f", "r", "h1", axis=-1)), None),
    **{
        f"{kind} {sizes}": (
            directions([kind, ["f", "r"], ["s"], more], ["Reshape", ["s", sizes], ["y"], {}]),
            known,
        )
        for kind, more, sizes, known in (
            ("Concat", {"axis": -1}, "of 8", lambda f, r: np.concatenate([f, r], -1)),
            ("Concat", {"axis": -1}, "of 4", None),
            ("Mul", {}, "of 4", lambda f, r: f * r),
            ("Mul", {}, "of 8", None),
        )
    },
    "cut and squeezed": (
        [*CUT, *(["Squeeze", [f"{n}1", "one"], [n], {}] for n in "fr"), joined("Add")],
        lambda f, r: f + r,
    ),
    "cut and joined beside each other": (
        [*CUT, ["Concat", ["f1", "r1"], ["s"], {"axis": -1}], ["Squeeze", ["s", "one"], ["y"], {}]],
        None,
    ),
    "cut and added": ([*CUT, joined("Add", "f1", "r1")], None),
    "last step of both": (
        directions(["Add", ["f", "r"], ["s"], {}], ["Gather", ["s", "last"], ["y"], {}]),
        None,
    ),
    "difference": (directions(joined("Sub")), None),
    "largest": (directions(joined("Max")), None),
    "steps for directions": (directions(joined("Add"), axis=None), None),
    "index beyond": (directions(joined("Add"), indices=("first", "third")), None),
    "index before": (directions(joined("Add"), indices=("far", "last")), None),
    "one way alone": (directions(["Identity", ["f"], ["y"], {}]), None),
    "other way alone": (directions(["Identity", ["r"], ["y"], {}]), None),
    "squeezed": ([["Squeeze", ["Y", "one"], ["y"], {}]], None),
    "not merged": ([["Identity", ["Y"], ["y"], {}]], None),
}


@pytest.mark.parametrize("name", BOTH_TAILS)
def test_directions_are_joined_as_the_operators_say(name: str, tmp_path: Path) -> None:
    nodes, expected = BOTH_TAILS[name]
    assert_computes(graph([*BOTH_WAYS, *nodes], tmp_path), expected, recurrences=2)


#: How the last states of two layers are joined, how one is chosen, and the number of the layer
#: whose state y is; None where they are no chain.
STATES: dict[str, tuple[list[str], dict[str, Any], list[str], dict[str, Any], int | None]] = {
    "second": (["Yh", "Yh2"], {"axis": 0}, ["hn", "last"], {"axis": 0}, 1),
    "second from the start": (["Yh", "Yh2"], {"axis": 0}, ["hn", "other"], {"axis": 0}, 1),
    "axes from the end": (["Yh", "Yh2"], {"axis": -3}, ["hn", "last"], {"axis": -3}, 1),
    "axis left out": (["Yh", "Yh2"], {"axis": 0}, ["hn", "last"], {}, 1),
    "second comes first": (["Yh2", "Yh"], {"axis": 0}, ["hn", "before"], {"axis": 0}, 1),
    "first": (["Yh", "Yh2"], {"axis": 0}, ["hn", "zero"], {"axis": 0}, None),
    "index beyond": (["Yh", "Yh2"], {"axis": 0}, ["hn", "third"], {"axis": 0}, None),
    "index before": (["Yh", "Yh2"], {"axis": 0}, ["hn", "far"], {"axis": 0}, None),
    "samples": (["Yh", "Yh2"], {"axis": 0}, ["hn", "last"], {"axis": 1}, None),
    "joined samples": (["Yh", "Yh2"], {"axis": 1}, ["hn", "last"], {"axis": 0}, None),
    "joined with a constant": (["Yh", "Yh2", "h1"], {"axis": 0}, ["hn", "other"], {}, None),
    "chosen with another": (["Yh", "Yh2"], {"axis": 0}, ["hn", "last", "Yh2"], {}, None),
    "chosen from another": (["Yh", "Yh2"], {"axis": 0}, ["Yh2", "last", "hn"], {}, None),
    "multiplied": (["Yh", "Yh2"], {"axis": 0}, ["hn", "last"], {}, None),
}


@pytest.mark.parametrize("name", STATES)
def test_joined_states_are_chosen_by_layer(name: str, tmp_path: Path) -> None:
    parts, joining, chosen, choosing, number = STATES[name]
    nodes = of_two_layers()
    nodes[-3:] = [
        ["Concat", parts, ["hn"], joining],
        ["Shape", ["hn"], ["unused"], {}],
        ["Mul" if name == "multiplied" else "Gather", chosen, ["y"], choosing],
    ]
    path = graph(nodes, tmp_path, shape=OPEN)
    assert is_whole(path) is (number is not None)
    if number is not None:
        traced = rnnshapes.trace(path, x=X, show="h")
        np.testing.assert_allclose(traced.output, traced.layers[number].states["h"][:, -1], 1e-6)


#: Attributes and inputs that no such operator has.
BROKEN: dict[str, list[Any]] = {
    "indices left out": ["Gather", ["n"], ["i"], {}],
    "three inputs": ["Transpose", ["s", "Y", "Y"], ["i"], {"perm": [0, 1, 2]}],
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
    for outputs in (("y", "Y"), ("hn",), ("K",)):
        assert not is_whole(graph(nodes, tmp_path, outputs))
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
