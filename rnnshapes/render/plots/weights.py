"""Weights drawn by Matplotlib: rectangles to one scale, each gate in its colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from rnnshapes.network.summary import Inspection
from rnnshapes.render import palette
from rnnshapes.render.number_text import count_text
from rnnshapes.render.plots.diagram import LINE, MARGIN, Diagram, text_width
from rnnshapes.render.plots.style import DIM, WIDTH
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
#: Inches between two, and what stands above one.
_GAP, _ABOVE = 0.4, 0.62
_ROOM = WIDTH - 2 * MARGIN - 0.3
#: The gap where something is left out.
_BREAK = 0.07
#: An inch is at least so many columns: small weights need not be huge.
_LARGEST = 0.13
#: On a smaller scale there is no grid: its squares could not be seen.
_GRID = 0.07
#: The colour of weights without gates: one that no gate of a cell has.
_PLAIN = palette.category(4)


def draw(result: Inspection, diagram: Diagram) -> None:
    """Draw the weights group by group, beside each other where there is room."""
    blocks, omitted = weight_blocks(result, _MOST, by_direction=True)
    if not blocks:
        return
    scale = _scale(blocks)
    group = ""
    for row in side_by_side(blocks, lambda block: _Rectangle(block, scale).room, _ROOM, _GAP):
        if row[0].group != group:
            group = row[0].group
            diagram.y += 0.08
            diagram.lines(group, 10, fontweight="bold")
        x = MARGIN + 0.1
        rectangles = [_Rectangle(block, scale) for block in row]
        for rectangle in rectangles:
            _draw(diagram, rectangle, x)
            x += rectangle.room + _GAP
        diagram.y += _ABOVE + max(rectangle.height for rectangle in rectangles) + 0.1
    diagram.lines(_scale_text([_Rectangle(block, scale) for block in blocks]), 8, color=DIM)
    if omitted:
        diagram.lines(f"and {count_text(omitted)} more: see the tables", 8)


def _scale(blocks: Sequence[WeightBlock]) -> float:
    """Return inches for a row or a column: the largest at which those of recurrences fit."""
    to_fit = with_recurrence(blocks) or blocks
    fits = [min(_ROOM / max(1, b.columns), _HIGHEST / max(1, b.rows)) for b in to_fit]
    return min(_LARGEST, *fits)


class _Rectangle(NamedTuple):
    """A block to a scale, which is inches for a row or a column."""

    block: WeightBlock
    scale: float

    @property
    def width(self) -> float:
        return min(max(self.block.columns * self.scale, _THINNEST), _ROOM)

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
        return f"{self.block.shapes}{', cut' * (self.columns_cut or self.rows_cut)}"

    @property
    def room(self) -> float:
        """How wide it is with all that belongs to it."""
        beside = max((text_width(row, 8) + 0.1 for row in self.block.weight.rows), default=0.0)
        drawn = self.width + beside + text_width(count_text(self.block.columns), 7)
        return max(drawn, text_width(self.block.title, 9.5), text_width(self.block.shapes, 8))


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
        if left > free and left + text_width(above, 7) < x + width:
            diagram.text(left, top - 0.08, above, 7, color=DIM)
            free = left + text_width(above, 7) + 0.05
    diagram.text(x + width, top - 0.08, count_text(block.columns), 7, color=DIM)
    _grid(diagram, rectangle, x, top)
    _breaks(diagram, rectangle, x, top)
    for row, text in enumerate(block.weight.rows):
        y = top + height * (row + 0.5) / len(block.weight.rows)
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
