"""ONNX graphs against what ONNX documents: a graph that is read as a whole gives its numbers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnnshapes
from rnnshapes import InputError
from tests.helpers.computed_graphs import computed
from tests.helpers.exported_graphs import (
    exported_graph,
    is_whole,
    of_autoencoder,
    of_flat_dense,
    of_lstm,
    of_pytorch,
    of_tensorflow,
    of_two_layers,
)
from tests.helpers.foreign import written

X = np.random.default_rng(3).standard_normal((2, 5, 3)).astype("float32")
OPEN = ("batch", "time", 3)
Nodes = list[list[Any]]


def written_graph(nodes: Nodes, tmp_path: Path, output: str = "y") -> Path:
    return written(tmp_path / "m.onnx", exported_graph(nodes, (output,), ("x",), OPEN))


# --- The same numbers, written in other ways ------------------------------------------------------

moved = ["Transpose", ["x"], ["xt"], {"perm": [1, 0, 2]}]
gemm = ["Gemm", ["g", "K", "b"], ["y"], {"transB": 1}]


def gru(outputs: list[str], x: str = "xt", **attributes: Any) -> list[Any]:
    return ["GRU", [x, "W", "R", "B"], outputs, {"hidden_size": 4, **attributes}]


def of_last_step(*nodes: list[Any], **attributes: Any) -> Nodes:
    """Return nodes from s (T, N, M), all steps of a layer, to g (N, M), and a dense layer."""
    return [moved, gru(["Y"], **attributes), ["Squeeze", ["Y", "one"], ["s"], {}], *nodes, gemm]


def of_state(*nodes: list[Any], **attributes: Any) -> Nodes:
    """Return nodes from Yh (dirs, N, M), the last states of a layer, to g, and a dense layer."""
    return [moved, gru(["Y", "Yh"], **attributes), *nodes, gemm]


def of_both(*nodes: list[Any]) -> Nodes:
    """Return nodes from Y (T, 2, N, M), and Yh, of both directions to y."""
    return [moved, gru(["Y", "Yh"], direction="bidirectional"), *nodes]


def of_head(*nodes: list[Any]) -> Nodes:
    """Return nodes from g (N, 4), the last state of a layer, to y."""
    return [moved, gru(["Y", "Yh"]), ["Squeeze", ["Yh", "zeroth"], ["g"], {}], *nodes]


def sliced(name: str, start: int, end: int, axis: int, result: str) -> list[Any]:
    return ["Slice", [name], [result], {"starts": [start], "ends": [end], "axes": [axis]}]


def gathered(name: str, index: str, result: str, **attributes: Any) -> list[Any]:
    return ["Gather", [name, index], [result], attributes]


def squeezed(name: str, axis: int, result: str) -> list[Any]:
    return ["Squeeze", [name], [result], {"axes": [axis]}]


product = ["Gemm", ["g", "Kt"], ["z"], {}]
SAME: dict[str, Nodes] = {
    "last step by an index": of_last_step(gathered("s", "last", "g", axis=0)),
    "last step by the default axis": of_last_step(gathered("s", "last", "g")),
    "last step by a negative axis": of_last_step(gathered("s", "last", "g", axis=-3)),
    "last step as an axis": of_last_step(sliced("s", -1, 2**31, 0, "l"), squeezed("l", 0, "g")),
    "last step, negative axes": of_last_step(
        sliced("s", -1, 2**31, -3, "l"), squeezed("l", -3, "g")
    ),
    "last step with a step": of_last_step(
        ["Slice", ["s", "rest", "end", "zeroth", "one"], ["l"], {}], squeezed("l", 0, "g")
    ),
    "last step, reshaped": of_last_step(
        sliced("s", -1, 2**31, 0, "l"), ["Reshape", ["l", "flat"], ["g"], {}]
    ),
    "first step in reverse": of_last_step(gathered("s", "first", "g"), direction="reverse"),
    "first step in reverse as an axis": of_last_step(
        sliced("s", 0, 1, 0, "l"), squeezed("l", 0, "g"), direction="reverse"
    ),
    "last step beside samples": of_last_step(
        ["Transpose", ["s"], ["n"], {"perm": [1, 0, 2]}],
        sliced("n", -1, 2**31, 1, "l"),
        squeezed("l", -2, "g"),
    ),
    "axes reversed twice": of_last_step(
        ["Transpose", ["s"], ["a"], {}],
        ["Transpose", ["a"], ["c"], {}],
        gathered("c", "last", "g"),
    ),
    "state by an index": of_state(gathered("Yh", "first", "g")),
    "state by the last index": of_state(gathered("Yh", "last", "g", axis=-3)),
    "state as an axis": of_state(sliced("Yh", 0, 1, 0, "l"), squeezed("l", 0, "g")),
    "state as the last of an axis": of_state(
        sliced("Yh", -1, 2**31, 0, "l"), squeezed("l", -3, "g")
    ),
    "sizes of x": [
        ["Reshape", ["x", "rows"], ["x0"], {}],
        ["Transpose", ["x0"], ["xt"], {"perm": [1, 0, 2]}],
        *of_last_step(gathered("s", "last", "g"))[1:],
    ],
    "state, reshaped": of_state(["Reshape", ["Yh", "flat"], ["g"], {}]),
    "state in reverse": of_state(squeezed("Yh", 0, "g"), direction="reverse"),
    "state of a GRU, reset after": of_state(squeezed("Yh", 0, "g"), linear_before_reset=1),
    "samples first": [
        gru(["Y"], "x", layout=1),
        squeezed("Y", 2, "s"),
        gathered("s", "last", "g", axis=1),
        gemm,
    ],
    "state, samples first": [gru(["Y", "Yh"], "x", layout=1), squeezed("Yh", 1, "g"), gemm],
    "both, joined": of_both(
        gathered("Y", "first", "f", axis=1),
        gathered("Y", "other", "r", axis=-3),
        ["Concat", ["f", "r"], ["s"], {"axis": 2}],
        ["MatMul", ["s", "K2"], ["y"], {}],
    ),
    "both, cut and joined": of_both(
        sliced("Y", 0, 1, 1, "f1"),
        sliced("Y", 1, 2, 1, "r1"),
        squeezed("f1", 1, "f"),
        squeezed("r1", 1, "r"),
        ["Concat", ["f", "r"], ["s"], {"axis": -1}],
        ["MatMul", ["s", "K2"], ["y"], {}],
    ),
    "both, added": of_both(
        gathered("Y", "first", "f", axis=1),
        gathered("Y", "last", "r", axis=1),
        ["Add", ["f", "r"], ["s"], {}],
        ["MatMul", ["s", "Kt"], ["y"], {}],
    ),
    "both, multiplied": of_both(
        gathered("Y", "first", "f", axis=1),
        gathered("Y", "last", "r", axis=1),
        ["Mul", ["f", "r"], ["y"], {}],
    ),
    "states of both, joined": of_both(
        sliced("Yh", 0, 1, 0, "f1"),
        sliced("Yh", -1, 2**31, 0, "r1"),
        squeezed("f1", 0, "f"),
        squeezed("r1", 0, "r"),
        ["Concat", ["f", "r"], ["s"], {"axis": 1}],
        ["Gemm", ["s", "K2", "b"], ["y"], {}],
    ),
    "states of both, moved and joined": of_both(
        ["Transpose", ["Yh"], ["n"], {"perm": [1, 0, 2]}],
        ["Reshape", ["n", "flat 8"], ["s"], {}],
        ["Gemm", ["s", "K2", "b"], ["y"], {}],
    ),
    "all, of both": of_both(
        ["Transpose", ["Y"], ["n"], {"perm": [0, 2, 1, 3]}],
        ["Reshape", ["n", "rows"], ["y"], {}],
    ),
    "no head": [*of_head()[:2], squeezed("Yh", 0, "y")],
    "product": of_head(["MatMul", ["g", "Kt"], ["y"], {}]),
    "product without a bias": of_head(["Gemm", ["g", "Kt", ""], ["y"], {"transB": 0}]),
    "scaled by 1": of_head(
        ["Gemm", ["g", "K", "b"], ["y"], {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 1}]
    ),
    "product, then a bias": of_head(product, ["Add", ["z", "b"], ["y"], {}]),
    "bias first": of_head(product, ["Add", ["b", "z"], ["y"], {}]),
    "bias after a transposed kernel": of_head(
        ["Gemm", ["g", "K3t"], ["z"], {"transB": 1}], ["Add", ["z", "b3"], ["y"], {}]
    ),
    "bias, then an activation": of_head(
        product, ["Add", ["z", "b"], ["a"], {}], ["Tanh", ["a"], ["y"], {}]
    ),
    "two products": of_head(
        ["Gemm", ["g", "K3", "b3"], ["p"], {}],
        ["Relu", ["p"], ["r"], {}],
        ["MatMul", ["r", "K4"], ["y"], {}],
    ),
    "second layer of the state of both": of_both(
        ["Transpose", ["Y"], ["n"], {"perm": [0, 2, 1, 3]}],
        ["Reshape", ["n", "rows"], ["s"], {}],
        ["MatMul", ["s", "K8"], ["p"], {}],
        ["GRU", ["p", "W2", "R2", "B2"], ["", "q"], {"hidden_size": 4}],
        squeezed("q", 0, "y"),
    ),
    "state of the first of two": [
        *of_two_layers()[:-3],
        ["Concat", ["Yh", "Yh2"], ["hn"], {"axis": -3}],
        gathered("hn", "other", "g", axis=-3),
        gemm,
    ],
    **{
        f"{kind} {attributes}": of_head(product, [kind, ["z"], ["y"], attributes])
        for kind, attributes in [
            *((kind, {}) for kind in ("Relu", "Sigmoid", "Tanh", "Softplus", "Softsign")),
            *((kind, {}) for kind in ("Elu", "Softmax", "LogSoftmax", "Identity", "Dropout")),
            ("Elu", {"alpha": 1.0}),
            ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
            ("Softmax", {"axis": 1}),
            ("LogSoftmax", {"axis": -1}),
            ("Cast", {"to": 1}),
            ("Cast", {"to": 11}),
            ("Dropout", {"is_test": 1}),
        ]
    },
    "softmax at each step": of_last_step(
        ["MatMul", ["s", "Kt"], ["z"], {}], ["Softmax", ["z"], ["y"], {"axis": 2}]
    )[:-1],
    "inverse softmax axis": of_last_step(
        ["MatMul", ["s", "Kt"], ["z"], {}], ["LogSoftmax", ["z"], ["y"], {"axis": -1}]
    )[:-1],
}


def outcomes(nodes: Nodes, output: str) -> Iterator[np.ndarray]:
    """Yield what a graph computes of x, of which samples or steps may be first, in both orders."""
    for x in (X, X.swapaxes(0, 1)):
        try:
            made = computed(nodes, {"x": x}, output)
        except (AttributeError, LookupError, TypeError, ValueError):  # no such node in ONNX
            continue
        yield from (made, made.swapaxes(0, 1)) if made.ndim == 3 else (made,)


def is_among(result: np.ndarray, each: list[np.ndarray]) -> bool:
    """Return whether a result is one of these arrays, with or without the axis of one step."""
    fits = [e for e in each if [n for n in e.shape if n > 1] == list(result.shape)]
    return any(np.allclose(result, np.squeeze(e), rtol=1e-5, atol=1e-6) for e in fits)


@pytest.mark.parametrize("name", SAME)
def test_chain_gives_what_onnx_documents(name: str, tmp_path: Path) -> None:
    nodes = SAME[name]
    path = written_graph(nodes, tmp_path)
    assert is_whole(path)
    expected = computed(nodes, {"x": X}, "y")
    output = rnnshapes.trace(path, x=X).output
    expected = expected if expected.ndim == 2 else expected.swapaxes(0, 1)
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("nodes", "whole"),
    [
        ([["Identity", ["h"], ["s"], {}]], True),
        ([["Transpose", ["h"], ["s"], {"perm": [1, 0, 2]}]], True),
        ([["Gather", ["h", "first"], ["s"], {"axis": 0}]], True),
        ([["Concat", ["h", "k"], ["s"], {"axis": 0}]], True),
        ([["Slice", ["h"], ["a"], {}], ["Reshape", ["a", "rows"], ["s"], {}]], True),
        ([["Tanh", ["h"], ["s"], {}]], False),
        ([["Concat", ["h", "xt"], ["s"], {"axis": 0}]], False),
    ],
)
def test_given_states_may_be_moved(nodes: Nodes, whole: bool, tmp_path: Path) -> None:
    """Trace starts from zeros in their place."""
    layer = ["GRU", ["xt", "W", "R", "B", "", "s"], ["Y", "Yh"], {"hidden_size": 4}]
    made = [moved, *nodes, layer, squeezed("Yh", 0, "g"), gemm]
    inputs = ("x", "h", "k") if "'k'" in str(nodes) else ("x", "h")
    path = written(tmp_path / "m.onnx", exported_graph(made, ("y",), inputs, OPEN))
    assert is_whole(path) is whole


# --- Other operators, and other arguments ---------------------------------------------------------

#: One of so many changes is tried.
STEP = 11
BASES: dict[str, Nodes] = {
    "last step": of_pytorch(),
    "both": of_pytorch(both=True),
    "two layers": of_two_layers(),
    "sliced": of_tensorflow(),
    "flat": of_flat_dense(),
    "LSTM": of_lstm(),
    "shape of x": of_autoencoder(),
    "both, joined": SAME["both, cut and joined"],
    "states of both": SAME["states of both, joined"],
    "samples first": SAME["samples first"],
    "activations": SAME["two products"],
    "softmax": SAME["softmax at each step"],
}


def operators() -> Iterator[list[Any]]:
    """Yield operators without their first input, and without outputs."""
    for perm in ([1, 0, 2], [0, 2, 1], [2, 1, 0], [1, 2, 0], [1, 0], [0, 2, 1, 3]):
        yield ["Transpose", [], {"perm": perm}]
    yield ["Transpose", [], {}]
    for axis in (-3, -2, -1, 0, 1, 2):
        yield ["Squeeze", [], {"axes": [axis]}]
        yield from (["Gather", [index], {"axis": axis}] for index in ("last", "first", "other"))
        for start, end in ((0, 1), (-1, 2**31), (1, 2), (-2, -1), (0, 2), (-1, 0)):
            yield ["Slice", [], {"starts": [start], "ends": [end], "axes": [axis]}]
    for kind in ("Relu", "Tanh", "Elu", "HardSigmoid", "Softmax", "Dropout", "Erf"):
        yield [kind, [], {}]
    yield from (["Elu", [], {"alpha": alpha}] for alpha in (1.0, 0.5))
    yield from (["HardSigmoid", [], {"alpha": 1 / 6, "beta": beta}] for beta in (0.5, 0.25))
    yield from (["Softmax", [], {"axis": axis}] for axis in (-2, -1, 0, 1, 2))
    yield from (["Cast", [], {"to": to}] for to in (1, 7, 10))
    yield from (["Reshape", [sizes], {}] for sizes in ("rows", "flat", "flat 8", "of 5 and 2"))
    for array in ("Kt", "K2", "K3", "b", "b3"):
        yield from ([kind, [array], {}] for kind in ("MatMul", "Gemm", "Add", "Mul"))
    yield ["Gemm", ["K", "b"], {"transB": 1}]
    yield ["Gemm", ["K"], {"transB": 1, "alpha": 2.0}]


def with_operators(nodes: Nodes) -> Iterator[tuple[Nodes, str]]:
    """Yield the nodes with one operator more behind an output that is used, and the result."""
    used = {name for node in nodes for name in node[1]}
    for position, name in [(i, name) for i, node in enumerate(nodes, 1) for name in node[2]]:
        is_size = nodes[position - 1][0] in ("Shape", "ConstantOfShape", "Cast", "Mul", "Constant")
        if is_size or not name or (name not in used and name != "y"):
            continue
        for kind, more, attributes in operators():
            rest = [
                [n[0], [("more" if each == name else each) for each in n[1]], *n[2:]]
                for n in nodes[position:]
            ]
            made = [*nodes[:position], [kind, [name, *more], ["more"], attributes], *rest]
            yield made, "more" if name == "y" else "y"


def with_arguments(nodes: Nodes) -> Iterator[tuple[Nodes, str]]:
    """Yield the nodes with another input, output or attribute of one node."""
    arrays = ("zeroth", "one", "last", "end", "flat", "b", "h1", "")
    for position, (kind, inputs, outputs, attributes, *_) in enumerate(nodes):
        before = [name for node in nodes[:position] for name in node[2]]
        choices: list[list[Any]] = [[kind, inputs[:-1], outputs, attributes]]
        choices += [[kind, [*inputs, name], outputs, attributes] for name in arrays]
        for i, j in itertools.product(range(len(inputs)), range(len(arrays) + len(before))):
            others = [*inputs[:i], (*arrays, *before)[j], *inputs[i + 1 :]]
            choices.append([kind, others, outputs, attributes])
        choices.append([kind, inputs, outputs[::-1], attributes])
        for key, value in attributes.items():
            changed: list[Any] = [None, value + 1, value - 1] if isinstance(value, int) else [None]
            if isinstance(value, list):
                changed += [value[::-1], value[:-1], [n + 1 for n in value], [n - 1 for n in value]]
            for each in changed:
                own = {k: v for k, v in {**attributes, key: each}.items() if v not in (None, [])}
                choices.append([kind, inputs, outputs, own])
        for added in ("layout", "transA", "transB", "linear_before_reset", "allowzero", "axis"):
            choices.append([kind, inputs, outputs, {**attributes, added: 1}])
        for choice in choices:
            yield [*nodes[:position], choice, *nodes[position + 1 :]], "y"


@pytest.mark.parametrize("change", [with_operators, with_arguments])
@pytest.mark.parametrize("name", BASES)
def test_changed_graph_gives_its_own_numbers(name: str, change: Any, tmp_path: Path) -> None:
    """Either a graph is no chain, or its numbers are those of the changed graph."""
    first, compared = [*BASES].index(name), 0
    for nodes, output in itertools.islice(change(BASES[name]), first % STEP, None, STEP):
        path = written_graph(nodes, tmp_path, output)
        each = list(outcomes(nodes, output)) if is_whole(path) else []
        if not each:
            continue
        try:
            found = rnnshapes.trace(path, x=X).output
        except InputError:  # its weights contradict each other
            continue
        assert is_among(found, each), nodes
        compared += 1
    assert compared
