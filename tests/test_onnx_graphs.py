"""Whole graphs of ONNX files: what exporters write around recurrent operators."""

from __future__ import annotations

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
from tests.helpers.foreign import message, onnx_file, onnx_node, onnx_weights, written
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


Nodes = list[bytes]
NUMBERS = {
    "zero": 0,
    "one": [1],
    "last": -1,
    "first": 0,
    "zeroth": [0],
    "rows": [0, 0, -1],
    "wrong": [0, -1, 4],
    "two": [2],
    "three": [3],
    "four": [4],
    "rest": [-1],
    "swapped": [0, 2, 1, 3],
    "both ends": [0, 1],
    "width": [2],
    "end": [2**31 - 1],
    "flat": [-1, 4],
    "of 5 and 2": [5, 2, 4],
    "of 2 and 5": [2, 5, 4],
}


def of_pytorch(both: bool = False) -> list[list[Any]]:
    """Return the nodes that PyTorch's exporter writes, as arguments of ``onnx_node``."""
    way: dict[str, Any] = {"direction": "bidirectional"} if both else {}
    nodes: list[list[Any]] = [
        ["Shape", ["x"], ["shape"], {}],
        ["ConstantOfShape", ["shape"], ["h0"], {}],
        ["Transpose", ["x"], ["xt"], {"perm": [1, 0, 2]}],
        ["GRU", ["xt", "W", "R", "B", "", "h0"], ["Y", "Yh"], {"hidden_size": 4, **way}],
    ]
    if both:
        return [
            *nodes,
            ["Transpose", ["Y"], ["Yt"], {"perm": [0, 2, 1, 3]}],
            ["Reshape", ["Yt", "rows"], ["s"], {}],
            ["MatMul", ["s", "K2"], ["z"], {}],
            ["Add", ["b", "z"], ["y"], {}],
        ]
    return [
        *nodes,
        ["Squeeze", ["Y", "one"], ["s"], {}],
        ["Transpose", ["s"], ["st"], {"perm": [1, 0, 2]}],
        ["Gather", ["st", "last"], ["g"], {"axis": 1}],
        ["Gemm", ["g", "K", "b"], ["z"], {"transB": 1}],
        ["Sigmoid", ["z"], ["y"], {}],
    ]


def graph(
    nodes: list[list[Any]],
    tmp_path: Path,
    outputs: tuple[str, ...] = ("y",),
    inputs: tuple[str, ...] = ("x",),
    shape: tuple[int | str, ...] = (),
) -> Path:
    """Write a file with these nodes, from x, of this shape, to y."""
    dirs = 2 if any("bidirectional" in node[3].values() for node in nodes) else 1
    rng = np.random.default_rng(0)
    arrays = onnx_weights("gru", 3, 4, dirs)
    shapes = {"K": (2, 4), "K2": (8, 2), "b": (2,), "h1": (1, 1, 4)}
    arrays |= {k: rng.standard_normal(shape).astype("float32") for k, shape in shapes.items()}
    arrays |= {f"{name}2": array for name, array in onnx_weights("gru", 4, 4).items()}
    arrays |= {name: np.asarray(value, "int64") for name, value in NUMBERS.items()}
    made = [
        onnx_node(kind, ins, outs, **more) + message((7, domain[0] if domain else ""))
        for kind, ins, outs, more, *domain in nodes
    ]
    data = onnx_file(made, arrays, "pytorch", inputs, outputs, {"x": shape})
    return written(tmp_path / "m.onnx", data)


def is_whole(path: Path) -> bool:
    with open_foreign_file(path) as file:
        assert file is not None
        return file.file_network.is_whole


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


@pytest.mark.parametrize("name", RIGHT)
def test_other_chains_are_traced_as_a_whole(name: str, tmp_path: Path) -> None:
    both, change = RIGHT[name]
    nodes = of_pytorch(both)
    change(nodes)
    path = graph(nodes, tmp_path)
    assert is_whole(path)
    assert rnnshapes.trace(path, x=X).output.shape == (2, 2)


@pytest.mark.parametrize("name", CHANGES)
def test_other_graph_is_not_taken_for_a_chain(name: str, tmp_path: Path) -> None:
    both, change = CHANGES[name]
    nodes = of_pytorch(both)
    change(nodes)
    assert not is_whole(graph(nodes, tmp_path))


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


def last_axes_joined(Y: str, result: str) -> list[list[Any]]:
    """Return nodes that join the last two axes, as PyTorch writes them for open sizes."""
    slices = [("n0", "zeroth", "one"), ("n1", "one", "two"), ("n2", "two", "three")]
    slices.append(("n3", "three", "four"))
    return [
        ["Transpose", [Y], [f"{Y}t"], {"perm": [0, 2, 1, 3]}],
        ["Shape", [f"{Y}t"], [f"{Y}n"], {"start": 0}],
        *(["Slice", [f"{Y}n", a, b], [f"{Y}{name}"], {}] for name, a, b in slices),
        ["Mul", [f"{Y}n2", f"{Y}n3"], [f"{Y}m"], {}],
        ["Reshape", [f"{Y}m", "rest"], [f"{Y}r"], {"allowzero": 0}],
        ["Concat", [f"{Y}n0", f"{Y}n1", f"{Y}r"], [f"{Y}s"], {"axis": 0}],
        ["Reshape", [f"{Y}t", f"{Y}s"], [result], {"allowzero": 0}],
    ]


