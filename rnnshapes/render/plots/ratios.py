"""Ratios of a difference to its bound, of which 1 is the limit: over time, or check by check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from rnnshapes.ops.activations import Array
from rnnshapes.render import palette
from rnnshapes.render.plots.diagram import shortened, text_width
from rnnshapes.render.plots.panels import Panel, legend, log_axis, step_axis
from rnnshapes.render.plots.series import LARGEST, MOST_STEPS, draw_log_line, set_log_scale
from rnnshapes.render.plots.style import BAD, DASHES, font_text
from rnnshapes.render.time_axis import group_size
from rnnshapes.verification.bounds import Residual

#: Most passing checks with a line each, most rows, and most failing checks that are pointed at.
_MOST_LINES, _MOST_ROWS, _MOST_POINTED = 5, 24, 3
#: Inches for the name beside a row.
_NAME = 4.3
#: Up to the limit a check passes.
_LIMIT = 1.0


@dataclass(frozen=True, eq=False)
class RatioSeries:
    """A check with its residual and, if it has a time axis, the largest ratio of each step.

    ``per_step`` (L,) belongs to ``steps`` (L,), which are 0, 1, 2 … if they are not given.
    """

    name: str
    passed: bool
    residual: Residual
    per_step: Array | None = None
    steps: Array | None = None

    @property
    def ratio(self) -> float | None:
        """The largest ratio; None where nothing was compared."""
        return self.residual.ratio if self.residual.compared else None

    @property
    def peak(self) -> int | None:
        """The step of the largest ratio; None where there is no ratio, or no time axis."""
        return self.residual.index.t if self.residual.compared else None

    @property
    def severity(self) -> tuple[bool, float]:
        """What checks are sorted by, the largest first: failing ones, then NaN, then numbers."""
        is_known = self.ratio is not None and not np.isnan(self.ratio)
        return not self.passed, self.residual.ratio if is_known else np.inf

    @property
    def label(self) -> str:
        """``FAIL lstm: h at every step  31.4``."""
        return font_text(f"{'' if self.passed else 'FAIL '}{self.name}  {self.ratio_text}")

    @property
    def ratio_text(self) -> str:
        """``31.4``."""
        if self.ratio is None:
            return "nothing compared"
        return "NaN" if np.isnan(self.ratio) else f"{self.ratio:.3g}"


def group_note(series: Sequence[Array | None]) -> list[str]:
    """Return how many steps stand for one in the longest series; nothing where none do."""
    steps = max((len(ratios) for ratios in series if ratios is not None), default=0)
    size = group_size(steps, MOST_STEPS)
    if size == 1:
        return []
    return [f"Of {steps:,} steps, a band shows the smallest and largest ratio of every {size:,}."]


# --- Over time ----------------------------------------------------------------------------------


def ratios_over_time(title: str, checks: Sequence[RatioSeries], axis: str = "t") -> Panel:
    """Return a panel with a line for each check; all have ratios, of as many steps."""
    return Panel(1.7, partial(_draw_over_time, checks), axis, "t", title)


def _draw_over_time(checks: Sequence[RatioSeries], axes: Axes) -> None:
    """Draw failing checks in front, then those with the largest ratios, the others in grey."""
    checks = sorted(checks, key=lambda check: check.severity, reverse=True)
    failed = [check for check in checks if not check.passed]
    passing = [check for check in checks if check.passed]
    start, end = _span(checks)
    step_axis(axes, start, end)
    _draw_limit(axes)
    for number, check in enumerate(failed):
        dash = DASHES[number % len(DASHES)]
        _draw_ratios(axes, check, dash, color=BAD, lw=2.0, zorder=4)
    for number, check in enumerate(passing[:_MOST_LINES]):
        dash, colour = DASHES[number % len(DASHES)], palette.CATEGORIES[number % 5]
        _draw_ratios(axes, check, dash, color=colour, lw=1.4, zorder=3)
    for number, check in enumerate(rest := passing[_MOST_LINES:]):
        label = None if number else f"{len(rest)} more, at most {rest[0].ratio:.3g}"
        _draw_ratios(axes, check, "-", color="#AAAAAA", lw=0.8, zorder=2, label=label)
    set_log_scale(axes, _LIMIT)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high**1.2 / low**0.2)  # room for what is pointed at
    pointed: list[float] = []
    for check in failed[:_MOST_POINTED] or passing[:1]:
        t = check.peak
        if t is not None and all(abs(t - other) > (end - start) / 20 for other in pointed):
            _point_at(axes, check, t, start, end)
            pointed.append(t)
    legend(axes)


def _draw_limit(axes: Axes) -> None:
    """Draw the line above which a check fails."""
    axes.axhline(_LIMIT, color="black", lw=1.2, zorder=2.5)
    axes.axhspan(_LIMIT, 1e300, color=BAD, alpha=0.07, lw=0, zorder=0)
    where: Any = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
    axes.annotate("limit 1", (1, _LIMIT), (-3, 3), ha="right", fontsize=8, **where)


def _span(checks: Sequence[RatioSeries]) -> tuple[int, int]:
    """Return the first step, and the one after the last."""
    steps = np.concatenate([_steps(check) for check in checks])
    return int(steps.min()), int(steps.max()) + 1


def _steps(check: RatioSeries) -> Array:
    """Return the steps of its ratios, in any order."""
    assert check.per_step is not None
    return np.arange(len(check.per_step)) if check.steps is None else check.steps


def _draw_ratios(axes: Axes, check: RatioSeries, dash: str, **looks: Any) -> None:
    """Draw the line of a check, with gaps at steps that it does not have."""
    steps = _steps(check)
    start = int(steps.min())
    ratios = np.full(int(steps.max()) - start + 1, np.nan)
    ratios[steps - start] = check.per_step
    draw_log_line(axes, ratios, start, dash, **{"label": check.label, **looks})


def _point_at(axes: Axes, check: RatioSeries, t: int, start: int, end: int) -> None:
    """Draw a ring around the largest ratio, which is at t, and write what and where it is."""
    ratio = check.residual.ratio
    on_axis = 0 < ratio <= LARGEST
    transform = axes.transData if on_axis else axes.get_xaxis_transform()
    height = ratio if on_axis else (0.06 if ratio == 0 else 0.94)
    colour = "black" if check.passed else BAD
    ring: Any = {"ls": "", "marker": "o", "mfc": "none", "mec": colour, "ms": 11, "mew": 1.4}
    axes.plot([t], [height], transform=transform, zorder=5, **ring)
    left = t - start > (end - start) / 2
    on_top = not on_axis and ratio != 0
    near_limit = on_axis and check.passed and ratio > _LIMIT / 4
    below = on_top or near_limit  # the name of a passing check stays below the limit, too
    axes.annotate(
        f"{check.ratio_text} at {check.residual.index}",
        xy=(t, height),
        xycoords=transform,
        xytext=(-12 if left else 12, -16 if below else 12),
        textcoords="offset points",
        ha="right" if left else "left",
        fontsize=8,
        color=colour,
        zorder=6,
        bbox={"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1},
    )


# --- Check by check -----------------------------------------------------------------------------


def ratio_rows(title: str, checks: Sequence[RatioSeries]) -> Panel:
    """Return a panel with a row for each check, the largest ratio on top."""
    checks = sorted(checks, key=lambda check: check.severity, reverse=True)
    rows, rest = checks[:_MOST_ROWS], checks[_MOST_ROWS:]
    more = f"; {len(rest)} more are not larger than these" if rest else ""
    names = [shortened(row.label, 8, _NAME) for row in rows]
    return Panel(
        height=0.1 + 0.17 * len(rows),
        draw=partial(_draw_rows, rows, names),
        label="ratio",
        title=title + more,
        margin=max(text_width(name, 8) for name in names) - 0.3,
    )


def _draw_rows(rows: Sequence[RatioSeries], names: Sequence[str], axes: Axes) -> None:
    """Draw each ratio as a line to its marker, and its name beside the axis."""
    known = [row.ratio for row in rows if row.ratio and row.ratio <= LARGEST]
    below, above = np.log10(min([*known, _LIMIT]) / 4), np.log10(max([*known, _LIMIT]) * 4)
    left, right = 10.0**below, 10.0**above
    axes.set_xscale("log")
    log_axis(axes.xaxis)
    axes.set_xlim(left, right)
    axes.axvspan(_LIMIT, right, color=BAD, alpha=0.07, lw=0, zorder=0)
    axes.axvline(_LIMIT, color="black", lw=1.2)
    for number, row in enumerate(rows):
        colour, mark = (palette.category(0), "o") if row.passed else (BAD, "X")
        _, ratio = row.severity
        end = min(max(ratio, left * 1.15), right / 1.5)
        axes.plot([left, end], [number, number], "-", color=colour, lw=1.2, alpha=0.5)
        axes.plot([end], [number], ls="", marker=mark if ratio else "v", color=colour, ms=6)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), names)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    for name, row in zip(axes.get_yticklabels(), rows, strict=True):
        name.set_color("black" if row.passed else BAD)
