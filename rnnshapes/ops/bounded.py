"""The bounded interpreter: arrays with a proven bound of their rounding error.

A :class:`Bounded` holds values in float64 and, for each of them, the largest distance of any
computation in a given :class:`Precision`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from rnnshapes.ops.activations import FORMULAS, MONOTONE, Array, log_softmax, softmax, unrounded
from rnnshapes.ops.constant import Constant
from rnnshapes.ops.contraction import Contraction
from rnnshapes.ops.dims import Dim, Shape
from rnnshapes.ops.elementwise import Elementwise, LeakyReLU, Power
from rnnshapes.ops.interface import map_outputs, next_states
from rnnshapes.ops.numpy_ops import NumpyOps
from rnnshapes.ops.precision import PRECISIONS, Precision
from rnnshapes.ops.visibility import Visibility
from rnnshapes.ops.windows import Axes, Window, window_axes


class Sum(NamedTuple):
    """The number of terms of a sum, the sum of their magnitudes, and that of their errors.

    ``roundings`` is how often a term, or a sum that it is part of, is rounded to 16 bits.
    """

    terms: int
    magnitude: Array
    carried: Array | float
    roundings: int = 0


@dataclass(frozen=True, eq=False)
class Bounded:
    """Values (float64) and a bound of each one's error; the error is inf after an overflow.

    ``sum`` describes a value to which more may be added: fused kernels add in any order.
    """

    value: Array
    error: Array
    precision: Precision
    sum: Sum | None = None

    @classmethod
    def exact(cls, value: Array, precision: Precision) -> Bounded:
        """Return numbers that are known exactly: inputs, weights, Keras's own states.

        In a 16-bit dtype they are rounded first. Nothing is known of a number that is not
        finite: its error is NaN.
        """
        value = precision.rounded(np.asarray(value, dtype=np.float64))
        return cls(value, np.where(np.isfinite(value), 0.0, np.nan), precision)

    @classmethod
    def rounded(cls, constant: float, precision: Precision) -> Bounded:
        """Return a constant of a formula, which may have been rounded to the precision.

        Every precision has 8 bits or more: integers up to 256 and powers of two are exact.
        """
        value, size = np.asarray(constant, dtype=np.float64), abs(constant)
        exact = float(constant).is_integer() and size <= 256
        exact = exact or (size >= precision.tiny and bool(np.log2(size).is_integer()))
        error = 0.0 if exact else precision.unit_roundoff * size + precision.tiny
        if precision.exact_constants:
            error += abs(unrounded(constant) - constant)
        error = np.inf if size > precision.overflow_threshold else error
        return cls(value, np.asarray(error), precision)

    def __matmul__(self, other: Bounded) -> Bounded:
        return self.product(other, np.matmul, len(other.value))

    def product(
        self,
        other: Bounded,
        multiply: Callable[[Array, Array], Array],
        terms: int,
        roundings: int = 1,
    ) -> Bounded:
        """Return sums of products: errors carried through |a| and |W|, and γ_n of the magnitudes.

        Args:
            other: The other factor.
            multiply: Multiplies two arrays; each number of its result is a sum.
            terms: The number of terms of each sum.
            roundings: How often a product, or a sum that it is part of, is rounded to 16 bits.
        """
        p, (a, b) = self.precision, (self.error, other.error)
        left, right = np.abs(self.value), np.abs(other.value)
        magnitude = multiply(left, right)
        carried: Array | float = (roundings - 1) * p.tiny  # lost before the last rounding
        if a.any():
            carried = carried + multiply(a, right)
        if b.any():
            carried = carried + multiply(left + a, b)
        roundoff = p.gamma(terms, roundings)
        error = carried + _scaled(roundoff, magnitude + carried) + p.underflow(terms)
        unknown = np.zeros(())
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            unknown = multiply(a, np.ones_like(right)) + multiply(np.ones_like(left), b)
        product = self._result(multiply(self.value, other.value), error, magnitude, unknown)
        return replace(product, sum=Sum(terms, magnitude, carried, roundings))

    def __add__(self, other: Bounded | float) -> Bounded:
        p = self.precision
        if not isinstance(other, Bounded):
            other = Bounded.rounded(other, p)
        value, left, right = self.value + other.value, self._as_sum(), other._as_sum()
        terms, magnitude = left.terms + right.terms, left.magnitude + right.magnitude
        carried = left.carried + right.carried
        roundings = max(left.roundings, right.roundings) + 1
        roundoff = p.gamma(terms, roundings)
        error = carried + _scaled(roundoff, magnitude + carried) + p.underflow(terms)
        total = self._result(value, error, magnitude, self.error + other.error)
        return replace(total, sum=Sum(terms, magnitude, carried, roundings))

    def _as_sum(self) -> Sum:
        """Return the sum that it is, or itself as the only term of one."""
        return self.sum or Sum(1, np.abs(self.value), self.error)

    __radd__ = __add__

    def __sub__(self, other: Bounded | float) -> Bounded:
        if not isinstance(other, Bounded):
            return self + -other
        return self + Bounded(-other.value, other.error, other.precision, other.sum)

    def __mul__(self, other: Bounded | float) -> Bounded:
        p = self.precision
        if not isinstance(other, Bounded):
            other = Bounded.rounded(other, p)
        a, b = np.abs(self.value), np.abs(other.value)
        carried = a * other.error + b * self.error + self.error * other.error
        magnitude = a * b
        error = carried + p.unit_roundoff * (magnitude + carried) + p.tiny
        return self._result(self.value * other.value, error, magnitude, self.error + other.error)

    def __neg__(self) -> Bounded:
        return Bounded(-self.value, self.error, self.precision)

    def __truediv__(self, other: Bounded | float) -> Bounded:
        """Divide: one rounding, or those of a product with 1 / other."""
        p = self.precision
        if not isinstance(other, Bounded):
            other = Bounded.rounded(other, p)
        with np.errstate(all="ignore"):
            value = self.value / other.value
            magnitude = np.abs(value)
            smallest = np.abs(other.value) - other.error
            carried = (self.error + magnitude * other.error) / smallest
            error = carried + 4 * p.unit_roundoff * (magnitude + carried)
            # 16-bit numbers are divided in float32; 1 / other may be flushed to zero there.
            tiny = min(p.tiny, PRECISIONS["float32"].tiny)
            flushed = np.abs(other.value) + other.error > 0.5 / tiny
            lost = np.where(flushed, tiny * (np.abs(self.value) + self.error), 0.0)
            error = error + p.tiny + lost
        unknown = np.where(smallest > 0, 0.0, np.inf)  # the divisor may be 0
        return self._result(value, error, magnitude, self.error + other.error + unknown)

    def __rtruediv__(self, other: float) -> Bounded:
        return Bounded.rounded(other, self.precision) / self

    def __rsub__(self, other: float) -> Bounded:
        if other != 1:  # another number may be rounded, too
            return Bounded.rounded(other, self.precision) - self
        p, value = self.precision, other - self.value
        error = self.error + p.unit_roundoff * (np.abs(value) + self.error) + p.tiny
        return Bounded(value, error, p)

    def activated(self, name: str) -> Bounded:
        """Apply the activation ``name``: monotone, of a whole row, or a formula."""
        if name in FORMULAS:
            result: Bounded = FORMULAS[name](lambda part, z: z.activated(part), self)
            return result
        if name in _ROWWISE:
            return _ROWWISE[name](self)
        function, ulps, ulps_of_one, slope = MONOTONE[name]
        result = self.monotone(function, ulps).widened(self.other_slope(slope))
        return result.widened(ulps_of_one * self.precision.unit_roundoff) if ulps_of_one else result

    def monotone(
        self, function: Callable[[Array], Array], ulps: int, lowest: float = -np.inf
    ) -> Bounded:
        """Apply a monotone function.

        Its error is the larger distance to the function's value at an end of the interval, and
        ``ulps`` units in the last place for the function's own rounding. Below ``lowest`` it is
        not defined.
        """
        p = self.precision
        value = function(self.value)
        spread = np.maximum(
            np.abs(function(self.value + self.error) - value),
            np.abs(value - function(np.maximum(self.value - self.error, lowest))),
        )
        unit = np.ldexp(p.unit_roundoff, np.frexp(value)[1])  # one unit in the last place
        unit = np.where(value == 0.0, 0.0, unit)
        error = spread + ulps * unit + 4 * p.tiny
        over = np.isinf(self.error) | (
            (np.abs(value) > p.overflow_threshold) & ~np.isnan(self.error)
        )
        return Bounded(value, np.where(over, np.inf, error), p)

    def other_slope(self, slope: float) -> Array:
        """Return how far slope · x below 0 is from that with a slope that is not rounded."""
        other = abs(unrounded(slope) - slope) if self.precision.exact_constants else 0.0
        if other == 0.0:
            return np.zeros(())
        difference: Array = other * np.maximum(self.error - self.value, 0.0)
        return difference

    def cast(self, precision: Precision) -> Bounded:
        """Return the same numbers, rounded to another dtype."""
        if precision == self.precision:
            return self
        if not precision.is_16bit:
            return Bounded(self.value, self.error, precision)
        rounding = precision.unit_roundoff * (np.abs(self.value) + self.error) + precision.tiny
        over = np.abs(self.value) > precision.overflow_threshold
        return Bounded(self.value, np.where(over, np.inf, self.error + rounding), precision)

    def widened(self, more: float | Array) -> Bounded:
        """Return the same values with ``more`` error."""
        return Bounded(self.value, self.error + more, self.precision)

    def rearranged(self, function: Callable[[Array], Array]) -> Bounded:
        """Apply a function that only moves or selects numbers to the values and their errors."""
        return Bounded(function(self.value), function(self.error), self.precision)

    def _result(self, value: Array, error: Array, magnitude: Array, operands: Array) -> Bounded:
        """Return a result of which the sum of all operands' errors is ``operands``.

        That sum is NaN where nothing is known, and infinite after an overflow. Both stay, also
        where the rule for ``error`` multiplies infinity and 0.
        """
        over = (magnitude > self.precision.overflow_threshold) | np.isinf(operands)
        error = np.where(over, np.inf, error)
        return Bounded(value, np.where(np.isnan(operands), np.nan, error), self.precision)


def _scaled(roundoff: float, magnitude: Array) -> Array:
    """Return the rounding errors of sums; without a bound, also a sum of zeros has none."""
    return roundoff * magnitude if roundoff < np.inf else np.full_like(magnitude, np.inf)


class _SoftmaxErrors(NamedTuple):
    """Errors of a softmax: of its logarithm, and relative ones of exp(z_i) and of their sum."""

    logarithm: Array
    term: Array
    total: Array


def _attention_weights(z: Bounded, visible: Array, visibility: Visibility) -> Bounded:
    """Bound a softmax over some of the keys.

    The weight of a hidden key is 0 where its score is certainly 200 below the largest one. The
    weights of a query that sees no key are equal where the difference to ``huge`` is the same
    number for all; else they may be anything from 0 to 1.
    """
    p, blind = z.precision, ~visible.any(axis=-1, keepdims=True)
    huge = 65504.0 if p.name == "float16" else 1e9
    known = np.where(visible | blind, z.error, 0.0)
    lowest = np.where(visible, z.value - z.error, -np.inf).max(axis=-1, keepdims=True)
    # Keras's smallest number in place of a score is -3e4.
    hidden = -3e4 if visibility.replaced else z.value + z.error - huge
    unsure = ~(lowest - hidden > 200) & ~visible & ~blind
    value = np.where(visible | blind, z.value, -np.inf)
    if p.name == "float64" and not visibility.replaced:
        known = known + np.where(blind, p.unit_roundoff * huge, 0.0)
    else:
        value, known = np.where(blind, 0.0, value), np.where(blind, 0.0, known)
        # 32 is half a unit in the last place of 1e9 in float32.
        small = (np.abs(z.value) + z.error < 32).all(axis=-1, keepdims=True)
        if not visibility.replaced:
            unsure = unsure | (blind & (p.is_16bit | ~small))
    weights = _softmax(Bounded(value, known, p))
    nan = np.isnan(z.error).any(axis=-1, keepdims=True)
    error = np.where(unsure.any(axis=-1, keepdims=True), 1.0, weights.error)
    # An overflow makes the whole row NaN; a score that is replaced has none.
    over = np.isinf(z.error) & (visible | (not visibility.replaced))
    error = np.where(over.any(axis=-1, keepdims=True), np.inf, error)
    if visibility.nothing:
        empty = np.where(blind, 0.0, weights.value)
        return Bounded(empty, np.where(nan, np.nan, np.where(blind, 0.0, error)), p)
    return Bounded(weights.value, np.where(nan, np.nan, error), p)


def _softmax_errors(z: Bounded) -> _SoftmaxErrors:
    """Bound what shifting by the row's maximum, exp and summing do.

    Errors δ of z change the logarithm of a softmax by at most δ_i + max δ. The kernel's exp may
    be off by 8 units in the last place.
    """
    p, n = z.precision, z.value.shape[-1]
    below = z.value.max(axis=-1, keepdims=True) - z.value
    below = np.where(np.isneginf(z.value), 0.0, below)  # a hidden key
    logarithm = z.error + z.error.max(axis=-1, keepdims=True)
    term = p.unit_roundoff * (below + 16)
    total = (softmax(z.value) * term).sum(axis=-1, keepdims=True) + p.gamma(n, 2)
    return _SoftmaxErrors(logarithm, term, total)


def _softmax(z: Bounded) -> Bounded:
    p, value = z.precision, softmax(z.value)
    logarithm, term, total = _softmax_errors(z)
    with np.errstate(over="ignore", invalid="ignore"):
        relative = 1.1 * (term + total + 2 * p.unit_roundoff)
        error = value * (np.expm1(logarithm) + relative * np.exp(logarithm))
    # Whatever z is, a share is between 0 and 1.
    error = np.where(error <= 1.0, error, 1.0) + (value.shape[-1] + 1) * p.tiny
    error = np.where(np.isnan(logarithm), np.nan, error)
    return Bounded(value, np.where(np.isinf(logarithm), np.inf, error), p)


def _log_softmax(z: Bounded) -> Bounded:
    p, value = z.precision, log_softmax(z.value)
    logarithm, _, total = _softmax_errors(z)
    below = z.value.max(axis=-1, keepdims=True) - z.value
    magnitude = 2 * below + 17 * np.abs(value) + np.log(value.shape[-1])
    error = logarithm + 1.1 * total + p.unit_roundoff * magnitude + p.tiny
    return Bounded(value, error, p)


_ROWWISE = MappingProxyType({"softmax": _softmax, "log_softmax": _log_softmax})
_NUMPY = NumpyOps()


class BoundedOps:
    """The operations of the bounded interpreter that are not operators."""

    def activate(self, name: str, z: Bounded) -> Bounded:
        """Apply the activation ``name``."""
        return z.activated(name)

    def split(self, z: Bounded, base: str, parts: tuple[str, ...]) -> list[Bounded]:
        """Split the last axis into equal parts."""
        values, errors = (_NUMPY.split(array, base, parts) for array in (z.value, z.error))
        return [Bounded(v, e, z.precision) for v, e in zip(values, errors, strict=True)]

    def rows(self, b: Bounded, names: tuple[str, ...]) -> list[Bounded]:
        """Return the rows of ``b``."""
        return [Bounded(v, e, b.precision) for v, e in zip(b.value, b.error, strict=True)]

    def let(self, name: str, value: Bounded) -> Bounded:
        """Return ``value`` itself."""
        return value

    def rearrange(self, x: Bounded, function: Callable[[Array], Array]) -> Bounded:
        """Return ``function(x)`` for a function that only moves or selects numbers."""
        return x.rearranged(function)

    def swap_time(self, x: Bounded) -> Bounded:
        """Exchange samples and time: (N, T, …) → (T, N, …), and back."""
        return x.rearranged(_NUMPY.swap_time)

    def shape(self, x: Bounded) -> tuple[int, ...]:
        """Return the shape of ``x``."""
        return x.value.shape

    def rank(self, x: Bounded) -> int:
        """Return the number of axes of ``x``."""
        return x.value.ndim

    def within(self, suffix: str) -> BoundedOps:
        """Return these operations."""
        return self

    def concatenate(
        self, values: Sequence[Bounded], axis: int = -1, length: Dim | None = None
    ) -> Bounded:
        """Join the values along an axis."""
        value = _NUMPY.concatenate([v.value for v in values], axis)
        error = _NUMPY.concatenate([v.error for v in values], axis)
        return Bounded(value, error, values[0].precision)

    def constant(self, values: Constant, like: Bounded, shape: Shape | None = None) -> Bounded:
        """Return the numbers of a constant, rounded to the precision of ``like``."""
        p, numbers = like.precision, values.array().astype(np.float64)
        rounded = p.rounded(numbers) if p.is_16bit else numbers.astype(p.name)
        error = np.where(rounded == numbers, 0.0, p.unit_roundoff * np.abs(numbers) + p.tiny)
        return Bounded(numbers, error, p)

    def aligned(self, values: Sequence[Bounded]) -> Sequence[Bounded]:
        """Return the values as they are: NumPy broadcasts."""
        return values

    def take(self, table: Bounded, indices: Bounded) -> Bounded:
        """Return the rows of ``table`` with these integer indices."""
        return table.rearranged(lambda array: _NUMPY.take(array, indices.value))

    def windows(self, x: Bounded, windows: Sequence[Window]) -> Bounded:
        """Cut windows along the axes from 1 on: (N, T, F) → (N, T', size, F)."""
        value = _NUMPY.windows(x.value, windows)
        error = _NUMPY.windows(x.error, [replace(window, fill=0.0) for window in windows])
        return Bounded(value, error, x.precision)

    def each_step(self, function: Callable[..., Any], inputs: Sequence[Bounded], rank: int) -> Any:
        """Apply a function to each step of tensors (N, T, …), or to (N, …) as they are."""
        if inputs[0].value.ndim == rank:
            return function(*inputs)

        def unfolded(x: Bounded) -> Bounded:
            return x.rearranged(lambda array: array.reshape(*lead, *array.shape[1:]))

        lead = inputs[0].value.shape[:2]
        folded = (x.rearranged(lambda array: array.reshape(-1, *array.shape[2:])) for x in inputs)
        return map_outputs(unfolded, function(*folded))

    def scan(
        self,
        step: Callable[[Bounded, Sequence[Bounded]], Sequence[Bounded]],
        z: Bounded,
        multiple: int,
        names: tuple[str, ...],
        *,
        reverse: bool,
        mask: Array | None = None,
    ) -> Bounded:
        """Take one step after the other, and return the first state after each, (N, T, …, M).

        The bound grows from step to step.
        """
        shape = z.value.shape
        zeros = np.zeros((shape[0], *shape[2:-1], shape[-1] // multiple))
        states: Sequence[Bounded] = [Bounded.exact(zeros, z.precision) for _ in names]
        value, error = (np.empty((*shape[:-1], zeros.shape[-1])) for _ in range(2))
        for t in range(shape[1])[:: -1 if reverse else 1]:
            after = step(Bounded(z.value[:, t], z.error[:, t], z.precision), states)
            states = next_states(self, after, states, mask, t)
            value[:, t], error[:, t] = states[0].value, states[0].error
        return Bounded(value, error, z.precision)

    def contract(self, contraction: Contraction, left: Bounded, right: Bounded) -> Bounded:
        """Multiply, and sum over axes."""
        terms = contraction.terms(left.value)
        in_float16 = contraction.sums_in_float16 and left.precision.name == "float16"
        return left.product(right, contraction, terms, max(1, terms) if in_float16 else 1)

    def averages(self, x: Bounded, windows: Sequence[Window]) -> Bounded:
        """Return the mean of each window along the axes from 1 on: (N, T, F) → (N, T', F)."""
        counts = _NUMPY.window_counts(x.value, windows)
        return self.mean(self.windows(x, windows), window_axes(windows), counts)

    def mean(self, x: Bounded, axis: Axes, count: Array | None = None) -> Bounded:
        """Return the mean over ``axis``, or the sum divided by ``count``: γ_n, and one division.

        Keras computes a mean of 16-bit numbers in float32, but a sum to be divided as any other.
        """
        axes = (axis,) if isinstance(axis, int) else axis
        p, n = x.precision, math.prod(x.value.shape[each] for each in axes)
        value, carried, magnitude = (
            _NUMPY.mean(array, axis, count) for array in (x.value, x.error, np.abs(x.value))
        )
        roundoff = p.gamma(n + 2)
        if count is not None:
            roundoff = max(roundoff, p.sum_roundoff(n) * (1 + p.unit_roundoff) + p.unit_roundoff)
        error = carried + _scaled(roundoff, magnitude + carried) + p.underflow(n)
        return x._result(value, error, magnitude * n, carried)

    def attention_weights(
        self, scores: Bounded, visibility: Visibility, mask: Bounded | None = None
    ) -> Bounded:
        """Return the softmax of scores (N, …, queries, keys) over the visible keys.

        The weights of a query are not known where the mask is not certain for one of its keys.
        """
        visible = visibility.visible(scores.value.shape, None if mask is None else mask.value)
        if visible is None:
            return scores.activated("softmax")
        weights = _attention_weights(scores, visible, visibility)
        if mask is None:
            return weights
        unsure = np.where(np.abs(mask.value) > mask.error, 0.0, mask.error).max(-1, keepdims=True)
        unsure = np.minimum(unsure, 1.0) + np.where(np.isinf(unsure), np.inf, 0.0)
        more = unsure.reshape(len(unsure), *(1,) * (scores.value.ndim - 3), *unsure.shape[1:])
        error = np.where(more == 0.0, weights.error, np.maximum(np.ceil(more), weights.error))
        return Bounded(weights.value, error, weights.precision)

    def widen(self, x: Bounded) -> Bounded:
        """Return the same numbers in float32, if their dtype has 16 bits."""
        return x.cast(PRECISIONS["float32"]) if x.precision.is_16bit else x

    def narrow(self, x: Bounded, other: Bounded) -> Bounded:
        """Return the same numbers, rounded to the dtype of another tensor."""
        return x.cast(other.precision)

    def define(self, name: str, value: Bounded) -> Bounded:
        """Return ``value`` itself."""
        return value

    def max(self, x: Bounded, axis: Axes) -> Bounded:
        """Return the largest value over ``axis``, with the largest error."""
        return x.rearranged(lambda array: _NUMPY.max(array, axis))

    def reduce(self, name: str, x: Bounded, axes: tuple[int, ...], keepdims: bool) -> Bounded:
        """Return the sum or mean with γ_n and one division, or an extreme with its error."""
        p = x.precision
        value = _NUMPY.reduce(name, x.value, axes, keepdims)
        if name in ("max", "min"):
            return Bounded(value, _NUMPY.reduce("max", x.error, axes, keepdims), p)
        n = math.prod(x.value.shape[axis] for axis in axes)
        magnitude = _NUMPY.reduce("sum", np.abs(x.value), axes, keepdims)
        carried = _NUMPY.reduce("sum", x.error, axes, keepdims)
        divisor = n if name == "mean" else 1
        # Keras computes a mean of 16-bit numbers in float32.
        roundoff = p.sum_roundoff(n) if name == "sum" else p.gamma(n + 2)
        error = carried + _scaled(roundoff, magnitude + carried) + n * p.tiny
        return x._result(value, error / divisor, magnitude, carried)

    def rsqrt(self, x: Bounded) -> Bounded:
        """Return 1 / sqrt(x), which falls for x above 0."""
        return x.monotone(lambda v: _NUMPY.rsqrt(np.maximum(v, x.precision.tiny)), 4)

    def elementwise(self, x: Bounded, function: Elementwise) -> Bounded:
        """Apply a monotone function to each number."""
        u = x.precision.unit_roundoff
        if function.threshold:
            x = x.widened(u * abs(function.threshold))
        lowest = function.lowest
        if function.is_even:
            x, lowest = Bounded(np.abs(x.value), x.error, x.precision), 0.0
        result = x.monotone(function, function.ulps, lowest)
        if isinstance(function, LeakyReLU):
            result = result.widened(x.other_slope(function.slope))
        exponent = function.exponent if isinstance(function, Power) else 1.0
        rounding = Bounded.rounded(exponent, x.precision).error
        if rounding > 0:  # x to the power of y + d is x to the power of y, times exp(d · ln x)
            ends = np.abs(x.value) + x.error, np.abs(x.value) - x.error
            logs = [np.abs(np.log(np.maximum(end, x.precision.tiny))) for end in ends]
            relative = np.expm1(rounding * np.maximum(*logs))
            result = result.widened(relative * (np.abs(result.value) + result.error))
        return result.widened(function.ulps_of_one * u) if function.ulps_of_one else result

    def maximum(self, x: Bounded, y: Bounded) -> Bounded:
        """Return the larger one of each two numbers, with the larger error."""
        value = np.maximum(x.value, y.value)
        return Bounded(value, np.maximum(x.error, y.error), x.precision)

    def minimum(self, x: Bounded, y: Bounded) -> Bounded:
        """Return the smaller one of each two numbers, with the larger error."""
        value = np.minimum(x.value, y.value)
        return Bounded(value, np.maximum(x.error, y.error), x.precision)

    def compare(self, relation: str, x: Bounded, y: Bounded) -> Bounded:
        """Return 1 where a relation holds between two numbers, and 0 elsewhere.

        The error is 1 where either may be true. A number below the smallest normal one may be 0;
        one of 16 bits may be compared before it is rounded.
        """
        p, value = x.precision, _NUMPY.compare(relation, x.value, y.value)
        error, distance = x.error + y.error, np.abs(x.value - y.value)
        if p.is_16bit:
            error = error + p.unit_roundoff * (np.abs(x.value) + np.abs(y.value))
        unsure = ((distance <= error) & (error > 0)) | ((distance > 0) & (distance < p.tiny))
        unknown = np.isnan(error) | np.isinf(error)
        return Bounded(value, np.where(unknown, error, np.where(unsure, 1.0, 0.0)), p)

    def choose(self, condition: Bounded, x: Bounded, y: Bounded) -> Bounded:
        """Return ``x`` where the condition is not 0, and ``y`` elsewhere; either where unsure."""
        zero = Bounded.exact(np.zeros(()), condition.precision)
        truth = self.compare("!=", condition, zero)
        value = _NUMPY.choose(truth.value, x.value, y.value)
        error = _NUMPY.choose(truth.value, x.error, y.error)
        either = np.abs(x.value - y.value) + np.maximum(x.error, y.error)
        unsure = np.where(truth.error == 1.0, either, truth.error)
        return Bounded(value, np.where(truth.error == 0.0, error, unsure), x.precision)

    def where(self, mask: Array, x: Bounded, other: Any) -> Bounded:
        """Return ``x`` at steps where the mask is true, and ``other`` elsewhere."""
        if not isinstance(other, Bounded):
            other = Bounded.rounded(other, x.precision)
        value = _NUMPY.where(mask, x.value, other.value)
        return Bounded(value, _NUMPY.where(mask, x.error, other.error), x.precision)
