"""Arrays of a weight file: known by name, dtype and shape, and read when they are needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from rnnshapes.errors import InputError

if TYPE_CHECKING:
    from rnnshapes.ops.activations import Array

#: More axes than an array of any model has.
MOST_AXES = 32
#: No axis is longer (a 64-bit signed integer).
LARGEST_AXIS = 2**63 - 1
#: Bytes of a number, by the dtypes that are read; NumPy's name of each is the same, but bfloat16.
ITEM_BYTES = MappingProxyType(
    {
        "float64": 8,
        "float32": 4,
        "float16": 2,
        "bfloat16": 2,
        "int64": 8,
        "int32": 4,
        "int16": 2,
        "int8": 1,
        "uint8": 1,
        "bool": 1,
    }
)
#: Dtypes of weights that layers compute with.
FLOATS = ("float32", "float64", "float16", "bfloat16")


@dataclass(frozen=True, eq=False)
class Tensor:
    """One array of a file.

    Attributes:
        name: Its name in the file, as text that can be printed.
        dtype: Its dtype, by NumPy's name or ``bfloat16``.
        shape: Its shape.
        read: Returns its numbers, in float32 for bfloat16.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], Array]

    @property
    def count(self) -> int:
        """The number of its numbers."""
        return math.prod(self.shape)


def check_shape(shape: object, name: str) -> tuple[int, ...]:
    """Return a shape from a file. Raises InputError if no array can have it."""
    if not isinstance(shape, list | tuple) or len(shape) > MOST_AXES:
        raise InputError(f"the shape of {name:.60} is not a list of at most {MOST_AXES} sizes")
    for size in shape:
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= LARGEST_AXIS:
            is_short = isinstance(size, int | float | str)  # the repr of others may have no end
            text = repr(size) if is_short else type(size).__name__
            raise InputError(f"the shape of {name:.60} holds {text:.40}, which is no size")
    return tuple(shape)


def require_floats(tensors: Mapping[str, Tensor]) -> None:
    """Raise InputError for weights by name that are of integers: quantized, or not of weights."""
    for name, tensor in tensors.items():
        if tensor.dtype not in FLOATS:
            raise InputError(f"its {name} is of {tensor.dtype}, and weights are floating-point")


def decode(data: bytes, dtype: str, *, big_endian: bool = False) -> Array:
    """Return the numbers in ``data``, (count,); in float32 for bfloat16."""
    import numpy as np

    order: Literal[">", "<"] = ">" if big_endian else "<"
    if dtype == "bfloat16":  # the upper half of a float32
        halves = np.frombuffer(data, np.dtype("u2").newbyteorder(order))
        return (halves.astype("u4") << 16).view("f4")
    values: Array = np.frombuffer(data, np.dtype(dtype).newbyteorder(order))
    return values.astype(np.dtype(dtype), copy=False)
