"""ONNX graphs as exporters write them around recurrent operators, made by hand.

Nodes are lists of arguments of ``onnx_node``: operator, inputs, outputs and attributes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rnnshapes.load.foreign.model import open_foreign_file
from tests.helpers.foreign import Arrays, message, onnx_file, onnx_node, onnx_weights

#: Constant integers, by the names that nodes use.
NUMBERS = {
    "zero": 0,
    "one": [1],
    "last": -1,
    "first": 0,
    "other": 1,
    "before": -2,
    "third": 2,
    "far": -3,
    "zeroth": [0],
    "rows": [0, 0, -1],
    "wrong": [0, -1, 4],
    "two": [2],
    "three": [3],
    "four": [4],
    "rest": [-1],
    "swapped": [0, 2, 1, 3],
    "both ends": [0, 1],
    "ends swapped": [1, 0],
    "width": [2],
    "end": [2**31 - 1],
    "flat": [-1, 4],
    "flat 8": [-1, 8],
    "joined": [0, -1],
    "parted": [-1, 2, 3],
    "one step": [1, -1, 2],
    "of 4": [0, 0, 4],
    "of 8": [0, 0, 8],
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


def of_two_layers(sizes: str = "", state: str = "h0", order: str = "01") -> list[list[Any]]:
    """Return nodes of two layers, with sizes of Reshape that are constants or computed."""
    joined = last_axes_joined("Y", "s")
    joined[-2][1] = [*(f"Yn{number}" for number in order), "Yr"]
    if sizes:
        joined[1:] = [["Reshape", ["Yt", sizes], ["s"], {"allowzero": 0}]]
    return [
        ["Constant", [], ["c0"], {"value": np.zeros((1, 1, 4), "float32")}],
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


def of_flat_dense(of: str = "st", axes: str = "both ends") -> list[list[Any]]:
    """Return nodes that tf2onnx writes for a dense layer at each step."""
    return [
        *of_tensorflow()[:3],
        ["Transpose", ["s"], ["st"], {"perm": [1, 0, 2]}],
        ["Shape", [of], ["n"], {}],
        ["Cast", ["n"], ["n32"], {"to": 6}],
        ["Gather", ["n32", axes], ["free"], {"axis": 0}],
        ["Concat", ["free", "width"], ["sizes"], {"axis": 0}],
        ["Reshape", ["st", "flat"], ["f"], {}],
        ["Gemm", ["f", "K", "b"], ["z"], {"transB": 1}],
        ["Reshape", ["z", "sizes"], ["y"], {}],
    ]


def of_lstm(head: str = "h") -> list[list[Any]]:
    """Return an LSTM whose last states h and c are used, and a dense layer on one of them."""
    return [
        ["Transpose", ["x"], ["xt"], {"perm": [1, 0, 2]}],
        ["LSTM", ["xt", "W3", "R3", "B3"], ["Y", "Yh", "Yc"], {"hidden_size": 4}],
        ["Squeeze", ["Y", "one"], ["s"], {}],
        ["Squeeze", ["Yh", "zeroth"], ["h"], {}],
        ["Squeeze", ["Yc", "zeroth"], ["c"], {}],
        ["Gemm", [head, "K", "b"], ["y"], {"transB": 1}],
    ]


def of_autoencoder() -> list[list[Any]]:
    """Return a dense layer at each step that gives the shape of x again."""
    nodes = of_flat_dense("x")
    nodes[-2][1:] = [["f", "K3"], ["z"], {}]
    nodes[-1][1] = ["z", "n"]
    return [node for node in nodes if node[2][0] not in ("n32", "free", "sizes")]


def of_moved_features(*nodes: list[Any]) -> list[list[Any]]:
    """Return a dense layer whose features become the middle axis of d, then nodes on d."""
    return [
        *of_tensorflow()[:3],
        ["MatMul", ["s", "Kt"], ["m"], {}],
        ["Transpose", ["m"], ["d"], {"perm": [1, 2, 0]}],
        *nodes,
    ]


def of_moved_directions(perm: list[int], back: list[int]) -> list[list[Any]]:
    """Return both directions, each moved, joined along the last axis and moved back."""
    way = {"hidden_size": 4, "direction": "bidirectional"}
    return [
        ["Transpose", ["x"], ["xt"], {"perm": [1, 0, 2]}],
        ["GRU", ["xt", "W", "R", "B"], ["Y"], way],
        ["Gather", ["Y", "first"], ["f"], {"axis": 1}],
        ["Gather", ["Y", "other"], ["r"], {"axis": 1}],
        ["Transpose", ["f"], ["ft"], {"perm": perm}],
        ["Transpose", ["r"], ["rt"], {"perm": perm}],
        ["Concat", ["ft", "rt"], ["j"], {"axis": -1}],
        ["Transpose", ["j"], ["jt"], {"perm": back}],
        ["MatMul", ["jt", "K2"], ["y"], {}],
    ]


def graph_arrays(nodes: list[list[Any]], dtype: str = "float32") -> Arrays:
    """Return the arrays of a file with these nodes: weights of this dtype, and integers."""
    dirs = 2 if any(node[3].get("direction") == "bidirectional" for node in nodes) else 1
    rng = np.random.default_rng(0)
    arrays = onnx_weights("gru", 3, 4, dirs)
    shapes = {"K": (2, 4), "Kt": (4, 2), "K2": (8, 2), "K3": (4, 3), "b": (2,), "h1": (1, 1, 4)}
    shapes |= {"K3t": (3, 4), "K4": (3, 2), "K8": (8, 4), "b3": (3,)}
    arrays |= {k: rng.standard_normal(shape).astype("float32") for k, shape in shapes.items()}
    arrays |= {f"{name}2": array for name, array in onnx_weights("gru", 4, 4).items()}
    arrays |= {f"{name}3": array for name, array in onnx_weights("lstm", 3, 4).items()}
    arrays = {name: array.astype(dtype) for name, array in arrays.items()}
    return arrays | {name: np.asarray(value, "int64") for name, value in NUMBERS.items()}


def exported_graph(
    nodes: list[list[Any]],
    outputs: tuple[str, ...] = ("y",),
    inputs: tuple[str, ...] = ("x",),
    shape: tuple[int | str, ...] = (),
    dtype: str = "float32",
) -> bytes:
    """Return a file with these nodes, from x, of this shape, to y, and weights of this dtype."""
    made = [
        onnx_node(kind, ins, outs, **more) + message((7, domain[0] if domain else ""))
        for kind, ins, outs, more, *domain in nodes
    ]
    return onnx_file(made, graph_arrays(nodes, dtype), "pytorch", inputs, outputs, {"x": shape})


def is_whole(path: Path) -> bool:
    """Return whether a file is read as one network."""
    with open_foreign_file(path) as file:
        assert file is not None
        return file.file_network.is_whole