def of_two_layers(sizes: str = "", state: str = "h0") -> list[list[Any]]:
    """Return nodes of two layers, with sizes of Reshape that are constants or computed."""
    joined = last_axes_joined("Y", "s")
    if sizes:
        joined[1:] = [["Reshape", ["Yt", sizes], ["s"], {"allowzero": 0}]]
    return [
        ["Shape", ["x"], ["shape"], {"start": 0, "end": 1}],
        ["ConstantOfShape", ["shape"], ["h0"], {}],
        ["Transpose", ["x"], ["xt"], {"perm": [1, 0, 2]}],
        ["GRU", ["xt", "W", "R", "B", "", state], ["Y", "Yh"], {"hidden_size": 4}],
        *joined,
        ["GRU", ["s", "W2", "R2", "B2"], ["Y2", "Yh2"], {"hidden_size": 4}],
        ["Concat", ["Yh", "Yh2"], ["hn"], {"axis": 0}],
        ["Gather", ["hn", "last"], ["g"], {"axis": 0}],
        ["Gemm", ["g", "K", "b"], ["y"], {"transB": 1}],
    ]


def of_tensorflow(start: str = "rest", end: str = "end") -> list[list[Any]]:
    """Return nodes that tf2onnx writes: a dense layer on flat samples, and the last step."""
    return [
        ["Transpose", ["x"], ["xt"], {"perm": [1, 0, 2]}],
        ["GRU", ["xt", "W", "R", "B"], ["Y"], {"hidden_size": 4}],
        ["Squeeze", ["Y", "one"], ["s"], {}],
        ["Slice", ["s", start, end, "zeroth"], ["l"], {}],
        ["Squeeze", ["l", "zeroth"], ["g"], {}],
        ["Gemm", ["g", "K", "b"], ["y"], {"transB": 1}],
    ]


def of_flat_dense() -> list[list[Any]]:
    """Return nodes that tf2onnx writes for a dense layer at each step."""
    return [
        *of_tensorflow()[:3],
        ["Transpose", ["s"], ["st"], {"perm": [1, 0, 2]}],
        ["Shape", ["st"], ["n"], {}],
        ["Cast", ["n"], ["n32"], {"to": 6}],
        ["Gather", ["n32", "both ends"], ["free"], {"axis": 0}],
        ["Concat", ["free", "width"], ["sizes"], {"axis": 0}],
        ["Reshape", ["st", "flat"], ["f"], {}],
        ["Gemm", ["f", "K", "b"], ["z"], {"transB": 1}],
        ["Reshape", ["z", "sizes"], ["y"], {}],
    ]


OPEN, FIXED = ("batch", "time", 3), (2, 5, 3)
#: Graphs as exporters write them: nodes, shape of x, further inputs and outputs.
EXPORTS: dict[str, tuple[list[list[Any]], tuple[int | str, ...], tuple[str, ...]]] = {
    "computed sizes": (of_two_layers(), OPEN, ()),
    "constant sizes": (of_two_layers("of 5 and 2"), FIXED, ()),
    "given states": (of_two_layers(state="h"), OPEN, ("h",)),
    "last step": (of_tensorflow(), OPEN, ()),
    "flat dense": (of_flat_dense(), OPEN, ()),
}


@pytest.mark.parametrize("name", EXPORTS)
def test_export_of_today_is_traced(name: str, tmp_path: Path) -> None:
    nodes, shape, more = EXPORTS[name]
    outputs = ("y", "hn") if "hn" in str(nodes) else ("y",)
    path = graph(nodes, tmp_path, outputs, ("x", *more), shape)
    assert is_whole(path)
    traced = rnnshapes.trace(path, x=X, show="all")
    h = traced.layers[-1].states["h"]
    with open_foreign_file(path) as file:
        assert file is not None
        (dense,) = [own for own in file.weights().values() if "W" in own]
    h = h if name == "flat dense" else h[:, -1]
    np.testing.assert_allclose(traced.output, h @ dense["W"] + dense["b"], rtol=1e-5, atol=1e-6)
    warned = "starts from zeros" in str(rnnshapes.inspect(path).to_dict())
    assert warned is (name == "given states")


#: Graphs like these that compute something else, or do not say what.
OTHERS: dict[str, tuple[list[list[Any]], tuple[int | str, ...], tuple[str, ...]]] = {
    "samples for steps": (of_two_layers("of 2 and 5"), FIXED, ()),
    "constants of open sizes": (of_two_layers("of 5 and 2"), OPEN, ()),
    "two inputs": (of_two_layers(), OPEN, ("z",)),
    "state made of x": (of_two_layers(state="xt"), OPEN, ()),
    "first step": (of_tensorflow("zeroth", "one"), OPEN, ()),
    "all steps": (of_tensorflow("zeroth", "end"), OPEN, ()),
}


@pytest.mark.parametrize("name", OTHERS)
def test_graph_that_computes_another_output(name: str, tmp_path: Path) -> None:
    nodes, shape, more = OTHERS[name]
    assert not is_whole(graph(nodes, tmp_path, ("y",), ("x", *more), shape))


def test_state_of_the_first_layer_is_no_output(tmp_path: Path) -> None:
    nodes = of_two_layers()
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


def test_growing_sizes_are_given_up(tmp_path: Path) -> None:
    """Each size is the square of the one before: 2^80 time steps, or letters."""
    nodes = of_two_layers()
    grown = [["Mul", [f"m{n}"] * 2, [f"m{n + 1}"], {}] for n in range(80)]
    for first in ("Yn1", "Yn3"):
        first_node = ["Mul", [first, first], ["m0"], {}]
        reshape = ["Reshape", ["Yt", "m80"], ["s"], {}]
        assert not is_whole(
            graph([*nodes[:10], first_node, *grown, reshape, *nodes[-4:]], tmp_path)
        )
