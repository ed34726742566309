"""A sheet on which places are inches from its upper left corner, for pictures that are no plots."""

from __future__ import annotations

from textwrap import wrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from rnnshapes.render.plots.canvas import WIDTH, Picture, text

#: Inches between the edge and what is drawn, and between lines of a text of the usual size.
MARGIN, LINE = 0.3, 0.19
#: About how wide a character of one point is, and how much wider a bold one.
_CHARACTER, _BOLD = 0.0088, 1.25
_FRAME = "#777777"


class Paper:
    """Draws, and is cut to its length at the end. ``y`` is where it goes on."""

    def __init__(self) -> None:
        self.figure: Figure = Picture(figsize=(WIDTH, 1.0))
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_axis_off()
        self.y = 0.14

    def finished(self) -> Figure:
        """The figure, as long as what is on it."""
        height = self.y + 0.12
        self.figure.set_size_inches(WIDTH, height)
        self.axes.set(xlim=(0, WIDTH), ylim=(height, 0))
        return self.figure

    def write(self, x: float, y: float, said: str, size: float = 9.0, **looks: Any) -> None:
        """A text whose left end, if nothing else is said, is at (x, y)."""
        looks = {"ha": "left", "va": "center", "zorder": 5, **looks}
        self.axes.text(x, y, text(said), fontsize=size, **looks)

    def named(self, x: float, y: float, name: str, said: str) -> None:
        """A name in bold and, right after it, as much of what is said of it as fits."""
        said = fitted(text(said), 9, WIDTH - MARGIN - x - width_of(name, 10))
        looks: Any = {"va": "center", "zorder": 5, "fontsize": 9}
        bold = self.axes.text(x, y, text(name), fontweight="bold", **looks)
        after: Any = {"xycoords": bold, "xytext": (6, 0), "textcoords": "offset points"}
        self.axes.annotate(said, (1, 0.5), **after, **looks)

    def lines(self, said: str, size: float = 9.0, x: float = MARGIN, **looks: Any) -> None:
        """A text from ``y`` on, on as many lines as it takes."""
        wide = size * (_BOLD if looks.get("fontweight") == "bold" else 1)
        for line in wrap(text(said), int((WIDTH - MARGIN - x) / (wide * _CHARACTER))):
            self.write(x, self.y + LINE / 2, line, size, **looks)
            self.y += LINE * size / 9

    def box(self, x: float, y: float, width: float, height: float, **looks: Any) -> None:
        """A box with round corners."""
        looks = {"fc": "white", "ec": _FRAME, "lw": 1.1, "zorder": 2, **looks}
        style = "round,pad=0,rounding_size=0.06"
        self.axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, **looks))

    def rectangle(self, x: float, y: float, width: float, height: float, **looks: Any) -> None:
        """A rectangle to scale."""
        self.axes.add_patch(Rectangle((x, y), width, height, **{"zorder": 3, **looks}))

    def line(self, *points: tuple[float, float], **looks: Any) -> None:
        """A line through points."""
        looks = {"color": _FRAME, "lw": 1.2, "zorder": 1.5, **looks}
        self.axes.plot(*zip(*points, strict=True), "-", **looks)

    def arrow(self, start: tuple[float, float], end: tuple[float, float], **looks: Any) -> None:
        """An arrow that ends exactly where it is to."""
        looks = {"color": _FRAME, "lw": 1.3, "zorder": 4, **looks}
        style: Any = {"arrowstyle": "-|>", "mutation_scale": 9, "shrinkA": 0, "shrinkB": 0}
        self.axes.add_patch(FancyArrowPatch(start, end, **style, **looks))


def width_of(said: str, size: float = 8.0) -> float:
    """About how many inches a text takes."""
    return len(text(said)) * size * _CHARACTER


def fitted(said: str, size: float, room: float) -> str:
    """A text of this size, without its middle where it is wider than ``room``, in inches."""
    most = max(2, int(room / (size * _CHARACTER)))
    half = most // 2
    return said if len(said) <= most else f"{said[: most - half - 1]}…{said[-half:]}"
