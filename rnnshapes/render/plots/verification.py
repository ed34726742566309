"""A Verification as a picture: the ratio of every check over t, against 1, which is the limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from matplotlib.figure import Figure

from rnnshapes.render.phrases import engine_text, network_text, not_finite_text
from rnnshapes.render.plots.panels import Panel, stack
from rnnshapes.render.plots.ratios import RatioSeries, group_note, ratio_rows, ratios_over_time
from rnnshapes.render.view import View
from rnnshapes.verification.bounds import Residual
from rnnshapes.verification.report import Check, Verification

#: So many facts that differ are written.
_FACTS = 6


def figure(result: Verification, view: View) -> Figure:
    """Draw a panel over t for each format in which Keras computes, and what has no t below."""
    checks = [
        _ratio_series(check, check.residual)
        for check in result.checks
        if check.residual is not None
    ]
    groups: dict[tuple[int, str], list[RatioSeries]] = {}
    for check in checks:
        if check.per_step is not None:
            group = len(check.per_step), check.residual.precision
            groups.setdefault(group, []).append(check)
    is_one_length = len({steps for steps, _ in groups}) == 1
    panels: list[Panel] = []
    for steps, precision in sorted(groups, key=lambda group: (-group[0], group[1])):
        of = "" if is_one_length else f", of {steps:,} steps"
        title, axis = f"Ratio in {precision}{of}", f"{steps} steps"
        panels.append(ratios_over_time(title, groups[steps, precision], axis))
    single = [
        replace(check, name=f"{check.name}, {check.residual.precision}")
        for check in checks
        if check.per_step is None
    ]
    panels += [ratio_rows("Checks without a time axis", single)] if single else []
    return stack(_title(result, view), panels, list(_notes(result)))


def _ratio_series(check: Check, residual: Residual) -> RatioSeries:
    """Return the ratios of a check; without steps where nothing was compared."""
    errors = residual.step_errors
    return RatioSeries(
        name=f"{check.layer}: {check.quantity}",
        passed=check.passed,
        residual=residual,
        per_step=None if errors is None or not residual.compared else errors.ratio,
    )


def _title(result: Verification, view: View) -> str:
    """Return the network, and how many checks passed or failed."""
    failed = sum(not check.passed for check in result.checks)
    count = len(result.checks)
    verdict = f"FAILED: {failed} of {count} checks" if failed else f"All {count} checks passed"
    return verdict if view.embedded else f"{network_text(result.network)}\n{verdict}"


def _notes(result: Verification) -> Iterator[str]:
    """Yield what a ratio is, what was compared exactly, and what no check covers."""
    yield (
        f"{engine_text(result.engine)}, {', '.join(result.network.precisions)}; x: {result.source}."
    )
    yield (
        "ratio = error of one step / largest error that rounding can cause, over all samples and "
        "units; up to 1 passes. A triangle at the bottom: exactly 0; a cross on top: NaN or "
        "infinite."
    )
    residuals = [check.residual for check in result.checks if check.residual is not None]
    yield from group_note([r.step_errors.ratio for r in residuals if r.step_errors is not None])
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
