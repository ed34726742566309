"""How numbers and shapes are written for people."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rnnshapes.ops.dims import shape_text

#: Characters of a bar that is full at 1, and what it is made of; document.py has them in ASCII.
BAR = 8
_FULL, _HALF, _EMPTY = "━╸╌"


def whole(value: int | None) -> str:
    """``1,000,000``; ``?`` for a count that an open size leaves open."""
    return "?" if value is None else f"{value:,}"


def number_text(value: Sequence[int] | int | None) -> str:
    """A shape or a count; ``nothing`` where there is none."""
    if value is None:
        return "nothing"
    return f"{value:,}" if isinstance(value, int) else shape_text(value)


def fixed(value: float) -> str:
    """``-0.12345678``: eight decimals, with an exponent where these would not do."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:.8f}" if abs(value) < 1e4 else f"{value:.8e}"


def apart(one: float, other: float) -> tuple[str, str]:
    """Both as :func:`fixed` writes them, with as many more digits as tell them apart."""
    texts = fixed(one), fixed(other)
    for digits in range(9, 18):
        if texts[0] != texts[1] or one == other:
            break
        kind = "f" if max(abs(one), abs(other)) < 1e4 else "e"
        texts = f"{one:.{digits}{kind}}", f"{other:.{digits}{kind}}"
    return texts if texts[0] != texts[1] else (repr(one), repr(other))


def small(value: float) -> str:
    """``1.2e-08``: a difference, of which only the size matters."""
    return "0" if value == 0 else f"{value:.1e}"


def bar(ratio: float | None) -> str:
    """``━━━╌╌╌╌╌``: how much of 1 it is, in halves of a character, and never drawn too short.

    What is above 1, and NaN, is full and ends in ``>``; ``None`` has no bar.
    """
    if ratio is None:
        return ""
    if not ratio <= 1:
        return f"{_FULL * BAR}>"
    halves = math.ceil(ratio * 2 * BAR)
    return (_FULL * (halves // 2) + _HALF * (halves % 2)).ljust(BAR, _EMPTY)


def shapes_text(dims: Sequence[object], shape: Sequence[object]) -> str:
    """``(N, D) = (1, 3)``; once where no size has a name."""
    text, numbers = shape_text(dims), shape_text(shape)
    return text if text == numbers else f"{text} = {numbers}"


def step_text(operands: Sequence[Sequence[object]], sign: str, result: Sequence[object]) -> str:
    """``(N, D)·(D, M) → (N, M)``; what keeps its shape is a single one: ``(N, M)``."""
    texts = [shape_text(shape) for shape in operands]
    if len(texts) == 1:
        return texts[0] if texts[0] == shape_text(result) else f"{texts[0]} → {shape_text(result)}"
    return (sign if sign == "·" else f" {sign} ").join(texts) + f" → {shape_text(result)}"
