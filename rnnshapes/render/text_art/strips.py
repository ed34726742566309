"""Numbers over time as strips of coloured cells, a line for each unit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, partial
from itertools import count, groupby
from typing import Literal, NamedTuple

import numpy as np

from rnnshapes.ops.activations import Array
from rnnshapes.render import palette
from rnnshapes.render.document import BAD, DIM, Drawing, Ink, Sheet, Span, StyledLines, for_encoding
from rnnshapes.render.time_axis import balanced_groups, group_means

#: How many units are drawn, and the least width of a sheet on which there is a drawing.
MOST_UNITS, NARROWEST = 16, 20
#: From 0 to 1.
DIGITS = "0123456789"
#: By sign, and by the third of the scale: the last ones stand for the largest numbers.
PLUS, MINUS, ASCII_MINUS, ZERO = "+*#", "-=≡", "-=%", "."
NOT_FINITE, MASKED = "?", "/"
#: Characters of a column, where there is room for more.
_WIDEST = 12
#: Characters of the bar that shows a scale from its lowest to its highest number.
_BAR = 12

#: Cells that are ``signed`` go from minus the largest size to plus that; cells of a ``fraction``
#: from 0 to 1.
ScaleKind = Literal["signed", "fraction"]


class Strip(NamedTuple):
    """``values`` (steps, units) from step ``start`` on, a line for each unit, ``name[unit]``.

    Where ``unmasked`` (steps,) is False, a step is masked. At most ``most_units`` are drawn. With
    ``own_scales`` each line has a scale of its own.
    """

    title: str
    name: str
    values: Array
    kind: ScaleKind
    start: int = 0
    unmasked: Array | None = None
    most_units: int = MOST_UNITS
    own_scales: bool = False

    @property
    def units(self) -> range:
        """The units that are drawn."""
        return range(min(self.values.shape[1], self.most_units))

    def labels(self, encoding: str | None) -> list[str]:
        """Return what stands in front of each line."""
        name = for_encoding(self.name, encoding)
        return [f"{name}[{unit}]" for unit in self.units]


def drawings(strips: Sequence[Strip]) -> Iterator[Drawing]:
    """Yield a drawing for each; of those over the same steps, one stands exactly below another."""
    for strip in strips:
        yield Drawing(strip.title, partial(_picture, strip, strips))


def scale_kind(values: Array) -> ScaleKind:
    """Return ``fraction`` where no number is outside 0 to 1, else ``signed``."""
    with np.errstate(invalid="ignore"):
        outside = bool(np.any((values < 0) | (values > 1)))
    return "signed" if outside else "fraction"


def _picture(strip: Strip, all_strips: Sequence[Strip], sheet: Sheet) -> StyledLines:
    """Return a line for each unit, the time axis and the key; nothing where there is no room."""
    labels = [text for one in all_strips for text in one.labels(sheet.encoding)]
    margin = max(map(len, labels), default=0) + 1
    steps, room = len(strip.values), sheet.width - margin
    if sheet.width < NARROWEST or room < 1 or not steps or not strip.units:
        return ()
    values = np.ascontiguousarray(strip.values[:, : len(strip.units)].T)
    columns = _fitting_columns(strip.start, steps, room)
    means, masked = _column_means(values, strip.unmasked, columns)
    scaled = means if strip.own_scales else [means] * len(means)
    scales = [_ValueScale(strip.kind, *_ends(part), sheet.ascii_only) for part in scaled]
    decimals = [scale.decimals(columns.width) for scale in scales]
    labels = strip.labels(sheet.encoding)
    lines: list[Sequence[Span]] = []
    for label, numbers, scale, places in zip(labels, means.tolist(), scales, decimals, strict=True):
        cells = (
            Span(MASKED * columns.width, DIM)
            if is_masked
            else _cell(value, scale, columns.width, places)
            for value, is_masked in zip(numbers, masked.tolist(), strict=True)
        )
        lines.append([Span(label.ljust(margin), DIM), *_joined(cells)])
    lines.append([Span("t".ljust(margin) + columns.axis_text(), DIM)])
    words = _key(scales[0], means, decimals[0])
    if strip.own_scales and len(scales) > 1:
        words = _keys(labels, scales, means, decimals)
    for remark in _remarks(strip, values, columns, means, masked):
        words = [*words[:-1], [*words[-1], Span(";", DIM)], *_words(remark)]
    return [*lines, *_wrapped(words, sheet.width)]


# --- Time, from left to right -------------------------------------------------------------------


class _TimeColumns(NamedTuple):
    """Steps from ``start`` on in columns of ``width`` characters, grouped at ``edges``.

    Where there is room, a column is one step.
    """

    start: int
    edges: Array
    width: int

    @property
    def number(self) -> int:
        """How many columns there are."""
        return len(self.edges) - 1

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return int(self.edges[-1])

    def axis_text(self) -> str:
        """Return ``0    10    20    29``: some steps below their columns, and the last one."""
        last = self.start + self.steps - 1
        line = [" "] * (self.number * self.width)
        end = self._text_start(last)
        line[end:] = str(last)
        for t in self._ticks(len(str(last)) + 2):
            start, text = self._text_start(t), str(t)
            is_free = not "".join(line[max(start - 2, 0) : start]).strip()
            if start + len(text) <= end - 2 and is_free:
                line[start : start + len(text)] = text
        return "".join(line).rstrip()

    def _text_start(self, t: int) -> int:
        """Return where the text of step t begins: mid-column, if that is wide enough."""
        column = int(np.searchsorted(self.edges, t - self.start, side="right")) - 1
        length = len(str(t))
        start = column * self.width + max(0, (self.width - length) // 2)
        return max(0, min(start, self.number * self.width - length))

    def _ticks(self, apart: int) -> Iterator[int]:
        """Yield the first step, and those divisible by 1, 2, 5, 10, 20, 50 … so far ``apart``."""
        characters = self.number * self.width / self.steps
        every = next(
            factor * 10**power
            for power in count()
            for factor in (1, 2, 5)
            if factor * 10**power * characters >= apart
        )
        yield self.start
        yield from range(self.start // every * every + every, self.start + self.steps, every)


def _fitting_columns(start: int, steps: int, room: int) -> _TimeColumns:
    """Return a column for each step, or as many as fit into ``room`` characters."""
    number = min(steps, room)
    return _TimeColumns(start, balanced_groups(number, steps), min(room // number, _WIDEST))


def _column_means(
    values: Array, unmasked: Array | None, columns: _TimeColumns
) -> tuple[Array, Array]:
    """Return the mean of unmasked steps (units, columns), and which columns have none."""
    weights = np.ones(values.shape[1]) if unmasked is None else unmasked.astype(float)
    means, totals = group_means(values, weights, columns.edges)
    return means, totals == 0


# --- Numbers, as characters and colours ---------------------------------------------------------


class _ValueScale(NamedTuple):
    """What stands for a number between the lowest and the highest."""

    kind: ScaleKind
    low: float
    high: float
    ascii_only: bool

    @property
    def limit(self) -> float:
        """The largest size on a scale with 0 in its middle."""
        size = max(abs(self.low), abs(self.high))
        return 1.0 if self.kind == "fraction" or not size else size

    def glyph(self, value: float) -> str:
        """Return one character for a number."""
        if self.kind == "signed":
            minus = ASCII_MINUS if self.ascii_only else MINUS
            marks = PLUS if value > 0 else minus if value < 0 else ZERO
            height = abs(value) / self.limit
        else:
            marks, height = DIGITS, value
        return marks[min(int(height * len(marks)), len(marks) - 1)]

    def ink(self, value: float) -> Ink:
        """Return the colours of a number."""
        return _cell_ink(self.kind, round(100 * (value / self.limit)))

    def decimals(self, width: int) -> int | None:
        """Return with how many decimals numbers fit into a column; None where none do.

        There are three or two digits of the largest.
        """
        for digits, gap in ((3, 2), (2, 1)):
            decimals = max(0, digits - 1 - math.floor(math.log10(self.limit)))
            if len(f"{-self.limit:.{decimals}f}") <= width - gap:
                return decimals
        return None


@cache
def _cell_ink(kind: ScaleKind, hundredths: int) -> Ink:
    """Return the ink of a cell, which there are few of."""
    ground = (palette.signed if kind == "signed" else palette.fraction)(hundredths / 100)
    return Ink(palette.text_on(ground), ground)


def _ends(values: Array) -> tuple[float, float]:
    """Return the lowest and the highest finite number; zeros where there is none."""
    if not np.isfinite(values).all():
        values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)


def _cell(value: float, scale: _ValueScale, width: int, decimals: int | None) -> Span:
    """Return a number as text with so many decimals, or as a row of its character."""
    if not math.isfinite(value):
        return Span(NOT_FINITE * width, BAD)
    ink = scale.ink(value)
    if decimals is None:
        return Span(scale.glyph(value) * width, ink)
    return Span(f"{value: .{decimals}f}".center(width), ink)


def _joined(cells: Iterable[Span]) -> Iterator[Span]:
    """Yield neighbours in the same ink as one piece."""
    for ink, group in groupby(cells, key=lambda span: span.ink):
        yield Span("".join(span.text for span in group), ink)


# --- The key ------------------------------------------------------------------------------------

#: Spans that stay on one line, and several such.
Word = Sequence[Span]
Words = list[Word]


def _key(scale: _ValueScale, means: Array, decimals: int | None) -> Words:
    """Return the lowest and the highest number, and what stands for those between them."""
    low, high = scale.low, scale.high
    if not np.isfinite(means).any():
        return _words("no number is finite")
    if low == high:
        return _words(f"all numbers are {low:.3g}")
    if decimals is not None:
        return _words(f"lowest {low:.3g}, highest {high:.3g}")
    bar = _bar(scale, low, high)
    return [*_words(f"lowest {low:.3g}"), bar, *_words(f"{high:.3g} highest")]


def _keys(
    labels: Sequence[str],
    scales: Sequence[_ValueScale],
    means: Array,
    decimals: Sequence[int | None],
) -> Words:
    """Return the lowest and the highest number of each line, and what stands for those between."""
    if not np.isfinite(means).any():
        return _words("no number is finite")
    ends = ", ".join(
        f"{label} {scale.low:.3g} to {scale.high:.3g}"
        for label, scale in zip(labels, scales, strict=True)
    )
    if None not in decimals:
        return _words(f"each line on its own scale: {ends}")
    bar = _bar(scales[0]._replace(low=-1.0, high=1.0), -1.0, 1.0)
    start = _words("each line on its own scale, minus its largest")
    return [*start, bar, *_words(f"plus its largest: {ends}")]


def _bar(scale: _ValueScale, low: float, high: float) -> Word:
    """Return what stands for the numbers from the lowest to the highest."""
    shares = [number / (_BAR - 1) for number in range(_BAR)]
    between = [low * (1 - share) + high * share for share in shares]
    return [Span(scale.glyph(value), scale.ink(value)) for value in between]


def _remarks(
    strip: Strip, values: Array, columns: _TimeColumns, means: Array, masked: Array
) -> Iterator[str]:
    """Yield what a column is the mean of, what the marks mean, and what is left out."""
    if columns.steps > columns.number:
        numbers = values if strip.unmasked is None else values[:, strip.unmasked]
        low, high = _ends(numbers)
        span = f", which go from {low:.3g} to {high:.3g}" if np.isfinite(numbers).any() else ""
        yield f"each cell is the mean of {_steps_text(columns)} steps{span}"
    if masked.any():
        yield f"{MASKED} is masked"
    if not np.isfinite(means[:, ~masked]).all():
        yield f"{NOT_FINITE} is NaN or infinite"
    units = strip.values.shape[1]
    if units > len(strip.units):
        yield f"{units - len(strip.units):,} of {units:,} units are left out"


def _steps_text(columns: _TimeColumns) -> str:
    """Return how many steps are in a column: ``37``, ``1 or 2``, ``about 1,333``."""
    few, more = divmod(columns.steps, columns.number)
    if not more:
        return f"{few:,}"
    return f"{few} or {few + 1}" if few < 10 else f"about {columns.steps / columns.number:,.0f}"


def _words(text: str) -> Words:
    """Return a text as words."""
    return [[Span(word, DIM)] for word in text.split()]


def _wrapped(words: Iterable[Word], width: int) -> Iterator[list[Span]]:
    """Yield lines of words."""
    line: list[Span] = []
    for word in words:
        longer = [*line, Span(" ", DIM), *word] if line else [*word]
        if line and sum(len(span.text) for span in longer) > width:
            yield line
            longer = [*word]
        line = longer
    yield line
