"""Numbers over time as lines: what there is no room for as bands, and what has no place marked."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from rnnshapes.ops.activations import Array
from rnnshapes.render.plots.canvas import log_axis
from rnnshapes.render.plots.thinning import group_size, runs, thinned

#: So many markers stand on a line at the most.
MARKS = 40
#: What lies over steps that do not count.
MASKED: Any = {"fc": "#999999", "ec": "#555555", "alpha": 0.25, "hatch": "////", "lw": 0}


def line(axes: Axes, values: Array, start: int = 0, dash: str = "-", **looks: Any) -> None:
    """``values`` (T,), the first at step ``start``; the band that they stay within if too many.

    Where there are not many, each has a point, and in any case those that no line reaches.
    """
    made = thinned(values, start)
    few = made.size == 1 and len(made.t) <= MARKS
    marked = np.flatnonzero(_alone(made.high) | few)
    points: Any = {"marker": ".", "markevery": marked} if len(marked) else {}
    width = {} if made.size == 1 else {"lw": 0.7}
    axes.plot(made.t, made.high, ls=dash, **{**points, **looks, **width})
    if made.size > 1:
        looks = {key: value for key, value in looks.items() if key in ("color", "zorder")}
        axes.plot(made.t, made.low, ls=dash, lw=0.7, **points, **looks)
        axes.fill_between(made.t, made.low, made.high, alpha=0.3, lw=0, **looks)


def _alone(values: Array) -> Array:
    """Which numbers stand between two that are none."""
    there = np.isfinite(values)
    beside = np.concatenate([[False], there, [False]])
    alone: Array = there & ~beside[:-2] & ~beside[2:]
    return alone


def markers(axes: Axes, values: Array, start: int, marker: str, colour: str) -> None:
    """Open markers, some of them where there are too many: of a group both ends."""
    made = thinned(values.astype(np.float64), start)
    every = slice(None, None, group_size(len(made.t), MARKS))
    looks: Any = {"ls": "", "marker": marker, "mfc": "none", "mec": colour, "ms": 6.5}
    for ends in (made.high,) if made.size == 1 else (made.high, made.low):
        axes.plot(made.t[every], ends[every], **looks)


def log_line(axes: Axes, values: Array, start: int, dash: str, **looks: Any) -> None:
    """A line on a log axis. 0 is a triangle at the bottom, what is not finite a cross on top."""
    line(axes, np.where((values > 0) & (values < np.inf), values, np.nan), start, dash, **looks)
    for found, height, shape in ((values == 0, 0.06, "v"), (values == np.inf, 0.94, "X")):
        at = np.flatnonzero(found)
        at = at[:: group_size(len(at), 4 * MARKS)]
        edge: Any = {"ls": "", "marker": shape, "mfc": "none", "mec": looks["color"], "ms": 5}
        place = np.full(len(at), height)
        axes.plot(start + at, place, transform=axes.get_xaxis_transform(), **edge)


def log_scale(axes: Axes, *also: float) -> None:
    """A log axis with some room around what is drawn, and around these numbers."""
    lines = [one for one in axes.get_lines() if one.get_transform() == axes.transData]
    drawn = [np.asarray(one.get_ydata(), float) for one in lines]
    found = np.concatenate([np.asarray(also, float), *drawn])
    found = found[np.isfinite(found) & (found > 0)]
    low, high = (found.min(), found.max()) if len(found) else (1e-9, 1e-8)
    axes.set_yscale("log")
    log_axis(axes.yaxis)
    axes.set_ylim(low / 4, high * 4)


def shade(axes: Axes, mask: Array | None, start: int) -> None:
    """The steps at which the mask (T,) is False."""
    for left, right in [] if mask is None else runs(~mask, start):
        axes.axvspan(left, right, zorder=3, **MASKED)
