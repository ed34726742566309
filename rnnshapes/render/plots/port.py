"""A PortVerification as a picture: each array of a port over t, as it is and as it is explained."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.figure import Figure

from rnnshapes.port.compare import Comparison
from rnnshapes.port.diagnosis import Explanation
from rnnshapes.port.report import PortVerification
from rnnshapes.port.time_mistakes import SWAPPED_OUTPUT
from rnnshapes.render.number_text import small, whole
from rnnshapes.render.phrases import network_text
from rnnshapes.render.plots.canvas import Panel, stacked
from rnnshapes.render.plots.ratios import Rated, at_once, over_time
from rnnshapes.render.plots.thinning import ACROSS, group_size
from rnnshapes.render.view import View


def figure(result: PortVerification, view: View) -> Figure:
    """What the port gives over t, then the same under what explains it, then what has no t."""
    rated = [_rated(check, result.axes_swapped) for check in result.checks if not check.shape]
    panels = _panels("the port as it is", rated)
    if not panels and result.diagnosis and not result.diagnosis.explanations:
        put_right = [_rated(check, result.axes_swapped) for check in result.checks]
        panels = _panels("the port with its axes put right", put_right)
    found = () if result.diagnosis is None else result.diagnosis.explanations
    for number, one in enumerate(found[:1]):
        under = [_rated(check, swapped=False) for check in one.comparisons]
        panels += _panels(f"the port as explanation {number + 1} has it", under)
    panels.sort(key=lambda panel: not panel.axis)
    return stacked(_title(result, view), panels, list(_notes(result, found)))


def _panels(title: str, rated: list[Rated]) -> list[Panel]:
    timed = [one for one in rated if one.course is not None and len(one.course) > 1]
    alone = [one for one in rated if one.course is None or len(one.course) < 2]
    panels = [over_time(title, timed)] if timed else []
    return panels + ([at_once(f"{title}, without a time axis", alone)] if alone else [])


def _rated(check: Comparison, swapped: bool) -> Rated:
    return Rated(
        name=check.quantity,
        group="",
        passed=check.agrees and not swapped,
        ratio=check.ratio if check.compared else None,
        place=check.index if check.compared else None,
        course=check.per_step,
        steps=check.steps,
    )


def _title(result: PortVerification, view: View) -> str:
    compared = sum(check.compared for check in result.checks)
    verdict = f"The port agrees: all {whole(compared)} numbers that were compared"
    if not result.passed:
        count = len(result.checks)
        failed = count if result.axes_swapped else sum(not check.agrees for check in result.checks)
        verdict = f"FAILED: {failed} of {count} checks of the port"
    return f"{network_text(result.network)}\n{verdict}" if view.titled else verdict


def _notes(result: PortVerification, found: tuple[Explanation, ...]) -> Iterator[str]:
    yield f"{result.port}, in {result.dtype}; x: {result.source}."
    what = "each step is computed from the port's own states before it"
    if not any(check.proven for check in result.checks):
        what = "the bound is how far rounding of weights and x moves the run"
    yield f"ratio: difference / bound in {result.dtype}; {what}; the largest of all numbers at t."
    steps = max((len(c.per_step) for c in result.checks if c.per_step is not None), default=0)
    if (size := group_size(steps, ACROSS)) > 1:
        yield f"Of {steps:,} steps, a band shows the smallest and largest ratio of every {size:,}."
    if result.axes_swapped:
        yield f"{SWAPPED_OUTPUT.text}."
    for number, one in enumerate(found, 1):
        yield f"Explanation {number}: {one.text}."
    if result.diagnosis is not None and not found:
        yield (
            f"None of {whole(result.diagnosis.tried)} known mistakes explains the difference; the "
            f"nearest differs by up to {small(result.diagnosis.max_abs)}."
        )
