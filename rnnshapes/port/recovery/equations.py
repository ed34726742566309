"""Weights of a port, recovered from its own states.

Where a port reports all states of a recurrence at every step, each step starts from the port's
own states, and the arguments of a unit's activations are linear in the columns of that unit.
Levenberg and Marquardt's method fits these columns, from the expected ones, to what the port
computed. Source: Marquardt, "An algorithm for least-squares estimation of nonlinear parameters",
SIAM J. Appl. Math. 11 (1963).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from rnnshapes.cells.cell import Cell, Weight
from rnnshapes.cells.gru import GRUCell
from rnnshapes.cells.lstm import LSTMCell
from rnnshapes.cells.simple_rnn import SimpleRNNCell
from rnnshapes.forward.scan import flat_steps, states_before
from rnnshapes.network.layers.base import Direction
from rnnshapes.ops.activations import Array
from rnnshapes.ops.numpy_ops import NumpyOps
from rnnshapes.port.compare import fully_reported
from rnnshapes.port.hypothesis import Hypothesis

#: The arrays that may differ from the expected ones, the fewest numbers first.
_SUBSETS = (
    *(("bh",), ("Wx",), ("Wh",), ("Wx", "bh"), ("Wh", "bh")),
    *(("Wx", "Wh"), ("Wx", "Wh", "bh")),
)
#: So many equations for each number that is fitted, at least, and at most. The more there are, the
#: fewer are the local minima.
_LEAST_EQUATIONS, _MOST_EQUATIONS = 1.25, 4.0
#: How many units are fitted at first, and how many products are many for them.
_FIRST_UNITS, _MANY_PRODUCTS = 2, 2e8
#: No fit of some units takes more products, and none of all units more than eight times as many.
MOST_PRODUCTS = 4e9
#: How many steps two arrays have to explain at first.
_STEPS_OF_PAIRS = 12
#: Most iterations, and the ratio of new to old error above which a fit has stalled.
_ITERATIONS, _STALLED = 60, 0.95
#: The largest residual of a fit, in units of rounding; more damping than this ends it.
_LARGEST_RESIDUAL, _MOST_DAMPING = 64.0, 1e5
#: From how many random weights fits start, and the standard deviation of these.
_STARTS, _DEVIATION = 60, 0.2
#: After so many starts that explain no unit, no more are tried.
_STARTS_IN_VAIN = 12
#: Random starts are tried only if one iteration takes at most so many products for each unit.
_MOST_PRODUCTS_OF_UNIT = 5e5
#: About how many products are computed at once for several starts.
_PRODUCTS_AT_ONCE = 4e6
#: A weight is another one if it differs by more than so many standard errors.
_STANDARD_ERRORS = 12.0
#: Nothing decides a change if more than this share of its variance is due to the ridge.
_UNDECIDED = 0.01
#: The standard error of a change that nothing decides.
UNDECIDED_ERROR = 1e30
_OPS = NumpyOps()
#: Cells whose units are independent once the products with the weights are given.
_CELLS = (SimpleRNNCell, LSTMCell, GRUCell)


@dataclass(frozen=True, eq=False)
class RecoveredWeights:
    """The weights of one recurrence, or of one layer, that a port must have.

    Attributes:
        group: The name of its group of weights.
        weights: All weights of it.
        arrays: The arrays that differ, by key, in the shape of the expected ones; a number that
            the port's states do not decide is the expected one.
        errors: How far each number may be off, in the same shapes; infinite in columns of units
            that were not fitted.
    """

    group: str
    weights: tuple[Weight, ...]
    arrays: Mapping[str, Array]
    errors: Mapping[str, Array]

    @property
    def complete(self) -> bool:
        """Whether every unit was fitted."""
        return all(bool(np.isfinite(error).all()) for error in self.errors.values())


class TooFewSteps(NamedTuple):
    """A port that reports too few steps for its weights to be recovered.

    ``name`` is the recurrence, ``reported`` counts its steps of all samples, and ``needed`` says
    how many are enough.
    """

    name: str
    reported: int
    needed: int


def wrong_recurrences(hypothesis: Hypothesis, roundoff: float) -> Iterator[UnitEquations]:
    """Yield the equations of each fully reported recurrence that the expected ones do not explain.

    Args:
        hypothesis: The network, and what the port reports.
        roundoff: The unit roundoff of the port's arithmetic.
    """
    for one in fully_reported(hypothesis):
        cell = one.direction.cell
        if not isinstance(cell, _CELLS) or not getattr(cell, "reset_after", True):
            continue  # r of each unit acts on the states of all others
        weights = hypothesis.weights[one.direction.name]
        equations = UnitEquations(cell, one.direction, one.x, one.states, weights, roundoff)
        if not equations.agree:
            yield equations


@dataclass(frozen=True)
class _Column:
    """One argument of a unit's equation, linear in some rows of its weights.

    ``block`` is the gate's number; ``keys`` are the arrays that it depends on;
    ``bias_row`` is the row of a bias of two rows, and ``None`` for the sum of both.
    """

    block: int
    keys: tuple[str, ...]
    bias_row: int | None = None


class UnitEquations:
    """The equations of one recurrence, one step from the port's own states."""

    def __init__(
        self,
        cell: Cell,
        direction: Direction,
        x: Array,
        states: Mapping[str, Array],
        weights: Mapping[str, Array],
        roundoff: float,
    ) -> None:
        self.cell, self.direction, self.weights = cell, direction, weights
        before = states_before(direction, states, {})
        self.before, self.after = (
            {key: flat_steps(values) for key, values in of_step.items()}
            for of_step in (before, states)
        )
        flat_x = flat_steps(np.asarray(x, np.float64))
        self.inputs = {
            "Wx": flat_x,
            "Wh": self.before[cell.output_state],
            "bh": np.ones((len(flat_x), 1)),
        }
        self.units = self.after[cell.output_state].shape[1]
        self.columns = _columns(cell)
        size = max(float(np.sqrt(np.mean(np.square(a)))) for a in self.after.values())
        self.noise = roundoff * max(size, 1e-30)

    @property
    def agree(self) -> bool:
        """Whether the expected weights explain the port already."""
        residuals = self._residuals(self._arguments(self.weights), slice(None))
        largest = max(float(np.max(np.abs(r), initial=0.0)) for r in residuals.values())
        return largest <= _LARGEST_RESIDUAL * self.noise

    def explaining_pairs(
        self, keys: tuple[str, str], some: Sequence[Array], others: Sequence[Array]
    ) -> Iterator[tuple[int, int]]:
        """Yield the numbers of two arrays that explain the first look at some steps and units.

        Args:
            keys: The keys of the two arrays.
            some: What :meth:`first_look` returns for each array that the first may be.
            others: The same of the second one.
        """
        rows, units = self._looked_at
        kept = {key: array for key, array in self.weights.items() if key not in keys}
        rest = self._arguments(kept, rows, units)[:, None]
        before, after = (
            {key: a[rows][:, units] for key, a in states.items()}
            for states in (self.before, self.after)
        )
        second = np.stack(others, axis=1)
        for number, first in enumerate(some):
            with np.errstate(all="ignore"):
                states = _evaluated(self.cell, rest + first[:, None] + second, before)
                residuals = [np.abs(after[key] - a) for key, a in states.items()]
                largest = np.max([r.max(axis=(1, 2)) for r in residuals], axis=0)
            for other in np.flatnonzero(largest <= _LARGEST_RESIDUAL * self.noise):
                yield number, int(other)

    def first_look(self, key: str, array: Array) -> Array:
        """Return the share of one array in the arguments, for some steps and units."""
        return self._arguments({key: array}, *self._looked_at)

    @cached_property
    def _looked_at(self) -> tuple[Array, Array]:
        """The steps and units of a first look."""
        rows = np.linspace(0, len(self.inputs["bh"]) - 1, _STEPS_OF_PAIRS).astype(int)
        return rows, self._worst_units

    @np.errstate(all="ignore")  # a step of a fit may lead anywhere
    def recovered(self) -> RecoveredWeights | TooFewSteps | None:
        """Return the weights that the port must have.

        Returns:
            The fewest arrays that explain the port, how many steps are needed to find them, or
            ``None`` if no weights explain it.
        """
        reported, some = len(self.inputs["bh"]), self._worst_units
        subsets = [keys for keys in _SUBSETS if set(keys) <= set(self.weights)]
        needed = self._needed(subsets[-1])
        for keys in subsets:
            products = self._products(keys, len(some))
            if self._needed(keys) > reported or products > MOST_PRODUCTS:
                continue
            if keys != subsets[-1] and needed <= reported and products > _MANY_PRODUCTS:
                continue  # all arrays together take as long
            fit = self._fit(keys, some)
            if fit is not None and self._products(keys, self.units) <= 8 * MOST_PRODUCTS:
                fit = self._fit(keys, np.arange(self.units))
            if fit is not None:
                return fit
        too_few = TooFewSteps(self.direction.name, reported, needed)
        return too_few if needed > reported else None

    def _needed(self, keys: Sequence[str]) -> int:
        """Return how many steps decide these arrays.

        A state of an LSTM tells one gate; the others are decided by c.
        """
        numbers = sum(self._width(column, keys) for column in self.columns)
        if len(self.cell.states) > 1:
            numbers -= self._width(self.columns[-1], keys)
        return int(np.ceil(_LEAST_EQUATIONS * numbers))

    def _width(self, column: _Column, keys: Sequence[str]) -> int:
        return sum(self.inputs[key].shape[1] for key in column.keys if key in keys)

    def _products(self, keys: Sequence[str], units: int) -> float:
        """Return about how many products a fit takes."""
        numbers = sum(self._width(column, keys) for column in self.columns)
        return 10.0 * units * self._most_rows(numbers) * len(self.after) * numbers**2

    def _most_rows(self, numbers: int) -> int:
        """Return how many steps are used to fit so many numbers of each unit."""
        return min(len(self.inputs["bh"]), int(_MOST_EQUATIONS * numbers) + 1)

    @cached_property
    def _worst_units(self) -> Array:
        """The units that differ most from the expected ones."""
        residuals = self._residuals(self._arguments(self.weights), slice(None))
        worst = np.max([np.abs(r).max(axis=0) for r in residuals.values()], axis=0)
        return np.argsort(-worst)[:_FIRST_UNITS]

    def _arguments(
        self, weights: Mapping[str, Array], rows: Any = slice(None), units: Any = slice(None)
    ) -> Array:
        """Return the arguments of the equations, (columns, steps, units)."""
        shape = self.after[self.cell.output_state][rows][:, units].shape
        arguments = np.zeros((len(self.columns), *shape))
        for number, column in enumerate(self.columns):
            for key in column.keys:
                if key in weights:
                    part = self._part(weights, column, key)[:, units]
                    arguments[number] += self.inputs[key][rows] @ part
        return arguments

    def _part(self, weights: Mapping[str, Array], column: _Column, key: str) -> Array:
        """Return the columns of one gate in an array, (rows, M)."""
        array = np.asarray(weights[key], np.float64)
        if key == "bh":
            rows = np.atleast_2d(array)
            array = (rows.sum(axis=0) if column.bias_row is None else rows[column.bias_row])[None]
        width = self.units
        return array[:, column.block * width : (column.block + 1) * width]

    def _states(self, arguments: Array, units: Any, rows: Any) -> dict[str, Array]:
        """Return the states of some units after each step, from the arguments (columns, …)."""
        return _evaluated(
            self.cell, arguments, {key: a[rows][:, units] for key, a in self.before.items()}
        )

    def _residuals(self, arguments: Array, units: Any, rows: Any = slice(None)) -> dict[str, Array]:
        """Return what the port reports minus what the arguments give, (steps, units)."""
        with np.errstate(all="ignore"):
            states = self._states(arguments, units, rows)
        return {key: self.after[key][rows][:, units] - a for key, a in states.items()}

    def _fit(self, keys: Sequence[str], units: Array) -> RecoveredWeights | None:
        """Return the arrays with which some units agree, or ``None`` if there are none."""
        numbers = sum(self._width(column, keys) for column in self.columns)
        last = len(self.inputs["bh"]) - 1
        rows = np.linspace(0, last, self._most_rows(numbers)).astype(int)
        expected = self._arguments(self.weights, rows, units)
        nothing = np.zeros((len(rows), 0))
        regressors = [
            np.hstack([nothing, *(self.inputs[k][rows] for k in column.keys if k in keys)])
            for column in self.columns
        ]
        weights = [
            self._part(self.weights, column, key)[:, units]
            for column in self.columns
            for key in column.keys
            if key in keys
        ]
        of_units = np.concatenate(weights).T
        fit = _LeastSquaresFit(self, units, rows, expected, regressors, of_units)
        changes = fit.solve()
        if changes is None:
            return None
        errors = _STANDARD_ERRORS * fit.standard_errors(changes, self.noise)
        return self._in_arrays(keys, units, changes, errors)

    def _in_arrays(
        self, keys: Sequence[str], units: Array, changes: Array, errors: Array
    ) -> RecoveredWeights:
        """Return changes of the weights of each unit, (units, numbers), as arrays."""
        arrays = {key: np.array(self.weights[key], np.float64) for key in keys}
        tolerances = {key: np.full(array.shape, np.inf) for key, array in arrays.items()}
        start = 0
        for column in self.columns:
            at = column.block * self.units + units
            for key in (key for key in column.keys if key in keys):
                stop = start + self.inputs[key].shape[1]
                change, error = changes[:, start:stop].T, errors[:, start:stop].T
                decided = error < np.maximum(np.abs(change), 1.0)
                index: Any = (slice(None), at)
                if key == "bh" and arrays[key].ndim == 1:
                    index, change, error, decided = at, change[0], error[0], decided[0]
                elif key == "bh":  # of a sum of two rows, the first is taken to be wrong
                    row = column.bias_row or 0
                    index, change, error, decided = (row, at), change[0], error[0], decided[0]
                    if column.bias_row is None:
                        tolerances[key][1, at] = 0.0
                arrays[key][index] += np.where(decided, change, 0.0)
                tolerances[key][index] = error
                start = stop
        return RecoveredWeights(self.direction.name, self.direction.weights, arrays, tolerances)


