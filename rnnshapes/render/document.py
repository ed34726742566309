"""What a result looks like before it is known where it will be shown: tables, lines, drawings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

#: How a row or a line is meant; each screen decides what that looks like.
Meaning = Literal["plain", "strong", "dim", "good", "bad"]

#: How wide a drawing becomes where nothing limits it: in a file, on a page.
PAGE = 100


class Column(NamedTuple):
    """A column of a table. Where the width does not do, those of the lowest ``rank`` are shown.

    Columns of the same rank go together; rank 0 always stays.
    """

    heading: str
    numeric: bool = False
    rank: int = 0


class Row(NamedTuple):
    """One row: a cell for each column. ``ends_group`` asks for a rule, or space, below it."""

    cells: tuple[str, ...]
    meaning: Meaning = "plain"
    ends_group: bool = False


class Table(NamedTuple):
    """A table with a title; ``elsewhere`` says where what is left out can be seen."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    elsewhere: str = "--format json"


class Line(NamedTuple):
    """A line of text between tables."""

    text: str
    meaning: Meaning = "plain"


class Ink(NamedTuple):
    """What a part of a drawing looks like; where there are no colours, ``meaning`` is left.

    ``colour`` and ``ground`` (what is behind the text) are ``#rrggbb``, or empty for the
    screen's own: what is drawn with one of them alone has to be readable on dark and on light.
    """

    colour: str = ""
    ground: str = ""
    meaning: Meaning = "plain"


PLAIN = Ink()


class Span(NamedTuple):
    """A piece of a line of a drawing, in one ink."""

    text: str
    ink: Ink = PLAIN


class Sheet(NamedTuple):
    """What a drawing has to fit on: characters in a line, lines if they are limited."""

    width: int = PAGE
    encoding: str | None = "utf-8"
    height: int | None = None

    @property
    def ascii_only(self) -> bool:
        """Whether box characters and blocks cannot be shown."""
        return not (self.encoding or "").lower().startswith("utf")


#: The lines of a drawing, each as its pieces.
StyledLines = Sequence[Sequence[Span]]


class Drawing(NamedTuple):
    """A picture made of characters; one that does not fit on the sheet comes out empty."""

    title: str
    draw: Callable[[Sheet], StyledLines]


#: A result as it is shown, from top to bottom.
Document = tuple[Table | Line | Drawing, ...]

#: What a character becomes where only ASCII can be shown.
_ASCII = {"·": "*", "→": "->", "←": "<-", "…": "...", "×": "x", "━": "=", "╸": "-", "╌": "."}


def for_encoding(text: str, encoding: str | None) -> str:
    """``text`` as it is, or in ASCII for a stream whose encoding may not have its characters."""
    if (encoding or "").lower().startswith("utf"):
        return text
    for glyph, plain in _ASCII.items():
        text = text.replace(glyph, plain)
    return text.encode("ascii", "backslashreplace").decode("ascii")


def printable(text: str) -> str:
    """``text`` without control characters: a name from a file cannot steer a terminal."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii")
        for c in text
    )
