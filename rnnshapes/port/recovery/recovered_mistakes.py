"""Mistakes in weights that were recovered from a port's own states.

Each array that differs is compared with what a known mistake would make of the expected one, and,
where none does, with other orders of its numbers, multiples of it, and grids.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from rnnshapes.cells.cell import Weight
from rnnshapes.ops.activations import Array
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Where, direction_of
from rnnshapes.port.mistakes.families import array_mistakes
from rnnshapes.port.mistakes.layout import axes_fix, axes_text, reordered_axes
from rnnshapes.port.mistakes.weight_rounding import Grid, grids
from rnnshapes.port.recovery.array_patterns import RecoveredArray, order_of_rows, patterns
from rnnshapes.port.recovery.equations import (
    UNDECIDED_ERROR,
    RecoveredWeights,
    TooFewSteps,
    UnitEquations,
    wrong_recurrences,
)
from rnnshapes.port.recovery.number_mistakes import number_mistake

#: Recovered weights are plausible if they are at most so many times as large as the expected ones.
_LARGEST = 10.0
#: A grid is finer than this many errors of the weights cannot be told.
_FINEST = 8.0
#: Of a kernel with so many rows, every order is tried.
_MOST_ORDERED = 5
#: How a number is made whole, in words.
_WHOLE = MappingProxyType(
    {
        "rounded to": np.rint,
        "rounded toward 0, to": np.trunc,
        "rounded down to": np.floor,
    }
)
#: The id of numbers that no known mistake makes.
_OTHER = "weights.other"


def explained_by_weights(
    base: Hypothesis, roundoff: float
) -> tuple[Hypothesis | None, TooFewSteps | None]:
    """Return the hypothesis with the weights that a port must have, and what is wrong with them.

    Args:
        base: The network, and what the port reports.
        roundoff: The unit roundoff of the port's arithmetic.

    Returns:
        The hypothesis, or None if no weights explain the port, or none that can be told; and, if
        more steps would tell them, how many.
    """
    hypothesis = base
    for equations in wrong_recurrences(base, roundoff):
        group = equations.direction.name
        explained = _two_layouts(base, equations) or _other_features(base, equations)
        if explained is None:
            recovered = equations.recovered()
            if isinstance(recovered, TooFewSteps):
                return None, recovered
            explained = None if recovered is None else explained_arrays(base, recovered)
        if explained is None:
            return None, None
        hypothesis = hypothesis.with_arrays(group, explained.arrays)
        for mistake in explained.mistakes:
            hypothesis = hypothesis.with_mistake("recovered", mistake)
    return (hypothesis if hypothesis is not base else None), None


def _two_layouts(base: Hypothesis, equations: UnitEquations) -> Explained | None:
    """Return two known mistakes about two arrays that explain a recurrence, or ``None``.

    They need no more steps than any other mistake.
    """
    group = equations.direction.name
    by_key: dict[str, list[tuple[int, Array]]] = {}
    for number, (_, arrays) in enumerate(array_mistakes(base, group)):
        for key, array in arrays.items() if len(arrays) == 1 else ():
            by_key.setdefault(key, []).append((number, equations.first_look(key, array)))
    for keys in itertools.combinations(by_key, 2):
        looks = [[look for _, look in by_key[key]] for key in keys]
        for places in equations.explaining_pairs(keys, *looks):
            numbers = [by_key[key][place][0] for key, place in zip(keys, places, strict=True)]
            pair = [one for n, one in enumerate(array_mistakes(base, group)) if n in numbers]
            arrays = {key: array for _, arrays in pair for key, array in arrays.items()}
            return Explained([mistake for mistake, _ in pair], arrays)
    return None


def _other_features(base: Hypothesis, equations: UnitEquations) -> Explained | None:
    """Return the order of the rows of a kernel that explains a recurrence, or ``None``.

    Every order of a few rows is tried, which needs no more steps than any other mistake.
    """
    group, kernel = equations.direction.name, equations.weights["Wx"]
    if len(kernel) > _MOST_ORDERED:
        return None
    orders = [list(order) for order in itertools.permutations(range(len(kernel)))][1:]
    looks = [equations.first_look("Wx", kernel[order]) for order in orders]
    same = [equations.first_look("Wh", equations.weights["Wh"])]
    for number, _ in equations.explaining_pairs(("Wx", "Wh"), looks, same):
        layer = next(la for la in base.network.layers if group in la.groups)
        where = Where(layer.name, direction_of(layer, group), "kernel")
        order = orders[number]
        return Explained([order_of_rows(order, "Wx", where, _name(where))], {"Wx": kernel[order]})
    return None


class Explained(NamedTuple):
    """Mistakes, and the arrays that they make, by key."""

    mistakes: list[Mistake]
    arrays: dict[str, Array]


def explained_arrays(base: Hypothesis, recovered: RecoveredWeights) -> Explained | None:
    """Return the mistakes that explain all arrays of a group of weights, or ``None``."""
    group = recovered.group
    expected = base.weights[group]
    if not all(_is_plausible(a, expected[key]) for key, a in recovered.arrays.items()):
        return None
    differing = {key for key in recovered.arrays if not _matches(recovered, key, expected[key])}
    explained = Explained([], {})
    known = [
        (mistake, arrays)
        for mistake, arrays in array_mistakes(base, group)
        if arrays
        and set(arrays) <= differing
        and all(_matches(recovered, key, array) for key, array in arrays.items())
    ]
    for mistake, arrays in sorted(known, key=lambda one: -len(one[1])):
        if not set(arrays) & set(explained.arrays):
            explained.mistakes.append(mistake)
            explained.arrays.update(arrays)
    layer = next(la for la in base.network.layers if group in la.groups)
    others: list[tuple[Mistake, str]] = []
    for weight in recovered.weights:
        if weight.key in differing - set(explained.arrays):
            where = Where(layer.name, direction_of(layer, group), weight.name)
            values = expected[weight.key]
            one = next(_mistakes_of_array(recovered, values, weight, where), None)
            if one is None:
                return None
            mistake, explained.arrays[weight.key] = one
            if mistake.id == _OTHER:
                found = explained.arrays[weight.key]
                size, off = (float(np.linalg.norm(a)) for a in (values, found - values))
                text = _percent(off / size) if size else "numbers in place of zeros"
                others.append((mistake, f"{text} ({weight.name})"))
            else:
                explained.mistakes.append(mistake)
    if others:
        where = others[0][0].where if len(others) == 1 else others[0][0].where._replace(array=None)
        shares = ", ".join(text for _, text in others)
        text = f"the weights of {group} are other numbers, off by {shares}, root mean square"
        explained.mistakes.append(Mistake(_OTHER, text, where))
    return explained if explained.mistakes else None


def _percent(share: float) -> str:
    """Return a share in percent, with two digits, or as a whole number."""
    return f"{100 * share:.2g} %" if share < 1 else f"{100 * share:,.0f} %"


def _is_plausible(recovered: Array, expected: Array) -> bool:
    """Return whether numbers are not so large that they stand for a gate that is always open."""
    sizes = [float(np.sqrt(np.mean(np.square(a)))) for a in (recovered, expected)]
    return sizes[0] <= _LARGEST * max(sizes[1], 0.1)


def _matches(recovered: RecoveredWeights, key: str, candidate: Array) -> bool:
    """Return whether an array may be the recovered one."""
    found, error = recovered.arrays[key], recovered.errors[key]
    if found.ndim == 2 and key == "bh":  # of some gates, the states decide the sum of both rows
        found, candidate = (_summed(a, recovered.weights) for a in (found, candidate))
    if found.shape != candidate.shape:
        return False
    return bool(np.all(np.abs(found - candidate) <= error + 1e-6 * np.abs(candidate)))


def _summed(bias: Array, weights: Sequence[Weight]) -> Array:
    """Return a bias (2, G·M) whose first row is the sum of both, except for the last gate."""
    gates = next(len(weight.gates) for weight in weights if weight.key == "bh")
    start = bias.shape[1] // gates * (gates - 1)
    summed = np.array(bias, np.float64)
    summed[0, :start] = bias[:, :start].sum(axis=0)
    summed[1, :start] = 0.0
    return summed


def _mistakes_of_array(
    recovered: RecoveredWeights, expected: Array, weight: Weight, where: Where
) -> Iterator[tuple[Mistake, Array]]:
    """Yield what may be wrong with one array, with the array that it makes."""
    key = weight.key
    candidates = [patterns(_as_pattern(recovered, expected, weight, where))]
    if key not in ("bh", "b"):
        candidates.append(_other_orders(recovered, expected, weight, where))
    candidates.append(_multiples(recovered, expected, weight, where))
    candidates.append(_grids(recovered, expected, weight, where))
    for mistake, array in itertools.chain(*candidates):
        if _matches(recovered, key, array) and not np.array_equal(array, expected):
            yield mistake, array
    if recovered.complete:
        found, error = recovered.arrays[key], recovered.errors[key]
        mistake = number_mistake(expected, found, where, weight.gates, error=error)
        yield mistake._replace(text=f"{_name(where)}: {mistake.text}"), found


def _as_pattern(
    recovered: RecoveredWeights, expected: Array, weight: Weight, where: Where
) -> RecoveredArray:
    """Return an array with all that its patterns depend on."""
    key, values = weight.key, np.asarray(expected, np.float64)
    right, found, error = values, recovered.arrays[key], recovered.errors[key]
    if key == "bh" and values.ndim == 2:
        right, found = (_summed(a, recovered.weights) for a in (right, found))
    return RecoveredArray(key, _name(where), where, weight.gates, values, right, found, error)


def _name(where: Where) -> str:
    """Return an array in words: ``kernel of lstm``."""
    direction = f", {where.direction}" if where.direction else ""
    return f"{where.array} of {where.layer}{direction}"


def _other_orders(
    recovered: RecoveredWeights, expected: Array, weight: Weight, where: Where
) -> Iterator[tuple[Mistake, Array]]:
    """Yield a kernel whose buffer is read with its axes in another order."""
    gates = weight.gates or ("",)
    sizes = (len(expected), len(gates), expected.shape[1] // len(gates))
    blocks = np.asarray(expected, np.float64).reshape(sizes)
    found = recovered.arrays[weight.key].reshape(sizes)
    error = recovered.errors[weight.key].reshape(sizes) + 1e-6 * np.abs(found)
    for stored, read in itertools.product(itertools.permutations(range(3)), repeat=2):
        array = reordered_axes(blocks, stored, read)
        fits = [
            [
                bool(np.all(np.abs(array[:, b] - found[:, g]) <= error[:, g]))
                for b in range(len(gates))
            ]
            for g in range(len(gates))
        ]
        if not all(map(any, fits)):
            continue
        order = [row.index(True) for row in fits]
        blocks_read = f"the blocks of {', '.join(gates[block] for block in order)}"
        if stored == read:
            text = f"the gates {', '.join(gates)} of {_name(where)} read {blocks_read}"
            fix = f"read its blocks in the order {', '.join(gates)}"
            mistake = Mistake("gates.order", text, where, fix)
        else:
            text = f"{_name(where)} is a buffer of {axes_text(stored)}, read as {axes_text(read)}"
            if order != list(range(len(gates))):
                text += f"; its gates {', '.join(gates)} read {blocks_read}"
            fix = axes_fix(stored) if weight.gates else ""
            mistake = Mistake("layout.flat_buffer", text, where, fix)
        yield mistake, array[:, order].reshape(expected.shape)


def _multiples(
    recovered: RecoveredWeights, expected: Array, weight: Weight, where: Where
) -> Iterator[tuple[Mistake, Array]]:
    """Yield an array multiplied by a number, or with a factor for each gate or row."""
    key = weight.key
    right, found, error = (
        np.asarray(expected, np.float64),
        recovered.arrays[key],
        recovered.errors[key],
    )
    if key == "bh" and right.ndim == 2:
        right, found = (_summed(a, recovered.weights) for a in (right, found))
    certainty = np.where(np.isfinite(error), 1.0 / np.maximum(error, 1e-9) ** 2, 0.0)
    products, squares = certainty * right * found, certainty * right * right
    factor = float(products.sum() / max(squares.sum(), 1e-30))
    factor = factor if abs(factor) >= 1e-4 else 0.0
    id_ = "input.scaled" if key == "Wx" else "weights.scaled"
    text = f"{_name(where)} is multiplied by {factor:.6g}"
    yield Mistake(id_, text, where), expected * factor
    if weight.gates:
        by_gate = [
            np.array([block.sum() for block in np.split(each, len(weight.gates), axis=-1)])
            for each in (products, squares)
        ]
        factors = by_gate[0] / np.maximum(by_gate[1], 1e-30)
        factors = np.where(np.abs(factors - 1) < 1e-4, 1.0, factors)
        wrong = [f"{g} by {f:.5g}" for g, f in zip(weight.gates, factors, strict=True) if f != 1]
        text = f"the gates of {_name(where)} are multiplied: {', '.join(wrong)}"
        columns = np.repeat(factors, right.shape[-1] // len(weight.gates))
        yield Mistake("weights.scaled", text, where), expected * columns
    if key == "Wx":
        factors = products.sum(axis=1) / np.maximum(squares.sum(axis=1), 1e-30)
        for exact in (1.0, 0.0):
            factors = np.where(np.abs(factors - exact) < 1e-4, exact, factors)
        shown = ", ".join(f"{one:.4g}" for one in factors[:6]) + (", …" if len(factors) > 6 else "")
        text = f"the rows of {_name(where)}, or the features of x, are multiplied by {shown}"
        yield Mistake(id_, text, where), expected * factors[:, None]


def _grids(
    recovered: RecoveredWeights, expected: Array, weight: Weight, where: Where
) -> Iterator[tuple[Mistake, Array]]:
    """Yield an array rounded to integers with a scale, and to multiples of a number."""
    values = np.asarray(expected, np.float64)
    error = recovered.errors[weight.key]
    decided = error[error < UNDECIDED_ERROR]
    finest = _FINEST * float(np.median(decided)) if decided.size else np.inf
    for grid in itertools.chain(*map(grids, (4, 6, 8, 10, 12, 16))):
        scale = np.abs(values).max() / (2 ** (grid.bits - 1) - 1)
        if scale > finest:
            if grid.power_of_two:
                scale = 2.0 ** np.ceil(np.log2(scale))
            plain = grid == Grid(grid.bits, power_of_two=grid.power_of_two)
            how = f", scale {scale:.4g}" if plain else ""
            text = f"{_name(where)} is rounded to {grid.text}{how}"
            mistake = Mistake("weights.quantized", text, where)
            yield mistake, grid(values, max(1, len(weight.gates)))
    for base, powers_of_base in ((2.0, range(1, 16)), (10.0, range(1, 6))):
        for power, (how, whole) in itertools.product(powers_of_base, _WHOLE.items()):
            scale = base**-power
            text = f"{_name(where)} is {how} multiples of {scale:g} ({base:g}^-{power})"
            if scale > finest:
                mistake = Mistake("weights.quantized", text, where)
                yield mistake, whole(values / scale) * scale
    for bits in (7, 15):
        text = f"{_name(where)} has {bits} fractional bits, and is saturated at -1 and 1"
        one = 2.0**bits
        if 1 / one > finest:
            rounded = np.clip(np.rint(values * one), -one, one - 1) / one
            yield Mistake("weights.overflow", text, where), rounded
