"""The whole graph of an ONNX file, if it is a chain of recurrent operators and dense layers.

Exporters write Transpose, Squeeze, Reshape, Gather and Concat around recurrent operators. They are
followed by what each axis of a tensor stands for: T time steps, N samples, D directions and F
features. A graph with anything else is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar

from rnnshapes.errors import InputError
from rnnshapes.load.foreign.modules import ChainDense, ChainLayer, ChainRecurrence, Module
from rnnshapes.load.foreign.onnx_graph import OnnxModel, layer_name
from rnnshapes.load.foreign.onnx_sizes import Axis, ComputedSizes, match_reshape, product
from rnnshapes.load.foreign.tensors import FLOATS, Tensor
from rnnshapes.ops.onnx_ops import OnnxNode

#: Numbers of an array that is read to see whether they are zero: a state, or what one is made of.
_MOST_ZEROS, _MOST_SHARED = 1_000_000, 1000
#: Layers whose last states are joined.
_MOST_STATES = 100
#: Operators that make zeros of zeros.
_ZEROS = (
    *("Cast", "Concat", "Expand", "Identity", "Reshape"),
    *("Slice", "Split", "Squeeze", "Unsqueeze"),
)
#: The numbers of float32, float16 and float64 in ONNX.
_FLOAT32, _FLOAT16, _FLOAT64 = 1, 10, 11
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
#: The axes of the input, by their positions.
_INPUT = ("0", "1", "2")
#: The axis of one step, of size 1.
_ONE_STEP = "t"
_MERGES = MappingProxyType({"Add": "sum", "Mul": "mul"})


class _NoChainError(Exception):
    """Something in the graph is not part of a chain."""


@dataclass(frozen=True)
class _Value:
    """A tensor of the chain.

    Attributes:
        link: The number of the layer that it comes from, -1 for the input.
        axes: Letters of each axis: N samples, T steps, t one step, D directions, F features;
            several for a joined axis. Those of the input are 0, 1 and 2 until a recurrent operator
            takes it.
        ways: The directions that it holds, in order.
        last: Whether it is that of the last step.
        is_cell_state: Whether it is c of an LSTM, which no layer takes.
        width: The size of F; 0 in the input until a recurrent operator takes it.
    """

    link: int
    axes: tuple[str, ...]
    ways: tuple[int, ...] = ()
    last: bool = False
    is_cell_state: bool = False
    width: int = 0

    @property
    def has_directions(self) -> bool:
        """Whether an axis is that of directions."""
        return any("D" in axis for axis in self.axes)

    @property
    def is_state(self) -> bool:
        """Whether it is the last state of directions that are not merged."""
        return self.last and (self.has_directions or len(self.ways) == 1)

    def merged(self, merge: str) -> _Value:
        """Return the value with both directions in one axis F."""
        return replace(self, ways=(0, 1), width=self.width * (2 if merge == "concat" else 1))


@dataclass(frozen=True)
class _LastStates:
    """The last states of several layers, one after the other along the axis of directions."""

    values: tuple[_Value, ...]
    is_state: ClassVar[bool] = True

    def select(self, index: int) -> _Value:
        """Return one of them. Raises _NoChainError if there is no such one."""
        states = [(value, way) for value in self.values for way in value.ways]
        if not -len(states) <= index < len(states):
            raise _NoChainError
        value, way = states[index]
        return replace(value, axes=value.axes[1:], ways=(way,))


@dataclass
class _Chain:
    model: OnnxModel
    modules: Sequence[Module]
    numbers: Mapping[int, int]
    zeros: Zeros
    computed: ComputedSizes
    links: list[ChainLayer] = field(default_factory=list)
    values: dict[str, _Value | _LastStates] = field(default_factory=dict)
    sizes: dict[str, int | None] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)

    def follow(self) -> tuple[ChainLayer, ...]:
        """Return the layers. Raises _NoChainError."""
        given = set(self.model.inputs) - set(self.model.arrays)
        self.given = _with_rearranged(self.model, given & self._needed_for_states())
        inputs = [*given - self.given]
        if len(inputs) != 1 or not self.model.outputs:
            raise _NoChainError
        declared = [*self.model.inputs[inputs[0]], None, None, None]
        self.sizes = dict(zip(_INPUT, declared, strict=False))
        self.values[inputs[0]] = _Value(-1, _INPUT)
        needed = _needed_for_outputs(self.model)
        for node in self.model.nodes:
            known = [name for name in node.inputs if name in self.values]
            if not known:
                self.computed.add(node)
                continue
            values = [self.values[name] for name in known]
            if node.op_type == "Shape":
                self._add_shape(node, values[0])
                continue
            if not needed.intersection(node.outputs) and not self._is_same(node):
                continue
            results = self._results(node, values)
            self.values |= dict(zip(node.outputs, results, strict=False))
        self._check_outputs()
        return tuple(self.links)

    def _needed_for_states(self) -> set[str]:
        """Return the tensors from which initial states that may not be zeros are computed."""
        needed: set[str] = set()
        for node in reversed(self.model.nodes):
            names = node.inputs if needed.intersection(node.outputs) else ()
            if id(node) in self.numbers:
                names = (*names, *node.inputs[5:7])
            needed.update(name for name in names if not self.zeros.holds(name))
        return needed

    def _check_outputs(self) -> None:
        """Check that the first output is that of the last layer, and the others are last states."""
        first, *others = map(self.values.get, self.model.outputs)
        if not isinstance(first, _Value) or self._merged(first).link != len(self.links) - 1:
            raise _NoChainError
        for other in others:
            if other is None or not other.is_state:
                raise _NoChainError
        used = sum(isinstance(link, ChainRecurrence) for link in self.links)
        if used != len(self.modules) or any(len(axis) > 1 for axis in first.axes):
            raise _NoChainError
        _require_features_last(first)

    def _add_shape(self, node: OnnxNode, value: _Value | _LastStates) -> None:
        if isinstance(value, _Value):
            axes = [product([a.size for a in self._axes(value, group)]) for group in value.axes]
            sizes = tuple(size for size in axes if size is not None)
            if len(sizes) == len(axes):
                self.computed.add_shape(node, sizes)

    def _axes(self, value: _Value, letters: Iterable[str]) -> list[Axis]:
        """Return axes of a value by their letters."""
        fixed = {_ONE_STEP: 1, "D": len(value.ways), "F": value.width}
        return [
            Axis(letter, fixed[letter])
            if letter in fixed
            else Axis(letter, self.sizes[letter], True)
            for letter in letters
        ]

    def _results(
        self, node: OnnxNode, values: Sequence[_Value | _LastStates]
    ) -> Sequence[_Value | _LastStates]:
        plain = [value for value in values if isinstance(value, _Value)]
        if node.domain not in ("", "ai.onnx"):
            raise _NoChainError
        if len(plain) < len(values):
            return [self._selected(node, values)]
        if id(node) in self.numbers:
            return self._recurrence(node, plain)
        if node.op_type == "Concat" and all(v.last and v.axes == ("D", "N", "F") for v in plain):
            return [self._stacked(node, plain)]
        return [self._joined(node, plain) if len(plain) == 2 else self._result(node, *plain)]

    def _result(self, node: OnnxNode, value: _Value, *more: _Value) -> _Value:
        """Return what a node makes of one value."""
        if self._is_same(node):
            return value
        steps: Mapping[str, Callable[[OnnxNode, _Value], _Value]] = {
            "Transpose": self._transposed,
            "Squeeze": self._squeezed,
            "Reshape": self._reshaped,
            "Gather": self._gathered,
            "Slice": self._sliced,
            "MatMul": self._dense,
            "Gemm": self._dense,
            "Add": self._biased,
            **dict.fromkeys(_ACTIVATIONS, self._activated),
        }
        if node.op_type not in steps or more:
            raise _NoChainError
        return steps[node.op_type](node, value)

    def _is_same(self, node: OnnxNode) -> bool:
        """Return whether a node returns the numbers of its one input."""
        if node.op_type == "Dropout":  # a third input, or is_test=0, says that it is training
            return len(node.inputs) < 3 and node.attributes.get("is_test", 1) == 1
        if node.op_type == "Cast":  # of a file in float16, a line says that trace does not round
            to = node.attributes.get("to")
            return to in (_FLOAT32, _FLOAT64) or (to == _FLOAT16 and self._is_half)
        return node.op_type == "Identity"

    @cached_property
    def _is_half(self) -> bool:
        """Whether weights of a recurrence are of 16 bits."""
        layers = [layer for module in self.modules for layer in module.layers]
        return any(array.tensor.dtype == "float16" for each in layers for array in each.arrays)

    def _recurrence(self, node: OnnxNode, values: Sequence[_Value]) -> list[_Value]:
        number = self.numbers[id(node)]
        inputs = [*node.inputs, *[""] * 8]
        states = [name for name in inputs[5:7] if name]
        if len(values) != 1 or inputs[0] not in self.values or inputs[4]:
            raise _NoChainError
        if not all(self.zeros.holds(name) or name in self.given for name in states):
            raise _NoChainError
        by_sample = bool(node.attributes.get("layout"))
        axes = ("N", "T", "F") if by_sample else ("T", "N", "F")
        value = self._merged(values[0])
        layer = self.modules[number].layers[0]
        if value.link == -1:
            self._name_input(value, axes, layer.features)
        elif value.axes != axes:
            raise _NoChainError
        ways, width = tuple(range(len(layer.reverse))), layer.cell.output.value({}) or 0
        self.links.append(ChainRecurrence(number))
        link = len(self.links) - 1
        sequence, last = ("NTDF", "NDF") if by_sample else ("TDNF", "DNF")
        state = _Value(link, tuple(last), ways, last=True, width=width)
        return [
            _Value(link, tuple(sequence), ways, width=width),
            state,
            replace(state, is_cell_state=True),
        ]

    def _name_input(self, value: _Value, axes: tuple[str, ...], width: int) -> None:
        """Note what the axes of the input stand for, and the size of F."""
        if sorted(value.axes) != list(_INPUT):
            raise _NoChainError
        letters = dict(zip(value.axes, axes, strict=True))
        self.sizes = {letters[axis]: self.sizes[axis] for axis in _INPUT}
        self.computed.rename({**letters, value.axes[axes.index("F")]: width})
        for name, each in self.values.items():  # the input, and what is moved of it
            if isinstance(each, _Value):
                named = tuple("".join(letters[part] for part in axis) for axis in each.axes)
                self.values[name] = replace(each, axes=named, width=width)

    def _merged(self, value: _Value) -> _Value:
        """Return a value that another layer takes, after noting what its own layer returns."""
        if value.has_directions or value.is_cell_state:
            raise _NoChainError
        link = self.links[value.link] if value.link >= 0 else None
        if value.link != len(self.links) - 1:  # -1, of the input, before there are links
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
        is_pair = first.ways == (0,) and replace(first, ways=(1,)) == second
        if not is_pair or len(node.inputs) != 2 or first.has_directions:
            raise _NoChainError
        _require_features_last(first)
        link = self.links[first.link]
        assert isinstance(link, ChainRecurrence)  # no other layer has directions
        merge = _MERGES.get(node.op_type)
        if node.op_type == "Concat":
            axis = node.attributes.get("axis")
            merge = "concat" if axis in (-1, len(first.axes) - 1) else None
        if merge is None:
            raise _NoChainError
        self.links[first.link] = replace(link, merge_mode=merge)
        return first.merged(merge)

    def _stacked(self, node: OnnxNode, values: Sequence[_Value]) -> _LastStates:
        """Return the last states of several layers."""
        if not len(values) == len(node.inputs) <= _MOST_STATES or node.attributes.get(
            "axis"
        ) not in (0, -3):
            raise _NoChainError
        return _LastStates(tuple(values))

    def _selected(self, node: OnnxNode, values: Sequence[_Value | _LastStates]) -> _Value:
        """Return one of the last states of several layers."""
        (states, *more) = values
        if more or not isinstance(states, _LastStates) or node.op_type != "Gather":
            raise _NoChainError
        if node.attributes.get("axis", 0) not in (0, -3):
            raise _NoChainError
        return states.select(self._index(node))

    def _index(self, node: OnnxNode) -> int:
        """Return the one index that a Gather node takes."""
        tensor = self.model.arrays.get(node.inputs[1]) if len(node.inputs) == 2 else None
        if tensor is None or tensor.shape != ():
            raise _NoChainError
        return self._numbers(node, 1, None)[0]

    def _transposed(self, node: OnnxNode, value: _Value) -> _Value:
        order = _integers(node.attributes.get("perm", list(range(len(value.axes)))[::-1]))
        if sorted(order) != list(range(len(value.axes))):
            raise _NoChainError
        return replace(value, axes=tuple(value.axes[axis] for axis in order))

    def _squeezed(self, node: OnnxNode, value: _Value) -> _Value:
        axes = self._numbers(node, 1, node.attributes.get("axes"))
        gone = [value.axes[axis] for axis in axes if -len(value.axes) <= axis < len(value.axes)]
        ones = [_ONE_STEP, "D"] if len(value.ways) == 1 else [_ONE_STEP]
        if len(gone) != 1 or gone[0] not in ones:
            raise _NoChainError
        return replace(value, axes=tuple(axis for axis in value.axes if axis != gone[0]))

    def _reshaped(self, node: OnnxNode, value: _Value) -> _Value:
        """Return directions beside each other in the last axis, or joined or parted axes."""
        sizes = self.computed.of(node.inputs[1]) if len(node.inputs) == 2 else None
        if sizes is None or (node.attributes.get("allowzero") and 0 in sizes):
            raise _NoChainError
        letters = "".join(value.axes)
        if len(value.ways) == 1:  # an axis of one direction comes and goes
            letters = letters.replace("D", "").replace(_ONE_STEP, "")
        axes = match_reshape(self._axes(value, letters), sizes, value.axes)
        if axes is None:
            raise _NoChainError
        if axes[-1] == "DF":
            return replace(value.merged("concat"), axes=(*axes[:-1], "F"), ways=value.ways)
        return replace(value, axes=axes)

    def _gathered(self, node: OnnxNode, value: _Value) -> _Value:
        """Return one direction, or the last step of one, without its axis."""
        chosen, axis = self._chosen(value, node.attributes.get("axis", 0), self._index(node))
        return replace(chosen, axes=(*chosen.axes[:axis], *chosen.axes[axis + 1 :]))

    def _sliced(self, node: OnnxNode, value: _Value) -> _Value:
        """Return one direction, or the last step of one, as an axis of size 1."""
        if len(node.inputs) == 5 and self._numbers(node, 4, None) != [1]:
            raise _NoChainError
        starts, ends, axes = (
            self._numbers(node, position, node.attributes.get(name))
            for position, name in enumerate(("starts", "ends", "axes"), start=1)
        )
        is_one = [ends[0] == start + 1 or (start == -1 and ends[0] > 2**30) for start in starts]
        if is_one != [True] or len(ends) != 1 or len(axes) != 1 or (starts, ends) == ([-1], [0]):
            raise _NoChainError
        return self._chosen(value, axes[0], starts[0])[0]

    def _chosen(self, value: _Value, axis: Any, index: int) -> tuple[_Value, int]:
        """Return a value at an index along an axis, which keeps its place, and this axis.

        Raises _NoChainError for anything but a direction, and the last step of one.
        """
        if not isinstance(axis, int) or not -len(value.axes) <= axis < len(value.axes):
            raise _NoChainError
        axis %= len(value.axes)
        name = value.axes[axis]
        if name == "D" and -len(value.ways) <= index < len(value.ways):
            return replace(value, ways=(value.ways[index],)), axis
        if name != "T" or len(value.ways) != 1:
            raise _NoChainError
        link = self.links[value.link]
        assert isinstance(link, ChainRecurrence)  # no other layer has directions
        is_reverse = self.modules[link.module].layers[0].reverse[value.ways[0]]
        if index != (0 if is_reverse else -1):
            raise _NoChainError
        return replace(
            value, axes=(*value.axes[:axis], _ONE_STEP, *value.axes[axis + 1 :]), last=True
        ), axis

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
            len(value.axes) != 2
            or attributes.get("transA")
            or any(attributes.get(name, 1.0) != 1.0 for name in ("alpha", "beta"))
            or (bias is not None and not _is_float(bias, 1))
        ):
            raise _NoChainError
        _require_features_last(value)
        if len(arrays) > 2 and bias is None and node.inputs[2]:
            raise _NoChainError
        assert kernel is not None
        is_transposed = bool(attributes.get("transB"))
        if bias is not None and bias.shape != (kernel.shape[not is_transposed],):
            raise _NoChainError
        self.links.append(ChainDense(layer_name(node), kernel, is_transposed, bias))
        width = kernel.shape[not is_transposed]
        return replace(value, link=len(self.links) - 1, ways=(), last=False, width=width)

    def _biased(self, node: OnnxNode, value: _Value) -> _Value:
        others = [name for name in node.inputs if name not in self.values]
        bias = self.model.arrays.get(others[0]) if len(others) == 1 else None
        link = self._last_dense(value)
        _require_features_last(value)
        if not _is_float(bias, 1) or link.bias is not None or link.activation != "linear":
            raise _NoChainError
        assert bias is not None
        if bias.shape != (value.width,):
            raise _NoChainError
        self.links[value.link] = replace(link, bias=bias)
        return value

    def _activated(self, node: OnnxNode, value: _Value) -> _Value:
        link = self._last_dense(value)
        _require_features_last(value)
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
            not isinstance(own[key], float) or not abs(own[key] - number) <= 1e-6  # type: ignore[operator]
            for key, number in constants.items()
        ):
            raise _NoChainError
        self.links[value.link] = replace(link, activation=name)
        return value

    def _last_dense(self, value: _Value) -> ChainDense:
        link = self.links[value.link] if value.link >= 0 else None
        if not isinstance(link, ChainDense):
            raise _NoChainError
        return link

    def _numbers(self, node: OnnxNode, position: int, attribute: Any) -> list[int]:
        """Return whole numbers from a constant input, or from an attribute in older versions."""
        if len(node.inputs) > position:
            sizes = self.computed.of(node.inputs[position]) or ()
            numbers = [size for size in sizes if isinstance(size, int)]
            if not numbers or len(numbers) < len(sizes):
                raise _NoChainError
            return numbers
        return _integers(attribute)


def read_chain(
    model: OnnxModel,
    modules: Sequence[tuple[OnnxNode, Module]],
    zeros: Zeros,
    sources: Mapping[str, tuple[str, ...]],
) -> tuple[tuple[ChainLayer, ...], int | None]:
    """Return the layers of a graph in order, and its number of time steps, if that is not open.

    There are no layers if it is no chain of such layers.

    Args:
        model: The graph, with the arrays that it computes from constants.
        modules: The recurrent operators that were read.
        zeros: The tensors that are zeros.
        sources: Of arrays that the graph computes from others, the names of these.
    """
    numbers = {id(node): number for number, (node, _) in enumerate(modules)}
    computed = ComputedSizes(model.arrays, sources)
    chain = _Chain(model, [module for _, module in modules], numbers, zeros, computed)
    try:
        return chain.follow(), chain.sizes.get("T")
    except _NoChainError:
        return (), None


def _integers(attribute: Any) -> list[int]:
    """Return an attribute that is a list of integers. Raises _NoChainError for any other."""
    if not isinstance(attribute, list) or not all(isinstance(n, int) for n in attribute):
        raise _NoChainError
    return attribute


def _require_features_last(value: _Value) -> None:
    """Raise _NoChainError unless the last axis is F, along which the layers compute."""
    if value.axes[-1] != "F":
        raise _NoChainError


def _needed_for_outputs(model: OnnxModel) -> set[str]:
    """Return the tensors of which the outputs of a graph need the numbers, and not the shape."""
    needed = set(model.outputs)
    for node in reversed(model.nodes):
        if node.op_type != "Shape" and needed.intersection(node.outputs):
            needed.update(node.inputs)
    return needed


def _with_rearranged(model: OnnxModel, names: set[str]) -> set[str]:
    """Return the names, and those of tensors that only rearrange their numbers."""
    made = set(names)
    for node in model.nodes:
        is_move = node.op_type in (*_ZEROS, "Gather", "Transpose")
        if is_move and made.issuperset(_rearranged(node)):
            made.update(node.outputs)
    return made


def _rearranged(node: OnnxNode) -> list[str]:
    """Return the inputs whose numbers a node rearranges; the others are axes and sizes."""
    return node.inputs if node.op_type == "Concat" else node.inputs[:1]


class Zeros:
    """The tensors of a graph that are certainly zeros: constants, and what follows from them."""

    def __init__(self, model: OnnxModel) -> None:
        self.model = model
        self._known: dict[str, bool] = {}
        for node in model.nodes:
            if model.arrays.keys() & set(node.outputs):
                continue
            if node.op_type == "ConstantOfShape":
                value = node.attributes.get("value")
                is_made = value is None or (isinstance(value, Tensor) and _is_zero(value, 1))
            else:
                is_made = node.op_type in _ZEROS and all(
                    self.holds(name, _MOST_SHARED) for name in _rearranged(node)
                )
            self._known |= dict.fromkeys(node.outputs, is_made)

    def holds(self, name: str, most: int = _MOST_ZEROS) -> bool:
        """Return whether a tensor is certainly zeros; a constant has at most ``most`` numbers."""
        tensor = self.model.arrays.get(name)
        if name not in self._known and tensor is not None:
            self._known[name] = _is_zero(tensor, most)
        return self._known.get(name, False)


def _is_zero(tensor: Tensor, most: int) -> bool:
    if tensor.count > most:
        return False
    import numpy as np

    try:
        with np.errstate(invalid="ignore"):
            return not tensor.read().any()
    except InputError:  # its numbers are not in the file
        return False


def _is_float(tensor: Tensor | None, rank: int) -> bool:
    return tensor is not None and tensor.dtype in FLOATS and len(tensor.shape) == rank
