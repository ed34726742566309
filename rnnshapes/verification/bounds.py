"""One step of a recurrence with its error bound, and numbers compared with bounded numbers.

One step is computed in float64 from each state that Keras returned, together with a bound of
the error that rounding can cause in that one step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from rnnshapes import progress
from rnnshapes.forward.difference import Index, StepErrors
from rnnshapes.forward.scan import processing_order, repeat_masked, states_before
from rnnshapes.network.layers.base import Direction
from rnnshapes.ops.activations import Array
from rnnshapes.ops.bounded import Bounded, BoundedOps
from rnnshapes.ops.precision import Precision

#: About how many numbers are compared at once: they fit into the cache.
CHUNK = 2**18

_OPS = BoundedOps()


@dataclass(frozen=True)
class Residual:
    """The largest |actual - expected| / bound, its index, and how many numbers were compared.

    Attributes:
        ratio: The largest ratio; infinite where shapes or exact values differ.
        index: The index of the largest ratio; meaningless where nothing was compared.
        compared: How many numbers were compared.
        overflow: The first step from which on a sample is not compared, because its numbers may
            have overflowed.
        precision: The dtype in which the actual numbers were computed.
        step_errors: The largest ratio at each time step, for arrays with a time axis.
    """

    ratio: float
    index: Index
    compared: int
    overflow: int | None = None
    precision: str = ""
    step_errors: StepErrors | None = field(default=None, compare=False, repr=False)

    @property
    def passed(self) -> bool:
        """Whether something was compared, and every error is within its bound."""
        return self.compared > 0 and self.ratio <= 1.0


#: The residual of what cannot be compared number by number: arrays of different shapes.
MISMATCH = Residual(np.inf, Index(0, None, 0), 1)


@dataclass(frozen=True, eq=False)
class RecurrenceResiduals:
    """Residuals of one recurrence, and its states with the error bounds of one step.

    Arrays are (N, T, M), indexed by input time step.

    Attributes:
        residuals: By quantity: ``initial state``, ``h at every step``.
        states: Keras's states as it returned them.
        carried: The same, but a masked step repeats the states of the step before.
        bounds: The largest error that rounding can cause in one step, by state.
        output_state: The state that is the output of the cell.
        usable: Which steps were compared, (N, T).
        precision: The dtype in which Keras computed.
    """

    residuals: dict[str, Residual]
    states: Mapping[str, Array]
    carried: Mapping[str, Array]
    bounds: Mapping[str, Array]
    output_state: str
    usable: Array
    precision: Precision

    def bounded_outputs(self, mask: Array | None) -> Bounded:
        """Return the output at each step, time-major; zero where ``mask`` (N, T) is False."""
        values, bounds = self.states[self.output_state], self.bounds[self.output_state]
        if mask is not None:
            values, bounds = (np.where(mask[..., None], part, 0) for part in (values, bounds))
        return self._time_major(values, bounds)

    def bounded_states(self) -> dict[str, Bounded]:
        """Return the states after each step, time-major."""
        return {
            key: self._time_major(values, self.bounds[key]) for key, values in self.carried.items()
        }

    def _time_major(self, values: Array, bounds: Array) -> Bounded:
        values, bounds = np.swapaxes(values, 0, 1), np.swapaxes(bounds, 0, 1)
        return Bounded(values.astype("float64"), bounds, self.precision)


@np.errstate(over="ignore", invalid="ignore")  # an infinite bound ends the comparison, NaN fails
def recurrence_residuals(
    direction: Direction,
    x: Array,
    states: Mapping[str, Array],
    origins: Mapping[str, Array] | None,
    initial: Mapping[str, Array],
    mask: Array | None,
    usable: Array,
    w: SimpleNamespace,
    precision: Precision,
    x_error: Array | None = None,
) -> RecurrenceResiduals:
    """Compare the states of a recurrence with one step of the equation from each state before.

    Args:
        direction: The recurrence.
        x: Its input, (N, T, D).
        states: Keras's states after each step, (N, T, M), indexed by input time step.
        origins: The states from which Keras took each step, where they are not its own. In
            float64 they come from NumPy's loop, and are compared as well.
        initial: The states before the first step, (N, M); zeros for a missing state.
        mask: Which steps count, (N, T), or None if all do.
        usable: Which steps receive an input that has not overflowed, (N, T).
        w: The weights, as bounded numbers.
        precision: The dtype in which Keras computes.
        x_error: The largest error of the input, (N, T, D); none by default.
    """
    previous = states_before(direction, states if origins is None else origins, initial, mask)
    expected, bounds = bounded_steps(direction, x, previous, w, precision, x_error=x_error)
    actual = [states]
    if origins is not None and precision.name == "float64":
        actual.append(origins)
    largest = _largest_errors(actual, expected, bounds)
    compared = _before_overflow(direction, usable, bounds, mask)
    if mask is not None:
        _compare_masked(direction, states, bounds, largest, mask)
    first = x.shape[1] - 1 if direction.reverse else 0
    residuals = {"initial state": _first_step(largest, compared, states, first)}
    for key, values in states.items():
        residual = largest[key].residual(compared, usable, values.shape[2])
        step_errors = largest[key].over_samples(compared)
        residuals[f"{key} at every step"] = replace(residual, step_errors=step_errors)
    return RecurrenceResiduals(
        residuals=residuals,
        states=states,
        carried=repeat_masked(direction, states, initial, mask),
        bounds=bounds,
        output_state=direction.cell.output_state,
        usable=compared,
        precision=precision,
    )


def bounded_steps(
    direction: Direction,
    x: Array,
    states: Mapping[str, Array],
    w: SimpleNamespace,
    precision: Precision,
    errors: Mapping[str, Array] | None = None,
    x_error: Array | None = None,
    ops: BoundedOps = _OPS,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Compute one step from each of many states, and bound the error of its rounding.

    Args:
        direction: The recurrence.
        x: The input of each step, (N, T, D).
        states: The states before each step, (N, T, M).
        w: The weights, as bounded numbers.
        precision: The dtype in which the step is compared.
        errors: The largest error of each of these states, (N, T, M); none by default.
        x_error: The largest error of the input, (N, T, D); none by default.
        ops: The interpreter of the step.

    Returns:
        The states after each step, and the bounds of their errors, (N, T, M).
    """
    n, t = x.shape[:2]
    after = {key: np.empty(values.shape) for key, values in states.items()}
    bounds = {key: np.empty(values.shape) for key, values in states.items()}
    flat = {key: values.reshape(n * t, -1) for key, values in states.items()}
    rows = x.reshape(n * t, -1)
    width = max(x.shape[2], *(4 * values.shape[2] for values in states.values()))
    for start in range(0, n * t, size := max(1, CHUNK // width)):
        chunk = slice(start, start + size)
        state = {key: Bounded.exact(values[chunk], precision) for key, values in flat.items()}
        for key, values in (errors or {}).items():
            state[key] = state[key].widened(values.reshape(n * t, -1)[chunk])
        exact = Bounded.exact(rows[chunk], precision)
        if x_error is not None:
            exact = exact.widened(x_error.reshape(n * t, -1)[chunk])
        xz = direction.cell.project(ops, exact, w)
        for key, bounded in direction.cell.step(ops, xz, state, w).states.items():
            after[key].reshape(n * t, -1)[chunk] = bounded.value
            bounds[key].reshape(n * t, -1)[chunk] = bounded.error
        progress.advance(len(rows[chunk]))
    return after, bounds


class _LargestErrors(NamedTuple):
    """The unit with the largest ratio, at each step of each sample, (N, T)."""

    ratio: Array
    unit: Array
    error: Array
    bound: Array

    @classmethod
    def of(cls, ratio: Array, error: Array, bound: Array) -> _LargestErrors:
        """Return the largest of (N, T, units) over the units; a NaN is the largest."""
        unit = np.argmax(ratio, axis=2)
        at_unit = unit[..., None]
        picked = (np.take_along_axis(part, at_unit, axis=2)[..., 0] for part in (error, bound))
        return cls(np.max(ratio, axis=2), unit, *picked)

    def residual(self, compared: Array, usable: Array, units: int) -> Residual:
        """Return the largest of what was ``compared`` (N, T), of ``usable`` steps."""
        ratio = np.where(compared, self.ratio, -1.0)
        sample, t = (int(i) for i in np.unravel_index(int(np.argmax(ratio)), ratio.shape))
        return Residual(
            ratio=float(ratio[sample, t]),
            index=Index(sample, t, int(self.unit[sample, t])),
            compared=int(compared.sum()) * units,
            overflow=_first_overflow(compared, usable),
        )

    def over_samples(self, compared: Array) -> StepErrors:
        """Return the largest at each step over the samples that were ``compared`` (N, T)."""
        ratio = np.where(np.isnan(self.ratio), np.inf, self.ratio)
        ratio = np.where(compared, ratio, -1.0)
        sample = np.argmax(ratio, axis=0)[None]
        picked = (
            np.take_along_axis(part, sample, axis=0)[0] for part in (ratio, self.error, self.bound)
        )
        nothing = ~compared.any(axis=0)
        ratio, error, bound = (np.where(nothing, np.nan, part) for part in picked)
        return StepErrors(ratio, np.where(np.isnan(error) & ~nothing, np.inf, error), bound)


def largest_step_errors(ratio: Array, error: Array, bound: Array, compared: Array) -> StepErrors:
    """Return the largest ratio at each step, of (N, T, units) where ``compared`` (N, T) holds."""
    return _LargestErrors.of(ratio, error, bound).over_samples(compared)


def _largest_errors(
    actual: Sequence[Mapping[str, Array]],
    expected: Mapping[str, Array],
    bounds: Mapping[str, Array],
) -> dict[str, _LargestErrors]:
    """Return the largest ratio of each state at each step, over several actual arrays."""
    largest = {}
    for key, values in expected.items():
        error = np.maximum.reduce([np.abs(states[key] - values) for states in actual])
        largest[key] = _LargestErrors.of(error / bounds[key], error, bounds[key])
    return largest


def _before_overflow(
    direction: Direction, usable: Array, bounds: Mapping[str, Array], mask: Array | None
) -> Array:
    """Return which usable steps no overflow of the same sample precedes, (N, T)."""
    overflow = np.logical_or.reduce([np.isinf(bound).any(axis=2) for bound in bounds.values()])
    overflow = overflow if mask is None else overflow & mask
    order = processing_order(direction)
    ended = np.logical_or.accumulate((overflow | ~usable)[:, order], axis=1)
    compared: Array = ~ended[:, order]
    return compared


def _first_overflow(compared: Array, usable: Array) -> int | None:
    """Return the first step at which a usable sample was not compared."""
    ended = (usable & ~compared).any(axis=0)
    return int(np.argmax(ended)) if ended.any() else None


def _compare_masked(
    direction: Direction,
    states: Mapping[str, Array],
    bounds: Mapping[str, Array],
    largest: Mapping[str, _LargestErrors],
    mask: Array,
) -> None:
    """Compare masked steps exactly, and repeat the bounds of the step before, all in place.

    A masked step returns the states of the last step that counts, or zeros before the first.
    """
    repeated = repeat_masked(direction, states, {}, mask)
    repeated_bounds = repeat_masked(direction, bounds, {}, mask)
    for key, values in states.items():
        error = np.where((values == repeated[key]).all(axis=2), 0.0, np.inf)
        for part in (largest[key].ratio, largest[key].error):
            part[~mask] = error[~mask]
        largest[key].bound[~mask] = 0.0
        bounds[key][...] = repeated_bounds[key]


def _first_step(
    largest: Mapping[str, _LargestErrors], compared: Array, states: Mapping[str, Array], t: int
) -> Residual:
    """Return the residual of the first step, at ``t``, which starts from the initial states."""
    step = slice(t, t + 1)
    started = compared[:, step]
    residuals = [
        _LargestErrors(*(part[:, step] for part in largest[key])).residual(
            started, started, values.shape[2]
        )
        for key, values in states.items()
    ]
    residual, _ = combine([(residual, started) for residual in residuals])
    return replace(residual, index=replace(residual.index, t=t), overflow=None)


def sample_chunks(values: Array) -> list[slice]:
    """Return slices of samples whose numbers fit into the cache."""
    size = max(1, CHUNK // max(1, values[0].size))
    return [slice(start, start + size) for start in range(0, len(values), size)]


def samples_first(bounded: Any) -> Bounded:
    """Return time-major bounded numbers with the samples first."""
    turned: Bounded = _OPS.swap_time(bounded) if _OPS.rank(bounded) > 2 else bounded
    return turned


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def compare(
    actual: Array, expected: Bounded, usable: Array, first_sample: int = 0
) -> tuple[Residual, Array]:
    """Compare numbers with bounded numbers.

    Args:
        actual: The numbers, (N, …) or (N, T, …).
        expected: The expected ones with their bounds, in the same shape.
        usable: Which samples (N,) or steps (N, T) can be compared.
        first_sample: The index of the first sample.

    Returns:
        The residual, and which of the usable ones were compared: those without overflow.
    """
    if actual.shape != expected.value.shape:
        return MISMATCH, np.zeros_like(usable)
    inner = tuple(range(usable.ndim, actual.ndim))
    bound = expected.error + expected.precision.tiny  # what is only moved has no error
    compared = usable & ~np.isinf(bound).any(axis=inner)
    error = np.abs(actual - expected.value)
    ratio = np.where(compared.reshape(compared.shape + (1,) * len(inner)), error / bound, -1.0)
    largest = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
    units = actual.shape[usable.ndim :]
    per_step, t = None, None
    if usable.ndim > 1:
        t = int(largest[1])
        flat = _LargestErrors.of(*(p.reshape(*usable.shape, -1) for p in (ratio, error, bound)))
        per_step = flat.over_samples(compared)
    unit = int(np.ravel_multi_index(largest[usable.ndim :], units))
    residual = Residual(
        ratio=float(ratio[largest]),
        index=Index(first_sample + int(largest[0]), t, unit),
        compared=int(compared.sum()) * int(np.prod(units)),
        overflow=None if t is None else _first_overflow(compared, usable),
        step_errors=per_step,
    )
    return residual, compared


def combine(chunks: Sequence[tuple[Residual, Array]]) -> tuple[Residual, Array]:
    """Combine the results of :func:`compare` for chunks of samples; the first NaN is the worst."""
    residuals = [residual for residual, _ in chunks]
    nan = next((residual for residual in residuals if np.isnan(residual.ratio)), None)
    worst = nan or max(residuals, key=lambda residual: residual.ratio)
    overflows = [r.overflow for r in residuals if r.overflow is not None]
    combined = Residual(
        ratio=worst.ratio,
        index=worst.index,
        compared=sum(residual.compared for residual in residuals),
        overflow=min(overflows, default=None),
        step_errors=_combine_step_errors([residual.step_errors for residual in residuals]),
    )
    return combined, np.concatenate([compared for _, compared in chunks])


def _combine_step_errors(chunks: Sequence[StepErrors | None]) -> StepErrors | None:
    """Combine the step errors of chunks of samples: at each step, the largest ratio."""
    known = [errors for errors in chunks if errors is not None]
    if len(known) < len(chunks):
        return None
    ratios = np.stack([errors.ratio for errors in known])
    chunk = np.argmax(np.where(np.isnan(ratios), -1.0, ratios), axis=0)[None]
    stacked = (np.stack(parts) for parts in zip(*known, strict=True))
    return StepErrors(*(np.take_along_axis(part, chunk, axis=0)[0] for part in stacked))
