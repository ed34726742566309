"""Known mistakes of ports that round, cut off, clip or overflow the weights."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from rnnshapes.cells.cell import Cell
from rnnshapes.ops.activations import Array
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Variations, Where
from rnnshapes.port.mistakes.cell_changes import (
    ARRAY_NAMES,
    Arrays,
    changed_cells,
    differ,
    directions_of,
)
from rnnshapes.port.screening import relative_distance, window

#: Beyond this share, no port has the network's weights with a rounding error.
_NOT_FAR = 0.5
#: How many steps the distance is measured over.
_STEPS = 8
#: Whether the biases are rounded, too.
_BIASES = (True, False)


class _Whose(NamedTuple):
    """Whose weights are rounded, in words, and whether these are those of cells alone."""

    text: str
    cells_alone: bool


_OF_CELLS, _ALL = _Whose("the weights of the recurrence", True), _Whose("all weights", False)


def rounded_weights(hypothesis: Hypothesis) -> Variations:
    """Round every weight to float16 or bfloat16."""
    for dtype in ("float16", "bfloat16"):
        mistake = Mistake(f"weights.{dtype}", f"are rounded to {dtype}")
        whose = _Whose("the weights", cells_alone=False)
        yield from _rounded(hypothesis, mistake, PRECISIONS[dtype].rounded, whose=(whose,))


def quantized_weights(hypothesis: Hypothesis) -> Variations:
    """Round the weights of the recurrences to 16-bit numbers, or all to a grid of integers.

    Where the port is far from the network, no small rounding is tried.
    """
    yield from _overflowed_weights(hypothesis)
    yield from _other_scales(hypothesis)
    yield from _pruned_weights(hypothesis)
    if relative_distance(window(hypothesis, _STEPS).of(hypothesis)) > _NOT_FAR:
        return
    for dtype in ("float16", "bfloat16"):
        mistake = Mistake(f"weights.{dtype}", f"are rounded to {dtype}")
        yield from _rounded(hypothesis, mistake, PRECISIONS[dtype].rounded, whose=(_OF_CELLS,))
    for grid in _GRIDS:
        mistake = Mistake("weights.quantized", f"are rounded to {grid.text}")
        yield from _rounded(hypothesis, mistake, grid, biases=_BIASES)
    for unit, what in _STEPS_OF_WEIGHTS.items():
        ways = {"rounded": multiples_of(unit), "truncated": _multiples_toward_0(unit)}
        if unit in _FRACTIONAL_BITS:
            ways["rounded down"] = multiples_below(unit)
        for how, rounded in ways.items():
            mistake = Mistake("weights.quantized", f"are {how} to {what}")
            yield from _rounded(hypothesis, mistake, rounded)
    yield from _in_one_layer(hypothesis)
    mistake = Mistake("weights.bfloat16", "are truncated to bfloat16")
    yield from _rounded(hypothesis, mistake, _truncated_to_bfloat16)
    for digits in (3, 4, 5):
        mistake = Mistake("weights.quantized", f"have {digits} significant digits")
        yield from _rounded(hypothesis, mistake, _with_significant(digits), whose=(_ALL,))


def _in_one_layer(hypothesis: Hypothesis) -> Variations:
    """Round the weights of one recurrent layer of several to int8."""
    layers = {node.layer.name: node.layer for node in hypothesis.network.recurrent}
    for name, layer in layers.items() if len(layers) > 1 else ():
        alone = replace(hypothesis, scope=frozenset(d.name for d in layer.directions))
        for grid in (Grid(8, "array"), Grid(8, "column")):
            text = f"are rounded to {grid.text}"
            mistake = Mistake("weights.quantized", text, Where(layer=name))
            whose = _Whose(f"the weights of {name} alone", cells_alone=True)
            yield from _rounded(alone, mistake, grid, whose=(whose,), biases=_BIASES)


def _other_scales(hypothesis: Hypothesis) -> Variations:
    """Round both kernels of each cell to int8, and read one of them with the other's scale."""
    kernel, recurrent = (ARRAY_NAMES[key] for key in ("Wx", "Wh"))
    for scale_of, read_as in (
        ({"Wx": "Wx", "Wh": "Wx"}, f"{recurrent} is read with the scale of {kernel}"),
        ({"Wx": "Wh", "Wh": "Wh"}, f"{kernel} is read with the scale of {recurrent}"),
        ({"Wx": "Wh", "Wh": "Wx"}, "each is read with the scale of the other"),
    ):
        text = f"the kernels are rounded to int8, and {read_as}"
        fix = "multiply each array by its own scale"
        mistake = Mistake("weights.other_scale", text, own_fix=fix)
        yield from changed_cells(hypothesis, mistake, partial(_with_scales, scale_of=scale_of))


