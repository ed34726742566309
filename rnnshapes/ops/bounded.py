"""The third reading of an equation: over numbers with a proven bound of their rounding error.

A :class:`Bounded` holds values in float64 and, for each, how far a computation in a given
:class:`Precision` may be from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from rnnshapes.ops.activations import FORMULAS, MONOTONE, Array, log_softmax, softmax
from rnnshapes.ops.numpy_ops import NumpyOps
from rnnshapes.ops.precision import Precision
from rnnshapes.ops.windows import Window


class Sum(NamedTuple):
    """So many terms, the sum of their magnitudes, and the error that they brought with them."""

    terms: int
    magnitude: Array
    carried: Array | float


@dataclass(frozen=True, eq=False)
class Bounded:
    """Values (float64) and a bound of each one's error; the error is inf after an overflow.

    ``sum`` is there while more may be added: kernels that are fused add in an order of their own.
    """

    value: Array
    error: Array
    precision: Precision
    sum: Sum | None = None

    @classmethod
    def exact(cls, value: Array, precision: Precision) -> Bounded:
        """Numbers that are known exactly: inputs, weights, Keras's own states.

        A short format has rounded them. Nothing is known of what is not finite: its error is NaN.
        """
        value = precision.rounded(np.asarray(value, dtype=np.float64))
        return cls(value, np.where(np.isfinite(value), 0.0, np.nan), precision)

    @classmethod
    def rounded(cls, constant: float, precision: Precision) -> Bounded:
        """A constant of a formula, which may have been rounded to the precision."""
        value = np.asarray(constant, dtype=np.float64)
        exact = float(constant).is_integer() or np.log2(abs(constant)).is_integer()
        error = 0.0 if exact else precision.unit_roundoff * np.abs(value)
        return cls(value, np.asarray(error), precision)

    def __matmul__(self, other: Bounded) -> Bounded:
        """a @ W: the errors carried through |a| and |W|, and γ_n of the magnitudes."""
        p, n = self.precision, other.value.shape[0]
        left, right = np.abs(self.value), np.abs(other.value)
        magnitude = left @ right
        carried = self.error @ right if self.error.any() else 0.0
        if other.error.any():
            carried = carried + (left + self.error) @ other.error
        error = carried + p.gamma(n) * (magnitude + carried) + p.underflow(n)
        worst = self.error.sum(axis=-1, keepdims=True) + other.error.sum()
        made = self._result(self.value @ other.value, error, magnitude, worst)
        return replace(made, sum=Sum(n, magnitude, carried))

    def __add__(self, other: Bounded | float) -> Bounded:
        p = self.precision
        if not isinstance(other, Bounded):
            other = Bounded.rounded(other, p)
        value, one, two = self.value + other.value, self._summed(), other._summed()
        terms, magnitude = one.terms + two.terms, one.magnitude + two.magnitude
        carried = one.carried + two.carried
        error = carried + p.gamma(terms) * (magnitude + carried) + p.underflow(terms)
        made = self._result(value, error, magnitude, self.error + other.error)
        return replace(made, sum=Sum(terms, magnitude, carried))

    def _summed(self) -> Sum:
        """The sum that it is, or itself as its only term."""
        return self.sum or Sum(1, np.abs(self.value), self.error)

    __radd__ = __add__

    def __sub__(self, other: Bounded) -> Bounded:
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

    def __rsub__(self, other: int) -> Bounded:
        p, value = self.precision, other - self.value
        error = self.error + p.unit_roundoff * (np.abs(value) + self.error) + p.tiny
        return Bounded(value, error, p)

    def activated(self, name: str) -> Bounded:
        """The activation ``name`` of the values: monotone, of a whole row, or a formula."""
        if name in FORMULAS:
            made: Bounded = FORMULAS[name](lambda part, z: z.activated(part), self)
            return made
        if name in _ROWWISE:
            return _ROWWISE[name](self)
        function, ulps, units = MONOTONE[name]
        made = self.monotone(function, ulps)
        return made.widened(units * self.precision.unit_roundoff) if units else made

    def monotone(self, function: Callable[[Array], Array], ulps: int) -> Bounded:
        """φ of the values, for monotone φ: what φ makes of the interval, and its own ulps."""
        p = self.precision
        value = function(self.value)
        spread = np.maximum(
            np.abs(function(self.value + self.error) - value),
            np.abs(value - function(self.value - self.error)),
        )
        unit = np.ldexp(p.unit_roundoff, np.frexp(value)[1])  # one unit in the last place
        unit = np.where(value == 0.0, 0.0, unit)
        error = spread + ulps * unit + 4 * p.tiny
        lost = np.isinf(self.error) | ((np.abs(value) > p.limit) & ~np.isnan(self.error))
        return Bounded(value, np.where(lost, np.inf, error), p)

    def cast(self, precision: Precision) -> Bounded:
        """The same numbers, rounded to another format."""
        if precision == self.precision:
            return self
        if not precision.short:
            return Bounded(self.value, self.error, precision)
        more = precision.unit_roundoff * (np.abs(self.value) + self.error) + precision.tiny
        over = np.abs(self.value) > precision.limit
        return Bounded(self.value, np.where(over, np.inf, self.error + more), precision)

    def widened(self, more: float | Array) -> Bounded:
        """The same values with ``more`` error."""
        return Bounded(self.value, self.error + more, self.precision)

    def rearranged(self, function: Callable[[Array], Array]) -> Bounded:
        """What only moves or selects numbers, done to the values and to their errors."""
        return Bounded(function(self.value), function(self.error), self.precision)

    def _result(self, value: Array, error: Array, magnitude: Array, before: Array) -> Bounded:
        """``before`` is NaN where nothing is known, and infinite behind an overflow.

        Neither changes, whatever a product of infinity and 0 would be.
        """
        over = (magnitude > self.precision.limit) | np.isinf(before)
        error = np.where(over, np.inf, error)
        return Bounded(value, np.where(np.isnan(before), np.nan, error), self.precision)


def _terms(z: Bounded) -> tuple[Array, Array, Array]:
    """What shifting by the row's maximum, exp and summing do: log of the change, relative errors.

    The logarithm of a softmax moves by at most δ_i + max δ. The kernel's exp is taken to be off
    by 8 units in the last place.
    """
    p, n = z.precision, z.value.shape[-1]
    below = z.value.max(axis=-1, keepdims=True) - z.value
    moved = z.error + z.error.max(axis=-1, keepdims=True)
    each = p.unit_roundoff * (below + 16)
    share = softmax(z.value)
    whole = (share * each).sum(axis=-1, keepdims=True) + p.gamma(n)
    return moved, each, whole


def _softmax(z: Bounded) -> Bounded:
    p, value = z.precision, softmax(z.value)
    moved, each, whole = _terms(z)
    with np.errstate(over="ignore", invalid="ignore"):
        factor = np.expm1(moved) + 1.1 * (each + whole + 2 * p.unit_roundoff) * np.exp(moved)
        error = value * factor
    # Whatever has moved, a share is between 0 and 1.
    error = np.where(error <= 1.0, error, 1.0) + (value.shape[-1] + 1) * p.tiny
    error = np.where(np.isnan(moved), np.nan, error)
    return Bounded(value, np.where(np.isinf(moved), np.inf, error), p)


def _log_softmax(z: Bounded) -> Bounded:
    p, value = z.precision, log_softmax(z.value)
    moved, _, whole = _terms(z)
    below = z.value.max(axis=-1, keepdims=True) - z.value
    sizes = 2 * below + 17 * np.abs(value) + np.log(value.shape[-1])
    error = moved + 1.1 * whole + p.unit_roundoff * sizes + p.tiny
    return Bounded(value, error, p)


_ROWWISE = MappingProxyType({"softmax": _softmax, "log_softmax": _log_softmax})
_ARRAYS = NumpyOps()


class BoundedOps:
    """The operations of this reading that are not operators."""

    def activate(self, name: str, z: Bounded) -> Bounded:
        """The activation ``name`` of ``z``."""
        return z.activated(name)

    def split(self, z: Bounded, base: str, parts: tuple[str, ...]) -> list[Bounded]:
        """The last axis of ``z`` in equal parts."""
        values, errors = (_ARRAYS.split(part, base, parts) for part in (z.value, z.error))
        return [Bounded(v, e, z.precision) for v, e in zip(values, errors, strict=True)]

    def rows(self, b: Bounded, names: tuple[str, ...]) -> list[Bounded]:
        """The rows of ``b``."""
        return [Bounded(v, e, b.precision) for v, e in zip(b.value, b.error, strict=True)]

    def let(self, name: str, value: Bounded) -> Bounded:
        """``value`` itself."""
        return value

    def rearrange(self, x: Bounded, function: Callable[[Array], Array]) -> Bounded:
        """What only moves or selects numbers, done to ``x``."""
        return x.rearranged(function)

    def swap_time(self, x: Bounded) -> Bounded:
        """(N, T, …) as (T, N, …), and back."""
        return x.rearranged(_ARRAYS.swap_time)

    def shape(self, x: Bounded) -> tuple[int, ...]:
        """Its shape."""
        return x.value.shape

    def rank(self, x: Bounded) -> int:
        """How many axes it has."""
        return x.value.ndim

    def within(self, suffix: str) -> BoundedOps:
        """These operations."""
        return self

    def concatenate(self, values: Sequence[Bounded]) -> Bounded:
        """One behind the other on the last axis."""
        value = _ARRAYS.concatenate([v.value for v in values])
        return Bounded(value, _ARRAYS.concatenate([v.error for v in values]), values[0].precision)

    def aligned(self, values: Sequence[Bounded]) -> Sequence[Bounded]:
        """As they are: NumPy broadcasts."""
        return values

    def take(self, table: Bounded, indices: Bounded) -> Bounded:
        """The rows of ``table`` with these whole numbers."""
        return table.rearranged(lambda part: _ARRAYS.take(part, indices.value))

    def windows(self, x: Bounded, window: Window) -> Bounded:
        """(N, T, F) as (N, T', size, F)."""
        value = _ARRAYS.windows(x.value, window)
        return Bounded(value, _ARRAYS.windows(x.error, replace(window, fill=0.0)), x.precision)

    def contract(self, seen: Bounded, kernel: Bounded) -> Bounded:
        """(N, T', k, D)·(k, D, F) → (N, T', F), as one product of matrices."""
        flat = kernel.rearranged(lambda part: part.reshape(-1, part.shape[-1]))
        return seen.rearranged(lambda part: part.reshape(*part.shape[:2], -1)) @ flat

    def averages(self, x: Bounded, window: Window) -> Bounded:
        """The mean of what each window sees, (N, T', F)."""
        return self.mean(self.windows(x, window), 2, _ARRAYS.window_counts(x.value, window))

    def mean(self, x: Bounded, axis: int, count: Array | None = None) -> Bounded:
        """The mean over ``axis``, or the sum divided by ``count``: γ_n, and one division."""
        p, n = x.precision, x.value.shape[axis]
        value, carried, size = (
            _ARRAYS.mean(part, axis, count) for part in (x.value, x.error, np.abs(x.value))
        )
        error = carried + p.gamma(n + 2) * (size + carried) + p.underflow(n)
        return x._result(value, error, size * n, carried)

    def max(self, x: Bounded, axis: int) -> Bounded:
        """The largest over ``axis``: no farther off than the largest error."""
        return x.rearranged(lambda part: _ARRAYS.max(part, axis))

    def rsqrt(self, x: Bounded) -> Bounded:
        """1 / sqrt(x), falling for x above 0."""
        return x.monotone(lambda v: _ARRAYS.rsqrt(np.maximum(v, x.precision.tiny)), 4)

    def where(self, mask: Array, x: Bounded) -> Bounded:
        """``x`` where the mask holds, and 0 elsewhere."""
        return x.rearranged(lambda part: _ARRAYS.where(mask, part))

    def reshape(self, x: Bounded, shape: Sequence[object], numbers: tuple[int, ...]) -> Bounded:
        """Each sample in the shape ``numbers``."""
        return x.rearranged(lambda part: _ARRAYS.reshape(part, shape, numbers))

    def repeat(self, x: Bounded, times: object, number: int) -> Bounded:
        """(N, F) as (N, number, F)."""
        return x.rearranged(lambda part: _ARRAYS.repeat(part, times, number))
