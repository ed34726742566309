"""Numbers that were found against bounded numbers that are expected: the ratio, and where.

One step of a recurrence is taken from each state that was found, in float64, with a bound of
what rounding can have done in that one step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from rnnshapes import progress
from rnnshapes.forward.scan import before as before_each
from rnnshapes.forward.scan import carried
from rnnshapes.forward.tracing import Course, Place
from rnnshapes.network.layers.base import Direction
from rnnshapes.ops.activations import Array
from rnnshapes.ops.bounded import Bounded, BoundedOps
from rnnshapes.ops.precision import Precision

#: About how many numbers are judged at once.
PART = 2**18

_OPS = BoundedOps()


@dataclass(frozen=True)
class Finding:
    """The largest |found - expected| / bound, where it is, and over how many numbers.

    ``overflow`` is the first step from which on a sample is not compared any more,
    ``precision`` that in which Keras computed it. ``course`` is there for what has time steps.
    """

    ratio: float
    place: Place
    compared: int
    overflow: int | None = None
    precision: str = ""
    course: Course | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, eq=False)
class Steps:
    """How a recurrence was judged; arrays are (N, T, …) by the time of x."""

    findings: dict[str, Finding]
    found: Mapping[str, Array]
    errors: dict[str, Array]
    output: str
    reverse: bool
    usable: Array
    carried: Mapping[str, Array]
    precision: Any

    def emitted(self, mask: Array | None, *, zero: bool) -> Bounded:
        """What it puts out at each step, time-major, with the bound of one step."""
        value, error = self.found[self.output], self.errors[self.output]
        if mask is not None and zero:
            value = np.where(mask.T[..., None], value, 0)
            error = np.where(mask.T[..., None], error, 0)
        turned = [np.swapaxes(part, 0, 1) for part in (value, error)]
        return Bounded(turned[0].astype("float64"), turned[1], self.precision)

    def last_states(self) -> dict[str, Bounded]:
        """The states after each step, time-major, with the bound of one step."""
        return {
            key: Bounded(
                np.swapaxes(values, 0, 1).astype("float64"),
                np.swapaxes(self.errors[key], 0, 1),
                self.precision,
            )
            for key, values in self.carried.items()
        }


@np.errstate(over="ignore", invalid="ignore")  # judged below: inf ends it, NaN fails it
def judge_steps(
    direction: Direction,
    x: Array,
    found: Mapping[str, Array],
    origin: Mapping[str, Array] | None,
    start: Mapping[str, Array],
    mask: Array | None,
    usable: Array,
    w: SimpleNamespace,
    precision: Precision,
) -> Steps:
    """One step from each of Keras's states, for x (N, T, D), in the order of reading.

    ``origin`` are the states from which Keras took each step, where these are not its own. In
    float64 they come from the loop in NumPy, and have to be right as well.
    """
    order = slice(None, None, -1 if direction.reverse else 1)
    usable, mask = usable[:, order], None if mask is None else mask[:, order]
    seen = {key: values[:, order] for key, values in found.items()}
    taken = seen if origin is None else {key: values[:, order] for key, values in origin.items()}
    first = {k: start.get(k, np.zeros_like(v[:, 0])) for k, v in seen.items()}
    before = {k: before_each(carried(v, first[k], mask), first[k]) for k, v in taken.items()}
    wanted, errors = one_step(direction, x[:, order], before, w, precision)
    judged = [seen, taken] if origin is not None and precision.name == "float64" else [seen]
    worst = _worst(judged, wanted, errors)
    left = _left(usable, errors, mask)
    if mask is not None:
        _judge_masked(seen, errors, worst, mask)
    findings = {"initial state": _first(worst, left, found, len(x[0]) - 1 if order.step < 0 else 0)}
    for key, values in found.items():
        turned = _Worst(*(part[:, order] for part in worst[key]))
        finding = _finding(turned, left[:, order], usable[:, order], values.shape[2])
        findings[f"{key} at every step"] = replace(finding, course=turned.course(left[:, order]))
    kept = {key: carried(values, first[key], mask) for key, values in seen.items()}
    back = [{k: v[:, order] for k, v in part.items()} for part in (errors, kept)]
    return Steps(
        *(findings, found, back[0], direction.cell.output_state, direction.reverse),
        *(left[:, order], back[1], precision),
    )


def one_step(
    direction: Direction,
    x: Array,
    before: Mapping[str, Array],
    w: SimpleNamespace,
    precision: Precision,
    off: Mapping[str, Array] | None = None,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The states one step behind each of ``before``, (N, T, M), and how far off they may be.

    ``off`` is how far those before may be off themselves.
    """
    n, t = x.shape[:2]
    wanted = {key: np.empty(values.shape) for key, values in before.items()}
    errors = {key: np.empty(values.shape) for key, values in before.items()}
    flat = {key: values.reshape(n * t, -1) for key, values in before.items()}
    rows = x.reshape(n * t, -1)
    width = max(x.shape[2], *(4 * values.shape[2] for values in before.values()))
    for at in range(0, n * t, size := max(1, PART // width)):
        part = slice(at, at + size)
        state = {key: Bounded.exact(values[part], precision) for key, values in flat.items()}
        for key, more in (off or {}).items():
            state[key] = state[key].widened(more.reshape(n * t, -1)[part])
        xz = direction.cell.project(_OPS, Bounded.exact(rows[part], precision), w)
        for key, made in direction.cell.step(_OPS, xz, state, w).states.items():
            wanted[key].reshape(n * t, -1)[part] = made.value
            errors[key].reshape(n * t, -1)[part] = made.error
        progress.advance(len(rows[part]))
    return wanted, errors


class _Worst(NamedTuple):
    """The largest ratio at each step, of which unit it is, and what it is made of, (N, T)."""

    ratio: Array
    unit: Array
    apart: Array
    bound: Array

    @classmethod
    def of(cls, ratio: Array, apart: Array, bound: Array) -> _Worst:
        """Over the units of each (N, T, units); a NaN is the largest."""
        unit = np.argmax(ratio, axis=2)
        at = unit[..., None]
        picked = (np.take_along_axis(part, at, axis=2)[..., 0] for part in (apart, bound))
        return cls(np.max(ratio, axis=2), unit, *picked)

    def course(self, left: Array) -> Course:
        """Over the samples that are ``left`` (N, T) at each step."""
        ratio = np.where(left, np.where(np.isnan(self.ratio), np.inf, self.ratio), -1.0)
        at = np.argmax(ratio, axis=0)[None]
        none = ~left.any(axis=0)
        parts = (np.take_along_axis(p, at, axis=0)[0] for p in (ratio, self.apart, self.bound))
        ratio, apart, bound = (np.where(none, np.nan, part) for part in parts)
        return Course(ratio, np.where(np.isnan(apart) & ~none, np.inf, apart), bound)


def _worst(
    judged: Sequence[Mapping[str, Array]], wanted: Mapping[str, Array], errors: Mapping[str, Array]
) -> dict[str, _Worst]:
    """The largest ratio at each step, of any that are judged."""
    worst = {}
    for key, expected in wanted.items():
        apart = np.maximum.reduce([np.abs(found[key] - expected) for found in judged])
        worst[key] = _Worst.of(apart / errors[key], apart, errors[key])
    return worst


def _left(usable: Array, errors: Mapping[str, Array], mask: Array | None) -> Array:
    """Which steps can be compared: none behind an overflow of the same sample."""
    lost = np.logical_or.reduce([np.isinf(error).any(axis=2) for error in errors.values()])
    lost = lost if mask is None else lost & mask
    made: Array = ~np.logical_or.accumulate(lost | ~usable, axis=1)
    return made


def _judge_masked(
    seen: Mapping[str, Array],
    errors: Mapping[str, Array],
    worst: Mapping[str, _Worst],
    mask: Array,
) -> None:
    """A masked step puts out exactly what the last one did that was not, or zeros before it."""
    for key, values in seen.items():
        zeros = np.zeros_like(values[:, 0])
        wanted = carried(values, zeros, mask)
        apart = np.where((values == wanted).all(axis=2), 0.0, np.inf)
        for part in (worst[key].ratio, worst[key].apart):
            part[~mask] = apart[~mask]
        worst[key].bound[~mask] = 0.0
        errors[key][...] = carried(errors[key], zeros, mask)


def _first(
    worst: Mapping[str, _Worst],
    left: Array,
    found: Mapping[str, Array],
    t: int,
) -> Finding:
    """The first step that is read, at ``t``, which starts from the initial state."""
    parts = [
        _finding(_Worst(*(p[:, :1] for p in worst[key])), left[:, :1], left[:, :1], v.shape[2])
        for key, v in found.items()
    ]
    finding, _ = together([(part, left[:, :1]) for part in parts])
    return replace(finding, place=replace(finding.place, t=t), overflow=None)


def _finding(found: _Worst, left: Array, usable: Array, width: int) -> Finding:
    worst = np.where(left, found.ratio, -1.0)
    at = np.unravel_index(int(np.argmax(worst)), worst.shape)
    place = Place(int(at[0]), int(at[1]), int(found.unit[at]))
    compared = int(left.sum()) * width
    ended = (usable & ~left).any(axis=0)
    overflow = int(np.argmax(ended)) if ended.any() else None
    return Finding(float(worst[at]), place, compared, overflow)


def in_parts(found: Array) -> list[slice]:
    """The samples in parts of which the numbers fit into the cache."""
    size = max(1, PART // max(1, found[0].size))
    return [slice(start, start + size) for start in range(0, len(found), size)]


def by_sample(expected: Any) -> Bounded:
    """Bounded numbers with the samples first."""
    made: Bounded = _OPS.swap_time(expected) if _OPS.rank(expected) > 2 else expected
    return made


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def compare(found: Array, expected: Bounded, rows: Array, start: int = 0) -> tuple[Finding, Array]:
    """What was found against what was expected, where ``rows`` can be used, and what is left."""
    if found.shape != expected.value.shape:
        return Finding(np.inf, Place(0, None, 0), 1), np.zeros_like(rows)
    inner = tuple(range(rows.ndim, found.ndim))
    p = expected.precision
    error = expected.error + p.tiny  # what is only moved has none, and a ratio needs one
    error = np.broadcast_to(error, found.shape)
    lost = np.isinf(error).any(axis=inner)
    left = rows & ~lost
    apart = np.abs(found - expected.value)
    ratio = np.where(left.reshape(left.shape + (1,) * len(inner)), apart / error, -1.0)
    at = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
    t = int(at[1]) if rows.ndim > 1 else None
    unit = int(np.ravel_multi_index(at[rows.ndim :], found.shape[rows.ndim :]))
    place = Place(start + int(at[0]), t, unit)
    compared = int(left.sum()) * int(np.prod(found.shape[rows.ndim :]))
    ended = (rows & ~left).any(axis=0) if rows.ndim > 1 else np.zeros(1, bool)
    overflow = int(np.argmax(ended)) if ended.any() else None
    course = None
    if t is not None:
        flat = (part.reshape(*rows.shape, -1) for part in (ratio, apart, error))
        course = _Worst.of(*flat).course(left)
    return Finding(float(ratio[at]), place, compared, overflow, course=course), left


def together(parts: Sequence[tuple[Finding, Array]]) -> tuple[Finding, Array]:
    """The findings of several parts of the samples as one; the first NaN is the worst."""
    found = [finding for finding, _ in parts]
    nan = next((f for f in found if np.isnan(f.ratio)), None)
    worst = nan or max(found, key=lambda f: f.ratio)
    steps = [f.overflow for f in found if f.overflow is not None]
    whole = Finding(
        *(worst.ratio, worst.place, sum(f.compared for f in found), min(steps, default=None)),
        course=_one_course([finding.course for finding in found]),
    )
    return whole, np.concatenate([left for _, left in parts])


def _one_course(courses: Sequence[Course | None]) -> Course | None:
    """The course of all samples, from those of parts of them."""
    known = [course for course in courses if course is not None]
    if len(known) < len(courses) or len(known) < 2:
        return known[0] if len(known) == len(courses) == 1 else None
    ratios = np.stack([course.ratio for course in known])
    at = np.argmax(np.where(np.isnan(ratios), -1.0, ratios), axis=0)[None]
    stacked = (np.stack(parts) for parts in zip(*known, strict=True))
    return Course(*(np.take_along_axis(part, at, axis=0)[0] for part in stacked))
