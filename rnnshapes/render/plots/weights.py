"""Weights drawn by Matplotlib: rectangles to one scale, each gate in its colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from rnnshapes.network.summary import Inspection
from rnnshapes.render import palette
from rnnshapes.render.number_text import count_text
from rnnshapes.render.plots.diagram import LINE, Diagram, text_width
from rnnshapes.render.plots.style import DIM
from rnnshapes.render.weight_blocks import (
    WeightBlock,
    side_by_side,
    weight_blocks,
    with_recurrence,
)

#: So many weights are drawn; so high may one be, and so thin.
_MOST, _HIGHEST, _THINNEST = 32, 2.0, 0.05
#: In one that is lower, a letter has no room and stands above it.
_READABLE = 0.12
#: A row is named beside it where it is not lower than that.
_LOWEST_NAME = 0.12
#: Inches between two, above and below one, and for the name of a group.
_GAP, _ABOVE, _BELOW, _HEADING = 0.3, 0.54, 0.1, 0.21
#: Scales that are tried, from the largest on, and how much smaller each is.
_SCALES, _NEXT_SCALE = 5, 0.7
#: The gap where something is left out.
_BREAK = 0.07
#: An inch is at least so many columns: small weights need not be huge.
_LARGEST = 0.13
#: On a smaller scale there is no grid: its squares could not be seen.
_GRID = 0.07
#: The colour of weights without gates: one that no gate of a cell has.
_PLAIN = palette.category(4)


def draw(result: Inspection, diagram: Diagram, room: float) -> None:
    """Draw the weights group by group, beside each other where there is room.

    Args:
        result: The report on the weights.
        diagram: The diagram, in whose column they are drawn.
        room: How high they may be: drawn on the largest scale that fits. A smaller one that
            saves little is not used.
    """
    blocks, omitted = weight_blocks(result, _MOST, by_direction=True)
    if not blocks:
        return
    width = diagram.right - diagram.left - 0.3
    scales = [_scale(blocks, width) * _NEXT_SCALE**power for power in range(_SCALES)]
    drawings = [list(_rows(blocks, scale, width)) for scale in scales]
    highest = max(room - 0.5, 1.2 * min(map(_height, drawings)))
    rows = next(rows for rows in drawings if _height(rows) <= highest)
    group = ""
    for rectangles, height in zip(rows, _heights(rows), strict=True):
        if rectangles[0].block.group != group:
            group = rectangles[0].block.group
            diagram.lines(group, size=10, fontweight="bold")
        x = diagram.left + 0.1
        for rectangle in rectangles:
            _draw(diagram, rectangle, x)
            x += rectangle.room + _GAP
        diagram.y += height
    diagram.lines(_scale_text([rectangle for row in rows for rectangle in row]), size=8, color=DIM)
    if omitted:
        diagram.lines(f"and {count_text(omitted)} more: see the tables", size=8)


def _rows(blocks: Sequence[WeightBlock], scale: float, width: float) -> Iterator[list[_Rectangle]]:
    """Yield the rectangles that stand side by side."""

    def room(block: WeightBlock) -> float:
        return _Rectangle(block, scale, width).room

    for row in side_by_side(blocks, room, width, _GAP):
        yield [_Rectangle(block, scale, width) for block in row]


def _heights(rows: Sequence[Sequence[_Rectangle]]) -> Iterator[float]:
    """Yield how high each row is, without the name of its group."""
    for row in rows:
        yield _ABOVE + max(rectangle.height for rectangle in row) + _BELOW


def _height(rows: Sequence[Sequence[_Rectangle]]) -> float:
    """Return how high all rows are together."""
    return sum(_heights(rows)) + _HEADING * len({row[0].block.group for row in rows})


def _scale(blocks: Sequence[WeightBlock], width: float) -> float:
    """Return inches for a row or a column: the largest at which those of recurrences fit."""
    to_fit = with_recurrence(blocks) or blocks
    widths = [width - _Rectangle(b, 1.0, width).beside for b in to_fit]
    fits = [
        min(room / max(1, b.columns), _HIGHEST / max(1, b.rows))
        for b, room in zip(to_fit, widths, strict=True)
    ]
    return min(_LARGEST, *fits)


class _Rectangle(NamedTuple):
    """A block to a scale, which is inches for a row or a column, at most ``most`` inches wide."""

    block: WeightBlock
    scale: float
    most: float

    @property
    def width(self) -> float:
        return min(max(self.block.columns * self.scale, _THINNEST), self.most - self.beside)

    @property
    def height(self) -> float:
        return min(max(self.block.rows * self.scale, _THINNEST), _HIGHEST)

    @property
    def columns_cut(self) -> bool:
        """Whether columns are left out, since all of them do not fit."""
        return self.width < self.block.columns * self.scale

    @property
    def rows_cut(self) -> bool:
        """Whether rows are left out, since all of them do not fit."""
        return self.height < self.block.rows * self.scale

    @property
    def column_width(self) -> float:
        """Inches of a column."""
        return self.scale if self.columns_cut else self.width / max(1, self.block.columns)

    @property
    def row_height(self) -> float:
        """Inches of a row."""
        return self.scale if self.rows_cut else self.height / max(1, self.block.rows)

    @property
    def shapes(self) -> str:
        """``(D, 4M) = (3, 20)``, and whether that is cut."""
        rows = () if self.row_names else self.block.weight.rows
        named = f"; rows: {', '.join(rows)}" if rows else ""
        return f"{self.block.shapes}{named}{', cut' * (self.columns_cut or self.rows_cut)}"

    @property
    def room(self) -> float:
        """Return its width with all that belongs to it."""
        drawn = self.width + self.beside
        return max(drawn, text_width(self.block.title, 10.5), text_width(self.shapes, 8))

    @property
    def beside(self) -> float:
        """Return the width of what stands right of it: names of rows, or the number of columns."""
        names = max((text_width(name, 7.5) + 0.1 for name in self.row_names), default=0.0)
        return max(names, text_width(count_text(self.block.columns), 7))

    @property
    def row_names(self) -> tuple[str, ...]:
        """The names of the rows, where these are high enough for them."""
        return self.block.weight.rows if self.scale >= _LOWEST_NAME else ()


def _draw(diagram: Diagram, rectangle: _Rectangle, x: float) -> None:
    """Draw a rectangle from ``x`` on, with what stands above and beside it."""
    block, width, height = rectangle.block, rectangle.width, rectangle.height
    top = diagram.y + _ABOVE
    diagram.text(x, diagram.y + 0.12, block.title, 9, fontweight="bold")
    diagram.text(x, diagram.y + 0.12 + LINE, rectangle.shapes, 8, color=DIM)
    free = x - 1.0
    for number, (name, start, stop) in enumerate(block.gates):
        left = x + min(width, rectangle.column_width * start)
        gate_width = min(x + width - left, rectangle.column_width * (stop - start))
        colour = palette.category(number) if name else _PLAIN
        diagram.rectangle(left, top, gate_width, height, fc=colour, ec="white", lw=0.8)
        inside = height >= _READABLE and gate_width > text_width(name, 9)
        if name and inside:
            looks: dict[str, Any] = {"color": palette.text_on(colour), "fontweight": "bold"}
            looks["bbox"] = {"fc": colour, "ec": "none", "pad": 0.5}  # no grid behind it
            size = min(9.0, 52 * height)
            middle = left + gate_width / 2, top + height / 2
            diagram.text(*middle, name, size, ha="center", **looks)
        above = count_text(start) if inside or not name else f"{count_text(start)} {name}"
        is_first = left == x
        if is_first or (left > free and left + text_width(above, 7) < x + width):
            diagram.text(left, top - 0.08, above, 7, color=DIM)
            free = left + text_width(above, 7) + 0.05
    diagram.text(max(x + width, free), top - 0.08, count_text(block.columns), 7, color=DIM)
    _grid(diagram, rectangle, x, top)
    _breaks(diagram, rectangle, x, top)
    for row, text in enumerate(rectangle.row_names):
        y = top + height * (row + 0.5) / len(rectangle.row_names)
        diagram.text(x + width + 0.06, y, text, 7.5, color=DIM)


def _grid(diagram: Diagram, rectangle: _Rectangle, x: float, top: float) -> None:
    """Draw lines between rows and columns, where each number has a square that can be seen."""
    if rectangle.scale < _GRID:
        return
    block, width, height = rectangle.block, rectangle.width, rectangle.height
    for row in range(1, min(block.rows, int(height / rectangle.row_height) + 1)):
        y = top + rectangle.row_height * row
        diagram.line((x, y), (x + width, y), color="white", lw=0.35, zorder=3.5)
    for column in range(1, min(block.columns, int(width / rectangle.column_width) + 1)):
        left = x + rectangle.column_width * column
        diagram.line((left, top), (left, top + height), color="white", lw=0.35, zorder=3.5)


def _breaks(diagram: Diagram, rectangle: _Rectangle, x: float, top: float) -> None:
    """Draw a gap in front of the end of what is cut."""
    width, height = rectangle.width, rectangle.height
    looks = {"fc": "white", "ec": "none", "zorder": 3.6}
    if rectangle.rows_cut:
        diagram.rectangle(x, top + height - 2 * _BREAK, width, _BREAK, **looks)
    if rectangle.columns_cut:
        diagram.rectangle(x + width - 2 * _BREAK, top, _BREAK, height, **looks)


def _scale_text(rectangles: Sequence[_Rectangle]) -> str:
    """Return the scale in a sentence, and what is not to scale."""
    columns_per_inch = 1 / rectangles[0].scale
    inch = f"{columns_per_inch:.0f}" if columns_per_inch >= 10 else f"{columns_per_inch:.1f}"
    text = f"To scale: an inch is {inch} rows or columns"
    if any(min(r.block.rows, r.block.columns) * r.scale < _THINNEST for r in rectangles):
        text += "; parts too thin to see are drawn as lines"
    if any(r.columns_cut or r.rows_cut for r in rectangles):
        text += "; at a gap, rows or columns are left out"
    has_gates = any(r.block.weight.gates for r in rectangles)
    return f"{text}.{' The number above a gate is its first column.' * has_gates}"