class _LeastSquaresFit:
    """Changes of the weights of some units, fitted to the states of the port.

    ``units`` may have one of them several times, for several starts. ``weights`` are the expected
    ones of each, (units, numbers).
    """

    def __init__(
        self,
        system: UnitEquations,
        units: Array,
        rows: Any,
        expected: Array,
        regressors: list[Array],
        weights: Array,
    ) -> None:
        self.system, self.units, self.rows = system, units, rows
        self.expected, self.regressors, self.weights = expected, regressors, weights
        self.sizes = [part.shape[1] for part in regressors]

    def solve(self) -> Array | None:
        """Return the changes (units, numbers) with which all agrees, or ``None``."""
        changes = np.zeros_like(self.weights)
        remaining, tried = np.arange(len(changes)), 0
        for starts in self.starts():
            if tried > _STARTS_IN_VAIN and len(remaining) == len(changes):
                return None
            numbers = np.tile(remaining, len(starts))
            some = _LeastSquaresFit(
                self.system,
                self.units[numbers],
                self.rows,
                self.expected[..., numbers],
                self.regressors,
                self.weights[numbers],
            )
            moved = some.nearest(np.concatenate(starts[:, remaining]), until_explained=True)
            explained = some.explained(some.residual(moved))
            changes[numbers[explained]] = moved[explained]
            remaining = np.setdiff1d(remaining, numbers[explained])
            tried += len(starts)
            if not len(remaining):
                return self.nearest(changes)  # as near as rounding allows
        return None

    def starts(self) -> Iterator[Array]:
        """Yield changes from which fits may start, (several, units, numbers).

        Only the first, no changes, is there if each takes long. Weights that are all other ones are
        rarely found from the expected ones, more often from small random ones.
        """
        yield np.zeros((1, *self.weights.shape))
        units, numbers = self.weights.shape
        products = len(self.expected[0]) * numbers**2
        if products > _MOST_PRODUCTS_OF_UNIT:
            return
        rng = np.random.default_rng(0)
        at_once = max(1, min(int(_PRODUCTS_AT_ONCE / (units * products)), _STARTS_IN_VAIN))
        for first in range(0, _STARTS, at_once):
            count = min(at_once, _STARTS - first)
            yield _DEVIATION * rng.standard_normal((count, units, numbers)) - self.weights

    def nearest(self, changes: Array, *, until_explained: bool = False) -> Array:
        """Return the changes that are nearest to the port, near a start (units, numbers).

        With ``until_explained``, one start that explains a unit ends those of the same unit.
        """
        damping = np.full(len(changes), 1e-3)
        residual = self.residual(changes)
        size = np.sum(np.square(residual), axis=1)
        better = np.ones(len(changes), bool)
        for _ in range(_ITERATIONS):
            if better.any():
                derivative = self.derivative(changes)
                normal = np.swapaxes(derivative, 1, 2) @ derivative
                diagonal = np.einsum("uii->ui", normal)
                scale = diagonal + 1e-12 * diagonal.max(axis=1, keepdims=True) + 1e-30
                gradient = np.einsum("uep,ue->up", derivative, residual)
            damped = normal + (damping[:, None] * scale)[:, :, None] * np.eye(scale.shape[1])
            moved = changes + np.linalg.solve(damped, gradient[..., None])[..., 0]
            left = self.residual(moved)
            size_left = np.sum(np.square(left), axis=1)
            better = size_left < size
            stalled = (size_left > _STALLED * size) & (better | (damping >= _MOST_DAMPING))
            changes = np.where(better[:, None], moved, changes)
            residual = np.where(better[:, None], left, residual)
            size = np.where(better, size_left, size)
            damping = np.clip(np.where(better, damping * 0.1, damping * 10), 1e-13, _MOST_DAMPING)
            if until_explained:
                stalled |= np.isin(self.units, self.units[self.explained(residual)])
            if stalled.all():
                break
        return changes

    def explained(self, residual: Array) -> Array:
        """Return for which units the residual is nothing but rounding."""
        largest: Array = np.max(np.abs(residual), axis=1)
        return largest <= _LARGEST_RESIDUAL * self.system.noise

    def standard_errors(self, changes: Array, noise: float) -> Array:
        """Return the standard error of each change, at least that of the port's rounding.

        It is huge, but finite, where the states do not decide the change.
        """
        derivative = self.derivative(changes)
        normal = np.swapaxes(derivative, 1, 2) @ derivative
        diagonal = np.einsum("uii->ui", normal)
        ridge = 1e-14 * diagonal.max() + 1e-30
        inverse = np.linalg.inv(normal + ridge * np.eye(normal.shape[-1]))
        variance = np.maximum(np.einsum("uii->ui", inverse), 0.0)
        residual = np.sqrt(np.mean(np.square(self.residual(changes)), axis=1, keepdims=True))
        errors: Array = np.sqrt(variance) * np.maximum(residual, noise)
        return np.where(ridge * variance > _UNDECIDED, UNDECIDED_ERROR, errors)

    def arguments(self, changes: Array) -> Array:
        """Return the arguments of the equations with changed weights, (columns, steps, units)."""
        parts = np.split(changes.T, np.cumsum(self.sizes)[:-1])
        return np.stack(
            [
                e + part @ change
                for e, part, change in zip(self.expected, self.regressors, parts, strict=True)
            ]
        )

    def residual(self, changes: Array) -> Array:
        """Return the residual of every equation of each unit, (units, equations)."""
        residuals = self.system._residuals(self.arguments(changes), self.units, self.rows)
        joined = np.concatenate(list(residuals.values())).T
        finite: Array = np.where(np.isfinite(joined), joined, 1e30)
        return finite

    def derivative(self, changes: Array) -> Array:
        """Return how the states follow the changes, (units, equations, numbers)."""
        arguments = self.arguments(changes)
        columns = []
        for number, part in enumerate(self.regressors):
            moved = np.zeros((len(arguments), 1, 1))
            moved[number] = _STEP
            above, below = (
                self.system._states(a, self.units, self.rows)
                for a in (arguments + moved, arguments - moved)
            )
            slopes = [(above[key] - below[key]) / (2 * _STEP) for key in above]
            columns.append(
                np.concatenate([slope.T[:, :, None] * part[None] for slope in slopes], axis=1)
            )
        finite: Array = np.nan_to_num(np.concatenate(columns, axis=2))
        return finite


