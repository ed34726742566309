"""Names, meanings and checks of the sizes N, T, D, M and K."""

from __future__ import annotations

import operator
from types import MappingProxyType

from rnnshapes.errors import InputError

#: What each size counts, in the order in which sizes are written.
SIZE_MEANINGS = MappingProxyType(
    {
        "N": "samples",
        "T": "time steps",
        "D": "input features",
        "M": "hidden units",
        "K": "outputs",
    }
)
#: The sizes of the default network.
DEFAULT_SIZES = MappingProxyType({"N": 1, "T": 10, "D": 3, "M": 5, "K": 2})
#: No axis of an array can be longer (a 64-bit signed integer).
LARGEST_SIZE = 2**63 - 1


def check_size(name: str, value: object) -> int:
    """Return ``value`` as an int, if it can be the size called ``name``.

    Raises:
        InputError: ``value`` is not a whole number from 1 to 2**63 - 1.
    """
    expected = f"{name} ({SIZE_MEANINGS[name[0]]}) is a whole number of at least 1"
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InputError(f"{expected}, got {_short_text(value)}") from None
    if isinstance(value, bool) or number < 1:
        raise InputError(f"{expected}, got {_short_text(value)}")
    if number > LARGEST_SIZE:
        raise InputError(f"{expected} and at most 2**63 - 1, got {_short_text(number)}")
    return number


def index_range_text(size: str, count: int) -> str:
    """Return ``0 to 3, since T = 4``: the indices along an axis of this size."""
    return f"{'0' if count == 1 else f'0 to {count - 1}'}, since {size} = {count}"


def remedy_for_unknown_size(name: str) -> str:
    """Return what a user can give for an unknown size: ``T (--T), or x (--input)``."""
    if "'" in name:
        return "T (--T), or build the model with a fixed T"
    letter = name.rstrip("0123456789")
    if name == letter:
        return f"{name} (--{name}), or x (--input)" if name in SIZE_MEANINGS else name
    return f"{letter} (--{letter}) for all inputs, or x (--input, an .npz with an array for each)"


def _short_text(value: object) -> str:
    """Return the value as text that fits into one line."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        return "a number of more than 4300 digits"
    return text if len(text) <= 60 else f"{text[:30]}… ({len(text)} characters)"
