"""Monotone functions of each number with constants of their own, such as a slope.

An :class:`Elementwise` returns the text and the array of its result, and bounds the error of
Keras's kernels. Source: ``keras/src/activations/activations.py``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnnshapes.ops.activations import Array


class Elementwise(ABC):
    """A monotone function of each number.

    Attributes:
        ulps: The largest error, in units in the last place of the result.
        ulps_of_one: The same in units in the last place of 1, for kernels that subtract 1.
        threshold: A constant with which the number is compared, and which may be rounded.
        lowest: The lowest number for which it is defined.
        is_even: Whether it is the same for -x, and monotone for x above 0 alone.
    """

    ulps: int = 0
    ulps_of_one: float = 0.0
    threshold: float = 0.0
    lowest: float = -math.inf
    is_even: bool = False

    @abstractmethod
    def __call__(self, x: Array) -> Array:
        """Return the result for an array."""

    @abstractmethod
    def text(self, operand: str) -> str:
        """Return how the result is written, for a tensor that is written ``operand``."""

    @property
    @abstractmethod
    def name(self) -> str:
        """How the operation is called where operations are listed."""


@dataclass(frozen=True)
class NegativePart(Elementwise):
    """The part below zero, without its sign: relu(-x)."""

    name = "relu"

    def __call__(self, x: Array) -> Array:
        import numpy as np

        return np.maximum(-x, 0)

    def text(self, operand: str) -> str:
        return f"relu(-{operand})" if " " not in operand else f"relu(-({operand}))"


@dataclass(frozen=True)
class LeakyReLU(Elementwise):
    """x above 0, slope · x below."""

    slope: float

    name = "leaky_relu"
    ulps = 4

    def __call__(self, x: Array) -> Array:
        import numpy as np

        return np.where(x > 0, x, x.dtype.type(self.slope) * x)

    def text(self, operand: str) -> str:
        return f"leaky_relu({operand}, {self.slope:g})"


@dataclass(frozen=True)
class ELU(Elementwise):
    """x above 0, alpha · (exp(x) - 1) below."""

    alpha: float

    name = "elu"
    ulps = 10

    @property
    def ulps_of_one(self) -> float:  # type: ignore[override]
        return 4 * max(1.0, self.alpha)

    def __call__(self, x: Array) -> Array:
        import numpy as np

        return np.where(x > 0, x, x.dtype.type(self.alpha) * np.expm1(np.minimum(x, 0)))

    def text(self, operand: str) -> str:
        return f"elu({operand}, {self.alpha:g})"


@dataclass(frozen=True)
class ClippedReLU(Elementwise):
    """x above the threshold, at most ``highest``; slope · (x - threshold) below it.

    In any dtype, Keras has ``highest`` as a float32, and compares x with a threshold in float32.
    """

    highest: float | None
    slope: float
    threshold: float = 0.0

    name = "relu"
    ulps = 6

    def __call__(self, x: Array) -> Array:
        import numpy as np

        single, number = np.float32, x.dtype.type
        above = x if self.highest is None else np.minimum(x, number(single(self.highest)))
        below = number(self.slope) * (x - number(self.threshold))
        return np.where(x > number(single(self.threshold)), above, below)

    def text(self, operand: str) -> str:
        options = {"max": self.highest, "slope": self.slope, "threshold": self.threshold}
        named = "".join(f", {name} {value:g}" for name, value in options.items() if value)
        return f"relu({operand}{named})"


@dataclass(frozen=True)
class Clip(Elementwise):
    """x, at least ``least`` and at most ``most``, which may be rounded."""

    least: float
    most: float

    name = "clip"
    ulps = 2

    def __call__(self, x: Array) -> Array:
        import numpy as np

        number = x.dtype.type
        clipped: Array = np.minimum(np.maximum(x, number(self.least)), number(self.most))
        return clipped

    def text(self, operand: str) -> str:
        return f"clip({operand}, {self.least:g}, {self.most:g})"


@dataclass(frozen=True)
class Affine(Elementwise):
    """scale · x + shift."""

    scale: float
    shift: float

    name = "affine"
    ulps = 4
    ulps_of_one = 4

    def __call__(self, x: Array) -> Array:
        result: Array = x.dtype.type(self.scale) * x + x.dtype.type(self.shift)
        return result

    def text(self, operand: str) -> str:
        return f"affine({operand}, {self.scale:g}, {self.shift:g})"


@dataclass(frozen=True)
class HardSigmoid(Affine):
    """scale · x + shift, between 0 and 1."""

    name = "hard_sigmoid"

    def __call__(self, x: Array) -> Array:
        import numpy as np

        return np.clip(super().__call__(x), 0, 1)

    def text(self, operand: str) -> str:
        return f"hard_sigmoid({operand}, {self.scale:g}, {self.shift:g})"


@dataclass(frozen=True)
class ScaledTanh(Elementwise):
    """height · tanh(slope · x), which ONNX Runtime computes from exponentials."""

    height: float
    slope: float

    name = "scaled_tanh"
    ulps = 10

    @property
    def ulps_of_one(self) -> float:  # type: ignore[override]
        return 4 * abs(self.height)

    def __call__(self, x: Array) -> Array:
        import numpy as np

        result: Array = x.dtype.type(self.height) * np.tanh(x.dtype.type(self.slope) * x)
        return result

    def text(self, operand: str) -> str:
        return f"scaled_tanh({operand}, {self.height:g}, {self.slope:g})"


@dataclass(frozen=True)
class InverseRoot(Elementwise):
    """1 / sqrt(x), at most ``highest``."""

    highest: float

    name = "rsqrt"
    ulps = 4

    def __call__(self, x: Array) -> Array:
        import numpy as np

        with np.errstate(divide="ignore"):
            inverse: Array = 1 / np.sqrt(np.maximum(x, 0))
        limited: Array = np.minimum(inverse, x.dtype.type(self.highest))
        return limited

    def text(self, operand: str) -> str:
        return f"rsqrt({operand})"


@dataclass(frozen=True)
class Function(Elementwise):
    """A NumPy function, by name: ``sqrt``, ``log``, ``exp``."""

    function: str
    ulps: int = 8
    lowest: float = -math.inf
    is_even: bool = False
    ulps_of_one: float = 0.0

    def __call__(self, x: Array) -> Array:
        import numpy as np

        result: Array = getattr(np, self.function)(x)
        return result

    def text(self, operand: str) -> str:
        return f"{self.function}({operand})"

    @property
    def name(self) -> str:
        return self.function


SQRT = Function("sqrt", 2, lowest=0.0)
#: TensorFlow may compute log(1 + x) without rounding 1 + x.
LOG = Function("log", lowest=0.0, ulps_of_one=2.0)
LOG1P = Function("log1p", lowest=-1.0)
EXP = Function("exp")
EXPM1 = Function("expm1", ulps_of_one=4.0)
ABS = Function("abs", 0, is_even=True)
SQUARE = Function("square", 2, is_even=True)


@dataclass(frozen=True)
class Power(Elementwise):
    """x to the power of a number above 0, which may be rounded.

    Below zero it is NaN, unless the exponent is an integer.
    """

    exponent: float

    name = "power"
    ulps = 8

    @property
    def is_even(self) -> bool:  # type: ignore[override]
        return self.exponent % 2 == 0

    @property
    def lowest(self) -> float:  # type: ignore[override]
        return -math.inf if float(self.exponent).is_integer() else 0.0

    def __call__(self, x: Array) -> Array:
        power: Array = x ** x.dtype.type(self.exponent)
        return power

    def text(self, operand: str) -> str:
        return f"power({operand}, {self.exponent:g})"