#: The change of an argument from which a derivative is taken.
_STEP = 1e-5


def _columns(cell: Cell) -> list[_Column]:
    """Return the arguments of the equation of one unit."""
    every = ("Wx", "Wh", "bh")
    blocks = range(max(1, len(cell.gate_names)))
    if not hasattr(cell, "reset_after"):
        return [_Column(block, every) for block in blocks]
    *gates, candidate = blocks
    return [
        *(_Column(block, every) for block in gates),
        _Column(candidate, ("Wx", "bh"), 0),
        _Column(candidate, ("Wh", "bh"), 1),
    ]


def _evaluated(cell: Cell, arguments: Array, before: Mapping[str, Array]) -> dict[str, Array]:
    """Return the states after a step whose products with the weights are given."""
    without_bias = replace(cell, use_bias=False)
    of_state: Array = np.zeros(1)
    if hasattr(cell, "reset_after"):
        of_state = np.concatenate([*(0 * a for a in arguments[:-2]), arguments[-1]], axis=-1)
        arguments = arguments[:-1]
    xz = np.concatenate(list(arguments), axis=-1)
    w = SimpleNamespace(Wh=_Product(of_state))
    states: dict[str, Array] = without_bias.step(_OPS, xz, before, w).states
    return states


@dataclass(frozen=True)
class _Product:
    """A kernel whose product with any state is given."""

    value: Array

    __array_ufunc__ = None

    def __rmatmul__(self, state: Array) -> Array:
        return self.value
