"""What all plots have in common: settings, colours, texts, and how a figure is written.

pyplot is never loaded, and the user's settings of Matplotlib are neither read nor changed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from rnnshapes.render import palette
from rnnshapes.render.document import printable
from rnnshapes.render.plots import without_variable

#: How wide a plot of panels is, in inches, and every plot in pixels.
WIDTH, _PIXELS = 10.0, 1500
#: The colour of texts beside the data, and of numbers that are missing.
DIM, ABSENT = "#555555", "#BDBDBD"
#: The colour of what fails: vermilion, which differs from the others in brightness, too.
BAD = palette.CATEGORIES[5]
#: Lines that can be told apart without their colours.
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P")

_SETTINGS: Any = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.axisbelow": True,
    "axes.edgecolor": "#888888",
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.7,
    "hatch.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "svg.fonttype": "none",
    "svg.hashsalt": "rnnshapes",
    "text.parse_math": False,
    "text.usetex": False,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}
#: In an SVG file text is text: fonts about as wide as the one with which it was laid out, and
#: spaces that do not collapse.
_SVG_FONTS = b"'DejaVu Sans', Verdana, 'Bitstream Vera Sans', Geneva, sans-serif"
_SVG_STYLE = b'<style type="text/css">text{white-space: pre}'
#: What would differ from one day or one version to the next.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


class NotebookFigure(Figure):
    """A figure that shows itself in a notebook without pyplot."""

    def _repr_png_(self) -> bytes:
        stream = BytesIO()
        write(self, stream, "png")
        return stream.getvalue()


@contextmanager
def fixed_settings() -> Iterator[None]:
    """Use the same settings everywhere, whatever the user's are, and restore those at the end."""
    with warnings.catch_warnings(), mpl.rc_context(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def slide_height(needed: float, width: float) -> float:
    """Return the height at which a figure fits a slide: 16:9 or 4:3, unless it needs more."""
    return next((h for h in (width * 9 / 16, width * 3 / 4) if needed <= h), needed)


def write(figure: Figure, target: BinaryIO | Path, kind: str) -> None:
    """Write a figure as ``png``, ``svg`` or ``pdf``; the same one gives the same bytes."""
    stream = BytesIO()
    # Files have no date, so a date from outside, which may be no number, is not read.
    with fixed_settings(), without_variable("SOURCE_DATE_EPOCH"):
        dpi = _PIXELS / figure.get_size_inches()[0]
        figure.savefig(stream, format=kind, dpi=dpi, metadata=_METADATA[kind])
    content = stream.getvalue()
    if kind == "svg":
        content = content.replace(b"'DejaVu Sans'", _SVG_FONTS)
        content = content.replace(b'<style type="text/css">', _SVG_STYLE, 1)
    if isinstance(target, Path):
        target.write_bytes(content)
    else:
        target.write(content)


def font_text(text: str) -> str:
    """Return a text as the font can draw it: a character that it lacks is written as its number."""
    known = _font_characters()
    return "".join(
        c if ord(c) in known else c.encode("ascii", "backslashreplace").decode()
        for c in printable(text)
    )


@lru_cache
def _font_characters() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())
