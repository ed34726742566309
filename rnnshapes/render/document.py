"""What a result looks like before it is known where it will be shown: tables and lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: How a row or a line is meant; each screen decides what that looks like.
Meaning = Literal["plain", "strong", "dim", "good", "bad"]


@dataclass(frozen=True)
class Column:
    """A column of a table. Where the width does not do, those of the lowest ``rank`` are shown.

    Columns of the same rank go together; rank 0 always stays.
    """

    heading: str
    numeric: bool = False
    rank: int = 0


@dataclass(frozen=True)
class Row:
    """One row: a cell for each column. ``ends_group`` asks for a rule, or space, below it."""

    cells: tuple[str, ...]
    meaning: Meaning = "plain"
    ends_group: bool = False


@dataclass(frozen=True)
class Table:
    """A table with a title; ``elsewhere`` says where what is left out can be seen."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    elsewhere: str = "--format json"


@dataclass(frozen=True)
class Line:
    """A line of text between tables."""

    text: str
    meaning: Meaning = "plain"


#: A result as it is shown, from top to bottom.
Document = tuple[Table | Line, ...]

#: What a character becomes where only ASCII can be shown.
_ASCII = {"·": "*", "→": "->", "←": "<-", "…": "...", "×": "x"}


def for_encoding(text: str, encoding: str | None) -> str:
    """``text`` as it is, or in ASCII for a stream whose encoding may not have its characters."""
    if (encoding or "").lower().startswith("utf"):
        return text
    for glyph, plain in _ASCII.items():
        text = text.replace(glyph, plain)
    return text.encode("ascii", "backslashreplace").decode("ascii")


def printable(text: str) -> str:
    """``text`` without control characters: a name from a file cannot steer a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)
