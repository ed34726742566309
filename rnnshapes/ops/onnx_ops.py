"""ONNX interpreter: each operation of an equation adds nodes to an ONNX graph.

Source: ``docs/Operators.md`` of ONNX, in version 17 of its operators. What has no counterpart
here is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from rnnshapes.errors import UnsupportedError
from rnnshapes.ops import elementwise as functions
from rnnshapes.ops import rearrangements as moves
from rnnshapes.ops.constant import Constant
from rnnshapes.ops.contraction import Contraction
from rnnshapes.ops.dims import Dim, Shape
from rnnshapes.ops.interface import KERAS2_HARD_SIGMOID, map_outputs
from rnnshapes.ops.symbolic import Symbol, SymbolicOps
from rnnshapes.ops.visibility import Visibility
from rnnshapes.ops.windows import Axes, Window

if TYPE_CHECKING:
    from rnnshapes.ops.activations import Array

#: The version of the operators.
OPSET = 17
#: Operators of activations, by the names in Keras, with their attributes.
_ACTIVATIONS: Mapping[str, tuple[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "tanh": ("Tanh", {}),
        "sigmoid": ("Sigmoid", {}),
        "relu": ("Relu", {}),
        "softplus": ("Softplus", {}),
        "softsign": ("Softsign", {}),
        "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
        KERAS2_HARD_SIGMOID: ("HardSigmoid", {"alpha": 0.2, "beta": 0.5}),
        "elu": ("Elu", {"alpha": 1.0}),
        "selu": ("Selu", {}),
        "celu": ("Celu", {"alpha": 1.0}),
        "leaky_relu": ("LeakyRelu", {"alpha": 0.2}),
        "exponential": ("Exp", {}),
        "erf": ("Erf", {}),
        "sqrt": ("Sqrt", {}),
        "softmax": ("Softmax", {"axis": -1}),
        "log_softmax": ("LogSoftmax", {"axis": -1}),
    }
)
#: Operators of NumPy's functions.
_FUNCTIONS = MappingProxyType({"sqrt": "Sqrt", "log": "Log", "exp": "Exp", "abs": "Abs"})
_SAMPLES = Dim.named("N")
#: The end of an axis, as the operator Slice has it.
_END = 2**63 - 1
#: The numbers of dtypes, as the operator Cast has them.
_DTYPES = MappingProxyType({"float32": 1, "int64": 7})
#: Positions of inputs that are axes, sizes or indices, by the operator.
_INDICES: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "Gather": (1,),
        "ReduceSum": (1,),
        "Reshape": (1,),
        "Slice": (1, 2, 3, 4),
        "Tile": (1,),
        "Unsqueeze": (1,),
    }
)
#: Operators whose other inputs may be integers, too: they compute nothing.
_MOVES = (
    *("Cast", "Concat", "Gather", "Identity", "Reshape", "Shape"),
    *("Slice", "Split", "Tile", "Transpose", "Unsqueeze"),
)


@dataclass
class OnnxNode:
    """One node of a graph: an operator with its inputs, outputs and attributes."""

    op_type: str = ""
    name: str = ""
    domain: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)


class OnnxValue(NamedTuple):
    """An input or an output of a graph; an open size of its shape has a name."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


