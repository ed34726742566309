"""Mistake with numbers that are not known, which are fitted to the port's numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rnnshapes.ops.activations import Array
from rnnshapes.port.hypothesis import Hypothesis, Mistake

#: A fitted number that differs by less is the expected one.
NEGLIGIBLE = 1e-4
#: So many terms are listed.
_LISTED = 3


class Fit(NamedTuple):
    """A mistake with numbers that are not known.

    Attributes:
        start: The numbers from which the fit starts.
        apply: Returns the hypothesis with the mistake, for some numbers.
        mistake: Returns the mistake in words, for some numbers.
    """

    start: Array
    apply: Callable[[Hypothesis, Array], Hypothesis]
    mistake: Callable[[Array], Mistake]


def scaled_text(symbol: str, scales: Array, shifts: Array) -> str:
    """Return which numbers are scaled and shifted, and how: ``2 x + 0.5 at index 0, …``."""
    is_wrong = (np.abs(scales - 1) >= NEGLIGIBLE) | (np.abs(shifts) >= NEGLIGIBLE)
    wrong = np.flatnonzero(is_wrong).tolist()
    terms = [f"{scaled_term(symbol, scales[at], shifts[at])} at index {at}" for at in wrong]
    return ", ".join(terms[:_LISTED]) + (", …" if len(terms) > _LISTED else "")


def scaled_term(symbol: str, scale: float, shift: float) -> str:
    """Return one number in words: ``2 x + 0.5``."""
    scaled = symbol if abs(scale - 1) < NEGLIGIBLE else f"{scale:.4g} {symbol}"
    if abs(scale) < NEGLIGIBLE:
        return "0" if abs(shift) < NEGLIGIBLE else f"{shift:.4g}"
    if abs(shift) < NEGLIGIBLE:
        return scaled
    return f"{scaled} {'-' if shift < 0 else '+'} {abs(shift):.4g}"
