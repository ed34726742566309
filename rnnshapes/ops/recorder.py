"""Two readings of an equation at once: each operation with its shapes, and what came out of it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rnnshapes.ops.activations import Array
from rnnshapes.ops.dims import Shape
from rnnshapes.ops.numpy_ops import NumpyOps
from rnnshapes.ops.symbolic import Symbol, SymbolicOperation, SymbolicOps


class Named(NamedTuple):
    """What was given a name, what it equals, and how many operations were taken by then."""

    names: tuple[str, ...]
    text: str
    shape: Shape
    taken: int
    values: tuple[Array, ...]


@dataclass(eq=False)
class Film:
    """What was done, in order: ``results`` holds what each operation has made, with its text."""

    tape: list[SymbolicOperation] = field(default_factory=list)
    results: list[tuple[tuple[str, Array], ...]] = field(default_factory=list)
    named: list[Named] = field(default_factory=list)

    def given(self, text: str, shape: Shape, numbers: Array) -> Followed:
        """A value to start from."""
        return Followed(Symbol(text, shape, self.tape), numbers, self)

    def made(self, symbol: Symbol, numbers: Array) -> Followed:
        """What an operation made, which the symbol has written down, or a few of them together."""
        self._keep((symbol,), (numbers,))
        return Followed(symbol, numbers, self)

    def parts(self, symbols: Sequence[Symbol], arrays: Sequence[Array]) -> list[Followed]:
        """The same for several values at once."""
        self._keep(symbols, arrays)
        return [Followed(s, a, self) for s, a in zip(symbols, arrays, strict=True)]

    def name(self, names: Sequence[str], text: str, shape: Shape, *values: Array) -> None:
        """What was made last has these names from here on."""
        self.named.append(Named(tuple(names), text, shape, len(self.tape), values))

    def _keep(self, symbols: Sequence[Symbol], arrays: Sequence[Array]) -> None:
        while len(self.results) + 1 < len(self.tape):
            self.results.append(())
        if len(self.results) < len(self.tape):
            texts = (symbol.text for symbol in symbols)
            self.results.append(tuple(zip(texts, arrays, strict=True)))


@dataclass(frozen=True, eq=False)
class Followed:
    """A value by its symbol and in numbers."""

    symbol: Symbol
    numbers: Array
    film: Film

    def __matmul__(self, other: Followed) -> Followed:
        return self._with(operator.matmul, other)

    def __add__(self, other: Followed | float) -> Followed:
        return self._with(operator.add, other)

    def __sub__(self, other: Followed) -> Followed:
        return self._with(operator.sub, other)

    def __mul__(self, other: Followed | float) -> Followed:
        return self._with(operator.mul, other)

    def __rsub__(self, other: int) -> Followed:
        return self.film.made(other - self.symbol, other - self.numbers)

    def _with(self, function: Callable[[Any, Any], Any], other: Followed | float) -> Followed:
        one, two = (other.symbol, other.numbers) if isinstance(other, Followed) else (other, other)
        return self.film.made(function(self.symbol, one), function(self.numbers, two))


class FollowedOps:
    """The operations of this reading that are not operators.

    ``index`` is what tells layers apart, ``at`` what a name ends in at this step: ``_3``.
    """

    def __init__(self, film: Film, index: str = "", at: str = "_t") -> None:
        self.film, self.index, self.at = film, index, at
        self._shapes, self._arrays = SymbolicOps(index), NumpyOps()

    def activate(self, name: str, z: Followed) -> Followed:
        """The activation ``name`` of ``z``."""
        return self._made("activate", name, z)

    def split(self, z: Followed, base: str, parts: tuple[str, ...]) -> list[Followed]:
        """The last axis of ``z`` in equal parts."""
        symbols = self._shapes.split(z.symbol, base, parts)
        found = self.film.parts(symbols, self._arrays.split(z.numbers, base, parts))
        numbers = (part.numbers for part in found)
        self.film.name([s.text for s in symbols], z.symbol.text, symbols[0].shape, *numbers)
        return found

    def rows(self, b: Followed, names: tuple[str, ...]) -> list[Followed]:
        """The rows of ``b``."""
        return self.film.parts(self._shapes.rows(b.symbol, names), list(b.numbers))

    def let(self, name: str, value: Followed) -> Followed:
        """``value`` by the name that it has at this step."""
        return self.named(f"{name}{self.index}{self.at}", value)

    def named(self, name: str, value: Followed) -> Followed:
        """``value`` by a name of its own."""
        self.film.name([name], value.symbol.text, value.symbol.shape, value.numbers)
        return self.film.given(name, value.symbol.shape, value.numbers)

    def within(self, suffix: str) -> FollowedOps:
        """The same for a part of the layer, whose names end in ``suffix``."""
        return FollowedOps(self.film, suffix + self.index, self.at)

    def concatenate(self, values: Sequence[Followed]) -> Followed:
        """One behind the other on the last axis."""
        return self._made("concatenate", values)

    def aligned(self, values: Sequence[Followed]) -> Sequence[Followed]:
        """So that they can be combined element by element."""
        return self.film.parts(
            self._shapes.aligned([value.symbol for value in values]),
            [value.numbers for value in values],
        )

    def take(self, table: Followed, indices: Followed) -> Followed:
        """The rows of ``table`` with these whole numbers."""
        return self._made("take", table, indices)

    def mean(self, x: Followed, axis: int) -> Followed:
        """The mean over ``axis``."""
        return self._made("mean", x, axis)

    def rsqrt(self, x: Followed) -> Followed:
        """1 / sqrt(x)."""
        return self._made("rsqrt", x)

    def where(self, mask: Array, x: Followed) -> Followed:
        """``x`` where the mask holds, and 0 elsewhere."""
        return self._made("where", mask, x)

    def _made(self, name: str, *given: Any) -> Followed:
        symbol = getattr(self._shapes, name)(*(_part(value, "symbol") for value in given))
        numbers = getattr(self._arrays, name)(*(_part(value, "numbers") for value in given))
        return self.film.made(symbol, numbers)


def _part(value: Any, which: str) -> Any:
    if isinstance(value, list | tuple):
        return [_part(each, which) for each in value]
    return getattr(value, which) if isinstance(value, Followed) else value