class OnnxGraph:
    """Nodes in their order, and constant arrays by name.

    ``layer`` begins the names of the nodes that are added.
    """

    def __init__(self) -> None:
        self.nodes: list[OnnxNode] = []
        self.arrays: dict[str, Array] = {}
        self.layer = ""
        self._names: dict[str, int] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def add(
        self,
        op_type: str,
        *inputs: str,
        outputs: int = 1,
        name: str = "",
        result: str = "",
        **attributes: Any,
    ) -> list[str]:
        """Add a node, and return the names of its outputs.

        Args:
            op_type: The operator.
            *inputs: The names of its inputs; an empty one is left out.
            outputs: The number of its outputs.
            name: The name of the node; that of its first output if left out.
            result: The name of its first output, already reserved; else made from the operator.
            **attributes: Its attributes.
        """
        result = result or self.unique(f"{self.layer}/{op_type}")
        more = [self.unique(f"{result}:{number}") for number in range(1, outputs)]
        node = OnnxNode(op_type, name or result, "", list(inputs), [result, *more], attributes)
        self.nodes.append(node)
        return node.outputs

    def unique(self, name: str) -> str:
        """Return a name that nothing else has: itself, or with a number behind it."""
        number = self._names[name] = self._names.get(name, -1) + 1
        return self.unique(f"{name}_{number}") if number else name

    def numbers(self, values: Any, dtype: str = "int64") -> str:
        """Return the name of a constant array; equal ones are one."""
        import numpy as np

        array = np.array(values, dtype)
        key = dtype, array.shape, array.tobytes()
        if key not in self._constants:
            self._constants[key] = self.array(self.unique("constant"), array)
        return self._constants[key]

    def array(self, name: str, values: Array) -> str:
        """Add an array, and return its name."""
        self.arrays[name] = values
        return name

    def cast(self, x: str, dtype: str) -> str:
        """Return the numbers in another dtype."""
        return self.add("Cast", x, to=_DTYPES[dtype])[0]

    def require_dtypes(self, dtypes: Mapping[str, str]) -> None:
        """Check that each operator gets the dtypes that it takes, and each output has its own.

        Args:
            dtypes: The dtypes of the inputs and outputs of the graph, by name.

        Raises:
            UnsupportedError: One of them does not, so that no runtime would load the graph.
        """
        known = {**dtypes, **{name: str(array.dtype) for name, array in self.arrays.items()}}
        for node in self.nodes:
            indices = _INDICES.get(node.op_type, ())
            found = [(number in indices, known[x]) for number, x in enumerate(node.inputs) if x]
            values = {dtype for is_index, dtype in found if not is_index}
            dtype = "int64" if node.op_type == "Shape" else min(values)
            if node.op_type == "Cast":
                dtype = next(name for name, to in _DTYPES.items() if to == node.attributes["to"])
            is_right = len(values) == 1 and (node.op_type in _MOVES or values == {"float32"})
            is_right &= all(dtype == "int64" for is_index, dtype in found if is_index)
            for output in node.outputs:
                is_right &= known.setdefault(output, dtype) == dtype
            if not is_right:
                kinds = ", ".join(dtype for _, dtype in found)
                raise UnsupportedError(f"the ONNX operator {node.name} would get {kinds}")

    def gather(self, x: str, index: int, axis: int) -> str:
        """Return the numbers at an index along an axis, which goes away."""
        return self.add("Gather", x, self.numbers(index), axis=axis)[0]

    def transpose(self, x: str, *axes: int) -> str:
        """Return the axes in another order."""
        return self.add("Transpose", x, perm=list(axes))[0]

    def cut(self, x: str, parts: dict[int, slice]) -> str:
        """Return slices along axes."""
        slices = [
            (
                (0 if part.step is None or part.step > 0 else _END)
                if part.start is None
                else part.start,
                (_END if part.step is None or part.step > 0 else -_END)
                if part.stop is None
                else part.stop,
                axis,
                part.step or 1,
            )
            for axis, part in parts.items()
        ]
        return self.add("Slice", x, *map(self.numbers, zip(*slices, strict=True)))[0]


