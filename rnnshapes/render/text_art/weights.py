"""Weights drawn with characters: rectangles to one scale, each gate in its colour."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

from rnnshapes.network.summary import Inspection
from rnnshapes.render.document import Ink, Sheet, StyledLines
from rnnshapes.render.number_text import count_text
from rnnshapes.render.palette import category, text_on
from rnnshapes.render.text_art.canvas import Canvas, clean, cut, text_width
from rnnshapes.render.weight_blocks import (
    WeightBlock,
    side_by_side,
    weight_blocks,
    with_recurrence,
)

#: How many weights are drawn, and how many lines one may take.
_MOST, _LINES = 16, 10
#: Characters between two rectangles, and the narrowest sheet.
_GAP, _NARROWEST = 3, 24
#: What the number at the right end of a rectangle may take.
_MARGIN = 4
#: Lines above a rectangle: its title, its shape, and numbers of columns.
_ABOVE = 3
#: What fills gates, in turns, where there are no colours.
_FILLS = "░▒"
#: The colour of weights without gates: one that no gate of a cell has.
_PLAIN_KIND = 4
#: With fewer lines than that, a recurrent kernel does not look like one.
_ENOUGH = 3

_GROUP, _FAINT = Ink(meaning="strong"), Ink(meaning="dim")


def draw(result: Inspection, sheet: Sheet) -> StyledLines:
    """Return the weights one after the other, beside each other where there is room."""
    blocks, omitted = weight_blocks(result, _MOST, by_direction=False)
    if not blocks or sheet.width < _NARROWEST:
        return ()
    picture = _WeightPicture(sheet, _line_scale(blocks, sheet.width))
    picture.write(picture.scale.text(blocks))
    for row in side_by_side(blocks, picture.width, sheet.width, _GAP):
        picture.draw(row)
    if omitted:
        picture.write(f"and {count_text(omitted)} more: see the table of weights")
    return picture.canvas.lines()


class _LineScale(NamedTuple):
    """How many rows are one line. A character is half as wide as it is high."""

    rows: int

    def lines(self, rows: int) -> int:
        """Return how many lines so many rows take."""
        return max(1, -(-rows // self.rows))

    def characters(self, columns: int) -> int:
        """Return how many characters so many columns take."""
        return max(1, 2 * columns // self.rows)

    def text(self, blocks: Sequence[WeightBlock]) -> str:
        """Return the scale in a sentence."""
        if self.rows == 1:
            return "To scale: two characters are one column, one line is one row"
        column = "one column" if self.rows == 2 else f"{count_text(self.rows // 2)} columns"
        text = f"To scale: one character is {column}, one line is {count_text(self.rows)} rows"
        enlarged = any(map(self._enlarges, blocks))
        return text + ("; smaller parts are drawn as one" if enlarged else "")

    def _enlarges(self, block: WeightBlock) -> bool:
        """Return whether part of a block would be thinner than a line or a character."""
        narrowest = min(gate.stop - gate.start for gate in block.gates)
        return block.rows < self.rows or 2 * narrowest < self.rows


def _line_scale(blocks: Sequence[WeightBlock], width: int) -> _LineScale:
    """Return the largest scale at which all weights fit.

    Where that would hide what the recurrences look like, those that do not fit are cut.
    """
    recurrent = [block for block in blocks if block.is_recurrent]
    rows = max((block.rows for block in recurrent), default=0)
    for to_fit in (blocks, with_recurrence(blocks)):
        scale = _fitting(to_fit, width)
        if scale.lines(rows) >= min(rows, _ENOUGH):
            return scale
    return _fitting(recurrent, width)


def _fitting(blocks: Sequence[WeightBlock], width: int) -> _LineScale:
    """Return the largest scale at which these blocks fit."""
    tallest, widest = max(b.rows for b in blocks), max(b.columns for b in blocks)
    scales = (digit * 10**power for power in count() for digit in (1, 2, 4))
    return _LineScale(
        next(n for n in scales if tallest <= n * _LINES and 2 * widest <= n * (width - _MARGIN))
    )


class _Cut(NamedTuple):
    """Where a gate begins: after so many characters, at this column of the weight."""

    character: int
    column: int


class _WeightPicture:
    """The canvas, and the row that is drawn next."""

    def __init__(self, sheet: Sheet, scale: _LineScale) -> None:
        self.sheet, self.scale = sheet, scale
        self.canvas = Canvas(sheet)
        self.row = 0
        self.group = ""

    def write(self, text: str) -> None:
        """Write a text by itself, on as many lines as it takes."""
        from textwrap import wrap

        for line in wrap(clean(text, self.sheet), self.sheet.width):
            self.canvas.text(self.row, 0, line, _FAINT)
            self.row += 1

    def draw(self, blocks: Sequence[WeightBlock]) -> None:
        """Draw blocks side by side, the name of their group above them if it is another."""
        if blocks[0].group != self.group:
            self.group = blocks[0].group
            name = cut(clean(self.group, self.sheet), self.sheet.width, self.sheet)
            self.canvas.text(self.row + 1, 0, name, _GROUP)
            self.row += 2
        elif self.row > 1:
            self.row += 1
        column = 0
        for block in blocks:
            self._block(block, column)
            column += self.width(block) + _GAP
        self.row += _ABOVE + max(map(self._lines, blocks))

    def width(self, block: WeightBlock) -> int:
        """Return how many characters a block takes, with what stands above and beside it."""
        end = self._cuts(block)[-1]
        names = [clean(row, self.sheet) for row in block.weight.rows]
        beside = max((text_width(name) + 1 for name in names), default=0)
        drawn = end.character + max(len(count_text(end.column)), beside)
        return min(self.sheet.width, max(drawn, *map(text_width, self._headings(block))))

    def _headings(self, block: WeightBlock) -> tuple[str, str]:
        """Return ``kernel Wx`` and ``(D, 4M) = (3, 20)``."""
        is_cut = self._too_high(block) or self._cuts(block)[-1].character > self.sheet.width
        shapes = f"{block.shapes}, cut" if is_cut else block.shapes
        return clean(block.title, self.sheet), clean(shapes, self.sheet)

    def _too_high(self, block: WeightBlock) -> bool:
        """Return whether rows are left out, since all of them do not fit."""
        return self.scale.lines(block.rows) > _LINES

    def _lines(self, block: WeightBlock) -> int:
        """Return how many lines the rectangle takes."""
        return min(self.scale.lines(block.rows), _LINES)

    def _cuts(self, block: WeightBlock) -> list[_Cut]:
        """Return where each gate begins, and where the last one ends."""
        cuts, character = [], 0
        for gate in block.gates:
            cuts.append(_Cut(character, gate.start))
            character += self.scale.characters(gate.stop - gate.start)
        return [*cuts, _Cut(character, block.columns)]

    def _block(self, block: WeightBlock, column: int) -> None:
        """Draw a block from ``column`` on."""
        room = self.sheet.width - column
        for row, text in enumerate(self._headings(block)):
            self.canvas.text(self.row + row, column, cut(text, room, self.sheet))
        cuts = self._cuts(block)
        self._column_numbers(cuts, column)
        lines = self._lines(block)
        for line in range(lines):
            row = self.row + _ABOVE + line
            for number, gate in enumerate(block.gates):
                start, stop = column + cuts[number].character, column + cuts[number + 1].character
                ground = category(number) if gate.name else category(_PLAIN_KIND)
                self._fill(row, start, stop, number, ground)
                if line == (lines - 1) // 2:
                    middle = start + (stop - start - 1) // 2
                    letter = clean(gate.name, self.sheet)[:1]
                    self.canvas.text(row, middle, letter, Ink(text_on(ground), ground, "strong"))
            if self._too_high(block) and line == lines - 1:
                self.canvas.text(row, column, "⋮" * min(cuts[-1].character, room), _FAINT)
            if lines == len(block.weight.rows):
                beside = clean(block.weight.rows[line], self.sheet)
                self.canvas.text(row, column + cuts[-1].character + 1, beside, _FAINT)

    def _fill(self, row: int, start: int, stop: int, number: int, ground: str) -> None:
        """Draw a line of a gate: one colour, or a pattern where there are none."""
        stop = min(stop, self.sheet.width)
        self.canvas.text(row, start, _FILLS[number % 2] * (stop - start), Ink(ground, ground))

    def _column_numbers(self, cuts: Sequence[_Cut], column: int) -> None:
        """Write the columns at the cuts; between the first and the last as many as fit."""
        first, *inner, last = [(column + cut.character, count_text(cut.column)) for cut in cuts]
        row, free = self.row + _ABOVE - 1, first[0]
        for start, text in (first, *inner):
            fits = start + len(text) < last[0] or (start, text) == first
            if start >= free and fits:
                self.canvas.text(row, start, text, _FAINT)
                free = start + len(text) + 1
        self.canvas.text(row, max(last[0], free), last[1], _FAINT)
