"""The symbolic interpreter: shapes, formulas, and the multiply-adds of each operation.

A :class:`Symbol` is a tensor of which only the text and the shape are known. Each operation on
symbols checks that their shapes fit, and is appended to a list of operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

from rnnshapes.ops.constant import Constant
from rnnshapes.ops.contraction import Contraction
from rnnshapes.ops.dims import Dim, Shape, product, shape_text, total
from rnnshapes.ops.elementwise import Elementwise
from rnnshapes.ops.interface import RELATIONS, map_outputs
from rnnshapes.ops.rearrangements import Rearrangement, Selection
from rnnshapes.ops.visibility import Visibility
from rnnshapes.ops.windows import Axes, Window, window_axes

#: Stands for an operand that the lines before have written out.
ABOVE = "…"


@dataclass(frozen=True)
class SymbolicOperation:
    """One operation of an equation, as shapes.

    Attributes:
        label: Its text, in which longer operands are shortened to ``…``.
        symbol: ``·``, ``+``, ``-``, ``×`` (element by element), ``split`` or the name of an
            activation.
        operands: The shapes of its operands.
        shape: The shape of its result.
        macs: Its multiply-adds, which only a product of matrices has.
    """

    label: str
    symbol: str
    operands: tuple[Shape, ...]
    shape: Shape
    macs: Dim


class ShapeMismatchError(TypeError):
    """An equation combines tensors whose shapes do not fit: the equation is wrong."""


@dataclass(frozen=True, eq=False)
class Symbol:
    """A tensor known by its text and its shape.

    ``operations`` is the list to which operations on it are appended; ``index`` is the place
    there of the operation that computed it, ``None`` for a tensor with a name.
    """

    text: str
    shape: Shape
    operations: list[SymbolicOperation]
    index: int | None = None

    @property
    def short(self) -> str:
        """The text of a name or of a product of two, ``…`` for anything longer."""
        return self.text if self.text.count(" ") <= 1 and "(" not in self.text else ABOVE

    @property
    def factor(self) -> str:
        """The text as a part of a product: a sum or a product gets brackets."""
        signs_outside = {"+", "-", "×", "/", *RELATIONS} & set(
            outside_brackets(self.text).split(" ")
        )
        return f"({self.text})" if signs_outside else self.text

    def __matmul__(self, other: Symbol) -> Symbol:
        if self.shape[-1:] != other.shape[:1] or len(other.shape) != 2:
            raise ShapeMismatchError(_mismatch(self, "·", other))
        shape = (*self.shape[:-1], other.shape[-1])
        macs = product(self.shape) * other.shape[-1]
        label = f"{self.short} {other.text}"
        return self._result(f"{self.factor} {other.text}", label, "·", (other,), shape, macs)

    def __add__(self, other: Symbol | float) -> Symbol:
        if not isinstance(other, Symbol):
            return self._result(f"{self.text} + {other:g}", f"{self.short} + {other:g}", "+")
        return self._elementwise(f"{self.text} + {other.text}", "+", other)

    def __sub__(self, other: Symbol | float) -> Symbol:
        if not isinstance(other, Symbol):
            return self._result(f"{self.text} - {other:g}", f"{self.short} - {other:g}", "-")
        return self._elementwise(f"{self.text} - {other.factor}", "-", other)

    def __mul__(self, other: Symbol | float) -> Symbol:
        if not isinstance(other, Symbol):
            return self._result(f"{self.factor} × {other:g}", f"{self.short} × {other:g}", "×")
        return self._elementwise(f"{self.factor} × {other.factor}", "×", other)

    def __truediv__(self, other: Symbol | float) -> Symbol:
        if not isinstance(other, Symbol):
            return self._result(f"{self.factor} / {other:g}", f"{self.short} / {other:g}", "/")
        return self._elementwise(f"{self.factor} / {other.factor}", "/", other)

    def __rtruediv__(self, other: float) -> Symbol:
        return self._result(f"{other:g} / {self.factor}", f"{other:g} / {self.short}", "/")

    def __neg__(self) -> Symbol:
        return self._result(f"-{self.factor}", f"-{self.short}", "-")

    def __rsub__(self, other: float) -> Symbol:
        return self._result(f"{other:g} - {self.factor}", f"{other:g} - {self.short}", "-")

    def compare(self, relation: str, other: Symbol) -> Symbol:
        """Return ``this > other``, or another relation of the two; a relation gets brackets."""
        left, right = (
            f"({text})" if set(RELATIONS) & set(outside_brackets(text).split(" ")) else text
            for text in (self.text, other.text)
        )
        return self._elementwise(f"{left} {relation} {right}", relation, other)

    def activated(self, name: str) -> Symbol:
        """Return ``name(this)``, of the same shape."""
        return self._result(f"{name}({self.text})", f"{name}({self.short})", name)

    def apply(self, function: str, others: Sequence[Symbol], shape: Shape) -> Symbol:
        """Return ``function(this, others)``, of another shape."""
        texts = ", ".join(value.text for value in (self, *others))
        shorts = ", ".join(value.short for value in (self, *others))
        text, label = f"{function}({texts})", f"{function}({shorts})"
        return self._result(text, label, function, tuple(others), shape)

    def index_rows(self, indices: Symbol) -> Symbol:
        """Return ``this[indices]``."""
        text = f"{self.text}[{indices.text}]"
        return self._result(text, text, "[ ]", (indices,), (*indices.shape, self.shape[-1]))

    def rearrange(self, function: Rearrangement) -> Symbol:
        """Return ``function(this)``: ``this[:, 0]``, ``reshape(this)``."""
        whole = self.factor if isinstance(function, Selection) else self.text
        text, label = function.text(whole), function.text(self.short)
        return self._result(text, label, function.name, (), function.shape(self.shape))

    def elementwise(self, function: Elementwise) -> Symbol:
        """Return ``function(this)``, of the same shape."""
        return self._result(function.text(self.text), function.text(self.short), function.name)

    def contract(self, contraction: Contraction, other: Symbol) -> Symbol:
        """Return the product with ``other``, summed over axes."""
        left, right, result = contraction.letters
        dims: dict[str, Dim] = {}
        for letter, dim in (
            *zip(left, self.shape, strict=True),
            *zip(right, other.shape, strict=True),
        ):
            if dims.setdefault(letter, dim) != dim:
                raise ShapeMismatchError(_mismatch(self, "·", other))
        shape, macs = tuple(dims[letter] for letter in result), product(dims.values())
        text = " ".join(contraction.texts(self.factor, other.factor))
        label = " ".join(contraction.texts(self.short, other.short))
        return self._result(text, label, "·", (other,), shape, macs)

    def _elementwise(self, text: str, sign: str, other: Symbol) -> Symbol:
        shape = _broadcast_shape(self, sign, other)
        left = ABOVE if " " in self.text else self.text
        label = f"{left} {sign} {other.short}"
        return self._result(text, label, sign, (other,), shape)

    def _result(
        self,
        text: str,
        label: str,
        sign: str,
        others: tuple[Symbol, ...] = (),
        shape: Shape | None = None,
        macs: Dim | int = 0,
    ) -> Symbol:
        """Append an operation, and return its result."""
        shape = self.shape if shape is None else shape
        operands = (self.shape, *(other.shape for other in others))
        operation = SymbolicOperation(label, sign, operands, shape, Dim.of(macs))
        self.operations.append(operation)
        return Symbol(text, shape, self.operations, len(self.operations) - 1)


class SymbolicOps:
    """The operations of the symbolic interpreter that are not operators.

    ``index`` tells the values of several layers apart; ``equations`` collects what gets a name:
    (``h_t``, ``tanh(x_t Wx + bh + h_{t-1} Wh)``). ``names`` are all names given.
    """

    def __init__(self, index: str = "") -> None:
        self.index = index
        self.equations: list[tuple[str, str]] = []
        self.names: list[str] = []

    def activate(self, name: str, z: Symbol) -> Symbol:
        """Apply the activation ``name``; ``linear`` returns ``z`` itself."""
        return z if name == "linear" else z.activated(name)

    def tensor(self, name: str, shape: Shape, operations: list[SymbolicOperation]) -> Symbol:
        """Return a tensor that no operation computes: an input, a state or a weight."""
        return Symbol(name, shape, operations)

    def split(self, z: Symbol, base: str, parts: tuple[str, ...]) -> list[Symbol]:
        """Split the last axis into equal parts, which get the names ``base_part``."""
        names = [f"{base}_{part}" for part in parts]
        shape = (*z.shape[:-1], z.shape[-1].divided(len(parts)))
        operation = SymbolicOperation(" ".join(names), "split", (z.shape,), shape, Dim.of(0))
        z.operations.append(operation)
        self.equations.append((" ".join(names), z.text))
        return [self.tensor(name, shape, z.operations) for name in names]

    def rows(self, b: Symbol, names: tuple[str, ...]) -> list[Symbol]:
        """Return the rows of ``b``, by their names."""
        return [self.tensor(name + self.index, b.shape[1:], b.operations) for name in names]

    def let(self, name: str, value: Symbol) -> Symbol:
        """Return ``value`` with the name that it has at step t."""
        return self.named(f"{name}{self.index}_t", value)

    def named(self, name: str, value: Symbol) -> Symbol:
        """Return ``value`` with exactly this name."""
        self.names.append(name)
        self.equations.append((name, value.text))
        if value.index is not None:
            operation = value.operations[value.index]
            label = f"{name} = {operation.label}"
            value.operations[value.index] = replace(operation, label=label)
        return self.tensor(name, value.shape, value.operations)

    def within(self, suffix: str) -> SymbolicOps:
        """Return these operations for a part of the layer, whose names end in ``suffix``."""
        inner = copy(self)
        inner.index = suffix + self.index
        return inner

    def concatenate(
        self, values: Sequence[Symbol], axis: int = -1, length: Dim | None = None
    ) -> Symbol:
        """Join the values along an axis."""
        longest: Shape = max((v.shape for v in values), key=len)
        shape = list(longest)
        shape[axis] = total(v.shape[axis] for v in values) if length is None else length
        return values[0].apply("concatenate", values[1:], tuple(shape))

    def constant(self, values: Constant, like: Symbol, shape: Shape | None = None) -> Symbol:
        """Return a constant, written as its first numbers."""
        return self.tensor(str(values), shape or values.shape, like.operations)

    def aligned(self, values: Sequence[Symbol]) -> Sequence[Symbol]:
        """Return the values with the axes' names of the first, or of the longest of them."""
        names: Shape = max((v.shape for v in values), key=len)

        def renamed(shape: Shape) -> Shape:
            pairs = zip(names[len(names) - len(shape) :], shape, strict=True)
            return tuple(dim if 1 in (dim, name) else name for name, dim in pairs)

        return [replace(v, shape=renamed(v.shape)) for v in values]

    def take(self, table: Symbol, indices: Symbol) -> Symbol:
        """Return the rows of ``table`` with these integer indices."""
        return table.index_rows(indices)

    def rearrange(self, x: Symbol, function: Rearrangement) -> Symbol:
        """Move, select, repeat or pad numbers."""
        return x.rearrange(function)

    def windows(self, x: Symbol, windows: Sequence[Window]) -> Symbol:
        """Cut windows along the axes from 1 on: (N, T, F) → (N, T', size, F)."""
        cut = [dim for window in windows for dim in (window.steps, Dim.of(window.size))]
        return x.apply("windows", (), (x.shape[0], *cut, *x.shape[len(windows) + 1 :]))

    def rank(self, x: Symbol) -> int:
        """Return the number of axes."""
        return len(x.shape)

    def each_step(self, function: Callable[..., Any], inputs: Sequence[Symbol], rank: int) -> Any:
        """Apply a function to each step of tensors (N, T, …), or to (N, …) as they are.

        If the function returns an input unchanged, so does this: the layer has no equation.
        """
        if len(inputs[0].shape) == rank:
            return function(*inputs)

        def unfolded(value: Symbol) -> Symbol:
            for x, at_step in zip(inputs, folded, strict=True):
                if value is at_step:
                    return x
            return replace(value, shape=(value.shape[0], steps, *value.shape[1:]))

        steps = inputs[0].shape[1]
        folded = [replace(x, shape=(x.shape[0], *x.shape[2:])) for x in inputs]
        return map_outputs(unfolded, function(*folded))

    def scan(
        self,
        step: Callable[[Symbol, Sequence[Symbol]], Sequence[Symbol]],
        z: Symbol,
        multiple: int,
        names: tuple[str, ...],
        *,
        reverse: bool,
        mask: object = None,
    ) -> Symbol:
        """Take one step for all, and return the first state after each, (N, T, …, M)."""
        before = "{t+1}" if reverse else "{t-1}"
        shape = (z.shape[0], *z.shape[2:-1], z.shape[-1].divided(multiple))
        states = [
            self.tensor(f"{name}{self.index}_{before}", shape, z.operations) for name in names
        ]
        after = step(replace(z, shape=(z.shape[0], *z.shape[2:])), states)[0]
        return replace(after, shape=(after.shape[0], z.shape[1], *after.shape[1:]))

    def contract(self, contraction: Contraction, left: Symbol, right: Symbol) -> Symbol:
        """Multiply, and sum over axes."""
        return left.contract(contraction, right)

    def averages(self, x: Symbol, windows: Sequence[Window]) -> Symbol:
        """Return the mean of each window along the axes from 1 on: (N, T, F) → (N, T', F)."""
        return self.mean(self.windows(x, windows), window_axes(windows))

    def mean(self, x: Symbol, axis: Axes, count: object = None) -> Symbol:
        """Return the mean over ``axis``; the last axis stays, with length 1."""
        return x.apply("mean", (), _without_axis(x.shape, axis))

    def attention_weights(
        self, scores: Symbol, visibility: Visibility, mask: Symbol | None = None
    ) -> Symbol:
        """Return the softmax of scores (N, …, queries, keys) over the visible keys."""
        return scores.activated(visibility.name)

    def widen(self, x: Symbol) -> Symbol:
        """Return the same numbers in float32, if their dtype has 16 bits."""
        return x

    def narrow(self, x: Symbol, other: Symbol) -> Symbol:
        """Return the same numbers, rounded to the dtype of another tensor."""
        return x

    def define(self, name: str, value: Symbol) -> Symbol:
        """Return ``value``, written ``name`` from here on."""
        return self.named(f"{name}{self.index}", value)

    def max(self, x: Symbol, axis: Axes) -> Symbol:
        """Return the largest value over ``axis``."""
        return x.apply("max", (), _without_axis(x.shape, axis))

    def reduce(self, name: str, x: Symbol, axes: tuple[int, ...], keepdims: bool) -> Symbol:
        """Return the ``sum``, ``mean``, ``max`` or ``min`` over axes."""
        reduced = {axis % len(x.shape) for axis in axes}
        shape = [Dim.of(1) if i in reduced else dim for i, dim in enumerate(x.shape)]
        kept = tuple(dim for i, dim in enumerate(shape) if keepdims or i not in reduced)
        return x.apply(name, (), kept)

    def rsqrt(self, x: Symbol) -> Symbol:
        """Return 1 / sqrt(x)."""
        return x.activated("rsqrt")

    def elementwise(self, x: Symbol, function: Elementwise) -> Symbol:
        """Apply a monotone function to each number."""
        return x.elementwise(function)

    def maximum(self, x: Symbol, y: Symbol) -> Symbol:
        """Return the larger one of each two numbers."""
        return x.apply("max", (y,), _broadcast_shape(x, "max", y))

    def minimum(self, x: Symbol, y: Symbol) -> Symbol:
        """Return the smaller one of each two numbers."""
        return x.apply("min", (y,), _broadcast_shape(x, "min", y))

    def compare(self, relation: str, x: Symbol, y: Symbol) -> Symbol:
        """Return 1 where a relation holds between two numbers, and 0 elsewhere."""
        return x.compare(relation, y)

    def choose(self, condition: Symbol, x: Symbol, y: Symbol) -> Symbol:
        """Return ``x`` where the condition is not 0, and ``y`` elsewhere."""
        chosen = replace(x, shape=_broadcast_shape(x, "where", y))
        return condition.apply("where", (x, y), _broadcast_shape(condition, "where", chosen))

    def where(self, mask: object, x: Symbol, other: object) -> Symbol:
        """Return ``x`` at steps where the mask is true, and ``other`` elsewhere."""
        return x.activated("unmasked")


