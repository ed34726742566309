"""The whole graph of an ONNX file, if it is a chain of recurrent operators and dense layers.

Exporters write Transpose, Squeeze, Reshape, Gather and Concat around recurrent operators. They are
followed by what each axis of a tensor stands for: T time steps, N samples, D directions and F
features. A graph with anything else is none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from rnnshapes.errors import InputError
from rnnshapes.load.foreign.modules import ChainDense, ChainLayer, ChainRecurrence, Module
from rnnshapes.load.foreign.onnx_graph import OnnxModel
from rnnshapes.load.foreign.tensors import FLOATS, Tensor
from rnnshapes.ops.onnx_ops import OnnxNode

#: Numbers of an array that is read to see whether they are zero: a state, or what one is made of.
_MOST_ZEROS, _MOST_SHARED = 1_000_000, 1000
#: Operators that make zeros of zeros.
_ZEROS = ("Slice", "Expand", "Identity", "Concat", "Unsqueeze", "Squeeze", "Reshape", "Cast")
#: The numbers of float32 and float64 in ONNX.
_REAL = (1, 11)
#: Activations in Keras, by operators with their attributes.
_ACTIVATIONS: Mapping[str, tuple[str, Mapping[str, float]]] = MappingProxyType(
    {
        "Relu": ("relu", {}),
        "Sigmoid": ("sigmoid", {}),
        "Tanh": ("tanh", {}),
        "Softplus": ("softplus", {}),
        "Softsign": ("softsign", {}),
        "Elu": ("elu", {"alpha": 1.0}),
        "HardSigmoid": ("hard_sigmoid", {"alpha": 1 / 6, "beta": 0.5}),
        "Softmax": ("softmax", {}),
        "LogSoftmax": ("log_softmax", {}),
    }
)
#: What attributes are if they are left out.
_DEFAULTS = MappingProxyType({("Elu", "alpha"): 1.0})
_MERGES = MappingProxyType({"Add": "sum", "Mul": "mul"})


class _NoChainError(Exception):
    """Something in the graph is not part of a chain."""


@dataclass(frozen=True)
class _Value:
    """A tensor of the chain.

    ``link`` is the number of the layer that it comes from, -1 for the input, whose axes are
    ``012`` until a recurrent operator takes it. ``ways`` are the directions that it holds, in
    order. A ``last`` one is that of the last step.
    """

    link: int
    axes: str
    ways: tuple[int, ...] = ()
    last: bool = False


@dataclass
class _Chain:
    model: OnnxModel
    modules: Sequence[Module]
    numbers: Mapping[int, int]
    zeros: Zeros
    links: list[ChainLayer] = field(default_factory=list)
    values: dict[str, _Value] = field(default_factory=dict)

    def follow(self) -> tuple[ChainLayer, ...]:
        """Return the layers. Raises _NoChainError."""
        inputs = [name for name in self.model.inputs if name not in self.model.arrays]
        if len(inputs) != 1 or len(self.model.outputs) != 1:
            raise _NoChainError
        self.values[inputs[0]] = _Value(-1, "012")
        uses = Counter(
            name for node in self.model.nodes if node.op_type != "Shape" for name in {*node.inputs}
        )
        uses.update(self.model.outputs)
        for node in self.model.nodes:
            known = [name for name in node.inputs if name in self.values]
            if not known or node.op_type == "Shape":
                continue
            if any(uses[name] > 1 and "D" not in self.values[name].axes for name in known):
                raise _NoChainError
            results = self._results(node, [self.values[name] for name in known])
            self.values |= dict(zip(node.outputs, results, strict=False))
        output = self.values.get(self.model.outputs[0])
        is_whole = output is not None and self._merged(output).link == len(self.links) - 1
        used = sum(isinstance(link, ChainRecurrence) for link in self.links)
        if not is_whole or used != len(self.modules):
            raise _NoChainError
        return tuple(self.links)

    def _results(self, node: OnnxNode, values: Sequence[_Value]) -> list[_Value]:
        if id(node) in self.numbers:
            return self._recurrence(node, values)
        value = values[0]
        if node.domain not in ("", "ai.onnx"):
            raise _NoChainError
        if self._is_same(node):
            return [value]
        if len(values) == 2:
            return [self._joined(node, values)]
        if node.op_type in _ACTIVATIONS:
            return [self._activated(node, value)]
        steps: Mapping[str, Callable[[OnnxNode, _Value], _Value]] = {
            "Transpose": self._transposed,
            "Squeeze": self._squeezed,
            "Reshape": self._reshaped,
            "Gather": self._gathered,
            "MatMul": self._dense,
            "Gemm": self._dense,
            "Add": self._biased,
        }
        if node.op_type not in steps or len(values) != 1:
            raise _NoChainError
        return [steps[node.op_type](node, value)]

    def _is_same(self, node: OnnxNode) -> bool:
        """Return whether a node returns the numbers of its one input."""
        if node.op_type == "Dropout":  # a third input, or is_test=0, says that it is training
            return len(node.inputs) < 3 and node.attributes.get("is_test", 1) == 1
        is_cast = node.op_type == "Cast" and node.attributes.get("to") in _REAL
        return is_cast or node.op_type == "Identity"

    def _recurrence(self, node: OnnxNode, values: Sequence[_Value]) -> list[_Value]:
        number = self.numbers[id(node)]
        inputs = [*node.inputs, *[""] * 8]
        states = [name for name in inputs[5:7] if name]
        if len(values) != 1 or inputs[0] not in self.values or inputs[4]:
            raise _NoChainError
        if not all(map(self.zeros.holds, states)):
            raise _NoChainError
        by_sample = bool(node.attributes.get("layout"))
        axes = "NTF" if by_sample else "TNF"
        value = self._merged(values[0])
        if value.link == -1:
            if sorted(value.axes) != ["0", "1", "2"]:
                raise _NoChainError
        elif value.axes != axes:
            raise _NoChainError
        ways = tuple(range(len(self.modules[number].layers[0].reverse)))
        self.links.append(ChainRecurrence(number))
        link = len(self.links) - 1
        sequence, last = ("NTDF", "NDF") if by_sample else ("TDNF", "DNF")
        return [_Value(link, sequence, ways), _Value(link, last, ways, last=True)]

    def _merged(self, value: _Value) -> _Value:
        """Return a value that another layer takes, after noting what its own layer returns."""
        if "D" in value.axes:
            raise _NoChainError
        link = self.links[value.link] if value.link >= 0 else None
        if value.link not in (-1, len(self.links) - 1):
            raise _NoChainError
        if isinstance(link, ChainRecurrence):
            count = len(self.modules[link.module].layers[0].reverse)
            if value.ways != tuple(range(count)):
                raise _NoChainError
            self.links[value.link] = replace(link, return_sequences=not value.last)
        return value

    def _joined(self, node: OnnxNode, values: Sequence[_Value]) -> _Value:
        """Return both directions of a recurrent operator as one value."""
        first, second = values
        link = self.links[first.link] if first.link >= 0 else None
        is_pair = first.ways == (0,) and replace(first, ways=(1,)) == second
        is_pair = is_pair and len(node.inputs) == 2
        if not isinstance(link, ChainRecurrence) or not is_pair or "D" in first.axes:
            raise _NoChainError
        merge = _MERGES.get(node.op_type)
        if node.op_type == "Concat":
            axis = node.attributes.get("axis")
            merge = "concat" if axis in (-1, len(first.axes) - 1) else None
        if merge is None:
            raise _NoChainError
        self.links[first.link] = replace(link, merge_mode=merge)
        return replace(first, ways=(0, 1))

    def _transposed(self, node: OnnxNode, value: _Value) -> _Value:
        order = node.attributes.get("perm") or list(range(len(value.axes)))[::-1]
        if sorted(order) != list(range(len(value.axes))):
            raise _NoChainError
        return replace(value, axes="".join(value.axes[axis] for axis in order))

    def _squeezed(self, node: OnnxNode, value: _Value) -> _Value:
        axes = self._numbers(node, 1, node.attributes.get("axes"))
        gone = [value.axes[axis] for axis in axes if -len(value.axes) <= axis < len(value.axes)]
        if gone != ["D"] or len(value.ways) != 1:
            raise _NoChainError
        return replace(value, axes=value.axes.replace("D", ""))

    def _reshaped(self, node: OnnxNode, value: _Value) -> _Value:
        """Return directions beside each other in the last axis."""
        shape = self._numbers(node, 1, None)
        if value.axes[-2:] != "DF" or len(value.axes) != len(shape) + 1 or any(shape[:-1]):
            raise _NoChainError
        return replace(value, axes=value.axes[:-2] + "F")

    def _gathered(self, node: OnnxNode, value: _Value) -> _Value:
        """Return one direction, or the last step of a sequence that runs forward."""
        axis = node.attributes.get("axis", 0)
        tensor = self.model.arrays.get(node.inputs[1]) if len(node.inputs) > 1 else None
        if tensor is None or tensor.shape != () or node.inputs[0] not in self.values:
            raise _NoChainError
        (index,) = self._numbers(node, 1, None)
        if not isinstance(axis, int) or not -len(value.axes) <= axis < len(value.axes):
            raise _NoChainError
        name = value.axes[axis]
        axes = value.axes.replace(name, "")
        if name == "D" and -len(value.ways) <= index < len(value.ways):
            return replace(value, axes=axes, ways=(value.ways[index],))
        link = self.links[value.link] if value.link >= 0 else None
        if name != "T" or index != -1 or not isinstance(link, ChainRecurrence) or value.last:
            raise _NoChainError
        if self.modules[link.module].layers[0].reverse != (False,):
            raise _NoChainError
        return replace(value, axes=axes, last=True)

    def _dense(self, node: OnnxNode, value: _Value) -> _Value:
        value = self._merged(value)
        arrays = [self.model.arrays.get(name) for name in node.inputs]
        is_gemm = node.op_type == "Gemm"
        attributes = node.attributes
        kernel = arrays[1] if len(arrays) > 1 else None
        bias = arrays[2] if len(arrays) > 2 else None
        if value.link < 0 or arrays[0] is not None or not _is_float(kernel, 2):
            raise _NoChainError
        if is_gemm and (
            value.axes != "NF"
            or attributes.get("transA")
            or any(attributes.get(name, 1.0) != 1.0 for name in ("alpha", "beta"))
            or (bias is not None and not _is_float(bias, 1))
        ):
            raise _NoChainError
        if value.axes[-1:] != "F" or (len(arrays) > 2 and bias is None and node.inputs[2]):
            raise _NoChainError
        assert kernel is not None
        is_transposed = is_gemm and bool(attributes.get("transB"))
        if bias is not None and bias.shape != (kernel.shape[not is_transposed],):
            raise _NoChainError
        name = node.name.strip("/").replace("/", ".") or node.op_type.lower()
        self.links.append(ChainDense(name, kernel, is_transposed, bias))
        return replace(value, link=len(self.links) - 1, ways=(), last=False)

    def _biased(self, node: OnnxNode, value: _Value) -> _Value:
        others = [name for name in node.inputs if name not in self.values]
        bias = self.model.arrays.get(others[0]) if len(others) == 1 else None
        link = self._last_dense(value)
        width = link.kernel.shape[0 if link.is_transposed else 1]
        if not _is_float(bias, 1) or link.bias is not None or link.activation != "linear":
            raise _NoChainError
        assert bias is not None
        if bias.shape != (width,):
            raise _NoChainError
        self.links[value.link] = replace(link, bias=bias)
        return value

    def _activated(self, node: OnnxNode, value: _Value) -> _Value:
        link = self._last_dense(value)
        name, constants = _ACTIVATIONS[node.op_type]
        rank = len(value.axes)
        # The default axis of Softmax is 1 until version 13, and then the last one.
        is_last = node.attributes.get("axis", -1 if rank == 2 else 0) in (-1, rank - 1)
        is_last = is_last or not name.endswith("softmax")
        own = {
            key: node.attributes.get(key, _DEFAULTS.get((node.op_type, key))) for key in constants
        }
        if link.activation != "linear" or not is_last:
            raise _NoChainError
        if any(
            not isinstance(own[key], float) or abs(own[key] - number) > 1e-6  # type: ignore[operator]
            for key, number in constants.items()
        ):
            raise _NoChainError
        self.links[value.link] = replace(link, activation=name)
        return value

    def _last_dense(self, value: _Value) -> ChainDense:
        link = self.links[value.link] if value.link == len(self.links) - 1 else None
        if not isinstance(link, ChainDense):
            raise _NoChainError
        return link

    def _numbers(self, node: OnnxNode, position: int, attribute: Any) -> list[int]:
        """Return whole numbers from a constant input, or from an attribute in older versions."""
        if len(node.inputs) > position:
            tensor = self.model.arrays.get(node.inputs[position])
            if tensor is None or tensor.dtype not in ("int64", "int32") or tensor.count > 8:
                raise _NoChainError
            return [int(number) for number in tensor.read().reshape(-1)]
        if not isinstance(attribute, list):
            raise _NoChainError
        return attribute


def read_chain(
    model: OnnxModel, modules: Sequence[tuple[OnnxNode, Module]], zeros: Zeros
) -> tuple[ChainLayer, ...]:
    """Return the layers of a graph in order; nothing if it is no chain of such layers.

    Args:
        model: The graph, with the arrays that it computes from constants.
        modules: The recurrent operators that were read.
        zeros: The tensors that are zeros.
    """
    numbers = {id(node): number for number, (node, _) in enumerate(modules)}
    chain = _Chain(model, [module for _, module in modules], numbers, zeros)
    try:
        return chain.follow() if modules else ()
    except (_NoChainError, InputError):
        return ()


class Zeros:
    """The tensors of a graph that are certainly zeros: constants, and what follows from them."""

    def __init__(self, model: OnnxModel) -> None:
        self.model = model
        self._known: dict[str, bool] = {}
        for node in model.nodes:
            if node.op_type == "ConstantOfShape":
                value = node.attributes.get("value")
                is_made = value is None or (isinstance(value, Tensor) and _is_zero(value, 1))
            else:
                joined = node.inputs if node.op_type == "Concat" else node.inputs[:1]
                is_made = node.op_type in _ZEROS and all(
                    self.holds(name, _MOST_SHARED) for name in joined
                )
            self._known |= dict.fromkeys(node.outputs, is_made)

    def holds(self, name: str, most: int = _MOST_ZEROS) -> bool:
        """Return whether a tensor is certainly zeros; a constant has at most ``most`` numbers."""
        tensor = self.model.arrays.get(name)
        if name not in self._known and tensor is not None:
            self._known[name] = _is_zero(tensor, most)
        return self._known.get(name, False)


def _is_zero(tensor: Tensor, most: int) -> bool:
    if not 0 < tensor.count <= most:
        return False
    import numpy as np

    try:
        with np.errstate(invalid="ignore"):
            return not tensor.read().any()
    except InputError:  # its numbers are not in the file
        return False


def _is_float(tensor: Tensor | None, rank: int) -> bool:
    return tensor is not None and tensor.dtype in FLOATS and len(tensor.shape) == rank
