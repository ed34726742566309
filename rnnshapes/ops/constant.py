"""Numbers that stand in a model, and are no weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnnshapes.ops.dims import Dim, Shape

if TYPE_CHECKING:
    from rnnshapes.ops.activations import Array


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

    def reshaped(self, sizes: tuple[int, ...]) -> Constant:
        """Return the same numbers in another shape."""
        assert math.prod(sizes) == len(self.numbers)
        return Constant(self.numbers, sizes, self.dtype)

    def __str__(self) -> str:
        """Return up to three numbers: ``[1 2 3]``, ``[1 2 …]``."""
        shown = [f"{number:.4g}" for number in self.numbers]
        return f"[{' '.join(shown if len(shown) <= 3 else [*shown[:2], '…'])}]"
