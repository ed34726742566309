"""Weights as rectangles to one scale, each gate in its colour and with its letter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from math import prod
from typing import NamedTuple

from rnnshapes.network.summary import Inspection, WeightReport
from rnnshapes.render.document import Ink, Picture, Sheet
from rnnshapes.render.number_text import shapes_text, whole
from rnnshapes.render.palette import kind, on
from rnnshapes.render.text_art.canvas import Canvas, clean, cut, length

#: How many weights are drawn, and how many lines one may take.
_MOST, _LINES = 16, 10
#: Characters between two rectangles, and the narrowest sheet.
_GAP, _NARROWEST = 3, 24
#: What the number at the right end of a rectangle may take.
_MARGIN = 4
#: What fills the parts of a weight, in turns, where there are no colours.
_FILLS = "░▒"
#: The colour of weights without gates: one that no gate of a cell has.
_PLAIN_KIND = 4
#: With fewer lines than that, a recurrent kernel does not look like one.
_ENOUGH = 3

_HEADING, _FAINT = Ink(meaning="strong"), Ink(meaning="dim")


class _Scale(NamedTuple):
    """How many rows are one line. A character is half as wide as it is high."""

    rows: int

    def lines(self, rows: int) -> int:
        return max(1, -(-rows // self.rows))

    def characters(self, columns: int) -> int:
        return max(1, 2 * columns // self.rows)

    def said(self, *, smaller: bool) -> str:
        """The scale in a sentence."""
        if self.rows == 1:
            return "To scale: two characters are one column, one line is one row"
        column = "one column" if self.rows == 2 else f"{whole(self.rows // 2)} columns"
        text = f"To scale: one character is {column}, one line is {whole(self.rows)} rows"
        return text + ("; what is smaller is drawn as one" if smaller else "")


class _Block(NamedTuple):
    """A weight to draw: its rows and columns, and the parts of these."""

    weight: WeightReport
    rows: int
    columns: int

    @property
    def recurrent(self) -> bool:
        """Whether it is what a state is multiplied with."""
        return self.weight.name.endswith("recurrent_kernel")

    @property
    def layer(self) -> str:
        return self.weight.name.partition("/")[0]

    @property
    def parts(self) -> tuple[tuple[str, int, int], ...]:
        """Each gate with its columns, or all of them under no name."""
        gates = tuple((gate.name, *gate.columns) for gate in self.weight.gates)
        return gates or (("", 0, self.columns),)


def draw(result: Inspection, sheet: Sheet) -> Picture:
    """The weights one after the other, beside each other where there is room."""
    weights = [weight for layer in result.layers for weight in layer.weights]
    blocks = [_block(weight) for weight in weights[:_MOST] if None not in weight.shape]
    if not blocks or sheet.width < _NARROWEST:
        return ()
    scale = _scale(blocks, sheet.width)
    smaller = any(_smaller(block, scale) for block in blocks)
    sketch = _Sketch(sheet, scale)
    sketch.say(scale.said(smaller=smaller))
    for line in _lines_of(blocks, sketch):
        sketch.row_of(line)
    left = len(weights) - len(blocks)
    if left:
        sketch.say(f"and {whole(left)} more, which the table of weights has")
    return sketch.canvas.picture()


def _block(weight: WeightReport) -> _Block:
    *front, last = (size or 0 for size in weight.shape or (1,))
    return _Block(weight, prod(front), last)


def _scale(blocks: Sequence[_Block], width: int) -> _Scale:
    """The largest at which all weights fit.

    Where that would hide what the recurrences look like, those that do not fit are cut.
    """
    states = [block for block in blocks if block.recurrent]
    layers = {block.layer for block in states}
    for ruling in (blocks, [block for block in blocks if block.layer in layers]):
        scale = _fitting(ruling or blocks, width)
        rows = max((block.rows for block in states), default=0)
        if scale.lines(rows) >= min(rows, _ENOUGH):
            return scale
    return _fitting(states, width)


def _fitting(blocks: Sequence[_Block], width: int) -> _Scale:
    tallest, widest = max(b.rows for b in blocks), max(b.columns for b in blocks)
    steps = (digit * 10**power for power in count() for digit in (1, 2, 4))
    return _Scale(
        next(n for n in steps if tallest <= n * _LINES and 2 * widest <= n * (width - _MARGIN))
    )


def _smaller(block: _Block, scale: _Scale) -> bool:
    """Whether something of it would be thinner than a line or a character."""
    narrowest = min(stop - start for _, start, stop in block.parts)
    return block.rows < scale.rows or 2 * narrowest < scale.rows


def _lines_of(blocks: Sequence[_Block], sketch: _Sketch) -> Iterator[list[_Block]]:
    """The blocks, as many side by side as fit; those of another layer begin a line."""
    line: list[_Block] = []
    used = 0
    for block in blocks:
        width = sketch.width_of(block)
        if line and (line[-1].layer != block.layer or used + width > sketch.sheet.width):
            yield line
            line, used = [], 0
        line.append(block)
        used += width + _GAP
    yield line


class _Sketch:
    """The canvas, and the row at which it goes on."""

    def __init__(self, sheet: Sheet, scale: _Scale) -> None:
        self.sheet, self.scale = sheet, scale
        self.canvas = Canvas(sheet.width, sheet)
        self.row = 0
        self.layer = ""

    def say(self, text: str) -> None:
        """A text by itself, on as many lines as it takes."""
        from textwrap import wrap

        for line in wrap(clean(text, self.sheet), self.sheet.width):
            self.canvas.text(self.row, 0, line, _FAINT)
            self.row += 1

    def headings(self, block: _Block) -> tuple[str, str]:
        """``kernel Wx`` and ``(D, 4M) = (3, 20)``."""
        weight = block.weight
        name = weight.name.removeprefix(f"{block.layer}/")
        shapes = shapes_text(weight.dims, weight.shape)
        if len(weight.shape) > 2:
            shapes += f", as {whole(block.rows)} rows"
        if self.is_cut(block):
            shapes += ", cut"
        return clean(f"{name} {weight.symbol}".rstrip(), self.sheet), clean(shapes, self.sheet)

    def is_cut(self, block: _Block) -> bool:
        """Whether it is larger than what is drawn of it."""
        return self.scale.lines(block.rows) > _LINES or self.cuts(block)[-1][0] > self.sheet.width

    def cuts(self, block: _Block) -> list[tuple[int, int]]:
        """Where each part begins, in characters and in columns, and where the last one ends."""
        found, at = [], 0
        for _, start, stop in block.parts:
            found.append((at, start))
            at += self.scale.characters(stop - start)
        return [*found, (at, block.columns)]

    def width_of(self, block: _Block) -> int:
        """How many characters a block needs, with what stands above and beside it."""
        end, columns = self.cuts(block)[-1]
        beside = max((length(clean(row, self.sheet)) + 1 for row in block.weight.rows), default=0)
        drawn = end + max(len(whole(columns)), beside)
        return min(self.sheet.width, max(drawn, *map(length, self.headings(block))))

    def row_of(self, line: Sequence[_Block]) -> None:
        """Blocks side by side, the name of their layer above them if it is another."""
        if line[0].layer != self.layer:
            self.layer = line[0].layer
            self.canvas.text(self.row, 0, " ")
            name = cut(clean(self.layer, self.sheet), self.sheet.width, self.sheet)
            self.canvas.text(self.row + 1, 0, name, _HEADING)
            self.row += 2
        elif self.row > 1:
            self.row += 1
        column, height = 0, 0
        for block in line:
            height = max(height, self._block(block, column))
            column += self.width_of(block) + _GAP
        self.row += height

    def _block(self, block: _Block, column: int) -> int:
        """Draw one, and say how many rows it took."""
        room = self.sheet.width - column
        for row, text in enumerate(self.headings(block)):
            self.canvas.text(self.row + row, column, cut(text, room, self.sheet))
        cuts = self.cuts(block)
        self._numbers(cuts, column)
        lines = min(self.scale.lines(block.rows), _LINES)
        cut_off = self.scale.lines(block.rows) > _LINES
        for line in range(lines):
            row = self.row + 3 + line
            for number, (name, _, _) in enumerate(block.parts):
                start, stop = column + cuts[number][0], column + cuts[number + 1][0]
                ground = kind(number) if name else kind(_PLAIN_KIND)
                self._part(row, start, stop, number, ground)
                if line == (lines - 1) // 2 and name:
                    letter, ink = clean(name, self.sheet)[:1], Ink(on(ground), ground, "strong")
                    self.canvas.text(row, start + (stop - start - 1) // 2, letter, ink)
            if cut_off and line == lines - 1:
                self.canvas.text(row, column, "⋮" * min(cuts[-1][0], room), _FAINT)
            if lines == len(block.weight.rows):
                beside = clean(block.weight.rows[line], self.sheet)
                self.canvas.text(row, column + cuts[-1][0] + 1, beside, _FAINT)
        return lines + 3

    def _part(self, row: int, start: int, stop: int, number: int, ground: str) -> None:
        """A line of a gate: one colour, or a pattern where there are none."""
        stop = min(stop, self.sheet.width)
        self.canvas.text(row, start, _FILLS[number % 2] * (stop - start), Ink(ground, ground))

    def _numbers(self, cuts: Sequence[tuple[int, int]], column: int) -> None:
        """The columns at the cuts; between the first and the last as many as fit."""
        first, *inner, last = [(column + at, whole(number)) for at, number in cuts]
        free = first[0]
        for place, text in (first, *inner):
            fits = place + len(text) < last[0] or (place, text) == first
            if place >= free and fits:
                self.canvas.text(self.row + 2, place, text, _FAINT)
                free = place + len(text) + 1
        self.canvas.text(self.row + 2, max(last[0], free), last[1], _FAINT)