def _with_scales(cell: Cell, arrays: Arrays, scale_of: Mapping[str, str]) -> tuple[Cell, Arrays]:
    """Return a cell with kernels that are rounded to int8, and read with the scale of one."""
    scales = {key: np.max(np.abs(arrays[key]), initial=_TINY) for key in scale_of}
    read = {k: Grid(8)(arrays[k]) * (scales[of] / scales[k]) for k, of in scale_of.items()}
    return cell, {**arrays, **read}


def _pruned_weights(hypothesis: Hypothesis) -> Variations:
    """Set small weights to 0."""
    for limit in (0.01, 0.02, 0.05, 0.1):
        fix = "keep small weights, or accept the error with --tolerance"
        mistake = Mistake("weights.pruned", f"are 0 where |w| < {limit:g}", own_fix=fix)
        yield from _rounded(hypothesis, mistake, _pruned_below(limit), biases=_BIASES)


def _pruned_below(limit: float) -> Callable[[Array], Array]:
    return lambda values: np.where(np.abs(values) < limit, 0.0, values)


def _overflowed_weights(hypothesis: Hypothesis) -> Variations:
    """Truncate or clip the weights, or store them as fractions, which may wrap around."""
    mistake = Mistake("weights.quantized", "are truncated to whole numbers")
    yield from _rounded(hypothesis, mistake, np.trunc)
    for limit in (0.5, 1.0, 2.0):
        mistake = Mistake("weights.clipped", f"are clipped to ±{limit:g}")
        yield from _rounded(hypothesis, mistake, _clipped_to(limit))
    groups = {direction.name for direction in directions_of(hypothesis)}
    arrays = [a for group in groups for a in hypothesis.weights[group].values()]
    if max((np.max(np.abs(a), initial=0.0) for a in arrays), default=0.0) < 1.0:
        return  # nothing overflows
    for bits in (7, 15):
        mistake = Mistake("weights.clipped", f"are clipped to -1 and 1 - 2^-{bits}")
        yield from _rounded(hypothesis, mistake, _clipped_below_1(bits))
    for bits, wraps in itertools.product((7, 15), (False, True)):
        how = "wrap around" if wraps else "are saturated"
        text = f"have {bits} fractional bits, and {how} at -1 and 1"
        mistake = Mistake("weights.overflow", text)
        yield from _rounded(hypothesis, mistake, fractions(bits, wraps=wraps))


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


