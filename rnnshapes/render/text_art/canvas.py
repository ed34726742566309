"""A sheet of characters to draw on: lines, boxes and texts, each in an ink."""

from __future__ import annotations

from functools import cache
from itertools import accumulate, groupby

from rnnshapes.render.document import PLAIN, Ink, Sheet, Span, StyledLines, for_encoding, printable

#: What the characters of a drawing become where only ASCII can be shown, one for one.
_ASCII = str.maketrans("─│┌┐└┘├┤┬┴┼▼►◄░▒⋮", "-|+++++++++v><:#.")


def clean(text: str, sheet: Sheet) -> str:
    """Return a text as the sheet shows it, on one line: what is measured is what is seen."""
    return for_encoding(printable(text.replace("\n", " ")), sheet.encoding)


def text_width(text: str) -> int:
    """Return how many characters of a terminal a text takes: those of East Asia take two."""
    return sum(map(_character_width, text))


def cut(text: str, width: int, sheet: Sheet) -> str:
    """Return a cleaned text, or as much of it as fits, and dots."""
    if text_width(text) <= width:
        return text
    dots = clean("…", sheet)
    if width < len(dots):
        return dots[: max(width, 0)]
    ends = accumulate(map(_character_width, text))
    return text[: sum(end <= width - len(dots) for end in ends)] + dots


@cache
def _character_width(character: str) -> int:
    """Return 0 for a mark on the character before, 2 for a wide character, else 1."""
    from unicodedata import combining, east_asian_width

    if combining(character):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


class Canvas:
    """Rows of characters, as many as are drawn on; what lies beyond the sheet's width is lost."""

    def __init__(self, sheet: Sheet) -> None:
        self._width, self._ascii = sheet.width, sheet.ascii_only
        self._rows: list[list[tuple[str, Ink]]] = []

    def text(self, row: int, column: int, text: str, ink: Ink = PLAIN) -> None:
        """Write a text from ``column`` on, over what is there."""
        while len(self._rows) <= row:
            self._rows.append([(" ", PLAIN)] * self._width)
        cells = self._rows[row]
        shown = text.translate(_ASCII) if self._ascii else text
        for character in shown:
            width = _character_width(character)
            if column + width > self._width:
                return
            if width == 0 and column:
                cells[column - 1] = (cells[column - 1][0] + character, ink)
            for offset in range(width):
                cells[column + offset] = ("" if offset else character, ink)
            column += width

    def across(self, row: int, start: int, stop: int, ink: Ink = PLAIN) -> None:
        """Draw a line from ``start`` to before ``stop``."""
        self.text(row, start, "─" * (stop - start), ink)

    def down(self, column: int, start: int, stop: int, ink: Ink = PLAIN) -> None:
        """Draw a line from row ``start`` to before row ``stop``."""
        for row in range(start, stop):
            self.text(row, column, "│", ink)

    def box(self, row: int, column: int, width: int, height: int) -> None:
        """Draw four sides, around ``height - 2`` rows."""
        line = "─" * (width - 2)
        self.text(row, column, f"┌{line}┐")
        for side in (column, column + width - 1):
            self.down(side, row + 1, row + height - 1)
        self.text(row + height - 1, column, f"└{line}┘")

    def lines(self) -> StyledLines:
        """Return the rows as spans, without the spaces at their ends."""
        return tuple(tuple(_spans(row)) for row in self._rows)


def _spans(row: list[tuple[str, Ink]]) -> list[Span]:
    """Return neighbours in the same ink as one span."""
    spans = [
        Span("".join(character for character, _ in cells), ink)
        for ink, cells in groupby(row, key=lambda cell: cell[1])
    ]
    if spans[-1].ink == PLAIN:
        spans[-1] = Span(spans[-1].text.rstrip())
    return [span for span in spans if span.text]
