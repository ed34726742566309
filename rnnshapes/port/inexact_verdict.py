"""Verdict on a port that does not agree: inexact, or wrong.

An inexact port computes the right equation with numbers that are not exact enough: rounded
weights, short formats, approximated activations.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

from rnnshapes.errors import InputError
from rnnshapes.port.compare import Comparison
from rnnshapes.port.explanation import Diagnosis

#: The largest error of an inexact port, as a share of the range of its unit and sample: where such
#: a mistake explains it, where it looks like one, and where nothing does.
_LARGEST_EXPLAINED, _LARGEST_APPEARANCE, _LARGEST_UNEXPLAINED = 0.2, 0.05, 0.02


def largest_share(checks: Iterable[Comparison]) -> float:
    """Return the largest error, as a share of the range of its unit and sample."""
    return max(math.inf if c.error is None else c.error.relative for c in checks)


def is_inexact(
    checks: Collection[Comparison], diagnosis: Diagnosis | None, tolerance: float | None
) -> bool:
    """Return whether a port that does not agree is inexact, and not wrong.

    It is wrong where a mistake that is not about exactness explains the difference, or makes it
    much smaller, and where not everything was tried. Otherwise it is inexact up to a share of the
    range of each unit and sample: that of the user's tolerance, or a small one. What nothing
    explains has to be spread, too, and no single weight may explain it.
    """
    share = largest_share(checks)
    if diagnosis is None:  # most numbers are left out, or intermediates alone differ
        differing = [check for check in checks if check.differing]
        return tolerance is not None and share <= tolerance and all(map(_is_spread, differing))
    named = [one.all_mistakes for one in diagnosis.explanations] + [diagnosis.nearest]
    if not all(mistake.is_inexact for mistakes in named for mistake in mistakes):
        return False
    if not diagnosis.explanations and not (diagnosis.complete and diagnosis.tried):
        return False  # something was not tried, or all numbers are 0
    if diagnosis.explanations:
        return share <= max(tolerance or 0.0, _LARGEST_EXPLAINED)
    if diagnosis.appearance:
        return share <= max(tolerance or 0.0, _LARGEST_APPEARANCE)
    is_small = share <= max(tolerance or 0.0, _LARGEST_UNEXPLAINED)
    return is_small and diagnosis.weights_tried and all(map(_is_spread, checks))


def _is_spread(check: Comparison) -> bool:
    """Return whether a quantity agrees, or differs in most of its units, samples and steps.

    The first and the last step are among these, and most units differ at the first: rounding,
    tables and noise spare no step.
    """
    pattern = check.pattern
    samples, steps, units = pattern.shape
    most = (
        2 * len(pattern.first_units) >= units
        and 2 * len(pattern.samples) >= samples
        and 2 * len(pattern.steps) >= steps
        and 2 * check.differing >= check.compared
    )
    ends = () if check.steps is None else (int(check.steps[0]), int(check.steps[-1]))
    return check.agrees or (most and set(ends) <= set(pattern.steps))


def check_tolerance(tolerance: float | str | None) -> float | None:
    """Return a tolerance; raise InputError unless it is a share between 0 and 1."""
    try:
        number = None if tolerance is None else float(tolerance)
    except (TypeError, ValueError):
        number = math.nan  # not a number at all
    if number is not None and not 0 <= number <= 1:
        raise InputError(
            f"a tolerance is a share of the range from 0 to 1, such as 0.005, and not "
            f"{tolerance!s:.40}"
        )
    return number
