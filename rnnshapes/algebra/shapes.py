"""The first reading of an equation: over symbolic shapes.

A :class:`Symbol` is a tensor of which only the name and the shape are known. Combining
symbols checks that the shapes fit, and records every operation with its multiply-adds.
"""

from __future__ import annotations

from dataclasses import dataclass

from rnnshapes.algebra.dims import Dim, Shape, product, shape_text

#: Stands for an operand that has already been written out on the lines before.
ABOVE = "…"


@dataclass(frozen=True)
class Operation:
    """One operation of an equation, as shapes.

    ``label`` names it with what came before shortened to ``…``; ``symbol`` is ``·``, ``+``,
    ``×`` (element by element) or the name of an activation; ``macs`` counts the
    multiply-adds, which only a product of matrices has.
    """

    label: str
    symbol: str
    operands: tuple[Shape, ...]
    shape: Shape
    macs: Dim


class ShapeMismatchError(TypeError):
    """An equation combines tensors whose shapes do not fit: the equation is wrong."""


@dataclass(frozen=True, eq=False)
class Symbol:
    """A tensor known by its text and its shape, recording into ``tape``."""

    text: str
    shape: Shape
    tape: list[Operation]

    @property
    def short(self) -> str:
        """The text where it is a name or a product of two, ``…`` for anything longer."""
        return self.text if self.text.count(" ") <= 1 and "(" not in self.text else ABOVE

    def __matmul__(self, other: Symbol) -> Symbol:
        if self.shape[-1:] != other.shape[:1] or len(other.shape) != 2:
            raise ShapeMismatchError(_misfit(self, "·", other))
        shape = (*self.shape[:-1], other.shape[-1])
        macs = product(self.shape) * other.shape[-1]
        left = f"({self.text})" if " + " in self.text else self.text
        label = f"{self.short} {other.text}"
        return self._record(f"{left} {other.text}", label, "·", other, shape, macs)

    def __add__(self, other: Symbol) -> Symbol:
        return self._elementwise(other, "+")

    def __mul__(self, other: Symbol) -> Symbol:
        return self._elementwise(other, "×")

    def activated(self, name: str) -> Symbol:
        """The activation ``name`` of this tensor, element by element."""
        operation = Operation(f"{name}({ABOVE})", name, (self.shape,), self.shape, Dim.of(0))
        self.tape.append(operation)
        return Symbol(f"{name}({self.text})", self.shape, self.tape)

    def _elementwise(self, other: Symbol, sign: str) -> Symbol:
        longer, shorter = sorted((self.shape, other.shape), key=len, reverse=True)
        if longer[len(longer) - len(shorter) :] != shorter:
            raise ShapeMismatchError(_misfit(self, sign, other))
        text = f"{self.text} {sign} {other.text}"
        return self._record(text, f"{ABOVE} {sign} {other.short}", sign, other, longer, Dim.of(0))

    def _record(
        self, text: str, label: str, sign: str, other: Symbol, shape: Shape, macs: Dim
    ) -> Symbol:
        operands = (self.shape, other.shape)
        self.tape.append(Operation(label, sign, operands, shape, macs))
        return Symbol(text, shape, self.tape)


class ShapeOps:
    """The operations of this reading that are not operators."""

    def activate(self, name: str, z: Symbol) -> Symbol:
        """The activation ``name`` of ``z``; ``linear`` leaves it as it is."""
        return z if name == "linear" else z.activated(name)


def _misfit(left: Symbol, sign: str, right: Symbol) -> str:
    shapes = f"{shape_text(left.shape)} {sign} {shape_text(right.shape)}"
    return f"{left.text} {sign} {right.text}: shapes {shapes} do not fit"
