"""Mistakes about exactness: approximated activations, states of 16 bits, numbers of few digits.

Sources of the approximations: the continued fraction of tanh (Lambert, 1761), cut off; Amin,
Curtis and Hayes-Gill, "Piecewise linear approximation applied to nonlinear function of a neural
network", IEE Proc. Circuits Devices Syst. 144 (1997); exp(z) as (1 + z / n) to the power of n.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rnnshapes.cells.cell import Cell
from rnnshapes.ops.activations import MONOTONE, Array
from rnnshapes.ops.elementwise import Elementwise
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.port.hypothesis import CellChange, Hypothesis, Mistake, recast
from rnnshapes.port.quantities import ReportedQuantity, are_numbers_of
from rnnshapes.port.screening import relative_distance, window

#: Approximations are tried where the network is nearer to the port than this share.
_NEAR = 0.15
#: How many steps the distance is measured over.
_STEPS = 8
#: Sizes of tables, and the largest |z| that they cover.
_ENTRIES = (64, 128, 256, 512, 1024, 2048, 4096)
_LIMITS = (4.0, 5.0, 6.0, 8.0, 10.0)
#: Where the error of an approximation is measured.
_GRID, _NEAR_ZERO = np.linspace(-10.0, 10.0, 8001), np.linspace(-3.0, 3.0, 401)
#: An approximation whose error is so many times larger or smaller than that of the port is another.
_OTHER_SIZE = 30.0
#: Numbers are rounded if so many in a row are on a grid only once in so many cases (log10).
_LEAST_SURPRISE, _LEAST_SURPRISE_OF_16_BITS = 9.0, 4.0
_DECIMALS, _BITS = range(1, 6), range(4, 17)


# --- Activations --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Approximation(Elementwise):
    """An approximation of tanh or sigmoid that ports compute; ``form`` is its description."""

    form: str
    function: Callable[[Array], Array]

    name = "approximation"
    ulps = 32

    def __call__(self, x: Array) -> Array:
        return self.function(x)

    def text(self, operand: str) -> str:
        return f"approximation({operand})"


def approximated_activations(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, CellChange]]:
    """Yield that tanh, sigmoid or both are approximated, where the port is near the network."""
    distance = relative_distance(window(hypothesis, _STEPS).of(hypothesis))
    for functions in _approximations() if distance <= _NEAR else ():
        errors = [_error(name, function) for name, function in functions.items()]
        if distance and not 1 / _OTHER_SIZE <= distance / max(errors) <= _OTHER_SIZE:
            continue
        for names in (("tanh",), ("sigmoid",), ("tanh", "sigmoid")):
            if set(names) <= set(functions):
                chosen = {name: functions[name] for name in names}
                text = " and ".join(
                    f"{name} is approximated: {_text(name, function)}"
                    for name, function in chosen.items()
                )
                yield Mistake("activation.approximated", text), _approximated(chosen)


def _error(name: str, function: Approximation) -> float:
    """Return the root mean square of the error near 0."""
    error = function(_NEAR_ZERO) - MONOTONE[name].function(_NEAR_ZERO)
    return float(np.sqrt(np.mean(np.square(error)))) + 1e-12


def _text(name: str, function: Approximation) -> str:
    """Return how a function is approximated, and where it is off by most."""
    error = np.abs(function(_GRID) - MONOTONE[name].function(_GRID))
    worst = int(np.argmax(error))
    return f"{function.form}, off by up to {error[worst]:.1e} near |z| = {abs(_GRID[worst]):.1f}"


def _approximated(functions: Mapping[str, Approximation]) -> CellChange:
    """Return a change of the activations with these names."""

    def change(cell: Cell, arrays: dict[str, Array]) -> tuple[Cell, dict[str, Array]] | None:
        if not set(functions) <= set(cell.activations):
            return None

        def activate(self: Any, ops: Any, name: str, z: Any) -> Any:
            if name in functions:
                return ops.elementwise(z, functions[name])
            return ops.activate(name, z)

        return recast(cell, activate=activate), arrays

    return change


def _approximations() -> Iterator[dict[str, Approximation]]:
    """Yield approximations of tanh, of sigmoid, or of both in the same way, by name."""
    for form, function in _RATIONAL.items():
        halved = _from_tanh(function)
        yield {"tanh": Approximation(form, function), "sigmoid": Approximation(form, halved)}
    for form, function in _SIGMOIDS.items():
        doubled = _from_sigmoid(function)
        yield {"tanh": Approximation(form, doubled), "sigmoid": Approximation(form, function)}
    for entries, limit, kind in itertools.product(_ENTRIES, _LIMITS, _TABLES):
        form = f"a table of {entries} entries over |z| <= {limit:g}, {kind}"
        yield {
            name: Approximation(form, _table(MONOTONE[name].function, entries, limit, kind))
            for name in ("tanh", "sigmoid")
        }


def _from_tanh(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Return sigmoid(z) as (1 + tanh(z / 2)) / 2."""
    return lambda z: 0.5 + 0.5 * function(0.5 * z)


