"""A Sweep as a picture: the largest ratio of every network, sorted, and which of them fail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rnnshapes.render import palette
from rnnshapes.render.documents.sweeping import command
from rnnshapes.render.phrases import engine_text
from rnnshapes.render.plots.canvas import BAD, MARKERS, Panel, legend, stacked, text
from rnnshapes.render.plots.lines import log_scale
from rnnshapes.render.plots.ratios import limit
from rnnshapes.render.view import View
from rnnshapes.verification.sweeping import Configuration, Sweep, severity

#: So many that fail are named.
_NAMED = 12


def figure(result: Sweep, view: View) -> Figure:
    """A panel for each format in which Keras computed."""
    found = result.configurations
    formats = sorted({precision for one in found for precision, _ in one.ratios})
    panels = [Panel(2.9, partial(_sorted, result, precision), "", _ACROSS) for precision in formats]
    failed = sum(bool(one.failed) for one in found)
    verdict = f"FAILED: {failed} of {len(found)} networks"
    if not result.failed:
        verdict = f"All checks of {len(found)} networks passed"
    notes = list(_notes(result))
    return stacked(f"{verdict}, drawn with seed {result.seed}", panels, notes)


_ACROSS = "networks, by their largest ratio"


def _sorted(result: Sweep, precision: str, axes: Axes) -> None:
    rated = [(dict(one.ratios)[precision], one) for one in result.configurations if one.ratios]
    rated.sort(key=lambda pair: severity(pair[0]))
    ratios = np.array([severity(ratio) for ratio, _ in rated])
    axes.set_title(precision)
    for kind, cell in enumerate(sorted({one.cell for one in result.configurations})):
        at = np.flatnonzero([one.cell == cell for _, one in rated])
        looks: Any = {"ls": "", "marker": MARKERS[kind], "ms": 4.5, "alpha": 0.8}
        axes.plot(at, ratios[at], color=palette.kind(kind), label=text(cell), **looks)
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
    limit(axes)
    log_scale(axes, 1.0)
    wrong = np.flatnonzero([not ratio <= 1.0 for ratio, _ in rated])
    if len(wrong):
        looks = {"ls": "", "marker": "X", "mfc": "none", "mec": BAD, "ms": 10}
        top = 10 ** (0.94 * np.log10(axes.get_ylim()[1]) + 0.06 * np.log10(axes.get_ylim()[0]))
        axes.plot(wrong, np.minimum(ratios[wrong], top), label="above 1, or NaN", **looks)
    legend(axes)


def _notes(result: Sweep) -> Iterator[str]:
    yield f"{engine_text(result.engine)}."
    yield (
        "ratio: how far Keras's value is from one step of the equation taken from NumPy's state "
        "before, or from the layer's equation, against what rounding may do there; the largest of "
        "all checks of a network."
    )
    rated = [(max(severity(r) for _, r in one.ratios), one) for one in _rated(result)]
    if rated:
        ratio, worst = max(rated, key=lambda pair: pair[0])
        yield f"The largest, {ratio:.3g}: {worst.worst}; {command(worst, result.seed)}"
    for one in result.failed[:_NAMED]:
        why = one.problem or ", ".join(one.failed)
        yield f"{'NOT RUN' if one.problem else 'FAIL'} {command(one, result.seed)}: {why}"
    if len(result.failed) > _NAMED:
        yield f"and {len(result.failed) - _NAMED} more that fail or were not run"


def _rated(result: Sweep) -> Sequence[Configuration]:
    return [one for one in result.configurations if one.ratios]
