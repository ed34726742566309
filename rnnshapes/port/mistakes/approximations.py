"""Known mistakes of ports that approximate activations.

Sources: the continued fraction of tanh (Lambert, 1761), cut off; Amin, Curtis and Hayes-Gill,
"Piecewise linear approximation applied to nonlinear function of a neural network", IEE Proc.
Circuits Devices Syst. 144 (1997); exp(z) as (1 + z / n) to the power of n; Schraudolph, "A fast,
compact approximation of the exponential function", Neural Comput. 11 (1999).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from rnnshapes.cells.cell import Cell
from rnnshapes.ops.activations import MONOTONE, Array
from rnnshapes.ops.elementwise import Elementwise
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Variations, recast
from rnnshapes.port.mistakes.cell_changes import (
    Arrays,
    CellChange,
    changed_cells,
)
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
#: Schraudolph's C, subtracted from the bits of exp(z): 0, or for the least error of some kind.
_SCHRAUDOLPH = (0, 298765, 366393, 486411)


@dataclass(frozen=True, eq=False)
class PortFunction(Elementwise):
    """A function that ports compute, such as an approximation of tanh; ``form`` describes it."""

    form: str
    function: Callable[[Array], Array]
    ulps: int

    name = "function of the port"

    def __call__(self, x: Array) -> Array:
        return self.function(x)

    def text(self, operand: str) -> str:
        return f"function({operand})"


def approximated_activations(hypothesis: Hypothesis) -> Variations:
    """Approximate tanh, sigmoid or both, where the port is near the network."""
    distance = relative_distance(window(hypothesis, _STEPS).of(hypothesis))
    seen: set[str] = set()
    for functions in _approximations() if distance <= _NEAR else ():
        errors = {name: _error(name, function) for name, function in functions.items()}
        for names in (("tanh",), ("sigmoid",), ("tanh", "sigmoid")):
            if set(names) <= set(functions):
                size = max(errors[name] for name in names)
                if distance and not 1 / _OTHER_SIZE <= distance / size <= _OTHER_SIZE:
                    continue
                chosen = {name: functions[name] for name in names}
                text = " and ".join(
                    f"{name} is approximated: {_text(name, function)}"
                    for name, function in chosen.items()
                )
                mistake = Mistake("activation.approximated", text)
                if text not in seen:
                    yield from changed_cells(hypothesis, mistake, _approximated(chosen))
                seen.add(text)


def _error(name: str, function: PortFunction) -> float:
    """Return the root mean square of the error near 0."""
    error = function(_NEAR_ZERO) - MONOTONE[name].function(_NEAR_ZERO)
    return float(np.sqrt(np.mean(np.square(error)))) + 1e-12


def _text(name: str, function: PortFunction) -> str:
    """Return how a function is approximated, and where it is off by most."""
    error = np.abs(function(_GRID) - MONOTONE[name].function(_GRID))
    worst = int(np.argmax(error))
    return f"{function.form}, off by up to {error[worst]:.1e} near |z| = {abs(_GRID[worst]):.1f}"


def _approximated(functions: Mapping[str, PortFunction]) -> CellChange:
    """Return a change of the activations with these names."""

    def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays]:
        if not set(functions) <= set(cell.activations):
            return cell, arrays

        def activate(self: Any, ops: Any, use: str, z: Any) -> Any:
            name = self.activation_names[use]
            if name in functions:
                return ops.elementwise(z, functions[name])
            return ops.activate(name, z)

        return recast(cell, activate=activate), arrays

    return change


def _approximations() -> Iterator[dict[str, PortFunction]]:
    """Yield approximations of tanh, of sigmoid, or of both in the same way, by name."""
    for form, function in _TANHS.items():
        halved = _from_tanh(function)
        yield _both(form, function, halved)
    for form, function in _SIGMOIDS.items():
        doubled = _from_sigmoid(function)
        yield _both(form, doubled, function)
    for form, exp in _EXPONENTIALS.items():
        sigmoid = _in_few_operations(form, partial(_sigmoid_of, exp))
        for how, tanh in _TANHS_OF.items():
            yield {
                "tanh": _in_few_operations(f"{form}{how}", partial(tanh, exp)),
                "sigmoid": sigmoid,
            }
    form = "z / (1 + |z|), for sigmoid moved to 0 and 1"
    yield _both(form, lambda z: z / (1 + np.abs(z)), _SIGMOIDS[_FAST])
    for entries, limit, kind in itertools.product(_ENTRIES, _LIMITS, _TABLES):
        form = f"a table of {entries} entries over |z| <= {limit:g}, {kind}"
        exact = (MONOTONE[name].function for name in ("tanh", "sigmoid"))
        yield _both(form, *(_table(function, entries, limit, kind) for function in exact))


def _both(
    form: str, tanh: Callable[[Array], Array], sigmoid: Callable[[Array], Array]
) -> dict[str, PortFunction]:
    """Return approximations of one form, by name."""
    return {"tanh": _in_few_operations(form, tanh), "sigmoid": _in_few_operations(form, sigmoid)}


def _in_few_operations(form: str, function: Callable[[Array], Array]) -> PortFunction:
    """Return a function of a port that is computed in a few operations."""
    return PortFunction(form, function, ulps=32)


def _from_tanh(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Return sigmoid(z) as (1 + tanh(z / 2)) / 2."""
    return lambda z: 0.5 + 0.5 * function(0.5 * z)


