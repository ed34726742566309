"""Diagrams: boxes, arrows and texts at positions in inches from the upper left corner."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from rnnshapes.render.flow_layout import packed
from rnnshapes.render.plots.style import NotebookFigure, font_text, slide_height

#: How wide a diagram is, in inches: as wide as a slide.
WIDTH = 40 / 3
#: Inches between the edge and what is drawn, and between lines of a text of the usual size.
MARGIN, LINE = 0.3, 0.18
#: About how wide a character of one point is, and how much wider a bold one.
_CHARACTER, _BOLD = 0.0088, 1.25
_FRAME = "#777777"
#: In less room, in inches, nothing can be read.
_LEAST = 0.4


class Diagram:
    """A figure on which things are drawn from top to bottom; ``y`` is where the next one goes.

    ``left`` and ``right`` are the sides of the column in which they are drawn. ``looks`` of
    every method are options of Matplotlib. One that is a slide has the shape of one.
    """

    def __init__(self, is_slide: bool = True) -> None:
        self._is_slide = is_slide
        self._figure: Figure = NotebookFigure(figsize=(WIDTH, 1.0))
        self._axes: Axes = self._figure.add_axes((0, 0, 1, 1))
        self._axes.set_axis_off()
        self.left, self.right, self.y = MARGIN, WIDTH - MARGIN, 0.14

    def figure(self) -> Figure:
        """Return the figure, high enough for what is above ``y``."""
        needed = self.y + 0.12
        height = slide_height(needed, WIDTH) if self._is_slide else needed
        self._figure.set_size_inches(WIDTH, height)
        self._axes.set(xlim=(0, WIDTH), ylim=(height, 0))
        return self._figure

    def text(self, x: float, y: float, text: str, size: float = 9.0, **looks: Any) -> None:
        """Write a text whose left end is at (x, y), unless ``ha`` and ``va`` are given."""
        looks = {"ha": "left", "va": "center", "zorder": 5, **looks}
        self._axes.text(x, y, font_text(text), fontsize=size, **looks)

    def named(self, x: float, y: float, name: str, text: str, end: float) -> None:
        """Write a name in bold and, right after it, as much of a text as fits before ``end``."""
        name = shortened(font_text(name), 9 * _BOLD, end - x)
        room = end - x - _BOLD * text_width(name, 9) - 0.1
        text = shortened(font_text(text), 9, room) if room > _LEAST else ""
        looks: Any = {"va": "center", "zorder": 5, "fontsize": 9}
        bold = self._axes.text(x, y, name, fontweight="bold", **looks)
        after: Any = {"xycoords": bold, "xytext": (6, 0), "textcoords": "offset points"}
        self._axes.annotate(text, (1, 0.5), **after, **looks)

    def lines(self, *texts: str, size: float = 9.0, indent: float = 0.0, **looks: Any) -> None:
        """Write texts at ``y``, as many on a line as fit, and go on below them."""
        effective = size * (_BOLD if looks.get("fontweight") == "bold" else 1)
        x = self.left + indent
        room = int((self.right - indent - x) / (effective * _CHARACTER))
        for line in packed([font_text(text) for text in texts], max(room, 4)):
            self.text(x, self.y + LINE / 2, line, size, **looks)
            self.y += LINE * size / 9

    def box(self, x: float, y: float, width: float, height: float, **looks: Any) -> None:
        """Draw a box with round corners."""
        looks = {"fc": "white", "ec": _FRAME, "lw": 1.1, "zorder": 2, **looks}
        style = "round,pad=0,rounding_size=0.06"
        self._axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, **looks))

    def rectangle(self, x: float, y: float, width: float, height: float, **looks: Any) -> None:
        """Draw a rectangle with sharp corners."""
        self._axes.add_patch(Rectangle((x, y), width, height, **{"zorder": 3, **looks}))

    def line(self, *points: tuple[float, float], **looks: Any) -> None:
        """Draw a line through points."""
        looks = {"color": _FRAME, "lw": 1.2, "zorder": 1.5, **looks}
        self._axes.plot(*zip(*points, strict=True), "-", **looks)

    def arrow(self, start: tuple[float, float], end: tuple[float, float], **looks: Any) -> None:
        """Draw an arrow that ends exactly at ``end``."""
        looks = {"color": _FRAME, "lw": 1.3, **looks}
        style = {"arrowstyle": "-|>", "mutation_scale": 9, "shrinkA": 0, "shrinkB": 0}
        self._axes.annotate("", end, start, arrowprops={**style, **looks}, zorder=4)


def text_width(text: str, size: float = 8.0) -> float:
    """Return about how many inches a text takes."""
    return len(font_text(text)) * size * _CHARACTER


def shortened(text: str, size: float, room: float) -> str:
    """Return a text of this size, without its middle where it is wider than ``room`` inches."""
    most = max(2, int(room / (size * _CHARACTER)))
    half = most // 2
    return text if len(text) <= most else f"{text[: most - half - 1]}…{text[-half:]}"