class ShapeOps(SymbolicOps):
    """The symbolic interpreter with each tensor written as its shape.

    An equation then reads (``(1,5)``, ``tanh((1,3) (3,5) + (5,) + (1,5) (5,5))``). ``write``
    returns the text of a shape.
    """

    def __init__(self, write: Callable[[Shape], str], index: str = "") -> None:
        super().__init__(index)
        self._write = write

    def tensor(self, name: str, shape: Shape, operations: list[SymbolicOperation]) -> Symbol:
        return super().tensor(self._write(shape), shape, operations)

    def split(self, z: Symbol, base: str, parts: tuple[str, ...]) -> list[Symbol]:
        symbols = super().split(z, base, parts)
        self._name_last_equation(f"{len(parts)} × {symbols[0].text}")
        return symbols

    def named(self, name: str, value: Symbol) -> Symbol:
        symbol = super().named(name, value)
        self._name_last_equation(symbol.text)
        return symbol

    def _name_last_equation(self, name: str) -> None:
        self.equations[-1] = (name, self.equations[-1][1])


def outside_brackets(text: str) -> str:
    """Return what of a text is not in round brackets."""
    depth, outside = 0, []
    for character in text:
        depth += (character == "(") - (character == ")")
        outside.append(character if depth == 0 else "")
    return "".join(outside)


def _broadcast(left: Shape, right: Shape) -> Shape | None:
    """Return the shape of both together, as in NumPy; ``None`` if they do not fit."""
    longer, shorter = sorted((left, right), key=len, reverse=True)
    shape = list(longer)
    for axis, dim in enumerate(shorter, len(longer) - len(shorter)):
        if shape[axis] == 1:
            shape[axis] = dim
        elif dim not in (1, shape[axis]):
            return None
    return tuple(shape)


def _broadcast_shape(left: Symbol, sign: str, right: Symbol) -> Shape:
    shape = _broadcast(left.shape, right.shape)
    if shape is None:
        raise ShapeMismatchError(_mismatch(left, sign, right))
    return shape


def _without_axis(shape: Shape, axis: Axes) -> Shape:
    if axis == -1:
        return (*shape[:-1], Dim.of(1))
    axes = (axis,) if isinstance(axis, int) else axis
    return tuple(dim for number, dim in enumerate(shape) if number not in axes)


def _mismatch(left: Symbol, sign: str, right: Symbol) -> str:
    shapes = f"{shape_text(left.shape)} {sign} {shape_text(right.shape)}"
    return f"{left.text} {sign} {right.text}: shapes {shapes} do not fit"
