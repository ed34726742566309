"""Ratios of a difference to its bound, of which 1 is the limit: over time, or check by check."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from rnnshapes.forward.difference import Index
from rnnshapes.ops.activations import Array
from rnnshapes.render import palette
from rnnshapes.render.plots.canvas import BAD, DASHES, Panel, legend, log_axis, steps_axis, text
from rnnshapes.render.plots.lines import log_line, log_scale

#: So many checks that pass have lines of their own, so many have rows, so many are pointed at.
_LINES, _ROWS, _POINTED = 5, 24, 3
#: Beneath the limit a check passes.
_LIMIT = 1.0


class Rated(NamedTuple):
    """A check with its largest ratio, ``None`` if nothing was compared, and where that is.

    ``course`` (T,) is the largest at each of ``steps``, those from 0 on if there are none given;
    ``group`` is what it is drawn with.
    """

    name: str
    group: str
    passed: bool
    ratio: float | None
    place: Index | None = None
    course: Array | None = None
    steps: Array | None = None

    @property
    def severity(self) -> float:
        """What checks are sorted by: one that fails before all that pass, NaN before numbers."""
        known = np.inf if self.ratio is None or np.isnan(self.ratio) else self.ratio
        return known if self.passed else known + 1e300

    @property
    def said(self) -> str:
        """``FAIL lstm: h at every step  31.4``."""
        return text(f"{'' if self.passed else 'FAIL '}{self.name}  {self.found}")

    @property
    def found(self) -> str:
        """``31.4``."""
        if self.ratio is None:
            return "nothing compared"
        return "NaN" if np.isnan(self.ratio) else f"{self.ratio:.3g}"


def over_time(title: str, rated: Sequence[Rated], axis: str = "t") -> Panel:
    """A line for each check that has a course, all of them of as many steps."""
    return Panel(2.6, partial(_over_time, title, rated), axis, "t")


def _over_time(title: str, rated: Sequence[Rated], axes: Axes) -> None:
    axes.set_title(title)
    rated = sorted(rated, key=lambda one: -one.severity)
    failed = [one for one in rated if not one.passed]
    passing = [one for one in rated if one.passed]
    start, end = _span(rated)
    steps_axis(axes, start, end)
    limit(axes)
    for place, one in enumerate(failed):
        dash = DASHES[place % len(DASHES)]
        _course(axes, one, dash, color=BAD, lw=2.0, zorder=4)
    for place, one in enumerate(passing[:_LINES]):
        dash = DASHES[place % len(DASHES)]
        _course(axes, one, dash, color=palette.KINDS[place % 5], lw=1.4, zorder=3)
    for place, one in enumerate(rest := passing[_LINES:]):
        label = None if place else f"{len(rest)} more, at most {rest[0].ratio:.3g}"
        _course(axes, one, "-", color="#AAAAAA", lw=0.8, zorder=2, label=label)
    log_scale(axes, _LIMIT)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.2)  # room for what is pointed at
    places: list[float] = []
    for one in failed[:_POINTED] or passing[:1]:
        t = np.inf if one.place is None or one.place.t is None else one.place.t
        if all(abs(t - other) > (end - start) / 20 for other in places):
            _point_at(axes, one, start, end)
            places.append(t)
    legend(axes)


def limit(axes: Axes) -> None:
    """The line above which a check fails."""
    axes.axhline(_LIMIT, color="black", lw=1.2, zorder=2.5)
    axes.axhspan(_LIMIT, 1e300, color=BAD, alpha=0.07, lw=0, zorder=0)
    where: Any = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
    axes.annotate("limit 1", (1, _LIMIT), (-3, 3), ha="right", fontsize=8, **where)


def _span(rated: Sequence[Rated]) -> tuple[int, int]:
    first = rated[0]
    assert first.course is not None
    if first.steps is None:
        return 0, len(first.course)
    ends = [one.steps for one in rated if one.steps is not None]
    return min(int(s.min()) for s in ends), max(int(s.max()) for s in ends) + 1


def _course(axes: Axes, one: Rated, dash: str, **looks: Any) -> None:
    assert one.course is not None
    course, start = one.course, 0
    if one.steps is not None:  # a port may give some steps alone
        start = int(one.steps.min())
        course = np.full(int(one.steps.max()) - start + 1, np.nan)
        course[one.steps - start] = one.course
    log_line(axes, course, start, dash, **{"label": one.said, **looks})


def _point_at(axes: Axes, one: Rated, start: int, end: int) -> None:
    """A ring around the worst, and what and where it is."""
    if one.place is None or one.place.t is None or one.ratio is None:
        return
    t, plain = one.place.t, 0 < one.ratio < np.inf
    transform = axes.transData if plain else axes.get_xaxis_transform()
    height = one.ratio if plain else (0.06 if one.ratio == 0 else 0.94)
    colour = "black" if one.passed else BAD
    ring: Any = {"ls": "", "marker": "o", "mfc": "none", "mec": colour, "ms": 11, "mew": 1.4}
    axes.plot([t], [height], transform=transform, zorder=5, **ring)
    left = t - start > (end - start) / 2
    axes.annotate(
        f"{one.found} at {one.place}",
        xy=(t, height),
        xycoords=transform,
        xytext=(-12 if left else 12, 12 if plain or one.ratio == 0 else -16),
        textcoords="offset points",
        ha="right" if left else "left",
        fontsize=8,
        color=colour,
        zorder=6,
        bbox={"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1},
    )


def at_once(title: str, rated: Sequence[Rated]) -> Panel:
    """A row for each check, the worst on top."""
    rated = sorted(rated, key=lambda one: -one.severity)
    rows, rest = rated[:_ROWS], rated[_ROWS:]
    more = f"; {len(rest)} more are not larger than these" if rest else ""
    return Panel(0.62 + 0.2 * len(rows), partial(_at_once, title + more, rows), "", "ratio")


def _at_once(title: str, rows: Sequence[Rated], axes: Axes) -> None:
    axes.set_title(title)
    known = [one.ratio for one in rows if one.ratio is not None and 0 < one.ratio < np.inf]
    below, above = np.log10(min([*known, _LIMIT]) / 4), np.log10(max([*known, _LIMIT]) * 4)
    left, right = 10.0**below, 10.0 ** max(above, -1.2 * below)  # there is room for the names
    axes.set_xscale("log")
    log_axis(axes.xaxis)
    axes.set_xlim(left, right)
    axes.axvspan(_LIMIT, right, color=BAD, alpha=0.07, lw=0, zorder=0)
    axes.axvline(_LIMIT, color="black", lw=1.2)
    for row, one in enumerate(rows):
        colour, mark = (palette.kind(0), "o") if one.passed else (BAD, "X")
        ratio = np.inf if one.ratio is None or np.isnan(one.ratio) else one.ratio
        at = min(max(ratio, left * 1.15), right / 1.5)
        axes.plot([left, at], [row, row], "-", color=colour, lw=1.2, alpha=0.5)
        axes.plot([at], [row], ls="", marker=mark if ratio else "v", color=colour, ms=6)
        beyond = at > _LIMIT  # names stand on the other side of the limit
        looks: Any = {"ha": "right" if beyond else "left", "va": "center", "fontsize": 8}
        looks |= {"color": "black" if one.passed else BAD, "textcoords": "offset points"}
        looks |= {"bbox": {"fc": "white", "ec": "none", "pad": 0.6}} if beyond else {}
        axes.annotate(one.said, (_LIMIT, row), (-8 if beyond else 8, 0), **looks)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.yaxis.set_major_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
