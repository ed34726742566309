"""Constant arrays in a model, which are not weights."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rnnshapes.ops.dims import Dim, Shape

if TYPE_CHECKING:
    from rnnshapes.ops.activations import Array

#: The most numbers in a constant; larger arrays are not read.
MOST_NUMBERS = 10_000
#: The dtypes of arrays.
NUMBER_DTYPES = (
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "bool",
)
#: The largest finite number of each floating-point dtype.
_LARGEST = {"float16": 65504.0, "float32": (2 - 2**-23) * 2.0**127, "float64": sys.float_info.max}


def has_number(dtype: str, number: float) -> bool:
    """Return whether an array of ``dtype``, one of NUMBER_DTYPES, can hold a finite number.

    An int is compared exactly, however large it is.
    """
    if (dtype == "bool") != isinstance(number, bool):
        return False
    if dtype == "bool":
        return True
    if dtype in _LARGEST:
        return abs(number) <= _LARGEST[dtype]
    bits = int(dtype.lstrip("uint"))
    lowest, above = (0, 2**bits) if dtype.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    return isinstance(number, int) and lowest <= number < above


@dataclass(frozen=True)
class Constant:
    """An array of numbers, as a tuple in C order, with its shape and its dtype."""

    numbers: tuple[float, ...]
    sizes: tuple[int, ...]
    dtype: str

    @property
    def shape(self) -> Shape:
        """The symbolic shape."""
        return tuple(map(Dim.of, self.sizes))

    def array(self) -> Array:
        """Return the numbers as an array."""
        import numpy as np

        return np.asarray(self.numbers, dtype=self.dtype).reshape(self.sizes)

    def __str__(self) -> str:
        """Return up to three numbers, ``[1 2 3]``, ``[1 2 …]``, and a number without axes alone."""
        shown = [f"{number:.4g}" for number in self.numbers]
        if not self.sizes:
            return shown[0]
        return f"[{' '.join(shown if len(shown) <= 3 else [*shown[:2], '…'])}]"


def constant_of(value: Any, dtype: Any) -> Constant | None:
    """Return numbers in nested lists as a constant.

    None if they are no array of ``dtype``, one of NUMBER_DTYPES, or too many.
    """
    numbers: list[float] = []
    sizes: list[int] = []

    def add(part: Any, axis: int) -> bool:
        if not isinstance(part, list):
            numbers.append(part)
            return axis == len(sizes) and type(part) in (int, float, bool)
        if axis == len(sizes):
            if numbers:
                return False
            sizes.append(len(part))
        return len(part) == sizes[axis] > 0 and all(add(inner, axis + 1) for inner in part)

    is_array = add(value, 0) and len(numbers) <= MOST_NUMBERS
    if not is_array or dtype not in NUMBER_DTYPES:
        return None
    if not all(has_number(dtype, number) for number in numbers):
        return None
    return Constant(tuple(numbers), tuple(sizes), dtype)
