"""How numbers and shapes are written for people."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rnnshapes.ops.dims import shape_text

#: Characters of a bar that is full at 1.
BAR = 8
#: What a bar is made of; ``document.py`` replaces these where only ASCII can be shown.
_FULL, _HALF, _EMPTY = "━╸╌"
#: Numbers of at least this size are written with an exponent.
_LARGE = 1e4
#: Up to this ratio, a share is written in percent.
_LARGEST_SHARE = 10


def count_text(value: int | None) -> str:
    """Return ``1,000,000``; ``?`` for a count that depends on an open size."""
    return "?" if value is None else f"{value:,}"


def size_text(value: Sequence[int] | int | None) -> str:
    """Return a shape or a count as text; ``nothing`` where there is none."""
    if value is None:
        return "nothing"
    return count_text(value) if isinstance(value, int) else shape_text(value)


def decimal_text(value: float) -> str:
    """Return ``-0.12345678``: eight decimals, with an exponent for large numbers."""
    return f"{value:.8f}" if abs(value) < _LARGE else f"{value:.8e}"


def distinct_texts(one: float, other: float) -> tuple[str, str]:
    """Return both as :func:`decimal_text` does, with enough digits to tell them apart."""
    texts = decimal_text(one), decimal_text(other)
    for digits in range(9, 18):
        if texts[0] != texts[1]:
            break
        kind = "f" if max(abs(one), abs(other)) < _LARGE else "e"
        texts = f"{one:.{digits}{kind}}", f"{other:.{digits}{kind}}"
    return texts if texts[0] != texts[1] else (repr(one), repr(other))


def magnitude_text(value: float) -> str:
    """Return ``1.2e-08``, for a difference of which only the magnitude matters."""
    return "0" if value == 0 else f"{value:.1e}"


def share_text(ratio: float | None) -> str:
    """Return ``20 %``, rounded up; ``12 ×`` for a ratio above 10; ``none`` where there is none."""
    if ratio is None:
        return "none"
    if not math.isfinite(ratio):
        return "NaN" if math.isnan(ratio) else "infinite"
    if ratio <= _LARGEST_SHARE:
        return f"{math.ceil(100 * ratio)} %"
    return f"{ratio:,.0f} ×" if ratio < 100 * _LARGE else f"{ratio:.0e} ×"


def ratio_bar(ratio: float | None) -> str:
    """Return ``━━━╌╌╌╌╌``: the ratio as a part of 1, rounded up to half a character.

    A ratio above 1 and NaN have a full bar that ends in ``>``; ``None`` has no bar.
    """
    if ratio is None:
        return ""
    if not ratio <= 1:
        return f"{_FULL * BAR}>"
    halves = math.ceil(ratio * 2 * BAR)
    return (_FULL * (halves // 2) + _HALF * (halves % 2)).ljust(BAR, _EMPTY)


def shapes_text(dims: Sequence[object], shape: Sequence[object]) -> str:
    """Return ``(N, D) = (1, 3)``; the shape once where no size has a name."""
    text, numbers = shape_text(dims), shape_text(shape)
    return text if text == numbers else f"{text} = {numbers}"


def operation_text(
    operands: Sequence[Sequence[object]], sign: str, result: Sequence[object]
) -> str:
    """Return ``(N, D)·(D, M) → (N, M)``; one operand that keeps its shape stands alone."""
    texts = [shape_text(shape) for shape in operands]
    if len(texts) == 1:
        return texts[0] if texts[0] == shape_text(result) else f"{texts[0]} → {shape_text(result)}"
    return (sign if sign == "·" else f" {sign} ").join(texts) + f" → {shape_text(result)}"
