"""Floating-point dtypes, and the largest rounding error of one operation in each.

Source: Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed. (2002), sections 2.2 and
3.1; for sums in float16, Jeannerod and Rump, "Improved error bounds for inner products in
floating-point arithmetic", SIAM J. Matrix Anal. Appl. 34 (2013). Measured for TensorFlow 2.21 on a
CPU, plain and compiled by XLA: it sums matrix products of both 16-bit dtypes, and anything of
bfloat16, in float32, and rounds each sum once. In float16 it sums where XLA does not compile:
numbers, and the products of ``tf.einsum`` and of depthwise and transposed convolutions. ``MatMul``
converts float16 to float32 and ``Einsum`` does not: ``tensorflow/core/kernels/matmul_op_impl.h``
and ``linalg/einsum_op_impl.h``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from rnnshapes.ops.activations import Array

_FLOAT32 = 2.0**-24 + 2.0**-53
_FLOAT32_TINY = 2.0**-126


@dataclass(frozen=True)
class Precision:
    """A floating-point dtype: unit roundoff, smallest normal number, overflow threshold.

    ``overflow_threshold`` is half the largest number: beyond it a sum of magnitudes may have
    overflowed. ``sums_in_float32`` holds for a dtype of 16 bits whose sums are of float32.
    ``exact_constants`` says that a constant which TensorFlow rounds to float32 may not be rounded.
    ``factor_roundoff`` is the error of each product whose factors are rounded to fewer bits.
    """

    name: str
    unit_roundoff: float
    tiny: float
    overflow_threshold: float
    sums_in_float32: bool = False
    factor_roundoff: float = 0.0
    exact_constants: bool = False

    def gamma(self, n: int, roundings: int = 1) -> float:
        """Return the error of a sum of n products in any order, relative to their magnitudes.

        It is γ_n = n·u / (1 - n·u). In a dtype of 16 bits, whose sums are of float32 unless
        ``roundings`` counts their terms, it is exp(Σu) - 1, which is finite for any n.

        Args:
            n: The number of products.
            roundings: How often a product, or a sum that it is part of, is rounded to 16 bits;
                of no account for sums in the dtype itself.
        """
        if self.sums_in_float32:  # n·u holds as well, and is less than exp(99)
            return math.expm1(min(n * _FLOAT32 + roundings * self.unit_roundoff, 99.0))
        nu = n * self.unit_roundoff + self.factor_roundoff
        return nu / (1.0 - nu) if nu < 1.0 else np.inf  # with too many terms there is no bound

    def sum_roundoff(self, n: int) -> float:
        """Return the error of a sum of n numbers in any order, relative to their magnitudes.

        In float16 it is n·u, which holds for any n without overflow.
        """
        return n * self.unit_roundoff if self.name == "float16" else self.gamma(n)

    def underflow(self, n: int) -> float:
        """Return how much of a sum of n products may be lost below the smallest normal number."""
        return n * _FLOAT32_TINY + self.tiny if self.sums_in_float32 else n * self.tiny

    @property
    def is_16bit(self) -> bool:
        """Whether it has 16 bits: numbers of float32 are rounded to it."""
        return self.name in ("float16", "bfloat16")

    def rounded(self, values: Array) -> Array:
        """Return the values (float64), rounded to this dtype if it has 16 bits."""
        if not self.is_16bit:
            return values
        import ml_dtypes  # which comes with Keras

        dtype = np.dtype(np.float16 if self.name == "float16" else ml_dtypes.bfloat16)
        with np.errstate(over="ignore"):
            rounded: Array = values.astype(np.float32).astype(dtype).astype(np.float64)
        return rounded


#: The unit roundoff of the dtype, and that of float64, in which the reference itself rounds.
PRECISIONS = MappingProxyType(
    {
        "float32": Precision("float32", _FLOAT32, _FLOAT32_TINY, 2.0**127),
        "float64": Precision("float64", 2.0**-53 + 2.0**-53, 2.0**-1022, 2.0**1023),
        "float16": Precision("float16", 2.0**-11 + 2.0**-53, 2.0**-14, 2.0**15, True),
        "bfloat16": Precision("bfloat16", 2.0**-8 + 2.0**-53, 2.0**-126, 2.0**127, True),
    }
)
#: float32 on a GPU that rounds the factors of matrix products to 11 bits (TensorFloat-32).
TENSOR_FLOAT_32 = Precision(
    "float32", _FLOAT32, _FLOAT32_TINY, 2.0**127, factor_roundoff=2.1 * 2.0**-11
)
