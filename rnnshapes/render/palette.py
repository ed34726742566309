"""Colours that eyes of all kinds can tell apart, on dark and on light grounds."""

from __future__ import annotations

from itertools import pairwise

#: Okabe and Ito's set (https://jfly.uni-koeln.de/color/), in the order in which it is used here.
KINDS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")

#: From the most negative to the most positive number: blue, nearly white, orange
#: (ColorBrewer's PuOr with its purple made blue: both ends are equally dark).
_SIGNED = ("#08519C", "#6BAED6", "#F7F7F7", "#FDAE61", "#B35806")
#: From 0 to 1, for what has no sign: light to dark.
_SHARE = ("#F7F7F7", "#9ECAE1", "#3182BD", "#08306B")

_DARK, _LIGHT = "#000000", "#FFFFFF"


def kind(number: int) -> str:
    """The colour of the gate, layer or unit of this number; they come again after six."""
    return KINDS[number % len(KINDS)]


def signed(value: float) -> str:
    """The colour of a number between -1 and 1."""
    return _between(_SIGNED, (value + 1) / 2)


def share(value: float) -> str:
    """The colour of a number between 0 and 1."""
    return _between(_SHARE, value)


def on(ground: str) -> str:
    """Black or white: what can be read on this colour."""
    return _DARK if _brightness(ground) > 0.18 else _LIGHT


def _between(stops: tuple[str, ...], place: float) -> str:
    parts = list(pairwise(stops))
    at = min(max(place, 0.0), 1.0) * len(parts)
    number = min(int(at), len(parts) - 1)
    low, high = parts[number]
    mixed = (round(a + (b - a) * (at - number)) for a, b in zip(_rgb(low), _rgb(high), strict=True))
    return "#" + "".join(f"{value:02X}" for value in mixed)


def _brightness(colour: str) -> float:
    """Relative luminance (WCAG 2.1); above 0.18 black has more contrast than white."""
    linear = [
        v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4
        for v in (part / 255 for part in _rgb(colour))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
