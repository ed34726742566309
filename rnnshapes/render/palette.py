"""Colours that eyes of all kinds can tell apart, on dark and on light backgrounds."""

from __future__ import annotations

from itertools import pairwise
from math import dist

#: Okabe and Ito's set (https://jfly.uni-koeln.de/color/), in the order in which it is used here.
CATEGORIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")

#: From the most negative to the most positive number: blue, nearly white, orange
#: (ColorBrewer's PuOr with its purple made blue: both ends are equally dark).
_SIGNED = ("#08519C", "#6BAED6", "#F7F7F7", "#FDAE61", "#B35806")
#: From 0 to 1, for what has no sign: light to dark.
_FRACTION = ("#F7F7F7", "#9ECAE1", "#3182BD", "#08306B")

_DARK, _LIGHT = "#000000", "#FFFFFF"

#: Colour of a terminal that has only 16, chosen by hand: from the middle of a map to its ends
#: each next one is darker, in the palettes of xterm, VGA and others.
_SIXTEEN = {
    **dict(zip(CATEGORIES, ("blue", "yellow", "green", "magenta", "cyan", "red"), strict=True)),
    _DARK: "black",
    _LIGHT: "bright_white",
    "#F7F7F7": "bright_white",
    "#C6DBEF": "bright_cyan",
    "#6BAED6": "cyan",
    "#08519C": "blue",
    "#FDD8B0": "bright_yellow",
    "#FDAE61": "yellow",
    "#B35806": "red",
}


def category(number: int) -> str:
    """Return the colour of the gate, layer or unit of this number; they repeat after six."""
    return CATEGORIES[number % len(CATEGORIES)]


def signed(value: float) -> str:
    """Return the colour of a number between -1 and 1."""
    return _between(_SIGNED, (value + 1) / 2)


def fraction(value: float) -> str:
    """Return the colour of a number between 0 and 1."""
    return _between(_FRACTION, value)


def text_on(background: str) -> str:
    """Return black or white: what can be read on this colour."""
    return _DARK if _brightness(background) > 0.18 else _LIGHT


def sixteen(colour: str, ground: str) -> tuple[str, str]:
    """Return Rich's names of a text's colour and its ground on a terminal of 16 colours.

    Args:
        colour: ``#rrggbb``, or empty for the terminal's own.
        ground: The same for the colour behind the text.
    """
    if not ground:
        # Blue itself is too dark for texts on black.
        return _nearest_of_sixteen(colour).replace("blue", "bright_blue") if colour else "", ""
    name = _nearest_of_sixteen(ground)
    if colour in (_DARK, _LIGHT):
        return "bright_white" if name in ("blue", "red") else "black", name
    return _nearest_of_sixteen(colour) if colour else "", name


def _nearest_of_sixteen(colour: str) -> str:
    """Return the name that stands for the known colour nearest to this one."""
    nearest = min(_SIXTEEN, key=lambda known: dist(_rgb(known), _rgb(colour)))
    return _SIXTEEN[nearest]


def _between(stops: tuple[str, ...], value: float) -> str:
    """Mix the two colours next to a number, of which 0 is the first and 1 the last."""
    intervals = list(pairwise(stops))
    position = min(max(value, 0.0), 1.0) * len(intervals)
    number = min(int(position), len(intervals) - 1)
    low, high = (_rgb(colour) for colour in intervals[number])
    mixed = (round(a + (b - a) * (position - number)) for a, b in zip(low, high, strict=True))
    return "#" + "".join(f"{part:02X}" for part in mixed)


def _brightness(colour: str) -> float:
    """Return about the relative luminance (WCAG 2.1); above 0.18 black has more contrast."""
    red, green, blue = ((part / 255) ** 2.2 for part in _rgb(colour))
    return float(0.2126 * red + 0.7152 * green + 0.0722 * blue)


def _rgb(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue, 0 to 255, of ``#rrggbb``."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