def _clipped_below_1(bits: int) -> Callable[[Array], Array]:
    return lambda values: np.clip(values, -1.0, 1.0 - 2.0**-bits)


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
        decoded: The divisor with which the integers are read again, if it is another one.
        power_of_two: Whether the scale is the next power of two.
        has_zero_point: Whether the integers are not negative, and one of them stands for 0.
        from_smallest: Whether they count from the smallest number, which is the offset.
    """

    bits: int
    scales: str = "array"
    divisor: float = 0.0
    decoded: float = 0.0
    power_of_two: bool = False
    has_zero_point: bool = False
    from_smallest: bool = False

    @property
    def text(self) -> str:
        """The integers in words: ``int8 (one scale for each array)``."""
        unsigned = self.has_zero_point or self.from_smallest
        integers = f"{'uint' if unsigned else 'int'}{self.bits}"
        scale = f"one scale for each {self.scales}"
        scale += f": largest number / {self.divisor:g}" if self.divisor else ""
        scale += f", read again as / {self.decoded:g}" if self.decoded else ""
        scale += ", a power of two" if self.power_of_two else ""
        scale += ", with a zero point" if self.has_zero_point else ""
        scale += ", and one offset: the smallest number" if self.from_smallest else ""
        return f"{integers} ({scale})"

    def __call__(self, values: Array, gates: int = 1) -> Array:
        """Return an array on the grid, with blocks of columns for so many gates."""
        if self.scales == "gate" and values.ndim:
            return np.concatenate([self._block(b) for b in np.split(values, gates, -1)], -1)
        return self._block(values)

    def _block(self, values: Array) -> Array:
        axis = 0 if self.scales == "column" and values.ndim > 1 else None
        highest = 2 ** (self.bits - 1) - 1
        if self.from_smallest:
            low = np.min(values, axis=axis)
            scale = np.maximum(np.ptp(values, axis=axis), _TINY) / (2**self.bits - 1)
            return np.asarray(np.rint((values - low) / scale) * scale + low)
        if self.has_zero_point:
            low, high = (
                np.asarray(edge(values, axis=axis, initial=0.0)) for edge in (np.min, np.max)
            )
            scale = np.maximum(high - low, _TINY) / (2**self.bits - 1)
            zero = np.rint(-low / scale)
            whole = np.clip(np.rint(values / scale) + zero, 0, 2**self.bits - 1) - zero
        else:
            size = np.max(np.abs(values), axis=axis, initial=_TINY)
            scale = size / (self.divisor or highest)
            scale = 2.0 ** np.ceil(np.log2(scale)) if self.power_of_two else scale
            whole = np.clip(np.rint(values / scale), -highest - 1, highest)
            scale = size / self.decoded if self.decoded else scale
        return np.asarray(whole * scale)


def grids(bits: int) -> tuple[Grid, ...]:
    """Return the grids of so many bits that ports have, the common ones first."""
    rare = [Grid(bits, "gate")]
    if bits == 8:
        rare += [Grid(bits, s, n) for n in (128.0, 127.5) for s in ("array", "column")]
        rare += [Grid(bits, s, has_zero_point=True) for s in ("array", "column")]
        rare += [Grid(bits, s, from_smallest=True) for s in ("array", "column")]
        rare += [Grid(bits, s, power_of_two=True) for s in ("array", "column")]
        both = ((127.0, 128.0), (128.0, 127.0))
        rare += [Grid(bits, s, *pair) for pair in both for s in ("array", "column")]
    return (Grid(bits, "array"), Grid(bits, "column"), *rare)


#: Weights that are all 0 have about this scale.
_TINY = 1e-30
_GRIDS = tuple(grid for bits in (4, 8, 16) for grid in grids(bits))


def _rounded(
    hypothesis: Hypothesis,
    mistake: Mistake,
    rounded: Callable[[Array], Array] | Grid,
    *,
    whose: Sequence[_Whose] = (_OF_CELLS, _ALL),
    biases: Sequence[bool] = (True,),
) -> Variations:
    """Round the weights, or those of cells alone, with the biases or without.

    The text of the mistake is a predicate: whose weights they are is put before it.
    """
    groups = {direction.name for direction in directions_of(hypothesis)}
    known = {
        (group, weight.key): weight
        for layer in hypothesis.network.layers
        for group, weights in layer.groups.items()
        for weight in weights
    }
    # That of stacked cells has a name before it.
    of_biases = {place for place, one in known.items() if one.name.rpartition("/")[2] == "bias"}

    def of_array(place: tuple[str, str], values: Array) -> Array:
        values = np.asarray(values, np.float64)
        if isinstance(rounded, Grid) and place in known:
            return rounded(values, max(1, len(known[place].gates)))
        return rounded(values)

    every = {
        (group, key): of_array((group, key), a)
        for group, arrays in hypothesis.weights.items()
        for key, a in arrays.items()
    }
    for with_biases, (who, cells_alone) in itertools.product(biases, whose):
        kept = set() if with_biases else of_biases
        weights = {
            group: {
                key: every[group, key]
                if (group in groups or not cells_alone) and (group, key) not in kept
                else a
                for key, a in arrays.items()
            }
            for group, arrays in hypothesis.weights.items()
        }
        if any(differ(weights[group], arrays) for group, arrays in hypothesis.weights.items()):
            but = "" if with_biases else "; the biases are unchanged"
            text = f"{who} {mistake.text}{but}"
            yield mistake._replace(text=text), replace(hypothesis, weights=weights)


def multiples_of(unit: float) -> Callable[[Array], Array]:
    """Return a function that rounds numbers to multiples of a unit."""
    return lambda values: np.asarray(np.rint(values / unit) * unit)


def _multiples_toward_0(unit: float) -> Callable[[Array], Array]:
    """Return a function that cuts numbers off to multiples of a unit."""
    return lambda values: np.asarray(np.trunc(values / unit) * unit)


def multiples_below(unit: float) -> Callable[[Array], Array]:
    """Return a function that rounds numbers down to multiples of a unit."""
    return lambda values: np.asarray(np.floor(values / unit) * unit)
