"""Figures of panels, one below the other, and what their axes and legends have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from textwrap import wrap
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from rnnshapes.render.plots.style import (
    ABSENT,
    DIM,
    WIDTH,
    NotebookFigure,
    font_text,
    slide_height,
)

#: Inches above a panel with a title and without, below one for the numbers of its axis and for
#: its label, left of it for numbers, right of it for the scale of colours.
_TITLE, _APART, _TICKS, _LABEL, _NUMBERS, _RIGHT = 0.29, 0.07, 0.2, 0.17, 0.52, 0.66
#: About so many characters fit on a line of the title, on one of a note, and above a panel.
_TITLE_WIDTH, _NOTE_WIDTH, _LEGEND_WIDTH = 104, 150, 156


class Panel(NamedTuple):
    """A part of a figure; panels of the same ``axis`` share their x, one below the other.

    ``height`` and ``margin``, for what stands left of it beside numbers, are inches.
    """

    height: float
    draw: Callable[[Axes], None]
    axis: str = ""
    label: str = ""
    title: str = ""
    margin: float = 0.0


def stack(title: str, panels: Sequence[Panel], notes: Sequence[str]) -> Figure:
    """Return a figure of panels one below the other, under a title and above notes."""
    heading = [line for part in title.split("\n") for line in wrap(font_text(part), _TITLE_WIDTH)]
    below = [line for note in notes for line in wrap(font_text(note), _NOTE_WIDTH)]
    goes_on = [bool(a.axis) and a.axis == b.axis for a, b in pairwise(panels)] + [False]
    tops = [_TITLE if panel.title else _APART for panel in panels]
    feet = [
        _APART if more else _TICKS + _LABEL * bool(panel.label)
        for panel, more in zip(panels, goes_on, strict=True)
    ]
    fixed = 0.12 + 0.2 * len(heading) + 0.12 + 0.155 * len(below) + sum(tops) + sum(feet)
    needed = fixed + sum(panel.height for panel in panels)
    height = slide_height(needed / 1.12, WIDTH)  # panels may be a little lower
    stretch = (height - fixed) / sum(panel.height for panel in panels)
    figure = NotebookFigure(figsize=(WIDTH, height))
    looks: Any = {"ha": "left", "linespacing": 1.25}
    figure.text(
        *(0.08 / WIDTH, 1 - 0.08 / height, "\n".join(heading)),
        **{**looks, "va": "top", "fontsize": 11, "fontweight": "bold"},
    )
    figure.text(
        *(0.08 / WIDTH, 0.08 / height, "\n".join(below)),
        **{**looks, "va": "bottom", "fontsize": 8, "color": DIM},
    )
    first: dict[str, Axes] = {}
    y = height - 0.12 - 0.2 * len(heading)
    for panel, more, top, foot in zip(panels, goes_on, tops, feet, strict=True):
        left, size = _NUMBERS + panel.margin, panel.height * stretch
        y -= top + size
        bounds = (left, y, WIDTH - left - _RIGHT, size)
        inches = (WIDTH, height, WIDTH, height)
        rectangle = tuple(round(a / b, 6) for a, b in zip(bounds, inches, strict=True))
        axes = figure.add_axes(rectangle, sharex=first.get(panel.axis))  # type: ignore[arg-type]
        if panel.axis:
            first.setdefault(panel.axis, axes)
        axes.set_title(font_text(panel.title))
        panel.draw(axes)
        if more:
            axes.tick_params(labelbottom=False)
        elif panel.label:
            axes.set_xlabel(panel.label)
        y -= foot
    return figure


def step_axis(axes: Axes, start: int, end: int) -> None:
    """Make x the time step: whole numbers from ``start`` to before ``end``."""
    axes.set_xlim(start - 0.5, end - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def log_axis(axis: Any) -> None:
    """Write powers of ten as 10⁻⁸: Matplotlib would use mathematics, which names are not."""
    axis.set_major_locator(LogLocator(numticks=6))
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: _power(value)))


def _power(value: float) -> str:
    """Return ``10⁻⁸``, ``1`` or ``10``; nothing for what is no power."""
    if value <= 0 or not np.isfinite(value):
        return ""
    power = round(float(np.log10(value)))
    if power in (0, 1):
        return str(10**power)
    return "10" + str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def legend(axes: Axes, **options: Any) -> None:
    """Draw the legend above the panel, in one row to the right of its title.

    The first entries are shown, as many as fit there: a second row would cover the panel above.

    Args:
        axes: The panel.
        options: ``handles`` and ``labels`` instead of those of the panel, and what else
            Matplotlib's legend takes.
    """
    handles, labels = axes.get_legend_handles_labels()
    handles, labels = options.pop("handles", handles), options.pop("labels", labels)
    longest = max(map(len, labels), default=0)
    columns = int((_LEGEND_WIDTH - 1.3 * len(axes.get_title(loc="left"))) / (longest + 7))
    columns = max(1, min(columns, len(labels)))
    axes.legend(
        *(handles[:columns], labels[:columns]),
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=columns,
        borderaxespad=0.1,
        columnspacing=1.4,
        handlelength=2.2,
        **options,
    )


def colour_map(colour_of: Callable[[float], str], low: float) -> ListedColormap:
    """Return the colours of the palette from ``low`` to 1, and grey for missing numbers."""
    colours = ListedColormap([colour_of(float(value)) for value in np.linspace(low, 1.0, 255)])
    colours.set_bad(ABSENT)
    return colours
