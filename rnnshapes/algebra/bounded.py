"""The third reading of an equation: over numbers with a proven bound of their rounding error.

A :class:`Bounded` holds values in float64 and, for each, how far a computation in a given
:class:`Precision` may be from it. Source of the rules: Higham, "Accuracy and Stability of
Numerical Algorithms", 2nd ed. (2002), sections 2.2 and 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from rnnshapes.algebra.arrays import ACTIVATIONS, Array


@dataclass(frozen=True)
class Precision:
    """A floating-point format: unit roundoff, smallest normal number, overflow threshold.

    ``limit`` is half the largest number: beyond it a sum of magnitudes may have overflowed.
    """

    name: str
    unit_roundoff: float
    tiny: float
    limit: float

    def gamma(self, n: int) -> float:
        """n·u / (1 - n·u): the error of a sum of n products, in any order of summation."""
        nu = n * self.unit_roundoff
        return nu / (1.0 - nu) if nu < 1.0 else np.inf  # too many terms for any statement


#: float64 has twice its own unit roundoff, since the reference itself rounds in float64.
PRECISIONS = MappingProxyType(
    {
        "float32": Precision("float32", 2.0**-24, 2.0**-126, 2.0**127),
        "float64": Precision("float64", 2.0**-52, 2.0**-1022, 2.0**1023),
    }
)


@dataclass(frozen=True, eq=False)
class Bounded:
    """Values (float64) and a bound of each one's error; the error is inf after an overflow."""

    value: Array
    error: Array
    precision: Precision

    @classmethod
    def exact(cls, value: Array, precision: Precision) -> Bounded:
        """Numbers that are known exactly: inputs, weights, Keras's own states.

        Nothing is known of what is not finite: its error is NaN.
        """
        value = np.asarray(value, dtype=np.float64)
        return cls(value, np.where(np.isfinite(value), 0.0, np.nan), precision)

    def __matmul__(self, other: Bounded) -> Bounded:
        """a @ W: the errors carried through |a| and |W|, and γ_n of the magnitudes."""
        p, n = self.precision, other.value.shape[0]
        left, right = np.abs(self.value), np.abs(other.value)
        magnitude = left @ right
        carried = self.error @ right if self.error.any() else 0.0
        if other.error.any():
            carried = carried + (left + self.error) @ other.error
        error = carried + p.gamma(n) * (magnitude + carried) + n * p.tiny
        return self._result(self.value @ other.value, error, magnitude)

    def __add__(self, other: Bounded) -> Bounded:
        p = self.precision
        value = self.value + other.value
        magnitude = np.abs(self.value) + np.abs(other.value)
        carried = self.error + other.error
        error = carried + p.unit_roundoff * (np.abs(value) + carried) + p.tiny
        return self._result(value, error, magnitude)

    def __mul__(self, other: Bounded) -> Bounded:
        p, a, b = self.precision, np.abs(self.value), np.abs(other.value)
        carried = a * other.error + b * self.error + self.error * other.error
        magnitude = a * b
        error = carried + p.unit_roundoff * (magnitude + carried) + p.tiny
        return self._result(self.value * other.value, error, magnitude)

    def __rsub__(self, other: int) -> Bounded:
        p, value = self.precision, other - self.value
        error = self.error + p.unit_roundoff * (np.abs(value) + self.error) + p.tiny
        return Bounded(value, error, p)

    def activated(self, name: str) -> Bounded:
        """φ of the values, for monotone φ: what φ makes of the interval, and its own ulps."""
        p, (function, ulps) = self.precision, ACTIVATIONS[name]
        value = function(self.value)
        spread = np.maximum(
            np.abs(function(self.value + self.error) - value),
            np.abs(value - function(self.value - self.error)),
        )
        unit = np.ldexp(p.unit_roundoff, np.frexp(value)[1])  # one unit in the last place
        unit = np.where(value == 0.0, 0.0, unit)
        error = spread + ulps * unit + p.tiny
        return Bounded(value, np.where(np.isinf(self.error), np.inf, error), p)

    def _result(self, value: Array, error: Array, magnitude: Array) -> Bounded:
        over = (magnitude > self.precision.limit) & ~np.isnan(error)
        error = np.where(over, np.inf, error)
        return Bounded(value, error, self.precision)


class BoundedOps:
    """The operations of this reading that are not operators."""

    def activate(self, name: str, z: Bounded) -> Bounded:
        """The activation ``name`` of ``z``, element by element."""
        return z.activated(name)

    def split(self, z: Bounded, base: str, parts: tuple[str, ...]) -> list[Bounded]:
        """The last axis of ``z`` in equal parts."""
        values = np.split(z.value, len(parts), axis=-1)
        errors = np.split(z.error, len(parts), axis=-1)
        return [Bounded(v, e, z.precision) for v, e in zip(values, errors, strict=True)]

    def rows(self, b: Bounded, names: tuple[str, ...]) -> list[Bounded]:
        """The rows of ``b``."""
        return [Bounded(v, e, b.precision) for v, e in zip(b.value, b.error, strict=True)]

    def let(self, name: str, value: Bounded) -> Bounded:
        """``value`` itself."""
        return value
