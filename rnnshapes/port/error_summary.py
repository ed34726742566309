"""Summary of the errors of a port over the whole run from x, all numbers included."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rnnshapes.forward import numpy_run
from rnnshapes.ops.activations import Array
from rnnshapes.port.hypothesis import Hypothesis

#: The growth over t is measured where there are so many steps.
_LEAST_STEPS = 8


@dataclass(frozen=True)
class ErrorSummary:
    """How far a quantity is from the network over the whole run.

    Every unit of every sample has a range of its own: over all steps of the network, its largest
    expected number minus the smallest, or its root mean square where that is more. Other units
    and samples may have other scales.

    Attributes:
        max_abs: The largest |reported - expected|.
        rms: The root mean square of the differences.
        relative: The largest difference as a share of the range of its unit and sample; infinite
            if that is 0.
        relative_rms: The root mean square of the differences as shares of these ranges.
        range: The range of the unit and sample with the largest share.
        growth: The root mean square of the last quarter of the steps over that of the first, in
            the order in which they are processed; ``None`` where there are few steps.
    """

    max_abs: float
    rms: float
    relative: float
    relative_rms: float
    range: float
    growth: float | None


def summarize_errors(hypothesis: Hypothesis) -> tuple[ErrorSummary, ...]:
    """Summarize the error of each quantity over the whole run."""
    network = hypothesis.network
    ours = numpy_run.numpy_outputs(network, hypothesis.weights, hypothesis.xs)
    reverse = {name for node in network.recurrent for name, d in node.scans if d.reverse}
    errors = []
    for quantity in hypothesis.quantities:
        expected = quantity.expected(network, ours)
        every = quantity.expected_at_all_steps(network, ours)
        order = slice(None, None, -1 if quantity.name in reverse else 1)
        errors.append(summarize_error(quantity.values[:, order], expected[:, order], every))
    return tuple(errors)


def summarize_error(values: Array, expected: Array, every: Array | None = None) -> ErrorSummary:
    """Summarize the error of values (N, L, units) in the order of their steps.

    ``every`` (N, T, units) are the expected numbers of all steps of the network, if there are more.
    """
    with np.errstate(all="ignore"):
        difference = np.abs(values - expected)
        difference[~np.isfinite(difference)] = np.inf
        squares = np.mean(np.square(difference), axis=(0, 2))
        ranges = _ranges(expected if every is None else every)
        shares = np.where(difference > 0, difference / ranges[:, None], 0.0)
        relative_rms = float(np.sqrt(np.mean(np.square(shares))))
    sample, _, unit = np.unravel_index(int(np.argmax(shares)), shares.shape)
    growth = None
    if len(squares) >= _LEAST_STEPS:
        quarter = len(squares) // 4
        first, last = (float(np.mean(part)) for part in (squares[:quarter], squares[-quarter:]))
        growth = math.sqrt(last / first) if first > 0 and math.isfinite(last) else None
    return ErrorSummary(
        max_abs=float(difference.max()),
        rms=math.sqrt(float(np.mean(squares))),
        relative=float(shares.max()),
        relative_rms=relative_rms,
        range=float(ranges[sample, unit]),
        growth=growth,
    )


def _ranges(every: Array) -> Array:
    """Return the range of each unit and sample over the steps (N, T, units)."""
    extents = np.max(every, axis=1) - np.min(every, axis=1)
    ranges = np.maximum(extents, np.sqrt(np.mean(np.square(every), axis=1)))
    finite: Array = np.where(np.isfinite(ranges), ranges, 0.0)
    return finite
