"""Keras models as ONNX files, which ONNX Runtime runs where it is installed."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes import CannotRunError, UnsupportedError
from rnnshapes.load.foreign import onnx_writer
from rnnshapes.load.foreign.model import open_foreign_file
from rnnshapes.load.foreign.onnx_graph import read_model
from rnnshapes.network.from_sizes import from_sizes
from rnnshapes.network.weights import draw
from rnnshapes.ops import elementwise, interface, rearrangements
from rnnshapes.ops.numpy_ops import NumpyOps
from rnnshapes.ops.onnx_ops import OnnxGraph, OnnxOps, OnnxValue
from rnnshapes.ops.rearrangements import WHOLE, Selection
from rnnshapes.ops.visibility import Visibility
from rnnshapes.port.weight_files import onnx as onnx_weights
from tests.helpers.layer_operations import OPERATIONS, SIZES, D, K, N, T, arrays_of, many
from tests.helpers.models import functional, randomized, sequential


def cells(x: Any) -> Any:
    """Each cell in each direction, with other activations, and all ways to join directions."""
    a = la.Bidirectional(la.LSTM(4, return_sequences=True))(x)
    b = la.Bidirectional(la.GRU(5, return_sequences=True), merge_mode="ave")(a)
    c = la.SimpleRNN(3, "relu", go_backwards=True, return_sequences=True)(b)
    d = la.GRU(4, reset_after=False, recurrent_activation="hard_sigmoid", use_bias=False)(c)
    e = la.Bidirectional(la.SimpleRNN(4, "linear"), merge_mode="mul")(b)
    f = la.LSTM(4, "elu", recurrent_activation="hard_sigmoid", go_backwards=True)(a)
    g = la.Bidirectional(la.GRU(3, go_backwards=True), backward_layer=la.GRU(3, "relu"))(a)
    # The first direction in reverse, and the states of both as those of the next layer.
    options = {"return_sequences": True, "return_state": True}
    ends = (la.LSTM(3, go_backwards=way, **options) for way in (True, False))
    h, *states = la.Bidirectional(next(ends), backward_layer=next(ends))(a)
    ends = (la.LSTM(3, go_backwards=way) for way in (True, False))
    i = la.Bidirectional(next(ends), backward_layer=next(ends))(h, initial_state=states)
    return la.Dense(2, "softmax")(la.Concatenate()([d, e, f, g, i, *states]))


def translated(words: Any, x: Any) -> Any:
    """Indices, also as numbers; an encoder whose states start a decoder, and layers around."""
    _, h, c = la.LSTM(4, return_state=True)(la.Embedding(7, 3)(words))
    y = la.LSTM(4, return_sequences=True)(x, initial_state=[h, c])
    y = la.LayerNormalization()(la.BatchNormalization()(la.Dropout(0.3)(y)))
    y = la.Bidirectional(la.GRU(3, return_sequences=True), merge_mode=None)(y)
    last = la.GRU(5, name="last")(la.RepeatVector(2)(y[0][:, -1]))
    return la.Dense(2)(la.Add()(y)), la.Dense(3)(words), words, last


def attending(x: Any, y: Any) -> Any:
    """Return outputs of each kind of attention, without masks, and parts of one."""
    both = la.MultiHeadAttention(2, 3)(x, y, y)
    _, *parts = keras.ops.split(both, 3, axis=-1)
    return la.Dense(2)(la.Attention()([both, y])), la.AdditiveAttention()([both, y]), *parts


def unmasked(words: Any, h: Any) -> Any:
    """A mask does not reach a layer that is called with initial states, nor one of steps."""
    e = la.Embedding(7, 3, mask_zero=True)(words)
    return la.GRU(4, return_sequences=True)(e, initial_state=[h])[:, -1], la.Dense(2)(e)


MODELS: dict[str, tuple[Callable[..., Any], tuple[tuple[int | None, ...], ...]]] = {
    "cells": (cells, ((None, 3),)),
    "translated": (translated, ((6,), (4, 2))),
    "attending": (attending, ((4, 3), (6, 3))),
    "unmasked": (unmasked, ((6,), (4,))),
}


@pytest.mark.parametrize("name", MODELS)
def test_onnx_runtime_computes_the_same(name: str, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    make, shapes = MODELS[name]
    model = randomized(functional(make, *shapes))
    path = tmp_path / "m.onnx"
    assert rnnshapes.convert(model, path).passed
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng, xs = np.random.default_rng(0), {}
    for each, shape in zip(session.get_inputs(), shapes, strict=True):
        sizes = (3, *(size or 5 for size in shape))
        is_index = "int64" in each.type
        xs[each.name] = rng.integers(0, 7, sizes) if is_index else rng.normal(size=sizes)
    xs = {k: a if a.dtype == np.int64 else a.astype("float32") for k, a in xs.items()}
    arrays = list(xs.values())
    expected = keras.tree.flatten(model(arrays if len(arrays) > 1 else arrays[0]))
    if name == "translated":
        assert session.get_outputs()[-1].name == "last"
    if name == "cells":
        assert session.get_inputs()[0].shape == ["N", "T", 3]
    for array, own in zip(session.run(None, xs), expected, strict=True):
        np.testing.assert_allclose(array, np.asarray(own), rtol=1e-5, atol=2e-6)


def test_layers_are_found_in_the_file(source_of: Any, tmp_path: Path) -> None:
    model = randomized(sequential(la.GRU(5, name="rnn"), la.Dense(2, name="head"), shape=(4, 3)))
    result = rnnshapes.convert(model, tmp_path / "m.onnx")
    assert [check.name for check in result.checks][:2] == ["rnn/kernel", "rnn/recurrent_kernel"]
    assert sum(check.compared for check in result.checks) == model.count_params()
    assert all(check.rule for check in result.checks)
    assert (result.path, result.framework) == (str(tmp_path / "m.onnx"), "ONNX")
    nodes = read_model(source_of((tmp_path / "m.onnx").read_bytes())).nodes
    assert [node.name.partition("/")[0] for node in nodes] == ["rnn"] * 3 + ["head"] * 3
    summary = rnnshapes.inspect(tmp_path / "m.onnx")
    assert summary.agrees
    assert rnnshapes.verify(model, against=tmp_path / "m.onnx").passed


def test_each_array_of_keras_is_compared(source_of: Any, tmp_path: Path) -> None:
    """The GRU is called twice and compared once; the first direction of both is in reverse."""
    x, gru = keras.Input((4, 5)), la.GRU(5, return_sequences=True, name="gru")
    ends = (la.LSTM(3, use_bias=False, go_backwards=way, name="lstm") for way in (True, False))
    both = la.Bidirectional(next(ends), backward_layer=next(ends), name="both")
    y = la.Dense(2, name="head")(la.BatchNormalization(name="norm")(both(gru(gru(x)))))
    result = rnnshapes.convert(randomized(keras.Model(x, y)), tmp_path / "m.onnx")
    lstm = [("kernel", "W", 5 * 12), ("recurrent_kernel", "R", 3 * 12)]
    assert [(c.name, c.arrays, c.rule, c.compared) for c in result.checks] == [
        ("gru/kernel", ("gru/W",), "transposed", 5 * 15),
        ("gru/recurrent_kernel", ("gru/R",), "transposed", 5 * 15),
        ("gru/bias", ("gru/B",), "row 0, row 1", 2 * 15),
        *(
            (f"both/{way}_lstm/{name}", (f"both/{array}",), "transposed, gates i o f c", count)
            for way in ("backward", "forward")
            for name, array, count in lstm
        ),
        *(
            (f"norm/{name}", (f"norm/{name}",), "as it is", 6)
            for name in ("gamma", "beta", "moving_mean", "moving_variance")
        ),
        ("head/kernel", ("head/kernel",), "as it is", 6 * 2),
        ("head/bias", ("head/bias",), "as it is", 2),
    ]
    assert (result.passed, result.assumptions, result.kind) == (True, (), ".onnx")
    model = read_model(source_of((tmp_path / "m.onnx").read_bytes()))
    assert list(model.inputs.values()) == [(None, 4, 5)]


def test_wrong_and_missing_arrays_are_reported(tmp_path: Path) -> None:
    """Of one layer a number is wrong; the file lacks the other one."""
    network = from_sizes(cell="gru", M=[5, 3])
    weights = draw(network, 3)
    export = onnx_weights.to_onnx(from_sizes(cell="gru", M=5, K=2), weights)
    with (path := tmp_path / "m.onnx").open("wb") as stream:
        onnx_writer.write_model(stream, export.graph, export.inputs, export.outputs)
    wrong = {**weights, "dense": {**weights["dense"], "b": weights["dense"]["b"] + 1}}
    with open_foreign_file(path) as file:
        assert file is not None
        result = onnx_weights.verify_onnx(network, wrong, file)
    assert (result.network, result.path) == (network, str(path))
    missing = [(c.name, c.mistake.id, c.rule) for c in result.checks if c.mistake is not None]
    assert not result.passed
    assert missing[0] == ("gru_1", "weights.missing", "")
    assert ("dense/bias", "weights.missing", "") in missing
    assert len(result.checks) == 3 + 1 + 2


#: Activations of a recurrent operator, with alpha and beta, by their names in Keras.
ACTIVATIONS: dict[str, tuple[str, list[float], list[float]]] = {
    "tanh": ("Tanh", [], []),
    "sigmoid": ("Sigmoid", [], []),
    "relu": ("Relu", [], []),
    "softsign": ("Softsign", [], []),
    "softplus": ("Softplus", [], []),
    "elu": ("Elu", [1.0], []),
    "leaky_relu": ("LeakyRelu", [0.2], []),
    "linear": ("Affine", [1.0], [0.0]),
    "hard_sigmoid": ("HardSigmoid", [1 / 6], [0.5]),
}


@pytest.mark.parametrize("name", interface.ACTIVATIONS)
def test_recurrent_operators_have_activations(name: str) -> None:
    sizes = {"T": 7, "D": 3, "M": 5, "K": 2}
    network = from_sizes(cell="lstm", activation=name, recurrent_activation="elu", **sizes)
    weights = draw(network, 3)
    if name not in ACTIVATIONS:
        with pytest.raises(UnsupportedError, match=name):
            onnx_weights.to_onnx(network, weights)
        return
    export = onnx_weights.to_onnx(network, weights)
    assert export.inputs == (OnnxValue("input", "float32", ("N", 7, 3)),)
    assert export.outputs == (OnnxValue("dense", "float32", ("N", 2)),)
    (node,) = (node for node in export.graph.nodes if node.op_type == "LSTM")
    own, alpha, beta = ACTIVATIONS[name]
    more: dict[str, Any] = {"activation_beta": beta * 2} if beta else {}
    assert node.attributes == {
        "direction": "forward",
        "hidden_size": 5,
        "activations": ["Elu", own, own],
        "activation_alpha": [1.0, *alpha * 2],
        **more,
    }


class OwnPolicy(keras.DTypePolicy):
    """A policy whose layers compute in float32, with variables of float64."""

    def _parse_name(self, name: str) -> tuple[str, str]:
        return "float32", "float64"


REFUSED: dict[str, Callable[[], Any]] = {
    "mask": la.Masking,
    "window": lambda: la.Conv1D(4, 2),
    "stateful": lambda: la.LSTM(4, stateful=True),
    "mish": lambda: la.LSTM(4, "mish"),
    "stack": lambda: la.RNN([la.LSTMCell(4), la.LSTMCell(4)]),
    "float64": lambda: la.LSTM(4, dtype="float64"),
    "float16": lambda: la.LSTM(4, dtype="mixed_float16"),
    r"\bfloat64\b": lambda: la.Dense(4, dtype=OwnPolicy("own")),
    "Lambda": lambda: la.Lambda(lambda x: x * 2),
    "reset_after": lambda: la.Bidirectional(
        la.GRU(4), backward_layer=la.GRU(4, reset_after=False, go_backwards=True)
    ),
    "use_bias": lambda: la.Bidirectional(
        la.GRU(4, use_bias=False), backward_layer=la.GRU(4, go_backwards=True)
    ),
}


@pytest.mark.parametrize("word", REFUSED)
def test_what_onnx_lacks_is_refused(word: str, tmp_path: Path) -> None:
    options = {"batch_size": 2} if word == "stateful" else {}
    inputs = keras.Input((4, 3), **options)
    layer = REFUSED[word]()
    model = keras.Model(inputs, la.Dense(2, dtype=layer.dtype_policy)(layer(inputs)))
    with pytest.raises(UnsupportedError, match=word) as refused:
        rnnshapes.convert(model, tmp_path / "m.onnx")
    assert str(refused.value).count(repr(layer.name)) == ("float" not in word)
    assert not list(tmp_path.iterdir())


MASKED: dict[str, Callable[[Any], Any]] = {
    "attention": lambda e: la.Attention()([e, e]),
    "additive attention": lambda e: la.AdditiveAttention()([e, e]),
    "attention of heads": lambda e: la.MultiHeadAttention(2, 3)(e, e),
    "recurrence": lambda e: la.Dense(2)(la.LSTM(4)(e)),
    "both directions": lambda e: la.Dense(2)(la.Bidirectional(la.GRU(4))(e)),
}


@pytest.mark.parametrize("name", MASKED)
def test_masked_layer_is_refused(name: str, tmp_path: Path) -> None:
    x = keras.Input((6,))
    y = MASKED[name](la.Embedding(7, 3, mask_zero=True)(x))
    with pytest.raises(UnsupportedError, match="mask"):
        rnnshapes.convert(keras.Model(x, y), tmp_path / "m.onnx")


def changed_array(graph: OnnxGraph) -> None:
    name = next(name for name in graph.arrays if name.endswith("/R"))
    graph.arrays[name] = graph.arrays[name] + np.float32(0.01)


def changed_activation(graph: OnnxGraph) -> None:
    node = next(node for node in graph.nodes if node.op_type == "LSTM")
    node.attributes["activations"] = ["Sigmoid", "Tanh", "Relu"]


def changed_first_call(graph: OnnxGraph) -> None:
    node = next(node for node in graph.nodes if node.op_type == "GRU")
    node.attributes["linear_before_reset"] = 0


def changed_head(graph: OnnxGraph) -> None:
    graph.arrays["head/kernel"] = graph.arrays["head/kernel"][::-1].copy()


@pytest.mark.parametrize(
    "change", [changed_array, changed_activation, changed_first_call, changed_head]
)
def test_wrong_file_is_not_put_in_place(change: Any, tmp_path: Path, monkeypatch: Any) -> None:
    right = onnx_weights.to_onnx

    def wrong(*arguments: Any) -> Any:
        export = right(*arguments)
        change(export.graph)
        return export

    monkeypatch.setattr(onnx_weights, "to_onnx", wrong)
    x = keras.Input((4, 3))
    shared = la.GRU(3, return_sequences=True)
    model = keras.Model(x, la.Dense(2, name="head")(la.LSTM(5)(shared(shared(x)))))
    randomized(model)
    with pytest.raises(CannotRunError):
        rnnshapes.convert(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_graph_that_is_written_otherwise_is_no_result(tmp_path: Path, monkeypatch: Any) -> None:
    """Although its weights are right."""
    right = onnx_writer.write_model

    def wrong(stream: Any, graph: OnnxGraph, *others: Any) -> None:
        node = next(node for node in graph.nodes if node.op_type == "Transpose")
        perm = node.attributes["perm"]
        node.attributes["perm"] = perm[::-1]
        right(stream, graph, *others)
        node.attributes["perm"] = perm

    monkeypatch.setattr(onnx_writer, "write_model", wrong)
    model = randomized(sequential(la.GRU(5), la.Dense(2), shape=(4, 3)))
    with pytest.raises(CannotRunError, match="differs"):
        rnnshapes.convert(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_file_that_was_written_otherwise_is_found(tmp_path: Path) -> None:
    graph = OnnxGraph()
    graph.add("Transpose", "x", perm=[1, 0])
    graph.numbers([1, 2])
    path = tmp_path / "m.onnx"
    with path.open("wb") as stream:
        onnx_writer.write_model(stream, graph, (), ())
    assert onnx_writer.is_written(path, graph)
    graph.nodes[0].attributes["perm"] = [0, 1]
    assert not onnx_writer.is_written(path, graph)


def test_constants_have_short_names() -> None:
    graph = OnnxGraph()
    name = graph.numbers(range(1200))
    assert len(name) < 50
    assert graph.numbers(range(1200)) == name
    assert graph.numbers(range(1201)) != name
    assert graph.numbers([0]) != graph.numbers([0], "float64")
    assert graph.numbers([0, 1]) != graph.numbers([[0, 1]]) != graph.numbers([[0, 1]], "float32")


#: How many inputs of an operator are indices, and whether its numbers may be integers.
MOVES = {
    **dict.fromkeys(("Concat", "Identity", "Split", "Transpose"), (0, True)),
    **dict.fromkeys(("Gather", "Reshape", "Tile", "Unsqueeze"), (1, True)),
    "Slice": (4, True),
    "ReduceSum": (1, False),
    "Relu": (0, False),
}


@pytest.mark.parametrize("op_type", MOVES)
def test_only_moved_numbers_may_be_integers(op_type: str) -> None:
    count, may_be_integers = MOVES[op_type]
    indices = [f"i{number}" for number in range(count)]
    graph = OnnxGraph()
    graph.add(op_type, "x", *indices, outputs=2, result="y", name=op_type)
    for dtype in ("float32", "int64"):
        dtypes = {"x": dtype, "y": dtype, "y:1": dtype, **dict.fromkeys(indices, "int64")}
        if dtype == "float32" or may_be_integers:
            graph.require_dtypes(dtypes)
        for wrong in (*indices, "y", "y:1", *([] if may_be_integers else ["x"])):
            other = {"int64": "float32", "float32": "int64"}[dtypes[wrong]]
            with pytest.raises(UnsupportedError, match=op_type):
                graph.require_dtypes({**dtypes, wrong: other})


def test_shapes_are_integers() -> None:
    graph = OnnxGraph()
    graph.add("Shape", "x", result="sizes")
    for dtype in ("float32", "int64"):
        graph.require_dtypes({"x": dtype, "sizes": "int64"})
        with pytest.raises(UnsupportedError):
            graph.require_dtypes({"x": dtype, "sizes": "float32"})


@pytest.mark.parametrize("op_type", ["Add", "Gather"])
def test_wrong_dtypes_are_refused(op_type: str) -> None:
    graph = OnnxGraph()
    graph.add(op_type, "x", "i", result="y", name=op_type)
    right = {"x": "float32", "i": "float32" if op_type == "Add" else "int64", "y": "float32"}
    graph.require_dtypes(right)
    for name, dtype in right.items():
        wrong = "int64" if dtype == "float32" else "float32"
        with pytest.raises(UnsupportedError, match=op_type):
            graph.require_dtypes(right | {name: wrong})


@pytest.mark.parametrize("name", [name for name, each in OPERATIONS.items() if each.in_onnx])
def test_onnx_runtime_computes_each_operation(name: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    operation, graph = OPERATIONS[name], OnnxGraph()
    arrays = {graph.unique(f"x{i}"): x for i, x in enumerate(arrays_of(operation))}
    expected = many(operation.compute(NumpyOps(), *arrays.values()))
    ops = OnnxOps(graph)
    tensors = [ops.tensor(x, shape, x) for x, shape in zip(arrays, operation.shapes, strict=True)]
    results = many(operation.compute(ops, *tensors))
    for result, array in zip(results, expected, strict=True):
        assert tuple(dim.value(SIZES) for dim in result.symbol.shape) == array.shape
    assert all(np.isfinite(values).all() for values in graph.arrays.values())
    names = [graph.add("Identity", result.name)[0] for result in results]
    graph.require_dtypes(dict.fromkeys([*arrays, *names], "float32"))
    stream = io.BytesIO()
    onnx_writer.write_model(
        stream,
        graph,
        [OnnxValue(x, "float32", array.shape) for x, array in arrays.items()],
        [OnnxValue(y, "float32", a.shape) for y, a in zip(names, expected, strict=True)],
    )
    session = runtime.InferenceSession(stream.getvalue(), providers=["CPUExecutionProvider"])
    for found, array in zip(session.run(None, arrays), expected, strict=True):
        np.testing.assert_allclose(found, array, rtol=2e-5, atol=1e-6)


#: Operations on a sequence and a row of features that ONNX, or its writer, lacks.
LACKING: dict[str, Callable[[OnnxOps, Any, Any], Any]] = {
    **{
        name: lambda ops, x, row, each=each: each.compute(ops, *[x] * len(each.shapes))
        for name, each in OPERATIONS.items()
        if not each.in_onnx
    },
    "where": lambda ops, x, row: ops.where(np.ones((2, 5), bool), x, 0.0),
    "scan": lambda ops, x, row: ops.scan(lambda z, states: states, x, 1, ("h",), reverse=False),
    "mean of some steps": lambda ops, x, row: ops.mean(x, 1, np.ones((2, 1))),
    "joined with a row": lambda ops, x, row: ops.concatenate([x, row]),
    "combined with a row": lambda ops, x, row: ops.aligned([x, row]),
    "hidden keys": lambda ops, x, row: ops.attention_weights(x, Visibility(keys=np.ones((2, 4)))),
    "hidden queries": lambda ops, x, row: ops.attention_weights(
        x, Visibility(queries=np.ones((2, 5)))
    ),
    "hidden by a mask": lambda ops, x, row: ops.attention_weights(x, Visibility(), x),
    "moved": lambda ops, x, row: ops.rearrange(x, rearrangements.SameShape(np.flip)),
    "choice": lambda ops, x, row: ops.choose(x, x, x),
    "rounded exponent": lambda ops, x, row: ops.elementwise(x, elementwise.Power(1.5)),
}


@pytest.mark.parametrize("name", LACKING)
def test_operation_without_counterpart_is_refused(name: str) -> None:
    ops = OnnxOps(OnnxGraph())
    x, row = ops.tensor("x", (N, T, D), "x"), ops.tensor("row", (N, D), "row")
    with pytest.raises(UnsupportedError, match="ONNX"):
        LACKING[name](ops, x, row)


#: Keys of a sequence of features, and the operators that select them.
SELECTED: list[tuple[tuple[Any, ...], list[str]]] = [
    ((WHOLE, -1), ["Gather"]),
    ((Ellipsis, 0), ["Gather"]),
    ((WHOLE, 2, -1), ["Gather", "Gather"]),
    ((WHOLE, slice(1, 3)), ["Slice"]),
    ((WHOLE, slice(None, None, -1), slice(1, None)), ["Slice"]),
    ((WHOLE, None), ["Unsqueeze"]),
    ((WHOLE, slice(0, 2), 1, None), ["Slice", "Gather", "Unsqueeze"]),
]


@pytest.mark.parametrize(("key", "op_types"), SELECTED)
def test_parts_of_tensors_take_few_operators(key: tuple[Any, ...], op_types: list[str]) -> None:
    graph = OnnxGraph()
    ops = OnnxOps(graph)
    lengths = (None,) * len(key)
    ops.rearrange(ops.tensor("x", (N, T, D), "x"), Selection(key, lengths))
    assert [node.op_type for node in graph.nodes] == op_types


def test_open_slices_reach_beyond_any_axis() -> None:
    graph, far = OnnxGraph(), 2**63 - 1
    graph.cut("x", {1: slice(1, None), 2: slice(None, None, -1), 3: slice(None, 4, 2)})
    (node,) = graph.nodes
    numbers = [graph.arrays[name].tolist() for name in node.inputs[1:]]
    assert (node.op_type, node.inputs[0]) == ("Slice", "x")
    assert numbers == [[1, far, 0], [far, -far, 4], [1, 2, 3], [1, -1, 2]]


def test_onnx_runtime_casts_numbers() -> None:
    runtime = pytest.importorskip("onnxruntime")
    graph = OnnxGraph()
    x = OnnxOps(graph).tensor("x", (N, D), "x")
    assert x.cast("float32") is x
    whole = x.cast("int64")
    names = [graph.add("Identity", each.name)[0] for each in (whole, whole.cast("float32"))]
    stream, dtypes = io.BytesIO(), ("int64", "float32")
    graph.require_dtypes({"x": "float32", **dict(zip(names, dtypes, strict=True))})
    outputs = [OnnxValue(name, dtype, (2, 4)) for name, dtype in zip(names, dtypes, strict=True)]
    onnx_writer.write_model(stream, graph, [OnnxValue("x", "float32", (2, 4))], outputs)
    session = runtime.InferenceSession(stream.getvalue(), providers=["CPUExecutionProvider"])
    given = np.random.default_rng(2).uniform(-9, 9, (2, 4)).astype("float32")
    for found, dtype in zip(session.run(None, {"x": given}), dtypes, strict=True):
        np.testing.assert_array_equal(found, np.trunc(given))
        assert found.dtype == dtype


def test_rows_of_a_table_are_gathered() -> None:
    graph = OnnxGraph()
    ops = OnnxOps(graph)
    table, words = ops.tensor("table", (K, D), "table"), ops.tensor("words", (N, T), "words")
    rows = ops.take(table, words)
    assert rows.symbol.shape == (N, T, D)
    (node,) = graph.nodes
    assert (node.op_type, node.inputs) == ("Gather", ["table", "words"])
    assert node.attributes == {"axis": 0}
    graph.require_dtypes({"table": "float32", "words": "int64", rows.name: "float32"})


def test_names_in_a_graph_are_unique() -> None:
    graph = OnnxGraph()
    names = [graph.unique(name) for name in ("a", "a", "a_1", "a", "b", "a_1")]
    assert len(set(names)) == 6
    assert (names[0], names[4]) == ("a", "b")
    graph.layer = "rnn"
    one, other = (graph.add("Split", "x", outputs=3, axis=0) for _ in range(2))
    assert len({*one, *other}) == 6
    assert [node.name for node in graph.nodes] == [one[0], other[0]]
    assert graph.add("Relu", "x", name="own", result="y") == ["y"]
    assert (graph.nodes[-1].name, graph.nodes[-1].outputs) == ("own", ["y"])
    assert graph.nodes[0].attributes == {"axis": 0}