@dataclass(frozen=True, eq=False)
class OnnxTensor:
    """A value of a graph: its symbol, which has its shape, its name, and its dtype."""

    symbol: Symbol
    name: str
    graph: OnnxGraph
    dtype: str = "float32"

    def cast(self, dtype: str) -> OnnxTensor:
        """Return the numbers in this dtype."""
        if dtype == self.dtype:
            return self
        return replace(self, name=self.graph.cast(self.name, dtype), dtype=dtype)

    def __matmul__(self, other: OnnxTensor) -> OnnxTensor:
        return self._with(self.symbol @ other.symbol, "MatMul", self, other)

    def __add__(self, other: OnnxTensor | float) -> OnnxTensor:
        return self._with(self.symbol + _symbols(other), "Add", self, other)

    def __radd__(self, other: float) -> OnnxTensor:
        return self + other

    def __sub__(self, other: OnnxTensor | float) -> OnnxTensor:
        return self._with(self.symbol - _symbols(other), "Sub", self, other)

    def __mul__(self, other: OnnxTensor | float) -> OnnxTensor:
        return self._with(self.symbol * _symbols(other), "Mul", self, other)

    def __truediv__(self, other: OnnxTensor | float) -> OnnxTensor:
        return self._with(self.symbol / _symbols(other), "Div", self, other)

    def __rtruediv__(self, other: float) -> OnnxTensor:
        return self._with(other / self.symbol, "Div", other, self)

    def __neg__(self) -> OnnxTensor:
        return self._with(-self.symbol, "Neg", self)

    def __rsub__(self, other: float) -> OnnxTensor:
        return self._with(other - self.symbol, "Sub", other, self)

    def _with(self, symbol: Symbol, op_type: str, *operands: OnnxTensor | float) -> OnnxTensor:
        """Return the result of an operator, with this symbol."""
        names = [
            each.name if isinstance(each, OnnxTensor) else self.graph.numbers(each, "float32")
            for each in operands
        ]
        return OnnxTensor(symbol, self.graph.add(op_type, *names)[0], self.graph)


