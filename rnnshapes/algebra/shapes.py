"""The first reading of an equation: over symbolic shapes.

A :class:`Symbol` is a tensor of which only the name and the shape are known. Combining
symbols checks that the shapes fit, and records every operation with its multiply-adds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from rnnshapes.algebra.dims import Dim, Shape, product, shape_text

#: Stands for an operand that has already been written out on the lines before.
ABOVE = "…"


@dataclass(frozen=True)
class Operation:
    """One operation of an equation, as shapes.

    ``label`` names it with what came before shortened to ``…``; ``symbol`` is ``·``, ``+``,
    ``-``, ``×`` (element by element), ``split`` or the name of an activation; ``macs`` counts
    the multiply-adds, which only a product of matrices has.
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

    @property
    def factor(self) -> str:
        """The text as part of a product: a sum stands in brackets."""
        return f"({self.text})" if {"+", "-", "×"} & set(self.text.split(" ")) else self.text

    def __matmul__(self, other: Symbol) -> Symbol:
        if self.shape[-1:] != other.shape[:1] or len(other.shape) != 2:
            raise ShapeMismatchError(_misfit(self, "·", other))
        shape = (*self.shape[:-1], other.shape[-1])
        macs = product(self.shape) * other.shape[-1]
        label = f"{self.short} {other.text}"
        return self._recorded(f"{self.factor} {other.text}", label, "·", (other,), shape, macs)

    def __add__(self, other: Symbol) -> Symbol:
        return self._elementwise(f"{self.text} + {other.text}", "+", other)

    def __mul__(self, other: Symbol) -> Symbol:
        return self._elementwise(f"{self.factor} × {other.factor}", "×", other)

    def __rsub__(self, other: int) -> Symbol:
        return self._recorded(f"{other} - {self.text}", f"{other} - {self.short}", "-")

    def activated(self, name: str) -> Symbol:
        """The activation ``name`` of this tensor, element by element."""
        return self._recorded(f"{name}({self.text})", f"{name}({self.short})", name)

    def _elementwise(self, text: str, sign: str, other: Symbol) -> Symbol:
        longer, shorter = sorted((self.shape, other.shape), key=len, reverse=True)
        if longer[len(longer) - len(shorter) :] != shorter:
            raise ShapeMismatchError(_misfit(self, sign, other))
        left = ABOVE if " " in self.text else self.text
        label = f"{left} {sign} {other.short}"
        return self._recorded(text, label, sign, (other,), longer)

    def _recorded(
        self,
        text: str,
        label: str,
        sign: str,
        others: tuple[Symbol, ...] = (),
        shape: Shape | None = None,
        macs: Dim | int = 0,
    ) -> Symbol:
        shape = self.shape if shape is None else shape
        operands = (self.shape, *(other.shape for other in others))
        self.tape.append(Operation(label, sign, operands, shape, Dim.of(macs)))
        return Symbol(text, shape, self.tape)


class ShapeOps:
    """The operations of this reading that are not operators.

    ``index`` tells the values of several layers apart; ``equations`` collects what is given a
    name: (``h_t``, ``tanh(x_t Wx + bh + h_{t-1} Wh)``).
    """

    def __init__(self, index: str = "") -> None:
        self.index = index
        self.equations: list[tuple[str, str]] = []

    def activate(self, name: str, z: Symbol) -> Symbol:
        """The activation ``name`` of ``z``; ``linear`` leaves it as it is."""
        return z if name == "linear" else z.activated(name)

    def split(self, z: Symbol, base: str, parts: tuple[str, ...]) -> list[Symbol]:
        """The last axis of ``z`` in equal parts, by their names."""
        names = [f"{base}_{part}" for part in parts]
        shape = (*z.shape[:-1], z.shape[-1].divided(len(parts)))
        z.tape.append(Operation(" ".join(names), "split", (z.shape,), shape, Dim.of(0)))
        self.equations.append((" ".join(names), z.text))
        return [Symbol(name, shape, z.tape) for name in names]

    def rows(self, b: Symbol, names: tuple[str, ...]) -> list[Symbol]:
        """The rows of ``b``, by their names."""
        return [Symbol(name + self.index, b.shape[1:], b.tape) for name in names]

    def let(self, name: str, value: Symbol) -> Symbol:
        """``value`` by the name that it has at step t."""
        return self.named(f"{name}{self.index}_t", value)

    def named(self, name: str, value: Symbol) -> Symbol:
        """``value`` by a name of its own."""
        self.equations.append((name, value.text))
        last = value.tape[-1]
        value.tape[-1] = replace(last, label=f"{name} = {last.label}")
        return Symbol(name, value.shape, value.tape)


def _misfit(left: Symbol, sign: str, right: Symbol) -> str:
    shapes = f"{shape_text(left.shape)} {sign} {shape_text(right.shape)}"
    return f"{left.text} {sign} {right.text}: shapes {shapes} do not fit"