def _from_sigmoid(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Return tanh(z) as 2 sigmoid(2 z) - 1."""
    return lambda z: 2.0 * function(2.0 * z) - 1.0


def _clipped(function: Callable[[Array], Array], limit: float) -> Callable[[Array], Array]:
    """Return a function of z, clipped to the limit."""
    return lambda z: function(np.clip(z, -limit, limit))


def _power(n: int) -> Callable[[Array], Array]:
    """Return exp(z) as (1 + z / n) to the power of n."""
    return lambda z: np.asarray((1.0 + np.clip(z, -30.0, 30.0) / n) ** n)


def _by_bits(shift: int) -> Callable[[Array], Array]:
    """Return exp(z) as a float32 whose bits are a multiple of z, less a shift."""

    def exp(z: Array) -> Array:
        bits = np.clip(z, -80.0, 80.0) * (2.0**23 / np.log(2.0)) + (127 * 2.0**23 - shift)
        return np.asarray(bits, np.int32).view(np.float32).astype(np.float64)

    return exp


def _sigmoid_of(exp: Callable[[Array], Array], z: Array) -> Array:
    return 1.0 / (1.0 + exp(-z))


def _tanh_from_minus_2z(exp: Callable[[Array], Array], z: Array) -> Array:
    return 2.0 / (1.0 + exp(-2.0 * z)) - 1.0


def _tanh_from_2z(exp: Callable[[Array], Array], z: Array) -> Array:
    return 1.0 - 2.0 / (1.0 + exp(2.0 * z))


def _tanh_from_both(exp: Callable[[Array], Array], z: Array) -> Array:
    plus, minus = exp(z), exp(-z)
    return np.asarray((plus - minus) / (plus + minus))


def _limited(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Return a function with values from -1 to 1."""
    return lambda z: np.asarray(np.clip(function(z), -1.0, 1.0))


def _piecewise(z: Array) -> Array:
    """Return PLAN's sigmoid, which has three lines on each side and is 1 from 5 on."""
    size = np.abs(z)
    lines = (0.25 * size + 0.5, 0.125 * size + 0.625, 0.03125 * size + 0.84375)
    above = np.minimum(np.select([size < 1, size < 2.375, size < 5], lines, 1.0), 1.0)
    result: Array = np.where(z >= 0, above, 1.0 - above)
    return result


_TANHS: dict[str, Callable[[Array], Array]] = {
    "a rational (Padé) form, z (27 + z²) / (27 + 9 z²) up to |z| = 3": _clipped(
        lambda z: z * (27 + z**2) / (27 + 9 * z**2), 3.0
    ),
    "a rational (Padé) form of degrees 5 and 4": _limited(
        _clipped(lambda z: z * (945 + 105 * z**2 + z**4) / (945 + 420 * z**2 + 15 * z**4), 4.0)
    ),
    "a rational (Padé) form of degrees 7 and 6": _limited(
        _clipped(
            lambda z: (
                z
                * (135135 + 17325 * z**2 + 378 * z**4 + z**6)
                / (135135 + 62370 * z**2 + 3150 * z**4 + 28 * z**6)
            ),
            5.0,
        )
    ),
    "Taylor's series, z - z³/3": lambda z: z - z**3 / 3,
    "Taylor's series, z - z³/3 + 2 z⁵/15": lambda z: z - z**3 / 3 + 2 * z**5 / 15,
    **{
        f"Taylor's series of degree {degree}, clipped to ±1": _limited(series)
        for degree, series in (
            (3, lambda z: z - z**3 / 3),
            (5, lambda z: z - z**3 / 3 + 2 * z**5 / 15),
        )
    },
    "a cubic form, 1.5 s - 0.5 s³ with s = 2 z / 3 up to 1": _clipped(
        lambda z: z - 4.0 / 27.0 * z**3, 1.5
    ),
}
_FAST = "z / (1 + |z|), moved to 0 and 1"
_SIGMOIDS: dict[str, Callable[[Array], Array]] = {
    _FAST: lambda z: 0.5 + 0.5 * z / (1 + np.abs(z)),
    "a piecewise linear form (PLAN)": _piecewise,
}
#: Approximations of exp(z), from which ports compute sigmoid, and tanh in one of several ways.
_EXPONENTIALS: dict[str, Callable[[Array], Array]] = {
    **{f"exp(z) as (1 + z / {n})^{n}": _power(n) for n in (64, 128, 256, 512, 1024, 4096)},
    **{f"exp(z) by Schraudolph's method, C = {c}": _by_bits(c) for c in _SCHRAUDOLPH},
}
_TANHS_OF: dict[str, Callable[[Callable[[Array], Array], Array], Array]] = {
    ", tanh from exp(-2 z)": _tanh_from_minus_2z,
    ", tanh from exp(2 z)": _tanh_from_2z,
    ", tanh from exp(z) and exp(-z)": _tanh_from_both,
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
