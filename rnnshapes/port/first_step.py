"""A first step that differs alone: other states before it, or another x.

An x is searched by least squares (Gauss and Newton's method), sample by sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np

from rnnshapes.network.layers.base import Direction
from rnnshapes.network.weights import bind
from rnnshapes.ops.activations import Array
from rnnshapes.ops.bounded import Bounded
from rnnshapes.ops.precision import Precision
from rnnshapes.port.compare import Comparison, fully_reported, precision_of
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Where
from rnnshapes.port.quantities import ReportedQuantity
from rnnshapes.verification.bounds import bounded_steps

#: So many samples are searched, in so many iterations.
_SAMPLES, _ITERATIONS = 2, 25
#: The parts of an iteration's change that are tried, and the step of a derivative.
_SHARES, _STEP = 0.5 ** np.arange(9), 1e-6


def other_start(
    hypothesis: Hypothesis, checks: Sequence[Comparison], dtype: str
) -> tuple[Mistake, tuple[Comparison, ...]] | None:
    """Return that the states before the first step are not the expected ones, if that is all.

    It is, where each step is computed from the port's own states, the first alone differs, and
    it does not follow from another x.

    Returns:
        The mistake, and the comparisons without the first step.
    """
    network, quantities = hypothesis.network, hypothesis.quantities
    reverse = {name: d.reverse for node in network.recurrent for name, d in node.scans}
    names, others = [], []
    for quantity, check in zip(quantities, checks, strict=True):
        if check.agrees:
            others.append(check)
            continue
        errors, steps, pattern = check.residual.step_errors, check.steps, check.pattern
        if errors is None or steps is None or len(steps) == 1 or not check.proven:
            return None
        first = -1 if reverse.get(quantity.name) else 0
        if pattern.steps != (int(steps[first]),) or 2 * len(pattern.units) < pattern.shape[2]:
            return None  # another step, or some wrong numbers at the first one
        if pattern.samples[0] > 0:
            return None  # what the first sample leaves is carried over
        ratio = float(np.nanmax(np.delete(errors.ratio, first)))
        size = pattern.shape[0] * pattern.shape[2]
        residual = replace(check.residual, ratio=ratio, compared=check.compared - size)
        others.append(replace(check, residual=residual, differing=0))
        names.append(quantity.name)
    if not names or _follows_from_x(hypothesis, names, precision_of(dtype)):
        return None
    layers = {
        name: node.name for node in network.recurrent for name, _ in node.scans if name in names
    }
    only = next(iter(layers.values())) if len(set(layers.values())) == 1 else None
    step = next(check.pattern.steps[0] for check in checks if not check.agrees)
    where = Where(layer=only, step=step if only else None)
    text = f"{' and '.join(layers)}: the states before the first step are not 0"
    return Mistake("state.starts_nonzero", text, where), tuple(others)


def _follows_from_x(hypothesis: Hypothesis, names: Sequence[str], precision: Precision) -> bool:
    """Return whether the first step of a recurrence follows from another x.

    It is 0, that of the next step, or any. Where x has as many numbers as the states, some x
    would give any states, and is not searched.
    """
    for node, name, direction, numbers in fully_reported(hypothesis):
        if name not in names:
            continue
        first, second = (-1, -2) if direction.reverse else (0, 1)
        source = hypothesis.network.nodes[node.sources[0].node]
        x = hypothesis.xs[hypothesis.network.inputs.index(source)][:_SAMPLES].astype(np.float64)
        quantities = {key: hypothesis.quantities[number] for key, number in numbers.items()}
        exact = vars(bind(name, hypothesis.weights, "float64")).items()
        w = SimpleNamespace(**{key: Bounded.exact(values, precision) for key, values in exact})
        step = partial(_first_states, direction, w, precision, quantities)
        for sample in range(len(x)):
            wanted, rounding = (
                np.concatenate([part[sample, first] for part in parts])
                for parts in zip(
                    *((q.values, q.rounding) for q in quantities.values()), strict=True
                )
            )
            starts = np.zeros_like(x[sample, first]), x[sample, second]
            iterations = _ITERATIONS if x.shape[2] < len(wanted) else 1
            if not any(_solved(step, start, wanted, rounding, iterations) for start in starts):
                break
        else:
            return True
    return False


def _first_states(
    direction: Direction,
    w: SimpleNamespace,
    precision: Precision,
    quantities: Mapping[str, ReportedQuantity],
    x: Array,
) -> tuple[Array, Array]:
    """Return the states after a first step from each x (R, D), and their bounds, (R, Q)."""
    zeros = {key: np.zeros((len(x), 1, q.values.shape[2])) for key, q in quantities.items()}
    values, bounds = bounded_steps(direction, x[:, None], zeros, w, precision)
    joined = [np.concatenate([each[key][:, 0] for key in zeros], 1) for each in (values, bounds)]
    return joined[0], joined[1]


@np.errstate(all="ignore")
def _solved(
    evaluate: Callable[[Array], tuple[Array, Array]],
    numbers: Array,
    wanted: Array,
    rounding: Array,
    iterations: int,
) -> bool:
    """Return whether some numbers give the wanted states, within their bounds.

    Args:
        evaluate: The states and their bounds (R, Q) for rows of numbers (R, P).
        numbers: The numbers to begin with, (P,).
        wanted: The states, (Q,).
        rounding: How far these may be off, (Q,).
        iterations: How often the numbers may be changed, and one more.
    """
    for _ in range(iterations):
        moved = numbers + _STEP * np.vstack([np.zeros(len(numbers)), np.eye(len(numbers))])
        values, bounds = evaluate(moved)
        residual = wanted - values[0]
        if np.all(np.abs(residual) <= bounds[0] + rounding):
            return True
        derivative = (values[1:] - values[0]).T / _STEP
        if not np.isfinite(derivative).all():
            return False
        change = np.linalg.lstsq(derivative, residual, rcond=1e-9)[0]
        tried = numbers + _SHARES[:, None] * change
        distances = np.linalg.norm(wanted - evaluate(tried)[0], axis=1)
        best = int(np.argmin(np.nan_to_num(distances, nan=np.inf)))
        if not distances[best] < np.linalg.norm(residual):
            return False
        numbers = tried[best]
    return False
