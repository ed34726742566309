"""A small exact algebra of named sizes: ``M·(D + M + 1)`` as text and as an integer.

A :class:`Dim` is a polynomial with integer coefficients over named sizes (N, T, D, M, K).
Equal polynomials are equal objects and print alike, so one formula gives both the text
that is shown and the number that is counted. Integers have no upper limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

#: A product of names, each as often as it occurs: ``("D", "M")`` is D·M.
Monomial = tuple[str, ...]
#: The value of each named size; ``None`` where it is open.
Sizes = Mapping[str, "int | None"]

_FLOW_ORDER = "NTRVEDFMK"  # names are written in the order in which data meets them


class Dim:
    """A size or a count, as a polynomial in named sizes. Immutable and hashable.

    >>> D, M = Dim.named("D"), Dim.named("M")
    >>> str(M * (D + M + 1)), (M * (D + M + 1)).value({"D": 3, "M": 5})
    ('M(D+M+1)', 45)
    """

    __slots__ = ("_terms",)

    def __init__(self, terms: Mapping[Monomial, int]) -> None:
        nonzero = ((m, c) for m, c in terms.items() if c)
        self._terms = tuple(sorted(nonzero, key=lambda term: _term_order(term[0])))

    @classmethod
    def named(cls, name: str) -> Dim:
        """Return the size called ``name``."""
        return cls({(name,): 1})

    @classmethod
    def of(cls, value: Dim | int) -> Dim:
        """Return ``value`` itself, or an integer as a constant."""
        return value if isinstance(value, Dim) else cls({(): value})

    @property
    def names(self) -> frozenset[str]:
        """The names of the sizes in it."""
        return frozenset(name for monomial, _ in self._terms for name in monomial)

    def value(self, sizes: Sizes) -> int | None:
        """Return the exact integer, or ``None`` where a size in it is open.

        Raises KeyError for a name that ``sizes`` does not have.
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
        """The products of names with their coefficients; their sum is the value."""
        return self._terms

    def divided(self, parts: int) -> Dim:
        """Return one of ``parts`` equal parts: M of 4M in four; ValueError if there is none."""
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
        """Return the formula, with common factors in front: ``M(D+M+1)``, ``D·M``, ``4M``."""
        return self._formula(_product_text, "")

    def with_numbers(self, sizes: Sizes) -> str:
        """Return the formula with each name replaced by its number: ``5·(3+5+1)``.

        Raises KeyError for a name that ``sizes`` does not have; an open size is ``?``.
        """

        def product_text(coefficient: int, monomial: Monomial) -> str:
            values = [sizes[name] for name in monomial]
            numbers = ["?" if value is None else str(value) for value in values]
            if abs(coefficient) != 1 or not numbers:
                numbers.insert(0, str(abs(coefficient)))
            return "-" * (coefficient < 0) + "·".join(numbers)

        return self._formula(product_text, "·")

    def _formula(self, product_text: Callable[[int, Monomial], str], sign: str) -> str:
        """Return the formula; ``sign`` stands between the common factors and the bracket."""
        if not self._terms:
            return "0"
        if len(self._terms) == 1:
            ((monomial, coefficient),) = self._terms
            return product_text(coefficient, monomial)
        factor = math.gcd(*(c for _, c in self._terms))
        shared = _shared_names(m for m, _ in self._terms)
        rest = [(_without(m, shared), c // factor) for m, c in self._terms]
        inside = "+".join(product_text(c, m) for m, c in rest).replace("+-", "-")
        if factor == 1 and not shared:
            return inside
        return f"{product_text(factor, shared)}{sign}({inside})"


#: The shape of a tensor, one size for each axis.
Shape = tuple[Dim, ...]


def shape_text(shape: Iterable[object]) -> str:
    """Write a shape as Python does: ``(N, T, D)``, ``(M,)``; an open axis is ``?``."""
    axes = ["?" if axis is None else str(axis) for axis in shape]
    return f"({axes[0]},)" if len(axes) == 1 else f"({', '.join(axes)})"


def product(dims: Iterable[Dim]) -> Dim:
    """Return the product of sizes: how many numbers a tensor of that shape holds."""
    return math.prod(dims, start=Dim.of(1))


def dim_texts(shape: Iterable[Dim]) -> tuple[str, ...]:
    """Return each axis of a symbolic shape as text: ``("N", "4M")``."""
    return tuple(map(str, shape))


def total(dims: Iterable[Dim]) -> Dim:
    """Return the sum of sizes or counts."""
    return sum(dims, start=Dim.of(0))


def _name_order(name: str) -> tuple[int, str]:
    position = _FLOW_ORDER.find(name[0])
    return (position if position >= 0 else len(_FLOW_ORDER), name)


def _term_order(monomial: Monomial) -> tuple[int, list[tuple[int, str]]]:
    return (-len(monomial), [_name_order(name) for name in monomial])


def _shared_names(monomials: Iterable[Monomial]) -> Monomial:
    first, *others = monomials
    shared = []
    for name in dict.fromkeys(first):
        shared += [name] * min(m.count(name) for m in (first, *others))
    return tuple(shared)


def _without(monomial: Monomial, shared: Monomial) -> Monomial:
    rest = list(monomial)
    for name in shared:
        rest.remove(name)
    return tuple(rest)


def _product_text(coefficient: int, monomial: Monomial) -> str:
    """Write ``4D·M``; a constant as it is."""
    if not monomial:
        return str(coefficient)
    number = {1: "", -1: "-"}.get(coefficient, str(coefficient))
    return number + "·".join(monomial)
