"""Units over time as colours."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from rnnshapes.ops.activations import Array
from rnnshapes.render import palette
from rnnshapes.render.plots.canvas import colours
from rnnshapes.render.plots.thinning import means


def draw(axes: Axes, values: Array, name: str, start: int = 0, *, share: bool = False) -> None:
    """``values`` (T, units), the first at step ``start``: unit 0 on top.

    Signed numbers go from blue to orange, and those that are a ``share`` from light to dark.
    """
    made, steps, units = means(values)
    largest = float(np.max(np.abs(made), initial=0.0, where=np.isfinite(made))) or 1.0
    share = share and largest <= 1.0 and not bool(np.any(made < 0))
    low, high = (0.0, 1.0) if share else (-largest, largest)
    colour = colours(palette.share, 0.0) if share else colours(palette.signed, -1.0)
    extent = (start - 0.5, start + steps * made.shape[0] - 0.5, units * made.shape[1] - 0.5, -0.5)
    image = axes.imshow(
        np.ma.masked_invalid(made.T),
        aspect="auto",
        interpolation="none",
        extent=extent,
        vmin=low,
        vmax=high,
        cmap=colour,
    )
    axes.grid(visible=False)
    axes.set_ylim(values.shape[1] - 0.5, -0.5)
    axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10, labelpad=12)
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True, min_n_ticks=1))
    figure = axes.get_figure()
    assert figure is not None
    bar = figure.colorbar(image, ax=axes, fraction=0.02, pad=0.01, aspect=6)
    bar.set_ticks(
        [low, (low + high) / 2, high], labels=[f"{v:.2g}" for v in (low, 0.5 * (low + high), high)]
    )
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
