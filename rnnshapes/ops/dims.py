"""A small exact algebra of named sizes: ``M·(D + M + 1)`` as text and as an integer.

A :class:`Dim` is a polynomial with integer coefficients over named sizes (N, T, D, M, K).
Equal polynomials are equal objects and print alike, so one formula gives both the text
that is shown and the number that is counted. Integers have no upper limit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

#: A product of names, each as often as it occurs: ``("D", "M")`` is D·M.
Monomial = tuple[str, ...]
#: The value of each named size; ``None`` where it is open.
Sizes = Mapping[str, "int | None"]

_FLOW_ORDER = "NTRVEDFMK"  # names are written in the order in which data meets them


class Dim:
    """A size, or a count, as a polynomial in named sizes. Immutable and hashable.

    >>> D, M = Dim.named("D"), Dim.named("M")
    >>> str(M * (D + M + 1)), (M * (D + M + 1)).value({"D": 3, "M": 5})
    ('M(D+M+1)', 45)
    """

    __slots__ = ("_terms",)

    def __init__(self, terms: Mapping[Monomial, int]) -> None:
        kept = ((m, c) for m, c in terms.items() if c)
        self._terms = tuple(sorted(kept, key=lambda term: _term_order(term[0])))

    @classmethod
    def named(cls, name: str) -> Dim:
        """The size called ``name``."""
        return cls({(name,): 1})

    @classmethod
    def of(cls, value: Dim | int) -> Dim:
        """``value`` itself, or the constant it is."""
        return value if isinstance(value, Dim) else cls({(): value})

    @property
    def names(self) -> frozenset[str]:
        """The names of the sizes that occur."""
        return frozenset(name for monomial, _ in self._terms for name in monomial)

    def value(self, sizes: Sizes) -> int | None:
        """The exact integer, or ``None`` where a size in it is open.

        Raises KeyError for a name that ``sizes`` does not hold.
        """
        known = {name: sizes[name] for name in self.names}
        if any(value is None for value in known.values()):
            return None
        return sum(c * math.prod(known[name] or 0 for name in m) for m, c in self._terms)

    def __add__(self, other: Dim | int) -> Dim:
        terms = dict(self._terms)
        for monomial, coefficient in Dim.of(other)._terms:
            terms[monomial] = terms.get(monomial, 0) + coefficient
        return Dim(terms)

    def __mul__(self, other: Dim | int) -> Dim:
        terms: dict[Monomial, int] = {}
        for left, a in self._terms:
            for right, b in Dim.of(other)._terms:
                monomial = tuple(sorted(left + right, key=_name_order))
                terms[monomial] = terms.get(monomial, 0) + a * b
        return Dim(terms)

    @property
    def terms(self) -> tuple[tuple[Monomial, int], ...]:
        """Products of names, each with how often it counts; they are added up."""
        return self._terms

    def divided(self, parts: int) -> Dim:
        """One of ``parts`` equal parts: 4M in four is M. ValueError if it does not divide."""
        if any(c % parts for _, c in self._terms):
            raise ValueError(f"{self} cannot be split into {parts} equal parts")
        return Dim({m: c // parts for m, c in self._terms})

    __radd__ = __add__
    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Dim | int):
            return self._terms == Dim.of(other)._terms
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._terms)

    def __repr__(self) -> str:
        return f"Dim({self})"

    def __str__(self) -> str:
        """The formula with what its terms share in front: ``M(D+M+1)``, ``D·M``, ``4M``."""
        if not self._terms:
            return "0"
        factor = math.gcd(*(c for _, c in self._terms))
        shared = _shared(m for m, _ in self._terms)
        rest = [(_without(m, shared), c // factor) for m, c in self._terms]
        front = _product(factor, shared)
        if len(rest) == 1:
            return _product(factor * rest[0][1], shared + rest[0][0]) or "1"
        inside = "+".join(_product(c, m) or "1" for m, c in rest).replace("+-", "-")
        return f"{front}({inside})" if front else inside


#: The shape of a tensor, one size for each axis.
Shape = tuple[Dim, ...]


def shape_text(shape: Iterable[object]) -> str:
    """``(N, T, D)``, and ``(M,)`` for a single axis, as Python writes them; ``?`` where open."""
    axes = ["?" if axis is None else str(axis) for axis in shape]
    return f"({axes[0]},)" if len(axes) == 1 else f"({', '.join(axes)})"


def product(dims: Iterable[Dim]) -> Dim:
    """The product of sizes: how many numbers a tensor of that shape holds."""
    return math.prod(dims, start=Dim.of(1))


def total(dims: Iterable[Dim]) -> Dim:
    """The sum of sizes or counts."""
    return sum(dims, start=Dim.of(0))


def _name_order(name: str) -> tuple[int, str]:
    place = _FLOW_ORDER.find(name[0])
    return (place if place >= 0 else len(_FLOW_ORDER), name)


def _term_order(monomial: Monomial) -> tuple[int, list[tuple[int, str]]]:
    return (-len(monomial), [_name_order(name) for name in monomial])


def _shared(monomials: Iterable[Monomial]) -> Monomial:
    first, *others = monomials
    shared = []
    for name in dict.fromkeys(first):
        times = min(m.count(name) for m in (first, *others))
        shared += [name] * times
    return tuple(shared)


def _without(monomial: Monomial, shared: Monomial) -> Monomial:
    left = list(monomial)
    for name in shared:
        left.remove(name)
    return tuple(left)


def _product(coefficient: int, monomial: Monomial) -> str:
    """``4D·M``; nothing at all for the constant 1."""
    if not monomial:
        return "" if coefficient == 1 else str(coefficient)
    number = {1: "", -1: "-"}.get(coefficient, str(coefficient))
    return number + "·".join(monomial)
