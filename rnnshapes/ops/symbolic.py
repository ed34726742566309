"""The first reading of an equation: over symbolic shapes.

A :class:`Symbol` is a tensor of which only the name and the shape are known. Combining
symbols checks that the shapes fit, and records every operation with its multiply-adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rnnshapes.ops.dims import Dim, Shape, product, shape_text, total
from rnnshapes.ops.windows import Window

#: Stands for an operand that has already been written out on the lines before.
ABOVE = "…"


@dataclass(frozen=True)
class SymbolicOperation:
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
    """A tensor known by its text and its shape, recording into ``tape``.

    ``place`` is that of the operation in the tape that made it; a name alone has none.
    """

    text: str
    shape: Shape
    tape: list[SymbolicOperation]
    place: int | None = None

    @property
    def short(self) -> str:
        """The text where it is a name or a product of two, ``…`` for anything longer."""
        return self.text if self.text.count(" ") <= 1 and "(" not in self.text else ABOVE

    @property
    def factor(self) -> str:
        """The text as part of a product: a sum or a product stands in brackets."""
        open_signs = {"+", "-", "×"} & set(_outside_brackets(self.text).split(" "))
        return f"({self.text})" if open_signs else self.text

    def __matmul__(self, other: Symbol) -> Symbol:
        if self.shape[-1:] != other.shape[:1] or len(other.shape) != 2:
            raise ShapeMismatchError(_misfit(self, "·", other))
        shape = (*self.shape[:-1], other.shape[-1])
        macs = product(self.shape) * other.shape[-1]
        label = f"{self.short} {other.text}"
        return self._recorded(f"{self.factor} {other.text}", label, "·", (other,), shape, macs)

    def __add__(self, other: Symbol | float) -> Symbol:
        if not isinstance(other, Symbol):
            return self._recorded(f"{self.text} + {other:g}", f"{self.short} + {other:g}", "+")
        return self._elementwise(f"{self.text} + {other.text}", "+", other)

    def __sub__(self, other: Symbol) -> Symbol:
        return self._elementwise(f"{self.text} - {other.factor}", "-", other)

    def __mul__(self, other: Symbol | float) -> Symbol:
        if not isinstance(other, Symbol):
            return self._recorded(f"{self.factor} × {other:g}", f"{self.short} × {other:g}", "×")
        return self._elementwise(f"{self.factor} × {other.factor}", "×", other)

    def __rsub__(self, other: int) -> Symbol:
        return self._recorded(f"{other} - {self.text}", f"{other} - {self.short}", "-")

    def activated(self, name: str) -> Symbol:
        """The activation ``name`` of this tensor, element by element."""
        return self._recorded(f"{name}({self.text})", f"{name}({self.short})", name)

    def _elementwise(self, text: str, sign: str, other: Symbol) -> Symbol:
        shape = _broadcast(self.shape, other.shape)
        if shape is None:
            raise ShapeMismatchError(_misfit(self, sign, other))
        left = ABOVE if " " in self.text else self.text
        label = f"{left} {sign} {other.short}"
        return self._recorded(text, label, sign, (other,), shape)

    def made(self, function: str, others: Sequence[Symbol] = (), shape: Shape = ()) -> Symbol:
        """``function(this, others)`` of another shape."""
        texts = ", ".join(value.text for value in (self, *others))
        shorts = ", ".join(value.short for value in (self, *others))
        made = (f"{function}({texts})", f"{function}({shorts})", function)
        return self._recorded(*made, tuple(others), shape)

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
        self.tape.append(SymbolicOperation(label, sign, operands, shape, Dim.of(macs)))
        return Symbol(text, shape, self.tape, len(self.tape) - 1)


class SymbolicOps:
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
        z.tape.append(SymbolicOperation(" ".join(names), "split", (z.shape,), shape, Dim.of(0)))
        self.equations.append((" ".join(names), z.text))
        return [Symbol(name, shape, z.tape) for name in names]

    def rows(self, b: Symbol, names: tuple[str, ...]) -> list[Symbol]:
        """The rows of ``b``, by their names."""
        return [Symbol(name + self.index, b.shape[1:], b.tape) for name in names]

    def let(self, name: str, value: Symbol) -> Symbol:
        """``value`` by the name that it has at step t."""
        return self.named(f"{name}{self.index}_t", value)

    def within(self, suffix: str) -> SymbolicOps:
        """The same for a part of the layer, whose values are told apart by ``suffix``."""
        inner = SymbolicOps(suffix + self.index)
        inner.equations = self.equations
        return inner

    def concatenate(self, values: Sequence[Symbol]) -> Symbol:
        """One behind the other on the last axis."""
        lead = max((v.shape[:-1] for v in values), key=len)
        shape = (*lead, total(v.shape[-1] for v in values))
        return values[0].made("concatenate", values[1:], shape)

    def aligned(self, values: Sequence[Symbol]) -> Sequence[Symbol]:
        """All with the names that the first has for its axes, or the longest of them."""
        shape = max((v.shape for v in values), key=len)
        return [
            v if _broadcast(shape, v.shape) == shape else replace(v, shape=shape[-len(v.shape) :])
            for v in values
        ]

    def take(self, table: Symbol, indices: Symbol) -> Symbol:
        """The rows of ``table`` with these whole numbers."""
        text = f"{table.text}[{indices.text}]"
        return table._recorded(text, text, "[ ]", (indices,), (*indices.shape, table.shape[-1]))

    def windows(self, x: Symbol, window: Window) -> Symbol:
        """(N, T, F) as (N, T', size, F)."""
        n, _, features = x.shape
        return x.made("windows", (), (n, window.steps, Dim.of(window.size), features))

    def contract(self, seen: Symbol, kernel: Symbol) -> Symbol:
        """(N, T', k, D)·(k, D, F) → (N, T', F)."""
        if seen.shape[2:] != kernel.shape[:2]:
            raise ShapeMismatchError(_misfit(seen, "·", kernel))
        shape, macs = (*seen.shape[:2], kernel.shape[2]), product(seen.shape) * kernel.shape[2]
        text, label = f"{seen.text} {kernel.text}", f"{seen.short} {kernel.text}"
        return seen._recorded(text, label, "·", (kernel,), shape, macs)

    def averages(self, x: Symbol, window: Window) -> Symbol:
        """The mean of what each window sees, (N, T', F)."""
        return self.mean(self.windows(x, window), 2)

    def mean(self, x: Symbol, axis: int, count: object = None) -> Symbol:
        """The mean over ``axis``, of which the last stays with a length of 1."""
        return x.made("mean", (), _without(x.shape, axis))

    def max(self, x: Symbol, axis: int) -> Symbol:
        """The largest over ``axis``."""
        return x.made("max", (), _without(x.shape, axis))

    def rsqrt(self, x: Symbol) -> Symbol:
        """1 / sqrt(x)."""
        return x.activated("rsqrt")

    def where(self, mask: object, x: Symbol) -> Symbol:
        """``x`` where the mask holds, and 0 elsewhere."""
        return x.activated("unmasked")

    def reshape(self, x: Symbol, shape: Shape, numbers: object) -> Symbol:
        """Each sample in another shape."""
        return x.made("reshape", (), (x.shape[0], *shape))

    def repeat(self, x: Symbol, times: Dim, number: object) -> Symbol:
        """(N, F) as (N, R, F)."""
        return x.made("repeat", (), (x.shape[0], times, x.shape[1]))

    def named(self, name: str, value: Symbol) -> Symbol:
        """``value`` by a name of its own."""
        self.equations.append((name, value.text))
        if value.place is not None:
            made = value.tape[value.place]
            value.tape[value.place] = replace(made, label=f"{name} = {made.label}")
        return Symbol(name, value.shape, value.tape)


def _outside_brackets(text: str) -> str:
    """What of a text stands in no round brackets."""
    depth, kept = 0, []
    for character in text:
        depth += (character == "(") - (character == ")")
        kept.append(character if depth == 0 else "")
    return "".join(kept)


def _broadcast(left: Shape, right: Shape) -> Shape | None:
    """The shape of both together, as in NumPy; ``None`` if they do not fit."""
    longer, shorter = sorted((left, right), key=len, reverse=True)
    shape = list(longer)
    for place, dim in enumerate(shorter, len(longer) - len(shorter)):
        if shape[place] == 1:
            shape[place] = dim
        elif dim not in (1, shape[place]):
            return None
    return tuple(shape)


def _without(shape: Shape, axis: int) -> Shape:
    return (*shape[:-1], Dim.of(1)) if axis == -1 else (*shape[:axis], *shape[axis + 1 :])


def _misfit(left: Symbol, sign: str, right: Symbol) -> str:
    shapes = f"{shape_text(left.shape)} {sign} {shape_text(right.shape)}"
    return f"{left.text} {sign} {right.text}: shapes {shapes} do not fit"
