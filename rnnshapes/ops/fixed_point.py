"""The fixed-point interpreter: arrays as integers of few bits hold them, beside exact ones.

A :class:`FixedPoint` holds numbers twice: as they are in fixed point, and in float64. What an
equation stores is rounded to a :class:`Format`: the operands of matrix products, the parts of a
split, values with a name, and in cells the arguments of activations, and their results from -1 to
1. Sums and products in between are exact, as in accumulators of 32 or 64 bits.
Source of the widths of ``int8`` and ``int16``: LSTM of TensorFlow Lite and CMSIS-NN
(``tensorflow/lite/kernels/lstm_eval.cc``, ``arm_lstm_unidirectional_s8``).
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from rnnshapes.errors import InputError
from rnnshapes.ops.activations import Array
from rnnshapes.ops.interface import KERAS2_HARD_SIGMOID, map_outputs, next_states
from rnnshapes.ops.numpy_ops import NumpyOps

#: The name of the state that is the output of a cell, and an operand of the next product.
OUTPUT = "h"
#: Bits of a bias where weights have their own scales.
_BIAS_BITS = 32
#: Activations with results from -1 to 1.
_BOUNDED = frozenset(
    {"tanh", "sigmoid", "hard_sigmoid", KERAS2_HARD_SIGMOID, "hard_tanh", "softsign"}
    | {"sparse_sigmoid", "softmax"}
)
#: Bits of a number in the format Qm.n, at most.
_MOST_BITS = 32
_NUMPY = NumpyOps()


class Format(NamedTuple):
    """Integers from ``lowest`` to ``highest``, in units of ``scale``, or of one for each column."""

    name: str
    bits: int
    scale: float | Array
    lowest: int
    highest: int

    def rounded(self, values: Array) -> tuple[Array, Array]:
        """Return the nearest numbers of the format, and which of the values are beyond its ends.

        Halves are rounded up, as ``(a + (1 << (n - 1))) >> n`` does.
        """
        numbers = np.floor(values / self.scale + 0.5)
        beyond = (numbers < self.lowest) | (numbers > self.highest)
        return np.clip(numbers, self.lowest, self.highest) * self.scale, beyond


@dataclass(frozen=True)
class Scheme:
    """Bits of weights, of operands of matrix products (x and h), and of all other values.

    With ``fraction`` bits behind the point all have one format, Qm.n. Otherwise each array of
    weights, and each value, has a scale of its own, by its largest magnitude; ``by_column`` each
    column of a kernel.
    """

    name: str
    weights: int
    operands: int
    values: int
    fraction: int | None = None
    by_column: bool = False

    @classmethod
    def from_name(cls, name: str) -> Scheme:
        """Return ``int8``, ``int16``, ``int8-columns`` or ``q3.12``; raise InputError else."""
        base = name.removesuffix(_COLUMNS)
        if base in _SCHEMES:
            return replace(_SCHEMES[base], name=name, by_column=base != name)
        match = re.fullmatch(r"[qQ](\d{1,2})\.(\d{1,2})", name)
        if match is None or not 2 <= (bits := 1 + sum(map(int, match.groups()))) <= _MOST_BITS:
            raise InputError(
                f"unknown format {name!r} (--quantize): use int8, int16, one of them with "
                f"{_COLUMNS}, or Qm.n with at most {_MOST_BITS} bits and a sign among them, "
                "such as q3.12"
            )
        return cls(f"Q{int(match[1])}.{int(match[2])}", bits, bits, bits, int(match[2]))

    def format(self, bits: int, magnitude: float | Array) -> Format:
        """Return the format of ``bits`` that holds numbers up to ``magnitude``."""
        if self.fraction is not None:
            half = 2 ** (bits - 1)
            return Format(self.name, bits, 2.0**-self.fraction, -half, half - 1)
        highest = 2 ** (bits - 1) - 1
        scale = np.where(np.asarray(magnitude) == 0, 1.0, np.asarray(magnitude) / highest)
        return Format(f"int{bits}", bits, scale if scale.ndim else float(scale), -highest, highest)

    def weight(self, values: Array, *, is_kernel: bool) -> FixedPoint:
        """Return a weight; only kernels have few bits where each array has its own scale."""
        bits = self.weights if is_kernel or self.fraction is not None else _BIAS_BITS
        ideal = np.asarray(values, dtype=np.float64)
        magnitude: float | Array = _magnitude(ideal)
        if self.by_column and is_kernel:
            magnitude = np.abs(ideal).max(axis=tuple(range(ideal.ndim - 1)))
        chosen = self.format(bits, magnitude)
        value, beyond = chosen.rounded(ideal)
        return FixedPoint(value, ideal, None, chosen, beyond)


#: The end of the name of a scheme in which each column of a kernel has its own scale.
_COLUMNS = "-columns"
_SCHEMES = {"int8": Scheme("int8", 8, 8, 16), "int16": Scheme("int16", 8, 16, 16)}


@dataclass(eq=False)
class StoredValues:
    """Values of each equation as they are stored, in the order in which it stores them.

    Attributes:
        scheme: The bits of each value.
        measuring: Whether the largest magnitudes are collected; nothing is rounded then.
        position: The number of the next value.
        magnitudes: The largest magnitude of each stored value of the equation, in float64.
        counted: Which samples count in this evaluation, (N,); None if all do, or if each value says
            so itself.
        noted: The values worth comparing of this evaluation: products of matrices, and what is
            stored of parts of a split, arguments of activations and values with a name.
        by_equation: The magnitudes of all equations, by name.
    """

    scheme: Scheme
    measuring: bool = False
    position: int = 0
    counted: Array | None = None
    magnitudes: list[float] = field(default_factory=list)
    noted: list[FixedPoint] = field(default_factory=list)
    by_equation: dict[str, list[float]] = field(default_factory=dict)

    def begin(self, equation: str, counted: Array | None = None) -> None:
        """Begin an evaluation of the equation of this name, in which these samples count."""
        self.position, self.counted, self.noted = 0, counted, []
        self.magnitudes = self.by_equation.setdefault(equation, [])

    def store(self, x: FixedPoint, bits: int, largest: float | None = None) -> FixedPoint:
        """Round a value to ``bits`` bits, unless it is a weight or already stored in so few.

        Its scale is that of ``largest``, or of the largest magnitude of its numbers that count.
        """
        if x.storage is None or (x.format is not None and x.format.bits <= bits):
            return x
        if self.measuring:
            counted = x.counted if self.counted is None else self.counted
            magnitude = _magnitude(x.ideal if counted is None else x.ideal[counted])
            if self.position == len(self.magnitudes):
                self.magnitudes.append(magnitude)
            else:
                self.magnitudes[self.position] = max(self.magnitudes[self.position], magnitude)
        if largest is None:
            fixed = self.scheme.fraction is not None
            largest = 0.0 if fixed else self.magnitudes[self.position]
        chosen = self.scheme.format(bits, largest)
        self.position += 1
        if self.measuring:
            return replace(x, format=chosen)
        value, beyond = chosen.rounded(x.value)
        return FixedPoint(value, x.ideal, self, chosen, beyond, x.counted)

    def note(self, x: FixedPoint) -> FixedPoint:
        """Record a value; weights are not recorded."""
        if x.storage is not None:
            self.noted.append(x)
        return x


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """Numbers in fixed point and in float64.

    Attributes:
        value: The numbers that the integers stand for.
        ideal: The same numbers without any rounding to a format.
        storage: What the equation stores; None for weights, and what is made of them alone.
        format: The format in which they are stored; None for exact sums and products.
        beyond: Which of them were beyond the ends of the format.
        counted: Which of them count, and set its scale; None if all do. Padding does not.
    """

    value: Array
    ideal: Array
    storage: StoredValues | None
    format: Format | None = None
    beyond: Array | None = None
    counted: Array | None = None

    @classmethod
    def exact(cls, values: Array, storage: StoredValues, form: Format | None = None) -> FixedPoint:
        """Return numbers that fixed point and float64 share."""
        return cls(values, values, storage, form)

    def __matmul__(self, other: FixedPoint) -> FixedPoint:
        storage = self.storage or other.storage
        if storage is None:
            return self._combine(np.matmul, other)
        left, right = (storage.store(each, storage.scheme.operands) for each in (self, other))
        if self.format is None:  # a value without a name
            storage.note(left)
        return storage.note(left._combine(np.matmul, right))

    def __add__(self, other: FixedPoint | float) -> FixedPoint:
        return self._combine(np.add, other)

    __radd__ = __add__

    def __sub__(self, other: FixedPoint | float) -> FixedPoint:
        return self._combine(np.subtract, other)

    def __rsub__(self, other: float) -> FixedPoint:
        return self._combine(lambda x, constant: constant - x, other)

    def __mul__(self, other: FixedPoint | float) -> FixedPoint:
        return self._combine(np.multiply, other)

    def __neg__(self) -> FixedPoint:
        return self * -1.0

    def __truediv__(self, other: FixedPoint | float) -> FixedPoint:
        return self._combine(np.divide, other)

    def __rtruediv__(self, other: float) -> FixedPoint:
        return self._combine(lambda x, constant: constant / x, other)

    def on_both(self, function: Callable[[Array], Array]) -> FixedPoint:
        """Apply a function that only moves or selects numbers."""
        beyond, counted = (
            None if each is None else function(each) for each in (self.beyond, self.counted)
        )
        value, ideal = function(self.value), function(self.ideal)
        return replace(self, value=value, ideal=ideal, beyond=beyond, counted=counted)

    def at_counted_steps(self, mask: Array | None) -> FixedPoint:
        """Return time-major numbers (T, N, …), of which those at some steps (T, N) count."""
        if mask is None or self.ideal.ndim < 3 or self.ideal.shape[:2] != mask.shape:
            return self
        expanded = mask.reshape(*mask.shape, *(1,) * (self.ideal.ndim - 2))
        return replace(self, counted=np.broadcast_to(expanded, self.ideal.shape))

    def _combine(
        self, function: Callable[[Any, Any], Any], other: FixedPoint | float
    ) -> FixedPoint:
        with np.errstate(all="ignore"):
            if not isinstance(other, FixedPoint):
                value, ideal = function(self.value, other), function(self.ideal, other)
                return FixedPoint(value, ideal, self.storage)
            value, ideal = function(self.value, other.value), function(self.ideal, other.ideal)
        return FixedPoint(value, ideal, self.storage or other.storage)


def _magnitude(values: Array) -> float:
    return float(np.abs(values).max(initial=0.0))


def _part(value: Any, name: str) -> Any:
    """Return an attribute of fixed-point numbers, also of several; anything else as it is."""
    if isinstance(value, list | tuple):
        return type(value)(_part(each, name) for each in value)
    return getattr(value, name) if isinstance(value, FixedPoint) else value


def _tensors(arguments: Sequence[Any]) -> list[FixedPoint]:
    """Return the fixed-point numbers among arguments, also in lists."""
    found = []
    for argument in arguments:
        if isinstance(argument, list | tuple):
            found += _tensors(argument)
        elif isinstance(argument, FixedPoint):
            found.append(argument)
    return found


def _exact(operation: Callable[..., Any]) -> Callable[..., FixedPoint]:
    """Return an operation of the NumPy interpreter on both numbers, without rounding."""

    @functools.wraps(operation)
    def apply(self: FixedPointOps, *arguments: Any) -> FixedPoint:
        with np.errstate(all="ignore"):
            value, ideal = (
                operation(_NUMPY, *_part(arguments, name)) for name in ("value", "ideal")
            )
        return FixedPoint(value, ideal, self.storage)

    return apply


def _moved(operation: Callable[..., Any]) -> Callable[..., FixedPoint]:
    """Return an operation that only moves or selects numbers.

    They stay as they are stored, unless their formats differ.
    """

    @functools.wraps(operation)
    def apply(self: FixedPointOps, *arguments: Any) -> FixedPoint:
        result = _exact(operation)(self, *arguments)
        formats = [x.format for x in _tensors(arguments)]
        return replace(result, format=_shared(formats))

    return apply


def _shared(formats: Sequence[Format | None]) -> Format | None:
    """Return the one format that all values have; None if they have several, or one by column."""
    if len(formats) > 1 and any(each is None or np.ndim(each.scale) for each in formats):
        return None
    return formats[0] if all(each == formats[0] for each in formats) else None


class FixedPointOps:
    """The operations of the fixed-point interpreter that are not operators.

    All but matrix products, and activations ``in_cells``, are exact for stored operands.
    """

    def __init__(self, storage: StoredValues, *, in_cells: bool) -> None:
        self.storage, self.in_cells = storage, in_cells

    concatenate = _moved(NumpyOps.concatenate)
    windows = _moved(NumpyOps.windows)
    max = _moved(NumpyOps.max)
    maximum = _moved(NumpyOps.maximum)
    minimum = _moved(NumpyOps.minimum)
    choose = _moved(NumpyOps.choose)
    where = _moved(NumpyOps.where)

    constant = _exact(NumpyOps.constant)
    averages = _exact(NumpyOps.averages)
    mean = _exact(NumpyOps.mean)
    reduce = _exact(NumpyOps.reduce)
    rsqrt = _exact(NumpyOps.rsqrt)
    elementwise = _exact(NumpyOps.elementwise)
    compare = _exact(NumpyOps.compare)
    attention_weights = _exact(NumpyOps.attention_weights)

    def activate(self, name: str, z: FixedPoint) -> FixedPoint:
        """Apply the activation ``name``: in cells to a stored value, as a table does."""
        bits = self.storage.scheme.values
        if self.in_cells:
            z = self.storage.note(self.storage.store(z, bits))
        result = _exact(NumpyOps.activate)(self, name, z)
        is_stored = self.in_cells and name in _BOUNDED
        return self.storage.store(result, bits, 1.0) if is_stored else result

    def split(self, z: FixedPoint, base: str, parts: tuple[str, ...]) -> list[FixedPoint]:
        """Split the last axis into equal parts, which are stored."""
        slices = range(len(parts))
        values = [z.on_both(functools.partial(_split_part, len(parts), i)) for i in slices]
        bits = self.storage.scheme.values
        return [self.storage.note(self.storage.store(value, bits)) for value in values]

    def rows(self, b: FixedPoint, names: tuple[str, ...]) -> list[FixedPoint]:
        """Return the rows of ``b``."""
        return [b.on_both(operator.itemgetter(i)) for i in range(len(names))]

    def let(self, name: str, value: FixedPoint) -> FixedPoint:
        """Store ``value``: the output of a cell as an operand of the next product."""
        scheme = self.storage.scheme
        bits = scheme.operands if name == OUTPUT else scheme.values
        return self.storage.note(self.storage.store(value, bits))

    def take(self, table: FixedPoint, indices: FixedPoint) -> FixedPoint:
        """Return the rows of ``table`` with these integer indices."""
        rows = table.on_both(lambda array: _NUMPY.take(array, indices.ideal))
        return replace(rows, storage=self.storage)

    def rearrange(self, x: FixedPoint, function: Callable[[Array], Array]) -> FixedPoint:
        """Return ``function(x)`` for a function that only moves or selects numbers."""
        return x.on_both(function)

    def swap_time(self, x: FixedPoint) -> FixedPoint:
        """Exchange samples and time: (N, T, …) → (T, N, …), and back."""
        return x.on_both(_NUMPY.swap_time)

    def shape(self, x: FixedPoint) -> tuple[int, ...]:
        """Return the shape of ``x``."""
        return x.ideal.shape

    def rank(self, x: FixedPoint) -> int:
        """Return the number of axes of ``x``."""
        return x.ideal.ndim

    def within(self, suffix: str) -> FixedPointOps:
        """Return these operations."""
        return self

    def aligned(self, values: Sequence[FixedPoint]) -> Sequence[FixedPoint]:
        """Return the values as they are: NumPy broadcasts."""
        return values

    def each_step(
        self, function: Callable[..., Any], inputs: Sequence[FixedPoint], rank: int
    ) -> Any:
        """Apply a function to each step of tensors (N, T, …), or to (N, …) as they are."""
        if self.rank(inputs[0]) == rank:
            return function(*inputs)

        def unfolded(x: FixedPoint) -> FixedPoint:
            return x.on_both(lambda array: array.reshape(*lead, *array.shape[1:]))

        lead = self.shape(inputs[0])[:2]
        folded = (x.on_both(lambda array: array.reshape(-1, *array.shape[2:])) for x in inputs)
        return map_outputs(unfolded, function(*folded))

    def scan(
        self,
        step: Callable[[FixedPoint, Sequence[FixedPoint]], Sequence[FixedPoint]],
        z: FixedPoint,
        multiple: int,
        names: tuple[str, ...],
        *,
        reverse: bool,
        mask: Array | None = None,
    ) -> FixedPoint:
        """Take one step after the other, and return the first state after each, (N, T, …, M).

        Each step stores its values in the same formats.
        """
        storage, shape = self.storage, self.shape(z)
        zeros = np.zeros((shape[0], *shape[2:-1], shape[-1] // multiple))
        none = storage.scheme.format(storage.scheme.operands, 0.0)
        states: Sequence[FixedPoint] = [FixedPoint.exact(zeros, storage, none) for _ in names]
        first, after = storage.position, {}
        for t in range(shape[1])[:: -1 if reverse else 1]:
            storage.position = first
            stepped = step(z.on_both(functools.partial(_step_of, t)), states)
            chosen = next_states(self, stepped, states, mask, t)
            formats = [state.format for state in stepped]
            states = [replace(x, format=each) for x, each in zip(chosen, formats, strict=True)]
            after[t] = states[0]
        return stacked([after[t] for t in range(shape[1])], axis=1)

    def contract(self, contraction: Any, left: FixedPoint, right: FixedPoint) -> FixedPoint:
        """Multiply stored operands, and sum over axes."""
        bits = self.storage.scheme.operands
        operands = (self.storage.store(each, bits) for each in (left, right))
        return _exact(NumpyOps.contract)(self, contraction, *operands)

    def widen(self, x: FixedPoint) -> FixedPoint:
        """Return the same numbers."""
        return x

    def narrow(self, x: FixedPoint, other: FixedPoint) -> FixedPoint:
        """Return the same numbers."""
        return x

    def define(self, name: str, value: FixedPoint) -> FixedPoint:
        """Return ``value`` itself."""
        return value


def _split_part(count: int, number: int, values: Array) -> Array:
    """Return one of ``count`` equal parts of the last axis."""
    width = values.shape[-1] // count
    return values[..., number * width : (number + 1) * width]


def _step_of(t: int, values: Array) -> Array:
    """Return step t of (N, T, …)."""
    return values[:, t]


def stacked(steps: Sequence[FixedPoint], axis: int = 0) -> FixedPoint:
    """Return values of several steps as one, with time as an axis."""
    value = np.stack([step.value for step in steps], axis)
    ideal = np.stack([step.ideal for step in steps], axis)
    return replace(steps[0], value=value, ideal=ideal, beyond=None)
