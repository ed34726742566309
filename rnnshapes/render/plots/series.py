"""Numbers over time in a plot: lines, bands, markers and heat maps.

Steps for which there is no room are drawn as groups; units never, since neighbours among them
have nothing in common.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from rnnshapes.ops.activations import Array
from rnnshapes.render import palette
from rnnshapes.render.plots.panels import colour_map, log_axis
from rnnshapes.render.time_axis import group_means, group_size, groups_of

#: How many groups of steps are drawn side by side, and units one below the other.
MOST_STEPS, MOST_UNITS = 1000, 1024
#: So many markers stand on a line at the most.
MOST_MARKERS = 40
#: A larger number is drawn as what is not finite: Matplotlib would compute with its multiples.
LARGEST = 1e200
#: So many groups of steps are shaded or not.
_MOST_SHADED = 200
#: What lies over masked steps.
MASKED: Any = {"fc": "#999999", "ec": "#555555", "alpha": 0.25, "hatch": "////", "lw": 0}


class Envelope(NamedTuple):
    """Groups of ``size`` steps: the middle of each, and its lowest and highest number.

    A group in which no number can be drawn has NaN.
    """

    t: Array
    low: Array
    high: Array
    size: int


def envelope(values: Array, start: int) -> Envelope:
    """Return the envelope of ``values`` (T,), the first of which is that of step ``start``."""
    drawable = _drawable(values)
    size = group_size(len(values), MOST_STEPS)
    starts = groups_of(size, len(values))[:-1]
    low, high = np.fmin.reduceat(drawable, starts), np.fmax.reduceat(drawable, starts)
    return Envelope(start + starts + (size - 1) / 2, low, high, size)


def _drawable(values: Array) -> Array:
    """Return numbers in float64, with NaN for those that are not finite or too large to draw."""
    values = values.astype(np.float64, copy=False)
    return np.where(np.abs(values) <= LARGEST, values, np.nan)


def draw_line(axes: Axes, values: Array, start: int = 0, dash: str = "-", **looks: Any) -> None:
    """Draw ``values`` (T,) from step ``start`` on; if there are too many, the band they fill.

    Where there are not many, each has a point, and in any case those that no line reaches.
    """
    band = envelope(values, start)
    few = band.size == 1 and len(band.t) <= MOST_MARKERS
    marked = np.flatnonzero(_isolated(band.high) | few)
    points: Any = {"marker": ".", "markevery": marked} if len(marked) else {}
    width = {} if band.size == 1 else {"lw": 0.7}
    axes.plot(band.t, band.high, ls=dash, **{**points, **looks, **width})
    if band.size > 1:
        looks = {key: value for key, value in looks.items() if key in ("color", "zorder")}
        axes.plot(band.t, band.low, ls=dash, lw=0.7, **points, **looks)
        axes.fill_between(band.t, band.low, band.high, alpha=0.3, lw=0, **looks)


def _isolated(values: Array) -> Array:
    """Return which finite numbers have no finite neighbour."""
    finite = np.isfinite(values)
    padded = np.concatenate([[False], finite, [False]])
    isolated: Array = finite & ~padded[:-2] & ~padded[2:]
    return isolated


def draw_markers(axes: Axes, values: Array, start: int, marker: str, colour: str) -> None:
    """Draw open markers, some of them where there are too many: of a group both ends."""
    band = envelope(values, start)
    every = slice(None, None, group_size(len(band.t), MOST_MARKERS))
    looks: Any = {"ls": "", "marker": marker, "mfc": "none", "mec": colour, "ms": 6.5}
    for ends in (band.high,) if band.size == 1 else (band.high, band.low):
        axes.plot(band.t[every], ends[every], **looks)


def draw_log_line(axes: Axes, values: Array, start: int, dash: str, **looks: Any) -> None:
    """Draw a line on a log axis: 0 is a triangle at the bottom, infinity a cross on top."""
    values = values.astype(np.float64, copy=False)
    positive = np.where((values > 0) & (values <= LARGEST), values, np.nan)
    draw_line(axes, positive, start, dash, **looks)
    for which, height, shape in ((values == 0, 0.06, "v"), (values > LARGEST, 0.94, "X")):
        steps = np.flatnonzero(which)
        steps = steps[:: group_size(len(steps), 4 * MOST_MARKERS)]
        edge: Any = {"ls": "", "marker": shape, "mfc": "none", "mec": looks["color"], "ms": 5}
        heights = np.full(len(steps), height)
        axes.plot(start + steps, heights, transform=axes.get_xaxis_transform(), **edge)


def set_log_scale(axes: Axes, limit: float) -> None:
    """Make y a log axis with some room around the positive numbers drawn, and around a limit."""
    lines = [line for line in axes.get_lines() if line.get_transform() == axes.transData]
    numbers = np.concatenate([[limit], *(np.asarray(line.get_ydata(), float) for line in lines)])
    numbers = numbers[numbers <= LARGEST]
    axes.set_yscale("log")
    log_axis(axes.yaxis)
    axes.set_ylim(numbers.min() / 4, numbers.max() * 4)


def shade_masked(axes: Axes, mask: Array | None, start: int) -> None:
    """Shade the steps at which the mask (T,) is False."""
    for left, right in [] if mask is None else _spans(~mask, start):
        axes.axvspan(left, right, zorder=3, **MASKED)


def _spans(marked: Array, start: int) -> list[tuple[float, float]]:
    """Return from where to where steps are ``marked`` (T,), each end half a step further out.

    Where groups stand for several steps, one counts as a whole in which a step is marked.
    """
    edges = groups_of(group_size(len(marked), _MOST_SHADED), len(marked))
    groups = np.logical_or.reduceat(marked, edges[:-1])
    changes = np.flatnonzero(np.diff(groups.astype(int), prepend=0, append=0)).reshape(-1, 2)
    ends = edges[changes] + start - 0.5
    return [(float(left), float(right)) for left, right in ends]


def draw_heat_map(
    axes: Axes, values: Array, name: str, start: int, *, fraction: bool = False
) -> None:
    """Draw ``values`` (T, units) as colours, unit 0 on top, the first step at ``start``.

    Signed numbers go from blue to orange; those that are a ``fraction``, from 0 to 1, from light
    to dark. A group of steps is drawn as the mean of its finite numbers. Of more than
    ``MOST_UNITS`` units, every second, third … is drawn.
    """
    units = group_size(values.shape[1], MOST_UNITS)
    means, steps = _step_means(values[:, ::units])
    largest = float(np.max(np.abs(means), initial=0.0, where=np.isfinite(means))) or 1.0
    fraction = fraction and largest <= 1.0 and not bool(np.any(means < 0))
    low, high = (0.0, 1.0) if fraction else (-largest, largest)
    colours = colour_map(palette.fraction, 0.0) if fraction else colour_map(palette.signed, -1.0)
    right, bottom = start + steps * means.shape[0] - 0.5, units * means.shape[1] - 0.5
    image = axes.imshow(
        np.ma.masked_invalid(means.T),
        aspect="auto",
        interpolation="none",
        extent=(start - 0.5, right, bottom, -0.5),
        vmin=low,
        vmax=high,
        cmap=colours,
    )
    axes.grid(visible=False)
    axes.set_ylim(values.shape[1] - 0.5, -0.5)
    axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10, labelpad=12)
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True, min_n_ticks=1))
    figure = axes.get_figure()
    assert figure is not None
    bar = figure.colorbar(image, cax=axes.inset_axes((1.008, 0.0, 0.011, 1.0)))
    ticks = [low, (low + high) / 2, high]
    bar.set_ticks(ticks, labels=[f"{value:.2g}" for value in ticks])
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)


def _step_means(values: Array) -> tuple[Array, int]:
    """Return (T, units) as the means of groups of steps, (groups, units), and their size.

    What cannot be drawn does not count; a group of which nothing can has NaN.
    """
    drawable = _drawable(values)
    size = group_size(len(values), MOST_STEPS)
    edges = groups_of(size, len(values))
    return group_means(drawable, np.isfinite(drawable).astype(float), edges, axis=0)[0], size


def draw_bars(axes: Axes, values: Array, keras: Array | None, colour: str) -> None:
    """Draw ``values`` (units,) of one step as bars from 0, and Keras's as open markers."""
    units = np.arange(len(values))
    heights = np.nan_to_num(_drawable(values))
    axes.axhline(0, color="#888888", lw=0.8)
    axes.vlines(units, 0, heights, color=colour, lw=max(0.6, min(14.0, 300 / len(units))))
    if keras is not None:
        looks: Any = {"ls": "", "marker": "o", "mfc": "none", "mec": "black", "ms": 6}
        axes.plot(units, _drawable(keras), **looks)
    axes.set_xlim(-0.5, len(units) - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(3))
