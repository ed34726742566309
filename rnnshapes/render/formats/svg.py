"""A document as an SVG picture of a dark terminal, drawn by Rich; the same in each run."""

from __future__ import annotations

import re
from html import escape
from io import StringIO

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from rnnshapes.render.document import PAGE, Document, printable, title_of
from rnnshapes.render.formats import terminal

#: Background, text, and the eight colours of a terminal; only red and green are used.
_GROUND, _INK = "#14171c", "#e6e8eb"
_COLOURS = ("#14171c", "#ff8a80", "#7ddb92", "#eac46a", "#79b8ff", "#d8a0ff", "#6fd6d6", "#e6e8eb")

#: Rich draws lines of 24.4 px. A cell of this shape, in this size, is one of DejaVu Sans Mono:
#: then box characters join from line to line and from cell to cell.
_CELL_ASPECT, _FONT_SIZE = 0.632, 21
_MARGIN = 16
_FONTS = "'DejaVu Sans Mono', Menlo, 'Cascadia Mono', 'Liberation Mono', ui-monospace, monospace"

#: The parts of Rich's picture that are used; the rest is a window with a title and buttons.
_PARTS = ("styles", "backgrounds", "matrix", "terminal_width", "terminal_height")
#: What is removed from it: clipping that letters of this size do not need, and ends of lines.
_NEEDLESS = re.compile(r' clip-path="url\(#\w+-line-\d+\)"|<text [^>]*>\n</text>')


def picture(document: Document) -> str:
    """Return the text of the file. It loads nothing, and every text in it is escaped."""
    screen = _fixed_screen()
    terminal.draw(document, screen)
    svg = screen.export_svg(
        theme=TerminalTheme(_rgb(_GROUND), _rgb(_INK), [*map(_rgb, _COLOURS)]),
        code_format="\0".join(f"{{{part}}}" for part in _PARTS),
        font_aspect_ratio=_CELL_ASPECT,
        unique_id="rnnshapes",
    )
    styles, grounds, texts, width, height = svg.split("\0")
    # Letters of another font are stretched to their cells; no text holds a plain quote.
    stretched = ' lengthAdjust="spacingAndGlyphs" textLength="'
    texts = _NEEDLESS.sub("", texts).replace(' textLength="', stretched).replace("><t", ">\n<t")
    right, bottom = (round(float(size)) + 1 + 2 * _MARGIN for size in (width, height))
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="{-_MARGIN} {-_MARGIN} {right} {bottom}" role="img"
  xml:space="preserve">
<title>{escape(printable(title_of(document)))}</title>
<style>
{styles}
</style>
<rect x="{-_MARGIN}" y="{-_MARGIN}" width="{right}" height="{bottom}" rx="8" fill="{_GROUND}"/>
<g transform="translate(0 -1)">{grounds}</g>
<g font-size="{_FONT_SIZE}" font-family="{_FONTS}">
{texts}
</g>
</svg>
"""


def _fixed_screen() -> Console:
    """Return a terminal that is the same everywhere: this width, no end, all colours."""
    return Console(
        file=StringIO(),
        record=True,
        width=PAGE,
        height=10**6,
        force_terminal=True,
        force_jupyter=False,
        force_interactive=False,
        color_system="truecolor",
        legacy_windows=False,
        no_color=False,
        highlight=False,
        markup=False,
        emoji=False,
    )


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue
