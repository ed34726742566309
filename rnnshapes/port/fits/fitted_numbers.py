"""Mistakes with numbers that are not known: a wrong weight, or x scaled and shifted.

Each is a function of a few numbers, which Gauss and Newton's method fits to the port's numbers.
What is fitted explains a port only if all of it then agrees within the bounds of rounding, as for
any other mistake.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from rnnshapes.cells.cell import Weight
from rnnshapes.network.layers.base import Direction, Layer
from rnnshapes.ops.activations import Array
from rnnshapes.port.fits.fit import NEGLIGIBLE, Fit, scaled_text
from rnnshapes.port.fits.fitted_heads import output_fits
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Where, direction_of
from rnnshapes.port.location import Extent
from rnnshapes.port.screening import StepWindow, relative_distance, residuals_of, window
from rnnshapes.reference.outputs import STATES

#: How many steps and samples the fit looks at.
_STEPS, _SAMPLES = 12, 8
#: How many of the nearest are fitted, in how many iterations, and how many to the whole run.
_FITTED, _ITERATIONS, _FITTED_TO_ALL = 6, 12, 3
#: The shares of a step that are tried, and how many hypotheses are computed at once.
_SHARES, _AT_ONCE = (1.0, 0.5, 0.1), 64
#: Fits that are farther from the port than this are not computed with all steps.
_NEAR = 0.1
#: At most so many weights are tried, and so many numbers of x and states computed for them.
_MOST_WEIGHTS, _MOST_NUMBERS = 1200, 4e6
#: A fit needs so many numbers that differ for each number that it fits.
_NUMBERS_EACH = 3
#: What is left of the differences after the first step is at most this share of them all.
_LARGEST_REST = 0.7
#: A step of the fit that leaves more than this share is the last one.
_STALLED = 0.9
#: The size of a change from which a derivative is taken.
_STEP = 1e-4
#: Of a recurrent kernel with so many rows, the factor of each is fitted.
_MOST_ROWS = 32
#: Fewer fits that agree than this are named; more say that the numbers decide nothing.
MOST_ALIKE = 3
#: At most so many initial states are fitted.
_MOST_INITIAL_STATES = 64


class FittedHypotheses(NamedTuple):
    """The hypotheses nearest to a port, after their relative distances, with fitted numbers.

    ``numbers`` counts those that each of them fits, and ``tried`` the fits.
    """

    nearest: list[tuple[float, Hypothesis]]
    numbers: int
    tried: int


def fitted(
    base: Hypothesis, extent: Extent, reach: int, steps: int
) -> tuple[Iterator[FittedHypotheses], bool]:
    """Return fitted hypotheses that come near the port.

    Those with one number come first, and those with more in lists of their own. Beside them stands
    whether every weight is among them: there may be too many, or too few numbers that differ, and
    where the difference is in the head, those of recurrences are left out.

    Args:
        base: The hypothesis without these mistakes.
        extent: How far the difference extends.
        reach: How many more steps to compute where the network is not causal, for a first fit.
        steps: How many steps to compute before the last one, where that is all there is.
    """
    system = _System(base, extent, steps or _STEPS, reach)
    weights = _weights(base, extent)
    fits = [] if extent.in_head else [*_initial_states(base), *_inputs(base)]
    fits += [] if extent.in_head else _factors(base)
    fits += _factors_of_layers(base, extent)
    fits += output_fits(base)
    fits += weights or ()
    enough = system.differing >= _NUMBERS_EACH and not base.is_constant_over_samples
    every_weight = weights is not None and not (extent.in_head and base.network.recurrent)
    return _by_count(system, fits if enough else []), enough and every_weight


def _by_count(system: _System, fits: Sequence[Fit]) -> Iterator[FittedHypotheses]:
    """Yield the nearest of the fits with one number, and then of those with more."""
    for count in sorted({len(fit.start) for fit in fits}):
        if system.differing >= _NUMBERS_EACH * count:
            with np.errstate(all="ignore"):
                some = [fit for fit in fits if len(fit.start) == count]
                yield FittedHypotheses(_nearest(system, some), count, len(some))


def _nearest(system: _System, fits: list[Fit]) -> list[tuple[float, Hypothesis]]:
    """Return the fits after which the least is left, each mistake once."""
    predicted = [(left, number) for number, left in enumerate(system.remainders(fits))]
    predicted = sorted(one for one in predicted if one[0] < _LARGEST_REST * system.size)
    solved = []
    for _, number in predicted[:_FITTED]:
        numbers = system.solve(fits[number], fits[number].start)
        solved.append((system.distance(fits[number], numbers), fits[number], numbers))
    if not system.is_exact:  # computed without the steps far away
        near = sorted((one for one in solved if one[0] <= _NEAR), key=lambda one: one[0])
        whole, solved = system.whole(), []
        for _, fit, numbers in near[:_FITTED_TO_ALL]:
            nearer = whole.solve(fit, numbers)
            solved.append((whole.distance(fit, nearer), fit, nearer))
    nearest: dict[str, tuple[float, Hypothesis]] = {}
    for distance, fit, numbers in solved:
        mistake = fit.mistake(numbers)
        labelled = fit.apply(system.base, numbers).with_mistake("fit", mistake)
        nearest.setdefault(mistake.text, (distance, labelled))
    return list(nearest.values())


class _System:
    """The differences of a port to hypotheses, as a system of equations for a few numbers."""

    def __init__(self, base: Hypothesis, extent: Extent, steps: int, reach: int = 0) -> None:
        self.base, self.extent, self.steps, self.reach = base, extent, steps, reach
        part = self.window(base)
        #: Whether no step is left out on which these numbers depend.
        self.is_exact = part.is_exact or all(
            some.shape[1:] == every.shape[1:] for some, every in zip(part.xs, base.xs, strict=True)
        )
        (self.unchanged,) = self.residuals([base])
        self.size = float(np.linalg.norm(self.unchanged))
        scale = float(np.max(np.abs(self.unchanged), initial=0.0))
        differing = int((np.abs(self.unchanged) > 1e-3 * scale).sum())
        self.differing = min(differing, extent.differing)

    def whole(self) -> _System:
        """Return the system of the same numbers, computed from all steps."""
        longest = max(x.shape[1] for x in self.base.xs if x.ndim > 1)
        return _System(self.base, self.extent, longest)

    def window(self, hypothesis: Hypothesis) -> StepWindow:
        """Return the steps that the fit looks at."""
        return window(hypothesis, self.steps, _SAMPLES, self.reach, self.extent.step)

    def part(self, hypothesis: Hypothesis) -> Hypothesis:
        """Return the part of a hypothesis that the fit looks at."""
        return self.window(hypothesis).of(hypothesis)

    def residuals(self, hypotheses: Iterable[Hypothesis]) -> list[Array]:
        """Return what the port reports minus what each hypothesis computes, as one vector."""
        parts = [self.part(hypothesis) for hypothesis in hypotheses]
        return [
            np.concatenate([residual.reshape(-1) for residual in of_part])
            for of_part in residuals_of(parts)
        ]

    def distance(self, fit: Fit, numbers: Array) -> float:
        """Return the relative distance of the hypothesis with these numbers."""
        return relative_distance(self.part(fit.apply(self.base, numbers)))

    def linear(self, fits: Sequence[Fit], starts: Sequence[Array]) -> list[tuple[Array, Array]]:
        """Return each residual at some numbers, and its derivative, (equations, numbers)."""
        hypotheses = []
        for fit, numbers in zip(fits, starts, strict=True):
            steps = _STEP * np.eye(len(numbers))
            hypotheses += [fit.apply(self.base, numbers + step) for step in (0 * numbers, *steps)]
        residuals = iter(self.residuals(hypotheses))
        systems = []
        for numbers in starts:
            residual = next(residuals)
            columns = [(residual - next(residuals)) / _STEP for _ in numbers]
            systems.append((residual, np.stack(columns, axis=1)))
        return systems

    def remainders(self, fits: Sequence[Fit]) -> Iterator[float]:
        """Yield about how large the residual is after the best step from the start of each fit."""
        for start in range(0, len(fits), _AT_ONCE):
            some = fits[start : start + _AT_ONCE]
            for residual, derivative in self.linear(some, [fit.start for fit in some]):
                yield _remainder(residual, derivative)

    def solve(self, fit: Fit, numbers: Array) -> Array:
        """Return the numbers with which the hypothesis is nearest to the port."""
        for _ in range(_ITERATIONS):
            ((residual, derivative),) = self.linear([fit], [numbers])
            if not np.isfinite(derivative).all():
                break
            change = np.linalg.lstsq(derivative, residual, rcond=1e-9)[0]
            before = size = float(np.linalg.norm(residual))
            best = numbers
            moved = [numbers + share * change for share in _SHARES]
            residuals = self.residuals([fit.apply(self.base, one) for one in moved])
            for nearer, left in zip(moved, map(np.linalg.norm, residuals), strict=True):
                if left < size:
                    best, size = nearer, float(left)
                    break
            numbers = best
            if size >= _STALLED * before:
                break
        return numbers


def _remainder(residual: Array, derivative: Array) -> float:
    """Return about how large a residual is after the best step."""
    if derivative.shape[1] == 1:  # without the library's calls for each weight
        column = derivative[:, 0]
        square = column @ column
        left = residual @ residual - (column @ residual) ** 2 / square if square else np.inf
        return float(np.sqrt(max(left, 0.0)))
    change = np.linalg.lstsq(derivative, residual, rcond=1e-9)[0]
    return float(np.linalg.norm(residual - derivative @ change))


# --- States -------------------------------------------------------------------------------------


def _initial_states(base: Hypothesis) -> Iterator[Fit]:
    """Yield fits of the states before the first step, which a port may not set to 0."""
    if base.network.batch or any(node.initial for node in base.network.nodes):
        return
    cells = [d.cell for node in base.network.recurrent for _, d in node.scans]
    keys = tuple(dict.fromkeys(key for cell in cells for key in cell.states))
    subsets = (keys, *((key,) for key in keys if len(keys) > 1))
    for some in subsets:
        yield _equal_initial_states(some)
    for name, widths in base.network.widths.items():
        for some in subsets:
            if len(base.network.widths) > 1 and set(some) <= set(widths):
                yield _equal_initial_states(some, name)
            own = {key: widths[key] for key in some if key in widths}
            if len(own) == len(some) and sum(own.values()) <= _MOST_INITIAL_STATES:
                yield _initial_states_by_unit(name, own)


def _equal_initial_states(keys: tuple[str, ...], only: str = "") -> Fit:
    """Return the fit of one number to which every recurrence, or one, sets its first states."""

    def started(hypothesis: Hypothesis, numbers: Array) -> Hypothesis:
        widths = hypothesis.network.widths
        initial = {
            STATES + name: {
                key: np.full((1, width), numbers[0] if key in keys and only in ("", name) else 0.0)
                for key, width in of_states.items()
            }
            for name, of_states in widths.items()
        }
        return replace(hypothesis, weights={**hypothesis.weights, **initial})

    def mistake(numbers: Array) -> Mistake:
        whose = f" of {only}" if only else ""
        text = f"{' and '.join(keys)}{whose} before the first step: {float(numbers[0]):.5g}, not 0"
        return Mistake("state.starts_nonzero", text)

    return Fit(np.array([0.0]), started, mistake)


def _initial_states_by_unit(name: str, widths: Mapping[str, int]) -> Fit:
    """Return the fit of the first states of one recurrence, a number for each unit."""
    ends = np.cumsum(list(widths.values()))

    def started(hypothesis: Hypothesis, numbers: Array) -> Hypothesis:
        parts = zip(widths, np.split(numbers, ends[:-1]), strict=True)
        initial = {k: np.zeros((1, n)) for k, n in hypothesis.network.widths[name].items()}
        initial |= {key: part[None] for key, part in parts}
        return hypothesis.with_arrays(STATES + name, initial)

    def mistake(numbers: Array) -> Mistake:
        shown = ", ".join(f"{number:.4g}" for number in numbers[:4])
        more = ", …" if len(numbers) > 4 else ""
        text = f"{' and '.join(widths)} of {name} before the first step: {shown}{more}, not 0"
        return Mistake("state.starts_nonzero", text)

    return Fit(np.zeros(int(ends[-1])), started, mistake)


# --- x ------------------------------------------------------------------------------------------


def _inputs(base: Hypothesis) -> Iterator[Fit]:
    """Yield fits of x scaled or shifted: all features alike, one of them, or each by itself.

    The layers after the last recurrence alone start from h, not from x.
    """
    x = base.xs[0]
    if len(base.xs) != 1 or x.dtype.kind in "iu" or x.ndim != 3 or not base.network.recurrent:
        return
    for start in (1.0, 0.0, 2.0, 100.0):
        yield Fit(np.array([start]), _scaled, _scaled_by)
    yield Fit(np.array([0.0]), _shifted, _shifted_by)
    features = x.shape[2]
    for feature in range(features) if features > 1 else ():
        yield _one_feature(feature, features)
    yield Fit(np.repeat([1.0, 0.0], features), _affine, _each_feature)


def _scaled(hypothesis: Hypothesis, numbers: Array) -> Hypothesis:
    return replace(hypothesis, xs=(hypothesis.xs[0] * numbers[0],))


def _scaled_by(numbers: Array) -> Mistake:
    factor = float(numbers[0])
    how = f"{factor:.5g}" if abs(factor) >= 1e-2 or not factor else f"1/{1 / factor:.5g}"
    return Mistake("input.scaled", f"x is multiplied by {how}", Where(array="x"))


def _shifted(hypothesis: Hypothesis, numbers: Array) -> Hypothesis:
    return replace(hypothesis, xs=(hypothesis.xs[0] + numbers[0],))


def _shifted_by(numbers: Array) -> Mistake:
    return Mistake("input.shifted", f"{float(numbers[0]):.5g} is added to x", Where(array="x"))


def _affine(hypothesis: Hypothesis, numbers: Array) -> Hypothesis:
    scale, shift = np.split(numbers, 2)
    return replace(hypothesis, xs=(hypothesis.xs[0] * scale + shift,))


def _each_feature(numbers: Array) -> Mistake:
    scales, shifts = np.split(numbers, 2)
    wrong = (np.abs(scales - 1) >= NEGLIGIBLE) | (np.abs(shifts) >= NEGLIGIBLE)
    shown = scaled_text("x", scales, shifts)
    if not wrong.all():
        text = f"features of x are scaled or shifted: {shown}; {int((~wrong).sum())} are right"
        return Mistake("input.scaled", text, Where(array="x"))
    if np.all(np.abs(scales - 1) < NEGLIGIBLE):
        return Mistake("input.shifted", f"each feature of x is shifted: {shown}", Where(array="x"))
    how = "scaled" if np.all(np.abs(shifts) < NEGLIGIBLE) else "scaled and shifted"
    return Mistake("input.scaled", f"each feature of x is {how}: {shown}", Where(array="x"))


def _one_feature(feature: int, features: int) -> Fit:
    """Return the fit of the factor of one feature of x."""
    only = np.arange(features) == feature

    def scaled(hypothesis: Hypothesis, numbers: Array) -> Hypothesis:
        factors = np.where(only, numbers[0], 1.0)
        return replace(hypothesis, xs=(hypothesis.xs[0] * factors,))

    def mistake(numbers: Array) -> Mistake:
        factor = float(numbers[0])
        how = "0" if abs(factor) < 1e-5 else f"multiplied by {factor:.6g}"
        text = f"feature {feature} of x is {how}"
        return Mistake("input.scaled", text, Where(array="x", unit=feature))

    return Fit(np.array([1.0]), scaled, mistake)


# --- Weights ------------------------------------------------------------------------------------


def _weights(base: Hypothesis, extent: Extent) -> list[Fit] | None:
    """Return a fit of each single weight that can change what differs.

    ``None`` where these are too many.
    """
    directions = {d.name: d for node in base.network.recurrent for _, d in node.scans}
    places = []
    for group, arrays in base.weights.items():
        for key, array in arrays.items():
            direction = directions.get(group)
            if array.dtype.kind != "f" or not array.ndim or group not in base.network.groups:
                continue
            if extent.in_head and direction is not None:
                continue
            places += [
                (group, key, at)
                for at in np.ndindex(*array.shape)
                if extent.unit is None or _reaches(extent.unit, direction, group, array, at)
            ]
            if len(places) > _MOST_WEIGHTS:
                return None
    numbers = sum(x.size for x in base.xs) + sum(q.values.size for q in base.quantities)
    if len(places) * numbers > _MOST_NUMBERS:
        return None
    return [_one_weight(base, directions.get(group), group, key, at) for group, key, at in places]


def _reaches(
    unit: tuple[str, int],
    direction: Direction | None,
    group: str,
    array: Array,
    at: tuple[int, ...],
) -> bool:
    """Return whether a weight may change one unit of a quantity alone, at its first step."""
    if direction is not None and unit[0] == group:
        blocks = max(1, len(direction.cell.gates))
        return bool(at[-1] % (array.shape[-1] // blocks) == unit[1])
    return direction is not None or at[-1] == unit[1]


def _factors(base: Hypothesis) -> Iterator[Fit]:
    """Yield fits of the factor of each array of a recurrence, of each gate of it, and of rows.

    A scaled kernel cannot be told from a scaled x, nor a row of it from a feature.
    """
    for node in base.network.recurrent:
        for direction in node.layer.directions:
            for weight in direction.weights:
                if weight.key != "Wx":
                    for start in (1.0, -1.0):
                        yield _one_factor(base, node.layer, direction.name, weight, start=start)
                for gate in weight.gates:
                    yield _one_factor(base, node.layer, direction.name, weight, gate)
                rows = len(base.weights[direction.name].get(weight.key, ()))
                for row in range(rows) if weight.key == "Wh" and rows <= _MOST_ROWS else ():
                    for start in (1.0, -1.0):
                        yield _one_factor(
                            base, node.layer, direction.name, weight, row=row, start=start
                        )


def _factors_of_layers(base: Hypothesis, extent: Extent) -> Iterator[Fit]:
    """Yield fits of the factor of each array of a layer that is no recurrence."""
    network = base.network
    positions = network.head if extent.in_head else range(len(network.nodes))
    layers = {network.nodes[at].layer.name: network.nodes[at].layer for at in positions}
    for layer in layers.values():
        for weight in layer.groups.get(layer.name, ()) if not layer.directions else ():
            if layer.name in base.weights and weight.key in base.weights[layer.name]:
                yield _one_factor(base, layer, layer.name, weight)


def _one_factor(
    base: Hypothesis,
    layer: Layer,
    group: str,
    weight: Weight,
    gate: str | None = None,
    *,
    row: int | None = None,
    start: float = 1.0,
) -> Fit:
    """Return the fit of the factor of an array, of the block of one gate, or of one row."""
    key = weight.key
    shape = base.weights[group][key].shape
    inside = np.full(shape[-1:], True)
    if gate is not None:
        units = shape[-1] // len(weight.gates)
        inside = np.arange(shape[-1]) // units == weight.gates.index(gate)
    if row is not None:
        inside = np.arange(shape[0])[:, None] == row

    def apply(hypothesis: Hypothesis, numbers: Array) -> Hypothesis:
        scaled = hypothesis.weights[group][key] * np.where(inside, numbers[0], 1.0)
        return hypothesis.with_arrays(group, {key: scaled})

    def mistake(numbers: Array) -> Mistake:
        factor = float(numbers[0])
        what = weight.name if gate is None else f"gate {gate} of {weight.name}"
        what = what if row is None else f"row {row} of {weight.name}"
        where = Where(layer.name, direction_of(layer, group), weight.name, gate, row)
        if abs(factor) >= NEGLIGIBLE:
            text = f"{what} of {group} is multiplied by {factor:.5g}"
            return Mistake("weights.scaled", text, where)
        is_bias = weight.name.rpartition("/")[2] == "bias"
        id_ = "bias.omitted" if is_bias else "weights.omitted"
        id_ = id_ if layer.directions else id_.replace("bias.omitted", "head.bias")
        text = f"{what} of {group} is left out"
        if row is not None:
            return Mistake("weights.row_omitted", text, where, "sum over all units of h")
        return Mistake(id_, text, where)

    return Fit(np.array([start]), apply, mistake)


def _one_weight(
    base: Hypothesis, direction: Direction | None, group: str, key: str, at: tuple[int, ...]
) -> Fit:
    """Return the fit of one number of an array."""
    expected = float(base.weights[group][key][at])
    layer = next(la for la in base.network.layers if group in la.groups)
    weight = next(w for w in layer.groups[group] if w.key == key)
    gate, unit = None, int(at[-1])
    if weight.gates and direction is not None:
        width = base.weights[group][key].shape[-1] // len(weight.gates)
        gate, unit = weight.gates[unit // width], unit % width
    where = Where(layer.name, direction_of(layer, group), weight.name, gate, unit)

    def apply(hypothesis: Hypothesis, numbers: Array) -> Hypothesis:
        array = np.array(hypothesis.weights[group][key], np.float64)
        array[at] = numbers[0]
        return hypothesis.with_arrays(group, {key: array})

    def mistake(numbers: Array) -> Mistake:
        place = f"{weight.name}[{', '.join(map(str, at))}]"
        number = float(numbers[0])
        sign = abs(number + expected) < 1e-3 * abs(expected)
        other = "has the other sign: " if sign else ""
        shown = "0" if abs(number) < 1e-5 * min(1.0, abs(expected)) else f"{number:.6g}"
        text = (
            f"one weight of {group} {other or 'is wrong: '}{place} is {shown}, not {expected:.6g}"
        )
        fix = f"compare {place} of {group} with the golden file"
        return Mistake("weights.one_wrong", text, where, fix)

    return Fit(np.array([expected]), apply, mistake)