def _from_sigmoid(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Return tanh(z) as 2 sigmoid(2 z) - 1."""
    return lambda z: 2.0 * function(2.0 * z) - 1.0


def _clipped(function: Callable[[Array], Array], limit: float) -> Callable[[Array], Array]:
    """Return a function of z, clipped to the limit."""
    return lambda z: function(np.clip(z, -limit, limit))


def _saturated(function: Callable[[Array], Array], limit: float) -> Callable[[Array], Array]:
    """Return a function with values of at most 1, which it has beyond the limit."""
    return lambda z: np.asarray(np.clip(function(np.clip(z, -limit, limit)), -1.0, 1.0))


def _power(n: int) -> Callable[[Array], Array]:
    """Return sigmoid with exp(-z) as (1 - z / n) to the power of n."""

    def sigmoid(z: Array) -> Array:
        power = np.maximum(1.0 - np.clip(z, -30.0, 30.0) / n, 0.0) ** n
        return np.asarray(1.0 / (1.0 + power))

    return sigmoid


def _piecewise(z: Array) -> Array:
    """Return PLAN's sigmoid, which has three lines on each side and is 1 from 5 on."""
    size = np.abs(z)
    lines = (0.25 * size + 0.5, 0.125 * size + 0.625, 0.03125 * size + 0.84375)
    above = np.minimum(np.select([size < 1, size < 2.375, size < 5], lines, 1.0), 1.0)
    result: Array = np.where(z >= 0, above, 1.0 - above)
    return result


_RATIONAL: dict[str, Callable[[Array], Array]] = {
    "a rational (Padé) form, z (27 + z²) / (27 + 9 z²) up to |z| = 3": _clipped(
        lambda z: z * (27 + z**2) / (27 + 9 * z**2), 3.0
    ),
    "a rational (Padé) form of degrees 5 and 4": _saturated(
        lambda z: z * (945 + 105 * z**2 + z**4) / (945 + 420 * z**2 + 15 * z**4), 4.0
    ),
    "a rational (Padé) form of degrees 7 and 6": _saturated(
        lambda z: (
            z
            * (135135 + 17325 * z**2 + 378 * z**4 + z**6)
            / (135135 + 62370 * z**2 + 3150 * z**4 + 28 * z**6)
        ),
        5.0,
    ),
    "a cubic form, 1.5 s - 0.5 s³ with s = 2 z / 3 up to 1": _clipped(
        lambda z: z - 4.0 / 27.0 * z**3, 1.5
    ),
}
_SIGMOIDS: dict[str, Callable[[Array], Array]] = {
    "z / (1 + |z|), moved to 0 and 1": lambda z: 0.5 + 0.5 * z / (1 + np.abs(z)),
    "a piecewise linear form (PLAN)": _piecewise,
    **{f"exp(z) as (1 + z / {n})^{n}": _power(n) for n in (64, 128, 256, 512, 1024, 4096)},
}
_TABLES = ("nearest entry", "entry below", "interpolated")


def _table(
    function: Callable[[Array], Array], entries: int, limit: float, kind: str
) -> Callable[[Array], Array]:
    """Return a function that is looked up in a table of equidistant entries."""
    nodes = np.linspace(-limit, limit, entries)
    values = function(nodes)
    width = 2 * limit / (entries - 1)

    def looked_up(z: Array) -> Array:
        if kind == "interpolated":
            return np.asarray(np.interp(z, nodes, values))
        place = (np.clip(z, -limit, limit) + limit) / width
        index = np.rint(place) if kind == "nearest entry" else np.floor(place)
        return np.asarray(values[index.astype(int)])

    return looked_up


# --- States -------------------------------------------------------------------------------------


_KEEP_STATES = "keep the states in float32"


@dataclass(frozen=True)
class _Rounded(Elementwise):
    """A number, rounded to a dtype of 16 bits, or to multiples of a unit."""

    function: Callable[[Array], Array]

    name = "rounded"

    def __call__(self, x: Array) -> Array:
        return self.function(x)

    def text(self, operand: str) -> str:
        return f"rounded({operand})"


def rounded_states(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, CellChange]]:
    """Yield that the states after each step are rounded to 16 bits, or to a grid."""
    for dtype in ("bfloat16", "float16"):
        text = f"the states are rounded to {dtype} after each step"
        rounded = PRECISIONS[dtype].rounded
        yield Mistake(f"numeric.{dtype}", text, own_fix=_KEEP_STATES), _after(_Rounded(rounded))
    for bits in (7, 8, 10, 12, 15):
        text = f"the states are rounded to multiples of 1/{2**bits:,} after each step"
        grid = _Rounded(multiples_of(2.0**-bits))
        yield Mistake("numeric.rounded", text, own_fix=_KEEP_STATES), _after(grid)


