"""Mistakes about exactness: approximated activations, rounded states, weights and numbers.

Sources of the approximations: the continued fraction of tanh (Lambert, 1761), cut off; Amin,
Curtis and Hayes-Gill, "Piecewise linear approximation applied to nonlinear function of a neural
network", IEE Proc. Circuits Devices Syst. 144 (1997); exp(z) as (1 + z / n) to the power of n;
Schraudolph, "A fast, compact approximation of the exponential function", Neural Comput. 11 (1999).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rnnshapes.cells.cell import Cell
from rnnshapes.network.weights import Weights
from rnnshapes.ops.activations import MONOTONE, Array
from rnnshapes.ops.elementwise import Elementwise
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Variations, recast
from rnnshapes.port.mistakes.cell_changes import (
    Arrays,
    CellChange,
    cells_of,
    changed_cells,
    differ,
    directions_of,
    step_change,
)
from rnnshapes.port.quantities import ReportedQuantity, are_numbers_of, has_only_zeros_and_ones
from rnnshapes.port.screening import relative_distance, window

#: Approximations are tried where the network is nearer to the port than this share.
_NEAR = 0.15
#: Beyond this share, no port has the network's weights with a rounding error.
_NOT_FAR = 0.5
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
#: Schraudolph's C, subtracted from the bits of exp(z): 0, or for the least error of some kind.
_SCHRAUDOLPH = (0, 298765, 366393, 486411)
_DECIMALS, _BITS = range(1, 6), range(4, 17)


# --- Activations --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class PortFunction(Elementwise):
    """A function that ports compute, such as an approximation of tanh; ``form`` describes it."""

    form: str
    function: Callable[[Array], Array]
    ulps: int = 0

    name = "function of the port"

    def __call__(self, x: Array) -> Array:
        return self.function(x)

    def text(self, operand: str) -> str:
        return f"function({operand})"


def approximated_activations(hypothesis: Hypothesis) -> Variations:
    """Approximate tanh, sigmoid or both, where the port is near the network."""
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
                mistake = Mistake("activation.approximated", text)
                yield from changed_cells(hypothesis, mistake, _approximated(chosen))


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
    yield _both("z / (1 + |z|), for tanh", lambda z: z / (1 + np.abs(z)), _SIGMOIDS[_FAST])
    for entries, limit, kind in itertools.product(_ENTRIES, _LIMITS, _TABLES):
        form = f"a table of {entries} entries over |z| <= {limit:g}, {kind}"
        exact = (MONOTONE[name].function for name in ("tanh", "sigmoid"))
        yield _both(form, *(_table(function, entries, limit, kind) for function in exact))


def _both(
    form: str, tanh: Callable[[Array], Array], sigmoid: Callable[[Array], Array]
) -> dict[str, PortFunction]:
    """Return approximations of one form, by name."""
    functions = {"tanh": tanh, "sigmoid": sigmoid}
    return {name: PortFunction(form, function, ulps=32) for name, function in functions.items()}


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


def _by_bits(shift: int) -> Callable[[Array], Array]:
    """Return sigmoid with exp(-z) as a float32 whose bits are a multiple of -z, less a shift."""

    def sigmoid(z: Array) -> Array:
        bits = np.clip(-z, -80.0, 80.0) * (2.0**23 / np.log(2.0)) + (127 * 2.0**23 - shift)
        powers = np.asarray(bits, np.int32).view(np.float32).astype(np.float64)
        return np.asarray(1.0 / (1.0 + powers))

    return sigmoid


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
    **{f"exp(z) as (1 + z / {n})^{n}": _power(n) for n in (64, 128, 256, 512, 1024, 4096)},
    **{f"exp(z) by Schraudolph's method, C = {c}": _by_bits(c) for c in _SCHRAUDOLPH},
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


def rounded_states(hypothesis: Hypothesis) -> Variations:
    """Round the states, or h alone, after each step to 16 bits, or to a grid."""
    keys = tuple(dict.fromkeys(key for cell in cells_of(hypothesis) for key in cell.state_names))
    whose = {"the states are": keys}
    if len(keys) > 1:
        whose |= {f"{key} is": (key,) for key in keys}
    hypothesis = _without_digits(hypothesis)  # its numbers are rounded already
    for (id_, how, rounded), (what, some) in itertools.product(_ROUNDED, whose.items()):
        text = f"{what} {how} after each step"
        mistake = Mistake(id_, text, own_fix="keep the states in float32")
        change = _after(PortFunction("rounded", rounded, ulps=2), some)
        yield from changed_cells(hypothesis, mistake, change)


def multiples_of(unit: float) -> Callable[[Array], Array]:
    """Return a function that rounds numbers to multiples of a unit."""
    return lambda values: np.asarray(np.rint(values / unit) * unit)


def _multiples_below(unit: float) -> Callable[[Array], Array]:
    return lambda values: np.asarray(np.floor(values / unit) * unit)


#: The id of a mistake, how it rounds states in words, and the function.
_ROUNDED = (
    *((f"numeric.{d}", f"rounded to {d}", PRECISIONS[d].rounded) for d in ("bfloat16", "float16")),
    *(
        ("numeric.rounded", f"{how} to multiples of 1/{parts:,}", function(1 / parts))
        for parts in (127, *(2**bits for bits in (7, 8, 10, 12, 15)))
        for how, function in (("rounded", multiples_of), ("rounded down", _multiples_below))
    ),
    *(
        ("numeric.rounded", f"rounded to {digits} decimals", multiples_of(10.0**-digits))
        for digits in (1, 2, 3, 4)
    ),
)


def _after(rounding: PortFunction, keys: Collection[str]) -> CellChange:
    """Return a change to a cell some of whose states are rounded after each step."""

    def step(cell: Any, right: Any, ops: Any, xz: Any, state: Any, w: Any) -> Any:
        result = right(ops, xz, state, w)
        rounded = {
            k: ops.elementwise(v, rounding) if k in keys else v for k, v in result.states.items()
        }
        return result._replace(output=rounded[cell.output_state], states=rounded)

    return step_change(step)


# --- Weights ------------------------------------------------------------------------------------


def rounded_weights(hypothesis: Hypothesis) -> Variations:
    """Round every weight to float16 or bfloat16."""
    for dtype in ("float16", "bfloat16"):
        mistake = Mistake(f"weights.{dtype}", f"the weights are rounded to {dtype}")
        yield from _rounded(hypothesis, mistake, PRECISIONS[dtype].rounded)


def quantized_weights(hypothesis: Hypothesis) -> Variations:
    """Round the weights of the recurrences to 16-bit numbers, or all to a grid of integers.

    Where the port is far from the network, no rounding but that beyond an overflow is tried.
    """
    yield from _overflowed_weights(hypothesis)
    if relative_distance(window(hypothesis, _STEPS).of(hypothesis)) > _NOT_FAR:
        return
    for dtype in ("float16", "bfloat16"):
        text = f"the weights of the recurrence are rounded to {dtype}"
        mistake = Mistake(f"weights.{dtype}", text)
        yield from _rounded(hypothesis, mistake, PRECISIONS[dtype].rounded, cells=True)
    for grid in _GRIDS:
        every = _on_grid_of_gates(hypothesis, grid)
        for biases, cells in itertools.product((False,) if grid.is_rare else (True, False), _CELLS):
            kept = "" if biases else ", the biases are not"
            text = f"{_WHOSE[cells]} are rounded to {grid.text}{kept}"
            mistake = Mistake("weights.quantized", text)
            yield from _with_rounded(hypothesis, mistake, every, cells=cells, biases=biases)
    for unit, what in _STEPS_OF_WEIGHTS.items():
        ways = {"": multiples_of(unit)}
        if unit in _FRACTIONAL_BITS:
            ways["down "] = _multiples_below(unit)
        for how, rounded in ways.items():
            every = _map_weights(hypothesis, rounded)
            for cells in _CELLS:
                text = f"{_WHOSE[cells]} are rounded {how}to {what}"
                mistake = Mistake("weights.quantized", text)
                yield from _with_rounded(hypothesis, mistake, every, cells=cells)
    yield from _truncated_weights(hypothesis)
    for digits in (3, 4, 5):
        mistake = Mistake("weights.quantized", f"all weights have {digits} significant digits")
        yield from _rounded(hypothesis, mistake, _with_significant(digits))


def _overflowed_weights(hypothesis: Hypothesis) -> Variations:
    """Clip the weights, or store them as fractions between -1 and 1, which may wrap around."""
    groups = {direction.name for direction in directions_of(hypothesis)}
    largest = [
        np.max(np.abs(a), initial=0.0) for g in groups for a in hypothesis.weights[g].values()
    ]
    if max(largest, default=0.0) < 0.5:
        return
    for limit, cells in itertools.product((0.5, 1.0, 2.0), _CELLS):
        mistake = Mistake("weights.clipped", f"{_WHOSE[cells]} are clipped to ±{limit:g}")
        yield from _rounded(hypothesis, mistake, _clipped_to(limit), cells=cells)
    for bits, wraps, cells in itertools.product((7, 15), (False, True), _CELLS):
        how = "wrap around" if wraps else "are saturated"
        text = f"{_WHOSE[cells]} have {bits} fractional bits, and {how} at -1 and 1"
        mistake = Mistake("weights.overflow", text)
        yield from _rounded(hypothesis, mistake, fractions(bits, wraps=wraps), cells=cells)


def fractions(bits: int, *, wraps: bool) -> Callable[[Array], Array]:
    """Return a function that rounds to a fraction of so many bits, from -1 to below 1."""
    one = 2.0**bits

    def fractions(values: Array) -> Array:
        whole = np.rint(values * one)
        inside = (whole + one) % (2 * one) - one if wraps else np.clip(whole, -one, one - 1)
        return np.asarray(inside / one)

    return fractions


def _clipped_to(limit: float) -> Callable[[Array], Array]:
    return lambda values: np.clip(values, -limit, limit)


def _truncated_weights(hypothesis: Hypothesis) -> Variations:
    """Cut the weights off after the bits of bfloat16, or at the point."""
    for cells in _CELLS:
        text = f"{_WHOSE[cells]} are truncated to bfloat16"
        mistake = Mistake("weights.bfloat16", text)
        yield from _rounded(hypothesis, mistake, _truncated_to_bfloat16, cells=cells)
        mistake = Mistake("weights.quantized", f"{_WHOSE[cells]} are truncated to whole numbers")
        yield from _rounded(hypothesis, mistake, np.trunc, cells=cells)


def _truncated_to_bfloat16(values: Array) -> Array:
    """Return numbers without the last 16 bits of float32."""
    bits = np.asarray(values, np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    return np.asarray(bits.view(np.float32), np.float64)


def _with_significant(digits: int) -> Callable[[Array], Array]:
    """Return a function that rounds each number to so many significant digits."""

    def rounded(values: Array) -> Array:
        size = np.floor(np.log10(np.maximum(np.abs(values), 1e-30)))
        unit = 10.0 ** (size - digits + 1)
        return np.asarray(np.rint(values / unit) * unit)

    return rounded


#: Steps to which ports round weights, in words: printed digits, and fractional bits.
_STEPS_OF_WEIGHTS = {
    **{10.0**-digits: f"{digits} decimal places" for digits in (2, 3, 4, 5)},
    **{2.0**-bits: f"{bits} fractional bits" for bits in (4, 5, 6, 7, 8, 10, 11, 12, 15)},
}
_FRACTIONAL_BITS = {unit for unit, what in _STEPS_OF_WEIGHTS.items() if "bits" in what}


@dataclass(frozen=True)
class Grid:
    """Integers of so many bits times a scale, to which a port rounds an array.

    Attributes:
        bits: The number of bits.
        scales: What has a scale of its own: each ``array``, ``gate`` or ``column``.
        divisor: The scale is the largest |weight| divided by this number: of 8 bits 128 or 127.5,
            which is then stored as 127. 0 stands for the largest integer.
        has_zero_point: Whether the integers are not negative, and one of them stands for 0.
    """

    bits: int
    scales: str = "array"
    divisor: float = 0.0
    has_zero_point: bool = False

    @property
    def is_rare(self) -> bool:
        """Whether only few ports have it."""
        return self.has_zero_point or self.divisor > 0 or self.scales == "gate"

    @property
    def text(self) -> str:
        """The integers in words: ``int8 (one scale for each array)``."""
        integers = f"{'uint' if self.has_zero_point else 'int'}{self.bits}"
        scale = f"one scale for each {self.scales}"
        scale += f": largest number / {self.divisor:g}" if self.divisor else ""
        return f"{integers} ({scale}{', with a zero point' if self.has_zero_point else ''})"

    def __call__(self, values: Array, gates: int = 1) -> Array:
        """Return an array on the grid, with blocks of columns for so many gates."""
        if self.scales == "gate" and values.ndim:
            return np.concatenate([self._block(b) for b in np.split(values, gates, -1)], -1)
        return self._block(values)

    def _block(self, values: Array) -> Array:
        axis = 0 if self.scales == "column" and values.ndim > 1 else None
        highest = 2 ** (self.bits - 1) - 1
        if self.has_zero_point:
            low, high = (
                np.asarray(edge(values, axis=axis, keepdims=True, initial=0.0))
                for edge in (np.min, np.max)
            )
            scale = np.maximum(high - low, _TINY) / (2**self.bits - 1)
            zero = np.rint(-low / scale)
            whole = np.clip(np.rint(values / scale) + zero, 0, 2**self.bits - 1) - zero
        else:
            size = np.max(np.abs(values), axis=axis, keepdims=True, initial=_TINY)
            scale = size / (self.divisor or highest)
            whole = np.clip(np.rint(values / scale), -highest - 1, highest)
        return np.asarray(whole * scale)


def grids(bits: int) -> tuple[Grid, ...]:
    """Return the grids of so many bits that ports have, the common ones first."""
    rare = [Grid(bits, "gate")]
    if bits == 8:
        rare += [Grid(bits, s, n) for n in (128.0, 127.5) for s in ("array", "column")]
        rare += [Grid(bits, s, has_zero_point=True) for s in ("array", "column")]
    return (Grid(bits, "array"), Grid(bits, "column"), *rare)


#: Whether the weights of cells alone are rounded, and whose weights these are.
_CELLS = (True, False)
_WHOSE = {True: "the weights of the recurrence", False: "all weights"}
#: Weights that are all 0 have about this scale.
_TINY = 1e-30
_GRIDS = tuple(grid for bits in (4, 8, 16) for grid in grids(bits))


def _rounded(
    hypothesis: Hypothesis,
    mistake: Mistake,
    rounded: Callable[[Array], Array],
    *,
    cells: bool = False,
) -> Variations:
    """Round the weights, or those of cells alone."""
    yield from _with_rounded(hypothesis, mistake, _map_weights(hypothesis, rounded), cells=cells)


def _map_weights(hypothesis: Hypothesis, rounded: Callable[[Array], Array]) -> Weights:
    """Return every weight of a hypothesis, rounded."""
    return {
        group: {key: rounded(np.asarray(a, np.float64)) for key, a in arrays.items()}
        for group, arrays in hypothesis.weights.items()
    }


def _on_grid_of_gates(hypothesis: Hypothesis, grid: Grid) -> Weights:
    """Return every weight of a hypothesis on a grid, which may have a scale for each gate."""
    gates = {
        (group, weight.key): max(1, len(weight.gates))
        for layer in hypothesis.network.layers
        for group, weights in layer.groups.items()
        for weight in weights
    }
    return {
        group: {
            key: grid(np.asarray(a, np.float64), gates.get((group, key), 1))
            for key, a in arrays.items()
        }
        for group, arrays in hypothesis.weights.items()
    }


def _with_rounded(
    hypothesis: Hypothesis,
    mistake: Mistake,
    every: Weights,
    *,
    cells: bool = False,
    biases: bool = True,
) -> Variations:
    """Take rounded weights, or those of cells alone, with or without the biases."""
    groups = {direction.name for direction in directions_of(hypothesis)}
    kept = set() if biases else set(_biases_of(hypothesis))
    weights = {
        group: {
            key: every[group][key]
            if (group in groups or not cells) and (group, key) not in kept
            else a
            for key, a in arrays.items()
        }
        for group, arrays in hypothesis.weights.items()
    }
    if any(differ(weights[group], arrays) for group, arrays in hypothesis.weights.items()):
        yield mistake, replace(hypothesis, weights=weights)


def _biases_of(hypothesis: Hypothesis) -> Iterator[tuple[str, str]]:
    """Yield the group and the key of every bias; of stacked cells its name has the cell's first."""
    for layer in hypothesis.network.layers:
        for group, weights in layer.groups.items():
            for weight in weights:
                if weight.name.rpartition("/")[2] == "bias":
                    yield group, weight.key


# --- Digits -------------------------------------------------------------------------------------


def with_digits(hypothesis: Hypothesis) -> Hypothesis:
    """Return the hypothesis with the rounding of numbers of few decimals, or bits after the point.

    It has this as a mistake, and is the same one where the numbers are not rounded so.
    """
    quantities = hypothesis.quantities
    if any(q.rounding.any() for q in quantities):  # text, whose digits are known
        return hypothesis
    if all(has_only_zeros_and_ones(q.values) for q in quantities):  # decisions
        return hypothesis
    grids = [
        (10.0**-d, f"{d} decimal{'s' * (d > 1)}", "give the numbers in full") for d in _DECIMALS
    ]
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


def _without_digits(hypothesis: Hypothesis) -> Hypothesis:
    """Return the hypothesis as it was before :func:`with_digits`."""
    if "digits" not in hypothesis.families:
        return hypothesis
    exact = hypothesis.map_quantities(lambda q: replace(q, rounding=q.rounding * 0.0))
    at = hypothesis.families.index("digits")
    mistakes, families = (
        (*parts[:at], *parts[at + 1 :]) for parts in (hypothesis.mistakes, hypothesis.families)
    )
    return replace(exact, mistakes=mistakes, families=families)


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
