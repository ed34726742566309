"""A first step that differs alone: other states before it, or another x.

Both are searched by least squares (Levenberg and Marquardt's method), sample by sample.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np

from rnnshapes.network.layers.base import Direction
from rnnshapes.ops.activations import Array
from rnnshapes.ops.precision import Precision
from rnnshapes.port.compare import PORT_OPS, Comparison, exact_weights, fully_reported, precision_of
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Where
from rnnshapes.verification.bounds import bounded_steps

#: So many samples are searched, in so many iterations.
_SAMPLES, _ITERATIONS = 2, 25
#: Most numbers of states that are searched, and the largest one that is accepted.
_MOST_STATES, _LARGEST_STATE = 256, 10.0
#: Lengths and dampings that each iteration tries for its change, and the step of a derivative.
_SHARES, _DAMPINGS, _STEP = 0.5 ** np.arange(6), (0.0, 1e-3, 1e-2, 0.1), 1e-6


def other_start(
    hypothesis: Hypothesis, checks: Sequence[Comparison], dtype: str
) -> tuple[Mistake, tuple[Comparison, ...]] | None:
    """Return the mistake ``state.starts_nonzero`` if other initial states explain every difference.

    They do if each step is computed from the port's own states, the first alone differs, some
    states before it explain it, and no other x does.

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
        later = np.delete(errors.ratio, first)
        if pattern.samples[0] > 0 or np.isnan(later).all():
            return None  # what the first sample leaves is carried over, or no later step tells
        ratio = float(np.nanmax(later))
        size = pattern.shape[0] * pattern.shape[2]
        residual = replace(check.residual, ratio=ratio, compared=check.compared - size)
        others.append(replace(check, residual=residual, differing=0))
        names.append(quantity.name)
    precision = precision_of(dtype)
    if not names or _follows_from_x(hypothesis, names, precision):
        return None
    if not _follows_from_states(hypothesis, names, precision):
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
    return any(all(map(_has_x, steps)) for steps in _first_steps(hypothesis, names, precision))


def _has_x(step: _FirstStep) -> bool:
    """Return whether some x leads to the states after a first step."""
    iterations = _ITERATIONS if len(step.x) < len(step.wanted) else 1
    zeros = np.zeros(len(step.wanted))

    def evaluate(x: Array) -> tuple[Array, Array]:
        return step.after(x, np.broadcast_to(zeros, (len(x), len(zeros))))

    guesses = np.zeros_like(step.x), step.next_x
    return any(_solved(evaluate, guess, step, iterations) is not None for guess in guesses)


def _follows_from_states(
    hypothesis: Hypothesis, names: Sequence[str], precision: Precision
) -> bool:
    """Return whether the first step of each recurrence follows from some states before it."""
    return all(all(map(_has_start, steps)) for steps in _first_steps(hypothesis, names, precision))


def _has_start(step: _FirstStep) -> bool:
    """Return whether states of a usual size lead to those after a first step.

    States of 0 are those of a port that leaves the step out.
    """
    if len(step.wanted) > _MOST_STATES or not step.wanted.any():
        return False

    def evaluate(outputs: Array) -> tuple[Array, Array]:
        x = np.broadcast_to(step.x, (len(outputs), len(step.x)))
        return step.after(x, step.completed(x, outputs))

    for guess in (step.wanted[step.output] * 0, step.wanted[step.output]):
        found = _solved(evaluate, guess, step, _ITERATIONS)
        if found is not None:
            start = step.completed(step.x[None], found[None])
            return bool(np.abs(start).max() <= _LARGEST_STATE)
    return False


