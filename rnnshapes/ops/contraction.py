"""Sums of products over named axes, as ``einsum`` writes them: ``ntkd,kdf->ntf``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from string import ascii_lowercase, ascii_uppercase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnnshapes.ops.activations import Array


#: Subscripts, in letters from a on, that ``keras.ops.einsum`` computes as one ``tf.matmul``; the
#: last eight only where all sizes but N are known, as in each graph that verify runs.
#: Source: ``keras/src/backend/tensorflow/numpy.py``.
_MATMUL_SUBSCRIPTS = frozenset(
    {
        "a,b->ab",
        "ab,b->a",
        "ab,bc->ac",
        "ab,cb->ac",
        "abc,cd->abd",
        "abc,dc->abd",
        "abcd,abde->abce",
        "abcd,abed->abce",
        "abcd,acbe->adbe",
        "abcd,adbe->acbe",
        "abcd,aecd->acbe",
        "abcd,aecd->aceb",
        "abc,cde->abde",
        "abc,dce->abde",
        "abc,dec->abde",
        "abcd,cde->abe",
        "abcd,ced->abe",
        "abcd,ecd->abe",
        "abcde,aebf->adbcf",
        "abcde,afce->acdbf",
    }
)


def einsum_sums_in_float16(subscripts: str) -> bool:
    """Return whether ``keras.ops.einsum`` may sum products of float16 numbers in float16.

    It does in ``tf.einsum``, also for other ways to write what it knows as a product of matrices:
    with spaces, with ``...`` or without a result.
    """
    letters = dict.fromkeys(filter(str.isalpha, subscripts))
    named = dict(zip(letters, ascii_lowercase + ascii_uppercase, strict=False))
    return "".join(named.get(each, each) for each in subscripts) not in _MATMUL_SUBSCRIPTS


@dataclass(frozen=True)
class Contraction:
    """A sum of products of two tensors over the axes that the result does not have.

    Args:
        subscripts: One letter for each axis of both tensors and of the result. No letter occurs
            twice in one tensor; each occurs in two of the three, or in the result.
        sums_in_float16: Whether TensorFlow may sum products of float16 numbers in float16, not in
            float32: in ``tf.einsum``, in depthwise and in transposed convolutions.
    """

    subscripts: str
    sums_in_float16: bool = False

    @cached_property
    def letters(self) -> tuple[str, str, str]:
        """The letters of both tensors, and of the result."""
        operands, result = self.subscripts.split("->")
        left, right = operands.split(",")
        return left, right, result

    def texts(self, left: str, right: str) -> tuple[str, str]:
        """Return how both tensors are written in the product of matrices: ``q``, ``kᵀ``."""
        one, other, result = self.letters
        shared = set(one) & set(other) & set(result)  # one product of matrices for each of them
        left_axes, right_axes = ([a for a in part if a not in shared] for part in (one, other))
        is_product = len(self.summed) == 1
        is_left_turned = is_product and left_axes[-1] not in self.summed
        is_right_turned = is_product and len(right_axes) > 1 and right_axes[-1] in self.summed
        return left + "ᵀ" * is_left_turned, right + "ᵀ" * is_right_turned

    @property
    def summed(self) -> str:
        """The letters over which the sum goes."""
        left, right, result = self.letters
        return "".join(letter for letter in left if letter in right and letter not in result)

    def terms(self, left: Array) -> int:
        """Return how many products each sum has, for the first tensor as an array."""
        sizes = dict(zip(self.letters[0], left.shape, strict=True))
        return math.prod(sizes[letter] for letter in self.summed)

    def __call__(self, left: Array, right: Array) -> Array:
        """Return the result for two arrays, as one product of matrices for each shared axis."""
        one, other, result = self.letters
        both = "".join(letter for letter in one if letter in other and letter in result)
        rows = "".join(letter for letter in one if letter not in other)
        columns = "".join(letter for letter in other if letter not in one)
        sizes = dict(zip(one + other, left.shape + right.shape, strict=True))

        def matrices(array: Array, letters: str, *groups: str) -> Array:
            order = [letters.index(letter) for letter in "".join(groups)]
            shape = [math.prod(sizes[letter] for letter in group) for group in groups[1:]]
            lead = [sizes[letter] for letter in groups[0]]
            return array.transpose(order).reshape(*lead, *shape)

        product: Array = matrices(left, one, both, rows, self.summed) @ matrices(
            right, other, both, self.summed, columns
        )
        letters = both + rows + columns
        full = product.reshape([sizes[letter] for letter in letters])
        return full.transpose([letters.index(letter) for letter in result])
