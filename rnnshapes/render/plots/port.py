"""A PortVerification as a picture: each array of a port over t, as it is and as it is explained."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.figure import Figure

from rnnshapes.ops.activations import Array
from rnnshapes.port.compare import Comparison
from rnnshapes.port.explanation import Explanation
from rnnshapes.port.mistakes.axes import SWAPPED_OUTPUT
from rnnshapes.port.report import PortVerification
from rnnshapes.render.number_text import count_text, magnitude_text
from rnnshapes.render.phrases import network_text
from rnnshapes.render.plots.panels import Panel, stack
from rnnshapes.render.plots.ratios import RatioSeries, group_note, ratio_rows, ratios_over_time
from rnnshapes.render.view import View


def figure(result: PortVerification, view: View) -> Figure:
    """Draw the port's arrays over t, then as the first explanation has them; then the others."""
    checks = [
        _ratio_series(check, swapped=result.axes_swapped)
        for check in result.checks
        if not check.shape
    ]
    panels = _panels("port as given", checks)
    if not panels and result.diagnosis and not result.diagnosis.explanations:
        checks = [_ratio_series(check, swapped=result.axes_swapped) for check in result.checks]
        panels = _panels("port with axes swapped back", checks)
    explanations = () if result.diagnosis is None else result.diagnosis.explanations
    if explanations:
        explained = [_ratio_series(check, swapped=False) for check in explanations[0].comparisons]
        panels += _panels("port with explanation 1 applied", explained)
    panels.sort(key=lambda panel: not panel.axis)
    return stack(_title(result, view), panels, list(_notes(result, explanations)))


def _panels(title: str, checks: list[RatioSeries]) -> list[Panel]:
    """Return a panel over t, and one of what has fewer than two steps, if there are such."""
    over_time = [
        check for check in checks if check.per_step is not None and len(check.per_step) > 1
    ]
    single = [check for check in checks if check not in over_time]
    panels = [ratios_over_time(title, over_time)] if over_time else []
    return panels + ([ratio_rows(f"{title}, without a time axis", single)] if single else [])


def _ratio_series(check: Comparison, *, swapped: bool) -> RatioSeries:
    return RatioSeries(
        name=check.quantity,
        passed=check.agrees and not swapped,
        residual=check.residual,
        per_step=_per_step(check),
        steps=check.steps,
    )


def _per_step(check: Comparison) -> Array | None:
    """Return the largest ratio at each of the port's steps, if it has steps."""
    errors = check.residual.step_errors
    return None if errors is None else errors.ratio


def _title(result: PortVerification, view: View) -> str:
    """Return the network, and how many checks passed or failed."""
    compared = sum(check.compared for check in result.checks)
    verdict = f"The port agrees: all {count_text(compared)} numbers compared"
    if result.verdict != "agrees":
        count = len(result.checks)
        failed = count if result.axes_swapped else sum(not check.agrees for check in result.checks)
        word = result.verdict.upper()
        verdict = f"{word}: {failed} of {count} checks of the port are beyond the bound"
    return verdict if view.embedded else f"{network_text(result.network)}\n{verdict}"


def _notes(result: PortVerification, explanations: tuple[Explanation, ...]) -> Iterator[str]:
    """Yield what a ratio is, and what explains the difference."""
    yield f"{result.port}, in {result.dtype}; x: {result.source}."
    what = "each step is computed from the port's own states before it"
    if not any(check.proven for check in result.checks):
        what = "bound = largest change that rounding of weights and x causes over the run"
    yield f"ratio: difference / bound in {result.dtype}; {what}; the largest of all numbers at t."
    yield from group_note([_per_step(check) for check in result.checks])
    if result.axes_swapped:
        yield f"{SWAPPED_OUTPUT.text}."
    for number, explanation in enumerate(explanations, 1):
        yield f"Explanation {number}: {explanation.text}."
    if result.diagnosis is not None and not explanations:
        yield (
            f"None of {count_text(result.diagnosis.tried)} known mistakes explains the difference; "
            "the closest still leaves a difference of up to "
            f"{magnitude_text(result.diagnosis.max_abs)}."
        )
