"""Weights as rectangles to one scale, each gate in its colour and with its letter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

from rnnshapes.network.summary import Inspection, WeightReport
from rnnshapes.render import palette
from rnnshapes.render.number_text import shapes_text, whole
from rnnshapes.render.plots.canvas import DIM, WIDTH
from rnnshapes.render.plots.paper import LINE, MARGIN, Paper, width_of

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
#: The colour of weights without gates: one that no gate of a cell has.
_PLAIN = palette.kind(4)


class _Block(NamedTuple):
    """A weight to draw: its rows and columns."""

    weight: WeightReport
    rows: int
    columns: int

    @property
    def group(self) -> str:
        """The part of a layer that owns it: ``bidirectional/forward_lstm``."""
        return self.weight.name.rpartition("/")[0]

    @property
    def headings(self) -> tuple[str, str]:
        """``kernel Wx`` and ``(D, 4M) = (3, 20)``."""
        weight = self.weight
        name = weight.name.rpartition("/")[2]
        shape = shapes_text(weight.dims, weight.shape)
        folded = f", as {whole(self.rows)} rows" if len(weight.shape) > 2 else ""
        return f"{name} {weight.symbol}".rstrip(), shape + folded

    def size(self, scale: float) -> tuple[float, float]:
        """How wide and high it is drawn, in inches."""
        return (
            min(max(self.columns * scale, _THINNEST), _ROOM),
            min(max(self.rows * scale, _THINNEST), _HIGHEST),
        )

    def cut(self, scale: float) -> tuple[bool, bool]:
        """Whether columns and rows are left out, since all of them do not fit."""
        width, height = self.size(scale)
        return width < self.columns * scale, height < self.rows * scale

    def units(self, scale: float) -> tuple[float, float]:
        """How wide a column is drawn and how high a row, in inches."""
        (width, height), (cut_x, cut_y) = self.size(scale), self.cut(scale)
        across = scale if cut_x else width / max(1, self.columns)
        return across, scale if cut_y else height / max(1, self.rows)

    def takes(self, scale: float) -> float:
        """How wide it is with all that belongs to it."""
        beside = max((width_of(row, 8) + 0.1 for row in self.weight.rows), default=0.0)
        widest = max(width_of(self.headings[0], 9.5), width_of(self.headings[1], 8))
        return max(self.size(scale)[0] + beside + width_of(whole(self.columns), 7), widest)


def draw(paper: Paper, result: Inspection) -> None:
    """The weights group by group, beside each other where there is room."""
    weights = [weight for layer in result.layers for weight in layer.weights]
    known = [weight for weight in weights if None not in weight.shape]
    blocks = [_block(weight) for weight in known[:_MOST]]
    if not blocks:
        return
    scale = _scale(blocks)
    group = ""
    for line in _lines(blocks, scale):
        if line[0].group != group:
            group = line[0].group
            paper.y += 0.08
            paper.lines(group, 10, fontweight="bold")
        x, height = MARGIN + 0.1, 0.0
        for block in line:
            height = max(height, _draw(paper, block, x, scale))
            x += block.takes(scale) + _GAP
        paper.y += height + 0.1
    paper.lines(_said(blocks, scale), 8, color=DIM)
    if len(weights) > len(blocks):
        paper.lines(f"and {whole(len(weights) - len(blocks))} more, which the tables have", 8)


def _block(weight: WeightReport) -> _Block:
    *front, last = (size or 0 for size in weight.shape or (1,))
    return _Block(weight, prod(front), last)


def _scale(blocks: Sequence[_Block]) -> float:
    """Inches for a row or a column: the largest at which those of the recurrences fit."""
    recurrent = {block.group for block in blocks if block.weight.name.endswith("recurrent_kernel")}
    ruling = [block for block in blocks if block.group in recurrent] or list(blocks)
    fits = [min(_ROOM / max(1, b.columns), _HIGHEST / max(1, b.rows)) for b in ruling]
    return min(_LARGEST, *fits)


def _lines(blocks: Sequence[_Block], scale: float) -> Iterator[list[_Block]]:
    """As many side by side as fit; those of another group begin a line."""
    line: list[_Block] = []
    used = 0.0
    for block in blocks:
        width = block.takes(scale)
        if line and (line[-1].group != block.group or used + width > _ROOM):
            yield line
            line, used = [], 0.0
        line.append(block)
        used += width + _GAP
    yield line


def _draw(paper: Paper, block: _Block, x: float, scale: float) -> float:
    """Draw one, and say how high it is with what stands above it."""
    width, height = block.size(scale)
    across, _ = block.units(scale)
    top = paper.y + _ABOVE
    paper.write(x, paper.y + 0.12, block.headings[0], 9, fontweight="bold")
    cut = ", cut" if any(block.cut(scale)) else ""
    paper.write(x, paper.y + 0.12 + LINE, block.headings[1] + cut, 8, color=DIM)
    parts = [(gate.name, *gate.columns) for gate in block.weight.gates]
    free = x - 1.0
    for number, (name, start, stop) in enumerate(parts or [("", 0, block.columns)]):
        left = x + min(width, across * start)
        wide = min(x + width - left, across * (stop - start))
        colour = palette.kind(number) if name else _PLAIN
        paper.rectangle(left, top, wide, height, fc=colour, ec="white", lw=0.8)
        inside = height >= _READABLE and wide > width_of(name, 9)
        if name and inside:
            looks: dict[str, Any] = {"color": palette.on(colour), "fontweight": "bold"}
            looks["bbox"] = {"fc": colour, "ec": "none", "pad": 0.5}  # no grid behind it
            size = min(9.0, 52 * height)
            paper.write(left + wide / 2, top + height / 2, name, size, ha="center", **looks)
        above = whole(start) if inside or not name else f"{whole(start)} {name}"
        if left > free and left + width_of(above, 7) < x + width:
            paper.write(left, top - 0.08, above, 7, color=DIM)
            free = left + width_of(above, 7) + 0.05
    paper.write(x + width, top - 0.08, whole(block.columns), 7, color=DIM)
    _grid(paper, block, (x, top, width, height), scale)
    _breaks(paper, block, (x, top, width, height), scale)
    for row, said in enumerate(block.weight.rows):
        middle = top + height * (row + 0.5) / len(block.weight.rows)
        paper.write(x + width + 0.06, middle, said, 7.5, color=DIM)
    return _ABOVE + height


def _grid(
    paper: Paper, block: _Block, place: tuple[float, float, float, float], scale: float
) -> None:
    """A line between rows and columns, where each number has a square that can be seen."""
    if scale < 0.07:
        return
    x, top, width, height = place
    across, down = block.units(scale)
    for row in range(1, min(block.rows, int(height / down) + 1)):
        y = top + down * row
        paper.line((x, y), (x + width, y), color="white", lw=0.35, zorder=3.5)
    for column in range(1, min(block.columns, int(width / across) + 1)):
        at = x + across * column
        paper.line((at, top), (at, top + height), color="white", lw=0.35, zorder=3.5)


def _breaks(
    paper: Paper, block: _Block, place: tuple[float, float, float, float], scale: float
) -> None:
    """A gap in front of the end of what is cut."""
    x, top, width, height = place
    cut_x, cut_y = block.cut(scale)
    looks = {"fc": "white", "ec": "none", "zorder": 3.6}
    if cut_y:
        paper.rectangle(x, top + height - 2 * _BREAK, width, _BREAK, **looks)
    if cut_x:
        paper.rectangle(x + width - 2 * _BREAK, top, _BREAK, height, **looks)


def _said(blocks: Sequence[_Block], scale: float) -> str:
    """The scale in a sentence."""
    per = 1 / scale
    inch = f"{per:.0f}" if per >= 10 else f"{per:.1f}"
    said = f"To scale: an inch is {inch} rows or columns"
    if any(min(b.rows, b.columns) * scale < _THINNEST for b in blocks):
        said += "; what is thinner than can be seen is drawn as a line"
    if any(any(block.cut(scale)) for block in blocks):
        said += "; where a weight is cut, rows or columns are left out at the gap"
    gated = any(block.weight.gates for block in blocks)
    return f"{said}.{' A gate has the columns from the number above it on.' * gated}"
