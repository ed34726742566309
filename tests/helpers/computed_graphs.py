"""What an ONNX graph computes, operator by operator, as ``docs/Operators.md`` of ONNX documents it.

Nodes are those of ``exported_graphs``. Nothing here knows what the package makes of a graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tests.helpers.activations import sigmoid
from tests.helpers.exported_graphs import graph_arrays
from tests.helpers.port_layouts import onnx_scan

Arrays = dict[str, np.ndarray]
_KINDS = {"RNN": "simple", "LSTM": "lstm", "GRU": "gru"}


def computed(nodes: list[list[Any]], inputs: Mapping[str, np.ndarray], output: str) -> np.ndarray:
    """Return an output of a graph in float64.

    Raises AttributeError, LookupError, TypeError or ValueError where a node is none of ONNX.
    """
    values: Arrays = {**graph_arrays(nodes), **inputs}
    makers = {name: node for node in reversed(nodes) for name in node[2] if name}

    def value(name: str) -> np.ndarray:
        if name not in values:
            node = makers.pop(name)
            _, ins, outs, attributes, *domain = node
            if domain:
                raise ValueError("the domain is not known")
            made = _OPERATORS[node[0]]([value(each) if each else None for each in ins], attributes)
            results = made if isinstance(made, tuple) else (made,)
            values.update((each, results[i]) for i, each in enumerate(outs) if each)
        return values[name]

    return value(output)


def _axis(attributes: Mapping[str, Any], other: int | None = None) -> int:
    axis = attributes.get("axis", other)
    if not isinstance(axis, int):
        raise TypeError("no axis")
    return axis


def _numbers(ins: list[Any], position: int, attributes: Mapping[str, Any], name: str) -> list[int]:
    numbers = ins[position] if len(ins) > position else np.array(attributes[name])
    if numbers.dtype != np.int64 or numbers.ndim != 1:
        raise TypeError("no list of integers")
    return list(numbers)


def _recurrence(kind: str, ins: list[Any], attributes: Mapping[str, Any]) -> tuple[Any, ...]:
    x, *weights = ins[:4]
    if len(weights) < 3 or any(each is not None and each.any() for each in ins[4:]):
        raise ValueError("this is not computed here")
    by_sample = attributes.get("layout", 0)
    x = np.swapaxes(x, 0, 1) if by_sample else x
    direction = attributes.get("direction", "forward")
    arrays = dict(zip("WRB", weights, strict=True))
    if x.ndim != 3 or arrays["W"].shape[-1] != x.shape[-1]:
        raise ValueError("the shapes do not fit")
    before = attributes.get("linear_before_reset", 0)
    Y = onnx_scan(_KINDS[kind], x.astype("float64"), arrays, direction, before)
    ends = [-1, 0] if direction == "bidirectional" else [0 if direction == "reverse" else -1]
    Yh = np.stack([Y[end, way] for way, end in enumerate(ends)])
    if by_sample:
        Y, Yh = Y.transpose(2, 0, 1, 3), Yh.swapaxes(0, 1)
    return Y, Yh, np.full(Yh.shape, np.nan)  # c is the output of no layer


def _squeeze(ins: list[Any], attributes: Mapping[str, Any]) -> Any:
    return np.squeeze(ins[0], tuple(_numbers(ins, 1, attributes, "axes")))


def _reshape(ins: list[Any], attributes: Mapping[str, Any]) -> Any:
    x, sizes = ins
    sizes = [
        x.shape[i] if n == 0 and not attributes.get("allowzero") else n for i, n in enumerate(sizes)
    ]
    return x.reshape(sizes)


def _slice(ins: list[Any], attributes: Mapping[str, Any]) -> Any:
    starts, ends = (_numbers(ins, i, attributes, ("starts", "ends")[i - 1]) for i in (1, 2))
    given = len(ins) > 3 or "axes" in attributes
    axes = _numbers(ins, 3, attributes, "axes") if given else range(len(starts))
    steps = _numbers(ins, 4, {}, "") if len(ins) > 4 else [1] * len(starts)
    key: list[Any] = [slice(None)] * ins[0].ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        key[axis] = slice(start, end, step)
    return ins[0][tuple(key)]


def _gemm(ins: list[Any], attributes: Mapping[str, Any]) -> Any:
    a, b, *c = ins
    a, b = a.T if attributes.get("transA") else a, b.T if attributes.get("transB") else b
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError("Gemm multiplies matrices")
    more = attributes.get("beta", 1.0) * c[0] if c and c[0] is not None else 0
    return attributes.get("alpha", 1.0) * (a @ b) + more


def _shape(ins: list[Any], attributes: Mapping[str, Any]) -> Any:
    return np.array(ins[0].shape[attributes.get("start", 0) : attributes.get("end")], np.int64)


def _softmax(x: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def _cast(ins: list[Any], attributes: Mapping[str, Any]) -> Any:
    dtype = {1: "float64", 11: "float64", 10: "float16", 6: "int64", 7: "int64"}
    return ins[0].astype(dtype[attributes["to"]])


def _constant_of_shape(ins: list[Any], attributes: Mapping[str, Any]) -> Any:
    return np.full(ins[0], attributes.get("value", np.zeros(1))[0])


def _dropout(ins: list[Any], attributes: Mapping[str, Any]) -> Any:
    if len(ins) > 2 or attributes.get("is_test", 1) != 1:
        raise ValueError("it is random")
    return ins[0]


def _elementwise(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda ins, attributes: function(*ins, **attributes)


_OPERATORS: dict[str, Callable[[list[Any], Mapping[str, Any]], Any]] = {
    **{
        kind: lambda ins, attributes, kind=kind: _recurrence(kind, ins, attributes)
        for kind in _KINDS
    },
    "Shape": _shape,
    "ConstantOfShape": _constant_of_shape,
    "Constant": lambda ins, attributes: attributes["value"],
    "Transpose": lambda ins, attributes: np.transpose(ins[0], attributes.get("perm")),
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "Gather": lambda ins, attributes: np.take(ins[0], ins[1], _axis(attributes, 0)),
    "Slice": _slice,
    "Concat": lambda ins, attributes: np.concatenate(ins, _axis(attributes)),
    "MatMul": lambda ins, attributes: np.matmul(*ins),
    "Gemm": _gemm,
    "Add": lambda ins, attributes: np.add(*ins),
    "Mul": lambda ins, attributes: np.multiply(*ins),
    "Cast": _cast,
    "Dropout": _dropout,
    "Identity": lambda ins, attributes: ins[0],
    "Relu": _elementwise(lambda x: np.maximum(x, 0)),
    "Sigmoid": _elementwise(sigmoid),
    "Tanh": _elementwise(np.tanh),
    "Softplus": _elementwise(lambda x: np.log1p(np.exp(x))),
    "Softsign": _elementwise(lambda x: x / (1 + abs(x))),
    "Elu": _elementwise(lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(x))),
    "HardSigmoid": _elementwise(lambda x, alpha=0.2, beta=0.5: np.clip(alpha * x + beta, 0, 1)),
    "Softmax": _elementwise(lambda x, axis=-1: _softmax(x, axis)),
    "LogSoftmax": _elementwise(lambda x, axis=-1: np.log(_softmax(x, axis))),
}
