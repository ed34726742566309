"""The recording interpreter: each operation of an equation with its shapes and its arrays.

It evaluates an equation over symbolic shapes and over NumPy arrays at the same time. Golden files
(:mod:`rnnshapes.forward.golden`) take the intermediate values from it, a single step shown in full
(:mod:`rnnshapes.forward.step_view`) every operation.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from rnnshapes.ops.activations import Array
from rnnshapes.ops.constant import Constant
from rnnshapes.ops.contraction import Contraction
from rnnshapes.ops.dims import Dim, Shape
from rnnshapes.ops.elementwise import Elementwise
from rnnshapes.ops.interface import map_outputs, next_states
from rnnshapes.ops.numpy_ops import NumpyOps
from rnnshapes.ops.rearrangements import Rearrangement
from rnnshapes.ops.symbolic import Symbol, SymbolicOperation, SymbolicOps
from rnnshapes.ops.visibility import Visibility
from rnnshapes.ops.windows import Axes, Window

_SAMPLES = Dim.named("N")


class RecordedEquation(NamedTuple):
    """``names`` = ``text``: values that the equation gives a name, all of one shape.

    ``end`` is how many operations had been recorded when they got it.
    """

    names: tuple[str, ...]
    text: str
    values: tuple[RecordedTensor, ...]
    end: int

    def __str__(self) -> str:
        return f"{' '.join(self.names)} = {self.text}"


class Intermediate(NamedTuple):
    """A value worth comparing, and how it is computed: ``i_t = sigmoid(z_i)``, ``h_{t-1} Wh``."""

    text: str
    value: RecordedTensor


@dataclass(eq=False)
class Recording:
    """All that was computed, in order.

    ``results`` holds for each of the ``operations`` its results, as text and array. The
    ``intermediates`` are products of matrices, their operands without a name, parts of a split,
    arguments of activations and values with a name, as far as they have samples. Without
    ``with_arrays`` only shapes and texts are recorded, which is possible for the step of a cell.
    """

    with_arrays: bool = True
    operations: list[SymbolicOperation] = field(default_factory=list)
    results: list[tuple[tuple[str, Array], ...]] = field(default_factory=list)
    equations: list[RecordedEquation] = field(default_factory=list)
    intermediates: list[Intermediate] = field(default_factory=list)

    def tensor(self, text: str, shape: Shape, array: Array | None = None) -> RecordedTensor:
        """Return a value that the equation starts from, or that has this name from here on."""
        return RecordedTensor(Symbol(text, shape, self.operations), array, self)

    def add(
        self, symbols: Sequence[Symbol], arrays: Sequence[Array | None]
    ) -> list[RecordedTensor]:
        """Record the results of the last operation, or of a few operations together."""
        while len(self.results) + 1 < len(self.operations):
            self.results.append(())
        if len(self.results) < len(self.operations):
            results = zip(symbols, arrays, strict=True)
            self.results.append(tuple((s.text, a) for s, a in results if a is not None))
        return [RecordedTensor(s, a, self) for s, a in zip(symbols, arrays, strict=True)]

    def define(self, names: Sequence[str], text: str, values: Sequence[RecordedTensor]) -> None:
        """Record that ``values``, all of one shape, have these names from here on."""
        equation = RecordedEquation(tuple(names), text, tuple(values), len(self.operations))
        self.equations.append(equation)

    def note(self, value: RecordedTensor, text: str = "") -> RecordedTensor:
        """Record an intermediate value; values that depend on weights alone are not recorded."""
        if value.symbol.shape[:1] == (_SAMPLES,):
            self.intermediates.append(Intermediate(text or value.symbol.text, value))
        return value


@dataclass(frozen=True, eq=False)
class RecordedTensor:
    """A value as a symbol and as an array; ``data`` is ``None`` where only texts are recorded."""

    symbol: Symbol
    data: Array | None
    recording: Recording

    @property
    def array(self) -> Array:
        """The array, in a recording that has arrays."""
        assert self.data is not None
        return self.data

    def __matmul__(self, other: RecordedTensor) -> RecordedTensor:
        unnamed = self.symbol.index is not None
        left = self.recording.note(self) if unnamed else self
        return self.recording.note(left._combine(operator.matmul, other))

    def __add__(self, other: RecordedTensor | float) -> RecordedTensor:
        return self._combine(operator.add, other)

    def __sub__(self, other: RecordedTensor | float) -> RecordedTensor:
        return self._combine(operator.sub, other)

    def __mul__(self, other: RecordedTensor | float) -> RecordedTensor:
        return self._combine(operator.mul, other)

    def __truediv__(self, other: RecordedTensor | float) -> RecordedTensor:
        return self._combine(operator.truediv, other)

    def __rtruediv__(self, other: float) -> RecordedTensor:
        return self._combine(lambda value, constant: constant / value, other)

    def __neg__(self) -> RecordedTensor:
        return self._combine(lambda value, _: -value, 0.0)

    def __rsub__(self, other: float) -> RecordedTensor:
        return self._combine(lambda value, constant: constant - value, other)

    def _combine(
        self, function: Callable[[Any, Any], Any], other: RecordedTensor | float
    ) -> RecordedTensor:
        symbol = function(self.symbol, _symbols(other))
        array = function(self.array, _arrays(other)) if self.recording.with_arrays else None
        return self.recording.add((symbol,), (array,))[0]


class RecorderOps:
    """The operations of the recording interpreter that are not operators.

    ``index`` tells layers apart in names (``h2_t``), ``step`` is what a name ends in at this
    step: ``_t``, ``_3``, or nothing. ``numbers`` is the interpreter of the numbers, NumPy's by
    default.
    """

    def __init__(
        self, recording: Recording, index: str = "", step: str = "_t", numbers: Any = None
    ) -> None:
        self.recording, self.index, self.step = recording, index, step
        self._symbolic, self._numpy = SymbolicOps(index), numbers or NumpyOps()

    def activate(self, name: str, z: RecordedTensor) -> RecordedTensor:
        """Apply the activation ``name``."""
        return self._apply("activate", name, self.recording.note(z))

    def split(self, z: RecordedTensor, base: str, parts: tuple[str, ...]) -> list[RecordedTensor]:
        """Split the last axis into equal parts."""
        values = self._apply_many("split", z, base, parts)
        self.recording.define([v.symbol.text for v in values], z.symbol.text, values)
        text = str(self.recording.equations[-1])
        return [self.recording.note(value, text) for value in values]

    def rows(self, b: RecordedTensor, names: tuple[str, ...]) -> list[RecordedTensor]:
        """Return the rows of ``b``."""
        return self._apply_many("rows", b, names)

    def let(self, name: str, value: RecordedTensor) -> RecordedTensor:
        """Return ``value`` with the name that it has at this step."""
        named = self.named(f"{name}{self.index}{self.step}", value)
        return self.recording.note(named, str(self.recording.equations[-1]))

    def named(self, name: str, value: RecordedTensor) -> RecordedTensor:
        """Return ``value`` with exactly this name."""
        self.recording.define([name], value.symbol.text, [value])
        return self.recording.tensor(name, value.symbol.shape, value.data)

    def within(self, suffix: str) -> RecorderOps:
        """Return these operations for a part of the layer, whose names end in ``suffix``."""
        return type(self)(self.recording, suffix + self.index, self.step, self._numpy)

    def concatenate(
        self, values: Sequence[RecordedTensor], axis: int = -1, length: Dim | None = None
    ) -> RecordedTensor:
        """Join the values along an axis."""
        return self._apply("concatenate", values, axis, length)

    def constant(
        self, values: Constant, like: RecordedTensor, shape: Shape | None = None
    ) -> RecordedTensor:
        """Return the numbers of a constant."""
        array = self._numpy.constant(values, like.array)
        return self.recording.tensor(str(values), shape or values.shape, array)

    def aligned(self, values: Sequence[RecordedTensor]) -> Sequence[RecordedTensor]:
        """Return the values with shapes that can be combined element by element."""
        return self._apply_many("aligned", values)

    def take(self, table: RecordedTensor, indices: RecordedTensor) -> RecordedTensor:
        """Return the rows of ``table`` with these integer indices."""
        return self._apply("take", table, indices)

    def rearrange(self, x: RecordedTensor, function: Rearrangement) -> RecordedTensor:
        """Move, select, repeat or pad numbers."""
        return self._apply("rearrange", x, function)

    def windows(self, x: RecordedTensor, windows: Sequence[Window]) -> RecordedTensor:
        """Cut windows along the axes from 1 on: (N, T, F) → (N, T', size, F)."""
        return self._apply("windows", x, windows)

    def rank(self, x: RecordedTensor) -> int:
        """Return the number of axes."""
        return len(x.symbol.shape)

    def each_step(
        self, function: Callable[..., Any], inputs: Sequence[RecordedTensor], rank: int
    ) -> Any:
        """Apply a function to each step of tensors (N, T, …), or to (N, …) as they are."""
        if len(inputs[0].symbol.shape) == rank:
            return function(*inputs)
        dims, sizes = inputs[0].symbol.shape[:2], inputs[0].array.shape[:2]

        def folded(x: RecordedTensor) -> RecordedTensor:
            symbol = replace(x.symbol, shape=(dims[0], *x.symbol.shape[2:]))
            return replace(x, symbol=symbol, data=x.array.reshape(-1, *x.array.shape[2:]))

        def unfolded(x: RecordedTensor) -> RecordedTensor:
            symbol = replace(x.symbol, shape=(*dims, *x.symbol.shape[1:]))
            return replace(x, symbol=symbol, data=x.array.reshape(*sizes, *x.array.shape[1:]))

        return map_outputs(unfolded, function(*map(folded, inputs)))

    def scan(
        self,
        step: Callable[[RecordedTensor, Sequence[RecordedTensor]], Sequence[RecordedTensor]],
        z: RecordedTensor,
        multiple: int,
        names: tuple[str, ...],
        *,
        reverse: bool,
        mask: Array | None = None,
    ) -> RecordedTensor:
        """Take one step after the other, and return the first state after each, (N, T, …, M)."""
        recording, (n, steps, *rest) = self.recording, z.symbol.shape
        shape = (n, *rest[:-1], rest[-1].divided(multiple))
        data = np.moveaxis(z.array, 1, 0)
        zeros = np.zeros_like(data[0, ..., ::multiple])
        before = "{t+1}" if reverse else "{t-1}"
        states: Sequence[RecordedTensor] = [
            recording.tensor(f"{name}{self.index}_{before}", shape, zeros) for name in names
        ]
        after = []
        for t in range(len(data))[:: -1 if reverse else 1]:
            z_t = RecordedTensor(replace(z.symbol, shape=(n, *rest)), data[t], recording)
            states = next_states(self, step(z_t, states), states, mask, t)
            after.append(states[0])
        arrays = [state.array for state in after[:: -1 if reverse else 1]]
        symbol = replace(states[0].symbol, shape=(n, steps, *shape[1:]))
        return RecordedTensor(symbol, np.stack(arrays, axis=1), recording)

    def contract(
        self, contraction: Contraction, left: RecordedTensor, right: RecordedTensor
    ) -> RecordedTensor:
        """Multiply, and sum over axes."""
        return self._apply("contract", contraction, left, right)

    def averages(self, x: RecordedTensor, windows: Sequence[Window]) -> RecordedTensor:
        """Return the mean of each window along the axes from 1 on: (N, T, F) → (N, T', F)."""
        return self._apply("averages", x, windows)

    def mean(self, x: RecordedTensor, axis: Axes, count: Array | None = None) -> RecordedTensor:
        """Return the mean over ``axis``, or the sum divided by ``count``."""
        return self._apply("mean", x, axis, count)

    def attention_weights(
        self, scores: RecordedTensor, visibility: Visibility, mask: RecordedTensor | None = None
    ) -> RecordedTensor:
        """Return the softmax of scores (N, …, queries, keys) over the visible keys."""
        return self._apply("attention_weights", scores, visibility, mask)

    def widen(self, x: RecordedTensor) -> RecordedTensor:
        """Return the same numbers in float32, if their dtype has 16 bits."""
        return x

    def narrow(self, x: RecordedTensor, other: RecordedTensor) -> RecordedTensor:
        """Return the same numbers, rounded to the dtype of another tensor."""
        return x

    def define(self, name: str, value: RecordedTensor) -> RecordedTensor:
        """Return ``value``, written ``name`` from here on."""
        return self.named(f"{name}{self.index}", value)

    def max(self, x: RecordedTensor, axis: Axes) -> RecordedTensor:
        """Return the largest value over ``axis``."""
        return self._apply("max", x, axis)

    def reduce(
        self, name: str, x: RecordedTensor, axes: tuple[int, ...], keepdims: bool
    ) -> RecordedTensor:
        """Return the ``sum``, ``mean``, ``max`` or ``min`` over axes."""
        return self._apply("reduce", name, x, axes, keepdims)

    def rsqrt(self, x: RecordedTensor) -> RecordedTensor:
        """Return 1 / sqrt(x)."""
        return self._apply("rsqrt", x)

    def elementwise(self, x: RecordedTensor, function: Elementwise) -> RecordedTensor:
        """Apply a monotone function to each number."""
        return self._apply("elementwise", x, function)

    def maximum(self, x: RecordedTensor, y: RecordedTensor) -> RecordedTensor:
        """Return the larger one of each two numbers."""
        return self._apply("maximum", x, y)

    def minimum(self, x: RecordedTensor, y: RecordedTensor) -> RecordedTensor:
        """Return the smaller one of each two numbers."""
        return self._apply("minimum", x, y)

    def compare(self, relation: str, x: RecordedTensor, y: RecordedTensor) -> RecordedTensor:
        """Return 1 where a relation holds between two numbers, and 0 elsewhere."""
        return self._apply("compare", relation, x, y)

    def choose(
        self, condition: RecordedTensor, x: RecordedTensor, y: RecordedTensor
    ) -> RecordedTensor:
        """Return ``x`` where the condition is not 0, and ``y`` elsewhere."""
        return self._apply("choose", condition, x, y)

    def where(self, mask: Array, x: RecordedTensor, other: Any) -> RecordedTensor:
        """Return ``x`` at steps where the mask is true, and ``other`` elsewhere."""
        return self._apply("where", mask, x, other)

    def _apply(self, operation: str, *arguments: Any) -> RecordedTensor:
        """Return the result of one operation, in symbols and as an array."""
        symbol = getattr(self._symbolic, operation)(*map(_symbols, arguments))
        array = None
        if self.recording.with_arrays:
            array = getattr(self._numpy, operation)(*map(_arrays, arguments))
        return self.recording.add((symbol,), (array,))[0]

    def _apply_many(self, operation: str, *arguments: Any) -> list[RecordedTensor]:
        """Return the results of one operation that has several."""
        symbols = getattr(self._symbolic, operation)(*map(_symbols, arguments))
        arrays = [None] * len(symbols)
        if self.recording.with_arrays:
            arrays = getattr(self._numpy, operation)(*map(_arrays, arguments))
        return self.recording.add(symbols, arrays)


def _symbols(value: Any) -> Any:
    """Return the symbols of recorded values; anything else stays as it is."""
    if isinstance(value, list | tuple):
        return type(value)(_symbols(each) for each in value)
    return value.symbol if isinstance(value, RecordedTensor) else value


def _arrays(value: Any) -> Any:
    """Return the arrays of recorded values; anything else stays as it is."""
    if isinstance(value, list | tuple):
        return type(value)(_arrays(each) for each in value)
    return value.array if isinstance(value, RecordedTensor) else value
