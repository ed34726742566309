"""Functions that move, select, repeat or pad numbers without changing them.

All interpreters use them: a :class:`Rearrangement` returns the text, the shape and the array of its
result. Errors move like the numbers that they belong to.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rnnshapes.errors import InputError
from rnnshapes.ops.dims import Dim, Shape

if TYPE_CHECKING:
    from rnnshapes.ops.activations import Array

#: A slice that keeps a whole axis.
WHOLE = slice(None)


class Rearrangement(ABC):
    """A function of one tensor, in which each number is one of the tensor's, or 0.

    ``name`` is how the operation is called where operations are listed.
    """

    name: ClassVar[str]

    @abstractmethod
    def shape(self, shape: Shape) -> Shape:
        """Return the shape of the result for a tensor of this shape."""

    @abstractmethod
    def __call__(self, x: Array) -> Array:
        """Return the result for an array."""

    def text(self, operand: str) -> str:
        """Return how the result is written, for a tensor that is written ``operand``."""
        return f"{self.name}({operand})"


@dataclass(frozen=True)
class Selection(Rearrangement):
    """``x[key]``, by integers, slices, ``...`` and None.

    ``lengths`` holds, for each part of the key, the new length of a cut axis.
    Source: ``keras/src/ops/numpy.py``, ``GetItem``.
    """

    key: tuple[Any, ...]
    lengths: tuple[Dim | None, ...]

    name = "[ ]"

    def shape(self, shape: Shape) -> Shape:
        left, selected = list(shape), []
        for number, (part, length) in enumerate(zip(self.key, self.lengths, strict=True)):
            if part is Ellipsis:
                after = sum(other is not None for other in self.key[number + 1 :])
                count = len(left) - after
                selected += left[:count]
                left = left[count:]
            elif part is None:
                selected.append(Dim.of(1))
            else:
                size = left.pop(0)
                if isinstance(part, slice):
                    selected.append(size if length is None else length)
        return (*selected, *left)

    def __call__(self, x: Array) -> Array:
        """Return ``x[key]``; raise InputError where x is too short for an index."""
        try:
            selected: Array = x[self.key]
        except IndexError:
            raise InputError(
                f"{self} is out of range for an array of shape {x.shape}; give longer input"
            ) from None
        return selected

    def text(self, operand: str) -> str:
        return f"{operand}{self}"

    def __str__(self) -> str:
        """Return the key as Python code: ``[:, -1]``."""
        return f"[{', '.join(map(_part_text, self.key))}]"


def _part_text(part: Any) -> str:
    if part is Ellipsis:
        return "..."
    if not isinstance(part, slice):
        return str(part)
    start, stop, step = ("" if n is None else str(n) for n in (part.start, part.stop, part.step))
    return f"{start}:{stop}:{step}" if step else f"{start}:{stop}"


@dataclass(frozen=True)
class Reshaped(Rearrangement):
    """Each sample in another shape; in ``numbers``, -1 stands for what is left."""

    dims: Shape
    numbers: tuple[int, ...]

    name = "reshape"

    def shape(self, shape: Shape) -> Shape:
        return (shape[0], *self.dims)

    def __call__(self, x: Array) -> Array:
        return x.reshape(len(x), *self.numbers)


@dataclass(frozen=True)
class Repeated(Rearrangement):
    """Each sample again at each of ``number`` steps: (N, F) → (N, R, F)."""

    times: Dim
    number: int

    name = "repeat"

    def shape(self, shape: Shape) -> Shape:
        return (shape[0], self.times, *shape[1:])

    def __call__(self, x: Array) -> Array:
        import numpy as np

        return np.repeat(x[:, None], self.number, axis=1)


@dataclass(frozen=True)
class Transposed(Rearrangement):
    """The axes in another order, as NumPy's ``transpose``."""

    axes: tuple[int, ...]

    name = "transpose"

    def shape(self, shape: Shape) -> Shape:
        return tuple(shape[axis] for axis in self.axes)

    def __call__(self, x: Array) -> Array:
        return x.transpose(self.axes)


@dataclass(frozen=True)
class SameShape(Rearrangement):
    """Numbers that any function moves, or sets to 0, which keeps the shape."""

    function: Callable[[Array], Array]

    name = "move"

    def shape(self, shape: Shape) -> Shape:
        return shape

    def __call__(self, x: Array) -> Array:
        return self.function(x)


@dataclass(frozen=True)
class Joined(Rearrangement):
    """The last two axes as one: (N, T, D, m) → (N, T, m·D)."""

    name = "reshape"

    def shape(self, shape: Shape) -> Shape:
        return (*shape[:-2], shape[-2] * shape[-1])

    def __call__(self, x: Array) -> Array:
        return x.reshape(*x.shape[:-2], -1)


@dataclass(frozen=True)
class Lengthened(Rearrangement):
    """Base class of what gives the axes from 1 on the lengths ``dims``."""

    dims: Sequence[Dim]

    def shape(self, shape: Shape) -> Shape:
        return (shape[0], *self.dims, *shape[1 + len(self.dims) :])


@dataclass(frozen=True)
class Padded(Lengthened):
    """Zeros before and after the axes from 1 on."""

    padding: tuple[tuple[int, int], ...]

    name = "pad"

    def __call__(self, x: Array) -> Array:
        import numpy as np

        rest = [(0, 0)] * (x.ndim - 1 - len(self.padding))
        return np.pad(x, [(0, 0), *self.padding, *rest])


@dataclass(frozen=True)
class Stretched(Rearrangement):
    """The steps ``stride`` apart, with zeros between, before and after them."""

    stride: int
    before: int
    after: int
    steps: Dim

    name = "stretch"

    def shape(self, shape: Shape) -> Shape:
        return (shape[0], self.steps, *shape[2:])

    def __call__(self, x: Array) -> Array:
        import numpy as np

        last = self.before + (x.shape[1] - 1) * self.stride
        stretched = np.zeros((len(x), last + 1 + self.after, *x.shape[2:]), x.dtype)
        stretched[:, self.before : last + 1 : self.stride] = x
        return stretched


@dataclass(frozen=True)
class Upsampled(Lengthened):
    """Each number repeated along the axes from 1 on."""

    factors: tuple[int, ...]

    name = "repeat"

    def __call__(self, x: Array) -> Array:
        import numpy as np

        for axis, factor in enumerate(self.factors, 1):
            x = np.repeat(x, factor, axis=axis)
        return x


@dataclass(frozen=True)
class Grouped(Rearrangement):
    """The last axis in groups of equal size: (N, T, F) → (N, T, G, F/G)."""

    groups: Dim
    number: int
    size: Dim

    name = "groups"

    def shape(self, shape: Shape) -> Shape:
        return (*shape[:-1], self.groups, self.size)

    def __call__(self, x: Array) -> Array:
        return x.reshape(*x.shape[:-1], self.number, -1)


@dataclass(frozen=True)
class RepeatedPerGroup(Rearrangement):
    """The number of each group, repeated for each of its ``size`` features: (N, G, 1) → (N, F)."""

    features: Dim
    size: int

    name = "repeat"

    def shape(self, shape: Shape) -> Shape:
        return (*shape[:-2], self.features)

    def __call__(self, x: Array) -> Array:
        import numpy as np

        return np.repeat(x[..., 0], self.size, axis=-1)