class OnnxOps:
    """The operations of the ONNX interpreter that are not operators."""

    def __init__(self, graph: OnnxGraph, index: str = "") -> None:
        self.graph, self.index, self._symbolic = graph, index, SymbolicOps(index)

    def activate(self, name: str, z: OnnxTensor) -> OnnxTensor:
        """Apply the activation ``name``."""
        from rnnshapes.ops.activations import FORMULAS

        if name in _ACTIVATIONS:
            op_type, attributes = _ACTIVATIONS[name]
            return self.like(z, op_type, z.name, **attributes)
        function = FORMULAS.get(name)
        if function is not None:
            result: OnnxTensor = function(self.activate, z)
            return result
        if name not in _COMPOSED:
            raise refused(f"the activation {name}")
        return _COMPOSED[name](self, z)

    def split(self, z: OnnxTensor, base: str, parts: tuple[str, ...]) -> list[OnnxTensor]:
        """Split the last axis into equal parts."""
        symbols = self._symbolic.split(z.symbol, base, parts)
        names = self.graph.add("Split", z.name, outputs=len(parts), axis=-1)
        return [self._tensor(s, name) for s, name in zip(symbols, names, strict=True)]

    def rows(self, b: OnnxTensor, names: tuple[str, ...]) -> list[OnnxTensor]:
        """Return the rows of ``b``."""
        symbols = self._symbolic.rows(b.symbol, names)
        return [
            self._tensor(symbol, self.graph.gather(b.name, number, 0))
            for number, symbol in enumerate(symbols)
        ]

    def let(self, name: str, value: OnnxTensor) -> OnnxTensor:
        """Return ``value`` itself."""
        return value

    def within(self, suffix: str) -> OnnxOps:
        """Return these operations for a part of the layer, whose names end in ``suffix``."""
        return OnnxOps(self.graph, suffix + self.index)

    def concatenate(
        self, values: Sequence[OnnxTensor], axis: int = -1, length: Dim | None = None
    ) -> OnnxTensor:
        """Join the values along an axis."""
        if len({len(value.symbol.shape) for value in values}) > 1:
            raise refused("joining a value without time to a sequence")
        symbol = self._symbolic.concatenate(_symbols(list(values)), axis, length)
        return self._result(symbol, "Concat", *(value.name for value in values), axis=axis)

    def constant(
        self, values: Constant, like: OnnxTensor, shape: Shape | None = None
    ) -> OnnxTensor:
        """Return the numbers of a constant."""
        symbol = self._symbolic.constant(values, like.symbol, shape)
        return self._tensor(symbol, self.graph.numbers(values.array(), "float32"))

    def aligned(self, values: Sequence[OnnxTensor]) -> Sequence[OnnxTensor]:
        """Return the values with shapes that can be combined element by element."""
        shapes = [value.symbol.shape for value in values]
        samples = {len(shape) for shape in shapes if shape[:1] == (_SAMPLES,)}
        if len(samples) > 1:
            raise refused("combining a sequence with a value without time")
        symbols = self._symbolic.aligned(_symbols(list(values)))
        return [replace(v, symbol=s) for v, s in zip(values, symbols, strict=True)]

    def take(self, table: OnnxTensor, indices: OnnxTensor) -> OnnxTensor:
        """Return the rows of ``table`` with these integer indices."""
        symbol = self._symbolic.take(table.symbol, indices.symbol)
        return self._result(symbol, "Gather", table.name, indices.name, axis=0)

    def rearrange(self, x: OnnxTensor, function: moves.Rearrangement) -> OnnxTensor:
        """Move, select, repeat or pad numbers."""
        symbol = self._symbolic.rearrange(x.symbol, function)
        match function:
            case moves.Transposed(axes):
                return self._result(symbol, "Transpose", x.name, perm=list(axes))
            case moves.Reshaped(numbers=numbers):
                return self._result(symbol, "Reshape", x.name, self.graph.numbers([0, *numbers]))
            case moves.Repeated(number=number):
                (row,) = self.graph.add("Unsqueeze", x.name, self.graph.numbers([1]))
                times = [1, number, *[1] * (len(x.symbol.shape) - 1)]
                return self._result(symbol, "Tile", row, self.graph.numbers(times))
            case moves.Selection(key):
                return self._tensor(symbol, self._selected(x, key))
        raise refused(f"the operation {function.name}")

    def _selected(self, x: OnnxTensor, key: tuple[Any, ...]) -> str:
        """Return the name of ``x[key]``."""
        rank = len(x.symbol.shape)
        if Ellipsis in key:
            position = key.index(Ellipsis)
            count = rank - sum(part is not None for part in key) + 1
            key = (*key[:position], *[moves.WHOLE] * count, *key[position + 1 :])
        axes = list(enumerate(part for part in key if part is not None))
        parts = {a: p for a, p in axes if isinstance(p, slice) and p != moves.WHOLE}
        name = self.graph.cut(x.name, parts) if parts else x.name
        for axis, part in reversed(axes):
            if not isinstance(part, slice):
                name = self.graph.gather(name, part, axis)
        kept = [part for part in key if part is None or isinstance(part, slice)]
        new = [position for position, part in enumerate(kept) if part is None]
        if new:
            (name,) = self.graph.add("Unsqueeze", name, self.graph.numbers(new))
        return name

    def windows(self, x: OnnxTensor, windows: Sequence[Window]) -> OnnxTensor:
        """Refuse windows."""
        raise refused("a window of a convolution or pooling")

    def rank(self, x: OnnxTensor) -> int:
        """Return the number of axes."""
        return len(x.symbol.shape)

    def each_step(
        self, function: Callable[..., Any], inputs: Sequence[OnnxTensor], rank: int
    ) -> Any:
        """Apply a function to each step of tensors (N, T, …), or to (N, …) as they are."""
        shape, graph = inputs[0].symbol.shape, self.graph
        if len(shape) == rank:
            return function(*inputs)

        def folded(x: OnnxTensor) -> OnnxTensor:
            rest = graph.cut(graph.add("Shape", x.name)[0], {0: slice(2, None)})
            sizes = graph.add("Concat", graph.numbers([-1]), rest, axis=0)[0]
            symbol = replace(x.symbol, shape=(shape[0], *x.symbol.shape[2:]))
            return replace(self._result(symbol, "Reshape", x.name, sizes), dtype=x.dtype)

        def unfolded(x: OnnxTensor) -> OnnxTensor:
            own = graph.cut(graph.add("Shape", x.name)[0], {0: slice(1, None)})
            sizes = graph.add("Concat", lead, own, axis=0)[0]
            symbol = replace(x.symbol, shape=(shape[0], shape[1], *x.symbol.shape[1:]))
            return self._result(symbol, "Reshape", x.name, sizes)

        lead = graph.cut(graph.add("Shape", inputs[0].name)[0], {0: slice(0, 2)})
        return map_outputs(unfolded, function(*map(folded, inputs)))

    def scan(
        self,
        step: Callable[[OnnxTensor, Sequence[OnnxTensor]], Sequence[OnnxTensor]],
        z: OnnxTensor,
        multiple: int,
        names: tuple[str, ...],
        *,
        reverse: bool,
        mask: Any = None,
    ) -> OnnxTensor:
        """Refuse a recurrence inside another layer."""
        raise refused("a recurrence inside another layer")

    def contract(self, contraction: Contraction, left: OnnxTensor, right: OnnxTensor) -> OnnxTensor:
        """Multiply, and sum over axes."""
        symbol = self._symbolic.contract(contraction, left.symbol, right.symbol)
        equation = contraction.subscripts
        return self._result(symbol, "Einsum", left.name, right.name, equation=equation)

    def averages(self, x: OnnxTensor, windows: Sequence[Window]) -> OnnxTensor:
        """Refuse windows."""
        raise refused("windows of pooling")

    def mean(self, x: OnnxTensor, axis: Axes, count: Any = None) -> OnnxTensor:
        """Return the mean over ``axis``."""
        if count is not None:
            raise refused("the mean of the steps that a mask leaves")
        return self._reduced("ReduceMean", self._symbolic.mean(x.symbol, axis), x, axis, axis == -1)

    def max(self, x: OnnxTensor, axis: Axes) -> OnnxTensor:
        """Return the largest value over ``axis``."""
        return self._reduced("ReduceMax", self._symbolic.max(x.symbol, axis), x, axis, False)

    def attention_weights(
        self, scores: OnnxTensor, visibility: Visibility, mask: OnnxTensor | None = None
    ) -> OnnxTensor:
        """Return the softmax of scores (N, …, queries, keys), of which all are visible."""
        masks = (visibility.queries, visibility.keys, mask)
        if visibility.causal or any(each is not None for each in masks):
            raise refused("attention with a mask")
        symbol = self._symbolic.attention_weights(scores.symbol, visibility)
        return self._result(symbol, "Softmax", scores.name, axis=-1)

    def widen(self, x: OnnxTensor) -> OnnxTensor:
        """Return ``x`` itself: all numbers are of float32."""
        return x

    def narrow(self, x: OnnxTensor, other: OnnxTensor) -> OnnxTensor:
        """Return ``x`` itself: all numbers are of float32."""
        return x

    def define(self, name: str, value: OnnxTensor) -> OnnxTensor:
        """Return ``value`` itself."""
        return value

    def reduce(self, name: str, x: OnnxTensor, axes: tuple[int, ...], keepdims: bool) -> OnnxTensor:
        """Return the ``sum``, ``mean``, ``max`` or ``min`` over axes."""
        symbol = self._symbolic.reduce(name, x.symbol, axes, keepdims)
        return self._reduced(f"Reduce{name.capitalize()}", symbol, x, axes, keepdims)

    def rsqrt(self, x: OnnxTensor) -> OnnxTensor:
        """Return 1 / sqrt(x)."""
        (root,) = self.graph.add("Sqrt", x.name)
        return self._result(self._symbolic.rsqrt(x.symbol), "Reciprocal", root)

    def elementwise(self, x: OnnxTensor, function: functions.Elementwise) -> OnnxTensor:
        """Apply a monotone function to each number."""
        make = _ELEMENTWISE.get(type(function))
        result = None if make is None else make(self, x, function)
        if result is None:
            raise refused(f"the function {function.name}")
        return result

    def maximum(self, x: OnnxTensor, y: OnnxTensor) -> OnnxTensor:
        """Return the larger one of each two numbers."""
        return self._result(self._symbolic.maximum(x.symbol, y.symbol), "Max", x.name, y.name)

    def minimum(self, x: OnnxTensor, y: OnnxTensor) -> OnnxTensor:
        """Return the smaller one of each two numbers."""
        return self._result(self._symbolic.minimum(x.symbol, y.symbol), "Min", x.name, y.name)

    def compare(self, relation: str, x: OnnxTensor, y: OnnxTensor) -> OnnxTensor:
        """Refuse comparisons."""
        raise refused("a comparison")

    def choose(self, condition: OnnxTensor, x: OnnxTensor, y: OnnxTensor) -> OnnxTensor:
        """Refuse a choice."""
        raise refused("a choice by a condition")

    def where(self, mask: Any, x: OnnxTensor, other: Any) -> OnnxTensor:
        """Refuse masks."""
        raise refused("a mask")

    def tensor(self, text: str, shape: Shape, name: str) -> OnnxTensor:
        """Return a value of the graph, by its name."""
        return self._tensor(Symbol(text, shape, []), name)

    def _tensor(self, symbol: Symbol, name: str) -> OnnxTensor:
        return OnnxTensor(symbol, name, self.graph)

    def _result(self, symbol: Symbol, op_type: str, *inputs: str, **attributes: Any) -> OnnxTensor:
        """Return the result of an operator, with this symbol."""
        return self._tensor(symbol, self.graph.add(op_type, *inputs, **attributes)[0])

    def like(self, x: OnnxTensor, op_type: str, *inputs: str, **attributes: Any) -> OnnxTensor:
        """Return the result of an operator that changes no shape."""
        return self._result(x.symbol, op_type, *inputs, **attributes)

    def clipped(self, x: OnnxTensor, least: float, most: float) -> OnnxTensor:
        """Return the numbers, at least ``least`` and at most ``most``."""
        ends = (self.graph.numbers(end, "float32") for end in (least, most))
        return self.like(x, "Clip", x.name, *ends)

    def _reduced(
        self, op_type: str, symbol: Symbol, x: OnnxTensor, axes: Axes, keepdims: bool
    ) -> OnnxTensor:
        numbers = [axes] if isinstance(axes, int) else list(axes)
        if op_type == "ReduceSum":  # the others take their axes from an attribute until version 18
            indices = self.graph.numbers(numbers)
            return self._result(symbol, op_type, x.name, indices, keepdims=int(keepdims))
        return self._result(symbol, op_type, x.name, axes=numbers, keepdims=int(keepdims))


