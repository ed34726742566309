"""Numbers over time as lines of characters: sparklines, and strips of coloured cells."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, partial
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np

from rnnshapes.ops.activations import Array
from rnnshapes.render import palette
from rnnshapes.render.document import Drawing, Ink, Sheet, Span, StyledLines, for_encoding
from rnnshapes.render.text_art import timeline

#: How many units are drawn, and the least width of a sheet on which there is a drawing.
MOST_UNITS, NARROWEST = 16, 20
#: From the lowest number to the highest, and what stands for these where there are no blocks.
HEIGHTS, DIGITS = "▁▂▃▄▅▆▇█", "0123456789"
#: By sign, and by the third of the scale: the last ones stand for the largest numbers.
PLUS, MINUS, ASCII_MINUS, ZERO = "+*#", "-=≡", "-=%", "."
NOT_FINITE, MASKED = "?", "/"
#: Characters of the bar that shows a scale from its lowest to its highest number.
_BAR = 12
_DIM, _BAD = Ink(meaning="dim"), Ink(meaning="bad")

#: A ``line`` goes from its lowest number to its highest; cells that are ``signed`` from minus the
#: largest size to plus that; cells of a ``share`` from 0 to 1.
Kind = Literal["line", "signed", "share"]


class Strip(NamedTuple):
    """``values`` (steps, units) from step ``start`` on, a line for each unit, ``name[unit]``.

    Where ``counts`` (steps,) is False, a step is masked.
    """

    title: str
    name: str
    values: Array
    kind: Kind
    start: int = 0
    counts: Array | None = None

    @property
    def units(self) -> range:
        """The units that are drawn."""
        return range(min(self.values.shape[1], MOST_UNITS))

    def labels(self, encoding: str | None) -> list[str]:
        """What stands in front of each line."""
        name = for_encoding(self.name, encoding)
        return [f"{name}[{unit}]" for unit in self.units]


def drawings(strips: Sequence[Strip]) -> Iterator[Drawing]:
    """A drawing for each; of those over the same steps, one stands exactly below the other."""
    for strip in strips:
        yield Drawing(strip.title, partial(_picture, strip, strips))


def kind_of(values: Array) -> Kind:
    """Cells of a share where no number is outside 0 to 1, else signed ones."""
    with np.errstate(invalid="ignore"):
        outside = bool(np.any((values < 0) | (values > 1)))
    return "signed" if outside else "share"


class _Scale(NamedTuple):
    """What stands for a number between the lowest and the highest."""

    kind: Kind
    low: float
    high: float
    ascii_only: bool

    @property
    def limit(self) -> float:
        """The largest size on a scale with 0 in its middle."""
        size = max(abs(self.low), abs(self.high))
        return 1.0 if self.kind == "share" or not size else size

    def glyph(self, value: float) -> str:
        """One character."""
        if self.kind == "signed":
            minus = ASCII_MINUS if self.ascii_only else MINUS
            marks = PLUS if value > 0 else minus if value < 0 else ZERO
            place = abs(value) / self.limit
        elif self.kind == "share":
            marks, place = DIGITS, value
        else:
            marks = DIGITS if self.ascii_only else HEIGHTS
            span = self.high / 2 - self.low / 2  # halves: the difference may be too large
            place = (value / 2 - self.low / 2) / span if span else 0.5
        return marks[min(int(place * len(marks)), len(marks) - 1)]

    def ink(self, value: float, unit: int) -> Ink:
        """A colour for each unit of a line, or one for each number."""
        if self.kind == "line":
            return Ink(palette.kind(unit))
        return _on(self.kind, round(100 * value / self.limit))

    def decimals(self, width: int) -> int | None:
        """With how many decimals numbers fit into a cell so wide; ``None`` where none do.

        There are three or two digits of the largest.
        """
        if self.kind == "line":
            return None
        for digits, gap in ((3, 2), (2, 1)):
            found = max(0, digits - 1 - math.floor(math.log10(self.limit)))
            if len(f"{-self.limit:.{found}f}") <= width - gap:
                return found
        return None


@cache
def _on(kind: Kind, hundredths: int) -> Ink:
    ground = (palette.signed if kind == "signed" else palette.share)(hundredths / 100)
    return Ink(palette.on(ground), ground)


def _picture(strip: Strip, beside: Sequence[Strip], sheet: Sheet) -> StyledLines:
    labels = [text for one in beside for text in one.labels(sheet.encoding)]
    margin = max(map(len, labels), default=0) + 1
    steps, columns = len(strip.values), sheet.width - margin
    if sheet.width < NARROWEST or columns < 1 or not steps or not strip.units:
        return ()
    values = np.ascontiguousarray(strip.values[:, : len(strip.units)].T)
    time = timeline.cells(strip.start, steps, columns)
    cut = timeline.means(values, strip.counts, time)
    scale = _Scale(strip.kind, *_ends(cut.values), sheet.ascii_only)
    decimals = scale.decimals(time.width)
    masked = cut.masked.tolist()
    lines: list[list[Span]] = []
    for unit, label in zip(strip.units, strip.labels(sheet.encoding), strict=True):
        numbers = zip(cut.values[unit].tolist(), masked, strict=True)
        cells = (
            Span(MASKED * time.width, _DIM) if none else _cell(value, unit, scale, time, decimals)
            for value, none in numbers
        )
        lines.append([Span(label.ljust(margin), _DIM), *_joined(cells)])
    lines.append([Span("t".ljust(margin) + timeline.scale(time), _DIM)])
    words = _key(scale, cut, decimals)
    for said in _said(strip, values, time, cut):
        words = [*words[:-1], [*words[-1], Span(";", _DIM)], *_words(said)]
    return [*lines, *_wrapped(words, sheet.width)]


def _ends(values: Array) -> tuple[float, float]:
    """The lowest and the highest of the numbers that are finite."""
    if not np.isfinite(values).all():
        values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)


def _cell(
    value: float, unit: int, scale: _Scale, time: timeline.Cells, decimals: int | None
) -> Span:
    if not math.isfinite(value):
        return Span(NOT_FINITE * time.width, _BAD)
    ink = scale.ink(value, unit)
    if decimals is None:
        return Span(scale.glyph(value) * time.width, ink)
    return Span(f"{value: .{decimals}f}".center(time.width), ink)


def _joined(cells: Iterable[Span]) -> Iterator[Span]:
    """Neighbours in the same ink as one piece."""
    for ink, group in groupby(cells, key=lambda span: span.ink):
        yield Span("".join(span.text for span in group), ink)


# --- The key ------------------------------------------------------------------------------------

#: What stays on one line, and several such.
Word = Sequence[Span]
Words = list[Word]


def _key(scale: _Scale, cut: timeline.Means, decimals: int | None) -> Words:
    """The lowest and the highest number, and what stands for those between them."""
    low, high = scale.low, scale.high
    if not np.isfinite(cut.values).any():
        return _words("no number is finite")
    if low == high:
        return _words(f"all numbers are {low:.3g}")
    if decimals is not None:
        return _words(f"lowest {low:.3g}, highest {high:.3g}")
    bar = [Span(DIGITS if scale.ascii_only else HEIGHTS, _DIM)]
    if scale.kind != "line":
        shares = [place / (_BAR - 1) for place in range(_BAR)]
        between = [low * (1 - share) + high * share for share in shares]
        bar = [Span(scale.glyph(value), scale.ink(value, 0)) for value in between]
    return [*_words(f"lowest {low:.3g}"), bar, *_words(f"{high:.3g} highest")]


def _said(strip: Strip, values: Array, time: timeline.Cells, cut: timeline.Means) -> Iterator[str]:
    """What a cell is the mean of, what the marks mean, and what is left out."""
    if time.steps > time.number:
        low, high = _ends(values if strip.counts is None else values[:, strip.counts])
        yield f"each cell is the mean of {_many(time)} steps, which go from {low:.3g} to {high:.3g}"
    if cut.masked.any():
        yield f"{MASKED} is masked"
    if not np.isfinite(cut.values[:, ~cut.masked]).all():
        yield f"{NOT_FINITE} is NaN or infinite"
    units = strip.values.shape[1]
    if units > len(strip.units):
        yield f"{units - len(strip.units):,} of {units:,} units are left out"


def _many(time: timeline.Cells) -> str:
    few, more = divmod(time.steps, time.number)
    if not more:
        return f"{few:,}"
    return f"{few} or {few + 1}" if few < 10 else f"about {time.steps / time.number:,.0f}"


def _words(text: str) -> Words:
    return [[Span(word, _DIM)] for word in text.split()]


def _wrapped(words: Iterable[Word], width: int) -> Iterator[list[Span]]:
    """Lines of words."""
    line: list[Span] = []
    used = 0
    for word in words:
        length = sum(len(span.text) for span in word)
        if line and used + 1 + length > width:
            yield line
            line, used = [], 0
        line += [Span(" ", _DIM)] * bool(line) + [*word]
        used += length + (used > 0)
    if line:
        yield line
