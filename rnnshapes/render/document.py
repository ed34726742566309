"""Document model: tables, lines and drawings, independent of the output format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

#: Role of a row, a line or a span; each format decides what it looks like.
Meaning = Literal["plain", "strong", "dim", "good", "warning", "bad"]

#: Width of the text in characters where nothing limits it: in a file, on a page.
PAGE = 80


#: Characters between two columns.
COLUMN_GAP = 2


class Column(NamedTuple):
    """Column of a table; where not all columns fit, those of the lowest ``rank`` stay.

    Columns of the same rank stay or go together. Rank 0 always stays.
    """

    heading: str
    numeric: bool = False
    rank: int = 0


class Row(NamedTuple):
    """Row of a table: a cell for each column. ``ends_group`` puts a rule, or space, below it."""

    cells: tuple[str, ...]
    meaning: Meaning = "plain"
    ends_group: bool = False


class Table(NamedTuple):
    """Table, with a title or none; ``elsewhere`` says how to see the columns that do not fit."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    elsewhere: str = "--format json"


class Line(NamedTuple):
    """Line of text between tables; if it has to be wrapped, ``indent`` begins its other lines."""

    text: str
    meaning: Meaning = "plain"
    indent: int = 0


class Ink(NamedTuple):
    """Look of a part of a drawing; without colours, only ``meaning`` counts.

    ``colour`` and ``ground`` (the colour behind the text) are ``#rrggbb``, or empty for the
    medium's own. A text with only one of them has to be readable on dark and on light.
    """

    colour: str = ""
    ground: str = ""
    meaning: Meaning = "plain"


#: Ink of each meaning, without colours.
PLAIN, STRONG, DIM, GOOD, BAD = (
    Ink(),
    Ink(meaning="strong"),
    Ink(meaning="dim"),
    Ink(meaning="good"),
    Ink(meaning="bad"),
)


class Span(NamedTuple):
    """Piece of a line of a drawing, in one ink."""

    text: str
    ink: Ink = PLAIN


class Sheet(NamedTuple):
    """Space for a drawing: characters in a line, and lines if they are limited."""

    width: int = PAGE
    encoding: str | None = "utf-8"
    height: int | None = None

    @property
    def ascii_only(self) -> bool:
        """Whether box characters and blocks cannot be shown."""
        return not is_unicode(self.encoding)


#: Lines of a drawing, each as its spans.
StyledLines = Sequence[Sequence[Span]]


class Drawing(NamedTuple):
    """Drawing made of characters, with a title or none.

    ``draw`` returns no lines if the sheet is too small. On a page with a plot, the plot replaces
    a drawing that ``is_plotted``.
    """

    title: str
    draw: Callable[[Sheet], StyledLines]
    is_plotted: bool = True


#: A result as people see it, from top to bottom; the first block is a Line.
Document = tuple[Table | Line | Drawing, ...]

#: Characters of texts and bars, and what replaces them where only ASCII can be shown.
_ASCII = {
    "·": "*",
    "→": "->",
    "←": "<-",
    "…": "...",
    "×": "x",
    "━": "=",
    "╸": "-",
    "╌": ".",
    "ᵀ": "^T",
}


def title_of(document: Document) -> str:
    """Return the first line, the title of a page or a picture."""
    first = document[0]
    assert isinstance(first, Line)
    return first.text


def is_unicode(encoding: str | None) -> bool:
    """Tell whether every character has a code in ``encoding``: UTF-8 and its relatives."""
    return (encoding or "").lower().startswith("utf")


def for_encoding(text: str, encoding: str | None) -> str:
    """Return ``text`` as it is, or in ASCII if ``encoding`` may lack some of its characters."""
    if is_unicode(encoding):
        return text
    for glyph, plain in _ASCII.items():
        text = text.replace(glyph, plain)
    return text.encode("ascii", "backslashreplace").decode("ascii")


def printable(text: str) -> str:
    """Escape control characters, so that a name from a file cannot control a terminal."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii")
        for c in text
    )