def refused(what: str) -> UnsupportedError:
    """Return the error for an operation without a counterpart here."""
    return UnsupportedError(f"{what} has no counterpart in ONNX here")


def _function(ops: OnnxOps, x: OnnxTensor, function: functions.Function) -> OnnxTensor | None:
    op_type = _FUNCTIONS.get(function.function)
    if op_type is not None:
        return ops.like(x, op_type, x.name)
    return x * x if function == functions.SQUARE else None


def _relu(ops: OnnxOps, x: OnnxTensor, function: functions.ClippedReLU) -> OnnxTensor | None:
    if function.slope or function.threshold:
        return None
    if function.highest is None:
        return ops.activate("relu", x)
    return ops.clipped(x, 0.0, function.highest)


#: Activations that are several operators.
_COMPOSED: Mapping[str, Callable[[OnnxOps, OnnxTensor], OnnxTensor]] = MappingProxyType(
    {
        "linear": lambda ops, z: z,
        "tanh_softplus": lambda ops, z: ops.activate("tanh", ops.activate("softplus", z)),
        "log_sigmoid": lambda ops, z: -ops.activate("softplus", -z),
        "relu6": lambda ops, z: ops.clipped(z, 0.0, 6.0),
        "hard_tanh": lambda ops, z: ops.clipped(z, -1.0, 1.0),
    }
)
#: The result of a monotone function, by its class; ``None`` where it has no counterpart.
_ELEMENTWISE: Mapping[type, Callable[[OnnxOps, OnnxTensor, Any], OnnxTensor | None]] = (
    MappingProxyType(
        {
            functions.NegativePart: lambda ops, x, _: ops.activate("relu", -x),
            functions.LeakyReLU: lambda ops, x, f: ops.like(x, "LeakyRelu", x.name, alpha=f.slope),
            functions.ELU: lambda ops, x, f: ops.like(x, "Elu", x.name, alpha=f.alpha),
            functions.Clip: lambda ops, x, f: ops.clipped(x, f.least, f.most),
            functions.Affine: lambda ops, x, f: x * f.scale + f.shift,
            functions.ClippedReLU: _relu,
            functions.Function: _function,
        }
    )
)


def _symbols(value: Any) -> Any:
    """Return the symbols of values of a graph; anything else stays as it is."""
    if isinstance(value, list):
        return [_symbols(each) for each in value]
    return value.symbol if isinstance(value, OnnxTensor) else value