def multiples_of(unit: float) -> Callable[[Array], Array]:
    """Return a function that rounds numbers to multiples of a unit."""
    return lambda values: np.asarray(np.rint(values / unit) * unit)


def _after(rounding: _Rounded) -> CellChange:
    """Return a change to a cell whose states are rounded after each step."""

    def change(cell: Cell, arrays: dict[str, Array]) -> tuple[Cell, dict[str, Array]]:
        kind = type(cell)

        def step(self: Any, ops: Any, xz: Any, state: Any, w: Any) -> Any:
            result = kind.step(self, ops, xz, state, w)
            rounded = {k: ops.elementwise(v, rounding) for k, v in result.states.items()}
            return result._replace(output=rounded[cell.output_state], states=rounded)

        return recast(cell, step=step), arrays

    return change


# --- Digits -------------------------------------------------------------------------------------


def with_digits(hypothesis: Hypothesis) -> Hypothesis:
    """Return the hypothesis with the rounding of numbers of few decimals, or bits after the point.

    It has this as a mistake, and is the same one where the numbers are not rounded so.
    """
    quantities = hypothesis.quantities
    if any(q.rounding.any() for q in quantities):  # text, whose digits are known
        return hypothesis
    grids = [(10.0**-d, f"{d} decimals", "give the numbers in full") for d in _DECIMALS]
    grids += [
        (2.0**-b, f"multiples of 1/{2**b:,}", "keep more bits after the point") for b in _BITS
    ]
    shorter = [d for d in ("bfloat16", "float16") if are_numbers_of(d, quantities)]
    for unit, what, fix in grids:
        if all(_on_grid(q, unit, (*shorter, q.dtype)[0]) for q in quantities):
            rounded = tuple(replace(q, rounding=q.rounding + unit / 2) for q in quantities)
            mistake = Mistake("numeric.rounded", f"the numbers are rounded to {what}", own_fix=fix)
            return replace(hypothesis, quantities=rounded).with_mistake("digits", mistake)
    return hypothesis


def _on_grid(quantity: ReportedQuantity, unit: float, dtype: str) -> bool:
    """Return whether all values are multiples of a unit, and not because they are of a dtype."""
    values = np.abs(quantity.values[quantity.values != 0])
    stored = 2.0**-53 if quantity.dtype == "float64" else 2.0**-24
    if np.any(np.abs(values - np.rint(values / unit) * unit) > 2 * stored * values):
        return False
    precision = PRECISIONS.get(dtype, PRECISIONS["float32"])
    last_bits = 2 * precision.unit_roundoff * 2.0 ** np.floor(np.log2(values))
    least = _LEAST_SURPRISE_OF_16_BITS if precision.is_16bit else _LEAST_SURPRISE
    chances = np.clip((1 if precision.is_16bit else 4) * last_bits / unit, 1e-12, 1.0)
    return float(-np.log10(chances).sum()) >= least
