"""Three readings of an equation at once: each value with its name, its text, and its numbers."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from rnnshapes.ops.activations import Array
from rnnshapes.ops.dims import Dim, Shape
from rnnshapes.ops.numpy_ops import NumpyOps
from rnnshapes.ops.symbolic import Symbol, SymbolicOps

_SAMPLES = Dim.named("N")


class Note(NamedTuple):
    """A value that was recorded, and the equation that it stands in: ``i_t = sigmoid(z_i)``."""

    text: str
    value: Recorded


#: What was recorded, in order, by the text without time: ``h Wh``.
Log = dict[str, Note]


@dataclass(frozen=True, eq=False)
class Recorded:
    """A value as it is written at step t (``h_{t-1} Wh``), without time (``h Wh``), and in numbers.

    ``parts`` are the two symbols and the array; without the array where only texts are asked for.
    """

    parts: tuple[Any, ...]
    log: Log

    @property
    def symbol(self) -> Symbol:
        """How it is written at step t, with its shape."""
        symbol: Symbol = self.parts[0]
        return symbol

    @property
    def name(self) -> str:
        """How it is written without time."""
        text: str = self.parts[1].text
        return text

    @property
    def numbers(self) -> Array:
        """The array."""
        array: Array = self.parts[2]
        return array

    def __matmul__(self, other: Recorded) -> Recorded:
        return self._with(operator.matmul, other).noted()

    def __add__(self, other: Recorded | float) -> Recorded:
        return self._with(operator.add, other)

    def __sub__(self, other: Recorded) -> Recorded:
        return self._with(operator.sub, other)

    def __mul__(self, other: Recorded | float) -> Recorded:
        return self._with(operator.mul, other)

    def __rsub__(self, other: int) -> Recorded:
        return Recorded(tuple(other - part for part in self.parts), self.log)

    def noted(self, text: str | None = None) -> Recorded:
        """The same, recorded if it has samples: what is made of weights alone has none."""
        if self.symbol.shape[:1] == (_SAMPLES,):
            self.log.setdefault(self.name, Note(text or self.symbol.text, self))
        return self

    def _with(self, function: Callable[[Any, Any], Any], other: Recorded | float) -> Recorded:
        others = other.parts if isinstance(other, Recorded) else (other,) * len(self.parts)
        return Recorded(tuple(map(function, self.parts, others)), self.log)


class _Timeless(SymbolicOps):
    """Shapes, in which a value has the same name at each step."""

    def let(self, name: str, value: Symbol) -> Symbol:
        return self.named(f"{name}{self.index}", value)


class RecordedOps:
    """The operations of this reading that are not operators.

    Recorded are products of matrices, parts of a split, what an activation is applied to, and
    what is given a name. ``index`` tells the cells of a stack apart.
    """

    def __init__(self, index: str = "", log: Log | None = None, *, numbers: bool) -> None:
        self.index, self.numbers = index, numbers
        self.log: Log = {} if log is None else log
        self._texts = SymbolicOps(index)
        readings = (self._texts, _Timeless(index), NumpyOps())
        self._readings = readings if numbers else readings[:2]

    def given(self, text: str, name: str, shape: Shape, numbers: Array | None = None) -> Recorded:
        """A value to start from."""
        symbols = Symbol(text, shape, []), Symbol(name, shape, [])
        return Recorded((*symbols, numbers) if self.numbers else symbols, self.log)

    def activate(self, name: str, z: Recorded) -> Recorded:
        """The activation ``name`` of ``z``."""
        return self._one(lambda ops, part: ops.activate(name, part), z.noted())

    def split(self, z: Recorded, base: str, parts: tuple[str, ...]) -> list[Recorded]:
        """The last axis of ``z`` in equal parts."""
        names = tuple(part + self.index for part in parts)
        found = self._several(lambda ops, part: ops.split(part, base, names), z)
        return [part.noted(self._equation) for part in found]

    def rows(self, b: Recorded, names: tuple[str, ...]) -> list[Recorded]:
        """The rows of ``b``."""
        return self._several(lambda ops, part: ops.rows(part, names), b)

    def let(self, name: str, value: Recorded) -> Recorded:
        """``value`` by the name that it has at step t."""
        made = self._one(lambda ops, part: ops.let(name, part), value)
        return made.noted(self._equation)

    def within(self, suffix: str) -> RecordedOps:
        """The same for a part of the layer, whose values are told apart by ``suffix``."""
        return RecordedOps(suffix + self.index, self.log, numbers=self.numbers)

    @property
    def _equation(self) -> str:
        """What was last given a name, and what it equals."""
        return " = ".join(self._texts.equations[-1])

    def _one(self, function: Callable[[Any, Any], Any], value: Recorded) -> Recorded:
        made = map(function, self._readings, value.parts)
        return Recorded(tuple(made), self.log)

    def _several(
        self, function: Callable[[Any, Any], Sequence[Any]], value: Recorded
    ) -> list[Recorded]:
        made = map(function, self._readings, value.parts)
        return [Recorded(parts, self.log) for parts in zip(*made, strict=True)]
