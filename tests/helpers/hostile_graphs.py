"""Configs of graphs that loop, explode, or are too long to read."""

from __future__ import annotations

from typing import Any


def tensor(layer: str, node: int = 0) -> dict[str, Any]:
    """Return a tensor in the config of a graph."""
    shape = {"shape": [None, 6, 3], "dtype": "float32", "keras_history": [layer, node, 0]}
    return {"class_name": "__keras_tensor__", "config": shape}


def node(*layers: str) -> dict[str, Any]:
    """Return a call of a layer on the outputs of others."""
    made = [tensor(layer) for layer in layers]
    return {"args": made if len(made) == 1 else [made], "kwargs": {}}


def call(kind: str, name: str, *nodes: Any, **config: Any) -> dict[str, Any]:
    """Return a layer of a graph."""
    return {
        "module": "keras.layers",
        "class_name": kind,
        "name": name,
        "config": {"name": name, **config},
        "inbound_nodes": list(nodes),
    }


X = call("InputLayer", "x", batch_shape=[None, 6, 3])


def graph(layers: list[dict[str, Any]], output: str, **more: Any) -> dict[str, Any]:
    """Return a functional model."""
    ends = {"input_layers": ["x", 0, 0], "output_layers": [output, 0, 0]}
    config = {"name": "model", "layers": layers, **ends, **more}
    module = "keras.src.models.functional"
    return {"module": module, "class_name": "Functional", "config": config}


def paths(count: int) -> dict[str, Any]:
    """Return a graph with 2**count paths from its input to its output."""
    layers = [X]
    for number in range(count):
        before = layers[-1]["name"]
        layers.append(call("Add", f"a{number}", node(before, before)))
    layers.append(call("LSTM", "lstm", node(layers[-1]["name"]), units=5))
    return graph(layers, "lstm")


def models(depth: int) -> dict[str, Any]:
    """Models in models, each called twice by the one around it."""
    inner = graph([X, call("Dropout", "d", node("x"), rate=0.5)], "d")
    for level in range(depth):
        part = {**inner, "name": f"m{level}"}
        part["config"] = {**part["config"], "name": f"m{level}"}
        part["inbound_nodes"] = [node("x"), {"args": [tensor(f"m{level}")], "kwargs": {}}]
        inner = graph([X, part], f"m{level}", output_layers=[f"m{level}", 2, 0])
    return inner


def empty_models(depth: int) -> dict[str, Any]:
    """Models that hold nothing but models, each called three times by the one around it."""
    inner = graph([X], "x")
    for level in range(depth):
        part = {**inner, "name": f"m{level}"}
        part["config"] = {**part["config"], "name": f"m{level}"}
        part["inbound_nodes"] = [node("x")] * 3
        ends = [[f"m{level}", number, 0] for number in (1, 2, 3)]
        inner = graph([X, part], "x", output_layers=ends)
    return inner


def wide(count: int) -> dict[str, Any]:
    """Many layers joined, and as many on what they are joined to."""
    lstms = [call("LSTM", f"l{i}", node("x"), units=5) for i in range(count)]
    joined = call("Concatenate", "c", node(*(layer["name"] for layer in lstms)))
    heads = [call("Dense", f"d{i}", node("c"), units=2) for i in range(count)]
    ends = [[f"d{i}", 0, 0] for i in range(count)]
    return graph([X, *lstms, joined, *heads], "c", output_layers=ends)


def chain(count: int) -> dict[str, Any]:
    """One recurrent layer behind the other."""
    layers = [X]
    for number in range(count):
        before = node(layers[-1]["name"])
        layers.append(call("LSTM", f"l{number}", before, units=5, return_sequences=True))
    return graph(layers, layers[-1]["name"])


def cells(count: int) -> dict[str, Any]:
    """Many cells in one layer."""
    part = {"module": "keras.layers", "class_name": "LSTMCell", "config": {"units": 5}}
    stack = {"class_name": "StackedRNNCells", "config": {"cells": [part] * count}}
    return graph([X, call("RNN", "rnn", node("x"), cell=stack)], "rnn")


MASKED = graph([X, call("Masking", "m", node("x"), mask_value=10**39)], "m")


def cyclic() -> list[dict[str, Any]]:
    """Two layers that feed each other."""
    return [X, call("Add", "a", node("x", "b")), call("Dense", "b", node("a"), units=3)]
