"""Keras models as ONNX files, which ONNX Runtime runs where it is installed."""

from __future__ import annotations

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
from rnnshapes.ops.onnx_ops import OnnxGraph
from rnnshapes.port.weight_files import onnx as onnx_weights
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


MODELS: dict[str, tuple[Callable[..., Any], tuple[tuple[int | None, ...], ...]]] = {
    "cells": (cells, ((None, 3),)),
    "translated": (translated, ((6,), (4, 2))),
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
    for array, own in zip(session.run(None, xs), expected, strict=True):
        np.testing.assert_allclose(array, np.asarray(own), rtol=1e-5, atol=2e-6)


def test_layers_are_found_in_the_file(tmp_path: Path) -> None:
    model = randomized(sequential(la.GRU(5, name="rnn"), la.Dense(2, name="head"), shape=(4, 3)))
    result = rnnshapes.convert(model, tmp_path / "m.onnx")
    assert [check.name for check in result.checks][:2] == ["rnn/kernel", "rnn/recurrent_kernel"]
    assert sum(check.compared for check in result.checks) == model.count_params()
    summary = rnnshapes.inspect(tmp_path / "m.onnx")
    assert summary.agrees
    assert rnnshapes.verify(model, against=tmp_path / "m.onnx").passed


REFUSED: dict[str, Callable[[], Any]] = {
    "mask": la.Masking,
    "window": lambda: la.Conv1D(4, 2),
    "stateful": lambda: la.LSTM(4, stateful=True),
    "mish": lambda: la.LSTM(4, "mish"),
    "stack": lambda: la.RNN([la.LSTMCell(4), la.LSTMCell(4)]),
    "float64": lambda: la.LSTM(4, dtype="float64"),
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
    model = keras.Model(inputs, la.Dense(2, dtype=layer.compute_dtype)(layer(inputs)))
    with pytest.raises(UnsupportedError, match=word):
        rnnshapes.convert(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("attention", [la.Attention, la.AdditiveAttention, None])
def test_masked_attention_is_refused(attention: Any, tmp_path: Path) -> None:
    x = keras.Input((6,))
    e = la.Embedding(7, 3, mask_zero=True)(x)
    y = la.MultiHeadAttention(2, 3)(e, e) if attention is None else attention()([e, e])
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
    assert graph.numbers([0, 1]) != graph.numbers([[0, 1]]) != graph.numbers([[0, 1]], "float32")


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