@dataclass(frozen=True)
class _FirstStep:
    """The first step of a recurrence for one sample.

    Attributes:
        direction: The recurrence.
        w: Its weights, as bounded numbers.
        precision: The dtype of the port's arithmetic.
        widths: The number of units of each state.
        x: The input of the step, (D,), and that of the next one.
        wanted: All states after it, (Q,), and how far these may be off.
    """

    direction: Direction
    w: SimpleNamespace
    precision: Precision
    widths: Mapping[str, int]
    x: Array
    next_x: Array
    wanted: Array
    rounding: Array

    @property
    def output(self) -> slice:
        """Where the state that the cell passes on stands among all states."""
        key = self.direction.cell.output_state
        start = sum(self.widths[other] for other in itertools.takewhile(key.__ne__, self.widths))
        return slice(start, start + self.widths[key])

    @np.errstate(all="ignore")
    def completed(self, x: Array, outputs: Array) -> Array:
        """Return states (R, Q) with these outputs before the step, (R, M).

        The others, c of an LSTM, are those that lead to the wanted ones: each of them depends on
        itself alone, and linearly.
        """
        zeros, ones = (np.full((len(x), len(self.wanted)), start) for start in (0.0, 1.0))
        zeros[:, self.output] = ones[:, self.output] = outputs
        at_zeros, at_ones = self.after(x, zeros)[0], self.after(x, ones)[0]
        states: Array = (self.wanted - at_zeros) / (at_ones - at_zeros)
        states[:, self.output] = outputs
        return states

    def after(self, x: Array, states: Array) -> tuple[Array, Array]:
        """Return the states after each x (R, D) and states (R, Q), and their bounds, (R, Q)."""
        ends = np.cumsum(list(self.widths.values()))[:-1]
        parts = np.split(states, ends, axis=1)
        before = {key: part[:, None] for key, part in zip(self.widths, parts, strict=True)}
        values, bounds = bounded_steps(
            self.direction, x[:, None], before, self.w, self.precision, ops=PORT_OPS
        )
        joined = [
            np.concatenate([each[key][:, 0] for key in before], 1) for each in (values, bounds)
        ]
        return joined[0], joined[1]


def _first_steps(
    hypothesis: Hypothesis, names: Sequence[str], precision: Precision
) -> Iterator[list[_FirstStep]]:
    """Yield the first step of some samples, for each recurrence of these names."""
    for one in fully_reported(hypothesis):
        if one.name not in names:
            continue
        first, second = (-1, -2) if one.direction.reverse else (0, 1)
        x = one.x[:_SAMPLES].astype(np.float64)
        w = exact_weights(hypothesis, one.direction, precision)
        widths = {key: values.shape[2] for key, values in one.states.items()}
        yield [
            _FirstStep(
                *(one.direction, w, precision, widths, x[sample, first], x[sample, second]),
                np.concatenate([values[sample, first] for values in one.states.values()]),
                np.concatenate([values[sample, first] for values in one.rounding.values()]),
            )
            for sample in range(len(x))
        ]


@np.errstate(all="ignore")
def _solved(
    evaluate: Callable[[Array], tuple[Array, Array]],
    numbers: Array,
    step: _FirstStep,
    iterations: int,
) -> Array | None:
    """Return some numbers that lead to the states after a first step, within their bounds.

    Args:
        evaluate: The states and their bounds (R, Q) for rows of numbers (R, P).
        numbers: The numbers to begin with, (P,).
        step: The step.
        iterations: How often the numbers may be changed, and one more.
    """
    for _ in range(iterations):
        moved = numbers + _STEP * np.vstack([np.zeros(len(numbers)), np.eye(len(numbers))])
        values, bounds = evaluate(moved)
        residual = step.wanted - values[0]
        if np.all(np.abs(residual) <= bounds[0] + step.rounding):
            return numbers
        derivative = (values[1:] - values[0]).T / _STEP
        if not np.isfinite(derivative).all():
            return None
        left, sizes, right = np.linalg.svd(derivative, full_matrices=False)
        sizes = np.maximum(sizes, 1e-9 * sizes[0])
        factors = sizes / (sizes**2 + sizes[0] ** 2 * np.square(_DAMPINGS)[:, None])
        changes = (factors * (left.T @ residual)) @ right
        tried = numbers + (_SHARES[:, None, None] * changes).reshape(-1, len(numbers))
        distances = np.linalg.norm(step.wanted - evaluate(tried)[0], axis=1)
        numbers = tried[int(np.argmin(np.nan_to_num(distances, nan=np.inf)))]
    return None
