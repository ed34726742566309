"""Figures of panels, one below the other, and what their axes and legends have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from textwrap import wrap
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from rnnshapes.render.plots.style import ABSENT, DIM, WIDTH, NotebookFigure, font_text

#: About so many characters fit on a line of the title, on one of a note, and above a panel.
_TITLE_WIDTH, _NOTE_WIDTH, _LEGEND_WIDTH = 104, 150, 156


class Panel(NamedTuple):
    """A part of a figure, ``height`` inches high; panels of the same ``axis`` share their x."""

    height: float
    draw: Callable[[Axes], None]
    axis: str = ""
    label: str = ""


def stack(title: str, panels: Sequence[Panel], notes: Sequence[str]) -> Figure:
    """Return a figure of panels one below the other, under a title and above notes."""
    title_lines = [row for line in title.split("\n") for row in wrap(font_text(line), _TITLE_WIDTH)]
    note_lines = [line for note in notes for line in wrap(font_text(note), _NOTE_WIDTH)]
    heading, below = "\n".join(title_lines), "\n".join(note_lines)
    height = sum(p.height for p in panels) + 0.22 * (heading.count("\n") + 2)
    height += 0.16 * len(note_lines)
    figure = NotebookFigure(figsize=(WIDTH, height), layout="constrained")
    figure.set_constrained_layout_pads(hspace=0.0, h_pad=0.03, w_pad=0.06)  # type: ignore[attr-defined]
    figure.suptitle(heading, x=0.008, ha="left", fontsize=11, fontweight="bold")
    figure.supxlabel(below, x=0.008, ha="left", fontsize=8, color=DIM)
    grid = figure.add_gridspec(len(panels), 1, height_ratios=[p.height for p in panels])
    first: dict[str, Axes] = {}
    for number, panel in enumerate(panels):
        shared = first.get(panel.axis) if panel.axis else None
        axes = figure.add_subplot(grid[number], sharex=shared)
        if panel.axis:
            first.setdefault(panel.axis, axes)
        panel.draw(axes)
        next_axis = panels[number + 1].axis if number + 1 < len(panels) else ""
        if panel.axis and next_axis == panel.axis:
            axes.tick_params(labelbottom=False)
        elif panel.label:
            axes.set_xlabel(panel.label)
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
    """Draw the legend above the panel, to the right of its title, in columns that fit there.

    Args:
        axes: The panel.
        options: ``handles`` and ``labels`` instead of those of the panel, and what else
            Matplotlib's legend takes.
    """
    handles, labels = axes.get_legend_handles_labels()
    handles, labels = options.pop("handles", handles), options.pop("labels", labels)
    longest = max(map(len, labels), default=0)
    columns = int((_LEGEND_WIDTH - 1.3 * len(axes.get_title(loc="left"))) / (longest + 7))
    axes.legend(
        *(handles, labels),
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=max(1, min(columns, len(labels))),
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
