"""A Verification as a picture: the ratio of every check over t, against 1, which is the limit."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.figure import Figure

from rnnshapes.render.phrases import engine_text, network_text, not_finite_text
from rnnshapes.render.plots.canvas import Panel, stacked
from rnnshapes.render.plots.ratios import Rated, at_once, over_time
from rnnshapes.render.plots.thinning import ACROSS, group_size
from rnnshapes.render.view import View
from rnnshapes.verification.bounds import Residual
from rnnshapes.verification.report import Check, Verification

#: So many facts that differ are told.
_FACTS = 6


def figure(result: Verification, view: View) -> Figure:
    """For each format in which Keras computed one panel over t, and below what has no t."""
    rated = [_rated(check, check.residual) for check in result.checks if check.residual is not None]
    groups: dict[tuple[int, str], list[Rated]] = {}
    for one in rated:
        if one.course is not None:
            groups.setdefault((-len(one.course), one.group), []).append(one)
    lengths = {steps for steps, _ in groups}
    panels: list[Panel] = []
    for (steps, precision), those in sorted(groups.items()):
        of = f", of {-steps:,} steps" if len(lengths) > 1 else ""
        panels.append(over_time(f"Ratio in {precision}{of}", those, f"{-steps} steps"))
    alone = [one._replace(name=f"{one.name}, {one.group}") for one in rated if one.course is None]
    panels += [at_once("Checks without a time axis", alone)] if alone else []
    return stacked(_title(result, view), panels, list(_notes(result)))


def _rated(check: Check, residual: Residual) -> Rated:
    errors = residual.step_errors
    return Rated(
        name=f"{check.layer}: {check.quantity}",
        group=residual.precision,
        passed=check.passed,
        ratio=check.ratio,
        place=check.index,
        course=None if errors is None or not residual.compared else errors.ratio,
    )


def _title(result: Verification, view: View) -> str:
    failed = sum(not check.passed for check in result.checks)
    count = len(result.checks)
    verdict = f"FAILED: {failed} of {count} checks" if failed else f"All {count} checks passed"
    return f"{network_text(result.network)}\n{verdict}" if view.titled else verdict


def _notes(result: Verification) -> Iterator[str]:
    yield (
        f"{engine_text(result.engine)}, {', '.join(result.network.precisions)}; x: {result.source}."
    )
    yield (
        "ratio: how far Keras's value is from one step of the equation taken from the state "
        "before, against what rounding may do in that step; the largest of all samples and units. "
        "At the bottom, a triangle: exactly 0; on top, a cross: NaN or infinite."
    )
    residuals = [check.residual for check in result.checks if check.residual is not None]
    errors = [r.step_errors for r in residuals if r.step_errors is not None]
    steps = max((len(each.ratio) for each in errors), default=0)
    if (size := group_size(steps, ACROSS)) > 1:
        yield (
            f"Of {steps:,} steps, a band shows the smallest and largest ratio of every {size:,}."
        )
    facts = [check for check in result.checks if check.residual is None]
    wrong = [check for check in facts if not check.passed]
    if facts and not wrong:
        yield f"{len(facts)} names, shapes, counts and directions are the same in Keras."
    for check in wrong[:_FACTS]:
        yield f"FAIL {check.name}: {check.expected} expected, {check.found} found"
    if len(wrong) > _FACTS:
        yield f"FAIL: {len(wrong) - _FACTS} more names, shapes, counts and directions"
    if result.not_finite is not None:
        yield not_finite_text(result.not_finite)
    if result.overflow is not None:
        yield f"From t = {result.overflow} on, samples that overflow are not compared."
    yield from (f"Reason: {reason}" for reason in result.diagnosis)
    if result.unsupported:
        yield f"Not covered by any check: {', '.join(result.unsupported)}"
