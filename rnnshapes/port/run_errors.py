"""Errors of a port over the whole run from x, all numbers included."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rnnshapes.forward import replay
from rnnshapes.ops.activations import Array
from rnnshapes.port.hypothesis import Hypothesis

#: The growth over t is measured where there are so many steps.
_LEAST_STEPS = 8


@dataclass(frozen=True)
class RunError:
    """How far a quantity is from the network over the whole run.

    Attributes:
        max_abs: The largest |reported - expected|.
        rms: The root mean square of the differences.
        range: The largest expected number minus the smallest; its magnitude if all are the same.
        growth: The root mean square of the last quarter of the steps over that of the first, in
            the order in which they are processed; ``None`` where there are few steps.
    """

    max_abs: float
    rms: float
    range: float
    growth: float | None

    @property
    def relative(self) -> float:
        """The largest difference as a share of the range."""
        return self.share(self.max_abs)

    @property
    def relative_rms(self) -> float:
        """The root mean square as a share of the range."""
        return self.share(self.rms)

    def share(self, size: float) -> float:
        """Return a difference as a share of the range; infinite if the range is 0."""
        if size == 0:
            return 0.0
        share = size / self.range if self.range > 0 else math.inf
        return share if math.isfinite(share) else math.inf


def run_errors(hypothesis: Hypothesis) -> tuple[RunError, ...]:
    """Return the error of each quantity over the whole run."""
    network = hypothesis.network
    ours = replay.numpy_outputs(network, hypothesis.weights, hypothesis.xs)
    reverse = {name for node in network.recurrent for name, d in node.scans if d.reverse}
    return tuple(
        error_of(
            q.values[:, ::-1] if q.name in reverse else q.values,
            q.expected(network, ours)[:, :: -1 if q.name in reverse else 1],
        )
        for q in hypothesis.quantities
    )


def error_of(values: Array, expected: Array) -> RunError:
    """Return the error of values (N, L, units) in the order of their steps."""
    with np.errstate(over="ignore", invalid="ignore"):
        difference = np.abs(values - expected)
        difference[~np.isfinite(difference)] = np.inf
        squares = np.mean(np.square(difference), axis=(0, 2))
        extent = float(np.max(expected) - np.min(expected)) or float(np.abs(expected).max())
    growth = None
    if len(squares) >= _LEAST_STEPS:
        quarter = len(squares) // 4
        first, last = (float(np.mean(part)) for part in (squares[:quarter], squares[-quarter:]))
        growth = math.sqrt(last / first) if first > 0 and math.isfinite(last) else None
    return RunError(
        max_abs=float(difference.max()),
        rms=math.sqrt(float(np.mean(squares))),
        range=extent,
        growth=growth,
    )
